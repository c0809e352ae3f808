//! Where units lie: a log of many small segments against a plain list of its units, from the
//! beginning and from every unit on; what does not fit is named.

use crate::support::sim::{Rng, SimDisk};
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::format::unit::{self, UnitHead};
use chancery::store::log::{Placed, Start, UnitLog};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "/sim/log";
const SEGMENT_BYTES: u64 = 2_000;

/// Appends a unit of `entries` entries and returns where it lies.
fn commit(log: &UnitLog, entries: u64, rng: &mut Rng) -> Arc<Placed> {
    let size = log.size().0;
    let mut bytes = Vec::new();
    for _ in 0..entries {
        let len = 1 + rng.below(90) as u16;
        bytes.extend(len.to_be_bytes());
        bytes.extend(std::iter::repeat_n(rng.next() as u8, usize::from(len)));
    }
    let mut head = UnitHead {
        len: 0,
        number: log.unit_count(),
        epoch: 0,
        prev: log.last().map_or(Hash32::ZERO, |u| u.hash),
        first: EntryIndex(size),
        end: TreeSize(size + entries),
        root: Hash32([7; 32]),
        state_before: None,
        spans: Vec::new(),
    };
    let (bytes, hash) = unit::encode(&mut head, &bytes, |_| [0; 64]);
    log.commit(head, hash, &bytes).unwrap();
    log.last().unwrap()
}

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    chancery::store::disk::Disk::create_dir(&disk, Path::new(DIR)).unwrap();
    disk
}

fn open(disk: &SimDisk) -> chancery::store::error::Result<UnitLog> {
    let opened = UnitLog::open(Arc::new(disk.clone()), Path::new(DIR), TreeSize(u64::MAX));
    opened.map(|(log, _)| log.closing_at(SEGMENT_BYTES))
}

fn start_at(log: &UnitLog, placed: &Placed) -> Start {
    let rows = log.segment_rows();
    let mut rows: Vec<_> = rows.into_iter().filter(|r| r.segment <= placed.segment).collect();
    rows.last_mut().unwrap().len = placed.offset + placed.head.len;
    Start { rows, number: placed.head.number, hash: placed.hash, offset: placed.offset }
}

fn resume(disk: &SimDisk, start: &Start) -> Option<UnitLog> {
    let disk = Arc::new(disk.clone());
    let found = UnitLog::resume(disk, Path::new(DIR), TreeSize(u64::MAX), start).unwrap();
    found.map(|(log, _)| log.closing_at(SEGMENT_BYTES))
}

/// Every unit by number and by every entry, in an order of the seed's.
fn agree(log: &UnitLog, units: &[Arc<Placed>], rng: &mut Rng) {
    assert_eq!(log.unit_count(), units.len() as u64);
    assert_eq!(log.last().as_ref(), units.last());
    for _ in 0..units.len() {
        let expect = &units[rng.below(units.len())];
        assert_eq!(log.unit(expect.head.number).unwrap().as_ref(), Some(expect));
        let within = rng.below((expect.head.end.0 - expect.head.first.0) as usize) as u64;
        let index = EntryIndex(expect.head.first.0 + within);
        assert_eq!(log.unit_of(index).unwrap().as_ref(), Some(expect));
    }
    assert_eq!(log.unit(units.len() as u64).unwrap(), None);
    assert_eq!(log.unit_of(EntryIndex(log.size().0)).unwrap(), None);
}

fn grown(disk: &SimDisk, rng: &mut Rng) -> (UnitLog, Vec<Arc<Placed>>) {
    let log = open(disk).unwrap();
    let mut units = Vec::new();
    for number in 0..120 {
        let entries = 1 + rng.below(6) as u64;
        units.push(commit(&log, entries, rng));
        if number % 7 == 0 {
            agree(&log, &units, rng);
        }
    }
    (log, units)
}

#[test]
fn every_unit_is_found_in_its_segment_from_wherever_the_log_was_opened() {
    for seed in 0..6 {
        println!("seed {seed}");
        let (disk, mut rng) = (disk(), Rng::new(seed));
        let (log, units) = grown(&disk, &mut rng);
        assert!(log.segment_rows().len() > 10, "segments: {}", log.segment_rows().len());
        agree(&log, &units, &mut rng);
        let again = open(&disk).unwrap();
        assert_eq!(again.segment_rows(), log.segment_rows());
        agree(&again, &units, &mut rng);
        for placed in &units {
            let resumed = resume(&disk, &start_at(&log, placed)).expect("the start is there");
            assert_eq!(resumed.segment_rows(), log.segment_rows());
            agree(&resumed, &units, &mut rng);
        }
        let resumed = resume(&disk, &start_at(&log, &units[60])).unwrap();
        let mut more = units.clone();
        for _ in 0..20 {
            more.push(commit(&resumed, 3, &mut rng));
        }
        agree(&resumed, &more, &mut rng);
        agree(&open(&disk).unwrap(), &more, &mut rng);
    }
}

#[test]
fn a_start_that_the_files_do_not_bear_out_is_not_taken() {
    let (disk, mut rng) = (disk(), Rng::new(9));
    let (log, units) = grown(&disk, &mut rng);
    let placed = &units[70];
    let start = start_at(&log, placed);
    let path = |segment: u32| PathBuf::from(format!("{DIR}/{segment:08}.seg"));
    let check = |what: &str, change: &dyn Fn(&SimDisk, &mut Start)| {
        let (disk, mut start) = (disk.fork(), start.clone());
        change(&disk, &mut start);
        assert!(resume(&disk, &start).is_none(), "{what}");
    };
    check("another number", &|_, start| start.number += 1);
    check("another hash", &|_, start| start.hash.0[3] ^= 1);
    check("another place", &|_, start| start.offset = 0);
    check("another length", &|_, start| start.rows.last_mut().unwrap().len += 1);
    check("no segments", &|_, start| start.rows.clear());
    check("a closed segment cut", &|disk, _| {
        let bytes = disk.bytes(&path(1)).unwrap();
        disk.plant(&path(1), &bytes[..bytes.len() - 1]);
    });
    check("a closed segment grown", &|disk, _| {
        let bytes = disk.bytes(&path(1)).unwrap();
        disk.plant(&path(1), &[&bytes[..], &[0]].concat());
    });
    check("a closed segment gone", &|disk, _| {
        chancery::store::disk::Disk::remove(disk, &path(2)).unwrap();
    });
    check("the last segment cut", &|disk, _| {
        let bytes = disk.bytes(&path(placed.segment)).unwrap();
        disk.plant(&path(placed.segment), &bytes[..placed.offset as usize + 10]);
    });
    check("its head changed", &|disk, _| {
        disk.flip(&path(placed.segment), placed.offset as usize + 80, 1);
    });
}

#[test]
fn a_head_changed_in_a_segment_nobody_read_is_named_by_who_asks() {
    let (disk, mut rng) = (disk(), Rng::new(10));
    let (log, units) = grown(&disk, &mut rng);
    let start = start_at(&log, &units[110]);
    let victim = &units[30];
    for at in 0..victim.head.head_len() {
        let disk = disk.fork();
        let path = PathBuf::from(format!("{DIR}/{:08}.seg", victim.segment));
        disk.flip(&path, victim.offset as usize + at, 0x10);
        let resumed = resume(&disk, &start).expect("what the start speaks of is there");
        let found = resumed.unit_of(victim.head.first);
        let error = found.expect_err(&format!("byte {at} of a head"));
        assert!(error.to_string().contains("UNIT_CHAIN"), "byte {at}: {error}");
        assert!(resumed.unit_of(units[100].head.first).is_ok(), "the others are found");
        assert!(open(&disk).is_err(), "and an opening that reads all refuses, byte {at}");
    }
}

/// A torn end may reach over several segments: the units that come after it must not lie behind
/// what is left of it.
#[test]
fn junk_in_the_segments_behind_a_torn_end_goes_with_it() {
    let path = |segment: u32| PathBuf::from(format!("{DIR}/{segment:08}.seg"));
    let opened = |disk: &SimDisk| {
        let disk: Arc<SimDisk> = Arc::new(disk.clone());
        let (log, found) = UnitLog::open(disk, Path::new(DIR), TreeSize(0)).unwrap();
        (log.closing_at(SEGMENT_BYTES), found)
    };
    for (junk, by_signature) in [(0, false), (1, false), (700, false), (700, true), (0, true)] {
        let context = format!("{junk} bytes of junk, {by_signature}");
        let (disk, mut rng) = (disk(), Rng::new(12));
        let (log, units) = grown(&disk, &mut rng);
        let last = units.last().unwrap().clone();
        drop(log);
        let bytes: Vec<u8> = (0..junk).map(|_| rng.next() as u8).collect();
        for behind in 1..3 {
            disk.plant(&path(last.segment + behind), &bytes);
        }
        if !by_signature {
            disk.flip(&path(last.segment), (last.offset + last.head.len) as usize - 1, 1);
            disk.flip(&path(last.segment), last.offset as usize + 1, 1);
        }
        let (log, found) = opened(&disk);
        // An opening that does not believe the last unit drops it so.
        if by_signature {
            log.drop_last().unwrap();
        }
        assert_eq!(found.dropped.is_some(), junk > 0 || !by_signature, "{context}");
        log.settle(TreeSize(0)).unwrap();
        let kept = log.unit_count();
        assert_eq!(kept, last.head.number, "{context}: the last one is dropped");
        for _ in 0..40 {
            commit(&log, 2, &mut rng);
        }
        drop(log);
        let (log, found) = opened(&disk);
        assert_eq!((log.unit_count(), found.dropped), (kept + 40, None), "{context}");
    }
}
