//! Every rule in every status it can take.

use crate::report::fixture::{
    CASE, CATALOGUE, World, add_day, at, bend_erasure, entry, erasure, live, population, report,
    scope, sound, sound_with,
};
use chancery::base::entry::{Entry, GroupPolicy};
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, NANOS_PER_DAY, TreeSize, UtcNanos};
use chancery::policy::classify::Policies;
use chancery::report::catalogue::{Status, parse};
use chancery::report::evidence::{
    ClassDayState, ClassDayStatus, Deferred, ErasureMode, ErasureStatus, Grade, Integrity,
    POPULATION_ROWS_MAX, Verdict,
};
use chancery::report::inputs::{Inputs, Sealing, sealings};
use chancery::report::{BuildError, build};
use std::collections::BTreeMap;

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
fn check_entries(id: &str, status: Status, words: &str, bend: impl FnOnce(&mut Vec<Entry>)) {
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
            e.deferred = vec![Deferred {
                class: "invoices".into(),
                law: "HGB 257(4)".into(),
                due: Some(due),
            }];
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
            ..erasure()
        };
        w.inputs.erasures = Some(population([erasure(), other]));
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

fn bend_integrity(world: &mut World, bend: impl FnOnce(&mut Integrity)) {
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
        let cap = POPULATION_ROWS_MAX;
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

/// The shipped registry, as the encryption control sees it.
#[test]
fn the_rest_of_an_event_counts_as_unregistered() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = BTreeMap::new();
    for name in ["fields.toml", "classes.toml"] {
        files.insert(name.to_owned(), std::fs::read_to_string(root.join(name)).unwrap());
    }
    let policies = Policies::parse(&files).unwrap();
    let sealings = sealings(policies.registry());
    assert_eq!(sealings.get("data"), None);
    assert_eq!(sealings.get("error.message"), Some(&Sealing::Subjects));
    for sealing in [Sealing::Subjects, Sealing::Tenant, Sealing::Clear] {
        assert!(sealings.values().any(|s| *s == sealing), "{sealing:?}");
    }
}
