//! The whole vocabulary of a call. The protocol rooms translate their wire to it and from it, and
//! the call table knows nothing else.
//!
//! A leg hears commands and tells events. What a leg may rely on:
//! * A caller leg tells [`LegEvent::Offered`] first; a callee leg hears [`LegCommand::Offer`] first.
//! * [`LegEvent::Ended`] is told exactly once for each leg that was offered, and nothing after it;
//!   also after [`LegCommand::End`], as soon as the leg has said its goodbye (at once: the room
//!   keeps what the wire still needs, such as a BYE's transaction, to itself).
//! * Commands for a leg that has ended are ignored, so that crossing messages do no harm.

use crate::address::Address;
use crate::description::{Description, Media, TransportInfo};
use crate::id::LegId;

/// What a leg tells the call table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// Somebody calls. Only from caller legs, and always first.
    Offered {
        /// Who calls.
        from: Address,
        /// Who is called.
        to: Address,
        /// The name that the caller shows, if the wire had one.
        display_name: Option<String>,
        /// The callee must not learn who calls.
        conceals: bool,
        /// What is offered.
        offer: Offering,
        /// The trunk that a SIP call came from.
        trunk: Option<String>,
    },
    /// The callee's phone rings.
    Ringing,
    /// The callee sends sound before it answers, if a description is given; else a bare 183.
    Progress(Option<Description>),
    /// The callee has answered. `Some` is its answer to our offer. A leg whose answer came with
    /// [`LegEvent::Progress`] repeats it.
    Answered(Description),
    /// The peer offers within the call, or offers at last after [`LegCommand::Accept`]. Wants
    /// [`LegCommand::Answer`], or [`LegCommand::Refuse`] for an offer within a running call.
    Updated(Description),
    /// The peer has answered our [`LegCommand::Update`], or has described itself in its ACK.
    UpdateAnswered(Description),
    /// The peer refuses our [`LegCommand::Update`]; the session stands as before.
    UpdateRefused,
    /// Candidates, or an ICE restart.
    Transport(TransportInfo),
    /// A key was pressed, said in signalling (SIP INFO, a chat message). Keys in RTP are
    /// [`crate::border::MediaEvent::Digit`].
    Digit(Digit),
    /// Keys in a row, written rather than pressed. Told before the answer, they wait for it.
    Keys(Vec<Key>),
    /// The peer holds the call or takes it up again, said without a new description.
    Held(bool),
    /// The peer asks us to call somebody in its place. Wants [`LegCommand::Transfer`] until it is
    /// over.
    Transfer {
        /// Who is to be called.
        to: Address,
        /// What the call is to take the place of at the callee, in the room's own words.
        replaces: Option<String>,
    },
    /// The peer asks us to connect whom it talks to by this leg with whom it talks to by another.
    /// Wants [`LegCommand::Transfer`] until it is over.
    Join {
        /// The other leg.
        with: LegId,
    },
    /// How it goes with whom the peer was asked to call by [`LegCommand::Refer`].
    Referred(Transfer),
    /// The peer calls nobody for us; the session stands as before.
    ReferRefused,
    /// Somebody calls in the place of another leg of the room. A caller leg's first event, instead
    /// of [`LegEvent::Offered`]; wants [`LegCommand::Answer`] or [`LegCommand::End`].
    Replaces {
        /// Whose place it takes.
        old: LegId,
        /// What is offered.
        offer: Description,
        /// The trunk that it came from.
        trunk: Option<String>,
    },
    /// The leg is over.
    Ended(End),
}

/// What the peer of a caller leg has described so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offering {
    /// A whole offer: plain Jingle, an INVITE with SDP.
    Described(Description),
    /// Only the kinds of media; the offer itself follows [`LegCommand::Accept`] as
    /// [`LegEvent::Updated`]: XEP-0353 `propose`.
    Later(Vec<Media>),
    /// Nothing: [`LegCommand::Answer`] carries our offer, and the peer's answer comes as
    /// [`LegEvent::UpdateAnswered`]: an INVITE without SDP (RFC 3264 §5 delayed offer).
    Delayed,
}

/// What the call table tells a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegCommand {
    /// Calls somebody. Only to callee legs, and always first.
    Offer {
        /// Who calls, as the callee shall see it.
        from: Address,
        /// Who is called.
        to: Address,
        /// The caller's name, if known.
        display_name: Option<String>,
        /// What is offered, with our transport.
        offer: Description,
        /// The trunk to use, for SIP legs.
        trunk: Option<String>,
        /// What the call takes the place of at the callee: see [`LegEvent::Transfer`].
        replaces: Option<String>,
    },
    /// Tells the caller that the callee's phone rings.
    Ring,
    /// Tells the caller that sound comes before the answer.
    Progress(Option<Description>),
    /// Tells a caller that offered [`Offering::Later`] that the callee has answered, so that it
    /// offers now.
    Accept,
    /// Answers the peer's latest offer. For a caller leg that waits for its call to be answered,
    /// this is the answer of the call.
    Answer(Description),
    /// Refuses an offer within a running call, and keeps the session as it was.
    Refuse,
    /// Offers within the call.
    Update(Description),
    /// Our own new credentials and candidates, after an ICE restart of the peer.
    Transport(TransportInfo),
    /// Sends a key in signalling, where the leg can.
    Digit(Digit),
    /// Holds the call, or takes it up again.
    Hold(bool),
    /// Asks the peer to call somebody in our place. [`LegEvent::Referred`] tells how that goes,
    /// [`LegEvent::ReferRefused`] that it does not.
    Refer {
        /// Who is to be called.
        to: Address,
        /// A leg of the room whose place the call is to take there.
        replaces: Option<LegId>,
    },
    /// Tells how the transfer goes that the peer asked for.
    Transfer(Transfer),
    /// Ends the leg: refuses it, cancels it or hangs up, whichever fits its state.
    End(End),
}

/// How a transfer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The new callee's phone rings.
    Ringing,
    /// The new callee has answered; the leg that asked ends next.
    Done,
    /// It came to nothing; the call goes on as before.
    Failed(End),
}

/// A key of a telephone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digit(u8);

impl Digit {
    /// From an RFC 4733 §3.2 event code, 0–15.
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    /// From `0`–`9`, `*`, `#`, `A`–`D` (either case).
    pub fn from_char(key: char) -> Option<Self> {
        let event = match key.to_ascii_uppercase() {
            digit @ '0'..='9' => digit as u8 - b'0',
            '*' => 10,
            '#' => 11,
            letter @ 'A'..='D' => letter as u8 - b'A' + 12,
            _ => return None,
        };
        Some(Self(event))
    }

    /// The RFC 4733 event code.
    pub fn event(self) -> u8 {
        self.0
    }

    /// The key as text.
    pub fn as_char(self) -> char {
        char::from(b"0123456789*#ABCD"[usize::from(self.0)])
    }
}

/// One step of a row of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key.
    Press(Digit),
    /// Two seconds without one.
    Pause,
}

impl Key {
    /// Longer rows are no keys: nobody presses so many.
    const MAX_ROW: usize = 64;

    /// Reads a row as people write it: digits, `*`, `#`, and `,` or `p` for a pause; blanks mean
    /// nothing. `None` for anything else, and for a row without a key.
    pub fn row(text: &str) -> Option<Vec<Self>> {
        let written = text.chars().filter(|c| !c.is_whitespace());
        let key = |c| match c {
            ',' | 'p' | 'P' => Some(Self::Pause),
            '0'..='9' | '*' | '#' => Digit::from_char(c).map(Self::Press),
            _ => None,
        };
        let row: Vec<Self> = written
            .take(Self::MAX_ROW + 1)
            .map(key)
            .collect::<Option<_>>()?;
        let presses = row.iter().any(|key| matches!(key, Self::Press(_)));
        (presses && row.len() <= Self::MAX_ROW).then_some(row)
    }
}

/// Why a leg ended, with what its wire said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The reason, in the gateway's own terms.
    pub reason: EndReason,
    /// The SIP status that said so, 300–699.
    pub sip_status: Option<u16>,
    /// The Q.850 cause that said so, 1–127 (RFC 3326).
    pub q850: Option<u8>,
    /// Text for people.
    pub text: Option<String>,
}

impl From<EndReason> for End {
    fn from(reason: EndReason) -> Self {
        Self {
            reason,
            sip_status: None,
            q850: None,
            text: None,
        }
    }
}

impl End {
    /// The same end with a text for people and for the log.
    pub fn because(reason: EndReason, text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::from(reason)
        }
    }
}

macro_rules! end_reasons {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// Why a leg, and with it a call, ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EndReason { $($(#[$doc])* $name,)* }

        impl EndReason {
            /// Every reason, for the tables that tests print.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason as one word, for logs and records.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl std::fmt::Display for EndReason {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

end_reasons! {
    /// Somebody hung up after the answer.
    Hangup "hangup",
    /// The caller gave up before the answer.
    Cancelled "cancelled",
    /// Another device of the callee took the call.
    AnsweredElsewhere "answered-elsewhere",
    /// The callee is in another call (486, 600).
    Busy "busy",
    /// The callee does not want the call (603).
    Declined "declined",
    /// Nobody answered in time (408, 480 after ringing, our own timer).
    NoAnswer "no-answer",
    /// The callee is not there for the time being (480).
    Unavailable "unavailable",
    /// There is no such number or user (404, 410, 484, 604).
    NotFound "not-found",
    /// The caller may not make this call (403, our access rules).
    Forbidden "forbidden",
    /// The sides have no codec or transport in common (415, 488, 606).
    NotAcceptable "not-acceptable",
    /// A security promise was broken: a wrong fingerprint, an unprotected offer where protection
    /// is required.
    Security "security",
    /// Media could not be connected, or the connection was lost.
    Connectivity "connectivity",
    /// A connected leg sent nothing for the configured time.
    Silent "silent",
    /// No trunk could be reached, or the far network failed (500–599, timeouts).
    NoRoute "no-route",
    /// A limit of ours or of the trunk was reached (503 with Retry-After).
    Overloaded "overloaded",
    /// The call lasted as long as a call may.
    TooLong "too-long",
    /// The peer's client or server went away.
    PeerGone "peer-gone",
    /// The peer broke the protocol.
    ProtocolError "protocol-error",
    /// The gateway stops.
    Shutdown "shutdown",
    /// Something failed and nobody said what.
    Failed "failed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_keys_is_read_as_people_write_it() {
        let press = |c| Key::Press(Digit::from_char(c).unwrap());
        let row = vec![press('1'), Key::Pause, press('2'), press('#')];
        assert_eq!(Key::row("1 ,2 #"), Some(row.clone()));
        assert_eq!(Key::row("1p2#"), Some(row));
        for text in ["", "  ", ",,", "hello", "12a", "1.2", "٣", "+1"] {
            assert_eq!(Key::row(text), None, "{text}");
        }
        assert_eq!(Key::row(&"1".repeat(64)).map(|row| row.len()), Some(64));
        assert_eq!(Key::row(&"1".repeat(65)), None);
    }

    #[test]
    fn keys_and_events_are_the_same_sixteen() {
        for event in 0..16 {
            let digit = Digit::from_event(event).unwrap();
            assert_eq!(Digit::from_char(digit.as_char()), Some(digit));
        }
        assert_eq!(Digit::from_event(16), None);
        assert_eq!(Digit::from_char('x'), None);
    }
}
