//! Headers of the inference extension: precedence, unusable values, and outgoing headers.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{Instant, Priority, Request, Seconds};
use slotwise_wire::headers::{Address, Allow, Header, LoadFormat, RequestHeaders, Subset, answer};

fn read<'a>(pairs: &[(&'a str, &'a str)]) -> RequestHeaders<'a> {
    RequestHeaders::read(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// The unusable headers: name, offset and code.
fn reports(headers: &RequestHeaders<'_>) -> Vec<(&'static str, usize, &'static str)> {
    headers.unusable().map(|it| (it.name, it.error.offset, it.error.problem.code())).collect()
}

#[test]
fn every_header_is_read_by_both_of_its_names_in_any_case() {
    for header in Header::ALL {
        for name in [Some(header.name()), header.old_name()].into_iter().flatten() {
            assert_eq!(name, name.to_ascii_lowercase());
            let value = match header {
                Header::Ttl => "250ms",
                Header::LoadFormat => "json",
                _ => "250",
            };
            let name = name.to_ascii_uppercase();
            let it = read(&[(&name, value)]);
            assert_eq!(reports(&it), [], "{header}");
            let quarter = Some(Duration::from_millis(250));
            let is = match header {
                Header::FairnessId => it.fairness_id == Some("250"),
                Header::Objective => it.objective == Some("250"),
                Header::ModelRewrite => it.model_rewrite == Some("250"),
                Header::SloTtft => it.slo_ttft == quarter,
                Header::SloTpot => it.slo_tpot == quarter,
                Header::Ttl => it.ttl == quarter,
                Header::SessionId => it.session_id == Some("250"),
                Header::SessionToken => it.session_token == Some("250"),
                Header::RequestId => it.request_id == Some("250"),
                Header::Subset => it.subset == Some(Subset::new("250")),
                Header::Priority => it.priority == Some(Priority(-250)),
                Header::LoadFormat => it.load_format == Some(LoadFormat::Json),
                _ => false,
            };
            assert!(is, "{name}: {it:?}");
        }
    }
}

#[test]
fn the_new_name_counts_before_the_old_one() {
    let (new, old) = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms");
    for pairs in [[(new, "100"), (old, "200")], [(old, "200"), (new, "100")]] {
        assert_eq!(read(&pairs).slo_ttft, Some(Duration::from_millis(100)));
        assert_eq!(reports(&read(&pairs)), []);
    }
    // An unusable new header is not replaced by the former one.
    let headers = read(&[(new, "soon"), (old, "200")]);
    assert_eq!((headers.slo_ttft, reports(&headers)), (None, vec![(new, 0, "unexpected")]));
    assert_eq!(reports(&read(&[(old, "1 0")])), [(old, 1, "unexpected")]);
}

#[test]
fn a_second_value_that_differs_is_reported() {
    let headers = read(&[("x-session-id", "a"), ("X-Session-Id", "a")]);
    assert_eq!((headers.session_id, reports(&headers)), (Some("a"), vec![]));
    let headers = read(&[("x-session-id", "a"), ("X-Session-Id", "b")]);
    assert_eq!(
        (headers.session_id, reports(&headers)),
        (Some("a"), vec![("x-session-id", 0, "unsupported")])
    );
}

#[test]
fn numbers_are_read_to_the_letter() {
    let slo = |value| {
        let headers = read(&[("x-llm-d-slo-tpot-ms", value)]);
        (headers.slo_tpot.map(|it| it.as_nanos()), reports(&headers).first().map(|it| (it.1, it.2)))
    };
    assert_eq!(slo(" 12.5\t"), (Some(12_500_000), None));
    assert_eq!(slo("0.0000019"), (Some(1), None));
    assert_eq!(slo("99999999999999999999999999"), (Some(u128::from(u64::MAX)), None));
    assert_eq!(slo(""), (None, Some((0, "unexpected"))));
    assert_eq!(slo("  . "), (None, Some((3, "unexpected"))));
    assert_eq!(slo("-1"), (None, Some((0, "unexpected"))));
    assert_eq!(slo("1e3"), (None, Some((1, "unexpected"))));
    assert_eq!(slo("NaN"), (None, Some((0, "unexpected"))));
    assert_eq!(slo(" 0.0"), (None, Some((1, "out_of_range"))));

    let ttl = |value| {
        let headers = read(&[("x-llm-d-inference-ttl", value)]);
        (headers.ttl.map(|it| it.as_nanos()), reports(&headers).first().map(|it| (it.1, it.2)))
    };
    assert_eq!(ttl(" 2s "), (Some(2_000_000_000), None));
    assert_eq!(ttl("1m30.5s"), (Some(90_500_000_000), None));
    assert_eq!(ttl("1h1ms1us1\u{b5}s1\u{3bc}s1ns"), (Some(3_600_001_003_001), None));
    assert_eq!(ttl("2"), (None, Some((1, "unexpected"))));
    assert_eq!(ttl("2s3"), (None, Some((3, "unexpected"))));
    assert_eq!(ttl("s"), (None, Some((0, "unexpected"))));
    assert_eq!(ttl(" "), (None, Some((1, "unexpected"))));
    assert_eq!(ttl("0s"), (None, Some((0, "out_of_range"))));

    let priority = |value| {
        let headers = read(&[("x-vllm-priority", value)]);
        (headers.priority.map(|it| it.0), reports(&headers).first().map(|it| (it.1, it.2)))
    };
    assert_eq!(priority("0"), (Some(0), None));
    assert_eq!(priority("7"), (Some(-7), None));
    assert_eq!(priority(" -7"), (Some(7), None));
    assert_eq!(priority("+7"), (Some(-7), None));
    assert_eq!(priority("2147483647"), (Some(-i32::MAX), None));
    assert_eq!(priority("2147483648"), (Some(i32::MIN), None));
    assert_eq!(priority("-2147483648"), (Some(i32::MAX), None));
    assert_eq!(priority("99999999999999999999999"), (Some(i32::MIN), None));
    assert_eq!(priority("-"), (None, Some((1, "unexpected"))));
    assert_eq!(priority("1.5"), (None, Some((1, "unexpected"))));
}

#[test]
fn names_are_text_without_control_characters() {
    let of = |value: &'static [u8]| {
        let headers = RequestHeaders::read([(b"x-request-id".as_slice(), value)]);
        (headers.request_id, reports(&headers).first().map(|it| (it.1, it.2)))
    };
    assert_eq!(of(b" a b "), (Some("a b"), None));
    assert_eq!(of(b""), (None, None));
    assert_eq!(of("\u{fc}ber".as_bytes()), (Some("\u{fc}ber"), None));
    assert_eq!(of(b" ab\xff"), (None, Some((3, "not_utf8"))));
    assert_eq!(of(b" a\r\nx: y"), (None, Some((2, "unexpected"))));
}

#[test]
fn a_subset_names_hosts_and_ports() {
    let hosts =
        read(&[("x-gateway-destination-endpoint-subset", "10.0.0.1 ,, 10.0.0.2:8000,[::1]:80")]);
    for (endpoint, allowed) in [
        ("http://10.0.0.1:1", true),
        ("10.0.0.1", true),
        ("http://10.0.0.2:8000/v1", true),
        ("http://10.0.0.2:8001", false),
        ("http://10.0.0.2", false),
        ("http://[0:0::1]/", true),
        ("http://[::1]:81", false),
        ("http://10.0.0.3", false),
        ("no address", false),
    ] {
        assert_eq!(hosts.allows(endpoint), allowed, "{endpoint}");
    }
    assert!(read(&[]).allows("no address"));
    assert_eq!(reports(&hosts), []);
    // An invalid restriction never counts as none.
    for (value, report) in
        [("", None), (" , ", None), ("10.0.0.9,http://10.0.0.1", Some(9)), ("a:b", Some(0))]
    {
        let headers = read(&[("x-gateway-destination-endpoint-subset", value)]);
        assert!(!headers.allows("http://10.0.0.1"), "{value}");
        assert_eq!(reports(&headers).first().map(|it| it.1), report, "{value}");
    }
    let bytes =
        [(b"x-gateway-destination-endpoint-subset".as_slice(), b"10.0.0.1,\xff".as_slice())];
    let headers = RequestHeaders::read(bytes);
    assert!(!headers.allows("http://10.0.0.1"));
    assert_eq!(reports(&headers)[0].2, "not_utf8");
}

#[test]
fn what_is_not_said_stays_as_it_was() {
    let now = Instant::from_micros(5);
    let request = Request::new("llama")
        .flow("f")
        .priority(Priority(3))
        .session("s")
        .ttl(Duration::from_secs(9));
    let allow = Allow::everything();
    let same = read(&[("x-other", "1"), ("x-vllm-priority", "one")]).apply_allowed(
        &allow,
        now,
        request.clone(),
    );
    assert_eq!((same.flow, same.priority, same.session), ("f", Priority(3), Some("s")));
    assert_eq!((same.deadline, same.ttl), (None, Some(Duration::from_secs(9))));
    let token = read(&[("x-session-token", "t"), ("x-llm-d-inference-ttl", "1s")]).apply_allowed(
        &allow,
        now,
        request.clone(),
    );
    assert_eq!((token.session, token.ttl), (Some("t"), Some(Duration::from_secs(1))));
    let both = read(&[("x-session-token", "t"), ("x-session-id", "i")])
        .apply_allowed(&allow, now, request);
    assert_eq!((both.session, both.model), (Some("i"), "llama"));
}

#[test]
fn answers_hold_addresses_and_nothing_else() {
    let names = ["http://10.0.0.1:8000", "evil\r\nx-admin: 1", "https://[::1]"];
    assert_eq!(answer::destination(names).expect("addresses").1, "10.0.0.1:8000,[::1]:443");
    assert_eq!(answer::destination(["a b"]), None);
    assert_eq!(
        answer::served("engine-3"),
        Some(("x-gateway-destination-endpoint-served", "engine-3".into()))
    );
    assert_eq!(answer::prefiller("10.0.0.1:1").expect("an address").0, "x-prefiller-host-port");
    assert_eq!(answer::encoders(["a:1", "b:2"]).expect("addresses").1, "a:1,b:2");
    assert_eq!(answer::data_parallel("a:1").expect("an address").0, "x-data-parallel-host-port");
    assert_eq!(answer::kv_source("a:1").expect("an address").0, "x-kv-cache-source-host-port");
    assert_eq!(answer::queue_duration(Duration::from_micros(1_999)).1, "1");
    assert_eq!(answer::scores([("a b", Seconds::ZERO)]), None);
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_nothing_breaks_and_nothing_is_lost(
        headers in proptest::collection::vec((0_usize..14, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..24)), 0..10),
    ) {
        let name = |which: usize, old: bool| match Header::ALL.get(which) {
            Some(header) if old => header.old_name().unwrap_or_else(|| header.name()),
            Some(header) => header.name(),
            None => "x-something-else",
        };
        let pairs: Vec<_> = headers.iter().map(|(which, old, value)| (name(*which, *old).as_bytes(), &value[..])).collect();
        let read = RequestHeaders::read(pairs.iter().copied());
        for report in read.unusable() {
            let sent = pairs.iter().find(|(name, _)| *name == report.name.as_bytes()).map(|(_, value)| value.len());
            prop_assert!(sent.is_some_and(|length| report.error.offset <= length), "{report}");
        }
        // Each present header is used, empty, or reported.
        let said = |header: Header| match header {
            Header::SloTtft => read.slo_ttft.is_some(),
            Header::SloTpot => read.slo_tpot.is_some(),
            Header::Ttl => read.ttl.is_some(),
            Header::Subset => read.subset.is_some(),
            Header::Priority => read.priority.is_some(),
            Header::LoadFormat => read.load_format.is_some(),
            // A blank value counts as missing.
            _ => true,
        };
        for header in Header::ALL {
            let there = headers.iter().any(|(which, _, _)| Header::ALL.get(*which) == Some(&header));
            let reported = read.unusable().any(|it| it.header == header);
            prop_assert!(!there || said(header) || reported, "{header} is lost");
            prop_assert!(there || !reported, "{header} was never there");
        }
        let _ = read.apply(Instant::from_micros(u64::MAX), Request::new(""));
    }

    #[test]
    fn addresses_read_back(name in any::<String>(), host in "[a-z0-9.-]{1,9}", port in any::<Option<u16>>()) {
        if let Some(address) = Address::of(&name) {
            let written = address.to_string();
            let again = Address::of(&written).expect("an address");
            prop_assert_eq!((again.host, again.port), (address.host, address.port));
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        let written = format!("{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default());
        let address = Address::of(&written).expect("an address");
        prop_assert_eq!((address.host, address.port), (&host[..], port));
        prop_assert_eq!(&answer::served(&written).expect("an address").1, &written);
    }
}

#[test]
fn nothing_counts_that_the_host_has_not_allowed() {
    let now = Instant::from_micros(5);
    let pairs = [
        ("x-vllm-priority", "-2000000000"),
        ("x-llm-d-inference-fairness-id", "somebody else"),
        ("x-session-id", "s"),
        ("X-Claude-Code-Session-Id", "c"),
        ("x-llm-d-inference-ttl", "2562047h"),
        ("x-slo-ttft-ms", "1"),
    ];
    let headers = read(&pairs);
    let none = headers.apply(now, Request::new("llama"));
    assert_eq!((none.priority, none.flow, none.session), (Priority(0), "", None));
    assert_eq!((none.ttl, none.deadline), (None, None));

    let allow = Allow::default().priority(-10..=10).ttl(Duration::ZERO..=Duration::from_secs(30));
    let some = headers.apply_allowed(&allow, now, Request::new("llama"));
    assert_eq!((some.priority, some.flow, some.session), (Priority(10), "", None));
    assert_eq!((some.ttl, some.deadline), (Some(Duration::from_secs(30)), None));

    let allow = Allow::default()
        .session_header("x-correlation-id")
        .session_header("x-claude-code-session-id");
    let bytes = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let listed = RequestHeaders::read_allowed(&allow, bytes);
    assert_eq!(listed.apply_allowed(&allow, now, Request::new("llama")).session, Some("c"));
}
