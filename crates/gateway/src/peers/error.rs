//! Why a message is rejected.

use core::error::Error;
use core::fmt;

/// A message of a peer was rejected; nothing of it was applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PeerError {
    /// It has more bytes than a message may have.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Its seal was made with another key, or its bytes have changed.
    Seal,
    /// It ends early, or is no message.
    Malformed,
    /// It is of a format that this version does not know.
    Format {
        /// Its format.
        format: u8,
        /// The known one.
        known: u8,
    },
    /// Its sender has another seed: hashes cannot be compared.
    Seed,
    /// Another gateway has this one's name.
    NameInUse,
    /// As many peers are known as may be, and all of them are alive.
    TooManyPeers {
        /// The limit.
        limit: usize,
    },
}

impl PeerError {
    /// All conditions.
    pub const CODES: [&'static str; 7] =
        ["too_large", "seal", "malformed", "format", "seed", "name_in_use", "too_many_peers"];

    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        Self::CODES[self.number()]
    }

    /// Its place in [`CODES`](Self::CODES).
    pub(super) const fn number(&self) -> usize {
        match self {
            Self::TooLarge { .. } => 0,
            Self::Seal => 1,
            Self::Malformed => 2,
            Self::Format { .. } => 3,
            Self::Seed => 4,
            Self::NameInUse => 5,
            Self::TooManyPeers { .. } => 6,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => {
                write!(f, "the message has {bytes} bytes, and may have {limit}")
            }
            Self::Seal => f.write_str("the message was sealed with another key"),
            Self::Malformed => f.write_str("the bytes are no message of a gateway"),
            Self::Format { format, known } => {
                write!(f, "the message has format {format}, and this version reads {known}")
            }
            Self::Seed => f.write_str("the sender has another seed"),
            Self::NameInUse => f.write_str("another gateway has the name of this one"),
            Self::TooManyPeers { limit } => write!(f, "{limit} peers are alive, the limit"),
        }
    }
}

impl Error for PeerError {}
