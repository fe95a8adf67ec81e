//! inference-perf's `per_request_lifecycle_metrics.json`: every request with its times, lengths and
//! body.
//!
//! The file names no session, so it is replayed open loop. Prompts share the prefixes that their
//! texts share.

use std::time::Duration;

use serde_json::Value;

use super::read::{self, Document, TraceError};
use super::record::Record;
use super::timeline::{Call, nanoseconds};
use super::{Trace, Turn, recorded, text};

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut clients = Vec::new();
    for document in documents {
        // The file is one array; a line of it alone will do.
        let entries = match &document.value {
            Value::Array(entries) => entries.iter().collect(),
            value => vec![value],
        };
        for (at, entry) in entries.into_iter().enumerate() {
            let entry = Record::of(document, format!("[{at}]"), entry)?;
            if !entry.has("error") {
                clients.push(vec![call(&entry)?]);
            }
        }
    }
    Ok(recorded(clients.into_iter(), text::BLOCK_TOKENS))
}

fn call(entry: &Record<'_>) -> Result<Call, TraceError> {
    let (start, end) = (entry.number("start_time")?, entry.number("end_time")?);
    let info = entry.object("info")?;
    let request = info.object_if_any("request_metrics")?;
    let request = request.map(|metrics| metrics.object("text")).transpose()?;
    let input = request.as_ref().unwrap_or(&info).tokens("input_tokens")?;
    let input = read::input(entry.file(), entry.line(), input)?;
    let output =
        info.object_if_any("response_metrics")?.unwrap_or(info).tokens("output_tokens")?.max(1);
    let body = entry.text_if_any("request")?.and_then(|body| serde_json::from_str(&body).ok());
    let prompt = body.map_or_else(String::new, |body| text::of_body(&body));
    let blocks = text::blocks(&prompt, text::BLOCK_BYTES, (input / text::BLOCK_TOKENS) as usize);
    let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
    Ok(Call { start: nanoseconds(start), end: nanoseconds(end), turn })
}
