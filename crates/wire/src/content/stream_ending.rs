//! The end of a stream that a content filter has cut off.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::WireError;
use crate::json::{Kind, Reader};

/// Writes the events that end a stream whose rest is withheld.
///
/// The reason is `content_filter` in OpenAI's APIs and `refusal` in Anthropic's. The events name
/// the answer as the stream did, and end each choice and each block that is open for the client.
///
/// ```
/// use slotwise_wire::content::StreamEnding;
///
/// let mut ending = StreamEnding::default();
/// ending.pass(br#"{"id":"c1","object":"chat.completion.chunk","model":"m","choices":[]}"#);
/// let events = String::from_utf8(ending.write()).expect("text");
/// assert!(events.contains(r#""finish_reason":"content_filter""#));
/// assert!(events.ends_with("data: [DONE]\n\n"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamEnding {
    api: StreamApi,
    /// Members that name the answer, as JSON: `"id":"c1","created":7`.
    names: Names,
    /// The choices that have begun.
    choices: Vec<u64>,
    /// The choices that have ended.
    ended: Vec<u64>,
    /// The block that is open for the client.
    block: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum StreamApi {
    #[default]
    ChatCompletions,
    Completions,
    Messages,
    Responses,
}

/// The first value of each, as JSON.
#[derive(Clone, Debug, Default)]
struct Names {
    id: Option<String>,
    model: Option<String>,
    created: Option<String>,
}

/// What an event shows of the stream.
#[derive(Debug, Default)]
struct Facts {
    api: Option<StreamApi>,
    names: Names,
    /// The type of an Anthropic event.
    starts_block: bool,
    stops_block: bool,
    index: Option<u64>,
    choices: Vec<(u64, bool)>,
}

impl StreamEnding {
    /// The stream had an event with this data, which names the answer. Call [`pass`](Self::pass)
    /// once the client gets it. Data that is not JSON is ignored. Computes in **O(bytes)**.
    pub fn see(&mut self, data: &[u8]) {
        if let Ok(facts) = Facts::read(data) {
            self.learn(&facts);
        }
    }

    /// The client gets an event with this data.
    pub fn pass(&mut self, data: &[u8]) {
        let Ok(facts) = Facts::read(data) else { return };
        self.learn(&facts);
        if facts.starts_block {
            self.block = facts.index;
        } else if facts.stops_block {
            self.block = None;
        }
        for (choice, ends) in facts.choices {
            let known = if ends { &mut self.ended } else { &mut self.choices };
            if known.len() < MOST_CHOICES && !known.contains(&choice) {
                known.push(choice);
            }
        }
    }

    /// The events that end the stream.
    pub fn write(&self) -> Vec<u8> {
        match self.api {
            StreamApi::ChatCompletions => {
                self.end_choices("chat.completion.chunk", r#""delta":{}"#)
            }
            StreamApi::Completions => self.end_choices("text_completion", r#""text":"""#),
            StreamApi::Messages => self.end_message(),
            StreamApi::Responses => self.end_response(),
        }
        .into_bytes()
    }

    fn learn(&mut self, facts: &Facts) {
        self.api = facts.api.unwrap_or(self.api);
        let Names { id, model, created } = &facts.names;
        for (known, new) in [
            (&mut self.names.id, id),
            (&mut self.names.model, model),
            (&mut self.names.created, created),
        ] {
            if known.is_none() {
                known.clone_from(new);
            }
        }
    }

    fn end_choices(&self, object: &str, content: &str) -> String {
        let mut open: Vec<u64> =
            self.choices.iter().copied().filter(|choice| !self.ended.contains(choice)).collect();
        if self.choices.is_empty() && self.ended.is_empty() {
            open.push(0);
        }
        open.sort_unstable();
        let choices: Vec<String> = open
            .iter()
            .map(|index| {
                format!(
                    r#"{{"index":{index},{content},"logprobs":null,"finish_reason":"content_filter"}}"#
                )
            })
            .collect();
        let (names, choices) = (self.names.members(), choices.join(","));
        let chunk = format!(r#"{{{names}"object":"{object}","choices":[{choices}]}}"#);
        if open.is_empty() {
            return String::from("data: [DONE]\n\n");
        }
        format!("data: {chunk}\n\ndata: [DONE]\n\n")
    }

    fn end_message(&self) -> String {
        let mut events = String::new();
        if let Some(index) = self.block {
            events = format!(
                "event: content_block_stop\n\
                 data: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
            );
        }
        events.push_str(concat!(
            "event: message_delta\n",
            r#"data: {"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null},"#,
            r#""usage":{"output_tokens":0}}"#,
            "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ));
        events
    }

    fn end_response(&self) -> String {
        let names = self.names.members();
        format!(
            "event: response.incomplete\n\
             data: {{\"type\":\"response.incomplete\",\"response\":{{{names}\
             \"object\":\"response\",\"status\":\"incomplete\",\
             \"incomplete_details\":{{\"reason\":\"content_filter\"}},\"output\":[]}}}}\n\n"
        )
    }
}

impl Names {
    /// The known ones as members of an object, each with a comma after it.
    fn members(&self) -> String {
        let named = [("id", &self.id), ("created", &self.created), ("model", &self.model)];
        let known = named.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        known.map(|(key, value)| format!("\"{key}\":{value},")).collect()
    }
}

impl Facts {
    fn read(data: &[u8]) -> Result<Self, WireError> {
        let mut facts = Self::default();
        let mut reader = Reader::new(data)?;
        facts.object(&mut reader)?;
        Ok(facts)
    }

    fn object(&mut self, reader: &mut Reader<'_>) -> Result<(), WireError> {
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            match &*key.read() {
                "id" => self.names.id = name(reader)?,
                "model" => self.names.model = name(reader)?,
                "created" => self.names.created = name(reader)?,
                "object" | "type" if reader.kind()? == Kind::Text => {
                    let word = reader.text()?.read();
                    self.api = api(&word).or(self.api);
                    self.starts_block |= word == "content_block_start";
                    self.stops_block |= word == "content_block_stop";
                }
                "index" if reader.kind()? == Kind::Number => {
                    self.index = reader.number()?.whole("an index").ok();
                }
                "choices" if reader.kind()? == Kind::Array => {
                    reader.open_array()?;
                    while reader.next_item()? {
                        self.choice(reader)?;
                    }
                }
                // The answer itself, in an event of its API.
                "message" | "response" if reader.kind()? == Kind::Object => self.object(reader)?,
                _ => _ = reader.skip()?,
            }
        }
        Ok(())
    }

    fn choice(&mut self, reader: &mut Reader<'_>) -> Result<(), WireError> {
        let (mut index, mut ends) = (0, false);
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            if key.is("index") && reader.kind()? == Kind::Number {
                index = reader.number()?.whole("an index")?;
            } else if key.is("finish_reason") {
                ends = reader.kind()? == Kind::Text;
                reader.skip()?;
            } else {
                reader.skip()?;
            }
        }
        self.choices.push((index, ends));
        Ok(())
    }
}

/// A string or a number as JSON, unless it is too long.
fn name(reader: &mut Reader<'_>) -> Result<Option<String>, WireError> {
    let kind = reader.kind()?;
    let value = reader.skip()?;
    let fits = matches!(kind, Kind::Text | Kind::Number) && value.len() <= LONGEST_NAME;
    Ok(fits.then(|| value.into()))
}

fn api(word: &str) -> Option<StreamApi> {
    Some(match word {
        "chat.completion.chunk" => StreamApi::ChatCompletions,
        "text_completion" => StreamApi::Completions,
        "message_start" | "content_block_start" | "content_block_delta" => StreamApi::Messages,
        _ if word.starts_with("response.") => StreamApi::Responses,
        _ => return None,
    })
}

const LONGEST_NAME: usize = 1_024;
const MOST_CHOICES: usize = 128;
