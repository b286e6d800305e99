//! How calls end: on each leg, in the counts, and in the record.

use std::time::{Duration, Instant};

use super::entry::Call;
use super::record::{CallRecord, EndedBy};
use super::table::Offered;
use super::{CallOutput, CallTimer, Calls, Closing};
use crate::border::{BridgeStats, MediaCommand};
use crate::id::{CallId, LegId};
use crate::leg::{End, EndReason, LegCommand};

impl Calls {
    /// Refuses a call that never had a place in the table.
    pub(super) fn refuse(&mut self, call: CallId, leg: LegId, offered: Offered, end: End) {
        self.tell(leg, LegCommand::End(end.clone()));
        let Offered {
            from,
            to,
            display_name: _,
            conceals: _,
            offering: _,
            trunk,
        } = offered;
        let record = CallRecord {
            call,
            from,
            to,
            trunk,
            rang_after: None,
            answered_after: None,
            duration: Duration::ZERO,
            end,
            ended_by: EndedBy::Gateway,
            encoding: None,
            stats: BridgeStats::default(),
        };
        self.record(Box::new(record));
    }

    pub(super) fn ended(&mut self, now: Instant, leg: LegId, end: End) {
        let Some(id) = self.by_leg.get(&leg).copied() else {
            return;
        };
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        self.by_leg.remove(&leg);
        if self.keep_place(&mut call, leg) {
            self.calls.insert(id, call);
            return;
        }
        if leg == call.caller {
            let answered = call.answered.is_some();
            let end = if answered || end.reason != EndReason::Hangup {
                end
            } else {
                End {
                    reason: EndReason::Cancelled,
                    ..end
                }
            };
            self.close(now, *call, end, EndedBy::Caller);
            return;
        }
        // Sound before the answer is none.
        let answered = call.answered.is_some();
        call.callees.retain(|callee| callee.leg != leg);
        let end = match answered {
            true => end,
            false => telling_more(call.best_end.take(), end),
        };
        if !answered && !call.callees.is_empty() {
            call.best_end = Some(end);
            self.calls.insert(id, call);
            return;
        }
        if !answered && is_worth_another_trunk(end.reason) && !call.trunks.is_empty() {
            let tried = call.trunk.take();
            self.drop_video(&mut call);
            if let (false, Some(encoding)) = (self.may_differ(), call.caller_media.encoding) {
                // It was answered for the sound before.
                call.encodings = vec![encoding];
            }
            // The next trunk needs the bridge's callee side for itself, and gets a port of its own.
            match self.try_next_trunk(now, &mut call) {
                Ok(()) => {
                    if let Some(trunk) = tried {
                        self.uncount_trunk(&trunk);
                    }
                    self.calls.insert(id, call);
                }
                Err(_) => {
                    // The record says where it failed.
                    call.trunk = tried;
                    self.close(now, *call, end, EndedBy::Callee);
                }
            }
            return;
        }
        self.close(now, *call, end, EndedBy::Callee);
    }

    /// Ends a call from our side.
    pub(super) fn end_call(&mut self, now: Instant, id: CallId, end: End, by: EndedBy) {
        if let Some(call) = self.calls.remove(&id) {
            self.close(now, *call, end, by);
        }
    }

    /// Takes leave of both sides, in the order that ends sound first.
    pub(super) fn close(&mut self, now: Instant, call: Call, end: End, by: EndedBy) {
        let id = call.id;
        for timer in CallTimer::ALL {
            self.timers.stop(&(id, timer));
        }
        self.by_bridge.remove(&call.bridge);
        self.forget_counts(&call);
        if let Some(moving) = &call.moving {
            self.drop_moving(moving, &end);
        }
        if self.by_leg.remove(&call.caller).is_some() {
            self.tell(call.caller, LegCommand::End(end.clone()));
        }
        for callee in &call.callees {
            if self.by_leg.remove(&callee.leg).is_some() {
                self.tell(callee.leg, LegCommand::End(end.clone()));
            }
        }
        let record = Box::new(call.record(now, end, by));
        let (bridge, worker) = (call.bridge, call.worker);
        let (has_bridge, pictures) = (call.has_bridge, call.has_pictures);
        let closing = Closing {
            record,
            worker,
            ports: call.ports,
        };
        if has_bridge {
            self.close_video(pictures, bridge, worker);
            self.closing.insert(bridge, closing);
            self.outputs
                .push_back(CallOutput::Media(worker, MediaCommand::Close { bridge }));
        } else {
            self.release(now, closing);
        }
    }

    pub(super) fn uncount_trunk(&mut self, name: &str) {
        if let Some(count) = self.trunk_calls.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn forget_counts(&mut self, call: &Call) {
        if let Some(user) = &call.user {
            self.users.close(user);
        }
        let second = call.second_trunk.as_ref().map(|(_, trunk)| trunk);
        for trunk in call.trunk.iter().chain(second) {
            self.uncount_trunk(trunk);
        }
        self.forget_peers(call);
    }
}

/// Of the ends of two callees the one that tells the caller more (RFC 3261 §16.7): first what a person
/// has done, last that there is nobody.
fn telling_more(before: Option<End>, end: End) -> End {
    let rank = |end: &End| match end.reason {
        EndReason::Busy => 0,
        EndReason::Declined => 1,
        EndReason::NoAnswer => 2,
        EndReason::Unavailable => 3,
        EndReason::Hangup
        | EndReason::Cancelled
        | EndReason::AnsweredElsewhere
        | EndReason::Forbidden
        | EndReason::NotAcceptable
        | EndReason::NoRoute
        | EndReason::Security
        | EndReason::Connectivity
        | EndReason::Silent
        | EndReason::TooLong
        | EndReason::PeerGone
        | EndReason::Overloaded
        | EndReason::ProtocolError
        | EndReason::Failed
        | EndReason::Shutdown => 4,
        EndReason::NotFound => 5,
    };
    match before {
        Some(before) if rank(&before) <= rank(&end) => before,
        Some(_) | None => end,
    }
}

/// Failures of the network, not of the callee, are worth another trunk.
pub(super) fn is_worth_another_trunk(reason: EndReason) -> bool {
    match reason {
        EndReason::NoRoute | EndReason::Overloaded | EndReason::Failed => true,
        EndReason::Hangup
        | EndReason::Cancelled
        | EndReason::AnsweredElsewhere
        | EndReason::Busy
        | EndReason::Declined
        | EndReason::NoAnswer
        | EndReason::Unavailable
        | EndReason::NotFound
        | EndReason::Forbidden
        | EndReason::NotAcceptable
        | EndReason::Security
        | EndReason::Connectivity
        | EndReason::Silent
        | EndReason::TooLong
        | EndReason::PeerGone
        | EndReason::ProtocolError
        | EndReason::Shutdown => false,
    }
}
