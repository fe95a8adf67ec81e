//! Before they race, all contestants give the same answers.

use std::time::Duration;

use slotwise_rivals::rivals;
use slotwise_rivals::workload::{Event, Population};

const ENDPOINTS: u32 = 9;

/// Each contestant's depths for every prompt, after the same events.
fn answers(shared: bool, after: &[Event<'_>], population: &Population) -> Vec<(&'static str, Vec<Vec<u32>>)> {
    let prompts: Vec<_> = population.prompts.iter().flatten().map(|held| held.prompt.clone()).collect();
    let ask = |mut entrant: slotwise_rivals::index::Entrant| {
        let refused = entrant.fill(population.events().chain(after.iter().copied()), Duration::from_secs(60));
        assert_eq!(refused, 0, "{} with shared = {shared}", entrant.name);
        let index = entrant.index.as_mut().expect("it is filled");
        index.prepare(&prompts);
        let mut depths = vec![0; ENDPOINTS as usize];
        let answers = (0..prompts.len()).map(|at| {
            index.expand(at, &mut depths);
            depths.clone()
        });
        (entrant.name, answers.collect())
    };
    rivals::all(ENDPOINTS).into_iter().map(ask).collect()
}

#[test]
fn on_who_holds_how_much_of_a_prompt() {
    for shared in [false, true] {
        let population = Population::new(ENDPOINTS, &[16, 128, 700], 6_000, shared, 1);
        let answers = answers(shared, &[], &population);
        let first = population.prompts.iter().flatten().zip(&answers[0].1);
        for (held, depths) in first {
            for (slot, depth) in (0..).zip(depths) {
                let known = if held.holders.contains(&slot) { held.prompt.blocks() } else { held.system };
                assert_eq!(*depth as usize, known);
            }
        }
        for (name, depths) in &answers {
            assert_eq!(depths, &answers[0].1, "{name} with shared = {shared}");
        }
    }
}

#[test]
fn on_what_is_left_when_the_end_of_a_prompt_goes() {
    let population = Population::new(ENDPOINTS, &[128], 2_000, false, 2);
    let held = &population.prompts[0][0];
    let backwards: Vec<u64> = held.prompt.names[40..].iter().rev().copied().collect();
    let gone = Event::Remove { slot: held.holders[0], names: &backwards };
    for (name, depths) in answers(false, &[gone], &population) {
        assert_eq!(depths[0][held.holders[0] as usize], 40, "{name}");
        assert_eq!(depths[0][held.holders[1] as usize], 128, "{name}");
    }
}
