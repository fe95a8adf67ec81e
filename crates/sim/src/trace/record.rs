//! Fields of a JSON object, with errors that name the field and the value that it needs.

use std::path::Path;

use serde_json::{Map, Value};

use super::read::{self, Document, TraceError};

/// A JSON object of a trace file.
#[derive(Clone)]
pub(super) struct Record<'a> {
    document: &'a Document,
    /// Where in the document it is, as a prefix of field names.
    place: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Record<'a> {
    /// The document, which is an object.
    pub(super) fn new(document: &'a Document) -> Result<Self, TraceError> {
        Self::of(document, String::new(), &document.value)
    }

    /// A value within the document, at `place`.
    pub(super) fn of(
        document: &'a Document,
        place: String,
        value: &'a Value,
    ) -> Result<Self, TraceError> {
        let Some(fields) = value.as_object() else {
            let what = if place.is_empty() { "the line".into() } else { format!("`{place}`") };
            let reason = format!("{what} is {}, expected a JSON object", short(value));
            return Err(TraceError::at(&document.file, document.line, reason));
        };
        Ok(Self { document, place, fields })
    }

    pub(super) fn file(&self) -> &'a Path {
        &self.document.file
    }

    pub(super) fn line(&self) -> usize {
        self.document.line
    }

    /// A field, if it is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// An error about the object as a whole.
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> TraceError {
        let reason = if self.place.is_empty() {
            reason.to_string()
        } else {
            format!("`{}`: {reason}", self.place)
        };
        TraceError::at(self.file(), self.line(), reason)
    }

    /// An error about a field that is not there.
    pub(super) fn missing(&self, name: &str) -> TraceError {
        TraceError::at(self.file(), self.line(), format!("missing field `{}`", self.name(name)))
    }

    /// An error about a field that is not what it should be.
    pub(super) fn wrong(&self, name: &str, value: &Value, expected: &str) -> TraceError {
        let reason = format!("`{}` is {}, expected {expected}", self.name(name), short(value));
        TraceError::at(self.file(), self.line(), reason)
    }

    /// Tokens.
    pub(super) fn tokens(&self, name: &str) -> Result<u32, TraceError> {
        self.tokens_if_any(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn tokens_if_any(&self, name: &str) -> Result<Option<u32>, TraceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let expected = "a number of tokens: a whole number from 0 to 4294967295";
        whole(value).map(Some).ok_or_else(|| self.wrong(name, value, expected))
    }

    /// A finite number.
    pub(super) fn number(&self, name: &str) -> Result<f64, TraceError> {
        self.number_if_any(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn number_if_any(&self, name: &str) -> Result<Option<f64>, TraceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| self.wrong(name, value, "a number"))
    }

    /// A text; a number counts as one, for identifiers.
    pub(super) fn text_if_any(&self, name: &str) -> Result<Option<String>, TraceError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(value) => Err(self.wrong(name, value, "a text")),
        }
    }

    /// Block ids.
    pub(super) fn ids_if_any(&self, name: &str) -> Result<Option<Vec<u64>>, TraceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let expected = "an array of block ids, which are whole numbers";
        let id = |id: &Value| id.as_u64().or_else(|| id.as_i64().map(i64::cast_unsigned));
        let ids: Option<Vec<u64>> = value.as_array().and_then(|ids| ids.iter().map(id).collect());
        ids.map(Some).ok_or_else(|| self.wrong(name, value, expected))
    }

    /// An object in a field.
    pub(super) fn object(&self, name: &str) -> Result<Self, TraceError> {
        self.object_if_any(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn object_if_any(&self, name: &str) -> Result<Option<Self>, TraceError> {
        let of = |value| Self::of(self.document, self.name(name), value);
        self.get(name).map(of).transpose()
    }

    /// The objects of an array in a field.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>, TraceError> {
        let value = self.get(name).ok_or_else(|| self.missing(name))?;
        let Some(values) = value.as_array() else {
            return Err(self.wrong(name, value, "an array"));
        };
        let of = |(at, value)| Self::of(self.document, format!("{}[{at}]", self.name(name)), value);
        values.iter().enumerate().map(of).collect()
    }

    /// The field's name with its place.
    fn name(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// A time in seconds that can be one.
    pub(super) fn seconds(&self, name: &str, value: f64) -> Result<f64, TraceError> {
        read::seconds(self.file(), self.line(), &self.name(name), value)
    }
}

/// A whole number that a `u32` holds; `5.0` is one too.
pub(super) fn whole(value: &Value) -> Option<u32> {
    match value.as_u64() {
        Some(number) => u32::try_from(number).ok(),
        None => {
            let number = value.as_f64().filter(|number| number.fract() == 0.0);
            number
                .filter(|number| (0.0..=f64::from(u32::MAX)).contains(number))
                .map(|number| number as u32)
        }
    }
}

/// A value for an error: its beginning, if it is long.
pub(super) fn short(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(values) => format!("an array of {}", values.len()),
        _ => {
            let text = value.to_string();
            match text.char_indices().nth(60) {
                Some((end, _)) => format!("{}...", &text[..end]),
                None => text,
            }
        }
    }
}
