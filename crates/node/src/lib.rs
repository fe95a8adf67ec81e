//! slotwise for Node: convert, call, convert.
//!
//! | file | contents |
//! |---|---|
//! | `scheduler` | calls of a scheduler: pool, reports, engines' bytes, requests |
//! | `lease`, `exchange` | calls of a lease, and of a request over several attempts |
//! | `request` | a request, without copies of its text or token ids |
//! | `allow` | which claims of clients count |
//! | `config`, `endpoint` | configuration, and descriptions of endpoints |
//! | `disaggregation`, `kv_connector` | disaggregated serving, and how its caches move |
//! | `flow` | configuration of flow control |
//! | `answer` | dispatches, rejections, evictions and explanations |
//! | `stats` | counters and gauges |
//! | `metrics`, `kv` | reports of engines |
//! | `body`, `headers` | requests of clients |
//! | `response` | answers of engines |
//! | `refusal`, `attribute` | responses and span attributes of requests |
//! | `ingress` | who may send a request, and which pool serves it |
//! | `machine` | routing and the like, as JSON |
//! | `peers` | messages between the gateways of a pool |
//! | `policy` | the reference's policies, as JSON |
//! | `number` | JavaScript's numbers to integers and times that must fit |
//! | `error` | errors to exceptions that keep their kind |
//!
//! The package (`npm/lib/*.ts`) validates and copies the objects of callers. So no getter of a
//! caller runs while a prompt is borrowed.

pub mod allow;
pub mod answer;
pub mod attribute;
pub mod body;
pub mod config;
pub mod disaggregation;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod flow;
pub mod headers;
pub mod ingress;
pub mod kv;
pub mod kv_connector;
pub mod lease;
pub mod machine;
pub mod metrics;
pub mod number;
pub mod peers;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod response;
pub mod scheduler;
pub mod stats;
