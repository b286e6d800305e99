//! RTCP (RFC 3550 §6): a report of our own to each connected peer, about the stream it hears from us
//! and the stream we hear from it. Reports of one peer are not for the other: its numbers mean
//! nothing there. BYE is read past, since signalling ends calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rtcp::{Compound, NtpClock, Packet, Packets, REPORT_INTERVAL, SenderInfo};
use super::side::{Component, Path};
use super::{Media, Place, TAIL_ROOM, Timer};
use crate::border::{Format, Side};

/// Room for a report with one block and a name.
const REPORT_ROOM: usize = 128;

impl Media {
    /// Takes an RTCP packet of a peer.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        place: Place,
        from: SocketAddr,
        packet: &mut [u8],
    ) {
        let Some(clock) = self.clock else {
            return;
        };
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        let symmetric = state.is_symmetric();
        if state.failed {
            return;
        }
        let Some(channel) = state.channel(place.component) else {
            return;
        };
        let Some(len) = channel.protection.open_rtcp(packet) else {
            return;
        };
        let Ok(packets) = Packets::parse(&packet[..len]) else {
            return;
        };
        if let Path::Direct(direct) = &mut channel.path {
            if !direct.may_be_peer(from, symmetric) {
                return;
            }
            // Where RTCP comes from it goes to, once RTP has shown who the peer is.
            if place.component == Component::Rtcp && direct.latched != Some(from) {
                let known = state.rtp.target().map(|(_, peer)| peer.ip());
                if known == Some(from.ip()) && symmetric {
                    if let Some(channel) = state.channel(Component::Rtcp)
                        && let Path::Direct(direct) = &mut channel.path
                    {
                        direct.latched = Some(from);
                    }
                } else if known != Some(from.ip()) {
                    return;
                }
            }
        }
        state.heard = now;
        self.take_reports(now, clock, (place.slot, place.side), packets);
        if let Some(pictures) = self.bundled(place.slot, place.side) {
            self.take_reports(now, clock, (pictures, place.side), packets);
        }
    }

    /// Reads what the peer of a side says of its stream and of ours.
    fn take_reports(
        &mut self,
        now: Instant,
        clock: NtpClock,
        (slot, side): (u32, Side),
        packets: Packets<'_>,
    ) {
        let Some(state) = self.side(slot, side) else {
            return;
        };
        let is_video = state.spec.format.as_ref().is_some_and(Format::is_video);
        let mut loss = None;
        let ours = state.sending.ssrc();
        for packet in packets {
            let blocks = match packet {
                Packet::SenderReport { ssrc, info, blocks } => {
                    state.reception.receive_report(now, ssrc, &info);
                    blocks
                }
                Packet::ReceiverReport { blocks, .. } => blocks,
                Packet::Name { .. }
                | Packet::Bye { .. }
                | Packet::Feedback { .. }
                | Packet::IntraRequest { .. }
                | Packet::Other { .. } => continue,
            };
            for block in blocks.filter(|block| block.ssrc == ours) {
                loss = Some(block.fraction_lost);
                if let Some(trip) = block.round_trip(&clock, now) {
                    state.stats.round_trip = Some(trip);
                }
            }
        }
        if let Some(fraction) = loss {
            let percent = (u16::from(fraction) * 100 / 256) as u8;
            self.note_loss(slot, side, percent);
        }
        if is_video {
            self.pass_feedback(slot, side, packets);
        }
    }

    /// Sends a report.
    pub(super) fn report(&mut self, now: Instant, place: Place) {
        self.arm_report(now, place);
        let Some(clock) = self.clock else {
            return;
        };
        let name = self.name.clone();
        let Some(state) = self.side(place.slot, place.side) else {
            return;
        };
        let Some(format) = &state.spec.format else {
            return;
        };
        if state.failed {
            return;
        }
        let ssrc = state.sending.ssrc();
        let info = (!state.sending.is_fresh()).then(|| SenderInfo {
            ntp: clock.at(now),
            rtp_timestamp: state.sending.timestamp_at(now, format.clock_hz),
            packets: state.sending.packets as u32,
            octets: state.sending.octets as u32,
        });
        let block = state.reception.report(now);
        let mut buffer = [0; REPORT_ROOM + TAIL_ROOM];
        let mut compound = Compound::new(&mut buffer[..REPORT_ROOM]);
        compound.report(ssrc, info, block.as_slice());
        compound.name(ssrc, &name);
        let len = compound.finish();
        self.send_rtcp(place.slot, place.side, &mut buffer, len);
    }

    /// Sets the time of the next report: half to one and a half intervals from here, so that
    /// calls that began together do not report together (RFC 3550 §6.3.1).
    pub(super) fn arm_report(&mut self, now: Instant, place: Place) {
        let interval = REPORT_INTERVAL.as_millis() as u64;
        let wait = interval / 2 + self.tokens.below(interval);
        let at = now + Duration::from_millis(wait);
        self.arm(place.slot, place.side, Timer::Report, Some(at));
    }
}
