//! The flows of a peer that wait.
//!
//! As with loads, the state of a flow is a register with the sequence of the message that set it.

use alloc::collections::{BTreeMap, BTreeSet};

use slotwise::SharedService;

/// A flow, by priority and key.
pub(super) type FlowAt = (i32, u64);

/// The flows of one peer that wait, and those that no longer do while an older message may say so.
#[derive(Debug, Default)]
pub(super) struct WaitingFlows {
    flows: BTreeMap<FlowAt, Register>,
    /// The number of flows that wait.
    waiting: usize,
    /// The sequence of the last full message.
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
struct Register {
    sequence: u64,
    /// The weight in thousandths, if the flow waits.
    weight: Option<u32>,
}

impl WaitingFlows {
    /// Takes the state of a flow from a message. `complete` is whether all earlier messages have
    /// arrived. Returns whether there is room for it.
    pub(super) fn set(
        &mut self,
        sequence: u64,
        service: &SharedService,
        complete: bool,
        changed: &mut BTreeSet<FlowAt>,
    ) -> bool {
        let at = (service.priority.0, service.flow);
        let known = self.flows.get(&at).copied();
        if sequence <= known.map_or(self.floor, |known| known.sequence) {
            return true;
        }
        let weight = service.waits.then(|| service.weight.min(MOST_WEIGHT));
        let before = known.and_then(|known| known.weight);
        if weight.is_none() && complete {
            self.flows.remove(&at);
        } else if known.is_some() || self.flows.len() < MOST_FLOWS {
            self.flows.insert(at, Register { sequence, weight });
        } else {
            return false;
        }
        if before != weight {
            self.waiting =
                self.waiting + usize::from(weight.is_some()) - usize::from(before.is_some());
            changed.insert(at);
        }
        true
    }

    /// A full message lists all flows that wait.
    pub(super) fn settle(&mut self, sequence: u64, changed: &mut BTreeSet<FlowAt>) {
        self.floor = self.floor.max(sequence);
        let waiting = &mut self.waiting;
        self.flows.retain(|at, register| {
            let stays = register.sequence >= sequence;
            if !stays && register.weight.is_some() {
                *waiting -= 1;
                changed.insert(*at);
            }
            stays
        });
    }

    /// Forgets flows that do not wait: all earlier messages have arrived.
    pub(super) fn prune(&mut self) {
        if self.waiting < self.flows.len() {
            self.flows.retain(|_, register| register.weight.is_some());
        }
    }

    /// The weight of a flow that waits.
    pub(super) fn weight(&self, at: FlowAt) -> Option<u32> {
        self.flows.get(&at)?.weight
    }

    /// The flows that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = FlowAt> + '_ {
        self.flows.iter().filter(|(_, register)| register.weight.is_some()).map(|(at, _)| *at)
    }
}

/// Flows of a peer that are remembered: those that it sends at most, and as many that have ceased
/// to wait.
const MOST_FLOWS: usize = 8_192;
/// The largest weight that counts, in thousandths: a million.
const MOST_WEIGHT: u32 = 1_000_000_000;
