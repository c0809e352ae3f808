//! What a hold, a floor and a policy keep, whoever asks, whatever the clock says and wherever a
//! crash or rot came between: each story is what a court would ask about.

use crate::support::clinic::{
    Visit, append, assert_sound, data_fate, identifier, patient, read, text,
};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::id::CaseId;
use chancery::base::record::Fate;
use chancery::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use chancery::base::world::Clock;
use chancery::format::control::{Deferred, Scope};
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::erase::Erased;
use chancery::vault::error::Result;
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
const MONTHS: ClassId = ClassId(3);
const YEAR: ClassId = ClassId(4);

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn settings() -> Config {
    Config { accept_time: true, ..config(Path::new(HOME)) }
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    Vault::init(world(Arc::new(disk.clone()), clock, 1), &settings(), "vault.example").unwrap()
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    open_with(disk, clock, &settings())
}

fn open_with(disk: &SimDisk, clock: &Arc<HandClock>, config: &Config) -> Result<Vault> {
    Vault::open(world(Arc::new(disk.clone()), clock, 99), config)
}

fn erase(vault: &Vault, id: &str) -> Result<Erased> {
    vault.erase(&[patient(id)], "gdpr-17-1", &two_people())
}

fn hold(vault: &Vault, id: &str) -> CaseId {
    let mut case = None;
    for person in vault.persons_to_hold(&[patient(id)]).unwrap() {
        let scope = Scope::Person { person };
        case = Some(vault.set_hold(case, "4 C 1", scope, &two_people()).unwrap().0);
    }
    case.unwrap()
}

fn held(class: ClassId, case: CaseId) -> Deferred {
    Deferred { class, why: "hold".to_owned(), law: case.to_string(), due: None }
}

fn code<T>(result: Result<T>) -> &'static str {
    result.map(drop).unwrap_err().code()
}

#[test]
fn a_hold_is_read_back_as_it_was_set_or_is_not_set() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    let days = |to| Scope::ClassDays { class: YEAR, from: Day(0), to };
    let size = vault.size();
    for to in [Day(u32::MAX), Day(Day::LAST.0 + 1)] {
        assert_eq!(code(vault.set_hold(None, "c", days(to), &two_people())), "HOLD_RANGE");
    }
    assert_eq!(vault.size(), size, "nothing was written");
    let (case, index) = vault.set_hold(None, "c", days(Day::LAST), &two_people()).unwrap();
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(vault.facts_now().holds[&case], vec![(index, days(Day::LAST))]);
    let erased = erase(&vault, "p1").unwrap();
    assert_eq!((erased.records, erased.deferred[0].law.clone()), (Some(0), case.to_string()));
    clock.pass_days(400);
    assert_eq!(vault.expire(None).unwrap().class_days, vec![]);
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
}

#[test]
fn a_floor_of_more_days_than_can_be_counted_is_refused() {
    let check = |days: u32, expect: Option<&str>| {
        let mut files = settings().policies;
        let classes = files.get_mut("classes.toml").unwrap();
        let law = r#"floor = { days = 2192, law = "45 CFR 164.316(b)(2)(i)""#;
        assert!(classes.contains(law) && classes.contains(r#"keep = "2192d""#));
        *classes = classes.replace(r#"keep = "2192d""#, r#"keep = "forever""#);
        *classes = classes.replace(law, &law.replace("2192", &days.to_string()));
        let got = chancery::policy::classify::Policies::parse(&files);
        assert_eq!(got.err().map(|e| e.code), expect, "{days} days");
    };
    check(73_000, None);
    check(73_001, Some("CLASS_LAW"));
    check(213_504, Some("CLASS_LAW"));
    check(u32::MAX, Some("CLASS_LAW"));
}

#[test]
fn the_longest_floor_keeps_its_class() {
    let (disk, clock) = (SimDisk::new(), clock());
    let mut settings = settings();
    let classes = settings.policies.get_mut("classes.toml").unwrap();
    *classes = classes.replace(r#"keep = "2192d""#, r#"keep = "forever""#);
    *classes = classes.replace("floor = { days = 2192", "floor = { days = 73000");
    let world = world(Arc::new(disk.clone()), &clock, 1);
    let vault = Vault::init(world, &settings, "vault.example").unwrap();
    append(&vault, &[Visit::new(1, "n1", "p1").class("6y")]).unwrap();
    let erased = erase(&vault, "p1").unwrap();
    let day = vault.clock().now().day();
    assert_eq!(erased.deferred[0].due, Some(Day(day.0 + 73_000).end()));
    assert_eq!(vault.expire(None).unwrap().erasures, vec![]);
}

#[test]
fn erasing_one_subject_keeps_the_records_a_case_holds_of_another() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [
        Visit::new(1, "n1", "p1"),
        Visit::new(2, "n1", "p2").class("90d"),
        Visit::new(3, "n2", "p1").class("90d"),
    ];
    let at: Vec<_> = append(&vault, &visits).unwrap().iter().map(|r| r.index).collect();
    let case = hold(&vault, "p1");
    let nurse = [identifier("user_id", "n1")];
    let preview = vault.preview_erasure(&nurse).unwrap();
    assert_eq!((preview.classes, preview.held), (vec![MONTHS], vec![]));
    assert_eq!(preview.deferred, [held(YEAR, case)]);
    let erased = vault.erase(&nurse, "gdpr-17-1", &two_people()).unwrap();
    assert_eq!((erased.records, &*erased.deferred), (Some(1), &[held(YEAR, case)][..]));
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    assert!(receipt.contains(&format!("\ndeferred 1y hold - {case}\n")), "{receipt}");
    let check = |vault: &Vault, fates: [Fate; 3], context: &str| {
        let found: Vec<Fate> = at.iter().map(|at| data_fate(&read(vault, *at))).collect();
        assert_eq!(found, fates, "{context}");
        // Who it was that looked at the held person's record is of that record.
        let named = text(&read(vault, at[0])).contains("n1@clinic.example");
        assert_eq!(named, fates[0] == Fate::Open, "{context}");
        assert_sound(vault, context);
    };
    check(&vault, [Fate::Open, Fate::Erased, Fate::Open], "while it is held");
    assert_eq!(vault.expire(None).unwrap().erasures, vec![], "while it is held");
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    check(&vault, [Fate::Open, Fate::Erased, Fate::Open], "opened again");
    vault.release_hold(case, &two_people()).unwrap();
    assert_eq!(vault.expire(None).unwrap().erasures.len(), 1);
    check(&vault, [Fate::Erased, Fate::Erased, Fate::Open], "released");
}

#[test]
fn a_hold_on_what_an_erasure_left_covers_the_same_persons_new_records() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
    append(&vault, &visits).unwrap();
    assert_eq!(erase(&vault, "p1").unwrap().deferred.len(), 1);
    let case = hold(&vault, "p1");
    let at = append(&vault, &[Visit::new(3, "n2", "p1").class("90d")]).unwrap()[0].index;
    let held = vault.preview_erasure(&[patient("p1")]).unwrap().held;
    assert_eq!(held, [case]);
    assert_eq!(code(erase(&vault, "p1")), "HOLD_BLOCKED");
    drop(vault);
    clock.pass_days(6);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(code(erase(&vault, "p1")), "HOLD_BLOCKED");
    append(&vault, &[Visit::new(4, "n2", "p2")]).unwrap();
    clock.pass_days(114);
    let expired = vault.expire(None).unwrap();
    assert!(expired.held.iter().any(|(day, by)| day.class == MONTHS && by == &[case]));
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
    // The other way round: what the floor keeps waits for a case that names the new handle.
    vault.release_hold(case, &two_people()).unwrap();
    let person = vault.persons_named(&[patient("p1")]).unwrap()[0];
    let scope = Scope::Person { person };
    let case = vault.set_hold(None, "c", scope, &two_people()).unwrap().0;
    clock.pass_days(2200);
    assert_eq!(vault.expire(None).unwrap().erasures, vec![]);
    vault.release_hold(case, &two_people()).unwrap();
    assert_eq!(vault.expire(None).unwrap().erasures.len(), 1);
}

#[test]
fn a_wrong_clock_that_was_accepted_ends_no_floor() {
    let years = UtcNanos::parse("2040-01-01T08:00:00Z").unwrap();
    // Whether an entry has come after the jump already, and whether it was opened once more.
    for (entry, again) in [(false, false), (true, false), (true, true)] {
        let context = format!("entry {entry}, again {again}");
        let (disk, hand) = (SimDisk::new(), clock());
        let vault = init(&disk, &hand);
        let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
        let at: Vec<_> = append(&vault, &visits).unwrap().iter().map(|r| r.index).collect();
        drop(vault);
        let right = hand.fork();
        hand.set_wall(years);
        let mut vault = open(&disk, &hand).unwrap();
        if entry {
            append(&vault, &[Visit::new(3, "n1", "p3")]).unwrap();
        }
        if again {
            drop(vault);
            vault = open(&disk, &hand).unwrap();
        }
        let preview = vault.preview_erasure(&[patient("p1")]).unwrap();
        assert_eq!((preview.classes, preview.deferred.len()), (vec![YEAR], 1), "{context}");
        let erased = erase(&vault, "p1").unwrap();
        let due = Day(right.wall().day().0 + 2192).end();
        assert_eq!((erased.records, erased.deferred[0].due), (Some(1), Some(due)), "{context}");
        let fates = |vault: &Vault| [0, 1].map(|n| data_fate(&read(vault, at[n])));
        assert_eq!(fates(&vault), [Fate::Erased, Fate::Open], "{context}");
        assert_eq!(code(vault.expire(None)), "EXPIRY_SUSPENDED", "{context}");
        // Nothing was lost, so the clock may be right after all.
        let today = vault.clock().now().day();
        assert_eq!(vault.expire(Some(today)).unwrap().erasures.len(), 1, "{context}");
        assert_ne!(fates(&vault)[1], Fate::Open, "{context}");
        // With the date confirmed, floors are judged by it.
        append(&vault, &[Visit::new(4, "n1", "p4").class("6y")]).unwrap();
        assert_eq!(erase(&vault, "p4").unwrap().deferred.len(), 1, "{context}");
    }
}

/// Settings whose class `1y` has a floor.
fn stricter() -> Config {
    let mut settings = settings();
    let classes = settings.policies.get_mut("classes.toml").unwrap();
    let keep = "keep = \"1y\"\n";
    assert!(classes.contains(keep));
    let floor = r#"floor = { days = 365, law = "House rule 1", effective = "2026-01-01" }"#;
    *classes = classes.replace(keep, &format!("{keep}{floor}\n"));
    settings
}

#[test]
fn what_a_crash_interrupted_is_finished_under_the_policies_in_force() {
    let mut finished = 0;
    for n in 1..60 {
        let (disk, clock) = (SimDisk::new(), clock());
        let vault = init(&disk, &clock);
        append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
        vault.settle();
        disk.fail_at(n);
        let whole = erase(&vault, "p1").is_ok();
        drop(vault);
        // The files were changed; nobody has put them in force.
        let vault = open_with(&disk.crash(n), &clock, &stricter()).unwrap();
        for erasure in vault.facts_now().erasures.into_values() {
            let (_, _, done) = erasure.done.unwrap();
            assert_eq!((done.classes, done.deferred), (vec![YEAR], vec![]), "write {n}");
            finished += usize::from(!whole);
        }
        if whole {
            assert!(finished > 0, "no crash left an erasure open");
            return;
        }
    }
    panic!("an erasure makes more writes than this test breaks");
}

/// Settings under which an opening reads the tail only.
fn bounded() -> Config {
    let tuning = Tuning {
        segment_bytes: 6_000,
        snapshot_entries: 1,
        snapshot_pause: 0,
        pack: false,
        ..Tuning::default()
    };
    Config { tuning, ..settings() }
}

/// A closed vault with old records of one person, whose floor has ended, and where they lie.
fn old_records(config: &Config, clock: &Arc<HandClock>) -> (SimDisk, [EntryIndex; 2], Vec<u8>) {
    let disk = SimDisk::new();
    let world = world(Arc::new(disk.clone()), clock, 1);
    let vault = Vault::init(world, config, "vault.example").unwrap();
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
    let at = append(&vault, &visits).unwrap();
    let bytes = vault.entry_bytes(at[0].index).unwrap();
    clock.pass_days(2200);
    for seq in 3..30 {
        append(&vault, &[Visit::new(seq, "n2", "p2")]).unwrap();
    }
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    (disk, [at[0].index, at[1].index], bytes)
}

/// A bit of this entry rots, or comes back.
fn rot(disk: &SimDisk, entry: &[u8]) {
    let segments = disk.files().into_iter();
    let mut segments = segments.filter(|p| p.parent().is_some_and(|d| d.ends_with("log")));
    let place = segments.find_map(|path| {
        let bytes = disk.bytes(&path).unwrap();
        let at = bytes.windows(64).position(|window| window == &entry[..64])?;
        Some((path, at))
    });
    let (path, at) = place.expect("the entry is in a segment");
    disk.write_through(&path, at + entry.len() / 2, 1);
}

#[test]
fn an_erasure_whose_records_have_rotted_is_refused_before_anything_is_said() {
    let (config, clock) = (bounded(), clock());
    let (disk, at, entry) = old_records(&config, &clock);
    rot(&disk, &entry);
    let vault = open_with(&disk, &clock, &config).unwrap();
    assert!(vault.vouched().0 > at[0].0, "opening did not read it");
    let error = erase(&vault, "p1").unwrap_err();
    assert_eq!(error.code(), "ROOT_MISMATCH");
    assert!(error.to_string().contains("nothing was erased"), "{error}");
    assert_eq!(vault.facts_now().erasures.len(), 0);
    drop(vault);
    let vault = open_with(&disk, &clock, &config).unwrap();
    rot(&disk, &entry);
    assert_eq!(erase(&vault, "p1").unwrap().records, Some(2), "once it is mended");
}

#[test]
fn an_erasure_behind_its_intent_is_finished_whatever_has_rotted() {
    let mut finished = 0;
    for n in 1..60 {
        let (config, clock) = (bounded(), clock());
        let context = format!("write {n}");
        let (disk, at, entry) = old_records(&config, &clock);
        let vault = open_with(&disk, &clock, &config).unwrap();
        vault.settle();
        disk.fail_at(n);
        let whole = erase(&vault, "p1").is_ok();
        drop(vault);
        let disk = disk.crash(n);
        rot(&disk, &entry);
        let vault = open_with(&disk, &clock, &config).unwrap();
        assert!(vault.vouched().0 > at[0].0, "{context}: opening did not read it");
        let Some(erasure) = vault.facts_now().erasures.into_values().next() else { continue };
        let (_, _, done) = erasure.done.unwrap();
        let receipt = vault.erasure_receipt(erasure.plan.job).unwrap();
        if receipt.contains("\nrecords -\n") {
            finished += 1;
            // Whether the floor of the other class has begun anew nobody can tell.
            let kept: Vec<u16> = done.deferred.iter().map(|d| d.class.0).collect();
            assert!(kept.is_empty() || kept == [5], "{context}: {done:?}");
            assert!(done.classes.contains(&YEAR), "{context}: {done:?}");
        }
        rot(&disk, &entry);
        assert_eq!(data_fate(&read(&vault, at[0])), Fate::Erased, "{context}");
        vault.expire(None).unwrap();
        assert_ne!(data_fate(&read(&vault, at[1])), Fate::Open, "{context}");
        let left = vault.persons_to_hold(&[patient("p1")]);
        assert_eq!(code(left), "SUBJECT_UNKNOWN", "{context}");
        if whole {
            assert!(finished > 0, "no crash left an erasure open");
            return;
        }
    }
    panic!("an erasure makes more writes than this test breaks");
}
