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
    /// NVIDIA Dynamo: its frontend, and its workers, which have what their engines say only after a first request.
    Dynamo,
}

impl Engine {
    /// All of them. On a page with the metrics of several, the first is meant: Triton shows its own beside those of
    /// its backend.
    pub const ALL: [Self; 7] = [
        Self::Vllm,
        Self::Sglang,
        Self::TensorRtLlm,
        Self::TritonTensorRtLlm,
        Self::LlamaCpp,
        Self::Triton,
        Self::Dynamo,
    ];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TensorRtLlm => "trtllm-serve",
            Self::TritonTensorRtLlm => "triton-tensorrt-llm",
            Self::LlamaCpp => "llama.cpp",
            Self::Triton => "triton",
            Self::Dynamo => "dynamo",
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
            Self::TensorRtLlm | Self::LlamaCpp | Self::Dynamo => None,
        }
    }

    /// Whether several series of one rank say the same thing: SGLang's tensor-parallel ranks when all of them report,
    /// and its queue by priority beside the whole. Of copies the largest counts; other series are added.
    pub(super) const fn repeats_itself(self) -> bool {
        matches!(self, Self::Sglang)
    }

    /// Whether what it calls running has those in it that wait for their first token.
    pub(super) const fn runs_what_waits(self) -> bool {
        matches!(self, Self::Dynamo)
    }

    /// What else the names of its metrics begin with, instead of the first part of each. Ray Serve renames vLLM's.
    pub(super) const fn aliases(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Vllm => ("vllm:", &["ray_vllm:", "ray_vllm_"]),
            _ => ("", &[]),
        }
    }

    /// Its metrics. Of several for one field, the first counts that a rank has.
    pub(super) const fn metrics(self) -> &'static [(&'static str, Meaning)] {
        match self {
            Self::Vllm => VLLM,
            Self::Sglang => SGLANG,
            Self::TensorRtLlm => TENSORRT_LLM,
            Self::TritonTensorRtLlm => TRITON_TENSORRT_LLM,
            Self::LlamaCpp => LLAMA_CPP,
            Self::Triton => TRITON,
            Self::Dynamo => DYNAMO,
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
pub(super) enum Meaning {
    /// With its value.
    Gauge(Field),
    /// With its value, which is added to that of the field: one of several queues.
    Part(Field, u8),
    /// With its labels and its value: whether the engine sleeps.
    SleepState,
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

/// The most queues that an engine counts beside its own.
pub(super) const MOST_PARTS: usize = 5;

/// The label of the metric that says whether the engine sleeps, and its value when it does not.
pub(super) const SLEEP_STATE: &str = "sleep_state";
pub(super) const AWAKE: &str = "awake";

/// Labels of the metric that says which adapters are in use.
pub(super) const MAX_LORA: &str = "max_lora";
pub(super) const RUNNING_ADAPTERS: &str = "running_lora_adapters";
pub(super) const WAITING_ADAPTERS: &str = "waiting_lora_adapters";

const VLLM: &[(&str, Meaning)] = &[
    ("vllm:num_requests_waiting", Meaning::Gauge(Field::Waiting)),
    ("vllm:num_requests_running", Meaning::Gauge(Field::Running)),
    ("vllm:kv_cache_usage_perc", Meaning::Gauge(Field::KvUsage)),
    // Before 0.10. It is a share as well, whatever it is called.
    ("vllm:gpu_cache_usage_perc", Meaning::Gauge(Field::KvUsage)),
    (
        "vllm:cache_config_info",
        Meaning::KvCache(KvCacheLabels {
            block_size: "block_size",
            blocks: "num_gpu_blocks",
            tokens: Some("kv_cache_size_tokens"),
        }),
    ),
    ("vllm:lora_requests_info", Meaning::Adapters),
    ("vllm:engine_sleep_state", Meaning::SleepState),
];

const SGLANG: &[(&str, Meaning)] = &[
    ("sglang:num_queue_reqs", Meaning::Gauge(Field::Waiting)),
    ("sglang:num_running_reqs", Meaning::Gauge(Field::Running)),
    // With prefill and decode apart, requests wait in queues of their own: for their other half, for room, for blocks
    // on their way. SGLang's own load report has them among those that wait.
    ("sglang:num_prefill_prealloc_queue_reqs", Meaning::Part(Field::Waiting, 0)),
    ("sglang:num_decode_prealloc_queue_reqs", Meaning::Part(Field::Waiting, 1)),
    ("sglang:num_decode_transfer_queue_reqs", Meaning::Part(Field::Waiting, 2)),
    // Prefilled, with their blocks on their way to the decoder. The second is how older versions spell it.
    ("sglang:num_prefill_inflight_queue_reqs", Meaning::Part(Field::Running, 3)),
    ("sglang:num_prefill_infight_queue_reqs", Meaning::Part(Field::Running, 4)),
    ("sglang:token_usage", Meaning::Gauge(Field::KvUsage)),
    ("sglang:num_used_tokens", Meaning::Gauge(Field::KvTokens)),
    ("sglang:max_total_num_tokens", Meaning::Gauge(Field::KvCapacity)),
    // From 0.5.11 on.
    ("sglang:page_size", Meaning::Gauge(Field::BlockSize)),
    ("sglang:num_pages", Meaning::Gauge(Field::Blocks)),
    (
        "sglang:cache_config_info",
        Meaning::KvCache(KvCacheLabels {
            block_size: "page_size",
            blocks: "num_pages",
            tokens: None,
        }),
    ),
];

const TENSORRT_LLM: &[(&str, Meaning)] = &[
    ("trtllm_num_requests_waiting", Meaning::Gauge(Field::Waiting)),
    ("trtllm_num_requests_running", Meaning::Gauge(Field::Running)),
    ("trtllm_kv_cache_utilization", Meaning::Gauge(Field::KvUsage)),
    ("trtllm_kv_cache_tokens_per_block", Meaning::Gauge(Field::BlockSize)),
    ("trtllm_kv_cache_max_blocks", Meaning::Gauge(Field::Blocks)),
];

const TRITON_TENSORRT_LLM: &[(&str, Meaning)] = &[
    ("nv_trt_llm_request_metrics{request_type=waiting}", Meaning::Gauge(Field::Waiting)),
    ("nv_trt_llm_request_metrics{request_type=scheduled}", Meaning::Gauge(Field::Running)),
    (
        "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
        Meaning::Gauge(Field::KvUsage),
    ),
    (
        "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}",
        Meaning::Gauge(Field::BlockSize),
    ),
    ("nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}", Meaning::Gauge(Field::Blocks)),
];

const LLAMA_CPP: &[(&str, Meaning)] = &[
    ("llamacpp:requests_deferred", Meaning::Gauge(Field::Waiting)),
    ("llamacpp:requests_processing", Meaning::Gauge(Field::Running)),
    // Builds since the middle of 2025 have neither: what is left are counters of what was cached and drafted, of which
    // none is a load.
    ("llamacpp:kv_cache_usage_ratio", Meaning::Gauge(Field::KvUsage)),
    ("llamacpp:kv_cache_tokens", Meaning::Gauge(Field::KvTokens)),
];

const DYNAMO: &[(&str, Meaning)] = &[
    ("dynamo_frontend_queued_requests", Meaning::Gauge(Field::Waiting)),
    ("dynamo_frontend_inflight_requests", Meaning::Gauge(Field::Running)),
    (
        "dynamo_component_inflight_requests{dynamo_endpoint=generate}",
        Meaning::Gauge(Field::Running),
    ),
    // A share, whatever it is called.
    ("dynamo_component_kvstats_gpu_cache_usage_percent", Meaning::Gauge(Field::KvUsage)),
];

const TRITON: &[(&str, Meaning)] =
    &[("nv_inference_pending_request_count", Meaning::Gauge(Field::Waiting))];
