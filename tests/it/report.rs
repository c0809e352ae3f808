//! Reports: every rule in every status it can take, same inputs give same bytes, the PDF says
//! what the model says, catalogues and manifests refuse what they must.

mod fixture;

use chancery::base::entry::{GroupPolicy, Kind};
use chancery::base::id::{Hash32, SubjectTag};
use chancery::base::secret::Key;
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex, NANOS_PER_DAY, TreeSize, UtcNanos};
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::trust::Trust;
use chancery::format::vkey::{Algorithm, Signer};
use chancery::report::catalogue::{Status, parse};
use chancery::report::evidence::{
    ClassDayState, ClassDayStatus, Deferred, ErasureMode, ErasureStatus, Grade, Verdict,
};
use chancery::report::inputs::Inputs;
use chancery::report::manifest::{Manifest, ManifestError, verify};
use chancery::report::model::{Block, Column, Report, Style, Table};
use chancery::report::{BuildError, build, csv, files, pdf};
use fixture::{CASE, CATALOGUE, World, at, entry, population, scope, sound, sound_with};
use lopdf::{Document, Object};
use std::collections::BTreeMap;

fn report(world: &World) -> Report {
    build(&world.inputs, &world.catalogue, &world.facts).unwrap()
}

/// Bends a sound world and compares one control's status; the reason must hold `words`.
fn check(id: &str, status: Status, words: &str, bend: impl FnOnce(&mut World)) {
    let mut world = sound();
    bend(&mut world);
    let report = report(&world);
    let control = report.controls.iter().find(|c| c.id == id).unwrap();
    assert_eq!(control.status, status, "{id} {:?}", control.reasons);
    let first = control.reasons.first().unwrap();
    assert_eq!(first.status, status);
    assert!(control.reasons.iter().any(|r| r.text.contains(words)), "{:?}", control.reasons);
}

/// The same with entries bent before they are read.
fn check_entries(
    id: &str,
    status: Status,
    words: &str,
    bend: impl FnOnce(&mut Vec<chancery::base::entry::Entry>),
) {
    let bent = sound_with(bend);
    check(id, status, words, |world| *world = bent);
}

/// The five controls are excluded in turn, with a reason and an approver.
fn not_applicable(id: &str) {
    check(id, Status::NotApplicable, "approved by dpo-2", |world| {
        let line = format!("id = \"{id}\"\n");
        let na = "not_applicable = { reason = \"no such data\", approver = \"dpo-2\" }\n";
        let text = CATALOGUE.replace(&line, &format!("{line}{na}"));
        world.catalogue = parse(&text).unwrap();
    });
}

fn live(due: &str) -> ClassDayStatus {
    ClassDayStatus {
        class_day: ClassDay { class: ClassId(2), day: Day::parse("2026-01-01").unwrap() },
        class_name: "health-records".into(),
        groups: 3,
        due: Some(at(due)),
        state: ClassDayState::Live,
    }
}

fn add_day(world: &mut World, status: ClassDayStatus) {
    world.inputs.class_days.as_mut().unwrap().push(status);
}

#[test]
fn retention_takes_each_status() {
    let id = "GDPR-5.1.e";
    check(id, Status::Supported, "examined: 60; none", |_| ());
    check(id, Status::Exception, "live after their due date: 1", |w| {
        add_day(w, live("2026-10-29T00:00:00Z"));
    });
    check(id, Status::Exception, "without a prune-done", |w| {
        add_day(
            w,
            ClassDayStatus {
                state: ClassDayState::Expired { done: None },
                ..live("2026-10-29T00:00:00Z")
            },
        );
    });
    check(id, Status::Attention, "within the grace: 1", |w| {
        add_day(w, live("2026-10-30T12:00:00Z"))
    });
    check(id, Status::Attention, "legal hold", |w| {
        add_day(
            w,
            ClassDayStatus { state: ClassDayState::Held(CASE), ..live("2020-01-01T00:00:00Z") },
        );
    });
    check(id, Status::InsufficientData, "without a retention rule", |w| {
        add_day(w, ClassDayStatus { due: None, ..live("2026-10-29T00:00:00Z") });
    });
    check(id, Status::InsufficientData, "gave no fates", |w| w.inputs.class_days = None);
    check(id, Status::InsufficientData, "nothing to test", |w| {
        w.inputs.class_days = Some(population([]));
    });
    check(id, Status::InsufficientData, "no fate: 15", |w| {
        let known = w.inputs.class_days.take().unwrap();
        w.inputs.class_days = Some(population(known.rows().iter().skip(45).cloned()));
    });
    not_applicable(id);
}

fn bend_erasure(world: &mut World, bend: impl FnOnce(&mut ErasureStatus)) {
    let mut erasure = fixture::erasure();
    bend(&mut erasure);
    world.inputs.erasures = Some(population([erasure]));
}

#[test]
fn erasure_takes_each_status() {
    let id = "GDPR-17";
    check(id, Status::Supported, "examined: 1; none", |_| ());
    let exception = Status::Exception;
    check(id, exception, "open past the deadline: 1", |w| {
        bend_erasure(w, |e| (e.completed, e.completed_at) = (None, None));
        w.facts.cut_off = at("2026-12-31T00:00:00Z");
    });
    check(id, exception, "finished after the deadline: 1", |w| {
        bend_erasure(w, |e| e.completed_at = Some(UtcNanos(e.requested_at.0 + 31 * NANOS_PER_DAY)));
    });
    check(id, exception, "without a receipt: 1", |w| bend_erasure(w, |e| e.receipt_sha256 = None));
    check(id, exception, "replaced no key: 1", |w| {
        bend_erasure(w, |e| e.generation_to = e.generation_from);
    });
    check(id, Status::Attention, "open within the deadline: 1", |w| {
        bend_erasure(w, |e| (e.completed, e.completed_at) = (None, None));
    });
    check(id, Status::Attention, "named by a law", |w| {
        bend_erasure(w, |e| {
            let due = at("2036-12-31T00:00:00Z");
            e.deferred = vec![Deferred { class: "invoices".into(), law: "HGB 257(4)".into(), due }];
        });
    });
    check(id, Status::Attention, "single operator: 1", |w| {
        bend_erasure(w, |e| e.mode = ErasureMode::SingleOperator);
    });
    check(id, Status::InsufficientData, "nothing to test", |w| {
        w.inputs.erasures = Some(population([]));
    });
    check(id, Status::InsufficientData, "gave no list", |w| w.inputs.erasures = None);
    check(id, Status::InsufficientData, "period: 1; erasures described: 2", |w| {
        let other = ErasureStatus {
            requested: EntryIndex(700),
            completed: Some(EntryIndex(701)),
            ..fixture::erasure()
        };
        w.inputs.erasures = Some(population([fixture::erasure(), other]));
    });
    not_applicable(id);
}

#[test]
fn access_takes_each_status() {
    let id = "GDPR-15";
    check(id, Status::Supported, "Accesses that name a person: 862", |_| ());
    check(id, Status::Exception, "could not be laid to one: 2", |w| {
        w.inputs.access_cover.attributed -= 2;
    });
    check(id, Status::Supported, "of them 2 to persons erased", |w| {
        w.inputs.access_cover.attributed -= 2;
        w.inputs.access_cover.erased += 2;
    });
    check_entries(id, Status::Attention, "told of them: 1", |e| e[0].head.tags.clear());
    check(id, Status::InsufficientData, "laid to persons: 863", |w| {
        w.inputs.access_cover.attributed += 1;
    });
    check(id, Status::InsufficientData, "laid no access", |w| w.inputs.access_rows = None);
    check(id, Status::InsufficientData, "outside the period", |w| {
        let mut rows = w.inputs.access_rows.take().unwrap().rows().to_vec();
        rows[0].last = EntryIndex(9_999_999);
        w.inputs.access_rows = Some(population(rows));
    });
    check(id, Status::InsufficientData, "does not show that there was none", |w| {
        w.inputs = Inputs::new(scope());
    });
    not_applicable(id);
}

fn bend_integrity(
    world: &mut World,
    bend: impl FnOnce(&mut chancery::report::evidence::Integrity),
) {
    bend(world.inputs.integrity.as_mut().unwrap());
}

#[test]
fn integrity_takes_each_status() {
    let id = "GDPR-32.integrity";
    check(id, Status::Supported, "entries 1440, bodies 732", |_| ());
    check(id, Status::Exception, "BODY_AUTH_FAIL: 2", |w| {
        bend_integrity(w, |i| {
            let name = "BODY_AUTH_FAIL".to_owned();
            i.verdicts.push(Verdict { name, count: 2, grade: Grade::Failed });
        });
    });
    check_entries(id, Status::Exception, "of the period: 1", |e| drop(e.remove(77)));
    check_entries(id, Status::Exception, "leaf hash before", |e| e[70].prev = Hash32([1; 32]));
    check_entries(id, Status::Exception, "below the one before", |e| {
        e[70].time_log = e[60].time_log;
    });
    let attention = Status::Attention;
    check(id, attention, "UNWITNESSED", |w| bend_integrity(w, |i| i.witnesses = 0));
    check(id, attention, "Seals missing: 1", |w| bend_integrity(w, |i| i.seals_missing = 1));
    check(id, attention, "KEYS_SINGLE_COPY: 1", |w| {
        bend_integrity(w, |i| {
            let name = "KEYS_SINGLE_COPY".to_owned();
            i.verdicts.push(Verdict { name, count: 1, grade: Grade::Note });
        });
    });
    check(id, attention, "cut-off: 48 h", |w| w.facts.cut_off = at("2026-11-02T00:00:00Z"));
    check_entries(id, attention, "never arrived): 4", |e| {
        e.iter_mut().filter(|e| e.index.0 >= 1_437).for_each(|e| {
            e.head.source_seq =
                e.head.source_seq.map(|n| if e.index.0 == 1_437 { n + 4 } else { n });
        });
    });
    check_entries(id, attention, "without a source's number", |e| e[5].head.source_seq = None);
    let insufficient = Status::InsufficientData;
    check(id, insufficient, "No verification", |w| w.inputs.integrity = None);
    check(id, insufficient, "checked: 1439 of 1440", |w| {
        bend_integrity(w, |i| i.entries_checked -= 1)
    });
    check(id, insufficient, "No body", |w| bend_integrity(w, |i| i.bodies_checked = 0));
    check(id, insufficient, "1439; last entry of the period: 1439", |w| {
        bend_integrity(w, |i| i.size = TreeSize(1_439))
    });
    check(id, insufficient, "no entry", |w| {
        let integrity = w.inputs.integrity.take();
        w.inputs = Inputs::new(scope());
        w.inputs.integrity = integrity;
    });
    not_applicable(id);
}

#[test]
fn encryption_takes_each_status() {
    let id = "GDPR-32.encryption";
    check(id, Status::Supported, "of 4 fields", |_| ());
    check_entries(id, Status::Exception, "must be sealed", |e| {
        e[3].head.clear = br#"{"actor.email":"x"}"#.to_vec();
    });
    check_entries(id, Status::Exception, "unregistered fields, readable", |e| {
        e[3].head.clear = br#"{"nickname":"x"}"#.to_vec();
    });
    check_entries(id, Status::Exception, "not a JSON object", |e| {
        e[3].head.clear = b"[1]".to_vec()
    });
    check_entries(id, Status::Attention, "named nobody", |e| {
        e[3].head.groups[0].policy = GroupPolicy::Tenant;
    });
    check_entries(id, Status::Attention, "no erasure reaches them", |e| {
        e[3].head.groups[0].policy = GroupPolicy::Tenant;
        e[3].head.fields.retain(|f| &*f.name == "actor.email");
        e[3].head.fields[0].name = "data".into();
    });
    check(id, Status::InsufficientData, "No field registry", |w| {
        w.inputs = Inputs::new(scope());
        w.inputs.scope.registry.clear();
    });
    check(id, Status::InsufficientData, "nothing to test", |w| w.inputs = Inputs::new(scope()));
    not_applicable(id);
}

#[test]
fn a_manual_control_and_one_not_in_force() {
    let text = CATALOGUE.replace("rule = \"retention_overdue\"", "rule = \"manual\"");
    let text = text.replace("thresholds = { late_days = 1 }\n", "").replace(
        "evidence = [\"class-day\", \"class\", \"groups\", \"due\", \"state\", \"finding\"]",
        "evidence = []",
    );
    check("GDPR-5.1.e", Status::Manual, "Attach the evidence", |w| {
        w.catalogue = parse(&text).unwrap();
    });
    let late = CATALOGUE.replacen(
        "effective = \"2018-05-25\"\n\n[[control]]\nid = \"GDPR-17\"",
        "effective = \"2031-01-01\"\n\n[[control]]\nid = \"GDPR-17\"",
        1,
    );
    assert_ne!(late, CATALOGUE);
    check("GDPR-5.1.e", Status::NotApplicable, "not in force", |w| {
        w.catalogue = parse(&late).unwrap();
    });
}

#[test]
fn items_that_were_not_kept_are_never_supported() {
    let day = live("2027-01-01T00:00:00Z");
    check("GDPR-5.1.e", Status::InsufficientData, "not examined: 1", |w| {
        let cap = chancery::report::evidence::POPULATION_ROWS_MAX;
        w.inputs.class_days = Some(population(std::iter::repeat_n(day, cap + 1)));
    });
}

#[test]
fn a_report_needs_a_period() {
    let mut world = sound();
    world.inputs.scope.period.end = world.inputs.scope.period.start;
    let made = build(&world.inputs, &world.catalogue, &world.facts);
    assert_eq!(made, Err(BuildError::PeriodEmpty));
    let mut world = sound();
    world.facts.cut_off = at("2026-09-30T00:00:00Z");
    let made = build(&world.inputs, &world.catalogue, &world.facts);
    assert_eq!(made, Err(BuildError::CutOffBeforePeriod));
}

#[test]
fn entries_outside_the_period_are_told_and_not_counted() {
    let world = sound_with(|entries| {
        let mut late = entry(1_440);
        late.time_log = at("2026-10-31T00:00:00Z");
        entries.push(late);
    });
    assert_eq!((world.inputs.outside, world.inputs.entries.count), (1, 1_440));
    let text = String::from_utf8(report(&world).json()).unwrap();
    assert!(text.contains("entries outside the period: 1"));
}

#[test]
fn exceptions_come_first() {
    let mut world = sound();
    add_day(&mut world, live("2026-10-01T00:00:00Z"));
    world.inputs.integrity = None;
    let order: Vec<Status> = report(&world).controls.iter().map(|c| c.status).collect();
    assert_eq!(order.first(), Some(&Status::Exception));
    assert_eq!(order.get(1), Some(&Status::InsufficientData));
}

/// A world in which every chapter has something to show.
fn troubled() -> World {
    let mut world = sound_with(|entries| {
        entries[3].head.groups[0].policy = GroupPolicy::Tenant;
        entries[3].head.fields[0].name = "data".into();
        entries.iter_mut().skip(1_200).filter(|e| e.head.kind == Kind::Event).for_each(|e| {
            e.head.source_seq = e.head.source_seq.map(|n| n + 2);
        });
        entries[10].head.tags = vec![SubjectTag([9; 16])];
        entries.retain(|e| e.head.source.0[0] != 0x12 || !(400..620).contains(&e.index.0));
        for n in 1..entries.len() {
            let before = entries[n - 1].index.0;
            entries[n].index = EntryIndex(before + 1);
            entries[n].prev = fixture::leaf(before);
        }
    });
    add_day(&mut world, live("2026-10-01T00:00:00Z"));
    add_day(
        &mut world,
        ClassDayStatus { state: ClassDayState::Held(CASE), ..live("2020-01-01T00:00:00Z") },
    );
    bend_erasure(&mut world, |e| {
        let due = at("2036-12-31T00:00:00Z");
        let law = "HGB s. 257(4): commercial records, ten years".into();
        e.deferred = vec![Deferred { class: "invoices".into(), law, due }];
        e.requested = EntryIndex(430);
        e.completed = Some(EntryIndex(432));
    });
    let named: u64 = world.inputs.accesses.iter().map(|(_, a)| a.named.count).sum();
    world.inputs.access_cover.attributed = named - 3;
    world.inputs.access_cover.erased = 3;
    world
}

#[test]
fn same_inputs_give_same_bytes() {
    for world in [sound(), troubled()] {
        let first = files(&report(&world)).unwrap();
        let again = files(&report(&world)).unwrap();
        assert_eq!(first.len(), again.len());
        for ((name, bytes), (_, other)) in first.iter().zip(&again) {
            assert!(bytes == other, "{name} differs");
        }
    }
    let mut other = sound();
    other.facts.nonce = [1; 16];
    assert_ne!(report(&other).id, report(&sound()).id);
}

fn golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path.join(name), found).unwrap();
    }
    let expected = std::fs::read_to_string(path.join(name)).unwrap();
    assert!(expected == found, "{name} changed: run with UPDATE=1 and look at the difference");
}

/// Catches a change of any byte, here or in a library, in another process or on another machine.
#[test]
fn bytes_equal_the_golden_ones() {
    let report = report(&troubled());
    let files = files(&report).unwrap();
    let mut hashes = String::new();
    for (name, bytes) in &files {
        let hash = chancery::crypto::hash::sha256(&[bytes]);
        hashes.push_str(&format!("{hash} {} {name}\n", bytes.len()));
    }
    let json = files.iter().find(|(name, _)| name == "report.json").unwrap();
    golden("report.json", std::str::from_utf8(&json.1).unwrap());
    golden("files.txt", &hashes);
}

/// Text of each page, by the fonts' own maps back to characters.
fn pages(bytes: &[u8]) -> Vec<String> {
    let doc = Document::load_mem(bytes).unwrap();
    doc.get_pages().keys().map(|n| doc.extract_text(&[*n]).unwrap()).collect()
}

/// Text without its spaces and line ends: lines break anywhere.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn pdf_of(report: &Report) -> Vec<u8> {
    pdf::write(report, &report.json()).unwrap()
}

#[test]
fn the_pdf_says_what_the_model_says() {
    let report = report(&troubled());
    let pages = pages(&pdf_of(&report));
    let text = squeeze(&pages.concat());
    for control in &report.controls {
        assert!(text.contains(&squeeze(&control.title)), "{}", control.id);
        for reason in &control.reasons {
            assert!(text.contains(&squeeze(&reason.text)), "{}", reason.text);
        }
    }
    for table in report.tables() {
        assert!(text.contains(&squeeze(&table.title)));
        for (key, value) in &table.ipe {
            assert!(text.contains(&squeeze(value)), "{} {key}", table.id);
        }
    }
    let total = pages.len();
    for (n, page) in pages.iter().enumerate() {
        let squeezed = squeeze(page);
        assert!(squeezed.contains(&format!("page{}of{total}", n + 1)));
        assert!(squeezed.contains(&format!("report{}", report.id)));
        assert!(!page.contains('\u{fffd}'));
    }
    assert!(!text.to_lowercase().contains("compliant"));
}

#[test]
fn the_pdf_is_put_right_after_printpdf() {
    let report = report(&sound());
    let json = report.json();
    let bytes = pdf::write(&report, &json).unwrap();
    assert!(bytes.starts_with(b"%PDF-1.7"));
    let doc = Document::load_mem(&bytes).unwrap();
    let catalog = doc.catalog().unwrap();
    assert_eq!(catalog.get(b"PageMode").unwrap().as_name().unwrap(), b"UseOutlines");
    assert_eq!(catalog.get(b"Lang").unwrap().as_str().unwrap(), b"en");
    assert!(catalog.get(b"OutputIntents").is_err());
    let info = doc.trailer.get(b"Info").unwrap().as_reference().unwrap();
    let info = doc.get_dictionary(info).unwrap();
    let mut keys: Vec<&[u8]> = info.iter().map(|(key, _)| key.as_slice()).collect();
    keys.sort();
    assert_eq!(keys, [&b"CreationDate"[..], b"ModDate", b"Producer", b"Title"]);
    assert_eq!(info.get(b"CreationDate").unwrap().as_str().unwrap(), b"D:20261031060000Z");
    let metadata = catalog.get(b"Metadata").unwrap().as_reference().unwrap();
    let xmp = doc.get_object(metadata).unwrap().as_stream().unwrap();
    assert!(xmp.dict.get(b"Filter").is_err());
    assert!(std::str::from_utf8(&xmp.content).unwrap().contains(&report.id));
    assert_eq!(embedded(&doc), json);
}

/// The file that the catalogue's AF entry names.
fn embedded(doc: &Document) -> Vec<u8> {
    let af = doc.catalog().unwrap().get(b"AF").unwrap().as_array().unwrap();
    let spec = doc.get_dictionary(af[0].as_reference().unwrap()).unwrap();
    assert_eq!(spec.get(b"AFRelationship").unwrap().as_name().unwrap(), b"Data");
    let file = spec.get(b"EF").unwrap().as_dict().unwrap().get(b"F").unwrap();
    let Object::Stream(stream) = doc.get_object(file.as_reference().unwrap()).unwrap() else {
        panic!("no stream")
    };
    stream.decompressed_content().unwrap()
}

/// A report with one table of these rows.
fn with_rows(rows: Vec<Vec<String>>) -> Report {
    let mut report = report(&sound());
    let columns = vec![
        Column::new("position", 20, Style::Number),
        Column::new("words of a heading", 50, Style::Text),
        Column::new("handle", 30, Style::Mono),
    ];
    let ipe = vec![("rows SHA-256", Table::rows_sha256(&rows).to_string())];
    let table = Table { id: "x-rows".into(), title: "Rows".into(), columns, rows, ipe };
    report.controls.clear();
    report.sections.truncate(1);
    report.sections[0].blocks = vec![Block::Table(table)];
    report
}

#[test]
fn a_long_table_repeats_its_head() {
    let row = |n: usize| vec![n.to_string(), format!("row {n}"), format!("h{n:06}")];
    let pages = pages(&pdf_of(&with_rows((0..500).map(row).collect())));
    let with: Vec<&String> = pages.iter().filter(|p| squeeze(p).contains("row")).collect();
    let data: Vec<&&String> =
        with.iter().filter(|p| p.contains("h000") || p.contains("h0002")).collect();
    assert!(data.len() >= 8, "{} pages", data.len());
    for page in &data {
        assert!(squeeze(page).contains("wordsofaheading"), "head missing: {page}");
    }
    let all = pages.concat();
    for n in 0..500 {
        assert_eq!(all.matches(&format!("h{n:06}")).count(), 1, "row {n}");
    }
    let long = with_rows((0..501).map(row).collect());
    let text = squeeze(&self::pages(&pdf_of(&long)).concat());
    assert!(text.contains("500of501rowsareprinted") && !text.contains("h000500"));
    assert!(
        String::from_utf8(csv::write(long.tables().next().unwrap())).unwrap().contains("h000500")
    );
}

#[test]
fn nothing_is_cut_and_nothing_is_a_blank_box() {
    let word = "verylongword".repeat(120);
    let report = with_rows(vec![vec![
        "1".into(),
        word.clone(),
        "\u{4e2d}\u{6587} \u{1f600} \u{5e9}\u{202e}\0".into(),
    ]]);
    let text = squeeze(&pages(&pdf_of(&report)).concat());
    assert!(text.contains(&word));
    for escape in ["[U+4E2D]", "[U+6587]", "[U+1F600]", "[U+05E9]", "[U+202E]", "[U+0000]"] {
        assert!(text.contains(escape), "{escape}");
    }
    assert!(text.contains("6charactersonthesepages"));
}

/// Every show operator stays on the page, so no column runs over the edge.
#[test]
fn text_stays_inside_the_margins() {
    let doc = Document::load_mem(&pdf_of(&report(&troubled()))).unwrap();
    let mut seen = 0;
    for page in doc.page_iter() {
        let content = doc.get_page_content(page);
        let content = lopdf::content::Content::decode(&content).unwrap();
        for operation in content.operations.iter().filter(|o| o.operator == "Td") {
            let x = operation.operands[0].as_float().unwrap();
            let y = operation.operands[1].as_float().unwrap();
            assert!((50.0..545.0).contains(&x) && (25.0..805.0).contains(&y), "{x} {y}");
            seen += 1;
        }
    }
    assert!(seen > 500);
}

#[test]
fn csv_quotes_and_guards() {
    let cell = |text: &str| {
        let table = Table {
            id: "x".into(),
            title: "x".into(),
            columns: vec![Column::new("a", 1, Style::Text)],
            rows: vec![vec![text.to_owned()]],
            ipe: Vec::new(),
        };
        let text = String::from_utf8(csv::write(&table)).unwrap();
        text.strip_prefix("\"a\"\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    };
    for (text, expect) in [
        ("plain", "\"plain\""),
        ("a,b \"c\"", "\"a,b \"\"c\"\"\""),
        ("=1+1", "\"'=1+1\""),
        ("+1", "\"'+1\""),
        ("-1", "\"'-1\""),
        ("@SUM(A1)", "\"'@SUM(A1)\""),
        ("\t=1", "\"'\t=1\""),
        ("\r=1", "\"'\r=1\""),
        ("\0x", "\"'\0x\""),
        ("\u{ff1d}1", "\"'\u{ff1d}1\""),
        ("", "\"\""),
        ("a=1", "\"a=1\""),
    ] {
        assert_eq!(cell(text), expect);
    }
}

#[test]
fn catalogues_are_refused_with_their_line() {
    let check = |from: &str, to: &str, code: &str, line: usize| {
        let text = CATALOGUE.replacen(from, to, 1);
        assert_ne!(text, CATALOGUE, "{from}");
        let error = parse(&text).unwrap_err();
        assert_eq!((error.code, error.line), (code, line), "{error}");
    };
    check("rule = \"retention_overdue\"", "rule = \"guess\"", "CATALOGUE_RULE", 18);
    check("late_days = 1", "late_hours = 1", "CATALOGUE_THRESHOLD", 19);
    check("thresholds = { late_days = 1 }", "", "CATALOGUE_THRESHOLD", 18);
    check("late_days = 1", "late_days = -1", "CATALOGUE_SYNTAX", 19);
    check("\"class-day\", \"class\"", "\"class\"", "CATALOGUE_EVIDENCE", 20);
    check("id = \"GDPR-17\"", "id = \"GDPR-5.1.e\"", "CATALOGUE_ID_TWICE", 25);
    check("id = \"GDPR-17\"", "id = \"../x\"", "CATALOGUE_ID", 25);
    check("effective = \"2018-05-25\"", "effective = \"2018-02-30\"", "CATALOGUE_DATE", 8);
    check("framework = \"gdpr\"", "framework = \"GD PR\"", "CATALOGUE_FRAMEWORK", 5);
    check("version = \"1\"", "version = \"1 x\"", "CATALOGUE_VERSION", 7);
    check("title = \"GDPR evidence report\"", "titel = \"x\"", "CATALOGUE_SYNTAX", 6);
    check(
        "[[control]]",
        "[[control]]\nnot_applicable = { reason = \" \", approver = \"x\" }",
        "CATALOGUE_NOT_APPLICABLE",
        12,
    );
    check("[[control]]", "[[control]]\nuntil = \"2018-05-25\"", "CATALOGUE_DATE", 12);
    let empty = CATALOGUE
        .split("[[control]]")
        .next()
        .unwrap()
        .replace("[catalogue]", "control = []\n[catalogue]");
    assert_eq!(parse(&empty).unwrap_err().code, "CATALOGUE_EMPTY");
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, Algorithm::Ed25519, SigningKey::new(&Key::new([seed; 32]))).unwrap()
}

struct Signed {
    note: String,
    files: Vec<(String, Vec<u8>)>,
    trust: Trust,
}

fn signed() -> Signed {
    let report = report(&sound());
    let files = files(&report).unwrap();
    let log = signer("vault.example/clinic", 1);
    let key = signer("vault.example/reports", 2);
    let note = Manifest::of(&report, &files).sign(&key).unwrap();
    let trust = Trust::of(&[log.verifier().clone()], &[key.verifier().clone()]).unwrap();
    Signed { note, files, trust }
}

fn verdict(s: &Signed) -> &'static str {
    let files: Vec<(&str, &[u8])> =
        s.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    match verify(s.note.as_bytes(), &s.trust, &files) {
        Ok(_) => "ok",
        Err(error) => error.verdict(),
    }
}

#[test]
fn manifests_tell_what_was_changed() {
    let check = |expect: &str, bend: &dyn Fn(&mut Signed)| {
        let mut s = signed();
        bend(&mut s);
        assert_eq!(verdict(&s), expect);
    };
    check("ok", &|_| ());
    check("ok", &|s| s.files.reverse());
    check("REPORT_FILE_CHANGED", &|s| s.files[0].1[9] ^= 1);
    check("REPORT_FILE_CHANGED", &|s| s.files[0].1.push(0));
    check("REPORT_FILE_MISSING", &|s| drop(s.files.pop()));
    check("REPORT_FILE_UNLISTED", &|s| s.files.push(("tables/more.csv".into(), vec![1])));
    check("REPORT_FILE_UNLISTED", &|s| s.files.push(s.files[0].clone()));
    check("REPORT_SIGNATURE", &|s| s.note = s.note.replace("generation 41", "generation 42"));
    check("REPORT_SIGNATURE", &|s| s.note = s.note.replace("exception 0", "exception 1"));
    check("REPORT_SIGNATURE", &|s| s.note.push('x'));
    check("REPORT_SIGNATURE", &|s| {
        s.trust = Trust::of(&[], &[signer("vault.example/reports", 3).verifier().clone()]).unwrap();
    });
    // A log key may not sign reports.
    check("REPORT_SIGNATURE", &|s| {
        let log = signer("vault.example/clinic", 1);
        let manifest = Manifest::of(&report(&sound()), &s.files);
        s.note = manifest.sign(&log).unwrap();
    });
    check("REPORT_ORIGIN", &|s| {
        let (log, key) = (signer("other.example/log", 1), signer("vault.example/reports", 2));
        s.trust = Trust::of(&[log.verifier().clone()], &[key.verifier().clone()]).unwrap();
    });
    // Signed by the right key, but not a manifest.
    check("REPORT_MALFORMED", &|s| {
        let key = signer("vault.example/reports", 2);
        let text = "vault.example/clinic/report/v1\nid 00\n";
        s.note = chancery::format::note::sign(text, &[&key]).unwrap();
    });
}

#[test]
fn manifests_are_read_strictly() {
    let text = Manifest::of(&report(&sound()), &signed().files).text();
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.text(), text);
    assert_eq!(manifest.files.len(), signed().files.len());
    let check = |from: &str, to: &str| {
        let bent = text.replacen(from, to, 1);
        assert_ne!(bent, text, "{from}");
        assert!(matches!(Manifest::parse(&bent), Err(ManifestError::Malformed { .. })), "{to}");
    };
    check("generation 41", "generation 041");
    check("status supported 5", "status supported +5");
    check("/report/v1", "/report/v2");
    check("entries ", "extra 1\nentries ");
    check("report.json", "../report.json");
    check("report.json", "/report.json");
    check("tables/", "tables/./");
    check("kind gdpr 1 ", "kind gdpr 1  ");
    assert!(Manifest::parse(&format!("{text}\n")).is_err());
    assert!(Manifest::parse(text.trim_end()).is_err());
    assert!(Manifest::parse("").is_err());
    let lines: Vec<&str> = text.lines().collect();
    for n in 0..lines.len() {
        let cut: Vec<&str> =
            lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, l)| *l).collect();
        let cut = cut.join("\n") + "\n";
        let file = lines[n].starts_with("file ");
        assert_eq!(Manifest::parse(&cut).is_ok(), file, "without line {n}");
    }
}

#[test]
fn a_manifest_that_nobody_could_read_is_not_signed() {
    let mut report = report(&sound());
    report.naming.origin = "vault.example\nid x".into();
    let manifest = Manifest::of(&report, &[("report.pdf".into(), vec![1])]);
    assert!(manifest.sign(&signer("vault.example/reports", 2)).is_err());
}

#[test]
fn a_manifest_is_never_a_checkpoint() {
    let s = signed();
    let key = signer("vault.example/reports", 2);
    assert!(Checkpoint::open(s.note.as_bytes(), key.verifier()).is_err());
    let text = s.note.split("\n\n").next().unwrap();
    assert!(Checkpoint::parse(&format!("{text}\n")).is_err());
    assert!(Checkpoint::parse_foreign(&format!("{text}\n")).is_err());
    assert!(s.trust.open_checkpoint(s.note.as_bytes()).is_err());
}

#[test]
fn pseudonyms_hold_in_one_report_only() {
    use chancery::base::id::PersonId;
    use chancery::report::evidence::pseudonym;
    let person = PersonId([3; 16]);
    assert_eq!(pseudonym(&[1; 16], &person), pseudonym(&[1; 16], &person));
    assert_ne!(pseudonym(&[1; 16], &person), pseudonym(&[2; 16], &person));
    assert_ne!(pseudonym(&[1; 16], &person), pseudonym(&[1; 16], &PersonId([4; 16])));
    assert_eq!(pseudonym(&[1; 16], &person).len(), 14);
}

#[test]
fn rows_can_be_hashed_by_hand() {
    let rows = vec![vec!["a\"b".to_owned(), "1".to_owned()], vec!["\u{e9}".to_owned()]];
    let expect = chancery::crypto::hash::sha256(&["[\"a\\\"b\",\"1\"]\n[\"\u{e9}\"]\n".as_bytes()]);
    assert_eq!(Table::rows_sha256(&rows), expect);
}

/// Writes the files for a person to look at, and asks poppler whether they hold.
#[test]
#[ignore = "needs poppler-utils"]
fn poppler_reads_what_was_written() {
    let dir = match std::env::var_os("REPORT_DIR") {
        Some(path) => std::path::PathBuf::from(path),
        None => tempfile::tempdir().unwrap().keep(),
    };
    let report = report(&troubled());
    for (name, bytes) in files(&report).unwrap() {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let out = command.args(arguments).arg(dir.join("report.pdf")).arg("-").output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let text = squeeze(&run("pdftotext", &["-raw"]));
    for table in report.tables() {
        for cell in table.rows.iter().flatten().filter(|cell| cell.len() < 12) {
            assert!(text.contains(&squeeze(cell)), "{cell}");
        }
    }
    let mut command = std::process::Command::new("pdfinfo");
    let info = command.arg(dir.join("report.pdf")).output().unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    let lines: BTreeMap<&str, &str> =
        info.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k, v.trim())).collect();
    assert_eq!(lines.get("PDF version"), Some(&"1.7"));
    assert_eq!(lines.get("Title"), Some(&"GDPR evidence report"));
    assert!(!info.contains("PDF/X") && !info.contains("PDF/A"));
}
