//! The path of every RTP packet: from the socket it came in, through one bridge, back to the
//! caller with the place to send the same buffer to. No allocation, no lock, no clock, no log.

use std::net::SocketAddr;
use std::time::Instant;

use super::play::choose_way;
use super::rtp::{self, Header};
use super::side::{Admission, Channel, Path, SideState, Way};
use super::{Forward, SocketKey};
use crate::border::Format;
use crate::leg::Digit;

/// What beside the packet itself came of it. All of it is rare.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The first packet of the peer.
    pub connected: bool,
    /// The peer was found here for sure: the socket may be connected.
    pub latched: Option<(SocketKey, SocketAddr)>,
    /// A key was pressed, and whether the other side heard of it.
    pub digit: Option<(Digit, bool)>,
    /// A key is down; when to ask whether its end was lost.
    pub key_down: Option<Instant>,
    /// The peer has gone over to another encoding.
    pub turned: bool,
    /// Sound waits to be encoded anew.
    pub play: bool,
    /// Comfort noise that the other side does not take: whose sound has passed through so far has
    /// pauses to be filled.
    pub noise: Option<Header>,
}

/// Takes an RTP packet in `buffer[..len]` that came from the peer of `from`, and readies it for the
/// peer of `to`.
pub fn relay(
    now: Instant,
    source: SocketAddr,
    from: &mut SideState,
    to: Option<&mut SideState>,
    buffer: &mut [u8],
    len: usize,
    effects: &mut Effects,
) -> Forward {
    let Some((header, kind, len)) = receive(now, source, from, buffer, len, effects) else {
        from.stats.dropped += 1;
        return Forward::Consumed;
    };
    let Some(to) = to else {
        return Forward::Consumed;
    };
    let Some(to_format) = &to.spec.format else {
        return Forward::Consumed;
    };
    if effects.turned {
        choose_way(from, to_format);
    }
    let Some(from_hz) = from.input().map(|format| format.clock_hz) else {
        return Forward::Consumed;
    };
    let open = to.spec.send && !to.failed && to.rtp.protection.is_ready();
    let target = if open { to.rtp.target() } else { None };
    let payload_type = match kind {
        Kind::Sound | Kind::Noise => match &mut from.way {
            Way::Transcoded(transcoder) => {
                transcoder.receive(now, &header, header.payload(buffer), kind == Kind::Noise);
                to.sending.skip(&header);
                effects.play = true;
                return Forward::Consumed;
            }
            Way::Passed | Way::Mapped(_) if to.digits.is_sending() => None,
            Way::Passed | Way::Mapped(_) if kind == Kind::Noise => {
                if to_format.send_noise.is_none() {
                    effects.noise = Some(header);
                }
                to_format.send_noise
            }
            Way::Passed => Some(to_format.send_payload_type),
            Way::Mapped(table) => {
                for byte in &mut buffer[header.payload_start..header.payload_end] {
                    *byte = table[usize::from(*byte)];
                }
                Some(to_format.send_payload_type)
            }
            Way::Nowhere => {
                from.stats.dropped += 1;
                return Forward::Consumed;
            }
        },
        Kind::Digit(clock_hz) => {
            if let Way::Transcoded(transcoder) = &mut from.way {
                transcoder.pause();
            }
            // Without sound that passes, timestamps of the two sides have nothing in common, but
            // digits still go through.
            let outgoing = to_format.send_digits.filter(|_| target.is_some());
            let pressed = from.digits.receive(
                &mut to.sending,
                now,
                (&header, clock_hz),
                (outgoing, to_format.clock_hz),
                &mut buffer[..len],
            );
            effects.digit = pressed.digit;
            effects.key_down = pressed.timeout;
            return match target {
                Some(target) if pressed.send => send(to, buffer, len, target),
                _ => {
                    to.sending.skip(&header);
                    Forward::Consumed
                }
            };
        }
    };
    let (Some(payload_type), Some(target)) = (payload_type, target) else {
        to.sending.skip(&header);
        return Forward::Consumed;
    };
    // The marker begins a talk spurt, but ends a picture.
    let begins = to.sending.packets == 0 && !to_format.is_video();
    to.sending
        .rewrite(now, &mut buffer[..len], &header, from_hz);
    if begins {
        rtp::set_marker(buffer, true);
    }
    rtp::set_payload_type(buffer, payload_type);
    send(to, buffer, len, target)
}

/// Protects a packet that is ready for the peer of `to`.
pub(super) fn send(
    to: &mut SideState,
    buffer: &mut [u8],
    len: usize,
    (socket, remote): (SocketKey, SocketAddr),
) -> Forward {
    let Some(len) = to.rtp.protection.seal(buffer, len) else {
        return Forward::Consumed;
    };
    to.stats.sent += 1;
    Forward::Send {
        socket,
        to: remote,
        len,
    }
}

/// What a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sound, or a picture.
    Sound,
    /// Comfort noise.
    Noise,
    /// telephone-event, with its clock rate.
    Digit(u32),
}

fn kind_of(format: &Format, payload_type: u8) -> Option<Kind> {
    let mut others = format.receive_also.iter();
    if payload_type == format.receive_payload_type
        || others.any(|other| other.payload_type == payload_type)
    {
        return Some(Kind::Sound);
    }
    if format.receive_noise == Some(payload_type) {
        return Some(Kind::Noise);
    }
    format
        .receive_digits
        .iter()
        .find(|(number, _)| *number == payload_type)
        .map(|(_, clock_hz)| Kind::Digit(*clock_hz))
}

/// Opens and judges a packet of a side's peer.
pub(super) fn receive(
    now: Instant,
    source: SocketAddr,
    from: &mut SideState,
    buffer: &mut [u8],
    len: usize,
    effects: &mut Effects,
) -> Option<(Header, Kind, usize)> {
    if from.failed {
        return None;
    }
    let format = from.spec.format.as_ref()?;
    let len = from.rtp.protection.open(buffer.get_mut(..len)?)?;
    let header = Header::parse(&buffer[..len]).ok()?;
    let kind = kind_of(format, header.payload_type);
    let symmetric = from.is_symmetric();
    if let Path::Direct(direct) = &mut from.rtp.path {
        let sure = matches!(from.rtp.protection, super::side::Protection::Srtp { .. });
        match direct.admit(source, &header, symmetric, sure) {
            Admission::Peer => {}
            Admission::Latch => {
                let before = direct.latched.replace(source);
                // Whom neither signalling nor a key vouches for may be a stranger that was first:
                // its socket stays open for the announced address, which costs the kernel a
                // look-up of the route with each packet to a phone behind a NAT with plain RTP.
                if sure || direct.announced == Some(source) {
                    effects.latched = Some((direct.socket, source));
                }
                // Where RTCP goes was learnt from the one before.
                if before.is_some()
                    && let Some(Channel {
                        path: Path::Direct(rtcp),
                        ..
                    }) = &mut from.rtcp
                {
                    rtcp.latched = None;
                }
            }
            Admission::Probation | Admission::Stranger => return None,
        }
        if !from.connected {
            effects.connected = true;
        }
    }
    // What nobody can use still says where the peer is.
    let kind = kind?;
    from.heard = now;
    if !from.spec.receive {
        return None;
    }
    if kind == Kind::Sound && from.input()?.receive_payload_type != header.payload_type {
        if !from.turn(now, header.payload_type) {
            return None;
        }
        effects.turned = true;
    }
    from.stats.received += 1;
    match kind {
        Kind::Sound | Kind::Noise => from.reception.receive(
            now,
            header.ssrc,
            header.sequence,
            header.timestamp,
            from.input()?.clock_hz,
        ),
        Kind::Digit(_) => from.reception.receive_untimed(header.ssrc, header.sequence),
    }
    Some((header, kind, len))
}
