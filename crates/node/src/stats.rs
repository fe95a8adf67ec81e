//! Counters and gauges.

use std::collections::HashMap;

use napi_derive::napi;

use crate::number::millis;

/// What a scheduler has done since it began, and what it holds now.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Stats {
    /// Requests sent to an endpoint.
    pub dispatched: f64,
    /// Dispatched requests by how they were split; empty without disaggregation.
    #[napi(
        ts_type = "Partial<Record<'decode-only' | 'prefill-decode' | 'encode-decode' | 'encode-prefill-decode', number>>"
    )]
    pub stages: HashMap<String, f64>,
    /// Requests that completed.
    pub completed: f64,
    /// Requests that failed.
    pub failed: f64,
    /// Those of them that never reached the endpoint.
    pub unreachable: f64,
    /// Requests that were cancelled.
    pub cancelled: f64,
    /// Requests that went to another endpoint than was decided.
    pub redirected: f64,
    /// Requests that were rejected, by reason; a reason that never applied is missing.
    #[napi(ts_type = "Partial<Record<Rejected['reason'], number>>")]
    pub rejected: HashMap<String, f64>,
    /// Requests that waited and were evicted, by reason; a reason that never applied is missing.
    #[napi(ts_type = "Partial<Record<Evicted['reason'], number>>")]
    pub evicted: HashMap<String, f64>,
    /// Requests that wait for a decision.
    pub queued: f64,
    /// Their bytes.
    pub queued_bytes: f64,
    /// Evictions that `pollDecision` has not returned yet. They take up room in the queue.
    pub undelivered: f64,
    /// What waits by priority, highest first: the bands of which something waits.
    pub bands: Vec<BandStats>,
    /// How many milliseconds dispatched requests had waited for their decisions, all together.
    pub queue_time_total_ms: f64,
    /// The same by length: 0 for what was picked and never waited.
    pub queue_time: Histogram,
    /// From a request's dispatch to its first token, as the gateway sees it.
    pub time_to_first_token: Histogram,
    /// The session guard, if there is one.
    pub session_admission: Option<SessionAdmissionStats>,
    /// Requests in flight.
    pub in_flight: f64,
    /// Prompt tokens of dispatched requests.
    pub prompt_tokens: f64,
    /// Prompt tokens that were expected in the cache of the chosen endpoint.
    pub predicted_cached_tokens: f64,
    /// Expected cached tokens of the completed requests whose engine reported its cached tokens.
    pub checked_cached_tokens: f64,
    /// Of the same requests: what the engine found.
    pub reported_cached_tokens: f64,
    /// Times that an engine found so much less that what it is assumed to hold was corrected.
    pub corrections: f64,
    /// The measured probability that a cached token is wanted again.
    pub reuse_probability: f64,
    /// Pairs of an endpoint and a block that it holds in the index of caches.
    pub index_entries: f64,
    /// Bytes that the index of caches has allocated for them.
    pub index_bytes: f64,
    /// Signals of the whole pool, for an autoscaler.
    pub pool: PoolStats,
    /// Every endpoint, in the order in which they took their places in the pool.
    pub endpoints: Vec<EndpointStats>,
}

/// Durations that were observed, in buckets with fixed bounds.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Histogram {
    /// The upper bound of each bucket but the last, in milliseconds, rising.
    pub bounds_ms: Vec<f64>,
    /// Durations in each bucket; the last one has what is above all bounds.
    pub counts: Vec<f64>,
    /// All durations together, in milliseconds.
    pub sum_ms: f64,
    /// The number of durations.
    pub count: f64,
}

/// Signals of the whole pool, for an autoscaler. Draining endpoints do not count.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PoolStats {
    /// Endpoints that accept requests.
    pub ready_endpoints: f64,
    /// Requests before their first token on an endpoint: ours and estimated others.
    pub queue_size: Spread,
    /// Share of an endpoint's KV cache that live requests use: ours and estimated others.
    pub kv_cache_utilization: Spread,
    /// Requests past their first token on an endpoint: ours and estimated others.
    pub running_requests: Spread,
    /// Saturation by the configured policy: 0 is idle, 1 is full. A pool without endpoints is full.
    pub saturation: f64,
    /// Replicas that the predicted work needs to keep the service level of `autoscaling`, as a
    /// fraction; an autoscaler rounds up. It counts only this gateway's requests: sum it over
    /// gateways that share a pool.
    pub desired_replicas: f64,
}

/// The mean and the standard deviation of a value over the endpoints; zero without endpoints.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the population.
    pub std_dev: f64,
}

/// One band of the waiting room.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct BandStats {
    /// Its priority.
    pub priority: i32,
    /// Requests of it that wait.
    pub queued: f64,
    /// Their bytes.
    pub queued_bytes: f64,
}

/// One endpoint.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct EndpointStats {
    /// Its id.
    pub id: f64,
    /// Its name.
    pub name: String,
    /// Whether it gets no new requests.
    pub draining: bool,
    /// Whether its engine publishes KV events, and they are used.
    pub kv_events: bool,
    /// Stored events of its engine that were applied.
    pub kv_stored_events: f64,
    /// Stored events of its engine that were refused.
    pub kv_refused_events: f64,
    /// Why the last one was refused; reset when a later one is applied: the `code` of a
    /// `KvEventError`.
    pub kv_refusal: Option<&'static str>,
    /// Tokens in one of its cache blocks: as described, until KV events show another length.
    pub block_size: u32,
    /// Whether its engine's block hashes differ from the rest of the pool, which costs memory. For
    /// vLLM, set `PYTHONHASHSEED` to the same number everywhere.
    pub hash_mismatch: bool,
    /// Requests dispatched to it.
    pub dispatched: f64,
    /// Requests that completed there.
    pub completed: f64,
    /// Requests that failed there.
    pub failed: f64,
    /// Requests that were cancelled there.
    pub cancelled: f64,
    /// Our requests before their first token.
    pub prefilling: u32,
    /// Our requests past their first token.
    pub running: u32,
    /// Predicted prefill of the pending ones, in milliseconds.
    pub queued_prefill_ms: f64,
    /// Tokens of our prompts and answers in flight.
    pub kv_tokens: f64,
    /// Tokens that fit.
    pub kv_cache_tokens: u32,
    /// Waiting requests from other sources, estimated from load reports.
    pub external_waiting: f64,
    /// Running requests from other sources, estimated from load reports.
    pub external_running: f64,
    /// How old the last load report is, in milliseconds; null if there was none.
    pub report_age_ms: Option<f64>,
    /// Reports that were unreadable or had no known field.
    pub report_errors: f64,
    /// Why, if the last report could not be read: the `code` of a `WireError`.
    pub report_error: Option<&'static str>,
    /// Whether its engine reports that it sleeps: it gets no requests.
    pub sleeping: bool,
    /// Seconds that it takes for a second of described work.
    pub slowdown: f64,
    /// What requests it takes.
    #[napi(ts_type = "'serving' | 'backed_off' | 'trial' | 'ramping'")]
    pub health: &'static str,
    /// Why it is backed off, if it is.
    #[napi(ts_type = "'unreachable' | 'failed' | 'unanswered' | 'late' | 'probe' | null")]
    pub backoff: Option<&'static str>,
    /// How long requests are held off after failures, in seconds.
    pub backoff_remaining: f64,
    /// Backoffs in a row since it last served.
    pub failures: u32,
    /// Times that it was backed off.
    pub backoffs: f64,
    /// Of the cancelled requests: before their first token.
    pub unanswered: f64,
    /// First tokens that came much later than predicted.
    pub late: f64,
    /// Milliseconds for which it counts as busy with requests that ended before their first token.
    pub residual_ms: f64,
    /// Tokens that it is assumed to hold in its cache.
    pub estimated_tokens: f64,
    /// Tokens that its engine reports as cached.
    pub stored_tokens: f64,
    /// Tokens of either that were used lately.
    pub warm_tokens: f64,
    /// Tokens of the contexts of its active sessions, if there is a session guard.
    pub session_tokens: f64,
    /// Adapters that are thought to be loaded, least recently used first.
    pub adapters: Vec<String>,
    /// Adapters that our requests made it load.
    pub adapter_loads: f64,
    /// What a new request would wait for its turn, in seconds.
    pub wait: f64,
}

/// The session guard at a glance.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SessionAdmissionStats {
    /// Sessions whose contexts count.
    pub active: f64,
    /// Sessions that would be recognised, with those.
    pub remembered: f64,
    /// How long a session stays active with nothing in flight, in milliseconds.
    pub idle_time_ms: f64,
    /// Share of a cache that active contexts may fill.
    pub share: f64,
}

impl From<slotwise::SessionAdmissionStats> for SessionAdmissionStats {
    fn from(stats: slotwise::SessionAdmissionStats) -> Self {
        Self {
            active: stats.active as f64,
            remembered: stats.remembered as f64,
            idle_time_ms: millis(stats.idle_time),
            share: stats.share,
        }
    }
}

impl From<slotwise::Histogram> for Histogram {
    fn from(histogram: slotwise::Histogram) -> Self {
        Self {
            bounds_ms: histogram.bounds.iter().map(|bound| bound * 1e3).collect(),
            counts: histogram.counts.iter().map(|count| *count as f64).collect(),
            sum_ms: millis(histogram.sum),
            count: histogram.count as f64,
        }
    }
}

impl From<slotwise::Stats> for Stats {
    fn from(stats: slotwise::Stats) -> Self {
        let rejected = stats
            .rejected
            .iter()
            .map(|(reason, count)| (reason.code().into(), *count as f64))
            .collect();
        let evicted = stats
            .evicted
            .iter()
            .map(|(reason, count)| (reason.code().into(), *count as f64))
            .collect();
        let stages = stats.stages.iter();
        let stages = stages.map(|(split, count)| (split.as_str().into(), *count as f64)).collect();
        Self {
            dispatched: stats.dispatched as f64,
            stages,
            completed: stats.completed as f64,
            failed: stats.failed as f64,
            unreachable: stats.unreachable as f64,
            cancelled: stats.cancelled as f64,
            redirected: stats.redirected as f64,
            rejected,
            evicted,
            queued: stats.queued as f64,
            queued_bytes: stats.queued_bytes as f64,
            undelivered: stats.undelivered as f64,
            bands: stats.bands.iter().map(BandStats::from).collect(),
            queue_time_total_ms: millis(stats.queue_time_total),
            queue_time: stats.queue_time.into(),
            time_to_first_token: stats.time_to_first_token.into(),
            session_admission: stats.session_admission.map(SessionAdmissionStats::from),
            in_flight: stats.in_flight as f64,
            prompt_tokens: stats.prompt_tokens as f64,
            predicted_cached_tokens: stats.predicted_cached_tokens as f64,
            checked_cached_tokens: stats.checked_cached_tokens as f64,
            reported_cached_tokens: stats.reported_cached_tokens as f64,
            corrections: stats.corrections as f64,
            reuse_probability: stats.reuse_probability,
            index_entries: stats.index_entries as f64,
            index_bytes: stats.index_bytes as f64,
            pool: stats.pool.into(),
            endpoints: stats.endpoints.into_iter().map(EndpointStats::from).collect(),
        }
    }
}

impl From<slotwise::PoolStats> for PoolStats {
    fn from(pool: slotwise::PoolStats) -> Self {
        Self {
            ready_endpoints: pool.ready_endpoints as f64,
            queue_size: pool.queue_size.into(),
            kv_cache_utilization: pool.kv_cache_utilization.into(),
            running_requests: pool.running_requests.into(),
            saturation: pool.saturation,
            desired_replicas: pool.desired_replicas,
        }
    }
}

impl From<slotwise::Spread> for Spread {
    fn from(spread: slotwise::Spread) -> Self {
        Self { mean: spread.mean, std_dev: spread.std_dev }
    }
}

impl From<&slotwise::BandStats> for BandStats {
    fn from(band: &slotwise::BandStats) -> Self {
        Self {
            priority: band.priority,
            queued: band.queued as f64,
            queued_bytes: band.queued_bytes as f64,
        }
    }
}

impl From<slotwise::EndpointStats> for EndpointStats {
    fn from(stats: slotwise::EndpointStats) -> Self {
        Self {
            id: stats.id.as_u64() as f64,
            name: stats.name,
            draining: stats.draining,
            kv_events: stats.kv_events,
            kv_stored_events: stats.kv_stored_events as f64,
            kv_refused_events: stats.kv_refused_events as f64,
            kv_refusal: stats.kv_refusal,
            block_size: stats.block_size,
            hash_mismatch: stats.hash_mismatch,
            dispatched: stats.dispatched as f64,
            completed: stats.completed as f64,
            failed: stats.failed as f64,
            cancelled: stats.cancelled as f64,
            prefilling: stats.prefilling,
            running: stats.running,
            queued_prefill_ms: millis(stats.queued_prefill),
            kv_tokens: stats.kv_tokens as f64,
            kv_cache_tokens: stats.kv_cache_tokens,
            external_waiting: stats.external_waiting,
            external_running: stats.external_running,
            report_age_ms: stats.report_age.map(millis),
            report_errors: stats.report_errors as f64,
            report_error: stats.report_error,
            sleeping: stats.sleeping,
            slowdown: stats.slowdown,
            health: stats.health.code(),
            backoff: stats.backoff.map(slotwise::BackoffCause::code),
            backoff_remaining: stats.backoff_remaining.get(),
            failures: stats.failures,
            backoffs: stats.backoffs as f64,
            unanswered: stats.unanswered as f64,
            late: stats.late as f64,
            residual_ms: millis(stats.residual),
            estimated_tokens: stats.estimated_tokens as f64,
            stored_tokens: stats.stored_tokens as f64,
            warm_tokens: stats.warm_tokens as f64,
            session_tokens: stats.session_tokens as f64,
            adapters: stats.adapters,
            adapter_loads: stats.adapter_loads as f64,
            wait: stats.wait.get(),
        }
    }
}
