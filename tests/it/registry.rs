//! The registry of documents: what is put is there in every opening, of two writers one wins, a
//! body goes with the person it is about, and no reader of records gets one.

mod model;

use crate::support::clinic::{Visit, assert_sound};
use crate::support::clinic::{append, identifier, patient, read, read_all, text};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::event::{Identifier, Verb};
use chancery::base::id::DocumentId;
use chancery::base::limits::{DOCUMENT_BYTES_MAX, IDEMPOTENCY_NANOS, JSON_DEPTH_MAX, VAULT_CLASS};
use chancery::base::record::Fate;
use chancery::base::unit::{ClassId, EntryIndex};
use chancery::format::control::{self, Config as Said, DocumentKind};
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::{Error, Result};
use chancery::vault::facts::Facts;
use chancery::vault::registry::{Document, Put};
use chancery::vault::verify::{Options, verify_data};
use std::path::Path;
use std::sync::{Arc, Barrier};

const HOME: &str = "/sim";
const SECRET: &str = "argon2id-of-quellmalz";

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    let config = config(Path::new(HOME));
    Vault::init(world(Arc::new(disk.clone()), clock, 1), &config, "vault.example").unwrap()
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>, seed: u64) -> Vault {
    let config = Config { accept_time: true, ..config(Path::new(HOME)) };
    Vault::open(world(Arc::new(disk.clone()), clock, seed), &config).unwrap()
}

fn id(byte: u8) -> DocumentId {
    DocumentId([byte; 16])
}

fn put(kind: DocumentKind, byte: u8, expect: u64, body: &str) -> Put<'_> {
    Put { kind, id: id(byte), expect, gone: false, body: body.as_bytes(), subjects: &[] }
}

/// The body as text, `-` when its keys are gone.
fn body(document: &Document) -> String {
    let body = document.body.as_deref();
    body.map_or("-".to_owned(), |bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn shown(document: &Document) -> (u64, bool, String) {
    (document.version, document.gone, body(document))
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.expect_err("a refusal").code()
}

#[test]
fn a_document_is_there_with_all_its_versions_in_every_opening() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let human = DocumentKind::Human;
    assert_eq!(vault.document(human, id(1)).unwrap(), None);
    let (first, made) = vault.put_document(&put(human, 1, 0, r#"{"login":"dana"}"#)).unwrap();
    clock.pass(5);
    let (second, _) = vault.put_document(&put(human, 1, 1, r#"{"login":"omar"}"#)).unwrap();
    vault.put_document(&put(human, 2, 0, "[]")).unwrap();
    vault.put_document(&put(DocumentKind::Token, 1, 0, "7")).unwrap();
    let (last, _) =
        vault.put_document(&Put { gone: true, ..put(human, 1, 2, r#"{"why":"left"}"#) }).unwrap();
    let check = |vault: &Vault| {
        let found = vault.document(human, id(1)).unwrap().unwrap();
        assert_eq!(shown(&found), (3, true, r#"{"why":"left"}"#.to_owned()));
        assert_eq!((found.kind, found.id, found.index), (human, id(1), last));
        let all = vault.documents(human).unwrap();
        let all: Vec<_> = all.iter().map(|d| (d.id, d.version, d.gone)).collect();
        assert_eq!(all, [(id(1), 3, true), (id(2), 1, false)]);
        assert_eq!(vault.documents(DocumentKind::Setting).unwrap(), []);
        let history = vault.document_history(human, id(1)).unwrap();
        let texts: Vec<_> = history.iter().map(|d| (d.index, shown(d))).collect();
        let expect = [
            (first, (1, false, r#"{"login":"dana"}"#.to_owned())),
            (second, (2, false, r#"{"login":"omar"}"#.to_owned())),
            (last, (3, true, r#"{"why":"left"}"#.to_owned())),
        ];
        assert_eq!(texts, expect);
        assert_eq!((history[0].time, history[1].time.0 - made.0), (made, 5));
        assert_eq!(vault.document_history(human, id(9)).unwrap(), []);
    };
    check(&vault);
    let verbs: Vec<Verb> =
        [first, second, last].map(|at| vault.entry(at).unwrap().head.code.verb).into();
    assert_eq!(verbs, [Verb::Create, Verb::Update, Verb::Delete]);
    let head = vault.entry(second).unwrap().head;
    assert_eq!((head.kind, head.class), (Kind::Config, ClassId(VAULT_CLASS)));
    let said: Said = control::decode(&head.clear).unwrap();
    assert_eq!(said, Said::Document { kind: human, id: id(1), version: 2, gone: false });
    drop(vault);
    let vault = open(&disk, &clock, 2);
    check(&vault);
    // What was given up may be taken up again, as any version.
    vault.put_document(&put(human, 1, 3, "{}")).unwrap();
    assert_eq!(shown(&vault.document(human, id(1)).unwrap().unwrap()), (4, false, "{}".into()));
    assert_sound(&vault, "documents");
}

#[test]
fn a_version_that_does_not_follow_names_the_one_in_force() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let rule = DocumentKind::Rule;
    let refused = |expect: u64| match vault.put_document(&put(rule, 1, expect, "{}")) {
        Err(Error::Conflict { code: "VERSION_CONFLICT", first, fix }) => (first, fix),
        other => panic!("expected {expect}: {other:?}"),
    };
    let size = vault.size();
    for expect in [1, 2, (1 << 53) - 1, 1 << 53, u64::MAX] {
        let (first, fix) = refused(expect);
        assert_eq!(first, None);
        assert!(fix.contains("version 0") && fix.contains(&expect.to_string()), "{fix}");
    }
    assert_eq!(vault.size(), size, "nothing was written");
    let (at, _) = vault.put_document(&put(rule, 1, 0, "{}")).unwrap();
    for expect in [0, 2, u64::MAX] {
        assert_eq!(refused(expect).0, Some(at), "{expect}");
    }
    let (at, _) = vault.put_document(&put(rule, 1, 1, "{}")).unwrap();
    assert_eq!(refused(1).0, Some(at));
    assert!(refused(0).1.contains("version 2"));
}

/// Eight threads that all read the same version and write at once: one is told that it won, and
/// seven which entry was there first.
#[test]
fn of_eight_writers_one_wins_each_version() {
    const ROUNDS: u64 = 25;
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let barrier = Barrier::new(8);
    let write = |thread: u64| -> Vec<(u64, EntryIndex)> {
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            barrier.wait();
            let text = format!(r#"{{"by":{thread},"round":{round}}}"#);
            match vault.put_document(&put(DocumentKind::Schedule, 1, round, &text)) {
                Ok((at, _)) => won.push((round, at)),
                Err(Error::Conflict { code: "VERSION_CONFLICT", first: Some(first), .. }) => {
                    let clear = vault.entry(first).unwrap().head.clear;
                    let said: Said = control::decode(&clear).unwrap();
                    let Said::Document { version, .. } = said else { panic!("{said:?}") };
                    assert_eq!(version, round + 1, "the one in force");
                }
                other => panic!("{other:?}"),
            }
            barrier.wait();
        }
        won
    };
    let won: Vec<Vec<(u64, EntryIndex)>> = std::thread::scope(|scope| {
        let write = &write;
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || write(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all: Vec<(u64, EntryIndex, usize)> = won
        .iter()
        .enumerate()
        .flat_map(|(thread, won)| won.iter().map(move |(round, at)| (*round, *at, thread)))
        .collect();
    all.sort_unstable();
    assert_eq!(all.len() as u64, ROUNDS, "one winner a version: {all:?}");
    let history = vault.document_history(DocumentKind::Schedule, id(1)).unwrap();
    for ((round, at, thread), document) in all.iter().zip(&history) {
        let text = format!(r#"{{"by":{thread},"round":{round}}}"#);
        assert_eq!((document.index, shown(document)), (*at, (round + 1, false, text)));
    }
    assert_eq!(history.len() as u64, ROUNDS);
}

#[test]
fn what_is_no_document_is_refused_and_nothing_is_written() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let size = vault.size();
    let full = format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 2));
    let over = format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 1));
    let deep = "[".repeat(JSON_DEPTH_MAX + 1) + &"]".repeat(JSON_DEPTH_MAX + 1);
    let bodies: [(&[u8], &str); 8] = [
        (over.as_bytes(), "DOCUMENT_TOO_LARGE"),
        (b"", "JSON_SYNTAX"),
        (b"{} {}", "JSON_SYNTAX"),
        (b"{'a':1}", "JSON_SYNTAX"),
        (b"\"\xff\"", "JSON_UTF8"),
        (br#"{"a":1,"a":2}"#, "JSON_DUPLICATE_KEY"),
        (br#""\ud800""#, "JSON_SURROGATE"),
        (deep.as_bytes(), "JSON_DEPTH"),
    ];
    for (body, expect) in bodies {
        let error = vault.put_document(&Put { body, ..put(DocumentKind::Setting, 1, 0, "") });
        let error = error.expect_err(expect);
        assert_eq!(error.code(), expect);
        assert!(error.to_string().contains("in config.document"), "{error}");
    }
    let error = vault.put_document(&put(DocumentKind::Setting, 1, 0, &over)).unwrap_err();
    assert!(error.to_string().contains("(limit 262144): keep what is large"), "{error}");
    let many: Vec<Identifier> = (0..33).map(|n| patient(&format!("p{n}"))).collect();
    for (subjects, expect) in [
        (&many[..], "TOO_MANY_SUBJECTS"),
        (&[identifier("shoe_size", "44")], "IDENTIFIER_KIND"),
        (&[identifier("email", "  ")], "SUBJECT_EMPTY"),
        (&[identifier("email", &"x".repeat(257))], "IDENTIFIER_TOO_LONG"),
    ] {
        let put = Put { subjects, ..put(DocumentKind::Setting, 1, 0, "{}") };
        assert_eq!(code(vault.put_document(&put)), expect);
    }
    // Who loses makes nobody known either.
    let late = Put { subjects: &many[..1], ..put(DocumentKind::Setting, 1, 7, "{}") };
    assert_eq!(code(vault.put_document(&late)), "VERSION_CONFLICT");
    assert_eq!(code(vault.persons_named(&many[..1])), "SUBJECT_UNKNOWN");
    assert_eq!(vault.size(), size);
    let put = Put { subjects: &many[..32], ..put(DocumentKind::Setting, 1, 0, &full) };
    vault.put_document(&put).unwrap();
    assert_eq!(body(&vault.document(DocumentKind::Setting, id(1)).unwrap().unwrap()), full);
    assert!(!format!("{put:?}").contains("xxx") && !format!("{put:?}").contains("p0"));
}

/// A document about two people is unreadable once either is erased, in every version that names
/// them, and the log still verifies; it links nobody.
#[test]
fn an_erasure_takes_the_documents_about_its_subject() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    let order = DocumentKind::Order;
    let both = [identifier("email", " Rosa@Home.Example"), patient("p1")];
    let rosa = identifier("email", "rosa@home.example");
    let text = format!(r#"{{"act":"erase","who":"{SECRET}"}}"#);
    let about = Put { subjects: &both, ..put(order, 1, 0, &text) };
    let (filed, _) = vault.put_document(&about).unwrap();
    vault.put_document(&Put { subjects: &both[..1], ..put(order, 1, 1, &text) }).unwrap();
    vault.put_document(&put(order, 1, 2, r#"{"state":"approved"}"#)).unwrap();
    vault.put_document(&Put { subjects: &both[1..], ..put(order, 2, 0, &text) }).unwrap();
    let states = |vault: &Vault| -> Vec<String> {
        let history = vault.document_history(order, id(1)).unwrap();
        history.iter().map(body).collect()
    };
    assert_eq!(states(&vault), [&*text, &*text, r#"{"state":"approved"}"#]);
    let head = vault.entry(filed).unwrap().head;
    assert_eq!((head.tags.len(), head.groups.len(), head.groups[0].tags.len()), (2, 1, 2));
    let whom = |i: &Identifier| vault.persons_named(std::slice::from_ref(i)).unwrap();
    let [p1, r] = [whom(&patient("p1")), whom(&rosa)];
    assert!(p1.len() == 1 && r.len() == 1 && p1 != r, "two identifiers are two people");
    let preview = vault.preview_erasure(std::slice::from_ref(&rosa)).unwrap();
    assert_eq!(preview.records.into_iter().collect::<Vec<_>>(), [(ClassId(VAULT_CLASS), 2)]);
    vault.erase(std::slice::from_ref(&rosa), "gdpr-17-1", &two_people()).unwrap();
    let check = |vault: &Vault| {
        assert_eq!(states(vault), ["-", "-", r#"{"state":"approved"}"#]);
        let own = vault.document(order, id(2)).unwrap().unwrap();
        assert_eq!(body(&own), text, "the other person's own document stays");
        let fate = read(vault, filed).groups[0];
        assert_eq!(fate, Fate::Erased);
        let report = vault.verify_bodies(&mut |_, _| {}).unwrap();
        assert_eq!(report.exit_code(), 0, "{report:?}");
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        vault.checkpoint().unwrap();
        let data = Path::new(HOME).join("data");
        let report = verify_data(&shared, &data, None, &Options::default(), &mut |_, _| {});
        assert_eq!(report.unwrap().failures, 0);
    };
    check(&vault);
    drop(vault);
    let vault = open(&disk, &clock, 2);
    check(&vault);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(body(&vault.document(order, id(2)).unwrap().unwrap()), "-");
    // The document itself goes on.
    vault.put_document(&put(order, 2, 1, r#"{"state":"executed"}"#)).unwrap();
    assert_eq!(code(vault.persons_named(&[patient("p1")])), "SUBJECT_UNKNOWN");
    assert_sound(&vault, "erased");
}

/// A body that was changed, or lost, is no body whose person was erased.
#[test]
fn a_body_that_rots_is_named_and_is_not_taken_for_erased() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    vault.put_document(&put(DocumentKind::Token, 1, 0, r#"{"hash":"00"}"#)).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    let class = format!("bodies/{}", ClassId(VAULT_CLASS));
    let file = disk.files().into_iter().find(|p| p.to_string_lossy().contains(&class)).unwrap();
    let len = disk.bytes(&file).unwrap().len();
    disk.flip(&file, len - 20, 1);
    let vault = open(&disk, &clock, 2);
    let found = vault.document(DocumentKind::Token, id(1));
    assert_eq!(code(found), "BODY_AUTH_FAIL");
    assert_eq!(code(vault.documents(DocumentKind::Token)), "BODY_AUTH_FAIL");
    assert_eq!(code(vault.document_history(DocumentKind::Token, id(1))), "BODY_AUTH_FAIL");
}

#[test]
fn requests_are_known_for_24_hours_of_log_time_in_every_opening() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let request = DocumentKind::Idempotency;
    let (one, _) = vault.put_document(&put(request, 1, 0, r#"{"status":200}"#)).unwrap();
    vault.put_document(&put(DocumentKind::Human, 1, 0, "{}")).unwrap();
    clock.pass(IDEMPOTENCY_NANOS / 2);
    vault.put_document(&put(request, 2, 0, r#"{"status":201}"#)).unwrap();
    let known = |vault: &Vault| -> Vec<DocumentId> {
        vault.documents(request).unwrap().iter().map(|document| document.id).collect()
    };
    let settled = |vault: &Vault| {
        vault.settle();
        vault.checkpoint().unwrap();
        vault.settle();
    };
    settled(&vault);
    clock.pass(IDEMPOTENCY_NANOS / 2 - 1);
    append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap();
    assert_eq!(known(&vault), [id(1), id(2)]);
    assert_eq!(code(vault.put_document(&put(request, 1, 0, "{}"))), "VERSION_CONFLICT");
    settled(&vault);
    clock.pass(1);
    append(&vault, &[Visit::new(2, "n1", "p1")]).unwrap();
    assert_eq!((known(&vault), vault.document(request, id(1)).unwrap()), (vec![id(2)], None));
    settled(&vault);
    let facts = |vault: &Vault| Facts { opening: false, ..vault.facts_now() };
    let before = facts(&vault);
    drop(vault);
    // With a snapshot and without one.
    let snapshots = || disk.files().into_iter().filter(|p| p.to_string_lossy().ends_with(".snap"));
    for round in 0..2 {
        let vault = open(&disk, &clock, 2 + round);
        settled(&vault);
        assert_eq!(facts(&vault), before, "round {round}");
        assert_eq!(known(&vault), [id(2)]);
        drop(vault);
        snapshots().for_each(|path| disk.remove(&path).unwrap());
    }
    // The same name is new again; what was said under it before is still in its history.
    let vault = open(&disk, &clock, 5);
    let (again, _) = vault.put_document(&put(request, 1, 0, r#"{"status":409}"#)).unwrap();
    let history = vault.document_history(request, id(1)).unwrap();
    let history: Vec<_> = history.iter().map(|d| (d.index, d.version)).collect();
    assert_eq!(history, [(one, 1), (again, 1)]);
    assert_eq!(vault.documents(DocumentKind::Human).unwrap().len(), 1, "the others stay");
    clock.pass(IDEMPOTENCY_NANOS);
    append(&vault, &[Visit::new(3, "n1", "p1")]).unwrap();
    assert_eq!(known(&vault), []);
}

/// Whoever reads records, with everything open, sees that there is a body and never what it says.
#[test]
fn no_reader_of_records_gets_a_body() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let text = format!(r#"{{"password":"{SECRET}"}}"#);
    let (at, _) = vault.put_document(&put(DocumentKind::Human, 1, 0, &text)).unwrap();
    let about = [patient("p1")];
    let (other, _) = vault
        .put_document(&Put { subjects: &about, ..put(DocumentKind::Human, 2, 0, &text) })
        .unwrap();
    for index in [at, other] {
        let record = read(&vault, index);
        assert_eq!(record.groups, [Fate::Open], "its fate is told");
        assert_eq!(&*record.fields[0].name, "config.document");
        assert_eq!((record.value("config.document"), record.fields[0].salt), (None, None));
    }
    let records = read_all(&vault);
    assert!(records.iter().all(|record| !text_of_all(record).contains(SECRET)));
    // Others of the vault's own fields are as they were.
    assert!(records.iter().any(|record| record.value("config.policies").is_some()));
    let size = vault.size();
    let disclosed = vault.disclose(at, &["config.document"], "order 4", "court", "dana");
    assert_eq!(code(disclosed), "FIELD_PRIVATE");
    assert_eq!(vault.size(), size, "and no entry says that it was");
    let found = vault.document(DocumentKind::Human, id(1)).unwrap().unwrap();
    assert_eq!(body(&found), text);
    assert!(!format!("{found:?}").contains(SECRET), "{found:?}");
    let held = disk.files().into_iter().filter_map(|path| disk.bytes(&path));
    let needle = SECRET.as_bytes();
    for bytes in held {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}

fn text_of_all(record: &chancery::base::record::Record) -> String {
    format!("{}{record:?}", text(record))
}

#[test]
fn a_service_key_is_of_one_use_and_one_vault_and_stays() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let key = |vault: &Vault, label| *vault.service_key(label).unwrap();
    let token = key(&vault, "chancery/v1/service/token");
    assert_eq!(token, key(&vault, "chancery/v1/service/token"));
    assert_ne!(token, key(&vault, "chancery/v1/service/cursor"));
    for label in [
        "",
        "token",
        "chancery/v1/service",
        "chancery/v1/service/",
        "chancery/v1/service/Token",
        "chancery/v1/service/to\0ken",
        "chancery/v1/seal",
    ] {
        assert_eq!(code(vault.service_key(label)), "SERVICE_LABEL", "{label:?}");
    }
    let other = Vault::init(
        world(Arc::new(SimDisk::new()), &clock, 9),
        &config(Path::new(HOME)),
        "vault.example",
    )
    .unwrap();
    assert_ne!(token, key(&other, "chancery/v1/service/token"));
    drop(vault);
    assert_eq!(key(&open(&disk, &clock, 2), "chancery/v1/service/token"), token);
    // It lies nowhere: neither in the data nor, as it is, in the key directory.
    for path in disk.files() {
        let bytes = disk.bytes(&path).unwrap();
        assert!(!bytes.windows(32).any(|window| window == token), "{}", path.display());
    }
}
