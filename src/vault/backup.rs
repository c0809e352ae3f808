//! Backup: a consistent copy of the data plane of an open vault, with a signed manifest, and
//! (`restore`) putting it back beside the keys of today. It never reads the key plane and never
//! writes to the vault it copies. Keys are not copied: a copy of them would bring the erased back.
//!
//! Everything copied only grows or goes: what a commit wrote is never rewritten, but by packing,
//! which rests meanwhile. So the checkpoint comes first; then every file is copied as far as that
//! commit had written it, while the vault goes on appending behind. What expires meanwhile is
//! missed, and then all is looked at again under a newer checkpoint, which holds the entry that
//! says so. Derived files (tiles, index, snapshots) are left out: opening makes them again.
//!
//! ```text
//! <to>/data/...          as below the data directory
//! <to>/files             the list, durable after every file it names
//! <to>/manifest.note     signed, durable last; removed first when a backup is begun anew
//! ```

mod copy;
mod restore;

pub use restore::{Restored, Restoring};

use crate::base::id::Hash32;
use crate::base::unit::{ClassDay, EntryIndex, Generation, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::backup::{DATA, FileLine, LIST, MANIFEST, Manifest, list};
use crate::format::body::FILE_HEAD_BYTES;
use crate::format::checkpoint::Checkpoint;
use crate::store::disk::{DiskLock, Mode};
use crate::store::error::ErrorKind;
use crate::store::packed::segment;
use crate::vault::Vault;
use crate::vault::backup::copy::{Copier, GoOn, below};
use crate::vault::error::{Error, Result};
use crate::vault::witness::round::checkpoint_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

/// Times everything is looked at again because something expired meanwhile: class-days fall due
/// once a day, so a second look is rare.
const LOOKS_MAX: usize = 8;

/// What was backed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackedUp {
    /// The manifest that was signed.
    pub manifest: Manifest,
    /// Bytes that were written; what an earlier run had copied was compared and left.
    pub written: u64,
    /// Whether every copy was read back from its disk.
    pub verified: bool,
}

/// A file, or what is to be one.
enum Part {
    /// The first bytes of a file.
    File { path: PathBuf, len: u64 },
    /// Small and replaced as a whole.
    Bytes(Vec<u8>),
}

/// Everything that belongs to one checkpoint, by name below the data directory.
struct Whole {
    checkpoint: Checkpoint,
    time: UtcNanos,
    generation: Generation,
    parts: BTreeMap<String, Part>,
}

impl Vault {
    /// Copies the data plane into `to`, and signs what was copied. `go_on` is told the bytes read
    /// and may say no: then `None`; what was copied stays, and the next run goes on from there.
    /// A backup that lies in `to` is brought up to now. With `verify` every copy is read back.
    ///
    /// # Errors
    /// `Denied` `BACKUP_TARGET` for a place that is part of the vault or holds something else,
    /// `BACKUP_OTHER_VAULT` for another vault's backup, the reason of a vault that is open for
    /// reading only; `Evidence` `BACKUP_FILE_CHANGED` for a copy that reads differently; those of
    /// the store. Without a manifest nothing in `to` passes for a backup.
    pub fn back_up(&self, to: &Path, verify: bool, go_on: GoOn<'_>) -> Result<Option<BackedUp>> {
        self.writable()?;
        let disk = &*self.inner.world.disk;
        let _lock = self.take_place(to)?;
        let _still = self.hold_packing();
        let data = to.join(DATA);
        let mut copier = Copier::new(disk, go_on);
        for _ in 0..LOOKS_MAX {
            let whole = self.whole()?;
            let Some((files, complete)) = copy_all(&mut copier, &whole.parts, &data)? else {
                return Ok(None);
            };
            if !complete {
                continue;
            }
            self.remove_others(&data, &files)?;
            let written = copier.written;
            if verify && !copy::compare(disk, &data, &files, copier.go_on)? {
                return Ok(None);
            }
            let manifest = self.conclude(to, &whole, &files)?;
            return Ok(Some(BackedUp { manifest, written, verified: verify }));
        }
        let fix = "class-days keep expiring while they are copied; try again".to_owned();
        Err(Error::Conflict { code: "BACKUP_MOVING", first: None, fix })
    }

    /// The data directory, and this tenant's in it.
    fn data_dirs(&self) -> (PathBuf, PathBuf) {
        let tenant = self.inner.key_dirs.marker.parent().unwrap_or(Path::new(""));
        let data = tenant.ancestors().nth(2).unwrap_or(tenant);
        (data.to_owned(), tenant.to_owned())
    }

    /// Makes sure that `to` may be written to, takes its lock, and ends the validity of what lies
    /// there.
    fn take_place(&self, to: &Path) -> Result<Box<dyn DiskLock>> {
        let disk = &*self.inner.world.disk;
        let (own, _) = self.data_dirs();
        let dirs = &self.inner.key_dirs;
        for dir in [Some(&own), Some(&dirs.keys), dirs.mirror.as_ref()].into_iter().flatten() {
            // One may be relative to the working directory; links are the business of the hands.
            let (dir, to) = (from_root(dir), from_root(to));
            if to.starts_with(&dir) || dir.starts_with(&to) {
                let fix = "a backup lies apart from data and keys, best on another disk";
                return Err(Error::denied("BACKUP_TARGET", fix));
            }
        }
        let file = to.join(DATA).join("vault.toml");
        let ours = disk.read(&own.join("vault.toml"))?;
        if disk.exists(&file)? {
            if disk.read(&file)? != ours {
                let fix = "the backup of another vault lies here; name another directory";
                return Err(Error::denied("BACKUP_OTHER_VAULT", fix));
            }
        } else if disk.list(to)?.iter().any(|l| !matches!(&*l.name, "lock" | "lost+found" | DATA)) {
            let fix = "the directory holds something that is no backup; name an empty one";
            return Err(Error::denied("BACKUP_TARGET", fix));
        }
        disk.create_dir(&to.join(DATA))?;
        let lock = disk.lock(&to.join("lock"))?;
        for name in [MANIFEST, LIST] {
            if disk.exists(&to.join(name))? {
                disk.remove(&to.join(name))?;
                disk.sync_dir(to)?;
            }
        }
        if !disk.exists(&file)? {
            disk.replace(&file, &ours)?;
        }
        Ok(lock)
    }

    /// Stops packing, in the background and by anybody else, while the result is held.
    fn hold_packing(&self) -> Still<'_> {
        let was_on = self.packing().on;
        self.pack_in_background(false);
        let one = self.inner.press.one.lock().unwrap_or_else(PoisonError::into_inner);
        Still { vault: self, was_on, _one: one }
    }

    /// Takes a checkpoint, and lists every file as far as that covers it.
    fn whole(&self) -> Result<Whole> {
        let inner = &self.inner;
        let disk = &*inner.world.disk;
        let (data, tenant) = self.data_dirs();
        // Of a state not after the checkpoint: what they say, it covers.
        let (generation, today) = {
            let facts = self.facts();
            (facts.root.0, facts.last_time.day())
        };
        let witnessed = self.witnessing().note;
        let (units, known) = (inner.log.unit_count(), inner.bodies.list()?);
        let known: BTreeSet<ClassDay> = known.into_iter().map(|(day, _)| day).collect();
        let note = self.checkpoint()?;
        let time = self.clock().now();
        let checkpoint = checkpoint_of(&note)
            .ok_or_else(|| Error::evidence("MALFORMED", "the vault's own checkpoint"))?;
        let mut parts = BTreeMap::new();
        let mut small = |path: PathBuf, bytes: Vec<u8>| {
            parts.insert(below(&data, &path), Part::Bytes(bytes));
        };
        small(data.join("vault.toml"), disk.read(&data.join("vault.toml"))?);
        small(tenant.join("checkpoint"), note.as_bytes().to_vec());
        if let Some(note) = witnessed {
            small(tenant.join("checkpoint.witnessed"), note.as_bytes().to_vec());
        }
        for (path, bytes) in self.kept(&tenant, checkpoint.size)? {
            small(path, bytes);
        }
        let mut file = |path: PathBuf, len: u64| {
            parts.insert(below(&data, &path), Part::File { path, len });
        };
        self.log_parts(&tenant.join("log"), checkpoint.size, &mut file)?;
        let growing = |day: &ClassDay| day.day.0 + 1 >= today.0;
        self.body_parts(checkpoint.size, (units, &known), &growing, &mut file)?;
        Ok(Whole { checkpoint, time, generation, parts })
    }

    /// What people outside signed, and what says that the mirror of the keys lacks something.
    fn kept(&self, tenant: &Path, size: TreeSize) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let disk = &*self.inner.world.disk;
        let mut found = Vec::new();
        for dir in ["anchors", "evidence"] {
            for listed in disk.list(&tenant.join(dir))? {
                let stem = listed.name.split('.').next().unwrap_or_default();
                // An anchor of a later checkpoint would speak of entries that are not copied.
                let later = dir == "anchors" && stem.parse().is_ok_and(|of: u64| of > size.0);
                if !later && !listed.is_dir && !listed.name.ends_with(".new") {
                    let path = tenant.join(dir).join(&listed.name);
                    let bytes = disk.read(&path)?;
                    found.push((path, bytes));
                }
            }
        }
        let marker = &self.inner.key_dirs.marker;
        if disk.exists(marker)? {
            found.push((marker.clone(), disk.read(marker)?));
        }
        Ok(found)
    }

    /// Segments of the log up to the unit that ends at `size`.
    fn log_parts(
        &self,
        dir: &Path,
        size: TreeSize,
        found: &mut dyn FnMut(PathBuf, u64),
    ) -> Result<()> {
        let disk = &*self.inner.world.disk;
        let Some(last) = size.0.checked_sub(1) else { return Ok(()) };
        let Some(unit) = self.inner.log.unit_of(EntryIndex(last))? else {
            return Err(Error::evidence("ROLLED_BACK", "the log lacks what its checkpoint covers"));
        };
        for row in self.inner.log.segment_rows() {
            let plain = segment::path(dir, row.segment, segment::PLAIN);
            if row.segment > unit.segment {
                break;
            } else if !disk.exists(&plain)? {
                let packed = segment::path(dir, row.segment, segment::PACKED);
                let len = disk.open(&packed, Mode::Read)?.len()?;
                found(packed, len);
            } else if row.segment == unit.segment {
                found(plain, unit.offset + unit.head.len);
            } else {
                found(plain, row.len);
            }
        }
        Ok(())
    }

    /// Body files, each up to its last frame below `size`. `units` were committed when the files
    /// `known` were there: a file that came later is named by a later unit, or by none yet.
    fn body_parts(
        &self,
        size: TreeSize,
        (units, known): (u64, &BTreeSet<ClassDay>),
        growing: &dyn Fn(&ClassDay) -> bool,
        found: &mut dyn FnMut(PathBuf, u64),
    ) -> Result<()> {
        let (log, bodies) = (&self.inner.log, &self.inner.bodies);
        let mut sought = BTreeSet::new();
        for (class_day, len) in bodies.list()? {
            let packed = bodies.room_of(class_day).is_some_and(|room| room.packed.is_some());
            if packed || !growing(&class_day) || len <= FILE_HEAD_BYTES {
                found(bodies.path(class_day), len);
            } else {
                sought.insert(class_day);
            }
        }
        let last = size.0.checked_sub(1).map(EntryIndex);
        let mut unit = last.map_or(Ok(None), |last| log.unit_of(last))?;
        while let Some(at) = unit.filter(|_| !sought.is_empty()) {
            for span in &at.head.spans {
                if sought.remove(&span.class_day) {
                    found(bodies.path(span.class_day), span.end);
                }
            }
            if at.head.number < units {
                sought.retain(|day| known.contains(day));
            }
            unit = at.head.number.checked_sub(1).map_or(Ok(None), |before| log.unit(before))?;
        }
        Ok(())
    }

    /// Removes what an earlier run copied and this one does not name: what expired or was packed
    /// since. It looks only where backups write.
    fn remove_others(&self, data: &Path, files: &[FileLine]) -> Result<()> {
        let disk = &*self.inner.world.disk;
        let (own, tenant) = self.data_dirs();
        let named: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let mut open = vec![data.join(below(&own, &tenant))];
        while let Some(dir) = open.pop() {
            for listed in disk.list(&dir)? {
                let path = dir.join(&listed.name);
                if listed.is_dir {
                    open.push(path);
                } else if !named.contains(below(data, &path).as_str()) {
                    disk.remove(&path)?;
                    disk.sync_dir(&dir)?;
                }
            }
        }
        Ok(())
    }

    /// Writes list and manifest, in this order.
    fn conclude(&self, to: &Path, whole: &Whole, files: &[FileLine]) -> Result<Manifest> {
        let disk = &*self.inner.world.disk;
        let text = list(files);
        let manifest = Manifest {
            origin: self.origin().to_owned(),
            time: whole.time,
            size: whole.checkpoint.size,
            root: whole.checkpoint.root,
            generation: whole.generation,
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            list: sha256(&[text.as_bytes()]),
        };
        let signed = manifest.sign(self.report_signer());
        let signed = signed.map_err(|e| Error::evidence(e.code(), e.to_string()))?;
        disk.replace(&to.join(LIST), text.as_bytes())?;
        disk.replace(&to.join(MANIFEST), signed.as_bytes())?;
        Ok(manifest)
    }
}

/// A path from the root, as far as that can be told without looking.
fn from_root(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Nobody packs while this is held.
struct Still<'v> {
    vault: &'v Vault,
    was_on: bool,
    _one: MutexGuard<'v, ()>,
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.vault.pack_in_background(self.was_on);
    }
}

/// Copies every part. Says whether all of them were there; nothing when told to stop.
fn copy_all(
    copier: &mut Copier<'_>,
    parts: &BTreeMap<String, Part>,
    data: &Path,
) -> Result<Option<(Vec<FileLine>, bool)>> {
    let (mut files, mut complete) = (Vec::with_capacity(parts.len()), true);
    for (name, part) in parts {
        let to = data.join(name);
        let (bytes, sha256): (u64, Option<Hash32>) = match part {
            Part::Bytes(bytes) => (bytes.len() as u64, copier.put(&to, bytes)?),
            Part::File { path, len } => match copier.copy(path, &to, *len) {
                Ok(copied) => (*len, copied),
                Err(Error::Unavailable(e)) if e.kind == ErrorKind::Missing => {
                    complete = false;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let Some(sha256) = sha256 else { return Ok(None) };
        files.push(FileLine { name: name.clone(), bytes, sha256 });
    }
    Ok(Some((files, complete)))
}
