//! guidellm's report, `benchmarks.json`: every request that was answered, with its times and
//! lengths.
//!
//! A conversation is replayed closed loop. Prompts whose text is in the report share the prefixes
//! that the texts share.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::read::{self, Document, TraceError};
use super::record::Record;
use super::timeline::{Call, nanoseconds};
use super::{Trace, Turn, recorded, text};

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut clients: BTreeMap<(usize, String), Vec<Call>> = BTreeMap::new();
    for document in documents {
        for (number, benchmark) in Record::new(document)?.objects("benchmarks")?.iter().enumerate()
        {
            for (at, request) in
                benchmark.object("requests")?.objects("successful")?.iter().enumerate()
            {
                let info = request.object_if_any("info")?;
                let name = info
                    .as_ref()
                    .map(|info| info.text_if_any("conversation_id"))
                    .transpose()?
                    .flatten();
                let client = (number, name.unwrap_or_else(|| format!("request {at:09}")));
                clients.entry(client).or_default().push(call(request)?);
            }
        }
    }
    Ok(recorded(clients.into_values(), text::BLOCK_TOKENS))
}

fn call(request: &Record<'_>) -> Result<Call, TraceError> {
    let time = |name: &str| Ok(nanoseconds(request.number(name)?));
    let tokens = |name: &str, metrics: &str| match request.tokens_if_any(name)? {
        Some(tokens) => Ok(tokens),
        None => match request.object_if_any(metrics)? {
            Some(metrics) => metrics.tokens("text_tokens"),
            None => Err(request.missing(name)),
        },
    };
    let input =
        read::input(request.file(), request.line(), tokens("prompt_tokens", "input_metrics")?)?;
    let output = tokens("output_tokens", "output_metrics")?.max(1);
    let prompt =
        request.text_if_any("request_args")?.and_then(|args| prompt(&args)).unwrap_or_default();
    let blocks = text::blocks(&prompt, text::BLOCK_BYTES, (input / text::BLOCK_TOKENS) as usize);
    let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
    Ok(Call { start: time("request_start_time")?, end: time("request_end_time")?, turn })
}

/// The prompt of a request's arguments, if they hold its body.
fn prompt(args: &str) -> Option<String> {
    let args: Value = serde_json::from_str(args).ok()?;
    let body = args.get("body").or_else(|| args.get("json")).unwrap_or(&args);
    Some(text::of_body(body.as_object()?))
}
