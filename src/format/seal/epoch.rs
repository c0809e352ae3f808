//! The tables of one epoch while it grows, and when it is whole. Layouts: `format/seal`.
//!
//! Observing an entry costs three map look-ups and a few pushes; sorting and hashing wait for
//! `tables`, which belongs on a background thread. Positions are kept as the low 16 bits of the
//! entry index: an epoch has exactly 2^16 entries. It never reads a body and needs no key.

use crate::base::entry::{Entry, GroupHead, Kind};
use crate::base::id::{Hash32, SourceHandle};
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, UtcNanos};
use crate::format::outline::Outline;
use crate::format::seal::payload::SealPayload;
use crate::format::seal::row::{INDEX_ROW_BYTES, IndexKey, RowKind, class_day_bytes, front};
use crate::format::seal::table::{INDEX_LEAF_ROWS, Table};
use std::collections::BTreeMap;
use std::fmt;

/// Why an entry cannot be observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochError {
    /// It is not the next one.
    OutOfOrder {
        /// The index the tables need next.
        expected: EntryIndex,
        /// The index of the entry.
        found: EntryIndex,
    },
    /// The epoch is whole; the entry belongs to the next.
    Full,
}

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EpochError::OutOfOrder { expected, found } => {
                write!(f, "entry {found} where entry {expected} must come")
            }
            EpochError::Full => f.write_str("the epoch is whole"),
        }
    }
}

impl std::error::Error for EpochError {}

/// A row of the count table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountRow {
    /// Stored number of the event code.
    pub code: u16,
    /// Stored byte of the outcome.
    pub outcome: u8,
    /// Retention class of the record.
    pub class: ClassId,
    /// Stored byte of the entry kind.
    pub kind: u8,
    /// Entries.
    pub count: u64,
}

/// A row of the source table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceRow {
    /// The source; zero for the vault's own acts.
    pub source: SourceHandle,
    /// Entries.
    pub count: u64,
    /// Entries of kind event with a source sequence.
    pub numbered: u64,
    /// Least sequence, 0 if none.
    pub low: u64,
    /// Greatest sequence, 0 if none.
    pub high: u64,
    /// Every number from `low` to `high` occurs exactly once.
    pub gapless: bool,
}

/// A row of the class table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassRow {
    /// Class and bucket.
    pub class_day: ClassDay,
    /// Groups sealed under it.
    pub groups: u64,
}

/// The four tables of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Entries by code, outcome, class and kind.
    pub count: Table,
    /// Entries by source.
    pub source: Table,
    /// Groups by class and bucket.
    pub class: Table,
    /// Index rows.
    pub index: Table,
}

/// A key of 16 bytes and the entry that has it.
#[derive(Clone, Copy, Debug)]
struct Posting {
    key: [u8; 16],
    at: u16,
}

#[derive(Clone, Default, Debug)]
struct SourceState {
    at: Vec<u16>,
    /// Sequences of its events in order of arrival.
    numbers: Vec<u64>,
}

#[derive(Clone, Default, Debug)]
struct ClassState {
    at: Vec<u16>,
    groups: u64,
}

/// What the entries of one epoch say, growing entry by entry.
#[derive(Clone, Debug)]
pub struct EpochTables {
    first: EntryIndex,
    entries: u64,
    t_first: UtcNanos,
    t_last: UtcNanos,
    /// By code u16, outcome u8, class u16, kind u8.
    counts: BTreeMap<[u8; 6], Vec<u16>>,
    sources: BTreeMap<SourceHandle, SourceState>,
    /// By class u16, bucket u32.
    classes: BTreeMap<[u8; 6], ClassState>,
    subjects: Vec<Posting>,
    event_ids: Vec<Posting>,
    positions: Vec<Posting>,
    records: Vec<Posting>,
}

impl EpochTables {
    /// Empty tables of epoch number `epoch`.
    pub fn new(epoch: u64) -> Self {
        EpochTables {
            first: EntryIndex(epoch.saturating_mul(EPOCH_ENTRIES)),
            entries: 0,
            t_first: UtcNanos::default(),
            t_last: UtcNanos::default(),
            counts: BTreeMap::new(),
            sources: BTreeMap::new(),
            classes: BTreeMap::new(),
            subjects: Vec::new(),
            event_ids: Vec::new(),
            positions: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Tables of epoch number `epoch` from its entries, in order; may end before the epoch does.
    pub fn build<'a>(
        epoch: u64,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Self, EpochError> {
        let mut tables = EpochTables::new(epoch);
        entries.into_iter().try_for_each(|entry| tables.observe(entry))?;
        Ok(tables)
    }

    /// Number of the epoch.
    pub fn epoch(&self) -> u64 {
        self.first.0 / EPOCH_ENTRIES
    }

    /// Index of the epoch's first entry.
    pub fn first(&self) -> EntryIndex {
        self.first
    }

    /// Index of the entry that must come next.
    pub fn end(&self) -> EntryIndex {
        EntryIndex(self.first.0.saturating_add(self.entries))
    }

    /// Whether every entry of the epoch was observed.
    pub fn is_whole(&self) -> bool {
        self.entries == EPOCH_ENTRIES
    }

    /// Takes the next entry in.
    pub fn observe(&mut self, entry: &Entry) -> Result<(), EpochError> {
        let head = &entry.head;
        let groups = head.groups.iter().map(|g| ClassDay { class: g.class, day: g.bucket });
        self.observe_outline(&Outline::from(entry), groups, head.tags.iter().map(|tag| tag.0))
    }

    /// Takes the next entry in, from its parts.
    pub fn observe_outline(
        &mut self,
        entry: &Outline,
        groups: impl Iterator<Item = ClassDay>,
        tags: impl Iterator<Item = [u8; 16]>,
    ) -> Result<(), EpochError> {
        if self.is_whole() {
            return Err(EpochError::Full);
        }
        if entry.index != self.end() {
            return Err(EpochError::OutOfOrder { expected: self.end(), found: entry.index });
        }
        let at = low_bits(entry.index);
        if self.entries == 0 {
            self.t_first = entry.time_log;
        }
        self.t_last = entry.time_log;
        self.counts.entry(count_key(entry)).or_default().push(at);
        let source = self.sources.entry(entry.source).or_default();
        source.at.push(at);
        if let Some(number) = entry.source_seq {
            if entry.kind == Kind::Event {
                source.numbers.push(number);
            }
            let key = IndexKey::position(entry.source, number).key;
            self.positions.push(Posting { key, at });
        }
        for class_day in groups {
            let class = self.classes.entry(class_day_bytes(class_day)).or_default();
            class.groups += 1;
            if class.at.last() != Some(&at) {
                class.at.push(at);
            }
        }
        self.subjects.extend(tags.map(|key| Posting { key, at }));
        if !entry.event_id.is_zero() {
            self.event_ids.push(Posting { key: entry.event_id.0, at });
        }
        self.records.push(Posting { key: entry.record.0, at });
        self.entries += 1;
        Ok(())
    }

    /// Rows of the count table, in order.
    pub fn counts(&self) -> impl Iterator<Item = CountRow> + '_ {
        self.counts.iter().map(|(&[a, b, outcome, c, d, kind], at)| CountRow {
            code: u16::from_be_bytes([a, b]),
            outcome,
            class: ClassId(u16::from_be_bytes([c, d])),
            kind,
            count: at.len() as u64,
        })
    }

    /// Rows of the source table, in order.
    pub fn sources(&self) -> impl Iterator<Item = SourceRow> + '_ {
        self.sources.iter().map(|(source, state)| source_row(*source, state))
    }

    /// Rows of the class table, in order.
    pub fn classes(&self) -> impl Iterator<Item = ClassRow> + '_ {
        self.classes.iter().map(|(&[a, b, c, d, e, f], state)| {
            let class = ClassId(u16::from_be_bytes([a, b]));
            let day = Day(u32::from_be_bytes([c, d, e, f]));
            ClassRow { class_day: ClassDay { class, day }, groups: state.groups }
        })
    }

    /// Entries observed so far that have `key`, ascending. Reads every row of the key's kind when
    /// keys of that kind are many (subjects, records, ids, positions): up to 65,536 comparisons.
    pub fn find(&self, key: &IndexKey) -> Vec<EntryIndex> {
        let at = match key.kind {
            RowKind::Subject => matching(&self.subjects, key),
            RowKind::EventId => matching(&self.event_ids, key),
            RowKind::Position => matching(&self.positions, key),
            RowKind::Record => matching(&self.records, key),
            RowKind::Source => {
                self.sources.get(&SourceHandle(key.key)).map(|s| s.at.clone()).unwrap_or_default()
            }
            RowKind::ClassDay => {
                let found = self.classes.iter().find(|(k, _)| front(**k) == key.key);
                found.map(|(_, state)| state.at.clone()).unwrap_or_default()
            }
            kind @ (RowKind::Code | RowKind::Outcome | RowKind::Act) => {
                self.by_count_key(kind).remove(&key.key).unwrap_or_default()
            }
        };
        at.into_iter().map(|at| self.index_of(at)).collect()
    }

    /// The four tables. Sorts and copies: about 14 MB for a busy epoch.
    pub fn tables(&self) -> Tables {
        let mut count = Table::new::<14>(1);
        for (key, at) in &self.counts {
            count.push(&join::<14>(&[key, &(at.len() as u64).to_be_bytes()]));
        }
        let mut source = Table::new::<49>(1);
        for row in self.sources() {
            source.push(&join::<49>(&[
                &row.source.0,
                &row.count.to_be_bytes(),
                &row.numbered.to_be_bytes(),
                &row.low.to_be_bytes(),
                &row.high.to_be_bytes(),
                &[u8::from(row.gapless)],
            ]));
        }
        let mut class = Table::new::<14>(1);
        for (key, state) in &self.classes {
            class.push(&join::<14>(&[key, &state.groups.to_be_bytes()]));
        }
        Tables { count, source, class, index: self.index_table() }
    }

    /// What the seal of this epoch says; `root` is the RFC 6962 root of its leaf hashes. Nothing
    /// before the epoch is whole.
    pub fn payload(&self, tables: &Tables, root: Hash32) -> Option<SealPayload> {
        self.is_whole().then(|| SealPayload {
            first: self.first,
            end: self.end(),
            t_first: self.t_first,
            t_last: self.t_last,
            root,
            count_rows: tables.count.len() as u64,
            count_root: tables.count.root(),
            source_rows: tables.source.len() as u64,
            source_root: tables.source.root(),
            class_rows: tables.class.len() as u64,
            class_root: tables.class.root(),
            index_rows: tables.index.len() as u64,
            index_root: tables.index.root(),
        })
    }

    /// The index table alone: what a store needs to rebuild.
    pub fn index_table(&self) -> Table {
        let mut table = Table::new::<INDEX_ROW_BYTES>(INDEX_LEAF_ROWS);
        table.reserve(self.entries as usize * 9);
        for kind in RowKind::ALL.iter().copied() {
            match kind {
                RowKind::Subject => self.push_sorted(&mut table, kind, &self.subjects),
                RowKind::EventId => self.push_sorted(&mut table, kind, &self.event_ids),
                RowKind::Position => self.push_sorted(&mut table, kind, &self.positions),
                RowKind::Record => self.push_sorted(&mut table, kind, &self.records),
                RowKind::Source => {
                    for (source, state) in &self.sources {
                        self.push_all(&mut table, kind, source.0, &state.at);
                    }
                }
                RowKind::ClassDay => {
                    for (key, state) in &self.classes {
                        self.push_all(&mut table, kind, front(*key), &state.at);
                    }
                }
                RowKind::Code | RowKind::Outcome | RowKind::Act => {
                    for (key, at) in self.by_count_key(kind) {
                        self.push_all(&mut table, kind, key, &at);
                    }
                }
            }
        }
        table
    }

    /// Regroups the count table's postings by one of its columns.
    fn by_count_key(&self, kind: RowKind) -> BTreeMap<[u8; 16], Vec<u16>> {
        let mut groups: BTreeMap<[u8; 16], Vec<u16>> = BTreeMap::new();
        for (&[a, b, outcome, _, _, act], at) in &self.counts {
            let key = match kind {
                RowKind::Code => front([a, b]),
                RowKind::Outcome => front([outcome]),
                _ if act == Kind::Event.value() => continue,
                _ => front([act]),
            };
            groups.entry(key).or_default().extend(at);
        }
        // Each posting list is ascending, so this merges a few runs.
        groups.values_mut().for_each(|at| at.sort());
        groups
    }

    fn push_sorted(&self, table: &mut Table, kind: RowKind, postings: &[Posting]) {
        let mut sorted: Vec<(u128, u16)> =
            postings.iter().map(|p| (u128::from_be_bytes(p.key), p.at)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        for (key, at) in sorted {
            table.push(&IndexKey { kind, key: key.to_be_bytes() }.row(self.index_of(at)));
        }
    }

    fn push_all(&self, table: &mut Table, kind: RowKind, key: [u8; 16], at: &[u16]) {
        let key = IndexKey { kind, key };
        at.iter().for_each(|at| table.push(&key.row(self.index_of(*at))));
    }

    fn index_of(&self, at: u16) -> EntryIndex {
        EntryIndex(self.first.0 | u64::from(at))
    }
}

/// Whether an entry really has `key`. Every hit is checked so: the index is derived, and keys of
/// kind 7 are shortened.
pub fn entry_has(entry: &Entry, key: &IndexKey) -> bool {
    keys_of(entry, key.kind).contains(&key.key)
}

/// The keys of one kind that an entry has: those of its index rows.
pub fn keys_of(entry: &Entry, kind: RowKind) -> Vec<[u8; 16]> {
    let head = &entry.head;
    match kind {
        RowKind::Subject => head.tags.iter().map(|tag| tag.0).collect(),
        RowKind::Code => vec![IndexKey::code(head.code).key],
        RowKind::Source => vec![head.source.0],
        RowKind::ClassDay => {
            let of = |g: &GroupHead| ClassDay { class: g.class, day: g.bucket };
            let mut keys: Vec<[u8; 16]> =
                head.groups.iter().map(|g| IndexKey::class_day(of(g)).key).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        }
        RowKind::EventId if head.event_id.is_zero() => Vec::new(),
        RowKind::EventId => vec![head.event_id.0],
        RowKind::Outcome => vec![IndexKey::outcome(head.outcome).key],
        RowKind::Position => {
            let key = |seq| IndexKey::position(head.source, seq).key;
            head.source_seq.map(key).into_iter().collect()
        }
        RowKind::Record => vec![head.record.0],
        RowKind::Act if head.kind == Kind::Event => Vec::new(),
        RowKind::Act => vec![IndexKey::act(head.kind).key],
    }
}

fn matching(postings: &[Posting], key: &IndexKey) -> Vec<u16> {
    let mut at: Vec<u16> = postings.iter().filter(|p| p.key == key.key).map(|p| p.at).collect();
    at.dedup();
    at
}

fn source_row(source: SourceHandle, state: &SourceState) -> SourceRow {
    let numbered = state.numbers.len() as u64;
    let low = state.numbers.iter().min().copied().unwrap_or(0);
    let high = state.numbers.iter().max().copied().unwrap_or(0);
    let gapless = numbered > 0 && high - low == numbered - 1 && {
        let mut numbers = state.numbers.clone();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len() as u64 == numbered
    };
    SourceRow { source, count: state.at.len() as u64, numbered, low, high, gapless }
}

fn count_key(entry: &Outline) -> [u8; 6] {
    let [a, b] = entry.code.value().to_be_bytes();
    let [c, d] = entry.class.0.to_be_bytes();
    [a, b, entry.outcome.value(), c, d, entry.kind.value()]
}

fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut row = [0; N];
    row.iter_mut().zip(parts.iter().flat_map(|p| p.iter())).for_each(|(to, from)| *to = *from);
    row
}

fn low_bits(index: EntryIndex) -> u16 {
    (index.0 % EPOCH_ENTRIES) as u16
}
