//! Two regions with shifted peaks, of which one is lost for a while: routers of clusters compared.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the setup, the table |
//! | `workload` | conversations in two regions |
//! | `router` | routers at the entry of a region |
//! | `external` | a router in another process |
//! | `world` | the simulation |

mod external;
mod router;
mod workload;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::measure::{percentile, share, sorted};
use crate::replica::Class;

/// Two regions, and what happens to them.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The class of all replicas.
    pub class: Class,
    /// Replicas of each region.
    pub replicas: usize,
    /// Conversations that begin in a second at a region's peak.
    pub peak: f64,
    /// The length of a day.
    pub day: Duration,
    /// The time in which conversations begin.
    pub length: Duration,
    /// When the first region is lost.
    pub lost_at: Duration,
    /// How long it is lost.
    pub lost_for: Duration,
    /// The seed of the workload.
    pub seed: u64,
}

/// The figures of one router.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The router.
    pub router: &'static str,
    /// Requests that clients sent.
    pub requests: u64,
    /// Share of them whose first token came within 2 s, and whose other tokens took 100 ms at most
    /// on average.
    pub goodput: f64,
    /// Time to first token, median, in seconds.
    pub ttft_p50_s: f64,
    /// Time to first token, 99th percentile.
    pub ttft_p99_s: f64,
    /// Share of the answered requests that the other region served.
    pub remote: f64,
    /// Share of prompt tokens that were found in the cache.
    pub hit_ratio: f64,
    /// Requests that had begun to answer when their region was lost.
    pub lost_begun: u64,
    /// Requests that were lost before they began.
    pub lost_not_begun: u64,
}

/// The figures of all routers, last that of the command if there is one. Each router of a run gets
/// the same conversations.
pub fn compare(setup: &Setup, external: Option<&str>) -> Vec<Figures> {
    let conversations = workload::conversations(setup);
    let of = |kind: &router::Kind| figures(kind.0, &world::run(setup, &conversations, &kind.1));
    let mut all: Vec<_> = router::KINDS.iter().map(of).collect();
    if let Some(command) = external {
        let start = |home, _| -> Box<dyn router::Router> {
            Box::new(external::External::start(command, home, setup.seed))
        };
        all.push(figures("external", &world::run(setup, &conversations, &start)));
    }
    all
}

/// A Markdown table.
pub fn table(all: &[Figures]) -> String {
    let mut text = String::from(
        "| router | goodput | TTFT p50 | TTFT p99 | remote | cached | lost begun | lost before |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for it in all {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "| {} | {} | {:.3} s | {:.2} s | {} | {} | {} | {} |",
            it.router,
            percent(it.goodput),
            it.ttft_p50_s,
            it.ttft_p99_s,
            percent(it.remote),
            percent(it.hit_ratio),
            it.lost_begun,
            it.lost_not_begun
        );
    }
    text
}

fn figures(router: &'static str, requests: &[world::Request]) -> Figures {
    let answered: Vec<_> = requests.iter().filter(|it| it.finished.is_some()).collect();
    let ttft = sorted(requests.iter().filter_map(world::Request::ttft));
    let count = |of: &dyn Fn(&world::Request) -> bool| requests.iter().filter(|it| of(it)).count();
    let tokens =
        |of: fn(&world::Request) -> u32| answered.iter().map(|it| f64::from(of(it))).sum::<f64>();
    let remote = answered.iter().filter(|it| it.region != it.home).count();
    Figures {
        router,
        requests: requests.len() as u64,
        goodput: share(count(&world::Request::is_good) as f64, requests.len() as f64),
        ttft_p50_s: percentile(&ttft, 0.5),
        ttft_p99_s: percentile(&ttft, 0.99),
        remote: share(remote as f64, answered.len() as f64),
        hit_ratio: share(tokens(|it| it.cached), tokens(|it| it.input)),
        lost_begun: count(&|it| it.lost && it.first_token.is_some()) as u64,
        lost_not_begun: count(&|it| it.lost && it.first_token.is_none()) as u64,
    }
}

/// The round trip between the regions.
const NETWORK: Duration = Duration::from_millis(40);
/// Without reports for so long, no router counts on a region.
const SILENT_AFTER: Duration = Duration::from_secs(10);
const TOKENS_PER_BLOCK: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Class;

    /// Only a router that serves one region alone loses requests that had not begun, and a run
    /// repeats.
    #[test]
    fn a_lost_region_loses_no_request_that_had_not_begun() {
        let setup = Setup {
            class: Class::default(),
            replicas: 2,
            peak: 0.5,
            day: Duration::from_secs(120),
            length: Duration::from_secs(120),
            lost_at: Duration::from_secs(40),
            lost_for: Duration::from_secs(30),
            seed: 1,
        };
        let all = compare(&setup, None);
        assert_eq!(all, compare(&setup, None));
        for it in &all {
            assert_eq!(it.lost_not_begun > 0, it.router == "per region", "{it:?}");
            assert!(it.requests > 100, "{it:?}");
        }
    }
}
