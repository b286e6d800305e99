//! Comfort noise (RFC 3389): white noise of the level that a peer told of, and the level of a peer's
//! background to tell of. The spectrum that may follow the level is neither looked at nor told.

/// 0 dBov is the square wave of full scale.
const OVERLOAD: f64 = 32_767.0;

/// The softest level: nothing at all.
pub const SILENCE: u8 = 127;

/// The level of `samples` in -dBov, as RFC 3389 §3.1 writes it.
pub fn level_of(samples: &[i16]) -> u8 {
    let energy: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    let rms = (energy / samples.len().max(1) as f64).sqrt();
    let level = -20.0 * (rms / OVERLOAD).log10();
    // Of no energy at all the logarithm is infinite.
    level.clamp(0.0, SILENCE.into()).round() as u8
}

/// The level that a payload tells of, in -dBov.
pub fn told_level(payload: &[u8]) -> u8 {
    payload.first().map_or(SILENCE, |byte| byte & 0x7f)
}

/// A generator of noise.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Largest sample.
    peak: i32,
    state: u32,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            peak: 0,
            state: 0x2545_f491,
        }
    }
}

impl Noise {
    /// Takes a comfort noise payload: the level in -dBov, then perhaps a spectrum.
    pub fn set(&mut self, payload: &[u8]) {
        // Evenly spread samples have a root mean square of the peak over the root of 3.
        let rms = OVERLOAD * 10f64.powf(-f64::from(told_level(payload)) / 20.0);
        self.peak = (rms * 3f64.sqrt()).min(OVERLOAD) as i32;
    }

    /// Silence from here on.
    pub fn clear(&mut self) {
        self.peak = 0;
    }

    /// Fills samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            // Xorshift: only to be heard as even, which no pattern of 2^32 - 1 samples hinders.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let random = i32::from((self.state >> 16) as i16);
            *sample = ((random * self.peak) >> 15) as i16;
        }
    }
}
