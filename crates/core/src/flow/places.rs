//! The place of each waiting request in all orders: the queue's, that of time-outs, and that of
//! arrival in its flow.
//!
//! A request that leaves changes its neighbours in each order. They are often the same, and a
//! place is 64 bytes, so a queue that exceeds the caches costs few misses.

use alloc::vec::Vec;

use super::heap::{Heaps, Links};
use super::order::Rank;
use super::slab::NONE;
use crate::time::Instant;

/// The places of all waiting requests, by request number.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<Place>);

/// In the order of their use: what a neighbour in the queue changes is in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Place {
    rank: Rank,
    in_queue: Links,
    /// Neighbours in the flow's list, in order of arrival.
    older: u32,
    newer: u32,
    expires: Instant,
    in_time: Links,
}

impl Places {
    /// The rank of a waiting request.
    pub(super) fn rank(&self, at: u32) -> Rank {
        self.0[at as usize].rank
    }

    /// When a request that expires does so.
    pub(super) fn expires(&self, at: u32) -> Instant {
        self.0[at as usize].expires
    }

    /// The request of the same flow that arrived before this one.
    pub(super) fn older(&self, at: u32) -> u32 {
        self.0[at as usize].older
    }

    /// The queues of requests.
    pub(super) const fn by_rank(&mut self) -> ByRank<'_> {
        ByRank(self)
    }

    /// The requests that expire.
    pub(super) const fn by_time(&mut self) -> ByTime<'_> {
        ByTime(self)
    }

    /// Adds the newest request of a flow, after the one that was the newest.
    pub(super) fn follow(&mut self, newest: &mut u32, at: u32) {
        let older = core::mem::replace(newest, at);
        let place = &mut self.0[at as usize];
        (place.older, place.newer) = (older, NONE);
        if let Some(older) = self.0.get_mut(older as usize) {
            older.newer = at;
        }
    }

    /// Removes a request from its flow's list.
    pub(super) fn unfollow(&mut self, newest: &mut u32, at: u32) {
        let Place { older, newer, .. } = self.0[at as usize];
        match self.0.get_mut(newer as usize) {
            Some(place) => place.older = older,
            None => *newest = older,
        }
        if let Some(place) = self.0.get_mut(older as usize) {
            place.newer = newer;
        }
    }
}

/// The heaps of queues.
#[derive(Debug)]
pub(super) struct ByRank<'a>(&'a mut Places);

impl Heaps for ByRank<'_> {
    type Key = Rank;

    fn get(&self, at: u32) -> Option<(Rank, &Links)> {
        let place = self.0.0.get(at as usize)?;
        Some((place.rank, &place.in_queue))
    }

    fn links_mut(&mut self, at: u32) -> Option<&mut Links> {
        Some(&mut self.0.0.get_mut(at as usize)?.in_queue)
    }

    fn put(&mut self, at: u32, rank: Rank) {
        if let Some(place) = self.0.0.get_mut(at as usize) {
            (place.rank, place.in_queue) = (rank, Links::ALONE);
            return;
        }
        let (in_queue, in_time) = (Links::ALONE, Links::ALONE);
        let (older, newer, expires) = (NONE, NONE, Instant::ORIGIN);
        let place = Place { rank, in_queue, older, newer, expires, in_time };
        self.0.0.resize(at as usize + 1, place);
    }
}

/// The heap of requests that expire. Requests with equal times expire in order of arrival.
#[derive(Debug)]
pub(super) struct ByTime<'a>(&'a mut Places);

impl Heaps for ByTime<'_> {
    /// The time, and the number of the request's arrival.
    type Key = (Instant, u64);

    fn get(&self, at: u32) -> Option<(Self::Key, &Links)> {
        let place = self.0.0.get(at as usize)?;
        Some(((place.expires, place.rank.number), &place.in_time))
    }

    fn links_mut(&mut self, at: u32) -> Option<&mut Links> {
        Some(&mut self.0.0.get_mut(at as usize)?.in_time)
    }

    fn put(&mut self, at: u32, (expires, _): Self::Key) {
        let place = &mut self.0.0[at as usize];
        (place.expires, place.in_time) = (expires, Links::ALONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Places {
        /// Bytes for each request.
        pub(in crate::flow) const BYTES: usize = size_of::<Place>();
    }

    #[test]
    fn a_flow_remembers_the_order_of_arrival() {
        let (mut places, mut newest) = (Places::default(), NONE);
        for at in 0..5 {
            places.by_rank().put(at, Rank::FIRST);
            places.follow(&mut newest, at);
        }
        for (gone, left) in [(2, [4, 3, 1, 0].as_slice()), (4, &[3, 1, 0]), (0, &[3, 1])] {
            places.unfollow(&mut newest, gone);
            let mut at = newest;
            for expected in left {
                assert_eq!(at, *expected);
                at = places.older(at);
            }
            assert_eq!(at, NONE);
        }
    }
}
