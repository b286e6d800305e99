//! One side of a call's media: our end, what the peer described, and the worker's orders for it.

use std::time::Duration;

use super::endpoints::LocalEnd;
use super::keying::{self, Keying};
use super::negotiate::Encoding;
use crate::border::{
    DtlsSpec, Format, IceRemote, IceSide, RtpKeys, RtpSide, SideSpec, SideTransport,
};
use crate::description::{
    Candidate, Codec, Direction, IceTransport, RtpTransport, Setup, Stream, Transport,
    TransportInfo,
};
use crate::id::BridgeId;
use crate::leg::End;

/// Remote candidates kept per side. libwebrtc gathers about 10 to 30 with several interfaces and
/// TURN servers; more than this is no help to anybody.
const MAX_CANDIDATES: usize = 100;

/// One side of a call's media.
#[derive(Debug)]
pub(super) struct SideMedia {
    pub(super) local: LocalEnd,
    pub(super) keying: Keying,
    pub(super) habits: Habits,
    /// The audio stream as we described it last.
    pub(super) ours: Option<Stream>,
    /// Our end without ICE as the offer in force has it, from its first answer on: each fork answers
    /// that (RFC 3261 §13.2.2.4), and `ours` is left with what one of them chose.
    pub(super) offer: Option<RtpTransport>,
    /// The audio stream as the peer described it last.
    pub(super) peer: Option<Stream>,
    pub(super) format: Option<Format>,
    /// The encoding of `format`.
    pub(super) encoding: Option<Encoding>,
    /// True if our side offered: then we are the controlling ICE agent.
    pub(super) offered: bool,
    pub(super) connected: bool,
    /// The worker knows the side.
    pub(super) configured: bool,
    /// Ports that other programs had.
    pub(super) lost_ports: u8,
    /// Our port is not the one that we described.
    pub(super) is_elsewhere: bool,
    candidates: Vec<Candidate>,
    /// The pictures beside the sound, as a side of their own.
    pub(super) video: Option<Box<Self>>,
    /// Of pictures: the peer's line of the encoding in use.
    pub(super) picture: Option<Codec>,
    /// Of pictures: they go by the transport of the sound.
    pub(super) bundled: bool,
    /// All streams as we described them last.
    pub(super) lines: Vec<Stream>,
}

/// What a trunk wants beside sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Keys go to the peer in signalling only.
    pub(super) signals_keys: bool,
    /// Pauses are told as comfort noise, both ways.
    pub(super) noise: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            signals_keys: false,
            noise: true,
        }
    }
}

/// What a peer's new transport facts mean for a side.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TransportNews {
    /// Candidates for the present credentials, as far as there was room.
    Candidates(Vec<Candidate>),
    /// The peer restarts ICE.
    Restart,
}

impl SideMedia {
    pub(super) fn new(local: LocalEnd, keying: Keying, offered: bool) -> Self {
        Self {
            local,
            keying,
            habits: Habits::default(),
            ours: None,
            offer: None,
            peer: None,
            format: None,
            encoding: None,
            offered,
            connected: false,
            configured: false,
            lost_ports: 0,
            is_elsewhere: false,
            candidates: Vec::new(),
            video: None,
            picture: None,
            bundled: false,
            lines: Vec::new(),
        }
    }

    /// The peer offers: from then on it is the controlling ICE agent. If it comes from another
    /// place than before (XEP-0353 §6.2 moves a call to another device), `fresh` becomes our end.
    pub(super) fn meet(&mut self, stream: &Stream, fresh: LocalEnd) {
        self.offered = false;
        if let (Some(Transport::Ice(old)), Transport::Ice(new)) = (
            self.peer.as_ref().map(|peer| &peer.transport),
            &stream.transport,
        ) && self.configured
            && old.ufrag != new.ufrag
        {
            self.local = fresh;
            self.connected = false;
            self.candidates.clear();
        }
    }

    /// Notes what we describe to the peer now.
    pub(super) fn describe(&mut self, stream: Option<Stream>) {
        self.ours = stream;
        self.offer = None;
        self.is_elsewhere = false;
    }

    /// Agrees on the protection of an answer to our offer.
    pub(super) fn take_keys(&mut self, theirs: &Stream) -> Result<(), End> {
        let ours = self.ours.as_mut().map(|ours| &mut ours.transport);
        if let (Some(Transport::Rtp(ours)), Transport::Rtp(theirs)) = (ours, &theirs.transport) {
            let offer = self.offer.get_or_insert_with(|| ours.clone());
            ours.clone_from(offer);
            self.keying.answered(ours, theirs)?;
        }
        Ok(())
    }

    /// Takes in what the peer described.
    pub(super) fn set_peer(&mut self, stream: &Stream) {
        if let Transport::Ice(ice) = &stream.transport {
            self.keep_candidates(&ice.candidates);
        }
        self.peer = Some(stream.clone());
    }

    /// Takes in what trickled.
    pub(super) fn transport_info(&mut self, info: TransportInfo) -> TransportNews {
        let TransportInfo {
            stream: _,
            credentials,
            candidates,
        } = info;
        let known = self
            .peer
            .as_mut()
            .and_then(|stream| match &mut stream.transport {
                Transport::Ice(ice) => Some(ice),
                Transport::Rtp(_) => None,
            });
        if let (Some((ufrag, pwd)), Some(ice)) = (credentials, known)
            && (ice.ufrag != ufrag || ice.pwd != pwd)
        {
            ice.ufrag = ufrag;
            ice.pwd = pwd;
            self.candidates.clear();
            self.connected = false;
            self.keep_candidates(&candidates);
            return TransportNews::Restart;
        }
        TransportNews::Candidates(self.keep_candidates(&candidates))
    }

    fn keep_candidates(&mut self, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut fresh = Vec::new();
        for candidate in candidates {
            if self.candidates.len() < MAX_CANDIDATES && !self.candidates.contains(candidate) {
                self.candidates.push(candidate.clone());
                fresh.push(candidate.clone());
            }
        }
        fresh
    }

    /// What the packets of the side hold from now on.
    pub(super) fn set_format(&mut self, mut format: Format) {
        if self.habits.signals_keys {
            format.send_digits = None;
        }
        self.format = Some(format);
    }

    /// True if the peer takes comfort noise.
    pub(super) fn takes_noise(&self) -> bool {
        let format = self.format.as_ref();
        format.is_some_and(|format| format.send_noise.is_some())
    }

    /// Our end without ICE as it was agreed on.
    pub(super) fn agreed(&self) -> Option<&RtpTransport> {
        self.peer.as_ref()?;
        self.own_rtp()
    }

    /// Our end without ICE as we described it last.
    pub(super) fn own_rtp(&self) -> Option<&RtpTransport> {
        match &self.ours.as_ref()?.transport {
            Transport::Rtp(rtp) => Some(rtp),
            Transport::Ice(_) => None,
        }
    }

    /// True if the pair that begins with this port is the side's own.
    pub(super) fn has_port(&self, port: u16) -> bool {
        match &self.local {
            LocalEnd::Rtp { port: own } => *own == port,
            LocalEnd::Ice { own_port, .. } => *own_port == Some(port),
        }
    }

    /// The port pair that a side behind ICE has for itself.
    pub(super) fn own_port(&self) -> Option<u16> {
        match &self.local {
            LocalEnd::Ice { own_port, .. } => *own_port,
            LocalEnd::Rtp { .. } => None,
        }
    }

    /// True if a stream of this name is that of the pictures, with a transport of its own.
    pub(super) fn is_of_pictures(&self, name: &str) -> bool {
        let named = |side: &Self| side.peer.as_ref().is_some_and(|peer| peer.name == name);
        let video = self.video.as_deref().filter(|video| !video.bundled);
        video.is_some_and(|video| named(video) && !named(self))
    }

    /// True if the side is behind ICE and not connected yet.
    pub(super) fn awaits_ice(&self) -> bool {
        matches!(self.local, LocalEnd::Ice { .. }) && !self.connected
    }

    /// True if the peer has put us on hold: it sends nothing, or wants nothing.
    pub(super) fn is_held(&self) -> bool {
        let Some(peer) = &self.peer else { return false };
        !peer.direction.receives() || has_hold_address(peer)
    }

    /// The worker's orders for this side; `sound` is the bridge that pictures are bundled with.
    pub(super) fn spec(
        &self,
        sound: BridgeId,
        bind: std::net::IpAddr,
        silence_limit: Option<Duration>,
    ) -> SideSpec {
        let peer = self.peer.as_ref();
        let direction = peer.map_or(Direction::Both, |peer| peer.direction);
        let receive = direction.sends();
        SideSpec {
            transport: match self.bundled {
                true => SideTransport::Bundled(sound),
                false => self.transport(bind),
            },
            format: self.format.clone(),
            send: direction.receives() && !peer.is_some_and(has_hold_address),
            receive,
            // Few telephones send anything while they hold, may they say `sendonly` or not.
            silence_limit: silence_limit
                .filter(|_| receive && self.format.is_some() && !self.is_held()),
        }
    }

    fn transport(&self, bind: std::net::IpAddr) -> SideTransport {
        let peer = self.peer.as_ref().map(|stream| &stream.transport);
        match &self.local {
            LocalEnd::Rtp { port } => {
                let peer = match peer {
                    Some(Transport::Rtp(rtp)) => Some(rtp),
                    Some(Transport::Ice(_)) | None => None,
                };
                let both = self.own_rtp().zip(peer);
                let address = |a: &RtpTransport| a.address.filter(|a| !a.ip().is_unspecified());
                SideTransport::Rtp(RtpSide {
                    bind,
                    port: *port,
                    remote: peer.and_then(address),
                    remote_rtcp: peer.and_then(|rtp| rtp.rtcp),
                    rtcp_mux: both.is_some_and(|(ours, theirs)| ours.rtcp_mux && theirs.rtcp_mux),
                    symmetric: true,
                    keys: both.map_or(RtpKeys::None, |(ours, theirs)| keying::agreed(ours, theirs)),
                })
            }
            LocalEnd::Ice {
                ufrag,
                pwd,
                own_port,
            } => {
                let peer = match peer {
                    Some(Transport::Ice(ice)) => Some(ice),
                    Some(Transport::Rtp(_)) | None => None,
                };
                SideTransport::Ice(IceSide {
                    local_ufrag: ufrag.clone(),
                    local_pwd: pwd.clone(),
                    own_port: *own_port,
                    controlling: self.offered,
                    rtcp_mux: peer.is_some_and(|ice| ice.rtcp_mux),
                    remote: peer.map(|ice| IceRemote {
                        ufrag: ice.ufrag.clone(),
                        pwd: ice.pwd.clone(),
                        candidates: self.candidates.clone(),
                    }),
                    dtls: peer.and_then(|ice| self.dtls(ice)),
                })
            }
        }
    }

    fn dtls(&self, peer: &IceTransport) -> Option<DtlsSpec> {
        let remote = peer.fingerprint.clone()?;
        Some(DtlsSpec {
            client: remote.setup.answered() == Setup::Active,
            remote,
        })
    }
}

/// RFC 2543 hold: media to nowhere.
fn has_hold_address(stream: &Stream) -> bool {
    match &stream.transport {
        Transport::Rtp(rtp) => rtp.address.is_some_and(|a| a.ip().is_unspecified()),
        Transport::Ice(_) => false,
    }
}
