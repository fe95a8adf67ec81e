//! A scheduler with requests that wait, and what must be true of it after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    ConcurrencyDetector, Decision, Endpoint, EndpointId, Failure, Fairness, HoldbackDomain,
    Instant, Priority, PriorityHoldback, QueueOrder, Request, RequestId, SaturationPolicy,
    Scheduler, SessionAdmissionConfig, SoftReflective, Usage, UsageLimitPolicy,
    UtilizationDetector,
};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit {
        family: u8,
        tokens: u16,
        priority: i8,
        flow: u8,
        ttl: Option<u16>,
        deadline: Option<u16>,
        session: Option<u8>,
    },
    FirstToken(usize),
    Complete(usize),
    Fail(usize),
    Cancel(usize),
    CancelWaiting(usize),
    Add,
    Remove(usize),
    Drain(usize, bool),
    Wait(u32),
    Reconfigure(Limits),
}

/// The part of the configuration that changes at run time.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    max_requests: Option<usize>,
    band: usize,
    idle_flows: usize,
    max_in_flight: usize,
    queued_prefill_ms: u64,
    lower_share: f64,
    saturation: SaturationPolicy,
    usage_limit: UsageLimitPolicy,
    /// Also changes a field that cannot change.
    is_invalid: bool,
}

/// How a scheduler is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) fairness: Fairness,
    pub(crate) order: QueueOrder,
    pub(crate) lower_share: f64,
    pub(crate) guard: bool,
    pub(crate) few: bool,
    pub(crate) saturation: SaturationPolicy,
    pub(crate) usage_limit: UsageLimitPolicy,
}

pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Instant,
    endpoints: Vec<(EndpointId, bool)>,
    added: u32,
    pub(crate) waiting: BTreeSet<RequestId>,
    flying: Vec<RequestId>,
    outcomes: BTreeMap<RequestId, &'static str>,
    pub(crate) log: Vec<String>,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let scheduler = Scheduler::builder().with(|config| {
            config.flow.fairness = setup.fairness;
            config.flow.order = setup.order;
            config.flow.lower_share = setup.lower_share;
            (config.flow.saturation, config.flow.usage_limit) =
                (setup.saturation, setup.usage_limit);
            config.flow.session_admission = setup.guard.then(SessionAdmissionConfig::default);
            if setup.few {
                config.flow.max_requests = Some(6);
                config.flow.band.max_requests = 4;
            }
            config.flow.no_endpoint_ttl = Duration::from_secs(2);
        });
        let mut world = Self {
            scheduler: scheduler.build().expect("valid"),
            now: Instant::ORIGIN,
            endpoints: Vec::new(),
            added: 0,
            waiting: BTreeSet::new(),
            flying: Vec::new(),
            outcomes: BTreeMap::new(),
            log: Vec::new(),
        };
        world.add();
        world.add();
        world
    }

    fn add(&mut self) {
        if self.endpoints.len() < 4 {
            self.added += 1;
            let endpoint =
                Endpoint::new(format!("e{}", self.added)).kv_cache_tokens(30_000).max_in_flight(3);
            let id = self.scheduler.add_endpoint(self.now, endpoint).expect("names differ");
            self.endpoints.push((id, false));
        }
    }

    fn flown(&self, at: usize) -> Option<RequestId> {
        self.flying.get(at % self.flying.len().max(1)).copied()
    }

    fn ends(&mut self, id: RequestId) {
        self.flying.retain(|flying| *flying != id);
    }

    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let now = self.now;
        match op {
            Op::Submit { family, tokens, priority, flow, ttl, deadline, session } => {
                let ids: Vec<u32> =
                    (0..u32::from(*tokens)).map(|at| u32::from(family % 5) << 16 | at).collect();
                let (flow, session) = (
                    format!("flow {}", flow % 4),
                    session.map(|session| format!("{}", session % 6)),
                );
                let mut request = Request::new("m")
                    .tokens(&ids)
                    .priority(Priority(i32::from(*priority)))
                    .flow(&flow);
                request.ttl = ttl.map(|ttl| Duration::from_millis(u64::from(ttl)));
                request.deadline =
                    deadline.map(|after| now + Duration::from_millis(u64::from(after)));
                request.session = session.as_deref();
                let answer = self.scheduler.submit(now, &request);
                self.log.push(format!("{answer:?}"));
                if let Ok(id) = answer {
                    prop_assert!(self.waiting.insert(id), "a number of its own");
                }
            }
            Op::FirstToken(at) => {
                if let Some(id) = self.flown(*at) {
                    self.scheduler.handle_first_token(now, id).expect("in flight");
                }
            }
            Op::Complete(at) => {
                if let Some(id) = self.flown(*at) {
                    let usage = Usage::default().completion_tokens(40).cached_tokens(0);
                    self.scheduler.complete(now, id, usage).expect("in flight");
                    self.ends(id);
                }
            }
            Op::Fail(at) => {
                if let Some(id) = self.flown(*at) {
                    self.scheduler.fail(now, id, Failure::Unreachable).expect("in flight");
                    self.ends(id);
                }
            }
            Op::Cancel(at) => {
                if let Some(id) = self.flown(*at) {
                    prop_assert!(self.scheduler.cancel(now, id) && !self.scheduler.cancel(now, id));
                    self.ends(id);
                }
            }
            Op::CancelWaiting(at) => {
                let id = self.waiting.iter().nth(at % self.waiting.len().max(1)).copied();
                if let Some(id) = id {
                    prop_assert!(self.scheduler.cancel(now, id) && !self.scheduler.cancel(now, id));
                    self.waiting.remove(&id);
                    self.outcomes.insert(id, "withdrawn");
                }
            }
            Op::Add => self.add(),
            Op::Remove(at) => {
                if !self.endpoints.is_empty() {
                    let (id, _) = self.endpoints.remove(at % self.endpoints.len());
                    let removed = self.scheduler.remove_endpoint(now, id).expect("in the pool");
                    for request in removed.in_flight {
                        self.scheduler.cancel(now, request);
                        self.ends(request);
                    }
                }
            }
            Op::Drain(at, drains) => {
                let many = self.endpoints.len().max(1);
                if let Some((id, draining)) = self.endpoints.get_mut(at % many) {
                    *draining = *drains;
                    let done = if *drains {
                        self.scheduler.drain_endpoint(now, *id)
                    } else {
                        self.scheduler.resume_endpoint(now, *id)
                    };
                    done.expect("in the pool");
                }
            }
            Op::Reconfigure(limits) => {
                let mut config = self.scheduler.config().clone();
                config.max_in_flight = limits.max_in_flight;
                let flow = &mut config.flow;
                (flow.max_requests, flow.band.max_requests) = (limits.max_requests, limits.band);
                flow.max_idle_flows = limits.idle_flows;
                flow.max_queued_prefill = Duration::from_millis(limits.queued_prefill_ms);
                flow.lower_share = limits.lower_share;
                (flow.saturation, flow.usage_limit) = (limits.saturation, limits.usage_limit);
                config.max_threads += usize::from(limits.is_invalid);
                let changed = self.scheduler.reconfigure(now, config);
                prop_assert_eq!(changed.is_err(), limits.is_invalid);
            }
            Op::Wait(ms) => self.now = now + Duration::from_millis(u64::from(*ms)),
        }
        self.drain()
    }

    pub(crate) fn drain(&mut self) -> Result<(), TestCaseError> {
        while let Some(decision) = self.scheduler.poll_decision(self.now) {
            self.log.push(format!("{decision:?}"));
            let id = decision.request_id();
            prop_assert!(self.waiting.remove(&id), "{id} has an outcome, and waits no longer");
            match decision {
                Decision::Dispatch(dispatch) => {
                    let there = self.endpoints.iter().find(|(id, _)| *id == dispatch.endpoint_id);
                    prop_assert!(
                        there.is_some_and(|(_, draining)| !draining),
                        "dispatched to an endpoint that accepts no requests"
                    );
                    self.flying.push(id);
                    prop_assert!(self.outcomes.insert(id, "dispatched").is_none());
                }
                Decision::Evict(evicted) => {
                    prop_assert!(self.outcomes.insert(id, evicted.reason.code()).is_none());
                }
                _ => prop_assert!(false, "there is nothing else"),
            }
        }
        let stats = self.scheduler.stats();
        prop_assert_eq!(
            (stats.queued, stats.in_flight as usize),
            (self.waiting.len(), self.flying.len())
        );
        prop_assert!(
            self.scheduler.next_timeout().is_none_or(|at| at > self.now),
            "nothing is due after a drain"
        );
        for endpoint in &stats.endpoints {
            prop_assert!(endpoint.prefilling + endpoint.running <= 3, "no more than fit");
        }
        Ok(())
    }
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let optional =
        |range: std::ops::Range<u16>| prop_oneof![3 => Just(None), 1 => range.prop_map(Some)];
    let session = prop_oneof![1 => Just(None), 1 => any::<u8>().prop_map(Some)];
    prop_oneof![
        10 => (any::<u8>(), 0u16..9_000, -1i8..2, any::<u8>(), optional(0..4_000), optional(0..6_000), session).prop_map(
            |(family, tokens, priority, flow, ttl, deadline, session)| Op::Submit {
                family, tokens, priority, flow, ttl, deadline, session,
            }
        ),
        4 => any::<usize>().prop_map(Op::FirstToken),
        4 => any::<usize>().prop_map(Op::Complete),
        1 => any::<usize>().prop_map(Op::Fail),
        1 => any::<usize>().prop_map(Op::Cancel),
        1 => any::<usize>().prop_map(Op::CancelWaiting),
        1 => Just(Op::Add),
        1 => any::<usize>().prop_map(Op::Remove),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, drains)| Op::Drain(at, drains)),
        4 => (0u32..1_500).prop_map(Op::Wait),
        2 => limits().prop_map(Op::Reconfigure),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let counts = (prop::option::of(1usize..9), 1usize..9, 0usize..4, 1usize..20, 0u64..400);
    let policies = (saturation(), usage_limit(), prop_oneof![Just(0.0), Just(0.2)]);
    (counts, policies, prop::bool::weighted(0.1)).prop_map(
        |(
            (max_requests, band, idle_flows, max_in_flight, queued_prefill_ms),
            (saturation, usage_limit, lower_share),
            is_invalid,
        )| Limits {
            max_requests,
            band,
            idle_flows,
            max_in_flight,
            queued_prefill_ms,
            lower_share,
            saturation,
            usage_limit,
            is_invalid,
        },
    )
}

fn saturation() -> impl Strategy<Value = SaturationPolicy> {
    let mut concurrency = ConcurrencyDetector::default();
    concurrency.max_concurrency = 2;
    prop_oneof![
        2 => Just(SaturationPolicy::default()),
        1 => Just(SaturationPolicy::ConcurrencyDetector(concurrency)),
        1 => Just(SaturationPolicy::UtilizationDetector(UtilizationDetector::default())),
    ]
}

fn usage_limit() -> impl Strategy<Value = UsageLimitPolicy> {
    let mut by_value = PriorityHoldback::new(0.4);
    by_value.domain = HoldbackDomain::Value;
    prop_oneof![
        2 => Just(UsageLimitPolicy::default()),
        1 => Just(UsageLimitPolicy::PriorityHoldback(PriorityHoldback::new(0.4))),
        1 => Just(UsageLimitPolicy::PriorityHoldback(by_value)),
        1 => Just(UsageLimitPolicy::SoftReflective(SoftReflective::default())),
    ]
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let fairness = prop_oneof![
        Just(Fairness::StartTime),
        Just(Fairness::RoundRobin),
        Just(Fairness::GlobalStrict),
        Just(Fairness::LeastAttainedService),
        Just(Fairness::LeastAttainedTokens),
    ];
    let order = prop_oneof![
        Just(QueueOrder::Fcfs),
        Just(QueueOrder::Edf),
        Just(QueueOrder::SloDeadline),
        Just(QueueOrder::ShortestWork),
    ];
    let policies = (fairness, order, saturation(), usage_limit());
    (policies, prop_oneof![Just(0.0), Just(0.2)], any::<bool>(), any::<bool>()).prop_map(
        |((fairness, order, saturation, usage_limit), lower_share, guard, few)| Setup {
            fairness,
            order,
            lower_share,
            guard,
            few,
            saturation,
            usage_limit,
        },
    )
}
