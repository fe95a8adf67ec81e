//! A configuration is compared as a policy: its scheduler decides.

mod support;

use slotwise::Config;
use slotwise_sim::compare::{Configured, compare_with};
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::trace::{Mix, Trace};

use support::setup;

#[test]
fn the_scheduler_of_the_caller_decides() {
    let mut trace = Trace::generate(Mix::Mixed, 1);
    trace.truncate(60);
    let baseline = [PolicyKind::named("round-robin").expect("known")];
    let compare = |config: &Config| {
        let own = Configured { config: config.clone(), reloads: Vec::new() };
        compare_with(&trace, &setup(2), &baseline, &own, 1)
    };

    let comparison = compare(&Config::default()).expect("valid");
    let names: Vec<_> = comparison.policies.iter().map(|row| row.policy).collect();
    assert_eq!(names, ["round-robin", "config"]);
    let served = comparison.policies[1].record.requests.iter();
    assert!(served.clone().count() == 60 && served.clone().all(|it| it.replica.is_some()));

    let mut config = Config::default();
    config.kv_limit = 2.0;
    assert_eq!(compare(&config).expect_err("above 1").field, "kv_limit");
}
