//! One side of a bridge: how its packets travel, how they are protected, what was heard.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::SocketKey;
use super::digits::Digits;
use super::dtls::{self, Association};
use super::ice::IcePort;
use super::rtcp::Reception;
use super::rtp::Header;
use super::srtp::{MasterKey, Protect, Unprotect};
use super::stream::Sending;
use super::transcode::Transcoder;
use crate::border::{Format, RtpKeys, RtpSide, SideSpec, SideStats, SideTransport};
use crate::id::TokenMaker;

/// Addresses of one side that its peer was validated at, over all restarts.
const MAX_ADDRESSES: usize = 128;

/// Handshakes of a channel that others than the announced address may begin: enough for a phone
/// behind a NAT among scanners, not enough to keep a thread busy with signatures.
const MAX_STRAYS: u32 = 64;

/// A handshake that is silent for so long gives way to the next one from elsewhere. Clients repeat
/// their flights after a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a peer stays with an encoding that it has taken up. Each change may cost a decoder and an
/// encoder, and peers change about once a call; packets that come out of order are not worth it.
const LEAST_STAY: Duration = Duration::from_secs(1);

/// Which component of a stream (RFC 8445 §4: 1 is RTP, 2 is RTCP). With rtcp-mux the first
/// carries both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
}

impl Component {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Rtp, Self::Rtcp];

    /// Its number in candidates.
    pub fn number(self) -> u8 {
        match self {
            Self::Rtp => 1,
            Self::Rtcp => 2,
        }
    }
}

/// One side of a bridge.
#[derive(Debug)]
pub struct SideState {
    /// As signalling wants it.
    pub spec: SideSpec,
    /// What the peer sends if it has sent something else than its format says first.
    pub turned: Option<Turned>,
    /// The way of RTP, and of everything with rtcp-mux.
    pub rtp: Channel,
    /// The way of RTCP without rtcp-mux.
    pub rtcp: Option<Channel>,
    /// RFC 8445 §16.1: the same for all checks of a session.
    pub tie_breaker: u64,
    /// [`crate::border::MediaEvent::Connected`] was told.
    pub connected: bool,
    /// [`crate::border::MediaEvent::Failed`] or [`crate::border::MediaEvent::PortTaken`] was told;
    /// nothing is forwarded any more.
    pub failed: bool,
    /// When the peer was heard last, or began to be listened for.
    pub heard: Instant,
    /// [`crate::border::MediaEvent::Silent`] was told.
    pub silent: bool,
    /// What the peer sends.
    pub reception: Reception,
    /// What the peer hears.
    pub sending: Sending,
    /// telephone-event, both ways.
    pub digits: Digits,
    /// What becomes of the sound of its peer.
    pub way: Way,
    /// The counters of the call record.
    pub stats: SideStats,
    /// What the demultiplexer knows of this side, to be forgotten with it.
    pub addresses: VecDeque<(Component, SocketKey, SocketAddr)>,
}

/// What a peer sends of all that was agreed on.
#[derive(Debug)]
pub struct Turned {
    /// Its format, as far as it is about what the peer sends.
    format: Format,
    /// Since when.
    at: Instant,
}

/// What becomes of the sound of a peer.
#[derive(Debug)]
pub enum Way {
    /// It is thrown away: a side has no encoding yet.
    Nowhere,
    /// It goes through untouched.
    Passed,
    /// Each of its bytes is replaced: one law of G.711 for the other.
    Mapped(&'static [u8; 256]),
    /// It is encoded anew.
    Transcoded(Box<Transcoder>),
}

/// The way of one component.
#[derive(Debug)]
pub struct Channel {
    /// Where packets go.
    pub path: Path,
    /// The DTLS association, if there is one.
    pub dtls: Option<Association>,
    /// Where the peer's last DTLS datagram came from: flights go there before a pair is nominated.
    pub dtls_from: Option<(SocketKey, SocketAddr)>,
    /// When the one we shake hands with was heard last, if it is somewhere else than announced: the
    /// peer behind a NAT, or anybody.
    pub far: Option<Instant>,
    /// Handshakes that were begun from elsewhere.
    strays: u32,
    /// How packets are protected.
    pub protection: Protection,
}

impl Channel {
    /// A way without protection agreed on.
    pub fn new(path: Path, protection: Protection) -> Self {
        Self {
            path,
            dtls: None,
            dtls_from: None,
            far: None,
            strays: 0,
            protection,
        }
    }

    /// Forgets the DTLS association and whom it was with.
    pub fn end_dtls(&mut self) {
        self.dtls = None;
        self.dtls_from = None;
        self.far = None;
    }

    /// True if a DTLS datagram may be the peer's. `client`: we are the DTLS client.
    ///
    /// Until the keys are there, nothing in a datagram proves whose it is. So what comes from the
    /// announced address goes first: others are heard only before it is, and their handshake gives
    /// way to its own. The flights of a client go to the announced address, and are answered from
    /// there.
    pub fn admit_dtls(
        &mut self,
        now: Instant,
        from: (SocketKey, SocketAddr),
        datagram: &[u8],
        (client, symmetric): (bool, bool),
    ) -> bool {
        let direct = match &self.path {
            Path::Direct(direct) => direct,
            Path::Ice { .. } | Path::Borrowed => {
                self.dtls_from = Some(from);
                return true;
            }
        };
        if !direct.may_be_peer(from.1, symmetric) {
            return false;
        }
        let begins = dtls::is_client_hello(datagram);
        if direct.announces(from.1) {
            if self.far.is_some() {
                if !begins || self.protection.is_ready() {
                    return false;
                }
                self.end_dtls();
            }
            self.dtls_from = Some(from);
            return true;
        }
        if self.far.is_some() && self.dtls_from == Some(from) {
            self.far = Some(now);
            return true;
        }
        if client || !begins || !self.gives_way(now) || self.strays >= MAX_STRAYS {
            return false;
        }
        self.strays += 1;
        self.end_dtls();
        self.far = Some(now);
        self.dtls_from = Some(from);
        true
    }

    /// True if a handshake with someone who is not at the announced address may begin.
    fn gives_way(&self, now: Instant) -> bool {
        match (&self.dtls, self.far) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(association), Some(heard)) => {
                !association.is_done() && now.saturating_duration_since(heard) >= PATIENCE
            }
        }
    }

    /// Where packets to the peer go.
    pub fn target(&self) -> Option<(SocketKey, SocketAddr)> {
        match &self.path {
            Path::Ice { selected, .. } => *selected,
            Path::Direct(direct) => Some((direct.socket, direct.target()?)),
            Path::Borrowed => None,
        }
    }
}

/// Where packets go.
#[derive(Debug)]
pub enum Path {
    /// Over a shared socket, where ICE says.
    Ice {
        /// The agent.
        port: Box<IcePort>,
        /// The nominated pair.
        selected: Option<(SocketKey, SocketAddr)>,
    },
    /// Over a socket of its own.
    Direct(Direct),
    /// Over the side of another bridge.
    Borrowed,
}

/// A socket of a side's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// The socket.
    pub socket: SocketKey,
    /// Where the peer said it receives.
    pub announced: Option<SocketAddr>,
    /// Where its packets come from.
    pub latched: Option<SocketAddr>,
    /// A stranger that may turn out to be the peer behind a NAT: address, source and sequence
    /// number of its last packet.
    pub probation: Option<(SocketAddr, u32, u16)>,
}

/// May a packet from this address be the peer's?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is the peer.
    Peer,
    /// It is the peer if the packet is valid; packets go there from then on.
    Latch,
    /// It may be, and has to send another packet like this.
    Probation,
    /// It is not.
    Stranger,
}

impl Direct {
    /// A socket whose peer is not heard yet.
    pub fn new(socket: SocketKey, announced: Option<SocketAddr>) -> Self {
        Self {
            socket,
            announced,
            latched: None,
            probation: None,
        }
    }

    /// True if the peer said that it is at this host.
    fn announces(&self, from: SocketAddr) -> bool {
        self.announced.is_some_and(|a| a.ip() == from.ip())
    }

    fn target(&self) -> Option<SocketAddr> {
        self.latched.or(self.announced)
    }

    /// Judges the sender of a packet. `sure`: the packet was authenticated.
    ///
    /// The announced address is better evidence than whoever was first (RFC 7362 §5): it takes the
    /// place of another one at any time, and never gives it away.
    pub fn admit(
        &mut self,
        from: SocketAddr,
        header: &Header,
        symmetric: bool,
        sure: bool,
    ) -> Admission {
        if self.latched == Some(from) {
            return Admission::Peer;
        }
        if self.announced == Some(from) {
            return Admission::Latch;
        }
        if self.latched.is_some() {
            return Admission::Stranger;
        }
        match self.announced {
            Some(announced) if !symmetric => {
                // RTP may leave from another port than it is received at.
                return if announced.ip() == from.ip() {
                    Admission::Peer
                } else {
                    Admission::Stranger
                };
            }
            _ => {}
        }
        if sure {
            return Admission::Latch;
        }
        // Anybody can throw one packet at a port: two in a row of one stream are wanted.
        let before = self.probation.replace((from, header.ssrc, header.sequence));
        match before {
            Some((address, ssrc, sequence))
                if address == from
                    && ssrc == header.ssrc
                    && header.sequence == sequence.wrapping_add(1) =>
            {
                Admission::Latch
            }
            _ => Admission::Probation,
        }
    }

    /// True if DTLS and RTCP from this address are worth looking at.
    pub fn may_be_peer(&self, from: SocketAddr, symmetric: bool) -> bool {
        match (self.latched, self.announced) {
            (Some(latched), _) => latched.ip() == from.ip() || self.announces(from),
            (None, Some(announced)) => symmetric || announced.ip() == from.ip(),
            (None, None) => true,
        }
    }
}

/// How packets are protected.
#[derive(Debug)]
pub enum Protection {
    /// Keys are awaited: nothing goes out, nothing is believed.
    Pending,
    /// Plain RTP, only on sides that signalling says so of.
    Clear,
    /// SRTP.
    Srtp {
        /// What we send.
        protect: Box<Protect>,
        /// What the peer sends.
        unprotect: Box<Unprotect>,
    },
}

impl Protection {
    /// SRTP with these keys: ours and the peer's.
    pub fn srtp(local: &MasterKey, remote: &MasterKey) -> Self {
        Self::Srtp {
            protect: Box::new(Protect::new(local)),
            unprotect: Box::new(Unprotect::new(remote)),
        }
    }

    /// True once packets may flow.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Pending => false,
            Self::Clear | Self::Srtp { .. } => true,
        }
    }

    /// Protects an RTP packet in place.
    pub fn seal(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        match self {
            Self::Pending => None,
            Self::Clear => Some(len),
            Self::Srtp { protect, .. } => protect.rtp(buffer, len).ok(),
        }
    }

    /// Protects an RTCP packet in place.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        match self {
            Self::Pending => None,
            Self::Clear => Some(len),
            Self::Srtp { protect, .. } => protect.rtcp(buffer, len).ok(),
        }
    }

    /// Opens an RTP packet in place.
    pub fn open(&mut self, packet: &mut [u8]) -> Option<usize> {
        match self {
            Self::Pending => None,
            Self::Clear => Some(packet.len()),
            Self::Srtp { unprotect, .. } => unprotect.rtp(packet).ok(),
        }
    }

    /// Opens an RTCP packet in place.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        match self {
            Self::Pending => None,
            Self::Clear => Some(packet.len()),
            Self::Srtp { unprotect, .. } => unprotect.rtcp(packet).ok(),
        }
    }
}

impl SideState {
    /// A side with its first channel.
    pub fn new(
        now: Instant,
        spec: SideSpec,
        rtp: Channel,
        tie_breaker: u64,
        tokens: &mut TokenMaker,
    ) -> Self {
        let [ssrc, sequence, timestamp] = std::array::from_fn(|_| tokens.number());
        Self {
            spec,
            turned: None,
            rtp,
            rtcp: None,
            tie_breaker,
            connected: false,
            failed: false,
            heard: now,
            silent: false,
            reception: Reception::new(now),
            sending: Sending::new(ssrc as u32, sequence as u16, timestamp as u32),
            digits: Digits::default(),
            way: Way::Nowhere,
            stats: SideStats::default(),
            addresses: VecDeque::new(),
        }
    }

    /// What the peer's packets hold.
    pub fn input(&self) -> Option<&Format> {
        let turned = self.turned.as_ref().map(|turned| &turned.format);
        turned.or(self.spec.format.as_ref())
    }

    /// Notes that the peer has gone over to another encoding of those that were agreed on; false if
    /// there is none of this payload type, or if it is too soon.
    pub fn turn(&mut self, now: Instant, payload_type: u8) -> bool {
        let last = self.turned.as_ref().map(|turned| turned.at);
        if last.is_some_and(|at| now.saturating_duration_since(at) < LEAST_STAY) {
            return false;
        }
        let Some(mut format) = self.spec.format.clone() else {
            return false;
        };
        if payload_type != format.receive_payload_type {
            let mut others = std::mem::take(&mut format.receive_also).into_iter();
            let Some(other) = others.find(|other| other.payload_type == payload_type) else {
                return false;
            };
            format.receive_payload_type = payload_type;
            format.encoding = other.encoding;
            format.clock_hz = other.clock_hz;
        }
        self.turned = Some(Turned { format, at: now });
        true
    }

    /// Ends what became of the peer's sound; the counters stay.
    pub fn end_way(&mut self) {
        if let Way::Transcoded(transcoder) = &self.way {
            self.stats.transcode = Some(transcoder.stats());
        }
        self.way = Way::Nowhere;
    }

    /// The channel of a component.
    pub fn channel(&mut self, component: Component) -> Option<&mut Channel> {
        match component {
            Component::Rtp => Some(&mut self.rtp),
            Component::Rtcp => self.rtcp.as_mut(),
        }
    }

    /// True if RTCP goes the way of RTP.
    pub fn is_muxed(&self) -> bool {
        match &self.spec.transport {
            SideTransport::Rtp(rtp) => rtp.rtcp_mux,
            SideTransport::Ice(ice) => ice.rtcp_mux,
            SideTransport::Bundled(_) => true,
        }
    }

    /// True if one key from signalling protects both components. One of them counts for both then:
    /// no packet number may meet the key twice (RFC 3711 §9.1), wherever RTCP goes next.
    pub fn has_one_key(&self) -> bool {
        match &self.spec.transport {
            SideTransport::Rtp(rtp) => matches!(rtp.keys, RtpKeys::Sdes { .. }),
            SideTransport::Ice(_) | SideTransport::Bundled(_) => false,
        }
    }

    /// True if its peer may be found by its packets. An announcement that cannot be used leaves
    /// no other way.
    pub fn is_symmetric(&self) -> bool {
        match &self.spec.transport {
            SideTransport::Rtp(rtp) => rtp.symmetric || rtp_target(rtp).is_none(),
            SideTransport::Ice(_) | SideTransport::Bundled(_) => false,
        }
    }

    /// The DTLS role and the peer's fingerprint, once signalling knows them.
    pub fn dtls(&self) -> Option<(bool, &crate::description::Fingerprint)> {
        match &self.spec.transport {
            SideTransport::Ice(ice) => ice.dtls.as_ref().map(|d| (d.client, &d.remote)),
            SideTransport::Rtp(RtpSide {
                keys: RtpKeys::Dtls { client, remote },
                ..
            }) => Some((*client, remote)),
            SideTransport::Rtp(_) | SideTransport::Bundled(_) => None,
        }
    }

    /// True if DTLS datagrams mean something here.
    pub fn speaks_dtls(&self) -> bool {
        match &self.spec.transport {
            SideTransport::Ice(_) => true,
            SideTransport::Rtp(rtp) => matches!(rtp.keys, RtpKeys::Dtls { .. }),
            SideTransport::Bundled(_) => false,
        }
    }

    /// Remembers an address for the demultiplexer's sake; false if there are too many.
    pub fn remember(&mut self, known: (Component, SocketKey, SocketAddr)) -> bool {
        if self.addresses.contains(&known) {
            return true;
        }
        let room = self.addresses.len() < MAX_ADDRESSES;
        if room {
            self.addresses.push_back(known);
        }
        room
    }
}

/// Where an RTP side receives RTP; `None` while it has not said, or holds the RFC 2543 way.
pub fn rtp_target(rtp: &RtpSide) -> Option<SocketAddr> {
    rtp.remote.filter(is_target)
}

/// Where an RTP side receives RTCP.
pub fn rtcp_target(rtp: &RtpSide) -> Option<SocketAddr> {
    if let Some(remote) = rtp.remote_rtcp {
        return Some(remote).filter(is_target);
    }
    let remote = rtp_target(rtp)?;
    Some(SocketAddr::new(remote.ip(), remote.port().checked_add(1)?))
}

fn is_target(address: &SocketAddr) -> bool {
    let ip: IpAddr = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}
