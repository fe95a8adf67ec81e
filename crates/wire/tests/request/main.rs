//! Request bodies and their views.

mod bodies;
mod captured;
mod conversations;
mod hostile;
mod kv_transfer;
mod random;
mod turns;
mod twin;
mod usual;

use slotwise::Prompt;
use slotwise_wire::WireError;
use slotwise_wire::request::{Api, RequestReader};

/// The text or the token ids of a body's prompt.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Read {
    Text(Vec<u8>),
    Tokens(Vec<u32>),
}

impl Read {
    fn of(prompt: Prompt<'_>) -> Self {
        match prompt {
            Prompt::Text(text) => Self::Text(text.to_vec()),
            Prompt::Tokens(ids) => Self::Tokens(ids.to_vec()),
            _ => panic!("bodies have no hashes"),
        }
    }
}

fn prompt(api: Api, body: &str) -> Read {
    let mut reader = RequestReader::new();
    let view = reader.read(api, body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
    Read::of(view.prompt)
}

fn text(api: Api, body: &str) -> Vec<u8> {
    match prompt(api, body) {
        Read::Text(text) => text,
        Read::Tokens(ids) => panic!("{ids:?}"),
    }
}

fn error(api: Api, body: impl AsRef<[u8]>) -> WireError {
    match RequestReader::new().read(api, body.as_ref()) {
        Ok(view) => panic!("{view:?}"),
        Err(error) => error,
    }
}

/// A text with its marks as `<letter>`, for readable assertions.
fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    for (index, piece) in text.split(|byte| *byte == 0xff).enumerate() {
        let piece = std::str::from_utf8(piece).expect("UTF-8 between marks");
        match piece.chars().next() {
            Some(mark) if index > 0 => {
                shown.push_str(&format!("<{mark}>{}", &piece[1..]));
            }
            _ => shown.push_str(piece),
        }
    }
    shown
}
