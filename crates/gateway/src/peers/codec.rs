//! Integers and sections as bytes.
//!
//! Integers are little-endian base 128, as in Protocol Buffers. A section is a tag, a length and as
//! many bytes, so a reader skips the sections of newer versions. Records in a section have a
//! declared number of integers each: a reader skips those that it does not know, and takes zero for
//! those that an older version does not write.

use alloc::vec::Vec;

/// Appends to a message.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn integer(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Eight bytes: a hash has no small values.
    pub(super) fn hash(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.integer(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// A section, unless it is empty.
    pub(super) fn section(&mut self, tag: u64, write: impl FnOnce(&mut Self)) {
        let mut body = Self::default();
        write(&mut body);
        if !body.0.is_empty() {
            self.integer(tag);
            self.bytes(&body.0);
        }
    }

    /// The number of integers in each record that follows.
    pub(super) fn width(&mut self, width: usize) {
        self.integer(width as u64);
    }
}

/// Reads a message; `None` is its early end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn integer(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// An integer, at most `u32::MAX`: larger ones are clamped.
    pub(super) fn clamped(&mut self) -> Option<u32> {
        self.integer().map(|value| u32::try_from(value).unwrap_or(u32::MAX))
    }

    pub(super) fn hash(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer()?).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    /// The number of integers in each record that follows; at most [`WIDEST`].
    pub(super) fn width(&mut self) -> Option<usize> {
        usize::try_from(self.integer()?).ok().filter(|width| (1..=WIDEST).contains(width))
    }

    /// A record of `width` integers, of which `N` are known.
    pub(super) fn record<const N: usize>(&mut self, width: usize) -> Option<[u64; N]> {
        let mut record = [0; N];
        for at in 0..width {
            let value = self.integer()?;
            if let Some(known) = record.get_mut(at) {
                *known = value;
            }
        }
        Some(record)
    }
}

/// The largest number of integers in a record.
const WIDEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_integer_comes_back(values in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut writer = Writer::default();
            values.iter().for_each(|value| writer.integer(*value));
            let mut reader = Reader(&writer.0);
            for value in values {
                prop_assert_eq!(reader.integer(), Some(value));
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while !reader.is_empty() && reader.record::<3>(2).is_some() {}
            let mut reader = Reader(&bytes);
            while reader.bytes().is_some() {}
        }
    }

    #[test]
    fn a_record_of_another_version_is_read_as_far_as_it_is_known() {
        let mut writer = Writer::default();
        [1, 2, 3].iter().for_each(|value| writer.integer(*value));
        assert_eq!(Reader(&writer.0).record::<2>(3), Some([1, 2]));
        assert_eq!(Reader(&writer.0).record::<4>(3), Some([1, 2, 3, 0]));
        assert_eq!(Reader(&[0x80; 10]).integer(), None, "an integer of more than 64 bits");
    }
}
