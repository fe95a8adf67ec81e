//! The invariants of a holding, for tests.

use super::Holding;
use super::span::{Held, Span};

impl Holding {
    /// Returns the first broken invariant.
    pub(in crate::prefix) fn check(&self) -> Result<(), &'static str> {
        let (mut estimated, mut stored, mut held, mut count) = ((0, 0), (0, 0), 0, 0);
        for entry in self.runs.iter() {
            let Held { spans, prefix, .. } = entry;
            let first = entry.stretches().next().filter(|(from, _)| *from == 0);
            if first.map_or(0, |(_, to)| to) != *prefix {
                return Err("the prefix is the first stretch");
            }
            let touching =
                |pair: &[Span]| pair[0].to == pair[1].from && pair[0].state == pair[1].state;
            if spans.is_empty()
                || spans.windows(2).any(|pair| pair[0].to > pair[1].from || touching(pair))
            {
                return Err("spans are in order, and as long as they can be");
            }
            count += spans.len();
            for Span { from, to, state } in spans {
                let (blocks, tokens) =
                    ((to - from) as usize, u64::from(to - from) * u64::from(state.tokens));
                held += blocks;
                if state.estimated.is_some() {
                    estimated = (estimated.0 + blocks, estimated.1 + tokens);
                }
                if state.stored() {
                    stored = (stored.0 + blocks, stored.1 + tokens);
                }
            }
        }
        if self.runs.iter().map(Held::allocated).sum::<usize>() != self.allocated {
            return Err("what spans have allocated is counted");
        }
        let totals = &self.totals;
        let sums = [(totals.estimated, estimated), (totals.stored, stored)];
        if held != totals.held
            || sums.iter().any(|(count, sum)| (count.blocks, count.tokens) != *sum)
        {
            return Err("the sums are the sums");
        }
        let turns = self.runs.iter().flat_map(|held| {
            let numbers = held.spans.iter().filter_map(|span| span.state.estimated);
            numbers.map(move |number| (number, held.run))
        });
        let queued =
            |(number, run)| self.queue.iter().any(|turn| turn.number == number && turn.run == run);
        if count == self.count && turns.into_iter().all(queued) {
            Ok(())
        } else {
            Err("what is estimated has a turn")
        }
    }
}
