//! A gateway's record of its own requests: how many each replica has, and the prefill still to
//! come.

use std::collections::HashMap;

/// Own requests per replica.
#[derive(Debug)]
pub(super) struct OwnLoad {
    requests: HashMap<u32, Assigned>,
    replicas: Vec<Replica>,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    /// Its replica.
    pub(super) replica: usize,
    /// Prompt tokens that it computes.
    pub(super) miss: u32,
    pending: bool,
}

/// Own load of one replica.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replica {
    /// Requests in flight.
    pub(super) requests: u32,
    /// Prompt tokens to compute of requests before their first token.
    pub(super) pending_tokens: u64,
}

impl OwnLoad {
    pub(super) fn new(replicas: usize) -> Self {
        Self { requests: HashMap::new(), replicas: vec![Replica::default(); replicas] }
    }

    pub(super) fn begin(&mut self, id: u32, replica: usize, miss: u32) {
        self.requests.insert(id, Assigned { replica, miss, pending: true });
        self.replicas[replica].requests += 1;
        self.replicas[replica].pending_tokens += u64::from(miss);
    }

    /// Records the first token. Returns the replica, unless the token was recorded before.
    pub(super) fn first_token(&mut self, id: u32) -> Option<Assigned> {
        let assigned = self.requests.get_mut(&id).filter(|assigned| assigned.pending)?;
        assigned.pending = false;
        self.replicas[assigned.replica].pending_tokens -= u64::from(assigned.miss);
        Some(*assigned)
    }

    pub(super) fn complete(&mut self, id: u32) -> Option<Assigned> {
        self.first_token(id);
        let assigned = self.requests.remove(&id)?;
        self.replicas[assigned.replica].requests -= 1;
        Some(assigned)
    }

    pub(super) fn of(&self, replica: usize) -> Replica {
        self.replicas[replica]
    }

    pub(super) fn requests(&self, replica: usize) -> u32 {
        self.replicas[replica].requests
    }

    pub(super) fn total(&self) -> u32 {
        self.replicas.iter().map(|replica| replica.requests).sum()
    }
}
