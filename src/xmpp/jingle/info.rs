//! `session-info` payloads (XEP-0167 §8).
//!
//! Every kind is acknowledged by the caller of this file, also those it does not know: an error
//! would end some clients' calls.

use minidom::Element;

use crate::xmpp::stanza::element;

/// The namespace of the informational messages.
pub const NS_INFO: &str = "urn:xmpp:jingle:apps:rtp:info:1";

/// What a `session-info` says to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info {
    /// The callee's phone rings.
    Ringing,
    /// The peer holds the call.
    Hold,
    /// The peer takes it up again.
    Unhold,
}

/// Reads a `<jingle/>`; `None` for mute, unmute, a ping, and what nobody has defined.
pub fn read(jingle: &Element) -> Option<Info> {
    let payload = jingle.children().find(|child| child.ns() == NS_INFO)?;
    match payload.name() {
        "ringing" => Some(Info::Ringing),
        "hold" => Some(Info::Hold),
        "unhold" | "active" => Some(Info::Unhold),
        _ => None,
    }
}

/// Writes `<ringing/>`, the only one that we send.
pub fn ringing() -> Element {
    element("ringing", NS_INFO).build()
}
