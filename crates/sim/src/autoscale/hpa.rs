//! Kubernetes' horizontal pod autoscaler (`autoscaling/v2`), with its defaults.

use std::collections::VecDeque;
use std::time::Duration;

use slotwise::Instant;

/// The autoscaler of one deployment.
///
/// ```text
/// ratio = total / (target · replicas)
/// desired = replicas if |ratio - 1| <= 0.1, else ceil(total / target)
/// up: at most the larger of twice and 4 more in a sync; down: the largest of the last 300 s
/// ```
#[derive(Debug)]
pub struct Hpa {
    /// The metric that one replica should have.
    pub target: f64,
    /// The least and the most replicas.
    pub limits: [usize; 2],
    /// What was desired at each sync of the window, oldest first.
    recommended: VecDeque<(Instant, usize)>,
}

/// Time between two decisions.
pub const SYNC: Duration = Duration::from_secs(15);
/// A ratio this close to 1 changes nothing.
const TOLERANCE: f64 = 0.1;
/// Replicas are removed only if no sync of this time wanted more.
const STABILIZATION: Duration = Duration::from_secs(300);

impl Hpa {
    /// An autoscaler without history.
    pub fn new(target: f64, limits: [usize; 2]) -> Self {
        Self { target, limits, recommended: VecDeque::new() }
    }

    /// The replicas from this sync on. `total` is the metric, summed over the replicas; those that
    /// start have none.
    pub fn sync(&mut self, now: Instant, replicas: usize, total: f64) -> usize {
        let ratio = total / (self.target * replicas.max(1) as f64);
        let desired = if (ratio - 1.0).abs() <= TOLERANCE {
            replicas
        } else {
            (total / self.target).ceil() as usize
        };
        let [least, most] = self.limits;
        let desired = desired.clamp(least, most);
        self.recommended.push_back((now, desired));
        let is_old = |at: Instant| now.saturating_since(at) >= STABILIZATION;
        while self.recommended.front().is_some_and(|(at, _)| is_old(*at)) {
            self.recommended.pop_front();
        }
        if desired >= replicas {
            return desired.min((2 * replicas).max(replicas + 4));
        }
        let wanted = self.recommended.iter().map(|(_, desired)| *desired).max();
        wanted.unwrap_or(desired).min(replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn it_follows_the_documented_algorithm() {
        let mut hpa = Hpa::new(10.0, [1, 50]);
        assert_eq!(hpa.sync(at(0), 4, 43.0), 4, "within the tolerance");
        assert_eq!(hpa.sync(at(15), 4, 61.0), 7);
        assert_eq!(hpa.sync(at(30), 7, 1_000.0), 14, "twice in a sync");
        assert_eq!(hpa.sync(at(45), 1, 1_000.0), 5, "or four more");
        let mut hpa = Hpa::new(10.0, [2, 50]);
        assert_eq!(hpa.sync(at(0), 8, 70.0), 7, "nothing else was wanted before");
        assert_eq!(hpa.sync(at(15), 7, 30.0), 7, "seven were wanted 15 s ago");
        assert_eq!(hpa.sync(at(299), 7, 30.0), 7);
        assert_eq!(hpa.sync(at(300), 7, 30.0), 3);
        assert_eq!(hpa.sync(at(900), 3, 0.0), 2, "the least");
    }
}
