//! `single-profile-handler`: the only profile.

use crate::plugins::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};

/// `single-profile-handler`: runs the only profile.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SingleProfileHandler {}

impl ProfileHandler for SingleProfileHandler {
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
        only_profile(stages)
    }

    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
        stages.only()
    }
}

/// The only profile, unless it has run.
pub(super) fn only_profile<'a>(stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
    match stages.profiles() {
        [only] => Ok(stages.outcome(only).is_none().then(|| Stage::of(only))),
        profiles => Err(ScheduleError::ProfileCount(profiles.len())),
    }
}
