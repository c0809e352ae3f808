//! A line of batches: one sender's batches on the way at once, and yet each behind the one before
//! it, whatever happens to that one. A batch that is turned away stops those behind it until it is
//! in the log, or for good. It never holds a batch's events: they lie sealed with the sequencer,
//! and who waits brings them again where a batch must be judged or sealed anew.

use crate::base::event::Event;
use crate::store::disk::Writer;
use crate::vault::Vault;
use crate::vault::append::{Pending, Place, Receipt, Sent};
use crate::vault::clerk::Clerk;
use crate::vault::error::Result;
use crate::vault::sequencer::Rejected;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A batch's place in its line. The sequencer gives places in the log in this order only.
#[derive(Clone)]
pub(crate) struct Turn {
    /// Number of the batch whose turn it is.
    line: Arc<AtomicU64>,
    number: u64,
}

impl Turn {
    /// Whether every batch before this one is done with.
    pub(crate) fn has_come(&self) -> bool {
        self.line.load(Ordering::SeqCst) == self.number
    }

    /// This one is done with: in the log, or nothing of it need go there.
    pub(crate) fn pass(&self) {
        let next = self.number + 1;
        let _ = self.line.compare_exchange(self.number, next, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A sender's batches, in order.
pub struct Line<'v> {
    vault: &'v Vault,
    line: Arc<AtomicU64>,
    next: u64,
}

/// A batch of a line on its way into the log. Batches are waited for in the order of the line.
/// One that is dropped instead may be in the log or not; where it is not, none behind it ever is.
pub struct Waiting<'v> {
    vault: &'v Vault,
    turn: Turn,
    count: usize,
    sent: Sent,
    place: Place<'v>,
}

impl Vault {
    /// Begins a line.
    pub fn begin_line(&self) -> Line<'_> {
        Line { vault: self, line: Arc::default(), next: 0 }
    }
}

impl<'v> Line<'v> {
    /// Seals a batch and sends it off behind those before it.
    ///
    /// # Errors
    /// As `Vault::submit`: then the batch is no part of the line, and the next one takes its place.
    pub fn submit(&mut self, events: &[Event<'_>]) -> Result<Waiting<'v>> {
        let turn = Turn { line: self.line.clone(), number: self.next };
        let place = self.vault.admit(Writer::Source, events)?;
        let sent = self.vault.dispatch(events, Some(&turn))?;
        self.next += 1;
        Ok(Waiting { vault: self.vault, turn, count: events.len(), sent, place })
    }
}

impl Waiting<'_> {
    /// Waits until the batch is durable. `again` brings the same events once more; it is asked
    /// only when the batch was turned away: a duplicate in it, midnight, an erasure, or a batch
    /// before it to which that happened.
    ///
    /// # Errors
    /// As `Vault::append`: then nothing of this batch, nor of any behind it, is in the log or
    /// will be.
    ///
    /// # Panics
    /// If `again` brings another number of events: the caller's bug.
    pub fn wait<'e>(self, again: impl FnOnce() -> Result<Vec<Event<'e>>>) -> Result<Vec<Receipt>> {
        let rejected = match self.sent {
            Sent::Asked(answer) => match Clerk::wait(&answer) {
                Ok(done) => return Ok(Receipt::all_of(&done).collect()),
                Err(Rejected::Failed(error)) => return Err(error),
                Err(rejected) => rejected,
            },
            Sent::Found(rejected) => rejected,
        };
        let events = again()?;
        assert_eq!(events.len(), self.count, "the same events");
        let sent = Sent::Found(rejected);
        Pending::resume(self.vault, (events, sent), Some(self.turn), self.place).wait()
    }
}
