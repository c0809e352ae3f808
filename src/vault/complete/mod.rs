//! Completeness proofs: range and answer files for people who do not trust the vault. They show
//! the public skeletons of entries and nothing sealed; an answer about a person joins a name to
//! entries, so it is a disclosure and stands in the log before the file exists.
//!
//! Written as a stream, one entry at a time; an answer holds the asked leaves of its tables in
//! memory. It never answers from an index that a seal does not bear out.

mod keys;
mod parts;
mod shown;

pub use crate::vault::complete::keys::About;

use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::format::complete::answer::{self, Question};
use crate::format::complete::part::runs_of;
use crate::format::complete::range;
use crate::format::complete::scope::{OPEN_END, Scope, Window};
use crate::format::complete::tables::Hit;
use crate::format::complete::{KEYS_MAX, ROWS_MAX, SHOWN_MAX};
use crate::format::wire::Write as _;
use crate::store::error::Error as StoreError;
use crate::vault::Vault;
use crate::vault::complete::keys::Keys;
use crate::vault::complete::parts::Parts;
use crate::vault::error::{Error, Result};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// For which entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The whole log.
    Everything,
    /// By index.
    Indexes(Range<EntryIndex>),
    /// By log time.
    Window(Window),
    /// By index, and of them only what whole sealed epochs hold: a smaller file, and it says so.
    Sealed(Range<EntryIndex>),
}

/// Who gets the file and why, for the entry that records it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handover {
    /// Why; sealed.
    pub purpose: String,
    /// Who receives it and who hands it out; sealed.
    pub who: String,
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// What it answers for.
    pub scope: Scope,
    /// Entries of the log it is held against.
    pub size: TreeSize,
    /// Entries that answer.
    pub found: u64,
    /// Epochs that rest on a seal.
    pub sealed_epochs: u64,
    /// The entry that records the handover.
    pub recorded: Option<EntryIndex>,
}

impl Made {
    /// Whether the window has no end that the log shows: a verifier says `RANGE_OPEN_END`.
    pub fn is_open(&self) -> bool {
        let closed = |window: Window| window.to == OPEN_END || self.scope.end.0 < self.size.0;
        self.scope.window.is_some_and(|window| !closed(window))
    }
}

/// How an answer is put together.
struct Plan {
    question: Question,
    /// Entries shown, as runs.
    runs: Vec<Range<u64>>,
    found: u64,
}

impl Vault {
    /// Writes a range file: every entry of what is asked, for whoever pins the log's key.
    ///
    /// # Errors
    /// `NotFound` for entries that are not there; `Denied` `PROOF_TOO_LARGE`; those of append when
    /// the handover is recorded, and of the store and `out`.
    pub fn prove_range(
        &self,
        asked: &Asked,
        handover: Option<&Handover>,
        out: &mut dyn Write,
    ) -> Result<Made> {
        self.settle();
        let recorded = match handover {
            Some(handover) => {
                let scope = self.scope_of(asked, self.published()?.1.size)?;
                let records = scope.end.0 - scope.first.0;
                Some(self.hand_over(&scope, records, handover)?)
            }
            None => None,
        };
        let (note, checkpoint) = self.published()?;
        let size = checkpoint.size;
        let scope = self.scope_of(asked, size)?;
        let run = scope.with_neighbours(size.0);
        fits(run.end - run.start)?;
        put(out, &range::encode_head(&scope, &note))?;
        self.write_log(range::tree(size.0), &[run], out)?;
        let found = scope.end.0 - scope.first.0;
        Ok(Made { scope, size, found, sealed_epochs: 0, recorded })
    }

    /// Writes a range file that holds one whole epoch and its seal: what a replay needs.
    ///
    /// # Errors
    /// As `prove_range`; `NotFound` `EPOCH_UNSEALED`.
    pub fn prove_epoch(&self, epoch: u64, out: &mut dyn Write) -> Result<Made> {
        let first = epoch.checked_mul(EPOCH_ENTRIES).ok_or(UNSEALED)?;
        self.settle();
        let seals = self.seals_of(epoch..epoch + 1, self.published()?.1.size)?;
        let (at, _) = seals.get(&epoch).ok_or(UNSEALED)?;
        let asked = Asked::Indexes(EntryIndex(first)..EntryIndex(at.0 + 1));
        self.prove_range(&asked, None, out)
    }

    /// Writes an answer file: every entry of what is asked that has one of the keys.
    ///
    /// # Errors
    /// As `prove_range`; `Denied` `DISCLOSURE_UNEXPLAINED` about a person without a handover;
    /// `NotFound` `SUBJECT_UNKNOWN`, `FILTER_SOURCE_UNKNOWN`; `Evidence` when a seal of the log
    /// says other than its entries.
    pub fn prove_answer(
        &self,
        about: &About,
        asked: &Asked,
        handover: Option<&Handover>,
        out: &mut dyn Write,
    ) -> Result<Made> {
        if handover.is_none() && matches!(about, About::Person(_)) {
            let fix = "an answer about a person is a disclosure: say for whom and why";
            return Err(Error::denied("DISCLOSURE_UNEXPLAINED", fix));
        }
        self.settle();
        let mut parts = Parts::default();
        let recorded = match handover {
            Some(handover) => {
                let keys = self.keys_about(about)?;
                let size = self.published()?.1.size;
                let plan = self.plan(&keys, asked, size, &mut parts)?;
                Some(self.hand_over(&plan.question.scope, plan.found, handover)?)
            }
            None => None,
        };
        // Looked up again: an erasure may have passed while the entry was written.
        let keys = self.keys_about(about)?;
        let (note, checkpoint) = self.published()?;
        let plan = self.plan(&keys, asked, checkpoint.size, &mut parts)?;
        let claim = self.claim(&keys, &checkpoint)?;
        put(out, &answer::encode_head(&plan.question, &claim, &note))?;
        for epoch in plan.question.epochs() {
            put(out, parts.bytes(epoch)?)?;
        }
        let mut head = Vec::new();
        head.put_u32(crate::format::wire::len_of(plan.runs.len()));
        for run in &plan.runs {
            head.put_u64(run.start);
            head.put_u64(run.end);
        }
        put(out, &head)?;
        self.write_log(answer::log_tree(checkpoint.size.0), &plan.runs, out)?;
        let sealed_epochs = plan.question.epochs().count() as u64;
        let (scope, size) = (plan.question.scope, checkpoint.size);
        Ok(Made { scope, size, found: plan.found, sealed_epochs, recorded })
    }

    fn hand_over(&self, scope: &Scope, records: u64, to: &Handover) -> Result<EntryIndex> {
        let range = scope.first..scope.end;
        self.record_reading("answer", range, records, &[], &to.purpose, &to.who)
    }

    /// What is asked as entries of a log of `size`.
    fn scope_of(&self, asked: &Asked, size: TreeSize) -> Result<Scope> {
        let unknown = Error::NotFound { code: "ENTRY_UNKNOWN" };
        let scope = match asked {
            Asked::Everything => {
                Scope { window: None, first: EntryIndex(0), end: EntryIndex(size.0) }
            }
            Asked::Indexes(Range { start, end }) => {
                Scope { window: None, first: *start, end: *end }
            }
            Asked::Sealed(Range { start, end }) => {
                Scope { window: None, first: *start, end: EntryIndex(end.0.min(size.0)) }
            }
            Asked::Window(window) => Scope {
                window: Some(*window),
                first: self.first_from(window.from, size)?,
                end: self.first_from(window.to, size)?,
            },
        };
        let sound = match scope.window {
            None => scope.first < scope.end && scope.end.0 <= size.0,
            Some(window) => window.from < window.to && size.0 > 0,
        };
        if sound { Ok(scope) } else { Err(unknown) }
    }

    /// The first of `size` entries whose log time is at least `time`; `size` if none.
    fn first_from(&self, time: UtcNanos, size: TreeSize) -> Result<EntryIndex> {
        let (mut low, mut high) = (0, if time == OPEN_END { 0 } else { size.0 });
        if time == OPEN_END {
            return Ok(EntryIndex(size.0));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(EntryIndex(middle))?.time_log < time {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(EntryIndex(low))
    }

    /// Which epochs rest on seals, which rows and entries are shown.
    fn plan(&self, keys: &Keys, asked: &Asked, size: TreeSize, parts: &mut Parts) -> Result<Plan> {
        let scope = self.scope_of(asked, size)?;
        let first = scope.first.0 / EPOCH_ENTRIES;
        let most = match scope.first == scope.end {
            true => first,
            false => scope.end.0.div_ceil(EPOCH_ENTRIES).min(size.0 / EPOCH_ENTRIES),
        };
        let seals = self.seals_of(first..most.max(first), size)?;
        let sealed = (first..most).take_while(|epoch| seals.contains_key(epoch)).count() as u64;
        let mut question =
            Question { scope, kind: keys.kind, keys: keys.keys.clone(), open_from: first + sealed };
        if let Asked::Sealed(_) = asked {
            let end = scope.end.0.min(question.open_from * EPOCH_ENTRIES);
            if end <= scope.first.0 {
                return Err(UNSEALED);
            }
            question.scope.end = EntryIndex(end);
        }
        let hits = self.epoch_parts(&question, &seals, parts)?;
        let mut places = question.must_show(&hits, size.0);
        let tail = question.tail();
        fits(tail.end - tail.start)?;
        places.extend(tail);
        fits(places.len() as u64)?;
        let found = self.count(&question, &hits)?;
        let shown = |seal: &(EntryIndex, _)| seal.0.0;
        places.extend(question.epochs().filter_map(|epoch| seals.get(&epoch).map(shown)));
        places.sort_unstable();
        places.dedup();
        fits(places.len() as u64)?;
        Ok(Plan { question, runs: runs_of(&places), found })
    }

    /// Entries of the scope with one of the keys.
    fn count(&self, question: &Question, hits: &[Hit]) -> Result<u64> {
        let asked = hits.iter().map(|hit| hit.index);
        let mut sealed: Vec<u64> =
            asked.filter(|at| question.scope.contains(EntryIndex(*at))).collect();
        sealed.dedup();
        let mut found = sealed.len() as u64;
        let tail = question.tail();
        let range = EntryIndex(tail.start)..EntryIndex(tail.end);
        self.for_each_entry(range, &mut |entry, _| {
            found += u64::from(question.is_about(&entry));
            Ok(())
        })?;
        Ok(found)
    }
}

const UNSEALED: Error = Error::NotFound { code: "EPOCH_UNSEALED" };

/// Refuses what no verifier takes.
fn fits(entries: u64) -> Result<()> {
    match entries <= SHOWN_MAX {
        true => Ok(()),
        false => Err(too_large(&format!("{entries} entries, at most {SHOWN_MAX}"))),
    }
}

fn too_large(what: &str) -> Error {
    let fix = format!(
        "one file would show {what} (and {KEYS_MAX} keys, {ROWS_MAX} rows of them); ask in pieces"
    );
    Error::denied("PROOF_TOO_LARGE", fix)
}

/// Writes to the file.
fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let failed = |e| StoreError::io(Path::new("proof"), "cannot be written", e);
    Ok(out.write_all(bytes).map_err(failed)?)
}
