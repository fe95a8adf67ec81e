//! A holding in a snapshot.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use smallvec::SmallVec;

use super::span::{Held, Span};
use super::{Holding, Turn};
use crate::prefix::address::RunId;
use crate::prefix::block_state::State;
use crate::prefix::codec::{Reader, SnapshotError, Writer};
use crate::prefix::engine_names::EngineNames;
use crate::prefix::keyed_state::KeyedState;
use crate::prefix::runs::Runs;
use crate::prefix::warm::WarmWindow;
use crate::time::Instant;

impl Holding {
    /// Writes everything except derived sums, in the order of runs.
    pub(in crate::prefix) fn save(&self, writer: &mut Writer, now: Instant) {
        writer.u8(u8::from(self.is_precise()));
        writer.u64(self.uses.get());
        writer.u64(self.totals.warm.width());
        let mut runs: Vec<_> = self.runs.iter().collect();
        runs.sort_unstable_by_key(|held| held.run);
        writer.count(runs.len());
        for held in runs {
            writer.u32(held.run);
            writer.count(held.spans.len());
            for Span { from, to, state } in &held.spans {
                writer.u32(*from);
                writer.u32(*to);
                writer.u64(state.estimated.map_or(0, NonZeroU64::get));
                writer.u64(state.used);
                state.copies.iter().for_each(|copies| writer.u16(*copies));
                writer.u32(state.tokens);
                writer.u8(u8::from(state.computed));
                let age = state.bucket.and_then(|bucket| self.totals.warm.age(bucket, now));
                writer.u8(age.map_or(COLD, |age| age as u8));
            }
        }
        let turns = || self.queue.iter().filter(|turn| self.span_of(**turn).is_some());
        writer.count(turns().count());
        for Turn { number, run, order } in turns() {
            writer.u64(number.get());
            writer.u32(*run);
            writer.u8(*order as u8);
        }
        self.names.save(writer);
    }

    /// Reads the holding of an endpoint in `runs`.
    pub(in crate::prefix) fn load(
        reader: &mut Reader<'_>,
        hash_state: KeyedState,
        warm: WarmWindow,
        now: Instant,
        runs: &Runs,
    ) -> Result<Self, SnapshotError> {
        let precise = reader.u8()? != 0;
        let mut holding = Self::new(hash_state, warm, precise);
        holding.uses = NonZeroU64::new(reader.u64()?).ok_or_else(|| reader.damaged())?;
        let same_width = reader.u64()? == holding.totals.warm.width();
        for _ in 0..reader.count(4 + 8 + SPAN_BYTES)? {
            let run = reader.u32()?;
            let held = holding.load_run(reader, now, same_width, (run, runs.length(run)))?;
            holding.allocated += held.allocated();
            holding.count += held.spans.len();
            reader.require(holding.runs.get(run).is_none())?;
            holding.runs.insert(held);
        }
        for _ in 0..reader.count(TURN_BYTES)? {
            let number = NonZeroU64::new(reader.u64()?).ok_or_else(|| reader.damaged())?;
            let (run, order) = (reader.u32()?, reader.eviction_order()?);
            holding.queue.push_back(Turn { number, run, order });
        }
        holding.names = EngineNames::load(reader, hash_state)?;
        let stored = |address| holding.state(address).is_some_and(|state| state.stored());
        reader.require(holding.names.iter().all(|(_, address, _)| stored(address)))?;
        Ok(holding)
    }

    fn load_run(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        same_width: bool,
        (run, length): (RunId, u32),
    ) -> Result<Held, SnapshotError> {
        let mut held = Held { run, spans: SmallVec::new(), prefix: 0 };
        let count = reader.count(SPAN_BYTES)?;
        held.spans.reserve_exact(count);
        let mut end = 0;
        for _ in 0..count {
            let (from, to) = (reader.u32()?, reader.u32()?);
            reader.require(end <= from && from < to && to <= length)?;
            let (estimated, used) = (NonZeroU64::new(reader.u64()?), reader.u64()?);
            let copies = [reader.u16()?, reader.u16()?, reader.u16()?];
            let (tokens, computed, age) = (reader.u32()?, reader.u8()? != 0, reader.u8()?);
            let bucket =
                self.totals.warm.aged(now, u64::from(age)).filter(|_| same_width && age != COLD);
            let state = State { estimated, used, copies, tokens, computed, bucket };
            reader
                .require(state.is_held() && estimated.is_none_or(|number| number <= self.uses))?;
            reader.require(tokens <= MAX_BLOCK_TOKENS)?;
            self.totals.change(to - from, None, Some(state), false);
            if held.prefix == from {
                held.prefix = to;
            }
            match held.spans.last_mut() {
                Some(last) if last.to == from && last.state == state => last.to = to,
                _ => held.spans.push(Span { from, to, state }),
            }
            end = to;
        }
        reader.require(!held.spans.is_empty())?;
        Ok(held)
    }
}

/// Bytes of a span in a snapshot.
const SPAN_BYTES: usize = 4 + 4 + 8 + 8 + 6 + 4 + 1 + 1;
/// Bytes of a turn in a snapshot.
const TURN_BYTES: usize = 8 + 4 + 1;
/// Upper limit of tokens in a block, which keeps sums of tokens in range.
const MAX_BLOCK_TOKENS: u32 = 1 << 24;
/// The age of blocks that are not warm.
const COLD: u8 = u8::MAX;
