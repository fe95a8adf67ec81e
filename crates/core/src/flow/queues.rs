//! Which requests are candidates for dispatch, and their order.
//!
//! A band has *groups* of queues: one for requests that were not tried, and one for each endpoint
//! (or eligibility class) that requests wait for. A group has one *queue* for each flow, and a
//! queue has requests. Each level is a heap of the turns of the level below. Opening, closing and
//! releasing an endpoint moves one group in each band, and no requests.
//!
//! A turn in a heap may be earlier than the true turn, never later. Charging a flow makes the turns
//! of its queues later and updates no heap: the first entry is checked and moved before it is
//! served. Refunding a flow moves its queues that were placed at their true turns back to the
//! front, at most once for each placement.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::fairness::Virtual;
use super::heap::{Heap, HeapArena, Heaps};
use super::ledger::Flow;
use super::order::Rank;
use super::places::Places;
use super::slab::{NONE, Slab};
use crate::prefix::keyed_state::KeyedState;

/// The queues of all bands.
#[derive(Debug)]
pub(super) struct Queues {
    /// By band number.
    bands: Vec<BandQueues>,
    groups: Slab<QueueGroup>,
    queues: Slab<Queue>,
    /// By flow number.
    by_flow: Vec<FlowQueues>,
    /// Requests in queues.
    pub(super) places: Places,
    /// Queues in groups.
    queue_turns: HeapArena<Turn>,
    /// Open groups in bands.
    group_turns: HeapArena<Turn>,
    /// Endpoints that requests wait for.
    waiters: HashMap<u64, EndpointWaiters, KeyedState>,
    /// The queue of a flow in an endpoint's group.
    parked: HashMap<u64, u32, KeyedState>,
    /// Endpoints whose waiting bands have changed; `None` while that is not followed.
    changed: Option<BTreeSet<u32>>,
}

/// The groups of a band.
#[derive(Clone, Debug)]
struct BandQueues {
    /// The open groups, by turn.
    open: Heap,
    /// The group of requests that wait for no endpoint.
    ready: u32,
}

#[derive(Debug)]
struct QueueGroup {
    band: u32,
    kind: GroupKind,
    open: bool,
    /// Nanoseconds of the work of its requests, if they wait for an endpoint.
    work: u64,
    /// Queues by turn.
    queues: Heap,
}

/// What the requests of a group wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum GroupKind {
    /// Their first attempt.
    Ready,
    /// An endpoint.
    Parked(u32),
    /// Their next attempt, after their endpoint was removed; the group stays open until it is
    /// empty.
    Released,
}

/// The requests of a flow in a group.
#[derive(Debug)]
struct Queue {
    flow: u32,
    group: u32,
    /// Requests by rank.
    requests: Heap,
    /// Neighbours in the flow's list of placed queues.
    before: u32,
    after: u32,
    placed: bool,
}

/// The queues of a flow.
#[derive(Clone, Debug)]
struct FlowQueues {
    ready: u32,
    /// The first placed queue: one whose heap entry is not at the front.
    placed: u32,
}

/// The groups that wait for an endpoint.
#[derive(Debug, Default)]
struct EndpointWaiters {
    open: bool,
    /// One group for each band with waiting requests.
    groups: SmallVec<[u32; 2]>,
}

/// The order of candidates: the flow with the least service, then the request of the lowest rank.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Turn {
    served: Virtual,
    rank: Rank,
}

impl Turn {
    /// Before all others, until it is checked.
    const FRONT: Self = Self { served: 0, rank: Rank::FIRST };
}

impl Queues {
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self {
            bands: Vec::new(),
            groups: Slab::new(),
            queues: Slab::new(),
            by_flow: Vec::new(),
            places: Places::default(),
            queue_turns: HeapArena::new(),
            group_turns: HeapArena::new(),
            waiters: HashMap::with_hasher(hash_state),
            parked: HashMap::with_hasher(hash_state),
            changed: None,
        }
    }

    /// Follows for which endpoints requests wait, from now on.
    pub(super) fn follow_parked(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The next endpoint whose waiting bands have changed.
    pub(super) fn poll_parked(&mut self) -> Option<u32> {
        self.changed.as_mut()?.pop_first()
    }

    /// The bands with requests that wait for an endpoint.
    pub(super) fn parked_bands(&self, slot: u32) -> impl Iterator<Item = u32> {
        let waiters = self.waiters.get(&u64::from(slot));
        let groups = waiters.map_or(&[][..], |waiters| &waiters.groups);
        groups.iter().map(|group| self.groups[*group].band)
    }

    /// Adds a request without an endpoint. Returns its queue.
    pub(super) fn join(&mut self, flows: &Slab<Flow>, flow: u32, request: u32, rank: Rank) -> u32 {
        grow(&mut self.bands, flows[flow].band, &BandQueues { open: Heap::EMPTY, ready: NONE });
        grow(&mut self.by_flow, flow, &FlowQueues { ready: NONE, placed: NONE });
        let mut queue = self.by_flow[flow as usize].ready;
        if queue == NONE {
            let group = self.ready_group(flows[flow].band);
            queue = self.new_queue(flow, group);
            self.by_flow[flow as usize].ready = queue;
        }
        self.append(flows, queue, request, rank);
        queue
    }

    /// Adds a request that waits for an endpoint, where it has `work` nanoseconds of work, and
    /// closes the endpoint. Returns the request's queue.
    pub(super) fn park(
        &mut self,
        flows: &Slab<Flow>,
        flow: u32,
        slot: u32,
        request: u32,
        rank: Rank,
        work: u64,
    ) -> u32 {
        self.close(slot);
        let group = self.parked_group(slot, flows[flow].band);
        self.groups[group].work += work;
        let key = pair(group, flow);
        let queue = match self.parked.get(&key) {
            Some(queue) => *queue,
            None => {
                let queue = self.new_queue(flow, group);
                self.parked.insert(key, queue);
                queue
            }
        };
        self.append(flows, queue, request, rank);
        queue
    }

    /// Removes a request with this parked work from its queue.
    pub(super) fn leave(&mut self, queue: u32, request: u32, work: u64) {
        let number = queue;
        let queue = &mut self.queues[number];
        self.groups[queue.group].work -= work;
        self.places.by_rank().remove(&mut queue.requests, request);
        // The queue's true turn is now later than its entry, which is corrected when it comes
        // first.
        if queue.requests.is_empty() {
            self.remove_queue(number);
        }
    }

    /// Nanoseconds of the work of the requests, in bands that count, that wait for an endpoint.
    pub(super) fn parked_work(&self, slot: u32, counts: impl Fn(u32) -> bool) -> u64 {
        let waiters = self.waiters.get(&u64::from(slot));
        let groups = waiters.map_or(&[][..], |waiters| &waiters.groups);
        let groups = groups.iter().map(|group| &self.groups[*group]);
        groups.filter(|group| counts(group.band)).map(|group| group.work).sum()
    }

    /// The endpoint that the requests of a queue wait for.
    pub(super) fn waits_for(&self, queue: u32) -> Option<u32> {
        match self.groups[self.queues[queue].group].kind {
            GroupKind::Parked(slot) => Some(slot),
            GroupKind::Ready | GroupKind::Released => None,
        }
    }

    /// The flow of a queue.
    pub(super) fn flow_of(&self, queue: u32) -> u32 {
        self.queues[queue].flow
    }

    /// Whether a band has a candidate.
    pub(super) fn has_candidate(&self, band: u32) -> bool {
        self.bands.get(band as usize).is_some_and(|band_queues| !band_queues.open.is_empty())
    }

    /// The first candidate of a band.
    pub(super) fn first(&mut self, flows: &Slab<Flow>, band: u32) -> Option<u32> {
        loop {
            let group = self.bands.get(band as usize)?.open.first;
            if group == NONE {
                return None;
            }
            let queue = self.groups[group].queues.first;
            let turn = self.turn(flows, queue);
            if self.queue_turns.key(queue) != turn {
                self.place(queue, turn);
            } else if self.group_turns.key(group) != turn {
                self.group_turns.rekey(&mut self.bands[band as usize].open, group, turn);
            } else {
                return Some(self.queues[queue].requests.first);
            }
        }
    }

    /// Candidates of a band whose flows have at most `limit` service: the first of each queue, from
    /// at most `most` queues.
    pub(super) fn near(
        &self,
        flows: &Slab<Flow>,
        band: u32,
        limit: Virtual,
        most: usize,
    ) -> impl Iterator<Item = (Turn, u32)> {
        let limit = Turn { served: limit, rank: Rank::LAST };
        let front =
            self.bands.get(band as usize).map_or(Heap::EMPTY, |band_queues| band_queues.open);
        let groups = self.group_turns.up_to(front, limit);
        let queues = groups
            .flat_map(move |group| self.queue_turns.up_to(self.groups[group].queues, limit))
            .take(most);
        queues
            .map(|queue| (self.turn(flows, queue), self.queues[queue].requests.first))
            .filter(move |(turn, _)| *turn <= limit)
    }

    /// Makes requests that wait for this endpoint candidates.
    pub(super) fn open(&mut self, slot: u32) {
        self.set_open(slot, true);
    }

    /// Makes requests that wait for this endpoint no candidates.
    pub(super) fn close(&mut self, slot: u32) {
        self.set_open(slot, false);
    }

    /// Removes an endpoint: requests that waited for it are candidates from now on.
    pub(super) fn release(&mut self, slot: u32) {
        self.open(slot);
        for group in self.waiters.remove(&u64::from(slot)).unwrap_or_default().groups {
            self.groups[group].kind = GroupKind::Released;
            self.note_parked(slot);
        }
    }

    /// Handles a turn of a flow that becomes earlier.
    pub(super) fn advance_flow(&mut self, flow: u32) {
        loop {
            let queue = self.by_flow[flow as usize].placed;
            if queue == NONE {
                return;
            }
            self.unplace(queue);
            self.queue_turns.rekey(
                &mut self.groups[self.queues[queue].group].queues,
                queue,
                Turn::FRONT,
            );
            self.advance(self.queues[queue].group);
        }
    }

    fn set_open(&mut self, slot: u32, open: bool) {
        let Some(waiters) = self.waiters.get_mut(&u64::from(slot)) else { return };
        if waiters.open == open {
            return;
        }
        waiters.open = open;
        for at in &waiters.groups {
            let group = &mut self.groups[*at];
            group.open = open;
            let band_queues = &mut self.bands[group.band as usize].open;
            if open {
                self.group_turns.insert(band_queues, *at, self.queue_turns.key(group.queues.first));
            } else {
                self.group_turns.remove(band_queues, *at);
            }
        }
    }

    /// The true turn of a queue.
    fn turn(&self, flows: &Slab<Flow>, queue: u32) -> Turn {
        let queue = &self.queues[queue];
        Turn { served: flows[queue.flow].served, rank: self.places.rank(queue.requests.first) }
    }

    /// Moves a queue to its true turn in its group.
    fn place(&mut self, number: u32, turn: Turn) {
        let queue = &mut self.queues[number];
        self.queue_turns.rekey(&mut self.groups[queue.group].queues, number, turn);
        if !queue.placed {
            queue.placed = true;
            let first = core::mem::replace(&mut self.by_flow[queue.flow as usize].placed, number);
            (queue.before, queue.after) = (NONE, first);
            if first != NONE {
                self.queues[first].before = number;
            }
        }
    }

    fn unplace(&mut self, number: u32) {
        let queue = &mut self.queues[number];
        if !core::mem::take(&mut queue.placed) {
            return;
        }
        let Queue { flow, before, after, .. } = *queue;
        match before {
            NONE => self.by_flow[flow as usize].placed = after,
            _ => self.queues[before].after = after,
        }
        if after != NONE {
            self.queues[after].before = before;
        }
    }

    /// Updates a group whose first turn may have become earlier.
    fn advance(&mut self, at: u32) {
        let group = &self.groups[at];
        let turn = self.queue_turns.key(group.queues.first);
        if group.open && turn < self.group_turns.key(at) {
            self.group_turns.rekey(&mut self.bands[group.band as usize].open, at, turn);
        }
    }

    /// Adds a request to a queue, which may be new and not in its group yet.
    fn append(&mut self, flows: &Slab<Flow>, number: u32, request: u32, rank: Rank) {
        let queue = &mut self.queues[number];
        let new = queue.requests.is_empty();
        self.places.by_rank().insert(&mut queue.requests, request, rank);
        if queue.requests.first != request {
            return;
        }
        let at = queue.group;
        let turn = self.turn(flows, number);
        let group = &mut self.groups[at];
        if !new {
            if turn < self.queue_turns.key(number) {
                self.place(number, turn);
                self.advance(at);
            }
            return;
        }
        let new_group = group.queues.is_empty();
        self.queue_turns.insert(&mut group.queues, number, turn);
        if new_group && group.open {
            self.group_turns.insert(&mut self.bands[group.band as usize].open, at, turn);
        }
        self.place(number, turn);
        self.advance(at);
    }

    fn ready_group(&mut self, band: u32) -> u32 {
        let band_queues = &mut self.bands[band as usize];
        if band_queues.ready == NONE {
            band_queues.ready = self.groups.insert(QueueGroup {
                band,
                kind: GroupKind::Ready,
                open: true,
                work: 0,
                queues: Heap::EMPTY,
            });
        }
        band_queues.ready
    }

    fn parked_group(&mut self, slot: u32, band: u32) -> u32 {
        let waiters = self.waiters.entry(u64::from(slot)).or_default();
        if let Some(group) = waiters.groups.iter().find(|group| self.groups[**group].band == band) {
            return *group;
        }
        let group = self.groups.insert(QueueGroup {
            band,
            kind: GroupKind::Parked(slot),
            open: waiters.open,
            work: 0,
            queues: Heap::EMPTY,
        });
        waiters.groups.push(group);
        self.note_parked(slot);
        group
    }

    fn note_parked(&mut self, slot: u32) {
        if let Some(changed) = &mut self.changed {
            changed.insert(slot);
        }
    }

    fn new_queue(&mut self, flow: u32, group: u32) -> u32 {
        self.queues.insert(Queue {
            flow,
            group,
            requests: Heap::EMPTY,
            before: NONE,
            after: NONE,
            placed: false,
        })
    }

    fn remove_queue(&mut self, number: u32) {
        self.unplace(number);
        let Some(queue) = self.queues.remove(number) else { return };
        let group = &mut self.groups[queue.group];
        self.queue_turns.remove(&mut group.queues, number);
        match group.kind {
            GroupKind::Ready => self.by_flow[queue.flow as usize].ready = NONE,
            GroupKind::Parked(_) | GroupKind::Released => {
                self.parked.remove(&pair(queue.group, queue.flow));
            }
        }
        if group.queues.is_empty() {
            self.remove_group(queue.group);
        }
    }

    fn remove_group(&mut self, number: u32) {
        let Some(group) = self.groups.remove(number) else { return };
        let band_queues = &mut self.bands[group.band as usize];
        if group.open {
            self.group_turns.remove(&mut band_queues.open, number);
        }
        match group.kind {
            GroupKind::Ready => band_queues.ready = NONE,
            GroupKind::Released => (),
            GroupKind::Parked(slot) => {
                self.note_parked(slot);
                let slot = u64::from(slot);
                let Some(waiters) = self.waiters.get_mut(&slot) else { return };
                waiters.groups.retain(|group| *group != number);
                if waiters.groups.is_empty() {
                    self.waiters.remove(&slot);
                }
            }
        }
    }
}

fn pair(group: u32, flow: u32) -> u64 {
    u64::from(group) << 32 | u64::from(flow)
}

fn grow<T: Clone>(all: &mut Vec<T>, number: u32, blank: &T) {
    if number as usize >= all.len() {
        all.resize(number as usize + 1, blank.clone());
    }
}

#[cfg(test)]
mod check {
    use alloc::collections::{BTreeMap, BTreeSet};

    use super::*;

    impl Queues {
        /// Checks all levels against each other and against the requests.
        pub(in crate::flow) fn check(
            &self,
            flows: &Slab<Flow>,
            waiting: &BTreeMap<u32, BTreeSet<u32>>,
        ) {
            let mut groups: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            let mut placed: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            let mut places = self.places.clone();
            for (number, queue) in self.queues.iter() {
                assert_eq!(Some(&places.by_rank().members(queue.requests)), waiting.get(&number));
                assert!(
                    self.queue_turns.key(number) <= self.turn(flows, number),
                    "none comes too late"
                );
                assert!(queue.placed || self.queue_turns.key(number) == Turn::FRONT);
                groups.entry(queue.group).or_default().insert(number);
                if queue.placed {
                    placed.entry(queue.flow).or_default().insert(number);
                }
                match self.groups[queue.group].kind {
                    GroupKind::Ready => assert_eq!(self.by_flow[queue.flow as usize].ready, number),
                    _ => assert_eq!(self.parked.get(&pair(queue.group, queue.flow)), Some(&number)),
                }
            }
            assert_eq!(self.queues.len(), waiting.len());
            let ready = self.by_flow.iter().filter(|flow| flow.ready != NONE).count();
            assert_eq!(self.parked.len() + ready, self.queues.len());
            for (flow, flow_queues) in self.by_flow.iter().enumerate() {
                let mut chain = BTreeSet::new();
                let mut at = flow_queues.placed;
                while at != NONE && chain.insert(at) {
                    at = self.queues[at].after;
                }
                assert_eq!(chain, placed.remove(&(flow as u32)).unwrap_or_default());
            }
            let mut bands: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (number, group) in self.groups.iter() {
                assert_eq!(Some(&self.queue_turns.members(group.queues)), groups.get(&number));
                if group.open {
                    assert!(
                        self.group_turns.key(number) <= self.queue_turns.key(group.queues.first)
                    );
                    bands.entry(group.band).or_default().insert(number);
                }
                match group.kind {
                    GroupKind::Ready => assert_eq!(self.bands[group.band as usize].ready, number),
                    GroupKind::Released => assert!(group.open),
                    GroupKind::Parked(slot) => {
                        let waiters = &self.waiters[&u64::from(slot)];
                        assert!(waiters.groups.contains(&number) && waiters.open == group.open);
                    }
                }
            }
            assert_eq!(self.groups.len(), groups.len());
            assert!(self.waiters.values().all(|waiters| !waiters.groups.is_empty()));
            for (band, band_queues) in self.bands.iter().enumerate() {
                assert_eq!(
                    self.group_turns.members(band_queues.open),
                    bands.remove(&(band as u32)).unwrap_or_default()
                );
            }
        }
    }
}
