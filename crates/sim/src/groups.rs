//! The figures by class and by tenant: waiting times, refusals, and shares of service.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use slotwise::Instant;

use crate::clients::{Client, Clients};
use crate::fleet::{Outcome, Record};
use crate::measure::{measured, median, percentile, share, sorted};
use crate::policy::Refusal;
use crate::service_level::ServiceLevel;

/// One run, group by group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Groups {
    /// All requests first, then the classes and tenants of the workload.
    pub groups: Vec<Group>,
    /// Jain's index over what each tenant was served before the last arrival: 1 if all had as much,
    /// 1 / tenants if one had all. 1 if there is only one tenant.
    pub jain: f64,
    /// What was served before the last arrival, in millions of tokens: an answer's tokens count
    /// twice.
    pub work_mtokens: f64,
}

/// Some clients' figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What they are called.
    pub group: &'static str,
    /// Their requests after the warm-up, sent or given up.
    pub requests: u64,
    /// Time to first token of those that were answered, median, in seconds.
    pub ttft_p50_s: f64,
    /// The same, 99th percentile.
    pub ttft_p99_s: f64,
    /// Share of the requests that were refused, or never sent since one of their session was.
    pub refused: f64,
    /// Share of the requests that were good; refused ones are not.
    pub goodput: f64,
}

/// A group's name, and whom it has.
type Membership = (&'static str, fn(Client) -> bool);

impl Groups {
    /// The figures of a run, without its warm-up.
    pub fn of(record: &Record, clients: &Clients) -> Self {
        let requests = measured(record);
        let group = |(name, has): Membership| {
            Group::of(name, record.level, requests.iter().filter(|r| has(r.client)))
        };
        let sent = requests.iter().filter(|r| r.refused != Some(Refusal::Abandoned));
        let last = sent.map(|r| r.arrived).max().unwrap_or(Instant::ORIGIN);
        let mut served = BTreeMap::new();
        for request in requests {
            let in_time = request.finished.is_some_and(|at| at <= last);
            *served.entry(request.client.tenant).or_insert(0.0) +=
                if in_time { work(request) } else { 0.0 };
        }
        let served: Vec<f64> = served.into_values().collect();
        Self {
            groups: memberships(clients).into_iter().map(group).collect(),
            jain: jain(&served),
            work_mtokens: served.iter().sum::<f64>() / 1e6,
        }
    }

    /// The median of each figure over several runs of the same workload.
    pub fn median(runs: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let group = |(at, first): (usize, &Group)| Group {
            group: first.group,
            requests: of(&|run| run.groups[at].requests as f64).round() as u64,
            ttft_p50_s: of(&|run| run.groups[at].ttft_p50_s),
            ttft_p99_s: of(&|run| run.groups[at].ttft_p99_s),
            refused: of(&|run| run.groups[at].refused),
            goodput: of(&|run| run.groups[at].goodput),
        };
        let groups = runs.first().map(|run| run.groups.iter().enumerate().map(group).collect());
        Self {
            groups: groups.unwrap_or_default(),
            jain: of(&|run| run.jain),
            work_mtokens: of(&|run| run.work_mtokens),
        }
    }

    /// Lines of a table for people; see [`HEADING`].
    pub(crate) fn lines(&self, policy: &str, width: usize) -> String {
        let mut lines = String::new();
        for (at, group) in self.groups.iter().enumerate() {
            let _ = write!(
                lines,
                "{:<width$} {:<12} {:>8} {:>7.2}s {:>7.2}s {:>7.1}% {:>6.1}%",
                if at == 0 { policy } else { "" },
                group.group,
                group.requests,
                group.ttft_p50_s,
                group.ttft_p99_s,
                group.refused * 100.0,
                group.goodput * 100.0,
            );
            let _ = match at {
                0 => writeln!(lines, " {:>6.3} {:>7.2}M", self.jain, self.work_mtokens),
                _ => writeln!(lines),
            };
        }
        lines
    }
}

/// The columns of [`Groups::lines`].
pub(crate) const HEADING: [&str; 8] =
    ["group", "requests", "TTFT p50", "p99", "refused", "good", "jain", "work"];

impl Group {
    fn of<'a>(
        group: &'static str,
        level: ServiceLevel,
        requests: impl Iterator<Item = &'a Outcome>,
    ) -> Self {
        let requests: Vec<&Outcome> = requests.collect();
        let ttft = sorted(requests.iter().filter_map(|request| request.ttft()));
        let count =
            |is: fn(&Outcome) -> bool| requests.iter().filter(|request| is(request)).count() as f64;
        let all = requests.len() as f64;
        let good = requests.iter().filter(|request| level.holds(request)).count();
        Self {
            group,
            requests: requests.len() as u64,
            ttft_p50_s: percentile(&ttft, 0.50),
            ttft_p99_s: percentile(&ttft, 0.99),
            refused: share(count(|request| request.replica.is_none()), all),
            goodput: share(good as f64, all),
        }
    }
}

fn memberships(clients: &Clients) -> Vec<Membership> {
    let mut groups: Vec<Membership> = vec![("all", |_| true)];
    if clients.classes.is_some() {
        groups.push(("interactive", |client| !client.batch));
        groups.push(("batch", |client| client.batch));
    }
    if clients.tenants > 1 {
        groups.push(("quiet", |client| client.tenant != 0));
        groups.push(("greedy", |client| client.tenant == 0));
    }
    groups
}

/// What a request takes, in tokens.
fn work(request: &Outcome) -> f64 {
    f64::from(request.input) + 2.0 * f64::from(request.output)
}

fn jain(served: &[f64]) -> f64 {
    let (sum, squares) =
        served.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (served.len() as f64 * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_says_how_evenly_it_is_shared() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!((jain(&[3.0, 0.0, 0.0]) - 1.0 / 3.0).abs() < 1e-12);
        assert!((jain(&[]) - 1.0).abs() < 1e-12);
    }
}
