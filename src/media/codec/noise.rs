//! Comfort noise (RFC 3389): white noise of the level that the peer told of. The spectrum that may
//! follow the level is not looked at.

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
        let level = payload.first().map_or(127, |byte| byte & 0x7f);
        // Evenly spread samples have a root mean square of the peak over the root of 3, and 0 dBov
        // is the square wave of full scale.
        let rms = 32_767.0 * 10f64.powf(-f64::from(level) / 20.0);
        self.peak = (rms * 3f64.sqrt()).min(32_767.0) as i32;
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
