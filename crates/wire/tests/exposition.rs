//! The OpenMetrics text against a strict reader, a naive twin, the manual and the dashboard.

mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    Endpoint, EndpointStats, Instant, Priority, Request, Scheduler, SessionAdmissionConfig, Stats,
};
use slotwise_wire::exposition::{Exposition, Family};
use slotwise_wire::outcome::Reason;

const DASHBOARD: &str = include_str!("../../../docs/grafana/slotwise.json");
const BOOK: &str = include_str!("../../../docs/src/observability.md");

/// Statistics of a scheduler with two endpoints and session admission, with most counters above
/// zero.
fn stats() -> Stats {
    let mut scheduler = Scheduler::builder()
        .with(|config| {
            config.flow.session_admission = Some(SessionAdmissionConfig::default());
        })
        .build()
        .expect("a good configuration");
    let now = Instant::ORIGIN;
    scheduler.pick(now, &Request::new("llama")).expect_err("no endpoints yet");
    for priority in [0, 7, 0, 0] {
        let request = Request::new("llama").tokens(&[7; 10]).priority(Priority(priority));
        scheduler.submit(now, &request).expect("it may wait");
    }
    for name in ["http://10.0.0.1:8000", "http://10.0.0.2:8000"] {
        scheduler.add_endpoint(now, Endpoint::new(name)).expect("a new name");
    }
    let mut last = None;
    for _ in 0..3 {
        let dispatch = scheduler.pick(now, &Request::new("llama").tokens(&[7; 64])).expect("room");
        assert!(dispatch.prompt_tokens == 64);
        last = Some(dispatch.request_id);
    }
    let last = last.expect("dispatched");
    scheduler.handle_first_token(now + Duration::from_millis(300), last).expect("in flight");
    let mut stats = scheduler.stats();
    stats.endpoints[0].report_age = Some(Duration::from_millis(1_500));
    stats
}

fn render(exposition: &Exposition, stats: &Stats) -> String {
    let mut text = String::from("what was there before");
    exposition.render(stats, &mut text);
    text
}

fn read(text: &str) -> Vec<openmetrics::Family> {
    openmetrics::read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_scheduler_reads_as_this_text() {
    let text = render(&Exposition::new(), &stats());
    for part in [
        "# TYPE slotwise_dispatched_requests counter\n# UNIT slotwise_dispatched_requests requests\n\
         # HELP slotwise_dispatched_requests Requests sent to an endpoint.\nslotwise_dispatched_requests_total 3\n",
        "slotwise_rejected_requests_total{reason=\"no_endpoints\"} 1\n",
        "slotwise_rejected_requests_total{reason=\"queue_full\"} 0\n",
        "slotwise_endpoints{state=\"active\"} 2\n",
        "slotwise_band_queued_requests{priority=\"7\"} 1\nslotwise_band_queued_requests{priority=\"0\"} 3\n",
        "slotwise_band_queued_bytes{priority=\"7\"} 45\n",
        "slotwise_prompt_tokens_total 192\n",
        "slotwise_endpoint_kv_cache_tokens{endpoint_name=\"http://10.0.0.2:8000\"}",
        "slotwise_session_admission_share_ratio 0.8\n",
        "# TYPE slotwise_queue_time_seconds histogram\n",
        "slotwise_queue_time_seconds_bucket{le=\"0.001\"} 3\n",
        "slotwise_queue_time_seconds_bucket{le=\"+Inf\"} 3\nslotwise_queue_time_seconds_sum 0.0\n\
         slotwise_queue_time_seconds_count 3\n",
        "slotwise_time_to_first_token_seconds_bucket{le=\"0.25\"} 0\n",
        "slotwise_time_to_first_token_seconds_bucket{le=\"0.5\"} 1\n",
        "slotwise_time_to_first_token_seconds_sum 0.3\n",
        "slotwise_endpoint_report_age_seconds{endpoint_name=\"http://10.0.0.1:8000\"} 1.5\n# TYPE",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn the_text_has_the_families_that_are_listed() {
    let own: Vec<Family> = Exposition::families().collect();
    let reference: Vec<Family> = Exposition::reference_families().collect();
    let exposition = Exposition::new();
    for (exposition, families) in [
        (exposition.clone(), own.clone()),
        (exposition.reference_names("pool"), [own, reference].concat()),
    ] {
        let read = read(&render(&exposition, &stats()));
        assert_eq!(read.len(), families.len());
        for (read, family) in read.iter().zip(families) {
            assert_eq!(
                (read.name.as_str(), read.kind.as_str(), read.unit.as_deref(), read.help.as_str()),
                (family.name, family.kind.as_str(), family.unit, family.help)
            );
            for sample in &read.samples {
                assert!(sample.name.starts_with(&family.sample_name()), "{}", sample.name);
                let labels = sample.labels.iter().map(|(name, _)| name.as_str());
                assert_eq!(labels.filter(|name| *name != "le").collect::<Vec<_>>(), family.labels);
            }
        }
    }
}

#[test]
fn the_reference_names_say_what_the_reference_would() {
    let mut stats = stats();
    stats.queued = 4;
    stats.endpoints[0].prefilling = 3;
    stats.endpoints[1].prefilling = 1;
    stats.endpoints[0].external_waiting = 0.0;
    stats.endpoints[1].external_waiting = 0.0;
    (stats.pool.queue_size.mean, stats.pool.queue_size.std_dev) = (2.0, 1.0);
    (stats.pool.ready_endpoints, stats.pool.saturation) = (1, 0.75);
    stats.endpoints[1].draining = true;
    for (count, reason) in Reason::all().enumerate() {
        match reason {
            Reason::Rejected(reason) => stats.rejected.insert(reason, 1 << count),
            Reason::Evicted(reason) => stats.evicted.insert(reason, 1 << count),
            _ => None,
        };
    }
    let text = render(&Exposition::new().reference_names("llama"), &stats);
    for line in [
        "llm_d_epp_request_total 32770",
        "llm_d_epp_average_queue_size{name=\"llama\"} 2.0",
        "llm_d_epp_std_dev_queue_size{name=\"llama\"} 1.0",
        "llm_d_epp_ready_endpoints{name=\"llama\"} 1",
        "llm_d_epp_flow_control_pool_saturation{inference_pool=\"llama\",stage=\"effective\"} 0.75",
        "llm_d_epp_per_endpoint_queue_size{name=\"llama\",model_server_endpoint=\"http://10.0.0.1:8000\"} 3.0",
        "llm_d_epp_flow_control_queue_size{priority=\"7\",inference_pool=\"llama\"} 1",
        "llm_d_epp_flow_control_queue_size{priority=\"0\",inference_pool=\"llama\"} 3",
        "llm_d_epp_flow_control_requests_total{outcome=\"Dispatched\",inference_pool=\"llama\"} 3",
        // deadline_unreachable, saturated, shed and queue_full
        "llm_d_epp_flow_control_requests_total{outcome=\"RejectedCapacity\",inference_pool=\"llama\"} 120",
        // ttl_expired and deadline_unreachable
        "llm_d_epp_flow_control_requests_total{outcome=\"EvictedTTL\",inference_pool=\"llama\"} 2560",
        "llm_d_epp_flow_control_requests_total{outcome=\"EvictedNoEndpoints\",inference_pool=\"llama\"} 1024",
        // no_endpoints, of both kinds
        "llm_d_epp_request_error_total{error_code=\"ServiceUnavailable\"} 1025",
        "llm_d_epp_scheduler_attempts_total{status=\"failure\",endpoint_name=\"\",port=\"\"} 32767",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(
        text.contains("{status=\"success\",endpoint_name=\"http://10.0.0.1:8000\",port=\"8000\"}"),
        "{text}"
    );
    let errors: f64 = read(&text)
        .iter()
        .find(|family| family.name == "llm_d_epp_request_error")
        .expect("errors")
        .samples
        .iter()
        .map(|sample| sample.value)
        .sum();
    assert!((errors - 32767.0).abs() < 0.5, "every reason has an error code: {errors}");
}

#[test]
fn a_writer_that_fails_is_heard() {
    struct Full(usize);
    impl Write for Full {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(std::fmt::Error)?;
            Ok(())
        }
    }
    let exposition = Exposition::new().reference_names("pool");
    let stats = stats();
    let length = render(&exposition, &stats).len();
    assert!(exposition.write(&stats, &mut Full(length)).is_ok());
    for room in (0..length).step_by(97) {
        assert!(exposition.write(&stats, &mut Full(room)).is_err());
    }
}

#[test]
fn the_reader_is_strict() {
    let good = "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds x\na_seconds{l=\"\\\\\\\"\\n\"} 1e-7\n";
    read(&format!("{good}# EOF\n"));
    let counter = "# TYPE c counter\n# HELP c x\n";
    for bad in [
        good.to_owned(),
        format!("{good}# EOF"),
        format!("{good}# EOF\n\n"),
        format!("{good}\n# EOF\n"),
        format!("{good}{counter}c_total 1\n{good}# EOF\n"),
        format!("{good}a_seconds 1\n# EOF\n"),
        format!("{good}a_seconds{{l=\"\\\\\\\"\\n\"}} 2\n# EOF\n"),
        format!("{good}a_seconds{{l=\"\\t\"}} 2\n# EOF\n"),
        format!("{good}a_seconds{{l=\"open}} 2\n# EOF\n"),
        format!("{good}# UNIT a_seconds seconds\n# EOF\n"),
        "# TYPE a gauge\n# UNIT a seconds\n# HELP a x\n# EOF\n".to_owned(),
        "# HELP a x\na 1\n# TYPE a gauge\n# EOF\n".to_owned(),
        "a 1\n# EOF\n".to_owned(),
        format!("{counter}c 1\n# EOF\n"),
        format!("{counter}c_total -1\n# EOF\n"),
        format!("{counter}c_total NaN\n# EOF\n"),
        format!("{counter}c_total inf\n# EOF\n"),
        format!("{counter}c_total 1 \n# EOF\n"),
        format!("{counter}c_total{{1=\"\"}} 1\n# EOF\n"),
        format!("{counter}c_total{{a=\"\",a=\"b\"}} 1\n# EOF\n"),
        format!("{counter}# TYPE c_total gauge\n# HELP c_total x\n# EOF\n"),
    ] {
        assert!(openmetrics::read(&bad).is_err(), "accepted: {bad}");
    }
}

/// The names in a query, without its strings, functions and numbers.
fn words(query: &str) -> Vec<String> {
    let outside: String = query.split('"').step_by(2).collect();
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    outside.split(|char| !is_name(char)).filter(|word| !word.is_empty()).map(String::from).collect()
}

fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text)
                        if ["expr", "query", "definition", "legendFormat"]
                            .contains(&key.as_str()) =>
                    {
                        found.push(text.into());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_is_written() {
    let dashboard = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let text = render(&Exposition::new(), &stats());
    let families = read(&text);
    let mut labels: BTreeSet<&str> = ["instance", "job"].into();
    let mut names = BTreeSet::new();
    for sample in families.iter().flat_map(|family| &family.samples) {
        names.insert(sample.name.as_str());
        labels.extend(sample.labels.iter().map(|(name, _)| name.as_str()));
    }
    let (mut asked, mut by) = (0, 0);
    for expression in &found {
        for word in words(expression).iter().filter(|word| word.starts_with("slotwise_")) {
            assert!(names.contains(word.as_str()), "{word} in {expression}");
            asked += 1;
        }
        let groups = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
        let legends = expression.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        for label in groups.chain(legends).flat_map(|group| group.split(',')) {
            assert!(labels.contains(label.trim()), "{label} in {expression}");
            by += 1;
        }
    }
    assert!(asked > 30 && by > 20, "the dashboard asks for {asked} names by {by} labels");
}

/// The entry of a family in the manual, on one line.
fn entry(family: &Family) -> String {
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    let by = if labels.is_empty() { String::new() } else { format!(", by {}", labels.join(", ")) };
    let (name, kind, help) = (family.sample_name(), family.kind.as_str(), family.help);
    format!("- `{name}` ({kind}{by}): {help}")
}

#[test]
fn the_book_lists_every_family() {
    let book = BOOK.split_whitespace().collect::<Vec<_>>().join(" ");
    for family in Exposition::families().chain(Exposition::reference_families()) {
        let entry = entry(&family);
        assert!(book.contains(&entry), "this entry is missing:\n{entry}");
    }
    let listed = BOOK
        .lines()
        .filter(|line| line.starts_with("- `slotwise_") || line.starts_with("- `llm_d_epp_"))
        // Those of hosts and of their links.
        .filter(|line| !line.starts_with("- `slotwise_gateway_"));
    let counted = Exposition::families().count() + Exposition::reference_families().count();
    assert_eq!(listed.count(), counted, "the book lists families that are not written");
}

/// An endpoint with any name and any numbers.
#[derive(Clone, Debug)]
struct AnyEndpoint {
    name: String,
    whole: [u64; 4],
    small: [u32; 3],
    real: [f64; 4],
    age: Option<u64>,
    flag: bool,
}

impl AnyEndpoint {
    fn strategy() -> impl Strategy<Value = Self> {
        let name = prop_oneof![
            Just("other".to_owned()),
            Just(String::new()),
            "[\\\\\"\n\r#{}= ]{0,6}",
            any::<String>(),
            "http://10[.]0[.]0[.][0-9]{1,3}:[0-9]{1,6}",
        ];
        let numbers =
            (any::<[u64; 4]>(), any::<[u32; 3]>(), any::<[f64; 4]>(), any::<Option<u64>>());
        (name, numbers, any::<bool>()).prop_map(|(name, (whole, small, real, age), flag)| Self {
            name,
            whole,
            small,
            real,
            age,
            flag,
        })
    }

    fn put(&self, endpoint: &mut EndpointStats) {
        endpoint.name.clone_from(&self.name);
        [endpoint.dispatched, endpoint.failed, endpoint.kv_tokens, endpoint.warm_tokens] =
            self.whole;
        [endpoint.prefilling, endpoint.running, endpoint.kv_cache_tokens] = self.small;
        [endpoint.external_waiting, endpoint.external_running, endpoint.slowdown, _] = self.real;
        endpoint.wait = self.real[3].into();
        endpoint.report_age = self.age.map(Duration::from_nanos);
        endpoint.draining = self.flag;
    }
}

/// The values of one family by endpoint.
fn by_endpoint(families: &[openmetrics::Family], name: &str) -> BTreeMap<String, f64> {
    let family = families.iter().find(|family| family.name == name).expect("a family");
    let label =
        |sample: &openmetrics::Sample| sample.label("endpoint_name").expect("a label").to_owned();
    family.samples.iter().map(|sample| (label(sample), sample.value)).collect()
}

proptest! {
    #[test]
    fn whatever_endpoints_are_called_the_text_can_be_read(
        endpoints in proptest::collection::vec(AnyEndpoint::strategy(), 0..12),
        limit in 0_usize..14,
        pool in any::<String>(),
        reuse in any::<f64>(),
    ) {
        let mut stats = stats();
        let template = stats.endpoints[0].clone();
        stats.reuse_probability = reuse;
        stats.endpoints.clear();
        let mut names = BTreeSet::new();
        for any in endpoints {
            // Names are unique in a pool.
            if names.insert(any.name.clone()) {
                let mut endpoint = template.clone();
                any.put(&mut endpoint);
                stats.endpoints.push(endpoint);
            }
        }
        let text = render(&Exposition::new().endpoint_limit(limit).reference_names(pool.clone()), &stats);
        let families = openmetrics::read(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;

        // The naive twin.
        let mut dispatched: BTreeMap<String, u64> = BTreeMap::new();
        let mut oldest: BTreeMap<String, f64> = BTreeMap::new();
        let crowded = stats.endpoints.len() > limit;
        for (at, endpoint) in stats.endpoints.iter().enumerate() {
            let name = if crowded && at >= limit { "other" } else { &endpoint.name };
            let count = dispatched.entry(name.to_owned()).or_default();
            *count = count.saturating_add(endpoint.dispatched);
            if let Some(age) = endpoint.report_age {
                let oldest = oldest.entry(name.to_owned()).or_default();
                *oldest = oldest.max(age.as_secs_f64());
            }
        }
        let dispatched: BTreeMap<String, f64> =
            dispatched.into_iter().map(|(name, count)| (name, count as f64)).collect();
        prop_assert_eq!(by_endpoint(&families, "slotwise_endpoint_dispatched_requests"), dispatched);
        prop_assert_eq!(by_endpoint(&families, "slotwise_endpoint_report_age_seconds"), oldest);

        // The labels of all families together are bounded by the limit.
        for family in &families {
            let most = (limit + 2).max(Reason::all().count()).max(25);
            prop_assert!(family.samples.len() <= most, "{}", family.name);
        }
        if let Some(sample) = families.iter().find(|it| it.name == "llm_d_epp_ready_endpoints") {
            prop_assert_eq!(sample.samples[0].label("name"), Some(pool.as_str()));
        }
    }
}
