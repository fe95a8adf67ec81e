//! Lookups of prepared prompts: 16 to 8,192 blocks; known as a whole, to the half, and not at all;
//! private or after a system prompt that every endpoint holds; in a large index, and in a small one
//! that is in the processor's cache.

use slotwise::Rng;

use crate::index::Entrant;
use crate::race::{Effort, Other, Samples, per, turn};
use crate::rivals;
use crate::table::{Best, Cell, Table};
use crate::workload::{Held, Population, Prompt};

/// Makes the tables.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let pools: &[u32] = effort.choose(&[64, 1_024, 65_000], &[8, 64, 1_024, 65_000]);
    for shared in [false, true] {
        for endpoints in pools {
            for cold in [true, false] {
                // A quick look leaves out what differs little from its neighbours.
                let skip = *endpoints > 1_024 && !(shared && cold);
                if !(effort.quick && skip) {
                    out(table(effort, *endpoints, shared, cold));
                }
            }
        }
    }
}

/// A prompt that is looked up, and the true answer.
struct Question {
    prompt: Prompt,
    known: usize,
    holders: [u32; 2],
    system: usize,
}

fn table(effort: &Effort, endpoints: u32, shared: bool, cold: bool) -> Table {
    let lengths: &[usize] = effort.choose(&[16, 128, 2_048, 8_192], &[16, 128, 512, 2_048, 8_192]);
    let blocks = if cold { effort.choose(300_000, 2_000_000) } else { 16_384 };
    let population = Population::new(endpoints, lengths, blocks, shared, 1);
    let mut field = rivals::all(endpoints);
    for entrant in &mut field {
        eprintln!("  lookup: fills {} with {endpoints} endpoints", entrant.name);
        entrant.fill(population.events(), effort.fill);
    }

    let kind = if shared { "after a system prompt on all" } else { "private, two holders" };
    let state = if cold { "long not asked for" } else { "asked for just before" };
    let title = format!("{endpoints} endpoints, {kind}, {blocks} blocks, {state}: ns a lookup");
    let mut table = Table::new("lookup", title, field.iter().map(|entrant| entrant.name));
    let mut rng = Rng::new(2);
    for (length, held) in lengths.iter().zip(&population.prompts) {
        for (hit, known) in [("full", *length), ("half", length / 2), ("miss", 0)] {
            let questions = questions(&mut rng, held, known);
            prepare(&mut field, &questions);
            check(&mut field, &questions, endpoints, &mut table);
            let cells = find(effort, &mut field, questions.len(), cold);
            let hit = if shared && known == 0 { "only the system prompt" } else { hit };
            table.row(format!("{length} blocks, {hit}"), Best::Lowest, cells);
        }
    }
    for (length, held) in lengths.iter().zip(&population.prompts).filter(|(length, _)| **length <= 2_048) {
        let questions = questions(&mut rng, held, *length);
        prepare(&mut field, &questions);
        if shared {
            let cells = expand(effort, &mut field, questions.len(), endpoints);
            table.row(
                format!("{length} blocks, full, every endpoint's depth written down"),
                Best::Lowest,
                cells,
            );
        } else if cold {
            let cells = serve(effort, &mut field, &questions);
            table.row(
                format!("{length} blocks, full, from tokens: hashed and looked up"),
                Best::Lowest,
                cells,
            );
        }
    }
    table.note(if cold {
        format!(
            "a sample is one lookup; two readings of the clock, {:.0} ns, are in it. Before each turn of {TURN} lookups of \
             different prompts, 16 MB of other data are read",
            clock()
        )
    } else {
        format!("a sample is the mean of {TURN} lookups of prompts that were looked up just before")
    });
    table.note(
        "in their answers, dynamo has a map and smg a list of all endpoints found; \
         slotwise and kv-index call back for each level or endpoint, and the count is kept",
    );
    table
}

/// Prompts of which the first `known` blocks are held, and none beyond them but the system prompt,
/// if there is one.
fn questions(rng: &mut Rng, held: &[Held], known: usize) -> Vec<Question> {
    // Each prompt once, from a random one on.
    let first = rng.below(held.len() as u64) as usize;
    (0..QUESTIONS.min(held.len()))
        .map(|at| {
            let held = &held[(first + at * STEP) % held.len()];
            let known = known.max(held.system);
            let prompt = held.prompt.branch(rng, known, held.prompt.blocks());
            Question { prompt, known, holders: held.holders, system: held.system }
        })
        .collect()
}

fn prepare(field: &mut [Entrant], questions: &[Question]) {
    let prompts: Vec<_> = questions.iter().map(|question| question.prompt.clone()).collect();
    for entrant in field {
        if let Ok(index) = &mut entrant.index {
            index.prepare(&prompts);
        }
    }
}

/// Whether the answers are right, for some of the questions; a wrong one becomes a note.
fn check(field: &mut [Entrant], questions: &[Question], endpoints: u32, table: &mut Table) {
    let mut depths = vec![0; endpoints as usize];
    for entrant in field {
        let Ok(index) = &mut entrant.index else { continue };
        for (at, question) in questions.iter().enumerate().take(CHECKED) {
            index.expand(at, &mut depths);
            let mut truth = vec![question.system as u32; endpoints as usize];
            for holder in question.holders {
                truth[holder as usize] = question.known as u32;
            }
            if depths != truth {
                table.note(format!("{} gave WRONG answers", entrant.name));
            }
        }
    }
}

/// Races lookups. Where the index is meant to be in the cache, prompts are looked up before that is
/// timed.
pub(super) fn find(effort: &Effort, field: &mut [Entrant], questions: usize, cold: bool) -> Vec<Cell> {
    let other = Other::default();
    let samples = effort.race(field.len(), |at, round, samples| {
        let Ok(index) = &mut field[at].index else { return };
        let length = TURN.min(questions);
        let places: Vec<usize> = (0..TURN).map(|i| (round * length + i) % questions).collect();
        if cold {
            other.read();
            turn(length, |i| samples.push(per(index.find(&places[i..=i]), 1)));
        } else {
            index.find(&places);
            turn(4, |_| samples.push(per(index.find(&places), TURN)));
        }
    });
    cells(field, samples)
}

/// Races lookups whose answer is wanted for every endpoint, whatever form the index gives it in.
fn expand(effort: &Effort, field: &mut [Entrant], questions: usize, endpoints: u32) -> Vec<Cell> {
    let (other, mut depths) = (Other::default(), vec![0; endpoints as usize]);
    let samples = effort.race(field.len(), |at, round, samples| {
        let Ok(index) = &mut field[at].index else { return };
        other.read();
        let length = TURN.min(questions);
        turn(length, |i| samples.push(per(index.expand((round * length + i) % questions, &mut depths), 1)));
    });
    cells(field, samples)
}

/// Races lookups that begin with token ids.
fn serve(effort: &Effort, field: &mut [Entrant], questions: &[Question]) -> Vec<Cell> {
    let other = Other::default();
    let samples = effort.race(field.len(), |at, round, samples| {
        let Ok(index) = &mut field[at].index else { return };
        other.read();
        let length = TURN.min(questions.len());
        let tokens = |i: usize| &questions[(round * length + i) % questions.len()].prompt.tokens;
        turn(length, |i| samples.push(per(index.serve(tokens(i)), 1)));
    });
    cells(field, samples)
}

/// Cells of samples, with each contestant's reason for having none.
pub(super) fn cells(field: &[Entrant], samples: Vec<Samples>) -> Vec<Cell> {
    let why = |entrant: &Entrant| entrant.index.as_ref().err().cloned().unwrap_or_default();
    samples.into_iter().zip(field).map(|(samples, entrant)| samples.cell(&why(entrant))).collect()
}

/// What two readings of the clock take, in nanoseconds.
fn clock() -> f64 {
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(std::time::Instant::now().elapsed());
    }
    // The loop reads it twice a turn, of which one half falls within a sample's two readings.
    per(start.elapsed(), 2_000)
}

/// Different prompts in a row.
const QUESTIONS: usize = 512;
/// Of which so many are compared with the truth.
const CHECKED: usize = 4;
/// From one of them to the next; a prime, so that all have their turn.
const STEP: usize = 10_007;
/// Lookups in a turn.
const TURN: usize = 16;
