//! Sums and means of the last reports of a pool's endpoints.

/// External load in one report, in whole requests and tokens, so that sums over a pool stay exact.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sample {
    pub(super) waiting: Option<u32>,
    pub(super) running: Option<u32>,
    /// Share of the KV cache in millionths, since caches of a pool differ in size.
    pub(super) kv_usage: Option<u32>,
}

/// Sums of the last reports of a pool's endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolReports {
    waiting: Total,
    running: Total,
    kv_usage: Total,
}

/// Means of the last reports, in the units of a [`Sample`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportedMeans {
    pub(super) waiting: f64,
    pub(super) running: f64,
    pub(super) kv_usage: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u64,
    sum: u64,
}

impl PoolReports {
    /// Replaces the sample of one endpoint in the sums.
    pub(crate) fn replace(&mut self, before: Sample, after: Sample) {
        self.waiting.replace(before.waiting, after.waiting);
        self.running.replace(before.running, after.running);
        self.kv_usage.replace(before.kv_usage, after.kv_usage);
    }

    /// The means of the last reports.
    pub(crate) fn means(&self) -> ReportedMeans {
        ReportedMeans {
            waiting: self.waiting.mean(),
            running: self.running.mean(),
            kv_usage: self.kv_usage.mean(),
        }
    }

    /// Limits below the means, which the reports of a second seldom fall below: means of few
    /// reports change more.
    pub(super) fn least_means(&self) -> ReportedMeans {
        let least = |total: &Total| {
            let part = 1_u32 << (total.count.max(1).ilog2() / 2).clamp(3, 6);
            total.mean() * (1.0 - 1.0 / f64::from(part))
        };
        ReportedMeans {
            waiting: least(&self.waiting),
            running: least(&self.running),
            kv_usage: least(&self.kv_usage),
        }
    }

    /// Whether no endpoint has ever reported.
    pub(super) const fn are_empty(&self) -> bool {
        self.waiting.count == 0 && self.running.count == 0 && self.kv_usage.count == 0
    }
}

impl ReportedMeans {
    /// Whether each mean is at least the other one.
    pub(super) fn are_at_least(&self, least: &Self) -> bool {
        self.waiting >= least.waiting
            && self.running >= least.running
            && self.kv_usage >= least.kv_usage
    }
}

impl Total {
    fn replace(&mut self, before: Option<u32>, after: Option<u32>) {
        self.count = self.count + u64::from(after.is_some()) - u64::from(before.is_some());
        self.sum = self.sum + u64::from(after.unwrap_or(0)) - u64::from(before.unwrap_or(0));
    }

    fn mean(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }
}
