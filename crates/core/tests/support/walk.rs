//! A long random walk over a scheduler, equal in every language, and the digest of its decisions.
//!
//! Every binding has a port of it. Its randomness is 32-bit arithmetic that each language has
//! (mulberry32), and its digest (FNV-1a over 32-bit words) includes the bits of every cost.

use std::num::NonZeroU32;

use slotwise::{
    AdapterState, BlockHash, BlockRemoved, BlockStored, Dispatch, Endpoint, EndpointId, EngineHash,
    Failure, Instant, KvEvent, Load, Priority, Request, RequestId, Scheduler, Usage,
};

pub(crate) struct Walk {
    state: u32,
    digest: u32,
    now: u64,
    scheduler: Scheduler,
    endpoints: Vec<EndpointId>,
    added: u32,
    requests: Vec<RequestId>,
}

const BLOCK: NonZeroU32 = NonZeroU32::new(16).expect("not zero");
const ADAPTERS: [&str; 6] = ["a0", "a1", "a2", "a3", "a4", "a5"];

impl Walk {
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            state: seed,
            digest: 0x811c_9dc5,
            now: 0,
            scheduler: Scheduler::default(),
            endpoints: Vec::new(),
            added: 0,
            requests: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, operations: u32) -> u32 {
        for _ in 0..operations {
            self.step();
        }
        let stats = self.scheduler.stats();
        for count in
            [stats.dispatched, stats.completed, stats.failed, stats.cancelled, stats.corrections]
        {
            self.note(count as u32);
        }
        self.digest
    }

    fn step(&mut self) {
        self.now += u64::from(self.below(2_000));
        let roll = self.below(100);
        if roll < 2 || self.endpoints.is_empty() {
            return self.add_endpoint();
        }
        match roll {
            2 => self.remove_endpoint(),
            3 => self.drain_or_resume(),
            4..10 => self.report_load(),
            10..12 => self.report_adapters(),
            12..16 => self.publish(),
            16..50 => self.pick(),
            99 => self.explain(),
            _ if self.requests.is_empty() => {}
            50..66 => self.first_token(),
            66..69 => self.tokens(),
            69..96 => self.complete(),
            96 => self.fail(),
            97 => self.cancel(),
            _ => self.redirect(),
        }
    }

    fn add_endpoint(&mut self) {
        if self.endpoints.len() == 12 {
            return;
        }
        let capacity = 20_000 + self.below(50_000);
        let most = 4 + self.below(60);
        let endpoint = Endpoint::new(format!("e{}", self.added))
            .model("m")
            .kv_cache_tokens(capacity)
            .max_in_flight(most)
            .adapter_slots(3);
        self.added += 1;
        let id = self.scheduler.add_endpoint(self.at(), endpoint).expect("a new name");
        self.endpoints.push(id);
        self.note_id(id.as_u64());
    }

    fn remove_endpoint(&mut self) {
        if self.endpoints.len() > 4 {
            let place = self.below(self.endpoints.len() as u32) as usize;
            let id = self.endpoints.remove(place);
            let removed = self.scheduler.remove_endpoint(self.at(), id).expect("known");
            self.note(removed.in_flight.len() as u32);
        }
    }

    fn drain_or_resume(&mut self) {
        let (id, drain) = (self.endpoint(), self.below(3) == 0);
        let now = self.at();
        let done = match drain {
            true => self.scheduler.drain_endpoint(now, id),
            false => self.scheduler.resume_endpoint(now, id),
        };
        done.expect("known");
    }

    fn report_load(&mut self) {
        let id = self.endpoint();
        let waiting = self.below(10);
        let running = self.below(40);
        let kv_usage = f64::from(self.below(1_001)) / 1_000.0;
        let load = Load::default().waiting(waiting).running(running).kv_usage(kv_usage);
        self.scheduler.handle_load(self.at(), id, load).expect("known");
    }

    fn report_adapters(&mut self) {
        let id = self.endpoint();
        let active = [ADAPTERS[self.below(6) as usize]];
        let state = AdapterState::active(&active).slots(4);
        self.scheduler.handle_adapters(self.at(), id, state).expect("known");
    }

    /// An engine stores the beginning of a family's prompt, removes its last stored blocks, or
    /// clears its cache.
    fn publish(&mut self) {
        let id = self.endpoint();
        let family = self.below(20);
        let blocks = 1 + self.below(8);
        let kind = self.below(40);
        let names: Vec<EngineHash> =
            (0..blocks).map(|block| EngineHash(u64::from(family * 1_000 + block))).collect();
        let ids = tokens(family, blocks * 16);
        let event = match kind {
            0 => KvEvent::AllBlocksCleared,
            1..10 => KvEvent::BlockRemoved(BlockRemoved::new(&names[names.len() - 1..])),
            _ => KvEvent::BlockStored(BlockStored::new(&names, BLOCK).tokens(&ids)),
        };
        self.scheduler.handle_kv_event(self.at(), id, event).expect("whole events");
    }

    fn pick(&mut self) {
        let answer = self.ask(|scheduler, now, request| scheduler.pick(now, request));
        match answer {
            Ok(Dispatch {
                request_id: request,
                endpoint_id: endpoint,
                alternatives,
                prompt_tokens,
                cached_tokens,
                cost,
                ..
            }) => {
                self.requests.push(request);
                self.note_id(request.as_u64());
                self.note_id(endpoint.as_u64());
                self.note(alternatives.len() as u32);
                self.note(prompt_tokens);
                self.note(cached_tokens);
                self.note_f64(cost.get());
            }
            Err(rejected) => {
                self.note(rejected.http_status().into());
                self.note(rejected.reason.code().len() as u32);
                let after = rejected.retry_after.map_or(0, |after| after.as_micros());
                self.note(after as u32);
            }
        }
    }

    fn explain(&mut self) {
        let explanation = self.ask(|scheduler, now, request| scheduler.explain(now, request));
        self.note(explanation.prompt_tokens);
        for candidate in explanation.candidates {
            self.note_id(candidate.endpoint_id.as_u64());
            self.note_f64(candidate.terms.queue.get());
            self.note_f64(candidate.terms.cache_eviction.get());
            self.note_f64(candidate.cost.get());
        }
    }

    /// A request of one of 30 families, whose prompts are text, token ids or ready hashes.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Scheduler, Instant, &Request<'_>) -> T) -> T {
        let family = self.below(30);
        let length = 1 + self.below(2_000);
        let adapter = ADAPTERS.get(self.below(18) as usize);
        let priority = self.below(3) as i32 - 1;
        let expected = self.below(500);
        let deadline = self.now + u64::from(self.below(4_000_000));
        let patient = self.below(4) > 0;
        let mut request = Request::new("m")
            .priority(Priority(priority))
            .expected_output_tokens(expected)
            .session("s");
        request.adapter = adapter.copied();
        request.deadline = (!patient).then_some(Instant::from_micros(deadline));
        let now = self.at();
        match family % 3 {
            0 => {
                let text = format!("family {family} says so. ").repeat(length as usize / 8);
                ask(&mut self.scheduler, now, &request.text(&text))
            }
            1 => ask(&mut self.scheduler, now, &request.tokens(&tokens(family, length))),
            _ => {
                let hashes: Vec<BlockHash> = (0..length / 16)
                    .map(|block| BlockHash(u64::from(family) << 40 | u64::from(block)))
                    .collect();
                ask(&mut self.scheduler, now, &request.blocks(&hashes, BLOCK, length))
            }
        }
    }

    fn first_token(&mut self) {
        let place = self.below(self.requests.len() as u32) as usize;
        self.scheduler.handle_first_token(self.at(), self.requests[place]).expect("in flight");
    }

    fn tokens(&mut self) {
        let place = self.below(self.requests.len() as u32) as usize;
        let tokens = self.below(100);
        self.scheduler.handle_tokens(self.at(), self.requests[place], tokens).expect("in flight");
    }

    fn complete(&mut self) {
        let request = self.take_request();
        let (prompt, cached, answer) = (self.below(3_000), self.below(2_000), self.below(800));
        let usage =
            Usage::default().prompt_tokens(prompt).cached_tokens(cached).completion_tokens(answer);
        self.scheduler.complete(self.at(), request, usage).expect("in flight");
    }

    fn fail(&mut self) {
        let request = self.take_request();
        let failure =
            [Failure::Unreachable, Failure::Engine, Failure::Timeout][self.below(3) as usize];
        self.scheduler.fail(self.at(), request, failure).expect("in flight");
    }

    fn cancel(&mut self) {
        let request = self.take_request();
        assert!(self.scheduler.cancel(self.at(), request));
    }

    fn redirect(&mut self) {
        let place = self.below(self.requests.len() as u32) as usize;
        let id = self.endpoint();
        let done = self.scheduler.redirect(self.at(), self.requests[place], id);
        self.note(done.map_or_else(|error| error.code().len() as u32, |()| 0));
    }

    fn endpoint(&mut self) -> EndpointId {
        let place = self.below(self.endpoints.len() as u32) as usize;
        self.endpoints[place]
    }

    fn take_request(&mut self) -> RequestId {
        let place = self.below(self.requests.len() as u32) as usize;
        self.requests.remove(place)
    }

    fn at(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// A number below `n`.
    fn below(&mut self, n: u32) -> u32 {
        self.state = self.state.wrapping_add(0x6d2b_79f5);
        let mut t = self.state;
        t = (t ^ t >> 15).wrapping_mul(t | 1);
        t ^= t.wrapping_add((t ^ t >> 7).wrapping_mul(t | 61));
        (t ^ t >> 14) % n
    }

    fn note(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.digest = (self.digest ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn note_id(&mut self, number: u64) {
        self.note(number as u32);
        self.note((number >> 32) as u32);
    }

    fn note_f64(&mut self, value: f64) {
        self.note_id(value.to_bits());
    }
}

fn tokens(family: u32, count: u32) -> Vec<u32> {
    (0..count).map(|at| family * 10_000 + at).collect()
}
