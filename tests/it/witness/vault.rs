//! A vault that is witnessed: what is shown when, what a witness that knows more does to an old
//! copy and to a second one, and what a crash leaves at every step.

use crate::support::clinic::{Visit, append, assert_sound};
use crate::support::sim::SimDisk;
use crate::support::witness::{Near, outside, tenant_file};
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::unit::EntryIndex;
use chancery::format::control;
use chancery::format::note;
use chancery::store::disk::OsDisk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::Result;
use chancery::vault::logkey::kek_of;
use chancery::vault::witness::Said;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct House {
    disk: SimDisk,
    clock: Arc<HandClock>,
    config: Config,
    near: Vec<Arc<Near>>,
    next: u64,
    seed: u64,
}

fn home() -> PathBuf {
    PathBuf::from("/home")
}

impl House {
    /// A vault with some events, watched by so many witnesses.
    fn new(witnesses: u8, quorum: usize) -> House {
        let clock = HandClock::at("2026-11-27T08:00:00Z");
        let near: Vec<Arc<Near>> = (1..=witnesses).map(|n| Near::new(n, &clock)).collect();
        let disk = SimDisk::new();
        let mut config = config(&home());
        let mut house = House { disk, clock, config: config.clone(), near, next: 1, seed: 1 };
        let vault = Vault::init(house.world(), &config, "vault.example").unwrap();
        house.near.iter().for_each(|near| near.watch(vault.log_key()));
        drop(vault);
        config.outside = outside(&house.near, quorum);
        house.config = config;
        house
    }

    fn world(&mut self) -> chancery::vault::World {
        self.seed += 1;
        world(Arc::new(self.disk.clone()), &self.clock, self.seed)
    }

    fn open(&mut self) -> Result<Vault> {
        let world = self.world();
        Vault::open(world, &self.config)
    }

    fn add(&mut self, vault: &Vault, count: u64) -> Result<()> {
        let visits: Vec<Visit> =
            (self.next..self.next + count).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
        append(vault, &visits)?;
        self.next += count;
        Ok(())
    }

    /// The same house on another disk: an old copy, or a clone.
    fn on(&self, disk: SimDisk) -> House {
        House {
            disk,
            clock: self.clock.clone(),
            config: self.config.clone(),
            near: self.near.clone(),
            next: self.next,
            seed: self.seed + 1000,
        }
    }

    fn file(&self, name: &str) -> Option<String> {
        let path = tenant_file(&self.disk, &home(), name)?;
        Some(String::from_utf8(self.disk.durable_bytes(&path)?).unwrap())
    }

    fn evidence(&self) -> Vec<String> {
        let files = self.disk.files().into_iter();
        let of = files.filter(|f| f.parent().is_some_and(|p| p.ends_with("evidence")));
        of.map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }
}

fn code<T>(result: Result<T>) -> &'static str {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.code(),
    }
}

#[test]
fn a_checkpoint_is_shown_as_witnessed_once_enough_have_signed() {
    let mut house = House::new(3, 2);
    house.near[2].set_down(true);
    let vault = house.open().unwrap();
    house.add(&vault, 5).unwrap();
    let seen = vault.seek_witnesses().unwrap();
    assert!(seen.is_met(), "{seen}");
    assert_eq!((seen.of, seen.by.len(), seen.size), (3, 2, vault.size()));
    assert_eq!(seen.to_string(), format!("WITNESSED 2 of 3, {} entries", vault.size()));
    let stored = house.file("checkpoint.witnessed").unwrap();
    assert_eq!(Some(stored.as_str()), seen.note.as_deref(), "durable as it is shown");
    let mut keys = vec![vault.log_key().clone()];
    keys.extend(house.near.iter().map(|n| chancery::vault::witness::Cosigner::key(&**n).clone()));
    assert_eq!(note::open(stored.as_bytes(), &keys).unwrap().by.len(), 3);
    let trouble = seen.standing[2].trouble.clone().unwrap();
    assert!(trouble.contains("not reached"), "{trouble}");
    // The third comes back: the same checkpoint gets its line without anybody appending.
    house.near[2].set_down(false);
    assert_eq!(vault.seek_witnesses().unwrap().by.len(), 3);
    assert_sound(&vault, "witnessed");
}

#[test]
fn without_enough_it_is_shown_as_unwitnessed_and_appends_go_on() {
    let mut house = House::new(3, 2);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    let before = vault.seek_witnesses().unwrap();
    assert!(before.is_met());
    house.near[1].set_down(true);
    house.near[2].set_down(true);
    house.add(&vault, 3).unwrap();
    let after = vault.seek_witnesses().unwrap();
    assert_eq!((after.size, after.is_met()), (before.size, true), "the older one stays");
    assert!(after.size < vault.size());
    let proof = vault.prove(EntryIndex(vault.size().0 - 1)).unwrap();
    assert!(!proof.contains("witness.example"), "what nobody signed is not shown as signed");
    let proof = vault.prove(EntryIndex(1)).unwrap();
    assert!(proof.contains("witness.example/w1") && proof.contains("witness.example/w2"));
    // With nothing witnessed at all, it says so.
    let mut lone = House::new(2, 2);
    lone.near[1].set_down(true);
    let vault = lone.open().unwrap();
    lone.add(&vault, 3).unwrap();
    let seen = vault.seek_witnesses().unwrap();
    assert!(!seen.is_met());
    assert_eq!(seen.to_string(), "UNWITNESSED: 1 of 2 cosigned, 2 are needed");
}

#[test]
fn a_witness_that_failed_is_asked_again_after_a_while_and_not_before() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.near[0].set_down(true);
    house.add(&vault, 1).unwrap();
    vault.seek_witnesses().unwrap();
    house.near[0].set_down(false);
    let sent = house.near[0].sent.lock().unwrap().len();
    // Published again and again, with no time passing: it is left alone.
    for _ in 0..5 {
        house.add(&vault, 1).unwrap();
        vault.checkpoint().unwrap();
    }
    assert_eq!(house.near[0].sent.lock().unwrap().len(), sent);
    house.clock.pass(2_000_000_000);
    house.add(&vault, 1).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    assert!(house.near[0].sent.lock().unwrap().len() > sent);
    assert_eq!(house.file("checkpoint.witnessed").map(|n| n.matches('\u{2014}').count()), Some(2));
}

#[test]
fn attacks_6_and_22_an_old_copy_is_not_opened_where_a_witness_saw_more() {
    let mut house = House::new(2, 2);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    vault.seek_witnesses().unwrap();
    drop(vault);
    // The whole machine as it was: log and keys.
    let image = house.disk.fork();
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    vault.seek_witnesses().unwrap();
    drop(vault);
    let mut old = house.on(image.fork());
    assert_eq!(code(old.open()), "ROLLED_BACK");
    // No witness answers: nothing can tell, so it is refused until somebody accepts it. What
    // happened before is remembered, so that taking the witness away does not help.
    old.near.iter().for_each(|n| n.set_down(true));
    assert_eq!(code(old.open()), "WITNESS_CONTRADICTED");
    let mut fresh = house.on(image.fork());
    assert_eq!(code(fresh.open()), "UNWITNESSED");
    fresh.config.outside.accept_unwitnessed = true;
    let vault = fresh.open().unwrap();
    assert!(vault.notices().iter().any(|n| n.code == "UNWITNESSED"));
    let last = vault.entry(EntryIndex(vault.size().0 - 1)).unwrap();
    assert_eq!(last.head.kind, Kind::Config);
    let said: control::Config = control::decode(&last.head.clear).unwrap();
    let size = chancery::base::unit::TreeSize(vault.size().0 - 1);
    assert_eq!(said, control::Config::Unwitnessed { size, witnesses: 2 });
    // The day a witness answers, the old copy is found out, and appends end at once.
    fresh.near.iter().for_each(|n| n.set_down(false));
    fresh.add(&vault, 1).unwrap();
    let seen = vault.seek_witnesses().unwrap();
    assert_eq!(seen.alarm.as_ref().map(|(v, _)| *v), Some("ROLLED_BACK"));
    assert_eq!(code(fresh.add(&vault, 1)), "ROLLED_BACK");
    assert!(fresh.evidence().iter().any(|name| name.starts_with("ROLLED_BACK-")));
    drop(vault);
    assert_eq!(code(fresh.open()), "ROLLED_BACK");
    // The true one is untouched by all that.
    let vault = house.open().unwrap();
    house.add(&vault, 1).unwrap();
    assert!(vault.seek_witnesses().unwrap().is_met());
}

#[test]
fn attack_6_a_log_cut_below_its_cosigned_size_is_not_opened_even_without_a_network() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    vault.seek_witnesses().unwrap();
    drop(vault);
    let image = house.disk.fork();
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    vault.seek_witnesses().unwrap();
    drop(vault);
    // Everything is put back but the cosigned note, which somebody forgot.
    let path = tenant_file(&house.disk, &home(), "checkpoint.witnessed").unwrap();
    image.plant(&path, &house.disk.durable_bytes(&path).unwrap());
    let mut old = house.on(image);
    old.near[0].set_down(true);
    old.config.outside.accept_unwitnessed = true;
    assert_eq!(code(old.open()), "ROLLED_BACK");
}

#[test]
fn attack_42_of_two_clones_the_second_stops() {
    // Shorter than, as long as, and longer than the first when it comes to the witness.
    for (ahead, verdict) in [(1, "ROLLED_BACK"), (4, "EQUIVOCATION"), (7, "INCONSISTENT")] {
        let mut house = House::new(1, 1);
        let vault = house.open().unwrap();
        house.add(&vault, 3).unwrap();
        vault.seek_witnesses().unwrap();
        drop(vault);
        let mut clone = house.on(house.disk.fork());
        let first = house.open().unwrap();
        let second = clone.open().unwrap();
        house.add(&first, 4).unwrap();
        assert!(first.seek_witnesses().unwrap().is_met());
        clone.next += 100;
        clone.add(&second, ahead).unwrap();
        let seen = second.seek_witnesses().unwrap();
        assert_eq!(seen.alarm.as_ref().map(|(v, _)| *v), Some(verdict), "{ahead} entries ahead");
        assert_eq!(code(clone.add(&second, 1)), verdict, "and it appends nothing more");
        assert!(clone.evidence().iter().any(|name| name.starts_with(verdict)));
        let shown = tenant_file(&clone.disk, &home(), "checkpoint.witnessed").unwrap();
        assert_eq!(clone.disk.durable_bytes(&shown), house_first(&house, &clone, &shown));
        if verdict != "ROLLED_BACK" {
            assert_eq!(house.near[0].files("/evidence/").len(), 1, "the witness kept both notes");
        }
        house.add(&first, 1).unwrap();
        assert!(first.seek_witnesses().unwrap().alarm.is_none(), "the first goes on");
    }
}

/// What the clone shows as witnessed is what both had before they parted.
fn house_first(house: &House, clone: &House, path: &Path) -> Option<Vec<u8>> {
    let bytes = clone.disk.durable_bytes(path)?;
    let ours = house.disk.durable_bytes(path)?;
    assert_ne!(ours, bytes, "the first has moved on");
    Some(bytes)
}

#[test]
fn attack_3_history_rewritten_with_the_stolen_key_is_refused_by_the_witness() {
    // A vault of the same keys with another history: what a thief of all keys can make.
    let mut house = House::new(1, 1);
    let image = house.disk.fork();
    let vault = house.open().unwrap();
    house.add(&vault, 5).unwrap();
    vault.seek_witnesses().unwrap();
    drop(vault);
    let mut thief = house.on(image);
    thief.config.outside = Default::default();
    let vault = thief.open().unwrap();
    thief.next += 500;
    thief.add(&vault, 9).unwrap();
    drop(vault);
    thief.config.outside = house.config.outside.clone();
    assert_eq!(code(thief.open()), "INCONSISTENT");
    assert_eq!(house.near[0].files("/evidence/INCONSISTENT").len(), 1);
    assert!(thief.evidence()[0].starts_with("INCONSISTENT"));
}

#[test]
fn attack_41_a_witness_never_sees_what_a_crash_could_take_away() {
    // The disk fails at every operation of append, publish, submit and store in turn; whatever
    // the witness signed must be there after the crash.
    let mut reached = 0;
    for at in 1..60 {
        let mut house = House::new(1, 1);
        let vault = house.open().unwrap();
        house.add(&vault, 2).unwrap();
        vault.seek_witnesses().unwrap();
        house.disk.fail_at(at);
        let _ = house.add(&vault, 3);
        let _ = vault.seek_witnesses();
        let _ = house.add(&vault, 2);
        let _ = vault.seek_witnesses();
        let signed = house.near[0].size();
        let shown = vault.witnessing().size.0;
        house.disk.heal();
        let after = house.disk.crash(at);
        drop(vault);
        let mut again = house.on(after);
        let vault = again.open().unwrap_or_else(|e| panic!("at {at}, signed {signed}: {e}"));
        assert!(vault.size().0 >= signed, "at {at}: signed {signed}, there {}", vault.size());
        assert!(vault.witnessing().size.0 >= shown, "at {at}: what was shown is still there");
        reached = reached.max(signed);
        again.next += 50;
        again.add(&vault, 1).unwrap();
        assert!(vault.seek_witnesses().unwrap().is_met(), "at {at}");
    }
    assert!(reached > 8, "some runs came through: {reached}");
}

#[test]
fn an_answer_lost_between_witness_and_disk_is_asked_for_again() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.near[0].mute.store(true, Ordering::SeqCst);
    house.add(&vault, 3).unwrap();
    assert!(vault.seek_witnesses().unwrap().size < vault.size());
    let signed = house.near[0].size();
    assert_eq!(signed, vault.size().0, "the witness has signed");
    let after = house.disk.crash(5);
    drop(vault);
    let mut again = house.on(after);
    again.near[0].mute.store(false, Ordering::SeqCst);
    let vault = again.open().unwrap();
    let seen = vault.seek_witnesses().unwrap();
    assert!(seen.is_met() && seen.size.0 >= signed);
}

#[test]
fn a_witness_whose_own_state_was_put_back_is_named() {
    let mut house = House::new(2, 1);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    let seen = vault.seek_witnesses().unwrap();
    let old = seen.size;
    house.add(&vault, 3).unwrap();
    house.near[1].say(Said::Holds(chancery::base::unit::TreeSize(2)));
    let seen = vault.seek_witnesses().unwrap();
    assert!(seen.size > old && seen.alarm.is_none());
    let trouble = seen.standing[1].trouble.clone().unwrap();
    assert!(trouble.starts_with("WITNESS_ROLLED_BACK"), "{trouble}");
    assert!(seen.standing[0].trouble.is_none());
}

#[test]
fn nonsense_from_a_witness_changes_nothing() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    let before = vault.seek_witnesses().unwrap();
    house.add(&vault, 3).unwrap();
    let size = chancery::base::unit::TreeSize(before.size.0);
    for said in [
        Said::Cosigned(b"".to_vec()),
        Said::Cosigned(b"<html>".to_vec()),
        Said::Cosigned(before.note.as_deref().unwrap().lines().last().unwrap().into()),
        Said::Holds(size),
        Said::Refused("418".into()),
        Said::Unreachable("gone".into()),
    ] {
        let text = format!("{said:?}");
        // Publishing alone makes the thread ask; `seek` asks again.
        house.near[0].say(said.clone());
        house.near[0].say(said);
        let after = vault.seek_witnesses().unwrap();
        let met = after.size == before.size || text.starts_with("Holds");
        assert!(met && after.alarm.is_none(), "{text}");
    }
    house.near[0].script.lock().unwrap().clear();
    assert!(vault.seek_witnesses().unwrap().size == vault.size());
}

#[test]
fn damaged_tiles_are_no_rewritten_history() {
    // On a real disk, where an open file shows what somebody else changed in it.
    let home = tempfile::TempDir::new().unwrap();
    let clock = HandClock::at("2026-11-27T08:00:00Z");
    let near = Near::new(1, &clock);
    let mut config = config(home.path());
    config.outside = outside(std::slice::from_ref(&near), 1);
    let vault = Vault::init(world(Arc::new(OsDisk), &clock, 5), &config, "vault.example").unwrap();
    near.watch(vault.log_key());
    let visits = |from: u64| -> Vec<Visit> {
        (from..from + 300).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect()
    };
    append(&vault, &visits(1)).unwrap();
    let before = vault.seek_witnesses().unwrap();
    assert!(before.is_met());
    append(&vault, &visits(301)).unwrap();
    let tenants = std::fs::read_dir(config.data.join("tenants")).unwrap();
    let tile = tenants.last().unwrap().unwrap().path().join("tile/0");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(tile).unwrap();
    let mut hash = [0; 32];
    file.read_exact_at(&mut hash, 32 * 280).unwrap();
    file.write_all_at(&[hash[0] ^ 1], 32 * 280).unwrap();
    let seen = vault.seek_witnesses().unwrap();
    assert!(seen.alarm.is_none(), "{:?}", seen.alarm);
    assert_eq!(seen.size, before.size);
    assert!(seen.standing[0].trouble.clone().unwrap().contains("hash of the tree"));
    append(&vault, &[Visit::new(601, "n1", "p601")]).unwrap();
    // Put right, it goes on.
    file.write_all_at(&hash[..1], 32 * 280).unwrap();
    assert_eq!(vault.seek_witnesses().unwrap().size, vault.size());
}

/// A note that witnesses cosigned before the log key was handed over is believed after it: it
/// still tells an old copy.
#[test]
fn what_was_cosigned_before_a_roll_counts_after_it() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.add(&vault, 3).unwrap();
    assert!(vault.seek_witnesses().unwrap().is_met());
    drop(vault);
    let cosigned = house.file("checkpoint.witnessed").unwrap();
    // The witness is away while the key is handed over, and afterwards.
    house.near[0].set_down(true);
    house.config.outside.accept_unwitnessed = true;
    let kek = kek_of(&house.world(), &house.config).unwrap();
    let vault = house.open().unwrap();
    vault.roll_log_key(&kek, &two_people()).unwrap();
    let vault = house.open().unwrap();
    house.add(&vault, 2).unwrap();
    drop(vault);
    let vault = house.open().unwrap();
    assert_eq!(house.file("checkpoint.witnessed").unwrap(), cosigned);
    let codes: Vec<&str> = vault.notices().iter().map(|notice| notice.code).collect();
    assert!(!codes.contains(&"WITNESSED_DAMAGED"), "{codes:?}");
    drop(vault);
    // Back, and told the new key, it goes on from the size it holds.
    house.near[0].set_down(false);
    house.config.outside.accept_unwitnessed = false;
    let refused = code(house.open());
    assert_eq!(refused, "UNWITNESSED", "it does not know the new key");
    let mut taught = house.config.clone();
    taught.outside.accept_unwitnessed = true;
    let vault = Vault::open(house.world(), &taught).unwrap();
    house.near[0].watch(vault.log_key());
    drop(vault);
    let vault = house.open().unwrap();
    assert!(vault.seek_witnesses().unwrap().is_met());
}

/// A bit rotted in hashes that anybody can compute again, and the vault was refused as one with
/// which the cosigned log does not begin.
#[test]
fn rot_in_stored_hashes_is_no_other_log_than_the_cosigned_one() {
    let mut house = House::new(1, 1);
    let vault = house.open().unwrap();
    house.add(&vault, 5).unwrap();
    assert!(vault.seek_witnesses().unwrap().is_met());
    house.near[0].set_down(true);
    house.add(&vault, 400).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    let cosigned = house.file("checkpoint.witnessed").unwrap();
    let size: u64 = cosigned.lines().nth(1).unwrap().parse().unwrap();
    assert!(size < 200, "{size}: below the first whole tile");
    let tile = tenant_file(&house.disk, &home(), "tile/0").unwrap();
    house.disk.flip(&tile, 2 * 32 + 3, 1);
    house.config.outside.accept_unwitnessed = true;
    drop(house.open().unwrap());
}
