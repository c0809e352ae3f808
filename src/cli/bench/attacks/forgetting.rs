//! Attacks on forgetting: old copies put back, roots planted, power lost between the steps, every
//! byte searched. Whoever was erased stays erased; everybody else stays readable.

use crate::base::entry::Kind;
use crate::base::unit::{EntryIndex, Generation};
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{
    Ground, code, config, failing, patient, readable, send, two_people, visit,
};
use crate::cli::bench::attacks::kill::KillDisk;
use crate::cli::bench::attacks::reach::{Bytes, reachable, secrets, slot};
use crate::format::control::Scope;
use crate::format::slot::Slot;
use crate::store::disk::OsDisk;
use crate::store::kek::Kek;
use crate::vault::Vault;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What only records of `p1` hold.
const SECRET: &str = "secret of p1";
/// What only records of somebody else hold.
const OTHER: &str = "secret of p2";

fn forget(vault: &Vault) -> Result<crate::vault::erase::Erased> {
    Ok(vault.erase(&[patient("p1")], "gdpr-17-1", &two_people())?)
}

/// A vault, a copy of it, and then p1 erased from it; with the keys p1 had.
fn forgotten(dir: &Path, batches: u64) -> Result<(Ground, Ground, Vec<Bytes>)> {
    let ground = Ground::new(dir, batches)?;
    let keys = secrets(&ground, &patient("p1"))?;
    ensure!(!keys.is_empty(), "p1 has keys");
    let copy = ground.copy("before")?;
    forget(&ground.open()?)?;
    Ok((ground, copy, keys))
}

/// 19: whether any key or seed of the erased person can be had from any copy.
pub(crate) fn oracle(dir: &Path) -> Result<Found> {
    let (ground, copy, keys) = forgotten(dir, 2)?;
    let before = reachable(&copy, &[])?;
    ensure!(keys.iter().any(|key| before.contains(key)), "before it, the attack succeeds");
    let known = reachable(&ground, &[&copy])?;
    let out = keys.iter().any(|key| known.contains(key));
    let text = readable(&ground.open()?, SECRET)?;
    Ok(Found(if out || text { "key reachable" } else { "no oracle" }.to_owned()))
}

/// 20: a year-old backup of the data beside the current keys.
pub(crate) fn old_data(dir: &Path) -> Result<Found> {
    let (ground, copy, _) = forgotten(dir, 2)?;
    ground.put_back("data", &copy)?;
    let vault = ground.open()?;
    ensure!(readable(&vault, OTHER)?, "everybody else is readable");
    ensure!(!readable(&vault, SECRET)?, "the erased is readable again");
    Ok(Found(vault.read_only().unwrap_or("writable").to_owned()))
}

/// 21: old keys beside current data.
pub(crate) fn old_keys(dir: &Path) -> Result<Found> {
    let (ground, copy, _) = forgotten(dir, 2)?;
    ground.put_back("keys", &copy)?;
    Ok(code(ground.open()))
}

/// 22, with an exported ledger: data and keys of one old copy.
pub(crate) fn old_image(dir: &Path) -> Result<Found> {
    let (ground, copy, _) = forgotten(dir, 2)?;
    let ledger = ground.open()?.erasure_ledger()?;
    let own = crate::vault::config::Config { ledger: Some(ledger), ..config(&copy.dir) };
    Ok(code(copy.open_on(Arc::new(OsDisk), &own)))
}

/// 23: the old root, sealed again under a higher generation, in the other slot.
pub(crate) fn planted(dir: &Path) -> Result<Found> {
    let (ground, copy, _) = forgotten(dir, 2)?;
    let (old, now) = (slot(&copy)?, slot(&ground)?);
    let planted = Slot { generation: Generation(now.generation.0 + 1), ..old };
    let kek = Kek::open(&OsDisk, &ground.dir.join("keys"), None)?;
    let bytes = planted.seal(kek.key(), &[3; 12]).context("a slot")?;
    let name = format!("root.{}", planted.generation.0 % 2);
    fs::write(ground.places()?.tree.join(name), &bytes[..])?;
    Ok(code(ground.open()))
}

/// What must hold after a kill: nothing acknowledged is lost, nothing erased is back.
fn invariants(ground: &Ground, erased: bool, added: Option<EntryIndex>) -> Result<()> {
    let vault = ground.open()?;
    ensure!(!(erased && readable(&vault, SECRET)?), "the erased is back");
    ensure!(readable(&vault, OTHER)?, "somebody else's key is lost");
    if let Some(index) = added {
        ensure!(vault.entry(index)?.head.kind == Kind::Event, "an acknowledged event is lost");
        ensure!(readable(&vault, "secret of late")?, "its body is lost");
    }
    send(&vault, &[visit(900, "n1", "p2")])?;
    vault.checkpoint()?;
    drop(vault);
    let found = failing(&ground.verify()?);
    ensure!(found.is("VERIFIED"), "{found:?}");
    Ok(())
}

/// 24: killed at every operation of an append of a new person and an erasure.
pub(crate) fn power(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let mut operation = 0;
    loop {
        operation += 1;
        ensure!(operation < 500, "it must end");
        let copy = ground.copy(&format!("kill{operation}"))?;
        let (disk, left) = KillDisk::new();
        let vault = copy.open_on(Arc::new(disk), &config(&copy.dir))?;
        left.set(operation);
        let added = send(&vault, &[visit(800, "n9", "late")]).ok();
        let erased = added.is_some() && forget(&vault).is_ok();
        drop(vault);
        let alive = left.is_alive();
        let added = added.and_then(|indexes| indexes.first().copied());
        invariants(&copy, erased, added).with_context(|| format!("operation {operation}"))?;
        fs::remove_dir_all(&copy.dir)?;
        if alive && erased {
            return Ok(Found("invariants hold".to_owned()));
        }
    }
}

/// All files below a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut todo, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

/// Whether a needle is in any file.
fn hits(dir: &Path, needles: &[Vec<u8>]) -> Result<usize> {
    let mut hits = 0;
    for file in files(dir)? {
        let bytes = fs::read(file)?;
        let has = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|w| w == *needle);
        hits += needles.iter().filter(|needle| has(needle)).count();
    }
    Ok(hits)
}

/// 25: every file searched for the dead keys, the dead root and the identifiers.
pub(crate) fn scan(dir: &Path) -> Result<Found> {
    let (ground, copy, keys) = forgotten(dir, 2)?;
    let mut needles: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    needles.push(slot(&copy)?.root_key.expose().to_vec());
    needles.push(SECRET.as_bytes().to_vec());
    let hits = hits(&ground.dir, &needles)?;
    Ok(Found(if hits == 0 { "zero hits" } else { "found" }.to_owned()))
}

/// 26: the tree splits, then somebody who was moved is erased; every old node is at hand.
pub(crate) fn split(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let copy = ground.copy("before")?;
    let vault = ground.open()?;
    let more: Vec<String> = (0..60).map(|n| visit(700 + n, "n1", &format!("more{n}"))).collect();
    send(&vault, &more)?;
    drop(vault);
    let keys = secrets(&ground, &patient("p1"))?;
    let middle = ground.copy("middle")?;
    forget(&ground.open()?)?;
    let known = reachable(&ground, &[&copy, &middle])?;
    let out = keys.iter().any(|key| known.contains(key));
    Ok(Found(if out { "key reachable" } else { "no way back" }.to_owned()))
}

/// 27: erased under a hold, twice, unknown, and born again.
pub(crate) fn hold(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let before = secrets(&ground, &patient("p1"))?;
    let vault = ground.open()?;
    let erase = |name: &str| vault.erase(&[patient(name)], "gdpr-17-1", &two_people());
    let person = *vault.persons_named(&[patient("p1")])?.first().context("a person")?;
    let (case, _) = vault.set_hold(None, "case", Scope::Person { person }, &two_people())?;
    let held = code(erase("p1"));
    vault.release_hold(case, &two_people())?;
    erase("p1")?;
    let (twice, unknown) = (erase("p1").err(), erase("nobody").err());
    let same = twice.map(|e| e.to_string()) == unknown.map(|e| e.to_string());
    ensure!(same, "one answer for both");
    send(&vault, &[visit(900, "n1", "p1")])?;
    drop(vault);
    let born = secrets(&ground, &patient("p1"))?;
    ensure!(!born.is_empty() && born.iter().all(|key| !before.contains(key)), "a new person");
    Ok(held)
}

/// 28: killed between the new root and the scrub of the old one, then served.
pub(crate) fn unscrubbed(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let slots = |ground: &Ground| -> Result<usize> {
        let tree = ground.places()?.tree;
        let read = ["root.0", "root.1"].map(|name| fs::read(tree.join(name)).unwrap_or_default());
        Ok(read.iter().filter(|bytes| bytes.iter().any(|byte| *byte != 0)).count())
    };
    for operation in 1..200 {
        let copy = ground.copy(&format!("scrub{operation}"))?;
        let (disk, left) = KillDisk::new();
        let vault = copy.open_on(Arc::new(disk), &config(&copy.dir))?;
        left.set(operation);
        let erased = forget(&vault).is_ok();
        drop(vault);
        if slots(&copy)? == 2 {
            let vault = copy.open()?;
            ensure!(slots(&copy)? == 1, "served before the scrub");
            let gone = !readable(&vault, SECRET)?;
            return Ok(Found(if gone { "scrubbed first" } else { "readable" }.to_owned()));
        }
        fs::remove_dir_all(&copy.dir)?;
        ensure!(!erased, "no kill left two roots");
    }
    Ok(Found("no kill".to_owned()))
}

/// 45: whatever the vault wrote or said, searched for somebody who was erased.
pub(crate) fn canary(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let vault = ground.open()?;
    send(&vault, &[visit(900, "n1", "canary-xq7")])?;
    vault.preview_erasure(&[patient("canary-xq7")])?;
    let erased = vault.erase(&[patient("canary-xq7")], "gdpr-17-1", &two_people())?;
    let again = vault.erase(&[patient("canary-xq7")], "gdpr-17-1", &two_people()).err();
    let twin = send(&vault, &[visit(900, "n1", "canary-xq7")]).err();
    let said = [
        vault.erasure_receipt(erased.job)?,
        vault.erasure_ledger()?,
        format!("{again:?} {twin:?} {erased:?} {:?} {:?}", vault.notices(), vault.facts_now()),
    ];
    vault.settle();
    let open = readable(&vault, "canary-xq7")?;
    drop(vault);
    let needles = [b"canary-xq7".to_vec(), b"Y2FuYXJ5".to_vec()];
    let spoken = said.iter().any(|text| text.contains("canary-xq7"));
    let found = spoken || open || hits(&ground.dir, &needles)? > 0;
    Ok(Found(if found { "found" } else { "zero hits" }.to_owned()))
}
