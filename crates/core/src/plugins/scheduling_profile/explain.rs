//! Explains one cycle: what each filter removed, and each score.

use alloc::vec::Vec;

use super::SchedulingProfile;
use crate::plugins::cycle::{Candidates, Cycle, ScoredEndpoint, Scores};
use crate::plugins::explanation::{
    EndpointExplanation, ProfileExplanation, ProfileRunnerUp, ScoreExplanation,
};
use crate::plugins::facts::{EndpointFacts, RequestFacts};
use crate::sorting::sort_rarely;

impl SchedulingProfile {
    /// Explains the cycle that [`select`](Self::select) runs with these arguments: the filter that
    /// removed an endpoint, each score, and what the best endpoint that did not win lacks.
    ///
    /// Computes in **O((filters + scorers + log n) × n)** for n endpoints, and the picker. It
    /// allocates.
    ///
    /// ```
    /// use slotwise::plugins::{
    ///     EndpointFacts, MaxScorePicker, PrefixCacheScorer, QueueScorer, RequestFacts,
    ///     SchedulingProfile,
    /// };
    ///
    /// let profile = SchedulingProfile::new(MaxScorePicker::default())
    ///     .scorer(QueueScorer::default(), 2.0)
    ///     .scorer(PrefixCacheScorer::default(), 3.0);
    /// let endpoints = [
    ///     EndpointFacts { waiting: 0, total_blocks: 10, ..EndpointFacts::default() },
    ///     EndpointFacts { waiting: 4, match_blocks: 9, total_blocks: 10, ..Default::default() },
    /// ];
    /// let explanation = profile.explain(&RequestFacts::default(), &endpoints, 7);
    /// assert_eq!(explanation.picked, [1]);
    /// let runner_up = explanation.runner_up.expect("two candidates");
    /// assert_eq!(runner_up.lost_most_in, Some("prefix-cache-scorer"));
    /// assert!((runner_up.behind - 0.7).abs() < 1e-9);
    /// ```
    pub fn explain(
        &self,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        seed: u64,
    ) -> ProfileExplanation {
        self.explain_among((0..endpoints.len()).collect(), request, endpoints, seed)
    }

    /// [`explain`](Self::explain) for the endpoints at these places, in order.
    pub(crate) fn explain_among(
        &self,
        mut kept: Vec<usize>,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        seed: u64,
    ) -> ProfileExplanation {
        let mut cycle = Cycle::new(request, seed);
        let mut explained: Vec<EndpointExplanation> = Vec::new();
        explained.resize_with(endpoints.len(), EndpointExplanation::default);
        self.explain_filters(&mut cycle, endpoints, &mut kept, &mut explained);
        self.explain_scores(&mut cycle, endpoints, &kept, &mut explained);
        let mut totals: Vec<f64> = kept.iter().map(|place| explained[*place].total).collect();
        sort_rarely(&mut totals, |a, b| b.total_cmp(a));
        for place in &kept {
            let total = explained[*place].total;
            explained[*place].rank = Some(totals.partition_point(|other| *other > total) + 1);
        }
        let candidate =
            |place: &usize| ScoredEndpoint { place: *place, score: explained[*place].total };
        let mut scored: Vec<ScoredEndpoint> = kept.iter().map(candidate).collect();
        let count = self.picker.plugin.pick(&mut scored, &mut cycle.rng).min(scored.len());
        let picked: Vec<usize> = scored[..count].iter().map(ScoredEndpoint::place).collect();
        let runner_up = picked.first().and_then(|winner| runner_up(*winner, &kept, &explained));
        ProfileExplanation { endpoints: explained, picker: self.picker.name, picked, runner_up }
    }

    /// Notes the filter that removes each endpoint, and keeps the places of the others.
    fn explain_filters(
        &self,
        cycle: &mut Cycle<'_>,
        endpoints: &[EndpointFacts],
        kept: &mut Vec<usize>,
        explained: &mut [EndpointExplanation],
    ) {
        for filter in &self.filters {
            if kept.is_empty() {
                break;
            }
            let before = kept.clone();
            filter.plugin.filter(cycle, &mut Candidates::new(endpoints, kept));
            // Filters keep the order of the pool.
            let mut left = kept.iter().peekable();
            for place in before {
                if left.next_if_eq(&&place).is_none() {
                    explained[place].dropped_by = Some(filter.name);
                }
            }
        }
    }

    /// Notes each score of the candidates, and their totals.
    fn explain_scores(
        &self,
        cycle: &mut Cycle<'_>,
        endpoints: &[EndpointFacts],
        kept: &[usize],
        explained: &mut [EndpointExplanation],
    ) {
        let mut scores = Vec::new();
        for (scorer, weight) in &self.scorers {
            scorer.plugin.score(cycle, &mut Scores::new(endpoints, kept, &mut scores));
            for (place, raw) in kept.iter().zip(&scores) {
                let weighted = raw.clamp(0.0, 1.0) * weight;
                let (scorer, weight, raw) = (scorer.name, *weight, *raw);
                let score = ScoreExplanation { scorer, weight, raw, weighted };
                explained[*place].scores.push(score);
                explained[*place].total += weighted;
            }
        }
    }
}

/// The candidate with the highest total apart from the winner; of equal ones the first.
fn runner_up(
    winner: usize,
    kept: &[usize],
    explained: &[EndpointExplanation],
) -> Option<ProfileRunnerUp> {
    let total = |place: usize| explained[place].total;
    let others = kept.iter().copied().filter(|place| *place != winner);
    let place = others.reduce(|best, it| if total(it) > total(best) { it } else { best })?;
    let pairs = explained[winner].scores.iter().zip(&explained[place].scores);
    let losses = pairs.map(|(won, lost)| (won.scorer, won.weighted - lost.weighted));
    let most = losses
        .filter(|(_, loss)| *loss > 0.0)
        .reduce(|most, it| if it.1 > most.1 { it } else { most });
    Some(ProfileRunnerUp {
        place,
        behind: total(winner) - total(place),
        lost_most_in: most.map(|(scorer, _)| scorer),
        lost: most.map_or(0.0, |(_, loss)| loss),
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::plugins::filter::Filter;
    use crate::plugins::filters::{DecodeFilter, UtilizationDetectorFilter};
    use crate::plugins::pickers::{MaxScorePicker, RandomPicker, WeightedRandomPicker};
    use crate::plugins::scorers::{KvCacheUtilizationScorer, QueueScorer};

    /// A filter of the host, which also draws a random number.
    #[derive(Debug)]
    struct Sometimes;

    impl Filter for Sometimes {
        fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
            let most = cycle.rng.below(9);
            candidates.retain(|endpoint| endpoint.running < most);
        }
    }

    fn profiles() -> [SchedulingProfile; 3] {
        [
            SchedulingProfile::new(MaxScorePicker::default()),
            SchedulingProfile::new(RandomPicker::default()),
            SchedulingProfile::new(WeightedRandomPicker::default()),
        ]
        .map(|profile| {
            profile
                .filter(DecodeFilter::default())
                .filter(Sometimes)
                .filter(UtilizationDetectorFilter::default())
                .scorer(QueueScorer::default(), 2.0)
                .scorer(KvCacheUtilizationScorer::default(), -0.5)
        })
    }

    fn endpoint() -> impl Strategy<Value = EndpointFacts> {
        (0..9u64, 0..9u64, 0.0..1.2, any::<bool>()).prop_map(
            |(waiting, running, usage, prefill)| {
                let role = if prefill { "prefill" } else { "decode" };
                let labels = [(String::from("llm-d.ai/role"), String::from(role))].into();
                EndpointFacts {
                    waiting,
                    running,
                    kv_usage: usage,
                    labels,
                    ..EndpointFacts::default()
                }
            },
        )
    }

    #[test]
    fn filters_have_the_names_of_the_reference_or_of_their_type() {
        let [mut profile, ..] = profiles();
        let label = [(String::from("llm-d.ai/role"), String::from("prefill"))];
        let endpoints = [
            EndpointFacts { labels: label.into(), ..EndpointFacts::default() },
            EndpointFacts { running: 100, ..EndpointFacts::default() },
            EndpointFacts { waiting: 100, ..EndpointFacts::default() },
            EndpointFacts::default(),
        ];
        let request = RequestFacts::default();
        let seed = (0..).find(|seed| Cycle::new(&request, *seed).rng.below(9) > 0).expect("one");
        let explanation = profile.explain(&request, &endpoints, seed);
        let dropped: Vec<_> = explanation.endpoints.iter().map(|it| it.dropped_by).collect();
        let expected = ["decode-filter", "Sometimes", "utilization-detector"].map(Some);
        assert_eq!(dropped[..3], expected);
        assert_eq!((dropped[3], explanation.picker), (None, "max-score-picker"));
        assert_eq!(profile.select(&request, &endpoints, seed).picked, explanation.picked);
    }

    proptest! {
        #[test]
        fn the_explained_cycle_is_the_selected_one(
            endpoints in prop::collection::vec(endpoint(), 0..12),
            seed: u64,
        ) {
            let request = RequestFacts::default();
            for mut profile in profiles() {
                let explanation = profile.explain(&request, &endpoints, seed);
                let selection = profile.select(&request, &endpoints, seed);
                prop_assert_eq!(&explanation.picked, &selection.picked);
                let candidates =
                    explanation.endpoints.iter().filter(|it| it.dropped_by.is_none()).count();
                prop_assert_eq!(explanation.runner_up.is_some(), candidates > 1);
                prop_assert_eq!(explanation.picked.is_empty(), candidates == 0);
                for endpoint in &explanation.endpoints {
                    let total: f64 = endpoint.scores.iter().map(|score| score.weighted).sum();
                    prop_assert!((endpoint.total - total).abs() < 1e-12);
                    prop_assert_eq!(endpoint.rank.is_some(), endpoint.dropped_by.is_none());
                }
                if let (Some(runner_up), "max-score-picker") =
                    (explanation.runner_up, explanation.picker)
                {
                    prop_assert!(runner_up.behind >= 0.0);
                    let rank = explanation.endpoints[explanation.picked[0]].rank;
                    prop_assert_eq!(rank, Some(1));
                }
            }
        }
    }
}
