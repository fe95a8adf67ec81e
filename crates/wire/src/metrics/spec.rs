//! A metric to look for, written as `name{label=value, ...}`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::Result;
use crate::error::{ErrorKind, WireError};

/// The maximum number of labels in a spec.
const MOST_LABELS: usize = 16;

/// The fields of a load report.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Field {
    /// Queued requests.
    Waiting,
    /// Running requests.
    Running,
    /// The share of the KV cache in use by live requests, in `[0, 1]`.
    KvUsage,
    /// Tokens of live requests in the KV cache.
    KvTokens,
    /// The capacity of the KV cache in tokens.
    KvCapacity,
    /// Tokens in a block of the KV cache.
    BlockSize,
    /// Blocks in the KV cache.
    Blocks,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Running,
        Self::KvUsage,
        Self::KvTokens,
        Self::KvCapacity,
        Self::BlockSize,
        Self::Blocks,
    ];

    /// The field's name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::KvUsage => "kv_usage",
            Self::KvTokens => "kv_tokens",
            Self::KvCapacity => "kv_cache_tokens",
            Self::BlockSize => "block_size",
            Self::Blocks => "blocks",
        }
    }

    /// Finds a field by the name that [`as_str`](Self::as_str) returns.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

/// The name of a metric, and the label values that it must have.
///
/// ```
/// use slotwise_wire::metrics::MetricSpec;
///
/// let spec: MetricSpec = "queue_depth{tier = interactive, shard=\"a,b\"}".parse()?;
/// assert_eq!(spec.name(), "queue_depth");
/// assert_eq!(spec.labels()[1], ("shard".into(), "a,b".into()));
/// assert_eq!(spec.to_string(), r#"queue_depth{tier="interactive",shard="a,b"}"#);
///
/// assert_eq!("queue depth".parse::<MetricSpec>().unwrap_err().offset, 6);
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetricSpec {
    name: String,
    labels: Vec<(String, String)>,
}

impl MetricSpec {
    /// Parses `name` or `name{label=value, label="value"}`. A quoted value may have the escapes
    /// `\\`, `\"` and `\n`. An unquoted value ends before the next comma or brace and is trimmed.
    ///
    /// # Errors
    ///
    /// Returns the offset of a syntax error, of a repeated label, or of a label beyond the limit of
    /// 16.
    pub fn parse(text: &str) -> Result<Self> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.blanks();
        let name = cursor.word("the name of a metric", is_name)?;
        cursor.blanks();
        let mut labels = Vec::new();
        if cursor.eat(b'{') {
            cursor.blanks();
            while !cursor.eat(b'}') {
                cursor.label(&mut labels)?;
                cursor.blanks();
                if !cursor.eat(b',') && cursor.peek() != Some(b'}') {
                    return Err(cursor.expected("a comma or a closing brace"));
                }
                cursor.blanks();
            }
            cursor.blanks();
        }
        if cursor.peek().is_some() {
            return Err(cursor.expected("the end"));
        }
        Ok(Self { name: name.into(), labels })
    }

    /// The name of the metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The labels with their required values.
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }
}

impl FromStr for MetricSpec {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for MetricSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (number, (label, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{label}=\"", if number == 0 { '{' } else { ',' })?;
            for character in value.chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    other => write!(f, "{other}")?,
                }
            }
            f.write_str("\"")?;
        }
        if self.labels.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

/// Whether a metric name may contain this byte.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

/// Whether a label name may contain this byte.
const fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn label(&mut self, labels: &mut Vec<(String, String)>) -> Result<()> {
        let at = self.at;
        let label = self.word("the name of a label", is_label)?;
        if labels.iter().any(|(known, _)| known == label) {
            return Err(WireError::expected(at, "a label that is not repeated"));
        }
        if labels.len() == MOST_LABELS {
            return Err(WireError::new(at, ErrorKind::OutOfRange("more than 16 labels")));
        }
        self.blanks();
        if !self.eat(b'=') {
            return Err(self.expected("="));
        }
        self.blanks();
        let value = if self.eat(b'"') { self.quoted()? } else { self.bare() };
        labels.push((label.into(), value));
        Ok(())
    }

    fn quoted(&mut self) -> Result<String> {
        let mut value = String::new();
        loop {
            let Some(character) = self.rest().chars().next() else {
                return Err(WireError::new(self.at, ErrorKind::Truncated));
            };
            self.at += character.len_utf8();
            match character {
                '"' => return Ok(value),
                '\\' => {
                    value.push(match self.peek() {
                        Some(b'n') => '\n',
                        Some(b'\\') => '\\',
                        Some(b'"') => '"',
                        _ => return Err(self.expected("an escape")),
                    });
                    self.at += 1;
                }
                other => value.push(other),
            }
        }
    }

    fn bare(&mut self) -> String {
        let rest = self.rest();
        let value = rest.split([',', '}']).next().unwrap_or(rest);
        self.at += value.len();
        value.trim_end().into()
    }

    /// Parses a name that does not start with a digit.
    fn word(&mut self, what: &'static str, may_have: impl Fn(u8) -> bool) -> Result<&'a str> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| may_have(*byte)).count();
        if length == 0 || rest.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            return Err(self.expected(what));
        }
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn blanks(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_whitespace).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Returns an error for this position: `Truncated` at the end of the text.
    const fn expected(&self, what: &'static str) -> WireError {
        if self.at == self.text.len() {
            WireError::new(self.at, ErrorKind::Truncated)
        } else {
            WireError::expected(self.at, what)
        }
    }
}
