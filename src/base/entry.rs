//! An entry: the public skeleton of a record, hashed into the log, never changed.
//! Byte layout: `format/entry.rs` and `docs/format.md` section 3. It holds no personal data:
//! commitments hide what they commit to, tags are keyed hashes.

use crate::base::event::{EventCode, Outcome, Severity, vocabulary};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use crate::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use std::sync::Arc;

vocabulary! {
    /// What an entry is. The vault's own acts are entries of the same log.
    Kind {
        Event = 0, "event";
        EraseIntent = 1, "erase-intent";
        EraseDone = 2, "erase-done";
        EraseFinal = 3, "erase-final";
        PruneIntent = 4, "prune-intent";
        PruneDone = 5, "prune-done";
        Seal = 6, "seal";
        DaySeal = 7, "day-seal";
        KeyRoll = 8, "key-roll";
        HoldSet = 9, "hold-set";
        HoldRelease = 10, "hold-release";
        Disclose = 11, "disclose";
        Config = 12, "config";
        Scan = 13, "scan";
        Genesis = 14, "genesis";
        Conflict = 15, "conflict";
    }
}

vocabulary! {
    /// Whose keys open a group.
    GroupPolicy {
        Tenant = 0, "tenant";
        AnySubject = 1, "any-subject";
    }
}

/// A sealed group as the entry shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupHead {
    /// Whose keys.
    pub policy: GroupPolicy,
    /// Retention class of the group.
    pub class: ClassId,
    /// Day it was sealed: expiry counts from this day's end.
    pub bucket: Day,
    /// Positions in `Head::tags`, ascending; empty exactly for `GroupPolicy::Tenant`.
    pub tags: Vec<u8>,
}

/// A sealed field as the entry shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldHead {
    /// Registry name.
    pub name: Arc<str>,
    /// Position in `Head::groups`.
    pub group: u8,
    /// Salted commitment to the value.
    pub commitment: Hash32,
}

/// The part of an entry that is known before it has a place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Retention class of the record.
    pub class: ClassId,
    /// Time the source claims; 0 = none.
    pub time: UtcNanos,
    /// Whose log.
    pub tenant: TenantId,
    /// Random name.
    pub record: RecordId,
    /// Keyed hash of the event id; zero = none.
    pub event_id: EventIdTag,
    /// Which source; zero for the vault's own acts.
    pub source: SourceHandle,
    /// The source's own number.
    pub source_seq: Option<u64>,
    /// What happened.
    pub code: EventCode,
    /// How it ended.
    pub outcome: Outcome,
    /// How grave.
    pub severity: Severity,
    /// Subject tags, ascending, unique.
    pub tags: Vec<SubjectTag>,
    /// Sealed groups.
    pub groups: Vec<GroupHead>,
    /// Sealed fields, ascending by name, unique.
    pub fields: Vec<FieldHead>,
    /// RFC 8785 JSON object; empty = none.
    pub clear: Vec<u8>,
}

/// An entry with its place: the leaf of the tree is SHA-256(0x00 || its bytes).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What was known before sequencing.
    pub head: Head,
    /// Place in the log; equals the leaf index.
    pub index: EntryIndex,
    /// The vault's clock; never below the previous entry's.
    pub time_log: UtcNanos,
    /// Leaf hash of the previous entry; zero at index 0: the hash chain.
    pub prev: Hash32,
}
