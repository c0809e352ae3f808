//! What somebody is held to: sources of a token, pages of a query, files of a tenant.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};

/// Sends one event of a source; its path.
fn event(service: &Service, sender: As<'_>, source: &str, id: &str) -> String {
    let event = json!({"id": id, "action": "user.login", "actor": {"id": format!("{id}-person")}});
    let taken = service.post(sender, &format!("/v1/events?source={source}"), &event);
    format!("/v1/events/{}", taken["receipts"][0]["index"].as_str().unwrap())
}

/// Every record of a query, page by page.
fn pages(service: &Service, who: As<'_>, query: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(who, &format!("/v1/events?{query}{cursor}"));
        found.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[test]
fn a_reader_of_one_source_learns_nothing_of_another_and_a_cursor_is_its_callers() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let sender = dana.token(&service, &["ingest"], &json!({}));
    let held = json!({"sources": ["clinic"], "expires": in_days(30)});
    let developer = dana.token(&service, &["developer"], &held);
    let other = dana.token(&service, &["readonly"], &json!({"expires": in_days(30)}));
    let (sender, developer, other) = (As::Token(&sender), As::Token(&developer), As::Token(&other));
    let own: Vec<String> =
        (0..3).map(|n| event(&service, sender, "clinic", &format!("own{n}"))).collect();
    let foreign = event(&service, sender, "billing", "foreign");

    let seen = pages(&service, developer, "limit=1");
    assert_eq!(seen.len(), own.len(), "{seen:?}");
    assert!(seen.iter().all(|event| event["source"] == "clinic"));
    assert!(pages(&service, other, "limit=2").len() > own.len() + 1, "acts of the vault too");
    let unknown = (404, "ENTRY_UNKNOWN".to_owned());
    for path in [foreign.as_str(), "/v1/events/0"] {
        for path in [path.to_owned(), format!("{path}/proof")] {
            let reply = service.ask(developer, "GET", &path, None);
            assert_eq!((reply.status, reply.code()), unknown, "{path}");
            assert_eq!(service.ask(other, "GET", &path, None).status, 200, "{path}");
        }
    }
    assert_eq!(service.ask(developer, "GET", &format!("{}/proof", own[0]), None).status, 200);
    let tile = |who, path: &str| service.ask(who, "GET", &format!("/v1/tile/{path}"), None).status;
    assert_eq!((tile(developer, "entries/000.p/1"), tile(other, "entries/000.p/1")), (404, 200));
    assert_eq!(tile(developer, "0/000.p/1"), 200, "hashes tell nothing");

    let first = service.get(developer, "/v1/events?limit=1");
    let cursor = first["cursor"].as_str().unwrap();
    let with = |who, query: &str| {
        let reply = service.ask(who, "GET", &format!("/v1/events?{query}&cursor={cursor}"), None);
        (reply.status, reply.code())
    };
    assert_eq!(with(developer, "limit=1"), (200, String::new()));
    let invalid = (400, "CURSOR_INVALID".to_owned());
    assert_eq!(with(other, "limit=1"), invalid);
    assert_eq!(with(developer, "limit=2"), invalid);
    assert_eq!(with(developer, "limit=1&outcome=success"), invalid);

    let home = service.stop();
    let keys = home.ok(&["--tenant", "system", "keys", "show"]);
    assert!(keys.contains("keys/others/system"), "{keys}");
    assert!(!home.ok(&["keys", "show"]).contains("others"));
}
