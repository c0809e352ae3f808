//! The policies: every value of an event is kept, sealed to the right persons, in the right class;
//! wrong policy files are refused with their line; real records of three sources are counted.

use crate::support::shared;
use chancery::base::event::{Dedupe, Draft, Event, EventCode, Outcome, Severity};
use chancery::base::refusal::Refusal;
use chancery::base::unit::{ClassDay, ClassId, Day, UtcNanos};
use chancery::policy::classes::EventFacts;
use chancery::policy::classify::{Policies, Scratch};
use chancery::policy::{default_files, times};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

pub(crate) static POLICIES: LazyLock<Policies> =
    LazyLock::new(|| Policies::parse(&default_files()).unwrap());

pub(crate) fn event<'a>(source: &'a str, json: &'a str) -> Result<Event<'a>, Refusal> {
    let draft = Draft { source, json: json.as_bytes() };
    POLICIES.event(draft, &mut Scratch::default())
}

/// One line a group: subjects, then fields.
pub(crate) fn groups(event: &Event<'_>) -> Vec<String> {
    let line = |group: &chancery::base::event::Group<'_>| {
        let fields = group
            .fields
            .iter()
            .map(|field| format!("{}={}", field.name, String::from_utf8_lossy(&field.value)));
        format!("{:?} {}", group.subjects, fields.collect::<Vec<_>>().join(" "))
    };
    event.groups.iter().map(line).collect()
}

/// One line a person.
pub(crate) fn persons(event: &Event<'_>) -> Vec<String> {
    let line = |subject: &chancery::base::event::Subject| {
        let ids = subject.identifiers.iter().map(|id| format!("{}:{}", id.kind, id.value));
        ids.collect::<Vec<_>>().join(" ")
    };
    event.subjects.iter().map(line).collect()
}

pub(crate) fn check_refused(source: &str, json: &str, code: &str, field: &str) {
    let refusal = event(source, json).map(|event| groups(&event)).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_str()), (code, field), "{json}");
}

#[test]
fn policies_are_shared_between_threads() {
    fn shared_between_threads<T: Send + Sync>(_: &T) {}
    shared_between_threads(&*POLICIES);
}

#[test]
fn a_canonical_event() {
    let json = r#"{"id":"e-1","time":"2026-11-21T05:47:18.25Z","source_seq":7,
      "actor":{"id":"u42","type":"user","name":"M\u00fcller","email":" Ann@Example.ORG "},
      "action":"patient.record.read","outcome":"success","severity":3,"purpose":"treatment",
      "targets":[{"type":"patient","id":"P9","name":"X"},{"type":"document","id":"d1"}],
      "origin":{"ip":"10.0.0.1"},"performance":{"duration_ms":12},
      "error":{"code":5,"hint":"h"},"data":{"a":[1, 2]},"extra":12345678901234567890123}"#;
    let event = event("emr", json).unwrap();
    assert_eq!(event.time.to_string(), "2026-11-21T05:47:18.25Z");
    assert_eq!(event.dedupe, Dedupe::Sequence(7));
    assert_eq!(event.code.to_string(), "data.read");
    assert_eq!((event.outcome, event.severity.value()), (Outcome::Success, 3));
    assert_eq!(event.clear, br#"{"performance.duration_ms":12,"purpose":"treatment"}"#);
    assert_eq!(POLICIES.classes().get(event.class).unwrap().name, "6y");
    assert_eq!(persons(&event), ["email:ann@example.org user_id:u42", "patient_id:P9"]);
    assert_eq!(
        groups(&event),
        [
            concat!(
                r#"[0] actor.email=" Ann@Example.ORG " actor.id="u42" actor.name="M\u00fcller" "#,
                r#"actor.type="user" origin.ip="10.0.0.1""#
            ),
            concat!(
                r#"[0, 1] action="patient.record.read" "#,
                r#"data={"error":{"code":5,"hint":"h"},"data":{"a":[1, 2]},"#,
                r#""extra":12345678901234567890123} error.code=5 id="e-1" "#,
                r#"targets=[{"type":"patient","id":"P9","name":"X"},{"type":"document","id":"d1"}]"#
            ),
        ]
    );
    assert_lossless(json, &event);
}

#[test]
fn persons_are_joined_and_parted() {
    let check = |json: &str, expect: &[&str]| {
        assert_eq!(persons(&event("app", json).unwrap()), expect, "{json}");
    };
    check(r#"{"action":"a"}"#, &[]);
    check(r#"{"action":"a","actor":{"id":"cron","type":"service"}}"#, &[]);
    check(r#"{"action":"a","actor":{"id":17}}"#, &["user_id:17"]);
    check(r#"{"action":"a","actor":{"id":null,"email":"A@B.c"}}"#, &["email:a@b.c"]);
    check(r#"{"action":"a","actor":{"phone":"0049 (30) 1-2"}}"#, &["phone:+493012"]);
    // The same person acts and is acted upon.
    check(
        r#"{"action":"a","actor":{"id":"u1"},"targets":[{"type":"user","id":"u1","email":"x@y"}]}"#,
        &["email:x@y user_id:u1"],
    );
    // A third mention joins two that were apart.
    check(
        r#"{"action":"a","actor":{"id":"u1"},"targets":[{"type":"user","email":"x@y"}],
            "subjects":[{"identifiers":[{"kind":"user_id","value":"u1"},
            {"kind":"email","value":"X@Y"}]},{"identifiers":[{"kind":"patient_id","value":3}]}]}"#,
        &["email:x@y user_id:u1", "patient_id:3"],
    );
    let event = event("app", r#"{"action":"a","host":"h"}"#).unwrap();
    assert_eq!(groups(&event), [r#"[] action="a" data={"host":"h"}"#]);
}

#[test]
fn groups_have_different_persons_and_ascending_names() {
    let json = r#"{"action":"a","actor":{"id":"u1"},"reason":"r","zz":1,
        "subjects":[{"role":"actor","identifiers":[{"kind":"email","value":"e"}]}]}"#;
    let event = event("app", json).unwrap();
    assert_eq!(persons(&event), ["user_id:u1", "email:e"]);
    // Both act, so there is one set of persons and one group.
    assert_eq!(event.groups.len(), 1);
    let names: Vec<&str> = event.groups[0].fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["action", "actor.id", "data", "reason", "subjects"]);
}

#[test]
fn refused_events() {
    let many: Vec<String> = (0..33).map(|n| format!(r#"{{"type":"user","id":"u{n}"}}"#)).collect();
    let long = "x".repeat(257);
    for (json, code, field) in [
        ("[]", "EVENT_NOT_OBJECT", ""),
        ("{}", "FIELD_REQUIRED", "action"),
        (r#"{"action":null}"#, "FIELD_REQUIRED", "action"),
        (r#"{"action":"a","action":"b"}"#, "JSON_DUPLICATE_KEY", ""),
        (r#"{"action":"a","data":{"x":[{"k":1,"\u006b":2}]}}"#, "JSON_DUPLICATE_KEY", ""),
        (r#"{"action":"a","category":"nonsense"}"#, "FIELD_VALUE", "category"),
        (r#"{"action":"a","outcome":1}"#, "FIELD_VALUE", "outcome"),
        (r#"{"action":"a","severity":11}"#, "FIELD_VALUE", "severity"),
        (r#"{"action":"a","severity":1.5}"#, "FIELD_TYPE", "severity"),
        (r#"{"action":"a","source_seq":9007199254740992}"#, "JSON_INTEGER_RANGE", "source_seq"),
        (r#"{"action":"a","source_seq":-1}"#, "JSON_INTEGER_RANGE", "source_seq"),
        (r#"{"action":"a","purpose":"curiosity"}"#, "FIELD_VALUE", "purpose"),
        (r#"{"action":"a","purpose":1}"#, "FIELD_TYPE", "purpose"),
        (
            r#"{"action":"a","performance":{"duration_ms":86400001}}"#,
            "FIELD_RANGE",
            "performance.duration_ms",
        ),
        (r#"{"action":"a","time":"2026-11-21 05:47:18"}"#, "TIME_INVALID", "time"),
        (r#"{"action":"a","time":1}"#, "TIME_INVALID", "time"),
        (
            r#"{"action":"a","data":{"user":{"Password":"x"}}}"#,
            "FIELD_REFUSED",
            "credential.password",
        ),
        (r#"{"action":"a","data":[{"cvv":123}]}"#, "FIELD_REFUSED", "card.verification"),
        (r#"{"action":"a","card_\u006eumber":"4"}"#, "FIELD_REFUSED", "card.pan"),
        (r#"{"action":"a","actor":{"id":{}}}"#, "FIELD_TYPE", "user_id"),
        (r#"{"action":"a","subjects":[{"role":"actor"}]}"#, "SUBJECT_EMPTY", "subjects"),
        (
            r#"{"action":"a","subjects":[{"identifiers":[{"kind":"email","value":" "}]}]}"#,
            "SUBJECT_EMPTY",
            "subjects",
        ),
        (
            r#"{"action":"a","subjects":[{"identifiers":[{"kind":"x","value":"1"}]}]}"#,
            "IDENTIFIER_KIND",
            "subjects",
        ),
    ] {
        check_refused("app", json, code, field);
    }
    let json = format!(r#"{{"action":"a","targets":[{}]}}"#, many.join(","));
    check_refused("app", &json, "TOO_MANY_SUBJECTS", "");
    let json = format!(r#"{{"action":"a","actor":{{"id":"{long}"}}}}"#);
    check_refused("app", &json, "IDENTIFIER_TOO_LONG", "user_id");
    // Flags and absent values of such names are no secrets.
    event("app", r#"{"action":"a","data":{"password":null,"pwd":"","passwd":true}}"#).unwrap();
}

#[test]
fn a_refusal_never_repeats_the_input() {
    for json in [
        r#"{"action":"a","category":"SECRET"}"#,
        r#"{"action":"a","password":"SECRET"}"#,
        r#"{"action":"a","time":"SECRET"}"#,
        r#"{"action":"a","SECRET":1,"SECRET":2}"#,
        r#"{"action":"a","subjects":[{"identifiers":[{"kind":"SECRET","value":"SECRET"}]}]}"#,
    ] {
        let refusal = event("app", json).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains("SECRET"), "{refusal}");
    }
}

#[test]
fn crowds_are_refused_in_bounded_time() {
    let people: Vec<String> =
        (0..20_000).map(|n| format!(r#"{{"type":"user","id":"u{n}"}}"#)).collect();
    let started = std::time::Instant::now();
    let json = format!(r#"{{"action":"a","targets":[{}]}}"#, people.join(","));
    check_refused("app", &json, "TOO_MANY_SUBJECTS", "");
    let names: Vec<String> =
        (0..20_000).map(|n| format!(r#"{{"kind":"user_id","value":{n}}}"#)).collect();
    let json = format!(r#"{{"action":"a","subjects":[{{"identifiers":[{}]}}]}}"#, names.join(","));
    check_refused("app", &json, "TOO_MANY_IDENTIFIERS", "");
    // The same person many times is one person.
    let json =
        format!(r#"{{"action":"a","targets":[{}]}}"#, vec![people[0].as_str(); 5000].join(","));
    assert_eq!(persons(&event("app", &json).unwrap()), ["user_id:u0"]);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[test]
fn sources_are_found_by_name_and_family() {
    for (name, mapping) in [
        ("cloudtrail", "cloudtrail"),
        ("cloudtrail/prod", "cloudtrail"),
        ("windows-security/dc1", "windows-security"),
        ("cloudtrails", "canonical"),
        ("emr", "canonical"),
    ] {
        assert_eq!(&*POLICIES.source(name).unwrap().name, mapping);
    }
    let json = r#"{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}"#;
    let event = event("cloudtrail/prod", json).unwrap();
    assert_eq!((&*event.source, event.outcome), ("cloudtrail/prod", Outcome::Failure));
    // A record of another source is not taken for a canonical event.
    check_refused("emr", json, "FIELD_REQUIRED", "action");
}

// ---- Policy files.

fn check_policy(file: &str, from: &str, to: &str, code: &str, words: &str) {
    let mut files = default_files();
    let text = files.get_mut(file).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
    *text = text.replacen(from, to, 1);
    let error = Policies::parse(&files).unwrap_err();
    assert_eq!((error.code, error.file.as_str()), (code, file), "{error}");
    assert!(error.line.abs_diff(line) <= 10, "line {} is not near {line}: {error}", error.line);
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn wrong_policy_files_are_refused_with_their_line() {
    let fields = "fields.toml";
    let purpose = "name = \"purpose\"\ndisposition = \"clear\"\ntype = \"enum\"";
    let free = "name = \"purpose\"\ndisposition = \"clear\"\ntype = \"string\"";
    check_policy(fields, purpose, free, "CLEAR_FREE_TEXT", "purpose");
    check_policy(fields, "max = 86_400_000", "max = 9007199254740992", "CLEAR_FREE_TEXT", "max");
    check_policy(fields, "max = 86_400_000", "", "CLEAR_FREE_TEXT", "max");
    check_policy(fields, "\"marketing\"", "\"a,b\"", "CLEAR_WORD", "purpose");
    let reason =
        "reason = \"names a log of the operating system; needed to explain gaps after an erasure\"";
    check_policy(fields, reason, "", "TENANT_WITHOUT_REASON", "log.channel");
    check_policy(fields, "\"actor.name\"", "\"Actor Name\"", "POLICY_NAME", "Actor");
    check_policy(fields, "\"actor.name\"", "\"actor.type\"", "POLICY_DUPLICATE", "twice");
    check_policy(fields, "[\"phone\"]", "[\"rot13\"]", "POLICY_SYNTAX", "rot13");
    check_policy(fields, "subjects = \"actor\"", "subject = \"actor\"", "POLICY_SYNTAX", "subject");
    let classes = "classes.toml";
    check_policy(classes, "keep = \"2192d\"", "keep = \"6y\"", "CLASS_BELOW_FLOOR", "2190 days");
    check_policy(
        classes,
        "keep = \"2192d\"",
        "keep = \"6y\"",
        "CLASS_BELOW_FLOOR",
        "at least 2192",
    );
    check_policy(classes, "keep = \"2192d\"", "keep = \"6y\"", "CLASS_BELOW_FLOOR", "164.316");
    let ceiling =
        "keep = \"90d\"\nceiling = { days = 60, law = \"Act 1\", effective = \"2020-01-01\" }";
    check_policy(classes, "keep = \"90d\"", ceiling, "CLASS_ABOVE_CEILING", "at most 60 days");
    let ceiling = ceiling.replace("90d", "forever");
    check_policy(classes, "keep = \"90d\"", &ceiling, "CLASS_ABOVE_CEILING", "keeps forever");
    check_policy(classes, "id = 3", "id = 2", "CLASS_DUPLICATE", "90d");
    check_policy(classes, "class = \"pci\"", "class = \"psi\"", "CLASS_UNKNOWN", "psi");
    check_policy(classes, "default = \"1y\"", "default = \"2y\"", "CLASS_UNKNOWN", "2y");
    check_policy(classes, "keep = \"7d\"", "keep = \"7w\"", "CLASS_KEEP", "7d");
    check_policy(classes, "\"network\", ", "\"networks\", ", "POLICY_WORD", "networks");
    check_policy(classes, "2005-04-20", "2005-02-30", "CLASS_LAW", "date");
    let source = "sources/cloudtrail.toml";
    check_policy(source, "= \"request_id\"", "= \"request.id\"", "POLICY_FIELD", "request.id");
    check_policy(source, "= \"request_id\"", "= \"data\"", "POLICY_FIELD", "data");
    check_policy(source, "key.encrypt", "key.encipher", "POLICY_WORD", "encipher");
    check_policy(source, "\"Get*\", \"read\"", "\"Get*\", \"reed\"", "POLICY_WORD", "reed");
    check_policy(source, "kind = \"arn\"", "kind = \"urn\"", "POLICY_WORD", "urn");
    check_policy(source, "[\"eventTime\"", "[\"event..Time\"", "POLICY_PATH", "event..Time");
    check_policy(source, "lift = [\"event\"]", "lift = [\"event\"", "POLICY_SYNTAX", "");
    let mut files = default_files();
    files.remove("fields.toml");
    assert_eq!(Policies::parse(&files).unwrap_err().code, "POLICY_MISSING");
}

/// A commit names at most 64 body files, two a class around midnight.
#[test]
fn more_classes_than_a_commit_can_name_are_refused() {
    let with = |count: u16| {
        let mut files = default_files();
        let text = files.get_mut("classes.toml").unwrap();
        for id in 11..=count {
            text.push_str(&format!("\n[[class]]\nid = {id}\nname = \"c{id}\"\nkeep = \"7d\"\n"));
        }
        Policies::parse(&files).map(|policies| policies.classes().all().len())
    };
    assert_eq!(with(32).unwrap(), 32);
    assert_eq!(with(33).unwrap_err().code, "CLASS_TOO_MANY");
}

#[test]
fn every_damaged_policy_file_is_answered() {
    for (name, text) in default_files() {
        for cut in (0..text.len()).step_by(97) {
            let mut files = default_files();
            let end = text.floor_char_boundary(cut);
            files.insert(name.clone(), text[..end].to_owned());
            if let Err(error) = Policies::parse(&files) {
                assert!(error.line <= text.lines().count() + 1, "{error}");
            }
        }
    }
}

#[test]
fn classes_are_kept_as_long_as_they_say() {
    let classes = POLICIES.classes();
    for (name, id, keep, floor) in [
        ("7d", 1, Some(7), None),
        ("30d", 2, Some(30), None),
        ("90d", 3, Some(90), None),
        ("1y", 4, Some(365), None),
        ("6y", 5, Some(2192), Some(2192)),
        ("7y", 6, Some(2557), None),
        ("forever", 7, None, None),
        ("pci", 8, Some(366), Some(366)),
        ("erasure-evidence", 9, Some(1096), None),
        ("vault", 10, None, None),
    ] {
        let class = classes.by_name(name).unwrap();
        assert_eq!((class.id, class.keep_days(), class.floor_days()), (ClassId(id), keep, floor));
        assert_eq!(classes.get(ClassId(id)), Some(class));
    }
    let day = Day::parse("2026-11-21").unwrap();
    let due = |class| classes.due(ClassDay { class: ClassId(class), day });
    assert_eq!(due(1), UtcNanos::parse("2026-11-29T00:00:00Z"));
    assert_eq!(due(7), None);
    assert_eq!(due(999), None);
    assert_eq!(classes.default_class(), ClassId(4));
}

#[test]
fn classes_are_selected_by_priority() {
    let check = |source: &str, code: &str, severity: u8, clear: &str, expect: &str| {
        let facts = EventFacts {
            source,
            code: EventCode::parse(code).unwrap(),
            outcome: Outcome::Success,
            severity: Severity::new(severity).unwrap(),
            clear: clear.as_bytes(),
        };
        let classes = POLICIES.classes();
        assert_eq!(classes.get(classes.select(&facts)).unwrap().name, expect, "{facts:?}");
    };
    check("app", "data.read", 1, "", "1y");
    check("app", "network.connect", 1, "", "90d");
    check("app", "network.connect", 2, "", "1y");
    check("payments", "network.connect", 0, "", "pci");
    check("payments/eu", "data.read", 0, "", "pci");
    check("payments2", "data.read", 0, "", "1y");
    check("payments", "data.read", 0, r#"{"purpose":"treatment"}"#, "6y");
    check("app", "data.read", 0, r#"{"purpose":"marketing"}"#, "1y");
    check("app", "vault.erase", 0, r#"{"a":1,"purpose":"treatment"}"#, "vault");
}

// ---- Nothing is lost.

fn leaves(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => members.values().for_each(|v| leaves(v, into)),
        serde_json::Value::Array(values) => values.iter().for_each(|v| leaves(v, into)),
        serde_json::Value::String(text) => into.push(text.clone()),
        other => into.push(other.to_string()),
    }
}

/// Every string, number, boolean and null of the record stands in a field, in `clear` or in the
/// header, as often as in the record; and every field is a JSON text.
pub(crate) fn assert_lossless(json: &str, event: &Event<'_>) {
    let mut wanted = Vec::new();
    leaves(&serde_json::from_str(json).unwrap(), &mut wanted);
    let mut kept = Vec::new();
    for field in event.groups.iter().flat_map(|group| &group.fields) {
        leaves(&serde_json::from_slice(&field.value).unwrap(), &mut kept);
    }
    if !event.clear.is_empty() {
        leaves(&serde_json::from_slice(&event.clear).unwrap(), &mut kept);
    }
    kept.push(event.severity.value().to_string());
    kept.push(event.outcome.to_string());
    kept.push(event.code.category.to_string());
    kept.push(event.code.verb.to_string());
    if let Dedupe::Sequence(number) = event.dedupe {
        kept.push(number.to_string());
    }
    let mut counts: HashMap<&str, i64> = HashMap::new();
    kept.iter().for_each(|leaf| *counts.entry(leaf).or_default() += 1);
    for leaf in &wanted {
        let count = counts.entry(leaf).or_default();
        *count -= 1;
        let is_time = || times::parse(leaf, false).is_some_and(|t| t.time == event.time);
        assert!(*count >= 0 || is_time(), "lost {leaf:?} of {json}");
    }
}

/// Structure of the event itself, whatever the record.
pub(crate) fn assert_well_formed(event: &Event<'_>) {
    let mut sets = Vec::new();
    for group in &event.groups {
        assert!(group.subjects.within(event.subjects.len()));
        assert!(!group.fields.is_empty());
        assert!(group.fields.is_sorted_by(|a, b| a.name < b.name));
        assert!(!sets.contains(&group.subjects));
        sets.push(group.subjects);
    }
    for (at, subject) in event.subjects.iter().enumerate() {
        assert!(!subject.identifiers.is_empty());
        for other in &event.subjects[at + 1..] {
            assert!(!subject.identifiers.iter().any(|id| other.identifiers.contains(id)));
        }
        // Whoever is named seals something.
        assert!(event.groups.iter().any(|group| group.subjects.iter().any(|of| of == at)));
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("id|type|email|role|x|y", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_canonical_event_is_kept_whole(
        members in prop::collection::btree_map(
            "id|time|actor|targets|subjects|origin|error|data|reason|x|severity|performance",
            value(), 0..8,
        ),
    ) {
        let mut members: serde_json::Map<_, _> = members.into_iter().collect();
        members.insert("action".into(), "a.read".into());
        let json = serde_json::Value::from(members).to_string();
        if let Ok(event) = event("app", &json) {
            assert_lossless(&json, &event);
            assert_well_formed(&event);
        }
    }

    #[test]
    fn any_record_of_any_source_is_answered(value in value(), raw in ".{0,80}") {
        for source in ["app", "cloudtrail", "windows-security"] {
            let json = value.to_string();
            if let Ok(event) = event(source, &json) {
                assert_lossless(&json, &event);
            }
            let _ = event(source, &raw);
        }
    }
}

// ---- Real records.

#[derive(Default, Debug, PartialEq)]
pub(crate) struct Tally {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Events with a person, events whose action no rule knows, events without time.
    with_person: u64,
    unknown: u64,
    timeless: u64,
    codes: BTreeMap<String, u64>,
    outcomes: BTreeMap<&'static str, u64>,
}

/// Compares a tally with `accepted person unknown timeless`, refusals, outcomes and codes.
pub(crate) fn check_tally(
    tally: &Tally,
    counts: [u64; 4],
    refused: &str,
    outcomes: &str,
    codes: &str,
) {
    fn line(counts: impl Iterator<Item = (String, u64)>) -> String {
        counts.map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
    }
    let Tally { accepted, with_person, unknown, timeless, .. } = *tally;
    assert_eq!([accepted, with_person, unknown, timeless], counts);
    let named = |map: &BTreeMap<&'static str, u64>| {
        line(map.iter().map(|(name, count)| (name.to_string(), *count)))
    };
    assert_eq!(named(&tally.refused), refused);
    assert_eq!(named(&tally.outcomes), outcomes);
    let found = line(tally.codes.iter().map(|(code, count)| (code.clone(), *count)));
    assert_eq!(found, codes.split_whitespace().collect::<Vec<_>>().join(" "));
}

pub(crate) fn tally(source: &str, records: &str) -> Tally {
    let mut tally = Tally::default();
    let mut scratch = Scratch::default();
    for json in records.lines() {
        match POLICIES.event(Draft { source, json: json.as_bytes() }, &mut scratch) {
            Err(refusal) => *tally.refused.entry(refusal.code).or_default() += 1,
            Ok(event) => {
                assert_lossless(json, &event);
                assert_well_formed(&event);
                tally.accepted += 1;
                tally.with_person += u64::from(!event.subjects.is_empty());
                tally.unknown += u64::from(event.code.verb.name() == "other");
                tally.timeless += u64::from(event.time.0 == 0);
                *tally.codes.entry(event.code.to_string()).or_default() += 1;
                *tally.outcomes.entry(event.outcome.name()).or_default() += 1;
            }
        }
    }
    tally
}

fn zstd(path: &str) -> String {
    let path = shared().join(path);
    let output = std::process::Command::new("zstd")
        .args(["-d", "--long=27", "-c"])
        .arg(path)
        .output()
        .expect("zstd is installed");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs ../shared"]
fn real_cloudtrail() {
    let read = |name: &str| std::fs::read_to_string(shared().join("data/cloudtrail").join(name));
    let found = tally("cloudtrail", &read("invictus-stratus-simulation.ndjson").unwrap());
    check_tally(
        &found,
        [2900, 2795, 0, 0],
        "",
        "denied=60 error=102 failure=138 success=2600",
        "application.create=6 application.delete=2 application.grant=1 application.list=4 \
         application.read=11 application.revoke=1 application.update=2 authentication.grant=49 \
         authentication.login=2 authentication.verify=1 authorization.grant=12 \
         authorization.revoke=6 authorization.update=5 configuration.create=56 \
         configuration.delete=127 configuration.disclose=2 configuration.grant=7 \
         configuration.list=1011 configuration.read=97 configuration.revoke=7 \
         configuration.start=8 configuration.update=110 data.create=5 data.delete=10 data.list=19 \
         data.read=228 data.update=6 database.create=3 database.delete=3 database.list=142 \
         database.update=2 detection.list=3 detection.read=2 identity.create=26 \
         identity.delete=35 identity.grant=3 identity.list=121 identity.read=209 \
         identity.revoke=4 identity.update=3 key.create=22 key.decrypt=178 key.delete=17 \
         key.encrypt=62 key.list=37 key.read=128 key.start=20 key.stop=20 key.update=20 \
         process.execute=2 system.create=3 system.delete=5 system.disable=3 system.enable=5 \
         system.list=18 system.read=7 system.update=2",
    );
    let found = tally("cloudtrail", &read("stratus-red-team-detonations.ndjson").unwrap());
    check_tally(
        &found,
        [310, 308, 0, 0],
        "",
        "denied=51 failure=1 success=258",
        "application.create=1 application.execute=1 application.grant=1 application.list=1 \
         application.read=10 application.update=4 authentication.grant=13 authentication.login=1 \
         authorization.grant=2 authorization.update=1 configuration.delete=1 \
         configuration.enable=1 configuration.grant=1 configuration.list=165 \
         configuration.read=13 configuration.start=2 configuration.stop=1 configuration.update=3 \
         database.update=1 identity.create=5 identity.delete=1 identity.read=3 identity.revoke=1 \
         identity.update=1 key.create=2 key.list=1 key.read=55 process.execute=2 session.grant=6 \
         session.start=3 session.stop=3 system.delete=2 system.disable=1 system.update=1",
    );
    let found = tally("cloudtrail", &zstd("data/otrf-windows/aws-cloudtrail.ndjson.zst"));
    check_tally(
        &found,
        [103, 87, 0, 0],
        "",
        "success=103",
        "authentication.grant=5 configuration.list=83 configuration.read=2 data.list=9 \
         data.read=2 system.list=2",
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_windows() {
    let found = tally("windows-security", &zstd("data/otrf-windows/windows-security.ndjson.zst"));
    check_tally(
        &found,
        [107696, 15142, 10, 0],
        "",
        "failure=2521 success=103297 unknown=1878",
        "access.connect=12737 access.create=11464 access.delete=16 access.disconnect=23329 \
         access.execute=49 access.read=9119 authentication.grant=121 authentication.login=1212 \
         authentication.logout=802 authentication.verify=35 authorization.execute=3120 \
         authorization.grant=957 authorization.list=1082 authorization.revoke=1 \
         authorization.update=6628 configuration.create=212 configuration.delete=6 \
         configuration.deny=74 configuration.disable=3 configuration.enable=1 \
         configuration.list=191 configuration.read=1 configuration.update=5118 data.create=2 \
         data.update=18 file.connect=142 file.verify=556 identity.create=2 identity.delete=1 \
         identity.enable=1 identity.list=569 identity.read=35 identity.update=9 key.decrypt=4 \
         key.execute=41 key.export=7 key.list=3 key.read=4923 network.connect=10815 \
         network.deny=271 network.start=10648 process.start=1690 process.stop=1484 \
         process.update=1 session.connect=2 session.disable=2 session.disconnect=2 \
         session.enable=2 system.connect=9 system.create=4 system.delete=30 system.other=10 \
         system.start=3 system.stop=2 system.update=130",
    );
}
