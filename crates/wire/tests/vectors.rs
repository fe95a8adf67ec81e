//! The JSON vectors: the results of parsing in every language.
//!
//! A vector is a list of calls with their arguments and results, one per line. Bytes are a string
//! (as UTF-8), `{"hex": ...}`, or `{"file": ...}` below `tests/fixtures`.
//!
//! `BLESS=1 cargo test -p slotwise-wire --all-features --test vectors` rewrites the results; review
//! the difference.

#[path = "support/calls.rs"]
mod calls;
#[path = "support/vectors.rs"]
mod vectors;

use std::path::Path;

#[test]
fn every_call_has_the_expected_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let count = vectors::run(&folder, || calls::answer);
    assert!(count > 60, "only {count} steps were found");
}
