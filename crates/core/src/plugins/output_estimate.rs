//! The expected length of an answer, from the length of its prompt.

/// The default ratio of output to input tokens.
pub const OUTPUT_RATIO: f64 = 1.5;

/// The expected output tokens of a request, as the reference's in-flight accounting estimates them:
/// `round(input_tokens · ratio)`, at most the client's limit and the operator's.
///
/// A limit that is absent or negative does not count. Without input the estimate is zero. Halves
/// round up.
///
/// ```
/// use slotwise::plugins::{OUTPUT_RATIO, estimate_output};
///
/// assert_eq!(estimate_output(101, OUTPUT_RATIO, None, None), 152);
/// assert_eq!(estimate_output(1_000, OUTPUT_RATIO, Some(256), Some(512)), 256);
/// assert_eq!(estimate_output(0, OUTPUT_RATIO, Some(256), None), 0);
/// ```
pub fn estimate_output(
    input_tokens: i64,
    ratio: f64,
    client_max_tokens: Option<i64>,
    operator_cap: Option<i64>,
) -> u64 {
    // A float-to-integer `as` truncates, saturates, and turns NaN into zero.
    let product = input_tokens.max(0) as f64 * ratio;
    let whole = product as u64;
    let estimate = whole.saturating_add(u64::from(product - whole as f64 >= 0.5));
    let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    let limits = [limit(client_max_tokens), limit(operator_cap)];
    limits.into_iter().flatten().fold(estimate, u64::min)
}
