//! Arrays of token ids, of which prompts have thousands.

use alloc::vec::Vec;

use super::text::EACH;
use super::{Kind, Reader, Result};
use crate::error::WireError;

impl Reader<'_> {
    /// Appends the numbers of an array. All must be integers below 2^32.
    pub(crate) fn ids(&mut self, what: &'static str, ids: &mut Vec<u32>) -> Result<()> {
        self.open_array()?;
        while self.next_item()? {
            self.plain_ids(ids);
            if self.kind()? != Kind::Number {
                return Err(WireError::expected(self.at, what));
            }
            ids.push(self.number()?.small(what)?);
        }
        Ok(())
    }

    /// Appends numbers of a few digits with a comma after them, as long as such follow. Nearly all
    /// ids have this form.
    fn plain_ids(&mut self, ids: &mut Vec<u32>) {
        let bytes = self.text.as_bytes();
        let mut rest = bytes.get(self.at..).unwrap_or_default();
        while let Some((id, after)) = plain_id(rest) {
            ids.push(id);
            rest = after;
        }
        self.at = bytes.len() - rest.len();
    }
}

/// A number other than 0 after at most one space, and what follows its comma. Its digits are found
/// and added as the bytes of one word.
#[inline]
fn plain_id(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let space = u8::BITS * u32::from(word as u8 == b' ');
    let word = word >> space;
    let values = word ^ (EACH * u64::from(b'0'));
    // The highest bit of each byte above 9. Bits above the lowest one may be false positives.
    let others = (values.wrapping_add(EACH * (0x7f - 9)) | values) & EACH << 7;
    // The bits of all digits. They are 0 if only digits were found, so that the first is no comma.
    let digits = others.trailing_zeros() & 0x38;
    let starts = (1..10).contains(&(values as u8));
    if !starts || word.rotate_right(digits) as u8 != b',' {
        return None;
    }
    let after = bytes.get(((space + digits) / u8::BITS + 1) as usize..)?;
    Some((sum(values << (u64::BITS - digits)), after))
}

/// The value of digits in the highest bytes, the last digit highest, with zeros before the first.
const fn sum(digits: u64) -> u32 {
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000 << 32 | 1) >> 32) as u32
}
