//! Sources as documents: registered and changed under their version, enforced on what comes in, and
//! listened for.

use crate::support::clinic::{read, read_all, text};
use crate::support::service::{Answer, Service, get, json_of, post, request, with_token};
use axum::http::{HeaderValue, Method, StatusCode, header};
use chancery::base::record::Record;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND};
use chancery::server::silence::tick_silence;
use serde_json::{Value, json};

const NEW: (&str, &str) = ("if-none-match", "*");

fn put(service: &Service, name: &str, body: &Value, condition: Option<(&str, &str)>) -> Answer {
    let mut request = request(Method::PUT, &format!("/v1/sources/{name}"), body);
    if let Some((header, value)) = condition {
        let name = header::HeaderName::from_bytes(header.as_bytes()).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    service.manage(service.as_admin(request))
}

/// Registers a source that must be accepted.
fn register(service: &Service, name: &str, body: &Value) -> Value {
    let (status, _, body) = put(service, name, body, Some(NEW));
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    json_of(&body)
}

fn seen(service: &Service, path: &str) -> Value {
    json_of(&service.manage(service.as_admin(get(path))).2)
}

fn code(answer: &Answer) -> (u16, String) {
    let code = json_of(&answer.2)["code"].as_str().unwrap_or_default().to_owned();
    (answer.0.as_u16(), code)
}

fn send(service: &Service, source: &str, event: &Value) -> Answer {
    let token = service.token(&["ingest"], Some(&[source]));
    service.call(with_token(post("/v1/events", event), &token))
}

/// The record of an event that must be accepted.
fn sent(service: &Service, source: &str, event: &Value) -> Record {
    let (status, _, body) = send(service, source, event);
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let index = json_of(&body)["receipts"][0]["index"].as_str().unwrap().parse().unwrap();
    read(&service.main(), EntryIndex(index))
}

#[test]
fn a_source_is_registered_and_changed_under_its_version() {
    let service = Service::start();
    let ehr = json!({"dedupe": "event-id", "note": "ward 3"});
    assert_eq!(code(&put(&service, "ehr", &ehr, None)), (428, "PRECONDITION_REQUIRED".into()));
    let (status, headers, _) = put(&service, "ehr", &ehr, Some(NEW));
    assert_eq!((status, &headers[header::ETAG]), (StatusCode::OK, &"\"1\"".parse().unwrap()));
    assert_eq!(code(&put(&service, "ehr", &ehr, Some(NEW))), (412, "SOURCE_EXISTS".into()));
    for wrong in ["\"0\"", "\"2\""] {
        let answer = put(&service, "ehr", &ehr, Some(("if-match", wrong)));
        assert_eq!(code(&answer), (412, "VERSION_CONFLICT".into()), "{wrong}");
    }
    let answer = put(&service, "new", &ehr, Some(("if-match", "\"0\"")));
    assert_eq!(code(&answer).0, 412, "there is no version 0 to have been seen");
    let changed = json!({"name": "ehr", "dedupe": "none", "heartbeat_seconds": 60, "class": "6y"});
    let (status, ..) = put(&service, "ehr", &changed, Some(("if-match", "\"1\"")));
    assert_eq!(status, StatusCode::OK);
    register(&service, "okta%2Fclinic", &json!({"dedupe": "event-id"}));
    let check = |service: &Service| {
        let ehr = seen(service, "/v1/sources/ehr");
        assert_eq!(ehr["version"], "2");
        assert_eq!((&ehr["class"], &ehr["heartbeat_seconds"]), (&json!("6y"), &json!(60)));
        assert_eq!((&ehr["dedupe"], &ehr["note"]), (&json!("none"), &Value::Null));
        let list = seen(service, "/v1/sources")["sources"].clone();
        let names: Vec<&str> =
            list.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["ehr", "okta/clinic"]);
        assert_eq!(seen(service, "/v1/sources/okta%2Fclinic")["version"], "1");
        assert_eq!(seen(service, "/v1/sources/okta")["code"], "SOURCE_UNREGISTERED");
    };
    check(&service);
    check(&service.again());
}

#[test]
fn what_cannot_be_a_source_is_refused_by_its_field() {
    let service = Service::start();
    for (name, body, want) in [
        ("a", json!({}), (422, "FIELD_REQUIRED")),
        ("a", json!({"dedupe": "id"}), (422, "FIELD_VALUE")),
        ("a", json!({"dedupe": "none", "hearbeat_seconds": 1}), (422, "MEMBER_UNKNOWN")),
        ("a", json!({"dedupe": "none", "name": "b"}), (422, "FIELD_VALUE")),
        ("a", json!({"dedupe": "none", "mapping": "oktaa"}), (422, "SOURCE_UNKNOWN")),
        ("a", json!({"dedupe": "none", "class": "5y"}), (422, "CLASS_UNKNOWN")),
        ("a", json!({"dedupe": "none", "class": "vault"}), (422, "CLASS_UNKNOWN")),
        ("a", json!({"dedupe": "none", "heartbeat_seconds": 0}), (422, "FIELD_RANGE")),
        ("a", json!({"dedupe": "none", "heartbeat_seconds": 2_678_401}), (422, "FIELD_RANGE")),
        ("a", json!({"dedupe": "none", "note": "n".repeat(1_025)}), (422, "FIELD_RANGE")),
        ("a%20b", json!({"dedupe": "none"}), (400, "SOURCE_NAME")),
        ("chancery", json!({"dedupe": "none"}), (403, "SOURCE_RESERVED")),
        ("vault%2Fx", json!({"dedupe": "none"}), (403, "SOURCE_RESERVED")),
    ] {
        let (status, code) = code(&put(&service, name, &body, Some(NEW)));
        assert_eq!((status, code.as_str()), want, "{name} {body}");
    }
    assert_eq!(seen(&service, "/v1/sources"), json!({"sources": []}));
}

#[test]
fn only_those_who_may_register_do_and_each_sees_its_own() {
    let service = Service::start();
    register(&service, "ehr", &json!({"dedupe": "none"}));
    register(&service, "lab", &json!({"dedupe": "none"}));
    let admin = service.token(&["admin"], None);
    let request = request(Method::PUT, "/v1/sources/x", &json!({"dedupe": "none"}));
    let answer = service.manage(with_token(request, &admin));
    assert_eq!(code(&answer), (403, "HUMANS_ONLY".into()));
    let ingest = service.token(&["ingest"], None);
    assert_eq!(code(&service.manage(with_token(get("/v1/sources"), &ingest))).0, 403);
    let own = service.token(&["developer"], Some(&["lab"]));
    let own = |path: &str| json_of(&service.manage(with_token(get(path), &own)).2);
    assert_eq!(own("/v1/sources")["sources"].as_array().unwrap().len(), 1);
    assert_eq!(own("/v1/sources/lab")["name"], "lab");
    assert_eq!(own("/v1/sources/ehr")["code"], "SOURCE_UNREGISTERED");
    assert_eq!(own("/v1/sources/ehr/gaps")["code"], "SOURCE_UNREGISTERED");
    assert_eq!(service.call(service.as_admin(get("/v1/sources"))).0, StatusCode::NOT_FOUND);
}

#[test]
fn the_declared_duplicate_key_is_enforced() {
    let service = Service::start();
    let named = json!({"action": "a.read", "id": "e-1"});
    let counted = json!({"action": "a.read", "source_seq": 1});
    let missing = (422, "DEDUPE_KEY_MISSING".to_owned());
    // Not registered: what the mapping finds.
    assert_eq!(send(&service, "free", &json!({"action": "a.read"})).0, StatusCode::OK);
    register(&service, "named", &json!({"dedupe": "event-id"}));
    assert_eq!(code(&send(&service, "named", &counted)), missing);
    let first = sent(&service, "named", &named);
    assert_eq!(sent(&service, "named", &named).entry.index, first.entry.index, "once");
    register(&service, "counted", &json!({"dedupe": "sequence"}));
    assert_eq!(code(&send(&service, "counted", &named)), missing);
    assert_eq!(sent(&service, "counted", &counted).entry.head.source_seq, Some(1));
    register(&service, "loose", &json!({"dedupe": "none"}));
    let first = sent(&service, "loose", &named);
    assert_ne!(sent(&service, "loose", &named).entry.index, first.entry.index, "twice");
    // One of a batch is refused alone where the batch is partial.
    let token = service.token(&["ingest"], Some(&["named"]));
    let batch = json!([{"action": "a.read", "id": "e-2"}, {"action": "a.read"}]);
    let partial = post("/v1/events?partial=true", &batch);
    let results = json_of(&service.call(with_token(partial, &token)).2)["results"].clone();
    assert!(results[0]["receipt"].is_object(), "{results}");
    assert_eq!(results[1]["problem"]["code"], "DEDUPE_KEY_MISSING");
}

#[test]
fn a_declared_class_keeps_longer_and_never_shorter() {
    let service = Service::start();
    let class = |source: &str, event: &Value| {
        let record = sent(&service, source, event);
        service.main().class_name(record.entry.head.class)
    };
    let event = json!({"action": "a.read"});
    let ruled = class("free", &event);
    assert_eq!(ruled, "1y");
    register(&service, "long", &json!({"dedupe": "none", "class": "7y"}));
    register(&service, "short", &json!({"dedupe": "none", "class": "7d"}));
    assert_eq!(class("long", &event), "7y");
    assert_eq!(class("short", &event), "1y", "to keep shorter takes an order");
}

#[test]
fn a_source_may_name_another_mapping() {
    let service = Service::start();
    register(&service, "sso", &json!({"dedupe": "event-id", "mapping": "okta"}));
    let event = json!({"uuid": "u-1", "published": "2026-11-20T10:00:00Z",
        "eventType": "user.session.start", "severity": "INFO", "outcome": {"result": "SUCCESS"},
        "actor": {"id": "00u1", "type": "User", "alternateId": "ann@clinic.example"}});
    assert_eq!(code(&send(&service, "other", &event)).1, "FIELD_REQUIRED", "no canonical event");
    let record = sent(&service, "sso", &event);
    assert_eq!(record.source.as_deref(), Some("sso"));
    assert!(text(&record).contains("ann@clinic.example"));
}

#[test]
fn gaps_show_the_numbers_that_are_missing() {
    let service = Service::start();
    register(&service, "pos%2F7", &json!({"dedupe": "sequence"}));
    assert_eq!(seen(&service, "/v1/sources/pos%2F7/gaps"), json!({"gaps": []}));
    for seq in [10, 11, 14, 20, 15] {
        sent(&service, "pos/7", &json!({"action": "a.read", "source_seq": seq}));
    }
    let want = json!({"high": "20", "gaps": [
        {"first": "12", "last": "13"}, {"first": "16", "last": "19"}]});
    assert_eq!(seen(&service, "/v1/sources/pos%2F7/gaps"), want);
    let service = service.again();
    assert_eq!(seen(&service, "/v1/sources/pos%2F7/gaps"), want);
}

/// A source is heard by its own log's clock, which may be ahead of the system's.
#[test]
fn silence_is_measured_by_the_clock_of_the_log_it_is_in() {
    let service = Service::start();
    register(&service, "ehr", &json!({"dedupe": "none", "heartbeat_seconds": 200}));
    let token = service.token(&["ingest"], Some(&["ehr"]));
    let event = || with_token(post("/v1/events", &json!({"action": "a.read"})), &token);
    service.clock.pass(10_000 * NANOS_PER_SECOND);
    assert_eq!(service.call(event()).0, StatusCode::OK);
    // The wall clock is put back to where the system's log ends: the tenant's goes on from its own
    // last entry.
    service.clock.set_wall(chancery::base::unit::UtcNanos::parse("2026-11-21T08:10:00Z").unwrap());
    let service = service.again();
    let apart = |service: &Service| {
        let (own, system) = (service.main().clock().now(), service.app.system().clock().now());
        own.0.saturating_sub(system.0) / NANOS_PER_SECOND
    };
    assert!(apart(&service) > 5_000);
    let event = || with_token(post("/v1/events", &json!({"action": "a.read"})), &token);
    assert_eq!(service.call(event()).0, StatusCode::OK);
    service.clock.pass(201 * NANOS_PER_SECOND);
    tick_silence(&service.app).unwrap();
    assert!(seen(&service, "/v1/sources/ehr")["silent_since"].is_string());
}

#[test]
fn silence_and_its_end_are_one_entry_each() {
    let service = Service::start();
    register(&service, "ehr", &json!({"dedupe": "none", "heartbeat_seconds": 200}));
    register(&service, "calm", &json!({"dedupe": "none"}));
    let token = service.token(&["ingest"], Some(&["ehr"]));
    let tick = |service: &Service| {
        tick_silence(&service.app).unwrap();
    };
    let said = |service: &Service| -> Vec<String> {
        let all = read_all(&service.main());
        let own = all.iter().filter(|record| record.source.as_deref() == Some("chancery"));
        own.map(|record| {
            assert!(text(record).contains("\"source\":\"ehr\""), "{}", text(record));
            String::from_utf8_lossy(record.value("action").unwrap()).into_owned()
        })
        .collect()
    };
    let pass = |service: &Service, seconds: u64| service.clock.pass(seconds * NANOS_PER_SECOND);
    pass(&service, 200);
    tick(&service);
    assert!(said(&service).is_empty(), "not yet");
    pass(&service, 1);
    for _ in 0..3 {
        tick(&service);
    }
    assert_eq!(said(&service), ["\"source.silent\""]);
    assert!(seen(&service, "/v1/sources/ehr")["silent_since"].is_string());
    let event = with_token(post("/v1/events", &json!({"action": "a.read"})), &token);
    assert_eq!(service.call(event).0, StatusCode::OK);
    for _ in 0..3 {
        tick(&service);
    }
    assert_eq!(said(&service), ["\"source.silent\"", "\"source.resumed\""]);
    let shown = seen(&service, "/v1/sources/ehr");
    assert!(shown["last_seen"].is_string() && shown["silent_since"].is_null(), "{shown}");
    pass(&service, 200);
    tick(&service);
    assert_eq!(said(&service).len(), 2);
    pass(&service, 1);
    tick(&service);
    assert_eq!(said(&service).len(), 3);
    // After a restart its quiet is counted anew (the login took two minutes), and it is said again.
    let service = service.again();
    tick(&service);
    assert_eq!(said(&service).len(), 3);
    pass(&service, 100);
    tick(&service);
    tick(&service);
    assert_eq!(said(&service).len(), 4);
}
