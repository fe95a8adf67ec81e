//! The captured scenarios in their order.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The steps of one server.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) requests: Vec<Value>,
    pub(crate) batches: Vec<Captured>,
}

/// A batch with its expected contents.
pub(crate) struct Captured {
    pub(crate) seq: u64,
    pub(crate) received: f64,
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) decoded: Value,
}

impl Captured {
    pub(crate) fn frames(&self) -> Vec<&[u8]> {
        self.frames.iter().map(Vec::as_slice).collect()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.frames.last().expect("a payload")
    }
}

pub(crate) fn folder(set: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vllm-0.32").join(set).join("kv")
}

pub(crate) fn scenarios(set: &str) -> Vec<Scenario> {
    let mut paths: Vec<_> = fs::read_dir(folder(set))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let is_scenario = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.ends_with(".json") && name.starts_with(['s', 'o'])
    };
    paths
        .into_iter()
        .filter(is_scenario)
        .map(|path| scenario(&fs::read(path).expect("a file")))
        .collect()
}

fn scenario(json: &[u8]) -> Scenario {
    let json: Value = serde_json::from_slice(json).expect("JSON");
    let batches = json["event_batches"].as_array().expect("batches").iter().map(|batch| Captured {
        seq: batch["seq"].as_u64().expect("a number"),
        received: batch["recv_time"].as_f64().expect("a time"),
        frames: batch["frames_hex"].as_array().expect("frames").iter().map(unhex).collect(),
        decoded: batch["decoded"].clone(),
    });
    Scenario {
        name: json["scenario"].as_str().expect("a name").into(),
        batches: batches.collect(),
        requests: json["requests"].as_array().expect("requests").clone(),
    }
}

pub(crate) fn unhex(text: &Value) -> Vec<u8> {
    bytes_of(text.as_str().expect("hexadecimal digits"))
}

pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16).expect("a digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A hash in JSON: a number, or `{"__bytes_hex__": ...}`.
pub(crate) fn hash(value: &Value) -> Option<u64> {
    if value.is_null() {
        return None;
    }
    let hex = value.get("__bytes_hex__").map(unhex);
    let last =
        hex.map(|bytes| u64::from_be_bytes(bytes[bytes.len() - 8..].try_into().expect("eight")));
    last.or_else(|| value.as_u64())
}
