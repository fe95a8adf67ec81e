//! What the pool shares with other gateways: which loads of its own have changed, and theirs.

use super::peer_load::PeerLoad;
use super::{Pool, UnknownEndpoint};
use crate::endpoint::EndpointId;
use crate::time::Instant;

impl Pool {
    /// Notes endpoints whose load changes, from now on. All count as changed.
    pub(crate) fn share(&mut self) {
        self.shared = Some(self.iter().map(|slot| slot.id.slot).collect());
    }

    /// The next endpoint whose load has changed.
    pub(crate) fn poll_shared(&mut self) -> Option<EndpointId> {
        while let Some(slot) = self.shared.as_mut()?.pop_first() {
            if let Some(slot) = self.at(slot) {
                return Some(slot.id);
            }
        }
        None
    }

    /// Replaces the load that peers have on an endpoint.
    pub(crate) fn set_peers(
        &mut self,
        id: EndpointId,
        peers: PeerLoad,
        until: Instant,
        expected_output_tokens: f64,
    ) -> Result<(), UnknownEndpoint> {
        let slot = self.get_mut(id)?;
        slot.reports.set_peers(peers, &slot.in_flight, expected_output_tokens);
        slot.peer_backoff = until;
        self.rebound(id);
        Ok(())
    }
}
