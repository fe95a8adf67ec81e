//! The layout of a metrics page: its text without the values that scrapes change.
//!
//! ```text
//!  # TYPE a counter⏎a{b="c"} 1.0⏎d 2.0⏎# TYPE wanted gauge⏎wanted{e="f"} 3.0⏎
//!  └───── fixed ───────────┘ skip└┘skip└───────── fixed ────────────────┘
//!                                                          └─── read ───────┘
//! ```

use alloc::vec::Vec;

use memchr::memchr;

use super::Result;
use super::metric_index::MetricIndex;
use super::pass::{Pass, begins_sample, ends_sample, name};
use super::sample::value_at;

/// Steps of a layout that are compared with a line that has another place than before.
const LOOK_AHEAD: usize = 64;

/// All such comparisons of one page. They bound what a page in another order costs.
const MOST_LOOKS: usize = 1_024;

/// A page as steps. Each has a fixed text of whole comments and the begin of a sample.
///
/// A page that agrees with a step is read as without the layout. A layout that does not fit costs
/// time, and changes no report.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The fixed texts of all steps.
    text: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// The length of the fixed text.
    length: u32,
    /// The begin of the sample in the fixed text.
    sample: u32,
    /// Whether the sample's metric is not wanted, and the fixed text reaches to its value.
    skips: bool,
}

impl Layout {
    /// The layout of a page, in at most so many bytes. `None` if it needs more.
    pub(super) fn of(names: &MetricIndex, page: &[u8], most_bytes: usize) -> Option<Self> {
        let mut layout = Self { text: Vec::new(), steps: Vec::new() };
        // The begin of the fixed text in the page.
        let mut begin = 0;
        let mut next = 0;
        while let Some(rest) = page.get(next..) {
            let Some(length) = memchr(b'\n', rest) else { break };
            let start = next;
            next = start + length + 1;
            let line = rest.get(..length).unwrap_or_default();
            let Some(first) = line.first().filter(|first| **first != b'#') else { continue };
            let name = name(line);
            let value = value_at(line, name.len()).filter(|at| *at > name.len());
            let skips = begins_sample(*first)
                && names.find(name).is_empty()
                && value.is_some_and(|at| at < length);
            let end = start + value.unwrap_or(name.len());
            layout.text.extend_from_slice(page.get(begin..end).unwrap_or_default());
            layout.steps.push(Step {
                length: u32::try_from(end - begin).ok()?,
                sample: u32::try_from(start - begin).ok()?,
                skips,
            });
            if layout.bytes() > most_bytes {
                return None;
            }
            begin = next;
        }
        layout.text.shrink_to_fit();
        layout.steps.shrink_to_fit();
        (layout.bytes() <= most_bytes).then_some(layout)
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.steps.len() * size_of::<Step>()
    }

    /// Whether a page with so many lines in other places has another layout.
    pub(super) fn is_unlike(&self, unknown_lines: usize) -> bool {
        unknown_lines > self.steps.len() / 8
    }

    /// The number of steps from the first on with which a page agrees, at most `most`.
    pub(super) fn agreement(&self, page: &[u8], most: usize) -> usize {
        let (mut rest, mut text) = (page, self.text.as_slice());
        let steps = self.steps.iter().take(most);
        let agree = steps.take_while(|step| {
            let after = step.of(text).and_then(|(fixed, later)| {
                text = later;
                rest.strip_prefix(fixed)
            });
            match after.and_then(|after| after.get(memchr(b'\n', after)? + 1..)) {
                Some(next) => rest = next,
                None => return false,
            }
            true
        });
        agree.count()
    }

    /// Reads the page of a pass, and returns how many of its lines have no place in the layout.
    pub(super) fn read(&self, pass: &mut Pass<'_>) -> Result<usize> {
        // The steps that are left, and their texts.
        let (mut steps, mut text) = (self.steps.as_slice(), self.text.as_slice());
        let (mut unknown, mut looks) = (0, MOST_LOOKS);
        loop {
            let rest = skip(&mut steps, &mut text, pass.rest());
            pass.pass_over(rest);
            let Some((step, later_steps)) = steps.split_first() else { break };
            let Some((fixed, later)) = step.of(text) else { break };
            if rest.starts_with(fixed) {
                pass.pass_over(rest.get(step.sample as usize..).unwrap_or_default());
                pass.line()?;
                (steps, text) = (later_steps, later);
                continue;
            }
            if rest.is_empty() {
                break;
            }
            let (mut ahead, mut text_ahead) = (later_steps, later);
            let mut found = false;
            for step in later_steps.iter().take(LOOK_AHEAD.min(looks)) {
                looks -= 1;
                let Some((fixed, later)) = step.of(text_ahead) else { break };
                if rest.starts_with(fixed) {
                    found = true;
                    break;
                }
                (ahead, text_ahead) = (ahead.get(1..).unwrap_or_default(), later);
            }
            if found {
                (steps, text) = (ahead, text_ahead);
            } else {
                unknown += 1;
                pass.line()?;
            }
        }
        pass.lines()?;
        Ok(unknown)
    }
}

impl Step {
    /// The fixed text of the step, and those of later ones.
    #[inline]
    fn of(self, text: &[u8]) -> Option<(&[u8], &[u8])> {
        text.split_at_checked(self.length as usize)
    }
}

/// Passes over samples that are not wanted, as long as the page agrees with the steps. Returns the
/// rest of the page.
fn skip<'p>(steps: &mut &[Step], text: &mut &[u8], page: &'p [u8]) -> &'p [u8] {
    let (mut rest, mut texts) = (page, *text);
    let agree = steps.iter().take_while(|step| {
        let after = step.of(texts).and_then(|(fixed, later)| {
            let after = rest.strip_prefix(fixed).filter(|_| step.skips)?;
            let length = line_feed(after)?;
            let last = after.get(length.wrapping_sub(1))?;
            Some((after.get(length + 1..).filter(|_| ends_sample(*last))?, later))
        });
        let Some((next, later)) = after else { return false };
        (rest, texts) = (next, later);
        true
    });
    let count = agree.count();
    (*steps, *text) = (steps.get(count..).unwrap_or_default(), texts);
    rest
}

/// The position of the first line feed. Values are short, and a call of `memchr` takes longer than
/// comparing eight bytes at once.
#[inline]
fn line_feed(text: &[u8]) -> Option<usize> {
    const LOWEST: u64 = u64::from_le_bytes([1; 8]);
    let Some(first) = text.first_chunk() else { return memchr(b'\n', text) };
    // A byte is zero where a line feed is. The lowest set bit of all is that of the first one.
    let zero = u64::from_le_bytes(*first) ^ (LOWEST * b'\n' as u64);
    match zero.wrapping_sub(LOWEST) & !zero & (LOWEST << 7) {
        0 => Some(8 + memchr(b'\n', text.get(8..)?)?),
        found => Some(found.trailing_zeros() as usize / 8),
    }
}
