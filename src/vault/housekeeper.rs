//! The housekeeper: one background thread that follows the log. It fills the index, writes
//! finished epochs, and asks for the seals that epochs and days are owed. It reads what is
//! committed and never holds up an append.

use crate::base::entry::Kind;
use crate::base::event::{Category, EventCode, Verb};
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{Day, EntryIndex, TreeSize};
use crate::crypto::merkle;
use crate::format::outline;
use crate::format::seal::epoch::{EpochTables, Tables};
use crate::format::seal::payload::DaySealPayload;
use crate::format::unit;
use crate::store::index::{Index, IndexMark};
use crate::store::tiles::Tiles;
use crate::vault::clerk::Clerk;
use crate::vault::error::{Error, Result};
use crate::vault::proven::Proven;
use crate::vault::read::{Gate, entries_of};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

/// The thread's state.
pub(crate) struct Housekeeper {
    pub(crate) log: Proven,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) index: Arc<Mutex<Index>>,
    /// Next entry to look at.
    pub(crate) next: EntryIndex,
    pub(crate) epochs_sealed: u64,
    pub(crate) day: Option<Day>,
    pub(crate) day_start: EntryIndex,
    pub(crate) clerk: Clerk,
    pub(crate) gate: Arc<Gate>,
    /// Nothing may be appended: owed seals wait for the next opening.
    pub(crate) silent: bool,
}

/// Code of the vault's own seals.
pub(crate) const SEAL_CODE: EventCode = EventCode { category: Category::Vault, verb: Verb::Verify };

impl Drop for Housekeeper {
    /// However the thread ends, by a panic too: nobody waits for it any longer.
    fn drop(&mut self) {
        self.gate.stopped();
    }
}

impl Housekeeper {
    /// Runs until the sequencer is gone.
    pub(crate) fn run(mut self, inbox: &Receiver<()>) {
        while inbox.recv().is_ok() {
            while inbox.try_recv().is_ok() {}
            // Derived work only: what fails is tried again after the next commit, and rebuilt at
            // the next open. Meanwhile nobody waits for it.
            if self.catch_up().is_err() {
                self.gate.stopped();
            }
        }
    }

    /// Takes in every committed entry not seen yet.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let (mut groups, mut tags) = (Vec::new(), Vec::new());
        while let Some(unit) = self.log.log.unit_of(self.next)? {
            let bytes = self.log.read(&unit)?;
            for entry in unit::decode(&bytes)?.entries {
                let entry = outline::read(entry, &mut groups, &mut tags)?;
                if entry.index < self.next {
                    continue;
                }
                let day = entry.time_log.day();
                if let Some(old) = self.day.filter(|old| *old < day) {
                    self.seal_day(old, entry.index)?;
                }
                self.day = Some(day);
                let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
                let whole = if index.tail_from() == entry.index {
                    index
                        .observe_outline(&entry, &groups, &tags)
                        .map_err(|_| Error::evidence("MALFORMED", "epoch table"))?
                } else {
                    None
                };
                drop(index);
                if let Some(tables) = whole {
                    self.finish_epoch(&tables)?;
                }
                self.next = EntryIndex(entry.index.0 + 1);
            }
            self.gate.passed(TreeSize(self.next.0));
        }
        Ok(())
    }

    fn seal_day(&mut self, day: Day, end: EntryIndex) -> Result<()> {
        if self.day_start < end {
            let payload = DaySealPayload { day, first: self.day_start, end };
            self.ask(Kind::DaySeal, payload.encode());
            self.day_start = end;
        }
        Ok(())
    }

    fn ask(&self, kind: Kind, clear: Vec<u8>) {
        if self.silent {
            return;
        }
        self.clerk.ask(kind, SEAL_CODE, clear);
    }

    /// Asks for an epoch's seal if it is owed one.
    fn seal_epoch(&mut self, epoch: &EpochTables, tables: &Tables) {
        if epoch.epoch() < self.epochs_sealed {
            return;
        }
        let own = merkle::subtree_root(&*self.tiles, epoch.first(), TreeSize(epoch.end().0));
        if let Some(payload) = own.and_then(|root| epoch.payload(tables, root)) {
            self.ask(Kind::Seal, payload.encode());
            self.epochs_sealed = epoch.epoch() + 1;
        }
    }

    /// Writes an epoch's index and asks for its seal, whichever of the two is owed.
    fn finish_epoch(&mut self, epoch: &EpochTables) -> Result<()> {
        let tables = epoch.tables();
        self.seal_epoch(epoch, &tables);
        let end = TreeSize(epoch.end().0);
        let root = merkle::root_at(&*self.tiles, end);
        let writer = self.index.lock().unwrap_or_else(PoisonError::into_inner).writer();
        if let Some(root) = root {
            // A full disk or a damaged index costs speed, not truth: it is rebuilt at open.
            let _ = writer.put_epoch(epoch.epoch(), &tables.index, IndexMark { size: end, root });
        }
        Ok(())
    }

    /// Passes over entries that the index has and that lie in one day with what follows them:
    /// log time never falls, so no day ends among them.
    fn skip(&mut self) -> Result<()> {
        let tail = self.index.lock().unwrap_or_else(PoisonError::into_inner).tail_from();
        let Some(last) = tail.0.checked_sub(1).filter(|last| *last > self.next.0) else {
            return Ok(());
        };
        let days = (self.day_of(self.next)?, self.day_of(EntryIndex(last))?);
        if let (Some(first), Some(last)) = days
            && first == last
        {
            (self.day, self.next) = (Some(last), tail);
        }
        Ok(())
    }

    fn day_of(&self, index: EntryIndex) -> Result<Option<Day>> {
        let Some(unit) = self.log.log.unit_of(index)? else { return Ok(None) };
        for entry in entries_of(&self.log.read(&unit)?)? {
            let entry = entry?;
            if entry.index == index {
                return Ok(Some(entry.time_log.day()));
            }
        }
        Ok(None)
    }

    /// Writes the epochs a wiped index lacks, and asks for seals a crash kept from the log.
    pub(crate) fn rebuild(&mut self) -> Result<()> {
        self.skip()?;
        loop {
            let gap = self.index.lock().unwrap_or_else(PoisonError::into_inner).gap();
            if gap.start >= gap.end {
                break;
            }
            let Some(tables) = self.tables(gap.start.0 / EPOCH_ENTRIES)? else { break };
            self.finish_epoch(&tables)?;
            let after = self.index.lock().unwrap_or_else(PoisonError::into_inner).gap();
            if after.start == gap.start {
                break;
            }
        }
        // An epoch may be in the index while its seal was still on the way.
        let whole = self.index.lock().unwrap_or_else(PoisonError::into_inner).tail_from();
        while self.epochs_sealed < whole.0 / EPOCH_ENTRIES {
            let before = self.epochs_sealed;
            let Some(tables) = self.tables(before)? else { break };
            self.seal_epoch(&tables, &tables.tables());
            if self.epochs_sealed == before {
                break;
            }
        }
        Ok(())
    }

    /// Tables of a whole epoch, from the log.
    fn tables(&self, epoch: u64) -> Result<Option<EpochTables>> {
        let mut tables = EpochTables::new(epoch);
        let mut next = tables.first();
        while !tables.is_whole() {
            let Some(unit) = self.log.log.unit_of(next)? else { return Ok(None) };
            let bytes = self.log.read(&unit)?;
            for entry in entries_of(&bytes)? {
                let entry = entry?;
                if entry.index == next && !tables.is_whole() {
                    tables
                        .observe(&entry)
                        .map_err(|_| Error::evidence("MALFORMED", "epoch table"))?;
                    next = EntryIndex(next.0 + 1);
                }
            }
        }
        Ok(Some(tables))
    }
}
