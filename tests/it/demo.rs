//! The demo as people run it: the built program, a small day in a directory of its own. Every
//! claim it prints is looked at from outside: its steps, its files, and that nothing of the
//! erased person stands in any of them.

use crate::support::shared;
use chancery::base::unit::Day;
use chancery::cli::demo::Scenario;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: u64 = 3;
const PEOPLE: usize = 120;
const EVENTS: usize = 2_000;

/// Runs the demo; gives its facts by step.
fn run(dir: &Path, arguments: &[&str]) -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(["--json", "demo", "--out", dir.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{told}");
    let mut steps = BTreeMap::new();
    for (position, line) in told.lines().enumerate() {
        let step: Value = serde_json::from_str(line).unwrap();
        assert_eq!(step["step"], position as u64 + 1, "steps in order");
        steps.insert(step["name"].as_str().unwrap().to_owned(), step);
    }
    steps
}

fn small_day(dir: &Path) -> BTreeMap<String, Value> {
    let (seed, people, events) = (SEED.to_string(), PEOPLE.to_string(), EVENTS.to_string());
    run(dir, &["--seed", &seed, "--people", &people, "--events", &events])
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// The facts that hold for every input.
fn check_steps(steps: &BTreeMap<String, Value>) {
    let fact = |step: &str, name: &str| steps[step]["facts"][name].clone();
    assert_eq!(fact("record", "values_in_entry"), 0);
    assert_eq!(fact("prove", "disclosed").as_array().unwrap().len(), 2);
    assert_eq!(fact("prove", "forged"), "DISCLOSURE_FIELD_MISMATCH");
    assert_eq!(fact("hold", "blocked_by").as_array().unwrap().len(), 1);
    assert_eq!(fact("hold", "case"), "4 C 118/26");
    assert_eq!(fact("erase", "again"), "SUBJECT_UNKNOWN");
    assert!(fact("erase", "records").as_u64().unwrap() > 0);
    assert_eq!(fact("search", "file_hits"), 0);
    assert_eq!(fact("search", "body_hits"), 0);
    for file in ["events_cef", "events_leef"] {
        assert!(fact("export", &format!("{file}_lines")).as_u64().unwrap() > 0);
        assert_eq!(fact("export", &format!("{file}_refused")), 0);
        assert_eq!(fact("export", &format!("{file}_hits")), 0);
    }
    assert_eq!(fact("expire", "clock"), "CLOCK_NOT_ACCEPTED");
    assert_eq!(fact("expire", "suspended"), "EXPIRY_SUSPENDED");
    assert!(fact("expire", "bytes_freed").as_u64().unwrap() > 0);
    let controls = fact("report", "report")["controls"].clone();
    let controls = controls.as_array().unwrap();
    assert_eq!(controls.len(), 5);
    for control in controls {
        let status = control["status"].as_str().unwrap();
        assert!(matches!(status, "supported" | "attention"), "{control}");
    }
    assert_eq!(fact("backup", "read_only"), "LOG_BEHIND_KEYS");
    assert_eq!(fact("backup", "body_hits"), 0);
    let verdicts = fact("tamper", "verdicts");
    let named = |name: &str| verdicts.as_array().unwrap().iter().any(|v| v == name);
    assert!(named("LEAF_MISMATCH") || named("MALFORMED"), "{verdicts}");
    assert_eq!(fact("tamper", "exit"), 1);
    assert_eq!(fact("verify", "verdict"), "verified", "{}", steps["verify"]);
    assert_eq!(fact("verify", "exit"), 0);
    let limits: Vec<String> = steps
        .values()
        .flat_map(|s| s["limits"].as_array().unwrap())
        .map(Value::to_string)
        .collect();
    for word in ["KEYS_SINGLE_COPY", "class D", "UNWITNESSED", "not a certificate"] {
        assert!(limits.iter().any(|limit| limit.contains(word)), "{word} is not said");
    }
}

#[test]
fn demo_tells_the_story_and_nothing_of_the_leaver_is_left() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("story");
    let steps = small_day(&dir);
    check_steps(&steps);
    let fact = |step: &str, name: &str| steps[step]["facts"][name].clone();
    assert_eq!(fact("ingest", "accepted"), EVENTS as u64);
    assert_eq!(fact("ingest", "refused"), 0);
    assert_eq!(fact("ingest", "resent_recognised"), 1_000);
    assert_eq!(fact("ingest", "resent_stored"), 0);
    assert_eq!(fact("preview", "identifiers"), 4);
    assert_eq!(fact("preview", "sources").as_array().unwrap().len(), 3);
    assert_eq!(fact("preview", "deferred").as_array().unwrap().len(), 1);
    assert!(fact("search", "kept_by_law").as_u64().unwrap() > 0);

    let scenario = Scenario { seed: SEED, people: PEOPLE, events: EVENTS, date: Day(20_000) };
    let cast = scenario.cast();
    let leaver = cast.person(cast.leaver).unwrap();
    let number = leaver.patient_number.clone().unwrap();
    let names = [&leaver.email, &leaver.user_id, &leaver.phone, &number, &leaver.name];
    let all = files(&dir);
    assert!(all.len() > 30, "{}", all.len());
    for path in &all {
        let bytes = std::fs::read(path).unwrap().to_ascii_lowercase();
        for name in names {
            let name = name.to_lowercase();
            let hit = bytes.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!hit, "{} names the erased person", path.display());
        }
    }
    for (evidence, expected) in
        [("data", 0), ("report", 0), ("disclosure.json", 0), ("tampered", 1)]
    {
        let status = Command::new(env!("CARGO_BIN_EXE_chancery"))
            .args(["verify", dir.join(evidence).to_str().unwrap()])
            .args(["--trust", dir.join("trust.policy").to_str().unwrap()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        assert_eq!(status.status.code(), Some(expected), "{evidence}: {text}");
    }
    let shown = ["report/report.pdf", "report/report.json", "report/manifest.note"];
    let feeds = ["siem/events.cef.manifest.note", "siem/events.leef.sha256", "trust.policy"];
    for name in shown.iter().chain(&feeds) {
        assert!(dir.join(name).is_file(), "{name} is missing");
    }
    assert!(!all.iter().any(|p| p.to_string_lossy().contains(".part")), "half-written files");
}

#[test]
fn demo_leaves_an_existing_directory_alone() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("mine"), b"mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(["demo", "--out", home.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("DEMO_EXISTS") && errors.lines().count() == 1, "{errors}");
    assert_eq!(files(home.path()).len(), 1);
}

#[test]
#[ignore = "needs ../shared"]
fn demo_on_a_real_cloudtrail_log() {
    let home = tempfile::tempdir().unwrap();
    let input = shared().join("data/cloudtrail/invictus-stratus-simulation.ndjson");
    let dir = home.path().join("story");
    let steps = run(&dir, &["--input", input.to_str().unwrap(), "--as", "cloudtrail"]);
    check_steps(&steps);
    let lines = std::fs::read_to_string(&input).unwrap().lines().count() as u64;
    let fact = |name: &str| steps["ingest"]["facts"][name].as_u64().unwrap();
    assert_eq!(fact("accepted") + fact("duplicates") + fact("refused"), lines);
}
