//! The headers that go out with a dispatched request, and with its answer. Those of a refusal are its own:
//! [`Refusal::headers`](crate::outcome::Refusal::headers).
//!
//! Each function gives a name and a value. A value is borrowed from the endpoint's name where the address stands in it as it
//! is. An endpoint whose name holds no [`Address`] has no header: nothing that is not an address can come out as one.
//!
//! ```
//! use slotwise_wire::headers::answer;
//!
//! let (name, value) = answer::destination(["http://10.0.0.1:8000", "http://10.0.0.2:8000"]).expect("addresses");
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

/// Where the request goes, then where it could go instead, best first.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Which endpoint answered, in the response.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";
/// What each endpoint of the destination scored. The reference sends it as metadata of Envoy under this name.
pub const SCORES: &str = "x-gateway-destination-endpoint-scores";
/// Who reads the prompt, where that is somebody else.
pub const PREFILLER: &str = "x-prefiller-host-port";
/// Who encode images, sound and video.
pub const ENCODERS: &str = "x-encoder-hosts-ports";
/// Which rank of a data-parallel engine has the request.
pub const DATA_PARALLEL: &str = "x-data-parallel-host-port";
/// From whom the engine can fetch cached blocks.
pub const KV_SOURCE: &str = "x-kv-cache-source-host-port";
/// How many milliseconds the request waited for its decision, in the response.
pub const QUEUE_DURATION: &str = "x-llm-d-flow-queue-duration-ms";
/// Why a request was refused, in the response: see [`Reason::dropped_reason`](crate::outcome::Reason::dropped_reason).
pub const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

/// [`DESTINATION`]: the chosen endpoint, and those that the gateway may fall back on.
pub fn destination<'a>(
    endpoints: impl IntoIterator<Item = &'a str>,
) -> Option<(&'static str, Cow<'a, str>)> {
    list(endpoints).map(|value| (DESTINATION, value))
}

/// [`SERVED`]: the endpoint that answered.
pub fn served(endpoint: &str) -> Option<(&'static str, Cow<'_, str>)> {
    written(endpoint).map(|value| (SERVED, value))
}

/// [`PREFILLER`]: the endpoint that reads the prompt.
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

/// [`SCORES`]: a JSON object from addresses to scores, between 1 for no cost and 0. What a score is of, the reference leaves
/// open; here, higher is better, as it is there.
///
/// ```
/// use slotwise::Seconds;
/// use slotwise_wire::headers::answer;
///
/// let costs = [("http://10.0.0.1:8000", Seconds::ZERO), ("http://10.0.0.2:8000", Seconds::new(1.0))];
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
        // No address holds a character that JSON escapes, and no score is infinite.
        let _ = write!(value, "\"{address}\":{score:?}");
    }
    if value.is_empty() {
        return None;
    }
    value.push('}');
    Some((SCORES, value))
}

/// [`QUEUE_DURATION`]: whole milliseconds, cut off.
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
