//! Routers at the entry of a region: ours, and those it is compared with.

use slotwise::{Instant, Seconds};
use slotwise_gateway::clusters::{Clusters, ClustersConfig, Export, Inquiry, Report};

use super::{NETWORK, SILENT_AFTER};

/// A router's name, and how one is made for the entry of a region from the prefill rate of a
/// replica.
pub(super) type Kind = (&'static str, fn(usize, f64) -> Box<dyn Router>);

pub(super) const KINDS: [Kind; 4] = [
    ("per region", |home, _| Box::new(Home(home))),
    ("global round robin", |_, _| Box::<RoundRobin>::default()),
    ("multi-cluster scorers", |_, _| Box::<Scorers>::default()),
    ("slotwise clusters", |home, rate| Box::new(Slotwise::new(home, rate))),
];

/// A request at the entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: usize,
    pub(super) input: u32,
    pub(super) session: &'a str,
    /// The region of the conversation's last turn, and the tokens of its prompt.
    pub(super) last: Option<(usize, u32)>,
    /// A region where an attempt has just failed.
    pub(super) failed: Option<usize>,
}

/// What a region reports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) ready: u32,
    pub(super) in_flight: u32,
    /// Queued requests for each replica.
    pub(super) queue: f64,
    pub(super) kv_usage: f64,
    /// The predicted wait in seconds.
    pub(super) wait: f64,
}

pub(super) trait Router {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>) -> Option<usize>;
    fn report(&mut self, now: Instant, region: usize, load: Load);
    fn first_token(&mut self, _now: Instant, _id: usize, _ttft: f64) {}
    fn complete(&mut self, _now: Instant, _region: usize, _id: usize) {}
    fn fail(&mut self, _now: Instant, _region: usize, _id: usize) {}
}

/// Each region serves its own clients.
struct Home(usize);

impl Router for Home {
    fn choose(&mut self, _: Instant, asked: &Asked<'_>) -> Option<usize> {
        (asked.failed != Some(self.0)).then_some(self.0)
    }

    fn report(&mut self, _: Instant, _: usize, _: Load) {}
}

/// The last reports; a region without a recent one is not chosen.
#[derive(Default)]
struct Reports([Option<(Instant, Load)>; 2]);

impl Reports {
    fn alive(&self, now: Instant, asked: &Asked<'_>) -> Vec<usize> {
        let recent = |region: usize| {
            self.0[region].is_some_and(|(at, _)| now.saturating_since(at) < SILENT_AFTER)
        };
        let open: Vec<_> = (0..2).filter(|region| asked.failed != Some(*region)).collect();
        let alive: Vec<_> = open.iter().copied().filter(|region| recent(*region)).collect();
        if alive.is_empty() { open } else { alive }
    }
}

/// Every request goes to the next region.
#[derive(Default)]
struct RoundRobin {
    reports: Reports,
    turn: usize,
}

impl Router for RoundRobin {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>) -> Option<usize> {
        self.turn += 1;
        let alive = self.reports.alive(now, asked);
        (!alive.is_empty()).then(|| alive[self.turn % alive.len()])
    }

    fn report(&mut self, now: Instant, region: usize, load: Load) {
        self.reports.0[region] = Some((now, load));
    }
}

/// The reference's scorers of clusters with the weights of its defaults: queue 2, KV 2, prefix 3.
#[derive(Default)]
struct Scorers {
    reports: Reports,
    turn: usize,
}

impl Scorers {
    fn score(&self, region: usize, asked: &Asked<'_>) -> f64 {
        let load =
            |region: usize| self.reports.0[region].map_or_else(Load::default, |(_, load)| load);
        let (own, other) = (load(region).queue, load(1 - region).queue);
        let queue = if own <= other { 1.0 } else { 0.0 };
        let held = asked.last.filter(|(last, _)| *last == region).map_or(0, |(_, tokens)| tokens);
        let prefix = f64::from(held.min(asked.input)) / f64::from(asked.input.max(1));
        2.0 * queue + 2.0 * (1.0 - load(region).kv_usage) + 3.0 * prefix
    }
}

impl Router for Scorers {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>) -> Option<usize> {
        self.turn += 1;
        let mut alive = self.reports.alive(now, asked);
        // Equal scores take turns.
        if self.turn % 2 == 1 {
            alive.reverse();
        }
        let score = |region: &usize| self.score(*region, asked);
        alive.into_iter().max_by(|a, b| score(a).total_cmp(&score(b)))
    }

    fn report(&mut self, now: Instant, region: usize, load: Load) {
        self.reports.0[region] = Some((now, load));
    }
}

/// [`Clusters`] with its defaults.
struct Slotwise(Clusters);

const NAMES: [&str; 2] = ["0", "1"];

impl Slotwise {
    fn new(home: usize, prefill_rate: f64) -> Self {
        let mut config = ClustersConfig::default();
        let pool = config.pool("pool");
        for region in [home, 1 - home] {
            let distance = if region == home { 0.0 } else { NETWORK.as_secs_f64() };
            let mut export = Export::new(NAMES[region], Seconds::new(distance));
            export.prefill_rate = prefill_rate;
            pool.exports.push(export);
        }
        Self(Clusters::new(config).expect("a valid configuration"))
    }
}

impl Router for Slotwise {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>) -> Option<usize> {
        let failed = asked.failed.map(|region| NAMES[region]);
        let inquiry = Inquiry {
            pool: "pool",
            prompt_tokens: u64::from(asked.input),
            session: Some(asked.session),
            exclude: failed.as_slice(),
            ..Inquiry::default()
        };
        let chosen = self.0.choose(now, &inquiry).ok()?;
        NAMES.iter().position(|name| *name == chosen.cluster)
    }

    fn report(&mut self, now: Instant, region: usize, load: Load) {
        let report = Report {
            ready_endpoints: Some(load.ready),
            in_flight: Some(load.in_flight),
            utilization: [("vllm:kv_cache_usage_perc".to_owned(), load.kv_usage)].into(),
            wait: Seconds::new(load.wait),
            ..Report::default()
        };
        self.0.report(now, "pool", NAMES[region], &report).expect("an export");
    }

    fn complete(&mut self, now: Instant, region: usize, _: usize) {
        self.0.complete(now, "pool", NAMES[region], None).expect("a request in flight");
    }

    fn fail(&mut self, now: Instant, region: usize, _: usize) {
        self.0.fail(now, "pool", NAMES[region]).expect("a request in flight");
    }
}
