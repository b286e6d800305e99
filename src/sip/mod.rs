//! The SIP room: turns SIP messages into the vocabulary of a call and back.
//!
//! A message goes `receive` → transaction → dialog → session, and answers leave by the same
//! transaction. Nothing here opens a socket or asks a clock: see [`Sip::handle`],
//! [`Sip::command`], [`Sip::handle_timeout`] and the three `poll_*` functions.
//!
//! Done here: RFC 3261 (UAC and UAS, no proxy), RFC 6026, RFC 3264 as far as a leg needs it,
//! RFC 3581, RFC 3311 (UPDATE), RFC 4028 (session timers), RFC 3326 (Reason), RFC 3263 without
//! NAPTR, RFC 3262 (100rel), RFC 3515 and 3891 (REFER, Replaces), RFC 3428 (MESSAGE), REGISTER as a
//! client (trunk/register.rs). Not here: registrar, proxy.

pub mod auth;
pub mod dialog;
mod flows;
pub mod locate;
pub mod reason;
mod receive;
pub mod sdp;
pub mod session;
mod strangers;
#[cfg(test)]
mod tests;
pub mod text;
pub mod transaction;
pub mod transport;
pub mod trunk;
pub mod uri;
pub mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::config::{SipConfig, TrunkConfig};
use crate::hash::Keyed;
use crate::id::{ConnectionId, LegId, QueryId, TokenMaker};
use crate::leg::{LegCommand, LegEvent};
use crate::net::{NetInput, NetOutput, Record};
use crate::timer::Timers;

use locate::Locator;
use session::timer::SessionTimer;
use session::{SessionId, Sessions};
use strangers::Strangers;
use text::Texts;
use transaction::Timer;
use transaction::table::{ClientId, Clients, ServerId, Servers};
use transport::Transports;
use trunk::Trunk;

/// Transactions at a time, client and server each: at 1,000 calls a second on UDP about 100,000
/// live at once (32 s each), at about 1 KiB.
pub const MAX_TRANSACTIONS: usize = 200_000;
/// Calls at a time, answered or not.
pub const MAX_SESSIONS: usize = 50_000;
/// Unanswered calls from one source address at a time: a trunk's busy minute fits, a flood does
/// not take all sessions.
pub const MAX_PENDING_PER_SOURCE: usize = 2_000;
/// Seconds that a refused peer shall wait (Retry-After).
pub const RETRY_AFTER: &str = "5";
/// What we do, for Allow.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY";
/// The same where texts are taken.
pub const ALLOW_TEXTS: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, MESSAGE";
/// What we understand, for Supported.
pub const SUPPORTED: &str = "100rel, replaces, timer";
/// What we take, for Accept.
pub const ACCEPT: &str = "application/sdp";

/// Whose calls are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of the trunks; all others are dropped without an answer.
    Trunks,
    /// Everybody's: a bare user agent.
    Endpoint,
}

/// Every deadline of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Client(ClientId, Timer),
    Server(ServerId, Timer),
    Session(SessionId, SessionTimer),
    /// A trunk's next OPTIONS.
    Health(usize),
    /// A trunk's next REGISTER.
    Register(usize),
    /// A trunk's next question to the resolver.
    Locate(usize),
    /// The end of what a trunk's server is last for.
    Penalty(usize),
    /// A connection that opens too slowly or is idle.
    Connection(ConnectionId),
    /// The next ping of a connection that we opened.
    Ping(ConnectionId),
    /// The end of the time that the answer to a ping has.
    Pong(ConnectionId),
}

/// What is left to do before the room is quiet.
#[derive(Debug)]
enum Task {
    /// A request could not be sent.
    Unsent(ClientId),
}

/// Counters that nobody but an operator reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SipStats {
    /// Requests from addresses that no trunk knows, those included that were not even read.
    pub unknown_sources: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Responses that belong to no transaction.
    pub stray_responses: u64,
    /// Requests refused because a limit was reached.
    pub overloaded: u64,
}

/// What the room holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SipCensus {
    /// Legs that have not ended.
    pub legs: usize,
    /// Calls, those included that only wait for their last messages.
    pub sessions: usize,
    /// Client transactions.
    pub clients: usize,
    /// Server transactions.
    pub servers: usize,
    /// Deadlines of transactions and calls.
    pub timers: usize,
    /// Messages that wait for their connections.
    pub waiting: usize,
    /// Texts under way.
    pub texts: usize,
}

impl SipCensus {
    /// True if nothing is left of any call.
    pub fn is_quiet(&self) -> bool {
        *self == Self::default()
    }
}

/// The SIP room.
#[derive(Debug)]
pub struct Sip {
    mode: Mode,
    user_agent: String,
    tokens: TokenMaker,
    transports: Transports,
    clients: Clients,
    servers: Servers,
    sessions: Sessions,
    pending: BTreeMap<IpAddr, usize>,
    strangers: Strangers,
    trunks: Vec<Trunk>,
    locator: Locator,
    timers: Timers<TimerKey>,
    tasks: VecDeque<Task>,
    events: VecDeque<(LegId, LegEvent)>,
    trunk_news: VecDeque<(String, bool)>,
    stats: SipStats,
    texts: Texts,
}

impl Sip {
    /// Makes the room; [`Sip::start`] sets it to work.
    pub fn new(config: &SipConfig, trunks: &[TrunkConfig], mut tokens: TokenMaker) -> Self {
        let keyed = Keyed::new(&mut tokens);
        let transports = Transports::new(config.listen.clone(), config.advertise);
        let mut locator = Locator::default();
        let trunks = trunks
            .iter()
            .map(|trunk| Trunk::new(trunk, &transports.spoken(), &mut locator, &mut tokens))
            .collect();
        Self {
            mode: Mode::Trunks,
            user_agent: config.user_agent.clone(),
            tokens,
            transports,
            clients: Clients::new(&keyed),
            servers: Servers::new(&keyed),
            sessions: Sessions::new(&keyed),
            pending: BTreeMap::new(),
            strangers: Strangers::default(),
            trunks,
            locator,
            timers: Timers::default(),
            tasks: VecDeque::new(),
            events: VecDeque::new(),
            trunk_news: VecDeque::new(),
            stats: SipStats::default(),
            texts: Texts::default(),
        }
    }

    /// Takes calls of everybody, or of the trunks alone (the default).
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Asks for the trunks' addresses and begins their health checks and registrations.
    pub fn start(&mut self, now: Instant) {
        for index in 0..self.trunks.len() {
            self.locate_trunk(now, index);
            self.begin_health(now, index);
            self.begin_registration(now, index);
            self.note_trunk(index);
        }
        self.ask_ways();
        self.settle(now);
    }

    /// Takes what the network brings.
    pub fn handle(&mut self, now: Instant, input: NetInput) {
        match input {
            NetInput::Datagram { flow, bytes } => self.receive_datagram(now, flow, &bytes),
            NetInput::Stream { flow, bytes } => self.receive_stream(now, flow, &bytes),
            NetInput::Connected { flow } => {
                if let Some(connection) = flow.connection {
                    self.connected(now, connection);
                }
            }
            NetInput::Closed { connection } => self.connection_closed(now, connection),
            NetInput::Unsent { flow } => self.fail_flow(flow),
            NetInput::Resolved { query, records } => self.resolved(query, Some(&records)),
            NetInput::Unresolved { query } => self.resolved(query, None),
        }
        self.settle(now);
    }

    fn resolved(&mut self, query: QueryId, records: Option<&[Record]>) {
        if let Some(remote) = self.locator.answered_way(query) {
            let local = match records {
                Some([Record::Address(local), ..]) => *local,
                // Nobody knows: then any will do.
                Some(_) | None => remote,
            };
            self.transports.learn_way(remote, local);
        }
        let questions = self.locator.answer(query, records, &mut self.tokens);
        for (query, question) in questions {
            self.transports.push(NetOutput::Resolve { query, question });
        }
        self.ask_ways();
        for index in 0..self.trunks.len() {
            self.note_trunk(index);
        }
    }

    /// Takes what the call table tells a leg.
    pub fn command(&mut self, now: Instant, leg: LegId, command: LegCommand) {
        self.leg_command(now, leg, command);
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Client(client, timer) => self.client_timer(now, client, timer),
                TimerKey::Server(server, timer) => self.server_timer(now, server, timer),
                TimerKey::Session(session, timer) => self.session_timer(now, session, timer),
                TimerKey::Health(trunk) => self.check_health(now, trunk),
                TimerKey::Register(trunk) => self.register(now, trunk),
                TimerKey::Locate(trunk) => self.locate_trunk(now, trunk),
                TimerKey::Penalty(trunk) => self.end_penalty(now, trunk),
                TimerKey::Ping(connection) => self.ping(now, connection),
                TimerKey::Pong(connection) => self.close_connection(now, connection),
                TimerKey::Connection(connection) => self.silent(now, connection),
            }
            self.settle(now);
        }
    }

    /// When [`Sip::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.soonest()
    }

    /// What the network shall do next.
    pub fn poll_output(&mut self) -> Option<NetOutput> {
        self.transports.poll_output()
    }

    /// What the legs tell next.
    pub fn poll_event(&mut self) -> Option<(LegId, LegEvent)> {
        self.events.pop_front()
    }

    /// The next trunk that has come up or gone down, by name. All count as up at first.
    pub fn poll_trunk(&mut self) -> Option<(String, bool)> {
        self.trunk_news.pop_front()
    }

    /// What the room holds. All zero after quiet.
    pub fn census(&self) -> SipCensus {
        SipCensus {
            legs: self.sessions.legs(),
            sessions: self.sessions.len(),
            clients: self.clients.len(),
            servers: self.servers.len(),
            timers: self.timers.len().saturating_sub(self.standing_timers()),
            waiting: self.transports.waiting(),
            texts: self.texts.len(),
        }
    }

    /// Deadlines that belong to no call: trunks and connections.
    fn standing_timers(&self) -> usize {
        let kinds = [
            TimerKey::Health,
            TimerKey::Locate,
            TimerKey::Penalty,
            TimerKey::Register,
        ];
        let of_trunks = (0..self.trunks.len())
            .flat_map(|index| kinds.map(|kind| kind(index)))
            .filter(|key| self.timers.deadline(key).is_some());
        let kinds = [TimerKey::Connection, TimerKey::Ping, TimerKey::Pong];
        let of_connections = self.transports.ids();
        let of_connections = of_connections
            .flat_map(|id| kinds.map(|kind| kind(id)))
            .filter(|key| self.timers.deadline(key).is_some());
        of_trunks.count() + of_connections.count()
    }

    /// The counters.
    pub fn stats(&self) -> SipStats {
        self.stats
    }

    /// Does what came up while something else was done.
    fn settle(&mut self, now: Instant) {
        while let Some(task) = self.tasks.pop_front() {
            match task {
                Task::Unsent(client) => self.client_unsent(now, client),
            }
        }
    }
}
