//! Azure's CSV: times and lengths, nothing about prefixes.

use std::time::Duration;

use super::read::{self, Source, TraceError};
use super::{Arrivals, Session, Trace, Turn, time};

pub(super) fn parse(source: &Source) -> Result<Trace, TraceError> {
    let path = &source.file;
    let mut sessions = Vec::new();
    let mut times = Vec::new();
    let mut lines = Vec::new();
    for row in read::rows(source, ["TIMESTAMP", "ContextTokens", "GeneratedTokens"])? {
        let (line, [sent, input, output]) = row?;
        let at = time::nanoseconds(&sent).ok_or_else(|| {
            TraceError::at(path, line, format!("{sent:?} is no time like 2023-11-16 18:15:46.68"))
        })?;
        times.push(at);
        lines.push(line);
        let input = read::input(path, line, read::tokens(path, line, &input)?)?;
        let output = read::tokens(path, line, &output)?.max(1);
        let turn = Turn { think: Duration::ZERO, input, output, blocks: [].into(), adapter: None };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let first = times.iter().copied().min().unwrap_or(0);
    let seconds: Vec<f64> = times.into_iter().map(|at| (at - first) as f64 / 1e9).collect();
    for (line, second) in lines.into_iter().zip(&seconds) {
        read::seconds(path, line, "the time after the first request", *second)?;
    }
    let arrivals = Arrivals::Recorded { seconds, quantum: 0.0 };
    Ok(Trace { name: String::new(), block_tokens: 512, sessions, arrivals })
}
