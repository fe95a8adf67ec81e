//! A hash function for tables whose keys are 64-bit hashes already, or small numbers.

use core::hash::{BuildHasher, Hasher};

/// One keyed multiplication: whoever does not know the key cannot choose prompts that fall into one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedState(u64);

impl KeyedState {
    pub(crate) const fn new(key: u64) -> Self {
        Self(key)
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher(self.0)
    }
}

#[derive(Debug)]
pub(crate) struct KeyedHasher(u64);

impl Hasher for KeyedHasher {
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
