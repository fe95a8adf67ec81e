//! Mooncake's JSONL, as published and as aiperf and guidellm extend it.
//!
//! The published lines are open-loop requests with chained 512-token prefix blocks. A line may also
//! belong to a session and wait after its session's previous answer. It may give its prompt as a
//! text, as messages or as the body of a request.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use slotwise::BlockHash;

use super::read::{self, Document, TraceError};
use super::record::{Record, whole};
use super::{Arrivals, Session, Trace, Turn, block, text};

/// Tokens in a block of `hash_ids`.
const BLOCK_TOKENS: u32 = 512;
/// The published timestamps are multiples of three seconds, but for a few milliseconds.
const QUANTUM_MS: f64 = 3_000.0;
const SLOP_MS: f64 = 20.0;
/// What gives a prompt; exactly one does.
const PROMPTS: [&str; 4] = ["input_length", "text_input", "messages", "payload"];

/// The content of a prompt, as far as the file has it.
enum Content {
    Ids(Vec<u64>),
    Text(String),
    Unknown,
}

struct Line {
    /// In milliseconds.
    timestamp: Option<f64>,
    delay: Option<Duration>,
    session: Option<String>,
    input: u32,
    output: u32,
    content: Content,
}

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let lines: Vec<Line> = documents.iter().map(line).collect::<Result<_, _>>()?;
    // Texts are compared more finely than ids: then an id stands for as many blocks as it has
    // tokens for.
    let has_text = lines.iter().any(|line| matches!(line.content, Content::Text(_)));
    let block_tokens = if has_text { text::BLOCK_TOKENS } else { BLOCK_TOKENS };
    let arrivals = arrivals(documents, &lines)?;

    let mut sessions: Vec<Session> = Vec::new();
    let mut starts: Vec<f64> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let first = lines.iter().filter_map(|line| line.timestamp).reduce(f64::min).unwrap_or(0.0);
    for (document, line) in documents.iter().zip(lines) {
        let at = line.timestamp.map(|at| (at - first) / 1e3);
        let name = "the time after the first request";
        read::seconds(&document.file, document.line, name, at.unwrap_or(0.0))?;
        let known = line.session.as_ref().and_then(|name| by_name.get(name).copied());
        let session = known.unwrap_or(sessions.len());
        if known.is_none() {
            starts.push(at.unwrap_or(0.0));
            sessions.push(Session::default());
            by_name.extend(line.session.map(|name| (name, session)));
        }
        let Session { turns, due, .. } = &mut sessions[session];
        due.push(Duration::from_secs_f64(at.map_or(0.0, |at| (at - starts[session]).max(0.0))));
        let think = if turns.is_empty() { Duration::ZERO } else { line.delay.unwrap_or_default() };
        let full = (line.input / block_tokens) as usize;
        let blocks = match line.content {
            Content::Ids(ids) => of_ids(&ids, line.input, block_tokens).collect(),
            Content::Text(prompt) => text::blocks(&prompt, text::BLOCK_BYTES, full),
            Content::Unknown => [].into(),
        };
        turns.push(Turn { think, input: line.input, output: line.output, blocks, adapter: None });
    }
    let arrivals = match arrivals {
        Arrivals::Recorded { quantum, .. } => Arrivals::Recorded { seconds: starts, quantum },
        other => other,
    };
    Ok(Trace { name: String::new(), block_tokens, sessions, arrivals })
}

/// The full blocks of a prompt that ids describe.
fn of_ids(ids: &[u64], input: u32, block_tokens: u32) -> impl Iterator<Item = BlockHash> {
    let full = (input / BLOCK_TOKENS) as usize;
    let parts = u64::from(BLOCK_TOKENS / block_tokens);
    let of_id = move |id: &u64| {
        let id = *id;
        (0..parts)
            .map(move |part| if part == 0 { block(0, id) } else { block(block(0, id).0, part) })
    };
    ids[..full].iter().flat_map(of_id)
}

/// Whether the lines have times. The seconds are filled in later.
fn arrivals(documents: &[Document], lines: &[Line]) -> Result<Arrivals, TraceError> {
    let timed = lines.iter().any(|line| line.timestamp.is_some());
    let mut begun: HashMap<&str, ()> = HashMap::new();
    for (document, line) in documents.iter().zip(lines) {
        let begins = line.session.as_ref().is_none_or(|name| begun.insert(name, ()).is_none());
        if timed && begins && line.timestamp.is_none() {
            let reason = "missing field `timestamp`: other lines have one, so each session's first line needs one";
            return Err(TraceError::at(&document.file, document.line, reason));
        }
    }
    if !timed {
        return Ok(Arrivals::Sessions);
    }
    // Only the published file's times were rounded; those of a finer grain, or of sessions, are as
    // they are.
    let rounded = lines.iter().all(|line| {
        let off = line.timestamp.unwrap_or(1.0) % QUANTUM_MS;
        let published = matches!(line.content, Content::Ids(_)) && line.session.is_none();
        published && off.min(QUANTUM_MS - off) <= SLOP_MS
    });
    Ok(Arrivals::Recorded {
        seconds: Vec::new(),
        quantum: if rounded { QUANTUM_MS / 1e3 } else { 0.0 },
    })
}

fn line(document: &Document) -> Result<Line, TraceError> {
    let record = Record::new(document)?;
    let prompts: Vec<&str> = PROMPTS.into_iter().filter(|name| record.has(name)).collect();
    let prompt = match prompts[..] {
        [one] => one,
        [] => {
            return Err(record.error(
                "missing field `input_length`; `text_input`, `messages` or `payload` do too",
            ));
        }
        _ => return Err(record.error(format!("`{}` exclude each other", prompts.join("`, `")))),
    };
    if let Some(at) = record.number_if_any("timestamp")? {
        // An epoch in milliseconds is more seconds than a trace is long; times count from the first
        // one.
        read::seconds(record.file(), record.line(), "timestamp", at / 1e6)
            .map_err(|_| record.error(format!("timestamp is {}, not a time", at / 1e3)))?;
    }
    let delay = record.number_if_any("delay")?;
    let delay = delay.map(|ms| record.seconds("delay", ms / 1e3)).transpose()?;
    let payload = record.object_if_any("payload")?;
    let output = match (&payload, record.tokens_if_any("output_length")?) {
        (_, Some(tokens)) => tokens,
        (Some(body), None) => {
            let limit = ["max_completion_tokens", "max_tokens", "max_output_tokens"].into_iter();
            let limit = limit.filter_map(|name| body.get(name)).find_map(whole);
            limit.ok_or_else(|| record.missing("output_length"))?
        }
        (None, None) => return Err(record.missing("output_length")),
    };
    let ids = record.ids_if_any("hash_ids")?;
    let (input, content) = match (prompt, ids) {
        ("input_length", Some(ids)) => {
            let input = record.tokens("input_length")?;
            let full = (input / BLOCK_TOKENS) as usize;
            read::enough_blocks(record.file(), record.line(), input, full, ids.len())?;
            (input, Content::Ids(ids))
        }
        ("input_length", None) => (record.tokens("input_length")?, Content::Unknown),
        (_, Some(_)) => {
            return Err(
                record.error(format!("`hash_ids` goes with `input_length`, not with `{prompt}`"))
            );
        }
        (name, None) => {
            let prompt = prompt_text(&record, name)?;
            (text::tokens(&prompt), Content::Text(prompt))
        }
    };
    Ok(Line {
        timestamp: record.number_if_any("timestamp")?,
        delay: delay.map(Duration::from_secs_f64),
        session: record.text_if_any("session_id")?,
        input: read::input(record.file(), record.line(), input)?,
        output: output.max(1),
        content,
    })
}

/// The text of a prompt that is given as such, as messages, or as a request's body.
fn prompt_text(record: &Record<'_>, name: &str) -> Result<String, TraceError> {
    let Some(value) = record.get(name) else { return Err(record.missing(name)) };
    match (name, value) {
        ("text_input", Value::String(prompt)) => Ok(prompt.clone()),
        ("text_input", _) => Err(record.wrong(name, value, "a text")),
        ("messages", Value::Array(_)) => {
            let fields = ["tools", "messages"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), record.get(name)?.clone())));
            Ok(text::of_body(&fields.collect()))
        }
        ("messages", _) => Err(record.wrong(name, value, "an array of messages")),
        (_, Value::Object(body)) => Ok(text::of_body(body)),
        _ => Err(record.wrong(name, value, "the body of a request")),
    }
}
