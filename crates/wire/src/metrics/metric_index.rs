//! The metrics that are looked for, found by name: most lines of a page are none of them, and are let go at once.

use alloc::vec::Vec;

use super::engine::{Engine, Meaning};
use super::spec::MetricSpec;

/// A metric that is looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) spec: MetricSpec,
    pub(super) meaning: Meaning,
    /// Of metrics for the same field, that with the lowest counts.
    pub(super) precedence: u8,
    /// Whose it is; none if it was asked for by name.
    pub(super) engine: Option<Engine>,
}

/// Metrics by name.
#[derive(Clone, Debug, Default)]
pub(super) struct MetricIndex {
    /// By the length of the name, then by the name, then as they were added.
    wanted: Vec<Wanted>,
    /// A bit for each [`trait_of`] a name: what sets it apart before it is compared.
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

    /// Forgets what engines say of this.
    pub(super) fn forget(&mut self, meaning: Meaning) {
        self.wanted.retain(|wanted| wanted.meaning != meaning || wanted.engine.is_none());
    }

    /// How many have been asked for that say this.
    pub(super) fn asked(&self, meaning: Meaning) -> u8 {
        let asked = self
            .wanted
            .iter()
            .filter(|wanted| wanted.meaning == meaning && wanted.engine.is_none());
        u8::try_from(asked.count()).unwrap_or(u8::MAX)
    }

    /// All metrics of this name, with the labels that tell them apart.
    pub(super) fn find(&self, name: &[u8]) -> &[Wanted] {
        if self.traits >> (trait_of(name) & 127) & 1 == 0 {
            return &[];
        }
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

/// A number, of which the lowest seven bits count, from the length of a name, its last letter, in which `_bucket`, `_sum`, `_count`, `_total` and
/// `_created` differ from gauges, and one in its middle, in which gauges differ from each other.
fn trait_of(name: &[u8]) -> u32 {
    let letter = |at: usize| name.get(at).copied().map_or(0, u32::from);
    let length = name.len();
    (length as u32).wrapping_mul(5)
        ^ letter(length.wrapping_sub(1))
        ^ letter(length / 2).wrapping_mul(3)
}
