//! Evidence that is cut, foreign, empty, of another version or bent at random: the verifier says
//! which file and which rule, and never that it is verified.

use crate::support::artefacts::{Artefact, artefacts, judge_all, mutants};
use chancery::cli::judge::Judgement as Said;

/// The number of bent artefacts, and the seed.
const MUTANTS: usize = 600;

fn find(all: &[Artefact], name: &str) -> Artefact {
    all.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

/// Edits the only file of an artefact as text.
fn edited(artefact: &Artefact, edit: impl Fn(&str) -> String) -> Artefact {
    let mut bad = artefact.clone();
    for bytes in bad.files.values_mut() {
        *bytes = edit(std::str::from_utf8(bytes).unwrap()).into_bytes();
    }
    assert_ne!(&bad, artefact, "{}: the edit hit something", artefact.name);
    bad
}

/// What a refusal must say: a code, and the file or the rule.
fn speaks(said: &Said, context: &str) {
    assert_ne!(said.exit, 0, "{context}: {}", said.text);
    assert!([1, 2, 3, 4].contains(&said.exit), "{context}: exit {}", said.exit);
    assert!(!said.verdict.is_empty(), "{context}: no verdict: {}", said.text);
    assert!(said.text.len() > said.verdict.len() + 20, "{context}: says nothing: {}", said.text);
}

#[test]
fn whole_evidence_of_every_kind_is_verified() {
    let all = artefacts(1);
    for (artefact, said) in all.iter().zip(judge_all(&all)) {
        let expect = if artefact.trust.is_some() { 0 } else { 4 };
        assert_eq!(said.exit, expect, "{}: {}", artefact.name, said.text);
        let process = (i32::from(said.exit), said.verdict.clone());
        assert_eq!(artefact.judge_as_process(), process, "{}", artefact.name);
    }
    assert_eq!(all, artefacts(1), "one seed, the same bytes");
    assert_ne!(all, artefacts(2));
}

#[test]
fn evidence_cut_at_any_byte_is_never_verified() {
    let all = artefacts(1);
    let mut cuts = Vec::new();
    for artefact in all.iter().filter(|a| !a.is_folder()) {
        let (name, whole) = artefact.files.iter().next().unwrap();
        for at in 0..whole.len() {
            let mut cut = artefact.clone();
            cut.files.insert(name.clone(), whole[..at].to_vec());
            cuts.push((cut, format!("{name} cut at {at}")));
        }
    }
    let manifest = find(&all, "report");
    let whole = &manifest.files["manifest.note"];
    for at in (0..whole.len()).step_by(3) {
        let mut cut = manifest.clone();
        cut.files.retain(|name, _| !name.ends_with(".pdf"));
        cut.files.insert("manifest.note".to_owned(), whole[..at].to_vec());
        cuts.push((cut, format!("manifest cut at {at}")));
    }
    // The trust file is cut to something that pins less, or nothing: never to a verified proof
    // without a whole line for the key that signed.
    let proof = find(&all, "proof-0");
    let trust = proof.trust.clone().unwrap();
    let needed = trust.iter().position(|b| *b == b'\n').unwrap();
    for at in 0..needed {
        let mut cut = proof.clone();
        cut.trust = Some(trust[..at].to_vec());
        cuts.push((cut, format!("trust cut at {at}")));
    }
    let (cuts, contexts): (Vec<Artefact>, Vec<String>) = cuts.into_iter().unzip();
    println!("{} cuts", cuts.len());
    for (said, context) in judge_all(&cuts).iter().zip(&contexts) {
        speaks(said, context);
    }
}

#[test]
fn a_data_directory_cut_in_any_file_is_never_verified_beyond_what_is_there() {
    let all = artefacts(1);
    let data = find(&all, "data");
    let mut cuts = Vec::new();
    for (name, whole) in &data.files {
        // Tiles may be short: they are derived, and the verifier says so and goes on.
        if name.contains("/tile/") || name == "lock" {
            continue;
        }
        for at in (0..whole.len()).step_by(1 + whole.len() / 60) {
            let mut cut = data.clone();
            cut.files.insert(name.clone(), whole[..at].to_vec());
            cuts.push((cut, format!("{name} cut at {at} of {}", whole.len())));
        }
        let mut gone = data.clone();
        gone.files.remove(name);
        cuts.push((gone, format!("{name} removed")));
    }
    let (cuts, contexts): (Vec<Artefact>, Vec<String>) = cuts.into_iter().unzip();
    for (said, context) in judge_all(&cuts).iter().zip(&contexts) {
        // A vault file may lose the newline at its end.
        if !(context.starts_with("vault.toml") && said.exit == 0) {
            speaks(said, context);
        }
    }
}

#[test]
fn foreign_empty_and_newer_evidence_is_refused_by_name() {
    let (all, foreign) = (artefacts(1), artefacts(2));
    let mut cases: Vec<(Artefact, u8, &str)> = Vec::new();
    // Evidence of another log, under this auditor's trust.
    for name in ["checkpoint", "proof-0", "growth", "disclosure", "receipt", "ledger"] {
        let mut other = find(&foreign, name);
        other.trust = find(&all, name).trust;
        cases.push((other, 4, "UNTRUSTED_KEY"));
    }
    let mut other = find(&foreign, "data");
    other.trust = find(&all, "data").trust;
    other.since = None;
    cases.push((other, 4, "INCONCLUSIVE"));
    // A checkpoint of another log kept from before, and another log's checkpoint put in.
    let mut other = find(&all, "data");
    other.since = find(&foreign, "data").since;
    cases.push((other, 1, "FAILED"));
    let mut other = find(&all, "growth");
    other.since = find(&foreign, "growth").since;
    cases.push((other, 4, "UNTRUSTED_KEY"));
    let (mut other, theirs) = (find(&all, "data"), find(&foreign, "data"));
    let checkpoint = |files: &crate::support::artefacts::Files| {
        files.keys().find(|name| name.ends_with("/checkpoint")).unwrap().clone()
    };
    let theirs = theirs.files[&checkpoint(&theirs.files)].clone();
    other.files.insert(checkpoint(&other.files), theirs);
    cases.push((other, 1, "FAILED"));
    // Nothing at all.
    for name in ["checkpoint", "proof-0", "disclosure", "receipt", "ledger"] {
        cases.push((edited(&find(&all, name), |_| String::new()), 1, "MALFORMED"));
    }
    let mut empty = find(&all, "data");
    empty.files.retain(|name, _| name == "vault.toml");
    empty.files.insert("README".to_owned(), Vec::new());
    empty.since = None;
    cases.push((empty, 4, "INCONCLUSIVE"));
    // Another version.
    let newer = |name: &str, from: &str, to: &str| {
        edited(&find(&all, name), |text| text.replacen(from, to, 1))
    };
    cases.push((newer("proof-0", "tlog-proof@v1", "tlog-proof@v2"), 1, "MALFORMED"));
    cases.push((newer("disclosure", "disclosure/v1", "disclosure/v2"), 1, "MALFORMED"));
    cases.push((newer("receipt", "receipt/v1", "receipt/v2"), 1, "MALFORMED"));
    cases.push((newer("ledger", "ledger/v1", "ledger/v2"), 1, "MALFORMED"));
    let mut newer = find(&all, "data");
    let file = newer.files.get_mut("vault.toml").unwrap();
    *file = String::from_utf8(file.clone()).unwrap().replace("format = 1", "format = 9").into();
    cases.push((newer, 4, "STORE_TOO_NEW"));
    let said = judge_all(&cases.iter().map(|(a, ..)| a.clone()).collect::<Vec<_>>());
    for (number, ((artefact, exit, verdict), said)) in cases.iter().zip(&said).enumerate() {
        let context = format!("case {number}, {}: {}", artefact.name, said.text);
        assert_eq!((said.exit, said.verdict.as_str()), (*exit, *verdict), "{context}");
        speaks(said, &context);
    }
}

#[test]
fn evidence_bent_at_random_is_judged_and_nothing_panics() {
    let seed = 1;
    println!("seed {seed}");
    let all = artefacts(1);
    let (bad, contexts): (Vec<_>, Vec<_>) = mutants(&all, seed, MUTANTS).into_iter().unzip();
    let mut verified = 0;
    for (said, context) in judge_all(&bad).iter().zip(&contexts) {
        assert!((0..=4).contains(&said.exit), "{context}: exit {}", said.exit);
        verified += usize::from(said.exit == 0);
    }
    // Some bending is harmless: a tile, a comment, an unused line of the trust file.
    assert!(verified < MUTANTS / 4, "{verified} of {MUTANTS} verified");
}
