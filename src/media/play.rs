//! Transcoded calls (`transcode`): who needs it, and when their packets leave. The packets are
//! written to the buffer of the worker, so that this path does not allocate either.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Instant;

use super::g711::Law;
use super::rtp::{HEADER_LEN, Header};
use super::side::{SideState, Way};
use super::stream::Follows;
use super::transcode::{Kind, Transcoder};
use super::{Media, SocketKey};
use crate::border::{Format, Side};

impl Media {
    /// Writes the next packet that we encoded ourselves and that is to leave by `now` to the front of
    /// `buffer`, which has room for [`super::TAIL_ROOM`] more than a packet; from where it goes to
    /// where, and its length.
    pub fn poll_frame(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
    ) -> Option<(SocketKey, SocketAddr, usize)> {
        while let Some(Reverse((at, slot, side))) = self.plays.peek().copied() {
            if at > now {
                return None;
            }
            let sent = match self.transcoded(slot, side) {
                Some((transcoder, to)) if transcoder.armed == Some(at) => {
                    step(now, transcoder, to, buffer)
                }
                // Armed anew since, or gone.
                _ => Step::Idle,
            };
            match sent {
                Step::Send(socket, to, len) => return Some((socket, to, len)),
                Step::Nowhere => {}
                Step::Idle => {
                    self.plays.pop();
                    if let Some((transcoder, _)) = self.transcoded(slot, side)
                        && transcoder.armed == Some(at)
                    {
                        transcoder.armed = None;
                        self.arm_play(slot, side);
                    }
                }
            }
        }
        None
    }

    /// Sees to it that [`Self::poll_frame`] finds the sound of a side's peer in time.
    pub(super) fn arm_play(&mut self, slot: u32, side: Side) {
        let Some((transcoder, _)) = self.transcoded(slot, side) else {
            return;
        };
        if let Some(at) = transcoder.poll_timeout()
            && transcoder.armed.is_none_or(|armed| at < armed)
        {
            transcoder.armed = Some(at);
            self.plays.push(Reverse((at, slot, side)));
        }
    }

    /// Forgets what a side had to play.
    pub(super) fn forget_plays(&mut self, slot: u32, side: Side) {
        self.plays
            .retain(|Reverse((_, of, at))| (*of, *at) != (slot, side));
    }

    /// Says what the peer of `side` loses of what it is sent.
    pub(super) fn note_loss(&mut self, slot: u32, side: Side, percent: u8) {
        if let Some((transcoder, _)) = self.transcoded(slot, side.other()) {
            transcoder.set_loss(percent);
        }
    }

    /// Decides what becomes of the sound of both sides.
    pub(super) fn choose_ways(&mut self, slot: u32) {
        let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) else {
            return;
        };
        let output = |state: &Option<SideState>| state.as_ref()?.spec.format.clone();
        let outputs = (output(&bridge.caller), output(&bridge.callee));
        let (caller, callee) = (&mut bridge.caller, &mut bridge.callee);
        for (state, to) in [(caller, &outputs.1), (callee, &outputs.0)] {
            let Some(state) = state else { continue };
            match to {
                Some(to) => choose_way(state, to),
                None => state.end_way(),
            }
        }
        for side in [Side::Caller, Side::Callee] {
            if self.transcoded(slot, side).is_none() {
                self.forget_plays(slot, side);
            }
        }
    }

    /// Takes the first comfort noise of a side's peer whose sound passes through, to a side that takes
    /// none: from then on its sound is encoded anew, so that its pauses are filled.
    pub(super) fn fill_pauses(
        &mut self,
        now: Instant,
        slot: u32,
        side: Side,
        noise: &Header,
        payload: &[u8],
    ) {
        let Some(Some(bridge)) = self.bridges.get_mut(slot as usize) else {
            return;
        };
        let (Some(from), Some(to)) = bridge.split(side) else {
            return;
        };
        if let (Some(format), Some(other)) = (from.input().cloned(), &to.spec.format) {
            transcode(from, &format, other);
        }
        if let Way::Transcoded(transcoder) = &mut from.way {
            transcoder.receive(now, noise, payload, true);
            self.arm_play(slot, side);
        }
    }

    /// The transcoder of the sound of a side's peer, and the side that it is for.
    fn transcoded(&mut self, slot: u32, side: Side) -> Option<(&mut Transcoder, &mut SideState)> {
        let bridge = self.bridges.get_mut(slot as usize)?.as_mut()?;
        match bridge.split(side) {
            (Some(from), Some(to)) => match &mut from.way {
                Way::Transcoded(transcoder) => Some((transcoder, to)),
                Way::Nowhere | Way::Passed | Way::Mapped(_) => None,
            },
            (None, _) | (_, None) => None,
        }
    }
}

/// Decides what becomes of the sound of the peer of `state` on its way to one with format `to`.
pub(super) fn choose_way(state: &mut SideState, to: &Format) {
    let Some(from) = &state.input().cloned() else {
        return state.end_way();
    };
    if let Way::Transcoded(transcoder) = &state.way
        && transcoder.fits(from, to)
    {
        return;
    }
    if (&from.encoding, from.clock_hz) == (&to.encoding, to.clock_hz) {
        state.end_way();
        state.way = Way::Passed;
        return;
    }
    let laws = (
        Law::from_encoding(&from.encoding),
        Law::from_encoding(&to.encoding),
    );
    if let (Some(from), Some(to)) = laws {
        state.end_way();
        state.way = Way::Mapped(from.mapped_to(to));
        return;
    }
    transcode(state, from, to);
}

fn transcode(state: &mut SideState, from: &Format, to: &Format) {
    state.end_way();
    match Transcoder::new(from, to) {
        Some(Ok(transcoder)) => state.way = Way::Transcoded(Box::new(transcoder)),
        Some(Err(error)) => tracing::error!(%error, "cannot transcode"),
        None => {}
    }
}

enum Step {
    Send(SocketKey, SocketAddr, usize),
    /// A packet was made, but the other side takes none.
    Nowhere,
    /// There is no packet yet.
    Idle,
}

fn step(now: Instant, transcoder: &mut Transcoder, to: &mut SideState, buffer: &mut [u8]) -> Step {
    let room = buffer.len().saturating_sub(super::TAIL_ROOM);
    let Some(payload) = buffer.get_mut(HEADER_LEN..room) else {
        return Step::Idle;
    };
    let Some(frame) = transcoder.step(now, payload) else {
        return Step::Idle;
    };
    let open = to.spec.send && !to.failed && to.rtp.protection.is_ready();
    // Sound makes way for a key that we press.
    let target = if open && !to.digits.is_sending() {
        to.rtp.target()
    } else {
        None
    };
    let ready = target
        .zip(to.spec.format.as_ref())
        .and_then(|(to, format)| {
            let payload_type = match frame.kind {
                Kind::Sound => format.send_payload_type,
                Kind::Noise => format.send_noise?,
            };
            Some((to, format.clock_hz, payload_type))
        });
    let Some(((socket, remote), clock_hz, payload_type)) = ready else {
        to.sending.skip_frame(match frame.follows {
            Follows::AtOnce | Follows::Anew => frame.ticks,
            Follows::After(pause) => frame.ticks.wrapping_add(pause),
        });
        return Step::Nowhere;
    };
    let (sequence, timestamp, anew) =
        to.sending
            .frame(now, clock_hz, frame.ticks, frame.len, frame.follows);
    let header = Header {
        // RFC 3551 §4.1: the first packet of sound after silence has the marker.
        marker: match frame.kind {
            Kind::Sound => anew || frame.follows != Follows::AtOnce,
            Kind::Noise => false,
        },
        payload_type,
        sequence,
        timestamp,
        ssrc: to.sending.ssrc(),
        payload_start: HEADER_LEN,
        payload_end: HEADER_LEN + frame.len,
    };
    header.write_before(buffer);
    match to.rtp.protection.seal(buffer, HEADER_LEN + frame.len) {
        Some(len) => {
            to.stats.sent += 1;
            Step::Send(socket, remote, len)
        }
        None => Step::Nowhere,
    }
}
