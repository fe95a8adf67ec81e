//! Reuses the scan of the prefix that payloads of a stream share.
//!
//! Payloads usually start with the same bytes, up to the new token. The state of a scan depends
//! only on the bytes it has read. So the scan of a payload resumes from the state after the shared
//! prefix.

use super::payload_facts::PayloadFacts;
use super::scan::Scanner;

/// The prefix of an earlier payload, and the state of its scan.
#[derive(Clone, Debug)]
pub(super) struct SharedPrefix {
    bytes: [u8; LONGEST],
    /// The number of stored bytes.
    length: usize,
    /// The number of scanned bytes; 0 at first.
    scanned: usize,
    scanner: Scanner,
    facts: PayloadFacts,
    /// How often the scanned prefix grew. Growth is limited because a changing prefix does not pay
    /// off.
    grown: u8,
}

/// How the start of a payload compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PrefixMatch {
    /// It matches, and the scan of this many bytes is available.
    Known(usize),
    /// This many bytes match; their scan should be stored.
    Common(usize),
    /// It differs, or is too short to compare.
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

    /// Compares the first piece of a payload with the stored prefix.
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
        // A piece that a chunk truncates does not show what payloads share.
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

    /// Stores the start of this payload.
    fn keep(&mut self, piece: &[u8]) {
        let length = piece.len().min(LONGEST);
        if let (Some(room), Some(bytes)) = (self.bytes.get_mut(..length), piece.get(..length)) {
            room.copy_from_slice(bytes);
            self.length = length;
        }
    }

    /// The state of the scan after the shared prefix.
    pub(super) const fn recall(&self) -> (Scanner, PayloadFacts) {
        (self.scanner, self.facts)
    }

    /// Stores the state after `scanned` bytes.
    pub(super) const fn remember(&mut self, scanned: usize, scanner: Scanner, facts: PayloadFacts) {
        (self.scanned, self.scanner, self.facts) = (scanned, scanner, facts);
    }
}

/// The length of the common prefix.
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

/// The maximum number of bytes compared.
const LONGEST: usize = 224;
/// Shorter prefixes are scanned as fast as they are compared.
const SHORTEST: usize = 32;
/// A prefix must grow by this many bytes to be stored again.
const WORTH: usize = 8;
/// The maximum number of times that it grows.
const PATIENCE: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(token: &str) -> alloc::string::String {
        alloc::format!(
            "{{\"id\":\"cmpl-0123456789\",\"model\":\"m\",\"text\":\"{token}\",\"finish_reason\":null}}"
        )
    }

    /// Compares and stores as a payload does.
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
