//! `disagg-profile-handler`: endpoints that encode, prefill and decode one request.

use alloc::string::String;
use alloc::vec::Vec;

use super::by_header::or;
use crate::plugins::facts::EndpointFacts;
use crate::plugins::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};

/// `disagg-profile-handler`: selects the endpoint that decodes, and where a decider agrees, others
/// that prefill and encode.
///
/// - `decode-first`: decode, encode if its decider agrees, prefill if its decider agrees. Plugins
///   of the prefill profile see the decoding endpoint as peer.
/// - `prefill-first`: prefill, encode if its decider agrees, decode. Plugins of the decode profile
///   see the prefilling endpoint as peer.
///
/// A stage without a profile is skipped, and so is one whose filters leave no endpoint; only decode
/// is mandatory. The header `x-prefiller-host-port` carries the address of the prefilling endpoint,
/// `x-encoder-hosts-ports` those of the encoding ones.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", try_from = "Parameters")
)]
#[non_exhaustive]
pub struct DisaggProfileHandler {
    /// The order of the stages.
    pub stage_order: StageOrder,
    /// The names of the profiles.
    pub profiles: DisaggProfiles,
    /// The names of the deciders.
    pub deciders: DisaggDeciders,
}

/// The order of the stages of a [`DisaggProfileHandler`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case", try_from = "String")
)]
#[expect(clippy::exhaustive_enums, reason = "the orders of the reference")]
pub enum StageOrder {
    /// Decode, encode, prefill.
    #[default]
    DecodeFirst,
    /// Prefill, encode, decode.
    PrefillFirst,
}

/// The names of the profiles of a [`DisaggProfileHandler`]; empty means the name of the stage.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "the stages of the reference")]
pub struct DisaggProfiles {
    /// The profile of the decoding endpoint.
    pub decode: String,
    /// The profile of the prefilling endpoint.
    pub prefill: String,
    /// The profile of the encoding endpoint.
    pub encode: String,
}

/// The names of the deciders of a [`DisaggProfileHandler`]; empty means never.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "the stages of the reference")]
pub struct DisaggDeciders {
    /// Decides whether another endpoint prefills; with `prefill-first` it has no effect.
    pub prefill: String,
    /// Decides whether another endpoint encodes.
    pub encode: String,
}

impl DisaggProfiles {
    pub(crate) fn decode(&self) -> &str {
        or(&self.decode, "decode")
    }

    pub(crate) fn prefill(&self) -> &str {
        or(&self.prefill, "prefill")
    }

    pub(crate) fn encode(&self) -> &str {
        or(&self.encode, "encode")
    }
}

impl DisaggProfileHandler {
    /// Whether the profile is configured and has not run.
    fn is_open(stages: &Stages<'_>, profile: &str) -> bool {
        stages.has_profile(profile) && stages.outcome(profile).is_none()
    }

    /// Whether the encode stage runs next.
    fn encodes(&self, stages: &Stages<'_>, answering: Option<&EndpointFacts>) -> bool {
        Self::is_open(stages, self.profiles.encode())
            && stages.decides(&self.deciders.encode, answering)
    }

    fn next_decode_first<'a>(&'a self, stages: &Stages<'a>) -> Option<Stage<'a>> {
        let Self { profiles, deciders, .. } = self;
        if stages.outcome(profiles.decode()).is_none() {
            return Some(Stage::of(profiles.decode()));
        }
        let decoding = stages.best(profiles.decode())?;
        if self.encodes(stages, Some(decoding)) {
            return Some(Stage::of(profiles.encode()));
        }
        let prefills = Self::is_open(stages, profiles.prefill())
            && stages.decides(&deciders.prefill, Some(decoding));
        prefills.then(|| Stage { profile: profiles.prefill(), peer: Some(&decoding.topology) })
    }

    fn next_prefill_first<'a>(&'a self, stages: &Stages<'a>) -> Option<Stage<'a>> {
        let Self { profiles, .. } = self;
        if stages.outcome(profiles.decode()).is_some() {
            return None;
        }
        if Self::is_open(stages, profiles.prefill()) {
            return Some(Stage::of(profiles.prefill()));
        }
        if self.encodes(stages, None) {
            return Some(Stage::of(profiles.encode()));
        }
        let peer = stages.best(profiles.prefill()).map(|endpoint| &endpoint.topology);
        Some(Stage { profile: profiles.decode(), peer })
    }
}

impl ProfileHandler for DisaggProfileHandler {
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
        let decode = self.profiles.decode();
        if !stages.has_profile(decode) {
            return Err(ScheduleError::UnknownProfile(decode.into()));
        }
        Ok(match self.stage_order {
            StageOrder::DecodeFirst => self.next_decode_first(stages),
            StageOrder::PrefillFirst => self.next_prefill_first(stages),
        })
    }

    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
        let mut schedule = stages.led_by(self.profiles.decode())?;
        if let Some(prefilling) = stages.best(self.profiles.prefill()) {
            let address = prefilling.address().into();
            schedule.headers.insert("x-prefiller-host-port".into(), address);
        }
        let encoding = stages.addresses(self.profiles.encode());
        if !encoding.is_empty() {
            schedule.headers.insert("x-encoder-hosts-ports".into(), encoding.join(","));
        }
        Ok(schedule)
    }

    fn deciders(&self) -> Vec<&str> {
        let names = [self.deciders.prefill.as_str(), self.deciders.encode.as_str()];
        names.into_iter().filter(|name| !name.is_empty()).collect()
    }
}

#[cfg(feature = "serde")]
impl TryFrom<String> for StageOrder {
    type Error = &'static str;

    /// Case, hyphens and underscores do not count.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        let name: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        match name.to_lowercase().as_str() {
            "" | "decodefirst" | "decode" => Ok(Self::DecodeFirst),
            "prefillfirst" | "prefill" => Ok(Self::PrefillFirst),
            _ => Err("stageOrder must be decode-first or prefill-first"),
        }
    }
}

/// The parameters before their validation, in the present form and in the deprecated flat one.
#[cfg(feature = "serde")]
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    stage_order: StageOrder,
    profiles: Option<DisaggProfiles>,
    deciders: Option<DisaggDeciders>,
    decode_profile: Option<String>,
    prefill_profile: Option<String>,
    encode_profile: Option<String>,
    prefill_decider_plugin_name: Option<String>,
    encode_decider_plugin_name: Option<String>,
    decider_plugin_name: Option<String>,
}

#[cfg(feature = "serde")]
impl TryFrom<Parameters> for DisaggProfileHandler {
    type Error = &'static str;

    fn try_from(parameters: Parameters) -> Result<Self, Self::Error> {
        let Parameters { stage_order, profiles, deciders, .. } = parameters;
        let flat = [
            &parameters.decode_profile,
            &parameters.prefill_profile,
            &parameters.encode_profile,
            &parameters.prefill_decider_plugin_name,
            &parameters.encode_decider_plugin_name,
            &parameters.decider_plugin_name,
        ];
        let is_nested = profiles.is_some() || deciders.is_some();
        if is_nested && flat.iter().any(|parameter| parameter.is_some()) {
            return Err("profiles and deciders cannot be mixed with the deprecated parameters");
        }
        let [decode, prefill, encode, prefill_decider, encode_decider, decider] =
            flat.map(|parameter| parameter.clone().unwrap_or_default());
        let handler = Self {
            stage_order,
            profiles: profiles.unwrap_or(DisaggProfiles { decode, prefill, encode }),
            deciders: deciders.unwrap_or_else(|| DisaggDeciders {
                prefill: or(&prefill_decider, &decider).into(),
                encode: encode_decider,
            }),
        };
        if stage_order == StageOrder::PrefillFirst && !handler.deciders.prefill.is_empty() {
            return Err("stageOrder prefill-first allows no prefill decider");
        }
        Ok(handler)
    }
}
