//! The engine's scheduler and its steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use slotwise::BlockHash;

use super::adapters::{AdapterRanks, AdapterSlots};
use super::class::{Class, PER_SEQUENCE};
use super::kv::{KvMemory, pages};

/// How an engine was started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// The model and the hardware.
    pub class: Class,
    /// Sequences in a step (`max_num_seqs`).
    pub max_seqs: usize,
    /// Tokens in a step (`max_num_batched_tokens`).
    pub max_batched_tokens: u32,
    /// Share of the KV memory that admitting a request leaves free.
    pub watermark: f64,
    /// How many times slower than its class this replica is.
    pub slowdown: f64,
    /// LoRA adapters side by side (`max_loras`).
    pub adapter_slots: usize,
    /// How long loading an adapter stops the engine.
    pub adapter_load_time: Duration,
    /// The adapters' ranks, on which their load times and the lengths of steps depend.
    pub adapter_ranks: AdapterRanks,
}

impl EngineConfig {
    /// An engine as vLLM starts it, with 2,048-token chunks.
    pub fn new(class: Class) -> Self {
        Self {
            class,
            max_seqs: 256,
            max_batched_tokens: 2_048,
            watermark: 0.01,
            slowdown: 1.0,
            adapter_slots: 4,
            adapter_load_time: Duration::from_millis(300),
            adapter_ranks: AdapterRanks::default(),
        }
    }
}

/// A request, as the engine gets it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The caller's number for it.
    pub id: u32,
    /// Tokens of the prompt.
    pub input: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// The prompt's full blocks.
    pub blocks: Arc<[BlockHash]>,
    /// Its LoRA adapter.
    pub adapter: Option<u32>,
    /// Another replica has computed the prompt, whose KV this one has received.
    pub received: bool,
}

/// One replica's engine. Between steps it does nothing; [`start_step`](Self::start_step) returns
/// the duration of the next one.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    block_tokens: u32,
    memory: KvMemory,
    adapters: AdapterSlots,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    stepping: bool,
    preemptions: u64,
    adapter_loads: u64,
    computed: u64,
    events: Vec<KvChange>,
}

/// The results of a step.
#[derive(Debug, Default)]
pub struct StepOutcome {
    /// Requests whose first token came, with the prompt tokens that they found cached.
    pub first_tokens: Vec<(u32, u32)>,
    /// Requests that finished.
    pub finished: Vec<u32>,
}

/// The contents of an engine's metrics page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Requests in the queue.
    pub waiting: u32,
    /// Requests in the batch.
    pub running: u32,
    /// Share of the KV memory that they use.
    pub kv_usage: f64,
    /// Adapters of the requests in the batch, each once, in order.
    pub adapters: Vec<u32>,
    /// Adapters of the requests in the queue, likewise.
    pub waiting_adapters: Vec<u32>,
    /// Adapters side by side (`max_loras`).
    pub adapter_slots: usize,
}

/// A change of the prefix cache, as KV events have it.
#[derive(Clone, Debug, PartialEq)]
pub enum KvChange {
    /// Consecutive blocks were computed.
    Stored {
        /// The block before them.
        parent: Option<BlockHash>,
        /// The blocks.
        blocks: Vec<BlockHash>,
    },
    /// Blocks were evicted.
    Removed(Vec<BlockHash>),
}

#[derive(Debug)]
struct Sequence {
    job: Job,
    /// Tokens whose KV is there.
    computed: u32,
    /// Tokens of the answer so far.
    generated: u32,
    /// Prompt tokens that were cached when it was first admitted.
    hit: Option<u32>,
    /// Leading blocks that it shares.
    shared: usize,
    /// Private pages that it holds.
    pages: u32,
    /// Tokens that this step computes.
    chunk: u32,
}

impl Sequence {
    fn new(job: Job) -> Self {
        Self { job, computed: 0, generated: 0, hit: None, shared: 0, pages: 0, chunk: 0 }
    }

    /// Tokens of the prompt and of the answer so far.
    fn tokens(&self) -> u32 {
        self.job.input + self.generated
    }

    /// Whether this step computes one token of the answer, and not a stretch of the prompt or of a
    /// preempted answer.
    fn is_decoding(&self) -> bool {
        self.chunk == 1 && self.computed >= self.job.input
    }
}

impl Engine {
    /// An idle engine whose cache works in blocks of `block_tokens`.
    pub fn new(config: EngineConfig, block_tokens: u32) -> Self {
        Self {
            config,
            block_tokens,
            memory: KvMemory::new(config.class.kv_tokens, block_tokens),
            adapters: AdapterSlots::new(config.adapter_slots),
            waiting: VecDeque::new(),
            running: Vec::new(),
            stepping: false,
            preemptions: 0,
            adapter_loads: 0,
            computed: 0,
            events: Vec::new(),
        }
    }

    /// Whether a request of this size can ever be served.
    pub fn fits(&self, job: &Job) -> bool {
        let tokens = u64::from(job.input) + u64::from(job.output);
        // Whole blocks and pages take up to a block and a page more than the tokens in them.
        tokens + u64::from(self.block_tokens) + 16 + self.watermark() <= self.memory.capacity()
    }

    /// Puts a request into the queue.
    pub fn enqueue(&mut self, job: Job) {
        self.waiting.push_back(Sequence::new(job));
    }

    /// Whether a step is under way.
    pub fn is_stepping(&self) -> bool {
        self.stepping
    }

    /// Begins a step, if there is anything to do, and says how long it takes.
    pub fn start_step(&mut self) -> Option<Duration> {
        let mut budget = self.config.max_batched_tokens;
        let mut preempted = false;
        let mut next = 0;
        while next < self.running.len() {
            let sequence = &mut self.running[next];
            sequence.chunk = (sequence.tokens() - sequence.computed).min(budget);
            preempted |= self.make_room(next);
            // It may have preempted itself, or others behind it.
            if let Some(sequence) = self.running.get(next) {
                budget -= sequence.chunk;
                next += 1;
            }
        }
        let mut loads = 0.0;
        if !preempted {
            loads = self.admit(&mut budget);
        }
        if self.running.is_empty() {
            return None;
        }
        self.stepping = true;
        let loading = self.config.adapter_load_time.as_secs_f64() * loads;
        Some(Duration::from_secs_f64(self.step_seconds() + loading))
    }

    /// Ends the step.
    pub fn finish_step(&mut self) -> StepOutcome {
        self.stepping = false;
        let mut outcome = StepOutcome::default();
        let (memory, block_tokens, events) =
            (&mut self.memory, self.block_tokens, &mut self.events);
        let evicted = memory.take_evicted();
        if !evicted.is_empty() {
            events.push(KvChange::Removed(evicted));
        }
        let (computed, adapters) = (&mut self.computed, &mut self.adapters);
        self.running.retain_mut(|sequence| {
            *computed += u64::from(sequence.chunk);
            sequence.computed += std::mem::take(&mut sequence.chunk);
            publish(sequence, memory, block_tokens, events);
            if sequence.computed < sequence.tokens() {
                return true;
            }
            if sequence.generated == 0 {
                outcome.first_tokens.push((sequence.job.id, sequence.hit.unwrap_or(0)));
            }
            sequence.generated += 1;
            if sequence.generated < sequence.job.output {
                return true;
            }
            outcome.finished.push(sequence.job.id);
            sequence.job.adapter.into_iter().for_each(|adapter| adapters.release(adapter));
            release(sequence, memory);
            false
        });
        outcome
    }

    /// The current metrics page.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            waiting: self.waiting.len() as u32,
            running: self.running.len() as u32,
            kv_usage: self.memory.usage(),
            adapters: adapters_of(&mut self.running.iter()),
            waiting_adapters: adapters_of(&mut self.waiting.iter()),
            adapter_slots: self.config.adapter_slots,
        }
    }

    /// Changes of the prefix cache since the last call.
    pub fn take_events(&mut self) -> Vec<KvChange> {
        std::mem::take(&mut self.events)
    }

    /// Requests in the queue and in the batch.
    pub fn in_flight(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Times that a sequence lost its KV memory to an older one.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Adapters that were loaded.
    pub fn adapter_loads(&self) -> u64 {
        self.adapter_loads
    }

    /// Tokens that were computed, of prompts and answers.
    pub fn computed(&self) -> u64 {
        self.computed
    }

    /// How many of `blocks`, from the first on, are cached.
    pub fn cached_prefix(&self, blocks: &[BlockHash]) -> usize {
        self.memory.cached_prefix(blocks)
    }

    /// Tokens of KV that live requests use.
    pub fn kv_used(&self) -> u64 {
        self.memory.used()
    }

    fn watermark(&self) -> u64 {
        (self.config.watermark * self.memory.capacity() as f64) as u64
    }

    /// Takes the pages that the chunk of sequence `at` needs, preempting from the newest on.
    /// Whether it had to.
    fn make_room(&mut self, at: usize) -> bool {
        let mut preempted = false;
        while let Some(sequence) = self.running.get_mut(at) {
            let private =
                sequence.computed + sequence.chunk - sequence.shared as u32 * self.block_tokens;
            let more = pages(private).saturating_sub(sequence.pages);
            if self.memory.take_pages(more) {
                sequence.pages += more;
                return preempted;
            }
            preempted = true;
            if let Some(victim) = self.running.pop() {
                self.preempt(victim);
            }
        }
        preempted
    }

    fn preempt(&mut self, mut victim: Sequence) {
        release(&mut victim, &mut self.memory);
        self.preemptions += 1;
        victim.job.received = false;
        self.waiting.push_front(Sequence { computed: 0, chunk: 0, ..victim });
    }

    /// Admits waiting requests, first come, first served; one whose adapter has no slot lets others
    /// pass. Returns how long adapters have to be loaded, over the usual load time.
    fn admit(&mut self, budget: &mut u32) -> f64 {
        let (mut loads, mut next, reserve) = (0.0, 0, self.watermark());
        while *budget > 0 && self.running.len() < self.config.max_seqs {
            let Some(sequence) = self.waiting.get_mut(next) else { break };
            let in_use: Vec<u32> = self.running.iter().filter_map(|s| s.job.adapter).collect();
            let adapter = sequence.job.adapter;
            if adapter.is_some_and(|adapter| !self.adapters.has_room_for(adapter, &in_use)) {
                next += 1;
                continue;
            }
            // The last token is always computed: it is what the next one is sampled from.
            let reusable = ((sequence.tokens() - 1) / self.block_tokens) as usize;
            let blocks = &sequence.job.blocks[..sequence.job.blocks.len().min(reusable)];
            let hit = self.memory.cached_prefix(blocks);
            let cached = hit as u32 * self.block_tokens;
            // The last token is computed even if the prompt was received.
            let computed = if sequence.job.received { sequence.job.input - 1 } else { cached };
            let chunk = (sequence.tokens() - computed).min(*budget);
            let private = pages(computed - cached + chunk);
            if !self.memory.admit(&blocks[..hit], private, reserve) {
                break;
            }
            sequence.hit.get_or_insert(cached);
            sequence.computed = computed;
            sequence.shared = hit;
            sequence.pages = private;
            sequence.chunk = chunk;
            *budget -= chunk;
            let missing = adapter.filter(|adapter| self.adapters.acquire(*adapter, &in_use));
            if let Some(adapter) = missing {
                loads += self.config.adapter_ranks.load_factor(adapter);
                self.adapter_loads += 1;
            }
            self.running.extend(self.waiting.remove(next));
        }
        loads
    }

    fn step_seconds(&self) -> f64 {
        let class = &self.config.class;
        let (mut tokens, mut attention, mut context) = (0.0, 0.0, 0.0);
        for sequence in self.running.iter().filter(|sequence| sequence.chunk > 0) {
            let (chunk, computed) = (f64::from(sequence.chunk), f64::from(sequence.computed));
            tokens += chunk;
            if sequence.is_decoding() {
                context += computed;
            } else {
                attention += chunk * (computed + chunk / 2.0);
            }
        }
        let sequences = self.running.len() as f64 * PER_SEQUENCE;
        let matrices = class.floor.max(class.lin * tokens);
        let adapters = self.adapter_seconds();
        (class.base
            + matrices
            + class.attn * attention
            + class.kvr * context
            + sequences
            + adapters)
            * self.config.slowdown
    }

    /// The part of a step that adapters add: each token is multiplied by its adapter's matrices
    /// too, and each adapter in use is read once.
    fn adapter_seconds(&self) -> f64 {
        let (class, ranks) = (&self.config.class, &self.config.adapter_ranks);
        if ranks.is_empty() {
            return 0.0;
        }
        let stepping = || self.running.iter().filter(|sequence| sequence.chunk > 0);
        let multiplied: f64 = stepping()
            .filter_map(|sequence| Some((sequence.job.adapter?, sequence.chunk)))
            .map(|(adapter, tokens)| f64::from(tokens) * ranks.share(adapter))
            .sum();
        let in_use = adapters_of(&mut stepping());
        let read: f64 = in_use.into_iter().map(|adapter| ranks.share(adapter)).sum();
        class.lin * multiplied + class.floor * read
    }
}

/// The sequences' adapters, each once, in order.
fn adapters_of(sequences: &mut dyn Iterator<Item = &Sequence>) -> Vec<u32> {
    let mut adapters: Vec<u32> = sequences.filter_map(|sequence| sequence.job.adapter).collect();
    adapters.sort_unstable();
    adapters.dedup();
    adapters
}

/// Shares the prompt blocks that are computed by now.
fn publish(
    sequence: &mut Sequence,
    memory: &mut KvMemory,
    block_tokens: u32,
    events: &mut Vec<KvChange>,
) {
    let full = ((sequence.computed / block_tokens) as usize).min(sequence.job.blocks.len());
    if full <= sequence.shared {
        return;
    }
    let parent = sequence.shared.checked_sub(1).map(|last| sequence.job.blocks[last]);
    let blocks = sequence.job.blocks[sequence.shared..full].to_vec();
    for hash in &blocks {
        memory.publish(*hash);
    }
    sequence.shared = full;
    let private = pages(sequence.computed - full as u32 * block_tokens);
    memory.give_pages(sequence.pages - private);
    sequence.pages = private;
    events.push(KvChange::Stored { parent, blocks });
}

fn release(sequence: &mut Sequence, memory: &mut KvMemory) {
    memory.give_pages(std::mem::take(&mut sequence.pages));
    memory.release(&sequence.job.blocks[..std::mem::take(&mut sequence.shared)]);
}
