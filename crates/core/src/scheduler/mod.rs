//! The state machine that gateways talk to.
//!
//! | file | what it decides |
//! |---|---|
//! | `lookup` | what a prompt is, and who holds how much of it |
//! | `pick`, `ranking` | where a request goes, and what is reserved for it |
//! | `glance` | which endpoints need not be looked at closely |
//! | `rendezvous` | where equal prompts meet among equal endpoints |
//! | `life` | what its first token, its end and its failure change |
//! | `threads` | where answers are that requests go on from |
//! | `lingering` | what cancelled requests still cost |
//! | `news` | what endpoints, their loads, adapters and KV events change |
//! | `snapshot` | what a gateway that starts again remembers of caches |
//! | `submit`, `asker` | when a request goes that may wait |
//! | `slots`, `served` | when refused clients come back, and what they are told |
//! | `plausible` | nothing: which lengths of time are hardly meant |
//! | `explain`, `stats` | nothing: they look |

mod builder;
mod dispatch;
mod endpoints;
mod explain;
mod in_flight;
mod lifecycle;
mod lingering;
mod pick;
mod rejection_message;
mod snapshot;
mod stats;
mod submit;

use crate::config::{Config, ConfigError};
use crate::decision::Rejected;
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::Fleet;
use crate::placement::Workspace;
use crate::pool::UnknownEndpoint;
use crate::prefix::PromptHasher;
use crate::prefix::keyed_state::KeyedState;
use crate::queueing::Queueing;
use crate::request::{Priority, RequestId};
use crate::time::Instant;

use in_flight::InFlightTable;

pub use builder::Builder;
pub use endpoints::RemovedEndpoint;
pub use explain::{Candidate, Explanation};
pub use lifecycle::{RedirectError, UnknownRequest};
pub use stats::{BandStats, EndpointStats, Stats};

/// Decides where requests go, and keeps account of all that follows from it.
///
/// Its methods are of four kinds:
///
/// - *News from the world*: [`add_endpoint`](Self::add_endpoint) and its relatives, [`handle_load`](Self::handle_load),
///   [`handle_adapters`](Self::handle_adapters), [`handle_kv_event`](Self::handle_kv_event).
/// - *A request's life*: [`pick`](Self::pick), then [`handle_first_token`](Self::handle_first_token) and
///   [`handle_tokens`](Self::handle_tokens), and exactly one of [`complete`](Self::complete), [`fail`](Self::fail) and
///   [`cancel`](Self::cancel).
/// - *Looking in*: [`explain`](Self::explain), [`stats`](Self::stats), [`endpoint`](Self::endpoint).
///
/// The first two take `now`, which never goes back: an earlier time than the latest one counts as the latest. Equal
/// inputs in equal order give equal answers, on every platform. What is refused leaves everything as it was.
///
/// One scheduler serves one pool from one thread or behind one lock; it holds no lock itself.
#[derive(Debug)]
pub struct Scheduler {
    fleet: Fleet,
    requests: InFlightTable,
    next_request: u64,
    counters: stats::Counters,
    queueing: Queueing,
    /// Of clients that left, where engines do not notice.
    lingering: lingering::Lingering,
    workspace: Workspace,
}

impl Scheduler {
    /// A scheduler with no endpoints.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that cannot be used, and what would.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let hasher = PromptHasher::new(config.seed);
        let hash_state = KeyedState::new(hasher.name("tables"));
        Ok(Self {
            requests: InFlightTable::new(hash_state),
            next_request: 1,
            counters: stats::Counters::default(),
            queueing: Queueing::new(&config, hash_state),
            lingering: lingering::Lingering::default(),
            workspace: Workspace::default(),
            fleet: Fleet::new(config, hasher, hash_state),
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.fleet.config
    }

    /// How the endpoint was described, if it is in the pool.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.fleet.pool.get(id).ok().map(|slot| &slot.endpoint)
    }

    /// The endpoint of that name.
    pub fn endpoint_named(&self, name: &str) -> Option<EndpointId> {
        self.fleet.pool.named(name)
    }

    /// The endpoint that a request in flight is on. It may have left the pool.
    pub fn endpoint_of(&self, request: RequestId) -> Option<EndpointId> {
        self.requests.get(request).map(|in_flight| in_flight.reservation.endpoint())
    }

    /// How many requests are in flight on an endpoint, in **O(1)**: zero means that it is drained, and may be removed without loss.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::from_micros(0);
    /// let mut scheduler = Scheduler::default();
    /// let endpoint = scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let dispatch = scheduler.pick(now, &Request::new("m").text("hello"))?;
    /// scheduler.drain_endpoint(now, endpoint)?;
    /// assert_eq!(scheduler.in_flight_on(endpoint), Ok(1));
    /// scheduler.cancel(now, dispatch.request);
    /// assert_eq!(scheduler.in_flight_on(endpoint), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownEndpoint`] if the endpoint is not in the pool.
    pub fn in_flight_on(&self, endpoint: EndpointId) -> Result<u32, UnknownEndpoint> {
        self.fleet.pool.get(endpoint).map(|slot| slot.in_flight.requests())
    }

    /// How many endpoints take new requests: all of the pool but those that drain. In **O(1)**.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Scheduler};
    ///
    /// let now = Instant::from_micros(0);
    /// let mut scheduler = Scheduler::default();
    /// assert_eq!(scheduler.accepting_endpoints(), 0);
    /// let endpoint = scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// assert_eq!(scheduler.accepting_endpoints(), 1);
    /// scheduler.drain_endpoint(now, endpoint)?;
    /// assert_eq!(scheduler.accepting_endpoints(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn accepting_endpoints(&self) -> usize {
        self.fleet.pool.accepting()
    }

    /// Moves time on, never back, and does what has come due.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.fleet.advance(now);
        while let Some(slot) = self.fleet.pool.open_due(now) {
            self.queueing.endpoint_recovered(&self.fleet, slot);
        }
        self.end_lingering(now);
        now
    }

    /// Counts a rejection of the request in the workspace, and gives it its time to come back.
    fn reject(&mut self, priority: Priority, rejected: Rejected) -> Rejected {
        let own = self.workspace.lookup.least_work(self.fleet.config.prefill);
        self.counters.reject(rejected.reason);
        self.queueing.spread(&self.fleet, self.requests.len(), priority, own, rejected)
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(Config::default()).expect("invariant: the default configuration is valid")
    }
}
