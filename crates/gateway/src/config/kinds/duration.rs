//! Durations as Go writes them: `60s`, `1m30s`, `200ms`.

use core::fmt;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use slotwise::plugins::parse_go_duration;

/// A duration that is not negative.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct GoDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = GoDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"60s\" or \"1m30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        parse_go_duration(text).map(GoDuration).ok_or_else(invalid)
    }
}
