//! What a review found where work in the background meets a place that cannot be read: it stopped
//! for good, held up what it had nothing to do with, or forgot what it owed. Each test is named
//! after what its user saw.

use crate::support::clinic::{Visit, append, append_json, read_all, text};
use crate::support::sim::SimDisk;
use crate::support::unread::Unread;
use crate::support::world::{HandClock, config, world};
use chancery::base::entry::Kind;
use chancery::base::limits::EPOCH_ENTRIES;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND, TreeSize, UtcNanos};
use chancery::format::checkpoint::Checkpoint;
use chancery::format::seal::payload::SealPayload;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::dedupe::Bounds;
use chancery::vault::facts::Facts;
use chancery::vault::scrub::{Finding, Scrub};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOME: &str = "/sim";
const PATIENCE: Duration = Duration::from_secs(20);

/// A vault on a disk that can be spoiled.
struct House {
    disk: SimDisk,
    bad: Unread,
    clock: Arc<HandClock>,
    config: Config,
}

impl House {
    fn new(tuning: Tuning) -> (House, Vault) {
        let disk = SimDisk::new();
        let bad = Unread::new(Arc::new(disk.clone()));
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        let config = Config { tuning, ..config(Path::new(HOME)) };
        let house = House { disk, bad, clock, config };
        let world = world(Arc::new(house.bad.clone()), &house.clock, 1);
        let vault = Vault::init(world, &house.config, "vault.example").unwrap();
        (house, vault)
    }

    fn open(&self) -> Vault {
        Vault::open(world(Arc::new(self.bad.clone()), &self.clock, 99), &self.config).unwrap()
    }

    fn files(&self, part: &str) -> Vec<PathBuf> {
        let all = self.disk.files().into_iter();
        all.filter(|p| p.to_string_lossy().contains(part)).collect()
    }

    /// Size of the checkpoint on disk.
    fn signed(&self, vault: &Vault) -> TreeSize {
        let path = self.files("/checkpoint").remove(0);
        Checkpoint::open(&self.disk.bytes(&path).unwrap(), vault.log_key()).unwrap().size
    }
}

fn calm() -> Tuning {
    Tuning { pack: false, ..Tuning::default() }
}

fn put(vault: &Vault, seq: u64) {
    append(vault, &[Visit::new(seq, "n1", &format!("p{}", seq % 7))]).unwrap();
}

fn count(vault: &Vault, kind: Kind) -> usize {
    let (mut count, whole) = (0, EntryIndex(0)..EntryIndex(vault.size().0));
    vault
        .for_each_entry(whole, &mut |entry, _| {
            count += usize::from(entry.head.kind == kind);
            Ok(())
        })
        .unwrap();
    count
}

fn comes_to_have(vault: &Vault, kind: Kind, wanted: usize) -> bool {
    let started = Instant::now();
    while count(vault, kind) < wanted {
        if started.elapsed() > PATIENCE {
            return false;
        }
        std::thread::yield_now();
    }
    count(vault, kind) == wanted
}

/// An epoch whose hashes could not be read when it ended was never sealed; and a housekeeper that
/// met one bad read when it began did nothing more while the vault was open.
#[test]
fn what_a_bad_read_kept_the_housekeeper_from_is_made_good() {
    let (house, vault) = House::new(calm());
    house.bad.spoil_for("housekeeper", "/tile/2", 0..32);
    let mut seq = 1;
    while vault.size().0 < EPOCH_ENTRIES + 10 {
        let texts = (seq..seq + 4_000).map(|n| {
            format!(
                "{{\"source_seq\":{n},\"action\":\"x.read\",\"actor\":{{\"type\":\"service\"}}}}"
            )
        });
        append_json(&vault, "app", &texts.collect::<Vec<_>>()).unwrap();
        seq += 4_000;
    }
    vault.settle();
    assert!(house.bad.failed() > 0 && count(&vault, Kind::Seal) == 0);
    house.bad.heal();
    house.clock.pass(61 * NANOS_PER_SECOND);
    put(&vault, 1);
    assert!(comes_to_have(&vault, Kind::Seal, 1), "the epoch is not sealed");
    vault.settle();
    assert_eq!(vault.facts_now().epochs_sealed, 1);
    vault.checkpoint().unwrap();
    drop(vault);
    let before = house.bad.failed();
    house.bad.spoil_for("housekeeper", "/log/", 0..u64::MAX);
    let vault = house.open();
    put(&vault, 2);
    vault.settle();
    assert!(house.bad.failed() > before);
    house.bad.heal();
    house.clock.pass_days(1);
    put(&vault, 3);
    assert!(comes_to_have(&vault, Kind::DaySeal, 1), "the day is not sealed");
    assert_eq!(count(&vault, Kind::Seal), 1, "and nothing is sealed twice");
}

/// The newest seal hid that an older one was missing.
#[test]
fn an_epoch_without_a_seal_is_owed_one_whatever_was_sealed_after_it() {
    let mut facts = Facts::default();
    let mut seal = |epoch: u64, at: u64| {
        let (first, end) = (EntryIndex(epoch * EPOCH_ENTRIES), (epoch + 1) * EPOCH_ENTRIES);
        let (time, root) = (UtcNanos(1), chancery::base::id::Hash32([1; 32]));
        let payload = SealPayload {
            first,
            end: EntryIndex(end),
            t_first: time,
            t_last: time,
            root,
            count_rows: 1,
            count_root: root,
            source_rows: 1,
            source_root: root,
            class_rows: 1,
            class_root: root,
            index_rows: 1,
            index_root: root,
        };
        facts.observe_control(Kind::Seal, &payload.encode(), EntryIndex(at), time).unwrap();
        facts.seals_owed(3).into_iter().collect::<Vec<_>>()
    };
    let after = |epoch: u64| (epoch + 1) * EPOCH_ENTRIES + 1;
    assert_eq!(seal(1, after(1)), [0, 2]);
    assert_eq!(seal(7, after(1) + 1), [0, 2], "of entries that are not there yet");
    assert_eq!(seal(2, after(2)), [0]);
    assert_eq!(seal(0, after(2) + 1), [0; 0]);
}

/// A vault of six days, and how many files it can pack.
fn of_six_days() -> (House, Vault) {
    let (house, vault) = House::new(Tuning { segment_bytes: 6_000, ..calm() });
    for day in 0..6 {
        for round in 0..2u64 {
            let from = day * 20 + round * 10 + 1;
            let visits: Vec<Visit> =
                (from..from + 10).map(|n| Visit::new(n, "n1", &format!("p{}", n % 4))).collect();
            append(&vault, &visits).unwrap();
        }
        house.clock.pass_days(1);
    }
    put(&vault, 200);
    vault.settle();
    vault.checkpoint().unwrap();
    (house, vault)
}

fn packed(house: &House) -> (usize, usize) {
    let bodies = house.files("/bodies/").into_iter();
    let bodies = bodies.filter(|path| house.disk.bytes(path).unwrap().starts_with(b"CHB2"));
    (bodies.count(), house.files(".pak").len())
}

/// One damaged file of bodies, and nothing was packed any more.
#[test]
fn a_body_file_that_cannot_be_read_keeps_no_other_file_from_being_packed() {
    let whole = {
        let (house, vault) = of_six_days();
        vault.pack_in_background(true);
        vault.packing_settled();
        packed(&house)
    };
    assert!(whole.0 > 3 && whole.1 > 3, "{whole:?}");
    // In its head, and among its groups.
    for bytes in [0..32u64, 40..80] {
        let (house, vault) = of_six_days();
        let largest = house.files("/bodies/");
        let largest = largest.iter().max_by_key(|path| house.disk.bytes(path).unwrap().len());
        house.bad.spoil_for("packer", &largest.unwrap().to_string_lossy(), bytes.clone());
        vault.pack_in_background(true);
        let packing = vault.packing_settled();
        assert!(house.bad.failed() > 0);
        assert_eq!(packed(&house), (whole.0 - 1, whole.1), "{bytes:?}: {packing:?}");
        house.bad.heal();
        vault.room().unwrap();
    }
    // Rot in the head, for everybody.
    let (house, vault) = of_six_days();
    let path = house.files("/bodies/").remove(0);
    house.disk.flip(&path, 20, 1);
    assert!(vault.pack().unwrap().files as usize >= whole.0 + whole.1 - 1);
    vault.room().unwrap();
}

/// A file of a few groups grew when it was packed.
#[test]
fn no_packed_body_file_is_larger_than_the_plain_one_was() {
    let (house, vault) = of_six_days();
    house.clock.pass_days(2);
    put(&vault, 300);
    house.clock.pass_days(3);
    append_json(&vault, "app", &[r#"{"action":"x.read","data":{"a":1}}"#.to_owned()]).unwrap();
    house.clock.pass_days(3);
    put(&vault, 301);
    vault.settle();
    let before: Vec<String> = read_all(&vault).iter().map(text).collect();
    vault.pack_in_background(true);
    let done = vault.packing_settled();
    assert_eq!(done.failed, None);
    let files = house.files("/bodies/").into_iter().map(|path| house.disk.bytes(&path).unwrap());
    let (packed, plain): (Vec<_>, Vec<_>) = files.partition(|bytes| bytes.starts_with(b"CHB2"));
    for bytes in &packed {
        let trailer = bytes.last_chunk::<32>().unwrap();
        let from = u64::from_be_bytes(*trailer.first_chunk().unwrap());
        assert!((bytes.len() as u64) < from, "{} bytes from {from}", bytes.len());
    }
    // Today's and yesterday's are plain anyway.
    assert!(packed.len() > 3 && plain.len() > 1, "{} packed, {} plain", packed.len(), plain.len());
    let after: Vec<String> = read_all(&vault).iter().map(text).collect();
    assert!(after[..before.len()] == before, "a record reads otherwise");
    // Another round, when a segment is closed, does not try them again.
    let small = done.done.no_smaller;
    (302..312).for_each(|seq| put(&vault, seq));
    vault.settle();
    vault.checkpoint().unwrap();
    let again = vault.packing_settled();
    assert!(again.done.files > done.done.files, "{again:?}");
    assert!(small > 0 && again.done.no_smaller == small, "{again:?}");
}

/// A run of ids was lost and its entries could not be read: every commit tried again, and the
/// checkpoint stood still.
#[test]
fn a_lost_run_that_cannot_be_made_again_holds_no_checkpoint_up() {
    let tuning = Tuning {
        segment_bytes: 6_000,
        snapshot_entries: 1,
        snapshot_pause: 0,
        dedupe: Bounds { ids: 8, nanos: 1 },
        ..calm()
    };
    let (mut house, vault) = House::new(tuning);
    let named = |id: u64| format!(r#"{{"id":"e{id}","action":"record.open","data":{{"n":{id}}}}}"#);
    for id in 0..12 {
        house.clock.pass(2 * NANOS_PER_SECOND);
        append_json(&vault, "app", &[named(id)]).unwrap();
        vault.settle();
    }
    drop(vault);
    let runs = house.files(".run");
    assert!(!runs.is_empty(), "ids lie in runs");
    runs.iter().for_each(|path| house.disk.remove(path).unwrap());
    house.config.tuning.snapshot_pause = 3_600 * NANOS_PER_SECOND;
    let vault = house.open();
    assert!(vault.notices().iter().any(|n| n.code == "DEDUPE_REBUILT"), "{:?}", vault.notices());
    house.bad.spoil_for("sequencer", "/log/", 0..u64::MAX);
    for seq in 1..20 {
        house.clock.pass(2 * NANOS_PER_SECOND);
        put(&vault, seq);
    }
    let (tried, size) = (house.bad.failed(), vault.size());
    assert!((1..3).contains(&tried), "it was tried {tried} times");
    let started = Instant::now();
    while house.signed(&vault) < size {
        assert!(started.elapsed() < PATIENCE, "{:?} of {size:?}", house.signed(&vault));
        std::thread::yield_now();
    }
}

fn pass(vault: &Vault, scrub: &mut Scrub) -> Vec<Finding> {
    let mut found = Vec::new();
    loop {
        let progress = scrub.tick(vault, vault.clock().now()).unwrap();
        found.extend(progress.findings);
        if progress.finished.is_some() {
            return found;
        }
    }
}

/// A pass began anew after any error, so that it never ended where errors were; and the beginning
/// of the key tree's file was the one place where a bad sector was no finding.
#[test]
fn a_scrub_names_the_first_bad_sector_of_the_keys_and_goes_on_after_an_error() {
    let (house, vault) = House::new(calm());
    (0..40).for_each(|seq| put(&vault, seq + 1));
    house.bad.spoil("nodes.seg", 0..64);
    let found = pass(&vault, &mut Scrub::resume(&vault, true, None));
    let keys: Vec<_> = found.iter().map(|f| (f.part, f.verdict)).collect();
    assert!(keys.contains(&("keys", "KEY_COMMIT_BROKEN")), "{keys:?}");
    house.bad.heal();
    let mut scrub = Scrub::resume(&vault, false, Some(4_000));
    let mut now = vault.clock().now();
    let mut tick = |scrub: &mut Scrub| {
        now = UtcNanos(now.0 + NANOS_PER_SECOND);
        scrub.tick(&vault, now)
    };
    tick(&mut scrub).unwrap();
    let before = tick(&mut scrub).unwrap().pass_bytes;
    assert!(before > 4_000);
    house.bad.refuse("/scrub");
    assert!(tick(&mut scrub).is_err(), "where it stands cannot be stored");
    house.bad.heal();
    let after = tick(&mut scrub).unwrap();
    assert!(after.pass_bytes > before + after.bytes, "{after:?}: begun anew after {before}");
}
