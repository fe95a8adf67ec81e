//! One endpoint's state.

use super::block_layout::BlockLayout;
use super::evictions::Evictions;
use super::external_load::{ExternalLoad, Reports};
use super::health::Health;
use super::in_flight::InFlightLoad;
use crate::cost::{MovingMean, Speed};
use crate::endpoint::{Endpoint, EndpointId};
use crate::lora::Residency;
use crate::prefill::PrefillCost;
use crate::prefix::KvEventError;
use crate::time::{Instant, Seconds};

/// All that is known of one endpoint, except what its cache holds.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: EndpointId,
    pub(crate) endpoint: Endpoint,
    /// Stands for its name in tie-breaks: the same in every gateway with the same seed.
    pub(crate) key: u64,
    pub(crate) kv_cache_tokens: u32,
    /// How its prompts are hashed.
    pub(crate) layout: BlockLayout,
    /// What came of its engine's KV events.
    pub(crate) kv_feed: KvFeed,
    pub(crate) prefill: PrefillCost,
    pub(crate) adapter_load_time: Seconds,
    /// Gets no new requests.
    pub(crate) draining: bool,
    pub(crate) in_flight: InFlightLoad,
    pub(crate) reports: Reports,
    pub(crate) health: Health,
    /// What answers have said of its cache.
    pub(crate) evictions: Evictions,
    pub(crate) speed: Speed,
    /// Seconds from a request's first token to its end.
    pub(crate) answer_time: MovingMean,
    pub(crate) adapters: Residency,
    /// Uses of its cache so far: the last one's number.
    pub(crate) uses: u64,
    pub(crate) counters: Counters,
}

/// What came of an engine's KV events that say what was stored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KvFeed {
    pub(crate) stored: u64,
    pub(crate) refused: u64,
    /// Why the last one was refused, unless a later one was applied.
    pub(crate) refusal: Option<KvEventError>,
}

/// What has happened on one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) dispatched: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Of those cancelled: before their first token.
    pub(crate) unanswered: u64,
    /// First tokens that came much later than predicted.
    pub(crate) late: u64,
    /// Times that it was backed off.
    pub(crate) backoffs: u64,
    pub(crate) adapter_loads: u64,
}

impl Slot {
    /// The number of the next use of its cache: a dispatch, or the end of a request that leaves its blocks there.
    pub(crate) fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Whether it has as many requests as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.endpoint.max_in_flight.is_some_and(|most| self.in_flight.requests() >= most.get())
    }

    /// It computed something for a request with this adapter: the adapter is loaded.
    pub(crate) fn answered(&mut self, adapter: Option<u64>) {
        if let Some(key) = adapter {
            self.adapters.confirm(key);
        }
    }

    /// Booked prefill before a new request's turn: ours to the nanosecond, and what others have waiting at the mean work
    /// of a request.
    pub(crate) fn wait(&self, now: Instant, external: ExternalLoad, mean_work: f64) -> Seconds {
        self.in_flight.wait(now) + Seconds::new(external.waiting * mean_work * self.speed.factor())
    }

    /// How long a new request of `tokens` tokens waits for room, if live requests use more than `limit` of the KV cache with
    /// it: an engine admits nobody before others have left.
    ///
    /// Live requests leave at the rate of their tokens over the time that answers take here.
    pub(crate) fn wait_for_room(&self, external: ExternalLoad, tokens: u32, limit: f64) -> Seconds {
        let live = self.in_flight.kv_tokens() as f64 + external.kv_tokens;
        let missing = live + f64::from(tokens) - limit * f64::from(self.kv_cache_tokens);
        if missing <= 0.0 || live <= 0.0 {
            return Seconds::ZERO;
        }
        Seconds::new(missing / live * self.answer_time.get())
    }
}
