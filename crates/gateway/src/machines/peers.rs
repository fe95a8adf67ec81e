//! [`Peers`]: messages between gateways, whose bytes are hexadecimal here.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::{BlockHash, Instant, PeerLoad, Priority, SharedService};

use super::{At, Calls};
use crate::gates::UsageChange;
use crate::json::{ArgumentError, Bits, read};
use crate::peers::{News, Peers, PeersConfig};
use crate::tree::Node;

struct PeersMachine(Peers);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    config: PeersConfig,
    /// Larger than at the last start.
    incarnation: Bits,
    #[serde(default)]
    hash_domain: Bits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnLoad {
    key: Bits,
    #[serde(default)]
    prefilling: u32,
    #[serde(default)]
    running: u32,
    #[serde(default)]
    booked_us: u64,
    #[serde(default)]
    kv_tokens: u64,
    #[serde(default)]
    backoff_us: u64,
    waiting: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnService {
    flow: Bits,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    requests: u32,
    #[serde(default)]
    charged_us: u64,
    #[serde(default)]
    refunded_us: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPrefix {
    key: Bits,
    block_tokens: u32,
    blocks: Vec<Bits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    key: Bits,
    window: u64,
    #[serde(default)]
    amount: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Used {
    key: Bits,
    step_us: u64,
    step: u64,
    #[serde(default)]
    booked: u64,
    #[serde(default)]
    refunded: u64,
    /// Only for gates.
    #[serde(default)]
    pub(super) at_us: u64,
}

impl Used {
    pub(super) const fn change(&self) -> UsageChange {
        UsageChange::new(self.key.0, self.step_us, self.step, self.booked, self.refunded)
    }
}

pub(super) fn used(change: UsageChange) -> Value {
    json!({
        "key": format!("{}", change.key),
        "step_us": change.step_us,
        "step": change.step,
        "booked": change.booked,
        "refunded": change.refunded,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    at_us: u64,
    message: String,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Creation { config, incarnation, hash_domain } = read(arguments)?;
    let peers = Peers::new(config, incarnation.0).map_err(|error| ArgumentError::of(&error))?;
    Ok(Box::new(PeersMachine(peers.hash_domain(hash_domain.0))))
}

impl Calls for PeersMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        let peers = &mut self.0;
        let at = Instant::from_micros;
        Some(match name {
            "set_load" => read(arguments).map(|it: OwnLoad| {
                peers.set_load(it.key.0, it.load());
                Value::Null
            }),
            "insert_prefix" => read(arguments).map(|it: OwnPrefix| {
                let blocks = it.blocks.iter().map(|block| BlockHash(block.0)).collect();
                peers.insert_prefix(it.key.0, it.block_tokens, blocks);
                Value::Null
            }),
            "serve" => read(arguments).map(|it: OwnService| {
                peers.serve(it.service());
                Value::Null
            }),
            "count" => read(arguments).map(|it: Count| {
                peers.count(it.key.0, it.window, it.amount);
                Value::Null
            }),
            "counted" => read(arguments).map(|it: Count| json!(peers.counted(it.key.0, it.window))),
            "count_usage" => read(arguments).map(|it: Used| {
                peers.count_usage(&it.change());
                Value::Null
            }),
            "poll_usage" => read(arguments)
                .map(|it: At| peers.poll_usage(at(it.at_us)).map_or(Value::Null, used)),
            "export_delta" => read(arguments)
                .map(|it: At| peers.export_delta(at(it.at_us)).map(|bytes| hex(&bytes)).into()),
            "apply_delta" => read(arguments).and_then(|it| self.apply(&it)),
            "poll_news" => read(arguments)
                .map(|it: At| peers.poll_news(at(it.at_us)).map_or(Value::Null, shown)),
            "next_timeout" => {
                read(arguments).map(|it: At| json!(peers.next_timeout(at(it.at_us)).as_micros()))
            }
            "alive" => Ok(peers.alive().collect::<Vec<_>>().into()),
            "metrics_text" => read(arguments).map(|it: At| peers.metrics_text(at(it.at_us)).into()),
            "stats" => serde_json::to_value(peers.stats()).map_err(|e| ArgumentError::of(&e)),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &[
            "set_load",
            "insert_prefix",
            "count",
            "counted",
            "count_usage",
            "poll_usage",
            "export_delta",
            "apply_delta",
            "poll_news",
            "next_timeout",
            "alive",
            "metrics_text",
            "stats",
        ]
    }
}

impl PeersMachine {
    /// What the message was, or why it was rejected.
    fn apply(&mut self, received: &Received) -> Result<Value, ArgumentError> {
        let bytes = bytes(&received.message).ok_or_else(|| {
            ArgumentError::new("message must be pairs of hexadecimal digits".into())
        })?;
        let applied = self.0.apply_delta(Instant::from_micros(received.at_us), &bytes);
        Ok(match applied {
            Ok(applied) => json!({ "applied": applied.as_str() }),
            Err(error) => {
                json!({"rejected": {"code": error.code(), "message": format!("{error}")}})
            }
        })
    }
}

impl OwnLoad {
    fn load(&self) -> PeerLoad {
        let mut load = PeerLoad::default();
        (load.prefilling, load.running) = (self.prefilling, self.running);
        load.booked = Duration::from_micros(self.booked_us);
        load.kv_tokens = self.kv_tokens;
        load.backoff = Duration::from_micros(self.backoff_us);
        load.waiting = self.waiting;
        load
    }
}

impl OwnService {
    fn service(&self) -> SharedService {
        let mut service = SharedService::default();
        (service.flow, service.priority) = (self.flow.0, Priority(self.priority));
        service.requests = self.requests;
        service.charged = Duration::from_micros(self.charged_us);
        service.refunded = Duration::from_micros(self.refunded_us);
        service
    }
}

fn shown(news: News) -> Value {
    let text = |bits: u64| format!("{bits}");
    match news {
        News::Load { key, load } => {
            let mut shown = json!({
                "key": text(key),
                "prefilling": load.prefilling,
                "running": load.running,
                "booked_us": load.booked.as_micros() as u64,
                "kv_tokens": load.kv_tokens,
                "backoff_us": load.backoff.as_micros() as u64,
            });
            if let Some(priority) = load.waiting {
                shown["waiting"] = priority.into();
            }
            json!({"load": shown})
        }
        News::Service(service) => json!({"service": {
            "flow": text(service.flow),
            "priority": service.priority.0,
            "requests": service.requests,
            "charged_us": service.charged.as_micros() as u64,
            "refunded_us": service.refunded.as_micros() as u64,
        }}),
        News::Prefix { key, block_tokens, blocks } => json!({"prefix": {
            "key": text(key),
            "block_tokens": block_tokens,
            "blocks": blocks.iter().map(|block| text(block.0)).collect::<Vec<_>>(),
        }}),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
