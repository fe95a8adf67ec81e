//! The deciders by name.

#[cfg(feature = "serde")]
use crate::parameter_tree::{Named, ParameterError, ParameterTree};
use crate::time::Seconds;

/// A decider by its name, with its parameters.
///
/// The first three are the reference's. With the feature `serde` a decider reads as `{"type": NAME,
/// "parameters": {...}}`, where `parameters` may be absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "type", content = "parameters")
)]
#[non_exhaustive]
pub enum Decider {
    /// `always-disagg-pd-decider`: every request.
    #[cfg_attr(feature = "serde", serde(rename = "always-disagg-pd-decider"))]
    AlwaysPd,
    /// `prefix-based-pd-decider`: requests with many tokens that are not cached.
    #[cfg_attr(feature = "serde", serde(rename = "prefix-based-pd-decider"))]
    PrefixBasedPd(PrefixBasedPdDecider),
    /// `always-disagg-multimodal-decider`: every request with media.
    #[cfg_attr(feature = "serde", serde(rename = "always-disagg-multimodal-decider"))]
    AlwaysMultimodal,
    /// `predicted-cost-pd-decider`: requests that cost less when disaggregated.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "predicted-cost-pd-decider"))]
    PredictedPd,
    /// `never-disagg-decider`: no request.
    #[cfg_attr(feature = "serde", serde(rename = "never-disagg-decider"))]
    Never,
}

/// The parameters of `prefix-based-pd-decider`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "the reference's parameters")]
pub struct PrefixBasedPdDecider {
    /// The fewest tokens that the decoding endpoint does not have cached; zero disables
    /// disaggregation.
    pub non_cached_tokens: u32,
    /// The fewest tokens of a prompt.
    pub prompt_tokens: u32,
}

/// What deciders read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct DeciderFacts {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the prompt that the decoding endpoint has cached.
    pub cached_tokens: u32,
    /// Whether the request has media, such as images.
    pub multimodal: bool,
    /// The cost of the best endpoint that prefills and decodes.
    pub decode_only: Seconds,
    /// The cost of the best prefilling endpoint, of the transfer, and of the best decoding one.
    pub disaggregated: Seconds,
}

impl Decider {
    /// All names; the reference's come first.
    pub const NAMES: [&'static str; 5] = [
        "always-disagg-pd-decider",
        "prefix-based-pd-decider",
        "always-disagg-multimodal-decider",
        "predicted-cost-pd-decider",
        "never-disagg-decider",
    ];

    /// The name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AlwaysPd => Self::NAMES[0],
            Self::PrefixBasedPd(_) => Self::NAMES[1],
            Self::AlwaysMultimodal => Self::NAMES[2],
            Self::PredictedPd => Self::NAMES[3],
            Self::Never => Self::NAMES[4],
        }
    }

    /// Reads the parameters of the decider of this name; `null` means the defaults.
    ///
    /// # Errors
    ///
    /// An unknown name, with the known ones, or an unknown or invalid parameter, with its place.
    #[cfg(feature = "serde")]
    pub fn from_name<'de, D: serde::Deserializer<'de>>(
        name: &str,
        parameters: D,
    ) -> Result<Self, D::Error> {
        use serde::Deserialize;
        let parameters = ParameterTree::deserialize(parameters)?;
        Self::read(name, parameters).map_err(serde::de::Error::custom)
    }

    // Compiled by the crate that calls it, like the readers of the plugins.
    #[cfg(feature = "serde")]
    #[inline]
    fn read(name: &str, parameters: ParameterTree) -> Result<Self, ParameterError> {
        let bare = |decider| move |NoParameters {}| decider;
        match name {
            "always-disagg-pd-decider" => parameters.read().map(bare(Self::AlwaysPd)),
            "prefix-based-pd-decider" => parameters.read().map(Self::PrefixBasedPd),
            "always-disagg-multimodal-decider" => {
                parameters.read().map(bare(Self::AlwaysMultimodal))
            }
            "predicted-cost-pd-decider" => parameters.read().map(bare(Self::PredictedPd)),
            "never-disagg-decider" => parameters.read().map(bare(Self::Never)),
            _ => Err(serde::de::Error::unknown_variant(name, &Self::NAMES)),
        }
    }

    /// Whether the decision depends on predicted costs.
    pub(crate) const fn compares_costs(&self) -> bool {
        matches!(self, Self::PredictedPd)
    }
}

/// Whether a decider disaggregates a request. Computes in **O(1)**.
///
/// ```
/// use slotwise::{Decider, DeciderFacts, PrefixBasedPdDecider, Seconds, pd_decide};
///
/// let decider =
///     Decider::PrefixBasedPd(PrefixBasedPdDecider { non_cached_tokens: 512, prompt_tokens: 0 });
/// let facts = DeciderFacts { prompt_tokens: 2_000, ..DeciderFacts::default() };
/// assert!(pd_decide(&decider, &facts));
/// assert!(!pd_decide(&decider, &DeciderFacts { cached_tokens: 1_600, ..facts }));
///
/// let faster = DeciderFacts { decode_only: Seconds::new(0.2), ..facts };
/// assert!(pd_decide(&Decider::PredictedPd, &faster));
/// assert!(!pd_decide(&Decider::PredictedPd, &facts), "equal costs need no second endpoint");
/// ```
pub fn pd_decide(decider: &Decider, facts: &DeciderFacts) -> bool {
    match decider {
        Decider::AlwaysPd => true,
        Decider::PrefixBasedPd(PrefixBasedPdDecider { non_cached_tokens, prompt_tokens }) => {
            let missing = facts.prompt_tokens.saturating_sub(facts.cached_tokens);
            *non_cached_tokens > 0
                && facts.prompt_tokens >= *prompt_tokens
                && missing >= *non_cached_tokens
        }
        Decider::AlwaysMultimodal => facts.multimodal,
        Decider::PredictedPd => facts.disaggregated < facts.decode_only,
        Decider::Never => false,
    }
}

/// The parameters of a decider that has none.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Decider {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Named { name, parameters } = Named::deserialize(from)?;
        Self::read(&name, parameters).map_err(serde::de::Error::custom)
    }
}
