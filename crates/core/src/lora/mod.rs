//! LoRA adapters: which endpoint has which one loaded, and what loading one is worth.
//!
//! | file | content |
//! |---|---|
//! | `residency` | the adapters of one endpoint, from reports and own dispatches |
//! | `demand` | what was learned of each adapter over the whole pool |
//! | `rate` | a request rate that fades |

mod demand;
#[cfg(test)]
mod model_tests;
mod rate;
mod residency;

pub(crate) use demand::{Demand, Outlook};
pub(crate) use residency::Residency;

/// Tests the example of the manual's page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/lora.md")]
mod book {}
