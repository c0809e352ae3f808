//! What older programs wrote: each store under `tests/old` is copied, opened by this program, read,
//! written on and served. It was made once, by the program of its commit (`tests/old/README.md`),
//! and is never made anew: a format that can no longer read it has broken its word.

use crate::service::person::Person;
use crate::service::stage::{As, Home};
use crate::support::clinic::{append_json, assert_sound, data_fate, patient, read, text};
use crate::support::world::{HandClock, config, open_patiently, two_people, world};
use chancery::base::id::Hash32;
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::crypto::hash::leaf_hash;
use chancery::store::disk::OsDisk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn fire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old/fire")
}

/// One event as its sender knows it.
struct Known {
    index: EntryIndex,
    leaf: String,
    source: String,
    patient: String,
    note: String,
}

impl Known {
    fn all() -> Vec<Known> {
        let text = std::fs::read_to_string(fire().join("events.txt")).unwrap();
        let known = |line: &str| {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            Known {
                index: EntryIndex(words[0].parse().unwrap()),
                leaf: words[1].to_owned(),
                source: words[2].to_owned(),
                patient: words[3].to_owned(),
                note: words[4].to_owned(),
            }
        };
        text.lines().map(known).collect()
    }

    /// What became of it before it was kept: the day expired but for what a hold keeps.
    fn fate(&self) -> Fate {
        let seq: u64 = self.note.split(' ').nth(1).unwrap().parse().unwrap();
        match (self.patient.as_str(), self.source.as_str(), seq > 6) {
            (_, "gate", true) => Fate::Expired,
            ("ann", ..) => Fate::Erased,
            _ => Fate::Open,
        }
    }
}

/// Copies a store, with the permissions that git does not keep.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn chancery(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    let ran = command.current_dir(dir).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{args:?}: {out}{err}");
    out.into_owned()
}

fn open(dir: &Path, clock: &Arc<HandClock>, seed: u64) -> Vault {
    let config = Config { accept_time: true, ..config(dir) };
    open_patiently(&world(Arc::new(OsDisk), clock, seed), &config).unwrap()
}

#[test]
fn a_store_of_fire_verifies_with_the_trust_that_was_pinned_then() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fire(), dir.path());
    for paper in ["data", "erasure.receipt", "entry.proof"] {
        let said = chancery(dir.path(), &["verify", paper, "--trust", "followed.policy"]);
        assert!(said.contains("VERIFIED"), "{paper}: {said}");
    }
    // With the key that was rolled away alone it does not pass; nor does one with a flipped bit.
    let spoiled = dir.path().join("data/tenants");
    let tenant = std::fs::read_dir(&spoiled).unwrap().next().unwrap().unwrap().path();
    let file = tenant.join("log/00000001.pak");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.current_dir(dir.path()).args(["verify", "data", "--trust", "followed.policy"]);
    assert!(!command.output().unwrap().status.success());
}

#[test]
fn a_store_of_fire_opens_and_is_read_written_erased_in_and_expired_in() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fire(), dir.path());
    let clock = HandClock::at("2025-04-20T08:00:00Z");
    let vault = open(dir.path(), &clock, 1);
    // Snapshots are derived: those of an older version are passed over and made anew.
    let mut notices: Vec<&str> = vault.notices().iter().map(|notice| notice.code).collect();
    notices.sort_unstable();
    notices.dedup();
    assert_eq!(notices, ["KEYS_SINGLE_COPY", "SNAPSHOT_IGNORED", "UNWITNESSED"]);
    let (before, known) = (vault.size(), Known::all());
    assert_eq!((before.0, known.len()), (62, 12));
    for one in &known {
        let leaf = leaf_hash(&vault.entry_bytes(one.index).unwrap());
        assert_eq!(leaf, Hash32::parse(&one.leaf).unwrap(), "{}", one.note);
        let record = read(&vault, one.index);
        assert_eq!(data_fate(&record), one.fate(), "{}", one.note);
        assert_eq!(text(&record).contains(&one.note), one.fate() == Fate::Open, "{}", one.note);
    }
    assert_eq!(known.iter().filter(|one| one.fate() == Fate::Open).count(), 8);
    let case = std::fs::read_to_string(dir.path().join("case")).unwrap();
    let holds: Vec<String> = vault.facts_now().holds.keys().map(ToString::to_string).collect();
    assert_eq!(holds, [case.trim()]);
    for (who, code) in [("ann", "SUBJECT_UNKNOWN"), ("cid", "HOLD_BLOCKED")] {
        let refused = vault.erase(&[patient(who)], "gdpr-17-1", &two_people()).unwrap_err();
        assert_eq!(refused.code(), code, "{who}");
    }

    // What was sent then is known as sent; what comes now is new.
    let again = r#"{"id":"new","source_seq":40,"action":"record.open","data":{"note":"new"}}"#;
    let fresh = append_json(&vault, "ehr", &[again.to_owned()]).unwrap();
    assert!(!fresh[0].duplicate && fresh[0].index >= EntryIndex(before.0));
    let erased = vault.erase(&[patient("dan")], "gdpr-17-1", &two_people()).unwrap();
    // Of four records two are left: one had expired, and one is of nobody else.
    assert_eq!(erased.records, Some(3));
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    std::fs::write(dir.path().join("receipt"), receipt).unwrap();
    for one in known.iter().filter(|one| one.patient == "dan" && one.fate() == Fate::Open) {
        assert_eq!(data_fate(&read(&vault, one.index)), Fate::Erased, "{}", one.note);
    }
    let note = std::fs::read(dir.path().join("newest.note")).unwrap();
    let growth = vault.prove_growth(before).unwrap();
    std::fs::write(dir.path().join("growth"), growth).unwrap();
    assert!(!note.is_empty());
    assert_sound(&vault, "an old store");
    drop(vault);
    let vault = open(dir.path(), &clock, 2);
    assert_eq!(data_fate(&read(&vault, fresh[0].index)), Fate::Open);
    drop(vault);
    for paper in [&["data"][..], &["receipt"], &["growth", "--since", "newest.note"]] {
        let args = [&["verify"], paper, &["--trust", "followed.policy"]].concat();
        chancery(dir.path(), &args);
    }
}

#[test]
fn a_store_of_fire_is_served() {
    let below = tempfile::tempdir().unwrap();
    let home = Home::below(below.path());
    copy(&fire().join("data"), &home.path("h/chancery-data"));
    copy(&fire().join("keys"), &home.path("h/keys"));
    std::fs::copy(fire().join("followed.policy"), home.path("trust.policy")).unwrap();
    let service = home.serve(&["--accept-time", "--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let known = Known::all();
    for one in &known {
        let event = service.get(dana.who(), &format!("/v1/events/{}", one.index));
        assert_eq!(event["leaf"], one.leaf, "{event}");
    }
    let wish = json!({"purpose": "an old store is served"});
    let opened = service.post(dana.who(), &format!("/v1/events/{}/open", known[0].index), &wish);
    assert!(opened.to_string().contains(&known[0].note), "{opened}");
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["ehr"]}));
    let taken = service.post(As::Token(&token), "/v1/events", &json!({"action": "record.open"}));
    assert_eq!(taken["receipts"][0]["duplicate"], false);
    let named = json!([{"kind": "patient_id", "value": "dan"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!(order["state"], "executed", "{order}");
    let home = service.stop();
    home.ok(&["verify", "--trust", "trust.policy"]);
}

#[test]
#[ignore = "needs node"]
fn the_second_verifier_passes_a_store_of_fire() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for paper in ["data", "erasure.receipt", "entry.proof"] {
        let mut node = Command::new("node");
        node.args(["--no-warnings", "verify/chancery-verify.mjs"]).current_dir(root);
        let ran = node
            .arg(fire().join(paper))
            .arg("--trust")
            .arg(fire().join("followed.policy"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.contains("VERIFIED"), "{paper}: {said}{error}");
    }
}
