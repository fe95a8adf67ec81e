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

impl Default for HandlerPlugin {
    fn default() -> Self {
        Self::Single(SingleProfileHandler::default())
    }
}
