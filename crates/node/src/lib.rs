//! slotwise for Node: convert, call, convert.
//!
//! | file | what it converts |
//! |---|---|
//! | `scheduler` | calls |
//! | `request` | what a request asks for, without copying its text or token ids |
//! | `config`, `endpoint` | descriptions |
//! | `flow` | what may wait, and who goes first |
//! | `answer` | rejections, evictions and explanations |
//! | `stats` | counters and gauges |
//! | `number` | JavaScript's numbers to integers and times that must fit |
//! | `error` | errors to exceptions that keep their kind |
//!
//! The package's own layer (`lib/*.ts`) reads the objects of callers, so that what arrives here is plain: no getter of
//! theirs runs while a prompt is borrowed.

pub mod answer;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod flow;
pub mod number;
pub mod request;
pub mod scheduler;
pub mod stats;
