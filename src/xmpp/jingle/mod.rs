//! Jingle sessions (XEP-0166) with RTP (XEP-0167) over ICE (XEP-0176) and DTLS-SRTP (XEP-0320), and
//! their invitations by message (XEP-0353): the wire on one side, the vocabulary of a leg on the
//! other.
//!
//! The same code is a contact of the gateway and a user's client, and both ends of a session:
//! whoever sent `session-initiate` is the initiator, whatever the leg's role. It reads what clients
//! write and not what the schemas say (docs/decisions/0003-own-jingle-reading.md), answers every iq
//! at once, and waits for no answer to its own.
//!
//! It does not choose codecs, does not run ICE, and sends clients no `content-*`,
//! `description-info`, `transport-replace`, hold or mute: too many of them end the call for it.
//! `LegCommand::Hold` and `LegCommand::Digit` therefore do nothing, and `LegCommand::Update` is
//! answered with what the peer has described before.
//!
//! A peer that goes offline keeps its sessions for [`AWAY_GRACE`], since phones lose their stream
//! without losing their media. Then an invitation ends; a call is asked after (XEP-0166 §6.8), since its
//! client may be back without our having heard of it, and ends if the server says that it is not. One
//! that nobody says anything of ends by its silence.
//!
//! A user who invites us again while he talks to the same contact is moved (XEP-0353 §6.2): the leg
//! lives on, its new offer comes as [`LegEvent::Updated`], and the user is the initiator (and in
//! control of ICE) from then on, also of a leg that we called. A `finish` with `<migrated/>` from a
//! peer ends its session like any `finish`: what it moved to is an invitation of ours, with a leg of
//! its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jid::{BareJid, FullJid, Jid};
use minidom::Element;
use tracing::debug;

use crate::address::Address;
use crate::address::contact::{self, AddressError};
use crate::id::{LegId, Role, Room, TokenMaker};
use crate::leg::{End, EndReason, LegEvent};
use crate::pii::Pii;
use crate::timer::Timers;
use crate::xmpp::iq::Requests;
use crate::xmpp::stanza::{
    Condition, Identity, IqType, MessageType, Outbox, StanzaError, StanzaHead, Writer, element,
};

use self::content::Side;
use self::message::Verb;
use self::reason::Phase;
use self::session::{Key, Origin, Over, Session, State};

mod actions;
mod answer;
mod commands;
mod content;
mod farewell;
mod info;
mod invitations;
mod message;
pub mod reason;
mod session;
#[cfg(test)]
mod tests;
mod transfer;
mod transport;
mod typed_keys;

pub use farewell::Farewell;
pub use transfer::NS_TRANSFER;

/// The namespace of `<jingle/>`.
pub const NS_JINGLE: &str = "urn:xmpp:jingle:1";
/// The namespace of XEP-0353's messages.
pub const NS_JMI: &str = "urn:xmpp:jingle-message:0";
/// The namespace of Jingle's own error conditions (XEP-0166 §10).
const NS_ERRORS: &str = "urn:xmpp:jingle:errors:1";

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

/// What it says beside, of contacts that calls with pictures can be made to.
pub const VIDEO_FEATURES: &[&str] = &[
    "urn:xmpp:jingle:apps:rtp:video",
    "urn:xmpp:jingle:apps:rtp:rtcp-fb:0",
];

/// Sessions and invitations at a time. One takes about 4 kB, so all take 40 MB; a machine bridges
/// fewer calls than this.
pub const MAX_SESSIONS: usize = 10_000;
/// Sessions and invitations of one user at a time: far beyond what one person can do, and more than
/// the call table allows by default.
pub const MAX_SESSIONS_PER_USER: usize = 16;
/// How long an invitation may go without `ringing`: Conversations gives up after 6 s.
pub const FIRST_RINGING: Duration = Duration::from_secs(3);
/// How often `ringing` is repeated: Monal gives up 45 s after the last one.
pub const RINGING_AGAIN: Duration = Duration::from_secs(25);
/// How long `session-initiate` may take after our `proceed`: Monal itself gives up after 15 s.
pub const OFFER_LIMIT: Duration = Duration::from_secs(15);
/// How long a peer may be offline before its sessions are ended, or asked after.
pub const AWAY_GRACE: Duration = Duration::from_secs(30);
/// How long the XMPP server may be away before its users cannot be called: a call can wait for as long
/// as a restart takes.
pub const LINK_GRACE: Duration = Duration::from_secs(5);

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JingleCensus {
    /// Sessions and invitations that have not ended.
    pub sessions: usize,
    /// Deadlines that are set.
    pub timers: usize,
    /// Requests of ours that nobody has answered yet.
    pub requests: usize,
}

/// Whether clients may call without encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// No DTLS-SRTP, no call.
    #[default]
    Required,
    /// A client without DTLS-SRTP gets plain RTP (Gajim; Kaidan where it saw no DTLS feature).
    Optional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// `ringing` is due.
    Ringing(LegId),
    /// `session-initiate` has not come.
    Offer(LegId),
    /// The peer has been offline too long.
    Away(LegId),
}

/// A request of ours.
#[derive(Clone, Debug)]
struct Asked {
    leg: LegId,
    sid: String,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Initiate,
    Other,
}

/// Every Jingle session of the room.
pub struct Jingle {
    identity: Identity,
    protection: Protection,
    tokens: TokenMaker,
    out: Outbox,
    sessions: BTreeMap<LegId, Session>,
    by_user: BTreeMap<BareJid, BTreeMap<Key, LegId>>,
    over: Over,
    timers: Timers<Timer>,
    requests: Requests<Asked>,
    events: VecDeque<(LegId, LegEvent)>,
    farewells: VecDeque<Farewell>,
    callers: u64,
    /// Since when there is no link, unless there is one.
    cut_off: Option<Instant>,
}

impl Jingle {
    /// No sessions; calls must be encrypted.
    pub fn new(identity: Identity, mut tokens: TokenMaker) -> Self {
        Self {
            out: Outbox::new(&identity, tokens.fork()),
            identity,
            protection: Protection::default(),
            tokens,
            sessions: BTreeMap::new(),
            by_user: BTreeMap::new(),
            over: Over::default(),
            timers: Timers::default(),
            requests: Requests::default(),
            events: VecDeque::new(),
            farewells: VecDeque::new(),
            callers: 0,
            cut_off: None,
        }
    }

    /// The same with another rule about encryption.
    pub fn with_protection(self, protection: Protection) -> Self {
        Self { protection, ..self }
    }

    /// The link to the server is there, or is lost since `cut_off`.
    pub fn set_link(&mut self, cut_off: Option<Instant>) {
        self.cut_off = cut_off;
    }

    /// A user's resource has gone.
    pub fn peer_unavailable(&mut self, now: Instant, jid: &FullJid) {
        for leg in self.legs_of_device(jid) {
            self.timers.set(Timer::Away(leg), now + AWAY_GRACE);
        }
    }

    /// A user's resource has come back.
    pub fn peer_available(&mut self, jid: &FullJid) {
        for leg in self.legs_of_device(jid) {
            self.timers.stop(&Timer::Away(leg));
        }
    }

    fn legs_of_device(&self, jid: &FullJid) -> Vec<LegId> {
        let is_there = |leg: &LegId| {
            let session = self.sessions.get(leg);
            session.is_some_and(|session| session.device.as_ref() == Some(jid))
        };
        let legs = self.by_user.get(&jid.to_bare()).into_iter().flatten();
        legs.map(|(_, leg)| *leg).filter(is_there).collect()
    }

    /// Ends every session of these two, peer and contact, since they cannot reach each other any more.
    pub fn part(&mut self, are_parted: impl Fn(&BareJid, &BareJid) -> bool) {
        let parted = self.sessions.iter();
        let parted = parted.filter(|(_, s)| are_parted(&s.key.peer, &s.key.local));
        let legs: Vec<LegId> = parted.map(|(leg, _)| *leg).collect();
        for leg in legs {
            let end = End::because(EndReason::PeerGone, "the channel between them is gone");
            self.close_as(leg, "gone", end);
        }
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.requests.pop_due(now).is_some() {}
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Ringing(leg) => self.ring(now, leg),
                Timer::Offer(leg) => {
                    let end = End::because(EndReason::PeerGone, "no session-initiate came");
                    self.close(leg, end);
                }
                Timer::Away(leg) => self.still_away(now, leg),
            }
        }
    }

    fn still_away(&mut self, now: Instant, leg: LegId) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        match session.state {
            // An empty one is a question whether the session is alive.
            State::Active { .. } => {
                self.request(Some((now, What::Other)), leg, "session-info", []);
            }
            State::Invited { .. }
            | State::Expecting { .. }
            | State::Offered { .. }
            | State::Inviting { .. }
            | State::Offering { .. } => {
                let end = End::because(EndReason::PeerGone, "the client went offline");
                self.close(leg, end);
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.timers.soonest(), self.requests.soonest()];
        times.into_iter().flatten().min()
    }

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        self.out.pop()
    }

    /// The next event of a leg.
    pub fn poll_event(&mut self) -> Option<(LegId, LegEvent)> {
        self.events.pop_front()
    }

    /// How much is there.
    pub fn census(&self) -> JingleCensus {
        JingleCensus {
            sessions: self.sessions.len(),
            timers: self.timers.len(),
            requests: self.requests.len(),
        }
    }

    fn tell(&mut self, leg: LegId, event: LegEvent) {
        self.events.push_back((leg, event));
    }

    fn key(head: &StanzaHead, sid: &str) -> Key {
        Key {
            peer: head.from.to_bare(),
            local: head.to.to_bare(),
            sid: sid.to_owned(),
        }
    }

    fn leg(&self, key: &Key) -> Option<LegId> {
        self.by_user.get(&key.peer)?.get(key).copied()
    }

    /// The sessions between two JIDs, in the order of their ids.
    fn between(&self, peer: &BareJid, local: &BareJid) -> impl Iterator<Item = (LegId, &Session)> {
        let legs = self.by_user.get(peer).into_iter().flatten();
        legs.filter(move |(key, _)| key.local == *local)
            .filter_map(|(_, leg)| Some((*leg, self.sessions.get(leg)?)))
    }

    fn has_room(&self, peer: &BareJid) -> bool {
        let of_user = self.by_user.get(peer).map_or(0, BTreeMap::len);
        self.sessions.len() < MAX_SESSIONS && of_user < MAX_SESSIONS_PER_USER
    }

    fn insert(&mut self, leg: LegId, session: Session) {
        let of_user = self.by_user.entry(session.key.peer.clone()).or_default();
        of_user.insert(session.key.clone(), leg);
        debug!(%leg, peer = ?Pii(&session.key.peer), sid = session.key.sid, "jingle session");
        self.sessions.insert(leg, session);
    }

    fn unlist(&mut self, key: &Key) {
        if let Some(of_user) = self.by_user.get_mut(&key.peer) {
            of_user.remove(key);
            if of_user.is_empty() {
                self.by_user.remove(&key.peer);
            }
        }
    }

    fn next_caller(&mut self) -> LegId {
        self.callers += 1;
        LegId {
            room: Room::Xmpp,
            role: Role::Caller,
            number: self.callers,
        }
    }

    /// Whom a stanza to `to` calls.
    fn called(&self, to: &Jid) -> Result<Address, AddressError> {
        match &self.identity {
            Identity::Component { .. } => {
                let local = to.node().map(|node| node.as_str()).unwrap_or_default();
                Ok(contact::parse(local)?.address)
            }
            Identity::Client { jid } => Ok(Address::Xmpp(jid.to_bare())),
        }
    }

    /// Ends a session from our side: says goodbye as its state wants it, and forgets it.
    fn close(&mut self, leg: LegId, end: End) {
        self.close_as(leg, reason::for_terminate(end.reason), end);
    }

    /// The same with a condition of its own for `session-terminate`.
    fn close_as(&mut self, leg: LegId, condition: &'static str, end: End) {
        self.note_end(leg, &end);
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let text = end.text.as_deref();
        let (terminate, finish) = match &session.state {
            State::Invited { early: None } => {
                let condition = reason::for_reject(end.reason);
                let payload = message::ending(Verb::Reject, &session.key.sid, condition, text);
                send_message(&mut self.out, session, &session.to(), payload);
                (false, false)
            }
            State::Inviting { .. } => {
                self.retract(leg, end.reason, text);
                (false, false)
            }
            // The other devices of the user stop ringing by the retract, the one that has taken
            // the call by the two others.
            State::Offering { .. } => {
                if session.origin == Origin::Invitation {
                    self.retract(leg, end.reason, text);
                }
                (true, true)
            }
            State::Expecting { .. } => (false, true),
            State::Invited { early: Some(_) } | State::Offered { .. } | State::Active { .. } => {
                (true, true)
            }
        };
        if terminate {
            self.terminate(leg, condition, text);
        }
        if finish {
            self.finish(leg, condition, text);
        }
        self.forget(leg, condition, end);
    }

    /// Forgets a session that has said or heard its goodbye, and tells its end.
    fn forget(&mut self, leg: LegId, condition: &'static str, end: End) {
        let Some(session) = self.sessions.remove(&leg) else {
            return;
        };
        self.unlist(&session.key);
        for timer in [Timer::Ringing(leg), Timer::Offer(leg), Timer::Away(leg)] {
            self.timers.stop(&timer);
        }
        self.over.remember(session.key, condition);
        debug!(%leg, reason = %end.reason, "jingle session over");
        self.tell(leg, LegEvent::Ended(end));
    }

    fn terminate(&mut self, leg: LegId, condition: &'static str, text: Option<&str>) {
        let mut reason = reason::write(condition, text);
        if self.sessions.get(&leg).is_some_and(|s| s.transferred) {
            reason.append_child(transfer::transferred());
        }
        self.request(None, leg, "session-terminate", [reason]);
    }

    /// Tells the archives of both sides that an invited call is over (XEP-0353 §3.7).
    fn finish(&mut self, leg: LegId, condition: &'static str, text: Option<&str>) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        if session.origin == Origin::Invitation {
            let payload = message::ending(Verb::Finish, &session.key.sid, condition, text);
            send_message(&mut self.out, session, &session.to(), payload);
        }
    }

    /// Takes an invitation back, on all devices.
    fn retract(&mut self, leg: LegId, reason: EndReason, text: Option<&str>) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let condition = reason::for_retract(reason);
        let payload = message::ending(Verb::Retract, &session.key.sid, condition, text);
        let everybody = session.key.peer.clone().into();
        send_message(&mut self.out, session, &everybody, payload);
    }

    /// Sends a Jingle action, and waits for its answer if that can matter.
    fn request(
        &mut self,
        wait: Option<(Instant, What)>,
        leg: LegId,
        action: &'static str,
        children: impl IntoIterator<Item = Element>,
    ) {
        let Some(session) = self.sessions.get(&leg) else {
            return;
        };
        let jingle = start_jingle(session, action).children(children).build();
        let (from, to) = (session.local.clone().into(), session.to());
        let sid = session.key.sid.clone();
        let id = self.out.iq(IqType::Set, &from, &to, jingle);
        if let Some((now, what)) = wait
            && self.requests.has_room()
        {
            self.requests.sent(now, id, to, Asked { leg, sid, what });
        }
    }
}

fn start_jingle(session: &Session, action: &'static str) -> Writer {
    let jingle = element("jingle", NS_JINGLE)
        .attr("action", action)
        .attr("sid", &session.key.sid);
    let local = session.local.as_str();
    match (session.side, action) {
        (Side::Initiator, "session-initiate") => jingle.attr("initiator", local),
        (Side::Responder, "session-accept") => jingle.attr("responder", local),
        _ => jingle,
    }
}

/// Sends an invitation message: always of type chat, because Kaidan reads no other (XEP-0353 §3).
fn send_message(out: &mut Outbox, session: &Session, to: &Jid, payload: Vec<Element>) {
    let from = session.local.clone().into();
    out.message(MessageType::Chat, &from, to, payload);
}

/// An error with a condition of Jingle's own.
fn jingle_error(condition: Condition, own: &'static str) -> StanzaError {
    StanzaError::from(condition).with_detail(element(own, NS_ERRORS).build())
}
