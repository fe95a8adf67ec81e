//! What several gateways of one pool share: the load that each has in flight, and the prompts that
//! it has sent where.
//!
//! The scheduler notes what has changed and takes what peers report. Messages, their order and
//! their loss are the business of the gateway crate. Without peers, nothing here has an effect.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Scheduler;
use crate::endpoint::EndpointId;
use crate::pool::{PeerLoad, UnknownEndpoint};
use crate::prefix::{BlockHash, BlockUse};
use crate::time::Instant;

/// A change that peers should receive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SharedChange {
    /// This gateway's load on an endpoint has changed.
    Load(EndpointId),
    /// A prompt was sent to an endpoint, whose cache will hold its blocks; or a request that used
    /// them has ended there, and the cache keeps them until others are used later.
    Prefix(SharedPrefix),
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

/// Prompts that peers have not been sent yet, in the order of their dispatch.
#[derive(Debug)]
pub(super) struct SharedPrefixes {
    waiting: VecDeque<SharedPrefix>,
    /// The number of their blocks, and its limit.
    blocks: usize,
    limit: usize,
}

impl SharedPrefixes {
    /// Notes a prompt. The oldest ones make room for it.
    pub(super) fn note(&mut self, prefix: SharedPrefix) {
        if prefix.blocks.is_empty() || prefix.blocks.len() > self.limit {
            return;
        }
        self.blocks += prefix.blocks.len();
        self.waiting.push_back(prefix);
        while self.blocks > self.limit {
            let oldest = self.waiting.pop_front();
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
        self.shared =
            Some(SharedPrefixes { waiting: VecDeque::new(), blocks: 0, limit: max_blocks });
    }

    /// The next change since [`share_changes`](Self::share_changes); an endpoint whose load has
    /// changed several times comes up once. Computes in **O(log endpoints)**.
    pub fn poll_shared_change(&mut self) -> Option<SharedChange> {
        if let Some(endpoint) = self.fleet.pool.poll_shared() {
            return Some(SharedChange::Load(endpoint));
        }
        let prefixes = self.shared.as_mut()?;
        let prefix = prefixes.waiting.pop_front()?;
        prefixes.blocks -= prefix.blocks.len();
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
        self.fleet.pool.set_peers(id, load, now + load.backoff, self.fleet.mean_output.get())?;
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
        let slot = self.fleet.pool.get_mut(id)?;
        let fits = block_tokens == slot.layout.block_size.get();
        if !fits || blocks.is_empty() || self.fleet.prefixes.has_kv_events(id.slot) {
            return Ok(());
        }
        let used = BlockUse { stamp: slot.next_use(), block_tokens, now, computed: true };
        self.fleet.prefixes.record_use(id.slot, blocks, used);
        Ok(())
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
