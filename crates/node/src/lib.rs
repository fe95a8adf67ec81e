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
//! | `lease` | leases: calls of the state machine in `slotwise-gateway` |
//! | `metrics`, `kv` | what engines say, as reports |
//! | `allow` | which values of clients count |
//! | `body`, `headers` | what clients ask |
//! | `response` | what engines answer |
//! | `refusal`, `attribute` | what clients and traces are told of it |
//! | `number` | JavaScript's numbers to integers and times that must fit |
//! | `error` | errors to exceptions that keep their kind |
//!
//! The package's own layer (`lib/*.ts`) reads the objects of callers, so that what arrives here is plain: no getter of
//! theirs runs while a prompt is borrowed.

pub mod allow;
pub mod answer;
pub mod attribute;
pub mod body;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod flow;
pub mod headers;
pub mod kv;
pub mod lease;
pub mod metrics;
pub mod number;
pub mod refusal;
pub mod request;
pub mod response;
pub mod scheduler;
pub mod stats;
