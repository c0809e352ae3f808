//! A real vault writes the files; an outsider has a trust file and nothing else. What the vault
//! finds is held against a scan of its entries, what it writes against the page.

use crate::attacks::raw::Site;
use crate::complete::maker::{self, EPOCH, Log, runs};
use crate::support::world::{two_people, world};
use chancery::base::entry::Kind;
use chancery::base::event::{Draft, EventCode, Identifier};
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND, TreeSize, UtcNanos};
use chancery::crypto::lanes::Lanes;
use chancery::crypto::merkle::Compact;
use chancery::format::complete::answer::{self, AnswerFound};
use chancery::format::complete::claim::Stands;
use chancery::format::complete::range::{self, RangeFound};
use chancery::format::complete::scope::{OPEN_END, Window};
use chancery::format::control::Scope;
use chancery::format::seal::row::INDEX_ROW_BYTES;
use chancery::format::seal::sample::Sample;
use chancery::format::seal::table::{INDEX_LEAF_ROWS, Table};
use chancery::store::disk::OsDisk;
use chancery::store::index::{Index, IndexMark};
use chancery::vault::Vault;
use chancery::vault::complete::{About, Asked, Handover, Made};
use chancery::vault::error::Error;
use chancery::vault::read::Reading;
use std::sync::Arc;
use std::time::Instant;

fn patient(name: &str) -> About {
    About::Person(vec![Identifier { kind: "patient_id".into(), value: name.into() }])
}

fn court() -> Handover {
    Handover { purpose: "order 4 C 118/26".into(), who: "district court; by dana".into() }
}

fn data_read() -> EventCode {
    EventCode::parse("data.read").unwrap()
}

fn answered(
    site: &Site,
    vault: &Vault,
    about: &About,
    asked: &Asked,
    to: Option<&Handover>,
) -> (Made, AnswerFound, Vec<u8>) {
    let mut file = Vec::new();
    let made = vault.prove_answer(about, asked, to, &mut file).unwrap();
    let found = answer::verify(&mut &*file, Some(&site.trust)).unwrap();
    assert_eq!(found.found.len() as u64, made.found);
    (made, found, file)
}

fn ranged(site: &Site, vault: &Vault, asked: &Asked) -> (RangeFound, Vec<u8>) {
    let mut file = Vec::new();
    vault.prove_range(asked, None, &mut file).unwrap();
    (range::verify(&mut &*file, Some(&site.trust), None).unwrap(), file)
}

/// The vault's log as the page sees it.
fn log(vault: &Vault) -> Log {
    let mut log = Log::default();
    let all = EntryIndex(0)..EntryIndex(vault.size().0);
    vault
        .for_each_entry_bytes(all, &mut |bytes| {
            log.push_bytes(bytes.to_vec());
            Ok(())
        })
        .unwrap();
    log
}

/// Whether a file ends with the part that the page says.
fn ends_with_part(file: &[u8], log: &Log, size: u64, shown: &[u64], height_max: u32) -> bool {
    let leaf = |at: u64| crate::golden::by_the_page::lp16(&log.entries[at as usize]);
    let runs = runs(shown.iter().copied());
    file.ends_with(&maker::part(&log.leaves[..size as usize], &runs, height_max, &leaf))
}

#[test]
fn ranges_of_a_vault_are_the_bytes_of_the_page() {
    let site = Site::with(3);
    let vault = site.open().unwrap();
    let size = vault.size().0;
    let log = log(&vault);
    for (start, end) in [(0, size), (0, 1), (3, 9), (size - 1, size)] {
        let asked = Asked::Indexes(EntryIndex(start)..EntryIndex(end));
        let (found, file) = ranged(&site, &vault, &asked);
        assert_eq!((found.scope.first.0, found.scope.end.0), (start, end));
        let shown: Vec<u64> = (start.saturating_sub(1)..(end + 1).min(size)).collect();
        assert!(ends_with_part(&file, &log, size, &shown, 63), "{start}..{end}");
    }
    let refused = |asked: Asked| {
        let mut file = Vec::new();
        let code = vault.prove_range(&asked, None, &mut file).map(|_| "made");
        (code.unwrap_or_else(|e| e.code()), file.len())
    };
    assert_eq!(refused(Asked::Indexes(EntryIndex(0)..EntryIndex(size + 1))), ("ENTRY_UNKNOWN", 0));
    assert_eq!(refused(Asked::Indexes(EntryIndex(4)..EntryIndex(4))), ("ENTRY_UNKNOWN", 0));
    assert_eq!(vault.size().0, size, "nothing was appended");
}

#[test]
fn a_window_is_closed_by_the_entry_that_records_its_handover() {
    let site = Site::with(3);
    let vault = site.open().unwrap();
    let size = vault.size().0;
    let times: Vec<u64> =
        (0..size).map(|at| vault.entry(EntryIndex(at)).unwrap().time_log.0).collect();
    let window =
        |from: u64, to: u64| Asked::Window(Window { from: UtcNanos(from), to: UtcNanos(to) });
    for from in times.iter().flat_map(|time| [*time, time + 1]) {
        let (found, _) = ranged(&site, &vault, &window(from, u64::MAX));
        let naive = times.iter().filter(|time| **time >= from).count() as u64;
        assert_eq!(found.entries(), naive);
        assert_eq!(found.scope.window.unwrap().to, OPEN_END);
    }
    site.clock.pass(NANOS_PER_SECOND);
    let asked = window(times[4], times[size as usize - 1] + 1);
    let mut open = Vec::new();
    let made = vault.prove_range(&asked, None, &mut open).unwrap();
    assert!(made.is_open());
    let fault = range::verify(&mut &*open, Some(&site.trust), None).unwrap_err();
    assert_eq!(fault.verdict(), Some("RANGE_OPEN_END"));
    let mut closed = Vec::new();
    let made = vault.prove_range(&asked, Some(&court()), &mut closed).unwrap();
    assert!(!made.is_open());
    let found = range::verify(&mut &*closed, Some(&site.trust), None).unwrap();
    assert_eq!(found.scope.end.0, size);
    assert_eq!(made.recorded, Some(EntryIndex(size)));
    // Nothing is in the window: two entries side by side show it.
    let empty = window(times[4] + 1, times[size as usize - 1]);
    let (found, _) = ranged(&site, &vault, &empty);
    let naive = |time: &&u64| **time > times[4] && **time < times[size as usize - 1];
    assert_eq!(found.entries(), times.iter().filter(naive).count() as u64);
}

#[test]
fn an_answer_about_a_person_is_recorded_first_and_names_its_limits() {
    let site = Site::with(4);
    let vault = site.open().unwrap();
    let size = vault.size();
    let mut nothing = Vec::new();
    let refused = |about: &About, to: Option<&Handover>, out: &mut Vec<u8>| {
        let made = vault.prove_answer(about, &Asked::Everything, to, out);
        made.map(|_| "made").unwrap_or_else(|e: Error| e.code())
    };
    assert_eq!(refused(&patient("p1"), None, &mut nothing), "DISCLOSURE_UNEXPLAINED");
    let silent = Handover { purpose: " ".into(), who: "x".into() };
    assert_eq!(refused(&patient("p1"), Some(&silent), &mut nothing), "DISCLOSURE_UNEXPLAINED");
    assert_eq!(refused(&patient("nobody"), Some(&court()), &mut nothing), "SUBJECT_UNKNOWN");
    let other = About::Source("nobody".into());
    assert_eq!(refused(&other, None, &mut nothing), "FILTER_SOURCE_UNKNOWN");
    assert_eq!((vault.size(), nothing.len()), (size, 0), "nothing was written or logged");
    let (made, found, _) =
        answered(&site, &vault, &patient("p1"), &Asked::Everything, Some(&court()));
    let identifiers = [Identifier { kind: "patient_id".into(), value: "p1".into() }];
    let persons = vault.persons_named(&identifiers).unwrap();
    let hits = vault.entries_of_persons(&persons, None).unwrap();
    let mut naive: Vec<EntryIndex> = hits.into_iter().map(|(_, index)| index).collect();
    naive.sort();
    naive.dedup();
    assert_eq!(found.found, naive);
    assert_eq!(naive.len(), 5);
    let Some(Stands::Person { identifiers, tags }) = found.claim.map(|claim| claim.stands) else {
        panic!("no claim");
    };
    assert_eq!(identifiers, ["patient_id:p1"]);
    assert_eq!(tags.len(), found.question.keys.len());
    // The record of it: what, how many, for whom; nobody's name in clear.
    let recorded = made.recorded.unwrap();
    assert!(found.signed.checkpoint.size.0 > recorded.0, "the file came after the record");
    let record = vault.record(recorded, Reading::OPEN).unwrap();
    assert_eq!(record.entry.head.kind, Kind::Disclose);
    let clear = String::from_utf8(record.entry.head.clear.clone()).unwrap();
    assert!(clear.contains(r#""act":"answer""#) && clear.contains(r#""records":5"#), "{clear}");
    assert!(!clear.contains("p1") && !clear.contains("court"), "{clear}");
    assert_eq!(record.value("disclosure.purpose"), Some(&b"\"order 4 C 118/26\""[..]));
    // The vault's own acts are a source like any other; their number is the scan's.
    let (_, own, _) =
        answered(&site, &vault, &About::Source(String::new()), &Asked::Everything, None);
    let kinds = log(&vault);
    let naive = (0..kinds.len()).filter(|at| kinds.entry(*at).head.kind != Kind::Event).count();
    assert_eq!(own.found.len(), naive);
    // Forgotten: there is nothing left to answer with.
    let one = Identifier { kind: "patient_id".into(), value: "p1".into() };
    vault.erase(&[one], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(refused(&patient("p1"), Some(&court()), &mut nothing), "SUBJECT_UNKNOWN");
}

/// Appends events until the log has this size at least.
fn grow(site: &Site, vault: &Vault, size: u64) {
    let mut number = 1_000;
    while vault.size().0 < size {
        site.clock.pass(NANOS_PER_SECOND);
        let text = |n: u64| {
            let verb = if n.is_multiple_of(1_000) { "delete" } else { "read" };
            format!(
                r#"{{"time":"2026-11-21T08:00:00Z","source_seq":{n},"actor":{{"id":"n{}","type":"user"}},"action":"record.open","category":"data","verb":"{verb}","outcome":"success","subjects":[{{"role":"target","identifiers":[{{"kind":"patient_id","value":"p{}"}}]}}]}}"#,
                n % 7,
                n % 5_000
            )
        };
        let texts: Vec<String> = (number..number + 2_000).map(text).collect();
        let drafts: Vec<Draft<'_>> =
            texts.iter().map(|t| Draft { source: "big", json: t.as_bytes() }).collect();
        vault.append(&drafts).unwrap();
        number += 2_000;
    }
    vault.settle();
}

/// Keys of four kinds, over everything and over what is sealed; `seal` is the seal of epoch 0.
fn check_keys(site: &Site, vault: &Vault, seal: u64) {
    // Absent from the epoch and from the tail; a few; very many; a source; the vault's acts.
    let absent = About::Code(EventCode::parse("key.rotate").unwrap());
    let rare = About::Code(EventCode::parse("data.delete").unwrap());
    let log = log(vault);
    let size = log.len();
    let naive = |has: &dyn Fn(u64) -> bool| (0..size).filter(|at| has(*at)).count();
    for (name, about, expect) in [
        ("absent", &absent, 0),
        ("rare", &rare, naive(&|at| log.entry(at).head.code.to_string() == "data.delete")),
        ("many", &About::Code(data_read()), naive(&|at| log.entry(at).head.code == data_read())),
        (
            "acts",
            &About::Source(String::new()),
            naive(&|at| log.entry(at).head.source.0 == [0; 16]),
        ),
    ] {
        let began = Instant::now();
        let (made, found, file) = answered(site, vault, about, &Asked::Everything, None);
        println!("{name}: {} bytes, {} found, {:?}", file.len(), made.found, began.elapsed());
        assert_eq!((found.found.len(), found.seals.len()), (expect, 1), "{name}");
        assert_eq!(found.seals, [(0, EntryIndex(seal))]);
        let whole = Asked::Sealed(EntryIndex(0)..EntryIndex(u64::MAX));
        let (made, found, file) = answered(site, vault, about, &whole, None);
        assert_eq!((made.scope.end.0, found.question.scope.end.0), (EPOCH, EPOCH));
        assert!(name != "absent" || file.len() < 8_000, "{} bytes", file.len());
    }
}

/// A person, and the bytes of the page.
fn check_person(site: &Site, vault: &Vault, seal: u64) {
    let (_, person, file) =
        answered(site, vault, &patient("p777"), &Asked::Everything, Some(&court()));
    let named = [Identifier { kind: "patient_id".into(), value: "p777".into() }];
    let hits = vault.entries_of_persons(&vault.persons_named(&named).unwrap(), None).unwrap();
    let mut naive: Vec<EntryIndex> = hits.into_iter().map(|(_, index)| index).collect();
    naive.sort();
    assert_eq!(person.found, naive);
    assert!(naive.len() > 10 && naive.iter().any(|at| at.0 > EPOCH), "{naive:?}");
    let shown: Vec<u64> = {
        let question = &person.question;
        let mut shown: Vec<u64> = person.found.iter().map(|index| index.0).collect();
        shown.extend(question.tail());
        shown.push(seal);
        shown.sort_unstable();
        shown.dedup();
        shown
    };
    let now = self::log(vault);
    let size = person.signed.checkpoint.size.0;
    assert!(ends_with_part(&file, &now, size, &shown, 16));
}

#[test]
fn a_sealed_epoch_is_answered_from_its_table_and_replayed_by_an_outsider() {
    let mut site = Site::with(1);
    site.config.index_on_disk = true;
    let vault = site.open().unwrap();
    grow(&site, &vault, EPOCH + 3_000);
    let seal = log(&vault);
    let at = (EPOCH..seal.len()).find(|at| seal.entry(*at).head.kind == Kind::Seal).unwrap();
    check_keys(&site, &vault, at);
    check_person(&site, &vault, at);
    let mut epoch = Vec::new();
    vault.prove_epoch(0, &mut epoch).unwrap();
    let sample = Sample::all();
    let found = range::verify(&mut &*epoch, Some(&site.trust), Some(&sample)).unwrap();
    assert_eq!(found.replayed.unwrap().agree, [(0, EntryIndex(at))]);
    let missing = vault.prove_epoch(1, &mut Vec::new()).map(|_| "made");
    assert_eq!(missing.unwrap_or_else(|e| e.code()), "EPOCH_UNSEALED");
    // From the written index, and from none at all.
    drop(vault);
    let vault = site.open().unwrap();
    vault.settle();
    check_keys(&site, &vault, at);
    check_person(&site, &vault, at);
    drop(vault);
    std::fs::remove_dir_all(site.places().index()).unwrap();
    let vault = Vault::open(world(Arc::new(OsDisk), &site.clock, 4_242), &site.config).unwrap();
    check_keys(&site, &vault, at);
    check_person(&site, &vault, at);
    drop(vault);
    let report = site.verify();
    assert_eq!((report.exit_code(), report.seals_replayed), (0, 1), "{:?}", report.verdicts);
}

/// Takes every row of subjects out of the written index, as whoever may write its files can: with
/// right checksums, headers and mark.
fn strip_subjects(site: &Site, log: &Log) {
    let root = |size: TreeSize| -> Option<Hash32> {
        let leaves: Vec<Hash32> = log.leaves.iter().map(|leaf| Hash32(*leaf)).collect();
        let mut tree = Compact::new();
        tree.extend(&Lanes::detect(), &leaves[..size.0 as usize], &mut |_, _| {});
        Some(tree.root())
    };
    let index = Index::open(&OsDisk, &site.places().index(), TreeSize(log.len()), root).unwrap();
    assert_eq!(index.epochs(), 1);
    let table = index.writer().table(0).unwrap();
    let mut fewer = Table::new::<INDEX_ROW_BYTES>(INDEX_LEAF_ROWS);
    for row in table.rows().filter(|row| row[0] != 1) {
        fewer.push::<INDEX_ROW_BYTES>(row.try_into().unwrap());
    }
    assert!(fewer.len() + 60_000 < table.len());
    index.clear().unwrap();
    let size = TreeSize(EPOCH);
    let mark = IndexMark { size, root: root(size).unwrap() };
    index.writer().put_epoch(0, &fewer, mark).unwrap();
}

#[test]
fn an_index_that_omits_rows_keeps_nothing_from_a_hold_an_erasure_or_a_floor() {
    let mut site = Site::with(1);
    site.config.index_on_disk = true;
    let vault = site.open().unwrap();
    grow(&site, &vault, EPOCH + 10);
    let log = self::log(&vault);
    let About::Person(p777) = patient("p777") else { unreachable!() };
    let persons = vault.persons_named(&p777).unwrap();
    let found = |vault: &Vault| vault.entries_of_persons(&persons, None).unwrap();
    let expect = found(&vault);
    assert!(expect.len() > 10);
    let preview = vault.preview_erasure(&p777).unwrap();
    let scope = Scope::Person { person: persons[0] };
    vault.set_hold(None, "4 C 1", scope, &two_people()).unwrap();
    let held = |vault: &Vault| {
        let plan = vault.retention_plan().unwrap();
        plan.into_iter().filter(|p| !p.held.is_empty()).map(|p| p.class_day).collect::<Vec<_>>()
    };
    let held_before = held(&vault);
    assert!(!held_before.is_empty());
    drop(vault);
    strip_subjects(&site, &log);
    let vault = site.open().unwrap();
    assert_eq!(held(&vault), held_before, "a hold keeps its class-days");
    drop(vault);
    let vault = site.open().unwrap();
    vault.settle();
    let log = self::log(&vault);
    drop(vault);
    strip_subjects(&site, &log);
    let vault = site.open().unwrap();
    assert_eq!(found(&vault), expect);
    assert_eq!(vault.preview_erasure(&p777).unwrap().records, preview.records);
    // What lied is gone, and the next opening makes it anew.
    drop(vault);
    let vault = site.open().unwrap();
    vault.settle();
    assert_eq!(found(&vault), expect);
}
