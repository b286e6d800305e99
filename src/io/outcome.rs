//! What `dial` and `listen` print at the end.

use serde::Serialize;

use crate::leg::EndReason;

/// What is printed at the end. Times are milliseconds from the first stanza sent; what did not
/// happen is absent.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// What was heard could not be kept, though it should have been.
    #[serde(skip)]
    pub(super) lost_recording: bool,
    pub(super) result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decloak_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ringing_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jitter_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tone_hz: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) codec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) srtp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_by: Option<&'static str>,
}

impl Outcome {
    /// The same as a few lines of text.
    pub(super) fn for_people(&self) -> String {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.0} ms"));
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |v| v.to_string());
        let tone = match self.tone_hz {
            Some(hz) => format!("a tone of {hz:.0} Hz"),
            None => "no steady tone".to_owned(),
        };
        format!(
            "answered after {} (contact seen {}, ringing {}, first sound {})\n\
             {} over {}: sent {} packets, received {}, lost {}, jitter {}\nheard {tone}{}",
            ms(self.answer_ms),
            ms(self.decloak_ms),
            ms(self.ringing_ms),
            ms(self.media_ms),
            self.codec.as_deref().unwrap_or("-"),
            self.srtp.unwrap_or("-"),
            number(self.sent),
            number(self.received),
            number(self.lost),
            self.jitter_ms
                .map_or("-".to_owned(), |v| format!("{v:.1} ms")),
            match self.digits.as_deref() {
                Some(digits) => format!(", and the keys {digits}"),
                None => String::new(),
            }
        )
    }
}

/// The one word of how it went.
pub(super) fn result_word(answered: bool, reason: EndReason) -> &'static str {
    if answered {
        return match reason {
            EndReason::Security | EndReason::Connectivity | EndReason::NotAcceptable => "failed",
            _ => "answered",
        };
    }
    match reason {
        EndReason::Busy => "busy",
        EndReason::Declined | EndReason::Forbidden => "declined",
        EndReason::NoAnswer | EndReason::Unavailable => "timeout",
        EndReason::NotFound => "gone",
        _ => "failed",
    }
}
