//! Reports of load generators are read, and a class that is fitted to them finds their latencies.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slotwise_sim::curve::{at_rate, single_requests};
use slotwise_sim::fit::fit;
use slotwise_sim::measurement::{Measured, read};
use slotwise_sim::plan::{Search, plan};
use slotwise_sim::replica::Class;

fn file(name: &str, report: &Value) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reports-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    fs::write(&path, report.to_string()).expect("a temporary file");
    path
}

const WANTED: Measured = Measured {
    rate: 4.0,
    input: 512.0,
    output: 128.0,
    ttft: [0.05, 0.08, 0.2],
    tpot: [0.02, 0.03, 0.04],
};

fn inference_perf() -> Value {
    let seconds = |[median, p90, p99]: [f64; 3]| json!({"mean": median, "min": median, "max": p99, "median": median, "p90": p90, "p99": p99});
    json!({
        "load_summary": {"count": 400, "requested_rate": 4.0, "achieved_rate": 4.0},
        "successes": {
            "count": 400,
            "latency": {
                "time_to_first_token": seconds(WANTED.ttft),
                "time_per_output_token": seconds(WANTED.tpot),
            },
            "throughput": {"requests_per_sec": 4.0},
            "prompt_len": {"mean": 512.0},
            "output_len": {"mean": 128.0},
        },
        "failures": {"count": 0},
    })
}

fn guidellm() -> Value {
    let mean = |value: f64| json!({"successful": {"mean": value}});
    let milliseconds = |[p50, p90, p99]: [f64; 3]| {
        let percentiles = json!({"p50": p50 * 1e3, "p90": p90 * 1e3, "p99": p99 * 1e3});
        json!({"successful": {"mean": p50 * 1e3, "percentiles": percentiles}})
    };
    json!({"benchmarks": [{"metrics": {
        "requests_per_second": mean(WANTED.rate),
        "prompt_token_count": mean(WANTED.input),
        "output_token_count": mean(WANTED.output),
        "time_to_first_token_ms": milliseconds(WANTED.ttft),
        "inter_token_latency_ms": milliseconds(WANTED.tpot),
    }}]})
}

fn aiperf() -> Value {
    let milliseconds = |[p50, p90, p99]: [f64; 3]| json!({"unit": "ms", "avg": p50 * 1e3, "p50": p50 * 1e3, "p90": p90 * 1e3, "p99": p99 * 1e3});
    json!({
        "schema_version": "1.4",
        "request_throughput": {"unit": "requests/sec", "avg": WANTED.rate},
        "input_sequence_length": {"unit": "tokens", "avg": WANTED.input},
        "output_sequence_length": {"unit": "tokens", "avg": WANTED.output},
        "time_to_first_token": milliseconds(WANTED.ttft),
        "inter_token_latency": milliseconds(WANTED.tpot),
    })
}

#[test]
fn three_tools_report_the_same() {
    for (name, report) in
        [("ip.json", inference_perf()), ("guide.json", guidellm()), ("ai.json", aiperf())]
    {
        let measured = read(&file(name, &report)).unwrap_or_else(|error| panic!("{error:#}"));
        let [one] = measured[..] else { panic!("{name}: {measured:?}") };
        let numbers =
            |one: Measured| [[one.rate, one.input, one.output], one.ttft, one.tpot].concat();
        for (found, wanted) in numbers(one).into_iter().zip(numbers(WANTED)) {
            assert!((found / wanted - 1.0).abs() < 1e-9, "{name}: {one:?}");
        }
    }
}

#[test]
fn errors_name_the_field() {
    let mut broken = guidellm();
    broken["benchmarks"][0]["metrics"]["time_to_first_token_ms"] = Value::Null;
    let mut negative = inference_perf();
    negative["successes"]["prompt_len"]["mean"] = json!(-1.0);
    let mut unit = aiperf();
    unit["inter_token_latency"]["unit"] = json!("fortnights");
    for (report, wanted) in [
        (broken, "benchmarks[0]: metrics.time_to_first_token_ms.successful.percentiles.p50"),
        (negative, "successes.prompt_len.mean is -1.0, expected a positive number"),
        (unit, "inter_token_latency.unit is \"fortnights\", expected ms or sec"),
        (json!({"answer": 42}), "is no report: expected `successes`"),
        (json!({"benchmarks": []}), "has no measurement"),
    ] {
        let error = read(&file("broken.json", &report)).expect_err(wanted);
        assert!(format!("{error:#}").contains(wanted), "{error:#}");
    }
}

/// As guidellm writes `benchmarks.csv`, with two of the columns that nothing here needs.
fn guidellm_csv() -> String {
    let mut columns: Vec<[String; 4]> = Vec::new();
    let mut add = |group: &str, metric: &str, statistic: &str, value: String| {
        columns.push([group.into(), metric.into(), statistic.into(), value]);
    };
    add("Run Info", "Requests", "", "{\"\"kind\"\": \"\"text\"\"}".into());
    for (group, metric, mean) in [
        ("Server Throughput", "Successful Requests/Sec", WANTED.rate),
        ("Token Metrics", "Successful Input Tokens", WANTED.input),
        ("Token Metrics", "Successful Output Tokens", WANTED.output),
        ("Token Metrics", "Errored Output Tokens", 3.0),
    ] {
        add(group, metric, "Mean", mean.to_string());
    }
    for (group, [p50, p90, p99]) in
        [("Time to First Token", WANTED.ttft), ("Inter Token Latency", WANTED.tpot)]
    {
        add(group, "Successful ms", "Median", (p50 * 1e3).to_string());
        let list = [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, p90 * 1e3, p90 * 1e3, p99 * 1e3, 1e6];
        add(group, "Successful ms", "Percentiles", format!("{list:?}"));
    }
    let row = |at: usize| {
        let cells: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column[at])).collect();
        cells.join(",")
    };
    [row(0), row(1), row(2), row(3)].join("\r\n") + "\r\n"
}

/// As aiperf writes `profile_export_aiperf.csv`.
fn aiperf_csv() -> String {
    let times = |[p50, p90, p99]: [f64; 3]| {
        format!("1.00,0.10,\"1,000.00\",{:.2},{:.2},{:.2},0.50", p50 * 1e3, p90 * 1e3, p99 * 1e3)
    };
    let mean = |value: f64| format!("{value:.2},1,2,3,4,5,0.00");
    [
        "Metric,avg,min,max,p50,p90,p99,std".into(),
        format!("Input Sequence Length (tokens),{}", mean(WANTED.input)),
        format!("Inter Token Latency (ms),{}", times(WANTED.tpot)),
        format!("Output Sequence Length (tokens),{}", mean(WANTED.output)),
        format!("Time to First Token (ms),{}", times(WANTED.ttft)),
        String::new(),
        "Metric,Value".into(),
        "Request Count,400".into(),
        format!("Request Throughput (requests/sec),{:.2}", WANTED.rate),
        String::new(),
    ]
    .join("\r\n")
}

fn text_file(name: &str, text: &str) -> PathBuf {
    let path = file(name, &Value::Null);
    fs::write(&path, text).expect("a temporary file");
    path
}

#[test]
fn csv_reports_are_the_same() {
    for (name, report) in [("guide.csv", guidellm_csv()), ("ai.csv", aiperf_csv())] {
        let measured = read(&text_file(name, &report)).unwrap_or_else(|error| panic!("{error:#}"));
        let [one] = measured[..] else { panic!("{name}: {measured:?}") };
        let numbers =
            |one: Measured| [[one.rate, one.input, one.output], one.ttft, one.tpot].concat();
        for (found, wanted) in numbers(one).into_iter().zip(numbers(WANTED)) {
            assert!((found / wanted - 1.0).abs() < 1e-9, "{name}: {one:?}");
        }
    }
    let two_loads = guidellm_csv() + guidellm_csv().lines().last().expect("a row");
    assert_eq!(read(&text_file("two.csv", &two_loads)).expect("valid").len(), 2);
}

#[test]
fn errors_in_csv_name_the_line() {
    let (guide, ai) = (guidellm_csv(), aiperf_csv());
    for (report, wanted) in [
        (String::new(), "line 1: the file is empty"),
        ("a,b\n1,2\n".into(), "line 1: no report: expected `Metric`"),
        (
            ai.replace("Time to First Token", "Other"),
            "no line has the metric \"Time to First Token\"",
        ),
        (
            ai.replace("Latency (ms)", "Latency (days)"),
            "line 3: the unit of Inter Token Latency is",
        ),
        (ai.replace("p90", "p91"), "line 1: no column p90, which Time to First Token needs"),
        (ai.replace(",128.00,", ",-,"), "line 4: avg of Output Sequence Length is \"-\""),
        (
            guide.replace("\"4\"", "\"0\""),
            "line 4: Server Throughput is \"0\", expected a positive",
        ),
        (guide.replace("Successful ms", "ms"), "no column Time to First Token / Successful ms"),
        (guide.replace("[0.1, ", "["), "line 4: Time to First Token is"),
        (guide.lines().take(3).collect::<Vec<_>>().join("\n"), "no row follows the three header"),
    ] {
        let error = read(&text_file("broken.csv", &report)).expect_err(wanted);
        assert!(format!("{error:#}").contains(wanted), "{wanted}: {error:#}");
    }
}

#[test]
fn a_fit_finds_a_class_that_is_slower_than_the_base() {
    let base: Class = "llama-8b-h100".parse().expect("known");
    let slower =
        Class { lin: base.lin * 2.0, attn: base.attn * 2.0, floor: base.floor * 1.5, ..base };
    let measured: Vec<Measured> = [1.0, 4.0]
        .map(|rate| {
            let (input, output) = (1_500.0, 100.0);
            let trace = single_requests(input, output, 0.0, 300);
            let point = at_rate(&trace, slower, 1, rate, 7);
            Measured { rate, input, output, ttft: point.ttft, tpot: point.tpot }
        })
        .into();
    let fit = fit(base, 1, &measured);
    assert!(fit.error < 0.05, "{fit:?}");
    assert!((1.5..2.5).contains(&fit.factors[0]), "{fit:?}");
    assert!((1.1..1.6).contains(&fit.factors[1]), "{fit:?}");
    assert_eq!((fit.class.name, fit.class.kv_tokens), ("measured", base.kv_tokens));
}

#[test]
fn a_plan_keeps_the_level_with_the_fewest_replicas() {
    let classes: Vec<Class> =
        ["llama-8b-h100", "llama-8b-l4"].map(|name| name.parse().expect("known")).into();
    let trace = single_requests(1_000.0, 100.0, 0.3, 200);
    let level = "ttft=1s,tpot=60ms".parse().expect("valid");
    let search = Search { level, rate: 12.0, seeds: 2, most: 16 };
    let rows = plan(&trace, &classes, search, None);
    let replicas = rows[0].replicas.expect("an H100 keeps it");
    assert!(rows[0].ttft_p95_s <= 1.0 && rows[0].tpot_p95_s <= 0.06, "{rows:?}");
    assert!(rows.iter().all(|row| row.cost_per_hour.is_none()), "no prices were given");
    // An L4 reads its weights in more than 60 ms, so that no number of them keeps the level.
    assert_eq!(rows[1].replicas, None, "{rows:?}");
    if replicas > 1 {
        let fewer = plan(&trace, &classes[..1], Search { most: replicas - 1, ..search }, None);
        assert_eq!(fewer[0].replicas, None);
    }
}
