//! The search for the best endpoints of a request, and the reason if there are none.

use super::assess::{Assessment, Known, assess, assess_known, until_change};
use super::prune::{PrunedSearch, SearchFrontier};
use super::query::Query;
use super::ranking::Ranking;
use super::refusal::{Refusal, Relaxation};
use super::tie_break::TieBreaker;
use crate::fleet::Fleet;
use crate::pool::Slot;
use crate::profile::Profile;

/// The best endpoints for a request; if there are none, the reason.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) ranking: Ranking,
    pub(crate) refusal: Refusal,
    /// The exclusions for health that had to be waived.
    pub(crate) relaxation: Relaxation,
}

/// Ranks the endpoints that can have the request: the best one and the configured alternatives.
///
/// If no endpoint can have it, exclusions for health are waived step by step.
pub(crate) fn place<P: Profile>(
    fleet: &Fleet,
    mut query: Query<'_>,
    profile: &P,
    frontier: &mut SearchFrontier,
) -> Placement {
    let mut ranking = Ranking::new(fleet.config.alternatives.saturating_add(1));
    let mut refusal = weigh(fleet, query, profile, frontier, &mut ranking);
    while ranking.is_empty() {
        let Some(next) = next_relaxation(&query, &refusal) else { break };
        query.relaxation = next;
        refusal = weigh(fleet, query, profile, frontier, &mut ranking);
    }
    Placement { ranking, refusal, relaxation: query.relaxation }
}

/// The exclusions for health to waive next, if that may help and waiting is not better.
pub(super) fn next_relaxation(query: &Query<'_>, refusal: &Refusal) -> Option<Relaxation> {
    let next = refusal.next_relaxation(query.relaxation);
    let waits = |next| query.can_wait && next != Relaxation::Ramping && refusal.will_have_room();
    next.filter(|next| !waits(*next))
}

/// Weighs endpoints while they may be among the best; all of them if none of these can have the
/// request, to find the reason, or if the profile has no bound.
fn weigh<P: Profile>(
    fleet: &Fleet,
    query: Query<'_>,
    profile: &P,
    frontier: &mut SearchFrontier,
    ranking: &mut Ranking,
) -> Refusal {
    if query.relaxation == Relaxation::None && profile.bound().is_some() {
        search(fleet, query, profile, frontier, ranking, |_| true);
    }
    if ranking.is_empty() {
        weigh_all(fleet, query, profile, ranking, |_, _| {})
    } else {
        Refusal::default()
    }
}

/// Ranks the endpoints of a subset that can have the request; perhaps none can.
pub(crate) fn search<P: Profile>(
    fleet: &Fleet,
    query: Query<'_>,
    profile: &P,
    frontier: &mut SearchFrontier,
    ranking: &mut Ranking,
    subset: impl Fn(&Slot) -> bool,
) {
    let mut look = |slot: &Slot, known| {
        if subset(slot) {
            let assessment = assess_known(fleet, query, slot, known, profile);
            if assessment.excluded.is_none() {
                ranking.offer(slot.id, assessment);
            }
        }
        ranking.bar()
    };
    let bounds = fleet.pool.bounds_at(query.now, &fleet.learned_means());
    match profile.bound().zip(bounds) {
        Some((bound, bounds)) => {
            PrunedSearch::new(fleet, query, bounds, bound, look).search(frontier);
        }
        None => {
            let ties = TieBreaker::for_prompt(fleet, query.lookup);
            for slot in fleet.pool.iter() {
                look(slot, Known::of(fleet, query, &ties, slot, query.lookup.cached(slot)));
            }
        }
    }
}

/// Weighs all endpoints and ranks those that can have the request. `each` sees every one.
pub(crate) fn weigh_all<P: Profile>(
    fleet: &Fleet,
    query: Query<'_>,
    profile: &P,
    ranking: &mut Ranking,
    mut each: impl FnMut(&Slot, &Assessment),
) -> Refusal {
    let mut refusal = Refusal::default();
    for slot in fleet.pool.iter() {
        let assessment = assess(fleet, query, slot, query.lookup.cached(slot), profile);
        each(slot, &assessment);
        match assessment.excluded {
            None => ranking.offer(slot.id, assessment),
            Some(why) => refusal.note(why, until_change(fleet, query, why, slot, &assessment)),
        }
    }
    refusal
}
