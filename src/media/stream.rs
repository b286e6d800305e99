//! The two ends of an RTP stream of ours: what we have heard of the peer's (RFC 3550 §A.1, §A.3,
//! §A.8), and what the peer hears of us.
//!
//! Toward a peer there is one synchronization source for the whole call, whoever speaks on the
//! other side: a transfer or music on hold behind it changes nothing for the peer, and an SRTP key
//! never meets the same source and sequence number twice. Sequence numbers keep the gaps that loss
//! made, so that the peer can conceal it, and close those that we made ourselves.

use std::time::{Duration, Instant};

use super::rtp::{self, Header};

/// A jump by more is a new start of the stream and no loss (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3000;

/// What we have heard of the peer's stream.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    /// Packets that never came in streams that are over.
    lost_before: u64,
    /// In timestamp units, times 16.
    jitter: u32,
    clock_hz: u32,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    base: u64,
    highest: u64,
    received: u64,
    transit: Option<u32>,
    reported_expected: u64,
    reported_received: u64,
}

/// What a report block says of a stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The stream.
    pub ssrc: u32,
    /// Share of the packets since the last report that were lost, in 256ths.
    pub fraction: u8,
    /// Packets lost since the stream began.
    pub lost: i32,
    /// The highest sequence number with its roll-overs.
    pub highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

impl Reception {
    /// Counts a valid packet. True if it is the newest of its stream so far, false if it is late
    /// or doubled.
    pub fn count(&mut self, since_start: Duration, header: &Header, clock_hz: u32) -> bool {
        if self.clock_hz != clock_hz {
            self.clock_hz = clock_hz;
            self.jitter = 0;
            if let Some(source) = &mut self.source {
                source.transit = None;
            }
        }
        let newest = self.count_event(header);
        if let (true, Some(source)) = (newest, &mut self.source) {
            // RFC 3550 §A.8, in integers.
            let arrival = ticks(since_start, clock_hz);
            let transit = arrival.wrapping_sub(header.timestamp);
            if let Some(before) = source.transit {
                let d = (transit.wrapping_sub(before) as i32).unsigned_abs();
                // A new talk spurt may jump; a minute of jitter is none.
                if d < clock_hz.saturating_mul(60) {
                    let decay = (self.jitter + 8) >> 4;
                    self.jitter = (self.jitter - decay).saturating_add(d);
                }
            }
            source.transit = Some(transit);
        }
        newest
    }

    /// As [`Self::count`], for packets whose timestamps say nothing of their arrival
    /// (telephone-event).
    pub fn count_event(&mut self, header: &Header) -> bool {
        let sequence = header.sequence;
        let new = |lost: &mut u64, old: Option<&Source>| {
            *lost += old.map_or(0, Source::lost);
            Source {
                ssrc: header.ssrc,
                base: u64::from(sequence),
                highest: u64::from(sequence),
                received: 1,
                transit: None,
                reported_expected: 0,
                reported_received: 0,
            }
        };
        match &mut self.source {
            Some(source) if source.ssrc == header.ssrc => {
                let ahead = sequence.wrapping_sub(source.highest as u16);
                if ahead == 0 {
                    source.received += 1;
                    false
                } else if ahead < MAX_DROPOUT {
                    source.highest += u64::from(ahead);
                    source.received += 1;
                    true
                } else if ahead > u16::MAX - MAX_DROPOUT {
                    source.received += 1;
                    false
                } else {
                    let fresh = new(&mut self.lost_before, Some(source));
                    *source = fresh;
                    true
                }
            }
            old => {
                let fresh = new(&mut self.lost_before, old.as_ref());
                *old = Some(fresh);
                true
            }
        }
    }

    /// The stream that is heard at present.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|s| s.ssrc)
    }

    /// Packets that never came, in all.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        match self.clock_hz {
            0 => Duration::ZERO,
            hz => Duration::from_micros(u64::from(self.jitter >> 4) * 1_000_000 / u64::from(hz)),
        }
    }

    /// What a report says, and the start of the next report's interval.
    pub fn report(&mut self) -> Option<Reported> {
        let jitter = self.jitter >> 4;
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let expected_since = expected - source.reported_expected;
        let received_since = source.received - source.reported_received;
        source.reported_expected = expected;
        source.reported_received = source.received;
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction = if expected_since == 0 {
            0
        } else {
            (lost_since * 256 / expected_since).min(255) as u8
        };
        let lost = i64::try_from(expected).unwrap_or(i64::MAX)
            - i64::try_from(source.received).unwrap_or(i64::MAX);
        Some(Reported {
            ssrc: source.ssrc,
            fraction,
            // RFC 3550 §6.4.1: 24 bits, signed.
            lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: source.highest as u32,
            jitter,
        })
    }
}

impl Source {
    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

/// What the peer hears of us.
#[derive(Clone, Debug)]
pub struct Sending {
    ssrc: u32,
    from: Option<From>,
    sequence: u16,
    timestamp: u32,
    at: Option<Instant>,
    /// Packets sent.
    pub packets: u64,
    /// Payload bytes sent.
    pub octets: u64,
}

/// How the present source on the other side is mapped.
#[derive(Clone, Copy, Debug)]
struct From {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// A packet this much ahead or behind of what its clock says is a jump of the source's clock.
const MAX_CLOCK_JUMP: Duration = Duration::from_secs(10);

impl Sending {
    /// Starts a stream at the given numbers. The sequence number should be below 2^15, so that
    /// losing the first packets does not hide a roll-over from SRTP (RFC 3711 §3.3.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            from: None,
            sequence: sequence & 0x7fff,
            timestamp,
            at: None,
            packets: 0,
            octets: 0,
        }
    }

    /// Our synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// True if nothing was sent.
    pub fn is_fresh(&self) -> bool {
        self.at.is_none()
    }

    /// The timestamp of a sample taken at `now`.
    pub fn timestamp_at(&self, now: Instant, clock_hz: u32) -> u32 {
        let since = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.timestamp.wrapping_add(ticks(since, clock_hz))
    }

    /// Numbers a packet that comes from the other side and is forwarded.
    pub fn rewrite(&mut self, now: Instant, packet: &mut [u8], header: &Header, clock_hz: u32) {
        let (sequence, timestamp) = self.map(now, header, clock_hz);
        self.advance(now, sequence, timestamp);
        let switched = self.packets == 0;
        rtp::set_sequence(packet, sequence);
        rtp::set_timestamp(packet, timestamp);
        rtp::set_ssrc(packet, self.ssrc);
        if switched {
            rtp::set_marker(packet, true);
        }
        self.packets += 1;
        self.octets += (header.payload_end - header.payload_start) as u64;
    }

    /// Where a packet of the other side stands in our stream.
    pub fn map(&mut self, now: Instant, header: &Header, clock_hz: u32) -> (u16, u32) {
        let expected = self.timestamp_at(now, clock_hz);
        let fits = |from: &From| {
            let timestamp = header.timestamp.wrapping_add(from.timestamp);
            let off = (timestamp.wrapping_sub(expected) as i32).unsigned_abs();
            let limit = clock_hz.saturating_mul(MAX_CLOCK_JUMP.as_secs() as u32);
            let sequence = header.sequence.wrapping_add(from.sequence);
            let step = sequence.wrapping_sub(self.sequence);
            let near = step < MAX_DROPOUT || step > u16::MAX - MAX_DROPOUT;
            from.ssrc == header.ssrc && near && off < limit
        };
        let from = match self.from {
            Some(from) if fits(&from) => from,
            _ => {
                let sequence = match self.at {
                    Some(_) => self.sequence.wrapping_add(1),
                    None => self.sequence,
                };
                From {
                    ssrc: header.ssrc,
                    sequence: sequence.wrapping_sub(header.sequence),
                    timestamp: expected.wrapping_sub(header.timestamp),
                }
            }
        };
        self.from = Some(from);
        (
            header.sequence.wrapping_add(from.sequence),
            header.timestamp.wrapping_add(from.timestamp),
        )
    }

    /// The timestamp of an event that begins on the other side. It is exact where the clocks are
    /// the same, so that it fits the sound around it; else it is the present.
    pub fn event_timestamp(
        &self,
        now: Instant,
        header: &Header,
        event_hz: u32,
        clock_hz: u32,
    ) -> u32 {
        let present = self.timestamp_at(now, clock_hz);
        match self.from {
            Some(from) if from.ssrc == header.ssrc && event_hz == clock_hz => {
                let exact = header.timestamp.wrapping_add(from.timestamp);
                let off = (exact.wrapping_sub(present) as i32).unsigned_abs();
                if off < clock_hz { exact } else { present }
            }
            _ => present,
        }
    }

    /// The sequence number of an event packet that is forwarded. Its timestamp stands still, so
    /// that it says nothing of the stream.
    pub fn forward_event(&mut self, now: Instant, header: &Header, clock_hz: u32) -> u16 {
        let present = self.timestamp_at(now, clock_hz);
        let mut running = *header;
        if let Some(from) = &self.from {
            running.timestamp = present.wrapping_sub(from.timestamp);
        }
        let (sequence, _) = self.map(now, &running, clock_hz);
        self.advance(now, sequence, present);
        self.packets += 1;
        self.octets += (header.payload_end - header.payload_start) as u64;
        sequence
    }

    /// Notes that a packet of the other side is not forwarded, so that no gap shows. Only for
    /// the newest packet.
    pub fn skip(&mut self, ssrc: u32) {
        if let Some(from) = &mut self.from
            && from.ssrc == ssrc
        {
            from.sequence = from.sequence.wrapping_sub(1);
        }
    }

    /// The sequence number of a packet that we make ourselves; what comes from the other side
    /// moves one on.
    pub fn insert(&mut self, now: Instant, clock_hz: u32, octets: usize) -> u16 {
        let sequence = match self.at {
            Some(_) => self.sequence.wrapping_add(1),
            None => self.sequence,
        };
        let timestamp = self.timestamp_at(now, clock_hz);
        self.advance(now, sequence, timestamp);
        if let Some(from) = &mut self.from {
            from.sequence = from.sequence.wrapping_add(1);
        }
        self.packets += 1;
        self.octets += octets as u64;
        sequence
    }

    fn advance(&mut self, now: Instant, sequence: u16, timestamp: u32) {
        let step = sequence.wrapping_sub(self.sequence);
        if self.at.is_none() || (step != 0 && step < 0x8000) {
            self.sequence = sequence;
            self.timestamp = timestamp;
            self.at = Some(now);
        }
    }
}

/// A duration in ticks of a clock; wraps as RTP timestamps do.
pub fn ticks(duration: Duration, clock_hz: u32) -> u32 {
    let ticks = duration.as_micros() * u128::from(clock_hz) / 1_000_000;
    ticks as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc,
            payload_start: 12,
            payload_end: 172,
        }
    }

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn loss_and_roll_over_are_counted() {
        let mut reception = Reception::default();
        for n in 0..100u16 {
            if n % 10 != 5 {
                let h = header(1, 65_500u16.wrapping_add(n), u32::from(n) * 160);
                assert!(reception.count(FRAME * u32::from(n), &h, 8000));
            }
        }
        assert_eq!(reception.lost(), 10);
        assert_eq!(reception.jitter(), Duration::ZERO);
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.fraction), (10, 25));
        assert_eq!(report.highest, 65_500 + 99);
        assert_eq!(reception.report().unwrap().fraction, 0);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_new_source_continues_the_stream() {
        let t0 = Instant::now();
        let mut sending = Sending::new(7, 100, 1000);
        assert_eq!(sending.map(t0, &header(1, 5000, 90_000), 8000), (100, 1000));
        sending.advance(t0, 100, 1000);
        let second = sending.map(t0 + FRAME, &header(1, 5001, 90_160), 8000);
        assert_eq!(second, (101, 1160));
        sending.advance(t0 + FRAME, 101, 1160);
        let other = sending.map(t0 + FRAME * 3, &header(2, 9, 55), 8000);
        assert_eq!(other, (102, 1480));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn loss_stays_visible_and_our_own_gaps_close() {
        let t0 = Instant::now();
        let mut sending = Sending::new(7, 100, 1000);
        let mut go = |at: u32, sequence: u16| {
            let h = header(1, sequence, at * 160);
            let (sequence, timestamp) = sending.map(t0 + FRAME * at, &h, 8000);
            sending.advance(t0 + FRAME * at, sequence, timestamp);
            (sequence, sending.clone())
        };
        assert_eq!(go(0, 10).0, 100);
        let (sequence, mut sending) = go(3, 13);
        assert_eq!(sequence, 103);
        sending.skip(1);
        let next = sending.map(t0 + FRAME * 5, &header(1, 15, 5 * 160), 8000);
        assert_eq!(next, (104, 1000 + 5 * 160));
        sending.advance(t0 + FRAME * 5, next.0, next.1);
        assert_eq!(sending.insert(t0 + FRAME * 6, 8000, 4), 105);
        assert_eq!(
            sending.map(t0 + FRAME * 6, &header(1, 16, 960), 8000).0,
            106
        );
    }
}
