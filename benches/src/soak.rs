//! A large gateway under steady traffic, minute by minute of its own time.
//!
//! Conversations continue again and again, each turn behind one of a few system prompts. Engines
//! answer after a while that is drawn, and report the requests that they run. Nothing waits: the
//! clock is simulated, and only the calls of the scheduler are timed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slotwise::{
    Config, Endpoint, EndpointId, Instant, Load, Request, RequestId, Rng, Scheduler, Stats, Usage,
};

use crate::{CallTimes, MODEL};

/// The size of a soak.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a benchmark's options")]
pub struct SoakSize {
    /// Endpoints of the pool.
    pub endpoints: usize,
    /// Blocks of 16 tokens for which the index has memory, each held by one endpoint.
    pub blocks: usize,
    /// Requests in a second.
    pub requests_per_second: u64,
}

/// What one minute cost.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a benchmark's result")]
pub struct SoakMinute {
    /// The calls by name, with their times.
    pub calls: [(&'static str, CallTimes); 4],
    /// Requests that were rejected.
    pub rejected: u64,
    /// The scheduler's statistics at the end.
    pub stats: Stats,
}

/// A scheduler, its traffic, and what is due next.
#[derive(Debug)]
pub struct Soak {
    size: SoakSize,
    scheduler: Scheduler,
    /// Nanoseconds of an ever rising clock, in which calls are timed.
    clock: fn() -> u64,
    rng: Rng,
    now_micros: u64,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    /// Requests on each endpoint.
    running: Vec<u32>,
    conversations: Vec<Conversation>,
    /// Conversations so far.
    begun: u64,
    systems: Vec<Vec<u32>>,
    prompt: Vec<u32>,
}

/// What happens at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    Arrival,
    FirstToken(RequestId),
    End(RequestId, EndpointId),
    Report(EndpointId),
}

#[derive(Clone, Copy, Debug, Default)]
struct Conversation {
    number: u64,
    tokens: u64,
}

const SECOND: u64 = 1_000_000;
const REPORT_EVERY: u64 = 4 * SECOND;
/// A conversation continues every 40 seconds on average.
const TURN_EVERY: u64 = 40;
/// Bytes of the index for a block that one endpoint holds.
const BYTES_OF_A_BLOCK: usize = 40;
const SYSTEMS: u64 = 64;
const SYSTEM_TOKENS: usize = 256;
const CONVERSATION_TOKENS: u64 = 768;

impl Soak {
    /// A pool with empty caches, at its first request.
    pub fn new(size: SoakSize, clock: fn() -> u64) -> Self {
        let mut rng = Rng::new(7);
        let mut config = Config::default();
        config.index.bytes = size.blocks * BYTES_OF_A_BLOCK;
        let mut soak = Self {
            size,
            scheduler: Scheduler::new(config).expect("valid"),
            clock,
            now_micros: 0,
            due: BinaryHeap::from([Reverse((0, Due::Arrival))]),
            running: vec![0; size.endpoints],
            conversations: vec![
                Conversation { number: 0, tokens: CONVERSATION_TOKENS };
                (size.requests_per_second * TURN_EVERY) as usize
            ],
            begun: 0,
            systems: (0..SYSTEMS)
                .map(|_| (0..SYSTEM_TOKENS).map(|_| rng.below(128_000) as u32).collect())
                .collect(),
            prompt: Vec::new(),
            rng,
        };
        for number in 0..size.endpoints as u64 {
            let url = format!("http://10.0.{}.{}:8000", number / 256, number % 256);
            let endpoint = Endpoint::new(url);
            let id = soak.scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
            let first = soak.rng.below(REPORT_EVERY);
            soak.due.push(Reverse((first, Due::Report(id))));
        }
        soak
    }

    /// Runs one minute of the gateway's time.
    pub fn minute(&mut self) -> SoakMinute {
        self.run(60 * SECOND)
    }

    fn run(&mut self, micros: u64) -> SoakMinute {
        let end = self.now_micros + micros;
        let [mut picks, mut firsts, mut ends, mut reports] = [(); 4].map(|()| CallTimes::default());
        let mut rejected = 0;
        while let Some(Reverse((at, due))) = self.due.peek().copied().filter(|next| next.0.0 < end)
        {
            self.due.pop();
            let now = Instant::from_micros(at);
            let clock = self.clock;
            match due {
                Due::Arrival => {
                    self.due.push(Reverse((at + SECOND / self.size.requests_per_second, due)));
                    self.turn();
                    let request = Request::new(MODEL).tokens(&self.prompt);
                    let request = request.expected_output_tokens(128);
                    let begin = clock();
                    let dispatch = self.scheduler.pick(now, &request);
                    picks.add(clock() - begin);
                    match dispatch {
                        Ok(dispatch) => {
                            let first = at + SECOND / 10 + self.rng.below(SECOND / 2);
                            let last = first + SECOND + self.rng.below(8 * SECOND);
                            let id = dispatch.request_id;
                            self.due.push(Reverse((first, Due::FirstToken(id))));
                            self.due.push(Reverse((last, Due::End(id, dispatch.endpoint_id))));
                            self.running[dispatch.endpoint_id.as_u64() as usize] += 1;
                        }
                        Err(_) => rejected += 1,
                    }
                }
                Due::FirstToken(id) => {
                    let begin = clock();
                    self.scheduler.handle_first_token(now, id).expect("in flight");
                    firsts.add(clock() - begin);
                }
                Due::End(id, endpoint) => {
                    let usage = Usage::default().completion_tokens(128);
                    let begin = clock();
                    self.scheduler.complete(now, id, usage).expect("in flight");
                    ends.add(clock() - begin);
                    self.running[endpoint.as_u64() as usize] -= 1;
                }
                Due::Report(id) => {
                    self.due.push(Reverse((at + REPORT_EVERY, due)));
                    let load = Load::default().waiting(0);
                    let load = load.running(self.running[id.as_u64() as usize]);
                    let begin = clock();
                    self.scheduler.handle_load(now, id, load).expect("in the pool");
                    reports.add(clock() - begin);
                }
            }
        }
        self.now_micros = end;
        let calls =
            [("pick", picks), ("first token", firsts), ("end", ends), ("load report", reports)];
        SoakMinute { calls, rejected, stats: self.scheduler.stats() }
    }

    /// Writes the next turn of any conversation into `prompt`. A long one ends, and another begins.
    fn turn(&mut self) {
        let any = self.rng.below(self.conversations.len() as u64) as usize;
        let conversation = &mut self.conversations[any];
        conversation.tokens += 64 + self.rng.below(128);
        if conversation.tokens > CONVERSATION_TOKENS {
            self.begun += 1;
            *conversation = Conversation { number: self.begun, tokens: 64 };
        }
        let Conversation { number, tokens } = *conversation;
        let mut words = Rng::new(number);
        self.prompt.clone_from(&self.systems[(number % SYSTEMS) as usize]);
        self.prompt.extend((0..tokens).map(|_| words.next_u64() as u32 >> 15));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_ends_what_it_begins_and_its_index_keeps_its_limit() {
        let size = SoakSize { endpoints: 64, blocks: 10_000, requests_per_second: 50 };
        let mut soak = Soak::new(size, || 0);
        let minutes = [soak.minute(), soak.minute()];
        for (number, minute) in (1..).zip(&minutes) {
            let [picks, firsts, ends, reports] = minute.calls.each_ref().map(|call| call.1.calls());
            assert_eq!((picks, reports), (60 * 50, 15 * 64));
            assert!(picks.abs_diff(firsts) < 50 && picks.abs_diff(ends) < 10 * 50, "{minute:?}");
            assert!(minute.stats.in_flight < 10 * 50);
            assert!(minute.stats.index_bytes <= size.blocks * BYTES_OF_A_BLOCK);
            assert_eq!((minute.rejected, minute.stats.dispatched), (0, number * 60 * 50));
        }
    }
}
