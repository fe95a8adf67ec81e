//! [`Clusters`] choose as a naive twin does, which keeps nothing but a log of all calls.

use std::cell::RefCell;

use proptest::prelude::*;
use slotwise::{Instant, Seconds};
use slotwise_gateway::clusters::{
    Balancing, Choice, Clusters, ClustersConfig, Export, Inquiry, Reason, Report, Standing,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const POOL: &str = "pool";
const NEAR_TO_FAR: [f64; 3] = [0.001, 0.02, 0.04];
const LIMIT: u32 = 2;
const SILENT_AFTER: u64 = 10;
const BACKOFF: u64 = 5;
const FAILURES: usize = 2;
const PREFILL_RATE: f64 = 10_000.0;
const HEADROOM: f64 = 1.25;
const MAX_WAIT: f64 = 0.25;

/// A call, at a time in seconds. Clusters are places in [`NAMES`].
#[derive(Clone, Debug)]
enum Event {
    Report { cluster: usize, healthy: bool, ready: u32, in_flight: u32, wait: f64 },
    Begin(usize, f64),
    Complete(usize),
    Fail(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Report { cluster: usize, healthy: bool, ready: u32, in_flight: u32, wait: f64 },
    Choose { prompt: u64, cached: [u64; 3], excluded: Option<usize> },
    Complete(usize),
    Fail(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cluster = || 0..NAMES.len();
    let report = (cluster(), 0..10u8, 0..4u32, 0..8u32, 0..4u8);
    let report = report.prop_map(|(cluster, sick, ready, in_flight, wait)| Step::Report {
        cluster,
        healthy: sick != 0,
        ready,
        in_flight,
        wait: f64::from(wait) / 10.0,
    });
    let cached = proptest::array::uniform3(prop_oneof![2 => Just(0), 1 => 0..4_000u64]);
    let excluded = proptest::option::weighted(0.1, cluster());
    let choose = (0..4_000u64, cached, excluded)
        .prop_map(|(prompt, cached, excluded)| Step::Choose { prompt, cached, excluded });
    let step = prop_oneof![
        2 => (0..6u64).prop_map(Step::Wait),
        4 => report,
        8 => choose,
        4 => cluster().prop_map(Step::Complete),
        2 => cluster().prop_map(Step::Fail),
    ];
    proptest::collection::vec(step, 0..80)
}

/// All calls so far, with their times.
#[derive(Default)]
struct Log(RefCell<Vec<(u64, Event)>>);

impl Log {
    fn push(&self, now: u64, event: Event) {
        self.0.borrow_mut().push((now, event));
    }

    /// Begun and not ended, of the first `calls` calls.
    fn own(&self, cluster: usize, calls: usize) -> f64 {
        let log = self.0.borrow();
        let count = |event: &Event| match event {
            Event::Begin(at, _) if *at == cluster => 1.0,
            Event::Complete(at) | Event::Fail(at) if *at == cluster => -1.0,
            _ => 0.0,
        };
        log.iter().take(calls).map(|(_, event)| count(event)).sum()
    }

    /// The end of the last backoff.
    fn failing_until(&self, cluster: usize) -> u64 {
        let (mut streak, mut until) = (0, 0);
        for (now, event) in &*self.0.borrow() {
            match event {
                Event::Complete(at) if *at == cluster => streak = 0,
                Event::Fail(at) if *at == cluster => {
                    streak += 1;
                    if streak >= FAILURES {
                        until = now + BACKOFF;
                    }
                }
                _ => {}
            }
        }
        until
    }

    /// Standing, load and wait.
    fn judge(&self, now: u64, cluster: usize) -> (Standing, f64, f64) {
        let log = self.0.borrow();
        let last = log.iter().enumerate().rev().find_map(|(at, (time, event))| match event {
            Event::Report { cluster: of, healthy, ready, in_flight, wait } if *of == cluster => {
                Some((at, *time, *healthy, *ready, *in_flight, *wait))
            }
            _ => None,
        });
        let Some((at, time, healthy, ready, in_flight, wait)) = last else {
            return (Standing::Silent, 0.0, 0.0);
        };
        // The queue at the report, and what has drained and arrived since.
        let mut queue = (time, wait);
        let drained = |(since, wait): (u64, f64), now: u64| (wait - (now - since) as f64).max(0.0);
        for (begun, event) in &log[at..] {
            if let Event::Begin(of, prefill) = event
                && *of == cluster
            {
                queue = (*begun, drained(queue, *begun) + prefill / f64::from(ready.max(1)));
            }
        }
        let wait = drained(queue, now);
        drop(log);
        let calls = self.0.borrow().len();
        let now_in_flight =
            (f64::from(in_flight) + self.own(cluster, calls) - self.own(cluster, at)).max(0.0);
        let load = now_in_flight / (f64::from(LIMIT) * f64::from(ready.max(1)));
        let standing = if !healthy || ready == 0 {
            Standing::Unready
        } else if now < self.failing_until(cluster) {
            Standing::Failing
        } else if now >= time + SILENT_AFTER {
            Standing::Silent
        } else if load < 1.0 && wait < MAX_WAIT {
            Standing::Room
        } else {
            Standing::Full
        };
        (standing, load, wait)
    }

    /// The choice, by the rules of the manual in their order.
    fn choose(&self, now: u64, prompt: u64, cached: [u64; 3], excluded: Option<usize>) -> Answer {
        let judged: Vec<_> = (0..3).map(|cluster| self.judge(now, cluster)).collect();
        let standing = |at: usize| match excluded == Some(at) {
            true => Standing::Excluded,
            false => judged[at].0,
        };
        let cost = |at: usize| {
            let uncached = prompt - cached[at].min(prompt);
            NEAR_TO_FAR[at] + judged[at].2 + uncached as f64 / PREFILL_RATE
        };
        let all = |wanted: &[Standing]| -> Vec<usize> {
            (0..3).filter(|at| wanted.contains(&standing(*at))).collect()
        };
        let open = all(&[Standing::Room, Standing::Full]);
        if open.is_empty() {
            let last = [all(&[Standing::Silent]), all(&[Standing::Failing])].concat();
            return last.first().map(|at| (*at, Reason::LastResort));
        }
        let least = |among: &[usize], of: &dyn Fn(usize) -> f64| -> Option<usize> {
            among.iter().copied().reduce(|best, at| if of(at) < of(best) { at } else { best })
        };
        let base = match all(&[Standing::Room]).first() {
            Some(0) => (0, Reason::Nearest),
            Some(at) if standing(0) == Standing::Full => (*at, Reason::Spill),
            Some(at) => (*at, Reason::FailOver),
            None => {
                let late: Vec<_> =
                    open.iter().copied().filter(|at| judged[*at].2 >= MAX_WAIT).collect();
                let longest = least(&late, &|at| -judged[at].2);
                let by_load = || least(&open, &|at| judged[at].1);
                (longest.or_else(by_load).expect("one is open"), Reason::Full)
            }
        };
        let mut best = base;
        for at in open {
            let (_, load, wait) = judged[at];
            let in_time = load < HEADROOM && wait < MAX_WAIT * HEADROOM;
            let holds = cached[at].min(prompt) > 0 && in_time;
            if holds && cost(at) < cost(best.0) {
                best = (at, Reason::Prefix);
            }
        }
        Some(best)
    }
}

type Answer = Option<(usize, Reason)>;

fn clusters() -> Clusters {
    let mut config = ClustersConfig::default();
    config.silent_after = Seconds::new(SILENT_AFTER as f64);
    config.backoff = Seconds::new(BACKOFF as f64);
    config.failures = FAILURES as u32;
    // The ramp has a test of its own.
    config.ramp = Seconds::ZERO;
    let pool = config.pool(POOL);
    // The configured order is not the order of distance.
    for at in [1, 2, 0] {
        let mut export = Export::new(NAMES[at], Seconds::new(NEAR_TO_FAR[at]));
        export.balancing = Balancing::in_flight(LIMIT);
        export.prefill_rate = PREFILL_RATE;
        pool.exports.push(export);
    }
    Clusters::new(config).expect("a valid configuration")
}

fn answer(choice: &Choice) -> (usize, Reason) {
    (NAMES.iter().position(|name| *name == choice.cluster).expect("a cluster"), choice.reason)
}

proptest! {
    #[test]
    fn every_choice_is_that_of_the_log(steps in steps()) {
        let (mut clusters, log, mut seconds) = (clusters(), Log::default(), 0);
        for step in steps {
            let now = Instant::from_micros(seconds * 1_000_000);
            match step {
                Step::Wait(more) => seconds += more,
                Step::Report { cluster, healthy, ready, in_flight, wait } => {
                    let report = Report {
                        healthy,
                        ready_endpoints: Some(ready),
                        in_flight: Some(in_flight),
                        wait: Seconds::new(wait),
                        ..Report::default()
                    };
                    clusters.report(now, POOL, NAMES[cluster], &report).expect("an export");
                    let event = Event::Report { cluster, healthy, ready, in_flight, wait };
                    log.push(seconds, event);
                }
                Step::Choose { prompt, cached, excluded } => {
                    let hints = [0, 1, 2].map(|at| (NAMES[at], cached[at]));
                    let exclude: Vec<_> = excluded.iter().map(|at| NAMES[*at]).collect();
                    let inquiry = Inquiry {
                        pool: POOL,
                        prompt_tokens: prompt,
                        cached_tokens: &hints,
                        exclude: &exclude,
                        ..Inquiry::default()
                    };
                    let explained = clusters.explain(now, &inquiry).expect("a pool").choice;
                    let chosen = clusters.choose(now, &inquiry).ok();
                    prop_assert_eq!(&explained, &chosen);
                    let expected = log.choose(seconds, prompt, cached, excluded);
                    prop_assert_eq!(chosen.as_ref().map(answer), expected);
                    if let Some((at, _)) = expected {
                        let uncached = prompt - cached[at].min(prompt);
                        log.push(seconds, Event::Begin(at, uncached as f64 / PREFILL_RATE));
                    }
                }
                Step::Complete(at) | Step::Fail(at) => {
                    let ended = match step {
                        Step::Complete(_) => clusters.complete(now, POOL, NAMES[at], None),
                        _ => clusters.fail(now, POOL, NAMES[at]),
                    };
                    let calls = log.0.borrow().len();
                    prop_assert_eq!(ended.is_ok(), log.own(at, calls) > 0.0);
                    if ended.is_ok() {
                        let event = match step {
                            Step::Complete(_) => Event::Complete(at),
                            _ => Event::Fail(at),
                        };
                        log.push(seconds, event);
                    }
                }
            }
        }
    }

    /// Whatever happens, ramps included: a cluster that is withdrawn or unhealthy is not chosen
    /// while another is healthy, and withdrawn ones end exactly when their requests do.
    #[test]
    fn a_lost_cluster_is_not_chosen_while_another_is_healthy(
        steps in steps(),
        withdrawn in proptest::collection::vec((0..80usize, 0..3usize, any::<bool>()), 0..6),
    ) {
        let mut config = ClustersConfig::default();
        config.pool(POOL);
        let mut clusters = Clusters::new(config).expect("a valid configuration");
        let add = |clusters: &mut Clusters, now, at: usize| {
            let export = Export::new(NAMES[at], Seconds::new(NEAR_TO_FAR[at]));
            clusters.export(now, POOL, export).expect("a valid export");
        };
        for at in 0..3 {
            add(&mut clusters, Instant::ORIGIN, at);
        }
        let (mut own, mut seconds) = ([0u32; 3], 0);
        for (number, step) in steps.into_iter().enumerate() {
            let now = Instant::from_micros(seconds * 1_000_000);
            for (_, at, back) in withdrawn.iter().filter(|(when, ..)| *when == number) {
                if *back {
                    add(&mut clusters, now, *at);
                } else if clusters.withdraw(now, POOL, NAMES[*at]).is_ok() && own[*at] == 0 {
                    prop_assert_eq!(clusters.poll_drained().expect("drained").cluster, NAMES[*at]);
                }
            }
            match step {
                Step::Wait(more) => seconds += more,
                Step::Report { cluster, healthy, ready, in_flight, .. } => {
                    let load = ("vllm:kv_cache_usage_perc".into(), f64::from(in_flight) / 8.0);
                    let report = Report {
                        healthy,
                        ready_endpoints: Some(ready),
                        in_flight: Some(in_flight),
                        utilization: [load].into(),
                        ..Report::default()
                    };
                    _ = clusters.report(now, POOL, NAMES[cluster], &report);
                }
                Step::Choose { prompt, .. } => {
                    let inquiry = Inquiry { pool: POOL, prompt_tokens: prompt, session: Some("s"), ..Inquiry::default() };
                    let explained = clusters.explain(now, &inquiry).expect("a pool");
                    let healthy = explained.candidates.iter().any(|candidate| {
                        matches!(candidate.standing, Standing::Room | Standing::Full | Standing::Ramping)
                    });
                    let chosen = clusters.choose(now, &inquiry).ok();
                    prop_assert_eq!(&explained.choice, &chosen);
                    prop_assert!(chosen.is_some() || !healthy);
                    let Some(chosen) = chosen else { continue };
                    own[answer(&chosen).0] += 1;
                    let mut candidates = explained.candidates.iter();
                    let standing = candidates.find(|it| it.cluster == chosen.cluster).expect("one").standing;
                    match standing {
                        Standing::Silent | Standing::Failing => prop_assert!(!healthy),
                        Standing::Room | Standing::Full | Standing::Ramping => {}
                        lost => prop_assert!(false, "chose a cluster that is {lost:?}"),
                    }
                }
                Step::Complete(at) | Step::Fail(at) => {
                    let ended = match step {
                        Step::Complete(_) => clusters.complete(now, POOL, NAMES[at], None),
                        _ => clusters.fail(now, POOL, NAMES[at]),
                    };
                    prop_assert_eq!(ended.is_ok(), own[at] > 0);
                    own[at] = own[at].saturating_sub(1);
                    if let Some(drained) = clusters.poll_drained() {
                        prop_assert_eq!((&*drained.cluster, own[at]), (NAMES[at], 0));
                    }
                }
            }
        }
    }
}
