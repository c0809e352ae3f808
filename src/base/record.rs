//! A record as a reader gets it: the entry, and of each sealed field what can be said today.
//! Exporters, reports and the command line work on this. Values in it are personal data: it is
//! never written to a log line, and whoever hands it out writes a disclose entry first.

use crate::base::entry::{Entry, Kind};
use crate::base::id::Hash32;
use std::sync::Arc;
use zeroize::Zeroize;

/// The sealed field that no reader of records gets: the body of a document in the registry, which
/// may hold what lets somebody in.
pub const PRIVATE_FIELD: &str = "config.document";

/// What became of a sealed group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fate {
    /// Opened, tag and every commitment checked.
    Open,
    /// Not opened because nobody asked for it.
    Sealed,
    /// Somebody it is about had its use restricted, and nobody named what allows it all the same.
    Restricted,
    /// Its subject was erased: an erase-done entry says so.
    Erased,
    /// Its class-day expired: a prune-done entry says so.
    Expired,
    /// Body there, key gone, and no entry that says why.
    KeyLost,
    /// Body gone, and no entry that says why.
    BodyMissing,
    /// Body altered: authentication failed.
    AuthFailed,
    /// Body authentic but not what the entry commits to.
    CommitmentMismatch,
}

impl Fate {
    /// The verdict's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Open => "open",
            Fate::Sealed => "sealed",
            Fate::Restricted => "restricted",
            Fate::Erased => "erased",
            Fate::Expired => "expired",
            Fate::KeyLost => "KEY_LOST",
            Fate::BodyMissing => "BODY_MISSING_UNJUSTIFIED",
            Fate::AuthFailed => "BODY_AUTH_FAIL",
            Fate::CommitmentMismatch => "COMMITMENT_MISMATCH",
        }
    }
}

/// One field of a record.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordField {
    /// Registry name.
    pub name: Arc<str>,
    /// Position of its group.
    pub group: u8,
    /// JSON text, only when its group is `Fate::Open`.
    pub value: Option<Vec<u8>>,
    /// Salt of its commitment, only when open: what a disclosure hands out.
    pub salt: Option<[u8; 32]>,
}

impl std::fmt::Debug for RecordField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "RecordField({}, {})",
            self.name,
            if self.value.is_some() { "open" } else { "closed" }
        )
    }
}

/// A pseudonym for one of a record's subjects, stable for one destination and one subject's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectToken {
    /// Position in the entry's tags.
    pub tag: u8,
    /// Lower-case hex, 32 digits.
    pub token: String,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Hash32,
    /// Name of its source, if the vault can still say it.
    pub source: Option<Arc<str>>,
    /// Fate of each group, in the entry's order.
    pub groups: Vec<Fate>,
    /// Fields in the entry's order.
    pub fields: Vec<RecordField>,
    /// Pseudonyms of its living subjects, when a destination was named.
    pub tokens: Vec<SubjectToken>,
}

impl Record {
    /// The opened value of a field as JSON text.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|f| &*f.name == name)?.value.as_deref()
    }

    /// Whether a field of this record is the body of a document, which only the registry opens. A
    /// policy may call a field of an event the same: that one is as any other.
    pub fn is_private(&self, field: &str) -> bool {
        self.entry.head.kind == Kind::Config && field == PRIVATE_FIELD
    }

    /// The record as a reader gets it: a private field keeps its fate and has no value.
    #[must_use]
    pub fn without_private(mut self) -> Self {
        if self.entry.head.kind == Kind::Config {
            for field in self.fields.iter_mut().filter(|field| &*field.name == PRIVATE_FIELD) {
                field.value.zeroize();
                (field.value, field.salt) = (None, None);
            }
        }
        self
    }
}
