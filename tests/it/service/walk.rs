//! Every route of the description with no credentials and with a token of every role that machines
//! may have, against the permission matrix that the program prints. A route that is not in the
//! table below fails, so nobody adds one without saying who may use it.

use crate::service::person::{Person, in_days};
use crate::service::raw::{Wire, replies};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What a route asks of its caller.
enum Needs {
    /// Nothing: nobody is known yet, or nothing is told.
    Nothing,
    /// To be known.
    Somebody,
    /// To be a person in a session.
    APerson,
    /// To append, for one source; refused in the shape of Splunk's collector.
    Collector,
    /// These permissions.
    May(&'static [&'static str]),
    /// These permissions, and a person who showed a code just now.
    MayNow(&'static [&'static str]),
}

use Needs::{APerson, Collector, May, MayNow, Nothing, Somebody};

/// Method, path, what it needs, a query or a body with which it would be answered, listener.
type Row = (&'static str, &'static str, Needs, &'static str);

const APPROVAL: &str =
    r#"{"hash":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
const PERSON: &str = r#"{"identifiers":[{"kind":"patient_id","value":"nobody"}]}"#;
const OPENING: &str = r#"{"purpose":"a walk"}"#;
const DISCLOSING: &str = r#"{"purpose":"a walk","recipient":"nobody","fields":["actor.id"]}"#;
const RESTRICTING: &str = r#"{"cause":"unlawful-use","reason":"a walk"}"#;
const LIFTING: &str = r#"{"reason":"a walk"}"#;
const CORRECTING: &str = r#"{"fields":{"data":1},"reason":"a walk"}"#;
const ENROLLING: &str = r#"{"token":"none","password":"long enough a password"}"#;
const CREDENTIALS: &str = r#"{"login":"nobody","password":"none","code":"000000"}"#;
const SCHEDULE: &str = r#"{"task":"scrub","cron":"0 3 * * *"}"#;
const HOLD: &str = r#"{"name":"a case","class":"none"}"#;
const EVENT: &str = r#"{"id":"walk","action":"user.login","actor":{"id":"u1","type":"service"}}"#;

/// Routes of both listeners.
const PUBLIC: &[Row] = &[
    ("get", "/livez", Nothing, ""),
    ("get", "/readyz", Nothing, ""),
    ("post", "/v1/session", Nothing, CREDENTIALS),
    ("post", "/v1/enrolment", Nothing, ENROLLING),
    ("post", "/v1/enrolment/confirm", Nothing, r#"{"token":"none","code":"000000"}"#),
    ("get", "/v1/session", Somebody, ""),
    ("delete", "/v1/session", Somebody, ""),
    ("post", "/v1/session/step-up", APerson, r#"{"code":"000000"}"#),
    ("post", "/v1/session/break-glass", APerson, r#"{"reason":"a walk"}"#),
    ("post", "/v1/events", May(&["events-append"]), EVENT),
    ("get", "/v1/events", May(&["events-read"]), ""),
    ("get", "/v1/events/{index}", May(&["events-read"]), ""),
    ("post", "/v1/events/{index}/open", May(&["events-open"]), OPENING),
    ("post", "/v1/events/{index}/disclose", May(&["events-disclose"]), DISCLOSING),
    ("get", "/v1/events/{index}/proof", May(&["proofs-read", "events-read"]), ""),
    ("get", "/v1/checkpoint", May(&["proofs-read"]), ""),
    ("get", "/v1/growth", May(&["proofs-read"]), "?from=1"),
    ("get", "/v1/tile/{path}", May(&["proofs-read"]), ""),
    ("get", "/v1/keys", May(&["keys-read"]), ""),
    ("get", "/services/collector/health", Nothing, ""),
    ("post", "/services/collector/health", Nothing, ""),
    ("post", "/services/collector/event", Collector, r#"{"event":"x"}"#),
    ("post", "/services/collector/raw", Collector, "x"),
    ("post", "/services/collector/ack", Collector, r#"{"acks":[0]}"#),
];

/// Routes of the administration's listener alone.
const ADMINISTRATION: &[Row] = &[
    ("post", "/v1/subjects/lookup", May(&["subjects-lookup"]), PERSON),
    ("get", "/v1/subjects/{handle}", May(&["subjects-preview"]), ""),
    ("post", "/v1/subjects/{handle}/restriction", May(&["subjects-restrict"]), RESTRICTING),
    ("post", "/v1/subjects/{handle}/restriction/lift", MayNow(&["subjects-restrict"]), LIFTING),
    ("post", "/v1/events/{index}/corrections", May(&["events-correct"]), CORRECTING),
    ("get", "/v1/subjects/{handle}/preview", May(&["subjects-preview"]), ""),
    (
        "post",
        "/v1/subjects/{handle}/identifiers",
        May(&["subjects-preview", "events-open"]),
        OPENING,
    ),
    ("get", "/v1/erasures", May(&["erasure-read"]), ""),
    ("get", "/v1/erasures/{job}", May(&["erasure-read"]), ""),
    ("get", "/v1/erasures/{job}/receipt", May(&["erasure-read"]), ""),
    ("get", "/v1/holds", May(&["holds-read"]), ""),
    ("post", "/v1/holds", May(&["holds-set"]), HOLD),
    ("get", "/v1/classes", May(&["classes-read"]), ""),
    ("get", "/v1/retention/plan", May(&["retention-read"]), ""),
    ("post", "/v1/retention/run", MayNow(&["retention-run"]), "{}"),
    ("get", "/v1/retention/history", May(&["retention-read"]), ""),
    // Filing is walked by itself: what it needs depends on the act.
    ("post", "/v1/orders", Somebody, ""),
    ("get", "/v1/orders", May(&["orders-read"]), ""),
    ("get", "/v1/orders/{id}", May(&["orders-read"]), ""),
    ("post", "/v1/orders/{id}/open", May(&["orders-read"]), OPENING),
    ("post", "/v1/orders/{id}/approve", May(&["orders-read"]), APPROVAL),
    ("post", "/v1/orders/{id}/reject", May(&["orders-read"]), ""),
    ("post", "/v1/orders/{id}/withdraw", May(&["orders-read"]), ""),
    ("get", "/v1/rule", May(&["rule-read"]), ""),
    ("get", "/v1/tokens", May(&["tokens-read"]), ""),
    ("post", "/v1/tokens", MayNow(&["tokens-manage"]), r#"{"name":"w","roles":["ingest"]}"#),
    ("delete", "/v1/tokens/{id}", MayNow(&["tokens-manage"]), ""),
    ("get", "/v1/schedules", May(&["schedules-read"]), ""),
    ("get", "/v1/schedules/{name}", May(&["schedules-read"]), ""),
    ("put", "/v1/schedules/{name}", MayNow(&["schedules-manage"]), SCHEDULE),
    ("delete", "/v1/schedules/{name}", MayNow(&["schedules-manage"]), ""),
    ("post", "/v1/schedules/{name}/run", May(&["schedules-run"]), ""),
    ("get", "/v1/sources", May(&["sources-read"]), ""),
    ("get", "/v1/sources/{name}", May(&["sources-read"]), ""),
    ("get", "/v1/sources/{name}/gaps", May(&["sources-read"]), ""),
    ("put", "/v1/sources/{name}", MayNow(&["sources-manage"]), r#"{"dedupe":"none"}"#),
    ("get", "/metrics", May(&["metrics-read"]), ""),
    ("get", "/v1/tenants", May(&["tenants-read"]), ""),
    ("get", "/v1/system", May(&["system-read"]), ""),
    ("get", "/v1/humans", May(&["humans-read"]), ""),
    ("post", "/v1/humans/{id}/invitation", MayNow(&["humans-manage"]), ""),
    ("get", "/v1/reviews", May(&["orders-read"]), ""),
    ("post", "/v1/reviews/{id}", APerson, r#"{"note":"looked at: as it was said"}"#),
];

/// What it takes to ask for each act, and a wish for it that names nobody who is there.
const ACTS: &[(&str, &str, &str)] = &[
    ("erase", "erasure-request", r#""identifiers":[],"basis":"gdpr-17-1""#),
    ("link", "subjects-link", r#""identifiers":[]"#),
    ("release-hold", "holds-release-request", r#""case":"none""#),
    ("apply-policies", "retention-propose", r#""files":{},"base_hash":"none""#),
    ("create-human", "humans-manage", r#""login":"","grants":[]"#),
    ("grant-role", "humans-manage", r#""human":"none","grants":[]"#),
    ("revoke-role", "humans-manage", r#""human":"none","tenant":"main","role":"admin""#),
    ("reset-factor", "humans-manage", r#""human":"none""#),
    ("disable-human", "humans-manage", r#""human":"none""#),
    (
        "change-rule",
        "rule-propose",
        r#""tenant":"main","mode":"two-person","approvals":99,"cooling_off_seconds":0"#,
    ),
];

/// Every role that machines may have.
const ROLES: [&str; 7] =
    ["admin", "operations", "developer", "auditor", "privacy-officer", "readonly", "ingest"];

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let nobody = "0".repeat(32);
    path.replace("{index}", "0")
        .replace("{path}", "0/000.p/1")
        .replace("{name}", "none")
        .replace("{handle}", &nobody)
        .replace("{job}", &nobody)
        .replace("{id}", &nobody)
}

/// The operations of the description: method, path, whether nobody needs to be known.
fn described(service: &Service) -> BTreeMap<(String, String), bool> {
    let reply = service.ask(As::Nobody, "GET", "/openapi.json", None);
    let description = reply.json();
    let mut found = BTreeMap::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"].as_array().is_some_and(|all| all.contains(&json!({})));
            found.insert((method.clone(), path.clone()), open);
        }
    }
    found
}

/// Roles by permission, as the program prints them.
fn matrix(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = |row: Value| {
        let roles = row["roles"].as_array().unwrap();
        let roles = roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect();
        (row["permission"].as_str().unwrap().to_owned(), roles)
    };
    rows.map(row).collect()
}

struct Walk {
    service: Service,
    tokens: BTreeMap<&'static str, String>,
    matrix: BTreeMap<String, BTreeSet<String>>,
}

impl Walk {
    fn begin() -> Walk {
        let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
        let dana = Person::first(&service);
        let me = service.get(dana.who(), "/v1/session");
        // A weighty role is lent by whoever has it.
        let grants = json!([{"tenant": "main", "role": "auditor", "until": in_days(90)}]);
        let wish = json!({"act": "grant-role", "human": me["id"], "grants": grants});
        let order = service.post(dana.who(), "/v1/orders", &wish);
        assert_eq!(order["state"], "executed", "{order}");
        let token = |role: &&'static str| {
            let mut more = json!({"expires": in_days(30)});
            if ["developer", "ingest"].contains(role) {
                more["sources"] = json!(["clinic"]);
            }
            (*role, dana.token(&service, &[role], &more))
        };
        let tokens = ROLES.iter().map(token).collect();
        let matrix = matrix(&service.beside(&["access", "matrix"]));
        // Something to read, so that an entry answers.
        let walk = Walk { service, tokens, matrix };
        let ingest = As::Token(&walk.tokens["ingest"]);
        let event = json!({"id": "first", "action": "user.login", "actor": {"id": "u1"}});
        walk.service.post(ingest, "/v1/events", &event);
        walk
    }

    fn has(&self, role: &str, permission: &str) -> bool {
        let roles = self.matrix.get(permission);
        roles.unwrap_or_else(|| panic!("no permission {permission}")).contains(role)
    }

    fn ask(&self, role: &str, row: &Row, listener: std::net::SocketAddr) -> (u16, String) {
        let bearer = format!("Bearer {}", self.tokens[role]);
        Walk::sent(&self.service, ("authorization", &bearer), row, listener)
    }

    fn sent(
        service: &Service,
        credential: (&str, &str),
        row: &Row,
        listener: std::net::SocketAddr,
    ) -> (u16, String) {
        let (method, path, _, sent) = row;
        let mut headers = vec![credential];
        let query = if sent.starts_with('?') { sent } else { "" };
        let body = match *method {
            "get" | "delete" => None,
            _ if sent.is_empty() => Some(Vec::new()),
            _ => {
                headers.push(("content-type", "application/json"));
                Some(sent.as_bytes().to_vec())
            }
        };
        let path = filled(path) + query;
        let reply = service.send(listener, (&method.to_uppercase(), &path), &headers, body);
        (reply.status, reply.code())
    }

    /// Every known route with every role: refused as the matrix says, and never otherwise.
    fn roles(&self) {
        let forbidden = (403, "FORBIDDEN".to_owned());
        for row in PUBLIC.iter().chain(ADMINISTRATION) {
            for role in ROLES {
                let got = self.ask(role, row, self.service.admin);
                let what = format!("{} {} by {role}: {got:?}", row.0, row.1);
                let (permissions, now) = match row.2 {
                    Nothing | Somebody if row.1 == "/v1/orders" => continue,
                    Nothing => continue,
                    Somebody => (&[][..], false),
                    APerson => {
                        assert_eq!(got, (403, "HUMANS_ONLY".to_owned()), "{what}");
                        continue;
                    }
                    Collector => {
                        let closed = [401, 403].contains(&got.0);
                        assert_eq!(closed, !self.has(role, "events-append"), "{what}");
                        assert!(got.1.is_empty(), "{what}");
                        continue;
                    }
                    May(permissions) => (permissions, false),
                    MayNow(permissions) => (permissions, true),
                };
                let has = permissions.iter().all(|permission| self.has(role, permission));
                match (has, now) {
                    (false, _) => assert_eq!(got, forbidden, "{what}"),
                    (true, true) => assert_eq!(got.1, "HUMANS_ONLY", "{what}"),
                    (true, false) => {
                        // An order is decided by people; its own rule says so.
                        let decides = row.1.starts_with("/v1/orders/{id}/");
                        let known = got.0 != 401 && (got.0 != 403 || decides);
                        assert!(known, "{what}");
                    }
                }
            }
        }
    }

    /// Filing: what the act needs.
    fn acts(&self) {
        for (act, permission, rest) in ACTS {
            let body = format!("{{\"act\":\"{act}\",{rest}}}");
            let body: Value = serde_json::from_str(&body).unwrap();
            for role in ROLES {
                let token = As::Token(&self.tokens[role]);
                let got = self.service.refused(token, "/v1/orders", &body);
                let may = self.has(role, permission);
                let what = format!("{act} by {role}: {got:?}");
                assert_eq!(got == (403, "FORBIDDEN".to_owned()), !may, "{what}");
                // None of these wishes can be carried out: none may be filed.
                assert!((400..500).contains(&got.0) && got.0 != 401, "{what}");
            }
        }
    }

    /// The public listener has no route of the administration's.
    fn listeners(&self) {
        for row in ADMINISTRATION {
            let got = self.ask("auditor", row, self.service.public);
            let elsewhere = [(404, "ROUTE_UNKNOWN".to_owned())];
            assert!(elsewhere.contains(&got), "{} {}: {got:?}", row.0, row.1);
        }
        for row in PUBLIC {
            let got = self.ask("auditor", row, self.service.public);
            assert_ne!(got.1, "ROUTE_UNKNOWN", "{} {}", row.0, row.1);
        }
    }
}

#[test]
fn every_route_answers_every_role_as_the_matrix_says() {
    let walk = Walk::begin();
    let described = described(&walk.service);
    let known: BTreeSet<(String, String)> = PUBLIC
        .iter()
        .chain(ADMINISTRATION)
        .map(|(method, path, ..)| (method.to_string(), path.to_string()))
        .collect();
    let there: BTreeSet<_> = described.keys().cloned().collect();
    assert_eq!(there, known, "left: described; right: rows of this table");
    walk.roles();
    walk.acts();
    walk.listeners();
    walk.service.stop();
}

#[test]
fn without_credentials_every_route_is_closed_but_those_that_say_so() {
    let service = Service::start(&[]);
    let rows: Vec<&Row> = PUBLIC.iter().chain(ADMINISTRATION).collect();
    let described = described(&service);
    assert!(described.len() > 40, "{}", described.len());
    for (number, ((method, path), open)) in described.iter().enumerate() {
        let row = rows.iter().find(|row| row.0 == method && row.1 == path);
        let row = row.unwrap_or_else(|| panic!("{method} {path} is not in the table"));
        assert_eq!(*open, matches!(row.2, Nothing), "{method} {path}");
        let query = if row.3.starts_with('?') { row.3 } else { "" };
        let body = if query.is_empty() { row.3 } else { "" };
        for (bad, credentials) in [
            "",
            "authorization: Bearer chancery_live_0000000000000000_0\r\n",
            "authorization: Basic ZGFuYTpzZWNyZXQ=\r\n",
            "cookie: __Host-chancery=0000\r\n",
        ]
        .iter()
        .enumerate()
        {
            // Each from an address of its own: one that fails too often is not heard any more.
            let from = Ipv4Addr::new(127, 1 + bad as u8, 1, 1 + number as u8);
            let mut wire = Wire::from(&service, from);
            wire.write(
                format!(
                    "{} {}{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\
                     {credentials}\r\n{body}",
                    method.to_uppercase(),
                    filled(path),
                    body.len()
                )
                .as_bytes(),
            );
            let mut all = replies(&wire.rest());
            assert_eq!(all.len(), 1);
            let reply = all.remove(0).judged(&format!("{method} {path}"));
            let what = format!("{method} {path} {credentials}: {} {}", reply.status, reply.code());
            if *open {
                assert_ne!(reply.code(), "SESSION_ENDED", "{what}");
                continue;
            }
            if matches!(row.2, Collector) {
                assert!([401, 403].contains(&reply.status), "{what}");
                continue;
            }
            let code = if bad == 3 { "SESSION_ENDED" } else { "UNAUTHENTICATED" };
            assert_eq!((reply.status, reply.code().as_str()), (401, code), "{what}");
            assert!(reply.header("www-authenticate").starts_with("Bearer "), "{what}");
        }
    }
    service.stop();
}

/// Readers have a limit, and senders none but the room there is.
#[test]
fn who_reads_too_much_is_told_to_wait_and_who_sends_is_not() {
    let service = Service::start(&[]);
    let dana = Person::first(&service);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    let all = |count: usize, ask: &(dyn Fn(usize) -> (u16, String) + Sync)| {
        std::thread::scope(|scope| {
            let each = |thread: usize| {
                scope.spawn(move || (0..count).map(|n| ask(thread * count + n)).collect::<Vec<_>>())
            };
            let threads: Vec<_> = (0..8).map(each).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let sent = all(75, &|n| {
        let event = json!({"id": n.to_string(), "action": "user.login", "actor": {"id": "u1"}});
        service.refused(As::Token(&token), "/v1/events", &event)
    });
    let refused: Vec<_> = sent.into_iter().filter(|(status, _)| *status != 200).collect();
    assert_eq!(refused, []);
    let read = all(200, &|_| {
        let reply = service.ask(As::Token(&token), "GET", "/v1/session", None);
        (reply.status, reply.code())
    });
    assert!(read.iter().all(|(status, _)| [200, 429].contains(status)));
    assert!(read.contains(&(429, "RATE_LIMITED".to_owned())));
    service.stop();
}

/// One address that fails again and again is told to wait, and others are not.
#[test]
fn who_fails_too_often_is_not_heard_for_a_while() {
    let service = Service::start(&[]);
    let ask = |from: Ipv4Addr| {
        let mut wire = Wire::from(&service, from);
        wire.write(b"GET /v1/keys HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let reply = replies(&wire.rest()).remove(0).judged("GET /v1/keys");
        (reply.status, reply.code())
    };
    let here = Ipv4Addr::new(127, 9, 9, 9);
    let answers: Vec<_> = (0..40).map(|_| ask(here)).collect();
    assert_eq!(answers[0], (401, "UNAUTHENTICATED".to_owned()));
    assert_eq!(answers[39], (429, "TOO_MANY_FAILURES".to_owned()));
    assert_eq!(ask(Ipv4Addr::new(127, 8, 8, 8)).0, 401);
    service.stop();
}

/// Permissions that look at sources, or at what is the same for all of them.
const BY_SOURCE: [&str; 9] = [
    "events-correct",
    "events-append",
    "events-read",
    "events-open",
    "events-disclose",
    "proofs-read",
    "sources-read",
    "keys-read",
    "classes-read",
];

/// A person with every role that can be held to one source; each is, to `clinic`.
fn held_to_one_source(service: &Service, dana: &Person) -> Person {
    let roles = ["auditor", "developer", "privacy-officer", "readonly"];
    let grants = roles.map(
        |role| json!({"tenant": "main", "role": role, "sources": ["clinic"], "until": in_days(90)}),
    );
    let wish = json!({"act": "create-human", "login": "omar", "grants": grants});
    let made = service.post(dana.who(), "/v1/orders", &wish);
    let path = format!("/v1/humans/{}/invitation", made["job"].as_str().unwrap());
    let invitation = service.ask(dana.who(), "POST", &path, None).json();
    Person::enrol(service, invitation["token"].as_str().unwrap(), "omar")
}

/// A grant for one source reaches that source, and nothing that is the whole tenant's.
#[test]
fn who_is_held_to_one_source_acts_on_nothing_else() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let omar = held_to_one_source(&service, &dana);
    let forbidden = (403, "FORBIDDEN".to_owned());
    let (mut closed, mut open) = (0, 0);
    for row in PUBLIC.iter().chain(ADMINISTRATION) {
        let (May(permissions) | MayNow(permissions)) = row.2 else { continue };
        let by_source = permissions.iter().all(|permission| BY_SOURCE.contains(permission));
        let got = Walk::sent(&service, ("cookie", &omar.cookie), row, service.admin);
        let what = format!("{} {}: {got:?}", row.0, row.1);
        match by_source && *permissions != ["events-append"] {
            true => assert_ne!(got.0, 403, "{what}"),
            false => assert_eq!(got, forbidden, "{what}"),
        }
        *(if by_source { &mut open } else { &mut closed }) += 1;
    }
    assert!(closed > 25 && open > 10, "{closed} {open}");
    for (act, _, rest) in ACTS {
        let body: Value = serde_json::from_str(&format!("{{\"act\":\"{act}\",{rest}}}")).unwrap();
        assert_eq!(service.refused(omar.who(), "/v1/orders", &body), forbidden, "{act}");
    }
    // Roles that are nothing on a part are not given for one.
    let me = service.get(dana.who(), "/v1/session")["id"].clone();
    let give = |role: &str, more: Value| {
        let mut grant = json!({"tenant": "main", "role": role, "sources": ["clinic"]});
        for (name, value) in more.as_object().unwrap() {
            grant[name] = value.clone();
        }
        json!({"act": "grant-role", "human": me, "grants": [grant]})
    };
    for role in ["admin", "operations", "approver"] {
        let refused = service.refused(dana.who(), "/v1/orders", &give(role, json!({})));
        assert_eq!(refused, (422, "GRANT_SOURCES".to_owned()), "{role}");
    }
    // Nobody lends more than he has.
    service.post(dana.who(), "/v1/orders", &give("auditor", json!({"until": in_days(90)})));
    let token = |sources: Option<&[&str]>| {
        let mut wish = json!({"name": "x", "roles": ["auditor"], "expires": in_days(30)});
        if let Some(sources) = sources {
            wish["sources"] = json!(sources);
        }
        let reply = service.ask(dana.who(), "POST", "/v1/tokens", Some(&wish));
        (reply.status, reply.code())
    };
    let too_wide = (422, "TOKEN_ROLES".to_owned());
    assert_eq!(token(None), too_wide);
    assert_eq!(token(Some(&["clinic", "billing"])), too_wide);
    assert_eq!(token(Some(&["clinic"])), (201, String::new()));
    service.stop();
}
