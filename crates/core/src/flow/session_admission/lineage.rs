//! Finds the session that a prompt continues, from the prompt alone.
//!
//! A turn's prompt extends the prompt of the turn before. A request belongs to the session whose
//! last prompt it shares up to four fifths at least. Clients rewrite the end, and many sessions
//! share the beginning: the system prompt and the tools.
//!
//! A block's hash covers all blocks before it, so one hash identifies a prompt up to a depth. Each
//! session leaves one **mark**, at four fifths of its last prompt; a prompt with that block
//! continues the session. Marks are only at *round* depths, of five binary digits: 1 … 32, 34 … 64,
//! 68 … 128, and so on. They lie at 80 to 85 % of the prompt, and a lookup of *n* blocks takes
//! **O(log n)**, 16 steps an octave.
//!
//! Sessions that share more than that cannot be distinguished, such as first turns under a long
//! system prompt. The second of them adds at most the last fifth to a cache.

use hashbrown::HashMap;

use crate::prefix::BlockHash;
use crate::prefix::keyed_state::KeyedState;

/// The marks of all sessions.
#[derive(Debug)]
pub(super) struct Lineage {
    sessions: HashMap<u64, u64, KeyedState>,
}

/// Binary digits of a round depth.
const DIGITS: u32 = 5;

impl Lineage {
    pub(super) const fn new(hash_state: KeyedState) -> Self {
        Self { sessions: HashMap::with_hasher(hash_state) }
    }

    /// The session that a prompt continues: the one with the deepest mark in it.
    pub(super) fn find(&self, chain: &[BlockHash]) -> Option<u64> {
        let mut marks = round_depths(chain.len()).filter_map(|depth| chain.get(depth - 1));
        marks.find_map(|mark| self.sessions.get(&mark.0)).copied()
    }

    /// Sets the mark of a session with this prompt. Sessions with equal marks count as one; the
    /// mark belongs to the later.
    pub(super) fn put(&mut self, session: u64, chain: &[BlockHash]) -> Option<BlockHash> {
        let mark = *chain.get(mark_depth(chain.len()).checked_sub(1)?)?;
        self.sessions.insert(mark.0, session);
        Some(mark)
    }

    /// Removes a session's mark, unless it belongs to another session now.
    pub(super) fn take(&mut self, session: u64, mark: BlockHash) {
        if self.sessions.get(&mark.0) == Some(&session) {
            self.sessions.remove(&mark.0);
        }
    }

    /// Number of marks.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// The first round depth at four fifths of a prompt of this many blocks; 0 if there is none.
pub(super) fn mark_depth(blocks: usize) -> usize {
    let least = blocks - blocks / 5;
    let below = round_down(least);
    if below < least { below + step(below) } else { below }
}

/// The round depths up to `depth`, deepest first.
fn round_depths(depth: usize) -> impl Iterator<Item = usize> {
    let next = |depth: usize| depth.checked_sub(1).map(round_down).filter(|depth| *depth > 0);
    core::iter::successors(next(depth + 1), move |depth| next(*depth))
}

const fn round_down(depth: usize) -> usize {
    depth & !(step(depth) - 1)
}

/// The distance from a round depth to the next.
const fn step(depth: usize) -> usize {
    let digits = usize::BITS - depth.leading_zeros();
    1 << digits.saturating_sub(DIGITS)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The chain of a prompt of `depth` blocks; blocks from `fork` on are its own, the others
    /// shared.
    pub(in super::super) fn chain(own: u64, fork: usize, depth: usize) -> Vec<BlockHash> {
        let mut hash = 0xcbf2_9ce4_8422_2325;
        let mut next = |at| {
            let block = if at < fork { 0 } else { own };
            hash = (hash ^ block ^ (at as u64 * 0x9e37_79b9)).wrapping_mul(0x0100_0000_01b3_4d01);
            hash ^= hash >> 29;
            BlockHash(hash)
        };
        (0..depth).map(&mut next).collect()
    }

    fn lineage() -> Lineage {
        Lineage::new(KeyedState::new(7))
    }

    #[test]
    fn round_depths_are_few() {
        assert_eq!(round_depths(37).take(7).collect::<Vec<_>>(), [36, 34, 32, 31, 30, 29, 28]);
        assert_eq!(round_depths(0).count(), 0);
        assert_eq!(round_depths(1 << 16).last(), Some(1));
        assert!(round_depths(1 << 16).count() <= 16 * 13);
    }

    #[test]
    fn sessions_that_share_only_their_first_half_are_two() {
        let mut lineage = lineage();
        lineage.put(1, &chain(1, 50, 100));
        assert_eq!(lineage.find(&chain(2, 50, 100)), None);
        lineage.put(2, &chain(2, 50, 100));
        assert_eq!(lineage.find(&chain(1, 50, 110)), Some(1));
        assert_eq!(lineage.find(&chain(2, 50, 400)), Some(2));
    }

    #[test]
    fn a_prompt_whose_end_was_rewritten_continues_its_session() {
        let mut lineage = lineage();
        lineage.put(1, &chain(1, 50, 100));
        let mut rewritten = chain(1, 50, 88);
        rewritten.extend([BlockHash(1), BlockHash(2)]);
        assert_eq!(lineage.find(&rewritten), Some(1));
        assert_eq!(lineage.find(&chain(1, 50, 79)), None);
        assert_eq!(lineage.find(&[]), None);
        assert_eq!(lineage.put(2, &[]), None);
    }

    #[test]
    fn a_mark_is_taken_away_by_its_owner_only() {
        let mut lineage = lineage();
        let marks = [1, 2].map(|session| lineage.put(session, &chain(0, 0, 10)).expect("a mark"));
        assert_eq!(marks[0], marks[1]);
        lineage.take(1, marks[0]);
        assert_eq!(lineage.find(&chain(0, 0, 12)), Some(2));
        lineage.take(2, marks[1]);
        assert_eq!(lineage.len(), 0);
    }

    proptest! {
        #[test]
        fn marks_are_four_fifths_deep_and_round(blocks in 1usize..100_000) {
            let depth = mark_depth(blocks);
            prop_assert!(5 * depth >= 4 * blocks && depth <= blocks);
            prop_assert!(depth as f64 <= 0.85 * blocks as f64 + 1.1);
            prop_assert_eq!(round_depths(blocks).find(|round| *round <= depth), Some(depth));
        }

        /// Compared with all prompts, block by block, by the rule itself.
        #[test]
        fn agrees_with_comparing_prompts(
            turns in prop::collection::vec((0u64..4, 0usize..80, 0usize..120), 0..20),
            query in (0u64..4, 0usize..80, 0usize..120),
        ) {
            let (mut lineage, mut prompts) = (lineage(), Vec::<(u64, Vec<BlockHash>)>::new());
            for (session, (own, fork, depth)) in turns.into_iter().enumerate() {
                let mut prompt = chain(own, fork, depth);
                lineage.put(session as u64, &prompt);
                prompt.truncate(mark_depth(depth));
                prompts.retain(|(_, other)| *other != prompt);
                prompts.push((session as u64, prompt));
            }
            let prompt = chain(query.0, query.1, query.2);
            let continued = prompts.iter().filter(|(_, old)| !old.is_empty() && prompt.starts_with(old));
            let expected = continued.max_by_key(|(_, old)| old.len()).map(|(session, _)| *session);
            prop_assert_eq!(lineage.find(&prompt), expected);
        }
    }
}
