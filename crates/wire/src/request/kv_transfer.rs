//! Bodies of disaggregated requests: what the prefilling and the decoding engine receive.
//!
//! | engine | prefill body | decode body | order |
//! |---|---|---|---|
//! | vLLM (NIXL) | [`KvTransfer::NixlPrefill`] | [`KvTransfer::NixlDecode`] | one by one |
//! | SGLang | [`KvTransfer::Bootstrap`] | the same | both at once |
//!
//! Sources: vLLM's `toy_proxy_server.py` (commit 030ea52), the sidecar of llm-d-router (commit
//! ebab687) and SGLang's router.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::api::Api;
use super::model_splice::quoted;
use crate::error::{ErrorKind, WireError};
use crate::json::{Edit, Kind, Reader, edited};

/// How a KV cache moves, as fields of a request body.
///
/// A client's own transfer fields are replaced, since they could name another engine. All bytes
/// besides the changed values stay the same. If a key occurs several times, each value is replaced.
///
/// ```
/// use slotwise_wire::request::{Api, KvTransfer, kv_transfer_params};
///
/// let body = br#"{"prompt": "Hi", "max_tokens": 64, "stream": true}"#;
/// let prefill = KvTransfer::NixlPrefill.apply(Api::Completions, body)?;
/// assert_eq!(
///     core::str::from_utf8(&prefill)?,
///     concat!(
///         r#"{"prompt": "Hi", "max_tokens": 1, "stream": false,"kv_transfer_params":"#,
///         r#"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"#,
///         r#""remote_block_ids":null,"remote_host":null,"remote_port":null}}"#,
///     ),
/// );
///
/// let answer = br#"{"id": "1", "kv_transfer_params": {"remote_host": "10.0.0.1"}}"#;
/// let parameters = kv_transfer_params(answer)?.expect("the engine's own");
/// let decode = KvTransfer::NixlDecode { parameters }.apply(Api::Completions, body)?;
/// assert!(decode.ends_with(br#""kv_transfer_params":{"remote_host": "10.0.0.1"}}"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KvTransfer<'a> {
    /// The request to vLLM's prefilling engine: one token, no stream. Its answer has the
    /// parameters for the decoding engine: see [`kv_transfer_params`].
    NixlPrefill,
    /// The request to vLLM's decoding engine.
    NixlDecode {
        /// The parameters from the prefilling engine's answer, as written.
        parameters: &'a str,
    },
    /// The request to both engines of SGLang, which find each other by the room.
    Bootstrap {
        /// The host of the prefilling engine.
        host: &'a str,
        /// Its bootstrap port; 8998 is SGLang's default.
        port: u16,
        /// A number that no other request in flight has, below 2^63.
        room: u64,
    },
    /// The request to an engine that prefills and decodes: transfer fields become `null`.
    None,
}

impl<'a> KvTransfer<'a> {
    /// SGLang's default bootstrap port.
    pub const BOOTSTRAP_PORT: u16 = 8_998;

    /// The names in other languages.
    pub const NAMES: [&'static str; 4] = ["nixl_prefill", "nixl_decode", "bootstrap", "none"];

    /// The transfer of this name; `None` for an unknown one. `parameters` are those of
    /// [`NixlDecode`](Self::NixlDecode), the rest those of [`Bootstrap`](Self::Bootstrap).
    pub fn from_name(
        name: &str,
        parameters: &'a str,
        (host, port, room): (&'a str, u16, u64),
    ) -> Option<Self> {
        Some(match name {
            "nixl_prefill" => Self::NixlPrefill,
            "nixl_decode" => Self::NixlDecode { parameters },
            "bootstrap" => Self::Bootstrap { host, port, room },
            "none" => Self::None,
            _ => return None,
        })
    }

    /// Returns the body for the engine. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a JSON object, or for a prefill request of an API that
    /// does not generate.
    pub fn apply(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, WireError> {
        let members = self.members(api)?;
        let mut reader = Reader::new(body)?;
        let mut edits = Vec::new();
        splice(&mut reader, &members, &mut edits)?;
        reader.end()?;
        Ok(edited(body, edits))
    }

    /// The members that a body of this API must have.
    fn members(&self, api: Api) -> Result<Vec<Member>, WireError> {
        let none = |key| Member { key, value: Cow::Borrowed("null"), always: false };
        let always = |key, value| Member { key, value, always: true };
        let mut members = Vec::new();
        match self {
            Self::NixlPrefill => {
                members.extend(limits(api)?);
                members.push(always("stream", "false".into()));
                members.push(none("stream_options"));
                members.push(always("kv_transfer_params", REMOTE_DECODE.into()));
            }
            Self::NixlDecode { parameters } => {
                members.push(always("kv_transfer_params", String::from(*parameters).into()));
            }
            Self::Bootstrap { host, port, room } => {
                members.push(always("bootstrap_host", quoted(host).into()));
                members.push(always("bootstrap_port", format!("{port}").into()));
                members.push(always("bootstrap_room", format!("{room}").into()));
            }
            Self::None => {
                members.extend(TRANSFER_FIELDS.map(none));
            }
        }
        Ok(members)
    }
}

/// The parameters in the answer of vLLM's prefilling engine, as written; `None` if it has none.
///
/// # Errors
///
/// Returns an error if the answer is not a JSON object.
pub fn kv_transfer_params(answer: &[u8]) -> Result<Option<&str>, WireError> {
    let mut reader = Reader::new(answer)?;
    let mut found = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        let value = reader.skip()?;
        if key.is("kv_transfer_params") {
            found = (value != "null").then_some(value);
        }
    }
    reader.end()?;
    Ok(found)
}

/// A member of a body's object, with its new value.
#[derive(Debug)]
struct Member {
    key: &'static str,
    value: Cow<'static, str>,
    /// Whether to add it to a body that lacks it.
    always: bool,
}

/// The fields that limit an answer to one token. A larger minimum would be an error.
fn limits(api: Api) -> Result<Vec<Member>, WireError> {
    let one = |key, always| Member { key, value: Cow::Borrowed("1"), always };
    let zero = |key| Member { key, value: Cow::Borrowed("0"), always: false };
    Ok(match api {
        Api::ChatCompletions => alloc::vec![
            one("max_tokens", true),
            one("max_completion_tokens", false),
            zero("min_tokens"),
            zero("min_completion_tokens"),
        ],
        Api::Completions => alloc::vec![one("max_tokens", true), zero("min_tokens")],
        Api::Messages => alloc::vec![one("max_tokens", true)],
        Api::Responses => alloc::vec![one("max_output_tokens", true)],
        _ => return Err(WireError::new(0, ErrorKind::Unsupported("this API has no prefill body"))),
    })
}

/// Finds the changes that give the object these members.
fn splice(
    reader: &mut Reader<'_>,
    members: &[Member],
    edits: &mut Vec<Edit>,
) -> Result<(), WireError> {
    let mut empty = true;
    let mut found: Vec<&str> = Vec::new();
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        empty = false;
        let member = members.iter().find(|member| key.is(member.key));
        let is_null = reader.kind()? == Kind::Null;
        let start = reader.at();
        reader.skip()?;
        let Some(Member { key, value, .. }) = member else { continue };
        found.push(key);
        // A limit that is null is none, and stays so.
        if !(is_null && value == "0") {
            edits.push((start..reader.at(), value.clone().into_owned()));
        }
    }
    let end = reader.at() - 1;
    for Member { key, value, .. } in
        members.iter().filter(|member| member.always && !found.contains(&member.key))
    {
        let comma = if core::mem::take(&mut empty) { "" } else { "," };
        edits.push((end..end, format!("{comma}\"{key}\":{value}")));
    }
    Ok(())
}

/// What vLLM's prefilling engine receives: the decoding engine will fetch the blocks.
const REMOTE_DECODE: &str = concat!(
    r#"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"#,
    r#""remote_block_ids":null,"remote_host":null,"remote_port":null}"#,
);

/// Every field that names another engine.
const TRANSFER_FIELDS: [&str; 4] =
    ["kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room"];
