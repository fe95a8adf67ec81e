//! Files of cases, each a JSON list, whose answers are compared or, with `BLESS=1`, written.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Runs each case of each file in a folder of `tests`. `run` also learns whether it has to write
/// the answers into the case; `written` is the text of a file. A file has at least `least` cases.
pub(crate) fn run_cases(
    folder: &str,
    least: usize,
    run: fn(&mut Value, bool),
    written: fn(&[Value]) -> String,
) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let bless = std::env::var_os("BLESS").is_some();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file");
        let mut cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let before = cases.clone();
        assert!(cases.len() >= least, "{} has too few cases", file.display());
        for case in &mut cases {
            run(case, bless);
        }
        if cases != before {
            fs::write(&file, written(&cases)).expect("written");
        }
    }
}
