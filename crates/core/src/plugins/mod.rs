//! The Endpoint Picker's scheduling plugins by name: filters, weighted scorers and a picker.
//!
//! The reference is the Endpoint Picker of the Gateway API inference extension, now
//! `llm-d-router`. Names, parameters, defaults and formulas are its own, and the documentation of
//! each plugin states the formula and marks each `DIFFERENCE`. The default profile of this crate
//! predicts seconds instead; these plugins serve gateways that migrate from the reference.
//!
//! | file | content |
//! |---|---|
//! | `facts` | what plugins read: plain values about endpoints and the request |
//! | `cycle` | one scheduling cycle: its candidates, their scores, its random numbers |
//! | `filter`, `scorer`, `picker` | the three traits |
//! | `scheduling_profile` | filters, then weighted scorers, then a picker |
//! | `explanation` | why a profile selected an endpoint |
//! | `profile_handler`, `profile_set` | several profiles, and the handler that selects which run |
//! | `registry`, `parameters` | how a family of plugins is tied to names and parameters |
//! | `context_range`, `session_affinity`, `topology_level` | what a filter and a scorer share |
//! | `attribute_key`, `base64` | names of attributes and of endpoints |
//! | `go_duration` | durations in parameters |
//! | `filters/`, `scorers/`, `pickers/`, `handlers/` | the plugins, one a file |
//! | `admitters/` | whether a sheddable request is admitted |
//! | `output_estimate` | the expected length of an answer |
//!
//! A plugin is a pure function of facts. State between requests, such as bindings of sessions, is
//! part of the facts.
//!
//! ```
//! use slotwise::plugins::{EndpointFacts, QueueScorer, RequestFacts, score};
//!
//! let waiting = |requests| EndpointFacts { waiting: requests, ..EndpointFacts::default() };
//! let endpoints = [waiting(0), waiting(5), waiting(10)];
//! let scores = score(&QueueScorer::default(), &RequestFacts::default(), &endpoints);
//! assert_eq!(scores, [1.0, 0.5, 0.0]);
//! ```

mod admitters;
#[cfg(feature = "serde")]
mod attribute_key;
mod base64;
mod context_range;
mod cycle;
mod explanation;
mod facts;
mod filter;
mod filters;
#[cfg(feature = "serde")]
mod go_duration;
mod handlers;
mod output_estimate;
mod parameters;
mod picker;
mod pickers;
mod profile_handler;
mod profile_set;
mod registry;
mod scheduling_profile;
mod scorer;
mod scorers;
mod session_affinity;
mod topology_level;

pub use admitters::{LatencySloAdmitter, ProbabilisticAdmitter, shed_probability};
pub use cycle::{Candidates, Cycle, ScoredEndpoint, Scores};
pub use explanation::{EndpointExplanation, ProfileExplanation, ProfileRunnerUp, ScoreExplanation};
pub(crate) use facts::used_share;
pub use facts::{EndpointFacts, Prediction, RequestFacts, TierBlocks, Topology};
pub use filter::{Filter, filter};
pub use filters::{
    ByLabelFilter, CandidateSubsetFilter, ConcurrencyDetectorFilter, ConcurrencyMode, DecodeFilter,
    EncodeFilter, EndpointAttributeFilter, FilterAlgorithm, FilterPlugin, HeaderBasedTestingFilter,
    LabelOperator, LabelRequirement, LabelSelectorFilter, OnMissing, PrefillFilter,
    PrefixCacheAffinityFilter, SloHeadroomTierFilter, Threshold, ThresholdOperator,
    TopologyAffinityFilter, TtftSource, UtilizationCondition, UtilizationDetectorFilter,
    UtilizationFilter, UtilizationMetric,
};
#[cfg(feature = "serde")]
pub use go_duration::parse_go_duration;
pub use handlers::{
    DataParallelProfileHandler, DisaggDeciders, DisaggProfileHandler, DisaggProfiles,
    HandlerPlugin, HeaderProfileHandler, PdProfileHandler, SingleProfileHandler, StageOrder,
};
pub use output_estimate::{OUTPUT_RATIO, estimate_output};
pub use picker::{Picker, pick};
pub(crate) use pickers::ScoreOrder;
pub use pickers::{MaxScorePicker, PickerPlugin, RandomPicker, WeightedRandomPicker};
pub use profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};
pub use profile_set::{ProfileSet, ProfileSetConfig, UnknownDecider};
pub(crate) use scheduling_profile::CycleBuffers;
pub use scheduling_profile::{
    ProfileConfig, SchedulingProfile, Selection, WeightedScorer, weighted_sum,
};
pub use scorer::{Scorer, score};
pub use scorers::{
    ActiveRequestScorer, AttributeAlgorithm, ContextLengthAware, EndpointAttributeScorer,
    HeaderLabelAffinityScorer, HeadroomStrategy, KvCacheUtilizationScorer, LatencyScorer,
    LinearAlgorithm, LoadAwareScorer, LoraAffinityScorer, MmEmbeddingsCacheScorer, NoHitLruScorer,
    Normalization, PrecisePrefixCacheScorer, PrefixCacheScorer, QueueScorer,
    RunningRequestsSizeScorer, ScorerPlugin, TierWeight, TierWeights, TokenLoadScorer,
    TopologyAffinityScorer,
};
pub use session_affinity::{
    EncodedEndpointHeaderConfig, SessionAffinity, SessionIdConfig, SessionIdSource, SessionStrategy,
};
pub use topology_level::TopologyLevel;

/// Tests the examples of the manual's pages.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../../../docs/src/filters.md")]
    mod filters {}
    #[doc = include_str!("../../../../docs/src/pickers.md")]
    mod pickers {}
    #[doc = include_str!("../../../../docs/src/profiles.md")]
    mod profiles {}
    #[doc = include_str!("../../../../docs/src/service_levels.md")]
    mod service_levels {}
}
