//! The state of one endpoint.

use alloc::boxed::Box;
use core::time::Duration;

use super::block_layout::BlockLayout;
use super::engine_view::EngineView;
use super::evictions::Evictions;
use super::external_load::{ExternalLoad, Reports};
use super::health::{Health, HealthState};
use super::in_flight::InFlightLoad;
use crate::cost::{DecodeFactor, MovingMean, Speed};
use crate::endpoint::{Endpoint, EndpointId, Role};
use crate::lora::Residency;
use crate::prefill::PrefillCost;
use crate::prefix::KvEventError;
use crate::time::{Instant, Seconds};

/// The state of one endpoint, except the contents of its cache.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: EndpointId,
    pub(crate) endpoint: Endpoint,
    /// The number of updates of the description.
    pub(crate) revision: u32,
    /// The hash of its name for tie-breaks; equal in every gateway with the same seed.
    pub(crate) key: u64,
    pub(crate) kv_cache_tokens: u32,
    /// The block layout for which its prompts are hashed.
    pub(crate) layout: BlockLayout,
    /// Results of its engine's KV events.
    pub(crate) kv_feed: KvFeed,
    pub(crate) prefill: PrefillCost,
    pub(crate) adapter_load_time: Seconds,
    /// Gets no new requests.
    pub(crate) draining: bool,
    pub(crate) in_flight: InFlightLoad,
    pub(crate) reports: Reports,
    /// Kept only for a scheduling profile.
    pub(crate) engine_view: Option<Box<EngineView>>,
    pub(crate) health: Health,
    /// Until then, a peer backs the endpoint off.
    pub(crate) peer_backoff: Instant,
    /// Evidence from answers about evictions in its cache.
    pub(crate) evictions: Evictions,
    pub(crate) speed: Speed,
    pub(crate) decode_factor: DecodeFactor,
    /// Seconds from a request's first token to its end.
    pub(crate) answer_time: MovingMean,
    pub(crate) adapters: Residency,
    /// While adapters outnumber slots: whether any adapter may be loaded here, and not only one
    /// that is more popular than the one it displaces.
    pub(crate) is_window: bool,
    /// Requests before their first token that load their adapters.
    pub(crate) loading: u32,
    /// When the pool ends the head's prefill by the clock.
    pub(crate) prefill_ends: Option<Instant>,
    /// The number of the last use of its cache.
    pub(crate) uses: u64,
    pub(crate) counters: Counters,
}

/// Results of an engine's store events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KvFeed {
    pub(crate) stored: u64,
    pub(crate) refused: u64,
    /// Why the last one was rejected, until a later one is applied.
    pub(crate) refusal: Option<KvEventError>,
}

/// Event counts of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) dispatched: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Of the cancelled requests, those before their first token.
    pub(crate) unanswered: u64,
    /// First tokens that came much later than predicted.
    pub(crate) late: u64,
    /// Number of backoffs.
    pub(crate) backoffs: u64,
    pub(crate) adapter_loads: u64,
}

impl Slot {
    /// The number of the next use of its cache: a dispatch, or the end of a request whose blocks
    /// stay.
    pub(crate) fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Requests in flight of this gateway and of its peers.
    pub(crate) fn all_in_flight(&self) -> u32 {
        self.in_flight.requests().saturating_add(self.reports.peers().requests())
    }

    /// Whether it has reached its limit of requests in flight.
    pub(crate) fn is_full(&self) -> bool {
        self.endpoint.max_in_flight.is_some_and(|most| self.in_flight.requests() >= most.get())
    }

    /// The capacity of its KV cache if nothing but a request's size or conditions can exclude it,
    /// and zero otherwise.
    pub(super) fn open_capacity(&self) -> u32 {
        let serves_all =
            self.endpoint.models.is_empty() && self.endpoint.role.covers(Role::Unified);
        let serving = self.health.state() == HealthState::Serving;
        let takes_any = !self.draining && !self.reports.asleep() && !self.is_full();
        if serves_all && serving && takes_any { self.kv_cache_tokens } else { 0 }
    }

    /// Records an answer to a request with this adapter, which is therefore loaded.
    pub(crate) fn answered(&mut self, adapter: Option<u64>) {
        if let Some(key) = adapter {
            self.adapters.confirm(key);
        }
    }

    /// Queued prefill before a new request's turn. This gateway's part is exact; external waiting
    /// requests count with the mean work of a request.
    pub(crate) fn wait(&self, now: Instant, external: ExternalLoad, mean_work: f64) -> Seconds {
        let booked = self.in_flight.wait(now) + Seconds::new(external.booked);
        booked + Seconds::new(external.waiting * mean_work * self.speed.factor())
    }

    /// As [`InFlightLoad::falls_to`], with the prefill that peers have booked. Without own prefill,
    /// a request is always allowed: a gateway with few requests would never find room otherwise.
    pub(crate) fn falls_to(&self, hold: Duration, now: Instant) -> Instant {
        self.in_flight.falls_to(hold, self.reports.peers().booked, now)
    }

    /// Time until the backoffs of this gateway and of its peers end.
    pub(crate) fn backoff_remaining(&self, now: Instant) -> Seconds {
        let peers = Seconds::from(self.peer_backoff.saturating_since(now));
        let own = self.health.backoff_remaining(now);
        if peers > own { peers } else { own }
    }

    /// How long a request waits for space in the KV cache, with `live` tokens of live requests in
    /// it and `needed` ones in all, of which it holds at most the share `limit`. The engine admits
    /// no request until others finish.
    ///
    /// Live requests leave at the rate of their tokens over the mean answer time of this endpoint.
    pub(crate) fn wait_for_tokens(&self, live: f64, needed: f64, limit: f64) -> Seconds {
        let missing = needed - limit * f64::from(self.kv_cache_tokens);
        if missing <= 0.0 || live <= 0.0 {
            return Seconds::ZERO;
        }
        Seconds::new(missing / live * self.answer_time.get())
    }
}
