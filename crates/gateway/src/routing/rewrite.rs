//! Which rewrite of a pool applies to a model.
//!
//! Rules that name the model precede rules for all models. Among equals the rewrite that was
//! created first decides, then the order of the list. Source: `InferenceModelRewrite` v1alpha2.

use alloc::vec::Vec;

use super::config::{ModelRewrite, RewriteRule, RoutingConfig};
use super::split::Draw;

/// The rules of all rewrites, in the order in which they take precedence.
#[derive(Clone, Debug)]
pub(super) struct Rewrites {
    order: Vec<(usize, usize)>,
}

impl Rewrites {
    pub(super) fn new(config: &RoutingConfig) -> Self {
        let rules = |(at, rewrite): (usize, &ModelRewrite)| {
            (0..rewrite.rules.len()).map(move |rule| (at, rule))
        };
        let mut order: Vec<_> = config.rewrites.iter().enumerate().flat_map(rules).collect();
        order.sort_by_key(|(rewrite, rule)| {
            (config.rewrites[*rewrite].created.unwrap_or(u64::MAX), *rewrite, *rule)
        });
        Self { order }
    }

    /// The model to request instead of this one; `None` if no rule applies.
    pub(super) fn apply<'r>(
        &self,
        config: &'r RoutingConfig,
        pool: &str,
        model: &str,
        draw: &mut Draw<'_>,
    ) -> Option<&'r str> {
        let exact = self.of_pool(config, pool).find(|(_, rule)| names(rule, model));
        let generic = || self.of_pool(config, pool).find(|(_, rule)| rule.models.is_empty());
        let (rewrite, rule) = exact.or_else(generic)?;
        let unset = u32::from(rule.targets.iter().all(|target| target.weight.is_none()));
        let weights = rule.targets.iter().map(|target| target.weight.unwrap_or(unset));
        let chosen = draw.choose(&rewrite.name, model, weights)?;
        Some(&rule.targets[chosen].model)
    }

    /// Whether a rule of the pool names the model.
    pub(super) fn names(&self, config: &RoutingConfig, pool: &str, model: &str) -> bool {
        self.of_pool(config, pool).any(|(_, rule)| names(rule, model))
    }

    /// Whether a rule of the pool applies to all models.
    pub(super) fn accepts_all(&self, config: &RoutingConfig, pool: &str) -> bool {
        self.of_pool(config, pool).any(|(_, rule)| rule.models.is_empty())
    }

    /// The models that rules name.
    pub(super) fn models<'r>(&self, config: &'r RoutingConfig) -> impl Iterator<Item = &'r str> {
        let rules = config.rewrites.iter().flat_map(|rewrite| &rewrite.rules);
        rules.flat_map(|rule| &rule.models).map(|model| &**model)
    }

    fn of_pool<'r>(
        &self,
        config: &'r RoutingConfig,
        pool: &str,
    ) -> impl Iterator<Item = (&'r ModelRewrite, &'r RewriteRule)> {
        let rules = self.order.iter().map(|(rewrite, rule)| {
            let rewrite = &config.rewrites[*rewrite];
            (rewrite, &rewrite.rules[*rule])
        });
        rules.filter(move |(rewrite, _)| rewrite.pool == pool)
    }
}

fn names(rule: &RewriteRule, model: &str) -> bool {
    rule.models.iter().any(|named| named == model)
}
