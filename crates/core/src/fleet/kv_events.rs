//! Applies KV events, by which engines publish what their caches store and remove, to the prefix
//! index.

use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::Fleet;
use crate::endpoint::EndpointId;
use crate::pool::{BlockLayout, Slot};
use crate::prefix::{
    BlockHash, BlockStored, BlockUse, KvEvent, KvEventError, Namespace, StoreError,
};
use crate::time::Instant;

impl Fleet {
    /// Applies an event to the prefix index, or reports why it cannot be applied.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        id: EndpointId,
        event: KvEvent<'_>,
    ) -> Result<(), KvEventError> {
        self.pool.get(id).map_err(|unknown| KvEventError::UnknownEndpoint(unknown.0))?;
        match event {
            KvEvent::BlockStored(stored) => {
                let done = self.store(now, id, &stored);
                self.note_store(id, done);
                done?;
            }
            KvEvent::BlockRemoved(removed) => {
                self.prefixes.remove(id.slot, removed.blocks, removed.tier);
            }
            KvEvent::AllBlocksCleared => self.prefixes.clear(id.slot),
        }
        Ok(())
    }

    fn store(
        &mut self,
        now: Instant,
        id: EndpointId,
        stored: &BlockStored<'_>,
    ) -> Result<(), KvEventError> {
        let slot = self.pool.get(id).map_err(|unknown| KvEventError::UnknownEndpoint(unknown.0))?;
        let (_, holds) = self.prefixes.tokens(id.slot);
        let mut layout = slot.layout;
        if stored.tokens.is_some() {
            layout.any_model |= stored.model.is_none() && slot.endpoint.models.len() != 1;
            // Events are more exact than the metrics page or the host's description.
            if holds == 0 {
                layout.block_size = stored.block_size;
                layout.lookahead = u32::try_from(stored.lookahead.len()).unwrap_or(u32::MAX);
            }
        }
        let chain = self.chain_of(slot, layout, stored)?;
        let (before, block_tokens) = (slot.layout, stored.block_size.get());
        let used = BlockUse { stamp: slot.uses, block_tokens, now, computed: true };
        if layout != before && stored.parent.is_none() && self.prefixes.has_kv_events(id.slot) {
            // Earlier blocks were hashed for another layout.
            self.prefixes.clear(id.slot);
        }
        let BlockStored { parent, blocks, tier, .. } = *stored;
        self.prefixes.store(id.slot, parent, blocks, &chain, tier, used).map_err(
            |error| match (error, parent) {
                (StoreError::UnknownParent, Some(name)) => KvEventError::UnknownParent(name),
                _ => KvEventError::Full,
            },
        )?;
        if layout != before {
            self.pool
                .set_layout(id, layout)
                .map_err(|unknown| KvEventError::UnknownEndpoint(unknown.0))?;
        }
        Ok(())
    }

    /// Counts the result of a stored event. An endpoint with KV events that holds nothing because
    /// all are refused goes back to estimates: otherwise it would look empty for good.
    fn note_store(&mut self, id: EndpointId, done: Result<(), KvEventError>) {
        let Ok(slot) = self.pool.get_mut(id) else { return };
        slot.kv_feed.refusal = done.err();
        match done {
            Ok(()) => slot.kv_feed.stored += 1,
            Err(_) => {
                slot.kv_feed.refused += 1;
                if self.prefixes.has_kv_events(id.slot) && self.prefixes.tokens(id.slot) == (0, 0) {
                    self.prefixes.become_estimated(id.slot);
                }
            }
        }
    }

    /// Why the endpoint's KV events are not used, if the latest were refused.
    pub(crate) fn kv_refusal(&self, slot: &Slot) -> Option<&'static str> {
        let refusal =
            slot.kv_feed.refusal.filter(|_| !self.prefixes.has_kv_events(slot.id.slot))?;
        Some(refusal.code())
    }

    /// Our hashes of an engine's new blocks.
    fn chain_of(
        &self,
        slot: &Slot,
        layout: BlockLayout,
        stored: &BlockStored<'_>,
    ) -> Result<Vec<BlockHash>, KvEventError> {
        let parent = match stored.parent {
            Some(name) => Some(
                self.prefixes.named(slot.id.slot, name).ok_or(KvEventError::UnknownParent(name))?,
            ),
            None => None,
        };
        let Some(ids) = stored.tokens else {
            return Ok(stored.blocks.iter().map(|name| BlockHash(name.0)).collect());
        };
        let expected = stored.blocks.len().saturating_mul(stored.block_size.get() as usize);
        let ahead = layout.lookahead as usize;
        if ids.len() != expected || stored.lookahead.len() != ahead || ahead > ids.len() {
            let (expected, got) =
                (expected.saturating_add(ahead), ids.len() + stored.lookahead.len());
            return Err(KvEventError::TokenCount { expected, got });
        }
        let (expected, got): (NonZeroU32, NonZeroU32) = (layout.block_size, stored.block_size);
        if expected != got {
            return Err(KvEventError::BlockSize { expected, got });
        }
        let only = slot.endpoint.models.first().map_or("", String::as_str);
        let namespace = Namespace::new(layout.model(stored.model.unwrap_or(only)))
            .adapter(stored.adapter)
            .salt(stored.cache_salt);
        // The tokens that a hash covers beyond its block are the start of the next block.
        let (first, rest) = ids.split_at(ahead);
        let begin = || self.hasher.root_ahead(self.hasher.token_root(namespace), first);
        let root = parent.unwrap_or_else(begin);
        let mut chain = Vec::with_capacity(stored.blocks.len());
        if ahead == 0 {
            self.hasher.continue_tokens(root, ids, stored.block_size, &mut chain);
        } else {
            let shifted = [rest, stored.lookahead].concat();
            self.hasher.continue_tokens(root, &shifted, stored.block_size, &mut chain);
        }
        Ok(chain)
    }
}
