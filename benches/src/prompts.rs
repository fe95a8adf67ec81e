//! Prompts that share prefixes as chats do.

use slotwise::{Request, Rng};

use crate::MODEL;

/// A prompt in both forms.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// As text.
    pub text: String,
    /// As token ids.
    pub tokens: Vec<u32>,
}

impl Prompt {
    /// A request with this prompt as text.
    pub fn as_text(&self) -> Request<'_> {
        Request::new(MODEL).text(&self.text)
    }

    /// A request with this prompt as token ids.
    pub fn as_tokens(&self) -> Request<'_> {
        Request::new(MODEL).tokens(&self.tokens)
    }
}

/// Prompts of one length: the first half of each is one of eight shared prefixes, the rest its own.
pub fn prompts(count: usize, bytes: usize, tokens: usize, seed: u64) -> Vec<Prompt> {
    let mut rng = Rng::new(seed);
    let shared: Vec<Prompt> = (0..8).map(|_| random(&mut rng, bytes / 2, tokens / 2)).collect();
    (0..count)
        .map(|_| {
            let prefix = &shared[rng.below(8) as usize];
            let own = random(&mut rng, bytes - bytes / 2, tokens - tokens / 2);
            Prompt {
                text: format!("{}{}", prefix.text, own.text),
                tokens: [&prefix.tokens[..], &own.tokens[..]].concat(),
            }
        })
        .collect()
}

fn random(rng: &mut Rng, bytes: usize, tokens: usize) -> Prompt {
    let letters = b"etaoinshrdlucmfwypvbgk    ";
    let text =
        (0..bytes).map(|_| char::from(letters[rng.below(letters.len() as u64) as usize])).collect();
    Prompt { text, tokens: (0..tokens).map(|_| rng.below(128_000) as u32).collect() }
}
