//! The predicted decider is no worse than the better of two fixed choices, at any load.

mod support;

use slotwise_sim::fleet::{Setup, simulate};
use slotwise_sim::measure::Summary;
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::pools::Pools;
use slotwise_sim::trace::{Mix, Trace};
use support::setup;

#[test]
fn never_by_more_than_three_points_of_goodput() {
    let mut decided = 0;
    for (mix, speed) in [(Mix::Chat, 8.0), (Mix::NoReuse, 1.0), (Mix::NoReuse, 2.5)] {
        let mut trace = Trace::generate(mix, 0);
        trace.truncate(500);
        let setup = setup(8);
        let pools = Pools { prefill: 3, decode: 5, ..setup.pools };
        let setup = Setup { pools, speed, ..setup };
        let goodput = |policy: &str| {
            let kind = PolicyKind::named(policy).expect("known");
            Summary::of(&simulate(&trace, &setup, &kind)).goodput
        };
        let (never, always) = (goodput("pd-never"), goodput("pd-always"));
        let predicted = goodput("pd-predicted");
        let best = never.max(always);
        assert!(predicted >= best - 0.03, "{mix:?} at {speed}: {predicted} against {best}");
        decided += u32::from(predicted > best + 0.03);
    }
    assert!(decided > 0, "at some load, neither fixed choice is right");
}
