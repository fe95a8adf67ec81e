//! The contestants. Ours is the first, alone and between threads; every other file is a rival's.

mod chain_index;
mod dynamo;
mod dynamo_concurrent;
mod dynamo_positional;
mod slotwise_index;
mod slotwise_shared;
mod smg_radix;

pub use chain_index::Chain;
pub use dynamo::Radix;
pub use dynamo_concurrent::Concurrent;
pub use dynamo_positional::Positional;
pub(crate) use slotwise_index::Prepared;
pub use slotwise_index::Slotwise;
pub use slotwise_shared::{SlotwiseMirrored, SlotwiseShared};
pub use smg_radix::SmgRadix;

use crate::index::Entrant;

/// All that are fed by events, ours first.
pub fn all(endpoints: u32) -> Vec<Entrant> {
    vec![
        Entrant::new::<Slotwise>(endpoints),
        Entrant::new::<Radix>(endpoints),
        Entrant::new::<Concurrent>(endpoints),
        Entrant::new::<Positional>(endpoints),
        Entrant::new::<Chain>(endpoints),
        Entrant::new::<SmgRadix>(endpoints),
    ]
}

/// Crates whose versions belong beside the numbers, as they stand in the lock file.
pub fn versions() -> Vec<(String, String)> {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let crates = ["slotwise", "dynamo-kv-router", "kv-index", "smg-radix-tree"];
    let field = |line: Option<&str>| line.and_then(|line| line.split('"').nth(1)).unwrap_or("").to_owned();
    LOCK.split("[[package]]")
        .map(|package| {
            let line = |key: &str| package.lines().find(|line| line.starts_with(key));
            (field(line("name = ")), field(line("version = ")))
        })
        .filter(|(name, _)| crates.contains(&name.as_str()))
        .collect()
}
