//! Bounded opening: what an opening from a snapshot knows is what one that reads everything
//! knows; a snapshot that is old, newer than the log, a stranger's, torn or altered is named and
//! never believed; what an opening no longer hashes is caught by whoever reads it and by verify;
//! and no crash while one is written, or while one is used, costs anything that was acknowledged.

use crate::support::clinic::{Visit, append, append_json, assert_sound, patient};
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::format::unit;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::append::Receipt;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::dedupe::Bounds;
use chancery::vault::error::Result;
use chancery::vault::facts::Facts;
use chancery::vault::verify::{Options, verify_data};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HOME: &str = "/sim";

/// A snapshot after every commit the background can follow, small segments, a small window.
fn tuning() -> Tuning {
    Tuning {
        segment_bytes: 6_000,
        snapshot_entries: 1,
        snapshot_pause: 0,
        dedupe: Bounds { ids: 8, nanos: 1 },
        pack: false,
        ..Tuning::default()
    }
}

fn config() -> Config {
    Config { accept_time: true, tuning: tuning(), ..world::config(Path::new(HOME)) }
}

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>, seed: u64) -> Result<Vault> {
    Vault::init(world(Arc::new(disk.clone()), clock, seed), &config(), "vault.example")
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    Vault::open(world(Arc::new(disk.clone()), clock, 77), &config())
}

/// Opens a copy of the disk from which every snapshot was taken away.
fn open_in_full(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    let disk = disk.fork();
    for path in in_snapshots(&disk, "") {
        disk.remove(&path).unwrap();
    }
    open(&disk, clock)
}

/// Files of the snapshot directory with an ending, in order of their names.
fn in_snapshots(disk: &SimDisk, ending: &str) -> Vec<PathBuf> {
    let files = disk.files().into_iter();
    let ours = |p: &PathBuf| p.parent().is_some_and(|d| d.ends_with("snapshot"));
    files.filter(|p| ours(p) && p.to_string_lossy().ends_with(ending)).collect()
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter();
    files.filter(|p| p.parent().is_some_and(|d| d.ends_with("log"))).collect()
}

fn codes(vault: &Vault) -> Vec<&'static str> {
    vault.notices().iter().map(|n| n.code).filter(|c| c.starts_with("SNAPSHOT")).collect()
}

/// An event of a source that names its events and does not count them.
fn named(id: u64) -> String {
    format!(
        concat!(
            r#"{{"id":"e{id}","action":"record.open","actor":{{"id":"u1","type":"user"}},"#,
            r#""data":{{"note":"note {id}"}}}}"#
        ),
        id = id
    )
}

fn visit(seq: u64) -> Visit {
    Visit::new(seq, &format!("n{}", seq % 3), &format!("p{}", seq % 5))
}

/// What was acknowledged: by the source's number, and by the event's id.
#[derive(Default)]
struct Told {
    visits: BTreeMap<u64, (EntryIndex, Hash32)>,
    named: BTreeMap<u64, (EntryIndex, Hash32)>,
}

impl Told {
    fn visit(&mut self, vault: &Vault, numbers: &[u64]) -> Result<()> {
        let visits: Vec<Visit> = numbers.iter().map(|n| visit(*n)).collect();
        let receipts = append(vault, &visits)?;
        note(&mut self.visits, numbers, &receipts);
        Ok(())
    }

    fn named(&mut self, vault: &Vault, ids: &[u64]) -> Result<()> {
        let texts: Vec<String> = ids.iter().map(|id| named(*id)).collect();
        let receipts = append_json(vault, "app", &texts)?;
        note(&mut self.named, ids, &receipts);
        Ok(())
    }

    /// Everything acknowledged is there, and known when it comes again.
    fn check(&self, vault: &Vault, context: &str) {
        for (index, leaf) in self.visits.values().chain(self.named.values()) {
            assert_eq!(vault.leaf(*index), Some(*leaf), "{context}: acknowledged entry {index}");
        }
        let erased = ["p1"];
        let size = vault.size();
        for (seq, (index, _)) in &self.visits {
            if erased.contains(&&*visit(*seq).patient) {
                continue;
            }
            let again = append(vault, &[visit(*seq)]);
            let again = again.unwrap_or_else(|e| panic!("{context}: number {seq}: {e}"));
            assert_eq!((again[0].index, again[0].duplicate), (*index, true), "{context}: {seq}");
        }
        // A window of eight ids forgets older ones; the youngest eight of the log it must know,
        // those that were never acknowledged among them.
        let mut ids = Vec::new();
        let whole = EntryIndex(0)..EntryIndex(vault.size().0);
        let read = vault.for_each_entry(whole, &mut |entry, _| {
            ids.extend((!entry.head.event_id.is_zero()).then_some(entry.index));
            Ok(())
        });
        read.unwrap_or_else(|e| panic!("{context}: {e}"));
        let young = |at: &EntryIndex| ids.iter().rev().take(8).any(|young| young == at);
        for (id, (index, _)) in self.named.iter().filter(|(_, (index, _))| young(index)) {
            let again = append_json(vault, "app", &[named(*id)]);
            let again = again.unwrap_or_else(|e| panic!("{context}: id {id}: {e}"));
            assert_eq!((again[0].index, again[0].duplicate), (*index, true), "{context}: id {id}");
        }
        vault.settle();
        assert!(vault.size().0 - size.0 <= 2, "{context}: nothing but seals was appended");
    }
}

fn note(told: &mut BTreeMap<u64, (EntryIndex, Hash32)>, ids: &[u64], receipts: &[Receipt]) {
    for (id, receipt) in ids.iter().zip(receipts) {
        told.insert(*id, (receipt.index, receipt.leaf));
    }
}

/// What the log binds the vault to, as far as two openings of the same files must agree.
fn facts(vault: &Vault) -> Facts {
    vault.settle();
    vault.facts_now()
}

/// A day in the life of a vault, with every kind of fact, up to `until` acts.
fn story(vault: &Vault, told: &mut Told, clock: &HandClock, until: usize) -> Result<()> {
    type Act<'a> = &'a dyn Fn(&Vault, &mut Told) -> Result<()>;
    let acts: [Act<'_>; 10] = [
        &|v, t| t.visit(v, &[1, 2, 3, 9]),
        &|v, t| t.named(v, &[1, 2, 3]),
        &|v, _| v.link(&[patient("p2"), patient("p4")], &two_people()).map(|_| ()),
        &|v, t| t.visit(v, &[5, 20]),
        &|v, _| v.erase(&[patient("p1")], "gdpr-17-1", &two_people()).map(|_| ()),
        &|v, t| t.named(v, &[4, 5, 6, 7, 8, 9, 10, 11, 12]),
        &|v, _| {
            let person = v.persons_named(&[patient("p0")])?[0];
            let scope = chancery::format::control::Scope::Person { person };
            v.set_hold(None, "case", scope, &two_people()).map(|_| ())
        },
        &|v, t| t.visit(v, &[4, 12]),
        &|v, t| t.named(v, &[13]),
        &|v, _| v.checkpoint().map(|_| ()),
    ];
    for act in acts.iter().take(until) {
        clock.pass(1_000);
        act(vault, told)?;
    }
    Ok(())
}

/// A vault with a story, closed; the disk and what was told.
fn told(clock: &Arc<HandClock>) -> (SimDisk, Told) {
    let (disk, mut told) = (SimDisk::new(), Told::default());
    let vault = init(&disk, clock, 1).unwrap();
    story(&vault, &mut told, clock, 10).unwrap();
    drop(vault);
    assert!(!in_snapshots(&disk, ".snap").is_empty(), "a snapshot was written");
    (disk, told)
}

#[test]
fn an_opening_from_a_snapshot_knows_what_one_that_reads_everything_knows() {
    let clock = clock();
    for acts in 1..=10 {
        let context = format!("{acts} acts");
        let (disk, mut told) = (SimDisk::new(), Told::default());
        let vault = init(&disk, &clock, 1).unwrap();
        story(&vault, &mut told, &clock, acts).unwrap();
        drop(vault);
        // A tail behind the snapshot, and a kill.
        let vault = open(&disk, &clock).unwrap();
        assert!(vault.vouched().0 > 0 && codes(&vault).is_empty(), "{context}");
        told.visit(&vault, &[100 + acts as u64]).unwrap();
        vault.settle();
        vault.checkpoint().unwrap();
        let killed = disk.fork();
        drop(vault);
        let full = open_in_full(&killed, &clock).unwrap();
        assert_eq!(full.vouched(), TreeSize(0), "{context}");
        let quick = open(&killed.fork(), &clock).unwrap();
        assert!(quick.vouched().0 > 0, "{context}: {:?}", quick.notices());
        assert_eq!(facts(&quick), facts(&full), "{context}");
        assert_eq!(quick.size(), full.size(), "{context}");
        told.check(&quick, &context);
        told.check(&full, &context);
        assert_sound(&quick, &context);
        drop(quick);
    }
}

#[test]
fn no_byte_of_a_snapshot_can_be_changed() {
    let clock = clock();
    let (disk, told) = told(&clock);
    let expect = facts(&open_in_full(&disk, &clock).unwrap());
    let newest = in_snapshots(&disk, ".snap").pop().unwrap();
    let bytes = disk.bytes(&newest).unwrap();
    let honest = open(&disk.fork(), &clock).unwrap().vouched();
    for at in 0..bytes.len() {
        let disk = disk.fork();
        disk.flip(&newest, at, 1 << (at % 8));
        let vault = open(&disk, &clock).unwrap_or_else(|e| panic!("byte {at}: {e}"));
        assert!(vault.vouched() < honest, "byte {at} was believed");
        assert_eq!(codes(&vault), ["SNAPSHOT_IGNORED"], "byte {at}");
        assert_eq!(facts(&vault), expect, "byte {at}");
    }
    for len in [0, 1, 3, 64, bytes.len() / 2, bytes.len() - 1] {
        let disk = disk.fork();
        disk.plant(&newest, &bytes[..len]);
        let vault = open(&disk, &clock).unwrap();
        assert!(vault.vouched() < honest, "{len} bytes were believed");
        told.check(&vault, &format!("cut to {len}"));
    }
}

#[test]
fn old_snapshots_mean_more_to_read_and_newer_ones_than_the_log_are_named() {
    let clock = clock();
    let (disk, mut told) = told(&clock);
    let before = disk.fork();
    let old_facts = facts(&open(&disk.fork(), &clock).unwrap());
    let vault = open(&disk, &clock).unwrap();
    told.named(&vault, &[40, 41, 42]).unwrap();
    told.visit(&vault, &[50]).unwrap();
    drop(vault);
    // Only the old ones, and a newer log.
    let mixed = disk.fork();
    for path in in_snapshots(&mixed, ".snap") {
        mixed.remove(&path).unwrap();
    }
    for path in in_snapshots(&before, "") {
        mixed.plant(&path, &before.bytes(&path).unwrap());
    }
    let vault = open(&mixed, &clock).unwrap();
    let newest = open(&disk.fork(), &clock).unwrap();
    assert!(vault.vouched().0 > 0 && vault.vouched() < newest.vouched());
    assert_eq!(facts(&vault), facts(&newest));
    told.check(&vault, "old snapshot");
    drop((vault, newest));
    // The newer ones, and the old log: a rollback, which leaves its mark.
    let rolled = before.fork();
    for path in in_snapshots(&disk, "") {
        rolled.plant(&path, &disk.bytes(&path).unwrap());
    }
    let vault = open(&rolled, &clock).unwrap();
    assert!(codes(&vault).contains(&"SNAPSHOT_AHEAD"), "{:?}", vault.notices());
    assert_eq!(facts(&vault), old_facts);
    drop(vault);
    let again = open(&rolled.fork(), &clock).unwrap();
    assert!(codes(&again).contains(&"SNAPSHOT_AHEAD"), "the mark stays");
    drop(again);
    // With the newer checkpoint it is what it was without snapshots.
    let checkpoint = |disk: &SimDisk| {
        disk.files().into_iter().find(|p| p.ends_with("checkpoint")).expect("a checkpoint")
    };
    rolled.plant(&checkpoint(&rolled), &disk.bytes(&checkpoint(&disk)).unwrap());
    let error = open(&rolled, &clock).err().expect("rolled back");
    assert_eq!(error.code(), "ROLLED_BACK", "{error}");
}

#[test]
fn a_snapshot_of_another_vault_is_a_strangers() {
    let clock = clock();
    let (disk, told) = told(&clock);
    let other = SimDisk::new();
    let vault = init(&other, &clock, 2).unwrap();
    story(&vault, &mut Told::default(), &clock, 10).unwrap();
    drop(vault);
    let theirs = in_snapshots(&other, ".snap").pop().unwrap();
    let dir = in_snapshots(&disk, ".snap")[0].parent().unwrap().to_owned();
    for path in in_snapshots(&disk, "") {
        disk.remove(&path).unwrap();
    }
    disk.plant(&dir.join(theirs.file_name().unwrap()), &other.bytes(&theirs).unwrap());
    let vault = open(&disk, &clock).unwrap();
    assert_eq!((vault.vouched(), codes(&vault)), (TreeSize(0), vec!["SNAPSHOT_IGNORED"]));
    told.check(&vault, "a stranger's snapshot");
}

/// Places of entries in a segment: unit by unit, (index, first byte, bytes).
fn entries(bytes: &[u8]) -> Vec<(u64, usize, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let len = u64::from_be_bytes(bytes[at + 4..at + 12].try_into().unwrap()) as usize;
        let unit = unit::decode(&bytes[at..at + len]).unwrap();
        let mut place = at + unit.head.head_len();
        for (number, entry) in unit.entries.iter().enumerate() {
            found.push((unit.head.first.0 + number as u64, place + 2, entry.len()));
            place += 2 + entry.len();
        }
        at += len;
    }
    found
}

#[test]
fn an_entry_altered_below_a_snapshot_is_caught_by_who_reads_it_and_by_verify() {
    let clock = clock();
    let (disk, _) = told(&clock);
    let segment = segments(&disk)[0].clone();
    let tiles = disk.files().into_iter().find(|p| p.ends_with("tile/0")).unwrap();
    let mut rng = Rng::new(4);
    for (index, place, len) in entries(&disk.bytes(&segment).unwrap()) {
        let (context, disk) = (format!("entry {index}"), disk.fork());
        let at = place + rng.below(len);
        disk.flip(&segment, at, 1 << rng.below(8));
        if index % 2 == 0 {
            // Somebody thorough alters the tile as well.
            let bytes = disk.bytes(&segment).unwrap();
            let leaf = chancery::crypto::hash::leaf_hash(&bytes[place..place + len]);
            let mut tile = disk.bytes(&tiles).unwrap();
            tile[index as usize * 32..][..32].copy_from_slice(&leaf.0);
            disk.plant(&tiles, &tile);
        }
        // Whether the vault opens depends on whether opening had to read it.
        if let Ok(vault) = open(&disk, &clock) {
            assert!(vault.vouched().0 > index, "{context}: was read, and believed");
            let error = vault.entry_bytes(EntryIndex(index)).expect_err(&context);
            assert_eq!(error.code(), "ROOT_MISMATCH", "{context}: {error}");
            let whole = EntryIndex(0)..EntryIndex(vault.size().0);
            assert!(vault.for_each_entry(whole, &mut |_, _| Ok(())).is_err(), "{context}");
        }
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let data = Path::new(HOME).join("data");
        let report = verify_data(&dyn_disk, &data, None, &Options::default(), &mut |_, _| {});
        assert_eq!(report.unwrap().exit_code(), 1, "{context}: verify");
    }
}

#[test]
fn a_lost_run_is_made_from_the_log_again_and_no_duplicate_gets_in() {
    let clock = clock();
    let (disk, told) = told(&clock);
    let runs = in_snapshots(&disk, ".run");
    assert!(!runs.is_empty(), "ids lie in runs");
    let mut rng = Rng::new(5);
    for round in 0..24 {
        let (context, disk) = (format!("round {round}"), disk.fork());
        for path in &runs {
            let len = disk.bytes(path).unwrap().len();
            match rng.below(4) {
                0 => disk.remove(path).unwrap(),
                1 => disk.plant(path, &disk.bytes(path).unwrap()[..rng.below(len)]),
                _ => disk.flip(path, rng.below(len), 1 << rng.below(8)),
            }
        }
        let vault = open(&disk, &clock).unwrap();
        assert!(vault.vouched().0 > 0, "{context}: the snapshot itself holds");
        told.check(&vault, &context);
        drop(vault);
        let vault = open(&disk, &clock).unwrap();
        told.check(&vault, &format!("{context}, again"));
    }
}

/// Runs the story on a disk that fails at an operation, loses power, loses it again while it is
/// opened, and is opened.
fn crash_at(operation: u64, seed: u64) -> (bool, u64) {
    let context = format!("operation {operation}, seed {seed}");
    let (disk, clock, mut told) = (SimDisk::new(), clock(), Told::default());
    disk.fail_at(operation);
    let mut made = false;
    let mut run = || -> Result<()> {
        let vault = init(&disk, &clock, seed)?;
        made = true;
        story(&vault, &mut told, &clock, 6)?;
        drop(vault);
        let vault = open(&disk, &clock)?;
        told.named(&vault, &[30, 31])?;
        told.visit(&vault, &[30])?;
        vault.checkpoint()?;
        Ok(())
    };
    let ended = run().is_ok();
    let operations = disk.operations();
    let mut rng = Rng::new(seed * 1_000_003 + operation);
    let first = disk.crash(rng.next());
    first.fail_at(1 + rng.below(60) as u64);
    drop(open(&first, &clock));
    let second = first.crash(rng.next());
    let vault = match open(&second, &clock) {
        Ok(vault) => vault,
        Err(error) => {
            let known = ["STORE_MISSING", "STORE_CORRUPT"].contains(&error.code());
            assert!(!made && known, "{context}: {error}");
            return (ended, operations);
        }
    };
    let full = open_in_full(&second, &clock).unwrap_or_else(|e| panic!("{context}, full: {e}"));
    for (vault, how) in [(&vault, "quick"), (&full, "full")] {
        told.check(vault, &format!("{context}, {how}"));
        assert_sound(vault, &format!("{context}, {how}"));
    }
    drop((vault, full));
    let vault = open(&second, &clock).unwrap_or_else(|e| panic!("{context}, again: {e}"));
    told.check(&vault, &format!("{context}, again"));
    (ended, operations)
}

#[test]
fn no_crash_around_a_snapshot_loses_what_was_acknowledged() {
    let seed = 11;
    println!("seed {seed}");
    let (_, operations) = crash_at(u64::MAX / 2, seed);
    assert!(operations > 200, "snapshots write: {operations} operations");
    for operation in (1..operations).step_by(2) {
        crash_at(operation, seed + operation % 3);
    }
}

#[test]
fn ticks_twice_give_the_same_files() {
    let clock = clock();
    let (disk, _) = told(&clock);
    let files = |disk: &SimDisk| -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = in_snapshots(disk, "").into_iter();
        paths.map(|p| (p.clone(), disk.bytes(&p).unwrap())).collect()
    };
    let before = files(&disk);
    assert!(before.keys().filter(|p| p.to_string_lossy().ends_with(".snap")).count() <= 2);
    drop(open(&disk, &clock).unwrap());
    let after = files(&disk);
    for (path, bytes) in &after {
        assert!(before.get(path).is_none_or(|old| old == bytes), "{} changed", path.display());
    }
}

#[test]
fn packed_segments_lie_below_a_snapshot_as_plain_ones_do() {
    let clock = clock();
    let (disk, told) = told(&clock);
    let vault = open(&disk, &clock).unwrap();
    let packed = vault.pack().unwrap();
    assert!(packed.files > 0, "{packed:?}");
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    assert!(vault.vouched().0 > 0 && codes(&vault).is_empty(), "{:?}", vault.notices());
    told.check(&vault, "packed");
    assert_sound(&vault, "packed");
}

fn roll(disk: &SimDisk, clock: &Arc<HandClock>, vault: Vault) {
    let world = world(Arc::new(disk.clone()), clock, 78);
    let kek = chancery::vault::logkey::kek_of(&world, &config()).unwrap();
    vault.roll_log_key(&kek, &two_people()).unwrap();
}

/// A snapshot is worth as much after the log was handed over to another key as before, whichever
/// of the two signed it, and whether or not the vault was closed in between.
#[test]
fn a_snapshot_from_before_a_roll_of_the_log_key_serves_after_it() {
    let check = |disk: &SimDisk, clock: &Arc<HandClock>, told: &Told, context: &str| {
        let vault = open(disk, clock).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert!(codes(&vault).is_empty(), "{context}: {:?}", vault.notices());
        let full = open_in_full(disk, clock).unwrap_or_else(|e| panic!("{context}: {e}"));
        // A seal that is owed is asked for in the background: behind this it is in the log.
        for vault in [&vault, &full] {
            vault.settle();
            vault.checkpoint().unwrap();
        }
        // One of them may have found the seal that the other wrote.
        let known = |vault| Facts { opening: false, ..facts(vault) };
        assert_eq!((known(&vault), full.vouched()), (known(&full), TreeSize(0)), "{context}");
        let vouched = vault.vouched();
        drop(full);
        told.check(&vault, context);
        assert_sound(&vault, context);
        vouched
    };
    for midnight in [false, true] {
        let (context, clock) = (format!("midnight passed: {midnight}"), clock());
        let (disk, mut told) = told(&clock);
        let before = in_snapshots(&disk, ".snap");
        let vault = open(&disk, &clock).unwrap();
        if midnight {
            // The entry of the roll is the day's first: the seal that is owed then is signed by
            // the new key before the vault is closed.
            clock.pass_days(1);
        }
        let size = vault.size();
        roll(&disk, &clock, vault);
        // The newest snapshot may be from after the roll: without it the one before must do.
        let old = disk.fork();
        for path in in_snapshots(&old, ".snap").iter().filter(|p| !before.contains(p)) {
            old.remove(path).unwrap();
        }
        let vouched = check(&old, &clock, &told, &format!("{context}, from before"));
        assert!(vouched.0 > 0 && vouched <= size, "{context}: {vouched} of {size}");
        // Opened at the very size at which the keys changed, which leaves a snapshot, twice.
        for again in 0..2 {
            let vouched = check(&disk, &clock, &told, &format!("{context}, opening {again}"));
            assert!(vouched.0 > 0, "{context}, opening {again}");
        }
        let vault = open(&disk, &clock).unwrap();
        told.named(&vault, &[60, 61]).unwrap();
        vault.settle();
        vault.checkpoint().unwrap();
        // Killed, and handed over once more.
        let killed = disk.fork();
        check(&killed, &clock, &told, &format!("{context}, killed"));
        roll(&disk, &clock, vault);
        assert!(check(&disk, &clock, &told, &format!("{context}, second roll")).0 > 0);
        let outside: Arc<dyn Disk> = Arc::new(disk.clone());
        let data = Path::new(HOME).join("data");
        let report = verify_data(&outside, &data, None, &Options::default(), &mut |_, _| {});
        assert_eq!(report.unwrap().failures, 0, "{context}: verify");
    }
}
