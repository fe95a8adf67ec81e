//! The locks of `stepped_lock` and `mirror`: those of `parking_lot`, and loom's under its tests.

#[cfg(all(loom, test))]
pub(super) use model::*;
#[cfg(not(all(loom, test)))]
pub(super) use real::*;

/// Retries for a while: falling asleep and waking takes longer than most changes.
pub(super) fn spin<T>(times: usize, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
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
    pub(in crate::prefix) use core::hint::spin_loop;
    pub(in crate::prefix) use core::sync::atomic::AtomicUsize;

    pub(in crate::prefix) use parking_lot::{
        Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    };

    /// About 50 us, the time to wake a thread.
    pub(in crate::prefix) const PATIENCE: usize = 2_000;

    pub(in crate::prefix) fn unlock_fair<T>(value: RwLockWriteGuard<'_, T>) {
        RwLockWriteGuard::unlock_fair(value);
    }
}

/// The same under loom, which tries all orders of locking.
#[cfg(all(loom, test))]
mod model {
    pub(in crate::prefix) use loom::hint::spin_loop;
    pub(in crate::prefix) use loom::sync::atomic::AtomicUsize;
    pub(in crate::prefix) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    pub(in crate::prefix) const PATIENCE: usize = 1;

    #[derive(Debug)]
    pub(in crate::prefix) struct RwLock<T>(loom::sync::RwLock<T>);

    #[derive(Debug)]
    pub(in crate::prefix) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> RwLock<T> {
        pub(in crate::prefix) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(in crate::prefix) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("nothing panics")
        }

        pub(in crate::prefix) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            self.0.try_read().ok()
        }

        pub(in crate::prefix) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("nothing panics")
        }

        pub(in crate::prefix) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }

        pub(in crate::prefix) fn into_inner(self) -> T {
            self.0.into_inner().expect("nothing panics")
        }
    }

    impl<T> Mutex<T> {
        pub(in crate::prefix) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(in crate::prefix) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("nothing panics")
        }
    }

    pub(in crate::prefix) fn unlock_fair<T>(value: RwLockWriteGuard<'_, T>) {
        drop(value);
    }
}
