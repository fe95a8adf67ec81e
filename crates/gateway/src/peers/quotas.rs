//! Usage of the limits of API keys: between the gates of this gateway and its peers.

use slotwise::Instant;

use super::Peers;
use super::message::{Message, Returned};
use crate::gates::{Gates, UsageChange};

impl Peers {
    /// Reports what the gates have counted, and counts in them what peers have reported, if their
    /// configuration [shares](crate::gates::GatesConfig::shared) it. Call it before
    /// [`export_delta`](Self::export_delta) and after [`apply_delta`](Self::apply_delta). One
    /// gateway has one `Gates`.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise_gateway::gates::{Access, Demand, Gates, GatesConfig};
    /// use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};
    ///
    /// let gateway = |name: &str| {
    ///     let mut access = Access::default();
    ///     access.limits.requests_per_minute = Some(2);
    ///     let mut config = GatesConfig::default();
    ///     (config.anonymous, config.shared) = (Some(access), true);
    ///     let peers = Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
    ///     (peers.expect("valid"), Gates::new(config).expect("valid"))
    /// };
    /// let ((mut a, mut gates_of_a), (mut b, mut gates_of_b)) = (gateway("a"), gateway("b"));
    /// let now = Instant::from_micros(1_000_000);
    /// let (caller, demand) = (gates_of_a.identify_key(None)?, Demand::new("llama", 10, 10));
    /// let grants = [(); 2].map(|()| gates_of_a.admit(now, &caller, &demand).expect("two pass"));
    ///
    /// a.exchange_usage(now, &mut gates_of_a);
    /// let bytes = a.export_delta(now).expect("usage has changed");
    /// b.apply_delta(now, &bytes)?;
    /// b.exchange_usage(now, &mut gates_of_b);
    /// assert!(gates_of_b.admit(now, &caller, &demand).is_err());
    /// # grants.into_iter().for_each(|grant| gates_of_a.cancel(now, grant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exchange_usage(&mut self, now: Instant, gates: &mut Gates) {
        while let Some(change) = gates.poll_usage_change() {
            self.count_usage(&change);
        }
        while let Some(change) = self.poll_usage(now) {
            gates.handle_peer_usage(now, change);
        }
    }

    /// Reports what gates have counted. [`exchange_usage`](Self::exchange_usage) calls it.
    pub fn count_usage(&mut self, change: &UsageChange) {
        self.outbox.use_up(change, self.config.limits.usage);
    }

    /// The next usage of peers that gates have to count, in a step of this gateway's clock.
    pub fn poll_usage(&mut self, now: Instant) -> Option<UsageChange> {
        self.expire(now);
        if !core::mem::replace(&mut self.usage.is_wanted, true) {
            self.repeat_usage();
        }
        self.usage.poll()
    }

    /// A peer's requests in flight count from now on, or no longer.
    pub(super) fn count_in_flight(&mut self, name: &str, count: bool) {
        let Some(peer) = self.peers.get(name) else { return };
        for (key, left) in peer.usage.in_flight() {
            let (booked, refunded) = if count { (left, 0) } else { (0, left) };
            self.usage.push(UsageChange::new(key, 0, 0, booked, refunded));
        }
    }

    /// Reports all usage that is known: there are gates now.
    fn repeat_usage(&mut self) {
        let news = &mut self.usage;
        for peer in self.peers.values() {
            peer.usage.windows().for_each(|total| news.push(peer.clock.here(total)));
            if peer.is_alive {
                let of = |(key, left)| UsageChange::new(key, 0, 0, left, 0);
                peer.usage.in_flight().for_each(|it| news.push(of(it)));
            }
        }
        for former in self.former.values().chain(self.inherited.values()) {
            former.totals.windows().for_each(|total| news.push(former.clock.here(total)));
        }
    }

    /// Adds the usage of earlier starts of peers: they have lost it.
    pub(super) fn return_usage(&mut self, now: Instant, message: &mut Message) {
        self.former.retain(|_, former| {
            former.totals.prune(former.clock.theirs(now));
            former.totals.windows().next().is_some()
        });
        message.returned.extend(self.former.iter().map(|((to, incarnation), former)| Returned {
            to: to.clone(),
            incarnation: *incarnation,
            clock: former.clock.theirs(now),
            usage: former.totals.windows().collect(),
        }));
    }

    /// Takes the usage of earlier starts of this gateway.
    pub(super) fn inherit(&mut self, now: Instant, message: &Message) {
        let own = message.returned.iter().filter(|it| it.to == self.config.name);
        for returned in own.filter(|it| it.incarnation < self.incarnation) {
            let known = self.inherited.len();
            let former = match self.inherited.get_mut(&returned.incarnation) {
                Some(former) => former,
                None if known >= MOST_STARTS => continue,
                None => self.inherited.entry(returned.incarnation).or_default(),
            };
            former.clock.observe(now, returned.clock);
            former.totals.prune(former.clock.theirs(now));
            for total in returned.usage.iter().filter(|total| total.step_us > 0) {
                if let Some(grown) = former.totals.merge(total, self.config.limits.usage) {
                    self.usage.push(former.clock.here(grown));
                }
            }
        }
    }
}

/// Earlier starts of this gateway whose usage counts.
const MOST_STARTS: usize = 8;
