//! The texts of a payload, and the payload with other texts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::WireError;
use crate::json::{Edit, Kind, Reader, edited};
use crate::request::quoted;

/// What a payload is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// The body of a request.
    Request,
    /// The body of an answer.
    Answer,
    /// The data of an event of a stream.
    Event,
}

/// The texts of a payload: every string that a person or a model may have written.
///
/// All strings below the fields that carry prompts and answers count, in any API: messages, their
/// parts, tools, arguments, reasoning. Not counted are names of the format, such as `role` and
/// `type`, ids, URLs and encoded media. Empty strings are no texts.
///
/// ```
/// use slotwise_wire::content::{Payload, Texts};
///
/// let body = br#"{"model": "m", "messages": [{"role": "user", "content": "a b"}]}"#;
/// let texts = Texts::find(Payload::Request, body)?;
/// assert_eq!(texts.iter().map(|text| &*text.text).collect::<Vec<_>>(), ["a b"]);
/// let changed = texts.rewrite(body, |_| Some("c"));
/// assert_eq!(changed, br#"{"model": "m", "messages": [{"role": "user", "content": "c"}]}"#);
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Texts {
    texts: Vec<Text>,
    /// Values that repeat a text in another form.
    repeats: Vec<Range<usize>>,
    /// Values that tell why the answer ended, with those of a content filter.
    endings: Vec<(Range<usize>, &'static str)>,
    /// The numbers of choices, blocks and items.
    indexes: Vec<u64>,
}

/// A text.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Text {
    /// The text, unescaped.
    pub text: String,
    /// The key whose value it is, such as `content`.
    pub key: String,
    /// The bytes of the string in the payload, with its quotation marks.
    range: Range<usize>,
}

impl Texts {
    /// Finds the texts. Computes in **O(bytes)**; memory is that of the texts.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload is not JSON.
    pub fn find(kind: Payload, payload: &[u8]) -> Result<Self, WireError> {
        let mut found = Self::default();
        let mut reader = Reader::new(payload)?;
        found.value(&mut reader, Place::Root(kind), "")?;
        reader.end()?;
        Ok(found)
    }

    /// The texts in their order.
    pub fn iter(&self) -> core::slice::Iter<'_, Text> {
        self.texts.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The first eight numbers of choices, blocks and items in the payload. With the key of a
    /// text, they name the part of an answer that the text continues.
    pub fn indexes(&self) -> &[u64] {
        &self.indexes
    }

    /// The payload with other texts, by their number; `None` keeps a text. If one changes, values
    /// that repeat texts in another form, such as log probabilities, become `null`.
    pub fn rewrite<'t>(
        &self,
        payload: &[u8],
        replacement: impl Fn(usize) -> Option<&'t str>,
    ) -> Vec<u8> {
        let texts = self.texts.iter().enumerate();
        let mut edits: Vec<Edit> = texts
            .filter_map(|(at, text)| Some((text.range.clone(), quoted(replacement(at)?))))
            .collect();
        if !edits.is_empty() {
            edits.extend(self.repeats.iter().map(|range| (range.clone(), "null".to_string())));
        }
        edited(payload, edits)
    }

    /// The payload of a blocked answer: without its texts, with the ending of a content filter.
    pub fn block(&self, payload: &[u8]) -> Vec<u8> {
        let texts = self.texts.iter().map(|text| (text.range.clone(), quoted("")));
        let repeats = self.repeats.iter().map(|range| (range.clone(), "null".to_string()));
        let endings = self.endings.iter().map(|(range, value)| (range.clone(), (*value).into()));
        edited(payload, texts.chain(repeats).chain(endings).collect())
    }

    fn value(&mut self, reader: &mut Reader<'_>, place: Place, key: &str) -> Result<(), WireError> {
        match reader.kind()? {
            Kind::Object => {
                reader.open_object()?;
                while let Some(key) = reader.next_key()? {
                    self.member(reader, place, &key.read())?;
                }
            }
            Kind::Array => {
                reader.open_array()?;
                // The reader limits the depth, and with it the recursion.
                while reader.next_item()? {
                    self.value(reader, place, key)?;
                }
            }
            Kind::Text if place == Place::Texts => {
                let text = reader.text()?;
                if !text.raw().is_empty() {
                    let range = text.at() - 1..reader.at();
                    self.texts.push(Text { text: text.read().into(), key: key.into(), range });
                }
            }
            Kind::Number if INDEXES.contains(&key) => {
                let number = reader.number()?.whole("an index").ok();
                self.indexes.extend(number.filter(|_| self.indexes.len() < MOST_INDEXES));
            }
            _ => _ = reader.skip()?,
        }
        Ok(())
    }

    fn member(
        &mut self,
        reader: &mut Reader<'_>,
        place: Place,
        key: &str,
    ) -> Result<(), WireError> {
        let ending = |key| ENDINGS.iter().find(|(known, _)| *known == key);
        match place {
            Place::Root(Payload::Answer) if ending(key).is_some() => self.ending(reader, key),
            Place::Root(kind) if kind.texts().contains(&key) => {
                self.value(reader, Place::Texts, key)
            }
            // The whole answer of an event: Anthropic's message, OpenAI's response.
            Place::Root(Payload::Event) if matches!(key, "message" | "response") => {
                self.value(reader, Place::Root(Payload::Answer), key)
            }
            Place::Root(_) if INDEXES.contains(&key) => self.value(reader, place, key),
            Place::Root(_) => reader.skip().map(|_| ()),
            Place::Texts if REPEATS.contains(&key) => {
                let range = skip(reader)?;
                self.repeats.push(range);
                Ok(())
            }
            Place::Texts if ending(key).is_some() => self.ending(reader, key),
            Place::Texts if FORMAT.contains(&key) => reader.skip().map(|_| ()),
            Place::Texts => self.value(reader, place, key),
        }
    }

    fn ending(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), WireError> {
        let range = skip(reader)?;
        let known = ENDINGS.iter().find(|(known, _)| *known == key);
        self.endings.extend(known.map(|(_, value)| (range, *value)));
        Ok(())
    }
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// At the top level of a payload.
    Root(Payload),
    /// Below a field with texts.
    Texts,
}

impl Payload {
    /// The fields of the top level below which strings are texts.
    const fn texts(self) -> &'static [&'static str] {
        match self {
            Self::Request => &[
                "prompt",
                "suffix",
                "messages",
                "system",
                "input",
                "instructions",
                "tools",
                "functions",
                "query",
                "queries",
                "documents",
                "text",
                "texts",
                "text_1",
                "text_2",
            ],
            Self::Answer => &["choices", "content", "output", "outputs", "output_text", "text"],
            Self::Event => &[
                "choices",
                "content",
                "delta",
                "text",
                "content_block",
                "part",
                "item",
                "arguments",
                "refusal",
                "outputs",
                "output_text",
            ],
        }
    }
}

/// Keys whose strings are names of the format, ids or encoded media.
const FORMAT: &[&str] = &[
    "type",
    "role",
    "object",
    "id",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "item_id",
    "url",
    "image_url",
    "file_id",
    "file_data",
    "data",
    "media_type",
    "format",
    "detail",
    "signature",
    "encrypted_content",
    "phase",
    "service_tier",
    "model",
    "stop_sequence",
    "matched_stop",
];

/// Keys whose values repeat texts in another form.
const REPEATS: &[&str] = &[
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "token_ids",
    "output_ids",
    "output_token_logprobs",
];

/// Keys that tell why an answer ended, and the value of an answer that a content filter cut off.
const ENDINGS: &[(&str, &str)] = &[
    ("finish_reason", r#""content_filter""#),
    ("stop_reason", r#""refusal""#),
    ("status", r#""incomplete""#),
    ("incomplete_details", r#"{"reason":"content_filter"}"#),
];

const INDEXES: &[&str] = &["index", "output_index", "content_index", "summary_index"];

/// Indexes that are kept. An event has one for each level: a choice, its call, its block.
const MOST_INDEXES: usize = 8;

/// The range of the next value.
fn skip(reader: &mut Reader<'_>) -> Result<Range<usize>, WireError> {
    let length = reader.skip()?.len();
    Ok(reader.at() - length..reader.at())
}
