//! Jingle sessions (XEP-0166) and their invitations (XEP-0353).

use std::time::Instant;

use jid::{FullJid, Jid};
use minidom::Element;

use crate::id::{LegId, TokenMaker};
use crate::leg::{LegCommand, LegEvent};
use crate::xmpp::caps::Resources;
use crate::xmpp::stanza::{Identity, Outbox, StanzaError, StanzaHead};

/// The namespace of `<jingle/>`.
pub const NS_JINGLE: &str = "urn:xmpp:jingle:1";
/// The namespace of XEP-0353's messages.
pub const NS_JMI: &str = "urn:xmpp:jingle-message:0";

/// What disco#info of a contact says for this room.
pub const FEATURES: &[&str] = &[
    NS_JINGLE,
    NS_JMI,
    "urn:xmpp:jingle:apps:dtls:0",
    "urn:xmpp:jingle:apps:rtp:1",
    "urn:xmpp:jingle:apps:rtp:audio",
    "urn:xmpp:jingle:transports:ice-udp:1",
    "urn:ietf:rfc:5888",
];

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JingleCensus {
    /// Sessions and invitations that have not ended.
    pub sessions: usize,
}

/// Every Jingle session of the room.
pub struct Jingle {
    out: Outbox,
}

impl Jingle {
    /// No sessions.
    pub fn new(identity: Identity, tokens: TokenMaker) -> Self {
        Self {
            out: Outbox::new(&identity, tokens),
        }
    }

    /// An iq set with a `<jingle/>`; this room answers it.
    pub fn handle_iq(&mut self, _now: Instant, _head: &StanzaHead, _jingle: &Element) {}

    /// A message, not of type error, with a payload of [`NS_JMI`].
    pub fn handle_message(&mut self, _now: Instant, _head: &StanzaHead, _payload: &Element) {}

    /// A message of ours came back; `head.id` is the id that it was sent with.
    pub fn message_bounced(&mut self, _now: Instant, _head: &StanzaHead, _error: &StanzaError) {}

    /// The answer to an iq that the router does not know, so this room may have sent it.
    pub fn handle_iq_response(
        &mut self,
        _now: Instant,
        _id: &str,
        _from: &Jid,
        _outcome: Result<(), StanzaError>,
    ) {
    }

    /// A user's resource has gone.
    pub fn peer_unavailable(&mut self, _now: Instant, _jid: &FullJid) {}

    /// A command for a leg of this room; `resources` says what the callee's devices can do.
    pub fn command(
        &mut self,
        _now: Instant,
        _leg: LegId,
        _command: LegCommand,
        _resources: &Resources,
    ) {
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        self.out.pop()
    }

    /// The next event of a leg.
    pub fn poll_event(&mut self) -> Option<(LegId, LegEvent)> {
        None
    }

    /// How much is there.
    pub fn census(&self) -> JingleCensus {
        JingleCensus::default()
    }
}
