//! BurstGPT's CSV: times and lengths, nothing about prefixes.

use std::time::Duration;

use super::read::{self, Source, TraceError};
use super::{Arrivals, Session, Trace, Turn};

pub(super) fn parse(source: &Source) -> Result<Trace, TraceError> {
    let path = &source.file;
    let mut sessions = Vec::new();
    let mut times = Vec::new();
    for row in read::rows(source, ["Timestamp", "Request tokens", "Response tokens"])? {
        let (line, [time, input, output]) = row?;
        let second: f64 = time
            .parse()
            .map_err(|_| TraceError::at(path, line, format!("{time:?} is no time in seconds")))?;
        times.push(read::seconds(path, line, "Timestamp", second)?);
        let input = read::input(path, line, read::tokens(path, line, &input)?)?;
        let output = read::tokens(path, line, &output)?.max(1);
        let turn = Turn { think: Duration::ZERO, input, output, blocks: [].into(), adapter: None };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let arrivals = Arrivals::Recorded { seconds: times, quantum: 0.0 };
    Ok(Trace { name: String::new(), block_tokens: 512, sessions, arrivals })
}
