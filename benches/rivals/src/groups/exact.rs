//! Whether the answers are right: random stores and removals on every index and on a naive twin,
//! which keeps a set of block names for each endpoint and counts from the first block on.

use std::collections::HashSet;

use slotwise::Rng;

use crate::race::Effort;
use crate::rivals;
use crate::table::{Best, Cell, Table};
use crate::workload::{Event, Prompt};

/// Makes the table.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let names: Vec<_> = rivals::all(1).into_iter().map(|entrant| entrant.name).collect();
    let operations = effort.choose(20_000, 200_000);
    let title =
        format!("{operations} random operations a row: endpoints with a wrong depth, per million answers");
    let mut table = Table::new("exact", title, names);
    for (kind, removal) in [
        ("the end of a prompt goes first", Removal::Tail),
        ("any block goes, and holes stay", Removal::Anywhere),
        ("any block goes, and comes back alone", Removal::AndBack),
    ] {
        for endpoints in [5, 64] {
            let tally = walk(effort, endpoints, operations, removal);
            for (name, wrong) in
                [("too much", Tally::above as fn(&Tally) -> u64), ("too little", |tally| tally.below)]
            {
                let cells =
                    tally.iter().map(|tally| Cell::value(wrong(tally) as f64 * 1e6 / tally.answers as f64));
                table.row(
                    format!("{endpoints} endpoints, {kind}: credited {name}"),
                    Best::Lowest,
                    cells.collect(),
                );
            }
            for (entrant, tally) in rivals::all(1).iter().zip(&tally).filter(|(_, tally)| tally.refused > 0) {
                table.note(format!(
                    "{} refused {} events: {endpoints} endpoints, {kind}",
                    entrant.name, tally.refused
                ));
            }
        }
    }
    table.note("the twin takes an engine at its word: after a hole is filled, what follows it counts again");
    table.note("dynamo's trees give up what follows a removed block, which counts as too little where the engine still has it");
    out(table);
}

/// Which blocks are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// The last ones of a prompt, as an LRU cache does.
    Tail,
    /// Any, and stores of whole prompts follow later.
    Anywhere,
    /// Any, and often just those are stored again.
    AndBack,
}

/// What one index got wrong.
#[derive(Clone, Copy, Default)]
struct Tally {
    answers: u64,
    above: u64,
    below: u64,
    refused: usize,
}

impl Tally {
    const fn above(&self) -> u64 {
        self.above
    }
}

fn walk(effort: &Effort, endpoints: u32, operations: usize, removal: Removal) -> Vec<Tally> {
    let mut rng = Rng::new(6);
    let prompts = forest(&mut rng);
    let mut field = rivals::all(endpoints);
    let mut tallies = vec![Tally::default(); field.len()];
    let mut twin: Vec<HashSet<u64>> = vec![HashSet::new(); endpoints as usize];
    let mut depths = vec![0; endpoints as usize];
    for operation in 0..operations {
        let slot = rng.below(u64::from(endpoints)) as u32;
        let held = &mut twin[slot as usize];
        let prompt = &prompts[rng.below(prompts.len() as u64) as usize];
        let depth = prompt.names.iter().take_while(|name| held.contains(name)).count();
        // What is held of this prompt behind a hole, and before one.
        let removed: Vec<u64>;
        let event = match rng.below(100) {
            0..50 => {
                // An engine stores behind what it holds, or all of a prompt anew.
                let from = if rng.below(2) == 0 { depth.min(prompt.blocks() - 1) } else { 0 };
                let to = from + 1 + rng.below((prompt.blocks() - from) as u64) as usize;
                Event::Store { slot, prompt, from, to }
            }
            50..65 if removal == Removal::AndBack => {
                // The first hole that has something behind it.
                let behind = prompt.names[depth..].iter().any(|name| held.contains(name));
                if !behind {
                    continue;
                }
                Event::Store { slot, prompt, from: depth, to: depth + 1 }
            }
            _ if removal == Removal::Tail => {
                // Only what nothing held follows, in any prompt: the last block of a branch, and so
                // on towards the root.
                let end = prompts.iter().filter(|other| shares(other, prompt, depth, held)).count();
                if depth == 0 || end > 0 {
                    continue;
                }
                removed = vec![prompt.names[depth - 1]];
                Event::Remove { slot, names: &removed }
            }
            _ => {
                let any = prompt.names.iter().copied().filter(|name| held.contains(name));
                removed = any.filter(|_| rng.below(6) == 0).collect();
                Event::Remove { slot, names: &removed }
            }
        };
        match event {
            Event::Store { prompt, from, to, .. } => held.extend(&prompt.names[from..to]),
            Event::Remove { names, .. } => held.retain(|name| !names.contains(name)),
        }
        for (entrant, tally) in field.iter_mut().zip(&mut tallies) {
            if let Ok(index) = &mut entrant.index {
                tally.refused += index.apply(&[event]).refused;
            }
        }
        if operation % effort.choose(16, 32) == 0 {
            let asked = &prompts[rng.below(prompts.len() as u64) as usize];
            let truth: Vec<u32> = twin
                .iter()
                .map(|held| asked.names.iter().take_while(|name| held.contains(name)).count() as u32)
                .collect();
            for (entrant, tally) in field.iter_mut().zip(&mut tallies) {
                let Ok(index) = &mut entrant.index else { continue };
                index.prepare(std::slice::from_ref(asked));
                index.expand(0, &mut depths);
                tally.answers += truth.len() as u64;
                tally.above +=
                    depths.iter().zip(&truth).filter(|(depth, truth)| depth > truth).count() as u64;
                tally.below +=
                    depths.iter().zip(&truth).filter(|(depth, truth)| depth < truth).count() as u64;
            }
        }
    }
    tallies
}

/// Whether the endpoint holds a block of `other` that follows the first `depth` blocks of `prompt`.
fn shares(other: &Prompt, prompt: &Prompt, depth: usize, held: &HashSet<u64>) -> bool {
    depth > 0
        && other.names.get(depth - 1) == Some(&prompt.names[depth - 1])
        && other.names.get(depth).is_some_and(|next| held.contains(next))
}

/// Prompts that branch off each other.
fn forest(rng: &mut Rng) -> Vec<Prompt> {
    let mut prompts: Vec<Prompt> = Vec::new();
    for at in 0..48 {
        let length = 4 + rng.below(44) as usize;
        let parent = prompts.get(rng.below(at.max(1)) as usize).filter(|_| at > 4);
        let prompt = match parent {
            Some(parent) => {
                let shared = 1 + rng.below(parent.blocks() as u64) as usize;
                parent.branch(rng, shared, shared.max(length) + 1)
            }
            None => Prompt::fresh(rng, length),
        };
        prompts.push(prompt);
    }
    prompts
}
