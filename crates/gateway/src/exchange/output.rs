//! What the host does next.

use alloc::vec::Vec;

use super::Exchange;
use super::call::Call;
use super::reply::{HeldReply, Reply};

/// What the host does next.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Pick or submit the request, without the [excluded](super::Exchange::excluded) endpoints.
    Dispatch,
    /// Send the request to the prefilling endpoint, and report the whole answer or the failure.
    /// Further outputs may follow before that.
    Prefill(Call),
    /// Send the request to the endpoint that answers it.
    Send(Call),
    /// Close the connections to the endpoints. Nothing more of their answers is read.
    Abort,
    /// Send status and headers to the client. Comes once.
    Reply(Reply),
    /// Send these bytes to the client.
    Body(Vec<u8>),
    /// The client has all of its response: end it as HTTP does. The last output.
    End,
    /// The answer broke off after part of it was sent, and no error can follow: break the client's
    /// connection, too. The last output.
    Break,
}

/// What becomes of a chunk of the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Passing {
    /// It was copied: it comes out as [`Output::Body`], at once or when the answer has begun, or is
    /// dropped when another endpoint is asked.
    Held,
    /// The host sends the chunk itself, uncopied. No output is pending then.
    PassedOn,
    /// Nothing: the exchange has ended.
    Dropped,
}

impl Passing {
    /// Whether the host sends the chunk to its client now.
    pub const fn is_passed_on(self) -> bool {
        matches!(self, Self::PassedOn)
    }
}

impl Exchange {
    pub(super) fn reply(&mut self, held: HeldReply) {
        let (reply, body) = held.into_parts();
        self.outputs.push_back(Output::Reply(reply));
        self.pass_on(body);
    }

    pub(super) fn pass_on(&mut self, body: Vec<u8>) {
        if !body.is_empty() {
            self.outputs.push_back(Output::Body(body));
        }
    }

    /// Closes what is open: the connection to the endpoint, unless it is closed, and that of its
    /// prefill.
    pub(super) fn abort_unless(&mut self, is_closed: bool) {
        if self.drop_prefill() || !is_closed {
            self.outputs.push_back(Output::Abort);
        }
    }
}
