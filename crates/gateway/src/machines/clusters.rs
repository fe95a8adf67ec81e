//! [`Clusters`], with times in seconds.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::{Instant, Seconds};

use super::{Calls, refused};
use crate::clusters::{
    Candidate, Choice, Clusters, ClustersConfig, DryRun, Export, Inquiry, NoCluster, Report,
};
use crate::json::{ArgumentError, number, read};
use crate::tree::Node;

struct ClustersMachine(Clusters);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    config: ClustersConfig,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct InquiryArguments {
    now: Seconds,
    pool: String,
    prompt_tokens: u64,
    session: Option<String>,
    cached_tokens: BTreeMap<String, u64>,
    exclude: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportArguments {
    now: Seconds,
    pool: String,
    cluster: String,
    #[serde(default)]
    report: Report,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportArguments {
    now: Seconds,
    pool: String,
    export: Export,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetConfigArguments {
    now: Seconds,
    config: ClustersConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AtCluster {
    now: Seconds,
    pool: String,
    cluster: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completed {
    now: Seconds,
    pool: String,
    cluster: String,
    duration: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPool {
    pool: String,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Arguments { config } = read(arguments)?;
    Ok(Box::new(ClustersMachine(Clusters::new(config).map_err(invalid)?)))
}

impl Calls for ClustersMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        let clusters = &mut self.0;
        Some(match name {
            "choose" => read(arguments).map(|inquiry| choose(clusters, &inquiry)),
            "explain" => read(arguments).map(|inquiry| explain(clusters, &inquiry)),
            "report" => read(arguments).and_then(|it: ReportArguments| {
                done(clusters.report(at(it.now), &it.pool, &it.cluster, &it.report))
            }),
            "begin" => read(arguments)
                .and_then(|it: AtCluster| done(clusters.begin(at(it.now), &it.pool, &it.cluster))),
            "complete" => read(arguments).and_then(|it: Completed| {
                let duration = it.duration.map(Seconds::to_duration);
                done(clusters.complete(at(it.now), &it.pool, &it.cluster, duration))
            }),
            "fail" => read(arguments)
                .and_then(|it: AtCluster| done(clusters.fail(at(it.now), &it.pool, &it.cluster))),
            "cancel" => read(arguments)
                .and_then(|it: AtCluster| done(clusters.cancel(at(it.now), &it.pool, &it.cluster))),
            "export" => read(arguments).and_then(|it: ExportArguments| {
                done(clusters.export(at(it.now), &it.pool, it.export))
            }),
            "set_config" => read(arguments).and_then(|it: SetConfigArguments| {
                done(clusters.set_config(at(it.now), it.config))
            }),
            "withdraw" => read(arguments).and_then(|it: AtCluster| {
                done(clusters.withdraw(at(it.now), &it.pool, &it.cluster))
            }),
            "drained" => Ok(drained(clusters)),
            "timeout_hint" => read(arguments).map(|it: OfPool| timeout_hint(clusters, &it.pool)),
            "next_timeout" => Ok(json!(clusters.next_timeout().map(seconds))),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &[
            "choose",
            "explain",
            "report",
            "begin",
            "complete",
            "fail",
            "cancel",
            "export",
            "set_config",
            "withdraw",
            "drained",
            "timeout_hint",
            "next_timeout",
        ]
    }
}

fn choose(clusters: &mut Clusters, arguments: &InquiryArguments) -> Value {
    let chosen = with_inquiry(arguments, |inquiry| clusters.choose(at(arguments.now), inquiry));
    chosen.map_or_else(|error| of_no_cluster(&error), |choice| of_choice(&choice))
}

fn explain(clusters: &Clusters, arguments: &InquiryArguments) -> Value {
    let explained = with_inquiry(arguments, |inquiry| clusters.explain(at(arguments.now), inquiry));
    match explained {
        Ok(explanation) => json!({
            "choice": explanation.choice.as_ref().map(of_choice),
            "candidates": explanation.candidates.iter().map(of_candidate).collect::<Vec<_>>(),
        }),
        Err(error) => of_no_cluster(&error),
    }
}

fn with_inquiry<T>(arguments: &InquiryArguments, ask: impl FnOnce(&Inquiry<'_>) -> T) -> T {
    let cached: Vec<_> =
        arguments.cached_tokens.iter().map(|(cluster, tokens)| (&**cluster, *tokens)).collect();
    let exclude: Vec<_> = arguments.exclude.iter().map(|cluster| &**cluster).collect();
    ask(&Inquiry {
        pool: &arguments.pool,
        prompt_tokens: arguments.prompt_tokens,
        session: arguments.session.as_deref(),
        cached_tokens: &cached,
        exclude: &exclude,
    })
}

fn drained(clusters: &mut Clusters) -> Value {
    let drained = core::iter::from_fn(|| clusters.poll_drained());
    drained.map(|drained| json!({"pool": drained.pool, "cluster": drained.cluster})).collect()
}

fn timeout_hint(clusters: &Clusters, pool: &str) -> Value {
    clusters.timeout_hint(pool).map_or(Value::Null, |hint| {
        json!({
            "timeout": hint.timeout,
            "p99": hint.p99,
            "least": hint.least,
            "is_too_short": hint.is_too_short,
        })
    })
}

fn of_choice(choice: &Choice) -> Value {
    json!({
        "cluster": choice.cluster,
        "region": choice.region,
        "reason": choice.reason.as_str(),
        "cost": choice.cost,
        "cached_tokens": choice.cached_tokens,
        "dry_run": choice.dry_run.iter().map(of_dry_run).collect::<Vec<_>>(),
    })
}

fn of_dry_run(dry_run: &DryRun) -> Value {
    json!({
        "metric": dry_run.metric,
        "cluster": dry_run.cluster,
        "reason": dry_run.reason.map(|reason| reason.as_str()),
    })
}

fn of_candidate(candidate: &Candidate) -> Value {
    json!({
        "cluster": candidate.cluster,
        "region": candidate.region,
        "standing": candidate.standing.as_str(),
        "load": number(candidate.load),
        "in_flight": candidate.in_flight,
        "share": candidate.share,
        "network_time": candidate.network_time,
        "wait": candidate.wait,
        "cached_tokens": candidate.cached_tokens,
        "cost": candidate.cost,
    })
}

fn of_no_cluster(error: &NoCluster) -> Value {
    refused(error.code(), error.http_status(), error)
}

fn done<E: Display>(result: Result<(), E>) -> Result<Value, ArgumentError> {
    result.map(|()| Value::Null).map_err(invalid)
}

fn invalid(error: impl Display) -> ArgumentError {
    ArgumentError::new(error.to_string())
}

/// The point that many seconds after the origin; infinity is far in the future.
fn at(now: Seconds) -> Instant {
    Instant::ORIGIN + now.to_duration()
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}
