//! An admitted request: where it goes, and what its scheduler and its client get.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::Priority;

use crate::RequestOptions;
use crate::gates::{Caller, Grant};
use crate::routing::{self, Route};

/// A request that was admitted and counts. End it by [`Ingress::settle`](super::Ingress::settle) or
/// [`Ingress::cancel`](super::Ingress::cancel): until then it counts as in flight.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the request counts as in flight until it is settled or cancelled"]
pub struct Admitted {
    /// The client.
    pub caller: Caller,
    /// The name of the rule that applied, if there are rules.
    pub rule: Option<String>,
    /// Where to ask, in this order: the chosen pool, then its fallbacks. Never empty.
    pub targets: Vec<Target>,
    /// Copies of the request, whose answers are dropped.
    pub mirrors: Vec<Target>,
    /// The priority: that of the objective, at most that of the key.
    pub priority: Option<Priority>,
    /// The session, if the host or an accepted header names one.
    pub session: Option<String>,
    /// How long the whole request may take.
    pub timeout: Option<Duration>,
    /// The client's name of the model, if a target has another one: it goes back into the answer.
    pub answers_as: Option<String>,
    pub(super) grant: Grant,
}

/// A pool and a model.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a target is a pool and the names of a model")]
pub struct Target {
    /// The name of the pool.
    pub pool: String,
    /// The model to write into the forwarded body.
    pub model: String,
    /// The base model; it differs from `model` if that names an adapter.
    pub base: String,
    /// The LoRA adapter.
    pub adapter: Option<String>,
}

impl Admitted {
    pub(super) fn new(
        caller: Caller,
        model: &str,
        session: Option<&str>,
        route: &Route<'_>,
        grant: Grant,
    ) -> Self {
        let owned = |targets: &[routing::Target<'_>]| targets.iter().map(Target::of).collect();
        let targets: Vec<_> =
            core::iter::once(&route.target).chain(&route.fallbacks).map(Target::of).collect();
        let is_renamed = targets.iter().any(|target| target.model != model);
        Self {
            rule: route.rule.map(str::to_owned),
            mirrors: owned(&route.mirrors),
            priority: lower(route.priority, caller.priority()),
            session: session.map(str::to_owned),
            timeout: route.timeout,
            answers_as: is_renamed.then(|| model.to_owned()),
            targets,
            caller,
            grant,
        }
    }

    /// What the scheduler gets: the tenant as the flow, priority, weight and session.
    pub fn options(&self) -> RequestOptions<'_> {
        let options = RequestOptions { session: self.session.as_deref(), ..Default::default() };
        RequestOptions { priority: self.priority, ..self.caller.apply(options) }
    }

    /// The headers for the client, which report what is left of its limits: see
    /// [`Grant::headers`].
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        self.grant.headers()
    }
}

impl Target {
    fn of(target: &routing::Target<'_>) -> Self {
        Self {
            pool: target.pool.to_owned(),
            model: target.model.to_owned(),
            base: target.base.to_owned(),
            adapter: target.adapter.map(str::to_owned),
        }
    }

    /// The target as routing has it.
    pub fn as_routed(&self) -> routing::Target<'_> {
        routing::Target {
            pool: &self.pool,
            model: &self.model,
            base: &self.base,
            adapter: self.adapter.as_deref(),
        }
    }

    /// These options with the target's model and adapter.
    pub fn apply<'a>(&'a self, options: RequestOptions<'a>) -> RequestOptions<'a> {
        let adapter = self.adapter.as_deref().or(options.adapter);
        RequestOptions { model: Some(&self.base), adapter, ..options }
    }
}

/// The lower one of two priorities. A client's objective never raises it above its key's.
fn lower(objective: Option<Priority>, key: Option<Priority>) -> Option<Priority> {
    match (objective, key) {
        (Some(objective), Some(key)) => Some(objective.min(key)),
        (objective, key) => objective.or(key),
    }
}
