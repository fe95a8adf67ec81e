//! A fleet of simulated model servers, to see what a routing policy is worth.
//!
//! A discrete-event simulation, the same for the same seed to the last bit. A gateway with a [`policy`] sits in front of
//! [`replica`]s that batch, prefill in chunks, cache prefixes and run out of KV memory as vLLM does. The workload is a
//! [`trace`] or comes from a seeded generator. What the gateway hears of the replicas is as old as it is in life.
//!
//! The policy called `slotwise` is the shipped scheduler behind its public interface. All results are simulated.

pub mod calibrate;
pub mod clients;
pub mod compare;
pub mod fleet;
pub mod groups;
pub mod measure;
pub mod policy;
pub mod replica;
pub mod report;
pub mod sweep;
pub mod trace;
