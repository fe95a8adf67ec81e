//! Why input could not be parsed, and where.

use core::fmt;

/// Input that could not be parsed. None of it was applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WireError {
    /// Offset in bytes of the first wrong byte, counted from the start of the input.
    pub offset: usize,
    /// What is wrong at this offset.
    pub problem: ErrorKind,
}

/// The kinds of parse errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends in the middle of a value.
    Truncated,
    /// The input differs from the grammar at this offset. The text names what the parser expected.
    Expected(&'static str),
    /// The input is not valid UTF-8.
    NotUtf8,
    /// Arrays and objects are nested deeper than this limit.
    TooDeep(usize),
    /// The input is longer than this limit in bytes.
    TooLong(usize),
    /// A number or a count is outside the range of its field.
    OutOfRange(&'static str),
    /// A valid format or value that this crate does not support.
    Unsupported(&'static str),
    /// The input is not a metrics page: it is empty, HTML or JSON. No line is a sample or a
    /// comment.
    NotMetrics,
    /// The input has metrics, but none of the metrics that the reader looks for.
    NothingKnown,
    /// A request body lacks every field that its API accepts as a prompt.
    NoPrompt {
        /// The name of the API.
        api: &'static str,
        /// The fields of which the body needs one.
        expected: &'static str,
        /// The name of the API whose bodies have these fields, if it can be recognized.
        looks_like: Option<&'static str>,
    },
}

impl WireError {
    pub(crate) const fn new(offset: usize, problem: ErrorKind) -> Self {
        Self { offset, problem }
    }

    pub(crate) const fn expected(offset: usize, what: &'static str) -> Self {
        Self::new(offset, ErrorKind::Expected(what))
    }

    /// Moves the offset by `by` bytes, for a parser that started inside the input.
    pub(crate) const fn shifted(self, by: usize) -> Self {
        Self { offset: self.offset + by, ..self }
    }
}

impl ErrorKind {
    /// A stable identifier for logs and other languages. It does not change when the message
    /// changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Expected(_) => "unexpected",
            Self::NotUtf8 => "not_utf8",
            Self::TooDeep(_) => "too_deep",
            Self::TooLong(_) => "too_long",
            Self::OutOfRange(_) => "out_of_range",
            Self::Unsupported(_) => "unsupported",
            Self::NotMetrics => "not_metrics",
            Self::NothingKnown => "nothing_known",
            Self::NoPrompt { .. } => "no_prompt",
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match self.problem {
            ErrorKind::Truncated => f.write_str("unexpected end of input"),
            ErrorKind::Expected(what) => write!(f, "expected {what}"),
            ErrorKind::NotUtf8 => f.write_str("expected UTF-8"),
            ErrorKind::TooDeep(levels) => write!(f, "nested deeper than {levels} levels"),
            ErrorKind::TooLong(limit) => write!(f, "longer than the limit of {limit} bytes"),
            ErrorKind::OutOfRange(what) => write!(f, "out of range: {what}"),
            ErrorKind::Unsupported(what) => write!(f, "not supported: {what}"),
            ErrorKind::NotMetrics => f.write_str("expected a metrics page, found no sample"),
            ErrorKind::NothingKnown => f.write_str("found none of the known metrics"),
            ErrorKind::NoPrompt { api, expected, looks_like: None } => {
                write!(f, "expected {expected} in a body of {api}")
            }
            ErrorKind::NoPrompt { api, expected, looks_like: Some(other) } => write!(
                f,
                "expected {expected} in a body of {api}, but found a body of {other}: check its path"
            ),
        }
    }
}

impl core::error::Error for WireError {}
