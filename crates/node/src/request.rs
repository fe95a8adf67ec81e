//! What a request asks for. Text, token ids, hashes and bodies are read in place.

use std::borrow::Cow;

use napi::bindgen_prelude::{Either, Either3};
use napi_derive::napi;
use slotwise::{BlockHash, EndpointId, Instant, Priority, Request, Subset};
use slotwise_gateway::RequestOptions;
use slotwise_wire::headers::RequestHeaders;
use slotwise_wire::request::{PriorityOrder, RequestReader};

use crate::allow::{Allow, allowed};
use crate::body::api_at;
use crate::error::{Result, Unfit, named, unreadable};
use crate::headers::{octets, pairs};
use crate::number::{count, duration, instant, positive, signed, to_endpoint_id};

/// Bytes of text, of a body or of a snapshot, in place.
pub type Bytes<'a> = &'a [u8];
/// Token ids, in place.
pub type TokenIds<'a> = &'a [u32];
/// Hashes of blocks, in place.
pub type Hashes<'a> = &'a [u64];

/// A prompt, in place.
pub type Prompt<'a> = Either3<Bytes<'a>, TokenIds<'a>, Hashes<'a>>;

/// Options that few requests use: an object costs more than arguments, but only when given.
#[napi(object, object_to_js = false)]
#[derive(Debug, Default)]
pub struct RareOptions {
    /// Which stages the endpoint must run.
    pub role: Option<String>,
    /// Whether the answer comes as a stream.
    pub streams: Option<bool>,
    /// Whether the request has media, which another endpoint may encode.
    pub multimodal: Option<bool>,
    /// Keys and values in turn: labels that the endpoint must carry.
    pub labels: Option<Vec<String>>,
    /// Names and values in turn: headers that plugins may read.
    pub plugin_headers: Option<Vec<String>>,
    /// Endpoints that must not have it.
    pub exclude: Option<Vec<f64>>,
    /// The only endpoints that may have it.
    pub subset: Option<Either<Vec<f64>, String>>,
    /// How the ports of a subset's addresses are compared.
    pub subset_ports: Option<String>,
    /// The service level of the time to first token.
    pub slo_ttft_ms: Option<f64>,
    /// The service level of the time per output token.
    pub slo_tpot_ms: Option<f64>,
    /// Tokens in a block of ready hashes.
    pub block_size: Option<f64>,
    /// Tokens in the prompt of ready hashes.
    pub tokens: Option<f64>,
    /// The path that the request came to: its bytes are a body, and no prompt.
    pub path: Option<String>,
    /// Names and values in turn: headers that came with the body, one character for each byte.
    pub headers: Option<Vec<String>>,
    /// Which way the priorities of bodies go.
    pub priority_order: Option<String>,
    /// What of the body and its headers counts.
    pub allow: Option<Allow>,
    /// What the engine does with its cache for the request.
    pub cache_use: Option<String>,
    /// The id of the answer that it goes on from.
    pub continues: Option<String>,
}

/// Bytes that the buffers of a reader keep from one body to the next.
pub(crate) const KEPT: usize = 4 << 20;

/// One request for a decision, as it arrives. The body and its headers, if any, supply the absent
/// fields.
pub(crate) struct Asked<'a> {
    pub(crate) prompt: Prompt<'a>,
    /// Bytes of the text that count: it may be the beginning of a longer buffer.
    pub(crate) bytes: f64,
    pub(crate) model: Option<&'a str>,
    pub(crate) adapter: Option<&'a str>,
    pub(crate) cache_salt: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) flow: Option<&'a str>,
    pub(crate) priority: Option<f64>,
    pub(crate) deadline: Option<f64>,
    pub(crate) expected_output_tokens: Option<f64>,
    pub(crate) rare_options: Option<&'a RareOptions>,
    /// Of a body; otherwise the rare options may have it.
    pub(crate) body: Option<BodyOptions<'a>>,
}

/// What came with a body.
#[derive(Clone, Copy)]
pub(crate) struct BodyOptions<'a> {
    pub(crate) path: &'a str,
    /// Names and values in turn.
    pub(crate) headers: &'a [String],
    pub(crate) priority_order: Option<&'a str>,
    pub(crate) allow: Option<&'a Allow>,
}

impl<'a> BodyOptions<'a> {
    /// Those of a body among rare options.
    fn of(rare_options: &'a RareOptions) -> Option<Self> {
        Some(Self {
            path: rare_options.path.as_deref()?,
            headers: rare_options.headers.as_deref().unwrap_or_default(),
            priority_order: rare_options.priority_order.as_deref(),
            allow: rare_options.allow.as_ref(),
        })
    }
}

impl Asked<'_> {
    /// Builds the core's request and passes it on.
    pub(crate) fn with<T>(
        &self,
        now: Instant,
        reader: &mut RequestReader,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T> {
        let none = RareOptions::default();
        let rare_options = self.rare_options.unwrap_or(&none);
        let labels: Vec<(&str, &str)> = flat(&rare_options.labels).collect();
        let plugin_headers: Vec<(&str, &str)> = flat(&rare_options.plugin_headers).collect();
        let exclude = rare_options.exclude.as_deref().unwrap_or_default().iter();
        let exclude = exclude
            .map(|id| to_endpoint_id("exclude", *id))
            .collect::<std::result::Result<Vec<_>, Unfit>>()?;
        let ids = subset_ids(rare_options)?;
        let options = self.options(rare_options, [&labels, &plugin_headers], &exclude, &ids)?;
        let request = options.apply(Request::new(""));
        match (self.prompt, self.body.or_else(|| BodyOptions::of(rare_options))) {
            (Either3::A(body), Some(came)) => {
                let answer = with_body(now, reader, body, came, &options, ask);
                if body.len() > KEPT {
                    reader.shrink_to(KEPT);
                }
                answer
            }
            (Either3::A(text), None) => {
                let text = &text[..text.len().min(self.bytes as usize)];
                Ok(ask(&request.text(text)))
            }
            (Either3::B(ids), _) => Ok(ask(&request.tokens(ids))),
            (Either3::C(hashes), _) => {
                let block_size =
                    positive("blockSize", rare_options.block_size.unwrap_or_default())?;
                let tokens = count("tokens", rare_options.tokens.unwrap_or_default())?;
                let hashes: Vec<BlockHash> = hashes.iter().map(|hash| BlockHash(*hash)).collect();
                Ok(ask(&request.blocks(&hashes, block_size, tokens)))
            }
        }
    }

    /// What was asked for beside the prompt, as the gateway crate takes it.
    fn options<'o>(
        &'o self,
        rare_options: &'o RareOptions,
        [labels, plugin_headers]: [&'o [(&'o str, &'o str)]; 2],
        exclude: &'o [EndpointId],
        subset_ids: &'o [EndpointId],
    ) -> std::result::Result<RequestOptions<'o>, Unfit> {
        let priority = self.priority.map(|priority| signed("priority", priority)).transpose()?;
        let tokens = self.expected_output_tokens;
        let (cache_use, role) = (&rare_options.cache_use, &rare_options.role);
        Ok(RequestOptions {
            model: self.model,
            adapter: self.adapter,
            cache_salt: self.cache_salt,
            cache_use: cache_use.as_ref().map(|word| named("cacheUse", word)).transpose()?,
            continues: rare_options.continues.as_deref(),
            session: self.session,
            flow: self.flow,
            priority: priority.map(Priority),
            deadline: self.deadline.map(|at| instant("deadline", at)).transpose()?,
            expected_output_tokens: tokens
                .map(|tokens| count("expectedOutputTokens", tokens))
                .transpose()?,
            slo_ttft: rare_options.slo_ttft_ms.map(|ms| duration("sloTtftMs", ms)).transpose()?,
            slo_tpot: rare_options.slo_tpot_ms.map(|ms| duration("sloTpotMs", ms)).transpose()?,
            role: role.as_ref().map(|word| named("role", word)).transpose()?,
            multimodal: rare_options.multimodal.unwrap_or_default(),
            streams: rare_options.streams,
            labels,
            plugin_headers,
            exclude,
            subset: subset(rare_options, subset_ids),
            subset_ports: rare_options
                .subset_ports
                .as_ref()
                .map(|word| named("subsetPorts", word))
                .transpose()?,
            ..RequestOptions::default()
        })
    }
}

/// Reads a body and its headers, and passes the request on.
fn with_body<T>(
    now: Instant,
    reader: &mut RequestReader,
    body: &[u8],
    came: BodyOptions<'_>,
    options: &RequestOptions<'_>,
    ask: impl FnOnce(&Request<'_>) -> T,
) -> Result<T> {
    let api = api_at(came.path)?;
    let order = match came.priority_order {
        Some(word) => named("priorityOrder", word)?,
        None => PriorityOrder::LowFirst,
    };
    let values: Vec<Cow<'_, [u8]>> =
        came.headers.chunks_exact(2).map(|pair| octets(&pair[1])).collect();
    let names = came.headers.chunks_exact(2).map(|pair| &*pair[0]);
    let allow = allowed(came.allow)?;
    let pairs: Vec<_> = pairs(names, &values).collect();
    let headers = RequestHeaders::read_allowed(&allow, pairs);
    let view = reader.read(api, body).map_err(unreadable)?;
    let request = view.to_request_allowed(order, &allow);
    Ok(ask(&options.merge(now, &allow, &headers, request)))
}

/// The ids of a subset that lists ids.
fn subset_ids(rare_options: &RareOptions) -> std::result::Result<Vec<EndpointId>, Unfit> {
    match &rare_options.subset {
        Some(Either::A(ids)) => ids.iter().map(|id| to_endpoint_id("subset", *id)).collect(),
        Some(Either::B(_)) | None => Ok(Vec::new()),
    }
}

/// The only endpoints that may have the request.
fn subset<'r>(rare_options: &'r RareOptions, ids: &'r [EndpointId]) -> Option<Subset<'r>> {
    rare_options.subset.as_ref().map(|subset| match subset {
        Either::A(_) => Subset::Ids(ids),
        Either::B(list) => Subset::addresses(list),
    })
}

/// What comes in turn, as pairs.
fn flat(list: &Option<Vec<String>>) -> impl Iterator<Item = (&str, &str)> {
    list.as_deref().unwrap_or_default().chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]))
}
