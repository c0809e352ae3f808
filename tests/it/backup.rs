//! Backup and restore: what is copied is one state of the vault, however it went on meanwhile; what
//! comes back beside the keys of today opens, but for what was erased since; and every way in which
//! a copy can be wrong, old, somebody else's or in the way is refused by name.

use crate::support::clinic::{Visit, append, data_fate, patient, read};
use crate::support::sim::SimDisk;
use crate::support::witness::{Near, outside};
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::id::hex;
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::store::disk::Disk;
use chancery::vault::backup::{BackedUp, Restored, Restoring};
use chancery::vault::config::{Config, Tuning};
use chancery::vault::error::{Error, Result};
use chancery::vault::verify::{Options, verify_data};
use chancery::vault::{Vault, World};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TO: &str = "/backup";

struct Scene {
    disk: SimDisk,
    clock: Arc<HandClock>,
    config: Config,
}

impl Scene {
    /// 40 events of four patients in small segments, so that there are several.
    fn new(seed: u64) -> (Scene, Vault) {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let tuning = Tuning { pack: false, segment_bytes: 8_192, ..Tuning::default() };
        let config = Config { tuning, ..world::config(Path::new("/sim")) };
        let scene = Scene { disk, clock, config };
        let vault = Vault::init(scene.world(seed), &scene.config, "vault.example").unwrap();
        for batch in 0..10u64 {
            more(&vault, batch * 4 + 1);
        }
        vault.settle();
        (scene, vault)
    }

    fn world(&self, seed: u64) -> World {
        world(Arc::new(self.disk.clone()), &self.clock, seed)
    }

    fn restore(&self, ask: &Restoring<'_>) -> Result<Option<Restored>> {
        Vault::restore(self.world(99), &self.config, ask, &mut |_| true)
    }

    /// The machine with the data is lost; keys and backup are not.
    fn lose_data(&self) {
        for path in below(&self.disk, "/sim/data") {
            self.disk.remove(&path).unwrap();
        }
    }

    fn open(&self) -> Result<Vault> {
        Vault::open(self.world(100), &self.config)
    }
}

fn more(vault: &Vault, from: u64) {
    let visit = |n: u64| {
        let class = ["1y", "90d"][(n / 4 % 2) as usize];
        Visit::new(n, "nurse", &format!("p{}", n % 4)).class(class)
    };
    append(vault, &(from..from + 4).map(visit).collect::<Vec<_>>()).unwrap();
}

fn back_up(vault: &Vault) -> BackedUp {
    vault.back_up(Path::new(TO), true, &mut |_| true).unwrap().unwrap()
}

fn from(check: bool) -> Restoring<'static> {
    Restoring { from: Path::new(TO), known: None, accept_older: false, check }
}

fn below(disk: &SimDisk, dir: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.starts_with(dir)).collect()
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().map_or("no error", |error| error.code())
}

/// A second reading of the manifest, from the page: name, length and hash by file.
fn page(disk: &SimDisk) -> (Vec<String>, BTreeMap<String, (u64, String)>) {
    let bytes = |name: &str| disk.durable_bytes(&Path::new(TO).join(name)).unwrap();
    let note = String::from_utf8(bytes("manifest.note")).unwrap();
    let (text, signature) = note.split_once("\n\n").unwrap();
    assert!(signature.starts_with("\u{2014} vault.example/r/"), "{signature}");
    let list = bytes("files");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines[4].ends_with(&hex(&Sha256::digest(&list))), "{}", lines[4]);
    let list = String::from_utf8(list).unwrap();
    let files = list.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words.len(), 3, "{line}");
        (words[2].to_owned(), (words[1].parse().unwrap(), words[0].to_owned()))
    });
    (lines, files.collect())
}

#[test]
fn the_manifest_is_what_the_page_says_and_names_every_file_and_no_key() {
    let (scene, vault) = Scene::new(1);
    let made = back_up(&vault);
    let (lines, files) = page(&scene.disk);
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[0], format!("{}/backup/v1", vault.origin()));
    assert!(lines[1].starts_with("time 2026-11-21T08:00:00"), "{}", lines[1]);
    let note = vault.checkpoint().unwrap();
    let size = vault.size();
    assert!(note.lines().nth(1) == Some(&size.to_string()), "{note}");
    assert_eq!(lines[2], format!("checkpoint {size} {}", made.manifest.root));
    assert_eq!(lines[3], format!("generation {}", vault.facts_now().root.0));
    let bytes: u64 = files.values().map(|(bytes, _)| bytes).sum();
    assert!(lines[4].starts_with(&format!("files {} {bytes} ", files.len())), "{}", lines[4]);
    for (name, (bytes, sha256)) in &files {
        let path = Path::new(TO).join("data").join(name);
        let copy = scene.disk.durable_bytes(&path).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((copy.len() as u64, hex(&Sha256::digest(&copy))), (*bytes, sha256.clone()));
    }
    let there: BTreeSet<PathBuf> = below(&scene.disk, TO).into_iter().collect();
    let named = files.keys().map(|name| Path::new(TO).join("data").join(name));
    let own = ["manifest.note", "files"].map(|name| Path::new(TO).join(name));
    assert_eq!(there, named.chain(own).collect());
    let parts = ["/log/00000000.seg", "/log/00000001.seg", "/bodies/", "/checkpoint", "vault.toml"];
    for part in parts {
        assert!(files.keys().any(|name| name.contains(part)), "{part}: {files:?}");
    }
    // What a key file holds is nowhere in the copy.
    for key in below(&scene.disk, "/sim/keys") {
        let key = scene.disk.bytes(&key).unwrap();
        let piece = key.get(key.len() / 2..).unwrap_or_default();
        let piece = piece.get(..16).unwrap_or_default();
        let zeros = piece.iter().all(|byte| *byte == 0);
        for path in below(&scene.disk, TO) {
            let copy = scene.disk.bytes(&path).unwrap();
            assert!(zeros || piece.len() < 16 || !copy.windows(16).any(|w| w == piece));
        }
    }
}

/// The drill: back up, erase, lose the disk, restore beside the keys of today.
#[test]
fn everybody_else_opens_and_the_erased_do_not() {
    let (scene, vault) = Scene::new(2);
    let made = back_up(&vault);
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    assert!(erased.records > Some(0));
    let indexes: Vec<EntryIndex> = (0..made.manifest.size.0).map(EntryIndex).collect();
    drop(vault);
    scene.lose_data();
    let checked = scene.restore(&from(true)).unwrap().unwrap();
    assert!(below(&scene.disk, "/sim/data").is_empty(), "checking writes nothing");
    let restored = scene.restore(&from(false)).unwrap().unwrap();
    assert!(checked.behind_keys && restored.behind_keys);
    assert_eq!(restored.generation.0, made.manifest.generation.0 + 1);
    let vault = scene.open().unwrap();
    assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
    assert_eq!(vault.size(), made.manifest.size);
    let (mut open, mut gone) = (0, 0);
    for index in indexes {
        let record = read(&vault, index);
        let text = crate::support::clinic::text(&record);
        if !record.fields.iter().any(|field| &*field.name == "data") {
            continue;
        }
        if data_fate(&record) == Fate::Open {
            assert!(!text.contains("-of-p1-"), "{text}");
            open += 1;
        } else {
            gone += 1;
        }
    }
    assert_eq!((open, gone), (30, 10));
    assert_eq!(code(append(&vault, &[Visit::new(900, "nurse", "p2")])), "LOG_BEHIND_KEYS");
}

#[test]
fn a_restored_vault_goes_on_and_verifies() {
    let (scene, vault) = Scene::new(3);
    back_up(&vault);
    more(&vault, 41);
    drop(vault);
    scene.lose_data();
    let restored = scene.restore(&from(false)).unwrap().unwrap();
    assert!(!restored.behind_keys);
    let vault = scene.open().unwrap();
    assert_eq!(vault.read_only(), None);
    more(&vault, 41);
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    let disk: Arc<dyn Disk> = Arc::new(scene.disk.clone());
    let options = Options::default();
    let report = verify_data(&disk, &scene.config.data, None, &options, &mut |_, _| {}).unwrap();
    assert_eq!(report.failures, 0, "{:?}", report.verdicts);
}

/// The copy is of one state, though the vault appends between any two pieces of it, and though a
/// class-day expires while its file waits to be copied.
#[test]
fn what_goes_on_meanwhile_is_not_half_in_it() {
    let (scene, vault) = Scene::new(4);
    let (next, before) = (Cell::new(41), vault.size());
    let mut go_on = |_: u64| {
        if next.get() < 161 {
            more(&vault, next.get());
            next.set(next.get() + 4);
        }
        true
    };
    let made = vault.back_up(Path::new(TO), true, &mut go_on).unwrap().unwrap();
    assert!(next.get() > 60, "too few pieces to interleave with: {}", next.get());
    assert_eq!(made.manifest.size, before, "the state when it began");
    // 91 days later the day of the 90d class is due; it goes while the copy is made.
    scene.clock.pass_days(200);
    let mut fresh = false;
    drop(vault);
    let config = Config { accept_time: true, ..scene.config.clone() };
    let vault = Vault::open(scene.world(7), &config).unwrap();
    let expire = Cell::new(true);
    let today = vault.clock().now().day();
    let mut go_on = |_: u64| {
        if expire.replace(false) {
            let expired = vault.expire(Some(today)).unwrap();
            fresh = !expired.class_days.is_empty();
        }
        true
    };
    let made = vault.back_up(Path::new(TO), true, &mut go_on).unwrap().unwrap();
    assert!(fresh, "nothing expired meanwhile");
    let expired = vault.facts_now().expired;
    drop(vault);
    scene.lose_data();
    scene.restore(&from(false)).unwrap().unwrap();
    let vault = Vault::open(scene.world(8), &config).unwrap();
    assert_eq!((vault.read_only(), vault.facts_now().expired), (None, expired));
    assert!(vault.size() >= made.manifest.size);
    vault.checkpoint().unwrap();
    drop(vault);
    let disk: Arc<dyn Disk> = Arc::new(scene.disk.clone());
    let options = Options::default();
    let report = verify_data(&disk, &scene.config.data, None, &options, &mut |_, _| {}).unwrap();
    assert_eq!(report.failures, 0, "{:?}", report.verdicts);
}

#[test]
fn packed_files_are_copied_and_what_they_replaced_goes() {
    let (scene, vault) = Scene::new(5);
    back_up(&vault);
    assert!(below(&scene.disk, TO).iter().any(|path| path.ends_with("00000000.seg")));
    scene.clock.pass_days(3);
    more(&vault, 41);
    vault.pack().unwrap();
    let made = back_up(&vault);
    let paths = below(&scene.disk, TO);
    assert!(!paths.iter().any(|path| path.ends_with("00000000.seg")), "{paths:?}");
    assert!(paths.iter().any(|path| path.ends_with("00000000.pak")), "{paths:?}");
    drop(vault);
    scene.lose_data();
    scene.restore(&from(false)).unwrap().unwrap();
    let vault = scene.open().unwrap();
    assert_eq!(vault.size(), made.manifest.size);
    let records: Vec<_> =
        (0..made.manifest.size.0).map(|index| read(&vault, EntryIndex(index))).collect();
    let data = records.iter().filter(|r| r.fields.iter().any(|field| &*field.name == "data"));
    let fates: Vec<Fate> = data.map(data_fate).collect();
    assert_eq!((fates.len(), fates.iter().all(|fate| *fate == Fate::Open)), (44, true));
}

/// Packing rests while files are copied, and goes on afterwards.
#[test]
fn the_packer_rests_meanwhile_and_works_afterwards() {
    let (_scene, vault) = Scene::new(6);
    vault.pack_in_background(true);
    vault.packing_settled();
    let seen = Cell::new(None);
    let mut go_on = |_: u64| {
        seen.set(Some(vault.packing().on));
        true
    };
    vault.back_up(Path::new(TO), false, &mut go_on).unwrap().unwrap();
    assert_eq!((seen.get(), vault.packing().on), (Some(false), true));
}

#[test]
fn what_was_stopped_goes_on_where_it_was() {
    let (scene, vault) = Scene::new(7);
    let whole = {
        let other = Path::new("/other");
        vault.back_up(other, false, &mut |_| true).unwrap().unwrap()
    };
    let pieces = Cell::new(0);
    let mut go_on = |_: u64| {
        pieces.set(pieces.get() + 1);
        pieces.get() < 4
    };
    assert_eq!(vault.back_up(Path::new(TO), false, &mut go_on).unwrap(), None);
    assert_eq!(code(scene.restore(&from(true))), "BACKUP_INCOMPLETE");
    let made = back_up(&vault);
    assert!(made.written < whole.written, "{} of {}", made.written, whole.written);
    assert_eq!(back_up(&vault).written, 0, "nothing has changed since");
    drop(vault);
    scene.lose_data();
    let pieces = Cell::new(0);
    let mut go_on = |_: u64| {
        pieces.set(pieces.get() + 1);
        pieces.get() < 4
    };
    let stopped = Vault::restore(scene.world(9), &scene.config, &from(false), &mut go_on);
    assert_eq!(stopped.unwrap(), None);
    assert_eq!(code(scene.open()), "STORE_MISSING", "nothing opens half of it");
    scene.restore(&from(false)).unwrap().unwrap();
    scene.open().unwrap();
}

/// A power loss at any operation leaves a backup that is whole, or none.
#[test]
fn a_crash_leaves_a_backup_or_none() {
    let (scene, vault) = Scene::new(8);
    scene.disk.film();
    let made = back_up(&vault);
    let stills = scene.disk.cut();
    drop(vault);
    let (mut whole, mut none) = (0, 0);
    for (at, still) in stills.iter().enumerate() {
        let disk = still.crash(crate::support::sim::Survivors::Random(at as u64));
        let scene = Scene { disk, clock: scene.clock.clone(), config: scene.config.clone() };
        match scene.restore(&from(true)) {
            Ok(restored) => {
                assert_eq!(restored.unwrap().manifest, made.manifest, "at {at}");
                whole += 1;
            }
            Err(Error::Evidence { verdict: "BACKUP_INCOMPLETE", .. }) => none += 1,
            Err(error) => panic!("at operation {at}: {error}"),
        }
    }
    assert!(none > 20 && whole + none == stills.len(), "{whole} {none}");
    scene.restore(&from(true)).unwrap();
}

#[test]
fn a_copy_that_is_not_what_was_signed_is_refused_by_name() {
    let (scene, vault) = Scene::new(9);
    back_up(&vault);
    drop(vault);
    scene.lose_data();
    let (_, files) = page(&scene.disk);
    for (name, (bytes, _)) in files {
        let path = Path::new(TO).join("data").join(&name);
        let whole = scene.disk.bytes(&path).unwrap();
        scene.disk.flip(&path, bytes as usize / 2, 1);
        let expect = if name == "vault.toml" { "" } else { "BACKUP_FILE_CHANGED" };
        for check in [true, false] {
            let found = scene.restore(&from(check));
            let said = code(found);
            // Another vault's name or tenant needs no hash to be seen.
            assert!(said == expect || (expect.is_empty() && said != "no error"), "{name}: {said}");
        }
        assert_eq!(code(scene.open()), "STORE_MISSING", "{name}: a vault stands there");
        scene.disk.plant(&path, &[&whole[..], b"x"].concat());
        assert_ne!(code(scene.restore(&from(false))), "no error", "{name} is longer");
        scene.disk.remove(&path).unwrap();
        assert_ne!(code(scene.restore(&from(false))), "no error", "{name} is gone");
        scene.disk.plant(&path, &whole);
    }
    for (name, expect) in [("files", "BACKUP_MALFORMED"), ("manifest.note", "")] {
        let path = Path::new(TO).join(name);
        let whole = scene.disk.bytes(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 3] {
            scene.disk.flip(&path, at, 1);
            let said = code(scene.restore(&from(false)));
            assert!(said == expect || expect.is_empty() && said.starts_with("BACKUP_"), "{said}");
            scene.disk.plant(&path, &whole);
        }
    }
    scene.restore(&from(false)).unwrap().unwrap();
    scene.open().unwrap();
}

#[test]
fn a_shorter_log_than_is_known_is_refused() {
    let (scene, vault) = Scene::new(10);
    let old = vault.checkpoint().unwrap();
    back_up(&vault);
    more(&vault, 41);
    let newest = vault.checkpoint().unwrap();
    drop(vault);
    scene.lose_data();
    let knows = |note: &'static [u8], accept_older| Restoring {
        known: Some(note),
        accept_older,
        ..from(false)
    };
    let leak = |note: &str| -> &'static [u8] { note.to_owned().leak().as_bytes() };
    assert_eq!(code(scene.restore(&knows(leak(&newest), false))), "ROLLED_BACK");
    assert!(below(&scene.disk, "/sim/data").is_empty());
    assert_ne!(code(scene.restore(&knows(b"nonsense", true))), "no error");
    let restored = scene.restore(&knows(leak(&newest), true)).unwrap().unwrap();
    assert!(restored.known > Some(restored.manifest.size));
    scene.lose_data();
    scene.restore(&knows(leak(&old), false)).unwrap().unwrap();
}

#[test]
fn a_witness_that_saw_more_keeps_a_restored_copy_from_opening() {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let near = Near::new(1, &clock);
    let config = Config {
        outside: outside(std::slice::from_ref(&near), 1),
        ..world::config(Path::new("/sim"))
    };
    let scene = Scene { disk, clock, config };
    let alone = Config { outside: Default::default(), ..scene.config.clone() };
    let vault = Vault::init(scene.world(11), &alone, "vault.example").unwrap();
    near.watch(vault.log_key());
    drop(vault);
    let vault = scene.open().unwrap();
    more(&vault, 1);
    vault.seek_witnesses().unwrap();
    back_up(&vault);
    let (_, files) = page(&scene.disk);
    assert!(files.keys().any(|name| name.ends_with("checkpoint.witnessed")), "{files:?}");
    more(&vault, 5);
    vault.seek_witnesses().unwrap();
    drop(vault);
    scene.lose_data();
    assert_eq!(code(scene.restore(&from(false))), "ROLLED_BACK");
    assert_eq!(code(scene.open()), "STORE_MISSING");
    let ask = Restoring { accept_older: true, ..from(false) };
    let restored = scene.restore(&ask).unwrap().unwrap();
    assert!(restored.notices.iter().any(|n| n.code == "ROLLED_BACK"), "{:?}", restored.notices);
    assert_eq!(code(scene.open()), "ROLLED_BACK", "nobody appends to it unseen");
}

#[test]
fn keys_older_than_the_backup_are_refused() {
    let (scene, vault) = Scene::new(12);
    let old: Vec<_> = below(&scene.disk, "/sim/keys")
        .into_iter()
        .map(|path| (path.clone(), scene.disk.bytes(&path).unwrap()))
        .collect();
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    back_up(&vault);
    drop(vault);
    scene.lose_data();
    for path in below(&scene.disk, "/sim/keys") {
        scene.disk.remove(&path).unwrap();
    }
    for (path, bytes) in old {
        scene.disk.plant(&path, &bytes);
    }
    assert_eq!(code(scene.restore(&from(false))), "ROOT_GEN_ROLLBACK");
    assert!(below(&scene.disk, "/sim/data").is_empty());
}

#[test]
fn a_place_that_holds_something_is_not_written_over() {
    let (scene, vault) = Scene::new(13);
    for place in ["/sim/data/backup", "/sim/keys", "/sim", "/"] {
        let said = code(vault.back_up(Path::new(place), false, &mut |_| true));
        assert_eq!(said, "BACKUP_TARGET", "{place}");
    }
    scene.disk.create_dir(Path::new("/full")).unwrap();
    scene.disk.plant(Path::new("/full/letter"), b"mine");
    let said = code(vault.back_up(Path::new("/full"), false, &mut |_| true));
    assert_eq!((said, below(&scene.disk, "/full").len()), ("BACKUP_TARGET", 1));
    back_up(&vault);
    let other = Config { ..world::config(Path::new("/second")) };
    let second = Vault::init(scene.world(14), &other, "other.example").unwrap();
    let said = code(second.back_up(Path::new(TO), false, &mut |_| true));
    assert_eq!(said, "BACKUP_OTHER_VAULT");
    assert_eq!(code(scene.restore(&from(false))), "RESTORE_TARGET", "a vault is there");
    drop((vault, second));
    // Another vault's keys do not read it either.
    let said = Vault::restore(scene.world(15), &other, &from(true), &mut |_| true);
    assert_ne!(code(said), "no error");
    scene.lose_data();
    scene.disk.plant(Path::new("/sim/data/letter"), b"mine");
    assert_eq!(code(scene.restore(&from(false))), "RESTORE_TARGET");
    scene.disk.remove(Path::new("/sim/data/letter")).unwrap();
    scene.disk.full_after(4_000);
    assert_eq!(code(scene.restore(&from(false))), "STORE_FULL");
    scene.disk.heal();
    scene.restore(&from(false)).unwrap().unwrap();
    scene.open().unwrap();
}
