//! What no client should send, to every route of the description that reads a body: the wrong type
//! or charset, a key twice, a member nobody knows, another type; and addresses that are nearly one.
//! Each is a problem with the code for it, whichever route it is.

use crate::support::service::{Answer, Service, json_of, post, with_token};
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use chancery::server::router::description;
use serde_json::json;
use std::collections::BTreeSet;

/// A value that stands for a person: in no refusal.
const PERSON: &str = "Quellmalz";

struct Desk {
    service: Service,
    tokens: Vec<String>,
}

impl Desk {
    fn open() -> Desk {
        let service = Service::start();
        let me = service.manage(service.as_admin(crate::support::service::get("/v1/session")));
        let grants = json!([
            {"tenant": "main", "role": "operations"},
            {"tenant": "main", "role": "auditor", "until": "2027-01-31T00:00:00Z"},
        ]);
        let wish = json!({"act": "grant-role", "human": json_of(&me.2)["id"], "grants": grants});
        let order = service.manage(service.as_admin(post("/v1/orders", &wish)));
        assert_eq!(json_of(&order.2)["state"], "executed");
        let roles = ["ingest", "privacy-officer", "auditor", "operations", "readonly"];
        let tokens = roles.map(|role| service.token(&[role], None)).to_vec();
        let ingest = &tokens[0];
        let event = json!({"id": "e0", "action": "user.login", "actor": {"id": "u1"}});
        let sent = service.manage(with_token(post("/v1/events?source=clinic", &event), ingest));
        assert_eq!(sent.0, StatusCode::OK);
        Desk { service, tokens }
    }

    /// Who may ask this: the person, or else one of the tokens.
    fn who(&self, to: (&str, &str)) -> usize {
        let may = |who: &usize| self.ask(*who, to, None, "{}").0 != StatusCode::FORBIDDEN;
        (0..=self.tokens.len()).find(may).unwrap_or_else(|| panic!("nobody may {to:?}"))
    }

    /// The answer to one of them.
    fn ask(
        &self,
        who: usize,
        (method, path): (&str, &str),
        kind: Option<&str>,
        body: &str,
    ) -> Answer {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let mut request = Request::builder().method(&method).uri(path);
        for kind in kind.into_iter().flat_map(|kind| kind.split('|')) {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let any = HeaderValue::from_static("*");
        request.headers_mut().insert(header::IF_NONE_MATCH, any);
        let request = match who.checked_sub(1) {
            None => self.service.as_admin(request),
            Some(token) => with_token(request, &self.tokens[token]),
        };
        let answer = self.service.manage(request);
        let text = String::from_utf8_lossy(&answer.2);
        assert!(!text.contains(PERSON), "{method} {path}: {text}");
        assert_ne!(answer.0, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {text}");
        answer
    }
}

fn said(answer: &Answer) -> (u16, String) {
    let body = json_of(&answer.2);
    let code = body["code"].as_str().or(body["reason"].as_str()).unwrap_or_default();
    (answer.0.as_u16(), code.to_owned())
}

fn filled(path: &str) -> String {
    let path = path.replace("{index}", "0").replace("{name}", "none");
    let nobody = "0".repeat(32);
    path.replace("{handle}", &nobody).replace("{job}", &nobody).replace("{id}", &nobody)
}

/// Every operation that reads a JSON body, but those of the collector's protocol.
fn reading() -> Vec<(String, String)> {
    let api = serde_json::to_value(description()).unwrap();
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            if body.is_object() && !path.starts_with("/services/") {
                found.push((method.clone(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn every_route_that_reads_refuses_what_is_no_such_body() {
    let routes = reading();
    assert!(routes.len() >= 14, "{}", routes.len());
    // Whoever asks too much is told to wait, strangers first of all.
    for one in routes.chunks(1) {
        refuses_what_is_no_such_body(&Desk::open(), one);
    }
    let desk = Desk::open();
    let wish = r#"{"act":"release-hold","case":"x","zzz":1}"#;
    let to = ("post", "/v1/orders");
    let got = said(&desk.ask(desk.who(to), to, Some("application/json"), wish));
    assert_eq!(got, (422, "MEMBER_UNKNOWN".to_owned()));
}

fn refuses_what_is_no_such_body(desk: &Desk, routes: &[(String, String)]) {
    for (method, path) in routes {
        let query = if path == "/v1/events" { "?source=clinic" } else { "" };
        let at = filled(path) + query;
        let to = (method.as_str(), at.as_str());
        let who = desk.who(to);
        let ask = |kind: Option<&str>, body: &str| said(&desk.ask(who, to, kind, body));
        let what = format!("{method} {path}");
        let unsupported = (415, "CONTENT_TYPE".to_owned());
        for kind in [
            None,
            Some("text/plain"),
            Some("application/json; charset=latin1"),
            Some("application/json|application/json"),
        ] {
            assert_eq!(ask(kind, "{}"), unsupported, "{what} {kind:?}");
        }
        let json = Some("application/json; charset=UTF-8");
        for broken in ["", "{", "{} {}", "nul", "{\"a\":1,}", "\u{feff}{}"] {
            let got = ask(json, broken);
            assert_eq!(got, (400, "JSON_SYNTAX".to_owned()), "{what} {broken:?}");
        }
        let twice = ask(json, &format!("{{\"a\":\"{PERSON}\",\"a\":1}}"));
        assert!([400, 422].contains(&twice.0), "{what} {twice:?}");
        assert_eq!(twice.1, "JSON_DUPLICATE_KEY", "{what}");
        if path == "/v1/events" {
            // What nobody knows of an event is kept, sealed.
            continue;
        }
        for whole in ["null", "7", "[]", "\"text\""] {
            let got = ask(json, whole);
            assert_eq!(got.0, 422, "{what} {whole}: {got:?}");
        }
        let unknown = ask(json, &format!("{{\"{}\":\"{PERSON}\"}}", "zzz"));
        let tagged = path == "/v1/orders";
        let code = if tagged { "FIELD_REQUIRED" } else { "MEMBER_UNKNOWN" };
        assert_eq!(unknown, (422, code.to_owned()), "{what}");
    }
}

/// An address is one or it is none: nothing is mended, decoded or folded on the way to a route.
#[test]
fn an_address_that_is_nearly_one_is_none() {
    let desk = Desk::open();
    let api = serde_json::to_value(description()).unwrap();
    let paths: BTreeSet<String> =
        api["paths"].as_object().unwrap().keys().map(|path| filled(path)).collect();
    assert!(paths.len() > 40, "{}", paths.len());
    let token = &desk.tokens[0];
    for path in paths.iter().filter(|path| !path.contains("{path}")) {
        let rest = path.strip_prefix('/').unwrap();
        for near in [
            format!("{path}/"),
            format!("/{path}"),
            format!("{path}."),
            format!("{path}%00"),
            format!("{path};a=b"),
            format!("/{}", rest.to_uppercase()),
            format!("/./{rest}"),
            format!("/x/..{path}"),
            format!("/x/%2e%2e{path}"),
            format!("/..;{path}"),
            format!("/%2e{path}"),
            format!("{path}/..;/"),
            path.replacen("v1", "v%31", 1) + "%2f",
        ] {
            let request = Request::builder().uri(&near).body(Body::empty()).unwrap();
            let answer = desk.service.manage(with_token(request, token));
            // What stands in the place of a name may be anything: then there is none of that name.
            let got = said(&answer);
            assert!(matches!(answer.0.as_u16(), 403..=405), "{near}: {got:?}");
        }
    }
}
