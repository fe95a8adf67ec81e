//! What engines send, to the scheduler's inputs.
//!
//! | file | content |
//! |---|---|
//! | here | the feeds of KV events of all ranks, and the replays that they ask for |
//! | `load` | metrics pages and ORCA headers |
//! | `pages` | readers of metrics pages, by the names that hosts give engines and fields |
//! | `error` | why a feed's frames are an error |

mod error;
mod load;
mod pages;

use alloc::collections::BTreeMap;

use slotwise::{EndpointId, Instant, Scheduler, UnknownEndpoint};
use slotwise_wire::WireError;
use slotwise_wire::kv::{EventSink, Feed, Feeds, Report};

pub use error::FeedError;
pub(crate) use load::{report_metrics, report_orca};
pub use pages::{PageFormat, PageFormatError, PageReaders};

/// A publisher of KV events has to be asked to send batches again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReplayRequest {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its data-parallel rank.
    pub rank: u32,
    /// The first batch that is asked for.
    pub from: u64,
}

/// The feeds of a pool's publishers, at most [`Feeds::MOST_RANKS`] for each endpoint.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    feeds: Feeds,
    /// Requests for replays that the host has not polled yet, at most one for each feed.
    replays: BTreeMap<(EndpointId, u32), u64>,
}

impl Engines {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn poll_replay(&mut self) -> Option<ReplayRequest> {
        let ((endpoint, rank), from) = self.replays.pop_first()?;
        Some(ReplayRequest { endpoint_id: endpoint, rank, from })
    }

    /// The endpoint has left the pool.
    pub(crate) fn forget(&mut self, endpoint: EndpointId) {
        self.feeds.forget(endpoint);
        self.replays.retain(|(of, _), _| *of != endpoint);
    }

    pub(crate) fn has_replay(&self) -> bool {
        !self.replays.is_empty()
    }

    pub(crate) fn replay_from(&self, endpoint: EndpointId, rank: u32) -> Option<u64> {
        self.feeds.get(endpoint, rank).and_then(Feed::asked_from)
    }

    /// Hands a rank's feed to `handle`, with what applies its events.
    pub(crate) fn feed(
        &mut self,
        scheduler: &mut Scheduler,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
        handle: impl FnOnce(&mut Feed, EventSink<'_>) -> Result<Report, WireError>,
    ) -> Result<Report, FeedError> {
        scheduler.endpoint(endpoint).ok_or(UnknownEndpoint(endpoint))?;
        let feed = self.feeds.of(endpoint, rank)?;
        let report = handle(feed, &mut |event| scheduler.handle_kv_event(now, endpoint, event))?;
        // A request that is out of date must not be sent: the feed would wait for its own in vain.
        match report.ask {
            Some(from) => self.replays.insert((endpoint, rank), from),
            None if feed.asked_from().is_none() => self.replays.remove(&(endpoint, rank)),
            None => None,
        };
        Ok(report)
    }
}
