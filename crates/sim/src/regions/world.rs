//! The simulation: entries, regions of engines, and the loss of one.
//!
//! Each region has an entry for its clients, which stays up; its replicas may be lost. Within a
//! region, a conversation returns to its last replica unless that has many more requests than the
//! idlest, under every router.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slotwise::{Instant, Rng};

use super::router::{Asked, Load, Router};
use super::workload::Conversation;
use super::{NETWORK, Setup, TOKENS_PER_BLOCK};
use crate::measure::{TPOT_SLO_S, TTFT_SLO_S};
use crate::replica::{Engine, EngineConfig, Job};

/// A request and what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) home: usize,
    pub(super) region: usize,
    pub(super) input: u32,
    pub(super) cached: u32,
    pub(super) first_token: Option<Instant>,
    pub(super) finished: Option<Instant>,
    pub(super) lost: bool,
    sent: Instant,
    output: u32,
    conversation: usize,
    turn: usize,
    /// Whether it is at its region.
    arrived: bool,
}

impl Request {
    /// Seconds to the first token, the network included.
    pub(super) fn ttft(&self) -> Option<f64> {
        Some(self.first_token?.saturating_since(self.sent).as_secs_f64())
    }

    pub(super) fn is_good(&self) -> bool {
        let (Some(ttft), Some(first), Some(last)) = (self.ttft(), self.first_token, self.finished)
        else {
            return false;
        };
        let decoding = last.saturating_since(first).as_secs_f64();
        ttft <= TTFT_SLO_S && decoding <= TPOT_SLO_S * f64::from(self.output.max(2) - 1)
    }
}

/// The requests of a run.
pub(super) fn run(
    setup: &Setup,
    conversations: &[Conversation],
    make: &dyn Fn(usize, f64) -> Box<dyn Router>,
) -> Vec<Request> {
    let rate = 4_000.0 / setup.class.prefill_seconds(4_000, 0);
    let routers = [0, 1].map(|home| make(home, rate));
    let mut world = World {
        setup,
        conversations,
        routers,
        engines: [0, 1].map(|_| engines(setup)),
        generation: [0; 2],
        requests: Vec::new(),
        places: vec![None; conversations.len()],
        rng: Rng::new(setup.seed),
        queue: BinaryHeap::new(),
        sequence: 0,
        now: Instant::ORIGIN,
        open: conversations.len(),
    };
    world.run();
    world.requests
}

fn engines(setup: &Setup) -> Vec<Engine> {
    let config = EngineConfig::new(setup.class);
    (0..setup.replicas).map(|_| Engine::new(config, TOKENS_PER_BLOCK)).collect()
}

struct World<'a> {
    setup: &'a Setup,
    conversations: &'a [Conversation],
    routers: [Box<dyn Router>; 2],
    engines: [Vec<Engine>; 2],
    /// Grows when a region is lost and when it returns: even means up.
    generation: [u32; 2],
    requests: Vec<Request>,
    /// The region, the replica and the prompt of each conversation's last turn.
    places: Vec<Option<(usize, usize, u32)>>,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    now: Instant,
    /// Conversations that have not ended.
    open: usize,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Send {
        conversation: usize,
        turn: usize,
    },
    /// A request arrives at a region.
    Arrive {
        id: usize,
    },
    /// An entry learns that a region has not accepted a request, or has dropped it.
    Failed {
        id: usize,
    },
    StepEnds {
        region: usize,
        replica: usize,
        generation: u32,
    },
    Report,
    Lose,
    Return,
}

impl World<'_> {
    fn run(&mut self) {
        for (at, conversation) in self.conversations.iter().enumerate() {
            self.at(conversation.begins, Event::Send { conversation: at, turn: 0 });
        }
        self.at(self.now, Event::Report);
        self.at(self.now + self.setup.lost_at, Event::Lose);
        self.at(self.now + self.setup.lost_at + self.setup.lost_for, Event::Return);
        while self.open > 0 {
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            match event {
                Event::Send { conversation, turn } => self.send(conversation, turn),
                Event::Arrive { id } => self.arrive(id),
                Event::Failed { id } => self.retry(id),
                Event::StepEnds { region, replica, generation } => {
                    if generation == self.generation[region] {
                        self.end_step(region, replica);
                    }
                }
                Event::Report => self.report(),
                Event::Lose => self.lose(),
                Event::Return => {
                    self.generation[LOST] += 1;
                }
            }
        }
    }

    fn send(&mut self, at: usize, turn: usize) {
        let conversation = &self.conversations[at];
        self.requests.push(Request {
            home: conversation.home,
            input: conversation.turns[turn].input,
            output: conversation.turns[turn].output,
            sent: self.now,
            conversation: at,
            turn,
            ..Request::default()
        });
        self.route(self.requests.len() - 1, None);
    }

    fn route(&mut self, id: usize, failed: Option<usize>) {
        let request = &self.requests[id];
        let session = request.conversation.to_string();
        let last = self.places[request.conversation].map(|(region, _, tokens)| (region, tokens));
        let asked = Asked { id, input: request.input, session: &session, last, failed };
        match self.routers[request.home].choose(self.now, &asked) {
            Some(region) => {
                let arrives = self.now + one_way(request.home, region);
                self.requests[id].region = region;
                self.at(arrives, Event::Arrive { id });
            }
            None => self.lose_request(id),
        }
    }

    fn arrive(&mut self, id: usize) {
        let Request { home, region, conversation, turn, .. } = self.requests[id];
        if !self.is_up(region) {
            self.at(self.now + one_way(home, region), Event::Failed { id });
            return;
        }
        let engines = &mut self.engines[region];
        let idlest = (0..engines.len()).min_by_key(|at| engines[*at].in_flight()).unwrap_or(0);
        let last = self.places[conversation].filter(|place| place.0 == region);
        let replica = match last {
            Some((_, last, _))
                if engines[last].in_flight() <= 2 * engines[idlest].in_flight() + 4 =>
            {
                last
            }
            _ => idlest,
        };
        let asked = &self.conversations[conversation].turns[turn];
        engines[replica].enqueue(Job {
            id: id as u32,
            input: asked.input,
            output: asked.output,
            blocks: asked.blocks.clone(),
            adapter: None,
            received: false,
        });
        self.requests[id].arrived = true;
        self.places[conversation] = Some((region, replica, asked.input));
        self.start_step(region, replica);
    }

    /// Another region is asked if the answer has not begun.
    fn retry(&mut self, id: usize) {
        let Request { home, region, first_token, .. } = self.requests[id];
        self.routers[home].fail(self.now, region, id);
        if first_token.is_some() {
            self.lose_request(id);
        } else {
            self.route(id, Some(region));
        }
    }

    fn lose_request(&mut self, id: usize) {
        self.requests[id].lost = true;
        self.open -= 1;
    }

    fn start_step(&mut self, region: usize, replica: usize) {
        let engine = &mut self.engines[region][replica];
        if engine.is_stepping() {
            return;
        }
        if let Some(length) = engine.start_step() {
            let generation = self.generation[region];
            self.at(self.now + length, Event::StepEnds { region, replica, generation });
        }
    }

    fn end_step(&mut self, region: usize, replica: usize) {
        let outcome = self.engines[region][replica].finish_step();
        drop(self.engines[region][replica].take_events());
        for (id, cached) in outcome.first_tokens {
            let request = &mut self.requests[id as usize];
            request.first_token = Some(self.now + one_way(request.home, region));
            request.cached = cached;
            let (home, ttft) = (request.home, request.ttft());
            self.routers[home].first_token(self.now, id as usize, ttft.unwrap_or_default());
        }
        for id in outcome.finished {
            let request = &mut self.requests[id as usize];
            let ended = self.now + one_way(request.home, region);
            request.finished = Some(ended);
            let Request { home, conversation, turn, .. } = *request;
            self.routers[home].complete(self.now, region, id as usize);
            if turn + 1 < self.conversations[conversation].turns.len() {
                let think = Duration::from_secs_f64(5.0 + 20.0 * self.rng.unit());
                self.at(ended + think, Event::Send { conversation, turn: turn + 1 });
            } else {
                self.open -= 1;
            }
        }
        self.start_step(region, replica);
    }

    /// Both entries get the reports of the regions that are up.
    fn report(&mut self) {
        for region in 0..2 {
            if !self.is_up(region) {
                continue;
            }
            let snapshots: Vec<_> = self.engines[region].iter().map(Engine::snapshot).collect();
            let replicas = snapshots.len() as f64;
            let queue = snapshots.iter().map(|it| f64::from(it.waiting)).sum::<f64>() / replicas;
            let in_flight = self.engines[region].iter().map(Engine::in_flight).sum::<usize>();
            let load = Load {
                ready: snapshots.len() as u32,
                in_flight: in_flight as u32,
                queue,
                kv_usage: snapshots.iter().map(|it| it.kv_usage).sum::<f64>() / replicas,
                wait: queue * self.setup.class.prefill_seconds(MEAN_PREFILL, 0),
            };
            for router in &mut self.routers {
                router.report(self.now, region, load);
            }
        }
        self.at(self.now + REPORT_EVERY, Event::Report);
    }

    /// All replicas of the region stop, with their caches and requests.
    fn lose(&mut self) {
        self.generation[LOST] += 1;
        self.engines[LOST] = engines(self.setup);
        let dropped: Vec<_> = (0..self.requests.len())
            .filter(|id| {
                let it = &self.requests[*id];
                it.region == LOST && it.arrived && it.finished.is_none()
            })
            .collect();
        for id in dropped {
            let home = self.requests[id].home;
            self.requests[id].arrived = false;
            self.at(self.now + one_way(home, LOST), Event::Failed { id });
        }
    }

    fn is_up(&self, region: usize) -> bool {
        self.generation[region].is_multiple_of(2)
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }
}

fn one_way(from: usize, to: usize) -> Duration {
    if from == to { Duration::ZERO } else { NETWORK / 2 }
}

/// The region that is lost.
const LOST: usize = 0;
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Tokens that a queued request has to compute on average.
const MEAN_PREFILL: u32 = 2_000;
