//! Block hashes against those that vLLM 0.32 published.

use std::collections::BTreeMap;

use serde_json::Value;
use slotwise_wire::hashes::{
    Adapter, Algorithm, BlockDigest, BlockHasher, DEFAULT_SEED, ExtraKeys, Tagging,
};

use super::fixtures::{hash, scenarios, unhex};

/// The number of blocks with equal names, and with different ones.
fn verify(set: &str, algorithm: Algorithm, seed: &str, tagging: Tagging) -> (usize, usize) {
    let mut hasher = BlockHasher::new(algorithm, seed).tagging(tagging);
    // Integer hashes in events are truncated; the next block needs the full name.
    let mut whole = BTreeMap::new();
    let (mut same, mut different) = (0, 0);
    for batch in scenarios(set).iter().flat_map(|scenario| &scenario.batches) {
        for event in batch.decoded[1].as_array().expect("events") {
            if event["type"] != "BlockStored" {
                continue;
            }
            let parent = hash(&event["parent_block_hash"]);
            let Some(mut parent) =
                parent.map_or_else(|| Some(hasher.root()), |short| whole.get(&short).copied())
            else {
                // Its parent was never published.
                different += event["block_hashes"].as_array().expect("hashes").len();
                continue;
            };
            let adapter = event["lora_name"].as_str();
            let path = format!("/tmp/tinyllm/{}", adapter.unwrap_or_default());
            let tokens: Vec<u32> =
                serde_json::from_value(event["token_ids"].clone()).expect("tokens");
            let size = event["block_size"].as_u64().expect("a size") as usize;
            let names = event["block_hashes"].as_array().expect("hashes");
            for ((name, tokens), place) in names.iter().zip(tokens.chunks(size)).zip(0..) {
                let mut keys = event["extra_keys"][place as usize]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let keys = ExtraKeys {
                    adapter: adapter.map(|name| Adapter { name, path: &path }),
                    cache_salt: keys.find(|key| Some(*key) != adapter),
                };
                let digest = hasher.block(parent, tokens, keys);
                let bytes = name.get("__bytes_hex__").map(unhex);
                let equal = bytes.is_none_or(|bytes| bytes == digest.as_bytes())
                    && hash(name) == Some(digest.short().0);
                if equal {
                    same += 1;
                } else {
                    different += 1;
                }
                whole.insert(digest.short().0, digest);
                parent = digest;
            }
        }
    }
    (same, different)
}

#[test]
fn every_captured_block_is_named_as_vllm_names_it() {
    let tagged = Tagging::Tagged;
    assert_eq!(verify("default", Algorithm::Sha256, DEFAULT_SEED, tagged), (281, 0));
    assert_eq!(
        verify("smallcache_priority_cbor", Algorithm::Sha256Cbor, DEFAULT_SEED, tagged),
        (150, 0)
    );
    assert_eq!(verify("seed42_tcp_fcfs", Algorithm::Sha256, "42", tagged), (17, 0));
}

#[test]
fn seeds_algorithms_and_tags_matter() {
    let (same, _) = verify("default", Algorithm::Sha256, "42", Tagging::Tagged);
    assert_eq!(same, 0);
    let (same, _) = verify("default", Algorithm::Sha256Cbor, DEFAULT_SEED, Tagging::Tagged);
    assert_eq!(same, 0);
    let (same, different) = verify("default", Algorithm::Sha256, DEFAULT_SEED, Tagging::Untagged);
    assert!(same > 0 && different > 0, "{same} without keys, {different} with");
}

#[test]
fn roots_are_known() {
    let root = |algorithm, seed| BlockHasher::new(algorithm, seed).root().to_string();
    assert!(root(Algorithm::Sha256, DEFAULT_SEED).starts_with("066b1e89"));
    assert!(root(Algorithm::Sha256, DEFAULT_SEED).ends_with("0d71198"));
    assert!(root(Algorithm::Sha256, "42").starts_with("c0bc02c9"));
    assert!(root(Algorithm::Sha256, "42").ends_with("3f5884a"));
    assert!(root(Algorithm::Sha256Cbor, DEFAULT_SEED).starts_with("9bd96a48"));
    assert!(root(Algorithm::Sha256Cbor, DEFAULT_SEED).ends_with("1eef0"));
}

#[test]
fn the_short_name_is_the_end_of_the_long_one() {
    let digest = BlockDigest::from(core::array::from_fn::<u8, 32, _>(|at| at as u8));
    assert_eq!(digest.short().0, 0x1819_1a1b_1c1d_1e1f);
    assert_eq!(Algorithm::from_name("sha256_cbor"), Some(Algorithm::Sha256Cbor));
    assert_eq!(Algorithm::from_name("xxhash"), Some(Algorithm::Xxhash));
    assert_eq!(Algorithm::from_name("md5"), None);
}
