//! The command line: from arguments to a [`Command`], and the commands `check` and `route`, which
//! need nothing but the configuration.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jid::{BareJid, Jid};

use super::config;
use crate::address::Address;
use crate::address::contact::{self, AddressError};
use crate::address::country::Country;
use crate::address::typed;
use crate::call::dialplan::Dialplan;
use crate::config::keys::nearest;
use crate::config::values;
use crate::leg::Digit;
use crate::net::SipTransport;
use crate::xmpp::gateway_iq::with_keys;

/// What was asked happened.
pub const DONE: u8 = 0;
/// It did not happen.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const WRONG: u8 = 2;

/// What `offhook --help` prints.
pub const HELP: &str = "\
Offhook: phone calls for XMPP

offhook run --config FILE      run the gateway in the foreground
    --ladder                   show every message of both protocols on stdout
offhook check --config FILE    say what the configuration means, or what is wrong with it
offhook route --config FILE --from JID --to TEXT
                               show how a call would go; dials nothing
offhook echo --listen udp://127.0.0.1:5090
                               a SIP endpoint that answers every call, for tests
offhook dial --account JID --password-file FILE --to JID
                               an XMPP client that calls somebody, for tests;
                               gives up after 180 s without an answer
offhook listen --account JID --password-file FILE
                               the same client, waiting for a call; gives up
                               after 600 s without one
    --server HOST:PORT         default: found by DNS
    --play tone|silence|FILE.wav  what it says (default: tone)
    --record FILE.wav          keeps what it hears
    --digits 123#              keys to press after the answer
    --seconds N                ends the call after N seconds
    --json                     prints one JSON object at the end

offhook --version              print the version
offhook --help                 print this

Exit status: 0 what was asked happened, 1 it did not, 2 wrong usage or configuration.
Every configuration key can also come from the environment: OFFHOOK_XMPP__SECRET is xmpp.secret.
OFFHOOK_LOG says what is logged: error, warn, info (default), debug, or offhook::sip=debug,info.
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Runs the gateway.
    Run {
        /// The configuration file.
        config: PathBuf,
        /// Shows every message of both protocols as it happens. For one's own eyes: it is not
        /// redacted beyond leaving addresses out.
        ladder: bool,
    },
    /// Explains the configuration.
    Check {
        /// The configuration file.
        config: PathBuf,
    },
    /// Shows how a call would go.
    Route {
        /// The configuration file.
        config: PathBuf,
        /// Who calls.
        from: BareJid,
        /// What was dialled.
        to: String,
    },
    /// Answers every SIP call.
    Echo {
        /// Where; never empty.
        listen: Vec<(SipTransport, SocketAddr)>,
    },
    /// Calls somebody as an XMPP client.
    Dial {
        /// The client.
        client: Client,
        /// Who is called.
        to: Jid,
    },
    /// Waits for a call as an XMPP client.
    Listen {
        /// The client.
        client: Client,
    },
    /// Prints [`HELP`].
    Help,
    /// Prints the version.
    Version,
}

/// The XMPP client of `dial` and `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its account; a resource is kept if given.
    pub account: Jid,
    /// The file with the account's password.
    pub password_file: PathBuf,
    /// The server; `None`: found by DNS (RFC 6120 §3.2).
    pub server: Option<(String, u16)>,
    /// What it says.
    pub play: Play,
    /// Where to keep what it hears.
    pub record: Option<PathBuf>,
    /// Keys to press after the answer.
    pub digits: Vec<Digit>,
    /// How long the call shall last; `None`: until the other side ends it.
    pub seconds: Option<u32>,
    /// Prints JSON.
    pub json: bool,
}

/// What the client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// A tone.
    Tone,
    /// Nothing, in packets.
    Silence,
    /// A WAV file.
    File(PathBuf),
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; see offhook --help")]
pub struct UsageError(String);

const COMMANDS: &[&str] = &["run", "check", "route", "echo", "dial", "listen"];
const CLIENT: &[&str] = &[
    "--account",
    "--password-file",
    "--server",
    "--play",
    "--record",
    "--digits",
    "--seconds",
    "--json",
];

/// Reads the arguments, without the program's own name.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let args: Vec<String> = args.into_iter().collect();
    let Some((command, rest)) = args.split_first() else {
        return Err(UsageError(format!(
            "say what to do: {}",
            COMMANDS.join(", ")
        )));
    };
    let asks_help = |arg: &String| arg == "--help" || arg == "-h";
    match command.as_str() {
        "help" | "--help" | "-h" => return Ok(Command::Help),
        "version" | "--version" | "-V" => return Ok(Command::Version),
        _ if COMMANDS.contains(&command.as_str()) && rest.iter().any(asks_help) => {
            return Ok(Command::Help);
        }
        _ => {}
    }
    match command.as_str() {
        "run" => {
            let options = Options::read("run", rest, &["--config", "--ladder"])?;
            let config = options.config()?;
            let ladder = options.optional("--ladder").is_some();
            Ok(Command::Run { config, ladder })
        }
        "check" => {
            let options = Options::read("check", rest, &["--config"])?;
            let config = options.config()?;
            Ok(Command::Check { config })
        }
        "route" => {
            let options = Options::read("route", rest, &["--config", "--from", "--to"])?;
            Ok(Command::Route {
                config: options.config()?,
                from: options.required_as("--from", "JID", values::user)?,
                to: options.required("--to", "TEXT")?.to_owned(),
            })
        }
        "echo" => {
            let options = Options::read("echo", rest, &["--listen"])?;
            options.required("--listen", "udp://127.0.0.1:5090")?;
            let listen = options.all("--listen").map(|text| {
                let read = values::listener(text).and_then(|listener| match listener.0 {
                    SipTransport::Tls => Err(format!(
                        "`{text}`: echo has no certificate; write udp:// or tcp://"
                    )),
                    SipTransport::Udp | SipTransport::Tcp => Ok(listener),
                });
                read.map_err(|reason| UsageError(format!("--listen: {reason}")))
            });
            Ok(Command::Echo {
                listen: listen.collect::<Result<_, _>>()?,
            })
        }
        "dial" => {
            let names: Vec<&str> = CLIENT.iter().copied().chain(["--to"]).collect();
            let options = Options::read("dial", rest, &names)?;
            Ok(Command::Dial {
                client: options.client()?,
                to: options.required_as("--to", "JID", any_jid)?,
            })
        }
        "listen" => {
            let options = Options::read("listen", rest, CLIENT)?;
            Ok(Command::Listen {
                client: options.client()?,
            })
        }
        other => Err(UsageError(match nearest(other, COMMANDS) {
            Some(near) => format!("there is no command `{other}`; did you mean {near}?"),
            None => format!(
                "there is no command `{other}`; there are {}",
                COMMANDS.join(", ")
            ),
        })),
    }
}

/// The options of one command.
struct Options<'a> {
    command: &'a str,
    given: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    fn read(command: &'a str, args: &'a [String], names: &[&str]) -> Result<Self, UsageError> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value)),
                _ => (arg.as_str(), None),
            };
            if !names.contains(&name) {
                let hint = match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("it takes {}", names.join(", ")),
                };
                return Err(UsageError(format!(
                    "{command} does not know `{name}`; {hint}"
                )));
            }
            let value = match (name, inline) {
                ("--json" | "--ladder", None) => "",
                ("--json" | "--ladder", Some(_)) => {
                    return Err(UsageError(format!("{name} takes no value")));
                }
                (_, Some(value)) => value,
                (_, None) => match args.next() {
                    Some(value) if !names.contains(&value.as_str()) => value,
                    _ => return Err(UsageError(format!("{name} wants a value"))),
                },
            };
            if name != "--listen" && given.iter().any(|(n, _)| *n == name) {
                return Err(UsageError(format!("{name} is there twice")));
            }
            given.push((name, value));
        }
        Ok(Self { command, given })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.given
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| *value)
    }

    fn optional(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn required(&self, name: &str, what: &str) -> Result<&'a str, UsageError> {
        match self.optional(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(UsageError(format!("{} wants {name} {what}", self.command))),
        }
    }

    fn required_as<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, UsageError> {
        read(self.required(name, what)?).map_err(|reason| UsageError(format!("{name}: {reason}")))
    }

    fn optional_as<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, UsageError> {
        self.optional(name)
            .map(|text| read(text).map_err(|reason| UsageError(format!("{name}: {reason}"))))
            .transpose()
    }

    fn config(&self) -> Result<PathBuf, UsageError> {
        self.required("--config", "FILE").map(PathBuf::from)
    }

    fn client(&self) -> Result<Client, UsageError> {
        let account = self.required_as("--account", "JID", any_jid)?;
        if account.node().is_none() {
            return Err(UsageError(format!(
                "--account: `{account}` has no user; write juliet@example.org"
            )));
        }
        Ok(Client {
            account,
            password_file: self.required("--password-file", "FILE")?.into(),
            server: self.optional_as("--server", |text| match values::host_and_port(text)? {
                (host, Some(port)) => Ok((host, port)),
                (_, None) => Err(format!("`{text}` has no port; write {text}:5222")),
            })?,
            play: match self.optional("--play") {
                None | Some("tone") => Play::Tone,
                Some("silence") => Play::Silence,
                Some(file) if file.to_ascii_lowercase().ends_with(".wav") => {
                    Play::File(file.into())
                }
                Some(other) => {
                    return Err(UsageError(format!(
                        "--play: `{other}` is none of tone, silence, FILE.wav"
                    )));
                }
            },
            record: self.optional("--record").map(PathBuf::from),
            digits: self.optional_as("--digits", digits)?.unwrap_or_default(),
            seconds: self.optional_as("--seconds", |text| match text.parse() {
                Ok(seconds) if seconds > 0 => Ok(seconds),
                _ => Err(format!("`{text}` is no number of seconds")),
            })?,
            json: self.optional("--json").is_some(),
        })
    }
}

fn any_jid(text: &str) -> Result<Jid, String> {
    Jid::new(text).map_err(|error| format!("`{text}` is no XMPP address: {error}"))
}

fn digits(text: &str) -> Result<Vec<Digit>, String> {
    text.chars()
        .map(|c| Digit::from_char(c).ok_or(format!("`{c}` is no key; keys are 0-9 * # A-D")))
        .collect()
}

/// `offhook check`: gives the exit status.
pub fn check(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<u8> {
    match config::read(path) {
        Ok(meaning) => {
            out.write_all(meaning.config.report().as_bytes())?;
            for warning in &meaning.warnings {
                writeln!(out, "warning  {warning}")?;
            }
            writeln!(out, "{} is fine", path.display())?;
            Ok(DONE)
        }
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            Ok(WRONG)
        }
    }
}

/// `offhook route`: gives the exit status.
pub fn route(
    path: &Path,
    from: &BareJid,
    dialled: &str,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> std::io::Result<u8> {
    let config = match config::read(path) {
        Ok(meaning) => meaning.config,
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            return Ok(WRONG);
        }
    };
    let home = config.home_of(from);
    let to = match dialled_address(dialled, &config.xmpp.domain, home) {
        Ok(to) => to,
        Err(reason) => {
            writeln!(err, "{reason}")?;
            return Ok(FAILED);
        }
    };
    let plan = Dialplan::new(&config);
    let way = match plan.outgoing(from, &to) {
        Ok(way) => way,
        Err(refusal) => {
            writeln!(err, "{}: {}", refusal.reason, refusal.text)?;
            return Ok(FAILED);
        }
    };
    writeln!(out, "called   {to}")?;
    writeln!(out, "caller   {}", way.caller)?;
    for name in &way.trunks {
        let uri = config.trunk(name).map_or("", |t| t.uri.as_str());
        writeln!(out, "trunk    {name}: {uri}")?;
    }
    writeln!(out, "why      {}", way.why)?;
    if plan.is_ours(&to)
        && let Ok(incoming) = plan.incoming(&to)
    {
        let users: Vec<String> = incoming.users.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "note     {to} is our own number; it rings {}",
            users.join(", ")
        )?;
    }
    Ok(DONE)
}

/// What a person means who dials `text`: a contact at `domain`, or whatever else people type.
fn dialled_address(
    text: &str,
    domain: &str,
    home: Option<Country>,
) -> Result<Address, AddressError> {
    let of_our_domain = |host: &str| {
        // Pasted with the contact's resource.
        let host = host.split('/').next().unwrap_or(host);
        host.eq_ignore_ascii_case(domain)
    };
    let contact = text
        .trim()
        .rsplit_once('@')
        .filter(|(user, host)| of_our_domain(host) && !user.contains(':'));
    let contact = match contact {
        Some((local, _)) => contact::parse(local)?,
        None => typed::parse(with_keys(text).0, home)?,
    };
    Ok(contact.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Command, UsageError> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let said = line(text).expect_err(text).to_string();
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn every_command_of_the_table_is_read() {
        let config = || PathBuf::from("f.toml");
        let run = Command::Run {
            config: config(),
            ladder: false,
        };
        let shown = Command::Run {
            config: config(),
            ladder: true,
        };
        assert_eq!(line("run --ladder --config f.toml"), Ok(shown));
        assert_eq!(line("run --config f.toml"), Ok(run.clone()));
        assert_eq!(line("run --config=f.toml"), Ok(run));
        let check = Command::Check { config: config() };
        assert_eq!(line("check --config f.toml"), Ok(check));
        assert_eq!(
            line("route --config f.toml --from juliet@example.org --to +15551234567"),
            Ok(Command::Route {
                config: config(),
                from: BareJid::new("juliet@example.org").unwrap(),
                to: "+15551234567".to_owned(),
            })
        );
        let echo = Command::Echo {
            listen: vec![(SipTransport::Udp, "127.0.0.1:5090".parse().unwrap())],
        };
        assert_eq!(line("echo --listen udp://127.0.0.1:5090"), Ok(echo));
        assert_eq!(line("--help"), Ok(Command::Help));
        assert_eq!(line("dial --help"), Ok(Command::Help));
        assert_eq!(line("--version"), Ok(Command::Version));
    }

    #[test]
    fn dial_and_listen_take_the_same_options() {
        let least = "--account juliet@example.org --password-file pw";
        let Ok(Command::Listen { client }) = line(&format!("listen {least}")) else {
            panic!("listen");
        };
        assert_eq!(client.play, Play::Tone);
        assert_eq!((client.seconds, client.json), (None, false));
        let all = "--server localhost:5222 --play hello.wav --record heard.wav --digits 12#d \
                   --seconds 5 --json";
        let to = "+15551234567@phone.example.org";
        let Ok(Command::Dial { client, to: called }) =
            line(&format!("dial {least} {all} --to {to}"))
        else {
            panic!("dial");
        };
        assert_eq!(called.as_str(), to);
        assert_eq!(client.server, Some(("localhost".to_owned(), 5222)));
        assert_eq!(client.play, Play::File("hello.wav".into()));
        let keys: String = client.digits.iter().map(|d| d.as_char()).collect();
        assert_eq!(keys, "12#D");
        assert_eq!((client.seconds, client.json), (Some(5), true));
    }

    #[test]
    fn wrong_usage_says_what_is_right() {
        refused("", "say what to do");
        refused("rnu", "did you mean run?");
        refused("serve", "there are run, check");
        refused("chekc", "did you mean check?");
        refused("run", "run wants --config FILE");
        refused("run --config", "--config wants a value");
        refused("run --confg f", "did you mean --config?");
        refused("run f.toml", "it takes --config");
        refused("run --config a --config b", "twice");
        refused("echo", "echo wants --listen");
        refused("echo --listen 127.0.0.1:5090", "write udp://127.0.0.1:5090");
        refused("echo --listen tls://127.0.0.1:5091", "no certificate");
        refused(
            "route --config f --from example.org --to 1",
            "--from: `example.org`",
        );
        let dial = "dial --account a@b.example --password-file p";
        refused(dial, "dial wants --to JID");
        refused(&format!("{dial} --to c@d.example --play x.mp3"), "--play");
        refused(
            &format!("{dial} --to c@d.example --digits 1x"),
            "`x` is no key",
        );
        refused(&format!("{dial} --to c@d.example --seconds 0"), "--seconds");
        refused(
            &format!("{dial} --to c@d.example --server host"),
            "host:5222",
        );
        refused(&format!("{dial} --to c@d.example --json=yes"), "no value");
        refused(
            "listen --account b.example --password-file p",
            "has no user",
        );
        refused("listen --account a@b.example", "wants --password-file");
    }

    #[test]
    fn dialled_texts_are_understood() {
        let home = Country::named("US");
        let means =
            |text: &str| dialled_address(text, "phone.example.org", home).map(|a| a.to_string());
        for text in [
            "+15551234567",
            "+1 (555) 123-4567",
            "(555) 123-4567",
            "tel:+1-555-123-4567",
            "+15551234567@phone.example.org",
            "+15551234567@phone.example.org/phone",
            "+15551234567,123#@phone.example.org",
            "+15551234567,123#",
            "(555) 123-4567,,9",
        ] {
            assert_eq!(means(text), Ok("+15551234567".to_owned()), "{text}");
        }
        for text in [
            "romeo@example.net",
            "sip:romeo@example.net;transport=tcp",
            "romeo\\40example.net@phone.example.org",
            "romeo%example.net@phone.example.org",
        ] {
            assert_eq!(means(text), Ok("romeo@example.net".to_owned()), "{text}");
        }
        let at_home = dialled_address("(555) 123-4567", "phone.example.org", None);
        assert!(at_home.is_err());
        for text in ["911", "112", "112@phone.example.org"] {
            let told = dialled_address(text, "phone.example.org", home).unwrap_err();
            assert!(
                told.to_string().contains("emergency calls are not"),
                "{told}"
            );
        }
        let told = dialled_address("romeo@", "phone.example.org", home).unwrap_err();
        assert!(told.to_string().starts_with("romeo@ is neither"), "{told}");
    }
}
