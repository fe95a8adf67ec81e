//! What each account uses: requests in flight, and windows of requests and tokens.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::Instant;

use super::limits::{Amounts, Limits, Measure, Quota};
use super::shared::{SharedUsage, UsageChange, key_of};
use super::window::SlidingWindow;

/// What is counted together.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum AccountName {
    /// A key of the table, by its name.
    Key(Arc<str>),
    /// A tenant of the table.
    Tenant(Arc<str>),
    /// A client without a key. Only these accounts are bounded in number: the table bounds others.
    Client(Arc<str>),
}

/// The accounts. None is forgotten while it has requests in flight or usage in a window.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    accounts: BTreeMap<AccountName, Account>,
    max_clients: usize,
    clients: usize,
    /// The number of the latest booking.
    bookings: u64,
    /// Clients without requests in flight, by the time at which nothing counts any more.
    idle: BTreeSet<(Instant, AccountName)>,
    /// Usage that other gateways share; `None` if each counts for itself.
    shared: Option<SharedUsage>,
}

/// A request that is counted.
#[derive(Debug)]
pub(super) struct Booking {
    number: u64,
    at: Instant,
    amounts: Amounts,
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// The number of its first booking. Earlier ones belong to a forgotten account of this name.
    first: u64,
    /// The key of its requests in flight for peers.
    key: u64,
    in_flight: u64,
    windows: Vec<Counter>,
    /// Its entry in [`Ledger::idle`].
    idle_at: Option<Instant>,
}

/// A window of a quota.
#[derive(Clone, Debug)]
struct Counter {
    /// The number of its first booking.
    first: u64,
    /// The key of the limit for peers.
    key: u64,
    measure: Measure,
    length: Duration,
    window: SlidingWindow,
}

/// Why a request was not booked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum NotBooked {
    /// This limit of this account is exceeded.
    Exceeded(AccountName, LimitState),
    /// The number of clients is reached. The time is when the first of them is forgotten.
    TooManyClients(Option<Instant>),
}

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LimitState {
    pub(super) measure: Measure,
    /// The window; `None` for requests in flight.
    pub(super) window: Option<Duration>,
    pub(super) limit: u64,
    pub(super) used: u64,
    /// When the request would pass; `None` if no time alone makes it pass.
    pub(super) passes_at: Option<Instant>,
    /// When nothing of the limit is used; `None` for requests in flight.
    pub(super) unused_at: Option<Instant>,
}

impl LimitState {
    /// Whether the request exceeds the limit alone.
    pub(super) const fn is_hopeless(&self, amount: u64) -> bool {
        amount > self.limit
    }
}

impl Ledger {
    pub(super) const fn new(max_clients: usize) -> Self {
        Self {
            accounts: BTreeMap::new(),
            max_clients,
            clients: 0,
            bookings: 0,
            idle: BTreeSet::new(),
            shared: None,
        }
    }

    /// Counts the usage of peers from now on, and notes own usage for them; or no longer.
    pub(super) fn share(&mut self, is_shared: bool) {
        match (is_shared, &self.shared) {
            (true, None) => self.shared = Some(SharedUsage::default()),
            (false, Some(_)) => self.shared = None,
            _ => {}
        }
    }

    /// The usage that is shared, if it is.
    pub(super) const fn shared_mut(&mut self) -> Option<&mut SharedUsage> {
        self.shared.as_mut()
    }

    /// Counts a request in all of its accounts, or in none. Computes in **O(limits × log
    /// accounts)**, and in O(limits × steps) for a refusal.
    ///
    /// Of several exceeded limits, the error has the one that passes last.
    pub(super) fn book(
        &mut self,
        now: Instant,
        accounts: &[(&AccountName, &Limits)],
        amounts: &Amounts,
    ) -> Result<Booking, NotBooked> {
        let mut worst: Option<(&AccountName, LimitState)> = None;
        for &(name, limits) in accounts {
            let exceeded = self.states(now, name, limits, amounts).filter(|state| {
                state.is_hopeless(amounts.of(state.measure)) || state.passes_at != Some(now)
            });
            for state in exceeded {
                let severity =
                    |it: &LimitState| (it.is_hopeless(amounts.of(it.measure)), it.wait());
                if worst.as_ref().is_none_or(|(_, other)| severity(&state) > severity(other)) {
                    worst = Some((name, state));
                }
            }
        }
        if let Some((name, state)) = worst {
            return Err(NotBooked::Exceeded(name.clone(), state));
        }
        for &(name, _) in accounts {
            self.make_room(now, name)?;
        }
        self.bookings += 1;
        let first = self.bookings;
        for &(name, limits) in accounts {
            let account = self.accounts.entry(name.clone()).or_insert_with(|| {
                self.clients += usize::from(name.is_client());
                let key = key_of(name, Measure::ConcurrentRequests, None);
                Account { first, key, ..Account::default() }
            });
            account.fit(name, limits, first);
            account.in_flight += 1;
            for counter in &mut account.windows {
                counter.window.add(now, amounts.of(counter.measure));
            }
            if let Some(shared) = &mut self.shared {
                shared.note(UsageChange::new(account.key, 0, 0, 1, 0));
                for counter in &account.windows {
                    shared.note(counter.used(now, amounts.of(counter.measure)));
                }
            }
            self.note_idle(now, name);
        }
        Ok(Booking { number: first, at: now, amounts: *amounts })
    }

    /// Ends a booked request in one of its accounts: what it used replaces what was booked. What it
    /// used less is refunded where it was counted; what it used more counts from now on.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        name: &AccountName,
        booking: &Booking,
        used: &Amounts,
    ) {
        let Some(account) = self.accounts.get_mut(name) else { return };
        if booking.number < account.first {
            return;
        }
        account.in_flight = account.in_flight.saturating_sub(1);
        let mut note = |change| {
            if let Some(shared) = &mut self.shared {
                shared.note(change);
            }
        };
        note(UsageChange::new(account.key, 0, 0, 0, 1));
        for counter in &mut account.windows {
            let booked = booking.amounts.of(counter.measure);
            let used = used.of(counter.measure);
            counter.window.advance(now);
            match used.checked_sub(booked) {
                Some(0) => {}
                Some(more) => {
                    counter.window.add(now, more);
                    note(counter.used(now, more));
                }
                None if booking.number < counter.first => {}
                None => {
                    counter.window.refund(booking.at, booked - used);
                    let change = counter.used(booking.at, booked - used);
                    note(UsageChange { booked: 0, refunded: change.booked, ..change });
                }
            }
        }
        self.note_idle(now, name);
    }

    /// The limits of an account, and what is used of them, for a request of these amounts.
    pub(super) fn states<'a>(
        &'a self,
        now: Instant,
        name: &'a AccountName,
        limits: &'a Limits,
        amounts: &'a Amounts,
    ) -> impl Iterator<Item = LimitState> + use<'a> {
        let account = self.accounts.get(name);
        let shared = self.shared.as_ref();
        // Peers may use an account that is not in use here.
        let key = move |account: Option<u64>, measure, window| {
            account.unwrap_or_else(|| key_of(name, measure, window))
        };
        let elsewhere = limits.concurrent_requests.and(shared).map_or(0, |shared| {
            let key = key(account.map(|it| it.key), Measure::ConcurrentRequests, None);
            shared.in_flight(key)
        });
        let in_flight = account.map_or(0, |account| account.in_flight).saturating_add(elsewhere);
        let concurrent = limits.concurrent_requests.map(|limit| LimitState {
            measure: Measure::ConcurrentRequests,
            window: None,
            limit,
            used: in_flight,
            passes_at: (in_flight < limit).then_some(now),
            unused_at: None,
        });
        let windows = limits.all().map(move |quota| {
            let counter = account.and_then(|it| it.counter(&quota));
            let window = counter.map(|counter| &counter.window);
            let (amount, limit) = (amounts.of(quota.measure), quota.limit);
            let peers = shared.and_then(|shared| {
                let known = counter.map(|counter| counter.key);
                shared.window(key(known, quota.measure, Some(quota.window)))
            });
            let sum = |of: fn(&SlidingWindow, Instant) -> u64| {
                let used = [window, peers].into_iter().flatten().map(|window| of(window, now));
                used.fold(0, u64::saturating_add)
            };
            LimitState {
                measure: quota.measure,
                window: Some(quota.window),
                limit,
                used: sum(SlidingWindow::used),
                passes_at: match window.or(peers) {
                    Some(first) => first.fits_at(window.and(peers), now, amount, limit),
                    None => (amount <= limit).then_some(now),
                },
                unused_at: [window, peers]
                    .into_iter()
                    .flatten()
                    .map(|window| window.empty_at(now))
                    .chain([now])
                    .max(),
            }
        });
        concurrent.into_iter().chain(windows)
    }

    /// The number of accounts.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Forgets the accounts of keys and tenants that are not wanted, and bounds those of clients.
    pub(super) fn retain(&mut self, max_clients: usize, wanted: impl Fn(&AccountName) -> bool) {
        self.max_clients = max_clients;
        self.accounts.retain(|name, _| name.is_client() || wanted(name));
    }

    /// Forgets the client that has been idle longest if there is no room for another one.
    fn make_room(&mut self, now: Instant, name: &AccountName) -> Result<(), NotBooked> {
        if !name.is_client() || self.accounts.contains_key(name) {
            return Ok(());
        }
        while self.clients >= self.max_clients {
            match self.idle.pop_first() {
                Some((idle_at, idle)) if idle_at <= now => {
                    self.accounts.remove(&idle);
                    self.clients -= 1;
                }
                Some(busy) => {
                    let idle_at = busy.0;
                    self.idle.insert(busy);
                    return Err(NotBooked::TooManyClients(Some(idle_at)));
                }
                None => return Err(NotBooked::TooManyClients(None)),
            }
        }
        Ok(())
    }

    fn note_idle(&mut self, now: Instant, name: &AccountName) {
        if !name.is_client() {
            return;
        }
        let Some(account) = self.accounts.get_mut(name) else { return };
        if let Some(idle_at) = account.idle_at.take() {
            self.idle.remove(&(idle_at, name.clone()));
        }
        if account.in_flight == 0 {
            let ends = account.windows.iter().map(|counter| counter.window.empty_at(now));
            let idle_at = ends.max().unwrap_or(now);
            account.idle_at = Some(idle_at);
            self.idle.insert((idle_at, name.clone()));
        }
    }
}

impl LimitState {
    /// When the request would pass, ordered: a limit that no time alone makes pass comes last.
    fn wait(&self) -> (bool, Option<Instant>) {
        (self.passes_at.is_none(), self.passes_at)
    }
}

impl AccountName {
    const fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }
}

impl Account {
    fn counter(&self, quota: &Quota) -> Option<&Counter> {
        self.windows.iter().find(|counter| counter.is_of(quota))
    }

    /// Makes the windows those of the limits. What is counted stays.
    fn fit(&mut self, name: &AccountName, limits: &Limits, booking: u64) {
        let fits = self.windows.len() == limits.all().count()
            && limits.all().zip(&self.windows).all(|(quota, counter)| counter.is_of(&quota));
        if fits {
            return;
        }
        let counters = limits.all().map(|quota| {
            let counter = self.windows.iter().find(|counter| counter.is_of(&quota));
            counter.cloned().unwrap_or_else(|| Counter {
                first: booking,
                key: key_of(name, quota.measure, Some(quota.window)),
                measure: quota.measure,
                length: quota.window,
                window: SlidingWindow::new(quota.window),
            })
        });
        self.windows = counters.collect();
    }
}

impl Counter {
    fn is_of(&self, quota: &Quota) -> bool {
        (self.measure, self.length) == (quota.measure, quota.window)
    }

    /// An amount that was counted at this time, for peers.
    fn used(&self, at: Instant, amount: u64) -> UsageChange {
        let step = self.window.step_of(at);
        UsageChange::new(self.key, self.window.step_micros(), step, amount, 0)
    }
}
