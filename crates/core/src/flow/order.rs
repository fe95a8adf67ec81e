//! The rank of a request in its flow's queue. It is fixed on arrival, so queues are never
//! re-sorted.

use super::admission::Admission;
use super::config::QueueOrder;
use crate::time::Instant;

/// The least is dispatched first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    key: u64,
    /// Number of requests that had arrived; at least one.
    pub(super) number: u64,
}

impl Rank {
    /// Before all others.
    pub(super) const FIRST: Self = Self { key: 0, number: 0 };

    /// After all others.
    pub(super) const LAST: Self = Self { key: u64::MAX, number: u64::MAX };

    pub(super) fn new(order: QueueOrder, now: Instant, admission: &Admission, number: u64) -> Self {
        let at = |time: Option<Instant>| time.map_or(u64::MAX, Instant::as_micros);
        let key = match order {
            QueueOrder::Fcfs => 0,
            QueueOrder::Edf => at(admission.expires),
            QueueOrder::SloDeadline => at(admission.slo),
            QueueOrder::ShortestWork => {
                let come = now.as_micros().saturating_mul(NANOS_PER_MICRO_WAITED);
                admission.cost.to_nanos().saturating_add(come)
            }
        };
        Self { key, number }
    }
}

/// A tenth of the waiting time counts as done work. `work - age / 10` falls at the same rate for
/// all requests, so their order equals that of `work + arrival / 10`, which never changes.
const NANOS_PER_MICRO_WAITED: u64 = 100;
