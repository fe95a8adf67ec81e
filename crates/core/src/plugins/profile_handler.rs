//! The trait of profile handlers, and the request that they lead through the profiles.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::facts::{EndpointFacts, RequestFacts, Topology};
use crate::disaggregation::{Decider, DeciderFacts, pd_decide};

/// Selects the profiles that a request runs, one after the other.
///
/// ```
/// use slotwise::plugins::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};
///
/// /// Runs the profile `small` for short prompts, or else `large`.
/// #[derive(Debug)]
/// struct BySize;
///
/// impl ProfileHandler for BySize {
///     fn next_stage<'a>(
///         &'a self,
///         stages: &Stages<'a>,
///     ) -> Result<Option<Stage<'a>>, ScheduleError> {
///         let profile = if stages.request.prompt_tokens < 1_000 { "small" } else { "large" };
///         Ok(stages.outcome(profile).is_none().then(|| Stage::of(profile)))
///     }
///
///     fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
///         stages.only()
///     }
/// }
/// ```
pub trait ProfileHandler: fmt::Debug + Send {
    /// The profile that runs next; `None` when all have run.
    ///
    /// # Errors
    ///
    /// The profiles do not fit the handler or the request.
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError>;

    /// The result, after the last profile has run.
    ///
    /// # Errors
    ///
    /// The filters of a profile that the request needs left no endpoint.
    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError>;

    /// The names of the deciders that the handler asks.
    fn deciders(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// A profile to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stage<'a> {
    /// The name of the profile.
    pub profile: &'a str,
    /// Where the endpoint of the peer stage runs, if one was selected before.
    pub peer: Option<&'a Topology>,
}

impl<'a> Stage<'a> {
    /// This profile, without a peer.
    pub const fn of(profile: &'a str) -> Self {
        Self { profile, peer: None }
    }
}

/// A request, and the profiles that it has run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stages<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// The pool.
    pub endpoints: &'a [EndpointFacts],
    profiles: &'a [String],
    deciders: &'a BTreeMap<String, Decider>,
    outcomes: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Stages<'a> {
    pub(super) const fn new(
        request: &'a RequestFacts,
        endpoints: &'a [EndpointFacts],
        profiles: &'a [String],
        deciders: &'a BTreeMap<String, Decider>,
    ) -> Self {
        Self { request, endpoints, profiles, deciders, outcomes: BTreeMap::new() }
    }

    /// Records the outcome of a profile; false if it has run before.
    pub(super) fn record(&mut self, profile: &'a str, picked: Vec<usize>) -> bool {
        self.outcomes.insert(profile, picked).is_none()
    }

    /// The names of the configured profiles, in order.
    pub const fn profiles(&self) -> &'a [String] {
        self.profiles
    }

    /// Whether there is a profile of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.profiles.iter().any(|profile| profile == name)
    }

    /// The places of the endpoints that a profile selected, best first; empty if its filters left
    /// none. `None` if it has not run.
    pub fn outcome(&self, profile: &str) -> Option<&[usize]> {
        self.outcomes.get(profile).map(Vec::as_slice)
    }

    /// The best endpoint that a profile selected.
    pub fn best(&self, profile: &str) -> Option<&'a EndpointFacts> {
        self.endpoints.get(*self.outcome(profile)?.first()?)
    }

    /// The addresses of the endpoints that a profile selected.
    pub fn addresses(&self, profile: &str) -> Vec<&'a str> {
        let places = self.outcome(profile).unwrap_or(&[]).iter();
        places.filter_map(|place| self.endpoints.get(*place)).map(EndpointFacts::address).collect()
    }

    /// Whether this decider disaggregates the request, given the endpoint that answers.
    ///
    /// Facts have no predicted costs, so `predicted-cost-pd-decider` does not. As in the reference,
    /// `prefix-based-pd-decider` does not either where the cached prefix is not known.
    pub fn decides(&self, decider: &str, answering: Option<&EndpointFacts>) -> bool {
        let Some(decider) = self.deciders.get(decider) else { return false };
        let prefix = answering.filter(|endpoint| endpoint.total_blocks > 0);
        if matches!(decider, Decider::PrefixBasedPd(_)) && prefix.is_none() {
            return false;
        }
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let cached = prefix.map_or(0, |it| it.match_blocks.saturating_mul(it.block_tokens));
        pd_decide(
            decider,
            &DeciderFacts {
                prompt_tokens: tokens(self.request.prompt_tokens),
                cached_tokens: tokens(cached),
                multimodal: self.request.media > 0,
                ..DeciderFacts::default()
            },
        )
    }

    /// The result of a request that ran one profile.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NoEndpoint`] if its filters left none; [`ScheduleError::ProfileCount`] if
    /// none or several profiles ran.
    pub fn only(&self) -> Result<Schedule, ScheduleError> {
        match self.outcomes.first_key_value() {
            Some((profile, _)) if self.outcomes.len() == 1 => self.led_by(profile),
            _ => Err(ScheduleError::ProfileCount(self.outcomes.len())),
        }
    }

    /// The result of a request whose primary profile is this one.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NoEndpoint`] if the filters of the profile left none.
    pub fn led_by(&self, primary: &str) -> Result<Schedule, ScheduleError> {
        let destinations = self.addresses(primary);
        if destinations.is_empty() {
            return Err(ScheduleError::NoEndpoint(primary.into()));
        }
        let selected = self.outcomes.iter().filter(|(_, picked)| !picked.is_empty());
        let mut picked = BTreeMap::new();
        picked.extend(selected.map(|(name, picked)| (String::from(*name), picked.clone())));
        Ok(Schedule {
            primary: primary.into(),
            picked,
            destinations: destinations.into_iter().map(Into::into).collect(),
            headers: BTreeMap::new(),
        })
    }
}

/// The endpoints of a request, over all profiles that it ran.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Schedule {
    /// The profile whose endpoint receives the request.
    pub primary: String,
    /// The places of the selected endpoints by profile, best first. Profiles whose filters left
    /// none are missing.
    pub picked: BTreeMap<String, Vec<usize>>,
    /// The addresses to send the request to: the best endpoint, and fallbacks.
    pub destinations: Vec<String>,
    /// Headers for the endpoint, by name. Values that a client sent under these names must be
    /// removed: `x-prefiller-host-port`, `x-encoder-hosts-ports`, `x-data-parallel-host-port`.
    pub headers: BTreeMap<String, String>,
}

/// Why no endpoint was selected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The handler needs exactly one profile; there are this many.
    ProfileCount(usize),
    /// No profile has this name.
    UnknownProfile(String),
    /// The filters of this profile left no endpoint.
    NoEndpoint(String),
    /// The handler selected this profile a second time.
    RepeatedProfile(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProfileCount(count) => write!(f, "{count} profiles, the handler needs 1"),
            Self::UnknownProfile(name) => write!(f, "no profile has the name {name:?}"),
            Self::NoEndpoint(name) => write!(f, "the filters of profile {name:?} left no endpoint"),
            Self::RepeatedProfile(name) => write!(f, "profile {name:?} has run already"),
        }
    }
}

impl core::error::Error for ScheduleError {}
