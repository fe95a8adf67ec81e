//! When answers show that an endpoint's cache has lost blocks: two of them must agree.
//!
//! ```text
//!            shortfall                 second shortfall, of what was used before the first
//! trusted ─────────────► suspected ───────────────────────────────────────────────────► forget ──► suspected
//!    ▲                       │
//!    └───────────────────────┘ what should be gone was found, or what the first answer left behind is said to be gone
//! ```
//!
//! Engines evict what has not been used for the longest time. An answer with fewer cached tokens than expected says that all
//! blocks that were last used as long ago are gone. One such answer may also come from an engine that did not look into its
//! cache, so nothing is forgotten before a second one. What both say is what the older of the two times says.
//!
//! An engine that loses blocks right after it computed them does not evict the least recently used: such an answer is
//! no evidence.

/// An answer with fewer cached tokens than expected. Times are numbers of uses of the endpoint's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortfall {
    /// What was last used at this time or earlier is said to be gone.
    pub(crate) unused_since: u64,
    /// When its request was placed: blocks that were used later were there after it.
    pub(crate) placed: u64,
}

/// The last shortfall that no other answer has confirmed or refuted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evictions {
    suspected: Option<Shortfall>,
}

impl Evictions {
    /// An answer fell short. Returns until when the blocks to forget were last used, if a second answer agrees.
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

    /// An answer found all that was expected, the oldest of it last used at this time.
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
