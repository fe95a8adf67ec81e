//! Which claims of clients the host accepts.

use std::ops::RangeInclusive;
use std::time::Duration;

use napi_derive::napi;
use slotwise_wire::headers::{Allow as Allowed, AllowError};

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
        allowed.add(name).map_err(|error| Unfit::invalid("allow", "TypeError", error))?;
    }
    allowed.session_headers = allow.session_headers.clone().unwrap_or_default();
    if let Some([low, high]) = allow.priority.as_deref() {
        let (low, high) = (signed("allow.priority", *low)?, signed("allow.priority", *high)?);
        allowed.add_priority(low, high).map_err(|error| invalid("allow.priority", error))?;
    }
    if let Some(range) = allow.ttl_ms.as_deref() {
        allowed.ttl = Some(times("allow.ttlMs", range)?);
    }
    if let Some(range) = allow.deadline_ms.as_deref() {
        allowed.deadline = Some(times("allow.deadlineMs", range)?);
    }
    Ok(allowed)
}

fn times(field: &str, range: &[f64]) -> Result<RangeInclusive<Duration>, Unfit> {
    let seconds = |at: usize| range.get(at).copied().unwrap_or(f64::NAN) / 1e3;
    Allowed::seconds(seconds(0), seconds(1)).map_err(|error| invalid(field, error))
}

fn invalid(field: &str, error: AllowError) -> Unfit {
    Unfit::invalid(field, "RangeError", error)
}
