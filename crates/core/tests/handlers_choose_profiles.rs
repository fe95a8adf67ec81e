//! A handler chooses the scheduling profile of a request by a header, or of each of its stages.

use std::collections::BTreeMap;

use slotwise::plugins::{
    DataParallelProfileHandler, DisaggProfileHandler, HandlerPlugin, HeaderProfileHandler,
    KvCacheUtilizationScorer, PdProfileHandler, ProfileConfig, ProfileSetConfig, QueueScorer,
    ScorerPlugin, SingleProfileHandler, WeightedScorer,
};
use slotwise::{
    Config, Decider, Endpoint, EndpointId, Instant, Load, Request, Role, Scheduler, Stage,
};

const NOW: Instant = Instant::ORIGIN;

fn profile(scorer: ScorerPlugin) -> ProfileConfig {
    let mut profile = ProfileConfig::default();
    profile.scorers = vec![WeightedScorer { scorer, weight: 1.0 }];
    profile
}

/// One profile by queue, and one by KV usage.
fn config(handler: HandlerPlugin, [by_queue, by_usage]: [&str; 2]) -> Config {
    let mut profiles = ProfileSetConfig::default();
    profiles.handler = handler;
    profiles.profiles = BTreeMap::from([
        (by_queue.into(), profile(ScorerPlugin::Queue(QueueScorer::default()))),
        (
            by_usage.into(),
            profile(ScorerPlugin::KvCacheUtilization(KvCacheUtilizationScorer::default())),
        ),
    ]);
    profiles.deciders =
        BTreeMap::from([("pd".into(), Decider::AlwaysPd), ("never".into(), Decider::Never)]);
    let mut config = Config::default();
    config.profiles = Some(profiles);
    config
}

/// A pool of this role: the first endpoint has the shorter queue, the second the emptier cache.
fn pair(scheduler: &mut Scheduler, role: Role) -> [EndpointId; 2] {
    [(1, 0.9), (8, 0.1)].map(|(waiting, usage)| {
        let endpoint = Endpoint::new(format!("{role:?}-{waiting}")).role(role);
        let id = scheduler.add_endpoint(NOW, endpoint).expect("a new name");
        let load = Load::default().waiting(waiting).kv_usage(usage);
        scheduler.handle_load(NOW, id, load).expect("in the pool");
        id
    })
}

#[test]
fn a_header_names_the_profile() {
    let handler = HandlerPlugin::Header(HeaderProfileHandler::default());
    let config = config(handler, ["decode", "cache"]);
    let mut scheduler = Scheduler::new(config).expect("valid");
    let [queue, cache] = pair(&mut scheduler, Role::Unified);
    let request = Request::new("m").text("Hello");
    let by = |headers| request.clone().headers(headers);
    for (headers, expected) in [
        (&[][..], Some(queue)),
        (&[("epp-profile", " cache ")], Some(cache)),
        (&[("EPP-Profile", "decode")], Some(queue)),
        (&[("epp-profile", "Cache")], None),
    ] {
        let explained = scheduler.explain(NOW, &by(headers)).verdict.ok();
        let picked = scheduler.pick(NOW, &by(headers)).map(|dispatch| dispatch.endpoint_id);
        assert_eq!((explained, picked.ok()), (expected, expected), "{headers:?}");
    }
}

#[test]
fn each_stage_has_its_profile_and_its_explanation() {
    let mut disagg = DisaggProfileHandler::default();
    disagg.deciders.prefill = "pd".into();
    let mut pd = PdProfileHandler::default();
    pd.decider_plugin_name = "pd".into();
    for handler in [HandlerPlugin::Disagg(disagg), HandlerPlugin::Pd(pd)] {
        let mut scheduler = Scheduler::new(config(handler, ["decode", "prefill"])).expect("valid");
        let [by_queue, _] = pair(&mut scheduler, Role::Decode);
        let [_, by_usage] = pair(&mut scheduler, Role::Prefill);
        let request = Request::new("m").text("Hello");
        let explanation = scheduler.explain(NOW, &request);
        let dispatch = scheduler.pick(NOW, &request).expect("room");
        assert_eq!(dispatch.endpoint_id, by_queue);
        assert_eq!(dispatch.prefill.map(|leg| leg.endpoint_id), Some(by_usage));
        assert_eq!(explanation.verdict, Ok(by_queue));
        assert_eq!(explanation.candidates[0].scores[0].scorer, "queue-scorer");
        let [stage] = &explanation.stages[..] else { panic!("{:?}", explanation.stages) };
        assert_eq!((stage.stage, stage.candidates[0].endpoint_id), (Stage::Prefill, by_usage));
        assert_eq!(stage.candidates[0].scores[0].scorer, "kv-cache-utilization-scorer");
        assert!(stage.runner_up.is_some_and(|it| it.lost > 0.7));
        assert!(explanation.to_string().contains("prefill:"));
    }
}

#[test]
fn a_stage_without_a_profile_has_no_endpoint() {
    let mut disagg = DisaggProfileHandler::default();
    disagg.deciders.prefill = "pd".into();
    let handler = HandlerPlugin::Disagg(disagg);
    let mut scheduler = Scheduler::new(config(handler, ["decode", "other"])).expect("valid");
    let [by_queue, _] = pair(&mut scheduler, Role::Decode);
    pair(&mut scheduler, Role::Prefill);
    let dispatch = scheduler.pick(NOW, &Request::new("m").text("Hello")).expect("room");
    assert_eq!((dispatch.endpoint_id, dispatch.prefill), (by_queue, None));
}

#[test]
fn a_handler_that_lacks_a_profile_or_a_decider_is_rejected() {
    let disagg = |prefill: &str| {
        let mut handler = DisaggProfileHandler::default();
        handler.deciders.prefill = prefill.into();
        HandlerPlugin::Disagg(handler)
    };
    for (handler, names, field) in [
        (HandlerPlugin::Single(SingleProfileHandler::default()), ["a", "b"], "profiles.profiles"),
        (
            HandlerPlugin::DataParallel(DataParallelProfileHandler::default()),
            ["a", "b"],
            "profiles.profiles",
        ),
        (disagg("pd"), ["a", "b"], "profiles.profiles"),
        (disagg("other"), ["decode", "prefill"], "profiles.deciders"),
        (
            HandlerPlugin::Pd(PdProfileHandler::default()),
            ["decode", "prefill"],
            "profiles.deciders",
        ),
    ] {
        let error = Scheduler::new(config(handler, names)).expect_err("rejected");
        assert_eq!(error.field, field);
    }
    let mut both = config(HandlerPlugin::Header(HeaderProfileHandler::default()), ["a", "b"]);
    both.profile = Some(ProfileConfig::default());
    assert_eq!(Scheduler::new(both).expect_err("rejected").field, "profiles");
}
