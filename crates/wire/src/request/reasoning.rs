//! What a model thought in earlier turns: templates leave most of it out of the next prompt.
//!
//! | model's name contains | reasoning that its template keeps | source |
//! |---|---|---|
//! | `gpt-oss`, `kimi` | behind the last answer without tool calls | `chat_template.jinja` of `openai/gpt-oss-120b`, of `moonshotai/Kimi-K2-Thinking` |
//! | anything else | behind the last message of the user | `chat_template` of `Qwen/Qwen3-32B`, `zai-org/GLM-4.6`, `MiniMaxAI/MiniMax-M2`; DeepSeek-R1 keeps none |
//!
//! A user message that holds nothing but results of tools is no message of the user here. `chat_template_kwargs` with
//! `preserve_thinking: true`, `clear_thinking: false` or `drop_thinking: false` keeps everything.

use alloc::vec::Vec;
use core::ops::Range;

/// Where reasoning stands on a page, and which messages decide how much of it stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasoning {
    /// In the order of the page.
    places: Vec<Range<usize>>,
    /// Where the last message of the user begins.
    query: usize,
    /// Where the last answer without a tool call ends.
    answer: usize,
}

/// Which reasoning a template keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeptReasoning {
    All,
    /// What stands behind the last message of the user.
    AfterLastQuery,
    /// What stands behind the last answer without tool calls.
    AfterLastAnswer,
}

impl KeptReasoning {
    /// What the templates of this model keep.
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

    /// Reasoning stands here.
    pub(super) fn add(&mut self, place: Range<usize>) {
        if !place.is_empty() {
            self.places.push(place);
        }
    }

    /// What was written from here on is taken back.
    pub(super) fn cut(&mut self, length: usize) {
        while self.places.last().is_some_and(|place| place.end > length || place.start >= length) {
            self.places.pop();
        }
    }

    /// A message of the user begins here.
    pub(super) const fn query(&mut self, start: usize) {
        self.query = start;
    }

    /// An answer without tool calls ends here.
    pub(super) const fn answer(&mut self, end: usize) {
        self.answer = end;
    }

    /// The section without the reasoning that the template leaves out, in pieces.
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
