//! Who should hear what: a call without faults, told from the plans of its two people alone.

use std::time::Duration;

use super::{client, phone};
use offhook::leg::EndReason;

/// Plans that act closer together than this may overtake each other on the wire.
const TOO_CLOSE: Duration = Duration::from_millis(500);
/// RFC 3261 timer B.
const NOBODY_THERE: Duration = Duration::from_secs(32);
const RING_LIMIT: Duration = Duration::from_secs(120);

/// How a call should end.
#[derive(Debug, PartialEq, Eq)]
pub struct ReferenceCall {
    pub reason: EndReason,
    /// Both of them talked.
    pub answered: bool,
    /// What ended it was said by the other one, so that the client hears of it.
    pub client_hears: bool,
    /// Likewise the phone.
    pub phone_hears: bool,
}

impl ReferenceCall {
    /// A call from a client to the phone; `None` if its plans are too close together to tell.
    pub fn outgoing(client: client::Plan, phone: phone::Plan) -> Option<Self> {
        let client::Plan::Call { end_after, .. } = client else {
            return None;
        };
        let hangs_up = end_after.map(|at| (at, EndReason::Hangup, true));
        let (answers, mut ends) = match phone {
            phone::Plan::Silent => (None, vec![(NOBODY_THERE, EndReason::NoRoute, false)]),
            phone::Plan::Ring => (None, vec![(RING_LIMIT, EndReason::NoAnswer, false)]),
            phone::Plan::Refuse { after, status } => (None, vec![(after, refusal(status), false)]),
            phone::Plan::Answer {
                after,
                hangup_after,
            } => {
                let end = hangup_after.map(|time| (after + time, EndReason::Hangup, false));
                (Some(after), end.into_iter().collect())
            }
        };
        ends.extend(hangs_up);
        let mut call = Self::soonest(answers, ends)?;
        // A phone that says nothing hears nothing, and who rings for ever hears our CANCEL.
        match phone {
            phone::Plan::Silent => call.phone_hears = false,
            phone::Plan::Ring => call.phone_hears = true,
            phone::Plan::Refuse { .. } | phone::Plan::Answer { .. } => {}
        }
        Some(call)
    }

    /// A call from the phone, which gives up after `end_after`, to a client.
    pub fn incoming(client: client::Plan, end_after: Duration) -> Option<Self> {
        let (answers, mut ends) = match client {
            client::Plan::Answer {
                after,
                hangup_after,
            } => {
                let end = hangup_after.map(|time| (after + time, EndReason::Hangup, true));
                (Some(after), end.into_iter().collect())
            }
            client::Plan::Decline { after } => (None, vec![(after, EndReason::Busy, true)]),
            client::Plan::Ignore => (None, Vec::new()),
            client::Plan::Call { .. } => return None,
        };
        ends.push((end_after, EndReason::Hangup, false));
        Self::soonest(answers, ends)
    }

    fn soonest(
        answers: Option<Duration>,
        mut ends: Vec<(Duration, EndReason, bool)>,
    ) -> Option<Self> {
        ends.sort();
        let (at, reason, by_client) = *ends.first()?;
        let mut moments: Vec<Duration> = ends.iter().map(|end| end.0).chain(answers).collect();
        moments.sort();
        if at < TOO_CLOSE || moments.windows(2).any(|pair| pair[1] - pair[0] < TOO_CLOSE) {
            return None;
        }
        let answered = answers.is_some_and(|answer| answer < at);
        let gave_up = reason == EndReason::Hangup && !answered;
        Some(Self {
            reason: if gave_up {
                EndReason::Cancelled
            } else {
                reason
            },
            answered,
            client_hears: !by_client,
            phone_hears: by_client,
        })
    }
}

fn refusal(status: u16) -> EndReason {
    match status {
        404 => EndReason::NotFound,
        480 => EndReason::NoAnswer,
        486 => EndReason::Busy,
        603 => EndReason::Declined,
        _ => EndReason::NoRoute,
    }
}
