//! Two replicas of a shred tree: a crash at every operation with either replica lost afterwards, a
//! replica that is away or fails, one that comes back with an old root, two that were written
//! apart.

use super::*;
use crate::support::split::Split;
use chancery::base::id::ReplicaId;
use chancery::store::keytree::{Attached, MirrorPlace};

fn there() -> PathBuf {
    PathBuf::from("/mirror/t")
}

fn marker() -> PathBuf {
    PathBuf::from("/data/keys.behind")
}

pub(super) fn place() -> MirrorPlace {
    let (id, marker) = (ReplicaId([7; 16]), marker());
    MirrorPlace { dir: there(), secrets: None, id, marker, away: None }
}

/// The same tree and cells as `scene`, with a mirror in step.
pub(super) fn mirrored(act: Act, seed: u64) -> (SimDisk, Cells, Vec<Change>) {
    let (disk, before, changes) = scene(act, seed);
    disk.create_dir(Path::new("/data")).unwrap();
    let entropy = SimEntropy::new(seed + 50);
    let mut tree = open(&disk, &entropy).unwrap();
    assert_eq!(tree.attach(place(), false, &entropy).unwrap(), Attached::BroughtUp);
    drop(tree);
    disk.rewind_tape();
    (disk, before, changes)
}

pub(super) fn open_both(
    disk: &SimDisk,
    entropy: &SimEntropy,
    context: &str,
) -> (KeyTree, Attached) {
    let mut tree = open(disk, entropy).unwrap_or_else(|e| panic!("{context}: primary: {e}"));
    let how = tree.attach(place(), false, entropy);
    let how = how.unwrap_or_else(|e| panic!("{context}: mirror: {e}"));
    assert_eq!(tree.replicas().text(), "2/2", "{context}: {how:?}");
    (tree, how)
}

/// Opens the mirror alone: the first directory is gone.
pub(super) fn open_mirror(disk: &SimDisk, entropy: &SimEntropy, context: &str) -> KeyTree {
    for path in disk.files().into_iter().filter(|path| path.starts_with("/keys")) {
        disk.remove(&path).unwrap();
    }
    disk.sync_dir(&dir()).unwrap();
    KeyTree::open(Arc::new(disk.clone()), &there(), TENANT, &kek(), entropy)
        .unwrap_or_else(|error| panic!("{context}: the mirror alone: {error}"))
}

fn assert_same_files(disk: &SimDisk, context: &str) {
    for name in ["nodes.seg", "root.0", "root.1"] {
        let blank = |bytes: Option<Vec<u8>>| bytes.unwrap_or_else(|| vec![0; BLOB_BYTES]);
        let one = blank(disk.bytes(&dir().join(name)));
        let two = blank(disk.bytes(&there().join(name)));
        assert!(one == two, "{context}: {name} differs");
    }
}

/// What holds after a crash of an act on two replicas, whichever of them is left.
fn assert_either_recovers(
    disk: &SimDisk,
    before: &Cells,
    changes: &[Change],
    acknowledged: bool,
    context: &str,
) {
    let after = applied(before, changes);
    let gone: Vec<&Vec<u8>> =
        changes.iter().filter(|(_, v)| v.is_none()).map(|(key, _)| &before[key]).collect();
    let one_of = |found: &Cells, context: &str| {
        assert!(*found == *before || *found == after, "{context}: in between");
        assert!(*found == after || !acknowledged, "{context}: acknowledged, then undone");
    };
    let entropy = SimEntropy::new(99);
    let both = disk.fork();
    let (mut tree, _) = open_both(&both, &entropy, context);
    let found = held(&tree).unwrap();
    one_of(&found, context);
    assert_scrubbed(&both, tree.generation(), context);
    assert_same_files(&both, context);
    if found == after {
        let reached = Attacker::in_dirs(&both, &[dir(), there()]).closure(false);
        assert!(gone.iter().all(|value| !reached.contains(*value)), "{context}: back");
    }
    grow(&mut tree, &[([0x55; 32], vec![7; 100])], &entropy).unwrap();
    drop(tree);
    let (tree, how) = open_both(&both.crash(1), &entropy, context);
    assert_eq!(how, Attached::InStep, "{context}");
    assert_eq!(held(&tree).unwrap().len(), found.len() + 1, "{context}: lost after recovery");
    tree.check().unwrap();
    let lost = disk.fork();
    let tree = open_mirror(&lost, &entropy, context);
    one_of(&held(&tree).unwrap(), &format!("{context}, first directory lost"));
    let alone = disk.fork();
    for path in alone.files().into_iter().filter(|path| path.starts_with("/mirror")) {
        alone.remove(&path).unwrap();
    }
    let tree = open(&alone, &entropy).unwrap();
    one_of(&held(&tree).unwrap(), &format!("{context}, mirror lost"));
}

fn crash_mirrored(act: Act) -> usize {
    let (disk, before, changes) = mirrored(act, 5);
    let mut crashes = 0;
    for n in 1.. {
        let attempt = disk.fork();
        let entropy = SimEntropy::new(1000 + n);
        let (mut tree, _) = open_both(&attempt, &entropy, "before");
        attempt.fail_at(n);
        let done = perform(act, &mut tree, &changes, &entropy).is_ok();
        drop(tree);
        for seed in 0..4 {
            let context = format!("{act:?}, failed at {n}, seed {seed}");
            let after = attempt.crash(seed);
            assert_either_recovers(&after, &before, &changes, done, &context);
            crashes += 1;
        }
        if done {
            break;
        }
    }
    println!("{act:?} with a mirror: {crashes} crashes");
    crashes
}

#[test]
fn a_crash_anywhere_leaves_two_replicas_of_which_either_alone_is_whole() {
    for act in [Act::Put, Act::PutSplit, Act::Erase, Act::EraseMany, Act::Grow, Act::Compact] {
        assert!(crash_mirrored(act) > 16);
    }
}

/// Bringing a mirror up, cut at every operation: one that was away for a while, and a new one.
#[test]
fn a_crash_while_a_mirror_is_brought_up_can_be_repeated() {
    let mut crashes = 0;
    for (act, fresh) in
        [(Act::Erase, false), (Act::Put, false), (Act::Compact, false), (Act::Put, true)]
    {
        let (disk, before, changes) = mirrored(act, 7);
        let entropy = SimEntropy::new(3);
        let mut tree = open(&disk, &entropy).unwrap();
        perform(act, &mut tree, &changes, &entropy).unwrap();
        drop(tree);
        if fresh {
            for path in disk.files().into_iter().filter(|path| path.starts_with("/mirror")) {
                disk.remove(&path).unwrap();
            }
            disk.sync_dir(&there()).unwrap();
        }
        for n in 1.. {
            let attempt = disk.fork();
            let entropy = SimEntropy::new(n);
            let mut tree = open(&attempt, &entropy).unwrap();
            attempt.fail_at(n);
            let done = tree.attach(place(), false, &entropy);
            let up = done.is_ok_and(|how| how == Attached::BroughtUp);
            drop(tree);
            for seed in 0..6 {
                let context = format!("{act:?}, fresh {fresh}, failed at {n}, seed {seed}");
                let after = attempt.crash(seed);
                let (tree, _) = open_both(&after, &SimEntropy::new(4), &context);
                assert_eq!(held(&tree).unwrap(), applied(&before, &changes), "{context}");
                assert_same_files(&after, &context);
                assert_scrubbed(&after, tree.generation(), &context);
                crashes += 1;
            }
            if up {
                break;
            }
        }
    }
    println!("bringing up: {crashes} crashes");
    assert!(crashes > 100);
}

/// The mirror fails at every one of its operations in turn; the first directory goes on.
#[test]
fn a_mirror_that_fails_never_stops_an_act_and_is_said_to_be_away() {
    for act in [Act::Put, Act::Erase, Act::Grow, Act::Compact] {
        let (disk, before, changes) = mirrored(act, 9);
        for n in 1.. {
            let attempt = disk.fork();
            let split = Split::new(&attempt, "/mirror");
            let shared: Arc<dyn Disk> = Arc::new(split.clone());
            let entropy = SimEntropy::new(n);
            let mut tree = KeyTree::open(shared, &dir(), TENANT, &kek(), &entropy).unwrap();
            assert_eq!(tree.attach(place(), false, &entropy).unwrap(), Attached::InStep);
            split.fail_after(n);
            perform(act, &mut tree, &changes, &entropy).unwrap();
            let replicas = tree.replicas();
            let whole = replicas.away.is_none();
            assert_eq!(replicas.text(), if whole { "2/2" } else { "1/2" }, "{act:?} at {n}");
            assert_eq!(attempt.exists(&marker()).unwrap(), !whole, "{act:?} at {n}: marker");
            assert_eq!(held(&tree).unwrap(), applied(&before, &changes));
            drop(tree);
            let (tree, how) = open_both(&attempt, &SimEntropy::new(1), "back");
            // A failed sync may still have left everything there.
            assert!(!whole || how == Attached::InStep, "{act:?} at {n}: {how:?}");
            assert!(!attempt.exists(&marker()).unwrap());
            assert_same_files(&attempt, "back");
            assert_scrubbed(&attempt, tree.generation(), "back");
            let reached = Attacker::in_dirs(&attempt, &[dir(), there()]).closure(false);
            for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
                assert!(!reached.contains(&before[key]), "{act:?} at {n}: back");
            }
            if whole {
                assert!(n > 2, "{act:?}: the mirror was used {n} times");
                break;
            }
        }
    }
}

#[test]
fn attack_29_a_replica_that_missed_an_erasure_is_scrubbed_before_anything_is_answered() {
    let (disk, before, changes) = mirrored(Act::Erase, 3);
    let old: Vec<_> =
        ["root.0", "root.1"].map(|name| disk.bytes(&there().join(name)).unwrap()).into();
    let entropy = SimEntropy::new(2);
    let mut tree = open(&disk, &entropy).unwrap();
    let away = MirrorPlace { away: Some("not mounted".to_owned()), ..place() };
    assert_eq!(
        tree.attach(away, false, &entropy).unwrap(),
        Attached::Away("/mirror/t: not mounted".to_owned())
    );
    perform(Act::Erase, &mut tree, &changes, &entropy).unwrap();
    assert_eq!(tree.replicas().text(), "1/2");
    drop(tree);
    // Meanwhile the old root still opens the person: that is why the receipt says partial.
    let stale = KeyTree::open(Arc::new(disk.fork()), &there(), TENANT, &kek(), &entropy).unwrap();
    assert_eq!(held(&stale).unwrap(), before);
    drop(stale);
    let (tree, how) = open_both(&disk, &entropy, "back");
    assert_eq!(how, Attached::BroughtUp);
    for name in ["root.0", "root.1"] {
        assert!(
            !old.contains(&disk.bytes(&there().join(name)).unwrap()) || is_blank_there(&disk, name)
        );
    }
    assert_eq!(held(&tree).unwrap(), applied(&before, &changes));
    let reached = Attacker::in_dirs(&disk, &[dir(), there()]).closure(true);
    assert!(!reached.contains(&before[&changes[0].0]));
}

fn is_blank_there(disk: &SimDisk, name: &str) -> bool {
    disk.bytes(&there().join(name)).unwrap().iter().all(|byte| *byte == 0)
}

#[test]
fn a_replica_that_has_more_is_never_overwritten() {
    let (disk, _, changes) = mirrored(Act::Put, 4);
    let entropy = SimEntropy::new(2);
    let image = disk.fork();
    let (mut tree, _) = open_both(&disk, &entropy, "go on");
    perform(Act::Put, &mut tree, &changes, &entropy).unwrap();
    drop(tree);
    // The first directory is put back as it was: the mirror has one more commit.
    for name in ["nodes.seg", "root.0", "root.1"] {
        disk.plant(&dir().join(name), &image.bytes(&dir().join(name)).unwrap());
    }
    let files = |disk: &SimDisk| disk.bytes(&there().join("nodes.seg"));
    let kept = files(&disk);
    let mut tree = open(&disk, &entropy).unwrap();
    assert_eq!(tree.attach(place(), false, &entropy).unwrap(), Attached::Ahead);
    assert_eq!(files(&disk), kept);
    drop(tree);
    // Now both go on alone: two histories, which no program may judge.
    let mut tree = open(&disk, &entropy).unwrap();
    put(&mut tree, &[([9; 32], vec![9; 30])], &entropy).unwrap();
    let refused = tree.attach(place(), false, &entropy).unwrap_err();
    assert!(refused.what.starts_with("KEYS_DIVERGED"), "{refused}");
    assert_eq!(files(&disk), kept);
    // A person decides.
    assert_eq!(tree.attach(place(), true, &entropy).unwrap(), Attached::BroughtUp);
    assert_same_files(&disk, "forced");
}

/// A mirror of another generation gives way, whatever its commits look like; a newer one does not.
#[test]
fn an_older_generation_gives_way_and_a_newer_one_does_not() {
    let (disk, before, changes) = mirrored(Act::Erase, 6);
    let entropy = SimEntropy::new(2);
    let old = disk.fork();
    let (mut tree, _) = open_both(&disk, &entropy, "go on");
    perform(Act::Erase, &mut tree, &changes, &entropy).unwrap();
    drop(tree);
    for name in ["nodes.seg", "root.0", "root.1"] {
        disk.plant(&dir().join(name), &old.bytes(&dir().join(name)).unwrap());
    }
    let mut tree = open(&disk, &entropy).unwrap();
    assert_eq!(tree.attach(place(), false, &entropy).unwrap(), Attached::Ahead);
    drop(tree);
    // In the other direction the old copy is scrubbed and written anew.
    let mirror: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut tree = KeyTree::open(mirror, &there(), TENANT, &kek(), &entropy).unwrap();
    let back = MirrorPlace { dir: dir(), ..place() };
    assert_eq!(tree.attach(back, true, &entropy).unwrap(), Attached::BroughtUp);
    drop(tree);
    assert_same_files(&disk, "rebuilt");
    let tree = open(&disk, &entropy).unwrap();
    assert_eq!(held(&tree).unwrap(), applied(&before, &changes));
    let reached = Attacker::in_dirs(&disk, &[dir(), there()]).closure(true);
    assert!(!reached.contains(&before[&changes[0].0]));
}
