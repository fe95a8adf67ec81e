//! Explains a decision: the cost of every candidate, term by term.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use crate::decision::{Rejected, Stage};
use crate::disaggregation::DeciderFacts;
use crate::endpoint::{EndpointId, Role};
use crate::placement::{
    self, Assessment, CycleKeys, Exclusion, Lookup, Placement, PredictedLatency, Preview, Query,
    Ranking, RankingKey, Refusal, SearchFrontier, Work,
};
use crate::plan::{PlannedLeg, answer_role, plan};
use crate::plugins::ScoreExplanation;
use crate::pool::{BackoffCause, Slot};
use crate::profile::CostTerms;
use crate::request::Request;
use crate::sorting::sort_rarely;
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
    /// The stages before the answer for which endpoints were compared. The decider may have
    /// disagreed then.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub stages: Vec<StageExplanation>,
    /// What the best endpoint that was not chosen lacks; `None` without a choice, or without a
    /// second eligible endpoint.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub runner_up: Option<RunnerUp>,
}

/// The endpoints for a stage before the answer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StageExplanation {
    /// The stage.
    pub stage: Stage,
    /// Every endpoint: first the eligible ones, best first, then the excluded ones by id.
    pub candidates: Vec<Candidate>,
    /// What the second of the eligible endpoints lacks.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub runner_up: Option<RunnerUp>,
}

/// One stage of a request, with every endpoint weighed for it.
#[derive(Default)]
struct WeighedStage {
    role: Role,
    work: Work,
    candidates: Vec<Candidate>,
    refusal: Refusal,
    runner_up: Option<RunnerUp>,
}

impl WeighedStage {
    /// The explanation of a stage before the answer.
    fn of_leg(self) -> Option<StageExplanation> {
        let stage = match (self.role, self.work) {
            (_, Work::Encode) => Stage::Encode,
            (Role::Prefill, Work::Prompt) => Stage::Prefill,
            // The answer without a prefill leg, if there is one.
            _ => return None,
        };
        Some(StageExplanation { stage, candidates: self.candidates, runner_up: self.runner_up })
    }
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
    // `inline`: the host's crate compiles it, and may choose small code. So does it for `stats`.
    #[inline]
    pub fn explain(&self, now: Instant, request: &Request<'_>) -> Explanation {
        let now = self.fleet.now.max(now);
        let mut lookup = Lookup::default();
        lookup.read(&self.fleet, request, self.next_request);
        let mut query = Query::immediate(now, request, &lookup);
        if self.workspace.cycle.is_some() {
            query.cycle = CycleKeys::of(&self.fleet, request, self.next_request);
        }
        let (mut frontier, mut stages) = (SearchFrontier::default(), Vec::new());
        let mut plan = plan(&self.fleet, query, &mut |query| {
            let (placement, stage) = self.weigh_stage(query, &mut frontier);
            stages.push(stage);
            placement
        });
        let role = answer_role(&self.fleet, request);
        let answers = |stage: &WeighedStage| stage.role == role && stage.work.is_like(plan.work);
        let answer = stages.iter().rposition(answers).map(|at| stages.remove(at));
        let WeighedStage { candidates, refusal, runner_up, .. } = answer.unwrap_or_default();
        plan.answer.refusal = refusal;
        let best = plan.answer.ranking.split().map(|((endpoint, _), _)| *endpoint);
        let chosen = self.admit(request, &plan);
        let leg = |leg: Option<PlannedLeg>| leg.map(|leg| leg.0).filter(|_| chosen.is_ok());
        let (prefill, encode) = (leg(plan.prefill), leg(plan.encode));
        Explanation {
            prefill,
            encode,
            runner_up: runner_up.filter(|_| chosen.is_ok()),
            verdict: chosen.and_then(|()| best.ok_or(Rejected::NO_ENDPOINTS)),
            decider_facts: plan.facts,
            prompt_tokens: lookup.tokens,
            best_cached_tokens: lookup.best_hit,
            candidates,
            stages: stages.into_iter().filter_map(WeighedStage::of_leg).collect(),
        }
    }

    /// Places one stage of a request, and weighs every endpoint for it.
    fn weigh_stage(
        &self,
        query: Query<'_>,
        frontier: &mut SearchFrontier,
    ) -> (Placement, WeighedStage) {
        let (fleet, profile) = (&self.fleet, self.fleet.profile(query.lookup.model));
        let (mut placement, preview) = match &self.workspace.cycle {
            Some(cycle) => {
                let (placement, preview) = cycle.preview(fleet, query);
                (placement, Some(preview))
            }
            None => (placement::place(fleet, query, &profile, frontier), None),
        };
        let query = Query { relaxation: placement.relaxation, ..query };
        let mut candidates = Vec::with_capacity(fleet.pool.len());
        let refusal =
            placement::weigh_all(fleet, query, &profile, &mut Ranking::new(1), |slot, it| {
                candidates.push((it.key, self.candidate(query, slot, it)));
            });
        if let Some(preview) = &preview {
            rank_by_score(&mut candidates, preview);
        }
        let place = |(key, candidate): &(RankingKey, Candidate)| match candidate.excluded {
            None => (false, Some(*key), None),
            Some(_) => (true, None, Some(candidate.endpoint_id)),
        };
        sort_rarely(&mut candidates, |one, other| place(one).cmp(&place(other)));
        let candidates: Vec<Candidate> = candidates.into_iter().map(|(_, it)| it).collect();
        let runner_up = match &preview {
            Some(preview) => self.profile_runner_up(preview),
            None => runner_up(&candidates),
        };
        // Of a scheduling profile, the reason may be a filter.
        let refusal = match preview {
            Some(_) => core::mem::take(&mut placement.refusal),
            None => refusal,
        };
        let (role, work) = (query.request.role, query.work);
        (placement, WeighedStage { role, work, candidates, refusal, runner_up })
    }

    /// One endpoint, weighed for one stage of the request.
    fn candidate(&self, query: Query<'_>, slot: &Slot, assessment: &Assessment) -> Candidate {
        let Query { now, request, work, lookup, .. } = query;
        let latency = PredictedLatency::of(&self.fleet, now, work, lookup.tokens, slot, assessment);
        let headroom = |level: Option<Duration>, predicted: Seconds| {
            level.map(|level| level.as_secs_f64() - predicted.get())
        };
        Candidate {
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
    let mut ranks: BTreeMap<EndpointId, (u64, f64)> = BTreeMap::new();
    ranks.extend(scored.map(|(rank, it)| (it.endpoint, (rank, it.score))));
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
