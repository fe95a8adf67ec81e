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
    let seconds = times.into_iter().map(|second| second - first).collect();
    let arrivals = Arrivals::Recorded { seconds, quantum: 0.0 };
    Ok(Trace { name: String::new(), block_tokens: 512, sessions, arrivals })
}

/// Seconds since an origin that all rows share. Days are enough of a calendar: traces are shorter than a month, and a
/// trace that crosses the end of one is as long as its days say if each month had 31.
fn timestamp(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let time = time.trim_end_matches('Z').split('+').next()?;
    let mut date = date.split('-').map(|part| part.parse::<f64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let days = (year * 12.0 + month) * 31.0 + day;
    let seconds = days * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second;
    seconds.is_finite().then_some(seconds)
}
