//! A fleet of simulated model servers, which measures routing policies.
//!
//! A discrete-event simulation: the same seed gives the same result to the last bit. A gateway with
//! a [`policy`] sits in front of [`replica`]s. They batch, prefill in chunks, cache prefixes and
//! run out of KV memory as vLLM does. The workload is a [`trace`] or comes from a seeded generator.
//! Metrics and KV events reach the gateway with the delays of a real deployment.
//!
//! The policy called `slotwise` is the shipped scheduler behind its public interface. All results
//! are simulated.

pub mod autoscale;
pub mod calibrate;
pub mod clients;
pub mod compare;
pub mod curve;
pub mod fit;
pub mod fleet;
pub mod forecast;
pub mod groups;
pub mod isolate;
pub mod measure;
pub mod measurement;
mod measurement_csv;
pub mod plan;
pub mod policy;
pub mod pools;
pub mod prices;
pub mod regions;
pub mod replica;
pub mod report;
pub mod service_level;
pub mod sweep;
pub mod trace;
pub mod what_if;
