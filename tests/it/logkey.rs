//! The log key hands over to another: what each may sign, a crash at every step, a mirror, data
//! from before the roll, and attack 36 end to end.

use crate::support::clinic::{Visit, append, assert_sound, read_all, text};
use crate::support::sim::SimDisk;
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::unit::TreeSize;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::trust::Trust;
use chancery::format::vkey::Verifier;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::Result;
use chancery::vault::logkey::{Rolled, kek_of};
use chancery::vault::verify::{Options, Report, verify_data};
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Scene {
    disk: SimDisk,
    clock: Arc<HandClock>,
    config: Config,
}

impl Scene {
    fn new(seed: u64, mirror: bool) -> (Scene, Vault) {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let mirror = mirror.then(|| PathBuf::from("/mirror"));
        let config = Config { mirror, ..world::config(Path::new("/sim")) };
        let scene = Scene { disk, clock, config };
        let vault = Vault::init(scene.world(seed), &scene.config, "vault.example").unwrap();
        append(&vault, &[Visit::new(1, "nurse", "p1"), Visit::new(2, "nurse", "p2")]).unwrap();
        vault.checkpoint().unwrap();
        (scene, vault)
    }

    fn world(&self, seed: u64) -> chancery::vault::World {
        world(Arc::new(self.disk.clone()), &self.clock, seed)
    }

    fn on(&self, disk: SimDisk) -> Scene {
        Scene { disk, clock: self.clock.clone(), config: self.config.clone() }
    }

    fn open(&self, seed: u64) -> Result<Vault> {
        Vault::open(self.world(seed), &self.config)
    }

    fn roll(&self, vault: Vault) -> Result<Rolled> {
        let kek = kek_of(&self.world(0), &self.config).unwrap();
        vault.roll_log_key(&kek, &two_people())
    }

    fn verify(&self, trust: Option<&Trust>) -> Report {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        verify_data(&disk, &self.config.data, trust, &Options::default(), &mut |_, _| {}).unwrap()
    }
}

fn trust(key: &Verifier, rolls: &[String]) -> Trust {
    let mut trust = Trust::of(std::slice::from_ref(key), &[]).unwrap();
    for roll in rolls {
        trust.roll(roll.as_bytes()).unwrap();
    }
    trust
}

fn names(report: &Report) -> Vec<&'static str> {
    report.verdicts.iter().filter(|v| v.fails).map(|v| v.name).collect()
}

#[test]
fn the_old_key_signs_up_to_its_end_and_the_new_one_beyond() {
    let (scene, vault) = Scene::new(1, false);
    let old = vault.log_key().clone();
    let size = vault.size();
    let rolled = scene.roll(vault).unwrap();
    assert_eq!((rolled.index.0, rolled.until), (size.0, TreeSize(size.0 + 1)));
    assert_eq!(rolled.old, old);
    // The checkpoint of that very size is signed by both: an auditor who was not told follows.
    let note = scene.disk.files().into_iter().find(|p| p.ends_with("checkpoint")).unwrap();
    let note = scene.disk.bytes(&note).unwrap();
    for key in [&rolled.old, &rolled.new] {
        assert_eq!(Checkpoint::open(&note, key).unwrap().size, rolled.until);
    }
    let vault = scene.open(2).unwrap();
    assert_eq!(*vault.log_key(), rolled.new);
    append(&vault, &[Visit::new(3, "nurse", "p1")]).unwrap();
    let note = vault.checkpoint().unwrap();
    assert!(Checkpoint::open(note.as_bytes(), &rolled.new).is_ok());
    assert!(Checkpoint::open(note.as_bytes(), &old).is_err());
    assert_sound(&vault, "rolled");
    assert_eq!(vault.key_rolls(), std::slice::from_ref(&rolled.note));
    drop(vault);
    // Twice more, and everything still opens and verifies.
    let mut rolls = vec![rolled.note];
    for seed in 3..5 {
        let again = scene.roll(scene.open(seed).unwrap()).unwrap();
        rolls.push(again.note);
    }
    let vault = scene.open(9).unwrap();
    assert_eq!(vault.key_rolls(), rolls);
    vault.checkpoint().unwrap();
    drop(vault);
    assert_eq!(names(&scene.verify(Some(&trust(&old, &rolls)))), [""; 0]);
    assert_eq!(names(&scene.verify(None)), [""; 0]);
    let left: Vec<_> =
        scene.disk.files().into_iter().filter(|p| p.ends_with("log-next.key")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn attack_36_a_retired_key_and_a_roll_that_nobody_pinned_end_to_end() {
    let (scene, vault) = Scene::new(10, false);
    let old = vault.log_key().clone();
    drop(vault);
    let before = scene.disk.fork();
    let rolled = scene.roll(scene.open(11).unwrap()).unwrap();
    let vault = scene.open(12).unwrap();
    append(&vault, &[Visit::new(3, "nurse", "p1")]).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    // Whoever pinned the old key alone cannot tell the new one from a thief's.
    let pinned = trust(&old, &[]);
    let report = scene.verify(Some(&pinned));
    assert!(report.verdicts.iter().any(|v| v.name == "UNTRUSTED_KEY"), "{:?}", report.verdicts);
    assert_eq!(report.exit_code(), 4);
    let followed = trust(&old, std::slice::from_ref(&rolled.note));
    assert_eq!(names(&scene.verify(Some(&followed))), [""; 0]);
    // A thief of the old key signs the newest log with it: it has retired.
    let signing = Path::new("/sim/keys/signing");
    let thief = scene.on(scene.disk.fork());
    let stolen = before.bytes(&signing.join("log.key")).unwrap();
    thief.disk.plant(&signing.join("log.key"), &stolen);
    let refused = thief.open(13).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.starts_with("CHECKPOINT_SIGNATURE"), "{refused}");
    // One signature of the roll is missing: not a key of this log.
    let (one_sided, _) = rolled.note.trim_end().rsplit_once('\n').unwrap();
    let mut trust = Trust::of(std::slice::from_ref(&old), &[]).unwrap();
    let refused = trust.roll(format!("{one_sided}\n").as_bytes()).unwrap_err();
    assert_eq!(refused.verdict(), "UNTRUSTED_KEY");
}

#[test]
fn a_crash_anywhere_in_a_roll_leaves_one_key_in_force() {
    let mut crashes = 0;
    for mirror in [false, true] {
        let (scene, vault) = Scene::new(20, mirror);
        let old = vault.log_key().clone();
        drop(vault);
        for n in 1.. {
            let attempt = scene.on(scene.disk.fork());
            let vault = attempt.open(21).unwrap();
            attempt.disk.fail_at(n);
            let done = attempt.roll(vault);
            for seed in 0..5 {
                let context = format!("mirror {mirror}, failed at {n}, seed {seed}");
                let after = attempt.on(attempt.disk.crash(seed));
                if mirror && seed > 2 {
                    for path in after.disk.files() {
                        if path.starts_with("/sim/keys") {
                            after.disk.remove(&path).unwrap();
                        }
                    }
                    Vault::restore_keys(after.world(22), &after.config, false)
                        .unwrap_or_else(|e| panic!("{context}: {e}"));
                }
                let vault = after.open(23).unwrap_or_else(|e| panic!("{context}: {e}"));
                let rolls = vault.key_rolls();
                assert!(rolls.len() == 1 || done.is_err(), "{context}: an acknowledged roll");
                assert_eq!(*vault.log_key() == old, rolls.is_empty(), "{context}");
                append(&vault, &[Visit::new(3, "nurse", "p3")]).unwrap();
                assert_sound(&vault, &context);
                drop(vault);
                let report = after.verify(Some(&trust(&old, &rolls)));
                assert_eq!(names(&report), [""; 0], "{context}");
                let vault = after.open(24).unwrap_or_else(|e| panic!("{context}, again: {e}"));
                let told = read_all(&vault).iter().filter(|r| !text(r).is_empty()).count();
                assert!(told >= 3, "{context}: {told}");
                crashes += 1;
            }
            if done.is_ok() {
                break;
            }
        }
    }
    println!("{crashes} crashes of a roll");
    assert!(crashes > 100);
}

/// A backup of the data from before the roll still opens, read-only, beside the keys from after it.
#[test]
fn data_from_before_a_roll_open_beside_the_newest_keys() {
    let (scene, vault) = Scene::new(30, false);
    drop(vault);
    let backup = scene.disk.fork();
    let vault = scene.open(31).unwrap();
    vault.erase(&[crate::support::clinic::patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    scene.roll(vault).unwrap();
    let vault = scene.open(32).unwrap();
    vault.erase(&[crate::support::clinic::patient("p2")], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    for path in scene.disk.files().into_iter().filter(|p| p.starts_with("/sim/data")) {
        scene.disk.remove(&path).unwrap();
    }
    for path in backup.files().into_iter().filter(|p| p.starts_with("/sim/data")) {
        scene.disk.plant(&path, &backup.bytes(&path).unwrap());
    }
    let vault = scene.open(33).unwrap();
    assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
    assert!(!read_all(&vault).iter().any(|r| text(r).contains("secret-")));
}
