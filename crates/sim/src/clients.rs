//! The clients of each session: its class, its tenant, and how long they wait.

use std::time::Duration;

use slotwise::Rng;

use crate::trace::Trace;

/// The clients, beyond the workload itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clients {
    /// The classes, if there are two.
    pub classes: Option<Classes>,
    /// Tenants, by Zipf's law; the first sends ten times its share. 1 means no division.
    pub tenants: u32,
    /// Only these clients send; the rest of the workload is unchanged.
    pub only: Option<Group>,
    /// How long a request may wait at a gateway that holds requests.
    pub ttl: Duration,
    /// Whether our scheduler queues new sessions while no cache has room for them.
    pub guard: bool,
}

/// Interactive and batch requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classes {
    /// The share of sessions that are batch; of requests, where each is alone.
    pub batch: f64,
    /// The priority of interactive requests.
    pub interactive_priority: i32,
    /// The priority of batch requests.
    pub batch_priority: i32,
}

/// Some of the clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Interactive requests.
    Interactive,
    /// All tenants but the first.
    Quiet,
}

/// The client of a session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Client {
    /// Whether it is batch.
    pub batch: bool,
    /// The tenant.
    pub tenant: u32,
}

/// How many times its share the first tenant sends.
const GREED: f64 = 10.0;

impl Default for Clients {
    fn default() -> Self {
        Self { classes: None, tenants: 1, only: None, ttl: Duration::from_secs(60), guard: false }
    }
}

impl Clients {
    /// The client of each session, by seed; sub-agents are their parents' client.
    pub fn assign(&self, trace: &Trace, seed: u64) -> Vec<Client> {
        let mut rng = Rng::new(seed ^ 0xc11e_4751);
        let weight = |rank: u32| if rank == 0 { GREED } else { 1.0 / f64::from(rank + 1) };
        let total: f64 = (0..self.tenants).map(weight).sum();
        let mut clients: Vec<Client> = Vec::with_capacity(trace.sessions.len());
        for _ in &trace.sessions {
            let batch = rng.unit() < self.classes.map_or(0.0, |classes| classes.batch);
            let mut left = rng.unit() * total;
            let tenant = (0..self.tenants).find(|rank| {
                left -= weight(*rank);
                left <= 0.0
            });
            // Rounding may leave a remainder.
            clients.push(Client { batch, tenant: tenant.unwrap_or_default() });
        }
        // Parents stand before their sub-agents.
        for (parent, session) in trace.sessions.iter().enumerate() {
            for spawn in &session.spawns {
                clients[spawn.session] = clients[parent];
            }
        }
        clients
    }

    /// Whether a client sends requests.
    pub fn sends(&self, client: Client) -> bool {
        match self.only {
            None => true,
            Some(Group::Interactive) => !client.batch,
            Some(Group::Quiet) => client.tenant != 0,
        }
    }

    /// The priority of a client's requests.
    pub fn priority(&self, client: Client) -> i32 {
        match self.classes {
            Some(classes) if client.batch => classes.batch_priority,
            Some(classes) => classes.interactive_priority,
            None => 0,
        }
    }
}
