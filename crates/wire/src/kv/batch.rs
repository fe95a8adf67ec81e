//! A batch of KV events, decoded completely before the first event is returned.

use alloc::string::String;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::num::NonZeroU32;
use core::ops::Range;

use slotwise::{BlockRemoved, BlockStored, EngineHash, KvEvent, Tier};

/// The counted events of one batch, in order. Borrows the buffers of its
/// [`Decoder`](super::decoder::Decoder).
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub(super) buffers: &'a Buffers,
}

/// The events of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    buffers: &'a Buffers,
    records: core::slice::Iter<'a, Record>,
}

/// Counts of events and fields that were parsed and then skipped.
///
/// None of them is an error: the other events of the batch are complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SkippedEvents {
    /// Unknown fields.
    pub unknown_fields: u64,
    /// Events of unknown kinds.
    pub unknown_kinds: u64,
    /// Events of layer groups that do not represent the model: sliding windows, Mamba states, and
    /// further groups of full attention, which repeat the first.
    pub other_groups: u64,
    /// Events of data parallel ranks other than the requested one (TensorRT-LLM).
    pub other_ranks: u64,
    /// Events about unknown storage media.
    pub unknown_media: u64,
    /// Stored events of adapters that have a number but no name. Numbers differ between replicas.
    pub unnamed_adapters: u64,
    /// Stored events without token ids: copies into another tier (vLLM's offloading, TensorRT-LLM's
    /// `updated`).
    pub without_tokens: u64,
    /// Blocks, not events, with content besides token ids (images, embeddings), and the blocks
    /// after them in the same event.
    pub multimodal_blocks: u64,
    /// Blocks, not events, that are not full yet (TensorRT-LLM).
    pub partial_blocks: u64,
}

/// The buffers of one batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    pub(super) sent_at: f64,
    pub(super) dp_rank: Option<u32>,
    /// The first and the last event id (TensorRT-LLM).
    pub(super) ids: Option<(u64, u64)>,
    pub(super) records: Vec<Record>,
    pub(super) hashes: Vec<EngineHash>,
    pub(super) tokens: Vec<u32>,
    /// Tokens after a block that its hash covers.
    pub(super) lookahead: Vec<u32>,
    pub(super) text: String,
    pub(super) skipped_events: SkippedEvents,
}

/// An event as ranges of the buffers.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Stored(Stored),
    Removed { blocks: Range<usize>, tier: Tier },
    Cleared,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) blocks: Range<usize>,
    pub(super) parent: Option<EngineHash>,
    pub(super) tokens: Range<usize>,
    pub(super) lookahead: Range<usize>,
    pub(super) block_size: NonZeroU32,
    pub(super) tier: Tier,
    pub(super) adapter: Option<Range<usize>>,
    pub(super) cache_salt: Option<Range<usize>>,
}

impl<'a> Batch<'a> {
    /// When the engine sent the batch, in seconds since 1970 by its clock. TensorRT-LLM sends no
    /// time: 0.
    pub const fn sent_at(&self) -> f64 {
        self.buffers.sent_at
    }

    /// The data parallel rank of the publisher.
    pub const fn dp_rank(&self) -> Option<u32> {
        self.buffers.dp_rank
    }

    /// The ids of the first and the last event (TensorRT-LLM).
    pub const fn event_ids(&self) -> Option<(u64, u64)> {
        self.buffers.ids
    }

    /// Counts of skipped events and fields.
    pub const fn skipped_events(&self) -> SkippedEvents {
        self.buffers.skipped_events
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.buffers.records.len()
    }

    /// Whether the batch has no events.
    pub fn is_empty(&self) -> bool {
        self.buffers.records.is_empty()
    }

    /// The events in order.
    pub fn events(&self) -> Events<'a> {
        Events { buffers: self.buffers, records: self.buffers.records.iter() }
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = KvEvent<'a>;
    type IntoIter = Events<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.events()
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = KvEvent<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let buffers = self.buffers;
        let blocks = |range: &Range<usize>| buffers.hashes.get(range.clone()).unwrap_or_default();
        Some(match self.records.next()? {
            Record::Stored(stored) => {
                let text = |range: &Option<Range<usize>>| buffers.text.get(range.clone()?);
                let mut event =
                    BlockStored::new(blocks(&stored.blocks), stored.block_size).tier(stored.tier);
                event.parent = stored.parent;
                event.tokens = buffers.tokens.get(stored.tokens.clone());
                event.lookahead =
                    buffers.lookahead.get(stored.lookahead.clone()).unwrap_or_default();
                event.adapter = text(&stored.adapter);
                event.cache_salt = text(&stored.cache_salt);
                KvEvent::BlockStored(event)
            }
            Record::Removed { blocks: range, tier } => {
                KvEvent::BlockRemoved(BlockRemoved::new(blocks(range)).tier(*tier))
            }
            Record::Cleared => KvEvent::AllBlocksCleared,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for Events<'_> {}
impl FusedIterator for Events<'_> {}

impl SkippedEvents {
    /// All counts with their names in other languages.
    pub const fn counts(&self) -> [(&'static str, u64); 9] {
        [
            ("unknown_fields", self.unknown_fields),
            ("unknown_kinds", self.unknown_kinds),
            ("other_groups", self.other_groups),
            ("other_ranks", self.other_ranks),
            ("unknown_media", self.unknown_media),
            ("unnamed_adapters", self.unnamed_adapters),
            ("without_tokens", self.without_tokens),
            ("multimodal_blocks", self.multimodal_blocks),
            ("partial_blocks", self.partial_blocks),
        ]
    }
}

impl core::ops::AddAssign for SkippedEvents {
    fn add_assign(&mut self, more: Self) {
        self.unknown_fields += more.unknown_fields;
        self.unknown_kinds += more.unknown_kinds;
        self.other_groups += more.other_groups;
        self.other_ranks += more.other_ranks;
        self.unknown_media += more.unknown_media;
        self.unnamed_adapters += more.unnamed_adapters;
        self.without_tokens += more.without_tokens;
        self.multimodal_blocks += more.multimodal_blocks;
        self.partial_blocks += more.partial_blocks;
    }
}

impl Buffers {
    pub(super) fn clear(&mut self) {
        self.sent_at = 0.0;
        self.dp_rank = None;
        self.ids = None;
        self.records.clear();
        self.hashes.clear();
        self.tokens.clear();
        self.lookahead.clear();
        self.text.clear();
        self.skipped_events = SkippedEvents::default();
    }

    /// Stores a text and returns its range.
    pub(super) fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }
}

/// The tier of an engine's storage medium.
pub(super) fn tier(medium: &[u8]) -> Option<Tier> {
    let is = |name: &[u8]| medium.eq_ignore_ascii_case(name);
    if is(b"GPU") {
        Some(Tier::Gpu)
    } else if medium.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"CPU")) {
        Some(Tier::Cpu)
    } else if is(b"DISK") || is(b"STORAGE") || is(b"EXTERNAL") {
        Some(Tier::Disk)
    } else {
        None
    }
}

/// Truncates a hash to its last 8 bytes, as vLLM does for integer hashes.
pub(super) fn short(digest: &[u8]) -> EngineHash {
    let from = digest.len().saturating_sub(8);
    EngineHash(digest[from..].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte)))
}
