//! The format of a file, by its content.

use serde_json::Value;

use super::Format;
use super::read::{self, Source, TraceError};

/// The format of a file, from its first line or its first JSON value.
pub(super) fn detect(source: &Source) -> Result<Format, TraceError> {
    let (line, first) = (1..)
        .zip(source.text.lines().map(str::trim))
        .find(|(_, line)| !line.is_empty())
        .unwrap_or((1, ""));
    let header = first.to_ascii_uppercase();
    if header.starts_with("TIMESTAMP,") {
        let burst = header.contains("REQUEST TOKENS");
        return Ok(if burst { Format::BurstGpt } else { Format::Azure });
    }
    if !first.starts_with(['{', '[']) {
        let reason = "neither CSV with a TIMESTAMP header nor a JSON object";
        return Err(TraceError::at(&source.file, line, reason));
    }
    let known = of_value(&read::first(source)?);
    known.ok_or_else(|| {
        let reason = "its fields are of no known format; name one with --format";
        TraceError::at(&source.file, line, reason)
    })
}

fn of_value(value: &Value) -> Option<Format> {
    match value {
        Value::Object(fields) => of_object(fields),
        Value::Array(values) => {
            let fields = values.first()?.as_object()?;
            let is_request = fields.contains_key("start_time") && fields.contains_key("info");
            if is_request { Some(Format::InferencePerf) } else { of_object(fields) }
        }
        _ => None,
    }
}

fn of_object(fields: &serde_json::Map<String, Value>) -> Option<Format> {
    let has = |name: &str| fields.contains_key(name);
    let is_span = has("attributes") && (has("traceId") || has("trace_id") || has("context"));
    if has("resourceSpans") || has("resource_spans") || has("spans") || is_span {
        Some(Format::Otel)
    } else if has("benchmarks") {
        Some(Format::GuideLlm)
    } else if has("metadata") && has("metrics") {
        Some(Format::AiPerf)
    } else if has("chat_id") && has("hash_ids") {
        Some(Format::Bailian)
    } else if has("r") && has("bs") {
        Some(Format::ClaudeCode)
    } else if has("requests") && has("block_size") {
        Some(Format::Weka)
    } else if ["input_length", "text_input", "messages", "payload"].into_iter().any(has) {
        Some(Format::Mooncake)
    } else {
        None
    }
}
