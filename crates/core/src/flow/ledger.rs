//! The accounts of bands and flows: service received, and requests that wait.
//!
//! A flow without waiting requests is forgotten when its virtual time no longer exceeds the band's
//! clock, since it would return as a new flow. It is also forgotten when its band is empty, and
//! when it has the least lead of more than [`max_idle_flows`](super::FlowConfig::max_idle_flows)
//! idle flows. With [`LeastAttainedService`](Fairness::LeastAttainedService), it is forgotten when
//! its service has decayed. A band is forgotten with its last flow.
//!
//! A flow whose requests wait at other gateways is kept, as if they waited here: see
//! [`elsewhere`](super::elsewhere).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::config::Fairness;
use super::fairness::Virtual;
use super::heap::{Heap, HeapArena, Heaps};
use super::order::AgeClock;
use super::slab::{NONE, Slab};
use crate::prefix::keyed_state::KeyedState;
use crate::time::{Instant, Seconds};

/// All bands and flows.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) fairness: Fairness,
    hash_state: KeyedState,
    pub(super) max_idle: usize,
    pub(super) bands: Slab<Band>,
    /// The numbers of bands, by rising priority.
    pub(super) by_priority: Vec<(i32, u32)>,
    pub(super) flows: Slab<Flow>,
    /// Number of flows whose requests wait nowhere.
    pub(super) idle: usize,
    /// Number of flows whose requests wait at other gateways only.
    pub(super) absent: usize,
    pub(super) standings: HeapArena<Standing>,
    /// The places of flows among those that wait at other gateways.
    pub(super) lags: HeapArena<Standing>,
    /// Flows that have begun or ceased to wait, or whose weight has changed, by priority and id,
    /// and whether each waited when it was last polled; `None` while that is not followed. At most
    /// the flows that wait now and those that waited then.
    pub(super) changed: Option<BTreeMap<(i32, u64), bool>>,
}

/// Requests of one priority.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) priority: i32,
    pub(super) sum: QueueTotals,
    /// At least the virtual time of the flow that was served last.
    pub(super) clock: Virtual,
    pub(super) flows: HashMap<u64, u32, KeyedState>,
    /// Flows with waiting requests, farthest ahead first. A place may be too early, never too late:
    /// see [`farthest_ahead`](Ledger::farthest_ahead).
    pub(super) ahead: Heap,
    /// Idle flows; the first is the one to forget next.
    pub(super) idle: Heap,
    /// Flows whose requests wait at other gateways; the first has received the least service.
    pub(super) elsewhere: Heap,
    /// By which its requests age; new for a band that was empty.
    pub(super) ages: AgeClock,
}

/// Requests of one priority and one fairness id.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: u64,
    pub(super) band: u32,
    pub(super) weight: f64,
    /// Its virtual time. An idle flow's exceeds the band's clock, or it would have been forgotten.
    pub(super) served: Virtual,
    /// Number of waiting requests.
    pub(super) len: usize,
    /// Whether requests of it wait at other gateways.
    pub(super) elsewhere: bool,
    /// The sum of their charges.
    waiting: Virtual,
    /// The most recent request.
    pub(super) newest: u32,
}

/// The place of a flow in its band: by falling lead with waiting requests, by rising virtual time
/// without.
pub(super) type Standing = (Virtual, u64);

/// Totals of waiting requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct QueueTotals {
    /// Number of requests.
    pub(crate) requests: usize,
    /// Their bytes.
    pub(crate) bytes: u128,
    /// Their predicted work, in nanoseconds.
    pub(crate) work: u128,
}

impl Ledger {
    pub(super) const fn new(fairness: Fairness, hash_state: KeyedState, max_idle: usize) -> Self {
        Self {
            fairness,
            hash_state,
            max_idle,
            bands: Slab::new(),
            by_priority: Vec::new(),
            flows: Slab::new(),
            idle: 0,
            absent: 0,
            standings: HeapArena::new(),
            lags: HeapArena::new(),
            changed: None,
        }
    }

    /// The bands, highest priority first.
    pub(super) fn descending(&self) -> impl DoubleEndedIterator<Item = (u32, &Band)> {
        self.by_priority.iter().rev().map(|(_, band)| (*band, &self.bands[*band]))
    }

    /// The band for a priority: its own, while there are fewer than `most` bands.
    ///
    /// Above that number the request joins the next lower existing band, so its priority is not
    /// raised. It stays on its side of zero, because only negative bands may be shed. Bands 0 and
    /// -1 can always be created.
    pub(super) fn band_for(&self, priority: i32, most: usize) -> i32 {
        let Err(place) = self.place_of(priority) else { return priority };
        if self.by_priority.len() < most || priority == 0 || priority == -1 {
            return priority;
        }
        let (lower, _) = self.by_priority.split_at(place);
        let below = lower.last().map(|(band, _)| *band);
        if priority > 0 {
            return below.filter(|band| *band > 0).unwrap_or(0);
        }
        let lowest = || self.by_priority.first().map(|(band, _)| *band);
        below.or_else(lowest).filter(|band| *band < 0).unwrap_or(-1)
    }

    /// The number of a priority's band.
    pub(super) fn band_at(&self, priority: i32) -> Option<u32> {
        self.place_of(priority).ok().map(|place| self.by_priority[place].1)
    }

    /// The place of a priority in `by_priority`, or where it would be.
    fn place_of(&self, priority: i32) -> Result<usize, usize> {
        self.by_priority.binary_search_by_key(&priority, |(priority, _)| *priority)
    }

    /// Whether a request of this priority waits.
    pub(super) fn waits(&self, priority: i32) -> bool {
        self.band_at(priority).is_some_and(|band| self.bands[band].sum.requests > 0)
    }

    pub(super) fn priority_of(&self, flow: u32) -> i32 {
        self.bands[self.flows[flow].band].priority
    }

    /// Adds a request with this charge to its flow.
    pub(super) fn enter(
        &mut self,
        priority: i32,
        id: u64,
        weight: f64,
        charge: u64,
        sum: QueueTotals,
    ) -> u32 {
        let band = self.band_of(priority);
        let at = self.flow_of(band, id);
        let (band, flow) = (&mut self.bands[band], &mut self.flows[at]);
        if band.sum.requests == 0 {
            band.ages = AgeClock::default();
        }
        if flow.len == 0 || flow.weight.to_bits() != weight.to_bits() {
            note(&mut self.changed, (priority, flow.id), flow.len > 0, true);
        }
        let waited = flow.len > 0;
        if !waited && flow.elsewhere {
            self.absent -= 1;
        } else if !waited {
            self.standings.remove(&mut band.idle, at);
            self.idle -= 1;
        }
        flow.weight = weight;
        flow.len += 1;
        flow.waiting += Virtual::from(charge);
        let standing = flow.ahead(self.fairness);
        if !waited {
            self.standings.insert(&mut band.ahead, at, standing);
        } else if standing < self.standings.key(at) {
            self.standings.rekey(&mut band.ahead, at, standing);
        }
        band.sum.add(sum);
        at
    }

    /// The clock by which the requests of a flow age.
    pub(super) fn ages_of(&mut self, flow: u32) -> &mut AgeClock {
        &mut self.bands[self.flows[flow].band].ages
    }

    /// Charges a flow for a request, which must still [`leave`](Self::leave).
    pub(super) fn serve(&mut self, now: Instant, at: u32, charge: u64) {
        let flow = &mut self.flows[at];
        let band = &mut self.bands[flow.band];
        band.clock = self.fairness.clock(band.clock, flow.served);
        flow.served = self.fairness.after(flow.served, i128::from(charge), now);
        if flow.elsewhere {
            self.lags.rekey(&mut band.elsewhere, at, (flow.served, flow.id));
        }
    }

    /// Removes a waiting request.
    pub(super) fn leave(&mut self, now: Instant, at: u32, charge: u64, sum: QueueTotals) {
        let flow = &mut self.flows[at];
        let number = flow.band;
        let band = &mut self.bands[number];
        band.sum.subtract(sum);
        flow.len -= 1;
        flow.waiting -= Virtual::from(charge);
        // A flow with waiting requests may keep a place that is now too early.
        if flow.len == 0 {
            self.standings.remove(&mut band.ahead, at);
            note(&mut self.changed, (band.priority, flow.id), true, false);
            self.rest(at);
        }
        self.forget(now, number);
    }

    /// The flow with waiting requests that is farthest ahead in a band, and its lead. A
    /// [pretended](Self::pretend) lead counts.
    ///
    /// Moves flows whose requests have left since they were placed, one at most for each of these
    /// requests. So it computes in amortized **O(log flows)**.
    pub(super) fn farthest_ahead(&mut self, band: u32) -> Option<(u32, Virtual)> {
        let ahead = &mut self.bands[band].ahead;
        while !ahead.is_empty() {
            let at = ahead.first;
            let (placed, standing) = (self.standings.key(at), self.flows[at].ahead(self.fairness));
            if standing <= placed {
                return Some((at, !placed.0));
            }
            self.standings.rekey(ahead, at, standing);
        }
        None
    }

    /// Corrects the charge of a finished request to its actual cost. Returns the flow if its turn
    /// becomes earlier.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        priority: i32,
        id: u64,
        charged: Seconds,
        actual: Seconds,
    ) -> Option<u32> {
        let number = self.band_at(priority)?;
        let id = self.fairness.flow(id);
        let known = self.bands[number].flows.get(&id).copied();
        let weight = known.map_or(1.0, |at| self.flows[at].weight);
        let charge = |cost| i128::from(self.fairness.charge(cost, weight));
        let more = charge(actual) - charge(charged);
        let at = match known {
            Some(at) => at,
            // A forgotten flow had no lead; the correction gives it one.
            None if more > 0 => self.flow_of(number, id),
            None => return None,
        };
        let flow = &mut self.flows[at];
        let before = flow.served;
        flow.served = self.fairness.after(before, more, now);
        let (earlier, waits) = (flow.served < before, flow.len > 0);
        self.rekey(at);
        if waits {
            return earlier.then_some(at);
        }
        self.forget(now, number);
        None
    }

    /// Updates the place of a flow that was served or refunded.
    pub(super) fn rekey(&mut self, at: u32) {
        let flow = &self.flows[at];
        let band = &mut self.bands[flow.band];
        let standing = (flow.served, flow.id);
        if flow.elsewhere {
            self.lags.rekey(&mut band.elsewhere, at, standing);
        }
        if flow.len > 0 {
            self.standings.rekey(&mut band.ahead, at, flow.ahead(self.fairness));
        } else if !flow.elsewhere {
            self.standings.rekey(&mut band.idle, at, standing);
        }
    }

    /// The lead of a flow with one more request of this charge.
    pub(super) fn lead_of(&self, band: u32, id: u64, charge: u64) -> Virtual {
        let band = &self.bands[band];
        let flow = band.flows.get(&id).map(|at| &self.flows[*at]);
        let (served, waiting) = flow.map_or((band.clock, 0), |flow| (flow.served, flow.waiting));
        self.fairness.lead(served, waiting + Virtual::from(charge))
    }

    /// The lead of a flow once all but its last requests, of this total charge, are served.
    pub(super) fn lead_without(&self, at: u32, charge: Virtual) -> Virtual {
        let flow = &self.flows[at];
        self.fairness.lead(flow.served, flow.waiting - charge)
    }

    /// Sets a flow's lead until it is [restored](Self::restore); `None` removes the flow from the
    /// order.
    pub(super) fn pretend(&mut self, at: u32, lead: Option<Virtual>) {
        let flow = &self.flows[at];
        let ahead = &mut self.bands[flow.band].ahead;
        self.standings.remove(ahead, at);
        if let Some(lead) = lead {
            self.standings.insert(ahead, at, (!lead, !flow.id));
        }
    }

    /// Restores a flow's lead.
    pub(super) fn restore(&mut self, at: u32, stands: bool) {
        let flow = &self.flows[at];
        let ahead = &mut self.bands[flow.band].ahead;
        if stands {
            self.standings.remove(ahead, at);
        }
        self.standings.insert(ahead, at, flow.ahead(self.fairness));
    }

    pub(super) fn band_of(&mut self, priority: i32) -> u32 {
        let place = match self.place_of(priority) {
            Ok(place) => return self.by_priority[place].1,
            Err(place) => place,
        };
        let number = self.bands.insert(Band {
            priority,
            sum: QueueTotals::default(),
            clock: 0,
            flows: HashMap::with_hasher(self.hash_state),
            ahead: Heap::EMPTY,
            idle: Heap::EMPTY,
            elsewhere: Heap::EMPTY,
            ages: AgeClock::default(),
        });
        self.by_priority.insert(place, (priority, number));
        number
    }

    /// The flow of an id; a new one starts idle at the band's clock.
    pub(super) fn flow_of(&mut self, band: u32, id: u64) -> u32 {
        let number = band;
        let band = &mut self.bands[number];
        if let Some(at) = band.flows.get(&id) {
            return *at;
        }
        let (weight, served) = (1.0, band.clock);
        let (len, elsewhere, waiting, newest) = (0, false, 0, NONE);
        let flow = Flow { id, band: number, weight, served, len, elsewhere, waiting, newest };
        let at = self.flows.insert(flow);
        band.flows.insert(id, at);
        self.rest(at);
        at
    }

    /// Adds a flow without waiting requests to the idle ones, unless some wait elsewhere.
    pub(super) fn rest(&mut self, at: u32) {
        let flow = &self.flows[at];
        if flow.elsewhere {
            self.absent += 1;
            return;
        }
        self.standings.insert(&mut self.bands[flow.band].idle, at, (flow.served, flow.id));
        self.idle += 1;
    }

    /// Changes the limit of idle flows. Lower bands lose theirs first.
    pub(super) fn set_max_idle(&mut self, now: Instant, max_idle: usize) {
        self.max_idle = max_idle;
        let bands: Vec<u32> = self.by_priority.iter().map(|(_, band)| *band).collect();
        bands.into_iter().for_each(|band| self.forget(now, band));
    }

    /// Forgets idle flows of a band that need not be remembered.
    pub(super) fn forget(&mut self, now: Instant, number: u32) {
        let band = &mut self.bands[number];
        let is_empty = band.sum.requests == 0 && band.elsewhere.is_empty();
        let limit = self.fairness.forgettable(band.clock, !is_empty, now);
        if is_empty && limit == Virtual::MAX {
            // All flows are idle, and all are forgotten: their order does not matter.
            for (_, at) in self.remove_band(number).into_iter().flat_map(|band| band.flows) {
                self.flows.remove(at);
                self.idle -= 1;
            }
            return;
        }
        while !band.idle.is_empty()
            && (self.idle > self.max_idle || self.standings.key(band.idle.first).0 <= limit)
        {
            let at = band.idle.first;
            self.standings.remove(&mut band.idle, at);
            self.idle -= 1;
            if let Some(flow) = self.flows.remove(at) {
                band.flows.remove(&flow.id);
            }
        }
        if is_empty && band.idle.is_empty() {
            self.remove_band(number);
        }
    }

    fn remove_band(&mut self, number: u32) -> Option<Band> {
        let band = self.bands.remove(number)?;
        if let Ok(place) = self.place_of(band.priority) {
            self.by_priority.remove(place);
        }
        Some(band)
    }
}

impl Flow {
    fn ahead(&self, fairness: Fairness) -> Standing {
        // Inverted, because a heap returns the least. Of equal leads, the flow with the larger id
        // is displaced.
        (!fairness.lead(self.served, self.waiting), !self.id)
    }
}

/// Notes a flow that waited and waits now. One that waited at neither poll is no change.
fn note(
    changed: &mut Option<BTreeMap<(i32, u64), bool>>,
    flow: (i32, u64),
    waited: bool,
    waits: bool,
) {
    let Some(changed) = changed else { return };
    let at_poll = *changed.entry(flow).or_insert(waited);
    if !at_poll && !waits {
        changed.remove(&flow);
    }
}

impl QueueTotals {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.work += other.work;
    }

    pub(super) fn subtract(&mut self, other: Self) {
        self.requests -= other.requests;
        self.bytes -= other.bytes;
        self.work -= other.work;
    }
}

#[cfg(test)]
mod check {
    use alloc::collections::BTreeSet;

    use super::*;

    impl Ledger {
        /// Checks the accounts against the waiting requests, flow by flow.
        pub(in crate::flow) fn check(&self, waiting: &BTreeMap<u32, Vec<(u64, QueueTotals)>>) {
            let (mut idle, mut absent) = (0, 0);
            for (at, flow) in self.flows.iter() {
                let requests = waiting.get(&at).map_or(&[][..], Vec::as_slice);
                assert_eq!(flow.len, requests.len());
                assert_eq!(
                    flow.waiting,
                    requests.iter().map(|(charge, _)| Virtual::from(*charge)).sum()
                );
                assert_eq!(self.bands[flow.band].flows.get(&flow.id), Some(&at));
                let rests = flow.len == 0 && !flow.elsewhere;
                if flow.len > 0 {
                    assert!(self.standings.key(at) <= flow.ahead(self.fairness));
                } else if rests {
                    assert_eq!(self.standings.key(at), (flow.served, flow.id));
                    assert!(flow.served > self.bands[flow.band].clock);
                }
                if flow.elsewhere {
                    assert_eq!(self.lags.key(at), (flow.served, flow.id));
                }
                idle += usize::from(rests);
                absent += usize::from(flow.len == 0 && flow.elsewhere);
            }
            assert_eq!((idle, idle <= self.max_idle), (self.idle, true));
            assert_eq!(absent, self.absent);
            assert_eq!(self.by_priority.len(), self.bands.len());
            for (number, band) in self.descending() {
                let members = |counts: fn(&Flow) -> bool| -> BTreeSet<u32> {
                    let flows = self.flows.iter().filter(|(_, flow)| flow.band == number);
                    flows.filter(|(_, flow)| counts(flow)).map(|(at, _)| at).collect()
                };
                let waiting_here = members(|flow| flow.len > 0);
                assert_eq!(self.standings.members(band.ahead), waiting_here);
                let resting = members(|flow| flow.len == 0 && !flow.elsewhere);
                assert_eq!(self.standings.members(band.idle), resting);
                let elsewhere = members(|flow| flow.elsewhere);
                assert_eq!(self.lags.members(band.elsewhere), elsewhere);
                assert_eq!(band.flows.len(), members(|_| true).len());
                let mut sum = QueueTotals::default();
                let requests = waiting_here.into_iter().flat_map(|flow| &waiting[&flow]);
                requests.for_each(|(_, request)| sum.add(*request));
                assert_eq!(band.sum, sum);
                assert!(!band.flows.is_empty(), "it would have been forgotten");
            }
        }
    }
}
