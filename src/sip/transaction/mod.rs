//! The four transaction machines of RFC 3261 §17 with the Accepted states of RFC 6026, and the
//! tables that find them.
//!
//! A machine knows states and timers by their letters and nothing else: it is fed with the class of
//! what came and answers with a [`Step`]. Messages, flows and users are the business of the tables
//! ([`client`], [`server`] entries live in [`table`]); what a response or request means is the
//! business of `session/`.

pub mod client;
pub mod drive;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod server;
pub mod table;

use std::time::Duration;

/// RFC 3261 §17.1.1.1: the estimate of the round-trip time.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2: the longest interval between repetitions.
pub const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2: how long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: timers B, F, H, J, L and M.
pub const T1_64: Duration = Duration::from_secs(32);
/// Timer D on unreliable transports: at least 32 s.
pub const TIMER_D: Duration = Duration::from_secs(32);

/// The timers of RFC 3261 table 4 and RFC 6026 §7. C belongs to proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE repetition.
    A,
    /// INVITE timeout.
    B,
    /// How long repetitions of a failure to an INVITE are acknowledged.
    D,
    /// Request repetition.
    E,
    /// Request timeout.
    F,
    /// Repetition of a failure to an INVITE.
    G,
    /// How long an ACK is waited for.
    H,
    /// How long repetitions of an ACK are absorbed.
    I,
    /// How long repetitions of a request are answered.
    J,
    /// How long repetitions of a response are absorbed.
    K,
    /// How long repetitions of an accepted INVITE are absorbed (RFC 6026).
    L,
    /// How long further 2xx responses are taken (RFC 6026).
    M,
}

/// What a client transaction is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// 100–199.
    Provisional,
    /// 200–299.
    Success,
    /// 300–699.
    Failure,
    /// One of its timers.
    Timer(Timer),
    /// The transport could not send.
    TransportError,
}

/// What a server transaction is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerInput {
    /// The request again.
    Repetition,
    /// An ACK.
    Ack,
    /// The user sends 100–199.
    Provisional,
    /// The user sends 200–299.
    Success,
    /// The user sends 300–699.
    Failure,
    /// One of its timers.
    Timer(Timer),
}

/// What a machine puts on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    #[default]
    Silence,
    /// The message that is at hand: the request at the start, or the user's response.
    Send,
    /// The last message again.
    Again,
    /// An ACK for the failure at hand.
    Ack,
}

/// What a machine tells its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tell {
    /// Nothing.
    #[default]
    Nothing,
    /// The message at hand.
    Message,
    /// Nobody answered in time: as a 408 (RFC 3261 §8.1.3.1).
    TimedOut,
    /// The transport failed: as a 503.
    Unreachable,
}

/// What a machine wants done after an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// For the wire.
    pub wire: Wire,
    /// For the user.
    pub tell: Tell,
    /// Timers to stop, before others are set.
    pub stop: &'static [Timer],
    /// Timers to set.
    pub set: [Option<(Timer, Duration)>; 2],
}

impl Step {
    fn wire(wire: Wire) -> Self {
        Self {
            wire,
            ..Self::default()
        }
    }

    fn tell(tell: Tell) -> Self {
        Self {
            tell,
            ..Self::default()
        }
    }

    fn stop(self, stop: &'static [Timer]) -> Self {
        Self { stop, ..self }
    }

    fn set(self, timer: Timer, after: Duration) -> Self {
        let [first, _] = self.set;
        let set = match first {
            None => [Some((timer, after)), None],
            Some(_) => [first, Some((timer, after))],
        };
        Self { set, ..self }
    }

    fn with(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }
}
