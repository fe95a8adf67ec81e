//! The crate `smg-radix-tree`: one writer, exact, no unsafe code.

use radix_tree::{Config, HolderId, Overlap, OverlapScratch, RadixTree};

use super::dynamo::local_hashes;
use crate::index::{Applied, Index};
use crate::workload::{BLOCK, Event};

/// SMG's tree of chains and interned sets of holders. It leaves hashing to the caller, who has
/// Dynamo's here: it gives what SMG's other crate gives, and sooner.
pub struct SmgRadix {
    tree: RadixTree,
    holders: Vec<HolderId>,
}

/// An event as it takes it.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Blocks, by name and content, that follow `parent`.
    Store { slot: u32, parent: Option<u64>, blocks: Vec<(u64, u64)> },
    /// Blocks that are gone.
    Remove { slot: u32, names: Vec<u64> },
}

impl Index for SmgRadix {
    const NAME: &'static str = "smg-radix-tree";
    type Query = Vec<u64>;
    type Event = Prepared;
    type Scratch = (OverlapScratch, Vec<Overlap>);

    fn new(endpoints: u32) -> Self {
        let mut tree = RadixTree::new(Config::default());
        let holders = (0..endpoints).map(|slot| tree.create_holder(&slot.to_string())).collect();
        Self { tree, holders }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        local_hashes(tokens).into_iter().map(|hash| hash.0).collect()
    }

    fn event(&self, event: &Event<'_>) -> Prepared {
        match *event {
            Event::Store { slot, prompt, from, to } => {
                let hashes = self.query(&prompt.tokens[from * BLOCK..to * BLOCK]);
                let parent = from.checked_sub(1).map(|at| prompt.names[at]);
                let blocks = prompt.names[from..to].iter().copied().zip(hashes).collect();
                Prepared::Store { slot, parent, blocks }
            }
            Event::Remove { slot, names } => Prepared::Remove { slot, names: names.to_vec() },
        }
    }

    fn find(&self, query: &mut Self::Query, (scratch, out): &mut Self::Scratch) -> usize {
        self.tree.overlap(query, scratch, out);
        out.len()
    }

    fn expand(&self, query: &mut Self::Query, (scratch, out): &mut Self::Scratch, depths: &mut [u32]) {
        self.tree.overlap(query, scratch, out);
        for overlap in out {
            // Holders are numbered in the order in which they were created, which is that of the
            // slots.
            depths[overlap.holder.parts().0 as usize] = overlap.depth;
        }
    }

    fn apply(&mut self, events: Vec<Prepared>) -> Applied {
        Applied::each(&events, |event| match event {
            Prepared::Store { slot, parent, blocks } => {
                self.tree.store(self.holders[*slot as usize], *parent, blocks).is_ok()
            }
            Prepared::Remove { slot, names } => {
                self.tree.remove(self.holders[*slot as usize], names);
                true
            }
        })
    }
}
