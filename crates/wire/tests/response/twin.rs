//! The reader once more, slow and plain: the whole stream at once, a tree for each payload.

use serde_json::Value;
use slotwise::Usage;
use slotwise_wire::response::FinishReason;

/// What is in a response.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Twin {
    pub(crate) tokens: u32,
    pub(crate) exact: bool,
    pub(crate) usage: Usage,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) ended: bool,
    pub(crate) error: bool,
    pub(crate) unreadable: u32,
}

/// The data of the events of a stream, as the standard has it, and one that lacks its empty line.
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
    // The last one counts only if it is whole.
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
        let usage = &payload["usage"];
        let reported = number(&usage["completion_tokens"]);
        let mut counted = 0;
        for choice in payload["choices"].as_array().into_iter().flatten() {
            let ids = choice["token_ids"].as_array().map_or(0, Vec::len) as u32;
            let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            if ids > 0 {
                counted += ids;
            } else if filled(&choice["text"]) || filled(&choice["delta"]["content"]) {
                counted += 1;
                self.exact &= reported.is_some();
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.finish = Some(FinishReason::from_word(reason));
            }
        }
        let before = self.tokens;
        self.tokens = before.max(reported.unwrap_or(before + counted));
        if let Some(reported) = reported {
            self.exact = self.tokens == reported;
            self.usage.completion_tokens = Some(reported);
        }
        self.usage.prompt_tokens = number(&usage["prompt_tokens"]).or(self.usage.prompt_tokens);
        self.usage.cached_tokens =
            number(&usage["prompt_tokens_details"]["cached_tokens"]).or(self.usage.cached_tokens);
    }

    /// As the reader tells it: without a report, what was counted exactly counts.
    pub(crate) fn told(mut self) -> Self {
        if self.usage.completion_tokens.is_none() && self.exact && self.tokens > 0 {
            self.usage.completion_tokens = Some(self.tokens);
        }
        self
    }
}
