//! What messages of peers change, and what their silence does.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use slotwise::{Instant, PeerLoad, SharedService};

use super::message::{Kind, Message, Prefix};
use super::peer::{Change, Peer};
use super::usage::Former;
use super::window::Receipt;
use super::{Applied, News, PeerError, Peers};

impl Peers {
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
            Err(error) => {
                self.stats.rejected += 1;
                self.rejections[error.number()] += 1;
            }
        }
        applied
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
        self.silent_at = self.silent_at.min(now + self.config.silence);
        if revived {
            let claims: Vec<_> = peer.loads().collect();
            let flows: Vec<_> = peer.flows().iter().collect();
            for (key, load) in claims {
                self.replace(Change { key, before: PeerLoad::default(), after: load });
            }
            self.changed_flows.extend(flows);
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
        self.silent_at = self.silent_at.min(now + self.config.silence);
        let peer = Peer::new(now, message.incarnation);
        self.peers.insert(message.sender.clone(), peer);
        Ok(())
    }

    fn take(&mut self, now: Instant, message: &Message) -> Applied {
        let limits = &self.config.limits;
        let Some(peer) = self.peers.get_mut(&message.sender) else { return Applied::Old };
        let (mut changes, mut flows) = (Vec::new(), BTreeSet::new());
        let applied = if message.kind == Kind::Beacon {
            peer.window.expect(message.sequence);
            Applied::Beacon
        } else {
            match peer.take(now, message, limits, &mut flows, |change| changes.push(change)) {
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
            for service in &message.services {
                self.take_service(now, &message.sender, *service);
            }
            for prefix in &message.prefixes {
                self.take_prefix(now, &message.sender, prefix);
            }
        }
        if counts {
            changes.into_iter().for_each(|change| self.replace(change));
            self.changed_flows.append(&mut flows);
        }
        applied
    }

    fn take_service(&mut self, now: Instant, sender: &str, service: SharedService) {
        let Some(peer) = self.peers.get_mut(sender) else { return };
        let service = peer.cut_service(now, service, &self.config.limits);
        if !service.is_free() {
            self.service.add(&service);
            self.tell(News::Service(self.with_state(service)));
        }
    }

    /// Keeps news to be polled. The oldest ones make room for it.
    fn tell(&mut self, news: News) {
        if self.told.len() >= MOST_NEWS {
            self.told.pop_front();
            self.stats.left_out += 1;
        }
        self.told.push_back(news);
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
        let Prefix { key, block_tokens, .. } = *prefix;
        if !blocks.is_empty() {
            self.tell(News::Prefix { key, block_tokens, blocks });
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
        let holds = |load: &PeerLoad| !load.backoff.is_zero() || load.waiting.is_some();
        total.hold = total.hold + usize::from(holds(&after)) - usize::from(holds(&before));
        let load = &mut total.load;
        load.prefilling = load.prefilling - before.prefilling + after.prefilling;
        load.running = load.running - before.running + after.running;
        load.booked = load.booked - before.booked + after.booked;
        load.kv_tokens = load.kv_tokens - before.kv_tokens + after.kv_tokens;
        if total.hold == 0 && total.load == PeerLoad::default() {
            self.totals.remove(&key);
        }
        self.changed.insert(key);
    }

    /// The claims of peers that have been silent for too long no longer count.
    pub(super) fn expire(&mut self, now: Instant) {
        if now < self.silent_at {
            return;
        }
        let silence = self.config.silence;
        let is_silent = |peer: &Peer| peer.is_alive && peer.heard + silence <= now;
        let heard = |peer: &Peer| (peer.is_alive && !is_silent(peer)).then_some(peer.heard);
        let first = self.peers.values().filter_map(heard).min();
        self.silent_at = first.unwrap_or(now) + silence;
        let (mut claims, mut silent) = (Vec::new(), Vec::new());
        for (name, peer) in self.peers.iter_mut().filter(|(_, peer)| is_silent(peer)) {
            peer.is_alive = false;
            claims.extend(peer.loads());
            self.changed_flows.extend(peer.flows().iter());
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
        if peer.is_alive {
            self.changed_flows.extend(peer.flows().iter());
        }
        for (key, load) in peer.loads().filter(|_| peer.is_alive) {
            self.replace(Change { key, before: load, after: PeerLoad::default() });
        }
    }
}

/// Prompts of peers and service of flows that wait to be polled.
const MOST_NEWS: usize = 4_096;
