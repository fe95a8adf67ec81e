//! Several gateways in front of one pool: the messages between them.
//!
//! Each gateway counts exactly what it has in flight, and knows which prompts it has sent where.
//! With N gateways, each knows 1/N of that. Messages between gateways carry the rest.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Peers`]: this gateway's state and that of its peers, and what it sends |
//! | `receiving` | what messages of peers change, and their silence |
//! | `quotas` | the usage of API keys, between gates and peers |
//! | `link` | [`PeerLink`]: the same, joined to a scheduler |
//! | `config` | [`PeersConfig`], [`PeerLimits`] |
//! | `outbox` | what has to be sent, and when |
//! | `peer` | what one peer has claimed |
//! | `waiting` | the flows of one peer that wait |
//! | `window` | which messages of a peer have arrived |
//! | `usage` | what gateways have used of the limits of API keys |
//! | `known` | prompts of which only new blocks are sent |
//! | `message` | a message as a value and as bytes |
//! | `codec` | integers and sections as bytes |
//! | `seal` | the shared key |
//! | `exposition` | metrics of the link |
//! | `error` | [`PeerError`] |
//!
//! # Properties
//!
//! - A message carries state, not changes: applied twice or in another order, the result is equal.
//! - A lost message is noticed by its sequence, asked for, and sent again. A gateway that starts
//!   late asks for the whole state.
//! - A peer that is silent for [`PeersConfig::silence`] no longer counts. When it comes back, its
//!   claims replace the old ones.
//! - A host sends each message to all peers, by any transport: it may lose, repeat and reorder.
//! - What one peer may claim is limited by [`PeerLimits`], and so are bytes and memory.

mod codec;
mod config;
mod error;
mod exposition;
mod known;
mod link;
mod message;
mod outbox;
mod peer;
mod quotas;
mod receiving;
mod seal;
mod usage;
mod waiting;
mod window;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::{BlockHash, Instant, PeerLoad, Priority, SharedService};

use crate::InvalidField;

pub use config::{PeerLimits, PeersConfig};
pub use error::PeerError;
pub use link::PeerLink;
pub use seal::PeerKey;

use known::KnownPrompts;
use message::{Ask, Kind, Message, Prefix};
use outbox::Outbox;
use peer::Peer;
use usage::{Former, UsageNews};
use waiting::FlowAt;

/// This gateway's state for its peers, and theirs.
///
/// It knows no scheduler: [`PeerLink`] joins it to one. Endpoints are keys of 64 bits.
///
/// ```
/// use slotwise::{Instant, PeerLoad};
/// use slotwise_gateway::peers::{Applied, News, PeerKey, Peers, PeersConfig};
///
/// let gateway = |name: &str| Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
/// let (mut a, mut b) = (gateway("a")?, gateway("b")?);
/// let now = Instant::from_micros(1);
/// let mut load = PeerLoad::default();
/// (load.prefilling, load.kv_tokens) = (1, 2_000);
/// a.set_load(5, load);
///
/// let bytes = a.export_delta(now).expect("something has changed");
/// assert_eq!(b.apply_delta(now, &bytes), Ok(Applied::New));
/// assert_eq!(b.poll_news(now), Some(News::Load { key: 5, load }));
/// assert_eq!(b.apply_delta(now, &bytes), Ok(Applied::Repeated), "no effect");
/// assert_eq!(b.poll_news(now), None);
/// # Ok::<(), slotwise_gateway::InvalidField>(())
/// ```
#[derive(Debug)]
pub struct Peers {
    config: PeersConfig,
    incarnation: u64,
    domain: u64,
    outbox: Outbox,
    peers: BTreeMap<String, Peer>,
    /// No peer falls silent before.
    silent_at: Instant,
    /// The living peers' claims on each endpoint.
    totals: BTreeMap<u64, Total>,
    /// Endpoints whose sums have changed since they were polled.
    changed: BTreeSet<u64>,
    /// Flows that have begun or ceased to wait at some peer since they were polled.
    changed_flows: BTreeSet<FlowAt>,
    /// Prompts and service that wait to be polled.
    told: VecDeque<News>,
    known: KnownPrompts,
    usage: UsageNews,
    /// Usage of earlier starts of peers, by name and incarnation.
    former: BTreeMap<(String, u64), Former>,
    /// Usage of earlier starts of this gateway, which peers have returned.
    inherited: BTreeMap<u64, Former>,
    stats: PeersStats,
    /// Rejected messages, in the order of [`PeerError::CODES`].
    rejections: [u64; PeerError::CODES.len()],
    /// The service of all flows that peers have reported.
    service: SharedService,
}

/// The claims of all living peers on an endpoint.
#[derive(Debug, Default)]
struct Total {
    /// Their sum, without backoffs and what waits.
    load: PeerLoad,
    /// How many of them have a backoff, or requests that wait.
    hold: usize,
}

/// What a message was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Applied {
    /// A message that had not arrived before.
    New,
    /// One without contents: its sender is alive.
    Beacon,
    /// One that had arrived before.
    Repeated,
    /// One that is too old to matter, also of an earlier start of its sender.
    Old,
    /// One of this gateway.
    Own,
}

impl Applied {
    /// Its name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Beacon => "beacon",
            Self::Repeated => "repeated",
            Self::Old => "old",
            Self::Own => "own",
        }
    }
}

/// What messages of peers have changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum News {
    /// The load of all peers on an endpoint.
    Load {
        /// The endpoint.
        key: u64,
        /// Their sum; the longest of their backoffs, and the highest priority that waits.
        load: PeerLoad,
    },
    /// A prompt that a peer has sent to an endpoint.
    Prefix {
        /// The endpoint.
        key: u64,
        /// Tokens in a block.
        block_tokens: u32,
        /// Its blocks; from the first on, unless that part was lost.
        blocks: Vec<BlockHash>,
    },
    /// What a flow has received from a peer, and whether it waits at any living peer.
    Service(SharedService),
}

/// Counts of messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PeersStats {
    /// Messages that were sent, and their bytes.
    pub sent: u64,
    /// Bytes of the messages that were sent.
    pub sent_bytes: u64,
    /// Messages that were sent again; also in `sent`.
    pub repeated: u64,
    /// Messages that were applied, own and repeated ones included.
    pub received: u64,
    /// Bytes of these.
    pub received_bytes: u64,
    /// Messages that were rejected.
    pub rejected: u64,
    /// Prompts whose first blocks had not arrived.
    pub headless: u64,
    /// Prompts and claims that limits have left out, here and at the receiving end.
    pub left_out: u64,
    /// Peers whose claims count.
    pub alive: usize,
}

impl Peers {
    /// The state of a gateway. `incarnation` must be larger than at its last start, such as the
    /// time of the start in microseconds.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] names the field and what it must be.
    pub fn new(config: PeersConfig, incarnation: u64) -> Result<Self, InvalidField> {
        config.validate()?;
        Ok(Self {
            known: KnownPrompts::new(config.limits.known_blocks),
            config,
            incarnation,
            domain: 0,
            outbox: Outbox::default(),
            peers: BTreeMap::new(),
            silent_at: Instant::ORIGIN,
            totals: BTreeMap::new(),
            changed: BTreeSet::new(),
            changed_flows: BTreeSet::new(),
            told: VecDeque::new(),
            usage: UsageNews::default(),
            former: BTreeMap::new(),
            inherited: BTreeMap::new(),
            stats: PeersStats::default(),
            rejections: [0; PeerError::CODES.len()],
            service: SharedService::default(),
        })
    }

    /// The same, for messages of gateways with this [hash
    /// domain](slotwise::Scheduler::hash_domain) only.
    pub fn hash_domain(self, domain: u64) -> Self {
        Self { domain, ..self }
    }

    /// Sets this gateway's load on an endpoint.
    pub fn set_load(&mut self, key: u64, load: PeerLoad) {
        self.outbox.set_load(key, load, self.config.limits.endpoints);
    }

    /// This gateway has sent a prompt with these blocks to an endpoint, or its request has ended
    /// there: both are uses of the blocks. Computes in **O(blocks)**.
    pub fn insert_prefix(&mut self, key: u64, block_tokens: u32, blocks: Vec<BlockHash>) {
        if blocks.is_empty() {
            return;
        }
        let known = self.known.beginning(&blocks);
        let parent = known.checked_sub(1).map(|last| blocks[last]);
        let new = blocks[known..].to_vec();
        let prefix = Prefix { key, block_tokens, parent, blocks: new };
        if self.outbox.insert(prefix, self.config.limits.sent_blocks_per_second) {
            self.known.learn(parent.filter(|_| known < blocks.len()), blocks);
        }
    }

    /// A flow of this gateway has received service, or less of it than was reported before; or it
    /// has begun or ceased to wait.
    pub fn serve(&mut self, service: SharedService) {
        self.outbox.serve(service);
    }

    /// Adds to the counter of a key in a window, such as the tokens of an API key in a minute. Of
    /// too many, those of the oldest windows are forgotten.
    pub fn count(&mut self, key: u64, window: u64, amount: u64) {
        self.outbox.count(key, window, amount, self.config.limits.counters);
    }

    /// The counter of a key in a window, of this gateway and of all peers, also silent ones: what
    /// was used stays used.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};
    ///
    /// let gateway = |name: &str| Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
    /// let (mut a, mut b) = (gateway("a")?, gateway("b")?);
    /// a.count(1, 60, 500);
    /// b.count(1, 60, 300);
    /// let bytes = a.export_delta(Instant::from_micros(1)).expect("a counter has changed");
    /// b.apply_delta(Instant::from_micros(1), &bytes).expect("sealed with the same key");
    /// assert_eq!((b.counted(1, 60), b.counted(1, 61)), (800, 0));
    /// # Ok::<(), slotwise_gateway::InvalidField>(())
    /// ```
    pub fn counted(&self, key: u64, window: u64) -> u64 {
        let peers = self.peers.values().map(|peer| peer.counter(key, window));
        peers.fold(self.outbox.counter(key, window), u64::saturating_add)
    }

    /// The next message for all peers, if one is due. Call it until it returns `None`: peers may
    /// have asked for messages again.
    pub fn export_delta(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.expire(now);
        if self.outbox.due(&self.config, self.has_asks(now)) > now {
            return None;
        }
        if let Some(bytes) = self.outbox.repeat(now, self.config.heartbeat) {
            self.stats.repeated += 1;
            return Some(self.sent(bytes));
        }
        let mut message = Message {
            sender: self.config.name.clone(),
            incarnation: self.incarnation,
            domain: self.domain,
            asks: self.ask(now),
            ..Message::default()
        };
        self.outbox.fill(now, &self.config, &mut message);
        if message.kind == Kind::Full {
            self.return_usage(now, &mut message);
        }
        let bytes = self.config.key.seal(message.encode());
        if message.kind != Kind::Beacon {
            self.outbox.keep(message.sequence, &bytes, self.config.limits.repair_bytes);
        }
        Some(self.sent(bytes))
    }

    /// What messages and silence have changed since the last call, if anything: the prompts and the
    /// service of flows first.
    pub fn poll_news(&mut self, now: Instant) -> Option<News> {
        self.expire(now);
        if let Some(news) = self.told.pop_front() {
            return Some(news);
        }
        if let Some((priority, flow)) = self.changed_flows.pop_first() {
            let mut service = SharedService::default();
            (service.priority, service.flow) = (Priority(priority), flow);
            return Some(News::Service(self.with_state(service)));
        }
        let key = self.changed.pop_first()?;
        Some(News::Load { key, load: self.load(now, key) })
    }

    /// The service with the state of its flow at all living peers.
    fn with_state(&self, mut service: SharedService) -> SharedService {
        let at = (service.priority.0, service.flow);
        let living = self.peers.values().filter(|peer| peer.is_alive);
        let weight = living.filter_map(|peer| peer.flows().weight(at)).max();
        service.waits = weight.is_some();
        service.weight = weight.unwrap_or(service.weight);
        service
    }

    /// The load of all living peers on an endpoint.
    pub fn load(&self, now: Instant, key: u64) -> PeerLoad {
        let Some(total) = self.totals.get(&key) else { return PeerLoad::default() };
        let mut load = total.load;
        let living = self.peers.values().filter(|peer| peer.is_alive);
        for peer in living.filter(|_| total.hold > 0) {
            load.backoff = load.backoff.max(peer.backoff(now, key));
            load.waiting = load.waiting.max(peer.waiting(key));
        }
        load
    }

    /// When to call [`export_delta`](Self::export_delta) and [`poll_news`](Self::poll_news) again,
    /// unless something happens before.
    pub fn next_timeout(&self, now: Instant) -> Instant {
        let living = self.peers.values().filter(|peer| peer.is_alive);
        let silent = living.map(|peer| peer.heard + self.config.silence).min();
        let due = self.outbox.due(&self.config, self.has_asks(now));
        silent.map_or(due, |silent| silent.min(due))
    }

    /// Names of the living peers.
    pub fn alive(&self) -> impl Iterator<Item = &str> {
        self.peers.iter().filter(|(_, peer)| peer.is_alive).map(|(name, _)| &**name)
    }

    /// Whether all messages of the living peers have arrived, as far as is known.
    pub fn is_complete(&self) -> bool {
        self.peers.values().all(|peer| !peer.is_alive || peer.window.is_complete())
    }

    /// Counts of messages.
    pub fn stats(&self) -> PeersStats {
        let left_out: u64 = self.peers.values().map(|peer| peer.left_out).sum();
        PeersStats {
            left_out: self.stats.left_out + self.outbox.left_out + left_out,
            alive: self.alive().count(),
            ..self.stats
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &PeersConfig {
        &self.config
    }

    /// Whether a peer has to be asked for messages now.
    fn has_asks(&self, now: Instant) -> bool {
        self.peers.values().any(|peer| self.asks_of(now, peer))
    }

    fn asks_of(&self, now: Instant, peer: &Peer) -> bool {
        // What is only late arrives within an interval. An answer takes two.
        let (late, answer) = (self.config.interval, self.config.interval * 2);
        let is_lost = peer.window.has_lost();
        peer.is_alive
            && peer.missing_since.is_some_and(|since| is_lost || since + late <= now)
            && peer.asked.is_none_or(|asked| asked + answer <= now)
    }

    fn ask(&mut self, now: Instant) -> Vec<Ask> {
        let names: Vec<String> = self
            .peers
            .iter()
            .filter(|(_, peer)| self.asks_of(now, peer))
            .map(|(name, _)| name.clone())
            .collect();
        let mut asks = Vec::new();
        for to in names {
            let Some(peer) = self.peers.get_mut(&to) else { continue };
            peer.asked = Some(now);
            let lost = peer.window.has_lost();
            let sequences = if lost { Vec::new() } else { peer.window.missing().collect() };
            asks.push(Ask { to, incarnation: peer.incarnation, sequences });
        }
        asks
    }

    fn sent(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.stats.sent += 1;
        self.stats.sent_bytes += bytes.len() as u64;
        bytes
    }
}
