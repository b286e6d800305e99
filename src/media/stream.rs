//! What the peer of a side hears of us.
//!
//! Toward a peer there is one synchronization source for the whole call, whoever speaks on the
//! other side: a transfer or music on hold behind it changes nothing for the peer, and an SRTP key
//! never meets the same source and sequence number twice. Sequence numbers keep the gaps that loss
//! made, so that the peer can conceal it, and close those that we made ourselves.

use std::time::{Duration, Instant};

use super::rtp::{self, Header};

/// A step by more is another start of the source (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3000;

/// What the peer hears of us.
#[derive(Clone, Debug)]
pub struct Sending {
    ssrc: u32,
    from: Option<From>,
    sequence: u16,
    timestamp: u32,
    at: Option<Instant>,
    /// Where the next frame of our own encoding stands.
    next_frame: Option<u32>,
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

/// Where a frame that we encoded stands behind the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Where that one ends.
    AtOnce,
    /// So many ticks after its end: nothing was sent of a pause in speech.
    After(u32),
    /// Where the clock is: the stream had stopped.
    Anew,
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
            next_frame: None,
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
        rtp::set_sequence(packet, sequence);
        rtp::set_timestamp(packet, timestamp);
        rtp::set_ssrc(packet, self.ssrc);
        self.packets += 1;
        self.octets += (header.payload_end - header.payload_start) as u64;
    }

    /// Translates the numbers of a NACK about our stream (RFC 4585 §6.2.1) into those of the source on
    /// the other side, as many as there is room for.
    pub fn renumbered<'a>(&self, fci: &[u8], room: &'a mut [u8]) -> &'a [u8] {
        let Some(from) = &self.from else {
            return &[];
        };
        let mut len = 0;
        for (entry, place) in fci.chunks_exact(4).zip(room.chunks_exact_mut(4)) {
            let sequence = u16::from_be_bytes([entry[0], entry[1]]).wrapping_sub(from.sequence);
            place[..2].copy_from_slice(&sequence.to_be_bytes());
            place[2..].copy_from_slice(&entry[2..]);
            len += 4;
        }
        &room[..len]
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
            let near = !(MAX_DROPOUT..=u16::MAX - MAX_DROPOUT).contains(&step);
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

    /// Notes that a packet of the other side is not forwarded, so that no gap shows. A late one
    /// leaves its gap: the packets behind it have their numbers.
    pub fn skip(&mut self, header: &Header) {
        if let Some(from) = &mut self.from
            && from.ssrc == header.ssrc
        {
            let sequence = header.sequence.wrapping_add(from.sequence);
            let step = sequence.wrapping_sub(self.sequence);
            if (1..MAX_DROPOUT).contains(&step) {
                from.sequence = from.sequence.wrapping_sub(1);
            }
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

    /// Numbers a frame that we encoded ourselves: sequence number, timestamp, and whether the stream
    /// begins anew with it. A packet that is forwarded after it is counted from it.
    pub fn frame(
        &mut self,
        now: Instant,
        clock_hz: u32,
        ticks: u32,
        octets: usize,
        follows: Follows,
    ) -> (u16, u32, bool) {
        let present = self.timestamp_at(now, clock_hz);
        let near = |at: &u32| (at.wrapping_sub(present) as i32).unsigned_abs() < clock_hz;
        let place = |end: u32| match follows {
            Follows::AtOnce => Some(end),
            Follows::After(pause) => Some(end.wrapping_add(pause)),
            Follows::Anew => None,
        };
        let follows = self.next_frame.and_then(place).filter(near);
        let timestamp = follows.unwrap_or(present);
        let sequence = match self.at {
            Some(_) => self.sequence.wrapping_add(1),
            None => self.sequence,
        };
        self.next_frame = Some(timestamp.wrapping_add(ticks));
        self.from = None;
        self.advance(now, sequence, timestamp);
        self.packets += 1;
        self.octets += octets as u64;
        (sequence, timestamp, follows.is_none())
    }

    /// Leaves a frame out that has no place to go.
    pub fn skip_frame(&mut self, ticks: u32) {
        self.next_frame = self.next_frame.map(|at| at.wrapping_add(ticks));
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
        sending.skip(&header(1, 14, 4 * 160));
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
