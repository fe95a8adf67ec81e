//! Scorers, filters, pickers, admitters and whole profiles.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::plugins::{
    self, EndpointExplanation, EndpointFacts, FilterPlugin, HandlerPlugin, LatencySloAdmitter,
    PickerPlugin, ProbabilisticAdmitter, ProfileConfig, ProfileSet, ProfileSetConfig, RequestFacts,
    SchedulingProfile, ScoreExplanation, ScorerPlugin,
};
use slotwise::{Decider, Rng};

use super::of_plugin;
use crate::json::{ArgumentError, Bits, number, numbers, read};
use crate::names::UnknownName;
use crate::tree::{self, Node, Reader};

/// The arguments of a plugin by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    parameters: Node,
    #[serde(default)]
    endpoints: Vec<EndpointFacts>,
    #[serde(default)]
    request: Option<RequestFacts>,
    #[serde(default)]
    seed: Bits,
}

/// The raw scores of the endpoints.
pub(super) fn score(arguments: &Node) -> Result<Value, ArgumentError> {
    let Plugin { name, parameters, endpoints, request, .. } = read(arguments)?;
    let plugin =
        ScorerPlugin::from_name(&name, Reader::of_host(&parameters)).map_err(of_plugin(&name))?;
    let request = request.unwrap_or_default();
    Ok(numbers(plugins::score(plugin.as_plugin(), &request, &endpoints)))
}

/// The places of the endpoints that a filter keeps.
pub(super) fn filter(arguments: &Node) -> Result<Value, ArgumentError> {
    let Plugin { name, parameters, endpoints, request, seed } = read(arguments)?;
    let plugin =
        FilterPlugin::from_name(&name, Reader::of_host(&parameters)).map_err(of_plugin(&name))?;
    let request = request.unwrap_or_default();
    Ok(plugins::filter(plugin.as_plugin(), &request, &endpoints, seed.0).into())
}

/// The places that a picker selects from scores, best first.
pub(super) fn pick(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        name: String,
        #[serde(default)]
        parameters: Node,
        scores: Vec<f64>,
        #[serde(default)]
        seed: Bits,
    }
    let Arguments { name, parameters, scores, seed } = read(arguments)?;
    let plugin =
        PickerPlugin::from_name(&name, Reader::of_host(&parameters)).map_err(of_plugin(&name))?;
    Ok(plugins::pick(plugin.as_plugin(), &scores, seed.0).into())
}

/// The arguments of a whole profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    profile: ProfileConfig,
    endpoints: Vec<EndpointFacts>,
    #[serde(default)]
    request: Option<RequestFacts>,
    #[serde(default)]
    seed: Bits,
}

/// The places that a whole profile selects, best first.
pub(super) fn select(arguments: &Node) -> Result<Value, ArgumentError> {
    let Profile { profile, endpoints, request, seed } = read(arguments)?;
    let request = request.unwrap_or_default();
    Ok(SchedulingProfile::from(profile).select(&request, &endpoints, seed.0).picked.into())
}

/// What a whole profile selects, and why.
pub(super) fn explain(arguments: &Node) -> Result<Value, ArgumentError> {
    let Profile { profile, endpoints, request, seed } = read(arguments)?;
    let request = request.unwrap_or_default();
    let profile = SchedulingProfile::from(profile);
    let explanation = profile.explain(&request, &endpoints, seed.0);
    let endpoint = |it: &EndpointExplanation| {
        let score = |it: &ScoreExplanation| {
            json!({
                "scorer": it.scorer,
                "weight": number(it.weight),
                "raw": number(it.raw),
                "weighted": number(it.weighted),
            })
        };
        json!({
            "dropped_by": it.dropped_by,
            "scores": it.scores.iter().map(score).collect::<Value>(),
            "total": number(it.total),
            "rank": it.rank,
        })
    };
    let runner_up = explanation.runner_up.map(|it| {
        json!({
            "place": it.place,
            "behind": number(it.behind),
            "lost_most_in": it.lost_most_in,
            "lost": number(it.lost),
        })
    });
    Ok(json!({
        "endpoints": explanation.endpoints.iter().map(endpoint).collect::<Value>(),
        "picker": explanation.picker,
        "picked": explanation.picked,
        "runner_up": runner_up,
    }))
}

/// The endpoints of each profile that a handler runs.
pub(super) fn schedule(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        name: String,
        #[serde(default)]
        parameters: Node,
        profiles: Node,
        #[serde(default)]
        deciders: Node,
        endpoints: Vec<EndpointFacts>,
        #[serde(default)]
        request: Option<RequestFacts>,
        #[serde(default)]
        seed: Bits,
    }
    let Arguments { name, parameters, profiles, deciders, endpoints, request, seed } =
        read(arguments)?;
    let deciders = if deciders == Node::default() { Node::map([]) } else { deciders };
    let kind = tree::Value::Text(name.clone()).into();
    let config = Node::map([
        ("handler", Node::map([("type", kind), ("parameters", parameters)])),
        ("profiles", profiles),
        ("deciders", deciders),
    ]);
    let config: ProfileSetConfig = tree::read_of_host(&config).map_err(of_plugin(&name))?;
    let failed = |error: &dyn core::fmt::Display| ArgumentError::new(format!("{name}: {error}"));
    let mut profiles = ProfileSet::new(config).map_err(|error| failed(&error))?;
    let schedule = profiles.schedule(&request.unwrap_or_default(), &endpoints, seed.0);
    Ok(json!(schedule.map_err(|error| failed(&error))?))
}

/// Whether an admitter admits the request.
pub(super) fn admit(arguments: &Node) -> Result<Value, ArgumentError> {
    let Plugin { name, parameters, endpoints, request, seed } = read(arguments)?;
    let request = request.unwrap_or_default();
    let given = Reader::of_host(&parameters);
    let admits = match name.as_str() {
        LATENCY_SLO => Option::<LatencySloAdmitter>::deserialize(given)
            .map(|admitter| admitter.unwrap_or_default().admits(&request, &endpoints)),
        PROBABILISTIC => Option::<ProbabilisticAdmitter>::deserialize(given).map(|admitter| {
            admitter.unwrap_or_default().admits(&request, &endpoints, &mut Rng::new(seed.0))
        }),
        _ => {
            let error = UnknownName::new(&name, ADMITTERS);
            return Err(ArgumentError::new(format!("name {error}")));
        }
    };
    admits.map(Value::from).map_err(of_plugin(&name))
}

/// The weighted sums of clamped scores.
pub(super) fn weighted_sum(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        weights: Vec<f64>,
        scores: Vec<Vec<f64>>,
    }
    let Arguments { weights, scores } = read(arguments)?;
    let rows: Vec<&[f64]> = scores.iter().map(Vec::as_slice).collect();
    Ok(plugins::weighted_sum(&weights, &rows).into_iter().map(number).collect())
}

/// The names of each family.
pub(super) fn names(_: &Node) -> Result<Value, ArgumentError> {
    Ok(json!({
        "scorers": ScorerPlugin::NAMES,
        "filters": FilterPlugin::NAMES,
        "pickers": PickerPlugin::NAMES,
        "handlers": HandlerPlugin::NAMES,
        "admitters": ADMITTERS,
        "deciders": Decider::NAMES,
    }))
}

const LATENCY_SLO: &str = "latency-slo-admitter";
const PROBABILISTIC: &str = "probabilistic-admitter";
const ADMITTERS: [&str; 2] = [LATENCY_SLO, PROBABILISTIC];
