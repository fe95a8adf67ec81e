//! A value that many threads read while one of them changes it in steps. It exists once: `Mirror`
//! takes twice the memory, and its readers never wait.
//!
//! ```text
//! writer A   event ├─piece─┤ ├─piece─┤ ├─piece─┤ over
//! reader              waits │read│  waits │read│ read ...
//! writer B         waits ............................. event ├─piece─┤ over
//! ```
//!
//! One lock is held for a step, and is handed to a waiting reader after it: readers wait for a
//! step, never for a whole write. A second lock is held for all steps of a write, so that no other
//! writer intervenes.

use core::sync::atomic::Ordering::Relaxed;

use super::locks::{
    AtomicUsize, Mutex, MutexGuard, PATIENCE, RwLock, RwLockReadGuard, spin, unlock_fair,
};

/// The value and its locks.
#[derive(Debug)]
pub(super) struct SteppedLock<T> {
    value: RwLock<T>,
    /// Number of waiting readers; only a hint.
    waiting: AtomicUsize,
    writers: Mutex<()>,
}

/// A change in steps. Other writers wait until it is dropped.
#[derive(Debug)]
pub(super) struct WriteSession<'a, T> {
    lock: &'a SteppedLock<T>,
    _alone: MutexGuard<'a, ()>,
}

impl<T> SteppedLock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), waiting: AtomicUsize::new(0), writers: Mutex::new(()) }
    }

    pub(super) fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Reads the value, beside other readers.
    #[inline]
    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.try_read().unwrap_or_else(|| self.wait()))
    }

    /// Starts a write, after those of other writers.
    pub(super) fn begin_write(&self) -> WriteSession<'_, T> {
        WriteSession { _alone: self.writers.lock(), lock: self }
    }

    #[cold]
    fn wait(&self) -> RwLockReadGuard<'_, T> {
        self.waiting.fetch_add(1, Relaxed);
        let value = spin(PATIENCE, || self.value.try_read()).unwrap_or_else(|| self.value.read());
        self.waiting.fetch_sub(1, Relaxed);
        value
    }
}

impl<T> WriteSession<'_, T> {
    /// Reads the value, which stays the same until the next step, beside readers.
    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.lock.read(look)
    }

    /// Changes the value under the lock, after waiting readers. Return what is slow to drop, so
    /// that it is dropped outside the lock.
    pub(super) fn step<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let SteppedLock { value, waiting, .. } = self.lock;
        // Waiting readers are fast, unless their processor is busy.
        spin(COURTESY, || (waiting.load(Relaxed) == 0).then_some(()));
        let mut value = spin(PATIENCE, || value.try_write()).unwrap_or_else(|| value.write());
        let answer = change(&mut value);
        unlock_fair(value);
        answer
    }
}

/// Attempts to let waiting readers in first: about 2 us.
const COURTESY: usize = if cfg!(all(loom, test)) { 1 } else { 100 };
