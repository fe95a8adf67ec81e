//! For any sequence of calls, valid or not: the accounts add up after each call, an error changes
//! nothing, equal inputs give equal outputs, and nothing panics.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::plugins::{
    FilterPlugin, KvCacheUtilizationScorer, LoraAffinityScorer, NoHitLruScorer, PrefixCacheScorer,
    ProfileConfig, QueueScorer, RunningRequestsSizeScorer, ScorerPlugin, SessionAffinity,
    SloHeadroomTierFilter, TokenLoadScorer, WeightedScorer,
};
use slotwise::{
    AdapterState, BlockHash, BlockRemoved, BlockStored, Decider, DisaggregationConfig, Endpoint,
    EndpointId, EngineHash, Failure, Instant, KvEvent, Leg, Load, Priority, Request, RequestId,
    Role, Scheduler, Seconds, Stage, Usage,
};

#[derive(Clone, Debug)]
enum Op {
    Add {
        name: u8,
        max_in_flight: u32,
        kv_cache_tokens: u32,
        block_size: u32,
        role: Role,
        model: Option<u8>,
    },
    Update {
        endpoint: usize,
        name: u8,
        kv_cache_tokens: u32,
        block_size: u32,
    },
    Remove(usize),
    Drain(usize, bool),
    Load {
        endpoint: usize,
        load: Load,
    },
    Adapters {
        endpoint: usize,
        active: Vec<u8>,
        slots: u32,
    },
    Stored {
        endpoint: usize,
        prompt: Prompt,
        parent: Option<u64>,
    },
    BlockRemoved {
        endpoint: usize,
        blocks: Vec<u64>,
    },
    Cleared(usize),
    Pick {
        prompt: Prompt,
        adapter: Option<u8>,
        priority: i32,
        deadline_ms: Option<u64>,
        output: u32,
        role: Role,
        session: Option<u8>,
        /// The service levels of both times, in milliseconds.
        slo_ms: [Option<u64>; 2],
    },
    FirstToken(usize),
    Tokens(usize, u32),
    Complete(usize, Usage),
    CompleteLeg(usize, Stage, Usage),
    FailLeg(usize, Stage, Failure),
    RedirectLeg(usize, Stage, Failure),
    Fail(usize, Failure),
    Cancel(usize),
    Redirect(usize, usize),
    Wait(i64),
    Reconfigure(Change),
}

/// A change of the configuration.
#[derive(Clone, Debug)]
struct Change {
    has_profile: bool,
    decider: Option<Decider>,
    max_in_flight: usize,
    max_in_flight_blocks: usize,
    adapter_window: f64,
    kv_limit: f64,
    learn_speed: bool,
    sessions: usize,
    /// Also changes a field that cannot change.
    is_invalid: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let decider = prop::sample::select(vec![
        None,
        Some(Decider::Never),
        Some(Decider::AlwaysPd),
        Some(Decider::PredictedPd),
    ]);
    let limits = (1usize..40, 0usize..500, 0usize..4);
    let shares = (prop::sample::select(vec![0.0, 0.25, 1.0]), 0.5..1.0);
    (any::<[bool; 2]>(), decider, limits, shares, prop::bool::weighted(0.2)).prop_map(
        |(
            [has_profile, learn_speed],
            decider,
            (max_in_flight, max_in_flight_blocks, sessions),
            (adapter_window, kv_limit),
            is_invalid,
        )| Change {
            has_profile,
            decider,
            max_in_flight,
            max_in_flight_blocks,
            adapter_window,
            kv_limit,
            learn_speed,
            sessions,
            is_invalid,
        },
    )
}

#[derive(Clone, Debug)]
enum Prompt {
    Text(u8, usize),
    Tokens(u32, usize),
    Blocks(u64, usize, u32),
}

fn prompt() -> impl Strategy<Value = Prompt> {
    prop_oneof![
        (0u8..3, 0usize..4_000).prop_map(|(byte, length)| Prompt::Text(byte, length)),
        (0u32..3, 0usize..1_000).prop_map(|(first, length)| Prompt::Tokens(first, length)),
        (0u64..3, 0usize..20, any::<u32>())
            .prop_map(|(first, blocks, tokens)| Prompt::Blocks(first, blocks, tokens)),
    ]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..40, Just(u32::MAX), any::<u32>()]
}

fn usage() -> impl Strategy<Value = Usage> {
    let count = || prop::option::of(number());
    (count(), count(), count()).prop_map(|(prompt, cached, completion)| {
        let mut usage = Usage::default();
        (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) =
            (prompt, cached, completion);
        usage
    })
}

fn load() -> impl Strategy<Value = Load> {
    let count = || prop::option::of(number());
    let share =
        prop::option::of(prop_oneof![0.0..1.0, Just(f64::NAN), Just(f64::INFINITY), Just(-5.0)]);
    (count(), count(), share).prop_map(|(waiting, running, kv)| {
        let mut load = Load::default();
        (load.waiting, load.running, load.kv_usage) = (waiting, running, kv);
        load
    })
}

fn op() -> impl Strategy<Value = Op> {
    let role = || prop_oneof![8 => Just(Role::Unified), 2 => Just(Role::Prefill), 2 => Just(Role::Decode), 1 => prop::sample::select(&Role::ALL[3..])];
    let size = || prop_oneof![4 => Just(16u32), 1 => 1u32..70, 1 => any::<u32>()];
    let capacity = || prop_oneof![4 => 1_000u32..50_000, 1 => number()];
    let at = || 0usize..8;
    let stage = || prop::sample::select(&Stage::ALL[..]);
    let failure =
        || prop_oneof![Just(Failure::Unreachable), Just(Failure::Engine), Just(Failure::Timeout)];
    prop_oneof![
        4 => (0u8..6, number(), capacity(), size(), role(), prop::option::of(0u8..2)).prop_map(
            |(name, max_in_flight, kv_cache_tokens, block_size, role, model)| Op::Add {
                name, max_in_flight, kv_cache_tokens, block_size, role, model
            }
        ),
        1 => (at(), 0u8..6, capacity(), size()).prop_map(|(endpoint, name, kv_cache_tokens, block_size)| Op::Update {
            endpoint, name, kv_cache_tokens, block_size
        }),
        1 => at().prop_map(Op::Remove),
        1 => (at(), any::<bool>()).prop_map(|(endpoint, on)| Op::Drain(endpoint, on)),
        3 => (at(), load()).prop_map(|(endpoint, load)| Op::Load { endpoint, load }),
        2 => (at(), prop::collection::vec(0u8..5, 0..6), 0u32..4).prop_map(|(endpoint, active, slots)| Op::Adapters {
            endpoint, active, slots
        }),
        2 => (at(), prompt(), prop::option::of(0u64..30)).prop_map(|(endpoint, prompt, parent)| Op::Stored {
            endpoint, prompt, parent
        }),
        1 => (at(), prop::collection::vec(0u64..60, 0..9)).prop_map(|(endpoint, blocks)| Op::BlockRemoved {
            endpoint, blocks
        }),
        1 => at().prop_map(Op::Cleared),
        14 => (
            prompt(), prop::option::of(0u8..9), -2..3, prop::option::of(0u64..500), number(), role(),
            prop::option::of(0u8..4), [prop::option::of(0u64..500), prop::option::of(0u64..20)],
        ).prop_map(
            |(prompt, adapter, priority, deadline_ms, output, role, session, slo_ms)| Op::Pick {
                prompt, adapter, priority, deadline_ms, output: output % 500, role, session, slo_ms
            }
        ),
        6 => at().prop_map(Op::FirstToken),
        3 => (at(), number()).prop_map(|(request, tokens)| Op::Tokens(request, tokens)),
        5 => (at(), usage()).prop_map(|(request, usage)| Op::Complete(request, usage)),
        2 => (at(), failure()).prop_map(|(request, failure)| Op::Fail(request, failure)),
        3 => (at(), stage(), usage()).prop_map(|(request, stage, usage)| Op::CompleteLeg(request, stage, usage)),
        2 => (at(), stage(), failure()).prop_map(|(request, stage, failure)| Op::FailLeg(request, stage, failure)),
        2 => (at(), stage(), failure()).prop_map(|(request, stage, failure)| Op::RedirectLeg(request, stage, failure)),
        2 => at().prop_map(Op::Cancel),
        2 => (at(), at()).prop_map(|(request, endpoint)| Op::Redirect(request, endpoint)),
        4 => prop_oneof![-1_000i64..5_000_000, Just(i64::MAX)].prop_map(Op::Wait),
        2 => change().prop_map(Op::Reconfigure),
    ]
}

/// A scheduler as text, without the counts of refused events.
fn without_feeds(scheduler: &str) -> String {
    let mut parts = scheduler.split("kv_feed: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(" }, ").map_or(part, |(_, rest)| rest))
}

/// The expected state of a request.
#[derive(Clone, Copy, Debug)]
struct Known {
    endpoint: EndpointId,
    tokens: u64,
    running: bool,
    /// Its first token is reported. Otherwise its prefill ends by the clock.
    streams: bool,
    /// The endpoints and the tokens of the stages before the answer, by stage.
    legs: [Option<(EndpointId, u64)>; 2],
}

impl Known {
    /// The first token ends all stages before the answer.
    fn run(&mut self) {
        (self.running, self.legs) = (true, [None; 2]);
    }

    /// Whether any of its stages is on the endpoint.
    fn occupies(&self, id: EndpointId) -> bool {
        self.endpoint == id || self.legs.iter().flatten().any(|(endpoint, _)| *endpoint == id)
    }
}

/// A profile whose plugins read the reported load, the requests in flight and the state between
/// requests.
fn profile() -> ProfileConfig {
    let scorer = |scorer, weight| WeightedScorer { scorer, weight };
    let mut profile = ProfileConfig::default();
    profile.filters = vec![FilterPlugin::SloHeadroomTier(SloHeadroomTierFilter::default())];
    profile.scorers = vec![
        scorer(ScorerPlugin::Queue(QueueScorer::default()), 2.0),
        scorer(ScorerPlugin::RunningRequestsSize(RunningRequestsSizeScorer::default()), 1.0),
        scorer(ScorerPlugin::KvCacheUtilization(KvCacheUtilizationScorer::default()), 2.0),
        scorer(ScorerPlugin::PrefixCache(PrefixCacheScorer::default()), 3.0),
        scorer(ScorerPlugin::TokenLoad(TokenLoadScorer::default()), 1.0),
        scorer(ScorerPlugin::LoraAffinity(LoraAffinityScorer::default()), 1.0),
        scorer(ScorerPlugin::NoHitLru(NoHitLruScorer::default()), 1.0),
        scorer(ScorerPlugin::SessionAffinity(SessionAffinity::default()), 1.0),
    ];
    profile
}

/// A scheduler and a simple model of it.
struct World {
    has_profile: bool,
    scheduler: Scheduler,
    now: u64,
    endpoints: Vec<EndpointId>,
    requests: Vec<RequestId>,
    /// In flight.
    known: BTreeMap<RequestId, Known>,
    answers: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let scheduler = Scheduler::builder().seed(seed).with(|config| {
            config.max_in_flight = 40;
            config.max_endpoints = 5;
            config.max_prompt_blocks = 100;
            config.index.bytes = 60_000;
            config.max_in_flight_blocks = 500;
            config.max_adapters = 6;
            config.adapter_window = [0.0, 0.25, 1.0][seed as usize / 3 % 3];
            config.profile = (seed / 9 % 2 == 1).then(profile);
            config.producers.max_sessions = 2;
            config.producers.max_cold_endpoints = 3;
            let decider = match seed % 3 {
                0 => return,
                1 => Decider::AlwaysPd,
                _ => Decider::PredictedPd,
            };
            let mut disaggregation = DisaggregationConfig::default();
            disaggregation.prefill = decider;
            config.disaggregation = Some(disaggregation);
        });
        Self {
            has_profile: seed / 9 % 2 == 1,
            scheduler: scheduler.build().expect("valid"),
            now: 0,
            endpoints: Vec::new(),
            requests: Vec::new(),
            known: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// The endpoint of an operation: one that was added earlier, or an unknown one.
    fn endpoint(&self, at: usize) -> EndpointId {
        self.endpoints
            .iter()
            .rev()
            .nth(at)
            .copied()
            .unwrap_or_else(|| EndpointId::from_u64(at as u64 + (7 << 32)))
    }

    fn request(&self, at: usize) -> RequestId {
        self.requests
            .iter()
            .rev()
            .nth(at)
            .copied()
            .unwrap_or_else(|| RequestId::from_u64(1_000_000 + at as u64))
    }

    fn apply(&mut self, op: &Op) {
        let now = Instant::from_micros(self.now);
        // Advances the clock, so that a refused call has nothing left to change.
        self.scheduler.cancel(now, RequestId::from_u64(u64::MAX));
        let before = format!("{:?}", self.scheduler);
        let untouched =
            |scheduler: &Scheduler| assert_eq!(format!("{scheduler:?}"), before, "after {op:?}");
        let answer = match op {
            Op::Add { name, max_in_flight, kv_cache_tokens, block_size, role, model } => {
                let mut endpoint = described(*name, *kv_cache_tokens, *block_size)
                    .role(*role)
                    .max_in_flight(*max_in_flight);
                if let Some(model) = model {
                    endpoint = endpoint.model(format!("model-{model}"));
                }
                let added = self.scheduler.add_endpoint(now, endpoint);
                match added {
                    Ok(id) => self.endpoints.push(id),
                    Err(_) => untouched(&self.scheduler),
                }
                format!("{added:?}")
            }
            Op::Update { endpoint, name, kv_cache_tokens, block_size } => {
                let endpoint = self.endpoint(*endpoint);
                let updated = self.scheduler.update_endpoint(
                    now,
                    endpoint,
                    described(*name, *kv_cache_tokens, *block_size),
                );
                if updated.is_err() {
                    untouched(&self.scheduler);
                }
                format!("{updated:?}")
            }
            Op::Remove(endpoint) => {
                let id = self.endpoint(*endpoint);
                let removed = self.scheduler.remove_endpoint(now, id);
                match &removed {
                    Ok(removed) => {
                        let on_it = self.known.iter().filter(|(_, known)| known.occupies(id));
                        assert!(
                            on_it
                                .map(|(request, _)| *request)
                                .eq(removed.in_flight.iter().copied())
                        );
                    }
                    Err(_) => untouched(&self.scheduler),
                }
                format!("{removed:?}")
            }
            Op::Drain(endpoint, on) => {
                let id = self.endpoint(*endpoint);
                let done = match on {
                    true => self.scheduler.drain_endpoint(now, id),
                    false => self.scheduler.resume_endpoint(now, id),
                };
                format!("{done:?}")
            }
            Op::Load { endpoint, load } => {
                let done = self.scheduler.handle_load(now, self.endpoint(*endpoint), *load);
                if done.is_err() {
                    untouched(&self.scheduler);
                }
                format!("{done:?}")
            }
            Op::Adapters { endpoint, active, slots } => {
                let names: Vec<String> =
                    active.iter().map(|name| format!("adapter-{name}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let state = AdapterState::active(&names).slots(*slots);
                format!(
                    "{:?}",
                    self.scheduler.handle_adapters(now, self.endpoint(*endpoint), state)
                )
            }
            Op::Stored { endpoint, prompt, parent } => {
                let ids = match prompt {
                    Prompt::Tokens(first, length) => {
                        Some((0..*length as u32).map(|id| id / 64 + first).collect())
                    }
                    _ => None::<Vec<u32>>,
                };
                let count = ids.as_ref().map_or(7, |ids| ids.len() / 16);
                let names: Vec<EngineHash> = (0..count as u64).map(EngineHash).collect();
                let mut stored = BlockStored::new(&names, NonZeroU32::new(16).expect("not zero"))
                    .model("model-0");
                stored.parent = parent.map(EngineHash);
                stored.tokens = ids.as_deref();
                let id = self.endpoint(*endpoint);
                let stats = self.scheduler.stats();
                let of = stats.endpoints.iter().find(|of| of.id == id);
                // An endpoint without blocks goes back to estimates.
                let empty = of
                    .is_some_and(|of| of.kv_events && of.stored_tokens + of.estimated_tokens == 0);
                let done = self.scheduler.handle_kv_event(now, id, KvEvent::BlockStored(stored));
                if done.is_err() && !empty {
                    let after = format!("{:?}", self.scheduler);
                    assert_eq!(without_feeds(&after), without_feeds(&before), "after {op:?}");
                }
                format!("{done:?}")
            }
            Op::BlockRemoved { endpoint, blocks } => {
                let names: Vec<EngineHash> = blocks.iter().map(|name| EngineHash(*name)).collect();
                let event = KvEvent::BlockRemoved(BlockRemoved::new(&names));
                format!(
                    "{:?}",
                    self.scheduler.handle_kv_event(now, self.endpoint(*endpoint), event)
                )
            }
            Op::Cleared(endpoint) => {
                format!(
                    "{:?}",
                    self.scheduler.handle_kv_event(
                        now,
                        self.endpoint(*endpoint),
                        KvEvent::AllBlocksCleared
                    )
                )
            }
            Op::Pick { prompt, adapter, priority, deadline_ms, output, role, session, slo_ms } => {
                let adapter = adapter.map(|name| format!("adapter-{name}"));
                let session = session.map(|name| format!("session-{name}"));
                let mut request = Request::new("model-0")
                    .priority(Priority(*priority))
                    .expected_output_tokens(*output)
                    .role(*role)
                    .multimodal(output % 2 == 0)
                    .streams(output % 3 != 0);
                (request.adapter, request.session) = (adapter.as_deref(), session.as_deref());
                let levels = slo_ms.map(|level| level.map(Duration::from_millis));
                [request.slo_ttft, request.slo_tpot] = levels;
                request.deadline = deadline_ms.map(|ms| now + Duration::from_millis(ms));
                with_prompt(request, prompt, |request| self.pick(now, request))
            }
            Op::FirstToken(request) => {
                let id = self.request(*request);
                let done = self.scheduler.handle_first_token(now, id);
                assert_eq!(done.is_ok(), self.known.contains_key(&id));
                self.known.entry(id).and_modify(Known::run);
                format!("{done:?}")
            }
            Op::Tokens(request, tokens) => {
                let id = self.request(*request);
                let done = self.scheduler.handle_tokens(now, id, *tokens);
                assert_eq!(done.is_ok(), self.known.contains_key(&id));
                self.known.entry(id).and_modify(|known| {
                    known.run();
                    known.tokens += u64::from(*tokens);
                });
                format!("{done:?}")
            }
            Op::Complete(request, usage) => {
                let id = self.request(*request);
                self.end(id, |scheduler| scheduler.complete(now, id, *usage).is_ok())
            }
            Op::Fail(request, failure) => {
                let id = self.request(*request);
                self.end(id, |scheduler| scheduler.fail(now, id, *failure).is_ok())
            }
            Op::CompleteLeg(request, stage, usage) => {
                let id = self.request(*request);
                let done = self.scheduler.complete_leg(now, id, *stage, *usage);
                self.end_leg(id, *stage, done.is_ok());
                if done.is_err() {
                    untouched(&self.scheduler);
                }
                format!("{done:?}")
            }
            Op::RedirectLeg(request, stage, failure) => {
                let id = self.request(*request);
                let done = self.scheduler.redirect_leg(now, id, *stage, *failure);
                match done {
                    Ok(to) => self.move_leg(id, *stage, to),
                    Err(_) => {
                        self.end_leg(id, *stage, false);
                        untouched(&self.scheduler);
                    }
                }
                format!("{done:?}")
            }
            Op::FailLeg(request, stage, failure) => {
                let id = self.request(*request);
                let done = self.scheduler.fail_leg(now, id, *stage, *failure);
                self.end_leg(id, *stage, done.is_ok());
                if done.is_err() {
                    untouched(&self.scheduler);
                }
                format!("{done:?}")
            }
            Op::Cancel(request) => {
                let id = self.request(*request);
                self.end(id, |scheduler| scheduler.cancel(now, id))
            }
            Op::Redirect(request, endpoint) => {
                let (id, to) = (self.request(*request), self.endpoint(*endpoint));
                let done = self.scheduler.redirect(now, id, to);
                match done {
                    Ok(()) => self.known.get_mut(&id).expect("in flight").endpoint = to,
                    Err(_) => untouched(&self.scheduler),
                }
                format!("{done:?}")
            }
            Op::Reconfigure(change) => {
                let mut config = self.scheduler.config().clone();
                config.profile = change.has_profile.then(profile);
                config.disaggregation = change.decider.map(|decider| {
                    let mut disaggregation = DisaggregationConfig::default();
                    disaggregation.prefill = decider;
                    disaggregation
                });
                config.max_in_flight = change.max_in_flight;
                config.max_in_flight_blocks = change.max_in_flight_blocks;
                config.adapter_window = change.adapter_window;
                config.kv_limit = change.kv_limit;
                config.learn_speed = change.learn_speed;
                config.producers.max_sessions = change.sessions;
                config.producers.max_cold_endpoints = change.sessions;
                config.seed ^= u64::from(change.is_invalid);
                let done = self.scheduler.reconfigure(now, config);
                match done {
                    Ok(()) => self.has_profile = change.has_profile,
                    Err(_) => untouched(&self.scheduler),
                }
                assert_eq!(done.is_err(), change.is_invalid);
                format!("{done:?}")
            }
            Op::Wait(length) => {
                self.now = self.now.saturating_add_signed(*length).min(u64::MAX / 2);
                String::new()
            }
        };
        self.answers.push(answer);
        self.check();
    }

    fn pick(&mut self, now: Instant, request: &Request<'_>) -> String {
        let explanation = self.scheduler.explain(now, request);
        let before = self.scheduler.stats();
        let picked = self.scheduler.pick(now, request);
        match &picked {
            Ok(dispatch) => {
                assert_eq!(explanation.verdict, Ok(dispatch.endpoint_id));
                let best = &explanation.candidates[0];
                assert_eq!((best.endpoint_id, best.cost), (dispatch.endpoint_id, dispatch.cost));
                assert_eq!(best.cached_tokens, dispatch.cached_tokens);
                assert_eq!(explanation.prompt_tokens, dispatch.prompt_tokens);
                assert!(
                    best.excluded.is_none()
                        && dispatch.cached_tokens <= dispatch.best_cached_tokens
                );
                let costs = || {
                    explanation.candidates.iter().filter(|c| c.excluded.is_none()).map(|c| c.cost)
                };
                // Costs are ranked in nanoseconds, up to 584 years.
                let ranked = || costs().map(|cost| cost.min(Seconds::new(1.8e10)));
                let sorted =
                    ranked().zip(ranked().skip(1)).all(|(a, b)| a <= b + Seconds::new(1e-9));
                assert!(self.has_profile || sorted);
                assert_eq!(dispatch.score.is_some(), self.has_profile);
                assert!(costs().all(|cost| cost.get().is_finite() && cost >= Seconds::ZERO));
                let ranked: Vec<_> =
                    explanation.candidates.iter().map(|c| c.endpoint_id).skip(1).take(2).collect();
                assert!(ranked.starts_with(&dispatch.alternatives));
                let tokens = u64::from(dispatch.prompt_tokens);
                let of = |leg: Option<Leg>, tokens| leg.map(|leg| (leg.endpoint_id, tokens));
                let legs = [of(dispatch.encode, 0), of(dispatch.prefill, tokens)];
                let endpoint = dispatch.endpoint_id;
                assert!(dispatch.prefill.is_none_or(|leg| leg.endpoint_id != endpoint));
                assert_eq!(explanation.prefill, legs[1].map(|(id, _)| id));
                assert_eq!(explanation.encode, legs[0].map(|(id, _)| id));
                let streams = dispatch.streams;
                let known = Known { endpoint, tokens, running: false, streams, legs };
                self.known.insert(dispatch.request_id, known);
                self.requests.push(dispatch.request_id);
            }
            Err(rejected) => {
                // A rejection takes a retry slot; an explanation takes none.
                assert_eq!(explanation.verdict.map_err(|other| other.reason), Err(rejected.reason));
                let mut after = self.scheduler.stats();
                after.rejected.clone_from(&before.rejected);
                // More replicas would carry the rejected load.
                after.pool.desired_replicas = before.pool.desired_replicas;
                assert_eq!(after, before, "a rejection changes nothing but counts of its own");
            }
        }
        format!("{picked:?}")
    }

    fn end(&mut self, id: RequestId, call: impl FnOnce(&mut Scheduler) -> bool) -> String {
        let ended = call(&mut self.scheduler);
        assert_eq!(ended, self.known.remove(&id).is_some(), "each request ends once");
        format!("{ended}")
    }

    fn move_leg(&mut self, id: RequestId, stage: Stage, to: Option<EndpointId>) {
        let Some(to) = to else { return self.end_leg(id, stage, true) };
        let leg = self.known.get_mut(&id).and_then(|known| known.legs[stage as usize].as_mut());
        let (endpoint, _) = leg.expect("only an open leg moves");
        assert_ne!(*endpoint, to, "it moves to another endpoint");
        *endpoint = to;
        assert_eq!(self.scheduler.leg_of(id, stage), Some(to));
    }

    fn end_leg(&mut self, id: RequestId, stage: Stage, ended: bool) {
        let leg = self.known.get_mut(&id).and_then(|known| known.legs[stage as usize].take());
        assert_eq!(ended, leg.is_some(), "each leg ends once");
        assert_eq!(self.scheduler.leg_of(id, stage), None);
    }

    fn check(&self) {
        let stats = self.scheduler.stats();
        assert_eq!(stats.in_flight, self.known.len() as u64);
        assert!(stats.index_bytes <= 60_000 && stats.endpoints.len() <= 5);
        for endpoint in &stats.endpoints {
            let here = || self.known.values().filter(|known| known.endpoint == endpoint.id);
            let legs = || {
                let all = self.known.values().flat_map(|known| known.legs).flatten();
                all.filter(|(id, _)| *id == endpoint.id)
            };
            let either = here().filter(|known| !known.running && !known.streams).count();
            let (prefilling, running) = (endpoint.prefilling as usize, endpoint.running as usize);
            assert_eq!(prefilling + running, here().count() + legs().count());
            let reported = here().filter(|known| known.running).count();
            assert!((reported..=reported + either).contains(&running));
            let tokens = here().map(|known| known.tokens).chain(legs().map(|(_, tokens)| tokens));
            assert_eq!(endpoint.kv_tokens, tokens.sum::<u64>());
            assert!(
                endpoint.prefilling > 0 || endpoint.queued_prefill.is_zero(),
                "prefill is booked only for requests before their first token"
            );
            assert!(endpoint.estimated_tokens <= u64::from(endpoint.kv_cache_tokens));
            assert!(endpoint.slowdown.is_finite() && endpoint.slowdown > 0.0);
        }
    }
}

fn described(name: u8, kv_cache_tokens: u32, block_size: u32) -> Endpoint {
    let block_size = NonZeroU32::new(block_size).unwrap_or(NonZeroU32::MIN);
    Endpoint::new(format!("endpoint-{name}"))
        .kv_cache_tokens(kv_cache_tokens)
        .block_size(block_size)
}

fn with_prompt<T>(request: Request<'_>, prompt: &Prompt, ask: impl FnOnce(&Request<'_>) -> T) -> T {
    match prompt {
        Prompt::Text(byte, length) => {
            let text: Vec<u8> = (0..*length).map(|at| (at / 500) as u8 * 3 + byte).collect();
            ask(&request.clone().text(&text))
        }
        Prompt::Tokens(first, length) => {
            let ids: Vec<u32> = (0..*length as u32).map(|id| id / 64 + first).collect();
            ask(&request.clone().tokens(&ids))
        }
        Prompt::Blocks(first, blocks, tokens) => {
            let hashes: Vec<BlockHash> =
                (0..*blocks as u64).map(|block| BlockHash(first + block)).collect();
            ask(&request.clone().blocks(&hashes, NonZeroU32::new(64).expect("not zero"), *tokens))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_called(seed in any::<u64>(), ops in prop::collection::vec(op(), 1..120)) {
        let (mut world, mut twin) = (World::new(seed), World::new(seed));
        for op in &ops {
            world.apply(op);
            twin.apply(op);
            prop_assert_eq!(world.answers.last(), twin.answers.last(), "the same inputs give the same outputs");
        }
        for id in world.requests.clone() {
            let now = Instant::from_micros(world.now);
            world.end(id, |scheduler| scheduler.cancel(now, id));
        }
        world.check();
        prop_assert!(world.known.is_empty());
    }
}
