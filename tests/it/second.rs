//! The second implementation against this one: the same exit and the same verdict on every kind of
//! evidence, on the golden vectors, and on thousands of spoiled artefacts. Neither is the judge of
//! the other: `docs/format.md` is. `CHANCERY_MUTANTS` sets how many; each run prints its seed.

use crate::support::artefacts::{Artefact, Files, artefacts, judge_all, mutants};
use crate::support::lives::lives;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chancery::cli::judge::Judgement as Said;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the JavaScript verifier says of many: one process, one line each.
fn second(all: &[Artefact]) -> Vec<Said> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node")
        .args(["--no-warnings", "verify/batch.mjs", "--explain"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut pipe = node.stdin.take().unwrap();
    let lines: Vec<String> = all.iter().enumerate().map(|(id, a)| line(id, a)).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(pipe, "{line}").unwrap();
        }
    });
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Said> = text
        .lines()
        .enumerate()
        .map(|(number, line)| {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["id"], number, "in order");
            let exit = value["exit"].as_u64().unwrap() as u8;
            let verdict = value["verdict"].as_str().unwrap().to_owned();
            Said { exit, verdict, text: value["message"].to_string() }
        })
        .collect();
    assert_eq!(said.len(), all.len(), "one answer for each");
    said
}

fn line(id: usize, artefact: &Artefact) -> String {
    let encoded = |bytes: &Vec<u8>| STANDARD.encode(bytes);
    let files: BTreeMap<&String, String> =
        artefact.files.iter().map(|(path, bytes)| (path, encoded(bytes))).collect();
    let trust = artefact.trust.as_ref().map(|t| String::from_utf8_lossy(t).into_owned());
    json!({
        "id": id,
        "name": artefact.name,
        "files": files,
        "trust": trust,
        "since": artefact.since.as_ref().map(encoded),
    })
    .to_string()
}

/// Both verifiers on all; what they differ on.
fn differences(all: &[(Artefact, String)]) -> Vec<String> {
    let artefacts: Vec<Artefact> = all.iter().map(|(a, _)| a.clone()).collect();
    let (ours, theirs) = (judge_all(&artefacts), second(&artefacts));
    let pairs = ours.iter().zip(&theirs).zip(all);
    pairs
        .filter(|((one, other), _)| (one.exit, &one.verdict) != (other.exit, &other.verdict))
        .map(|((one, other), (_, what))| {
            format!(
                "{what}\n  Rust: {} {} {}\n  JavaScript: {} {} {}",
                one.exit,
                one.verdict,
                one.text.trim(),
                other.exit,
                other.verdict,
                other.text
            )
        })
        .collect()
}

fn agree(all: &[(Artefact, String)]) {
    let found = differences(all);
    let shown: Vec<String> = found.iter().take(25).map(|d| d.chars().take(900).collect()).collect();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), all.len(), shown.join("\n"));
}

/// Evidence from the frozen vectors.
fn golden() -> Vec<Artefact> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let vectors: BTreeMap<String, String> = serde_json::from_str(&read("vectors.json")).unwrap();
    let bytes = |name: &str| vectors[name].clone().into_bytes();
    let trust = Some(bytes("trust"));
    ["checkpoint", "proof", "disclosure", "roll"]
        .into_iter()
        .map(|name| Artefact {
            name: name.to_owned(),
            files: Files::from([(name.to_owned(), bytes(name))]),
            trust: trust.clone(),
            since: None,
        })
        .collect()
}

/// Young and grown, packed, rolled, mirrored, continued, frozen.
fn everything() -> Vec<Artefact> {
    artefacts(1).into_iter().chain(lives(1)).chain(golden()).collect()
}

#[test]
#[ignore = "needs node"]
fn both_verifiers_agree_on_all_evidence_and_the_golden_vectors() {
    let mut all = Vec::new();
    for artefact in everything() {
        let mut unpinned = artefact.clone();
        (unpinned.trust, unpinned.since) = (None, None);
        all.push((artefact.clone(), format!("{}, whole", artefact.name)));
        all.push((unpinned, format!("{}, without trust", artefact.name)));
    }
    agree(&all);
}

#[test]
#[ignore = "needs node"]
fn both_verifiers_agree_on_thousands_of_spoiled_artefacts() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("CHANCERY_SEED").unwrap_or(1);
    let count = number("CHANCERY_MUTANTS").unwrap_or(10_000);
    println!("seed {seed}, {count} mutants");
    let of = everything();
    agree(&mutants(&of, seed, count as usize));
}
