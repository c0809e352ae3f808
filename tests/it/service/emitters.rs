//! Both emitters, and a stock sender of somebody else's, against the built program while it is
//! killed three times: what was taken from the application is in the log, the emitters' events one
//! time each. `CHANCERY_EMIT_EVENTS` makes a run longer (100000: what the issue asks for).

use crate::service::person::{Person, in_days};
use crate::service::stage::{Home, Service};
use crate::support::clinic::read_all;
use crate::support::sim::Rng;
use chancery::base::entry::Kind;
use chancery::cli::args::Global;
use chancery::client::emitter::Emitter;
use chancery::client::{Config, Surroundings};
use chancery::forward::events::HttpVault;
use chancery::vault::Vault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Times that the service is killed in a run.
const KILLS: u64 = 3;
/// Longest that anything may take.
const LONG: Duration = Duration::from_secs(1_200);

/// Events of a run, or so many.
fn events(usual: u64) -> u64 {
    std::env::var("CHANCERY_EMIT_EVENTS").map_or(usual, |text| text.parse().unwrap())
}

/// At which count of delivered events the service is killed: once in each third but not near its
/// ends, so that there is always something on the way.
fn moments(seed: u64, events: u64) -> Vec<u64> {
    println!("seed {seed}");
    let (mut rng, third) = (Rng::new(seed), events / KILLS);
    (0..KILLS)
        .map(|kill| kill * third + third / 10 + rng.below(third as usize * 7 / 10) as u64)
        .collect()
}

/// A service that comes back where it was, as often as it is killed.
struct Phoenix {
    service: Option<Service>,
    public: SocketAddr,
    more: &'static [&'static str],
    events: u64,
    kills: u64,
}

impl Phoenix {
    /// With a token of a kind for one source, for so many events.
    fn start(
        (kind, source): (&str, &str),
        more: &'static [&'static str],
        events: u64,
    ) -> (Phoenix, String) {
        let first = [&["--single-operator", "--cooling-off", "0s"], more].concat();
        let service = Service::start(&first);
        let dana = Person::first(&service);
        let wish = json!({"expires": in_days(30), "sources": [source], "kind": kind});
        let token = dana.token(&service, &["ingest"], &wish);
        let public = service.public;
        (Phoenix { service: Some(service), public, more, events, kills: 0 }, token)
    }

    fn url(&self) -> String {
        format!("https://{}", self.public)
    }

    fn kill(&mut self) {
        let home = self.service.take().unwrap().kill();
        self.service = Some(home.serve_at(self.public, self.more));
        self.kills += 1;
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.service.as_ref().unwrap().path(name)
    }

    fn stop(mut self) -> Home {
        assert_eq!(self.kills, KILLS);
        self.service.take().unwrap().stop()
    }
}

/// How often each number is in the log.
fn numbers(home: &Home, (field, at): (&str, &str)) -> BTreeMap<u64, u64> {
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
    let global = Global { home: Some(home.path("h")), ..Global::default() };
    let config = chancery::cli::config::Config::load(&global, &|_| None).unwrap();
    let config = chancery::cli::world::vault_config(&config, &global).unwrap();
    let vault = Vault::open(chancery::cli::world::world(), &config).unwrap();
    let mut found = BTreeMap::new();
    for record in read_all(&vault) {
        if record.entry.head.kind == Kind::Event {
            let value: Value = serde_json::from_slice(record.value(field).unwrap()).unwrap();
            let number = value.pointer(at).and_then(Value::as_u64);
            *found.entry(number.unwrap_or_else(|| panic!("{value}"))).or_default() += 1;
        }
    }
    found
}

fn each_once(found: &BTreeMap<u64, u64>, events: u64) {
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    let missing: Vec<_> = (0..events).filter(|n| !found.contains_key(n)).collect();
    assert!(missing.is_empty() && found.len() as u64 == events, "missing: {missing:?}");
}

fn event(n: u64) -> String {
    format!("{{\"action\":\"x.read\",\"actor\":{{\"id\":\"u{}\"}},\"data\":{{\"n\":{n}}}}}", n % 50)
}

/// Every event emitted has one receipt in the spool's ledger, each for a place of its own.
fn receipted(spool: &Path, events: u64) {
    let text = std::fs::read_to_string(spool.join("receipts.ndjson")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut places = BTreeMap::new();
    for line in lines.filter(|line| line["id"].is_string()) {
        let (id, index) = (line["id"].as_str().unwrap(), line["index"].as_str().unwrap());
        assert_eq!(places.insert(index.to_owned(), id.to_owned()), None, "two at {index}");
    }
    let ids: std::collections::BTreeSet<_> = places.values().collect();
    assert_eq!((places.len() as u64, ids.len() as u64), (events, events));
    let dead = std::fs::read_to_string(spool.join("dead.ndjson")).unwrap_or_default();
    assert_eq!(dead, "");
}

#[test]
fn the_emitter_loses_nothing_and_sends_nothing_twice_through_three_kills() {
    let (mut phoenix, token) = Phoenix::start(("api", "app"), &[], events(5_000));
    let count = phoenix.events;
    let pem = std::fs::read(phoenix.path("h/tls/ca.pem")).unwrap();
    let roots = chancery::forward::http::roots_of_pem(&pem).unwrap();
    let spool = tempfile::tempdir().unwrap();
    let world = chancery::cli::world::world();
    let around = Surroundings { disk: world.disk, clock: world.clock, entropy: world.entropy };
    let vault = HttpVault::new(&phoenix.url(), "app", &token, &roots, LONG).unwrap();
    let config = Config { batch_events: 100, ..Config::new("app", spool.path()) };
    let emitter = Emitter::open(around, &config, Arc::new(vault)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in (0..count).step_by(50) {
                let some = (from..(from + 50).min(count)).map(event);
                let ready: Vec<_> =
                    some.map(|json| emitter.prepare(json.as_bytes()).unwrap()).collect();
                emitter.put(&ready).unwrap();
            }
        });
        for moment in moments(41, count) {
            while emitter.stats().counts.receipts < moment {
                emitter.wait_for_room(Duration::from_millis(20));
            }
            phoenix.kill();
        }
    });
    assert!(emitter.flush(Some(LONG)), "{:?}", emitter.stats());
    let stats = emitter.close();
    println!("{stats:?}");
    assert_eq!((stats.emitted, stats.counts.receipts), (count, count));
    assert!(stats.counts.failures > 0, "no kill met a request: {stats:?}");
    receipted(spool.path(), count);
    each_once(&numbers(&phoenix.stop(), ("data", "/data/n")), count);
}

/// What runs beside the service tells on every line how many events it has delivered.
fn killed_beside(phoenix: &mut Phoenix, program: &str, args: &[&str], seed: u64) -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let mut command = Command::new("python3");
    command.args(["-c", program]).args(args).env("PYTHONPATH", package);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut moments = moments(seed, phoenix.events).into_iter().peekable();
    let mut last = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = line.unwrap();
        let delivered: u64 = last.split(' ').next().unwrap().parse().unwrap();
        if moments.next_if(|moment| *moment <= delivered).is_some() {
            phoenix.kill();
        }
    }
    assert!(child.wait().unwrap().success(), "{last}");
    println!("{last}");
    last
}

const EMITTER: &str = r#"
import sys
from chancery_client import Emitter
url, token, spool, ca, count = sys.argv[1:]
count = int(count)
with Emitter(url, token, "app", spool, ca_file=ca, batch_events=100) as emitter:
    def delivered():
        print(emitter.stats().counts.receipts, flush=True)
    for start in range(0, count, 50):
        emitter.emit_many(
            {"action": "x.read", "actor": {"id": f"u{n % 50}"}, "data": {"n": n}}
            for n in range(start, min(start + 50, count)))
        delivered()
    while not emitter.flush(0.01):
        delivered()
    stats = emitter.stats()
    assert (stats.emitted, stats.counts.receipts, stats.counts.dead) == (count, count, 0), stats
    assert stats.counts.failures > 0, stats
    print(stats.counts.receipts, stats)
"#;

#[test]
#[ignore = "needs python3"]
fn the_python_emitter_loses_nothing_and_sends_nothing_twice_through_three_kills() {
    let (mut phoenix, token) = Phoenix::start(("api", "app"), &[], events(5_000));
    let spool = tempfile::tempdir().unwrap();
    let ca = phoenix.path("h/tls/ca.pem");
    let (url, events) = (phoenix.url(), phoenix.events);
    let count = events.to_string();
    let args = [&*url, &token, spool.path().to_str().unwrap(), ca.to_str().unwrap(), &count];
    killed_beside(&mut phoenix, EMITTER, &args, 42);
    receipted(spool.path(), events);
    each_once(&numbers(&phoenix.stop(), ("data", "/data/n")), events);
}

/// Four loggers, each of which logs a record again when its handler raised: all that a program can
/// do with a handler that has no spool.
const HANDLER: &str = r#"
import logging, sys, threading, time
from splunk_hec_handler import SplunkHecHandler
port, guid, count = sys.argv[1:]
count = int(count)
lock, delivered, again = threading.Lock(), 0, 0
def run(first):
    global delivered, again
    log = logging.getLogger(f"worker-{first}")
    log.setLevel(logging.INFO)
    log.addHandler(SplunkHecHandler("127.0.0.1", guid, port=port, proto="http"))
    for n in range(first, count, 4):
        while True:
            try:
                log.info({"n": n})
                break
            except OSError:
                with lock:
                    again += 1
                time.sleep(0.02)
        with lock:
            delivered += 1
            print(delivered, flush=True)
workers = [threading.Thread(target=run, args=(first,)) for first in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert delivered == count and again > 0
print(delivered, again)
"#;

/// The protocol has no name for an event, so what was on its way at a kill may be there twice: the
/// handler cannot know. That is at most one event of each logger for each kill. Plain HTTP, since
/// the handler connects anew for each event.
#[test]
#[ignore = "needs python3 with splunk-hec-handler"]
fn a_stock_collector_client_loses_nothing_through_three_kills() {
    let plain = &["--plain-http"];
    let (mut phoenix, guid) = Phoenix::start(("hec", "plain"), plain, events(1_500));
    let events = phoenix.events;
    let (port, count) = (phoenix.public.port().to_string(), events.to_string());
    let args = [&*port, &guid, &count];
    killed_beside(&mut phoenix, HANDLER, &args, 43);
    let found = numbers(&phoenix.stop(), ("message", "/n"));
    let missing: Vec<_> = (0..events).filter(|n| !found.contains_key(n)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let twice = found.values().filter(|times| **times > 1).count() as u64;
    println!("{twice} of {events} are there twice");
    assert!(twice <= 4 * KILLS && found.values().all(|times| *times <= 2), "{twice}");
}
