//! Several profiles, and the handler that leads a request through them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::facts::{EndpointFacts, RequestFacts};
use super::handlers::HandlerPlugin;
use super::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};
use super::scheduling_profile::{ProfileConfig, SchedulingProfile};
use crate::disaggregation::Decider;
use crate::rng::Rng;

/// Profiles by name, and their handler, as data.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ProfileSetConfig {
    /// The handler.
    pub handler: HandlerPlugin,
    /// The profiles by name.
    pub profiles: BTreeMap<String, ProfileConfig>,
    /// The deciders by name, which the handler's parameters refer to.
    pub deciders: BTreeMap<String, Decider>,
}

/// Profiles by name, and the handler that leads a request through them.
///
/// ```
/// use slotwise::plugins::{EndpointFacts, ProfileSet, ProfileSetConfig, RequestFacts};
///
/// let mut profiles = ProfileSet::new(ProfileSetConfig::of_one("default", Default::default()))?;
/// let endpoints = [EndpointFacts { name: "10.0.0.1:8000".into(), ..EndpointFacts::default() }];
/// let schedule = profiles.schedule(&RequestFacts::default(), &endpoints, 7)?;
/// assert_eq!(schedule.primary, "default");
/// assert_eq!(schedule.destinations, ["10.0.0.1:8000"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProfileSet {
    handler: Box<dyn ProfileHandler>,
    /// In the order of the names.
    profiles: Vec<SchedulingProfile>,
    /// In order.
    names: Vec<String>,
    deciders: BTreeMap<String, Decider>,
}

/// The handler refers to a decider that is not configured.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnknownDecider {
    /// The name of the decider.
    pub name: String,
}

impl ProfileSetConfig {
    /// One profile, with `single-profile-handler`.
    pub fn of_one(name: impl Into<String>, profile: ProfileConfig) -> Self {
        Self { profiles: BTreeMap::from([(name.into(), profile)]), ..Self::default() }
    }
}

impl ProfileSet {
    /// The profiles of a configuration.
    ///
    /// # Errors
    ///
    /// [`UnknownDecider`] if the handler refers to a decider that is not configured.
    pub fn new(config: ProfileSetConfig) -> Result<Self, UnknownDecider> {
        let ProfileSetConfig { handler, profiles, deciders } = config;
        let mut built = BTreeMap::new();
        built.extend(profiles.into_iter().map(|(name, profile)| (name, profile.into())));
        Self::of(handler.into_plugin(), built, deciders)
    }

    /// Profiles and a handler that the host has built.
    ///
    /// # Errors
    ///
    /// [`UnknownDecider`] if the handler refers to a decider that is not configured.
    pub fn of(
        handler: Box<dyn ProfileHandler>,
        profiles: BTreeMap<String, SchedulingProfile>,
        deciders: BTreeMap<String, Decider>,
    ) -> Result<Self, UnknownDecider> {
        let unknown = handler.deciders().into_iter().find(|name| !deciders.contains_key(*name));
        if let Some(name) = unknown {
            return Err(UnknownDecider { name: name.into() });
        }
        let (names, profiles) = profiles.into_iter().unzip();
        Ok(Self { handler, profiles, names, deciders })
    }

    /// Runs the profiles that the handler selects. Random choices follow from `seed`; the first
    /// profile selects what [`SchedulingProfile::select`] selects with it.
    ///
    /// Each profile runs at most once.
    ///
    /// # Errors
    ///
    /// The profiles do not fit the handler or the request, or the filters of a profile that the
    /// request needs left no endpoint.
    pub fn schedule(
        &mut self,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        seed: u64,
    ) -> Result<Schedule, ScheduleError> {
        let Self { handler, profiles, names, deciders } = self;
        let mut stages = Stages::new(request, endpoints, names, deciders);
        let (mut seed, mut seeds) = (seed, Rng::new(seed));
        while let Some(Stage { profile, peer }) = handler.next_stage(&stages)? {
            let found = names.binary_search_by(|name| name.as_str().cmp(profile));
            let place = found.map_err(|_| ScheduleError::UnknownProfile(profile.into()))?;
            let picked = match peer {
                Some(peer) => {
                    let request = RequestFacts { peer: Some(peer.clone()), ..request.clone() };
                    profiles[place].select(&request, endpoints, seed).picked
                }
                None => profiles[place].select(request, endpoints, seed).picked,
            };
            if !stages.record(&names[place], picked) {
                return Err(ScheduleError::RepeatedProfile(profile.into()));
            }
            seed = seeds.next_u64();
        }
        handler.finish(&stages)
    }
}

impl fmt::Display for UnknownDecider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no decider has the name {:?}", self.name)
    }
}

impl core::error::Error for UnknownDecider {}
