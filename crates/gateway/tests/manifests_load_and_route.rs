//! Manifests of Kubernetes load, and route as they read.

use slotwise::{Instant, Priority, Request, Rng, Scheduler};
use slotwise_gateway::clusters::{Clusters, Inquiry as ClusterInquiry, Reason, Report};
use slotwise_gateway::config::{self, Loaded};
use slotwise_gateway::routing::{Inquiry, Routing};

/// A pool, an objective, a canary, both policies, and two adapters on one base.
const SEEDS: &str = include_str!("manifests/seeds.yaml");
/// Every plugin type with every parameter.
const PLUGINS: &str = include_str!("manifests/plugins.yaml");

fn load(text: &str) -> Loaded {
    config::read("manifests.yaml", text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problem(text: &str) -> String {
    let problems = config::read("a.yaml", text).expect_err(text);
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_canary_gets_its_tenth() {
    let routing = Routing::new(load(SEEDS).configuration.routing).expect("valid");
    let (mut rng, mut canary) = (Rng::new(11), 0);
    for _ in 0..10_000 {
        let inquiry = Inquiry { model: "chat", path: "/v1/completions", ..Inquiry::default() };
        let route = routing.route(&inquiry, &mut rng).expect("a route");
        canary += usize::from(route.target.pool == "llama-canary");
    }
    // Four standard deviations of a binomial distribution: 120.
    assert!((880..1_120).contains(&canary), "{canary}");
}

#[test]
fn an_objective_has_its_priority_in_its_pool() {
    let routing = Routing::new(load(SEEDS).configuration.routing).expect("valid");
    let mut rng = Rng::new(1);
    let mut priority = |path, objective| {
        let model = "llama-3";
        let inquiry = Inquiry { model, path, objective: Some(objective), ..Inquiry::default() };
        routing.route(&inquiry, &mut rng).expect("a route").priority
    };
    assert_eq!(priority("/lora/v1/completions", "food-review"), Some(Priority(10)));
    assert_eq!(priority("/lora/v1/completions", "batch"), Some(Priority(-1)));
    assert_eq!(priority("/lora/v1/completions", "unknown"), None);
}

#[test]
fn adapters_of_one_base_are_models() {
    let loaded = load(SEEDS);
    let routing = Routing::new(loaded.configuration.routing).expect("valid");
    for model in ["food-review", "cad-fabricator"] {
        let inquiry = Inquiry { model, path: "/lora/v1/completions", ..Inquiry::default() };
        let route = routing.route(&inquiry, &mut Rng::new(1)).expect("a route");
        assert_eq!(route.target.adapter, Some(model));
        assert_eq!((route.target.pool, route.target.base), ("lora", "llama-3"));
    }
    let unknown = Inquiry { model: "gpt", path: "/lora/v1/completions", ..Inquiry::default() };
    let refused = routing.route(&unknown, &mut Rng::new(1)).expect_err("no such model");
    assert_eq!(refused.http_status(), 404);
}

#[test]
fn policies_balance_by_metric_or_by_requests_in_flight() {
    let loaded = load(SEEDS);
    let pools = &loaded.configuration.pools;
    let balancing = &pools["llama"].balancing;
    assert_eq!(balancing.metrics[0].name, "kv-cache");
    assert!((balancing.metrics[0].max_utilization - 0.6).abs() < f64::EPSILON);
    assert!(balancing.metrics[1].dry_run);
    let names = &loaded.configuration.signals["kv-cache"];
    assert_eq!(names[..], ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]);

    assert_eq!(pools["lora"].balancing.max_in_flight_per_endpoint, Some(1_000));
}

#[test]
fn policies_steer_between_clusters() {
    let config = load(SEEDS).configuration.clusters_config(None);
    let mut clusters = Clusters::new(config).expect("valid");
    let now = Instant::ORIGIN;
    let mut choose = |pool: &str, eu_1: Report| {
        clusters.report(now, pool, "us-1", &Report { in_flight: Some(0), ..kv(0.1) }).expect("one");
        clusters.report(now, pool, "eu-1", &eu_1).expect("one");
        let inquiry = ClusterInquiry { pool, ..ClusterInquiry::default() };
        clusters.choose(now, &inquiry).expect("a cluster")
    };
    // By the KV cache, under the older of its names; the queue is in dry run.
    let near = choose("llama", kv(0.59));
    assert_eq!((&*near.region, near.reason), ("eu", Reason::Nearest));
    assert_eq!(near.dry_run[0].metric, "queue");
    let far = choose("llama", kv(0.6));
    assert_eq!((&*far.region, far.reason), ("us", Reason::Spill));
    // By requests in flight, 1,000 on each of two endpoints.
    let in_flight =
        |count| Report { ready_endpoints: Some(2), in_flight: Some(count), ..Report::default() };
    assert_eq!(choose("lora", in_flight(1_999)).reason, Reason::Nearest);
    assert_eq!(choose("lora", in_flight(2_000)).reason, Reason::Spill);
}

/// A report of this KV utilisation, as older versions of vLLM name it.
fn kv(utilization: f64) -> Report {
    let utilization = [("vllm:gpu_cache_usage_perc".to_owned(), utilization)].into();
    Report { utilization, ..Report::default() }
}

#[test]
fn an_endpoint_takes_no_more_than_its_limit() {
    let pool = load(SEEDS).configuration.pools.remove("lora").expect("a pool");
    let mut scheduler = Scheduler::new(pool.scheduler).expect("valid");
    for endpoint in pool.endpoints {
        scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("added");
    }
    let request = Request::new("llama-3").text("Hi");
    let mut taken = 0;
    while scheduler.pick(Instant::ORIGIN, &request).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 1_000);
}

#[test]
fn what_only_kubernetes_can_do_is_reported() {
    let ignored: Vec<_> = load(SEEDS).ignored.iter().map(ToString::to_string).collect();
    for part in [
        "manifests.yaml:3:7: kind: Gateway has no effect; it configures Kubernetes",
        "spec.selector: has no effect; list the endpoints in an own document",
        "spec.endpointPickerRef: has no effect; the gateway picks endpoints itself",
        "metadata.namespace: has no effect; names count without namespaces",
        "spec.default.connectionDraining: has no effect; it configures Google's load balancer",
    ] {
        assert!(ignored.iter().any(|line| line.contains(part)), "{part}\n{ignored:#?}");
    }
}

#[test]
fn what_was_loaded_can_be_printed_and_read_again() {
    for text in [SEEDS, PLUGINS] {
        let configuration = load(text).configuration;
        let printed = configuration.to_yaml();
        let again = config::read("printed.yaml", &printed).expect(&printed).configuration;
        assert_eq!(again.diff(&configuration), [], "{printed}");
    }
}

#[test]
fn every_plugin_is_read_with_its_parameters() {
    let loaded = load(PLUGINS);
    let scheduler = &loaded.configuration.pools["default"].scheduler;
    let profiles = scheduler.profiles.as_ref().expect("several profiles");
    assert_eq!(profiles.handler.name(), "disagg-profile-handler");
    let decode = &profiles.profiles["decode"];
    assert_eq!((decode.filters.len(), decode.scorers.len()), (18, 17));
    assert!((decode.scorers[0].weight - 2.5).abs() < f64::EPSILON);
    assert!((decode.scorers[1].weight - 1.0).abs() < f64::EPSILON);
    assert_eq!(decode.picker.name(), "weighted-random-picker");
    assert_eq!(profiles.deciders.len(), 3);
    let flow = &scheduler.flow;
    assert_eq!(flow.max_bytes, Some(2 << 30));
    assert_eq!(flow.max_requests, Some(10_000));
    assert_eq!((flow.ttl.as_secs(), flow.no_endpoint_ttl.as_secs()), (90, 600));
    assert_eq!(flow.band.max_requests, 500);
    assert_eq!(flow.fairness, slotwise::Fairness::RoundRobin);
    assert_eq!(flow.order, slotwise::QueueOrder::Edf);
}

#[test]
fn a_file_without_plugins_has_the_profile_of_the_reference() {
    let loaded = load("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n");
    let scheduler = &loaded.configuration.pools["default"].scheduler;
    let profile = scheduler.profile.as_ref().expect("a profile");
    let weights: Vec<_> = profile.scorers.iter().map(|it| (it.scorer.name(), it.weight)).collect();
    let expected =
        [("queue-scorer", 2.0), ("kv-cache-utilization-scorer", 2.0), ("prefix-cache-scorer", 3.0)];
    assert_eq!(weights, expected);
}

/// An `EndpointPickerConfig` with these fields.
fn picker(fields: &str) -> String {
    format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n{fields}")
}

/// An `HTTPRoute` to the pool `a` with one rule.
fn route(rule: &str) -> String {
    format!(
        "pools: [{{name: a}}]\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: r}}\nspec:\n  rules:\n  - {rule}\n"
    )
}

#[test]
fn invalid_manifests_have_place_and_remedy() {
    let backend = "backendRefs: [{kind: InferencePool, name: a}]";
    for (text, message) in [
        (
            picker("plugins: [{type: queue-scorrer}]"),
            "a.yaml:3:18: plugins[0].type: unknown plugin type \"queue-scorrer\"; did you mean \
             \"queue-scorer\"?",
        ),
        (
            picker("plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoint: 2}}]"),
            "a.yaml:3:48: plugins[0].parameters: unknown field `maxNumOfEndpoint`, expected \
             `maxNumOfEndpoints`",
        ),
        (
            picker(
                "plugins: [{type: queue-scorer}]\nschedulingProfiles:\n- name: a\n  plugins:\n  - \
                 pluginRef: queue\n",
            ),
            "a.yaml:7:16: schedulingProfiles[0].plugins[0].pluginRef: unknown plugin \"queue\"; \
             known are queue-scorer",
        ),
        (
            picker(
                "plugins: [{type: queue-scorer}]\nschedulingProfiles:\n- name: a\n  plugins:\n  - \
                 {pluginRef: queue-scorer, weight: -1}\n",
            ),
            "a.yaml:7:39: schedulingProfiles[0].plugins[0].weight: must be finite and at least 0",
        ),
        (
            picker("featureGates: [flowControl]\nflowControl: {maxBytes: 1GB}\n"),
            "a.yaml:4:25: flowControl.maxBytes: must be a quantity from 0, such as 500, \"1k\" or \
             \"2Gi\", got \"1GB\"",
        ),
        (
            picker("featureGates: [flowControl]\nflowControl: {defaultRequestTTL: 5}\n"),
            "a.yaml:4:34: flowControl.defaultRequestTTL: must be a duration such as \"60s\" or \
             \"1m30s\", got 5",
        ),
        (
            picker("featureGates: [flowControll]\n"),
            "a.yaml:3:16: featureGates[0]: unknown feature gate \"flowControll\"; did you mean \
             \"flowControl\"?",
        ),
        (
            route("backendRefs: [{kind: InferencePool, name: b}]"),
            "a.yaml:8:47: spec.rules[0].backendRefs[0].name: unknown pool \"b\"; did you mean \
             \"a\"?",
        ),
        (
            route("backendRefs: [{name: a}]"),
            "a.yaml:8:19: spec.rules[0].backendRefs[0].kind: must be InferencePool or \
             InferencePoolImport, got \"Service\"",
        ),
        (
            route(&format!(
                "{{{backend}, matches: [{{path: {{type: RegularExpression, value: a}}}}]}}"
            )),
            "a.yaml:8:77: spec.rules[0].matches[0].path.type: cannot be RegularExpression; list \
             the exact values as several matches",
        ),
        (
            route(&format!("{{{backend}, matches: [{{path: {{value: v1}}}}]}}")),
            "a.yaml:8:5: spec.rules[0]: matches[0].path must begin with '/', got \"v1\"",
        ),
        (
            route("backendRefs: [{kind: InferencePool, name: a, weight: 1000001}]"),
            "a.yaml:8:58: spec.rules[0].backendRefs[0].weight: must lie in [0, 1000000], got \
             1000001",
        ),
        (
            "apiVersion: v2\nkind: InferencePool\nmetadata: {name: a}".into(),
            "a.yaml:1:13: apiVersion: must be inference.networking.k8s.io/v1, got \"v2\"",
        ),
        (
            "apiVersion: v1\nkind: InferencePol\n".into(),
            "a.yaml:2:7: kind: unknown kind \"InferencePol\"; did you mean \"InferencePool\"?",
        ),
        (
            "pools: [{name: a}]\n---\napiVersion: networking.gke.io/v1\nkind: GCPBackendPolicy\n\
             metadata: {name: p}\nspec:\n  targetRef: {name: a}\n  default:\n    customMetrics: \
             [{name: kv, maxUtilizationPercent: 60}]\n    maxInFlightPerEndpoint: 1000\n"
                .into(),
            "a.yaml:9:5: spec.default: must have customMetrics or maxInFlightPerEndpoint, which \
             exclude each other; remove one, or set dryRun of the metrics",
        ),
        (
            "pools: [{name: a, balancing: {metrics: [{name: kv}], max_in_flight_per_endpoint: 9}}]"
                .into(),
            "a.yaml:1:30: pools[0].balancing: must have `metrics` or \
             `max_in_flight_per_endpoint`, which exclude each other; remove one, or set `dry_run` \
             of the metrics",
        ),
    ] {
        assert_eq!(problem(&text), message, "{text}");
    }
}
