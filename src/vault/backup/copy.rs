//! Copying files in pieces: read, hash, and write where the copy differs. It believes no length
//! and no earlier run: what lies there already is read and compared. Every copy is synced, also
//! one that was whole: nobody knows whether an earlier run came that far.

use crate::base::id::Hash32;
use crate::crypto::hash::Running;
use crate::format::backup::FileLine;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::ErrorKind;
use crate::vault::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Told of every piece with its length; whether to go on.
pub(crate) type GoOn<'g> = &'g mut dyn FnMut(u64) -> bool;

/// How far a file was copied, and the hash of that much.
#[derive(Default)]
struct Reached {
    len: u64,
    hash: Running,
}

/// Copies, and remembers how far each file has come: they only grow.
pub(crate) struct Copier<'c> {
    disk: &'c dyn Disk,
    pub(crate) go_on: GoOn<'c>,
    reached: BTreeMap<PathBuf, Reached>,
    pub(crate) written: u64,
}

impl<'c> Copier<'c> {
    pub(crate) fn new(disk: &'c dyn Disk, go_on: GoOn<'c>) -> Self {
        Copier { disk, go_on, reached: BTreeMap::new(), written: 0 }
    }

    /// Makes the first `len` bytes of `from` the whole of `to`. Their hash, or nothing when told
    /// to stop.
    ///
    /// # Errors
    /// `Missing` when the file is gone, `Corrupt` when it is shorter; those of the disk.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path, len: u64) -> Result<Option<Hash32>> {
        let source = self.disk.open(from, Mode::Read)?;
        let target = self.target(to)?;
        let reached = self.reached.entry(to.to_owned()).or_default();
        let mut there = vec![0; PIECE_BYTES];
        let before = target.len()?;
        let mut end = before;
        let went_on = pieces(&*source, reached.len..len, &mut |at, piece| {
            let next = at + piece.len() as u64;
            let same = next <= before
                && match there.get_mut(..piece.len()) {
                    Some(there) => {
                        target.read_exact_at(at, there)?;
                        there == piece
                    }
                    None => false,
                };
            if !same {
                target.write_at(at, piece)?;
                self.written += piece.len() as u64;
            }
            end = end.max(next);
            reached.hash.absorb(piece);
            reached.len = next;
            Ok((self.go_on)(piece.len() as u64))
        })?;
        if !went_on {
            return Ok(None);
        }
        if end > len {
            target.set_len(len)?;
        }
        target.sync()?;
        if let Some(dir) = to.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(Some(reached.hash.hash()))
    }

    /// Makes `bytes` the whole of `to`.
    pub(crate) fn put(&mut self, to: &Path, bytes: &[u8]) -> Result<Option<Hash32>> {
        if !self.disk.exists(to)? || self.disk.read(to)? != bytes {
            if let Some(dir) = to.parent() {
                self.disk.create_dir(dir)?;
            }
            self.disk.replace(to, bytes)?;
            self.written += bytes.len() as u64;
        }
        Ok((self.go_on)(bytes.len() as u64).then(|| crate::crypto::hash::sha256(&[bytes])))
    }

    fn target(&self, to: &Path) -> Result<std::sync::Arc<dyn DiskFile>> {
        if let Some(dir) = to.parent() {
            self.disk.create_dir(dir)?;
        }
        Ok(self.disk.open(to, Mode::Create)?)
    }
}

/// Reads a range in pieces, as long as whoever gets them wants more.
fn pieces(
    file: &dyn DiskFile,
    range: std::ops::Range<u64>,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<bool>,
) -> Result<bool> {
    let mut bytes = vec![0; PIECE_BYTES];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let Some(piece) = bytes.get_mut(..len) else { break };
        file.read_exact_at(at, piece)?;
        if !take(at, piece)? {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

/// Reads every file of a list below `data` and holds it against its line. False when told to stop.
///
/// # Errors
/// `Evidence`: `BACKUP_FILE_MISSING`, `BACKUP_FILE_CHANGED`; those of the disk.
pub(crate) fn compare(
    disk: &dyn Disk,
    data: &Path,
    files: &[FileLine],
    go_on: GoOn<'_>,
) -> Result<bool> {
    for line in files {
        let changed = || Error::evidence("BACKUP_FILE_CHANGED", line.name.clone());
        let file = match disk.open(&data.join(&line.name), Mode::Read) {
            Err(e) if e.kind == ErrorKind::Missing => return Err(missing(line)),
            file => file?,
        };
        if file.len()? != line.bytes {
            return Err(changed());
        }
        let mut hash = Running::default();
        let went_on = pieces(&*file, 0..line.bytes, &mut |_, piece| {
            hash.absorb(piece);
            Ok(go_on(piece.len() as u64))
        })?;
        if !went_on {
            return Ok(false);
        }
        if hash.hash() != line.sha256 {
            return Err(changed());
        }
    }
    Ok(true)
}

/// A file that the list names is not there.
pub(crate) fn missing(line: &FileLine) -> Error {
    Error::evidence("BACKUP_FILE_MISSING", line.name.clone())
}

/// The name of a path below a directory, with `/`.
pub(crate) fn below(dir: &Path, path: &Path) -> String {
    let rest = path.strip_prefix(dir).unwrap_or(path);
    let parts = rest.components().map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}
