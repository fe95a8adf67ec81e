//! A profile's decision equals its explanation after any history.
//!
//! A decision reads facts and exclusions that are kept up to date while endpoints change.
//! `explain` reads every endpoint anew, so it is the naive twin.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::plugins::{
    ActiveRequestScorer, KvCacheUtilizationScorer, LoraAffinityScorer, MaxScorePicker,
    PrefixCacheScorer, QueueScorer, RunningRequestsSizeScorer, SchedulingProfile, SessionAffinity,
    TokenLoadScorer, UtilizationDetectorFilter,
};
use slotwise::{
    AdapterState, Config, Dispatch, Endpoint, EndpointId, Failure, Instant, Load, Priority,
    Request, Role, Scheduler, Usage,
};

/// One input: which one, on which endpoint or request, and with which value.
type Step = (u8, usize, u32);

const MODELS: [&str; 2] = ["m", "other"];
const ADAPTERS: [&str; 3] = ["a", "b", "c"];

fn profile() -> SchedulingProfile {
    SchedulingProfile::new(MaxScorePicker::default())
        .filter(UtilizationDetectorFilter::default())
        .scorer(QueueScorer::default(), 1.0)
        .scorer(RunningRequestsSizeScorer::default(), 0.7)
        .scorer(KvCacheUtilizationScorer::default(), 1.1)
        .scorer(PrefixCacheScorer::default(), 1.3)
        .scorer(LoraAffinityScorer::default(), 0.9)
        .scorer(ActiveRequestScorer::default(), 0.6)
        .scorer(TokenLoadScorer::default(), 0.5)
        .scorer(SessionAffinity::default(), 0.4)
}

fn endpoint(name: usize, value: u32) -> Endpoint {
    let mut endpoint = Endpoint::new(format!("10.0.0.{name}:8000")).adapter_slots(2);
    endpoint.models =
        MODELS.into_iter().skip(1).take((value % 2) as usize).map(Into::into).collect();
    endpoint.role = [Role::Unified, Role::Decode, Role::Unified, Role::EncodePrefillDecode]
        [(value / 2 % 4) as usize];
    endpoint.max_in_flight = NonZeroU32::new(value / 8 % 4);
    endpoint.kv_cache_tokens = NonZeroU32::new(200 + value % 700);
    endpoint
}

#[derive(Debug)]
struct History {
    now: Instant,
    scheduler: Scheduler,
    endpoints: Vec<EndpointId>,
    requests: Vec<Dispatch>,
    added: usize,
}

impl History {
    fn new() -> Self {
        let scheduler = Scheduler::with_profile(Config::default(), profile()).expect("valid");
        let (endpoints, requests) = (Vec::new(), Vec::new());
        Self { now: Instant::ORIGIN, scheduler, endpoints, requests, added: 0 }
    }

    fn apply(&mut self, (step, at, value): Step) {
        self.now = self.now + Duration::from_millis(u64::from(value % 300));
        let (now, scheduler) = (self.now, &mut self.scheduler);
        if step == 0 || self.endpoints.is_empty() {
            self.added += 1;
            let id = scheduler.add_endpoint(now, endpoint(self.added, value)).expect("room");
            return self.endpoints.push(id);
        }
        let place = at % self.endpoints.len();
        let id = self.endpoints[place];
        match step {
            1 => {
                scheduler.remove_endpoint(now, id).expect("known");
                self.endpoints.swap_remove(place);
            }
            2 => scheduler.drain_endpoint(now, id).expect("known"),
            3 => scheduler.resume_endpoint(now, id).expect("known"),
            4..7 => {
                let mut load =
                    Load::default().waiting(value % 9).kv_usage(f64::from(value % 10) / 9.0);
                load.sleeping = [None, Some(value % 5 == 0)][(value % 2) as usize];
                scheduler.handle_load(now, id, load).expect("known");
            }
            7 => {
                let state = AdapterState::active(&ADAPTERS[..(value % 3) as usize]);
                scheduler.handle_adapters(now, id, state).expect("known");
            }
            8 => scheduler.handle_probe(now, id, value % 3 > 0).expect("known"),
            9 => {
                let name = scheduler.endpoint(id).expect("known").name.clone();
                let mut changed = endpoint(0, value);
                changed.name = name;
                scheduler.update_endpoint(now, id, changed).expect("known");
            }
            10..14 if !self.requests.is_empty() => {
                let request = self.requests.swap_remove(at % self.requests.len()).request_id;
                if value % 2 > 0 {
                    let _ = scheduler.handle_first_token(now, request);
                }
                if step == 10 {
                    let _ = scheduler.fail(now, request, Failure::Unreachable);
                } else {
                    let _ = scheduler.complete(now, request, Usage::default());
                }
            }
            _ => self.pick(at, value),
        }
    }

    fn pick(&mut self, at: usize, value: u32) {
        let prompt: Vec<u32> =
            (0..value % 400).map(|token| (at % 3) as u32 * 1_000 + token).collect();
        let session = format!("s{}", value % 4);
        let mut request = Request::new(MODELS[usize::from(value % 5 == 0)]).tokens(&prompt);
        request.adapter = ADAPTERS.get((value / 3 % 4) as usize).copied();
        request.session = Some(session.as_str()).filter(|_| value % 3 == 0);
        request.priority = Priority(-i32::from(value % 7 == 0));
        request.slo_ttft = Some(Duration::from_millis(500)).filter(|_| value % 4 == 0);
        let excluded = &self.endpoints[..1];
        request.exclude = if value % 11 == 0 { excluded } else { &[] };

        let explained = self.scheduler.explain(self.now, &request);
        for candidate in &explained.candidates {
            let scored = candidate.score.is_some() || candidate.filtered_by.is_some();
            // An exclusion for health is waived where no other endpoint is left.
            assert!(scored || candidate.excluded.is_some(), "{candidate:?}");
        }
        let expected = explained.candidates.first().filter(|first| first.score.is_some());
        let expected = expected.map(|first| (first.endpoint_id, first.score));
        match self.scheduler.pick(self.now, &request) {
            Ok(dispatch) => {
                assert_eq!(Some((dispatch.endpoint_id, dispatch.score)), expected);
                self.requests.push(dispatch);
            }
            Err(rejected) => assert!(
                expected.is_none() || rejected.reason == slotwise::RejectReason::Shed,
                "{rejected:?}"
            ),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn decisions_equal_their_explanations(
        steps in prop::collection::vec((0u8..32, any::<usize>(), any::<u32>()), 1..120),
    ) {
        let mut history = History::new();
        (0..5).for_each(|number| history.apply((0, 0, number * 6)));
        steps.into_iter().for_each(|step| history.apply(step));
    }
}
