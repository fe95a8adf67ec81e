//! Outcomes of the reference's flow control, with their HTTP status and dropped reason.

/// An outcome of a request in the reference: of its flow control, its scheduler or an admitter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Outcome {
    /// The request was dispatched.
    Dispatched,
    /// A limit of the queue was reached.
    RejectedCapacity,
    /// A limit of the queue was reached while the pool was empty.
    RejectedNoEndpoints,
    /// The request was rejected before it was queued, for one of the causes.
    RejectedOther,
    /// The request's TTL expired in the queue.
    EvictedTTL,
    /// The request's TTL expired in the queue of an empty pool.
    EvictedNoEndpoints,
    /// The client cancelled the queued request.
    EvictedContextCancelled,
    /// The queued request was evicted for one of the causes.
    EvictedOther,
    /// The running request was evicted, for one of the causes.
    EvictedInFlight,
    /// The filters of the scheduler left no endpoint of a pool that has some.
    Filtered,
    /// The scheduler found no endpoint.
    NoEndpoints,
    /// The request is sheddable and the pool is saturated.
    Shed,
    /// An admitter rejected the request.
    AdmitterDenied,
    /// The request has no outcome yet.
    NotYetFinalized,
}

/// What an [`Outcome`]'s error wraps.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Cause {
    /// The flow control is not running or shuts down.
    NotRunning,
    /// The request's TTL expired.
    TTLExpired,
    /// The client cancelled the request.
    ContextCancelled,
    /// The victim makes room in a full queue.
    QueuePressure,
    /// The victim makes room for a higher priority.
    Priority,
    /// The client sent `Prefer: if-available`.
    IfAvailable,
}

impl Outcome {
    /// All outcomes by name.
    const NAMES: [(&'static str, Self); 14] = [
        ("Dispatched", Self::Dispatched),
        ("RejectedCapacity", Self::RejectedCapacity),
        ("RejectedNoEndpoints", Self::RejectedNoEndpoints),
        ("RejectedOther", Self::RejectedOther),
        ("EvictedTTL", Self::EvictedTTL),
        ("EvictedNoEndpoints", Self::EvictedNoEndpoints),
        ("EvictedContextCancelled", Self::EvictedContextCancelled),
        ("EvictedOther", Self::EvictedOther),
        ("EvictedInFlight", Self::EvictedInFlight),
        ("Filtered", Self::Filtered),
        ("NoEndpoints", Self::NoEndpoints),
        ("Shed", Self::Shed),
        ("AdmitterDenied", Self::AdmitterDenied),
        ("NotYetFinalized", Self::NotYetFinalized),
    ];

    /// The outcome of this name; unknown ones count as [`NotYetFinalized`](Self::NotYetFinalized),
    /// since the reference handles both alike.
    pub fn from_name(name: &str) -> Self {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map_or(Self::NotYetFinalized, |(_, outcome)| *outcome)
    }
}

impl Cause {
    /// All causes, by the reference's names of errors without the prefix `Err`, and other terms.
    const NAMES: [(&'static str, Self); 6] = [
        ("FlowControllerNotRunning", Self::NotRunning),
        ("TTLExpired", Self::TTLExpired),
        ("ContextCancelled", Self::ContextCancelled),
        ("QueuePressure", Self::QueuePressure),
        ("Priority", Self::Priority),
        ("IfAvailable", Self::IfAvailable),
    ];

    /// The cause of this name, such as `TTLExpired` or `ErrTTLExpired`; `None` for others, which
    /// change no status.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("Err").unwrap_or(name);
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, cause)| *cause)
    }
}

/// The HTTP status of an outcome, and its `x-llm-d-request-dropped-reason`.
///
/// A dispatched request has the status 200 here; its real one comes from the engine. A TTL that
/// expires is backpressure (429) in a pool with endpoints and unavailability (503) in an empty one.
///
/// ```
/// use slotwise_wire::outcome::{Cause, Outcome, outcome_status};
///
/// let expired = |pool_empty| outcome_status(Outcome::EvictedTTL, &[], pool_empty);
/// assert_eq!(expired(false), (429, Some("rejected-ttl-expired")));
/// assert_eq!(expired(true), (503, Some("rejected-no-endpoints")));
/// let stopped = outcome_status(Outcome::RejectedOther, &[Cause::NotRunning], false);
/// assert_eq!(stopped, (503, Some("rejected-shutting-down")));
/// ```
pub fn outcome_status(
    outcome: Outcome,
    causes: &[Cause],
    pool_empty: bool,
) -> (u16, Option<&'static str>) {
    let caused_by = |cause| causes.contains(&cause);
    match outcome {
        Outcome::Dispatched => (200, None),
        Outcome::RejectedCapacity | Outcome::Filtered | Outcome::Shed => (429, SATURATED),
        Outcome::NoEndpoints if caused_by(Cause::IfAvailable) => (412, None),
        Outcome::RejectedNoEndpoints | Outcome::EvictedNoEndpoints | Outcome::NoEndpoints => {
            (503, NO_ENDPOINTS)
        }
        Outcome::EvictedTTL if pool_empty => (503, NO_ENDPOINTS),
        Outcome::EvictedTTL => (429, Some("rejected-ttl-expired")),
        Outcome::EvictedContextCancelled => (503, Some("rejected-context-cancelled")),
        Outcome::RejectedOther | Outcome::EvictedOther => {
            if caused_by(Cause::NotRunning) {
                (503, Some("rejected-shutting-down"))
            } else if caused_by(Cause::TTLExpired) {
                outcome_status(Outcome::EvictedTTL, &[], pool_empty)
            } else if caused_by(Cause::ContextCancelled) {
                outcome_status(Outcome::EvictedContextCancelled, &[], pool_empty)
            } else {
                (500, None)
            }
        }
        Outcome::EvictedInFlight if caused_by(Cause::Priority) => (429, Some("evicted-priority")),
        Outcome::EvictedInFlight if caused_by(Cause::QueuePressure) => {
            (429, Some("evicted-queue-pressure"))
        }
        Outcome::EvictedInFlight => (429, Some("evicted")),
        Outcome::AdmitterDenied | Outcome::NotYetFinalized => (500, None),
    }
}

const SATURATED: Option<&str> = Some("rejected-saturated");
const NO_ENDPOINTS: Option<&str> = Some("rejected-no-endpoints");
