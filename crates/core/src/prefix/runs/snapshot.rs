//! Runs in a snapshot.

use super::run::Run;
use super::{MAX_RUN, Runs};
use crate::prefix::address::{Coverage, Hint, RunId};
use crate::prefix::codec::{Reader, SnapshotError, Writer};
use crate::prefix::event::EngineHash;
use crate::prefix::hash::BlockHash;
use crate::prefix::keyed_state::KeyedState;

impl Runs {
    /// Writes the blocks and their names; the holders follow from the holdings.
    pub(in crate::prefix) fn save(&self, writer: &mut Writer) {
        self.heads.save(writer);
        self.names.save(writer);
        writer.count(self.slab.len());
        for run in self.slab.iter() {
            writer.u32(run.blocks.len() as u32);
            writer.u8(u8::from(!run.names.is_empty()));
            writer.column(&run.blocks, |hash| [hash.0]);
            writer.column(&run.names, |name| [name.0]);
        }
    }

    /// Reads runs without holders. The caller adds the holders, and then [trims](Self::trim_all)
    /// the rest.
    pub(in crate::prefix) fn load(
        reader: &mut Reader<'_>,
        hash_state: KeyedState,
    ) -> Result<Self, SnapshotError> {
        let mut runs = Self::new(hash_state);
        runs.heads.load(reader)?;
        runs.names.load(reader)?;
        let count = reader.count(RUN_BYTES)?;
        let in_slab = |run: RunId| (run as usize) < count;
        let near_slab = |hint| Hint(hint).runs().next().is_some_and(|run| (run as usize) < count);
        reader.require(runs.heads.iter().all(in_slab) && runs.names.iter().all(near_slab))?;
        for id in 0..count as RunId {
            let (length, named) = (reader.u32()? as usize, reader.u8()? != 0);
            reader.require(length <= MAX_RUN && (length > 0 || !named))?;
            let mut run = Run::new();
            run.blocks = reader.column(length, |[hash]| BlockHash(hash))?;
            run.names = reader.column(if named { length } else { 0 }, |[name]| EngineHash(name))?;
            match (run.blocks.first(), run.blocks.last()) {
                (Some(first), Some(last)) => (run.first, run.last) = (*first, *last),
                _ => runs.free.push(id),
            }
            runs.allocated += run.allocated();
            runs.slab.push(run);
        }
        runs.heads.fill_all(&runs.slab);
        Ok(runs)
    }

    /// Records what an endpoint holds that held nothing before.
    pub(in crate::prefix) fn settle_all(
        &mut self,
        slot: u32,
        held: impl Iterator<Item = (RunId, Coverage)>,
    ) {
        held.for_each(|(run, coverage)| self.settle(run, slot, Coverage::default(), coverage));
    }

    /// Removes blocks without holders from all runs.
    pub(in crate::prefix) fn trim_all(&mut self) {
        for id in 0..self.slab.len() as RunId {
            // Freeing the last run also frees the slab.
            let Some(run) = self.slab.get(id) else { return };
            let end = run.parts.end() as usize;
            if end < run.blocks.len() {
                self.trim(id, end);
            }
        }
    }
}

/// The least bytes of a run in a snapshot.
const RUN_BYTES: usize = 5;
