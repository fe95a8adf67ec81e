//! The feeds of a pool's publishers.

use alloc::collections::BTreeMap;

use slotwise::EndpointId;

use super::feed::Feed;
use crate::error::{ErrorKind, WireError};

/// The [`Feed`] of each publisher: a data-parallel rank of an endpoint.
///
/// Messages carry their rank, so the number of feeds per endpoint is limited to
/// [`MOST_RANKS`](Self::MOST_RANKS). Computes in **O(log feeds)** per lookup.
///
/// ```
/// use slotwise::EndpointId;
/// use slotwise_wire::kv::Feeds;
///
/// let id = EndpointId::from_u64(0);
/// let mut feeds = Feeds::new();
/// for rank in 0..Feeds::MOST_RANKS as u32 {
///     feeds.of(id, rank).unwrap();
/// }
/// assert_eq!(feeds.of(id, 1_000_000).unwrap_err().problem.code(), "out_of_range");
/// assert!(feeds.of(id, 7).is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Feeds(BTreeMap<(EndpointId, u32), Feed>);

impl Feeds {
    /// The maximum number of feeds of one endpoint.
    pub const MOST_RANKS: usize = 256;

    /// Creates an empty set of feeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the feed of a rank of an endpoint, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error for a new rank if the endpoint already has [`MOST_RANKS`](Self::MOST_RANKS)
    /// feeds.
    pub fn of(&mut self, endpoint: EndpointId, rank: u32) -> Result<&mut Feed, WireError> {
        let key = (endpoint, rank);
        if !self.0.contains_key(&key) && self.ranks(endpoint) >= Self::MOST_RANKS {
            let problem = ErrorKind::OutOfRange("more than 256 ranks of an endpoint");
            return Err(WireError::new(0, problem));
        }
        Ok(self.0.entry(key).or_default())
    }

    /// Returns the feed of a rank of an endpoint, if it exists.
    pub fn get(&self, endpoint: EndpointId, rank: u32) -> Option<&Feed> {
        self.0.get(&(endpoint, rank))
    }

    /// Removes the feeds of an endpoint that left the pool.
    pub fn forget(&mut self, endpoint: EndpointId) {
        self.0.retain(|(of, _), _| *of != endpoint);
    }

    fn ranks(&self, endpoint: EndpointId) -> usize {
        self.0.range((endpoint, 0)..=(endpoint, u32::MAX)).count()
    }
}
