//! Prints an explanation of a decision: every endpoint and every cost term, in seconds.
//!
//! `cargo run -p slotwise --example explain`

use slotwise::{Endpoint, Instant, Request, Scheduler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now = Instant::ORIGIN;
    let mut scheduler = Scheduler::default();
    for name in ["a", "b", "c"] {
        scheduler.add_endpoint(now, Endpoint::new(name))?;
    }
    let draining = scheduler.endpoint_named("c").ok_or("c was just added")?;
    scheduler.drain_endpoint(now, draining)?;

    // A first turn, which is being answered.
    let history: Vec<u32> = (0..1_500).collect();
    let first = scheduler.pick(now, &Request::new("llama").tokens(&history))?;
    scheduler.handle_first_token(Instant::from_micros(60_000), first.request_id)?;

    // The next turn brings the history along.
    let turn: Vec<u32> = (0..3_000).collect();
    let now = Instant::from_micros(80_000);
    print!("{}", scheduler.explain(now, &Request::new("llama").tokens(&turn)));
    Ok(())
}
