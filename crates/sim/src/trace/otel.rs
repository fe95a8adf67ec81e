//! Traces of OpenTelemetry with GenAI spans: OTLP's JSON, or spans in a list or one a line.
//!
//! A span of a chat or a completion is a request; a conversation, or else a trace, is a session.
//! Where spans have messages, prompts share the prefixes that the messages share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::read::{self, Document, TraceError};
use super::record::{Record, whole};
use super::timeline::Call;
use super::{Trace, Turn, recorded, text, time};

const INPUT_TOKENS: [&str; 4] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens",
    "llm.token_count.prompt",
];
const OUTPUT_TOKENS: [&str; 4] = [
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
    "llm.token_count.completion",
];
/// Operations that are requests to a language model; a span with tokens and no operation is one
/// too.
const OPERATIONS: [&str; 4] = ["chat", "text_completion", "generate_content", "generate"];

/// A span with its attributes by name.
struct Span<'a> {
    record: Record<'a>,
    id: Option<String>,
    parent: Option<String>,
    trace: String,
    attributes: Map<String, Value>,
}

/// A request of a model.
struct Request {
    session: String,
    start: i64,
    end: i64,
    input: u32,
    output: u32,
    prompt: String,
}

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut spans = Vec::new();
    for document in documents {
        collect(document, &mut spans)?;
    }
    let requests = requests(&spans)?;
    // A block's bytes: what its tokens take in this trace, the same for all prompts so that equal
    // texts have equal blocks.
    let with_text = || requests.iter().filter(|request| !request.prompt.is_empty());
    let bytes: usize = with_text().map(|request| request.prompt.len()).sum();
    let tokens: usize = with_text().map(|request| request.input as usize).sum();
    let block_bytes = (bytes * text::BLOCK_TOKENS as usize).checked_div(tokens);
    let block_bytes = block_bytes.map_or(text::BLOCK_BYTES, |bytes| bytes.clamp(16, 256));

    let mut clients: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for request in requests {
        let Request { session, start, end, input, output, prompt } = request;
        let blocks = text::blocks(&prompt, block_bytes, (input / text::BLOCK_TOKENS) as usize);
        let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
        clients.entry(session).or_default().push(Call { start, end, turn });
    }
    Ok(recorded(clients.into_values(), text::BLOCK_TOKENS))
}

/// The document's spans: OTLP's, a list of them, or the document itself.
fn collect<'a>(document: &'a Document, spans: &mut Vec<Span<'a>>) -> Result<(), TraceError> {
    if let Value::Array(values) = &document.value {
        for (at, value) in values.iter().enumerate() {
            collect_from(&Record::of(document, format!("[{at}]"), value)?, spans)?;
        }
        return Ok(());
    }
    collect_from(&Record::new(document)?, spans)
}

fn collect_from<'a>(record: &Record<'a>, spans: &mut Vec<Span<'a>>) -> Result<(), TraceError> {
    let first = |names: [&'static str; 3]| names.into_iter().find(|name| record.has(name));
    if let Some(resources) = first(["resourceSpans", "resource_spans", "resourceSpans"]) {
        for resource in record.objects(resources)? {
            let scopes = ["scopeSpans", "scope_spans", "instrumentationLibrarySpans"];
            let Some(scopes) = scopes.into_iter().find(|name| resource.has(name)) else { continue };
            for scope in resource.objects(scopes)? {
                collect_list(&scope, spans)?;
            }
        }
        return Ok(());
    }
    if record.has("spans") {
        return collect_list(record, spans);
    }
    spans.push(span(record.clone(), "")?);
    Ok(())
}

fn collect_list<'a>(record: &Record<'a>, spans: &mut Vec<Span<'a>>) -> Result<(), TraceError> {
    if !record.has("spans") {
        return Ok(());
    }
    let trace = text_of(record, ["trace_id", "traceId", "session_id"])?.unwrap_or_default();
    // Spans of a list that names no trace belong together.
    let list = if trace.is_empty() { format!("line {}", record.line()) } else { trace };
    for record in record.objects("spans")? {
        spans.push(span(record, &list)?);
    }
    Ok(())
}

fn span<'a>(record: Record<'a>, list: &str) -> Result<Span<'a>, TraceError> {
    let context = record.object_if_any("context")?;
    let context = context.as_ref().unwrap_or(&record);
    let trace = text_of(context, ["traceId", "trace_id", "trace_id"])?;
    let parent = text_of(&record, ["parentSpanId", "parent_span_id", "parent_id"])?;
    Ok(Span {
        id: text_of(context, ["spanId", "span_id", "id"])?,
        parent: parent.filter(|id| !id.is_empty()),
        trace: trace.unwrap_or_else(|| list.to_owned()),
        attributes: attributes(&record)?,
        record,
    })
}

/// The first of these fields that is there.
fn text_of(record: &Record<'_>, names: [&str; 3]) -> Result<Option<String>, TraceError> {
    names
        .into_iter()
        .find(|name| record.has(name))
        .map_or(Ok(None), |name| record.text_if_any(name))
}

/// A span's attributes: OTLP's list of keys and values, an object, or an object's JSON.
fn attributes(record: &Record<'_>) -> Result<Map<String, Value>, TraceError> {
    match record.get("attributes") {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields.clone()),
        Some(Value::Array(pairs)) => {
            let pair = |pair: &Value| {
                Some((pair.get("key")?.as_str()?.to_owned(), any(pair.get("value")?)))
            };
            Ok(pairs.iter().filter_map(pair).collect())
        }
        Some(value @ Value::String(text)) => serde_json::from_str(text)
            .map_err(|_| record.wrong("attributes", value, "an object or an object's JSON")),
        Some(value) => {
            Err(record.wrong("attributes", value, "an array of keys and values, or an object"))
        }
    }
}

/// OTLP's `AnyValue`. Its integers are texts.
fn any(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|fields| fields.iter().next()) else {
        return Value::Null;
    };
    let list =
        |value: &Value| value.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
    match kind.as_str() {
        "intValue" | "int_value" => {
            match value.as_str().and_then(|text| text.parse::<i64>().ok()) {
                Some(number) => number.into(),
                None => value.clone(),
            }
        }
        "arrayValue" | "array_value" => list(value).iter().map(any).collect(),
        "kvlistValue" | "kvlist_value" => {
            let pair = |pair: &Value| {
                Some((pair.get("key")?.as_str()?.to_owned(), any(pair.get("value")?)))
            };
            Value::Object(list(value).iter().filter_map(pair).collect())
        }
        _ => value.clone(),
    }
}

fn requests(spans: &[Span<'_>]) -> Result<Vec<Request>, TraceError> {
    let is_model: Vec<bool> = spans.iter().map(asks_a_model).collect();
    let by_id: HashMap<(&str, &str), usize> = spans
        .iter()
        .enumerate()
        .filter_map(|(at, span)| Some(((span.trace.as_str(), span.id.as_deref()?), at)))
        .collect();
    // An SDK's span within that of a framework is the same request, so the outer one counts.
    let is_nested = |span: &Span<'_>| {
        let mut seen = HashSet::new();
        let mut parent = span.parent.as_deref();
        while let Some(id) = parent.filter(|id| seen.insert(*id)) {
            let Some(at) = by_id.get(&(span.trace.as_str(), id)) else { return false };
            if is_model[*at] {
                return true;
            }
            parent = spans[*at].parent.as_deref();
        }
        false
    };
    let asked =
        spans.iter().zip(&is_model).filter(|(span, is_model)| **is_model && !is_nested(span));
    asked.map(|(span, _)| request(span)).collect()
}

/// Whether a span is a request to a language model that was answered.
fn asks_a_model(span: &Span<'_>) -> bool {
    let status = span
        .record
        .get("status")
        .and_then(|status| status.get("code").or_else(|| status.get("status_code")));
    if status.is_some_and(|code| code == 2 || code == "STATUS_CODE_ERROR" || code == "ERROR") {
        return false;
    }
    match span.attributes.get("gen_ai.operation.name").and_then(Value::as_str) {
        Some(operation) => OPERATIONS.contains(&operation),
        None => INPUT_TOKENS.iter().any(|name| span.attributes.contains_key(*name)),
    }
}

fn request(span: &Span<'_>) -> Result<Request, TraceError> {
    let record = &span.record;
    let start =
        at(record, ["startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"])?;
    let end = at(record, ["endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"])?;
    let prompt = prompt(&span.attributes);
    let counted = |names: &[&str], text: &str| -> Result<u32, TraceError> {
        let found = names.iter().find_map(|name| Some((*name, span.attributes.get(*name)?)));
        let Some((name, value)) = found.filter(|(_, value)| !value.is_null()) else {
            return match text::tokens(text) {
                0 => Err(record.error(format!("the span has no `{}`", names[0]))),
                tokens => Ok(tokens),
            };
        };
        let number = whole(value).or_else(|| value.as_str()?.parse().ok());
        number.ok_or_else(|| record.error(format!("{}", Wrong { name, value })))
    };
    let input = counted(&INPUT_TOKENS, &prompt)?;
    let answer =
        decoded(&span.attributes, "gen_ai.output.messages").map_or_else(String::new, |messages| {
            let mut answer = String::new();
            text::messages(&messages, &mut answer);
            answer
        });
    let output = counted(&OUTPUT_TOKENS, &answer)?.max(1);
    let conversation = span.attributes.get("gen_ai.conversation.id").and_then(Value::as_str);
    let session =
        conversation.map_or_else(|| format!("trace {}", span.trace), |id| format!("chat {id}"));
    let input = read::input(record.file(), record.line(), input)?;
    Ok(Request { session, start, end, input, output, prompt })
}

/// An attribute that is no number of tokens.
struct Wrong<'a> {
    name: &'a str,
    value: &'a Value,
}

impl std::fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = super::record::short(self.value);
        write!(f, "`{}` is {value}, expected a number of tokens", self.name)
    }
}

/// A time: OTLP's nanoseconds, as a text or a number, or a date.
fn at(record: &Record<'_>, names: [&str; 4]) -> Result<i64, TraceError> {
    let Some(name) = names.into_iter().find(|name| record.has(name)) else {
        return Err(record.missing(names[0]));
    };
    let value = record.get(name).unwrap_or(&Value::Null);
    let time = match value {
        Value::String(text) => text.parse().ok().or_else(|| time::nanoseconds(text)),
        value => value.as_i64(),
    };
    let expected = "nanoseconds since 1970 or a date like 2026-11-29T03:00:00Z";
    time.filter(|time| *time >= 0).ok_or_else(|| record.wrong(name, value, expected))
}

/// The span's prompt, in the order of a chat template.
fn prompt(attributes: &Map<String, Value>) -> String {
    let mut prompt = String::new();
    for name in ["gen_ai.tool.definitions", "gen_ai.system_instructions", "gen_ai.input.messages"] {
        if let Some(value) = decoded(attributes, name) {
            text::messages(&value, &mut prompt);
        }
    }
    prompt
}

/// An attribute that is a list, or a list's JSON.
fn decoded(attributes: &Map<String, Value>, name: &str) -> Option<Value> {
    match attributes.get(name)? {
        Value::Null => None,
        Value::String(text) => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
        }
        value => Some(value.clone()),
    }
}
