//! What the client gets: a status, headers, and a body that may be held back.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use slotwise_wire::outcome::{BodyShape, Refusal, StreamError};
use slotwise_wire::response::{AnswerEnd, Outcome};

/// Status and headers of the client's response: those of an engine's answer, or of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers: names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
}

/// A response of which nothing has been sent.
#[derive(Debug)]
pub(super) struct HeldReply {
    reply: Reply,
    body: Vec<u8>,
}

impl Reply {
    /// Headers of an engine's answer that the client gets. The others belong to the connection
    /// between gateway and engine.
    pub const PASSED_ON: [&'static str; 3] = ["content-type", "retry-after", "retry-after-ms"];

    /// The head of an engine's answer. Of headers that come twice, the first counts.
    pub(super) fn of_engine<N: AsRef<str>, V: AsRef<[u8]>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut passed: [Option<String>; 3] = [None, None, None];
        for (name, value) in headers {
            let known =
                Self::PASSED_ON.iter().position(|known| name.as_ref().eq_ignore_ascii_case(known));
            let Some(place) = known.and_then(|at| passed.get_mut(at)) else { continue };
            let value = value.as_ref();
            if place.is_none() && value.len() <= LONGEST_VALUE {
                *place = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
        let headers = Self::PASSED_ON.into_iter().zip(passed);
        let headers = headers.filter_map(|(name, value)| Some((name, value?))).collect();
        Self { status, headers }
    }

    /// The value of `content-type`; empty if there is none.
    pub fn content_type(&self) -> &str {
        let found = self.headers.iter().find(|(name, _)| *name == "content-type");
        found.map_or("", |(_, value)| value)
    }
}

impl HeldReply {
    pub(super) const fn new(reply: Reply) -> Self {
        Self { reply, body: Vec::new() }
    }

    pub(super) fn of_refusal(refusal: &Refusal<'_>, shape: BodyShape) -> Self {
        let headers = refusal.headers().map(|(name, value)| (name, value.to_string())).collect();
        let reply = Reply { status: refusal.status(), headers };
        Self { reply, body: refusal.body(shape).into_bytes() }
    }

    pub(super) const fn body_mut(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    pub(super) fn into_parts(self) -> (Reply, Vec<u8>) {
        (self.reply, self.body)
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.reply.status)
    }
}

/// The error of a stream that ended like this. None if the client has its answer, or an error of
/// the engine's.
pub(super) const fn stream_error(outcome: &Outcome) -> Option<StreamError> {
    match outcome.end {
        AnswerEnd::Cut => Some(StreamError::Cut),
        AnswerEnd::TimedOut => Some(StreamError::TimedOut),
        AnswerEnd::Expired => Some(StreamError::Expired),
        _ => None,
    }
}

/// Bytes of a header's value above which it is dropped.
const LONGEST_VALUE: usize = 1_024;
