//! `InferenceModelRewrite` v1alpha2: models under other names, split by weight.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use super::object::{Document, Object, PoolRef};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;
use crate::routing::{ModelRewrite, RewriteRule, RewriteTarget};

/// `InferenceModelRewriteSpec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    pool_ref: PoolRef,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    matches: Vec<Match>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    model: ModelMatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the only type of match is exact")]
struct ModelMatch {
    #[serde(default, rename = "type")]
    kind: Option<MatchType>,
    value: String,
}

#[derive(Deserialize)]
enum MatchType {
    Exact,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Target {
    #[serde(default)]
    weight: Option<u32>,
    model_rewrite: String,
}

pub(super) fn read(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let Object { metadata, spec, .. } = document.object::<Spec>()?;
    let pool = spec
        .pool_ref
        .resolve(&super::pools(configuration))
        .map_err(|problem| problem.in_field("poolRef").in_field("spec"))?;
    for (at, rule) in spec.rules.iter().enumerate() {
        check(rule).map_err(|problem| problem.in_item(at).in_field("rules").in_field("spec"))?;
    }
    let created = metadata.created();
    let mut rewrite = ModelRewrite::of_pool(&metadata.name, &pool);
    rewrite.created = created;
    rewrite.rules = spec.rules.into_iter().map(Rule::into_rewrite).collect();
    configuration.routing.rewrites.push(rewrite);
    Ok(())
}

fn check(rule: &Rule) -> Result<(), Problem> {
    let targets = |problem: Problem| problem.in_field("targets");
    if rule.targets.is_empty() {
        return Err(targets(Problem::new("must have at least one target")));
    }
    for (at, target) in rule.targets.iter().enumerate() {
        if target.model_rewrite.is_empty() {
            let problem = Problem::new("must not be empty").in_field("modelRewrite");
            return Err(targets(problem.in_item(at)));
        }
        if let Some(weight) = target.weight.filter(|weight| !(1..=1_000_000).contains(weight)) {
            let message = format!("must lie in [1, 1000000], got {weight}");
            return Err(targets(Problem::new(message).in_field("weight").in_item(at)));
        }
    }
    Ok(())
}

impl Rule {
    fn into_rewrite(self) -> RewriteRule {
        let target =
            |target: Target| RewriteTarget { model: target.model_rewrite, weight: target.weight };
        RewriteRule {
            models: self.matches.into_iter().map(|found| found.model.value).collect(),
            targets: self.targets.into_iter().map(target).collect(),
        }
    }
}
