//! `decode-filter`, `prefill-filter` and `encode-filter`: endpoints that serve a stage.

use super::by_label::label;
use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;

/// The label that states the stages of an endpoint.
const ROLE: &str = "llm-d.ai/role";

/// Declares the filter of a stage.
macro_rules! role_filter {
    ($(#[$meta:meta])* $filter:ident { roles: $roles:expr, no_label: $no_label:literal }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(default, deny_unknown_fields)
        )]
        #[non_exhaustive]
        pub struct $filter {}

        impl Filter for $filter {
            fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
                candidates.retain(|endpoint| {
                    label(endpoint, ROLE).map_or($no_label, |role| $roles.contains(&role))
                });
            }
        }
    };
}

role_filter! {
    /// `decode-filter`: keeps endpoints that decode.
    ///
    /// The label `llm-d.ai/role` is `decode`, `prefill-decode`, `encode-prefill-decode`, `both`
    /// (deprecated) or missing.
    DecodeFilter {
        roles: ["decode", "prefill-decode", "encode-prefill-decode", "both"],
        no_label: true
    }
}

role_filter! {
    /// `prefill-filter`: keeps endpoints that prefill.
    ///
    /// The label `llm-d.ai/role` is `prefill`, `encode-prefill`, `prefill-decode`,
    /// `encode-prefill-decode` or `both` (deprecated).
    PrefillFilter {
        roles: ["prefill", "encode-prefill", "prefill-decode", "encode-prefill-decode", "both"],
        no_label: false
    }
}

role_filter! {
    /// `encode-filter`: keeps endpoints that encode media.
    ///
    /// The label `llm-d.ai/role` is `encode`, `encode-prefill` or `encode-prefill-decode`.
    EncodeFilter {
        roles: ["encode", "encode-prefill", "encode-prefill-decode"],
        no_label: false
    }
}
