//! Splunk's collector protocol over the whole service: what products send is durable before they
//! are told so, and what they are told has the shape they know.

mod stock;

use crate::support::clinic::{read_all, text};
use crate::support::service::{Answer, Service, json_of, post, with_token};
use crate::support::world::{config, world};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chancery::base::record::Record;
use chancery::base::unit::UtcNanos;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const EVENT: &str = "/services/collector/event";
const CHANNEL: &str = "0a6b3b1e-9d3c-4f0e-8a53-d2f1c7f7e001";
const OKTA: &str = concat!(
    r#"{"uuid":"u-1","published":"2026-11-20T10:00:00.000Z","eventType":"user.session.start","#,
    r#""severity":"INFO","outcome":{"result":"SUCCESS"},"actor":{"id":"00u1","type":"User","#,
    r#""alternateId":"ann@clinic.example","displayName":"Ann"}}"#
);
const META: &str = r#""time":1763632800.123,"host":"log-stream","source":"OktaIM2","index":"main""#;

fn request(path: &str, guid: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header(header::AUTHORIZATION, format!("Splunk {guid}"));
    request.body(body.into()).unwrap()
}

fn send(service: &Service, path: &str, guid: &str, body: impl Into<Body>) -> Answer {
    service.call(request(path, guid, body))
}

/// Status, Splunk's number, place of the event, Chancery's code.
fn told(answer: &Answer) -> (u16, u64, Option<u64>, String) {
    let (status, headers, body) = answer;
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    let body = json_of(body);
    let reason = body["reason"].as_str().unwrap_or_default().to_owned();
    let code = body["code"].as_u64().expect("a code");
    assert!(body["text"].is_string());
    (status.as_u16(), code, body["invalid-event-number"].as_u64(), reason)
}

/// The events of a source.
fn of(vault: &Vault, source: &str) -> Vec<Record> {
    let own = |record: &Record| record.source.as_deref() == Some(source);
    read_all(vault).into_iter().filter(own).collect()
}

#[test]
fn a_products_record_goes_through_its_mapping_and_the_envelope_is_sealed_beside_it() {
    let service = Service::start();
    let guid = service.guid("okta/clinic");
    let body = format!("{{{META},\"event\":{OKTA}}}");
    let answer = send(&service, "/services/collector", &guid, body.clone());
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(json_of(&answer.2), json!({"text": "Success", "code": 0}));
    let found = of(&service.main(), "okta/clinic");
    let [record] = found.as_slice() else { panic!("{} records", found.len()) };
    assert_eq!(record.entry.head.time, UtcNanos::parse("2026-11-20T10:00:00Z").unwrap());
    let kept = String::from_utf8_lossy(record.value("data").unwrap()).into_owned();
    let envelope = format!("\"hec_envelope\":{{{META}}}");
    assert!(kept.contains(&envelope), "{kept}");
    // The source is the token's, whatever the envelope says; the person is found.
    assert!(text(record).contains("ann@clinic.example"));
    assert_eq!(record.groups.len(), 1, "sealed to the one person it names");
    // Sent again after an answer that was lost: once in the log.
    assert_eq!(told(&send(&service, EVENT, &guid, body)), (200, 0, None, String::new()));
    assert_eq!(of(&service.main(), "okta/clinic").len(), 1);
}

#[test]
fn lines_of_text_become_events_with_the_envelopes_time() {
    let service = Service::start();
    let guid = service.guid("gateway");
    let body = "{\"time\":\"1763632800.5\",\"sourcetype\":\"syslog\",\"event\":\"door 7 opened\"}\n\
                {\"event\":{\"action\":\"door.open\",\"data\":7},\"time\":1763632801}";
    assert_eq!(told(&send(&service, "/services/collector/event/1.0", &guid, body)).1, 0);
    let found = of(&service.main(), "gateway");
    assert_eq!(found.len(), 2);
    let at = |text: &str| UtcNanos::parse(text).unwrap();
    assert_eq!(found[0].entry.head.time, at("2025-11-20T10:00:00.5Z"));
    assert_eq!(found[0].value("message").unwrap(), b"\"door 7 opened\"");
    assert_eq!(found[1].entry.head.time, at("2025-11-20T10:00:01Z"));
    assert_eq!(found[1].value("action").unwrap(), b"\"door.open\"");
    let raw = "/services/collector/raw?host=gw-1&channel=0a6b3b1e-9d3c-4f0e-8a53-d2f1c7f7e001";
    let answer = send(&service, raw, &guid, "one\r\n\ntwo\n");
    assert_eq!(json_of(&answer.2), json!({"text": "Success", "code": 0, "ackId": 0}));
    let found = of(&service.main(), "gateway");
    assert_eq!(found.len(), 4);
    assert_eq!(found[3].value("message").unwrap(), b"\"two\"");
    assert!(text(&found[3]).contains(r#""hec_envelope":{"host":"gw-1"}"#));
}

#[test]
fn the_mapping_plain_takes_anything_whole() {
    let service = Service::start();
    let guid = service.guid("plain/fluent");
    let whole = r#"{"log":"x","severity":"INFO","n":[1,{"a":null}]}"#;
    let body = format!("{{\"event\":{whole},\"time\":1763632800}}{{\"event\":7}}");
    assert_eq!(told(&send(&service, EVENT, &guid, body)).1, 0);
    let found = of(&service.main(), "plain/fluent");
    assert_eq!(found[0].value("message").unwrap(), whole.as_bytes());
    assert_eq!(found[1].value("message").unwrap(), b"7");
}

#[test]
fn refusals_have_splunks_numbers_and_nothing_is_taken() {
    let service = Service::start();
    let guid = service.guid("okta");
    let size = service.main().size();
    let ok = format!("{{\"event\":{OKTA}}}");
    let third = format!("{ok}{ok}{{\"event\":{{\"uuid\":\"x\"}}}}");
    for (path, body, want) in [
        (EVENT, String::new(), (400, 5, None, "")),
        (EVENT, format!("{ok}{{\"host\":\"h\"}}"), (400, 12, Some(1), "")),
        (EVENT, "{\"event\":\"\"}".into(), (400, 13, Some(0), "")),
        (EVENT, format!("{ok}{{\"event\":{OKTA},\"fields\":1}}"), (400, 15, Some(1), "")),
        (EVENT, format!("{ok}{{"), (400, 6, Some(1), "JSON_SYNTAX")),
        (EVENT, "{\"event\":\"a line\"}".into(), (400, 6, Some(0), "EVENT_NOT_OBJECT")),
        (EVENT, third, (400, 6, Some(2), "FIELD_REQUIRED")),
        ("/services/collector/raw", "a line\n".into(), (400, 6, Some(0), "EVENT_NOT_OBJECT")),
        ("/services/collector/event?channel=7", ok.clone(), (400, 11, None, "")),
    ] {
        let answer = send(&service, path, &guid, body.clone());
        let (status, code, event, reason) = told(&answer);
        assert_eq!((status, code, event, reason.as_str()), want, "{path} {body}");
        assert!(!String::from_utf8_lossy(&answer.2).contains("ann@"), "repeats a value");
    }
    assert_eq!(service.main().size(), size);
}

#[test]
fn tokens_stand_in_the_header_and_their_refusals_are_splunks() {
    let service = Service::start();
    let guid = service.guid("plain");
    let body = r#"{"event":"x"}"#;
    let with = |value: Option<&str>, path: &str| {
        let mut request = Request::post(path);
        if let Some(value) = value {
            request = request.header(header::AUTHORIZATION, value);
        }
        let (status, code, ..) = told(&service.call(request.body(Body::from(body)).unwrap()));
        (status, code)
    };
    let right = format!("Splunk {guid}");
    assert_eq!(with(Some(&right), EVENT), (200, 0));
    assert_eq!(with(Some(&right.to_uppercase()), EVENT), (200, 0), "either case");
    assert_eq!(with(None, EVENT), (401, 2));
    assert_eq!(with(Some("Basic eDp5"), EVENT), (401, 3));
    assert_eq!(with(Some(&guid), EVENT), (401, 3));
    assert_eq!(with(Some(&format!("Splunk {CHANNEL}")), EVENT), (403, 4));
    assert_eq!(with(Some(&format!("Bearer {guid}")), EVENT), (403, 4));
    assert_eq!(with(None, &format!("{EVENT}?token={guid}")), (400, 16));
    assert_eq!(with(Some(&right), &format!("{EVENT}?token={guid}")), (400, 16));
    let api = service.token(&["ingest"], Some(&["plain"]));
    assert_eq!(with(Some(&format!("Bearer {api}")), EVENT), (200, 0));
    for (roles, sources) in [(["ingest"], None), (["readonly"], Some(&["plain"][..]))] {
        let api = service.token(&roles, sources);
        assert_eq!(with(Some(&format!("Bearer {api}")), EVENT), (403, 4), "{roles:?}");
    }
    let own = service.token(&["ingest"], Some(&["chancery"]));
    assert_eq!(with(Some(&format!("Bearer {own}")), EVENT), (403, 4), "the service's own name");
    let forged = with_token(post("/v1/events", &json!({"action": "a"})), &own);
    assert_eq!(json_of(&service.call(forged).2)["code"], "SOURCE_RESERVED");
    // Revoked.
    let listed = service.as_admin(crate::support::service::get("/v1/tokens"));
    let tokens = json_of(&service.manage(listed).2)["tokens"].clone();
    for token in tokens.as_array().unwrap() {
        let path = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
        let request = Request::builder().method(Method::DELETE).uri(path);
        let request = service.as_admin(request.body(Body::empty()).unwrap());
        assert_eq!(service.manage(request).0, StatusCode::NO_CONTENT);
    }
    assert_eq!(with(Some(&right), EVENT), (403, 1));
}

#[test]
fn numbers_of_a_channel_are_acknowledged_once_given() {
    let service = Service::start();
    let guid = service.guid("plain");
    let on = |path: &str, channel: Option<&str>, body: &str| {
        let mut request = request(path, &guid, body.to_owned());
        if let Some(channel) = channel {
            request.headers_mut().insert("x-splunk-request-channel", channel.parse().unwrap());
        }
        json_of(&service.call(request).2)
    };
    let ack = "/services/collector/ack";
    for number in 0..2 {
        let answer = on(EVENT, Some(CHANNEL), r#"{"event":"x"}"#);
        assert_eq!(answer, json!({"text": "Success", "code": 0, "ackId": number}));
    }
    let asked = r#"{"acks":[0,1,2]}"#;
    let want = json!({"acks": {"0": true, "1": true, "2": false}});
    assert_eq!(on(ack, Some(CHANNEL), asked), want);
    assert_eq!(on(ack, Some(CHANNEL), asked), want, "an answer may be lost");
    let other = "0a6b3b1e-9d3c-4f0e-8a53-d2f1c7f7e002";
    assert_eq!(on(ack, Some(other), r#"{"acks":[0]}"#), json!({"acks": {"0": false}}));
    assert_eq!(on(ack, None, asked)["code"], 10);
    assert_eq!(on(ack, Some("no-guid"), asked)["code"], 11);
    assert_eq!(on(ack, Some(CHANNEL), "")["code"], 5);
    assert_eq!(on(ack, Some(CHANNEL), r#"{"acks":["0"]}"#)["code"], 6);
}

#[test]
fn packed_bodies_health_and_other_methods() {
    let service = Service::start();
    let guid = service.guid("plain");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(br#"{"event":"packed"}"#).unwrap();
    let mut packed = request(EVENT, &guid, packer.finish().unwrap());
    packed.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    assert_eq!(told(&service.call(packed)).1, 0);
    assert_eq!(of(&service.main(), "plain")[0].value("message").unwrap(), b"\"packed\"");
    for (method, path) in [
        (Method::GET, "/services/collector/health"),
        (Method::POST, "/services/collector/health"),
        (Method::GET, "/services/collector/health/1.0"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, _, body) = service.call(request);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(json_of(&body), json!({"text": "HEC is healthy", "code": 17}));
    }
    let (status, headers, body) = service.call(crate::support::service::get(EVENT));
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json_of(&body)["code"], 405);
    assert_eq!(headers[header::ALLOW], "POST");
}

#[test]
fn what_was_answered_survives_any_loss_of_power() {
    let service = Service::start();
    let guid = service.guid("plain");
    let body = r#"{"event":"before the lights went out"}"#;
    assert_eq!(told(&send(&service, EVENT, &guid, body)).1, 0);
    for seed in 0..20 {
        let disk = service.disk.crash(seed);
        let config = Config { accept_time: true, ..config(&Path::new("/sim").join("main")) };
        let vault = Vault::open(world(Arc::new(disk), &service.clock, 99), &config).unwrap();
        let found = of(&vault, "plain");
        assert_eq!(found.len(), 1, "seed {seed}");
        assert!(text(&found[0]).contains("before the lights went out"));
    }
}

#[test]
fn a_full_disk_is_503_with_retry_after_and_never_a_success() {
    let service = Service::start();
    let guid = service.guid("plain");
    let retry = |headers: &HeaderMap| headers.get(header::RETRY_AFTER).cloned();
    service.disk.full_after(0);
    let answer = send(&service, EVENT, &guid, r#"{"event":"x"}"#);
    let (status, code, _, reason) = told(&answer);
    assert_eq!((status, code), (503, 9), "{reason}");
    assert!(retry(&answer.1).is_some());
    service.disk.heal();
    let found: Value = json!(of(&service.main(), "plain").len());
    assert_eq!(found, json!(0));
}

#[test]
fn a_question_for_acknowledgements_has_its_limit() {
    let service = Service::start();
    let guid = service.guid("plain");
    let ask = |count: u64| {
        let numbers = (0..count).collect::<Vec<_>>();
        let body = json!({"acks": numbers}).to_string();
        let path = "/services/collector/ack?channel=00000000-0000-4000-8000-000000000001";
        send(&service, path, &guid, body)
    };
    assert_eq!(ask(10_000).0, StatusCode::OK);
    let (status, code, _, reason) = told(&ask(10_001));
    assert_eq!((status, code, reason.as_str()), (400, 6, "ACKS_TOO_MANY"));
}
