//! What the log says of who did something, and what those see who are to see no event: read back
//! through the service itself.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};

fn single() -> (Service, Person) {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    (service, dana)
}

/// Appends one event; its path.
fn event(service: &Service, dana: &Person) -> String {
    let sender = dana.token(service, &["ingest"], &json!({"sources": ["clinic"]}));
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u1"}});
    let taken = service.post(As::Token(&sender), "/v1/events", &event);
    format!("/v1/events/{}", taken["receipts"][0]["index"].as_str().unwrap())
}

/// The values of an entry's sealed fields, and the entry that records this look.
fn opened(service: &Service, who: As<'_>, index: u64) -> (Value, u64) {
    let path = format!("/v1/events/{index}/open");
    let opened = service.post(who, &path, &json!({"purpose": "review"}));
    let recorded = opened["recorded"].as_str().unwrap().parse().unwrap();
    (opened["event"].clone(), recorded)
}

#[test]
fn a_disclosure_says_who_made_it_and_no_token_passes_for_a_person() {
    let (service, dana) = single();
    let path = event(&service, &dana);
    let more = json!({"name": "dana", "expires": in_days(30)});
    let token = dana.token(&service, &["privacy-officer"], &more);
    let wish = json!({"fields": ["actor.id"], "purpose": "order 4", "recipient": "court"});
    for (who, name) in [(dana.who(), "dana"), (As::Token(&token), "token dana")] {
        service.post(who, &format!("{path}/disclose"), &wish);
        let index: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
        let look = opened(&service, who, index).1;
        let (said, second) = opened(&service, dana.who(), look - 1);
        let said = said.to_string();
        assert!(said.contains(&format!("\"{name}\"")), "{name}: {said}");
        assert!(said.contains("disclosure.by") && said.contains("\"court\""), "{said}");
        let (looked, _) = opened(&service, dana.who(), look);
        assert!(looked.to_string().contains(&format!("\"{name}\"")), "{name}: {looked}");
        assert!(second > look, "each look is an entry");
    }
}

#[test]
fn who_sees_no_event_gets_none_in_a_proof_or_a_bundle_either() {
    let (service, dana) = single();
    let path = event(&service, &dana);
    let expires = json!({"expires": in_days(30)});
    for role in ["admin", "operations"] {
        let token = dana.token(&service, &[role], &expires);
        let ask = |path: &str| {
            let reply = service.ask(As::Token(&token), "GET", path, None);
            (reply.status, reply.code())
        };
        let forbidden = (403, "FORBIDDEN".to_owned());
        assert_eq!(ask(&format!("{path}/proof")), forbidden, "{role}");
        assert_eq!(ask("/v1/tile/entries/000.p/1"), forbidden, "{role}");
        assert_eq!(ask("/v1/tile/0/000.p/1").0, 200, "{role}: hashes tell nothing");
        assert_eq!(ask("/v1/checkpoint").0, 200, "{role}");
    }
}

#[test]
fn a_rule_is_for_a_tenant_that_is_there() {
    let (service, dana) = single();
    let wish = json!({"act": "change-rule", "tenant": "nonsense", "mode": "two-person",
        "approvals": 1, "cooling_off_seconds": 60});
    let told = service.refused(dana.who(), "/v1/orders", &wish);
    assert_eq!(told, (404, "TENANT_UNKNOWN".to_owned()));
    assert_eq!(service.get(dana.who(), "/v1/orders?all=true")["orders"], json!([]));
}
