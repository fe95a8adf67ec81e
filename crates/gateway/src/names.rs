//! Names that are the same in every language, and the error for an unknown one.
//!
//! Bindings receive words where Rust has enums. [`parse`] reads them, so all languages know the
//! same words and report the same error.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Write};

use slotwise::{CacheEvictionOrder, CacheUse, Failure, PortMatch, Role, Stage, Tier};
use slotwise_wire::hashes::Algorithm;
use slotwise_wire::outcome::{BodyShape, Reason};
use slotwise_wire::request::{Api, KvTransfer, PriorityOrder};
use slotwise_wire::response::CloseReason;

use crate::gates::safety::Stage as SafetyStage;

/// A value that hosts name by a word.
pub trait Named: Copy + PartialEq + 'static {
    /// All values with their words.
    const NAMES: &'static [(&'static str, Self)];
}

/// The value of this name, in **O(names)**.
///
/// ```
/// use slotwise::Tier;
/// use slotwise_gateway::names;
///
/// assert_eq!(names::parse::<Tier>("cpu"), Ok(Tier::Cpu));
/// let error = names::parse::<Tier>("tape").expect_err("an unknown name");
/// assert_eq!(error.to_string(), "must be 'gpu', 'cpu' or 'disk', got \"tape\"");
/// ```
///
/// # Errors
///
/// Returns the known names if this is none of them.
pub fn parse<T: Named>(name: &str) -> Result<T, UnknownName> {
    let found = T::NAMES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| UnknownName::new(name, T::NAMES.iter().map(|it| it.0)))
}

/// The name of a value; `None` for one that is newer than this crate.
pub fn name_of<T: Named>(value: T) -> Option<&'static str> {
    T::NAMES.iter().find(|(_, known)| *known == value).map(|(name, _)| *name)
}

/// The API at a path that a request was sent to: see [`Api::of_path`].
///
/// # Errors
///
/// Returns the known paths if this is none of them.
pub fn api_at(path: &str) -> Result<Api, UnknownName> {
    Api::of_path(path).ok_or_else(|| UnknownName::new(path, Api::ALL.into_iter().map(Api::path)))
}

/// The reason of this code. Of two reasons with the same code, `evicted` selects the one for queued
/// requests.
///
/// ```
/// use slotwise::{EvictReason, RejectReason};
/// use slotwise_gateway::names::reason;
/// use slotwise_wire::outcome::Reason;
///
/// assert_eq!(reason("no_endpoints", false), Ok(Reason::Rejected(RejectReason::NoEndpoints)));
/// assert_eq!(reason("no_endpoints", true), Ok(Reason::Evicted(EvictReason::NoEndpoints)));
/// ```
///
/// # Errors
///
/// Returns the known codes if this is none of them.
pub fn reason(code: &str, evicted: bool) -> Result<Reason, UnknownName> {
    // Rejections precede evictions.
    let mut of_code = Reason::all().filter(|reason| reason.code() == code);
    let found = of_code.find(|reason| !evicted || matches!(reason, Reason::Evicted(_)));
    found.ok_or_else(|| UnknownName::new(code, Reason::all().map(Reason::code)))
}

/// The transfer of this name: see [`KvTransfer::from_name`]. Without parameters, a decoding engine
/// computes the prompt.
///
/// # Errors
///
/// Returns the known names if this is none of them.
pub fn kv_transfer<'a>(
    name: &str,
    parameters: Option<&'a str>,
    bootstrap: (&'a str, u16, u64),
) -> Result<KvTransfer<'a>, UnknownName> {
    KvTransfer::from_name(name, parameters.unwrap_or("null"), bootstrap)
        .ok_or_else(|| UnknownName::new(name, KvTransfer::NAMES))
}

/// A name that none of the known values has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownName {
    message: String,
}

impl UnknownName {
    /// The error for a name that is none of the known ones. Each is listed once. Computes in
    /// **O(names · log names)**.
    pub fn new<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        // Clients choose unknown names, and a gateway may have thousands of models.
        let mut listed = BTreeSet::new();
        let names: Vec<&str> = known.into_iter().filter(|name| listed.insert(*name)).collect();
        if names.is_empty() {
            return Self { message: format!("cannot be {given:?}: there is none") };
        }
        let mut message = String::from("must be ");
        for (at, name) in names.iter().enumerate() {
            let before = match at {
                0 => "'",
                last if last + 1 == names.len() => " or '",
                _ => ", '",
            };
            message.extend([before, name, "'"]);
        }
        // Writing to a String cannot fail.
        _ = write!(message, ", got {given:?}");
        Self { message }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for UnknownName {}

/// Implements [`Named`] for types that have a constant `as_str`.
macro_rules! named {
    ($($type:ident { $($variant:ident),+ $(,)? })+) => {
        $(impl Named for $type {
            const NAMES: &'static [(&'static str, Self)] =
                &[$(($type::$variant.as_str(), $type::$variant)),+];
        })+
    };
}

named! {
    PortMatch { Exact, Ignored }
    CacheUse { Read, Unreported, Unread }
    Role { Unified, Prefill, Decode, Encode, EncodePrefill, EncodePrefillDecode }
    Stage { Encode, Prefill }
    PriorityOrder { LowFirst, HighFirst }
    BodyShape { OpenAi, Anthropic }
    SafetyStage { Prompt, Answer, Stream }
    CloseReason { Clean, Broken, TimedOut, ClientDisconnected, Expired }
    Algorithm { Sha256, Sha256Cbor, Xxhash, XxhashCbor }
    Api {
        ChatCompletions, Completions, Responses, Embeddings, Messages, InferenceGenerate, Generate,
        Score, Rerank, Pooling, Classify, Tokenize, Detokenize, Transcriptions, Translations,
        Speech,
    }
}

impl Named for Failure {
    const NAMES: &'static [(&'static str, Self)] =
        &[("unreachable", Self::Unreachable), ("engine", Self::Engine), ("timeout", Self::Timeout)];
}

impl Named for Tier {
    const NAMES: &'static [(&'static str, Self)] =
        &[("gpu", Self::Gpu), ("cpu", Self::Cpu), ("disk", Self::Disk)];
}

impl Named for CacheEvictionOrder {
    const NAMES: &'static [(&'static str, Self)] =
        &[("tail_first", Self::TailFirst), ("head_first", Self::HeadFirst)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_its_name() {
        assert_eq!(Api::NAMES.len(), Api::ALL.len());
        for api in Api::ALL {
            assert_eq!(parse(api.as_str()), Ok(api));
            assert_eq!(api_at(api.path()), Ok(api));
            assert_eq!(name_of(api), Some(api.as_str()));
        }
        assert!(api_at("/v1/models").is_err());
    }
}
