//! The format of the JSON vectors: steps with times, and the answers that every language gives.
//!
//! Every binding runs the same files, so everything is plain data. Endpoints are named, requests
//! are numbered, a prompt of any length has a short notation, and an error is its message.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slotwise::{
    AdapterState, AnswerId, BlockHash, BlockRemoved, BlockStored, CacheUse, Config, Decider,
    DeciderFacts, Decision, Dispatch, Endpoint, EndpointId, EngineHash, Failure, Instant, KvEvent,
    Leg, Load, PortMatch, Priority, Prompt, Rejected, Request, RequestId, Role, Scheduler, Stage,
    Subset, Tier, Usage,
};

/// One file.
#[derive(Deserialize, Serialize)]
pub(crate) struct Vector {
    /// What it shows.
    pub(crate) doc: String,
    /// The configuration, where it is not the default.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    config: Value,
    pub(crate) steps: Vec<Step>,
}

/// One input and the answer to it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Step {
    at_us: u64,
    #[serde(flatten)]
    input: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRequest {
    model: String,
    adapter: Option<String>,
    cache_salt: Option<String>,
    #[serde(default)]
    prompt: AskedPrompt,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    flow: String,
    session: Option<String>,
    deadline_us: Option<u64>,
    slo_ttft_us: Option<u64>,
    slo_tpot_us: Option<u64>,
    ttl_us: Option<u64>,
    weight: Option<f64>,
    #[serde(default)]
    expected_output_tokens: u32,
    #[serde(default)]
    role: Role,
    #[serde(default)]
    multimodal: bool,
    streams: Option<bool>,
    #[serde(default)]
    cache_use: CacheUse,
    continues: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Names.
    #[serde(default)]
    exclude: Vec<String>,
    /// Their ids.
    #[serde(skip)]
    excluded: Vec<EndpointId>,
    subset: Option<AskedSubset>,
    #[serde(default)]
    subset_ports: PortMatch,
    /// The ids of a subset of names.
    #[serde(skip)]
    allowed: Vec<EndpointId>,
}

/// The endpoints that a request may use.
#[derive(Deserialize)]
#[serde(untagged)]
enum AskedSubset {
    /// A list of addresses, as in the header.
    Addresses(String),
    Names(Vec<String>),
}

/// A prompt in a few characters.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum AskedPrompt {
    /// Texts, each repeated so many times, one after the other.
    Text(Vec<(String, usize)>),
    /// Ranges of token ids, one after the other.
    Tokens(Vec<(u32, u32)>),
    /// Ready hashes.
    Blocks { hashes: Vec<u64>, block_size: NonZeroU32, tokens: u32 },
}

impl Default for AskedPrompt {
    fn default() -> Self {
        Self::Text(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum AskedEvent {
    Stored {
        blocks: Vec<u64>,
        parent: Option<u64>,
        tokens: Option<Vec<(u32, u32)>>,
        /// As `tokens`.
        #[serde(default)]
        lookahead: Vec<(u32, u32)>,
        block_size: NonZeroU32,
        #[serde(default)]
        tier: Tier,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
    },
    Removed {
        blocks: Vec<u64>,
        #[serde(default)]
        tier: Tier,
    },
    Cleared,
}

#[derive(Deserialize)]
struct Named<T> {
    endpoint: String,
    #[serde(flatten)]
    rest: T,
}

/// What is otherwise than before when the gateway has started again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    seed: Option<u64>,
    /// Endpoints that are described anew.
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

/// A scheduler under test, driven by steps.
pub(crate) struct Runner {
    config: Config,
    scheduler: Scheduler,
    /// Ids of endpoints that have left are still asked about.
    endpoints: BTreeMap<String, EndpointId>,
    /// In the order in which they came.
    added: Vec<EndpointId>,
    /// The latest one.
    snapshot: Vec<u8>,
    /// Submitted requests with a service level.
    with_level: BTreeSet<RequestId>,
}

impl Runner {
    pub(crate) fn new(vector: &Vector) -> Self {
        let config: Config = match &vector.config {
            Value::Null => Config::default(),
            config => serde_json::from_value(config.clone()).expect("a configuration"),
        };
        Self {
            scheduler: Scheduler::new(config.clone()).expect("a valid configuration"),
            config,
            endpoints: BTreeMap::new(),
            added: Vec::new(),
            snapshot: Vec::new(),
            with_level: BTreeSet::new(),
        }
    }

    /// The answer to a step.
    pub(crate) fn answer(&mut self, step: &Step) -> Value {
        let now = Instant::from_micros(step.at_us);
        let (verb, argument) = step.input.iter().next().expect("a verb");
        let scheduler = &mut self.scheduler;
        match verb.as_str() {
            "add_endpoint" => {
                let endpoint: Endpoint = read(argument);
                let name = endpoint.name.clone();
                match scheduler.add_endpoint(now, endpoint) {
                    Ok(id) => {
                        self.endpoints.insert(name, id);
                        self.added.push(id);
                        json!({"endpoint": id.as_u64()})
                    }
                    Err(error) => refused(error),
                }
            }
            "update_endpoint" => {
                let endpoint: Endpoint = read(argument);
                let id = self.endpoints[&endpoint.name];
                answer(scheduler.update_endpoint(now, id, endpoint))
            }
            "remove_endpoint" => {
                match scheduler.remove_endpoint(now, self.endpoints[text(argument)]) {
                    Ok(removed) => {
                        let requests: Vec<u64> =
                            removed.in_flight.iter().map(|id| id.as_u64()).collect();
                        json!({"in_flight": requests})
                    }
                    Err(error) => refused(error),
                }
            }
            "drain_endpoint" => {
                answer(scheduler.drain_endpoint(now, self.endpoints[text(argument)]))
            }
            "resume_endpoint" => {
                answer(scheduler.resume_endpoint(now, self.endpoints[text(argument)]))
            }
            "reconfigure" => answer(scheduler.reconfigure(now, read(argument))),
            "handle_load" => {
                let Named::<Load> { endpoint, rest } = read(argument);
                answer(scheduler.handle_load(now, self.endpoints[&endpoint], rest))
            }
            "handle_loads" => {
                let all: Vec<Named<Load>> = read(argument);
                let report = |report: Named<Load>| (self.endpoints[&report.endpoint], report.rest);
                let reports: Vec<_> = all.into_iter().map(report).collect();
                let unknown = scheduler.handle_loads(now, &reports);
                json!(unknown.iter().map(|id| id.as_u64()).collect::<Vec<_>>())
            }
            "handle_probe" => {
                let (endpoint, passed): (String, bool) = read(argument);
                answer(scheduler.handle_probe(now, self.endpoints[&endpoint], passed))
            }
            "handle_adapters" => {
                #[derive(Deserialize)]
                struct Report {
                    active: Vec<String>,
                    #[serde(default)]
                    slots: u32,
                }
                let Named::<Report> { endpoint, rest } = read(argument);
                let active: Vec<&str> = rest.active.iter().map(String::as_str).collect();
                let state = AdapterState::active(&active).slots(rest.slots);
                answer(scheduler.handle_adapters(now, self.endpoints[&endpoint], state))
            }
            "describe_adapter" => answer(scheduler.describe_adapter(read(argument))),
            "handle_kv_event" => {
                let Named::<BTreeMap<String, Value>> { endpoint, rest } = read(argument);
                let id = self.endpoints[&endpoint];
                let event: AskedEvent = read(&rest["event"]);
                answer(handle_kv_event(scheduler, now, id, &event))
            }
            "pick" => {
                let asked = AskedRequest::read(argument, &self.endpoints);
                match asked.with_request(|request| scheduler.pick(now, request)) {
                    Ok(dispatch) => picked(scheduler, &dispatch, asked.has_level()),
                    Err(rejected) => turned_away(rejected),
                }
            }
            "pick_many" => {
                let all: Vec<Value> = read(argument);
                let asked: Vec<_> =
                    all.iter().map(|asked| AskedRequest::read(asked, &self.endpoints)).collect();
                let answers = AskedRequest::with_all(&asked, &[], &mut |requests| {
                    scheduler.pick_many(now, requests)
                });
                let shown = answers.into_iter().zip(&asked).map(|(answer, asked)| match answer {
                    Ok(dispatch) => picked(scheduler, &dispatch, asked.has_level()),
                    Err(rejected) => turned_away(rejected),
                });
                shown.collect()
            }
            "submit" => {
                let asked = AskedRequest::read(argument, &self.endpoints);
                match asked.with_request(|request| scheduler.submit(now, request)) {
                    Ok(id) => {
                        self.with_level.extend(asked.has_level().then_some(id));
                        json!({"request": id.as_u64()})
                    }
                    Err(rejected) => turned_away(rejected),
                }
            }
            "poll" => {
                let decisions = std::iter::from_fn(|| {
                    let decision = scheduler.poll_decision(now)?;
                    Some(decided(scheduler, &decision, &self.with_level))
                });
                decisions.collect()
            }
            "next_timeout" => json!(scheduler.next_timeout().map(Instant::as_micros)),
            "explain" => {
                let asked = AskedRequest::read(argument, &self.endpoints);
                let explanation = asked.with_request(|request| scheduler.explain(now, request));
                let by_profile = self.config.profile.is_some();
                let candidates = explanation.candidates.iter().map(|candidate| {
                    let mut shown = json!({
                        "endpoint": candidate.name,
                        "excluded": candidate.excluded,
                        "cached_tokens": candidate.cached_tokens,
                        "terms": candidate.terms,
                        "cost_s": candidate.cost,
                    });
                    if asked.has_level() {
                        shown["predicted_ttft_s"] = json!(candidate.predicted_ttft);
                        shown["predicted_tpot_s"] = json!(candidate.predicted_tpot);
                        shown["ttft_headroom_s"] = json!(candidate.ttft_headroom);
                        shown["tpot_headroom_s"] = json!(candidate.tpot_headroom);
                    }
                    if by_profile {
                        let raw = candidate.scores.iter().map(|score| (score.scorer, score.raw));
                        shown["scores"] = json!(raw.collect::<BTreeMap<_, _>>());
                        shown["score"] = json!(candidate.score);
                        shown["filtered_by"] = json!(candidate.filtered_by);
                    }
                    shown
                });
                let mut shown = json!({"candidates": candidates.collect::<Vec<_>>()});
                if let (true, Some(margin)) = (by_profile, &explanation.runner_up) {
                    shown["runner_up"] = json!({
                        "endpoint": name(scheduler, margin.endpoint_id),
                        "behind": margin.behind,
                        "lost_most_in": margin.lost_most_in,
                    });
                }
                shown
            }
            "handle_first_token" => answer(scheduler.handle_first_token(now, request(argument))),
            "handle_tokens" => {
                let (id, tokens): (u64, u32) = read(argument);
                answer(scheduler.handle_tokens(now, RequestId::from_u64(id), tokens))
            }
            "handle_answer" => {
                let (id, name): (u64, String) = read(argument);
                answer(scheduler.handle_answer(now, RequestId::from_u64(id), AnswerId::of(&name)))
            }
            "complete" => {
                let (id, usage): (u64, Usage) = read(argument);
                answer(scheduler.complete(now, RequestId::from_u64(id), usage))
            }
            "fail" => {
                let (id, failure): (u64, Failure) = read(argument);
                answer(scheduler.fail(now, RequestId::from_u64(id), failure))
            }
            "complete_leg" => {
                let (id, stage, usage): (u64, Stage, Usage) = read(argument);
                answer(scheduler.complete_leg(now, RequestId::from_u64(id), stage, usage))
            }
            "fail_leg" => {
                let (id, stage, failure): (u64, Stage, Failure) = read(argument);
                answer(scheduler.fail_leg(now, RequestId::from_u64(id), stage, failure))
            }
            "redirect_leg" => {
                let (id, stage, failure): (u64, Stage, Failure) = read(argument);
                match scheduler.redirect_leg(now, RequestId::from_u64(id), stage, failure) {
                    Ok(to) => json!({ "endpoint": to.map(|id| name(scheduler, id)) }),
                    Err(error) => json!({ "error": error.to_string() }),
                }
            }
            "pd_decide" => {
                let (decider, facts): (Decider, DeciderFacts) = read(argument);
                json!(slotwise::pd_decide(&decider, &facts))
            }
            "cancel" => json!(scheduler.cancel(now, request(argument))),
            "redirect" => {
                let (id, to) = (&argument[0], self.endpoints[text(&argument[1])]);
                answer(match argument.get(2) {
                    Some(failure) => scheduler.redirect_after(now, request(id), to, read(failure)),
                    None => scheduler.redirect(now, request(id), to),
                })
            }
            "stats" => {
                let stats = serde_json::to_value(scheduler.stats()).expect("serializable");
                // Of all the figures, those that the step asks for.
                select(&stats, argument)
            }
            "snapshot" => {
                self.snapshot = scheduler.snapshot();
                json!({"bytes": self.snapshot.len(), "fnv1a": fnv1a(&self.snapshot)})
            }
            "restart" => json!({"endpoints": self.restart(now, &read(argument))}),
            "restore" => {
                #[derive(Deserialize)]
                struct Damage {
                    /// A byte of which all bits are turned around.
                    flip: Option<usize>,
                }
                let mut snapshot = self.snapshot.clone();
                if let Some(at) = read::<Damage>(argument).flip {
                    snapshot[at] ^= 0xff;
                }
                match scheduler.restore(now, &snapshot) {
                    Ok(endpoints) => json!({"endpoints": endpoints}),
                    Err(error) => refused(error),
                }
            }
            unknown => panic!("no verb is called {unknown}"),
        }
    }

    /// Continues with a new scheduler that has the same endpoints in the same order. Returns their
    /// new ids by name.
    fn restart(&mut self, now: Instant, changed: &Changed) -> BTreeMap<String, u64> {
        let mut config = self.config.clone();
        config.seed = changed.seed.unwrap_or(config.seed);
        let before =
            std::mem::replace(&mut self.scheduler, Scheduler::new(config).expect("as valid"));
        for id in std::mem::take(&mut self.added) {
            let Some(known) = before.endpoint(id) else { continue };
            let anew = changed.endpoints.iter().find(|endpoint| endpoint.name == known.name);
            let id =
                self.scheduler.add_endpoint(now, anew.unwrap_or(known).clone()).expect("as before");
            self.endpoints.insert(known.name.clone(), id);
            self.added.push(id);
        }
        self.added.iter().map(|id| (name(&self.scheduler, *id), id.as_u64())).collect()
    }
}

impl AskedRequest {
    fn read(argument: &Value, ids: &BTreeMap<String, EndpointId>) -> Self {
        let mut asked: Self = read(argument);
        asked.excluded = asked.exclude.iter().map(|name| ids[name]).collect();
        if let Some(AskedSubset::Names(names)) = &asked.subset {
            asked.allowed = names.iter().map(|name| ids[name]).collect();
        }
        asked
    }

    /// Whether it has a service level: the answer then includes the predicted latency.
    const fn has_level(&self) -> bool {
        self.slo_ttft_us.is_some() || self.slo_tpot_us.is_some()
    }

    /// Passes on the requests of all of `asked`, after the `others`.
    fn with_all<T>(
        asked: &[Self],
        others: &[Request<'_>],
        ask: &mut dyn FnMut(&[Request<'_>]) -> T,
    ) -> T {
        let Some((first, rest)) = asked.split_first() else { return ask(others) };
        first.with_request(|request| {
            let all: Vec<Request<'_>> = others.iter().chain([request]).cloned().collect();
            Self::with_all(rest, &all, ask)
        })
    }

    fn with_request<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let labels: Vec<(&str, &str)> =
            self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut request = Request::new(&self.model)
            .priority(Priority(self.priority))
            .flow(&self.flow)
            .expected_output_tokens(self.expected_output_tokens)
            .role(self.role)
            .multimodal(self.multimodal)
            .streams(self.streams.unwrap_or(true))
            .cache_use(self.cache_use)
            .labels(&labels)
            .exclude(&self.excluded);
        request.adapter = self.adapter.as_deref();
        request.cache_salt = self.cache_salt.as_deref();
        request.continues = self.continues.as_deref().map(AnswerId::of);
        request.session = self.session.as_deref();
        request.deadline = self.deadline_us.map(Instant::from_micros);
        request.slo_ttft = self.slo_ttft_us.map(Duration::from_micros);
        request.slo_tpot = self.slo_tpot_us.map(Duration::from_micros);
        request.ttl = self.ttl_us.map(Duration::from_micros);
        request.subset = self.subset.as_ref().map(|subset| match subset {
            AskedSubset::Names(_) => Subset::Ids(&self.allowed),
            AskedSubset::Addresses(list) => Subset::addresses(list).ports(self.subset_ports),
        });
        request.weight = self.weight.unwrap_or(request.weight);
        match &self.prompt {
            AskedPrompt::Text(parts) => {
                let text: String = parts.iter().map(|(text, times)| text.repeat(*times)).collect();
                request.prompt = Prompt::Text(text.as_bytes());
                ask(&request)
            }
            AskedPrompt::Tokens(ranges) => ask(&request.tokens(&ids(ranges))),
            AskedPrompt::Blocks { hashes, block_size, tokens } => {
                let hashes: Vec<BlockHash> = hashes.iter().map(|hash| BlockHash(*hash)).collect();
                ask(&request.blocks(&hashes, *block_size, *tokens))
            }
        }
    }
}

fn handle_kv_event(
    scheduler: &mut Scheduler,
    now: Instant,
    id: EndpointId,
    event: &AskedEvent,
) -> Result<(), slotwise::KvEventError> {
    let names = |blocks: &[u64]| blocks.iter().map(|name| EngineHash(*name)).collect::<Vec<_>>();
    match event {
        AskedEvent::Stored {
            blocks,
            parent,
            tokens,
            lookahead,
            block_size,
            tier,
            model,
            adapter,
            cache_salt,
        } => {
            let (blocks, tokens, lookahead) =
                (names(blocks), tokens.as_deref().map(ids), ids(lookahead));
            let mut stored = BlockStored::new(&blocks, *block_size).tier(*tier);
            stored.parent = parent.map(EngineHash);
            stored.tokens = tokens.as_deref();
            stored.lookahead = &lookahead;
            stored.model = model.as_deref();
            stored.adapter = adapter.as_deref();
            stored.cache_salt = cache_salt.as_deref();
            scheduler.handle_kv_event(now, id, KvEvent::BlockStored(stored))
        }
        AskedEvent::Removed { blocks, tier } => {
            let blocks = names(blocks);
            let removed = BlockRemoved::new(&blocks).tier(*tier);
            scheduler.handle_kv_event(now, id, KvEvent::BlockRemoved(removed))
        }
        AskedEvent::Cleared => scheduler.handle_kv_event(now, id, KvEvent::AllBlocksCleared),
    }
}

fn ids(ranges: &[(u32, u32)]) -> Vec<u32> {
    ranges.iter().flat_map(|(from, to)| *from..*to).collect()
}

fn name(scheduler: &Scheduler, id: EndpointId) -> String {
    scheduler.endpoint(id).expect("in the pool").name.clone()
}

fn picked(scheduler: &Scheduler, dispatch: &Dispatch, with_latency: bool) -> Value {
    let mut shown = json!({
        "request": dispatch.request_id.as_u64(),
        "endpoint": name(scheduler, dispatch.endpoint_id),
        "alternatives": dispatch.alternatives.iter().map(|id| name(scheduler, *id)).collect::<Vec<_>>(),
        "prompt_tokens": dispatch.prompt_tokens,
        "cached_tokens": dispatch.cached_tokens,
        "best_cached_tokens": dispatch.best_cached_tokens,
        "cost_s": dispatch.cost.get(),
    });
    if with_latency {
        shown["predicted_ttft_s"] = json!(dispatch.predicted_ttft);
        shown["predicted_tpot_s"] = json!(dispatch.predicted_tpot);
    }
    for (stage, leg) in [("prefill", dispatch.prefill), ("encode", dispatch.encode)] {
        if let Some(Leg { endpoint_id, cached_tokens, cost, .. }) = leg {
            let endpoint = name(scheduler, endpoint_id);
            shown[stage] = json!({
                "endpoint": endpoint, "cached_tokens": cached_tokens, "cost_s": cost.get(),
            });
        }
    }
    shown
}

fn turned_away(rejected: Rejected) -> Value {
    json!({
        "rejected": rejected.reason,
        "http_status": rejected.http_status(),
        "retry_after_s": rejected.retry_after.map(|after| after.as_secs_f64()),
    })
}

fn decided(scheduler: &Scheduler, decision: &Decision, with_level: &BTreeSet<RequestId>) -> Value {
    match decision {
        Decision::Dispatch(dispatch) => {
            let with_latency = with_level.contains(&dispatch.request_id);
            let mut shown = picked(scheduler, dispatch, with_latency);
            shown["queued_s"] = json!(dispatch.queue_time.as_secs_f64());
            json!({"dispatch": shown})
        }
        Decision::Evict(evicted) => json!({"evict": {
            "request": evicted.request_id.as_u64(),
            "reason": evicted.reason,
            "retry_after_s": evicted.retry_after.map(|after| after.as_secs_f64()),
            "queued_s": evicted.queue_time.as_secs_f64(),
        }}),
        _ => panic!("there is nothing else"),
    }
}

fn answer<E: std::fmt::Display>(done: Result<(), E>) -> Value {
    done.map_or_else(refused, |()| json!("ok"))
}

fn refused(error: impl std::fmt::Display) -> Value {
    json!({"error": error.to_string()})
}

fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a name")
}

fn request(value: &Value) -> RequestId {
    RequestId::from_u64(value.as_u64().expect("a request's number"))
}

/// A digest that is a line in every language.
fn fnv1a(bytes: &[u8]) -> String {
    let digest = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{digest:016x}")
}

/// The fields of `value` that are named in `wanted`, at every level of it.
fn select(value: &Value, wanted: &Value) -> Value {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => wanted
            .iter()
            .map(|(name, inner)| (name.clone(), select(&fields[name], inner)))
            .collect(),
        (Value::Array(items), Value::Object(_)) => {
            items.iter().map(|item| select(item, wanted)).collect()
        }
        _ => value.clone(),
    }
}
