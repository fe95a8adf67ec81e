//! KV events of engines.
#![expect(clippy::too_many_arguments, reason = "as for the calls of a scheduler")]

use napi::bindgen_prelude::{Either3, Uint8Array, Uint32Array};
use napi_derive::napi;
use slotwise::{EngineHash, KvEvent, KvEventError};
use slotwise_wire::hashes::{
    Adapter, Algorithm, BlockDigest, BlockHasher, DEFAULT_SEED, ExtraKeys, Tagging,
};
use slotwise_wire::kv::internals::{Decoder, Message};

use crate::endpoint::name_of;
use crate::error::{Result, named, unreadable};
use crate::headers::WireProblem;
use crate::number::{MAX_SAFE, exact, positive};
use crate::request::{Bytes, TokenIds};

/// The frames of a message, in place.
pub type Frames<'a> = Vec<&'a [u8]>;

/// A message of a publisher of KV events. At the end of a replay, the rest is null.
#[napi(object, object_from_js = false, use_nullable = true)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct KvMessage {
    /// The topic; empty if there is none.
    pub topic: Option<Uint8Array>,
    /// Its number, from 0 in every process.
    pub seq: Option<f64>,
    /// The batch, for `readKvBatch`.
    pub payload: Option<Uint8Array>,
    /// All that was asked for has been replayed.
    pub replay_end: bool,
}

/// One batch of events.
#[napi(object, object_from_js = false, use_nullable = true)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct KvBatch {
    /// When it was sent, in milliseconds since 1970 by the engine's clock, as dates have them.
    pub sent_at: f64,
    /// The data parallel rank that sent it.
    pub dp_rank: Option<f64>,
    /// The events that count, in order.
    pub events: Vec<Either3<KvStored, KvRemoved, KvCleared>>,
    /// What is not among the events.
    pub skipped_events: SkippedEvents,
}

/// Blocks were computed, each the child of the one before it.
#[napi(object, object_from_js = false, use_nullable = true)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct KvStored {
    /// Discriminates it from other events.
    #[napi(ts_type = "'stored'")]
    pub r#type: &'static str,
    /// The engine's names for the blocks, in order, as 16 hexadecimal digits each.
    pub blocks: Vec<String>,
    /// The engine's name for the block before the first; null at the beginning of a prompt.
    pub parent: Option<String>,
    /// Token ids of all the blocks.
    pub tokens: Option<Uint32Array>,
    /// Token ids behind the last block that its hash covers as well.
    pub lookahead: Uint32Array,
    /// Tokens in a block.
    pub block_size: f64,
    /// Where they are kept.
    #[napi(ts_type = "'gpu' | 'cpu' | 'disk'")]
    pub tier: Option<String>,
    /// The base model; null means the endpoint's, whatever requests call it.
    pub model: Option<String>,
    /// The LoRA adapter.
    pub adapter: Option<String>,
    /// The cache salt.
    pub cache_salt: Option<String>,
}

/// Blocks are gone.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct KvRemoved {
    /// Discriminates it from other events.
    #[napi(ts_type = "'removed'")]
    pub r#type: &'static str,
    /// The engine's names for the blocks, as 16 hexadecimal digits each.
    pub blocks: Vec<String>,
    /// Where they are gone from.
    #[napi(ts_type = "'gpu' | 'cpu' | 'disk'")]
    pub tier: Option<String>,
}

/// Everything is gone.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct KvCleared {
    /// Discriminates it from other events.
    #[napi(ts_type = "'cleared'")]
    pub r#type: &'static str,
}

/// What was read but is not among the events, counted. None of it is an error.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SkippedEvents {
    /// Fields that are not known.
    pub unknown_fields: f64,
    /// Events of kinds that are not known.
    pub unknown_kinds: f64,
    /// Events of other groups of layers than the one that stands for the model.
    pub other_groups: f64,
    /// Events of other data parallel ranks than the one asked for (TensorRT-LLM).
    pub other_ranks: f64,
    /// Events about storage that is not known.
    pub unknown_media: f64,
    /// Stored events of an adapter that is only numbered, not named.
    pub unnamed_adapters: f64,
    /// Stored events without token ids.
    pub without_tokens: f64,
    /// Blocks whose content is more than their token ids, and blocks behind them in the same event.
    pub multimodal_blocks: f64,
    /// Blocks that are not full yet (TensorRT-LLM).
    pub partial_blocks: f64,
}

/// A publisher of KV events has to be asked to send batches again.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ReplayRequest {
    /// The id of the endpoint.
    pub endpoint_id: f64,
    /// Its data-parallel rank.
    pub rank: u32,
    /// The first batch that is requested: see `replayRequest` in `slotwise/wire`.
    pub start: f64,
}

/// What a message of a publisher led to.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct KvReport {
    /// Ask for a replay from this batch on; null if there is nothing to ask for.
    pub ask: Option<f64>,
    /// Whether the view of the endpoint's cache was cleared: the publisher restarted, or its replay
    /// starts too late.
    pub cleared: bool,
    /// Batches applied.
    pub batches: f64,
    /// Batches dropped, as they were seen before.
    pub dropped: f64,
    /// Batches held, until the replay ends.
    pub held: f64,
    /// Batches that are lost for good.
    pub lost: f64,
    /// Unreadable batches, counted at each arrival. None of their events was applied.
    pub unreadable: f64,
    /// Why the last of them could not be read.
    pub error: Option<WireProblem>,
    /// Blocks that were taken as stored.
    pub stored_blocks: f64,
    /// Blocks reported as removed.
    pub removed_blocks: f64,
    /// Events that cleared the cache.
    pub clears: f64,
    /// Stored events whose parent block is not known.
    pub unknown_parents: f64,
    /// Events that were refused for other reasons.
    pub refused: f64,
    /// The last of these reasons, by the code of a `KvEventError`.
    pub refusal: Option<&'static str>,
    /// What was not among the events.
    pub skipped_events: SkippedEvents,
}

/// Reads the frames of a message.
#[napi]
pub fn read_kv_frames(
    #[napi(ts_arg_type = "Array<Uint8Array>")] frames: Frames<'_>,
) -> Result<KvMessage> {
    Ok(match Message::read(&frames).map_err(unreadable)? {
        Message::Batch { topic, seq, payload, .. } => KvMessage {
            topic: Some(topic.into()),
            seq: Some(seq as f64),
            payload: Some(payload.into()),
            replay_end: false,
        },
        _ => KvMessage { topic: None, seq: None, payload: None, replay_end: true },
    })
}

/// Decodes one batch.
#[napi]
pub fn read_kv_batch(#[napi(ts_arg_type = "Uint8Array")] payload: Bytes<'_>) -> Result<KvBatch> {
    let mut decoder = Decoder::new();
    let batch = decoder.decode(payload).map_err(unreadable)?;
    Ok(KvBatch {
        sent_at: batch.sent_at() * 1_000.0,
        dp_rank: batch.dp_rank().map(f64::from),
        events: batch.events().map(event).collect(),
        skipped_events: batch.skipped_events().into(),
    })
}

/// What asks for a replay from this batch on.
#[napi]
pub fn replay_request(start: f64) -> Result<Uint8Array> {
    Ok(slotwise_wire::kv::replay_request(exact("start", start)?).into())
}

/// The names of a prompt's full blocks, 32 bytes each, or 16 with XXH3.
#[napi]
pub fn block_hashes(
    #[napi(ts_arg_type = "Uint32Array")] tokens: TokenIds<'_>,
    block_size: f64,
    algorithm: Option<String>,
    seed: Option<String>,
    tagged: bool,
    adapter: Option<String>,
    adapter_path: Option<String>,
    cache_salt: Option<String>,
) -> Result<Uint8Array> {
    let algorithm = match &algorithm {
        Some(word) => named("algorithm", word)?,
        None => Algorithm::default(),
    };
    let tagging = if tagged { Tagging::Tagged } else { Tagging::Untagged };
    let adapter = adapter
        .as_deref()
        .map(|name| Adapter { name, path: adapter_path.as_deref().unwrap_or_default() });
    let keys = ExtraKeys { adapter, cache_salt: cache_salt.as_deref() };
    let block_size = positive("blockSize", block_size)?;
    let mut hasher =
        BlockHasher::new(algorithm, seed.as_deref().unwrap_or(DEFAULT_SEED)).tagging(tagging);
    let digests = hasher.prompt(tokens, block_size, keys);
    Ok(digests.iter().flat_map(BlockDigest::as_bytes).copied().collect::<Vec<_>>().into())
}

fn event(event: KvEvent<'_>) -> Either3<KvStored, KvRemoved, KvCleared> {
    let names = |blocks: &[EngineHash]| blocks.iter().map(EngineHash::to_string).collect();
    let text = |text: Option<&str>| text.map(String::from);
    match event {
        KvEvent::BlockStored(stored) => Either3::A(KvStored {
            r#type: "stored",
            blocks: names(stored.blocks),
            parent: stored.parent.map(|parent| parent.to_string()),
            tokens: stored.tokens.map(Uint32Array::from),
            lookahead: Uint32Array::from(stored.lookahead),
            block_size: stored.block_size.get().into(),
            tier: name_of(stored.tier),
            model: text(stored.model),
            adapter: text(stored.adapter),
            cache_salt: text(stored.cache_salt),
        }),
        KvEvent::BlockRemoved(removed) => Either3::B(KvRemoved {
            r#type: "removed",
            blocks: names(removed.blocks),
            tier: name_of(removed.tier),
        }),
        _ => Either3::C(KvCleared { r#type: "cleared" }),
    }
}

/// The number of a batch. Those past 2^53 are the last before it: no publisher has come so far.
pub(crate) fn batch_number(seq: u64) -> f64 {
    (seq as f64).min(MAX_SAFE)
}

impl From<slotwise_gateway::engines::ReplayRequest> for ReplayRequest {
    fn from(request: slotwise_gateway::engines::ReplayRequest) -> Self {
        Self {
            endpoint_id: request.endpoint_id.as_u64() as f64,
            rank: request.rank,
            start: batch_number(request.from),
        }
    }
}

impl From<slotwise_wire::kv::Report> for KvReport {
    fn from(report: slotwise_wire::kv::Report) -> Self {
        Self {
            ask: report.ask.map(batch_number),
            cleared: report.cleared,
            batches: report.batches as f64,
            dropped: report.dropped as f64,
            held: report.held as f64,
            lost: report.lost as f64,
            unreadable: report.unreadable as f64,
            error: report.error.map(WireProblem::from),
            stored_blocks: report.stored_blocks as f64,
            removed_blocks: report.removed_blocks as f64,
            clears: report.clears as f64,
            unknown_parents: report.unknown_parents as f64,
            refused: report.refused as f64,
            refusal: report.refusal.as_ref().map(KvEventError::code),
            skipped_events: report.skipped_events.into(),
        }
    }
}

impl From<slotwise_wire::kv::SkippedEvents> for SkippedEvents {
    fn from(skipped_events: slotwise_wire::kv::SkippedEvents) -> Self {
        Self {
            unknown_fields: skipped_events.unknown_fields as f64,
            unknown_kinds: skipped_events.unknown_kinds as f64,
            other_groups: skipped_events.other_groups as f64,
            other_ranks: skipped_events.other_ranks as f64,
            unknown_media: skipped_events.unknown_media as f64,
            unnamed_adapters: skipped_events.unnamed_adapters as f64,
            without_tokens: skipped_events.without_tokens as f64,
            multimodal_blocks: skipped_events.multimodal_blocks as f64,
            partial_blocks: skipped_events.partial_blocks as f64,
        }
    }
}
