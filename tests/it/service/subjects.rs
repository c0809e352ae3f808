//! What a privacy officer does for a person who asks: restrict, correct, look what is beside, and
//! follow an erasure from the order to the end.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};

const PERSON: &str = "P-Quellmalz-9";

/// An event about a patient, and by mail about somebody else, as far as anybody knows.
fn send(service: &Service, sender: As<'_>, id: &str) -> String {
    let subject = |kind: &str, value: &str| {
        let identifiers = json!([{"kind": kind, "value": value}]);
        json!({"role": "target", "identifiers": identifiers})
    };
    let event = json!({
        "id": id, "action": "patient.record.read", "actor": {"id": "job", "type": "service"},
        "subjects": [subject("patient_id", PERSON), subject("email", "quellmalz@home.example")],
        "message": "Quellmalz was here",
    });
    let taken = service.post(sender, "/v1/events?source=clinic", &event);
    format!("/v1/events/{}", taken["receipts"][0]["index"].as_str().unwrap())
}

fn named() -> Value {
    json!([{"kind": "patient_id", "value": PERSON}])
}

/// Path of the person.
fn subject(service: &Service, who: As<'_>) -> String {
    let found = service.post(who, "/v1/subjects/lookup", &json!({"identifiers": named()}));
    format!("/v1/subjects/{}", found["handles"][0].as_str().unwrap())
}

fn state<'v>(event: &'v Value, field: &str) -> &'v Value {
    let fields = event["fields"].as_array().unwrap();
    &fields.iter().find(|f| f["name"] == field).unwrap()["state"]
}

/// The preview says who may be the same and what is sealed elsewhere, and shows no value.
fn previews(service: &Service, who: As<'_>, path: &str) {
    let preview = service.get(who, &format!("{path}/preview"));
    assert_eq!((&preview["complete"], &preview["looked_at"]), (&json!(true), &json!("3")));
    let likely = &preview["likely_unlinked"][0];
    assert_eq!(likely["identifiers"], json!({"email": 1}));
    assert_eq!((&likely["shared"], &likely["records"]), (&json!("3"), &json!("3")));
    assert!(!preview.to_string().contains("uellmalz"), "{preview}");
    let handle = likely["handles"][0].as_str().unwrap();
    let wish = json!({"purpose": "to see whether it is she"});
    let shown = service.post(who, &format!("/v1/subjects/{handle}/identifiers"), &wish);
    assert_eq!(shown["identifiers"], json!(["email:quellmalz@home.example"]));
}

fn restricts(service: &Service, dana: &mut Person, path: &str, event: &str) {
    let who = dana.who();
    let wish = json!({"cause": "accuracy-contested", "reason": "she says it is wrong"});
    let begun = service.post(who, &format!("{path}/restriction"), &wish);
    let refused = service.refused(who, &format!("{path}/restriction"), &wish);
    assert_eq!(refused, (409, "SUBJECT_RESTRICTED".to_owned()));
    let standing = service.get(who, path);
    assert_eq!(standing["known"], true);
    assert_eq!(standing["restricted"]["entry"], begun["entry"]);
    assert_eq!(standing["restricted"]["cause"], "accuracy-contested");

    assert_eq!(state(&service.get(who, event), "message"), "restricted");
    let open = format!("{event}/open");
    let opened = service.post(who, &open, &json!({"purpose": "curiosity"}));
    assert!(!opened.to_string().contains("uellmalz"), "{opened}");
    let wish = json!({"purpose": "why", "recipient": "whom", "fields": ["message"]});
    let refused = service.refused(who, &format!("{event}/disclose"), &wish);
    assert_eq!(refused, (403, "FIELD_RESTRICTED".to_owned()));
    let identifiers = format!("{path}/identifiers");
    let refused = service.refused(who, &identifiers, &json!({"purpose": "why"}));
    assert_eq!(refused, (403, "SUBJECT_RESTRICTED".to_owned()));

    let wish = json!({"purpose": "claim 4 C 118", "ground": "legal-claims"});
    let opened = service.post(who, &open, &wish);
    assert!(opened.to_string().contains("Quellmalz was here"), "{opened}");
    let look = format!("/v1/events/{}", opened["recorded"].as_str().unwrap());
    assert_eq!(service.get(who, &look)["clear"]["ground"], "legal-claims");
    assert!(service.post(who, &identifiers, &wish).to_string().contains(PERSON));
    let refused = service.refused(who, &open, &json!({"purpose": "x", "ground": "curiosity"}));
    assert_eq!(refused, (422, "FIELD_VALUE".to_owned()));

    let lift = format!("{path}/restriction/lift");
    let lifted = service.post(who, &lift, &json!({"reason": "checked"}));
    assert_eq!(lifted["entries"].as_array().unwrap().len(), 1);
    let refused = service.refused(who, &lift, &json!({"reason": "once more"}));
    assert_eq!(refused, (409, "SUBJECT_NOT_RESTRICTED".to_owned()));
    assert_eq!(state(&service.get(who, event), "message"), "readable");
    assert!(service.get(who, path)["restricted"].is_null());
}

/// Returns the correction's path.
fn corrects(service: &Service, who: As<'_>, event: &str) -> String {
    let wish = |fields: Value| json!({"fields": fields, "reason": "she has shown it"});
    let path = format!("{event}/corrections");
    let right = json!({"message": "Quellmalz was never here"});
    let made = service.post(who, &path, &wish(right));
    let index = made["index"].as_str().unwrap();
    let correction = format!("/v1/events/{index}");
    let original = service.get(who, event);
    assert_eq!(original["corrected_by"], json!([index]));
    let masked = service.get(who, &correction);
    assert_eq!(masked["corrects"], made["corrects"]);
    assert_eq!(format!("/v1/events/{}", masked["corrects"].as_str().unwrap()), event);
    assert!(!masked.to_string().contains("uellmalz"), "{masked}");
    let purpose = json!({"purpose": "to see what is right"});
    let opened = service.post(who, &format!("{correction}/open"), &purpose);
    assert!(opened.to_string().contains("Quellmalz was never here"), "{opened}");
    let opened = service.post(who, &format!("{event}/open"), &purpose);
    assert!(opened.to_string().contains("Quellmalz was here"), "the event is as it was");
    assert_eq!(opened["event"]["corrected_by"], json!([index]));
    for (path, fields, expect) in [
        (path.as_str(), json!({"patient.name": "x"}), (422, "FIELD_UNKNOWN")),
        (path.as_str(), json!({}), (422, "FIELD_REQUIRED")),
        (&format!("{correction}/corrections"), json!({"message": 1}), (422, "CORRECTION_KIND")),
        ("/v1/events/999999/corrections", json!({"message": 1}), (404, "ENTRY_UNKNOWN")),
    ] {
        let got = service.refused(who, path, &wish(fields));
        assert_eq!((got.0, got.1.as_str()), expect, "{path}");
    }
    correction
}

#[test]
fn a_person_is_looked_at_restricted_corrected_and_erased_with_all_of_it() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let mut dana = Person::first(&service);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic", "billing"]}));
    let events: Vec<String> =
        (0..3).map(|n| send(&service, As::Token(&token), &format!("e{n}"))).collect();
    let path = subject(&service, dana.who());
    previews(&service, dana.who(), &path);
    restricts(&service, &mut dana, &path, &events[0]);
    let correction = corrects(&service, dana.who(), &events[0]);
    // Whoever is held to a source sees its corrections, and another's not.
    let held = |source: &str| {
        let more = json!({"sources": [source], "expires": in_days(30)});
        let developer = dana.token(&service, &["developer"], &more);
        service.ask(As::Token(&developer), "GET", &correction, None).status
    };
    assert_eq!((held("clinic"), held("billing")), (200, 404));

    let wish = json!({"act": "erase", "identifiers": named(), "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    let job = order["job"].as_str().unwrap();
    let erasure = service.get(dana.who(), &format!("/v1/erasures/{job}"));
    assert_eq!((&erasure["order"], &erasure["state"]), (&order["id"], &json!("done")));
    assert_eq!((&erasure["final"], &erasure["asked"]), (&json!(true), &order["steps"][0]["at"]));
    let standing = service.get(dana.who(), &path);
    assert_eq!(standing["known"], false);
    assert_eq!(standing["erasures"], json!([{"job": job, "state": "done"}]));
    for event in [&events[0], &correction] {
        assert_eq!(state(&service.get(dana.who(), event), "message"), "erased");
    }
    let late = json!({"cause": "unlawful-use", "reason": "too late"});
    let refused = service.refused(dana.who(), &format!("{path}/restriction"), &late);
    assert_eq!(refused, (404, "SUBJECT_UNKNOWN".to_owned()));
    let unknown = format!("/v1/subjects/{}", "0".repeat(32));
    assert_eq!(service.ask(dana.who(), "GET", &unknown, None).status, 404);
    let home = service.stop();
    home.trust();
    let said = home.ok(&["verify", "h/chancery-data", "--trust", "trust.policy"]);
    assert!(!said.contains("uellmalz"), "{said}");
}

#[test]
fn an_erasure_is_followed_from_the_order_on_and_over_a_restart() {
    // Two people and a day: nothing is done while this test runs.
    let service = Service::start(&[]);
    let dana = Person::first(&service);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    send(&service, As::Token(&token), "e1");
    let wish = json!({"act": "erase", "identifiers": named(), "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    let path = format!("/v1/erasures/{}", order["job"].as_str().unwrap());
    let check = |service: &Service, dana: &Person, state: &str, is_final: bool| {
        let erasure = service.get(dana.who(), &path);
        assert_eq!((&erasure["state"], &erasure["order"]), (&json!(state), &order["id"]));
        assert_eq!(erasure["final"], json!(is_final));
        assert!(erasure["intent"].is_null() && erasure["done"].is_null(), "{erasure}");
        let reply = service.ask(dana.who(), "GET", &format!("{path}/receipt"), None);
        assert_eq!((reply.status, reply.code()), (404, "ERASURE_UNKNOWN".to_owned()));
        erasure
    };
    let erasure = check(&service, &dana, "requested", false);
    let all = service.get(dana.who(), "/v1/erasures");
    assert_eq!(all["erasures"], json!([erasure]));
    let service = service.stop().serve(&[]);
    let mut dana = dana;
    dana.forget_codes();
    dana.log_in(&service);
    check(&service, &dana, "requested", false);
    let id = order["id"].as_str().unwrap();
    service.post(dana.who(), &format!("/v1/orders/{id}/withdraw"), &json!({}));
    check(&service, &dana, "withdrawn", true);
    assert_eq!(service.get(dana.who(), "/v1/erasures")["erasures"], json!([]));
    service.stop();
}
