//! The endpoints that received requests without a cached prefix, least recent first.

use alloc::vec::Vec;

use crate::endpoint::EndpointId;

/// The endpoints of the last cold requests, as `no-hit-lru-scorer` of the reference keeps them.
#[derive(Clone, Debug)]
pub(super) struct ColdEndpoints {
    /// Least recent first, each once.
    order: Vec<EndpointId>,
    limit: usize,
}

impl ColdEndpoints {
    /// Remembers at most `limit` endpoints, 8 bytes each.
    pub(super) const fn new(limit: usize) -> Self {
        Self { order: Vec::new(), limit }
    }

    /// Changes the limit; the least recent endpoints are forgotten.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        let above = self.order.len().saturating_sub(limit);
        self.order.drain(..above);
    }

    /// Records a cold request on the endpoint. Computes in **O(limit)**.
    pub(super) fn record(&mut self, endpoint: EndpointId) {
        self.order.retain(|other| *other != endpoint);
        self.order.push(endpoint);
        if self.order.len() > self.limit {
            self.order.remove(0);
        }
    }

    /// The endpoints, least recent first.
    pub(super) fn iter(&self) -> impl Iterator<Item = EndpointId> + '_ {
        self.order.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recent_comes_first_and_is_forgotten_first() {
        let id = EndpointId::from_u64;
        let mut cold = ColdEndpoints::new(2);
        [1, 2, 1, 3].into_iter().for_each(|number| cold.record(id(number)));
        assert_eq!(cold.iter().collect::<Vec<_>>(), [id(1), id(3)]);
        let mut none = ColdEndpoints::new(0);
        none.record(id(1));
        assert_eq!(none.iter().count(), 0);
    }
}
