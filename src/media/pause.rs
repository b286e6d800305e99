//! A pause in a peer's speech, as the other peer is told of it (RFC 3389): comfort noise at its
//! beginning, when the background changes, and now and then, so that nobody on the way takes the
//! stream for dead. What lies between is not sent.

use std::time::Duration;

use super::codec::noise;

/// The longest time without a word. Opus in DTX tells of its background as often.
const REPEAT: Duration = Duration::from_millis(400);

/// A change is told not sooner than this after the last one.
const SETTLE: Duration = Duration::from_millis(100);

/// What is heard as another loudness, in dB.
const CHANGE: u8 = 3;

/// A single packet in a pause that is not louder than its background by more than this tells of the
/// background; speech is louder, or does not stay alone.
const REFRESH: f64 = 6.0;

/// The pauses of a peer.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    /// The background in -dBov; not known before it is heard.
    level: Option<f64>,
    pause: Option<Pause>,
}

#[derive(Clone, Debug, Default)]
struct Pause {
    /// What was said of the background last, and how long ago.
    said: Option<(u8, Duration)>,
    /// The last packet told of the background.
    refreshed: bool,
}

impl Pauses {
    /// True while there is one.
    pub fn is_on(&self) -> bool {
        self.pause.is_some()
    }

    /// The peer says that it pauses, or still does.
    pub fn begin(&mut self) {
        self.pause.get_or_insert_default().refreshed = false;
    }

    /// Takes what the peer says of its background, which is that it pauses.
    pub fn set(&mut self, level: u8) {
        self.begin();
        self.level = Some(level.into());
    }

    /// Takes a packet of sound; true if it only shows the background of a pause, which goes on.
    ///
    /// An encoder sends some sound before it is sure of a pause, so that the last of it is background.
    /// What a decoder makes up in the pause is softer than that.
    pub fn hear(&mut self, samples: &[i16], may_refresh: bool) -> bool {
        let heard = noise::level_of(samples);
        let level = self.level.unwrap_or(heard.into());
        let is_soft = f64::from(heard) >= level - REFRESH;
        let lasts = match &mut self.pause {
            Some(pause) => may_refresh && is_soft && !std::mem::replace(&mut pause.refreshed, true),
            None => false,
        };
        if !lasts {
            self.pause = None;
        }
        self.level = Some(level + (f64::from(heard) - level) / 4.0);
        lasts
    }

    /// The peer speaks.
    pub fn end(&mut self) {
        self.pause = None;
    }

    /// Lets `time` of the pause pass; the level to tell of before it, if there is something to tell.
    pub fn step(&mut self, time: Duration) -> Option<u8> {
        let level = self
            .level
            .map_or(noise::SILENCE, |level| level.round() as u8);
        let pause = self.pause.as_mut()?;
        let due = pause.said.is_none_or(|(said, since)| {
            since >= REPEAT || (since >= SETTLE && said.abs_diff(level) >= CHANGE)
        });
        let (said, since) = match pause.said {
            Some(said) if !due => said,
            _ => (level, Duration::ZERO),
        };
        pause.said = Some((said, since + time));
        due.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn told(pause: &mut Pauses, frames: usize) -> Vec<(usize, u8)> {
        (0..frames)
            .filter_map(|n| Some((n, pause.step(FRAME)?)))
            .collect()
    }

    #[test]
    fn a_pause_is_told_at_once_then_rarely_and_at_a_change() {
        let mut pause = Pauses::default();
        pause.set(60);
        assert_eq!(told(&mut pause, 50), [(0, 60), (20, 60), (40, 60)]);
        pause.set(62);
        assert_eq!(told(&mut pause, 10), []);
        pause.set(50);
        assert_eq!(told(&mut pause, 2), [(0, 50)]);
        pause.set(60);
        // Hardly has one been told, there is another.
        assert_eq!(told(&mut pause, 3), []);
        pause.set(70);
        assert_eq!(told(&mut pause, 1), [(0, 70)]);
    }

    #[test]
    fn one_soft_packet_belongs_to_a_pause_and_a_loud_one_or_a_second_one_ends_it() {
        let (mut soft, mut loud) = ([0; 160], [0; 160]);
        let mut noise = noise::Noise::default();
        noise.set(&[50]);
        noise.fill(&mut soft);
        noise.set(&[30]);
        noise.fill(&mut loud);
        let mut pause = Pauses::default();
        for _ in 0..10 {
            assert!(!pause.hear(&loud, true));
        }
        for _ in 0..10 {
            assert!(!pause.hear(&soft, true));
        }
        pause.begin();
        assert!(pause.step(FRAME).unwrap().abs_diff(50) <= 2);
        assert!(pause.hear(&soft, true) && pause.is_on());
        assert!(!pause.hear(&soft, true) && !pause.is_on());
        pause.begin();
        assert!(pause.hear(&soft, true));
        pause.begin();
        assert!(!pause.hear(&loud, true) && !pause.is_on());
        pause.begin();
        assert!(!pause.hear(&soft, false) && !pause.is_on());
    }

    #[test]
    fn a_level_is_measured_as_it_is_made() {
        for level in [0, 10, 20, 40, 60, 75] {
            let mut samples = [0; 8_000];
            let mut noise = noise::Noise::default();
            noise.set(&[level]);
            noise.fill(&mut samples);
            // Evenly spread noise of full scale is 4.8 dB below the square wave.
            let expected = level.max(5);
            let measured = noise::level_of(&samples);
            assert!(measured.abs_diff(expected) <= 1, "{level}: {measured}");
        }
        assert_eq!(noise::level_of(&[0; 160]), noise::SILENCE);
        assert_eq!(noise::level_of(&[]), noise::SILENCE);
        assert_eq!(noise::level_of(&[i16::MIN; 160]), 0);
    }
}
