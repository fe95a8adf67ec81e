//! Which of the candidates serves a request.

use alloc::string::String;

use slotwise::Seconds;

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
    /// Its place in the pool's list of exports.
    pub(super) at: usize,
}

/// Whether a cluster may get a request, and otherwise why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// Its load is below its target.
    Room,
    /// Its load has reached its target.
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
    /// All are at their targets; it is the least loaded in relation to its target.
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
    prefix_headroom: f64,
    mut admit: impl FnMut(&Candidate) -> bool,
) -> Option<(usize, Reason)> {
    let mut refused = None;
    loop {
        let decided = decide(candidates, prefix_headroom);
        match (decided, refused) {
            // All healthy ones are coming back: the first choice gets it.
            (None | Some((_, Reason::LastResort)), Some(first)) => return Some(first),
            (Some((at, Reason::LastResort)), None) => return Some((at, Reason::LastResort)),
            (None, None) => return None,
            (Some(choice), _) if admit(&candidates[choice.0]) => return Some(choice),
            (Some(choice), _) => {
                candidates[choice.0].standing = Standing::Ramping;
                refused = refused.or(Some(choice));
            }
        }
    }
}

/// The choice by standing, load and cost alone.
fn decide(candidates: &[Candidate], prefix_headroom: f64) -> Option<(usize, Reason)> {
    let Some((base, reason)) = nearest(candidates).or_else(|| least_loaded(candidates)) else {
        let is = |standing| candidates.iter().position(|it| it.standing == standing);
        let last = is(Standing::Silent).or_else(|| is(Standing::Failing));
        return last.map(|at| (at, Reason::LastResort));
    };
    let stays = |candidate: &&Candidate| {
        candidate.is_open() && candidate.cached_tokens > 0 && candidate.load < prefix_headroom
    };
    let holders = candidates.iter().enumerate().filter(|(_, candidate)| stays(candidate));
    let cheapest = holders.min_by(|(_, a), (_, b)| a.cost.get().total_cmp(&b.cost.get()));
    match cheapest {
        Some((at, holder)) if holder.cost < candidates[base].cost => Some((at, Reason::Prefix)),
        _ => Some((base, reason)),
    }
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

fn least_loaded(candidates: &[Candidate]) -> Option<(usize, Reason)> {
    let open = candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_open());
    let least = open.min_by(|(_, a), (_, b)| a.load.total_cmp(&b.load));
    least.map(|(at, _)| (at, Reason::Full))
}

impl Candidate {
    /// Whether it may get the request.
    const fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Room | Standing::Full)
    }
}
