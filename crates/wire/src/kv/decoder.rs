//! Decodes payloads of either format into batches.

use core::num::NonZeroU32;

use super::batch::{Batch, Buffers};
use super::{trtllm, vllm};
use crate::error::WireError;

/// Decodes the batches of one publisher into reused buffers.
///
/// The buffers grow to a small multiple of the largest batch and stay, so a warm decoder does not
/// allocate.
///
/// Between batches, the decoder keeps the group of layers that represents the model (`group_idx`,
/// or TensorRT-LLM's `window_size`). Removals carry a group without its kind of attention.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    buffers: Buffers,
    group: Option<u64>,
    layers: Option<trtllm::Layers>,
}

impl Decoder {
    /// Creates a decoder without state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a payload of vLLM or SGLang. Computes in **O(bytes)**.
    ///
    /// Events may be maps (vLLM from 0.24) or arrays.
    ///
    /// - A hash of more than 8 bytes is truncated to its last 8, as in vLLM's integer hashes. A
    ///   negative hash keeps its bits.
    /// - `lookahead_token_ids` (vLLM with EAGLE or MTP, from 0.33) are the tokens after each block
    ///   that its hash covers.
    /// - `medium` maps to a [`Tier`](slotwise::Tier). A missing medium and `GPU` are the GPU tier,
    ///   and `CPU*` the host tier. `DISK`, `STORAGE`, `EXTERNAL` and remote blocks are the disk
    ///   tier.
    /// - The cache salt is SGLang's field, or the text besides the adapter's name in the
    ///   `extra_keys` of a prompt's first block.
    ///
    /// # Errors
    ///
    /// Returns the offset if the payload is malformed anywhere. The decoder's state does not change
    /// then.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Batch<'_>, WireError> {
        vllm::decode(&mut self.buffers, &mut self.group, payload)?;
        Ok(Batch { buffers: &self.buffers })
    }

    /// Decodes TensorRT-LLM's answer at `/kv_cache_events`, a JSON array of events. Computes in
    /// **O(bytes)**.
    ///
    /// Only events of data parallel rank `rank` are taken; an event without a rank belongs to rank
    /// 0. Events do not carry the block size, so `block_size` gives it, in tokens. Removals do not
    /// carry a cache level, so all levels count as the GPU tier.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    pub fn decode_trtllm(
        &mut self,
        body: &[u8],
        block_size: NonZeroU32,
        rank: u32,
    ) -> Result<Batch<'_>, WireError> {
        trtllm::decode(&mut self.buffers, &mut self.layers, body, block_size, rank)?;
        Ok(Batch { buffers: &self.buffers })
    }

    /// The batch that was decoded last.
    pub(super) const fn batch(&self) -> Batch<'_> {
        Batch { buffers: &self.buffers }
    }

    /// Clears the layer group: a restarted engine may group its layers differently.
    pub(super) fn forget(&mut self) {
        (self.group, self.layers) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use slotwise::{EngineHash, KvEvent};

    use super::*;

    #[test]
    fn a_batch_has_a_time_a_rank_and_events() {
        let mut decoder = Decoder::new();
        // [1.5, [{"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU"}], 0]
        let batch = decoder
            .decode(b"\x93\xcb\x3f\xf8\0\0\0\0\0\0\x91\x83\xa4type\xacBlockRemoved\xacblock_hashes\x91\x01\xa6medium\xa3GPU\0")
            .expect("well formed");
        assert_eq!((batch.sent_at().to_bits(), batch.dp_rank()), (1.5_f64.to_bits(), Some(0)));
        let Some(KvEvent::BlockRemoved(removed)) = batch.events().next() else {
            panic!("{batch:?}")
        };
        assert_eq!(removed.blocks, [EngineHash(1)]);
    }
}
