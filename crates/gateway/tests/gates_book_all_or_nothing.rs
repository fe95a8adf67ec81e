//! Gates against a naive twin that keeps a list of all events.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{Instant, Usage};
use slotwise_gateway::gates::{
    Access, Caller, Demand, Gates, GatesConfig, Grant, KeyConfig, Limits, Measure, Quota,
};

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn limits(concurrent: u64, quotas: &[(Measure, u64, u64)]) -> Limits {
    let mut limits = Limits::default();
    limits.concurrent_requests = Some(concurrent);
    limits.quotas = quotas
        .iter()
        .map(|&(measure, limit, millis)| Quota::new(measure, limit, Duration::from_millis(millis)))
        .collect();
    limits
}

/// Three keys; the first two share a tenant with limits.
fn config() -> GatesConfig {
    let mut config = GatesConfig::default();
    let tenant = limits(4, &[(Measure::Tokens, 150, 6)]);
    config.tenants.insert("t".into(), tenant);
    for (name, tenant, own) in [
        ("k0", Some("t"), limits(3, &[(Measure::Tokens, 100, 6), (Measure::Requests, 5, 60)])),
        ("k1", Some("t"), limits(2, &[(Measure::OutputTokens, 60, 6)])),
        ("k2", None, limits(2, &[(Measure::InputTokens, 80, 12), (Measure::Requests, 3, 6)])),
    ] {
        let mut access = Access::default();
        (access.tenant, access.limits) = (tenant.map(String::from), own);
        config.keys.push(KeyConfig::new(name, name, access));
    }
    config
}

/// What a request counts of a measure, from when on.
#[derive(Clone, Debug)]
struct Event {
    request: usize,
    account: usize,
    measure: Measure,
    counted_at: u64,
    amount: u64,
}

/// The naive twin: lists of all events and of all requests in flight.
#[derive(Clone, Debug, Default)]
struct Twin {
    events: Vec<Event>,
    in_flight: Vec<(usize, usize)>,
}

const ACCOUNTS: [&[usize]; 3] = [&[0, 3], &[1, 3], &[2]];
const MEASURES: [Measure; 4] =
    [Measure::Requests, Measure::Tokens, Measure::InputTokens, Measure::OutputTokens];

fn of(measure: Measure, [requests, input, output]: [u64; 3]) -> u64 {
    match measure {
        Measure::Requests => requests,
        Measure::InputTokens => input,
        Measure::OutputTokens => output,
        _ => input + output,
    }
}

impl Twin {
    fn limits_of(account: usize) -> Limits {
        let config = config();
        match account {
            3 => config.tenants["t"].clone(),
            key => config.keys[key].access.limits.clone(),
        }
    }

    /// The stated error of a window: an event leaves with the end of its step.
    fn used(&self, account: usize, quota: &Quota, now: u64) -> u64 {
        let step = quota.window.as_micros() as u64 / 60;
        let counted = self.events.iter().filter(|event| {
            (event.account, event.measure) == (account, quota.measure)
                && now < (event.counted_at / step + 61) * step
        });
        counted.map(|event| event.amount).sum()
    }

    fn running(&self, account: usize) -> u64 {
        self.in_flight.iter().filter(|(_, of)| *of == account).count() as u64
    }

    fn passes(&self, key: usize, now: u64, amounts: [u64; 3]) -> bool {
        ACCOUNTS[key].iter().all(|&account| {
            let limits = Self::limits_of(account);
            Some(self.running(account)) < limits.concurrent_requests
                && limits.quotas.iter().all(|quota| {
                    self.used(account, quota, now) + of(quota.measure, amounts) <= quota.limit
                })
        })
    }

    fn book(&mut self, key: usize, request: usize, now: u64, amounts: [u64; 3]) {
        for &account in ACCOUNTS[key] {
            self.in_flight.push((request, account));
            self.events.extend(MEASURES.map(|measure| Event {
                request,
                account,
                measure,
                counted_at: now,
                amount: of(measure, amounts),
            }));
        }
    }

    fn end(&mut self, request: usize, now: u64, used: [u64; 3]) {
        self.in_flight.retain(|(other, _)| *other != request);
        let mut debts = Vec::new();
        for event in self.events.iter_mut().filter(|event| event.request == request) {
            let used = of(event.measure, used);
            if used > event.amount {
                let amount = used - event.amount;
                debts.push(Event { counted_at: now, amount, ..event.clone() });
            } else {
                event.amount = used;
            }
        }
        self.events.extend(debts);
    }
}

#[derive(Clone, Debug)]
enum Input {
    Admit {
        key: usize,
        input: u64,
        output: u64,
    },
    /// The usage as a share of the estimate, in percent.
    Settle {
        which: usize,
        percent: u64,
    },
    Cancel {
        which: usize,
    },
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (0..3_usize, 0..70_u64, 0..70_u64)
            .prop_map(|(key, input, output)| Input::Admit { key, input, output }),
        2 => (any::<usize>(), 0..=180_u64)
            .prop_map(|(which, percent)| Input::Settle { which, percent }),
        1 => any::<usize>().prop_map(|which| Input::Cancel { which }),
    ]
}

fn caller(gates: &Gates, key: usize) -> Caller {
    gates.identify_key(Some(&format!("k{key}"))).expect("a key")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn gates_admit_what_a_list_of_events_admits(
        inputs in prop::collection::vec((0..1_500_u64, input()), 1..120),
    ) {
        let mut gates = Gates::new(config()).expect("valid");
        let mut twin = Twin::default();
        let mut running: Vec<(usize, Grant, [u64; 3])> = Vec::new();
        let mut now = 0;
        for (request, (pause, input)) in inputs.into_iter().enumerate() {
            now += pause;
            match input {
                Input::Admit { key, input, output } => {
                    let caller = caller(&gates, key);
                    let (amounts, before) = ([1, input, output], gates.clone());
                    let demand = Demand::new("m", input, output);
                    let result = gates.admit(at(now), &caller, &demand);
                    prop_assert_eq!(result.is_ok(), twin.passes(key, now, amounts));
                    match result {
                        Ok(grant) => {
                            twin.book(key, request, now, amounts);
                            running.push((request, grant, amounts));
                        }
                        Err(refusal) => {
                            // Nothing was booked, and the time is exact.
                            let standings = |gates: &Gates| gates.standings(at(now), &caller);
                            prop_assert_eq!(standings(&gates), standings(&before));
                            if let Some(after) = refusal.retry_after {
                                let passes = at(now) + after;
                                let early = at(passes.as_micros() - 1);
                                let ok = |then| gates.clone().admit(then, &caller, &demand).is_ok();
                                prop_assert!(after > Duration::ZERO && ok(passes) && !ok(early));
                                prop_assert!(twin.passes(key, passes.as_micros(), amounts));
                            } else {
                                let never = gates.clone().admit(at(now + 600_000), &caller, &demand);
                                prop_assert!(never.is_err());
                            }
                        }
                    }
                }
                Input::Settle { which, percent } if !running.is_empty() => {
                    let (request, grant, [_, input, output]) =
                        running.swap_remove(which % running.len());
                    let used = [1, input * percent / 100, output * (200 - percent) / 100];
                    let mut usage = Usage::default();
                    usage.prompt_tokens = u32::try_from(used[1]).ok();
                    usage.completion_tokens = u32::try_from(used[2]).ok();
                    gates.settle(at(now), grant, &usage);
                    twin.end(request, now, used);
                }
                Input::Cancel { which } if !running.is_empty() => {
                    let (request, grant, _) = running.swap_remove(which % running.len());
                    gates.cancel(at(now), grant);
                    twin.end(request, now, [0; 3]);
                }
                _ => {}
            }
            for (key, accounts) in ACCOUNTS.into_iter().enumerate() {
                let standings = gates.standings(at(now), &caller(&gates, key));
                let quotas = accounts.iter().flat_map(|&account| {
                    let limits = Twin::limits_of(account);
                    let used = limits.quotas.iter().map(|it| twin.used(account, it, now));
                    std::iter::once(twin.running(account)).chain(used).collect::<Vec<_>>()
                });
                let used: Vec<u64> = standings.iter().map(|standing| standing.used).collect();
                prop_assert_eq!(used, quotas.collect::<Vec<_>>());
            }
        }
    }
}

/// Anonymous clients, each with a quota of one request in 6 ms.
fn anonymous(max_clients: usize) -> (Gates, impl Fn(&Gates, &str) -> Caller) {
    let mut config = GatesConfig::default();
    let mut access = Access::default();
    access.limits = limits(1, &[(Measure::Requests, 1, 6)]);
    (config.anonymous, config.max_clients) = (Some(access), max_clients);
    let gates = Gates::new(config).expect("valid");
    (gates, |gates, name| gates.identify_key(None).expect("anonymous").client(name))
}

#[test]
fn clients_are_bounded_and_none_with_usage_is_forgotten() {
    let (mut gates, named) = anonymous(2);
    let demand = Demand::new("m", 1, 1);
    let [a, b, c] = ["a", "b", "c"].map(|name| named(&gates, name));
    let grant_a = gates.admit(at(0), &a, &demand).expect("room");
    let grant_b = gates.admit(at(1_000), &b, &demand).expect("room");
    let refusal = gates.admit(at(1_000), &c, &demand).expect_err("both are in flight");
    assert_eq!((refusal.code(), refusal.retry_after), ("too_many_clients", None));
    gates.settle(at(2_000), grant_a, &Usage::default());
    gates.settle(at(3_000), grant_b, &Usage::default());
    let refusal = gates.admit(at(3_000), &c, &demand).expect_err("both have usage");
    assert_eq!(refusal.retry_after, Some(Duration::from_micros(3_100)), "the window and a step");
    assert!(gates.admit(at(6_099), &c, &demand).is_err());
    let grant_c = gates.admit(at(6_100), &c, &demand).expect("the first client is idle");
    assert_eq!(gates.accounts(), 2);
    assert!(gates.admit(at(6_100), &b, &demand).is_err(), "its usage is remembered");
    gates.cancel(at(6_100), grant_c);
}

#[test]
fn a_change_of_configuration_keeps_usage() {
    let mut gates = Gates::new(config()).expect("valid");
    let demand = Demand::new("m", 50, 40);
    let before = caller(&gates, 0);
    let grant = gates.admit(at(0), &before, &demand).expect("within");
    let mut changed = config();
    changed.keys.remove(2);
    changed.keys[0].access.limits.quotas[0].limit = 95;
    gates.set_config(changed.clone()).expect("valid");
    assert_eq!(gates.identify_key(Some("k2")).expect_err("removed").status(), 401);
    let refusal = gates.admit(at(10), &caller(&gates, 0), &Demand::new("m", 3, 3));
    let exceeded = refusal.expect_err("90 of 95 are used").exceeded.expect("a limit");
    assert_eq!((exceeded.limit, exceeded.used, exceeded.remaining()), (95, 90, 5));

    // A grant of a forgotten account changes nothing, also not an account of the same name.
    changed.keys.clear();
    changed.tenants.clear();
    gates.set_config(changed).expect("valid");
    gates.set_config(config()).expect("valid");
    let again = gates.admit(at(20), &caller(&gates, 0), &demand).expect("a new account");
    gates.cancel(at(30), grant);
    let running = gates.standings(at(30), &caller(&gates, 0))[0];
    assert_eq!((running.measure, running.used), (Measure::ConcurrentRequests, 1));
    gates.cancel(at(30), again);

    let mut invalid = config();
    invalid.keys[1].access.limits.quotas[0].window = Duration::ZERO;
    let error = gates.set_config(invalid).expect_err("no window");
    assert_eq!(error.field, "keys[1].limits.quotas[0].window");
}
