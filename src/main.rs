//! The program: reads its command line and starts what is asked for.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use mimalloc::MiMalloc;
use offhook::io::cli::{self, Command};
use offhook::io::gather::Gather;

/// Signalling allocates for every stanza and message: this allocator takes a third less for it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("offhook: {error}");
            return ExitCode::from(cli::WRONG);
        }
    };
    // Help is for those who do not know yet what to write there.
    if !matches!(command, Command::Help | Command::Version)
        && let Err(error) = offhook::io::log::start()
    {
        eprintln!("offhook: {error}");
        return ExitCode::from(cli::WRONG);
    }
    ExitCode::from(carry_out(command))
}

fn carry_out(command: Command) -> u8 {
    match command {
        Command::Run { config, ladder } => run(config, ladder),
        Command::Check { config } => said(cli::check(&config, &mut stdout(), &mut stderr())),
        Command::Route { config, from, to } => said(cli::route(
            &config,
            &from,
            &to,
            &mut stdout(),
            &mut stderr(),
        )),
        Command::Echo { listen } => on_one_thread(async {
            match offhook::io::echo::echo(listen).await {
                Ok(()) => cli::DONE,
                Err(error) => failed(&error),
            }
        }),
        Command::Dial { client, to } => on_one_thread(offhook::io::dial::dial(client, to)),
        Command::Listen { client } => on_one_thread(offhook::io::dial::listen(client)),
        Command::Help => said(print(cli::HELP)),
        Command::Version => said(print(&format!("offhook {}\n", env!("CARGO_PKG_VERSION")))),
    }
}

fn run(path: std::path::PathBuf, ladder: bool) -> u8 {
    let meaning = match offhook::io::config::read(&path) {
        Ok(meaning) => meaning,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return cli::WRONG;
        }
    };
    for warning in &meaning.warnings {
        tracing::warn!("{warning}");
    }
    on_one_thread(async {
        match offhook::io::run::run(meaning.config, path, ladder).await {
            Ok(()) => cli::DONE,
            Err(error) => failed(&error),
        }
    })
}

/// Signalling has one thread; media has its own.
fn on_one_thread(work: impl Future<Output = u8>) -> u8 {
    let gather = Gather::default();
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || gather.before_sleep())
        .build()
    {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => failed(&error),
    }
}

fn print(text: &str) -> std::io::Result<u8> {
    use std::io::Write;
    stdout().write_all(text.as_bytes())?;
    Ok(cli::DONE)
}

fn said(status: std::io::Result<u8>) -> u8 {
    // A reader that went away heard enough.
    status.unwrap_or(cli::FAILED)
}

fn failed(error: &dyn std::error::Error) -> u8 {
    eprintln!("offhook: {error}");
    cli::FAILED
}
