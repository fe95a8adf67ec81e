//! From a text to trees. JSON is read as the YAML that it is.
//!
//! The reader is strict where YAML surprises: a key occurs once and is text, an alias or a tag is
//! an error, and `yes` is text. Depth and size are limited before anything is built.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::problem::Problem;
use crate::tree::{Entry, Node, Place, Value};

/// The most bytes of a text, the most nested lists and maps, and the most documents.
const MAX_BYTES: usize = 4 << 20;
const MAX_DEPTH: usize = 64;
const MAX_DOCUMENTS: usize = 4_096;

/// The documents of a text; empty ones are left out. Computes in **O(bytes)**.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::new(format!(
            "must have at most {MAX_BYTES} bytes, has {}",
            text.len()
        )));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| of_scanner(&error))?;
        builder.add(event, place(span.start))?;
    }
    Ok(builder.documents)
}

fn of_scanner(error: &ScanError) -> Problem {
    Problem::new(format!("is not YAML: {}", error.info())).at(place(*error.marker()))
}

fn place(mark: Marker) -> Place {
    Place { line: mark.line(), column: mark.col() + 1 }
}

/// Builds trees from events.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    /// Lists and maps that have begun.
    open: Vec<Open>,
}

/// A list or map that has begun.
struct Open {
    place: Place,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The entries so far, and the key whose value is next.
    Map(Vec<Entry>, Option<(String, Place)>),
}

impl Builder {
    fn add(&mut self, event: Event<'_>, at: Place) -> Result<(), Problem> {
        match event {
            Event::Alias(_) => {
                Err(Problem::new("aliases are not accepted; repeat the value").at(at))
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                Err(Problem::new(format!("tags are not accepted, got {:?}", tag.suffix)).at(at))
            }
            Event::Scalar(text, style, _, None) => self.scalar(text, style, at),
            Event::SequenceStart(_, None) => self.begin(Content::List(Vec::new()), at),
            Event::MappingStart(_, None) => self.begin(Content::Map(Vec::new(), None), at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, at: Place) -> Result<(), Problem> {
        if let Some(Open { content: Content::Map(entries, key @ None), .. }) = self.open.last_mut()
        {
            if entries.iter().any(|entry| entry.key == *text) {
                return Err(Problem::new("is given twice").at(at).in_field(&text));
            }
            *key = Some((text.into_owned(), at));
            return Ok(());
        }
        let value =
            if style == ScalarStyle::Plain { plain(&text) } else { Value::Text(text.into_owned()) };
        self.place_node(Node { value, place: at })
    }

    fn begin(&mut self, content: Content, place: Place) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            let message = format!("must have at most {MAX_DEPTH} nested lists and maps");
            return Err(Problem::new(message).at(place));
        }
        if matches!(self.open.last(), Some(Open { content: Content::Map(_, None), .. })) {
            return Err(Problem::new("a key must be text").at(place));
        }
        self.open.push(Open { place, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map(entries, _) => Value::Map(entries),
        };
        self.place_node(Node { value, place: open.place })
    }

    /// Puts a complete node where it belongs.
    fn place_node(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => {
                if let Some((key, place)) = mem::take(key) {
                    entries.push(Entry { key, place, value: node });
                }
            }
            None if node.value == Value::Null => {}
            None if self.documents.len() == MAX_DOCUMENTS => {
                let message = format!("must have at most {MAX_DOCUMENTS} documents");
                return Err(Problem::new(message).at(node.place));
            }
            None => self.documents.push(node),
        }
        Ok(())
    }
}

/// A scalar without quotation marks, by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // Rust parses more than YAML has: `inf`, `nan`.
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Value::Text(text.to_owned());
    }
    if let Ok(integer) = text.parse() {
        return Value::Integer(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Value::Float(float),
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn only(text: &str) -> Value {
        let mut documents = read(text).expect("YAML");
        assert_eq!(documents.len(), 1);
        documents.remove(0).value
    }

    #[test]
    fn scalars_have_the_types_of_the_core_schema() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("yes", Value::Text("yes".into())),
            ("'true'", Value::Text("true".into())),
            ("-17", Value::Integer(-17)),
            ("+5", Value::Integer(5)),
            ("1e3", Value::Float(1_000.0)),
            ("-.5", Value::Float(-0.5)),
            ("+-1", Value::Text("+-1".into())),
            ("5k", Value::Text("5k".into())),
            ("1.2.3", Value::Text("1.2.3".into())),
            (".inf", Value::Text(".inf".into())),
            ("nan", Value::Text("nan".into())),
        ] {
            assert_eq!(only(text), value, "{text}");
        }
    }

    #[test]
    fn json_is_yaml_and_places_are_those_of_the_text() {
        let documents = read("{\"a\": [1,\n  {\"b\": null}]}\n---\n---\nc: d\n").expect("YAML");
        assert_eq!(documents.len(), 2);
        let list = documents[0].get("a").expect("a");
        let Value::List(items) = &list.value else { panic!("a list") };
        assert_eq!(items[1].place, Place { line: 2, column: 3 });
        assert_eq!(documents[1].get("c").expect("c").value, Value::Text("d".into()));
    }

    #[test]
    fn what_surprises_is_an_error_with_its_place() {
        let deep = "[".repeat(65);
        for (text, message) in [
            ("a: 1\na: 2", ":2:1: a: is given twice"),
            ("a: &x 1\nb: *x", ":2:4: aliases are not accepted; repeat the value"),
            ("a: !!str 1", ":1:4: tags are not accepted, got \"str\""),
            ("? [a]\n: 1", ":1:3: a key must be text"),
            (&*deep, ":1:65: must have at most 64 nested lists and maps"),
        ] {
            assert_eq!(read(text).expect_err(text).to_string(), message);
        }
        assert!(read("a: [1").expect_err("an open list").to_string().contains("is not YAML"));
        assert_eq!(read("# nothing\n"), Ok(Vec::new()));
    }
}
