//! `header-profile-handler`: the profile that a header names.

use alloc::string::String;

use crate::plugins::profile_handler::{ProfileHandler, Schedule, ScheduleError, Stage, Stages};

/// `header-profile-handler`: runs the profile that a header names. The only profile runs without
/// the header too.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct HeaderProfileHandler {
    /// The header; empty means `EPP-Profile`. Case and surrounding white space do not count.
    pub header_name: String,
    /// The profile of requests without the header; empty means `decode`.
    pub default_profile: String,
}

impl HeaderProfileHandler {
    /// The profile that the request names, or the default one; `header` looks up a lower-case
    /// name.
    pub(crate) fn choose<'a>(&'a self, header: impl FnOnce(&str) -> Option<&'a str>) -> &'a str {
        let name = or(self.header_name.trim(), "epp-profile").to_lowercase();
        let named = header(&name).map_or("", str::trim);
        or(named, or(self.default_profile.trim(), "decode"))
    }
}

/// A name, or else the other if it is empty.
pub(super) const fn or<'a>(name: &'a str, other: &'a str) -> &'a str {
    if name.is_empty() { other } else { name }
}

impl ProfileHandler for HeaderProfileHandler {
    fn next_stage<'a>(&'a self, stages: &Stages<'a>) -> Result<Option<Stage<'a>>, ScheduleError> {
        let profile = match stages.profiles() {
            [only] => only,
            _ => {
                let headers = &stages.request.headers;
                self.choose(|name| headers.get(name).map(String::as_str))
            }
        };
        if !stages.has_profile(profile) {
            return Err(ScheduleError::UnknownProfile(profile.into()));
        }
        Ok(stages.outcome(profile).is_none().then(|| Stage::of(profile)))
    }

    fn finish(&self, stages: &Stages<'_>) -> Result<Schedule, ScheduleError> {
        stages.only()
    }
}
