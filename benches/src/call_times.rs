//! The times of many calls, in a few kilobytes.

/// A histogram of times, whose buckets are a sixteenth of their value wide.
#[derive(Clone, Debug)]
pub struct CallTimes {
    counts: Vec<u64>,
    calls: u64,
    total: u64,
}

/// Buckets of each power of two.
const PARTS: u32 = 16;

impl Default for CallTimes {
    fn default() -> Self {
        Self { counts: vec![0; (PARTS * u64::BITS) as usize], calls: 0, total: 0 }
    }
}

impl CallTimes {
    /// Adds a call that took so many nanoseconds.
    pub fn add(&mut self, nanos: u64) {
        self.counts[bucket(nanos) as usize] += 1;
        self.calls += 1;
        self.total += nanos;
    }

    /// The number of calls.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// The nanoseconds of all calls.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The nanoseconds that this share of the calls did not exceed, up to 6 % too many.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (self.calls as f64 * share).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, |bucket| end(bucket as u32))
    }
}

/// The bucket of a number: its power of two, and the four bits behind the highest one.
const fn bucket(nanos: u64) -> u32 {
    if nanos < PARTS as u64 {
        return nanos as u32;
    }
    let power = nanos.ilog2();
    (power - 3) * PARTS + (nanos >> (power - 4)) as u32 - PARTS
}

/// The largest number of a bucket.
const fn end(bucket: u32) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let power = bucket / PARTS + 3;
    ((((PARTS + bucket % PARTS) as u64) + 1) << (power - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_a_sixteenth_above_its_numbers() {
        for nanos in (0..20).map(|power| 3_u64.pow(power)).chain(0..5_000) {
            let end = end(bucket(nanos));
            assert!((nanos..=nanos + nanos / 16).contains(&end), "{nanos}: {end}");
        }
    }

    #[test]
    fn a_quantile_is_a_time_that_so_many_calls_did_not_exceed() {
        let mut times = CallTimes::default();
        (1..=1_000).for_each(|nanos| times.add(nanos));
        assert_eq!((times.calls(), times.total()), (1_000, 500_500));
        assert_eq!(times.quantile(0.5), 511);
        assert_eq!(times.quantile(0.999), 1_023);
        assert_eq!(CallTimes::default().quantile(0.5), 0);
    }
}
