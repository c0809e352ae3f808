//! A process that is killed between giving a file its name and making the name durable, and started
//! again without a power loss: what it is given from then on must not lie in a file that the next
//! power loss takes away. The simulated disk keeps such names pending until a directory is synced.

use super::mirror::{mirrored, open_both, open_mirror};
use super::*;
use crate::support::sim::Survivors;

const ACTS: [Act; 6] =
    [Act::Put, Act::PutSplit, Act::Erase, Act::EraseMany, Act::Grow, Act::Compact];
const LOSSES: [Survivors; 4] =
    [Survivors::Nothing, Survivors::Random(1), Survivors::Random(2), Survivors::Random(3)];

/// Puts a cell, then erases it or another one: nodes and both slots are written.
fn go_on(tree: &mut KeyTree, before: &Cells, entropy: &SimEntropy) -> Cells {
    grow(tree, &[([0x55; 32], vec![7; 100])], entropy).unwrap();
    let gone = before.keys().last().copied();
    let changes: Vec<Change> = gone.map(|key| (key, None)).into_iter().collect();
    rekey(tree, &changes, entropy).unwrap();
    grow(tree, &[([0x66; 32], vec![8; 100])], entropy).unwrap();
    let held = held(tree).unwrap();
    assert!(held.contains_key(&[0x55; 32]) && held.contains_key(&[0x66; 32]));
    held
}

#[test]
fn what_follows_a_kill_survives_a_power_loss() {
    let mut losses = 0;
    for act in ACTS {
        let (disk, before, changes) = scene(act, 8);
        for n in 1.. {
            let killed = disk.fork();
            let entropy = SimEntropy::new(2000 + n);
            let mut tree = open(&killed, &entropy).unwrap();
            killed.fail_at(n);
            let done = perform(act, &mut tree, &changes, &entropy).is_ok();
            drop(tree);
            killed.heal();
            let mut tree = open(&killed, &entropy).unwrap();
            let held_then = go_on(&mut tree, &before, &entropy);
            let generation = tree.generation();
            drop(tree);
            for loss in LOSSES {
                let context = format!("{act:?}, killed at {n}, {loss:?}");
                let after = killed.still().crash(loss);
                let tree = open(&after, &entropy).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(tree.generation(), generation, "{context}");
                assert!(held(&tree).unwrap() == held_then, "{context}: cells are gone");
                assert_scrubbed(&after, generation, &context);
                losses += 1;
            }
            if done {
                break;
            }
        }
    }
    println!("{losses} power losses after a kill");
    assert!(losses > 150);
}

#[test]
fn what_follows_a_killed_creation_survives_a_power_loss() {
    for n in 1.. {
        let killed = SimDisk::new();
        killed.fail_at(n);
        let entropy = SimEntropy::new(n);
        let done = create(&killed, &entropy).is_ok();
        killed.heal();
        let tree = open(&killed, &entropy).or_else(|_| create(&killed, &entropy));
        let mut tree = tree.unwrap_or_else(|e| panic!("killed at {n}: {e}"));
        let cells = go_on(&mut tree, &Cells::new(), &entropy);
        drop(tree);
        for loss in LOSSES {
            let context = format!("creation, killed at {n}, {loss:?}");
            let after = killed.still().crash(loss);
            let tree = open(&after, &entropy).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(held(&tree).unwrap() == cells, "{context}: cells are gone");
        }
        if done {
            break;
        }
    }
}

/// Both replicas: after the power loss the mirror alone is whole too. An act is killed, or the
/// bringing up of a mirror that had missed it, or of a new one.
#[test]
fn what_follows_a_kill_survives_on_the_mirror_alone() {
    let mut losses = 0;
    for (act, missed, fresh) in [
        (Act::Put, false, false),
        (Act::Erase, false, false),
        (Act::Compact, false, false),
        (Act::Erase, true, false),
        (Act::Compact, true, false),
        (Act::Put, true, true),
    ] {
        let (disk, before, changes) = mirrored(act, 11);
        if missed {
            let mut tree = open(&disk, &SimEntropy::new(1)).unwrap();
            perform(act, &mut tree, &changes, &SimEntropy::new(2)).unwrap();
        }
        if fresh {
            for path in disk.files().into_iter().filter(|path| path.starts_with("/mirror")) {
                disk.remove(&path).unwrap();
            }
            disk.sync_dir(Path::new("/mirror/t")).unwrap();
        }
        for n in 1.. {
            let killed = disk.fork();
            let entropy = SimEntropy::new(3000 + n);
            let done = {
                let mut tree = open(&killed, &entropy).unwrap();
                if !missed {
                    tree.attach(super::mirror::place(), false, &entropy).unwrap();
                }
                killed.fail_at(n);
                match missed {
                    true => {
                        let place = super::mirror::place();
                        tree.attach(place, false, &entropy).is_ok()
                            && tree.replicas().away.is_none()
                    }
                    false => perform(act, &mut tree, &changes, &entropy).is_ok(),
                }
            };
            killed.heal();
            let (mut tree, _) = open_both(&killed, &entropy, "started again");
            let cells = go_on(&mut tree, &before, &entropy);
            assert_eq!(tree.replicas().text(), "2/2");
            drop(tree);
            for loss in LOSSES {
                let context =
                    format!("{act:?}, missed {missed}, new {fresh}, killed at {n}, {loss:?}");
                let after = killed.still().crash(loss);
                let tree = open_mirror(&after, &entropy, &context);
                assert!(held(&tree).unwrap() == cells, "{context}: cells are gone");
                losses += 1;
            }
            if done {
                break;
            }
        }
    }
    println!("{losses} power losses after a kill, the first directory lost");
    assert!(losses > 150);
}
