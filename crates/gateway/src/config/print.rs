//! A configuration as text, and the differences between two.
//!
//! Both compare values with defaults: a printed file has what differs from an empty one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::configuration::Configuration;
use super::own_file;

impl Configuration {
    /// The own file of the configuration, without defaults. Reading it gives an equal
    /// configuration.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        match self.values() {
            Value::Object(fields) => write_map(&mut text, &fields, 0),
            _ => text.push_str("{}\n"),
        }
        text
    }

    /// What differs in `newer`, by path. Items of lists that have names are compared by name.
    pub fn diff(&self, newer: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        compare(&self.values(), &newer.values(), &mut String::new(), &mut changes);
        changes
    }

    /// The own file as JSON, without defaults.
    pub(crate) fn values(&self) -> Value {
        let file = as_json(&own_file::write(self));
        pruned(file, &as_json(&own_file::template(self)))
    }
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The path of the field, such as `pools[llama].scheduler.seed`.
    pub path: String,
    /// The value before, as JSON; `None` if it was a default.
    pub before: Option<String>,
    /// The value after, as JSON; `None` if it is a default.
    pub after: Option<String>,
}

impl core::fmt::Display for Change {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".into());
        write!(f, "{}: {} -> {}", self.path, shown(&self.before), shown(&self.after))
    }
}

fn as_json(value: &impl Serialize) -> Value {
    // Configurations have no maps with keys that JSON lacks.
    serde_json::to_value(value).unwrap_or_default()
}

/// The value without fields that equal those of `default`. A list of one map in `default` is the
/// template of all items.
fn pruned(value: Value, default: &Value) -> Value {
    match (value, default) {
        (Value::Object(mut fields), default) => {
            fields.retain(|name, value| {
                let default = default.get(name).unwrap_or(&Value::Null);
                *value = pruned(value.take(), default);
                !is_default(value, default)
            });
            Value::Object(fields)
        }
        (Value::Array(items), Value::Array(defaults)) if defaults.len() == 1 => {
            items.into_iter().map(|item| pruned(item, &defaults[0])).collect()
        }
        (Value::Array(items), _) => {
            items.into_iter().map(|item| pruned(item, &Value::Null)).collect()
        }
        (value, _) => value,
    }
}

/// Whether a file may omit the pruned value.
fn is_default(value: &Value, default: &Value) -> bool {
    match (value, default) {
        (Value::Object(fields), Value::Object(_)) => fields.is_empty(),
        (Value::Array(items), Value::Array(defaults)) if defaults.len() == 1 => items.is_empty(),
        (Value::Array(items), Value::Null) => items.is_empty(),
        (value, default) => value == default,
    }
}

fn write_map(text: &mut String, fields: &Map<String, Value>, indent: usize) {
    for (name, value) in fields {
        _ = write!(text, "{:indent$}{}:", "", scalar(&Value::String(name.clone())));
        write_value(text, value, indent);
    }
}

/// Writes a value after its key, with the end of its line.
fn write_value(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write_map(text, fields, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                write_item(text, item, indent);
            }
        }
        value => _ = writeln!(text, " {}", scalar(value)),
    }
}

/// Writes an item of a list. The first field of a map stands behind its dash.
fn write_item(text: &mut String, item: &Value, indent: usize) {
    let start = text.len();
    match item {
        Value::Object(fields) if !fields.is_empty() => write_map(text, fields, indent + 2),
        _ => {
            _ = write!(text, "{:indent$} ", "");
            write_value(text, item, indent + 2);
        }
    }
    text.replace_range(start + indent..=start + indent, "-");
}

/// A value in one line, with quotation marks where plain text would read as something else.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
        && !["true", "false", "null"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.clone() } else { value.to_string() }
}

/// Records what differs. A group of fields that one side omits has all its defaults there.
fn compare(before: &Value, after: &Value, path: &mut String, changes: &mut Vec<Change>) {
    let none = Value::Object(Map::new());
    let is_group = |value: &Value| value.is_object() && name_of(value).is_none();
    let (before, after) = match (before, after) {
        (Value::Null, group) if is_group(group) => (&none, group),
        (group, Value::Null) if is_group(group) => (group, &none),
        both => both,
    };
    match (before, after) {
        (one, other) if one == other => {}
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let dot = if path.is_empty() { "" } else { "." };
                let [old, new] = [old, new].map(|map| map.get(name).unwrap_or(&Value::Null));
                within(path, &format!("{dot}{name}"), |path| compare(old, new, path, changes));
            }
        }
        (Value::Array(old), Value::Array(new)) if named(old) && named(new) => {
            let mut names: Vec<_> = old.iter().chain(new).filter_map(name_of).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = |items: &[Value]| {
                    items.iter().find(|item| name_of(item) == Some(name)).cloned()
                };
                let [old, new] = [of(old), of(new)].map(Option::unwrap_or_default);
                within(path, &format!("[{name}]"), |path| compare(&old, &new, path, changes));
            }
        }
        (before, after) => {
            let shown = |value: &Value| (*value != Value::Null).then(|| value.to_string());
            let (before, after) = (shown(before), shown(after));
            changes.push(Change { path: path.clone(), before, after });
        }
    }
}

fn within(path: &mut String, step: &str, run: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    run(path);
    path.truncate(length);
}

/// The name of an item; that of an export is its cluster.
fn name_of(item: &Value) -> Option<&str> {
    item.get("name").or_else(|| item.get("cluster"))?.as_str()
}

/// Whether all items have names.
fn named(items: &[Value]) -> bool {
    items.iter().all(|item| name_of(item).is_some())
}
