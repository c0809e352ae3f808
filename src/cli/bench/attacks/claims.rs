//! What a dishonest vault could publish under its own, right signature: wrong seals, keys that do
//! not hand over, tiles that lie, entries that can be read in two ways.

use crate::base::entry::Kind;
use crate::base::id::{Hash32, SubjectTag};
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::TreeSize;
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::forge::{Forge, key};
use crate::cli::bench::attacks::ground::failing;
use crate::format::control;
use crate::format::entry;
use crate::format::roll::KeyRoll;
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::SealPayload;
use crate::format::trust::Trust;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::path::Path;

/// 31: a seal with wrong counts, and one with a wrong index.
pub(crate) fn seal(dir: &Path) -> Result<Found> {
    let mut forge = Forge::new(dir)?;
    forge.events(1..EPOCH_ENTRIES)?;
    let mut tables = EpochTables::new(0);
    for bytes in &forge.entries {
        let entry = entry::decode(bytes)?;
        tables.observe(&entry).map_err(|e| anyhow!("{e:?}"))?;
    }
    let root = forge.root(usize::try_from(EPOCH_ENTRIES)?);
    let honest = tables.payload(&tables.tables(), root).context("a whole epoch")?;
    forge.act(Kind::Seal, honest.encode())?;
    let found = failing(&forge.verify()?);
    ensure!(found.is("VERIFIED"), "the honest seal: {found:?}");
    let wrong = [
        SealPayload { index_root: Hash32([1; 32]), ..honest },
        SealPayload { count_root: Hash32([1; 32]), ..honest },
    ];
    let mut last = Found::default();
    for wrong in wrong {
        forge.pop();
        forge.act(Kind::Seal, wrong.encode())?;
        last = failing(&forge.verify()?);
        ensure!(last.is("SEAL_MISMATCH"), "{last:?}");
    }
    Ok(last)
}

/// 36: a key-roll that the old key has not signed, and the old key used after its end.
pub(crate) fn roll(dir: &Path) -> Result<Found> {
    let mut forge = Forge::new(dir)?;
    forge.events(0..9)?;
    let origin = forge.file.origin();
    let (old, new, thief) = (key(&origin, 1)?, key(&origin, 3)?, key(&origin, 4)?);
    let until = TreeSize(forge.next() + 1);
    let note = KeyRoll::sign(&thief, &new, until).map_err(|e| anyhow!("{e}"))?;
    forge.act(
        Kind::KeyRoll,
        control::encode(&control::KeyRoll::LogKey { note, mode: control::Mode::TwoPerson })?,
    )?;
    let unsigned = failing(&forge.verify()?);
    forge.pop();
    let id: String = old.verifier().id().iter().map(|b| format!("{b:02x}")).collect();
    let (one, other) = (old.verifier(), new.verifier());
    let text = format!("log {one}\nlog {other}\nuntil {id} 5\nquorum none\n");
    let trust = Trust::parse(&text).map_err(|e| anyhow!("{e}"))?;
    forge.publish(&old)?;
    let retired = failing(&forge.verify_with(&trust)?);
    Ok(Found(format!("{} {}", unsigned.0, retired.0)))
}

/// 38: a hash in a tile that is not its leaf's.
pub(crate) fn tiles(dir: &Path) -> Result<Found> {
    let mut forge = Forge::new(dir)?;
    forge.events(0..599)?;
    forge.publish(&forge.signer)?;
    let keys = [forge.signer.verifier().clone()];
    let trust = Trust::of(&keys, &[]).map_err(|e| anyhow!("{e}"))?;
    let path = forge.places().tiles().join("0");
    let good = fs::read(&path)?;
    // What lies beyond the tree is never read.
    fs::write(&path, [&good[..], &[7; 64]].concat())?;
    let found = failing(&forge.verify_with(&trust)?);
    ensure!(found.is("VERIFIED"), "beyond the tree: {found:?}");
    let mut bad = good;
    *bad.get_mut(32 * 77).context("a hash")? ^= 1;
    fs::write(&path, bad)?;
    Ok(failing(&forge.verify_with(&trust)?))
}

/// 39: entries that could be read in two ways, each under a right signature.
pub(crate) fn ambiguous(dir: &Path) -> Result<Found> {
    let mut forge = Forge::new(dir)?;
    forge.events(0..5)?;
    let mut head = forge.head(Kind::Event, Vec::new())?;
    head.tags = vec![SubjectTag([1; 16]), SubjectTag([2; 16])];
    let good = entry::encode_head(&head)?;
    let edit = |at: usize, byte: u8| -> Result<Vec<u8>> {
        let mut bad = good.clone();
        *bad.get_mut(at).context("a byte")? = byte;
        Ok(bad)
    };
    let last = good.len() - 1;
    // Another kind, an unknown flag, one tag too few, fields that are not there, padding not zero,
    // and a whole block of padding too many.
    let heads = [edit(4, 99)?, edit(5, 0x81)?, edit(93, 1)?, edit(95, 1)?, edit(last, 1)?];
    let long = [&good[..], &[0; 64]].concat();
    for (case, mut bytes) in heads.into_iter().chain([long]).enumerate() {
        bytes.extend_from_slice(&forge.next().to_be_bytes());
        bytes.extend_from_slice(&forge.time.to_be_bytes());
        bytes.extend_from_slice(&forge.leaves.last().copied().unwrap_or(Hash32::ZERO).0);
        forge.push_bytes(bytes);
        let found = failing(&forge.verify()?);
        ensure!(found.is("MALFORMED"), "case {case}: {found:?}");
        forge.pop();
    }
    let mut trailing = forge.entries.last().context("an entry")?.clone();
    trailing.push(0);
    forge.push_bytes(trailing);
    Ok(failing(&forge.verify()?))
}
