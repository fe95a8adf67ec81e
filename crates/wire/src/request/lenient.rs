//! Readers of single values that are as lenient as engines.

use core::ops::Range;

use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// A value that is interpreted once its context is known.
#[derive(Clone, Debug, Default)]
pub(super) enum Deferred<'a> {
    /// Missing, or `null`.
    #[default]
    Nothing,
    Text(Text<'a>),
    /// Another type; the reader is positioned before it.
    At(Reader<'a>),
}

/// A string, or JSON as written in the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(Text<'a>),
    Json(&'a str),
}

/// Reads a value for later.
pub(super) fn keep<'a>(reader: &mut Reader<'a>) -> Result<Deferred<'a>> {
    Ok(match reader.kind()? {
        Kind::Text => Deferred::Text(reader.text()?),
        Kind::Null => {
            reader.null()?;
            Deferred::Nothing
        }
        _ => {
            let before = reader.clone();
            reader.skip()?;
            Deferred::At(before)
        }
    })
}

/// Reads a string, or any JSON as written; `None` for `null`.
pub(super) fn value<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>> {
    Ok(match reader.kind()? {
        Kind::Text => Some(Value::Text(reader.text()?)),
        Kind::Null => none(reader)?,
        _ => Some(Value::Json(reader.skip()?)),
    })
}

/// Reads a string or `null`.
pub(super) fn string<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Option<Text<'a>>> {
    match reader.kind()? {
        Kind::Text => Ok(Some(reader.text()?)),
        Kind::Null => none(reader),
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// Reads a string; `None` for other types.
pub(super) fn any_string<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>> {
    match reader.kind()? {
        Kind::Text => reader.text().map(Some),
        _ => reader.skip().map(|_| None),
    }
}

/// Reads a string, or the first item of an array of strings; either may be `null`.
pub(super) fn first_string<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Option<Text<'a>>> {
    if reader.kind()? != Kind::Array {
        return string(reader, what);
    }
    reader.open_array()?;
    let mut first = None;
    if reader.next_item()? {
        first = string(reader, what)?;
        rest_of_array(reader)?;
    }
    Ok(first)
}

/// Skips the rest of an array and returns the number of items.
pub(super) fn rest_of_array(reader: &mut Reader<'_>) -> Result<usize> {
    let mut count = 0;
    while reader.next_item()? {
        reader.skip()?;
        count += 1;
    }
    Ok(count)
}

/// Reads a flag in every form that engines accept.
pub(super) fn flag(reader: &mut Reader<'_>, what: &'static str) -> Result<bool> {
    let kind = reader.kind()?;
    let at = reader.at();
    match kind {
        Kind::Boolean => reader.boolean(),
        Kind::Null => Ok(!reader.null()?),
        Kind::Number => match reader.number()?.whole(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::expected(at, what)),
        },
        Kind::Text => {
            let text = reader.text()?;
            let says =
                |words: &[&str]| words.iter().any(|word| text.read().eq_ignore_ascii_case(word));
            if says(&["true", "t", "yes", "y", "on", "1"]) {
                Ok(true)
            } else if says(&["false", "f", "no", "n", "off", "0"]) {
                Ok(false)
            } else {
                Err(WireError::expected(at, what))
            }
        }
        _ => Err(WireError::expected(at, what)),
    }
}

/// Reads a non-negative integer, also as a string, or `null`. Larger numbers are clamped.
pub(super) fn count(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<u32>> {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match reader.kind()? {
        Kind::Null => none(reader),
        Kind::Number => Ok(Some(clamp(reader.number()?.whole(what)?))),
        Kind::Text => {
            let text = reader.text()?;
            let number =
                text.read().trim().parse().map_err(|_| WireError::expected(text.at() - 1, what))?;
            Ok(Some(clamp(number)))
        }
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// Reads an integer, also as a string, or `null`. A negative number means no limit: `None`.
pub(super) fn limit(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<u32>> {
    let number = whole(reader, what)?;
    Ok(number
        .and_then(|number| u64::try_from(number).ok())
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
}

/// Reads a signed integer, also as a string, or `null`.
pub(super) fn whole(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<i64>> {
    match reader.kind()? {
        Kind::Null => none(reader),
        Kind::Number => {
            let number = reader.number()?;
            // `1e3` is an integer as well, but only small numbers are written so.
            let exact = number.digits().parse().ok();
            exact.map_or_else(|| number.signed(what).map(i64::from), Ok).map(Some)
        }
        Kind::Text => {
            let text = reader.text()?;
            let number = text.read().trim().parse();
            number.map(Some).map_err(|_| WireError::expected(text.at() - 1, what))
        }
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// Appends an array of token ids and returns their range.
pub(super) fn ids(
    reader: &mut Reader<'_>,
    tokens: &mut alloc::vec::Vec<u32>,
) -> Result<Range<usize>> {
    let start = tokens.len();
    reader.ids("a token id", tokens)?;
    Ok(start..tokens.len())
}

/// Enters an object; returns `false` for `null`.
pub(super) fn object(reader: &mut Reader<'_>, what: &'static str) -> Result<bool> {
    match reader.kind()? {
        Kind::Object => reader.open_object().map(|()| true),
        Kind::Null => reader.null().map(|_| false),
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// Enters an array; returns `false` for `null`.
pub(super) fn array(reader: &mut Reader<'_>, what: &'static str) -> Result<bool> {
    match reader.kind()? {
        Kind::Array => reader.open_array().map(|()| true),
        Kind::Null => reader.null().map(|_| false),
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

fn none<T>(reader: &mut Reader<'_>) -> Result<Option<T>> {
    reader.null()?;
    Ok(None)
}
