//! The fault model does what its page says.

use super::*;
use chancery::store::disk::Mode;
use chancery::store::error::ErrorKind;

fn dirty(seed: u64) -> (SimDisk, PathBuf) {
    let (disk, path) = (SimDisk::new(), PathBuf::from("/d/f"));
    disk.create_dir(Path::new("/d")).unwrap();
    let file = disk.open(&path, Mode::CreateNew).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_at(0, &[1; 2000]).unwrap();
    file.sync().unwrap();
    file.write_at(500, &[2; 1500]).unwrap();
    file.set_len(3000 + seed).unwrap();
    (disk, path)
}

#[test]
fn a_crash_keeps_what_was_synced_and_is_a_function_of_its_seed() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, path) = dirty(0);
        let after = disk.crash(seed).bytes(&path).unwrap();
        assert_eq!(after, disk.crash(seed).bytes(&path).unwrap(), "seed {seed}");
        assert_eq!(after[..500], [1; 500], "seed {seed}");
        assert!(after[500..2000].iter().all(|byte| [1, 2].contains(byte)), "seed {seed}");
        seen.insert(after);
    }
    let (disk, path) = dirty(0);
    assert!(seen.contains(&vec![1; 2000]), "all lost");
    assert!(seen.contains(&disk.bytes(&path).unwrap()), "all kept");
    assert!(seen.len() > 50, "torn in many ways: {}", seen.len());
}

#[test]
fn a_failed_sync_loses_what_reads_still_see() {
    let (disk, path) = dirty(0);
    let file = disk.open(&path, Mode::Write).unwrap();
    disk.fail_sync_at(1);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.bytes(&path).unwrap()[600], 2);
    assert_eq!(disk.crash(1).bytes(&path).unwrap(), vec![1; 2000]);
}

#[test]
fn a_full_disk_takes_a_part_and_says_so() {
    let (disk, path) = dirty(0);
    let file = disk.open(&path, Mode::Write).unwrap();
    disk.full_after(10);
    let error = file.write_at(0, &[7; 20]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full);
    assert_eq!(disk.bytes(&path).unwrap()[..20], [[7; 10], [1; 10]].concat());
}

#[test]
fn names_survive_in_order_and_locks_exclude() {
    let disk = SimDisk::new();
    let dir = Path::new("/d");
    disk.create_dir(dir).unwrap();
    disk.replace(&dir.join("a"), b"one").unwrap();
    disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
    disk.open(&dir.join("c"), Mode::CreateNew).unwrap();
    for seed in 0..50 {
        let after = disk.crash(seed);
        let names: Vec<String> =
            after.list(dir).unwrap().into_iter().map(|listed| listed.name).collect();
        let expected = [vec!["a"], vec!["a", "c"], vec!["b"], vec!["b", "c"]];
        assert!(expected.iter().any(|e| *e == names), "seed {seed}: {names:?}");
    }
    let lock = disk.lock(&dir.join("lock")).unwrap();
    assert!(disk.lock(&dir.join("lock")).is_err());
    assert!(disk.crash(0).lock(&dir.join("lock")).is_ok());
    drop(lock);
    assert!(disk.lock(&dir.join("lock")).is_ok());
}

#[test]
fn a_failed_sync_may_keep_or_tear_what_it_covered() {
    let (disk, path) = dirty(0);
    let file = disk.open(&path, Mode::Write).unwrap();
    let other = disk.fork();
    disk.fail_sync(1, FailedSync::Kept);
    assert!(file.sync().is_err());
    assert_eq!(disk.crash(1).bytes(&path), disk.bytes(&path));
    let file = other.open(&path, Mode::Write).unwrap();
    other.fail_sync(1, FailedSync::Torn(3));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    let left = other.crash(1).bytes(&path).unwrap();
    assert_eq!(left, other.crash(2).bytes(&path).unwrap(), "decided when it failed");
    assert_eq!(other.bytes(&path).unwrap()[600], 2, "reads still see the cache");
}

#[test]
fn a_full_disk_neither_creates_nor_extends() {
    let (disk, path) = dirty(0);
    let file = disk.open(&path, Mode::Write).unwrap();
    let other = disk.fork();
    disk.full_at(2);
    file.write_at(0, &[7; 20]).unwrap();
    assert_eq!(file.write_at(0, &[8; 20]).unwrap_err().kind, ErrorKind::Full);
    assert_eq!(disk.bytes(&path).unwrap()[..20], [[8; 10], [7; 10]].concat());
    assert_eq!(file.write_at(0, &[9; 20]).unwrap_err().kind, ErrorKind::Full);
    assert_eq!(file.set_len(9_999).unwrap_err().kind, ErrorKind::Full);
    file.set_len(10).unwrap();
    file.sync().unwrap();
    let create = |disk: &SimDisk| disk.open(Path::new("/d/g"), Mode::Create).map(|_| ());
    assert_eq!(create(&disk).unwrap_err().kind, ErrorKind::Full);
    disk.heal();
    create(&disk).unwrap();
    other.full_after(0);
    assert_eq!(create(&other).unwrap_err().kind, ErrorKind::Full);
}

#[test]
fn rot_is_found_by_a_read_and_stays() {
    let (disk, path) = dirty(0);
    let file = disk.open(&path, Mode::Write).unwrap();
    file.sync().unwrap();
    let before = disk.bytes(&path).unwrap();
    disk.rot("/d/", 2, 5);
    let mut read = [0; 100];
    file.read_exact_at(0, &mut read).unwrap();
    assert_eq!(read[..], before[..100]);
    file.read_exact_at(200, &mut read).unwrap();
    let wrong: Vec<usize> = (0..100).filter(|at| read[*at] != before[200 + at]).collect();
    assert_eq!((wrong.len(), disk.rotted()), (1, 1));
    assert_eq!((read[wrong[0]] ^ before[200 + wrong[0]]).count_ones(), 1);
    let again = disk.crash(1).bytes(&path).unwrap();
    assert_eq!(again[200..300], read, "on the medium");
    file.write_at(200, &before[200..300]).unwrap();
    assert_eq!(disk.bytes(&path).unwrap(), before, "until overwritten");
}

#[test]
fn a_lying_device_keeps_nothing_it_promised() {
    let (disk, path) = dirty(0);
    disk.lie("/d");
    disk.open(&path, Mode::Write).unwrap().sync().unwrap();
    disk.replace(Path::new("/d/new"), b"x").unwrap();
    let after = disk.still().crash(Survivors::Nothing);
    assert_eq!(after.bytes(&path).unwrap(), [1; 2000]);
    assert!(!after.exists(Path::new("/d/new")).unwrap());
}

#[test]
fn a_film_has_every_instant_and_a_rename_is_whole() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    let path = Path::new("/d/a");
    disk.replace(path, b"one").unwrap();
    disk.film();
    disk.replace(path, b"two").unwrap();
    let stills = disk.cut();
    let told: Vec<&str> = stills.iter().map(|s| s.next.split(' ').next().unwrap()).collect();
    assert_eq!(told, ["create", "set_len", "write", "sync", "rename", "sync_dir", "nothing"]);
    assert!(stills[0].is_clean() && !stills[2].is_clean() && stills[6].is_clean());
    for still in &stills {
        for seed in 0..40 {
            let found = still.crash(Survivors::Random(seed)).bytes(path).unwrap();
            assert!([&b"one"[..], b"two"].contains(&&found[..]), "{}: {found:?}", still.next);
        }
    }
    let last = |n: usize| stills[n].crash(Survivors::Nothing).bytes(path).unwrap();
    assert_eq!((last(5), last(6)), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!(stills[5].crash(Survivors::Everything).bytes(path).unwrap(), b"two");
}
