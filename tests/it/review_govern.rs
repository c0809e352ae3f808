//! What a review found about erasing, holding and who may: each story is what a user would have
//! seen, told the way it must go.

use crate::support::clinic::{
    Visit, append, assert_sound, data_fate, identifier, patient, read, read_all,
};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, SeedEntropy, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::event::{Dedupe, Draft, Event};
use chancery::base::record::Fate;
use chancery::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use chancery::base::world::Clock;
use chancery::format::control::{self, Config, Mode, Scope};
use chancery::policy::classify::Scratch;
use chancery::store::disk::{Disk, Mode as DiskMode};
use chancery::vault::error::Result;
use chancery::vault::hold::Order;
use chancery::vault::policies::policies_hash;
use chancery::vault::read::Reading;
use chancery::vault::{Vault, World};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, ThreadId};

const HOME: &str = "/sim";
const YEAR: ClassId = ClassId(4);
const FOREVER: ClassId = ClassId(7);

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    let world = world(Arc::new(disk.clone()), clock, 1);
    Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap()
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    open_with(disk, clock, None)
}

fn open_with(disk: &SimDisk, clock: &Arc<HandClock>, ledger: Option<String>) -> Result<Vault> {
    let mut config = config(Path::new(HOME));
    (config.ledger, config.accept_time) = (ledger, true);
    Vault::open(world(Arc::new(disk.clone()), clock, 99), &config)
}

fn put(vault: &Vault, seq: u64, id: &str, class: ClassId) -> EntryIndex {
    let text = Visit::new(seq, "n1", id).json();
    let draft = Draft { source: "ehr", json: text.as_bytes() };
    let mut event = vault.policies().event(draft, &mut Scratch::default()).unwrap();
    event.class = class;
    vault.append_events(vec![event]).unwrap()[0].index
}

fn erase(vault: &Vault, id: &str) -> Result<chancery::vault::erase::Erased> {
    vault.erase(&[patient(id)], "gdpr-17-1", &two_people())
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

/// Whose lookups are counted, how many are left, and what happens at the last.
type Armed = (ThreadId, usize, Box<dyn FnOnce() + Send>);

/// A clock that lets somebody else act at one thread's n-th look at it.
struct HookClock {
    hand: Arc<HandClock>,
    armed: Mutex<Option<Armed>>,
}

impl Clock for HookClock {
    fn wall(&self) -> UtcNanos {
        self.hand.wall()
    }

    fn monotonic(&self) -> u64 {
        let mut armed = self.armed.lock().unwrap();
        let mut fire = None;
        if let Some((thread, left, _)) = armed.as_mut()
            && *thread == std::thread::current().id()
        {
            *left -= 1;
            if *left == 0 {
                fire = armed.take();
            }
        }
        drop(armed);
        if let Some((_, _, hook)) = fire {
            hook();
        }
        self.hand.monotonic()
    }
}

fn hooked() -> (Arc<HookClock>, Arc<Vault>) {
    let clock = Arc::new(HookClock { hand: clock(), armed: Mutex::new(None) });
    let (disk, entropy) = (Arc::new(SimDisk::new()), SeedEntropy::new(1));
    let world = World { disk, clock: clock.clone(), entropy };
    let vault = Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap();
    (clock, Arc::new(vault))
}

type Rival<T> = Arc<Mutex<Option<JoinHandle<T>>>>;

/// At this thread's n-th look at the clock another thread does `act`; it is given a chance to
/// finish, but not waited for: what it wants may be locked by this thread.
fn arm<T: Send + 'static>(
    (clock, vault): &(Arc<HookClock>, Arc<Vault>),
    n: usize,
    act: impl FnOnce(&Vault) -> T + Send + 'static,
) -> Rival<T> {
    let rival: Rival<T> = Arc::default();
    let (mine, vault) = (rival.clone(), vault.clone());
    let hook = Box::new(move || {
        let handle = std::thread::spawn(move || act(&vault));
        for _ in 0..20_000 {
            if handle.is_finished() {
                break;
            }
            std::thread::yield_now();
        }
        *mine.lock().unwrap() = Some(handle);
    });
    *clock.armed.lock().unwrap() = Some((std::thread::current().id(), n, hook));
    rival
}

fn join<T>(clock: &HookClock, rival: &Rival<T>) -> Option<T> {
    *clock.armed.lock().unwrap() = None;
    let handle = rival.lock().unwrap().take();
    handle.map(|handle| handle.join().unwrap())
}

#[test]
fn a_class_day_hold_acknowledged_before_the_intent_keeps_its_class() {
    let mut raced = 0;
    for n in 1..=8 {
        let house = hooked();
        let at = put(&house.1, 1, "p1", YEAR);
        house.1.settle();
        let rival = arm(&house, n, |vault| {
            let day = vault.clock().now().day();
            let scope = Scope::ClassDays { class: YEAR, from: day, to: day };
            vault.set_hold(None, "c", scope, &two_people()).unwrap().1
        });
        let erased = erase(&house.1, "p1").unwrap();
        let Some(held) = join(&house.0, &rival) else { continue };
        raced += 1;
        let kept = erased.deferred.iter().any(|d| d.class == YEAR);
        assert_eq!(kept, held < erased.intent, "look {n}: hold {held}, {erased:?}");
        let fate = if kept { Fate::Open } else { Fate::Erased };
        assert_eq!(data_fate(&read(&house.1, at)), fate, "look {n}");
    }
    assert!(raced > 2, "only {raced} races");
}

#[test]
fn nothing_of_a_person_before_the_done_entry_stays_readable_in_a_new_class() {
    let mut raced = 0;
    for n in 1..=8 {
        let house = hooked();
        put(&house.1, 1, "p1", YEAR);
        house.1.settle();
        let rival = arm(&house, n, |vault| put(vault, 3, "p1", FOREVER));
        let erased = erase(&house.1, "p1").unwrap();
        let Some(at) = join(&house.0, &rival) else { continue };
        raced += 1;
        assert_eq!(erased.deferred, vec![], "look {n}");
        let fate = if at < erased.done { Fate::Erased } else { Fate::Open };
        assert_eq!(data_fate(&read(&house.1, at)), fate, "look {n}: {at} {erased:?}");
        let again = erase(&house.1, "p1").map(drop).map_err(|e| e.code());
        let expect = if at < erased.done { Err("SUBJECT_UNKNOWN") } else { Ok(()) };
        assert_eq!(again, expect, "look {n}");
    }
    assert!(raced > 2, "only {raced} races");
}

#[test]
fn a_person_hold_acknowledged_before_a_run_keeps_the_persons_days() {
    let mut raced = 0;
    for n in 1..=8 {
        let house = hooked();
        let at = put(&house.1, 1, "p1", ClassId(1));
        let person = house.1.persons_named(&[patient("p1")]).unwrap()[0];
        for seq in 2..4 {
            house.0.hand.pass_days(5);
            put(&house.1, seq, "p2", FOREVER);
        }
        house.1.settle();
        let rival = arm(&house, n, move |vault| {
            let scope = Scope::Person { person };
            vault.set_hold(None, "c", scope, &two_people()).unwrap().1
        });
        let expired = house.1.expire(None).unwrap();
        let Some(held) = join(&house.0, &rival) else { continue };
        raced += 1;
        let run = expired.runs.iter().find(|_| expired.class_days.iter().any(|d| d.class.0 == 1));
        let gone = data_fate(&read(&house.1, at)) == Fate::Expired;
        assert_eq!(gone, run.is_some_and(|run| run.1 < held), "look {n}: {held} {expired:?}");
        assert!(!expired.held.iter().any(|(_, cases)| cases.is_empty()), "look {n}");
    }
    assert!(raced > 2, "only {raced} races");
}

#[test]
fn a_record_of_a_held_person_that_comes_before_the_intent_stays() {
    let mut raced = 0;
    for n in 1..=8 {
        let house = hooked();
        put(&house.1, 1, "p2", YEAR);
        append(&house.1, &[Visit::new(2, "n2", "p1")]).unwrap();
        let person = house.1.persons_named(&[patient("p1")]).unwrap()[0];
        house.1.set_hold(None, "c", Scope::Person { person }, &two_people()).unwrap();
        house.1.settle();
        let rival = arm(&house, n, |vault| put(vault, 3, "p1", YEAR));
        let nurse = [identifier("user_id", "n1")];
        let erased = house.1.erase(&nurse, "gdpr-17-1", &two_people()).unwrap();
        let Some(at) = join(&house.0, &rival) else { continue };
        raced += usize::from(at < erased.intent);
        assert_eq!(erased.deferred.is_empty(), at > erased.intent, "look {n}: {at} {erased:?}");
        assert_eq!(data_fate(&read(&house.1, at)), Fate::Open, "look {n}: {at} {erased:?}");
    }
    assert!(raced > 1, "only {raced} races");
}

#[test]
fn policies_in_force_before_a_run_decide_what_it_takes() {
    let mut raced = 0;
    for n in 1..=8 {
        let house = hooked();
        let at = put(&house.1, 1, "p1", ClassId(1));
        for seq in 2..4 {
            house.0.hand.pass_days(5);
            put(&house.1, seq, "p2", FOREVER);
        }
        house.1.settle();
        let mut longer = config(Path::new(HOME));
        let classes = longer.policies.get_mut("classes.toml").unwrap();
        assert!(classes.contains("keep = \"7d\""));
        *classes = classes.replace("keep = \"7d\"", "keep = \"365d\"");
        let (_, old) = policies_hash(&config(Path::new(HOME)).policies).unwrap();
        let (_, new) = policies_hash(&longer.policies).unwrap();
        let rival =
            arm(&house, n, move |vault| vault.apply_policies(&longer, &two_people()).unwrap());
        let expired = house.1.expire(None).unwrap();
        let Some(applied) = join(&house.0, &rival) else { continue };
        let gone = data_fate(&read(&house.1, at)) == Fate::Expired;
        raced += usize::from(!gone);
        for (job, intent, _) in &expired.runs {
            let named = house.1.facts_now().prunes[job].plan.policy;
            let expect = if *intent < applied { old } else { new };
            assert_eq!(named, expect, "look {n}: applied {applied}, {expired:?}");
        }
        let taken = expired.runs.iter().any(|run| run.1 < applied);
        assert_eq!(gone, taken, "look {n}: applied {applied}, {expired:?}");
    }
    assert!(raced > 1, "only {raced} races");
}

#[test]
fn a_crash_at_any_write_of_an_erasure_keeps_its_evidence() {
    for n in 1..60 {
        let (disk, clock) = (SimDisk::new(), clock());
        let vault = init(&disk, &clock);
        append(&vault, &[Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p2")]).unwrap();
        vault.settle();
        vault.checkpoint().unwrap();
        disk.fail_at(n);
        let whole = erase(&vault, "p1").is_ok();
        drop(vault);
        // The opening that finishes it is interrupted as well.
        let again = disk.crash(n);
        again.fail_at(n % 17 + 3);
        drop(open(&again, &clock));
        let vault = open(&again.crash(n + 1), &clock).unwrap();
        for record in read_all(&vault) {
            let kept = record.groups.iter().all(|f| matches!(f, Fate::Open | Fate::Erased));
            assert!(kept, "write {n}: {:?} of entry {}", record.groups, record.entry.index);
        }
        for job in vault.facts_now().erasures.keys() {
            let receipt = vault.erasure_receipt(*job).unwrap();
            assert!(receipt.contains("\nrecords 1\n"), "write {n}: {receipt}");
        }
        assert_sound(&vault, &format!("write {n}"));
        if whole {
            return;
        }
    }
    panic!("an erasure makes more writes than this test breaks");
}

#[test]
fn a_scan_during_an_erasure_reports_no_loss() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits: Vec<Visit> = (1..=6).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
    append(&vault, &visits).unwrap();
    let mut erased = false;
    let whole = EntryIndex(0)..EntryIndex(vault.size().0);
    let reading = Reading::OPEN;
    vault
        .for_each_record(whole, reading, &mut |record| {
            let fine = record.groups.iter().all(|f| matches!(f, Fate::Open | Fate::Erased));
            assert!(fine, "{:?} of entry {}", record.groups, record.entry.index);
            if !erased && record.entry.index.0 == 4 {
                erased = true;
                erase(&vault, "p6")?;
            }
            Ok(())
        })
        .unwrap();
    assert!(erased);
}

#[test]
fn an_erasure_of_too_many_people_is_refused_before_anything_is_destroyed() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits: Vec<Visit> = (1..=226).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
    append(&vault, &visits).unwrap();
    let all: Vec<_> = (1..=226).map(|n| patient(&format!("p{n}"))).collect();
    let refused = vault.erase(&all, "gdpr-17-1", &two_people()).map(drop);
    assert_eq!(code(refused), "ERASURE_TOO_LARGE");
    assert_eq!(vault.facts_now().erasures.len(), 0);
    assert_eq!(vault.erase(&all[..64], "gdpr-17-1", &two_people()).unwrap().records, Some(64));
    drop(vault);
    assert_sound(&open(&disk, &clock).unwrap(), "reopened");
}

#[test]
fn what_falls_due_while_an_erasure_is_interrupted_is_still_owed() {
    for n in 1..40 {
        let (disk, clock) = (SimDisk::new(), clock());
        let vault = init(&disk, &clock);
        let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
        let at = append(&vault, &visits).unwrap()[1].index;
        vault.settle();
        disk.fail_at(n);
        let whole = erase(&vault, "p1").is_ok();
        drop(vault);
        let after = disk.crash(n);
        clock.pass_days(2193);
        let vault = open(&after, &clock).unwrap();
        let facts = vault.facts_now();
        if let Some(erasure) = facts.erasures.values().next() {
            let (_, _, done) = erasure.done.as_ref().unwrap();
            let owed: Vec<u16> = done.deferred.iter().map(|d| d.class.0).collect();
            assert_eq!(owed, [5], "write {n}");
            vault.expire(Some(vault.clock().now().day())).unwrap();
            assert_ne!(data_fate(&read(&vault, at)), Fate::Open, "write {n}");
            assert_eq!(
                vault.persons_to_hold(&[patient("p1")]).map_err(|e| e.code()),
                Err("SUBJECT_UNKNOWN"),
                "write {n}"
            );
        }
        if whole {
            return;
        }
    }
    panic!("an erasure makes more writes than this test breaks");
}

#[test]
fn linking_people_takes_two_and_leaves_an_entry_without_their_names() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    let alone = Order { approved_by: None, ..two_people() };
    let both = [patient("p1"), patient("p9")];
    assert_eq!(code(vault.link(&both, &alone)), "TWO_PEOPLE");
    let size = vault.size();
    let person = vault.link(&both, &two_people()).unwrap();
    let record = read(&vault, EntryIndex(size.0));
    assert_eq!(record.entry.head.kind, Kind::Config);
    let said: Config = control::decode(&record.entry.head.clear).unwrap();
    assert_eq!(said, Config::Link { mode: Mode::TwoPerson, persons: vec![person] });
    let names: Vec<&str> = record.fields.iter().map(|f| &*f.name).collect();
    assert_eq!(names, ["order.approved_by", "order.requested_by"]);
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(erase(&vault, "p9").unwrap().records, Some(1));
    assert_sound(&vault, "after a link");
}

#[test]
fn a_hold_that_could_hold_nothing_is_refused() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let check = |class, from, to, expect: Option<&str>| {
        let scope = Scope::ClassDays { class: ClassId(class), from: Day(from), to: Day(to) };
        let got = vault.set_hold(None, "c", scope, &two_people());
        assert_eq!(got.err().map(|e| e.code()), expect, "class {class} {from} to {to}");
    };
    check(4, 20_000, 30_000, None);
    check(4, 20_000, 20_000, None);
    check(4, 30_000, 20_000, Some("HOLD_RANGE"));
    check(999, 20_000, 30_000, Some("HOLD_CLASS_UNKNOWN"));
    let nobody = Scope::Person { person: chancery::base::id::PersonId([9; 16]) };
    assert_eq!(code(vault.set_hold(None, "c", nobody, &two_people())), "SUBJECT_UNKNOWN");
}

#[test]
fn what_an_erasure_left_can_be_held_and_then_stays_past_its_floor() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1").class("6y")];
    let at = append(&vault, &visits).unwrap()[1].index;
    assert_eq!(erase(&vault, "p1").unwrap().deferred.len(), 1);
    let left = vault.persons_to_hold(&[patient("p1")]).unwrap();
    let (case, _) =
        vault.set_hold(None, "c", Scope::Person { person: left[0] }, &two_people()).unwrap();
    drop(vault);
    clock.pass_days(2300);
    let vault = open(&disk, &clock).unwrap();
    vault.settle();
    let today = Some(vault.clock().now().day());
    let expired = vault.expire(today).unwrap();
    assert_eq!(expired.erasures, vec![]);
    assert!(expired.held.iter().any(|(day, cases)| day.class.0 == 5 && cases == &[case]));
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
    vault.release_hold(case, &two_people()).unwrap();
    vault.expire(today).unwrap();
    assert_ne!(data_fate(&read(&vault, at)), Fate::Open);
}

#[test]
fn names_that_look_alike_are_not_two_people() {
    let check = |one: &str, other: &str, expect: std::result::Result<Mode, &str>| {
        let (requested_by, approved_by) = (one.to_owned(), Some(other.to_owned()));
        let order = Order { requested_by, approved_by, single_operator: false };
        assert_eq!(order.mode().map_err(|e| e.code()), expect, "{one:?} {other:?}");
        let shown = format!("{order:?}");
        assert!(!shown.contains("ada") && !shown.contains("example"), "{shown}");
    };
    check("ada@x.example", "bo@x.example", Ok(Mode::TwoPerson));
    check("Ada Min", "Bo Min", Ok(Mode::TwoPerson));
    check("ada@x.example", " ADA@x.example ", Err("TWO_PEOPLE"));
    check("ada@x.example", "\u{430}da@x.example", Err("NAME_NOT_PLAIN"));
    check("ada@x.example", "ada@x.example\u{200b}", Err("NAME_NOT_PLAIN"));
    check("ada  min", "ada min", Err("NAME_NOT_PLAIN"));
    check("ada\tmin", "ada min", Err("NAME_NOT_PLAIN"));
    check("stra\u{df}e", "STRASSE", Err("NAME_NOT_PLAIN"));
}

#[test]
fn a_receipt_never_signs_a_stored_hash_that_is_not_its_entrys() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    let erased = erase(&vault, "p1").unwrap();
    vault.settle();
    let honest = vault.erasure_receipt(erased.job).unwrap();
    let leaf = vault.leaf(erased.done).unwrap();
    assert!(honest.contains("completed"));
    let mut changed = 0;
    for path in disk.files().into_iter().filter(|p| p.to_string_lossy().contains("/tile")) {
        let bytes = disk.bytes(&path).unwrap();
        if let Some(at) = bytes.windows(32).position(|w| w == leaf.0) {
            // In place: the running vault holds the file open.
            let file = disk.open(&path, DiskMode::Write).unwrap();
            file.write_at(at as u64, &[bytes[at] ^ 1]).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "no tile holds the leaf");
    assert_ne!(vault.leaf(erased.done), Some(leaf), "the change is not seen");
    assert_eq!(code(vault.erasure_receipt(erased.job)), "LEAF_MISMATCH");
}

#[test]
fn keys_that_still_have_a_person_of_the_ledger_are_not_opened() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    append(&vault, &[Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p2")]).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    // Two lives of one vault: in each somebody else is erased, so generations and sizes agree.
    let erased_in = |id: &str| {
        let life = disk.fork();
        let vault = open(&life, &clock).unwrap();
        erase(&vault, id).unwrap();
        let ledger = vault.erasure_ledger().unwrap();
        drop(vault);
        (life, ledger)
    };
    let (one, ledger) = erased_in("p1");
    let (other, _) = erased_in("p2");
    open_with(&one, &clock, Some(ledger.clone())).unwrap();
    assert_eq!(code(open_with(&other, &clock, Some(ledger)).map(drop)), "LEDGER_PERSON_ALIVE");
    // What a law keeps of a person is no contradiction, before and after its time.
    let vault = open(&one, &clock).unwrap();
    append(&vault, &[Visit::new(3, "n1", "p3"), Visit::new(4, "n1", "p3").class("6y")]).unwrap();
    erase(&vault, "p3").unwrap();
    let ledger = vault.erasure_ledger().unwrap();
    assert!(ledger.contains("\nerased-in-part ") && ledger.contains("\nerased "), "{ledger}");
    drop(vault);
    open_with(&one, &clock, Some(ledger)).unwrap();
}

#[test]
fn an_identifier_with_too_many_leftovers_is_refused_and_not_a_panic() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let mut seq = 0;
    let mut again = || {
        seq += 1;
        append(&vault, &[Visit::new(seq, "n1", "p1").class("6y")])
    };
    for _ in 0..200 {
        again().unwrap();
        erase(&vault, "p1").unwrap();
    }
    assert_eq!(again().unwrap_err().code(), "IDENTIFIER_TOO_MANY_PERSONS");
    drop(vault);
    open(&disk, &clock).unwrap();
}

#[test]
fn debug_output_shows_no_value_of_an_event() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let text = Visit::new(77, "n1", "p-hidden").json();
    let draft = Draft { source: "ehr", json: text.as_bytes() };
    let mut event: Event<'_> = vault.policies().event(draft, &mut Scratch::default()).unwrap();
    event.dedupe = Dedupe::EventId(b"p-hidden"[..].into());
    let bytes = format!("{:?}", b"p-hidden");
    for shown in [format!("{draft:?}"), format!("{event:?}")] {
        for value in ["p-hidden", "secret", "clinic.example", bytes.trim_matches(['[', ']'])] {
            assert!(!shown.contains(value), "{value} in {shown}");
        }
    }
}

#[test]
fn the_text_of_a_law_cannot_write_lines_into_a_receipt() {
    let check = |law: &str, expect: Option<&str>| {
        let mut files = chancery::policy::default_files();
        let classes = files.get_mut("classes.toml").unwrap();
        assert!(classes.contains("45 CFR 164.316(b)(2)(i)"));
        *classes = classes.replace("45 CFR 164.316(b)(2)(i)", law);
        let got = chancery::policy::classify::Policies::parse(&files);
        assert_eq!(got.err().map(|e| e.code), expect, "{law:?}");
    };
    check("GDPR Art. 17(3)(b)", None);
    check("x\\nmode two-person\\nrecords 0", Some("CLASS_TEXT"));
    check("x\\u202ey", Some("CLASS_TEXT"));
    check(&"x".repeat(100), None);
    check(&"x".repeat(101), Some("CLASS_LAW"));
}

#[test]
fn a_normalisation_is_not_changed_under_people_who_are_known_by_it() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    append(&vault, &[Visit::new(1, "n1", "Bob")]).unwrap();
    let with = |edit: &dyn Fn(&str) -> String| {
        let mut config = config(Path::new(HOME));
        let fields = config.policies.get_mut("fields.toml").unwrap();
        let edited = edit(fields);
        assert_ne!(*fields, edited);
        *fields = edited;
        config
    };
    let kind = |name: &str, steps: &str| format!("name = \"{name}\"\nnormalise = [{steps}]\n");
    let lower = |name: &'static str| {
        let (old, new) = (kind(name, "\"trim\""), kind(name, "\"trim\", \"lowercase\""));
        with(&move |text| text.replace(&old, &new))
    };
    let mut dropped = with(&|text| text.replace("\"patient_id\"", "\"chart_id\""));
    for text in dropped.policies.values_mut() {
        *text = text.replace("\"patient_id\"", "\"chart_id\"");
    }
    for changed in [lower("patient_id"), dropped] {
        let refused = vault.apply_policies(&changed, &two_people());
        assert_eq!(code(refused), "IDENTIFIER_KIND_IN_USE");
        assert_eq!(vault.preview_erasure(&[patient("Bob")]).unwrap().persons.len(), 1);
    }
    // Nobody is known by this one.
    vault.apply_policies(&lower("customer_id"), &two_people()).unwrap();
    // Once nobody is left, nothing is lost from sight.
    erase(&vault, "Bob").unwrap();
    vault.apply_policies(&lower("patient_id"), &two_people()).unwrap();
}
