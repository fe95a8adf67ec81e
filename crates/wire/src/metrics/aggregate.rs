//! Sums the samples of a page into one report for each rank.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::Load;

use super::Result;
use super::engine::{
    AWAKE, Engine, KvCacheLabels, MAX_LORA, MOST_PARTS, Meaning, RUNNING_ADAPTERS, SLEEP_STATE,
    WAITING_ADAPTERS,
};
use super::metric_index::Wanted;
use super::report::{Adapters, KvCache, MetricsReport, RankReport, Warning};
use super::sample::{Label, Value, find};
use super::spec::Field;
use crate::error::{ErrorKind, WireError};

/// The maximum number of ranks on a page. An engine has fewer.
const MOST_RANKS: usize = 1024;

/// The samples of a page, by engine and rank.
#[derive(Default)]
pub(super) struct PageAggregate<'a> {
    /// Sorted by key.
    ranks: Vec<Rank<'a>>,
    /// The rank of the last sample: the lines of a rank are often adjacent.
    last: usize,
    /// One bit for each engine with a sample on the page.
    engines: u8,
}

/// The samples of one rank.
struct Rank<'a> {
    engine: Option<Engine>,
    /// The value of the rank label, with its escapes.
    name: Value<'a>,
    gauges: [Gauge; Field::ALL.len()],
    /// Summands of a gauge, each at its own index.
    parts: [Option<(Field, Gauge)>; MOST_PARTS],
    sleeps: Option<bool>,
    adapters: Option<AdaptersInUse<'a>>,
}

/// The combined samples of one field.
#[derive(Clone, Copy, Default)]
struct Gauge {
    value: f64,
    series: u32,
    precedence: u8,
}

/// The adapters in one sample.
#[derive(Clone, Copy)]
struct AdaptersInUse<'a> {
    /// When the engine wrote the sample, in seconds.
    said_at: f64,
    slots: Option<u64>,
    running: Option<Value<'a>>,
    waiting: Option<Value<'a>>,
}

impl Gauge {
    /// Adds a sample. Of copies, the largest value counts; other samples are summed.
    fn add(&mut self, value: f64, precedence: u8, copies: bool) {
        if self.series == 0 || precedence < self.precedence {
            *self = Self { value, series: 1, precedence };
        } else if precedence == self.precedence {
            if copies {
                self.value = self.value.max(value);
            } else {
                self.value += value;
                self.series += 1;
            }
        }
    }
}

impl<'a> PageAggregate<'a> {
    /// Adds a sample of a wanted metric if its labels match.
    pub(super) fn take(
        &mut self,
        wanted: &Wanted,
        rank_label: Option<&str>,
        labels: &[Label<'a>],
        value: f64,
    ) -> Result<()> {
        for (label, asked) in wanted.spec.labels() {
            if !find(labels, label)?.is_some_and(|value| value.is(asked)) {
                return Ok(());
            }
        }
        if let Some(engine) = wanted.engine {
            self.engines |= bit(engine);
        }
        if !value.is_finite() {
            return Ok(());
        }
        let name = match rank_label {
            Some(label) => find(labels, label)?,
            None => None,
        };
        let rank = self.rank(wanted.engine, name.unwrap_or(NO_NAME))?;
        let copies = wanted.engine.is_some_and(Engine::repeats_itself);
        match wanted.meaning {
            Meaning::Gauge(field) => rank.gauge(field, value, wanted.precedence, copies),
            Meaning::Part(field, place) => rank.part(field, place, value, copies),
            Meaning::SleepState => {
                let state = find(labels, SLEEP_STATE)?;
                let is_awake = state.is_some_and(|state| state.is(AWAKE));
                // One state is 1 and the others are 0. During a pause, only `awake` is 0.
                let sleeps = if is_awake { value <= 0.0 } else { value > 0.0 };
                if is_awake || sleeps {
                    rank.sleeps = Some(sleeps || rank.sleeps.unwrap_or(false));
                }
            }
            Meaning::KvCache(KvCacheLabels { block_size, blocks, tokens }) => {
                let of = [
                    (Field::BlockSize, Some(block_size)),
                    (Field::Blocks, Some(blocks)),
                    (Field::KvCapacity, tokens),
                ];
                for (field, label) in of {
                    let value = label.map_or(Ok(None), |label| find(labels, label))?;
                    if let Some(number) = value.map_or(Ok(None), Value::whole)? {
                        rank.gauge(field, number as f64, wanted.precedence, copies);
                    }
                }
            }
            Meaning::Adapters => {
                let said = AdaptersInUse {
                    said_at: value,
                    slots: find(labels, MAX_LORA)?.map_or(Ok(None), Value::whole)?,
                    running: find(labels, RUNNING_ADAPTERS)?,
                    waiting: find(labels, WAITING_ADAPTERS)?,
                };
                // Old series stay on the page: only the newest is valid.
                if rank.adapters.is_none_or(|known| known.said_at <= said.said_at) {
                    rank.adapters = Some(said);
                }
            }
        }
        Ok(())
    }

    /// Builds the report.
    pub(super) fn finish(self, skipped_lines: usize) -> Result<MetricsReport> {
        let engine = Engine::ALL.into_iter().find(|engine| self.engines & bit(*engine) != 0);
        let mut ranks = self.ranks;
        ranks.retain(|rank| rank.engine.is_none() || rank.engine == engine);
        ranks.sort_by(|one, other| one.name.key().cmp(&other.name.key()));
        // Joins metrics that were requested by name with those of the engine for the same rank.
        ranks.dedup_by(|second, first| {
            let same = first.name.raw == second.name.raw;
            if same {
                first.join(second);
            }
            same
        });
        let mut report = MetricsReport {
            engine,
            adapters: adapters(&ranks)?,
            skipped_lines,
            ..Default::default()
        };
        for rank in ranks.iter().filter(|rank| rank.says_something()) {
            report.ranks.push(rank.report()?);
        }
        share_unnamed(&mut report.ranks);
        if report.says_nothing() {
            report.warnings.push(Warning::NothingKnown);
        }
        Ok(report)
    }

    fn rank(&mut self, engine: Option<Engine>, name: Value<'a>) -> Result<&mut Rank<'a>> {
        let key = (engine, name.key());
        let same = |rank: &Rank<'a>| (rank.engine, rank.name.key()) == key;
        if !self.ranks.get(self.last).is_some_and(same) {
            match self.ranks.binary_search_by(|rank| (rank.engine, rank.name.key()).cmp(&key)) {
                Ok(at) => self.last = at,
                Err(_) if self.ranks.len() == MOST_RANKS => {
                    return Err(WireError::new(
                        name.at,
                        ErrorKind::OutOfRange("more than 1024 ranks on a page"),
                    ));
                }
                Err(at) => {
                    let rank = Rank {
                        engine,
                        name,
                        gauges: Default::default(),
                        parts: Default::default(),
                        sleeps: None,
                        adapters: None,
                    };
                    self.ranks.insert(at, rank);
                    self.last = at;
                }
            }
        }
        // The rank exists: it was found or inserted above.
        self.ranks.get_mut(self.last).ok_or_else(|| WireError::expected(name.at, "a rank"))
    }
}

impl<'a> Value<'a> {
    /// The order of ranks: numeric for decimal labels.
    const fn key(self) -> (usize, &'a [u8]) {
        (self.raw.len(), self.raw)
    }
}

const NO_NAME: Value<'static> = Value { raw: b"", at: 0 };

impl Rank<'_> {
    fn gauge(&mut self, field: Field, value: f64, precedence: u8, copies: bool) {
        let value = match field {
            Field::KvUsage => value.clamp(0.0, 1.0),
            Field::Waiting | Field::Running | Field::BlockSize => {
                value.clamp(0.0, f64::from(u32::MAX))
            }
            // 2^53, the largest exact count in an `f64`.
            Field::KvTokens | Field::KvCapacity | Field::Blocks => {
                value.clamp(0.0, 9_007_199_254_740_992.0)
            }
        };
        let Some(gauge) = self.gauges.get_mut(field as usize) else { return };
        gauge.add(value, precedence, copies || field == Field::BlockSize);
    }

    fn part(&mut self, field: Field, place: u8, value: f64, copies: bool) {
        let Some(part) = self.parts.get_mut(usize::from(place)) else { return };
        let (_, gauge) = part.get_or_insert((field, Gauge::default()));
        gauge.add(value.clamp(0.0, f64::from(u32::MAX)), 0, copies);
    }

    fn says_something(&self) -> bool {
        let gauges = self.gauges.iter().any(|gauge| gauge.series > 0);
        gauges || self.parts.iter().any(Option::is_some) || self.sleeps.is_some()
    }

    /// Fills missing values from `other`.
    fn join(&mut self, other: &Self) {
        for (gauge, from) in self.gauges.iter_mut().zip(&other.gauges) {
            if gauge.series == 0 {
                *gauge = *from;
            }
        }
        for (part, from) in self.parts.iter_mut().zip(&other.parts) {
            *part = part.or(*from);
        }
        self.sleeps = self.sleeps.or(other.sleeps);
        self.adapters = self.adapters.or(other.adapters);
    }

    fn value(&self, field: Field) -> Option<f64> {
        let parts = self.parts.iter().flatten().filter(|(of, _)| *of == field);
        let parts = parts.map(|(_, gauge)| gauge.value).reduce(|one, other| one + other);
        let Some(gauge) = self.gauges.get(field as usize).filter(|gauge| gauge.series > 0) else {
            return parts;
        };
        if let Some(parts) = parts {
            return Some(gauge.value + parts);
        }
        // Several models of one server are assumed to share its cache.
        Some(if field == Field::KvUsage {
            gauge.value / f64::from(gauge.series)
        } else {
            gauge.value
        })
    }

    /// The value rounded to an integer. A float-to-integer `as` saturates.
    fn count(&self, field: Field) -> Option<u64> {
        self.value(field).map(|value| (value + 0.5) as u64)
    }

    fn small(&self, field: Field) -> Option<u32> {
        self.count(field).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn report(&self) -> Result<RankReport> {
        let kv_cache = KvCache {
            block_size: self.small(Field::BlockSize).and_then(NonZeroU32::new),
            blocks: self.count(Field::Blocks),
            tokens: self.count(Field::KvCapacity),
        };
        let kv_tokens = self.count(Field::KvTokens);
        let of_tokens = || match (kv_tokens, kv_cache.capacity()) {
            (Some(used), Some(capacity)) if capacity > 0 => Some(used as f64 / capacity as f64),
            _ => None,
        };
        let mut load = Load::default();
        load.waiting = self.small(Field::Waiting);
        load.running = self.small(Field::Running);
        load.sleeping = self.sleeps;
        if self.engine.is_some_and(Engine::runs_what_waits) {
            load.running =
                load.running.map(|running| running.saturating_sub(load.waiting.unwrap_or(0)));
        }
        if let Some(share) = self.value(Field::KvUsage).or_else(of_tokens) {
            load = load.kv_usage(share);
        }
        Ok(RankReport { rank: self.name.text()?.into_owned(), load, kv_tokens, kv_cache })
    }
}

/// Copies the cache layout of a sample without a rank label to every rank without its own.
fn share_unnamed(ranks: &mut Vec<RankReport>) {
    let Some((unnamed, named)) = ranks.split_first_mut() else { return };
    if !unnamed.rank.is_empty() {
        return;
    }
    for rank in &mut *named {
        if rank.kv_cache == KvCache::default() {
            rank.kv_cache = unnamed.kv_cache;
        }
    }
    let no_load = unnamed.load == Load::default() && unnamed.kv_tokens.is_none();
    if no_load && !named.is_empty() {
        ranks.remove(0);
    }
}

/// The adapters of all ranks, if a rank reports any.
fn adapters(ranks: &[Rank<'_>]) -> Result<Option<Adapters>> {
    let mut all = None;
    let (mut running, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for said in ranks.iter().filter_map(|rank| rank.adapters) {
        let all: &mut Adapters = all.get_or_insert_default();
        let slots = said.slots.map(|slots| u32::try_from(slots).unwrap_or(u32::MAX));
        all.slots = all.slots.max(slots.and_then(NonZeroU32::new));
        list(said.running, &mut running)?;
        list(said.waiting, &mut waiting)?;
    }
    Ok(all.map(|adapters| Adapters {
        running: running.into_iter().collect(),
        waiting: waiting.into_iter().collect(),
        ..adapters
    }))
}

/// Adds the names of a comma-separated list.
fn list(value: Option<Value<'_>>, names: &mut BTreeSet<String>) -> Result<()> {
    if let Some(value) = value {
        let text = value.text()?;
        names.extend(
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(ToString::to_string),
        );
    }
    Ok(())
}

const fn bit(engine: Engine) -> u8 {
    1 << engine as u8
}
