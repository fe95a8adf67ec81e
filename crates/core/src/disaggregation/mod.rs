//! Whether a request's prompt is computed on another endpoint than its answer.
//!
//! | file | content |
//! |---|---|
//! | `config` | what a scheduler needs to disaggregate |
//! | `decider` | the deciders by name, each a pure function of a few facts |
//!
//! The search for the endpoints of each stage is in `plan`, their reservations are in
//! `scheduler::legs`.

mod config;
mod decider;

pub use config::DisaggregationConfig;
pub use decider::{Decider, DeciderFacts, PrefixBasedPdDecider, pd_decide};
