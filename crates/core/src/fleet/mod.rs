//! The state that decisions depend on: configuration and clock, endpoints and their caches, and
//! what was learned from requests.
//!
//! A placement is a function of the fleet and a request: `placement` takes the fleet by reference
//! and returns a ranking.

mod kv_events;
mod threads;

use core::time::Duration;

pub(crate) use threads::Threads;

use crate::config::Config;
use crate::cost::{AnswerLengths, Arrivals, BytesPerToken, DecodeTime, MovingMean, Reuse};
use crate::endpoint::EndpointId;
use crate::kv_transfer::KvTransferCost;
use crate::lora::{Catalog, Demand, Outlook};
use crate::pool::{BackoffPeriods, LearnedMeans, Pool, Slot};
use crate::prefix::keyed_state::KeyedState;
use crate::prefix::{CacheSpec, PrefixIndex, PromptHasher};
use crate::profile::{CostPrices, PredictedCost};
use crate::request::Request;
use crate::time::{Instant, Seconds};

/// Everything known about the endpoints; requests are elsewhere.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) config: Config,
    /// The latest time that an input carried.
    pub(crate) now: Instant,
    pub(crate) hasher: PromptHasher,
    pub(crate) pool: Pool,
    /// Which endpoint has which blocks cached.
    pub(crate) prefixes: PrefixIndex,
    /// Which endpoint gave which answer.
    pub(crate) threads: Threads,
    /// Probability that a cached token is read again.
    pub(crate) reuse: Reuse,
    pub(crate) bytes_per_token: BytesPerToken,
    /// What was learned of each LoRA adapter.
    pub(crate) adapters: Demand,
    /// What the host described of LoRA adapters.
    pub(crate) adapter_catalog: Catalog,
    /// Seconds of described prefill in a request.
    pub(crate) mean_work: MovingMean,
    /// Described prefill of the requests that arrive.
    pub(crate) arrivals: Arrivals,
    /// Tokens in an answer.
    pub(crate) mean_output: MovingMean,
    /// Tokens in an answer of each model.
    pub(crate) answers: AnswerLengths,
    /// Time per output token.
    pub(crate) decode_time: DecodeTime,
    /// Seconds from dispatch to completion.
    pub(crate) mean_residence: MovingMean,
    /// When the learned speeds settle next.
    next_settling: Instant,
    /// Whether adapters outnumber slots.
    crowded: bool,
    /// When that is checked next.
    next_window: Instant,
}

/// Interval at which learned speeds settle.
const SETTLING: Duration = Duration::from_secs(1);
/// How many times more popular than its victim an adapter must be: rates are noisy.
const LEAD: f64 = 2.0;

impl Fleet {
    /// A fleet without endpoints. `hash_state` keys its tables.
    pub(crate) fn new(config: Config, hasher: PromptHasher, hash_state: KeyedState) -> Self {
        let mut limits = config.index.clone();
        limits.slots = config.max_endpoints;
        Self {
            now: Instant::ORIGIN,
            pool: Pool::new(config.max_endpoints),
            prefixes: PrefixIndex::new(hasher.name("prefixes"), limits),
            threads: Threads::new(config.max_threads, hash_state),
            reuse: Reuse::default(),
            bytes_per_token: BytesPerToken::new(config.max_models),
            adapters: Demand::new(config.max_adapters),
            adapter_catalog: Catalog::new(config.max_adapters),
            mean_work: MovingMean::new(0.1, 64),
            arrivals: Arrivals::new(),
            mean_output: MovingMean::new(200.0, 64),
            answers: AnswerLengths::new(config.max_models),
            decode_time: DecodeTime::default(),
            mean_residence: MovingMean::new(5.0, 64),
            next_settling: Instant::ORIGIN,
            crowded: false,
            next_window: Instant::ORIGIN,
            hasher,
            config,
        }
    }

    /// Moves the clock forward, never back, and applies what has come due: unconfirmed blocks
    /// expire and learned speeds settle.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.prefixes.expire(self.now);
        if self.config.learn_speed && self.now >= self.next_settling {
            let learned = self.learned_means();
            self.pool.settle(self.now, &learned);
            self.next_settling = self.now + SETTLING;
        }
        self.pool.advance(self.now);
        let has_adapters = self.crowded || self.adapters.active() > 0;
        if has_adapters && self.config.adapter_window > 0.0 && self.now >= self.next_window {
            self.set_adapter_window();
            self.next_window = self.now + SETTLING;
        }
        self.now
    }

    /// Computes best cases anew that are no lower bounds at this time. Without it, searches weigh
    /// all endpoints.
    pub(crate) fn renew_bounds(&mut self) {
        let learned = self.learned_means();
        self.pool.renew_bounds(self.now, &learned);
    }

    /// What the cost of external load depends on, beside the reports.
    pub(crate) const fn learned_means(&self) -> LearnedMeans {
        LearnedMeans {
            work: self.mean_work.get(),
            weight: self.answers.mean_weight(),
            lifetime: self.config.report_lifetime,
        }
    }

    /// Opens the window for unpopular adapters while adapters outnumber slots.
    fn set_adapter_window(&mut self) {
        let crowded = self.adapters.active() > self.pool.adapter_slots();
        if !crowded && !self.crowded {
            return;
        }
        self.crowded = crowded;
        let share = self.pool.accepting() as f64 * self.config.adapter_window;
        self.pool.set_adapter_window(if crowded { (share as usize).max(1) } else { 0 });
    }

    /// Chooses the window again at the next input, after a change of its share. Without a share,
    /// the window is `closed` for good.
    pub(crate) fn reopen_adapter_window(&mut self, closed: bool) {
        self.next_window = self.now;
        if closed {
            self.crowded = false;
            self.pool.set_adapter_window(0);
        }
    }

    /// Whether the adapter finds a free slot, or is more popular than each that it displaces.
    pub(crate) fn may_displace(&self, slot: &Slot, adapter: u64, now: Instant) -> bool {
        let slots = self.adapter_catalog.traits(adapter).slots;
        slot.adapters.admits(slots, now, |victim| self.outranks(adapter, victim, now))
    }

    /// The predicted time to load an adapter on an endpoint: the described time, times the learned
    /// factor of `outlook`.
    pub(crate) fn adapter_load(&self, slot: &Slot, adapter: u64, outlook: Outlook) -> Seconds {
        let described = self.adapter_catalog.traits(adapter).load_time(slot.adapter_load_time);
        described * outlook.load_factor
    }

    /// Whether the first adapter is clearly more popular than the second.
    pub(crate) fn outranks(&self, first: u64, second: u64, now: Instant) -> bool {
        self.adapters.rate(first, now) > LEAD * self.adapters.rate(second, now)
    }

    /// Whether adapters outnumber slots.
    pub(crate) const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// How endpoints are weighed for a request of this model, unless the caller brings a cost of
    /// its own.
    pub(crate) fn profile(&self, model: u64) -> PredictedCost {
        PredictedCost(self.prices(model))
    }

    /// The prices for a request of this model. A full cache slows down each token of the answer, so
    /// it costs less where answers are short.
    pub(crate) fn prices(&self, model: u64) -> CostPrices {
        let prices = self.config.prices;
        CostPrices { kv: prices.kv * self.answers.kv_share(model), ..prices }
    }

    /// The cost of an answer in seconds of prefill: one token counts as two prompt tokens.
    pub(crate) fn output_cost(&self, tokens: u32) -> Seconds {
        self.config.prefill.per_token * (2.0 * f64::from(tokens))
    }

    /// The cost of moving a prompt's KV cache to the endpoint.
    pub(crate) fn kv_transfer(&self, slot: &Slot) -> KvTransferCost {
        let general = self.config.disaggregation.as_ref().map(|config| config.kv_transfer);
        slot.endpoint.kv_transfer.or(general).unwrap_or_default()
    }

    /// The first and the longest backoff of a failed endpoint.
    pub(crate) fn backoff_periods(&self) -> BackoffPeriods {
        BackoffPeriods { first: self.config.backoff, longest: self.config.backoff_limit }
    }

    /// The key of the client behind a request: that of its `flow`, or else of the session. Failures
    /// of one client count less against an endpoint.
    pub(crate) fn suspect(&self, request: &Request<'_>, flow: u64) -> Option<u64> {
        match request.session {
            _ if !request.flow.is_empty() => Some(flow),
            session => session.map(|session| self.hasher.name(session) ^ 1),
        }
    }

    /// Whether an endpoint accepts new requests.
    pub(super) fn takes_requests(&self, endpoint: EndpointId) -> bool {
        self.pool.get(endpoint).is_ok_and(|slot| !slot.draining)
    }
}

/// The endpoint's cache, as the prefix index models it.
pub(crate) fn cache(slot: &Slot) -> CacheSpec {
    CacheSpec { capacity: slot.kv_cache_tokens, order: slot.endpoint.cache_eviction }
}
