//! A full disk under the built program: a small file system of its own, filled by events up to the
//! mark and then by a stranger's file to the last byte. Events wait, the vault's own acts go on,
//! and what expires lets events in again, with no restart and no hand.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Home, Reply, Service};
use crate::support::clinic::{Visit, append};
use crate::support::world::{HandClock, config, world};
use chancery::base::unit::{NANOS_PER_DAY, UtcNanos};
use chancery::store::disk::OsDisk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MIB: u64 = 1 << 20;
/// The reserve of these services: the smallest.
const RESERVE: u64 = 4 * MIB;

/// Runs a command that only the superuser may.
fn as_root(args: &[&str], dir: &Path) -> Output {
    let own = rustix::process::geteuid().is_root();
    let args = if own { args.to_vec() } else { [&["sudo", "-n"], args].concat() };
    Command::new(args[0]).args(&args[1..]).arg(dir).output().unwrap()
}

/// A file system of its own.
struct Mount {
    dir: PathBuf,
    _below: tempfile::TempDir,
}

impl Mount {
    fn of(megabytes: u64) -> Mount {
        let below = tempfile::tempdir().unwrap();
        let dir = below.path().join("small");
        std::fs::create_dir(&dir).unwrap();
        let size = format!("size={megabytes}m,mode=1777");
        let ran = as_root(&["mount", "-t", "tmpfs", "-o", &size, "chancery-test"], &dir);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Mount { dir, _below: below }
    }

    fn free(&self) -> u64 {
        chancery::store::disk::free_bytes(&self.dir).unwrap()
    }

    /// A stranger takes everything.
    fn fill(&self) {
        let path = self.dir.join("film");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        assert_eq!(self.free(), 0);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        as_root(&["umount", "-l"], &self.dir);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// A vault whose oldest events, some 12 MiB of them, are due today.
fn aged(home: &Path) {
    let clock = HandClock::at("2026-01-01T00:00:00Z");
    clock.set_wall(UtcNanos(now() - 100 * NANOS_PER_DAY));
    let policies = chancery::policy::default_files();
    let config =
        Config { data: home.join("chancery-data"), accept_time: true, policies, ..config(home) };
    let vault = Vault::init(world(Arc::new(OsDisk), &clock, 7), &config, "chancery.local").unwrap();
    for at in 0..24 {
        let visit = Visit::new(at + 1, "nurse", "old").class("90d");
        append(&vault, &[Visit { secret: noise(at, 512 << 10), ..visit }]).unwrap();
    }
    // Log time that jumps is confirmed by a person; this one passes by and by.
    for at in 0..16 {
        clock.pass_days(6);
        append(&vault, &[Visit::new(100 + at, "nurse", "ada")]).unwrap();
    }
}

fn noise(seed: u64, bytes: usize) -> String {
    let mut rng = crate::support::sim::Rng::new(seed);
    (0..bytes).map(|_| char::from(b'a' + rng.below(26) as u8)).collect()
}

fn send(service: &Service, token: &str, name: &str) -> Reply {
    let event = json!({"id": name, "action": "user.login", "data": {"note": noise(1, 128 << 10)}});
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let to = ("POST", "/v1/events?source=clinic");
    service.send(service.public, to, &headers, Some(event.to_string().into_bytes()))
}

/// Sends until the disk is said to be full; what was taken.
fn send_until_full(service: &Service, token: &str) -> Vec<(String, Value)> {
    let mut taken = Vec::new();
    loop {
        let name = format!("e{}", taken.len());
        let reply = send(service, token, &name);
        if reply.status != 200 {
            assert_eq!((reply.status, reply.code()), (507, "STORE_FULL".to_owned()));
            assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
            return taken;
        }
        taken.push((name, reply.json()["receipts"][0].clone()));
        assert!(taken.len() < 10_000, "nothing stops events");
    }
}

fn gauge(service: &Service, dana: &Person, name: &str) -> f64 {
    let reply = service.ask(dana.who(), "GET", "/metrics", None);
    let text = reply.text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{place=\"data\"}}")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what} never came");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs a file system of its own"]
fn a_disk_that_is_filled_stops_events_alone_and_what_expires_lets_them_in_again() {
    let mount = Mount::of(72);
    let home = Home::below(&mount.dir);
    let place = home.path("h");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("chancery.toml"), "[server]\ndisk_reserve_bytes = 4194304\n")
        .unwrap();
    aged(&place);
    let service = home.serve(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    let file = std::fs::metadata(place.join("chancery-data/reserve")).unwrap();
    assert_eq!((file.len(), file.blocks() * 512), (RESERVE, RESERVE), "really taken");
    assert!(!place.join("keys/reserve").exists(), "one for a file system");

    let mut taken = send_until_full(&service, &token);
    assert!(taken.len() > 20, "{}", taken.len());
    assert!(mount.free() >= RESERVE / 2, "{}: events are not what fills it", mount.free());
    mount.fill();
    let reply = send(&service, &token, "later");
    assert_eq!((reply.status, reply.code()), (507, "STORE_FULL".to_owned()));

    // People, documents, holds, looks, erasures: the vault's own acts.
    let named = json!([{"kind": "patient_id", "value": "ada"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!(order["state"], "executed", "{order}");
    let job = order["job"].as_str().unwrap();
    let erasure = service.get(dana.who(), &format!("/v1/erasures/{job}"));
    assert_eq!(erasure["state"], "done", "{erasure}");
    let index = taken[0].1["index"].as_str().unwrap();
    let wish = json!({"purpose": "whether a look is still written down"});
    service.post(dana.who(), &format!("/v1/events/{index}/open"), &wish);
    dana.token(&service, &["readonly"], &json!({"expires": in_days(30)}));
    assert_eq!(gauge(&service, &dana, "chancery_disk_events_refused"), 1.0);
    assert!(gauge(&service, &dana, "chancery_disk_reserve_missing_bytes") >= MIB as f64);
    assert_eq!(mount.free() / MIB, 0, "the stranger's file is still there");

    let roles = ["operations", "readonly"];
    let operator = dana.token(&service, &roles, &json!({"expires": in_days(30)}));
    let path = "/v1/schedules/retention/run";
    let asked = service.ask(As::Token(&operator), "POST", path, None);
    assert!((200..300).contains(&asked.status), "{}", asked.text());
    until("room", || send(&service, &token, "later").status == 200);
    assert_eq!(gauge(&service, &dana, "chancery_disk_reserve_missing_bytes"), 0.0);
    assert_eq!(gauge(&service, &dana, "chancery_disk_events_refused"), 0.0);
    let went = service.get(As::Token(&operator), "/v1/retention/history");
    assert!(!went["expired"].as_array().unwrap().is_empty(), "{went}");
    let later = send(&service, &token, "later").json()["receipts"][0].clone();
    assert_eq!(later["duplicate"], true, "it is there once");
    taken.push(("later".to_owned(), later));
    for (name, before) in &taken {
        let after = send(&service, &token, name).json()["receipts"][0].clone();
        let same = |member: &str| after[member] == before[member];
        assert!(same("index") && same("leaf") && after["duplicate"] == true, "{name}: {after}");
    }
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
    home.ok(&["--tenant", "system", "doctor"]);
}

#[test]
#[ignore = "needs a file system of its own"]
fn a_service_killed_on_a_full_disk_starts_on_it_and_finishes_what_it_had_begun() {
    let mount = Mount::of(40);
    let home = Home::below(&mount.dir);
    let place = home.path("h");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("chancery.toml"), "[server]\ndisk_reserve_bytes = 4194304\n")
        .unwrap();
    let service = home.serve(&["--single-operator", "--cooling-off", "0s"]);
    let mut dana = Person::first(&service);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    let taken = send_until_full(&service, &token);
    mount.fill();
    let home = service.kill();
    let service = home.serve(&[]);
    let reply = send(&service, &token, "later");
    assert_eq!((reply.status, reply.code()), (507, "STORE_FULL".to_owned()));
    dana.forget_codes();
    dana.log_in(&service);
    dana.token(&service, &["readonly"], &json!({"expires": in_days(30)}));
    std::fs::remove_file(mount.dir.join("film")).unwrap();
    until("room", || gauge(&service, &dana, "chancery_disk_reserve_missing_bytes") == 0.0);
    // By events the disk is as full as the mark allows, so these still wait, and nothing is lost.
    let (name, before) = &taken[0];
    let reply = send(&service, &token, name);
    assert!(reply.status == 507 || reply.json()["receipts"][0]["leaf"] == before["leaf"]);
    assert!(service.ask(As::Nobody, "GET", "/readyz", None).status < 500);
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
}
