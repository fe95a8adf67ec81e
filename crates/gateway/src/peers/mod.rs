//! Several gateways in front of one pool: the messages between them.
//!
//! Each gateway counts exactly what it has in flight, and knows which prompts it has sent where.
//! With N gateways, each knows 1/N of that. Messages between gateways carry the rest.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Peers`]: this gateway's state and that of its peers |
//! | `link` | [`PeerLink`]: the same, joined to a scheduler |
//! | `config` | [`PeersConfig`], [`PeerLimits`] |
//! | `outbox` | what has to be sent, and when |
//! | `peer` | what one peer has claimed |
//! | `window` | which messages of a peer have arrived |
//! | `usage` | what gateways have used of the limits of API keys |
//! | `known` | prompts of which only new blocks are sent |
//! | `message` | a message as a value and as bytes |
//! | `codec` | integers and sections as bytes |
//! | `seal` | the shared key |
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
mod known;
mod link;
mod message;
mod outbox;
mod peer;
mod seal;
mod usage;
mod window;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::{BlockHash, Instant, PeerLoad};

use crate::InvalidField;
use crate::gates::{Gates, UsageChange};

pub use config::{PeerLimits, PeersConfig};
pub use error::PeerError;
pub use link::PeerLink;
pub use seal::PeerKey;

use known::KnownPrompts;
use message::{Ask, Kind, Message, Prefix, Returned};
use outbox::Outbox;
use peer::{Change, Peer};
use usage::{Former, UsageNews};
use window::Receipt;

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
    /// The sum of the living peers' claims on each endpoint, without backoffs.
    totals: BTreeMap<u64, PeerLoad>,
    /// Endpoints whose sums have changed since they were polled.
    changed: BTreeSet<u64>,
    prefixes: VecDeque<News>,
    known: KnownPrompts,
    usage: UsageNews,
    /// Usage of earlier starts of peers, by name and incarnation.
    former: BTreeMap<(String, u64), Former>,
    /// Usage of earlier starts of this gateway, which peers have returned.
    inherited: BTreeMap<u64, Former>,
    stats: PeersStats,
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
        /// Their sum; the longest of their backoffs.
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
            totals: BTreeMap::new(),
            changed: BTreeSet::new(),
            prefixes: VecDeque::new(),
            usage: UsageNews::default(),
            former: BTreeMap::new(),
            inherited: BTreeMap::new(),
            stats: PeersStats::default(),
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

    /// Reports what the gates have counted, and counts in them what peers have reported, if their
    /// configuration [shares](crate::gates::GatesConfig::shared) it. Call it before
    /// [`export_delta`](Self::export_delta) and after [`apply_delta`](Self::apply_delta). One
    /// gateway has one `Gates`.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise_gateway::gates::{Access, Demand, Gates, GatesConfig};
    /// use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};
    ///
    /// let gateway = |name: &str| {
    ///     let mut access = Access::default();
    ///     access.limits.requests_per_minute = Some(2);
    ///     let mut config = GatesConfig::default();
    ///     (config.anonymous, config.shared) = (Some(access), true);
    ///     let peers = Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
    ///     (peers.expect("valid"), Gates::new(config).expect("valid"))
    /// };
    /// let ((mut a, mut gates_of_a), (mut b, mut gates_of_b)) = (gateway("a"), gateway("b"));
    /// let now = Instant::from_micros(1_000_000);
    /// let (caller, demand) = (gates_of_a.identify_key(None)?, Demand::new("llama", 10, 10));
    /// let grants = [(); 2].map(|()| gates_of_a.admit(now, &caller, &demand).expect("two pass"));
    ///
    /// a.exchange_usage(now, &mut gates_of_a);
    /// let bytes = a.export_delta(now).expect("usage has changed");
    /// b.apply_delta(now, &bytes)?;
    /// b.exchange_usage(now, &mut gates_of_b);
    /// assert!(gates_of_b.admit(now, &caller, &demand).is_err());
    /// # grants.into_iter().for_each(|grant| gates_of_a.cancel(now, grant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exchange_usage(&mut self, now: Instant, gates: &mut Gates) {
        while let Some(change) = gates.poll_usage_change() {
            self.count_usage(&change);
        }
        while let Some(change) = self.poll_usage(now) {
            gates.handle_peer_usage(now, change);
        }
    }

    /// Reports what gates have counted. [`exchange_usage`](Self::exchange_usage) calls it.
    pub fn count_usage(&mut self, change: &UsageChange) {
        self.outbox.use_up(change, self.config.limits.usage);
    }

    /// The next usage of peers that gates have to count, in a step of this gateway's clock.
    pub fn poll_usage(&mut self, now: Instant) -> Option<UsageChange> {
        self.expire(now);
        if !core::mem::replace(&mut self.usage.is_wanted, true) {
            self.repeat_usage();
        }
        self.usage.poll()
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

    /// Applies a message of a peer.
    ///
    /// # Errors
    ///
    /// [`PeerError`], if it cannot be trusted or read. Nothing of it is applied then.
    pub fn apply_delta(&mut self, now: Instant, bytes: &[u8]) -> Result<Applied, PeerError> {
        self.expire(now);
        let applied = self.apply(now, bytes);
        match applied {
            Ok(_) => {
                self.stats.received += 1;
                self.stats.received_bytes += bytes.len() as u64;
            }
            Err(_) => self.stats.rejected += 1,
        }
        applied
    }

    /// What messages and silence have changed since the last call, if anything: the prompts first.
    pub fn poll_news(&mut self, now: Instant) -> Option<News> {
        self.expire(now);
        if let Some(prefix) = self.prefixes.pop_front() {
            return Some(prefix);
        }
        let key = self.changed.pop_first()?;
        Some(News::Load { key, load: self.load(now, key) })
    }

    /// The load of all living peers on an endpoint.
    pub fn load(&self, now: Instant, key: u64) -> PeerLoad {
        let mut load = self.totals.get(&key).copied().unwrap_or_default();
        let living = self.peers.values().filter(|peer| peer.is_alive);
        load.backoff = living.map(|peer| peer.backoff(now, key)).max().unwrap_or_default();
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

    fn apply(&mut self, now: Instant, bytes: &[u8]) -> Result<Applied, PeerError> {
        let limit = self.config.limits.message_bytes;
        if bytes.len() > limit {
            return Err(PeerError::TooLarge { bytes: bytes.len(), limit });
        }
        let message = self.config.key.open(bytes).ok_or(PeerError::Seal)?;
        let message = Message::decode(message)?;
        if message.domain != self.domain {
            return Err(PeerError::Seed);
        }
        if message.sender == self.config.name {
            let own = message.incarnation == self.incarnation;
            return if own { Ok(Applied::Own) } else { Err(PeerError::NameInUse) };
        }
        self.admit(now, &message)?;
        let Some(peer) = self.peers.get_mut(&message.sender) else { return Ok(Applied::Old) };
        if message.incarnation < peer.incarnation {
            return Ok(Applied::Old);
        }
        let is_newest = message.number > peer.number;
        if is_newest {
            (peer.number, peer.heard) = (message.number, now);
        }
        let revived = is_newest && !peer.is_alive;
        peer.is_alive |= is_newest;
        if revived {
            let claims: Vec<_> = peer.loads().collect();
            for (key, load) in claims {
                self.replace(Change { key, before: PeerLoad::default(), after: load });
            }
            self.count_in_flight(&message.sender, true);
        }
        let applied = self.take(now, &message);
        if is_newest {
            self.answer(&message);
        }
        Ok(applied)
    }

    /// Makes a place for the sender, if it is new or has started anew.
    fn admit(&mut self, now: Instant, message: &Message) -> Result<(), PeerError> {
        match self.peers.get(&message.sender) {
            Some(known) if known.incarnation >= message.incarnation => return Ok(()),
            Some(_) => {
                self.forget(&message.sender.clone());
                self.outbox.send_whole();
            }
            None => {
                let limit = self.config.limits.peers;
                if self.peers.len() >= limit {
                    let silent = self.peers.iter().filter(|(_, peer)| !peer.is_alive);
                    let longest = silent.min_by_key(|(_, peer)| peer.heard);
                    let name = longest.map(|(name, _)| name.clone());
                    let name = name.ok_or(PeerError::TooManyPeers { limit })?;
                    self.forget(&name);
                    self.former.retain(|(of, _), _| *of != name);
                }
            }
        }
        let peer = Peer::new(now, message.incarnation);
        self.peers.insert(message.sender.clone(), peer);
        Ok(())
    }

    fn take(&mut self, now: Instant, message: &Message) -> Applied {
        let limits = &self.config.limits;
        let Some(peer) = self.peers.get_mut(&message.sender) else { return Applied::Old };
        let mut changes = Vec::new();
        let applied = if message.kind == Kind::Beacon {
            peer.window.expect(message.sequence);
            Applied::Beacon
        } else {
            match peer.take(now, message, limits, |change| changes.push(change)) {
                Receipt::New => Applied::New,
                Receipt::Seen => Applied::Repeated,
                Receipt::Old => Applied::Old,
            }
        };
        if peer.window.is_complete() {
            (peer.missing_since, peer.asked) = (None, None);
        } else if peer.missing_since.is_none() {
            peer.missing_since = Some(now);
        }
        let counts = peer.is_alive;
        if applied == Applied::New {
            peer.use_up(now, message, limits, &mut self.usage);
            self.inherit(now, message);
            for prefix in &message.prefixes {
                self.take_prefix(now, &message.sender, prefix);
            }
        }
        if counts {
            changes.into_iter().for_each(|change| self.replace(change));
        }
        applied
    }

    fn take_prefix(&mut self, now: Instant, sender: &str, prefix: &Prefix) {
        let limits = &self.config.limits;
        let begin = prefix.parent.and_then(|parent| self.known.ending_in(parent));
        self.stats.headless += u64::from(prefix.parent.is_some() && begin.is_none());
        let whole = prefix.parent.is_none() || begin.is_some();
        let begin = begin.unwrap_or_default();
        let length = begin.len() + prefix.blocks.len();
        let Some(peer) = self.peers.get_mut(sender) else { return };
        // Known blocks are cheaper than new ones, but not free.
        let price = prefix.blocks.len() + begin.len() / 16;
        if !peer.allows(now, price, limits) || length > limits.known_blocks {
            return;
        }
        let blocks = [begin, &prefix.blocks].concat();
        if whole {
            let continues = prefix.parent.filter(|_| !prefix.blocks.is_empty());
            self.known.learn(continues, blocks.clone());
        }
        if self.prefixes.len() >= MOST_NEWS {
            self.prefixes.pop_front();
            self.stats.left_out += 1;
        }
        let Prefix { key, block_tokens, .. } = *prefix;
        if !blocks.is_empty() {
            self.prefixes.push_back(News::Prefix { key, block_tokens, blocks });
        }
    }

    /// Notes what the sender asks of this gateway.
    fn answer(&mut self, message: &Message) {
        for ask in &message.asks {
            if ask.to == self.config.name && ask.incarnation == self.incarnation {
                self.outbox.ask(&ask.sequences);
            }
        }
    }

    /// Replaces one peer's part of a sum.
    fn replace(&mut self, Change { key, before, after }: Change) {
        let total = self.totals.entry(key).or_default();
        total.prefilling = total.prefilling - before.prefilling + after.prefilling;
        total.running = total.running - before.running + after.running;
        total.booked = total.booked - before.booked + after.booked;
        total.kv_tokens = total.kv_tokens - before.kv_tokens + after.kv_tokens;
        if *total == PeerLoad::default() {
            self.totals.remove(&key);
        }
        self.changed.insert(key);
    }

    /// The claims of peers that have been silent for too long no longer count.
    fn expire(&mut self, now: Instant) {
        let silence = self.config.silence;
        let is_silent = |peer: &Peer| peer.is_alive && peer.heard + silence <= now;
        if !self.peers.values().any(is_silent) {
            return;
        }
        let (mut claims, mut silent) = (Vec::new(), Vec::new());
        for (name, peer) in self.peers.iter_mut().filter(|(_, peer)| is_silent(peer)) {
            peer.is_alive = false;
            claims.extend(peer.loads());
            silent.push(name.clone());
        }
        silent.iter().for_each(|name| self.count_in_flight(name, false));
        for (key, load) in claims {
            self.replace(Change { key, before: load, after: PeerLoad::default() });
        }
    }

    fn forget(&mut self, name: &str) {
        if self.peers.get(name).is_some_and(|peer| peer.is_alive) {
            self.count_in_flight(name, false);
        }
        let Some(mut peer) = self.peers.remove(name) else { return };
        let totals = core::mem::take(&mut peer.usage);
        if !totals.is_empty() {
            let former = Former { clock: peer.clock, totals };
            if self.former.len() >= self.config.limits.peers {
                self.former.pop_first();
            }
            self.former.insert((name.into(), peer.incarnation), former);
        }
        for (key, load) in peer.loads().filter(|_| peer.is_alive) {
            self.replace(Change { key, before: load, after: PeerLoad::default() });
        }
    }

    /// A peer's requests in flight count from now on, or no longer.
    fn count_in_flight(&mut self, name: &str, count: bool) {
        let Some(peer) = self.peers.get(name) else { return };
        for (key, left) in peer.usage.in_flight() {
            let (booked, refunded) = if count { (left, 0) } else { (0, left) };
            self.usage.push(UsageChange::new(key, 0, 0, booked, refunded));
        }
    }

    /// Reports all usage that is known: there are gates now.
    fn repeat_usage(&mut self) {
        let news = &mut self.usage;
        for peer in self.peers.values() {
            let windows = peer.usage.iter().filter(|total| total.step_us > 0);
            windows.for_each(|total| news.push(peer.clock.here(total)));
            if peer.is_alive {
                let of = |(key, left)| UsageChange::new(key, 0, 0, left, 0);
                peer.usage.in_flight().for_each(|it| news.push(of(it)));
            }
        }
        for former in self.former.values().chain(self.inherited.values()) {
            let windows = former.totals.iter().filter(|total| total.step_us > 0);
            windows.for_each(|total| news.push(former.clock.here(total)));
        }
    }

    /// Adds the usage of earlier starts of peers: they have lost it.
    fn return_usage(&mut self, now: Instant, message: &mut Message) {
        self.former.retain(|_, former| {
            former.totals.prune(former.clock.theirs(now));
            former.totals.iter().any(|total| total.step_us > 0)
        });
        message.returned.extend(self.former.iter().map(|((to, incarnation), former)| Returned {
            to: to.clone(),
            incarnation: *incarnation,
            clock: former.clock.theirs(now),
            usage: former.totals.iter().filter(|total| total.step_us > 0).collect(),
        }));
    }

    /// Takes the usage of earlier starts of this gateway.
    fn inherit(&mut self, now: Instant, message: &Message) {
        let own = message.returned.iter().filter(|it| it.to == self.config.name);
        for returned in own.filter(|it| it.incarnation < self.incarnation) {
            let known = self.inherited.len();
            let former = match self.inherited.get_mut(&returned.incarnation) {
                Some(former) => former,
                None if known >= MOST_STARTS => continue,
                None => self.inherited.entry(returned.incarnation).or_default(),
            };
            former.clock.observe(now, returned.clock);
            former.totals.prune(former.clock.theirs(now));
            for total in returned.usage.iter().filter(|total| total.step_us > 0) {
                if let Some(grown) = former.totals.merge(total, self.config.limits.usage) {
                    self.usage.push(former.clock.here(grown));
                }
            }
        }
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

/// Prompts of peers that wait to be polled.
const MOST_NEWS: usize = 4_096;
/// Earlier starts of this gateway whose usage counts.
const MOST_STARTS: usize = 8;
