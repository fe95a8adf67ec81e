//! The metric families of slotwise, one row each.

use alloc::string::ToString;
use core::fmt;

use slotwise::{BandStats, EndpointStats, HealthState, Histogram, SessionAdmissionStats, Stats};

use super::definition::Family;
use super::number::Value;
use super::text::Writer;
use super::{Exposition, Named};
use crate::outcome::Reason;

const REQUESTS: Option<&str> = Some("requests");
const TOKENS: Option<&str> = Some("tokens");
const SECONDS: Option<&str> = Some("seconds");
const BYTES: Option<&str> = Some("bytes");
const RATIO: Option<&str> = Some("ratio");

const REJECTED: Family = Family::counter(
    "slotwise_rejected_requests",
    REQUESTS,
    &["reason"],
    "Requests that were rejected without being queued, by reason.",
);
const STAGES: Family = Family::counter(
    "slotwise_disaggregated_requests",
    REQUESTS,
    &["stages"],
    "Dispatched requests, by the stages that have endpoints of their own.",
);
const EVICTED: Family = Family::counter(
    "slotwise_evicted_requests",
    REQUESTS,
    &["reason"],
    "Queued requests that were evicted, by reason.",
);
const ENDPOINTS: Family = Family::gauge(
    "slotwise_endpoints",
    None,
    &["state"],
    "Endpoints of the pool: active or draining.",
);

/// A family with one sample, and its value.
type Row = (Family, fn(&Stats) -> Value);

#[rustfmt::skip]
const TOTALS: [Row; 28] = [
    (Family::counter("slotwise_dispatched_requests", REQUESTS, &[], "Requests sent to an endpoint."), |it| it.dispatched.into()),
    (Family::counter("slotwise_completed_requests", REQUESTS, &[], "Requests that completed."), |it| it.completed.into()),
    (Family::counter("slotwise_failed_requests", REQUESTS, &[], "Requests that failed after they were dispatched."), |it| it.failed.into()),
    (Family::counter("slotwise_unreachable_requests", REQUESTS, &[], "Failed requests that never reached the endpoint."), |it| it.unreachable.into()),
    (Family::counter("slotwise_cancelled_requests", REQUESTS, &[], "Requests that were cancelled."), |it| it.cancelled.into()),
    (Family::counter("slotwise_redirected_requests", REQUESTS, &[], "Requests that were redirected to another endpoint."), |it| it.redirected.into()),
    (Family::gauge("slotwise_queued_requests", REQUESTS, &[], "Queued requests."), |it| it.queued.into()),
    (Family::gauge("slotwise_undelivered_requests", REQUESTS, &[], "Evicted requests whose decisions have not been polled yet."), |it| it.undelivered.into()),
    (Family::gauge("slotwise_queued_bytes", BYTES, &[], "Bytes of the queued requests."), |it| it.queued_bytes.into()),
    (Family::counter("slotwise_queued_seconds", SECONDS, &[], "Queue time of all dispatched requests, summed."), |it| it.queue_time_total.as_secs_f64().into()),
    (Family::gauge("slotwise_in_flight_requests", REQUESTS, &[], "Requests in flight."), |it| it.in_flight.into()),
    (Family::counter("slotwise_prompt_tokens", TOKENS, &[], "Prompt tokens of dispatched requests."), |it| it.prompt_tokens.into()),
    (Family::counter("slotwise_predicted_cached_tokens", TOKENS, &[], "Prompt tokens predicted in the cache of the chosen endpoint."), |it| it.predicted_cached_tokens.into()),
    (Family::counter("slotwise_checked_cached_tokens", TOKENS, &[], "Predicted cached tokens of completed requests with reported usage."), |it| it.checked_cached_tokens.into()),
    (Family::counter("slotwise_reported_cached_tokens", TOKENS, &[], "Cached tokens that engines reported for the same requests."), |it| it.reported_cached_tokens.into()),
    (Family::counter("slotwise_cache_corrections", None, &[], "Corrections of estimated cache contents after reported usage."), |it| it.corrections.into()),
    (Family::gauge("slotwise_reuse_probability_ratio", RATIO, &[], "Measured probability that a cached token is reused."), |it| it.reuse_probability.into()),
    (Family::gauge("slotwise_index_entries", None, &[], "Pairs of an endpoint and a block that it holds in the prefix index."), |it| it.index_entries.into()),
    (Family::gauge("slotwise_index_bytes", BYTES, &[], "Bytes that the prefix index has allocated."), |it| it.index_bytes.into()),
    (Family::gauge("slotwise_pool_ready_endpoints", None, &[], "Endpoints that accept requests."), |it| it.pool.ready_endpoints.into()),
    (Family::gauge("slotwise_pool_average_queue_size", None, &[], "Mean requests before their first token on an endpoint."), |it| it.pool.queue_size.mean.into()),
    (Family::gauge("slotwise_pool_std_dev_queue_size", None, &[], "Standard deviation of the same."), |it| it.pool.queue_size.std_dev.into()),
    (Family::gauge("slotwise_pool_average_kv_cache_utilization", None, &[], "Mean share of the KV cache that live requests use."), |it| it.pool.kv_cache_utilization.mean.into()),
    (Family::gauge("slotwise_pool_std_dev_kv_cache_utilization", None, &[], "Standard deviation of the same."), |it| it.pool.kv_cache_utilization.std_dev.into()),
    (Family::gauge("slotwise_pool_average_running_requests", None, &[], "Mean requests past their first token on an endpoint."), |it| it.pool.running_requests.mean.into()),
    (Family::gauge("slotwise_pool_std_dev_running_requests", None, &[], "Standard deviation of the same."), |it| it.pool.running_requests.std_dev.into()),
    (Family::gauge("slotwise_pool_saturation_ratio", RATIO, &[], "Saturation of the pool by the configured policy; 1 is full."), |it| it.pool.saturation.into()),
    (Family::gauge("slotwise_pool_desired_replicas", None, &[], "Replicas that the predicted work needs at the service level."), |it| it.pool.desired_replicas.into()),
];

/// Families of durations.
type HistogramRow = (Family, fn(&Stats) -> &Histogram);

#[rustfmt::skip]
const HISTOGRAMS: [HistogramRow; 2] = [
    (Family::histogram("slotwise_time_to_first_token_seconds", SECONDS, &[], "From the dispatch of a request to its first token."), |it| &it.time_to_first_token),
    (Family::histogram("slotwise_queue_time_seconds", SECONDS, &[], "Queue time of dispatched requests."), |it| &it.queue_time),
];

/// Families of session admission, which have samples only if it is configured.
type GuardRow = (Family, fn(&SessionAdmissionStats) -> Value);

#[rustfmt::skip]
const GUARD: [GuardRow; 4] = [
    (Family::gauge("slotwise_session_admission_active_sessions", Some("sessions"), &[], "Active sessions, whose contexts count."), |it| it.active.into()),
    (Family::gauge("slotwise_session_admission_remembered_sessions", Some("sessions"), &[], "Sessions that are recognised when they return, active ones included."), |it| it.remembered.into()),
    (Family::gauge("slotwise_session_admission_idle_seconds", SECONDS, &[], "Time that a session stays active without requests in flight."), |it| it.idle_time.as_secs_f64().into()),
    (Family::gauge("slotwise_session_admission_share_ratio", RATIO, &[], "Share of a cache that the contexts of active sessions may fill."), |it| it.share.into()),
];

/// A family with one sample for each priority that has queued requests.
pub(super) type BandRow = (Family, fn(&BandStats) -> Value);

#[rustfmt::skip]
const OF_BANDS: [BandRow; 2] = [
    (Family::gauge("slotwise_band_queued_requests", REQUESTS, &["priority"], "Queued requests, by priority."), |it| it.queued.into()),
    (Family::gauge("slotwise_band_queued_bytes", BYTES, &["priority"], "Bytes of the queued requests, by priority."), |it| it.queued_bytes.into()),
];

/// The number of priorities with their own samples, highest first. The others are merged.
const MOST_BANDS: usize = 32;

/// How to merge the values of several endpoints.
#[derive(Clone, Copy)]
enum Merge {
    Sum,
    Largest,
}

/// A family with one sample for each endpoint that has a value.
type EndpointRow = (Family, Merge, fn(&EndpointStats) -> Option<Value>);

/// The Prometheus operator already sets a target label `endpoint`.
const ENDPOINT: &[&str] = &["endpoint_name"];

#[rustfmt::skip]
const OF_ENDPOINTS: [EndpointRow; 33] = [
    (Family::counter("slotwise_endpoint_dispatched_requests", REQUESTS, ENDPOINT, "Requests dispatched to the endpoint."), Merge::Sum, |it| Some(it.dispatched.into())),
    (Family::counter("slotwise_endpoint_completed_requests", REQUESTS, ENDPOINT, "Requests that completed there."), Merge::Sum, |it| Some(it.completed.into())),
    (Family::counter("slotwise_endpoint_failed_requests", REQUESTS, ENDPOINT, "Requests that failed there."), Merge::Sum, |it| Some(it.failed.into())),
    (Family::counter("slotwise_endpoint_cancelled_requests", REQUESTS, ENDPOINT, "Requests that were cancelled there."), Merge::Sum, |it| Some(it.cancelled.into())),
    (Family::counter("slotwise_endpoint_adapter_loads", None, ENDPOINT, "Adapter loads that our requests caused."), Merge::Sum, |it| Some(it.adapter_loads.into())),
    (Family::gauge("slotwise_endpoint_prefilling_requests", REQUESTS, ENDPOINT, "Our requests before their first token."), Merge::Sum, |it| Some(it.prefilling.into())),
    (Family::gauge("slotwise_endpoint_running_requests", REQUESTS, ENDPOINT, "Our requests past their first token."), Merge::Sum, |it| Some(it.running.into())),
    (Family::gauge("slotwise_endpoint_external_waiting_requests", REQUESTS, ENDPOINT, "External requests queued there, from load reports."), Merge::Sum, |it| Some(it.external_waiting.into())),
    (Family::gauge("slotwise_endpoint_external_running_requests", REQUESTS, ENDPOINT, "External requests running there, from load reports."), Merge::Sum, |it| Some(it.external_running.into())),
    (Family::gauge("slotwise_endpoint_queued_prefill_seconds", SECONDS, ENDPOINT, "Predicted prefill of the pending requests."), Merge::Sum, |it| Some(it.queued_prefill.as_secs_f64().into())),
    (Family::gauge("slotwise_endpoint_wait_seconds", SECONDS, ENDPOINT, "Predicted queue time of a new request."), Merge::Largest, |it| Some(it.wait.get().into())),
    (Family::gauge("slotwise_endpoint_kv_tokens", TOKENS, ENDPOINT, "Tokens of our prompts and answers in flight."), Merge::Sum, |it| Some(it.kv_tokens.into())),
    (Family::gauge("slotwise_endpoint_kv_cache_tokens", TOKENS, ENDPOINT, "Tokens that fit into its KV cache."), Merge::Sum, |it| Some(it.kv_cache_tokens.into())),
    (Family::gauge("slotwise_endpoint_estimated_tokens", TOKENS, ENDPOINT, "Tokens that its cache is estimated to hold."), Merge::Sum, |it| Some(it.estimated_tokens.into())),
    (Family::gauge("slotwise_endpoint_stored_tokens", TOKENS, ENDPOINT, "Tokens that its cache holds, from KV events."), Merge::Sum, |it| Some(it.stored_tokens.into())),
    (Family::gauge("slotwise_endpoint_warm_tokens", TOKENS, ENDPOINT, "Cached tokens of both kinds used in the last 90 s."), Merge::Sum, |it| Some(it.warm_tokens.into())),
    (Family::gauge("slotwise_endpoint_session_tokens", TOKENS, ENDPOINT, "Tokens of the contexts of its active sessions."), Merge::Sum, |it| Some(it.session_tokens.into())),
    (Family::gauge("slotwise_endpoint_adapters", None, ENDPOINT, "Adapters that are estimated to be loaded."), Merge::Sum, |it| Some(it.adapters.len().into())),
    (Family::gauge("slotwise_endpoint_slowdown_ratio", RATIO, ENDPOINT, "Measured over described prefill time; 1 is as described."), Merge::Largest, |it| Some(it.slowdown.into())),
    (Family::gauge("slotwise_endpoint_backoff_remaining_seconds", SECONDS, ENDPOINT, "Time until it may get a trial request after failures."), Merge::Largest, |it| Some(it.backoff_remaining.get().into())),
    (Family::gauge("slotwise_endpoint_backed_off", None, ENDPOINT, "Whether it is backed off, or has a trial in flight."), Merge::Sum, |it| Some(u32::from(it.backoff.is_some()).into())),
    (Family::gauge("slotwise_endpoint_ramping", None, ENDPOINT, "Whether it is limited to few requests after it joined or came back."), Merge::Sum, |it| Some(u32::from(it.health == HealthState::Ramping).into())),
    (Family::counter("slotwise_endpoint_backoffs", None, ENDPOINT, "Times that it was backed off."), Merge::Sum, |it| Some(it.backoffs.into())),
    (Family::counter("slotwise_endpoint_unanswered_requests", REQUESTS, ENDPOINT, "Requests that were cancelled there before their first token."), Merge::Sum, |it| Some(it.unanswered.into())),
    (Family::counter("slotwise_endpoint_late_first_tokens", None, ENDPOINT, "First tokens that came much later than predicted."), Merge::Sum, |it| Some(it.late.into())),
    (Family::gauge("slotwise_endpoint_residual_seconds", SECONDS, ENDPOINT, "Residual work of requests that ended before their first token."), Merge::Largest, |it| Some(it.residual.as_secs_f64().into())),
    (Family::gauge("slotwise_endpoint_report_age_seconds", SECONDS, ENDPOINT, "Age of the last load report; no sample if there was none."), Merge::Largest, |it| it.report_age.map(|age| age.as_secs_f64().into())),
    (Family::counter("slotwise_endpoint_report_errors", None, ENDPOINT, "Reports that could not be parsed, or had no known metric."), Merge::Sum, |it| Some(it.report_errors.into())),
    (Family::gauge("slotwise_endpoint_sleeping", None, ENDPOINT, "Whether its engine sleeps, from load reports."), Merge::Sum, |it| Some(it.sleeping.into())),
    (Family::counter("slotwise_endpoint_kv_stored_events", Some("events"), ENDPOINT, "Stored KV events of its engine that were applied."), Merge::Sum, |it| Some(it.kv_stored_events.into())),
    (Family::counter("slotwise_endpoint_kv_refused_events", Some("events"), ENDPOINT, "Stored KV events of its engine that were rejected."), Merge::Sum, |it| Some(it.kv_refused_events.into())),
    (Family::gauge("slotwise_endpoint_kv_events", None, ENDPOINT, "Whether its engine publishes KV events, and they are used."), Merge::Sum, |it| Some(it.kv_events.into())),
    (Family::gauge("slotwise_endpoint_hash_mismatch", None, ENDPOINT, "Whether its engine names blocks differently from the rest of the pool."), Merge::Sum, |it| Some(it.hash_mismatch.into())),
];

/// All families in the order of the text.
pub(super) fn all() -> impl Iterator<Item = Family> {
    let totals = TOTALS.iter().map(|(family, _)| *family);
    let guard = GUARD.iter().map(|(family, _)| *family);
    let endpoints = OF_ENDPOINTS.iter().map(|(family, _, _)| *family);
    let bands = OF_BANDS.iter().map(|(family, _)| *family);
    let histograms = HISTOGRAMS.iter().map(|(family, _)| *family);
    totals
        .chain(histograms)
        .chain([REJECTED, EVICTED, STAGES, ENDPOINTS])
        .chain(bands)
        .chain(guard)
        .chain(endpoints)
}

/// Writes all families.
pub(super) fn write(
    stats: &Stats,
    named: Named<'_>,
    out: &mut Writer<'_, impl fmt::Write>,
) -> fmt::Result {
    for (family, read) in TOTALS {
        out.family(family)?;
        out.sample(&[], read(stats))?;
    }
    for (family, read) in HISTOGRAMS {
        out.family(family)?;
        out.histogram(&[], read(stats))?;
    }
    // Reasons start at zero, so that their first occurrence counts as an increase.
    out.family(REJECTED)?;
    for (reason, count) in rejected(stats) {
        out.sample(&[("reason", reason.code())], count)?;
    }
    out.family(EVICTED)?;
    for (reason, count) in evicted(stats) {
        out.sample(&[("reason", reason.code())], count)?;
    }
    out.family(STAGES)?;
    for (stages, count) in &stats.stages {
        out.sample(&[("stages", stages.as_str())], *count)?;
    }
    let draining = stats.endpoints.iter().filter(|endpoint| endpoint.draining).count();
    out.family(ENDPOINTS)?;
    out.sample(&[("state", "active")], stats.endpoints.len() - draining)?;
    out.sample(&[("state", "draining")], draining)?;
    for (family, read) in OF_BANDS {
        out.family(family)?;
        bands(stats, read, |priority, value| out.sample(&[("priority", priority)], value))?;
    }
    for (family, read) in GUARD {
        out.family(family)?;
        if let Some(guard) = &stats.session_admission {
            out.sample(&[], read(guard))?;
        }
    }
    for (family, merge, read) in OF_ENDPOINTS {
        out.family(family)?;
        let own = named.named().filter_map(|it| Some((it.name.as_str(), read(it)?)));
        let rest = named.rest().filter_map(read).reduce(|a, b| merge.both(a, b));
        let rest = rest.map(|value| (Exposition::OTHER, value));
        out.column("endpoint_name", named.plain, own.chain(rest))?;
    }
    Ok(())
}

/// Queued requests by priority, highest first.
pub(super) fn bands(
    stats: &Stats,
    read: fn(&BandStats) -> Value,
    mut write: impl FnMut(&str, Value) -> fmt::Result,
) -> fmt::Result {
    let (own, rest) = stats.bands.split_at(stats.bands.len().min(MOST_BANDS));
    for band in own {
        write(&band.priority.to_string(), read(band))?;
    }
    match rest.iter().map(read).reduce(|a, b| Merge::Sum.both(a, b)) {
        Some(value) => write(Exposition::OTHER, value),
        None => Ok(()),
    }
}

/// Rejections by reason: those of the table, then others.
pub(super) fn rejected(stats: &Stats) -> impl Iterator<Item = (Reason, u64)> {
    let known = Reason::all().filter_map(|reason| match reason {
        Reason::Rejected(core) => Some((reason, stats.rejected.get(&core).copied().unwrap_or(0))),
        _ => None,
    });
    let counted = stats.rejected.iter().map(|(core, count)| (Reason::Rejected(*core), *count));
    known.chain(counted.filter(|(reason, _)| Reason::all().all(|known| known != *reason)))
}

/// Evictions by reason.
pub(super) fn evicted(stats: &Stats) -> impl Iterator<Item = (Reason, u64)> {
    let known = Reason::all().filter_map(|reason| match reason {
        Reason::Evicted(core) => Some((reason, stats.evicted.get(&core).copied().unwrap_or(0))),
        _ => None,
    });
    let counted = stats.evicted.iter().map(|(core, count)| (Reason::Evicted(*core), *count));
    known.chain(counted.filter(|(reason, _)| Reason::all().all(|known| known != *reason)))
}

impl Merge {
    fn both(self, a: Value, b: Value) -> Value {
        match (self, a, b) {
            (Self::Sum, Value::Whole(a), Value::Whole(b)) => Value::Whole(a.saturating_add(b)),
            (Self::Sum, a, b) => Value::Real(a.real() + b.real()),
            (Self::Largest, a, b) => Value::Real(a.real().max(b.real())),
        }
    }
}
