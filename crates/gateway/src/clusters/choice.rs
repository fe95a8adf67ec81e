//! Which of the candidates serves a request.

use alloc::string::String;

use slotwise::Seconds;

use super::config::ClustersConfig;
use super::scorers::Scored;

/// A cluster that exports the pool, as one request sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The name of the cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Whether it may get the request.
    pub standing: Standing,
    /// Its load in relation to its target: 1 is at the target.
    pub load: f64,
    /// This router's requests in flight.
    pub in_flight: u64,
    /// The share of its requests that it gets while it comes back; 1 otherwise.
    pub share: f64,
    /// The network round trip.
    pub network_time: Seconds,
    /// The reported wait.
    pub wait: Seconds,
    /// Tokens of the prompt whose KV cache it holds, as far as is known.
    pub cached_tokens: u64,
    /// Network round trip, wait and the prefill of uncached tokens.
    pub cost: Seconds,
    /// What scorers read.
    pub(super) scored: Scored,
    /// Its place in the pool's list of exports.
    pub(super) at: usize,
}

/// Whether a cluster may get a request, and otherwise why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// Its load is below its target, and its wait below the longest.
    Room,
    /// Its load has reached its target, or its wait the longest.
    Full,
    /// It comes back, and this request is beyond its share.
    Ramping,
    /// Its last report is too old, or there is none.
    Silent,
    /// Too many requests failed.
    Failing,
    /// It reports that it is unhealthy, or has no ready endpoint.
    Unready,
    /// It is withdrawn and ends its requests in flight.
    Draining,
    /// The request excludes it.
    Excluded,
}

/// Why a cluster was chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It is the nearest, and has room.
    Nearest,
    /// It holds the prefix, which pays for the way.
    Prefix,
    /// Nearer ones are at their targets.
    Spill,
    /// Nearer ones are silent, failing, unready or excluded.
    FailOver,
    /// A nearer one comes back, and this request is beyond its share.
    Ramp,
    /// It has the highest score; the configuration has scorers.
    Score,
    /// None has room; it has the longest wait, or the lowest load in relation to its target if none
    /// has a long wait.
    Full,
    /// None is healthy; it is silent or failing, but not known to be unready.
    LastResort,
}

impl Standing {
    /// The name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Full => "full",
            Self::Ramping => "ramping",
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Excluded => "excluded",
        }
    }
}

impl Reason {
    /// The name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Prefix => "prefix",
            Self::Spill => "spill",
            Self::FailOver => "fail_over",
            Self::Ramp => "ramp",
            Self::Score => "score",
            Self::Full => "full",
            Self::LastResort => "last_resort",
        }
    }
}

/// Sorts the nearest first; of equally near ones the least loaded.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let distance = a.network_time.get().total_cmp(&b.network_time.get());
        distance.then(a.load.total_cmp(&b.load))
    });
}

/// The choice among sorted candidates. `admit` decides whether one that comes back gets this
/// request; it is asked only about candidates that would be chosen. Computes in **O(n)** for each
/// refusal, and refused candidates change their standing.
pub(super) fn choose(
    candidates: &mut [Candidate],
    config: &ClustersConfig,
    mut admit: impl FnMut(&Candidate) -> bool,
) -> Option<(usize, Reason)> {
    if let Some(scorers) = &config.scorers {
        return scorers.choose(candidates).or_else(|| last_resort(candidates));
    }
    let mut refused = None;
    loop {
        // Cold caches are better than a queue: without room elsewhere, the first choice stands.
        let has_room = candidates.iter().any(|it| it.standing == Standing::Room);
        if let Some(first) = refused.filter(|_| !has_room) {
            return Some(first);
        }
        let choice = decide(candidates, config)?;
        if choice.1 == Reason::LastResort || admit(&candidates[choice.0]) {
            return Some(choice);
        }
        candidates[choice.0].standing = Standing::Ramping;
        refused = refused.or(Some(choice));
    }
}

/// The choice by standing, load and cost alone.
fn decide(candidates: &[Candidate], config: &ClustersConfig) -> Option<(usize, Reason)> {
    let full = || beyond_room(candidates, config.max_wait).map(|at| (at, Reason::Full));
    let Some((base, reason)) = nearest(candidates).or_else(full) else {
        return last_resort(candidates);
    };
    let longest = config.max_wait * config.prefix_headroom;
    let stays = |(_, it): &(usize, &Candidate)| {
        let holds = it.is_open() && it.cached_tokens > 0;
        holds && it.load < config.prefix_headroom && it.wait < longest
    };
    let holders = candidates.iter().enumerate().filter(stays);
    let cheapest = holders.min_by(|(_, a), (_, b)| a.cost.get().total_cmp(&b.cost.get()));
    match cheapest {
        Some((at, holder)) if holder.cost < candidates[base].cost => Some((at, Reason::Prefix)),
        _ => Some((base, reason)),
    }
}

/// Which cluster takes what is beyond the room of all: the one with the longest wait. Its requests
/// are late already, and the others stay in time. Equal waits would make all late. Without long
/// waits, it is the one with the lowest load in relation to its target.
fn beyond_room(candidates: &[Candidate], max_wait: Seconds) -> Option<usize> {
    let open = candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_open());
    let late = open.clone().filter(|(_, candidate)| candidate.wait >= max_wait);
    // The nearest of equal ones.
    let longest = late.rev().max_by(|(_, a), (_, b)| a.wait.get().total_cmp(&b.wait.get()));
    let least = || open.min_by(|(_, a), (_, b)| a.load.total_cmp(&b.load));
    longest.or_else(least).map(|(at, _)| at)
}

fn last_resort(candidates: &[Candidate]) -> Option<(usize, Reason)> {
    let is = |standing| candidates.iter().position(|it| it.standing == standing);
    let last = is(Standing::Silent).or_else(|| is(Standing::Failing));
    last.map(|at| (at, Reason::LastResort))
}

/// The nearest with room, and what keeps the nearest of all from being it.
fn nearest(candidates: &[Candidate]) -> Option<(usize, Reason)> {
    let at = candidates.iter().position(|candidate| candidate.standing == Standing::Room)?;
    let nearer = candidates[..at].iter().map(|candidate| candidate.standing);
    let mut counted = nearer.filter(|standing| *standing != Standing::Draining);
    let reason = match counted.next() {
        None => Reason::Nearest,
        Some(Standing::Full) => Reason::Spill,
        Some(Standing::Ramping) => Reason::Ramp,
        Some(_) => Reason::FailOver,
    };
    Some((at, reason))
}

impl Candidate {
    /// Whether it may get the request.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Room | Standing::Full)
    }
}
