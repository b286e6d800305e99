//! The one table between SIP status codes, Q.850 causes and the reasons a call ends for.
//!
//! Sources: RFC 3261 §21, RFC 3326, RFC 3398 §7.2.4.1 and §8.2.6.1, RFC 4497 §8.4. Between two
//! rows that say the same to a machine, the row was chosen that says more to a person.

use crate::leg::{End, EndReason};
use crate::sip::wire::{Message, quote, reason_phrase};

/// How we say an [`EndReason`] on the SIP side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The final status for a caller that was not answered yet.
    pub status: u16,
    /// The Q.850 cause beside it, also in a BYE or CANCEL.
    pub q850: u8,
}

/// What a caller is told who was not answered yet, and the cause in a BYE or CANCEL.
pub fn answer(reason: EndReason) -> Answer {
    // 503 makes a client turn away from us as a whole (RFC 3261 §21.5.4), so it is only for what
    // concerns us as a whole.
    let (status, q850) = match reason {
        EndReason::Hangup => (480, 16),
        EndReason::Cancelled => (487, 16),
        EndReason::AnsweredElsewhere => (487, 26),
        EndReason::Busy => (486, 17),
        EndReason::Declined => (603, 21),
        EndReason::NoAnswer => (480, 19),
        EndReason::Unavailable => (480, 20),
        EndReason::NotFound => (404, 1),
        EndReason::Forbidden => (403, 21),
        EndReason::NotAcceptable => (488, 88),
        EndReason::Security => (488, 57),
        EndReason::Connectivity => (480, 41),
        EndReason::Silent => (480, 41),
        EndReason::NoRoute => (502, 3),
        EndReason::Overloaded => (503, 42),
        EndReason::TooLong => (480, 16),
        EndReason::PeerGone => (480, 27),
        EndReason::ProtocolError => (500, 111),
        EndReason::Shutdown => (503, 41),
        EndReason::Failed => (500, 127),
    };
    Answer { status, q850 }
}

/// The status for an [`End`]: what the other side's SIP said, if it was a refusal that a caller
/// may hear, else the row of its reason. Challenges and our own requests' faults stay here.
pub fn status_of(end: &End) -> u16 {
    let ours = answer(end.reason).status;
    match end.sip_status {
        // 300-399 would send the caller around us; 401, 407 ask for our password; 408 and 487
        // are about our own transaction; 4xx of syntax blame the caller for our request; a trunk's
        // 503 is not ours (RFC 3261 §16.7).
        Some(
            300..=399
            | 401
            | 407
            | 408
            | 487
            | 400
            | 405..=406
            | 413..=414
            | 416..=423
            | 481..=483
            | 491
            | 503,
        ) => ours,
        Some(status @ 400..=699) if end_of_status(status, false).reason == end.reason => status,
        Some(_) | None => ours,
    }
}

/// What a final status of an INVITE (300–699) means. `was_ringing` tells "not there" from "did not
/// answer".
pub fn end_of_status(status: u16, was_ringing: bool) -> End {
    let unanswered = if was_ringing {
        EndReason::NoAnswer
    } else {
        EndReason::Unavailable
    };
    let reason = match status {
        486 | 600 => EndReason::Busy,
        603 | 607 | 608 => EndReason::Declined,
        402 | 403 | 433 => EndReason::Forbidden,
        404 | 410 | 484 | 485 | 604 => EndReason::NotFound,
        480 => unanswered,
        408 if was_ringing => EndReason::NoAnswer,
        408 => EndReason::NoRoute,
        415 | 488 | 606 => EndReason::NotAcceptable,
        493 | 494 => EndReason::Security,
        487 => EndReason::Cancelled,
        503 => EndReason::NoRoute,
        // Nobody here follows redirections (RFC 3261 §8.1.3.4 leaves it to the client).
        300..=399 => EndReason::Unavailable,
        // Our credentials are wrong: not the caller's fault, and not his to hear.
        401 | 407 => EndReason::Failed,
        400 | 405 | 406 | 413 | 414 | 416 | 420 | 421 | 481 | 482 | 483 | 505 | 513 => {
            EndReason::ProtocolError
        }
        500..=599 => EndReason::NoRoute,
        400..=499 => EndReason::Failed,
        _ => EndReason::Failed,
    };
    End {
        reason,
        sip_status: Some(status).filter(|s| (300..700).contains(s)),
        q850: None,
        text: None,
    }
}

/// What a Q.850 cause means, in a Reason header (RFC 3398 §7.2.4.1 backwards). `None` for those
/// that add nothing to the status beside them.
pub fn reason_of_cause(q850: u8) -> Option<EndReason> {
    Some(match q850 {
        1 | 22 | 28 => EndReason::NotFound,
        2 | 3 | 5 | 25 | 34 | 38 | 42..=44 | 47 => EndReason::NoRoute,
        16 => EndReason::Hangup,
        17 => EndReason::Busy,
        18 | 20 => EndReason::Unavailable,
        19 => EndReason::NoAnswer,
        21 => EndReason::Declined,
        26 => EndReason::AnsweredElsewhere,
        27 => EndReason::Unavailable,
        29 | 50 | 52..=57 | 87 => EndReason::Forbidden,
        58 | 65 | 70 | 79 | 88 => EndReason::NotAcceptable,
        41 => EndReason::NoRoute,
        95..=101 | 111 => EndReason::ProtocolError,
        102 => EndReason::NoRoute,
        _ => return None,
    })
}

/// What a final response to our INVITE means, its Reason header included: a cause in a
/// 480, 500, 503 or 404 often says more than the status (RFC 6432).
pub fn end_of_response(response: &Message, was_ringing: bool) -> End {
    let mut end = end_of_status(response.status().unwrap_or(0), was_ringing);
    let text = response.reason().map(str::trim).unwrap_or("");
    end.text = (!text.is_empty()).then(|| text.to_owned());
    end.q850 = cause_of(response, "Q.850").and_then(|cause| u8::try_from(cause).ok());
    let vague = matches!(
        end.sip_status,
        Some(480 | 500 | 502 | 503 | 504 | 403 | 404 | 603)
    );
    match end.q850.and_then(reason_of_cause) {
        // 16 is written by default by many trunks: it says nothing beside a refusal.
        Some(EndReason::Hangup) | None => {}
        // 21 is what a 403 is mapped to by itself (RFC 3398 §8.2.6.1).
        Some(EndReason::Declined) if end.reason == EndReason::Forbidden => {}
        Some(reason) if vague => end.reason = reason,
        Some(_) => {}
    }
    end
}

/// What a BYE or a CANCEL means (RFC 3326: `SIP;cause=200` in a CANCEL is "answered elsewhere").
pub fn end_of_request(request: &Message, was_answered: bool) -> End {
    let plain = if was_answered {
        EndReason::Hangup
    } else {
        EndReason::Cancelled
    };
    let mut end = End::from(plain);
    end.q850 = cause_of(request, "Q.850").and_then(|cause| u8::try_from(cause).ok());
    end.text = request
        .reasons()
        .find_map(|reason| reason.text)
        .map(|text| text.into_owned());
    if !was_answered {
        let elsewhere = cause_of(request, "SIP") == Some(200) || end.q850 == Some(26);
        if elsewhere {
            end.reason = EndReason::AnsweredElsewhere;
        }
    }
    end
}

fn cause_of(message: &Message, protocol: &str) -> Option<u16> {
    message
        .reasons()
        .find(|reason| reason.protocol.eq_ignore_ascii_case(protocol))?
        .cause
}

/// The Reason value for a BYE, a CANCEL or a final response that says `end`.
pub fn header(end: &End) -> String {
    let ours = answer(end.reason);
    if end.reason == EndReason::AnsweredElsewhere {
        // RFC 3326 §3.1 example; phones look for exactly this to leave out "missed call".
        return format!("SIP;cause=200;text={}", quote("Call completed elsewhere"));
    }
    let cause = end
        .q850
        .filter(|q| (1..128).contains(q))
        .unwrap_or(ours.q850);
    format!("Q.850;cause={cause};text={}", quote(cause_text(cause)))
}

/// The status line's text for an [`End`]: the text for people if there is one.
pub fn phrase(end: &End, status: u16) -> String {
    match &end.text {
        Some(text) if end.sip_status == Some(status) => {
            text.chars().filter(|c| !c.is_control()).take(80).collect()
        }
        Some(_) | None => reason_phrase(status).to_owned(),
    }
}

/// What a Q.850 cause is called (ITU-T Q.850 table 1).
pub fn cause_text(q850: u8) -> &'static str {
    match q850 {
        1 => "Unallocated number",
        2 => "No route to network",
        3 => "No route to destination",
        16 => "Normal call clearing",
        17 => "User busy",
        18 => "No user responding",
        19 => "No answer from user",
        20 => "Subscriber absent",
        21 => "Call rejected",
        22 => "Number changed",
        26 => "Non-selected user clearing",
        27 => "Destination out of order",
        28 => "Invalid number format",
        31 => "Normal, unspecified",
        34 => "No circuit available",
        38 => "Network out of order",
        41 => "Temporary failure",
        42 => "Switching equipment congestion",
        44 => "Requested circuit not available",
        47 => "Resource unavailable",
        57 => "Bearer capability not authorized",
        58 => "Bearer capability not available",
        65 => "Bearer capability not implemented",
        79 => "Service not implemented",
        88 => "Incompatible destination",
        102 => "Recovery on timer expiry",
        111 => "Protocol error",
        127 => "Interworking, unspecified",
        _ => "Unspecified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::Name;

    #[test]
    fn every_reason_has_a_refusal_and_a_cause_with_a_name() {
        for &reason in EndReason::ALL {
            let Answer { status, q850 } = answer(reason);
            assert!((400..700).contains(&status), "{reason}");
            assert_ne!(cause_text(q850), "Unspecified", "{reason}");
        }
    }

    #[test]
    fn every_status_means_something_and_the_rows_agree() {
        let rows: &[(u16, bool, EndReason)] = &[
            (486, false, EndReason::Busy),
            (600, false, EndReason::Busy),
            (603, false, EndReason::Declined),
            (403, false, EndReason::Forbidden),
            (433, false, EndReason::Forbidden),
            (480, false, EndReason::Unavailable),
            (480, true, EndReason::NoAnswer),
            (408, true, EndReason::NoAnswer),
            (408, false, EndReason::NoRoute),
            (404, false, EndReason::NotFound),
            (410, false, EndReason::NotFound),
            (484, false, EndReason::NotFound),
            (604, false, EndReason::NotFound),
            (488, false, EndReason::NotAcceptable),
            (606, false, EndReason::NotAcceptable),
            (415, false, EndReason::NotAcceptable),
            (401, false, EndReason::Failed),
            (487, true, EndReason::Cancelled),
            (500, false, EndReason::NoRoute),
            (503, false, EndReason::NoRoute),
            (302, false, EndReason::Unavailable),
        ];
        for &(status, rang, reason) in rows {
            assert_eq!(end_of_status(status, rang).reason, reason, "{status}");
        }
        for status in 0..u16::MAX {
            end_of_status(status, false);
        }
    }

    #[test]
    fn a_trunks_own_status_goes_through_where_it_may() {
        for (status, told) in [
            (600, 600),
            (404, 404),
            (410, 410),
            (484, 484),
            (606, 606),
            (401, 500),
            (407, 500),
            (302, 480),
            (483, 500),
            (502, 502),
            (503, 502),
        ] {
            assert_eq!(status_of(&end_of_status(status, false)), told, "{status}");
        }
        assert_eq!(status_of(&EndReason::Declined.into()), 603);
    }

    #[test]
    fn a_cause_says_more_than_a_vague_status() {
        let response = |status, reason: &str| {
            end_of_response(&Message::response(status).with(Name::Reason, reason), false)
        };
        assert_eq!(response(503, "Q.850;cause=17").reason, EndReason::Busy);
        assert_eq!(response(480, "q.850 ; cause=1").reason, EndReason::NotFound);
        assert_eq!(response(486, "Q.850;cause=16").reason, EndReason::Busy);
        assert_eq!(response(503, "Q.850;cause=999").reason, EndReason::NoRoute);
        // What both are mapped to.
        assert_eq!(response(403, "Q.850;cause=21").reason, EndReason::Forbidden);
        assert_eq!(response(603, "Q.850;cause=21").reason, EndReason::Declined);
        assert_eq!(response(403, "Q.850;cause=17").reason, EndReason::Busy);
        assert_eq!(response(404, "x").text.as_deref(), Some("Not Found"));
    }

    #[test]
    fn a_cancel_may_say_that_the_call_was_answered_elsewhere() {
        let cancel = |reason: &str| {
            let request = Message::request(crate::sip::wire::Method::Cancel, "sip:a@b");
            end_of_request(&request.with(Name::Reason, reason), false).reason
        };
        let ours = header(&EndReason::AnsweredElsewhere.into());
        assert_eq!(cancel(&ours), EndReason::AnsweredElsewhere);
        assert_eq!(cancel("Q.850;cause=26"), EndReason::AnsweredElsewhere);
        assert_eq!(cancel("SIP;cause=487"), EndReason::Cancelled);
        let bye = Message::request(crate::sip::wire::Method::Bye, "sip:a@b");
        assert_eq!(end_of_request(&bye, true).reason, EndReason::Hangup);
    }

    #[test]
    fn the_reason_header_names_the_cause() {
        assert_eq!(
            header(&EndReason::Busy.into()),
            "Q.850;cause=17;text=\"User busy\""
        );
    }
}
