//! API keys as their digests, and where requests have them.

use core::fmt;

use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of an API key. Configurations and memory hold digests, never keys.
///
/// A lookup compares digests, which reveals nothing about a key by its duration.
///
/// ```
/// use slotwise_gateway::gates::KeyDigest;
///
/// let digest = KeyDigest::of_key("abc");
/// let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// assert_eq!(digest.to_string(), hex);
/// assert_eq!(KeyDigest::from_hex(hex), Some(digest));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key. Computes in **O(bytes)**.
    pub fn of_key(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

/// The API key in a request's headers: `Authorization: Bearer KEY`, as OpenAI's clients send it, or
/// `x-api-key: KEY`, as Anthropic's do. With both, `Authorization` takes precedence.
///
/// Names have any case. Of equal names, the first counts. Keys longer than 4,096 bytes and values
/// that are not UTF-8 are no keys.
///
/// ```
/// use slotwise_gateway::gates::api_key;
///
/// let headers = [("X-Api-Key", "k2"), ("authorization", "bearer  k1")];
/// assert_eq!(api_key(headers), Some("k1"));
/// assert_eq!(api_key([("authorization", "Basic azE=")]), None);
/// ```
pub fn api_key<'a, N: AsRef<str>, V: AsRef<[u8]> + ?Sized + 'a>(
    headers: impl IntoIterator<Item = (N, &'a V)>,
) -> Option<&'a str> {
    let (mut bearer, mut plain) = (None, None);
    for (name, value) in headers {
        let name = name.as_ref();
        let Ok(value) = core::str::from_utf8(value.as_ref()) else { continue };
        if name.eq_ignore_ascii_case("authorization") {
            bearer = bearer.or_else(|| bearer_token(value));
        } else if name.eq_ignore_ascii_case("x-api-key") {
            plain = plain.or_else(|| token(value));
        }
    }
    bearer.or(plain)
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, key) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { token(key) } else { None }
}

fn token(value: &str) -> Option<&str> {
    let key = value.trim();
    (!key.is_empty() && key.len() <= LONGEST).then_some(key)
}

const LONGEST: usize = 4_096;

#[cfg(feature = "serde")]
impl serde::Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = alloc::string::String::deserialize(from)?;
        let expected = "must be a SHA-256 digest: 64 hexadecimal digits";
        Self::from_hex(&hex).ok_or_else(|| serde::de::Error::custom(expected))
    }
}
