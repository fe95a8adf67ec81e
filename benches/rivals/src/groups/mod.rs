//! The groups of rows. Each gives tables.

mod events;
mod exact;
mod fragmented;
mod hash;
mod lookup;
mod memory;
mod scale;
mod threads;
mod trace;
mod trees;

use std::path::Path;

use crate::race::Effort;
use crate::table::Table;

pub use memory::hold;

/// A group: its name, and what makes its tables.
pub type Group = (&'static str, fn(&Effort, Option<&Path>, &mut dyn FnMut(Table)));

/// All groups, in the order in which they run.
pub const ALL: &[Group] = &[
    ("hash", |effort, _, out| hash::run(effort, out)),
    ("lookup", |effort, _, out| lookup::run(effort, out)),
    ("events", |effort, _, out| events::run(effort, out)),
    ("scale", |effort, _, out| scale::run(effort, out)),
    ("fragmented", |effort, _, out| fragmented::run(effort, out)),
    ("trees", |effort, _, out| trees::run(effort, out)),
    ("threads", |effort, _, out| threads::run(effort, out)),
    ("exact", |effort, _, out| exact::run(effort, out)),
    ("trace", trace::run),
    ("memory", |effort, _, out| memory::run(effort, out)),
];
