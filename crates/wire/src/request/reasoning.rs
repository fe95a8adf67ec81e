//! Reasoning of earlier turns, most of which templates leave out of the next prompt.
//!
//! | name of the model | reasoning that the template keeps | source |
//! |---|---|---|
//! | has `gpt-oss` or `kimi` | after the last answer without tool calls | (1), (2) |
//! | any other | after the last user message | (3), (4), (5); DeepSeek-R1 keeps none |
//!
//! The sources are `chat_template.jinja` of (1) `openai/gpt-oss-120b` and (2)
//! `moonshotai/Kimi-K2-Thinking`, and `chat_template` of (3) `Qwen/Qwen3-32B`, (4)
//! `zai-org/GLM-4.6` and (5) `MiniMaxAI/MiniMax-M2`.
//!
//! A user message that consists of tool results does not count as one here. `chat_template_kwargs`
//! with `preserve_thinking: true`, `clear_thinking: false` or `drop_thinking: false` keeps all
//! reasoning.

use alloc::vec::Vec;
use core::ops::Range;

/// The ranges of reasoning in the canonical text, and the messages that decide which of them stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasoning {
    /// In the order of the text.
    places: Vec<Range<usize>>,
    /// The start of the last user message.
    query: usize,
    /// The end of the last answer without a tool call.
    answer: usize,
}

/// The reasoning that a template keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeptReasoning {
    All,
    /// Reasoning after the last user message.
    AfterLastQuery,
    /// Reasoning after the last answer without tool calls.
    AfterLastAnswer,
}

impl KeptReasoning {
    /// The rule of this model's template.
    pub(super) fn by(model: &str) -> Self {
        let has = |name: &str| {
            model
                .as_bytes()
                .windows(name.len())
                .any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
        };
        if has("gpt-oss") || has("kimi") { Self::AfterLastAnswer } else { Self::AfterLastQuery }
    }
}

impl Reasoning {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        (self.query, self.answer) = (0, 0);
    }

    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.clear();
        self.places.shrink_to(bytes / size_of::<Range<usize>>());
    }

    /// Adds a range of reasoning.
    pub(super) fn add(&mut self, place: Range<usize>) {
        if !place.is_empty() {
            self.places.push(place);
        }
    }

    /// Drops ranges beyond `length`.
    pub(super) fn cut(&mut self, length: usize) {
        while self.places.last().is_some_and(|place| place.end > length || place.start >= length) {
            self.places.pop();
        }
    }

    /// Records the start of a user message.
    pub(super) const fn query(&mut self, start: usize) {
        self.query = start;
    }

    /// Records the end of an answer without tool calls.
    pub(super) const fn answer(&mut self, end: usize) {
        self.answer = end;
    }

    /// Splits a section into pieces without the reasoning that the template leaves out.
    pub(super) fn split(
        &self,
        section: Range<usize>,
        kept: KeptReasoning,
        pieces: &mut Vec<Range<usize>>,
    ) {
        let until = match kept {
            KeptReasoning::All => 0,
            KeptReasoning::AfterLastQuery => self.query,
            KeptReasoning::AfterLastAnswer => self.answer,
        };
        let mut from = section.start;
        for place in &self.places {
            if place.start >= from && place.end <= section.end && place.start < until {
                pieces.push(from..place.start);
                from = place.end;
            }
        }
        pieces.push(from..section.end);
    }
}
