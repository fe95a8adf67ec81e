//! Saves and restores the contents of the endpoints' caches, for a restart of the gateway.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::Scheduler;
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::cache;
use crate::pool::BlockLayout;
use crate::prefix::SnapshotError;
use crate::prefix::codec::{Kind, Reader, Writer};
use crate::time::Instant;

impl Scheduler {
    /// The cached blocks of all endpoints, as bytes. Loads, speeds and requests in flight are not
    /// included. Equal schedulers give equal bytes, in every language and on every platform.
    /// Computes in **O(cached blocks)**, near the speed of a copy.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.count(self.fleet.pool.iter().count());
        for slot in self.fleet.pool.iter() {
            writer.u32(slot.id.slot);
            writer.u64(slot.uses);
            writer.u32(slot.endpoint.block_size.get());
            writer.u32(slot.layout.block_size.get());
            writer.u8(u8::from(slot.layout.any_model));
            writer.u32(slot.layout.lookahead);
            writer.text(&slot.endpoint.name);
        }
        self.fleet.prefixes.save(&mut writer, self.fleet.now);
        writer.seal(Kind::Scheduler, self.fleet.prefixes.hash_state())
    }

    /// Restores the cached blocks of endpoints whose name and block size are those of the snapshot,
    /// and returns their number. Add the endpoints first. If an engine has restarted too, remove
    /// its endpoint and add it again afterwards.
    ///
    /// Later changes are corrected as usual: by KV events, or by reports of fewer cached tokens
    /// than predicted. Computes in **O(cached blocks)**.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, SnapshotError};
    ///
    /// let pool = || {
    ///     let mut scheduler = Scheduler::builder().seed(7).build().expect("valid");
    ///     for name in ["a", "b"] {
    ///         scheduler.add_endpoint(Instant::ORIGIN, Endpoint::new(name)).expect("names differ");
    ///     }
    ///     scheduler
    /// };
    /// let history = "You are a helpful assistant. ".repeat(100);
    /// let request = Request::new("llama").text(&history);
    /// let mut before = pool();
    /// let first = before.pick(Instant::ORIGIN, &request).expect("idle");
    ///
    /// let mut after = pool();
    /// assert_eq!(after.restore(Instant::ORIGIN, &before.snapshot())?, 2);
    /// let second = after.pick(Instant::ORIGIN, &request).expect("idle");
    /// assert_eq!(second.endpoint_id, first.endpoint_id);
    /// assert!(second.cached_tokens > 600);
    /// # Ok::<(), SnapshotError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the bytes are no snapshot, if it was taken with another seed, if it exceeds the limits of
    /// the index, or if this scheduler has dispatched requests. Nothing changes then.
    pub fn restore(&mut self, now: Instant, snapshot: &[u8]) -> Result<usize, SnapshotError> {
        let now = self.advance(now);
        if self.next_request > 1 {
            return Err(SnapshotError::Busy);
        }
        let mut reader = Reader::open(snapshot, Kind::Scheduler, self.fleet.prefixes.hash_state())?;
        let mut found: BTreeMap<u32, (EndpointId, u64, BlockLayout)> = BTreeMap::new();
        for _ in 0..reader.count(ENDPOINT_BYTES)? {
            let (slot, uses, described) = (reader.u32()?, reader.u64()?, reader.u32()?);
            let (shown, any_model) = (NonZeroU32::new(reader.u32()?), reader.u8()? != 0);
            let (lookahead, name) = (reader.u32()?, reader.text()?);
            reader.require(shown.is_some())?;
            let Some(block_size) = shown else { continue };
            let same = |id: &EndpointId| {
                self.fleet.pool.get(*id).is_ok_and(|slot| {
                    let Endpoint { block_size, models, .. } = &slot.endpoint;
                    block_size.get() == described && !(any_model && models.len() == 1)
                })
            };
            let layout = BlockLayout { block_size, any_model, lookahead };
            found.extend(
                self.fleet.pool.named(name).filter(same).map(|id| (slot, (id, uses, layout))),
            );
        }
        let mut prefixes = self.fleet.prefixes.emptied();
        prefixes.load(&mut reader, now, |slot| found.get(&slot).map(|(id, ..)| id.slot))?;
        reader.end()?;

        for (id, uses, layout) in found.values() {
            if let Ok(slot) = self.fleet.pool.get_mut(*id) {
                slot.uses = slot.uses.max(*uses);
            }
            let laid_out = self.fleet.pool.set_layout(*id, *layout);
            debug_assert_eq!(laid_out, Ok(()), "invariant: what was found is in the pool");
        }
        for slot in self.fleet.pool.iter() {
            if prefixes.is_member(slot.id.slot) {
                prefixes.resize(slot.id.slot, cache(slot));
            } else {
                let joined = prefixes.join(slot.id.slot, cache(slot));
                debug_assert_eq!(
                    joined,
                    Ok(()),
                    "invariant: the index has a slot for every endpoint"
                );
            }
        }
        self.fleet.prefixes = prefixes;
        Ok(found.len())
    }
}

/// The least bytes of an endpoint.
const ENDPOINT_BYTES: usize = 4 + 8 + 4 + 4 + 1 + 4 + 8;
