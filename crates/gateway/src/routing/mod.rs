//! Which pool serves a request, and under which model name.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Routing`]: from an [`Inquiry`] to a [`Route`] |
//! | `config` | what a host configures: pools, rules, rewrites, objectives |
//! | `error` | why a request has no route |
//! | `check` | the checks of a configuration |
//! | `matches` | what a rule asks of path, method and headers, and which match takes precedence |
//! | `rewrite` | which rewrite of a pool applies to a model |
//! | `split` | a weighted choice, by chance or pinned |
//! | `catalog` | the models and adapters that pools serve |
//!
//! A request passes four steps: a rule selects pools, a weighted split selects one of them, a
//! rewrite of this pool selects the model, and the pool's catalog splits the model into base and
//! adapter. All of them are pure: [`Routing`] never changes, and chance comes from a generator that
//! the host passes. A host that reads a new configuration builds a new `Routing` and swaps it.

mod catalog;
mod check;
mod config;
mod error;
mod matches;
mod rewrite;
mod split;

use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Priority, Request, Rng};

pub use config::{
    AdapterModel, Backend, HeaderMatch, Mirror, ModelRewrite, Objective, PathMatch, Pin,
    RewriteRule, RewriteTarget, RoutedPool, RoutingConfig, Rule, RuleMatch,
};
pub use error::NoRoute;
pub(crate) use split::hash;

use self::catalog::Catalog;
use self::matches::MatchOrder;
use self::rewrite::Rewrites;
use self::split::Draw;
use crate::InvalidField;

/// What a host knows about a request before it chooses a pool.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct Inquiry<'a> {
    /// The model that the client's body names.
    pub model: &'a str,
    /// The method; empty counts as `POST`.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The client's headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The session, if the host accepts it.
    pub session: Option<&'a str>,
    /// The objective, if the host accepts it.
    pub objective: Option<&'a str>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route<'a> {
    /// The name of the rule that applied, if there are rules.
    pub rule: Option<&'a str>,
    /// The pool and the model.
    pub target: Target<'a>,
    /// Where to ask next, in this order, when the target's pool has no room.
    pub fallbacks: Vec<Target<'a>>,
    /// Copies of the request, whose answers are dropped.
    pub mirrors: Vec<Target<'a>>,
    /// The priority of the objective, if it is known to the pool.
    pub priority: Option<Priority>,
    /// How long the whole request may take.
    pub timeout: Option<Duration>,
}

/// A pool and a model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The name of the pool.
    pub pool: &'a str,
    /// The model to write into the forwarded body.
    pub model: &'a str,
    /// The base model; it differs from `model` if that names an adapter.
    pub base: &'a str,
    /// The LoRA adapter.
    pub adapter: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The request for this target's scheduler.
    pub fn apply<'r>(&self, mut request: Request<'r>) -> Request<'r>
    where
        'a: 'r,
    {
        request.model = self.base;
        request.adapter = self.adapter.or(request.adapter);
        request
    }
}

/// The rules by which requests find their pool.
///
/// ```
/// use slotwise::Rng;
/// use slotwise_gateway::routing::{Inquiry, ModelRewrite, Routing, RoutingConfig};
///
/// let mut config = RoutingConfig::default();
/// config.pool("llama").serves("llama-3").serves("llama-3-b");
/// let split = [("llama-3", 90), ("llama-3-b", 10)];
/// config.rewrites.push(ModelRewrite::of_pool("canary", "llama").split("chat", split));
/// let routing = Routing::new(config)?;
///
/// let (mut rng, mut canary) = (Rng::new(7), 0);
/// for _ in 0..1_000 {
///     let inquiry = Inquiry { model: "chat", ..Inquiry::default() };
///     let route = routing.route(&inquiry, &mut rng).expect("a pool serves it");
///     canary += usize::from(route.target.model == "llama-3-b");
/// }
/// assert!((70..130).contains(&canary));
///
/// let unknown = Inquiry { model: "gpt", ..Inquiry::default() };
/// let error = routing.route(&unknown, &mut rng).expect_err("no pool serves it");
/// assert_eq!(error.http_status(), 404);
/// assert!(error.to_string().ends_with("must be 'chat', 'llama-3' or 'llama-3-b', got \"gpt\""));
/// # Ok::<(), slotwise_gateway::InvalidField>(())
/// ```
#[derive(Clone, Debug)]
pub struct Routing {
    config: RoutingConfig,
    order: MatchOrder,
    rewrites: Rewrites,
    catalog: Catalog,
}

/// The most fallback pools after a pool.
pub const MAX_FALLBACKS: usize = 8;

impl Routing {
    /// Prepares a configuration. Computes in **O(size · log size)**.
    ///
    /// # Errors
    ///
    /// When a name is unknown or given twice, a weight or a share is out of its range, or fallbacks
    /// form a cycle: the error has the path of the field, and the accepted values.
    pub fn new(config: RoutingConfig) -> Result<Self, InvalidField> {
        check::check(&config)?;
        Ok(Self {
            order: MatchOrder::new(&config.rules),
            rewrites: Rewrites::new(&config),
            catalog: Catalog::new(&config.pools),
            config,
        })
    }

    /// The route of a request. Without rules, the first pool that lists the model serves it, else
    /// the first pool that lists no models. Computes in **O(matches + targets)**.
    ///
    /// Equal generators give equal routes. A request with a pin, by default its session, does not
    /// use the generator for splits: it always takes the same side.
    ///
    /// # Errors
    ///
    /// When no rule matches, the rule's pools have no weight, or the pool does not serve the model.
    pub fn route<'r>(&'r self, inquiry: &Inquiry<'r>, rng: &mut Rng) -> Result<Route<'r>, NoRoute> {
        let pin = self.config.pin.of(inquiry);
        let mut draw = Draw { seed: self.config.seed, pin, rng };
        let (rule, pool) = if self.config.rules.is_empty() {
            (None, &self.config.pools[self.pool_of_model(inquiry.model)?])
        } else {
            let rule = self.matching(inquiry)?;
            let weights = rule.backends.iter().map(|backend| backend.weight);
            let chosen = draw.choose(&rule.name, inquiry.model, weights);
            let pool = chosen.and_then(|chosen| self.pool(&rule.backends[chosen].pool));
            (Some(rule), pool.ok_or_else(|| NoRoute::no_backend(&rule.name))?)
        };
        let target = self.target(pool, inquiry.model, &mut draw)?;
        let mirrors = rule.map_or(&[][..], |rule| &rule.mirrors);
        Ok(Route {
            rule: rule.map(|rule| &*rule.name),
            target,
            fallbacks: self.fallbacks(pool, inquiry.model, &mut draw),
            mirrors: self.mirrors(mirrors, inquiry.model, &mut draw),
            priority: self.priority(pool, inquiry.objective),
            timeout: rule.and_then(|rule| rule.timeout),
        })
    }

    /// All models that clients may name: those of rewrites, pools and adapters, sorted.
    pub fn models(&self) -> Vec<&str> {
        let named = self.rewrites.models(&self.config);
        let mut models: Vec<&str> = named.chain(self.catalog.models(&self.config.pools)).collect();
        models.sort_unstable();
        models.dedup();
        models
    }

    /// The configuration.
    pub const fn config(&self) -> &RoutingConfig {
        &self.config
    }

    fn matching<'r>(&'r self, inquiry: &Inquiry<'r>) -> Result<&'r Rule, NoRoute> {
        let base = self.catalog.base(inquiry.model);
        let found = self.order.find(&self.config.rules, inquiry, base);
        found.map(|rule| &self.config.rules[rule]).ok_or_else(|| NoRoute::no_rule(inquiry))
    }

    fn pool_of_model(&self, model: &str) -> Result<usize, NoRoute> {
        let pools = &self.config.pools;
        let rewritten = |pool: &usize| self.rewrites.names(&self.config, &pools[*pool].name, model);
        let exact = (0..pools.len()).find(rewritten).or_else(|| self.catalog.first_pool(model));
        let open = || (0..pools.len()).find(|pool| self.is_open(*pool));
        exact.or_else(open).ok_or_else(|| NoRoute::unknown_model(model, &self.models()))
    }

    /// Whether the pool accepts models that no list names.
    fn is_open(&self, pool: usize) -> bool {
        let pool = &self.config.pools[pool];
        pool.models.is_empty() || self.rewrites.accepts_all(&self.config, &pool.name)
    }

    fn target<'r>(
        &'r self,
        pool: &'r RoutedPool,
        model: &'r str,
        draw: &mut Draw<'_>,
    ) -> Result<Target<'r>, NoRoute> {
        let model = self.rewrites.apply(&self.config, &pool.name, model, draw).unwrap_or(model);
        let known = self.catalog.resolve(pool, model);
        let (base, adapter) = known.ok_or_else(|| NoRoute::unknown_model(model, &self.models()))?;
        Ok(Target { pool: &pool.name, model, base, adapter })
    }

    /// The chain of fallbacks; pools that do not serve the model are left out.
    fn fallbacks<'r>(
        &'r self,
        pool: &'r RoutedPool,
        model: &'r str,
        draw: &mut Draw<'_>,
    ) -> Vec<Target<'r>> {
        let next = |pool: &&'r RoutedPool| self.pool(pool.fallback.as_deref()?);
        let chain = core::iter::successors(Some(pool), next).skip(1).take(MAX_FALLBACKS);
        chain.filter_map(|pool| self.target(pool, model, draw).ok()).collect()
    }

    fn mirrors<'r>(
        &'r self,
        mirrors: &'r [Mirror],
        model: &'r str,
        draw: &mut Draw<'_>,
    ) -> Vec<Target<'r>> {
        let drawn = mirrors.iter().filter(|mirror| draw.rng.unit() * 100.0 < mirror.percent);
        let pools: Vec<_> = drawn.filter_map(|mirror| self.pool(&mirror.pool)).collect();
        pools.into_iter().filter_map(|pool| self.target(pool, model, draw).ok()).collect()
    }

    fn priority(&self, pool: &RoutedPool, objective: Option<&str>) -> Option<Priority> {
        let named = self.config.objectives.iter().filter(|it| Some(&*it.name) == objective);
        let mut of_pool = named.filter(|it| it.pool.as_ref().is_none_or(|name| *name == pool.name));
        of_pool.next().map(|objective| objective.priority)
    }

    fn pool(&self, name: &str) -> Option<&RoutedPool> {
        self.catalog.pool(name).map(|pool| &self.config.pools[pool])
    }
}
