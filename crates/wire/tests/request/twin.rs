//! The naive twin of the request reader, which builds a tree.

use std::num::NonZeroU32;

use serde_json::Value;
use slotwise::prefix::{Namespace, PromptHasher};
use slotwise_wire::request::{Api, RequestView, SessionField};

use super::Read;

/// The contents of a view, owned.
#[derive(Debug, PartialEq)]
pub(super) struct Twin {
    model: Option<String>,
    prompt: Read,
    prompts: usize,
    stream: bool,
    include_usage: bool,
    max_tokens: Option<u32>,
    n: Option<u32>,
    priority: Option<i64>,
    session: Option<String>,
    session_field: Option<SessionField>,
    cache_salt: Option<String>,
    adapter: Option<String>,
    kv_transfer: bool,
    request_id: Option<String>,
}

impl Twin {
    pub(super) fn of_view(view: &RequestView<'_>) -> Self {
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(String::from);
        Self {
            model: owned(&view.model),
            prompt: Read::of(view.prompt),
            prompts: view.prompts,
            stream: view.stream,
            include_usage: view.include_usage,
            max_tokens: view.max_tokens,
            n: view.n,
            priority: view.priority,
            session: owned(&view.session),
            session_field: view.session_field,
            cache_salt: owned(&view.cache_salt),
            adapter: owned(&view.adapter),
            kv_transfer: view.kv_transfer,
            request_id: owned(&view.request_id),
        }
    }

    pub(super) fn of_tree(api: Api, body: &Value) -> Self {
        let only =
            |apis: &[Api], key: &str| if apis.contains(&api) { &body[key] } else { &Value::Null };
        let chat = &[Api::ChatCompletions, Api::Messages];
        let generate = &[Api::Generate, Api::InferenceGenerate];
        let (prompt, prompts) = prompt(api, body);
        let sampling = first(only(generate, "sampling_params"));
        let max_tokens = match api {
            Api::ChatCompletions => [&body["max_completion_tokens"], &body["max_tokens"]],
            Api::Responses => [&body["max_output_tokens"], &Value::Null],
            Api::Completions | Api::Messages => [&body["max_tokens"], &Value::Null],
            Api::Generate => [&Value::Null, &body["max_tokens"]],
            _ => [&Value::Null, &Value::Null],
        };
        let sessions = [
            (SessionField::SessionId, &body["session_id"]),
            (SessionField::VllmXargs, &body["vllm_xargs"]["session_id"]),
            (SessionField::SessionParams, &body["session_params"]["id"]),
            (SessionField::PromptCacheKey, &body["prompt_cache_key"]),
            (SessionField::Conversation, only(&[Api::Responses], "conversation")),
            (SessionField::Conversation, &only(&[Api::Responses], "conversation")["id"]),
            (SessionField::MetadataUserId, &only(&[Api::Messages], "metadata")["user_id"]),
            (SessionField::User, &body["user"]),
            (SessionField::PreviousResponseId, only(&[Api::Responses], "previous_response_id")),
        ];
        let session = sessions.into_iter().find_map(|(field, id)| Some((field, string(id)?)));
        let n = only(&[chat[0], Api::Completions, Api::Generate], "n");
        Self {
            model: body["model"].as_str().map(String::from),
            prompt,
            prompts,
            stream: body["stream"].as_bool().unwrap_or_default(),
            include_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or_default(),
            max_tokens: count(&sampling["max_new_tokens"])
                .or_else(|| count(&sampling["max_tokens"]))
                .or_else(|| count(max_tokens[0]))
                .or_else(|| count(max_tokens[1])),
            n: count(&sampling["n"]).or_else(|| count(n)),
            priority: body["priority"].as_i64(),
            session: session.as_ref().map(|(_, id)| id.clone()),
            session_field: session.map(|(field, _)| field),
            cache_salt: string(&body["cache_salt"]),
            adapter: string(first(&body["lora_path"])),
            kv_transfer: !body["kv_transfer_params"].is_null() || !body["bootstrap_room"].is_null(),
            request_id: string(&body["request_id"]).or_else(|| string(first(&body["rid"]))),
        }
    }
}

fn first(value: &Value) -> &Value {
    if value.is_array() { &value[0] } else { value }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().filter(|string| !string.is_empty()).map(String::from)
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

fn batch(value: &Value) -> Option<(Read, usize)> {
    match value {
        Value::String(text) => Some((Read::Text(text.clone().into_bytes()), 1)),
        Value::Array(items) => match items.first()? {
            Value::String(text) => Some((Read::Text(text.clone().into_bytes()), items.len())),
            Value::Array(_) => Some((Read::Tokens(ids(&items[0])), items.len())),
            _ => Some((Read::Tokens(ids(value)), 1)),
        },
        _ => None,
    }
}

fn prompt(api: Api, body: &Value) -> (Read, usize) {
    let given = match api {
        Api::Generate => vec!["prompt_token_ids", "input_ids", "text"],
        Api::InferenceGenerate => vec!["prompt_token_ids", "token_ids"],
        _ => vec![],
    };
    // The longest; of equal ones, the first.
    let given = given.into_iter().filter_map(|key| Some((length(&body[key]), batch(&body[key])?)));
    let longest = given.reduce(|best, next| if next.0 > best.0 { next } else { best });
    if let Some((_, found)) = longest {
        return found;
    }
    let mut page = Page::default();
    match api {
        Api::Completions => return batch(&body["prompt"]).unwrap_or((Read::Text(vec![]), 0)),
        Api::Generate | Api::InferenceGenerate => {}
        Api::Embeddings => match &body["input"] {
            Value::Array(items) if items.first().is_some_and(Value::is_object) => {
                page.messages(items, false);
            }
            plain => match batch(plain) {
                Some(found) => return found,
                None => page.messages(list(&body["messages"]), false),
            },
        },
        Api::ChatCompletions => {
            page.tools(&body["tools"]);
            page.messages(list(&body["messages"]), false);
        }
        Api::Messages => {
            page.tools(&body["tools"]);
            page.system(&body["system"], true);
            page.messages(list(&body["messages"]), true);
        }
        Api::Responses => {
            page.tools(&body["tools"]);
            page.system(&body["instructions"], false);
            match &body["input"] {
                Value::String(text) => {
                    page.mark('M', "user");
                    page.say('t', text);
                }
                items => page.messages(list(items), false),
            }
        }
        _ => unreachable!("all of them"),
    }
    let prompts = usize::from(!page.0.is_empty());
    (Read::Text(page.0), prompts)
}

/// Whether a user message has content besides tool results.
fn is_query(message: &Value, anthropic: bool) -> bool {
    if message["role"] != "user" {
        return false;
    }
    let is_result = |part: &Value| part["type"] == "tool_result";
    let mut rest = message.clone();
    if let Some(parts) = rest["content"].as_array_mut() {
        parts.retain(|part| !is_result(part));
    }
    let mut page = Page::default();
    page.message(&rest, anthropic);
    page.0.len() > 6 || !list(&message["content"]).iter().any(is_result)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Tokens of all prompts, with four bytes of text per token.
fn length(value: &Value) -> usize {
    let bytes = str::len;
    match value {
        Value::String(text) => bytes(text) / 4,
        Value::Array(items) => match items.first() {
            Some(Value::String(first)) => {
                let rest: usize = items[1..].iter().filter_map(Value::as_str).map(bytes).sum();
                bytes(first) / 4 + rest / 4
            }
            Some(Value::Array(_)) => items.iter().filter_map(Value::as_array).map(Vec::len).sum(),
            _ => items.len(),
        },
        _ => 0,
    }
}

/// A text, and whether reasoning is left out.
#[derive(Default)]
struct Page(Vec<u8>, bool);

impl Page {
    fn mark(&mut self, mark: char, text: &str) {
        if mark == 'r' && self.1 {
            return;
        }
        self.0.extend([0xff, mark as u8]);
        self.0.extend(text.bytes());
    }

    fn say(&mut self, mark: char, text: &str) {
        if !text.is_empty() {
            self.mark(mark, text);
        }
    }

    fn string(&mut self, mark: char, value: &Value) {
        self.say(mark, value.as_str().unwrap_or_default());
    }

    fn json(&mut self, mark: char, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => self.say(mark, text),
            json => self.mark(mark, &json.to_string()),
        }
    }

    fn hash(&mut self, mark: char, text: &str) {
        let mut hash = vec![];
        PromptHasher::new(0).text(Namespace::new(text), &[0; 4], NonZeroU32::MIN, 1, &mut hash);
        self.mark(mark, &format!("{:016x}", hash[0].0));
    }

    fn tools(&mut self, tools: &Value) {
        for tool in list(tools) {
            let inner = ["function", "custom"]
                .map(|key| &tool[key])
                .into_iter()
                .find(|inner| inner.is_object());
            let of = |key: &str| match inner {
                Some(inner) if !inner[key].is_null() => &inner[key],
                _ => &tool[key],
            };
            self.mark('T', of("name").as_str().unwrap_or_default());
            if tool["type"] != "function" {
                self.string('k', &tool["type"]);
            }
            self.string('d', of("description"));
            self.json('p', of("parameters"));
            self.json('p', of("input_schema"));
        }
    }

    fn call(&mut self, name: &Value, arguments: &Value, id: &Value) {
        self.mark('c', name.as_str().unwrap_or_default());
        self.json('a', arguments);
        self.string('i', id);
    }

    fn system(&mut self, content: &Value, billing: bool) {
        let mut inside = Self::default();
        inside.content('t', content, billing && content.is_array(), false);
        if !inside.0.is_empty() {
            self.mark('M', "system");
            self.0.extend(inside.0);
        }
    }

    fn messages(&mut self, messages: &[Value], anthropic: bool) {
        let last = messages.iter().rposition(|message| is_query(message, anthropic)).unwrap_or(0);
        for (at, message) in messages.iter().enumerate() {
            self.1 = at < last;
            self.message(message, anthropic);
        }
    }

    fn message(&mut self, message: &Value, anthropic: bool) {
        let kind = message["type"].as_str().unwrap_or("message");
        if message["role"].is_null() && kind != "message" {
            match kind {
                "function_call" => {
                    self.mark('M', "assistant");
                    self.call(&message["name"], &message["arguments"], &message["call_id"]);
                }
                "function_call_output" => {
                    self.mark('M', "tool");
                    self.content('t', &message["output"], false, false);
                    self.string('i', &message["call_id"]);
                }
                "reasoning" if self.1 => {}
                "reasoning" => {
                    self.mark('M', "assistant");
                    let thought = &message["content"];
                    self.content(
                        'r',
                        if thought.is_null() { &message["summary"] } else { thought },
                        false,
                        false,
                    );
                }
                _ => {
                    self.mark('M', kind);
                    self.mark('j', &message.to_string());
                }
            }
            return;
        }
        let role = message["role"].as_str().unwrap_or_default();
        self.mark('M', role);
        self.content('t', &message["content"], anthropic && role == "system", false);
        let reasoning = [&message["reasoning"], &message["reasoning_content"]];
        self.string(
            'r',
            reasoning.into_iter().find(|text| !text.is_null()).unwrap_or(&Value::Null),
        );
        for call in list(&message["tool_calls"]) {
            self.call(&call["function"]["name"], &call["function"]["arguments"], &call["id"]);
        }
        if message["function_call"].is_object() {
            let call = &message["function_call"];
            self.call(&call["name"], &call["arguments"], &Value::Null);
        }
        self.string('n', &message["name"]);
        self.string('i', &message["tool_call_id"]);
    }

    fn content(&mut self, mark: char, content: &Value, billing: bool, nested: bool) {
        let is_left_out = |text: &Value| {
            billing
                && text.as_str().is_some_and(|text| text.starts_with("x-anthropic-billing-header"))
        };
        if content.is_string() && !is_left_out(content) {
            self.string(mark, content);
        }
        for part in list(content) {
            match part["type"].as_str().unwrap_or_default() {
                _ if part.is_string() => self.string(mark, part),
                "text" | "input_text" | "output_text" | "summary_text" => {
                    if !is_left_out(&part["text"]) {
                        self.string(mark, &part["text"]);
                    }
                }
                "refusal" => self.string(mark, &part["refusal"]),
                "thinking" => self.string('r', &part["thinking"]),
                "reasoning_text" => self.string('r', &part["text"]),
                "redacted_thinking" => {}
                "tool_use" => self.call(&part["name"], &part["input"], &part["id"]),
                "tool_result" if !nested => {
                    self.mark('R', part["tool_use_id"].as_str().unwrap_or_default());
                    self.content('t', &part["content"], billing, true);
                    if part["is_error"] == true {
                        self.mark('!', "");
                    }
                    self.mark('.', "");
                }
                kind @ ("image_url" | "input_audio" | "image" | "input_image") => {
                    self.mark('m', kind);
                    if let Some(uuid) = part["uuid"].as_str() {
                        self.hash('u', uuid);
                        continue;
                    }
                    let media = ["image_url", "input_audio", "source"].map(|key| &part[key]);
                    let media = media.into_iter().find(|media| !media.is_null()).expect("media");
                    let inside = ["data", "url", "file_id"].map(|key| &media[key]);
                    let inside =
                        inside.into_iter().find(|inside| !inside.is_null()).unwrap_or(media);
                    self.hash('h', inside.as_str().expect("text"));
                }
                _ => {
                    self.mark('o', "");
                    for (key, value) in part.as_object().expect("a part") {
                        if key != "cache_control" {
                            self.mark('n', key);
                            self.mark('j', &value.to_string());
                        }
                    }
                    self.mark('.', "");
                }
            }
        }
    }
}
