//! The supported engines and the names of their metrics.

use core::fmt;

use super::spec::Field;

/// An engine with built-in metric names.
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
    /// vLLM, with current metric names and those before 0.10.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server, `trtllm-serve`.
    TensorRtLlm,
    /// Triton with the TensorRT-LLM backend.
    TritonTensorRtLlm,
    /// The server of llama.cpp.
    LlamaCpp,
    /// Triton with any other backend. It reports queued requests only: `nv_inference_exec_count`
    /// counts executions since the start.
    Triton,
    /// NVIDIA Dynamo: its frontend, and its workers. A worker exposes its engine's metrics after a
    /// first request only.
    Dynamo,
}

impl Engine {
    /// All engines. If a page has metrics of several, the first in this order counts: Triton
    /// exposes its own metrics besides those of its backend.
    pub const ALL: [Self; 7] = [
        Self::Vllm,
        Self::Sglang,
        Self::TensorRtLlm,
        Self::TritonTensorRtLlm,
        Self::LlamaCpp,
        Self::Triton,
        Self::Dynamo,
    ];

    /// The engine's name in configurations.
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

    /// Finds an engine by the name that [`as_str`](Self::as_str) returns.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == name)
    }

    /// The label that separates the samples of one page: data-parallel ranks, or Triton's models.
    pub const fn rank_label(self) -> Option<&'static str> {
        match self {
            Self::Vllm => Some("engine"),
            Self::Sglang => Some("dp_rank"),
            Self::TritonTensorRtLlm | Self::Triton => Some("model"),
            Self::TensorRtLlm | Self::LlamaCpp | Self::Dynamo => None,
        }
    }

    /// Whether several series of one rank are copies. Examples are SGLang's tensor-parallel ranks,
    /// and its queue by priority besides the total. Of copies the largest counts; other series are
    /// summed.
    pub(super) const fn repeats_itself(self) -> bool {
        matches!(self, Self::Sglang)
    }

    /// Whether its count of running requests includes requests that wait for their first token.
    pub(super) const fn runs_what_waits(self) -> bool {
        matches!(self, Self::Dynamo)
    }

    /// A prefix of its metric names, and the prefixes that can replace it. Ray Serve renames vLLM's
    /// metrics.
    pub(super) const fn aliases(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Vllm => ("vllm:", &["ray_vllm:", "ray_vllm_"]),
            _ => ("", &[]),
        }
    }

    /// Its metrics. Of several metrics for one field, the first that a rank has counts.
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

/// How to interpret a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Meaning {
    /// The value of a field.
    Gauge(Field),
    /// A summand of a field, with its index: one of several queues.
    Part(Field, u8),
    /// The sleep state of the engine, in labels and value.
    SleepState,
    /// The layout of the KV cache, in labels.
    KvCache(KvCacheLabels),
    /// The adapters in use, in labels, and the time of the sample as the value.
    Adapters,
}

/// The labels that describe the KV cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KvCacheLabels {
    pub(super) block_size: &'static str,
    pub(super) blocks: &'static str,
    /// The capacity in tokens. With several kinds of layers, it differs from blocks times block
    /// size.
    pub(super) tokens: Option<&'static str>,
}

/// The maximum number of additional queues of an engine.
pub(super) const MOST_PARTS: usize = 5;

/// The label of the sleep-state metric, and its value for an engine that is awake.
pub(super) const SLEEP_STATE: &str = "sleep_state";
pub(super) const AWAKE: &str = "awake";

/// The labels of the adapter metric.
pub(super) const MAX_LORA: &str = "max_lora";
pub(super) const RUNNING_ADAPTERS: &str = "running_lora_adapters";
pub(super) const WAITING_ADAPTERS: &str = "waiting_lora_adapters";

const VLLM: &[(&str, Meaning)] = &[
    ("vllm:num_requests_waiting", Meaning::Gauge(Field::Waiting)),
    ("vllm:num_requests_running", Meaning::Gauge(Field::Running)),
    ("vllm:kv_cache_usage_perc", Meaning::Gauge(Field::KvUsage)),
    // Before 0.10. Despite its name, it is a share in `[0, 1]`.
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
    // With disaggregated prefill and decode, requests wait in separate queues: for their other
    // half, for space, and for blocks in transfer. SGLang's own load report counts them as queued.
    ("sglang:num_prefill_prealloc_queue_reqs", Meaning::Part(Field::Waiting, 0)),
    ("sglang:num_decode_prealloc_queue_reqs", Meaning::Part(Field::Waiting, 1)),
    ("sglang:num_decode_transfer_queue_reqs", Meaning::Part(Field::Waiting, 2)),
    // Prefilled requests whose blocks are in transfer to the decoder. Older versions have the
    // second spelling.
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
    // Builds since mid-2025 expose neither. Their remaining metrics are counters, not loads.
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
    // Despite its name, a share in `[0, 1]`.
    ("dynamo_component_kvstats_gpu_cache_usage_percent", Meaning::Gauge(Field::KvUsage)),
];

const TRITON: &[(&str, Meaning)] =
    &[("nv_inference_pending_request_count", Meaning::Gauge(Field::Waiting))];
