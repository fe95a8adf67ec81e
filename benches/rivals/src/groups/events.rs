//! Events of engines: blocks stored and removed, 128 at a time and one at a time.
//!
//! A round stores the blocks that it removes, so that the contents are equal in all rounds.

use slotwise::Rng;

use super::lookup::cells;
use crate::index::Entrant;
use crate::race::{Effort, Samples, per};
use crate::rivals;
use crate::table::{Best, Table};
use crate::workload::{Event, Prompt};

/// Makes the tables.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    for blocks in [65_536, effort.choose(300_000, 2_000_000)] {
        out(table(effort, blocks));
    }
}

fn table(effort: &Effort, blocks: usize) -> Table {
    let mut rng = Rng::new(4);
    let held: Vec<Prompt> = (0..blocks / LONG).map(|_| Prompt::fresh(&mut rng, LONG)).collect();
    let mut field = rivals::all(ENDPOINTS);
    for entrant in &mut field {
        eprintln!("  events: fills {}", entrant.name);
        entrant.fill(held.iter().enumerate().map(|(at, prompt)| Event::whole(home(at), prompt)), effort.fill);
    }

    let title = format!("{blocks} blocks held by {ENDPOINTS} endpoints: ns a block");
    let mut table = Table::new("events", title, field.iter().map(|entrant| entrant.name));
    race(effort, &mut field, LONG_ROWS, &mut table, |round, play| long(&mut Rng::new(round), play));
    race(effort, &mut field, SHORT_ROWS, &mut table, |round, play| short(&mut Rng::new(round), &held, play));
    race(effort, &mut field, ANSWER_ROWS, &mut table, |round, play| answer(&mut Rng::new(round), play));
    table.note(
        "128 blocks: a sample is one event. 1 block: a sample is the mean of 16 events on different prompts",
    );
    table.note(
        "dynamo concurrent takes events only from a channel, so each of its events comes from another core",
    );
    table.note("a store with a parent finds the parent by the engine's name, in each index's own way");
    table.note("dynamo gives up what follows a removed block, so it stores and removes less in the rows of random places");
    table
}

/// Where a prompt is held.
const fn home(at: usize) -> u32 {
    at as u32 % ENDPOINTS
}

/// One step of a round: its row, if it is timed, and its samples, each some events.
pub(super) type Play<'a> = dyn FnMut(Option<usize>, &[Vec<Event<'_>>]) + 'a;

/// Lets the contestants play rounds. All of them get the same.
pub(super) fn race(
    effort: &Effort,
    field: &mut [Entrant],
    rows: &[&str],
    table: &mut Table,
    round_of: impl Fn(u64, &mut Play<'_>),
) {
    let mut samples = vec![vec![Samples::default(); field.len()]; rows.len()];
    let mut refused = vec![0; field.len()];
    let budget = Effort { row: effort.row * rows.len() as u32, ..*effort };
    budget.race(field.len(), |at, round, counted| {
        let Ok(index) = &mut field[at].index else { return };
        let warm_up = round == 0;
        round_of(round as u64, &mut |row, steps| {
            for events in steps {
                let applied = index.apply(events);
                refused[at] += applied.refused;
                if let Some(row) = row.filter(|_| !warm_up) {
                    let blocks = events.iter().map(Event::blocks).sum();
                    samples[row][at].0.push(per(applied.took, blocks));
                }
            }
        });
        counted.extend([0.0; STEP]);
    });
    for (row, samples) in rows.iter().zip(samples) {
        table.row(*row, Best::Lowest, cells(field, samples));
    }
    for (entrant, refused) in field.iter().zip(refused).filter(|(_, refused)| *refused > 0) {
        table.note(format!("{} refused {refused} events", entrant.name));
    }
}

const LONG_ROWS: &[&str] = &[
    "store 128, new",
    "store 128, a second endpoint",
    "store 128, known here already",
    "remove 128, another endpoint holds them",
    "store 128, half of them known elsewhere",
    "remove 128, held by no other endpoint",
];

/// Events of 128 blocks.
fn long(rng: &mut Rng, play: &mut Play<'_>) {
    let slot = rng.below(u64::from(ENDPOINTS)) as u32;
    let other = (slot + 1) % ENDPOINTS;
    let fresh: Vec<Prompt> = (0..STEP).map(|_| Prompt::fresh(rng, LONG)).collect();
    let halves: Vec<Prompt> = fresh.iter().map(|prompt| prompt.branch(rng, LONG / 2, LONG)).collect();
    let (fresh_names, half_names) = (backwards(&fresh), backwards(&halves));
    play(Some(0), &store(slot, &fresh));
    play(Some(1), &store(other, &fresh));
    play(Some(2), &store(slot, &fresh));
    play(Some(3), &remove(other, &fresh_names));
    play(Some(4), &store(other, &halves));
    play(None, &remove(other, &half_names));
    play(Some(5), &remove(slot, &fresh_names));
}

/// The names of prompts in the order of their eviction: a cache gives up the end of a prompt first.
pub(super) fn backwards(prompts: &[Prompt]) -> Vec<Vec<u64>> {
    prompts.iter().map(|prompt| prompt.names.iter().rev().copied().collect()).collect()
}

/// An event for each prompt.
pub(super) fn store(slot: u32, prompts: &[Prompt]) -> Vec<Vec<Event<'_>>> {
    prompts.iter().map(|prompt| vec![Event::whole(slot, prompt)]).collect()
}

/// An event for each prompt's names.
pub(super) fn remove(slot: u32, names: &[Vec<u64>]) -> Vec<Vec<Event<'_>>> {
    names.iter().map(|names| vec![Event::Remove { slot, names }]).collect()
}

const SHORT_ROWS: &[&str] = &[
    "store 1, new",
    "store 1, a second endpoint",
    "store 1, known here already",
    "store 1, decode: at the end of a prompt",
    "remove 1, the end of a prompt",
    "remove 1, at a random place in a prompt",
    "store 1, into that place again",
];

/// Events of one block.
fn short(rng: &mut Rng, held: &[Prompt], play: &mut Play<'_>) {
    let slot = rng.below(u64::from(ENDPOINTS)) as u32;
    let other = (slot + 1) % ENDPOINTS;
    let fresh: Vec<Prompt> = (0..BATCH).map(|_| Prompt::fresh(rng, 1)).collect();
    let store = |slot| vec![fresh.iter().map(|prompt| Event::whole(slot, prompt)).collect::<Vec<_>>()];
    play(Some(0), &store(slot));
    play(Some(1), &store(other));
    play(Some(2), &store(slot));
    let remove = |slot| fresh.iter().map(move |prompt| Event::Remove { slot, names: &prompt.names });
    play(None, &[remove(slot).chain(remove(other)).collect()]);

    let mut places: Vec<usize> = (0..BATCH).map(|_| rng.below(held.len() as u64) as usize).collect();
    places.sort_unstable();
    places.dedup();
    let end = LONG + DECODED;
    let longer: Vec<Prompt> = places.iter().map(|at| held[*at].branch(rng, LONG, end)).collect();
    let grown = || places.iter().map(|at| home(*at)).zip(&longer);
    // All of them grow by a block, then by the next one; and shrink again.
    let decode = |from: usize| -> Vec<Event<'_>> {
        grown().map(|(slot, prompt)| Event::Store { slot, prompt, from, to: from + 1 }).collect()
    };
    let shrink = |at: usize| -> Vec<Event<'_>> {
        grown().map(|(slot, prompt)| Event::Remove { slot, names: &prompt.names[at..=at] }).collect()
    };
    play(Some(3), &(LONG..end).map(decode).collect::<Vec<_>>());
    play(Some(4), &(LONG..end).rev().map(shrink).collect::<Vec<_>>());

    let cuts: Vec<(usize, usize)> = places.iter().map(|at| (*at, rng.below(LONG as u64) as usize)).collect();
    let cut =
        |(at, cut): &(usize, usize)| Event::Remove { slot: home(*at), names: &held[*at].names[*cut..=*cut] };
    let mend = |(at, cut): &(usize, usize)| Event::Store {
        slot: home(*at),
        prompt: &held[*at],
        from: *cut,
        to: *cut + 1,
    };
    play(Some(5), &[cuts.iter().map(cut).collect()]);
    play(Some(6), &[cuts.iter().map(mend).collect()]);
    // For those that gave up the rest of the prompt.
    play(None, &[places.iter().map(|at| Event::whole(home(*at), &held[*at])).collect()]);
}

const ANSWER_ROWS: &[&str] = &[
    "store 1, decode: a long answer, block by block",
    "remove 1, that answer from its end",
    "remove 128, such an answer from its end",
];

/// A prompt of 128 blocks whose answer has 1,024, block by block.
fn answer(rng: &mut Rng, play: &mut Play<'_>) {
    let slot = rng.below(u64::from(ENDPOINTS)) as u32;
    let end = LONG + ANSWER;
    let prompt = Prompt::fresh(rng, end);
    let backwards: Vec<u64> = prompt.names.iter().rev().copied().collect();
    let grow = |from: usize| Event::Store { slot, prompt: &prompt, from, to: from + 1 };
    let grown: Vec<Vec<Event<'_>>> =
        (LONG..end).step_by(BATCH).map(|from| (from..from + BATCH).map(grow).collect()).collect();
    let remove = |names| Event::Remove { slot, names };
    let answer = &backwards[..ANSWER];
    let shrunk: Vec<Vec<Event<'_>>> =
        answer.chunks(BATCH).map(|names| names.chunks(1).map(remove).collect()).collect();
    let rest = [vec![remove(&backwards[ANSWER..])]];
    let whole = [vec![Event::Store { slot, prompt: &prompt, from: 0, to: LONG }]];
    play(None, &whole);
    play(Some(0), &grown);
    play(Some(1), &shrunk);
    play(None, &rest);
    // Once more, and it goes by many blocks at once.
    play(None, &whole);
    play(None, &grown);
    play(Some(2), &answer.chunks(LONG).map(|names| vec![remove(names)]).collect::<Vec<_>>());
    play(None, &rest);
}

const ENDPOINTS: u32 = 64;
/// Blocks of a long prompt.
const LONG: usize = 128;
/// Samples of each row in a round.
const STEP: usize = 4;
/// Blocks by which a prompt grows.
const DECODED: usize = 8;
/// Blocks of a long answer.
const ANSWER: usize = 1_024;
/// Events in a sample of single blocks.
const BATCH: usize = 16;
