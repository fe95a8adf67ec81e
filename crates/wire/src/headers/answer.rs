//! Headers for a dispatched request and for its answer. Refusals have their own:
//! [`Refusal::headers`](crate::outcome::Refusal::headers).
//!
//! Each function returns a name and a value. The value is borrowed from the endpoint's name if it
//! contains the address as written. An endpoint without an [`Address`] has no header, so a value is
//! always an address.
//!
//! ```
//! use slotwise_wire::headers::answer;
//!
//! let endpoints = ["http://10.0.0.1:8000", "http://10.0.0.2:8000"];
//! let (name, value) = answer::destination(endpoints).expect("addresses");
//! assert_eq!(name, "x-gateway-destination-endpoint");
//! assert_eq!(value, "10.0.0.1:8000,10.0.0.2:8000");
//! ```

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::time::Duration;

use slotwise::Seconds;

use super::Address;

/// On a request: the chosen endpoint, then fallbacks, best first.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// On a response: the endpoint that answered.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";
/// The score of each endpoint of the destination. The reference sends it as Envoy metadata under
/// this name.
pub const SCORES: &str = "x-gateway-destination-endpoint-scores";
/// On a request: the endpoint that prefills, if another one does.
pub const PREFILLER: &str = "x-prefiller-host-port";
/// On a request: the endpoints that encode images, sound and video.
pub const ENCODERS: &str = "x-encoder-hosts-ports";
/// On a request: the rank of a data-parallel engine.
pub const DATA_PARALLEL: &str = "x-data-parallel-host-port";
/// On a request: the endpoint from which the engine can fetch cached blocks.
pub const KV_SOURCE: &str = "x-kv-cache-source-host-port";
/// On a response: the queue time of the request in milliseconds.
pub const QUEUE_DURATION: &str = "x-llm-d-flow-queue-duration-ms";
/// On a response: the reason of a refusal. See
/// [`Reason::dropped_reason`](crate::outcome::Reason::dropped_reason).
pub const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

/// [`DESTINATION`]: the chosen endpoint and the fallbacks.
pub fn destination<'a>(
    endpoints: impl IntoIterator<Item = &'a str>,
) -> Option<(&'static str, Cow<'a, str>)> {
    list(endpoints).map(|value| (DESTINATION, value))
}

/// [`SERVED`]: the endpoint that answered.
pub fn served(endpoint: &str) -> Option<(&'static str, Cow<'_, str>)> {
    written(endpoint).map(|value| (SERVED, value))
}

/// [`PREFILLER`]: the endpoint that prefills.
pub fn prefiller(endpoint: &str) -> Option<(&'static str, Cow<'_, str>)> {
    written(endpoint).map(|value| (PREFILLER, value))
}

/// [`ENCODERS`]: the endpoints that encode.
pub fn encoders<'a>(
    endpoints: impl IntoIterator<Item = &'a str>,
) -> Option<(&'static str, Cow<'a, str>)> {
    list(endpoints).map(|value| (ENCODERS, value))
}

/// [`DATA_PARALLEL`]: the rank.
pub fn data_parallel(endpoint: &str) -> Option<(&'static str, Cow<'_, str>)> {
    written(endpoint).map(|value| (DATA_PARALLEL, value))
}

/// [`KV_SOURCE`]: the endpoint that holds the blocks.
pub fn kv_source(endpoint: &str) -> Option<(&'static str, Cow<'_, str>)> {
    written(endpoint).map(|value| (KV_SOURCE, value))
}

/// [`SCORES`]: a JSON object from addresses to scores in `[0, 1]`, where 1 is no cost.
///
/// Higher is better, as in the reference, which does not define the unit.
///
/// ```
/// use slotwise::Seconds;
/// use slotwise_wire::headers::answer;
///
/// let costs =
///     [("http://10.0.0.1:8000", Seconds::ZERO), ("http://10.0.0.2:8000", Seconds::new(1.0))];
/// let (_, value) = answer::scores(costs).expect("addresses");
/// assert_eq!(value, r#"{"10.0.0.1:8000":1.0,"10.0.0.2:8000":0.5}"#);
/// ```
pub fn scores<'a>(
    costs: impl IntoIterator<Item = (&'a str, Seconds)>,
) -> Option<(&'static str, String)> {
    let mut value = String::new();
    for (endpoint, cost) in costs {
        let Some(address) = written(endpoint) else { continue };
        let score = 1.0 / (1.0 + cost.get().max(0.0));
        value.push(if value.is_empty() { '{' } else { ',' });
        // Addresses need no JSON escapes, and scores are finite.
        let _ = write!(value, "\"{address}\":{score:?}");
    }
    if value.is_empty() {
        return None;
    }
    value.push('}');
    Some((SCORES, value))
}

/// [`QUEUE_DURATION`]: whole milliseconds, rounded down.
pub fn queue_duration(queued: Duration) -> (&'static str, String) {
    (QUEUE_DURATION, format!("{}", queued.as_millis()))
}

fn list<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> Option<Cow<'a, str>> {
    let mut values = endpoints.into_iter().filter_map(written);
    let mut list = values.next()?;
    for value in values {
        let list = list.to_mut();
        list.push(',');
        list.push_str(&value);
    }
    Some(list)
}

/// The address in an endpoint's name.
fn written(endpoint: &str) -> Option<Cow<'_, str>> {
    let address = Address::of(endpoint)?;
    Some(address.written.map_or_else(|| Cow::Owned(format!("{address}")), Cow::Borrowed))
}
