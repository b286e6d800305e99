//! Presence decloaking (XEP-0276): somebody who has never seen a contact asks for its presence and
//! capabilities, to call it. The gateway answers every such request at once and unconditionally,
//! which XEP-0276 §8 leaves to gateways, and asks the users it calls; a user's client of ours asks,
//! and never answers.
//!
//! The request has had three names; all are read, the last one is written.

use minidom::Element;

use super::stanza::element;

/// The namespace since XEP-0276 0.2.
pub const NS_DECLOAK: &str = "urn:xmpp:decloak:0";

/// Name and namespace of each spelling of the request.
const SPELLINGS: [(&str, &str); 3] = [
    ("decloak", NS_DECLOAK),
    // COMPAT(telepathy-gabble, all): XEP-0276 0.1; gone when its `namespaces.h` is.
    ("temppres", "urn:xmpp:temppres:0"),
    // COMPAT(before the XEP): as the first proposal has it.
    (
        "decloak",
        "http://telepathy.freedesktop.org/xmpp/protocol/decloak",
    ),
];

/// What the presence is wanted for (XEP-0276 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A call.
    Media,
    /// A conversation in text.
    Text,
    /// A file transfer.
    File,
    /// Something else, or nobody said.
    Other,
}

/// The request within a presence.
pub fn requested(presence: &Element) -> Option<Reason> {
    let is_request = |child: &&Element| SPELLINGS.iter().any(|(name, ns)| child.is(*name, *ns));
    let request = presence.children().find(is_request)?;
    Some(match request.attr("reason") {
        Some("media") => Reason::Media,
        Some("text") => Reason::Text,
        Some("file") => Reason::File,
        Some(_) | None => Reason::Other,
    })
}

/// The element of a request.
pub fn request(reason: Reason) -> Element {
    let reason = match reason {
        Reason::Media => Some("media"),
        Reason::Text => Some("text"),
        Reason::File => Some("file"),
        Reason::Other => None,
    };
    element("decloak", NS_DECLOAK)
        .attr_opt("reason", reason)
        .build()
}
