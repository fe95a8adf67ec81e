//! The adapters for which requests wait, and which of them is loaded next.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

use super::queued_request::QueuedRequest;
use crate::request::Priority;
use crate::time::Instant;

/// The requests by priority and adapter.
#[derive(Debug, Default)]
pub(super) struct LoadQueue {
    groups: BTreeMap<GroupId, Group>,
    /// The adapter that may be loaded now.
    pub(super) next: Option<u64>,
    /// The groups whose turn has come since the last event, without success.
    tried: BTreeSet<GroupId>,
}

/// The highest priority first.
type GroupId = (Reverse<Priority>, u64);

/// Requests of one adapter.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    requests: u64,
    /// The sum of their arrival times in microseconds.
    arrivals: u128,
}

/// Adapters that are tried after one event.
const TRIES: usize = 4;

impl Group {
    /// The sum of the requests' waiting times in microseconds.
    fn waited(self, now: Instant) -> u128 {
        (u128::from(now.as_micros()) * u128::from(self.requests)).saturating_sub(self.arrivals)
    }
}

impl LoadQueue {
    /// Adds a request that waits for this adapter, unless it does so already.
    pub(super) fn insert(&mut self, queued: &mut QueuedRequest, adapter: u64) {
        if queued.load.replace(adapter).is_none() {
            let group = self.groups.entry((Reverse(queued.charge.priority), adapter)).or_default();
            group.requests += 1;
            group.arrivals += u128::from(queued.since.as_micros());
        }
    }

    /// Removes a request, if it waits for a load.
    pub(super) fn remove(&mut self, queued: &mut QueuedRequest) {
        let Some(adapter) = queued.load.take() else { return };
        let id = (Reverse(queued.charge.priority), adapter);
        if let Some(group) = self.groups.get_mut(&id) {
            group.requests -= 1;
            group.arrivals -= u128::from(queued.since.as_micros());
            if group.requests == 0 {
                self.groups.remove(&id);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The adapters for which requests wait.
    pub(super) fn adapters(&self) -> impl Iterator<Item = u64> + '_ {
        self.groups.keys().map(|(_, adapter)| *adapter)
    }

    /// Lets every adapter have its turn again: something has changed.
    pub(super) fn retry(&mut self) {
        self.tried.clear();
    }

    /// The adapter that is loaded next, of the highest priority. Computes in **O(adapters · log
    /// adapters)**.
    pub(super) fn advance(&mut self, now: Instant) -> Option<u64> {
        self.next = None;
        if self.tried.len() < TRIES {
            let mut left = self.groups.iter().filter(|(id, _)| !self.tried.contains(id)).peekable();
            let priority = left.peek()?.0.0;
            let same = left.take_while(|((other, _), _)| *other == priority);
            let most = same.max_by_key(|((_, adapter), group)| (group.waited(now), *adapter));
            let id = most.map(|(id, _)| *id)?;
            self.tried.insert(id);
            self.next = Some(id.1);
        }
        self.next
    }
}
