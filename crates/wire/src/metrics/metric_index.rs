//! The wanted metrics by name. Most lines of a page are not wanted and are rejected with one bit
//! test.

use alloc::vec::Vec;

use super::engine::{Engine, Meaning};
use super::spec::MetricSpec;

/// A wanted metric.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) spec: MetricSpec,
    pub(super) meaning: Meaning,
    /// Among metrics for the same field, the lowest precedence counts.
    pub(super) precedence: u8,
    /// The engine of a built-in metric; `None` for one that was requested by name.
    pub(super) engine: Option<Engine>,
}

/// Metrics by name.
#[derive(Clone, Debug, Default)]
pub(super) struct MetricIndex {
    /// Sorted by length of the name, then by name, then by insertion.
    wanted: Vec<Wanted>,
    /// One bit for each [`trait_of`] a name, tested before names are compared.
    traits: u128,
}

impl MetricIndex {
    pub(super) fn add(&mut self, wanted: Wanted) {
        let name = wanted.spec.name();
        self.traits |= 1 << (trait_of(name.as_bytes()) & 127);
        let at = self
            .wanted
            .partition_point(|other| key(other.spec.name().as_bytes()) <= key(name.as_bytes()));
        self.wanted.insert(at, wanted);
    }

    /// Removes the built-in metrics with this meaning.
    pub(super) fn forget(&mut self, meaning: Meaning) {
        self.wanted.retain(|wanted| wanted.meaning != meaning || wanted.engine.is_none());
    }

    /// The number of requested metrics with this meaning.
    pub(super) fn asked(&self, meaning: Meaning) -> u8 {
        let asked = self
            .wanted
            .iter()
            .filter(|wanted| wanted.meaning == meaning && wanted.engine.is_none());
        u8::try_from(asked.count()).unwrap_or(u8::MAX)
    }

    /// All metrics of this name; their labels differ.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> &[Wanted] {
        if self.traits >> (trait_of(name) & 127) & 1 == 0 {
            return &[];
        }
        self.search(name)
    }

    #[inline(never)]
    fn search(&self, name: &[u8]) -> &[Wanted] {
        let after =
            self.wanted.partition_point(|other| key(other.spec.name().as_bytes()) < key(name));
        let found = self.wanted.get(after..).unwrap_or_default();
        let count = found.iter().take_while(|other| other.spec.name().as_bytes() == name).count();
        found.get(..count).unwrap_or_default()
    }
}

fn key(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

/// A hash of a name, of which the lowest seven bits count.
///
/// It covers the length, the last letter and the middle letter. The last letter separates
/// `_bucket`, `_sum`, `_count`, `_total` and `_created` from gauges; the middle letter separates
/// gauges from each other.
fn trait_of(name: &[u8]) -> u32 {
    let letter = |at: usize| name.get(at).copied().map_or(0, u32::from);
    let length = name.len();
    (length as u32).wrapping_mul(5)
        ^ letter(length.wrapping_sub(1))
        ^ letter(length / 2).wrapping_mul(3)
}
