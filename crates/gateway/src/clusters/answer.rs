//! What a host asks, and what it gets.

use alloc::string::String;
use alloc::vec::Vec;

use slotwise::Seconds;

use super::choice::{Candidate, Reason};

/// What a host knows about a request before it chooses a cluster.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct Inquiry<'a> {
    /// The imported pool.
    pub pool: &'a str,
    /// The tokens of the prompt; an estimate suffices.
    pub prompt_tokens: u64,
    /// The session, if the host accepts it: its last cluster holds its prefix.
    pub session: Option<&'a str>,
    /// Tokens of the prompt that clusters hold, by name. They replace what the session implies.
    pub cached_tokens: &'a [(&'a str, u64)],
    /// Clusters that must not be chosen, such as those where an attempt failed.
    pub exclude: &'a [&'a str],
}

/// The cluster that serves a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The name of the cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Why it was chosen.
    pub reason: Reason,
    /// Network round trip, wait and the prefill of uncached tokens.
    pub cost: Seconds,
    /// Tokens of the prompt whose KV cache the cluster holds, as far as is known.
    pub cached_tokens: u64,
    /// What each metric in dry run would have decided.
    pub dry_run: Vec<DryRun>,
}

/// What a metric in dry run would have decided.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// The name of the metric.
    pub metric: String,
    /// The cluster; `None` if it would have found none.
    pub cluster: Option<String>,
    /// Why the cluster would have been chosen.
    pub reason: Option<Reason>,
}

/// All candidates of a request, and the choice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The choice, which has not been made; `None` if there is none.
    pub choice: Option<Choice>,
    /// The candidates, the nearest first.
    pub candidates: Vec<Candidate>,
}

/// A withdrawn export that has ended its last request. It is no longer known.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an export is a pool in a cluster")]
pub struct Drained {
    /// The name of the pool.
    pub pool: String,
    /// The name of the cluster.
    pub cluster: String,
}

/// Whether the time-out of a pool leaves room above its durations.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TimeoutHint {
    /// The configured time-out.
    pub timeout: Option<Seconds>,
    /// The observed 99th percentile of the requests' durations, at most an eighth too high.
    pub p99: Seconds,
    /// The least time-out that is recommended: twice the 99th percentile.
    pub least: Seconds,
    /// Whether the time-out is shorter than recommended.
    pub is_too_short: bool,
}

impl Candidate {
    pub(super) fn chosen(self, reason: Reason, dry_run: Vec<DryRun>) -> Choice {
        let Self { cluster, region, cost, cached_tokens, .. } = self;
        Choice { cluster, region, reason, cost, cached_tokens, dry_run }
    }
}
