//! Which claims of clients the host accepts.

use std::ops::RangeInclusive;
use std::time::Duration;

use napi_derive::napi;
use slotwise_wire::headers::Allow as Allowed;

use crate::error::Unfit;
use crate::number::signed;

/// Which claims of clients about their requests count: names, and ranges as two numbers.
#[napi(object, object_to_js = false)]
#[derive(Debug, Default)]
pub struct Allow {
    /// What counts within its default range.
    pub names: Vec<String>,
    /// Headers that name a conversation.
    pub session_headers: Option<Vec<String>>,
    /// The lowest and the highest priority.
    pub priority: Option<Vec<f64>>,
    /// The shortest and the longest TTL, in milliseconds.
    pub ttl_ms: Option<Vec<f64>>,
    /// The nearest and the furthest deadline, in milliseconds.
    pub deadline_ms: Option<Vec<f64>>,
}

/// The same as the core of the bytes takes it.
pub(crate) fn allowed(allow: Option<&Allow>) -> Result<Allowed, Unfit> {
    let mut allowed = Allowed::default();
    let Some(allow) = allow else { return Ok(allowed) };
    for name in &allow.names {
        if !allowed.add(name) {
            let known = Allowed::NAMES.map(|name| format!("'{name}'")).join(", ");
            return Err(Unfit::word("allow", format_args!("one of {known}"), name));
        }
    }
    allowed.session_headers = allow.session_headers.clone().unwrap_or_default();
    if let Some([low, high]) = allow.priority.as_deref() {
        let low = signed("allow.priority", *low)?;
        allowed.priority = Some(low..=signed("allow.priority", *high)?.max(low));
    }
    if let Some(range) = allow.ttl_ms.as_deref() {
        allowed.ttl = Some(times(range));
    }
    if let Some(range) = allow.deadline_ms.as_deref() {
        allowed.deadline = Some(times(range));
    }
    Ok(allowed)
}

/// What is no time is none, or as long as times get.
fn times(range: &[f64]) -> RangeInclusive<Duration> {
    let time = |at: usize| {
        let millis = range.get(at).copied().unwrap_or_default().max(0.0);
        Duration::try_from_secs_f64(millis / 1e3).unwrap_or(Duration::MAX)
    };
    time(0)..=time(1)
}
