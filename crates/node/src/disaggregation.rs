//! Disaggregated serving: its configuration, and what deciders read.

use napi_derive::napi;
use slotwise::{DeciderFacts, PrefixBasedPdDecider};
use slotwise_gateway::names::UnknownName;

use crate::config::set;
use crate::error::Unfit;
use crate::number::{count, finite};

/// How requests are split over endpoints that encode, prefill and decode.
#[napi(object)]
#[derive(Debug, Default)]
pub struct DisaggregationConfig {
    /// Decides whether another endpoint prefills. Default: `predicted-cost-pd-decider`.
    pub prefill: Option<Decider>,
    /// Decides whether another endpoint encodes the media of a request. Default:
    /// `always-disagg-multimodal-decider`.
    pub encode: Option<Decider>,
    /// The cost of moving a prompt's KV cache, for endpoints without their own value.
    pub kv_transfer: Option<KvTransferCost>,
}

/// A decider by its name, with its parameters.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct Decider {
    /// The name. The first three are the reference's.
    #[napi(
        js_name = "type",
        ts_type = "'always-disagg-pd-decider' | 'prefix-based-pd-decider' | 'always-disagg-multimodal-decider' | 'predicted-cost-pd-decider' | 'never-disagg-decider'"
    )]
    pub kind: String,
    /// The parameters of `prefix-based-pd-decider`.
    pub parameters: Option<DeciderParameters>,
}

/// The parameters of `prefix-based-pd-decider`.
#[napi(object)]
#[derive(Clone, Debug, Default)]
pub struct DeciderParameters {
    /// The fewest tokens that the decoding endpoint does not have cached; zero disables
    /// disaggregation. Default: 0.
    pub non_cached_tokens: Option<f64>,
    /// The fewest tokens of a prompt. Default: 0.
    pub prompt_tokens: Option<f64>,
}

/// The cost of moving a prompt's KV cache between endpoints.
#[napi(object)]
#[derive(Clone, Debug, Default)]
pub struct KvTransferCost {
    /// KV bytes of a token. Default: 131,072, an 8B model.
    pub bytes_per_token: Option<f64>,
    /// Bandwidth of the slower side. Default: 25e9.
    pub bytes_per_second: Option<f64>,
    /// Constant seconds of a transfer. Default: 0.005.
    pub setup: Option<f64>,
}

/// What deciders read.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct PrefillFacts {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the prompt that the decoding endpoint has cached.
    pub cached_tokens: u32,
    /// Whether the request has media.
    pub multimodal: bool,
    /// The cost of the best endpoint that prefills and decodes, in seconds.
    pub decode_only: f64,
    /// The cost of the best prefilling endpoint, of the transfer, and of the best decoding one.
    pub disaggregated: f64,
}

impl Decider {
    fn read(self, field: &str) -> Result<slotwise::Decider, Unfit> {
        let DeciderParameters { non_cached_tokens, prompt_tokens } =
            self.parameters.unwrap_or_default();
        let mut prefix_based = PrefixBasedPdDecider::default();
        set! {
            prefix_based.non_cached_tokens => non_cached_tokens, count, "nonCachedTokens";
            prefix_based.prompt_tokens => prompt_tokens, count, "promptTokens";
        }
        let known = [
            slotwise::Decider::AlwaysPd,
            slotwise::Decider::PrefixBasedPd(prefix_based),
            slotwise::Decider::AlwaysMultimodal,
            slotwise::Decider::PredictedPd,
            slotwise::Decider::Never,
        ];
        known.into_iter().find(|decider| decider.name() == self.kind).ok_or_else(|| {
            let error = UnknownName::new(&self.kind, slotwise::Decider::NAMES);
            Unfit::unknown(&format!("{field}.type"), error)
        })
    }
}

impl From<slotwise::Decider> for Decider {
    fn from(decider: slotwise::Decider) -> Self {
        let parameters = match decider {
            slotwise::Decider::PrefixBasedPd(given) => Some(DeciderParameters {
                non_cached_tokens: Some(given.non_cached_tokens.into()),
                prompt_tokens: Some(given.prompt_tokens.into()),
            }),
            _ => None,
        };
        Self { kind: decider.name().into(), parameters }
    }
}

impl KvTransferCost {
    /// The given values over `base`. The core validates them as a cost.
    pub(crate) fn over(
        self,
        base: slotwise::KvTransferCost,
    ) -> Result<slotwise::KvTransferCost, Unfit> {
        let mut cost = base;
        set! {
            cost.bytes_per_token => self.bytes_per_token, finite, "kvTransfer.bytesPerToken";
            cost.bytes_per_second => self.bytes_per_second, finite, "kvTransfer.bytesPerSecond";
            cost.setup => self.setup, finite, "kvTransfer.setup";
        }
        Ok(cost)
    }
}

impl From<slotwise::KvTransferCost> for KvTransferCost {
    fn from(cost: slotwise::KvTransferCost) -> Self {
        Self {
            bytes_per_token: Some(cost.bytes_per_token),
            bytes_per_second: Some(cost.bytes_per_second),
            setup: Some(cost.setup.get()),
        }
    }
}

impl TryFrom<DisaggregationConfig> for slotwise::DisaggregationConfig {
    type Error = Unfit;

    fn try_from(given: DisaggregationConfig) -> Result<Self, Unfit> {
        let mut config = Self::default();
        if let Some(decider) = given.prefill {
            config.prefill = decider.read("disaggregation.prefill")?;
        }
        if let Some(decider) = given.encode {
            config.encode = decider.read("disaggregation.encode")?;
        }
        if let Some(cost) = given.kv_transfer {
            config.kv_transfer = cost.over(config.kv_transfer)?;
        }
        Ok(config)
    }
}

impl From<&slotwise::DisaggregationConfig> for DisaggregationConfig {
    fn from(config: &slotwise::DisaggregationConfig) -> Self {
        Self {
            prefill: Some(config.prefill.into()),
            encode: Some(config.encode.into()),
            kv_transfer: Some(config.kv_transfer.into()),
        }
    }
}

impl From<DeciderFacts> for PrefillFacts {
    fn from(facts: DeciderFacts) -> Self {
        Self {
            prompt_tokens: facts.prompt_tokens,
            cached_tokens: facts.cached_tokens,
            multimodal: facts.multimodal,
            decode_only: facts.decode_only.get(),
            disaggregated: facts.disaggregated.get(),
        }
    }
}
