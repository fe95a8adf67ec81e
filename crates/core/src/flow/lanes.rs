//! Who is a candidate, and who of them goes first.
//!
//! A band has *lanes*: one for requests that have not been tried, and one for each endpoint that requests wait for. A lane has
//! *queues*, one for each flow, and a queue has requests. Each level is a heap of the turns of the one below, so that opening,
//! closing and releasing an endpoint moves its lanes, one a band, and none of the requests in them.
//!
//! A turn as a heap has it may be *earlier* than it is in truth, never later. When a flow is charged, the turns of all its queues
//! become later, and nothing is done: whoever is about to be served is looked at first, and put back to its true place. When a flow is
//! refunded, those of its queues that had been put in their places go to the front again, each at most once for each time it
//! was put there.

use alloc::vec::Vec;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::fairness::Virtual;
use super::forest::{Forest, Heap};
use super::ledger::Flow;
use super::order::Rank;
use super::slab::{NONE, Slab};
use crate::prefix::keyed::Keyed;

/// Lanes of all bands.
#[derive(Debug)]
pub(super) struct Lanes {
    /// By the bands' numbers.
    rows: Vec<Row>,
    lanes: Slab<Lane>,
    queues: Slab<Queue>,
    /// By the flows' numbers.
    strands: Vec<Strand>,
    /// Requests in queues.
    pub(super) ranks: Forest<Rank>,
    /// Queues in lanes.
    turns: Forest<Turn>,
    /// Open lanes in rows.
    fronts: Forest<Turn>,
    /// Endpoints that requests wait for.
    gates: HashMap<u64, Gate, Keyed>,
    /// The queue of a flow in a lane of an endpoint.
    parked: HashMap<u64, u32, Keyed>,
}

/// The lanes of a band.
#[derive(Clone, Debug)]
struct Row {
    /// The open lanes: first the one whose turn it is.
    open: Heap,
    /// The lane of those that wait for no endpoint.
    ready: u32,
}

#[derive(Debug)]
struct Lane {
    band: u32,
    kind: Kind,
    open: bool,
    /// First the one whose turn it is.
    queues: Heap,
}

/// Who waits in a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Those who have not been tried.
    Ready,
    /// Those who wait for an endpoint.
    Parked(u32),
    /// Those who waited for an endpoint that is gone: the lane stays open until it is empty.
    Released,
}

/// The requests of a flow in a lane.
#[derive(Debug)]
struct Queue {
    flow: u32,
    lane: u32,
    /// First the one whose turn it is.
    requests: Heap,
    /// Neighbours among those of its flow that have been put in their places.
    before: u32,
    after: u32,
    placed: bool,
}

/// The queues of a flow.
#[derive(Clone, Debug)]
struct Strand {
    ready: u32,
    /// One of those that are not at the front only because they were put in their places.
    placed: u32,
}

/// An endpoint that requests wait for.
#[derive(Debug, Default)]
struct Gate {
    open: bool,
    /// One for each band of which something waits.
    lanes: SmallVec<[u32; 2]>,
}

/// The least goes first: of the flow that has had least, the request of the lowest rank.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Turn {
    served: Virtual,
    rank: Rank,
}

impl Turn {
    /// Before all others, until it is looked at.
    const FRONT: Self = Self { served: 0, rank: Rank::FIRST };
}

impl Lanes {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            rows: Vec::new(),
            lanes: Slab::new(),
            queues: Slab::new(),
            strands: Vec::new(),
            ranks: Forest::new(),
            turns: Forest::new(),
            fronts: Forest::new(),
            gates: HashMap::with_hasher(keyed),
            parked: HashMap::with_hasher(keyed),
        }
    }

    /// A request waits for its turn: the number of its queue.
    pub(super) fn join(&mut self, flows: &Slab<Flow>, flow: u32, request: u32, rank: Rank) -> u32 {
        grow(&mut self.rows, flows[flow].band, &Row { open: Heap::EMPTY, ready: NONE });
        grow(&mut self.strands, flow, &Strand { ready: NONE, placed: NONE });
        let mut queue = self.strands[flow as usize].ready;
        if queue == NONE {
            let lane = self.ready_lane(flows[flow].band);
            queue = self.new_queue(flow, lane);
            self.strands[flow as usize].ready = queue;
        }
        self.append(flows, queue, request, rank);
        queue
    }

    /// A request waits for its turn at an endpoint, which is closed by that: the number of its queue.
    pub(super) fn park(&mut self, flows: &Slab<Flow>, flow: u32, slot: u32, request: u32, rank: Rank) -> u32 {
        self.close(slot);
        let lane = self.lane_at(slot, flows[flow].band);
        let key = pair(lane, flow);
        let queue = match self.parked.get(&key) {
            Some(queue) => *queue,
            None => {
                let queue = self.new_queue(flow, lane);
                self.parked.insert(key, queue);
                queue
            }
        };
        self.append(flows, queue, request, rank);
        queue
    }

    /// A request waits no longer in that queue.
    pub(super) fn leave(&mut self, queue: u32, request: u32) {
        let number = queue;
        let queue = &mut self.queues[number];
        self.ranks.remove(&mut queue.requests, request);
        // With another head, the queue's turn comes later than its lane has it: that is seen when it comes.
        if queue.requests.is_empty() {
            self.remove_queue(number);
        }
    }

    /// The flow of a queue.
    pub(super) fn flow_of(&self, queue: u32) -> u32 {
        self.queues[queue].flow
    }

    /// Whether a band has a candidate.
    pub(super) fn any(&self, band: u32) -> bool {
        self.rows.get(band as usize).is_some_and(|row| !row.open.is_empty())
    }

    /// The candidate of a band whose turn it is.
    pub(super) fn first(&mut self, flows: &Slab<Flow>, band: u32) -> Option<u32> {
        loop {
            let lane = self.rows.get(band as usize)?.open.first;
            if lane == NONE {
                return None;
            }
            let queue = self.lanes[lane].queues.first;
            let turn = self.turn(flows, queue);
            if self.turns.key(queue) != turn {
                self.place(queue, turn);
            } else if self.fronts.key(lane) != turn {
                self.fronts.rekey(&mut self.rows[band as usize].open, lane, turn);
            } else {
                return Some(self.queues[queue].requests.first);
            }
        }
    }

    /// Candidates of a band whose flows have had no more than `limit`: the first of each queue, and of no more than `most` queues.
    pub(super) fn near(
        &self,
        flows: &Slab<Flow>,
        band: u32,
        limit: Virtual,
        most: usize,
    ) -> impl Iterator<Item = (Turn, u32)> {
        let limit = Turn { served: limit, rank: Rank::LAST };
        let front = self.rows.get(band as usize).map_or(Heap::EMPTY, |row| row.open);
        let lanes = self.fronts.up_to(front, limit);
        let queues = lanes.flat_map(move |lane| self.turns.up_to(self.lanes[lane].queues, limit)).take(most);
        queues
            .map(|queue| (self.turn(flows, queue), self.queues[queue].requests.first))
            .filter(move |(turn, _)| *turn <= limit)
    }

    /// Requests that wait for this endpoint are candidates.
    pub(super) fn open(&mut self, slot: u32) {
        self.swing(slot, true);
    }

    /// Requests that wait for this endpoint are none.
    pub(super) fn close(&mut self, slot: u32) {
        self.swing(slot, false);
    }

    /// Nobody waits for this endpoint any more: those who did are candidates from now on.
    pub(super) fn release(&mut self, slot: u32) {
        self.open(slot);
        for lane in self.gates.remove(&u64::from(slot)).unwrap_or_default().lanes {
            self.lanes[lane].kind = Kind::Released;
        }
    }

    /// The flow's turn comes earlier than it did.
    pub(super) fn hasten(&mut self, flow: u32) {
        loop {
            let queue = self.strands[flow as usize].placed;
            if queue == NONE {
                return;
            }
            self.unplace(queue);
            self.turns.rekey(&mut self.lanes[self.queues[queue].lane].queues, queue, Turn::FRONT);
            self.advance(self.queues[queue].lane);
        }
    }

    fn swing(&mut self, slot: u32, open: bool) {
        let Some(gate) = self.gates.get_mut(&u64::from(slot)) else { return };
        if gate.open == open {
            return;
        }
        gate.open = open;
        for at in &gate.lanes {
            let lane = &mut self.lanes[*at];
            lane.open = open;
            let row = &mut self.rows[lane.band as usize].open;
            if open {
                self.fronts.insert(row, *at, self.turns.key(lane.queues.first));
            } else {
                self.fronts.remove(row, *at);
            }
        }
    }

    /// The true turn of a queue.
    fn turn(&self, flows: &Slab<Flow>, queue: u32) -> Turn {
        let queue = &self.queues[queue];
        Turn { served: flows[queue.flow].served, rank: self.ranks.key(queue.requests.first) }
    }

    /// Puts a queue, which its lane has, in its true place there.
    fn place(&mut self, number: u32, turn: Turn) {
        let queue = &mut self.queues[number];
        self.turns.rekey(&mut self.lanes[queue.lane].queues, number, turn);
        if !queue.placed {
            queue.placed = true;
            let first = core::mem::replace(&mut self.strands[queue.flow as usize].placed, number);
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
            NONE => self.strands[flow as usize].placed = after,
            _ => self.queues[before].after = after,
        }
        if after != NONE {
            self.queues[after].before = before;
        }
    }

    /// The first turn of a lane may have come earlier.
    fn advance(&mut self, at: u32) {
        let lane = &self.lanes[at];
        let turn = self.turns.key(lane.queues.first);
        if lane.open && turn < self.fronts.key(at) {
            self.fronts.rekey(&mut self.rows[lane.band as usize].open, at, turn);
        }
    }

    /// A request goes to a queue, which may be new and not yet in its lane.
    fn append(&mut self, flows: &Slab<Flow>, number: u32, request: u32, rank: Rank) {
        let queue = &mut self.queues[number];
        let new = queue.requests.is_empty();
        self.ranks.insert(&mut queue.requests, request, rank);
        if queue.requests.first != request {
            return;
        }
        let at = queue.lane;
        let turn = self.turn(flows, number);
        let lane = &mut self.lanes[at];
        if !new {
            if turn < self.turns.key(number) {
                self.place(number, turn);
                self.advance(at);
            }
            return;
        }
        let new_lane = lane.queues.is_empty();
        self.turns.insert(&mut lane.queues, number, turn);
        if new_lane && lane.open {
            self.fronts.insert(&mut self.rows[lane.band as usize].open, at, turn);
        }
        self.place(number, turn);
        self.advance(at);
    }

    fn ready_lane(&mut self, band: u32) -> u32 {
        let row = &mut self.rows[band as usize];
        if row.ready == NONE {
            row.ready = self.lanes.insert(Lane { band, kind: Kind::Ready, open: true, queues: Heap::EMPTY });
        }
        row.ready
    }

    fn lane_at(&mut self, slot: u32, band: u32) -> u32 {
        let gate = self.gates.entry(u64::from(slot)).or_default();
        if let Some(lane) = gate.lanes.iter().find(|lane| self.lanes[**lane].band == band) {
            return *lane;
        }
        let lane =
            self.lanes.insert(Lane { band, kind: Kind::Parked(slot), open: gate.open, queues: Heap::EMPTY });
        gate.lanes.push(lane);
        lane
    }

    fn new_queue(&mut self, flow: u32, lane: u32) -> u32 {
        self.queues.insert(Queue {
            flow,
            lane,
            requests: Heap::EMPTY,
            before: NONE,
            after: NONE,
            placed: false,
        })
    }

    fn remove_queue(&mut self, number: u32) {
        self.unplace(number);
        let Some(queue) = self.queues.remove(number) else { return };
        let lane = &mut self.lanes[queue.lane];
        self.turns.remove(&mut lane.queues, number);
        match lane.kind {
            Kind::Ready => self.strands[queue.flow as usize].ready = NONE,
            Kind::Parked(_) | Kind::Released => {
                self.parked.remove(&pair(queue.lane, queue.flow));
            }
        }
        if lane.queues.is_empty() {
            self.remove_lane(queue.lane);
        }
    }

    fn remove_lane(&mut self, number: u32) {
        let Some(lane) = self.lanes.remove(number) else { return };
        let row = &mut self.rows[lane.band as usize];
        if lane.open {
            self.fronts.remove(&mut row.open, number);
        }
        match lane.kind {
            Kind::Ready => row.ready = NONE,
            Kind::Released => (),
            Kind::Parked(slot) => {
                let slot = u64::from(slot);
                let Some(gate) = self.gates.get_mut(&slot) else { return };
                gate.lanes.retain(|lane| *lane != number);
                if gate.lanes.is_empty() {
                    self.gates.remove(&slot);
                }
            }
        }
    }
}

fn pair(lane: u32, flow: u32) -> u64 {
    u64::from(lane) << 32 | u64::from(flow)
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

    impl Lanes {
        /// Holds all levels against each other and against the queues of the requests.
        pub(in crate::flow) fn check(&self, flows: &Slab<Flow>, waiting: &BTreeMap<u32, BTreeSet<u32>>) {
            let mut lanes: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            let mut placed: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (number, queue) in self.queues.iter() {
                assert_eq!(Some(&self.ranks.members(queue.requests)), waiting.get(&number));
                assert!(self.turns.key(number) <= self.turn(flows, number), "none comes too late");
                assert!(queue.placed || self.turns.key(number) == Turn::FRONT);
                lanes.entry(queue.lane).or_default().insert(number);
                if queue.placed {
                    placed.entry(queue.flow).or_default().insert(number);
                }
                match self.lanes[queue.lane].kind {
                    Kind::Ready => assert_eq!(self.strands[queue.flow as usize].ready, number),
                    _ => assert_eq!(self.parked.get(&pair(queue.lane, queue.flow)), Some(&number)),
                }
            }
            assert_eq!(self.queues.len(), waiting.len());
            let ready = self.strands.iter().filter(|strand| strand.ready != NONE).count();
            assert_eq!(self.parked.len() + ready, self.queues.len());
            for (flow, strand) in self.strands.iter().enumerate() {
                let mut chain = BTreeSet::new();
                let mut at = strand.placed;
                while at != NONE && chain.insert(at) {
                    at = self.queues[at].after;
                }
                assert_eq!(chain, placed.remove(&(flow as u32)).unwrap_or_default());
            }
            let mut rows: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (number, lane) in self.lanes.iter() {
                assert_eq!(Some(&self.turns.members(lane.queues)), lanes.get(&number));
                if lane.open {
                    assert!(self.fronts.key(number) <= self.turns.key(lane.queues.first));
                    rows.entry(lane.band).or_default().insert(number);
                }
                match lane.kind {
                    Kind::Ready => assert_eq!(self.rows[lane.band as usize].ready, number),
                    Kind::Released => assert!(lane.open),
                    Kind::Parked(slot) => {
                        let gate = &self.gates[&u64::from(slot)];
                        assert!(gate.lanes.contains(&number) && gate.open == lane.open);
                    }
                }
            }
            assert_eq!(self.lanes.len(), lanes.len());
            assert!(self.gates.values().all(|gate| !gate.lanes.is_empty()));
            for (band, row) in self.rows.iter().enumerate() {
                assert_eq!(self.fronts.members(row.open), rows.remove(&(band as u32)).unwrap_or_default());
            }
        }
    }
}
