//! The index against a naive scan, its fence around sled, and seals against their definition.

use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{Category, EventCode, Outcome, Severity, Verb};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use chancery::base::limits::EPOCH_ENTRIES;
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize, UtcNanos};
use chancery::format::seal::epoch::{EpochError, EpochTables, entry_has};
use chancery::format::seal::payload::SealPayload;
use chancery::format::seal::row::{IndexKey, RowKind};
use chancery::format::seal::table::RootOf;
use chancery::store::disk::OsDisk;
use chancery::store::error::ErrorKind;
use chancery::store::index::{Index, IndexMark};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use tempfile::TempDir;

/// SplitMix64: the same entries for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn bytes16(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        bytes
    }
}

/// An entry with few distinct values, so that keys meet.
fn entry(index: u64, random: &mut Random) -> Entry {
    let own = random.below(50) == 0;
    let source = if own { SourceHandle::ZERO } else { SourceHandle([random.below(5) as u8; 16]) };
    let kinds = [Kind::EraseDone, Kind::Config, Kind::Conflict];
    let mut tags: Vec<SubjectTag> =
        (0..random.below(3)).map(|_| SubjectTag([random.below(200) as u8; 16])).collect();
    tags.sort();
    tags.dedup();
    let group = |random: &mut Random| GroupHead {
        policy: GroupPolicy::Tenant,
        class: ClassId(random.below(3) as u16),
        bucket: Day(20_000 + random.below(2) as u32),
        tags: Vec::new(),
    };
    let head = Head {
        kind: if own { kinds[random.below(3) as usize] } else { Kind::Event },
        class: ClassId(random.below(3) as u16),
        time: UtcNanos(0),
        tenant: TenantId([7; 16]),
        record: RecordId(random.bytes16()),
        event_id: EventIdTag(if random.below(2) == 0 { [0; 16] } else { random.bytes16() }),
        source,
        source_seq: (random.below(3) != 0).then_some(index / 2),
        code: EventCode {
            category: Category::ALL[random.below(4) as usize],
            verb: Verb::ALL[random.below(3) as usize],
        },
        outcome: Outcome::ALL[random.below(3) as usize],
        severity: Severity::default(),
        tags,
        groups: (0..random.below(3)).map(|_| group(random)).collect(),
        fields: Vec::<FieldHead>::new(),
        clear: Vec::new(),
    };
    let time_log = UtcNanos(1_795_000_000_000_000_000 + index);
    Entry { head, index: EntryIndex(index), time_log, prev: Hash32([0; 32]) }
}

fn entries(seed: u64, range: Range<u64>) -> Vec<Entry> {
    let mut random = Random(seed);
    range.map(|index| entry(index, &mut random)).collect()
}

/// Keys that some entry has, and some that none has.
fn keys(entries: &[Entry], random: &mut Random) -> Vec<IndexKey> {
    let mut keys = vec![
        IndexKey::record(RecordId([1; 16])),
        IndexKey::subject(SubjectTag([255; 16])),
        IndexKey::act(Kind::Event),
        IndexKey::source(SourceHandle::ZERO),
    ];
    for _ in 0..4 {
        let head = &entries[random.below(entries.len() as u64) as usize].head;
        keys.extend([
            IndexKey::code(head.code),
            IndexKey::outcome(head.outcome),
            IndexKey::source(head.source),
            IndexKey::event_id(head.event_id),
            IndexKey::record(head.record),
            IndexKey::act(head.kind),
        ]);
        keys.extend(head.tags.iter().map(|tag| IndexKey::subject(*tag)));
        keys.extend(head.source_seq.map(|seq| IndexKey::position(head.source, seq)));
        let class_day = |g: &GroupHead| ClassDay { class: g.class, day: g.bucket };
        keys.extend(head.groups.iter().map(|g| IndexKey::class_day(class_day(g))));
    }
    keys
}

fn naive(entries: &[Entry], key: &IndexKey, range: &Range<EntryIndex>) -> Vec<EntryIndex> {
    let hits = entries.iter().filter(|e| range.contains(&e.index) && entry_has(e, key));
    hits.map(|e| e.index).collect()
}

fn scan(
    index: &Index,
    key: &IndexKey,
    range: &Range<EntryIndex>,
) -> (Vec<EntryIndex>, Option<ErrorKind>) {
    let mut hits = Vec::new();
    let outcome = index.scan(key, range.clone(), &mut |hit| {
        hits.push(hit);
        ControlFlow::Continue(())
    });
    (hits, outcome.err().map(|e| e.kind))
}

/// A stand-in for the log's root: any function of the entries will do here.
fn root_of(entries: &[Entry]) -> Hash32 {
    let mut roots = RootOf::default();
    entries.iter().for_each(|entry| roots.push(&entry.head.record.0));
    roots.finish()
}

/// Feeds entries and writes each epoch as soon as it is whole.
fn feed(index: &mut Index, log: &[Entry], from: u64) {
    for entry in &log[from as usize..] {
        if let Some(tables) = index.observe(entry).unwrap() {
            put(index, &tables, log);
        }
    }
}

fn put(index: &Index, tables: &EpochTables, log: &[Entry]) {
    let size = tables.end().0;
    let mark = IndexMark { size: TreeSize(size), root: root_of(&log[..size as usize]) };
    index.writer().put_epoch(tables.epoch(), &tables.index_table(), mark).unwrap();
}

fn open(dir: &Path, log: &[Entry]) -> Index {
    let size = TreeSize(log.len() as u64);
    Index::open(&OsDisk, dir, size, |at| log.get(..at.0 as usize).map(root_of)).unwrap()
}

/// Rebuilds what is missing from the log, as a vault does in the background.
fn rebuild(index: &mut Index, log: &[Entry]) {
    for epoch in index.epochs()..log.len() as u64 / EPOCH_ENTRIES {
        let first = (epoch * EPOCH_ENTRIES) as usize;
        let tables = EpochTables::build(epoch, &log[first..first + EPOCH_ENTRIES as usize]);
        put(index, &tables.unwrap(), log);
    }
    let tail = index.tail_from().0;
    feed(index, log, tail);
}

fn assert_answers(index: &Index, log: &[Entry], random: &mut Random) {
    let seed = random.0;
    let size = log.len() as u64;
    assert!(index.gap().is_empty());
    for key in keys(log, random) {
        let (a, b) = (random.below(size + 1), random.below(size + 1));
        for range in [0..size, a.min(b)..a.max(b), EPOCH_ENTRIES - 2..EPOCH_ENTRIES + 2] {
            let range = EntryIndex(range.start)..EntryIndex(range.end);
            let expected = (naive(log, &key, &range), None);
            assert_eq!(scan(index, &key, &range), expected, "seed {seed}, {key:?} in {range:?}");
        }
    }
}

/// A failure prints its input; nothing is written beside the sources.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tables_hold_exactly_the_rows_of_the_entries(seed in any::<u64>(), n in 0_u64..300) {
        let log = entries(seed, EPOCH_ENTRIES..EPOCH_ENTRIES + n);
        let tables = EpochTables::build(1, &log).unwrap();
        let mut rows = BTreeSet::new();
        let mut counts = BTreeMap::new();
        let mut groups = BTreeMap::new();
        for entry in &log {
            let head = &entry.head;
            let mut keys = vec![
                IndexKey::code(head.code),
                IndexKey::source(head.source),
                IndexKey::outcome(head.outcome),
                IndexKey::record(head.record),
            ];
            keys.extend(head.tags.iter().map(|tag| IndexKey::subject(*tag)));
            if head.event_id != EventIdTag::ZERO {
                keys.push(IndexKey::event_id(head.event_id));
            }
            if head.kind != Kind::Event {
                keys.push(IndexKey::act(head.kind));
            }
            keys.extend(head.source_seq.map(|seq| IndexKey::position(head.source, seq)));
            for g in &head.groups {
                let class_day = ClassDay { class: g.class, day: g.bucket };
                keys.push(IndexKey::class_day(class_day));
                *groups.entry(class_day).or_insert(0_u64) += 1;
            }
            rows.extend(keys.iter().map(|key| key.row(entry.index)));
            let key = (head.code.value(), head.outcome.value(), head.class, head.kind.value());
            *counts.entry(key).or_insert(0_u64) += 1;
        }
        let derived = tables.tables();
        let found: Vec<Vec<u8>> = derived.index.rows().map(<[u8]>::to_vec).collect();
        let expected: Vec<Vec<u8>> = rows.iter().map(|row| row.to_vec()).collect();
        prop_assert_eq!(found, expected);
        let found: Vec<_> =
            tables.counts().map(|r| ((r.code, r.outcome, r.class, r.kind), r.count)).collect();
        prop_assert_eq!(found, counts.into_iter().collect::<Vec<_>>());
        let found: Vec<_> = tables.classes().map(|r| (r.class_day, r.groups)).collect();
        prop_assert_eq!(found, groups.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(tables.sources().map(|r| r.count).sum::<u64>(), n);
        for key in log.first().map(|_| keys(&log, &mut Random(seed))).unwrap_or_default() {
            let all = EntryIndex(0)..EntryIndex(u64::MAX);
            prop_assert_eq!(tables.find(&key), naive(&log, &key, &all), "{:?}", key);
        }
    }

    #[test]
    fn gapless_means_every_number_once(numbers in proptest::collection::vec(0_u64..12, 0..12)) {
        let mut log = entries(1, 0..numbers.len() as u64);
        for (entry, number) in log.iter_mut().zip(&numbers) {
            entry.head.kind = Kind::Event;
            entry.head.source = SourceHandle([9; 16]);
            entry.head.source_seq = Some(*number);
        }
        let tables = EpochTables::build(0, &log).unwrap();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let expected = sorted.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        for row in tables.sources() {
            prop_assert_eq!(row.gapless, expected, "{:?}", numbers);
            prop_assert_eq!((Some(&row.low), Some(&row.high)), (sorted.first(), sorted.last()));
        }
    }
}

#[test]
fn entries_come_in_order_and_an_epoch_ends() {
    let log = entries(5, 0..3);
    let skipped = EpochTables::build(0, [&log[0], &log[2]]).unwrap_err();
    assert_eq!(skipped, EpochError::OutOfOrder { expected: EntryIndex(1), found: EntryIndex(2) });
    let whole = entries(5, 0..EPOCH_ENTRIES + 1);
    assert_eq!(EpochTables::build(0, &whole).unwrap_err(), EpochError::Full);
}

#[test]
fn a_seal_replays_from_the_entries_and_a_lie_is_named() {
    let mut log = entries(11, 0..EPOCH_ENTRIES);
    let seal = |log: &[Entry]| {
        let tables = EpochTables::build(0, log).unwrap();
        tables.payload(&tables.tables(), root_of(log)).unwrap()
    };
    let honest = seal(&log);
    assert_eq!(SealPayload::decode(&honest.encode()), Ok(honest));
    assert_eq!(honest.check(&seal(&log)), Ok(()));
    let short = EpochTables::build(0, &log[1..1]).unwrap();
    assert_eq!(short.payload(&short.tables(), root_of(&[])), None);
    log[40_000].head.tags.push(SubjectTag([254; 16]));
    assert_eq!(honest.check(&seal(&log)).unwrap_err().member, "index_rows");
    let event = log.iter().position(|e| e.head.kind == Kind::Event).unwrap();
    log[event].head.class = ClassId(77);
    assert_eq!(honest.check(&seal(&log)).unwrap_err().member, "count_rows");
}

#[test]
fn sled_and_memory_answer_as_a_naive_scan_does() {
    for seed in [1, 2] {
        let log = entries(seed, 0..2 * EPOCH_ENTRIES + 1_000);
        let dir = TempDir::new().unwrap();
        let mut random = Random(seed);
        let mut memory = Index::memory(TreeSize(0));
        feed(&mut memory, &log, 0);
        assert_answers(&memory, &log, &mut random);
        let mut index = open(&dir.path().join("index"), &[]);
        feed(&mut index, &log, 0);
        assert_eq!(index.epochs(), 2);
        assert_answers(&index, &log, &mut random);
        drop(index);
        let mut index = open(&dir.path().join("index"), &log);
        assert_eq!((index.epochs(), index.tail_from().0), (2, 2 * EPOCH_ENTRIES));
        rebuild(&mut index, &log);
        assert_answers(&index, &log, &mut random);
        for epoch in 0..2 {
            let first = (epoch * EPOCH_ENTRIES) as usize;
            let part = &log[first..first + EPOCH_ENTRIES as usize];
            let tables = EpochTables::build(epoch, part).unwrap();
            assert_eq!(index.epoch_root(epoch).unwrap(), tables.index_table().root());
        }
    }
}

#[test]
fn whole_epochs_answer_before_they_are_written() {
    let log = entries(3, 0..EPOCH_ENTRIES + 10);
    let mut index = Index::memory(TreeSize(0));
    let mut whole = None;
    for entry in &log {
        whole = index.observe(entry).unwrap().or(whole);
    }
    assert_eq!(index.epochs(), 0);
    assert_answers(&index, &log, &mut Random(3));
    let tables = whole.unwrap();
    assert_eq!(index.waiting(0).map(|t| t.end()), Some(tables.end()));
    let mark = IndexMark { size: TreeSize(EPOCH_ENTRIES), root: Hash32([1; 32]) };
    let writer = index.writer();
    assert!(writer.put_epoch(1, &tables.index_table(), mark).is_err());
    writer.put_epoch(0, &tables.index_table(), mark).unwrap();
    assert!(writer.put_epoch(0, &tables.index_table(), mark).is_err());
    assert_answers(&index, &log, &mut Random(4));
    index.clear().unwrap();
    assert_eq!(index.epochs(), 0);
    assert_answers(&index, &log, &mut Random(5));
}

#[test]
fn a_scan_stops_when_told() {
    let log = entries(6, 0..EPOCH_ENTRIES + 100);
    let mut index = Index::memory(TreeSize(0));
    feed(&mut index, &log, 0);
    let mut hits = 0;
    let all = EntryIndex(0)..EntryIndex(log.len() as u64);
    let key = IndexKey::outcome(log[0].head.outcome);
    let outcome = index.scan(&key, all, &mut |_| {
        hits += 1;
        if hits == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(outcome.is_ok());
    assert_eq!(hits, 3);
}

#[test]
fn an_index_of_another_or_longer_log_is_wiped() {
    let dir = TempDir::new().unwrap();
    let log = entries(21, 0..EPOCH_ENTRIES + 5);
    let mut index = open(dir.path(), &[]);
    feed(&mut index, &log, 0);
    drop(index);
    let kept = open(dir.path(), &log);
    assert_eq!(kept.epochs(), 1);
    drop(kept);
    let other = entries(22, 0..EPOCH_ENTRIES + 5);
    let mut index = open(dir.path(), &other);
    assert_eq!((index.epochs(), index.gap()), (0, EntryIndex(0)..EntryIndex(EPOCH_ENTRIES)));
    rebuild(&mut index, &other);
    assert_answers(&index, &other, &mut Random(22));
    drop(index);
    let shorter = &other[..EPOCH_ENTRIES as usize - 1];
    let mut index = open(dir.path(), shorter);
    assert_eq!(index.epochs(), 0);
    rebuild(&mut index, shorter);
    assert!(
        scan(&index, &IndexKey::act(Kind::Config), &(EntryIndex(0)..EntryIndex(9))).1.is_none()
    );
}

#[test]
fn the_directory_is_locked_while_open() {
    let dir = TempDir::new().unwrap();
    let held = open(dir.path(), &[]);
    let second = Index::open(&OsDisk, dir.path(), TreeSize(0), |_| None);
    assert_eq!(second.err().map(|e| e.kind), Some(ErrorKind::Locked));
    drop(held);
}

/// Files below `dir` with their bytes.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for listed in std::fs::read_dir(dir).unwrap() {
        let path = listed.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// Opens a damaged directory: hits must be true, and complete when no gap and no error is told.
fn assert_harmless(dir: &Path, log: &[Entry], what: &str) {
    let index = open(dir, log);
    let covered = index.epochs() * EPOCH_ENTRIES;
    let range = EntryIndex(0)..EntryIndex(covered);
    for key in keys(log, &mut Random(covered)) {
        let (hits, error) = scan(&index, &key, &range);
        let truth = naive(log, &key, &range);
        match error {
            None if index.epochs() * EPOCH_ENTRIES == covered => assert_eq!(hits, truth, "{what}"),
            _ => {
                let truth: BTreeSet<_> = truth.into_iter().collect();
                assert!(hits.iter().all(|hit| truth.contains(hit)), "{what}");
                assert_eq!(index.epochs(), 0, "{what}");
            }
        }
    }
}

#[test]
fn damaged_sled_files_are_wiped_or_noticed_never_believed() {
    let seed = 31;
    let log = entries(seed, 0..EPOCH_ENTRIES);
    let home = TempDir::new().unwrap();
    let mut index = open(home.path(), &[]);
    feed(&mut index, &log, 0);
    drop(index);
    let good = files(home.path());
    let mut random = Random(seed);
    for (at, (path, bytes)) in good.iter().enumerate() {
        let len = bytes.len() as u64;
        for round in 0..if len > 4096 { 24 } else { 6 } {
            let dir = TempDir::new().unwrap();
            for (other, (path, bytes)) in good.iter().enumerate() {
                let to = dir.path().join(path.strip_prefix(home.path()).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                let mut bytes = bytes.clone();
                if other == at {
                    damage(&mut bytes, round, &mut random);
                }
                std::fs::write(to, bytes).unwrap();
            }
            assert_harmless(
                dir.path(),
                &log,
                &format!("seed {seed}, {}, round {round}", path.display()),
            );
        }
    }
}

fn damage(bytes: &mut Vec<u8>, round: u64, random: &mut Random) {
    let len = bytes.len() as u64;
    if len == 0 {
        return bytes.extend_from_slice(&[0xa5; 40]);
    }
    let at = random.below(len) as usize;
    let end = (at + 1 + random.below(4096) as usize).min(bytes.len());
    match round % 4 {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..end].fill(0),
        2 => bytes.truncate(at),
        _ => bytes[at..end].iter_mut().for_each(|b| *b = random.next() as u8),
    }
}

#[test]
fn a_deleted_or_stale_directory_is_rebuilt_equal_to_a_fresh_one() {
    let log = entries(41, 0..2 * EPOCH_ENTRIES + 7);
    let dir = TempDir::new().unwrap();
    let first = EPOCH_ENTRIES as usize + 3;
    let mut index = open(dir.path(), &[]);
    feed(&mut index, &log[..first], 0);
    drop(index);
    let mut stale = open(dir.path(), &log);
    assert_eq!(stale.epochs(), 1);
    assert_eq!(stale.gap(), EntryIndex(EPOCH_ENTRIES)..EntryIndex(2 * EPOCH_ENTRIES));
    rebuild(&mut stale, &log);
    let fresh = TempDir::new().unwrap();
    let mut index = open(fresh.path(), &[]);
    feed(&mut index, &log, 0);
    assert_answers(&stale, &log, &mut Random(41));
    for epoch in 0..2 {
        assert_eq!(stale.epoch_root(epoch).unwrap(), index.epoch_root(epoch).unwrap());
    }
    drop(stale);
    std::fs::remove_dir_all(dir.path()).unwrap();
    let mut index = open(dir.path(), &log);
    assert_eq!(index.epochs(), 0);
    rebuild(&mut index, &log);
    assert_answers(&index, &log, &mut Random(42));
}

#[test]
fn every_kind_of_row_has_a_key() {
    let log = entries(51, 0..2_000);
    let kinds: BTreeSet<RowKind> = keys(&log, &mut Random(51)).iter().map(|k| k.kind).collect();
    assert_eq!(kinds.len(), RowKind::ALL.len());
}

/// sled's own threads let go of its lock a moment after the last handle is dropped.
fn unlocked(dir: &Path) -> sled::Db {
    loop {
        match sled::open(dir) {
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn a_chunk_that_sled_lost_is_noticed_and_the_next_open_wipes() {
    let log = entries(61, 0..EPOCH_ENTRIES);
    let dir = TempDir::new().unwrap();
    let mut index = open(dir.path(), &[]);
    feed(&mut index, &log, 0);
    drop(index);
    let db = unlocked(dir.path());
    let first_row = IndexKey::outcome(Outcome::ALL[0]).row(EntryIndex(0));
    let lost = [&0_u64.to_be_bytes()[..], &first_row].concat();
    let (name, _) = db.get_gt(lost).unwrap().unwrap();
    db.remove(name).unwrap();
    db.flush().unwrap();
    drop(db);
    let index = open(dir.path(), &log);
    assert_eq!(index.epochs(), 1);
    let all = EntryIndex(0)..EntryIndex(EPOCH_ENTRIES);
    let (_, error) = scan(&index, &IndexKey::outcome(Outcome::ALL[0]), &all);
    assert_eq!((error, index.epochs()), (Some(ErrorKind::Corrupt), 0));
    assert_eq!(index.gap(), all);
    drop(index);
    let mut index = open(dir.path(), &log);
    assert_eq!(index.epochs(), 0);
    rebuild(&mut index, &log);
    assert_eq!(index.epochs(), 1);
    assert_eq!(scan(&index, &IndexKey::act(Kind::Config), &all).1, None);
}
