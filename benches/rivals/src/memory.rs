//! Measures what one contestant's index takes, in a process of its own, with an allocator that
//! counts. `rivals` runs it.

use std::alloc::System;
use std::process::ExitCode;

use cap::Cap;
use slotwise_rivals::groups::hold;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let held = match &words[..] {
        [case, contestant, entries] => {
            entries.parse().ok().and_then(|entries| hold(case, contestant, entries, || HEAP.allocated()))
        }
        _ => None,
    };
    match held {
        Some(held) => {
            println!("{}", serde_json::to_string(&held).expect("invariant: three numbers"));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("usage: rivals-memory CASE CONTESTANT PAIRS");
            ExitCode::FAILURE
        }
    }
}
