//! What this gateway has to send, and when.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Instant, PeerLoad, Priority, SharedService};

use super::config::PeersConfig;
use super::message::{Counter, Kind, Message, Prefix};
use super::usage::UsageTotals;
use crate::gates::UsageChange;

/// This gateway's own state, and the part that peers have not been sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    sequence: u64,
    number: u64,
    /// The loads that peers know, without those that are zero.
    sent: BTreeMap<u64, PeerLoad>,
    /// Loads that have changed since.
    changed: BTreeMap<u64, PeerLoad>,
    prefixes: Vec<Prefix>,
    /// Service by priority and flow.
    services: BTreeMap<(i32, u64), SharedService>,
    /// The weights of the flows that wait, as far as peers know.
    waiting: BTreeMap<(i32, u64), u32>,
    /// Blocks of the last seconds, in millionths, and until when they have been forgotten.
    spent: u64,
    forgotten_at: Instant,
    counters: BTreeMap<(u64, u64), u64>,
    changed_counters: BTreeSet<(u64, u64)>,
    /// What this gateway has used of limits, and what of it has changed.
    usage: UsageTotals,
    changed_usage: BTreeSet<(u64, u64, u64)>,
    /// Messages that can be sent again, from the oldest on.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Sequences that peers have asked for.
    again: BTreeSet<u64>,
    /// A peer has asked for the whole state.
    whole: bool,
    /// When the whole state was sent last.
    whole_at: Option<Instant>,
    /// A request was dispatched, or a prompt waits to be sent.
    is_urgent: bool,
    /// Paces messages: each adds an interval to it, and it may be a burst ahead of the clock.
    paced_until: Instant,
    sent_at: Option<Instant>,
    /// Prompts that were left out.
    pub(super) left_out: u64,
}

#[derive(Debug)]
struct Kept {
    sequence: u64,
    bytes: Vec<u8>,
    repeated_at: Option<Instant>,
}

impl Outbox {
    /// Sets this gateway's load on an endpoint.
    pub(super) fn set_load(&mut self, key: u64, load: PeerLoad, limit: usize) {
        let known = self.sent.get(&key);
        if known.is_none() && self.sent.len() + self.changed.len() >= limit {
            return;
        }
        let known = known.copied().unwrap_or_default();
        if is_alike(&known, &load) {
            self.changed.remove(&key);
            return;
        }
        self.is_urgent |= load.prefilling > known.prefilling || load.waiting > known.waiting;
        self.changed.insert(key, load);
    }

    /// Reports a prompt with the next message, unless too many blocks were reported lately: at most
    /// so many in a second. Returns whether it will be sent.
    pub(super) fn insert(&mut self, prefix: Prefix, blocks_per_second: u32) -> bool {
        let most = u64::from(blocks_per_second) * BURST_SECONDS * MILLION;
        // A prompt without new blocks takes the bytes of three.
        let spent = self.spent + (prefix.blocks.len() as u64 + 3) * MILLION;
        if spent > most {
            self.left_out += 1;
            return false;
        }
        self.spent = spent;
        self.prefixes.push(prefix);
        self.is_urgent = true;
        true
    }

    /// Reports with the next message what a flow has received, and whether it waits.
    pub(super) fn serve(&mut self, service: SharedService) {
        let at = (service.priority.0, service.flow);
        let known = self.waiting.get(&at).copied();
        let mut sum = self.services.get(&at).copied().unwrap_or_default();
        (sum.priority, sum.flow) = (service.priority, service.flow);
        sum.add(&service);
        if sum.is_free() && known == sum.waits.then_some(sum.weight) {
            self.services.remove(&at);
        } else if self.services.len() < MOST_FLOWS
            || known.is_some()
            || self.services.contains_key(&at)
        {
            self.services.insert(at, sum);
        } else {
            self.left_out += 1;
        }
    }

    /// The service that was not sent, with all flows that wait if the `whole` state is sent.
    fn fill_services(&mut self, whole: bool) -> Vec<SharedService> {
        let mut services = core::mem::take(&mut self.services);
        for (at, service) in &mut services {
            if service.waits && (self.waiting.len() < MOST_FLOWS || self.waiting.contains_key(at)) {
                self.waiting.insert(*at, service.weight);
            } else {
                service.waits = false;
                self.waiting.remove(at);
            }
        }
        let waiting = self.waiting.iter().filter(|_| whole);
        for (&(priority, flow), weight) in waiting {
            let service = services.entry((priority, flow)).or_default();
            (service.priority, service.flow) = (Priority(priority), flow);
            (service.weight, service.waits) = (*weight, true);
        }
        services.into_values().collect()
    }

    /// Forgets blocks that were reported long enough ago.
    fn forget(&mut self, now: Instant, blocks_per_second: u32) {
        let elapsed = now.saturating_since(self.forgotten_at).as_micros();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX).min(BURST_SECONDS * MILLION);
        self.spent = self.spent.saturating_sub(elapsed * u64::from(blocks_per_second));
        self.forgotten_at = now;
    }

    /// Adds to a counter.
    pub(super) fn count(&mut self, key: u64, window: u64, amount: u64, limit: usize) {
        let at = (window, key);
        let counter = self.counters.entry(at).or_default();
        *counter = counter.saturating_add(amount);
        self.changed_counters.insert(at);
        while self.counters.len() > limit {
            if let Some((oldest, _)) = self.counters.pop_first() {
                self.changed_counters.remove(&oldest);
            }
        }
    }

    /// Adds to what this gateway has used of a limit.
    pub(super) fn use_up(&mut self, change: &UsageChange, limit: usize) {
        if self.usage.add(change, limit) {
            self.changed_usage.insert((change.step_us, change.step, change.key));
            self.is_urgent = true;
        } else {
            self.left_out += 1;
        }
    }

    /// Sends the whole state soon.
    pub(super) const fn send_whole(&mut self) {
        self.whole = true;
    }

    /// A peer asks for these messages again, or for the whole state.
    pub(super) fn ask(&mut self, sequences: &[u64]) {
        let first = self.kept.front().map_or(u64::MAX, |kept| kept.sequence);
        self.whole |= sequences.is_empty();
        for sequence in sequences.iter().filter(|sequence| **sequence <= self.sequence) {
            if *sequence < first {
                self.whole = true;
            } else {
                self.again.insert(*sequence);
            }
        }
    }

    /// When there is something to send. `has_asks` is whether this gateway has to ask peers.
    pub(super) fn due(&self, config: &PeersConfig, has_asks: bool) -> Instant {
        let Some(sent_at) = self.sent_at else { return Instant::ORIGIN };
        let mut due = sent_at + config.heartbeat;
        if self.has_contents() || has_asks || !self.again.is_empty() {
            due = due.min(sent_at + config.interval);
        }
        if self.wants_whole(None) {
            let paced = self.whole_at.map_or(sent_at, |at| at + config.heartbeat);
            due = due.min(paced.max(sent_at + config.interval));
        }
        if self.is_urgent && self.has_contents() {
            let burst = config.interval.saturating_mul(config.burst);
            due = due.min(before(self.paced_until, burst).max(sent_at));
        }
        due
    }

    /// The next repetition that peers have asked for.
    pub(super) fn repeat(&mut self, now: Instant, pause: Duration) -> Option<Vec<u8>> {
        while let Some(sequence) = self.again.pop_first() {
            let first = self.kept.front().map_or(u64::MAX, |kept| kept.sequence);
            let at = sequence.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            let Some(kept) = at.and_then(|at| self.kept.get_mut(at)) else {
                self.whole = true;
                continue;
            };
            if kept.repeated_at.is_none_or(|at| at + pause <= now) {
                kept.repeated_at = Some(now);
                return Some(kept.bytes.clone());
            }
        }
        None
    }

    /// Moves what is to be sent into a message.
    pub(super) fn fill(&mut self, now: Instant, config: &PeersConfig, message: &mut Message) {
        self.forget(now, config.limits.sent_blocks_per_second);
        let whole = self.wants_whole(Some((now, config.heartbeat)));
        if self.has_contents() || whole {
            self.sequence += 1;
            message.kind = if whole { Kind::Full } else { Kind::Delta };
            for (key, load) in core::mem::take(&mut self.changed) {
                if load == PeerLoad::default() {
                    self.sent.remove(&key);
                } else {
                    self.sent.insert(key, load);
                }
                message.loads.push((key, load));
            }
            let counters = core::mem::take(&mut self.changed_counters);
            let counter = |(window, key): (u64, u64), amount| Counter { key, window, amount };
            if whole {
                (self.whole, self.whole_at) = (false, Some(now));
                message.loads = self.sent.iter().map(|(key, load)| (*key, *load)).collect();
                message.counters = self.counters.iter().map(|(at, it)| counter(*at, *it)).collect();
            } else {
                let amount = |at| self.counters.get(&at).map(|amount| counter(at, *amount));
                message.counters = counters.into_iter().filter_map(amount).collect();
            }
            self.usage.prune(now.as_micros());
            let changed = core::mem::take(&mut self.changed_usage);
            message.usage = match message.kind {
                Kind::Full => self.usage.iter().collect(),
                _ => changed.into_iter().filter_map(|at| self.usage.get(at)).collect(),
            };
            if !message.usage.is_empty() {
                message.clock = now.as_micros();
            }
            message.prefixes = core::mem::take(&mut self.prefixes);
            message.services = self.fill_services(whole);
            self.paced_until = self.paced_until.max(now) + config.interval;
        }
        self.is_urgent = false;
        self.number += 1;
        (message.number, message.sequence) = (self.number, self.sequence);
        self.sent_at = Some(now);
    }

    /// Keeps a message with contents, to send it again.
    pub(super) fn keep(&mut self, sequence: u64, bytes: &[u8], limit: usize) {
        self.kept_bytes += bytes.len();
        self.kept.push_back(Kept { sequence, bytes: bytes.to_vec(), repeated_at: None });
        while self.kept_bytes > limit || self.kept.len() > MOST_KEPT {
            let oldest = self.kept.pop_front();
            self.kept_bytes -= oldest.map_or(self.kept_bytes, |oldest| oldest.bytes.len());
        }
    }

    /// The own amount of a key in a window.
    pub(super) fn counter(&self, key: u64, window: u64) -> u64 {
        self.counters.get(&(window, key)).copied().unwrap_or(0)
    }

    fn has_contents(&self) -> bool {
        !self.changed.is_empty()
            || !self.prefixes.is_empty()
            || !self.services.is_empty()
            || !self.changed_counters.is_empty()
            || !self.changed_usage.is_empty()
    }

    /// Whether the whole state is to be sent, at most once in a pause if a time is given.
    fn wants_whole(&self, at: Option<(Instant, Duration)>) -> bool {
        let early = |(now, pause)| self.whole_at.is_some_and(|last| last + pause > now);
        self.whole && !at.is_some_and(early)
    }
}

/// Whether peers need not be sent the difference: all but a small part of the tokens is equal.
fn is_alike(known: &PeerLoad, load: &PeerLoad) -> bool {
    let tokens = known.kv_tokens.abs_diff(load.kv_tokens);
    known.prefilling == load.prefilling
        && known.running == load.running
        && known.booked == load.booked
        && known.waiting == load.waiting
        && tokens <= known.kv_tokens / SMALL
        // The end of a backoff is known in advance.
        && load.backoff <= known.backoff
        && load.backoff.is_zero() == known.backoff.is_zero()
}

/// The time `length` before `at`.
fn before(at: Instant, length: Duration) -> Instant {
    let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(at.as_micros().saturating_sub(micros))
}

/// Divisor of a load's tokens for the part that need not be sent.
const SMALL: u64 = 8;
/// Flows that a message adds to those that peers know to wait, and the most of these; a flow takes
/// about 20 bytes.
const MOST_FLOWS: usize = 4_096;
/// A peer asks for the messages of its window.
const MOST_KEPT: usize = 64;
const MILLION: u64 = 1_000_000;
/// Seconds of blocks that may be sent at once.
const BURST_SECONDS: u64 = 8;
