//! The simulation: a gateway with a policy in front of replicas, from one event to the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slotwise::Instant;

use crate::policy::{Finished, Fleet, Incoming, Needs, Policy, PolicyKind, Report};
use crate::replica::{Engine, EngineConfig, Job, KvChange};
use crate::trace::{Trace, Turn, adapter_name};

/// A fleet, and how its gateway hears of it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Replicas.
    pub replicas: usize,
    /// How each of them was started.
    pub engine: EngineConfig,
    /// How many of them are how many times slower: the first ones.
    pub slow: Option<(usize, f64)>,
    /// How often metrics are scraped.
    pub scrape: Duration,
    /// How long metrics and KV events are on their way.
    pub delay: Duration,
    /// A factor on the workload's own pace.
    pub speed: f64,
    /// For arrivals, and for what policies leave to chance.
    pub seed: u64,
}

/// What became of the requests, and what the replicas looked like meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Every request, in order of arrival.
    pub requests: Vec<Outcome>,
    /// Requests in flight on each replica, once a second while there are any.
    pub loads: Vec<(Instant, Vec<u32>)>,
    /// Sequences that lost their KV memory to an older one.
    pub preemptions: u64,
    /// Adapters that were loaded.
    pub adapter_loads: u64,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// When it came.
    pub arrived: Instant,
    /// Where it went; nowhere if it was rejected.
    pub replica: Option<usize>,
    /// When its first token came.
    pub first_token: Option<Instant>,
    /// When its answer was complete.
    pub finished: Option<Instant>,
    /// Tokens of the prompt.
    pub input: u32,
    /// Those of them that were found in the cache.
    pub cached: u32,
    /// Tokens of the answer.
    pub output: u32,
}

/// Runs a workload under a policy.
pub fn simulate(trace: &Trace, setup: &Setup, kind: &PolicyKind) -> Record {
    let fleet = Fleet {
        replicas: setup.replicas,
        class: setup.engine.class,
        block_tokens: trace.block_tokens,
        chunk: setup.engine.max_batched_tokens,
        adapter_slots: setup.engine.adapter_slots,
        adapter_load: setup.engine.adapter_load,
        seed: setup.seed,
    };
    Simulation::new(trace, setup, kind.build(&fleet)).run()
}

struct Simulation<'a> {
    trace: &'a Trace,
    setup: &'a Setup,
    policy: Box<dyn Policy>,
    needs: Needs,
    engines: Vec<Engine>,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    /// Numbers events, so that simultaneous ones keep their order.
    sequence: u64,
    /// Metrics and events on their way, in order of arrival since all take as long.
    mail: std::collections::VecDeque<Mail>,
    /// Which session and turn each request is.
    turns: Vec<(usize, usize)>,
    record: Record,
    /// Requests that are not over, and sessions that have not begun.
    open: usize,
    /// Requests at the replicas.
    in_flight: usize,
    /// Whether a scrape is due, and a sample. Nobody watches an idle fleet.
    scraping: bool,
    sampling: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    /// A session's turn is sent.
    Send { session: usize, turn: usize },
    /// A replica's step ends.
    StepEnds { replica: usize },
    /// The gateway asks all replicas for their metrics.
    Scrape,
    /// The oldest mail arrives.
    Deliver,
    /// The loads are recorded.
    Sample,
}

enum Mail {
    Report(usize, Report),
    Change(usize, KvChange),
}

const SAMPLE: Duration = Duration::from_secs(1);

impl<'a> Simulation<'a> {
    fn new(trace: &'a Trace, setup: &'a Setup, policy: Box<dyn Policy>) -> Self {
        let engines = (0..setup.replicas).map(|replica| {
            let slowness = match setup.slow {
                Some((count, slowness)) if replica < count => slowness,
                _ => 1.0,
            };
            Engine::new(EngineConfig { slowness, ..setup.engine }, trace.block_tokens)
        });
        let mut simulation = Self {
            trace,
            setup,
            needs: policy.needs(),
            policy,
            engines: engines.collect(),
            now: Instant::ORIGIN,
            queue: BinaryHeap::new(),
            sequence: 0,
            mail: std::collections::VecDeque::new(),
            turns: Vec::new(),
            record: Record::default(),
            open: 0,
            in_flight: 0,
            scraping: false,
            sampling: false,
        };
        for (at, session) in trace.schedule(setup.speed, setup.seed) {
            simulation.send_at(at, session, 0);
        }
        simulation
    }

    fn run(mut self) -> Record {
        while self.open > 0 {
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            match event {
                Event::Send { session, turn } => self.send(session, turn),
                Event::StepEnds { replica } => self.end_step(replica),
                Event::Scrape => self.scrape(),
                Event::Deliver => self.deliver(),
                Event::Sample => self.sample(),
            }
        }
        self.record.preemptions = self.engines.iter().map(Engine::preemptions).sum();
        self.record.adapter_loads = self.engines.iter().map(Engine::adapter_loads).sum();
        self.record
    }

    fn send(&mut self, session: usize, turn: usize) {
        let asked = &self.trace.sessions[session].turns[turn];
        for spawn in self.trace.sessions[session].spawns.iter().filter(|spawn| spawn.turn == turn) {
            self.send_at(self.now + spawn.delay, spawn.session, 0);
        }
        let id = self.turns.len() as u32;
        self.turns.push((session, turn));
        let outcome =
            Outcome { arrived: self.now, input: asked.input, output: asked.output, ..Outcome::default() };
        self.record.requests.push(outcome);

        let job = job(id, asked);
        let fits = self.engines[0].fits(&job);
        let adapter = asked.adapter.map(adapter_name);
        let incoming =
            Incoming { id, input: asked.input, blocks: &asked.blocks, adapter: adapter.as_deref() };
        let picked = if fits { self.policy.pick(self.now, &incoming) } else { None };
        let Some(replica) = picked else {
            // Rejected: the client gives this turn up and goes on with the next.
            self.end_turn(id);
            return;
        };
        self.record.requests[id as usize].replica = Some(replica);
        self.in_flight += 1;
        self.engines[replica].enqueue(job);
        self.start_step(replica);
        if !std::mem::replace(&mut self.sampling, true) {
            self.at(self.now, Event::Sample);
        }
        if self.needs.metrics && !std::mem::replace(&mut self.scraping, true) {
            self.at(self.now, Event::Scrape);
        }
    }

    fn start_step(&mut self, replica: usize) {
        if self.engines[replica].is_stepping() {
            return;
        }
        if let Some(length) = self.engines[replica].start_step() {
            self.at(self.now + length, Event::StepEnds { replica });
        }
    }

    fn end_step(&mut self, replica: usize) {
        let outcome = self.engines[replica].finish_step();
        let changes = self.engines[replica].take_events();
        if self.needs.kv_events {
            for change in changes {
                self.post(Mail::Change(replica, change));
            }
        }
        for (id, cached) in outcome.first_tokens {
            let request = &mut self.record.requests[id as usize];
            request.first_token = Some(self.now);
            request.cached = cached;
            self.policy.first_token(self.now, id);
        }
        for id in outcome.finished {
            let request = &mut self.record.requests[id as usize];
            request.finished = Some(self.now);
            let usage =
                Finished { prompt: request.input, cached: request.cached, completion: request.output };
            self.policy.complete(self.now, id, usage);
            self.in_flight -= 1;
            self.end_turn(id);
        }
        self.start_step(replica);
    }

    /// The session thinks, and sends its next turn.
    fn end_turn(&mut self, id: u32) {
        let (session, turn) = self.turns[id as usize];
        if let Some(next) = self.trace.sessions[session].turns.get(turn + 1) {
            self.send_at(self.now + next.think, session, turn + 1);
        }
        self.open -= 1;
    }

    fn scrape(&mut self) {
        for replica in 0..self.engines.len() {
            let report = Report { sampled_at: self.now, snapshot: self.engines[replica].snapshot() };
            self.post(Mail::Report(replica, report));
        }
        // The last scrape sees an idle fleet.
        self.scraping = self.in_flight > 0;
        if self.scraping {
            self.at(self.now + self.setup.scrape, Event::Scrape);
        }
    }

    fn post(&mut self, mail: Mail) {
        self.mail.push_back(mail);
        self.at(self.now + self.setup.delay, Event::Deliver);
    }

    fn deliver(&mut self) {
        match self.mail.pop_front() {
            Some(Mail::Report(replica, report)) => self.policy.report(self.now, replica, &report),
            Some(Mail::Change(replica, change)) => self.policy.kv_event(self.now, replica, &change),
            None => {}
        }
    }

    fn sample(&mut self) {
        let loads = self.engines.iter().map(|engine| engine.in_flight() as u32).collect();
        self.record.loads.push((self.now, loads));
        self.sampling = self.in_flight > 0;
        if self.sampling {
            self.at(self.now + SAMPLE, Event::Sample);
        }
    }

    fn send_at(&mut self, at: Instant, session: usize, turn: usize) {
        self.open += 1;
        self.at(at, Event::Send { session, turn });
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }
}

fn job(id: u32, turn: &Turn) -> Job {
    Job { id, input: turn.input, output: turn.output, blocks: turn.blocks.clone(), adapter: turn.adapter }
}
