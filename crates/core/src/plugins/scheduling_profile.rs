//! A scheduling profile: filters, then weighted scorers, then a picker.

mod explain;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter;

use super::cycle::{Candidates, Cycle, ScoredEndpoint, Scores};
use super::facts::{EndpointFacts, RequestFacts};
use super::filter::Filter;
use super::filters::FilterPlugin;
use super::picker::Picker;
use super::pickers::PickerPlugin;
use super::registry::Family;
use super::scorer::Scorer;
use super::scorers::ScorerPlugin;

/// A profile as data: the plugins by name, with their parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ProfileConfig {
    /// Filters, in the order of their application.
    pub filters: Vec<FilterPlugin>,
    /// Scorers with their weights.
    pub scorers: Vec<WeightedScorer>,
    /// The picker.
    pub picker: PickerPlugin,
}

/// A scorer and its weight.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct WeightedScorer {
    /// The scorer.
    pub scorer: ScorerPlugin,
    /// The factor of its scores.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub weight: f64,
}

/// The weight of a scorer without one.
#[cfg(feature = "serde")]
const fn one() -> f64 {
    1.0
}

/// Filters, weighted scorers and a picker, ready to select endpoints.
///
/// ```
/// use slotwise::plugins::{
///     EndpointFacts, KvCacheUtilizationScorer, MaxScorePicker, QueueScorer, RequestFacts,
///     SchedulingProfile,
/// };
///
/// let mut profile = SchedulingProfile::new(MaxScorePicker::default())
///     .scorer(QueueScorer::default(), 2.0)
///     .scorer(KvCacheUtilizationScorer::default(), 2.0);
/// let endpoints = [
///     EndpointFacts { waiting: 4, kv_usage: 0.1, ..EndpointFacts::default() },
///     EndpointFacts { waiting: 0, kv_usage: 0.3, ..EndpointFacts::default() },
/// ];
/// let selection = profile.select(&RequestFacts::default(), &endpoints, 7);
/// assert_eq!(selection.picked, [1]);
/// ```
#[derive(Debug)]
pub struct SchedulingProfile {
    filters: Vec<Named<dyn Filter>>,
    scorers: Vec<(Named<dyn Scorer>, f64)>,
    picker: Named<dyn Picker>,
    buffers: CycleBuffers,
}

/// A plugin, with its name for explanations.
#[derive(Debug)]
struct Named<P: ?Sized> {
    name: &'static str,
    plugin: Box<P>,
}

/// Buffers that each cycle uses again.
#[derive(Debug, Default)]
pub(crate) struct CycleBuffers {
    /// The places of the candidates.
    pub(crate) kept: Vec<usize>,
    raw: Vec<f64>,
    /// The scored candidates: first the selected ones.
    pub(crate) scored: Vec<ScoredEndpoint>,
}

/// The outcome of one cycle. Places are positions in the slice of endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// The selected endpoints, best first; empty if the filters left none.
    pub picked: Vec<usize>,
}

impl SchedulingProfile {
    /// A profile with this picker, without filters and scorers.
    pub fn new<P: Picker + 'static>(picker: P) -> Self {
        Self {
            filters: Vec::new(),
            scorers: Vec::new(),
            picker: named(PickerPlugin::name_of_type::<P>(), Box::new(picker)),
            buffers: CycleBuffers::default(),
        }
    }

    /// Adds a filter after the others.
    #[must_use]
    pub fn filter<F: Filter + 'static>(mut self, filter: F) -> Self {
        self.filters.push(named(FilterPlugin::name_of_type::<F>(), Box::new(filter)));
        self
    }

    /// Adds a scorer with its weight.
    #[must_use]
    pub fn scorer<S: Scorer + 'static>(mut self, scorer: S, weight: f64) -> Self {
        let name = ScorerPlugin::name_of_type::<S>();
        self.scorers.push((named(name, Box::new(scorer)), weight));
        self
    }

    /// Runs one cycle: filters in order until none is left, the weighted sum of the scores, and the
    /// picker. Random choices follow from `seed`.
    ///
    /// Each score is clamped to 0 to 1 before its weight applies. Computes in **O((filters +
    /// scorers) × endpoints)** and the picker.
    pub fn select(
        &mut self,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        seed: u64,
    ) -> Selection {
        let mut buffers = core::mem::take(&mut self.buffers);
        buffers.kept.clear();
        buffers.kept.extend(0..endpoints.len());
        let picked = self.select_in(&mut buffers, request, endpoints, seed);
        let picked = buffers.scored[..picked].iter().map(ScoredEndpoint::place).collect();
        self.buffers = buffers;
        Selection { picked }
    }

    /// Selects among the candidates in the buffers, and returns the number of selected endpoints.
    pub(crate) fn select_in(
        &self,
        buffers: &mut CycleBuffers,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        seed: u64,
    ) -> usize {
        let mut cycle = Cycle::new(request, seed);
        let CycleBuffers { kept, raw, scored } = buffers;
        for filter in &self.filters {
            if kept.is_empty() {
                break;
            }
            filter.plugin.filter(&mut cycle, &mut Candidates::new(endpoints, kept));
        }
        scored.clear();
        scored.extend(kept.iter().map(|place| ScoredEndpoint { place: *place, score: 0.0 }));
        for (scorer, weight) in &self.scorers {
            scorer.plugin.score(&mut cycle, &mut Scores::new(endpoints, kept, raw));
            for (total, score) in scored.iter_mut().zip(raw.iter()) {
                total.score += score.clamp(0.0, 1.0) * weight;
            }
        }
        self.picker.plugin.pick(scored, &mut cycle.rng).min(scored.len())
    }
}

impl From<ProfileConfig> for SchedulingProfile {
    fn from(config: ProfileConfig) -> Self {
        let filters = config.filters.into_iter();
        let scorers = config.scorers.into_iter();
        Self {
            filters: filters.map(|it| named(it.name(), it.into_plugin())).collect(),
            scorers: scorers
                .map(|it| (named(it.scorer.name(), it.scorer.into_plugin()), it.weight))
                .collect(),
            picker: named(config.picker.name(), config.picker.into_plugin()),
            buffers: CycleBuffers::default(),
        }
    }
}

const fn named<P: ?Sized>(name: &'static str, plugin: Box<P>) -> Named<P> {
    Named { name, plugin }
}

/// The total score of each endpoint: the sum over scorers of the score, clamped to 0 to 1, times
/// the weight. Computes in **O(scores)**.
///
/// There are as many totals as the longest row has scores. A missing or NaN score counts as zero. A
/// scorer without a weight has the weight 1, as in the reference; weights without scores have no
/// effect.
///
/// ```
/// use slotwise::plugins::weighted_sum;
///
/// assert_eq!(weighted_sum(&[2.0, 1.0], &[&[0.5, 1.5], &[-1.0, 0.25]]), [1.0, 2.25]);
/// assert_eq!(weighted_sum(&[2.0], &[&[0.5], &[0.25, 1.0]]), [1.25, 1.0]);
/// ```
pub fn weighted_sum(weights: &[f64], scores: &[&[f64]]) -> Vec<f64> {
    let endpoints = scores.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut totals = alloc::vec![0.0; endpoints];
    for (weight, row) in weights.iter().copied().chain(iter::repeat(1.0)).zip(scores) {
        for (total, score) in totals.iter_mut().zip(*row) {
            // A comparison with NaN is false.
            let score = if *score > 0.0 { score.min(1.0) } else { 0.0 };
            *total += score * weight;
        }
    }
    totals
}

#[cfg(all(test, feature = "serde"))]
mod data_tests {
    use alloc::string::ToString;

    use serde_json::json;

    use super::*;
    use crate::plugins::scorers::QueueScorer;

    #[test]
    fn parameters_may_be_absent_or_null() {
        let expected = ScorerPlugin::Queue(QueueScorer::default());
        for form in [
            json!({"type": "queue-scorer"}),
            json!({"type": "queue-scorer", "parameters": null}),
            json!({"parameters": {}, "type": "queue-scorer"}),
        ] {
            assert_eq!(serde_json::from_value::<ScorerPlugin>(form).expect("valid"), expected);
        }
        assert_eq!(ScorerPlugin::from_name("queue-scorer", json!(null)).expect("valid"), expected);
    }

    #[test]
    fn unknown_names_and_parameters_are_errors_that_name_them() {
        let unknown =
            ScorerPlugin::from_name("quue-scorer", json!({})).expect_err("rejected").to_string();
        assert!(unknown.contains("quue-scorer") && unknown.contains("queue-scorer"), "{unknown}");
        let parameter =
            PickerPlugin::from_name("max-score-picker", json!({"max": 2})).expect_err("rejected");
        assert!(parameter.to_string().contains("maxNumOfEndpoints"), "{parameter}");
    }

    #[test]
    fn a_profile_survives_as_data() {
        let config = json!({
            "filters": [{"type": "label-selector-filter", "parameters": {"matchLabels": {"a": "b"}}}],
            "scorers": [
                {"scorer": {"type": "queue-scorer"}, "weight": 2.0},
                {"scorer": {"type": "queue-scorer"}},
            ],
            "picker": {"type": "max-score-picker", "parameters": {"maxNumOfEndpoints": 3}},
        });
        let profile: ProfileConfig = serde_json::from_value(config).expect("valid");
        assert!((profile.scorers[0].weight - 2.0).abs() < f64::EPSILON);
        assert!((profile.scorers[1].weight - 1.0).abs() < f64::EPSILON);
        let again = serde_json::to_value(&profile).expect("valid");
        assert_eq!(serde_json::from_value::<ProfileConfig>(again).expect("valid"), profile);
    }
}
