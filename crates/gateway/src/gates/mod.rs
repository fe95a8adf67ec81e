//! Gates: who may send a request, and how much.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the gates: identify, admit, settle |
//! | `config` | keys, tenants, anonymous access; their checks |
//! | `api_key` | digests of keys, and where requests have keys |
//! | `caller` | an identified client |
//! | `limits` | limits and measures |
//! | `window` | a sliding window |
//! | `ledger` | what each account uses, bounded |
//! | `shared` | usage that the gateways of one pool share |
//! | `refusal` | why a request is refused |
//! | `rate_headers` | headers that report what is left |
//! | `safety` | checks of prompts and answers, by the host |
//!
//! A gate comes before the scheduler: it decides by the client, the scheduler by the pool.

mod api_key;
mod caller;
mod config;
mod ledger;
mod limits;
mod rate_headers;
mod refusal;
pub mod safety;
mod shared;
mod window;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Instant, Usage};
use slotwise_wire::outcome::Reason;

pub use api_key::{KeyDigest, api_key};
pub use caller::Caller;
pub use config::{Access, GatesConfig, KeyConfig};
pub use limits::{Limits, Measure, Quota};
pub use refusal::GateRefusal;
pub use shared::UsageChange;

use ledger::{AccountName, Booking, Ledger, LimitState, NotBooked};
use limits::Amounts;
use safety::SafetyConfig;

use crate::InvalidField;

/// Who may send a request, and how much: API keys, quotas and rate limits.
///
/// A request passes three calls:
///
/// 1. [`identify`](Self::identify) finds the caller by its key.
/// 2. [`admit`](Self::admit) checks the model and books the request in all limits, or in none.
/// 3. [`settle`](Self::settle) replaces the estimate with the usage, or [`cancel`](Self::cancel)
///    takes the booking back.
///
/// Each caller has an account, and its tenant another one if it has limits. The table bounds the
/// accounts of keys and tenants. Anonymous clients are bounded by
/// [`max_clients`](GatesConfig::max_clients): the client that has been idle longest is forgotten,
/// but none with requests in flight or with usage in a window. If there is none to forget, the new
/// client is refused. An account takes about 200 bytes, and each window up to 1 KB.
///
/// # Example
///
/// ```
/// use slotwise::{Instant, Usage};
/// use slotwise_gateway::gates::{Access, Demand, Gates, GatesConfig, KeyConfig};
///
/// let mut access = Access::default();
/// access.tenant = Some("team-a".into());
/// access.limits.tokens_per_minute = Some(1_000);
/// let mut config = GatesConfig::default();
/// config.keys.push(KeyConfig::new("alice", "sk-1", access));
/// let mut gates = Gates::new(config)?;
///
/// let now = Instant::ORIGIN;
/// let caller = gates.identify([("authorization", "Bearer sk-1")])?;
/// let grant = gates.admit(now, &caller, &Demand::new("llama", 600, 300))?;
///
/// // The estimate counts until the usage is known.
/// let refusal = gates.admit(now, &caller, &Demand::new("llama", 100, 100)).unwrap_err();
/// assert_eq!((refusal.status(), refusal.code()), (429, "rate_limit_exceeded"));
/// let mut usage = Usage::default();
/// (usage.prompt_tokens, usage.completion_tokens) = (Some(600), Some(20));
/// gates.settle(now, grant, &usage);
/// assert!(gates.admit(now, &caller, &Demand::new("llama", 100, 100)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gates {
    keys: BTreeMap<KeyDigest, Caller>,
    anonymous: Option<Caller>,
    safety: Option<SafetyConfig>,
    ledger: Ledger,
    /// The latest time that was given. Time does not go backwards.
    latest: Instant,
}

/// What a request asks for: the model, and the tokens that it is expected to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Demand<'a> {
    /// The model, by its name for clients.
    pub model: &'a str,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer, as expected.
    pub output_tokens: u64,
}

impl<'a> Demand<'a> {
    /// Creates a demand.
    pub const fn new(model: &'a str, prompt_tokens: u64, output_tokens: u64) -> Self {
        Self { model, prompt_tokens, output_tokens }
    }
}

/// A request that was admitted and counts. End it by [`Gates::settle`] or [`Gates::cancel`]: until
/// then it counts as in flight.
#[derive(Debug)]
#[must_use = "the request counts as in flight until it is settled or cancelled"]
pub struct Grant {
    accounts: Vec<AccountName>,
    booking: Booking,
    amounts: Amounts,
    standings: Vec<Standing>,
}

impl Grant {
    /// What is left of each limit, with this request counted.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// The headers for the client: `x-ratelimit-limit-requests`, `-remaining-requests` and
    /// `-reset-requests`, and the same for tokens, if they are limited.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        rate_headers::write(&self.standings)
    }
}

/// A limit, and what is used of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// Whose limit it is.
    pub scope: Scope,
    /// What is counted.
    pub measure: Measure,
    /// The length of the window; `None` for requests in flight.
    pub window: Option<Duration>,
    /// The limit.
    pub limit: u64,
    /// What is used. Debt makes it exceed the limit.
    pub used: u64,
    /// The time until nothing of the limit is used, if nothing else is counted; `None` for requests
    /// in flight.
    pub reset: Option<Duration>,
}

impl Standing {
    /// What may still be used.
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// An API key's.
    Key,
    /// A tenant's, shared by its keys.
    Tenant,
    /// An anonymous client's.
    Client,
}

impl Scope {
    /// Its name in errors and other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Client => "client",
        }
    }
}

impl Gates {
    /// Creates gates.
    ///
    /// # Errors
    ///
    /// Returns the first invalid field of the configuration.
    pub fn new(config: GatesConfig) -> Result<Self, InvalidField> {
        let ledger = Ledger::new(config.max_clients);
        let mut gates = Self {
            keys: BTreeMap::new(),
            anonymous: None,
            safety: None,
            ledger,
            latest: Instant::ORIGIN,
        };
        gates.set_config(config)?;
        Ok(gates)
    }

    /// Replaces the configuration. Usage stays counted, except that of keys and tenants which are
    /// no longer configured. Callers that were identified before keep what they had.
    ///
    /// # Errors
    ///
    /// Returns the first invalid field of the configuration. Nothing changes then.
    pub fn set_config(&mut self, config: GatesConfig) -> Result<(), InvalidField> {
        config.check()?;
        self.safety = config.safety;
        self.ledger.share(config.shared);
        let mut tenants: BTreeMap<String, (AccountName, Arc<Limits>)> = BTreeMap::new();
        tenants.extend(config.tenants.into_iter().map(|(name, limits)| {
            let account = AccountName::Tenant(name.as_str().into());
            (name, (account, Arc::new(limits)))
        }));
        let caller = |account, access: Access| {
            let tenant = access.tenant.as_ref().and_then(|name| tenants.get(name)).cloned();
            Caller { account, access: Arc::new(access), tenant }
        };
        self.anonymous =
            config.anonymous.map(|access| caller(AccountName::Client("".into()), access));
        self.keys.clear();
        self.keys.extend(config.keys.into_iter().map(|key| {
            let account = AccountName::Key(key.name.as_str().into());
            (key.sha256, caller(account, key.access))
        }));
        let mut accounts: BTreeSet<&AccountName> = BTreeSet::new();
        accounts.extend(self.keys.values().map(|caller| &caller.account));
        accounts.extend(tenants.values().map(|(account, _)| account));
        self.ledger.retain(config.max_clients, |name| accounts.contains(name));
        Ok(())
    }

    /// Finds the caller by the [API key](api_key()) in the headers. Computes in **O(headers + log
    /// keys)**.
    ///
    /// # Errors
    ///
    /// 401 if the key is unknown, or if there is none and the configuration has no anonymous
    /// access. An unknown key never counts as anonymous.
    pub fn identify<'a, N: AsRef<str>, V: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        headers: impl IntoIterator<Item = (N, &'a V)>,
    ) -> Result<Caller, GateRefusal> {
        self.identify_key(api_key(headers))
    }

    /// The same for a key that the host has found itself.
    ///
    /// # Errors
    ///
    /// As for [`identify`](Self::identify).
    pub fn identify_key(&self, key: Option<&str>) -> Result<Caller, GateRefusal> {
        let found = match key {
            Some(key) => self.keys.get(&KeyDigest::of_key(key)).ok_or(Reason::InvalidApiKey),
            None => self.anonymous.as_ref().ok_or(Reason::MissingApiKey),
        };
        found.cloned().map_err(GateRefusal::of_reason)
    }

    /// The key of this name as a caller, or anonymous access without a name; `None` if it is not
    /// configured. Computes in **O(keys)**.
    pub fn caller_named(&self, key: Option<&str>) -> Option<&Caller> {
        match key {
            Some(name) => self.keys.values().find(|caller| caller.name() == name),
            None => self.anonymous.as_ref(),
        }
    }

    /// Checks that the caller may request the model, and counts the request in all limits of the
    /// caller and its tenant, or in none. Computes in **O(limits × log accounts)**, and in
    /// O(limits × 60) for a refusal.
    ///
    /// # Errors
    ///
    /// 403 for a model that the key does not allow. 429 for an exceeded limit, with the time after
    /// which the same request passes. 413 for a request that exceeds a limit alone. 429 for one
    /// anonymous client too many.
    pub fn admit(
        &mut self,
        now: Instant,
        caller: &Caller,
        demand: &Demand<'_>,
    ) -> Result<Grant, GateRefusal> {
        let now = self.advance(now);
        if !caller.allows(demand.model) {
            return Err(caller.forbidden(demand.model));
        }
        let (input, output) = (demand.prompt_tokens, demand.output_tokens);
        let amounts = Amounts { requests: 1, input, output };
        let accounts: Vec<(&AccountName, &Limits)> = accounts(caller).collect();
        match self.ledger.book(now, &accounts, &amounts) {
            Ok(booking) => Ok(Grant {
                standings: self.standings(now, caller),
                accounts: accounts.into_iter().map(|(name, _)| name.clone()).collect(),
                booking,
                amounts,
            }),
            Err(NotBooked::Exceeded(name, state)) => {
                let retry_after = state.passes_at.map(|at| at.saturating_since(now));
                let requested = amounts.of(state.measure);
                let exceeded = standing(now, &name, &state);
                let standings = self.standings(now, caller);
                Err(GateRefusal::exceeded(exceeded, requested, retry_after, standings))
            }
            Err(NotBooked::TooManyClients(idle_at)) => {
                let mut refusal = GateRefusal::of_reason(Reason::TooManyClients);
                refusal.retry_after = idle_at.map(|at| at.saturating_since(now));
                Err(refusal)
            }
        }
    }

    /// The request has ended with this usage. Tokens that it did not use are refunded, unless they
    /// have left the window. Tokens beyond the estimate count from now on: the account may be in
    /// debt until they leave the window. An unknown count leaves the estimate.
    pub fn settle(&mut self, now: Instant, grant: Grant, usage: &Usage) {
        let known = |count: Option<u32>, estimate| count.map_or(estimate, u64::from);
        let used = Amounts {
            requests: 1,
            input: known(usage.prompt_tokens, grant.amounts.input),
            output: known(usage.completion_tokens, grant.amounts.output),
        };
        self.end(now, &grant, &used);
    }

    /// The request was not served: it counts as if it had not come. Requests that an engine has
    /// begun are [settled](Self::settle), also when the client disconnects.
    pub fn cancel(&mut self, now: Instant, grant: Grant) {
        self.end(now, &grant, &Amounts::default());
    }

    /// What is left of each limit of the caller.
    pub fn standings(&self, now: Instant, caller: &Caller) -> Vec<Standing> {
        let now = now.max(self.latest);
        let amounts = Amounts::default();
        let mut standings = Vec::new();
        for (name, limits) in accounts(caller) {
            let states = self.ledger.states(now, name, limits, &amounts);
            standings.extend(states.map(|state| standing(now, name, &state)));
        }
        standings
    }

    /// The next own usage that peers have not been sent, if the configuration
    /// [shares](GatesConfig::shared) it. [`PeerLink::exchange_usage`] polls it.
    ///
    /// [`PeerLink::exchange_usage`]: crate::peers::PeerLink::exchange_usage
    pub fn poll_usage_change(&mut self) -> Option<UsageChange> {
        self.ledger.shared_mut()?.poll()
    }

    /// Counts the usage of a peer in the same limits, if the configuration
    /// [shares](GatesConfig::shared) it. Its steps are those of this gateway's clock. Computes in
    /// **O(log limits + steps)**.
    pub fn handle_peer_usage(&mut self, now: Instant, change: UsageChange) {
        let now = self.advance(now);
        if let Some(shared) = self.ledger.shared_mut() {
            shared.count(now, change);
        }
    }

    /// How prompts and answers are checked, for a [`SafetyCheck`](safety::SafetyCheck) each; `None`
    /// if they are not.
    pub const fn safety(&self) -> Option<SafetyConfig> {
        self.safety
    }

    /// Accounts in memory.
    pub fn accounts(&self) -> usize {
        self.ledger.len()
    }

    fn end(&mut self, now: Instant, grant: &Grant, used: &Amounts) {
        let now = self.advance(now);
        for name in &grant.accounts {
            self.ledger.settle(now, name, &grant.booking, used);
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }
}

/// The limited accounts of a caller.
fn accounts(caller: &Caller) -> impl Iterator<Item = (&AccountName, &Limits)> {
    let own = (&caller.account, &caller.access.limits);
    let tenant = caller.tenant.iter().map(|(name, limits)| (name, &**limits));
    core::iter::once(own).chain(tenant).filter(|(_, limits)| !limits.is_unlimited())
}

fn standing(now: Instant, name: &AccountName, state: &LimitState) -> Standing {
    Standing {
        scope: match name {
            AccountName::Key(_) => Scope::Key,
            AccountName::Tenant(_) => Scope::Tenant,
            AccountName::Client(_) => Scope::Client,
        },
        measure: state.measure,
        window: state.window,
        limit: state.limit,
        used: state.used,
        reset: state.unused_at.map(|at| at.saturating_since(now)),
    }
}

/// The examples of the manual's page are tested, too.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/gates.md")]
struct Page;
