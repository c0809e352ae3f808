//! The head: one small file that names the log's newest signed state, replaced as a whole.
//! It never moves back and never forks: a swap states what it believes is there.

use crate::store::disk::Disk;
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A head on a disk: write `<name>.new`, sync, rename, sync the directory.
pub struct Head {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Head {
    /// The head kept in `path`.
    pub fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        Head { disk, path: path.to_owned() }
    }

    /// What is there now.
    ///
    /// # Errors
    /// `Io` when the file is there and cannot be read.
    pub fn load(&self) -> Result<Option<Vec<u8>>> {
        match self.disk.exists(&self.path)? {
            true => self.disk.read(&self.path).map(Some),
            false => Ok(None),
        }
    }

    /// Replaces `expected` by `new`, durably.
    ///
    /// # Errors
    /// `Corrupt` when something else is there: another writer, or a restored copy.
    pub fn compare_and_swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<()> {
        if self.load()?.as_deref() != expected {
            let what = "head is not what this writer left there";
            return Err(Error::new(ErrorKind::Corrupt, &self.path, what));
        }
        self.disk.replace(&self.path, new)
    }
}
