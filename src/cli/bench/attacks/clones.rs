//! Attacks with a second copy of a running vault, and kills around the publication of checkpoints.

use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{Ground, code, config, failing, send, visit};
use crate::cli::bench::attacks::kill::KillDisk;
use crate::format::checkpoint::Checkpoint;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// 41: killed at every operation while checkpoints are shown: whatever was shown is durable.
pub(crate) fn ahead(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    for operation in 1..200 {
        let copy = ground.copy(&format!("ahead{operation}"))?;
        let (disk, left) = KillDisk::new();
        let vault = copy.open_on(Arc::new(disk), &config(&copy.dir))?;
        left.set(operation);
        let mut shown = Vec::new();
        for n in 0..2 {
            let sent = send(&vault, &[visit(900 + n, "n1", "p1")]);
            shown.extend(vault.checkpoint().ok().filter(|_| sent.is_ok()));
        }
        let key = vault.log_key().clone();
        drop(vault);
        let alive = left.is_alive();
        let vault = copy.open().with_context(|| format!("operation {operation}"))?;
        for note in &shown {
            let size = Checkpoint::open(note.as_bytes(), &key)?.size;
            ensure!(size <= vault.size(), "operation {operation}: shown {size}, lost");
        }
        drop(vault);
        let kept = shown.iter().map(|note| note.to_string()).collect();
        let found = failing(&copy.verify_with(kept)?);
        ensure!(found.is("VERIFIED"), "operation {operation}: {found:?}");
        fs::remove_dir_all(&copy.dir)?;
        if alive {
            return Ok(Found("never ahead".to_owned()));
        }
    }
    Ok(Found("no end".to_owned()))
}

/// 42, without a witness: whoever kept the checkpoint of one clone finds the other out.
pub(crate) fn cloned(dir: &Path) -> Result<Found> {
    let one = Ground::new(dir, 2)?;
    let other = one.copy("clone")?;
    let twice = one.open()?;
    let locked = code(one.open());
    ensure!(locked.is("STORE_LOCKED"), "one directory, two openers: {locked:?}");
    drop(twice);
    let grow = |ground: &Ground, first: u64, batches: u64| -> Result<String> {
        let vault = ground.open()?;
        ground.append(&vault, first, batches)?;
        Ok(vault.checkpoint()?.to_string())
    };
    let kept = grow(&one, 11, 1)?;
    grow(&other, 51, 2)?;
    Ok(failing(&other.verify_with(vec![kept])?))
}
