//! Without events: an index that learns from the requests it routes. `kv-index` has a tree of
//! tokens and one of text for that; ours assumes what requests leave behind. All begin with the raw
//! prompt, so hashing is in our numbers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kv_index::{StringTree, TokenTree};
use slotwise::Rng;

use super::memory::resident;
use crate::index::Index;
use crate::race::{Effort, per, turn};
use crate::rivals::Slotwise;
use crate::table::{Best, Cell, Table};
use crate::workload::Prompt;

/// Makes the table.
pub(super) fn run(effort: &Effort, out: &mut dyn FnMut(Table)) {
    let title = format!(
        "no events, {ENDPOINTS} endpoints, half of a prompt shared: ns a prompt, from tokens or text"
    );
    let mut table = Table::new("trees", title, NAMES);
    for length in [16, 128, 512, 2_048] {
        rows(effort, length, &mut table);
    }
    table.note("text is 4 letters for each token; ratios of the text columns, too, are to slotwise's tokens");
    table.note("the trees answer with at most 8 endpoints that hold the deepest match; slotwise with the depth of every endpoint");
    table.note("the trees hold raw prompts, and evict by a walk over the whole tree; slotwise holds hashes, within each cache's capacity");
    out(table);
}

/// A prompt in both forms.
struct Asked {
    tokens: Vec<u32>,
    text: String,
}

impl Asked {
    fn new(prompt: &Prompt) -> Self {
        let letter = |token: u32, at: u32| char::from(b'a' + (token >> (4 * at) & 15) as u8);
        let text = prompt.tokens.iter().flat_map(|token| (0..4).map(|at| letter(*token, at))).collect();
        Self { tokens: prompt.tokens.clone(), text }
    }
}

/// What one of them takes for as many blocks, in prompts of `length` of which half is shared; in a
/// process of its own.
pub(super) fn hold(router: &str, length: usize, blocks: usize, heap: fn() -> usize) -> Option<[usize; 2]> {
    let mut router = routers().into_iter().zip(NAMES).find(|(_, name)| *name == router)?.0;
    let before = [heap(), resident()];
    let mut rng = Rng::new(8);
    let mut beginning = Prompt::default();
    for at in 0..blocks / length {
        if at % 64 == 0 {
            beginning = Prompt::fresh(&mut rng, length / 2);
        }
        let asked = Asked::new(&beginning.branch(&mut rng, length / 2, length));
        router.learn(&asked, rng.below(u64::from(ENDPOINTS)) as u32);
    }
    let taken = [heap().saturating_sub(before[0]), resident().saturating_sub(before[1])];
    drop(router);
    Some(taken)
}

fn routers() -> [Router; 4] {
    [
        Router::Tokens(Slotwise::new(ENDPOINTS)),
        Router::TokenTree(TokenTree::new()),
        Router::Text(Slotwise::new(ENDPOINTS)),
        Router::StringTree(StringTree::new()),
    ]
}

/// One of the four.
enum Router {
    Tokens(Slotwise),
    TokenTree(TokenTree),
    Text(Slotwise),
    StringTree(StringTree),
}

impl Router {
    /// Looks the prompt up.
    fn find(&self, asked: &Asked) -> Duration {
        let start = Instant::now();
        match self {
            Self::Tokens(index) => drop(black_box(index.find(&mut index.query(&asked.tokens), &mut ()))),
            Self::TokenTree(tree) => drop(black_box(tree.match_prefix_with_counts(&asked.tokens))),
            Self::Text(index) => drop(black_box(index.find(&mut index.text_query(&asked.text), &mut ()))),
            Self::StringTree(tree) => drop(black_box(tree.match_prefix_with_counts(&asked.text))),
        }
        start.elapsed()
    }

    /// Learns that the prompt went to the endpoint.
    fn learn(&mut self, asked: &Asked, slot: u32) -> Duration {
        let tenant = tenant(slot);
        let start = Instant::now();
        match self {
            Self::Tokens(index) => index.assume(slot, &index.query(&asked.tokens)),
            Self::TokenTree(tree) => tree.insert_tokens(&asked.tokens, &tenant),
            Self::Text(index) => index.assume(slot, &index.text_query(&asked.text)),
            Self::StringTree(tree) => tree.insert_text(&asked.text, &tenant),
        }
        start.elapsed()
    }

    /// Both, with what each has for that.
    fn find_and_learn(&mut self, asked: &Asked, slot: u32) -> Duration {
        let tenant = tenant(slot);
        let start = Instant::now();
        match self {
            Self::Tokens(index) => {
                let mut chain = index.query(&asked.tokens);
                black_box(index.find(&mut chain, &mut ()));
                index.assume(slot, &chain);
            }
            Self::TokenTree(tree) => drop(black_box(tree.match_and_insert(&asked.tokens, &tenant))),
            Self::Text(index) => {
                let mut chain = index.text_query(&asked.text);
                black_box(index.find(&mut chain, &mut ()));
                index.assume(slot, &chain);
            }
            Self::StringTree(tree) => drop(black_box(tree.match_and_insert(&asked.text, &tenant))),
        }
        start.elapsed()
    }
}

fn rows(effort: &Effort, length: usize, table: &mut Table) {
    let mut rng = Rng::new(7);
    let mut routers = routers();
    let beginnings: Vec<Prompt> = (0..8).map(|_| Prompt::fresh(&mut rng, length / 2)).collect();
    let new = |rng: &mut Rng| {
        let beginning = &beginnings[rng.below(8) as usize];
        Asked::new(&beginning.branch(rng, length / 2, length))
    };
    let held = (effort.choose(100_000, 400_000) / length).max(8);
    let known: Vec<Asked> = (0..held).map(|_| new(&mut rng)).collect();
    for asked in &known {
        let slot = rng.below(u64::from(ENDPOINTS)) as u32;
        for router in &mut routers {
            router.learn(asked, slot);
        }
    }

    let full = effort.race(routers.len(), |at, round, samples| {
        turn(TURN, |i| samples.push(per(routers[at].find(&known[(round * TURN + i) * 7 % known.len()]), 1)));
    });
    table.row(format!("{length} blocks: look up a known prompt"), Best::Lowest, cells(full));

    let mut unknown = Vec::new();
    let mut fresh = |round: usize, at: usize, asked: &mut Vec<Asked>| {
        // The first of a round makes its prompts for all.
        if at == round % 4 {
            *asked = (0..TURN).map(|_| new(&mut rng)).collect();
        }
    };
    let half = effort.race(routers.len(), |at, round, samples| {
        fresh(round, at, &mut unknown);
        unknown.iter().for_each(|asked| samples.push(per(routers[at].find(asked), 1)));
    });
    table.row(format!("{length} blocks: look up one known to the half"), Best::Lowest, cells(half));
    let learn = effort.race(routers.len(), |at, round, samples| {
        fresh(round, at, &mut unknown);
        let slot = round as u32 % ENDPOINTS;
        unknown.iter().for_each(|asked| samples.push(per(routers[at].learn(asked, slot), 1)));
    });
    table.row(format!("{length} blocks: learn one known to the half"), Best::Lowest, cells(learn));
    let both = effort.race(routers.len(), |at, round, samples| {
        fresh(round, at, &mut unknown);
        let slot = round as u32 % ENDPOINTS;
        unknown.iter().for_each(|asked| samples.push(per(routers[at].find_and_learn(asked, slot), 1)));
    });
    table.row(format!("{length} blocks: look up and learn one known to the half"), Best::Lowest, cells(both));
}

fn cells(samples: Vec<crate::race::Samples>) -> Vec<Cell> {
    samples.into_iter().map(|samples| samples.cell("")).collect()
}

/// What the trees call an endpoint.
fn tenant(slot: u32) -> String {
    format!("http://10.0.0.{slot}:8000")
}

/// The contestants, as the tables call them.
pub(super) const NAMES: [&str; 4] =
    ["slotwise tokens", "kv-index token tree", "slotwise text", "kv-index string tree"];
const ENDPOINTS: u32 = 64;
const TURN: usize = 8;
