//! Encodings to samples and back, for calls whose sides share none: G.711, G.722, Opus. Samples are
//! mono, at 8 kHz where G.711 takes part and at 16 kHz elsewhere: every codec here gives and takes
//! both, so that nothing is resampled.
//!
//! Never allocates after `new`.

pub mod conceal;
pub mod g722;
pub mod noise;
pub mod opus;
#[cfg(test)]
pub(super) mod tests;

use thiserror::Error;

use super::g711::Law;

/// Longest packet of any encoding here in samples: 120 ms of Opus at 16 kHz, rounded up.
pub const MAX_SAMPLES: usize = 2_048;

/// Why there is no codec.
#[derive(Debug, Error)]
pub enum CodecError {
    /// libopus says no.
    #[error("opus: {0}")]
    Opus(#[from] ::opus::Error),
}

/// An encoding of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// G.711.
    Law(Law),
    /// G.722.
    G722,
    /// Opus.
    Opus,
}

impl Coding {
    /// By its name in upper case.
    pub fn of(encoding: &str) -> Option<Self> {
        match encoding {
            "G722" => Some(Self::G722),
            "OPUS" => Some(Self::Opus),
            _ => Law::from_encoding(encoding).map(Self::Law),
        }
    }

    /// The rate of the samples between two encodings.
    pub fn rate_hz(self, other: Self) -> u32 {
        match (self, other) {
            (Self::Law(_), _) | (_, Self::Law(_)) => 8_000,
            (Self::G722 | Self::Opus, Self::G722 | Self::Opus) => 16_000,
        }
    }
}

/// Packets to samples.
#[derive(Debug)]
pub enum Decoder {
    /// G.711.
    Law(Law),
    /// G.722.
    G722(Box<g722::Decoder>),
    /// Opus.
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder that gives samples of `rate_hz`.
    pub fn new(coding: Coding, rate_hz: u32) -> Result<Self, CodecError> {
        Ok(match coding {
            Coding::Law(law) => Self::Law(law),
            Coding::G722 => Self::G722(Box::new(g722::Decoder::new(rate_hz))),
            Coding::Opus => Self::Opus(opus::Decoder::new(rate_hz)?),
        })
    }

    /// Decodes a packet; how many samples, or `None` if it is broken.
    pub fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> Option<usize> {
        match self {
            Self::Law(law) => {
                for (byte, sample) in packet.iter().zip(samples.iter_mut()) {
                    *sample = law.decode(*byte);
                }
                Some(packet.len().min(samples.len()))
            }
            Self::G722(decoder) => Some(decoder.decode(packet, samples)),
            Self::Opus(decoder) => decoder.decode(packet, samples),
        }
    }
}

/// Samples to packets.
#[derive(Debug)]
pub enum Encoder {
    /// G.711.
    Law(Law),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus.
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder that takes samples of `rate_hz`. `fec`: the peer makes use of Opus' in-band FEC.
    pub fn new(coding: Coding, rate_hz: u32, fec: bool) -> Result<Self, CodecError> {
        Ok(match coding {
            Coding::Law(law) => Self::Law(law),
            Coding::G722 => Self::G722(Box::new(g722::Encoder::new(rate_hz))),
            Coding::Opus => Self::Opus(opus::Encoder::new(rate_hz, fec)?),
        })
    }

    /// The length of the packet made of `samples`.
    pub fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Option<usize> {
        match self {
            Self::Law(law) => {
                for (sample, byte) in samples.iter().zip(packet.iter_mut()) {
                    *byte = law.encode(*sample);
                }
                Some(samples.len().min(packet.len()))
            }
            Self::G722(encoder) => Some(encoder.encode(samples, packet)),
            Self::Opus(encoder) => encoder.encode(samples, packet),
        }
    }

    /// How long the encoder holds samples back, in samples.
    pub fn lookahead(&mut self) -> usize {
        match self {
            Self::Law(_) | Self::G722(_) => 0,
            Self::Opus(encoder) => encoder.lookahead(),
        }
    }

    /// Prepares for the loss that the peer tells of, in percent.
    pub fn set_loss(&mut self, percent: u8) {
        match self {
            Self::Law(_) | Self::G722(_) => {}
            Self::Opus(encoder) => encoder.set_loss(percent),
        }
    }
}
