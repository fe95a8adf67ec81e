//! The frames of a publisher's ZMQ message.

use crate::error::{ErrorKind, WireError};

/// A message of a publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A batch of events.
    #[non_exhaustive]
    Batch {
        /// The topic; empty if the message has none.
        topic: &'a [u8],
        /// The sequence number, which starts at 0 in every process.
        seq: u64,
        /// The encoded batch, for a [`Decoder`](super::decoder::Decoder).
        payload: &'a [u8],
    },
    /// The end of a replay.
    ReplayEnd,
}

impl<'a> Message<'a> {
    /// Reads the frames of a message. Computes in **O(1)**.
    ///
    /// A SUB socket receives `[topic, seq, payload]` or `[seq, payload]`. The DEALER socket of a
    /// replay receives `["", topic, seq, payload]` or `["", seq, payload]`; a sequence number of -1
    /// ends the replay.
    ///
    /// # Errors
    ///
    /// Returns an error for fewer than two or more than four frames, and for a sequence number that
    /// is not 8 bytes long. The offset counts from the start of the first frame.
    pub fn read(frames: &[&'a [u8]]) -> Result<Self, WireError> {
        let (topic, seq, payload) = match *frames {
            [seq, payload] => (&b""[..], seq, payload),
            [topic, seq, payload] | [b"", topic, seq, payload] => (topic, seq, payload),
            [_, _, _, _] => {
                return Err(WireError::expected(0, "an empty frame before a replayed batch"));
            }
            _ => return Err(WireError::new(0, ErrorKind::Expected("two to four frames"))),
        };
        let Ok(seq) = <[u8; 8]>::try_from(seq) else {
            return Err(WireError::expected(topic.len(), "a sequence number of 8 bytes"));
        };
        match u64::from_be_bytes(seq) {
            u64::MAX => Ok(Self::ReplayEnd),
            seq => Ok(Self::Batch { topic, seq, payload }),
        }
    }
}

/// Returns the second frame of a replay request for batch `from` and later ones.
///
/// The request is `["", replay_request(from)]`, sent from a DEALER socket. A REQ socket would
/// receive only one reply.
///
/// ```
/// assert_eq!(slotwise_wire::kv::replay_request(258), [0, 0, 0, 0, 0, 0, 1, 2]);
/// ```
pub const fn replay_request(from: u64) -> [u8; 8] {
    from.to_be_bytes()
}

/// The offset of the payload, counted from the start of the first frame.
pub(super) fn payload_at(frames: &[&[u8]]) -> usize {
    frames.split_last().map_or(0, |(_, before)| before.iter().map(|frame| frame.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read() {
        let seq = 3_u64.to_be_bytes();
        let batch = |topic| Ok(Message::Batch { topic, seq: 3, payload: b"p" });
        assert_eq!(Message::read(&[&seq, b"p"]), batch(b""));
        assert_eq!(Message::read(&[b"t", &seq, b"p"]), batch(b"t"));
        assert_eq!(Message::read(&[b"", &seq, b"p"]), batch(b""));
        assert_eq!(Message::read(&[b"", b"t", &seq, b"p"]), batch(b"t"));
        let end = (-1_i64).to_be_bytes();
        assert_eq!(Message::read(&[b"", &end, b""]), Ok(Message::ReplayEnd));
        assert_eq!(Message::read(&[b"", b"", &end, b""]), Ok(Message::ReplayEnd));
        assert_eq!(payload_at(&[b"t", &seq, b"p"]), 9);
    }

    #[test]
    fn others_are_refused() {
        let seq = 3_u64.to_be_bytes();
        assert!(Message::read(&[]).is_err());
        assert!(Message::read(&[b"p"]).is_err());
        assert!(Message::read(&[b"x", b"t", &seq, b"p"]).is_err());
        assert!(Message::read(&[b"", b"", b"t", &seq, b"p"]).is_err());
        let error = Message::read(&[b"topic", b"1234567", b"p"]).expect_err("seven bytes");
        assert_eq!(error, WireError::expected(5, "a sequence number of 8 bytes"));
    }
}
