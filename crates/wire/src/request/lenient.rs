//! Single values, read as leniently as engines read them.

use core::ops::Range;

use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// A value that is kept until it is known where it belongs.
#[derive(Clone, Debug, Default)]
pub(super) enum Deferred<'a> {
    /// It is missing, or `null`.
    #[default]
    Nothing,
    Text(Text<'a>),
    /// Something else; the reader stands before it.
    At(Reader<'a>),
}

/// An argument: text, or JSON as it stands in the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(Text<'a>),
    Json(&'a str),
}

/// Keeps a value.
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

/// A string, or JSON as it stands; nothing for `null`.
pub(super) fn value<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>> {
    Ok(match reader.kind()? {
        Kind::Text => Some(Value::Text(reader.text()?)),
        Kind::Null => none(reader)?,
        _ => Some(Value::Json(reader.skip()?)),
    })
}

/// A string or `null`.
pub(super) fn string<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Option<Text<'a>>> {
    match reader.kind()? {
        Kind::Text => Ok(Some(reader.text()?)),
        Kind::Null => none(reader),
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// A string; anything else counts as none.
pub(super) fn any_string<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>> {
    if reader.kind()? == Kind::Text {
        return Ok(Some(reader.text()?));
    }
    reader.skip()?;
    Ok(None)
}

/// A string, or the first of an array of strings, which may be `null`.
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

/// Reads over what is left of an array: how many items.
pub(super) fn rest_of_array(reader: &mut Reader<'_>) -> Result<usize> {
    let mut count = 0;
    while reader.next_item()? {
        reader.skip()?;
        count += 1;
    }
    Ok(count)
}

/// Yes or no, in any of the ways in which engines take it.
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

/// A whole number that is not negative, also between quotation marks, or `null`. What is too large is the largest.
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

/// A whole number, also between quotation marks, or `null`. What is negative says that there is no limit, which is as good
/// as nothing.
pub(super) fn limit(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<u32>> {
    let number = whole(reader, what)?;
    Ok(number
        .and_then(|number| u64::try_from(number).ok())
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
}

/// A whole number of either sign, also between quotation marks, or `null`.
pub(super) fn whole(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<i64>> {
    match reader.kind()? {
        Kind::Null => none(reader),
        Kind::Number => {
            let number = reader.number()?;
            // What is no 64-bit integer as it stands may still be one, as 1e3 is, but not a large one.
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

/// Appends an array of token ids: where they are then.
pub(super) fn ids(
    reader: &mut Reader<'_>,
    tokens: &mut alloc::vec::Vec<u32>,
) -> Result<Range<usize>> {
    let start = tokens.len();
    reader.ids("a token id", tokens)?;
    Ok(start..tokens.len())
}

/// Enters an object, or nothing if it is `null`.
pub(super) fn object(reader: &mut Reader<'_>, what: &'static str) -> Result<bool> {
    match reader.kind()? {
        Kind::Object => reader.open_object().map(|()| true),
        Kind::Null => reader.null().map(|_| false),
        _ => Err(WireError::expected(reader.at(), what)),
    }
}

/// Enters an array, or nothing if it is `null`.
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
