//! The media room: everything between the sockets of one media thread. A worker has one [`Media`];
//! a call lives in one of its bridges with both sides.
//!
//! What it does: ICE (RFC 8445, RFC 8838; `ice`), DTLS-SRTP (RFC 5763, RFC 5764; `dtls`) and SDES
//! keys (RFC 4568), SRTP (RFC 3711, RFC 7714; `srtp`), forwarding with renumbering (`relay`,
//! `stream`), telephone-event between payload types and clocks (RFC 4733; `digits`), RTCP of its
//! own (RFC 3550; `report`), latching, the watch for silence, and transcoding between sides without a
//! common encoding (`codec`, `jitter`, `transcode`, `play`), and pictures as they are (`video`). It does
//! not: mix, record, relay by TURN.
//!
//! Ports. Each worker has two shared sockets per address for all ICE sides: component 1 and
//! component 2, told apart by the port, since both components have the same credentials. Worker
//! `n` of `t` has `xmpp_port + n` for component 1 and `xmpp_port + t + n` for component 2; both
//! are announced. Sides without ICE have a socket pair each.
//!
//! Who may speak. A datagram on a shared socket is STUN, DTLS, RTP or RTCP by its first byte
//! (RFC 7983). A check finds its side by our user name fragment in it, an answer by its
//! transaction; everything else by the address it comes from, and an address is known only after
//! a check from it was valid. An address that has answered a check of ours outdoes one that
//! has only sent one, so that nobody can take another's address by forging its source. Two peers
//! behind the same address and port (another gateway with one socket for all) are not told apart by
//! a socket of ours: the running call keeps the address, and signalling gives the second one a port
//! pair of its own.
//!
//! Sans-IO: [`Media::handle`] returns where to send the very buffer it was given; that path does
//! not allocate, lock or log, and neither does [`Media::poll_frame`], which writes the packets that
//! were encoded here. All else is polled: [`Media::poll_transmit`],
//! [`Media::poll_socket`], [`Media::poll_event`], [`Media::poll_timeout`].

pub mod codec;
mod configure;
mod connect;
mod digits;
pub mod dtls;
pub mod dtmf;
pub mod g711;
mod ice;
pub mod jitter;
mod pause;
mod play;
mod relay;
mod report;
pub mod rtcp;
pub mod rtp;
mod side;
pub mod srtp;
mod stream;
#[cfg(test)]
mod tests;
pub mod tone;
pub mod transcode;
mod video;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::border::{MediaCommand, MediaEvent, Side, SideTransport};
use crate::hash::Keyed;
use crate::id::{BridgeId, TokenMaker, WorkerId};
use crate::leg::{Digit, EndReason};
use crate::timer::Timers;

use dtls::Certificate;
use ice::{IcePort, Transaction};
use relay::Effects;
use rtcp::NtpClock;
use rtp::PacketKind;
use side::{Component, Path, SideState};

/// Room that a buffer given to [`Media::handle`] needs behind the packet.
pub const TAIL_ROOM: usize = srtp::TAIL_ROOM;

/// The first key of a side's own socket; the shared sockets are below.
const FIRST_LEG_SOCKET: u32 = 1 << 16;

/// What a worker starts with.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Which worker this is.
    pub worker: WorkerId,
    /// The bound addresses of the shared sockets of component 1; their keys count from 0.
    pub shared: Vec<SocketAddr>,
    /// The bound addresses of the shared sockets of component 2; their keys go on from there.
    pub shared_rtcp: Vec<SocketAddr>,
    /// The certificate of the process.
    pub certificate: Certificate,
}

/// One socket of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey(pub u32);

/// What to do with the buffer that was handed to [`Media::handle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing.
    Consumed,
    /// Send its first `len` bytes.
    Send {
        /// From this socket.
        socket: SocketKey,
        /// To this address; a connected socket is connected to it.
        to: SocketAddr,
        /// How much.
        len: usize,
    },
}

/// A datagram that the room made itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send from.
    pub socket: SocketKey,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What the room wants of the sockets of its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRequest {
    /// Open a UDP socket; [`Media::socket_failed`] if another program has the port.
    Bind {
        /// Its key.
        key: SocketKey,
        /// Its address.
        address: SocketAddr,
    },
    /// Connect it, so that the kernel keeps strangers away, or take the connection back.
    Connect {
        /// The socket.
        key: SocketKey,
        /// The peer.
        remote: Option<SocketAddr>,
    },
    /// Close it.
    Close {
        /// The socket.
        key: SocketKey,
    },
}

/// How much a worker holds; all zero after the last bridge is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Bridges.
    pub bridges: usize,
    /// Leg sockets.
    pub sockets: usize,
    /// Known addresses of peers on the shared sockets.
    pub addresses: usize,
    /// User name fragments of ours.
    pub ufrags: usize,
    /// Checks that may still be answered.
    pub checks: usize,
    /// Deadlines.
    pub timers: usize,
}

/// The media of one worker.
pub struct Media {
    worker: WorkerId,
    /// The wallclock of our RTCP, from the first command on.
    clock: Option<NtpClock>,
    /// Our canonical name, the same for all streams of a worker (RFC 7022 §4.2).
    name: String,
    shared: Vec<SocketAddr>,
    shared_rtcp: Vec<SocketAddr>,
    certificate: Certificate,
    tokens: TokenMaker,
    bridges: Vec<Option<Box<Bridge>>>,
    free: Vec<u32>,
    by_id: BTreeMap<BridgeId, u32>,
    by_address: HashMap<(SocketKey, SocketAddr), Known, Keyed>,
    by_socket: HashMap<SocketKey, Place, Keyed>,
    /// Where the sockets are that an ICE side has for itself.
    own: BTreeMap<SocketKey, (Place, SocketAddr)>,
    by_ufrag: BTreeMap<String, (u32, Side)>,
    by_check: BTreeMap<Transaction, Check>,
    next_socket: u32,
    timers: Timers<(u32, Side, Timer)>,
    /// When whose sound is to be played. A heap, since it is the one queue that every frame passes.
    plays: BinaryHeap<Reverse<(Instant, u32, Side)>>,
    transmits: VecDeque<Transmit>,
    requests: VecDeque<SocketRequest>,
    events: VecDeque<MediaEvent>,
}

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Media")
            .field("worker", &self.worker)
            .field("census", &self.census())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Bridge {
    id: BridgeId,
    caller: Option<SideState>,
    callee: Option<SideState>,
    /// The bridge of pictures whose packets come by this one's transports.
    pictures: Option<u32>,
    /// The bridge of sound whose transports this one's packets come by.
    sound: Option<u32>,
}

impl Bridge {
    fn side(&mut self, side: Side) -> Option<&mut SideState> {
        match side {
            Side::Caller => self.caller.as_mut(),
            Side::Callee => self.callee.as_mut(),
        }
    }

    /// A side, and the other one.
    fn split(&mut self, side: Side) -> (Option<&mut SideState>, Option<&mut SideState>) {
        match side {
            Side::Caller => (self.caller.as_mut(), self.callee.as_mut()),
            Side::Callee => (self.callee.as_mut(), self.caller.as_mut()),
        }
    }
}

/// One component of one side of one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    slot: u32,
    side: Side,
    component: Component,
}

/// An address on a shared socket.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    /// It has answered a check of ours.
    proven: bool,
}

/// A check of ours that is on its way.
#[derive(Clone, Copy, Debug)]
struct Check {
    place: Place,
    socket: SocketKey,
    to: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Ice(Component),
    Dtls(Component),
    Report,
    Silence,
    /// A key that we press.
    Digit,
    /// The end of a key that the peer pressed.
    LostKey,
}

impl Timer {
    const ALL: [Self; 8] = [
        Self::Ice(Component::Rtp),
        Self::Ice(Component::Rtcp),
        Self::Dtls(Component::Rtp),
        Self::Dtls(Component::Rtcp),
        Self::Report,
        Self::Silence,
        Self::Digit,
        Self::LostKey,
    ];
}

impl Media {
    /// A worker's room without bridges.
    pub fn new(settings: MediaSettings, mut tokens: TokenMaker) -> Self {
        let MediaSettings {
            worker,
            shared,
            shared_rtcp,
            certificate,
        } = settings;
        let keyed = Keyed::new(&mut tokens);
        Self {
            worker,
            clock: None,
            name: tokens.token(16),
            shared,
            shared_rtcp,
            certificate,
            tokens,
            bridges: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            by_address: HashMap::with_hasher(keyed.clone()),
            by_socket: HashMap::with_hasher(keyed),
            own: BTreeMap::new(),
            by_ufrag: BTreeMap::new(),
            by_check: BTreeMap::new(),
            next_socket: FIRST_LEG_SOCKET,
            timers: Timers::default(),
            plays: BinaryHeap::new(),
            transmits: VecDeque::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Does what signalling says.
    pub fn command(&mut self, now: Instant, command: MediaCommand) {
        match command {
            MediaCommand::Configure { bridge, side, spec } => {
                self.configure(now, bridge, side, *spec);
            }
            MediaCommand::Candidates {
                bridge,
                side,
                candidates,
            } => self.candidates(now, bridge, side, &candidates),
            MediaCommand::Digit {
                bridge,
                side,
                digit,
                duration,
            } => self.press(now, bridge, side, digit, duration),
            MediaCommand::Close { bridge } => self.close(bridge),
        }
    }

    /// Takes the datagram `buffer[..len]` that came to `socket` from `from`; [`TAIL_ROOM`] bytes
    /// are behind it.
    pub fn handle(
        &mut self,
        now: Instant,
        socket: SocketKey,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Forward {
        let Some(datagram) = buffer.get_mut(..len) else {
            return Forward::Consumed;
        };
        let kind = PacketKind::of(datagram);
        if kind == PacketKind::Stun {
            if let Some((component, local)) = self.ice_address(socket) {
                self.handle_stun(now, socket, component, (local, from), datagram);
            }
            return Forward::Consumed;
        }
        let leg = match socket.0 < FIRST_LEG_SOCKET {
            true => None,
            false => self.by_socket.get(&socket).copied(),
        };
        let place = leg.or_else(|| self.by_address.get(&(socket, from)).map(|k| k.place));
        let Some(place) = place else {
            return Forward::Consumed;
        };
        match kind {
            PacketKind::Rtp if place.component == Component::Rtp => {
                self.handle_rtp(now, place, from, buffer, len)
            }
            PacketKind::Rtcp => {
                self.handle_rtcp(now, place, from, datagram);
                Forward::Consumed
            }
            PacketKind::Dtls => {
                self.handle_dtls(now, place, socket, from, datagram);
                Forward::Consumed
            }
            PacketKind::Rtp | PacketKind::Stun | PacketKind::Other => Forward::Consumed,
        }
    }

    /// Says that a socket could not be opened.
    pub fn socket_failed(&mut self, socket: SocketKey, text: &str) {
        let own = self.own.get(&socket).map(|(place, _)| place);
        let Some(Place { slot, side, .. }) = self.by_socket.get(&socket).or(own).copied() else {
            return;
        };
        let Some(bridge) = self.bridge_id(slot) else {
            return;
        };
        let port = |transport: &SideTransport| match transport {
            SideTransport::Rtp(rtp) => Some(rtp.port),
            SideTransport::Ice(ice) => ice.own_port,
            SideTransport::Bundled(_) => None,
        };
        if let Some(state) = self.side(slot, side)
            && let Some(port) = port(&state.spec.transport)
            && !state.failed
        {
            state.failed = true;
            self.events.push_back(MediaEvent::PortTaken {
                bridge,
                side,
                port,
                text: text.to_owned(),
            });
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((slot, side, timer)) = self.timers.pop_due(now) {
            let place = |component| Place {
                slot,
                side,
                component,
            };
            match timer {
                Timer::Ice(component) => {
                    if let Some(port) = self.port(place(component)) {
                        port.handle_timeout(now);
                    }
                    self.pump_ice(now, place(component));
                }
                Timer::Dtls(component) => {
                    let channel = self
                        .side(slot, side)
                        .and_then(|state| state.channel(component));
                    if let Some(association) = channel.and_then(|c| c.dtls.as_mut()) {
                        association.handle_timeout(now);
                    }
                    self.drive_dtls(now, place(component));
                }
                Timer::Report => self.report(now, place(Component::Rtp)),
                Timer::Silence => self.watch_silence(now, slot, side),
                Timer::Digit => self.continue_press(now, slot, side),
                Timer::LostKey => {
                    let state = self.side(slot, side);
                    let digit = state.and_then(|state| state.digits.lost_end(now));
                    self.tell_digit(slot, side, digit);
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_frame`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let play = self.plays.peek().map(|Reverse((at, _, _))| *at);
        self.timers.soonest().into_iter().chain(play).min()
    }

    /// A datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// A socket to open, connect or close. Before the transmits, which may need it.
    pub fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.requests.pop_front()
    }

    /// Something for signalling.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// How much the room holds.
    pub fn census(&self) -> Census {
        Census {
            bridges: self.by_id.len(),
            sockets: self.by_socket.len() + self.own.len(),
            addresses: self.by_address.len(),
            ufrags: self.by_ufrag.len(),
            checks: self.by_check.len(),
            timers: self.timers.len() + self.plays.len(),
        }
    }

    /// Bridges that exist; streams are about twice as many.
    pub fn bridges(&self) -> usize {
        self.by_id.len()
    }

    fn handle_rtp(
        &mut self,
        now: Instant,
        place: Place,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Forward {
        if let Some(pictures) = self.holds_picture(place, buffer) {
            return self.handle_bundled(now, place, pictures, buffer, len);
        }
        match self.carrier(place.slot, place.side.other()) {
            Some(sound) if sound != place.slot => {
                return self.handle_for_bundled(now, place, sound, from, buffer, len);
            }
            Some(_) | None => {}
        }
        let Some(Some(bridge)) = self.bridges.get_mut(place.slot as usize) else {
            return Forward::Consumed;
        };
        let (Some(state), other) = bridge.split(place.side) else {
            return Forward::Consumed;
        };
        let mut effects = Effects::default();
        let forward = relay::relay(now, from, state, other, buffer, len, &mut effects);
        if let Some(noise) = &effects.noise {
            self.fill_pauses(now, place.slot, place.side, noise, noise.payload(buffer));
        }
        if effects != Effects::default() {
            self.apply(now, place, effects);
        }
        forward
    }

    fn apply(&mut self, now: Instant, place: Place, effects: Effects) {
        let Effects {
            connected,
            latched,
            digit,
            key_down,
            turned: _,
            play,
            noise: _,
        } = effects;
        if play {
            self.arm_play(place.slot, place.side);
        }
        if digit.is_some() || key_down.is_some() {
            self.arm(place.slot, place.side, Timer::LostKey, key_down);
        }
        if let Some((key, remote)) = latched {
            self.requests.push_back(SocketRequest::Connect {
                key,
                remote: Some(remote),
            });
        }
        if connected {
            self.tell_connected(now, place);
        }
        self.tell_digit(place.slot, place.side, digit);
    }

    fn tell_digit(&mut self, slot: u32, side: Side, digit: Option<(Digit, bool)>) {
        if let (Some((digit, forwarded)), Some(bridge)) = (digit, self.bridge_id(slot)) {
            self.events.push_back(MediaEvent::Digit {
                bridge,
                side,
                digit,
                forwarded,
            });
        }
    }

    fn tell_connected(&mut self, now: Instant, place: Place) {
        let Some(bridge) = self.bridge_id(place.slot) else {
            return;
        };
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        state.connected = true;
        state.heard = now;
        self.events.push_back(MediaEvent::Connected {
            bridge,
            side: place.side,
        });
        self.arm_silence(now, place.slot, place.side);
        self.arm_report(now, place);
    }

    fn fail(&mut self, place: Place, reason: EndReason, text: &str) {
        let Some(bridge) = self.bridge_id(place.slot) else {
            return;
        };
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        if state.failed {
            return;
        }
        state.failed = true;
        tracing::debug!(%bridge, %reason, text, "media side failed");
        self.events.push_back(MediaEvent::Failed {
            bridge,
            side: place.side,
            reason,
            text: text.to_owned(),
        });
    }

    fn watch_silence(&mut self, now: Instant, slot: u32, side: Side) {
        let Some(bridge) = self.bridge_id(slot) else {
            return;
        };
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let Some(limit) = state.spec.silence_limit else {
            return;
        };
        if state.silent || state.failed {
            return;
        }
        if now.saturating_duration_since(state.heard) < limit {
            let at = state.heard + limit;
            self.arm(slot, side, Timer::Silence, Some(at));
            return;
        }
        state.silent = true;
        self.events.push_back(MediaEvent::Silent { bridge, side });
    }

    fn arm_silence(&mut self, now: Instant, slot: u32, side: Side) {
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let at = match state.spec.silence_limit {
            Some(limit) if state.connected && !state.silent => Some(state.heard.max(now) + limit),
            _ => None,
        };
        self.arm(slot, side, Timer::Silence, at);
    }

    fn arm(&mut self, slot: u32, side: Side, timer: Timer, at: Option<Instant>) {
        match at {
            Some(at) => self.timers.set((slot, side, timer), at),
            None => {
                self.timers.stop(&(slot, side, timer));
            }
        }
    }

    fn side(&mut self, slot: u32, side: Side) -> Option<&mut SideState> {
        self.bridges.get_mut(slot as usize)?.as_mut()?.side(side)
    }

    fn bridge_id(&self, slot: u32) -> Option<BridgeId> {
        let bridge = self.bridges.get(slot as usize)?.as_ref()?;
        Some(bridge.id)
    }

    fn port(&mut self, place: Place) -> Option<&mut IcePort> {
        let channel = self
            .side(place.slot, place.side)?
            .channel(place.component)?;
        match &mut channel.path {
            Path::Ice { port, .. } => Some(port),
            Path::Direct(_) | Path::Borrowed => None,
        }
    }

    /// What a socket of ICE is for, and its address.
    fn ice_address(&self, socket: SocketKey) -> Option<(Component, SocketAddr)> {
        let index = socket.0 as usize;
        if let Some(local) = self.shared.get(index) {
            return Some((Component::Rtp, *local));
        }
        if let Some((place, local)) = self.own.get(&socket) {
            return Some((place.component, *local));
        }
        let local = self
            .shared_rtcp
            .get(index.checked_sub(self.shared.len())?)?;
        Some((Component::Rtcp, *local))
    }

    /// The socket of a place at an address of ours.
    fn ice_socket(&self, of: Place, local: SocketAddr) -> Option<SocketKey> {
        let (list, first) = match of.component {
            Component::Rtp => (&self.shared, 0),
            Component::Rtcp => (&self.shared_rtcp, self.shared.len()),
        };
        if let Some(index) = list.iter().position(|address| *address == local) {
            return u32::try_from(first + index).ok().map(SocketKey);
        }
        let mut own = self.own.iter();
        own.find_map(|(key, entry)| (*entry == (of, local)).then_some(*key))
    }
}
