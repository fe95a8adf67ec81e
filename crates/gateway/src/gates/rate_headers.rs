//! The headers that report what is left of a client's limits.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::Standing;
use super::limits::Measure;

/// The headers of OpenAI's API for requests and tokens: limit, what is left, and the time until
/// nothing is used. Of several quotas, the one of which least is left counts.
pub(super) fn write(standings: &[Standing]) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    for (measure, [limit, remaining, reset]) in NAMES {
        let of_measure = standings.iter().filter(|standing| standing.measure == measure);
        let Some(tightest) = of_measure.min_by_key(|standing| standing.remaining()) else {
            continue;
        };
        headers.push((limit, tightest.limit.to_string()));
        headers.push((remaining, tightest.remaining().to_string()));
        headers.push((reset, duration(tightest.reset.unwrap_or_default())));
    }
    headers
}

/// A duration as OpenAI writes it: `6m0s`, `1.5s`, `20ms`; rounded up to milliseconds.
fn duration(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    let (seconds, fraction) = (millis / 1_000 % 60, millis % 1_000);
    let fraction = format!("{fraction:03}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    text.push_str(&format!("{seconds}{point}{fraction}s"));
    text
}

const NAMES: [(Measure, [&str; 3]); 2] = [
    (
        Measure::Requests,
        [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
    ),
    (
        Measure::Tokens,
        ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_openai_writes_them() {
        for (micros, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (20_000, "20ms"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (360_000_000, "6m0s"),
            (3_600_000_000, "1h0m0s"),
            (59_999_500, "1m0s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }
}
