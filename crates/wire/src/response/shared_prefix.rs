//! What payloads of a stream begin with: the same bytes as a rule, up to the token that is new.
//!
//! A scan depends on nothing but the bytes that it has read. So where a payload begins as an earlier one did, the scan goes on from what
//! that one had come to, and only the rest of it is read.

use super::payload_facts::PayloadFacts;
use super::scan::Scanner;

/// The beginning of an earlier payload, and what a scan of it comes to.
#[derive(Clone, Debug)]
pub(super) struct SharedPrefix {
    bytes: [u8; LONGEST],
    /// Bytes of it that are there.
    length: usize,
    /// Bytes of it that have been scanned; none at first.
    scanned: usize,
    scanner: Scanner,
    facts: PayloadFacts,
    /// How often it was scanned further than before. What changes from one payload to the next is not worth it for ever.
    grown: u8,
}

/// How a payload begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PrefixMatch {
    /// As that one: the scan of so many bytes is known.
    Known(usize),
    /// As that one, for so many bytes: worth remembering when they have been scanned.
    Common(usize),
    /// In another way, or it is too short to say.
    New,
}

impl SharedPrefix {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
            scanned: 0,
            scanner: Scanner::new(),
            facts: PayloadFacts::default(),
            grown: 0,
        }
    }

    /// Compares the first piece of a payload with it.
    pub(super) fn compare(&mut self, piece: &[u8]) -> PrefixMatch {
        let alike = common(self.bytes.get(..self.length).unwrap_or_default(), piece);
        if self.scanned > 0 && alike >= self.scanned {
            if alike == self.length {
                self.keep(piece);
            }
            if alike < self.scanned + WORTH || self.grown == PATIENCE {
                return PrefixMatch::Known(self.scanned);
            }
            self.grown += 1;
            return PrefixMatch::Common(alike);
        }
        // A piece that the chunk cuts off says nothing about what payloads have in common.
        if alike == piece.len() || piece.len() < SHORTEST {
            return PrefixMatch::New;
        }
        if alike >= SHORTEST {
            return PrefixMatch::Common(alike);
        }
        self.keep(piece);
        (self.scanned, self.grown) = (0, 0);
        PrefixMatch::New
    }

    /// Takes this for the earlier payload.
    fn keep(&mut self, piece: &[u8]) {
        let length = piece.len().min(LONGEST);
        if let (Some(room), Some(bytes)) = (self.bytes.get_mut(..length), piece.get(..length)) {
            room.copy_from_slice(bytes);
            self.length = length;
        }
    }

    /// What the scan of its first bytes came to.
    pub(super) const fn recall(&self) -> (Scanner, PayloadFacts) {
        (self.scanner, self.facts)
    }

    /// So many of its bytes have been scanned, to this effect.
    pub(super) const fn remember(&mut self, scanned: usize, scanner: Scanner, facts: PayloadFacts) {
        (self.scanned, self.scanner, self.facts) = (scanned, scanner, facts);
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
const LONGEST: usize = 224;
/// What is shorter is scanned as fast as it is compared.
const SHORTEST: usize = 32;
/// So many bytes more are worth being remembered.
const WORTH: usize = 8;
/// So often.
const PATIENCE: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(token: &str) -> alloc::string::String {
        alloc::format!(
            "{{\"id\":\"cmpl-0123456789\",\"model\":\"m\",\"text\":\"{token}\",\"finish_reason\":null}}"
        )
    }

    /// Compares, and remembers as a payload does.
    fn begin(beginning: &mut SharedPrefix, piece: &str) -> PrefixMatch {
        let begins = beginning.compare(piece.as_bytes());
        if let PrefixMatch::Common(alike) = begins {
            beginning.remember(alike, Scanner::new(), PayloadFacts::default());
        }
        begins
    }

    #[test]
    fn the_third_payload_is_known_up_to_its_token() {
        let mut beginning = SharedPrefix::new();
        let token = payload("").find("\",\"finish").expect("it is there");
        assert_eq!(begin(&mut beginning, &payload("one")), PrefixMatch::New);
        assert_eq!(begin(&mut beginning, &payload("two")), PrefixMatch::Common(token));
        assert_eq!(begin(&mut beginning, &payload("three")), PrefixMatch::Known(token));
        assert_eq!(
            begin(&mut beginning, &payload("four")[..20]),
            PrefixMatch::New,
            "cut off by its chunk"
        );
        assert_eq!(begin(&mut beginning, &payload("four")[..40]), PrefixMatch::New);
        assert_eq!(
            begin(&mut beginning, &payload("five")),
            PrefixMatch::Known(token),
            "and nothing is forgotten"
        );
    }

    #[test]
    fn what_changes_is_not_remembered_for_ever() {
        let mut beginning = SharedPrefix::new();
        let token = payload("").find("\",\"finish").expect("it is there");
        for _ in 0..100 {
            begin(&mut beginning, &payload("the same"));
            begin(&mut beginning, &payload("another"));
        }
        assert_eq!(begin(&mut beginning, &payload("the same")), PrefixMatch::Known(token));
        assert_eq!(
            begin(&mut beginning, &payload("x").replace("cmpl", "chat")),
            PrefixMatch::New,
            "another stream"
        );
    }

    #[test]
    fn a_short_beginning_grows() {
        let mut beginning = SharedPrefix::new();
        let token = payload("").find("\",\"finish").expect("it is there");
        begin(&mut beginning, &payload("one")[..36]);
        for token in ["two", "one", "two", "four"] {
            begin(&mut beginning, &payload(token));
        }
        assert_eq!(begin(&mut beginning, &payload("three")), PrefixMatch::Known(token));
    }
}
