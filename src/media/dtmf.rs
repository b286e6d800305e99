//! Keys as telephone-event packets (RFC 4733 §2): what a peer presses, what we press, and events
//! on their way from one payload type and clock to another. Never allocates per packet.
//!
//! Only events 0–15 count; tones and line signals are not looked at. Does not number packets:
//! whoever sends them knows the stream's sequence numbers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::leg::Digit;

/// Bytes of one event in a payload.
pub const EVENT_LEN: usize = 4;

/// Longest duration that one segment of an event tells (RFC 4733 §2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// The part of a second that a segment may begin late, or that its last packets may be short of its
/// length: some packets.
const LATE: u32 = 10;

/// One event as it is on the wire (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event code.
    pub code: u8,
    /// The key is up again.
    pub end: bool,
    /// Power level in -dBm0, 0–63.
    pub volume: u8,
    /// Since the packet's timestamp, in units of its clock.
    pub duration: u16,
}

impl Event {
    /// Reads the first event of a payload.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk::<EVENT_LEN>()?;
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload.
    pub fn to_bytes(self) -> [u8; EVENT_LEN] {
        let [high, low] = self.duration.to_be_bytes();
        let flags = u8::from(self.end) << 7 | self.volume & 0x3f;
        [self.code, flags, high, low]
    }
}

/// A key that was pressed and is up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// The key.
    pub digit: Digit,
    /// How long it was down, as far as packets told.
    pub duration: Duration,
}

/// An event whose packets keep coming: it may be in several segments.
#[derive(Clone, Copy, Debug)]
struct Course {
    code: u8,
    /// The timestamp of its first segment.
    start: u32,
    /// The timestamp of the segment in force.
    segment: u32,
    /// Longest duration told, from `start`, in units of the clock.
    total: u32,
    ended: bool,
}

impl Course {
    fn new(timestamp: u32, event: Event) -> Self {
        Self {
            code: event.code,
            start: timestamp,
            segment: timestamp,
            total: u32::from(event.duration),
            ended: event.end,
        }
    }

    /// Takes a packet in if it belongs to this event.
    fn follow(&mut self, timestamp: u32, marker: bool, event: Event, clock_hz: u32) -> bool {
        if event.code != self.code {
            return false;
        }
        let offset = timestamp.wrapping_sub(self.start);
        let known = offset <= self.segment.wrapping_sub(self.start);
        // RFC 4733 §2.5.1.3: the next segment begins where the last one was full, unmarked. WebRTC
        // begins it with the first packet that does not fit any more: up to a frame later, when the
        // last one told nearly all of its length.
        let gap = timestamp.wrapping_sub(self.segment).wrapping_sub(SEGMENT);
        let told = self
            .total
            .wrapping_sub(self.segment.wrapping_sub(self.start));
        let full = told.saturating_add(clock_hz / LATE) >= SEGMENT;
        let next = !marker && !self.ended && (gap == 0 || full && gap <= clock_hz / LATE);
        if !known && !next {
            return false;
        }
        if next {
            self.segment = timestamp;
        }
        self.total = self.total.max(offset.saturating_add(event.duration.into()));
        self.ended |= event.end;
        true
    }
}

/// Hears keys: one [`Press`] for each, however many packets are lost or doubled.
#[derive(Clone, Debug, Default)]
pub struct DigitReceiver {
    state: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    course: Course,
    clock_hz: u32,
    last_packet: Instant,
    told: bool,
}

/// A key whose end packets are all lost is up after this long without a packet: three intervals
/// of the 50 ms that RFC 4733 §2.5.1.2 takes for usual, and some jitter.
const LOST_END: Duration = Duration::from_millis(250);

impl DigitReceiver {
    /// Takes a telephone-event packet. Gives a press with its first end packet, or, if none came,
    /// with the first packet of the next one.
    pub fn receive(
        &mut self,
        now: Instant,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        clock_hz: u32,
    ) -> Option<Press> {
        /// Packets of an event before the one in force come at most this late.
        const LATE_S: u32 = 2;

        let event = Event::parse(payload)?;
        Digit::from_event(event.code)?;
        if let Some(heard) = &mut self.state {
            if heard.course.follow(timestamp, marker, event, clock_hz) {
                heard.last_packet = now;
                return heard.tell_end();
            }
            let behind = heard.course.start.wrapping_sub(timestamp);
            if behind != 0 && behind < LATE_S.saturating_mul(clock_hz) {
                return None;
            }
        }
        let mut heard = Heard {
            course: Course::new(timestamp, event),
            clock_hz,
            last_packet: now,
            told: false,
        };
        let unfinished = self.state.take().and_then(|mut before| before.tell());
        let press = unfinished.or_else(|| heard.tell_end());
        self.state = Some(heard);
        press
    }

    /// Forgets what it knows: the stream begins anew (another SSRC). Gives the press whose end
    /// did not come.
    pub fn reset(&mut self) -> Option<Press> {
        self.state.take().and_then(|mut heard| heard.tell())
    }

    /// When a press has to be given even if no packet comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.state
            .as_ref()
            .filter(|heard| !heard.told)
            .map(|heard| heard.last_packet + LOST_END)
    }

    /// Gives the press whose end packets were all lost.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Press> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.state.as_mut()?.tell()
    }
}

impl Heard {
    fn tell_end(&mut self) -> Option<Press> {
        if self.course.ended { self.tell() } else { None }
    }

    fn tell(&mut self) -> Option<Press> {
        if self.told {
            return None;
        }
        self.told = true;
        Some(Press {
            digit: Digit::from_event(self.course.code)?,
            duration: duration(self.course.total, self.clock_hz),
        })
    }
}

fn duration(units: u32, clock_hz: u32) -> Duration {
    Duration::from_nanos(
        (u64::from(units) * 1_000_000_000)
            .checked_div(u64::from(clock_hz))
            .unwrap_or(0),
    )
}

fn units(duration: Duration, clock_hz: u32) -> u32 {
    let units = duration.as_nanos() * u128::from(clock_hz) / 1_000_000_000;
    units.min(u128::from(u32::MAX)) as u32
}

/// A telephone-event packet to send, but for its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The marker bit.
    pub marker: bool,
    /// The timestamp: of the event's begin, not of the packet.
    pub timestamp: u32,
    /// The payload.
    pub payload: [u8; EVENT_LEN],
}

/// Presses keys: packets each 20 ms or 50 ms, the last one three times (RFC 4733 §2.5.1.4).
#[derive(Clone, Debug)]
pub struct DigitSender {
    clock_hz: u32,
    interval: Duration,
    waiting: VecDeque<(Digit, Duration)>,
    state: Option<Sending>,
    /// Not before this: the gap between two keys.
    pause_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Sending {
    digit: Digit,
    duration: Duration,
    begin: Instant,
    /// The begin on the stream's clock.
    timestamp: u32,
    /// Packets sent.
    packets: u32,
    /// End packets sent.
    ends: u32,
    due: Instant,
}

/// Keys that wait to be sent at most: more than anyone dials at once.
pub const DIGITS_LIMIT: usize = 64;
/// Shortest key sent: ITU-T Q.24 lets receivers ignore less than 40 ms.
pub const SHORTEST: Duration = Duration::from_millis(40);
/// Longest key sent.
pub const LONGEST: Duration = Duration::from_secs(5);
/// Between two keys; Q.24 asks for 40 ms at least.
const PAUSE: Duration = Duration::from_millis(60);
/// Copies of the last packet (RFC 4733 §2.5.1.4).
const ENDS: u32 = 3;
/// -dBm0: the level of the keys of most phones.
const VOLUME: u8 = 10;

impl DigitSender {
    /// Starts with no key down. `interval` is the time between packets.
    pub fn new(clock_hz: u32, interval: Duration) -> Self {
        Self {
            clock_hz,
            interval: interval.max(Duration::from_millis(10)),
            waiting: VecDeque::new(),
            state: None,
            pause_until: None,
        }
    }

    /// Queues a key; false if [`DIGITS_LIMIT`] wait already. The first packet is due at once if
    /// no other key is down.
    pub fn press(&mut self, digit: Digit, duration: Duration) -> bool {
        if self.waiting.len() >= DIGITS_LIMIT {
            return false;
        }
        self.waiting
            .push_back((digit, duration.clamp(SHORTEST, LONGEST)));
        true
    }

    /// True while a key is down or its end is being told: sound is not sent meanwhile.
    pub fn is_sending(&self) -> bool {
        self.state.is_some()
    }

    /// True if there is nothing to send and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.state.is_none() && self.waiting.is_empty()
    }

    /// When [`DigitSender::poll`] has a packet; `now` if a key waits for nothing.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            Some(sending) => Some(sending.due),
            None if self.waiting.is_empty() => None,
            None => Some(self.pause_until.map_or(now, |until| until.max(now))),
        }
    }

    /// The next packet if it is due. `timestamp` is what a sound packet of `now` would have; it
    /// is used when a key goes down.
    pub fn poll(&mut self, now: Instant, timestamp: u32) -> Option<EventPacket> {
        let mut sending = match self.state {
            Some(sending) => sending,
            None => {
                if self.pause_until.is_some_and(|until| until > now) {
                    return None;
                }
                let (digit, duration) = self.waiting.pop_front()?;
                Sending {
                    digit,
                    duration,
                    begin: now,
                    timestamp,
                    packets: 0,
                    ends: 0,
                    due: now,
                }
            }
        };
        if sending.due > now {
            self.state = Some(sending);
            return None;
        }
        // The duration told is the schedule's, so that a late poll does not stretch the key.
        let held = (self.interval * (sending.packets + 1)).min(sending.duration);
        let end = held == sending.duration;
        let total = units(held, self.clock_hz);
        let segment = total.saturating_sub(1) / SEGMENT;
        let packet = EventPacket {
            marker: sending.packets == 0,
            timestamp: sending.timestamp.wrapping_add(segment * SEGMENT),
            payload: Event {
                code: sending.digit.event(),
                end,
                volume: VOLUME,
                duration: (total - segment * SEGMENT) as u16,
            }
            .to_bytes(),
        };
        sending.packets += 1;
        sending.ends += u32::from(end);
        sending.due = sending.begin + self.interval * sending.packets;
        self.state = if sending.ends == ENDS {
            self.pause_until = Some(sending.due + PAUSE);
            None
        } else {
            Some(sending)
        };
        Some(packet)
    }
}

/// Takes event packets from one clock to another, such as 48000 Hz beside Opus to 8000 Hz beside
/// G.711 (RFC 4733 §2.1: the clock is that of the stream). Packets keep their number and order;
/// the caller rewrites payload type and sequence number.
#[derive(Clone, Debug)]
pub struct EventConverter {
    from_hz: u32,
    to_hz: u32,
    course: Option<(Course, u32)>,
}

impl EventConverter {
    /// From one clock to another. Neither may be 0: it counts as 8000 then.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        let known = |hz| if hz == 0 { 8_000 } else { hz };
        Self {
            from_hz: known(from_hz),
            to_hz: known(to_hz),
            course: None,
        }
    }

    /// Converts a packet. `out_timestamp` is where the packet's timestamp is on the other stream's
    /// clock; it is used for the first packet of an event, and the others follow from that.
    /// `None` if the payload is no event.
    pub fn convert(
        &mut self,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        out_timestamp: u32,
    ) -> Option<EventPacket> {
        let event = Event::parse(payload)?;
        let known = self.course.as_mut().and_then(|(course, out_start)| {
            let follows = course.follow(timestamp, marker, event, self.from_hz);
            follows.then_some((course.start, *out_start))
        });
        let (start, out_start) = known.unwrap_or_else(|| {
            self.course = Some((Course::new(timestamp, event), out_timestamp));
            (timestamp, out_timestamp)
        });
        let held = u64::from(timestamp.wrapping_sub(start)) + u64::from(event.duration);
        let (from, to) = (u64::from(self.from_hz), u64::from(self.to_hz));
        let total = ((held * to + from / 2) / from).min(u64::from(u32::MAX)) as u32;
        // Six times the units need six times the segments.
        let segment = total.saturating_sub(1) / SEGMENT;
        let first = out_start.wrapping_add(segment * SEGMENT);
        let converted = Event {
            duration: (total - segment * SEGMENT) as u16,
            ..event
        };
        Some(EventPacket {
            marker,
            timestamp: first,
            payload: converted.to_bytes(),
        })
    }
}

#[cfg(test)]
#[path = "dtmf_tests.rs"]
mod tests;
