//! What a review found where an opening meets rot, bad sectors and power losses: files it cut that
//! were whole, units it dropped that were acknowledged, vaults it locked. Each test is named after
//! what its user saw.

use crate::support::clinic::{Visit, append, patient, read_all, text};
use crate::support::sim::{SimDisk, Survivors};
use crate::support::unread::Unread;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::format::body;
use chancery::format::packed::bodies::{self as packed, Block, Placed, Rows};
use chancery::format::unit;
use chancery::store::disk::{Disk, Mode};
use chancery::store::error::Error as StoreError;
use chancery::store::packed::bodies::each_run;
use chancery::vault::Vault;
use chancery::vault::error::Result;
use chancery::vault::verify::{Options, verify_data};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HOME: &str = "/sim";

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    let world = world(Arc::new(disk.clone()), clock, 1);
    Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap()
}

fn open(disk: Arc<dyn Disk>, clock: &Arc<HandClock>) -> Result<Vault> {
    Vault::open(world(disk, clock, 99), &config(Path::new(HOME)))
}

fn put(vault: &Vault, seq: u64) -> EntryIndex {
    append(vault, &[Visit::new(seq, "n1", &format!("p{seq}"))]).unwrap()[0].index
}

fn file(disk: &SimDisk, end: &str) -> PathBuf {
    let mut found = disk.files().into_iter().filter(|p| p.to_string_lossy().ends_with(end));
    found.next().unwrap_or_else(|| panic!("no {end}"))
}

fn bodies(disk: &SimDisk) -> Vec<PathBuf> {
    let all = disk.files().into_iter();
    all.filter(|p| p.to_string_lossy().contains("/bodies/")).collect()
}

/// The packed form of a plain body file, its groups as they are.
fn packed_from(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let plain = disk.open(path, Mode::Read).unwrap();
    let mut block = Block::default();
    each_run::<StoreError>(&*plain, path, 1_000, &mut |frames| {
        frames.iter().for_each(|(offset, frame)| {
            block.push(&Placed { offset: *offset, frame: *frame });
        });
        Ok(())
    })
    .unwrap();
    let (tenant, class_day, _) = body::decode_file_head(&disk.bytes(path).unwrap()[..32]).unwrap();
    let mut bytes = packed::file_head(&tenant, class_day);
    let (block, first) = block.finish();
    bytes.extend(&block);
    let packed_end = bytes.len() as u64;
    let rows = Rows { rows: vec![(first, 32)], plain_len: plain.len().unwrap(), packed_end };
    bytes.extend(rows.encode());
    bytes
}

/// A vault with a packed body file that is longer than the plain one was, as files of a few groups
/// are.
fn with_a_longer_packed_file() -> (SimDisk, Arc<HandClock>, PathBuf) {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1);
    let first = bodies(&disk);
    clock.pass_days(3);
    put(&vault, 2);
    vault.settle();
    vault.checkpoint().unwrap();
    let before = read_all(&vault).iter().map(text).collect::<Vec<_>>();
    drop(vault);
    let longer = |path: &PathBuf| packed_from(&disk, path).len() > disk.bytes(path).unwrap().len();
    let small = first.into_iter().filter(longer);
    let small = small.min_by_key(|path| disk.bytes(path).unwrap().len());
    let path = small.expect("a file of a few groups");
    disk.plant(&path, &packed_from(&disk, &path));
    let vault = open(Arc::new(disk.clone()), &clock).unwrap();
    assert_eq!(read_all(&vault).iter().map(text).collect::<Vec<_>>(), before);
    drop(vault);
    (disk, clock, path)
}

/// One flipped bit in a packed file, and the next opening cut committed bodies off it, or the
/// vault did not open any more.
#[test]
fn a_damaged_packed_body_file_is_neither_cut_nor_a_reason_not_to_open() {
    let (disk, clock, path) = with_a_longer_packed_file();
    let len = disk.bytes(&path).unwrap().len();
    for at in (0..32).chain((32..len).step_by(5)).chain(len - 32..len) {
        let rotten = disk.fork();
        rotten.flip(&path, at, 1 << (at % 8));
        let before = rotten.bytes(&path);
        let vault = open(Arc::new(rotten.clone()), &clock);
        drop(vault.unwrap_or_else(|error| panic!("byte {at} of {len}: {error}")));
        assert!(rotten.bytes(&path) == before, "byte {at} of {len}: the file was changed");
    }
    let bad = Unread::new(Arc::new(disk.clone()));
    let before = disk.bytes(&path);
    for bytes in [0..32, len as u64 - 32..len as u64] {
        bad.spoil(&path.to_string_lossy(), bytes.clone());
        drop(open(Arc::new(bad.clone()), &clock).unwrap());
        assert!(disk.bytes(&path) == before, "{bytes:?} could not be read");
        bad.heal();
    }
}

/// What an opening could not cut must not lie between two commits for ever.
#[test]
fn an_end_that_could_not_be_cut_is_cut_before_more_is_written_behind_it() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1);
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let path = bodies(&disk).pop().unwrap();
    let mut bytes = disk.bytes(&path).unwrap();
    bytes.extend([7; 100]);
    disk.plant(&path, &bytes);
    let bad = Unread::new(shared.clone());
    bad.spoil("/bodies/", 0..32);
    let vault = open(Arc::new(bad.clone()), &clock).unwrap();
    assert!(disk.bytes(&path).unwrap() == bytes, "cut unseen");
    bad.heal();
    put(&vault, 2);
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    let data = Path::new(HOME).join("data");
    let report = verify_data(&shared, &data, None, &Options::default(), &mut |_, _| {}).unwrap();
    let left: Vec<_> = report.verdicts.iter().map(|v| (v.name, &v.detail)).collect();
    assert!(report.failures == 0 && !left.iter().any(|v| v.0 == "BODY_UNCOMMITTED"), "{left:?}");
}

/// Where each unit of a log file ends.
fn unit_ends(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, Vec::new());
    while at < bytes.len() {
        let len = u64::from_be_bytes(bytes[at + 4..at + 12].try_into().unwrap()) as usize;
        unit::decode(&bytes[at..at + len]).unwrap();
        at += len;
        ends.push(at);
    }
    ends
}

/// A power loss tore the last commit, a sector of the acknowledged one before it rotted: both were
/// gone after the next opening, and nothing said that one of them had been acknowledged.
#[test]
fn a_torn_commit_takes_no_acknowledged_one_with_it() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1);
    vault.settle();
    vault.checkpoint().unwrap();
    let head = file(&disk, "/checkpoint");
    let signed = disk.bytes(&head).unwrap();
    let acknowledged = put(&vault, 2);
    put(&vault, 3);
    vault.settle();
    drop(vault);
    disk.plant(&head, &signed);
    let log = file(&disk, "/log/00000000.seg");
    let whole = disk.bytes(&log).unwrap();
    let ends = unit_ends(&whole);
    let [start, torn, end] = *ends.last_chunk::<3>().unwrap();
    disk.plant(&log, &whole[..(torn + end) / 2]);
    let vault = open(Arc::new(disk.fork()), &clock).unwrap();
    assert_eq!(vault.size().0, acknowledged.0 + 1, "the torn one alone is dropped");
    drop(vault);
    disk.flip(&log, (start + torn) / 2, 1);
    let before = disk.bytes(&log);
    let error = open(Arc::new(disk.clone()), &clock).err().expect("an acknowledged entry is gone");
    assert!(error.to_string().contains("CORRUPT_TAIL"), "{error}");
    assert!(disk.bytes(&log) == before, "something is changed");
}

/// A day after its first entries were written a vault had three and no checkpoint, and did not
/// open any more.
#[test]
fn a_young_vault_has_its_checkpoint_before_its_second_entry() {
    let (disk, clock) = (SimDisk::new(), clock());
    disk.film();
    drop(init(&disk, &clock));
    let mut founded = 0;
    for (number, still) in disk.cut().iter().enumerate() {
        for survivors in [Survivors::Nothing, Survivors::Everything] {
            let after = still.crash(survivors);
            let context = format!("before {}, {survivors:?}", still.next);
            let has =
                |end: &str| after.files().into_iter().find(|p| p.to_string_lossy().ends_with(end));
            let Some(log) = has("/log/00000000.seg") else { continue };
            let bytes = after.bytes(&log).unwrap();
            let units = bytes.windows(4).filter(|window| *window == unit::MAGIC).count();
            assert!(units < 2 || has("/checkpoint").is_some(), "{context}: {units} units");
            if has("/vault.toml").is_none() {
                continue;
            }
            founded += 1;
            // The next day, and another crash.
            let later = clock.fork();
            later.pass_days(1);
            after.fail_at(1 + number as u64 % 40);
            drop(open(Arc::new(after.clone()), &later));
            let again = after.crash(number as u64);
            later.pass_days(1);
            drop(open(Arc::new(again), &later).unwrap_or_else(|e| panic!("{context}: {e}")));
        }
    }
    assert!(founded > 10, "{founded}");
}

/// A bit rotted in hashes that anybody can compute again, and the vault was refused as another
/// history of itself.
#[test]
fn rot_in_stored_hashes_is_no_other_history() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let size = vault.size().0;
    let visits: Vec<Visit> = (2..400).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
    append(&vault, &visits).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    assert!(size < 200, "{size}: below the first whole tile");
    let tile = file(&disk, "/tile/0");
    for at in 0..2 {
        let rotten = disk.fork();
        rotten.flip(&tile, at * 32 + 3, 1);
        let vault = open(Arc::new(rotten), &clock).unwrap();
        let erased = read_all(&vault).iter().any(|r| r.groups.contains(&Fate::Erased));
        assert!(erased, "and it is the vault that it was");
    }
    let bad = Unread::new(Arc::new(disk.clone()));
    bad.spoil("/tile/0", 0..64);
    drop(open(Arc::new(bad.clone()), &clock).unwrap());
    assert!(bad.failed() > 0);
}
