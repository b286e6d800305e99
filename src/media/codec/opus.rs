//! Opus (RFC 6716, RFC 7587), a thin wall around libopus: mono, at 8 or 16 kHz, which libopus gives
//! and takes itself, whatever the peer's rate is.

use opus::{Application, Bitrate, Channels, Signal};

use super::CodecError;

/// Of 10. A call both ways costs 0.35 % of a core at this, half of that at 0, and sounds the same
/// at telephone rates.
const COMPLEXITY: i32 = 3;

/// The loss that in-band FEC prepares for, in percent, before a peer has told of any: without it
/// libopus adds none, and the first loss of a call would be heard.
const LEAST_LOSS: i32 = 5;
/// More loss than this and FEC takes the speech its bits.
const MOST_LOSS: i32 = 25;

/// Packets to samples.
pub struct Decoder {
    inner: opus::Decoder,
    rate_hz: u32,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "opus::Decoder({} Hz)", self.rate_hz)
    }
}

impl Decoder {
    /// Gives samples of 8000 Hz or of 16,000 Hz.
    pub fn new(rate_hz: u32) -> Result<Self, CodecError> {
        let inner = opus::Decoder::new(rate_hz, Channels::Mono)?;
        Ok(Self { inner, rate_hz })
    }

    /// Decodes a packet; how many samples, or `None` if it is broken.
    pub fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> Option<usize> {
        if packet.is_empty() {
            return None;
        }
        self.inner.decode(packet, samples, false).ok()
    }

    /// Fills `samples` in for a lost packet from what the one behind it says of it.
    pub fn recover(&mut self, next: &[u8], samples: &mut [i16]) -> bool {
        !next.is_empty() && self.inner.decode(next, samples, true).is_ok()
    }

    /// Fills `samples` in by guessing; after a pause of the peer (DTX) with its background noise.
    pub fn conceal(&mut self, samples: &mut [i16]) -> bool {
        self.inner.decode(&[], samples, false).is_ok()
    }

    /// How many samples a packet holds.
    pub fn samples(&self, packet: &[u8]) -> Option<usize> {
        self.inner.get_nb_samples(packet).ok()
    }
}

/// Samples to packets.
pub struct Encoder {
    inner: opus::Encoder,
    rate_hz: u32,
    loss: i32,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "opus::Encoder({} Hz)", self.rate_hz)
    }
}

impl Encoder {
    /// Takes samples of 8000 Hz or of 16,000 Hz. `fec`: the peer makes use of in-band FEC.
    pub fn new(rate_hz: u32, fec: bool) -> Result<Self, CodecError> {
        let mut inner = opus::Encoder::new(rate_hz, Channels::Mono, Application::Voip)?;
        inner.set_complexity(COMPLEXITY)?;
        inner.set_signal(Signal::Voice)?;
        // What RFC 7587 §3.1.1 recommends for speech, and a quarter more for the FEC.
        let bitrate = if rate_hz == 8_000 { 20_000 } else { 30_000 };
        inner.set_bitrate(Bitrate::Bits(bitrate))?;
        inner.set_inband_fec(fec)?;
        inner.set_packet_loss_perc(LEAST_LOSS)?;
        Ok(Self {
            inner,
            rate_hz,
            loss: LEAST_LOSS,
        })
    }

    /// How long the encoder holds samples back, in samples.
    pub fn lookahead(&mut self) -> usize {
        let samples = self.inner.get_lookahead().ok();
        samples.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// The length of the packet made of `samples`, which last 10, 20, 40 or 60 ms.
    pub fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Option<usize> {
        self.inner.encode(samples, packet).ok()
    }

    /// Prepares for the loss that the peer tells of, in percent.
    pub fn set_loss(&mut self, percent: u8) {
        let loss = i32::from(percent).clamp(LEAST_LOSS, MOST_LOSS);
        if loss != self.loss && self.inner.set_packet_loss_perc(loss).is_ok() {
            self.loss = loss;
        }
    }
}
