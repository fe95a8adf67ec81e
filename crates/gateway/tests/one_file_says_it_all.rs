//! Files become configurations, and are printed, compared and refused.

use slotwise_gateway::config::{self, Configuration};

fn read(text: &str) -> Configuration {
    match config::read("gateway.yaml", text) {
        Ok(loaded) => loaded.configuration,
        Err(problems) => panic!("{problems:?}"),
    }
}

fn problems(text: &str) -> Vec<String> {
    let problems = config::read("gateway.yaml", text).expect_err(text);
    problems.iter().map(ToString::to_string).collect()
}

const TWO_POOLS: &str = "\
gates:
  keys:
  - limits:
      requests_per_minute: 60
    name: alice
    sha256: \"2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90\"
    tenant: red
objectives:
- name: batch
  priority: -5
pin:
  header: x-user
pools:
- adapters:
  - base: llama-3
    name: sql
  endpoints:
  - name: http://10.0.0.1:8000
    role: prefill
  - name: http://10.0.0.2:8000
  fallback: small
  models:
  - llama-3
  name: llama
  scheduler:
    flow:
      max_requests: 500
    max_in_flight: 200
- models:
  - tiny
  name: small
";

#[test]
fn a_printed_file_reads_as_the_same_configuration() {
    let configuration = read(TWO_POOLS);
    assert_eq!(configuration.pools["llama"].scheduler.max_in_flight, 200);
    assert_eq!(read(&configuration.to_yaml()), configuration);
    assert_eq!(configuration.to_yaml(), TWO_POOLS);
}

#[test]
fn a_file_without_pools_describes_one() {
    let short = read("endpoints: [http://a, {name: http://b, models: [x]}]\nmodels: [llama]");
    let long = read(
        "pools: [{name: default, models: [llama], endpoints: [http://a, {name: http://b, models: [x]}]}]",
    );
    assert_eq!(short, long);
    assert_eq!(read("{}").pools.len(), 1);
}

#[test]
fn differences_have_their_paths() {
    let before = read(TWO_POOLS);
    let after = TWO_POOLS.replace("max_in_flight: 200", "max_in_flight: 300");
    let after = read(&after.replace("- models:\n  - tiny\n  name: small", "- name: small"));
    let changes: Vec<_> = before.diff(&after).iter().map(ToString::to_string).collect();
    let expected = [
        "pools[llama].scheduler.max_in_flight: 200 -> 300",
        "pools[small].models: [\"tiny\"] -> default",
    ];
    assert_eq!(changes, expected);
    assert_eq!(before.diff(&before), []);
    let changes = read("endpoints: [a]").diff(&read("endpoints: [a]\nscheduler: {seed: 3}"));
    assert_eq!(changes[0].to_string(), "pools[default].scheduler.seed: default -> 3");
}

#[test]
fn problems_have_place_path_and_what_is_accepted() {
    for (text, message) in [
        ("", "gateway.yaml: is empty; a file has at least one field, such as `endpoints`"),
        (
            "a: 1\n---\nb: 2",
            "gateway.yaml:3:1: must be one document; only Kubernetes kinds may have several",
        ),
        (
            "pools:\n- name: a\n  fallback: b\n",
            "gateway.yaml:3:13: pools[0].fallback: must be 'a', got \"b\"",
        ),
        (
            "endpoints: [a]\nscheduler:\n  kv_limit: 2\n",
            "gateway.yaml:1:1: pools[0].scheduler.kv_limit: must lie in (0, 1]",
        ),
        (
            "pools:\n- name: a\n  scheduler: {flow: {fairness: round_robbin}}\n",
            "gateway.yaml:3:32: pools[0].scheduler.flow.fairness: unknown value \"round_robbin\"; \
             did you mean \"round_robin\"?",
        ),
        (
            "pools:\n- name: a\n  endpoints: [x, x]\n",
            "gateway.yaml:3:18: pools[0].endpoints[1]: endpoint 0 already has that name",
        ),
        (
            "gates: {keys: [{name: a, sha256: abc}]}",
            "gateway.yaml:1:34: gates.keys[0].sha256: must be a SHA-256 digest: 64 \
             hexadecimal digits",
        ),
        (
            "pools: [{name: a}]\nendpoints: [b]",
            "gateway.yaml:1:8: pools: must be absent, or hold the file's models, adapters, \
             endpoints and scheduler",
        ),
    ] {
        let found = problems(text);
        assert!(found.contains(&message.to_owned()), "{text}\n{found:#?}");
    }
}

/// Pieces of files, which a test joins in any order.
const PIECES: [&str; 28] = [
    "apiVersion: llm-d.ai/v1alpha1\n",
    "apiVersion: gateway.networking.k8s.io/v1\n",
    "kind: EndpointPickerConfig\n",
    "kind: HTTPRoute\n",
    "kind: InferencePool\n",
    "metadata: {name: a}\n",
    "plugins: [{type: queue-scorer}, {type: \"max-score-picker\"}]\n",
    "plugins:\n- type: priority-holdback-policy\n  parameters: 3\n",
    "schedulingProfiles: [{name: x, plugins: [{pluginRef: queue-scorer, weight: 1e308}]}]\n",
    "featureGates: [flowControl]\n",
    "flowControl: {maxBytes: 9e99, defaultRequestTTL: 99999999h}\n",
    "saturationDetector: {pluginRef: utilization-detector}\n",
    "spec: {rules: [{backendRefs: [{kind: InferencePool, name: a}], matches: [{}]}]}\n",
    "spec: {selector: {matchLabels: {}}, targetPorts: [{number: 1}]}\n",
    "spec:\n",
    "---\n",
    "...\n",
    "pools: [{name: a}]\n",
    "endpoints: [a, b]\n",
    "scheduler: {profile: {scorers: []}}\n",
    "pin: {header: x}\n",
    "- [{\n",
    "? &a *b\n",
    "\t: !!x |\n",
    "'\u{0}\u{feff}é\n",
    "rules: [{name: \"\\u0000\"}]\n",
    "signals: {a: [b]}\n",
    "balancing: {max_in_flight_per_endpoint: 0}\n",
];

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = config::read("any.yaml", &text);
    }

    #[test]
    fn any_pieces_are_read_and_printed_or_refused(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12),
    ) {
        if let Ok(loaded) = config::read("any.yaml", &pieces.concat()) {
            let printed = loaded.configuration.to_yaml();
            let again = config::read("printed.yaml", &printed).expect("as it was printed");
            proptest::prop_assert_eq!(again.configuration.diff(&loaded.configuration), []);
        }
    }
}
