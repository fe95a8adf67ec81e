//! Vector calls that depend only on their arguments.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use slotwise::{KvEvent, Prompt, Tier};
use slotwise_wire::WireError;
use slotwise_wire::hashes::{Adapter, Algorithm, BlockHasher, ExtraKeys, Tagging};
use slotwise_wire::headers::{Forwarding, RequestHeaders};
use slotwise_wire::kv::internals::{Decoder, Message};
use slotwise_wire::kv::replay_request;
use slotwise_wire::metrics::{Engine, Field, MetricSpec, MetricsReader, MetricsReport, OrcaReport};
use slotwise_wire::outcome::{BodyShape, Reason, Refusal};
use slotwise_wire::request::{
    Api, KvTransfer, RequestReader, add_usage, kv_transfer_params, rewrite_model,
};
use slotwise_wire::response::{
    AnswerFilter, Body, CloseReason, ModelFilter, Outcome, Progress, ResponseReader,
};

/// The result of a call; `None` for an unknown call.
pub(crate) fn answer(call: &str, args: &Value) -> Option<Value> {
    Some(match call {
        "read_metrics" => said(read_metrics(args).map(|report| metrics(&report))),
        "read_orca" => said(OrcaReport::read(&bytes(&args["header"]))),
        "read_kv_frames" => said(read_kv_frames(args)),
        "read_kv_batch" => said(read_kv_batch(args)),
        "replay_request" => hex(&replay_request(args["start"].as_u64().expect("a number"))),
        "block_hashes" => block_hashes(args),
        "api_of_path" => json!(Api::of_path(text(&args["path"])).map(Api::as_str)),
        "read_request" => said(read_request(args)),
        "rewrite_model" => {
            said(rewrite_model(&bytes(&args["body"]), text(&args["model"])).map(|body| hex(&body)))
        }
        "add_usage" => {
            let body = bytes(&args["body"]);
            let api = Api::of_path(text(&args["path"])).expect("an API");
            said(add_usage(api, &body).map(
                |asking| json!({"added": asking.is_some(), "body": hex(&asking.unwrap_or(body))}),
            ))
        }
        "kv_transfer_body" => {
            let api = Api::of_path(text(&args["path"])).expect("an API");
            let parameters = args["parameters"].as_str().unwrap_or("null");
            let host = args["host"].as_str().unwrap_or_default();
            let port = args["port"].as_u64().unwrap_or_else(|| KvTransfer::BOOTSTRAP_PORT.into());
            let bootstrap = (host, port as u16, args["room"].as_u64().unwrap_or(0));
            let transfer = KvTransfer::from_name(text(&args["transfer"]), parameters, bootstrap);
            let body = transfer.expect("a transfer").apply(api, &bytes(&args["body"]));
            said(body.map(|body| Value::from(String::from_utf8_lossy(&body))))
        }
        "kv_transfer_params" => said(kv_transfer_params(&bytes(&args["answer"])).map(Value::from)),
        "read_response" => read_response(args),
        "outcome_of_status" => plain(&Outcome::of_status(small(&args["status"]))),
        "filter_model" => filter_model(args),
        "filter_answer" => filter_answer(args),
        "read_headers" => read_headers(args),
        "forwarded_headers" | "response_headers" => passed_headers(call, args),
        "refusal" => refusal(args),
        _ => return None,
    })
}

pub(crate) fn read_metrics(args: &Value) -> Result<MetricsReport, WireError> {
    reader(args)?.read(&bytes(&args["page"]))
}

/// The configured metrics reader.
pub(crate) fn reader(args: &Value) -> Result<MetricsReader, WireError> {
    let mut reader = match args["engine"].as_str() {
        None => MetricsReader::detect(),
        Some("custom") => MetricsReader::custom(),
        Some(name) => MetricsReader::of(Engine::from_name(name).expect("an engine")),
    };
    for (field, specs) in args["fields"].as_object().into_iter().flatten() {
        let field = Field::from_name(field).expect("a field");
        for spec in specs.as_array().cloned().unwrap_or_else(|| vec![specs.clone()]) {
            reader = reader.field(field, MetricSpec::parse(text(&spec))?);
        }
    }
    if let Some(spec) = args["adapters"].as_str() {
        reader = reader.adapters(MetricSpec::parse(spec)?);
    }
    if let Some(label) = args["rank_label"].as_str() {
        reader = reader.rank_label(label);
    }
    Ok(reader)
}

/// The report, with the values that hosts derive from it.
fn metrics(report: &MetricsReport) -> Value {
    let mut all = plain(report);
    let cache = report.kv_cache();
    all["load"] = plain(&report.load());
    all["kv_cache"] = plain(&cache);
    all["block_size"] = plain(&cache.block_size);
    all["kv_cache_tokens"] = plain(&cache.capacity());
    all["max_adapters"] = plain(&report.adapters.as_ref().and_then(|adapters| adapters.slots));
    all
}

fn read_kv_frames(args: &Value) -> Result<Value, WireError> {
    let frames: Vec<Vec<u8>> =
        args["frames"].as_array().expect("frames").iter().map(bytes).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    Ok(match Message::read(&frames)? {
        Message::Batch { topic, seq, payload, .. } => {
            json!({"replay_end": false, "topic": hex(topic), "seq": seq, "payload": hex(payload)})
        }
        _ => json!({"replay_end": true, "topic": null, "seq": null, "payload": null}),
    })
}

fn read_kv_batch(args: &Value) -> Result<Value, WireError> {
    let payload = bytes(&args["payload"]);
    let mut decoder = Decoder::new();
    let batch = decoder.decode(&payload)?;
    let name = |hash: &slotwise::EngineHash| hash.to_string();
    let tier = |tier: Tier| serde_json::to_value(tier).expect("serializable");
    let event = |event: KvEvent<'_>| match event {
        KvEvent::BlockStored(stored) => json!({
            "type": "stored",
            "blocks": stored.blocks.iter().map(name).collect::<Vec<_>>(),
            "parent": stored.parent.as_ref().map(name),
            "tokens": stored.tokens,
            "lookahead": stored.lookahead,
            "block_size": stored.block_size,
            "tier": tier(stored.tier),
            "model": stored.model,
            "adapter": stored.adapter,
            "cache_salt": stored.cache_salt,
        }),
        KvEvent::BlockRemoved(removed) => json!({
            "type": "removed",
            "blocks": removed.blocks.iter().map(name).collect::<Vec<_>>(),
            "tier": tier(removed.tier),
        }),
        _ => json!({"type": "cleared"}),
    };
    Ok(json!({
        "sent_at": batch.sent_at(),
        "dp_rank": batch.dp_rank(),
        "events": batch.events().map(event).collect::<Vec<_>>(),
        "skipped_events": plain(&batch.skipped_events()),
    }))
}

fn block_hashes(args: &Value) -> Value {
    let algorithm =
        args["algorithm"].as_str().map_or(Some(Algorithm::Sha256), Algorithm::from_name);
    let seed = args["seed"].as_str().unwrap_or(slotwise_wire::hashes::DEFAULT_SEED);
    let tagged = args["tagged"].as_bool().unwrap_or(true);
    let tagging = if tagged { Tagging::Tagged } else { Tagging::Untagged };
    let mut hasher = BlockHasher::new(algorithm.expect("an algorithm"), seed).tagging(tagging);
    let tokens: Vec<u32> = args["tokens"].as_array().expect("tokens").iter().map(small).collect();
    let adapter = args["adapter"].as_str();
    let path = args["adapter_path"].as_str().unwrap_or_default();
    let keys = ExtraKeys {
        adapter: adapter.map(|name| Adapter { name, path }),
        cache_salt: args["cache_salt"].as_str(),
    };
    let size = NonZeroU32::new(small(&args["block_size"])).expect("a block size");
    hasher.prompt(&tokens, size, keys).iter().map(|digest| hex(digest.as_bytes())).collect()
}

fn read_request(args: &Value) -> Result<Value, WireError> {
    let api = match args["api"].as_str() {
        Some(name) => Api::from_name(name),
        None => Api::of_path(text(&args["path"])),
    };
    let body = bytes(&args["body"]);
    let mut reader = RequestReader::new();
    let view = reader.read(api.expect("an API"), &body)?;
    let mut all = plain(&view);
    all["prompt"] = match view.prompt {
        Prompt::Text(text) => hex(text),
        Prompt::Tokens(ids) => json!(ids),
        _ => unreachable!("bodies have no blocks"),
    };
    Ok(all)
}

fn read_response(args: &Value) -> Value {
    let mut reader = ResponseReader::new(small(&args["status"]), text(&args["content_type"]));
    let mut progress = Progress::default();
    for chunk in chunks(args) {
        progress = progress.and(reader.feed(&chunk));
    }
    json!({"progress": plain(&progress), "outcome": plain(&reader.finish(close(args)))})
}

fn filter_model(args: &Value) -> Value {
    let mut filter = ModelFilter::new(Body::of(text(&args["content_type"])), text(&args["name"]));
    let mut output = Vec::new();
    chunks(args).iter().for_each(|chunk| filter.feed(chunk, &mut output));
    hex(&output)
}

fn filter_answer(args: &Value) -> Value {
    let drop_usage = args["drop_usage"].as_bool().unwrap_or(false);
    let mut filter = AnswerFilter::new(
        Body::of(text(&args["content_type"])),
        args["model"].as_str(),
        drop_usage,
    );
    let mut output = Vec::new();
    chunks(args).iter().for_each(|chunk| filter.feed(chunk, &mut output));
    filter.finish(&mut output);
    hex(&output)
}

fn read_headers(args: &Value) -> Value {
    let pairs = args["headers"].as_array().expect("pairs");
    let pairs: Vec<_> = pairs.iter().map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
    plain(&RequestHeaders::read(pairs.iter().map(|(name, value)| (&**name, &**value))))
}

/// The headers that pass, and those that the host adds.
fn passed_headers(call: &str, args: &Value) -> Value {
    let read = |name: &str| -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = args[name].as_array().into_iter().flatten();
        pairs.map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect()
    };
    let (headers, add) = (read("headers"), read("add"));
    let pairs = headers.iter().map(|(name, value)| (&**name, &**value));
    let forwarding = match call {
        "forwarded_headers" => Forwarding::of_request(pairs.clone())
            .credentials(args["credentials"].as_bool().unwrap_or(false)),
        _ => Forwarding::of_response(pairs.clone()),
    };
    let forwarding = forwarding.replacing(add.iter().map(|(name, _)| &**name));
    let shown = |(name, value): (&[u8], &[u8])| {
        json!([String::from_utf8_lossy(name).to_ascii_lowercase(), String::from_utf8_lossy(value),])
    };
    let passed = pairs.filter(|(name, value)| forwarding.passes(name, value));
    let added = add.iter().map(|(name, value)| (&**name, &**value));
    passed.chain(added).map(shown).collect()
}

fn refusal(args: &Value) -> Value {
    let reason =
        Reason::all().find(|reason| reason.code() == text(&args["reason"])).expect("a reason");
    let mut refusal = Refusal::new(reason);
    if let Some(after) = args["retry_after"].as_f64() {
        refusal = refusal.retry_after(Duration::from_secs_f64(after));
    }
    if let Some(message) = args["message"].as_str() {
        refusal = refusal.message(message);
    }
    let shape = match args["shape"].as_str() {
        Some("anthropic") => BodyShape::Anthropic,
        _ => BodyShape::OpenAi,
    };
    let headers: Vec<_> = refusal.headers().map(|(name, value)| json!([name, value])).collect();
    json!({"status": refusal.status(), "headers": headers, "body": refusal.body(shape)})
}

/// The body in chunks of the given size.
pub(crate) fn chunks(args: &Value) -> Vec<Vec<u8>> {
    let body = bytes(&args["body"]);
    let size = args["chunk"].as_u64().map_or(body.len(), |size| size as usize).max(1);
    body.chunks(size).map(<[u8]>::to_vec).collect()
}

pub(crate) fn close(args: &Value) -> CloseReason {
    match args["close"].as_str() {
        None | Some("clean") => CloseReason::Clean,
        Some("broken") => CloseReason::Broken,
        Some("timed_out") => CloseReason::TimedOut,
        Some("client_disconnected") => CloseReason::ClientDisconnected,
        Some("expired") => CloseReason::Expired,
        Some(other) => panic!("no connection closes like {other}"),
    }
}

/// The bytes of a vector.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    if let Some(path) = value["file"].as_str() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/fixtures");
        return std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    if let Some(hex) = value["hex"].as_str() {
        let digit =
            |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        return (0..hex.len()).step_by(2).map(digit).collect();
    }
    text(value).as_bytes().to_vec()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}"))
}

pub(crate) fn small<T: TryFrom<u64>>(value: &Value) -> T {
    value
        .as_u64()
        .and_then(|number| number.try_into().ok())
        .unwrap_or_else(|| panic!("expected a small number, got {value}"))
}

pub(crate) fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("serializable")
}

/// The result, or the error.
pub(crate) fn said(answer: Result<impl Serialize, WireError>) -> Value {
    answer.map_or_else(|error| json!({"error": plain(&error)}), |answer| plain(&answer))
}

fn hex(bytes: &[u8]) -> Value {
    Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
