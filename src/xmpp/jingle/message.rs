//! The payloads of XEP-0353 (Jingle Message Initiation).

use minidom::Element;
use xmpp_parsers::ns::JINGLE_RTP;

use super::{NS_JMI, reason};
use crate::description::Media;
use crate::xmpp::NS_HINTS;
use crate::xmpp::stanza::element;

/// Bytes of a session id at most. UUIDs have 36; ids are echoed and kept.
pub const MAX_SID: usize = 256;

/// What an invitation message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Invites.
    Propose,
    /// Says that a device rings.
    Ringing,
    /// Takes the invitation.
    Proceed,
    /// Declines it, or, from some clients, takes their own back.
    Reject,
    /// Takes it back.
    Retract,
    /// Tells everybody's archive that the call is over.
    Finish,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Ringing => "ringing",
            Self::Proceed => "proceed",
            Self::Reject => "reject",
            Self::Retract => "retract",
            Self::Finish => "finish",
        }
    }
}

/// The verb and the session id; `None` for what is not for us (`accept` is said among the devices
/// of one user) or has no usable id.
pub fn read(payload: &Element) -> Option<(Verb, &str)> {
    if payload.ns() != NS_JMI {
        return None;
    }
    let verb = match payload.name() {
        "propose" => Verb::Propose,
        "ringing" => Verb::Ringing,
        "proceed" => Verb::Proceed,
        "reject" => Verb::Reject,
        "retract" => Verb::Retract,
        "finish" => Verb::Finish,
        _ => return None,
    };
    let sid = payload.attr("id")?;
    (!sid.is_empty() && sid.len() <= MAX_SID).then_some((verb, sid))
}

/// Writes `propose` for these kinds of media.
pub fn propose(sid: &str, kinds: &[Media]) -> Vec<Element> {
    let descriptions = kinds.iter().filter_map(|kind| {
        let media = match kind {
            Media::Audio => "audio",
            Media::Video => "video",
            Media::Other => return None,
        };
        let description = element("description", JINGLE_RTP).attr("media", media);
        Some(description.build())
    });
    let propose = element(Verb::Propose.as_str(), NS_JMI)
        .attr("id", sid)
        .children(descriptions);
    stored(propose.build())
}

/// Writes `ringing` or `proceed`.
pub fn plain(verb: Verb, sid: &str) -> Vec<Element> {
    stored(element(verb.as_str(), NS_JMI).attr("id", sid).build())
}

/// Writes `reject`, `retract` or `finish`.
pub fn ending(verb: Verb, sid: &str, condition: &'static str, text: Option<&str>) -> Vec<Element> {
    with_mark(verb, sid, condition, text, None)
}

/// Writes `reject` or `retract` of the call that gives way to another one (XEP-0353 §6.1).
pub fn tie_break(verb: Verb, sid: &str) -> Vec<Element> {
    let mark = element("tie-break", NS_JMI).build();
    with_mark(verb, sid, "expired", None, Some(mark))
}

/// Writes the `finish` of a call that goes on as `to` (XEP-0353 §6.2).
pub fn migrated(sid: &str, to: &str) -> Vec<Element> {
    let mark = element("migrated", NS_JMI).attr("to", to).build();
    with_mark(Verb::Finish, sid, "expired", None, Some(mark))
}

fn with_mark(
    verb: Verb,
    sid: &str,
    condition: &'static str,
    text: Option<&str>,
    mark: Option<Element>,
) -> Vec<Element> {
    let payload = element(verb.as_str(), NS_JMI)
        .attr("id", sid)
        .child(reason::write(condition, text))
        .children(mark);
    stored(payload.build())
}

fn stored(payload: Element) -> Vec<Element> {
    vec![payload, element("store", NS_HINTS).build()]
}
