//! A document as a tree, each node with its place in the text.

use alloc::string::String;
use alloc::vec::Vec;

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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
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
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// The value at a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value at a path such as `spec.rules[1].name`.
    pub(super) fn find(&self, path: &str) -> Option<&Self> {
        steps(path).try_fold(self, Self::step)
    }

    /// The place of a path such as `pools[1].fallback`, or of its longest part that exists.
    pub(super) fn place_of(&self, path: &str) -> Place {
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
