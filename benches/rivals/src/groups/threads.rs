//! Two threads: one applies events without pause, the other looks prompts up.
//!
//! An index that has no lookup for a second thread stands behind a lock of the standard library,
//! taken for each event and for each lookup.
//!
//! A reader that asks again at once rarely finds the lock taken: after its first lookup it is the
//! writer who waits. So there is another one, which asks every 15 us, as requests come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use slotwise::Rng;

use crate::index::Index;
use crate::race::{Effort, Samples, per};
use crate::rivals::{
    Chain, Concurrent, Positional, Prepared, Slotwise, SlotwiseMirrored, SlotwiseShared, SmgRadix,
};
use crate::table::{Best, Cell, Table};
use crate::workload::{Event, Held, Population, Prompt};

/// Makes the tables.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let names = [
        "slotwise, shared",
        "slotwise, mirrored",
        "slotwise, RwLock",
        "dynamo radix",
        "dynamo concurrent",
        "dynamo positional",
        "kv-index chain",
        "smg-radix-tree, RwLock",
    ];
    let mut table = Table::new("threads", "one writer, one reader, 64 endpoints", names);
    let shapes: &[(usize, bool, usize)] = effort.choose(
        &[(512, false, 128), (512, false, 2_048)],
        &[(128, false, 128), (512, false, 128), (512, true, 128), (512, false, 2_048)],
    );
    for (length, shared, written) in shapes {
        let population = population(effort, *length, *shared);
        let pairs = [
            Some(open::<SlotwiseShared>(&population, events)),
            Some(open::<SlotwiseMirrored>(&population, events)),
            Some(locked::<Slotwise>(&population, events)),
            None,
            Some(open::<Concurrent>(&population, events)),
            Some(open::<Positional>(&population, events)),
            Some(open::<Chain>(&population, events)),
            Some(locked::<SmgRadix>(&population, events)),
        ];
        let kind = if *shared { "system prompt on all" } else { "private" };
        rows(
            &mut table,
            &format!("{length} blocks, {kind}, {written}-block events"),
            effort,
            pairs,
            *written,
        );
    }
    table.note(format!(
        "the writer stores {FRESH} new blocks and removes them again; preparing them is not in the rate"
    ));
    table.note(MIRRORED);
    table.note(
        "each thread has a core; where others use them too, the far percentiles are those of the machine",
    );
    out(table);

    let names = ["slotwise, shared", "slotwise, mirrored", "slotwise, RwLock"];
    let mut table =
        Table::new("clears", "one writer, one reader, 64 endpoints, of which one is cleared", names);
    let population = population(effort, 512, false);
    let pairs = [
        Some(open::<SlotwiseShared>(&population, refill)),
        Some(open::<SlotwiseMirrored>(&population, refill)),
        Some(locked::<Slotwise>(&population, refill)),
    ];
    rows(&mut table, "512 blocks", effort, pairs, 128);
    table.note(MIRRORED);
    table.note(format!("the writer stores {FRESH} new blocks on one endpoint and clears that"));
    out(table);
}

/// Races the pairs, the writers with prompts of so many blocks, and adds what came of it to the
/// table.
fn rows<const N: usize>(
    table: &mut Table,
    what: &str,
    effort: &Effort,
    mut pairs: [Option<(Read, Prepare)>; N],
    written: usize,
) {
    let mut alone = vec![Samples::default(); N];
    let mut beside = alone.clone();
    let mut paced = alone.clone();
    let mut writes = vec![Vec::new(); N];
    for round in 0..effort.choose(3, 8) {
        let mut rng = Rng::new(9 + round);
        let fresh: Vec<Prompt> = (0..FRESH / written).map(|_| Prompt::fresh(&mut rng, written)).collect();
        for (at, pair) in pairs.iter_mut().enumerate() {
            let Some((reader, writer)) = pair else { continue };
            let start = Instant::now();
            read(reader, Duration::ZERO, || start.elapsed() > Duration::from_millis(50), &mut alone[at]);
            for (pace, samples) in [(Duration::ZERO, &mut beside[at]), (PACE, &mut paced[at])] {
                let mut write = writer(&fresh);
                let over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let writing = scope.spawn(|| {
                        stay(1);
                        let took = write();
                        over.store(true, Ordering::Relaxed);
                        took
                    });
                    scope.spawn(|| {
                        stay(0);
                        read(reader, pace, || over.load(Ordering::Relaxed), samples);
                    });
                    let took = writing.join().expect("writers do not panic");
                    writes[at].push((2 * FRESH) as f64 / took.as_secs_f64());
                });
            }
        }
    }
    let cells = |samples: &[Samples]| samples.iter().map(|samples| samples.clone().cell(WHY_NOT)).collect();
    let one = |values: &[f64], at: f64| match values.is_empty() {
        true => Cell::Absent(WHY_NOT.to_owned()),
        false => Cell::value(part(values, at)),
    };
    let long = paced.iter().map(|samples| one(&samples.0, 0.999)).collect();
    let rates = writes.iter().map(|rates| one(rates, 0.5)).collect();
    table.row(format!("{what}: lookup, no writer, ns"), Best::Lowest, cells(&alone));
    table.row(format!("{what}: lookup beside a writer, ns"), Best::Lowest, cells(&beside));
    table.row(format!("{what}: the same, one every 15 us, ns"), Best::Lowest, cells(&paced));
    table.row(format!("{what}: the same, 99.9th percentile, ns"), Best::Lowest, long);
    table.row(format!("{what}: written beside a reader, blocks/s"), Best::Highest, rates);
}

fn population(effort: &Effort, length: usize, shared: bool) -> Population {
    Population::new(ENDPOINTS, &[length], effort.choose(200_000, 500_000), shared, 8)
}

/// Looks a prompt up by its place.
type Read = Box<dyn FnMut(usize) -> usize + Send>;
/// Prepares to store prompts and to remove them again. The result does that once; the time that it
/// took.
type Prepare = Box<dyn FnMut(&[Prompt]) -> Box<dyn FnMut() -> Duration + Send>>;

/// What a writer does with prompts.
type Events<I> = fn(&I, &[Prompt]) -> Vec<<I as Index>::Event>;

/// An index with a lookup of its own for other threads.
fn open<I: Index<Query: Send, Event: Send> + Send + 'static>(
    population: &Population,
    events: Events<I>,
) -> (Read, Prepare) {
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
    events: Events<I>,
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

/// Stores all of `fresh` on one endpoint, and clears that.
fn refill<I: Index<Event = Prepared>>(index: &I, fresh: &[Prompt]) -> Vec<Prepared> {
    let store = fresh.iter().map(|prompt| index.event(&Event::whole(ENDPOINTS - 1, prompt)));
    store.chain([Prepared::Clear { slot: ENDPOINTS - 1 }]).collect()
}

/// Keeps the thread on one core. Two threads that take turns on one meet no lock that is taken.
fn stay(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(core) {
        core_affinity::set_for_current(*core);
    }
}

/// Looks prompts up until it is `over`, one in so much time.
fn read(reader: &mut Read, pace: Duration, over: impl Fn() -> bool, samples: &mut Samples) {
    let mut before = Instant::now();
    for at in 0.. {
        let next = before + pace;
        before = Instant::now();
        while before < next {
            std::hint::spin_loop();
            before = Instant::now();
        }
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

const MIRRORED: &str = "slotwise, mirrored: two copies of the index, so twice the memory";
const WHY_NOT: &str = "it cannot be sent to another thread";
const ENDPOINTS: u32 = 64;
const QUERIES: usize = 64;
/// Blocks that a writer stores and removes.
const FRESH: usize = 1 << 17;
/// From one request to the next.
const PACE: Duration = Duration::from_micros(15);
