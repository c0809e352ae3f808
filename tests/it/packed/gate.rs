//! A disk that can be made to wait, or to fail, where packed files are written: so that a test
//! meets the background in the middle of its work without guessing how long that takes.

use crate::support::passed::passed_on;
use chancery::store::disk::{Disk, DiskFile, Mode};
use chancery::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

#[derive(Default)]
struct State {
    /// End of the paths whose next-but-n write waits.
    wait: Option<(String, u32)>,
    held: bool,
    /// End of the paths whose writes fail.
    fail: Option<String>,
    writes: u32,
}

/// The disk. A clone is the same disk.
#[derive(Clone)]
pub(super) struct Gate {
    disk: Arc<dyn Disk>,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Gate {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Gate {
        Gate { disk, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    /// The `n`-th write from now to a file whose path ends like this waits for `release`.
    pub(super) fn hold(&self, ending: &str, n: u32) {
        self.state().wait = Some((ending.to_owned(), n));
    }

    /// Waits until somebody waits.
    pub(super) fn is_reached(&self) {
        let state = self.state();
        drop(self.state.1.wait_while(state, |s| !s.held).unwrap());
    }

    pub(super) fn release(&self) {
        self.state().held = false;
        self.state.1.notify_all();
    }

    /// Writes to files whose path ends like this fail from now on, or no longer.
    pub(super) fn fail(&self, ending: Option<&str>) {
        self.state().fail = ending.map(str::to_owned);
    }

    /// Writes to packed files so far.
    pub(super) fn writes(&self) -> u32 {
        self.state().writes
    }

    fn pass(&self, path: &Path) -> Result<()> {
        let name = path.to_string_lossy();
        let mut state = self.state();
        let packed = [".seg.new", ".pak.new"].iter().any(|end| name.ends_with(end));
        state.writes += u32::from(packed);
        if state.fail.as_ref().is_some_and(|ending| name.ends_with(ending)) {
            return Err(Error::new(ErrorKind::Full, path, "no room"));
        }
        let Some((ending, left)) = &mut state.wait else { return Ok(()) };
        if !name.ends_with(&**ending) {
            return Ok(());
        }
        *left -= 1;
        if *left == 0 {
            (state.wait, state.held) = (None, true);
            self.state.1.notify_all();
            drop(self.state.1.wait_while(state, |s| s.held).unwrap());
        }
        Ok(())
    }
}

struct GateFile {
    file: Arc<dyn DiskFile>,
    gate: Gate,
    path: PathBuf,
}

impl DiskFile for GateFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.gate.pass(&self.path)?;
        self.file.write_at(offset, bytes)
    }

    passed_on!(file: read_exact_at sync set_len len);
}

impl Disk for Gate {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(GateFile { file, gate: self.clone(), path: path.to_owned() }))
    }

    passed_on!(disk: exists list create_dir rename remove sync_dir is_private lock);
}
