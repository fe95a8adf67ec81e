//! A request as it enters the queue, and the handle under which the queue keeps it.

use crate::time::{Instant, Seconds};

/// What is known of a request that comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    /// Higher goes first.
    pub(crate) priority: i32,
    /// The key of its fairness id.
    pub(crate) flow: u64,
    /// What its flow may have, compared with others; 1 if it is no positive number.
    pub(crate) weight: f64,
    pub(crate) bytes: u64,
    /// Predicted work.
    pub(crate) cost: Seconds,
    /// When its first token is due.
    pub(crate) slo: Option<Instant>,
    /// From then on it no longer waits.
    pub(crate) expires: Option<Instant>,
}

/// One request that waits, or has waited: never used again for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket {
    pub(super) index: u32,
    pub(super) number: u64,
}
