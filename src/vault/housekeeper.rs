//! The housekeeper: one background thread that follows the log. It fills the index, writes
//! finished epochs, and asks for the seals that epochs and days are owed. It reads what is
//! committed and never holds up an append.

use crate::base::entry::Kind;
use crate::base::event::{Category, EventCode, Verb};
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{Day, EntryIndex, TreeSize};
use crate::crypto::merkle;
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::DaySealPayload;
use crate::store::index::{Index, IndexMark};
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::clerk::Clerk;
use crate::vault::error::{Error, Result};
use crate::vault::read::{Gate, entries_of};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

/// The thread's state.
pub(crate) struct Housekeeper {
    pub(crate) log: Arc<UnitLog>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) index: Arc<Mutex<Index>>,
    /// Next entry to look at.
    pub(crate) next: EntryIndex,
    pub(crate) epochs_sealed: u64,
    pub(crate) day: Option<Day>,
    pub(crate) day_start: EntryIndex,
    pub(crate) clerk: Clerk,
    pub(crate) gate: Arc<Gate>,
}

/// Code of the vault's own seals.
pub(crate) const SEAL_CODE: EventCode = EventCode { category: Category::Vault, verb: Verb::Verify };

impl Housekeeper {
    /// Runs until the sequencer is gone.
    pub(crate) fn run(mut self, inbox: &Receiver<()>) {
        while inbox.recv().is_ok() {
            while inbox.try_recv().is_ok() {}
            // Derived work only: what fails is rebuilt at the next open, and `doctor` shows lag.
            if self.catch_up().is_err() {
                break;
            }
        }
        self.gate.stopped();
    }

    /// Takes in every committed entry not seen yet.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        while let Some(unit) = self.log.unit_of(self.next) {
            let bytes = self.log.read(&unit)?;
            for entry in entries_of(&bytes)? {
                let entry = entry?;
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
                        .observe(&entry)
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
        self.clerk.ask(kind, SEAL_CODE, clear);
    }

    /// Writes an epoch's index and asks for its seal, whichever of the two is owed.
    fn finish_epoch(&mut self, epoch: &EpochTables) -> Result<()> {
        let tables = epoch.tables();
        let end = TreeSize(epoch.end().0);
        let root = merkle::root_at(&*self.tiles, end);
        let owed = epoch.epoch() >= self.epochs_sealed;
        let own = merkle::subtree_root(&*self.tiles, epoch.first(), end);
        if let Some(payload) = own.and_then(|root| epoch.payload(&tables, root)).filter(|_| owed) {
            self.ask(Kind::Seal, payload.encode());
            self.epochs_sealed = epoch.epoch() + 1;
        }
        let writer = self.index.lock().unwrap_or_else(PoisonError::into_inner).writer();
        if let Some(root) = root {
            // A full disk or a damaged index costs speed, not truth: it is rebuilt at open.
            let _ = writer.put_epoch(epoch.epoch(), &tables.index, IndexMark { size: end, root });
        }
        Ok(())
    }

    /// Writes the epochs a wiped index lacks, and asks for the seals a crash left owing.
    pub(crate) fn rebuild(&mut self) -> Result<()> {
        let (written, tail) = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.epochs(), index.tail_from().0 / EPOCH_ENTRIES)
        };
        for epoch in written.min(self.epochs_sealed)..tail {
            let Some(tables) = self.read_epoch(epoch)? else { return Ok(()) };
            self.finish_epoch(&tables)?;
        }
        Ok(())
    }

    fn read_epoch(&self, epoch: u64) -> Result<Option<EpochTables>> {
        let mut tables = EpochTables::new(epoch);
        while !tables.is_whole() {
            let next = tables.end();
            let Some(unit) = self.log.unit_of(next) else { return Ok(None) };
            let bytes = self.log.read(&unit)?;
            for entry in entries_of(&bytes)? {
                let entry = entry?;
                if entry.index == tables.end() && !tables.is_whole() {
                    let seen = tables.observe(&entry);
                    seen.map_err(|_| Error::evidence("MALFORMED", "epoch table"))?;
                }
            }
            if tables.end() == next {
                return Ok(None);
            }
        }
        Ok(Some(tables))
    }
}
