//! Rows of the index table and the keys they are found by. Layouts: `format/seal`.
//! Keys are keyed hashes, random handles or closed vocabularies; none names a person.

use crate::base::entry::Kind;
use crate::base::event::{EventCode, Outcome, vocabulary};
use crate::base::id::{EventIdTag, RecordId, SourceHandle, SubjectTag};
use crate::base::unit::{ClassDay, EntryIndex};

/// Bytes of an index row.
pub const INDEX_ROW_BYTES: usize = 25;

vocabulary! {
    /// What an index row's key is.
    RowKind {
        Subject = 1, "subject";
        Code = 2, "code";
        Source = 3, "source";
        ClassDay = 4, "class-day";
        EventId = 5, "event-id";
        Outcome = 6, "outcome";
        Position = 7, "position";
        Record = 8, "record";
        Act = 9, "act";
    }
}

/// What is looked for: the first 17 bytes of an index row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IndexKey {
    /// What the key is.
    pub kind: RowKind,
    /// The key.
    pub key: [u8; 16],
}

impl IndexKey {
    /// Entries that carry a subject tag.
    pub fn subject(tag: SubjectTag) -> Self {
        IndexKey { kind: RowKind::Subject, key: tag.0 }
    }

    /// Entries of one event code.
    pub fn code(code: EventCode) -> Self {
        IndexKey { kind: RowKind::Code, key: front(code.value().to_be_bytes()) }
    }

    /// Entries of one source; the zero handle finds the vault's own acts.
    pub fn source(source: SourceHandle) -> Self {
        IndexKey { kind: RowKind::Source, key: source.0 }
    }

    /// Entries with a group of this class and bucket.
    pub fn class_day(class_day: ClassDay) -> Self {
        IndexKey { kind: RowKind::ClassDay, key: front(class_day_bytes(class_day)) }
    }

    /// Entries with an event id tag.
    pub fn event_id(tag: EventIdTag) -> Self {
        IndexKey { kind: RowKind::EventId, key: tag.0 }
    }

    /// Entries with an outcome.
    pub fn outcome(outcome: Outcome) -> Self {
        IndexKey { kind: RowKind::Outcome, key: front([outcome.value()]) }
    }

    /// The entry to which a source gave this number. Only half of the handle is in the key: a hit
    /// may, once in 2^64, be another source's.
    pub fn position(source: SourceHandle, source_seq: u64) -> Self {
        let key: [u8; 16] = front(source.0);
        let handle = u128::from_be_bytes(key) >> 64 << 64;
        let key = (handle | u128::from(source_seq)).to_be_bytes();
        IndexKey { kind: RowKind::Position, key }
    }

    /// The entry of a record.
    pub fn record(record: RecordId) -> Self {
        IndexKey { kind: RowKind::Record, key: record.0 }
    }

    /// Entries of one kind of vault act; for `Kind::Event` there are no rows.
    pub fn act(kind: Kind) -> Self {
        IndexKey { kind: RowKind::Act, key: front([kind.value()]) }
    }

    /// The row that says `index` has this key.
    pub fn row(&self, index: EntryIndex) -> [u8; INDEX_ROW_BYTES] {
        let mut row = [self.kind.value(); INDEX_ROW_BYTES];
        let (_, rest) = row.split_at_mut(1);
        let (key, place) = rest.split_at_mut(16);
        key.copy_from_slice(&self.key);
        place.copy_from_slice(&index.0.to_be_bytes());
        row
    }

    /// Splits a row; nothing for a length or a kind this version does not know.
    pub fn parse_row(row: &[u8]) -> Option<(Self, EntryIndex)> {
        let (kind, rest) = row.split_first()?;
        let (key, index) = rest.split_first_chunk::<16>()?;
        let index = u64::from_be_bytes(index.try_into().ok()?);
        Some((IndexKey { kind: RowKind::from_value(*kind)?, key: *key }, EntryIndex(index)))
    }
}

/// Class and bucket as they stand in rows.
pub(crate) fn class_day_bytes(class_day: ClassDay) -> [u8; 6] {
    let [a, b] = class_day.class.0.to_be_bytes();
    let [c, d, e, f] = class_day.day.0.to_be_bytes();
    [a, b, c, d, e, f]
}

/// `bytes` (at most 16), then zeros.
pub(crate) fn front<const N: usize>(bytes: [u8; N]) -> [u8; 16] {
    const { assert!(N <= 16) };
    let mut key = [0; 16];
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::unit::{ClassId, Day};

    #[test]
    fn rows_are_the_documented_bytes() {
        let key = IndexKey::position(SourceHandle([0xaa; 16]), 5);
        let row = crate::base::id::hex(&key.row(EntryIndex(258)));
        assert_eq!(row, "07aaaaaaaaaaaaaaaa00000000000000050000000000000102");
        let key = IndexKey::class_day(ClassDay { class: ClassId(2), day: Day(20_778) });
        let row = crate::base::id::hex(&key.row(EntryIndex(1)));
        assert_eq!(row, "0400020000512a000000000000000000000000000000000001");
    }

    #[test]
    fn rows_parse_back_and_others_are_refused() {
        let key = IndexKey::outcome(Outcome::Denied);
        let row = key.row(EntryIndex(u64::MAX));
        assert_eq!(IndexKey::parse_row(&row), Some((key, EntryIndex(u64::MAX))));
        assert_eq!(IndexKey::parse_row(row.split_at(24).0), None);
        assert_eq!(IndexKey::parse_row(&[0; INDEX_ROW_BYTES]), None);
    }
}
