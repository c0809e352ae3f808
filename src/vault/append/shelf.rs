//! Working memory for reading drafts, between batches. A thread gets its own back where it can:
//! what is counted in it (the names that events share) then stays with one processor. It never
//! grows beyond as many as were in use at once.

use crate::policy::classify::Scratch;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// Scratches that nobody uses now, each with the thread that used it last.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Vec<(ThreadId, Scratch)>>);

impl Shelf {
    /// The thread's own one, or another's, or a new one.
    pub(crate) fn take(&self) -> Scratch {
        let own = thread::current().id();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = spare.iter().position(|(owner, _)| *owner == own);
        let found = match at {
            Some(at) => Some(spare.swap_remove(at)),
            None => spare.pop(),
        };
        found.map(|(_, scratch)| scratch).unwrap_or_default()
    }

    /// Puts one back.
    pub(crate) fn put(&self, scratch: Scratch) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push((thread::current().id(), scratch));
    }
}
