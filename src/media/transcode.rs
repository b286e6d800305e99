//! Sound on its way from a peer's encoding to the other side's: a jitter buffer, a decoder, whatever
//! fills the holes, and an encoder. One for each direction of a call whose sides share no encoding.
//!
//! A frame of sound leaves when the jitter buffer says that it is time, so it waits for the buffer's
//! delay, and for the rest of a packet where the other side wants longer ones. What is lost is
//! recovered from the packet behind it (Opus in-band FEC) or made up; a pause of the peer (DTX, or
//! comfort noise after RFC 3389) is filled with noise or silence, or told as comfort noise to a peer
//! that takes it. After half a second without a packet nothing is sent until one comes.
//!
//! Never allocates after `new`, which is why the buffers are arrays.

use std::time::{Duration, Instant};

use super::codec::conceal::Concealer;
use super::codec::noise::{Noise, told_level};
use super::codec::{CodecError, Coding, Decoder, Encoder, MAX_SAMPLES};
use super::g711::Law;
use super::jitter::{JitterBuffer, Next};
use super::pause::Pauses;
use super::rtp::Header;
use super::stream::Follows;
use crate::border::{Format, TranscodeStats};

/// How long silence is filled before the stream is taken for stopped. A sender with DTX is heard
/// every 400 ms.
const PATIENCE: Duration = Duration::from_millis(500);

/// The same after comfort noise, which holds until the peer sends something else (RFC 3389 §5); some
/// telephones tell of a pause once.
const PATIENCE_IN_NOISE: Duration = Duration::from_secs(60);

/// An Opus packet of so few bytes holds no sound: the encoder has entered DTX.
const DTX_LEN: usize = 2;

/// Opus makes frames up in units of 2.5 ms.
const UNIT_HZ: u32 = 400;

/// What a transcoder is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    from: Coding,
    to: Coding,
    from_hz: u32,
    to_hz: u32,
    ptime_ms: u16,
    fec: bool,
    /// Pauses are told as comfort noise.
    noise: bool,
}

/// What the peer does that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// It speaks: holes are losses.
    Speaks,
    /// It presses a key: holes are silence.
    Presses,
    /// It has sent comfort noise: holes are that.
    Rests,
}

impl Peer {
    fn patience(self) -> Duration {
        match self {
            Self::Speaks | Self::Presses => PATIENCE,
            Self::Rests => PATIENCE_IN_NOISE,
        }
    }
}

/// What a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Sound,
    /// Comfort noise.
    Noise,
}

/// A packet that is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Length of the payload.
    pub len: usize,
    /// Its length in time, in ticks of the outgoing clock.
    pub ticks: u32,
    /// Where it stands.
    pub follows: Follows,
    /// What it holds.
    pub kind: Kind,
}

/// One direction of sound.
#[derive(Debug)]
pub struct Transcoder {
    task: Task,
    rate_hz: u32,
    jitter: JitterBuffer,
    decoder: Decoder,
    encoder: Encoder,
    concealer: Concealer,
    noise: Noise,
    /// Decoded samples that wait for a whole packet; as many as `waiting` says.
    samples: Box<[i16]>,
    waiting: usize,
    /// So many of them, at the end, are of a pause that the other peer is told of.
    quiet: usize,
    /// Samples of a packet.
    frame: usize,
    /// The next packet is whole, and leaves then.
    leaves: Option<Instant>,
    /// Where the next packet stands.
    follows: Follows,
    peer: Peer,
    /// The peer's pauses, if the other one is told of them.
    pauses: Option<Pauses>,
    /// Made up since the last packet.
    made_up: Duration,
    /// Recovered since the last packet.
    recovered: u64,
    stats: TranscodeStats,
    /// Sum and number of the waits behind `stats.delay`.
    waits: (Duration, u32),
    /// What the queue of the worker has for this transcoder.
    pub armed: Option<Instant>,
}

impl Transcoder {
    /// For sound of a peer with format `from` to one with `to`; `None` if one of them is unknown.
    pub fn new(from: &Format, to: &Format) -> Option<Result<Self, CodecError>> {
        Some(Self::for_task(Task::of(from, to)?))
    }

    /// True if it does what a new one for these formats would.
    pub fn fits(&self, from: &Format, to: &Format) -> bool {
        Task::of(from, to).as_ref() == Some(&self.task)
    }

    fn for_task(task: Task) -> Result<Self, CodecError> {
        let rate_hz = task.from.rate_hz(task.to);
        Ok(Self {
            rate_hz,
            jitter: JitterBuffer::new(task.from_hz, task.from == Coding::Opus),
            decoder: Decoder::new(task.from, rate_hz)?,
            encoder: Encoder::new(task.to, rate_hz, task.fec)?,
            concealer: Concealer::new(rate_hz),
            noise: Noise::default(),
            samples: vec![0; 2 * MAX_SAMPLES].into_boxed_slice(),
            waiting: 0,
            quiet: 0,
            frame: usize::from(task.ptime_ms) * rate_hz as usize / 1_000,
            leaves: None,
            follows: Follows::Anew,
            peer: Peer::Speaks,
            pauses: task.noise.then(Pauses::default),
            made_up: Duration::ZERO,
            recovered: 0,
            stats: TranscodeStats::default(),
            waits: (Duration::ZERO, 0),
            armed: None,
            task,
        })
    }

    /// Takes a packet of the peer; `noise`: its payload is comfort noise.
    pub fn receive(&mut self, now: Instant, header: &Header, payload: &[u8], noise: bool) {
        if !noise {
            self.peer = Peer::Speaks;
        }
        self.jitter.insert(now, header, payload, noise);
    }

    /// Notes that the peer's packets stop on purpose, for a key.
    pub fn pause(&mut self) {
        if self.peer == Peer::Speaks {
            self.peer = Peer::Presses;
        }
    }

    /// Prepares for the loss that the other peer tells of, in percent.
    pub fn set_loss(&mut self, percent: u8) {
        self.encoder.set_loss(percent);
    }

    /// When [`Self::step`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.leaves.or_else(|| self.jitter.deadline())
    }

    /// Writes the payload of the next packet that is to leave by `now`, if there is one.
    pub fn step(&mut self, now: Instant, payload: &mut [u8]) -> Option<Frame> {
        loop {
            if let Some(at) = self.leaves {
                if at > now {
                    return None;
                }
                if let Some(frame) = self.encode(at, payload) {
                    return Some(frame);
                }
                continue;
            }
            if self.jitter.deadline().is_none_or(|at| at > now) {
                return None;
            }
            self.decode(now);
            if self.waiting >= self.frame {
                self.leaves = Some(now);
            }
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> TranscodeStats {
        self.stats
    }

    fn encode(&mut self, at: Instant, payload: &mut [u8]) -> Option<Frame> {
        let frame_time = Duration::from_millis(self.task.ptime_ms.into());
        let is_quiet = self.quiet >= self.waiting;
        let (kind, len) = match &mut self.pauses {
            Some(pauses) if is_quiet && pauses.is_on() => {
                let level = pauses.step(frame_time);
                let room = level.zip(payload.first_mut());
                (
                    Kind::Noise,
                    room.map(|(level, byte)| *byte = level).map(|()| 1),
                )
            }
            _ => {
                let samples = &self.samples[..self.frame];
                (Kind::Sound, self.encoder.encode(samples, payload))
            }
        };
        self.samples.copy_within(self.frame..self.waiting, 0);
        self.waiting -= self.frame;
        self.quiet = self.quiet.min(self.waiting);
        self.leaves = (self.waiting >= self.frame).then(|| at + frame_time);
        let ticks = u32::from(self.task.ptime_ms) * self.task.to_hz / 1_000;
        let Some(len) = len else {
            self.follows = match self.follows {
                Follows::AtOnce => Follows::After(ticks),
                Follows::After(pause) => Follows::After(pause.wrapping_add(ticks)),
                Follows::Anew => Follows::Anew,
            };
            return None;
        };
        let after = match kind {
            Kind::Sound => Follows::AtOnce,
            // The sound behind it begins a talk spurt, however soon it comes.
            Kind::Noise => Follows::After(0),
        };
        Some(Frame {
            len,
            ticks,
            follows: std::mem::replace(&mut self.follows, after),
            kind,
        })
    }

    /// Adds samples to those that wait.
    fn decode(&mut self, now: Instant) {
        let frame = self.jitter.frame();
        let from_hz = self.task.from_hz;
        let room = &mut self.samples[self.waiting..];
        let ticks = match self.jitter.look() {
            Next::Sound {
                payload,
                at,
                missing,
            } => {
                let recovered = std::mem::take(&mut self.recovered);
                // More is another start of the sender.
                let missing = if missing < 0x8000 { missing } else { 0 };
                self.stats.concealed += u64::from(missing).saturating_sub(recovered);
                let is_dtx = self.task.from == Coding::Opus && payload.len() <= DTX_LEN;
                let decoded = self.decoder.decode(payload, &mut room[..MAX_SAMPLES]);
                if let Some(count) = decoded.filter(|count| *count > 0) {
                    self.noise.clear();
                    self.made_up = Duration::ZERO;
                    self.concealer.heard(&mut room[..count]);
                    self.waiting += count;
                    self.note_pause(count, is_dtx);
                    self.note_wait(now.saturating_duration_since(at));
                    self.jitter.advance(self.ticks(count), false);
                    return;
                }
                self.stats.concealed += 1;
                self.fill(frame, true);
                frame
            }
            Next::Noise(payload) => {
                self.noise.set(payload);
                self.made_up = Duration::ZERO;
                self.peer = Peer::Rests;
                if let Some(pauses) = &mut self.pauses {
                    pauses.set(told_level(payload));
                }
                self.fill(frame, false);
                frame
            }
            Next::Gap { ticks, .. } if time(ticks, from_hz) > PATIENCE => {
                self.jitter.leap();
                self.stop();
                return;
            }
            Next::Gap {
                ticks,
                lost,
                behind,
            } => {
                let ticks = ticks.min(frame);
                let count = samples(ticks, from_hz, self.rate_hz);
                let recovered = match (&mut self.decoder, behind) {
                    (Decoder::Opus(decoder), Some(behind)) => {
                        decoder.recover(behind, &mut room[..count])
                    }
                    _ => false,
                };
                if recovered {
                    self.stats.recovered += 1;
                    self.recovered += 1;
                    self.waiting += count;
                    self.end_pause();
                } else {
                    self.fill(ticks, lost);
                }
                ticks
            }
            Next::Nothing if self.made_up >= self.peer.patience() => {
                self.jitter.leap();
                self.stop();
                return;
            }
            Next::Nothing => {
                let lost = self.peer == Peer::Speaks;
                self.fill(frame, lost);
                frame
            }
        };
        self.jitter.advance(ticks, true);
    }

    /// A packet of sound was decoded to `count` samples: does it begin a pause, go on with one, or end
    /// it? `is_dtx`: the encoder says that there is no sound.
    fn note_pause(&mut self, count: usize, is_dtx: bool) {
        let Some(pauses) = &mut self.pauses else {
            return;
        };
        if is_dtx {
            pauses.begin();
        } else {
            let sound = &self.samples[self.waiting - count..self.waiting];
            // An encoder in DTX shows its background now and then.
            pauses.hear(sound, self.task.from == Coding::Opus);
        }
        self.quiet = if pauses.is_on() {
            self.quiet + count
        } else {
            0
        };
    }

    fn end_pause(&mut self) {
        if let Some(pauses) = &mut self.pauses {
            pauses.end();
        }
        self.quiet = 0;
    }

    /// Fills a hole: `lost`, or a pause.
    fn fill(&mut self, ticks: u32, lost: bool) {
        let count = samples(ticks, self.task.from_hz, self.rate_hz);
        let room = &mut self.samples[self.waiting..self.waiting + count];
        let pauses = self.pauses.as_ref().is_some_and(Pauses::is_on);
        let filled = match &mut self.decoder {
            // Of a pause libopus knows the background noise.
            Decoder::Opus(decoder) if self.peer == Peer::Speaks => decoder.conceal(room),
            Decoder::Opus(_) | Decoder::Law(_) | Decoder::G722(_) => false,
        };
        if !filled && lost {
            self.concealer.fill(room);
        } else if !filled {
            self.noise.fill(room);
        }
        if pauses {
            self.quiet += count;
        }
        self.waiting += count;
        self.made_up += time(ticks, self.task.from_hz);
    }

    /// The stream has stopped; what waits is less than a packet.
    fn stop(&mut self) {
        self.waiting = 0;
        self.end_pause();
        self.leaves = None;
        self.follows = Follows::Anew;
        self.made_up = Duration::ZERO;
        self.noise.clear();
        self.concealer.reset();
    }

    fn note_wait(&mut self, wait: Duration) {
        let (sum, count) = &mut self.waits;
        *sum += wait;
        *count += 1;
        // A packet's first samples wait for its last ones, and the encoder holds some back.
        let packing = self.frame.saturating_sub(samples(
            self.jitter.frame(),
            self.task.from_hz,
            self.rate_hz,
        ));
        let samples = packing + self.encoder.lookahead();
        let held = Duration::from_secs(1) * samples as u32 / self.rate_hz;
        self.stats.delay = *sum / *count + held;
        self.stats.longest = self.stats.longest.max(wait + held);
        self.stats.late = self.jitter.counts().late;
    }

    fn ticks(&self, samples: usize) -> u32 {
        (samples as u64 * u64::from(self.task.from_hz) / u64::from(self.rate_hz)) as u32
    }
}

impl Task {
    fn of(from: &Format, to: &Format) -> Option<Self> {
        let whole_units = |ms: u16| ms.clamp(10, 60) / 10 * 10;
        Some(Self {
            from: Coding::of(&from.encoding)?,
            to: Coding::of(&to.encoding)?,
            from_hz: from.clock_hz.max(UNIT_HZ),
            to_hz: to.clock_hz,
            ptime_ms: match Coding::of(&to.encoding)? {
                // RFC 6716 has no frames of 30 or 50 ms.
                Coding::Opus if matches!(to.ptime_ms, 21..=39) => 20,
                Coding::Opus if matches!(to.ptime_ms, 41..=59) => 40,
                Coding::Opus | Coding::Law(_) | Coding::G722 => whole_units(to.ptime_ms),
            },
            fec: to.fec,
            noise: to.send_noise.is_some() && Law::from_encoding(&to.encoding).is_some(),
        })
    }
}

fn time(ticks: u32, clock_hz: u32) -> Duration {
    Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(clock_hz))
}

/// Samples of so many ticks: a whole number of the units that Opus makes frames up in, one at least,
/// and not more than a packet.
fn samples(ticks: u32, clock_hz: u32, rate_hz: u32) -> usize {
    let unit = (rate_hz / UNIT_HZ) as usize;
    let count = u64::from(ticks) * u64::from(rate_hz) / u64::from(clock_hz);
    (count as usize)
        .min(MAX_SAMPLES / 2)
        .next_multiple_of(unit)
        .max(unit)
}

#[cfg(test)]
#[path = "transcode_tests.rs"]
mod tests;
