//! Checks the imports against the layers of the crate's front page, and that no files form a
//! circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module may import from its own layer and from those before it.
const LAYERS: [&[&str]; 6] = [
    &["error", "json"],
    &["metrics", "kv", "hashes"],
    &["headers", "request", "response"],
    &["outcome", "content"],
    &["exposition"],
    // `Serialize` for the types of all modules.
    &["serde_impls"],
];

/// The sources by their module paths: `kv::feed`, and `kv` for `kv/mod.rs`.
fn sources(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
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
            found.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
}

/// The paths of a source's imports from this crate, without those of its tests.
fn imports(module: &str, source: &str) -> Vec<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut paths = Vec::new();
    for statement in code.split(';').filter_map(|text| text.rsplit_once("\nuse ")) {
        let path: String = statement.1.split_whitespace().collect();
        let path = match (path.strip_prefix("crate::"), path.strip_prefix("super::")) {
            (Some(path), _) => path.to_owned(),
            (_, Some(path)) => format!("{parent}::{path}").trim_start_matches("::").to_owned(),
            _ => continue,
        };
        match path.split_once("::{") {
            Some((stem, names)) => {
                let names = names.trim_end_matches('}').split(',').filter(|name| !name.is_empty());
                paths.extend(names.map(|name| format!("{stem}::{name}")));
            }
            None => paths.push(path),
        }
    }
    paths
}

fn layer(path: &str) -> usize {
    let folder = path.split("::").next().unwrap_or_default();
    // `crate::WireError` is a re-export of the front page.
    let folder = if folder == "WireError" { "error" } else { folder };
    let layer = LAYERS.iter().position(|modules| modules.contains(&folder));
    layer.unwrap_or_else(|| panic!("{path} is in no layer"))
}

/// The files that a file imports. Imports from the front of a folder are not counted: it declares
/// what its files share.
fn graph(sources: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let is_front =
        |module: &str| sources.keys().any(|name| name.starts_with(&format!("{module}::")));
    let file_of = |path: &str| {
        let named =
            |name: &&String| path == name.as_str() || path.starts_with(&format!("{name}::"));
        sources.keys().filter(named).max_by_key(|name| name.len()).map(String::as_str)
    };
    let files = sources.iter().filter(|(module, _)| !module.is_empty() && !is_front(module));
    files
        .map(|(module, source)| {
            let paths = imports(module, source);
            let imported = paths.iter().filter_map(|path| file_of(path));
            (module.as_str(), imported.filter(|file| *file != module && !is_front(file)).collect())
        })
        .collect()
}

#[test]
fn layers_never_import_upwards() {
    let mut found = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let mut count = 0;
    for (module, source) in found.iter().filter(|(module, _)| !module.is_empty()) {
        for path in imports(module, source) {
            assert!(layer(&path) <= layer(module), "{module} imports {path} from a layer above it");
            count += 1;
        }
    }
    assert!(count > 150, "only {count} imports were found");
}

#[test]
fn no_file_imports_itself_through_others() {
    let mut found = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let mut graph = graph(&found);
    assert!(graph.len() > 60, "only {} files were found", graph.len());
    // Files without imports are taken away until none is left, or a circle.
    while let Some(leaf) = graph.iter().find(|(_, imported)| imported.is_empty()) {
        let leaf = *leaf.0;
        graph.remove(leaf);
        for imported in graph.values_mut() {
            imported.remove(leaf);
        }
    }
    assert!(graph.is_empty(), "circles among {graph:?}");
}
