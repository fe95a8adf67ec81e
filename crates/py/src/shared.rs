//! State that several threads share, also across `fork`.
//!
//! A child process has only the thread that forked. A lock that another thread held at the fork is
//! never released there, and its state may be inconsistent. So the first use in a child process
//! does not wait for the lock, but returns an error if it is taken.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use slotwise_gateway::Classified;

use crate::error::raise;

/// The number of forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Called in each child process, right after the fork.
#[pyfunction]
pub(crate) fn after_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A value behind a lock. Poisoning is ignored: calls do not panic, and a panic would leave the
/// state of an earlier call.
#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    value: Mutex<T>,
    /// The generation of the process that used the value last.
    generation: AtomicU32,
}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            generation: AtomicU32::new(GENERATION.load(Ordering::Relaxed)),
        }
    }

    /// Locks the value. A thread that waits for the lock releases the GIL.
    pub(crate) fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, T>> {
        if self.is_foreign() {
            return self.adopt().map_err(raise);
        }
        Ok(match self.value.try_lock() {
            Ok(free) => free,
            Err(_) => self.value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Locks the value from a thread that is detached from Python.
    pub(crate) fn lock_detached(&self) -> Result<MutexGuard<'_, T>, Forked> {
        if self.is_foreign() {
            return self.adopt();
        }
        Ok(self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_foreign(&self) -> bool {
        self.generation.load(Ordering::Acquire) != GENERATION.load(Ordering::Relaxed)
    }

    /// Locks the value at its first use in a child process. Until then, the threads of the child
    /// hold the lock only briefly.
    fn adopt(&self) -> Result<MutexGuard<'_, T>, Forked> {
        for _ in 0..TRIES {
            let free = match self.value.try_lock() {
                Ok(free) => free,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    thread::yield_now();
                    continue;
                }
            };
            self.generation.store(GENERATION.load(Ordering::Relaxed), Ordering::Release);
            return Ok(free);
        }
        Err(Forked)
    }
}

const TRIES: u32 = 1_000;

/// Another thread was using the value when this process was forked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forked;

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another thread was using the scheduler when this process was forked, so its state \
             is not whole here: make the scheduler \
             after the fork, or fork while no other thread uses it",
        )
    }
}

impl std::error::Error for Forked {}

impl Classified for Forked {
    const CLASS: &'static str = "ForkError";

    fn code(&self) -> &'static str {
        "forked"
    }
}

/// Takes a lock that is only held briefly, and never while Python runs.
pub(crate) fn lock<'a, T>(value: &'a Mutex<T>, py: Python<'_>) -> MutexGuard<'a, T> {
    match value.try_lock() {
        Ok(free) => free,
        Err(_) => value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner),
    }
}
