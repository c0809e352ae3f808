//! Evidence in files and folders: without a trust file everything but signatures is checked in the
//! same order and with the same codes, and what lies in a folder cannot hang or exhaust its reader.

use crate::attacks::forge::key;
use crate::attacks::raw::{Site, visit};
use crate::support::artefacts::{Artefact, artefacts, judge_all, single, trust_of};
use crate::support::sim::Rng;
use chancery::base::event::Draft;
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::cli::judge::{Judgement as Said, judge};
use chancery::crypto::hash::leaf_hash;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::proof::TlogProof;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Verdicts that only trust can give.
const OF_TRUST: [&str; 6] =
    ["BAD_SIGNATURE", "UNTRUSTED_KEY", "KEY_RETIRED", "QUORUM_MISSING", "REPORT_ORIGIN", "USAGE"];

fn find(all: &[Artefact], name: &str) -> Artefact {
    all.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

fn unpinned(mut artefact: Artefact) -> Artefact {
    artefact.trust = None;
    artefact
}

/// An artefact of one file, edited as text and judged without trust.
fn bent(artefact: &Artefact, from: &str, to: &str) -> Said {
    let mut bad = unpinned(artefact.clone());
    let bytes = bad.files.values_mut().next().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    *bytes = text.replacen(from, to, 1).into_bytes();
    bad.judge()
}

fn expect(said: &Said, exit: u8, verdict: &str) {
    assert_eq!((said.exit, said.verdict.as_str()), (exit, verdict), "{}", said.text);
}

#[test]
fn without_trust_what_is_wrong_has_the_code_it_has_with_trust() {
    let all = artefacts(1);
    let (proof, disclosure) = (find(&all, "proof-0"), find(&all, "disclosure"));
    let text = String::from_utf8(disclosure.files["disclosure"].clone()).unwrap();
    let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = bundle["fields"].to_string();
    let salt = bundle["fields"][0]["salt"].as_str().unwrap();
    expect(&bent(&disclosure, &fields, "[]"), 1, "MALFORMED");
    expect(&bent(&disclosure, salt, &salt[1..]), 1, "MALFORMED");
    let other = salt.replacen(&salt[..1], if salt.starts_with('0') { "1" } else { "0" }, 1);
    expect(&bent(&disclosure, salt, &other), 1, "DISCLOSURE_FIELD_MISMATCH");
    let value = bundle["fields"][0]["value"].to_string();
    expect(&bent(&disclosure, &value, r#""\"n9\"""#), 1, "DISCLOSURE_FIELD_MISMATCH");
    expect(&bent(&disclosure, &value, r#""n9""#), 1, "MALFORMED");
    let parsed = TlogProof::parse(&proof.files["proof-0"]).unwrap();
    let index = format!("index {}\n", parsed.index);
    expect(&bent(&proof, &index, &format!("index {}\n", parsed.index.0 ^ 1)), 1, "PROOF_ROOT");
    expect(&bent(&proof, &index, "index 900\n"), 1, "PROOF_RANGE");
    // An entry of one log, in the tree of another.
    let bytes = parsed.extra.unwrap();
    let (origin, root) = (format!("vault.example/t/{}", "00".repeat(16)), leaf_hash(&bytes));
    let note = Checkpoint { origin: origin.clone(), size: TreeSize(1), root };
    let checkpoint = note.sign(&[&key(&origin, 8)]).unwrap();
    let (index, extra) = (EntryIndex(0), Some(bytes));
    let foreign = TlogProof { index, proof: Vec::new(), checkpoint, extra }.to_string();
    let said = unpinned(single("proof", foreign, "")).judge();
    assert!(["INDEX_OR_PREV_MISMATCH", "TENANT_MISMATCH"].contains(&said.verdict.as_str()));
    assert_eq!(said.exit, 1);
    let genesis = TlogProof::parse(&find(&all, "proof-genesis").files["proof-genesis"]).unwrap();
    let root = leaf_hash(genesis.extra.as_ref().unwrap());
    let note = Checkpoint { origin: origin.clone(), size: TreeSize(1), root };
    let checkpoint = note.sign(&[&key(&origin, 8)]).unwrap();
    let foreign = TlogProof { proof: Vec::new(), checkpoint, ..genesis }.to_string();
    expect(&unpinned(single("proof", foreign, "")).judge(), 1, "TENANT_MISMATCH");
}

#[test]
fn without_trust_checkpoints_are_compared() {
    let all = artefacts(1);
    let (growth, young) = (find(&all, "growth"), find(&all, "checkpoint"));
    expect(&bent(&growth, "old ", "old 1"), 1, "INCONSISTENT");
    expect(&bent(&growth, "old ", "old 0"), 1, "MALFORMED");
    expect(&unpinned(growth.clone()).judge(), 4, "INCONCLUSIVE");
    let mut alone = unpinned(growth.clone());
    alone.since = None;
    expect(&alone.judge(), 4, "INCONCLUSIVE");
    let text = String::from_utf8(growth.files["growth"].clone()).unwrap();
    let (_, grown) = text.split_once("\n\n").unwrap();
    let mut shrunk = unpinned(young.clone());
    shrunk.since = Some(grown.as_bytes().to_vec());
    expect(&shrunk.judge(), 1, "ROLLED_BACK");
    // With trust the same, and one that passes says what it did not show.
    shrunk.trust = young.trust.clone();
    expect(&shrunk.judge(), 1, "ROLLED_BACK");
    let mut grew = single("checkpoint", grown, "");
    (grew.trust, grew.since) = (young.trust.clone(), young.files.values().next().cloned());
    let said = grew.judge();
    expect(&said, 0, "VERIFIED");
    assert!(said.text.contains("needs a consistency proof"), "{}", said.text);
    expect(&unpinned(grew).judge(), 4, "INCONCLUSIVE");
}

/// Trust decides whom to believe, and nothing else.
#[test]
fn trust_changes_no_verdict_but_those_of_trust() {
    let seed = 5;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let all = artefacts(1);
    let single = all.iter().filter(|a| !a.is_folder() && a.trust.is_some());
    let mut pinned: Vec<Artefact> = Vec::new();
    for artefact in single {
        pinned.push(artefact.clone());
        let len = artefact.files.values().next().unwrap().len();
        for _ in 0..60 {
            let mut bad = artefact.clone();
            let bytes = bad.files.values_mut().next().unwrap();
            bytes[rng.below(len)] ^= 1 << rng.below(7);
            pinned.push(bad);
        }
    }
    let alone: Vec<Artefact> = pinned.iter().cloned().map(unpinned).collect();
    let mut compared = 0;
    for ((with, without), artefact) in judge_all(&pinned).iter().zip(judge_all(&alone)).zip(&pinned)
    {
        let context = format!("{}: {} / {}", artefact.name, with.text, without.text);
        assert_ne!(without.exit, 0, "{context}");
        if with.exit == 0 {
            assert_eq!((without.exit, without.verdict.as_str()), (4, "INCONCLUSIVE"), "{context}");
        } else if !OF_TRUST.contains(&with.verdict.as_str()) {
            let same = (without.exit, &without.verdict) == (with.exit, &with.verdict);
            assert!(same, "{context}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared} of {} compared", pinned.len());
}

#[test]
fn a_report_is_checked_file_by_file_with_trust_and_without() {
    let all = artefacts(1);
    let report = find(&all, "report");
    for trust in [report.trust.clone(), None] {
        let judged = |edit: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let place = report.write(dir.path());
            edit(&place);
            let file = trust.is_some().then(|| dir.path().join("trust"));
            judge(&place, file.as_deref(), None)
        };
        let whole = if trust.is_some() { (0, "VERIFIED") } else { (4, "INCONCLUSIVE") };
        expect(&judged(&|_| {}), whole.0, whole.1);
        expect(&judged(&|at| fs::create_dir(at.join("tables/none")).unwrap()), whole.0, whole.1);
        let changed = |at: &Path| fs::write(at.join("report.json"), "{}").unwrap();
        expect(&judged(&changed), 1, "REPORT_FILE_CHANGED");
        let missing = |at: &Path| fs::remove_file(at.join("report.json")).unwrap();
        expect(&judged(&missing), 1, "REPORT_FILE_MISSING");
        let deep = |at: &Path| {
            fs::create_dir_all(at.join("tables/deep")).unwrap();
            fs::write(at.join("tables/deep/x"), "x").unwrap();
        };
        expect(&judged(&deep), 1, "REPORT_FILE_UNLISTED");
        // Nothing that is no file is opened: a pipe would be waited for.
        let pipe = |at: &Path| {
            fs::remove_file(at.join("report.json")).unwrap();
            assert!(Command::new("mkfifo").arg(at.join("report.json")).status().unwrap().success());
        };
        expect(&judged(&pipe), 1, "REPORT_FILE_CHANGED");
        let link = |at: &Path| {
            fs::rename(at.join("report.json"), at.with_file_name("elsewhere")).unwrap();
            std::os::unix::fs::symlink("../elsewhere", at.join("report.json")).unwrap();
        };
        expect(&judged(&link), 1, "REPORT_FILE_CHANGED");
        // A file of a size that nobody signed is not read: this one has no disk behind it.
        let huge = |at: &Path| {
            let file = fs::File::options().write(true).open(at.join("report.json")).unwrap();
            file.set_len(1 << 40).unwrap();
        };
        expect(&judged(&huge), 1, "REPORT_FILE_CHANGED");
    }
}

#[test]
fn what_is_too_large_packed_or_no_file_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("evidence");
    fs::write(&place, b"PK\x03\x04 and so on").unwrap();
    expect(&judge(&place, None, None), 3, "EVIDENCE_ZIPPED");
    let file = fs::File::create(&place).unwrap();
    file.set_len(16 << 20).unwrap();
    expect(&judge(&place, None, None), 1, "MALFORMED");
    file.set_len((16 << 20) + 1).unwrap();
    expect(&judge(&place, None, None), 3, "TOO_LARGE");
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    expect(&judge(&pipe, None, None), 3, "FILE_IO");
}

/// Runs `chancery verify` on files in a directory.
fn verify(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
        command.env_remove(name);
    }
    let ran = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (ran.status.code().unwrap(), text(&ran.stdout), text(&ran.stderr))
}

/// A value is shown as it was sealed: no digit of it is lost, and its line ends begin no line.
#[test]
fn a_disclosed_value_is_shown_as_it_was_sealed() {
    let site = Site::with(1);
    let vault = site.open().unwrap();
    let data = "{\"amount\":9007199254740993.10,\n\"VERIFIED\":1}";
    let json = visit(6, "n1", "p1").replace(r#"{"ward":"3b","note":"bed p1"}"#, data);
    assert!(json.contains(data));
    let receipts = vault.append(&[Draft { source: "ehr", json: json.as_bytes() }]).unwrap();
    let made =
        vault.disclose(receipts[0].index, &["data"], "order 4 C 118/26", "court", "dana").unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("told"), made.text).unwrap();
    fs::write(dir.path().join("trust"), trust_of(&vault)).unwrap();
    let (exit, out, err) = verify(dir.path(), &["verify", "told", "--trust", "trust"]);
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.lines().skip(1).all(|line| line.starts_with("  ")), "{out}");
    assert!(out.contains("9007199254740993.10,\\u{a}"), "{out}");
    let (_, out, _) = verify(dir.path(), &["--json", "verify", "told", "--trust", "trust"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let sealed = format!("{{\"data\":{data}}}");
    assert_eq!(found["facts"]["fields"]["data"], sealed, "{out}");
    // What one file cannot answer is refused.
    for option in [&["--strict"][..], &["--evidence", "wrong.range"]] {
        let args = [&["verify", "told", "--trust", "trust"], option].concat();
        let (exit, _, err) = verify(dir.path(), &args);
        assert!(exit == 2 && err.starts_with("chancery: USAGE: --"), "{err}");
    }
}

/// By default a data directory's seals are computed again, and who leaves that out is told.
#[test]
fn seals_are_computed_again_unless_somebody_says_not_to() {
    use crate::attacks::forge::Forge;
    use chancery::base::entry::Kind;
    use chancery::format::seal::epoch::EpochTables;
    use chancery::format::seal::payload::SealPayload;
    const EPOCH: u64 = 65_536;
    let mut forge = Forge::new();
    forge.events(1..EPOCH);
    let entries: Vec<_> = (0..EPOCH).map(|i| forge.entry(i)).collect();
    let tables = EpochTables::build(0, &entries).unwrap();
    let honest = tables.payload(&tables.tables(), forge.root(0, EPOCH as usize)).unwrap();
    let wrong = SealPayload { count_root: Hash32([1; 32]), ..honest };
    forge.act(Kind::Seal, wrong.encode());
    forge.publish(&[&forge.signer]);
    let dir = forge.dir.path();
    let trust = format!("log {}\nquorum none\n", forge.signer.verifier());
    fs::write(dir.join("trust"), trust).unwrap();
    expect(&judge(dir, Some(&dir.join("trust")), None), 1, "FAILED");
    let args = ["verify", ".", "--trust", "trust"];
    assert_eq!(verify(dir, &args).0, 1);
    let (exit, out, _) = verify(dir, &[&args[..], &["--replay-seals", "none"]].concat());
    assert!(exit == 0 && out.contains("VERIFIED 1 of 1 seals not computed again"), "{out}");
}
