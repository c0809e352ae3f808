//! Scenes of what keeps a vault in shape: the log's key handed over, the key tree compacted, a
//! second key directory in step, away and back, snapshots of bounded opening, everything read
//! again, what is past packed.

use super::scenes::{Scene, clinic, has, many, nothing, plain, tomorrow};
use super::told::{MIRROR, Teller};
use crate::support::sim::SimDisk;
use chancery::base::entry::Kind;
use chancery::vault::Vault;
use chancery::vault::config::Tuning;
use chancery::vault::dedupe::Bounds;
use chancery::vault::error::Result;

/// Two key directories.
fn mirrored(told: &mut Teller) {
    told.config.mirror = Some(MIRROR.into());
}

/// A snapshot as soon as anything lies behind the last one, small segments, a small window.
fn eager(told: &mut Teller) {
    let dedupe = Bounds { ids: 8, nanos: 1 };
    told.config.tuning = Tuning {
        segment_bytes: 3_000,
        snapshot_entries: 1,
        snapshot_pause: 0,
        dedupe,
        pack: false,
        ..Tuning::default()
    };
}

/// As `eager`, but an opening writes one snapshot at its first commit, and none after it.
fn one_an_opening(told: &mut Teller) {
    eager(told);
    told.config.tuning.snapshot_pause = u64::MAX;
}

fn ending(disk: &SimDisk, ending: &str) -> usize {
    disk.files().iter().filter(|path| path.to_string_lossy().ends_with(ending)).count()
}

fn sends_named(told: &mut Teller, vault: &Vault) -> Result<()> {
    clinic(told, vault)?;
    told.named(vault, &[1, 2, 3])
}

fn rolls() -> Vec<Scene> {
    let once = Scene {
        then: |told, vault| {
            let vault = told.roll(vault)?;
            let visit = told.visit("n1", "living");
            told.append(&vault, &[visit])?;
            Ok(vault)
        },
        done: |_, vault| vault.key_rolls().len() == 1,
        ..plain("roll of the log key", nothing)
    };
    let twice = Scene {
        setup: mirrored,
        then: |told, vault| {
            let vault = told.roll(vault)?;
            told.erase(&vault, "p1", &[])?;
            told.roll(vault)
        },
        done: |_, vault| vault.key_rolls().len() == 2,
        forgets: true,
        ..plain("rolls with a mirror", nothing)
    };
    let snapshots = Scene {
        setup: eager,
        before: sends_named,
        then: |told, vault| {
            told.named(&vault, &[4, 5])?;
            let vault = told.roll(vault)?;
            told.named(&vault, &[6])?;
            told.roll(vault)
        },
        done: |told, vault| vault.key_rolls().len() == 2 && ending(&told.disk, ".snap") > 0,
        ..plain("rolls beside snapshots", nothing)
    };
    vec![once, twice, snapshots]
}

fn compactions() -> Vec<Scene> {
    fn wasteful(told: &mut Teller, vault: &Vault) -> Result<()> {
        clinic(told, vault)?;
        let visits = many(told, "grown", 40);
        told.append(vault, &visits)?;
        let visits = many(told, "gone", 5);
        told.append(vault, &visits)?;
        (0..5).try_for_each(|n| told.erase(vault, &format!("gone{n}"), &[]))
    }
    fn compact(told: &mut Teller, vault: &Vault) -> Result<()> {
        let (before, after) = told.compact(vault)?;
        // Root and leaves: one of them lost would lose somebody.
        assert!(after < before && after > 3 * 4096, "{before} to {after}");
        let visits = many(told, "new", 2);
        told.append(vault, &visits)?;
        told.erase(vault, "p1", &[])
    }
    let alone = plain("compaction of the key tree", compact);
    let both = plain("compaction of the key tree with a mirror", compact);
    vec![
        Scene { before: wasteful, forgets: true, ..alone },
        Scene { setup: mirrored, before: wasteful, forgets: true, ..both },
    ]
}

fn mirrors() -> Vec<Scene> {
    let in_step = plain("mirror in step", |told, vault| {
        let visits = many(told, "new", 3);
        told.append(vault, &visits)?;
        told.link(vault, "new0", "new1")?;
        told.erase(vault, "p1", &[])?;
        told.erase(vault, "new1", &[])
    });
    let in_step = Scene { setup: mirrored, forgets: true, ..in_step };
    let expiry = Scene {
        setup: mirrored,
        before: |told, vault| {
            clinic(told, vault)?;
            tomorrow(told, vault, 100)
        },
        done: |_, vault| vault.facts_now().expired.len() == 1,
        ..plain("expiry with a mirror", |told, vault| told.expire(vault, &[]))
    };
    let away = Scene {
        setup: mirrored,
        then: |told, vault| {
            drop(vault);
            told.away = true;
            let vault = told.open()?;
            let visit = told.visit("n1", "late");
            told.append(&vault, &[visit])?;
            told.erase(&vault, "p1", &[])?;
            drop(vault);
            told.away = false;
            told.open()
        },
        done: |_, vault| vault.key_replicas().text() == "2/2" && has(vault, Kind::EraseFinal),
        forgets: true,
        ..plain("mirror away and back", nothing)
    };
    let breaks = Scene {
        setup: mirrored,
        then: |told, vault| {
            told.break_mirror(4);
            told.erase(&vault, "p1", &[])?;
            assert_eq!(vault.key_replicas().text(), "1/2");
            let visit = told.visit("n1", "late");
            told.append(&vault, &[visit])?;
            drop(vault);
            told.open()
        },
        done: |_, vault| vault.key_replicas().text() == "2/2" && has(vault, Kind::EraseFinal),
        forgets: true,
        ..plain("the mirror breaks in an erasure", nothing)
    };
    vec![in_step, expiry, away, breaks]
}

fn reading() -> Vec<Scene> {
    let rounds = Scene {
        setup: one_an_opening,
        before: sends_named,
        then: |told, mut vault| {
            for round in 2..5 {
                told.named(&vault, &[round * 3, round * 3 + 1, round * 3 + 2])?;
                drop(vault);
                vault = told.open()?;
                let visit = told.visit("n1", "living");
                told.append(&vault, &[visit])?;
                drop(vault);
                vault = told.open()?;
            }
            Ok(vault)
        },
        done: |told, vault| vault.vouched().0 > 0 && ending(&told.disk, ".run") > 0,
        ..plain("snapshots, one an opening", nothing)
    };
    let beside = plain("snapshots beside an erasure", |told, vault| {
        told.named(vault, &[4, 5])?;
        told.erase(vault, "p1", &[])?;
        let visits = many(told, "new", 2);
        told.append(vault, &visits)?;
        told.named(vault, &[6, 7, 8, 9, 10, 11])?;
        told.link(vault, "new0", "new1")
    });
    let beside = Scene {
        setup: eager,
        before: sends_named,
        done: |told, _| ending(&told.disk, ".snap") > 0,
        forgets: true,
        ..beside
    };
    let scrub = Scene {
        setup: mirrored,
        before: |told, vault| {
            clinic(told, vault)?;
            told.erase(vault, "p1", &[])
        },
        done: |_, vault| has(vault, Kind::Scan),
        ..plain("scrub with a mirror", |told, vault| {
            told.scrub(vault)?;
            let visit = told.visit("n1", "living");
            told.append(vault, &[visit])
        })
    };
    let pack = Scene {
        setup: |told| told.config.tuning.segment_bytes = 3_000,
        before: |told, vault| {
            clinic(told, vault)?;
            for _ in 0..3 {
                tomorrow(told, vault, 1)?;
                let visits = many(told, "p", 2);
                told.append(vault, &visits)?;
            }
            told.erase(vault, "p2", &[])
        },
        done: |told, _| ending(&told.disk, ".pak") > 0,
        ..plain("pack what is past", |told, vault| {
            let files = told.pack(vault)?;
            assert!(files > 2, "{files} files were packed");
            told.erase(vault, "p1", &[])
        })
    };
    vec![rounds, beside, scrub, pack]
}

/// All of them.
pub(super) fn upkeep() -> Vec<Scene> {
    [rolls(), compactions(), mirrors(), reading()].into_iter().flatten().collect()
}
