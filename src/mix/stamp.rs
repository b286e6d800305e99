//! Dates and times of day as XMPP writes them (XEP-0082), in UTC.

const DAY: i64 = 86_400_000;

/// Milliseconds since 1970 as `2026-11-21T18:05:09.250Z`.
pub fn write(ms: i64) -> String {
    let (day, rest) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, date) = civil(day);
    let (seconds, ms) = (rest / 1000, rest % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Reads what [`write`] writes, with or without a fraction or an offset.
pub fn read(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, offset) = time.split_at(at);
            let [hours, minutes] = numbers(&offset[1..], ':')?;
            let minutes = hours * 60 + minutes;
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            (time, sign * minutes)
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hours, minutes, seconds] = numbers(time, ':')?;
    if hours > 23 || minutes > 59 || seconds > 60 || offset.abs() > 14 * 60 {
        return None;
    }
    let is_number = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths: i64 = is_number.then(|| thousandths.parse().ok())??;
    let of_day = ((hours * 60 + minutes - offset) * 60 + seconds) * 1000 + thousandths;
    Some(days(year, month, day) * DAY + of_day)
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let parts = text.split(between);
    let read = parts.map(|part| {
        let fits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse().ok())?
    });
    let read: Vec<i64> = read.collect::<Option<_>>()?;
    read.try_into().ok()
}

/// Days since 1970 of a date. Years begin in March here, so that a leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let known = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_795_889_109_250, "2026-11-28T18:05:09.250Z"),
        ];
        for (ms, text) in known {
            assert_eq!((write(ms).as_str(), read(text)), (text, Some(ms)), "{text}");
        }
        assert_eq!(read("2000-02-29T14:34:56.789+02:00"), Some(951_827_696_789));
        assert_eq!(read("2000-02-29T12:34:56Z"), Some(951_827_696_000));
    }

    #[test]
    fn every_day_reads_the_same() {
        for day in (-200_000..500_000).step_by(13) {
            let ms = day * DAY + 1;
            assert_eq!(read(&write(ms)), Some(ms), "{}", write(ms));
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "T",
            "2026-11-28",
            "2026-13-01T00:00:00Z",
            "2026-11-28T24:00:00Z",
            "2026-11-28T00:00:00",
            "2026-11-28T00:00:00.Z",
            "2026-11-28T00:00:00+99:00",
            "-1-1-1T0:0:0Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
