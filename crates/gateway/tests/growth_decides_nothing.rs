//! A host that is not woken by the growth of answers misses no decision: its twin polls after each
//! chunk, and gets none.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    Config, Decision, Endpoint, Instant, Priority, Request, Scheduler, SoftReflective,
    UsageLimitPolicy,
};
use slotwise_gateway::{Gateway, Lease};
use slotwise_wire::response::CloseReason;

const TOKEN: &[u8] = b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n";

#[derive(Clone, Debug)]
enum Step {
    Submit { tokens: u16, priority: i8, model: u8 },
    Chunk(prop::sample::Index),
    End(prop::sample::Index),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20_000_u16, -1..2_i8, 0..2_u8).prop_map(|(tokens, priority, model)| {
            Step::Submit { tokens, priority, model }
        }),
        6 => any::<prop::sample::Index>().prop_map(Step::Chunk),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        3 => (0..2_000_000_u32).prop_map(Step::Wait),
    ]
}

struct Host {
    gateway: Gateway,
    now: Instant,
    leases: Vec<Lease>,
}

impl Host {
    fn new(config: Config) -> Self {
        let mut gateway = Gateway::new(Scheduler::new(config).expect("valid"));
        let (any, small) = (Endpoint::new("any"), Endpoint::new("small").kv_cache_tokens(20_000));
        for endpoint in [any.max_in_flight(2), small.model("m0"), Endpoint::new("b").model("m1")] {
            gateway.scheduler_mut().add_endpoint(Instant::ORIGIN, endpoint).expect("a new name");
        }
        Self { gateway, now: Instant::ORIGIN, leases: Vec::new() }
    }

    /// What a host does that is woken.
    fn poll(&mut self) -> usize {
        let mut decisions = 0;
        while let Some(decision) = self.gateway.poll_decision(self.now) {
            decisions += 1;
            if let Decision::Dispatch(dispatch) = decision {
                let mut lease = Lease::new(&self.gateway, dispatch);
                lease.begin(200, "text/event-stream");
                self.leases.push(lease);
            }
        }
        decisions
    }

    /// Time passes. What is due by the clock is polled when it is due.
    fn wait(&mut self, micros: u32) {
        let end = self.now + Duration::from_micros(micros.into());
        for _ in 0..100 {
            let Some(due) = self.gateway.scheduler().next_timeout().filter(|due| *due < end) else {
                break;
            };
            self.now = due.max(self.now + Duration::from_micros(1));
            self.poll();
        }
        self.now = end.max(self.now);
    }

    fn run(&mut self, step: &Step) {
        let name = |model: &u8| if *model == 0 { "m0" } else { "m1" };
        match step {
            Step::Submit { tokens, priority, model } => {
                let ids = vec![u32::from(*tokens); usize::from(*tokens)];
                let request = Request::new(name(model)).tokens(&ids);
                let request = request.priority(Priority(i32::from(*priority)));
                _ = self.gateway.scheduler_mut().submit(self.now, &request);
            }
            Step::Chunk(_) if self.leases.is_empty() => {}
            Step::Chunk(which) => {
                let place = which.index(self.leases.len());
                self.leases[place].pass(&mut self.gateway, self.now, TOKEN);
            }
            Step::End(_) if self.leases.is_empty() => {}
            Step::End(which) => {
                let mut lease = self.leases.swap_remove(which.index(self.leases.len()));
                lease.close(&mut self.gateway, self.now, CloseReason::Broken);
            }
            Step::Wait(micros) => self.wait(*micros),
        }
    }
}

fn config(is_reflective: bool) -> Config {
    let mut config = Config::default();
    config.seed = 1;
    config.flow.ttl = Duration::from_secs(2);
    if is_reflective {
        config.flow.usage_limit = UsageLimitPolicy::SoftReflective(SoftReflective::default());
    }
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_host_that_polls_when_woken_misses_nothing(
        is_reflective in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut host = Host::new(config(is_reflective));
        for step in steps {
            host.run(&step);
            let is_woken = host.gateway.has_wakeup();
            prop_assert_eq!(is_woken, host.gateway.take_wakeup().decisions);
            if is_woken || matches!(step, Step::Chunk(_)) {
                let decisions = host.poll();
                prop_assert!(is_woken || decisions == 0, "{decisions} were missed");
            }
        }
        for lease in &mut host.leases {
            lease.cancel(&mut host.gateway, host.now);
        }
    }
}

#[test]
fn only_the_first_token_wakes_the_host() {
    let mut host = Host::new(config(false));
    host.run(&Step::Submit { tokens: 64, priority: 0, model: 0 });
    assert!(host.gateway.take_wakeup().decisions);
    assert_eq!(host.poll(), 1);
    let chunk = |host: &mut Host| {
        host.leases[0].pass(&mut host.gateway, host.now, TOKEN);
        host.gateway.take_wakeup().decisions
    };
    assert_eq!([chunk(&mut host), chunk(&mut host), chunk(&mut host)], [true, false, false]);
    let stats = host.gateway.scheduler().stats();
    assert_eq!(stats.in_flight, 1);
    host.leases[0].cancel(&mut host.gateway, host.now);
}
