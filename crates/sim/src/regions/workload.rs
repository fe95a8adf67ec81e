//! Conversations in two regions whose peaks are half a day apart.

use std::sync::Arc;
use std::time::Duration;

use slotwise::{BlockHash, Instant, Rng};

use super::{Setup, TOKENS_PER_BLOCK};

/// A conversation: each turn's prompt has all earlier turns.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) begins: Instant,
    /// The region of its client.
    pub(super) home: usize,
    pub(super) turns: Vec<Turn>,
}

#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) blocks: Arc<[BlockHash]>,
}

/// The conversations of a run, in order of their beginnings.
pub(super) fn conversations(setup: &Setup) -> Vec<Conversation> {
    let mut rng = Rng::new(setup.seed);
    let mut all = Vec::new();
    for home in 0..2 {
        let mut at = 0.0;
        loop {
            // The rate of each step is that of its begin.
            at += STEP;
            if at >= setup.length.as_secs_f64() {
                break;
            }
            let mean = setup.peak * intensity(at / setup.day.as_secs_f64(), home) * STEP;
            let begun = mean as u64 + u64::from(rng.unit() < mean.fract());
            for _ in 0..begun {
                let begins = Duration::from_secs_f64(at + rng.unit() * STEP);
                let number = all.len() as u64;
                all.push(Conversation {
                    begins: Instant::ORIGIN + begins,
                    home,
                    turns: turns(&mut rng, number),
                });
            }
        }
    }
    all.sort_by_key(|conversation| conversation.begins);
    all
}

/// A triangle between a tenth and 1: one region's peak is the other's night.
fn intensity(days: f64, home: usize) -> f64 {
    let phase = (days + 0.5 * home as f64).fract();
    0.1 + 0.9 * (1.0 - (2.0 * phase - 1.0).abs())
}

fn turns(rng: &mut Rng, conversation: u64) -> Vec<Turn> {
    let mut input = 1_000 + rng.below(5_000) as u32;
    let mut turns = Vec::new();
    for _ in 0..=rng.below(6) {
        let output = 50 + rng.below(300) as u32;
        let block = |at: u32| BlockHash(Rng::new(conversation << 20 | u64::from(at)).next_u64());
        let blocks = (0..input / TOKENS_PER_BLOCK).map(block).collect();
        turns.push(Turn { input, output, blocks });
        input += output + 50 + rng.below(600) as u32;
    }
    turns
}

/// Seconds.
const STEP: f64 = 0.1;
