//! The load of `tests/vllm/ranking.json` under two policies. `tests/vllm` sends the same load to
//! two real vLLM servers and compares the order.
//!
//! `BLESS=1 cargo test -p slotwise-sim --test policies_rank_as_on_real_servers` updates the file.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use slotwise::{BlockHash, Rng};
use slotwise_sim::fleet::{Setup, simulate};
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::replica::{Class, EngineConfig};
use slotwise_sim::trace::{Arrivals, Session, Trace, Turn};
use support::setup;

/// Clients of a closed loop. Client `c` of `n` sends the requests `c`, `c + n`, ... one by one.
#[derive(Deserialize, Serialize)]
struct Load {
    clients: usize,
    block_size: u32,
    kv_cache_tokens: u32,
    prefix_tokens: u32,
    own_tokens: u32,
    answer_tokens: u32,
    /// The first requests, from which a policy learns how short the answers are: not counted.
    learning: usize,
    /// The group of each request: requests of a group share their prefix.
    groups: Vec<u32>,
    /// The share of the other requests' prompt tokens that the simulated caches held, by policy.
    cached_share: BTreeMap<String, f64>,
}

impl Load {
    fn trace(&self) -> Trace {
        let turn = |(number, group): (usize, &u32)| {
            let block =
                |space: u64, at: u32| BlockHash(Rng::new(space << 32 | u64::from(at)).next_u64());
            let prefix = self.prefix_tokens / self.block_size;
            let whole = (self.prefix_tokens + self.own_tokens) / self.block_size;
            let shared = (0..prefix).map(|at| block(u64::from(*group), at));
            let own = (prefix..whole).map(|at| block(1_000 + number as u64, at));
            Turn {
                think: Duration::ZERO,
                input: self.prefix_tokens + self.own_tokens,
                output: self.answer_tokens,
                blocks: shared.chain(own).collect(),
                adapter: None,
            }
        };
        let client = |client: usize| {
            let requests = self.groups.iter().enumerate().skip(client).step_by(self.clients);
            Session { turns: requests.map(turn).collect(), ..Session::default() }
        };
        Trace {
            name: "ranking".into(),
            block_tokens: self.block_size,
            sessions: (0..self.clients).map(client).collect(),
            arrivals: Arrivals::Recorded { seconds: vec![0.0; self.clients], quantum: 0.0 },
        }
    }

    /// Two servers on a core each: a second for a prompt of 2,000 tokens.
    fn setup(&self) -> Setup {
        let class = Class {
            base: 0.005,
            floor: 0.01,
            lin: 0.0005,
            attn: 1e-8,
            kvr: 1e-7,
            kv_tokens: self.kv_cache_tokens,
            ..Class::default()
        };
        Setup { engine: EngineConfig { max_seqs: 8, ..EngineConfig::new(class) }, ..setup(2) }
    }

    fn simulated(&self, policy: &str) -> f64 {
        let kind = PolicyKind::named(policy).expect("known");
        let record = simulate(&self.trace(), &self.setup(), &kind);
        let counted = &record.requests[self.learning..];
        let cached: u32 = counted.iter().map(|request| request.cached).sum();
        let prompt = counted.len() as u32 * (self.prefix_tokens + self.own_tokens);
        (f64::from(cached) / f64::from(prompt) * 1e3).round() / 1e3
    }
}

#[test]
fn a_policy_that_follows_prefixes_finds_more_in_caches() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vllm/ranking.json");
    let text = fs::read_to_string(&path).expect("readable");
    let mut load: Load = serde_json::from_str(&text).expect("valid");
    let simulated: BTreeMap<String, f64> = ["round-robin", "slotwise"]
        .into_iter()
        .map(|policy| (policy.to_owned(), load.simulated(policy)))
        .collect();
    if env::var_os("BLESS").is_some() {
        load.cached_share.clone_from(&simulated);
        let text = serde_json::to_string(&load).expect("serializable");
        fs::write(path, text.replace(",\"", ",\n\"") + "\n").expect("writable");
    }
    assert_eq!(load.cached_share, simulated);
    // The margin is wide, so that the order of real servers is no matter of chance.
    assert!(simulated["slotwise"] > simulated["round-robin"] + 0.2, "{simulated:?}");
}
