//! The simulation: a gateway with a policy in front of replicas, from one event to the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slotwise::Instant;

use crate::clients::{Client, Clients};
use crate::policy::{
    Booked, Finished, Fleet, Forecast, Gateways, Incoming, Needs, Policy, PolicyKind, Refusal,
    Reloaded, Report, Traffic, Verdict,
};
use crate::pools::{Network, Pools};
use crate::replica::{ClassMix, Engine, EngineConfig, Job, KvChange};
use crate::service_level::ServiceLevel;
use crate::trace::{Session, Trace, Turn, adapter_name};

/// A fleet, and the delays of its metrics and events.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Replicas.
    pub replicas: usize,
    /// Their roles, for policies that use them.
    pub pools: Pools,
    /// How each of them was started.
    pub engine: EngineConfig,
    /// Their classes, in turn; `None` means that all have the class of `engine`.
    pub mix: Option<ClassMix>,
    /// The number of slower replicas, which come first, and how many times slower they are.
    pub slow: Option<(usize, f64)>,
    /// How often metrics are scraped.
    pub scrape: Duration,
    /// The delay of metrics and KV events.
    pub delay: Duration,
    /// A factor on the workload's own pace.
    pub speed: f64,
    /// The clients.
    pub clients: Clients,
    /// The time in which a first token is useful, where a policy has deadlines.
    pub deadline: Duration,
    /// The gateways, where a policy can have several; `None` is one without messages.
    pub gateways: Option<Gateways>,
    /// What requests should keep: for the scheduler's prices, and for the share of good requests.
    pub level: ServiceLevel,
    /// The seed of arrivals, of clients, and of the policies' random choices.
    pub seed: u64,
}

/// The outcome of each request, and the load of the replicas over time.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Every request, in order of arrival. A request that was never sent, because its session was
    /// refused, has the time of that refusal.
    pub requests: Vec<Outcome>,
    /// Requests in flight on each replica, once a second while there are any.
    pub loads: Vec<(Instant, Vec<u32>)>,
    /// Sequences that lost their KV memory to an older one.
    pub preemptions: u64,
    /// Adapters that were loaded.
    pub adapter_loads: u64,
    /// What the policy still had booked after the last request, if it keeps account.
    pub booked: Option<Booked>,
    /// The service level by which requests are good.
    pub level: ServiceLevel,
    /// Changes of the policy's configuration.
    pub reloads: Vec<Reloaded>,
    /// The messages between gateways.
    pub traffic: Option<Traffic>,
}

/// The outcome of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// When it arrived.
    pub arrived: Instant,
    /// Its client.
    pub client: Client,
    /// Its replica; none if it was rejected.
    pub replica: Option<usize>,
    /// The replica that computed its prompt, if that was another one.
    pub prefiller: Option<usize>,
    /// When it was dispatched.
    pub dispatched: Option<Instant>,
    /// Why it was rejected.
    pub refused: Option<Refusal>,
    /// When its first token arrived.
    pub first_token: Option<Instant>,
    /// When its answer was complete.
    pub finished: Option<Instant>,
    /// Tokens of the prompt.
    pub input: u32,
    /// Prompt tokens that were found in the cache.
    pub cached: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// What the policy predicted at the dispatch.
    pub forecast: Option<Forecast>,
}

impl Setup {
    /// The classes of the replicas, in turn.
    pub fn mix(&self) -> ClassMix {
        self.mix.unwrap_or_else(|| self.engine.class.into())
    }
}

/// Runs a workload under a policy.
pub fn simulate(trace: &Trace, setup: &Setup, kind: &PolicyKind) -> Record {
    simulate_with(trace, setup, kind.build(&fleet_of(trace, setup)))
}

/// What a gateway's operator configures about the fleet of a run.
pub(crate) fn fleet_of(trace: &Trace, setup: &Setup) -> Fleet {
    Fleet {
        replicas: setup.replicas,
        pools: setup.pools,
        class: setup.engine.class,
        mix: setup.mix(),
        deadline: setup.deadline,
        level: setup.level,
        block_tokens: trace.block_tokens,
        chunk: setup.engine.max_batched_tokens,
        adapter_slots: setup.engine.adapter_slots,
        adapter_load_time: setup.engine.adapter_load_time,
        adapter_ranks: setup.engine.adapter_ranks,
        ttl: setup.clients.ttl,
        guard: setup.clients.guard,
        gateways: setup.gateways,
        seed: setup.seed,
    }
}

/// Runs a workload under a policy of the caller's.
pub fn simulate_with(trace: &Trace, setup: &Setup, policy: Box<dyn Policy>) -> Record {
    Simulation::new(trace, setup, policy).run()
}

struct Simulation<'a> {
    trace: &'a Trace,
    setup: &'a Setup,
    policy: Box<dyn Policy>,
    needs: Needs,
    engines: Vec<Engine>,
    network: Network,
    /// Requests whose prompts are computed, with the replicas that compute and that answer.
    prefilling: std::collections::HashMap<u32, (usize, usize)>,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    /// Numbers events, so that simultaneous ones keep their order.
    sequence: u64,
    /// Metrics and events in transit, in order of arrival: all have the same delay.
    mail: std::collections::VecDeque<Mail>,
    /// The client of each session, and the session that spawned it.
    clients: Vec<Client>,
    parents: Vec<Option<usize>>,
    /// Whether sessions have more than one request, so that clients name them.
    has_sessions: bool,
    /// Sessions of which a request was refused.
    refused: Vec<bool>,
    /// When each session's first request was sent.
    begun: Vec<Instant>,
    /// The session and the turn of each request.
    turns: Vec<(usize, usize)>,
    record: Record,
    /// Requests that are not over, and sessions that have not begun.
    open: usize,
    /// Requests at the replicas.
    in_flight: usize,
    /// Requests that wait at the gateway.
    waiting: usize,
    /// The next time at which the policy is polled.
    wake: Option<Instant>,
    /// Whether a scrape and a sample are due. An idle fleet has neither.
    scraping: bool,
    sampling: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    /// A session's turn is sent.
    Send { session: usize, turn: usize },
    /// A replica's step ends.
    StepEnds { replica: usize },
    /// A prompt's KV cache arrives at the replica that answers.
    Received { id: u32, replica: usize },
    /// The gateway scrapes all replicas.
    Scrape,
    /// The oldest metrics or event in transit arrives.
    Deliver,
    /// The loads are recorded.
    Sample,
    /// The policy requested a poll.
    Wake,
}

enum Mail {
    Report(usize, Report),
    Change(usize, KvChange),
}

const SAMPLE: Duration = Duration::from_secs(1);
/// The shortest time between two polls of a policy.
const TICK: Duration = Duration::from_micros(1);

impl<'a> Simulation<'a> {
    fn new(trace: &'a Trace, setup: &'a Setup, policy: Box<dyn Policy>) -> Self {
        let engines = (0..setup.replicas).map(|replica| {
            let slowdown = match setup.slow {
                Some((count, slowdown)) if replica < count => slowdown,
                _ => 1.0,
            };
            let class = setup.mix().of(replica);
            Engine::new(EngineConfig { class, slowdown, ..setup.engine }, trace.block_tokens)
        });
        let mut simulation = Self {
            trace,
            setup,
            needs: policy.needs(),
            policy,
            engines: engines.collect(),
            network: Network::new(setup.pools.transfer, setup.replicas),
            prefilling: std::collections::HashMap::new(),
            now: Instant::ORIGIN,
            queue: BinaryHeap::new(),
            sequence: 0,
            mail: std::collections::VecDeque::new(),
            clients: setup.clients.assign(trace, setup.seed),
            parents: parents(trace),
            has_sessions: trace.sessions.iter().any(|session| session.turns.len() > 1),
            refused: vec![false; trace.sessions.len()],
            begun: vec![Instant::ORIGIN; trace.sessions.len()],
            turns: Vec::new(),
            record: Record { level: setup.level, ..Record::default() },
            open: 0,
            in_flight: 0,
            waiting: 0,
            wake: None,
            scraping: false,
            sampling: false,
        };
        for (at, session) in trace.schedule(setup.speed, setup.seed) {
            if setup.clients.sends(simulation.clients[session]) {
                simulation.send_at(at, session, 0);
            }
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
                Event::Received { id, replica } => self.receive(id, replica),
                Event::Scrape => self.scrape(),
                Event::Deliver => self.deliver(),
                Event::Sample => self.sample(),
                Event::Wake => {}
            }
            self.ask();
        }
        self.record.preemptions = self.engines.iter().map(Engine::preemptions).sum();
        self.record.adapter_loads = self.engines.iter().map(Engine::adapter_loads).sum();
        self.record.booked = self.policy.booked();
        self.record.traffic = self.policy.traffic();
        self.record.reloads = self.policy.reloads().to_vec();
        self.record
    }

    fn send(&mut self, session: usize, turn: usize) {
        if turn == 0 && self.parents[session].is_some_and(|parent| self.refused[parent]) {
            self.abandon(session, 0);
            self.open -= 1;
            return;
        }
        if turn == 0 {
            self.begun[session] = self.now;
        }
        let trace = self.trace;
        let asked = &trace.sessions[session].turns[turn];
        for spawn in trace.sessions[session].spawns.iter().filter(|spawn| spawn.turn == turn) {
            self.send_at(self.now + spawn.delay, spawn.session, 0);
        }
        let id = self.enter(session, turn);
        let client = self.clients[session];
        let adapter = asked.adapter.map(adapter_name);
        let (tenant, name) = (format!("tenant-{}", client.tenant), format!("session-{session}"));
        let incoming = Incoming {
            id,
            input: asked.input,
            blocks: &asked.blocks,
            adapter: adapter.as_deref(),
            priority: self.setup.clients.priority(client),
            tenant: &tenant,
            session: self.has_sessions.then_some(&name),
        };
        self.waiting += 1;
        let verdict = if self.engines.iter().all(|engine| engine.fits(&job(id, asked))) {
            self.policy.submit(self.now, &incoming)
        } else {
            Some(Verdict::Refused(Refusal::Unplaced))
        };
        match verdict {
            Some(verdict) => self.settle(id, verdict),
            None => self.watch(),
        }
    }

    /// A request begins its account.
    fn enter(&mut self, session: usize, turn: usize) -> u32 {
        let id = self.turns.len() as u32;
        let asked = &self.trace.sessions[session].turns[turn];
        self.turns.push((session, turn));
        self.record.requests.push(Outcome {
            arrived: self.now,
            client: self.clients[session],
            input: asked.input,
            output: asked.output,
            ..Outcome::default()
        });
        id
    }

    /// Takes the verdicts that are due, and schedules the policy's next poll.
    fn ask(&mut self) {
        if self.wake.is_some_and(|wake| wake <= self.now) {
            self.wake = None;
        }
        if self.waiting == 0 {
            return;
        }
        while let Some((id, verdict)) = self.policy.poll(self.now) {
            self.settle(id, verdict);
        }
        // A time in the past means the next possible time.
        let next = self.policy.next_timeout().map(|at| at.max(self.now + TICK));
        if let Some(at) =
            next.filter(|at| self.waiting > 0 && self.wake.is_none_or(|wake| *at < wake))
        {
            self.wake = Some(at);
            self.at(at, Event::Wake);
        }
    }

    fn settle(&mut self, id: u32, verdict: Verdict) {
        self.waiting -= 1;
        let (session, turn) = self.turns[id as usize];
        let request = &mut self.record.requests[id as usize];
        match verdict {
            Verdict::Goes(replica) => {
                assert!(
                    request.dispatched.is_none() && request.refused.is_none(),
                    "one verdict a request"
                );
                (request.replica, request.dispatched) = (Some(replica), Some(self.now));
                request.forecast = self.policy.forecast(id);
                self.in_flight += 1;
                self.engines[replica].enqueue(job(id, &self.trace.sessions[session].turns[turn]));
                self.start_step(replica);
                self.watch();
            }
            Verdict::Splits { prefill, decode } => {
                assert!(
                    request.dispatched.is_none() && request.refused.is_none(),
                    "one verdict a request"
                );
                (request.replica, request.dispatched) = (Some(decode), Some(self.now));
                request.prefiller = Some(prefill);
                self.in_flight += 1;
                self.prefilling.insert(id, (prefill, decode));
                let asked = &self.trace.sessions[session].turns[turn];
                self.engines[prefill].enqueue(Job { output: 1, ..job(id, asked) });
                self.start_step(prefill);
                self.watch();
            }
            Verdict::Refused(why) => {
                assert!(
                    request.dispatched.is_none() && request.refused.is_none(),
                    "one verdict a request"
                );
                request.refused = Some(why);
                if why.ends_session() {
                    self.abandon(session, turn + 1);
                    self.open -= 1;
                } else {
                    // The client gives this turn up and goes on with the next.
                    self.end_turn(id);
                }
            }
        }
    }

    /// The client of a session that was refused sends none of the turns from this one on.
    fn abandon(&mut self, session: usize, from: usize) {
        self.refused[session] = true;
        for turn in from..self.trace.sessions[session].turns.len() {
            let id = self.enter(session, turn);
            self.record.requests[id as usize].refused = Some(Refusal::Abandoned);
        }
        let trace = self.trace;
        for spawn in trace.sessions[session].spawns.iter().filter(|spawn| spawn.turn >= from) {
            self.abandon(spawn.session, 0);
        }
    }

    /// There is something to scrape and to sample.
    fn watch(&mut self) {
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
            if self.prefilling.contains_key(&id) {
                request.cached = cached;
                continue;
            }
            request.first_token = Some(self.now);
            if request.prefiller.is_none() {
                request.cached = cached;
            }
            self.policy.first_token(self.now, id);
        }
        for id in outcome.finished {
            if let Some((from, to)) = self.prefilling.remove(&id) {
                self.send_kv(id, from, to);
                continue;
            }
            let request = &mut self.record.requests[id as usize];
            request.finished = Some(self.now);
            let usage = Finished {
                prompt: request.input,
                cached: request.cached,
                completion: request.output,
            };
            self.policy.complete(self.now, id, usage);
            self.in_flight -= 1;
            self.end_turn(id);
        }
        self.start_step(replica);
    }

    /// A replica has computed a prompt for another one, which fetches what it lacks.
    fn send_kv(&mut self, id: u32, from: usize, to: usize) {
        let Outcome { input, cached, .. } = self.record.requests[id as usize];
        self.policy.prefilled(self.now, id, Finished { prompt: input, cached, completion: 1 });
        let (session, turn) = self.turns[id as usize];
        let blocks = &self.trace.sessions[session].turns[turn].blocks;
        let there = self.engines[to].cached_prefix(blocks) as u32 * self.trace.block_tokens;
        let at = self.network.move_tokens(self.now, from, to, input.saturating_sub(there));
        self.at(at, Event::Received { id, replica: to });
    }

    fn receive(&mut self, id: u32, replica: usize) {
        let (session, turn) = self.turns[id as usize];
        let asked = &self.trace.sessions[session].turns[turn];
        self.engines[replica].enqueue(Job { received: true, ..job(id, asked) });
        self.start_step(replica);
    }

    /// The session thinks, and sends its next turn.
    fn end_turn(&mut self, id: u32) {
        let (session, turn) = self.turns[id as usize];
        let trace = self.trace;
        let Session { turns, due, .. } = &trace.sessions[session];
        if let Some(next) = turns.get(turn + 1) {
            let due = due.get(turn + 1).copied().unwrap_or_default().div_f64(self.setup.speed);
            self.send_at((self.now + next.think).max(self.begun[session] + due), session, turn + 1);
        }
        self.open -= 1;
    }

    fn scrape(&mut self) {
        for replica in 0..self.engines.len() {
            let report =
                Report { sampled_at: self.now, snapshot: self.engines[replica].snapshot() };
            self.post(Mail::Report(replica, report));
        }
        // The last scrape sees an idle fleet.
        self.scraping = self.in_flight + self.waiting > 0;
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
        self.sampling = self.in_flight + self.waiting > 0;
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

/// Which session spawned each session.
fn parents(trace: &Trace) -> Vec<Option<usize>> {
    let mut parents = vec![None; trace.sessions.len()];
    for (parent, session) in trace.sessions.iter().enumerate() {
        session.spawns.iter().for_each(|spawn| parents[spawn.session] = Some(parent));
    }
    parents
}

fn job(id: u32, turn: &Turn) -> Job {
    Job {
        id,
        input: turn.input,
        output: turn.output,
        blocks: turn.blocks.clone(),
        adapter: turn.adapter,
        received: false,
    }
}
