//! The story of two people: how the second one comes to be, and that from then on nobody erases
//! alone. Each refusal has its code and stays as a step of the order.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};

fn erase(patient: &str) -> Value {
    let named = json!([{"kind": "patient_id", "value": patient}]);
    json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"})
}

/// The first makes the second alone, once; then the founding is over.
pub(crate) fn founded(service: &Service, dana: &Person) -> Person {
    assert_eq!(service.get(dana.who(), "/v1/rule")["founding"], true);
    let grants = json!([{"tenant": "main", "role": "approver"}]);
    let wish = json!({"act": "create-human", "login": "omar", "grants": grants});
    let made = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!((&made["state"], &made["founding"]), (&json!("executed"), &json!(true)), "{made}");
    let path = format!("/v1/humans/{}/invitation", made["job"].as_str().unwrap());
    let invitation = service.ask(dana.who(), "POST", &path, None);
    assert_eq!(invitation.status, 201, "{}", invitation.text());
    let invitation = invitation.json();
    let omar = Person::enrol(service, invitation["token"].as_str().unwrap(), "omar");
    let me = service.get(omar.who(), "/v1/session");
    assert_eq!((&me["name"], &me["roles"]), (&json!("omar"), &json!(["approver"])));

    let rule = service.get(dana.who(), "/v1/rule");
    assert_eq!((&rule["founding"], &rule["mode"]), (&json!(false), &json!("two-person")));
    let wish = json!({"act": "create-human", "login": "eve", "grants": grants});
    let third = service.post(dana.who(), "/v1/orders", &wish);
    // An administrator reads no orders but the own ones: seen by a token without other roles.
    let admin = dana.token(service, &["admin"], &json!({"expires": in_days(30)}));
    let foreign = format!("/v1/orders/{}", third["id"].as_str().unwrap());
    assert_eq!(service.ask(As::Token(&admin), "GET", &foreign, None).status, 403);
    let grants = json!([{"tenant": "main", "role": "readonly"}]);
    let wish = json!({"act": "create-human", "login": "ada", "grants": grants});
    let own = service.post(As::Token(&admin), "/v1/orders", &wish);
    assert_eq!(own["approvals_missing"], 2, "{own}");
    let path = format!("/v1/orders/{}", own["id"].as_str().unwrap());
    let why = json!({"purpose": "what did I ask for?"});
    let opened = service.post(As::Token(&admin), &format!("{path}/open"), &why);
    assert_eq!(opened["act"]["login"], "ada");
    assert_eq!(
        service.ask(As::Token(&admin), "POST", &format!("{path}/withdraw"), None).status,
        200
    );
    assert_eq!((&third["state"], &third["founding"]), (&json!("filed"), &json!(false)), "{third}");
    decides_on_people(service, &omar, &foreign, &third);
    omar
}

/// Who approves, and is nothing else, sees what is asked about people and lets it happen; whom it
/// names is shown for a purpose, and an entry says so.
fn decides_on_people(service: &Service, omar: &Person, path: &str, order: &Value) {
    let listed = service.get(omar.who(), "/v1/orders");
    assert!(listed.to_string().contains(order["id"].as_str().unwrap()), "{listed}");
    let shown = service.get(omar.who(), path);
    assert_eq!(shown["act"], Value::Null, "nobody is named without a purpose: {shown}");
    assert!(!shown.to_string().contains("eve"), "{shown}");
    let nothing = service.refused(omar.who(), &format!("{path}/open"), &json!({"purpose": " "}));
    assert_eq!(nothing, refused(403, "DISCLOSURE_UNEXPLAINED"));
    let why = json!({"purpose": "asked to approve"});
    let opened = service.post(omar.who(), &format!("{path}/open"), &why);
    assert_eq!(opened["act"]["login"], "eve");
    assert!(opened["recorded"].as_str().unwrap().parse::<u64>().is_ok(), "{opened}");
    assert_eq!(step(service, omar.who(), order, "approve", &order["hash"]), refused(200, ""));
    assert_eq!(service.get(omar.who(), path)["order"]["state"], "executed");
}

/// Asks for a step on an order: status, code.
fn step(service: &Service, who: As<'_>, order: &Value, verb: &str, hash: &Value) -> (u16, String) {
    let path = format!("/v1/orders/{}/{verb}", order["id"].as_str().unwrap());
    let reply = match verb {
        "approve" => service.ask(who, "POST", &path, Some(&json!({"hash": hash}))),
        _ => service.ask(who, "POST", &path, None),
    };
    (reply.status, reply.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The codes of the refusals that an order holds.
fn noted(service: &Service, who: As<'_>, order: &Value) -> Vec<String> {
    let path = format!("/v1/orders/{}", order["id"].as_str().unwrap());
    let order = service.get(who, &path);
    let steps = order["order"]["steps"].as_array().unwrap();
    let refused = steps.iter().filter(|step| step["step"] == "refused");
    refused.map(|step| step["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_of_two_asks_the_other_approves_and_every_short_cut_is_refused_and_noted() {
    let service = Service::start(&["--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let omar = founded(&service, &dana);
    let more = json!({"expires": in_days(30)});
    let machine = dana.token(&service, &["privacy-officer", "ingest"], &more);
    let event = json!({"id": "e1", "action": "patient.record.read", "actor": {"id": "u42"},
        "targets": [{"type": "patient", "id": "P9"}]});
    service.post(As::Token(&machine), "/v1/events?source=clinic", &event);

    let order = service.post(dana.who(), "/v1/orders", &erase("P9"));
    assert_eq!((&order["state"], &order["approvals_missing"]), (&json!("filed"), &json!(1)));
    let hash = &order["hash"];
    let approve = |who, hash| step(&service, who, &order, "approve", hash);
    assert_eq!(approve(dana.who(), hash), refused(403, "APPROVER_IS_REQUESTER"));
    assert_eq!(approve(As::Token(&machine), hash), refused(403, "APPROVER_MACHINE"));
    let other = json!("0".repeat(64));
    assert_eq!(approve(omar.who(), &other), refused(409, "ORDER_CHANGED"));
    assert_eq!(
        step(&service, omar.who(), &order, "withdraw", hash),
        refused(403, "ORDER_NOT_YOURS")
    );
    let reject = step(&service, As::Token(&machine), &order, "reject", hash);
    assert_eq!(reject, refused(403, "APPROVER_MACHINE"));
    let steps = [
        "APPROVER_IS_REQUESTER",
        "APPROVER_MACHINE",
        "ORDER_CHANGED",
        "ORDER_NOT_YOURS",
        "APPROVER_MACHINE",
    ];
    assert_eq!(noted(&service, omar.who(), &order), steps);
    // Nothing of it was a step towards the act.
    let named = json!({"identifiers": [{"kind": "patient_id", "value": "P9"}]});
    service.post(dana.who(), "/v1/subjects/lookup", &named);

    let withdrawn = service.post(dana.who(), "/v1/orders", &erase("P9"));
    assert_eq!(step(&service, dana.who(), &withdrawn, "withdraw", hash), refused(200, ""));
    let late = step(&service, omar.who(), &withdrawn, "approve", &withdrawn["hash"]);
    assert_eq!(late, refused(409, "ORDER_STATE"));
    let rejected = service.post(dana.who(), "/v1/orders", &erase("P9"));
    assert_eq!(step(&service, omar.who(), &rejected, "reject", hash), refused(200, ""));
    let late = step(&service, omar.who(), &rejected, "approve", &rejected["hash"]);
    assert_eq!(late, refused(409, "ORDER_STATE"));

    // A machine asks: then two people must approve.
    let asked = service.post(As::Token(&machine), "/v1/orders", &erase("P9"));
    assert_eq!((&asked["state"], &asked["approvals_missing"]), (&json!("filed"), &json!(2)));

    assert_eq!(approve(omar.who(), hash), refused(200, ""));
    let path = format!("/v1/orders/{}", order["id"].as_str().unwrap());
    let done = service.get(omar.who(), &path);
    assert_eq!(done["order"]["state"], "executed", "{done}");
    assert!(!done.to_string().contains("P9"), "the papers forget whom: {done}");
    assert_eq!(service.refused(dana.who(), "/v1/subjects/lookup", &named).0, 404);
    assert_eq!(approve(omar.who(), hash), refused(409, "ORDER_STATE"));
    let job = order["job"].as_str().unwrap();
    let receipt = service.ask(omar.who(), "GET", &format!("/v1/erasures/{job}/receipt"), None);
    assert!(receipt.text().contains("two-person"), "{}", receipt.text());
    assert!(!receipt.text().contains("single-operator"), "{}", receipt.text());
    let home = service.stop();
    home.trust();
    std::fs::write(home.path("receipt"), receipt.body).unwrap();
    home.ok(&["verify", "receipt", "--trust", "trust.policy"]);
    home.ok(&["--tenant", "system", "keys", "trust", "--out", "system.trust"]);
    home.ok(&["--tenant", "system", "verify", "--trust", "system.trust"]);
}
