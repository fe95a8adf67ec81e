//! Rejections, evictions and explanations.

use napi_derive::napi;
use slotwise::{Dispatch, Exclusion, Leg, Seconds};
use slotwise_gateway::RejectionTexts;

use crate::disaggregation::PrefillFacts;
use crate::error::Result;
use crate::number::{millis, to_endpoint_id, to_request_id};

/// Numbers that the caller reads when the call has returned: cheaper than an object.
pub type Numbers<'a> = &'a mut [f64];

/// Index of the first alternative in a dispatch's numbers. Before it: request, endpoint,
/// promptTokens, cachedTokens, bestCachedTokens, cost, queuedMs, firstTokenIn, predictedTtft,
/// predictedTpot, score, the number of alternatives, streams, and four numbers for each of the
/// legs, prefill and encode. A score of NaN stands for none.
const ALTERNATIVES: usize = 21;

/// Writes a dispatch into `numbers`: as many alternatives as fit.
pub(crate) fn write_dispatch(dispatch: &Dispatch, numbers: &mut [f64]) {
    let fit = dispatch.alternatives.len().min(numbers.len().saturating_sub(ALTERNATIVES));
    let head = [
        dispatch.request_id.as_u64() as f64,
        dispatch.endpoint_id.as_u64() as f64,
        dispatch.prompt_tokens.into(),
        dispatch.cached_tokens.into(),
        dispatch.best_cached_tokens.into(),
        dispatch.cost.get(),
        millis(dispatch.queue_time),
        dispatch.first_token_in.get(),
        dispatch.predicted_ttft.get(),
        dispatch.predicted_tpot.get(),
        dispatch.score.unwrap_or(f64::NAN),
        fit as f64,
        f64::from(u8::from(dispatch.streams)),
    ];
    let legs = [dispatch.prefill, dispatch.encode].map(leg_numbers);
    let alternatives = dispatch.alternatives[..fit].iter().map(|id| id.as_u64() as f64);
    for (place, number) in
        numbers.iter_mut().zip(head.into_iter().chain(legs.concat()).chain(alternatives))
    {
        *place = number;
    }
}

/// A dispatch with what its lease reads, from the numbers that JavaScript has kept.
pub(crate) fn read_dispatch(
    request_id: f64,
    endpoint_id: f64,
    first_token_in: f64,
    streams: bool,
) -> Result<Dispatch> {
    let (id, endpoint) = (to_request_id(request_id)?, to_endpoint_id("endpointId", endpoint_id)?);
    let mut dispatch = Dispatch::new(id, endpoint);
    (dispatch.first_token_in, dispatch.streams) = (Seconds::new(first_token_in), streams);
    Ok(dispatch)
}

/// Endpoint, cachedTokens, cost and doneIn; an endpoint of -1 stands for no leg.
fn leg_numbers(leg: Option<Leg>) -> [f64; 4] {
    leg.map_or([-1.0, 0.0, 0.0, 0.0], |leg| {
        let endpoint = leg.endpoint_id.as_u64() as f64;
        [endpoint, leg.cached_tokens.into(), leg.cost.get(), leg.done_in.get()]
    })
}

/// The request was rejected. Nothing was reserved.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Rejected {
    /// Discriminates it from a dispatch.
    #[napi(ts_type = "'rejected'")]
    pub kind: &'static str,
    /// Why.
    #[napi(
        ts_type = "'no_endpoints' | 'not_served' | 'too_large' | 'deadline_unreachable' | 'saturated' | 'shed' | 'queue_full' | 'name_too_long' | 'thread_not_found'"
    )]
    pub reason: &'static str,
    /// The recommended HTTP status.
    pub http_status: u16,
    /// Milliseconds after which to retry, if they can be estimated.
    pub retry_after_ms: Option<f64>,
    /// Why, and when to retry.
    pub message: String,
    /// Why, in one sentence for the client. `not_served` names the requested model and the served
    /// ones.
    pub sentence: String,
}

/// A queued request was evicted. Nothing is reserved.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Evicted {
    /// Discriminates it from a dispatch.
    #[napi(ts_type = "'evicted'")]
    pub kind: &'static str,
    /// The number of the request.
    pub request_id: f64,
    /// Why.
    #[napi(
        ts_type = "'ttl_expired' | 'no_endpoints' | 'deadline_unreachable' | 'displaced' | 'too_large' | 'thread_not_found'"
    )]
    pub reason: &'static str,
    /// The recommended HTTP status.
    pub http_status: u16,
    /// Milliseconds after which to retry, if they can be estimated.
    pub retry_after_ms: Option<f64>,
    /// How long it waited, in milliseconds.
    pub queue_time_ms: f64,
}

/// A request that was queued while another one was evicted.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Queued {
    /// The number of the queued request.
    pub request_id: f64,
    /// The eviction, which may be that of the queued request.
    pub evicted: Evicted,
}

/// What a pick would decide, and what every endpoint would cost, term by term.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Explanation {
    /// Where the request would go; null if it would not.
    pub endpoint_id: Option<f64>,
    /// Why it would not go; null if it would.
    pub rejected: Option<Rejected>,
    /// Tokens of the prompt: counted, or estimated from text.
    pub prompt_tokens: u32,
    /// The most that any endpoint of the pool is expected to find in its cache.
    pub best_cached_tokens: u32,
    /// The endpoint that would compute the prompt first; null if none.
    pub prefill: Option<f64>,
    /// The endpoint that would encode the media first; null if none.
    pub encode: Option<f64>,
    /// What the prefill decider reads; null if there is no decision.
    pub decider_facts: Option<PrefillFacts>,
    /// Every endpoint: eligible ones first, the best one leading, then the others by id.
    pub candidates: Vec<Candidate>,
    /// The stages before the answer for which endpoints were compared.
    pub stages: Vec<StageExplanation>,
    /// What the best eligible endpoint that was not chosen lacks.
    pub runner_up: Option<RunnerUp>,
    /// The same as a table, for people.
    pub table: String,
}

/// The endpoints for a stage before the answer.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct StageExplanation {
    /// The stage.
    #[napi(ts_type = "'encode' | 'prefill'")]
    pub stage: &'static str,
    /// Every endpoint: eligible ones first, the best one leading, then the others by id.
    pub candidates: Vec<Candidate>,
    /// What the second of the eligible endpoints lacks.
    pub runner_up: Option<RunnerUp>,
}

/// What would have had to change for the runner-up to win.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RunnerUp {
    /// The runner-up.
    pub endpoint_id: f64,
    /// How far it is behind: in seconds of cost, or in score if a scheduling profile chooses.
    pub behind: f64,
    /// The term of the cost, or the scorer, in which it lost most.
    pub lost_most_in: Option<&'static str>,
    /// The difference in that term or score.
    pub lost: f64,
}

/// The score of one scorer of a scheduling profile.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ScorerScore {
    /// The scorer's name.
    pub scorer: &'static str,
    /// The factor of its scores.
    pub weight: f64,
    /// The score as the scorer returned it.
    pub raw: f64,
    /// The score, clamped to 0 to 1, times the weight.
    pub weighted: f64,
}

/// One endpoint, as the request sees it. Times are seconds.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint_id: f64,
    /// Its name.
    pub name: String,
    /// Why it cannot have the request, if so.
    #[napi(
        ts_type = "'elsewhere' | 'not_served' | 'not_in_subset' | 'excluded' | 'draining' | 'sleeping' | 'too_large' | 'too_late' | 'too_slow' | 'backed_off' | 'ramping' | 'session_limit' | 'filtered' | 'full' | null"
    )]
    pub excluded: Option<&'static str>,
    /// Prompt tokens that it is expected to find in its cache.
    pub cached_tokens: u32,
    /// Predicted seconds to the first token.
    pub first_token_in: f64,
    /// The same, with the overheads of the engine's steps.
    pub predicted_ttft: f64,
    /// Predicted mean seconds per output token.
    pub predicted_tpot: f64,
    /// Seconds by which the predicted time to first token is below the service level; negative if
    /// it misses it.
    pub ttft_headroom: Option<f64>,
    /// The same of the time per output token.
    pub tpot_headroom: Option<f64>,
    /// The cost, term by term.
    pub terms: CostTerms,
    /// Their sum, in seconds.
    pub cost: f64,
    /// The weighted sum of the scores, if a scheduling profile chooses.
    pub score: Option<f64>,
    /// Each scorer's raw and weighted score, if a scheduling profile chooses.
    pub scores: Vec<ScorerScore>,
    /// The filter of a scheduling profile that removed the endpoint.
    pub filtered_by: Option<&'static str>,
    /// Why its KV events are not used: the code of the last refusal, while the endpoint is not
    /// precise.
    pub kv_refusal: Option<&'static str>,
    /// Why it is backed off, if it is.
    #[napi(ts_type = "'unreachable' | 'failed' | 'unanswered' | 'late' | 'probe' | null")]
    pub backoff: Option<&'static str>,
    /// For how many seconds from now on, before a trial.
    pub backoff_remaining: f64,
}

/// The cost of one endpoint for one request, term by term, in seconds, with the prices already on.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CostTerms {
    /// Booked prefill before my turn.
    pub queue: f64,
    /// Waiting for room in the KV cache.
    pub kv_admission_wait: f64,
    /// My own prefill.
    pub prefill: f64,
    /// What others must compute again because of me.
    pub cache_eviction: f64,
    /// The share of the KV cache that is in use with me.
    pub kv: f64,
    /// Running answers that stand still while I prefill.
    pub decode: f64,
    /// Loading adapters.
    pub adapter: f64,
    /// Time until an endpoint that failed is trusted again.
    pub failure_backoff: f64,
}

/// The endpoints that could have a request, column by column.
#[napi(object, object_from_js = false)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct Columns {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many endpoints there are.
    pub rows: u32,
    /// One column after the other: endpoint, cachedTokens, firstTokenIn, queue, kvAdmissionWait,
    /// prefill, cacheEviction, kv, decode, adapter, failureBackoff, cost.
    #[napi(ts_type = "Float64Array")]
    pub numbers: napi::bindgen_prelude::Float64Array,
}

impl Rejected {
    /// The rejection of a request, with the message for its client.
    pub(crate) fn new(
        core: &slotwise::Scheduler,
        request: &slotwise::Request<'_>,
        rejected: slotwise::Rejected,
    ) -> Self {
        let RejectionTexts { sentence, message, .. } =
            RejectionTexts::new(core, request, &rejected);
        Self { message, sentence, ..Self::from(rejected) }
    }
}

impl From<slotwise::Rejected> for Rejected {
    fn from(rejected: slotwise::Rejected) -> Self {
        Self {
            kind: "rejected",
            reason: rejected.reason.code(),
            http_status: rejected.http_status(),
            retry_after_ms: rejected.retry_after.map(millis),
            message: rejected.to_string(),
            sentence: rejected.reason.to_string(),
        }
    }
}

impl From<slotwise::Evicted> for Evicted {
    fn from(evicted: slotwise::Evicted) -> Self {
        Self {
            kind: "evicted",
            request_id: evicted.request_id.as_u64() as f64,
            reason: evicted.reason.code(),
            http_status: evicted.reason.http_status(),
            retry_after_ms: evicted.retry_after.map(millis),
            queue_time_ms: millis(evicted.queue_time),
        }
    }
}

impl From<slotwise::Explanation> for Explanation {
    fn from(explanation: slotwise::Explanation) -> Self {
        let table = explanation.to_string();
        let (endpoint_id, rejected) = match explanation.verdict {
            Ok(endpoint) => (Some(endpoint.as_u64() as f64), None),
            Err(rejected) => (None, Some(rejected.into())),
        };
        Self {
            endpoint_id,
            rejected,
            prompt_tokens: explanation.prompt_tokens,
            best_cached_tokens: explanation.best_cached_tokens,
            prefill: explanation.prefill.map(|id| id.as_u64() as f64),
            encode: explanation.encode.map(|id| id.as_u64() as f64),
            decider_facts: explanation.decider_facts.map(PrefillFacts::from),
            candidates: explanation.candidates.into_iter().map(Candidate::from).collect(),
            stages: explanation.stages.into_iter().map(StageExplanation::from).collect(),
            runner_up: explanation.runner_up.map(RunnerUp::from),
            table,
        }
    }
}

impl From<slotwise::Candidate> for Candidate {
    fn from(candidate: slotwise::Candidate) -> Self {
        Self {
            endpoint_id: candidate.endpoint_id.as_u64() as f64,
            name: candidate.name,
            excluded: candidate.excluded.map(Exclusion::code),
            cached_tokens: candidate.cached_tokens,
            first_token_in: candidate.first_token_in.get(),
            predicted_ttft: candidate.predicted_ttft.get(),
            predicted_tpot: candidate.predicted_tpot.get(),
            ttft_headroom: candidate.ttft_headroom,
            tpot_headroom: candidate.tpot_headroom,
            terms: candidate.terms.into(),
            cost: candidate.cost.get(),
            score: candidate.score,
            scores: candidate.scores.iter().map(ScorerScore::from).collect(),
            filtered_by: candidate.filtered_by,
            kv_refusal: candidate.kv_refusal,
            backoff: candidate.backoff.map(slotwise::BackoffCause::code),
            backoff_remaining: candidate.backoff_remaining.get(),
        }
    }
}

impl From<slotwise::StageExplanation> for StageExplanation {
    fn from(stage: slotwise::StageExplanation) -> Self {
        Self {
            stage: stage.stage.as_str(),
            candidates: stage.candidates.into_iter().map(Candidate::from).collect(),
            runner_up: stage.runner_up.map(RunnerUp::from),
        }
    }
}

impl From<slotwise::RunnerUp> for RunnerUp {
    fn from(margin: slotwise::RunnerUp) -> Self {
        Self {
            endpoint_id: margin.endpoint_id.as_u64() as f64,
            behind: margin.behind,
            lost_most_in: margin.lost_most_in,
            lost: margin.lost,
        }
    }
}

impl From<&slotwise::plugins::ScoreExplanation> for ScorerScore {
    fn from(score: &slotwise::plugins::ScoreExplanation) -> Self {
        let slotwise::plugins::ScoreExplanation { scorer, weight, raw, weighted, .. } = *score;
        Self { scorer, weight, raw, weighted }
    }
}

impl From<slotwise::CostTerms> for CostTerms {
    fn from(terms: slotwise::CostTerms) -> Self {
        Self {
            queue: terms.queue.get(),
            kv_admission_wait: terms.kv_admission_wait.get(),
            prefill: terms.prefill.get(),
            cache_eviction: terms.cache_eviction.get(),
            kv: terms.kv.get(),
            decode: terms.decode.get(),
            adapter: terms.adapter.get(),
            failure_backoff: terms.failure_backoff.get(),
        }
    }
}

impl From<slotwise::Explanation> for Columns {
    fn from(explanation: slotwise::Explanation) -> Self {
        let rows: Vec<slotwise::Candidate> = explanation
            .candidates
            .into_iter()
            .filter(|candidate| candidate.excluded.is_none())
            .collect();
        let columns: [fn(&slotwise::Candidate) -> f64; 12] = [
            |row| row.endpoint_id.as_u64() as f64,
            |row| row.cached_tokens.into(),
            |row| row.first_token_in.get(),
            |row| row.terms.queue.get(),
            |row| row.terms.kv_admission_wait.get(),
            |row| row.terms.prefill.get(),
            |row| row.terms.cache_eviction.get(),
            |row| row.terms.kv.get(),
            |row| row.terms.decode.get(),
            |row| row.terms.adapter.get(),
            |row| row.terms.failure_backoff.get(),
            |row| row.cost.get(),
        ];
        let numbers: Vec<f64> = columns.iter().flat_map(|column| rows.iter().map(column)).collect();
        Self {
            prompt_tokens: explanation.prompt_tokens,
            rows: rows.len() as u32,
            numbers: numbers.into(),
        }
    }
}
