//! The scheduling profile of each request, and of each of its stages.

use alloc::string::String;
use alloc::vec::Vec;

use crate::config::ConfigError;
use crate::disaggregation::Decider;
use crate::endpoint::Role;
use crate::plugins::{
    HandlerPlugin, HeaderProfileHandler, ProfileSetConfig, SchedulingProfile, StageOrder,
};
use crate::request::Request;

/// Scheduling profiles, and which of them applies.
#[derive(Debug)]
pub(crate) struct StageProfiles {
    /// In the order of the names.
    names: Vec<String>,
    /// In parallel with `names`.
    profiles: Vec<SchedulingProfile>,
    choice: Choice,
    deciders: Option<StageDeciders>,
}

/// Whether other endpoints prefill and encode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageDeciders {
    pub(crate) prefill: Decider,
    pub(crate) encode: Decider,
}

/// Which profile applies; numbers are places.
#[derive(Debug)]
enum Choice {
    /// The first one.
    First,
    /// The one that a header names.
    ByHeader(HeaderProfileHandler),
    /// The one of the stage. A stage without a profile has no endpoint.
    ByStage { decode: usize, prefill: Option<usize>, encode: Option<usize> },
}

impl StageProfiles {
    /// One profile for all requests.
    pub(crate) fn of_one(profile: SchedulingProfile) -> Self {
        let (names, profiles) = (Vec::from([String::new()]), Vec::from([profile]));
        Self { names, profiles, choice: Choice::First, deciders: None }
    }

    /// The profiles of a configuration.
    ///
    /// # Errors
    ///
    /// The handler needs a profile or a decider that the configuration does not have.
    pub(crate) fn new(config: ProfileSetConfig) -> Result<Self, ConfigError> {
        let ProfileSetConfig { handler, profiles, deciders } = config;
        let (names, profiles): (Vec<String>, Vec<SchedulingProfile>) =
            profiles.into_iter().map(|(name, profile)| (name, profile.into())).unzip();
        let place = |name: &str| names.binary_search_by(|it| it.as_str().cmp(name)).ok();
        let decider = |name: &str| match deciders.get(name) {
            None if name.is_empty() => Ok(Decider::Never),
            found => found.copied().ok_or(NO_DECIDER),
        };
        let (choice, deciders) = match handler {
            HandlerPlugin::Single(_) | HandlerPlugin::DataParallel(_) if names.len() != 1 => {
                return Err(NOT_ONE);
            }
            HandlerPlugin::Single(_) | HandlerPlugin::DataParallel(_) => (Choice::First, None),
            HandlerPlugin::Header(_) if names.is_empty() => return Err(NO_PROFILE),
            HandlerPlugin::Header(_) if names.len() == 1 => (Choice::First, None),
            HandlerPlugin::Header(handler) => (Choice::ByHeader(handler), None),
            HandlerPlugin::Disagg(handler) => {
                let prefill = match handler.stage_order {
                    StageOrder::DecodeFirst => decider(&handler.deciders.prefill)?,
                    StageOrder::PrefillFirst => Decider::AlwaysPd,
                };
                let encode = decider(&handler.deciders.encode)?;
                let choice = Choice::ByStage {
                    decode: place(handler.profiles.decode()).ok_or(NO_PROFILE)?,
                    prefill: place(handler.profiles.prefill()),
                    encode: place(handler.profiles.encode()),
                };
                (choice, Some(StageDeciders { prefill, encode }))
            }
            HandlerPlugin::Pd(handler) => {
                let prefill = decider(&handler.decider_plugin_name)?;
                let choice = Choice::ByStage {
                    decode: place(handler.decode()).ok_or(NO_PROFILE)?,
                    prefill: place(handler.prefill()),
                    encode: None,
                };
                (choice, Some(StageDeciders { prefill, encode: Decider::Never }))
            }
        };
        Ok(Self { names, profiles, choice, deciders })
    }

    /// Whether other endpoints prefill and encode, if the handler decides it.
    pub(crate) const fn deciders(&self) -> Option<StageDeciders> {
        self.deciders
    }

    /// The profile of the request's stage; `None` if there is none.
    pub(super) fn choose(&self, request: &Request<'_>) -> Option<&SchedulingProfile> {
        let place = match &self.choice {
            Choice::First => 0,
            Choice::ByHeader(handler) => {
                let header = |wanted: &str| {
                    let found = request.headers.iter();
                    let mut found = found.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.next().map(|(_, value)| *value)
                };
                let name = handler.choose(header);
                self.names.binary_search_by(|it| it.as_str().cmp(name)).ok()?
            }
            Choice::ByStage { decode, prefill, encode } => match request.role {
                Role::Prefill => (*prefill)?,
                Role::Encode => (*encode)?,
                _ => *decode,
            },
        };
        self.profiles.get(place)
    }
}

const NOT_ONE: ConfigError =
    ConfigError::new("profiles.profiles", "must have exactly one profile for this handler");
const NO_PROFILE: ConfigError =
    ConfigError::new("profiles.profiles", "must have the profile that the handler needs");
const NO_DECIDER: ConfigError =
    ConfigError::new("profiles.deciders", "must have the decider that the handler names");
