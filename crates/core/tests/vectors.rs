//! The JSON vectors: the decisions of every language, step by step.
//!
//! `BLESS=1 cargo test --all-features --test vectors` updates the expected decisions; the diff is
//! the review.

#[path = "support/vector.rs"]
mod vector;

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slotwise::prefix::{Namespace, PromptHasher};
use slotwise::{
    ConcurrencyMode, EvictReason, Fairness, HoldbackDomain, QueueOrder, RejectReason, Rng,
    SaturationPolicy, UsageLimitPolicy,
};
use vector::{Runner, Vector};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the vectors").map(|f| f.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.sort();
    files
}

fn blessed() -> bool {
    env::var_os("BLESS").is_some()
}

/// One step a line: differences are easy to read.
fn write(path: &Path, vector: &Vector, config: &Value) {
    let steps: Vec<String> = vector
        .steps
        .iter()
        .map(|step| format!("    {}", serde_json::to_string(step).expect("serializable")))
        .collect();
    let config =
        if config.is_null() { String::new() } else { format!("  \"config\": {config},\n") };
    let doc = serde_json::to_string(&vector.doc).expect("serializable");
    let text =
        format!("{{\n  \"doc\": {doc},\n{config}  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"));
    fs::write(path, text).expect("writable");
}

#[test]
fn every_step_has_the_expected_answer() {
    let mut count = 0;
    for path in files().iter().filter(|path| !path.ends_with("hashes.json")) {
        let text = fs::read_to_string(path).expect("readable");
        let mut vector: Vector =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let config = serde_json::from_str::<Value>(&text).expect("read before")["config"].clone();
        let mut runner = Runner::new(&vector);
        for (number, step) in (1..).zip(&mut vector.steps) {
            let answer = runner.answer(step);
            if blessed() {
                step.expect = answer;
            } else {
                assert_eq!(answer, step.expect, "step {number} of {}", path.display());
            }
            count += 1;
        }
        if blessed() {
            write(path, &vector, &config);
        }
    }
    assert!(count > 60, "only {count} steps were found");
}

/// Every reason and every policy of flow control must occur in a vector.
#[test]
fn every_reason_and_every_policy_occurs() {
    let texts: Vec<String> =
        files().iter().map(|path| fs::read_to_string(path).expect("readable")).collect();
    let said = [
        ("rejected", names::<RejectReason>(json!("?"))),
        ("reason", names::<EvictReason>(json!("?"))),
        ("fairness", names::<Fairness>(json!("?"))),
        ("order", names::<QueueOrder>(json!("?"))),
        ("type", names::<SaturationPolicy>(json!({"type": "?"}))),
        ("concurrency_mode", names::<ConcurrencyMode>(json!("?"))),
        ("type", names::<UsageLimitPolicy>(json!({"type": "?"}))),
        ("domain", names::<HoldbackDomain>(json!("?"))),
    ];
    for (field, names) in said {
        for name in names {
            let said = format!("\"{field}\":\"{name}\"");
            assert!(texts.iter().any(|text| text.contains(&said)), "no vector says {said}");
        }
    }
}

/// The names of an enum's variants, from the error for an unknown variant. Aliases, which end in
/// `-policy`, are left out.
fn names<T: DeserializeOwned>(unknown: Value) -> Vec<String> {
    let refusal = serde_json::from_value::<T>(unknown).err().expect("no variant").to_string();
    let names = refusal.split('`').skip(3).step_by(2).filter(|name| !name.ends_with("-policy"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() >= 2, "{refusal}");
    names
}

/// The hash of a prompt and the stream of a generator are fixed for ever, in every language.
#[test]
fn hashes_and_random_numbers_are_fixed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/hashes.json");
    let text = fs::read_to_string(&path).expect("readable");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    let mut cases = 0;
    for case in file["cases"].as_array_mut().expect("cases") {
        let seed = case["seed"].as_u64().expect("a seed");
        let answer: Vec<String> = if case.get("draws").is_some() {
            let mut rng = Rng::new(seed);
            (0..case["draws"].as_u64().expect("a number"))
                .map(|_| format!("{:016x}", rng.next_u64()))
                .collect()
        } else {
            hashes(case, seed).iter().map(ToString::to_string).collect()
        };
        if blessed() {
            case["expect"] = json!(answer);
        }
        assert_eq!(json!(answer), case["expect"], "{case}");
        cases += 1;
    }
    assert!(cases >= 8);
    if blessed() {
        let cases =
            file["cases"].as_array().expect("cases").iter().map(|case| format!("    {case}"));
        let cases = cases.collect::<Vec<_>>().join(",\n");
        fs::write(
            path,
            format!("{{\n  \"doc\": {},\n  \"cases\": [\n{cases}\n  ]\n}}\n", file["doc"]),
        )
        .expect("writable");
    }
}

fn hashes(case: &Value, seed: u64) -> Vec<slotwise::BlockHash> {
    let namespace = Namespace::new(case["model"].as_str().expect("a model"))
        .adapter(case.get("adapter").and_then(Value::as_str))
        .salt(case.get("cache_salt").and_then(Value::as_str));
    let block_size = serde_json::from_value(case["block_size"].clone()).expect("a block size");
    let (hasher, mut hashes) = (PromptHasher::new(seed), Vec::new());
    match (case.get("text").and_then(Value::as_str), case.get("tokens")) {
        (Some(text), _) => {
            hasher.text(namespace, text.as_bytes(), block_size, usize::MAX, &mut hashes);
        }
        (None, Some(range)) => {
            let (from, to): (u32, u32) = serde_json::from_value(range.clone()).expect("a range");
            let ids: Vec<u32> = (from..to).collect();
            hasher.tokens(namespace, &ids, block_size, usize::MAX, &mut hashes);
        }
        (None, None) => panic!("neither text nor tokens in {case}"),
    }
    hashes
}
