//! What makes the numbers comparable: one seed, one workload.

use slotwise::Rng;
use slotwise_rivals::workload::{BLOCK, Event, Population, Prompt};

#[test]
fn equal_seeds_give_equal_events() {
    let events = || {
        let population = Population::new(5, &[16, 512], 4_000, true, 3);
        let told: Vec<String> = population.events().map(|event| format!("{event:?}")).collect();
        told
    };
    assert_eq!(events(), events());
}

#[test]
fn names_stand_for_everything_before_them() {
    let mut rng = Rng::new(4);
    let prompt = Prompt::fresh(&mut rng, 8);
    let branch = prompt.branch(&mut rng, 3, 8);
    assert_eq!(prompt.names[..3], branch.names[..3]);
    assert!((3..8).all(|at| prompt.names[at] != branch.names[at]));
    assert_eq!(branch.tokens.len(), 8 * BLOCK);
    // The same block behind another one has another name.
    let (first, second) = (Prompt::new([1, 7]), Prompt::new([2, 7]));
    assert_eq!(first.tokens[BLOCK..], second.tokens[BLOCK..]);
    assert_ne!(first.names[1], second.names[1]);
}

#[test]
fn events_give_every_block_to_its_holders_once() {
    let population = Population::new(4, &[600], 3_000, false, 5);
    let stored: usize = population.events().map(|event| event.blocks()).sum();
    let held: usize = population.prompts.iter().flatten().map(|held| 2 * held.prompt.blocks()).sum();
    assert_eq!(stored, held);
    let parents = population.events().filter(|event| matches!(event, Event::Store { from: 512, .. })).count();
    assert_eq!(parents, 2 * population.prompts[0].len());
}
