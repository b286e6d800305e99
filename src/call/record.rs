//! One record per call, always: what an operator bills, counts and debugs with.

use std::time::Duration;

use crate::address::Address;
use crate::border::{BridgeStats, Side, SideStats};
use crate::id::CallId;
use crate::leg::End;
use crate::pii::Pii;

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

impl From<Side> for EndedBy {
    fn from(side: Side) -> Self {
        match side {
            Side::Caller => Self::Caller,
            Side::Callee => Self::Callee,
        }
    }
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
    /// The encoding in use; two where it was transcoded.
    pub encoding: Option<String>,
    /// What passed through the bridge; zero if there was none.
    pub stats: BridgeStats,
}

impl CallRecord {
    /// Writes the one line of a call, with nothing personal in it.
    pub(super) fn log(&self) {
        let Self {
            call,
            from,
            to,
            trunk,
            rang_after,
            answered_after,
            duration,
            end,
            ended_by,
            encoding,
            stats,
        } = self;
        tracing::info!(
            call = %call,
            from = %Pii(from),
            to = %Pii(to),
            trunk = trunk.as_deref(),
            reason = %end.reason,
            status = end.sip_status,
            text = end.text.as_deref(),
            by = ?ended_by,
            rang_ms = rang_after.map(|d| d.as_millis() as u64),
            answered_ms = answered_after.map(|d| d.as_millis() as u64),
            duration_ms = duration.as_millis() as u64,
            codec = encoding.as_deref(),
            from_caller = stats.caller.received,
            from_callee = stats.callee.received,
            lost_from_caller = stats.caller.lost,
            lost_from_callee = stats.callee.lost,
            transcode_ms_from_caller = transcode_ms(stats.caller),
            transcode_ms_from_callee = transcode_ms(stats.callee),
            "call ended"
        );
    }
}

/// The delay that transcoding has added to a side's sound.
fn transcode_ms(stats: SideStats) -> Option<u64> {
    stats.transcode.map(|of| of.delay.as_millis() as u64)
}
