//! What only the vault knows, as plain data: fates of class-days, erasures, accesses, the result
//! of a verification. The vault fills it; the report never asks for more. No value in it names a
//! person: subjects appear under pseudonyms that hold in one report only.

use crate::base::event::{EventCode, vocabulary};
use crate::base::id::{CaseId, Hash32, JobId, PersonId, hex};
use crate::base::unit::{ClassDay, EntryIndex, Generation, TreeSize, UtcNanos};
use sha2::{Digest, Sha256};

/// Rows of one population that a report keeps and judges. 100,000 rows of about 100 bytes are
/// 10 MB of CSV; a class-day population of 30 classes over 7 years has 77,000. The count goes on
/// above it, and a control with rows that were not judged cannot be `supported`.
pub const POPULATION_ROWS_MAX: usize = 100_000;

/// Rows with a cap and the full count: what is not kept is counted, never forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Population<T> {
    rows: Vec<T>,
    count: u64,
}

impl<T> Default for Population<T> {
    fn default() -> Self {
        Population { rows: Vec::new(), count: 0 }
    }
}

impl<T> Population<T> {
    /// Adds a row; beyond `POPULATION_ROWS_MAX` it is counted only.
    pub fn push(&mut self, row: T) {
        self.count += 1;
        if self.rows.len() < POPULATION_ROWS_MAX {
            self.rows.push(row);
        }
    }

    /// The rows kept, in the order they came.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    /// How many rows there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many rows were counted but not kept.
    pub fn unlisted(&self) -> u64 {
        self.count - self.rows.len() as u64
    }
}

/// What became of a class-day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClassDayState {
    /// Its bodies can still be opened.
    Live,
    /// Its key is gone; `done` is the prune-done entry that says so.
    Expired {
        /// The entry that justifies the missing bodies; `None` is an exception.
        done: Option<EntryIndex>,
    },
    /// A legal hold keeps it.
    Held(CaseId),
    /// Its class is kept for ever: a rule of its own, with a reason in the policy.
    Kept,
}

/// One retention class on one day, as the schedule sees it at the cut-off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassDayStatus {
    /// Which.
    pub class_day: ClassDay,
    /// Name of the class in `policies/classes.toml`.
    pub class_name: String,
    /// Groups sealed under it, over the whole log.
    pub groups: u64,
    /// When it must be gone; `None` = the class has no rule.
    pub due: Option<UtcNanos>,
    /// What became of it.
    pub state: ClassDayState,
}

/// A class whose keys a law kept back from an erasure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deferred {
    /// Name of the class.
    pub class: String,
    /// The legal floor, e.g. `HGB s. 257(4)`.
    pub law: String,
    /// When the schedule completes the erasure; `None` = when the hold named by `law` ends.
    pub due: Option<UtcNanos>,
}

vocabulary! {
    /// How many people an erasure took; the schedule completes what two people ordered.
    ErasureMode {
        TwoPerson = 0, "two-person";
        SingleOperator = 1, "single-operator";
        Scheduled = 2, "scheduled";
    }
}

/// One erasure on request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasureStatus {
    /// Random handle of the job.
    pub job: JobId,
    /// Its erase-intent entry.
    pub requested: EntryIndex,
    /// Log time of the intent.
    pub requested_at: UtcNanos,
    /// Its erase-done entry.
    pub completed: Option<EntryIndex>,
    /// Log time of erase-done.
    pub completed_at: Option<UtcNanos>,
    /// One person or two.
    pub mode: ErasureMode,
    /// Generation of the key tree before.
    pub generation_from: Generation,
    /// Generation after; greater once keys were replaced.
    pub generation_to: Generation,
    /// SHA-256 of the signed receipt.
    pub receipt_sha256: Option<Hash32>,
    /// Classes kept back by law.
    pub deferred: Vec<Deferred>,
    /// Records that named the person; none while the erasure is open, and where rot kept them from
    /// being counted.
    pub records: Option<u64>,
}

/// Accesses to one person's data with one event code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessRow {
    /// From `pseudonym`: it names nobody and holds in this report only.
    pub subject_pseudonym: String,
    /// What was done.
    pub code: EventCode,
    /// How often.
    pub count: u64,
    /// First in the period.
    pub first: EntryIndex,
    /// Last in the period.
    pub last: EntryIndex,
}

/// How far accesses could be laid to persons. The three numbers count events, not persons; with
/// the accesses seen in the log they must add up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AccessCover {
    /// Events whose persons are all in the rows.
    pub attributed: u64,
    /// Events that named a person erased since: no key is left to say whom.
    pub erased: u64,
}

vocabulary! {
    /// How a verdict of the verifier is to be read.
    Grade {
        Sound = 0, "sound";
        Note = 1, "note";
        Failed = 2, "failed";
    }
}

/// One verdict of the verifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Stable upper-case name, e.g. `BODY_MISSING_UNJUSTIFIED`.
    pub name: String,
    /// How often it was given.
    pub count: u64,
    /// How it is to be read.
    pub grade: Grade,
}

/// The result of verifying the log up to the report's checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integrity {
    /// Every verdict with its count.
    pub verdicts: Vec<Verdict>,
    /// Entries whose bytes, chain and place in the tree were checked.
    pub entries_checked: u64,
    /// Bodies whose tag and commitments were checked.
    pub bodies_checked: u64,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
    /// Entries it covers.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash32,
    /// Log time of the last entry it covers.
    pub checkpoint_at: UtcNanos,
    /// Epoch and day seals found and recomputed.
    pub seals: u64,
    /// Seals that should be there and are not.
    pub seals_missing: u64,
    /// Witness cosignatures that were checked.
    pub witnesses: u64,
}

/// Who asks for the report, and the state of the key plane: with the period, the catalogue and
/// the checkpoint they name the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The tenant, as people call it.
    pub tenant_name: String,
    /// Handle or role of who asked; never a person's name.
    pub requester: String,
    /// Random, drawn for this report: salts pseudonyms.
    pub nonce: [u8; 16],
    /// Until when facts were taken; the document's date.
    pub cut_off: UtcNanos,
    /// Generation of the key tree.
    pub generation: Generation,
    /// Program and version.
    pub software: String,
    /// Id of the report that this one replaces.
    pub supersedes: Option<String>,
}

/// The report-local name of a person: `S-` and 12 hex digits of SHA-256 over a label, the
/// report's nonce and the person's random handle. Without the handle it cannot be computed; two
/// reports with different nonces cannot be joined by it.
pub fn pseudonym(nonce: &[u8; 16], person: &PersonId) -> String {
    let mut hash = Sha256::new();
    hash.update(b"chancery/v1/report/pseudonym\n");
    hash.update(nonce);
    hash.update(person.0);
    let digest: [u8; 32] = hash.finalize().into();
    format!("S-{}", digest.first_chunk::<6>().map(|head| hex(head)).unwrap_or_default())
}
