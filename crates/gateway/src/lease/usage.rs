//! Token counts as engines report them.

use slotwise::Usage;

/// What an engine reported that a request used: any numbers, as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReportedUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<f64>,
    /// Tokens of the prompt that were found in the cache.
    pub cached_tokens: Option<f64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<f64>,
}

/// The numbers of a [`ReportedUsage`] that count no tokens: negative, fractional, or 2^32 and more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImplausibleUsage(ReportedUsage);

impl ReportedUsage {
    /// The plausible numbers, and the others.
    ///
    /// ```
    /// use slotwise_gateway::lease::ReportedUsage;
    ///
    /// let mut reported = ReportedUsage::default();
    /// (reported.prompt_tokens, reported.completion_tokens) = (Some(8.0), Some(-1.0));
    /// let (usage, implausible) = reported.split();
    /// assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(8), None));
    /// assert_eq!(implausible.iter().collect::<Vec<_>>(), [("completion_tokens", -1.0)]);
    /// ```
    pub fn split(self) -> (Usage, ImplausibleUsage) {
        let (mut usage, mut implausible) = (Usage::default(), Self::default());
        (usage.prompt_tokens, implausible.prompt_tokens) = tokens(self.prompt_tokens);
        (usage.cached_tokens, implausible.cached_tokens) = tokens(self.cached_tokens);
        (usage.completion_tokens, implausible.completion_tokens) = tokens(self.completion_tokens);
        (usage, ImplausibleUsage(implausible))
    }

    fn iter(self) -> impl Iterator<Item = (&'static str, f64)> {
        let fields = [
            ("prompt_tokens", self.prompt_tokens),
            ("cached_tokens", self.cached_tokens),
            ("completion_tokens", self.completion_tokens),
        ];
        fields.into_iter().filter_map(|(name, number)| Some((name, number?)))
    }
}

impl From<Usage> for ReportedUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens.map(f64::from),
            cached_tokens: usage.cached_tokens.map(f64::from),
            completion_tokens: usage.completion_tokens.map(f64::from),
        }
    }
}

impl ImplausibleUsage {
    /// The fields and their numbers.
    pub fn iter(self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter()
    }

    /// Whether all numbers were plausible.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// A number of tokens, or else the number that is none.
fn tokens(reported: Option<f64>) -> (Option<u32>, Option<f64>) {
    let Some(number) = reported else { return (None, None) };
    // Of a number out of range, the cast gives the nearest bound, and of NaN 0: neither is the same
    // number.
    let tokens = number as u32;
    // Adding 0 turns -0.0 into 0.0.
    if f64::from(tokens).total_cmp(&(number + 0.0)).is_eq() {
        (Some(tokens), None)
    } else {
        (None, Some(number))
    }
}
