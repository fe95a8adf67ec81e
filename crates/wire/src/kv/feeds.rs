//! The feeds of a pool's publishers.

use alloc::collections::BTreeMap;

use slotwise::EndpointId;

use super::feed::Feed;
use crate::error::{ErrorKind, WireError};

/// The [`Feed`] of each publisher: a data-parallel rank of an endpoint.
///
/// Ranks are numbers that come with messages, so an endpoint has no more than [`MOST_RANKS`](Self::MOST_RANKS) feeds.
/// Finding one computes in **O(log feeds)**.
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
    /// The most feeds of one endpoint.
    pub const MOST_RANKS: usize = 256;

    /// No feeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The feed of a rank of an endpoint; one that has seen nothing if it is new.
    ///
    /// # Errors
    ///
    /// If it is new and the endpoint has [as many](Self::MOST_RANKS) as it may.
    pub fn of(&mut self, endpoint: EndpointId, rank: u32) -> Result<&mut Feed, WireError> {
        let key = (endpoint, rank);
        if !self.0.contains_key(&key) && self.ranks(endpoint) >= Self::MOST_RANKS {
            let problem = ErrorKind::OutOfRange("no more than 256 ranks of an endpoint have feeds");
            return Err(WireError::new(0, problem));
        }
        Ok(self.0.entry(key).or_default())
    }

    /// The feed of a rank of an endpoint, if there is one.
    pub fn get(&self, endpoint: EndpointId, rank: u32) -> Option<&Feed> {
        self.0.get(&(endpoint, rank))
    }

    /// The endpoint has left the pool.
    pub fn forget(&mut self, endpoint: EndpointId) {
        self.0.retain(|(of, _), _| *of != endpoint);
    }

    fn ranks(&self, endpoint: EndpointId) -> usize {
        self.0.range((endpoint, 0)..=(endpoint, u32::MAX)).count()
    }
}
