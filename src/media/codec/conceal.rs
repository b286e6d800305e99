//! Packet-loss concealment for encodings that have none of their own: the last pitch period again
//! and again, fading (the idea of ITU-T G.711 Appendix I). What comes after a loss is blended in.

/// Highest rate.
const RATE_HZ: usize = 16_000;
/// Pitch periods: 66 Hz to 400 Hz, the range of voices.
const LONGEST: usize = RATE_HZ / 66;
/// Compared to find the pitch: 10 ms.
const TEMPLATE: usize = RATE_HZ / 100;
/// What is kept of the past.
const HISTORY: usize = LONGEST + TEMPLATE;
/// Full volume for so long, then fading until silence, in ms.
const HOLD_MS: usize = 10;
const FADE_MS: usize = 60;
/// Blending, in ms.
const BLEND_MS: usize = 4;

/// The past of a stream, and the loss that goes on.
#[derive(Clone, Debug)]
pub struct Concealer {
    rate_hz: usize,
    history: Box<[i16; HISTORY]>,
    /// Samples made up since the last real one; 0 while nothing is lost.
    made: usize,
    period: usize,
}

impl Concealer {
    /// For samples of `rate_hz`, 16,000 at most.
    pub fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz: (rate_hz as usize).min(RATE_HZ),
            history: Box::new([0; HISTORY]),
            made: 0,
            period: LONGEST,
        }
    }

    /// Takes real samples; the first ones after a loss are blended with what was made up.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.made > 0 {
            let blend = self.ms(BLEND_MS).min(samples.len());
            for (n, sample) in samples[..blend].iter_mut().enumerate() {
                let old = i32::from(self.made_up(self.made + n));
                let new = i32::from(*sample);
                let (n, blend) = (n as i32, blend as i32);
                *sample = ((old * (blend - n) + new * n) / blend) as i16;
            }
            self.made = 0;
        }
        let fresh = samples.len().min(HISTORY);
        self.history.copy_within(fresh.., 0);
        self.history[HISTORY - fresh..].copy_from_slice(&samples[samples.len() - fresh..]);
    }

    /// Makes samples up.
    pub fn fill(&mut self, samples: &mut [i16]) {
        if self.made == 0 {
            self.period = self.pitch();
        }
        for sample in samples {
            *sample = self.made_up(self.made);
            self.made += 1;
        }
    }

    /// Notes that the past is over: what comes next follows silence.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.made = 0;
    }

    fn ms(&self, ms: usize) -> usize {
        ms * self.rate_hz / 1_000
    }

    /// The sample at a place behind the last real one.
    fn made_up(&self, at: usize) -> i16 {
        let (hold, end) = (self.ms(HOLD_MS), self.ms(FADE_MS));
        if at >= end {
            return 0;
        }
        let past = i32::from(self.history[HISTORY - self.period + at % self.period]);
        let gain = (end - at).min(end - hold) as i32;
        (past * gain / (end - hold) as i32) as i16
    }

    /// The shift at which the latest samples are most like the ones before.
    fn pitch(&self) -> usize {
        let template = self.ms(10);
        let newest = &self.history[HISTORY - template..];
        let likeness = |lag: usize| {
            let past = &self.history[HISTORY - template - lag..HISTORY - lag];
            let (mut product, mut energy) = (0i64, 1i64);
            for (a, b) in newest.iter().zip(past) {
                product += i64::from(*a) * i64::from(*b);
                energy += i64::from(*b) * i64::from(*b);
            }
            product.max(0) as f64 * product as f64 / energy as f64
        };
        let (shortest, longest) = (self.rate_hz / 400, self.rate_hz / 66);
        (shortest..=longest)
            .map(|lag| (likeness(lag), lag))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(longest, |(_, lag)| lag)
    }
}
