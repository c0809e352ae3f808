//! Bad input: what no client should send and somebody will. Each is a problem that names what is
//! wrong and never repeats a value, or a closed connection; and nothing of it is in the log.

use crate::service::person::{Person, in_days};
use crate::service::raw::{Wire, exchange, replies};
use crate::service::stage::{As, Reply, Service};
use serde_json::{Value, json};
use std::io::Write;

/// A value that stands for a person: in no refusal.
const PERSON: &str = "Quellmalz";

struct Desk {
    service: Service,
    dana: Person,
    token: String,
}

impl Desk {
    fn open() -> Desk {
        let service = Service::start(&[]);
        let dana = Person::first(&service);
        let more = json!({"expires": in_days(30)});
        let token = dana.token(&service, &["ingest", "privacy-officer", "readonly"], &more);
        Desk { service, dana, token }
    }

    /// Sends a body with these headers: status, code, field, limit, detail.
    fn send(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, String, Reply) {
        // The token sends and reads; the person manages.
        let bearer = format!("Bearer {}", self.token);
        let manages = ["/v1/tokens", "/v1/schedules"].iter().any(|p| path.starts_with(p));
        let who = match manages {
            true => ("cookie", self.dana.cookie.as_str()),
            false => ("authorization", bearer.as_str()),
        };
        let headers = [&[who], headers].concat();
        let body = (method != "GET" && method != "DELETE").then(|| body.to_vec());
        let reply = self.service.send(self.service.admin, (method, path), &headers, body);
        let text = reply.text();
        assert!(!text.contains(PERSON) || reply.status == 200, "{method} {path}: {text}");
        let field = match reply.code().is_empty() {
            true => String::new(),
            false => reply.json()["field"].as_str().unwrap_or_default().to_owned(),
        };
        (reply.status, reply.code(), field, reply)
    }

    fn check(
        &self,
        to: (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
        expect: (u16, &str, &str),
    ) {
        let (status, code, field, reply) = self.send(to, headers, body.as_bytes());
        let got = (status, code.as_str(), field.as_str());
        assert_eq!(got, expect, "{to:?} {headers:?} {body}: {}", reply.text());
    }

    /// Events in the log of the tenant.
    fn events(&self) -> usize {
        let page = self.service.get(As::Token(&self.token), "/v1/events?kind=event&limit=200");
        page["events"].as_array().unwrap().len()
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("POST", "/v1/events?source=clinic");
const LOOKUP: (&str, &str) = ("POST", "/v1/subjects/lookup");
const TOKENS: (&str, &str) = ("POST", "/v1/tokens");
const JOB: (&str, &str) = ("PUT", "/v1/schedules/nightly");

/// An event with one member more.
fn event(more: &str) -> String {
    format!(r#"{{"id":"x","action":"user.login","actor":{{"id":"u1","type":"user"}}{more}}}"#)
}

fn types(desk: &Desk) {
    let unsupported = (415, "CONTENT_TYPE", "");
    let good = event("");
    for wrong in [
        "text/plain",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        desk.check(EVENTS, &[("content-type", wrong)], &good, unsupported);
        desk.check(LOOKUP, &[("content-type", wrong)], "{}", unsupported);
    }
    desk.check(EVENTS, &[], &good, unsupported);
    desk.check(EVENTS, &[JSON, JSON], &good, unsupported);
    let packing = (415, "CONTENT_ENCODING", "");
    desk.check(EVENTS, &[JSON, ("content-encoding", "br")], &good, packing);
    let unpackable = (400, "BODY_BROKEN", "");
    desk.check(EVENTS, &[JSON, ("content-encoding", "gzip")], &good, unpackable);
    desk.check(EVENTS, &[JSON, ("content-encoding", "zstd")], &good, unpackable);
}

fn shapes(desk: &Desk) {
    for (body, expect) in [
        ("", (400, "JSON_SYNTAX", "")),
        ("{", (400, "JSON_SYNTAX", "")),
        ("[]", (400, "BATCH_EMPTY", "")),
        ("\"Quellmalz\"", (422, "EVENT_NOT_OBJECT", "")),
        (&event(",\"id\":\"Quellmalz\""), (422, "JSON_DUPLICATE_KEY", "")),
        (&event(",\"data\":{\"a\":1,\"a\":2}"), (422, "JSON_DUPLICATE_KEY", "")),
        (&event(",\"severity\":\"3\""), (422, "FIELD_TYPE", "severity")),
        (&event(",\"severity\":11"), (422, "FIELD_VALUE", "severity")),
        (&event(",\"time\":\"2026-11-21T05:00:00\""), (422, "TIME_INVALID", "time")),
        (&event(",\"time\":1763700000"), (422, "TIME_INVALID", "time")),
        (&event(",\"outcome\":\"perhaps\""), (422, "FIELD_VALUE", "outcome")),
        (&event(",\"password\":\"Quellmalz\""), (422, "FIELD_REFUSED", "credential.password")),
    ] {
        desk.check(EVENTS, &[JSON], body, expect);
    }
    for (body, expect) in [
        ("", (400, "JSON_SYNTAX", "")),
        ("{}", (422, "FIELD_REQUIRED", "identifiers")),
        (r#"{"identifiers":[],"identifiers":[]}"#, (400, "JSON_DUPLICATE_KEY", "")),
        (r#"{"identifers":[]}"#, (422, "MEMBER_UNKNOWN", "identifers")),
        (r#"{"identifiers":"Quellmalz"}"#, (422, "FIELD_TYPE", "identifiers")),
        (
            r#"{"identifiers":[{"kind":"email","value":7}]}"#,
            (422, "FIELD_TYPE", "identifiers[0].value"),
        ),
        (r#"{"identifiers":[]}"#, (422, "SUBJECT_EMPTY", "identifiers")),
        (
            r#"{"identifiers":[{"kind":"Quellmalz","value":"x"}]}"#,
            (422, "IDENTIFIER_KIND", "identifiers"),
        ),
    ] {
        desk.check(LOOKUP, &[JSON], body, expect);
    }
    let (.., reply) = desk.send(LOOKUP, &[JSON], br#"{"identifers":[]}"#);
    assert!(reply.text().contains("did you mean identifiers?"), "{}", reply.text());
    for (body, expect) in [
        (
            r#"{"name":"x","roles":["ingest"],"expires":"2027-01-31T00:00:00"}"#,
            (422, "FIELD_VALUE", "expires"),
        ),
        (r#"{"name":"x","roles":["ingest"],"expires":1801353600}"#, (422, "FIELD_TYPE", "expires")),
        (r#"{"name":"x","roles":["emperor"]}"#, (422, "FIELD_VALUE", "roles[0]")),
        (r#"{"nam":"x","roles":["ingest"]}"#, (422, "MEMBER_UNKNOWN", "nam")),
    ] {
        desk.check(TOKENS, &[JSON], body, expect);
    }
    let seconds = r#"{"task":"scrub","cron":"0 3 * * *","jitter_seconds":"60"}"#;
    desk.check(JOB, &[JSON], seconds, (422, "FIELD_TYPE", "jitter_seconds"));
    let whole = r#"{"task":"scrub","cron":"0 3 * * *"}"#;
    desk.check(JOB, &[JSON], whole, (428, "PRECONDITION_REQUIRED", ""));
}

fn queries(desk: &Desk) {
    for (query, expect) in [
        ("limt=5", (400, "PARAMETER_UNKNOWN", "limt")),
        ("limit=5&limit=6", (400, "PARAMETER_TWICE", "limit")),
        ("limit=five", (400, "PARAMETER_VALUE", "limit")),
        ("limit=0", (400, "PARAMETER_VALUE", "limit")),
        ("limit=201", (400, "PARAMETER_VALUE", "limit")),
        ("class=Quellmalz", (400, "PARAMETER_VALUE", "class")),
        ("cursor=Quellmalz", (400, "CURSOR_INVALID", "cursor")),
    ] {
        desk.check(("GET", &format!("/v1/events?{query}")), &[], "", expect);
    }
    for (path, field) in [
        ("/v1/retention/plan?until=2027-01-31T00:00:00", "until"),
        ("/v1/retention/plan?until=tomorrow", "until"),
        ("/v1/growth?from=-1", "from"),
    ] {
        desk.check(("GET", path), &[], "", (400, "PARAMETER_VALUE", field));
    }
    for query in ["from=2026-11-21T05:00:00", "to=yesterday", "outcome=perhaps", "kind=x"] {
        let field = query.split('=').next().unwrap();
        let expect = (400, "FILTER_VALUE_INVALID", field);
        desk.check(("GET", &format!("/v1/events?limit=5&{query}")), &[], "", expect);
    }
}

fn paths(desk: &Desk) {
    for (path, code) in [
        ("/v1/events/%2e%2e", "ENTRY_UNKNOWN"),
        ("/v1/events/..%2f..%2fetc%2fpasswd", "ENTRY_UNKNOWN"),
        ("/v1/events/0%2fproof", "ENTRY_UNKNOWN"),
        ("/v1/events/+0", "ENTRY_UNKNOWN"),
        ("/v1/events/-1", "ENTRY_UNKNOWN"),
        ("/v1/events/18446744073709551615", "ENTRY_UNKNOWN"),
        ("/v1/events/18446744073709551616", "ENTRY_UNKNOWN"),
        ("/v1/events/%00", "ENTRY_UNKNOWN"),
        ("/v1/erasures/%2e%2e%2f%2e%2e", "ERASURE_UNKNOWN"),
        ("/v1/orders/..%2fcheckpoint", "ORDER_UNKNOWN"),
        ("/v1/subjects/%2e%2e/preview", "SUBJECT_UNKNOWN"),
        ("/v1/tile/../../../../etc/passwd", "TILE_UNKNOWN"),
        ("/v1/tile/%2e%2e/%2e%2e/vault.toml", "TILE_UNKNOWN"),
        ("/v1/tile/0/..%2f000", "TILE_UNKNOWN"),
        ("/v1/tile/entries/000", "TILE_UNKNOWN"),
        ("/v1/schedules/%2e%2e", "SCHEDULE_UNKNOWN"),
        ("/v1/../v1/keys", "ROUTE_UNKNOWN"),
        ("/v1/keys/", "ROUTE_UNKNOWN"),
        ("//v1/keys", "ROUTE_UNKNOWN"),
        ("/V1/keys", "ROUTE_UNKNOWN"),
        ("/", "ROUTE_UNKNOWN"),
        ("/metrics%00", "ROUTE_UNKNOWN"),
    ] {
        desk.check(("GET", path), &[], "", (404, code, ""));
    }
    desk.check(("DELETE", "/v1/tokens/%2e%2e%2f"), &[], "", (404, "TOKEN_UNKNOWN", ""));
    desk.check(("GET", "/v1/events/%ff"), &[], "", (400, "REQUEST_MALFORMED", ""));
    let (status, code, _, reply) = desk.send(("PUT", "/v1/events"), &[JSON], b"{}");
    assert_eq!((status, code.as_str()), (405, "METHOD_NOT_ALLOWED"));
    let mut allowed: Vec<&str> = reply.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

fn sizes(desk: &Desk) {
    // Refused by what it says of itself, before anything of it is read.
    for (path, limit) in [(EVENTS.1, 16 << 20), (LOOKUP.1, 1 << 20)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            desk.token,
            limit + 1
        );
        let mut all = exchange(&desk.service, &head);
        assert_eq!(all.len(), 1, "{path}");
        let reply = all.remove(0).judged(path);
        assert_eq!((reply.status, reply.code().as_str()), (413, "BODY_TOO_LARGE"));
        assert_eq!(reply.json()["limit"], limit);
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b' '; 1 << 20];
    (0..64).for_each(|_| packer.write_all(&piece).unwrap());
    let bombs = [
        ("gzip", packer.finish().unwrap()),
        ("zstd", zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap()),
    ];
    for (packing, bomb) in bombs {
        assert!(bomb.len() < 1 << 20, "{packing}");
        let headers = [JSON, ("content-encoding", packing)];
        let (status, code, ..) = desk.send(EVENTS, &headers, &bomb);
        assert_eq!((status, code.as_str()), (413, "BODY_TOO_LARGE"), "{packing}");
    }
    let lines = (event("") + "\n").repeat(10_001);
    let (status, code, _, reply) =
        desk.send(EVENTS, &[("content-type", "application/x-ndjson")], lines.as_bytes());
    assert_eq!((status, code.as_str()), (413, "BATCH_TOO_LARGE"));
    assert_eq!(reply.json()["limit"], 10_000);
}

/// All or nothing unless asked otherwise, and then a result for each.
fn batches(desk: &Desk) {
    let events = desk.events();
    let bad = event(",\"severity\":99");
    let mixed = format!("[{},{bad}]", event("").replace("\"x\"", "\"m1\""));
    let (status, code, field, reply) = desk.send(EVENTS, &[JSON], mixed.as_bytes());
    assert_eq!((status, code.as_str(), field.as_str()), (422, "FIELD_VALUE", "severity"));
    assert_eq!(reply.json()["position"], 1);
    assert_eq!(desk.events(), events, "nothing of the batch");
    let partial = ("POST", "/v1/events?source=clinic&partial=true");
    let (status, .., reply) = desk.send(partial, &[JSON], mixed.as_bytes());
    assert_eq!(status, 200, "{}", reply.text());
    let results = reply.json()["results"].clone();
    assert!(results[0]["receipt"]["index"].is_string(), "{results}");
    assert_eq!(results[1]["problem"]["code"], "FIELD_VALUE");
    assert_eq!(desk.events(), events + 1);
    // Where none was taken the results say why, each.
    let (status, code, _, reply) = desk.send(partial, &[JSON], format!("[{bad},{bad}]").as_bytes());
    assert_eq!((status, code.as_str()), (422, ""), "{}", reply.text());
    let results = reply.json()["results"].clone();
    let codes: Vec<&Value> =
        results.as_array().unwrap().iter().map(|one| &one["problem"]["code"]).collect();
    assert_eq!(codes, ["FIELD_VALUE", "FIELD_VALUE"]);
    assert_eq!(desk.events(), events + 1);
}

fn only(mut all: Vec<Reply>) -> (u16, String) {
    assert_eq!(all.len(), 1, "one answer, then the connection is closed");
    let reply = all.remove(0);
    (reply.status, reply.code())
}

fn hosts(desk: &Desk) {
    let ask = |host: &str| {
        let text = format!("GET /livez HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        only(exchange(&desk.service, &text))
    };
    let port = desk.service.admin.port();
    for known in ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8844"] {
        assert_eq!(ask(&format!("host: {known}\r\n")).0, 200, "{known}");
    }
    assert_eq!(ask(&format!("host: localhost:{port}\r\n")).0, 200);
    let misdirected = (421, "HOST_UNKNOWN".to_owned());
    for unknown in [
        "host: evil.example\r\n",
        "host: localhost.evil.example\r\n",
        "host: evil.example\r\nx-forwarded-host: localhost\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: localhost\r\nhost: localhost\r\n",
        "host: \r\n",
        "",
    ] {
        assert_eq!(ask(unknown), misdirected, "{unknown:?}");
    }
    let absolute = "GET https://evil.example/livez HTTP/1.1\r\nhost: localhost\r\n\
                    connection: close\r\n\r\n";
    assert_eq!(only(exchange(&desk.service, absolute)), misdirected);
    // HTTP/1.0 knows no Host, and closes after its answer.
    assert_eq!(only(exchange(&desk.service, "GET /livez HTTP/1.0\r\n\r\n")).0, 200);
    let foreign = "GET /livez HTTP/1.0\r\nhost: evil.example\r\n\r\n";
    assert_eq!(only(exchange(&desk.service, foreign)), misdirected);
}

/// Two readers of one message must not see two messages: what could be read two ways is refused,
/// or is the last thing read from its connection.
fn smuggling(desk: &Desk) {
    let second = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let refused = |head: &str, body: &str| {
        let all = exchange(&desk.service, &format!("{head}\r\n{body}{second}"));
        assert!(all.len() <= 1, "{head:?}: the second request was answered");
        if let Some(reply) = all.first() {
            assert!((400..500).contains(&reply.status), "{head:?}: {}", reply.status);
        }
    };
    let post =
        "POST /v1/enrolment HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let both = [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ];
    for both in both {
        refused(&format!("{post}{both}"), "0\r\n\r\n");
    }
    for (headers, body) in [
        ("content-length: 5\r\ncontent-length: 6\r\n", "hello"),
        ("content-length: 5, 6\r\n", "hello"),
        ("content-length: +5\r\n", "hello"),
        ("content-length: 0x5\r\n", "hello"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"),
        ("x: a\r\n folded\r\n", ""),
        ("x: a\nhost: evil.example\r\nbad header\r\n", ""),
    ] {
        refused(&format!("{post}{headers}"), body);
    }
    refused("POST /v1/enrolment HTTP/1.0\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n");
    refused("GET /livez HTTP/9.9\r\nhost: localhost\r\n", "");
    refused("GET /livez\r\nhost: localhost\r\n", "");
    refused(
        &format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n", "a".repeat(70_000)),
        "",
    );
    // What is plain goes on: two requests on one connection, two answers.
    let plain = format!("{second}GET /livez HTTP/1.0\r\nhost: localhost\r\n\r\n");
    assert_eq!(exchange(&desk.service, &plain).len(), 2);
}

/// Whoever leaves in the middle of a body leaves nothing behind.
fn leavers(desk: &Desk) {
    let events = desk.events();
    let line = event("").replace("\"x\"", "\"left\"") + "\n";
    let head = format!(
        "POST /v1/events?source=clinic HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\n",
        desk.token
    );
    for (length, body) in [
        (format!("content-length: {}\r\n\r\n", line.len() * 3), line.repeat(2)),
        (
            "transfer-encoding: chunked\r\n\r\n".to_owned(),
            format!("{:x}\r\n{line}\r\n", line.len()),
        ),
    ] {
        let mut wire = Wire::new(&desk.service);
        wire.write(format!("{head}{length}{body}").as_bytes());
        wire.leave();
    }
    // One that says what is wrong: the body ends before its length.
    let mut wire = Wire::new(&desk.service);
    wire.write(format!("{head}content-length: 100\r\nconnection: close\r\n\r\n{{").as_bytes());
    wire.end();
    for reply in replies(&wire.rest()) {
        assert_eq!((reply.status, reply.code().as_str()), (400, "BODY_BROKEN"));
    }
    let sent = event("").replace("\"x\"", "\"after\"");
    let taken =
        desk.service.post(As::Token(&desk.token), EVENTS.1, &serde_json::from_str(&sent).unwrap());
    assert_eq!(taken["receipts"][0]["duplicate"], false);
    assert_eq!(desk.events(), events + 1);
}

/// Whoever is refused before the body was sent may finish sending, and then reads why.
fn talkers(desk: &Desk) {
    let mut wire = Wire::new(&desk.service);
    wire.write(
        b"POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
          content-length: 65536\r\n\r\n{",
    );
    let mut answer = wire.first();
    for piece in 0..60 {
        assert!(wire.takes(&[b' '; 1000]), "piece {piece}: the connection was closed on it");
    }
    wire.end();
    answer.extend(wire.rest());
    let all = replies(&answer);
    assert_eq!((all.len(), all[0].status, all[0].code()), (1, 401, "UNAUTHENTICATED".to_owned()));
}

#[test]
fn bad_input_is_a_problem_that_names_it_and_leaves_nothing_in_the_log() {
    let desk = Desk::open();
    let events = desk.events();
    types(&desk);
    shapes(&desk);
    queries(&desk);
    paths(&desk);
    sizes(&desk);
    hosts(&desk);
    smuggling(&desk);
    assert_eq!(desk.events(), events, "none of it is in the log");
    batches(&desk);
    leavers(&desk);
    talkers(&desk);
    let home = desk.service.stop();
    // Nothing that was under way came in behind it.
    home.trust();
    let said = home.ok(&["verify", "--trust", "trust.policy"]);
    let verdict: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        verdict["data"]["kinds"]["event"], 2,
        "one of a batch, one after the leavers: {said}"
    );
}
