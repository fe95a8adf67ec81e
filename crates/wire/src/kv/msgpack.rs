//! A msgpack pull parser: one pass, no recursion, no allocation. Every length is checked against
//! the remaining input.
//!
//! Written by hand: `rmp` reports no byte offsets and does not check lengths against the remaining
//! input, and `rmp-serde` decodes into types.

use crate::error::{ErrorKind, WireError};

type Result<T> = core::result::Result<T, WireError>;

/// A position in msgpack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The types of values that KV events distinguish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Nil,
    Integer,
    Text,
    Binary,
    Array,
    Map,
    Other,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The type of the next value.
    pub(super) fn kind(&self) -> Result<Kind> {
        Ok(match self.peek()? {
            0xc0 => Kind::Nil,
            0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => Kind::Integer,
            0xa0..=0xbf | 0xd9..=0xdb => Kind::Text,
            0xc4..=0xc6 => Kind::Binary,
            0x90..=0x9f | 0xdc | 0xdd => Kind::Array,
            0x80..=0x8f | 0xde | 0xdf => Kind::Map,
            _ => Kind::Other,
        })
    }

    /// Reads nil if it is the next value, and returns whether it was.
    pub(super) fn nil(&mut self) -> Result<bool> {
        let is_nil = self.peek()? == 0xc0;
        self.at += usize::from(is_nil);
        Ok(is_nil)
    }

    /// Enters an array and returns its length.
    pub(super) fn array(&mut self) -> Result<usize> {
        let start = self.at;
        let length = match self.byte()? {
            marker @ 0x90..=0x9f => usize::from(marker & 0x0f),
            0xdc => self.length(2)?,
            0xdd => self.length(4)?,
            _ => return Err(self.back(start, "an array")),
        };
        self.room_for(length)
    }

    /// Enters a map and returns its number of pairs.
    pub(super) fn map(&mut self) -> Result<usize> {
        let start = self.at;
        let length = match self.byte()? {
            marker @ 0x80..=0x8f => usize::from(marker & 0x0f),
            0xde => self.length(2)?,
            0xdf => self.length(4)?,
            _ => return Err(self.back(start, "a map")),
        };
        self.room_for(length.saturating_mul(2))?;
        Ok(length)
    }

    /// Reads an integer as 64 bits; negative ones in two's complement.
    pub(super) fn bits(&mut self, what: &'static str) -> Result<u64> {
        let start = self.at;
        Ok(match self.byte()? {
            number @ 0x00..=0x7f => u64::from(number),
            number @ 0xe0..=0xff => i64::from(number as i8) as u64,
            0xcc => u64::from(self.byte()?),
            0xcd => u64::from(u16::from_be_bytes(self.chunk()?)),
            0xce => u64::from(u32::from_be_bytes(self.chunk()?)),
            0xcf => u64::from_be_bytes(self.chunk()?),
            0xd0 => i64::from(i8::from_be_bytes(self.chunk()?)) as u64,
            0xd1 => i64::from(i16::from_be_bytes(self.chunk()?)) as u64,
            0xd2 => i64::from(i32::from_be_bytes(self.chunk()?)) as u64,
            0xd3 => i64::from_be_bytes(self.chunk()?) as u64,
            _ => return Err(self.back(start, what)),
        })
    }

    /// Reads an integer below 2^32.
    #[inline]
    pub(super) fn small(&mut self, what: &'static str) -> Result<u32> {
        // The two most frequent encodings of token ids.
        match *self.bytes.get(self.at..).unwrap_or_default() {
            [0xcd, high, low, ..] => {
                self.at += 3;
                Ok(u32::from(u16::from_be_bytes([high, low])))
            }
            [number @ 0x00..=0x7f, ..] => {
                self.at += 1;
                Ok(u32::from(number))
            }
            _ => self.small_otherwise(what),
        }
    }

    fn small_otherwise(&mut self, what: &'static str) -> Result<u32> {
        let start = self.at;
        let bits = self.bits(what)?;
        u32::try_from(bits).map_err(|_| WireError::new(start, ErrorKind::OutOfRange(what)))
    }

    /// Reads a number.
    pub(super) fn float(&mut self, what: &'static str) -> Result<f64> {
        Ok(match self.peek()? {
            0xca => {
                self.at += 1;
                f64::from(f32::from_be_bytes(self.chunk()?))
            }
            0xcb => {
                self.at += 1;
                f64::from_be_bytes(self.chunk()?)
            }
            0xe0..=0xff | 0xd0..=0xd3 => self.bits(what)? as i64 as f64,
            _ => self.bits(what)? as f64,
        })
    }

    /// Reads a string.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.name()?;
        let from = self.at - bytes.len();
        core::str::from_utf8(bytes)
            .map_err(|error| WireError::new(from + error.valid_up_to(), ErrorKind::NotUtf8))
    }

    /// Reads a string that is only compared with ASCII names, without validating its UTF-8.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return Err(self.back(start, "a string")),
        };
        self.take(length)
    }

    /// Reads a byte string.
    pub(super) fn binary(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        let length = match self.byte()? {
            0xc4 => self.length(1)?,
            0xc5 => self.length(2)?,
            0xc6 => self.length(4)?,
            _ => return Err(self.back(start, "bytes")),
        };
        self.take(length)
    }

    /// Skips the next value at any depth. Checks its structure, but not its UTF-8.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let inside = match self.kind()? {
                Kind::Array => self.array()?,
                // A map whose pairs exceed the input was rejected, so this does not overflow.
                Kind::Map => self.map()? * 2,
                _ => {
                    self.skip_scalar()?;
                    0
                }
            };
            // Each remaining value takes at least one byte.
            left = left.saturating_add(inside);
            self.room_for(left)?;
        }
        Ok(())
    }

    /// Checks that the input ends here.
    pub(super) const fn end(&self) -> Result<()> {
        if self.at < self.bytes.len() {
            return Err(WireError::expected(self.at, "the end"));
        }
        Ok(())
    }

    fn skip_scalar(&mut self) -> Result<()> {
        let start = self.at;
        let length = match self.byte()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 0,
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xc4 | 0xd9 => self.length(1)?,
            0xc5 | 0xda => self.length(2)?,
            0xc6 | 0xdb => self.length(4)?,
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 => 2,
            0xca | 0xce | 0xd2 => 4,
            0xcb | 0xcf | 0xd3 => 8,
            // Extensions have one byte for their type.
            marker @ 0xd4..=0xd8 => (1 << (marker - 0xd4)) + 1,
            0xc7 => self.length(1)?.saturating_add(1),
            0xc8 => self.length(2)?.saturating_add(1),
            0xc9 => self.length(4)?.saturating_add(1),
            _ => return Err(self.back(start, "a value")),
        };
        self.take(length).map(drop)
    }

    fn peek(&self) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or_else(|| self.truncated())
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let chunk = *rest.first_chunk::<N>().ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(chunk)
    }

    /// Reads a big-endian length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or_else(|| self.truncated())?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| self.truncated())?;
        self.at = end;
        Ok(taken)
    }

    /// Checks that `values` fit into the remaining bytes, at one byte each.
    fn room_for(&self, values: usize) -> Result<usize> {
        if values > self.bytes.len() - self.at { Err(self.truncated()) } else { Ok(values) }
    }

    const fn truncated(&self) -> WireError {
        WireError::new(self.bytes.len(), ErrorKind::Truncated)
    }

    const fn back(&mut self, to: usize, what: &'static str) -> WireError {
        self.at = to;
        WireError::expected(to, what)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn read<T>(bytes: &[u8], read: impl Fn(&mut Reader<'_>) -> Result<T>) -> Result<T> {
        let mut reader = Reader::new(bytes);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn numbers_keep_all_their_bits() {
        let bits = |bytes: &[u8]| read(bytes, |reader| reader.bits("a number"));
        assert_eq!(bits(b"\x7f"), Ok(127));
        assert_eq!(bits(b"\xff"), Ok(u64::MAX));
        assert_eq!(bits(b"\xcc\xff"), Ok(255));
        assert_eq!(bits(b"\xcd\x01\x00"), Ok(256));
        assert_eq!(bits(b"\xce\xff\xff\xff\xff"), Ok(u64::from(u32::MAX)));
        assert_eq!(bits(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), Ok(u64::MAX));
        assert_eq!(bits(b"\xd0\x80"), Ok(-128_i64 as u64));
        assert_eq!(bits(b"\xd1\x80\x00"), Ok(-32_768_i64 as u64));
        assert_eq!(bits(b"\xd3\x80\0\0\0\0\0\0\0"), Ok(1 << 63));
        assert_eq!(bits(b"\xcb\0\0\0\0\0\0\0\0"), Err(WireError::expected(0, "a number")));
        let small = |bytes: &[u8]| read(bytes, |reader| reader.small("a token id"));
        assert_eq!(small(b"\xcd\x01\x02"), Ok(258));
        assert_eq!(small(b"\xce\xff\xff\xff\xff"), Ok(u32::MAX));
        let out = Err(WireError::new(0, ErrorKind::OutOfRange("a token id")));
        assert_eq!(small(b"\xff"), out);
        assert_eq!(small(b"\xcf\0\0\0\x01\0\0\0\0"), out);
        assert_eq!(small(b"\xcd\x01"), Err(WireError::new(2, ErrorKind::Truncated)));
    }

    #[test]
    fn floats_may_be_whole() {
        let float = |bytes: &[u8]| read(bytes, |reader| reader.float("a time"));
        assert_eq!(float(b"\xcb\x3f\xf8\0\0\0\0\0\0"), Ok(1.5));
        assert_eq!(float(b"\xca\x3f\xc0\0\0"), Ok(1.5));
        assert_eq!(float(b"\x07"), Ok(7.0));
        assert_eq!(float(b"\xff"), Ok(-1.0));
    }

    #[test]
    fn lengths_beyond_the_end_are_refused_at_once() {
        for (bytes, length) in [
            (&b"\xdd\xff\xff\xff\xff"[..], 5),
            (b"\xdf\xff\xff\xff\xff\x01\x01", 7),
            (b"\xdb\xff\xff\xff\xffab", 7),
            (b"\xc6\xff\xff\xff\xffab", 7),
            (b"\xc9\xff\xff\xff\xff\x01", 6),
        ] {
            assert_eq!(
                read(bytes, |reader| reader.skip()),
                Err(WireError::new(length, ErrorKind::Truncated)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_million_levels_are_skipped() {
        let mut bytes = std::vec![0x91; 1_000_000];
        assert_eq!(
            read(&bytes, |reader| reader.skip()),
            Err(WireError::new(1_000_000, ErrorKind::Truncated))
        );
        bytes.push(0xc0);
        assert_eq!(read(&bytes, |reader| reader.skip()), Ok(()));
    }

    #[test]
    fn every_kind_is_skipped_whole() {
        let values: [&[u8]; 20] = [
            b"\xc0",
            b"\xc2",
            b"\x05",
            b"\xf0",
            b"\xa2hi",
            b"\xd9\x01a",
            b"\xc4\x02ab",
            b"\xca\0\0\0\0",
            b"\xcb\0\0\0\0\0\0\0\0",
            b"\xd4\x01a",
            b"\xd8\x010123456789abcdef",
            b"\xc7\x03\x01abc",
            b"\x92\x01\x02",
            b"\x81\xa1a\x91\x02",
            b"\xdc\0\x01\x01",
            b"\xde\0\x01\x01\x02",
            b"\xd2\0\0\0\0",
            b"\xda\0\x01a",
            b"\xc5\0\x01a",
            b"\xd3\0\0\0\0\0\0\0\0",
        ];
        for value in values {
            assert_eq!(read(value, |reader| reader.skip()), Ok(()), "{value:?}");
            for end in 0..value.len() {
                assert_eq!(
                    read(&value[..end], |reader| reader.skip()),
                    Err(WireError::new(end, ErrorKind::Truncated)),
                    "{value:?}"
                );
            }
        }
        let all: Vec<u8> = values.concat();
        let mut reader = Reader::new(&all);
        for _ in values {
            reader.skip().expect("whole");
        }
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(read(b"\xc1", |reader| reader.skip()), Err(WireError::expected(0, "a value")));
    }
}
