//! `Serialize` for reports: enums by their names in other languages, errors with their offsets.
//!
//! Enums are implemented by a macro over `as_str`; a derive would need a second copy of each name.

use alloc::string::{String, ToString};
use core::time::Duration;

use serde::{Serialize, Serializer};

use crate::WireError;
use crate::exposition::Attribute;
use crate::headers::{LoadFormat, Subset, UnusableHeader};
use crate::metrics::{Engine, Field};
use crate::request::{Api, SessionField};
use crate::response::{AnswerEnd, Body, CloseReason, FinishReason, Retry};

macro_rules! by_name {
    ($($named:ty),*) => {$(
        impl Serialize for $named {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}

by_name!(
    Api,
    Body,
    CloseReason,
    AnswerEnd,
    Engine,
    Field,
    FinishReason,
    LoadFormat,
    Retry,
    SessionField,
    Subset<'_>
);

impl Serialize for WireError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record {
            offset: usize,
            code: &'static str,
            message: String,
        }
        let record =
            Record { offset: self.offset, code: self.problem.code(), message: self.to_string() };
        record.serialize(serializer)
    }
}

/// Serializes an error of the core as its code.
pub(crate) fn refusal<S: Serializer>(
    refusal: &Option<slotwise::KvEventError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    refusal.as_ref().map(slotwise::KvEventError::code).serialize(serializer)
}

/// Serializes a duration in seconds.
pub(crate) fn seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

/// Serializes the unusable headers without the empty entries.
pub(crate) fn present_only<S: Serializer>(
    unusable: &[Option<UnusableHeader>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(unusable.iter().flatten())
}

/// Serializes as a pair of a key and a value.
impl Serialize for Attribute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.key, &self.value).serialize(serializer)
    }
}
