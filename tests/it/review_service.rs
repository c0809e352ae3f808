//! What a review of the service found, held down: bodies that multiply, a store that fails and is
//! called healthy, batches that end nobody's waiting, counters that nobody moved.

use crate::support::service::{Answer, Service, get, json_of, with_token};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chancery::base::world::{Clock, Entropy};
use chancery::client::emitter::{Emitter, State};
use chancery::client::{Config, Surroundings};
use chancery::forward::events::HttpVault;
use chancery::store::disk::OsDisk;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const RAW: &str = "/services/collector/raw";

fn collect(service: &Service, path: &str, guid: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header(header::AUTHORIZATION, format!("Splunk {guid}"));
    service.call(request.body(body.into()).unwrap())
}

fn lines(service: &Service, token: &str, query: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(format!("/v1/events{query}"));
    let request = request.header(header::CONTENT_TYPE, "application/x-ndjson");
    service.call(with_token(request.body(body.into()).unwrap(), token))
}

/// A sample of the metrics.
fn sample(service: &Service, name: &str) -> f64 {
    let (status, _, text) = service.manage(service.as_admin(get("/metrics")));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    let line =
        text.lines().find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn ingested(service: &Service, protocol: &str, outcome: &str) -> f64 {
    let labels = format!("{{protocol=\"{protocol}\",outcome=\"{outcome}\"}}");
    sample(service, &format!("chancery_ingest_events_total{labels}"))
}

#[test]
fn what_an_address_says_of_every_line_is_no_lever() {
    let service = Service::start();
    let guid = service.guid("plain/gw");
    let size = service.main().size();
    let body = "a\n".repeat(1 << 19);
    for (host, body) in [(16 << 10, "a\n"), (16 << 10, body.as_str()), (1_000, body.as_str())] {
        let path = format!("{RAW}?host={}", "h".repeat(host));
        let (status, _, told) = collect(&service, &path, &guid, body.to_owned());
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        let told = json_of(&told);
        assert_eq!((&told["code"], &told["reason"]), (&json!(6), &json!("ENVELOPE_TOO_LARGE")));
    }
    assert_eq!(service.main().size(), size, "nothing of them was taken");
    let path = format!("{RAW}?host={}", "h".repeat(1_000));
    assert_eq!(collect(&service, &path, &guid, "a\nb\n").0, StatusCode::OK);
}

#[test]
fn a_line_that_begins_like_an_object_is_a_line() {
    let service = Service::start();
    let guid = service.guid("gateway");
    let before = service.main().size().0;
    let (status, _, told) = collect(&service, RAW, &guid, "{x} y\n{}\n");
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&told));
    let all = crate::support::clinic::read_all(&service.main());
    let own = all.iter().filter(|record| record.source.as_deref() == Some("gateway"));
    let said: Vec<_> = own
        .map(|record| {
            let text = |name| String::from_utf8(record.value(name).unwrap().to_vec()).unwrap();
            (text("action"), text("message"))
        })
        .collect();
    let line = |text: &str| ("\"log.line\"".to_owned(), format!("\"{text}\""));
    assert_eq!(said, [line("{x} y"), line("{}")]);
    assert!(service.main().size().0 > before);
}

#[test]
fn a_store_that_failed_is_not_ready_not_healthy_and_on_the_gauge() {
    let service = Service::start();
    let guid = service.guid("plain/gw");
    let health = || service.call(get("/services/collector/health"));
    let ready = || service.call(get("/readyz"));
    assert_eq!(collect(&service, RAW, &guid, "before\n").0, StatusCode::OK);
    assert_eq!((ready().0, health().0), (StatusCode::OK, StatusCode::OK));
    assert_eq!(sample(&service, "chancery_read_only"), 0.0);
    service.disk.fail_sync_at(1);
    assert_eq!(collect(&service, RAW, &guid, "x\n").0, StatusCode::SERVICE_UNAVAILABLE);
    // The disk is well again, and nothing is written until the vault is opened anew.
    service.disk.heal();
    assert_eq!(collect(&service, RAW, &guid, "y\n").0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _, body) = ready();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(&body), json!({"ready": false, "reasons": ["STORE_IO"]}));
    let (status, _, body) = health();
    assert_eq!((status, &json_of(&body)["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(18)));
    assert_eq!(sample(&service, "chancery_read_only"), 1.0);
}

#[test]
fn each_event_of_a_batch_hears_what_the_store_said() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["app"]));
    let event = "{\"action\":\"a.read\"}\n";
    assert_eq!(lines(&service, &token, "?partial=true", event).0, StatusCode::OK);
    service.disk.fail_sync_at(1);
    let (_, headers, body) = lines(&service, &token, "?partial=true", event.repeat(2));
    let body = json_of(&body);
    let results = body["results"].as_array().unwrap_or_else(|| panic!("{body}"));
    assert_eq!(results.len(), 2);
    for result in results {
        let problem = &result["problem"];
        assert_eq!((&problem["status"], &problem["code"]), (&json!(503), &json!("STORE_IO")));
    }
    assert_eq!(headers[header::RETRY_AFTER], "30");
    assert_eq!(ingested(&service, "ndjson", "failed"), 2.0);
    assert_eq!(ingested(&service, "ndjson", "overloaded"), 0.0);
}

#[test]
fn refusals_are_counted_and_are_no_acknowledgements() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["app"]));
    let guid = service.guid("okta");
    let acknowledged = || sample(&service, "chancery_ingest_ack_seconds_count");
    let (good, bad) = ("{\"action\":\"a.read\"}\n", "{\"action\":7}\n");
    assert_eq!(lines(&service, &token, "", good.repeat(2)).0, StatusCode::OK);
    assert_eq!((acknowledged(), ingested(&service, "ndjson", "accepted")), (1.0, 2.0));
    let whole = lines(&service, &token, "", format!("{good}{good}{bad}"));
    assert_eq!(whole.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ingested(&service, "ndjson", "refused"), 3.0);
    let each = lines(&service, &token, "?partial=true", bad.repeat(4));
    assert_eq!(each.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ingested(&service, "ndjson", "refused"), 7.0);
    // Bodies that cannot be told apart into events count as one.
    assert_eq!(lines(&service, &token, "", "\n\n").0, StatusCode::BAD_REQUEST);
    assert_eq!(ingested(&service, "ndjson", "refused"), 8.0);
    for body in ["{", "\"a line\"", ""] {
        let path = "/services/collector/event";
        assert_eq!(collect(&service, path, &guid, body).0, StatusCode::BAD_REQUEST);
    }
    assert_eq!(ingested(&service, "hec-event", "refused"), 3.0);
    assert_eq!(acknowledged(), 1.0, "none of them was one");
    let each = lines(&service, &token, "?partial=true", format!("{good}{bad}"));
    assert_eq!((each.0, acknowledged()), (StatusCode::OK, 2.0));
}

struct Surrounding;

impl Clock for Surrounding {
    fn wall(&self) -> chancery::base::unit::UtcNanos {
        chancery::base::unit::UtcNanos(1_795_780_800_000_000_000)
    }

    fn monotonic(&self) -> u64 {
        0
    }
}

impl Entropy for Surrounding {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn emitter(dir: &Path, address: SocketAddr, token: &str) -> Emitter {
    let url = format!("http://localhost:{}", address.port());
    let vault = HttpVault::new(&url, "app", token, &[], Duration::from_secs(60)).unwrap();
    let (clock, entropy) = (Arc::new(Surrounding), Arc::new(Surrounding));
    let around = Surroundings { disk: Arc::new(OsDisk), clock, entropy };
    Emitter::open(around, &Config::new("app", dir), Arc::new(vault)).unwrap()
}

/// More than the vault singles out of one batch.
#[test]
fn two_hundred_events_with_used_ids_are_all_named_and_nobody_waits_for_ever() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["app"]));
    let event =
        |n: u64, value: u64| json!({"id": format!("e-{n}"), "action": "a.b", "data": value});
    let all = |value| (0..200).map(|n| format!("{}\n", event(n, value))).collect::<String>();
    assert_eq!(lines(&service, &token, "", all(1)).0, StatusCode::OK);
    let (_, _, body) = lines(&service, &token, "?partial=true", all(2));
    let results = json_of(&body)["results"].as_array().unwrap().clone();
    let of = |code: &str, status: u16| {
        let same = |r: &&Value| r["problem"]["code"] == code && r["problem"]["status"] == status;
        results.iter().filter(same).count()
    };
    assert_eq!((of("DUPLICATE_DIFFERS", 409), of("BATCH_REFUSED", 503)), (64, 136));
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    let stats = service.serving(move |address| {
        let emitter = emitter(&home, address, &token);
        let ready: Vec<_> = (0..200)
            .map(|n| emitter.prepare(event(n, 2).to_string().as_bytes()).unwrap())
            .collect();
        emitter.put(&ready).unwrap();
        emitter.flush(Some(Duration::from_secs(120)));
        (emitter.stats().state, emitter.close())
    });
    assert_ne!(stats.0, State::Parked, "{:?}", stats.1);
    assert_eq!((stats.1.counts.dead, stats.1.waiting_bytes), (200, 0), "{:?}", stats.1);
    let dead = std::fs::read_to_string(dir.path().join("dead.ndjson")).unwrap();
    let codes = dead.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(codes.map(|dead| dead["code"].clone()).all(|code| code == "DUPLICATE_DIFFERS"));
}

/// What could not be written down is written down later.
#[test]
fn refusals_outlive_an_entry_that_cannot_be_written() {
    let service = Service::start();
    service.app.write_refusals().unwrap();
    let here = "192.0.2.1".parse().unwrap();
    service.app.gate.refused("UNAUTHENTICATED", here).unwrap();
    service.disk.fail_sync_at(1);
    service.app.write_refusals().unwrap_err();
    service.app.gate.refused("UNAUTHENTICATED", here).unwrap();
    service.app.write_refusals().unwrap_err();
    let kept = service.app.gate.drain();
    assert_eq!(kept.values().copied().collect::<Vec<_>>(), [2]);
}
