//! The format of snapshots: little-endian numbers behind a header that is validated first. The byte
//! order and columns are fixed for equal bytes in all languages; serde formats such as `postcard`
//! were weighed and do not copy columns at memory speed.
//!
//! ```text
//! magic (8)   version (4)   kind (4)   key (8)   length (8)   checksum (8)   body ...
//! ```
//!
//! The key is derived from the seed and does not reveal it: under another seed, equal prompts have
//! other hashes. The checksum detects damage, not malice, so the reader validates every number.

use alloc::vec::Vec;
use core::array;
use core::fmt;
use core::hash::BuildHasher;

use super::keyed_state::KeyedState;
use crate::endpoint::CacheEvictionOrder;

/// Why a snapshot was not restored. Nothing was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are not a snapshot of this kind.
    Foreign,
    /// It has another format version.
    Version(u32),
    /// It was taken under another seed, under which all prompts have other hashes.
    Seed,
    /// Bytes are missing or changed at this offset or before.
    Damaged(usize),
    /// Its contents need more than [`IndexLimits::bytes`](crate::prefix::IndexLimits::bytes).
    TooLarge,
    /// The scheduler has already dispatched requests; restore must come first.
    Busy,
}

impl SnapshotError {
    /// A stable code for logs and other languages; it does not change with the message.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Foreign => "snapshot_foreign",
            Self::Version(_) => "snapshot_version",
            Self::Seed => "snapshot_seed",
            Self::Damaged(_) => "snapshot_damaged",
            Self::TooLarge => "snapshot_too_large",
            Self::Busy => "snapshot_busy",
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a snapshot of this kind"),
            Self::Version(version) => {
                write!(
                    f,
                    "the snapshot has format {version}, this version reads {VERSION}: \
                     start without a snapshot"
                )
            }
            Self::Seed => f.write_str(
                "the snapshot was taken under another seed: use that seed, or start without a \
                 snapshot",
            ),
            Self::Damaged(at) => {
                write!(
                    f,
                    "the snapshot is damaged at byte {at} or before: start without a snapshot"
                )
            }
            Self::TooLarge => {
                f.write_str("the snapshot needs more memory than index.bytes allows: raise it")
            }
            Self::Busy => f.write_str(
                "the scheduler has dispatched requests already: restore before the first",
            ),
        }
    }
}

impl core::error::Error for SnapshotError {}

/// The kind of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Index = 1,
    Scheduler = 2,
}

/// The body of an unfinished snapshot, with space for its header.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(alloc::vec![0; HEADER])
    }

    pub(crate) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// The number of items that follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Many items of equal size at once.
    pub(crate) fn column<T, const N: usize>(
        &mut self,
        column: &[T],
        words: impl Fn(&T) -> [u64; N],
    ) {
        let from = self.0.len();
        self.0.resize(from + 8 * N * column.len(), 0);
        for (place, item) in self.0[from..].chunks_exact_mut(8 * N).zip(column) {
            for (place, word) in place.chunks_exact_mut(8).zip(words(item)) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
    }

    /// Completes the header and returns the snapshot.
    pub(crate) fn seal(mut self, kind: Kind, hash_state: KeyedState) -> Vec<u8> {
        let (length, sum) = ((self.0.len() - HEADER) as u64, checksum(&self.0[HEADER..]));
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(kind as u32).to_le_bytes());
        for number in [fingerprint(hash_state), length, sum] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        self.0[..HEADER].copy_from_slice(&header);
        self.0
    }
}

/// The unread part of a snapshot's body.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Opens a snapshot after validating its header: magic, version, kind, key and checksum.
    pub(crate) fn open(
        bytes: &'a [u8],
        kind: Kind,
        hash_state: KeyedState,
    ) -> Result<Self, SnapshotError> {
        let mut header = Self { bytes, at: 0 };
        if header.take(MAGIC.len()).map_err(|_| SnapshotError::Foreign)? != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let version = header.u32()?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if header.u32()? != kind as u32 {
            return Err(SnapshotError::Foreign);
        }
        if header.u64()? != fingerprint(hash_state) {
            return Err(SnapshotError::Seed);
        }
        let (length, sum) = (header.u64()?, header.u64()?);
        let body = &bytes[header.at..];
        if body.len() as u64 != length || checksum(body) != sum {
            return Err(SnapshotError::Damaged(bytes.len()));
        }
        Ok(header)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, SnapshotError> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.take(8).map(word)
    }

    /// The number of items that follow, each of at least `size` bytes; a number beyond the input is
    /// an error.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize, SnapshotError> {
        let count = self.u64()?;
        let most = (self.bytes.len() - self.at) / size.max(1);
        usize::try_from(count).ok().filter(|count| *count <= most).ok_or_else(|| self.damaged())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, SnapshotError> {
        let length = self.count(1)?;
        core::str::from_utf8(self.take(length)?).map_err(|_| self.damaged())
    }

    pub(crate) fn eviction_order(&mut self) -> Result<CacheEvictionOrder, SnapshotError> {
        match self.u8()? {
            0 => Ok(CacheEvictionOrder::TailFirst),
            1 => Ok(CacheEvictionOrder::HeadFirst),
            _ => Err(self.damaged()),
        }
    }

    /// Many items of equal size at once.
    pub(crate) fn column<T, const N: usize>(
        &mut self,
        length: usize,
        item: impl Fn([u64; N]) -> T,
    ) -> Result<Vec<T>, SnapshotError> {
        let bytes = length.checked_mul(8 * N).ok_or_else(|| self.damaged())?;
        let items = self.take(bytes)?.chunks_exact(8 * N);
        Ok(items.map(|bytes| item(array::from_fn(|at| word(&bytes[8 * at..8 * at + 8])))).collect())
    }

    /// Requires the end of the input.
    pub(crate) fn end(&self) -> Result<(), SnapshotError> {
        self.require(self.at == self.bytes.len())
    }

    pub(crate) fn require(&self, holds: bool) -> Result<(), SnapshotError> {
        if holds { Ok(()) } else { Err(self.damaged()) }
    }

    pub(crate) const fn damaged(&self) -> SnapshotError {
        SnapshotError::Damaged(self.at)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], SnapshotError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(|| self.damaged())?;
        self.at += length;
        Ok(taken)
    }
}

#[cfg(test)]
impl Writer {
    /// Seals a changed body with a valid checksum.
    pub(crate) fn sealed_again(snapshot: Vec<u8>, kind: Kind, hash_state: KeyedState) -> Vec<u8> {
        Self(snapshot).seal(kind, hash_state)
    }
}

#[cfg(test)]
impl Reader<'_> {
    pub(crate) fn body(snapshot: &[u8]) -> &[u8] {
        &snapshot[HEADER..]
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn fingerprint(hash_state: KeyedState) -> u64 {
    hash_state.hash_one(u64::from_le_bytes(MAGIC))
}

/// Four independent sums, so that their multiplications overlap.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sums = [1_u64, 2, 3, 4];
    let fold = |sum: &mut u64, word: u64| {
        let product = u128::from(*sum ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        *sum = (product as u64 ^ (product >> 64) as u64).wrapping_add(1);
    };
    let blocks = bytes.chunks_exact(32);
    let rest = blocks.remainder();
    for block in blocks {
        sums.iter_mut().zip(block.chunks_exact(8)).for_each(|(sum, bytes)| fold(sum, word(bytes)));
    }
    rest.iter().for_each(|byte| fold(&mut sums[0], u64::from(*byte)));
    let mut sum = bytes.len() as u64;
    sums.into_iter().for_each(|one| fold(&mut sum, one));
    sum
}

const MAGIC: [u8; 8] = *b"slotwise";
const VERSION: u32 = 4;
const HEADER: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH_STATE: KeyedState = KeyedState::new(7);

    fn sealed() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.text("a text");
        writer.column(&[1_u64, 2, 3], |number| [*number]);
        writer.u16(9);
        writer.seal(Kind::Index, HASH_STATE)
    }

    fn open(bytes: &[u8]) -> Result<Reader<'_>, SnapshotError> {
        Reader::open(bytes, Kind::Index, HASH_STATE)
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sealed();
        let mut reader = open(&bytes).expect("whole");
        assert_eq!(reader.text(), Ok("a text"));
        assert_eq!(reader.column(3, |[number]| number), Ok(alloc::vec![1, 2, 3]));
        assert_eq!((reader.u16(), reader.end()), (Ok(9), Ok(())));
        assert_eq!(reader.u8(), Err(SnapshotError::Damaged(bytes.len())));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let bytes = sealed();
        for at in 0..bytes.len() {
            assert!(open(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(open(&damaged).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_belongs_elsewhere_says_so() {
        let bytes = sealed();
        assert_eq!(open(b"something else").err(), Some(SnapshotError::Foreign));
        assert_eq!(
            Reader::open(&bytes, Kind::Scheduler, HASH_STATE).err(),
            Some(SnapshotError::Foreign)
        );
        assert_eq!(
            Reader::open(&bytes, Kind::Index, KeyedState::new(8)).err(),
            Some(SnapshotError::Seed)
        );
        let mut newer = bytes;
        newer[8] = 5;
        assert_eq!(open(&newer).err(), Some(SnapshotError::Version(5)));
    }
}
