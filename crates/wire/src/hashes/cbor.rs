//! Canonical CBOR (RFC 8949, section 4.2) for arrays of bytes, integers and strings.
//!
//! Written by hand: `ciborium` serializes types, and a writer for three kinds of values is shorter
//! than their types.

use alloc::vec::Vec;

use super::extra_keys::{ExtraKeys, Key, Tagging};

const INTEGER: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const NULL: u8 = 0xf6;

/// vLLM's `[parent, [token, ...], keys or null]`.
pub(super) fn block(
    out: &mut Vec<u8>,
    parent: &[u8],
    tokens: &[u32],
    keys: ExtraKeys<'_>,
    tagging: Tagging,
) {
    head(out, ARRAY, 3);
    head(out, BYTES, parent.len() as u64);
    out.extend_from_slice(parent);
    integers(out, tokens);
    if keys == ExtraKeys::default() {
        out.push(NULL);
        return;
    }
    let count = keys.each(tagging, |_| {});
    head(out, ARRAY, count as u64);
    keys.each(tagging, |key| match key {
        Key::Bare(bare) => text(out, bare),
        Key::Tuple(parts) => {
            head(out, ARRAY, parts.len() as u64);
            parts.iter().for_each(|part| text(out, part));
        }
    });
}

/// The reference's `[parent, [token, ...], [{"Hash": key}, ...] or null]`.
pub(super) fn request_block(out: &mut Vec<u8>, parent: u64, tokens: &[u32], extra: &[&str]) {
    head(out, ARRAY, 3);
    head(out, INTEGER, parent);
    integers(out, tokens);
    if extra.is_empty() {
        out.push(NULL);
        return;
    }
    head(out, ARRAY, extra.len() as u64);
    for each in extra {
        head(out, MAP, 1);
        text(out, "Hash");
        text(out, each);
    }
}

/// The reference's root of a model: `[seed, null, model]`.
pub(super) fn model_root(out: &mut Vec<u8>, seed: u64, model: &str) {
    head(out, ARRAY, 3);
    head(out, INTEGER, seed);
    out.push(NULL);
    text(out, model);
}

fn integers(out: &mut Vec<u8>, integers: &[u32]) {
    head(out, ARRAY, integers.len() as u64);
    for integer in integers {
        head(out, INTEGER, u64::from(*integer));
    }
}

/// A string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a major type and its argument in the fewest bytes.
fn head(out: &mut Vec<u8>, kind: u8, number: u64) {
    let kind = kind << 5;
    match number {
        0..=23 => out.push(kind | number as u8),
        24..=0xff => out.extend_from_slice(&[kind | 24, number as u8]),
        0x100..=0xffff => {
            out.push(kind | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(kind | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(kind | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_short_as_they_can_be() {
        // RFC 8949, appendix A.
        let cases: [(u64, &[u8]); 8] = [
            (0, b"\x00"),
            (23, b"\x17"),
            (24, b"\x18\x18"),
            (100, b"\x18\x64"),
            (1_000, b"\x19\x03\xe8"),
            (1_000_000, b"\x1a\x00\x0f\x42\x40"),
            (1_000_000_000_000, b"\x1b\x00\x00\x00\xe8\xd4\xa5\x10\x00"),
            (u64::MAX, b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ];
        for (number, bytes) in cases {
            let mut out = Vec::new();
            head(&mut out, INTEGER, number);
            assert_eq!(out, bytes);
        }
        let mut out = Vec::new();
        text(&mut out, "IETF");
        assert_eq!(out, b"\x64IETF");
    }
}
