//! One record per call, always: what an operator bills, counts and debugs with.

use std::time::Duration;

use crate::address::Address;
use crate::border::BridgeStats;
use crate::id::CallId;
use crate::leg::End;

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedBy {
    /// The caller's leg.
    Caller,
    /// The callee's leg.
    Callee,
    /// The gateway: a limit, a rule, broken media.
    Gateway,
}

/// One call, after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Its number in this process.
    pub call: CallId,
    /// Who called.
    pub from: Address,
    /// Who was called.
    pub to: Address,
    /// The trunk in use at the end, either way.
    pub trunk: Option<String>,
    /// From the offer to the first ringing.
    pub rang_after: Option<Duration>,
    /// From the offer to the answer.
    pub answered_after: Option<Duration>,
    /// From the offer to the end.
    pub duration: Duration,
    /// Why it ended.
    pub end: End,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// The encoding in use.
    pub encoding: Option<String>,
    /// What passed through the bridge; zero if there was none.
    pub stats: BridgeStats,
}
