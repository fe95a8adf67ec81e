//! Decisions, and requests by their ids: functions that take the number of a scheduler.
#![expect(clippy::too_many_arguments, reason = "one object for all would cost a microsecond")]

use std::collections::HashMap;
use std::time::Duration;

use napi::{Either, bindgen_prelude::Either3};
use napi_derive::napi;
use slotwise::{Decision, Dispatch, Instant, Request, RequestId, Seconds};

use super::open::opened;
use super::{Shared, State};
use crate::allow::Allow;
use crate::answer::{Columns, Evicted, Explanation, Numbers, Queued, Rejected, write_dispatch};
use crate::attribute::usage;
use crate::error::{Result, named, thrown};
use crate::number::{count, instant, patience, to_endpoint_id, to_request_id, weight};
use crate::request::{Asked, BodyOptions, Prompt, RareOptions};

impl Shared {
    /// Decides about a request. A rejection carries the message for the client.
    fn decide_by<T>(
        &self,
        now: Instant,
        asked: Asked<'_>,
        decide: impl FnOnce(&mut slotwise::Scheduler, &Request<'_>) -> Decided<T>,
    ) -> Result<std::result::Result<T, Rejected>> {
        self.with(|State { gateway, requests }| {
            let scheduler = gateway.scheduler_mut();
            asked.with(now, requests, |request| {
                decide(scheduler, request)
                    .map_err(|rejected| Rejected::new(scheduler, request, rejected))
            })
        })
    }

    fn explained<T: From<slotwise::Explanation>>(
        &self,
        now: Instant,
        asked: Asked<'_>,
    ) -> Result<T> {
        self.with(|State { gateway, requests }| {
            asked.with(now, requests, |request| gateway.scheduler().explain(now, request).into())
        })
    }
}

/// A request as it enters the queue. The host's time to live comes before that of headers.
fn queued<'a>(request: &Request<'a>, ttl: Option<Duration>, weight: f64) -> Request<'a> {
    let mut request = request.clone();
    request.ttl = ttl.or(request.ttl);
    request.weight = weight;
    request
}

/// What becomes of a request that is not rejected.
enum Submitted {
    Picked(Dispatch),
    Waits(RequestId),
}

/// A decision of the core.
type Decided<T> = std::result::Result<T, slotwise::Rejected>;

/// Chooses and reserves. A dispatch is written into `numbers`; a rejection is returned.
#[napi(namespace = "requests")]
pub fn pick(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
    #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
) -> Result<Option<Rejected>> {
    let now = instant("now", now)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: None,
    };
    let picked =
        opened(number)?.decide_by(now, asked, |scheduler, request| scheduler.pick(now, request))?;
    Ok(picked.map(|dispatch| write_dispatch(&dispatch, numbers)).err())
}

/// `pick` at the host's costs: `costs[i]` seconds for `endpoints[i]`.
#[napi(namespace = "requests")]
pub fn pick_by(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
    #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
    #[napi(ts_arg_type = "Float64Array")] endpoints: Numbers<'_>,
    #[napi(ts_arg_type = "Float64Array")] costs: Numbers<'_>,
) -> Result<Option<Rejected>> {
    let now = instant("now", now)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: None,
    };
    let costs: HashMap<u64, Seconds> = endpoints
        .iter()
        .zip(costs.iter())
        .map(|(endpoint, cost)| (*endpoint as u64, Seconds::new(*cost)))
        .collect();
    let cost = |endpoint: slotwise::EndpointId, terms: &slotwise::CostTerms| {
        costs.get(&endpoint.as_u64()).copied().unwrap_or_else(|| terms.total())
    };
    let picked = opened(number)?
        .decide_by(now, asked, |scheduler, request| scheduler.pick_by(now, request, cost))?;
    Ok(picked.map(|dispatch| write_dispatch(&dispatch, numbers)).err())
}

/// Queues a request: returns its id, or a rejection.
#[napi(namespace = "requests", ts_return_type = "number | Rejected")]
pub fn submit(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
    ttl: Option<f64>,
    weight: f64,
) -> Result<Either<f64, Rejected>> {
    let now = instant("now", now)?;
    let ttl = ttl.map(|ttl| patience("ttlMs", ttl)).transpose()?;
    let weight = self::weight("weight", weight)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: None,
    };
    let submitted = opened(number)?.decide_by(now, asked, |scheduler, request| {
        scheduler.submit(now, &queued(request, ttl, weight))
    })?;
    Ok(match submitted {
        Ok(id) => Either::A(id.as_u64() as f64),
        Err(rejected) => Either::B(rejected),
    })
}

/// Queues a request, and polls one decision: returns the request's id, or a rejection. The
/// number in the first place of `numbers` is the request of the polled dispatch, which is not
/// always this one; -1 stands for none. An eviction is returned with the id.
///
/// With a path, the prompt is a body that came there. Unless the request waits for endpoints,
/// it is rejected where there is none.
#[napi(namespace = "requests", ts_return_type = "number | Rejected | Queued")]
pub fn decide(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
    path: Option<String>,
    headers: Option<Vec<String>>,
    priority_order: Option<String>,
    allow: Option<Allow>,
    ttl: Option<f64>,
    weight: f64,
    waits_for_endpoints: bool,
    #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
) -> Result<Either3<f64, Rejected, Queued>> {
    let at = instant("now", now)?;
    let ttl = ttl.map(|ttl| patience("ttlMs", ttl)).transpose()?;
    let weight = self::weight("weight", weight)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: path.as_deref().map(|path| BodyOptions {
            path,
            headers: headers.as_deref().unwrap_or_default(),
            priority_order: priority_order.as_deref(),
            allow: allow.as_ref(),
        }),
    };
    let submitted = opened(number)?.decide_by(at, asked, |scheduler, request| {
        if !waits_for_endpoints && scheduler.accepting_endpoints() == 0 {
            return scheduler.pick(at, request).map(Submitted::Picked);
        }
        scheduler.submit(at, &queued(request, ttl, weight)).map(Submitted::Waits)
    })?;
    let id = match submitted {
        Ok(Submitted::Waits(id)) => id,
        Ok(Submitted::Picked(dispatch)) => {
            write_dispatch(&dispatch, numbers);
            return Ok(Either3::A(dispatch.request_id.as_u64() as f64));
        }
        Err(rejected) => return Ok(Either3::B(rejected)),
    };
    let request_id = id.as_u64() as f64;
    if let Some(first) = numbers.first_mut() {
        *first = -1.0;
    }
    Ok(match poll_decision(number, now, numbers)? {
        Either::A(_) => Either3::A(request_id),
        Either::B(evicted) => Either3::C(Queued { request_id, evicted }),
    })
}

/// The next decision about a submitted request: false if there is none. True stands for a
/// dispatch, which is written into `numbers`; an eviction is returned.
#[napi(namespace = "requests", ts_return_type = "boolean | Evicted")]
pub fn poll_decision(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
) -> Result<Either<bool, Evicted>> {
    let now = instant("now", now)?;
    opened(number)?.with(|state| match state.gateway.poll_decision(now) {
        Some(Decision::Dispatch(dispatch)) => {
            write_dispatch(&dispatch, numbers);
            Ok(Either::A(true))
        }
        Some(Decision::Evict(evicted)) => Ok(Either::B(evicted.into())),
        _ => Ok(Either::A(false)),
    })
}

/// Requests of negative priority whose preemption makes room for others.
#[napi(namespace = "requests")]
pub fn preemption_candidates(number: f64, most: f64) -> Result<Vec<f64>> {
    let most = count("most", most)? as usize;
    opened(number)?.query(|scheduler| {
        Ok(scheduler.preemption_candidates(most).into_iter().map(|id| id.as_u64() as f64).collect())
    })
}

/// What `pick` would decide, with every candidate's cost.
#[napi(namespace = "requests")]
pub fn explain(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
) -> Result<Explanation> {
    let now = instant("now", now)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: None,
    };
    opened(number)?.explained(now, asked)
}

/// The eligible endpoints of a request, column by column.
#[napi(namespace = "requests")]
pub fn candidates(
    number: f64,
    now: f64,
    #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
    bytes: f64,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
    session: Option<String>,
    flow: Option<String>,
    priority: Option<f64>,
    deadline: Option<f64>,
    expected_output_tokens: Option<f64>,
    rare_options: Option<RareOptions>,
) -> Result<Columns> {
    let now = instant("now", now)?;
    let asked = Asked {
        prompt,
        bytes,
        model: model.as_deref(),
        adapter: adapter.as_deref(),
        cache_salt: cache_salt.as_deref(),
        session: session.as_deref(),
        flow: flow.as_deref(),
        priority,
        deadline,
        expected_output_tokens,
        rare_options: rare_options.as_ref(),
        body: None,
    };
    opened(number)?.explained(now, asked)
}

/// The first token of a request arrived.
#[napi(namespace = "requests")]
pub fn handle_first_token(number: f64, now: f64, request_id: f64) -> Result<()> {
    let (now, id) = (instant("now", now)?, to_request_id(request_id)?);
    opened(number)?.input(|scheduler| scheduler.handle_first_token(now, id).map_err(thrown))
}

/// The answer of a request grew.
#[napi(namespace = "requests")]
pub fn handle_tokens(number: f64, now: f64, request_id: f64, tokens: f64) -> Result<()> {
    let (now, id, tokens) =
        (instant("now", now)?, to_request_id(request_id)?, count("tokens", tokens)?);
    opened(number)?.input(|scheduler| scheduler.handle_tokens(now, id, tokens).map_err(thrown))
}

/// Records the id of the answer to a request.
#[napi(namespace = "requests")]
pub fn handle_answer(number: f64, now: f64, request_id: f64, answer: String) -> Result<()> {
    let (now, id) = (instant("now", now)?, to_request_id(request_id)?);
    opened(number)?.input(|scheduler| {
        scheduler.handle_answer(now, id, slotwise::AnswerId::of(&answer)).map_err(thrown)
    })
}

/// A request completed.
#[napi(namespace = "requests")]
pub fn complete(
    number: f64,
    now: f64,
    request_id: f64,
    prompt_tokens: Option<f64>,
    cached_tokens: Option<f64>,
    completion_tokens: Option<f64>,
) -> Result<()> {
    let (now, id) = (instant("now", now)?, to_request_id(request_id)?);
    let usage = usage(prompt_tokens, cached_tokens, completion_tokens)?;
    opened(number)?.input(|scheduler| scheduler.complete(now, id, usage).map_err(thrown))
}

/// A request failed.
#[napi(namespace = "requests")]
pub fn fail(number: f64, now: f64, request_id: f64, why: String) -> Result<()> {
    let (now, id, failure) =
        (instant("now", now)?, to_request_id(request_id)?, named("failure", &why)?);
    opened(number)?.input(|scheduler| scheduler.fail(now, id, failure).map_err(thrown))
}

/// The client disconnected. Returns whether the request was in flight or queued.
#[napi(namespace = "requests")]
pub fn cancel(number: f64, now: f64, request_id: f64) -> Result<bool> {
    let (now, id) = (instant("now", now)?, to_request_id(request_id)?);
    opened(number)?.input(|scheduler| Ok(scheduler.cancel(now, id)))
}

/// A request went to another endpoint than was decided.
#[napi(namespace = "requests")]
pub fn redirect(
    number: f64,
    now: f64,
    request_id: f64,
    endpoint_id: f64,
    failure: String,
) -> Result<()> {
    let (now, id, to) = (
        instant("now", now)?,
        to_request_id(request_id)?,
        to_endpoint_id("endpointId", endpoint_id)?,
    );
    let failure = named("failure", &failure)?;
    opened(number)?
        .input(|scheduler| scheduler.redirect_after(now, id, to, failure).map_err(thrown))
}
