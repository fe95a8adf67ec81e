//! TensorRT-LLM's answer at `/kv_cache_events`, a JSON array of events:
//!
//! ```text
//! {"event_id": 7, "window_size": 4096, "attention_dp_rank": 0, "data":
//!    {"type": "created", "num_blocks_per_cache_level": [512, 0]}
//!    {"type": "stored", "parent_hash": null, "blocks": [
//!        {"type": "stored_block", "block_hash": 1, "cache_level": 0, "priority": 35,
//!         "mm_keys": [],
//!         "tokens": [{"type": "unique_token", "token_id": 5, "token_extra_id": 0}]}]}
//!    {"type": "removed", "block_hashes": [1]}
//!    {"type": "updated", "block_hash": 1, "priority": null,
//!     "cache_level": {"type": "event_diff", "new_value": 1, "old_value": 0}}}
//! ```

use core::num::NonZeroU32;

use slotwise::{EngineHash, Tier};

use super::batch::{Buffers, Record, Stored};
use crate::error::{ErrorKind, WireError};
use crate::json::{Kind, Reader};

type Result<T> = core::result::Result<T, WireError>;

/// The layers of an event. Those with the largest window attend to all tokens. Among several such
/// groups, the first represents the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Layers {
    window: u64,
    group: u64,
}

/// The fields of an event besides its data.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    id: Option<u64>,
    layers: Layers,
    rank: u32,
}

impl Layers {
    /// Whether these layers represent the model rather than `others`.
    const fn come_before(self, others: Self) -> bool {
        self.window > others.window || (self.window == others.window && self.group < others.group)
    }
}

/// Decodes a body into buffers. `represents` are the layers that represent the model, kept between
/// bodies.
pub(super) fn decode(
    buffers: &mut Buffers,
    represents: &mut Option<Layers>,
    body: &[u8],
    block_size: NonZeroU32,
    rank: u32,
) -> Result<()> {
    buffers.clear();
    // A first pass finds the layers that represent the model.
    let mut chosen = *represents;
    let start = Reader::new(body)?;
    let mut reader = start.clone();
    let mut events = open(&mut reader)?;
    while events && reader.next_item()? {
        let these = envelope(&mut reader)?.layers;
        if chosen.is_none_or(|others| these.come_before(others)) {
            chosen = Some(these);
        }
    }
    reader.end()?;

    reader = start;
    events = open(&mut reader)?;
    while events && reader.next_item()? {
        let Envelope { id, layers, rank: this } = envelope(&mut reader.clone())?;
        if this != rank {
            reader.skip()?;
            buffers.skipped_events.other_ranks += 1;
            continue;
        }
        if let Some(id) = id {
            buffers.ids = Some((buffers.ids.map_or(id, |(first, _)| first), id));
        }
        if chosen == Some(layers) {
            event(buffers, &mut reader, block_size)?;
        } else {
            reader.skip()?;
            buffers.skipped_events.other_groups += 1;
        }
    }
    buffers.dp_rank = Some(rank);
    *represents = chosen;
    Ok(())
}

/// Enters the array of events; `null` is an empty one.
fn open(reader: &mut Reader<'_>) -> Result<bool> {
    let some = !reader.null()?;
    if some {
        reader.open_array()?;
    }
    Ok(some)
}

/// Reads the envelope of an event and skips its data.
fn envelope(reader: &mut Reader<'_>) -> Result<Envelope> {
    let mut envelope =
        Envelope { id: None, layers: Layers { window: u64::MAX, group: 0 }, rank: 0 };
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "event_id" => envelope.id = whole(reader, "the number of an event")?,
            "window_size" => {
                envelope.layers.window = whole(reader, "a window")?.unwrap_or(u64::MAX);
            }
            "layer_group_id" => {
                envelope.layers.group = whole(reader, "the number of a group")?.unwrap_or(0);
            }
            "attention_dp_rank" => {
                let at = reader.at();
                let rank = u32::try_from(whole(reader, "a data parallel rank")?.unwrap_or(0));
                envelope.rank = rank.map_err(|_| {
                    WireError::new(at, ErrorKind::OutOfRange("a data parallel rank"))
                })?;
            }
            _ => _ = reader.skip()?,
        }
    }
    Ok(envelope)
}

fn event(buffers: &mut Buffers, reader: &mut Reader<'_>, block_size: NonZeroU32) -> Result<()> {
    let at = reader.at();
    let mut has_data = false;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "data" if !has_data => {
                has_data = true;
                data(buffers, reader, block_size)?;
            }
            "event_id" | "window_size" | "layer_group_id" | "attention_dp_rank" | "hash_algo"
            | "type" => {
                _ = reader.skip()?;
            }
            "data" => {
                return Err(WireError::expected(reader.at(), "an event with a single data field"));
            }
            _ => {
                reader.skip()?;
                buffers.skipped_events.unknown_fields += 1;
            }
        }
    }
    if has_data { Ok(()) } else { Err(WireError::expected(at, "an event with a data field")) }
}

/// The data of an event, in any order of its fields.
#[derive(Debug, Default)]
struct Data {
    parent: Option<EngineHash>,
    /// Blocks were listed; the full ones without other content are in the buffers.
    stored: bool,
    blocks_done: bool,
    numbered_adapter: bool,
    cache_salt: Option<core::ops::Range<usize>>,
    partial: u64,
    multimodal: u64,
}

fn data(buffers: &mut Buffers, reader: &mut Reader<'_>, block_size: NonZeroU32) -> Result<()> {
    let at = reader.at();
    let (hashes, tokens) = (buffers.hashes.len(), buffers.tokens.len());
    let mut kind = None;
    let mut data = Data::default();
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "type" => kind = Some(reader.text()?),
            "parent_hash" => data.parent = if reader.null()? { None } else { Some(hash(reader)?) },
            "lora_id" => {
                data.numbered_adapter |=
                    whole(reader, "the number of an adapter")?.unwrap_or(0) != 0;
            }
            "blocks" => {
                data.stored = true;
                reader.open_array()?;
                while reader.next_item()? {
                    block(buffers, &mut data, reader, block_size)?;
                }
            }
            "block_hashes" => {
                reader.open_array()?;
                while reader.next_item()? {
                    let hash = hash(reader)?;
                    buffers.hashes.push(hash);
                }
            }
            "num_blocks_per_cache_level"
            | "block_hash"
            | "cache_level"
            | "priority"
            | "hash_algo" => {
                _ = reader.skip()?;
            }
            _ => {
                reader.skip()?;
                buffers.skipped_events.unknown_fields += 1;
            }
        }
    }
    let kind = kind.ok_or_else(|| WireError::expected(at, "data with a type"))?.read();
    let blocks = hashes..buffers.hashes.len();
    let record = match &*kind {
        // A new cache is empty.
        "created" => Some(Record::Cleared),
        "stored" if !data.stored => return Err(WireError::expected(at, "data with blocks")),
        "stored" => {
            buffers.skipped_events.partial_blocks += data.partial;
            buffers.skipped_events.multimodal_blocks += data.multimodal;
            buffers.skipped_events.unnamed_adapters += u64::from(data.numbered_adapter);
            (!blocks.is_empty() && !data.numbered_adapter).then_some({
                Record::Stored(Stored {
                    blocks,
                    parent: data.parent,
                    tokens: tokens..buffers.tokens.len(),
                    lookahead: 0..0,
                    block_size,
                    tier: Tier::Gpu,
                    adapter: None,
                    cache_salt: data.cache_salt,
                })
            })
        }
        "removed" => Some(Record::Removed { blocks, tier: Tier::Gpu }),
        // The block moved between levels and is still cached.
        "updated" => {
            buffers.skipped_events.without_tokens += 1;
            None
        }
        _ => {
            buffers.skipped_events.unknown_kinds += 1;
            None
        }
    };
    match record {
        Some(record) => buffers.records.push(record),
        None => {
            buffers.hashes.truncate(hashes);
            buffers.tokens.truncate(tokens);
        }
    }
    Ok(())
}

/// Reads a block of a stored event. It is kept if it and all blocks before it are full and consist
/// of tokens only.
fn block(
    buffers: &mut Buffers,
    data: &mut Data,
    reader: &mut Reader<'_>,
    block_size: NonZeroU32,
) -> Result<()> {
    let at = reader.at();
    let start = buffers.tokens.len();
    let (mut name, mut multimodal) = (None, false);
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "block_hash" => name = Some(hash(reader)?),
            "tokens" => {
                reader.open_array()?;
                while reader.next_item()? {
                    let token = token(reader)?;
                    buffers.tokens.push(token);
                }
            }
            "lora_id" => {
                data.numbered_adapter |=
                    whole(reader, "the number of an adapter")?.unwrap_or(0) != 0;
            }
            "mm_keys" => {
                if !reader.null()? {
                    reader.open_array()?;
                    while reader.next_item()? {
                        reader.skip()?;
                        multimodal = true;
                    }
                }
            }
            "cache_salt" => {
                if !reader.null()? {
                    let salt = reader.text()?.read();
                    if data.cache_salt.is_none() && !salt.is_empty() {
                        data.cache_salt = Some(buffers.keep(&salt));
                    }
                }
            }
            "type" | "cache_level" | "priority" => _ = reader.skip()?,
            _ => {
                reader.skip()?;
                buffers.skipped_events.unknown_fields += 1;
            }
        }
    }
    let name = name.ok_or_else(|| WireError::expected(at, "a block with a block_hash"))?;
    let length = buffers.tokens.len() - start;
    let full = length == block_size.get() as usize;
    data.blocks_done |= multimodal || !full;
    if !data.blocks_done {
        buffers.hashes.push(name);
        return Ok(());
    }
    buffers.tokens.truncate(start);
    if length < block_size.get() as usize {
        data.partial += 1;
    } else if length > block_size.get() as usize {
        return Err(WireError::new(
            at,
            ErrorKind::OutOfRange("more token ids than the block size"),
        ));
    } else {
        data.multimodal += 1;
    }
    Ok(())
}

/// Reads a token id: an object, or a bare number.
fn token(reader: &mut Reader<'_>) -> Result<u32> {
    if reader.kind()? != Kind::Object {
        return reader.number()?.small("a token id");
    }
    let at = reader.at();
    let mut id = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match key.raw() {
            "token_id" => id = Some(reader.number()?.small("a token id")?),
            _ => _ = reader.skip()?,
        }
    }
    id.ok_or_else(|| WireError::expected(at, "a token_id"))
}

/// Reads a hash: a signed or unsigned integer of 64 bits, or hexadecimal digits, of which the last
/// 64 bits count.
fn hash(reader: &mut Reader<'_>) -> Result<EngineHash> {
    if reader.kind()? == Kind::Text {
        let text = reader.text()?;
        let digits = text.raw();
        let last = digits
            .len()
            .checked_sub(16)
            .map_or(digits, |from| digits.get(from..).unwrap_or_default());
        // `from_str_radix` would accept a sign.
        let all_digits =
            !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return match u64::from_str_radix(last, 16) {
            Ok(hash) if all_digits => Ok(EngineHash(hash)),
            _ => Err(WireError::expected(text.at(), "a hash")),
        };
    }
    let at = reader.at();
    let digits = reader.number()?.digits();
    let signed = || digits.parse::<i64>().map(|hash| hash as u64);
    let hash = digits.parse().or_else(|_| signed());
    hash.map(EngineHash).map_err(|_| WireError::new(at, ErrorKind::OutOfRange("a hash")))
}

fn whole(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<u64>> {
    if reader.null()? { Ok(None) } else { reader.number()?.whole(what).map(Some) }
}
