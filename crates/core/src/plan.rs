//! The endpoints of each stage of a request: one for all, or several if the pool is disaggregated.

use alloc::boxed::Box;
use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::decision::Stage;
use crate::disaggregation::{DeciderFacts, DisaggregationConfig, pd_decide};
use crate::endpoint::{EndpointId, Role};
use crate::fleet::Fleet;
use crate::placement::{Assessment, CycleKeys, Placement, Query, Work};
use crate::request::Request;
use crate::time::Seconds;

/// Where each stage of a request fits.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The endpoints for the answer. Without a prefill leg, they also compute the prompt.
    pub(crate) answer: Placement,
    /// What the endpoint of the answer does.
    pub(crate) work: Work,
    pub(crate) prefill: Option<PlannedLeg>,
    pub(crate) encode: Option<PlannedLeg>,
    /// The next best endpoints for the stages before the answer, by [`Stage`].
    pub(crate) leg_alternatives: [Vec<EndpointId>; Stage::ALL.len()],
    /// The facts of the prefill decision, if there was one.
    pub(crate) facts: Option<DeciderFacts>,
}

/// The endpoint of a stage before the answer. Most requests have none, so it takes little space.
pub(crate) type PlannedLeg = Box<(EndpointId, Assessment)>;

impl Plan {
    /// One endpoint for all stages.
    pub(crate) const fn of_one(answer: Placement) -> Self {
        let leg_alternatives = [Vec::new(), Vec::new()];
        let (work, prefill, encode, facts) = (Work::Prompt, None, None, None);
        Self { answer, work, prefill, encode, leg_alternatives, facts }
    }

    /// The longest wait of its stages for their turns.
    pub(crate) fn wait(&self) -> Option<Seconds> {
        let ((_, best), _) = self.answer.ranking.split()?;
        let prefill = self.prefill.as_ref().map_or(Seconds::ZERO, |leg| leg.1.wait);
        Some(prefill.max(best.wait))
    }

    /// The endpoints of the stages before the answer.
    pub(crate) fn legs(&self) -> impl Iterator<Item = EndpointId> + '_ {
        [&self.prefill, &self.encode].into_iter().flatten().map(|leg| leg.0)
    }
}

/// The role of the endpoint that answers a request.
pub(crate) fn answer_role(fleet: &Fleet, request: &Request<'_>) -> Role {
    disaggregation(fleet, request).map_or(request.role, |_| Role::Decode)
}

/// The configuration for this request, if its stages may have endpoints of their own.
fn disaggregation<'a>(fleet: &'a Fleet, request: &Request<'_>) -> Option<&'a DisaggregationConfig> {
    fleet.config.disaggregation.as_ref().filter(|_| request.role == Role::Unified)
}

/// Plans all stages of a request; `place` ranks the endpoints of one stage. Without
/// [`Config::disaggregation`](crate::Config::disaggregation) there is one stage.
///
/// The endpoint that would serve the request alone is found first. The decider reads what that one
/// has cached, and if it compares costs, also the cost of two endpoints.
pub(crate) fn plan(
    fleet: &Fleet,
    query: Query<'_>,
    place: &mut impl FnMut(Query<'_>) -> Placement,
) -> Plan {
    let Some(config) = disaggregation(fleet, query.request) else {
        return Plan::of_one(place(query));
    };
    let request = Request { role: Role::Decode, ..query.request.clone() };
    let alone = Query { request: &request, ..query };
    let mut plan = Plan::of_one(place(alone));
    // The prompt of a request that continues an answer is incomplete elsewhere.
    if query.lookup.home.is_some() {
        return plan;
    }
    plan_prefill(alone, place, config, &mut plan);
    if pd_decide(&config.encode, &DeciderFacts { multimodal: request.multimodal, ..facts(&plan) }) {
        let encode = Request { role: Role::Encode, ..request };
        let query = Query { request: &encode, work: Work::Encode, ..leg(query) };
        let computes_prompt = plan.prefill.as_ref().map(|leg| leg.0).or_else(|| best_id(&plan));
        // An endpoint that computes the prompt encodes its media, too.
        let placed = place(query);
        plan.encode = best(&placed)
            .filter(|(id, _)| computes_prompt.is_some_and(|other| other != *id))
            .map(Box::new);
        if plan.encode.is_some() {
            plan.leg_alternatives[Stage::Encode as usize] = alternatives(&placed, computes_prompt);
        }
    }
    plan
}

/// Adds the prefill leg if the decider agrees.
fn plan_prefill(
    alone: Query<'_>,
    place: &mut impl FnMut(Query<'_>) -> Placement,
    config: &DisaggregationConfig,
    plan: &mut Plan,
) {
    let mut facts = DeciderFacts {
        prompt_tokens: alone.lookup.tokens,
        multimodal: alone.request.multimodal,
        ..facts(plan)
    };
    let decider = &config.prefill;
    let agrees = |facts: &DeciderFacts| decider.compares_costs() || pd_decide(decider, facts);
    if agrees(&facts) {
        let request = Request { role: Role::Prefill, ..alone.request.clone() };
        let cycle = CycleKeys { peer: best_id(plan), ..alone.cycle };
        let query = Query { request: &request, cycle, ..leg(alone) };
        let prefill = place(query);
        let Some((id, assessment)) = best(&prefill) else { return };
        let mut exclude: SmallVec<[EndpointId; 4]> = alone.request.exclude.into();
        exclude.push(id);
        let request = Request { exclude: &exclude, ..alone.request.clone() };
        let work = Work::Answer { ready_in: assessment.first_token_in };
        let query = Query { request: &request, work, ..alone };
        let answer = place(query);
        let Some(((decode_id, decode), _)) = answer.ranking.split() else { return };
        facts.disaggregated = assessment.cost + decode.cost;
        if pd_decide(decider, &facts) {
            let decodes = Some(*decode_id);
            plan.leg_alternatives[Stage::Prefill as usize] = alternatives(&prefill, decodes);
            (plan.answer, plan.work, plan.prefill) =
                (answer, work, Some(Box::new((id, assessment))));
        }
    }
    plan.facts = Some(facts);
}

/// What the endpoint that serves the request alone has cached, and its cost.
fn facts(plan: &Plan) -> DeciderFacts {
    let none = (0, Seconds::new(f64::INFINITY));
    let (cached_tokens, decode_only) =
        best(&plan.answer).map_or(none, |(_, best)| (best.cached.tokens, best.cost));
    DeciderFacts { cached_tokens, decode_only, ..DeciderFacts::default() }
}

/// The search for a stage before the answer: sessions stay where the answer is.
fn leg(query: Query<'_>) -> Query<'_> {
    Query { session_admission: None, ..query }
}

fn best(placement: &Placement) -> Option<(EndpointId, Assessment)> {
    placement.ranking.split().map(|(best, _)| *best)
}

/// The endpoints after the best one, without `other`.
fn alternatives(placement: &Placement, other: Option<EndpointId>) -> Vec<EndpointId> {
    let rest = placement.ranking.split().map(|(_, rest)| rest);
    rest.into_iter().flatten().filter(|id| Some(*id) != other).collect()
}

fn best_id(plan: &Plan) -> Option<EndpointId> {
    best(&plan.answer).map(|(id, _)| id)
}
