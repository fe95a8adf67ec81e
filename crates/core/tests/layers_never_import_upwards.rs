//! The layers of the crate's front page, held against its imports.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A module may import from its own layer and from those before it.
const LAYERS: [&[&str]; 11] = [
    &["time", "rng"],
    &[
        "prefill",
        "prefix::hash",
        "prefix::keyed_state",
        "endpoint",
        "load",
        "request",
        "histogram",
        "decision",
    ],
    &["prefix", "lora", "cost"],
    &["flow"],
    &["pool"],
    &["profile"],
    &["config"],
    &["fleet"],
    &["placement"],
    &["queueing"],
    &["scheduler"],
];

fn layer(module: &str) -> Option<usize> {
    // The longest name wins: `prefix::hash` lies below `prefix`.
    let mut named: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, modules) in LAYERS.iter().enumerate() {
        for name in *modules {
            let rest = module.strip_prefix(name);
            if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            {
                named.insert(name.len(), number);
            }
        }
    }
    named.last_key_value().map(|(_, number)| *number)
}

fn sources(folder: &Path, module: &str, found: &mut Vec<(String, String)>) {
    for file in fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let name = match (module, stem.as_str()) {
            (module, "mod" | "lib") => module.to_owned(),
            ("", stem) => stem.to_owned(),
            (module, stem) => format!("{module}::{stem}"),
        };
        if path.is_dir() {
            sources(&path, &name, found);
        } else {
            found.push((name, fs::read_to_string(&path).expect("text")));
        }
    }
}

#[test]
fn layers_never_import_upwards() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let mut imports = 0;
    for (module, source) in found.iter().filter(|(module, _)| !module.is_empty()) {
        let own = layer(module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for line in source.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let imported = layer(line.trim_end_matches(';'))
                .unwrap_or_else(|| panic!("{line} is in no layer"));
            assert!(imported <= own, "{module} imports {line} from a layer above it");
            imports += 1;
        }
    }
    assert!(imports > 30, "only {imports} imports were found");
}
