//! telephone-event (RFC 4733): keys of one side in the numbers and the clock of the other, and keys
//! that signalling asks for. The event reader keeps an event together over its repetitions and
//! its segments; the sender sends updates every 50 ms and the end three times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rtp::{self, HEADER_LEN, Header};
use super::stream::{Sending, ticks};
use crate::leg::Digit;

/// RFC 4733 §2.5.1.2.
const UPDATE: Duration = Duration::from_millis(50);

/// Between the repetitions of the end (RFC 4733 §2.5.1.4).
const REPEAT: Duration = Duration::from_millis(20);

/// How often the end is sent.
const ENDS: u8 = 3;

/// Between two keys, so that receivers with a tone detector behind them hear two.
const PAUSE: Duration = Duration::from_millis(60);

/// The shortest and the longest press: Q.24 wants 40 ms at least, and a duration field of 16 bits
/// holds 1.3 s at 48 kHz.
const PRESS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(60)..=Duration::from_millis(1300);

/// Keys that wait to be sent: more than a calling-card number.
const MAX_WAITING: usize = 64;

/// The length of an event block.
const BLOCK: usize = 4;

/// Both directions of a side.
#[derive(Debug, Default)]
pub struct Digits {
    heard: Option<Heard>,
    waiting: VecDeque<(Digit, Duration)>,
    press: Option<Press>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    timestamp: u32,
    duration: u16,
    event: u8,
    /// The event's timestamp on the other side.
    sent_as: u32,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    digit: Digit,
    length: Duration,
    since: Instant,
    timestamp: u32,
    ends: u8,
    begun: bool,
}

/// What came of an event packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// A key that was not reported yet.
    pub digit: Option<Digit>,
    /// Set if the packet was readied for the other side.
    pub payload_type: Option<u8>,
}

impl Digits {
    /// Reads an event packet of the peer and readies it for the other side, which has `outgoing` as
    /// payload type and clock of its events, and `clock_hz` of its sound.
    pub fn receive(
        &mut self,
        to: &mut Sending,
        now: Instant,
        (header, event_hz): (&Header, u32),
        (outgoing, clock_hz): (Option<(u8, u32)>, u32),
        packet: &mut [u8],
    ) -> Pressed {
        let nothing = Pressed {
            digit: None,
            payload_type: None,
        };
        let Some([event, flags, high, low]) = header.payload(packet).first_chunk::<BLOCK>() else {
            return nothing;
        };
        let (event, flags) = (*event, *flags);
        let duration = u16::from_be_bytes([*high, *low]);
        let Some(digit) = Digit::from_event(event) else {
            return nothing;
        };
        let before = self
            .heard
            .filter(|h| h.ssrc == header.ssrc && h.event == event);
        let same = before.filter(|h| h.timestamp == header.timestamp);
        // RFC 4733 §2.5.1.3: a long press goes on as another event right behind the full one.
        let goes_on = before.is_some_and(|h| {
            h.duration == u16::MAX && header.timestamp == h.timestamp.wrapping_add(0xffff)
        });
        // A late packet of the event before this one is no new press.
        let late = self.heard.is_some_and(|h| {
            h.ssrc == header.ssrc && (header.timestamp.wrapping_sub(h.timestamp) as i32) < 0
        });
        if late && same.is_none() {
            return nothing;
        }
        let sent_as = match same {
            Some(same) => same.sent_as,
            None => to.event_timestamp(now, header, event_hz, clock_hz),
        };
        self.heard = Some(Heard {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            duration: same.map_or(duration, |h| h.duration.max(duration)),
            event,
            sent_as,
        });
        if let Some((payload_type, outgoing_hz)) = outgoing {
            let sequence = to.forward_event(now, header, clock_hz);
            let scaled = u64::from(duration) * u64::from(outgoing_hz) / u64::from(event_hz.max(1));
            let scaled = u16::try_from(scaled).unwrap_or(u16::MAX);
            rtp::set_sequence(packet, sequence);
            rtp::set_timestamp(packet, sent_as);
            rtp::set_ssrc(packet, to.ssrc());
            rtp::set_payload_type(packet, payload_type);
            let at = header.payload_start;
            // The end, the reserved bit (0) and the volume.
            packet[at + 1] = flags & 0xbf;
            packet[at + 2..at + BLOCK].copy_from_slice(&scaled.to_be_bytes());
        }
        Pressed {
            digit: (same.is_none() && !goes_on).then_some(digit),
            payload_type: outgoing.map(|(payload_type, _)| payload_type),
        }
    }

    /// Queues a key to send; false if too many wait.
    pub fn press(&mut self, digit: Digit, length: Duration) -> bool {
        let room = self.waiting.len() < MAX_WAITING;
        if room {
            let length = length.clamp(*PRESS.start(), *PRESS.end());
            self.waiting.push_back((digit, length));
        }
        room
    }

    /// Forgets the keys that wait.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.press = None;
    }

    /// True while a key is being sent, so that sound makes way.
    pub fn is_sending(&self) -> bool {
        self.press.is_some()
    }

    /// True if there is nothing to send.
    pub fn is_idle(&self) -> bool {
        self.press.is_none() && self.waiting.is_empty()
    }

    /// Writes the next packet, if one is due, and says when to come again.
    pub fn step(
        &mut self,
        now: Instant,
        sending: &mut Sending,
        (payload_type, event_hz): (u8, u32),
        clock_hz: u32,
        buffer: &mut [u8],
    ) -> (Option<usize>, Option<Instant>) {
        if self.press.is_none() {
            let Some((digit, length)) = self.waiting.pop_front() else {
                return (None, None);
            };
            self.press = Some(Press {
                digit,
                length,
                since: now,
                timestamp: sending.timestamp_at(now, clock_hz),
                ends: 0,
                begun: false,
            });
        }
        let Some(press) = &mut self.press else {
            return (None, None);
        };
        if press.ends == ENDS {
            self.press = None;
            return (None, (!self.waiting.is_empty()).then_some(now));
        }
        let pressed = now.saturating_duration_since(press.since).min(press.length);
        let over = pressed == press.length;
        let duration = u16::try_from(ticks(pressed, event_hz)).unwrap_or(u16::MAX);
        let [high, low] = duration.to_be_bytes();
        // Volume -10 dBm0, as telephones send.
        let block = [press.digit.event(), u8::from(over) << 7 | 10, high, low];
        let header = Header {
            marker: !press.begun,
            payload_type,
            sequence: sending.insert(now, clock_hz, BLOCK),
            timestamp: press.timestamp,
            ssrc: sending.ssrc(),
            payload_start: HEADER_LEN,
            payload_end: HEADER_LEN + BLOCK,
        };
        press.begun = true;
        press.ends += u8::from(over);
        let next = match (over, press.ends) {
            (false, _) => now + UPDATE.min(press.length - pressed),
            (true, ENDS) => now + PAUSE,
            (true, _) => now + REPEAT,
        };
        (header.write(&block, buffer), Some(next))
    }
}
