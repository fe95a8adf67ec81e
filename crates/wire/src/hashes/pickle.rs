//! Python's pickle, protocol 5, for tuples of bytes, integers and strings.
//!
//! The bytes equal those of CPython's pickler. Written by hand: `serde-pickle` writes protocol 3
//! without frames and memo entries, so its hashes differ.

use alloc::vec::Vec;

use super::extra_keys::{ExtraKeys, Key, Tagging};

const MEMOIZE: u8 = 0x94;
const STOP: u8 = b'.';

/// Writes a whole pickle with its header and its single frame.
pub(super) fn document(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // The frame starts with its length, which is filled in at the end.
    let start = out.len();
    out.extend_from_slice(&[0x80, 5, 0x95, 0, 0, 0, 0, 0, 0, 0, 0]);
    let body = out.len();
    write(out);
    out.push(STOP);
    let length = (out.len() - body) as u64;
    // A frame has at least four bytes; shorter content is written without one.
    if length < 4 {
        out.drain(start + 2..body);
    } else if let Some(place) = out.get_mut(start + 3..body) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// `(parent, (token, ...), keys or None)`.
pub(super) fn block(
    out: &mut Vec<u8>,
    parent: &[u8],
    tokens: &[u32],
    keys: ExtraKeys<'_>,
    tagging: Tagging,
) {
    document(out, |out| {
        out.extend_from_slice(&[b'C', parent.len() as u8]);
        out.extend_from_slice(parent);
        out.push(MEMOIZE);
        tuple(out, tokens.len(), |out| tokens.iter().for_each(|token| integer(out, *token)));
        if keys == ExtraKeys::default() {
            out.push(b'N');
        } else {
            let mut count =
                usize::from(keys.adapter.is_some()) + usize::from(keys.cache_salt.is_some());
            tuple(out, count, |out| {
                count = keys.each(tagging, |key| match key {
                    Key::Bare(bare) => text(out, bare),
                    Key::Tuple(parts) => {
                        tuple(out, parts.len(), |out| {
                            parts.iter().for_each(|part| text(out, part));
                        });
                    }
                });
            });
        }
        out.extend_from_slice(&[0x87, MEMOIZE]);
    });
}

/// A string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) => out.extend_from_slice(&[0x8c, length]),
        Err(_) => {
            out.push(b'X');
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
    out.push(MEMOIZE);
}

fn tuple(out: &mut Vec<u8>, length: usize, write: impl FnOnce(&mut Vec<u8>)) {
    if length > 3 {
        out.push(b'(');
    }
    write(out);
    let end = match length {
        // The empty tuple is not memoized: it is a singleton.
        0 => return out.push(b')'),
        1 => 0x85,
        2 => 0x86,
        3 => 0x87,
        _ => b't',
    };
    out.extend_from_slice(&[end, MEMOIZE]);
}

fn integer(out: &mut Vec<u8>, number: u32) {
    let [a, b, c, d] = number.to_le_bytes();
    match number {
        0..=0xff => out.extend_from_slice(&[b'K', a]),
        0x100..=0xffff => out.extend_from_slice(&[b'M', a, b]),
        0x1_0000..=0x7fff_ffff => out.extend_from_slice(&[b'J', a, b, c, d]),
        // Integers beyond 31 bits have a fifth byte for the sign.
        _ => out.extend_from_slice(&[0x8a, 5, a, b, c, d, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashes::Adapter;

    fn hex(bytes: &[u8]) -> std::string::String {
        bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
    }

    #[test]
    fn it_writes_what_python_writes() {
        // pickle.dumps(s, protocol=5)
        let mut out = Vec::new();
        document(&mut out, |out| text(out, "42"));
        assert_eq!(hex(&out), "80059506000000000000008c023432942e");
    }

    /// `pickle.dumps((bytes(range(32)), tokens, keys), protocol=5)`
    #[test]
    fn blocks_are_as_python_writes_them() {
        let parent: [u8; 32] = core::array::from_fn(|at| at as u8);
        let written = |tokens: &[u32], keys, tagging| {
            let mut out = Vec::new();
            block(&mut out, &parent, tokens, keys, tagging);
            hex(&out)
        };
        let head = "4320000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f94";
        let none = ExtraKeys::default();
        let tokens = [1, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, u32::MAX];
        let body =
            "284b014bff4d00014dffff4a000001004affffff7f8a0500000080008a05ffffffff0074944e87942e";
        assert_eq!(
            written(&tokens, none, Tagging::Tagged),
            std::format!("8005954c00000000000000{head}{body}")
        );
        assert_eq!(
            written(&[], none, Tagging::Tagged),
            std::format!("8005952800000000000000{head}294e87942e")
        );
        let adapter = Some(Adapter { name: "lora-a", path: "/tmp/a" });
        let both = ExtraKeys { adapter, cache_salt: Some("t1") };
        let tagged = "4b014b0286948c046c6f7261948c066c6f72612d61948c062f746d702f619487948c0a63616368655f73616c74948c02743194\
                      8694869487942e";
        assert_eq!(
            written(&[1, 2], both, Tagging::Tagged),
            std::format!("8005955d00000000000000{head}{tagged}")
        );
        // (b, (1, 2), ("lora-a", "t1"))
        let untagged = "4b014b0286948c066c6f72612d61948c02743194869487942e";
        assert_eq!(
            written(&[1, 2], both, Tagging::Untagged),
            std::format!("8005953c00000000000000{head}{untagged}")
        );
        let salt = "x".repeat(300);
        let long =
            written(&[7], ExtraKeys { adapter: None, cache_salt: Some(&salt) }, Tagging::Tagged);
        assert!(
            long.starts_with("8005956d01")
                && long.contains("4b0785948c0a63616368655f73616c7494582c0100007878")
        );
        assert!(long.ends_with("78948694859487942e"));
    }
}
