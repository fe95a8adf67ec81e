//! The key that gateways share, and the seal of their messages: HMAC-SHA-256, cut to 16 bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A secret that all gateways of a pool share.
///
/// `Debug` does not print it.
///
/// ```
/// use slotwise_gateway::peers::PeerKey;
///
/// assert_eq!(format!("{:?}", PeerKey::new("0123456789abcdef")), "PeerKey(..)");
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(from = "String"))]
pub struct PeerKey(Vec<u8>);

impl PeerKey {
    /// The shortest key in bytes.
    pub const SHORTEST: usize = 16;

    /// A key of these bytes. Use at least 16 random ones.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self(key.into())
    }

    /// A seed of 53 bits for [`Config::seed`](slotwise::Config::seed), equal in all gateways with
    /// this key. It tells nothing about the key, and is never 0.
    ///
    /// ```
    /// use slotwise_gateway::peers::PeerKey;
    ///
    /// let key = PeerKey::new("sixteen bytes or more");
    /// assert_eq!(key.seed(), PeerKey::new("sixteen bytes or more").seed());
    /// assert_ne!(key.seed(), PeerKey::new("sixteen other bytes").seed());
    /// ```
    pub fn seed(&self) -> u64 {
        // A message begins with its format, which this text is not.
        let digest = self.mac(b"seed of the schedulers").finalize().into_bytes();
        let bits = digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        (bits >> 11).max(1)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_long_enough(&self) -> bool {
        self.0.len() >= Self::SHORTEST
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0);
        mac.expect("invariant: HMAC takes keys of any length").chain_update(message)
    }

    /// Appends the seal.
    pub(super) fn seal(&self, mut message: Vec<u8>) -> Vec<u8> {
        let seal = self.mac(&message).finalize().into_bytes();
        message.extend(&seal[..SEAL]);
        message
    }

    /// The message without its seal, if the seal is right. Compares in constant time.
    pub(super) fn open<'a>(&self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (message, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL)?)?;
        self.mac(message).verify_truncated_left(seal).ok().map(|()| message)
    }
}

impl From<String> for PeerKey {
    fn from(key: String) -> Self {
        Self(key.into_bytes())
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey(..)")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for PeerKey {
    /// A key is never written.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("")
    }
}

/// Bytes of a seal.
const SEAL: usize = 16;
