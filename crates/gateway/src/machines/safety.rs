//! [`SafetyCheck`], which shows its outputs after each input.
//!
//! Bytes are text with one character for each byte, from U+0000 to U+00FF.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::Instant;
use slotwise_wire::outcome::BodyShape;

use super::Calls;
use super::gates::of_refusal;
use crate::gates::safety::{Question, SafetyCheck, SafetyConfig, Stage, Verdict};
use crate::json::{ArgumentError, read};
use crate::names;
use crate::tree::Node;

struct SafetyMachine {
    check: SafetyCheck,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default)]
    config: SafetyConfig,
    stage: String,
    #[serde(default)]
    shape: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feed {
    bytes: String,
    #[serde(default)]
    at_us: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Moment {
    at_us: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    question: u64,
    verdict: Kind,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    at_us: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Allow,
    Block,
    Replace,
    Failed,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Arguments { config, stage, shape } = read(arguments)?;
    let stage: Stage = names::parse(&stage).map_err(|error| ArgumentError::at("stage", &error))?;
    let shape = shape.as_deref().map(names::parse).transpose();
    let shape = shape.map_err(|error| ArgumentError::at("shape", &error))?;
    let check = SafetyCheck::new(config, stage, shape.unwrap_or(BodyShape::OpenAi));
    Ok(Box::new(SafetyMachine { check: check.map_err(|error| ArgumentError::of(&error))? }))
}

impl Calls for SafetyMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        Some(match name {
            "feed" => read(arguments).and_then(|feed| self.feed(&feed)),
            "finish" => read(arguments).map(|Moment { at_us }| {
                self.check.finish(Instant::from_micros(at_us));
                self.outputs()
            }),
            "handle_timeout" => read(arguments).map(|Moment { at_us }| {
                self.check.handle_timeout(Instant::from_micros(at_us));
                self.outputs()
            }),
            "handle_verdict" => read(arguments).map(|judgement| self.judge(judgement)),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["feed", "finish", "handle_timeout", "handle_verdict"]
    }
}

impl SafetyMachine {
    fn feed(&mut self, feed: &Feed) -> Result<Value, ArgumentError> {
        let bytes: Result<Vec<u8>, _> = feed.bytes.chars().map(u8::try_from).collect();
        let bytes = bytes.map_err(|_| {
            ArgumentError::new("bytes must be characters between U+0000 and U+00FF".to_string())
        })?;
        self.check.feed(Instant::from_micros(feed.at_us), &bytes);
        Ok(self.outputs())
    }

    fn judge(&mut self, judgement: Judgement) -> Value {
        let Judgement { question, verdict, reason, texts, at_us } = judgement;
        let verdict = match verdict {
            Kind::Allow => Verdict::Allow,
            Kind::Block => Verdict::Block(reason),
            Kind::Replace => Verdict::Replace(texts),
            Kind::Failed => Verdict::Failed,
        };
        let counts = self.check.handle_verdict(Instant::from_micros(at_us), question, verdict);
        let mut outputs = self.outputs();
        outputs["counts"] = counts.into();
        outputs
    }

    fn outputs(&mut self) -> Value {
        let output = core::iter::from_fn(|| self.check.poll_output()).flatten();
        let output: String = output.map(char::from).collect();
        json!({
            "output": output,
            "question": self.check.poll_question().as_ref().map(of_question),
            "next_timeout_us": self.check.next_timeout().map(Instant::as_micros),
            "wants_input": self.check.wants_input(),
            "ended": self.check.has_ended(),
            "refused": self.check.refusal().map(of_refusal),
            "failures": self.check.failures(),
        })
    }
}

fn of_question(question: &Question) -> Value {
    json!({
        "id": question.id,
        "texts": question.texts,
        "deadline_us": question.deadline.as_micros(),
    })
}
