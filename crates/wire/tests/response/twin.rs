//! A naive reader: the whole stream at once, with a tree for each payload.

use serde_json::Value;
use slotwise::Usage;
use slotwise_wire::response::FinishReason;

/// The contents of a response.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Twin {
    pub(crate) tokens: u32,
    pub(crate) exact: bool,
    pub(crate) usage: Usage,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) ended: bool,
    pub(crate) error: bool,
    pub(crate) unreadable: u32,
    /// Counted tokens, and one bit for each choice.
    pub(crate) seen: (u32, u64),
}

/// The data of a stream's events as in the standard, and of an event without its empty line.
pub(crate) fn payloads(stream: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut text = Vec::new();
    for (at, byte) in stream.iter().enumerate() {
        match byte {
            b'\r' if stream.get(at + 1) == Some(&b'\n') => {}
            b'\r' => text.push(b'\n'),
            _ => text.push(*byte),
        }
    }
    let (mut events, mut data) = (Vec::new(), None::<Vec<u8>>);
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let last = lines.pop().unwrap_or_default();
    let take = |line: &[u8], data: &mut Option<Vec<u8>>| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend(value);
                }
                None => *data = Some(value.into()),
            }
        }
    };
    for line in lines {
        if line.is_empty() {
            events.extend(data.take());
        } else {
            take(line, &mut data);
        }
    }
    take(last, &mut data);
    (events, data)
}

/// Reads a stream of OpenAI's chat completions or completions.
pub(crate) fn stream(bytes: &[u8]) -> Twin {
    let mut twin = Twin { exact: true, ..Twin::default() };
    let (events, last) = payloads(bytes);
    for event in events {
        twin.payload(&event, true);
    }
    // The last event counts only if it is complete.
    if let Some(event) = last {
        twin.payload(&event, false);
    }
    twin.exact &= twin.tokens > 0;
    twin
}

impl Twin {
    fn payload(&mut self, event: &[u8], dispatched: bool) {
        let trimmed = event.trim_ascii();
        if self.ended || trimmed.is_empty() {
            return;
        }
        if trimmed == b"[DONE]" {
            self.ended = true;
            return;
        }
        let Ok(payload) = serde_json::from_slice::<Value>(event) else {
            self.unreadable += u32::from(dispatched);
            return;
        };
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        self.error |= payload["error"].is_object();
        let later = |number: Option<u32>, earlier: Option<u32>| {
            number.filter(|it| *it > 0).or(earlier).or(number)
        };
        let usage = &payload["usage"];
        let reported = number(&usage["completion_tokens"]);
        let mut counted = 0;
        let mut guessed = false;
        for choice in payload["choices"].as_array().into_iter().flatten() {
            self.seen.1 |= 1 << choice["index"].as_u64().unwrap_or(0).min(63);
            let ids = choice["token_ids"].as_array().map_or(0, Vec::len) as u32;
            let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            if ids > 0 {
                counted += ids;
            } else if filled(&choice["text"]) || filled(&choice["delta"]["content"]) {
                counted += 1;
                guessed = true;
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.finish = Some(FinishReason::from_word(reason));
            }
        }
        self.seen.0 += counted;
        if let Some(reported) = reported.filter(|reported| self.is_plausible(*reported)) {
            self.tokens = self.tokens.max(reported);
            self.exact = self.tokens == reported;
        } else {
            self.tokens += counted;
            self.exact &= !guessed;
        }
        let prompt = number(&usage["prompt_tokens"]);
        let cached =
            number(&usage["prompt_tokens_details"]["cached_tokens"]).filter(|_| prompt != Some(0));
        self.usage.completion_tokens = later(reported, self.usage.completion_tokens);
        self.usage.prompt_tokens = later(prompt.filter(|it| *it > 0), self.usage.prompt_tokens);
        self.usage.cached_tokens = later(cached, self.usage.cached_tokens);
    }

    fn is_plausible(&self, reported: u32) -> bool {
        let most = u64::from(self.seen.1.count_ones().max(1)) << 20;
        reported >= self.seen.0 && u64::from(reported) <= most.max(self.seen.0.into())
    }

    /// The tokens as the reader reports them: exactly counted ones replace an implausible report.
    pub(crate) fn told(mut self) -> Self {
        let (seen, prompt) = (core::mem::take(&mut self.seen), self.usage.prompt_tokens);
        let known = Self { seen, ..Self::default() };
        self.usage.completion_tokens =
            self.usage.completion_tokens.filter(|it| known.is_plausible(*it));
        self.usage.cached_tokens =
            self.usage.cached_tokens.filter(|it| prompt.is_none_or(|prompt| *it <= prompt));
        if self.usage.completion_tokens.is_none() && self.exact && self.tokens > 0 {
            self.usage.completion_tokens = Some(self.tokens);
        }
        self
    }
}
