//! Checks of prompts and answers: the gateway asks, the host answers.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | questions, verdicts and the configuration |
//! | `check` | the check of one prompt or answer: its states |
//! | `held` | what is held back, and what the look-back allows to release |

mod check;
mod held;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::Instant;

pub use check::SafetyCheck;

use crate::InvalidField;

/// How prompts and answers are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SafetyConfig {
    /// What happens if a check fails, or does not end in time.
    pub on_failure: OnFailure,
    /// The longest time of one check. In configuration files: in seconds.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub timeout: Duration,
    /// Bytes of text at the end of a stream that are held back after they were judged. A phrase of
    /// at most this length is never sent in part before the whole of it was judged.
    pub look_back: usize,
    /// Bytes of new text in a stream that lead to a question.
    pub question_bytes: usize,
    /// The longest time that new text of a stream waits for more before it leads to a question. In
    /// configuration files: in seconds.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub question_delay: Duration,
    /// Bytes that are held back at most. A prompt or a body that is longer cannot be checked.
    pub max_held: usize,
}

/// What happens if the host's check fails, does not end in time, or cannot be asked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum OnFailure {
    /// The text is blocked: fail-closed.
    #[default]
    Block,
    /// The text passes: fail-open.
    Allow,
}

/// What is checked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// The texts of a request's body.
    Prompt,
    /// The texts of an answer's body.
    Answer,
    /// The texts of a streamed answer.
    Stream,
}

/// Texts for the host to judge.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// Names the question in the verdict.
    pub id: u64,
    /// The texts. In a stream, each is one part of the answer, such as a choice: what was held back
    /// after the previous question, and what is new.
    pub texts: Vec<String>,
    /// When the [fallback](OnFailure) applies.
    pub deadline: Instant,
}

/// The host's answer to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The texts pass.
    Allow,
    /// The prompt or the answer is blocked. The reason is for the client.
    Block(String),
    /// The texts pass in this form: as many as were asked. Another number is a failure.
    Replace(Vec<String>),
    /// The check failed: the [fallback](OnFailure) applies.
    Failed,
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::Block,
            timeout: Duration::from_secs(1),
            look_back: 256,
            question_bytes: 256,
            question_delay: Duration::from_millis(200),
            max_held: 1 << 20,
        }
    }
}

impl SafetyConfig {
    /// Returns the first invalid field.
    ///
    /// # Errors
    ///
    /// If a time or a size is zero, or if less may be held than a question needs.
    pub fn check(&self) -> Result<(), InvalidField> {
        let least = self.look_back.saturating_add(self.question_bytes).saturating_mul(2);
        if self.timeout.is_zero() {
            return Err(InvalidField::new("timeout", "must be above 0"));
        }
        if self.question_bytes == 0 {
            return Err(InvalidField::new("question_bytes", "must be at least 1"));
        }
        if self.max_held < least {
            let expected = "must be at least twice the sum of look_back and question_bytes";
            return Err(InvalidField::new("max_held", expected));
        }
        Ok(())
    }
}

impl Stage {
    /// Its name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Answer => "answer",
            Self::Stream => "stream",
        }
    }
}
