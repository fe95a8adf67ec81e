//! A pool whose endpoints a scheduling profile of the Endpoint Picker chooses.

use std::time::{Duration, Instant as Clock};

use slotwise::plugins::{
    KvCacheUtilizationScorer, LoraAffinityScorer, MaxScorePicker, PrefixCacheScorer, QueueScorer,
    SchedulingProfile,
};
use slotwise::{AdapterState, Config, Endpoint, Instant, Load, Request, RequestId, Scheduler};

use crate::MODEL;

/// Endpoints with different queues, caches and adapters, as in the reference's `BenchmarkSchedule`:
/// queues of 0 to 7 requests, caches filled to 0.0 to 0.9, and the request's adapter on a third.
#[derive(Debug)]
pub struct ProfilePool {
    scheduler: Scheduler,
    prompts: Vec<String>,
    next: usize,
    now_micros: u64,
}

/// Decisions between two ends of requests.
const BATCH: u64 = 16;

impl ProfilePool {
    /// A pool of this size that has served each prompt once. Queue, KV cache, prefix and LoRA
    /// scorers have equal weights. A prompt is a sentence that all share, and a sentence of its
    /// own.
    pub fn new(endpoints: usize) -> Self {
        let profile = SchedulingProfile::new(MaxScorePicker::default())
            .scorer(KvCacheUtilizationScorer::default(), 1.0)
            .scorer(QueueScorer::default(), 1.0)
            .scorer(PrefixCacheScorer::default(), 1.0)
            .scorer(LoraAffinityScorer::default(), 1.0);
        let mut scheduler = Scheduler::with_profile(Config::default(), profile).expect("valid");
        for number in 0..endpoints {
            let name = format!("http://10.0.{}.{}:8000", number / 256, number % 256);
            let endpoint = Endpoint::new(name).adapter_slots(2);
            let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
            let load = Load::default()
                .waiting((number % 8) as u32)
                .running(4)
                .kv_usage((number % 10) as f64 / 10.0);
            scheduler.handle_load(Instant::ORIGIN, id, load).expect("known");
            let adapters = ["baseline", "critical"];
            let active = &adapters[..if number % 3 == 0 { 2 } else { 1 }];
            let state = AdapterState::active(active);
            scheduler.handle_adapters(Instant::ORIGIN, id, state).expect("known");
        }
        let shared = "the quick brown fox jumps over the lazy dog. ".repeat(8);
        let prompts = (0..256).map(|own| format!("{shared}{own} ").repeat(2)).collect();
        let mut pool = Self { scheduler, prompts, next: 0, now_micros: 1 };
        (0..256).for_each(|_| {
            pool.decide(1);
        });
        pool
    }

    /// Makes this many decisions, each with its reservation, and returns the time that they took.
    /// The ends of the requests are not part of it.
    pub fn decide(&mut self, decisions: u64) -> Duration {
        let mut took = Duration::ZERO;
        self.decide_in(decisions, |batch| {
            let begin = Clock::now();
            batch();
            took += begin.elapsed();
        });
        took
    }

    /// Makes this many decisions in batches, which `run` runs. The ends of the requests are not
    /// part of it.
    pub fn decide_in(&mut self, decisions: u64, mut run: impl FnMut(&mut dyn FnMut())) {
        let mut left = decisions;
        let mut picked: Vec<RequestId> = Vec::with_capacity(BATCH as usize);
        while left > 0 {
            self.now_micros += 1_000;
            let now = Instant::from_micros(self.now_micros);
            let batch = left.min(BATCH);
            left -= batch;
            run(&mut || {
                for _ in 0..batch {
                    self.next = (self.next + 1) % self.prompts.len();
                    let request =
                        Request::new(MODEL).adapter("critical").text(&self.prompts[self.next]);
                    picked.push(self.scheduler.pick(now, &request).expect("room").request_id);
                }
            });
            for id in picked.drain(..) {
                self.scheduler.complete(now, id, Default::default()).expect("in flight");
            }
        }
    }
}
