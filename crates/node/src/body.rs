//! Bodies of requests.
#![expect(clippy::too_many_arguments, reason = "options in TypeScript")]

use napi::Either;
use napi::bindgen_prelude::{Uint8Array, Uint32Array};
use napi_derive::napi;
use slotwise::Prompt;
use slotwise_gateway::names;
use slotwise_wire::request::{Api, KvTransfer, RequestReader, SessionField};

use crate::error::{Result, Unfit, named, unreadable};
use crate::number::{status, to_request_id};
use crate::request::Bytes;

/// Bytes of a body.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ByteRange {
    /// The first of them.
    pub start: f64,
    /// The one behind the last.
    pub end: f64,
}

/// Contents of a request's body; absent fields are null, false or 0.
#[napi(object, object_from_js = false, use_nullable = true)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct RequestView {
    /// The API that it speaks.
    #[napi(
        ts_type = "'chat_completions' | 'completions' | 'responses' | 'embeddings' | 'messages' | 'inference_generate' | 'generate' | 'score' | 'rerank' | 'pooling' | 'classify' | 'tokenize' | 'detokenize' | 'transcriptions' | 'translations' | 'speech'"
    )]
    pub api: &'static str,
    /// The model, or the adapter if that is served under a name of its own.
    pub model: Option<String>,
    /// Where the model stands in the body, with its quotation marks.
    pub model_range: Option<ByteRange>,
    /// The engine's input, for hashing and counting: text or token ids. `pick` takes it as a
    /// prompt.
    #[napi(ts_type = "Uint8Array | Uint32Array")]
    pub prompt: Either<Uint8Array, Uint32Array>,
    /// Prompts in the request, of which `prompt` is the first: 0 if there is none, more than 1 in a
    /// batch.
    pub prompts: f64,
    /// What the engine does with its cache for the request.
    #[napi(ts_type = "'read' | 'unreported' | 'unread'")]
    pub cache_use: &'static str,
    /// The id of the answer that the request continues from: `previous_response_id`, or that of a
    /// `thread`.
    pub continues: Option<String>,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// Whether the stream is to end with the usage.
    pub include_usage: bool,
    /// Tokens that each answer may have at the most.
    pub max_tokens: Option<f64>,
    /// Answers to each prompt.
    pub n: Option<f64>,
    /// As the body has it. Which way it goes is the engine's matter.
    pub priority: Option<f64>,
    /// What requests of one conversation share.
    pub session: Option<String>,
    /// Where the session stands in the body: the path to the field.
    #[napi(
        ts_type = "'session_id' | 'vllm_xargs.session_id' | 'session_params.id' | 'prompt_cache_key' | 'conversation' | 'thread.previous_message_id' | 'metadata.user_id' | 'user' | 'diagnostics.previous_message_id' | 'previous_response_id'"
    )]
    pub session_field: Option<&'static str>,
    /// Requests with different salts share no cache.
    pub cache_salt: Option<String>,
    /// The adapter of SGLang's `lora_path`.
    pub adapter: Option<String>,
    /// Whether the prompt has images, sounds or files.
    pub multimodal: bool,
    /// Whether blocks are to be fetched from another engine, or left for one.
    pub kv_transfer: bool,
    /// The id that the client gave to the request.
    pub request_id: Option<String>,
}

/// The API whose path this is, or ends with.
#[napi(ts_return_type = "RequestView['api'] | null")]
pub fn api_of_path(path: String) -> Option<&'static str> {
    Api::of_path(&path).map(Api::as_str)
}

/// Reads the body of a request to the API of this name, or of this path.
#[napi]
pub fn read_request(
    #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    api: Option<String>,
    path: Option<String>,
) -> Result<RequestView> {
    let api = which(api, path)?;
    let mut reader = RequestReader::new();
    let view = reader.read(api, body).map_err(unreadable)?;
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(String::from);
    Ok(RequestView {
        api: view.api.as_str(),
        model: text(&view.model),
        model_range: view
            .model_range
            .as_ref()
            .map(|range| ByteRange { start: range.start as f64, end: range.end as f64 }),
        prompt: match view.prompt {
            Prompt::Text(text) => Either::A(text.into()),
            Prompt::Tokens(ids) => Either::B(ids.into()),
            // Bodies have no hashes.
            _ => Either::A(Vec::new().into()),
        },
        prompts: view.prompts as f64,
        cache_use: view.cache_use.as_str(),
        continues: text(&view.continues),
        stream: view.stream,
        include_usage: view.include_usage,
        max_tokens: view.max_tokens.map(f64::from),
        n: view.n.map(f64::from),
        priority: view.priority.map(|priority| priority as f64),
        session: text(&view.session),
        session_field: view.session_field.map(SessionField::as_str),
        cache_salt: text(&view.cache_salt),
        adapter: text(&view.adapter),
        multimodal: view.multimodal,
        kv_transfer: view.kv_transfer,
        request_id: text(&view.request_id),
    })
}

/// A body that asks for usage; null if there is nothing to do.
#[napi(ts_return_type = "Uint8Array | null")]
pub fn add_usage(
    #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    api: Option<String>,
    path: Option<String>,
) -> Result<Option<Uint8Array>> {
    let added = slotwise_wire::request::add_usage(which(api, path)?, body).map_err(unreadable)?;
    Ok(added.map(Uint8Array::from))
}

/// The body for one of the engines of a disaggregated request.
#[napi]
pub fn kv_transfer_body(
    #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    transfer: String,
    api: Option<String>,
    path: Option<String>,
    parameters: Option<String>,
    host: Option<String>,
    port: Option<f64>,
    room: Option<f64>,
) -> Result<Uint8Array> {
    let port = port.map_or(Ok(KvTransfer::BOOTSTRAP_PORT), |port| status("port", port))?;
    let room = to_request_id(room.unwrap_or_default())?.as_u64();
    let bootstrap = (host.as_deref().unwrap_or_default(), port, room);
    let transfer = names::kv_transfer(&transfer, parameters.as_deref(), bootstrap)
        .map_err(|error| Unfit::unknown("transfer", error))?;
    transfer.apply(which(api, path)?, body).map(Uint8Array::from).map_err(unreadable)
}

/// The parameters in the answer of a prefilling engine, as JSON.
#[napi]
pub fn kv_transfer_params(
    #[napi(ts_arg_type = "Uint8Array")] answer: Bytes<'_>,
) -> Result<Option<String>> {
    let found = slotwise_wire::request::kv_transfer_params(answer).map_err(unreadable)?;
    Ok(found.map(String::from))
}

/// The API of this name, or of this path.
fn which(api: Option<String>, path: Option<String>) -> std::result::Result<Api, Unfit> {
    match (api, path) {
        (Some(name), _) => named("api", &name),
        (None, path) => api_at(&path.unwrap_or_default()),
    }
}

/// The body with another model.
#[napi]
pub fn rewrite_model(
    #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    model: String,
) -> Result<Uint8Array> {
    slotwise_wire::request::rewrite_model(body, &model).map(Uint8Array::from).map_err(unreadable)
}

/// The API of a path that a request came to.
pub(crate) fn api_at(path: &str) -> std::result::Result<Api, Unfit> {
    names::api_at(path).map_err(|error| Unfit::unknown("path", error))
}
