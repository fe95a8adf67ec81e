//! What a contestant is: an index behind a few methods, and its seat in the race.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::workload::{Event, Prompt};

/// An index that is fed by events. One file in `rivals` for each.
///
/// Preparing an input is apart from using it: `query` and `event` turn tokens into what the index's
/// interface takes, `find`, `expand` and `apply` take it.
pub trait Index: Sized {
    /// What the tables call it.
    const NAME: &'static str;
    /// A prepared prompt.
    type Query: Clone;
    /// A prepared event.
    type Event: Clone;
    /// What a lookup needs beside the index, kept from one to the next.
    type Scratch: Default;

    /// An empty one for so many endpoints.
    fn new(endpoints: u32) -> Self;

    /// Prepares a prompt.
    fn query(&self, tokens: &[u32]) -> Self::Query;

    /// Prepares an event.
    fn event(&self, event: &Event<'_>) -> Self::Event;

    /// Looks a prompt up; the number of endpoints in the answer.
    fn find(&self, query: &mut Self::Query, scratch: &mut Self::Scratch) -> usize;

    /// Looks a prompt up, and writes down for each endpoint how many of its blocks it holds.
    fn expand(&self, query: &mut Self::Query, scratch: &mut Self::Scratch, depths: &mut [u32]);

    /// Applies events in order.
    fn apply(&mut self, events: Vec<Self::Event>) -> Applied;

    /// Does now what the index would do at some time by itself to give memory back.
    fn sweep(&mut self) {}

    /// A lookup that another thread may call while events are applied here, if the index has that.
    fn reader(&self) -> Option<Reader<Self>> {
        None
    }
}

/// A lookup from another thread.
pub type Reader<I> = Box<dyn FnMut(&mut <I as Index>::Query) -> usize + Send>;

/// What came of applying events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Applied {
    /// How long it took.
    pub took: Duration,
    /// Events that the index refused.
    pub refused: usize,
}

impl Applied {
    /// Times `apply` on each event; it says whether the index accepted it. An index that takes
    /// events by reference is not charged for dropping them.
    pub fn each<E>(events: impl IntoIterator<Item = E>, mut apply: impl FnMut(E) -> bool) -> Self {
        let mut refused = 0;
        let start = Instant::now();
        for event in events {
            refused += usize::from(!apply(event));
        }
        Self { took: start.elapsed(), refused }
    }
}

/// A contestant, whatever its types are.
pub trait Contestant {
    /// Prepares events, and then applies them; only that is timed.
    fn apply(&mut self, events: &[Event<'_>]) -> Applied;

    /// Does now what the index would do at some time by itself to give memory back.
    fn sweep(&mut self);

    /// Prepares the prompts that are looked up from now on.
    fn prepare(&mut self, prompts: &[Prompt]);

    /// Looks up prompts by their places, one after the other: how long that took.
    fn find(&mut self, places: &[usize]) -> Duration;

    /// Looks up the prompt at `at` and writes each endpoint's depth into `depths`: how long that
    /// took.
    fn expand(&mut self, at: usize, depths: &mut [u32]) -> Duration;

    /// Prepares a prompt and looks it up: how long both took.
    fn serve(&mut self, tokens: &[u32]) -> Duration;
}

#[derive(Debug)]
struct Seat<I: Index> {
    index: I,
    queries: Vec<I::Query>,
    scratch: I::Scratch,
}

impl<I: Index> Contestant for Seat<I> {
    fn apply(&mut self, events: &[Event<'_>]) -> Applied {
        let events = events.iter().map(|event| self.index.event(event)).collect();
        self.index.apply(events)
    }

    fn sweep(&mut self) {
        self.index.sweep();
    }

    fn prepare(&mut self, prompts: &[Prompt]) {
        self.queries = prompts.iter().map(|prompt| self.index.query(&prompt.tokens)).collect();
    }

    fn find(&mut self, places: &[usize]) -> Duration {
        // One of them takes its query by value, so all get copies of their own.
        let mut queries: Vec<_> = places.iter().map(|at| self.queries[*at].clone()).collect();
        let start = Instant::now();
        for query in &mut queries {
            black_box(self.index.find(black_box(query), &mut self.scratch));
        }
        start.elapsed()
    }

    fn expand(&mut self, at: usize, depths: &mut [u32]) -> Duration {
        let mut query = self.queries[at].clone();
        let start = Instant::now();
        depths.fill(0);
        self.index.expand(black_box(&mut query), &mut self.scratch, black_box(depths));
        start.elapsed()
    }

    fn serve(&mut self, tokens: &[u32]) -> Duration {
        let start = Instant::now();
        let mut query = self.index.query(black_box(tokens));
        black_box(self.index.find(&mut query, &mut self.scratch));
        start.elapsed()
    }
}

/// A contestant of one table: its name, and the index or the reason why there is none.
pub struct Entrant {
    /// What the table calls it.
    pub name: &'static str,
    /// The index, or why it is not there.
    pub index: Result<Box<dyn Contestant>, String>,
}

impl Entrant {
    /// An empty index for so many endpoints.
    pub fn new<I: Index + 'static>(endpoints: u32) -> Self {
        let index = I::new(endpoints);
        let seat = Seat { index, queries: Vec::new(), scratch: I::Scratch::default() };
        Self { name: I::NAME, index: Ok(Box::new(seat)) }
    }

    /// Applies all of these events, in portions, and gives up after `limit`. The events that it
    /// refused.
    pub fn fill<'a>(&mut self, events: impl Iterator<Item = Event<'a>>, limit: Duration) -> usize {
        let Ok(index) = &mut self.index else { return 0 };
        let (start, mut refused, mut events) = (Instant::now(), 0, events.peekable());
        while events.peek().is_some() {
            let portion: Vec<_> = events.by_ref().take(PORTION).collect();
            refused += index.apply(&portion).refused;
            if start.elapsed() > limit {
                self.index = Err(format!("was not filled within {} s", limit.as_secs()));
                break;
            }
        }
        refused
    }
}

/// Events that are prepared at once.
const PORTION: usize = 256;
