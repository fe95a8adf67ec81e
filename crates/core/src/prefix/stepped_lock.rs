//! A value that many threads read while one of them changes it in steps. `parking_lot` provides the
//! locks; copies as in `arc-swap` and `left-right` were weighed, and double the memory.
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

#[cfg(all(loom, test))]
use model::*;
#[cfg(not(all(loom, test)))]
use real::*;

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

/// Retries: falling asleep and waking takes longer than a step.
fn spin<T>(times: usize, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..times {
        let done = attempt();
        if done.is_some() {
            return done;
        }
        spin_loop();
    }
    None
}

#[cfg(not(all(loom, test)))]
mod real {
    pub(super) use core::hint::spin_loop;
    pub(super) use core::sync::atomic::AtomicUsize;

    pub(super) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

    /// About 50 us, the time to wake a thread.
    pub(super) const PATIENCE: usize = 2_000;
    /// About 2 us.
    pub(super) const COURTESY: usize = 100;

    pub(super) fn unlock_fair<T>(value: parking_lot::RwLockWriteGuard<'_, T>) {
        parking_lot::RwLockWriteGuard::unlock_fair(value);
    }
}

/// The same under loom, which tries all orders of locking.
#[cfg(all(loom, test))]
mod model {
    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::atomic::AtomicUsize;
    pub(super) use loom::sync::{MutexGuard, RwLockReadGuard};

    pub(super) const PATIENCE: usize = 1;
    pub(super) const COURTESY: usize = 1;

    #[derive(Debug)]
    pub(super) struct RwLock<T>(loom::sync::RwLock<T>);

    #[derive(Debug)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> RwLock<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("nothing panics")
        }

        pub(super) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            self.0.try_read().ok()
        }

        pub(super) fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("nothing panics")
        }

        pub(super) fn try_write(&self) -> Option<loom::sync::RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }

        pub(super) fn into_inner(self) -> T {
            self.0.into_inner().expect("nothing panics")
        }
    }

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("nothing panics")
        }
    }

    pub(super) fn unlock_fair<T>(value: loom::sync::RwLockWriteGuard<'_, T>) {
        drop(value);
    }
}
