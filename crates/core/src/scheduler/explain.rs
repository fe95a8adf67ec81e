//! Explains a decision: the cost of every candidate, term by term.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use crate::decision::Rejected;
use crate::disaggregation::DeciderFacts;
use crate::endpoint::EndpointId;
use crate::placement::{
    self, CycleKeys, Exclusion, Lookup, Placement, PredictedLatency, Preview, Query, Ranking,
    RankingKey, SearchFrontier,
};
use crate::plan::{Plan, answer_role, plan};
use crate::plugins::ScoreExplanation;
use crate::pool::BackoffCause;
use crate::profile::CostTerms;
use crate::request::Request;
use crate::time::{Instant, Seconds};

/// The decision of [`pick`](Scheduler::pick), and the cost of every endpoint, term by term.
///
/// [`Display`](core::fmt::Display) writes a table.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The chosen endpoint, or the rejection.
    pub verdict: Result<EndpointId, Rejected>,
    /// Tokens of the prompt: counted, or estimated from text.
    pub prompt_tokens: u32,
    /// The most prompt tokens that any endpoint is expected to find in its cache.
    pub best_cached_tokens: u32,
    /// The endpoint that computes the prompt first, if that pays.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prefill: Option<EndpointId>,
    /// The endpoint that encodes the media first.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub encode: Option<EndpointId>,
    /// What the prefill decider read, if there was a decision. `disaggregated` is zero if the
    /// decider compares no costs and has disagreed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub decider_facts: Option<DeciderFacts>,
    /// Every endpoint: first the eligible ones, best first, then the excluded ones by id.
    pub candidates: Vec<Candidate>,
    /// What the best endpoint that was not chosen lacks; `None` without a choice, or without a
    /// second eligible endpoint.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub runner_up: Option<RunnerUp>,
}

/// What would have had to change for the best endpoint that was not chosen to win.
///
/// Differences are in seconds of cost, or in score if a scheduling profile chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RunnerUp {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// By how much the chosen endpoint is better. Zero means that the tie break decided; negative
    /// means that a random picker chose a lower score.
    pub behind: f64,
    /// The term of the cost, or the scorer, in which the endpoint lost most; `None` if it lost in
    /// none.
    pub lost_most_in: Option<&'static str>,
    /// The difference in that term.
    pub lost: f64,
}

/// One endpoint, weighed for the request.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Candidate {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The name of the endpoint.
    pub name: String,
    /// Why the endpoint is excluded, if it is.
    pub excluded: Option<Exclusion>,
    /// Prompt tokens that the endpoint is expected to find in its cache.
    pub cached_tokens: u32,
    /// Predicted time to the first token: booked prefill, waiting for KV cache, the request's own
    /// prefill, and loading the adapter.
    pub first_token_in: Seconds,
    /// Predicted time to first token: see [`Dispatch`](crate::Dispatch::predicted_ttft).
    pub predicted_ttft: Seconds,
    /// Predicted time per output token.
    pub predicted_tpot: Seconds,
    /// Seconds by which the predicted time to first token is below the request's service level;
    /// negative if it misses it.
    pub ttft_headroom: Option<f64>,
    /// The same of the time per output token.
    pub tpot_headroom: Option<f64>,
    /// The cost, term by term.
    pub terms: CostTerms,
    /// The sum of the terms.
    pub cost: Seconds,
    /// The weighted sum of the scores, if a scheduling profile chooses.
    pub score: Option<f64>,
    /// The scores of a scheduling profile, in the order of its scorers.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub scores: Vec<ScoreExplanation>,
    /// The filter of a scheduling profile that removed the endpoint.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub filtered_by: Option<&'static str>,
    /// Why the endpoint's KV events are not used: the code of the last refusal.
    pub kv_refusal: Option<&'static str>,
    /// Why the endpoint is backed off, if it is.
    pub backoff: Option<BackoffCause>,
    /// The rest of the backoff, before a trial.
    pub backoff_remaining: Seconds,
}

impl Scheduler {
    /// Returns what [`pick`](Self::pick) would decide and why, without effects. Changes that come
    /// due at `now`, such as the expiry of unconfirmed blocks, are not applied. Computes in
    /// **O(prompt + endpoints)**.
    ///
    /// # Example: the terms of a decision
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Seconds};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let request = Request::new("llama").tokens(&[1; 1_000]);
    /// let explanation = scheduler.explain(now, &request);
    /// let best = &explanation.candidates[0];
    /// assert_eq!(explanation.verdict, Ok(best.endpoint_id));
    /// assert_eq!(best.cost, best.terms.total());
    /// assert_eq!(best.terms.queue, Seconds::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, now: Instant, request: &Request<'_>) -> Explanation {
        let now = self.fleet.now.max(now);
        let mut lookup = Lookup::default();
        lookup.read(&self.fleet, request, self.next_request);
        let (profile, mut frontier) = (self.fleet.profile(), SearchFrontier::default());
        let mut query = Query::immediate(now, request, &lookup);
        let mut preview = None;
        let plan = match &self.workspace.cycle {
            Some(cycle) => {
                query.cycle = CycleKeys::of(&self.fleet, request, self.next_request);
                let (answer, why) = cycle.preview(&self.fleet, query);
                preview = Some(why);
                Plan::of_one(answer)
            }
            None => plan(&self.fleet, query, &mut |query| {
                placement::place(&self.fleet, query, &profile, &mut frontier)
            }),
        };
        let role = answer_role(&self.fleet, request);
        let mut exclude = request.exclude.to_vec();
        exclude.extend(plan.prefill.map(|(id, _)| id));
        let answered = Request { role, exclude: &exclude, ..request.clone() };
        let relaxation = plan.answer.relaxation;
        let query = Query { request: &answered, work: plan.work, relaxation, ..query };
        let mut candidates: Vec<(RankingKey, Candidate)> =
            Vec::with_capacity(self.fleet.pool.len());
        let mut ranking = Ranking::new(1);
        let refusal =
            placement::weigh_all(&self.fleet, query, &profile, &mut ranking, |slot, assessment| {
                let latency = PredictedLatency::of(
                    &self.fleet,
                    now,
                    query.work,
                    lookup.tokens,
                    slot,
                    assessment,
                );
                let headroom = |level: Option<Duration>, predicted: Seconds| {
                    level.map(|level| level.as_secs_f64() - predicted.get())
                };
                let candidate = Candidate {
                    endpoint_id: slot.id,
                    name: slot.endpoint.name.clone(),
                    excluded: assessment.excluded,
                    cached_tokens: assessment.cached.tokens,
                    first_token_in: assessment.first_token_in,
                    predicted_ttft: latency.ttft,
                    predicted_tpot: latency.tpot,
                    ttft_headroom: headroom(request.slo_ttft, latency.ttft),
                    tpot_headroom: headroom(request.slo_tpot, latency.tpot),
                    terms: assessment.terms,
                    cost: assessment.cost,
                    score: None,
                    scores: Vec::new(),
                    filtered_by: None,
                    kv_refusal: self.fleet.kv_refusal(slot),
                    backoff: slot.health.cause(),
                    backoff_remaining: slot.health.backoff_remaining(now),
                };
                candidates.push((assessment.key, candidate));
            });
        if let Some(preview) = &preview {
            rank_by_score(&mut candidates, preview);
        }
        let best = plan.answer.ranking.split().map(|((endpoint, _), _)| *endpoint);
        // Of a scheduling profile, the reason may be a filter.
        let refusal = if preview.is_some() { plan.answer.refusal } else { refusal };
        let answer = Placement { refusal, ..plan.answer };
        let plan = Plan { answer, ..plan };
        let chosen = self.admit(request, &plan);
        candidates.sort_by_key(|(key, candidate)| match candidate.excluded {
            None => (false, Some(*key), None),
            Some(_) => (true, None, Some(candidate.endpoint_id)),
        });
        let leg = |leg: Option<(EndpointId, _)>| leg.map(|(id, _)| id).filter(|_| chosen.is_ok());
        let candidates: Vec<Candidate> = candidates.into_iter().map(|(_, it)| it).collect();
        let runner_up = match &preview {
            _ if chosen.is_err() => None,
            Some(preview) => self.profile_runner_up(preview),
            None => runner_up(&candidates),
        };
        Explanation {
            prefill: leg(plan.prefill),
            encode: leg(plan.encode),
            verdict: chosen.and_then(|()| best.ok_or(Rejected::NO_ENDPOINTS)),
            decider_facts: plan.facts,
            prompt_tokens: lookup.tokens,
            best_cached_tokens: lookup.best_hit,
            candidates,
            runner_up,
        }
    }

    /// The runner-up of a scheduling profile.
    fn profile_runner_up(&self, preview: &Preview) -> Option<RunnerUp> {
        let found = preview.explanation.runner_up?;
        Some(RunnerUp {
            endpoint_id: self.fleet.pool.at(found.place as u32)?.id,
            behind: found.behind,
            lost_most_in: found.lost_most_in,
            lost: found.lost,
        })
    }
}

/// The second of the eligible candidates, compared with the first by cost.
fn runner_up(candidates: &[Candidate]) -> Option<RunnerUp> {
    let mut eligible = candidates.iter().filter(|candidate| candidate.excluded.is_none());
    let (best, second) = (eligible.next()?, eligible.next()?);
    let pairs = parts(&second.terms).into_iter().zip(parts(&best.terms));
    let losses = pairs.map(|(lost, won)| lost.get() - won.get()).zip(COLUMNS);
    let most = losses.filter(|(loss, _)| *loss > 0.0).reduce(|a, b| if b.0 > a.0 { b } else { a });
    Some(RunnerUp {
        endpoint_id: second.endpoint_id,
        behind: second.cost.get() - best.cost.get(),
        lost_most_in: most.map(|(_, term)| term),
        lost: most.map_or(0.0, |(loss, _)| loss),
    })
}

/// Sets the scores of a scheduling profile, in whose order the candidates are sorted. Endpoints
/// without a score were removed by a filter.
fn rank_by_score(candidates: &mut [(RankingKey, Candidate)], preview: &Preview) {
    let scored = (0..).zip(&preview.scored);
    let ranks: BTreeMap<EndpointId, (u64, f64)> =
        scored.map(|(rank, it)| (it.endpoint, (rank, it.score))).collect();
    for (key, candidate) in candidates.iter_mut().filter(|(_, it)| it.excluded.is_none()) {
        match ranks.get(&candidate.endpoint_id) {
            Some((rank, score)) => (key.cost, candidate.score) = (*rank, Some(*score)),
            None => candidate.excluded = Some(Exclusion::Filtered),
        }
        let explained = preview.explanation.endpoints.get(candidate.endpoint_id.slot as usize);
        if let Some(explained) = explained {
            candidate.filtered_by = explained.dropped_by;
            candidate.scores.clone_from(&explained.scores);
        }
    }
}

/// The names of the terms, and of their sum in seconds.
pub(super) const COLUMNS: [&str; 9] = [
    "queue",
    "kv_admission_wait",
    "prefill",
    "cache_eviction",
    "kv",
    "decode",
    "adapter",
    "failure_backoff",
    "cost s",
];

/// The terms, in the order of their names.
pub(super) const fn parts(terms: &CostTerms) -> [Seconds; 8] {
    [
        terms.queue,
        terms.kv_admission_wait,
        terms.prefill,
        terms.cache_eviction,
        terms.kv,
        terms.decode,
        terms.adapter,
        terms.failure_backoff,
    ]
}
