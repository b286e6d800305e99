//! A telephone of nothing but sound: one end of a plain RTP stream of G.711 (RFC 3551) with keys
//! by telephone-event (RFC 4733), for `offhook echo`, `dial` and `listen`. Plays something, hears,
//! and reports what it heard.
//!
//! Floor 2: stands on `media`. Does no signalling, no RTCP, and no protection of its own. Not made
//! for thousands of calls: it allocates, and it makes and reads its packets with the `rtp` crate.

#[cfg(test)]
mod tests;
pub mod wav;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ::rtp::header::Header as WireHeader;
use ::rtp::packet::Packet as WirePacket;
use bytes::Bytes;
use thiserror::Error;
use webrtc_util::marshal::{Marshal, Unmarshal};

use crate::border::Format;
use crate::id::TokenMaker;
use crate::leg::Digit;
use crate::media::dtmf::{DigitReceiver, DigitSender, Press};
use crate::media::g711::Law;
use crate::media::rtcp::Reception;
use crate::media::rtp::{HEADER_LEN, Header, PacketKind};
use crate::media::tone::{RATE_HZ, Tone, ToneMeter};

/// What a phone plays.
#[derive(Clone, Debug, PartialEq)]
pub enum Play {
    /// A sine of so many Hz, without end.
    Tone(f64),
    /// Silence, without end: packets flow.
    Silence,
    /// Samples at 8000 Hz, then silence.
    Samples(Vec<i16>),
    /// What it hears, as it comes.
    Echo,
    /// Silence; keys that it hears go back as events and as tones.
    ReadBackDigits,
}

/// How a phone behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct PhoneConfig {
    /// What it plays.
    pub play: Play,
    /// What the packets hold; `PCMU` and `PCMA` only.
    pub format: Format,
    /// Keys it presses: as telephone-event if the format has one, else as tones.
    pub digits: Vec<Digit>,
    /// When it presses the first, counted from its start.
    pub digits_after: Duration,
    /// Keeps what it hears.
    pub record: bool,
}

/// Why there is no phone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PhoneError {
    /// The format is not G.711.
    #[error("a phone speaks pcmu and pcma, not {0}")]
    UnsupportedEncoding(String),
}

/// What a phone has seen and heard.
#[derive(Clone, Debug, PartialEq)]
pub struct PhoneReport {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets received, duplicates too.
    pub received: u64,
    /// RTP packets that did not come.
    pub lost: u64,
    /// RTP packets that came again.
    pub duplicates: u64,
    /// Datagrams that were no RTP, or of a payload type that was not agreed on.
    pub strange: u64,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f64,
    /// The tone heard most of the time, in Hz.
    pub tone_hz: Option<f64>,
    /// Keys heard.
    pub digits: String,
    /// When the first RTP packet came.
    pub first_packet_at: Option<Instant>,
    /// When the last RTP packet came.
    pub last_packet_at: Option<Instant>,
    /// The encoding, in upper case.
    pub codec: String,
}

/// How long a key is pressed.
const KEY: Duration = Duration::from_millis(160);
/// Between two keys that go as tones (ITU-T Q.24: 40 ms at least).
const KEY_PAUSE: Duration = Duration::from_millis(60);
/// Keys that are remembered, and keys that wait to be played back: a test presses fewer.
const DIGITS_LIMIT: usize = 256;
/// Longest recording: one hour, 58 MB.
const RECORDING_LIMIT: usize = 3_600 * RATE_HZ as usize;
/// Sound that waits to be echoed: what comes faster than real time beyond this is dropped.
const ECHO_LIMIT: usize = RATE_HZ as usize;
/// Sound that is waited for before the echo begins: evens out jitter of so much.
const ECHO_AHEAD: Duration = Duration::from_millis(40);
/// A longer hole in the timestamps is not filled with silence: the peer began anew.
const HOLE_LIMIT: u32 = 5 * RATE_HZ;
/// A phone that was not polled for longer leaves the frames between out.
const LATE_LIMIT: Duration = Duration::from_millis(200);

/// One end of a test call's sound.
#[derive(Debug)]
pub struct Phone {
    law: Law,
    format: Format,
    begin: Instant,
    frame: Duration,
    frame_len: usize,
    /// Frames of the schedule gone by.
    frames: u32,
    outbox: VecDeque<Vec<u8>>,
    ssrc: u32,
    sequence: u16,
    first_timestamp: u32,
    sent: u64,
    source: Source,
    key_sender: DigitSender,
    key_tones: VecDeque<i16>,
    keys_to_press: VecDeque<Digit>,
    keys_after: Instant,
    ear: Ear,
}

#[derive(Debug)]
enum Source {
    Tone(Tone),
    Samples(std::vec::IntoIter<i16>),
    Echo(EchoQueue),
    ReadBack,
}

#[derive(Debug, Default)]
struct EchoQueue {
    /// Encoded samples.
    bytes: VecDeque<u8>,
    flowing: bool,
}

#[derive(Debug)]
struct Ear {
    reception: Reception,
    keys: DigitReceiver,
    digits: String,
    meter: ToneMeter,
    recording: Option<Vec<i16>>,
    ssrc: Option<u32>,
    /// The timestamp that follows what was heard.
    next_timestamp: u32,
    first_packet_at: Option<Instant>,
    last_packet_at: Option<Instant>,
    strange: u64,
}

impl Phone {
    /// Starts: the first packet is due `now`.
    pub fn new(
        now: Instant,
        config: PhoneConfig,
        tokens: &mut TokenMaker,
    ) -> Result<Self, PhoneError> {
        let PhoneConfig {
            play,
            format,
            digits,
            digits_after,
            record,
        } = config;
        let law = Law::from_encoding(&format.encoding)
            .ok_or_else(|| PhoneError::UnsupportedEncoding(format.encoding.clone()))?;
        let frame = Duration::from_millis(u64::from(format.ptime_ms.clamp(10, 60)));
        let key_clock_hz = format.send_digits.map_or(RATE_HZ, |(_, clock_hz)| clock_hz);
        Ok(Self {
            law,
            begin: now,
            frame,
            frame_len: samples(frame),
            frames: 0,
            outbox: VecDeque::new(),
            ssrc: tokens.number() as u32,
            // RFC 3711 §3.3.1: a begin in the lower half keeps an early wrap from being missed.
            sequence: tokens.below(0x8000) as u16,
            first_timestamp: tokens.number() as u32,
            sent: 0,
            source: match play {
                Play::Tone(hz) => Source::Tone(Tone::sine(hz)),
                Play::Silence => Source::Samples(Vec::new().into_iter()),
                Play::Samples(samples) => Source::Samples(samples.into_iter()),
                Play::Echo => Source::Echo(EchoQueue::default()),
                Play::ReadBackDigits => Source::ReadBack,
            },
            key_sender: DigitSender::new(key_clock_hz, frame),
            key_tones: VecDeque::new(),
            keys_to_press: digits.into(),
            keys_after: now + digits_after,
            ear: Ear {
                reception: Reception::new(now),
                keys: DigitReceiver::default(),
                digits: String::new(),
                meter: ToneMeter::default(),
                recording: record.then(Vec::new),
                ssrc: None,
                next_timestamp: 0,
                first_packet_at: None,
                last_packet_at: None,
                strange: 0,
            },
            format,
        })
    }

    /// Takes a datagram from the peer.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let packet = match PacketKind::of(datagram) {
            PacketKind::Rtp => unmarshal(datagram),
            PacketKind::Rtcp => return,
            PacketKind::Stun | PacketKind::Dtls | PacketKind::Other => None,
        };
        let Some(WirePacket { header, payload }) = packet else {
            self.ear.strange += 1;
            return;
        };
        let sound = header.payload_type == self.format.receive_payload_type;
        let key_clock = self
            .format
            .receive_digits
            .iter()
            .find(|(payload_type, _)| *payload_type == header.payload_type)
            .map(|(_, clock_hz)| *clock_hz);
        if !sound && key_clock.is_none() && self.format.receive_noise != Some(header.payload_type) {
            self.ear.strange += 1;
            return;
        }
        self.ear.first_packet_at.get_or_insert(now);
        self.ear.last_packet_at = Some(now);
        let (ssrc, sequence) = (header.ssrc, header.sequence_number);
        if self.ear.ssrc != Some(ssrc) {
            self.ear.ssrc = Some(ssrc);
            self.ear.next_timestamp = header.timestamp;
            let press = self.ear.keys.reset();
            self.heard(press);
        }
        let timestamp = header.timestamp;
        if sound {
            let reception = &mut self.ear.reception;
            reception.receive(now, ssrc, sequence, timestamp, RATE_HZ);
            self.hear(timestamp, &payload);
        } else {
            self.ear.reception.receive_untimed(ssrc, sequence);
        }
        if let Some(clock_hz) = key_clock {
            let keys = &mut self.ear.keys;
            let press = keys.receive(now, timestamp, header.marker, &payload, clock_hz);
            self.heard(press);
        }
    }

    /// The next packet to send, if one is due. Call it until it gives none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let press = self.ear.keys.handle_timeout(now);
        self.heard(press);
        let late = now.saturating_duration_since(self.due());
        if late > LATE_LIMIT {
            self.frames += (late.as_nanos() / self.frame.as_nanos()) as u32;
        }
        while self.outbox.is_empty() && self.due() <= now {
            self.play_frame();
            self.frames += 1;
        }
        let packet = self.outbox.pop_front()?;
        self.sent += 1;
        Some(packet)
    }

    /// When to call [`Phone::poll_transmit`] again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due();
        Some(match self.ear.keys.poll_timeout() {
            Some(at) => due.min(at),
            None => due,
        })
    }

    /// What was seen and heard so far.
    pub fn report(&self) -> PhoneReport {
        let ear = &self.ear;
        PhoneReport {
            sent: self.sent,
            received: ear.reception.received(),
            lost: ear.reception.lost(),
            duplicates: ear.reception.duplicates(),
            strange: ear.strange,
            jitter_ms: ear.reception.jitter().as_secs_f64() * 1_000.0,
            tone_hz: ear.meter.tone(),
            digits: ear.digits.clone(),
            first_packet_at: ear.first_packet_at,
            last_packet_at: ear.last_packet_at,
            codec: self.format.encoding.to_ascii_uppercase(),
        }
    }

    /// What was heard, at 8000 Hz, lost packets as silence; empty if nothing is recorded.
    pub fn recording(&self) -> &[i16] {
        self.ear.recording.as_deref().unwrap_or(&[])
    }

    /// True once all keys of the configuration are pressed and told.
    pub fn has_pressed_all(&self) -> bool {
        self.keys_to_press.is_empty() && self.key_sender.is_idle() && self.key_tones.is_empty()
    }

    /// When the next frame is due: counted from the begin, so nothing drifts.
    fn due(&self) -> Instant {
        self.begin + self.frame * self.frames
    }

    fn play_frame(&mut self) {
        let due = self.due();
        let timestamp = self
            .first_timestamp
            .wrapping_add(self.frames.wrapping_mul(self.frame_len as u32));
        let idle = self.key_sender.is_idle() && self.key_tones.is_empty();
        if idle
            && due >= self.keys_after
            && let Some(digit) = self.keys_to_press.pop_front()
        {
            self.press(digit);
        }
        let event = self.key_sender.poll(due, timestamp);
        if let (Some(event), Some((payload_type, _))) = (event, self.format.send_digits) {
            self.send(payload_type, event.marker, event.timestamp, &event.payload);
        }
        // The sound pauses while a key is told (RFC 4733 §2.1), but for a key that is to be
        // heard as a tone, too.
        let tones = !self.key_tones.is_empty();
        let sound = self.next_sound();
        if let Some(sound) = sound
            && (event.is_none() || tones)
        {
            let marker = self.sent == 0 && self.outbox.is_empty();
            self.send(self.format.send_payload_type, marker, timestamp, &sound);
        }
    }

    /// A frame of encoded sound; none where there is nothing to echo.
    fn next_sound(&mut self) -> Option<Vec<u8>> {
        let (law, len) = (self.law, self.frame_len);
        if !self.key_tones.is_empty() {
            let len_here = len.min(self.key_tones.len());
            let tones = self.key_tones.drain(..len_here);
            let mut bytes: Vec<u8> = tones.map(|sample| law.encode(sample)).collect();
            bytes.resize(len, law.silence());
            return Some(bytes);
        }
        let mut bytes: Vec<u8> = match &mut self.source {
            Source::Tone(tone) => tone.take(len).map(|sample| law.encode(sample)).collect(),
            Source::Samples(rest) => rest.take(len).map(|sample| law.encode(sample)).collect(),
            Source::ReadBack => Vec::new(),
            Source::Echo(queue) => {
                if !queue.flowing && queue.bytes.len() < samples(ECHO_AHEAD) {
                    return None;
                }
                queue.flowing = !queue.bytes.is_empty();
                if !queue.flowing {
                    return None;
                }
                queue.bytes.drain(..len.min(queue.bytes.len())).collect()
            }
        };
        bytes.resize(len, law.silence());
        Some(bytes)
    }

    fn press(&mut self, digit: Digit) {
        let by_event = self.format.send_digits.is_some();
        if by_event {
            self.key_sender.press(digit, KEY);
        }
        if !by_event || matches!(self.source, Source::ReadBack) {
            self.key_tones.extend(Tone::key(digit).take(samples(KEY)));
            self.key_tones
                .extend(std::iter::repeat_n(0, samples(KEY_PAUSE)));
        }
    }

    fn send(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        let packet = WirePacket {
            header: WireHeader {
                version: 2,
                marker,
                payload_type,
                sequence_number: self.sequence,
                timestamp,
                ssrc: self.ssrc,
                ..WireHeader::default()
            },
            payload: Bytes::copy_from_slice(payload),
        };
        if let Ok(bytes) = packet.marshal() {
            self.sequence = self.sequence.wrapping_add(1);
            self.outbox.push_back(bytes.to_vec());
        }
    }

    fn heard(&mut self, press: Option<Press>) {
        let Some(Press { digit, duration: _ }) = press else {
            return;
        };
        if self.ear.digits.len() < DIGITS_LIMIT {
            self.ear.digits.push(digit.as_char());
        }
        if matches!(self.source, Source::ReadBack) && self.keys_to_press.len() < DIGITS_LIMIT {
            self.keys_to_press.push_back(digit);
        }
    }

    /// Takes sound in at its place in time.
    fn hear(&mut self, timestamp: u32, payload: &[u8]) {
        let ahead = timestamp.wrapping_sub(self.ear.next_timestamp);
        let behind = ahead.wrapping_neg();
        if ahead != 0 && behind <= HOLE_LIMIT {
            self.patch(behind as usize, payload);
            return;
        }
        if ahead <= HOLE_LIMIT {
            let silence = self.law.silence();
            self.append(std::iter::repeat_n(silence, ahead as usize));
        }
        self.append(payload.iter().copied());
        self.ear.next_timestamp = timestamp.wrapping_add(payload.len() as u32);
    }

    fn append(&mut self, bytes: impl Iterator<Item = u8> + Clone) {
        let law = self.law;
        let decoded = bytes.clone().map(|byte| law.decode(byte));
        self.ear.meter.hear(decoded.clone());
        if let Some(recording) = &mut self.ear.recording {
            let room = RECORDING_LIMIT - recording.len();
            recording.extend(decoded.take(room));
        }
        if let Source::Echo(queue) = &mut self.source {
            queue.bytes.extend(bytes);
            let excess = queue.bytes.len().saturating_sub(ECHO_LIMIT);
            queue.bytes.drain(..excess);
        }
    }

    /// Puts a late packet where silence stands for it, `behind` samples before the end.
    fn patch(&mut self, behind: usize, payload: &[u8]) {
        if let Some(recording) = &mut self.ear.recording
            && recording.len() < RECORDING_LIMIT
            && let Some(start) = recording.len().checked_sub(behind)
        {
            for (sample, byte) in recording[start..].iter_mut().zip(payload) {
                *sample = self.law.decode(*byte);
            }
        }
        if let Source::Echo(queue) = &mut self.source
            && let Some(start) = queue.bytes.len().checked_sub(behind)
        {
            for (place, byte) in queue.bytes.range_mut(start..).zip(payload) {
                *place = *byte;
            }
        }
    }
}

fn samples(duration: Duration) -> usize {
    duration.as_millis() as usize * RATE_HZ as usize / 1_000
}

/// Reads a packet with the `rtp` crate. 0.17.2 panics at a header extension element that is longer
/// than its packet, so CSRC list, extension and padding are taken off before.
fn unmarshal(datagram: &[u8]) -> Option<WirePacket> {
    let header = Header::parse(datagram).ok()?;
    let mut bare = datagram[..HEADER_LEN].to_vec();
    bare[0] = 0x80;
    bare.extend(header.payload(datagram));
    WirePacket::unmarshal(&mut bare.as_slice()).ok()
}
