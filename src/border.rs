//! The border between signalling and media: two enums over one bounded channel per worker. RTP
//! never crosses it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::description::{Candidate, Crypto, Fingerprint};
use crate::id::BridgeId;
use crate::leg::{Digit, EndReason};

/// Which side of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The side of the caller leg.
    Caller,
    /// The side of the callee leg.
    Callee,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// What signalling tells a media worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaCommand {
    /// Makes a bridge or configures a side of it anew. Always the side's whole state as it shall
    /// be, so that it may be said again. A bridge exists from its first `Configure` to its
    /// `Close`, and forwards as soon as both sides have a codec and a place to send to.
    Configure {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
        /// The side as it shall be.
        spec: Box<SideSpec>,
    },
    /// Adds remote candidates to an ICE side.
    Candidates {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
        /// The candidates.
        candidates: Vec<Candidate>,
    },
    /// Sends a key to the peer of a side as telephone-event (RFC 4733).
    Digit {
        /// The bridge.
        bridge: BridgeId,
        /// The side to send to.
        side: Side,
        /// The key.
        digit: Digit,
        /// How long it is pressed.
        duration: Duration,
    },
    /// Ends a bridge; the worker answers with [`MediaEvent::Closed`].
    Close {
        /// The bridge.
        bridge: BridgeId,
    },
}

/// One side of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideSpec {
    /// How packets reach the peer.
    pub transport: SideTransport,
    /// What the packets hold; `None` until it is negotiated: nothing is forwarded before.
    pub format: Option<Format>,
    /// The peer wants to receive.
    pub send: bool,
    /// The peer may send; what it sends otherwise is thrown away.
    pub receive: bool,
    /// A connected side that sends nothing for this long is reported [`MediaEvent::Silent`];
    /// `None` while it is on hold or not answered.
    pub silence_limit: Option<Duration>,
}

/// What the RTP packets of a side hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The encoding in upper case: `PCMU`, `PCMA`, `G722`, `OPUS`, `VP8`, `H264`.
    pub encoding: String,
    /// RTP clock rate.
    pub clock_hz: u32,
    /// Payload type toward the peer.
    pub send_payload_type: u8,
    /// Payload type from the peer.
    pub receive_payload_type: u8,
    /// What the peer may send in the place of it at any time, since an answer had more than one
    /// encoding (RFC 3264 §6.1, §7).
    pub receive_also: Vec<Encoded>,
    /// telephone-event toward the peer: payload type and clock rate.
    pub send_digits: Option<(u8, u32)>,
    /// telephone-event from the peer: each payload type with its clock rate.
    pub receive_digits: Vec<(u8, u32)>,
    /// Comfort noise (RFC 3389) toward the peer.
    pub send_noise: Option<u8>,
    /// Comfort noise from the peer.
    pub receive_noise: Option<u8>,
    /// Milliseconds of sound in a packet toward the peer, where the worker makes packets itself.
    pub ptime_ms: u16,
    /// The peer makes use of Opus' in-band FEC.
    pub fec: bool,
}

/// An encoding and its payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The payload type.
    pub payload_type: u8,
    /// The encoding in upper case.
    pub encoding: String,
    /// RTP clock rate.
    pub clock_hz: u32,
}

impl Format {
    /// True for pictures: they all have one clock (RFC 3551 §5), which no sound has.
    pub fn is_video(&self) -> bool {
        self.clock_hz == 90_000
    }
}

/// How packets reach the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideTransport {
    /// A socket pair of its own.
    Rtp(RtpSide),
    /// ICE, over the worker's shared sockets as a rule.
    Ice(IceSide),
    /// The transport of the same side of another bridge of the worker, which exists (RFC 9143): packets
    /// are told apart by their payload types.
    Bundled(BridgeId),
}

/// A side with a socket pair of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpSide {
    /// The address to bind.
    pub bind: IpAddr,
    /// The even port for RTP; RTCP has the next one (RFC 3550 §11), also when muxed.
    pub port: u16,
    /// Where the peer said it receives RTP.
    pub remote: Option<SocketAddr>,
    /// Where the peer said it receives RTCP, if not at the RTP port plus one.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share the RTP port.
    pub rtcp_mux: bool,
    /// Packets from another address than the announced one move the target there (latching),
    /// once per [`SideSpec`], until one comes from there after all: peers behind NAT announce
    /// addresses that do not work.
    pub symmetric: bool,
    /// Keys, if the stream is protected.
    pub keys: RtpKeys,
}

/// Protection of a side with a socket pair of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtpKeys {
    /// Plain RTP.
    None,
    /// SDES (RFC 4568).
    Sdes {
        /// Ours: protects what we send.
        local: Crypto,
        /// The peer's: protects what it sends.
        remote: Crypto,
    },
    /// DTLS-SRTP on the RTP port; `setup` of `local` is ours, already chosen.
    Dtls {
        /// True if we are the DTLS client.
        client: bool,
        /// What the peer's certificate must hash to.
        remote: Fingerprint,
    },
}

/// A side behind ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct IceSide {
    /// Our credentials. Others than the side has already mean an ICE restart.
    pub local_ufrag: String,
    /// Our password.
    pub local_pwd: String,
    /// The even port of a pair of the side's own, for component 1 and 2, in the place of the
    /// worker's: the peer has another call with us from the same address and port.
    pub own_port: Option<u16>,
    /// True if our side sent the session-initiate.
    pub controlling: bool,
    /// RTP and RTCP share component 1. If false, both components are checked, and RTCP goes by
    /// component 2 with a DTLS association of its own. While the peer has not answered an offer
    /// of ours this is false, and the candidates for both components exist.
    pub rtcp_mux: bool,
    /// What the peer told; `None` until it did: checks that come early are kept.
    pub remote: Option<IceRemote>,
    /// How the stream is protected; `None` until the peer told.
    pub dtls: Option<DtlsSpec>,
}

impl std::fmt::Debug for IceSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            local_ufrag,
            local_pwd: _,
            own_port,
            controlling,
            rtcp_mux,
            remote,
            dtls,
        } = self;
        f.debug_struct("IceSide")
            .field("local_ufrag", local_ufrag)
            .field("own_port", own_port)
            .field("controlling", controlling)
            .field("rtcp_mux", rtcp_mux)
            .field("remote", remote)
            .field("dtls", dtls)
            .finish()
    }
}

/// The peer's end of ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct IceRemote {
    /// Its user name fragment.
    pub ufrag: String,
    /// Its password.
    pub pwd: String,
    /// Its candidates so far; more come by [`MediaCommand::Candidates`].
    pub candidates: Vec<Candidate>,
}

impl std::fmt::Debug for IceRemote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ufrag,
            pwd: _,
            candidates,
        } = self;
        write!(
            f,
            "IceRemote {{ ufrag: {ufrag:?}, candidates: {candidates:?} }}"
        )
    }
}

/// DTLS-SRTP behind ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsSpec {
    /// True if we are the DTLS client.
    pub client: bool,
    /// What the peer's certificate must hash to.
    pub remote: Fingerprint,
}

/// What a media worker tells signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// The side can send and receive: ICE has a pair and DTLS has keys. Told once per side; an RTP
    /// side tells it with the first packet from the peer.
    Connected {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
    },
    /// The side cannot work: ICE found no pair or lost it, the certificate was a wrong one. The
    /// bridge is still there until it is closed.
    Failed {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
        /// Why: [`EndReason::Security`], [`EndReason::Connectivity`] or [`EndReason::Failed`].
        reason: EndReason,
        /// For the log.
        text: String,
    },
    /// A port of a side's own could not be opened, since another program has it. The side does
    /// nothing until a [`MediaCommand::Configure`] gives it other ports. Told once per port.
    PortTaken {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
        /// The even port of the pair.
        port: u16,
        /// For the log.
        text: String,
    },
    /// The side has been silent for its limit. Told once.
    Silent {
        /// The bridge.
        bridge: BridgeId,
        /// Which side of it.
        side: Side,
    },
    /// A key was pressed on a side. The worker has already forwarded it if the other side has
    /// telephone-event.
    Digit {
        /// The bridge.
        bridge: BridgeId,
        /// The side it came from.
        side: Side,
        /// The key.
        digit: Digit,
        /// True if the other side got it as telephone-event.
        forwarded: bool,
    },
    /// A bridge is gone, its ports are closed.
    Closed {
        /// The bridge.
        bridge: BridgeId,
        /// What passed through it.
        stats: Box<BridgeStats>,
    },
}

impl MediaEvent {
    /// The bridge that it is about.
    pub fn bridge(&self) -> BridgeId {
        match self {
            Self::Connected { bridge, .. }
            | Self::Failed { bridge, .. }
            | Self::PortTaken { bridge, .. }
            | Self::Silent { bridge, .. }
            | Self::Digit { bridge, .. }
            | Self::Closed { bridge, .. } => *bridge,
        }
    }
}

/// What passed through a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// The caller's side.
    pub caller: SideStats,
    /// The callee's side.
    pub callee: SideStats,
}

/// What passed through one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideStats {
    /// RTP packets from the peer.
    pub received: u64,
    /// RTP packets to the peer.
    pub sent: u64,
    /// RTP packets from the peer that were thrown away: bad, forged, replayed, unexpected.
    pub dropped: u64,
    /// RTP packets that never came, by their sequence numbers (RFC 3550 §A.3).
    pub lost: u64,
    /// Interarrival jitter at the end (RFC 3550 §A.8).
    pub jitter: Duration,
    /// Round trip by RTCP, if any report said so.
    pub round_trip: Option<Duration>,
    /// What transcoding did to the sound from the peer, if it was transcoded.
    pub transcode: Option<TranscodeStats>,
}

/// What transcoding did to the sound of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranscodeStats {
    /// Mean delay added: the jitter buffer, packing, and what the encoder holds back.
    pub delay: Duration,
    /// The longest of it.
    pub longest: Duration,
    /// Packets that came too late to be heard.
    pub late: u64,
    /// Lost packets that were filled in by guessing.
    pub concealed: u64,
    /// Lost packets that were recovered from the ones behind them.
    pub recovered: u64,
}
