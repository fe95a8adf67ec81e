//! LoRA adapters: which endpoint has which one loaded, and what loading one is worth.
//!
//! | file | content |
//! |---|---|
//! | `description` | what the host describes of an adapter: rank, load time, slots |
//! | `residency` | the adapters of one endpoint, from reports and own dispatches |
//! | `demand` | what was learned of each adapter over the whole pool |
//! | `rate` | a request rate that fades |

mod demand;
mod description;
#[cfg(test)]
mod model_tests;
mod rate;
mod residency;

pub(crate) use demand::{Demand, Outlook};
pub use description::{Adapter, AdapterError};
pub(crate) use description::{Catalog, Traits};
pub(crate) use residency::Residency;

/// Tests the example of the manual's page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/lora.md")]
mod book {}
