//! Holes: 256 endpoints hold a prompt of 512 blocks, and each lacks ten blocks somewhere in it.

use slotwise::Rng;

use super::lookup::cells;
use crate::race::{Effort, per, turn};
use crate::rivals;
use crate::table::{Best, Table};
use crate::workload::{Event, Prompt};

/// Makes the table.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let mut rng = Rng::new(5);
    let prompt = Prompt::fresh(&mut rng, BLOCKS);
    let holes: Vec<Vec<usize>> = (0..ENDPOINTS)
        .map(|_| {
            let mut holes: Vec<usize> =
                (0..HOLES).map(|_| 1 + rng.below(BLOCKS as u64 - 2) as usize).collect();
            holes.sort_unstable();
            holes.dedup();
            holes
        })
        .collect();
    let punch = (0..ENDPOINTS).zip(&holes).flat_map(|(slot, holes)| {
        let prompt = &prompt;
        holes.iter().map(move |at| Event::Remove { slot, names: &prompt.names[*at..=*at] })
    });
    let mut field = rivals::all(ENDPOINTS);
    for entrant in &mut field {
        let whole = (0..ENDPOINTS).map(|slot| Event::whole(slot, &prompt));
        entrant.fill(whole.chain(punch.clone()), effort.fill);
        if let Ok(index) = &mut entrant.index {
            index.prepare(&[prompt.clone(), prompt.branch(&mut rng, BLOCKS / 2, BLOCKS)]);
        }
    }

    let title =
        format!("{ENDPOINTS} endpoints hold {BLOCKS} blocks with {HOLES} holes each: ns an operation");
    let mut table = Table::new("fragmented", title, field.iter().map(|entrant| entrant.name));
    let mut depths = vec![0; ENDPOINTS as usize];
    let truth: Vec<u32> = holes.iter().map(|holes| holes[0] as u32).collect();
    for entrant in &mut field {
        let Ok(index) = &mut entrant.index else { continue };
        index.expand(0, &mut depths);
        let wrong = depths.iter().zip(&truth).filter(|(depth, truth)| depth != truth).count();
        table.note(format!("{} answers wrongly for {wrong} of {ENDPOINTS} endpoints", entrant.name));
    }
    for (place, name) in [(0, "lookup, all of the prompt"), (1, "lookup, half of it")] {
        let samples = effort.race(field.len(), |at, _, samples| {
            let Ok(index) = &mut field[at].index else { return };
            turn(16, |_| samples.push(per(index.find(&[place]), 1)));
        });
        table.row(name, Best::Lowest, cells(&field, samples));
    }
    let samples = effort.race(field.len(), |at, _, samples| {
        let Ok(index) = &mut field[at].index else { return };
        turn(16, |_| samples.push(per(index.expand(0, &mut depths), 1)));
    });
    table.row("lookup, every endpoint's depth written down", Best::Lowest, cells(&field, samples));

    let mut stored = vec![Default::default(); field.len()];
    let removed = effort.race(field.len(), |at, round, samples| {
        let Ok(index) = &mut field[at].index else { return };
        let mut rng = Rng::new(round as u64);
        // One more hole in each of sixteen endpoints, which is filled again.
        let first = rng.below(u64::from(ENDPOINTS) - 16) as u32;
        let cuts: Vec<(u32, usize)> = (first..first + 16)
            .filter_map(|slot| {
                let cut = 1 + rng.below(BLOCKS as u64 - 2) as usize;
                let holes = &holes[slot as usize];
                // Next to a hole it would not make another one.
                (!(cut - 1..=cut + 1).any(|at| holes.contains(&at))).then_some((slot, cut))
            })
            .collect();
        let cut = |(slot, at): &(u32, usize)| Event::Remove { slot: *slot, names: &prompt.names[*at..=*at] };
        let mend =
            |(slot, at): &(u32, usize)| Event::Store { slot: *slot, prompt: &prompt, from: *at, to: *at + 1 };
        samples.push(per(index.apply(&cuts.iter().map(cut).collect::<Vec<_>>()).took, cuts.len()));
        let mended = index.apply(&cuts.iter().map(mend).collect::<Vec<_>>()).took;
        let stored: &mut crate::race::Samples = &mut stored[at];
        stored.0.push(per(mended, cuts.len()));
    });
    table.row("one more hole", Best::Lowest, cells(&field, removed));
    table.row("that hole filled", Best::Lowest, cells(&field, stored));
    table.note("events: a sample is the mean of up to 16, each on another endpoint");
    table.note("dynamo gives up all that follows a hole, which is why its lookups end early and its events find less to do");
    out(table);
}

const ENDPOINTS: u32 = 256;
const BLOCKS: usize = 512;
const HOLES: usize = 10;
