//! Detects evictions in an endpoint's cache from answers; two answers must agree.
//!
//! ```text
//!            shortfall          second shortfall, of blocks used before the first
//! trusted ─────────────► suspected ──────────────────────► forget ──► suspected
//!    ▲                       │
//!    └───────────────────────┘ presumed evicted blocks were found, or the second
//!                              shortfall is of blocks used after the first
//! ```
//!
//! Engines evict the least recently used blocks. An answer with fewer cached tokens than expected
//! implies that all blocks with an equal or older last use are gone. A single such answer can come
//! from an engine that skipped its cache, so two are required. Both together imply the older of
//! their times.
//!
//! An engine that loses blocks right after it computed them does not evict the least recently used;
//! such an answer is no evidence.

/// An answer with fewer cached tokens than expected. Times are numbers of uses of the endpoint's
/// cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortfall {
    /// Blocks last used at this time or earlier are presumed evicted.
    pub(crate) unused_since: u64,
    /// When its request was placed; blocks used later existed after the answer's lookup.
    pub(crate) placed: u64,
}

/// The last shortfall that no other answer has confirmed or refuted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evictions {
    suspected: Option<Shortfall>,
}

impl Evictions {
    /// Records a shortfall. If a second answer agrees, returns the last use up to which blocks are
    /// evicted.
    pub(crate) fn observe(&mut self, now: Shortfall) -> Option<u64> {
        let before = self.suspected.replace(now)?;
        if now.unused_since >= before.placed {
            self.suspected = None;
            return None;
        }
        let agreed = now.unused_since.min(before.unused_since);
        let latest = now.unused_since.max(before.unused_since);
        self.suspected = Some(Shortfall { unused_since: latest, ..now });
        Some(agreed)
    }

    /// Records an answer that found all expected tokens, the oldest block last used at this time.
    pub(crate) fn found(&mut self, last_used: u64) {
        if self.suspected.is_some_and(|suspected| last_used <= suspected.unused_since) {
            self.suspected = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn short(unused_since: u64, placed: u64) -> Shortfall {
        Shortfall { unused_since, placed }
    }

    #[test]
    fn the_second_of_two_that_agree_counts() {
        let mut evictions = Evictions::default();
        assert_eq!(evictions.observe(short(10, 100)), None);
        assert_eq!(evictions.observe(short(20, 110)), Some(10));
        assert_eq!(evictions.observe(short(30, 120)), Some(20));
    }

    #[test]
    fn what_the_first_answer_left_behind_cannot_be_gone() {
        let mut evictions = Evictions::default();
        assert_eq!(evictions.observe(short(10, 100)), None);
        assert_eq!(evictions.observe(short(101, 110)), None);
        assert_eq!(evictions.observe(short(111, 120)), None);
    }

    #[test]
    fn a_find_refutes() {
        let mut evictions = Evictions::default();
        assert_eq!(evictions.observe(short(50, 100)), None);
        evictions.found(40);
        assert_eq!(evictions.observe(short(60, 110)), None);
    }
}
