//! The checks of a configuration. Each error has the path of its field.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::MAX_FALLBACKS;
use super::config::{PathMatch, RewriteRule, RoutedPool, RoutingConfig, Rule, RuleMatch};
use crate::InvalidField;
use crate::names::UnknownName;

type Checked = Result<(), InvalidField>;

/// The largest weight of a backend or a target.
const MAX_WEIGHT: u32 = 1_000_000;

/// The first invalid field of the configuration.
pub(super) fn check(config: &RoutingConfig) -> Checked {
    let unique = unique(config.pools.iter().map(|pool| &*pool.name));
    unique.map_err(|(at, expected)| InvalidField::new(format!("pools[{at}].name"), expected))?;
    let pools = Pools(&config.pools);
    for (at, pool) in config.pools.iter().enumerate() {
        check_pool(pool, &pools).map_err(|error| error.within(&format!("pools[{at}]")))?;
    }
    for (at, rule) in config.rules.iter().enumerate() {
        check_rule(rule, &pools).map_err(|error| error.within(&format!("rules[{at}]")))?;
    }
    for (at, rewrite) in config.rewrites.iter().enumerate() {
        let outer = format!("rewrites[{at}]");
        pools.check("pool", &rewrite.pool).map_err(|error| error.within(&outer))?;
        for (rule, found) in rewrite.rules.iter().enumerate() {
            let outer = format!("{outer}.rules[{rule}]");
            check_rewrite(found).map_err(|error| error.within(&outer))?;
        }
    }
    for (at, objective) in config.objectives.iter().enumerate() {
        let outer = format!("objectives[{at}]");
        let pool = objective.pool.as_ref().map_or(Ok(()), |pool| pools.check("pool", pool));
        pool.and_then(|()| check_name(&objective.name)).map_err(|error| error.within(&outer))?;
    }
    Ok(())
}

fn check_pool(pool: &RoutedPool, pools: &Pools<'_>) -> Checked {
    check_name(&pool.name)?;
    let adapters = pool.adapters.iter().map(|adapter| &*adapter.name);
    unique(pool.models.iter().map(|model| &**model).chain(adapters))
        .map_err(|(_, expected)| InvalidField::new("models", expected))?;
    let Some(fallback) = &pool.fallback else { return Ok(()) };
    pools.check("fallback", fallback)?;
    let last = pools.after(pool, MAX_FALLBACKS);
    match last {
        Some(_) => Err(InvalidField::new(
            "fallback",
            format!("must end after at most {MAX_FALLBACKS} pools, and not form a cycle"),
        )),
        None => Ok(()),
    }
}

fn check_rule(rule: &Rule, pools: &Pools<'_>) -> Checked {
    for (at, found) in rule.matches.iter().enumerate() {
        check_match(found).map_err(|error| error.within(&format!("matches[{at}]")))?;
    }
    for (at, backend) in rule.backends.iter().enumerate() {
        let weight = check_weight(backend.weight, 0);
        let checked = pools.check("pool", &backend.pool).and(weight);
        checked.map_err(|error| error.within(&format!("backends[{at}]")))?;
    }
    for (at, mirror) in rule.mirrors.iter().enumerate() {
        let outer = format!("mirrors[{at}]");
        pools.check("pool", &mirror.pool).map_err(|error| error.within(&outer))?;
        if !(0.0..=100.0).contains(&mirror.percent) {
            return Err(InvalidField::new("percent", "must lie in [0, 100]").within(&outer));
        }
    }
    Ok(())
}

fn check_match(found: &RuleMatch) -> Checked {
    if let Some(PathMatch::Exact(path) | PathMatch::Prefix(path)) = &found.path {
        if !path.starts_with('/') {
            return Err(InvalidField::new("path", format!("must begin with '/', got {path:?}")));
        }
    }
    let unique = unique(found.headers.iter().map(|header| &*header.name));
    unique.map_err(|(at, expected)| InvalidField::new(format!("headers[{at}].name"), expected))
}

fn check_rewrite(rule: &RewriteRule) -> Checked {
    if rule.targets.is_empty() {
        return Err(InvalidField::new("targets", "must not be empty"));
    }
    for (at, target) in rule.targets.iter().enumerate() {
        let outer = format!("targets[{at}]");
        let weight = target.weight.map_or(Ok(()), |weight| check_weight(weight, 1));
        weight.map_err(|error| error.within(&outer))?;
        if target.model.is_empty() {
            return Err(InvalidField::new("model", "must not be empty").within(&outer));
        }
    }
    Ok(())
}

fn check_weight(weight: u32, least: u32) -> Checked {
    if (least..=MAX_WEIGHT).contains(&weight) {
        return Ok(());
    }
    let expected = format!("must lie in [{least}, {MAX_WEIGHT}], got {weight}");
    Err(InvalidField::new("weight", expected))
}

fn check_name(name: &str) -> Checked {
    let empty = || InvalidField::new("name", "must not be empty");
    if name.is_empty() { Err(empty()) } else { Ok(()) }
}

/// The place of the first name that occurred before, and the error.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), (usize, String)> {
    let mut known = BTreeSet::new();
    for (at, name) in names.enumerate() {
        if !known.insert(name) {
            return Err((at, format!("must be unique, got {name:?} twice")));
        }
    }
    Ok(())
}

/// The pools by name.
struct Pools<'a>(&'a [RoutedPool]);

impl Pools<'_> {
    fn check(&self, field: &str, name: &str) -> Checked {
        match self.find(name) {
            Some(_) => Ok(()),
            None => {
                let known = self.0.iter().map(|pool| &*pool.name);
                let error = format!("{}", UnknownName::new(name, known));
                Err(InvalidField::new(field, error))
            }
        }
    }

    fn find(&self, name: &str) -> Option<&RoutedPool> {
        self.0.iter().find(|pool| pool.name == name)
    }

    /// The pool after this many fallbacks.
    fn after<'p>(&'p self, pool: &'p RoutedPool, steps: usize) -> Option<&'p RoutedPool> {
        let next = |pool: &&'p RoutedPool| self.find(pool.fallback.as_deref()?);
        core::iter::successors(Some(pool), next).nth(steps + 1)
    }
}
