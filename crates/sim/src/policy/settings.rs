//! The settings that each policy reads, so that a setting without effect is refused.

use std::time::Duration;

use ::slotwise::KvTransferCost;

use super::{DISAGGREGATED, FLOW, Fleet, POLICIES, PolicyKind};
use crate::pools::Pools;
use crate::replica::{AdapterRanks, Class};
use crate::service_level::ServiceLevel;

/// A setting that only some policies read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    /// How often metrics are scraped.
    ScrapeInterval,
    /// The delay of metrics and KV events.
    NewsDelay,
    /// How long a request may wait at the gateway.
    Ttl,
    /// The priorities of requests.
    Priorities,
    /// The tenants of requests.
    Tenants,
    /// Holding back new sessions while no cache has room.
    Guard,
    /// The roles of replicas, and the network between them.
    Pools,
    /// Several gateways.
    Gateways,
}

impl PolicyKind {
    /// Whether this policy's decisions can depend on the setting.
    pub fn reads(&self, setting: Setting) -> bool {
        let needs = || self.build(&any_fleet()).needs();
        match setting {
            Setting::ScrapeInterval => needs().metrics,
            Setting::NewsDelay => needs().metrics || needs().kv_events,
            Setting::Ttl => FLOW.iter().any(|kind| kind.name == self.name),
            Setting::Priorities => ["slotwise-flow", "gie-flow"].contains(&self.name),
            Setting::Pools => DISAGGREGATED.iter().any(|kind| kind.name == self.name),
            Setting::Gateways => self.name == "slotwise",
            Setting::Tenants | Setting::Guard => self.name == "slotwise-flow",
        }
    }
}

impl Setting {
    /// Refuses the setting if none of these policies reads it.
    ///
    /// # Errors
    ///
    /// Names the `option` that sets it, and the policies that read it.
    pub fn check(self, option: &str, policies: &[PolicyKind]) -> Result<(), String> {
        if policies.iter().any(|kind| kind.reads(self)) {
            return Ok(());
        }
        let all = POLICIES.iter().chain(&FLOW).chain(&DISAGGREGATED);
        let readers = all.filter(|kind| kind.reads(self));
        let readers: Vec<&str> = readers.map(|kind| kind.name).collect();
        let chosen = match policies {
            [] | [_, _, _, _, ..] => "any of the policies".to_owned(),
            few => few.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", "),
        };
        let one_of = if readers.len() > 1 { "one of " } else { "" };
        Err(format!(
            "{option} has no effect on {chosen}: add {one_of}{} to --policies",
            readers.join(", ")
        ))
    }
}

/// A fleet that any policy can be built for.
fn any_fleet() -> Fleet {
    Fleet {
        replicas: 1,
        pools: Pools { prefill: 0, decode: 0, transfer: KvTransferCost::default() },
        class: Class::default(),
        mix: Class::default().into(),
        deadline: Duration::MAX,
        level: ServiceLevel::default(),
        block_tokens: 64,
        chunk: 2_048,
        adapter_slots: 1,
        adapter_load_time: Duration::ZERO,
        adapter_ranks: AdapterRanks::default(),
        ttl: Duration::from_secs(60),
        guard: false,
        gateways: None,
        seed: 1,
    }
}
