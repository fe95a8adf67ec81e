//! Parses the pages of engines that are scraped again and again.

use alloc::vec::Vec;

use super::Result;
use super::layout::Layout;
use super::reader::{MetricsReader, of_load};
use super::report::MetricsReport;

/// Layouts that are kept at once.
const MOST_LAYOUTS: usize = 8;

/// Steps of each kept layout that are compared with the begin of a page. They include the first
/// labels of an engine's own metrics, which name its model.
const COMPARED_STEPS: usize = 32;

/// Layouts that may be learned one after another.
const MOST_LESSONS: u8 = 8;

/// Pages for each further one. Learning a layout takes longer than reading a page.
const PAGES_A_LESSON: u8 = 16;

/// A [`MetricsReader`] that remembers how pages look.
///
/// Scrapes of one engine, and of others with the same model, differ in little but their values. The
/// reader compares a page with the layouts of earlier ones, and skips by position what is not
/// wanted, with half of the instructions. The results are those of [`MetricsReader`] for any
/// bytes: a layout that does not fit costs time only.
///
/// The reader keeps at most 8 layouts, in at most [`MOST_BYTES`](Self::MOST_BYTES). One reader
/// serves all endpoints of an engine.
///
/// ```
/// use slotwise_wire::metrics::{MetricsReader, ScrapeReader};
///
/// let mut reader = ScrapeReader::new(MetricsReader::detect());
/// for waiting in [3, 4] {
///     let page = format!("up 1\nvllm:num_requests_waiting{{engine=\"0\"}} {waiting}\n");
///     assert_eq!(reader.read_load(page.as_bytes())?.load().waiting, Some(waiting));
/// }
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScrapeReader {
    reader: MetricsReader,
    /// Those used last stand last.
    layouts: Vec<Layout>,
    /// Layouts that may be learned now.
    lessons: u8,
    /// Pages since the last lesson was granted.
    pages: u8,
}

impl ScrapeReader {
    /// The maximum memory of all kept layouts. A page that needs more than half of it is read as by
    /// [`MetricsReader`].
    pub const MOST_BYTES: usize = 1 << 20;

    /// Creates a reader of the pages that this one reads.
    pub const fn new(reader: MetricsReader) -> Self {
        Self { reader, layouts: Vec::new(), lessons: MOST_LESSONS, pages: 0 }
    }

    /// Parses a page. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// As for [`MetricsReader::read`].
    pub fn read(&mut self, page: &[u8]) -> Result<MetricsReport> {
        let mut pass = self.reader.pass(page);
        let known = match self.most_like(page) {
            Some(at) => {
                let layout = self.layouts.remove(at);
                let unknown = layout.read(&mut pass);
                let known = unknown.as_ref().is_ok_and(|lines| !layout.is_unlike(*lines));
                self.layouts.push(layout);
                unknown?;
                known
            }
            None => {
                pass.lines()?;
                false
            }
        };
        let report = pass.finish()?;
        self.pages += 1;
        if self.pages == PAGES_A_LESSON {
            self.pages = 0;
            self.lessons = MOST_LESSONS.min(self.lessons + 1);
        }
        if !known && self.lessons > 0 {
            self.lessons -= 1;
            self.learn(page);
        }
        Ok(report)
    }

    /// Parses a page for the load of an endpoint.
    ///
    /// # Errors
    ///
    /// As for [`MetricsReader::read_load`].
    pub fn read_load(&mut self, page: &[u8]) -> Result<MetricsReport> {
        of_load(self.read(page)?)
    }

    /// The memory of the kept layouts in bytes. Computes in **O(1)**.
    pub fn allocated(&self) -> usize {
        self.layouts.iter().map(Layout::bytes).sum()
    }

    /// The layout that agrees with most of the page's begin; of several, the one used last.
    fn most_like(&self, page: &[u8]) -> Option<usize> {
        if self.layouts.len() < 2 {
            return self.layouts.len().checked_sub(1);
        }
        let mut best = None;
        for (at, layout) in self.layouts.iter().enumerate().rev() {
            let agreement = layout.agreement(page, COMPARED_STEPS);
            if agreement == COMPARED_STEPS {
                return Some(at);
            }
            if best.is_none_or(|(most, _)| agreement > most) {
                best = Some((agreement, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn learn(&mut self, page: &[u8]) {
        let Some(layout) = Layout::of(&self.reader.names, page, Self::MOST_BYTES / 2) else {
            return;
        };
        while self.layouts.len() == MOST_LAYOUTS
            || self.allocated() + layout.bytes() > Self::MOST_BYTES
        {
            self.layouts.remove(0);
        }
        self.layouts.push(layout);
    }
}

impl From<MetricsReader> for ScrapeReader {
    fn from(reader: MetricsReader) -> Self {
        Self::new(reader)
    }
}
