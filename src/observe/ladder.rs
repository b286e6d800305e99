//! The call ladder: both protocols side by side, a line a message, as it happens.

use std::fmt;
use std::time::{Duration, Instant};

use minidom::Element;

use crate::net::{NetInput, NetOutput};

/// Width of the XMPP column.
const COLUMN: usize = 34;

/// Writes rungs with times from its first one.
#[derive(Debug, Default)]
pub struct Ladder {
    start: Option<Instant>,
}

/// One message on the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Since the first message.
    pub at: Duration,
    /// Where it goes.
    pub way: Way,
    /// What it is.
    pub text: String,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the XMPP side to us.
    FromXmpp,
    /// To the XMPP side.
    ToXmpp,
    /// From the SIP side to us.
    FromSip,
    /// To the SIP side.
    ToSip,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, way, text } = self;
        let time = format!("{:8.3}", at.as_secs_f64());
        let nothing = "";
        match way {
            Way::FromXmpp => write!(f, "{time}  {text:<COLUMN$} ──▶ │"),
            Way::ToXmpp => write!(f, "{time}  {text:<COLUMN$} ◀── │"),
            Way::ToSip => write!(f, "{time}  {nothing:<COLUMN$}     │ ──▶ {text}"),
            Way::FromSip => write!(f, "{time}  {nothing:<COLUMN$}     │ ◀── {text}"),
        }
    }
}

impl Ladder {
    /// The line above the first rung.
    pub fn heading() -> String {
        format!("{:>8}  {:<COLUMN$}  offhook  {}", "s", "XMPP", "SIP")
    }

    /// A stanza that came.
    pub fn stanza_in(&mut self, now: Instant, stanza: &Element) -> Option<Rung> {
        self.rung(now, Way::FromXmpp, stanza_text(stanza))
    }

    /// A stanza that goes.
    pub fn stanza_out(&mut self, now: Instant, stanza: &Element) -> Option<Rung> {
        self.rung(now, Way::ToXmpp, stanza_text(stanza))
    }

    /// Something from the SIP network.
    pub fn net_in(&mut self, now: Instant, input: &NetInput) -> Option<Rung> {
        match input {
            NetInput::Datagram { bytes, .. } | NetInput::Stream { bytes, .. } => {
                self.rung(now, Way::FromSip, sip_text(bytes))
            }
            NetInput::Connected { .. }
            | NetInput::Closed { .. }
            | NetInput::Unsent { .. }
            | NetInput::Resolved { .. }
            | NetInput::Unresolved { .. } => None,
        }
    }

    /// Something to the SIP network.
    pub fn net_out(&mut self, now: Instant, output: &NetOutput) -> Option<Rung> {
        match output {
            NetOutput::Send { bytes, .. } => self.rung(now, Way::ToSip, sip_text(bytes)),
            NetOutput::Connect { .. } | NetOutput::Close { .. } | NetOutput::Resolve { .. } => None,
        }
    }

    fn rung(&mut self, now: Instant, way: Way, text: Option<String>) -> Option<Rung> {
        let text = text?;
        let start = *self.start.get_or_insert(now);
        Some(Rung {
            at: now.saturating_duration_since(start),
            way,
            text,
        })
    }
}

/// A stanza in a few words; `None` for what only accompanies a call.
fn stanza_text(stanza: &Element) -> Option<String> {
    let kind = stanza.attr("type");
    let payload = stanza.children().find(|child| !is_hint(child.name()));
    match (stanza.name(), payload) {
        ("presence", payload) => {
            let decloak = payload.filter(|p| matches!(p.name(), "decloak" | "temppres"));
            Some(match decloak {
                Some(decloak) => {
                    format!("presence <{}/>", decloak.name())
                }
                None => format!("presence {}", kind.unwrap_or("available")),
            })
        }
        ("iq", Some(payload)) if payload.name() == "jingle" => {
            let action = payload.attr("action").unwrap_or("?");
            let detail = payload
                .children()
                .find(|child| child.name() == "reason" || action == "session-info")
                .and_then(|child| match child.name() {
                    "reason" => child.children().next().map(Element::name),
                    name => Some(name),
                });
            Some(match detail {
                Some(detail) => format!("{action} ({detail})"),
                None => action.to_owned(),
            })
        }
        ("iq", Some(payload)) if kind == Some("error") => {
            let condition = stanza
                .children()
                .find(|child| child.name() == "error")
                .and_then(|error| error.children().next());
            Some(format!("iq error {}", condition.unwrap_or(payload).name()))
        }
        ("message", Some(payload)) => {
            let detail = payload
                .children()
                .find(|child| child.name() == "reason")
                .and_then(|reason| reason.children().next())
                .map(|reason| format!(" ({})", reason.name()));
            Some(format!("{}{}", payload.name(), detail.unwrap_or_default()))
        }
        _ => None,
    }
}

fn is_hint(name: &str) -> bool {
    matches!(
        name,
        "store" | "origin-id" | "stanza-id" | "request" | "delay" | "c" | "x"
    )
}

/// The first line of a SIP message without its addresses; `None` for keep-alives and health
/// checks.
fn sip_text(bytes: &[u8]) -> Option<String> {
    let header = |name: &str| {
        bytes
            .split(|b| *b == b'\n')
            .take_while(|line| !line.is_empty() && line != b"\r")
            .find_map(|line| {
                let line = std::str::from_utf8(line).ok()?;
                let (found, value) = line.split_once(':')?;
                found
                    .trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
    };
    let line = bytes.split(|b| *b == b'\r' || *b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let method = header("CSeq")?.split_whitespace().nth(1)?.to_owned();
    if method == "OPTIONS" || method == "REGISTER" {
        return None;
    }
    let sdp = if bytes.windows(4).any(|w| w == b"\nv=0") {
        " + SDP"
    } else {
        ""
    };
    match line.strip_prefix("SIP/2.0 ") {
        Some(status) => Some(format!("{status} ({method}){sdp}")),
        None => Some(format!("{method}{sdp}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn both_protocols_stand_side_by_side() {
        let t0 = Instant::now();
        let mut ladder = Ladder::default();
        let propose: Element = "<message xmlns='jabber:client' type='chat'>\
             <store xmlns='urn:xmpp:hints'/><propose xmlns='urn:xmpp:jingle-message:0'/></message>"
            .parse()
            .unwrap();
        let first = ladder.stanza_in(t0, &propose).unwrap();
        let invite = b"INVITE sip:a@b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n".to_vec();
        let flow = crate::net::Flow {
            transport: crate::net::SipTransport::Udp,
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([127, 0, 0, 1], 5061).into(),
            connection: None,
        };
        let at = t0 + Duration::from_millis(1);
        let second = ladder
            .net_out(
                at,
                &NetOutput::Send {
                    flow,
                    bytes: invite,
                },
            )
            .unwrap();
        assert_eq!(
            first.to_string(),
            "   0.000  propose                            ──▶ │"
        );
        assert!(second.to_string().ends_with("│ ──▶ INVITE + SDP"));
    }
}
