//! A value in two copies: readers use one while a writer changes the other, so they never wait.
//!
//! ```text
//! copy 0   │ changed │ read ........................│ changed │ read ...
//! copy 1   │ read ...│ changed │                     read ...│ changed │
//!                    ▲ readers move to copy 0                ▲ to copy 1
//! ```
//!
//! Each change is made twice, first to the copy without readers. Then new readers go there, and the
//! writer repeats the change on the other copy after its last readers. So a change must depend on
//! nothing but the value. The technique is known as left-right.

use core::sync::atomic::Ordering::{Acquire, Release};

use super::locks::{AtomicUsize, Mutex, PATIENCE, RwLock, RwLockWriteGuard, spin, spin_loop};

/// The copies and their locks.
#[derive(Debug)]
pub(super) struct Mirror<T> {
    copies: [CacheLines<RwLock<T>>; 2],
    /// The copy for new readers.
    current: CacheLines<AtomicUsize>,
    writers: CacheLines<Mutex<()>>,
}

/// Does not share its cache lines, so that readers of one copy do not wait for the other's lock.
#[derive(Debug)]
#[repr(align(128))]
struct CacheLines<T>(T);

impl<T> Mirror<T> {
    /// The copies must be equal.
    pub(super) fn new(copies: [T; 2]) -> Self {
        Self {
            copies: copies.map(|copy| CacheLines(RwLock::new(copy))),
            current: CacheLines(AtomicUsize::new(0)),
            writers: CacheLines(Mutex::new(())),
        }
    }

    /// The value, after the last change.
    pub(super) fn into_inner(self) -> T {
        let current = self.current.0.load(Acquire);
        let [first, second] = self.copies.map(|copy| copy.0.into_inner());
        if current == 0 { first } else { second }
    }

    /// Reads the value, beside other readers and a writer.
    #[inline]
    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        loop {
            if let Some(value) = self.copies[self.current.0.load(Acquire)].0.try_read() {
                return look(&value);
            }
            // The writer has exchanged the copies since the load: the other one is free.
            spin_loop();
        }
    }

    /// Changes the value: other writers wait, and readers do not.
    pub(super) fn write<R>(&self, change: impl Fn(&mut T) -> R) -> R {
        let _alone = self.writers.0.lock();
        let current = self.current.0.load(Acquire);
        let [behind, ahead] = [1 - current, current].map(|copy| &self.copies[copy].0);
        let mut value = alone(behind);
        let answer = change(&mut value);
        // Still locked: a reader that loaded `current` long ago must not see the change and then
        // return to the other copy.
        self.current.0.store(1 - current, Release);
        drop(value);
        drop(change(&mut alone(ahead)));
        answer
    }
}

/// Waits for the readers of a copy that new readers do not use.
fn alone<T>(copy: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    spin(PATIENCE, || copy.try_write()).unwrap_or_else(|| copy.write())
}

/// All orders in which three threads can take the locks: `make test-slow`.
#[cfg(all(test, loom))]
mod tests {
    use alloc::sync::Arc;

    use loom::thread;

    use super::*;

    #[test]
    fn readers_see_whole_changes_in_order() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new([[0; 2]; 2]));
            let writers = [0, 1].map(|at| {
                let mirror = Arc::clone(&mirror);
                thread::spawn(move || {
                    let [sum, both] = mirror.write(|value: &mut [u32; 2]| {
                        value[at] += 1;
                        [value[0] + value[1], value[0].min(value[1])]
                    });
                    assert!(sum == 1 + both, "the second writer sees the first one's change");
                    assert_eq!(mirror.read(|value| value[at]), 1, "visible once it returned");
                })
            });
            let [first, second] = [(); 2].map(|()| mirror.read(|value| *value));
            assert!((0..2).all(|at| first[at] <= second[at]), "nothing is taken back");
            writers.into_iter().for_each(|writer| writer.join().expect("writers do not panic"));
            for copy in &mirror.copies {
                assert_eq!(*copy.0.read(), [1, 1], "the copies are equal in the end");
            }
        });
    }
}
