//! Tones at 8000 samples a second: a sine generator, key tones (ITU-T Q.23), and a meter that
//! says which tone is heard. For test calls; no part of a relayed call.

use crate::leg::Digit;

/// Samples a second.
pub const RATE_HZ: u32 = 8_000;

/// One or two sines.
#[derive(Clone, Debug)]
pub struct Tone {
    hz: [f64; 2],
    amplitude: f64,
    /// Samples made.
    position: u64,
}

impl Tone {
    /// A sine of -10 dBm0 or so: loud, and no code of G.711 clips.
    pub fn sine(hz: f64) -> Self {
        Self {
            hz: [hz, 0.0],
            amplitude: 8_000.0,
            position: 0,
        }
    }

    /// The pair of sines of a key.
    pub fn key(digit: Digit) -> Self {
        let (row, column) = match digit.as_char() {
            '1' => (697.0, 1209.0),
            '2' => (697.0, 1336.0),
            '3' => (697.0, 1477.0),
            'A' => (697.0, 1633.0),
            '4' => (770.0, 1209.0),
            '5' => (770.0, 1336.0),
            '6' => (770.0, 1477.0),
            'B' => (770.0, 1633.0),
            '7' => (852.0, 1209.0),
            '8' => (852.0, 1336.0),
            '9' => (852.0, 1477.0),
            'C' => (852.0, 1633.0),
            '*' => (941.0, 1209.0),
            '0' => (941.0, 1336.0),
            '#' => (941.0, 1477.0),
            _ => (941.0, 1633.0),
        };
        Self {
            hz: [row, column],
            amplitude: 5_600.0,
            position: 0,
        }
    }
}

impl Iterator for Tone {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        let seconds = self.position as f64 / f64::from(RATE_HZ);
        self.position += 1;
        let sum: f64 = self
            .hz
            .iter()
            .map(|hz| (std::f64::consts::TAU * (hz * seconds).fract()).sin())
            .sum();
        Some((sum * self.amplitude) as i16)
    }
}

/// Which share of the energy of `samples` a sine of `hz` has, 0.0 to 1.0 (Goertzel).
pub fn energy_share(samples: &[i16], hz: f64) -> f64 {
    let (mut before, mut last, mut energy) = (0.0, 0.0, 0.0);
    let factor = 2.0 * (std::f64::consts::TAU * hz / f64::from(RATE_HZ)).cos();
    for sample in samples {
        let sample = f64::from(*sample);
        energy += sample * sample;
        (before, last) = (last, sample + factor * last - before);
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = last * last + before * before - factor * last * before;
    (2.0 * power / (samples.len() as f64 * energy)).clamp(0.0, 1.0)
}

/// Listens for a tone, window by window.
#[derive(Clone, Debug, Default)]
pub struct ToneMeter {
    window: Vec<i16>,
    /// Frequencies of the latest windows with sound; 0 where no tone stood out.
    heard: std::collections::VecDeque<f64>,
}

/// 200 ms: sharp to about 1 Hz.
const WINDOW: usize = 1_600;
/// 20 s of windows.
const HEARD_LIMIT: usize = 100;
/// Below this mean square (-57 dB of full scale) a window is silent.
const SILENCE: f64 = 2_000.0;
/// A tone has this share of its window's energy at least. Lost packets leave holes, which cost
/// a share.
const TONE_SHARE: f64 = 0.6;

impl ToneMeter {
    /// Takes sound in.
    pub fn hear(&mut self, samples: impl IntoIterator<Item = i16>) {
        for sample in samples {
            self.window.push(sample);
            if self.window.len() == WINDOW {
                if let Some(hz) = measure(&self.window) {
                    if self.heard.len() == HEARD_LIMIT {
                        self.heard.pop_front();
                    }
                    self.heard.push_back(hz);
                }
                self.window.clear();
            }
        }
    }

    /// The tone heard in most of the windows with sound, in Hz.
    pub fn tone(&self) -> Option<f64> {
        /// Windows of one tone agree within this.
        const SPREAD_HZ: f64 = 5.0;

        let mut tones: Vec<f64> = self.heard.iter().copied().filter(|hz| *hz > 0.0).collect();
        tones.sort_by(f64::total_cmp);
        let middle = *tones.get(tones.len() / 2)?;
        let agreeing = tones
            .iter()
            .filter(|hz| (**hz - middle).abs() <= SPREAD_HZ)
            .count();
        (2 * agreeing > self.heard.len()).then_some(middle)
    }
}

/// The tone of a window; 0 if no tone stands out, `None` if it is silent.
fn measure(window: &[i16]) -> Option<f64> {
    let energy: f64 = window.iter().map(|s| f64::from(*s).powi(2)).sum();
    if energy / (window.len() as f64) < SILENCE {
        return None;
    }
    // A quarter of the window has lobes 40 Hz wide: steps of 20 Hz miss nothing. Then steps of
    // 1 Hz over the whole, whose lobes are 10 Hz wide, and the top of the parabola through the
    // best three.
    let part = &window[..WINDOW / 4];
    let rough = loudest(part, (5..175).map(|step| f64::from(step) * 20.0));
    let fine = loudest(window, (-24..=24).map(|step| rough + f64::from(step)));
    let [low, top, high] = [-1.0, 0.0, 1.0].map(|step| energy_share(window, fine + step));
    if top < TONE_SHARE {
        return Some(0.0);
    }
    let bend = low - 2.0 * top + high;
    let shift = if bend < 0.0 {
        ((low - high) / (2.0 * bend)).clamp(-1.0, 1.0)
    } else {
        0.0
    };
    Some(fine + shift)
}

fn loudest(samples: &[i16], frequencies: impl Iterator<Item = f64>) -> f64 {
    frequencies
        .map(|hz| (energy_share(samples, hz), hz))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(0.0, |(_, hz)| hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_measured_within_a_hertz() {
        for hz in [123.0, 350.0, 440.0, 999.5, 2_750.3, 3_300.0] {
            let mut meter = ToneMeter::default();
            meter.hear(Tone::sine(hz).take(8_000));
            let heard = meter.tone().unwrap();
            assert!((heard - hz).abs() < 1.0, "{hz} heard as {heard}");
        }
    }

    #[test]
    fn silence_noise_and_key_tones_are_no_tone() {
        let mut meter = ToneMeter::default();
        meter.hear([0; 8_000]);
        assert_eq!(meter.tone(), None);
        let mut tokens = crate::id::TokenMaker::new([8; 32]);
        meter.hear((0..8_000).map(|_| tokens.number() as i16));
        assert_eq!(meter.tone(), None);
        let mut meter = ToneMeter::default();
        meter.hear(Tone::key(Digit::from_char('5').unwrap()).take(8_000));
        assert_eq!(meter.tone(), None);
    }

    #[test]
    fn a_key_has_half_its_energy_in_each_of_its_tones() {
        let samples: Vec<i16> = Tone::key(Digit::from_char('#').unwrap())
            .take(1_600)
            .collect();
        for hz in [941.0, 1_477.0] {
            let share = energy_share(&samples, hz);
            assert!((0.45..0.55).contains(&share), "{share}");
        }
        assert!(energy_share(&samples, 1_209.0) < 0.02);
    }

    #[test]
    fn the_meter_keeps_a_bounded_history() {
        let mut meter = ToneMeter::default();
        for _ in 0..HEARD_LIMIT + 10 {
            meter.hear([i16::MAX; WINDOW]);
        }
        assert_eq!(meter.heard.len(), HEARD_LIMIT);
    }
}
