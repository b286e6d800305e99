//! RTP packets in the buffer they came in (RFC 3550 §5.1, §5.3.1): reads the header, finds the
//! payload, rewrites single fields. Never allocates; the per-packet path uses nothing else.
//!
//! Does not look into header extensions (RFC 8285); they are skipped and travel along unchanged.

use thiserror::Error;

/// The fixed part of the header.
pub const HEADER_LEN: usize = 12;

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtpError {
    /// The packet ends within its header.
    #[error("rtp packet too short")]
    Short,
    /// The version is not 2.
    #[error("rtp version is not 2")]
    Version,
    /// The padding count does not fit the payload.
    #[error("rtp padding does not fit the packet")]
    Padding,
}

/// What a datagram on a media port is, by its first bytes (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// Anything else: ZRTP, TURN channel data, noise.
    Other,
}

impl PacketKind {
    /// Looks at the first two bytes.
    pub fn of(packet: &[u8]) -> Self {
        match packet {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            // RFC 5761 §4: RTCP types 192-223 stand where RTP has marker and payload type 64-95.
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// What an RTP header says, and where the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit: for audio, the first packet of a talk spurt.
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload type's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Where the payload begins: header, CSRC list and extension are before it.
    pub payload_start: usize,
    /// Where the payload ends: padding is behind it.
    pub payload_end: usize,
}

impl Header {
    /// Reads a plain packet.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let mut header = Self::parse_protected(packet)?;
        if packet[0] & 0x20 != 0 {
            let padding = usize::from(packet[packet.len() - 1]);
            // RFC 3550 §5.1: the count includes itself, so 0 is no padding.
            if padding == 0 || padding > packet.len() - header.payload_start {
                return Err(RtpError::Padding);
            }
            header.payload_end -= padding;
        }
        Ok(header)
    }

    /// Reads a packet whose payload is encrypted: padding is part of what is hidden (RFC 3711
    /// §3.1), so `payload_end` is the end of the packet.
    pub fn parse_protected(packet: &[u8]) -> Result<Self, RtpError> {
        let Some(fixed) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(RtpError::Short);
        };
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if b0 >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut payload_start = HEADER_LEN + 4 * usize::from(b0 & 0x0f);
        if b0 & 0x10 != 0 {
            let Some([_, _, high, low]) = packet.get(payload_start..payload_start + 4) else {
                return Err(RtpError::Short);
            };
            payload_start += 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
        }
        if payload_start > packet.len() {
            return Err(RtpError::Short);
        }
        Ok(Self {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload_start,
            payload_end: packet.len(),
        })
    }

    /// The payload of the packet that the header was read from.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet
            .get(self.payload_start..self.payload_end)
            .unwrap_or(&[])
    }

    /// Writes a packet of this header (without CSRC list, extension and padding; the two payload
    /// positions are not read) and `payload` to the front of `buffer`; the length, or `None` if
    /// it does not fit.
    pub fn write(&self, payload: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let len = HEADER_LEN + payload.len();
        let packet = buffer.get_mut(..len)?;
        packet[HEADER_LEN..].copy_from_slice(payload);
        self.write_before(packet);
        Some(len)
    }

    /// Writes this header to the front of `packet`, before a payload that stands there at
    /// [`HEADER_LEN`].
    pub fn write_before(&self, packet: &mut [u8]) {
        let Some(head) = packet.first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        head[0] = 0x80;
        head[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        head[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        head[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        head[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Replaces the payload type; the marker stays. Shorter slices than a header are left alone, as
/// with the other setters.
pub fn set_payload_type(packet: &mut [u8], payload_type: u8) {
    if let Some(byte) = packet.get_mut(1) {
        *byte = *byte & 0x80 | payload_type & 0x7f;
    }
}

/// Replaces the marker bit.
pub fn set_marker(packet: &mut [u8], marker: bool) {
    if let Some(byte) = packet.get_mut(1) {
        *byte = *byte & 0x7f | u8::from(marker) << 7;
    }
}

/// Replaces the sequence number.
pub fn set_sequence(packet: &mut [u8], sequence: u16) {
    if let Some(bytes) = packet.get_mut(2..4) {
        bytes.copy_from_slice(&sequence.to_be_bytes());
    }
}

/// Replaces the timestamp.
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) {
    if let Some(bytes) = packet.get_mut(4..8) {
        bytes.copy_from_slice(&timestamp.to_be_bytes());
    }
}

/// Replaces the synchronization source.
pub fn set_ssrc(packet: &mut [u8], ssrc: u32) {
    if let Some(bytes) = packet.get_mut(8..12) {
        bytes.copy_from_slice(&ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TokenMaker;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 0xfffe,
        timestamp: 0xdead_beef,
        ssrc: 0xcafe_babe,
        payload_start: 12,
        payload_end: 15,
    };

    #[test]
    fn a_written_header_is_read_back() {
        let mut buffer = [0; 32];
        let len = HEADER.write(b"abc", &mut buffer).unwrap();
        let header = Header::parse(&buffer[..len]).unwrap();
        assert_eq!(header, HEADER);
        assert_eq!(header.payload(&buffer), b"abc");
        assert_eq!(HEADER.write(&[0; 21], &mut buffer), None);
    }

    #[test]
    fn csrc_list_extension_and_padding_are_not_payload() {
        let mut packet = vec![0xb2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend([9; 8]); // two CSRCs
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]); // an extension of one word
        packet.extend(b"hello");
        packet.extend([0, 0, 3]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), b"hello");
        assert_eq!(Header::parse_protected(&packet).unwrap().payload_end, 36);
        for wrong in [0, 9] {
            *packet.last_mut().unwrap() = wrong;
            assert_eq!(Header::parse(&packet), Err(RtpError::Padding));
        }
    }

    #[test]
    fn setters_touch_their_field_only() {
        let mut buffer = [0; 32];
        let len = HEADER.write(b"abc", &mut buffer).unwrap();
        set_payload_type(&mut buffer, 8);
        set_marker(&mut buffer, false);
        set_sequence(&mut buffer, 7);
        set_timestamp(&mut buffer, 160);
        set_ssrc(&mut buffer, 1);
        let header = Header::parse(&buffer[..len]).unwrap();
        let wanted = Header {
            marker: false,
            payload_type: 8,
            sequence: 7,
            timestamp: 160,
            ssrc: 1,
            payload_start: 12,
            payload_end: 15,
        };
        assert_eq!(header, wanted);
        set_sequence(&mut [0; 3], 1);
    }

    #[test]
    fn datagrams_are_told_apart_by_their_first_bytes() {
        assert_eq!(PacketKind::of(&[0, 1]), PacketKind::Stun);
        assert_eq!(PacketKind::of(&[22, 254]), PacketKind::Dtls);
        assert_eq!(PacketKind::of(&[0x80, 0]), PacketKind::Rtp);
        assert_eq!(PacketKind::of(&[0x80, 0x80 | 101]), PacketKind::Rtp);
        assert_eq!(PacketKind::of(&[0x80, 200]), PacketKind::Rtcp);
        assert_eq!(PacketKind::of(&[16, 0]), PacketKind::Other);
        assert_eq!(PacketKind::of(&[]), PacketKind::Other);
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let mut tokens = TokenMaker::new([1; 32]);
        for _ in 0..20_000 {
            let mut packet = vec![0; tokens.below(64) as usize];
            tokens.fill(&mut packet);
            if let Some(first) = packet.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            if let Ok(header) = Header::parse(&packet) {
                assert!(header.payload(&packet).len() <= packet.len());
            }
        }
    }
}
