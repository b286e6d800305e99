//! The call table: a call is two legs and a bridge between them.
//!
//! Legs tell events, the table answers with commands; direction is only "which leg called". It
//! knows neither XML nor SIP nor packets, only the vocabulary of [`crate::leg`] and
//! [`crate::border`]. Offers and answers follow RFC 3264 §5–8; that an XMPP caller may describe
//! itself only after the answer (XEP-0353) is [`Offering::Later`](crate::leg::Offering::Later).
//!
//! Files: `place.rs` how a call begins, `table.rs` what each event does, `offers.rs` what is offered and answered, `ending.rs`
//! how it ends, `entry.rs` one call, `side.rs` one side of its media, `negotiate.rs` codecs, `video.rs` pictures and `pictures.rs` their codecs, `dialplan.rs` who is meant,
//! `endpoints.rs` ports and candidates, `ports.rs` another port, `apart.rs` peers that share an address, `transfer.rs` who takes whose place, `handing.rs` what a user hands on, `keying.rs` protection without ICE, `keys.rs` keys that are written, `limits.rs` how much is too much, `record.rs` what remains; `texts.rs`: texts, which take the same ways.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use jid::BareJid;

use crate::address::Address;
use crate::border::{BridgeStats, MediaCommand, MediaEvent, Side};
use crate::config::Config;
use crate::id::{BridgeId, CallId, LegId, TokenMaker, WorkerId};
use crate::leg::{End, EndReason, LegCommand};
use crate::text::TextCommand;
use crate::timer::Timers;

mod apart;
pub mod dialplan;
mod ending;
pub mod endpoints;
mod entry;
mod handing;
mod keying;
mod keys;
mod limits;
pub mod negotiate;
mod offers;
mod pictures;
mod place;
mod ports;
pub mod record;
mod side;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod transfer;
mod video;

use dialplan::Dialplan;
use endpoints::Endpoints;
use entry::Call;
use limits::UserLimits;
use record::{CallRecord, EndedBy};
use texts::Texts;

pub use endpoints::{MediaFacts, WorkerFacts};
pub use texts::TextStats;

/// What the call table wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutput {
    /// A command to a leg.
    Leg(LegId, LegCommand),
    /// A command to a media worker.
    Media(WorkerId, MediaCommand),
    /// A call is over and its bridge is gone.
    Record(Box<CallRecord>),
    /// A command to the room of a text's end.
    Text(TextCommand),
}

/// What each deadline of a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallTimer {
    /// No user's client said that it rings; many never do.
    Ringback,
    /// Nobody answered.
    Ring,
    /// Media did not connect.
    Connect,
    /// Nobody answered to whom the call was transferred.
    Transfer,
    /// A key is to be pressed.
    Keys,
    /// The call is as long as a call may be.
    Length,
}

impl CallTimer {
    const ALL: [Self; 6] = [
        Self::Ringback,
        Self::Ring,
        Self::Connect,
        Self::Transfer,
        Self::Keys,
        Self::Length,
    ];
}

/// What the table holds, for tests and for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCensus {
    /// Calls that are not over.
    pub calls: usize,
    /// Legs of these calls.
    pub legs: usize,
    /// Calls that are over, with a bridge that has not said goodbye.
    pub closing: usize,
    /// Port pairs in use.
    pub ports: usize,
    /// Deadlines.
    pub timers: usize,
    /// Calls counted at their users.
    pub user_calls: usize,
    /// Calls counted at their trunks.
    pub trunk_calls: usize,
    /// Calls counted at the workers.
    pub worker_load: usize,
    /// Addresses of peers behind ICE.
    pub places: usize,
    /// Texts under way.
    pub texts: usize,
}

/// All calls.
#[derive(Debug)]
pub struct Calls {
    config: Arc<Config>,
    dialplan: Dialplan,
    endpoints: Endpoints,
    tokens: TokenMaker,
    /// Boxed: a call is taken out and put back for each thing that happens to it.
    calls: BTreeMap<CallId, Box<Call>>,
    by_leg: BTreeMap<LegId, CallId>,
    by_bridge: BTreeMap<BridgeId, CallId>,
    closing: BTreeMap<BridgeId, Closing>,
    users: UserLimits,
    trunk_calls: BTreeMap<String, u32>,
    /// Trunks that are known to be down, by name.
    down: BTreeSet<String>,
    /// Where peers behind ICE are, with the number of calls there, at each worker.
    places: BTreeMap<(WorkerId, SocketAddr), u32>,
    timers: Timers<(CallId, CallTimer)>,
    outputs: VecDeque<CallOutput>,
    last_call: u64,
    last_leg: u64,
    draining: bool,
    texts: Texts,
}

/// A call that is over and waits for its bridge.
#[derive(Debug)]
struct Closing {
    record: Box<CallRecord>,
    worker: WorkerId,
    ports: Vec<u16>,
}

impl Calls {
    /// An empty table.
    pub fn new(config: Arc<Config>, facts: MediaFacts, tokens: TokenMaker) -> Self {
        Self {
            dialplan: Dialplan::new(&config),
            config,
            endpoints: Endpoints::new(facts),
            tokens,
            calls: BTreeMap::new(),
            by_leg: BTreeMap::new(),
            by_bridge: BTreeMap::new(),
            closing: BTreeMap::new(),
            users: UserLimits::default(),
            trunk_calls: BTreeMap::new(),
            down: BTreeSet::new(),
            places: BTreeMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            last_call: 0,
            last_leg: 0,
            draining: false,
            texts: Texts::default(),
        }
    }

    /// Takes a new configuration for the calls to come; running calls keep theirs.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.dialplan = Dialplan::new(&config);
        self.config = config;
    }

    /// A trunk has come up, or has gone down: then it is tried after all others.
    pub fn set_trunk_up(&mut self, name: String, up: bool) {
        match up {
            true => self.down.remove(&name),
            false => self.down.insert(name),
        };
    }

    /// True if the user may call out.
    pub fn permits(&self, user: &BareJid) -> bool {
        self.dialplan.permits(user)
    }

    /// True if a trunk that a call to `to` may go over is not known to be down.
    pub fn reaches(&self, to: &Address) -> bool {
        let mut trunks = self.dialplan.trunks_to(to).iter();
        trunks.any(|name| !self.down.contains(name))
    }

    /// Takes no more calls; running ones go on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Ends every call, and gives every text up.
    pub fn end_all(&mut self, now: Instant, reason: EndReason) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call in calls {
            self.end_call(now, call, End::from(reason), EndedBy::Gateway);
        }
        self.end_texts();
    }

    /// Calls that are not over.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// True if there is none, none waits for its bridge, and no text is under way.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.closing.is_empty() && self.texts.len() == 0
    }

    /// The call that a leg belongs to.
    pub fn call_of(&self, leg: LegId) -> Option<CallId> {
        self.by_leg.get(&leg).copied()
    }

    /// What the table holds.
    pub fn census(&self) -> CallCensus {
        CallCensus {
            calls: self.calls.len(),
            legs: self.by_leg.len(),
            closing: self.closing.len(),
            ports: self.endpoints.ports_in_use(),
            timers: self.timers.len(),
            user_calls: self.users.open_calls() as usize,
            trunk_calls: self.trunk_calls.values().sum::<u32>() as usize,
            worker_load: self.endpoints.worker_load(),
            places: self.places.len(),
            texts: self.texts.len(),
        }
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.soonest()
    }

    /// Ends what took too long, and presses the keys that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((call, timer)) = self.timers.pop_due(now) {
            let end = match timer {
                CallTimer::Ringback => {
                    self.ring_back(call);
                    continue;
                }
                CallTimer::Keys => {
                    self.next_key(now, call);
                    continue;
                }
                CallTimer::Ring => End::because(EndReason::NoAnswer, "nobody answered"),
                CallTimer::Connect => {
                    End::because(EndReason::Connectivity, "media did not connect")
                }
                CallTimer::Transfer => {
                    self.transfer_late(now, call);
                    continue;
                }
                CallTimer::Length => End::from(EndReason::TooLong),
            };
            self.end_call(now, call, end, EndedBy::Gateway);
        }
    }

    /// Takes what a media worker tells.
    pub fn media_event(&mut self, now: Instant, event: MediaEvent) {
        if event.bridge().is_of_pictures() {
            return self.video_event(now, event);
        }
        match event {
            MediaEvent::Connected { bridge, side } => self.media_connected(now, bridge, side),
            MediaEvent::Failed {
                bridge,
                side: _,
                reason,
                text,
            } => {
                self.end_bridge(now, bridge, End::because(reason, text));
            }
            MediaEvent::PortTaken {
                bridge,
                side,
                port,
                text,
            } => self.port_taken(now, bridge, side, port, &text),
            MediaEvent::Silent { bridge, side } => {
                let who = match side {
                    Side::Caller => "caller",
                    Side::Callee => "callee",
                };
                let text = format!("the {who} sent no sound");
                self.end_bridge(now, bridge, End::because(EndReason::Silent, text));
            }
            MediaEvent::Digit {
                bridge,
                side,
                digit,
                forwarded,
            } => {
                if !forwarded
                    && let Some(leg) = self
                        .by_bridge
                        .get(&bridge)
                        .and_then(|id| self.calls.get(id).and_then(|call| call.leg(side.other())))
                {
                    self.tell(leg, LegCommand::Digit(digit));
                }
            }
            MediaEvent::Closed { bridge, stats } => self.bridge_closed(now, bridge, *stats),
        }
    }

    fn end_bridge(&mut self, now: Instant, bridge: BridgeId, end: End) {
        if let Some(call) = self.by_bridge.get(&bridge).copied() {
            self.end_call(now, call, end, EndedBy::Gateway);
        }
    }

    fn bridge_closed(&mut self, now: Instant, bridge: BridgeId, stats: BridgeStats) {
        let Some(mut closing) = self.closing.remove(&bridge) else {
            return;
        };
        closing.record.stats = stats;
        self.release(now, closing);
    }

    fn release(&mut self, now: Instant, closing: Closing) {
        for port in closing.ports {
            self.endpoints.give_port(now, port);
        }
        self.endpoints.give_worker(closing.worker);
        self.record(closing.record);
    }

    fn record(&mut self, record: Box<CallRecord>) {
        record.log();
        self.outputs.push_back(CallOutput::Record(record));
    }

    fn tell(&mut self, leg: LegId, command: LegCommand) {
        self.outputs.push_back(CallOutput::Leg(leg, command));
    }
}
