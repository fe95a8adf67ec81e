//! Batches of vLLM and SGLang: `[time, [event...], rank]` in msgpack, with events as maps or
//! arrays.

use core::num::NonZeroU32;
use core::ops::Range;

use slotwise::{EngineHash, Tier};

use super::batch::{Buffers, Record, Stored, short, tier};
use super::msgpack::{Kind, Reader};
use crate::error::{ErrorKind, WireError};

type Result<T> = core::result::Result<T, WireError>;

/// Decodes a batch into buffers. `group` is the layer group that represents the model, kept between
/// batches.
pub(super) fn decode(buffers: &mut Buffers, group: &mut Option<u64>, payload: &[u8]) -> Result<()> {
    buffers.clear();
    let mut next_group = *group;
    let mut reader = Reader::new(payload);
    let fields = reader.array()?;
    if fields < 2 {
        return Err(WireError::expected(0, "an array of a time, events and a rank"));
    }
    buffers.sent_at = reader.float("a time")?;
    for _ in 0..reader.array()? {
        event(buffers, &mut next_group, &mut reader)?;
    }
    if fields > 2 && !reader.nil()? {
        buffers.dp_rank = Some(reader.small("a data parallel rank")?);
    }
    for _ in 3..fields {
        reader.skip()?;
        buffers.skipped_events.unknown_fields += 1;
    }
    reader.end()?;
    *group = next_group;
    Ok(())
}

/// The fields of an event in either form.
#[derive(Debug)]
struct Fields<'a> {
    /// The offset of the event.
    at: usize,
    blocks: Option<Range<usize>>,
    parent: Option<EngineHash>,
    tokens: Option<Range<usize>>,
    lookahead: Option<Ahead>,
    block_size: Option<NonZeroU32>,
    numbered_adapter: bool,
    adapter: Option<&'a str>,
    cache_salt: Option<&'a str>,
    medium: Option<&'a [u8]>,
    remote: bool,
    /// The list of extra keys, if a block has any.
    extra_keys: Option<Reader<'a>>,
    group: Option<u64>,
    attention: Option<&'a [u8]>,
}

/// The tokens after each block that its hash covers, concatenated.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    start: usize,
    /// Tokens per block.
    width: usize,
    blocks: usize,
}

/// The fields of stored and removed events by their positions in an array. Events are maps from
/// vLLM 0.24 on.
const STORED: [&[u8]; 11] = [
    b"block_hashes",
    b"parent_block_hash",
    b"token_ids",
    b"block_size",
    b"lora_id",
    b"medium",
    b"lora_name",
    b"extra_keys",
    b"group_idx",
    b"kv_cache_spec_kind",
    b"kv_cache_spec_sliding_window",
];
const REMOVED: [&[u8]; 3] = [b"block_hashes", b"medium", b"group_idx"];

fn event(buffers: &mut Buffers, group: &mut Option<u64>, reader: &mut Reader<'_>) -> Result<()> {
    let start = (buffers.hashes.len(), buffers.tokens.len());
    let mut fields = Fields::new(reader.at());
    let name = match reader.kind()? {
        Kind::Map => fields.read_map(buffers, reader)?,
        Kind::Array => fields.read_array(buffers, reader)?,
        _ => return Err(WireError::expected(reader.at(), "an event")),
    };
    let record = match name {
        "BlockStored" => fields.stored(buffers, group, start)?,
        "BlockRemoved" => fields.removed(buffers, *group)?,
        "AllBlocksCleared" => Some(Record::Cleared),
        _ => {
            buffers.skipped_events.unknown_kinds += 1;
            None
        }
    };
    match record {
        Some(record) => buffers.records.push(record),
        None => {
            buffers.hashes.truncate(start.0);
            buffers.tokens.truncate(start.1);
        }
    }
    Ok(())
}

impl<'a> Fields<'a> {
    const fn new(at: usize) -> Self {
        Self {
            at,
            blocks: None,
            parent: None,
            tokens: None,
            lookahead: None,
            block_size: None,
            numbered_adapter: false,
            adapter: None,
            cache_salt: None,
            medium: None,
            remote: false,
            extra_keys: None,
            group: None,
            attention: None,
        }
    }

    /// Reads a map and returns the event's name.
    fn read_map(&mut self, buffers: &mut Buffers, reader: &mut Reader<'a>) -> Result<&'a str> {
        let mut name = None;
        for _ in 0..reader.map()? {
            if reader.kind()? != Kind::Text {
                reader.skip()?;
                reader.skip()?;
                buffers.skipped_events.unknown_fields += 1;
                continue;
            }
            match reader.name()? {
                b"type" => name = Some(reader.text()?),
                field => self.read_field(buffers, field, reader)?,
            }
        }
        name.ok_or_else(|| WireError::expected(self.at, "an event with a type"))
    }

    /// Reads an array and returns the event's name.
    fn read_array(&mut self, buffers: &mut Buffers, reader: &mut Reader<'a>) -> Result<&'a str> {
        let length = reader.array()?;
        if length == 0 {
            return Err(WireError::expected(self.at, "an event with a type"));
        }
        let name = reader.text()?;
        let names: &[&[u8]] = match name {
            "BlockStored" => &STORED,
            "BlockRemoved" => &REMOVED,
            _ => &[],
        };
        for place in 0..length - 1 {
            match names.get(place) {
                Some(field) => self.read_field(buffers, field, reader)?,
                None => {
                    reader.skip()?;
                    buffers.skipped_events.unknown_fields += 1;
                }
            }
        }
        Ok(name)
    }

    fn read_field(
        &mut self,
        buffers: &mut Buffers,
        field: &[u8],
        reader: &mut Reader<'a>,
    ) -> Result<()> {
        match field {
            b"block_hashes" => self.blocks = Some(read_hashes(buffers, reader)?),
            b"parent_block_hash" => {
                self.parent = if reader.nil()? { None } else { Some(read_hash(reader)?) };
            }
            b"token_ids" => self.tokens = read_tokens(buffers, reader)?,
            b"block_size" => {
                let at = reader.at();
                let size = NonZeroU32::new(reader.small("a block size")?);
                let size =
                    size.ok_or_else(|| WireError::new(at, ErrorKind::OutOfRange("a block size")))?;
                self.block_size = Some(size);
            }
            // vLLM numbers adapters from 1; other engines send 0 for the base model.
            b"lora_id" => {
                self.numbered_adapter = match reader.kind()? {
                    Kind::Integer => reader.bits("the number of an adapter")? != 0,
                    Kind::Nil => !reader.nil()?,
                    _ => {
                        reader.skip()?;
                        true
                    }
                }
            }
            b"medium" => self.medium = name_or_nil(reader)?,
            b"lora_name" => self.adapter = text_or_nil(reader)?.filter(|name| !name.is_empty()),
            b"cache_salt" => self.cache_salt = text_or_nil(reader)?.filter(|salt| !salt.is_empty()),
            b"extra_keys" => self.extra_keys = read_extra_keys(reader)?,
            b"group_idx" => {
                let missing = reader.nil()?;
                self.group = if missing {
                    None
                } else {
                    Some(reader.small("the number of a group")?.into())
                };
            }
            b"kv_cache_spec_kind" => self.attention = name_or_nil(reader)?,
            b"locality" => self.remote = name_or_nil(reader)? == Some(b"REMOTE"),
            b"lookahead_token_ids" => self.lookahead = read_lookahead(buffers, reader)?,
            b"kv_cache_spec_sliding_window" | b"ownership" | b"session_id" => {
                reader.skip()?;
            }
            _ => {
                reader.skip()?;
                buffers.skipped_events.unknown_fields += 1;
            }
        }
        Ok(())
    }

    /// Converts the event into a record, unless it is skipped.
    fn stored(
        self,
        buffers: &mut Buffers,
        group: &mut Option<u64>,
        start: (usize, usize),
    ) -> Result<Option<Record>> {
        let blocks = self
            .blocks
            .clone()
            .ok_or_else(|| WireError::expected(self.at, "an event with block_hashes"))?;
        let block_size = self
            .block_size
            .ok_or_else(|| WireError::expected(self.at, "an event with a block_size"))?;
        if !self.is_of_the_group(group) {
            buffers.skipped_events.other_groups += 1;
            return Ok(None);
        }
        let Some(tier) = self.tier() else {
            buffers.skipped_events.unknown_media += 1;
            return Ok(None);
        };
        let Some(tokens) = self.tokens.clone().filter(|tokens| !tokens.is_empty()) else {
            buffers.skipped_events.without_tokens += 1;
            return Ok(None);
        };
        if self.numbered_adapter && self.adapter.is_none() {
            buffers.skipped_events.unnamed_adapters += 1;
            return Ok(None);
        }
        let mut stored = Stored {
            blocks,
            parent: self.parent,
            tokens,
            lookahead: 0..0,
            block_size,
            tier,
            adapter: None,
            cache_salt: None,
        };
        let mut salt = self.cache_salt;
        if let Some(keys) = self.extra_keys {
            let (found, plain) = extra_keys(keys, self.adapter, self.parent.is_none())?;
            salt = salt.or(found);
            let length = stored.blocks.len();
            if plain < length {
                buffers.skipped_events.multimodal_blocks += (length - plain) as u64;
                cut(buffers, &mut stored, plain, start);
                if plain == 0 {
                    return Ok(None);
                }
            }
        }
        if let Some(ahead) = self.lookahead {
            if ahead.blocks < stored.blocks.len() {
                return Err(WireError::expected(self.at, "lookahead_token_ids for each block"));
            }
            let last = ahead.start + ahead.width * stored.blocks.len().saturating_sub(1);
            stored.lookahead = last..last + ahead.width;
        }
        stored.adapter = self.adapter.map(|name| buffers.keep(name));
        stored.cache_salt = salt.map(|salt| buffers.keep(salt));
        Ok(Some(Record::Stored(stored)))
    }

    fn removed(self, buffers: &mut Buffers, group: Option<u64>) -> Result<Option<Record>> {
        let blocks = self
            .blocks
            .clone()
            .ok_or_else(|| WireError::expected(self.at, "an event with block_hashes"))?;
        // Before the first stored event, group 0 most likely represents the model.
        if self.group.is_some_and(|this| this != group.unwrap_or(0)) {
            buffers.skipped_events.other_groups += 1;
            return Ok(None);
        }
        let Some(tier) = self.tier() else {
            buffers.skipped_events.unknown_media += 1;
            return Ok(None);
        };
        Ok(Some(Record::Removed { blocks, tier }))
    }

    /// Whether the event belongs to the group that represents the model.
    ///
    /// That is the first group whose layers attend to all tokens. A prefix is cached when its
    /// blocks are in every such group, and these change together. A sliding window's blocks can be
    /// evicted while the prefix still serves.
    fn is_of_the_group(&self, group: &mut Option<u64>) -> bool {
        let attends_to_all = matches!(
            self.attention,
            None | Some(b"full_attention" | b"mla_attention" | b"sink_full_attention")
        );
        match self.group {
            _ if !attends_to_all => false,
            None => true,
            Some(this) => *group.get_or_insert(this) == this,
        }
    }

    fn tier(&self) -> Option<Tier> {
        if self.remote {
            return Some(Tier::Disk);
        }
        self.medium.map_or(Some(Tier::Gpu), tier)
    }
}

/// Truncates an event to its first blocks.
fn cut(buffers: &mut Buffers, stored: &mut Stored, blocks: usize, start: (usize, usize)) {
    // With any other number of token ids, the core rejects the event.
    if stored.tokens.len() == stored.blocks.len().saturating_mul(stored.block_size.get() as usize) {
        stored.tokens.end = stored.tokens.start + blocks * stored.block_size.get() as usize;
        buffers.tokens.truncate(stored.tokens.end.max(start.1));
    }
    stored.blocks.end = stored.blocks.start + blocks;
    buffers.hashes.truncate(stored.blocks.end.max(start.0));
}

fn read_hashes(buffers: &mut Buffers, reader: &mut Reader<'_>) -> Result<Range<usize>> {
    let length = reader.array()?;
    let start = buffers.hashes.len();
    buffers.hashes.reserve(length);
    for _ in 0..length {
        buffers.hashes.push(read_hash(reader)?);
    }
    Ok(start..buffers.hashes.len())
}

fn read_hash(reader: &mut Reader<'_>) -> Result<EngineHash> {
    if reader.kind()? != Kind::Binary {
        return reader.bits("a hash").map(EngineHash);
    }
    let at = reader.at();
    match reader.binary()? {
        [] => Err(WireError::expected(at, "a hash")),
        digest => Ok(short(digest)),
    }
}

fn read_tokens(buffers: &mut Buffers, reader: &mut Reader<'_>) -> Result<Option<Range<usize>>> {
    if reader.nil()? {
        return Ok(None);
    }
    let length = reader.array()?;
    let start = buffers.tokens.len();
    buffers.tokens.reserve(length);
    for _ in 0..length {
        buffers.tokens.push(reader.small("a token id")?);
    }
    Ok(Some(start..buffers.tokens.len()))
}

/// Reads lists of token ids of equal length.
fn read_lookahead(buffers: &mut Buffers, reader: &mut Reader<'_>) -> Result<Option<Ahead>> {
    if reader.nil()? {
        return Ok(None);
    }
    let (start, blocks) = (buffers.lookahead.len(), reader.array()?);
    let mut width = None;
    for _ in 0..blocks {
        let at = reader.at();
        let length = reader.array()?;
        if *width.get_or_insert(length) != length {
            return Err(WireError::expected(at, "equally many tokens after each block"));
        }
        for _ in 0..length {
            buffers.lookahead.push(reader.small("a token id")?);
        }
    }
    Ok(width.filter(|width| *width > 0).map(|width| Ahead { start, width, blocks }))
}

fn text_or_nil<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>> {
    if reader.nil()? { Ok(None) } else { reader.text().map(Some) }
}

fn name_or_nil<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    if reader.nil()? { Ok(None) } else { reader.name().map(Some) }
}

/// Skips extra keys and returns their position if a block has any.
fn read_extra_keys<'a>(reader: &mut Reader<'a>) -> Result<Option<Reader<'a>>> {
    if reader.nil()? {
        return Ok(None);
    }
    let keys = *reader;
    let mut any = false;
    for _ in 0..reader.array()? {
        if !reader.nil()? {
            any = true;
            // The keys are parsed later, when the adapter's name is available. They must be well
            // formed in any case.
            for _ in 0..reader.array()? {
                match reader.kind()? {
                    Kind::Text => _ = reader.text()?,
                    _ => reader.skip()?,
                }
            }
        }
    }
    Ok(any.then_some(keys))
}

/// Returns the cache salt among the extra keys, and the number of leading blocks without other
/// content.
///
/// Keys are not tagged. The adapter's name is first. On a prompt's first block, a single remaining
/// text is the salt. All other keys are hashes of images and embeddings, which token ids do not
/// cover.
fn extra_keys<'a>(
    mut keys: Reader<'a>,
    adapter: Option<&str>,
    begins_prompt: bool,
) -> Result<(Option<&'a str>, usize)> {
    let mut salt = None;
    let length = keys.array()?;
    for block in 0..length {
        if keys.nil()? {
            continue;
        }
        for place in 0..keys.array()? {
            if keys.kind()? != Kind::Text {
                return Ok((salt, block));
            }
            let key = keys.text()?;
            if place == 0 && adapter == Some(key) {
                continue;
            }
            if block > 0 || !begins_prompt || salt.is_some() {
                return Ok((salt, block));
            }
            salt = Some(key);
        }
    }
    Ok((salt, usize::MAX))
}
