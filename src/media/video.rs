//! Pictures beside the sound of a call, as they are. They have a bridge of their own, so that nothing
//! of it can disturb the sound: a side of it with sockets or ICE of its own is like any other side, and a
//! bundled one (RFC 9143) borrows the transport of the same side of the sound's bridge, where packets
//! are told apart by their payload types and reports by their sources.
//!
//! As with sound, each peer has reports of our own, and one source of ours for the whole call. What a
//! receiver asks for (RFC 4585, RFC 5104) goes on to the sender in our own name: a new picture (PLI, FIR,
//! and the FIR of RFC 2032) and lost packets (NACK). Bandwidth estimates do not: they are about one side.
//!
//! A packet that is sent again after a NACK gets past SRTP where it was lost on the sender's side of us;
//! one that was lost behind us is a replay here, and a picture has to be asked for.
//!
//! The path of RTP does not allocate, lock or log.

use std::net::SocketAddr;
use std::time::Instant;

use super::relay::{self, Effects};
use super::rtcp::{Compound, Packet, Packets, TO_PAYLOAD, TO_TRANSPORT};
use super::rtp::{self, Header};
use super::side::{Channel, Component, Path, Protection, SideState, Way};
use super::{Forward, Media, Place, TAIL_ROOM, Transmit};
use crate::border::{Side, SideSpec, SideTransport};
use crate::id::BridgeId;

/// Room for what is asked for at once. A NACK of 100 packets far apart has 400 bytes.
const FEEDBACK_ROOM: usize = 512;

/// Formats of RFC 4585 §6.1 and RFC 5104 §4.3.
const NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;

impl Media {
    /// Makes the side of a bridge of pictures that shares the transport of the sound's.
    pub(super) fn new_bundled(&mut self, now: Instant, slot: u32, side: Side, spec: &SideSpec) {
        let channel = Channel::new(Path::Borrowed, Protection::Pending);
        let state = SideState::new(now, spec.clone(), channel, 0, &mut self.tokens);
        self.put(slot, side, state);
        let place = Place {
            slot,
            side,
            component: Component::Rtp,
        };
        self.arm_report(now, place);
    }

    /// Lets the bridges of sound and of pictures know each other.
    pub(super) fn link(&mut self, slot: u32, sound: BridgeId) {
        let Some(sound) = self.by_id.get(&sound).copied().filter(|s| *s != slot) else {
            return;
        };
        if let Some(Some(bridge)) = self.bridges.get_mut(sound as usize) {
            bridge.pictures = Some(slot);
        }
        if let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) {
            bridge.sound = Some(sound);
        }
    }

    /// Lets the bridge that another one knows forget it.
    pub(super) fn unlink(&mut self, slot: u32) {
        let Some(Some(bridge)) = self.bridges.get(slot as usize) else {
            return;
        };
        for other in [bridge.pictures, bridge.sound].into_iter().flatten() {
            if let Some(Some(bridge)) = self.bridges.get_mut(other as usize) {
                for known in [&mut bridge.pictures, &mut bridge.sound] {
                    known.take_if(|known| *known == slot);
                }
            }
        }
    }

    /// The bridge whose side carries the packets of a side: the sound's if they are bundled.
    pub(super) fn carrier(&self, slot: u32, side: Side) -> Option<u32> {
        let bridge = self.bridges.get(slot as usize)?.as_ref()?;
        let state = match side {
            Side::Caller => bridge.caller.as_ref(),
            Side::Callee => bridge.callee.as_ref(),
        };
        match state?.spec.transport {
            SideTransport::Bundled(_) => bridge.sound,
            SideTransport::Rtp(_) | SideTransport::Ice(_) => Some(slot),
        }
    }

    /// The bridge of the pictures that come by the transport of this side.
    pub(super) fn bundled(&self, slot: u32, side: Side) -> Option<u32> {
        let pictures = self.bridges.get(slot as usize)?.as_ref()?.pictures?;
        (self.carrier(pictures, side) == Some(slot)).then_some(pictures)
    }

    /// The bridge of pictures that a packet of a sound's side belongs to. The payload type is in the
    /// clear (RFC 3711 §3.1).
    pub(super) fn holds_picture(&mut self, place: Place, packet: &[u8]) -> Option<u32> {
        let pictures = self.bundled(place.slot, place.side)?;
        let state = self.side(pictures, place.side)?;
        let format = state.spec.format.as_ref()?;
        (packet.get(1)? & 0x7f == format.receive_payload_type).then_some(pictures)
    }

    /// Takes a packet that came by the sound's transport.
    pub(super) fn handle_bundled(
        &mut self,
        now: Instant,
        place: Place,
        pictures: u32,
        buffer: &mut [u8],
        len: usize,
    ) -> Forward {
        let Some(sound) = self.side(place.slot, place.side) else {
            return Forward::Consumed;
        };
        let opened = match (sound.failed, buffer.get_mut(..len)) {
            (false, Some(packet)) => sound.rtp.protection.open(packet),
            (true, _) | (_, None) => None,
        };
        if opened.is_some() {
            sound.heard = now;
        }
        let Some(Some(bridge)) = self.bridges.get_mut(pictures as usize) else {
            return Forward::Consumed;
        };
        let (Some(from), to) = bridge.split(place.side) else {
            return Forward::Consumed;
        };
        let header = opened.and_then(|len| Header::parse(&buffer[..len]).ok());
        let (Some(header), Some(len), true) = (header, opened, from.spec.receive) else {
            from.stats.dropped += 1;
            return Forward::Consumed;
        };
        note(now, from, &header);
        let Some(to) = to else {
            return Forward::Consumed;
        };
        let (open, target) = (to.rtp.protection.is_ready(), to.rtp.target());
        match (open, target, pass(now, from, to, buffer, &header)) {
            (true, Some(target), true) => relay::send(to, buffer, len, target),
            _ => Forward::Consumed,
        }
    }

    /// Takes a packet that is to leave by the sound's transport.
    pub(super) fn handle_for_bundled(
        &mut self,
        now: Instant,
        place: Place,
        sound: u32,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Forward {
        let mut effects = Effects::default();
        let other = place.side.other();
        let target = self.side(sound, other).and_then(|state| {
            let open = !state.failed && state.rtp.protection.is_ready();
            state.rtp.target().filter(|_| open)
        });
        let Some(Some(bridge)) = self.bridges.get_mut(place.slot as usize) else {
            return Forward::Consumed;
        };
        let (Some(from), to) = bridge.split(place.side) else {
            return Forward::Consumed;
        };
        let received = relay::receive(now, source, from, buffer, len, &mut effects);
        let passed = match (received, to) {
            (Some((header, _, len)), Some(to)) if target.is_some() => {
                pass(now, from, to, buffer, &header).then_some(len)
            }
            (Some(_), _) => None,
            (None, _) => {
                from.stats.dropped += 1;
                None
            }
        };
        if effects != Effects::default() {
            self.apply(now, place, effects);
        }
        let (Some(len), Some((socket, to))) = (passed, target) else {
            return Forward::Consumed;
        };
        let sealed = self
            .side(sound, other)
            .and_then(|state| state.rtp.protection.seal(buffer, len));
        let Some(len) = sealed else {
            return Forward::Consumed;
        };
        if let Some(state) = self.side(place.slot, other) {
            state.stats.sent += 1;
        }
        Forward::Send { socket, to, len }
    }

    /// Hands on what the peer of a side of a bridge of pictures asks for. One compound makes one, at most.
    pub(super) fn pass_feedback(&mut self, slot: u32, side: Side, packets: Packets<'_>) {
        let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) else {
            return;
        };
        let (Some(asks), Some(sends)) = bridge.split(side) else {
            return;
        };
        let is_video = |state: &SideState| state.spec.format.as_ref().is_some_and(|f| f.is_video());
        let (true, Some(source)) = (is_video(asks) && is_video(sends), sends.reception.ssrc())
        else {
            return;
        };
        let (ours, ssrc) = (asks.sending.ssrc(), sends.sending.ssrc());
        let mut buffer = [0; FEEDBACK_ROOM + TAIL_ROOM];
        let mut compound = Compound::new(&mut buffer[..FEEDBACK_ROOM]);
        // RFC 4585 §3.1: a report goes first, and may be empty.
        compound.report(ssrc, None, &[]);
        let empty = compound.len();
        for packet in packets {
            match packet {
                Packet::Feedback {
                    packet_type: TO_PAYLOAD,
                    format: PICTURE_LOSS,
                    media,
                    ..
                } if media == ours => {
                    compound.feedback(TO_PAYLOAD, PICTURE_LOSS, ssrc, source, &[]);
                }
                Packet::Feedback {
                    packet_type: TO_PAYLOAD,
                    format: FULL_INTRA,
                    fci,
                    ..
                } => {
                    // RFC 5104 §4.3.1.1: whose picture, then a number that tells repetitions.
                    let entry = fci.chunks_exact(8).find(|e| e[..4] == ours.to_be_bytes());
                    if let Some(&[_, _, _, _, number, ..]) = entry {
                        let [a, b, c, d] = source.to_be_bytes();
                        let fci = [a, b, c, d, number, 0, 0, 0];
                        compound.feedback(TO_PAYLOAD, FULL_INTRA, ssrc, 0, &fci);
                    }
                }
                Packet::IntraRequest { ssrc: media } if media == ours => {
                    compound.feedback(TO_PAYLOAD, PICTURE_LOSS, ssrc, source, &[]);
                }
                Packet::Feedback {
                    packet_type: TO_TRANSPORT,
                    format: NACK,
                    media,
                    fci,
                    ..
                } if media == ours => {
                    let mut numbers = [0; FEEDBACK_ROOM / 2];
                    let lost = asks.sending.renumbered(fci, &mut numbers);
                    compound.feedback(TO_TRANSPORT, NACK, ssrc, source, lost);
                }
                Packet::SenderReport { .. }
                | Packet::ReceiverReport { .. }
                | Packet::Name { .. }
                | Packet::Bye { .. }
                | Packet::Feedback { .. }
                | Packet::IntraRequest { .. }
                | Packet::Other { .. } => {}
            }
        }
        let len = compound.finish();
        if len > empty {
            self.send_rtcp(slot, side.other(), &mut buffer, len);
        }
    }

    /// Sends the compound packet in `buffer[..len]` to the peer of a side.
    pub(super) fn send_rtcp(&mut self, slot: u32, side: Side, buffer: &mut [u8], len: usize) {
        let Some(carrier) = self.carrier(slot, side) else {
            return;
        };
        let Some(state) = self.side(carrier, side).filter(|state| !state.failed) else {
            return;
        };
        let component = match state.is_muxed() {
            true => Component::Rtp,
            false => Component::Rtcp,
        };
        let one_key = state.has_one_key();
        let Some((socket, to)) = state.channel(component).and_then(|c| c.target()) else {
            return;
        };
        let sealer = if one_key { Component::Rtp } else { component };
        let sealed = state
            .channel(sealer)
            .and_then(|c| c.protection.seal_rtcp(buffer, len));
        if let Some(len) = sealed {
            self.transmits.push_back(Transmit {
                socket,
                to,
                bytes: buffer[..len].to_vec(),
            });
        }
    }
}

/// Counts a packet of a peer.
fn note(now: Instant, from: &mut SideState, header: &Header) {
    from.heard = now;
    from.stats.received += 1;
    let clock_hz = from.spec.format.as_ref().map_or(90_000, |f| f.clock_hz);
    from.reception.receive(
        now,
        header.ssrc,
        header.sequence,
        header.timestamp,
        clock_hz,
    );
}

/// Readies a packet for the peer of `to`; false if it goes nowhere.
fn pass(
    now: Instant,
    from: &SideState,
    to: &mut SideState,
    buffer: &mut [u8],
    header: &Header,
) -> bool {
    let formats = (&from.spec.format, &to.spec.format);
    let passed = matches!(from.way, Way::Passed);
    let (true, (Some(from), Some(to_format))) = (passed, formats) else {
        return false;
    };
    if !to.spec.send || to.failed {
        to.sending.skip(header);
        return false;
    }
    to.sending.rewrite(now, buffer, header, from.clock_hz);
    rtp::set_payload_type(buffer, to_format.send_payload_type);
    true
}
