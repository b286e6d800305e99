//! The measurements of `scripts/bench`: what a call costs, how fast it is answered, what stays in
//! memory, and what relaying costs beside rtpengine.
//!
//! This program is everything around the gateway: it plays the XMPP server (XEP-0114), the users
//! and the telephone network against the real `offhook run`, which has a processor of its own where
//! the machine has two. It lives in one thread, so that its own work delays nobody it measures.
//!
//! Not a `[[bench]]`: cargo builds those with another panic strategy than the program, which would
//! compile every dependency twice.
#![allow(missing_docs, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod calls;
mod dtls;
mod gateway;
mod hold;
mod load;
mod machine;
mod mix;
mod phone;
mod relay;
mod rooms;
mod rtpengine;
mod server;
mod setup;
mod sound;
mod table;
mod thousand;
mod transcode;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use table::Table;

/// Whatever stops a measurement; it is printed and that is the end.
pub type Failure = Box<dyn std::error::Error>;

/// A part of the table.
struct Part {
    name: &'static str,
    about: &'static str,
    run: fn(&Path, &mut Table) -> Result<(), Failure>,
}

const PARTS: [Part; 12] = [
    // First: it counts the memory of this process, which the others leave behind.
    Part {
        name: "hold",
        about: "10,000 calls at a time through the SIP room",
        run: hold::hold,
    },
    Part {
        name: "calls",
        about: "CPU and latency of answered calls",
        run: calls::answered,
    },
    Part {
        name: "open",
        about: "memory and CPU of open calls without media",
        run: calls::open,
    },
    Part {
        name: "dtls",
        about: "memory and CPU of open calls with ICE, DTLS-SRTP and sound",
        run: dtls::open,
    },
    Part {
        name: "setup",
        about: "from the answer to the first sound, with ICE and DTLS",
        run: setup::setup,
    },
    Part {
        name: "thousand",
        about: "1,000 calls that talk, on all processors",
        run: thousand::thousand,
    },
    Part {
        name: "relay",
        about: "SRTP to RTP beside rtpengine",
        run: relay::compare,
    },
    Part {
        name: "transcode",
        about: "calls of Opus and G.711 that a core transcodes",
        run: transcode::transcode,
    },
    Part {
        name: "mix",
        about: "channels: memory, presence, relayed IQs",
        run: mix::mix,
    },
    Part {
        name: "sip",
        about: "the SIP room alone",
        run: rooms::sip,
    },
    Part {
        name: "scanner",
        about: "10,000 requests of strangers a second",
        run: hold::scanner,
    },
    Part {
        name: "gateway",
        about: "the gateway without its sockets",
        run: rooms::gateway,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == relay::WORKER {
        return done(relay::work(arguments.collect()));
    }
    let offhook = PathBuf::from(first);
    let wanted: Vec<String> = arguments.collect();
    let unknown = wanted
        .iter()
        .find(|name| PARTS.iter().all(|part| part.name != **name));
    if unknown.is_some() || !offhook.is_file() {
        eprintln!("usage: scripts/bench [NAME…]");
        for part in &PARTS {
            eprintln!("  {:<9} {}", part.name, part.about);
        }
        return ExitCode::from(2);
    }
    machine::take_first_processor();
    let mut table = Table::default();
    let mut failed = false;
    for part in &PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == part.name) {
            continue;
        }
        eprintln!("bench: {} …", part.about);
        if let Err(error) = (part.run)(&offhook, &mut table) {
            eprintln!("bench: {}: {error}", part.name);
            failed = true;
        }
    }
    println!("{}", machine::heading(&wanted));
    println!("{table}");
    if failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

fn done(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(1)
        }
    }
}
