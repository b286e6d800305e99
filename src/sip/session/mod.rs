//! Calls: what the messages of a dialog and the commands of its leg do to each other. One file per
//! verb.
//!
//! A [`Session`] outlives its leg: the leg ends at once, and the session stays until the wire has
//! seen the BYE, the CANCEL's end or the last late 2xx.

pub mod ack;
pub mod aside;
pub mod bye;
pub mod call;
pub mod cancel;
pub mod indialog;
pub mod info;
pub mod invite;
pub mod prack;
pub mod redirect;
pub mod refer;
pub mod referring;
pub mod reinvite;
pub mod said;
pub mod timer;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::config::Dtmf;
use crate::description::{Description, Stream};
use crate::hash::Keyed;
use crate::id::LegId;
use crate::leg::{End, LegCommand, LegEvent};
use crate::net::{Flow, SipTransport};

use super::dialog::Dialog;
use super::locate::{Place, literal};
use super::transaction::drive::{Hop, SizeRule};
use super::transaction::table::{ClientId, ServerId, User};
use super::transport::Unreachable;
use super::uri::{Scheme, Uri};
use super::wire::Message;
use super::{Sip, TimerKey};

use ack::Handshake;
use call::Calling;
use reinvite::Exchange;
use said::Said;
use timer::{Refresh, SessionTimer};

/// Challenges of one request within a call that are answered: one by the server, one by a proxy.
const MAX_CHALLENGES: u8 = 2;

/// One call of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One call.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Its leg, until that has ended.
    pub leg: Option<LegId>,
    /// Its trunk.
    pub trunk: Option<usize>,
    /// Where it came from, as long as it counts as pending there.
    pub source: Option<IpAddr>,
    /// Call-ID.
    pub call_id: String,
    /// Our tag, which is ours alone.
    pub local_tag: String,
    /// Our INVITE transactions that are not over.
    pub invites: Vec<ClientId>,
    /// The ACKs of 2xx that we sent, as long as the 2xx may be repeated.
    pub acks: Vec<ack::SentAck>,
    /// What we described last.
    pub said: Said,
    /// Where it stands.
    pub state: State,
}

/// Where a call stands.
#[derive(Debug)]
pub enum State {
    /// We call, and nobody has answered.
    Calling(Box<Calling>),
    /// We called and gave up.
    Cancelling(Box<Calling>, cancel::Cancel),
    /// We are called, and have not answered.
    Offered(Box<invite::Offered>),
    /// Answered.
    Up(Box<Up>),
    /// The leg has ended, the BYE is not yet through.
    Leaving(Box<bye::Leaving>),
    /// Nothing more is to be done but to acknowledge late responses.
    Over,
}

/// An answered call.
#[derive(Debug)]
pub struct Up {
    /// Its dialog.
    pub dialog: Dialog,
    /// Whether the peer has acknowledged our latest 2xx.
    pub handshake: Handshake,
    /// Whether an offer is under way.
    pub exchange: Exchange,
    /// An offer of ours that waits until the one under way is done.
    pub next: Option<Description>,
    /// Our own side has put the call on hold.
    pub holds: bool,
    /// A provisional response that our 2xx has overtaken.
    pub overtaken: Option<prack::Overtaken>,
    /// How keys reach the peer.
    pub keys: KeyWay,
    /// The session timer.
    pub refresh: Refresh,
    /// The transfer that the peer has asked for.
    pub referred: Option<refer::Referred>,
    /// What the peer has said that it can do.
    pub abilities: referring::Abilities,
    /// The transfer that we have asked for.
    pub referring: Option<referring::Referring>,
}

/// How keys reach the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWay {
    /// It takes telephone-event.
    Rtp,
    /// It does not, so INFO is all that is left.
    Info,
}

/// All calls, and how they are found.
#[derive(Debug)]
pub struct Sessions {
    entries: HashMap<SessionId, Box<Session>, Keyed>,
    by_tag: HashMap<String, SessionId, Keyed>,
    by_leg: HashMap<LegId, SessionId, Keyed>,
    made: u64,
    callers: u64,
}

impl Sessions {
    /// None.
    pub fn new(keyed: &Keyed) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed.clone()),
            by_tag: HashMap::with_hasher(keyed.clone()),
            by_leg: HashMap::with_hasher(keyed.clone()),
            made: 0,
            callers: 0,
        }
    }

    /// The call of a leg.
    pub fn by_leg(&self, leg: LegId) -> Option<SessionId> {
        self.by_leg.get(&leg).copied()
    }

    /// The call of our tag.
    pub fn by_tag(&self, tag: &str) -> Option<SessionId> {
        self.by_tag.get(tag).copied()
    }

    /// The trunk of a call.
    pub fn trunk_of(&self, id: SessionId) -> Option<usize> {
        self.entries.get(&id)?.trunk
    }

    /// The number for the next caller leg.
    pub fn next_caller(&mut self) -> u64 {
        self.callers += 1;
        self.callers
    }

    /// Adds a call; returns its number, which it also gets.
    pub fn insert(&mut self, mut session: Box<Session>) -> SessionId {
        self.made += 1;
        let id = SessionId(self.made);
        session.id = id;
        self.by_tag.insert(session.local_tag.clone(), id);
        if let Some(leg) = session.leg {
            self.by_leg.insert(leg, id);
        }
        self.entries.insert(id, session);
        id
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many legs have not ended.
    pub fn legs(&self) -> usize {
        self.by_leg.len()
    }
}

impl Sip {
    /// How keys reach a peer of a trunk that described itself so.
    pub(super) fn key_way(&self, trunk: Option<usize>, description: &Description) -> KeyWay {
        let wanted = trunk.and_then(|index| self.trunks.get(index));
        match wanted.map_or(Dtmf::Auto, |trunk| trunk.dtmf) {
            Dtmf::Rtp => KeyWay::Rtp,
            Dtmf::Info => KeyWay::Info,
            Dtmf::Auto => {
                let events = |audio: &Stream| audio.codecs.iter().any(|c| c.is("telephone-event"));
                match description.audio().is_some_and(events) {
                    true => KeyWay::Rtp,
                    false => KeyWay::Info,
                }
            }
        }
    }

    /// Works on a call, and takes it away if it is over.
    pub(super) fn on_session<R>(
        &mut self,
        id: SessionId,
        work: impl FnOnce(&mut Self, &mut Session) -> R,
    ) -> Option<R> {
        let mut session = self.sessions.entries.remove(&id)?;
        let result = work(self, &mut session);
        if matches!(session.state, State::Over) && session.invites.is_empty() {
            self.sessions.by_tag.remove(&session.local_tag);
            for timer in SessionTimer::ALL {
                self.timers.stop(&TimerKey::Session(id, *timer));
            }
        } else {
            self.sessions.entries.insert(id, session);
        }
        Some(result)
    }

    /// Takes a command of the call table.
    pub(super) fn leg_command(&mut self, now: Instant, leg: LegId, command: LegCommand) {
        if let LegCommand::Offer {
            from,
            to,
            display_name,
            offer,
            trunk,
            replaces,
        } = command
        {
            let order = call::Order {
                from,
                to,
                display_name,
                offer,
                trunk,
                replaces,
            };
            return self.call(now, leg, order);
        }
        let Some(id) = self.sessions.by_leg(leg) else {
            return;
        };
        self.on_session(id, |sip, session| match command {
            LegCommand::Ring => sip.ring(now, session),
            LegCommand::Progress(description) => sip.progress(now, session, description),
            LegCommand::Answer(description) => sip.answer(now, session, description),
            LegCommand::Refuse => sip.refuse_offer(now, session),
            LegCommand::Update(description) => sip.update(now, session, description),
            LegCommand::Digit(digit) => sip.send_digit(now, session, digit),
            LegCommand::Hold(hold) => sip.hold(now, session, hold),
            LegCommand::Refer { to, replaces } => sip.refer(now, session, &to, replaces),
            LegCommand::Transfer(news) => sip.transfer_news(now, session, &news),
            LegCommand::End(end) => sip.end(now, session, end),
            // SIP legs offer whole descriptions at once and have no ICE.
            LegCommand::Offer { .. } | LegCommand::Accept | LegCommand::Transport(_) => {}
        });
    }

    /// Tells the call table, as long as the leg is there.
    pub(super) fn tell(&mut self, session: &Session, event: LegEvent) {
        if let Some(leg) = session.leg {
            self.events.push_back((leg, event));
        }
    }

    /// Ends the leg, once.
    pub(super) fn end_leg(&mut self, session: &mut Session, end: End) {
        self.not_pending(session);
        let Some(leg) = session.leg.take() else {
            return;
        };
        self.sessions.by_leg.remove(&leg);
        if let Some(trunk) = session.trunk.and_then(|index| self.trunks.get_mut(index)) {
            trunk.calls = trunk.calls.saturating_sub(1);
        }
        self.events.push_back((leg, LegEvent::Ended(end)));
    }

    /// The call no longer waits for its answer, as far as its source is concerned.
    pub(super) fn not_pending(&mut self, session: &mut Session) {
        let Some(source) = session.source.take() else {
            return;
        };
        if let Some(count) = self.pending.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(&source);
            }
        }
    }

    fn end(&mut self, now: Instant, session: &mut Session, end: End) {
        match std::mem::replace(&mut session.state, State::Over) {
            State::Calling(calling) => {
                self.end_leg(session, end);
                self.cancel(now, session, calling);
            }
            State::Offered(offered) => {
                self.reject(now, session, &offered, &end);
                self.end_leg(session, end);
            }
            State::Up(up) => {
                self.end_leg(session, end.clone());
                self.leave(now, session, *up, Some(&end));
            }
            other @ (State::Cancelling(..) | State::Leaving(_) | State::Over) => {
                session.state = other;
            }
        }
    }

    /// Sends a request of a dialog, with the credentials of its trunk.
    pub(super) fn send_within(
        &mut self,
        now: Instant,
        trunk: Option<usize>,
        request: Message,
        dialog: &Dialog,
        user: User,
    ) -> Result<ClientId, Unreachable> {
        let hop = self.hop_of(dialog);
        self.send_authorized(now, trunk, request, &hop, user)
    }

    /// Where the next request of a dialog goes. Names are not asked for in the middle of a call:
    /// a known one is used, else the way that the peer came by.
    pub(super) fn hop_of(&self, dialog: &Dialog) -> Hop {
        let flow = dialog.flow;
        let back = Place {
            transport: flow.transport,
            remote: flow.remote,
        };
        let hop = |place, size| Hop {
            place,
            // Where the peer knows us: what comes from elsewhere, its filters may drop.
            local: Some(flow.local),
            server_name: None,
            size,
        };
        let Ok(uri) = Uri::parse(dialog.next_hop()) else {
            return hop(back, SizeRule::Keep);
        };
        let asked = transport_of(&uri);
        let transport = asked.unwrap_or(SipTransport::Udp);
        let size = match asked {
            None if !dialog.tcp_failed => SizeRule::TcpIfLarge,
            Some(_) | None => SizeRule::Keep,
        };
        // RFC 5923: a connection with the same host serves, if the transport is the one asked for.
        let stands = asked.is_none_or(|asked| asked == flow.transport)
            && flow.transport.is_reliable()
            && self.transports.stands(flow);
        let Some(ip) = literal(uri.host()).filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
        else {
            return match self.server_of(uri.host(), asked, Some(flow.remote)) {
                Some(place) if place.remote.ip() == flow.remote.ip() && stands => {
                    hop(back, SizeRule::Keep)
                }
                Some(mut place) => {
                    if let Some(port) = uri.port() {
                        place.remote.set_port(port);
                    }
                    hop(place, size)
                }
                None => hop(back, SizeRule::Keep),
            };
        };
        if ip == flow.remote.ip() && stands {
            return hop(back, SizeRule::Keep);
        }
        let port = uri.port().unwrap_or(transport.default_port());
        let place = Place {
            transport,
            remote: (ip, port).into(),
        };
        if transport == SipTransport::Udp && !self.transports.listens(transport, place.remote) {
            return hop(back, SizeRule::Keep);
        }
        hop(place, size)
    }
}

/// The transport that a URI asks for, if any.
pub(super) fn transport_of(uri: &Uri) -> Option<SipTransport> {
    let asked = match uri.params().get("transport") {
        Some(text) if text.eq_ignore_ascii_case("udp") => Some(SipTransport::Udp),
        Some(text) if text.eq_ignore_ascii_case("tcp") => Some(SipTransport::Tcp),
        Some(text) if text.eq_ignore_ascii_case("tls") => Some(SipTransport::Tls),
        Some(_) | None => None,
    };
    match uri.scheme() {
        Scheme::Sips => Some(SipTransport::Tls),
        Scheme::Sip | Scheme::Tel | Scheme::Urn | Scheme::Other => asked,
    }
}

/// A request within a call that waits for the call table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its transaction.
    pub server: ServerId,
    /// Its CSeq number.
    pub cseq: u32,
    /// Where it came from.
    pub flow: Flow,
}
