//! A document or an argument as a tree, which any format fills and every type is read from.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | a tree, each node with its place in the text |
//! | `fill` | from a format to a tree |
//! | `reader` | from a tree to values |
//! | `error` | why a value cannot be read, as files and as hosts get it |
//!
//! The compiler generates the reader of each type once, not once for each format: hosts download
//! less, and builds take less time.

mod error;
mod fill;
mod reader;

use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use error::ReadError;
#[cfg(feature = "config")]
pub(crate) use error::unknown;
pub(crate) use reader::{Reader, read, read_of_host};

/// A place in a text. Both numbers count from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a place is a line and a column")]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value with its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self { value, place: Place::default() }
    }
}

impl Node {
    /// A map whose entries have no places.
    pub(crate) fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let entry =
            |(key, value): (&str, Self)| Entry { key: key.into(), place: Place::default(), value };
        Value::Map(entries.into_iter().map(entry).collect()).into()
    }

    /// The value at a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text of a scalar; `None` for other values.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value at a path such as `spec.rules[1].name`.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        steps(path).try_fold(self, Self::step)
    }

    /// The place of a path such as `pools[1].fallback`, or of its longest part that exists.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        for step in steps(path) {
            let Some(next) = node.step(step) else { break };
            node = next;
        }
        node.place
    }

    fn step(&self, step: &str) -> Option<&Self> {
        match &self.value {
            Value::List(items) => step.parse().ok().and_then(|at: usize| items.get(at)),
            _ => self.get(step),
        }
    }
}

/// The keys and the numbers of a path.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|step| step.trim_end_matches(']'))
}
