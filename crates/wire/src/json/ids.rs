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
        let mut run = [0; RUN];
        let bytes = self.text.as_bytes();
        let mut rest = bytes.get(self.at..).unwrap_or_default();
        loop {
            let found;
            (found, rest) = plain_run(rest, &mut run);
            ids.extend_from_slice(run.get(..found).unwrap_or_default());
            if found < RUN {
                break;
            }
        }
        self.at = bytes.len() - rest.len();
    }
}

/// How many ids are appended at once.
const RUN: usize = 64;

/// Reads ids until `run` is full. Returns their number and what follows them. It is a function of
/// its own so that the constants of its loop stay in registers.
#[inline(never)]
fn plain_run<'a>(bytes: &'a [u8], run: &mut [u32; RUN]) -> (usize, &'a [u8]) {
    let mut rest = bytes;
    for (found, place) in run.iter_mut().enumerate() {
        let Some((id, after)) = plain_id(rest) else { return (found, rest) };
        (*place, rest) = (id, after);
    }
    (RUN, rest)
}

/// A number other than 0, and what follows its comma and at most one space. Its digits are found
/// and added as the bytes of one word.
#[inline]
fn plain_id(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let values = word ^ (EACH * u64::from(b'0'));
    // The highest bit of each byte above 9. Bits above the lowest one may be false positives.
    let others = (values.wrapping_add(EACH * (0x7f - 9)) | values) & EACH << 7;
    // The bits of all digits. They are 0 if only digits were found, so that the first is no comma.
    let digits = others.trailing_zeros() & 0x38;
    let end = word >> digits;
    let separator = match end.to_le_bytes() {
        [b',', b' ', ..] => 2,
        [b',', ..] => 1,
        _ => return None,
    };
    if !(1..10).contains(&(values as u8)) {
        return None;
    }
    let after = bytes.get((digits / u8::BITS) as usize + separator..)?;
    Some((sum(values.wrapping_shl(digits.wrapping_neg())), after))
}

/// The value of digits in the highest bytes, the last digit highest, with zeros before the first.
const fn sum(digits: u64) -> u32 {
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000 << 32 | 1) >> 32) as u32
}
