//! Evidence of every kind, made by one seeded vault, ways to spoil it, and what this program says
//! of it: for tests of bad input and for comparing verifiers. The same seed gives the same bytes.

#![allow(dead_code)]

use crate::support::clinic::{Visit, append, patient};
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::unit::EntryIndex;
use chancery::cli::judge::{Judgement as Said, judge};
use chancery::report::catalogue;
use chancery::report::gather::{Ask, gather};
use chancery::report::inputs::Period;
use chancery::report::manifest::Manifest;
use chancery::vault::Vault;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Files by their path below the artefact.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One piece of evidence with what its reader has from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Artefact {
    /// Kind and number; also the name of the file or folder.
    pub(crate) name: String,
    /// One file without a directory, or a folder.
    pub(crate) files: Files,
    /// Text of the trust file.
    pub(crate) trust: Option<Vec<u8>>,
    /// A checkpoint kept from before.
    pub(crate) since: Option<Vec<u8>>,
}

impl Artefact {
    /// Whether it is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.files.len() != 1 || self.files.keys().any(|path| path.contains('/'))
    }

    /// Writes it below a directory, with what its reader has from elsewhere; says what to judge.
    pub(crate) fn write(&self, dir: &Path) -> PathBuf {
        let place = dir.join("evidence");
        for (path, bytes) in &self.files {
            let file = place.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        for (name, bytes) in [("trust", &self.trust), ("since", &self.since)] {
            if let Some(bytes) = bytes {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
        match self.files.keys().next() {
            Some(only) if !self.is_folder() => place.join(only),
            _ => place,
        }
    }

    /// What `chancery verify` says of it, asked in this process: thousands of processes would hold
    /// the lock files of other tests open between fork and exec.
    pub(crate) fn judge(&self) -> Said {
        let dir = tempfile::tempdir().unwrap();
        let target = self.write(dir.path());
        let file = |name: &str, there: bool| there.then(|| dir.path().join(name));
        let trust = file("trust", self.trust.is_some());
        let since = file("since", self.since.is_some());
        judge(&target, trust.as_deref(), since.as_deref())
    }

    /// The same, by the command itself.
    pub(crate) fn judge_as_process(&self) -> (i32, String) {
        let dir = tempfile::tempdir().unwrap();
        let target = self.write(dir.path());
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.current_dir(dir.path()).args(["--json", "verify"]).arg(target);
        for (option, there) in [("trust", &self.trust), ("since", &self.since)] {
            if there.is_some() {
                command.arg(format!("--{option}")).arg(option);
            }
        }
        for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
            command.env_remove(name);
        }
        let ran = command.stdin(Stdio::null()).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(!format!("{out}{err}").contains("panicked"), "{}: {err}", self.name);
        let find = |text: &str| -> Option<String> {
            let value: serde_json::Value = serde_json::from_str(text.lines().next()?).ok()?;
            let found = value["error"]["code"].as_str().or(value["verdict"].as_str())?;
            Some(found.to_uppercase())
        };
        let verdict = find(&out).or_else(|| find(&err)).unwrap_or_default();
        (ran.status.code().unwrap_or(-1), verdict)
    }
}

/// A thing of one file.
pub(crate) fn single(name: &str, bytes: impl Into<Vec<u8>>, trust: &str) -> Artefact {
    Artefact {
        name: name.to_owned(),
        files: Files::from([(name.to_owned(), bytes.into())]),
        trust: Some(trust.as_bytes().to_vec()),
        since: None,
    }
}

/// The text of a trust file that pins a vault's own keys, as an auditor would get it from outside.
pub(crate) fn trust_of(vault: &Vault) -> String {
    let (log, report) = (vault.log_key(), vault.report_signer().verifier());
    format!("log {log}\nreport {report}\nquorum none\n")
}

/// Everything below a directory of a simulated disk.
pub(crate) fn below(disk: &SimDisk, dir: &str) -> Files {
    let own = disk.files().into_iter().filter(|path| path.starts_with(dir));
    own.map(|path| {
        let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        (name, disk.bytes(&path).unwrap())
    })
    .collect()
}

/// One artefact of every kind, all of one vault.
pub(crate) fn artefacts(seed: u64) -> Vec<Artefact> {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let world = world(Arc::new(disk.clone()), &clock, seed);
    let vault = Vault::init(world, &config(Path::new("/sim")), "vault.example").unwrap();
    let trust = trust_of(&vault);
    let mut visits: Vec<Visit> =
        (1..9).map(|n| Visit::new(n, &format!("n{}", n % 2), &format!("p{}", n % 3))).collect();
    visits.push(Visit::new(9, "n1", "p1").class("90d"));
    visits.push(Visit::new(10, "n1", "p2").class("6y"));
    let first = append(&vault, &visits).unwrap();
    let young = vault.checkpoint().unwrap().to_string();
    let old = vault.size();
    let small = below(&disk, "/sim/data");
    clock.pass_days(1);
    append(&vault, &[Visit::new(11, "n1", "p0"), Visit::new(12, "n0", "p1")]).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let mut made = vec![single("checkpoint", young.clone(), &trust)];
    for (number, receipt) in [&first[0], &first[9]].into_iter().enumerate() {
        let proof = vault.prove(receipt.index).unwrap();
        made.push(single(&format!("proof-{number}"), proof, &trust));
    }
    made.push(single("proof-genesis", vault.prove(EntryIndex(0)).unwrap(), &trust));
    let mut growth = single("growth", vault.prove_growth(old).unwrap(), &trust);
    growth.since = Some(young.clone().into_bytes());
    made.push(growth);
    let fields = ["actor.id", "data"];
    let bundle =
        vault.disclose(first[1].index, &fields, "order 4 C 118/26", "court", "dana").unwrap();
    made.push(single("disclosure", bundle.text, &trust));
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    made.push(single("receipt", vault.erasure_receipt(erased.job).unwrap(), &trust));
    made.push(single("ledger", vault.erasure_ledger().unwrap(), &trust));
    vault.settle();
    vault.checkpoint().unwrap();
    made.push(folder("report", report(&vault), &trust, None));
    made.push(folder("data-young", small, &trust, None));
    let grown = below(&disk, "/sim/data");
    made.push(folder("data", grown.clone(), &trust, Some(young)));
    let mut stranger = folder("data-unpinned", grown, &trust, None);
    stranger.trust = None;
    made.push(stranger);
    made
}

pub(crate) fn folder(name: &str, files: Files, trust: &str, since: Option<String>) -> Artefact {
    let trust = Some(trust.as_bytes().to_vec());
    Artefact { name: name.to_owned(), files, trust, since: since.map(String::into_bytes) }
}

/// The files of a report, as `chancery report` writes them.
fn report(vault: &Vault) -> Files {
    const GDPR: &str = include_str!("../../../reports/gdpr.toml");
    let start = vault.entry(EntryIndex(0)).unwrap().time_log;
    let last = vault.facts_now().last_time;
    let end = chancery::base::unit::UtcNanos(last.0 + 1);
    let ask = Ask {
        period: Period { start, end },
        tenant_name: "main".into(),
        requester: "auditor".into(),
        nonce: [7; 16],
        cut_off: vault.clock().now(),
        software: "chancery 0.1.0".into(),
        integrity: None,
        supersedes: None,
    };
    let (inputs, facts) = gather(vault, ask).unwrap();
    let report = chancery::report::build(&inputs, &catalogue::parse(GDPR).unwrap(), &facts);
    let report = report.unwrap();
    let mut files = chancery::report::files(&report).unwrap();
    let manifest = Manifest::of(&report, &files);
    let note = manifest.sign(vault.report_signer()).unwrap();
    files.push(("manifest.note".to_owned(), note.into_bytes()));
    files.into_iter().collect()
}

/// Spoils an artefact in one to three ways; others lend it bytes. Says what was done.
pub(crate) fn mutate(one: &Artefact, others: &[Artefact], rng: &mut Rng) -> (Artefact, String) {
    let mut bad = one.clone();
    let mut done = Vec::new();
    for _ in 0..1 + rng.below(8) / 6 {
        done.push(spoil(&mut bad, others, rng));
    }
    (bad, format!("{}: {}", one.name, done.join("; ")))
}

fn spoil(bad: &mut Artefact, others: &[Artefact], rng: &mut Rng) -> String {
    let other = &others[rng.below(others.len())];
    match rng.below(24) {
        0 => {
            bad.trust = other.trust.clone();
            "trust of another".to_owned()
        }
        1 => {
            bad.since = other.since.clone();
            "another kept checkpoint".to_owned()
        }
        2 => match &mut bad.trust {
            Some(trust) => format!("trust: {}", bend(trust, trust.clone().as_slice(), rng)),
            None => "no trust to bend".to_owned(),
        },
        3 => match &mut bad.since {
            Some(since) => format!("since: {}", bend(since, since.clone().as_slice(), rng)),
            None => "no kept checkpoint to bend".to_owned(),
        },
        4 if bad.files.len() > 1 => {
            let name = pick(&bad.files, rng);
            bad.files.remove(&name);
            format!("{name} removed")
        }
        _ => {
            let name = pick(&bad.files, rng);
            let lender = &other.files[&pick(&other.files, rng)];
            let bytes = bad.files.get_mut(&name).unwrap();
            format!("{name}: {}", bend(bytes, lender, rng))
        }
    }
}

/// A file, small ones as often as large ones.
fn pick(files: &Files, rng: &mut Rng) -> String {
    files.keys().nth(rng.below(files.len())).unwrap().clone()
}

/// Changes bytes somehow; `lender` gives bytes for splices.
fn bend(bytes: &mut Vec<u8>, lender: &[u8], rng: &mut Rng) -> String {
    let len = bytes.len();
    let at = rng.below(len);
    if len == 0 {
        bytes.push(rng.next() as u8);
        return "a byte in an empty file".to_owned();
    }
    match rng.below(14) {
        0 => {
            bytes[at] ^= 1 << rng.below(8);
            format!("bit flipped at {at}")
        }
        1 => {
            bytes[at] = rng.next() as u8;
            format!("byte set at {at}")
        }
        2 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        3 => {
            let drop = at..(at + 1 + rng.below(40)).min(len);
            let text = format!("{drop:?} taken out");
            bytes.drain(drop);
            text
        }
        4 => {
            let more: Vec<u8> = (0..1 + rng.below(9)).map(|_| rng.next() as u8).collect();
            bytes.splice(at..at, more);
            format!("bytes put in at {at}")
        }
        5 => {
            let end = [&b"\n"[..], b"\r\n", b"\n\n", b" ", b"x", b"\0"][rng.below(6)];
            bytes.extend_from_slice(end);
            format!("{end:?} at the end")
        }
        6 => {
            let keep = rng.below(lender.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&lender[keep..]);
            format!("spliced at {at}")
        }
        7 => {
            *bytes = lender.to_vec();
            "replaced by another file".to_owned()
        }
        8..=10 => lines(bytes, rng),
        _ => field(bytes, at),
    }
}

/// Swaps, repeats or drops lines.
fn lines(bytes: &mut Vec<u8>, rng: &mut Rng) -> String {
    let mut lines: Vec<Vec<u8>> =
        bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (rng.below(lines.len()), rng.below(lines.len()));
    let what = match rng.below(4) {
        0 => {
            lines.swap(one, other);
            format!("lines {one} and {other} swapped")
        }
        1 => {
            let again = lines[one].clone();
            lines.insert(other, again);
            format!("line {one} again before {other}")
        }
        2 => {
            lines.remove(one);
            format!("line {one} dropped")
        }
        _ => {
            if lines[one].ends_with(b"\n") {
                lines[one].pop();
                lines[one].extend_from_slice(b"\r\n");
            }
            format!("line {one} ends as on Windows")
        }
    };
    *bytes = lines.concat();
    what
}

/// Changes the next digit or letter to its neighbour: the shape stays right.
fn field(bytes: &mut [u8], at: usize) -> String {
    let found = (at..bytes.len()).find(|at| bytes[*at].is_ascii_alphanumeric());
    let Some(at) = found else { return "no field to edit".to_owned() };
    bytes[at] = match bytes[at] {
        b'9' => b'0',
        b'z' => b'a',
        b'Z' => b'A',
        byte => byte + 1,
    };
    format!("field edited at {at}")
}

/// `count` spoiled artefacts of these, most of them small ones: a report or a data directory is a
/// hundred times the work of a proof.
pub(crate) fn mutants(of: &[Artefact], seed: u64, count: usize) -> Vec<(Artefact, String)> {
    let mut rng = Rng::new(seed);
    let (folders, files): (Vec<&Artefact>, Vec<&Artefact>) = of.iter().partition(|a| a.is_folder());
    (0..count)
        .map(|_| {
            let from = if rng.below(8) == 0 { &folders } else { &files };
            let one = from[rng.below(from.len())];
            mutate(one, of, &mut rng)
        })
        .collect()
}

/// What this program says of many, two at a time.
pub(crate) fn judge_all(all: &[Artefact]) -> Vec<Said> {
    let half = all.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        let work = |part: &[Artefact]| part.iter().map(Artefact::judge).collect::<Vec<_>>();
        let parts: Vec<_> = all.chunks(half).map(|part| scope.spawn(move || work(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}
