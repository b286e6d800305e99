//! RTCP (RFC 3550 §6): compound packets written and read in place, reception statistics (§A.1
//! sequence numbers, §A.3 loss, §A.8 jitter) and round trips (§6.4.1). Never allocates.
//!
//! Reads sender and receiver reports, SDES names, BYE and feedback (RFC 4585, RFC 2032 §5.2.1); extended
//! reports (RFC 3611) come out as [`Packet::Other`]. Does not schedule (§6.3): a call has two
//! members, so a report each 5 s at each end is within the rules (§6.2).

use std::time::{Duration, Instant};

use thiserror::Error;

/// Time between two compound packets of ours (RFC 3550 §6.2: 5 s at least).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Report blocks in one report at most (5 bits, RFC 3550 §6.4.1).
pub const BLOCKS_LIMIT: usize = 31;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const BLOCK_LEN: usize = 24;

/// RFC 2032 §5.2.1: the older way to ask for a picture.
const INTRA_REQUEST: u8 = 192;
/// RFC 4585 §6.2: feedback about packets.
pub const TO_TRANSPORT: u8 = 205;
/// RFC 4585 §6.3: feedback about what packets hold.
pub const TO_PAYLOAD: u8 = 206;

/// Why bytes are no compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// A packet ends within itself.
    #[error("rtcp packet too short")]
    Short,
    /// The version is not 2.
    #[error("rtcp version is not 2")]
    Version,
    /// Padding stands elsewhere than in the last packet, or does not fit it.
    #[error("rtcp padding does not fit the packet")]
    Padding,
}

/// What a sender tells of its stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was sent, as [`NtpClock`] tells it.
    pub ntp: u64,
    /// The same moment on the stream's clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent, modulo 2^32.
    pub octets: u32,
}

/// What a receiver tells of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Share of packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning: 24 bits, negative if there were duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number, with the count of its wraps above.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time in the sender's last report; 0 if there was none.
    pub last_sender_report: u32,
    /// Since that report came, in 1/65536 s.
    pub delay: u32,
}

impl ReportBlock {
    /// How long packets take there and back, if the block answers a sender report of ours
    /// (RFC 3550 §6.4.1); `now` on the clock that the report was stamped by. `None` if the
    /// numbers cannot be true.
    pub fn round_trip(&self, clock: &NtpClock, now: Instant) -> Option<Duration> {
        if self.last_sender_report == 0 {
            return None;
        }
        let trip = middle(clock.at(now))
            .wrapping_sub(self.last_sender_report)
            .wrapping_sub(self.delay);
        // 2^31 units are over 9 h: the difference was negative.
        (trip < 1 << 31).then(|| Duration::from_nanos((u64::from(trip) * 1_000_000_000) >> 16))
    }

    fn write(&self, out: &mut [u8; BLOCK_LEN]) {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let words = [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sender_report,
            self.delay,
        ];
        for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }

    fn read(block: &[u8]) -> Self {
        let lost = word(block, 1) & 0xff_ffff;
        Self {
            ssrc: word(block, 0),
            fraction_lost: (word(block, 1) >> 24) as u8,
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence: word(block, 2),
            jitter: word(block, 3),
            last_sender_report: word(block, 4),
            delay: word(block, 5),
        }
    }
}

/// Wall-clock stamps from a clock that knows only durations: time since `start`, which RFC 3550
/// §4 allows to a sender without a notion of the date.
#[derive(Clone, Copy, Debug)]
pub struct NtpClock {
    start: Instant,
}

impl NtpClock {
    /// Starts the count. It begins with one hour: 0 in a report block means "no report".
    pub fn new(start: Instant) -> Self {
        Self { start }
    }

    /// The NTP timestamp of `now`: seconds above, 2^-32 s below.
    pub fn at(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start) + Duration::from_secs(3600);
        (elapsed.as_secs() << 32) | ((u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A compound packet in the making. What does not fit the buffer is left out.
#[derive(Debug)]
pub struct Compound<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Compound<'a> {
    /// Starts with an empty packet in `buffer`; 256 bytes are enough for a report with a name
    /// and a BYE.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Appends a sender report (with `info`) or a receiver report. Each compound packet begins
    /// with one (RFC 3550 §6.1), may it be empty.
    pub fn report(&mut self, ssrc: u32, info: Option<SenderInfo>, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(BLOCKS_LIMIT)];
        let kind = match info {
            Some(_) => SENDER_REPORT,
            None => RECEIVER_REPORT,
        };
        let head = if info.is_some() { 24 } else { 4 };
        let body = head + blocks.len() * BLOCK_LEN;
        let Some(body) = self.packet(kind, blocks.len() as u8, body) else {
            return;
        };
        put_word(body, 0, ssrc);
        if let Some(info) = info {
            put_word(body, 1, (info.ntp >> 32) as u32);
            put_word(body, 2, info.ntp as u32);
            put_word(body, 3, info.rtp_timestamp);
            put_word(body, 4, info.packets);
            put_word(body, 5, info.octets);
        }
        let (places, _) = body[head..].as_chunks_mut::<BLOCK_LEN>();
        for (place, block) in places.iter_mut().zip(blocks) {
            block.write(place);
        }
    }

    /// Appends the canonical name of `ssrc` (RFC 3550 §6.5.1); required in each compound packet.
    pub fn name(&mut self, ssrc: u32, name: &str) {
        let name = &name.as_bytes()[..name.len().min(255)];
        // The item list ends with one null byte at least, at a word's border.
        let body = 4 + (2 + name.len() + 1).next_multiple_of(4);
        let Some(body) = self.packet(SOURCE_DESCRIPTION, 1, body) else {
            return;
        };
        put_word(body, 0, ssrc);
        body[4] = 1; // CNAME
        body[5] = name.len() as u8;
        body[6..6 + name.len()].copy_from_slice(name);
    }

    /// Appends the leave-taking of `ssrc` (RFC 3550 §6.6).
    pub fn bye(&mut self, ssrc: u32) {
        if let Some(body) = self.packet(GOODBYE, 1, 4) {
            put_word(body, 0, ssrc);
        }
    }

    /// Appends feedback of `ssrc` about the stream `media` (RFC 4585 §6.1); `fci` are whole words.
    pub fn feedback(&mut self, packet_type: u8, format: u8, ssrc: u32, media: u32, fci: &[u8]) {
        let fci = &fci[..fci.len() / 4 * 4];
        if let Some(body) = self.packet(packet_type, format & 0x1f, 8 + fci.len()) {
            put_word(body, 0, ssrc);
            put_word(body, 1, media);
            body[8..].copy_from_slice(fci);
        }
    }

    /// The length so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of the packet.
    pub fn finish(self) -> usize {
        self.len
    }

    /// Appends a packet header and returns the zeroed body. `body` is a multiple of 4.
    fn packet(&mut self, kind: u8, count: u8, body: usize) -> Option<&mut [u8]> {
        let packet = self.buffer.get_mut(self.len..self.len + 4 + body)?;
        self.len += packet.len();
        let (head, body) = packet.split_at_mut(4);
        let words = (body.len() / 4) as u16;
        head.copy_from_slice(&[0x80 | count, kind, (words >> 8) as u8, words as u8]);
        body.fill(0);
        Some(body)
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A report of someone who sends.
    SenderReport {
        /// Whose.
        ssrc: u32,
        /// Its own stream.
        info: SenderInfo,
        /// What it receives.
        blocks: Blocks<'a>,
    },
    /// A report of someone who only receives.
    ReceiverReport {
        /// Whose.
        ssrc: u32,
        /// What it receives.
        blocks: Blocks<'a>,
    },
    /// The canonical name of the first source described.
    Name {
        /// Whose.
        ssrc: u32,
        /// The name; UTF-8 by the standard, not checked.
        name: &'a [u8],
    },
    /// Someone leaves.
    Bye {
        /// The first of those who leave; a BYE may be empty.
        ssrc: Option<u32>,
    },
    /// A receiver asks for something (RFC 4585).
    Feedback {
        /// [`TO_TRANSPORT`] or [`TO_PAYLOAD`].
        packet_type: u8,
        /// What it asks for.
        format: u8,
        /// Who asks.
        ssrc: u32,
        /// Whose stream it is about; 0 where `fci` says that.
        media: u32,
        /// The details.
        fci: &'a [u8],
    },
    /// A receiver asks for a whole picture (RFC 2032).
    IntraRequest {
        /// Whose.
        ssrc: u32,
    },
    /// Another type.
    Other {
        /// Its number.
        packet_type: u8,
    },
}

/// The report blocks of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_at_checked(BLOCK_LEN)?;
        self.0 = rest;
        Some(ReportBlock::read(block))
    }
}

/// The packets of a compound, which was checked as a whole (RFC 3550 §A.2).
#[derive(Clone, Copy, Debug)]
pub struct Packets<'a>(&'a [u8]);

impl<'a> Packets<'a> {
    /// Checks a compound packet. It may begin with any type (RFC 5506 reduced-size packets).
    pub fn parse(compound: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = compound;
        if rest.len() < 8 {
            return Err(RtcpError::Short);
        }
        while !rest.is_empty() {
            let Some([first, _, high, low]) = rest.first_chunk::<4>() else {
                return Err(RtcpError::Short);
            };
            if first >> 6 != 2 {
                return Err(RtcpError::Version);
            }
            let len = 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
            let (packet, after) = rest.split_at_checked(len).ok_or(RtcpError::Short)?;
            if first & 0x20 != 0 {
                let padding = usize::from(packet[len - 1]);
                if !after.is_empty() || padding == 0 || padding > len - 4 {
                    return Err(RtcpError::Padding);
                }
            }
            rest = after;
        }
        Ok(Self(compound))
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (head, _) = self.0.split_at_checked(4)?;
        let len = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (packet, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let mut body = &packet[4..];
        if packet[0] & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        Some(read_packet(packet[1], usize::from(packet[0] & 0x1f), body))
    }
}

fn read_packet(packet_type: u8, count: usize, body: &[u8]) -> Packet<'_> {
    let blocks = |from: usize| {
        let end = body.len().min(from + count * BLOCK_LEN);
        Blocks(&body[from..end])
    };
    match packet_type {
        SENDER_REPORT if body.len() >= 24 => Packet::SenderReport {
            ssrc: word(body, 0),
            info: SenderInfo {
                ntp: u64::from(word(body, 1)) << 32 | u64::from(word(body, 2)),
                rtp_timestamp: word(body, 3),
                packets: word(body, 4),
                octets: word(body, 5),
            },
            blocks: blocks(24),
        },
        RECEIVER_REPORT if body.len() >= 4 => Packet::ReceiverReport {
            ssrc: word(body, 0),
            blocks: blocks(4),
        },
        SOURCE_DESCRIPTION => match cname(body) {
            Some(name) if count > 0 => Packet::Name {
                ssrc: word(body, 0),
                name,
            },
            _ => Packet::Other { packet_type },
        },
        GOODBYE => Packet::Bye {
            ssrc: (count > 0 && body.len() >= 4).then(|| word(body, 0)),
        },
        TO_TRANSPORT | TO_PAYLOAD if body.len() >= 8 => Packet::Feedback {
            packet_type,
            format: count as u8,
            ssrc: word(body, 0),
            media: word(body, 1),
            fci: &body[8..],
        },
        INTRA_REQUEST if body.len() >= 4 => Packet::IntraRequest {
            ssrc: word(body, 0),
        },
        _ => Packet::Other { packet_type },
    }
}

/// The first CNAME item of the first chunk.
fn cname(chunk: &[u8]) -> Option<&[u8]> {
    let mut items = chunk.get(4..)?;
    loop {
        let [kind, len, ..] = items else {
            return None;
        };
        let (item, rest) = items[2..].split_at_checked(usize::from(*len))?;
        match kind {
            0 => return None,
            1 => return Some(item),
            _ => items = rest,
        }
    }
}

/// The word at `4 * at`; 0 behind the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(4 * at..4 * at + 4) {
        Some([a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

fn put_word(bytes: &mut [u8], at: usize, word: u32) {
    bytes[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
}

/// Watches what comes from a peer. Follows the SSRC in force: a change begins a stream anew, and
/// the totals go on.
#[derive(Clone, Debug)]
pub struct Reception {
    epoch: Instant,
    stream: Option<Stream>,
    /// Of the streams before this one.
    received_before: u64,
    lost_before: u64,
    duplicates: u64,
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    first: u32,
    /// Highest sequence number with its wraps above.
    highest: u32,
    /// Bit `n` stands for `highest - n`.
    seen: u64,
    /// The sequence number that would prove a restart (RFC 3550 §A.1).
    suspect: Option<u16>,
    /// All packets, as §A.3 counts them, duplicates too.
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Transit time of the packet before, and the clock it is in units of.
    timing: Option<(u32, u32)>,
    /// In 1/16 units of the clock.
    jitter: u64,
    last_sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Starts without a stream.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            stream: None,
            received_before: 0,
            lost_before: 0,
            duplicates: 0,
        }
    }

    /// Counts an RTP packet. `clock_hz` is that of its payload type.
    pub fn receive(
        &mut self,
        now: Instant,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        clock_hz: u32,
    ) {
        let arrival = units(
            now.saturating_duration_since(self.epoch),
            u64::from(clock_hz),
        );
        self.count(
            ssrc,
            sequence,
            Some((arrival.wrapping_sub(timestamp), clock_hz)),
        );
    }

    /// Counts an RTP packet whose timestamp says nothing of when it was sent: telephone-event
    /// packets all carry the begin of their event. Leaves the jitter as it is.
    pub fn receive_untimed(&mut self, ssrc: u32, sequence: u16) {
        self.count(ssrc, sequence, None);
    }

    /// `timing` is the transit time and the clock it is in units of.
    fn count(&mut self, ssrc: u32, sequence: u16, timing: Option<(u32, u32)>) {
        // RFC 3550 §A.1: larger steps are a restart of the sender, or noise.
        const DROPOUT_LIMIT: u16 = 3_000;
        const DISORDER_LIMIT: u16 = 100;

        let stream = match &mut self.stream {
            Some(stream) if stream.ssrc == ssrc => stream,
            _ => {
                self.restart(ssrc, sequence, timing);
                return;
            }
        };
        let ahead = sequence.wrapping_sub(stream.highest as u16);
        if (1..DROPOUT_LIMIT).contains(&ahead) {
            stream.highest = stream.highest.wrapping_add(u32::from(ahead));
            stream.seen = stream.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        } else if ahead != 0 && ahead <= u16::MAX - DISORDER_LIMIT {
            if stream.suspect == Some(sequence) {
                self.restart(ssrc, sequence, timing);
            } else {
                stream.suspect = Some(sequence.wrapping_add(1));
            }
            return;
        } else {
            let bit = 1u64
                .checked_shl(u32::from(ahead.wrapping_neg()))
                .unwrap_or(0);
            if stream.seen & bit != 0 {
                self.duplicates += 1;
            }
            stream.seen |= bit;
        }
        stream.suspect = None;
        stream.received += 1;
        let Some(timing) = timing else {
            return;
        };
        if let Some((before, clock_hz)) = stream.timing
            && clock_hz == timing.1
        {
            // RFC 3550 §A.8, the integer form.
            let difference = u64::from((timing.0.wrapping_sub(before) as i32).unsigned_abs());
            stream.jitter = (stream.jitter + difference).saturating_sub((stream.jitter + 8) >> 4);
        }
        stream.timing = Some(timing);
    }

    /// Notes a sender report of the peer, for the next report block.
    pub fn receive_report(&mut self, now: Instant, ssrc: u32, info: &SenderInfo) {
        if let Some(stream) = &mut self.stream
            && stream.ssrc == ssrc
        {
            stream.last_sender_report = Some((middle(info.ntp), now));
        }
    }

    /// The block for the next report; counts the interval of the one after from here.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let stream = self.stream.as_mut()?;
        let expected = stream.expected();
        let lost = expected as i64 - stream.received as i64;
        let expected_here = expected.saturating_sub(stream.expected_before);
        let received_here = stream.received.saturating_sub(stream.received_before);
        stream.expected_before = expected;
        stream.received_before = stream.received;
        let lost_here = expected_here.saturating_sub(received_here);
        let (last_sender_report, delay) = match stream.last_sender_report {
            Some((stamp, at)) => (stamp, units(now.saturating_duration_since(at), 65_536)),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: stream.ssrc,
            fraction_lost: (lost_here * 256)
                .checked_div(expected_here)
                .map_or(0, |share| share.min(255) as u8),
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: stream.highest,
            jitter: stream.jitter_units(),
            last_sender_report,
            delay,
        })
    }

    /// The stream in force.
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    /// RTP packets that came, duplicates too.
    pub fn received(&self) -> u64 {
        self.received_before + self.stream.as_ref().map_or(0, |stream| stream.received)
    }

    /// RTP packets that did not come (RFC 3550 §A.3, but never below 0).
    pub fn lost(&self) -> u64 {
        self.lost_before + self.stream.as_ref().map_or(0, Stream::lost)
    }

    /// RTP packets that came again, as far as they came within 64 packets.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        let Some(stream) = &self.stream else {
            return Duration::ZERO;
        };
        let clock_hz = stream.timing.map_or(0, |(_, clock_hz)| clock_hz);
        (u64::from(stream.jitter_units()) * 1_000_000_000)
            .checked_div(u64::from(clock_hz))
            .map_or(Duration::ZERO, Duration::from_nanos)
    }

    fn restart(&mut self, ssrc: u32, sequence: u16, timing: Option<(u32, u32)>) {
        self.received_before = self.received();
        self.lost_before = self.lost();
        self.stream = Some(Stream {
            ssrc,
            first: u32::from(sequence),
            highest: u32::from(sequence),
            seen: 1,
            suspect: None,
            received: 1,
            expected_before: 0,
            received_before: 0,
            timing,
            jitter: 0,
            last_sender_report: None,
        });
    }
}

impl Stream {
    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.first)) + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn jitter_units(&self) -> u32 {
        (self.jitter >> 4).min(u64::from(u32::MAX)) as u32
    }
}

/// A duration in 1/`hz` s, modulo 2^32.
fn units(duration: Duration, hz: u64) -> u32 {
    let whole = duration.as_secs().wrapping_mul(hz);
    let part = u64::from(duration.subsec_nanos()) * hz / 1_000_000_000;
    whole.wrapping_add(part) as u32
}

#[cfg(test)]
#[path = "rtcp_tests.rs"]
mod tests;
