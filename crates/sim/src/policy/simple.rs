//! Policies that ignore the prompt.

use ::slotwise::{Instant, Rng};

use super::load::OwnLoad;
use super::{Finished, Fleet, Incoming, Policy};

/// Each replica in turn.
pub(super) struct RoundRobin {
    next: usize,
    replicas: usize,
}

impl RoundRobin {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self { next: 0, replicas: fleet.replicas }
    }
}

impl Policy for RoundRobin {
    fn pick(&mut self, _: Instant, _: &Incoming<'_>) -> Option<usize> {
        let replica = self.next;
        self.next = (self.next + 1) % self.replicas;
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, _: u32) {}
    fn complete(&mut self, _: Instant, _: u32, _: Finished) {}
}

/// A random replica.
pub(super) struct Random {
    rng: Rng,
    replicas: usize,
}

impl Random {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self { rng: Rng::new(fleet.seed), replicas: fleet.replicas }
    }
}

impl Policy for Random {
    fn pick(&mut self, _: Instant, _: &Incoming<'_>) -> Option<usize> {
        Some(self.rng.below(self.replicas as u64) as usize)
    }

    fn first_token(&mut self, _: Instant, _: u32) {}
    fn complete(&mut self, _: Instant, _: u32, _: Finished) {}
}

/// Fewest own requests in flight; ties at random.
pub(super) struct LeastRequest {
    load: OwnLoad,
    rng: Rng,
    replicas: usize,
}

impl LeastRequest {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            load: OwnLoad::new(fleet.replicas),
            rng: Rng::new(fleet.seed),
            replicas: fleet.replicas,
        }
    }
}

impl Policy for LeastRequest {
    fn pick(&mut self, _: Instant, request: &Incoming<'_>) -> Option<usize> {
        let load = &self.load;
        let replica =
            min_by(self.replicas, &mut self.rng, |replica| f64::from(load.requests(replica)))?;
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

/// Two at random, and of these the one with fewer own requests in flight.
pub(super) struct PowerOfTwo {
    load: OwnLoad,
    rng: Rng,
    replicas: usize,
}

impl PowerOfTwo {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            load: OwnLoad::new(fleet.replicas),
            rng: Rng::new(fleet.seed),
            replicas: fleet.replicas,
        }
    }
}

impl Policy for PowerOfTwo {
    fn pick(&mut self, _: Instant, request: &Incoming<'_>) -> Option<usize> {
        let first = self.rng.below(self.replicas as u64) as usize;
        let others = (self.replicas as u64 - 1).max(1);
        let second = (first + 1 + self.rng.below(others) as usize) % self.replicas;
        let busier = self.load.requests(first) > self.load.requests(second);
        let replica = if busier { second } else { first };
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

/// The replica with the least `cost`; ties at random.
pub(super) fn min_by(replicas: usize, rng: &mut Rng, cost: impl Fn(usize) -> f64) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    let mut ties = 0;
    for replica in 0..replicas {
        let cost = cost(replica);
        match best {
            Some((least, _)) if cost > least => {}
            Some((least, _)) if cost >= least => {
                ties += 1;
                if rng.below(ties + 1) == 0 {
                    best = Some((cost, replica));
                }
            }
            _ => {
                best = Some((cost, replica));
                ties = 0;
            }
        }
    }
    best.map(|(_, replica)| replica)
}
