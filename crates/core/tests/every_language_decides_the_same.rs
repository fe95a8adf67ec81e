//! A hundred thousand random operations end in one number, which every binding must reach too.
//!
//! `BLESS=1 cargo test --all-features --test every_language_decides_the_same` writes it anew.

#[path = "support/walk.rs"]
mod walk;

use std::path::Path;
use std::{env, fs};

#[test]
fn a_long_walk_ends_in_the_fixed_digest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walk.json");
    let (seed, operations) = (1, 100_000);
    let digest = walk::Walk::new(seed).run(operations);
    let file = format!(
        "{{\"seed\": {seed}, \"operations\": {operations}, \"digest\": \"{digest:08x}\"}}\n"
    );
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &file).expect("writable");
    }
    assert_eq!(file, fs::read_to_string(path).expect("readable"), "decisions have changed");
}
