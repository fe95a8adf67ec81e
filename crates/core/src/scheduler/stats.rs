//! Counters and gauges, as data.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{PoolStats, Scheduler};
use crate::decision::{EvictReason, RejectReason};
use crate::endpoint::EndpointId;
use crate::flow::{QueueTotals, SessionAdmission, SessionAdmissionStats};
use crate::histogram::{Buckets, Histogram};
use crate::pool::{BackoffCause, HealthState, Slot};
use crate::request::Failure;
use crate::time::{Instant, Seconds};

/// Counters since the scheduler was created, and its gauges.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Requests dispatched to an endpoint.
    pub dispatched: u64,
    /// Dispatched requests by how they were split. Without
    /// [`Config::disaggregation`](crate::Config::disaggregation) it is empty.
    pub stages: BTreeMap<StageSplit, u64>,
    /// Requests that completed.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Failed requests that never reached the endpoint.
    pub unreachable: u64,
    /// Requests that were cancelled.
    pub cancelled: u64,
    /// Requests that were redirected to another endpoint.
    pub redirected: u64,
    /// Requests that were rejected, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Queued requests that were evicted, by reason.
    pub evicted: BTreeMap<EvictReason, u64>,
    /// Requests in the queue.
    pub queued: usize,
    /// Bytes of the queued requests.
    pub queued_bytes: u64,
    /// Evictions that [`poll_decision`](Scheduler::poll_decision) has not returned yet. They count
    /// against the limits of the queue.
    pub undelivered: usize,
    /// The bands with queued requests, highest priority first.
    pub bands: Vec<BandStats>,
    /// Total queue time of dispatched requests.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queue_time_total: Duration,
    /// Histogram of queue times; 0 for picked requests.
    pub queue_time: Histogram,
    /// Histogram of the time from dispatch to first token, as seen by the gateway.
    pub time_to_first_token: Histogram,
    /// Session admission, if it is configured.
    pub session_admission: Option<SessionAdmissionStats>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Prompt tokens of dispatched requests.
    pub prompt_tokens: u64,
    /// Prompt tokens that were predicted in the cache of the chosen endpoint.
    pub predicted_cached_tokens: u64,
    /// Predicted cached tokens of completed requests whose engine reported cached tokens.
    pub checked_cached_tokens: u64,
    /// Reported cached tokens of the same requests.
    pub reported_cached_tokens: u64,
    /// Corrections of an estimated cache after an engine reported far fewer cached tokens.
    pub corrections: u64,
    /// The measured probability that a cached token is read again.
    pub reuse_probability: f64,
    /// Pairs of an endpoint and a cached block in the prefix index.
    pub index_entries: usize,
    /// Bytes that the prefix index has allocated: see
    /// [`IndexLimits::bytes`](crate::prefix::IndexLimits::bytes).
    pub index_bytes: usize,
    /// Signals of the whole pool, for an autoscaler.
    pub pool: PoolStats,
    /// Every endpoint, by slot.
    pub endpoints: Vec<EndpointStats>,
}

/// How a disaggregated request was split: the stages before the answer that another endpoint runs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum StageSplit {
    /// One endpoint runs all stages.
    DecodeOnly,
    /// Another endpoint prefills.
    PrefillDecode,
    /// Another endpoint encodes.
    EncodeDecode,
    /// One other endpoint encodes, and one prefills.
    EncodePrefillDecode,
}

impl StageSplit {
    /// All variants.
    pub const ALL: [Self; 4] =
        [Self::DecodeOnly, Self::PrefillDecode, Self::EncodeDecode, Self::EncodePrefillDecode];

    /// The name, which is the reference's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DecodeOnly => "decode-only",
            Self::PrefillDecode => "prefill-decode",
            Self::EncodeDecode => "encode-decode",
            Self::EncodePrefillDecode => "encode-prefill-decode",
        }
    }

    pub(super) const fn of(encodes: bool, prefills: bool) -> Self {
        match (encodes, prefills) {
            (false, false) => Self::DecodeOnly,
            (false, true) => Self::PrefillDecode,
            (true, false) => Self::EncodeDecode,
            (true, true) => Self::EncodePrefillDecode,
        }
    }
}

/// One band of the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BandStats {
    /// The priority.
    pub priority: i32,
    /// Queued requests of the band.
    pub queued: usize,
    /// Bytes of the queued requests.
    pub queued_bytes: u64,
}

/// Counters and gauges of one endpoint.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointStats {
    /// The id.
    pub id: EndpointId,
    /// The name.
    pub name: String,
    /// Whether the endpoint accepts no new requests.
    pub draining: bool,
    /// Whether the engine publishes KV events that are in use.
    pub kv_events: bool,
    /// Stored events that were applied.
    pub kv_stored_events: u64,
    /// Stored events that were refused.
    pub kv_refused_events: u64,
    /// Why the last stored event was refused, unless a later one was applied:
    /// [`KvEventError::code`](crate::KvEventError::code).
    pub kv_refusal: Option<&'static str>,
    /// Tokens in a cache block, from the description or from KV events.
    pub block_size: u32,
    /// Whether the engine's block hashes differ from those of the rest of the pool, which costs
    /// memory: see [`PrefixIndex::hash_mismatch`](crate::prefix::PrefixIndex::hash_mismatch).
    pub hash_mismatch: bool,
    /// Requests dispatched to the endpoint.
    pub dispatched: u64,
    /// Requests that completed on the endpoint.
    pub completed: u64,
    /// Requests that failed on the endpoint.
    pub failed: u64,
    /// Requests that were cancelled on the endpoint.
    pub cancelled: u64,
    /// This gateway's requests before their first token.
    pub prefilling: u32,
    /// This gateway's requests past their first token.
    pub running: u32,
    /// Predicted prefill of the requests before their first token.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queued_prefill: Duration,
    /// Tokens of this gateway's prompts and answers in flight.
    pub kv_tokens: u64,
    /// KV cache size in tokens.
    pub kv_cache_tokens: u32,
    /// Estimated queued requests of other clients of the endpoint.
    pub external_waiting: f64,
    /// Estimated running requests of other clients of the endpoint.
    pub external_running: f64,
    /// Age of the last load report; `None` without a report.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub report_age: Option<Duration>,
    /// Reports that could not be parsed or contained no known metric.
    pub report_errors: u64,
    /// The code of the error, if the last report could not be parsed.
    pub report_error: Option<&'static str>,
    /// Whether the engine sleeps, according to its reports. A sleeping endpoint gets no requests.
    pub sleeping: bool,
    /// Seconds that the endpoint takes for one second of described work.
    pub slowdown: f64,
    /// The health state, which limits the requests that the endpoint gets.
    pub health: HealthState,
    /// Why the endpoint is backed off, if it is.
    pub backoff: Option<BackoffCause>,
    /// The rest of the backoff.
    pub backoff_remaining: Seconds,
    /// Consecutive backoffs since the last success.
    pub failures: u32,
    /// Number of backoffs.
    pub backoffs: u64,
    /// Requests that were cancelled before their first token.
    pub unanswered: u64,
    /// First tokens that arrived much later than predicted.
    pub late: u64,
    /// Remaining prefill of requests that ended before their first token.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub residual: Duration,
    /// Tokens that the endpoint is estimated to have cached.
    pub estimated_tokens: u64,
    /// Tokens that the engine has published as cached.
    pub stored_tokens: u64,
    /// Cached tokens that were used recently.
    pub warm_tokens: u64,
    /// Tokens of the contexts of active sessions, if session admission is configured.
    pub session_tokens: u64,
    /// Adapters that are presumably loaded, least recently used first.
    pub adapters: Vec<String>,
    /// Adapter loads that this gateway's requests have caused.
    pub adapter_loads: u64,
    /// The predicted wait of a new request.
    pub wait: Seconds,
}

/// Counters since the scheduler was created.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) completed: u64,
    pub(super) cancelled: u64,
    pub(super) redirected: u64,
    pub(super) corrections: u64,
    pub(super) queue_time_total: Duration,
    pub(super) queue_time: Buckets,
    pub(super) first_token: Buckets,
    dispatched: u64,
    stages: [u64; StageSplit::ALL.len()],
    failed: u64,
    unreachable: u64,
    rejected: BTreeMap<RejectReason, u64>,
    evicted: BTreeMap<EvictReason, u64>,
    prompt_tokens: u64,
    predicted: u64,
    checked: u64,
    reported: u64,
}

impl Counters {
    pub(super) fn dispatch(&mut self, tokens: u32, hit: u32) {
        self.dispatched += 1;
        self.prompt_tokens += u64::from(tokens);
        self.predicted += u64::from(hit);
    }

    pub(super) fn stages(&mut self, split: StageSplit) {
        self.stages[split as usize] += 1;
    }

    pub(super) fn reject(&mut self, reason: RejectReason) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn evict(&mut self, reason: EvictReason) {
        *self.evicted.entry(reason).or_default() += 1;
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        self.unreachable += u64::from(failure == Failure::Unreachable);
    }

    pub(super) fn report_cached(&mut self, predicted: u32, reported: u32) {
        self.checked += u64::from(predicted);
        self.reported += u64::from(reported);
    }
}

impl Scheduler {
    /// Counters and gauges as of the latest input. Computes in **O(endpoints)**, with an allocation
    /// for each endpoint's name: see [`stats_into`](Self::stats_into).
    #[inline]
    pub fn stats(&self) -> Stats {
        self.stats_in(Vec::new())
    }

    /// Replaces `stats` by the [counters and gauges](Self::stats), and reuses its memory. A host
    /// that reads them often allocates nothing for endpoints that it has seen.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Scheduler};
    ///
    /// let mut scheduler = Scheduler::default();
    /// let mut stats = scheduler.stats();
    /// scheduler.add_endpoint(Instant::ORIGIN, Endpoint::new("http://10.0.0.1:8000"))?;
    /// scheduler.stats_into(&mut stats);
    /// assert_eq!(stats, scheduler.stats());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats_into(&self, stats: &mut Stats) {
        let endpoints = core::mem::take(&mut stats.endpoints);
        *stats = self.stats_in(endpoints);
    }

    /// The counters and gauges, with the memory of earlier ones of endpoints.
    fn stats_in(&self, mut endpoints: Vec<EndpointStats>) -> Stats {
        self.endpoint_stats_into(&mut endpoints);
        let counters = &self.counters;
        let bytes = |sum: QueueTotals| u64::try_from(sum.bytes).unwrap_or(u64::MAX);
        let bands = self.queueing.waiting().bands().filter(|(_, sum, _)| sum.requests > 0);
        let bands = bands.map(|(priority, sum, _)| BandStats {
            priority,
            queued: sum.requests,
            queued_bytes: bytes(sum),
        });
        let mut stages = BTreeMap::new();
        if self.fleet.config.disaggregation.is_some() {
            stages.extend(StageSplit::ALL.into_iter().zip(counters.stages));
        }
        Stats {
            dispatched: counters.dispatched,
            stages,
            completed: counters.completed,
            failed: counters.failed,
            unreachable: counters.unreachable,
            cancelled: counters.cancelled,
            redirected: counters.redirected,
            rejected: counters.rejected.clone(),
            evicted: counters.evicted.clone(),
            queued: self.queueing.waiting().sum().requests,
            queued_bytes: bytes(self.queueing.waiting().sum()),
            undelivered: self.queueing.waiting().undelivered().requests,
            bands: bands.collect(),
            queue_time_total: counters.queue_time_total,
            queue_time: counters.queue_time.read(),
            time_to_first_token: counters.first_token.read(),
            session_admission: self.queueing.session_admission().map(SessionAdmission::stats),
            in_flight: self.requests.len() as u64,
            prompt_tokens: counters.prompt_tokens,
            predicted_cached_tokens: counters.predicted,
            checked_cached_tokens: counters.checked,
            reported_cached_tokens: counters.reported,
            corrections: counters.corrections,
            reuse_probability: self.fleet.reuse.probability(),
            index_entries: self.fleet.prefixes.len(),
            index_bytes: self.fleet.prefixes.allocated(),
            pool: self.pool_stats(),
            endpoints,
        }
    }

    fn endpoint_stats_into(&self, endpoints: &mut Vec<EndpointStats>) {
        let mut count = 0;
        endpoints.reserve_exact(self.fleet.pool.len().saturating_sub(endpoints.len()));
        for slot in self.fleet.pool.iter() {
            let before = endpoints.get_mut(count);
            let mut name =
                before.map_or_else(String::new, |before| core::mem::take(&mut before.name));
            name.clone_from(&slot.endpoint.name);
            let stats = self.endpoint_stats(slot, name, self.fleet.now);
            match endpoints.get_mut(count) {
                Some(before) => *before = stats,
                None => endpoints.push(stats),
            }
            count += 1;
        }
        endpoints.truncate(count);
    }

    fn endpoint_stats(&self, slot: &Slot, name: String, now: Instant) -> EndpointStats {
        let lifetime = self.fleet.config.report_lifetime;
        let external =
            slot.reports.estimate(now, self.fleet.pool.reports(), slot.kv_cache_tokens, lifetime);
        let (estimated_tokens, stored_tokens) = self.fleet.prefixes.tokens(slot.id.slot);
        EndpointStats {
            id: slot.id,
            name,
            draining: slot.draining,
            kv_events: self.fleet.prefixes.has_kv_events(slot.id.slot),
            kv_stored_events: slot.kv_feed.stored,
            kv_refused_events: slot.kv_feed.refused,
            kv_refusal: slot.kv_feed.refusal.map(|refusal| refusal.code()),
            block_size: slot.layout.block_size.get(),
            hash_mismatch: self.fleet.prefixes.hash_mismatch(slot.id.slot),
            dispatched: slot.counters.dispatched,
            completed: slot.counters.completed,
            failed: slot.counters.failed,
            cancelled: slot.counters.cancelled,
            prefilling: slot.in_flight.pending(),
            running: slot.in_flight.running(),
            queued_prefill: slot.in_flight.booked(),
            kv_tokens: slot.in_flight.kv_tokens(),
            kv_cache_tokens: slot.kv_cache_tokens,
            external_waiting: external.waiting,
            external_running: external.running,
            report_age: slot.reports.sampled_at().map(|at| now.saturating_since(at)),
            report_errors: slot.reports.errors().0,
            report_error: slot.reports.errors().1,
            sleeping: slot.reports.asleep(),
            slowdown: slot.speed.factor(),
            health: slot.health.state(),
            backoff: slot.health.cause(),
            backoff_remaining: slot.health.backoff_remaining(now),
            failures: slot.health.failures(),
            backoffs: slot.counters.backoffs,
            unanswered: slot.counters.unanswered,
            late: slot.counters.late,
            residual: slot.in_flight.residue(now),
            estimated_tokens,
            stored_tokens,
            warm_tokens: self.fleet.prefixes.warm_tokens(slot.id.slot, now),
            session_tokens: self
                .queueing
                .session_admission()
                .map_or(0, |admission| admission.working_set(slot.id.slot)),
            adapters: slot.adapters.names().map(String::from).collect(),
            adapter_loads: slot.counters.adapter_loads,
            wait: slot.wait(now, external, self.fleet.mean_work.get()),
        }
    }
}
