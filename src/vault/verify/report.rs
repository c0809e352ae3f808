//! What a verification found: counts, named verdicts with their places, and an exit code.
//! Serialised with stable keys. It holds no personal data: indexes, handles and counts only.

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{EntryIndex, Generation, TreeSize, UtcNanos};
use crate::format::control::Sight;
use crate::store::error::ErrorKind;
use crate::vault::error::Error;
use serde::Serialize;
use std::collections::BTreeMap;

/// Verdicts of one name that are listed; further ones are only counted.
pub const LISTED_MAX: u64 = 1000;

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    /// Stable name, e.g. `LEAF_MISMATCH`.
    pub name: &'static str,
    /// Where, if it has a place.
    pub index: Option<EntryIndex>,
    /// Whether it makes the verification fail; otherwise it asks for attention.
    pub fails: bool,
    /// What was expected and found.
    pub detail: String,
}

/// The checkpoint the entries were held against.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SignedBy {
    /// Key that signed, as a vkey.
    pub key: String,
    /// Whether a trust file pinned that key; without, the log names its own signer.
    pub pinned: bool,
    /// Size it signed.
    pub size: TreeSize,
    /// Root it signed.
    pub root: Hash32,
    /// Pinned witnesses that cosigned, with their times.
    pub witnesses: BTreeMap<String, UtcNanos>,
}

/// A checkpoint that somebody pinned saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Seen {
    /// Entries that existed then.
    pub size: TreeSize,
    /// How it was seen.
    pub by: Sight,
    /// They existed by this instant, by the other's clock.
    pub not_after: UtcNanos,
}

/// Result of `verify_data`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Origin line of the log.
    pub origin: String,
    /// Whose log.
    pub tenant: TenantId,
    /// Entries read.
    pub entries: u64,
    /// Units read.
    pub units: u64,
    /// Entries beyond the signed checkpoint.
    pub unsigned_tail: u64,
    /// The checkpoint, if its signature was checked.
    pub signed_by: Option<SignedBy>,
    /// Size of the newest checkpoint that as many pinned witnesses cosigned as the trust file asks.
    pub witnessed: Option<TreeSize>,
    /// Time-stamps and cosigned notes kept in `anchors/`; read with a trust file only.
    pub anchors: u64,
    /// Of them: verified with what the trust file pins.
    pub anchors_verified: u64,
    /// The newest of those.
    pub seen: Option<Seen>,
    /// Log time of the first entry.
    pub first_time: UtcNanos,
    /// Log time of the last entry.
    pub last_time: UtcNanos,
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Sealed groups that the entries name.
    pub groups: u64,
    /// Of them: body there and undamaged. Whether it opens needs keys.
    pub bodies: u64,
    /// Of them: gone or dead by a prune-done entry.
    pub expired: u64,
    /// Numbers that counting sources skipped.
    pub gaps: u64,
    /// Epoch seals found.
    pub seals: u64,
    /// Of them: tables recomputed and equal.
    pub seals_replayed: u64,
    /// Day-seals found.
    pub day_seals: u64,
    /// Erasures completed.
    pub erasures: u64,
    /// Generation of the key tree that the log announces.
    pub generation: Generation,
    /// Why the result cannot be more than inconclusive, if so.
    pub inconclusive: Vec<&'static str>,
    /// Findings of each name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Findings that make it fail.
    pub failures: u64,
    /// The findings, at most `LISTED_MAX` of a name, in the order found.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    pub(crate) fn new(origin: String, tenant: TenantId) -> Self {
        Report {
            origin,
            tenant,
            entries: 0,
            units: 0,
            unsigned_tail: 0,
            signed_by: None,
            witnessed: None,
            anchors: 0,
            anchors_verified: 0,
            seen: None,
            first_time: UtcNanos(0),
            last_time: UtcNanos(0),
            kinds: BTreeMap::new(),
            groups: 0,
            bodies: 0,
            expired: 0,
            gaps: 0,
            seals: 0,
            seals_replayed: 0,
            day_seals: 0,
            erasures: 0,
            generation: Generation(0),
            inconclusive: Vec::new(),
            counts: BTreeMap::new(),
            failures: 0,
            verdicts: Vec::new(),
        }
    }

    /// Something is not what it must be.
    pub(crate) fn fail(
        &mut self,
        name: &'static str,
        index: impl Into<Option<EntryIndex>>,
        detail: impl Into<String>,
    ) {
        let (index, detail) = (index.into(), detail.into());
        self.add(Verdict { name, index, fails: true, detail });
    }

    /// Something an auditor should look at.
    pub(crate) fn attention(
        &mut self,
        name: &'static str,
        index: impl Into<Option<EntryIndex>>,
        detail: impl Into<String>,
    ) {
        let (index, detail) = (index.into(), detail.into());
        self.add(Verdict { name, index, fails: false, detail });
    }

    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.failures += u64::from(verdict.fails);
        let count = self.counts.entry(verdict.name).or_default();
        *count += 1;
        if *count <= LISTED_MAX {
            self.verdicts.push(verdict);
        }
    }

    /// Notes why this can be no more than inconclusive.
    pub(crate) fn doubt(&mut self, why: &'static str) {
        if !self.inconclusive.contains(&why) {
            self.inconclusive.push(why);
        }
    }

    /// 0 verified, 1 evidence failed, 4 inconclusive. Never 0 without entries or a pinned key.
    pub fn exit_code(&self) -> u8 {
        match self {
            Report { failures: 1.., .. } => 1,
            Report { entries: 0, .. } => 4,
            Report { inconclusive, .. } if !inconclusive.is_empty() => 4,
            _ => 0,
        }
    }

    /// Whether a verdict of this name stands at this index.
    pub fn has(&self, name: &str, index: Option<EntryIndex>) -> bool {
        self.verdicts.iter().any(|v| v.name == name && v.index == index)
    }
}

/// Exit code of a verification that could not be made: 4 for an unknown version, 1 for failed
/// evidence, else 3.
pub fn exit_code_of(error: &Error) -> u8 {
    match error {
        Error::Unavailable(e) if e.kind == ErrorKind::TooNew => 4,
        Error::Evidence { .. } => 1,
        _ => 3,
    }
}
