//! The models and adapters that pools serve.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::config::RoutedPool;

/// Finds pools by name, and pools and bases by model.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    pools: BTreeMap<String, usize>,
    models: BTreeMap<String, Served>,
}

/// Where a model is served first.
#[derive(Clone, Debug)]
struct Served {
    pool: usize,
    /// Its base model, if it is an adapter.
    base: Option<String>,
}

impl Catalog {
    pub(super) fn new(pools: &[RoutedPool]) -> Self {
        let (mut names, mut models) = (BTreeMap::new(), BTreeMap::new());
        for (at, pool) in pools.iter().enumerate() {
            names.entry(pool.name.clone()).or_insert(at);
            for model in &pool.models {
                models.entry(model.clone()).or_insert(Served { pool: at, base: None });
            }
            for adapter in &pool.adapters {
                let served = || Served { pool: at, base: Some(adapter.base.clone()) };
                models.entry(adapter.name.clone()).or_insert_with(served);
            }
        }
        Self { pools: names, models }
    }

    /// The pool of this name.
    pub(super) fn pool(&self, name: &str) -> Option<usize> {
        self.pools.get(name).copied()
    }

    /// The first pool that lists the model.
    pub(super) fn first_pool(&self, model: &str) -> Option<usize> {
        self.models.get(model).map(|served| served.pool)
    }

    /// The base of an adapter, or the model itself.
    pub(super) fn base<'r>(&'r self, model: &'r str) -> &'r str {
        self.models.get(model).and_then(|served| served.base.as_deref()).unwrap_or(model)
    }

    /// The model's base and adapter in this pool; `None` if the pool does not serve it.
    pub(super) fn resolve<'r>(
        &self,
        pool: &'r RoutedPool,
        model: &'r str,
    ) -> Option<(&'r str, Option<&'r str>)> {
        let adapter = pool.adapters.iter().find(|adapter| adapter.name == model);
        if let Some(adapter) = adapter {
            return Some((&adapter.base, Some(&adapter.name)));
        }
        let listed = pool.models.is_empty() || pool.models.iter().any(|named| named == model);
        listed.then_some((model, None))
    }

    /// All models and adapters that pools list.
    pub(super) fn models<'r>(&self, pools: &'r [RoutedPool]) -> impl Iterator<Item = &'r str> {
        pools.iter().flat_map(|pool| {
            let adapters = pool.adapters.iter().map(|adapter| &*adapter.name);
            pool.models.iter().map(|model| &**model).chain(adapters)
        })
    }
}
