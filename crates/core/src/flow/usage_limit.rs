//! The usage limit of each band: above this saturation of the pool, the band's requests wait.
//!
//! Bands are ranked among the active ones, from 0 for the highest to `N - 1`; *p* is a band's
//! priority and *s* the pool's saturation.
//!
//! ```text
//! static              c
//! priority-holdback   max - d · (max - min)     reserves capacity for higher bands;
//!                                               d is rank / (N - 1), or by value
//!                                               (p highest - p) / (p highest - p lowest)
//! soft-reflective     1 - rank · s / (N - 1)    the fuller the pool, the more of it
//! ```
//!
//! A band is active if it had a request in the last ten minutes; the band of priority 0 always is.
//! A single waiting band therefore leaves capacity for higher ones.
//!
//! A band that `soft-reflective` closes may still dispatch in every `round(s / (1 - s))`-th round
//! until the pool is full, so it slows down without stopping. The policies, formulas and defaults
//! are those of the Gateway API inference extension. There, a closed band also stops those below
//! it. Usage limits fall with the rank, so the difference is limited to the rounds of closed bands.

use alloc::vec::Vec;

/// The usage limit of each band.
///
/// The names and parameters of the reference are read too, such as `priority-holdback-policy` with
/// `minCeiling`.
///
/// ```
/// use slotwise::{UsageLimitPolicy, PriorityHoldback};
///
/// // The lowest band waits above 60 % saturation, the others in equal steps above that.
/// let policy = UsageLimitPolicy::PriorityHoldback(PriorityHoldback::new(0.6));
/// assert_ne!(policy, UsageLimitPolicy::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum UsageLimitPolicy {
    /// One usage limit for all bands.
    #[cfg_attr(feature = "serde", serde(alias = "static-usage-limit-policy"))]
    Static(StaticUsageLimit),
    /// Steps from the highest band to the lowest, by ranks or by priorities.
    #[cfg_attr(feature = "serde", serde(alias = "priority-holdback-policy"))]
    PriorityHoldback(PriorityHoldback),
    /// Steps that grow with the saturation.
    #[cfg_attr(feature = "serde", serde(alias = "soft-reflective-ceiling-policy"))]
    SoftReflective(SoftReflective),
}

/// One usage limit for all bands; only their order distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct StaticUsageLimit {
    /// The saturation at which bands close.
    #[cfg_attr(feature = "serde", serde(alias = "threshold"))]
    pub limit: f64,
}

/// A usage limit for the highest band and one for the lowest; other bands lie between.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PriorityHoldback {
    /// The saturation at which the lowest band closes; there is no default.
    #[cfg_attr(feature = "serde", serde(alias = "minCeiling"))]
    pub min_usage_limit: f64,
    /// The saturation at which the highest band closes.
    #[cfg_attr(feature = "serde", serde(default = "full", alias = "maxCeiling"))]
    pub max_usage_limit: f64,
    /// How the bands between are placed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub domain: HoldbackDomain,
}

/// The measure by which usage limits of [`PriorityHoldback`] fall from the highest active band to
/// the lowest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum HoldbackDomain {
    /// The rank: equal steps for any numbering of priorities.
    #[default]
    Rank,
    /// The value of the priority: bands with similar priorities close at similar saturation.
    Value,
}

/// The position of a band among the active ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    rank: usize,
    bands: usize,
    priority: i32,
    highest: i32,
    lowest: i32,
}

impl Position {
    /// The position of a priority among those of all bands, highest first. A band outside their
    /// range counts as the nearest. Computes in **O(log bands)**.
    pub(crate) fn among(bands: &[i32], priority: i32) -> Self {
        let (highest, lowest) = range(bands).unwrap_or((priority, priority));
        let rank = bands.partition_point(|band| *band > priority);
        Self {
            rank: rank.min(bands.len().saturating_sub(1)),
            bands: bands.len(),
            priority: priority.clamp(lowest, highest),
            highest,
            lowest,
        }
    }

    /// The distance of this band from the highest one, and that of the lowest band. The latter is
    /// at least 1, so the first is a share of the second; a single band is the highest.
    fn by_rank(&self) -> (f64, f64) {
        (self.rank as f64, self.bands.saturating_sub(1).max(1) as f64)
    }

    /// The share of the range of priorities that lies below this band; 1 without a range.
    fn by_value(&self) -> f64 {
        let above_lowest = |priority: i32| f64::from(priority) - f64::from(self.lowest);
        let range = above_lowest(self.highest);
        if range == 0.0 { 1.0 } else { above_lowest(self.priority) / range }
    }
}

/// The highest and the lowest of these priorities.
fn range(bands: &[i32]) -> Option<(i32, i32)> {
    Some((*bands.first()?, *bands.last()?))
}

/// The usage limit of each band at this saturation of the pool: a band may dispatch while the
/// saturation is below its limit.
///
/// `priorities` are those of the active bands, from the highest to the lowest. `round` counts the
/// rounds of decisions in which a band is closed, from 1: in every `round(s / (1 - s))`-th,
/// `soft-reflective` opens its closed bands. Formulas and results are those of the reference.
/// Computes in **O(bands)**.
///
/// ```
/// use slotwise::{PriorityHoldback, UsageLimitPolicy, ceilings};
///
/// let holdback = UsageLimitPolicy::PriorityHoldback(PriorityHoldback::new(0.5));
/// assert_eq!(ceilings(&holdback, &[10, 0, -10], 0.9, 1), [1.0, 0.75, 0.5]);
/// ```
pub fn ceilings(
    policy: &UsageLimitPolicy,
    priorities: &[i32],
    saturation: f64,
    round: u64,
) -> Vec<f64> {
    let Some((highest, lowest)) = range(priorities) else { return Vec::new() };
    let position = |(rank, priority): (usize, &i32)| Position {
        rank,
        bands: priorities.len(),
        priority: *priority,
        highest,
        lowest,
    };
    let positions = priorities.iter().enumerate().map(position);
    positions.map(|position| policy.ceiling(saturation, position, round)).collect()
}

/// Steps that grow with the saturation; there are no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SoftReflective {}

impl UsageLimitPolicy {
    /// Whether a band may dispatch in this round at this saturation of the pool. Computes in
    /// **O(1)**.
    pub(crate) fn is_open(&self, saturation: f64, band: Position, round: u64) -> bool {
        saturation < self.ceiling(saturation, band, round)
    }

    /// The usage limit of a band in this round at this saturation of the pool.
    fn ceiling(&self, saturation: f64, band: Position, round: u64) -> f64 {
        match self {
            Self::Static(policy) => policy.limit,
            Self::PriorityHoldback(policy) => {
                let (min, max) = (policy.min_usage_limit, policy.max_usage_limit);
                let (below, all) = band.by_rank();
                match policy.domain {
                    _ if band.bands <= 1 => max,
                    HoldbackDomain::Rank => max - below * (max - min) / all,
                    HoldbackDomain::Value => min + band.by_value() * (max - min),
                }
            }
            Self::SoftReflective(_) => {
                let (below, all) = band.by_rank();
                let open = saturation < 1.0 - below * saturation / all;
                if band.rank == 0 || open || has_its_turn(saturation, round) { 1.0 } else { 0.0 }
            }
        }
    }

    /// Whether usage limits depend on the active bands.
    pub(crate) const fn ranks_bands(&self) -> bool {
        !matches!(self, Self::Static(_))
    }

    /// The first invalid field, and the condition that it violates.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let is_share = |limit: f64| limit > 0.0 && limit <= 1.0;
        match self {
            Self::Static(policy) if !is_share(policy.limit) => {
                Some(("flow.usage_limit.limit", "must lie in (0, 1]"))
            }
            Self::PriorityHoldback(policy) if !is_share(policy.max_usage_limit) => {
                Some(("flow.usage_limit.max_usage_limit", "must lie in (0, 1]"))
            }
            Self::PriorityHoldback(policy)
                if !(0.0..=policy.max_usage_limit).contains(&policy.min_usage_limit) =>
            {
                Some(("flow.usage_limit.min_usage_limit", "must lie between 0 and max_usage_limit"))
            }
            _ => None,
        }
    }
}

/// Whether closed bands may dispatch in this round: every `round(s / (1 - s))`-th, and none in a
/// full pool, nor in one so empty that it closes no band.
fn has_its_turn(saturation: f64, round: u64) -> bool {
    let period = saturation / (1.0 - saturation + ROUND_OFF) + 0.5;
    let alternates = saturation >= 1.0 - saturation && saturation < 1.0;
    // A float-to-integer `as` truncates and saturates.
    alternates && round % (period as u64).max(1) == 0
}

/// The reference's guard against rounding errors near a full pool.
const ROUND_OFF: f64 = 1e-9;

impl PriorityHoldback {
    /// The lowest band closes at `min_usage_limit`, the highest in a full pool, the others in equal
    /// steps.
    pub const fn new(min_usage_limit: f64) -> Self {
        Self { min_usage_limit, max_usage_limit: 1.0, domain: HoldbackDomain::Rank }
    }
}

impl Default for UsageLimitPolicy {
    fn default() -> Self {
        Self::Static(StaticUsageLimit::default())
    }
}

impl Default for StaticUsageLimit {
    fn default() -> Self {
        Self { limit: 1.0 }
    }
}

/// The default usage limit of the highest band.
#[cfg(feature = "serde")]
const fn full() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOFT: UsageLimitPolicy = UsageLimitPolicy::SoftReflective(SoftReflective {});

    fn holdback(min_usage_limit: f64) -> UsageLimitPolicy {
        UsageLimitPolicy::PriorityHoldback(PriorityHoldback::new(min_usage_limit))
    }

    fn holdback_by_value(min_usage_limit: f64) -> UsageLimitPolicy {
        let policy = PriorityHoldback {
            domain: HoldbackDomain::Value,
            ..PriorityHoldback::new(min_usage_limit)
        };
        UsageLimitPolicy::PriorityHoldback(policy)
    }

    /// Bands whose priorities are their inverted ranks.
    fn bands(count: i32) -> Vec<i32> {
        (0..count).rev().collect()
    }

    /// The saturation in hundredths at which each of these bands closes.
    fn usage_limits(policy: UsageLimitPolicy, bands: &[i32]) -> Vec<u32> {
        let usage_limit = |priority: &i32| {
            let position = Position::among(bands, *priority);
            let open = |s: &u32| policy.is_open(f64::from(*s) / 100.0, position, 1);
            (0..=200).take_while(open).count() as u32
        };
        bands.iter().map(usage_limit).collect()
    }

    #[test]
    fn by_default_all_bands_close_when_the_pool_is_full() {
        assert_eq!(usage_limits(UsageLimitPolicy::default(), &bands(5)), [100; 5]);
    }

    #[test]
    fn holding_back_takes_equal_steps() {
        assert_eq!(usage_limits(holdback(0.25), &bands(1)), [100]);
        assert_eq!(usage_limits(holdback(0.25), &bands(2)), [100, 25]);
        assert_eq!(usage_limits(holdback(0.25), &bands(4)), [100, 75, 50, 25]);
        assert_eq!(usage_limits(holdback(0.25), &[i32::MAX, 7, 6, i32::MIN]), [100, 75, 50, 25]);
    }

    #[test]
    fn by_value_near_priorities_close_together() {
        let policy = holdback_by_value(0.25);
        assert_eq!(usage_limits(policy, &[3]), [100]);
        assert_eq!(
            usage_limits(policy, &bands(4)),
            [100, 75, 50, 25],
            "equal steps of the priorities"
        );
        assert_eq!(usage_limits(policy, &[15, 13, 3, 0]), [100, 90, 40, 25]);
        assert_eq!(
            usage_limits(policy, &[i32::MAX, 0, i32::MIN]),
            [100, 63, 25],
            "no difference overflows"
        );
    }

    #[test]
    fn a_band_that_is_not_present_has_a_usage_limit_too() {
        let is_open = |policy: UsageLimitPolicy, bands: &[i32], priority| {
            policy.is_open(0.5, Position::among(bands, priority), 1)
        };
        for policy in [holdback(0.25), holdback_by_value(0.25)] {
            assert!(is_open(policy, &[], 0));
            assert!(is_open(policy, &[5, 1], 9));
            assert!(!is_open(policy, &[5, 1], -9));
        }
    }

    /// The cases of the reference's own tests.
    #[test]
    fn soft_reflective_bands_take_turns() {
        let rounds = |saturation: f64, rank, count| {
            let position = Position::among(&bands(count), count - 1 - rank);
            (1..=6).map(|round| SOFT.is_open(saturation, position, round)).collect::<Vec<_>>()
        };
        assert_eq!(rounds(0.7, 1, 2), [false, true, false, true, false, true]);
        assert_eq!(rounds(0.75, 1, 2), [false, false, true, false, false, true]);
        assert_eq!(rounds(0.7, 1, 4), [true; 6], "below 1 - 0.7 / 3");
        assert_eq!(rounds(0.3, 2, 3), [true; 6]);
        assert_eq!(rounds(0.99, 0, 3), [true; 6], "the highest band is never held back");
        assert_eq!(rounds(0.99, 0, 1), [true; 6]);
        assert_eq!(rounds(1.0, 1, 3), [false; 6]);
    }

    #[test]
    fn bad_fields_are_named() {
        let field = |policy: UsageLimitPolicy| policy.invalid().map(|(field, _)| field);
        assert_eq!(field(UsageLimitPolicy::default()), None);
        assert_eq!(field(SOFT), None);
        assert_eq!(field(holdback(0.0)), None);
        assert_eq!(field(holdback(1.1)), Some("flow.usage_limit.min_usage_limit"));
        assert_eq!(field(holdback(f64::NAN)), Some("flow.usage_limit.min_usage_limit"));
        let over = PriorityHoldback { max_usage_limit: 1.5, ..PriorityHoldback::new(0.5) };
        assert_eq!(
            field(UsageLimitPolicy::PriorityHoldback(over)),
            Some("flow.usage_limit.max_usage_limit")
        );
        let closed = StaticUsageLimit { limit: 0.0 };
        assert_eq!(field(UsageLimitPolicy::Static(closed)), Some("flow.usage_limit.limit"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_lowest_usage_limit_must_be_said() {
        let read = |text| serde_json::from_str::<UsageLimitPolicy>(text).ok();
        assert_eq!(read(r#"{"type": "static"}"#), Some(UsageLimitPolicy::default()));
        assert_eq!(
            read(r#"{"type": "priority-holdback", "min_usage_limit": 0.5}"#),
            Some(holdback(0.5))
        );
        let by_value =
            r#"{"type": "priority-holdback", "min_usage_limit": 0.5, "domain": "value"}"#;
        assert_eq!(read(by_value), Some(holdback_by_value(0.5)));
        assert_eq!(
            read(r#"{"type": "priority-holdback", "min_usage_limit": 0.5, "domain": "slope"}"#),
            None
        );
        assert_eq!(read(r#"{"type": "priority-holdback"}"#), None);
        assert_eq!(read(r#"{"type": "soft-reflective"}"#), Some(SOFT));
        assert_eq!(read(r#"{"type": "soft-reflective", "limit": 1}"#), None);
    }

    proptest! {
        #[test]
        fn what_is_open_to_a_band_is_open_to_those_above_it(
            saturation in 0.0f64..1.5,
            priorities in prop::collection::btree_set(any::<i32>(), 1..8),
            round in any::<u64>(),
        ) {
            let bands: Vec<i32> = priorities.into_iter().rev().collect();
            let policies = [UsageLimitPolicy::default(), holdback(0.3), holdback_by_value(0.3), SOFT];
            for policy in policies {
                let position = |band: &i32| Position::among(&bands, *band);
                let open = bands.iter().map(|band| policy.is_open(saturation, position(band), round));
                let open: Vec<bool> = open.collect();
                prop_assert!(open.is_sorted_by(|above, below| above >= below));
                prop_assert!(!open[0] || saturation < 1.0);
            }
        }
    }
}
