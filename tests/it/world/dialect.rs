//! What tells today's clients apart, as their sources have it: each family is a client of the
//! simulated world with these habits.

/// How a client takes its own invitation back before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallsOffBy {
    Retract,
    /// Siskin and Beagle.
    Reject,
}

/// How a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangsUpBy {
    Terminate,
    /// Conversations: `finish` follows.
    TerminateAndFinish,
    /// Movim: `finish` to the bare JID comes first.
    FinishBareAndTerminate,
}

/// A family of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Knows XEP-0353; otherwise it calls by `session-initiate`.
    pub invites: bool,
    /// Answers our iqs.
    pub acks: bool,
    /// Says `ringing` when it is called.
    pub rings: bool,
    /// Says that the user declines; the condition of the reason.
    pub declines: Option<&'static str>,
    pub calls_off_by: CallsOffBy,
    pub hangs_up_by: HangsUpBy,
    /// Writes `<rtcp-mux/>`; otherwise it needs both components.
    pub mux: bool,
    /// Writes a BUNDLE group.
    pub groups: bool,
    /// Has DTLS-SRTP.
    pub dtls: bool,
    /// Takes `<transport/>` before `<description/>`.
    pub transport_first: bool,
    /// The content's name.
    pub content: &'static str,
    /// Waits no longer than 30 s for the first `ringing`, 45 s for the next one, 15 s from `proceed`
    /// to media.
    pub is_impatient: bool,
    /// Its user can hold a call (`session-info`).
    pub holds: bool,
}

/// Every family that can call.
pub const CALLING: [Dialect; 8] = [
    CONVERSATIONS,
    DINO,
    MOVIM,
    MONAL,
    SISKIN,
    KAIDAN,
    BOROGOVE,
    STANZA_JS,
];

pub const CONVERSATIONS: Dialect = Dialect {
    invites: true,
    acks: true,
    rings: true,
    declines: Some("busy"),
    calls_off_by: CallsOffBy::Retract,
    hangs_up_by: HangsUpBy::TerminateAndFinish,
    mux: true,
    groups: true,
    dtls: true,
    transport_first: false,
    content: "0",
    is_impatient: false,
    holds: false,
};
/// Says nothing before its user acts, and writes no group.
pub const DINO: Dialect = Dialect {
    rings: false,
    groups: false,
    hangs_up_by: HangsUpBy::Terminate,
    content: "audio",
    ..CONVERSATIONS
};
pub const MOVIM: Dialect = Dialect {
    hangs_up_by: HangsUpBy::FinishBareAndTerminate,
    ..CONVERSATIONS
};
/// Acknowledges nothing, writes the transport first, and does not wait long.
pub const MONAL: Dialect = Dialect {
    acks: false,
    is_impatient: true,
    transport_first: true,
    ..CONVERSATIONS
};
/// Takes its call back by `reject`, and never says that it rings.
pub const SISKIN: Dialect = Dialect {
    rings: false,
    calls_off_by: CallsOffBy::Reject,
    hangs_up_by: HangsUpBy::Terminate,
    ..CONVERSATIONS
};
/// Two ICE components, no mux, no group.
pub const KAIDAN: Dialect = Dialect {
    declines: Some("decline"),
    mux: false,
    groups: false,
    content: "microphone",
    ..CONVERSATIONS
};
/// Leaves iqs unanswered and says nothing when its user declines.
pub const BOROGOVE: Dialect = Dialect {
    acks: false,
    rings: false,
    declines: None,
    ..CONVERSATIONS
};
/// No message initiation.
pub const STANZA_JS: Dialect = Dialect {
    invites: false,
    holds: true,
    hangs_up_by: HangsUpBy::Terminate,
    ..CONVERSATIONS
};
/// Plain RTP over ICE, without invitations.
pub const GAJIM: Dialect = Dialect {
    invites: false,
    mux: false,
    groups: false,
    dtls: false,
    hangs_up_by: HangsUpBy::Terminate,
    content: "voice",
    ..CONVERSATIONS
};
