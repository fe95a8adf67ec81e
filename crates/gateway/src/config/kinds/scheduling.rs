//! `schedulingProfiles`: filters, weighted scorers and a picker by reference, and their handler.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use slotwise::Config;
use slotwise::plugins::{
    HandlerPlugin, KvCacheUtilizationScorer, PickerPlugin, PrefixCacheScorer, ProfileConfig,
    ProfileSet, ProfileSetConfig, QueueScorer, ScorerPlugin, WeightedScorer,
};

use super::object::Document;
use super::plugins::{ClusterWeight, Plugin, Plugins};
use crate::clusters::ClusterScorers;
use crate::config::problem::Problem;

/// `SchedulingProfile`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    name: String,
    plugins: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reference {
    plugin_ref: String,
    #[serde(default)]
    weight: Option<f64>,
}

/// The profile of a file without plugins, as in the reference.
pub(super) fn default_profile() -> ProfileConfig {
    let scorer = |scorer, weight| WeightedScorer { scorer, weight };
    let mut profile = ProfileConfig::default();
    profile.scorers = Vec::from([
        scorer(ScorerPlugin::Queue(QueueScorer::default()), 2.0),
        scorer(ScorerPlugin::KvCacheUtilization(KvCacheUtilizationScorer::default()), 2.0),
        scorer(ScorerPlugin::PrefixCache(PrefixCacheScorer::default()), 3.0),
    ]);
    profile
}

/// Sets the profiles of a scheduler.
pub(super) fn apply(
    profiles: &[Profile],
    plugins: &Plugins,
    document: &mut Document<'_>,
    scheduler: &mut Config,
) -> Result<(), Problem> {
    let picker = default_picker(plugins)?;
    let mut found = BTreeMap::new();
    for (at, profile) in profiles.iter().enumerate() {
        let in_profile = |problem: Problem| problem.in_item(at).in_field("schedulingProfiles");
        let path = format!("schedulingProfiles[{at}]");
        let read = of_profile(profile, plugins, &picker, document, &path).map_err(in_profile)?;
        if profile.name.is_empty() || found.insert(profile.name.clone(), read).is_some() {
            let message = format!("must be unique and not empty, got {:?}", profile.name);
            return Err(in_profile(Problem::new(message).in_field("name")));
        }
    }
    if profiles.is_empty() {
        found.insert("default".into(), of_all(plugins, picker)?);
    }
    let handler = handler(plugins)?;
    let is_single = matches!(handler, None | Some(HandlerPlugin::Single(_)));
    if is_single {
        if found.len() > 1 {
            let message = "must be one profile, or have a profile handler among the plugins";
            return Err(Problem::new(message).in_field("schedulingProfiles"));
        }
        scheduler.profile = found.into_values().next();
        return Ok(());
    }
    let mut set = ProfileSetConfig::default();
    set.handler = handler.unwrap_or_default();
    set.profiles = found;
    for plugin in plugins.iter() {
        let decider = plugin.decider()?.map(|decider| (plugin.name.clone(), decider));
        set.deciders.extend(decider);
    }
    ProfileSet::new(set.clone())
        .map_err(|error| Problem::new(error.to_string()).in_field("plugins"))?;
    scheduler.profiles = Some(set);
    Ok(())
}

/// The weights of the scorers of clusters: those of the first profile that refers to one, else 1
/// for each that is listed. `None` without such scorers.
pub(super) fn cluster_scorers(profiles: &[Profile], plugins: &Plugins) -> Option<ClusterScorers> {
    let mut scorers = ClusterScorers::default();
    if profiles.is_empty() {
        let listed = plugins.iter().filter_map(Plugin::cluster_weight);
        return set_weights(&mut scorers, listed.map(|of| (of, 1.0))).then_some(scorers);
    }
    let found = profiles.iter().find(|profile| {
        let references = profile.plugins.iter();
        let weights = references.filter_map(|Reference { plugin_ref, weight }| {
            let plugin = plugins.get(plugin_ref).ok()?;
            Some((plugin.cluster_weight()?, weight.unwrap_or(1.0)))
        });
        set_weights(&mut scorers, weights)
    });
    found.map(|_| scorers)
}

/// Whether there is a weight.
fn set_weights(
    scorers: &mut ClusterScorers,
    weights: impl Iterator<Item = (ClusterWeight, f64)>,
) -> bool {
    weights.map(|(of, weight)| *of(scorers) += weight).count() > 0
}

/// The picker of profiles without one: the first picker of the file.
fn default_picker(plugins: &Plugins) -> Result<PickerPlugin, Problem> {
    for plugin in plugins.iter() {
        if let Some(picker) = plugin.picker()? {
            return Ok(picker);
        }
    }
    Ok(PickerPlugin::default())
}

/// The only handler.
fn handler(plugins: &Plugins) -> Result<Option<HandlerPlugin>, Problem> {
    let mut handler = None;
    for (at, plugin) in plugins.iter().enumerate() {
        let Some(found) = plugin.handler()? else { continue };
        if handler.replace(found).is_some() {
            let message = "is the second profile handler; remove one";
            return Err(Problem::new(message).in_item(at).in_field("plugins"));
        }
    }
    Ok(handler)
}

/// The profile with all plugins, of a file without profiles.
fn of_all(plugins: &Plugins, picker: PickerPlugin) -> Result<ProfileConfig, Problem> {
    let mut profile = ProfileConfig::default();
    profile.picker = picker;
    for plugin in plugins.iter() {
        profile.filters.extend(plugin.filter()?);
        let scorer = plugin.scorer()?.map(|scorer| WeightedScorer { scorer, weight: 1.0 });
        profile.scorers.extend(scorer);
    }
    Ok(profile)
}

fn of_profile(
    profile: &Profile,
    plugins: &Plugins,
    picker: &PickerPlugin,
    document: &mut Document<'_>,
    path: &str,
) -> Result<ProfileConfig, Problem> {
    let (mut read, mut has_picker) = (ProfileConfig::default(), false);
    read.picker = picker.clone();
    for (at, Reference { plugin_ref, weight }) in profile.plugins.iter().enumerate() {
        let located =
            |field: &str, problem: Problem| problem.in_field(field).in_item(at).in_field("plugins");
        let plugin = plugins.get(plugin_ref).map_err(|problem| located("pluginRef", problem))?;
        let path = format!("{path}.plugins[{at}]");
        let scorer = plugin.scorer()?;
        if scorer.is_none() && plugin.cluster_weight().is_none() {
            document.ignore(&format!("{path}.weight"), "has no effect; only scorers have weights");
        } else if weight.is_some_and(|weight| !(weight >= 0.0 && weight.is_finite())) {
            return Err(located("weight", Problem::new("must be finite and at least 0")));
        }
        let weight = weight.unwrap_or(1.0);
        let known = read.filters.len() + read.scorers.len();
        read.scorers.extend(scorer.map(|scorer| WeightedScorer { scorer, weight }));
        read.filters.extend(plugin.filter()?);
        match plugin.picker()? {
            Some(_) if has_picker => {
                let message = "is the second picker of the profile; remove one";
                return Err(located("pluginRef", Problem::new(message)));
            }
            Some(picker) => (read.picker, has_picker) = (picker, true),
            None if plugin.cluster_weight().is_some() => {}
            None if known == read.filters.len() + read.scorers.len() => {
                ignore_stranger(plugin, document, &path);
            }
            None => {}
        }
    }
    Ok(read)
}

/// A plugin that is no filter, scorer or picker.
fn ignore_stranger(plugin: &Plugin, document: &mut Document<'_>, path: &str) {
    let name = &plugin.name;
    let reason = format!("{name} has no effect in a profile; it is no filter, scorer or picker");
    document.ignore(&format!("{path}.pluginRef"), &reason);
}
