//! The values of request headers.

use core::time::Duration;

use slotwise::Priority;

use crate::error::{ErrorKind, WireError};

/// The format in which the client wants the engine's load in the response header
/// `endpoint-load-metrics`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LoadFormat {
    /// `named_metrics.kv_cache_usage_perc=0.4, ...`
    Text,
    /// A JSON object.
    Json,
    /// A protocol buffer.
    Binary,
}

impl LoadFormat {
    /// The value of the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Json => "JSON",
            Self::Binary => "BIN",
        }
    }
}

/// A trimmed name; `None` if it is empty.
pub(super) fn text(value: &[u8]) -> Result<Option<&str>, WireError> {
    let (start, value) = trimmed(value);
    // Control characters could forge log lines or headers of another message.
    if let Some(at) = value.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(WireError::expected(start + at, "a character permitted in headers"));
    }
    match core::str::from_utf8(value) {
        Ok(text) => Ok((!text.is_empty()).then_some(text)),
        Err(error) => Err(WireError::new(start + error.valid_up_to(), ErrorKind::NotUtf8)),
    }
}

/// Positive milliseconds: `400` or `12.5`.
pub(super) fn milliseconds(value: &[u8]) -> Result<Duration, WireError> {
    let (start, value) = trimmed(value);
    let (nanos, read) = decimal(value, 1_000_000).map_err(|error| error.shifted(start))?;
    if read < value.len() {
        return Err(WireError::expected(start + read, "a digit"));
    }
    more_than_none(start, nanos)
}

/// A Go duration: numbers with units.
pub(super) fn go_duration(value: &[u8]) -> Result<Duration, WireError> {
    const UNITS: [(&[u8], u64); 8] = [
        (b"ns", 1),
        (b"us", 1_000),
        ("\u{b5}s".as_bytes(), 1_000),
        ("\u{3bc}s".as_bytes(), 1_000),
        (b"ms", 1_000_000),
        (b"s", 1_000_000_000),
        (b"m", 60_000_000_000),
        (b"h", 3_600_000_000_000),
    ];
    let (start, value) = trimmed(value);
    let mut nanos = 0_u64;
    let mut at = 0;
    while at < value.len() || at == 0 {
        let rest = value.get(at..).unwrap_or_default();
        let (_, digits) = decimal(rest, 1).map_err(|error| error.shifted(start + at))?;
        let after = rest.get(digits..).unwrap_or_default();
        let Some((unit, length)) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)) else {
            return Err(WireError::expected(start + at + digits, "a unit: ns, us, ms, s, m or h"));
        };
        let (part, _) = decimal(rest, *length)?;
        nanos = nanos.saturating_add(part);
        at += digits + unit.len();
    }
    more_than_none(start, nanos)
}

/// Converts vLLM's priority, where lower goes first, into the core's. Values are clamped.
pub(super) fn vllm_priority(value: &[u8]) -> Result<Priority, WireError> {
    let (start, value) = trimmed(value);
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let signs = value.len() - digits.len();
    if digits.is_empty() {
        return Err(WireError::expected(start + signs, "a digit"));
    }
    let mut size = 0_i32;
    for (at, byte) in digits.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return Err(WireError::expected(start + signs + at, "a digit"));
        }
        let digit = i32::from(byte - b'0');
        // Counts downwards, because the negative range is larger by one.
        size = size.saturating_mul(10).saturating_sub(digit);
    }
    Ok(Priority(if negative { size.saturating_neg() } else { size }))
}

/// The format of a load report.
pub(super) fn load_format(value: &[u8]) -> Result<LoadFormat, WireError> {
    let (start, value) = trimmed(value);
    [LoadFormat::Text, LoadFormat::Json, LoadFormat::Binary]
        .into_iter()
        .find(|format| format.as_str().as_bytes().eq_ignore_ascii_case(value))
        .ok_or_else(|| {
            WireError::new(
                start,
                ErrorKind::Unsupported("a load format other than TEXT, JSON and BIN"),
            )
        })
}

/// The trimmed value, and the number of trimmed leading bytes.
fn trimmed(value: &[u8]) -> (usize, &[u8]) {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    (start, value.get(start..end).unwrap_or_default())
}

/// Parses an unsigned decimal at the start of `value`, in units of `one`, rounded down. Returns it
/// with its length.
fn decimal(value: &[u8], one: u64) -> Result<(u64, usize), WireError> {
    let (mut units, mut place, mut digits, mut point) = (0_u64, one, 0, false);
    let mut end = value.len();
    for (at, byte) in value.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                digits += 1;
                units = if point {
                    place /= 10;
                    // Further digits are below the unit.
                    units.saturating_add(digit.saturating_mul(place))
                } else {
                    units.saturating_mul(10).saturating_add(digit.saturating_mul(one))
                };
            }
            b'.' if !point => point = true,
            _ => {
                end = at;
                break;
            }
        }
    }
    if digits == 0 {
        Err(WireError::expected(end.min(value.len()), "a digit"))
    } else {
        Ok((units, end))
    }
}

fn more_than_none(offset: usize, nanos: u64) -> Result<Duration, WireError> {
    if nanos == 0 {
        return Err(WireError::new(
            offset,
            ErrorKind::OutOfRange("a duration that is not positive"),
        ));
    }
    Ok(Duration::from_nanos(nanos))
}
