//! What several gateways of one pool share: the load that each has in flight, the prompts that it
//! has sent where, the service that its flows have received, and for which endpoints requests wait.
//!
//! The scheduler notes what has changed and takes what peers report. Messages, their order and
//! their loss are the business of the gateway crate. Without peers, nothing here has an effect.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use crate::endpoint::EndpointId;
use crate::flow::FlowElsewhere;
use crate::pool::{PeerLoad, UnknownEndpoint};
use crate::prefix::{BlockHash, BlockUse};
use crate::queueing::FlowCharge;
use crate::request::Priority;
use crate::time::{Instant, Seconds};

/// A change that peers should receive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SharedChange {
    /// This gateway's load on an endpoint has changed.
    Load(EndpointId),
    /// A prompt was sent to an endpoint, whose cache will hold its blocks; or a request that used
    /// them has ended there, and the cache keeps them until others are used later.
    Prefix(SharedPrefix),
    /// Requests of a flow have left the queue, or were charged too much or too little; or the flow
    /// has begun or ceased to wait.
    Service(SharedService),
}

/// The blocks of a prompt on an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedPrefix {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// All blocks of the prompt, from the first on.
    pub blocks: Vec<BlockHash>,
    /// Tokens in a block.
    pub block_tokens: u32,
}

/// What a flow has received from one gateway, and whether it waits: the debt that fair shares
/// settle.
///
/// ```
/// use core::time::Duration;
/// use slotwise::{Endpoint, Instant, Request, Scheduler, SharedService};
///
/// let now = Instant::from_micros(0);
/// let mut scheduler = Scheduler::default();
/// scheduler.add_endpoint(now, Endpoint::new("only"))?;
/// let request = |flow| Request::new("llama").tokens(&[7; 9_000]).flow(flow);
/// let first = scheduler.submit(now, &request("c"))?;
/// assert!(scheduler.poll_decision(now).is_some());
/// let [_, later] = ["a", "b"].map(|flow| scheduler.submit(now, &request(flow)));
/// assert!(scheduler.poll_decision(now).is_none(), "both wait");
///
/// let mut service = SharedService::default();
/// (service.flow, service.requests) = (scheduler.flow_key("a"), 3);
/// service.charged = Duration::from_secs(6);
/// scheduler.handle_peer_service(now, &service);
/// scheduler.handle_first_token(now, first)?;
/// let next = scheduler.poll_decision(now).expect("room for one");
/// assert_eq!(next.request_id(), later?, "a was served by a peer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SharedService {
    /// The priority of the requests.
    pub priority: Priority,
    /// The flow: see [`flow_key`](Scheduler::flow_key).
    pub flow: u64,
    /// Requests that have left the queue.
    pub requests: u32,
    /// Service that was charged: see [`Fairness`](crate::Fairness).
    pub charged: Duration,
    /// Service that was charged, and was not received in the end.
    pub refunded: Duration,
    /// The weight of the flow in thousandths; zero if it is unknown, which counts as 1,000.
    pub weight: u32,
    /// Whether requests of the flow wait now. To a receiver: at any of its peers.
    pub waits: bool,
}

impl SharedService {
    /// Adds what the same flow has received later, and takes its later state.
    pub fn add(&mut self, later: &Self) {
        self.requests = self.requests.saturating_add(later.requests);
        self.charged = self.charged.saturating_add(later.charged);
        self.refunded = self.refunded.saturating_add(later.refunded);
        (self.weight, self.waits) = (later.weight, later.waits);
    }

    /// Whether nothing was charged.
    pub const fn is_free(&self) -> bool {
        self.requests == 0 && self.charged.is_zero() && self.refunded.is_zero()
    }

    fn elsewhere(&self) -> FlowElsewhere {
        let Self { priority, flow, weight, waits, .. } = *self;
        let weight = (weight > 0).then(|| f64::from(weight) / THOUSAND);
        FlowElsewhere { priority: priority.0, id: flow, weight, waits }
    }
}

/// What peers have not been sent yet.
#[derive(Debug)]
pub(super) struct Shared {
    /// Prompts in the order of their dispatch.
    prefixes: VecDeque<SharedPrefix>,
    /// The number of their blocks, and its limit.
    blocks: usize,
    limit: usize,
    /// Service by priority and flow.
    services: BTreeMap<(i32, u64), SharedService>,
}

impl Shared {
    fn new(limit: usize) -> Self {
        Self { prefixes: VecDeque::new(), blocks: 0, limit, services: BTreeMap::new() }
    }

    /// Notes a request that has left the queue.
    pub(super) fn charge(&mut self, charge: FlowCharge) {
        let FlowCharge { priority, flow, service, .. } = charge;
        let (requests, charged) = (1, service.to_duration());
        let served =
            SharedService { priority, flow, requests, charged, ..SharedService::default() };
        self.note_service(served);
    }

    /// Notes what the service to a request was in the end.
    pub(super) fn correct(&mut self, charge: FlowCharge, actual: Seconds) {
        let FlowCharge { priority, flow, service, .. } = charge;
        let (before, after) = (service.to_duration(), actual.to_duration());
        if before == after {
            return;
        }
        let (charged, refunded) = (after.saturating_sub(before), before.saturating_sub(after));
        let served =
            SharedService { priority, flow, charged, refunded, ..SharedService::default() };
        self.note_service(served);
    }

    /// Adds to the account of a flow, unless too many flows wait to be polled.
    fn note_service(&mut self, service: SharedService) {
        let at = (service.priority.0, service.flow);
        if let Some(account) = self.services.get_mut(&at) {
            account.add(&service);
        } else if self.services.len() < MOST_FLOWS {
            self.services.insert(at, service);
        }
    }

    /// Notes a prompt. The oldest ones make room for it.
    pub(super) fn note_prefix(&mut self, prefix: SharedPrefix) {
        if prefix.blocks.is_empty() || prefix.blocks.len() > self.limit {
            return;
        }
        self.blocks += prefix.blocks.len();
        self.prefixes.push_back(prefix);
        while self.blocks > self.limit {
            let oldest = self.prefixes.pop_front();
            self.blocks -= oldest.map_or(self.blocks, |oldest| oldest.blocks.len());
        }
    }
}

impl Scheduler {
    /// Notes changes for [`poll_shared_change`](Self::poll_shared_change) from now on. All that is
    /// in flight counts as changed. At most `max_blocks` prompt blocks wait to be polled; the
    /// oldest prompts make room for new ones.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, PeerLoad, Request, Scheduler, SharedChange};
    ///
    /// let now = Instant::from_micros(0);
    /// let (mut here, mut there) = (Scheduler::default(), Scheduler::default());
    /// let endpoint = here.add_endpoint(now, Endpoint::new("a"))?;
    /// let same = there.add_endpoint(now, Endpoint::new("a"))?;
    /// here.share_changes(4_096);
    ///
    /// let request = Request::new("llama").tokens(&[7; 320]);
    /// here.pick(now, &request)?;
    /// while let Some(change) = here.poll_shared_change() {
    ///     match change {
    ///         SharedChange::Load(_) => {
    ///             there.handle_peer_load(now, same, here.load_for_peers(now, endpoint)?)?;
    ///         }
    ///         SharedChange::Prefix(prefix) => {
    ///             there.handle_peer_prefix(now, same, &prefix.blocks, prefix.block_tokens)?;
    ///         }
    ///         _ => {}
    ///     }
    /// }
    /// let dispatch = there.pick(now, &request)?;
    /// assert!(dispatch.cached_tokens >= 304 && dispatch.first_token_in.get() > 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn share_changes(&mut self, max_blocks: usize) {
        self.fleet.pool.share();
        self.queueing.share();
        self.shared = Some(Shared::new(max_blocks));
    }

    /// The next change since [`share_changes`](Self::share_changes); an endpoint whose load has
    /// changed several times comes up once. Computes in **O(log endpoints)**.
    pub fn poll_shared_change(&mut self) -> Option<SharedChange> {
        if let Some(endpoint) = self.fleet.pool.poll_shared() {
            return Some(SharedChange::Load(endpoint));
        }
        while let Some(slot) = self.queueing.poll_parked() {
            // Requests also wait for groups of endpoints, which have no slot.
            if let Some(slot) = self.fleet.pool.at(slot) {
                return Some(SharedChange::Load(slot.id));
            }
        }
        let shared = self.shared.as_mut()?;
        let served = shared.services.pop_first().map(|(_, service)| service);
        let service = served.or_else(|| {
            let (priority, flow) = self.queueing.poll_flow()?;
            let priority = Priority(priority);
            Some(SharedService { priority, flow, ..SharedService::default() })
        });
        if let Some(mut service) = service {
            let (waits, weight) = self.queueing.waits_here(service.priority.0, service.flow);
            (service.waits, service.weight) = (waits, (weight * THOUSAND).max(1.0) as u32);
            return Some(SharedChange::Service(service));
        }
        let prefix = shared.prefixes.pop_front()?;
        shared.blocks -= prefix.blocks.len();
        Some(SharedChange::Prefix(prefix))
    }

    /// This gateway's load on an endpoint, as peers count it.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn load_for_peers(
        &self,
        now: Instant,
        id: EndpointId,
    ) -> Result<PeerLoad, UnknownEndpoint> {
        let slot = self.fleet.pool.get(id)?;
        Ok(PeerLoad {
            prefilling: slot.in_flight.pending(),
            running: slot.in_flight.running(),
            booked: slot.in_flight.booked(),
            kv_tokens: slot.in_flight.kv_tokens(),
            backoff: slot.health.backoff_remaining(now).to_duration(),
            waiting: self.queueing.highest_parked(id.slot),
        })
    }

    /// Replaces the load that all peers together have in flight on an endpoint.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn handle_peer_load(
        &mut self,
        now: Instant,
        id: EndpointId,
        load: PeerLoad,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        let before = *self.fleet.pool.get(id)?.reports.peers();
        self.fleet.pool.set_peers(id, load, now + load.backoff, self.fleet.mean_output.get())?;
        if (load.prefilling, load.booked) != (before.prefilling, before.booked) {
            self.queueing.peers_went_on(now, self.fleet.pool.get(id)?);
        }
        self.queueing.endpoint_changed(&self.fleet, id);
        Ok(())
    }

    /// Records that a peer has sent a prompt with these blocks to an endpoint. They may be the end
    /// of a prompt whose first blocks are known. An endpoint with KV events reports its blocks
    /// itself: nothing is recorded then. Computes in **O(blocks)**.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn handle_peer_prefix(
        &mut self,
        now: Instant,
        id: EndpointId,
        blocks: &[BlockHash],
        block_tokens: u32,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        self.queueing.peers_went_on(now, self.fleet.pool.get(id)?);
        let slot = self.fleet.pool.get_mut(id)?;
        let fits = block_tokens == slot.layout.block_size.get();
        if let Some(admission) = self.queueing.session_admission_mut().filter(|_| fits) {
            let tokens = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            admission.used_elsewhere(now, blocks, id.slot, tokens.saturating_mul(block_tokens));
        }
        if !fits || blocks.is_empty() || self.fleet.prefixes.has_kv_events(id.slot) {
            return Ok(());
        }
        let used = BlockUse { stamp: slot.next_use(), block_tokens, now, computed: true };
        self.fleet.prefixes.record_use(id.slot, blocks, used);
        Ok(())
    }

    /// Records the service that a peer has given to a flow, and whether the flow waits at peers.
    /// With [`Fairness`](crate::Fairness), the flow has its next turn here that much later, if
    /// requests of its priority wait. While it waits at peers and has received less than another
    /// flow, queued requests of that one leave room to it. Computes in **O(log flows)**.
    pub fn handle_peer_service(&mut self, now: Instant, service: &SharedService) {
        let now = self.advance(now);
        let SharedService { priority, flow, requests, charged, refunded, waits, .. } = *service;
        // A flow that ceases to wait is charged before it may be forgotten.
        if waits {
            self.queueing.wait_elsewhere(now, service.elsewhere());
        }
        if requests > 0 || !charged.is_zero() {
            let charged = charged.into();
            self.queueing.serve_elsewhere(now, service.elsewhere(), requests, charged);
        }
        if !refunded.is_zero() {
            let service = Seconds::from(refunded);
            let charge = FlowCharge { priority, flow, work: service, service };
            self.queueing.settle(charge, Seconds::ZERO);
        }
        if !waits {
            self.queueing.wait_elsewhere(now, service.elsewhere());
        }
    }

    /// The number of a flow in messages between gateways, as of
    /// [`endpoint_key`](Self::endpoint_key).
    pub fn flow_key(&self, flow: &str) -> u64 {
        self.fleet.hasher.name(flow)
    }

    /// The number of an endpoint in messages between gateways: a hash of its name, equal in all
    /// gateways with the same [`seed`](crate::Config::seed).
    pub fn endpoint_key(&self, id: EndpointId) -> Option<u64> {
        self.fleet.pool.get(id).ok().map(|slot| slot.key)
    }

    /// A number that is equal in all gateways whose block hashes and endpoint keys are comparable:
    /// those with the same [`seed`](crate::Config::seed).
    pub fn hash_domain(&self) -> u64 {
        self.fleet.hasher.name("messages between gateways")
    }
}

/// The unit of weights.
const THOUSAND: f64 = 1_000.0;
/// Flows whose service waits to be polled.
const MOST_FLOWS: usize = 4_096;
