//! What a review found where bytes meet the disk: names that were not durable, units nobody could
//! read again, a reader's vault that signed, descriptors that were never closed. Each test is
//! named after what its user saw.

use crate::support::passed::passed_on;
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, SeedEntropy, config, two_people, world};
use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{Draft, Event, EventCode, Identifier, Outcome, Severity};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use chancery::base::record::Fate;
use chancery::base::subjects::SubjectSet;
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex, UtcNanos};
use chancery::format::{entry, unit};
use chancery::policy::classify::{Policies, Scratch};
use chancery::store::bodies::Bodies;
use chancery::store::disk::{Disk, DiskFile, Mode};
use chancery::store::error::{Error as StoreError, ErrorKind, Result as StoreResult};
use chancery::vault::error::Result;
use chancery::vault::read::Reading;
use chancery::vault::{Vault, World};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const HOME: &str = "/sim";
const PATIENCE: Duration = Duration::from_secs(60);

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    let world = world(Arc::new(disk.clone()), clock, 1);
    Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap()
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    Vault::open(world(Arc::new(disk.clone()), clock, 99), &config(Path::new(HOME)))
}

fn visit(seq: u64, patient: &str) -> String {
    let what = r#""action":"record.open","category":"data","verb":"read","outcome":"success""#;
    let who = format!(r#"[{{"kind":"patient_id","value":"{patient}"}}]"#);
    format!(
        r#"{{"id":"ehr-{seq}","time":"2026-11-21T08:00:00Z","source_seq":{seq},{what},
        "severity":3,"actor":{{"id":"n1","type":"user"}},"reason":"ward round",
        "targets":[{{"type":"patient","id":"{patient}"}}],
        "subjects":[{{"role":"target","identifiers":{who}}}]}}"#
    )
}

fn event(policies: &Policies, seq: u64) -> Event<'static> {
    let json: &'static str = visit(seq, &format!("p{seq}")).leak();
    let draft = Draft { source: "ehr", json: json.as_bytes() };
    policies.event(draft, &mut Scratch::default()).unwrap()
}

fn put(vault: &Vault, seq: u64) -> Result<EntryIndex> {
    let events = vec![event(&vault.policies(), seq)];
    vault.append_events(events).map(|receipts| receipts[0].index)
}

/// One event for nobody in each of `classes`.
fn batch(policies: &Policies, classes: std::ops::Range<u16>) -> Vec<Event<'static>> {
    classes
        .map(|class| {
            let mut event = event(policies, u64::from(class));
            event.class = ClassId(class);
            event.subjects.clear();
            event.groups.truncate(1);
            event.groups[0].subjects = SubjectSet::NONE;
            event
        })
        .collect()
}

/// Of the events' groups.
fn fates(vault: &Vault) -> Vec<Fate> {
    let mut out = Vec::new();
    let reading = Reading::OPEN;
    let all = EntryIndex(0)..EntryIndex(vault.size().0);
    vault
        .for_each_record(all, reading, &mut |record| {
            if record.entry.head.kind == Kind::Event {
                out.extend(record.groups.iter().copied());
            }
            Ok(())
        })
        .unwrap();
    out
}

fn file(disk: &SimDisk, name: &str) -> PathBuf {
    disk.files().into_iter().rfind(|path| path.to_string_lossy().ends_with(name)).unwrap()
}

/// Such a unit was written and acknowledged, and refused at the next opening.
#[test]
fn a_batch_of_more_class_days_than_a_unit_names_is_refused_and_one_of_as_many_is_kept() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let policies = vault.policies();
    let error = vault.append_events(batch(&policies, 100..165)).unwrap_err();
    assert_eq!(error.code(), "BATCH_TOO_MANY_CLASSES");
    let kept = vault.append_events(batch(&policies, 200..264)).unwrap();
    assert_eq!(kept.len(), unit::SPANS_MAX);
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(fates(&vault), vec![Fate::Open; 64]);
}

/// Batches that wait together may name more class-days than one unit can.
#[test]
fn batches_of_many_classes_at_once_are_committed_in_units_that_can_be_read() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let policies = vault.policies();
    let (threads, rounds) = (6u16, 5u16);
    let start = Barrier::new(usize::from(threads));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (vault, policies, start) = (&vault, &policies, &start);
            scope.spawn(move || {
                for round in 0..rounds {
                    let from = 100 + (round * threads + thread) * 40;
                    let events = batch(policies, from..from + 40);
                    start.wait();
                    assert_eq!(vault.append_events(events).unwrap().len(), 40);
                }
            });
        }
    });
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    let fates = fates(&vault);
    assert_eq!(fates.len(), usize::from(threads * rounds) * 40);
    assert!(fates.iter().all(|fate| *fate == Fate::Open));
}

/// The receipt was given, and the log never opened again.
#[test]
fn an_event_whose_entry_nobody_could_decode_is_refused_before_it_is_sealed() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let policies = vault.policies();
    put(&vault, 1).unwrap();
    let check = |what: &str, spoil: &dyn Fn(&mut Event<'static>)| {
        let mut bad = event(&policies, 9);
        spoil(&mut bad);
        let size = vault.size();
        let error = vault.append_events(vec![event(&policies, 8), bad]).unwrap_err();
        assert_eq!(error.code(), "EVENT_MISSHAPEN", "{what}: {error}");
        assert!(error.to_string().starts_with("event 1"), "{what}: {error}");
        assert_eq!(vault.size(), size, "{what}");
    };
    check("a group without fields", &|event| event.groups[0].fields.clear());
    check("a name twice", &|event| {
        let again = event.groups[0].fields[0].clone();
        event.groups[0].fields.push(again);
    });
    check("no name", &|event| event.groups[0].fields[0].name = "".into());
    check("a long name", &|event| event.groups[0].fields[0].name = "n".repeat(65).as_str().into());
    check("a subject that is not there", &|event| {
        event.groups[0].subjects = [0, 31].into_iter().collect();
    });
    put(&vault, 2).unwrap();
    drop(vault);
    assert!(open(&disk, &clock).is_ok());
}

fn heads() -> impl Strategy<Value = Head> {
    let tags = prop::collection::vec(0u8..6, 0..5);
    let group = (any::<bool>(), prop::collection::vec(0u8..5, 0..4));
    let groups = prop::collection::vec(group, 0..4);
    let field = ("[a-c]{0,2}|[a-c]{64,65}", 0u8..4);
    let fields = prop::collection::vec(field, 0..6);
    let numbers = (any::<Option<u64>>(), any::<u64>(), any::<u16>(), 0u8..=10);
    let clear = prop::collection::vec(any::<u8>(), 0..300);
    let sorted = prop::bool::weighted(0.8);
    let kind = (0..16u8).prop_map(|kind| Kind::from_value(kind).unwrap());
    (tags, groups, fields, numbers, clear, sorted, kind).prop_map(
        |(
            mut tags,
            groups,
            mut fields,
            (source_seq, time, class, severity),
            clear,
            sorted,
            kind,
        )| {
            if sorted {
                tags.sort_unstable();
                tags.dedup();
                fields.sort();
                fields.dedup_by(|a, b| a.0 == b.0);
            }
            let group = |(own, mut tags): (bool, Vec<u8>)| {
                if sorted {
                    tags.sort_unstable();
                    tags.dedup();
                }
                let fits = if tags.is_empty() == own {
                    GroupPolicy::Tenant
                } else {
                    GroupPolicy::AnySubject
                };
                GroupHead { policy: fits, class: ClassId(class), bucket: Day(20_000), tags }
            };
            let field = |(name, group): (String, u8)| FieldHead {
                name: name.as_str().into(),
                group,
                commitment: Hash32([7; 32]),
            };
            Head {
                kind,
                class: ClassId(class),
                time: UtcNanos(time),
                tenant: TenantId([1; 16]),
                record: RecordId([2; 16]),
                event_id: EventIdTag([3; 16]),
                source: SourceHandle([4; 16]),
                source_seq,
                code: EventCode::from_value(0x0101).unwrap(),
                outcome: Outcome::Success,
                severity: Severity::new(severity).unwrap(),
                tags: tags.into_iter().map(|tag| SubjectTag([tag; 16])).collect(),
                groups: groups.into_iter().map(group).collect(),
                fields: fields.into_iter().map(field).collect(),
                clear,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever the encoder lets pass is read back as it was.
    #[test]
    fn an_entry_that_was_written_can_be_read(head in heads(), index in 0u64..3) {
        let prev = if index == 0 { Hash32::ZERO } else { Hash32([9; 32]) };
        let entry = Entry { head, index: EntryIndex(index), time_log: UtcNanos(5), prev };
        if let Ok(bytes) = entry::encode(&entry) {
            prop_assert_eq!(entry::decode(&bytes), Ok(entry));
        }
    }
}

/// Killed between the head of a new body file and the sync of its name; what was acknowledged
/// after the restart was lost with the file at the next power loss.
#[test]
fn a_body_file_that_a_killed_process_made_is_durable_before_anything_in_it_is_acknowledged() {
    let (clock, mut acknowledged) = (clock(), 0);
    for n in 1..30 {
        let disk = SimDisk::new();
        let vault = init(&disk, &clock);
        vault.settle();
        vault.checkpoint().unwrap();
        clock.pass_days(1);
        disk.fail_at(n);
        let _ = put(&vault, 1);
        disk.heal();
        let killed = disk.fork();
        drop(vault);
        let Ok(vault) = open(&killed, &clock) else { continue };
        let Ok(at) = put(&vault, 2) else { continue };
        acknowledged += 1;
        for seed in 0..8 {
            let vault = open(&killed.crash(seed), &clock);
            let vault = vault.unwrap_or_else(|e| panic!("operation {n}, crash {seed}: {e}"));
            let record = vault.record(at, Reading::OPEN).unwrap();
            let whole = record.groups.iter().all(|fate| *fate == Fate::Open);
            assert!(whole, "operation {n}, crash {seed}: {:?}", record.groups);
        }
    }
    assert!(acknowledged > 10, "only {acknowledged} restarts could append");
}

const CALM: u8 = 0;
const REFUSE: u8 = 1;
const PANIC: u8 = 2;

/// A disk that counts open files, and fails the housekeeper's reads when told to.
#[derive(Clone, Default)]
struct Watched {
    disk: SimDisk,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    trap: Arc<AtomicU8>,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    disk: Watched,
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.disk.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl DiskFile for WatchedFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> StoreResult<()> {
        let keeper = std::thread::current().name() == Some("housekeeper");
        match self.disk.trap.load(Ordering::SeqCst) {
            REFUSE if keeper => {
                Err(StoreError::new(ErrorKind::Io, Path::new("log"), "simulated bad read"))
            }
            PANIC if keeper => panic!("a simulated defect of the housekeeper"),
            _ => self.file.read_exact_at(offset, bytes),
        }
    }

    passed_on!(file: write_at sync set_len len);
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: Mode) -> StoreResult<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        Ok(Arc::new(WatchedFile { file, disk: self.clone() }))
    }

    passed_on!(disk: exists list create_dir rename remove sync_dir is_private lock);
}

/// After some months of days the process had no descriptor left.
#[test]
fn files_of_old_days_are_closed_and_can_be_written_again() {
    let disk = Watched::default();
    let bodies = Bodies::new(Arc::new(disk.clone()), Path::new("/sim/bodies"), TenantId([1; 16]));
    let day = |day: u32| ClassDay { class: ClassId(4), day: Day(20_000 + day) };
    for number in 0..300 {
        let span = bodies.append(day(number), &[7; 100]).unwrap();
        assert_eq!((span.start, span.end), (32, 132));
        bodies.sync(&[span]).unwrap();
    }
    assert_eq!(disk.most.load(Ordering::SeqCst), 65);
    let spans: Vec<_> = (0..64).map(|n| bodies.append(day(n), &[8; 10]).unwrap()).collect();
    assert!(spans.iter().all(|span| (span.start, span.end) == (132, 142)));
    bodies.sync(&spans).unwrap();
    assert!(disk.open.load(Ordering::SeqCst) <= 65);
    for seed in 0..20 {
        let after = disk.disk.crash(seed);
        for number in 0..64 {
            assert_eq!(after.bytes(&bodies.path(day(number))).unwrap()[132..], [8; 10]);
        }
    }
}

/// A head that a power loss took, before anything was committed behind it, is written again;
/// behind somebody else's head nothing is appended, because it could not be read.
#[test]
fn nothing_is_appended_behind_a_wrong_head() {
    let disk = SimDisk::new();
    let class_day = ClassDay { class: ClassId(4), day: Day(20_000) };
    let bodies =
        || Bodies::new(Arc::new(disk.clone()), Path::new("/sim/bodies"), TenantId([1; 16]));
    let path = bodies().path(class_day);
    disk.create_dir(path.parent().unwrap()).unwrap();
    disk.plant(&path, &[0; 32]);
    let span = bodies().append(class_day, &[7; 100]).unwrap();
    assert!(bodies().read(span).is_ok());
    disk.flip(&path, 8, 1);
    assert_eq!(bodies().append(class_day, &[7; 100]).unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(disk.bytes(&path).unwrap().len(), 132);
}

fn watched(disk: &Watched, clock: &Arc<HandClock>) -> Vault {
    let (disk, clock) = (Arc::new(disk.clone()), clock.clone());
    let world = World { disk, clock, entropy: SeedEntropy::new(1) };
    Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap()
}

/// `settle` waited for ever.
#[test]
fn nobody_waits_for_a_housekeeper_that_died_of_a_panic() {
    let (disk, clock) = (Watched::default(), clock());
    let vault = Arc::new(watched(&disk, &clock));
    put(&vault, 1).unwrap();
    vault.settle();
    disk.trap.store(PANIC, Ordering::SeqCst);
    put(&vault, 2).unwrap();
    let (done, told) = channel();
    let waiting = vault.clone();
    std::thread::spawn(move || {
        waiting.settle();
        drop(waiting);
        let _ = done.send(());
    });
    told.recv_timeout(PATIENCE).expect("settle did not come back");
    put(&vault, 3).unwrap();
}

/// One bad read, and neither index nor seals followed the log until the next restart.
#[test]
fn the_housekeeper_goes_on_after_a_bad_read() {
    let (disk, clock) = (Watched::default(), clock());
    let vault = watched(&disk, &clock);
    put(&vault, 1).unwrap();
    vault.settle();
    disk.trap.store(REFUSE, Ordering::SeqCst);
    put(&vault, 2).unwrap();
    vault.settle();
    disk.trap.store(CALM, Ordering::SeqCst);
    clock.pass_days(1);
    put(&vault, 3).unwrap();
    let started = Instant::now();
    let is_seal = |at| vault.entry(EntryIndex(at)).unwrap().head.kind == Kind::DaySeal;
    while !(0..vault.size().0).any(is_seal) {
        assert!(started.elapsed() < PATIENCE, "the day is not sealed");
        std::thread::yield_now();
    }
}

/// Two writers, or a restored file: the log went on, and the checkpoint never did.
#[test]
fn a_vault_whose_checkpoint_somebody_changed_acknowledges_nothing_more() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let path = file(&disk, "checkpoint");
    let old = disk.bytes(&path).unwrap();
    put(&vault, 2).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    disk.plant(&path, &old);
    // Whether this one is acknowledged depends on when the file is looked at; it is durable then.
    let _ = put(&vault, 3);
    assert_eq!(vault.checkpoint().unwrap_err().code(), "STORE_CORRUPT");
    assert_eq!(put(&vault, 4).unwrap_err().code(), "STORE_CORRUPT");
    let size = vault.size();
    drop(vault);
    assert_eq!(disk.bytes(&path).unwrap(), old, "and it is left for whoever looks into it");
    assert_eq!(open(&disk, &clock).unwrap().size(), size);
}

/// The data were restored from before an erasure: the vault opened for reading only, and signed
/// a second history all the same.
#[test]
fn a_vault_opened_for_reading_only_signs_nothing() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    put(&vault, 1).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let head = file(&disk, "checkpoint");
    let signed = disk.bytes(&head).unwrap();
    let size = vault.size();
    put(&vault, 2).unwrap();
    vault.settle();
    let patient = Identifier { kind: "patient_id".into(), value: "p1".into() };
    vault.erase(&[patient], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    let log = disk.files().into_iter().rfind(|path| {
        path.to_string_lossy().contains("/log/") && path.extension().is_some_and(|e| e == "seg")
    });
    let (log, mut end) = (log.unwrap(), 0);
    let bytes = disk.bytes(&log).unwrap();
    // The first unit beyond the checkpoint is left, the erasure is not.
    loop {
        let len = u64::from_be_bytes(bytes[end + 4..end + 12].try_into().unwrap()) as usize;
        let unit = unit::decode(&bytes[end..end + len]).unwrap();
        end += len;
        if unit.head.end > size {
            break;
        }
    }
    disk.plant(&log, &bytes[..end]);
    disk.plant(&head, &signed);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
    assert!(vault.size() > size, "something is there to be signed");
    assert_eq!(put(&vault, 3).unwrap_err().code(), "LOG_BEHIND_KEYS");
    vault.checkpoint().unwrap();
    drop(vault);
    assert_eq!(disk.bytes(&head).unwrap(), signed);
}
