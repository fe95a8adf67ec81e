//! The speed of the queue with a million requests in 10,000 flows and 8 bands: `cargo test
//! --release -p slotwise --lib flow::benchmark -- --ignored --nocapture`.

use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;
use std::println;

use super::*;
use crate::rng::Rng;

const WAITING: usize = 1_000_000;
const STEPS: usize = 200_000;

/// A full queue, and the generator of further requests.
struct Bench {
    room: RequestQueue<u64>,
    rng: Rng,
    now: Instant,
    tickets: Vec<Ticket>,
}

impl Bench {
    fn new(order: QueueOrder, parked: u32) -> Self {
        let mut config =
            FlowConfig { max_requests: None, max_bytes: None, order, ..FlowConfig::default() };
        config.band = BandLimits { max_requests: usize::MAX, max_bytes: u64::MAX };
        let room = RequestQueue::new(&config, KeyedState::new(7));
        let mut bench = Self { room, rng: Rng::new(1), now: Instant::ORIGIN, tickets: Vec::new() };
        bench.tickets.reserve(WAITING + STEPS);
        let before = resident();
        let clock = Clock::now();
        (0..WAITING).for_each(|_| bench.enqueue());
        println!("{order:?}, {parked} endpoints waited for");
        report("  enqueue, the room growing", &clock, WAITING);
        println!("  bytes a request         {:>8}", (resident() - before) / WAITING);
        if parked > 0 {
            let clock = Clock::now();
            for ticket in &bench.tickets {
                if bench.rng.below(10) > 0 {
                    bench.room.park(*ticket, bench.rng.below(parked.into()) as u32, Seconds::ZERO);
                }
            }
            report("  park", &clock, WAITING * 9 / 10);
        }
        bench
    }

    fn enqueue(&mut self) {
        self.now = self.now + Duration::from_micros(20);
        let flow = self.rng.below(10_000);
        let cost = Seconds::new(0.01 + self.rng.unit());
        let admission = Admission {
            priority: (flow % 8) as i32,
            flow,
            weight: 1.0,
            bytes: 2_000,
            cost,
            service: None,
            slo: None,
            expires: Some(self.now + Duration::from_secs(600)),
        };
        let ticket = self.room.enqueue(self.now, admission, 1).expect("no limit");
        self.tickets.push(ticket);
    }
}

#[test]
#[ignore = "prints nanoseconds"]
fn a_million_wait() {
    for (order, parked) in
        [(QueueOrder::Fcfs, 0), (QueueOrder::ShortestWork, 0), (QueueOrder::Fcfs, 256)]
    {
        let mut bench = Bench::new(order, parked);
        let clock = Clock::now();
        (0..STEPS).for_each(|_| bench.enqueue());
        report("  enqueue", &clock, STEPS);
        // Bands in rotation, as usage limits open them.
        let clock = Clock::now();
        for step in 0..STEPS {
            let ticket = bench.room.best(bench.now, |priority| priority == (step % 8) as i32);
            black_box(ticket.and_then(|ticket| bench.room.take(bench.now, ticket)));
        }
        report("  best + take", &clock, STEPS);
        if parked > 0 {
            let (clock, mut taken) = (Clock::now(), 0);
            for step in 0..STEPS as u32 {
                bench.room.open(step % parked);
                let ticket = bench.room.best(bench.now, |priority| priority == (step % 8) as i32);
                taken += usize::from(
                    ticket.is_some_and(|ticket| bench.room.take(bench.now, ticket).is_some()),
                );
                bench.room.close(step % parked);
                bench.room.settle(
                    0,
                    u64::from(step % 10_000),
                    Seconds::new(0.2),
                    Seconds::new(0.1),
                );
            }
            report("  open + best + take + close + settle", &clock, STEPS);
            assert!(taken > STEPS / 2);
        }
        for at in (1..bench.tickets.len()).rev() {
            let other = bench.rng.below(at as u64 + 1) as usize;
            bench.tickets.swap(at, other);
        }
        let clock = Clock::now();
        let left = bench.room.sum().requests;
        bench
            .tickets
            .iter()
            .for_each(|ticket| _ = black_box(bench.room.remove(bench.now, *ticket)));
        report("  remove", &clock, left);
        println!("  all {left} of them      {:>8} ms", clock.elapsed() / 1_000_000);
        assert_eq!(bench.room.bands().count(), 0);
    }
}

/// Processor time of this thread, where the platform reports it.
struct Clock(u128);

impl Clock {
    fn now() -> Self {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(times.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
    }

    fn elapsed(&self) -> u128 {
        Self::now().0 - self.0
    }
}

fn report(what: &str, clock: &Clock, times: usize) {
    println!("{what:<40} {:>8} ns", clock.elapsed() / times as u128);
}

/// Resident bytes of this process, where the platform reports them.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4_096
}
