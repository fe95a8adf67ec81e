//! Consistent hashing with bounded loads, as in KubeAI (`PrefixHash`).
//!
//! The start of the prompt (100 characters there, the first block here) and the adapter are hashed
//! onto a ring with 256 points for each replica. The first replica from there on whose load would
//! be at most 1.25 times the mean wins.

use ::slotwise::{Instant, Rng};

use super::load::OwnLoad;
use super::{Finished, Fleet, Incoming, Policy, name_key};

const POINTS: u64 = 256;
const LOAD_FACTOR: f64 = 1.25;

pub(super) struct Chwbl {
    /// (point, replica), sorted.
    ring: Vec<(u64, usize)>,
    load: OwnLoad,
    replicas: usize,
    rng: Rng,
}

impl Chwbl {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let mut points = Rng::new(fleet.seed);
        let mut ring: Vec<(u64, usize)> = (0..fleet.replicas)
            .flat_map(|replica| (0..POINTS).map(move |_| replica))
            .map(|replica| (points.next_u64(), replica))
            .collect();
        ring.sort_unstable();
        Self { ring, load: OwnLoad::new(fleet.replicas), replicas: fleet.replicas, rng: points }
    }
}

impl Policy for Chwbl {
    fn pick(&mut self, _: Instant, request: &Incoming<'_>) -> Option<usize> {
        // A prompt shorter than the key is a key of its own.
        let prefix = request.blocks.first().map_or_else(|| self.rng.next_u64(), |first| first.0);
        let adapter = request.adapter.map_or(0, name_key);
        let key = Rng::new(prefix ^ adapter).next_u64();
        let start = self.ring.partition_point(|(point, _)| *point < key);
        let mean = f64::from(self.load.total() + 1) / self.replicas as f64;
        let walk =
            self.ring[start..].iter().chain(&self.ring[..start]).map(|(_, replica)| *replica);
        let has_room =
            |replica: &usize| f64::from(self.load.requests(*replica) + 1) <= LOAD_FACTOR * mean;
        let replica = walk.clone().find(has_room).or_else(|| walk.clone().next())?;
        self.load.begin(request.id, replica, request.input);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, id: u32) {
        self.load.first_token(id);
    }

    fn complete(&mut self, _: Instant, id: u32, _: Finished) {
        self.load.complete(id);
    }
}
