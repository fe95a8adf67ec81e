//! A replay of a Mooncake trace: every request is looked up, stored on the endpoint it goes to, and
//! pushes out what no longer fits there.
//!
//! Where requests go, and what caches give up, is decided once and without any contestant: by a
//! model with an LRU cache for each of 64 endpoints, which knows by a bit mask who holds what. So
//! all contestants see the same events.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::lookup::cells;
use crate::race::{Effort, Samples, per};
use crate::rivals;
use crate::table::{Best, Table};
use crate::workload::{Event, Prompt, mix};

/// Makes the tables, if there is a trace.
pub(super) fn run(effort: &Effort, trace: Option<&Path>, out: &mut dyn FnMut(Table)) {
    let Some(path) = trace else {
        eprintln!("  trace: none was given (--trace FILE)");
        return;
    };
    match requests(path, effort.choose(2_000, usize::MAX)) {
        Ok(requests) => [512, 16].into_iter().for_each(|block| out(replay(&requests, block))),
        Err(error) => eprintln!("  trace: {} was not read: {error}", path.display()),
    }
}

/// A line of a trace. Each hash stands for 512 tokens and all before them.
#[derive(Deserialize)]
struct Request {
    input_length: usize,
    hash_ids: Vec<u64>,
}

impl Request {
    /// Its full blocks. A block of 512 tokens becomes 32 of 16, whose ids follow from the one.
    fn prompt(&self, block: usize) -> Prompt {
        let fine = TRACE_BLOCK / block;
        let ids = self.hash_ids.iter().flat_map(|id| (0..fine as u64).map(move |part| mix(*id << 8 | part)));
        Prompt::new(ids.take(self.input_length / block))
    }
}

fn requests(path: &Path, most: usize) -> Result<Vec<Request>, Box<dyn std::error::Error>> {
    let (bytes, mut text) = (std::fs::read(path)?, String::new());
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8(bytes)?;
    }
    Ok(text.lines().take(most).map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The caches of the model.
struct Model {
    /// Blocks that fit in one.
    capacity: usize,
    /// Who holds a block: one bit for each endpoint.
    holders: HashMap<u64, u64>,
    caches: Vec<Cache>,
    sent: usize,
}

/// One endpoint's cache.
#[derive(Default)]
struct Cache {
    /// When each block was last used, and how deep in its prompt it is, seen from behind.
    used: HashMap<u64, (u64, u32)>,
    /// The same, oldest first, and of those used together the deepest first.
    order: BTreeMap<(u64, u32), u64>,
    sent: usize,
}

/// What a request does.
struct Step {
    prompt: Prompt,
    slot: u32,
    /// Blocks of it that the endpoint held.
    known: usize,
    evicted: Vec<u64>,
    /// The deepest match anywhere.
    deepest: usize,
}

impl Model {
    fn new(capacity: usize) -> Self {
        let caches = (0..ENDPOINTS).map(|_| Cache::default()).collect();
        Self { capacity, holders: HashMap::new(), caches, sent: 0 }
    }

    /// Sends a request to the endpoint that holds most of it, unless that one has had a quarter
    /// more than its share.
    fn send(&mut self, prompt: Prompt, stamp: u64) -> Step {
        let mut levels = vec![u64::MAX];
        for name in &prompt.names {
            let here = levels[levels.len() - 1] & self.holders.get(name).copied().unwrap_or(0);
            if here == 0 {
                break;
            }
            levels.push(here);
        }
        let fair = self.sent * 5 / (4 * ENDPOINTS as usize) + 2;
        let of = |mask: u64| (0..ENDPOINTS).filter(move |slot| mask >> slot & 1 == 1);
        let free = |slot: &u32| self.caches[*slot as usize].sent < fair;
        let slot = levels
            .iter()
            .rev()
            .find_map(|mask| of(*mask).filter(free).min_by_key(|slot| self.caches[*slot as usize].sent))
            .unwrap_or(0);
        let known = levels.iter().rposition(|mask| mask >> slot & 1 == 1).unwrap_or(0);
        self.sent += 1;
        let cache = &mut self.caches[slot as usize];
        cache.sent += 1;
        for (depth, name) in (0u32..).zip(&prompt.names) {
            let now = (stamp, u32::MAX - depth);
            match cache.used.insert(*name, now) {
                Some(before) => drop(cache.order.remove(&before)),
                None => *self.holders.entry(*name).or_default() |= 1 << slot,
            }
            cache.order.insert(now, *name);
        }
        let mut evicted = Vec::new();
        while cache.order.len() > self.capacity {
            let Some((_, name)) = cache.order.pop_first() else { break };
            cache.used.remove(&name);
            let mask = self.holders.entry(name).or_default();
            *mask &= !(1 << slot);
            if *mask == 0 {
                self.holders.remove(&name);
            }
            evicted.push(name);
        }
        Step { known, slot, evicted, deepest: levels.len() - 1, prompt }
    }
}

fn replay(requests: &[Request], block: usize) -> Table {
    let mut model = Model::new(CAPACITY / block);
    let mut field = rivals::all(ENDPOINTS);
    let mut find = vec![Samples::default(); field.len()];
    let (mut mean, mut store, mut remove) = (find.clone(), find.clone(), find.clone());
    let mut totals = vec![[0.0; 3]; field.len()];
    let (mut blocks, mut wrong, mut refused) = ([0; 3], vec![0; field.len()], vec![0; field.len()]);
    let mut depths = vec![0; ENDPOINTS as usize];
    let mut stamp = 0;
    for portion in requests.chunks(PORTION) {
        // A request is looked up in the state that the portion before it left.
        let prompts: Vec<Prompt> = portion.iter().map(|request| request.prompt(block)).collect();
        let truth = deepest(&model, &prompts);
        let steps: Vec<Step> = prompts
            .iter()
            .map(|prompt| {
                stamp += 1;
                model.send(prompt.clone(), stamp)
            })
            .collect();
        for at in 0..field.len() {
            let at = (at + stamp as usize / PORTION) % field.len();
            let Ok(index) = &mut field[at].index else { continue };
            index.prepare(&prompts);
            for (place, truth) in truth.iter().enumerate() {
                let took = per(index.find(&[place]), 1);
                find[at].0.push(took);
                totals[at][0] += took;
                if place % 8 == 0 {
                    index.expand(place, &mut depths);
                    wrong[at] += usize::from(depths.iter().max().copied().unwrap_or(0) as usize != *truth);
                }
            }
            for step in &steps {
                let (slot, to) = (step.slot, step.prompt.blocks());
                if step.known < to {
                    let event = Event::Store { slot, prompt: &step.prompt, from: step.known, to };
                    let applied = index.apply(&[event]);
                    refused[at] += applied.refused;
                    store[at].0.push(per(applied.took, event.blocks()));
                    totals[at][1] += per(applied.took, 1);
                }
                if !step.evicted.is_empty() {
                    let event = Event::Remove { slot, names: &step.evicted };
                    let applied = index.apply(&[event]);
                    remove[at].0.push(per(applied.took, event.blocks()));
                    totals[at][2] += per(applied.took, 1);
                }
            }
        }
        for step in &steps {
            blocks[0] += step.deepest;
            blocks[1] += step.prompt.blocks() - step.known;
            blocks[2] += step.evicted.len();
        }
        eprintln!("  trace: {stamp} of {} requests, blocks of {block}", requests.len());
    }
    let title = format!(
        "Mooncake, {} requests, {ENDPOINTS} endpoints of {CAPACITY} tokens, blocks of {block}",
        requests.len()
    );
    let mut table = Table::new("trace", title, field.iter().map(|entrant| entrant.name));
    for (at, totals) in totals.iter().enumerate() {
        mean[at].0.push(totals[0] / requests.len() as f64);
    }
    table.row("lookup, ns", Best::Lowest, cells(&field, find));
    table.row("lookup, mean, ns", Best::Lowest, cells(&field, mean));
    table.row("store, ns a block, event by event", Best::Lowest, cells(&field, store));
    table.row("remove, ns a block, event by event", Best::Lowest, cells(&field, remove));
    for (place, name) in [(1, "store, all time by all blocks, ns"), (2, "remove, all time by all blocks, ns")]
    {
        let all =
            totals.iter().map(|totals| Samples(vec![totals[place] / f64::from(blocks[place].max(1) as u32)]));
        let all = all.collect();
        table.row(name, Best::Lowest, cells(&field, all));
    }
    let mean = blocks[0] as f64 / requests.len() as f64;
    table.note(format!(
        "on average the deepest match is {mean:.1} blocks; {} blocks stored, {} removed",
        blocks[1], blocks[2]
    ));
    for (entrant, (wrong, refused)) in field.iter().zip(wrong.iter().zip(&refused)) {
        if wrong + refused > 0 {
            table.note(format!("{}: {wrong} wrong deepest matches, {refused} refused stores", entrant.name));
        }
    }
    table.note(format!("requests are looked up {PORTION} at a time, before these {PORTION} are stored"));
    table
}

/// The deepest match of each prompt in the caches as they are.
fn deepest(model: &Model, prompts: &[Prompt]) -> Vec<usize> {
    let depth = |prompt: &Prompt| {
        let mut mask = u64::MAX;
        let held = |name: &&u64| {
            mask &= model.holders.get(*name).copied().unwrap_or(0);
            mask != 0
        };
        prompt.names.iter().take_while(held).count()
    };
    prompts.iter().map(depth).collect()
}

/// Tokens in a block of the trace.
const TRACE_BLOCK: usize = 512;
const ENDPOINTS: u32 = 64;
/// Tokens that fit in an endpoint's cache.
const CAPACITY: usize = 262_144;
/// Requests for which a contestant has its turn.
const PORTION: usize = 32;
