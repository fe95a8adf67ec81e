//! ORCA load reports: the load of a server in a header of its response.

use core::num::NonZeroU32;

use slotwise::Load;

use super::Result;
use crate::error::{ErrorKind, WireError};
use crate::json::{Kind, Reader};

/// The response header that [`OrcaReport::read`] parses.
pub const ORCA_HEADER: &str = "endpoint-load-metrics";

/// The request header that enables the report in vLLM and Triton, with the value `TEXT` or `JSON`.
pub const ORCA_FORMAT_HEADER: &str = "endpoint-load-metrics-format";

/// The contents of the header `endpoint-load-metrics`.
///
/// ```
/// use slotwise_wire::metrics::OrcaReport;
///
/// let header = "TEXT named_metrics.kv_cache_usage_perc=0.5, named_metrics.num_requests_waiting=3";
/// let report = OrcaReport::read(header.as_bytes())?;
/// assert_eq!(report.load.waiting, Some(3));
/// assert_eq!(report.load.kv_usage, Some(0.5));
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OrcaReport {
    /// The load of the endpoint.
    pub load: Load,
    /// The capacity of the KV cache in tokens, as reported by Triton.
    pub kv_cache_tokens: Option<NonZeroU32>,
    /// The number of unknown metrics, and of metrics without a number.
    pub skipped: usize,
}

impl OrcaReport {
    /// Parses the value of the header: text or JSON, with or without a leading `TEXT` or `JSON`.
    ///
    /// Computes in **O(bytes)** and allocates only for keys with escapes. The known named metrics
    /// are `num_requests_waiting`, `num_requests_running`, `max_token_capacity` and
    /// `kv_cache_usage_perc`. Other versions and engines name the last one `kv_cache_utilization`
    /// or `gpu_cache_usage_perc`.
    ///
    /// # Errors
    ///
    /// Returns an error if a known metric has no number or occurs twice, for malformed JSON, and
    /// for the binary format. Without any known metric, the error is [`ErrorKind::NothingKnown`] if
    /// there are other metrics, and [`ErrorKind::NotMetrics`] otherwise.
    pub fn read(header: &[u8]) -> Result<Self> {
        let blanks = header.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (word, start) = word(header, blanks);
        if word.eq_ignore_ascii_case(b"BIN") {
            return Err(WireError::new(
                blanks,
                ErrorKind::Unsupported("the binary format of ORCA"),
            ));
        }
        let body = header.get(start..).unwrap_or_default();
        let read = if word.eq_ignore_ascii_case(b"JSON") || body.first() == Some(&b'{') {
            json(body)
        } else {
            text(body)
        };
        let report = read.map_err(|error| error.shifted(start))?;
        if report.load != Load::default() || report.kv_cache_tokens.is_some() {
            return Ok(report);
        }
        // ORCA metrics have names and values; other text is not ORCA.
        let has_metrics =
            body.first() != Some(&b'<') && body.iter().any(|byte| matches!(byte, b'=' | b':'));
        let problem = if has_metrics { ErrorKind::NothingKnown } else { ErrorKind::NotMetrics };
        Err(WireError::new(start, problem))
    }
}

/// A known metric.
#[derive(Clone, Copy)]
enum Named {
    Waiting,
    Running,
    KvUsage,
    KvCapacity,
}

impl Named {
    /// Finds a metric by name, with the precedence of that name; the lowest counts.
    const fn of(name: &[u8]) -> Option<(Self, u8)> {
        match name {
            b"num_requests_waiting" => Some((Self::Waiting, 0)),
            b"num_requests_running" => Some((Self::Running, 0)),
            b"kv_cache_usage_perc" => Some((Self::KvUsage, 0)),
            b"kv_cache_utilization" => Some((Self::KvUsage, 1)),
            b"gpu_cache_usage_perc" => Some((Self::KvUsage, 2)),
            b"max_token_capacity" => Some((Self::KvCapacity, 0)),
            _ => None,
        }
    }
}

/// A partial report, with the precedence by which each metric was set.
#[derive(Default)]
struct Taken {
    report: OrcaReport,
    names: [Option<u8>; 4],
}

impl Taken {
    fn take(&mut self, (metric, name): (Named, u8), value: f64, at: usize) -> Result<()> {
        let Some(known) = self.names.get_mut(metric as usize) else { return Ok(()) };
        match *known {
            Some(other) if other == name => {
                return Err(WireError::expected(at, "each metric once"));
            }
            Some(other) if other < name => return Ok(()),
            _ => {}
        }
        if !value.is_finite() {
            return Ok(());
        }
        *known = Some(name);
        // A float-to-integer `as` saturates.
        let count = (value + 0.5) as u32;
        let load = &mut self.report.load;
        match metric {
            Named::Waiting => *load = load.waiting(count),
            Named::Running => *load = load.running(count),
            Named::KvUsage => *load = load.kv_usage(value),
            Named::KvCapacity => self.report.kv_cache_tokens = NonZeroU32::new(count),
        }
        Ok(())
    }
}

/// Splits off the leading format name, if there is one, and returns it with the offset of the rest.
fn word(header: &[u8], blanks: usize) -> (&[u8], usize) {
    let rest = header.get(blanks..).unwrap_or_default();
    let word = rest
        .get(..rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count())
        .unwrap_or_default();
    let after = blanks + word.len();
    let ends = header.get(after).is_none_or(u8::is_ascii_whitespace);
    let is_format =
        [&b"TEXT"[..], b"JSON", b"BIN"].iter().any(|format| word.eq_ignore_ascii_case(format));
    if !ends || !is_format {
        return (&[], blanks);
    }
    let more = header.get(after..).unwrap_or_default();
    (word, after + more.iter().take_while(|byte| byte.is_ascii_whitespace()).count())
}

/// `named_metrics.name=number, ...`
fn text(body: &[u8]) -> Result<OrcaReport> {
    let mut taken = Taken::default();
    let mut at = 0;
    for part in body.split(|byte| *byte == b',') {
        let start = at + part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        at += part.len() + 1;
        let part = part.trim_ascii();
        if part.is_empty() {
            continue;
        }
        let length = part.iter().take_while(|byte| **byte != b'=').count();
        let (key, value) = part.split_at_checked(length).unwrap_or((part, &[]));
        let key = key.trim_ascii_end().strip_prefix(b"named_metrics.");
        let Some(metric) = key.and_then(Named::of) else {
            taken.report.skipped += 1;
            continue;
        };
        let Some(value) = value.strip_prefix(b"=") else {
            return Err(WireError::expected(start + length, "="));
        };
        let blanks = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let from = start + length + 1 + blanks;
        taken.take(metric, number(value.trim_ascii(), from)?, start)?;
    }
    Ok(taken.report)
}

/// `{"named_metrics": {"name": number, ...}, ...}`
fn json(body: &[u8]) -> Result<OrcaReport> {
    let mut taken = Taken::default();
    let mut reader = Reader::new(body)?;
    let mut seen = false;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        // The second spelling is protobuf's JSON mapping.
        if !key.is("named_metrics") && !key.is("namedMetrics") {
            reader.skip()?;
            taken.report.skipped += 1;
            continue;
        }
        if core::mem::replace(&mut seen, true) {
            return Err(WireError::expected(key.at(), "each metric once"));
        }
        if reader.null()? {
            continue;
        }
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            let Some(metric) = Named::of(key.read().as_bytes()) else {
                reader.skip()?;
                taken.report.skipped += 1;
                continue;
            };
            let value = match reader.kind()? {
                Kind::Null => {
                    reader.null()?;
                    f64::NAN
                }
                // Protobuf writes NaN and infinity as strings.
                Kind::Text => {
                    let text = reader.text()?;
                    number(text.raw().as_bytes(), text.at())?
                }
                _ => reader.number()?.float(),
            };
            taken.take(metric, value, key.at())?;
        }
    }
    reader.end()?;
    Ok(taken.report)
}

fn number(digits: &[u8], at: usize) -> Result<f64> {
    let number = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| WireError::expected(at, "a number"))
}
