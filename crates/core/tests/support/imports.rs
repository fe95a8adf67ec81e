//! Which source file of a crate uses which other: the imports and inline paths of each, resolved
//! through re-exports to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The files of a crate by their modules. Test code is left out.
#[derive(Default)]
pub(crate) struct Imports {
    files: BTreeMap<String, Source>,
    tests: BTreeSet<String>,
}

#[derive(Default)]
struct Source {
    /// Every `use`, one path each.
    uses: Vec<Use>,
    /// The code without its `use` statements.
    body: String,
}

struct Use {
    path: String,
    exported: bool,
}

impl Imports {
    /// Reads all files below the folder of `lib.rs`.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut imports = Self::default();
        imports.read(folder, "");
        imports
    }

    /// Every module that is more than test code; the crate's root has the empty name.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|module| !self.is_test(module))
    }

    /// The modules whose files define what a module uses. A re-export counts where its name is used
    /// in the same file.
    pub(crate) fn used_by(&self, module: &str) -> BTreeSet<&str> {
        let source = &self.files[module];
        let named = |path: &str| words(&source.body).any(|word| word == last(path));
        let used = source.uses.iter().filter(|it| !it.exported || named(&it.path));
        let paths = used.map(|it| it.path.clone()).chain(inline_paths(&source.body));
        let paths = paths.filter_map(|path| self.absolute(module, &path));
        let modules = paths.map(|path| self.definer(&path, 0));
        // The root defines nothing: to a module inside a file, `super` is the file.
        modules
            .filter(|other| !other.is_empty() && *other != module && !self.is_test(other))
            .collect()
    }

    fn read(&mut self, folder: &Path, module: &str) {
        for file in fs::read_dir(folder).expect("a folder") {
            let path = file.expect("a file").path();
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let name = if matches!(&*stem, "mod" | "lib") {
                module.to_owned()
            } else {
                join(module, &stem)
            };
            if path.is_dir() {
                self.read(&path, &name);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let lines: Vec<&str> =
                text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
            for pair in lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]") {
                let test =
                    pair[1].trim().strip_prefix("mod ").and_then(|line| line.strip_suffix(';'));
                self.tests.extend(test.map(|test| join(&name, test)));
            }
            // Modules of tests end a file.
            let tests = lines.windows(2).position(|pair| {
                pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{')
            });
            let code = lines[..tests.unwrap_or(lines.len())].join("\n");
            self.files.insert(name, Source::parse(&code));
        }
    }

    fn is_test(&self, module: &str) -> bool {
        self.tests.iter().any(|test| module == test || module.starts_with(&format!("{test}::")))
    }

    /// The path from the crate's root; none if it leads to another crate.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let mut base: Vec<&str> =
            module.split("::").filter(|segment| !segment.is_empty()).collect();
        let mut rest: Vec<&str> = path.split("::").collect();
        match rest[0] {
            "crate" => return Some(rest[1..].join("::")),
            "self" => _ = rest.remove(0),
            "super" => {
                while rest.first() == Some(&"super") {
                    rest.remove(0);
                    base.pop();
                }
            }
            child if !self.files.contains_key(&join(module, child)) => return None,
            _ => {}
        }
        Some(base.into_iter().chain(rest).collect::<Vec<_>>().join("::"))
    }

    /// The module whose file defines the item at this path: re-exports are followed.
    fn definer(&self, path: &str, depth: u32) -> &str {
        let mut module = path;
        while !self.files.contains_key(module) {
            module = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        }
        let (module, source) = self.files.get_key_value(module).expect("just found");
        let item =
            path[module.len()..].trim_start_matches(':').split("::").next().unwrap_or_default();
        let exported = source.uses.iter().find(|it| it.exported && last(&it.path) == item);
        let target = exported.filter(|_| depth < 8).and_then(|it| self.absolute(module, &it.path));
        target.map_or(module, |target| self.definer(&target, depth + 1))
    }
}

impl Source {
    fn parse(code: &str) -> Self {
        let (mut source, mut statement) = (Self::default(), String::new());
        for line in code.lines() {
            let trimmed = line.trim();
            let exported = trimmed.starts_with("pub");
            let plain =
                trimmed.split_once(' ').filter(|(word, _)| exported && word.starts_with("pub"));
            let begins = plain.map_or(trimmed, |(_, rest)| rest).starts_with("use ");
            if statement.is_empty() && !begins {
                source.body.push_str(line);
                source.body.push('\n');
                continue;
            }
            statement.push_str(trimmed);
            if let Some(whole) = statement.strip_suffix(';') {
                let (head, tree) = whole.split_once("use ").expect("a use statement");
                let exported = head.starts_with("pub");
                source.uses.extend(expand(tree).into_iter().map(|path| Use { path, exported }));
                statement.clear();
            }
        }
        source
    }
}

/// The paths of a use tree: `a::{b, c::{d, e}}` has three.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, body)) = tree.strip_suffix('}').and_then(|tree| tree.split_once('{')) else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in body.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().expect("never empty").push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{}{part}", head.trim()))).collect()
}

fn inline_paths(body: &str) -> impl Iterator<Item = String> + '_ {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = body.split(move |c| !in_path(c)).map(|word| word.trim_end_matches(':'));
    let starts = ["crate::", "super::", "self::"];
    words.filter(move |word| starts.iter().any(|start| word.starts_with(start))).map(str::to_owned)
}

fn words(body: &str) -> impl Iterator<Item = &str> {
    body.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}
