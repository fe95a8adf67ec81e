//! The layers of the crate's front page, checked against the imports of every source file.

#[path = "support/imports.rs"]
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::Imports;

/// Modules of a layer import from it and from the layers before it. The longest name that matches a
/// file's module decides: `prefix::hash` lies below `prefix`.
const LAYERS: [&[&str]; 13] = [
    &["time", "rng", "sorting", "parameter_tree"],
    &[
        "address",
        "subset",
        "rising_map",
        "prefill",
        "prefix::hash",
        "prefix::keyed_state",
        "endpoint",
        "load",
        "request",
        "histogram",
        "kv_transfer",
        "decision",
    ],
    &["prefix", "lora", "cost"],
    &["pool"],
    &["disaggregation"],
    &["plugins"],
    &["profile", "flow"],
    &["config"],
    &["fleet"],
    &["placement"],
    &["plan"],
    &["queueing"],
    &["scheduler"],
];

/// Modules of one layer that do not know each other.
const APART: [(&str, &str); 1] = [("profile", "flow")];

#[test]
fn layers_never_import_upwards() {
    let imports = sources();
    let mut count = 0;
    for module in imports.modules().filter(|module| !module.is_empty()) {
        let own = layer(module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for used in imports.used_by(module) {
            let other = layer(used)
                .unwrap_or_else(|| panic!("{module} imports {used:?}, which is in no layer"));
            assert!(other <= own, "{module} imports {used} from a layer above it");
            let apart = |a, b| lies_in(module, a) && lies_in(used, b);
            let apart = APART.into_iter().any(|(a, b)| apart(a, b) || apart(b, a));
            assert!(!apart, "{module} imports {used}, which it should not know");
            count += 1;
        }
    }
    assert!(count > 300, "only {count} imports were found");
}

/// The files can be read in an order in which each needs only those before it.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = sources();
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        imports.modules().map(|module| (module, imports.used_by(module))).collect();
    loop {
        let free: Vec<&str> =
            left.iter().filter(|(_, used)| used.is_empty()).map(|(module, _)| *module).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| _ = left.remove(module));
        left.values_mut().for_each(|used| free.iter().for_each(|module| _ = used.remove(module)));
    }
    // What only imports a circle is not a part of it.
    loop {
        let used: BTreeSet<&str> = left.values().flatten().copied().collect();
        let before = left.len();
        left.retain(|module, _| used.contains(module));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "a circle of imports: {left:#?}");
}

fn sources() -> Imports {
    Imports::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn layer(module: &str) -> Option<usize> {
    let names = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(number, names)| names.iter().map(move |name| (number, *name)));
    names
        .filter(|(_, name)| lies_in(module, name))
        .max_by_key(|(_, name)| name.len())
        .map(|(number, _)| number)
}

fn lies_in(module: &str, name: &str) -> bool {
    module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
