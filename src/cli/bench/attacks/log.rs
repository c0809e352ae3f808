//! Attacks on the log: changed, removed, moved and repeated entries, cut and foreign files, clocks.

use crate::base::id::RecordId;
use crate::base::unit::{EntryIndex, NANOS_PER_DAY, UtcNanos};
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{Ground, code, event, failing};
use crate::cli::bench::attacks::raw::{Raw, steal};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// An entry in the middle of a log of four batches.
const MIDDLE: u64 = 8;

/// 1: a bit of a stored entry.
pub(crate) fn bit(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    *raw.entry_mut(MIDDLE)?.get_mut(15).context("a byte")? ^= 1;
    raw.write()?;
    let report = ground.verify()?;
    let elsewhere = |v: &&crate::vault::verify::Verdict| v.index != Some(EntryIndex(MIDDLE));
    ensure!(!report.verdicts.iter().any(|v| elsewhere(&v)), "others are fine: {report:?}");
    Ok(failing(&report))
}

/// 2: an entry, and every hash that needs no signature.
pub(crate) fn replaced(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    raw.edit(MIDDLE, |entry| entry.head.time = UtcNanos(entry.head.time.0 + 1))?;
    raw.cover_up()?;
    let opened = code(ground.open());
    ensure!(opened.is("ROOT_MISMATCH"), "opening says {opened:?}");
    Ok(failing(&ground.verify()?))
}

/// 3, the auditor's half: history rewritten and signed again with the stolen log key.
pub(crate) fn rewritten(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let kept = ground.checkpoint()?;
    let mut raw = Raw::of(&ground)?;
    raw.stolen = Some(steal(&ground)?);
    raw.edit(MIDDLE, |entry| entry.head.time = UtcNanos(entry.head.time.0 + 1))?;
    // One entry more, so that it is another size: not even an equivocation.
    let last = raw.repeat(MIDDLE)?;
    raw.edit(last, |entry| {
        entry.head.record = RecordId([5; 16]);
        entry.head.source_seq = Some(999);
        // Bodies he has none for it.
        (entry.head.groups, entry.head.fields) = (Vec::new(), Vec::new());
        entry.head.tags = Vec::new();
    })?;
    let time = raw.entry(last - 1)?.time_log;
    raw.edit(last, |entry| entry.time_log = time)?;
    raw.cover_up()?;
    raw.sign()?;
    let alone = failing(&ground.verify()?);
    ensure!(alone.is("VERIFIED"), "alone it looks right: {alone:?}");
    Ok(failing(&ground.verify_with(vec![kept])?))
}

/// 4: a middle entry deleted, the rest renumbered.
pub(crate) fn deleted(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    let (entries, at) = raw.find(MIDDLE)?;
    entries.remove(at);
    raw.renumber(false);
    raw.relink();
    raw.write()?;
    raw.write_tiles()?;
    only(&ground, "INDEX_OR_PREV_MISMATCH", MIDDLE)
}

/// 5: two entries swapped.
pub(crate) fn swapped(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    let (entries, at) = raw.find(MIDDLE)?;
    entries.swap(at, at + 1);
    raw.relink();
    raw.write()?;
    raw.write_tiles()?;
    only(&ground, "INDEX_OR_PREV_MISMATCH", MIDDLE)
}

/// The verdict if it stands at that index and the report fails, else everything that was found.
fn only(ground: &Ground, name: &str, index: u64) -> Result<Found> {
    let report = ground.verify()?;
    let there = report.has(name, Some(EntryIndex(index))) && report.exit_code() == 1;
    Ok(if there { Found(name.to_owned()) } else { failing(&report) })
}

/// 6, without a witness: log and checkpoint cut below what somebody kept.
pub(crate) fn cut(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let (mut old, before) = (Raw::of(&ground)?, ground.checkpoint()?);
    let vault = ground.open()?;
    ground.append(&vault, 11, 2)?;
    drop(vault);
    let kept = ground.checkpoint()?;
    old.write()?;
    old.write_tiles()?;
    let opened = code(ground.open());
    ensure!(opened.is("ROLLED_BACK"), "opening says {opened:?}");
    fs::write(ground.places()?.checkpoint(), before)?;
    Ok(failing(&ground.verify_with(vec![kept])?))
}

/// 7: acknowledged entries dropped before their checkpoint; the source counts on.
pub(crate) fn dropped(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let before = ground.checkpoint()?;
    let mut kept = Raw::of(&ground)?;
    let vault = ground.open()?;
    ground.append(&vault, 11, 1)?;
    let receipt = vault.checkpoint()?.to_string();
    drop(vault);
    kept.write()?;
    kept.write_tiles()?;
    fs::write(ground.places()?.checkpoint(), before)?;
    let vault = ground.open()?;
    ground.append(&vault, 16, 1)?;
    drop(vault);
    let contradicted = failing(&ground.verify_with(vec![receipt])?);
    let known = contradicted.is("INCONSISTENT") || contradicted.is("EQUIVOCATION");
    ensure!(known, "the receipt: {contradicted:?}");
    let report = ground.verify()?;
    let gap = report.verdicts.iter().find(|v| v.name == "SOURCE_GAP");
    Ok(gap.map_or_else(|| failing(&report), |gap| Found(gap.name.to_owned())))
}

/// 8: an old event appended again, byte for byte and under a new record id.
pub(crate) fn repeated(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    let time = raw.entry(raw.size().0 - 1)?.time_log;
    let (one, other) = (raw.repeat(MIDDLE)?, raw.repeat(MIDDLE)?);
    for index in [one, other] {
        raw.edit(index, |entry| entry.time_log = time)?;
    }
    raw.edit(other, |entry| entry.head.record = RecordId([5; 16]))?;
    raw.cover_up()?;
    let report = ground.verify()?;
    let same = report.has("DUP_RID", Some(EntryIndex(one)));
    let number = report.has("DUP_SOURCE_SEQ", Some(EntryIndex(other)));
    let both = Found("DUP_RID DUP_SOURCE_SEQ".to_owned());
    Ok(if same && number { both } else { failing(&report) })
}

/// 9: an entry dated back.
pub(crate) fn dated_back(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 4)?;
    let mut raw = Raw::of(&ground)?;
    let before = raw.entry(MIDDLE)?.time_log;
    raw.edit(MIDDLE + 1, |e| e.time_log = UtcNanos(before.0 - NANOS_PER_DAY))?;
    raw.cover_up()?;
    only(&ground, "TIME_REGRESSION", MIDDLE + 1)
}

/// 10: the clock set back a day, events appended, the vault opened again.
pub(crate) fn clock_back(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let vault = ground.open()?;
    let last = |vault: &crate::vault::Vault| -> Result<UtcNanos> {
        Ok(vault.entry(EntryIndex(vault.size().0.saturating_sub(1)))?.time_log)
    };
    let before = last(&vault)?;
    ground.clock.back_a_day();
    ground.append(&vault, 6, 1)?;
    ensure!(vault.clock().alarm().is_some(), "an alarm is raised");
    drop(vault);
    let vault = ground.open()?;
    ground.append(&vault, 11, 1)?;
    ensure!(last(&vault)? > before, "log time went on");
    drop(vault);
    let found = failing(&ground.verify()?);
    Ok(if found.is("VERIFIED") { Found("time clamped".to_owned()) } else { found })
}

/// 11: an entry of one tenant in the log of another.
pub(crate) fn foreign(dir: &Path) -> Result<Found> {
    let ground = Ground::new(&dir.join("one"), 4)?;
    let other = Ground::new(&dir.join("other"), 1)?;
    let theirs = Raw::of(&other)?.entries().pop().context("an entry")?.clone();
    let mut raw = Raw::of(&ground)?;
    *raw.entry_mut(MIDDLE)? = theirs;
    raw.cover_up()?;
    only(&ground, "TENANT_MISMATCH", MIDDLE)
}

/// 43: the index deleted, damaged, and last week's put back.
pub(crate) fn index(dir: &Path) -> Result<Found> {
    use crate::cli::bench::attacks::ground::{config, copy_dir, patient};
    use crate::store::disk::OsDisk;
    use std::sync::Arc;
    let ground = Ground::new(dir, 3)?;
    let own = crate::vault::config::Config { index_on_disk: true, ..config(&ground.dir) };
    let find = || -> Result<u64> {
        let vault = ground.open_on(Arc::new(OsDisk), &own)?;
        vault.settle();
        Ok(vault.preview_erasure(&[patient("p1")])?.records.values().sum())
    };
    let (found, index) = (find()?, ground.places()?.index());
    let stale = dir.with_extension("stale");
    copy_dir(&index, &stale)?;
    fs::remove_dir_all(&index)?;
    ensure!(find()? == found && found > 0, "deleted: rebuilt");
    for file in fs::read_dir(&index)? {
        let path = file?.path();
        if path.is_file() {
            fs::write(path, [0x5a; 512])?;
        }
    }
    ensure!(find()? == found, "damaged: rebuilt");
    let vault = ground.open()?;
    ground.append(&vault, 16, 4)?;
    event(&vault, 16)?;
    drop(vault);
    let more = find()?;
    fs::remove_dir_all(&index)?;
    copy_dir(&stale, &index)?;
    ensure!(find()? == more && more > found, "stale: never served");
    Ok(Found("index rebuilt".to_owned()))
}
