//! Two key directories under one vault: in step, one away at an erasure or an expiry, one lost, one
//! stale; and the restore drill: which disk is lost, what opens, what never opens again.

mod parts;

use crate::support::clinic::{Visit, append, data_fate, patient, read_all, text};
use crate::support::sim::{SimDisk, Survivors};
use crate::support::split::Split;
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::record::{Fate, Record};
use chancery::base::unit::EntryIndex;
use chancery::format::control;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::Result;
use chancery::vault::hold::Order;
use chancery::vault::verify::{Options, verify_data};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HOME: &str = "/sim";
const MIRROR: &str = "/mirror";

struct Scene {
    disk: SimDisk,
    split: Split,
    clock: Arc<HandClock>,
    config: Config,
}

impl Scene {
    /// A vault with a mirror and six visits of three patients.
    fn new(seed: u64) -> (Scene, Vault) {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let split = Split::new(&disk, MIRROR);
        let config = Config {
            mirror: Some(PathBuf::from(MIRROR)),
            accept_time: true,
            ..world::config(Path::new(HOME))
        };
        let scene = Scene { disk, split, clock, config };
        let world = world(Arc::new(scene.split.clone()), &scene.clock, seed);
        let vault = Vault::init(world, &scene.config, "vault.example").unwrap();
        let visits: Vec<Visit> =
            (1..=6).map(|n| Visit::new(n, "nurse", &format!("p{}", n % 3))).collect();
        append(&vault, &visits).unwrap();
        (scene, vault)
    }

    fn open(&self, seed: u64) -> Result<Vault> {
        let world = world(Arc::new(self.split.clone()), &self.clock, seed);
        Vault::open(world, &self.config)
    }

    /// The same on another disk.
    fn on(&self, disk: &SimDisk) -> Scene {
        let split = Split::new(disk, MIRROR);
        let (clock, config) = (self.clock.clone(), self.config.clone());
        Scene { disk: disk.clone(), split, clock, config }
    }

    fn restore(&self, accept_loss: bool) -> Result<chancery::base::unit::Generation> {
        let world = world(Arc::new(self.split.clone()), &self.clock, 501);
        Vault::restore_keys(world, &self.config, accept_loss)
    }
}

fn codes(vault: &Vault) -> Vec<&'static str> {
    vault.notices().iter().map(|notice| notice.code).collect()
}

fn code<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A disk dies: every file below is gone.
fn lose(disk: &SimDisk, dir: &str) {
    let files: Vec<PathBuf> = disk.files().into_iter().filter(|p| p.starts_with(dir)).collect();
    for path in &files {
        disk.remove(path).unwrap();
    }
    for path in files {
        disk.sync_dir(path.parent().unwrap()).unwrap();
    }
}

/// Fate of what the first six visits said of each patient.
fn fates(vault: &Vault) -> BTreeMap<String, Fate> {
    let mut found = BTreeMap::new();
    for record in read_all(vault).iter().filter(|r| r.entry.head.kind == Kind::Event) {
        let seq = record.entry.head.source_seq.unwrap();
        if seq > 6 {
            continue;
        }
        let fate = data_fate(record);
        assert_eq!(fate == Fate::Open, text(record).contains("secret-"), "{seq}");
        found.insert(format!("p{}", seq % 3), fate);
    }
    found
}

fn expect(vault: &Vault, erased: &[&str], context: &str) {
    let all: BTreeMap<String, Fate> = ["p0", "p1", "p2"]
        .map(|p| (p.to_owned(), if erased.contains(&p) { Fate::Erased } else { Fate::Open }))
        .into();
    assert_eq!(fates(vault), all, "{context}");
}

fn verified(scene: &Scene, attention: &[&str]) {
    let disk: Arc<dyn Disk> = Arc::new(scene.disk.clone());
    let report =
        verify_data(&disk, &scene.config.data, None, &Options::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.failures, 0, "{:?}", report.verdicts);
    let noted: Vec<&str> = report.verdicts.iter().map(|v| v.name).collect();
    assert_eq!(noted, attention);
}

#[test]
fn an_erasure_on_both_says_so() {
    let (scene, vault) = Scene::new(1);
    assert!(!codes(&vault).contains(&"KEYS_SINGLE_COPY"), "{:?}", codes(&vault));
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    assert!(receipt.contains("\nstore D\nreplicas 2/2\n") && !receipt.contains("\nfinal "));
    drop(vault);
    let vault = scene.open(2).unwrap();
    assert_eq!(codes(&vault), ["UNWITNESSED"]);
    expect(&vault, &["p1"], "in step");
    vault.checkpoint().unwrap();
    drop(vault);
    verified(&scene, &[]);
}

#[test]
fn attack_29_a_mirror_away_makes_the_receipt_partial_until_it_is_scrubbed() {
    let (scene, vault) = Scene::new(3);
    scene.split.fail_after(1);
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    assert!(receipt.contains("\nreplicas 1/2 E2-partial\n"), "{receipt}");
    vault.checkpoint().unwrap();
    drop(vault);
    verified(&scene, &["ERASURE_PARTIAL"]);
    // Still away: the vault opens, says so, and the receipt stays partial.
    let vault = scene.open(4).unwrap();
    assert!(codes(&vault).contains(&"KEYS_MIRROR_AWAY"), "{:?}", codes(&vault));
    assert_eq!(vault.facts_now().partial(), 1);
    let visit = Visit::new(7, "nurse", "p1x");
    append(&vault, &[visit]).unwrap();
    assert_eq!(vault.mend_mirror().unwrap().completed, 0);
    // Back while the vault is open.
    scene.split.heal();
    let mended = vault.mend_mirror().unwrap();
    assert_eq!(mended.notice.map(|n| n.code), Some("KEYS_MIRROR_BROUGHT_UP"));
    assert_eq!(mended.completed, 1);
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    assert!(receipt.contains("\nreplicas 2/2\n") && receipt.contains("\nfinal "), "{receipt}");
    assert_eq!(vault.facts_now().partial(), 0);
    vault.checkpoint().unwrap();
    drop(vault);
    verified(&scene, &[]);
}

#[test]
fn a_mirror_back_at_an_opening_is_brought_up_and_said_once() {
    let (scene, vault) = Scene::new(5);
    scene.split.fail_after(1);
    let erased = vault.erase(&[patient("p2")], "gdpr-17-1", &two_people()).unwrap();
    scene.clock.pass_days(400);
    drop(vault);
    let vault = scene.open(6).unwrap();
    let expired = vault.expire(Some(vault.clock().now().day())).unwrap();
    assert!(!expired.class_days.is_empty());
    let partial = vault.facts_now().partial();
    assert_eq!(partial, 1 + expired.runs.len());
    drop(vault);
    scene.split.heal();
    let vault = scene.open(7).unwrap();
    assert!(codes(&vault).contains(&"KEYS_MIRROR_BROUGHT_UP"), "{:?}", codes(&vault));
    assert_eq!(vault.facts_now().partial(), 0);
    let size = vault.size();
    assert!(vault.erasure_receipt(erased.job).unwrap().contains("\nfinal "));
    drop(vault);
    let vault = scene.open(8).unwrap();
    assert!(!codes(&vault).contains(&"KEYS_MIRROR_BROUGHT_UP"));
    vault.settle();
    let finals = (0..vault.size().0)
        .filter(|at| vault.entry(EntryIndex(*at)).unwrap().head.kind == Kind::EraseFinal);
    assert_eq!(finals.count(), partial, "said once each, {size:?}");
}

#[test]
fn a_crash_between_scrub_and_entry_says_it_at_the_next_opening() {
    let (scene, vault) = Scene::new(9);
    scene.split.fail_after(1);
    vault.erase(&[patient("p2")], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    scene.split.heal();
    let mut openings = 0;
    for n in (1..).step_by(3) {
        let attempt = scene.on(&scene.disk.fork());
        attempt.disk.fail_at(n);
        let done = attempt.open(n).is_ok_and(|vault| vault.facts_now().partial() == 0);
        for seed in 0..3 {
            let after = attempt.on(&attempt.disk.crash(seed));
            let vault = after.open(90).unwrap_or_else(|e| panic!("at {n}, seed {seed}: {e}"));
            assert_eq!(vault.facts_now().partial(), 0, "at {n}, seed {seed}");
            expect(&vault, &["p2"], "after the crash");
            openings += 1;
        }
        if done {
            break;
        }
    }
    println!("{openings} openings after crashes of one that brought a mirror up");
    assert!(openings > 20);
}

#[test]
fn an_unmounted_mirror_is_not_written_to_and_an_unpaired_one_is_not_made() {
    let (scene, vault) = Scene::new(10);
    drop(vault);
    lose(&scene.disk, MIRROR);
    let vault = scene.open(11).unwrap();
    assert!(codes(&vault).contains(&"KEYS_MIRROR_AWAY"));
    append(&vault, &[Visit::new(7, "nurse", "p9")]).unwrap();
    drop(vault);
    assert!(!scene.disk.files().iter().any(|path| path.starts_with(MIRROR)));
    // Not named in the configuration any more: the pairing is remembered, and so is what it holds.
    let unnamed = Config { mirror: None, ..scene.config.clone() };
    let world = |seed| world(Arc::new(scene.split.clone()), &scene.clock, seed);
    let vault = Vault::open(world(12), &unnamed).unwrap();
    assert!(codes(&vault).contains(&"KEYS_MIRROR_AWAY"));
    let erased = vault.erase(&[patient("p0")], "gdpr-17-1", &two_people()).unwrap();
    assert!(vault.erasure_receipt(erased.job).unwrap().contains("1/2 E2-partial"));
    let alone = Order { approved_by: None, single_operator: false, ..two_people() };
    assert!(code(vault.forget_mirror(&alone)).contains("TWO_PEOPLE"));
    let before = vault.size();
    let replica = vault.key_replicas().paired.unwrap();
    let said = vault.forget_mirror(&two_people()).unwrap().unwrap();
    assert_eq!(said, EntryIndex(before.0), "an entry, and the next one");
    let entry = vault.entry(said).unwrap();
    let clear: control::Config = control::decode(&entry.head.clear).unwrap();
    let mode = control::Mode::TwoPerson;
    assert_eq!(clear, control::Config::MirrorForgotten { mode, replica });
    let names: Vec<&str> = entry.head.fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["order.approved_by", "order.requested_by"]);
    assert_eq!(vault.forget_mirror(&two_people()).unwrap(), None, "nothing more to give up");
    assert_eq!(vault.size().0, before.0 + 1);
    drop(vault);
    let vault = Vault::open(world(13), &scene.config).unwrap();
    assert!(codes(&vault).contains(&"KEYS_SINGLE_COPY"));
    assert!(!scene.disk.files().iter().any(|path| path.starts_with(MIRROR)));
    // A new mirror does not make complete what the old one had missed.
    vault.make_mirror().unwrap();
    assert_eq!(vault.key_replicas().text(), "2/2");
    assert!(vault.erasure_receipt(erased.job).unwrap().contains("1/2 E2-partial"));
    drop(vault);
    let vault = scene.open(14).unwrap();
    assert_eq!(codes(&vault), ["UNWITNESSED"]);
    assert_eq!(vault.facts_now().partial(), 1);
}

/// Killed while the mirror is made, started again, and then the power fails: a pairing that was
/// seen stays, or erasures would miss the mirror and say that there is none.
#[test]
fn a_pairing_that_was_seen_survives_a_power_loss() {
    let (scene, vault) = Scene::new(90);
    vault.forget_mirror(&two_people()).unwrap();
    drop(vault);
    lose(&scene.disk, MIRROR);
    let mut seen = 0;
    for n in 1.. {
        let killed = scene.on(&scene.disk.fork());
        let vault = killed.open(91).unwrap();
        killed.disk.fail_at(n);
        let done = vault.make_mirror().is_ok() && vault.key_replicas().text() == "2/2";
        drop(vault);
        killed.disk.heal();
        let vault = killed.open(92).unwrap_or_else(|e| panic!("killed at {n}: {e}"));
        let replicas = vault.key_replicas();
        vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
        drop(vault);
        let after = killed.on(&killed.disk.still().crash(Survivors::Nothing));
        let vault = after.open(93).unwrap_or_else(|e| panic!("killed at {n}: {e}"));
        assert_eq!(vault.key_replicas(), replicas, "killed at {n}");
        expect(&vault, &["p1"], "after the power loss");
        drop(vault);
        if replicas.text() == "2/2" {
            seen += 1;
            lose(&after.disk, "/sim/keys");
            after.restore(false).unwrap_or_else(|e| panic!("killed at {n}: {e}"));
            expect(&after.open(94).unwrap(), &["p1"], "restored");
        }
        if done {
            break;
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Keys made after it was given up are not in it: it is never taken for a whole copy.
#[test]
fn a_mirror_given_up_restores_nothing_unasked() {
    let (scene, vault) = Scene::new(15);
    vault.forget_mirror(&two_people()).unwrap().unwrap();
    append(&vault, &[Visit::new(7, "nurse", "p9")]).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    lose(&scene.disk, "/sim/keys");
    let refused = code(scene.restore(false));
    assert!(refused.contains("KEYS_MIRROR_STALE"), "{refused}");
    scene.restore(true).unwrap();
    let vault = scene.open(16).unwrap();
    let lost = |record: &Record| data_fate(record) == Fate::KeyLost;
    let events = |record: &&Record| record.entry.head.kind == Kind::Event;
    assert_eq!(read_all(&vault).iter().filter(events).filter(|record| lost(record)).count(), 1);
}

/// Everyone else opens from the mirror; the erased person does not.
#[test]
fn drill_the_key_disk_is_lost_and_the_mirror_is_whole() {
    let (scene, vault) = Scene::new(20);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    append(&vault, &[Visit::new(7, "nurse", "p2")]).unwrap();
    drop(vault);
    let whole = scene.restore(false);
    assert!(code(whole).starts_with("KEYS_PRIMARY_WHOLE"));
    lose(&scene.disk, "/sim/keys");
    let refused = code(scene.open(21));
    assert!(refused.contains("KEYS_PRIMARY_LOST"), "{refused}");
    scene.restore(false).unwrap();
    let vault = scene.open(22).unwrap();
    assert_eq!(codes(&vault), ["UNWITNESSED"]);
    expect(&vault, &["p1"], "restored");
    append(&vault, &[Visit::new(8, "nurse", "p0")]).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    verified(&scene, &[]);
}

#[test]
fn drill_a_damaged_key_directory_is_restored_and_an_older_one_gives_way_by_itself() {
    let (scene, vault) = Scene::new(30);
    let old = scene.disk.fork();
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let tenant = vault.tenant().to_string();
    drop(vault);
    let files = ["nodes.seg", "root.0", "root.1"].map(|n| format!("/sim/keys/{tenant}/{n}"));
    // Rot in the root slot.
    let rotten = scene.on(&scene.disk.fork());
    for path in &files[1..] {
        rotten.disk.flip(Path::new(path), 200, 1);
    }
    let refused = code(rotten.open(31));
    assert!(refused.contains("KEYS_PRIMARY_LOST: "), "{refused}");
    rotten.restore(false).unwrap();
    expect(&rotten.open(32).unwrap(), &["p1"], "rot");
    // An older copy put back: the mirror is newer and the log explains it.
    let older = scene.on(&scene.disk.fork());
    for path in &files {
        older.disk.plant(Path::new(path), &old.bytes(Path::new(path)).unwrap());
    }
    let vault = older.open(33).unwrap();
    assert!(codes(&vault).contains(&"KEYS_PRIMARY_REBUILT"), "{:?}", codes(&vault));
    expect(&vault, &["p1"], "older");
    drop(vault);
    assert_eq!(codes(&older.open(34).unwrap()), ["UNWITNESSED"]);
}

/// A mirror that missed an erasure never brings the person back, whatever is lost.
#[test]
fn drill_a_stale_mirror_never_resurrects() {
    let (scene, vault) = Scene::new(40);
    scene.split.fail_after(1);
    append(&vault, &[Visit::new(7, "nurse", "late")]).unwrap();
    drop(vault);
    // It lacks keys that were made while it was away.
    let behind = scene.on(&scene.disk.fork());
    lose(&behind.disk, "/sim/keys");
    assert!(code(behind.restore(false)).starts_with("KEYS_MIRROR_STALE"));
    behind.restore(true).unwrap();
    let vault = behind.open(41).unwrap();
    let lost: Vec<Fate> = read_all(&vault)
        .iter()
        .filter(|r| r.entry.head.source_seq == Some(7))
        .map(data_fate)
        .collect();
    assert_eq!(lost, [Fate::KeyLost]);
    drop(vault);
    // It is from before an erasure: refused, whoever asks and however.
    let vault = scene.open(42).unwrap();
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    lose(&scene.disk, "/sim/keys");
    scene.split.heal();
    let refused = code(scene.restore(true));
    assert!(refused.starts_with("ROOT_GEN_ROLLBACK"), "{refused}");
    let as_keys = Config { keys: MIRROR.into(), mirror: None, ..scene.config.clone() };
    let world = world(Arc::new(scene.disk.clone()), &scene.clock, 43);
    let refused = code(Vault::open(world, &as_keys));
    assert!(refused.starts_with("ROOT_GEN_ROLLBACK"), "{refused}");
}

/// One erasure under a vault, cut at every operation, and then either key disk is lost too.
#[test]
fn a_crash_in_an_erasure_and_the_loss_of_either_key_disk() {
    let (scene, vault) = Scene::new(50);
    vault.checkpoint().unwrap();
    drop(vault);
    let mut crashes = 0;
    for n in 1.. {
        let attempt = scene.on(&scene.disk.fork());
        let vault = attempt.open(51).unwrap();
        attempt.disk.fail_at(n);
        let done = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).is_ok();
        drop(vault);
        for (seed, lost) in [(0, "nothing"), (1, "/sim/keys"), (2, MIRROR), (3, "/sim/keys")] {
            let context = format!("failed at {n}, lost {lost}");
            let after = attempt.on(&attempt.disk.crash(seed));
            lose(&after.disk, lost);
            if lost == "/sim/keys" {
                after.restore(false).unwrap_or_else(|e| panic!("{context}: {e}"));
            }
            let vault = after.open(52).unwrap_or_else(|e| panic!("{context}: {e}"));
            let erased = fates(&vault)["p1"] == Fate::Erased;
            assert!(erased || !done, "{context}: an acknowledged erasure is undone");
            expect(&vault, if erased { &["p1"] } else { &[] }, &context);
            crashes += 1;
        }
        if done {
            break;
        }
    }
    println!("{crashes} crashes of an erasure with a key disk lost");
    assert!(crashes > 60);
}

/// The data disk is lost: an old backup of it stands beside today's keys. Everyone else opens, the
/// erased person does not, nothing can be appended; a new log says where the old one ended.
#[test]
fn drill_the_data_disk_is_lost_and_an_old_backup_stands_beside_the_keys() {
    let (scene, vault) = Scene::new(60);
    let note = vault.checkpoint().unwrap();
    drop(vault);
    let backup = scene.disk.fork();
    let vault = scene.open(61).unwrap();
    append(&vault, &[Visit::new(7, "nurse", "p2")]).unwrap();
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let ledger = vault.erasure_ledger().unwrap();
    drop(vault);
    lose(&scene.disk, "/sim/data");
    for path in backup.files().into_iter().filter(|path| path.starts_with("/sim/data")) {
        scene.disk.plant(&path, &backup.bytes(&path).unwrap());
    }
    let before: Vec<_> = data_files(&scene.disk);
    for ledger in [None, Some(ledger)] {
        let config = Config { ledger, ..scene.config.clone() };
        let world = world(Arc::new(scene.split.clone()), &scene.clock, 62);
        let vault = Vault::open(world, &config).unwrap();
        assert!(codes(&vault).contains(&"LOG_BEHIND_KEYS"), "{:?}", codes(&vault));
        assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
        // No entry of this log says why: it is from before the erasure.
        let found = fates(&vault);
        assert_eq!(found["p1"], Fate::KeyLost, "the erased person");
        assert_eq!((found["p0"], found["p2"]), (Fate::Open, Fate::Open), "everyone else");
        let refused = append(&vault, &[Visit::new(9, "nurse", "p0")]);
        assert!(code(refused).contains("LOG_BEHIND_KEYS"));
        let again = vault.erase(&[patient("p0")], "gdpr-17-1", &two_people());
        assert!(code(again).contains("LOG_BEHIND_KEYS"));
        assert!(code(vault.erasure_receipt(erased.job)).contains("ERASURE_UNKNOWN"));
    }
    assert_eq!(data_files(&scene.disk), before, "a read-only opening changes nothing");
    goes_on(&scene, &note);
}

/// A new log whose genesis names the old one, by a checkpoint that its trust vouches for.
fn goes_on(scene: &Scene, note: &str) {
    let parsed = chancery::format::note::Note::parse(note.as_bytes()).unwrap();
    let old = chancery::format::checkpoint::Checkpoint::parse(&parsed.text).unwrap();
    let continues = chancery::format::control::Continues {
        origin: old.origin.clone(),
        size: old.size,
        root: old.root,
    };
    let next = Config {
        data: "/next/data".into(),
        keys: "/next/keys".into(),
        mirror: None,
        ..scene.config.clone()
    };
    // A crash before the genesis must not lose whom it takes up after.
    for n in (1..2000).step_by(7) {
        let attempt = scene.on(&scene.disk.fork());
        attempt.disk.fail_at(n);
        let clock = &scene.clock;
        let made = Vault::init_after(
            world(Arc::new(attempt.disk.clone()), clock, n),
            &next,
            "next.example",
            Some(continues.clone()),
        );
        let done = made.is_ok();
        drop(made);
        let after = attempt.disk.crash(n);
        let opened = Vault::open(world(Arc::new(after), clock, n + 1), &next);
        if let Ok(vault) = &opened {
            let genesis = vault.facts_now().genesis.unwrap();
            assert_eq!(genesis.continues.as_ref(), Some(&continues), "failed at {n}");
        }
        assert!(opened.is_ok() || !done, "failed at {n}");
        if done {
            return;
        }
    }
    panic!("never made");
}

fn data_files(disk: &SimDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let files = disk.files().into_iter().filter(|path| path.starts_with("/sim/data"));
    // Tiles and the lock are derived.
    let ground = files.filter(|path| !path.to_string_lossy().contains("/tile/"));
    ground.map(|path| (path.clone(), disk.bytes(&path))).collect()
}

/// Both key disks are gone: the log still verifies, nothing opens, and the refusal says so.
#[test]
fn drill_both_key_disks_are_lost() {
    let (scene, vault) = Scene::new(70);
    vault.checkpoint().unwrap();
    drop(vault);
    lose(&scene.disk, "/sim/keys");
    lose(&scene.disk, MIRROR);
    let refused = code(scene.open(71));
    assert!(refused.contains("KEK_MISSING") && refused.contains("keys are not here"), "{refused}");
    assert!(code(scene.restore(true)).contains("KEYS_MIRROR_NOT_NAMED"));
    verified(&scene, &[]);
}

fn file_len(disk: &SimDisk, tenant: &str) -> usize {
    disk.bytes(&Path::new(MIRROR).join(tenant).join("nodes.seg")).unwrap().len()
}

/// Compaction from the vault, on both replicas, and by itself once half of the file is dead.
#[test]
fn the_key_trees_file_is_compacted_on_both_replicas() {
    let (scene, vault) = Scene::new(80);
    for n in 0..60 {
        let who = format!("x{n}");
        append(&vault, &[Visit::new(7 + n, "nurse", &who)]).unwrap();
        vault.erase(&[patient(&who)], "gdpr-17-1", &two_people()).unwrap();
    }
    let (before, after) = vault.compact_keys().unwrap();
    assert!(after * 4 < before, "{before} -> {after}");
    let tenant = vault.tenant().to_string();
    drop(vault);
    let file = |dir: &str| scene.disk.bytes(&Path::new(dir).join(&tenant).join("nodes.seg"));
    assert!(file("/sim/keys") == file(MIRROR) && file(MIRROR).unwrap().len() as u64 == after);
    let vault = scene.open(81).unwrap();
    assert_eq!(codes(&vault), ["UNWITNESSED"]);
    expect(&vault, &[], "compacted");
    // Enough dead bytes: the daily run does it.
    for n in 0..130 {
        let who = format!("y{n}");
        append(&vault, &[Visit::new(67 + n, "nurse", &who)]).unwrap();
        vault.erase(&[patient(&who)], "gdpr-17-1", &two_people()).unwrap();
    }
    let size = || file_len(&scene.disk, &tenant);
    let grown = size();
    vault.expire(None).unwrap();
    let left = size();
    assert!(left * 4 < grown, "{grown} -> {left}");
}
