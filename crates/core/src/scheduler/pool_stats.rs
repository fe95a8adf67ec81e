//! Signals of the whole pool for an autoscaler.
//!
//! ```text
//! desired_replicas = max(prefill, decode, kv)
//!
//! prefill  a / u + B / s    a: seconds of prefill that arrive in a second, after the start-up
//!                              time s, or did at the peak of the last s; B: queued prefill, in
//!                              seconds
//!                           u = x / (1 + x), x = (T / 3 - m) · 2 m / v: the utilisation at which
//!                              an M/G/1 queue of requests with mean m and mean square v has a
//!                              mean wait of a third of the time T to the first token
//! decode   R · g / r        R: answers that run if each takes the time t per token;
//!                           r: those with which an endpoint keeps that time
//! kv       K · l · g / (c · k)  K: KV tokens of live requests; c: the mean KV cache; k: its limit
//!
//! R = max(running · t / τ, λ · o · t)    τ: the time per token as it is, λ: requests a second,
//!                                        o: mean tokens of an answer
//! l: the share of the requests in flight that is no backlog
//! g: the growth of the arriving work over the start-up time
//! ```
//!
//! A third: where waits fall off exponentially, 95 % are below three times their mean.
//!
//! Both values of R are Little's law. In an overloaded pool answers take longer, so more of them
//! run. They leave once replicas have started, so that a replica for each would be one too many.

use super::Scheduler;
use crate::cost::ArrivalRate;
use crate::pool::Slot;
use crate::time::Seconds;

/// Signals of the whole pool, for an autoscaler. Draining endpoints do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// Endpoints that accept requests.
    pub ready_endpoints: usize,
    /// Requests before their first token on an endpoint: this gateway's and estimated others.
    pub queue_size: Spread,
    /// Share of an endpoint's KV cache that live requests use: this gateway's and estimated others.
    pub kv_cache_utilization: Spread,
    /// Requests past their first token on an endpoint: this gateway's and estimated others.
    pub running_requests: Spread,
    /// Saturation by the configured policy: 0 is idle, 1 is full. A pool without endpoints is full.
    pub saturation: f64,
    /// Replicas that the predicted work needs to keep the service level of
    /// [`AutoscalingConfig`](crate::AutoscalingConfig), as a fraction; an autoscaler rounds up. It
    /// counts only this gateway's requests: sum it over gateways that share a pool.
    pub desired_replicas: f64,
}

/// The mean and the standard deviation of a value over the endpoints; zero without endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the population.
    pub std_dev: f64,
}

impl Scheduler {
    /// [`PoolStats::saturation`] alone. Computes in **O(endpoints)**, and allocates nothing.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// assert_eq!(scheduler.saturation(), 1.0);
    /// scheduler.add_endpoint(now, Endpoint::new("a").max_in_flight(1))?;
    /// assert_eq!(scheduler.saturation(), 0.0);
    /// scheduler.submit(now, &Request::new("llama").text("Hello"))?;
    /// assert_eq!((scheduler.queued(), scheduler.saturation()), (1, 0.0));
    /// assert!(scheduler.poll_decision(now).is_some());
    /// assert_eq!(scheduler.queued(), 0);
    /// assert!(scheduler.saturation() > 0.0);
    /// assert_eq!(scheduler.saturation(), scheduler.stats().pool.saturation);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn saturation(&self) -> f64 {
        self.queueing.saturation(&self.fleet)
    }

    /// The number of requests in the queue, as in [`Stats::queued`](crate::Stats::queued). In
    /// **O(1)**.
    pub fn queued(&self) -> usize {
        self.queueing.waiting().sum().requests
    }

    /// The signals as of the latest input. Computes in **O(endpoints)**.
    pub(super) fn pool_stats(&self) -> PoolStats {
        let (mut queue, mut kv, mut running) =
            (Moments::default(), Moments::default(), Moments::default());
        let mut sums = Sums::default();
        for slot in self.fleet.pool.iter().filter(|slot| !slot.draining) {
            let external = slot.reports.estimate(
                self.fleet.now,
                self.fleet.pool.reports(),
                slot.kv_cache_tokens,
                self.fleet.config.report_lifetime,
            );
            queue.add(f64::from(slot.in_flight.pending()) + external.waiting);
            running.add(f64::from(slot.in_flight.running()) + external.running);
            let used = slot.in_flight.kv_tokens() as f64 + external.kv_tokens;
            kv.add(used / f64::from(slot.kv_cache_tokens.max(1)));
            sums.add(slot, self);
        }
        PoolStats {
            ready_endpoints: sums.endpoints as usize,
            queue_size: queue.spread(),
            kv_cache_utilization: kv.spread(),
            running_requests: running.spread(),
            saturation: self.saturation(),
            desired_replicas: self.desired_replicas(&sums),
        }
    }

    /// See the formula at the top of the file.
    fn desired_replicas(&self, sums: &Sums) -> f64 {
        let fleet = &self.fleet;
        let level = &fleet.config.autoscaling;
        let rate = fleet.arrivals.rate(fleet.now);
        let start_up = level.start_up.as_secs_f64();
        // A replica that stops is back after the start-up time at the earliest, so a peak counts
        // for as long.
        let arriving = rate.after(start_up).max(fleet.arrivals.peak(fleet.now, start_up));
        let growth = if rate.recent > 0.0 { (arriving / rate.recent).min(2.0) } else { 1.0 };
        let endpoints = sums.endpoints.max(1.0);
        let slowdown = if sums.endpoints > 0.0 { sums.slowdown / endpoints } else { 1.0 };
        let queued = self.queueing.waiting().sum().requests as f64 * fleet.mean_work.get();
        let backlog = queued * slowdown + sums.booked;
        let utilisation = utilisation(&rate, slowdown, level.ttft.as_secs_f64());
        let prefill = arriving * slowdown / utilisation + backlog / start_up;
        let flow = self.flow_at_level(sums, &rate);
        let decode = flow.map_or(0.0, |flow| flow.running * growth / flow.most_running);
        let live = flow.map_or(1.0, |flow| flow.live_share);
        let capacity = match sums.kv_cache_tokens / endpoints {
            known if known > 0.0 => known,
            _ => f64::from(fleet.config.kv_cache_tokens.get()),
        };
        let kv = sums.kv_tokens * live * growth / (capacity * level.kv_utilization);
        prefill.max(decode).max(kv)
    }

    /// The requests in flight at the service level. `None` until the time per token is learned.
    fn flow_at_level(&self, sums: &Sums, rate: &ArrivalRate) -> Option<Flow> {
        let fleet = &self.fleet;
        let level = &fleet.config.autoscaling;
        let tpot = level.tpot.as_secs_f64();
        let most_running = fleet.decode_time.running_at(Seconds::new(tpot))?;
        let beside = sums.running / sums.endpoints.max(1.0);
        let slowness = fleet.decode_time.predict(beside, Seconds::new(tpot)).get() / tpot;
        // A steep line through overloaded endpoints has a root near zero. One start-up doubles the
        // pool at most.
        let most_running = most_running.max(beside / slowness / DOUBLING);
        // Both are Little's law: the first with the rate of answers that are being generated, the
        // second with the rate of requests.
        let generated = sums.running / slowness;
        let arriving = rate.requests * fleet.mean_output.get() * tpot;
        let pending = sums.pending.min(rate.requests * level.ttft.as_secs_f64());
        let live = (sums.running / slowness.max(1.0) + pending) / (sums.running + sums.pending);
        Some(Flow {
            running: generated.max(arriving),
            most_running,
            live_share: if live < 1.0 { live } else { 1.0 },
        })
    }
}

/// The requests in flight if first tokens and further ones just keep their times. In an overloaded
/// pool more requests are in flight: they are a backlog, which ends with the overload.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// Answers that run.
    running: f64,
    /// Those with which an endpoint keeps the time per token.
    most_running: f64,
    /// The share of the requests in flight that is no backlog.
    live_share: f64,
}

/// The utilisation at which first tokens keep the time `ttft`, in `[LEAST, MOST]`.
fn utilisation(rate: &ArrivalRate, slowdown: f64, ttft: f64) -> f64 {
    let (mean, square) = (rate.mean * slowdown, rate.mean_square * slowdown * slowdown);
    if square <= 0.0 {
        return MOST;
    }
    let wait = (ttft / TAIL - mean).max(0.0);
    let x = wait * 2.0 * mean / square;
    (x / (1.0 + x)).clamp(LEAST, MOST)
}

/// The 95th percentile of an exponentially distributed wait, over its mean.
const TAIL: f64 = 3.0;
/// Below this share, waits come from single long prompts, and more replicas do not shorten them.
const LEAST: f64 = 0.4;
/// Above it, noise fills the queue.
const MOST: f64 = 0.85;
/// How many times more endpoints the running answers may need than there are.
const DOUBLING: f64 = 2.0;

/// Sums over the endpoints.
#[derive(Default)]
struct Sums {
    endpoints: f64,
    slowdown: f64,
    /// Seconds of prefill before a new request's turn.
    booked: f64,
    /// Requests before and past their first token.
    pending: f64,
    running: f64,
    kv_tokens: f64,
    kv_cache_tokens: f64,
}

impl Sums {
    fn add(&mut self, slot: &Slot, scheduler: &Scheduler) {
        self.endpoints += 1.0;
        self.slowdown += slot.speed.factor();
        self.booked += slot.in_flight.wait(scheduler.fleet.now).get();
        self.pending += f64::from(slot.in_flight.pending());
        self.running += f64::from(slot.in_flight.running());
        self.kv_tokens += slot.in_flight.kv_tokens() as f64;
        self.kv_cache_tokens += f64::from(slot.kv_cache_tokens);
    }
}

/// Sums for a mean and a standard deviation in one pass, by Welford's method.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    fn spread(&self) -> Spread {
        let variance = self.squares / self.count.max(1.0);
        Spread { mean: self.mean, std_dev: root(variance) }
    }
}

/// The square root, which `core` lacks: Newton's method from above, until it stops decreasing.
fn root(square: f64) -> f64 {
    if !(square > 0.0 && square.is_finite()) {
        return if square > 0.0 { square } else { 0.0 };
    }
    // Halving the exponent is close enough for a few steps.
    let mut root = f64::from_bits((square.to_bits() >> 1) + (1023_u64 << 51));
    root = (root + square / root) / 2.0;
    loop {
        let next = (root + square / root) / 2.0;
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// Tests the example of the manual's page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/autoscaling.md")]
mod book {}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{LEAST, MOST, Moments, Sums, root, utilisation};
    use crate::cost::ArrivalRate;
    use crate::time::Seconds;
    use crate::{Config, Endpoint, Instant, Request, Scheduler};

    #[test]
    fn one_pass_gives_the_mean_and_the_deviation() {
        let mut moments = Moments::default();
        assert_eq!(moments.spread().mean.to_bits(), 0);
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| moments.add(value));
        assert!((moments.spread().mean - 5.0).abs() < 1e-12);
        assert!((moments.spread().std_dev - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_tighter_level_and_rarer_long_prompts_lower_the_utilisation() {
        let rate = |mean: f64, mean_square: f64| ArrivalRate {
            mean,
            mean_square,
            ..ArrivalRate::default()
        };
        // x = (2/3 - 0.1) · 0.2 / 0.06
        let x = (2.0 / 3.0 - 0.1) * 0.2 / 0.06;
        assert!((utilisation(&rate(0.1, 0.06), 1.0, 2.0) - x / (1.0 + x)).abs() < 1e-12);
        assert!((utilisation(&rate(0.1, 0.01), 1.0, 2.0) - MOST).abs() < 1e-12);
        assert!((utilisation(&rate(0.1, 9.0), 1.0, 2.0) - LEAST).abs() < 1e-12);
        assert!((utilisation(&rate(0.1, 0.06), 1.0, 0.1) - LEAST).abs() < 1e-12);
        assert!((utilisation(&ArrivalRate::default(), 1.0, 2.0) - MOST).abs() < 1e-12);
    }

    #[test]
    fn answers_that_pile_up_are_no_demand() {
        let mut scheduler = Scheduler::default();
        for round in 0..1_000 {
            let running = f64::from(round % 150);
            let time = Seconds::new(0.02 + 0.001 * running);
            scheduler.fleet.decode_time.observe(running, time);
        }
        // 5 requests a second with the default guess of 200 tokens each.
        let rate = ArrivalRate { requests: 5.0, ..ArrivalRate::default() };
        let flow = |running: f64, pending: f64| {
            let sums = Sums { endpoints: 2.0, running, pending, ..Sums::default() };
            scheduler.flow_at_level(&sums, &rate).expect("a slope")
        };
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.02;

        let idle = flow(2.0, 0.0);
        assert!(near(idle.running, 100.0) && near(idle.most_running, 80.0), "{idle:?}");
        let full = flow(160.0, 4.0);
        assert!(near(full.running, 160.0) && near(full.live_share, 1.0), "{full:?}");
        // At 280 answers an endpoint, a token takes three times as long.
        let overloaded = flow(560.0, 240.0);
        assert!(near(overloaded.running, 560.0 / 3.0), "{overloaded:?}");
        assert!(near(overloaded.live_share, (560.0 / 3.0 + 10.0) / 800.0), "{overloaded:?}");
        let collapsed = flow(20_000.0, 0.0);
        assert!(collapsed.running / collapsed.most_running <= 4.0, "twice two: {collapsed:?}");
    }

    #[test]
    fn twice_the_requests_need_twice_the_replicas() {
        let desired = |period_ms: u64| {
            let config = Config { learn_speed: false, ..Config::default() };
            let mut scheduler = Scheduler::new(config).expect("valid");
            for name in ["a", "b"] {
                scheduler.add_endpoint(Instant::ORIGIN, Endpoint::new(name)).expect("new");
            }
            for number in 0..300_000 / period_ms {
                let now = Instant::ORIGIN + Duration::from_millis(number * period_ms);
                // Equal prompts of a growing number share no prefix.
                let tokens = [number as u32; 2_000];
                let request = Request::new("m").tokens(&tokens);
                let id = scheduler.pick(now, &request).expect("two endpoints").request_id;
                scheduler.handle_first_token(now, id).expect("in flight");
                scheduler.complete(now, id, crate::Usage::default()).expect("in flight");
            }
            scheduler.stats().pool.desired_replicas
        };
        let (few, many) = (desired(200), desired(100));
        assert!(few > 0.2 && (many / few - 2.0).abs() < 0.05, "{few} {many}");
    }

    #[test]
    fn roots_are_those_of_the_standard_library() {
        for square in [0.0, 1.0, 2.0, 0.25, 1e-300, 1e300, 12_345.678, f64::MIN_POSITIVE, 5e-324] {
            let wanted = square.sqrt();
            assert!(
                (root(square) - wanted).abs() <= wanted * 1e-15,
                "{square}: {} {wanted}",
                root(square)
            );
        }
        assert_eq!(root(f64::NAN).to_bits(), 0);
        assert!(root(f64::INFINITY).is_infinite());
    }
}
