//! What a sender gets that sends again what is in the log already, when the record that is there
//! cannot be opened: no accusation of the sender, and no entry that makes one.

use crate::support::clinic::{Visit, append, read};
use crate::support::sim::SimDisk;
use crate::support::world::{self, HandClock, world};
use chancery::base::entry::Kind;
use chancery::base::event::Draft;
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::vault::Vault;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const UNREADABLE: &str = "DUPLICATE_UNREADABLE";

fn conflicts(vault: &Vault) -> usize {
    let kinds = (0..vault.size().0).map(|at| vault.entry(EntryIndex(at)).unwrap().head.kind);
    kinds.filter(|kind| *kind == Kind::Conflict).count()
}

/// A vault with two visits; what a stranger does to its disk; the fate of the second one, and what
/// a retry of it is told.
fn check(harm: impl Fn(&SimDisk, &SimDisk), expect: Fate) {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let config = world::config(Path::new("/sim"));
    let (first, second) = (Visit::new(1, "nurse", "p1"), Visit::new(2, "nurse", "p2"));
    let world = |seed| world(Arc::new(disk.clone()), &clock, seed);
    let vault = Vault::init(world(1), &config, "vault.example").unwrap();
    append(&vault, &[first]).unwrap();
    drop(vault);
    let before = disk.fork();
    let vault = Vault::open(world(2), &config).unwrap();
    let index = append(&vault, std::slice::from_ref(&second)).unwrap()[0].index;
    drop(vault);
    let vault = Vault::open(world(3), &config).unwrap();
    harm(&disk, &before);
    drop(vault);
    let vault = Vault::open(world(4), &config).unwrap();
    let fates = read(&vault, index).groups;
    assert!(fates.contains(&expect), "{fates:?}");
    let size = vault.size();
    for _ in 0..2 {
        let refused = append(&vault, std::slice::from_ref(&second)).unwrap_err();
        assert_eq!(refused.code(), UNREADABLE, "{refused}");
    }
    assert_eq!((conflicts(&vault), vault.size()), (0, size), "nothing was recorded");
    // What another event says under that number is no more comparable.
    let second_again = Visit { secret: second.secret.clone(), ..Visit::new(2, "nurse", "p2") };
    let other = Visit { secret: "another".to_owned(), ..second };
    assert_eq!(append(&vault, &[other]).unwrap_err().code(), UNREADABLE);
    assert_eq!(conflicts(&vault), 0);
    append(&vault, &[Visit::new(3, "nurse", "p3")]).unwrap();
    // Those beside it go on.
    let texts = [Visit::new(4, "nurse", "p4"), second_again, Visit::new(5, "nurse", "p5")];
    let texts = texts.map(|visit| visit.json());
    let drafts = texts.iter().map(|text| Draft { source: "ehr", json: text.as_bytes() });
    let each = vault.append_each(&drafts.collect::<Vec<_>>()).unwrap();
    let told: Vec<_> = each.iter().map(|one| one.as_ref().map_err(|e| e.code()).err()).collect();
    assert_eq!(told, [None, Some(UNREADABLE), None]);
    let first = each[1].as_ref().unwrap_err().to_string();
    assert!(first.contains(&format!("entry {index} ")), "{first}");
}

#[test]
fn a_retry_of_a_damaged_record_is_no_conflict() {
    let rot = |disk: &SimDisk, before: &SimDisk| {
        let body = |path: &PathBuf| path.to_string_lossy().contains("/bodies/");
        let grown = disk.files().into_iter().filter(body);
        let mut grown = grown.filter(|path| disk.bytes(path) != before.bytes(path));
        let path = grown.next().expect("a body file that took the second visit");
        disk.flip(&path, disk.bytes(&path).unwrap().len() - 20, 1);
    };
    check(rot, Fate::AuthFailed);
}

#[test]
fn a_retry_of_a_record_whose_key_is_lost_is_no_conflict() {
    let put_back = |disk: &SimDisk, before: &SimDisk| {
        for path in before.files().into_iter().filter(|path| path.starts_with("/sim/keys")) {
            disk.plant(&path, &before.bytes(&path).unwrap());
        }
    };
    check(put_back, Fate::KeyLost);
}

/// Gaps are bounded whether they are opened above all numbers or cut out of a gap, in one batch or
/// over many; numbers that fill a gap are always taken.
#[test]
fn a_source_that_skips_numbers_meets_a_limit_in_whatever_order() {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let config = world::config(Path::new("/sim"));
    let vault = Vault::init(world(Arc::new(disk), &clock, 9), &config, "vault.example").unwrap();
    let send = |numbers: &[u64]| {
        let visits: Vec<Visit> = numbers.iter().map(|n| Visit::new(*n, "nurse", "p1")).collect();
        append(&vault, &visits).map(|_| ())
    };
    let refused = |numbers: &[u64]| {
        let size = vault.size();
        assert_eq!(send(numbers).unwrap_err().code(), "SOURCE_TOO_MANY_GAPS");
        assert_eq!(vault.size(), size, "all or nothing");
    };
    // The first number opens a gap below it; each odd one cuts another piece off.
    send(&[100_000]).unwrap();
    let odd: Vec<u64> = (0..4_100).map(|n| 2 * n + 1).collect();
    refused(&odd);
    send(&odd[..2_000]).unwrap();
    refused(&odd[2_000..4_096]);
    send(&odd[2_000..4_095]).unwrap();
    refused(&[odd[4_095]]);
    refused(&[100_002]);
    refused(&[100_001, 100_003]);
    // In order, or into a gap of one: always.
    send(&[100_001, 100_002]).unwrap();
    send(&[0, 100_004]).unwrap();
    refused(&[100_006]);
}
