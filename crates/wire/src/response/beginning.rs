//! What payloads of a stream begin with: the same bytes as a rule, up to the token that is new.
//!
//! A scan depends on nothing but the bytes that it has read. So where a payload begins as an earlier one did, the scan goes on from what
//! that one had come to, and only the rest of it is read.

use super::said::Said;
use super::scan::Scanner;

/// The beginning of an earlier payload, and what a scan of it comes to.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    bytes: [u8; LONGEST],
    /// Bytes of it that are there.
    length: usize,
    /// Bytes of it that have been scanned; none at first.
    scanned: usize,
    scanner: Scanner,
    said: Said,
    /// How often it was scanned further than before. What changes from one payload to the next is not worth it for ever.
    grown: u8,
}

/// How a payload begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Begins {
    /// As that one: the scan of so many bytes is known.
    Known(usize),
    /// As that one, for so many bytes: worth remembering when they have been scanned.
    Alike(usize),
    /// In another way, or it is too short to say.
    Anew,
}

impl Beginning {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
            scanned: 0,
            scanner: Scanner::new(),
            said: Said::default(),
            grown: 0,
        }
    }

    /// Compares the first piece of a payload with it.
    pub(super) fn compare(&mut self, piece: &[u8]) -> Begins {
        let alike = common(self.bytes.get(..self.length).unwrap_or_default(), piece);
        if self.scanned > 0 && alike >= self.scanned {
            if alike < self.scanned + WORTH || self.grown == PATIENCE {
                return Begins::Known(self.scanned);
            }
            self.grown += 1;
            return Begins::Alike(alike);
        }
        if alike >= SHORTEST {
            return Begins::Alike(alike);
        }
        if piece.len() >= SHORTEST {
            let length = piece.len().min(LONGEST);
            if let (Some(room), Some(bytes)) = (self.bytes.get_mut(..length), piece.get(..length)) {
                room.copy_from_slice(bytes);
            }
            (self.length, self.scanned, self.grown) = (length, 0, 0);
        }
        Begins::Anew
    }

    /// What the scan of its first bytes came to.
    pub(super) const fn recall(&self) -> (Scanner, Said) {
        (self.scanner, self.said)
    }

    /// So many of its bytes have been scanned, to this effect.
    pub(super) const fn remember(&mut self, scanned: usize, scanner: Scanner, said: Said) {
        (self.scanned, self.scanner, self.said) = (scanned, scanner, said);
    }
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    let words = |bytes: &[u8], at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
    };
    let mut at = 0;
    while let (Some(one), Some(other)) = (words(one, at), words(other, at)) {
        if one != other {
            return at + (one ^ other).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = one.iter().skip(at).zip(other.iter().skip(at));
    at + rest.take_while(|(one, other)| one == other).count()
}

/// Of no payload more is compared.
const LONGEST: usize = 256;
/// What is shorter is scanned as fast as it is compared.
const SHORTEST: usize = 32;
/// So many bytes more are worth being remembered.
const WORTH: usize = 8;
/// So often.
const PATIENCE: u8 = 16;
