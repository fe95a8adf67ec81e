//! Metrics pages: captured ones, other engines, and malformed ones.

#[path = "support/metrics_twin.rs"]
mod twin;

use proptest::prelude::*;
use slotwise::{Endpoint, Load};
use slotwise_wire::metrics::{Engine, Field, MetricsReader, MetricsReport, Warning};
use slotwise_wire::{ErrorKind, WireError};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/vllm-0.32/", $name))
    };
}

const UNDER_LOAD: &str = fixture!("default/metrics/metrics_under_load.txt");
const PAGES: [&str; 5] = [
    fixture!("default/metrics/metrics_idle.txt"),
    UNDER_LOAD,
    fixture!("default/metrics/metrics_after_load.txt"),
    fixture!("default/metrics/metrics_idle_after_use.txt"),
    fixture!("smallcache_priority_cbor/metrics/metrics_after_overflow.txt"),
];

fn detect(page: &str) -> MetricsReport {
    MetricsReader::detect().read(page.as_bytes()).expect("well-formed")
}

/// Whether the page has no known metric, and its report has the warning.
fn says_nothing(page: &str) -> bool {
    let report = detect(page);
    let only_that = MetricsReport::default();
    report.warnings == [Warning::NothingKnown]
        && (report.ranks, report.adapters) == (only_that.ranks, None)
}

/// The expected result of the twin, for which input without metrics is an empty page.
fn to_the_twin(result: &Result<MetricsReport, WireError>) -> Option<twin::Twin> {
    match result {
        Ok(report) => Some(twin::of_report(report)),
        Err(WireError { problem: ErrorKind::NotMetrics, .. }) => Some(twin::Twin::default()),
        Err(_) => None,
    }
}

fn fails(page: impl AsRef<[u8]>) -> (usize, ErrorKind) {
    MetricsReader::of(Engine::Vllm)
        .read(page.as_ref())
        .map_err(|error| (error.offset, error.problem))
        .expect_err("malformed")
}

fn load(waiting: u32, running: u32, kv_usage: f64) -> Load {
    Load::default().waiting(waiting).running(running).kv_usage(kv_usage)
}

#[test]
fn captured_pages_say_what_was_seen_in_them() {
    let expected = [
        (load(0, 0, 0.0), 512, None),
        (load(16, 8, 0.078_277_886_497_064_57), 512, Some(&["lora-a", "lora-b"][..])),
        (load(0, 0, 0.0), 512, Some(&[])),
        (load(0, 0, 0.0), 512, Some(&[])),
        (load(0, 0, 0.0), 40, Some(&[])),
    ];
    for (page, (load, blocks, adapters)) in PAGES.iter().zip(expected) {
        let report = detect(page);
        assert_eq!(report.engine, Some(Engine::Vllm));
        assert_eq!(report.load(), load.sleeping(false));
        assert_eq!(report.ranks.len(), 1);
        assert_eq!(report.ranks[0].rank, "0");
        assert_eq!(report.kv_cache().blocks, Some(blocks));
        assert_eq!(report.kv_cache().capacity(), Some(blocks * 32));
        assert_eq!(report.adapters.as_ref().map(|adapters| adapters.active()).as_deref(), adapters);
        assert_eq!(
            report.adapters.and_then(|adapters| adapters.slots).map_or(2, |slots| slots.get()),
            2
        );
        assert_eq!(report.skipped_lines, 0);
        assert_eq!(MetricsReader::of(Engine::Vllm).read(page.as_bytes()), Ok(detect(page)));
        let other = MetricsReader::of(Engine::Sglang).read(page.as_bytes()).expect("well-formed");
        assert_eq!((other.load(), other.warnings), (Load::default(), vec![Warning::NothingKnown]));
    }
    let endpoint = detect(UNDER_LOAD).configure(Endpoint::new("a"));
    assert_eq!(
        (endpoint.block_size.get(), endpoint.kv_cache_tokens.expect("said").get()),
        (32, 16_384)
    );
    assert_eq!(endpoint.adapter_slots.expect("said").get(), 2);
    let untouched = Endpoint::new("a").kv_cache_tokens(7);
    assert_eq!(MetricsReport::default().configure(untouched.clone()), untouched);
}

#[test]
fn captured_pages_say_the_same_to_the_twin() {
    for page in PAGES {
        let twin = twin::read(page, Engine::Vllm).expect("well-formed");
        assert_eq!(twin::of_report(&detect(page)), twin);
        assert_eq!(twin::of_report(&detect(&page.replace('\n', "\r\n"))), twin);
    }
}

#[test]
fn a_page_every_tenth_of_a_second() {
    let timeline: serde_json::Value =
        serde_json::from_str(fixture!("default/metrics/gauges_timeline.json")).expect("JSON");
    let mut busiest = 0;
    for sample in timeline.as_array().expect("samples") {
        let mut page = String::new();
        for line in sample["gauges"].as_array().expect("lines") {
            page += line.as_str().expect("a line");
            page.push('\n');
        }
        let report = detect(&page);
        assert_eq!(twin::of_report(&report), twin::read(&page, Engine::Vllm).expect("well-formed"));
        busiest = busiest.max(report.load().waiting.expect("said"));
    }
    assert_eq!(busiest, 16);
}

#[test]
fn old_vllm_says_the_same_in_other_words() {
    let old = "vllm:num_requests_running{model_name=\"m\"} 2.0\nvllm:gpu_cache_usage_perc{model_name=\"m\"} 0.35\n";
    assert_eq!(detect(old).load(), Load::default().running(2).kv_usage(0.35));
    // Some versions expose both: the new name counts, in any order.
    for both in [
        "vllm:gpu_cache_usage_perc 0.25\nvllm:kv_cache_usage_perc 0.5\n",
        "vllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.25\n",
    ] {
        assert_eq!(detect(both).load().kv_usage, Some(0.5));
    }
    // The parts of the queue are not its total.
    assert!(says_nothing("vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 2.0\n"));
}

#[test]
fn ranks_of_one_page_and_their_sum() {
    let page = "\
vllm:num_requests_waiting{engine=\"10\"} 1
vllm:num_requests_waiting{engine=\"2\"} 2
vllm:num_requests_running{engine=\"2\"} 4
vllm:num_requests_running{engine=\"0\"} 8
vllm:kv_cache_usage_perc{engine=\"2\"} 0.5
vllm:kv_cache_usage_perc{engine=\"0\"} 0.9
vllm:cache_config_info{engine=\"2\",block_size=\"16\",num_gpu_blocks=\"100\"} 1
vllm:cache_config_info{engine=\"0\",block_size=\"16\",num_gpu_blocks=\"300\"} 1
";
    let report = detect(page);
    let ranks: Vec<_> = report.ranks.iter().map(|rank| (rank.rank.as_str(), rank.load)).collect();
    let expected = [
        ("0", Load::default().running(8).kv_usage(0.9)),
        ("2", load(2, 4, 0.5)),
        ("10", Load::default().waiting(1)),
    ];
    assert_eq!(ranks, expected);
    // 0.9 of 300 blocks and 0.5 of 100 are 320 of 400.
    assert_eq!((report.load().waiting, report.load().running), (Some(3), Some(12)));
    assert!((report.load().kv_usage.expect("said") - 0.8).abs() < 1e-12);
    assert_eq!(report.kv_cache().capacity(), Some(6_400));

    let plain: String = page
        .lines()
        .filter(|line| !line.contains("config"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!((detect(&plain).load().kv_usage.expect("said") - 0.7).abs() < 1e-12);
    // A cache without a rank counts for each rank.
    let shared =
        format!("{plain}vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"100\"}} 1\n");
    let report = detect(&shared);
    assert_eq!(report.ranks.len(), 3);
    assert_eq!(report.kv_cache().blocks, Some(300));
}

#[test]
fn the_newest_word_on_adapters_counts() {
    let series = |lists: &[(&str, &str, &str)]| -> String {
        let line = |(running, waiting, at): &(&str, &str, &str)| {
            format!(
                "vllm:lora_requests_info{{max_lora=\"4\",running_lora_adapters=\"{running}\",waiting_lora_adapters=\"{waiting}\"}} {at}\n"
            )
        };
        lists.iter().map(line).collect()
    };
    let page = series(&[
        ("old", "", "1.7e9"),
        ("c,a , ,b,a", "d", "1.8e9"),
        ("older", "", "1.6e9"),
        ("nan", "", "NaN"),
    ]);
    let adapters = detect(&page).adapters.expect("said");
    assert_eq!(adapters.running, ["a", "b", "c"]);
    assert_eq!(adapters.waiting, ["d"]);
    assert_eq!(adapters.active(), ["a", "b", "c", "d"]);
    assert_eq!(adapters.slots.expect("said").get(), 4);
    assert_eq!(detect(&page).ranks, []);
    let none =
        "# HELP vllm:lora_requests_info Running stats.\n# TYPE vllm:lora_requests_info gauge\n";
    assert!(says_nothing(none));
    // With ranks, the newest series of each counts.
    let ranked = page.replace("max_lora", "engine=\"1\",max_lora") + &series(&[("z", "", "1.0e9")]);
    assert_eq!(detect(&ranked).adapters.expect("said").running, ["a", "b", "c", "z"]);
}

#[test]
fn sglang() {
    let page = "\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type=\"unified\",model_name=\"m\",dp_rank=\"0\",tp_rank=\"0\"} 162.0
sglang:num_running_reqs{engine_type=\"unified\",model_name=\"m\",dp_rank=\"0\",tp_rank=\"1\"} 162.0
sglang:num_running_reqs{engine_type=\"unified\",model_name=\"m\",dp_rank=\"1\",tp_rank=\"0\"} 40.0
sglang:num_queue_reqs{engine_type=\"unified\",model_name=\"m\",dp_rank=\"0\",tp_rank=\"0\",priority=\"\"} 2826.0
sglang:num_queue_reqs{engine_type=\"unified\",model_name=\"m\",dp_rank=\"0\",tp_rank=\"0\",priority=\"1\"} 26.0
sglang:token_usage{dp_rank=\"0\"} 0.28
sglang:cache_config_info{page_size=\"64\",num_pages=\"1000\"} 1.0
sglang:num_used_tokens{dp_rank=\"1\"} 16000
";
    let report = detect(page);
    assert_eq!(report.engine, Some(Engine::Sglang));
    assert_eq!(report.ranks[0].load, load(2826, 162, 0.28));
    assert_eq!(report.ranks[1].load, Load::default().running(40));
    assert_eq!(report.ranks[1].kv_tokens, Some(16_000));
    assert_eq!(report.load().running, Some(202));
    let endpoint = report.configure(Endpoint::new("a"));
    assert_eq!(
        (endpoint.block_size.get(), endpoint.kv_cache_tokens.expect("said").get()),
        (64, 128_000)
    );
    let newer = "sglang:page_size 64\nsglang:num_pages 1000\nsglang:max_total_num_tokens 63999\n";
    assert_eq!(detect(newer).kv_cache().capacity(), Some(63_999));
    assert_eq!(detect(newer).kv_cache().block_size.expect("said").get(), 64);
}

#[test]
fn tensorrt_llm() {
    let page = "\
trtllm_num_requests_waiting{engine_type=\"trtllm\",model_name=\"m\"} 5
trtllm_num_requests_running{engine_type=\"trtllm\",model_name=\"m\"} 7
trtllm_kv_cache_utilization{engine_type=\"trtllm\",model_name=\"m\"} 0.125
trtllm_kv_cache_tokens_per_block{engine_type=\"trtllm\",model_name=\"m\"} 32
trtllm_kv_cache_max_blocks{engine_type=\"trtllm\",model_name=\"m\"} 6239
";
    let report = detect(page);
    assert_eq!(report.engine, Some(Engine::TensorRtLlm));
    assert_eq!(report.load(), load(5, 7, 0.125));
    assert_eq!(report.kv_cache().capacity(), Some(32 * 6239));
}

#[test]
fn triton() {
    let page = "\
nv_inference_pending_request_count{model=\"preprocessing\",version=\"1\"} 4
nv_inference_pending_request_count{model=\"tensorrt_llm\",version=\"1\"} 3
nv_inference_exec_count{model=\"tensorrt_llm\",version=\"1\"} 99999
";
    let report = detect(page);
    assert_eq!(report.engine, Some(Engine::Triton));
    assert_eq!(report.load(), Load::default().waiting(7));

    let page = page.to_owned()
        + "\
nv_trt_llm_request_metrics{model=\"tensorrt_llm\",request_type=\"waiting\",version=\"1\"} 1
nv_trt_llm_request_metrics{model=\"tensorrt_llm\",request_type=\"scheduled\",version=\"1\"} 2
nv_trt_llm_request_metrics{model=\"tensorrt_llm\",request_type=\"max\",version=\"1\"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\",model=\"tensorrt_llm\",version=\"1\"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\",model=\"tensorrt_llm\",version=\"1\"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"used\",model=\"tensorrt_llm\",version=\"1\"} 1
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\",model=\"tensorrt_llm\",version=\"1\"} 6239
";
    let report = detect(&page);
    assert_eq!(report.engine, Some(Engine::TritonTensorRtLlm));
    assert_eq!(report.load(), load(1, 2, 0.5));
    assert_eq!(report.ranks[0].rank, "tensorrt_llm");
    assert_eq!(report.kv_cache().capacity(), Some(64 * 6239));
    assert_eq!(
        twin::of_report(&report),
        twin::read(&page, Engine::TritonTensorRtLlm).expect("well-formed")
    );
}

#[test]
fn llama_cpp() {
    let page = "\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
llamacpp:requests_deferred 46
llamacpp:kv_cache_usage_ratio 0.25
llamacpp:kv_cache_tokens 2048
llamacpp:predicted_tokens_seconds nan
";
    let report = detect(page);
    assert_eq!(report.engine, Some(Engine::LlamaCpp));
    assert_eq!(report.load(), load(46, 4, 0.25));
    assert_eq!(report.ranks[0].kv_tokens, Some(2048));
}

#[test]
fn metrics_that_were_asked_for() {
    let reader = MetricsReader::of(Engine::Vllm)
        .field(Field::Waiting, "gateway_queue{model=\"a b\",tier=gold}".parse().expect("a metric"))
        .field(Field::Waiting, "gateway_queue_old".parse().expect("a metric"))
        .field(Field::KvCapacity, "kv_tokens_max".parse().expect("a metric"));
    let page = "\
vllm:num_requests_waiting{engine=\"1\"} 100
vllm:num_requests_running{engine=\"1\"} 5
gateway_queue{tier=\"gold\",model=\"a b\",engine=\"1\"} 7
gateway_queue{tier=\"iron\",model=\"a b\",engine=\"1\"} 70
gateway_queue{tier=\"gold\"} 700
gateway_queue_old{engine=\"1\"} 8
gateway_queue_old{engine=\"2\"} 9
kv_tokens_max{engine=\"1\"} 4096
";
    let report = reader.read(page.as_bytes()).expect("well-formed");
    assert_eq!(report.ranks[0].load, Load::default().waiting(7).running(5));
    assert_eq!(report.ranks[0].kv_cache.capacity(), Some(4096));
    assert_eq!(report.ranks[1].load, Load::default().waiting(9));
    assert_eq!(report.engine, Some(Engine::Vllm));

    let custom = MetricsReader::custom()
        .rank_label("shard")
        .adapters("my:lora".parse().expect("a metric"))
        .field(Field::KvTokens, "used".parse().expect("a metric"))
        .field(Field::KvCapacity, "all".parse().expect("a metric"));
    let page = "my:lora{running_lora_adapters=\"x\"} 1\nused{shard=\"a\\\"\\\\\\n\"} 30\nall{shard=\"a\\\"\\\\\\n\"} 40\n";
    let report = custom.read(page.as_bytes()).expect("well-formed");
    assert_eq!((report.engine, report.ranks[0].rank.as_str()), (None, "a\"\\\n"));
    assert_eq!(report.load().kv_usage, Some(0.75));
    assert_eq!(report.adapters.expect("said").running, ["x"]);
    // Together with a detected engine, in any order.
    let both = MetricsReader::detect()
        .field(Field::Waiting, "q".parse().expect("a metric"))
        .rank_label("engine");
    let page = "vllm:lora_requests_info{engine=\"1\",running_lora_adapters=\"x\"} 1\nq{engine=\"1\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n";
    let report = both.read(page.as_bytes()).expect("well-formed");
    assert_eq!(report.ranks.len(), 1);
    assert_eq!(report.load(), Load::default().waiting(3).running(4));
    assert_eq!(report.adapters.expect("said").running, ["x"]);
}

#[test]
fn numbers_are_cut_to_their_range() {
    let value = |text: &str| {
        let page = format!("vllm:num_requests_waiting {text}\nvllm:kv_cache_usage_perc {text}\n");
        let load = detect(&page).load();
        (load.waiting, load.kv_usage)
    };
    for nothing in ["NaN", "nan", "+Inf", "-Inf", "1e999"] {
        assert_eq!(value(nothing), (None, None), "{nothing}");
    }
    assert_eq!(value("-3"), (Some(0), Some(0.0)));
    assert_eq!(value("1e300"), (Some(u32::MAX), Some(1.0)));
    assert_eq!(value("4294967295"), (Some(u32::MAX), Some(1.0)));
    assert_eq!(value("0.5"), (Some(1), Some(0.5)));
    assert_eq!(value("+0.25"), (Some(0), Some(0.25)));
    assert_eq!(detect("vllm:num_requests_waiting NaN\n").engine, Some(Engine::Vllm));
    let two = "vllm:num_requests_running{engine=\"0\"} 4e9\nvllm:num_requests_running{engine=\"1\"} 4e9\n";
    assert_eq!(detect(two).load().running, Some(u32::MAX));
    // Values that are not known yet.
    let early = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1\n";
    assert_eq!(detect(early).kv_cache().capacity(), None);
    assert_eq!(detect(early).kv_cache().block_size.expect("said").get(), 16);
    let huge = "vllm:cache_config_info{block_size=\"99999999999\",num_gpu_blocks=\"18446744073709551615\"} 1\n";
    assert!(
        detect(huge).configure(Endpoint::new("a")).kv_cache_tokens.expect("said").get() == u32::MAX
    );
    let zero = "vllm:cache_config_info{block_size=\"0\",num_gpu_blocks=\"0\"} 1\n";
    assert_eq!(detect(zero).configure(Endpoint::new("a")), Endpoint::new("a"));
}

#[test]
fn whatever_the_formats_allow() {
    for line in [
        "vllm:num_requests_waiting 3 1395066363000",
        "vllm:num_requests_waiting{} 3",
        "vllm:num_requests_waiting {engine=\"0\"} 3.0",
        "  vllm:num_requests_waiting\t{ engine = \"0\" , model = \"}, {\" , }\t3.0\t 1.5e3 \t",
        "vllm:num_requests_waiting{engine=\"0\"}3",
        "vllm:num_requests_waiting{model=\"C:\\\\dir\\nfile \\\"x\\\" # {\"} 3e0 # {trace_id=\"abc\"} 0.67 1.6e9",
        "vllm:num_requests_waiting 3 1.5 # {a=\"b\"} 1",
        "vllm:num_requests_waiting{model=\"für\"} +3",
    ] {
        for end in ["\n", "\r\n", "\n# EOF\n", "\r\n\r\n# EOF", "\n\t\n  # a comment\n"] {
            let page = format!("# TYPE vllm:num_requests_waiting gauge\n\n{line}{end}");
            let report = detect(&page);
            assert_eq!(report.load(), Load::default().waiting(3), "{page}");
            assert_eq!(report.skipped_lines, 0, "{page}");
            assert_eq!(
                twin::of_report(&report),
                twin::read(&page, Engine::Vllm).expect("well-formed"),
                "{page}"
            );
        }
    }
}

#[test]
fn what_nobody_looks_for_is_skipped_and_counted() {
    let page = b"=====\n{\"name\"} 1\nfoo\nfoo{\nfoo{a=\"b\"} \xff\xfe\nfoo{a=\"\xff\"} 1\n<html>\nfoo-bar 1.\n9abc 1\nvllm:num_requests_running 1\nfoo";
    let report =
        MetricsReader::detect().read(page).expect("the one line that counts is well-formed");
    assert_eq!(report.skipped_lines, 8);
    assert_eq!(report.load().running, Some(1));
}

#[test]
fn malformed_lines_are_errors_where_they_are_wrong() {
    let waiting = "vllm:num_requests_waiting";
    let at = waiting.len();
    for (rest, offset, problem) in [
        ("\n", 0, "a number"),
        (" x\n", 1, "a number"),
        (" 1_000\n", 1, "a number"),
        (" 0x10\n", 1, "a number"),
        (" 1 y\n", 3, "a timestamp or the end of the line"),
        (" 1 2 3\n", 5, "an exemplar or the end of the line"),
        ("{engine=\"0\"}\n", 12, "a number"),
        ("{engine=\"0\"\n", 11, "a comma or a closing brace"),
        ("{engine=\"0\" x=\"\"} 1\n", 12, "a comma or a closing brace"),
        ("{engine=\"0} 1\n", 13, "a closing quotation mark"),
        ("{engine=\"\\x\"} 1\n", 10, "an escape"),
        ("{engine=0} 1\n", 8, "a value in quotation marks"),
        ("{engine:\"0\"} 1\n", 7, "="),
        ("{0engine=\"0\"} 1\n", 1, "the name of a label"),
        ("{,} 1\n", 1, "the name of a label"),
        ("{engine=\"0\",engine=\"0\"} 1\n", 20, "each label once"),
    ] {
        let page = format!("{waiting}{rest}");
        assert_eq!(fails(&page), (at + offset, ErrorKind::Expected(problem)), "{page}");
        let later = format!("vllm:num_requests_running 1\n{page}");
        assert_eq!(fails(&later).0, 28 + at + offset, "{page}");
    }
    let block = "vllm:cache_config_info{block_size=\"x\"} 1\n";
    assert_eq!(fails(block), (35, ErrorKind::Expected("an integer")));
    let adapters = b"vllm:lora_requests_info{running_lora_adapters=\"ab\xff\"} 1\n";
    assert_eq!(fails(adapters), (49, ErrorKind::NotUtf8));
    let rank = b"vllm:num_requests_waiting{engine=\"\xff\"} 1\n";
    assert_eq!(fails(rank), (34, ErrorKind::NotUtf8));
    let many = |count| -> String {
        (0..count)
            .map(|rank| format!("vllm:num_requests_running{{engine=\"{rank}\"}} 1\n"))
            .collect()
    };
    assert_eq!(detect(&many(1024)).load().running, Some(1024));
    assert_eq!(fails(many(1025)).1.code(), "out_of_range");
}

#[test]
fn a_page_cut_off_anywhere_says_nothing_false() {
    let whole: String = UNDER_LOAD.lines().filter(|line| line.starts_with("vllm:")).fold(
        String::new(),
        |page, line| {
            let wanted = ["num_requests", "kv_cache_usage", "lora", "cache_config"]
                .iter()
                .any(|name| line.contains(name));
            if wanted { page + line + "\n" } else { page }
        },
    );
    let full = twin::of_report(&detect(&whole));
    let mut errors = 0;
    for end in 0..whole.len() {
        let cut = &whole[..end];
        let result = MetricsReader::of(Engine::Vllm).read(cut.as_bytes());
        assert_eq!(to_the_twin(&result), twin::read(cut, Engine::Vllm), "{end}");
        match result {
            Ok(report) => {
                for (rank, values) in &twin::of_report(&report).ranks {
                    assert!(
                        values
                            .iter()
                            .all(|(field, value)| full.ranks[rank].get(field) == Some(value)),
                        "{end}"
                    );
                }
            }
            // A truncation without any complete line, or before the first known metric.
            Err(WireError { problem: ErrorKind::NotMetrics, .. }) => {}
            Err(error) => {
                assert_eq!((error.offset, error.problem), (end, ErrorKind::Truncated));
                errors += 1;
            }
        }
    }
    assert!(errors > 1000);
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => Just("vllm:num_requests_waiting"),
        3 => Just("vllm:num_requests_running"),
        2 => Just("vllm:kv_cache_usage_perc"),
        1 => Just("vllm:gpu_cache_usage_perc"),
        2 => Just("vllm:cache_config_info"),
        2 => Just("vllm:lora_requests_info"),
        2 => Just("nv_trt_llm_request_metrics"),
        2 => Just("nv_trt_llm_kv_cache_block_metrics"),
        1 => Just("vllm:num_requests_waiting_by_reason"),
        1 => Just("# TYPE"),
    ];
    let value = prop_oneof![
        Just("None".to_string()),
        "[0-9]{1,3}",
        "[ab,]{0,4}",
        r#"(\\n|\\"|\\\\|é|\}){0,3}"#,
        r"\\x"
    ];
    let engine = prop_oneof![4 => "[0-3]", 1 => r#"(\\n|\\"|é){0,2}"#];
    let kind = prop_oneof![
        Just("waiting"),
        Just("scheduled"),
        Just("fraction"),
        Just("tokens_per"),
        Just("max")
    ];
    let labels = (
        proptest::option::of(engine),
        proptest::option::of(value.clone()),
        proptest::option::of(value),
        proptest::option::of(kind),
        proptest::option::weighted(0.1, Just("oops")),
    )
        .prop_map(|(rank, one, two, kind, oops)| {
            let mut text = String::new();
            for (label, value) in [
                ("engine", rank.clone()),
                ("model", rank),
                ("max_lora", one.clone()),
                ("block_size", one),
                ("running_lora_adapters", two.clone()),
                ("waiting_lora_adapters", two.clone()),
                ("num_gpu_blocks", two),
                ("request_type", kind.map(Into::into)),
                ("kv_cache_block_type", kind.map(Into::into)),
            ] {
                if let Some(value) = value {
                    text += &format!("{label}=\"{value}\",");
                }
            }
            format!("{{{text}{}}}", oops.unwrap_or_default())
        });
    let number = prop_oneof![
        6 => (0..200_u32).prop_map(|number| format!("{number}.0")),
        3 => any::<f64>().prop_map(|number| format!("{number:e}")),
        2 => (0.0..1.0).prop_map(|number: f64| number.to_string()),
        1 => Just("NaN".into()),
        1 => Just("+Inf".into()),
        1 => Just("1.2.3".into()),
        1 => Just("5 1700000000 # {a=\"b\"} 1".into()),
    ];
    let end = prop_oneof![8 => Just("\n"), 2 => Just("\r\n"), 1 => Just(" \n")];
    (name, proptest::option::of(labels), number, end).prop_map(|(name, labels, number, end)| {
        format!("{name}{} {number}{end}", labels.unwrap_or_default())
    })
}

proptest! {
    #[test]
    fn the_twin_reads_the_same(lines in prop::collection::vec(line(), 0..6)) {
        let page = lines.concat();
        for engine in [Engine::Vllm, Engine::TritonTensorRtLlm] {
            let result = MetricsReader::of(engine).read(page.as_bytes());
            prop_assert_eq!(to_the_twin(&result), twin::read(&page, engine), "{}", page);
            if let Err(error) = result {
                prop_assert!(error.offset <= page.len());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, at in 0..UNDER_LOAD.len(), byte: u8) {
        let _ = MetricsReader::detect().read(&bytes);
        let mut page = UNDER_LOAD.as_bytes().to_vec();
        page[at] = byte;
        let _ = MetricsReader::detect().read(&page);
    }
}
