//! For any sequence of inputs, each queued request is dispatched, evicted or cancelled exactly
//! once. After the last poll nothing is left to decide. No request is dispatched to an excluded
//! endpoint, and equal inputs give equal outputs.

#[path = "support/waiting.rs"]
mod waiting;

use proptest::prelude::*;
use waiting::{World, op, setup};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(setup in setup(), ops in prop::collection::vec(op(), 1..200)) {
        let mut worlds = [World::new(&setup), World::new(&setup)];
        for op in &ops {
            for world in &mut worlds {
                world.apply(op)?;
            }
            prop_assert_eq!(&worlds[0].log, &worlds[1].log, "same inputs, same outputs");
            worlds.iter_mut().for_each(|world| world.log.clear());
        }
        // At the end, every queued request has an outcome.
        let world = &mut worlds[0];
        while !world.waiting.is_empty() {
            let due = world.scheduler.next_timeout();
            prop_assert!(due.is_some(), "a queued request has a TTL");
            world.now = due.unwrap_or_default();
            world.drain()?;
        }
    }
}
