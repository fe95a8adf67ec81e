//! How costs grow with the number of blocks that endpoints hold, from 10^4 to 10^8.
//!
//! Prompts follow from their numbers, so they are made anew for each contestant and none is kept.

use std::time::{Duration, Instant};

use slotwise::Rng;

use super::{events, lookup};
use crate::index::Entrant;
use crate::race::Effort;
use crate::rivals;
use crate::table::{Best, Table};
use crate::workload::{Event, Prompt};

/// Makes the tables.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let sizes: &[usize] =
        effort.choose(&[10_000, 100_000], &[10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]);
    for blocks in sizes {
        out(table(effort, *blocks));
    }
}

fn table(effort: &Effort, blocks: usize) -> Table {
    let prompts = blocks / LENGTH;
    let mut field = rivals::all(ENDPOINTS);
    for (at, entrant) in field.iter_mut().enumerate() {
        if at > 0 && blocks > MOST_TOGETHER {
            entrant.index = Err("not filled, for want of memory".to_owned());
            continue;
        }
        eprintln!("  scale: fills {} with {blocks} blocks", entrant.name);
        fill(entrant, prompts);
    }

    let title = format!("{blocks} blocks held by {ENDPOINTS} endpoints, prompts of {LENGTH}: ns");
    let mut table = Table::new("scale", title, field.iter().map(|entrant| entrant.name));
    for (name, first) in [("look up a known prompt", 0), ("look up an unknown prompt", prompts)] {
        let step = (prompts / QUESTIONS).max(1);
        let questions: Vec<_> = (0..QUESTIONS.min(prompts)).map(|at| prompt(first + at * step)).collect();
        for entrant in &mut field {
            if let Ok(index) = &mut entrant.index {
                index.prepare(&questions);
            }
        }
        let cells = lookup::find(effort, &mut field, questions.len(), true);
        table.row(name, Best::Lowest, cells);
    }
    events::race(effort, &mut field, EVENT_ROWS, &mut table, |round, play| {
        let slot = (round % u64::from(ENDPOINTS)) as u32;
        let mut rng = Rng::new(!round);
        let fresh: Vec<_> = (0..EVENTS).map(|_| Prompt::fresh(&mut rng, LENGTH)).collect();
        let backwards = events::backwards(&fresh);
        play(Some(0), &events::store(slot, &fresh));
        play(Some(1), &events::remove(slot, &backwards));
    });
    table.note("lookups: 16 MB of other data are read before each turn; events: ns a block");
    table
}

/// Stores all prompts, in portions that are dropped again.
fn fill(entrant: &mut Entrant, prompts: usize) {
    let start = Instant::now();
    for first in (0..prompts).step_by(PORTION) {
        let portion: Vec<_> = (first..prompts.min(first + PORTION)).map(prompt).collect();
        let stored = (first..).zip(&portion);
        let events = stored.map(|(at, prompt)| Event::whole(at as u32 % ENDPOINTS, prompt));
        entrant.fill(events, FILL.saturating_sub(start.elapsed()));
    }
}

/// The prompt with this number.
fn prompt(number: usize) -> Prompt {
    Prompt::fresh(&mut Rng::new(number as u64), LENGTH)
}

const EVENT_ROWS: &[&str] = &["store 128 new blocks, a block", "remove them, a block"];
const ENDPOINTS: u32 = 64;
/// Blocks of a prompt.
const LENGTH: usize = 128;
/// Prompts that are made at once.
const PORTION: usize = 256;
/// Prompts that are looked up.
const QUESTIONS: usize = 512;
/// Events of a row in a round.
const EVENTS: usize = 4;
/// Blocks up to which the indexes of all contestants fit in 24 GB together.
const MOST_TOGETHER: usize = 10_000_000;
/// Time to fill one index.
const FILL: Duration = Duration::from_secs(240);
