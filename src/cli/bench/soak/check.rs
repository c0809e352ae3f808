//! What is checked after each death, from outside the process that died: the log has grown out
//! of what was checked before, every receipt stands at its index with its leaf, a sample is
//! proved to pinned trust and opened, nobody who was erased can be read. It never repairs.

use crate::base::entry::Kind;
use crate::base::record::{Fate, Record};
use crate::base::unit::EntryIndex;
use crate::cli::bench::soak::book::{Book, Slot};
use crate::cli::bench::soak::child::{config, world_ahead};
use crate::cli::demo::prng::Dice;
use crate::format::trust::Trust;
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::prove::{verify_growth, verify_proof};
use crate::vault::read::Reading;
use crate::vault::verify::{Options, verify_data};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receipts of a check that are proved to pinned trust.
const PROVED: u64 = 16;
/// Receipts of a check whose records are opened.
const OPENED: u64 = 64;
/// Days after which a soak's events expire.
const KEPT_DAYS: u32 = 7;

/// The checker.
pub(crate) struct Checker {
    pub(crate) trust: Trust,
    /// Checkpoint of what was checked last: a prefix of everything that follows.
    seen: Option<Arc<str>>,
    /// Entries compared with the receipts.
    compared: u64,
    /// Receipts compared with the log.
    pub(crate) receipts: u64,
    /// Proofs verified.
    pub(crate) proofs: u64,
    /// Records of erased persons looked at.
    pub(crate) forgotten: u64,
    /// Longest opening.
    pub(crate) longest: Duration,
    /// Events in the log without a receipt.
    pub(crate) orphans: u64,
}

impl Checker {
    /// A checker that trusts the keys of this vault as it was made.
    pub(crate) fn new(vault: &Vault) -> Result<Checker> {
        let trust = Trust::of(
            std::slice::from_ref(vault.log_key()),
            std::slice::from_ref(vault.report_signer().verifier()),
        )?;
        Ok(Checker {
            trust,
            seen: None,
            compared: 0,
            receipts: 0,
            proofs: 0,
            forgotten: 0,
            longest: Duration::ZERO,
            orphans: 0,
        })
    }

    /// Checks the vault as it was left. With `whole` every receipt and body, else what is new.
    pub(crate) fn check(
        &mut self,
        dir: &Path,
        ahead: u64,
        book: &mut Book,
        dice: &mut Dice,
        whole: bool,
    ) -> Result<()> {
        let start = Instant::now();
        let vault = Vault::open(world_ahead(ahead), &config(dir)).context("it does not open")?;
        self.longest = self.longest.max(start.elapsed());
        self.extends(&vault)?;
        if whole {
            (self.compared, self.orphans) = (0, 0);
        }
        self.receipts_stand(&vault, book)?;
        self.sample(&vault, book, dice)?;
        if whole {
            let bodies = vault.verify_bodies(&mut |_, _| {})?;
            ensure!(bodies.failures == 0, "bodies: {:?}", bodies.verdicts);
        }
        self.seen = Some(vault.checkpoint()?);
        // What nobody answered for is settled now, one way or the other.
        let size = vault.size().0;
        for until in book.doubtful.values_mut() {
            *until = (*until).min(size);
        }
        drop(vault);
        if whole {
            verified(dir, &self.trust)?;
        }
        Ok(())
    }

    /// The log has grown out of the one that was checked last.
    fn extends(&self, vault: &Vault) -> Result<()> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let size = self.trust.open_checkpoint(seen.as_bytes())?.checkpoint.size;
        ensure!(vault.size() >= size, "the log was {size} entries long, now {}", vault.size());
        // The vault may append entries of its own meanwhile: proof and checkpoint come together.
        let text = vault.prove_growth(size)?;
        verify_growth(seen.as_bytes(), &text, &self.trust).context("another history")?;
        Ok(())
    }

    /// Each receipt since the last check is of the entry that is there; no entry of an event but
    /// those on their way is without one.
    fn receipts_stand(&mut self, vault: &Vault, book: &Book) -> Result<()> {
        let size = vault.size().0;
        ensure!(book.end <= size, "receipts up to {}, entries up to {size}", book.end);
        let range = EntryIndex(self.compared)..EntryIndex(size);
        let mut bad = None;
        let (mut checked, mut orphans) = (0, 0);
        let mut next = range.start.0;
        vault.for_each_entry(range, &mut |entry, leaf| {
            let index = entry.index.0;
            let slot = book.slot(index).map_err(|e| Error::evidence("SOAK", e.to_string()))?;
            let event = entry.head.kind == Kind::Event;
            match slot {
                Some(slot) if event && slot.leaf == leaf => checked += 1,
                Some(slot) => bad = Some(format!("entry {index} is not the one of {slot:?}")),
                None => orphans += u64::from(event),
            }
            if index != next {
                bad = Some(format!("entry {index} where {next} must be"));
            }
            next += 1;
            Ok(())
        })?;
        ensure!(bad.is_none(), "{}", bad.unwrap_or_default());
        ensure!(next == size, "entries end at {next}, not at {size}");
        self.compared = size;
        self.receipts += checked;
        self.orphans += orphans;
        Ok(())
    }

    fn sample(&mut self, vault: &Vault, book: &Book, dice: &mut Dice) -> Result<()> {
        if book.end == 0 {
            return Ok(());
        }
        let today = vault.clock().now().day().0;
        for turn in 0..OPENED {
            let index = dice.below(book.end);
            let Some(slot) = book.slot(index)? else { continue };
            let record = vault.record(EntryIndex(index), Reading::OPEN)?;
            let said = told(&record, &book.script.note(slot.writer, slot.number));
            self.fate(book, index, &slot, &record, said, today)?;
            if turn < PROVED {
                let proved = verify_proof(&vault.prove(EntryIndex(index))?, &self.trust)?;
                ensure!(proved.entry.index.0 == index, "a proof of another entry");
                self.proofs += 1;
            }
        }
        Ok(())
    }

    /// Whether what can be read of a record is what can be expected.
    fn fate(
        &mut self,
        book: &Book,
        index: u64,
        slot: &Slot,
        record: &Record,
        said: bool,
        today: u32,
    ) -> Result<()> {
        let person = book.script.person(slot.writer, slot.number);
        let before = |until: Option<&u64>| until.is_some_and(|until| index < *until);
        let gone = |fate: &Fate| matches!(fate, Fate::Erased | Fate::Expired);
        let open = record.groups.iter().all(|fate| *fate == Fate::Open);
        if before(book.erased.get(&person)) {
            self.forgotten += 1;
            let read = record.fields.iter().any(|field| field.value.is_some());
            ensure!(!read, "entry {index} of erased person {person} can be read");
            ensure!(record.groups.iter().all(gone), "entry {index}: {:?}", record.groups);
            return Ok(());
        }
        if before(book.doubtful.get(&person)) {
            let settled = open && said || record.groups.iter().all(gone);
            ensure!(settled, "entry {index} is half erased: {:?}", record.groups);
            return Ok(());
        }
        let late = record.entry.time_log.day().0 + KEPT_DAYS < today;
        let expired = record.groups.iter().all(|fate| *fate == Fate::Expired) && late;
        let right = open && said || expired && book.expired;
        ensure!(right, "entry {index} of person {person}: {:?}, read {said}", record.groups);
        Ok(())
    }
}

fn told(record: &Record, note: &str) -> bool {
    let holds = |value: &[u8]| String::from_utf8_lossy(value).contains(note);
    record.fields.iter().filter_map(|field| field.value.as_deref()).any(holds)
}

/// The verification an outsider would make.
fn verified(dir: &Path, trust: &Trust) -> Result<()> {
    let disk = crate::cli::world::world().disk;
    let options = Options::default();
    let data = config(dir).data;
    let report = verify_data(&disk, &data, Some(trust), &options, &mut |_, _| {})?;
    ensure!(report.exit_code() == 0, "it does not verify: {:?}", report.verdicts);
    Ok(())
}
