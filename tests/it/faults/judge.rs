//! What must hold after a fault: how the program ended and what it said, then what the plain
//! program makes of what it left behind.

use crate::faults::script::{ERASE, ERASED, EVENTS, EXPIRE, SECRETS, STEPS, Step};
use crate::faults::{Injection, ensure, said};
use crate::support::clinic::identifier;
use crate::support::world::{config, open_patiently};
use chancery::base::entry::Kind;
use chancery::base::unit::EntryIndex;
use chancery::cli::world::world;
use chancery::format::trust::Trust;
use chancery::vault::Vault;
use chancery::vault::prove::verify_proof;
use chancery::vault::read::Reading;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a step of the story, after the words of another program if any.
pub(crate) fn run_step(home: &Path, step: &Step, before: &[&str]) -> Ran {
    run_args(home, step.args, before)
}

/// Runs a command of the program in a home, after the words of another program if any.
pub(crate) fn run_args(home: &Path, args: &[&str], before: &[&str]) -> Ran {
    let words: Vec<&str> = before
        .iter()
        .copied()
        .chain([env!("CARGO_BIN_EXE_chancery"), "--home", home.to_str().unwrap()])
        .chain(args.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(home).stdin(Stdio::null());
    for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap_or_else(|e| panic!("{}: {e}", words[0]));
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Judges a run with one failed call, and what it left.
pub(crate) fn judge(
    home: &Path,
    step: usize,
    ran: &Ran,
    injected: bool,
    what: &Injection,
) -> Result<(), String> {
    if injected && ran.code != 0 {
        let causes: &[&str] = match what.action {
            "error=EIO" => &["Input/output error"],
            "error=ENOSPC" => &["No space left", "no storage space"],
            "error=EINTR" => {
                return Err(format!("an interrupted call is no failure: {}", said(ran)));
            }
            _ => &["failed to write whole buffer", "failed to write the buffered data"],
        };
        let place = what.site.place();
        let named = causes.iter().any(|cause| ran.err.contains(cause));
        ensure(named, || format!("the cause is not named: {}", said(ran)))?;
        ensure(ran.err.contains(place), || format!("the path is not named: {}", said(ran)))?;
    }
    after(home, step, ran)
}

/// Judges a run that may have failed, and what it left.
pub(crate) fn after(home: &Path, step: usize, ran: &Ran) -> Result<(), String> {
    let text = format!("{}{}", ran.out, ran.err);
    ensure(!text.contains("panicked"), || format!("a panic: {}", said(ran)))?;
    ensure((0..=4).contains(&ran.code), || format!("it died: {}", said(ran)))?;
    for secret in SECRETS {
        ensure(!ran.err.contains(secret), || format!("it tells {secret}: {}", said(ran)))?;
    }
    if ran.code != 0 {
        let last = ran.err.lines().last().unwrap_or_default();
        let good = last.starts_with("chancery: ") && last.matches(": ").count() >= 2;
        ensure(good, || format!("no line that says why: {}", said(ran)))?;
    }
    for artefact in STEPS[step].artefacts.iter().filter(|name| home.join(name).exists()) {
        plain(home, &["verify", artefact, "--trust", "trust"])
            .map_err(|why| format!("half of {artefact} is left: {why}; {}", said(ran)))?;
    }
    let kept = receipts(home)?;
    let again = run_patiently(home, STEPS[step].args);
    let fine = again.code == 0 || STEPS[step].again.iter().any(|code| again.err.contains(code));
    ensure(fine, || format!("not done the second time: {}; before: {}", said(&again), said(ran)))?;
    // A file of receipts is written anew: what the first run printed still counts.
    held(home, &kept)?;
    plain(home, &["verify", "--trust", "trust"])?;
    state(home, step)
}

/// As `run_args`. A program that another thread of this test starts has a copy of the lock this
/// process held, up to the moment it becomes that program: that is no second opener.
fn run_patiently(home: &Path, args: &[&str]) -> Ran {
    for _ in 0..1_000 {
        let ran = run_args(home, args, &[]);
        let locked = "another process has this vault open";
        if !ran.out.contains(locked) && !ran.err.contains(locked) {
            return ran;
        }
    }
    run_args(home, args, &[])
}

/// A command of the plain program that must succeed.
fn plain(home: &Path, args: &[&str]) -> Result<(), String> {
    let ran = run_patiently(home, args);
    ensure(ran.code == 0, || format!("{args:?}: {}", said(&ran)))
}

/// Index and leaf of every receipt that was printed whole.
fn receipts(home: &Path) -> Result<Vec<(u64, String)>, String> {
    let mut found = Vec::new();
    for name in ["receipts-1", "receipts-2"] {
        let text = std::fs::read_to_string(home.join(name)).unwrap_or_default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: Value = serde_json::from_str(line).map_err(|e| format!("{name}: {e}"))?;
            let leaf = value["leaf"].as_str().unwrap_or_default().to_owned();
            found.push((value["index"].as_u64().unwrap_or(u64::MAX), leaf));
        }
    }
    Ok(found)
}

fn open(home: &Path) -> Result<Vault, String> {
    let mut config = config(home);
    config.data = home.join("chancery-data");
    open_patiently(&world(), &config).map_err(|e| format!("it does not open: {e}"))
}

/// Every receipt is of an entry that is there and can be proved to an outsider.
fn held(home: &Path, receipts: &[(u64, String)]) -> Result<(), String> {
    let vault = open(home)?;
    let text = std::fs::read_to_string(home.join("trust")).unwrap();
    let trust = Trust::parse(&text).map_err(|e| e.to_string())?;
    for (index, leaf) in receipts {
        let index = EntryIndex(*index);
        let lost = |what: &str| format!("receipt of entry {index}: {what}");
        let there = vault.leaf(index).map(|leaf| leaf.to_string());
        ensure(there.as_ref() == Some(leaf), || lost("its leaf is not in the log"))?;
        let proof = vault.prove(index).map_err(|e| lost(&e.to_string()))?;
        let proved = verify_proof(&proof, &trust).map_err(|e| lost(&e.to_string()))?;
        ensure(proved.entry.index == index, || lost("the proof is of another entry"))?;
    }
    Ok(())
}

/// Compares the vault with the story up to and with a step. What a legal floor keeps of the erased
/// person, every third event, may still be read.
pub(crate) fn state(home: &Path, step: usize) -> Result<(), String> {
    held(home, &receipts(home)?)?;
    let vault = open(home)?;
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut seqs: BTreeMap<u64, u64> = BTreeMap::new();
    let mut told = Ok(());
    let size = EntryIndex(vault.size().0);
    let reading = Reading::OPEN;
    vault
        .for_each_record(EntryIndex(0)..size, reading, &mut |record| {
            let head = &record.entry.head;
            *kinds.entry(head.kind).or_default() += 1;
            if head.kind == Kind::Event {
                *seqs.entry(head.source_seq.unwrap_or(0)).or_default() += 1;
            }
            for field in &record.fields {
                let value = String::from_utf8_lossy(field.value.as_deref().unwrap_or_default());
                let of = format!("of-{ERASED}-end");
                let gone = step >= ERASE && head.source_seq.is_some_and(|s| s < 10 && s % 3 != 0);
                if gone && value.contains(&of) {
                    told = Err(format!("entry {} still tells of the erased", record.entry.index));
                }
            }
            Ok(())
        })
        .map_err(|e| e.to_string())?;
    told?;
    let events = EVENTS[2] + EVENTS[0] + if step >= 6 { EVENTS[1] } else { 0 };
    let once = seqs.values().all(|count| *count == 1) && seqs.len() as u64 == events;
    ensure(once, || format!("events are not there once each, {events}: {seqs:?}"))?;
    let count = |kind| kinds.get(&kind).copied().unwrap_or(0);
    let erased = u64::from(step >= ERASE);
    for kind in [Kind::EraseIntent, Kind::EraseDone] {
        ensure(count(kind) == erased, || format!("{} of {kind:?}", count(kind)))?;
    }
    let expired = u64::from(step >= EXPIRE);
    for kind in [Kind::PruneIntent, Kind::PruneDone] {
        ensure(count(kind) == expired, || format!("{} of {kind:?}", count(kind)))?;
    }
    let holds = vault.facts_now().holds.len();
    ensure(holds == usize::from(step == 2), || format!("{holds} cases hold something"))?;
    if (ERASE..6).contains(&step) {
        let known = vault.persons_named(&[identifier("patient_id", ERASED)]);
        ensure(known.is_err(), || "the erased person is known again".to_owned())?;
    }
    bodies(&vault, home, step)
}

/// Every body opens or its absence is justified, and expired files are gone.
fn bodies(vault: &Vault, home: &Path, step: usize) -> Result<(), String> {
    let report = vault.verify_bodies(&mut |_, _| {}).map_err(|e| e.to_string())?;
    ensure(report.failures == 0, || format!("bodies: {:?}", report.verdicts))?;
    let expired = vault.facts_now().expired;
    ensure(expired.is_empty() == (step < EXPIRE), || format!("expired: {}", expired.len()))?;
    for day in expired.keys() {
        let tenant = home.join("chancery-data/tenants").join(vault.tenant().to_string());
        let file = tenant.join(format!("bodies/{}/{}.seg", day.class, day.day));
        ensure(!file.exists(), || format!("{} is still there", file.display()))?;
    }
    Ok(())
}
