//! The range of context lengths that a label of an endpoint states.

/// The label that `context-length-aware` reads unless configured otherwise.
pub(super) const DEFAULT_LABEL: &str = "llm-d.ai/context-length-range";

/// A range of context lengths in tokens; both ends belong to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ContextRange {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl ContextRange {
    /// Reads `min-max`, such as `2048-8192`; white space around the numbers is allowed.
    pub(super) fn parse(label: &str) -> Option<Self> {
        let (min, max) = label.split_once('-')?;
        // Engines in the reference count in signed integers, so larger numbers are unreadable.
        let number = |text: &str| u64::try_from(text.trim().parse::<i64>().ok()?).ok();
        let (min, max) = (number(min)?, number(max)?);
        (min <= max).then_some(Self { min, max })
    }

    /// Whether the range contains this length.
    pub(super) const fn contains(self, tokens: u64) -> bool {
        self.min <= tokens && tokens <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_two_numbers() {
        let range = |min, max| Some(ContextRange { min, max });
        assert_eq!(ContextRange::parse("0-2048"), range(0, 2048));
        assert_eq!(ContextRange::parse(" 1 - +2 "), range(1, 2));
        for label in ["", "-", "5", "5-", "-5", "1-2-3", "9-1", "a-b", "-5-9", "1.0-2", "1_0-20"] {
            assert_eq!(ContextRange::parse(label), None, "{label:?}");
        }
        assert_eq!(ContextRange::parse("0-9223372036854775808"), None);
    }
}
