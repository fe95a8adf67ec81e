//! Arrays of token ids, of which prompts have thousands.

use alloc::vec::Vec;

use super::{Kind, Reader, Result};
use crate::error::WireError;

impl Reader<'_> {
    /// Appends the numbers of an array. All must be integers below 2^32.
    pub(crate) fn ids(&mut self, what: &'static str, ids: &mut Vec<u32>) -> Result<()> {
        self.open_array()?;
        let mut more = self.next_item()?;
        while more {
            more = match self.plain_id() {
                Some((id, after)) => {
                    ids.push(id);
                    self.at = after;
                    if self.text.as_bytes().get(after) == Some(&b',') {
                        self.at += 1;
                        continue;
                    }
                    self.next_item()?
                }
                None if self.kind()? == Kind::Number => {
                    ids.push(self.number()?.small(what)?);
                    self.next_item()?
                }
                None => return Err(WireError::expected(self.at, what)),
            };
        }
        Ok(())
    }

    /// Reads a number of a few digits after at most one space, with its end. Nearly all ids have
    /// this form.
    fn plain_id(&self) -> Option<(u32, usize)> {
        let bytes = self.text.as_bytes();
        let start = self.at + usize::from(bytes.get(self.at) == Some(&b' '));
        let (mut at, mut id) = (start, 0);
        while let Some(digit) =
            bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            if at - start == MOST_DIGITS {
                return None;
            }
            id = id * 10 + u32::from(digit);
            at += 1;
        }
        let no_more = matches!(bytes.get(at), Some(b',' | b']'));
        let is_plain = at == start + 1 || at > start && bytes.get(start) != Some(&b'0');
        (no_more && is_plain).then_some((id, at))
    }
}

/// A number of at most this many digits is below 2^32.
const MOST_DIGITS: usize = 9;
