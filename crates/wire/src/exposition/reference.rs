//! Metric names of the reference, llm-d-router, for existing dashboards.
//!
//! Only families that `Stats` can provide are included. Labels that it cannot provide are left out:
//! models, fairness ids, and priorities of dispatched requests. Queries that sum over them work;
//! queries that select by them find nothing.

use alloc::string::ToString;
use core::fmt;

use slotwise::{EndpointStats, PoolStats, Spread, Stats};

use super::catalog::{BandRow, bands, evicted, rejected};
use super::definition::Family;
use super::number::Value;
use super::text::Writer;
use super::{Exposition, Named};
use crate::headers::Address;
use crate::outcome::Reason;

#[rustfmt::skip]
const REQUEST: Family = Family::counter("llm_d_epp_request", None, &[], "Requests that were decided: dispatched, rejected or evicted.");
#[rustfmt::skip]
const ERRORS: Family = Family::counter("llm_d_epp_request_error", None, &["error_code"], "Requests that were rejected, were evicted or failed, by the error's code.");
#[rustfmt::skip]
const RUNNING: Family = Family::gauge("llm_d_epp_request_running", None, &[], "Requests in flight.");
#[rustfmt::skip]
const READY: Family = Family::gauge("llm_d_epp_ready_endpoints", None, POOL, "Endpoints that take requests.");
#[rustfmt::skip]
const QUEUE_SIZE: Family = Family::gauge("llm_d_epp_per_endpoint_queue_size", None, &["name", "model_server_endpoint"], "Requests queued at the endpoint.");
#[rustfmt::skip]
const ATTEMPTS: Family = Family::counter("llm_d_epp_scheduler_attempts", None, &["status", "endpoint_name", "port"], "Scheduling attempts.");
#[rustfmt::skip]
const IN_FLIGHT: Family = Family::gauge("llm_d_epp_inflight_requests", None, &["endpoint_name"], "Our requests in flight on the endpoint.");
#[rustfmt::skip]
const IN_FLIGHT_TOKENS: Family = Family::gauge("llm_d_epp_inflight_tokens", None, &["endpoint_name"], "Tokens of our prompts and answers in flight on the endpoint, cached ones included.");
#[rustfmt::skip]
const QUEUED: Family = Family::gauge("llm_d_epp_flow_control_queue_size", None, BAND, "Queued requests, by priority.");
#[rustfmt::skip]
const QUEUED_BYTES: Family = Family::gauge("llm_d_epp_flow_control_queue_bytes", Some("bytes"), BAND, "Bytes of the queued requests, by priority.");
#[rustfmt::skip]
const OUTCOMES: Family = Family::counter("llm_d_epp_flow_control_requests", Some("requests"), &["outcome", "inference_pool"], "Requests by outcome.");
#[rustfmt::skip]
const DISAGGREGATED: Family = Family::counter("llm_d_epp_disagg_decision", None, &["decision_type"], "Dispatched requests, by the stages that have endpoints of their own.");
#[rustfmt::skip]
const INDEXER: Family = Family::gauge("llm_d_epp_prefix_indexer_size", None, &[], "Pairs of an endpoint and a block that it holds in the prefix index.");

#[rustfmt::skip]
const FIRST_TOKEN: Family = Family::histogram("llm_d_epp_request_ttft_seconds", Some("seconds"), &[], "From the dispatch of a request to its first token.");
#[rustfmt::skip]
const QUEUE_TIME: Family = Family::histogram("llm_d_epp_flow_control_request_queue_duration_seconds", Some("seconds"), &["outcome", "inference_pool"], "Queue time of dispatched requests.");

#[rustfmt::skip]
const SATURATION: Family = Family::gauge("llm_d_epp_flow_control_pool_saturation", None, &["inference_pool", "stage"], "Saturation of the pool: 1 is full.");

const POOL: &[&str] = &["name"];
const BAND: &[&str] = &["priority", "inference_pool"];

/// Families with the mean and the standard deviation over the endpoints.
type SpreadRow = (Family, Family, fn(&PoolStats) -> Spread);

#[rustfmt::skip]
const SPREADS: [SpreadRow; 3] = [
    (
        Family::gauge("llm_d_epp_average_kv_cache_utilization", None, POOL, "Mean share of the KV cache that live requests use."),
        Family::gauge("llm_d_epp_std_dev_kv_cache_utilization", None, POOL, "Standard deviation of the same."),
        |it| it.kv_cache_utilization,
    ),
    (
        Family::gauge("llm_d_epp_average_queue_size", None, POOL, "Mean number of requests queued at an endpoint."),
        Family::gauge("llm_d_epp_std_dev_queue_size", None, POOL, "Standard deviation of the same."),
        |it| it.queue_size,
    ),
    (
        Family::gauge("llm_d_epp_average_running_requests", None, POOL, "Mean number of requests running at an endpoint."),
        Family::gauge("llm_d_epp_std_dev_running_requests", None, POOL, "Standard deviation of the same."),
        |it| it.running_requests,
    ),
];

/// The outcomes of the reference's flow control that `Stats` provides.
const OUTCOME_NAMES: [&str; 7] = [
    "Dispatched",
    "RejectedCapacity",
    "RejectedNoEndpoints",
    "RejectedOther",
    "EvictedTTL",
    "EvictedNoEndpoints",
    "EvictedOther",
];

/// The reference's error codes that `Stats` provides, including failures of a model server.
const ERROR_CODES: [&str; 6] = [
    "BadRequest",
    "NotFound",
    "ResourceExhausted",
    "ServiceUnavailable",
    "ModelServerError",
    "Unknown",
];

pub(super) fn all() -> impl Iterator<Item = Family> {
    let spreads = SPREADS.iter().flat_map(|(mean, deviation, _)| [*mean, *deviation]);
    [REQUEST, ERRORS, RUNNING].into_iter().chain(spreads).chain([
        READY,
        QUEUE_SIZE,
        ATTEMPTS,
        IN_FLIGHT,
        IN_FLIGHT_TOKENS,
        QUEUED,
        QUEUED_BYTES,
        OUTCOMES,
        DISAGGREGATED,
        INDEXER,
        FIRST_TOKEN,
        QUEUE_TIME,
        SATURATION,
    ])
}

pub(super) fn write(
    stats: &Stats,
    named: Named<'_>,
    pool: &str,
    out: &mut Writer<'_, impl fmt::Write>,
) -> fmt::Result {
    let refused = || rejected(stats).chain(evicted(stats));
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0, u64::saturating_add);
    let all_refused = sum(&mut refused().map(|(_, count)| count));

    out.family(REQUEST)?;
    out.sample(&[], stats.dispatched.saturating_add(all_refused))?;
    out.family(ERRORS)?;
    for code in ERROR_CODES {
        let of = |reason: Reason| reason.row().error_code == code;
        let failed = if code == "ModelServerError" { stats.failed } else { 0 };
        let count = sum(&mut refused().filter(|(reason, _)| of(*reason)).map(|(_, count)| count));
        out.sample(&[("error_code", code)], count.saturating_add(failed))?;
    }
    out.family(RUNNING)?;
    out.sample(&[], stats.in_flight)?;

    for (mean_of, deviation_of, read) in SPREADS {
        let spread = read(&stats.pool);
        out.family(mean_of)?;
        out.sample(&[("name", pool)], spread.mean)?;
        out.family(deviation_of)?;
        out.sample(&[("name", pool)], spread.std_dev)?;
    }
    out.family(READY)?;
    out.sample(&[("name", pool)], stats.pool.ready_endpoints)?;
    let queue_sizes =
        Row { family: QUEUE_SIZE, before: Some(("name", pool)), label: "model_server_endpoint" };
    queue_sizes.write(named, |it| queue_size(it).into(), out)?;

    out.family(ATTEMPTS)?;
    for endpoint in named.named() {
        write_attempts(endpoint, out)?;
    }
    let rest = sum(&mut named.rest().map(|it| it.dispatched));
    if named.rest().next().is_some() {
        out.sample(
            &[("status", "success"), ("endpoint_name", Exposition::OTHER), ("port", "")],
            rest,
        )?;
    }
    out.sample(&[("status", "failure"), ("endpoint_name", ""), ("port", "")], all_refused)?;

    let in_flight = Row { family: IN_FLIGHT, before: None, label: "endpoint_name" };
    in_flight.write(named, |it| (u64::from(it.prefilling) + u64::from(it.running)).into(), out)?;
    let tokens = Row { family: IN_FLIGHT_TOKENS, ..in_flight };
    tokens.write(named, |it| it.kv_tokens.into(), out)?;

    let queued: [BandRow; 2] =
        [(QUEUED, |it| it.queued.into()), (QUEUED_BYTES, |it| it.queued_bytes.into())];
    for (family, read) in queued {
        out.family(family)?;
        bands(stats, read, |priority, value| {
            out.sample(&[("priority", priority), ("inference_pool", pool)], value)
        })?;
    }
    out.family(OUTCOMES)?;
    for outcome in OUTCOME_NAMES {
        let of = |reason: Reason| reason.row().outcome == outcome;
        let count = sum(&mut refused().filter(|(reason, _)| of(*reason)).map(|(_, count)| count));
        let dispatched = if outcome == "Dispatched" { stats.dispatched } else { 0 };
        let labels = [("outcome", outcome), ("inference_pool", pool)];
        out.sample(&labels, count.saturating_add(dispatched))?;
    }
    out.family(DISAGGREGATED)?;
    for (stages, count) in &stats.stages {
        out.sample(&[("decision_type", stages.as_str())], *count)?;
    }
    out.family(INDEXER)?;
    out.sample(&[], stats.index_entries)?;
    out.family(FIRST_TOKEN)?;
    out.histogram(&[], &stats.time_to_first_token)?;
    out.family(QUEUE_TIME)?;
    out.histogram(&[("outcome", "Dispatched"), ("inference_pool", pool)], &stats.queue_time)?;
    // One scheduler decides for all stages of its pool.
    out.family(SATURATION)?;
    out.sample(&[("inference_pool", pool), ("stage", "effective")], stats.pool.saturation)
}

/// A family with one sample for each endpoint.
#[derive(Clone, Copy)]
struct Row<'a> {
    family: Family,
    before: Option<(&'a str, &'a str)>,
    label: &'a str,
}

impl Row<'_> {
    fn write(
        self,
        named: Named<'_>,
        read: fn(&EndpointStats) -> Value,
        out: &mut Writer<'_, impl fmt::Write>,
    ) -> fmt::Result {
        out.family(self.family)?;
        let rest = named.rest().map(|it| read(it).real()).reduce(|a, b| a + b);
        let named = named.named().map(|it| (it.name.as_str(), read(it)));
        for (name, value) in named.chain(rest.map(|value| (Exposition::OTHER, value.into()))) {
            match self.before {
                Some(before) => out.sample(&[before, (self.label, name)], value)?,
                None => out.sample(&[(self.label, name)], value)?,
            }
        }
        Ok(())
    }
}

/// The reference identifies endpoints by host and port; an endpoint without an address is
/// identified by its name.
fn write_attempts(endpoint: &EndpointStats, out: &mut Writer<'_, impl fmt::Write>) -> fmt::Result {
    let port = Address::of(&endpoint.name).and_then(|address| address.port);
    let port = port.map(|port| port.to_string()).unwrap_or_default();
    let labels =
        [("status", "success"), ("endpoint_name", endpoint.name.as_str()), ("port", &port)];
    out.sample(&labels, endpoint.dispatched)
}

fn queue_size(endpoint: &EndpointStats) -> f64 {
    f64::from(endpoint.prefilling) + endpoint.external_waiting
}
