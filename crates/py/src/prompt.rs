//! Prompts, bytes and lists of integers, from the Python types that represent them.
//!
//! Text is borrowed. Integers are copied once, from a buffer of any integer type (about 0.1 ns
//! each) or from a list (about 10 ns each). Integers out of range are errors.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use slotwise::{BlockHash, Request};
use std::borrow::Cow;
use std::num::NonZeroU32;

/// A prompt that lives as long as the Python object that it was read from.
pub(crate) enum Prompt<'a> {
    Text(&'a [u8]),
    CopiedText(Vec<u8>),
    Tokens(Vec<u32>),
    Blocks { hashes: Vec<BlockHash>, block_size: NonZeroU32, tokens: u32 },
}

impl<'a> Prompt<'a> {
    /// Reads `str` and `bytes` in place, other buffers of bytes as text, buffers of wider integers,
    /// lists and tuples as token ids, and `slotwise.Blocks` as ready hashes.
    pub(crate) fn read(prompt: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = prompt.cast::<PyString>() {
            return Ok(Self::Text(text.to_str()?.as_bytes()));
        }
        if let Ok(text) = prompt.cast::<PyBytes>() {
            return Ok(Self::Text(text.as_bytes()));
        }
        // Buffers of 32-bit token ids are the fast path, so they are tried first.
        if let Ok(ids) = PyBuffer::<u32>::get(prompt) {
            return Ok(Self::Tokens(ids.to_vec(prompt.py())?));
        }
        if prompt.is_instance_of::<PyList>() || prompt.is_instance_of::<PyTuple>() {
            return integers(prompt, "token id").map(Self::Tokens);
        }
        if let Ok(text) = PyBuffer::<u8>::get(prompt) {
            return Ok(Self::CopiedText(text.to_vec(prompt.py())?));
        }
        if let Ok(hashes) = prompt.getattr("hashes") {
            let hashes =
                integers::<u64>(&hashes, "block hash")?.into_iter().map(BlockHash).collect();
            let block_size = prompt.getattr("block_size")?.extract::<u32>()?;
            let block_size = NonZeroU32::new(block_size)
                .ok_or_else(|| PyValueError::new_err("block_size must not be zero"))?;
            return Ok(Self::Blocks {
                hashes,
                block_size,
                tokens: prompt.getattr("tokens")?.extract()?,
            });
        }
        integers(prompt, "token id").map(Self::Tokens)
    }

    pub(crate) fn put_into<'r>(&'r self, request: Request<'r>) -> Request<'r> {
        match self {
            Self::Text(text) => request.text(*text),
            Self::CopiedText(text) => request.text(text),
            Self::Tokens(ids) => request.tokens(ids),
            Self::Blocks { hashes, block_size, tokens } => {
                request.blocks(hashes, *block_size, *tokens)
            }
        }
    }
}

/// Borrows `bytes`. Copies other buffers of bytes, since other threads may change them.
pub(crate) fn bytes<'a>(value: &'a Bound<'_, PyAny>, name: &str) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    let Ok(buffer) = PyBuffer::<u8>::get(value) else {
        let message =
            format!("{name} must be bytes or another buffer of bytes, not {}", value.get_type());
        return Err(PyTypeError::new_err(message));
    };
    buffer.to_vec(value.py()).map(Cow::Owned)
}

/// The integers in a buffer, list or tuple. `what` names one of them in errors.
pub(crate) fn integers<T>(values: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<T>>
where
    T: Integer + for<'p> FromPyObject<'p, 'p, Error = PyErr>,
{
    if let Ok(buffer) = PyBuffer::<T>::get(values) {
        return buffer.to_vec(values.py());
    }
    if let Some(read) = from_buffer::<T, i64>(values, what)
        .or_else(|| from_buffer::<T, u64>(values, what))
        .or_else(|| from_buffer::<T, i32>(values, what))
        .or_else(|| from_buffer::<T, u32>(values, what))
        .or_else(|| from_buffer::<T, u16>(values, what))
        .or_else(|| from_buffer::<T, i16>(values, what))
    {
        return read;
    }
    if let Ok(list) = values.cast::<PyList>() {
        return list.iter().enumerate().map(|(at, item)| one(&item, at, what)).collect();
    }
    if let Ok(tuple) = values.cast::<PyTuple>() {
        return tuple.iter().enumerate().map(|(at, item)| one(&item, at, what)).collect();
    }
    let kind = values.get_type();
    Err(PyTypeError::new_err(format!(
        "expected a buffer of integers, a list or a tuple of {what}s \
         (or str or bytes for a prompt), not {kind}"
    )))
}

fn from_buffer<T: Integer, E: Element + Into<i128> + Copy>(
    values: &Bound<'_, PyAny>,
    what: &str,
) -> Option<PyResult<Vec<T>>> {
    let buffer = PyBuffer::<E>::get(values).ok()?;
    let read = buffer.to_vec(values.py()).and_then(|values| {
        values
            .into_iter()
            .enumerate()
            .map(|(at, value)| T::narrow(value.into(), at, what))
            .collect()
    });
    Some(read)
}

fn one<T>(item: &Bound<'_, PyAny>, at: usize, what: &str) -> PyResult<T>
where
    T: for<'p> FromPyObject<'p, 'p, Error = PyErr>,
{
    item.extract::<T>().map_err(|error| {
        let value = item.repr().map_or_else(|_| String::from("?"), |text| text.to_string());
        let message =
            format!("{value} at position {at} is not a {what}: {}", error.value(item.py()));
        match error.is_instance_of::<PyTypeError>(item.py()) {
            true => PyTypeError::new_err(message),
            false => PyValueError::new_err(message),
        }
    })
}

/// An unsigned integer type to which wider integers are converted if they fit.
pub(crate) trait Integer: Element + Into<i128> + Copy {
    fn narrow(value: i128, at: usize, what: &str) -> PyResult<Self>;
}

macro_rules! integers {
    ($($integer:ty),+) => {
        $(impl Integer for $integer {
            fn narrow(value: i128, at: usize, what: &str) -> PyResult<Self> {
                Self::try_from(value).map_err(|_| {
                    let most = Self::MAX;
                    PyValueError::new_err(format!(
                        "{value} at position {at} is not a {what}: it must lie between 0 and {most}"
                    ))
                })
            }
        })+
    };
}

integers!(u32, u64);
