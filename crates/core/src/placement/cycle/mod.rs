//! Chooses by a scheduling profile: filters, weighted scorers and a picker.
//!
//! Exclusions come first, as for the default profile. The profile then selects among the other
//! endpoints in one batch; it has no lower bound, so none is passed over.
//!
//! | file | content |
//! |---|---|
//! | `endpoint_facts` | what plugins read of each endpoint, kept up to date |
//! | `stage_profiles` | the profile of each stage of a request |
//! | `producers` | state between requests |
//! | `session_bindings` | which endpoint has which session |
//! | `cold_endpoints` | which endpoints received requests without a cached prefix |

mod cold_endpoints;
mod endpoint_facts;
mod producers;
mod session_bindings;
mod stage_profiles;

use alloc::string::String;
use alloc::vec::Vec;

use super::assess::{assess, exclusion, is_unconditional, needed_tokens};
use super::exclusion::Exclusion;
use super::query::{Query, Work};
use super::ranking::{ProfileChoice, Ranking};
use super::refusal::Refusal;
use super::search::{Placement, next_relaxation, weigh_all};
use crate::config::ProducerConfig;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::plugins::{
    CycleBuffers, ProfileExplanation, RequestFacts, SchedulingProfile, ScoreOrder,
};
use crate::pool::{ProfileMarks, Slot};
use crate::prefix::keyed_state::KeyedState;

use endpoint_facts::{EndpointFactsTable, topology};
use producers::Producers;
pub(crate) use stage_profiles::StageProfiles;

/// A scheduling profile, and the facts that its plugins read.
#[derive(Debug)]
pub(crate) struct SchedulingCycle {
    profiles: StageProfiles,
    state: CycleState,
}

/// The facts that plugins read, and buffers.
#[derive(Debug)]
pub(crate) struct CycleState {
    producers: Producers,
    table: EndpointFactsTable,
    request: RequestFacts,
    buffers: CycleBuffers,
    /// The number of endpoints that the picker selected last.
    picked: usize,
    /// What a dispatch of the last placed request records.
    outcome: Outcome,
}

/// What a dispatch records.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    session: Option<u64>,
    /// No endpoint had a block of the prompt cached.
    cold: bool,
}

impl SchedulingCycle {
    pub(crate) fn new(
        profiles: StageProfiles,
        config: &ProducerConfig,
        hash_state: KeyedState,
    ) -> Self {
        Self { profiles, state: CycleState::new(Producers::new(config, hash_state)) }
    }

    /// Replaces the profiles. The state between requests stays.
    pub(crate) fn replace(&mut self, profiles: StageProfiles) {
        self.profiles = profiles;
    }

    /// Changes the limits of the state between requests.
    pub(crate) fn set_limits(&mut self, config: &ProducerConfig) {
        self.state.producers.set_limits(config);
    }

    /// Selects an endpoint for the request among those that are not excluded, and if possible among
    /// those that `prefers` accepts. Exclusions for health are waived as for the default profile.
    ///
    /// Computes in **O(endpoints × plugins)**.
    pub(crate) fn place(
        &mut self,
        fleet: &Fleet,
        query: Query<'_>,
        prefers: impl Fn(&Slot) -> bool,
    ) -> Placement {
        match self.profiles.choose(query.request) {
            Some(profile) => self.state.place(profile, fleet, query, prefers),
            None => nowhere(query),
        }
    }

    /// [`place`](Self::place) without effects, with its explanation.
    pub(crate) fn preview(&self, fleet: &Fleet, query: Query<'_>) -> (Placement, Preview) {
        let Some(profile) = self.profiles.choose(query.request) else {
            return (nowhere(query), Preview::default());
        };
        let mut state = CycleState::new(self.state.producers.clone());
        let placement = state.place(profile, fleet, query, |_| true);
        let scored = state.scored(fleet);
        state.collect(fleet, Query { relaxation: placement.relaxation, ..query });
        let CycleState { buffers, request, table, .. } = state;
        let seed = seed(fleet, query);
        let explanation = profile.explain_among(buffers.kept, &request, table.facts(), seed);
        (placement, Preview { scored, explanation })
    }

    /// Records that the request placed last was dispatched to this endpoint.
    pub(crate) fn dispatched(&mut self, fleet: &Fleet, endpoint: EndpointId) {
        let Outcome { session, cold } = core::mem::take(&mut self.state.outcome);
        if let Some(session) = session {
            self.state.producers.sessions.bind(fleet.now, session, endpoint);
        }
        if cold {
            self.state.producers.cold.record(endpoint);
        }
    }
}

/// Why a scheduling profile places a request.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// Every scored endpoint: the selected ones first, then by score.
    pub(crate) scored: Vec<Scored>,
    /// The cycle; places are slots.
    pub(crate) explanation: ProfileExplanation,
}

/// An endpoint with its total score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) endpoint: EndpointId,
    pub(crate) score: f64,
}

impl CycleState {
    fn new(producers: Producers) -> Self {
        Self {
            producers,
            table: EndpointFactsTable::default(),
            request: RequestFacts::default(),
            buffers: CycleBuffers::default(),
            picked: 0,
            outcome: Outcome::default(),
        }
    }

    fn place(
        &mut self,
        profile: &SchedulingProfile,
        fleet: &Fleet,
        mut query: Query<'_>,
        prefers: impl Fn(&Slot) -> bool,
    ) -> Placement {
        self.collect(fleet, query);
        let mut refusal = Refusal::default();
        while self.buffers.kept.is_empty() {
            let mut none = Ranking::new(1);
            refusal =
                weigh_all(fleet, query, &fleet.profile(query.lookup.model), &mut none, |_, _| {});
            let Some(next) = next_relaxation(&query, &refusal) else {
                return Placement { ranking: none, refusal, relaxation: query.relaxation };
            };
            query.relaxation = next;
            self.collect(fleet, query);
        }
        let preferred = |place: &usize| fleet.pool.at(*place as u32).is_some_and(&prefers);
        let some = self.buffers.kept.iter().any(&preferred);
        let fewer = some && !self.buffers.kept.iter().all(&preferred);
        if fewer {
            self.buffers.kept.retain(&preferred);
        }
        let mut ranking = self.select(profile, fleet, query);
        if ranking.is_none() && fewer {
            self.collect(fleet, query);
            ranking = self.select(profile, fleet, query);
        }
        match ranking {
            Some(ranking) => Placement { ranking, refusal, relaxation: query.relaxation },
            None => nowhere(query),
        }
    }

    /// Every scored endpoint: the selected ones first, then by score.
    fn scored(&self, fleet: &Fleet) -> Vec<Scored> {
        let mut order: Vec<usize> = (0..self.buffers.scored.len()).collect();
        let score = |at: usize| self.buffers.scored[at].score();
        order[self.picked..].sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        let scored = order.into_iter().map(|at| &self.buffers.scored[at]);
        scored
            .filter_map(|it| {
                let endpoint = fleet.pool.at(it.place() as u32)?.id;
                Some(Scored { endpoint, score: it.score() })
            })
            .collect()
    }

    /// Collects the places of the eligible endpoints. The size alone is compared where nothing else
    /// can exclude the request.
    fn collect(&mut self, fleet: &Fleet, query: Query<'_>) {
        let (unconditional, needed) = (is_unconditional(query), needed_tokens(query));
        let capacities = fleet.pool.marks().map_or(&[][..], ProfileMarks::open_capacities);
        let CycleBuffers { kept, scored, .. } = &mut self.buffers;
        self.picked = 0;
        scored.clear();
        kept.clear();
        kept.reserve(capacities.len());
        for (place, capacity) in capacities.iter().enumerate() {
            let eligible = if unconditional && *capacity > 0 {
                needed <= fleet.config.kv_limit * f64::from(*capacity)
            } else {
                is_eligible(fleet, query, place)
            };
            if eligible {
                kept.push(place);
            }
        }
        let all = 0..capacities.len();
        debug_assert!(
            all.filter(|place| is_eligible(fleet, query, *place)).eq(kept.iter().copied()),
            "open capacities exclude what `exclusion` does"
        );
    }

    /// Runs the plugins on the collected endpoints; `None` if the filters leave none.
    fn select(
        &mut self,
        profile: &SchedulingProfile,
        fleet: &Fleet,
        query: Query<'_>,
    ) -> Option<Ranking> {
        let Self { producers, table, request, buffers, outcome, .. } = self;
        describe(request, fleet, query);
        table.refresh(fleet, query, &buffers.kept, producers);
        if !matches!(query.work, Work::Encode) {
            *outcome = Outcome { session: query.cycle.session, cold: table.is_cold(&buffers.kept) };
        }
        let seed = seed(fleet, query);
        let picked = profile.select_in(buffers, request, table.facts(), seed);
        self.picked = picked;
        let id = |place: usize| fleet.pool.at(place as u32).map(|slot| slot.id);
        let (best, others) = buffers.scored.split_first_mut().filter(|_| picked > 0)?;
        let further = if picked > 1 {
            picked - 1
        } else {
            let most = fleet.config.alternatives.min(others.len());
            ScoreOrder::new(seed).lead(others, most);
            most
        };
        let alternatives: Vec<EndpointId> =
            others[..further].iter().filter_map(|it| id(it.place())).collect();
        let slot = fleet.pool.at(best.place() as u32)?;
        let cached = query.lookup.cached(slot);
        let assessment = assess(fleet, query, slot, cached, &fleet.profile(query.lookup.model));
        let choice = ProfileChoice { score: best.score(), alternatives };
        Some(Ranking::of_profile(slot.id, assessment, choice))
    }
}

/// Whether the endpoint in a slot is not excluded.
#[inline(never)]
fn is_eligible(fleet: &Fleet, query: Query<'_>, place: usize) -> bool {
    let Some(slot) = fleet.pool.at(place as u32) else { return false };
    let ttft = || {
        let cached = query.lookup.cached(slot);
        let assessment = assess(fleet, query, slot, cached, &fleet.profile(query.lookup.model));
        let first_token = assessment.first_token(query.lookup.tokens);
        first_token.earliest(fleet, query.now, query.work, slot)
    };
    exclusion(fleet, query, slot, ttft).is_none()
}

/// The placement of a request for which the filters leave no endpoint, or which has no profile.
fn nowhere(query: Query<'_>) -> Placement {
    let mut refusal = Refusal::default();
    refusal.note(Exclusion::Filtered, None);
    Placement { ranking: Ranking::new(1), refusal, relaxation: query.relaxation }
}

/// The seed of a request's cycle.
fn seed(fleet: &Fleet, query: Query<'_>) -> u64 {
    fleet.hasher.mix(fleet.config.seed, query.cycle.request)
}

/// Writes the facts about the request into buffers that the next request uses again.
fn describe(facts: &mut RequestFacts, fleet: &Fleet, query: Query<'_>) {
    let request = query.request;
    overwrite(&mut facts.model, request.model);
    match request.adapter {
        Some(name) => overwrite(facts.adapter.get_or_insert_default(), name),
        None => facts.adapter = None,
    }
    facts.prompt_tokens = u64::from(query.lookup.tokens);
    facts.priority = request.priority.0;
    facts.media = u64::from(request.multimodal);
    let peer = query.cycle.peer.and_then(|id| fleet.pool.get(id).ok());
    facts.peer = peer.map(|slot| topology(&slot.endpoint));
    if !facts.headers.is_empty() || !request.headers.is_empty() {
        let headers = request.headers.iter();
        facts.headers =
            headers.map(|(name, value)| (name.to_lowercase(), (*value).into())).collect();
    }
}

fn overwrite(text: &mut String, with: &str) {
    text.clear();
    text.push_str(with);
}
