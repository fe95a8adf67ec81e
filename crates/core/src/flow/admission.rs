//! A request as it enters the queue, and the handle under which the queue keeps it.

use crate::time::{Instant, Seconds};

/// The properties of a new request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    /// Higher priorities are dispatched first.
    pub(crate) priority: i32,
    /// The hash of its fairness id.
    pub(crate) flow: u64,
    /// The flow's share relative to others; 1 if not a positive number.
    pub(crate) weight: f64,
    pub(crate) bytes: u64,
    /// Predicted work.
    pub(crate) cost: Seconds,
    /// The service that its flow is charged, if that is not the work.
    pub(crate) service: Option<Seconds>,
    /// When its first token is due.
    pub(crate) slo: Option<Instant>,
    /// When it expires.
    pub(crate) expires: Option<Instant>,
}

/// The handle of a request that waits or has waited; handles are never reused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket {
    pub(super) index: u32,
    pub(super) number: u64,
}
