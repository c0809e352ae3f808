//! Power losses and other failures of the disk. Here: one long story cut by a failing operation
//! and a crash, a full disk, a sync that fails. `matrix` cuts every single operation at every
//! instant, `syncs` fails every single sync, `inflight` fails one of two commits on their way,
//! `kills` kills the process first and fails the power later, `epoch` cuts the seal of a whole
//! epoch, `histories` mixes all operations and faults at random, `broken` shows that these tests
//! can fail.

mod broken;
mod check;
mod epoch;
mod histories;
mod inflight;
mod kills;
mod matrix;
mod scenes;
mod syncs;
mod told;
mod upkeep;

use crate::support::clinic::{
    Visit, append, assert_sound, data_fate, patient, read, read_all, text,
};
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::id::Hash32;
use chancery::base::record::Fate;
use chancery::base::unit::{ClassDay, EntryIndex};
use chancery::format::control::Scope;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
const START: &str = "2026-11-21T08:00:00Z";

/// Months pass in the story, so a person has accepted the clock.
fn config(home: &Path) -> Config {
    Config { accept_time: true, ..world::config(home) }
}

/// What the story was told: acknowledged, or asked and left open.
#[derive(Default)]
struct Told {
    made: bool,
    batches: Vec<Vec<Visit>>,
    receipts: BTreeMap<u64, (EntryIndex, Hash32)>,
    asked: BTreeSet<String>,
    erased: BTreeSet<String>,
    expiring: bool,
    expired: BTreeSet<ClassDay>,
}

struct Story {
    disk: SimDisk,
    clock: Arc<HandClock>,
    seed: u64,
    told: Told,
}

impl Story {
    fn new(seed: u64) -> Self {
        let (disk, clock) = (SimDisk::new(), HandClock::at(START));
        Story { disk, clock, seed, told: Told::default() }
    }

    fn append(&mut self, vault: &Vault, visits: Vec<Visit>) -> Result<()> {
        self.told.batches.push(visits.clone());
        let receipts = append(vault, &visits)?;
        for (visit, receipt) in visits.iter().zip(receipts) {
            self.told.receipts.insert(visit.seq, (receipt.index, receipt.leaf));
        }
        Ok(())
    }

    fn erase(&mut self, vault: &Vault, id: &str) -> Result<()> {
        self.told.asked.insert(id.into());
        vault.erase(&[patient(id)], "gdpr-17-1", &two_people())?;
        self.told.erased.insert(id.into());
        Ok(())
    }

    /// The whole story; the first failure ends it.
    fn run(&mut self) -> Result<()> {
        let config = config(Path::new(HOME));
        let world = |seed| world(Arc::new(self.disk.clone()), &self.clock, seed);
        let (first, second) = (world(self.seed), world(self.seed + 1000));
        let vault = Vault::init(first, &config, "vault.example")?;
        self.told.made = true;
        let visit = |seq: u64, patient: &str| Visit::new(seq, &format!("n{}", seq % 3), patient);
        self.append(&vault, (1..=5).map(|n| visit(n, &format!("p{}", n % 4))).collect())?;
        let many = |n: u64| visit(n, &format!("new{n}"));
        self.append(&vault, (6..=40).map(many).collect())?;
        vault.link(&[patient("p0"), patient("new7")], &two_people())?;
        self.append(&vault, vec![visit(41, "p3").class("90d"), visit(42, "p0").class("90d")])?;
        vault.checkpoint()?;
        self.erase(&vault, "p1")?;
        let person = vault.persons_named(&[patient("p2")])?[0];
        let (case, _) = vault.set_hold(None, "case", Scope::Person { person }, &two_people())?;
        self.append(&vault, (43..=75).map(many).collect())?;
        self.clock.pass_days(95);
        self.told.expiring = true;
        let expired = vault.expire(None)?;
        assert_eq!(expired.class_days.len(), 1, "{expired:?}");
        self.told.expired.extend(expired.class_days);
        self.append(&vault, vec![visit(76, "p3"), visit(77, "new8")])?;
        drop(vault);
        let vault = Vault::open(second, &config)?;
        self.append(&vault, vec![visit(78, "p3"), visit(79, "late")])?;
        self.erase(&vault, "p3")?;
        vault.release_hold(case, &two_people())?;
        self.erase(&vault, "p2")?;
        vault.checkpoint()?;
        Ok(())
    }
}

/// Opens what a crash left; `None` when no vault was ever acknowledged there.
fn reopen(story: &Story, disk: &SimDisk, seed: u64, context: &str) -> Option<Vault> {
    let world = world(Arc::new(disk.clone()), &story.clock, seed);
    match Vault::open(world, &config(Path::new(HOME))) {
        Ok(vault) => Some(vault),
        Err(error) if !story.told.made => {
            let known = ["STORE_MISSING", "STORE_CORRUPT"].contains(&error.code());
            assert!(known, "{context}: {error}");
            None
        }
        Err(error) => panic!("{context}: cannot be opened again: {error}"),
    }
}

fn check(story: &Story, vault: &Vault, disk: &SimDisk, context: &str) {
    let told = &story.told;
    assert_sound(vault, context);
    let slots = ["root.0", "root.1"].map(|name| {
        let path = Path::new(HOME).join("keys").join(vault.tenant().to_string()).join(name);
        disk.bytes(&path).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
    });
    assert_ne!(slots[0], slots[1], "{context}: exactly one root slot holds anything");
    let facts = vault.facts_now();
    for day in &told.expired {
        assert!(facts.expired.contains_key(day), "{context}: expiry undone");
    }
    for (index, leaf) in told.receipts.values() {
        assert_eq!(vault.leaf(*index), Some(*leaf), "{context}: acknowledged entry {index}");
    }
    let records = read_all(vault);
    let by_seq: BTreeMap<u64, _> =
        records.iter().filter_map(|r| Some((r.entry.head.source_seq?, r))).collect();
    for batch in &told.batches {
        let there = batch.iter().filter(|v| by_seq.contains_key(&v.seq)).count();
        assert!(there == 0 || there == batch.len(), "{context}: half a batch");
    }
    let mut fates: BTreeMap<String, BTreeSet<Fate>> = BTreeMap::new();
    for visit in told.batches.iter().flatten() {
        let Some(record) = by_seq.get(&visit.seq) else { continue };
        let fate = data_fate(record);
        let day = record.entry.head.groups[0].bucket;
        let class_day = ClassDay { class: record.entry.head.class, day };
        if facts.expired.contains_key(&class_day) {
            assert!(told.expiring, "{context}");
            assert!(record.groups.iter().all(|f| *f == Fate::Expired), "{context}");
            continue;
        }
        assert_eq!(fate == Fate::Open, text(record).contains(&visit.secret), "{context}");
        fates.entry(visit.patient.clone()).or_default().insert(fate);
        let own = record.groups.iter().filter(|f| **f == Fate::Open).count();
        assert!(own >= 1, "{context}: the nurse lives: {:?}", record.groups);
    }
    for (name, fates) in fates {
        let gone = BTreeSet::from([Fate::Erased]);
        let open = BTreeSet::from([Fate::Open]);
        match (told.erased.contains(&name), told.asked.contains(&name)) {
            (true, _) => assert_eq!(fates, gone, "{context}: {name} was erased"),
            (false, true) => assert!(fates == gone || fates == open, "{context}: {name} {fates:?}"),
            (false, false) => assert_eq!(fates, open, "{context}: {name} lives"),
        }
    }
    for class_day in facts.expired.keys() {
        let day = format!("{}.seg", class_day.day);
        let left = disk.files().into_iter().any(|path| {
            path.ends_with(Path::new("bodies").join(class_day.class.to_string()).join(&day))
        });
        assert!(!left, "{context}: body file of an expired day is still there");
    }
}

/// Crashes at one operation, once more while reopening, and checks; then goes on and checks.
fn crash_at(operation: u64, seed: u64) -> bool {
    let mut story = Story::new(seed);
    story.disk.fail_at(operation);
    let ended = story.run();
    let context = format!("operation {operation}, seed {seed}");
    let mut rng = Rng::new(seed * 1_000_003 + operation);
    let disk = story.disk.crash(rng.next());
    disk.fail_at(1 + rng.below(40) as u64);
    let broken = world(Arc::new(disk.clone()), &story.clock, seed + 7);
    drop(Vault::open(broken, &config(Path::new(HOME))));
    let disk = disk.crash(rng.next());
    let Some(vault) = reopen(&story, &disk, seed + 9, &context) else { return ended.is_ok() };
    check(&story, &vault, &disk, &context);
    let visit = Visit::new(90, "n1", "afterwards");
    story.append(&vault, vec![visit]).unwrap_or_else(|e| panic!("{context}: {e}"));
    drop(vault);
    let vault = reopen(&story, &disk, seed + 11, &context).expect("made by now");
    check(&story, &vault, &disk, &context);
    ended.is_ok()
}

/// Every `stride`-th operation from `from`, until the story ends by itself.
fn crash_all(from: u64, stride: u64, seed: u64) {
    println!("seed {seed}");
    let mut operation = from;
    while !crash_at(operation, seed) {
        operation += stride;
        assert!(operation < 5_000, "the story must end");
    }
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_revives_what_was_erased() {
    crash_all(1, 2, 1);
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_revives_what_was_erased_other_half() {
    crash_all(2, 2, 2);
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    for room in [0, 40, 900, 6_000, 30_000, 60_000, 90_000] {
        let context = format!("room {room}");
        let mut story = Story::new(3);
        let world_of =
            |story: &Story, seed| world(Arc::new(story.disk.clone()), &story.clock, seed);
        let config = config(Path::new(HOME));
        let vault = Vault::init(world_of(&story, 1), &config, "vault.example").unwrap();
        story.told.made = true;
        story.append(&vault, (1..=5).map(|n| Visit::new(n, "n1", "p1")).collect()).unwrap();
        story.disk.full_after(room);
        let mut seq = 6;
        let error = loop {
            let visits = (seq..seq + 5).map(|n| Visit::new(n, "n1", &format!("q{n}"))).collect();
            seq += 5;
            if let Err(error) = story.append(&vault, visits) {
                break error;
            }
        };
        assert_eq!(error.code(), "STORE_FULL", "{context}: {error}");
        let again = story.append(&vault, vec![Visit::new(500, "n1", "p1")]).unwrap_err();
        assert_ne!(again.code(), "SUBJECT_UNKNOWN", "{context}: {again}");
        drop(vault);
        story.disk.heal();
        let vault = reopen(&story, &story.disk.clone(), 2, &context).unwrap();
        check(&story, &vault, &story.disk, &context);
        story.append(&vault, vec![Visit::new(600, "n1", "p1")]).unwrap();
        story.erase(&vault, "p1").unwrap();
        check(&story, &vault, &story.disk, &context);
    }
}

#[test]
fn a_failed_sync_stops_the_vault_and_loses_nothing() {
    for at in 1..12 {
        let context = format!("sync {at}");
        let mut story = Story::new(4);
        let first = world(Arc::new(story.disk.clone()), &story.clock, 1);
        let vault = Vault::init(first, &config(Path::new(HOME)), "vault.example").unwrap();
        story.told.made = true;
        story.append(&vault, vec![Visit::new(1, "n1", "p1")]).unwrap();
        story.disk.fail_sync_at(at);
        let mut failed = None;
        for n in 2..20 {
            let result = story.append(&vault, vec![Visit::new(n, "n1", &format!("p{n}"))]);
            match (&failed, result) {
                (None, Err(error)) => failed = Some(error),
                (Some(first), Err(error)) => {
                    let poisoned = [first.code(), "STORE_POISONED"].contains(&error.code());
                    assert!(poisoned, "{context}: {error}");
                }
                (Some(_), Ok(())) => panic!("{context}: went on after a failed sync"),
                (None, Ok(())) => {}
            }
        }
        assert!(matches!(failed, Some(Error::Unavailable(_))), "{context}");
        drop(vault);
        let disk = story.disk.crash(at);
        let vault = reopen(&story, &disk, 2, &context).unwrap();
        check(&story, &vault, &disk, &context);
        story.append(&vault, vec![Visit::new(50, "n1", "p1")]).unwrap();
        assert_eq!(data_fate(&read(&vault, story.told.receipts[&50].0)), Fate::Open);
    }
}
