//! The schedulers of a thread, by number.
//!
//! A call of a method takes 250 ns more than one of a function in napi 3.16: it hashes the name of
//! the class, and enters the borrow of the object in a table behind a mutex. So the calls of each
//! request are functions, which take the number of a scheduler instead.

use std::cell::RefCell;

use super::Shared;
use crate::error::{Result, closed};

/// The states of the schedulers that JavaScript has not dropped. No number is given twice.
#[derive(Default)]
struct Open {
    numbered: u64,
    /// By rising numbers.
    schedulers: Vec<(u64, Shared)>,
}

impl Open {
    fn find(&self, number: u64) -> Option<usize> {
        self.schedulers.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}

thread_local! {
    static OPEN: RefCell<Open> = RefCell::default();
}

/// Gives a scheduler a number.
pub(super) fn open(state: &Shared) -> u64 {
    OPEN.with_borrow_mut(|open| {
        open.numbered += 1;
        open.schedulers.push((open.numbered, state.clone()));
        open.numbered
    })
}

/// The scheduler with this number.
pub(super) fn opened(number: f64) -> Result<Shared> {
    OPEN.with_borrow(|open| {
        let (_, state) = open.schedulers.get(open.find(number as u64)?)?;
        Some(state.clone())
    })
    .ok_or_else(closed)
}

/// Removes a scheduler that JavaScript dropped, perhaps while its thread ends.
pub(super) fn dismiss(number: u64) {
    let removed = OPEN.try_with(|open| {
        let mut open = open.borrow_mut();
        let at = open.find(number)?;
        Some(open.schedulers.remove(at))
    });
    drop(removed);
}
