//! The end of the spool: one write and one sync for what is emitted together. A file that is long
//! enough is left and another begun, whose name is synced before anything in it counts.
//!
//! It never takes more than may wait, never reuses bytes of a failed sync, and never tells the
//! sender of an event before it is synced.

use crate::client::spool::{Shared, segment_path};
use crate::client::{Config, Error, Result};
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error as StoreError, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

/// The file that is written.
pub struct Tail {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn DiskFile>,
    base: u64,
    len: u64,
    segment_bytes: u64,
    spool_bytes: u64,
    failed: bool,
}

impl Tail {
    /// Opens the last file, or makes it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(disk: Arc<dyn Disk>, config: &Config, base: u64) -> Result<Tail> {
        let file = disk.open(&segment_path(&config.dir, base), Mode::Create)?;
        disk.sync_dir(&config.dir)?;
        let len = file.len()?;
        Ok(Tail {
            disk,
            dir: config.dir.clone(),
            file,
            base,
            len,
            segment_bytes: config.segment_bytes.max(1),
            spool_bytes: config.spool_bytes,
            failed: false,
        })
    }

    /// Where the next frame will begin.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.len)
    }

    /// Whether a write has failed.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Writes whole frames and syncs them: behind this they are the sender's. Returns the position
    /// behind them.
    ///
    /// # Errors
    /// `Full` took nothing and may be tried again; any other failure of the disk ends it.
    pub fn append(&mut self, frames: &[u8], shared: &Shared) -> Result<u64> {
        if self.failed {
            return Err(Error::Failed);
        }
        let waiting = self.end().saturating_sub(shared.board().settled);
        let grown = frames.len() as u64;
        if waiting.saturating_add(grown) > self.spool_bytes {
            return Err(Error::Full { limit: self.spool_bytes });
        }
        if self.len > 0 && self.len.saturating_add(grown) > self.segment_bytes {
            self.begin_next(shared)?;
        }
        if let Err(error) = self.file.write_at(self.len, frames) {
            return Err(self.undo(error));
        }
        if let Err(error) = self.file.sync() {
            // Taken away again where that can be: else the next opening finds it and sends it.
            let _ = self.file.set_len(self.len);
            self.failed = true;
            return Err(error.into());
        }
        self.len = self.len.saturating_add(grown);
        shared.board().end = self.end();
        shared.bell.notify_all();
        Ok(self.end())
    }

    /// A full disk may have taken a part; anything else is not to be believed.
    fn undo(&mut self, error: StoreError) -> Error {
        let cut = self.file.set_len(self.len).is_ok();
        self.failed = !(cut && error.kind == ErrorKind::Full);
        error.into()
    }

    fn synced<T>(&mut self, done: std::result::Result<T, StoreError>) -> Result<T> {
        self.failed |= done.is_err();
        Ok(done?)
    }

    fn begin_next(&mut self, shared: &Shared) -> Result<()> {
        let base = self.end();
        let opened = self.disk.open(&segment_path(&self.dir, base), Mode::Create);
        if opened.as_ref().is_err_and(|error| error.kind == ErrorKind::Full) {
            return Err(opened.err().map_or(Error::Failed, Error::Store));
        }
        let file = self.synced(opened)?;
        let named = self.disk.sync_dir(&self.dir);
        self.synced(named)?;
        (self.file, self.base, self.len) = (file, base, 0);
        shared.board().bases.insert(base);
        Ok(())
    }
}
