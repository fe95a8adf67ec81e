//! Dynamo's `ConcurrentRadixTreeCompressed`, the index that its router uses by default.
//!
//! It takes events only from a channel, on a thread that keeps its reverse map. So that neither
//! waking that thread nor filling the channel counts for it, a portion of events is timed on that
//! very thread:
//!
//! ```text
//!   Flush ──► wakes the gate: waits until the portion is in the channel, takes the time
//!   Event, Event, …
//!   Flush ──► wakes the clock: takes the time again
//! ```
//!
//! A waker runs where the answer is sent, which is how this needs no change in Dynamo. What a
//! portion pays beside its events is one receipt from the channel for each and one for the last
//! flush.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::Instant;

use dynamo_kv_router::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer, WorkerTask};
use dynamo_kv_router::protocols::{LocalBlockHash, RouterEvent};
use tokio::sync::oneshot;

use super::dynamo::{local_hashes, router_event, write_down};
use crate::index::{Applied, Index, Reader};
use crate::workload::Event;

/// Dynamo's default index and the thread that applies its events.
pub struct Concurrent {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    tasks: flume::Sender<WorkerTask>,
    thread: Option<JoinHandle<()>>,
}

impl Concurrent {
    fn send(&self, task: WorkerTask) {
        self.tasks.send(task).expect("invariant: the thread runs until this is dropped");
    }

    /// Sends a flush whose answer runs `waker` on the tree's thread.
    fn flush(&self, waker: &Waker) -> oneshot::Receiver<()> {
        let (sender, mut receiver) = oneshot::channel();
        let polled = pin!(&mut receiver).poll(&mut Context::from_waker(waker));
        assert_eq!(polled, Poll::Pending, "nothing was sent yet");
        self.send(WorkerTask::Flush(sender));
        receiver
    }
}

impl Index for Concurrent {
    const NAME: &'static str = "dynamo concurrent";
    type Query = Vec<LocalBlockHash>;
    type Event = RouterEvent;
    type Scratch = ();

    fn new(_: u32) -> Self {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, received) = flume::unbounded();
        let worker = Arc::clone(&tree);
        let thread =
            std::thread::spawn(move || worker.worker(received, None).expect("it ends on request"));
        Self { tree, tasks, thread: Some(thread) }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        local_hashes(tokens)
    }

    fn event(&self, event: &Event<'_>) -> RouterEvent {
        router_event(event)
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        self.tree.find_matches(query, false).scores.len()
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        write_down(&self.tree.find_matches(query, false), depths);
    }

    /// It does not say which events it refused: it only logs them.
    fn apply(&mut self, events: Vec<RouterEvent>) -> Applied {
        let (gate, clock) = (Arc::new(Gate::default()), Arc::new(Clock::default()));
        let opened = self.flush(&Waker::from(Arc::clone(&gate)));
        for event in events {
            self.send(WorkerTask::Event(event));
        }
        let closed = self.flush(&Waker::from(Arc::clone(&clock)));
        gate.open();
        // Until then this thread sleeps, and the other one has no thread to wake.
        let end = clock.0.wait();
        let start = *gate.passed.get().expect("invariant: the gate comes before the clock");
        drop((opened, closed));
        Applied { took: end - start, refused: 0 }
    }

    /// It looks for dead nodes every five minutes at most.
    fn sweep(&mut self) {
        self.tree.run_cleanup_task();
    }

    fn reader(&self) -> Option<Reader<Self>> {
        let tree = Arc::clone(&self.tree);
        Some(Box::new(move |query| tree.find_matches(query, false).scores.len()))
    }
}

impl Drop for Concurrent {
    fn drop(&mut self) {
        self.send(WorkerTask::Terminate);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the tree's thread does not panic");
        }
    }
}

/// Something that is written once and waited for.
struct Slot<T>(Mutex<Option<T>>, Condvar);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None), Condvar::new())
    }
}

impl<T: Copy> Slot<T> {
    fn set(&self, value: T) {
        *self.0.lock().expect("no thread panics while holding it") = Some(value);
        self.1.notify_all();
    }

    fn wait(&self) -> T {
        let mut value = self.0.lock().expect("no thread panics while holding it");
        loop {
            match *value {
                Some(value) => return value,
                None => value = self.1.wait(value).expect("no thread panics while holding it"),
            }
        }
    }
}

/// Holds the thread until it is opened, and notes when that was.
#[derive(Default)]
struct Gate {
    opened: Slot<()>,
    passed: OnceLock<Instant>,
}

impl Gate {
    fn open(&self) {
        self.opened.set(());
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.opened.wait();
        let _ = self.passed.set(Instant::now());
    }
}

/// Notes when it was woken.
#[derive(Default)]
struct Clock(Slot<Instant>);

impl Wake for Clock {
    fn wake(self: Arc<Self>) {
        self.0.set(Instant::now());
    }
}
