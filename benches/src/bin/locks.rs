//! How long calls hold the lock of one scheduler that several threads share.
//!
//!     cargo run --release -p slotwise-benches --bin locks [ENDPOINTS]
//!
//! Each of 1, 2 and 4 threads serves requests of 2,000 tokens on 1,024 endpoints, or on so many.
//! Every request is picked, has its first token and completes. Now and then a thread reports loads,
//! queues a request that may be shed, and reads statistics. Printed are the requests a second of
//! all threads, and the times for which each kind of call held the lock, in microseconds. A
//! thread that loses its processor holds the lock on, so quantiles near the end of the
//! distribution mean something only on an idle machine.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant as Clock;

use slotwise::{Endpoint, EndpointId, Instant, Load, Priority, RequestId, Scheduler, Usage};
use slotwise_benches::{Prompt, prompts};

/// Requests of each thread.
const REQUESTS: usize = 5_000;
/// Of each thread, requests in flight for each endpoint.
const DEPTH: usize = 2;
const CALLS: [&str; 7] =
    ["pick", "first token", "complete", "load report", "submit, may be shed", "poll", "stats_into"];

/// The times of one thread by kind of call, in nanoseconds.
type Times = [Vec<u64>; CALLS.len()];

struct Shared {
    scheduler: Mutex<Scheduler>,
    endpoints: Vec<EndpointId>,
    begin: Clock,
}

impl Shared {
    fn new(endpoints: usize) -> Self {
        let mut scheduler = Scheduler::default();
        let add = |number| {
            let endpoint = Endpoint::new(format!("http://10.0.0.{number}:8000"));
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ")
        };
        let endpoints = (0..endpoints).map(add).collect();
        Self { scheduler: Mutex::new(scheduler), endpoints, begin: Clock::now() }
    }

    /// Makes a call of this kind, and notes for how long it held the lock.
    fn call<T>(
        &self,
        times: &mut Times,
        kind: usize,
        call: impl FnOnce(&mut Scheduler, Instant) -> T,
    ) -> T {
        let mut scheduler: MutexGuard<'_, Scheduler> =
            self.scheduler.lock().unwrap_or_else(PoisonError::into_inner);
        let held = Clock::now();
        let now = Instant::from_micros(held.duration_since(self.begin).as_micros() as u64);
        let result = call(&mut scheduler, now);
        let nanos = held.elapsed().as_nanos() as u64;
        drop(scheduler);
        times[kind].push(nanos);
        result
    }

    /// The requests of one thread.
    fn serve(&self, prompts: &[Prompt]) -> Times {
        let (mut times, mut in_flight) = (Times::default(), VecDeque::<RequestId>::new());
        let mut stats = Scheduler::default().stats();
        for (turn, prompt) in prompts.iter().cycle().take(REQUESTS).enumerate() {
            let request = prompt.as_tokens();
            let dispatch = self.call(&mut times, 0, |it, now| it.pick(now, &request));
            in_flight.push_back(dispatch.expect("there is room").request_id);
            if in_flight.len() > DEPTH * self.endpoints.len() {
                let oldest = in_flight.pop_front().expect("not empty");
                self.call(&mut times, 1, |it, now| it.handle_first_token(now, oldest))
                    .expect("in flight");
                self.call(&mut times, 2, |it, now| it.complete(now, oldest, Usage::default()))
                    .expect("in flight");
            }
            if turn % 10 == 0 {
                let endpoint = self.endpoints[turn / 10 % self.endpoints.len()];
                let load = Load::default().waiting(0).kv_usage(0.0);
                self.call(&mut times, 3, |it, now| it.handle_load(now, endpoint, load))
                    .expect("in the pool");
            }
            if turn % 100 == 0 {
                let request = prompt.as_tokens().priority(Priority(-1));
                let queued = self.call(&mut times, 4, |it, now| it.submit(now, &request));
                black_box(self.call(&mut times, 5, |it, now| it.poll_decision(now)));
                if let Ok(id) = queued {
                    let dispatched = |it: &mut Scheduler, now| {
                        it.complete(now, id, Usage::default()).is_ok() || it.cancel(now, id)
                    };
                    assert!(self.call(&mut times, 2, dispatched), "in flight or queued");
                }
            }
            if turn % 1_000 == 0 {
                self.call(&mut times, 6, |it, _| it.stats_into(&mut stats));
            }
        }
        times
    }
}

fn main() {
    let endpoints = std::env::args().nth(1).map_or(1_024, |count| count.parse().expect("a number"));
    let prompts = prompts(2_000, 8 << 10, 2_000, 1);
    for threads in [1, 2, 4] {
        let shared = Shared::new(endpoints);
        let mut all = Times::default();
        thread::scope(|scope| {
            let serving: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| shared.serve(&prompts))).collect();
            for times in serving.into_iter().map(|thread| thread.join().expect("no panic")) {
                all.iter_mut().zip(times).for_each(|(all, times)| all.extend(times));
            }
        });
        let seconds = shared.begin.elapsed().as_secs_f64();
        let requests = threads * REQUESTS;
        println!("{threads} threads: {:.0} requests a second", requests as f64 / seconds);
        for (call, mut times) in CALLS.into_iter().zip(all) {
            times.sort_unstable();
            let at = |share: f64| times[(times.len() as f64 * share) as usize] as f64 / 1e3;
            println!(
                "  {call:<20} {:>8.1} median {:>8.1} p99 {:>8.1} p99.9",
                at(0.5),
                at(0.99),
                at(0.999)
            );
        }
    }
}
