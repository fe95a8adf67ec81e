//! What it costs to turn a prompt into what an index is asked with.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use dynamo_kv_router::protocols::{BlockHashOptions, compute_block_hash_for_seq, compute_seq_hash_for_block};
use kv_index::compute_request_content_hashes;
use slotwise::Rng;
use slotwise::prefix::{Namespace, PromptHasher};

use crate::race::{Effort, per, turn};
use crate::table::{Best, Table};
use crate::workload::{BLOCK, Prompt};

/// Makes the table.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let contestants = [
        "slotwise (chained)",
        "dynamo local",
        "dynamo local + sequence",
        "kv-index content",
        "slotwise (text)",
    ];
    let mut table = Table::new("hash", "from tokens to hashes: ns a block", contestants);
    for tokens in [256, 2_048, 32_768, 131_072] {
        for block in [16, 64] {
            let prompt = Prompt::fresh(&mut Rng::new(3), tokens / BLOCK);
            let cells = row(effort, &prompt.tokens, block);
            table.row(format!("{tokens} tokens, blocks of {block}"), Best::Lowest, cells);
        }
    }
    table
        .note("a sample is a whole prompt, with its vector's allocation; the text is 4 bytes for each token");
    table.note("Dynamo's and SMG's lookups take position-blind hashes; ours are chained, one pass for both");
    table.note("smg-radix-tree leaves hashing to the caller, so it has no column");
    out(table);
}

fn row(effort: &Effort, tokens: &[u32], block: usize) -> Vec<crate::table::Cell> {
    let hasher = PromptHasher::new(7);
    let size = NonZeroU32::new(block as u32).expect("blocks have tokens");
    let text: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    let samples = effort.race(5, |at, _, samples| {
        turn(8, |_| {
            let tokens = black_box(tokens);
            let start = Instant::now();
            match at {
                0 => {
                    let mut chain = Vec::new();
                    hasher.tokens(Namespace::new("model"), tokens, size, usize::MAX, &mut chain);
                    drop(black_box(chain));
                }
                1 => drop(black_box(compute_block_hash_for_seq(
                    tokens,
                    size.get(),
                    BlockHashOptions::default(),
                ))),
                2 => {
                    let local = compute_block_hash_for_seq(tokens, size.get(), BlockHashOptions::default());
                    drop(black_box(compute_seq_hash_for_block(&local)));
                }
                3 => drop(black_box(compute_request_content_hashes(tokens, block))),
                _ => {
                    let mut chain = Vec::new();
                    hasher.text(Namespace::new("model"), black_box(&text), size, usize::MAX, &mut chain);
                    drop(black_box(chain));
                }
            }
            samples.push(per(start.elapsed(), tokens.len() / block));
        });
    });
    samples.into_iter().map(|samples| samples.cell("")).collect()
}
