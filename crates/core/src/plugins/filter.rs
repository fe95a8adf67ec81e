//! The trait of filters.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::cycle::{Candidates, Cycle};
use super::facts::{EndpointFacts, RequestFacts};

/// Narrows the candidates of a request.
///
/// ```
/// use slotwise::plugins::{Candidates, Cycle, EndpointFacts, Filter, RequestFacts, filter};
///
/// /// Keeps endpoints with free KV cache.
/// #[derive(Debug)]
/// struct HasRoom;
///
/// impl Filter for HasRoom {
///     fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
///         candidates.retain_if_any(|endpoint| endpoint.kv_usage < 0.9);
///     }
/// }
///
/// let full = |usage| EndpointFacts { kv_usage: usage, ..EndpointFacts::default() };
/// let endpoints = [full(0.95), full(0.2)];
/// assert_eq!(filter(&HasRoom, &RequestFacts::default(), &endpoints, 0), [1]);
/// ```
pub trait Filter: Debug + Send {
    /// Removes candidates that should not have the request.
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>);
}

/// Applies one filter to a whole pool: the places of the endpoints that it keeps, in order.
///
/// Random choices follow from `seed`. Computes in **O(endpoints)** for each filter of this crate.
pub fn filter(
    filter: &dyn Filter,
    request: &RequestFacts,
    endpoints: &[EndpointFacts],
    seed: u64,
) -> Vec<usize> {
    let mut kept = (0..endpoints.len()).collect();
    filter.filter(&mut Cycle::new(request, seed), &mut Candidates::new(endpoints, &mut kept));
    kept
}
