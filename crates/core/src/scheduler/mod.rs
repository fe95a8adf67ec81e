//! The face of the crate: the methods of [`Scheduler`], which delegate to the layers below.
//!
//! | file | content |
//! |---|---|
//! | `batches` | inputs of one kind in one call |
//! | `builder` | construction step by step |
//! | `endpoints` | inputs about endpoints: membership, load, adapters, KV events |
//! | `pick` | an immediate decision |
//! | `submit` | the queue: submission, polling, timeouts |
//! | `dispatch` | the reservation that carries out a decision |
//! | `in_flight` | what is kept of a request from its dispatch to its end |
//! | `legs` | the end of a stage that has an endpoint of its own |
//! | `lifecycle` | first token, tokens, end and redirection of a request |
//! | `settlement` | the end of a request: its charge, its release, and what is learned |
//! | `lingering` | bookings of cancelled requests on engines that ignore disconnects |
//! | `peers` | what several gateways of one pool share |
//! | `reconfigure` | a new configuration for a running scheduler |
//! | `explain`, `explanation_table` | the cost or the scores of every candidate |
//! | `stats`, `pool_stats` | counters and gauges; signals for an autoscaler |
//! | `rejection_message` | the sentence of a rejection |
//! | `snapshot` | the caches' contents as bytes, for a restart |

mod batches;
mod builder;
mod dispatch;
mod endpoints;
mod explain;
mod explanation_table;
mod in_flight;
mod legs;
mod lifecycle;
mod lingering;
mod peers;
mod pick;
mod pool_stats;
mod reconfigure;
mod rejection_message;
mod settlement;
mod snapshot;
mod stats;
mod submit;

use crate::config::{Config, ConfigError};
use crate::decision::Rejected;
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::Fleet;
use crate::placement::{SchedulingCycle, StageProfiles, Workspace};
use crate::plugins::SchedulingProfile;
use crate::pool::UnknownEndpoint;
use crate::prefix::PromptHasher;
use crate::prefix::keyed_state::KeyedState;
use crate::queueing::Queueing;
use crate::request::{Priority, RequestId};
use crate::time::Instant;

use in_flight::InFlightTable;

pub use builder::Builder;
pub use endpoints::RemovedEndpoint;
pub use explain::{Candidate, Explanation, RunnerUp, StageExplanation};
pub use legs::LegError;
pub use lifecycle::{RedirectError, UnknownRequest};
pub use peers::{SharedChange, SharedPrefix, SharedService};
pub use pool_stats::{PoolStats, Spread};
pub use stats::{BandStats, EndpointStats, StageSplit, Stats};

/// Decides whether a request goes now and to which endpoint, and keeps account of the requests in
/// flight.
///
/// **After each input, call [`poll_decision(now)`](Self::poll_decision) until it returns `None`;
/// then wait for the next input or for [`next_timeout()`](Self::next_timeout).**
///
/// The methods are of six kinds:
///
/// - *Inputs about endpoints*: [`add_endpoint`](Self::add_endpoint),
///   [`update_endpoint`](Self::update_endpoint), [`drain_endpoint`](Self::drain_endpoint),
///   [`resume_endpoint`](Self::resume_endpoint), [`remove_endpoint`](Self::remove_endpoint);
///   [`handle_load`](Self::handle_load), [`handle_adapters`](Self::handle_adapters),
///   [`handle_kv_event`](Self::handle_kv_event), [`handle_probe`](Self::handle_probe);
///   [`handle_loads`](Self::handle_loads) of a whole pool.
/// - *Inputs of peers*, the other gateways of the pool:
///   [`handle_peer_load`](Self::handle_peer_load),
///   [`handle_peer_prefix`](Self::handle_peer_prefix).
/// - *Configuration*: [`reconfigure`](Self::reconfigure).
/// - *The life of a request*: [`pick`](Self::pick), [`pick_many`](Self::pick_many) or
///   [`submit`](Self::submit); then
///   [`handle_first_token`](Self::handle_first_token), [`handle_tokens`](Self::handle_tokens),
///   [`handle_answer`](Self::handle_answer) and [`redirect`](Self::redirect); then exactly one of
///   [`complete`](Self::complete), [`fail`](Self::fail) and [`cancel`](Self::cancel). A stage on
///   another endpoint ends with [`complete_leg`](Self::complete_leg) or
///   [`fail_leg`](Self::fail_leg).
/// - *Decisions*: [`poll_decision`](Self::poll_decision) and [`next_timeout`](Self::next_timeout).
/// - *Queries*, which change nothing: [`explain`](Self::explain), [`stats`](Self::stats),
///   [`endpoint`](Self::endpoint), [`snapshot`](Self::snapshot).
///
/// Every input takes `now`. Time never goes back: an earlier time than the latest one counts as the
/// latest. Equal inputs in equal order give equal decisions, on every platform. A call that returns
/// an error changes nothing else.
///
/// One scheduler serves one pool. It is `Send` and holds no lock: use it from one thread, or behind
/// one lock.
///
/// ```
/// use slotwise::{Decision, Endpoint, Instant, Request, Scheduler, Usage};
///
/// let now = Instant::ORIGIN;
/// let mut scheduler = Scheduler::default();
/// scheduler.add_endpoint(now, Endpoint::new("http://10.0.0.1:8000"))?;
/// let id = scheduler.submit(now, &Request::new("llama").text("Hello"))?;
/// while let Some(decision) = scheduler.poll_decision(now) {
///     assert!(matches!(&decision, Decision::Dispatch(_)) && decision.request_id() == id);
/// }
/// scheduler.complete(now, id, Usage::default())?;
/// assert_eq!(scheduler.stats().completed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    fleet: Fleet,
    requests: InFlightTable,
    next_request: u64,
    counters: stats::Counters,
    queueing: Queueing,
    /// Cancelled requests on engines that ignore disconnects.
    lingering: lingering::Lingering,
    /// Prompts and service for other gateways; `None` while nothing is shared.
    shared: Option<peers::Shared>,
    workspace: Workspace,
}

impl Scheduler {
    /// A scheduler with no endpoints.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that cannot be used, and what would.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let profiles = Self::profiles_of(&config)?;
        Self::build(config, profiles)
    }

    /// A scheduler that chooses by a scheduling profile of the host's own plugins, in place of
    /// [`Config::profile`].
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// ```
    /// use slotwise::plugins::{MaxScorePicker, QueueScorer, SchedulingProfile};
    /// use slotwise::{Config, Endpoint, Instant, Load, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let profile =
    ///     SchedulingProfile::new(MaxScorePicker::default()).scorer(QueueScorer::default(), 2.0);
    /// let mut scheduler = Scheduler::with_profile(Config::default(), profile)?;
    /// let busy = scheduler.add_endpoint(now, Endpoint::new("busy"))?;
    /// let idle = scheduler.add_endpoint(now, Endpoint::new("idle"))?;
    /// scheduler.handle_load(now, busy, Load::default().waiting(4))?;
    /// let dispatch = scheduler.pick(now, &Request::new("llama").text("Hello"))?;
    /// assert_eq!((dispatch.endpoint_id, dispatch.score), (idle, Some(2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_profile(config: Config, profile: SchedulingProfile) -> Result<Self, ConfigError> {
        Self::build(config, Some(StageProfiles::of_one(profile)))
    }

    /// The scheduling profiles that the configuration names, if any.
    fn profiles_of(config: &Config) -> Result<Option<StageProfiles>, ConfigError> {
        match (config.profile.clone(), config.profiles.clone()) {
            (Some(profile), None) => Ok(Some(StageProfiles::of_one(profile.into()))),
            (None, Some(profiles)) => StageProfiles::new(profiles).map(Some),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err(ConfigError::new("profiles", "must not be set together with profile"))
            }
        }
    }

    /// The configuration, if it is valid, with the deciders that the profiles name.
    fn checked(
        mut config: Config,
        profiles: Option<&StageProfiles>,
    ) -> Result<Config, ConfigError> {
        config.validate()?;
        if let Some(deciders) = profiles.and_then(StageProfiles::deciders) {
            let disaggregation = config.disaggregation.get_or_insert_default();
            (disaggregation.prefill, disaggregation.encode) = (deciders.prefill, deciders.encode);
        }
        Ok(config)
    }

    fn build(config: Config, profiles: Option<StageProfiles>) -> Result<Self, ConfigError> {
        let config = Self::checked(config, profiles.as_ref())?;
        let hasher = PromptHasher::new(config.seed);
        let hash_state = KeyedState::new(hasher.name("tables"));
        let mut scheduler = Self {
            requests: InFlightTable::new(hash_state),
            next_request: 1,
            counters: stats::Counters::default(),
            queueing: Queueing::new(&config, hash_state),
            lingering: lingering::Lingering::default(),
            shared: None,
            workspace: Workspace {
                cycle: profiles
                    .map(|profiles| SchedulingCycle::new(profiles, &config.producers, hash_state)),
                ..Workspace::default()
            },
            fleet: Fleet::new(config, hasher, hash_state),
        };
        if scheduler.workspace.cycle.is_some() {
            scheduler.fleet.pool.keep_marks();
        }
        Ok(scheduler)
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.fleet.config
    }

    /// The description of an endpoint in the pool.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.fleet.pool.get(id).ok().map(|slot| &slot.endpoint)
    }

    /// The endpoint of that name.
    pub fn endpoint_named(&self, name: &str) -> Option<EndpointId> {
        self.fleet.pool.named(name)
    }

    /// The endpoints in the pool and their ids, in **O(endpoints)**. The order is that of
    /// [`Stats::endpoints`](crate::Stats).
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.fleet.pool.iter().map(|slot| (slot.id, &slot.endpoint))
    }

    /// A number that changes when an endpoint joins or leaves the pool, or gets another name. In
    /// **O(1)**: a host that follows the [`endpoints`](Self::endpoints) need not list them while
    /// the number stays.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Scheduler};
    ///
    /// let now = Instant::from_micros(0);
    /// let mut scheduler = Scheduler::default();
    /// let empty = scheduler.membership();
    /// let a = scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// assert_ne!(scheduler.membership(), empty);
    /// let (id, endpoint) = scheduler.endpoints().next().expect("one has joined");
    /// assert_eq!((id, endpoint.name.as_str()), (a, "a"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn membership(&self) -> u64 {
        self.fleet.pool.membership()
    }

    /// The endpoint of a request in flight. The endpoint may have left the pool.
    pub fn endpoint_of(&self, request: RequestId) -> Option<EndpointId> {
        self.requests.get(request).map(|in_flight| in_flight.reservation.endpoint())
    }

    /// The number of requests in flight on an endpoint, in **O(1)**. At zero, a draining endpoint
    /// can be removed without loss.
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
    /// scheduler.cancel(now, dispatch.request_id);
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

    /// The number of endpoints that accept new requests: all that are not draining. In **O(1)**.
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

    /// Moves the clock forward, never back, and applies what has come due.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.fleet.advance(now);
        while let Some(slot) = self.fleet.pool.open_due(now) {
            self.queueing.endpoint_recovered(&self.fleet, slot);
        }
        while let Some(id) = self.fleet.pool.end_unreported(now, self.fleet.mean_output.get()) {
            self.queueing.endpoint_changed(&self.fleet, id);
        }
        self.end_lingering(now);
        now
    }

    /// Counts a rejection of the request in the workspace, and sets its retry time.
    fn reject(&mut self, priority: Priority, rejected: Rejected) -> Rejected {
        let own = self.workspace.lookup.least_work(self.fleet.config.prefill);
        self.counters.reject(rejected.reason);
        // A rejected request is load that more replicas would carry.
        self.fleet.arrivals.observe(self.fleet.now, own.get());
        self.queueing.spread(&self.fleet, self.requests.len(), priority, own, rejected)
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(Config::default()).expect("invariant: the default configuration is valid")
    }
}
