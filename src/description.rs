//! The neutral description of a media session: what Jingle says in XML and SIP says in SDP.
//!
//! Both converters build and destructure these types without `..`, so a new field shows every
//! place that has to know about it.

use std::net::SocketAddr;

/// The media of a session as one side offers or answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The streams (Jingle contents, SDP m-lines), in order.
    pub streams: Vec<Stream>,
    /// All streams share one transport (RFC 9143 BUNDLE, XEP-0338). Offered, or accepted.
    pub bundle: bool,
}

impl Description {
    /// The first audio stream that is not rejected.
    pub fn audio(&self) -> Option<&Stream> {
        self.streams
            .iter()
            .find(|s| s.media == Media::Audio && !s.rejected)
    }

    /// The first video stream that is not rejected.
    pub fn video(&self) -> Option<&Stream> {
        self.streams
            .iter()
            .find(|s| s.media == Media::Video && !s.rejected)
    }
}

/// One stream of a [`Description`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The Jingle content name or the SDP `mid`; empty if the side gave none.
    pub name: String,
    /// What flows in it.
    pub media: Media,
    /// The codecs, most wanted first. `telephone-event` and `CN` are codecs here too.
    pub codecs: Vec<Codec>,
    /// Which way media may flow, as the describing side sees it.
    pub direction: Direction,
    /// Milliseconds of sound in a packet that the describing side wants to receive.
    pub ptime_ms: Option<u16>,
    /// Milliseconds of sound in a packet that the describing side can receive at most.
    pub maxptime_ms: Option<u16>,
    /// Where the describing side receives.
    pub transport: Transport,
    /// The stream stands here only because the order of streams must be kept (SDP port 0).
    pub rejected: bool,
}

/// What flows in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Media {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Anything else (T.38 images, text, data channels): kept in place, always rejected.
    Other,
}

/// One payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// RTP payload type, 0–127.
    pub payload_type: u8,
    /// Encoding name as the side spelt it; compare with [`Codec::is`].
    pub name: String,
    /// RTP clock rate. G.722 says 8000 although it samples at 16000 (RFC 3551 §4.5.2).
    pub clock_hz: u32,
    /// Channels; 1 unless the side says otherwise. Opus is always 2 (RFC 7587 §7).
    pub channels: u8,
    /// `fmtp` parameters in order; a parameter without a value (such as `0-16`) has an empty name.
    pub parameters: Vec<(String, String)>,
    /// What a receiver of it may ask for by RTCP, of pictures only: type and subtype, such as `nack`
    /// and `pli` (RFC 4585 §4.2, XEP-0293).
    pub feedback: Vec<(String, String)>,
}

impl Codec {
    /// A codec without parameters.
    pub fn new(payload_type: u8, name: &str, clock_hz: u32, channels: u8) -> Self {
        Self {
            payload_type,
            name: name.to_owned(),
            clock_hz,
            channels,
            parameters: Vec::new(),
            feedback: Vec::new(),
        }
    }

    /// True if the encoding is called `name`; case does not count (RFC 8866 §6.6).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// True for what accompanies sound and is no sound itself: telephone-event, CN, RED.
    pub fn is_auxiliary(&self) -> bool {
        self.is("telephone-event") || self.is("CN") || self.is("red") || self.is("ulpfec")
    }

    /// True if both mean the same encoding, whatever their payload types.
    pub fn same_encoding(&self, other: &Self) -> bool {
        self.is(&other.name) && self.clock_hz == other.clock_hz && self.channels == other.channels
    }
}

/// Which way media may flow, as the describing side sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// `sendrecv`, Jingle `senders='both'`.
    #[default]
    Both,
    /// `sendonly`.
    Send,
    /// `recvonly`.
    Receive,
    /// `inactive`, Jingle `senders='none'`.
    Inactive,
}

impl Direction {
    /// The same flow seen from the other side.
    pub fn reversed(self) -> Self {
        match self {
            Self::Both => Self::Both,
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
            Self::Inactive => Self::Inactive,
        }
    }

    /// True if the describing side sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::Both | Self::Send)
    }

    /// True if the describing side receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::Both | Self::Receive)
    }
}

/// Where and how a side receives a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain addresses, as SIP uses them.
    Rtp(RtpTransport),
    /// ICE, as Jingle uses it (XEP-0176).
    Ice(IceTransport),
}

/// Plain addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpTransport {
    /// Where RTP goes; `None` if the name could not be used (an FQDN in `c=`), so that only
    /// latching can find the peer. An unspecified address means hold (RFC 2543 style).
    pub address: Option<SocketAddr>,
    /// Where RTCP goes, if it is not the RTP port plus one (RFC 3605).
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP on one port (RFC 5761). Offered, or accepted.
    pub rtcp_mux: bool,
    /// Protection of the stream.
    pub security: Security,
    /// The protection stands on an unprotected profile, so that the other side may do without it
    /// (RFC 8643). Offered, or accepted.
    pub opportunistic: bool,
}

/// Protection of an RTP stream that does not use ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// RTP/AVP.
    None,
    /// RTP/SAVP with keys in the SDP (RFC 4568).
    Sdes(Vec<Crypto>),
    /// UDP/TLS/RTP/SAVP (RFC 5764).
    Dtls(Fingerprint),
}

/// One `a=crypto` line or Jingle `<crypto/>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Which of the offered lines.
    pub tag: u32,
    /// Crypto suite, such as `AES_CM_128_HMAC_SHA1_80`.
    pub suite: String,
    /// Key parameters, such as `inline:…`. A secret.
    pub key: String,
}

impl std::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crypto({} {})", self.tag, self.suite)
    }
}

/// ICE with DTLS-SRTP.
#[derive(Clone, PartialEq, Eq)]
pub struct IceTransport {
    /// User name fragment, 4–256 characters.
    pub ufrag: String,
    /// Password, 22–256 characters. A secret.
    pub pwd: String,
    /// Candidates known when the description was written; more may trickle.
    pub candidates: Vec<Candidate>,
    /// RTP and RTCP on one component. Offered, or accepted. Without it component 2 carries RTCP.
    pub rtcp_mux: bool,
    /// DTLS certificate; `None` means the side does not do DTLS-SRTP.
    pub fingerprint: Option<Fingerprint>,
    /// Keys in the description (Jingle `<encryption/>`), for sides without DTLS.
    pub sdes: Vec<Crypto>,
}

impl std::fmt::Debug for IceTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ufrag,
            pwd: _,
            candidates,
            rtcp_mux,
            fingerprint,
            sdes,
        } = self;
        f.debug_struct("IceTransport")
            .field("ufrag", ufrag)
            .field("candidates", candidates)
            .field("rtcp_mux", rtcp_mux)
            .field("fingerprint", fingerprint)
            .field("sdes", sdes)
            .finish()
    }
}

/// A certificate's hash and the role in the handshake (RFC 8122, RFC 4145, XEP-0320).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash function in lower case, such as `sha-256`.
    pub hash: String,
    /// The hash itself; for sha-256, 32 bytes.
    pub value: Vec<u8>,
    /// Who starts the handshake, as the describing side wants it.
    pub setup: Setup,
}

impl Fingerprint {
    /// `AB:CD:…` in upper case, without blanks.
    pub fn hex(&self) -> String {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
        ];
        let mut hex = String::with_capacity(3 * self.value.len());
        for byte in &self.value {
            if !hex.is_empty() {
                hex.push(':');
            }
            hex.push(DIGITS[usize::from(byte >> 4)]);
            hex.push(DIGITS[usize::from(byte & 15)]);
        }
        hex
    }

    /// Reads `AB:CD:…`, either case; `None` if it is anything else.
    pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
        text.trim()
            .split(':')
            .map(|b| {
                (b.len() == 2)
                    .then(|| u8::from_str_radix(b, 16).ok())
                    .flatten()
            })
            .collect()
    }
}

/// Who starts the DTLS handshake (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setup {
    /// The describing side is the DTLS client.
    Active,
    /// The describing side is the DTLS server.
    Passive,
    /// The other side may choose; only in offers.
    Actpass,
}

impl Setup {
    /// The role that answers this one (RFC 5763 §5): the other side connects, unless this one
    /// insists on connecting.
    pub fn answered(self) -> Self {
        match self {
            Self::Actpass | Self::Passive => Self::Active,
            Self::Active => Self::Passive,
        }
    }
}

/// One ICE candidate. Only UDP candidates with literal addresses get this far; the protocol rooms
/// leave out everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of the same kind, base and server.
    pub foundation: String,
    /// 1 is RTP, 2 is RTCP.
    pub component: u8,
    /// Where it is reached.
    pub address: SocketAddr,
    /// RFC 8445 §5.1.2.
    pub priority: u32,
    /// How it was found.
    pub kind: CandidateKind,
    /// The base of a reflexive or relayed candidate.
    pub related: Option<SocketAddr>,
    /// ICE generation, counted up by restarts (XEP-0176).
    pub generation: u32,
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// An address of the host.
    Host,
    /// Seen by the peer.
    PeerReflexive,
    /// Seen by a STUN server.
    ServerReflexive,
    /// Lent by a TURN server.
    Relayed,
}

/// New transport facts of a stream in a running session (Jingle `transport-info`).
#[derive(Clone, PartialEq, Eq)]
pub struct TransportInfo {
    /// The content name; empty means the only stream.
    pub stream: String,
    /// Credentials, if the side repeated them; changed ones ask for an ICE restart.
    pub credentials: Option<(String, String)>,
    /// Candidates.
    pub candidates: Vec<Candidate>,
}

impl std::fmt::Debug for TransportInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            stream,
            credentials,
            candidates,
        } = self;
        f.debug_struct("TransportInfo")
            .field("stream", stream)
            .field("ufrag", &credentials.as_ref().map(|(ufrag, _)| ufrag))
            .field("candidates", candidates)
            .finish()
    }
}
