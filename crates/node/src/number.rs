//! JavaScript's numbers to integers and times that must fit. Nothing wraps, nothing is cut.

use std::num::NonZeroU32;
use std::time::Duration;

use napi::bindgen_prelude::BigInt;
use slotwise::{EndpointId, Instant, RequestId};

use crate::error::Unfit;

type Fit<T> = Result<T, Unfit>;

/// The largest integer that a JavaScript number holds exactly.
pub(crate) const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// An integer between `least` and `most`.
fn whole(field: &str, value: f64, least: f64, most: f64) -> Fit<f64> {
    // A NaN is in no range.
    if (least..=most).contains(&value) && value.fract() == 0.0 {
        Ok(value)
    } else {
        Err(Unfit::range(
            field,
            format_args!("an integer between {least} and {most}"),
            shown(value),
        ))
    }
}

/// A count of 32 bits.
pub(crate) fn count(field: &str, value: f64) -> Fit<u32> {
    whole(field, value, 0.0, u32::MAX.into()).map(|value| value as u32)
}

/// A count of 32 bits that is not zero.
pub(crate) fn positive(field: &str, value: f64) -> Fit<NonZeroU32> {
    let value = whole(field, value, 1.0, u32::MAX.into())?;
    NonZeroU32::new(value as u32).ok_or_else(|| Unfit::range(field, "more than zero", value))
}

/// A status of HTTP.
pub(crate) fn status(field: &str, value: f64) -> Fit<u16> {
    whole(field, value, 0.0, u16::MAX.into()).map(|value| value as u16)
}

/// A limit of something that is held in memory.
pub(crate) fn size(field: &str, value: f64) -> Fit<usize> {
    whole(field, value, 0.0, MAX_SAFE.min(usize::MAX as f64)).map(|value| value as usize)
}

/// An integer of 32 bits with a sign.
pub(crate) fn signed(field: &str, value: f64) -> Fit<i32> {
    whole(field, value, i32::MIN.into(), i32::MAX.into()).map(|value| value as i32)
}

/// 64 bits that a number can hold exactly.
pub(crate) fn exact(field: &str, value: f64) -> Fit<u64> {
    whole(field, value, 0.0, MAX_SAFE).map(|value| value as u64)
}

/// An endpoint's number.
pub(crate) fn to_endpoint_id(field: &str, value: f64) -> Fit<EndpointId> {
    exact(field, value).map(EndpointId::from_u64)
}

/// A request's number.
pub(crate) fn to_request_id(value: f64) -> Fit<RequestId> {
    exact("requestId", value).map(RequestId::from_u64)
}

/// A point on the caller's clock, in milliseconds.
pub(crate) fn instant(field: &str, millis: f64) -> Fit<Instant> {
    let micros = (millis * 1_000.0).round();
    if (0.0..=MAX_SAFE).contains(&micros) {
        Ok(Instant::from_micros(micros as u64))
    } else {
        Err(Unfit::range(
            field,
            "a time in milliseconds, not negative, of at most 285 years",
            shown(millis),
        ))
    }
}

/// A length of time in milliseconds.
pub(crate) fn duration(field: &str, millis: f64) -> Fit<Duration> {
    let nanos = (millis * 1e6).round();
    // The largest double below 2^64.
    if (0.0..=18_446_744_073_709_549_568.0).contains(&nanos) {
        Ok(Duration::from_nanos(nanos as u64))
    } else {
        Err(Unfit::range(
            field,
            "a length of time in milliseconds, not negative, of at most 584 years",
            shown(millis),
        ))
    }
}

/// How long a request may wait, in milliseconds: for ever, if it is infinite.
pub(crate) fn patience(field: &str, millis: f64) -> Fit<Duration> {
    if millis == f64::INFINITY { Ok(Duration::MAX) } else { duration(field, millis) }
}

/// A share of what is shared out: any positive number.
pub(crate) fn weight(field: &str, value: f64) -> Fit<f64> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Unfit::range(field, "a finite number above zero", shown(value)))
    }
}

/// A point on the caller's clock as milliseconds; none if it is further away than the clock can
/// show.
pub(crate) fn time(at: Instant) -> Option<f64> {
    let micros = at.as_micros() as f64;
    (micros <= MAX_SAFE).then_some(micros / 1_000.0)
}

/// A length of time as milliseconds.
pub(crate) fn millis(length: Duration) -> f64 {
    length.as_nanos() as f64 / 1e6
}

/// A number, which NaN and the infinities are not.
pub(crate) fn finite(field: &str, value: f64) -> Fit<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Unfit::range(field, "a finite number", shown(value)))
    }
}

/// A bigint of up to 64 bits.
pub(crate) fn bits(field: &str, big: &BigInt) -> Result<u64, Unfit> {
    match big.words[..] {
        [] => Ok(0),
        [word] if !big.sign_bit || word == 0 => Ok(word),
        _ => Err(Unfit::range(field, "a bigint between 0 and 2^64 - 1", "one beyond")),
    }
}

/// A number as JavaScript writes it, near enough for a message.
fn shown(value: f64) -> String {
    if value.is_infinite() {
        format!("{}Infinity", if value < 0.0 { "-" } else { "" })
    } else if value.abs() < 1e21 {
        format!("{value}")
    } else {
        format!("{value:?}")
    }
}
