//! Fixed amounts of the benchmarks' work, for `benches/instructions.sh`, which counts instructions,
//! and for `benches/paired.sh`, which compares the times of two builds.
//!
//! - `instructions` lists the workloads.
//! - `instructions WORKLOAD` prepares one, runs it in [`measured`], the only function in which
//!   callgrind collects, and prints the number of operations.
//! - `instructions WORKLOAD time` prints the nanoseconds of one operation instead.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant as Clock;

use slotwise::{EngineHash, Request, Rng};
use slotwise_benches::{
    FullQueue, HeldPrompts, LoadedPool, METRICS_PAGE, MODEL, ProfilePool, Prompt, SharedPool,
    agent, blocks, chat_body, later_metrics_pages, many_messages, prompts, token_ids,
};
use slotwise_wire::exposition::Exposition;
use slotwise_wire::metrics::{Engine, MetricsReader, ScrapeReader};
use slotwise_wire::request::{Api, RequestReader};

const PROMPTS: usize = 2_000;
const TEXT_BYTES: usize = 8 << 10;
const TOKENS: usize = 2_000;
const LARGE: usize = 65_000;
const PROFILE_DECISIONS: usize = 1_000;
const QUEUED: usize = 5_000;
const EVENTS: usize = 2_000;
const READS: usize = 10;

/// Prepares, runs the work in [`measured`] and returns the number of operations.
type Workload = fn() -> usize;

const WORKLOADS: [(&str, Workload); 45] = [
    ("pick/text/8", || pick(8, Prompt::as_text)),
    ("pick/text/64", || pick(64, Prompt::as_text)),
    ("pick/text/1024", || pick(1_024, Prompt::as_text)),
    ("pick/tokens/8", || pick(8, Prompt::as_tokens)),
    ("pick/tokens/64", || pick(64, Prompt::as_tokens)),
    ("pick/tokens/1024", || pick(1_024, Prompt::as_tokens)),
    ("pick/tokens/65000", || pick(LARGE, Prompt::as_tokens)),
    ("pick/reports/1024", || pick_between_reports(1_024)),
    ("pick/reports/65000", || pick_between_reports(LARGE)),
    ("pick/full/4096", || pick_with_full_index(4_096)),
    ("idle/65000", || idle(LoadedPool::sharing(LARGE, &[]), &[])),
    ("shared/65000", || shared(LoadedPool::sharing)),
    ("speeds/65000", || shared(|all, prompt| LoadedPool::of_differing_speeds(all, 50, prompt))),
    ("profile/5", || profile(5)),
    ("profile/25", || profile(25)),
    ("profile/100", || profile(100)),
    ("profile/1024", || profile(1_024)),
    ("flow/submit", || submit(QUEUED)),
    ("flow/submit_and_cancel", || submit_and_cancel(QUEUED)),
    ("flow/submit_sheddable/1024", submit_sheddable),
    ("flow/poll_decision", poll_decision),
    ("flow/million/submit", || submit(1_000_000)),
    ("flow/million/submit_and_cancel", || submit_and_cancel(1_000_000)),
    ("events/store", store),
    ("events/one/new", || event(HeldPrompts::store_new)),
    ("events/one/end", || event(HeldPrompts::extend)),
    ("events/one/answer", || event(|held, _| held.extend(0))),
    ("events/one/remove_last", || event(HeldPrompts::remove_last)),
    ("events/one/remove_any", || event(HeldPrompts::remove_any)),
    ("events/remove", remove),
    ("settle/1024", || settle(1_024)),
    ("settle/65000", || settle(LARGE)),
    ("stats/1024", stats),
    ("stats/1024/into", stats_into),
    ("stats/1024/text", metrics_text),
    ("wire/request", || request(Api::ChatCompletions, &chat_body(TEXT_BYTES))),
    ("wire/request/agent", || request(Api::ChatCompletions, &agent(TEXT_BYTES))),
    ("wire/request/blocks", || request(Api::Messages, &blocks(TEXT_BYTES))),
    ("wire/request/tokens", || request(Api::Completions, &token_ids(TEXT_BYTES))),
    ("wire/request/tiny", || request(Api::ChatCompletions, &many_messages(TEXT_BYTES))),
    ("wire/request/tiny/1MB", || request(Api::ChatCompletions, &many_messages(1 << 20))),
    ("wire/metrics", metrics),
    ("peers/second/64", || peers(64)),
    ("peers/second/16", || peers(16)),
    ("wire/metrics/again", metrics_again),
];

/// Nanoseconds in [`measured`].
static SPENT: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let workload = WORKLOADS.iter().find(|(known, _)| *known == name);
    let (_, workload) = workload.expect("a workload of the list that `instructions` prints");
    let operations = workload();
    if arguments.next().is_some() {
        println!("{:.0}", SPENT.load(Ordering::Relaxed) as f64 / operations as f64);
    } else {
        println!("{operations}");
    }
}

/// Callgrind collects in this function alone: `--toggle-collect`.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    let begin = Clock::now();
    black_box(work)();
    SPENT.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
}

/// Decisions in a pool that has served each of the prompts once, with the end of an older request
/// each. A large pool has served a prompt for each endpoint.
fn pick(endpoints: usize, to_request: fn(&Prompt) -> Request<'_>) -> usize {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut pool = LoadedPool::new(endpoints, &prompts, to_request);
    for prompt in prompts.iter().cycle().take(endpoints.saturating_sub(PROMPTS)) {
        pool.serve(&to_request(prompt));
    }
    measured(&mut || {
        for prompt in &prompts {
            black_box(pool.serve(&to_request(prompt)));
        }
    });
    PROMPTS
}

/// The same, where one endpoint reports its load after each request, outside the measurement. The
/// reports differ: see [`LoadedPool::report`].
fn pick_between_reports(endpoints: usize) -> usize {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut pool = LoadedPool::new(endpoints, &prompts, Prompt::as_tokens);
    for prompt in prompts.iter().cycle().take(endpoints.saturating_sub(PROMPTS)) {
        pool.serve(&prompt.as_tokens());
    }
    (0..endpoints).for_each(|_| pool.report());
    for prompt in &prompts {
        measured(&mut || _ = black_box(pool.serve(&prompt.as_tokens())));
        pool.report();
    }
    PROMPTS
}

/// Decisions about new prompts, each of which takes the memory of older ones in the prefix index.
fn pick_with_full_index(endpoints: usize) -> usize {
    let prompts = prompts(2 * PROMPTS, TEXT_BYTES, TOKENS, 1);
    let (earlier, new) = prompts.split_at(PROMPTS);
    let mut pool = LoadedPool::with_index_bytes(endpoints, 1 << 20);
    for prompt in earlier {
        pool.serve(&prompt.as_tokens());
    }
    measured(&mut || {
        for prompt in new {
            black_box(pool.serve(&prompt.as_tokens()));
        }
    });
    PROMPTS
}

/// Messages between 16 gateways with 5,000 requests a second: what one of them encodes and applies
/// in a second.
fn peers(block_tokens: u32) -> usize {
    let mut pool = SharedPool::new(block_tokens);
    pool.second(block_tokens, |work| measured(work));
    1
}

/// Decisions on idle endpoints of which some hold the first part of the prompt.
fn shared(pool: fn(usize, &[u32]) -> LoadedPool) -> usize {
    let shared: Vec<u32> = (0..1_024).collect();
    idle(pool(LARGE, &shared), &shared)
}

/// Decisions on idle endpoints about prompts that begin with these tokens.
fn idle(mut pool: LoadedPool, shared: &[u32]) -> usize {
    let mut prompt = [shared, &[0; 32]].concat();
    measured(&mut || {
        for _ in 0..PROMPTS {
            prompt[shared.len()] += 1;
            black_box(pool.serve(&Request::new(MODEL).tokens(&prompt)));
        }
    });
    PROMPTS
}

/// Decisions by a scheduling profile, without the ends of the requests.
fn profile(endpoints: usize) -> usize {
    let mut pool = ProfilePool::new(endpoints);
    pool.decide_in(PROFILE_DECISIONS as u64, measured);
    PROFILE_DECISIONS
}

fn submit(queued: usize) -> usize {
    let mut queue = FullQueue::new(queued);
    measured(&mut || {
        for _ in 0..QUEUED {
            black_box(queue.submit());
        }
    });
    QUEUED
}

fn submit_and_cancel(queued: usize) -> usize {
    let mut queue = FullQueue::new(queued);
    measured(&mut || (0..QUEUED).for_each(|_| queue.submit_and_cancel()));
    QUEUED
}

/// Requests that are shed where the pool is saturated, beside busy endpoints.
fn submit_sheddable() -> usize {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut pool = LoadedPool::new(1_024, &prompts, Prompt::as_tokens);
    measured(&mut || (0..READS).for_each(|_| pool.submit_sheddable()));
    READS
}

fn poll_decision() -> usize {
    let mut queue = FullQueue::new(QUEUED);
    measured(&mut || assert_eq!(black_box(queue.dispatch_all()), QUEUED));
    QUEUED
}

/// Events of engines that stored 128 new blocks each. No two prompts share a block: under two
/// names, a shared one would give its engine a dictionary of its own.
fn store() -> usize {
    let prompts: Vec<Prompt> =
        (0..PROMPTS as u64 / 10).flat_map(|seed| prompts(1, TEXT_BYTES, 128 * 16, seed)).collect();
    let mut pool = LoadedPool::idle(64);
    let mut rng = Rng::new(2);
    let names: Vec<EngineHash> =
        (0..128 * prompts.len()).map(|_| EngineHash(rng.next_u64())).collect();
    measured(&mut || {
        for (number, (names, prompt)) in names.chunks(128).zip(&prompts).enumerate() {
            pool.store(number as u64 % 64, names, &prompt.tokens);
        }
    });
    prompts.len()
}

/// Events of an engine that stored or removed one block.
fn event(change: fn(&mut HeldPrompts, usize)) -> usize {
    let mut held = HeldPrompts::default();
    measured(&mut || (0..EVENTS).for_each(|at| change(&mut held, at)));
    EVENTS
}

/// Events of an engine that removed a prompt of 128 blocks.
fn remove() -> usize {
    let mut held = HeldPrompts::default();
    measured(&mut || (0..PROMPTS / 10).for_each(|at| held.remove_whole(at)));
    PROMPTS / 10
}

/// A pool of 1,024 endpoints under traffic, with a queue of 33 bands.
fn observed() -> LoadedPool {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut pool = LoadedPool::new(1_024, &prompts, Prompt::as_tokens);
    pool.queue_in_bands(33);
    pool
}

/// Seconds that pass in a pool that serves nothing meanwhile.
fn settle(endpoints: usize) -> usize {
    let mut pool = LoadedPool::idle(endpoints);
    measured(&mut || (0..READS).for_each(|_| pool.settle()));
    READS
}

/// Reads of all counters and gauges.
fn stats() -> usize {
    let pool = observed();
    measured(&mut || (0..READS).for_each(|_| drop(black_box(pool.stats()))));
    READS
}

/// The same reads in the memory of earlier ones.
fn stats_into() -> usize {
    let pool = observed();
    let mut stats = pool.stats();
    measured(&mut || (0..READS).for_each(|_| pool.stats_into(black_box(&mut stats))));
    READS
}

/// The OpenMetrics text of these.
fn metrics_text() -> usize {
    let stats = observed().stats();
    let (exposition, mut text) = (Exposition::new().endpoint_limit(2_000), String::new());
    exposition.render(&stats, &mut text);
    measured(&mut || (0..READS).for_each(|_| exposition.render(black_box(&stats), &mut text)));
    READS
}

/// Reads of one body, again and again by one reader.
fn request(api: Api, body: &str) -> usize {
    let mut reader = RequestReader::new();
    let reads = (PROMPTS * TEXT_BYTES / body.len()).clamp(READS, PROMPTS);
    measured(&mut || {
        for _ in 0..reads {
            let view = reader.read(api, black_box(body.as_bytes()));
            black_box(view.expect("valid").prompts);
        }
    });
    reads
}

/// Pages of 64 KB.
fn metrics() -> usize {
    let reader = MetricsReader::of(Engine::Vllm);
    measured(&mut || {
        for _ in 0..PROMPTS / 10 {
            black_box(reader.read(black_box(METRICS_PAGE.as_bytes()))).expect("well-formed");
        }
    });
    PROMPTS / 10
}

/// Pages of 64 engines with other values, by a reader that knows their layout.
fn metrics_again() -> usize {
    let mut reader = ScrapeReader::new(MetricsReader::of(Engine::Vllm));
    let pages = later_metrics_pages(64);
    let mut read = |page: &String| {
        black_box(reader.read(black_box(page.as_bytes()))).expect("well-formed");
    };
    pages.iter().for_each(&mut read);
    measured(&mut || pages.iter().for_each(&mut read));
    pages.len()
}
