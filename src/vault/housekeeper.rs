//! The housekeeper: one background thread that follows the log. It fills the index, writes
//! finished epochs, and asks for the seals that epochs and days are owed. It reads what is
//! committed and never holds up an append.

use crate::base::entry::Kind;
use crate::base::event::{Category, EventCode, Verb};
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{Day, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::merkle;
use crate::format::outline;
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::DaySealPayload;
use crate::format::unit;
use crate::store::index::{Index, IndexMark};
use crate::store::tiles::Tiles;
use crate::vault::clerk::Clerk;
use crate::vault::committer::Published;
use crate::vault::error::{Error, Result};
use crate::vault::proven::Proven;
use crate::vault::read::{Gate, entries_of};
use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The thread's state.
pub(crate) struct Housekeeper {
    pub(crate) log: Proven,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) index: Arc<Mutex<Index>>,
    pub(crate) published: Arc<RwLock<Published>>,
    /// Next entry to look at.
    pub(crate) next: EntryIndex,
    /// Whole epochs that are owed a seal.
    pub(crate) unsealed: BTreeSet<u64>,
    /// The index takes no more epochs before it is opened anew.
    pub(crate) index_closed: bool,
    /// When something that is owed could not be made good.
    pub(crate) failed_at: Option<UtcNanos>,
    pub(crate) day: Option<Day>,
    pub(crate) day_start: EntryIndex,
    pub(crate) clerk: Clerk,
    pub(crate) gate: Arc<Gate>,
    /// Nothing may be appended: owed seals wait for the next opening.
    pub(crate) silent: bool,
}

/// Rest before what could not be made good is tried again.
const RETRY_NANOS: u64 = 60_000_000_000;

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
        // What cannot be passed over is read.
        let _ = self.skip();
        self.make_good();
        while inbox.recv().is_ok() {
            while inbox.try_recv().is_ok() {}
            // Derived work only: what fails is tried again after a later commit, and rebuilt at
            // the next open. Meanwhile nobody waits for it.
            if self.catch_up().is_err() {
                self.gate.stopped();
            }
            self.make_good();
        }
    }

    /// Entries that everybody may see. The log is a unit ahead of its tiles while one is written.
    fn published(&self) -> u64 {
        self.published.read().unwrap_or_else(PoisonError::into_inner).size.0
    }

    /// Takes in every published entry not seen yet.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let (mut groups, mut tags) = (Vec::new(), Vec::new());
        while self.next.0 < self.published()
            && let Some(unit) = self.log.log.unit_of(self.next)?
        {
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
                    self.unsealed.insert(tables.epoch());
                    self.failed_at = None;
                    self.make_good();
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

    /// Makes good what whole epochs are owed; after a failure not before a while has passed, since
    /// reading an epoch from the log takes its time.
    fn make_good(&mut self) {
        let now = self.clerk.clock.now();
        let rested = |at: UtcNanos| now.0.saturating_sub(at.0) >= RETRY_NANOS;
        if self.failed_at.is_none_or(rested) {
            self.failed_at = (!self.finish_epochs()).then_some(now);
        }
    }

    /// Asks for the seals that whole epochs are owed, and writes those that the index lacks.
    /// Passes over what cannot be read now. Returns whether nothing is left to do.
    fn finish_epochs(&mut self) -> bool {
        let (written, whole) = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.epochs(), index.tail_from().0 / EPOCH_ENTRIES)
        };
        let unwritten = if self.index_closed { whole } else { written }..whole;
        let owed: BTreeSet<u64> = self.unsealed.iter().copied().chain(unwritten).collect();
        // Every one is tried, also behind one that cannot be read.
        owed.into_iter().filter(|epoch| self.finish_epoch(*epoch).is_err()).count() == 0
    }

    /// Asks for an epoch's seal and writes its index, whichever of the two is owed.
    fn finish_epoch(&mut self, epoch: u64) -> Result<()> {
        let (next, waiting, writer) = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.epochs(), index.waiting(epoch), index.writer())
        };
        let sealing = self.unsealed.contains(&epoch);
        let indexing = !self.index_closed && next == epoch;
        if !(sealing || indexing) {
            return Ok(());
        }
        let (own, root) = self.roots(epoch)?;
        let whole = match waiting {
            Some(whole) => whole,
            None => Arc::new(self.tables(epoch)?.ok_or_else(unread)?),
        };
        let tables = whole.tables();
        if sealing {
            let payload = whole.payload(&tables, own).ok_or_else(unread)?;
            self.ask(Kind::Seal, payload.encode());
            self.unsealed.remove(&epoch);
        }
        if indexing {
            let mark = IndexMark { size: TreeSize(whole.end().0), root };
            // A full disk or a damaged index costs speed, not truth: it is rebuilt at open.
            self.index_closed = writer.put_epoch(epoch, &tables.index, mark).is_err();
        }
        Ok(())
    }

    /// Root of a whole epoch, and of the log at its end. What is stored may have rotted, and a
    /// seal cannot be taken back: it must lead to the root of the unit in which the epoch ends.
    fn roots(&self, epoch: u64) -> Result<(Hash32, Hash32)> {
        let (tiles, first) = (&*self.tiles, epoch.saturating_mul(EPOCH_ENTRIES));
        let end = TreeSize(first.saturating_add(EPOCH_ENTRIES));
        let last = EntryIndex(end.0.saturating_sub(1));
        let unit = self.log.log.unit_of(last)?.ok_or_else(unread)?;
        if merkle::root_at(tiles, unit.head.end) != Some(unit.head.root) {
            return Err(unread());
        }
        let own = merkle::subtree_root(tiles, EntryIndex(first), end);
        own.zip(merkle::root_at(tiles, end)).ok_or_else(unread)
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

/// Something stored that an epoch is made from is not there, or not what was written.
fn unread() -> Error {
    Error::evidence("TILE_MISMATCH", "a whole epoch cannot be read now")
}
