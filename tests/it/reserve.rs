//! Room kept for the vault's own acts, on a simulated disk of a size: events stop at the mark; with
//! the disk filled by a stranger's hand the vault still holds, links, erases, expires and signs;
//! what expires lets events in again; want of room alone never ends a vault.

use crate::support::clinic::{
    Visit, append, assert_sound, data_fate, identifier, patient, read, read_all,
};
use crate::support::sim::{Rng, SimDisk, Survivors};
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::record::Fate;
use chancery::crypto::hash::leaf_hash;
use chancery::format::control::Scope;
use chancery::store::disk::{Disk, Mode, Writer};
use chancery::store::reserve::{Kept, RESERVE_FILE, Reserve, Reserved, Spot};
use chancery::vault::append::Receipt;
use chancery::vault::config::Config;
use chancery::vault::error::Result;
use chancery::vault::{Vault, World};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// Kept in these stories.
const RESERVE: u64 = 4 * MIB;
/// Of the whole disk.
const DISK: u64 = 24 * MIB;

/// A vault on a disk of a size, and somebody else who fills it.
struct Scene {
    disk: SimDisk,
    clock: Arc<HandClock>,
    reserve: Arc<Reserve>,
    seed: u64,
}

impl Scene {
    fn new(capacity: u64) -> Scene {
        let disk = SimDisk::new();
        disk.capacity(capacity);
        let clock = HandClock::at("2026-01-05T08:00:00Z");
        Scene::over(disk, clock, 1)
    }

    fn over(disk: SimDisk, clock: Arc<HandClock>, seed: u64) -> Scene {
        let spot = |name: &'static str| Spot { name, dir: Path::new("/sim").join(name) };
        let raw = Arc::new(disk.clone());
        let reserve = Arc::new(Reserve::new(raw, vec![spot("data"), spot("keys")], RESERVE, true));
        Scene { disk, clock, reserve, seed }
    }

    fn world(&self) -> World {
        world(Arc::new(Reserved::over(self.reserve.clone())), &self.clock, self.seed)
    }

    fn config() -> Config {
        Config { accept_time: true, ..config(Path::new("/sim")) }
    }

    fn init(&self) -> Vault {
        self.disk.create_dir(Path::new("/sim/data")).unwrap();
        self.disk.create_dir(Path::new("/sim/keys")).unwrap();
        let vault = Vault::init(self.world(), &Scene::config(), "vault.example");
        self.reserve.look().unwrap();
        vault.unwrap()
    }

    fn open(&self) -> Result<Vault> {
        let vault = Vault::open(self.world(), &Scene::config());
        self.reserve.look().unwrap();
        vault
    }

    /// What is kept: both directories lie on one disk.
    fn kept(&self) -> Kept {
        let [kept] = <[Kept; 1]>::try_from(self.reserve.kept()).unwrap();
        kept
    }

    fn stranger() -> PathBuf {
        PathBuf::from("/elsewhere/film")
    }

    /// Somebody else takes everything but so many bytes.
    fn fill_but(&self, left: u64) {
        self.disk.create_dir(Path::new("/elsewhere")).unwrap();
        let file = self.disk.open(&Scene::stranger(), Mode::Create).unwrap();
        let free = self.disk.space(Path::new("/sim")).unwrap().free;
        file.allocate(file.len().unwrap() + free.saturating_sub(left)).unwrap();
    }

    /// Somebody else goes.
    fn leave(&self) {
        self.disk.remove(&Scene::stranger()).unwrap();
    }
}

/// A visit with so many bytes.
fn large(seq: u64, who: &str, class: &'static str, bytes: usize) -> Visit {
    let visit = Visit::new(seq, "nurse", who).class(class);
    Visit { secret: format!("{}-{seq}", "x".repeat(bytes)), ..visit }
}

/// Appends until the vault says that it is full.
fn fill_with_events(vault: &Vault, from: u64) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for seq in from.. {
        match append(vault, &[large(seq, &format!("p{}", seq % 7), "90d", 64 << 10)]) {
            Ok(fresh) => receipts.extend(fresh),
            Err(error) => {
                assert_eq!(error.code(), "STORE_FULL", "{error}");
                return receipts;
            }
        }
        assert!(seq < from + 10_000, "nothing stops events");
    }
    receipts
}

fn is_there(vault: &Vault, receipts: &[Receipt]) {
    for receipt in receipts {
        let bytes = vault.entry_bytes(receipt.index).unwrap();
        assert_eq!(leaf_hash(&bytes), receipt.leaf, "{}", receipt.index);
    }
}

#[test]
fn events_stop_at_the_mark_and_acts_of_the_vault_go_on_on_a_disk_that_others_filled() {
    let scene = Scene::new(DISK);
    let vault = scene.init();
    let whole = Kept { name: "data", left: RESERVE, size: RESERVE, closed: false };
    assert_eq!(scene.kept(), whole);
    assert_eq!(scene.disk.bytes(Path::new("/sim/data/reserve")).unwrap().len() as u64, RESERVE);
    assert!(scene.disk.bytes(Path::new("/sim/keys/reserve")).is_none(), "one a file system");
    append(&vault, &[Visit::new(1, "nurse", "ada"), Visit::new(2, "nurse", "bob")]).unwrap();
    let mut receipts = fill_with_events(&vault, 10);
    assert!(receipts.len() > 20, "{}", receipts.len());
    // Of events the disk is never fuller than the mark, but for what they make derived.
    let free = scene.disk.space(Path::new("/sim")).unwrap().free;
    assert!((RESERVE - MIB..RESERVE + MIB).contains(&free), "{free}");
    assert_eq!(scene.kept().left, RESERVE, "no event draws on it");

    scene.fill_but(0);
    scene.reserve.look().unwrap();
    assert_eq!(scene.kept(), Kept { closed: true, ..whole.clone() });
    assert_eq!(append(&vault, &[Visit::new(3, "n", "p")]).unwrap_err().code(), "STORE_FULL");
    let partial = vault.append_each(&[]).map(drop).unwrap_err();
    assert_eq!(partial.code(), "STORE_FULL");
    let person = vault.persons_named(&[patient("bob")]).unwrap()[0];
    let case = vault.set_hold(None, "Case 7", Scope::Person { person }, &two_people()).unwrap().0;
    vault.link(&[patient("ada"), identifier("email", "ada@example.org")], &two_people()).unwrap();
    let erased = vault.erase(&[patient("ada")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(erased.records, Some(1));
    vault.release_hold(case, &two_people()).unwrap();
    vault.checkpoint().unwrap();
    assert!(scene.kept().left < RESERVE, "something of it was given: {:?}", scene.kept());
    is_there(&vault, &receipts);

    // What expires makes room; the reserve is made whole first, then events come in by themselves.
    for _ in 0..17 {
        scene.clock.pass_days(6);
        vault.checkpoint().unwrap();
        let act = vault.set_hold(None, "Tick", Scope::Person { person }, &two_people()).unwrap().0;
        vault.release_hold(act, &two_people()).unwrap();
    }
    let expired = vault.expire(None).unwrap();
    assert!(expired.bytes_freed > MIB, "{expired:?}");
    scene.reserve.look().unwrap();
    assert_eq!(scene.kept(), whole);
    receipts.extend(append(&vault, &[Visit::new(3, "n", "p")]).unwrap());
    is_there(&vault, &receipts);
    assert_sound(&vault, "after the full disk");
    drop(vault);
    let vault = scene.open().unwrap();
    is_there(&vault, &receipts);
    assert_eq!(data_fate(&read(&vault, receipts.last().unwrap().index)), Fate::Open);
}

#[test]
fn a_vault_without_room_and_without_reserve_refuses_and_goes_on_once_there_is_room() {
    let scene = Scene::new(DISK);
    let vault = scene.init();
    let first = append(&vault, &[Visit::new(1, "nurse", "ada")]).unwrap();
    let person = vault.persons_named(&[patient("ada")]).unwrap()[0];
    scene.fill_but(0);
    let file = scene.disk.open(Path::new("/sim/data/reserve"), Mode::Write).unwrap();
    while scene.kept().left > 0 {
        assert!(scene.reserve.give(Path::new("/sim/data/vault.toml"), 1));
    }
    assert_eq!(file.len().unwrap(), 0);
    scene.fill_but(0);
    for _ in 0..2 {
        let error = vault.erase(&[patient("ada")], "gdpr-17-1", &two_people()).unwrap_err();
        assert_eq!(error.code(), "STORE_FULL", "{error}");
        assert_eq!(vault.expire(None).unwrap_err().code(), "STORE_FULL");
        let held = vault.set_hold(None, "Case", Scope::Person { person }, &two_people());
        let held = held.unwrap_err();
        assert_eq!(held.code(), "STORE_FULL", "{held}");
        assert_eq!(append(&vault, &[Visit::new(2, "n", "p")]).unwrap_err().code(), "STORE_FULL");
    }
    assert_eq!(data_fate(&read(&vault, first[0].index)), Fate::Open, "nothing was half done");
    scene.leave();
    scene.reserve.look().unwrap();
    append(&vault, &[Visit::new(2, "nurse", "bob")]).unwrap();
    vault.erase(&[patient("ada")], "gdpr-17-1", &two_people()).unwrap();
    assert_sound(&vault, "after no room at all");
}

#[test]
fn nothing_that_can_be_made_again_and_no_event_draws_on_the_reserve() {
    let scene = Scene::new(DISK);
    drop(scene.init());
    scene.fill_but(0);
    let disk = Reserved::over(scene.reserve.clone());
    disk.create_dir(Path::new("/sim/data/tenants/0/snapshot")).unwrap();
    for path in ["/sim/data/tenants/0/snapshot/1.new", "/elsewhere/backup", "/sim/data/a.pak.new"] {
        let file = disk.open(Path::new(path), Mode::Create).unwrap();
        assert!(file.write_at(0, &[7; 64]).is_err(), "{path}");
        assert_eq!(scene.kept().left, RESERVE, "{path}");
    }
    scene.reserve.look().unwrap();
    disk.room(MIB, Writer::Own).unwrap();
    disk.room(1, Writer::Source).unwrap_err();
    disk.room(RESERVE + 1, Writer::Own).unwrap_err();
    // The write that finds no room is done again, whole, and no more is given than it takes.
    let file = disk.open(Path::new("/sim/data/tenants/0/log"), Mode::Create).unwrap();
    let bytes: Vec<u8> = (0..MIB + 5).map(|at| at as u8).collect();
    file.write_at(0, &bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(0, &mut read).unwrap();
    assert!(read == bytes);
    assert_eq!(scene.kept().left, RESERVE - 2 * MIB);
    let more = vec![1; 3 << 20];
    assert!(file.write_at(bytes.len() as u64, &more).is_err(), "more than is left");
    assert_eq!(scene.kept().left, 0);
}

#[test]
fn a_reserve_of_an_earlier_process_is_taken_over_at_the_size_wanted_now() {
    let scene = Scene::new(DISK);
    drop(scene.init());
    for (size, expected) in [(RESERVE / 2, RESERVE / 2), (RESERVE * 2, RESERVE * 2)] {
        let spots = vec![Spot { name: "data", dir: PathBuf::from("/sim/data") }];
        let raw = Arc::new(scene.disk.clone());
        let reserve = Reserve::new(raw, spots, size, true);
        reserve.look().unwrap();
        assert_eq!(reserve.kept()[0].left, expected);
        let path = Path::new("/sim/data").join(RESERVE_FILE);
        assert_eq!(scene.disk.bytes(&path).unwrap().len() as u64, expected);
    }
    // A command for a moment takes what is there, and makes none.
    let spots = vec![Spot { name: "keys", dir: PathBuf::from("/sim/keys") }];
    let reserve = Reserve::new(Arc::new(scene.disk.clone()), spots, RESERVE, false);
    reserve.look().unwrap();
    assert_eq!((reserve.kept()[0].left, reserve.kept()[0].closed), (0, false));
    reserve.room(1, Writer::Source).unwrap();
}

/// Whether an act was done. It may find nobody, and no room once the reserve is all but used up.
fn acted<T: std::fmt::Debug>(scene: &Scene, seed: u64, done: Result<T>) -> bool {
    let Err(error) = done else { return true };
    match error.code() {
        "SUBJECT_UNKNOWN" => {}
        "STORE_FULL" => assert!(scene.kept().left < 2 * MIB, "seed {seed}: {:?}", scene.kept()),
        other => panic!("seed {seed}: {other}: {error}"),
    }
    false
}

/// Random histories on a disk that is full now and again, with a crash at the end: whatever was
/// acknowledged is there, events are taken or refused as full, and the vault's own acts never fail
/// while the reserve has something.
#[test]
fn random_histories_on_a_full_disk_lose_nothing_and_end_no_vault() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let scene = Scene::new(DISK);
        let vault = scene.init();
        let (mut receipts, mut refused, mut acts) = (Vec::new(), 0, 0);
        let mut is_full = false;
        for step in 0..60_u64 {
            match rng.below(8) {
                0 if is_full => {
                    scene.leave();
                    is_full = false;
                }
                0 => {
                    scene.fill_but(rng.below(3 << 20) as u64);
                    is_full = true;
                }
                1 => scene.reserve.look().unwrap(),
                2 => {
                    let who = format!("p{}", rng.below(5));
                    let done = vault.erase(&[patient(&who)], "gdpr-17-1", &two_people());
                    acts += usize::from(acted(&scene, seed, done));
                }
                3 => {
                    scene.clock.pass_days(5);
                    let today = vault.clock().now().day();
                    acts += usize::from(acted(&scene, seed, vault.expire(Some(today))));
                }
                _ => {
                    let visit =
                        large(step + 1, &format!("p{}", rng.below(5)), "90d", rng.below(400 << 10));
                    match append(&vault, &[visit]) {
                        Ok(fresh) => receipts.extend(fresh),
                        Err(error) => {
                            assert_eq!(error.code(), "STORE_FULL", "seed {seed}: {error}");
                            refused += 1;
                        }
                    }
                }
            }
        }
        println!("{} taken, {refused} refused, {acts} acts", receipts.len());
        let after = scene.disk.still().crash(Survivors::Random(seed));
        drop(vault);
        after.capacity(2 * DISK);
        let scene = Scene::over(after, scene.clock.clone(), 100 + seed);
        let vault = scene.open().unwrap();
        is_there(&vault, &receipts);
        assert_sound(&vault, "crashed on a full disk");
        let _ = read_all(&vault);
        append(&vault, &[Visit::new(1_000, "n", "p")]).unwrap();
    }
}
