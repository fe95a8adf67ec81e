//! Azure's CSV: times and lengths, nothing about prefixes.

use std::path::Path;
use std::time::Duration;

use super::read::{self, TraceError};
use super::{Arrivals, Session, Trace, Turn};

pub(super) fn parse(path: &Path, lines: &[String]) -> Result<Trace, TraceError> {
    let text = lines.join("\n");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| TraceError::at(path, 1, error))?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header.trim().eq_ignore_ascii_case(name));
        found.ok_or_else(|| TraceError::at(path, 1, format!("there is no column {name}")))
    };
    let (time, input, output) = (column("TIMESTAMP")?, column("ContextTokens")?, column("GeneratedTokens")?);

    let mut sessions = Vec::new();
    let mut times = Vec::new();
    for record in reader.records() {
        let line = |error: &csv::Error| error.position().map_or(1, |place| place.line() as usize);
        let record = record.map_err(|error| TraceError::at(path, line(&error), &error))?;
        let number = record.position().map_or(1, |place| place.line() as usize);
        let field = |at: usize| record.get(at).unwrap_or("").trim();
        let tokens = |at: usize| {
            field(at).parse::<u32>().map_err(|error| {
                TraceError::at(path, number, format!("{:?} is no token count: {error}", field(at)))
            })
        };
        let second = timestamp(field(time)).ok_or_else(|| {
            TraceError::at(path, number, format!("{:?} is no time like 2023-11-16 18:15:46.68", field(time)))
        })?;
        times.push(second);
        let turn = Turn {
            think: Duration::ZERO,
            input: read::input(path, number, tokens(input)?)?,
            output: tokens(output)?.max(1),
            blocks: [].into(),
            adapter: None,
        };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let first = times.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let seconds: Vec<f64> = times.into_iter().map(|second| second - first).collect();
    for (line, second) in (2..).zip(&seconds) {
        read::seconds(path, line, "the time after the first request", *second)?;
    }
    let arrivals = Arrivals::Recorded { seconds, quantum: 0.0 };
    Ok(Trace { name: String::new(), block_tokens: 512, sessions, arrivals })
}

/// Seconds since 1970, of a time like `2023-11-16 18:15:46.68`.
fn timestamp(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let time = time.trim_end_matches('Z').split('+').next()?;
    let mut date = date.split('-').map(str::parse::<u32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = time.splitn(3, ':');
    let hour: u32 = clock.next()?.parse().ok()?;
    let minute: u32 = clock.next()?.parse().ok()?;
    let second: f64 = clock.next()?.parse().ok()?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && (0.0..61.0).contains(&second);
    valid.then(|| {
        f64::from(days(year, month, day)) * 86_400.0 + f64::from(hour * 3_600 + minute * 60) + second
    })
}

/// Days since the first of March of the year 0, in the calendar that goes on for ever.
///
/// Years that begin in March have their leap day last, and then the months are 153 days in every five.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_know_the_calendar() {
        let between = |from: &str, to: &str| Some(timestamp(to)? - timestamp(from)?);
        let days = |from, to| between(from, to).map(|seconds| (seconds / 86_400.0).round() as i64);
        assert_eq!(days("2023-02-28 00:00:00", "2023-03-01 00:00:00"), Some(1));
        assert_eq!(days("2024-02-28 00:00:00", "2024-03-01 00:00:00"), Some(2));
        assert_eq!(days("2000-01-01 00:00:00", "2023-11-16 00:00:00"), Some(8_720));
        assert_eq!(days("2023-99-99 99:99:99", "2023-11-16 00:00:00"), None);
        let half = between("2023-12-31T23:59:59.5Z", "2024-01-01 00:00:00.0000000");
        assert!(half.is_some_and(|seconds| (seconds - 0.5).abs() < 1e-6));
    }
}
