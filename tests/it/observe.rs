//! What the service tells its operators: names and values of metrics, log lines, and what must
//! never be in either.

use crate::support::clinic::{Visit, append, patient};
use crate::support::sim::SimDisk;
use crate::support::witness::{Near, outside};
use crate::support::world::{self, HandClock, SeedEntropy, two_people, world};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chancery::base::unit::{NANOS_PER_DAY, UtcNanos};
use chancery::server::log::{Answered, Log, RequestId, Style, Who, subscriber};
use chancery::server::metrics::{Around, Ingested, Metrics, Opened, Protocol};
use chancery::server::observe::{Code, Observer, REQUEST_HEADER, observe};
use chancery::server::scheduler::task::Task;
use chancery::store::reserve::Kept;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::scrub::Scrub;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

/// Every metric with its type and labels, after everything happened once.
fn names(text: &str) -> String {
    let mut found = String::new();
    let mut of = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
        let keys = labels.split(',').filter_map(|label| label.split_once('=').map(|(k, _)| k));
        let keys: Vec<&str> = keys.filter(|key| *key != "le").collect();
        of.insert((name.to_owned(), keys.join(",")));
    }
    for line in text.lines() {
        let Some(typed) = line.strip_prefix("# TYPE ") else { continue };
        let (name, kind) = typed.split_once(' ').unwrap();
        for (sample, labels) in &of {
            let own = sample == name
                || sample
                    .strip_prefix(name)
                    .is_some_and(|end| ["_total", "_bucket", "_sum", "_count"].contains(&end));
            if own {
                found += &format!("{sample} {kind} {labels}\n");
            }
        }
    }
    found
}

pub(crate) fn golden() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    let page = std::fs::read_to_string(path).unwrap();
    page.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.split(' ').next() == Some(sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_names_are_frozen_and_nobody_is_a_label() {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let near = Near::new(1, &clock);
    let alone = world::config(Path::new("/sim"));
    let world = world(Arc::new(disk), &clock, 1);
    let vault = Vault::init(world.clone(), &alone, "vault.example").unwrap();
    near.watch(vault.log_key());
    drop(vault);
    let config = Config { outside: outside(&[near], 1), ..alone };
    let vault = Vault::open(world, &config).unwrap();
    append(&vault, &[Visit::new(1, "nurse.joy", "patient.zero")]).unwrap();
    vault.erase(&[patient("patient.zero")], "gdpr-17-1", &two_people()).unwrap();
    let mut scrub = Scrub::resume(&vault, false, None);
    while scrub.tick(&vault, vault.clock().now()).unwrap().finished.is_none() {}
    let metrics = Metrics::new(false);
    metrics.ingested(Protocol::Json, Ingested::Accepted, 7);
    metrics.acknowledged(Duration::from_millis(3));
    metrics.answered(Some("/v1/events"), "POST", 200);
    metrics.answered(None, "BREW", 404);
    metrics.opened(Opened::Read, 2);
    metrics.denied("auditor");
    metrics.missed(Task::Scrub, 1);
    metrics.verify_failed(1);
    metrics.reload_failed();
    metrics.certified_until(UtcNanos(1_800_000_000_500_000_000));
    let around = Around {
        sessions: 1,
        orders_open: 2,
        erasures_open: 1,
        erasure_due: Some(UtcNanos(vault.clock().now().0 + NANOS_PER_DAY)),
        sources_silent: 3,
        disk_free: vec![("data", 1 << 40), ("keys", 5)],
        reserves: vec![Kept { name: "data", left: 3, size: 9, closed: true }],
    };
    metrics.gather(&[("main", &vault)], &around).unwrap();
    let text = metrics.encode();
    let found = names(&text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap());
    assert!(text.ends_with("# EOF\n") && text.lines().all(|line| !line.contains("tenant")));
    for person in ["nurse", "patient", "joy", "zero", "/v1/events/", "BREW"] {
        assert!(!text.contains(person), "{person} in\n{text}");
    }
    assert_eq!(value(&text, "chancery_log_size_events"), vault.size().0 as f64);
    let until = value(&text, "chancery_tls_certificate_expiry_seconds");
    assert!((until - 1_800_000_000.5).abs() < 0.01, "{until}");
    let accepted = r#"chancery_ingest_events_total{protocol="json",outcome="accepted"}"#;
    assert_eq!(value(&text, accepted), 7.0);
    assert_eq!(value(&text, "chancery_ingest_ack_seconds_count"), 1.0);
    let other = r#"chancery_http_requests_total{route="unmatched",method="OTHER",status="404"}"#;
    assert_eq!(value(&text, other), 1.0);
    assert_eq!(value(&text, "chancery_erasure_pending"), 1.0);
    assert_eq!(value(&text, "chancery_erasure_deadline_seconds"), 86_400.0);
    let scrubbed = value(&text, "chancery_verify_last_success_timestamp_seconds");
    assert!((scrubbed - vault.clock().now().0 as f64 / 1e9).abs() < 60.0, "{scrubbed}");
    // When nothing is due any more, no old deadline stays.
    metrics.gather(&[("main", &vault)], &Around::default()).unwrap();
    assert!(!metrics.encode().contains("chancery_erasure_deadline_seconds "));
    // By tenant only where somebody asked for it.
    let metrics = Metrics::new(true);
    metrics.gather(&[("main", &vault), ("other", &vault)], &around).unwrap();
    let text = metrics.encode();
    assert!(text.contains(r#"chancery_log_size_events{tenant="other"}"#), "{text}");
}

#[test]
fn gauges_follow_the_vault() {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let near = Near::new(1, &clock);
    let alone = world::config(Path::new("/sim"));
    let world = world(Arc::new(disk), &clock, 2);
    let vault = Vault::init(world.clone(), &alone, "vault.example").unwrap();
    near.watch(vault.log_key());
    drop(vault);
    let config = Config { outside: outside(std::slice::from_ref(&near), 1), ..alone };
    let vault = Vault::open(world, &config).unwrap();
    append(&vault, &[Visit::new(1, "nurse", "p1").class("90d")]).unwrap();
    vault.seek_witnesses().unwrap();
    let metrics = Metrics::new(false);
    let gather = || {
        metrics.gather(&[("main", &vault), ("again", &vault)], &Around::default()).unwrap();
        metrics.encode()
    };
    let text = gather();
    let witness = r#"chancery_witness_age_seconds{witness="witness.example/w1"}"#;
    assert_eq!(value(&text, "chancery_last_checkpoint_age_seconds"), 0.0);
    assert_eq!(value(&text, "chancery_log_size_events"), 2.0 * vault.size().0 as f64);
    assert_eq!((value(&text, witness), value(&text, "chancery_clock_alarm")), (0.0, 0.0));
    assert_eq!(value(&text, "chancery_retention_overdue_segments"), 0.0);
    // The witness is away, a checkpoint is made, an hour passes.
    near.set_down(true);
    append(&vault, &[Visit::new(2, "nurse", "p1")]).unwrap();
    vault.checkpoint().unwrap();
    clock.pass(3_600_000_000_000);
    let age = value(&gather(), witness);
    assert!((3_600.0..3_700.0).contains(&age), "{age}");
    // What is due, held or not, and a clock that somebody set.
    clock.pass_days(100);
    clock.set_wall(UtcNanos(vault.clock().now().0 + 600_000_000_000));
    let text = gather();
    assert_eq!(value(&text, "chancery_clock_alarm"), 1.0);
    assert!(value(&text, "chancery_retention_overdue_segments") >= 2.0, "{text}");
    assert_eq!(value(&text, "chancery_read_only"), 0.0);
    assert_eq!(value(&text, "chancery_keys_copies"), 1.0);
}

#[test]
fn an_erasure_that_a_floor_defers_is_pending_until_it_is_complete() {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let config = world::config(Path::new("/sim"));
    let vault = Vault::init(world(Arc::new(disk), &clock, 3), &config, "vault.example").unwrap();
    append(&vault, &[Visit::new(1, "nurse", "p1"), Visit::new(2, "nurse", "p1").class("6y")])
        .unwrap();
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let metrics = Metrics::new(false);
    let pending = || {
        metrics.gather(&[("main", &vault)], &Around::default()).unwrap();
        value(&metrics.encode(), "chancery_erasure_pending")
    };
    if erased.deferred.is_empty() {
        assert_eq!(pending(), 0.0);
        return;
    }
    assert_eq!(pending(), 1.0);
    let text = metrics.encode();
    let due = value(&text, "chancery_erasure_deadline_seconds");
    assert!(due > 86_400.0, "{due}");
    clock.pass((due as u64 + 86_400) * 1_000_000_000);
    metrics.gather(&[("main", &vault)], &Around::default()).unwrap();
    assert!(value(&metrics.encode(), "chancery_erasure_deadline_seconds") < 0.0);
    let today = vault.clock().now().day();
    let done = vault.expire(Some(today)).unwrap();
    assert_eq!((done.erasures.len(), pending()), (1, 0.0));
}

// ---- Lines ----

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Sink {
    type Writer = Sink;

    fn make_writer(&'w self) -> Sink {
        self.clone()
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const CANARY: &str = "canary7f3a";

async fn teapot(request: axum::extract::Request) -> Response {
    // What other people's code writes goes nowhere, whatever its level.
    tracing::error!("path {}", request.uri());
    tracing::error!(target: "hyper::proto", uri = %request.uri(), "head");
    let span = tracing::error_span!("request", path = %request.uri());
    let _entered = span.enter();
    let mut answer = (StatusCode::IM_A_TEAPOT, format!("no {CANARY}")).into_response();
    answer.extensions_mut().insert(Who { kind: "token", id: [7; 16] });
    answer.extensions_mut().insert(Code("TEAPOT"));
    answer
}

fn service(clock: &Arc<HandClock>, metrics: &Arc<Metrics>) -> Router {
    let routes = ["/v1/subjects/{handle}", "/v1/events"];
    let observer = Observer {
        log: Log::new(routes),
        metrics: metrics.clone(),
        clock: clock.clone(),
        entropy: SeedEntropy::new(5),
    };
    Router::new()
        .route(routes[0], get(teapot))
        .route(routes[1], post(teapot))
        // A route that the log was not told of is not written either.
        .route("/canary7f3a/{x}", get(teapot))
        .layer(axum::middleware::from_fn_with_state(observer, observe))
}

#[test]
fn nothing_that_a_client_wrote_is_in_a_line_or_a_metric() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for style in [Style::Json, Style::Plain] {
        let sink = Sink::default();
        let _guard = tracing::subscriber::set_default(subscriber(style, sink.clone()));
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        let metrics = Arc::new(Metrics::new(false));
        let asked = [
            ("GET", format!("/v1/subjects/{CANARY}?q={CANARY}")),
            ("POST", format!("/v1/events?source={CANARY}")),
            ("GET", format!("/{CANARY}/{CANARY}")),
            ("GET", format!("/nowhere/{CANARY}")),
            ("CANARY7F3A", format!("/v1/events#{CANARY}")),
        ];
        for (method, uri) in &asked {
            let request = Request::builder()
                .method(*method)
                .uri(uri)
                .header("authorization", format!("Bearer {CANARY}"))
                .header("x-request-id", CANARY)
                .header("user-agent", CANARY)
                .header("host", format!("{CANARY}.example"))
                .body(Body::from(format!("{{\"email\":\"{CANARY}@x.example\"}}")))
                .unwrap();
            let answer = runtime.block_on(service(&clock, &metrics).oneshot(request)).unwrap();
            let id = answer.headers().get(REQUEST_HEADER).unwrap().to_str().unwrap();
            assert!(id.len() == 32 && sink.text().contains(id), "{id} in\n{}", sink.text());
        }
        let text = sink.text().to_lowercase();
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(text.lines().count(), asked.len(), "{text}");
        assert!(!metrics.encode().to_lowercase().contains("canary"));
    }
}

#[test]
fn a_line_has_these_fields_and_no_others() {
    let sink = Sink::default();
    let _guard = tracing::subscriber::set_default(subscriber(Style::Json, sink.clone()));
    let log = Log::new(["/v1/events"]);
    let answered = Answered {
        request: RequestId([1; 16]),
        route: Some("/v1/events"),
        method: "POST",
        status: 200,
        took: Duration::from_millis(12),
        who: Some(Who { kind: "human", id: [2; 16] }),
        code: None,
    };
    log.answered(&answered);
    log.answered(&Answered { route: Some("/v1/other"), method: "x", status: 503, ..answered });
    log.said("SERVICE_STARTED", 3);
    log.warned("CLOCK_APART", 700);
    log.panicked(RequestId([3; 16]), "src/server/app.rs", 7);
    let lines = sink.lines();
    let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let of_request = [
        "code",
        "id",
        "level",
        "message",
        "method",
        "millis",
        "principal",
        "request",
        "route",
        "status",
        "target",
        "timestamp",
    ];
    assert_eq!(keys(&lines[0]), of_request);
    assert_eq!(keys(&lines[1]), of_request);
    assert_eq!((&lines[0]["route"], &lines[0]["millis"]), (&"/v1/events".into(), &12.into()));
    assert_eq!((&lines[0]["principal"], &lines[0]["level"]), (&"human".into(), &"INFO".into()));
    assert_eq!((&lines[1]["route"], &lines[1]["method"]), (&"unmatched".into(), &"OTHER".into()));
    assert_eq!(lines[1]["level"], "WARN");
    let said = ["code", "count", "level", "message", "target", "timestamp"];
    assert_eq!(keys(&lines[2]), said);
    assert_eq!(keys(&lines[3]), said);
    assert_eq!((lines.len(), &lines[4]["line"]), (5, &7.into()));
}
