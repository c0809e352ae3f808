//! The attack on the second copy of the keys: it was away while somebody was erased, still holds
//! the root from before, and comes back.

use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{
    Ground, config, copy_dir, failing, patient, readable, two_people,
};
use crate::cli::bench::attacks::kill::KillDisk;
use crate::cli::bench::attacks::reach::{Bytes, reachable, secrets};
use crate::store::disk::{Disk, OsDisk};
use crate::vault::Vault;
use crate::vault::config::Config;
use crate::vault::error::Result as VaultResult;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What only records of `p1` hold.
const SECRET: &str = "secret of p1";
/// What only records of somebody else hold.
const OTHER: &str = "secret of p2";
/// Where the second copy lies.
const MIRROR: &str = "mirror";

fn open(ground: &Ground, disk: Arc<dyn Disk>) -> VaultResult<Vault> {
    let mirror = Some(ground.dir.join(MIRROR));
    ground.open_on(disk, &Config { mirror, ..config(&ground.dir) })
}

/// Slots of the mirror that are not all zeros: more than one is a root that was not destroyed.
fn slots(ground: &Ground) -> Result<usize> {
    let tenant = ground.places()?.tree;
    let tree = ground.dir.join(MIRROR).join(tenant.file_name().context("a tenant")?);
    let read = ["root.0", "root.1"].map(|name| fs::read(tree.join(name)).unwrap_or_default());
    Ok(read.iter().filter(|bytes| bytes.iter().any(|byte| *byte != 0)).count())
}

/// Whether whoever has the mirror, beside every file there ever was, reaches one of these keys.
fn reached(ground: &Ground, name: &str, before: &[&Ground], keys: &[Bytes]) -> Result<bool> {
    let thief = ground.copy(name)?;
    fs::remove_dir_all(thief.dir.join("keys"))?;
    copy_dir(&thief.dir.join(MIRROR), &thief.dir.join("keys"))?;
    let known = reachable(&thief, before)?;
    Ok(keys.iter().any(|key| known.contains(key)))
}

/// 29: the mirror was away during an erasure and returns, killed at every operation of that.
pub(crate) fn returned(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = open(&ground, Arc::new(OsDisk))?;
    vault.make_mirror()?;
    drop(vault);
    let keys = secrets(&ground, &patient("p1"))?;
    ensure!(!keys.is_empty(), "p1 has keys");
    let away = ground.dir.join("unplugged");
    fs::rename(ground.dir.join(MIRROR), &away)?;
    let vault = open(&ground, Arc::new(OsDisk))?;
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people())?;
    let partial = vault.erasure_receipt(erased.job)?.contains(" E2-partial\n");
    drop(vault);
    ensure!(!ground.dir.join(MIRROR).exists(), "an unmounted disk was written to");
    fs::rename(&away, ground.dir.join(MIRROR))?;
    let before = ground.copy("before")?;
    ensure!(reached(&ground, "early", &[], &keys)?, "before it is back, the attack succeeds");
    let mut operation = 0;
    let copy = loop {
        operation += 1;
        ensure!(operation < 500, "it must end");
        let copy = ground.copy(&format!("kill{operation}"))?;
        let (disk, left) = KillDisk::new();
        left.set(operation);
        let served = open(&copy, Arc::new(disk)).is_ok_and(|v| v.key_replicas().live == 2);
        ensure!(!served || slots(&copy)? == 1, "served before the scrub, operation {operation}");
        let vault = open(&copy, Arc::new(OsDisk))?;
        ensure!(readable(&vault, OTHER)? && !readable(&vault, SECRET)?, "operation {operation}");
        ensure!(slots(&copy)? == 1, "not scrubbed after operation {operation}");
        let receipt = vault.erasure_receipt(erased.job)?;
        ensure!(receipt.contains("\nreplicas 2/2\n") && receipt.contains("\nfinal "), "{receipt}");
        drop(vault);
        if served && left.is_alive() {
            break copy;
        }
        fs::remove_dir_all(&copy.dir)?;
    };
    ensure!(!reached(&copy, "late", &[&before, &ground], &keys)?, "the key is reachable");
    let found = failing(&copy.verify()?);
    ensure!(found.is("VERIFIED"), "{found:?}");
    Ok(Found(if partial { "E2-partial, then scrubbed first" } else { "whole receipt" }.to_owned()))
}
