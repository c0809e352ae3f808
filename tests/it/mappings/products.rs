//! Small records in the form of each product, written here: the whole of what is made of them.

use crate::policy::{assert_lossless, assert_well_formed, check_refused, event, groups, persons};
use chancery::base::event::{Dedupe, Event};
use serde_json::Value;

/// The records of each product and what is told of them.
const PAGES: [(&str, &str); 7] = [
    ("okta", include_str!("okta.txt")),
    ("github", include_str!("github.txt")),
    ("kubernetes", include_str!("kubernetes.txt")),
    ("azure", include_str!("azure.txt")),
    ("google-cloud", include_str!("google-cloud.txt")),
    ("microsoft-365", include_str!("microsoft-365.txt")),
    ("fhir", include_str!("fhir.txt")),
];

/// What happened, the duplicate key, who, and what is sealed to whom.
fn told(event: &Event<'_>) -> Vec<String> {
    let key = match &event.dedupe {
        Dedupe::EventId(id) => format!("id {}", id.escape_ascii()),
        other => format!("{other:?}"),
    };
    let (code, outcome, severity) = (event.code, event.outcome, event.severity.value());
    let mut told = vec![format!("{code} {outcome} {severity} {}", event.time), key];
    told.extend(persons(event));
    told.extend(groups(event));
    if !event.clear.is_empty() {
        told.push(String::from_utf8(event.clear.to_vec()).unwrap());
    }
    told
}

/// Cases apart by an empty line: source, record, then what is told of it. `#` is a remark.
fn check(file: &str, cases: &str) {
    let mut found = String::new();
    for case in cases.trim_end().split("\n\n") {
        let lines: Vec<&str> = case.lines().collect();
        let remarks = lines.iter().take_while(|line| line.starts_with('#')).count();
        let [source, json] = lines[remarks..remarks + 2] else { panic!("{file}: {case}") };
        let event = event(source, json).unwrap_or_else(|e| panic!("{file}: {e:?} for {json}"));
        assert_lossless(json, &event);
        assert_well_formed(&event);
        if !found.is_empty() {
            found.push_str("\n\n");
        }
        found.push_str(&lines[..remarks + 2].join("\n"));
        for line in told(&event) {
            found.push('\n');
            found.push_str(&line);
        }
    }
    assert!(found == cases.trim_end(), "{file} should be:\n{found}\n<<<END");
}

#[test]
fn every_product_is_read_as_its_page_says() {
    let wrong = PAGES
        .map(|(file, cases)| std::panic::catch_unwind(|| check(file, cases)).map_err(|_| file));
    let wrong: Vec<&str> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The record with the value at one place replaced; false once there is no such place.
fn replace(value: &mut Value, at: &mut usize, with: &Value) -> bool {
    if *at == 0 {
        *value = with.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Object(members) => members.values_mut().any(|value| replace(value, at, with)),
        Value::Array(values) => values.iter_mut().any(|value| replace(value, at, with)),
        _ => false,
    }
}

/// Every value of every record above, replaced by one of another kind: kept whole with its persons
/// as they then are, or refused with a code of the page.
#[test]
fn every_value_may_be_another() {
    const CODES: [&str; 4] = ["FIELD_REQUIRED", "FIELD_TYPE", "TIME_INVALID", "EVENT_NOT_OBJECT"];
    let others = r#"[null,true,-1,1.5,"","x","a@b.c","Patient/1",[],{},[[]],[{"type":"User"}]]"#;
    let others: Vec<Value> = serde_json::from_str(others).unwrap();
    let (mut kept, mut refused) = (0, 0);
    for case in PAGES.iter().flat_map(|(_, cases)| cases.trim_end().split("\n\n")) {
        let mut lines = case.lines().skip_while(|line| line.starts_with('#'));
        let (source, json) = (lines.next().unwrap(), lines.next().unwrap());
        for other in &others {
            for place in 0.. {
                let mut record: Value = serde_json::from_str(json).unwrap();
                if !replace(&mut record, &mut { place }, other) {
                    break;
                }
                let json = record.to_string();
                match event(source, &json) {
                    Ok(event) => {
                        assert_lossless(&json, &event);
                        assert_well_formed(&event);
                        kept += 1;
                    }
                    Err(refusal) => {
                        assert!(CODES.contains(&refusal.code), "{refusal:?} for {json}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(kept > 5000 && refused > 500, "{kept} kept, {refused} refused");
}

/// Missing members, wrong types, nulls and keys twice: refused with a code that names the member,
/// or sealed as they are.
#[test]
fn hostile_records() {
    let twice = "JSON_DUPLICATE_KEY";
    for (source, json, code, field) in [
        ("okta", r#"{"actor":{"type":"User","id":"u"}}"#, "FIELD_REQUIRED", "eventType"),
        ("okta", r#"{"eventType":null}"#, "FIELD_REQUIRED", "eventType"),
        ("okta", r#"{"eventType":"a","published":"yesterday"}"#, "TIME_INVALID", "time"),
        ("okta", r#"{"eventType":"a","published":1763703838250}"#, "TIME_INVALID", "time"),
        (
            "okta",
            r#"{"eventType":"a","actor":{"type":"User","id":{"x":1}}}"#,
            "FIELD_TYPE",
            "okta_user",
        ),
        ("okta", r#"{"eventType":"a","eventType":"b"}"#, twice, ""),
        ("okta", r#"{"eventType":"a","actor":{"id":1,"id":2}}"#, twice, ""),
        ("github", r#"{"actor":"ann"}"#, "FIELD_REQUIRED", "action"),
        ("github", r#"{"action":"a","@timestamp":"1763703838250"}"#, "TIME_INVALID", "time"),
        ("github", r#"{"action":"a","@timestamp":-5}"#, "TIME_INVALID", "time"),
        ("github", r#"{"action":"a","actor":["ann"]}"#, "FIELD_TYPE", "github_login"),
        ("github", r#"{"action":"a","actor":"ann","\u0061ctor":"bob"}"#, twice, ""),
        ("kubernetes", r#"{"verb":"get"}"#, "FIELD_REQUIRED", "kind"),
        (
            "kubernetes",
            r#"{"kind":"Event","user":{"username":true}}"#,
            "FIELD_TYPE",
            "kubernetes_user",
        ),
        ("kubernetes", r#"{"kind":"Event","requestReceivedTimestamp":{}}"#, "TIME_INVALID", "time"),
        ("azure", r#"{"time":"2026-11-21T05:47:18Z"}"#, "FIELD_REQUIRED", "operationName"),
        ("azure", r#"{"operationName":"x","time":"2026-11-21:05:47Z"}"#, "TIME_INVALID", "time"),
        (
            "azure",
            r#"{"operationName":"x","properties":{"userId":[]}}"#,
            "FIELD_TYPE",
            "entra_object",
        ),
        ("google-cloud", r#"{"insertId":"i"}"#, "FIELD_REQUIRED", "protoPayload"),
        ("google-cloud", r#"{"protoPayload":null}"#, "FIELD_REQUIRED", "protoPayload"),
        (
            "google-cloud",
            r#"{"protoPayload":{"methodName":"x"},"timestamp":""}"#,
            "TIME_INVALID",
            "time",
        ),
        ("google-cloud", r#"{"protoPayload":{"methodName":"x","methodName":"y"}}"#, twice, ""),
        ("microsoft-365", r#"{"UserId":"ann@example.org"}"#, "FIELD_REQUIRED", "Operation"),
        ("microsoft-365", r#"{"Operation":"x","UserId":{}}"#, "FIELD_TYPE", "m365_user"),
        ("microsoft-365", r#"{"Operation":"x","CreationTime":0}"#, "TIME_INVALID", "time"),
        // A null among the persons that an event names outright is a person nobody can tell.
        ("app", r#"{"action":"a","subjects":[null]}"#, "SUBJECT_EMPTY", "subjects"),
        ("fhir", r#"{"agent":[{"requestor":true}]}"#, "FIELD_REQUIRED", "recorded"),
        ("fhir", r#"{"recorded":"2026-11-21T05:47:18Z"}"#, "FIELD_REQUIRED", "agent"),
        ("fhir", r#"{"recorded":"2026-11-21","agent":[]}"#, "TIME_INVALID", "time"),
        (
            "fhir",
            r#"{"recorded":"2026-11-21T05:47:18Z","agent":[{"requestor":true,"altId":{}}]}"#,
            "FIELD_TYPE",
            "fhir_login",
        ),
    ] {
        check_refused(source, json, code, field);
    }
}

/// As many people as any event may name, and one more.
#[test]
fn a_policy_of_many_people() {
    let people = |n: usize| {
        let member = |n| format!(r#""user:u{n}@example.org""#);
        (0..n).map(member).collect::<Vec<_>>().join(",")
    };
    let policy = |n: usize| {
        let bindings = format!(r#""bindings":[{{"members":[{}]}}]"#, people(n));
        format!(r#"{{"protoPayload":{{"request":{{"policy":{{{bindings}}}}}}}}}"#)
    };
    assert_eq!(persons(&event("google-cloud", &policy(32)).unwrap()).len(), 32);
    check_refused("google-cloud", &policy(33), "TOO_MANY_SUBJECTS", "");
}

/// Wrong types where no rule needs a type: kept in `data` as they are, and nobody is guessed.
#[test]
fn odd_shapes_are_sealed_whole() {
    for (source, json) in [
        ("okta", r#"{"eventType":"x.y","actor":"ann@example.org","target":{"type":"User"}}"#),
        ("okta", r#"{"eventType":"x.y","actor":null,"target":[null,1,"User",["User"]]}"#),
        ("github", r#"{"action":"x.y","created_at":null,"user":null,"config":[[]]}"#),
        ("kubernetes", r#"{"kind":"Event","user":"ann","sourceIPs":"192.0.2.1","objectRef":[]}"#),
        ("azure", r#"{"operationName":"x","identity":{"claims":["upn"]},"properties":"{}"}"#),
        (
            "google-cloud",
            r#"{"protoPayload":{"methodName":"x","authenticationInfo":[],"status":0}}"#,
        ),
        (
            "microsoft-365",
            r#"{"Operation":"x","Actor":{"ID":"a@b.c","Type":5},"Parameters":"none"}"#,
        ),
        ("fhir", r#"{"recorded":"2026-11-21T05:47:18Z","agent":{"requestor":true},"entity":[[]]}"#),
    ] {
        let event = event(source, json).unwrap();
        assert_lossless(json, &event);
        assert_well_formed(&event);
        assert_eq!(persons(&event), [] as [&str; 0], "{json}");
    }
}
