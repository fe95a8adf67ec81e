//! `InferenceObjective` v1alpha2: a name for a priority in a pool.

use serde::Deserialize;
use slotwise::Priority;

use super::object::{Document, Object, PoolRef};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;
use crate::routing::Objective;

/// `InferenceObjectiveSpec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    priority: Option<i32>,
    pool_ref: PoolRef,
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
    configuration.routing.objectives.push(Objective {
        name: metadata.name,
        priority: Priority(spec.priority.unwrap_or_default()),
        pool: Some(pool),
    });
    Ok(())
}
