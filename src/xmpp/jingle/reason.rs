//! Reasons: XEP-0166 §7.4 `<reason/>` to and from [`EndReason`].
//!
//! The mapping is one table because three stanzas carry reasons (`reject`/`retract`, `finish`,
//! `session-terminate`) and clients show different words for the same one. It does not decide
//! which stanza is sent.

use minidom::Element;

use super::NS_JINGLE;
use crate::leg::{End, EndReason};
use crate::xmpp::stanza::element;

/// Characters of a peer's `<text/>` that are kept; it is shown in records and logs only.
pub const MAX_REASON_TEXT: usize = 256;

/// How far the call had come, which decides what a reason means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The user calls and nobody has answered.
    CallerWaits,
    /// We call the user, who has not answered.
    CalleeWaits,
    /// The call was answered.
    Answered,
}

/// The condition for a `reject` of an invitation, where only a few words are understood.
pub fn for_reject(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Busy => "busy",
        EndReason::Declined | EndReason::Forbidden => "decline",
        EndReason::NoAnswer | EndReason::Unavailable => "timeout",
        EndReason::NotFound => "gone",
        EndReason::NotAcceptable => "media-error",
        EndReason::Security => "security-error",
        EndReason::Cancelled | EndReason::AnsweredElsewhere => "cancel",
        EndReason::TooLong => "expired",
        EndReason::Hangup
        | EndReason::Connectivity
        | EndReason::Silent
        | EndReason::NoRoute
        | EndReason::Overloaded
        | EndReason::PeerGone
        | EndReason::ProtocolError
        | EndReason::Shutdown
        | EndReason::Failed => "general-error",
    }
}

/// The condition for a `retract`: XEP-0353 wants `cancel` unless there is more to say.
pub fn for_retract(reason: EndReason) -> &'static str {
    match reason {
        EndReason::NoAnswer => "timeout",
        EndReason::Hangup
        | EndReason::Cancelled
        | EndReason::AnsweredElsewhere
        | EndReason::Busy
        | EndReason::Declined
        | EndReason::Unavailable
        | EndReason::NotFound
        | EndReason::Forbidden
        | EndReason::NotAcceptable
        | EndReason::Security
        | EndReason::Connectivity
        | EndReason::Silent
        | EndReason::NoRoute
        | EndReason::Overloaded
        | EndReason::TooLong
        | EndReason::PeerGone
        | EndReason::ProtocolError
        | EndReason::Shutdown
        | EndReason::Failed => "cancel",
    }
}

/// The condition for `session-terminate` and `finish`.
pub fn for_terminate(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Hangup => "success",
        EndReason::Cancelled | EndReason::AnsweredElsewhere => "cancel",
        EndReason::Busy => "busy",
        EndReason::Declined | EndReason::Forbidden => "decline",
        EndReason::NoAnswer | EndReason::Unavailable => "timeout",
        EndReason::NotFound | EndReason::Shutdown => "gone",
        EndReason::NotAcceptable | EndReason::ProtocolError => "failed-application",
        EndReason::Security => "security-error",
        EndReason::TooLong => "expired",
        EndReason::Connectivity
        | EndReason::Silent
        | EndReason::NoRoute
        | EndReason::Overloaded
        | EndReason::PeerGone
        | EndReason::Failed => "connectivity-error",
    }
}

/// What a peer's condition means, `None` if it gave none.
pub fn meaning(condition: Option<&str>, phase: Phase) -> EndReason {
    let by_phase = |caller, callee, answered| match phase {
        Phase::CallerWaits => caller,
        Phase::CalleeWaits => callee,
        Phase::Answered => answered,
    };
    use EndReason::{
        AnsweredElsewhere, Busy, Cancelled, Connectivity, Declined, Failed, Hangup, NoAnswer,
        NotAcceptable, NotFound, Security,
    };
    match condition {
        Some("busy") => by_phase(Cancelled, Busy, Hangup),
        Some("decline") | None => by_phase(Cancelled, Declined, Hangup),
        Some("success" | "cancel") => by_phase(Cancelled, Declined, Hangup),
        Some("gone") => by_phase(Cancelled, NotFound, Hangup),
        Some("timeout") => by_phase(Cancelled, NoAnswer, Connectivity),
        // XEP-0353 §6.1: the other call of the pair goes on.
        Some("expired") => by_phase(Cancelled, Busy, Hangup),
        Some("alternative-session") => by_phase(Cancelled, AnsweredElsewhere, Hangup),
        Some("security-error") => Security,
        Some("connectivity-error" | "failed-transport") => Connectivity,
        Some(
            "failed-application"
            | "incompatible-parameters"
            | "media-error"
            | "unsupported-applications"
            | "unsupported-transports",
        ) => NotAcceptable,
        Some(_) => Failed,
    }
}

/// Writes a `<reason/>`.
pub fn write(condition: &'static str, text: Option<&str>) -> Element {
    element("reason", NS_JINGLE)
        .child(element(condition, NS_JINGLE))
        .children(text.map(|text| element("text", NS_JINGLE).text(&cut(text)).build()))
        .build()
}

/// The condition and the text of the `<reason/>` in `parent`.
pub fn read(parent: &Element) -> (Option<&str>, Option<String>) {
    let Some(reason) = parent.get_child("reason", NS_JINGLE) else {
        return (None, None);
    };
    let condition = reason
        .children()
        .find(|child| child.ns() == NS_JINGLE && child.name() != "text")
        .map(Element::name);
    let text = reason
        .get_child("text", NS_JINGLE)
        .map(|text| cut(&text.text()))
        .filter(|text| !text.is_empty());
    (condition, text)
}

/// Why the peer ended the call, as the `<reason/>` in `parent` says.
pub fn read_end(parent: &Element, phase: Phase) -> End {
    let (condition, text) = read(parent);
    End {
        text,
        ..End::from(meaning(condition, phase))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_REASON_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_as_it_was_written() {
        let parent = element("jingle", NS_JINGLE)
            .child(write("busy", Some("in a meeting")))
            .build();
        assert_eq!(read(&parent), (Some("busy"), Some("in a meeting".into())));
        let end = read_end(&parent, Phase::CalleeWaits);
        assert_eq!(end.reason, EndReason::Busy);
        assert_eq!(end.text.as_deref(), Some("in a meeting"));
    }

    #[test]
    fn no_reason_is_a_hangup_or_a_no_or_a_cancel() {
        let bare = element("jingle", NS_JINGLE).build();
        let reason = |phase| read_end(&bare, phase).reason;
        assert_eq!(reason(Phase::Answered), EndReason::Hangup);
        assert_eq!(reason(Phase::CalleeWaits), EndReason::Declined);
        assert_eq!(reason(Phase::CallerWaits), EndReason::Cancelled);
    }

    /// The documented table of what SIP results become.
    #[test]
    fn section_10_maps_call_results_to_reject_and_terminate() {
        for (reason, reject, terminate) in [
            (EndReason::Busy, "busy", "busy"),
            (EndReason::Declined, "decline", "decline"),
            (EndReason::Forbidden, "decline", "decline"),
            (EndReason::NoAnswer, "timeout", "timeout"),
            (EndReason::Unavailable, "timeout", "timeout"),
            (EndReason::NotFound, "gone", "gone"),
            (
                EndReason::NotAcceptable,
                "media-error",
                "failed-application",
            ),
            (EndReason::NoRoute, "general-error", "connectivity-error"),
            (EndReason::Failed, "general-error", "connectivity-error"),
        ] {
            assert_eq!(for_reject(reason), reject, "{reason}");
            assert_eq!(for_terminate(reason), terminate, "{reason}");
        }
        assert_eq!(for_terminate(EndReason::Hangup), "success");
        assert_eq!(for_retract(EndReason::Cancelled), "cancel");
        assert_eq!(for_retract(EndReason::NoAnswer), "timeout");
    }

    #[test]
    fn every_reason_that_is_written_can_be_read_in_every_phase() {
        for &reason in EndReason::ALL {
            for word in [
                for_reject(reason),
                for_retract(reason),
                for_terminate(reason),
            ] {
                for phase in [Phase::CallerWaits, Phase::CalleeWaits, Phase::Answered] {
                    let _: EndReason = meaning(Some(word), phase);
                }
            }
        }
        assert_eq!(meaning(Some("made-up"), Phase::Answered), EndReason::Failed);
    }
}
