//! ORCA headers: the formats of vLLM and Triton, and malformed ones.

use proptest::prelude::*;
use slotwise::Load;
use slotwise_wire::ErrorKind;
use slotwise_wire::metrics::OrcaReport;

fn read(header: &str) -> OrcaReport {
    OrcaReport::read(header.as_bytes()).expect("well-formed")
}

fn fails(header: &str) -> (usize, ErrorKind) {
    OrcaReport::read(header.as_bytes())
        .map_err(|error| (error.offset, error.problem))
        .expect_err("malformed")
}

#[test]
fn text_and_json_say_the_same() {
    let load = Load::default().waiting(3).kv_usage(0.5);
    for header in [
        "TEXT named_metrics.kv_cache_usage_perc=0.5, named_metrics.num_requests_waiting=3.0",
        "named_metrics.kv_cache_usage_perc=0.5,named_metrics.num_requests_waiting=3",
        "  text\tnamed_metrics.num_requests_waiting = 3 ,, named_metrics.kv_cache_usage_perc= 0.5,",
        r#"JSON {"named_metrics": {"kv_cache_usage_perc": 0.5, "num_requests_waiting": 3.0}}"#,
        r#"{"namedMetrics":{"num_requests_waiting":3,"kv_cache_usage_perc":"0.5"}}"#,
        r#"json {"named_metrics":{"num_requests_waiting":3,"kv_cache_\u0075sage_perc":5e-1,"num_requests_running":null}} "#,
    ] {
        assert_eq!((read(header).load, read(header).skipped), (load, 0), "{header}");
    }
    for none in ["", " ", "TEXT", "TEXT ", "JSON {}", "{}", "<html lang=\"en\">", "Bad Gateway"] {
        assert_eq!(fails(none).1, ErrorKind::NotMetrics, "{none}");
    }
    for empty in [r#"{"named_metrics":{}}"#, r#"{"named_metrics":null}"#, "named_metrics.other=3"] {
        assert_eq!(fails(empty).1, ErrorKind::NothingKnown, "{empty}");
    }
}

#[test]
fn triton_and_what_else_is_in_a_report() {
    let text = read(
        "TEXT named_metrics.kv_cache_utilization=0.980000, named_metrics.max_token_capacity=1024",
    );
    assert_eq!(text.load, Load::default().kv_usage(0.98));
    assert_eq!(text.kv_cache_tokens.expect("said").get(), 1024);
    let more = read(
        "cpu_utilization=0.3, rps_fractional=10, named_metrics.foo=bar, junk, named_metrics.num_requests_running=2",
    );
    assert_eq!((more.load, more.skipped), (Load::default().running(2), 4));
    let json = read(
        r#"{"cpu_utilization":0.3,"utilization":{"a":[1]},"named_metrics":{"foo":{},"num_requests_running":2}}"#,
    );
    assert_eq!((json.load, json.skipped), (Load::default().running(2), 3));
    // Of two names for one metric, the current one counts.
    for both in [
        "kv_cache_usage_perc=0.5,named_metrics.kv_cache_utilization=0.7",
        "kv_cache_utilization=0.7,named_metrics.kv_cache_usage_perc=0.5",
    ] {
        assert_eq!(read(&format!("named_metrics.{both}")).load.kv_usage, Some(0.5));
    }
}

#[test]
fn numbers_are_cut_to_their_range() {
    for nothing in ["NaN", "inf", "-Infinity", "1e999"] {
        let text = format!("named_metrics.num_requests_waiting={nothing}");
        let json = format!(r#"{{"named_metrics":{{"kv_cache_usage_perc":"{nothing}"}}}}"#);
        assert_eq!(
            (fails(&text).1, fails(&json).1),
            (ErrorKind::NothingKnown, ErrorKind::NothingKnown)
        );
        let beside = format!("{text},named_metrics.num_requests_running=2");
        assert_eq!(read(&beside).load, Load::default().running(2));
    }
    assert_eq!(
        read("named_metrics.num_requests_waiting=-5,named_metrics.kv_cache_usage_perc=7").load,
        Load::default().waiting(0).kv_usage(1.0)
    );
    assert_eq!(read("named_metrics.num_requests_waiting=1e30").load.waiting, Some(u32::MAX));
}

#[test]
fn malformed_headers_are_errors_where_they_are_wrong() {
    for (header, offset, problem) in [
        ("TEXT named_metrics.num_requests_waiting=x", 40, ErrorKind::Expected("a number")),
        ("a=1, named_metrics.num_requests_waiting=", 40, ErrorKind::Expected("a number")),
        ("named_metrics.num_requests_waiting", 34, ErrorKind::Expected("=")),
        (
            "named_metrics.num_requests_waiting=1, named_metrics.num_requests_waiting=1",
            38,
            ErrorKind::Expected("each metric once"),
        ),
        ("BIN CZqZmZmZmbk=", 0, ErrorKind::Unsupported("the binary format of ORCA")),
        ("JSON", 4, ErrorKind::Truncated),
        ("JSON []", 5, ErrorKind::Expected("an object")),
        (r#"JSON {"named_metrics":3}"#, 22, ErrorKind::Expected("an object")),
        (r#"{"named_metrics":{"num_requests_waiting":true}}"#, 41, ErrorKind::Expected("a digit")),
        (
            r#"{"named_metrics":{"num_requests_waiting":"many"}}"#,
            42,
            ErrorKind::Expected("a number"),
        ),
        (
            r#"{"named_metrics":{"num_requests_waiting":1,"num_requests_waiting":1}}"#,
            44,
            ErrorKind::Expected("each metric once"),
        ),
        (r#"{"named_metrics":{},"named_metrics":{}}"#, 21, ErrorKind::Expected("each metric once")),
        ("{} x", 3, ErrorKind::Expected("the end")),
    ] {
        assert_eq!(fails(header), (offset, problem), "{header}");
    }
}

proptest! {
    #[test]
    fn json_reads_what_serde_writes(waiting: u32, running: u32, share in 0.0..1.0) {
        let header = serde_json::json!({"named_metrics": {
            "num_requests_waiting": waiting, "num_requests_running": running, "kv_cache_usage_perc": share,
        }});
        let load = Load::default().waiting(waiting).running(running).kv_usage(share);
        prop_assert_eq!(read(&format!("JSON {header}")).load, load);
        let text = format!("TEXT named_metrics.num_requests_waiting={waiting}, named_metrics.num_requests_running={running}, named_metrics.kv_cache_usage_perc={share}");
        prop_assert_eq!(read(&text).load, load);
        for end in 0..header.to_string().len() {
            prop_assert!(OrcaReport::read(&header.to_string().as_bytes()[..end]).is_err() || end == 0);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Err(error) = OrcaReport::read(&bytes) {
            prop_assert!(error.offset <= bytes.len());
        }
    }
}
