//! The root store: two slot files, one of which holds the current root of a shred tree. Class D:
//! destroying is overwriting in place, which is as good as the medium (good on a plain disk,
//! logical only on flash, copy-on-write and network file systems). It never keeps a key itself.
//!
//! Replacing the root of generation g, each step an fsync: write g+1 into `root.((g+1) mod 2)`
//! (the commit point), overwrite `root.(g mod 2)` with random bytes, then with zeros, read back.
//! Whoever opens takes the newest slot that opens, syncs the directory (a slot file may have a name
//! that is not durable yet) and scrubs whatever else is there, before anything is answered from
//! the tree.

use crate::base::id::TenantId;
use crate::base::secret::Key;
use crate::base::unit::Generation;
use crate::base::world::{Entropy, random};
use crate::format::node::{BLOB_BYTES, NodeError};
use crate::format::slot::Slot;
use crate::store::disk::{Disk, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes written by one `replace` and the `destroy` after it: slot, random, zeros.
pub const REPLACE_BYTES: u64 = 3 * BLOB_BYTES as u64;

/// Two slot files of one tenant.
pub struct RootStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    tenant: TenantId,
}

/// What lies in one slot.
enum Found {
    /// Nothing: no file, or zeros.
    Blank,
    /// A slot that opens, in its own place.
    Valid(Box<Slot>),
    /// Anything else: torn, planted, damaged, under another key.
    Other(NodeError),
}

impl RootStore {
    /// The store in `dir`. Nothing is touched.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, tenant: TenantId) -> Self {
        RootStore { disk, dir: dir.to_owned(), tenant }
    }

    /// Whether nothing was ever born here: both slots are absent or blank.
    pub fn is_blank(&self) -> Result<bool> {
        Ok(self.bytes(0)?.iter().chain(&self.bytes(1)?).all(|byte| *byte == 0))
    }

    /// Writes the first slot. It appears whole or not at all.
    pub fn create(&self, slot: &Slot, kek: &Key, entropy: &dyn Entropy) -> Result<()> {
        let path = self.path(slot.generation);
        let bytes = self.sealed(slot, kek, entropy)?;
        self.disk.replace(&path, &bytes)
    }

    /// The newest slot that opens; changes nothing. `Missing` if there never was one,
    /// `ROOT_UNREADABLE` if a whole slot does not open under this key, `ROOT_CORRUPT` otherwise.
    pub fn read(&self, kek: &Key) -> Result<Slot> {
        let mut newest: Option<Box<Slot>> = None;
        let mut failure = None;
        for index in [0, 1] {
            match self.look(index, kek)? {
                Found::Blank => {}
                Found::Valid(slot) => {
                    let later = newest.as_ref().is_none_or(|n| n.generation < slot.generation);
                    newest = if later { Some(slot) } else { newest };
                }
                Found::Other(error) if failure != Some(NodeError::Sealed) => {
                    failure = Some(error);
                }
                Found::Other(_) => {}
            }
        }
        match (newest, failure) {
            (Some(slot), _) => Ok(*slot),
            (None, None) => Err(Error::new(ErrorKind::Missing, &self.dir, "ROOT_MISSING")),
            (None, Some(NodeError::Sealed)) => {
                Err(Error::corrupt(&self.dir, "ROOT_UNREADABLE: not sealed under this key"))
            }
            (None, Some(error)) => Err(Error::corrupt(&self.dir, format!("ROOT_CORRUPT: {error}"))),
        }
    }

    /// The bytes of a slot, sealed: the same on every replica.
    pub fn sealed(&self, slot: &Slot, kek: &Key, entropy: &dyn Entropy) -> Result<Vec<u8>> {
        let bytes = slot.seal(kek, &random(entropy));
        let bytes = bytes.ok_or_else(|| Error::corrupt(&self.dir, "cannot seal the root"))?;
        Ok(bytes.to_vec())
    }

    /// Writes the slot of a generation beside the other one and syncs: the commit point.
    pub fn put(&self, generation: Generation, sealed: &[u8]) -> Result<()> {
        self.write(&self.path(generation), sealed)
    }

    /// What lies where the slot of a generation belongs; empty if there is no file.
    pub fn lies_at(&self, generation: Generation) -> Result<Vec<u8>> {
        self.bytes(generation.0 % 2)
    }

    /// Overwrites the slot of a dead generation: random, sync, zeros, sync, read back.
    pub fn destroy(&self, dead: Generation, entropy: &dyn Entropy) -> Result<()> {
        let path = self.path(dead);
        let noise: [u8; BLOB_BYTES] = random(entropy);
        self.write(&path, &noise)?;
        self.write(&path, &[0; BLOB_BYTES])?;
        // The system may answer from its cache: this catches a wrong path, not a lying medium.
        match self.disk.read(&path)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Error::corrupt(&path, "ROOT_NOT_SCRUBBED")),
        }
    }

    /// Destroys everything beside the slot of `current`: what a crash, a torn write or a stranger
    /// left. The current slot is made durable first, since it may have been read from a cache.
    pub fn settle(&self, current: Generation, entropy: &dyn Entropy) -> Result<()> {
        let other = Generation(current.0 + 1);
        let kept = self.path(current);
        let blank = self.bytes(other.0)?;
        if blank.len() != BLOB_BYTES || blank.iter().any(|byte| *byte != 0) {
            let bytes = self.disk.read(&kept)?;
            self.write(&kept, &bytes)?;
            self.destroy(other, entropy)?;
        }
        for path in [self.path(current), self.path(other)] {
            let mut name = path.into_os_string();
            name.push(".new");
            let left = PathBuf::from(name);
            if self.disk.exists(&left)? {
                self.write(&left, &[0; BLOB_BYTES])?;
                self.disk.remove(&left)?;
                self.disk.sync_dir(&self.dir)?;
            }
        }
        Ok(())
    }

    /// The slot file of a generation.
    pub fn path(&self, generation: Generation) -> PathBuf {
        self.dir.join(if generation.0.is_multiple_of(2) { "root.0" } else { "root.1" })
    }

    fn look(&self, index: u64, kek: &Key) -> Result<Found> {
        let bytes = self.bytes(index)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Found::Blank);
        }
        Ok(match Slot::open(&bytes, self.tenant, kek) {
            Ok(slot) if slot.generation.0 % 2 == index => Found::Valid(Box::new(slot)),
            Ok(_) => Found::Other(NodeError::Foreign),
            Err(error) => Found::Other(error),
        })
    }

    fn bytes(&self, index: u64) -> Result<Vec<u8>> {
        match self.disk.read(&self.path(Generation(index))) {
            Err(error) if error.kind == ErrorKind::Missing => Ok(Vec::new()),
            other => other,
        }
    }

    /// In place: the old bytes must lie under the new ones. The name of a file that is there was
    /// made durable by whoever opened the store, before it writes.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let fresh = !self.disk.exists(path)?;
        let file = self.disk.open(path, Mode::Create)?;
        file.write_at(0, bytes)?;
        if file.len()? != BLOB_BYTES as u64 {
            file.set_len(BLOB_BYTES as u64)?;
        }
        file.sync()?;
        if fresh { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }
}
