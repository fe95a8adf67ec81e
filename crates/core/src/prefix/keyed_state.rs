//! A keyed hasher for tables whose keys are 64-bit hashes or small numbers. `ahash` was weighed:
//! its output differs between platforms, and this one needs no second mixing.

use core::hash::{BuildHasher, Hasher};

/// One keyed multiplication. Without the key, clients cannot choose prompts that share a bucket.
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

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
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
