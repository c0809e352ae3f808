//! Break-glass from its grant to its review, as two people meet it.

use crate::service::person::{Person, pair};
use crate::service::stage::{As, Service};
use serde_json::json;

const REASON: &str = "ticket 4711: the payroll run has stopped";

#[test]
fn the_glass_is_granted_broken_reviewed_and_taken_back() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let grants = json!([{"tenant": "main", "role": "operations", "break_glass": true}]);
    let wish = json!({"act": "create-human", "login": "omar", "grants": grants});
    let made = service.post(dana.who(), "/v1/orders", &wish);
    let id = made["job"].as_str().unwrap();
    let path = format!("/v1/humans/{id}/invitation");
    let invitation = service.ask(dana.who(), "POST", &path, None).json();
    let omar = Person::enrol(&service, invitation["token"].as_str().unwrap(), "omar");
    let humans = service.get(dana.who(), "/v1/humans");
    let known = humans["humans"].as_array().unwrap().iter().find(|human| human["id"] == id);
    assert_eq!(known.unwrap()["grants"][0]["break_glass"], true);

    let events = |who| service.ask(who, "GET", "/v1/events", None).status;
    assert_eq!(events(omar.who()), 403);
    let wish = json!({"reason": REASON});
    assert_eq!(service.refused(dana.who(), "/v1/session/break-glass", &wish).0, 403);
    let broken = service.ask(omar.who(), "POST", "/v1/session/break-glass", Some(&wish));
    assert_eq!(broken.status, 200, "{}", broken.text());
    let glass = pair(broken.header("set-cookie"));
    assert_eq!((events(As::Session(&glass)), events(omar.who())), (200, 403));

    let list = service.get(dana.who(), "/v1/reviews");
    let review = list["reviews"][0].clone();
    let told = (&review["human"], &review["reason"], &review["closed"]);
    assert_eq!(told, (&json!(id), &json!(REASON), &json!(null)), "{list}");
    let path = format!("/v1/reviews/{}", review["id"].as_str().unwrap());
    let note = json!({"note": "looked at it: as it was said"});
    let forbidden = (403, "FORBIDDEN".to_owned());
    assert_eq!(service.refused(omar.who(), &path, &note), forbidden);
    assert_eq!(service.refused(As::Session(&glass), &path, &note), forbidden);
    assert_eq!(service.ask(dana.who(), "POST", &path, Some(&note)).status, 204);
    let again = service.refused(dana.who(), &path, &note);
    assert_eq!(again, (409, "REVIEW_CLOSED".to_owned()));
    let list = service.get(dana.who(), "/v1/reviews");
    assert_eq!(list["reviews"][0]["closed"]["note"], note["note"], "{list}");

    let wish = json!({"act": "revoke-role", "human": id, "tenant": "main", "role": "operations"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!(order["state"], "executed", "{order}");
    let gone = service.refused(dana.who(), "/v1/orders", &wish);
    assert_eq!(gone.1, "GRANT_UNKNOWN");
    assert_eq!(events(As::Session(&glass)), 401);
    let me = service.get(dana.who(), "/v1/session")["id"].clone();
    let wish = json!({"act": "revoke-role", "human": me, "tenant": "main", "role": "admin"});
    let last = service.refused(dana.who(), "/v1/orders", &wish);
    assert_eq!(last, (409, "LAST_ADMIN".to_owned()));
    service.stop();
}
