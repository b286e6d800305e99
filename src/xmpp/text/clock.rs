//! The time on the wall, for people: the rooms count in [`Instant`]s, and `io/` says once what one
//! of them is called.

use std::time::{Duration, Instant};

/// What an instant is called on the wall, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    known: Option<(Instant, Duration)>,
}

impl WallClock {
    /// `now` is so long after 1970-01-01 00:00 UTC.
    pub fn set(&mut self, now: Instant, since_1970: Duration) {
        self.known = Some((now, since_1970));
    }

    /// `2026-11-28 17:45 UTC`; `None` before the clock was set.
    pub fn text(&self, now: Instant) -> Option<String> {
        let (then, since_1970) = self.known?;
        let since_1970 = since_1970 + now.saturating_duration_since(then);
        let minutes = since_1970.as_secs() / 60;
        let (year, month, day) = civil(minutes / (24 * 60));
        let (hour, minute) = (minutes / 60 % 24, minutes % 60);
        Some(format!(
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"
        ))
    }
}

/// The Gregorian date of a day after 1970-01-01. Counted in years that begin in March, whose
/// months have the lengths of `(153 m + 2) / 5`.
fn civil(day: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years.
    let days = day + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn the_wall_shows_what_date_u_shows() {
        let now = Instant::now();
        let mut clock = WallClock::default();
        assert_eq!(clock.text(now), None);
        for (since_1970, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_795_887_900, "2026-11-28 17:45 UTC"),
            (4_102_444_740, "2099-12-31 23:59 UTC"),
        ] {
            clock.set(now, Duration::from_secs(since_1970));
            assert_eq!(clock.text(now).as_deref(), Some(text));
        }
        let later = clock.text(now + Duration::from_secs(60));
        assert_eq!(later.as_deref(), Some("2100-01-01 00:00 UTC"));
    }
}
