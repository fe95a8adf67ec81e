//! What a request asks for. Text, token ids, hashes and bodies are read in place.

use std::borrow::Cow;

use napi::bindgen_prelude::Either3;
use napi_derive::napi;
use slotwise::{AnswerId, BlockHash, CacheUse, EndpointId, Instant, Priority, Request};
use slotwise_wire::headers::RequestHeaders;
use slotwise_wire::request::{PriorityOrder, RequestReader};

use crate::allow::{Allow, allowed};
use crate::body::api_of;
use crate::endpoint::{named, role};
use crate::error::{Result, Unfit, unreadable};
use crate::headers::{octets, pairs};
use crate::number::{count, endpoint_id, instant, positive, signed};

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
    /// Keys and values in turn: labels that the endpoint must carry.
    pub labels: Option<Vec<String>>,
    /// Endpoints that must not have it.
    pub exclude: Option<Vec<f64>>,
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
const KEPT: usize = 4 << 20;

const PRIORITY_ORDERS: [(&str, PriorityOrder); 2] = [
    (PriorityOrder::LowFirst.as_str(), PriorityOrder::LowFirst),
    (PriorityOrder::HighFirst.as_str(), PriorityOrder::HighFirst),
];

const CACHE_USES: [(&str, CacheUse); 3] = [
    (CacheUse::Read.as_str(), CacheUse::Read),
    (CacheUse::Unreported.as_str(), CacheUse::Unreported),
    (CacheUse::Unread.as_str(), CacheUse::Unread),
];

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
        let exclude = rare_options.exclude.as_deref().unwrap_or_default().iter();
        let exclude = exclude
            .map(|id| endpoint_id("exclude", *id))
            .collect::<std::result::Result<Vec<_>, Unfit>>()?;
        let mut request = self.over(Request::new(""), rare_options)?;
        request.labels = &labels;
        request.exclude = &exclude;
        match self.prompt {
            Either3::A(body) if rare_options.path.is_some() => {
                let answer =
                    self.with_body(now, reader, body, rare_options, (&labels, &exclude), ask);
                if body.len() > KEPT {
                    reader.shrink_to(KEPT);
                }
                answer
            }
            Either3::A(text) => {
                let text = &text[..text.len().min(self.bytes as usize)];
                Ok(ask(&request.text(text)))
            }
            Either3::B(ids) => Ok(ask(&request.tokens(ids))),
            Either3::C(hashes) => {
                let block_size =
                    positive("blockSize", rare_options.block_size.unwrap_or_default())?;
                let tokens = count("tokens", rare_options.tokens.unwrap_or_default())?;
                let hashes: Vec<BlockHash> = hashes.iter().map(|hash| BlockHash(*hash)).collect();
                Ok(ask(&request.blocks(&hashes, block_size, tokens)))
            }
        }
    }

    /// Explicit options take precedence over headers, and headers over the body.
    fn with_body<T>(
        &self,
        now: Instant,
        reader: &mut RequestReader,
        body: &[u8],
        rare_options: &RareOptions,
        (labels, exclude): (&[(&str, &str)], &[EndpointId]),
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T> {
        let api = api_of(rare_options.path.as_deref().unwrap_or_default())?;
        let order = match &rare_options.priority_order {
            Some(word) => named("priorityOrder", word, &PRIORITY_ORDERS)?,
            None => PriorityOrder::LowFirst,
        };
        let values: Vec<Cow<'_, [u8]>> =
            flat(&rare_options.headers).map(|(_, value)| octets(value)).collect();
        let names = flat(&rare_options.headers).map(|(name, _)| name);
        let allow = allowed(rare_options.allow.as_ref())?;
        let pairs: Vec<_> = pairs(names, &values).collect();
        let headers = RequestHeaders::read_allowed(&allow, pairs);
        let view = reader.read(api, body).map_err(unreadable)?;
        let request = view.to_request_allowed(order, &allow);
        let request = headers.apply_allowed(&allow, now, request);
        let mut request = self.over(request, rare_options)?;
        request.labels = labels;
        request.exclude = exclude;
        Ok(ask(&request))
    }

    /// The request with all that was asked for beside its prompt, but for labels.
    fn over<'r>(
        &'r self,
        request: Request<'r>,
        rare_options: &RareOptions,
    ) -> std::result::Result<Request<'r>, Unfit> {
        let mut request = request;
        request.model = self.model.unwrap_or(request.model);
        request.adapter = self.adapter.or(request.adapter);
        request.cache_salt = self.cache_salt.or(request.cache_salt);
        request.session = self.session.or(request.session);
        request.flow = self.flow.unwrap_or(request.flow);
        if let Some(priority) = self.priority {
            request.priority = Priority(signed("priority", priority)?);
        }
        if let Some(at) = self.deadline {
            request.deadline = Some(instant("deadline", at)?);
        }
        if let Some(tokens) = self.expected_output_tokens {
            request.expected_output_tokens = count("expectedOutputTokens", tokens)?;
        }
        if let Some(id) = &rare_options.continues {
            request.continues = Some(AnswerId::of(id));
        }
        if let Some(word) = &rare_options.cache_use {
            request.cache_use = named("cacheUse", word, &CACHE_USES)?;
        }
        if let Some(word) = &rare_options.role {
            request.role = role(word)?;
        }
        Ok(request)
    }
}

/// What comes in turn, as pairs.
fn flat(list: &Option<Vec<String>>) -> impl Iterator<Item = (&str, &str)> {
    list.as_deref().unwrap_or_default().chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]))
}
