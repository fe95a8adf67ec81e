//! Durations as seconds in configurations.

use core::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(in crate::gates) fn serialize<S: Serializer>(
    time: &Duration,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

pub(in crate::gates) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| D::Error::custom("must be a number of seconds from 0"))
}
