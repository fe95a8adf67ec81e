//! Arrays of small numbers, of which prompts have thousands.

use alloc::vec::Vec;

use super::{Kind, Reader, Result};
use crate::error::WireError;

impl Reader<'_> {
    /// Appends the numbers of an array, all whole and below 2^32.
    pub(crate) fn ids(&mut self, what: &'static str, ids: &mut Vec<u32>) -> Result<()> {
        self.open_array()?;
        while self.next_item()? {
            self.peek()?;
            // Nearly all have a few digits and nothing else.
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let digits = rest.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
            let no_more = matches!(rest.get(digits), Some(b',' | b']'));
            if no_more && (digits == 1 || digits > 1 && rest.first() != Some(&b'0')) {
                ids.push(rest.iter().take(digits).fold(0, |id, digit| id * 10 + u32::from(digit - b'0')));
                self.at += digits;
            } else if self.kind()? == Kind::Number {
                ids.push(self.number()?.small(what)?);
            } else {
                return Err(WireError::expected(self.at, what));
            }
        }
        Ok(())
    }
}
