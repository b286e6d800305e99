//! A text on its way from one room to the other: what somebody writes, and what became of it.
//!
//! A room tells [`TextEvent::Came`] and hears [`TextCommand::Fared`] for it exactly once; who hears
//! [`TextCommand::Send`] tells [`TextEvent::Fared`] for it exactly once. Both within a minute: the
//! rooms have the deadlines, and whoever carries texts between them has none.

use std::fmt;

use crate::address::Address;
use crate::id::{LegId, Role, Room};

/// One end of a text as a room sees it. Unique for the life of the process, like a leg: those of
/// writers are numbered by their room, those of readers by who carries texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId {
    /// The room that speaks for this end.
    pub room: Room,
    /// [`Role::Caller`] for the writer, [`Role::Callee`] for a reader.
    pub role: Role,
    /// Counted up from 1.
    pub number: u64,
}

/// What somebody has written.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// Who wrote it.
    pub from: Address,
    /// For whom it is.
    pub to: Address,
    /// What the writer calls itself, if the wire had that.
    pub display_name: Option<String>,
    /// The text itself; never empty.
    pub body: String,
    /// What it is about, if it says so.
    pub subject: Option<String>,
    /// The tag of its language (RFC 5646), if it says so.
    pub language: Option<String>,
}

impl fmt::Debug for Text {
    /// Says that there is one, not what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.body.len())
    }
}

/// Letters, digits and hyphens (RFC 5646 §2.1), and no more of them than any tag has.
pub fn language_tag(tag: &str) -> Option<String> {
    let tag = tag.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = (1..=35).contains(&tag.len()) && tag.chars().all(plain);
    fits.then(|| tag.to_owned())
}

/// What is known of a text that nobody refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// Somebody on the way has it, and passes it on.
    Accepted,
    /// The reader's device has it.
    Delivered,
}

/// Why a text was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The reader takes calls, but no texts.
    CallsOnly,
    /// It is longer than the way allows.
    TooLong,
    /// There is no such reader.
    NotFound,
    /// The writer may not.
    Forbidden,
    /// The reader is not there for the time being.
    Unavailable,
    /// A limit was reached.
    TooMany,
    /// Nobody on the way was there to take it.
    NoRoute,
    /// It was sent, and nobody said what became of it.
    Unanswered,
    /// It was refused, and the status says more than we can.
    Refused,
}

/// A text that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Why.
    pub why: Why,
    /// The SIP status that said so, or that RFC 7247 §7.1 has for what the XMPP side said.
    pub sip_status: Option<u16>,
}

impl From<Why> for Undelivered {
    fn from(why: Why) -> Self {
        Self {
            why,
            sip_status: None,
        }
    }
}

/// What became of a text.
pub type Fate = Result<Taken, Undelivered>;

/// What a room tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextEvent {
    /// Somebody has written.
    Came {
        /// The writer's end.
        id: TextId,
        /// The text.
        text: Box<Text>,
        /// The reader must not learn who writes.
        conceals: bool,
        /// The trunk that a SIP text came from.
        trunk: Option<String>,
        /// The leg of the call that the two are in, if they are.
        leg: Option<LegId>,
    },
    /// What became of a text that was to be sent.
    Fared {
        /// The reader's end.
        id: TextId,
        /// What became of it.
        fate: Fate,
    },
}

/// What a room is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextCommand {
    /// Sends a text.
    Send {
        /// The reader's end.
        id: TextId,
        /// The text.
        text: Box<Text>,
        /// The trunk to use, for SIP.
        trunk: Option<String>,
        /// The leg of the reader, for a text within a call.
        leg: Option<LegId>,
    },
    /// Tells the writer what became of its text.
    Fared {
        /// The writer's end.
        id: TextId,
        /// What became of it.
        fate: Fate,
    },
}

impl TextCommand {
    /// The room that it is for.
    pub fn room(&self) -> Room {
        match self {
            Self::Send { id, .. } | Self::Fared { id, .. } => id.room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_tag_is_one_or_nothing() {
        for tag in ["de", "de-CH", " zh-Hant-TW "] {
            assert_eq!(language_tag(tag).as_deref(), Some(tag.trim()));
        }
        for tag in ["", "de_CH", "de\r\nX: y", &"a".repeat(36)] {
            assert_eq!(language_tag(tag), None, "{tag}");
        }
    }
}
