//! What is held back, and what the look-back allows to release.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use slotwise_wire::content::{Payload, Texts, event_data};

/// The events of a stream, or the one body, that the client has not got yet.
///
/// The first events were judged, those behind them were not.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pieces: VecDeque<Piece>,
    /// The pieces at the front that were judged.
    judged: usize,
    bytes: usize,
    unjudged_text: usize,
}

/// An event or a body.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// Where the JSON starts.
    data: usize,
    found: Texts,
    /// The part of the answer that each text continues.
    parts: Vec<Part>,
    /// What replaces each text.
    replaced: Vec<Option<String>>,
}

/// A part of the answer: the key of its texts, and the numbers of its choice and block.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Part {
    key: String,
    indexes: Vec<u64>,
    /// Texts of bodies are parts of their own.
    number: usize,
}

impl Held {
    /// Adds an event, or returns it if its texts cannot be read.
    pub(super) fn push_event(&mut self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        let (data, found) = match event_data(&bytes) {
            Err(()) => return Err(bytes),
            Ok(None) => (0, Texts::default()),
            Ok(Some(range)) => match bytes.get(range.clone()).unwrap_or_default() {
                // Not JSON by definition: the end of OpenAI's streams.
                b"[DONE]" => (0, Texts::default()),
                data => match Texts::find(Payload::Event, data) {
                    Ok(found) => (range.start, found),
                    Err(_) => return Err(bytes),
                },
            },
        };
        let part =
            |key: &str| Part { key: key.into(), indexes: found.indexes().to_vec(), number: 0 };
        let parts = found.iter().map(|text| part(&text.key)).collect();
        self.push(bytes, data, found, parts);
        Ok(())
    }

    /// Adds a body, or returns it if its texts cannot be read.
    pub(super) fn push_body(&mut self, kind: Payload, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        let Ok(found) = Texts::find(kind, &bytes) else { return Err(bytes) };
        let part = |number| Part { key: String::new(), indexes: Vec::new(), number };
        let parts = (0..found.iter().len()).map(part).collect();
        self.push(bytes, 0, found, parts);
        Ok(())
    }

    fn push(&mut self, bytes: Vec<u8>, data: usize, found: Texts, parts: Vec<Part>) {
        self.bytes += bytes.len();
        let replaced = parts.iter().map(|_| None).collect();
        self.unjudged_text += found.iter().map(|text| text.text.len()).sum::<usize>();
        self.pieces.push_back(Piece { bytes, data, found, parts, replaced });
        self.pass_textless();
    }

    /// Bytes that are held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of text that were not judged.
    pub(super) const fn unjudged_text(&self) -> usize {
        self.unjudged_text
    }

    /// All texts that are held, each part of the answer as one, in order of first appearance.
    pub(super) fn texts(&self) -> Vec<String> {
        self.joined(self.pieces.len()).1
    }

    /// The pieces.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The first pieces were judged.
    pub(super) fn judge(&mut self, pieces: usize) {
        self.judged = self.judged.max(pieces.min(self.pieces.len()));
        self.unjudged_text = self.pieces.iter().skip(self.judged).map(Piece::text_len).sum();
        self.pass_textless();
    }

    /// Replaces the texts of the first pieces, each part of the answer as one. The first piece of a
    /// part gets the whole text. Returns false, and changes nothing, if their number differs.
    #[must_use]
    pub(super) fn replace(&mut self, pieces: usize, texts: Vec<String>) -> bool {
        let (numbers, before) = self.joined(pieces);
        if before.len() != texts.len() {
            return false;
        }
        let changed: Vec<bool> =
            texts.iter().zip(&before).map(|(new, before)| new != before).collect();
        let mut owned: BTreeMap<Part, usize> = BTreeMap::new();
        owned.extend(numbers.into_iter().map(|(part, number)| (part.clone(), number)));
        let mut texts: Vec<Option<String>> = texts.into_iter().map(Some).collect();
        for piece in self.pieces.iter_mut().take(pieces) {
            let Piece { parts, replaced, .. } = piece;
            for (part, new) in parts.iter().zip(replaced) {
                let Some(&number) = owned.get(part) else { continue };
                if changed.get(number) == Some(&true) {
                    let text = texts.get_mut(number).and_then(Option::take);
                    *new = Some(text.unwrap_or_default());
                }
            }
        }
        // A longer text counts against the limit, too.
        self.bytes = self.pieces.iter().map(Piece::weight).sum();
        true
    }

    /// Releases the next judged piece behind which `look_back` bytes of its parts were judged.
    pub(super) fn release(&mut self, look_back: usize) -> Option<Vec<u8>> {
        let first = self.pieces.front().filter(|_| self.judged > 0)?;
        let enough = first.parts.iter().all(|part| self.judged_behind(part, look_back));
        if !enough {
            return None;
        }
        let piece = self.pieces.pop_front()?;
        self.judged -= 1;
        self.bytes = self.bytes.saturating_sub(piece.weight());
        Some(piece.into_bytes())
    }

    /// Everything, in its order, with what was replaced.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        let pieces = core::mem::take(self).pieces;
        pieces.into_iter().map(Piece::into_bytes).collect()
    }

    /// The body as a blocked answer.
    pub(super) fn blocked_body(&mut self) -> Option<Vec<u8>> {
        let piece = core::mem::take(self).pieces.pop_front()?;
        Some(piece.found.block(&piece.bytes))
    }

    /// The parts of the first pieces by their number, and the text of each.
    fn joined(&self, pieces: usize) -> (BTreeMap<&Part, usize>, Vec<String>) {
        let (mut numbers, mut texts) = (BTreeMap::new(), Vec::<String>::new());
        for piece in self.pieces.iter().take(pieces) {
            for (part, text) in piece.parts.iter().zip(piece.texts()) {
                let number = *numbers.entry(part).or_insert(texts.len());
                match texts.get_mut(number) {
                    Some(so_far) => so_far.push_str(text),
                    None => texts.push(text.into()),
                }
            }
        }
        (numbers, texts)
    }

    fn judged_behind(&self, part: &Part, look_back: usize) -> bool {
        let mut behind = 0;
        for piece in self.pieces.iter().take(self.judged).skip(1) {
            if behind >= look_back {
                break;
            }
            let of_part = piece.parts.iter().zip(piece.texts()).filter(|(of, _)| *of == part);
            behind += of_part.map(|(_, text)| text.len()).sum::<usize>();
        }
        behind >= look_back
    }

    /// Pieces without texts need no judgement.
    fn pass_textless(&mut self) {
        while self.pieces.get(self.judged).is_some_and(|piece| piece.parts.is_empty()) {
            self.judged += 1;
        }
    }
}

impl Piece {
    /// The texts as the client gets them.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = self.found.iter().zip(&self.replaced);
        texts.map(|(old, new)| new.as_deref().unwrap_or(&old.text))
    }

    fn text_len(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    fn weight(&self) -> usize {
        let replaced = self.replaced.iter().flatten().map(String::len);
        self.bytes.len() + replaced.sum::<usize>()
    }

    fn into_bytes(self) -> Vec<u8> {
        if self.replaced.iter().all(Option::is_none) {
            return self.bytes;
        }
        let (before, data) = self.bytes.split_at(self.data.min(self.bytes.len()));
        // What follows the JSON is the end of the line and of the event.
        let end = data.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (json, after) = match end {
            Some(end) if self.data > 0 => data.split_at(end),
            _ => (data, &[][..]),
        };
        let json = self.found.rewrite(json, |at| self.replaced.get(at)?.as_deref());
        [before, &json, after].concat()
    }
}
