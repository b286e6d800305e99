//! G.711: both laws, by table for decoding and by arithmetic for encoding. Samples are 16 bits
//! wide; µ-law carries 14 of them and A-law 13.

use std::sync::LazyLock;

/// Which law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law: encoding `PCMU`.
    Mu,
    /// A-law: encoding `PCMA`.
    A,
}

impl Law {
    /// The law of an RTP encoding name (RFC 3551 §6).
    pub fn from_encoding(encoding: &str) -> Option<Self> {
        match encoding {
            _ if encoding.eq_ignore_ascii_case("PCMU") => Some(Self::Mu),
            _ if encoding.eq_ignore_ascii_case("PCMA") => Some(Self::A),
            _ => None,
        }
    }

    /// The byte of silence.
    pub fn silence(self) -> u8 {
        self.encode(0)
    }

    /// One sample.
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => MU_TABLE[usize::from(byte)],
            Self::A => A_TABLE[usize::from(byte)],
        }
    }

    /// The byte of another law for each byte of this one, as near as it gets.
    pub fn mapped_to(self, other: Self) -> &'static [u8; 256] {
        static TABLES: LazyLock<[[u8; 256]; 4]> = LazyLock::new(|| {
            let table =
                |from: Law, to: Law| std::array::from_fn(|byte| to.encode(from.decode(byte as u8)));
            let (mu, a) = (Law::Mu, Law::A);
            [table(mu, mu), table(mu, a), table(a, mu), table(a, a)]
        });
        &TABLES[2 * usize::from(self == Self::A) + usize::from(other == Self::A)]
    }

    /// One sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => mu_encode(sample),
            Self::A => a_encode(sample),
        }
    }
}

static MU_TABLE: [i16; 256] = table(true);
static A_TABLE: [i16; 256] = table(false);

const fn table(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if mu {
            mu_decode(byte as u8)
        } else {
            a_decode(byte as u8)
        };
        byte += 1;
    }
    table
}

/// What is added before the logarithm, so that each segment starts at a power of two.
const MU_BIAS: i16 = 0x84;

const fn mu_decode(byte: u8) -> i16 {
    let bits = !byte;
    let segment = bits >> 4 & 7;
    let step = (bits & 0x0f) as i16;
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    if bits & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

fn mu_encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + MU_BIAS as u16;
    // The bias makes bit 7 the lowest that can be the highest one set.
    let segment = 8 - magnitude.leading_zeros();
    let step = magnitude >> (segment + 3) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

const fn a_decode(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let segment = bits >> 4 & 7;
    let step = (bits & 0x0f) as i16;
    // The middle of the step; segments 0 and 1 have the same step size.
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    if bits & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

fn a_encode(sample: i16) -> u8 {
    // -1 is in the first step below zero: the complement, not the negative.
    let (sign, magnitude) = if sample < 0 {
        (0, !sample as u16)
    } else {
        (0x80, sample as u16)
    };
    let segment = 8u32.saturating_sub(magnitude.leading_zeros());
    let shift = if segment == 0 { 4 } else { segment + 3 };
    let step = (magnitude >> shift) & 0x0f;
    (sign | (segment as u8) << 4 | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_both_laws() {
        let cases = [
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0x7f, 0),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0xfe, 8),
            (Law::Mu, 0xef, 132),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0x2a, -32_256),
            (Law::A, 0xc5, 264),
        ];
        for (law, byte, sample) in cases {
            assert_eq!(law.decode(byte), sample, "{law:?} {byte:02x}");
        }
        assert_eq!((Law::Mu.silence(), Law::A.silence()), (0xff, 0xd5));
    }

    #[test]
    fn decoded_samples_are_encoded_to_the_same_byte() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=255 {
                // µ-law has two zeros.
                if law == Law::Mu && byte == 0x7f {
                    continue;
                }
                assert_eq!(law.encode(law.decode(byte)), byte, "{law:?} {byte:02x}");
            }
        }
    }

    #[test]
    fn the_error_is_half_a_step_at_most() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = law.decode(law.encode(sample)).abs_diff(sample);
                let half_step = (sample.unsigned_abs() + 132) / 32 + 1;
                assert!(error <= half_step.max(8), "{law:?} {sample} {error}");
            }
        }
    }
}
