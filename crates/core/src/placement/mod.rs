//! Where a request fits: a pure function from the fleet and a query to a ranking of endpoints.
//!
//! | file | content |
//! |---|---|
//! | `query` | a request, as it is placed |
//! | `lookup`, `chains`, `span` | the prompt in blocks, and its cached prefix on each endpoint |
//! | `present_load` | the load of one endpoint at the time of a request |
//! | `assess` | the cost of one endpoint, or why it is excluded |
//! | `exclusion`, `refusal` | why one endpoint, and why all of them, cannot have the request |
//! | `latency` | the predicted times to first token and per output token |
//! | `cycle` | the choice of a scheduling profile: filters, weighted scorers, a picker |
//! | `search` | the best endpoints, with waivers and reasons |
//! | `prune` | the search that passes over endpoints by a lower bound of their cost |
//! | `ranking`, `ranking_key` | the best endpoints, and their order |
//! | `tie_break` | rendezvous hashing between endpoints of equal cost |

mod assess;
mod chains;
mod cycle;
mod exclusion;
mod latency;
mod lookup;
mod present_load;
mod prune;
mod query;
mod ranking;
mod ranking_key;
mod refusal;
mod search;
mod span;
mod tie_break;

pub(crate) use assess::{Assessment, described_work};
pub(crate) use cycle::{Preview, SchedulingCycle, StageProfiles};
pub use exclusion::Exclusion;
pub(crate) use latency::{PredictedLatency, running};
pub(crate) use lookup::{Form, Lookup};
pub(crate) use prune::SearchFrontier;
pub(crate) use query::{CycleKeys, Query, Work};
pub(crate) use ranking::Ranking;
pub(crate) use ranking_key::RankingKey;
pub(crate) use refusal::Refusal;
pub(crate) use search::{Placement, place, search, weigh_all};
pub(crate) use span::{CachedPrefix, Span};

/// Buffers that each placement uses again.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) lookup: Lookup,
    pub(crate) frontier: SearchFrontier,
    /// The scheduling profile, if one chooses instead of the predicted cost.
    pub(crate) cycle: Option<SchedulingCycle>,
}
