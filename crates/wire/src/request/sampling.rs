//! `sampling_params`: the limits of answers in the generate APIs.

use super::cache_flags::CacheFlags;
use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader};

type Result<T> = core::result::Result<T, WireError>;

/// The fields of `sampling_params`.
#[derive(Default)]
pub(super) struct Sampling {
    pub(super) max_tokens: [Option<u32>; 2],
    pub(super) n: Option<u32>,
}

impl Sampling {
    /// Reads the parameters of the first prompt, if there are parameters for each.
    pub(super) fn of_first(reader: &mut Reader<'_>, cache: &mut CacheFlags) -> Result<Self> {
        if reader.kind()? != Kind::Array {
            return Self::of(reader, cache);
        }
        reader.open_array()?;
        let mut first = Self::default();
        if reader.next_item()? {
            first = Self::of(reader, cache)?;
            lenient::rest_of_array(reader)?;
        }
        Ok(first)
    }

    fn of(reader: &mut Reader<'_>, cache: &mut CacheFlags) -> Result<Self> {
        let mut sampling = Self::default();
        if lenient::object(reader, "sampling parameters")? {
            while let Some(key) = reader.next_key()? {
                match &*key.read() {
                    "max_new_tokens" => {
                        sampling.max_tokens[0] = lenient::limit(reader, "max tokens")?;
                    }
                    "max_tokens" => sampling.max_tokens[1] = lenient::limit(reader, "max tokens")?,
                    "n" => sampling.n = lenient::count(reader, "the number of answers")?,
                    key => {
                        if !cache.read(key, reader)? {
                            reader.skip()?;
                        }
                    }
                }
            }
        }
        Ok(sampling)
    }
}
