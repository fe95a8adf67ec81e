//! How full the pool may be for each band: while it is fuller, the band's requests wait.
//!
//! Bands are counted by rank among those that are present, from 0 for the highest to `N - 1`; *s* is the pool's saturation.
//!
//! ```text
//! static              c
//! priority-holdback   max - rank · (max - min) / (N - 1)       room is held back for higher bands
//! soft-reflective     1 - rank · s / (N - 1)                   the fuller the pool, the more of it
//! ```
//!
//! A band that `soft-reflective` closes still has every `round(s / (1 - s))`-th round for itself until the pool is full, so
//! that it slows down and does not stand still. The policies, their formulas and their defaults are those of the Gateway
//! API's inference extension. There a closed band also stops those below it; ceilings fall with the rank, so it makes
//! no difference except in the rounds that closed bands share.

/// How full the pool may be for each band.
///
/// ```
/// use slotwise::{CeilingPolicy, PriorityHoldback};
///
/// // The lowest band waits once the pool is 60 % full, those between it and the highest in equal steps from there.
/// let policy = CeilingPolicy::PriorityHoldback(PriorityHoldback::new(0.6));
/// assert_ne!(policy, CeilingPolicy::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum CeilingPolicy {
    /// One ceiling for all bands.
    Static(StaticCeiling),
    /// Equal steps from the highest band to the lowest.
    PriorityHoldback(PriorityHoldback),
    /// Steps that grow with the saturation.
    SoftReflective(SoftReflective),
}

/// One ceiling for all bands: only their order sets them apart.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct StaticCeiling {
    /// The saturation with which bands close.
    pub ceiling: f64,
}

/// Equal steps by rank: what is held back for higher bands does not depend on how their priorities are numbered.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct PriorityHoldback {
    /// The saturation with which the lowest band closes; there is no default.
    pub min_ceiling: f64,
    /// The one with which the highest closes.
    #[cfg_attr(feature = "serde", serde(default = "full"))]
    pub max_ceiling: f64,
}

/// Steps that grow with the saturation; there is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SoftReflective {}

impl CeilingPolicy {
    /// Whether the band of this rank among `bands` may send a request in this round, at this saturation of the pool. Ranks
    /// and rounds may be any numbers. Computes in **O(1)**.
    pub(crate) fn is_open(&self, saturation: f64, rank: usize, bands: usize, round: u64) -> bool {
        let last = bands.saturating_sub(1);
        let (rank, steps) = (rank.min(last) as f64, last.max(1) as f64);
        match self {
            Self::Static(policy) => saturation < policy.ceiling,
            Self::PriorityHoldback(policy) => {
                let range = policy.max_ceiling - policy.min_ceiling;
                saturation < policy.max_ceiling - rank * range / steps
            }
            Self::SoftReflective(_) => {
                saturation < 1.0 - rank * saturation / steps || has_its_turn(saturation, round)
            }
        }
    }

    /// The first field that cannot be used, and what it must be.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let is_share = |ceiling: f64| ceiling > 0.0 && ceiling <= 1.0;
        match self {
            Self::Static(policy) if !is_share(policy.ceiling) => {
                Some(("flow.ceiling.ceiling", "must lie in (0, 1]"))
            }
            Self::PriorityHoldback(policy) if !is_share(policy.max_ceiling) => {
                Some(("flow.ceiling.max_ceiling", "must lie in (0, 1]"))
            }
            Self::PriorityHoldback(policy) if !(0.0..=policy.max_ceiling).contains(&policy.min_ceiling) => {
                Some(("flow.ceiling.min_ceiling", "must lie between 0 and max_ceiling"))
            }
            _ => None,
        }
    }
}

/// Whether closed bands go in this round: every `round(s / (1 - s))`-th, and none in a full pool.
fn has_its_turn(saturation: f64, round: u64) -> bool {
    let period = saturation / (1.0 - saturation) + 0.5;
    // A float-to-integer `as` cuts off the fraction, and saturates.
    saturation < 1.0 && round % (period as u64).max(1) == 0
}

impl PriorityHoldback {
    /// The lowest band closes at `min_ceiling`, the highest when the pool is full.
    pub const fn new(min_ceiling: f64) -> Self {
        Self { min_ceiling, max_ceiling: 1.0 }
    }
}

impl Default for CeilingPolicy {
    fn default() -> Self {
        Self::Static(StaticCeiling::default())
    }
}

impl Default for StaticCeiling {
    fn default() -> Self {
        Self { ceiling: 1.0 }
    }
}

/// The highest band's ceiling, unless it is said.
#[cfg(feature = "serde")]
const fn full() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const SOFT: CeilingPolicy = CeilingPolicy::SoftReflective(SoftReflective {});

    fn holdback(min_ceiling: f64) -> CeilingPolicy {
        CeilingPolicy::PriorityHoldback(PriorityHoldback::new(min_ceiling))
    }

    /// The highest saturation in hundredths at which a band is open.
    fn ceiling(policy: CeilingPolicy, rank: usize, bands: usize) -> u32 {
        let open = |s: &u32| policy.is_open(f64::from(*s) / 100.0, rank, bands, 1);
        (0..=200).take_while(open).count() as u32
    }

    #[test]
    fn by_default_all_bands_close_when_the_pool_is_full() {
        assert!((0..5).all(|rank| ceiling(CeilingPolicy::default(), rank, 5) == 100));
    }

    #[test]
    fn holding_back_takes_equal_steps() {
        let ceilings =
            |bands| (0..bands).map(|rank| ceiling(holdback(0.25), rank, bands)).collect::<Vec<_>>();
        assert_eq!(ceilings(1), [100]);
        assert_eq!(ceilings(2), [100, 25]);
        assert_eq!(ceilings(4), [100, 75, 50, 25]);
        assert_eq!(ceiling(holdback(0.25), 99, 4), 25, "no such rank");
        assert_eq!(ceiling(holdback(0.25), 0, 0), 100);
    }

    /// The cases of the reference's own tests.
    #[test]
    fn soft_reflective_bands_take_turns() {
        let rounds = |saturation: f64, rank, bands| {
            (1..=6).map(|round| SOFT.is_open(saturation, rank, bands, round)).collect::<Vec<_>>()
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
        let field = |policy: CeilingPolicy| policy.invalid().map(|(field, _)| field);
        assert_eq!(field(CeilingPolicy::default()), None);
        assert_eq!(field(SOFT), None);
        assert_eq!(field(holdback(0.0)), None);
        assert_eq!(field(holdback(1.1)), Some("flow.ceiling.min_ceiling"));
        assert_eq!(field(holdback(f64::NAN)), Some("flow.ceiling.min_ceiling"));
        let over = PriorityHoldback { min_ceiling: 0.5, max_ceiling: 1.5 };
        assert_eq!(field(CeilingPolicy::PriorityHoldback(over)), Some("flow.ceiling.max_ceiling"));
        let closed = StaticCeiling { ceiling: 0.0 };
        assert_eq!(field(CeilingPolicy::Static(closed)), Some("flow.ceiling.ceiling"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_lowest_ceiling_must_be_said() {
        let read = |text| serde_json::from_str::<CeilingPolicy>(text).ok();
        assert_eq!(read(r#"{"type": "static"}"#), Some(CeilingPolicy::default()));
        assert_eq!(read(r#"{"type": "priority-holdback", "min_ceiling": 0.5}"#), Some(holdback(0.5)));
        assert_eq!(read(r#"{"type": "priority-holdback"}"#), None);
        assert_eq!(read(r#"{"type": "soft-reflective"}"#), Some(SOFT));
        assert_eq!(read(r#"{"type": "soft-reflective", "ceiling": 1}"#), None);
    }

    proptest! {
        #[test]
        fn what_is_open_to_a_band_is_open_to_those_above_it(
            saturation in 0.0f64..1.5,
            (bands, rank) in (1usize..8).prop_flat_map(|bands| (Just(bands), 0..bands)),
            round in any::<u64>(),
        ) {
            for policy in [CeilingPolicy::default(), holdback(0.3), SOFT] {
                let open = |rank| policy.is_open(saturation, rank, bands, round);
                prop_assert!(!open(rank) || (0..rank).all(open));
                prop_assert!(!open(rank) || saturation < 1.0);
            }
        }
    }
}
