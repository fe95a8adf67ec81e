//! What a request asks for. Text, token ids and hashes are read in place.

use napi::bindgen_prelude::Either3;
use napi_derive::napi;
use slotwise::{BlockHash, Priority, Request};

use crate::endpoint::role;
use crate::error::Unfit;
use crate::number::{count, instant, positive, signed};

/// Bytes of text or of a snapshot, in place.
pub type Bytes<'a> = &'a [u8];
/// Token ids, in place.
pub type TokenIds<'a> = &'a [u32];
/// Hashes of blocks, in place.
pub type Hashes<'a> = &'a [u64];

/// A prompt, in place.
pub type Prompt<'a> = Either3<Bytes<'a>, TokenIds<'a>, Hashes<'a>>;

/// What few requests ask for: an object costs more than arguments, but only those who bring it.
#[napi(object, object_to_js = false)]
#[derive(Debug, Default)]
pub struct Wishes {
    /// Which stages the endpoint must run.
    pub role: Option<String>,
    /// Keys and values in turn: labels that the endpoint must carry.
    pub labels: Option<Vec<String>>,
    /// Tokens in a block of ready hashes.
    pub block_size: Option<f64>,
    /// Tokens in the prompt of ready hashes.
    pub tokens: Option<f64>,
}

/// One request for a decision, as it arrives.
pub(crate) struct Asked<'a> {
    pub(crate) prompt: Prompt<'a>,
    /// Bytes of the text that count: it may be the beginning of a longer buffer.
    pub(crate) bytes: f64,
    pub(crate) model: &'a str,
    pub(crate) adapter: Option<&'a str>,
    pub(crate) cache_salt: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) flow: Option<&'a str>,
    pub(crate) priority: f64,
    pub(crate) deadline: Option<f64>,
    pub(crate) expected_output: f64,
    pub(crate) wishes: Option<&'a Wishes>,
}

impl Asked<'_> {
    /// Builds the core's request and passes it on.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> Result<T, Unfit> {
        let mut request = Request::new(self.model);
        request.adapter = self.adapter;
        request.cache_salt = self.cache_salt;
        request.session = self.session;
        request.flow = self.flow.unwrap_or_default();
        request.priority = Priority(signed("priority", self.priority)?);
        request.deadline = self.deadline.map(|at| instant("deadline", at)).transpose()?;
        request.expected_output = count("expectedOutput", self.expected_output)?;
        let none = Wishes::default();
        let wishes = self.wishes.unwrap_or(&none);
        if let Some(word) = &wishes.role {
            request.role = role(word)?;
        }
        let labels: Vec<(&str, &str)> = match &wishes.labels {
            Some(flat) => flat.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect(),
            None => Vec::new(),
        };
        request.labels = &labels;
        match self.prompt {
            Either3::A(text) => {
                let text = &text[..text.len().min(self.bytes as usize)];
                Ok(ask(&request.text(text)))
            }
            Either3::B(ids) => Ok(ask(&request.tokens(ids))),
            Either3::C(hashes) => {
                let block_size = positive("blockSize", wishes.block_size.unwrap_or_default())?;
                let tokens = count("tokens", wishes.tokens.unwrap_or_default())?;
                let hashes: Vec<BlockHash> = hashes.iter().map(|hash| BlockHash(*hash)).collect();
                Ok(ask(&request.blocks(&hashes, block_size, tokens)))
            }
        }
    }
}
