//! Hashes and keys of blocks against those that `block_keys/keys.py` computes with Python's
//! packages. Python and Node run the same file.
//!
//! A case names a function, its arguments and the expected result. Integers of 64 bits and bytes
//! are hexadecimal text.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use slotwise_wire::hashes::{
    Adapter, Algorithm, ApproximateHasher, BlockHasher, ExtraKeys, KeyAlgorithm, RequestKeyHasher,
    map_engine_keys, pack_tokens,
};
use slotwise_wire::kv::Topic;

#[test]
fn every_function_has_the_expected_result() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/block_keys/keys.json");
    let file: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    assert!(cases.len() > 80, "only {} cases", cases.len());
    for case in cases {
        assert_eq!(answer(&Arguments(case)), case["expected"], "{}", case["name"]);
    }
}

struct Arguments<'a>(&'a Value);

impl<'a> Arguments<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.0[name].as_str().unwrap_or_default()
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_value(self.0[name].clone()).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn keys(&self, name: &str) -> Vec<u64> {
        self.get::<Vec<String>>(name).iter().map(|key| number(key)).collect()
    }
}

fn number(hexadecimal: &str) -> u64 {
    u64::from_str_radix(hexadecimal, 16).expect("16 digits")
}

fn written(keys: &[u64]) -> Value {
    keys.iter().map(|key| format!("{key:016x}")).collect()
}

fn answer(arguments: &Arguments<'_>) -> Value {
    let size = || NonZeroU32::new(arguments.get("block_tokens")).expect("a size");
    let tokens = || arguments.get::<Vec<u32>>("tokens");
    match arguments.text("function") {
        "pack_tokens" => json!(pack_tokens(arguments.text("prompt").as_bytes())),
        "block_tokens" => json!(ApproximateHasher::block_tokens(arguments.get("engine"))),
        "approximate" => {
            let hasher =
                ApproximateHasher::new(arguments.text("model"), arguments.text("cache_salt"));
            written(&hasher.prompt(&tokens(), size(), arguments.get("max_blocks")))
        }
        "request_keys" => request_keys(arguments, &tokens(), size()),
        "map_engine_keys" => {
            let mapping = map_engine_keys(&arguments.keys("engine"), &arguments.keys("request"));
            let entries = mapping.iter().map(|(key, keys)| (format!("{key:016x}"), written(keys)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        "topic" => {
            let Topic { pod, model } = Topic::parse(arguments.text("topic"));
            json!({"pod": pod, "model": model})
        }
        "vllm" => vllm(arguments, &tokens(), size()),
        other => panic!("no function {other}"),
    }
}

fn request_keys(arguments: &Arguments<'_>, tokens: &[u32], size: NonZeroU32) -> Value {
    let algorithm = KeyAlgorithm::from_name(arguments.text("algorithm")).expect("an algorithm");
    let extra: Vec<Vec<String>> = arguments.get("extra_keys");
    let extra: Vec<Vec<&str>> =
        extra.iter().map(|keys| keys.iter().map(String::as_str).collect()).collect();
    let extra: Vec<&[&str]> = extra.iter().map(Vec::as_slice).collect();
    let mut hasher = RequestKeyHasher::new(algorithm, arguments.text("seed"));
    let parent = Some(number(arguments.text("parent")));
    written(&hasher.prompt(parent, tokens, size, arguments.text("model"), &extra).expect("keys"))
}

fn vllm(arguments: &Arguments<'_>, tokens: &[u32], size: NonZeroU32) -> Value {
    let algorithm = Algorithm::from_name(arguments.text("algorithm")).expect("an algorithm");
    let adapter = arguments.0["adapter"].as_str();
    let keys = ExtraKeys {
        adapter: adapter.map(|name| Adapter { name, path: arguments.text("adapter_path") }),
        cache_salt: arguments.0["cache_salt"].as_str(),
    };
    let mut hasher = BlockHasher::new(algorithm, arguments.text("seed"));
    hasher.prompt(tokens, size, keys).iter().map(ToString::to_string).collect()
}

#[test]
fn extra_keys_must_fit_the_blocks() {
    let mut hasher = RequestKeyHasher::new(KeyAlgorithm::default(), "");
    let two = NonZeroU32::new(2).expect("two");
    let mismatch = hasher.prompt(None, &[1, 2, 3, 4], two, "m", &[&["a"]]).expect_err("one of two");
    assert_eq!(mismatch.to_string(), "extra keys of 1 blocks for 2 full blocks");
    assert_eq!(hasher.prompt(None, &[1], two, "m", &[&["a"]]), Ok(Vec::new()));
}
