//! The client behind a request, and what it may do.

use alloc::format;
use alloc::sync::Arc;

use slotwise::Priority;
use slotwise_wire::outcome::Reason;

use super::config::Access;
use super::ledger::AccountName;
use super::limits::Limits;
use super::refusal::GateRefusal;
use crate::request::RequestOptions;

/// A client that has been identified. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) account: AccountName,
    pub(super) access: Arc<Access>,
    /// The tenant's account, if it has limits of its own.
    pub(super) tenant: Option<(AccountName, Arc<Limits>)>,
}

impl Caller {
    /// The name of the key, or of the anonymous client; empty for the one of clients without a
    /// name.
    pub fn name(&self) -> &str {
        match &self.account {
            AccountName::Key(name) | AccountName::Tenant(name) | AccountName::Client(name) => name,
        }
    }

    /// Whether the request had no key.
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.account, AccountName::Client(_))
    }

    /// The tenant.
    pub fn tenant(&self) -> Option<&str> {
        self.access.tenant.as_deref()
    }

    /// The priority that the key gives.
    pub fn priority(&self) -> Option<Priority> {
        self.access.priority
    }

    /// The share of the tenant relative to others.
    pub fn weight(&self) -> Option<f64> {
        self.access.weight
    }

    /// Whether the client may request the model, by its name for clients.
    pub fn allows(&self, model: &str) -> bool {
        self.access.allows(model)
    }

    /// Counts an anonymous client for itself, by a name that the host knows, such as its address.
    /// Without it, all anonymous clients share one account. A caller with a key does not change.
    pub fn client(self, name: &str) -> Self {
        match self.account {
            AccountName::Client(_) => Self { account: AccountName::Client(name.into()), ..self },
            _ => self,
        }
    }

    /// These options with the caller's: the flow is the tenant, and priority and weight are those
    /// of the key. What the key leaves open stays.
    pub fn apply<'a>(&'a self, options: RequestOptions<'a>) -> RequestOptions<'a> {
        RequestOptions {
            flow: self.tenant().or(options.flow),
            priority: self.priority().or(options.priority),
            weight: self.weight().or(options.weight),
            ..options
        }
    }

    /// Why the client may not request this model.
    pub(super) fn forbidden(&self, model: &str) -> GateRefusal {
        let models = self.access.models.iter().flatten();
        let mut message = format!("the API key does not allow the model {model:.100?}");
        let mut before = ": it allows ";
        for allowed in models.clone().take(MOST_NAMED) {
            message.extend([before, allowed.as_str()]);
            before = ", ";
        }
        let more = models.count().saturating_sub(MOST_NAMED);
        if more > 0 {
            message.push_str(&format!(" and {more} more"));
        }
        GateRefusal::new(Reason::ModelNotAllowed, message)
    }
}

/// Models that an error lists at most.
const MOST_NAMED: usize = 20;
