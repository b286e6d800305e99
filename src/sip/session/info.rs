//! Keys in signalling: INFO with `application/dtmf-relay` or `application/dtmf` (RFC 6086 §2 calls
//! it legacy usage).

use std::time::Instant;

use crate::leg::{Digit, LegEvent};
use crate::sip::Sip;
use crate::sip::transaction::table::{ServerId, User};
use crate::sip::wire::{Message, Method, Name};

use super::{KeyWay, Session, State};

/// How long a key is said to be pressed.
const DURATION_MS: u16 = 160;

impl Sip {
    /// An INFO came.
    pub(super) fn info_came(
        &mut self,
        now: Instant,
        session: &Session,
        server: ServerId,
        request: &Message,
    ) {
        if request.body.is_empty() {
            return self.respond(now, server, 200, None, |r| r);
        }
        let kind = request.content_type();
        let dtmf = kind.is_some_and(|kind| {
            kind.is("application", "dtmf-relay") || kind.is("application", "dtmf")
        });
        if !dtmf {
            return self.respond(now, server, 415, None, |r| {
                r.with(Name::Accept, "application/dtmf-relay, application/dtmf")
            });
        }
        match digit(&request.body) {
            Some(digit) => {
                self.respond(now, server, 200, None, |r| r);
                self.tell(session, LegEvent::Digit(digit));
            }
            None => self.respond(now, server, 400, None, |r| r.with_reason("No Known Signal")),
        }
    }

    /// Sends a key, if it cannot go as telephone-event.
    pub(super) fn send_digit(&mut self, now: Instant, session: &mut Session, digit: Digit) {
        let State::Up(up) = &mut session.state else {
            return;
        };
        if up.keys == KeyWay::Rtp {
            return;
        }
        let body = format!("Signal={}\r\nDuration={DURATION_MS}\r\n", digit.as_char());
        let info = up
            .dialog
            .request(Method::Info)
            .with_body("application/dtmf-relay", body);
        let user = User::Aside(session.id, 0);
        // A key that cannot be sent is lost; the call is not.
        let _ = self.send_within(now, session.trunk, info, &up.dialog, user);
    }
}

/// `Signal=5` among other lines, or a bare key; `10` and `11` are `*` and `#`, as some peers say.
fn digit(body: &[u8]) -> Option<Digit> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("signal")
                .then_some(value.trim())
        })
        .unwrap_or(text.trim());
    let mut chars = signal.chars();
    match (chars.next(), chars.next()) {
        (Some(key), None) => Digit::from_char(key),
        _ => Digit::from_event(signal.parse().ok().filter(|event| *event >= 10)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_the_ways_that_peers_write_them() {
        let key = |text: &str| digit(text.as_bytes()).map(Digit::as_char);
        assert_eq!(key("Signal=5\r\nDuration=160"), Some('5'));
        assert_eq!(key("Duration=100\r\nsignal= *\r\n"), Some('*'));
        assert_eq!(key("#"), Some('#'));
        assert_eq!(key("Signal=11"), Some('#'));
        assert_eq!(key("Signal="), None);
        assert_eq!(key("hello"), None);
    }
}
