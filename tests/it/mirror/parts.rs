//! Key directories of which a part is lost, broken or older: what a restore takes, and what a vault
//! that is open says of its mirror.

use super::*;
use crate::support::interrupt::Interrupted;
use crate::support::world::SeedEntropy;
use chancery::vault::World;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Files of a key directory beside the tree.
const SECRETS: [&str; 3] = ["kek", "signing/log.key", "signing/report.key"];

fn remove(disk: &SimDisk, path: &Path) {
    disk.remove(path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

/// What `KEYS_PRIMARY_LOST` and the errors of damaged secrets advise, for each of them.
#[test]
fn a_key_directory_without_one_of_its_secrets_is_restored() {
    let (scene, vault) = Scene::new(110);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    for name in SECRETS {
        let path = Path::new("/sim/keys").join(name);
        for rotten in [false, true] {
            let context = format!("{name}, rotten {rotten}");
            let scene = scene.on(&scene.disk.fork());
            assert!(code(scene.restore(false)).starts_with("KEYS_PRIMARY_WHOLE"), "{context}");
            match rotten {
                true => scene.disk.flip(&path, 30, 1),
                false => remove(&scene.disk, &path),
            }
            assert!(scene.open(111).is_err(), "{context}");
            scene.restore(false).unwrap_or_else(|e| panic!("{context}: {e}"));
            let vault = scene.open(112).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(codes(&vault), ["UNWITNESSED"], "{context}");
            expect(&vault, &["p1"], &context);
            append(&vault, &[Visit::new(7, "nurse", "p0")]).unwrap();
            vault.checkpoint().unwrap();
            drop(vault);
            verified(&scene, &[]);
            let whole = code(scene.restore(false));
            assert!(whole.starts_with("KEYS_PRIMARY_WHOLE"), "{context}: {whole}");
        }
    }
    // One that others may read is no loss.
    scene.disk.make_public(Path::new("/sim/keys/kek"));
    let refused = code(scene.restore(true));
    assert!(refused.contains("KEK_WORLD_READABLE"), "{refused}");
}

/// The mirror lacks keys that were made while it was away. As long as the tree itself is whole,
/// none of them is given up for a lost root key.
#[test]
fn a_whole_tree_is_not_replaced_by_a_mirror_that_is_behind() {
    let (scene, vault) = Scene::new(120);
    scene.split.fail_after(1);
    append(&vault, &[Visit::new(7, "nurse", "late")]).unwrap();
    drop(vault);
    scene.split.heal();
    let both = scene.on(&scene.disk.fork());
    for accept_loss in [false, true] {
        let scene = scene.on(&scene.disk.fork());
        remove(&scene.disk, Path::new("/sim/keys/kek"));
        assert!(code(scene.open(121)).contains("KEYS_PRIMARY_LOST"));
        scene.restore(accept_loss).unwrap();
        let vault = scene.open(122).unwrap();
        assert_eq!(codes(&vault), ["UNWITNESSED", "KEYS_MIRROR_BROUGHT_UP"]);
        expect(&vault, &[], "the root key alone");
        let late = read_all(&vault).into_iter().find(|r| r.entry.head.source_seq == Some(7));
        assert_eq!(data_fate(&late.unwrap()), Fate::Open);
    }
    // The tree is lost too: only then is it a question of loss.
    remove(&both.disk, Path::new("/sim/keys/kek"));
    let tenant = both.disk.list(Path::new("/sim/keys")).unwrap().into_iter();
    let tenant = tenant.map(|listed| listed.name).find(|name| name.len() == 32).unwrap();
    remove(&both.disk, &Path::new("/sim/keys").join(tenant).join("nodes.seg"));
    assert!(code(both.restore(false)).starts_with("KEYS_MIRROR_STALE"));
    both.restore(true).unwrap();
    expect(&both.open(123).unwrap(), &[], "what the mirror has");
}

/// Puts files of the first key directory back as they were on another disk.
fn put_back(scene: &Scene, old: &SimDisk) {
    for path in old.files().into_iter().filter(|path| path.starts_with("/sim/keys")) {
        scene.disk.plant(&path, &old.bytes(&path).unwrap());
    }
}

/// Somebody mounts, beside a vault that is open, a mirror that is newer than its keys, or one that
/// went its own way: what is erased from then on has not reached it, and the receipt says so.
#[test]
fn a_mirror_that_cannot_follow_is_not_forgotten() {
    for parted in [false, true] {
        let (scene, vault) = Scene::new(130);
        drop(vault);
        let old = scene.disk.fork();
        let vault = scene.open(131).unwrap();
        append(&vault, &[Visit::new(7, "nurse", "p7")]).unwrap();
        drop(vault);
        put_back(&scene, &old);
        scene.split.fail_after(1);
        let vault = scene.open(132).unwrap();
        if parted {
            append(&vault, &[Visit::new(8, "nurse", "p8")]).unwrap();
        }
        scene.split.heal();
        let refused = code(vault.mend_mirror());
        assert!(refused.contains("KEYS_DIVERGED"), "parted {parted}: {refused}");
        let replicas = vault.key_replicas();
        assert_eq!(replicas.text(), "1/2", "parted {parted}");
        assert!(replicas.paired.is_some() && replicas.away.is_some());
        let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
        let receipt = vault.erasure_receipt(erased.job).unwrap();
        assert!(receipt.contains("\nreplicas 1/2 E2-partial\n"), "parted {parted}: {receipt}");
        assert_eq!(vault.facts_now().partial(), 1);
        let marked = scene.disk.files().iter().any(|path| path.ends_with("keys.behind"));
        assert!(marked, "parted {parted}: it could be taken for a whole copy");
    }
}

/// The same where the mirror was named since the vault was opened.
#[test]
fn a_mirror_that_is_refused_when_it_is_made_is_not_forgotten() {
    let (scene, vault) = Scene::new(140);
    let tenant = vault.tenant().to_string();
    drop(vault);
    let alone = scene.on(&scene.disk.fork());
    let vault = alone.open(141).unwrap();
    append(&vault, &[Visit::new(7, "nurse", "p7")]).unwrap();
    vault.forget_mirror(&two_people()).unwrap().unwrap();
    append(&vault, &[Visit::new(8, "nurse", "p8")]).unwrap();
    // The mirror's tree went on alone too, and it looks like an interrupted pairing.
    let vault_of_both = scene.open(142).unwrap();
    append(&vault_of_both, &[Visit::new(9, "nurse", "p9")]).unwrap();
    drop(vault_of_both);
    for name in ["nodes.seg", "root.0", "root.1"] {
        let path = Path::new(MIRROR).join(&tenant).join(name);
        alone.disk.plant(&path, &scene.disk.bytes(&path).unwrap());
    }
    remove(&alone.disk, &Path::new(MIRROR).join("kek"));
    assert!(code(vault.make_mirror()).contains("KEYS_DIVERGED"));
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    assert!(receipt.contains("\nreplicas 1/2 E2-partial\n"), "{receipt}");
}

/// One file of the mirror cannot be read or written: the mirror is away, and the vault opens.
#[test]
fn a_broken_file_in_the_mirror_keeps_no_vault_from_opening() {
    for part in ["/mirror/kek", "/mirror/signing/log.key"] {
        let (scene, vault) = Scene::new(150);
        drop(vault);
        let scene = Scene { split: Split::new(&scene.disk, part), ..scene };
        let marked = || scene.disk.files().iter().any(|path| path.ends_with("keys.behind"));
        scene.split.fail_after(1);
        let vault = scene.open(151).unwrap_or_else(|e| panic!("{part}: {e}"));
        let said = vault.notices().iter().find(|notice| notice.code == "KEYS_MIRROR_AWAY");
        assert!(said.is_some_and(|notice| notice.text.contains(part)), "{part}: {said:?}");
        assert_eq!(vault.key_replicas().text(), "1/2", "{part}");
        assert!(marked(), "{part}: it could be taken for a whole copy");
        let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
        let receipt = vault.erasure_receipt(erased.job).unwrap();
        assert!(receipt.contains("\nreplicas 1/2 E2-partial\n"), "{part}: {receipt}");
        // Still broken while the vault is open: nothing is complete yet.
        let mended = vault.mend_mirror().unwrap_or_else(|e| panic!("{part}: {e}"));
        assert_eq!(mended.notice.map(|notice| notice.code), Some("KEYS_MIRROR_AWAY"), "{part}");
        assert_eq!((mended.completed, vault.key_replicas().text().as_str()), (0, "1/2"), "{part}");
        assert!(marked(), "{part}");
        scene.split.heal();
        let mended = vault.mend_mirror().unwrap();
        assert_eq!((mended.completed, vault.key_replicas().text().as_str()), (1, "2/2"), "{part}");
        assert!(!marked(), "{part}");
        drop(vault);
        lose(&scene.disk, "/sim/keys");
        scene.restore(false).unwrap();
        expect(&scene.open(152).unwrap(), &["p1"], part);
    }
}

/// While the log is told what is complete on the mirror, no erasure comes in between: it could fail
/// there, and be called complete with the others. Red is a matter of threads, green is not.
#[test]
fn no_erasure_comes_between_what_is_called_complete() {
    let mut interrupted = 0;
    for looks in 1.. {
        let (scene, vault) = Scene::new(160);
        drop(vault);
        let clock = Interrupted::by(&scene.clock);
        let (disk, entropy) = (Arc::new(scene.split.clone()), SeedEntropy::new(161));
        let world = World { disk, clock: clock.clone(), entropy };
        let vault = Arc::new(Vault::open(world, &scene.config).unwrap());
        scene.split.fail_after(1);
        for who in ["p0", "p1"] {
            vault.erase(&[patient(who)], "gdpr-17-1", &two_people()).unwrap();
        }
        scene.split.heal();
        let (other, split, start) = (vault.clone(), scene.split.clone(), vault.size());
        let eraser = Arc::new(Mutex::new(None));
        let place = eraser.clone();
        clock.at_look(looks, move || {
            let watched = other.clone();
            let last = Arc::new(AtomicBool::new(false));
            let begun = last.clone();
            *place.lock().unwrap() = Some(thread::spawn(move || {
                begun.store(true, Ordering::SeqCst);
                other.erase(&[patient("p2")], "gdpr-17-1", &two_people()).unwrap().job
            }));
            while !last.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            // It may come to its intent, or wait for whoever holds the keys.
            for _ in 0..20_000 {
                if watched.size() > start {
                    break;
                }
                thread::yield_now();
            }
            split.fail_after(1);
        });
        let completed = vault.mend_mirror().unwrap().completed;
        let came = clock.forget();
        if let Some(eraser) = eraser.lock().unwrap().take() {
            eraser.join().unwrap();
        }
        vault.settle();
        let kinds =
            (start.0..vault.size().0).map(|at| vault.entry(EntryIndex(at)).unwrap().head.kind);
        let kinds: Vec<Kind> = kinds.collect();
        let finals = kinds.iter().enumerate().filter(|(_, kind)| **kind == Kind::EraseFinal);
        let at: Vec<usize> = finals.map(|(at, _)| at).collect();
        assert_eq!((at.len(), completed), (2, 2), "look {looks}: {kinds:?}");
        assert_eq!(at[1], at[0] + 1, "look {looks}: {kinds:?}");
        interrupted += usize::from(came && kinds.contains(&Kind::EraseIntent));
        if !came {
            break;
        }
    }
    println!("{interrupted} times an erasure tried to come in between");
    assert!(interrupted > 1);
}
