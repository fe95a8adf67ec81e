//! What one peer has claimed.
//!
//! The state is a set of registers, each with the sequence of the message that set it. A later
//! sequence wins, so messages may be lost, repeated and reordered: the state depends only on which
//! of them have arrived.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use slotwise::{Instant, PeerLoad, SharedService};

use super::config::PeerLimits;
use super::message::{Counter, Kind, Message};
use super::usage::{Clock, UsageNews, UsageTotals};
use super::waiting::{FlowAt, WaitingFlows};
use super::window::{Receipt, Window};

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) incarnation: u64,
    /// The highest message number; lower ones are repetitions or have been overtaken.
    pub(super) number: u64,
    /// When a message with a new number arrived last.
    pub(super) heard: Instant,
    /// Whether its claims count.
    pub(super) is_alive: bool,
    pub(super) window: Window,
    /// When it was asked for messages last.
    pub(super) asked: Option<Instant>,
    /// Since when messages are missing.
    pub(super) missing_since: Option<Instant>,
    /// The sequence of the last full message.
    floor: u64,
    loads: BTreeMap<u64, Register>,
    flows: WaitingFlows,
    counters: BTreeMap<(u64, u64), u64>,
    pub(super) clock: Clock,
    pub(super) usage: UsageTotals,
    /// Prompt blocks that it may still report, in millionths.
    blocks: Allowance,
    /// Service of its flows that still counts, in microseconds.
    service: Allowance,
    /// Claims that were left out because of limits.
    pub(super) left_out: u64,
}

/// The claim about one endpoint.
#[derive(Clone, Copy, Debug)]
struct Register {
    sequence: u64,
    load: PeerLoad,
    /// When its backoff ends here.
    until: Instant,
}

/// A change of one claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) key: u64,
    pub(super) before: PeerLoad,
    pub(super) after: PeerLoad,
}

impl Peer {
    pub(super) fn new(now: Instant, incarnation: u64) -> Self {
        Self {
            incarnation,
            number: 0,
            heard: now,
            is_alive: true,
            window: Window::new(),
            asked: None,
            missing_since: None,
            floor: 0,
            loads: BTreeMap::new(),
            flows: WaitingFlows::default(),
            counters: BTreeMap::new(),
            clock: Clock::default(),
            usage: UsageTotals::default(),
            blocks: Allowance::default(),
            service: Allowance::default(),
            left_out: 0,
        }
    }

    /// Takes the claims of a message with contents. `change` receives each claim that changes.
    pub(super) fn take(
        &mut self,
        now: Instant,
        message: &Message,
        limits: &PeerLimits,
        changed_flows: &mut BTreeSet<FlowAt>,
        mut change: impl FnMut(Change),
    ) -> Receipt {
        let receipt = self.window.receive(message.sequence);
        if receipt != Receipt::New {
            return receipt;
        }
        for (key, load) in &message.loads {
            self.set(now, *key, message.sequence, clamped(*load, limits), limits, &mut change);
        }
        // Then no older message arrives.
        let complete = self.window.is_complete();
        for service in &message.services {
            let set = self.flows.set(message.sequence, service, complete, changed_flows);
            self.left_out += u64::from(!set);
        }
        if message.kind == Kind::Full {
            self.settle(message.sequence, &mut change);
            self.flows.settle(message.sequence, changed_flows);
        }
        for counter in &message.counters {
            self.count(counter, limits);
        }
        self.prune();
        receipt
    }

    fn set(
        &mut self,
        now: Instant,
        key: u64,
        sequence: u64,
        load: PeerLoad,
        limits: &PeerLimits,
        change: &mut impl FnMut(Change),
    ) {
        let known = self.loads.get(&key);
        if sequence <= known.map_or(self.floor, |known| known.sequence) {
            return;
        }
        if known.is_none() && self.loads.len() >= limits.endpoints {
            self.left_out += 1;
            return;
        }
        let before = known.map(|known| known.load).unwrap_or_default();
        self.loads.insert(key, Register { sequence, load, until: now + load.backoff });
        if before != load {
            change(Change { key, before, after: load });
        }
    }

    /// A full message sets all endpoints: those that it does not list have no load.
    fn settle(&mut self, sequence: u64, change: &mut impl FnMut(Change)) {
        self.window.settle(sequence);
        self.floor = self.floor.max(sequence);
        self.loads.retain(|key, register| {
            let stays = register.sequence >= sequence;
            if !stays && register.load != PeerLoad::default() {
                change(Change { key: *key, before: register.load, after: PeerLoad::default() });
            }
            stays
        });
    }

    /// Takes the totals of a message that was not received before.
    pub(super) fn use_up(
        &mut self,
        now: Instant,
        message: &Message,
        limits: &PeerLimits,
        news: &mut UsageNews,
    ) {
        if message.clock > 0 {
            self.clock.observe(now, message.clock);
            self.usage.prune(self.clock.theirs(now));
        }
        for total in &message.usage {
            match self.usage.merge(total, limits.usage) {
                // Requests in flight end with their gateway.
                Some(grown) if total.step_us > 0 || self.is_alive => {
                    news.push(self.clock.here(grown));
                }
                Some(_) => {}
                None => self.left_out += 1,
            }
        }
    }

    fn count(&mut self, counter: &Counter, limits: &PeerLimits) {
        let at = (counter.window, counter.key);
        if let Some(amount) = self.counters.get_mut(&at) {
            *amount = counter.amount.max(*amount);
            return;
        }
        self.counters.insert(at, counter.amount);
        if self.counters.len() > limits.counters {
            // The oldest window leaves.
            self.counters.pop_first();
        }
    }

    /// Forgets claims of no load that no late message can contradict.
    fn prune(&mut self) {
        let oldest = self.window.oldest();
        if self.window.is_complete() {
            self.flows.prune();
        }
        if self.window.is_complete() && oldest % 64 == 0 {
            self.loads.retain(|_, register| {
                register.sequence >= oldest || register.load != PeerLoad::default()
            });
        }
    }

    /// Takes `blocks` from what the peer may report in a second. Returns whether they were left.
    pub(super) fn allows(&mut self, now: Instant, blocks: usize, limits: &PeerLimits) -> bool {
        let left = self.blocks.left(now, limits.blocks_per_second);
        let is_left = blocks as u64 * MILLION <= *left;
        if is_left {
            *left -= blocks as u64 * MILLION;
        }
        self.left_out += u64::from(!is_left);
        is_left
    }

    /// The part of a flow's service that counts: what the peer may report in a second is limited.
    pub(super) fn cut_service(
        &mut self,
        now: Instant,
        service: SharedService,
        limits: &PeerLimits,
    ) -> SharedService {
        let left = self.service.left(now, limits.service_per_second);
        let mut counts = |time: Duration| {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let counted = micros.min(*left);
            *left -= counted;
            self.left_out += u64::from(counted < micros);
            Duration::from_micros(counted)
        };
        let mut cut = service;
        cut.charged = counts(service.charged);
        cut.refunded = counts(service.refunded);
        cut.requests = service.requests.min(limits.requests);
        cut
    }

    /// Its claims, by endpoint.
    pub(super) fn loads(&self) -> impl Iterator<Item = (u64, PeerLoad)> + '_ {
        self.loads.iter().map(|(key, register)| (*key, register.load))
    }

    /// Its flows that wait.
    pub(super) const fn flows(&self) -> &WaitingFlows {
        &self.flows
    }

    /// The highest priority of its requests that wait for an endpoint.
    pub(super) fn waiting(&self, key: u64) -> Option<i32> {
        self.loads.get(&key)?.load.waiting
    }

    /// How long it still backs the endpoint off.
    pub(super) fn backoff(&self, now: Instant, key: u64) -> Duration {
        self.loads.get(&key).map_or(Duration::ZERO, |it| it.until.saturating_since(now))
    }

    /// Its amount of a key in a window.
    pub(super) fn counter(&self, key: u64, window: u64) -> u64 {
        self.counters.get(&(window, key)).copied().unwrap_or(0)
    }
}

/// What a peer may still report, in millionths of the unit of its rate. A new peer may report the
/// most.
#[derive(Debug, Default)]
struct Allowance {
    left: u64,
    /// When it was refilled last.
    at: Option<Instant>,
}

impl Allowance {
    /// What is left now, with this rate in a second.
    fn left(&mut self, now: Instant, rate: u32) -> &mut u64 {
        let rate = u64::from(rate);
        let most = rate * BURST_SECONDS * MILLION;
        self.left = self.at.map_or(most, |at| {
            let elapsed = u64::try_from(now.saturating_since(at).as_micros()).unwrap_or(u64::MAX);
            most.min(self.left + elapsed.min(BURST_SECONDS * MILLION) * rate)
        });
        self.at = Some(now);
        &mut self.left
    }
}

/// A claim within the limits.
fn clamped(load: PeerLoad, limits: &PeerLimits) -> PeerLoad {
    let mut clamped = load;
    clamped.prefilling = load.prefilling.min(limits.requests);
    clamped.running = load.running.min(limits.requests - clamped.prefilling);
    clamped.booked = load.booked.min(limits.booked);
    clamped.kv_tokens = load.kv_tokens.min(limits.kv_tokens);
    clamped.backoff = load.backoff.min(limits.backoff);
    clamped
}

const MILLION: u64 = 1_000_000;
/// Seconds of blocks and of service that a peer may report at once.
const BURST_SECONDS: u64 = 8;
