//! The cold half of the room: making, changing and closing bridges, and sending keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::ice::IcePort;
use super::rtcp::NtpClock;
use super::side::{
    Channel, Component, Direct, Path, Protection, SideState, rtcp_target, rtp_target,
};
use super::srtp::{MasterKey, Unprotect};
use super::{Bridge, Media, Place, SocketKey, SocketRequest, TAIL_ROOM, Timer, Transmit};
use crate::border::{
    BridgeStats, IceSide, MediaEvent, RtpKeys, RtpSide, Side, SideSpec, SideStats, SideTransport,
};
use crate::description::{Candidate, Crypto, Fingerprint};
use crate::id::BridgeId;
use crate::leg::{Digit, EndReason};

/// Characters of a user name fragment or a password (RFC 8839 §5.4).
const MAX_CREDENTIAL: usize = 256;

impl Media {
    pub(super) fn configure(&mut self, now: Instant, id: BridgeId, side: Side, spec: SideSpec) {
        self.clock.get_or_insert(NtpClock::new(now));
        let slot = self.slot_for(id);
        let fits = |old: &SideSpec| match (&old.transport, &spec.transport) {
            (SideTransport::Ice(old), SideTransport::Ice(new)) => old.own_port == new.own_port,
            (SideTransport::Rtp(old), SideTransport::Rtp(new)) => {
                (old.bind, old.port) == (new.bind, new.port)
            }
            (SideTransport::Bundled(old), SideTransport::Bundled(new)) => old == new,
            (SideTransport::Ice(_) | SideTransport::Rtp(_) | SideTransport::Bundled(_), _) => false,
        };
        let old = match self.side(slot, side) {
            Some(state) if fits(&state.spec) => {
                Some(std::mem::replace(&mut state.spec, spec.clone()))
            }
            Some(_) => {
                self.drop_side(slot, side);
                None
            }
            None => None,
        };
        match &spec.transport {
            SideTransport::Ice(ice) => {
                let before = match old.as_ref().map(|o| &o.transport) {
                    Some(SideTransport::Ice(before)) => Some(before),
                    _ => None,
                };
                if before.is_none() {
                    self.new_ice(now, slot, side, &spec, ice);
                }
                self.update_ice(now, slot, side, before, ice);
            }
            SideTransport::Rtp(rtp) => {
                let before = match old.as_ref().map(|o| &o.transport) {
                    Some(SideTransport::Rtp(before)) => Some(before),
                    _ => None,
                };
                if before.is_none() {
                    self.new_rtp(now, slot, side, &spec, rtp);
                }
                self.update_rtp(slot, side, before, rtp);
            }
            SideTransport::Bundled(sound) => {
                if old.is_none() {
                    self.new_bundled(now, slot, side, &spec);
                }
                self.link(slot, *sound);
            }
        }
        self.settle(now, slot, side, old.as_ref());
    }

    pub(super) fn candidates(
        &mut self,
        now: Instant,
        id: BridgeId,
        side: Side,
        candidates: &[Candidate],
    ) {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return;
        };
        for component in Component::BOTH {
            let place = Place {
                slot,
                side,
                component,
            };
            self.add_candidates(now, place, candidates);
        }
    }

    pub(super) fn close(&mut self, id: BridgeId) {
        let mut stats = BridgeStats::default();
        if let Some(slot) = self.by_id.remove(&id) {
            self.unlink(slot);
            stats = BridgeStats {
                caller: self.drop_side(slot, Side::Caller),
                callee: self.drop_side(slot, Side::Callee),
            };
            if let Some(bridge) = self.bridges.get_mut(slot as usize) {
                *bridge = None;
            }
            self.free.push(slot);
        }
        self.events.push_back(MediaEvent::Closed {
            bridge: id,
            stats: Box::new(stats),
        });
    }

    pub(super) fn press(
        &mut self,
        now: Instant,
        id: BridgeId,
        side: Side,
        digit: Digit,
        length: Duration,
    ) {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return;
        };
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let idle = state.digits.is_idle();
        if let Some((_, event_hz)) = state.spec.format.as_ref().and_then(|f| f.send_digits) {
            state.digits.set_clock(event_hz);
        }
        state.digits.press(digit, length);
        if idle {
            self.continue_press(now, slot, side);
        }
    }

    pub(super) fn continue_press(&mut self, now: Instant, slot: u32, side: Side) {
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let ways = state.spec.format.as_ref().and_then(|format| {
            let (payload_type, _) = format.send_digits?;
            Some((payload_type, format.clock_hz))
        });
        let target = state.rtp.target();
        let open = state.spec.send && !state.failed && state.rtp.protection.is_ready();
        let (Some((payload_type, clock_hz)), Some((socket, to)), true) = (ways, target, open)
        else {
            state.digits.clear();
            return;
        };
        let mut buffer = [0; 16 + TAIL_ROOM];
        let (len, next) =
            state
                .digits
                .step(now, &mut state.sending, payload_type, clock_hz, &mut buffer);
        let sealed = len.and_then(|len| state.rtp.protection.seal(&mut buffer, len));
        if let Some(len) = sealed {
            state.stats.sent += 1;
            self.transmits.push_back(Transmit {
                socket,
                to,
                bytes: buffer[..len].to_vec(),
            });
        }
        self.arm(slot, side, Timer::Digit, next);
    }

    fn slot_for(&mut self, id: BridgeId) -> u32 {
        if let Some(slot) = self.by_id.get(&id) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.bridges.push(None);
            // A worker has fewer bridges than the host has ports.
            self.bridges.len() as u32 - 1
        });
        self.bridges[slot as usize] = Some(Box::new(Bridge {
            id,
            caller: None,
            callee: None,
            pictures: None,
            sound: None,
        }));
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn put(&mut self, slot: u32, side: Side, state: SideState) {
        if let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) {
            match side {
                Side::Caller => bridge.caller = Some(state),
                Side::Callee => bridge.callee = Some(state),
            }
        }
    }

    fn new_ice(&mut self, now: Instant, slot: u32, side: Side, spec: &SideSpec, ice: &IceSide) {
        let tie_breaker = self.tokens.number();
        let place = Place {
            slot,
            side,
            component: Component::Rtp,
        };
        let locals = self.ice_locals(place, ice);
        let port = IcePort::new(
            now,
            (&ice.local_ufrag, &ice.local_pwd),
            ice.controlling,
            tie_breaker,
            &locals,
        );
        let channel = ice_channel(port);
        let state = SideState::new(now, spec.clone(), channel, tie_breaker, &mut self.tokens);
        self.put(slot, side, state);
    }

    /// Our addresses of an ICE component; opens its sockets if they are its own.
    fn ice_locals(&mut self, place: Place, ice: &IceSide) -> Vec<SocketAddr> {
        let shared = match place.component {
            Component::Rtp => &self.shared,
            Component::Rtcp => &self.shared_rtcp,
        };
        let Some(port) = ice.own_port else {
            return shared.clone();
        };
        let port = match place.component {
            Component::Rtp => port,
            Component::Rtcp => port.saturating_add(1),
        };
        let locals: Vec<_> = shared
            .iter()
            .map(|address| SocketAddr::new(address.ip(), port))
            .collect();
        for local in &locals {
            if self.ice_socket(place, *local).is_none() {
                let key = self.open(*local);
                self.own.insert(key, (place, *local));
            }
        }
        locals
    }

    /// Has a socket opened.
    fn open(&mut self, address: SocketAddr) -> SocketKey {
        let key = SocketKey(self.next_socket);
        // Wraps after four thousand million sockets; those that old are long closed.
        self.next_socket = self
            .next_socket
            .checked_add(1)
            .unwrap_or(super::FIRST_LEG_SOCKET);
        self.requests
            .push_back(SocketRequest::Bind { key, address });
        key
    }

    fn update_ice(
        &mut self,
        now: Instant,
        slot: u32,
        side: Side,
        before: Option<&IceSide>,
        ice: &IceSide,
    ) {
        let local = (ice.local_ufrag.as_str(), ice.local_pwd.as_str());
        let restart = before.is_some_and(|before| {
            let peer_restarts = match (&before.remote, &ice.remote) {
                (Some(old), Some(new)) => (&old.ufrag, &old.pwd) != (&new.ufrag, &new.pwd),
                (_, None) | (None, _) => false,
            };
            (before.local_ufrag.as_str(), before.local_pwd.as_str()) != local || peer_restarts
        });
        let other_peer = before
            .and_then(|b| b.dtls.as_ref())
            .zip(ice.dtls.as_ref())
            .is_some_and(|(old, new)| other_fingerprint(&old.remote, &new.remote));
        if restart {
            // The pair in use stays known.
            let used: Vec<_> = self
                .side(slot, side)
                .map(|state| [Some(&state.rtp), state.rtcp.as_ref()])
                .into_iter()
                .flatten()
                .map(|channel| channel.and_then(Channel::target).map(|(_, to)| to))
                .collect();
            self.forget_addresses(slot, side, |_, address| !used.contains(&Some(address)));
        }
        if ice.rtcp_mux {
            self.drop_channel(slot, side, Component::Rtcp);
        }
        self.by_ufrag.insert(ice.local_ufrag.clone(), (slot, side));
        // RFC 8839 §5.4; the crate's buffers hold no more.
        let text = |text: &str| (1..=MAX_CREDENTIAL).contains(&text.len());
        let remote = ice.remote.as_ref();
        if !remote.is_none_or(|remote| text(&remote.ufrag) && text(&remote.pwd)) {
            let place = Place {
                slot,
                side,
                component: Component::Rtp,
            };
            self.fail(place, EndReason::Connectivity, "bad ICE credentials");
            return;
        }
        for component in Component::BOTH {
            let place = Place {
                slot,
                side,
                component,
            };
            let locals = match component {
                Component::Rtcp if ice.rtcp_mux => Vec::new(),
                Component::Rtp | Component::Rtcp => self.ice_locals(place, ice),
            };
            let Some(state) = self.side(slot, side) else {
                return;
            };
            let tie_breaker = state.tie_breaker;
            if component == Component::Rtcp && state.rtcp.is_none() && !ice.rtcp_mux {
                let port = IcePort::new(now, local, ice.controlling, tie_breaker, &locals);
                state.rtcp = Some(ice_channel(port));
            } else if restart
                && let Some(channel) = state.channel(component)
                && let Path::Ice { port, .. } = &mut channel.path
            {
                port.restart(now, local, ice.controlling, tie_breaker, &locals);
            }
            let Some(channel) = state.channel(component) else {
                continue;
            };
            if other_peer {
                channel.dtls = None;
                channel.protection = Protection::Pending;
            }
            if let (Path::Ice { port, .. }, Some(remote)) = (&mut channel.path, &ice.remote)
                && port.remote() != Some((&remote.ufrag, &remote.pwd))
            {
                port.set_remote(&remote.ufrag, &remote.pwd);
            }
            match &ice.remote {
                Some(remote) => self.add_candidates(now, place, &remote.candidates),
                None => self.pump_ice(now, place),
            }
        }
    }

    fn add_candidates(&mut self, now: Instant, place: Place, candidates: &[Candidate]) {
        let Some(port) = self.port(place) else {
            return;
        };
        for candidate in candidates {
            if candidate.component == place.component.number() {
                port.add_candidate(candidate);
            }
        }
        port.handle_timeout(now);
        self.pump_ice(now, place);
    }

    fn new_rtp(&mut self, now: Instant, slot: u32, side: Side, spec: &SideSpec, rtp: &RtpSide) {
        let mut bind = |component: Component, port: u16| {
            let key = self.open((rtp.bind, port).into());
            let place = Place {
                slot,
                side,
                component,
            };
            self.by_socket.insert(key, place);
            Channel::new(Path::Direct(Direct::new(key, None)), Protection::Pending)
        };
        let first = bind(Component::Rtp, rtp.port);
        let second = bind(Component::Rtcp, rtp.port.saturating_add(1));
        let mut state = SideState::new(now, spec.clone(), first, 0, &mut self.tokens);
        state.rtcp = Some(second);
        self.put(slot, side, state);
    }

    fn update_rtp(&mut self, slot: u32, side: Side, before: Option<&RtpSide>, rtp: &RtpSide) {
        // RFC 5763 §6.6: another transport is another association, also with the same certificate:
        // all calls of a server have that.
        let moved = before.is_some_and(|before| {
            let places = rtp_target(before).zip(rtp_target(rtp));
            places.is_some_and(|(old, new)| old != new)
        });
        let keys = match (before.map(|b| &b.keys), &rtp.keys) {
            (Some(RtpKeys::Dtls { .. }), RtpKeys::Dtls { .. }) if moved => Keys::Await,
            (Some(old), new) if same_keys(old, new) => Keys::Keep,
            (_, RtpKeys::None) => Keys::Clear,
            (_, RtpKeys::Dtls { .. }) => Keys::Await,
            (old, RtpKeys::Sdes { local, remote }) => {
                let pair = MasterKey::from_sdes(local)
                    .and_then(|local| Ok((local, MasterKey::from_sdes(remote)?)));
                match (old, pair) {
                    // Our key goes on where it is, so that no packet number meets it twice.
                    (Some(RtpKeys::Sdes { local: known, .. }), Ok((_, remote)))
                        if same_key(known, local) =>
                    {
                        Keys::Remote(remote)
                    }
                    (_, Ok((local, remote))) => Keys::Srtp(local, remote),
                    (_, Err(error)) => Keys::Bad(error.to_string()),
                }
            }
        };
        let mut requests = Vec::new();
        let Some(state) = self.side(slot, side) else {
            return;
        };
        for (component, announced) in [
            (Component::Rtp, rtp_target(rtp)),
            (Component::Rtcp, rtcp_target(rtp)),
        ] {
            let Some(channel) = state.channel(component) else {
                continue;
            };
            if let Path::Direct(direct) = &mut channel.path
                && direct.announced != announced
            {
                direct.announced = announced;
                direct.probation = None;
                if direct.latched.take().is_some() {
                    requests.push(SocketRequest::Connect {
                        key: direct.socket,
                        remote: None,
                    });
                }
            }
            match (&keys, &mut channel.protection) {
                (Keys::Keep, _) => {}
                (Keys::Remote(remote), Protection::Srtp { unprotect, .. }) => {
                    **unprotect = Unprotect::new(remote);
                }
                (Keys::Srtp(local, remote), protection) => {
                    *protection = Protection::srtp(local, remote);
                }
                (Keys::Clear, protection) => *protection = Protection::Clear,
                (Keys::Await, protection) => {
                    *protection = Protection::Pending;
                    channel.end_dtls();
                }
                (Keys::Bad(_) | Keys::Remote(_), protection) => *protection = Protection::Pending,
            }
        }
        self.requests.extend(requests);
        if let Keys::Bad(text) = keys {
            let place = Place {
                slot,
                side,
                component: Component::Rtp,
            };
            self.fail(place, EndReason::Security, &text);
        }
    }

    /// What follows from a new specification, whatever the transport.
    fn settle(&mut self, now: Instant, slot: u32, side: Side, old: Option<&SideSpec>) {
        if let Some(state) = self.side(slot, side)
            && old.is_some_and(|old| old.format != state.spec.format)
        {
            state.turned = None;
        }
        self.choose_ways(slot);
        if let Some(state) = self.side(slot, side)
            && old.is_some_and(|old| old.silence_limit != state.spec.silence_limit)
        {
            state.silent = false;
            state.heard = now;
        }
        self.arm_silence(now, slot, side);
        for component in Component::BOTH {
            let place = Place {
                slot,
                side,
                component,
            };
            self.drive_dtls(now, place);
        }
    }

    /// Takes a side away; what passed through it.
    fn drop_side(&mut self, slot: u32, side: Side) -> SideStats {
        for component in Component::BOTH {
            self.drop_channel(slot, side, component);
        }
        for timer in Timer::ALL {
            self.timers.stop(&(slot, side, timer));
        }
        let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) else {
            return SideStats::default();
        };
        let state = match side {
            Side::Caller => bridge.caller.take(),
            Side::Callee => bridge.callee.take(),
        };
        self.choose_ways(slot);
        let Some(mut state) = state else {
            return SideStats::default();
        };
        state.end_way();
        SideStats {
            lost: state.reception.lost(),
            jitter: state.reception.jitter(),
            ..state.stats
        }
    }

    /// Gives back what a component holds outside its side. The first component itself stays with
    /// the side.
    fn drop_channel(&mut self, slot: u32, side: Side, component: Component) {
        let mut requests = Vec::new();
        let (mut checks, mut ufrags, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
        let mut owns = false;
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let Some(channel) = state.channel(component) else {
            return;
        };
        match &channel.path {
            Path::Ice { port, .. } => {
                checks.extend(port.transactions().copied());
                // Both components have the same credentials; the first one's end is the side's.
                if component == Component::Rtp {
                    ufrags.extend(port.ufrags().map(str::to_owned));
                }
                owns = true;
            }
            Path::Direct(direct) => {
                sockets.push(direct.socket);
                requests.push(SocketRequest::Close { key: direct.socket });
            }
            Path::Borrowed => {}
        }
        if component == Component::Rtcp {
            state.rtcp = None;
        }
        if owns {
            let place = Place {
                slot,
                side,
                component,
            };
            // Few sides have some, so that nearly always there is nothing to look through.
            self.own.retain(|key, (of, _)| {
                let stays = *of != place;
                if !stays {
                    requests.push(SocketRequest::Close { key: *key });
                }
                stays
            });
        }
        self.forget_addresses(slot, side, |of, _| of == component);
        for id in checks {
            self.by_check.remove(&id);
        }
        for ufrag in ufrags {
            if self.by_ufrag.get(&ufrag) == Some(&(slot, side)) {
                self.by_ufrag.remove(&ufrag);
            }
        }
        for key in sockets {
            self.by_socket.remove(&key);
        }
        self.requests.extend(requests);
        self.timers.stop(&(slot, side, Timer::Ice(component)));
        self.timers.stop(&(slot, side, Timer::Dtls(component)));
    }

    fn forget_addresses(
        &mut self,
        slot: u32,
        side: Side,
        gone: impl Fn(Component, SocketAddr) -> bool,
    ) {
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let (drop, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut state.addresses)
            .into_iter()
            .partition(|(component, _, address)| gone(*component, *address));
        state.addresses = keep.into();
        for (_, socket, address) in drop {
            let key = (socket, address);
            // Another side may have proven the address to be its own since.
            if self
                .by_address
                .get(&key)
                .is_some_and(|known| (known.place.slot, known.place.side) == (slot, side))
            {
                self.by_address.remove(&key);
            }
        }
    }
}

/// What new keys mean for a channel.
enum Keys {
    Keep,
    Clear,
    Await,
    Srtp(MasterKey, MasterKey),
    Remote(MasterKey),
    Bad(String),
}

fn same_keys(old: &RtpKeys, new: &RtpKeys) -> bool {
    match (old, new) {
        (RtpKeys::None, RtpKeys::None) => true,
        (
            RtpKeys::Sdes { local, remote },
            RtpKeys::Sdes {
                local: new_local,
                remote: new_remote,
            },
        ) => same_key(local, new_local) && same_key(remote, new_remote),
        (RtpKeys::Dtls { remote, .. }, RtpKeys::Dtls { remote: new, .. }) => {
            !other_fingerprint(remote, new)
        }
        (RtpKeys::None | RtpKeys::Sdes { .. } | RtpKeys::Dtls { .. }, _) => false,
    }
}

fn same_key(old: &Crypto, new: &Crypto) -> bool {
    (&old.suite, &old.key) == (&new.suite, &new.key)
}

/// RFC 8842 §4: another fingerprint is another association.
fn other_fingerprint(old: &Fingerprint, new: &Fingerprint) -> bool {
    (&old.hash, &old.value) != (&new.hash, &new.value)
}

fn ice_channel(port: IcePort) -> Channel {
    Channel::new(
        Path::Ice {
            port: Box::new(port),
            selected: None,
        },
        Protection::Pending,
    )
}
