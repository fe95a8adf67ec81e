//! What a host configures: pools, rules, rewrites and objectives.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::Priority;

use super::Inquiry;

/// The configuration of a [`Routing`](super::Routing). Lists are in order: of two equals, the first
/// takes precedence.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RoutingConfig {
    /// Keys the pinned splits. Gateways with equal seeds send a session to the same side.
    pub seed: u64,
    /// What pins a request to its side of a split.
    pub pin: Pin,
    /// The pools.
    pub pools: Vec<RoutedPool>,
    /// The rules that select pools; without any, the model selects the pool.
    pub rules: Vec<Rule>,
    /// The rewrites of models.
    pub rewrites: Vec<ModelRewrite>,
    /// The objectives that requests may name.
    pub objectives: Vec<Objective>,
}

impl RoutingConfig {
    /// Adds a pool, and returns it to be described.
    pub fn pool(&mut self, name: &str) -> &mut RoutedPool {
        self.pools.push(RoutedPool { name: name.to_owned(), ..RoutedPool::default() });
        self.pools.last_mut().expect("one was added")
    }
}

/// What pins a request to its side of a split, so a conversation keeps its model and its cache.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Pin {
    /// The session. A request without one is split by chance.
    #[default]
    Session,
    /// The value of this header.
    Header(String),
    /// Every request is split by chance.
    Never,
}

impl Pin {
    pub(super) fn of<'a>(&self, inquiry: &Inquiry<'a>) -> Option<&'a str> {
        match self {
            Self::Session => inquiry.session,
            Self::Header(name) => inquiry.header(name),
            Self::Never => None,
        }
    }
}

/// A pool of endpoints, which has one scheduler.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RoutedPool {
    /// The name, unique among pools.
    pub name: String,
    /// The models that it serves; empty means every model.
    pub models: Vec<String>,
    /// The LoRA adapters that clients may name as models.
    pub adapters: Vec<AdapterModel>,
    /// The pool to ask when this one has no room.
    pub fallback: Option<String>,
}

impl RoutedPool {
    /// Lists a model.
    pub fn serves(&mut self, model: &str) -> &mut Self {
        self.models.push(model.to_owned());
        self
    }

    /// Lists an adapter of a base model.
    pub fn adapter(&mut self, name: &str, base: &str) -> &mut Self {
        self.adapters.push(AdapterModel { name: name.to_owned(), base: base.to_owned() });
        self
    }

    /// Sets the pool to ask when this one has no room.
    pub fn falls_back_to(&mut self, pool: &str) -> &mut Self {
        self.fallback = Some(pool.to_owned());
        self
    }
}

/// A LoRA adapter that clients name as a model.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "an adapter is a name and its base")]
pub struct AdapterModel {
    /// The name of the adapter.
    pub name: String,
    /// The base model.
    pub base: String,
}

/// A rule of an `HTTPRoute`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Rule {
    /// The name, for logs and pinned splits.
    pub name: String,
    /// When its route was created, in seconds since 1970; without it, it is the youngest.
    pub created: Option<u64>,
    /// The alternatives that select the rule; empty selects it for every request.
    pub matches: Vec<RuleMatch>,
    /// The pools, by weight.
    pub backends: Vec<Backend>,
    /// The pools that get a copy.
    pub mirrors: Vec<Mirror>,
    /// How long the whole request may take, in seconds.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds::option"))]
    pub timeout: Option<Duration>,
}

/// What a rule asks of a request: all of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RuleMatch {
    /// The path; `None` accepts every path.
    pub path: Option<PathMatch>,
    /// The method.
    pub method: Option<String>,
    /// Headers with their exact values; names in any case.
    pub headers: Vec<HeaderMatch>,
}

/// What a rule asks of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The first elements of the path: `/v1` accepts `/v1` and `/v1/chat`, and not `/v10`.
    Prefix(String),
}

/// What a rule asks of a header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a header is a name and a value")]
pub struct HeaderMatch {
    /// The name, in any case. `x-gateway-model-name` is the model of the body, and
    /// `x-gateway-base-model-name` its base model.
    pub name: String,
    /// The exact value.
    pub value: String,
}

/// A pool of a rule.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a backend is a pool and a weight")]
pub struct Backend {
    /// The name of the pool.
    pub pool: String,
    /// Its share of the requests, relative to the rule's other pools; up to 1,000,000.
    pub weight: u32,
}

impl Default for Backend {
    fn default() -> Self {
        Self { pool: String::new(), weight: 1 }
    }
}

/// A pool that gets a copy of requests.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a mirror is a pool and a share")]
pub struct Mirror {
    /// The name of the pool.
    pub pool: String,
    /// The share of the requests that are copied, from 0 to 100.
    pub percent: f64,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { pool: String::new(), percent: 100.0 }
    }
}

/// An `InferenceModelRewrite`: under which names a pool's models are requested.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ModelRewrite {
    /// The name, for logs and pinned splits.
    pub name: String,
    /// When it was created, in seconds since 1970; without it, it is the youngest.
    pub created: Option<u64>,
    /// The pool.
    pub pool: String,
    /// The rules.
    pub rules: Vec<RewriteRule>,
}

impl ModelRewrite {
    /// A rewrite without rules.
    pub fn of_pool(name: &str, pool: &str) -> Self {
        Self { name: name.to_owned(), pool: pool.to_owned(), ..Self::default() }
    }

    /// Adds a rule that splits a model over others by weight.
    pub fn split<'t>(
        mut self,
        model: &str,
        targets: impl IntoIterator<Item = (&'t str, u32)>,
    ) -> Self {
        let target = |(model, weight): (&str, u32)| RewriteTarget {
            model: model.to_owned(),
            weight: Some(weight),
        };
        let targets = targets.into_iter().map(target).collect();
        self.rules.push(RewriteRule { models: [model.to_owned()].into(), targets });
        self
    }
}

/// A rule of a rewrite.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a rule is models and targets")]
pub struct RewriteRule {
    /// The models that it rewrites; empty means all, after the rules that name one.
    pub models: Vec<String>,
    /// The models that are requested instead.
    pub targets: Vec<RewriteTarget>,
}

/// A model that is requested instead.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a target is a model and a weight")]
pub struct RewriteTarget {
    /// The model.
    pub model: String,
    /// Its weight from 1 to 1,000,000. If no target has one, all are equal; if some have one, the
    /// others are never chosen, as in the reference.
    pub weight: Option<u32>,
}

/// An `InferenceObjective`: a name for a priority.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "an objective is a name of a priority in a pool")]
pub struct Objective {
    /// The name.
    pub name: String,
    /// The priority; negative is shed first.
    pub priority: Priority,
    /// The only pool that knows the name; `None` means all pools.
    pub pool: Option<String>,
}
