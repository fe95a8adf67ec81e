//! The parts of vLLM's name of a block besides its parent and token ids.

/// A LoRA adapter, as it enters the hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "all that vLLM hashes of it")]
pub struct Adapter<'a> {
    /// Its name.
    pub name: &'a str,
    /// The path of the adapter: `root` in `/v1/models`. [Untagged](Tagging::Untagged) keys do not
    /// hash it.
    pub path: &'a str,
}

/// The parts of a block's cache key besides its parent and token ids.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the keys of blocks of text")]
pub struct ExtraKeys<'a> {
    /// The request's adapter.
    pub adapter: Option<Adapter<'a>>,
    /// The request's cache salt. It enters the first block of a prompt only.
    pub cache_salt: Option<&'a str>,
}

/// How the extra keys of a block are serialized.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tagging {
    /// vLLM 0.31 and later: each key carries its kind, and an adapter its path.
    #[default]
    Tagged,
    /// Before vLLM 0.31: bare strings without paths.
    Untagged,
}

/// An extra key of a block: a string, or a tuple of strings.
pub(super) enum Key<'a> {
    Bare(&'a str),
    Tuple(&'a [&'a str]),
}

impl ExtraKeys<'_> {
    /// Passes the keys to `key` in vLLM's order and returns their count.
    pub(super) fn each(self, tagging: Tagging, mut key: impl FnMut(Key<'_>)) -> usize {
        let mut count = 0;
        if let Some(Adapter { name, path }) = self.adapter {
            count += 1;
            match tagging {
                Tagging::Tagged => key(Key::Tuple(&["lora", name, path])),
                Tagging::Untagged => key(Key::Bare(name)),
            }
        }
        if let Some(salt) = self.cache_salt {
            count += 1;
            match tagging {
                Tagging::Tagged => key(Key::Tuple(&["cache_salt", salt])),
                Tagging::Untagged => key(Key::Bare(salt)),
            }
        }
        count
    }
}
