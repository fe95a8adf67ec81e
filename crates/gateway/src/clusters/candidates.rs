//! The candidates of a request, from the state of the exports.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use slotwise::Instant;

use super::answer::{DryRun, Inquiry};
use super::choice::{self, Candidate, Reason, Standing};
use super::export::{ExportState, Health};
use super::report::Steering;
use super::scorers::Scored;
use super::{Clusters, sessions};

impl Clusters {
    /// The candidates of a pool, sorted.
    pub(super) fn candidates(
        &self,
        now: Instant,
        pool: usize,
        inquiry: &Inquiry<'_>,
        steering: Steering<'_>,
    ) -> Vec<Candidate> {
        let session = inquiry.session.map(|session| sessions::key(inquiry.pool, session));
        let place = session.and_then(|key| self.sessions.place(key)).filter(|place| {
            now.saturating_since(place.at) < self.config.prefix_lifetime.to_duration()
        });
        let exports = self.pools[pool].exports.iter().enumerate();
        let mut candidates: Vec<_> = exports
            .map(|(at, state)| {
                let cluster = &*state.export.cluster;
                let known = inquiry.cached_tokens.iter().find(|(name, _)| *name == cluster);
                let of_session = place.filter(|place| place.export == state.id);
                let cached = known.map(|(_, tokens)| *tokens);
                let cached = cached.or_else(|| of_session.map(|place| place.tokens)).unwrap_or(0);
                self.candidate(
                    now,
                    (at, state),
                    inquiry,
                    cached.min(inquiry.prompt_tokens),
                    steering,
                )
            })
            .collect();
        choice::sort(&mut candidates);
        candidates
    }

    fn candidate(
        &self,
        now: Instant,
        (at, state): (usize, &ExportState),
        inquiry: &Inquiry<'_>,
        cached_tokens: u64,
        steering: Steering<'_>,
    ) -> Candidate {
        let export = &state.export;
        let measured = state.measured.as_ref();
        let load = measured.map_or(0.0, |it| it.load(&export.balancing, state.in_flight, steering));
        let network_time = export.network_time.unwrap_or_default();
        let wait = state.wait.at(now);
        let uncached = inquiry.prompt_tokens - cached_tokens;
        let prefill = export.prefill(uncached);
        let standing = if state.withdrawn {
            Standing::Draining
        } else if inquiry.exclude.contains(&&*export.cluster) {
            Standing::Excluded
        } else {
            match state.health(now, &self.config) {
                Health::Healthy if load < 1.0 && wait < self.config.max_wait => Standing::Room,
                Health::Healthy => Standing::Full,
                Health::Silent => Standing::Silent,
                Health::Failing => Standing::Failing,
                Health::Unready => Standing::Unready,
            }
        };
        Candidate {
            cluster: export.cluster.clone(),
            region: export.region.clone().unwrap_or_default(),
            standing,
            load,
            in_flight: state.in_flight,
            share: state.share(now, &self.config),
            network_time,
            wait,
            cached_tokens,
            cost: network_time + wait + prefill,
            scored: Scored {
                queue: measured.and_then(|it| it.queue),
                kv_cache: measured.and_then(|it| it.kv_cache),
                prefix: cached_tokens as f64 / inquiry.prompt_tokens.max(1) as f64,
            },
            at,
        }
    }

    /// The choice, without an effect on ramps.
    pub(super) fn peek(
        &self,
        pool: usize,
        candidates: &mut [Candidate],
    ) -> Option<(usize, Reason)> {
        let exports = &self.pools[pool].exports;
        let admit = |it: &Candidate| exports[it.at].ramp.admits(it.share);
        choice::choose(candidates, &self.config, admit)
    }

    /// What each metric in dry run would decide.
    pub(super) fn dry_run(&self, now: Instant, pool: usize, inquiry: &Inquiry<'_>) -> Vec<DryRun> {
        let exports = self.pools[pool].exports.iter();
        let metrics = exports.flat_map(|state| &state.export.balancing.metrics);
        let mut names: Vec<&str> =
            metrics.filter(|metric| metric.dry_run).map(|metric| &*metric.name).collect();
        names.sort_unstable();
        names.dedup();
        let decided = names.into_iter().map(|name| {
            let mut candidates = self.candidates(now, pool, inquiry, Steering::DryRun(name));
            let chosen = self.peek(pool, &mut candidates);
            DryRun {
                metric: name.to_owned(),
                cluster: chosen.map(|(at, _)| candidates[at].cluster.clone()),
                reason: chosen.map(|(_, reason)| reason),
            }
        });
        decided.collect()
    }
}
