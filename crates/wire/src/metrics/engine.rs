//! Engines, and what their metrics are called.

use core::fmt;

use super::spec::Field;

/// An engine whose metrics are known.
///
/// ```
/// use slotwise_wire::metrics::Engine;
///
/// assert_eq!(Engine::from_name("sglang"), Some(Engine::Sglang));
/// assert_eq!(Engine::TensorRtLlm.as_str(), "trtllm-serve");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Engine {
    /// vLLM, with the names of today and those before 0.10.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server, `trtllm-serve`.
    TensorRtLlm,
    /// Triton with the TensorRT-LLM backend.
    TritonTensorRtLlm,
    /// The server of llama.cpp.
    LlamaCpp,
    /// Triton with any other backend. It tells who waits, and no more: `nv_inference_exec_count` counts what has been
    /// executed since the start, not what is.
    Triton,
}

impl Engine {
    /// All of them. On a page with the metrics of several, the first is meant: Triton shows its own beside those of
    /// its backend.
    pub const ALL: [Self; 6] =
        [Self::Vllm, Self::Sglang, Self::TensorRtLlm, Self::TritonTensorRtLlm, Self::LlamaCpp, Self::Triton];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TensorRtLlm => "trtllm-serve",
            Self::TritonTensorRtLlm => "triton-tensorrt-llm",
            Self::LlamaCpp => "llama.cpp",
            Self::Triton => "triton",
        }
    }

    /// The engine of this name, as [`as_str`](Self::as_str) gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == name)
    }

    /// The label that tells the readings of one page apart: data-parallel ranks, or Triton's models.
    pub const fn rank_label(self) -> Option<&'static str> {
        match self {
            Self::Vllm => Some("engine"),
            Self::Sglang => Some("dp_rank"),
            Self::TritonTensorRtLlm | Self::Triton => Some("model"),
            Self::TensorRtLlm | Self::LlamaCpp => None,
        }
    }

    /// Whether several series of one rank say the same thing: SGLang's tensor-parallel ranks when all of them report,
    /// and its queue by priority beside the whole. Of copies the largest counts; other series are added.
    pub(super) const fn repeats_itself(self) -> bool {
        matches!(self, Self::Sglang)
    }

    /// Its metrics. Of several for one field, the first counts that a rank has.
    pub(super) const fn metrics(self) -> &'static [(&'static str, What)] {
        match self {
            Self::Vllm => VLLM,
            Self::Sglang => SGLANG,
            Self::TensorRtLlm => TENSORRT_LLM,
            Self::TritonTensorRtLlm => TRITON_TENSORRT_LLM,
            Self::LlamaCpp => LLAMA_CPP,
            Self::Triton => TRITON,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a metric says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// With its value.
    Gauge(Field),
    /// With its labels: how the KV cache is laid out.
    KvCache(KvCacheLabels),
    /// With its labels, which adapters are in use; with its value, since when.
    Adapters,
}

/// The labels that say how a KV cache is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KvCacheLabels {
    pub(super) block_size: &'static str,
    pub(super) blocks: &'static str,
    /// Tokens that fit. Where blocks hold several kinds of layers, it is not the product of the others.
    pub(super) tokens: Option<&'static str>,
}

/// Labels of the metric that says which adapters are in use.
pub(super) const MAX_LORA: &str = "max_lora";
pub(super) const RUNNING_ADAPTERS: &str = "running_lora_adapters";
pub(super) const WAITING_ADAPTERS: &str = "waiting_lora_adapters";

const VLLM: &[(&str, What)] = &[
    ("vllm:num_requests_waiting", What::Gauge(Field::Waiting)),
    ("vllm:num_requests_running", What::Gauge(Field::Running)),
    ("vllm:kv_cache_usage_perc", What::Gauge(Field::KvUsage)),
    // Before 0.10. It is a share as well, whatever it is called.
    ("vllm:gpu_cache_usage_perc", What::Gauge(Field::KvUsage)),
    (
        "vllm:cache_config_info",
        What::KvCache(KvCacheLabels {
            block_size: "block_size",
            blocks: "num_gpu_blocks",
            tokens: Some("kv_cache_size_tokens"),
        }),
    ),
    ("vllm:lora_requests_info", What::Adapters),
];

const SGLANG: &[(&str, What)] = &[
    ("sglang:num_queue_reqs", What::Gauge(Field::Waiting)),
    ("sglang:num_running_reqs", What::Gauge(Field::Running)),
    ("sglang:token_usage", What::Gauge(Field::KvUsage)),
    ("sglang:num_used_tokens", What::Gauge(Field::KvTokens)),
    ("sglang:max_total_num_tokens", What::Gauge(Field::KvCapacity)),
    // From 0.5.11 on.
    ("sglang:page_size", What::Gauge(Field::BlockSize)),
    ("sglang:num_pages", What::Gauge(Field::Blocks)),
    (
        "sglang:cache_config_info",
        What::KvCache(KvCacheLabels { block_size: "page_size", blocks: "num_pages", tokens: None }),
    ),
];

const TENSORRT_LLM: &[(&str, What)] = &[
    ("trtllm_num_requests_waiting", What::Gauge(Field::Waiting)),
    ("trtllm_num_requests_running", What::Gauge(Field::Running)),
    ("trtllm_kv_cache_utilization", What::Gauge(Field::KvUsage)),
    ("trtllm_kv_cache_tokens_per_block", What::Gauge(Field::BlockSize)),
    ("trtllm_kv_cache_max_blocks", What::Gauge(Field::Blocks)),
];

const TRITON_TENSORRT_LLM: &[(&str, What)] = &[
    ("nv_trt_llm_request_metrics{request_type=waiting}", What::Gauge(Field::Waiting)),
    ("nv_trt_llm_request_metrics{request_type=scheduled}", What::Gauge(Field::Running)),
    ("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}", What::Gauge(Field::KvUsage)),
    ("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}", What::Gauge(Field::BlockSize)),
    ("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}", What::Gauge(Field::Blocks)),
];

const LLAMA_CPP: &[(&str, What)] = &[
    ("llamacpp:requests_deferred", What::Gauge(Field::Waiting)),
    ("llamacpp:requests_processing", What::Gauge(Field::Running)),
    // Builds since the middle of 2025 have neither.
    ("llamacpp:kv_cache_usage_ratio", What::Gauge(Field::KvUsage)),
    ("llamacpp:kv_cache_tokens", What::Gauge(Field::KvTokens)),
];

const TRITON: &[(&str, What)] = &[("nv_inference_pending_request_count", What::Gauge(Field::Waiting))];
