//! The promises of the design, one story each: erasure, holds, retention, duplicates, clocks,
//! copies put back, many threads at once. `model` compares random histories with a naive model.

mod model;

use crate::support::clinic::{
    Visit, append, append_json, assert_sound, data_fate, identifier, patient, read, read_all, text,
};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::record::Fate;
use chancery::base::unit::{ClassId, Day, EntryIndex, NANOS_PER_DAY, UtcNanos};
use chancery::format::control::Scope;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::{Error, Result};
use chancery::vault::hold::Order;
use chancery::vault::read::Reading;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place for one vault after another.
struct House {
    disk: Arc<dyn Disk>,
    clock: Arc<HandClock>,
    config: Config,
    seed: AtomicU64,
}

impl House {
    fn new(disk: Arc<dyn Disk>, home: &Path) -> Self {
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        House { disk, clock, config: config(home), seed: AtomicU64::new(1) }
    }

    fn sim() -> (Self, SimDisk) {
        let disk = SimDisk::new();
        (House::new(Arc::new(disk.clone()), Path::new("/sim")), disk)
    }

    fn world(&self) -> chancery::vault::World {
        world(self.disk.clone(), &self.clock, self.seed.fetch_add(1, Ordering::SeqCst))
    }

    fn init(&self) -> Vault {
        Vault::init(self.world(), &self.config, "vault.example").unwrap()
    }

    fn open(&self) -> Result<Vault> {
        Vault::open(self.world(), &self.config)
    }
}

fn on_both_disks(story: impl Fn(&House)) {
    let dir = tempfile::tempdir().unwrap();
    story(&House::new(Arc::new(OsDisk), dir.path()));
    story(&House::sim().0);
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

/// Copies everything below a directory of the simulated disk into another disk.
fn copy(from: &SimDisk, to: &SimDisk, below: &str) {
    for path in from.files().into_iter().filter(|p| p.starts_with(below)) {
        to.create_dir(path.parent().unwrap()).unwrap();
        to.plant(&path, &from.bytes(&path).unwrap());
    }
}

fn erase(vault: &Vault, id: &str) -> Result<chancery::vault::erase::Erased> {
    vault.erase(&[patient(id)], "gdpr-17-1", &two_people())
}

fn hold(vault: &Vault, scope: Scope) -> chancery::base::id::CaseId {
    vault.set_hold(None, "Case 7", scope, &two_people()).unwrap().0
}

fn hold_person(vault: &Vault, id: &str) -> chancery::base::id::CaseId {
    hold(vault, Scope::Person { person: vault.persons_named(&[patient(id)]).unwrap()[0] })
}

#[test]
fn erasing_one_subject_leaves_the_fields_of_another_open() {
    on_both_disks(|house| {
        let vault = house.init();
        let at = append(&vault, &[Visit::new(1, "nora", "paul")]).unwrap()[0].index;
        erase(&vault, "paul").unwrap();
        let check = |vault: &Vault| {
            let record = read(vault, at);
            assert_eq!(data_fate(&record), Fate::Erased);
            assert!(text(&record).contains("nora@clinic.example"), "{record:?}");
            assert!(!text(&record).contains("paul"));
            assert_sound(vault, "one of two");
        };
        check(&vault);
        drop(vault);
        check(&house.open().unwrap());
    });
}

#[test]
fn one_erasure_reaches_a_person_known_by_three_names_in_three_sources() {
    on_both_disks(|house| {
        let vault = house.init();
        let event = |seq: u64, kind: &str, value: &str| {
            format!(
                concat!(
                    r#"{{"source_seq":{seq},"action":"record.open","data":{{"note":"{value}"}},"#,
                    r#""subjects":[{{"role":"target","identifiers":"#,
                    r#"[{{"kind":"{kind}","value":"{value}"}}]}}]}}"#
                ),
                seq = seq,
                kind = kind,
                value = value
            )
        };
        let names = [("email", "ada@example.org"), ("user_id", "u77"), ("phone", "+4912345678")];
        let mut at = Vec::new();
        for (source, (kind, value)) in ["mail", "shop", "calls"].iter().zip(names) {
            at.push(append_json(&vault, source, &[event(1, kind, value)]).unwrap()[0].index);
        }
        let all = names.map(|(kind, value)| identifier(kind, value));
        vault.link(&all[..2], &two_people()).unwrap();
        vault.link(&all[1..], &two_people()).unwrap();
        let preview = vault.preview_erasure(&all[2..]).unwrap();
        assert_eq!((preview.persons.len(), preview.identifiers.len()), (3, 3));
        let erased = vault.erase(&all[2..], "gdpr-17-1", &two_people()).unwrap();
        assert_eq!((erased.persons.len(), erased.records), (3, Some(3)));
        for index in at {
            assert_eq!(data_fate(&read(&vault, index)), Fate::Erased);
        }
        for name in all {
            assert_eq!(code(vault.preview_erasure(&[name])), "SUBJECT_UNKNOWN");
        }
    });
}

#[test]
fn a_legal_floor_defers_its_class_and_the_schedule_completes_it() {
    on_both_disks(|house| {
        let vault = house.init();
        let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
        let at = append(&vault, &visits).unwrap();
        let erased = erase(&vault, "p1").unwrap();
        assert_eq!(erased.deferred.len(), 1);
        let due = Day::parse("2026-11-21").unwrap().end().0 + 2192 * NANOS_PER_DAY;
        assert_eq!(erased.deferred[0].due, Some(UtcNanos(due)));
        let receipt = vault.erasure_receipt(erased.job).unwrap();
        let line = format!("deferred 6y floor {} 45 CFR 164.316(b)(2)(i)", UtcNanos(due));
        assert!(receipt.contains(&line), "{receipt}");
        assert_eq!(data_fate(&read(&vault, at[0].index)), Fate::Erased);
        assert_eq!(data_fate(&read(&vault, at[1].index)), Fate::Open);
        assert_eq!(code(erase(&vault, "p1")), "SUBJECT_UNKNOWN");
        assert_eq!(vault.expire(None).unwrap().erasures, vec![]);
        // A new record of the same identifier is a new person, and is not touched by what is due.
        let tag = |index| read(&vault, index).entry.head.tags;
        let fresh = append(&vault, &[Visit::new(3, "n2", "p1")]).unwrap()[0].index;
        assert!(tag(fresh).iter().all(|t| !tag(at[0].index).contains(t)));
        house.clock.pass_days(2193);
        let expired = vault.expire(None).unwrap();
        assert_eq!(expired.erasures.len(), 1, "{expired:?}");
        assert!(expired.erasures[0].deferred.is_empty());
        let receipt = vault.erasure_receipt(expired.erasures[0].job).unwrap();
        assert!(receipt.contains("mode scheduled"), "{receipt}");
        assert!(vault.expire(None).unwrap().erasures.is_empty(), "once");
        assert_ne!(data_fate(&read(&vault, at[1].index)), Fate::Open);
    });
}

#[test]
fn a_hold_refuses_and_names_its_case_until_released() {
    on_both_disks(|house| {
        let vault = house.init();
        let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
        let case = hold_person(&vault, "p1");
        let vault = {
            drop(vault);
            house.open().unwrap()
        };
        append(&vault, &[Visit::new(2, "n1", "p1")]).unwrap();
        let refused = erase(&vault, "p1").unwrap_err();
        assert_eq!(refused.code(), "HOLD_BLOCKED");
        assert!(refused.to_string().contains(&case.to_string()), "{refused}");
        assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
        house.clock.pass_days(400);
        let expired = vault.expire(None).unwrap();
        assert!(expired.class_days.is_empty());
        assert_eq!(expired.held[0].1, vec![case], "the plan says who holds it");
        let alone = Order { approved_by: None, ..two_people() };
        assert_eq!(code(vault.release_hold(case, &alone)), "TWO_PEOPLE");
        vault.release_hold(case, &two_people()).unwrap();
        assert_eq!(code(vault.release_hold(case, &two_people())), "HOLD_UNKNOWN");
        erase(&vault, "p1").unwrap();
        assert_eq!(vault.expire(None).unwrap().class_days.len(), 1);
    });
}

#[test]
fn a_hold_on_a_class_defers_that_class_only() {
    let (house, _) = House::sim();
    let vault = house.init();
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("90d")];
    let at = append(&vault, &visits).unwrap();
    let today = Day::parse("2026-11-21").unwrap();
    let scope = Scope::ClassDays { class: ClassId(3), from: today, to: today };
    let case = hold(&vault, scope);
    let erased = erase(&vault, "p1").unwrap();
    let why: Vec<_> = erased.deferred.iter().map(|d| (d.class, d.why.as_str())).collect();
    assert_eq!(why, [(ClassId(3), "hold")]);
    assert_eq!(data_fate(&read(&vault, at[1].index)), Fate::Open);
    vault.release_hold(case, &two_people()).unwrap();
    assert_eq!(vault.expire(None).unwrap().erasures.len(), 1);
    assert_eq!(data_fate(&read(&vault, at[1].index)), Fate::Erased);
}

#[test]
fn a_hold_covers_all_handles_of_a_person() {
    let (house, _) = House::sim();
    let vault = house.init();
    append(&vault, &[Visit::new(1, "n1", "a").class("90d"), Visit::new(2, "n1", "b")]).unwrap();
    let case = hold_person(&vault, "b");
    vault.link(&[patient("b"), patient("a")], &two_people()).unwrap();
    assert_eq!(code(erase(&vault, "a")), "HOLD_BLOCKED");
    house.clock.pass_days(120);
    let expired = vault.expire(None).unwrap();
    assert!(expired.class_days.is_empty(), "{expired:?}");
    assert_eq!(expired.held[0].1, vec![case]);
    let nobody = Scope::Person { person: chancery::base::id::PersonId([9; 16]) };
    assert_eq!(code(vault.set_hold(None, "x", nobody, &two_people())), "SUBJECT_UNKNOWN");
}

#[test]
fn retention_plans_then_frees_the_disk_and_never_makes_the_key_again() {
    on_both_disks(|house| {
        let vault = house.init();
        let at = append(&vault, &[Visit::new(1, "n1", "p1").class("90d")]).unwrap()[0].index;
        let keep = append(&vault, &[Visit::new(2, "n1", "p1")]).unwrap()[0].index;
        let plan = vault.retention_plan().unwrap();
        let first = &plan[0];
        assert_eq!((first.class_name.as_str(), first.groups > 0), ("90d", true));
        let day = Day::parse("2026-11-21").unwrap();
        assert_eq!(first.due, Some(Day(day.0 + 90).end()));
        assert!(first.rule.contains("90 days"), "{}", first.rule);
        assert!(vault.expire(None).unwrap().class_days.is_empty(), "nothing is due today");
        let file = house.config.data.join("tenants").join(vault.tenant().to_string());
        let file = file.join("bodies/3/2026-11-21.seg");
        assert!(house.disk.exists(&file).unwrap());
        let bytes = house.disk.read(&file).unwrap().len() as u64;
        assert_eq!(first.bytes, bytes);
        house.clock.pass_days(91);
        let expired = vault.expire(None).unwrap();
        assert_eq!((expired.bytes_freed, expired.groups), (bytes, first.groups));
        assert!(!house.disk.exists(&file).unwrap());
        drop(vault);
        let vault = house.open().unwrap();
        assert_eq!(data_fate(&read(&vault, at)), Fate::Expired);
        assert_eq!(data_fate(&read(&vault, keep)), Fate::Open);
        assert!(!house.disk.exists(&file).unwrap());
        assert!(vault.retention_plan().unwrap().iter().all(|p| p.class_day != first.class_day));
        assert_sound(&vault, "after expiry");
    });
}

#[test]
fn evidence_that_expired_still_does_not_make_an_erasure_look_like_a_loss() {
    let (house, _) = House::sim();
    let vault = house.init();
    append(&vault, &[Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p2").class("6y")]).unwrap();
    house.clock.pass_days(6);
    let late = append(&vault, &[Visit::new(3, "p2", "p2b").class("6y")]).unwrap()[0].index;
    erase(&vault, "p1").unwrap();
    house.clock.pass_days(1200);
    let expired = vault.expire_for(None, "dana").unwrap();
    assert!(!expired.class_days.is_empty());
    let opened = Reading::OPEN;
    for (_, intent, done) in &expired.runs {
        for entry in [intent, done] {
            let said = vault.record(*entry, opened).unwrap();
            assert_eq!(said.value("order.requested_by"), Some(&b"\"dana\""[..]), "who asked");
        }
    }
    drop(vault);
    let vault = house.open().unwrap();
    let fates: BTreeSet<Fate> = read_all(&vault).iter().flat_map(|r| r.groups.clone()).collect();
    assert!(!fates.contains(&Fate::KeyLost), "{fates:?}");
    assert_eq!(data_fate(&read(&vault, late)), Fate::Open);
}

#[test]
fn copies_put_back_are_named() {
    let (house, disk) = House::sim();
    let vault = house.init();
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    drop(vault);
    let old = disk.fork();
    let vault = house.open().unwrap();
    erase(&vault, "p1").unwrap();
    let ledger = vault.erasure_ledger().unwrap();
    drop(vault);
    let now = disk.fork();
    let mixed = |data: &SimDisk, keys: &SimDisk| {
        let mixed = SimDisk::new();
        copy(data, &mixed, "/sim/data");
        copy(keys, &mixed, "/sim/keys");
        mixed
    };
    let open = |disk: &SimDisk, ledger: Option<&str>| {
        let config = Config { ledger: ledger.map(str::to_owned), ..house.config.clone() };
        Vault::open(world(Arc::new(disk.clone()), &house.clock, 50), &config)
    };
    // Old data beside current keys: readable, not writable, and the erased stays unreadable.
    let behind = mixed(&old, &now);
    let vault = open(&behind, None).unwrap();
    assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
    assert_ne!(data_fate(&read(&vault, at)), Fate::Open);
    assert!(!text(&read(&vault, at)).contains("secret"));
    let size = vault.size();
    assert_eq!(code(append(&vault, &[Visit::new(2, "n1", "p2")])), "LOG_BEHIND_KEYS");
    assert_eq!(code(erase(&vault, "n1")), "LOG_BEHIND_KEYS");
    vault.settle();
    assert_eq!(vault.size(), size);
    drop(vault);
    // Old keys beside current data.
    let refused = open(&mixed(&now, &old), None).err().unwrap();
    assert_eq!(refused.code(), "ROOT_GEN_ROLLBACK");
    // Both old: only the ledger knows.
    let both = mixed(&old, &old);
    assert_eq!(open(&both, Some(&ledger)).err().unwrap().code(), "ROOT_GEN_ROLLBACK");
    let vault = open(&both, None).unwrap();
    assert!(vault.notices().iter().any(|n| n.code == "UNWITNESSED"));
    drop(vault);
    let vault = open(&now, Some(&ledger)).unwrap();
    assert!(vault.notices().iter().all(|n| n.code != "UNWITNESSED"));
    // A log that was emptied beside keys that were used.
    let emptied = SimDisk::new();
    copy(&old, &emptied, "/sim/keys");
    emptied.create_dir(Path::new("/sim/data")).unwrap();
    let file = Path::new("/sim/data/vault.toml");
    emptied.plant(file, &old.bytes(file).unwrap());
    assert_eq!(open(&emptied, None).err().unwrap().code(), "ROLLED_BACK");
}

#[test]
fn a_wrong_clock_destroys_nothing() {
    let (mut house, disk) = House::sim();
    let vault = house.init();
    let at = append(&vault, &[Visit::new(1, "n1", "p1").class("90d")]).unwrap()[0].index;
    let noon = UtcNanos::parse("2026-11-21T08:00:00Z").unwrap();
    // While running: not used, an alarm.
    house.clock.set_wall(UtcNanos(noon.0 + 70 * 365 * NANOS_PER_DAY));
    assert!(vault.clock().alarm().is_some());
    assert!(vault.expire(None).unwrap().class_days.is_empty());
    let receipt = &append(&vault, &[Visit::new(2, "n1", "p1")]).unwrap()[0];
    assert_eq!(receipt.time.day(), noon.day());
    drop(vault);
    // At open, 70 years ahead: reading only, until a person accepts it.
    let vault = house.open().unwrap();
    assert!(vault.notices().iter().any(|n| n.code == "CLOCK_NOT_ACCEPTED"));
    assert_eq!(code(append(&vault, &[Visit::new(3, "n1", "p1")])), "CLOCK_NOT_ACCEPTED");
    assert_eq!(code(vault.expire(None)), "CLOCK_NOT_ACCEPTED");
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
    drop(vault);
    // Accepted: expiry waits for a confirmed date, before and after the first entry.
    let copy = disk.fork();
    house.config.accept_time = true;
    let vault = house.open().unwrap();
    assert_eq!(code(vault.expire(None)), "EXPIRY_SUSPENDED");
    append(&vault, &[Visit::new(3, "n1", "p1")]).unwrap();
    assert_eq!(code(vault.expire(None)), "EXPIRY_SUSPENDED");
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
    drop(vault);
    let vault = house.open().unwrap();
    assert_eq!(code(vault.expire(None)), "EXPIRY_SUSPENDED");
    let today = vault.clock().now().day();
    assert_eq!(code(vault.expire(Some(Day(today.0 - 1)))), "EXPIRY_SUSPENDED");
    assert!(!vault.expire(Some(today)).unwrap().class_days.is_empty());
    assert!(vault.expire(None).is_ok(), "confirmed once is enough");
    drop(vault);
    // Corrected instead, an hour back: the log goes on and time never falls.
    house.clock.set_wall(UtcNanos(noon.0 - NANOS_PER_DAY / 24));
    house.config.accept_time = false;
    house.disk = Arc::new(copy);
    let vault = house.open().unwrap();
    append(&vault, &[Visit::new(3, "n1", "p1")]).unwrap();
    assert_sound(&vault, "clock set back");
}

#[test]
fn a_confirmed_date_is_remembered_when_nothing_was_due() {
    let (mut house, _) = House::sim();
    drop(house.init());
    house.config.accept_time = true;
    house.clock.pass_days(30);
    let vault = house.open().unwrap();
    assert_eq!(code(vault.expire(None)), "EXPIRY_SUSPENDED");
    let today = vault.clock().now().day();
    assert!(vault.expire(Some(today)).unwrap().class_days.is_empty());
    assert!(vault.expire(None).is_ok());
    drop(vault);
    assert!(house.open().unwrap().expire(None).is_ok());
}

#[test]
fn counting_sources_get_the_first_receipt_again() {
    on_both_disks(|house| {
        let vault = house.init();
        let visit = |n: u64| Visit::new(n, "n1", "p1");
        append(&vault, &[visit(1), visit(5)]).unwrap();
        let closing = append(&vault, &[visit(3)]).unwrap();
        assert!(!closing[0].duplicate, "a number in a hole closes it");
        drop(vault);
        let vault = house.open().unwrap();
        let again = append(&vault, &[visit(3), visit(4), visit(4)]).unwrap();
        let duplicates: Vec<bool> = again.iter().map(|r| r.duplicate).collect();
        assert_eq!(duplicates, [true, false, true]);
        assert_eq!((again[0].index, again[0].leaf), (closing[0].index, closing[0].leaf));
        assert_eq!(again[1].index, again[2].index);
        let other = Visit { secret: "other".into(), ..visit(3) };
        let size = vault.size();
        let differs = append(&vault, &[visit(2), other.clone()]).unwrap_err();
        assert_eq!(differs.code(), "DUPLICATE_DIFFERS");
        assert_eq!(vault.size().0, size.0 + 1, "a conflict entry, and none of the batch");
        assert_eq!(vault.entry(EntryIndex(size.0)).unwrap().head.kind, Kind::Conflict);
        let twice = [visit(7), Visit { secret: "other".into(), ..visit(7) }];
        assert_eq!(code(append(&vault, &twice)), "DUPLICATE_DIFFERS");
        erase(&vault, "p1").unwrap();
        assert_eq!(code(append(&vault, &[visit(3)])), "DUPLICATE_OF_ERASED");
        let back = vault.persons_named(&[patient("p1")]);
        assert_eq!(code(back), "SUBJECT_UNKNOWN", "what came again brings nobody back");
        assert_sound(&vault, "duplicates");
    });
}

#[test]
fn event_ids_get_the_first_receipt_again() {
    on_both_disks(|house| {
        let vault = house.init();
        let event = |id: &str, note: &str| {
            format!(
                concat!(
                    r#"{{"id":"{id}","action":"record.open","#,
                    r#""actor":{{"id":"u1","type":"user"}},"data":{{"note":"{note}"}}}}"#
                ),
                id = id,
                note = note
            )
        };
        let send =
            |vault: &Vault, id: &str, note: &str| append_json(vault, "app", &[event(id, note)]);
        let first = send(&vault, "a", "x").unwrap();
        drop(vault);
        let vault = house.open().unwrap();
        let again = send(&vault, "a", "x").unwrap();
        assert_eq!((again[0].index, again[0].duplicate), (first[0].index, true));
        assert_eq!(code(send(&vault, "a", "y")), "DUPLICATE_DIFFERS");
        let both = append_json(&vault, "app", &[event("b", "x"), event("b", "x")]).unwrap();
        assert_eq!(both[0].index, both[1].index);
        let other = append_json(&vault, "app2", &[event("a", "y")]).unwrap();
        assert!(!other[0].duplicate, "ids are per source");
    });
}

#[test]
fn day_seals_follow_each_other_without_gap_or_double() {
    let (house, _) = House::sim();
    let mut vault = house.init();
    for n in 0..12 {
        append(&vault, &[Visit::new(n, "n1", "p1")]).unwrap();
        if n % 3 == 2 {
            drop(vault);
            house.clock.pass_days(u64::from(n % 2 == 0));
            vault = house.open().unwrap();
        }
        house.clock.pass_days(n % 2);
        vault.settle();
    }
    append(&vault, &[Visit::new(50, "n1", "p1")]).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let mut next = 0;
    let mut days = BTreeSet::new();
    for record in read_all(&vault).iter().filter(|r| r.entry.head.kind == Kind::DaySeal) {
        let clear = &record.entry.head.clear;
        let seal = chancery::format::seal::payload::DaySealPayload::decode(clear).unwrap();
        assert_eq!(seal.first.0, next, "{seal:?}");
        assert!(days.insert(seal.day), "{seal:?}");
        for index in seal.first.0..seal.end.0 {
            let entry = vault.entry(EntryIndex(index)).unwrap();
            assert_eq!(entry.time_log.day(), seal.day);
        }
        assert!(vault.entry(seal.end).unwrap().time_log.day() > seal.day);
        next = seal.end.0;
    }
    assert!(days.len() >= 6, "{days:?}");
}

/// Erases one after another, expires and links meanwhile.
fn govern(vault: &Vault) {
    for round in 0..25 {
        match erase(vault, &format!("p{}", round % 11)) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), "SUBJECT_UNKNOWN", "{error}"),
        }
        if round % 5 == 0 {
            let today = vault.clock().now().day();
            vault.expire(Some(today)).unwrap();
            let two = [patient("p9"), patient(&format!("q{round}"))];
            vault.link(&two, &two_people()).unwrap();
        }
    }
}

/// Eight writers, one who erases, expires, links and holds: nothing lost, one line, no standstill.
#[test]
fn threads_at_once_lose_nothing() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 40;
    let (house, _) = House::sim();
    let vault = Arc::new(house.init());
    append(&vault, &[Visit::new(9_999, "n1", "old").class("90d")]).unwrap();
    house.clock.pass_days(100);
    let (done, finished) = std::sync::mpsc::channel();
    let mut threads = Vec::new();
    for writer in 0..WRITERS {
        let (vault, done) = (vault.clone(), done.clone());
        threads.push(std::thread::spawn(move || {
            let mut receipts = Vec::new();
            for round in 0..ROUNDS {
                let seq = writer * 1000 + round * 2;
                let mut visits = [seq, seq + 1]
                    .map(|n| Visit::new(n, &format!("n{writer}"), &format!("p{}", n % 11)));
                visits[1].class = "90d";
                receipts.push((seq, append(&vault, &visits)));
            }
            done.send(()).unwrap();
            receipts
        }));
    }
    let reader = {
        let (vault, done) = (vault.clone(), done.clone());
        std::thread::spawn(move || {
            let mut lost = 0;
            for _ in 0..20 {
                let all = read_all(&vault);
                lost += all.iter().flat_map(|r| &r.groups).filter(|f| **f == Fate::KeyLost).count();
            }
            done.send(()).unwrap();
            lost
        })
    };
    let governor = {
        let (vault, done) = (vault.clone(), done.clone());
        std::thread::spawn(move || {
            govern(&vault);
            done.send(()).unwrap();
        })
    };
    for _ in 0..WRITERS + 2 {
        let limit = std::time::Duration::from_secs(60);
        finished.recv_timeout(limit).expect("a thread stands still");
    }
    governor.join().unwrap();
    assert_eq!(reader.join().unwrap(), 0, "no reader may take an erasure for a loss");
    let mut seen = BTreeSet::new();
    for (seq, result) in threads.into_iter().flat_map(|t| t.join().unwrap()) {
        for (at, receipt) in result.unwrap_or_else(|e| panic!("{seq}: {e}")).iter().enumerate() {
            let entry = vault.entry(receipt.index).unwrap();
            assert_eq!(entry.head.source_seq, Some(seq + at as u64));
            assert_eq!(vault.leaf(receipt.index), Some(receipt.leaf));
            assert!(seen.insert(receipt.index));
        }
    }
    assert_eq!(seen.len() as u64, WRITERS * ROUNDS * 2);
    assert_sound(&vault, "many threads");
    let fates: BTreeSet<Fate> = read_all(&vault).iter().flat_map(|r| r.groups.clone()).collect();
    assert!(fates.is_subset(&[Fate::Open, Fate::Erased, Fate::Expired].into()), "{fates:?}");
}

#[test]
fn an_epoch_gets_one_seal_whoever_opens_meanwhile() {
    let (house, _) = House::sim();
    let mut vault = house.init();
    let text = r#"{"action":"record.open","actor":{"type":"service"}}"#.to_owned();
    for round in 0..7 {
        append_json(&vault, "tick", &vec![text.clone(); 9_400]).unwrap();
        if round >= 5 {
            vault.settle();
            drop(vault);
            vault = house.open().unwrap();
        }
    }
    append_json(&vault, "tick", &[text]).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let mut seals = 0;
    let whole = EntryIndex(0)..EntryIndex(vault.size().0);
    vault
        .for_each_entry(whole, &mut |entry, _| {
            seals += u64::from(entry.head.kind == Kind::Seal);
            Ok(())
        })
        .unwrap();
    assert!(vault.size().0 > 65_536);
    assert_eq!((seals, vault.facts_now().epochs_sealed), (1, 1));
}

/// What opening says when something is wrong: one line, a stable code, what to do.
fn refused(error: &Error, expect: &str, hint: &str) {
    let line = error.to_string();
    assert_eq!(error.code(), expect, "{line}");
    assert!(line.contains(hint) && !line.contains('\n') && line.len() < 400, "{hint}: {line}");
}

#[test]
fn what_cannot_be_opened_says_why_and_what_to_do() {
    let (house, disk) = House::sim();
    let vault = house.init();
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    let second = house.open().err().unwrap();
    refused(&second, "STORE_LOCKED", "close the other");
    let tenant = vault.tenant().to_string();
    drop(vault);
    let open = |disk: &SimDisk| {
        Vault::open(world(Arc::new(disk.clone()), &house.clock, 60), &house.config)
    };
    let fails = |disk: &SimDisk, code: &str, hint: &str| {
        refused(&open(disk).err().unwrap(), code, hint);
    };
    let key = |name: &str| PathBuf::from("/sim/keys").join(name);
    let public = disk.fork();
    public.make_public(&key("kek"));
    fails(&public, "STORE_CORRUPT", "chmod 600");
    let public = disk.fork();
    public.make_public(&key("signing/log.key"));
    fails(&public, "STORE_CORRUPT", "chmod 600");
    let without = SimDisk::new();
    copy(&disk, &without, "/sim/data");
    without.create_dir(Path::new("/sim/keys")).unwrap();
    fails(&without, "STORE_MISSING", "mount the key directory");
    let newer = disk.fork();
    let file = Path::new("/sim/data/vault.toml");
    let text = String::from_utf8(disk.bytes(file).unwrap()).unwrap();
    newer.plant(file, text.replace("format = 1", "format = 2").as_bytes());
    fails(&newer, "STORE_TOO_NEW", "upgrade");
    fails(&SimDisk::new(), "STORE_MISSING", "chancery init");
    // A torn unit beyond the checkpoint is dropped and named; damage before it is not cut.
    let segment =
        disk.files().into_iter().rfind(|p| p.to_string_lossy().contains("/log/")).unwrap();
    let whole = disk.bytes(&segment).unwrap();
    let torn = disk.fork();
    torn.plant(&segment, &[&whole[..], &whole[..100]].concat());
    let vault = open(&torn).unwrap();
    assert!(vault.notices().iter().any(|n| n.code == "TAIL_DROPPED"));
    append(&vault, &[Visit::new(2, "n1", "p1")]).unwrap();
    assert_sound(&vault, "torn tail");
    drop(vault);
    let short = disk.fork();
    short.plant(&segment, &whole[..whole.len() - 5]);
    let error = open(&short).err().unwrap();
    assert!(error.to_string().contains("CORRUPT_TAIL"), "{error}");
    assert_eq!(short.bytes(&segment).unwrap().len(), whole.len() - 5, "nothing was cut");
    drop(tenant);
}

#[test]
fn a_wrapped_key_directory_needs_its_passphrase() {
    let (mut house, _) = House::sim();
    let phrase = |text: &str| Some(zeroize::Zeroizing::new(text.as_bytes().to_vec()));
    house.config.passphrase = phrase("correct horse");
    drop(house.init());
    house.config.passphrase = None;
    refused(&house.open().err().unwrap(), "STORE_MISSING", "give the passphrase");
    house.config.passphrase = phrase("wrong");
    refused(&house.open().err().unwrap(), "STORE_CORRUPT", "right passphrase");
    house.config.passphrase = phrase("correct horse");
    assert!(house.open().is_ok());
}

#[test]
fn acts_need_two_people_and_a_basis_that_is_a_code() {
    let (house, _) = House::sim();
    let vault = house.init();
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    let same = Order { approved_by: Some(" PRIVA.officer@example.org".into()), ..two_people() };
    assert_eq!(code(vault.erase(&[patient("p1")], "gdpr-17-1", &same)), "TWO_PEOPLE");
    for basis in ["", "asked by Paul", "x\ny", &"x".repeat(65)] {
        let refused = vault.erase(&[patient("p1")], basis, &two_people()).unwrap_err();
        assert_eq!(refused.code(), "BASIS_NOT_A_CODE");
        assert!(!refused.to_string().contains("Paul"));
    }
    let unknown = erase(&vault, "nobody").unwrap_err().to_string();
    erase(&vault, "p1").unwrap();
    assert_eq!(erase(&vault, "p1").unwrap_err().to_string(), unknown, "one answer for both");
}
