//! Hashes and keys of blocks, and topics.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU32;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use slotwise_wire::hashes::{
    self, ApproximateHasher, KeyAlgorithm, MAX_PREFIX_TOKENS, RequestKeyHasher,
};
use slotwise_wire::kv::Topic;

use crate::json::{ArgumentError, read};
use crate::names::UnknownName;
use crate::tree::Node;

/// The reference's estimate of tokens from text.
pub(super) fn pack_tokens(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        prompt: String,
    }
    let Arguments { prompt } = read(arguments)?;
    Ok(hashes::pack_tokens(prompt.as_bytes()).into())
}

/// The tokens of a block, from the engine's size of blocks.
pub(super) fn approximate_block_tokens(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        #[serde(default)]
        engine: Option<u32>,
    }
    let Arguments { engine } = read(arguments)?;
    Ok(ApproximateHasher::block_tokens(engine).get().into())
}

/// The block hashes of `approx-prefix-cache-producer`.
pub(super) fn approximate_block_hashes(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        #[serde(default)]
        tokens: Vec<u32>,
        #[serde(default)]
        prompt: Option<String>,
        #[serde(default)]
        model: String,
        #[serde(default)]
        cache_salt: Option<String>,
        block_tokens: NonZeroU32,
        #[serde(default)]
        max_blocks: Option<usize>,
    }
    let given: Arguments = read(arguments)?;
    let tokens = match &given.prompt {
        Some(text) => hashes::pack_tokens(text.as_bytes()),
        None => given.tokens,
    };
    let size = given.block_tokens;
    let most = given.max_blocks.unwrap_or((MAX_PREFIX_TOKENS / size) as usize);
    let hasher = ApproximateHasher::new(&given.model, &given.cache_salt.unwrap_or_default());
    Ok(written(&hasher.prompt(&tokens, size, most)))
}

/// The block keys of `precise-prefix-cache-producer`.
pub(super) fn request_keys(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        tokens: Vec<u32>,
        block_tokens: NonZeroU32,
        #[serde(default)]
        model: String,
        #[serde(default)]
        algorithm: Option<String>,
        #[serde(default)]
        seed: Option<String>,
        #[serde(default)]
        parent: Option<String>,
        #[serde(default)]
        extra_keys: Option<Vec<Vec<String>>>,
    }
    let given: Arguments = read(arguments)?;
    let name = given.algorithm.unwrap_or_default();
    let algorithm = KeyAlgorithm::from_name(&name).ok_or_else(|| {
        let known = [KeyAlgorithm::CborFnv, KeyAlgorithm::Xxh64].map(KeyAlgorithm::as_str);
        ArgumentError::new(format!("algorithm {}", UnknownName::new(&name, known)))
    })?;
    let parent = given.parent.as_deref().map(|key| key_of("parent", key)).transpose()?;
    let extra = given.extra_keys.unwrap_or_default();
    let extra: Vec<Vec<&str>> =
        extra.iter().map(|keys| keys.iter().map(String::as_str).collect()).collect();
    let extra: Vec<&[&str]> = extra.iter().map(Vec::as_slice).collect();
    let mut hasher = RequestKeyHasher::new(algorithm, &given.seed.unwrap_or_default());
    let keys = hasher.prompt(parent, &given.tokens, given.block_tokens, &given.model, &extra);
    keys.map(|keys| written(&keys)).map_err(|error| ArgumentError::new(error.to_string()))
}

/// The request keys of each key of an engine.
pub(super) fn map_engine_keys(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        engine: Vec<String>,
        request: Vec<String>,
    }
    let Arguments { engine, request } = read(arguments)?;
    let mapping =
        hashes::map_engine_keys(&keys_of("engine", &engine)?, &keys_of("request", &request)?);
    let mut entries = Map::new();
    entries.extend(mapping.iter().map(|(key, keys)| (hexadecimal(*key), written(keys))));
    Ok(Value::Object(entries))
}

/// The extra keys of blocks of another size.
pub(super) fn align_extra_keys(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        engine: Vec<Vec<String>>,
        blocks: usize,
    }
    let Arguments { engine, blocks } = read(arguments)?;
    if blocks > engine.len().saturating_mul(MOST_BLOCKS).max(MOST_BLOCKS) {
        return Err(ArgumentError::new(format!("blocks must be at most {MOST_BLOCKS} per block")));
    }
    Ok(json!(hashes::align_extra_keys(&engine, blocks)))
}

/// The pod and the model of a topic.
pub(super) fn parse_topic(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        topic: String,
    }
    let Arguments { topic } = read(arguments)?;
    let Topic { pod, model } = Topic::parse(&topic);
    Ok(json!({ "pod": pod, "model": model }))
}

fn keys_of(argument: &str, keys: &[String]) -> Result<Vec<u64>, ArgumentError> {
    keys.iter().map(|key| key_of(argument, key)).collect()
}

fn key_of(argument: &str, key: &str) -> Result<u64, ArgumentError> {
    u64::from_str_radix(key, 16)
        .map_err(|_| ArgumentError::new(format!("{argument} must be hexadecimal, got {key:?}")))
}

fn written(keys: &[u64]) -> Value {
    keys.iter().map(|key| hexadecimal(*key)).collect()
}

fn hexadecimal(key: u64) -> String {
    format!("{key:016x}")
}

/// Blocks for each block of an engine, so a small argument cannot have a large result.
const MOST_BLOCKS: usize = 4_096;
