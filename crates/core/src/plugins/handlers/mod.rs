//! The reference's profile handlers, one a file.

mod by_header;
mod data_parallel;
mod disagg;
mod pd;
mod single;

pub use by_header::HeaderProfileHandler;
pub use data_parallel::DataParallelProfileHandler;
pub use disagg::{DisaggDeciders, DisaggProfileHandler, DisaggProfiles, StageOrder};
pub use pd::PdProfileHandler;
pub use single::SingleProfileHandler;

use super::profile_handler::ProfileHandler;
use super::registry::plugin_family;

plugin_family! {
    /// A profile handler by its name in the reference, with its parameters.
    HandlerPlugin: ProfileHandler {
        "single-profile-handler" => Single(SingleProfileHandler),
        "header-profile-handler" => Header(HeaderProfileHandler),
        "data-parallel-profile-handler" => DataParallel(DataParallelProfileHandler),
        "disagg-profile-handler" => Disagg(DisaggProfileHandler),
        "pd-profile-handler" => Pd(PdProfileHandler),
    }
}

impl HandlerPlugin {
    /// The port that receives the requests of all data-parallel ranks of a host, if the endpoints
    /// are ranks; 0 leaves the port of the rank. The header `x-data-parallel-host-port` names the
    /// rank.
    ///
    /// ```
    /// use slotwise::plugins::{DataParallelProfileHandler, HandlerPlugin};
    ///
    /// let ranks = HandlerPlugin::DataParallel(DataParallelProfileHandler::default());
    /// assert_eq!(ranks.primary_port(), Some(8000));
    /// assert_eq!(HandlerPlugin::default().primary_port(), None);
    /// ```
    pub fn primary_port(&self) -> Option<u16> {
        match self {
            Self::DataParallel(handler) => Some(handler.primary_port),
            Self::Pd(handler) => Some(handler.primary_port).filter(|port| *port > 0),
            _ => None,
        }
    }
}

impl Default for HandlerPlugin {
    fn default() -> Self {
        Self::Single(SingleProfileHandler::default())
    }
}
