//! Replaces ranges of a text.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// A range of a text, and the text in its place.
pub(crate) type Edit = (Range<usize>, String);

/// Applies edits that do not overlap; edits at one place are applied in their order.
pub(crate) fn edited(text: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| range.start);
    let added: usize = edits.iter().map(|(_, value)| value.len()).sum();
    let (mut edited, mut at) = (Vec::with_capacity(text.len() + added), 0);
    for (range, value) in edits {
        edited.extend_from_slice(text.get(at..range.start).unwrap_or_default());
        edited.extend_from_slice(value.as_bytes());
        at = range.end;
    }
    edited.extend_from_slice(text.get(at..).unwrap_or_default());
    edited
}
