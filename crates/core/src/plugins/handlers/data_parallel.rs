//! `data-parallel-profile-handler`: ranks of one host behind its primary port.

use alloc::string::ToString;

use super::single::only_profile;
use crate::address::Address;
use crate::plugins::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};

/// `data-parallel-profile-handler`: runs the only profile, whose endpoints are data-parallel ranks:
/// one host with a port for each rank.
///
/// The request goes to the primary port of the host, and the header `x-data-parallel-host-port`
/// carries the address of the selected rank.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct DataParallelProfileHandler {
    /// The port that receives the requests of all ranks; 0 leaves the port of the rank.
    pub primary_port: u16,
}

impl Default for DataParallelProfileHandler {
    fn default() -> Self {
        Self { primary_port: 8000 }
    }
}

impl ProfileHandler for DataParallelProfileHandler {
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
        only_profile(stages)
    }

    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
        let mut schedule = stages.only()?;
        send_to_port(&mut schedule, self.primary_port);
        Ok(schedule)
    }
}

/// Sends the request to the primary port of each rank's host, and names the best rank in a header.
/// Port 0 leaves the ports.
pub(super) fn send_to_port(schedule: &mut Schedule, primary_port: u16) {
    if let Some(rank) = schedule.destinations.first() {
        schedule.headers.insert("x-data-parallel-host-port".into(), rank.clone());
    }
    for destination in schedule.destinations.iter_mut().filter(|_| primary_port > 0) {
        if let Some(address) = Address::of(destination) {
            let address = Address { port: Some(primary_port), ..address }.to_string();
            *destination = address;
        }
    }
}
