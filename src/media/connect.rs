//! How a side gets to its peer: which checks are whose, which addresses are whose, and DTLS over
//! what ICE or latching has found.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::StunMessage;

use super::dtls::{self, Verdict};
use super::ice::{IceOutput, Transaction};
use super::side::{Component, Path, Protection};
use super::{Check, Known, Media, Place, SocketKey, Timer, Transmit};
use crate::border::SideTransport;
use crate::leg::EndReason;

/// An address may go to another call when the one that has it has been silent for so long.
const OLD_CALL: Duration = Duration::from_secs(5);

impl Media {
    pub(super) fn handle_stun(
        &mut self,
        now: Instant,
        socket: SocketKey,
        component: Component,
        (local, from): (SocketAddr, SocketAddr),
        datagram: &[u8],
    ) {
        let Ok(message) = StunMessage::parse(datagram) else {
            return;
        };
        let answer =
            message.is_successful_binding_response() || message.is_failed_binding_response();
        let place = if message.is_binding_request() {
            let Some((slot, side)) = message
                .split_username()
                .and_then(|(ours, _)| self.by_ufrag.get(ours))
            else {
                return;
            };
            Place {
                slot: *slot,
                side: *side,
                component,
            }
        } else if answer && let Ok(id) = Transaction::try_from(&datagram[8..20]) {
            // RFC 8445 §7.2.5.2.1: the answer has to come from where the check went.
            match self.by_check.get(&id) {
                Some(check) if check.to == from && check.socket == socket => check.place,
                _ => return,
            }
        } else {
            return;
        };
        let Some(port) = self.port(place) else {
            return;
        };
        if port.handle(now, local, from, message) {
            let proven = message.is_successful_binding_response();
            self.learn(now, place, (socket, from), proven);
        }
        self.pump_ice(now, place);
    }

    /// Knows the peer of a place by an address at a socket from now on, if nobody better has it.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        place: Place,
        key: (SocketKey, SocketAddr),
        proven: bool,
    ) {
        if let Some(known) = self.by_address.get(&key).copied() {
            if known.place == place && (known.proven || !proven) {
                return;
            }
            if known.place != place && (!proven || self.is_in_use(now, known)) {
                return;
            }
        }
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        if state.remember((place.component, key.0, key.1)) {
            self.by_address.insert(key, Known { place, proven });
        }
    }

    /// True if an address serves a running call. A peer that has crashed comes back with its old
    /// port soon, and its old call is silent.
    fn is_in_use(&mut self, now: Instant, known: Known) -> bool {
        let side = self.side(known.place.slot, known.place.side);
        known.proven
            && side.is_some_and(|state| {
                let quiet = now.saturating_duration_since(state.heard);
                state.connected && !state.failed && quiet < OLD_CALL
            })
    }

    pub(super) fn handle_dtls(
        &mut self,
        now: Instant,
        place: Place,
        socket: SocketKey,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let certificate = self.certificate.clone();
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        let idle = place.component == Component::Rtcp && state.is_muxed();
        if state.failed || idle || !state.speaks_dtls() {
            return;
        }
        let symmetric = state.is_symmetric();
        let role = state.dtls().map(|(client, _)| client);
        let Some(channel) = state.channel(place.component) else {
            return;
        };
        let client = role == Some(true);
        if !channel.admit_dtls(now, (socket, from), datagram, (client, symmetric)) {
            return;
        }
        if channel.dtls.is_none() {
            // The peer may start before signalling brings its answer, if our offer left it the
            // choice (RFC 5763 §5).
            if client || !dtls::is_client_hello(datagram) {
                return;
            }
            channel.dtls = Some(dtls::Association::new(now, &certificate, false));
        }
        if let Some(association) = &mut channel.dtls {
            association.handle(now, datagram);
        }
        self.drive_dtls(now, place);
    }

    /// Starts, continues or concludes DTLS on a component.
    pub(super) fn drive_dtls(&mut self, now: Instant, place: Place) {
        let certificate = self.certificate.clone();
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        if state.failed || (place.component == Component::Rtcp && state.is_muxed()) {
            return;
        }
        let wanted = state
            .dtls()
            .map(|(client, remote)| (client, remote.clone()));
        let Some(channel) = state.channel(place.component) else {
            return;
        };
        let target = channel.target();
        if let Some((client, _)) = &wanted {
            let other_role = |a: &dtls::Association| a.is_client() != *client && !a.is_done();
            if channel.dtls.as_ref().is_some_and(other_role) {
                channel.dtls = None;
                if channel.far.is_some() {
                    channel.end_dtls();
                }
            }
            if channel.dtls.is_none() && *client && target.is_some() {
                channel.dtls = Some(dtls::Association::new(now, &certificate, true));
            }
        }
        let Some(association) = &mut channel.dtls else {
            return;
        };
        let mut flights = Vec::new();
        while let Some(bytes) = association.poll_transmit() {
            // An address that was announced may be one behind a NAT; where datagrams come from
            // is not.
            let way = match &channel.path {
                Path::Direct(direct) if direct.latched.is_none() => channel.dtls_from.or(target),
                Path::Direct(_) | Path::Ice { .. } | Path::Borrowed => target.or(channel.dtls_from),
            };
            if let Some((socket, to)) = way {
                flights.push(Transmit { socket, to, bytes });
            }
        }
        let timer = association.poll_timeout();
        let verdict = match (&channel.protection, &wanted) {
            (Protection::Pending, Some((_, expected))) => association.keys(expected),
            (Protection::Pending, None) | (Protection::Clear | Protection::Srtp { .. }, _) => {
                Verdict::Pending
            }
        };
        let mut failure = None;
        let mut timer = timer;
        match verdict {
            Verdict::Pending => {}
            // It was somebody else: the peer may still come.
            Verdict::WrongFingerprint | Verdict::Broken(..) if channel.far.is_some() => {
                channel.end_dtls();
                timer = None;
            }
            Verdict::Keys { local, remote } => {
                channel.protection = Protection::srtp(&local, &remote);
            }
            Verdict::WrongFingerprint => {
                failure = Some((EndReason::Security, "the DTLS certificate is another one"));
            }
            Verdict::Broken(why, reason) => failure = Some((reason, why)),
        }
        self.transmits.extend(flights);
        self.arm(place.slot, place.side, Timer::Dtls(place.component), timer);
        match failure {
            Some((reason, why)) => self.fail(place, reason, why),
            None => self.check_connected(now, place),
        }
    }

    /// Does what the ICE agent of a place wants.
    pub(super) fn pump_ice(&mut self, now: Instant, place: Place) {
        let Some(port) = self.port(place) else {
            return;
        };
        let outputs: Vec<_> = std::iter::from_fn(|| port.poll()).collect();
        // Never at once again, whatever the agent says.
        let timer = port
            .poll_timeout()
            .map(|at| at.max(now + Duration::from_millis(1)));
        self.arm(place.slot, place.side, Timer::Ice(place.component), timer);
        for output in outputs {
            match output {
                IceOutput::Transmit {
                    local,
                    remote,
                    bytes,
                    request,
                    forget,
                } => {
                    let Some(socket) = self.ice_socket(place, local) else {
                        continue;
                    };
                    if let Some(id) = forget {
                        self.by_check.remove(&id);
                    }
                    if let Some(id) = request {
                        let check = Check {
                            place,
                            socket,
                            to: remote,
                        };
                        self.by_check.insert(id, check);
                    }
                    self.transmits.push_back(Transmit {
                        socket,
                        to: remote,
                        bytes,
                    });
                }
                IceOutput::Selected => {
                    let pair = self.port(place).and_then(|port| port.selected());
                    let socket = pair.and_then(|(local, _)| self.ice_socket(place, local));
                    if let (Some((_, remote)), Some(socket), Some(state)) =
                        (pair, socket, self.side(place.slot, place.side))
                        && let Some(channel) = state.channel(place.component)
                        && let Path::Ice { selected, .. } = &mut channel.path
                    {
                        *selected = Some((socket, remote));
                    }
                    self.drive_dtls(now, place);
                    self.check_connected(now, place);
                }
                IceOutput::Forget { ufrag } => {
                    self.by_ufrag.remove(&ufrag);
                }
                IceOutput::Lost if place.component == Component::Rtp => {
                    self.fail(place, EndReason::Connectivity, "no ICE pair works");
                }
                // Sound goes on without reports.
                IceOutput::Lost => {}
            }
        }
    }

    /// Tells that an ICE side has a pair and keys. RTP sides tell with their first packet.
    fn check_connected(&mut self, now: Instant, place: Place) {
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        let ice = matches!(state.spec.transport, SideTransport::Ice(_));
        let ready = state.rtp.target().is_some() && state.rtp.protection.is_ready();
        if ice && ready && !state.connected && !state.failed {
            self.tell_connected(now, place);
        }
    }
}
