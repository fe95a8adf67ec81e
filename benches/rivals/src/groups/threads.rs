//! Two threads: one applies events without pause, the other looks prompts up.
//!
//! An index that has no lookup for a second thread stands behind a lock of the standard library, taken for each event
//! and for each lookup.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use slotwise::Rng;

use crate::index::Index;
use crate::race::{Effort, Samples, per};
use crate::rivals::{Chain, Concurrent, Positional, Slotwise, SmgRadix};
use crate::table::{Best, Cell, Table};
use crate::workload::{Event, Held, Population, Prompt};

/// Makes the table.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let names = [
        "slotwise, RwLock",
        "dynamo radix",
        "dynamo concurrent",
        "dynamo positional",
        "kv-index chain",
        "smg-radix-tree, RwLock",
    ];
    let mut table = Table::new("threads", "one writer, one reader, 64 endpoints, 128-block events", names);
    let shapes: &[(usize, bool)] = effort.choose(&[(512, false)], &[(128, false), (512, false), (512, true)]);
    for (length, shared) in shapes {
        let population = Population::new(ENDPOINTS, &[*length], effort.choose(200_000, 500_000), *shared, 8);
        let mut pairs = [
            Some(locked::<Slotwise>(&population)),
            None,
            Some(open::<Concurrent>(&population)),
            Some(open::<Positional>(&population)),
            Some(open::<Chain>(&population)),
            Some(locked::<SmgRadix>(&population)),
        ];
        let mut alone = vec![Samples::default(); pairs.len()];
        let mut beside = alone.clone();
        let mut writes = vec![Vec::new(); pairs.len()];
        for round in 0..effort.choose(3, 8) {
            let mut rng = Rng::new(9 + round);
            let fresh: Vec<Prompt> = (0..FRESH).map(|_| Prompt::fresh(&mut rng, 128)).collect();
            for (at, pair) in pairs.iter_mut().enumerate() {
                let Some((reader, writer)) = pair else { continue };
                let start = Instant::now();
                read(reader, || start.elapsed() > Duration::from_millis(50), &mut alone[at]);
                let mut write = writer(&fresh);
                let written = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let writing = scope.spawn(|| {
                        let took = write();
                        written.store(true, Ordering::Relaxed);
                        took
                    });
                    read(reader, || written.load(Ordering::Relaxed), &mut beside[at]);
                    let took = writing.join().expect("writers do not panic");
                    writes[at].push((2 * FRESH * 128) as f64 / took.as_secs_f64());
                });
            }
        }
        let kind = if *shared { "system prompt on all" } else { "private" };
        let cells =
            |samples: Vec<Samples>| samples.into_iter().map(|samples| samples.cell(WHY_NOT)).collect();
        let long = beside.iter().map(|samples| match samples.0.len() {
            0 => Cell::Absent(WHY_NOT.to_owned()),
            _ => Cell::value(part(&samples.0, 0.999)),
        });
        let long = long.collect();
        table.row(format!("{length} blocks, {kind}: lookup, no writer, ns"), Best::Lowest, cells(alone));
        table.row(
            format!("{length} blocks, {kind}: lookup beside a writer, ns"),
            Best::Lowest,
            cells(beside),
        );
        table.row(format!("{length} blocks, {kind}: the same, 99.9th percentile, ns"), Best::Lowest, long);
        let writes = writes.into_iter().map(|rates| match rates.is_empty() {
            true => Cell::Absent(WHY_NOT.to_owned()),
            false => Cell::value(part(&rates, 0.5)),
        });
        table.row(
            format!("{length} blocks, {kind}: written beside a reader, blocks/s"),
            Best::Highest,
            writes.collect(),
        );
    }
    table.note(format!(
        "the writer stores {FRESH} new prompts and removes them again; preparing them is not in the rate"
    ));
    table.note("two threads on a machine with two shared cores: read the far percentiles with care");
    out(table);
}

/// Looks a prompt up by its place.
type Read = Box<dyn FnMut(usize) -> usize + Send>;
/// Prepares to store prompts and to remove them again. The result does that once; the time that it took.
type Prepare = Box<dyn FnMut(&[Prompt]) -> Box<dyn FnMut() -> Duration + Send>>;

/// An index with a lookup of its own for other threads.
fn open<I: Index<Query: Send, Event: Send> + Send + 'static>(population: &Population) -> (Read, Prepare) {
    let index = filled::<I>(population);
    let mut reader = index.reader().expect("it has one");
    let queries = queries(&index, population);
    let index = Arc::new(Mutex::new(index));
    let read = move |at: usize| reader(&mut queries[at % QUERIES].clone());
    let prepare = move |fresh: &[Prompt]| -> Box<dyn FnMut() -> Duration + Send> {
        let mut events = events(&*index.lock().expect("writers do not panic"), fresh);
        let index = Arc::clone(&index);
        // Only the writer takes this lock, and once.
        Box::new(move || index.lock().expect("writers do not panic").apply(std::mem::take(&mut events)).took)
    };
    (Box::new(read), Box::new(prepare))
}

/// An index behind a lock.
fn locked<I: Index<Query: Send, Event: Send, Scratch: Send> + Send + Sync + 'static>(
    population: &Population,
) -> (Read, Prepare) {
    let index = filled::<I>(population);
    let queries = queries(&index, population);
    let index = Arc::new(RwLock::new(index));
    let shared = Arc::clone(&index);
    let mut scratch = I::Scratch::default();
    let read = move |at: usize| {
        let mut query = queries[at % QUERIES].clone();
        shared.read().expect("writers do not panic").find(&mut query, &mut scratch)
    };
    let prepare = move |fresh: &[Prompt]| -> Box<dyn FnMut() -> Duration + Send> {
        let mut events: Vec<_> = events(&*index.read().expect("writers do not panic"), fresh)
            .into_iter()
            .map(|event| vec![event])
            .collect();
        let index = Arc::clone(&index);
        Box::new(move || {
            let start = Instant::now();
            for event in std::mem::take(&mut events) {
                index.write().expect("readers do not panic").apply(event);
            }
            start.elapsed()
        })
    };
    (Box::new(read), Box::new(prepare))
}

fn filled<I: Index>(population: &Population) -> I {
    eprintln!("  threads: fills {}", I::NAME);
    let mut index = I::new(ENDPOINTS);
    let events: Vec<_> = population.events().collect();
    for portion in events.chunks(256) {
        let prepared = portion.iter().map(|event| index.event(event)).collect();
        index.apply(prepared);
    }
    index
}

fn queries<I: Index>(index: &I, population: &Population) -> Vec<I::Query> {
    let held: &[Held] = &population.prompts[0];
    (0..QUERIES).map(|at| index.query(&held[at * 7 % held.len()].prompt.tokens)).collect()
}

/// Stores all of `fresh`, and removes them again.
fn events<I: Index>(index: &I, fresh: &[Prompt]) -> Vec<I::Event> {
    let store = fresh.iter().zip(0..).map(|(prompt, at)| Event::whole(at % ENDPOINTS, prompt));
    let remove = fresh
        .iter()
        .zip(0..)
        .map(|(prompt, at)| Event::Remove { slot: at % ENDPOINTS, names: &prompt.names });
    store.chain(remove).map(|event| index.event(&event)).collect()
}

fn read(reader: &mut Read, over: impl Fn() -> bool, samples: &mut Samples) {
    for at in 0.. {
        let before = Instant::now();
        std::hint::black_box(reader(at));
        samples.0.push(per(before.elapsed(), 1));
        if over() {
            break;
        }
    }
}

fn part(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

const WHY_NOT: &str = "it cannot be sent to another thread";
const ENDPOINTS: u32 = 64;
const QUERIES: usize = 64;
/// Prompts that a writer stores and removes.
const FRESH: usize = 1_024;
