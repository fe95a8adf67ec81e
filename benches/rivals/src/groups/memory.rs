//! Bytes for each pair of an endpoint and a block, each contestant in a process of its own.

use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};
use slotwise::Rng;

use super::trees;
use crate::index::Entrant;
use crate::race::Effort;
use crate::rivals;
use crate::table::{Best, Cell, Table};
use crate::workload::{Event, Prompt};

/// Makes the tables.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let entries = effort.choose(500_000, 4_000_000);
    let names: Vec<_> = rivals::all(1).into_iter().map(|entrant| entrant.name).collect();
    let title = |kind: &str| format!("{entries} pairs of an endpoint and a block: bytes a pair, {kind}");
    let mut heap = Table::new("memory", title("heap, as the allocator counts it"), names.clone());
    let mut resident = Table::new("memory", title("growth of the resident set"), names.clone());
    for case in CASES {
        let measured: Vec<_> = names.iter().map(|name| in_a_process(case.name, name, entries)).collect();
        let cells = |what: fn(&Held) -> f64| {
            let cell = |held: &Result<Held, String>| match held {
                Ok(held) => Cell::value(what(held) / held.entries as f64),
                Err(why) => Cell::Absent(why.clone()),
            };
            measured.iter().map(cell).collect()
        };
        heap.row(case.name, Best::Lowest, cells(|held| held.heap as f64));
        resident.row(case.name, Best::Lowest, cells(|held| held.resident as f64));
    }
    for table in [&mut heap, &mut resident] {
        table.note("every index is fed by events and can therefore find a block by the engine's name");
        table.note("after churn: a tenth of the pairs in prompts of 128 with one holder, replaced 20 times, the end first");
        table.note(
            "dynamo concurrent sweeps dead nodes at most every five minutes; swept is after one such sweep",
        );
    }
    out(heap);
    out(resident);
    out(learned(entries));
}

/// The indexes without events.
fn learned(blocks: usize) -> Table {
    let title =
        format!("no events, {blocks} blocks asked for, half of them in shared beginnings: bytes a block");
    let mut table = Table::new("memory", title, trees::NAMES);
    for length in LEARNED {
        let case = format!("{length}");
        let measured: Vec<_> = trees::NAMES.iter().map(|name| in_a_process(&case, name, blocks)).collect();
        for (what, bytes) in [
            ("heap", (|held: &Held| held.heap) as fn(&Held) -> usize),
            ("resident set", |held| held.resident),
        ] {
            let cell = |held: &Result<Held, String>| match held {
                Ok(held) => Cell::value(bytes(held) as f64 / held.entries as f64),
                Err(why) => Cell::Absent(why.clone()),
            };
            let cells = measured.iter().map(cell).collect();
            table.row(format!("prompts of {length} blocks, {what}"), Best::Lowest, cells);
        }
    }
    table.note("a shared beginning has 64 prompts, on as many of 64 endpoints as chance has it");
    table
}

/// What a contestant took.
#[derive(Debug, Deserialize, Serialize)]
pub struct Held {
    /// Pairs of an endpoint and a block that it holds.
    pub entries: usize,
    /// Bytes it has allocated.
    pub heap: usize,
    /// Bytes by which the process has grown.
    pub resident: usize,
}

/// How pairs come about.
struct Case {
    name: &'static str,
    /// Blocks of a prompt.
    length: usize,
    /// Endpoints that hold each.
    holders: u32,
    /// Blocks in an event.
    event: usize,
    /// How often all is replaced.
    rounds: usize,
    /// Whether it may sweep then.
    sweep: bool,
}

const CASES: &[Case] = &[
    Case { name: "prompts of 128, one holder", length: 128, holders: 1, event: 128, rounds: 1, sweep: false },
    Case { name: "prompts of 16, one holder", length: 16, holders: 1, event: 16, rounds: 1, sweep: false },
    Case {
        name: "prompts of 128, block by block",
        length: 128,
        holders: 1,
        event: 1,
        rounds: 1,
        sweep: false,
    },
    Case { name: "prompts of 128, 4 holders", length: 128, holders: 4, event: 128, rounds: 1, sweep: false },
    Case {
        name: "prompts of 128, 32 holders",
        length: 128,
        holders: 32,
        event: 128,
        rounds: 1,
        sweep: false,
    },
    Case { name: "after churn", length: 128, holders: 1, event: 128, rounds: 20, sweep: false },
    Case { name: "after churn, swept", length: 128, holders: 1, event: 128, rounds: 20, sweep: true },
];

/// Runs one case with one contestant, in this process; a case that is a number is one without
/// events, of prompts so long. `heap` says how much is allocated now.
pub fn hold(case: &str, contestant: &str, entries: usize, heap: fn() -> usize) -> Option<Held> {
    if let Ok(length) = case.parse() {
        let [heap, resident] = trees::hold(contestant, length, entries, heap)?;
        return Some(Held { entries, heap, resident });
    }
    let case = CASES.iter().find(|known| known.name == case)?;
    let entrant = || rivals::all(ENDPOINTS).into_iter().find(|entrant| entrant.name == contestant);
    // The first one wakes what is there once for the process.
    drop(entrant()?);
    let (heap_before, resident_before) = (heap(), resident());
    let mut entrant = entrant()?;
    let entries = if case.rounds > 1 { entries / 10 } else { entries };
    let prompts = entries / case.length / case.holders as usize;
    for round in 0..case.rounds as u64 {
        for at in 0..prompts as u64 {
            if let Some(before) = round.checked_sub(1) {
                remove(&mut entrant, case, before, at);
            }
            store(&mut entrant, case, round, at);
        }
    }
    if let Some(index) = entrant.index.as_mut().ok().filter(|_| case.sweep) {
        index.sweep();
    }
    let held = Held {
        entries: prompts * case.length * case.holders as usize,
        heap: heap() - heap_before,
        resident: resident().saturating_sub(resident_before),
    };
    drop(entrant);
    Some(held)
}

fn prompt(case: &Case, round: u64, at: u64) -> (Prompt, impl Iterator<Item = u32>) {
    let slots = (0..case.holders).map(move |holder| (at as u32 + holder) % ENDPOINTS);
    (Prompt::fresh(&mut Rng::new(round << 32 | at), case.length), slots)
}

fn store(entrant: &mut Entrant, case: &Case, round: u64, at: u64) {
    let Ok(index) = &mut entrant.index else { return };
    let (prompt, slots) = prompt(case, round, at);
    for slot in slots {
        let part = |from| Event::Store { slot, prompt: &prompt, from, to: from + case.event };
        let events: Vec<_> = (0..case.length).step_by(case.event).map(part).collect();
        index.apply(&events);
    }
}

fn remove(entrant: &mut Entrant, case: &Case, round: u64, at: u64) {
    let Ok(index) = &mut entrant.index else { return };
    let (prompt, slots) = prompt(case, round, at);
    let names: Vec<u64> = prompt.names.iter().rev().copied().collect();
    for slot in slots {
        index.apply(&[Event::Remove { slot, names: &names }]);
    }
}

/// Bytes of this process that are in memory.
pub(super) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

/// Runs the program that counts, which lies beside this one.
fn in_a_process(case: &str, contestant: &str, entries: usize) -> Result<Held, String> {
    let beside =
        || -> Option<PathBuf> { Some(std::env::current_exe().ok()?.with_file_name("rivals-memory")) };
    let program = beside().filter(|program| program.exists()).ok_or("rivals-memory is not built")?;
    eprintln!("  memory: {contestant}, {case}");
    let output = Command::new(program).args([case, contestant, &entries.to_string()]).output();
    let output = output.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| "its process ended early".to_owned())
}

const ENDPOINTS: u32 = 64;
/// Lengths of prompts that indexes without events learn.
const LEARNED: [usize; 2] = [16, 128];
