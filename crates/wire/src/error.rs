//! Why bytes could not be read, and where.

use core::fmt;

/// Bytes that could not be read. Nothing of them has been applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WireError {
    /// Of the first byte that is not as it should be, counted from the beginning of what was given.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: ErrorKind,
}

/// What is wrong with some bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// They end too soon.
    Truncated,
    /// Something else should stand there.
    Expected(&'static str),
    /// They are no UTF-8.
    NotUtf8,
    /// Arrays and objects lie more than so many levels deep in each other.
    TooDeep(usize),
    /// They are longer than the limit that was set.
    TooLong(usize),
    /// A number that this field cannot have.
    OutOfRange(&'static str),
    /// They are of a kind that is not known, or that nobody sends.
    Unsupported(&'static str),
    /// They are no metrics page: an empty answer, HTML, JSON. No line is a sample or a comment.
    NotMetrics,
    /// They are metrics, and none of them says anything that is looked for.
    NothingKnown,
    /// A body of a request has nothing that its API takes for a prompt.
    NoPrompt {
        /// The API's name.
        api: &'static str,
        /// The fields of which one should be there.
        expected: &'static str,
        /// The name of the API that has such bodies, if that can be told.
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

    /// The same, for bytes that begin `by` bytes later than those in which it was found.
    pub(crate) const fn shifted(self, by: usize) -> Self {
        Self { offset: self.offset + by, ..self }
    }
}

impl ErrorKind {
    /// Its name in other languages and in logs; it stays the same when the message changes.
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
            ErrorKind::Truncated => f.write_str("the end comes too soon"),
            ErrorKind::Expected(what) => write!(f, "expected {what}"),
            ErrorKind::NotUtf8 => f.write_str("expected UTF-8"),
            ErrorKind::TooDeep(levels) => write!(f, "nested more than {levels} levels deep"),
            ErrorKind::TooLong(limit) => write!(f, "longer than the limit of {limit} bytes"),
            ErrorKind::OutOfRange(what) => write!(f, "out of range: {what}"),
            ErrorKind::Unsupported(what) => write!(f, "not supported: {what}"),
            ErrorKind::NotMetrics => f.write_str("expected a metrics page, found no sample"),
            ErrorKind::NothingKnown => f.write_str("no metric in it is known"),
            ErrorKind::NoPrompt { api, expected, looks_like: None } => {
                write!(f, "expected {expected} in a body of {api}")
            }
            ErrorKind::NoPrompt { api, expected, looks_like: Some(other) } => write!(
                f,
                "expected {expected} in a body of {api}, but this is a body of {other}: say which path it came to"
            ),
        }
    }
}

impl core::error::Error for WireError {}
