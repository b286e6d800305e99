//! A jitter buffer: packets come late, twice and out of order, and leave in the order of their
//! timestamps, each at its time.
//!
//! That time is the soonest one at which packets come, by their timestamps, and a delay on top of it
//! that lets nearly all of them be there. The soonest follows the sender's clock, so that nothing
//! has to be stretched where two clocks drift apart. The delay grows with the jitter seen, shrinks
//! when it is gone, and never exceeds [`MAX_DELAY`].
//!
//! Pure; never allocates after `new`.

use std::time::{Duration, Instant};

use super::rtp::Header;

/// The longest delay on purpose: more is worse to talk over than some loss.
pub const MAX_DELAY: Duration = Duration::from_millis(200);

/// The delay of a stream without jitter: the timers of a busy thread are not exact.
const LEAST_DELAY: Duration = Duration::from_millis(5);

/// Packets that wait: 320 ms of the shortest frames in use, more than [`MAX_DELAY`] ever holds.
const SLOTS: usize = 32;

/// The largest payload: an Opus frame of 1275 bytes, and 150 ms of G.711.
const MAX_PAYLOAD: usize = 1_280;

/// A stream that jumps by more has begun anew.
const MAX_JUMP_S: i64 = 5;

/// How fine the delay is.
const STEP: Duration = Duration::from_millis(5);
const STEPS: usize = (MAX_DELAY.as_millis() / STEP.as_millis()) as usize;

/// So many packets are remembered by the delay: 5 s of 20 ms frames.
const MEMORY: u16 = 256;
/// What a stream is taken for before it is known: so many packets that came 15 to 20 ms late.
const PRIOR: u16 = 4;
const PRIOR_STEP: usize = 3;

/// This share of the packets shall not be too late.
const IN_TIME: f32 = 0.98;

/// The soonest arrival is that of the last one to two of these.
const SOONEST_WINDOW: Duration = Duration::from_secs(4);

/// A loss is worth waiting for its recovery for so many packets behind it.
const LOSS_MEMORY: u16 = 500;

/// Where a packet stands in its stream, in ticks of its clock.
type Position = i64;

/// What is to be played next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A packet of sound.
    Sound {
        /// Its payload.
        payload: &'a [u8],
        /// When it came.
        at: Instant,
        /// Packets that should have come before it and did not.
        missing: u16,
    },
    /// Comfort noise: what it says holds from here to the next sound.
    Noise(&'a [u8]),
    /// Nothing for so many ticks, then there is something.
    Gap {
        /// How long.
        ticks: u32,
        /// Packets are missing; else the sender paused.
        lost: bool,
        /// The packet behind the missing one, if only one is.
        behind: Option<&'a [u8]>,
    },
    /// Nothing has come.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    position: Position,
    sequence: u16,
    at: Instant,
    len: usize,
    noise: bool,
}

/// Counters of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that found no room.
    pub overflowed: u64,
}

/// The buffer of one stream.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    clock_hz: u32,
    /// A lost packet may be recovered from the one behind it, which is worth waiting for.
    recovers: bool,
    slots: [Option<Slot>; SLOTS],
    bytes: Box<[u8]>,
    stream: Option<Stream>,
    lateness: Lateness,
    /// Packets to come until a loss is forgotten.
    loss_seen: u16,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    /// The newest packet: its place and timestamp.
    newest: (Position, u32),
    /// When position 0 was captured, as if there were no delay on the way.
    epoch: Instant,
    soonest: Soonest,
    /// What is to be played next.
    play: Position,
    /// The sequence number of what was played last.
    played: Option<u16>,
    /// What was played last was made up, so that a packet for the same time may still take over.
    made_up: bool,
    /// Length of the last frame in ticks.
    frame: u32,
}

impl JitterBuffer {
    /// A buffer for payloads with a clock of `clock_hz`. `recovers`: packets tell of the one before
    /// them, too.
    pub fn new(clock_hz: u32, recovers: bool) -> Self {
        Self {
            clock_hz: clock_hz.max(1),
            recovers,
            slots: [None; SLOTS],
            bytes: vec![0; SLOTS * MAX_PAYLOAD].into_boxed_slice(),
            stream: None,
            lateness: Lateness::default(),
            loss_seen: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a packet.
    pub fn insert(&mut self, now: Instant, header: &Header, payload: &[u8], noise: bool) {
        let limit = MAX_JUMP_S * i64::from(self.clock_hz);
        let step = |stream: &Stream| {
            let ahead = header.timestamp.wrapping_sub(stream.newest.1) as i32;
            (stream.ssrc == header.ssrc && i64::from(ahead).abs() < limit).then_some(ahead)
        };
        let (clock_hz, frame) = (self.clock_hz, self.clock_hz / 50);
        let ahead = self.stream.as_ref().and_then(step);
        if ahead.is_none() {
            self.slots = [None; SLOTS];
        }
        let stream = match (&mut self.stream, ahead) {
            (Some(stream), Some(_)) => stream,
            (stream, _) => stream.insert(Stream {
                ssrc: header.ssrc,
                newest: (0, header.timestamp),
                epoch: now,
                soonest: Soonest::new(now),
                play: 0,
                played: None,
                made_up: false,
                frame,
            }),
        };
        let position = stream.newest.0 + i64::from(ahead.unwrap_or(0));
        if position > stream.newest.0 {
            stream.newest = (position, header.timestamp);
        }
        // Negative where packets come sooner than the first one did.
        let way = since(stream.epoch, now) - micros(position, clock_hz);
        let soonest = stream.soonest.take(now, way);
        self.lateness.take(way - soonest);
        self.loss_seen = self.loss_seen.saturating_sub(1);
        if position < stream.play {
            let near = stream.play - position < i64::from(stream.frame / 2);
            if !(stream.made_up && near) {
                self.counts.late += 1;
                return;
            }
            stream.play = position;
        }
        let twin = |slot: &Slot| slot.sequence == header.sequence;
        if self.slots.iter().flatten().any(twin) {
            return;
        }
        let free = self.slots.iter().position(Option::is_none);
        let (Some(free), true) = (free, payload.len() <= MAX_PAYLOAD) else {
            self.counts.overflowed += 1;
            return;
        };
        let start = free * MAX_PAYLOAD;
        self.bytes[start..start + payload.len()].copy_from_slice(payload);
        self.slots[free] = Some(Slot {
            position,
            sequence: header.sequence,
            at: now,
            len: payload.len(),
            noise,
        });
    }

    /// When what is next is to be played; `None` without a stream.
    pub fn deadline(&self) -> Option<Instant> {
        let stream = self.stream.as_ref()?;
        let place = micros(stream.play, self.clock_hz) + stream.soonest.way();
        let delay = self.delay();
        let at = if place < 0 {
            stream.epoch.checked_sub(micro_duration(-place))
        } else {
            stream.epoch.checked_add(micro_duration(place))
        };
        at.map(|at| at + delay)
    }

    /// How long packets wait that come as soon as any.
    pub fn delay(&self) -> Duration {
        let delay = self.lateness.delay().max(LEAST_DELAY);
        match &self.stream {
            // The packet behind a lost one comes a frame later.
            Some(stream) if self.recovers && self.loss_seen > 0 => {
                let frame = micro_duration(micros(stream.frame.into(), self.clock_hz));
                delay.max((frame + 2 * LEAST_DELAY).min(MAX_DELAY))
            }
            _ => delay,
        }
    }

    /// What is to be played next. Follow it by [`Self::advance`] or [`Self::leap`].
    pub fn look(&mut self) -> Next<'_> {
        let Some(stream) = &mut self.stream else {
            return Next::Nothing;
        };
        let soonest = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(n, slot)| Some((slot.as_ref()?.position, n)))
            .min();
        let Some((n, slot)) = soonest.and_then(|(_, n)| Some((n, self.slots[n]?))) else {
            return Next::Nothing;
        };
        let payload = &self.bytes[n * MAX_PAYLOAD..][..slot.len];
        let gap = slot.position - stream.play;
        let after = |played: u16| slot.sequence.wrapping_sub(played).wrapping_sub(1);
        let missing = stream.played.map_or(0, after);
        if missing > 0 {
            self.loss_seen = LOSS_MEMORY;
        }
        // Clocks that are counted by the sender's own timer may be off a little.
        if gap <= i64::from(self.clock_hz / 400) {
            stream.play = slot.position;
            stream.played = Some(slot.sequence);
            self.slots[n] = None;
            return if slot.noise {
                Next::Noise(payload)
            } else {
                Next::Sound {
                    payload,
                    at: slot.at,
                    missing,
                }
            };
        }
        let single = missing == 1 && gap <= i64::from(stream.frame) * 3 / 2;
        Next::Gap {
            ticks: gap.try_into().unwrap_or(u32::MAX),
            lost: missing > 0,
            behind: (single && !slot.noise).then_some(payload),
        }
    }

    /// Goes on by what was played: `made_up` if it was not a packet.
    pub fn advance(&mut self, ticks: u32, made_up: bool) {
        if let Some(stream) = &mut self.stream {
            stream.play += i64::from(ticks);
            stream.made_up = made_up;
            if !made_up {
                // Whole frames, so that nobody's tiny packets make many of ours.
                stream.frame = ticks.max(self.clock_hz / 200);
            }
        }
    }

    /// Goes to the next packet, or forgets the stream if none waits.
    pub fn leap(&mut self) {
        let next = self.slots.iter().flatten().map(|slot| slot.position).min();
        match (&mut self.stream, next) {
            (Some(stream), Some(next)) => stream.play = stream.play.max(next),
            (stream, _) => *stream = None,
        }
    }

    /// Length of the frames of the stream in ticks.
    pub fn frame(&self) -> u32 {
        let frame = self.stream.as_ref().map(|stream| stream.frame);
        frame.unwrap_or(self.clock_hz / 50)
    }

    /// What went wrong so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// The shortest way lately, in µs from the epoch.
#[derive(Clone, Copy, Debug)]
struct Soonest {
    before: i64,
    here: i64,
    since: Instant,
}

impl Soonest {
    fn new(now: Instant) -> Self {
        Self {
            before: i64::MAX,
            here: i64::MAX,
            since: now,
        }
    }

    fn take(&mut self, now: Instant, way: i64) -> i64 {
        if now.saturating_duration_since(self.since) >= SOONEST_WINDOW {
            *self = Self {
                before: self.here,
                ..Self::new(now)
            };
        }
        self.here = self.here.min(way);
        self.way()
    }

    fn way(&self) -> i64 {
        match self.here.min(self.before) {
            i64::MAX => 0,
            way => way,
        }
    }
}

/// How late packets come: a histogram that forgets.
#[derive(Clone, Debug)]
struct Lateness {
    share: [f32; STEPS],
    known: u16,
}

impl Default for Lateness {
    fn default() -> Self {
        let mut share = [0.0; STEPS];
        share[PRIOR_STEP] = 1.0;
        Self {
            share,
            known: PRIOR,
        }
    }
}

impl Lateness {
    fn take(&mut self, late_us: i64) {
        let step = late_us.max(0) as u128 / STEP.as_micros();
        self.known = (self.known + 1).min(MEMORY);
        let weight = 1.0 / f32::from(self.known);
        for share in &mut self.share {
            *share *= 1.0 - weight;
        }
        self.share[(step as usize).min(STEPS - 1)] += weight;
    }

    fn delay(&self) -> Duration {
        let mut sum = 0.0;
        let step = self.share.iter().position(|share| {
            sum += share;
            sum >= IN_TIME
        });
        STEP * step.map_or(STEPS, |step| step + 1) as u32
    }
}

/// Microseconds of so many ticks.
fn micros(ticks: Position, clock_hz: u32) -> i64 {
    ticks.saturating_mul(1_000_000) / i64::from(clock_hz)
}

fn micro_duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0) as u64)
}

fn since(epoch: Instant, now: Instant) -> i64 {
    now.saturating_duration_since(epoch).as_micros() as i64
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
