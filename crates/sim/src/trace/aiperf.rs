//! aiperf's `profile_export.jsonl`: a line for each request that was measured.
//!
//! A conversation is replayed closed loop, with the pauses of its client. The file has no prompts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::read::{self, Document, TraceError};
use super::record::Record;
use super::timeline::Call;
use super::{Trace, Turn, recorded};

const BLOCK_TOKENS: u32 = 64;

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut clients: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for document in documents {
        let record = Record::new(document)?;
        let metadata = record.object("metadata")?;
        let is_true =
            |name: &str| metadata.get(name).and_then(serde_json::Value::as_bool) == Some(true);
        let warms_up =
            metadata.text_if_any("benchmark_phase")?.is_some_and(|phase| phase == "warmup");
        if record.has("error")
            || warms_up
            || is_true("was_cancelled")
            || is_true("context_overflow_skip")
        {
            continue;
        }
        // A conversation may be replayed several times; each time has a correlation id of its own.
        let client = match metadata.text_if_any("x_correlation_id")? {
            Some(name) => name,
            None => match metadata.text_if_any("conversation_id")? {
                Some(name) => name,
                None => format!("{:08}", metadata.tokens("session_num")?),
            },
        };
        let (start, end) =
            (time(&metadata, "request_start_ns")?, time(&metadata, "request_end_ns")?);
        let metrics = record.object("metrics")?;
        let input = value(&metrics, ["input_sequence_length", "usage_prompt_tokens"])?;
        let input = read::input(record.file(), record.line(), input)?;
        let output = value(&metrics, ["output_sequence_length", "usage_completion_tokens"])?.max(1);
        let turn = Turn { think: Duration::ZERO, input, output, blocks: [].into(), adapter: None };
        clients.entry(client).or_default().push(Call { start, end, turn });
    }
    Ok(recorded(clients.into_values(), BLOCK_TOKENS))
}

fn time(metadata: &Record<'_>, name: &str) -> Result<i64, TraceError> {
    let value = metadata.get(name).ok_or_else(|| metadata.missing(name))?;
    value
        .as_i64()
        .filter(|time| *time >= 0)
        .ok_or_else(|| metadata.wrong(name, value, "a time in nanoseconds"))
}

/// The first of these metrics that is there.
fn value(metrics: &Record<'_>, names: [&str; 2]) -> Result<u32, TraceError> {
    let name = names
        .into_iter()
        .find(|name| metrics.has(name))
        .ok_or_else(|| metrics.missing(names[0]))?;
    metrics.object(name)?.tokens("value")
}
