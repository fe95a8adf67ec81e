//! `pd-profile-handler`: the older handler of endpoints that prefill and decode one request.

use alloc::string::String;
use alloc::vec::Vec;

use super::by_header::or;
use super::data_parallel::send_to_port;
use crate::plugins::parameters::{Ignored, checked_parameters};
use crate::plugins::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};

/// `pd-profile-handler`: selects the endpoint that decodes, and another that prefills if the
/// decider agrees. The reference deprecates it for
/// [`disagg-profile-handler`](super::DisaggProfileHandler), which also encodes.
///
/// Three things differ from that handler. There is always a decider. Plugins of the prefill profile
/// see no peer. With a primary port, endpoints that decode are data-parallel ranks, as for
/// [`data-parallel-profile-handler`](super::DataParallelProfileHandler).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct PdProfileHandler {
    /// The profile of the decoding endpoint; empty means `decode`.
    pub decode_profile: String,
    /// The profile of the prefilling endpoint; empty means `prefill`.
    pub prefill_profile: String,
    /// The decider's name; `prefix-based-pd-decider` by default.
    pub decider_plugin_name: String,
    /// The port that receives the requests of all ranks; 0 means that endpoints are no ranks.
    pub primary_port: u16,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_plugin_type: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_plugin_name: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_match_info_producer_name: Ignored<String>,
}

impl Default for PdProfileHandler {
    fn default() -> Self {
        Self {
            decode_profile: "decode".into(),
            prefill_profile: "prefill".into(),
            decider_plugin_name: "prefix-based-pd-decider".into(),
            primary_port: 0,
            prefix_plugin_type: Ignored::default(),
            prefix_plugin_name: Ignored::default(),
            prefix_match_info_producer_name: Ignored::default(),
        }
    }
}

impl PdProfileHandler {
    pub(crate) fn decode(&self) -> &str {
        or(&self.decode_profile, "decode")
    }

    pub(crate) fn prefill(&self) -> &str {
        or(&self.prefill_profile, "prefill")
    }

    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        if self.decider_plugin_name.is_empty() {
            Err("deciderPluginName must not be empty")
        } else {
            Ok(())
        }
    }
}

impl ProfileHandler for PdProfileHandler {
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
        let (decode, prefill) = (self.decode(), self.prefill());
        if !stages.has_profile(decode) {
            return Err(ScheduleError::UnknownProfile(decode.into()));
        }
        if stages.outcome(decode).is_none() {
            return Ok(Some(Stage::of(decode)));
        }
        let Some(decoding) = stages.best(decode) else { return Ok(None) };
        let is_open = stages.has_profile(prefill) && stages.outcome(prefill).is_none();
        let prefills = is_open && stages.decides(&self.decider_plugin_name, Some(decoding));
        Ok(prefills.then(|| Stage::of(prefill)))
    }

    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
        let mut schedule = stages.led_by(self.decode())?;
        if self.primary_port > 0 {
            send_to_port(&mut schedule, self.primary_port);
        }
        if let Some(prefilling) = stages.best(self.prefill()) {
            let address = prefilling.address().into();
            schedule.headers.insert("x-prefiller-host-port".into(), address);
        }
        Ok(schedule)
    }

    fn deciders(&self) -> Vec<&str> {
        Vec::from([self.decider_plugin_name.as_str()])
    }
}

checked_parameters!(PdProfileHandler, PdProfileHandler::check);
