//! `pick` passes over endpoints that a lower bound of their cost rules out; `pick_by` weighs them all. With the same cost they
//! decide the same, alternatives included, in pools of unlike and busy endpoints.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    AdapterState, Endpoint, Failure, Instant, Load, PrefillCost, Priority, Request, RequestId, Scheduler,
    Seconds, Usage,
};

/// Two schedulers that are told the same.
struct Twins {
    glancing: Scheduler,
    thorough: Scheduler,
    now: Instant,
    flying: Vec<RequestId>,
}

impl Twins {
    fn new(endpoints: &[(u8, u32, u8)]) -> Self {
        let scheduler = || {
            let mut scheduler = Scheduler::default();
            for (number, (hardware, capacity, limit)) in endpoints.iter().enumerate() {
                let per_token = Seconds::new(20e-6 * f64::from(1 + hardware % 4));
                let endpoint = Endpoint::new(format!("e{number}"))
                    .prefill(PrefillCost::new(per_token, Seconds::new(1e-9)))
                    .block_size(NonZeroU32::new(16 << (hardware % 3)).expect("not zero"))
                    .kv_capacity(*capacity)
                    .max_in_flight(u32::from(*limit));
                scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
            }
            scheduler
        };
        Self { glancing: scheduler(), thorough: scheduler(), now: Instant::ORIGIN, flying: Vec::new() }
    }

    fn both(&mut self, act: impl Fn(&mut Scheduler, Instant)) {
        act(&mut self.glancing, self.now);
        act(&mut self.thorough, self.now);
    }

    fn pick(&mut self, family: u8, length: u16, priority: i32, adapter: bool) -> Result<(), TestCaseError> {
        let ids: Vec<u32> = (0..u32::from(length)).map(|at| u32::from(family % 12) << 16 | at).collect();
        let mut request = Request::new("m").tokens(&ids).priority(Priority(priority)).expected_output(50);
        request.adapter = adapter.then_some("a");
        let glanced = self.glancing.pick(self.now, &request);
        let weighed = self.thorough.pick_by(self.now, &request, |_, terms| terms.total());
        prop_assert_eq!(&glanced, &weighed);
        self.flying.extend(glanced.map(|dispatch| dispatch.request));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn twins_agree(
        endpoints in prop::collection::vec((0u8..8, 2_000u32..60_000, 1u8..20), 1..90),
        steps in prop::collection::vec((0u8..12, any::<u8>(), 0u16..3_000, 0u64..200_000), 1..250),
    ) {
        let mut twins = Twins::new(&endpoints);
        let pool = endpoints.len() as u64;
        for (verb, choice, length, micros) in steps {
            twins.now = twins.now + Duration::from_micros(micros);
            let endpoint = slotwise::EndpointId::from_u64(u64::from(choice) % pool);
            match (verb, twins.flying.is_empty()) {
                (0..6, _) | (_, true) => {
                    twins.pick(choice, length, i32::from(choice % 3) - 1, choice % 5 == 0)?;
                }
                (6, _) => {
                    let load = Load::default()
                        .waiting(u32::from(choice % 7))
                        .running(u32::from(choice % 30))
                        .kv_usage(f64::from(choice) / 300.0);
                    twins.both(|s, now| s.handle_load(now, endpoint, load).expect("known"));
                }
                (7, _) => twins.both(|s, now| {
                    s.handle_adapters(now, endpoint, AdapterState::active(&["a", "b"])).expect("known");
                }),
                (8, _) => {
                    let request = twins.flying[usize::from(choice) % twins.flying.len()];
                    twins.both(|s, now| s.handle_first_token(now, request).expect("in flight"));
                }
                (9 | 10, _) => {
                    let at = usize::from(choice) % twins.flying.len();
                    let request = twins.flying.swap_remove(at);
                    let usage = Usage::default().cached_tokens(u32::from(length) / 2).completion_tokens(40);
                    twins.both(|s, now| s.complete(now, request, usage).expect("in flight"));
                }
                _ => {
                    let request = twins.flying.swap_remove(0);
                    twins.both(|s, now| s.fail(now, request, Failure::Engine).expect("in flight"));
                }
            }
        }
    }
}
