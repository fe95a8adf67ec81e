//! A message between gateways, as a value and as bytes.
//!
//! ```text
//! "sp" format | sender incarnation domain | number sequence kind | sections | seal of 16 bytes
//! ```
//!
//! `format` rises only when older gateways cannot read the rest. Newer sections and newer fields of
//! a section are skipped, so gateways of two versions understand each other.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{BlockHash, PeerLoad, Priority, SharedService};

use super::codec::{Reader, Writer};
use super::config::LONGEST_NAME;
use super::error::PeerError;
use crate::gates::UsageChange;

/// A message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) sender: String,
    /// Rises whenever the sender starts anew.
    pub(super) incarnation: u64,
    /// Equal where block hashes and endpoint keys are comparable.
    pub(super) domain: u64,
    /// Rises with every message, but not when one is sent again.
    pub(super) number: u64,
    /// Rises with every message that has contents; a beacon repeats the last one.
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    pub(super) loads: Vec<(u64, PeerLoad)>,
    pub(super) prefixes: Vec<Prefix>,
    pub(super) counters: Vec<Counter>,
    pub(super) asks: Vec<Ask>,
    /// The sender's time in microseconds; 0 in messages without usage.
    pub(super) clock: u64,
    /// Totals of limits.
    pub(super) usage: Vec<UsageChange>,
    pub(super) returned: Vec<Returned>,
    /// What flows have received since the last message with contents, and whether they wait.
    pub(super) services: Vec<SharedService>,
}

/// Totals of an earlier start of another gateway, which has lost them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Returned {
    /// The gateway.
    pub(super) to: String,
    /// The incarnation that counted them.
    pub(super) incarnation: u64,
    /// The time of that incarnation's clock in microseconds.
    pub(super) clock: u64,
    pub(super) usage: Vec<UsageChange>,
}

/// The meaning of a message's contents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kind {
    /// Nothing has changed since the sequence.
    #[default]
    Beacon,
    /// What has changed.
    Delta,
    /// The whole state: other endpoints have no load of the sender.
    Full,
}

/// Blocks that an endpoint will hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    /// The endpoint.
    pub(super) key: u64,
    pub(super) block_tokens: u32,
    /// The block before the first one, if the prompt begins with blocks that were sent before.
    pub(super) parent: Option<BlockHash>,
    pub(super) blocks: Vec<BlockHash>,
}

/// An amount that only grows, of one key in one window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counter {
    pub(super) key: u64,
    pub(super) window: u64,
    pub(super) amount: u64,
}

/// A request to send messages again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ask {
    /// The gateway that is asked.
    pub(super) to: String,
    pub(super) incarnation: u64,
    /// These sequences; none asks for the whole state.
    pub(super) sequences: Vec<u64>,
}

impl Message {
    /// The bytes without a seal.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.0.extend(MAGIC);
        to.0.push(FORMAT);
        to.bytes(self.sender.as_bytes());
        [self.incarnation, self.domain, self.number, self.sequence]
            .iter()
            .for_each(|value| to.integer(*value));
        to.integer(match self.kind {
            Kind::Beacon => 0,
            Kind::Delta => 1,
            Kind::Full => 2,
        });
        to.section(LOADS, |to| self.encode_loads(to));
        to.section(PREFIXES, |to| self.encode_prefixes(to));
        to.section(COUNTERS, |to| self.encode_counters(to));
        to.section(ASKS, |to| self.encode_asks(to));
        if self.clock > 0 {
            to.section(CLOCK, |to| to.integer(self.clock));
        }
        to.section(USAGE, |to| encode_usage(&self.usage, to));
        to.section(RETURNED, |to| self.encode_returned(to));
        to.section(SERVICES, |to| self.encode_services(to));
        to.0
    }

    fn encode_loads(&self, to: &mut Writer) {
        let waits = self.loads.iter().any(|(_, load)| load.waiting.is_some());
        for (at, (key, load)) in self.loads.iter().enumerate() {
            if at == 0 {
                to.width(if waits { 6 } else { 5 });
            }
            to.hash(*key);
            to.integer(load.prefilling.into());
            to.integer(load.running.into());
            to.integer(milliseconds(load.booked));
            to.integer(load.kv_tokens);
            to.integer(milliseconds(load.backoff));
            if waits {
                to.integer(load.waiting.map_or(0, |priority| zigzag(priority) + 1));
            }
        }
    }

    fn encode_services(&self, to: &mut Writer) {
        for (at, service) in self.services.iter().enumerate() {
            if at == 0 {
                to.width(6);
            }
            to.hash(service.flow);
            to.integer(zigzag(service.priority.0));
            to.integer(service.requests.into());
            to.integer(microseconds(service.charged));
            to.integer(microseconds(service.refunded));
            to.integer(service.weight.into());
            to.integer(service.waits.into());
        }
    }

    fn encode_prefixes(&self, to: &mut Writer) {
        for prefix in &self.prefixes {
            to.hash(prefix.key);
            to.integer(prefix.block_tokens.into());
            to.integer(prefix.parent.is_some().into());
            to.integer(prefix.blocks.len() as u64);
            prefix.parent.iter().chain(&prefix.blocks).for_each(|block| to.hash(block.0));
        }
    }

    fn encode_counters(&self, to: &mut Writer) {
        for (at, counter) in self.counters.iter().enumerate() {
            if at == 0 {
                to.width(2);
            }
            to.hash(counter.key);
            to.integer(counter.window);
            to.integer(counter.amount);
        }
    }

    fn encode_asks(&self, to: &mut Writer) {
        for ask in &self.asks {
            to.bytes(ask.to.as_bytes());
            to.integer(ask.incarnation);
            to.integer(ask.sequences.len() as u64);
            ask.sequences.iter().for_each(|sequence| to.integer(*sequence));
        }
    }

    fn encode_returned(&self, to: &mut Writer) {
        for returned in &self.returned {
            to.bytes(returned.to.as_bytes());
            to.integer(returned.incarnation);
            to.integer(returned.clock);
            let mut usage = Writer::default();
            encode_usage(&returned.usage, &mut usage);
            to.bytes(&usage.0);
        }
    }

    /// The message of these bytes, without their seal.
    ///
    /// # Errors
    ///
    /// When the bytes end early, or are of another format.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PeerError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(PeerError::Malformed)?;
        let mut from = Reader(body);
        let format = from.byte().ok_or(PeerError::Malformed)?;
        if format != FORMAT {
            return Err(PeerError::Format { format, known: FORMAT });
        }
        Self::read(&mut from).ok_or(PeerError::Malformed)
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut message = Self { sender: name(from)?, ..Self::default() };
        message.incarnation = from.integer()?;
        message.domain = from.integer()?;
        message.number = from.integer()?;
        message.sequence = from.integer()?;
        message.kind = match from.integer()? {
            0 => Kind::Beacon,
            1 => Kind::Delta,
            2 => Kind::Full,
            _ => return None,
        };
        while !from.is_empty() {
            let (tag, mut section) = (from.integer()?, Reader(from.bytes()?));
            match tag {
                LOADS => message.loads = read_loads(&mut section)?,
                PREFIXES => message.prefixes = read_prefixes(&mut section)?,
                COUNTERS => message.counters = read_counters(&mut section)?,
                ASKS => message.asks = read_asks(&mut section)?,
                CLOCK => message.clock = section.integer()?,
                USAGE => message.usage = read_usage(&mut section)?,
                RETURNED => message.returned = read_returned(&mut section)?,
                SERVICES => message.services = read_services(&mut section)?,
                _ => {}
            }
        }
        Some(message)
    }
}

fn read_loads(from: &mut Reader<'_>) -> Option<Vec<(u64, PeerLoad)>> {
    let mut loads = Vec::new();
    let width = from.width()?;
    while !from.is_empty() {
        let key = from.hash()?;
        let [prefilling, running, booked, kv_tokens, backoff, waiting] = from.record(width)?;
        let clamp = |value| u32::try_from(value).unwrap_or(u32::MAX);
        let mut load = PeerLoad::default();
        (load.prefilling, load.running) = (clamp(prefilling), clamp(running));
        (load.booked, load.kv_tokens) = (Duration::from_millis(booked), kv_tokens);
        load.backoff = Duration::from_millis(backoff);
        load.waiting = waiting.checked_sub(1).map(unzigzag);
        loads.push((key, load));
    }
    Some(loads)
}

fn read_prefixes(from: &mut Reader<'_>) -> Option<Vec<Prefix>> {
    let mut prefixes = Vec::new();
    while !from.is_empty() {
        let (key, block_tokens) = (from.hash()?, from.clamped()?);
        let has_parent = from.integer()? != 0;
        let count = usize::try_from(from.integer()?).ok()?;
        let parent = if has_parent { Some(BlockHash(from.hash()?)) } else { None };
        // Eight bytes each: a count beyond the section's end reserves nothing.
        let mut blocks = Vec::with_capacity(count.min(from.0.len() / 8));
        for _ in 0..count {
            blocks.push(BlockHash(from.hash()?));
        }
        prefixes.push(Prefix { key, block_tokens, parent, blocks });
    }
    Some(prefixes)
}

fn read_counters(from: &mut Reader<'_>) -> Option<Vec<Counter>> {
    let mut counters = Vec::new();
    let width = from.width()?;
    while !from.is_empty() {
        let key = from.hash()?;
        let [window, amount] = from.record(width)?;
        counters.push(Counter { key, window, amount });
    }
    Some(counters)
}

fn read_asks(from: &mut Reader<'_>) -> Option<Vec<Ask>> {
    let mut asks = Vec::new();
    while !from.is_empty() {
        let (to, incarnation) = (name(from)?, from.integer()?);
        let mut sequences = Vec::new();
        for _ in 0..from.integer()? {
            sequences.push(from.integer()?);
        }
        asks.push(Ask { to, incarnation, sequences });
    }
    Some(asks)
}

fn encode_usage(usage: &[UsageChange], to: &mut Writer) {
    for (at, total) in usage.iter().enumerate() {
        if at == 0 {
            to.width(4);
        }
        to.hash(total.key);
        [total.step_us, total.step, total.booked, total.refunded]
            .iter()
            .for_each(|value| to.integer(*value));
    }
}

fn read_usage(from: &mut Reader<'_>) -> Option<Vec<UsageChange>> {
    let mut usage = Vec::new();
    if from.is_empty() {
        return Some(usage);
    }
    let width = from.width()?;
    while !from.is_empty() {
        let key = from.hash()?;
        let [step_us, step, booked, refunded] = from.record(width)?;
        usage.push(UsageChange::new(key, step_us, step, booked, refunded));
    }
    Some(usage)
}

fn read_returned(from: &mut Reader<'_>) -> Option<Vec<Returned>> {
    let mut returned = Vec::new();
    while !from.is_empty() {
        let (to, incarnation, clock) = (name(from)?, from.integer()?, from.integer()?);
        let usage = read_usage(&mut Reader(from.bytes()?))?;
        returned.push(Returned { to, incarnation, clock, usage });
    }
    Some(returned)
}

fn name(from: &mut Reader<'_>) -> Option<String> {
    let name = from.bytes().filter(|name| (1..=LONGEST_NAME).contains(&name.len()))?;
    core::str::from_utf8(name).ok().map(String::from)
}

fn read_services(from: &mut Reader<'_>) -> Option<Vec<SharedService>> {
    let mut services = Vec::new();
    let width = from.width()?;
    while !from.is_empty() {
        let mut service = SharedService::default();
        service.flow = from.hash()?;
        let [priority, requests, charged, refunded, weight, waits] = from.record(width)?;
        service.priority = Priority(unzigzag(priority));
        service.requests = u32::try_from(requests).unwrap_or(u32::MAX);
        (service.charged, service.refunded) =
            (Duration::from_micros(charged), Duration::from_micros(refunded));
        service.weight = u32::try_from(weight).unwrap_or(u32::MAX);
        service.waits = waits != 0;
        services.push(service);
    }
    Some(services)
}

/// Small numbers of both signs as small numbers.
const fn zigzag(value: i32) -> u64 {
    ((value << 1) ^ (value >> 31)) as u32 as u64
}

/// The reverse; a value beyond is the lowest priority.
fn unzigzag(value: u64) -> i32 {
    u32::try_from(value).map_or(i32::MIN, |value| (value >> 1) as i32 ^ -((value & 1) as i32))
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up, so that nothing that is booked becomes zero.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

const MAGIC: &[u8] = b"sp";
const FORMAT: u8 = 1;
const LOADS: u64 = 1;
const PREFIXES: u64 = 2;
const COUNTERS: u64 = 3;
const ASKS: u64 = 4;
const CLOCK: u64 = 5;
const USAGE: u64 = 6;
const RETURNED: u64 = 7;
const SERVICES: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let mut load = PeerLoad::default();
        (load.prefilling, load.running, load.kv_tokens) = (1, 300, 70_000);
        load.booked = Duration::from_millis(1_234);
        load.waiting = Some(-3);
        let mut service = SharedService::default();
        (service.priority, service.flow, service.requests) = (Priority(i32::MIN), 8, 9);
        (service.charged, service.refunded) =
            (Duration::from_micros(10), Duration::from_micros(11));
        (service.weight, service.waits) = (1_500, true);
        Message {
            sender: "a".into(),
            incarnation: 7,
            domain: u64::MAX,
            number: 12,
            sequence: 9,
            kind: Kind::Full,
            loads: alloc::vec![(1, load), (2, PeerLoad::default())],
            prefixes: alloc::vec![Prefix {
                key: 1,
                block_tokens: 16,
                parent: Some(BlockHash(5)),
                blocks: alloc::vec![BlockHash(6), BlockHash(7)],
            }],
            counters: alloc::vec![Counter { key: 3, window: 4, amount: 5 }],
            asks: alloc::vec![Ask { to: "b".into(), incarnation: 1, sequences: alloc::vec![2, 3] }],
            clock: 17,
            usage: alloc::vec![UsageChange::new(1, 2, 3, 4, 5)],
            returned: alloc::vec![Returned {
                to: "c".into(),
                incarnation: 3,
                clock: 4,
                usage: alloc::vec![UsageChange::new(6, 7, 8, 9, 0)],
            }],
            services: alloc::vec![service],
        }
    }

    #[test]
    fn a_message_comes_back() {
        assert_eq!(Message::decode(&message().encode()), Ok(message()));
    }

    #[test]
    fn sections_of_a_newer_version_are_skipped() {
        let mut bytes = message().encode();
        let mut newer = Writer(core::mem::take(&mut bytes));
        newer.section(99, |to| to.hash(1));
        assert_eq!(Message::decode(&newer.0), Ok(message()));
    }

    #[test]
    fn fields_of_a_newer_version_are_skipped_and_those_of_an_older_one_are_zero() {
        for width in [2, 7] {
            let mut to = Writer(Message { loads: Vec::new(), ..message() }.encode());
            to.section(LOADS, |to| {
                to.width(width);
                to.hash(1);
                (1..=width as u64).for_each(|value| to.integer(value));
            });
            let (key, load) = Message::decode(&to.0).expect("readable").loads[0];
            assert_eq!((key, load.prefilling, load.running), (1, 1, 2));
            assert_eq!(load.kv_tokens, if width == 2 { 0 } else { 4 });
        }
    }

    #[test]
    fn a_part_of_a_message_is_malformed_and_another_format_is_named() {
        let bytes = Message { asks: Vec::new(), ..message() }.encode();
        for end in 0..bytes.len() {
            // A message may end between sections.
            let read = Message::decode(&bytes[..end]);
            assert!(read.is_err() || read != Ok(message()), "{end}");
        }
        let mut other = bytes;
        other[2] = 2;
        assert_eq!(Message::decode(&other), Err(PeerError::Format { format: 2, known: 1 }));
    }
}
