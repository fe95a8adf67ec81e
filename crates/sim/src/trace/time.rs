//! Times as texts.

/// Nanoseconds since 1970, of a time like `2023-11-16 18:15:46.68` or
/// `2023-11-16T18:15:46.68+01:00`; UTC without an offset.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (&time[..at], offset(&time[at..])?),
        None => (time, 0),
    };
    let mut date = date.split('-').map(str::parse::<u32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = time.trim().splitn(3, ':');
    let hour: u32 = clock.next()?.parse().ok()?;
    let minute: u32 = clock.next()?.parse().ok()?;
    let (second, fraction) = fraction(clock.next()?)?;
    let valid = (1970..=2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    let seconds = i64::from(days(year, month, day)) * 86_400
        + i64::from(hour * 3_600 + minute * 60 + second)
        - offset;
    valid.then(|| seconds * 1_000_000_000 + i64::from(fraction))
}

/// Seconds and nanoseconds; digits after the ninth are cut.
fn fraction(text: &str) -> Option<(u32, u32)> {
    let (second, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some((second.parse().ok()?, nanoseconds))
}

/// Seconds east of Greenwich, of `Z`, `+01:00` or `-0530`.
fn offset(text: &str) -> Option<i64> {
    let (sign, text) = match text.split_at(1) {
        ("Z" | "z", "") => return Some(0),
        ("+", text) => (1, text),
        ("-", text) => (-1, text),
        _ => return None,
    };
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) =
        (digits.get(..2)?, digits.get(2..).filter(|text| !text.is_empty()).unwrap_or("0"));
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970, in the calendar that goes on for ever.
///
/// Years that begin in March have their leap day last, and then the months are 153 days in every
/// five.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_know_the_calendar() {
        let between =
            |from: &str, to: &str| Some((nanoseconds(to)? - nanoseconds(from)?) as f64 / 1e9);
        let days = |from, to| between(from, to).map(|seconds| (seconds / 86_400.0).round() as i64);
        assert_eq!(days("2023-02-28 00:00:00", "2023-03-01 00:00:00"), Some(1));
        assert_eq!(days("2024-02-28 00:00:00", "2024-03-01 00:00:00"), Some(2));
        assert_eq!(days("2000-01-01 00:00:00", "2023-11-16 00:00:00"), Some(8_720));
        assert_eq!(days("2023-99-99 99:99:99", "2023-11-16 00:00:00"), None);
        let half = between("2023-12-31T23:59:59.5Z", "2024-01-01 00:00:00.0000000");
        assert!(half.is_some_and(|seconds| (seconds - 0.5).abs() < 1e-6));
        assert_eq!(nanoseconds("1970-01-01T00:00:00Z"), Some(0));
        let east = nanoseconds("2026-11-29T03:00:00.25+02:00");
        assert_eq!(east, nanoseconds("2026-11-29 01:00:00.250000000"));
    }
}
