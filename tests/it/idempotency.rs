//! `Idempotency-Key` over the whole service: what is repeated is done once, through refusals,
//! restarts and power losses, and nothing of key or body is kept.

use crate::support::service::{Answer, Service, get, json_of, post, with_token};
use crate::support::sim::Survivors;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode, header};
use chancery::base::unit::{NANOS_PER_DAY, NANOS_PER_SECOND};
use chancery::format::control::DocumentKind;
use chancery::server::app::SYSTEM;
use chancery::server::idempotency::key::Key;
use chancery::server::idempotency::ledger::{Begun, Call, KEYS_OF_CALLER_MAX};
use chancery::server::idempotency::{HEADER, instead, takes_keys};
use chancery::server::router::description;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HOLDS: &str = "/v1/holds";

fn keyed(mut request: Request<Body>, key: &str) -> Request<Body> {
    request.headers_mut().append(HEADER, HeaderValue::from_str(key).unwrap());
    request
}

/// A hold of the first days of a class, by its case's name.
fn hold(name: &str) -> Value {
    json!({"name": name, "class": "7d", "from": "2026-01-01", "to": "2026-01-31"})
}

fn code(answer: &Answer) -> (u16, String) {
    let code = json_of(&answer.2)["code"].as_str().unwrap_or_default().to_owned();
    (answer.0.as_u16(), code)
}

fn replayed(answer: &Answer) -> bool {
    answer.1.get("idempotency-replayed").is_some_and(|value| value == "true")
}

struct Desk {
    service: Service,
    token: String,
}

impl Desk {
    fn open() -> Desk {
        let service = Service::start();
        let token = service.token(&["privacy-officer"], None);
        Desk { service, token }
    }

    fn ask(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.service.manage(with_token(keyed(post(path, body), key), &self.token))
    }

    /// Names of the cases there are.
    fn cases(&self) -> Vec<String> {
        cases(&self.service, &self.token)
    }
}

fn cases(service: &Service, token: &str) -> Vec<String> {
    let (status, _, body) = service.manage(with_token(get(HOLDS), token));
    assert_eq!(status, StatusCode::OK);
    let holds = json_of(&body)["holds"].as_array().unwrap().clone();
    holds.iter().map(|hold| hold["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_repeat_is_answered_with_the_first_and_not_done_again() {
    let desk = Desk::open();
    let first = desk.ask(HOLDS, "k-1", &hold("one"));
    assert_eq!(first.0, StatusCode::CREATED, "{}", String::from_utf8_lossy(&first.2));
    assert!(!replayed(&first));
    for key in ["k-1", "\"k-1\""] {
        let again = desk.ask(HOLDS, key, &hold("one"));
        assert_eq!((again.0, replayed(&again)), (StatusCode::CREATED, true));
        assert_eq!(json_of(&again.2), json_of(&first.2));
    }
    assert_eq!(desk.cases(), ["one"]);
    // Other words, another route, another caller.
    let reused = (422, "IDEMPOTENCY_KEY_REUSED".to_owned());
    assert_eq!(code(&desk.ask(HOLDS, "k-1", &hold("two"))), reused);
    assert_eq!(desk.cases(), ["one"]);
    let other = desk.service.token(&["privacy-officer"], None);
    let theirs = desk.service.manage(with_token(keyed(post(HOLDS, &hold("one")), "k-1"), &other));
    assert_eq!((theirs.0, replayed(&theirs)), (StatusCode::CREATED, false));
    assert_eq!(desk.cases(), ["one", "one"]);
    let elsewhere = desk.ask("/v1/orders", "k-1", &hold("one"));
    assert_eq!(code(&elsewhere).1, "FIELD_REQUIRED");
    // Without a key each is done.
    desk.service.manage(with_token(post(HOLDS, &hold("two")), &desk.token));
    desk.service.manage(with_token(post(HOLDS, &hold("two")), &desk.token));
    assert_eq!(desk.cases().len(), 4);
    // It holds over a restart, and for a day.
    let service = desk.service.again();
    let ask = || {
        let request = keyed(post(HOLDS, &hold("one")), "k-1");
        service.manage(with_token(request, &desk.token))
    };
    assert_eq!(json_of(&ask().2), json_of(&first.2));
    assert_eq!(cases(&service, &desk.token).len(), 4);
    service.clock.pass(NANOS_PER_DAY + NANOS_PER_SECOND);
    service.login();
    assert!(!replayed(&ask()), "after a day the key is free");
    assert_eq!(cases(&service, &desk.token).len(), 5);
}

#[test]
fn an_order_is_shown_as_it_is_now() {
    let desk = Desk::open();
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u1", "type": "user"}});
    let ingest = desk.service.token(&["ingest"], Some(&["clinic"]));
    let sent = desk.service.manage(with_token(post("/v1/events", &event), &ingest));
    assert_eq!(sent.0, StatusCode::OK, "{}", String::from_utf8_lossy(&sent.2));
    let named = json!([{"kind": "user_id", "value": "u1"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let first = desk.ask("/v1/orders", "o-1", &wish);
    assert_eq!(first.0, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&first.2));
    let filed = json_of(&first.2);
    let place = format!("/v1/orders/{}", filed["id"].as_str().unwrap());
    assert_eq!(first.1[header::LOCATION], place.as_str());
    let again = desk.ask("/v1/orders", "o-1", &wish);
    assert_eq!((again.0, replayed(&again)), (StatusCode::ACCEPTED, true));
    assert_eq!(again.1[header::LOCATION], place.as_str());
    assert_eq!(json_of(&again.2), filed);
    let withdraw = format!("{place}/withdraw");
    for repeat in [false, true] {
        let gone = desk.ask(&withdraw, "o-1", &json!({}));
        assert_eq!((gone.0, replayed(&gone)), (StatusCode::OK, repeat), "{:?}", code(&gone));
        assert_eq!(json_of(&gone.2)["state"], "withdrawn");
    }
    let again = desk.ask("/v1/orders", "o-1", &wish);
    assert_eq!((again.0, &json_of(&again.2)["state"]), (StatusCode::ACCEPTED, &json!("withdrawn")));
}

#[test]
fn what_cannot_be_shown_again_says_so() {
    let desk = Desk::open();
    let service = &desk.service;
    let ask = |path: &str, body: &Value| {
        service.manage(service.as_admin(keyed(post(path, body), "secret-1")))
    };
    let wish = json!({"name": "t", "roles": ["ingest"]});
    let issued = ask("/v1/tokens", &wish);
    assert_eq!(issued.0, StatusCode::CREATED);
    let issued = json_of(&issued.2);
    let again = ask("/v1/tokens", &wish);
    assert_eq!(code(&again), (410, "IDEMPOTENCY_SECRET_GONE".to_owned()));
    assert!(replayed(&again));
    let told = String::from_utf8(again.2).unwrap();
    assert!(told.contains(issued["id"].as_str().unwrap()), "{told}");
    assert!(!told.contains(issued["token"].as_str().unwrap()));
    let tokens = json_of(&service.manage(service.as_admin(get("/v1/tokens"))).2);
    let named = tokens["tokens"].as_array().unwrap().iter().filter(|token| token["name"] == "t");
    assert_eq!(named.count(), 1);
    // What an act did in numbers is in its history.
    let me = json_of(&service.manage(service.as_admin(get("/v1/session"))).2);
    let grants = json!([{"tenant": "main", "role": "operations"}]);
    let wish = json!({"act": "grant-role", "human": me["id"], "grants": grants});
    assert_eq!(json_of(&ask("/v1/orders", &wish).2)["state"], "executed");
    assert_eq!(ask("/v1/retention/run", &json!({})).0, StatusCode::OK);
    let again = ask("/v1/retention/run", &json!({}));
    assert_eq!((code(&again), replayed(&again)), ((409, "IDEMPOTENCY_DONE".to_owned()), true));
    // What never began is no repeat: no scheduler runs here.
    for _ in 0..2 {
        let stopped = ask("/v1/schedules/nightly/run", &json!({}));
        assert_eq!(code(&stopped), (503, "SCHEDULER_STOPPED".to_owned()));
    }
}

#[test]
fn what_was_refused_may_be_mended_and_sent_again() {
    let desk = Desk::open();
    let wrong = json!({"name": "", "class": "7d"});
    for _ in 0..31 {
        assert_eq!(code(&desk.ask(HOLDS, "m-1", &wrong)), (422, "FIELD_VALUE".to_owned()));
    }
    let done = desk.ask(HOLDS, "m-1", &hold("mended"));
    assert_eq!((done.0, replayed(&done)), (StatusCode::CREATED, false));
    assert!(replayed(&desk.ask(HOLDS, "m-1", &hold("mended"))));
    for _ in 0..32 {
        assert_eq!(code(&desk.ask(HOLDS, "m-2", &wrong)), (422, "FIELD_VALUE".to_owned()));
    }
    let tired = desk.ask(HOLDS, "m-2", &hold("too late"));
    assert_eq!(code(&tired), (429, "IDEMPOTENCY_KEYS_TOO_MANY".to_owned()));
    assert!(tired.1.contains_key(header::RETRY_AFTER));
    assert_eq!(desk.cases(), ["mended"]);
}

#[test]
fn keys_that_are_none_and_routes_without_them_are_refused() {
    let desk = Desk::open();
    for wrong in ["", "a b", "a,b", "\"a", &"k".repeat(256)] {
        let refused = desk.ask(HOLDS, wrong, &hold("none"));
        assert_eq!(code(&refused), (400, "IDEMPOTENCY_KEY_INVALID".to_owned()), "{wrong}");
    }
    let twice = keyed(keyed(post(HOLDS, &hold("none")), "a"), "a");
    let refused = desk.service.manage(with_token(twice, &desk.token));
    assert_eq!(code(&refused), (400, "IDEMPOTENCY_KEY_INVALID".to_owned()));
    let nobody = desk.service.manage(keyed(post(HOLDS, &hold("none")), "a"));
    assert_eq!(code(&nobody), (401, "UNAUTHENTICATED".to_owned()));
    assert_eq!(desk.cases(), Vec::<String>::new());
    let api = serde_json::to_value(description()).unwrap();
    let mut refusing = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let all = operation["parameters"].as_array().cloned().unwrap_or_default();
            let says = all.iter().any(|one| one["name"] == "Idempotency-Key");
            assert_eq!(says, method == "post" && takes_keys(path), "{method} {path}");
            if method != "post" || instead(path).is_none() {
                continue;
            }
            refusing += 1;
            let path = path.replace("{index}", "0");
            let path = path.replace("{handle}", &"0".repeat(32)).replace("{id}", &"0".repeat(32));
            let refused = desk.ask(&path, "a", &json!({}));
            assert_eq!(code(&refused), (400, "IDEMPOTENCY_KEY_UNSUPPORTED".to_owned()), "{path}");
            assert_eq!(json_of(&refused.2)["field"], HEADER);
        }
    }
    assert!(refusing > 5, "{refusing}");
    // Reading is as it was.
    let read = desk.service.manage(with_token(keyed(get(HOLDS), "a,b"), &desk.token));
    assert_eq!(read.0, StatusCode::OK);
}

fn parts(path: &str) -> Parts {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request.body(()).unwrap().into_parts().0
}

/// A call as the service sees the one that `ask` makes.
fn call(desk: &Desk, key: &str, body: &Value) -> Call {
    let app = &desk.service.app;
    let now = app.system().clock().now();
    let by = app.directory.authenticate_token(&desk.token, now).unwrap();
    let header = keyed(Request::new(Body::empty()), key).headers().clone();
    let (key, body) = (Key::of(&header).unwrap(), body.to_string());
    Call::of(&app.ledger, (&by, HOLDS), &key, &parts(HOLDS), body.as_bytes())
}

#[test]
fn what_is_under_way_waits_and_what_was_cut_off_says_where_to_look() {
    let desk = Desk::open();
    let ledger = &desk.service.app.ledger;
    let system = desk.service.app.system();
    let mine = call(&desk, "w-1", &hold("one"));
    let turn = ledger.turn(&mine).unwrap();
    assert!(matches!(ledger.begin(system, &mine).unwrap(), Begun::First(1)));
    let waits = desk.ask(HOLDS, "w-1", &hold("one"));
    assert_eq!(code(&waits), (409, "IDEMPOTENCY_IN_PROGRESS".to_owned()));
    assert_eq!(waits.1[header::RETRY_AFTER], "1");
    drop(turn);
    let uncertain = desk.ask(HOLDS, "w-1", &hold("one"));
    assert_eq!(code(&uncertain), (409, "IDEMPOTENCY_UNCERTAIN".to_owned()));
    assert!(String::from_utf8_lossy(&uncertain.2).contains("GET /v1/holds"));
    assert_eq!(code(&desk.ask(HOLDS, "w-1", &hold("two"))).1, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(desk.cases(), Vec::<String>::new());
}

#[test]
fn keys_of_one_caller_are_bounded_and_those_of_others_are_not() {
    let desk = Desk::open();
    let (ledger, system) = (&desk.service.app.ledger, desk.service.app.system());
    for n in 0..KEYS_OF_CALLER_MAX {
        let call = call(&desk, &n.to_string(), &json!({}));
        assert!(matches!(ledger.begin(system, &call).unwrap(), Begun::First(1)), "{n}");
    }
    let refused = desk.ask(HOLDS, "one more", &hold("none"));
    assert_eq!(code(&refused), (400, "IDEMPOTENCY_KEY_INVALID".to_owned()));
    let refused = desk.ask(HOLDS, "one-more", &hold("none"));
    assert_eq!(code(&refused), (429, "IDEMPOTENCY_KEYS_TOO_MANY".to_owned()));
    assert_eq!(json_of(&refused.2)["limit"], KEYS_OF_CALLER_MAX);
    let other = desk.service.token(&["privacy-officer"], None);
    let theirs = keyed(post(HOLDS, &hold("theirs")), "one-more");
    assert_eq!(desk.service.manage(with_token(theirs, &other)).0, StatusCode::CREATED);
}

/// What is kept of a request is a MAC of it, its status, an index and names of resources.
#[test]
fn nothing_of_key_or_body_is_kept() {
    let desk = Desk::open();
    let (key, name) = ("quellmalz-1871-key", "case of Quellmalz");
    assert_eq!(desk.ask(HOLDS, key, &hold(name)).0, StatusCode::CREATED);
    assert_eq!(code(&desk.ask(HOLDS, "refused-1", &json!({"name": name}))).0, 422);
    let kept = desk.service.app.system().documents(DocumentKind::Idempotency).unwrap();
    assert_eq!(kept.len(), 2);
    for document in kept {
        let body: Value = serde_json::from_slice(document.body.as_deref().unwrap()).unwrap();
        let text = body.to_string();
        assert!(!text.contains("uellmalz"), "{text}");
        let mut members: Vec<&str> = body.as_object().unwrap().keys().map(|k| &**k).collect();
        members.sort_unstable();
        match document.gone {
            true => assert_eq!(members, ["request"]),
            false => {
                assert_eq!(members, ["done", "request"]);
                let mut members: Vec<&String> = body["done"].as_object().unwrap().keys().collect();
                members.sort_unstable();
                assert_eq!(members, ["content", "entry", "resource", "status"]);
            }
        }
    }
    // The system tenant's own export would show them; nobody reads one as a record.
    assert!(desk.service.app.tenant(SYSTEM).is_ok());
}

#[test]
fn after_a_power_loss_anywhere_a_repeat_does_it_at_most_once() {
    let desk = Desk::open();
    desk.service.main().settle();
    desk.service.app.system().settle();
    desk.service.disk.film();
    let first = desk.ask(HOLDS, "cut-1", &hold("one"));
    assert_eq!(first.0, StatusCode::CREATED);
    let stills = desk.service.disk.cut();
    let mut seen = BTreeMap::<String, usize>::new();
    for still in &stills {
        for survivors in [Survivors::Nothing, Survivors::Everything] {
            let disk = still.crash(survivors);
            let context = format!("before {} ({})", still.next, still.operation);
            let service = desk.service.after(disk);
            let ask = |name: &str| {
                let request = keyed(post(HOLDS, &hold(name)), "cut-1");
                service.manage(with_token(request, &desk.token))
            };
            let before = cases(&service, &desk.token).len();
            let (answer, again) = (ask("one"), ask("one"));
            let after = cases(&service, &desk.token).len();
            let way = match (answer.0.as_u16(), replayed(&answer)) {
                (201, false) => {
                    assert_eq!((before, after), (0, 1), "{context}");
                    "never begun"
                }
                (201, true) => {
                    assert_eq!((before, after), (1, 1), "{context}");
                    assert_eq!(json_of(&answer.2), json_of(&first.2), "{context}");
                    "done"
                }
                _ => {
                    assert_eq!(code(&answer).1, "IDEMPOTENCY_UNCERTAIN", "{context}");
                    assert_eq!(before, after, "{context}");
                    if after == 0 { "begun" } else { "done and not noted" }
                }
            };
            *seen.entry(way.to_owned()).or_default() += 1;
            assert!(replayed(&again) || again.0 == StatusCode::CONFLICT, "{context}");
            assert_eq!(code(&ask("two")).1, "IDEMPOTENCY_KEY_REUSED", "{context}");
        }
    }
    println!("{} stills: {seen:?}", stills.len());
    assert_eq!(seen.len(), 4, "{seen:?}");
}
