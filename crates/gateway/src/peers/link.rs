//! [`Peers`] joined to a scheduler.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::{EndpointId, Instant, PeerLoad, Scheduler, SharedChange, UnknownEndpoint};

use super::{Applied, News, PeerError, Peers, PeersConfig};
use crate::InvalidField;
use crate::gates::Gates;

/// A scheduler's messages to and from the other gateways of its pool.
///
/// After each input of the scheduler, and at [`next_timeout`](Self::next_timeout), call
/// [`export_delta`](Self::export_delta) until it returns `None`, and send each message to all
/// peers.
///
/// ```
/// use slotwise::{Endpoint, Instant, Request, Scheduler};
/// use slotwise_gateway::peers::{PeerKey, PeerLink, PeersConfig};
///
/// let now = Instant::from_micros(1);
/// let gateway = |name: &str| {
///     let mut scheduler = Scheduler::default();
///     for engine in ["http://10.0.0.1:8000", "http://10.0.0.2:8000"] {
///         scheduler.add_endpoint(now, Endpoint::new(engine)).expect("names differ");
///     }
///     let config = PeersConfig::new(name, PeerKey::new("a secret of 16 bytes or more"));
///     let link = PeerLink::new(config, 1, &mut scheduler).expect("a valid configuration");
///     (scheduler, link)
/// };
/// let ((mut here, mut sender), (mut there, mut receiver)) = (gateway("a"), gateway("b"));
///
/// let first = here.pick(now, &Request::new("llama").text("Once upon a time"))?;
/// while let Some(bytes) = sender.export_delta(now, &mut here) {
///     receiver.apply_delta(now, &mut there, &bytes)?;
/// }
/// let second = there.pick(now, &Request::new("llama").text("In a galaxy far away"))?;
/// assert_ne!(first.endpoint_id, second.endpoint_id, "the first one is busy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PeerLink {
    peers: Peers,
    ids: BTreeMap<u64, EndpointId>,
    /// The scheduler's membership at which `ids` was complete.
    membership: Option<u64>,
}

impl PeerLink {
    /// Begins to note the scheduler's changes. See [`Peers::new`] for the arguments.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] names the field and what it must be.
    pub fn new(
        config: PeersConfig,
        incarnation: u64,
        scheduler: &mut Scheduler,
    ) -> Result<Self, InvalidField> {
        let peers = Peers::new(config, incarnation)?.hash_domain(scheduler.hash_domain());
        // What may be sent in eight seconds.
        let blocks = peers.config().limits.sent_blocks_per_second as usize;
        scheduler.share_changes(blocks.saturating_mul(8));
        Ok(Self { peers, ids: BTreeMap::new(), membership: None })
    }

    /// The next message for all peers, if one is due. Call it until it returns `None`.
    pub fn export_delta(&mut self, now: Instant, scheduler: &mut Scheduler) -> Option<Vec<u8>> {
        self.collect(now, scheduler);
        self.deliver(now, scheduler);
        self.peers.export_delta(now)
    }

    /// Applies a message of a peer.
    ///
    /// # Errors
    ///
    /// As for [`Peers::apply_delta`].
    pub fn apply_delta(
        &mut self,
        now: Instant,
        scheduler: &mut Scheduler,
        bytes: &[u8],
    ) -> Result<Applied, PeerError> {
        self.collect(now, scheduler);
        let applied = self.peers.apply_delta(now, bytes);
        self.deliver(now, scheduler);
        applied
    }

    /// Counts in the gates what peers have used, and the reverse: see [`Peers::exchange_usage`].
    /// Of several links, one exchanges the usage of a gateway's gates.
    pub fn exchange_usage(&mut self, now: Instant, gates: &mut Gates) {
        self.peers.exchange_usage(now, gates);
    }

    /// When to call [`export_delta`](Self::export_delta) again, unless something happens before.
    pub fn next_timeout(&mut self, now: Instant, scheduler: &mut Scheduler) -> Instant {
        self.collect(now, scheduler);
        self.peers.next_timeout(now)
    }

    /// The load that all living peers have in flight on an endpoint.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn load(
        &self,
        now: Instant,
        scheduler: &Scheduler,
        id: EndpointId,
    ) -> Result<PeerLoad, UnknownEndpoint> {
        let key = scheduler.endpoint_key(id).ok_or(UnknownEndpoint(id))?;
        Ok(self.peers.load(now, key))
    }

    /// Metrics of the link: see [`Peers::metrics_text`].
    pub fn metrics_text(&mut self, now: Instant) -> String {
        self.peers.metrics_text(now)
    }

    /// What is known of the peers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The same, to count in it.
    pub const fn peers_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// Takes the scheduler's changes.
    fn collect(&mut self, now: Instant, scheduler: &mut Scheduler) {
        let membership = Some(scheduler.membership());
        if core::mem::replace(&mut self.membership, membership) != membership {
            self.join(now, scheduler);
        }
        while let Some(change) = scheduler.poll_shared_change() {
            match change {
                SharedChange::Load(id) => {
                    let load = scheduler.load_for_peers(now, id).unwrap_or_default();
                    if let Some(key) = scheduler.endpoint_key(id) {
                        self.peers.set_load(key, load);
                    }
                }
                SharedChange::Prefix(prefix) => {
                    if let Some(key) = scheduler.endpoint_key(prefix.endpoint_id) {
                        self.peers.insert_prefix(key, prefix.block_tokens, prefix.blocks);
                    }
                }
                SharedChange::Service(service) => self.peers.serve(service),
                _ => {}
            }
        }
    }

    /// Endpoints have joined or left: claims about new ones count now, and own loads on those that
    /// have left are no longer claimed.
    fn join(&mut self, now: Instant, scheduler: &mut Scheduler) {
        let keyed = |(id, _)| Some((scheduler.endpoint_key(id)?, id));
        let ids: BTreeMap<u64, EndpointId> = scheduler.endpoints().filter_map(keyed).collect();
        for key in self.ids.keys().filter(|key| !ids.contains_key(key)) {
            self.peers.set_load(*key, PeerLoad::default());
        }
        for (key, id) in &ids {
            if self.ids.get(key) != Some(id) {
                let load = self.peers.load(now, *key);
                let known = scheduler.handle_peer_load(now, *id, load);
                debug_assert!(known.is_ok(), "invariant: the scheduler has just listed it");
            }
        }
        self.ids = ids;
    }

    /// Gives the scheduler what peers have reported. Endpoints that it does not know yet are kept.
    fn deliver(&mut self, now: Instant, scheduler: &mut Scheduler) {
        while let Some(news) = self.peers.poll_news(now) {
            let delivered = match news {
                News::Service(service) => {
                    scheduler.handle_peer_service(now, &service);
                    None
                }
                News::Load { key, load } => {
                    self.ids.get(&key).map(|id| scheduler.handle_peer_load(now, *id, load))
                }
                News::Prefix { key, block_tokens, blocks } => self
                    .ids
                    .get(&key)
                    .map(|id| scheduler.handle_peer_prefix(now, *id, &blocks, block_tokens)),
            };
            debug_assert!(delivered.is_none_or(|it| it.is_ok()), "invariant: ids are up to date");
        }
    }
}
