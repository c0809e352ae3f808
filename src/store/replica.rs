//! Which directory is the second live copy of a key directory, and the small files both hold. The
//! pair is named by a random id that lies in both, so that an unmounted disk, which is an empty
//! directory, is never taken for a mirror and never written to. It holds no secret and no tree.
//!
//! `<mirror>/replica` and `<keys>/mirror`, 56 bytes each, the same:
//! ```text
//!      0    8 "CHREP1" 00 00
//!      8   16 id, random
//!     24   32 SHA-256 of bytes 0..24
//! ```

use crate::base::id::ReplicaId;
use crate::base::world::{Entropy, random};
use crate::store::disk::Disk;
use crate::store::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"CHREP1\0\0";

/// A pair of key directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paired {
    /// Which mirror belongs to the keys.
    pub id: ReplicaId,
    /// Why it cannot be reached, if so.
    pub away: Option<String>,
}

/// The mirror a key directory is paired with, and whether it is where the configuration says.
///
/// # Errors
/// Those of the key directory; a mirror that cannot be read is away, not an error.
pub fn paired(disk: &dyn Disk, keys: &Path, mirror: Option<&Path>) -> Result<Option<Paired>> {
    let Some(id) = read(disk, &keys.join("mirror"))? else { return Ok(None) };
    let away = match mirror.map(|dir| (dir, read(disk, &dir.join("replica")))) {
        None => Some("keys.mirror does not name it".to_owned()),
        Some((_, Ok(Some(found)))) if found == id => None,
        Some((dir, Ok(Some(_)))) => Some(format!("{} is the mirror of other keys", dir.display())),
        Some((dir, Ok(None))) => {
            Some(format!("{} holds no mirror: is its disk mounted?", dir.display()))
        }
        Some((_, Err(error))) => Some(error.to_string()),
    };
    Ok(Some(Paired { id, away }))
}

/// Makes `mirror` the second copy of `keys`. Only the names are written: the next opening brings
/// it up. Repeating it after a crash is harmless.
///
/// # Errors
/// `KEYS_MIRROR_PAIRED` when the keys have another mirror, `KEYS_MIRROR_IN_USE` when the directory
/// belongs to other keys or holds keys of its own.
pub fn pair(
    disk: &dyn Disk,
    keys: &Path,
    mirror: &Path,
    entropy: &dyn Entropy,
) -> Result<ReplicaId> {
    let (own, other) = (keys.join("mirror"), mirror.join("replica"));
    let (known, found) = (read(disk, &own)?, read(disk, &other)?);
    match (known, found) {
        (Some(known), Some(found)) if known == found => {
            // Whoever wrote the names may have been killed before they were durable.
            disk.sync_dir(mirror)?;
            disk.sync_dir(keys)?;
            return Ok(known);
        }
        (Some(_), _) => return Err(Error::new(ErrorKind::Locked, &own, "KEYS_MIRROR_PAIRED")),
        (None, _) => {}
    }
    if disk.exists(&mirror.join("kek"))? {
        return Err(Error::new(ErrorKind::Locked, mirror, "KEYS_MIRROR_IN_USE"));
    }
    disk.create_dir(mirror)?;
    // Without keys of its own it may be what an interrupted pairing left.
    let id = found.unwrap_or_else(|| ReplicaId(random(entropy)));
    write(disk, &other, id)?;
    write(disk, &own, id)?;
    Ok(id)
}

/// The keys have no mirror from now on. What the mirror holds stays as it is: whoever unpairs it
/// destroys it.
///
/// # Errors
/// Those of the disk.
pub fn unpair(disk: &dyn Disk, keys: &Path) -> Result<bool> {
    let own = keys.join("mirror");
    if !disk.exists(&own)? {
        return Ok(false);
    }
    disk.remove(&own)?;
    disk.sync_dir(keys)?;
    Ok(true)
}

/// The id of the mirror in a directory, if it is one.
///
/// # Errors
/// Those of the disk; `KEYS_MIRROR_NAME` for a damaged file.
pub fn mirror_in(disk: &dyn Disk, dir: &Path) -> Result<Option<ReplicaId>> {
    read(disk, &dir.join("replica"))
}

/// Names a mirror in a key directory that is being restored from it.
///
/// # Errors
/// Those of the disk.
pub fn name(disk: &dyn Disk, keys: &Path, id: ReplicaId) -> Result<()> {
    disk.create_dir(keys)?;
    write(disk, &keys.join("mirror"), id)
}

/// Gives `to` the files of `from` that are neither tree nor name: the signing keys with
/// their rolls, then the key-encryption key, without which nothing else is believed to be there.
///
/// # Errors
/// Those of the disk.
pub fn copy_secrets(disk: &dyn Disk, from: &Path, to: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = Vec::new();
    for listed in disk.list(&from.join("signing"))? {
        let ours = listed.name.ends_with(".key") || listed.name.ends_with(".note");
        if !listed.is_dir && ours {
            files.push(Path::new("signing").join(listed.name));
        }
    }
    files.push(PathBuf::from("kek"));
    for stale in disk.list(&to.join("signing"))? {
        let path = Path::new("signing").join(&stale.name);
        if stale.name.ends_with(".key") && !files.contains(&path) {
            disk.remove(&to.join(path))?;
            disk.sync_dir(&to.join("signing"))?;
        }
    }
    for file in &files {
        let bytes = zeroize::Zeroizing::new(disk.read(&from.join(file))?);
        let target = to.join(file);
        // One that cannot be read is replaced: its name is free even if its blocks are bad.
        let same = disk.read(&target).is_ok_and(|found| *found == **bytes);
        if !same {
            target.parent().map_or(Ok(()), |dir| disk.create_dir(dir))?;
            disk.replace(&target, &bytes)?;
        }
    }
    // What was the same already may have a name that is not durable.
    let dirs: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    dirs.into_iter().try_for_each(|dir| disk.sync_dir(&to.join(dir)))
}

fn write(disk: &dyn Disk, path: &Path, id: ReplicaId) -> Result<()> {
    let clear = [MAGIC.as_slice(), &id.0].concat();
    let sum = Sha256::digest(&clear);
    disk.replace(path, &[clear.as_slice(), &sum].concat())
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<ReplicaId>> {
    let bytes = match disk.read(path) {
        Err(error) if error.kind == ErrorKind::Missing => return Ok(None),
        bytes => bytes?,
    };
    let id = bytes.split_at_checked(24).and_then(|(clear, sum)| {
        let id = clear.strip_prefix(&MAGIC)?;
        (Sha256::digest(clear).as_slice() == sum).then(|| id.try_into().ok()).flatten()
    });
    let id = id.ok_or_else(|| Error::corrupt(path, "KEYS_MIRROR_NAME: not the name of a mirror"));
    id.map(|id| Some(ReplicaId(id)))
}
