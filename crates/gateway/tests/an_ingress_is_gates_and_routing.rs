//! An ingress answers as gates and routing that are called by hand, also across reloads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use slotwise::{Instant, Priority, Rng, Usage};
use slotwise_gateway::RequestOptions;
use slotwise_gateway::gates::{Access, Caller, Demand, Gates, GatesConfig, Grant, KeyConfig};
use slotwise_gateway::ingress::{Admitted, Ingress, IngressConfig, Refused, Tokens};
use slotwise_gateway::routing::{Inquiry, ModelRewrite, Objective, Routing, RoutingConfig};
use slotwise_wire::headers::Allow;

const MODELS: [&str; 5] = ["chat", "llama-3", "llama-3-b", "sql", "gpt"];
const KEYS: [&str; 4] = ["", "sk-a", "sk-b", "sk-unknown"];

#[derive(Clone, Debug)]
enum Step {
    Admit {
        key: usize,
        model: usize,
        session: Option<u8>,
        objective: Option<&'static str>,
        tokens: u64,
    },
    End {
        which: usize,
        used: Option<u32>,
    },
    Reload(Variant),
}

/// What differs between two configurations.
#[derive(Clone, Copy, Debug)]
struct Variant {
    gated: bool,
    anonymous: bool,
    priority: Option<i32>,
    per_minute: u64,
    concurrent: u64,
    canary: u32,
    falls_back: bool,
}

fn variant() -> impl Strategy<Value = Variant> {
    let limits = (1_u64..2_000, 1_u64..4, 1_u32..10, any::<bool>());
    let gates = (prop::bool::weighted(0.8), any::<bool>(), prop::option::of(-3..12));
    (gates, limits).prop_map(|((gated, anonymous, priority), limits)| {
        let (per_minute, concurrent, canary, falls_back) = limits;
        Variant { gated, anonymous, priority, per_minute, concurrent, canary, falls_back }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let objective = prop::option::of(prop::sample::select(vec!["urgent", "batch", "none"]));
    let admit =
        (0..KEYS.len(), 0..MODELS.len(), prop::option::of(0_u8..4), objective, 0_u64..1_500);
    prop_oneof![
        6 => admit.prop_map(|(key, model, session, objective, tokens)| {
            Step::Admit { key, model, session, objective, tokens }
        }),
        3 => (0_usize..8, prop::option::of(0_u32..2_000))
            .prop_map(|(which, used)| Step::End { which, used }),
        1 => variant().prop_map(Step::Reload),
    ]
}

fn config(variant: Variant) -> IngressConfig {
    let mut routing = RoutingConfig::default();
    let pool = routing.pool("llama").serves("llama-3").serves("llama-3-b");
    pool.adapter("sql", "llama-3");
    if variant.falls_back {
        pool.falls_back_to("spare");
    }
    routing.pool("spare").serves("llama-3");
    let split = [("llama-3", 10 - variant.canary), ("llama-3-b", variant.canary)];
    routing.rewrites.push(ModelRewrite::of_pool("canary", "llama").split("chat", split));
    for (name, priority) in [("urgent", 10), ("batch", -5)] {
        let mut objective = Objective::default();
        (objective.name, objective.priority) = (name.into(), Priority(priority));
        routing.objectives.push(objective);
    }
    let mut access = Access::default();
    access.priority = variant.priority.map(Priority);
    access.tenant = Some("team".into());
    access.limits.tokens_per_minute = Some(variant.per_minute);
    let mut gates = GatesConfig::default();
    gates.keys.push(KeyConfig::new("a", "sk-a", access));
    let mut access = Access::default();
    access.models = Some(vec!["chat".into(), "sql".into()]);
    access.limits.concurrent_requests = Some(variant.concurrent);
    gates.keys.push(KeyConfig::new("b", "sk-b", access));
    gates.anonymous = variant.anonymous.then(Access::default);
    let config = IngressConfig::new(routing);
    if variant.gated { config.gates(gates) } else { config }
}

/// Gates and routing, called by hand.
struct Twin {
    routing: Routing,
    gates: Gates,
    is_gated: bool,
    rng: Rng,
}

/// What both answer about an admitted request.
type Answer = (Vec<String>, RequestOptionsOf, Vec<(&'static str, String)>, Option<String>);
type RequestOptionsOf = (Option<String>, Option<Priority>, Option<f64>, Option<String>);

impl Twin {
    fn new(config: IngressConfig, seed: u64) -> Self {
        let (gates, is_gated) = Self::gates(config.gates);
        Self {
            routing: Routing::new(config.routing).expect("valid"),
            gates: Gates::new(gates).expect("valid"),
            is_gated,
            rng: Rng::new(seed),
        }
    }

    fn gates(config: Option<GatesConfig>) -> (GatesConfig, bool) {
        let is_gated = config.is_some();
        let mut gates = config.unwrap_or_default();
        if !is_gated {
            gates.anonymous = Some(Access::default());
        }
        (gates, is_gated)
    }

    fn reload(&mut self, config: IngressConfig) {
        let (gates, is_gated) = Self::gates(config.gates);
        self.routing = Routing::new(config.routing).expect("valid");
        self.gates.set_config(gates).expect("valid");
        self.is_gated = is_gated;
    }

    fn identify(&self, key: &str) -> Result<Caller, u16> {
        let key = (self.is_gated && !key.is_empty()).then_some(key);
        self.gates.identify_key(key).map_err(|refusal| refusal.status())
    }

    fn admit(
        &mut self,
        now: Instant,
        caller: &Caller,
        inquiry: &Inquiry<'_>,
        tokens: u64,
    ) -> Result<(Grant, Answer), u16> {
        let route = self.routing.route(inquiry, &mut self.rng).map_err(|it| it.http_status())?;
        let demand = Demand::new(inquiry.model, tokens, 10);
        let grant = self.gates.admit(now, caller, &demand).map_err(|refusal| refusal.status())?;
        let mut targets = vec![route.target];
        targets.extend(&route.fallbacks);
        let renamed = targets.iter().any(|target| target.model != inquiry.model);
        let names = targets.iter().map(|it| format!("{} {} {}", it.pool, it.model, it.base));
        let priority = [route.priority, caller.priority()].into_iter().flatten().min();
        let flow = caller.tenant().map(str::to_owned);
        let options = (flow, priority, caller.weight(), inquiry.session.map(str::to_owned));
        let answers_as = renamed.then(|| inquiry.model.to_owned());
        let answer = (names.collect(), options, grant.headers(), answers_as);
        Ok((grant, answer))
    }
}

fn answer(admitted: &Admitted) -> Answer {
    let targets = admitted.targets.iter();
    let names = targets.map(|it| format!("{} {} {}", it.pool, it.model, it.base)).collect();
    let RequestOptions { flow, priority, weight, session, .. } = admitted.options();
    let options = (flow.map(str::to_owned), priority, weight, session.map(str::to_owned));
    (names, options, admitted.headers(), admitted.answers_as.clone())
}

proptest! {
    #[test]
    fn both_answer_alike(first in variant(), steps in prop::collection::vec(step(), 1..60), seed: u64) {
        let allow = Allow::default().session().objective();
        let mut ingress = Ingress::new(config(first), seed).expect("valid").allow(allow);
        let mut twin = Twin::new(config(first), seed);
        let (mut open, mut number) = (BTreeMap::new(), 0);
        for (at, step) in steps.into_iter().enumerate() {
            let now = Instant::from_micros(at as u64 * 3_000_000);
            match step {
                Step::Reload(variant) => {
                    ingress.set_config(config(variant)).expect("valid");
                    twin.reload(config(variant));
                }
                Step::End { which, used } => {
                    let Some(which) = open.keys().nth(which).copied() else { continue };
                    let (admitted, grant): (Admitted, Grant) = open.remove(&which).expect("open");
                    if let Some(used) = used {
                        let mut usage = Usage::default();
                        usage.completion_tokens = Some(used);
                        ingress.settle(now, admitted, &usage);
                        twin.gates.settle(now, grant, &usage);
                    } else {
                        ingress.cancel(now, admitted);
                        twin.gates.cancel(now, grant);
                    }
                }
                Step::Admit { key, model, session, objective, tokens } => {
                    let (bearer, session) =
                        (format!("Bearer {}", KEYS[key]), session.map(|it| it.to_string()));
                    let mut headers = vec![];
                    if !KEYS[key].is_empty() {
                        headers.push(("authorization", bearer.as_str()));
                    }
                    headers.extend(session.as_deref().map(|it| ("x-session-id", it)));
                    headers.extend(objective.map(|it| ("x-llm-d-inference-objective", it)));
                    let inquiry =
                        Inquiry { model: MODELS[model], headers: &headers, ..Inquiry::default() };
                    let session = session.as_deref();
                    let by_hand = Inquiry { session, objective, ..inquiry };
                    let mine = ingress.identify(headers.iter().copied(), None).and_then(|caller| {
                        let tokens = Tokens { prompt: tokens, output: 10 };
                        ingress.admit(now, &caller, &inquiry, tokens)
                    });
                    let other = twin
                        .identify(KEYS[key])
                        .and_then(|caller| twin.admit(now, &caller, &by_hand, tokens));
                    match (mine, other) {
                        (Ok(mine), Ok((grant, other))) => {
                            prop_assert_eq!(answer(&mine), other);
                            open.insert(number, (mine, grant));
                            number += 1;
                        }
                        (Err(mine), Err(other)) => prop_assert_eq!(mine.status(), other),
                        (mine, other) => prop_assert!(false, "{mine:?} but {:?}", other.err()),
                    }
                }
            }
        }
    }
}

#[test]
fn a_refused_request_is_booked_nowhere() {
    let variant = Variant {
        gated: true,
        anonymous: false,
        priority: None,
        per_minute: 100,
        concurrent: 1,
        canary: 1,
        falls_back: false,
    };
    let mut ingress = Ingress::new(config(variant), 0).expect("valid");
    let caller = ingress.identify([("x-api-key", "sk-b")], None).expect("a key");
    for (model, status) in [("gpt", 404), ("llama-3", 403)] {
        let inquiry = Inquiry { model, ..Inquiry::default() };
        let refused = ingress.admit(Instant::ORIGIN, &caller, &inquiry, Tokens::default());
        let refused = refused.expect_err("not allowed");
        assert_eq!(refused.status(), status);
        assert!(matches!(refused, Refused::NoRoute(_)) == (status == 404));
    }
    assert_eq!(ingress.gates().accounts(), 0);
    assert_eq!(ingress.models(&caller), ["chat", "sql"]);
    let unknown = Inquiry { model: "gpt", ..Inquiry::default() };
    let refused = ingress.admit(Instant::ORIGIN, &caller, &unknown, Tokens::default());
    let message = refused.expect_err("unknown").to_string();
    assert_eq!(message, "the model must be 'chat' or 'sql', got \"gpt\"");
}
