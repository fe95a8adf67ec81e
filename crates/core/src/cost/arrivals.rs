//! The predicted work that arrives: its rate, its trend, and its spread over requests.

use crate::time::Instant;

/// Work of the last [`KEPT`] intervals. Its memory is fixed.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    buckets: [Bucket; KEPT as usize],
    /// The time of the first request.
    first: Option<Instant>,
}

/// The requests of one interval.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// The number of the interval since the origin.
    number: u64,
    requests: f64,
    /// The sum of the requests' seconds, and of their squares.
    work: f64,
    squares: f64,
}

/// What arrives, in seconds of described prefill.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ArrivalRate {
    /// Seconds of work a second, over the later half of the window.
    pub(crate) recent: f64,
    /// Requests a second, likewise.
    pub(crate) requests: f64,
    /// The change of `recent` in a second; zero until the window is full.
    pub(crate) trend: f64,
    /// Seconds of a request, over the whole window.
    pub(crate) mean: f64,
    /// The mean of their squares.
    pub(crate) mean_square: f64,
}

/// Intervals in the window.
const WINDOW: u64 = 24;
const HALF: u64 = WINDOW / 2;
/// Intervals for which peaks are held, and all that are kept.
const HELD: u64 = 60;
const KEPT: u64 = HELD + HALF;
/// Microseconds in an interval.
const INTERVAL: u64 = 10_000_000;

impl Arrivals {
    /// Nothing has arrived.
    pub(crate) const fn new() -> Self {
        let empty = Bucket { number: 0, requests: 0.0, work: 0.0, squares: 0.0 };
        Self { buckets: [empty; KEPT as usize], first: None }
    }

    /// Records a request with this many seconds of described prefill.
    pub(crate) fn observe(&mut self, now: Instant, work: f64) {
        self.first.get_or_insert(now);
        let number = now.as_micros() / INTERVAL;
        let bucket = &mut self.buckets[(number % KEPT) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket.requests += 1.0;
        bucket.work += work;
        bucket.squares += work * work;
    }

    /// The largest rate of work over a half of the window that ended within the last `length`, up
    /// to ten minutes. Computes in **O(1)**.
    pub(crate) fn peak(&self, now: Instant, length: f64) -> f64 {
        let number = now.as_micros() / INTERVAL;
        let work = |age: u64| match number.checked_sub(age) {
            Some(wanted) => {
                let bucket = &self.buckets[(wanted % KEPT) as usize];
                if bucket.number == wanted { bucket.work } else { 0.0 }
            }
            None => 0.0,
        };
        let half = HALF as f64 * INTERVAL as f64 / 1e6;
        let ages = ((length * 1e6 / INTERVAL as f64) as u64).min(HELD);
        // The latest interval is not over.
        (1..=ages).map(|age| (age..age + HALF).map(work).sum::<f64>() / half).fold(0.0, f64::max)
    }

    /// The rate at `now`. Computes in **O(1)**.
    pub(crate) fn rate(&self, now: Instant) -> ArrivalRate {
        let Some(first) = self.first else { return ArrivalRate::default() };
        let number = now.as_micros() / INTERVAL;
        let (mut recent, mut older) = (Bucket::default(), Bucket::default());
        for bucket in &self.buckets {
            match number.checked_sub(bucket.number) {
                Some(age) if age < HALF => recent.add(bucket),
                Some(age) if age < WINDOW => older.add(bucket),
                _ => {}
            }
        }
        // The latest interval is not over.
        let elapsed = (now.as_micros() % INTERVAL) as f64 / 1e6;
        let (half, interval) = (HALF as f64 * INTERVAL as f64 / 1e6, INTERVAL as f64 / 1e6);
        let known = now.saturating_since(first).as_secs_f64();
        let span = (half - interval + elapsed).min(known).max(interval);
        let rate = recent.work / span;
        let is_full = known >= span + half;
        let trend = if is_full { (rate - older.work / half) / ((span + half) / 2.0) } else { 0.0 };
        let arriving = recent.requests / span;
        recent.add(&older);
        let requests = recent.requests.max(1.0);
        ArrivalRate {
            recent: rate,
            requests: arriving,
            trend,
            mean: recent.work / requests,
            mean_square: recent.squares / requests,
        }
    }
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.work += other.work;
        self.squares += other.squares;
    }
}

impl ArrivalRate {
    /// The rate after `seconds`, if a rising load rises on: at most twice the recent one.
    pub(crate) fn after(&self, seconds: f64) -> f64 {
        // The recent rate is that of the middle of its half.
        let middle = HALF as f64 * INTERVAL as f64 / 2e6;
        (self.recent + self.trend.max(0.0) * (seconds + middle)).min(2.0 * self.recent)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::ORIGIN + Duration::from_secs_f64(seconds)
    }

    /// The same from a list of all requests.
    fn naive(requests: &[(f64, f64)], now: f64) -> ArrivalRate {
        let interval = |time: f64| (time / 10.0).floor();
        let age = |time: f64| interval(now) - interval(time);
        let sum = |least: f64, most: f64| -> f64 {
            let within = requests.iter().filter(|(time, _)| (least..most).contains(&age(*time)));
            within.map(|(_, work)| *work).sum()
        };
        let all: Vec<f64> =
            requests.iter().filter(|(time, _)| age(*time) < 24.0).map(|(_, work)| *work).collect();
        let known = now - requests[0].0;
        let span = (110.0 + now % 10.0).min(known).max(10.0);
        let recent = sum(0.0, 12.0) / span;
        let full = known >= span + 120.0;
        let count = (all.len() as f64).max(1.0);
        let requests = |least: f64, most: f64| {
            requests.iter().filter(|(time, _)| (least..most).contains(&age(*time))).count() as f64
        };
        ArrivalRate {
            recent,
            requests: requests(0.0, 12.0) / span,
            trend: if full {
                (recent - sum(12.0, 24.0) / 120.0) / ((span + 120.0) / 2.0)
            } else {
                0.0
            },
            mean: all.iter().sum::<f64>() / count,
            mean_square: all.iter().map(|work| work * work).sum::<f64>() / count,
        }
    }

    #[test]
    fn the_ring_equals_the_list_of_all_requests() {
        let (mut ring, mut list, mut rng) = (Arrivals::new(), Vec::new(), crate::Rng::new(7));
        let mut now = 3.0;
        for round in 0..4_000 {
            now += rng.unit() * if round % 500 == 0 { 400.0 } else { 0.5 };
            let work = rng.unit();
            let now = (now * 1e6).floor() / 1e6;
            ring.observe(at(now), work);
            list.push((now, work));
            let (ring, naive) = (ring.rate(at(now)), naive(&list, now));
            for (ring, naive) in [
                (ring.recent, naive.recent),
                (ring.requests, naive.requests),
                (ring.trend, naive.trend),
                (ring.mean, naive.mean),
                (ring.mean_square, naive.mean_square),
            ] {
                assert!((ring - naive).abs() < 1e-6, "{now}: {ring} {naive}");
            }
        }
    }

    #[test]
    fn a_peak_is_held_for_its_time() {
        let mut arrivals = Arrivals::new();
        for second in 0..1_200 {
            // Twice the load for two minutes.
            let work = if (300..420).contains(&second) { 0.2 } else { 0.1 };
            arrivals.observe(at(f64::from(second)), work);
        }
        for (length, wanted) in [(0.0, 0.0), (60.0, 0.1), (300.0, 0.1), (1e9, 0.1)] {
            assert!((arrivals.peak(at(1_200.0), length) - wanted).abs() < 1e-9, "{length}");
        }
        let mut arrivals = Arrivals::new();
        for second in 0..600 {
            let work = if (300..420).contains(&second) { 0.2 } else { 0.1 };
            arrivals.observe(at(f64::from(second)), work);
        }
        for (length, wanted) in [(60.0, 0.1), (170.0, 0.11), (190.0, 0.2), (1e9, 0.2)] {
            let peak = arrivals.peak(at(600.0), length);
            assert!(peak >= wanted - 1e-9, "{length}: {peak}");
        }
        assert!((arrivals.peak(at(600.0), 60.0) - 0.1).abs() < 1e-9);
        assert_eq!(Arrivals::new().peak(at(5.0), 60.0).to_bits(), 0);
    }

    #[test]
    fn a_rising_rate_is_extrapolated_and_limited() {
        let mut arrivals = Arrivals::new();
        for second in 0..600 {
            arrivals.observe(at(f64::from(second)), f64::from(second) * 0.01);
        }
        let rate = arrivals.rate(at(600.0));
        assert!((rate.trend - 0.01).abs() < 1e-3, "{rate:?}");
        assert!((rate.after(100.0) - 7.0).abs() < 0.2, "{rate:?}");
        assert!((rate.after(1e9) - 2.0 * rate.recent).abs() < 1e-9);
        assert_eq!(Arrivals::new().rate(at(5.0)), ArrivalRate::default());
    }
}
