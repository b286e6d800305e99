//! What is logged: `OFFHOOK_LOG` says it.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// The variable.
pub const VARIABLE: &str = "OFFHOOK_LOG";

/// These crates write passwords and whole stanzas at debug or trace: never asked for by accident.
const TOO_OPEN: [&str; 3] = ["is=warn", "sqlx=warn", "tokio_xmpp=warn"];
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Begins to log to stderr, or says what is wrong with the variable.
pub fn start() -> Result<(), String> {
    let asked = std::env::var_os(VARIABLE).unwrap_or_default();
    let filter = filter(&asked.to_string_lossy())?;
    let filter = TOO_OPEN
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .with_target(false)
        .init();
    Ok(())
}

/// Reads the variable; an empty one is none.
fn filter(asked: &str) -> Result<EnvFilter, String> {
    let asked = match asked.trim() {
        "" => "info",
        asked => asked,
    };
    let wrong = |part: &str| {
        let levels = LEVELS.join(", ");
        format!(
            "{VARIABLE}: `{part}` is no level; there are {levels}, and PART=LEVEL, such as offhook::sip=debug"
        )
    };
    // The library takes a word that is no level for the name of a part, and then logs no other.
    for part in asked.split(',').map(str::trim) {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
        let names_a_part = part.contains(['=', '[', ':']) || part == "offhook";
        if !is_level && !names_a_part && !part.is_empty() {
            return Err(wrong(part));
        }
    }
    EnvFilter::try_new(asked).map_err(|_| wrong(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read() {
        for (asked, read) in [
            ("", "info"),
            (" ", "info"),
            ("debug", "debug"),
            ("WARN", "warn"),
            ("offhook::sip=trace,info", "offhook::sip=trace,info"),
            ("offhook", "offhook=trace"),
            ("hyper=off", "hyper=off"),
        ] {
            let filter = filter(asked).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert_eq!(filter.to_string(), read, "{asked}");
        }
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for (asked, part) in [
            ("debgu", "`debgu`"),
            ("info,verbose", "`verbose`"),
            ("offhook=debgu", "`offhook=debgu`"),
        ] {
            let told = filter(asked).expect_err(asked);
            assert!(
                told.contains(part) && told.contains("there are error"),
                "{told}"
            );
        }
    }
}
