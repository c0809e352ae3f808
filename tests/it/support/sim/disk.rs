//! The simulated disk as the vault sees it: the two traits of `store::disk`.

use super::{
    FailedSync, Inode, NameChange, Pending, Rng, SimDisk, State, Still, apply, apply_name, loss,
    parent,
};
use chancery::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode, Space};
use chancery::store::error::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

struct SimLock {
    locks: Arc<Mutex<HashSet<PathBuf>>>,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.locks.lock().unwrap().remove(&self.path);
    }
}

fn failed(path: &Path) -> Error {
    Error::new(ErrorKind::Io, path, "simulated failure")
}

fn from_offset(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn full(path: &Path) -> Error {
    Error::new(ErrorKind::Full, path, "simulated full disk")
}

fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::Missing, path, "not there")
}

/// Whether and how a mutating operation goes ahead.
#[derive(PartialEq, Eq)]
enum Go {
    /// It does.
    Done,
    /// It fails and is pending all the same.
    Ambiguous,
    /// It fails and nothing happens.
    Not,
}

impl State {
    /// Whether the disk has no room for one more operation that needs some.
    fn is_full(&mut self) -> bool {
        self.needs += 1;
        self.faults.room == Some(0) || self.faults.full_at.is_some_and(|n| self.needs >= n)
    }

    fn change(&mut self, dir: PathBuf, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.changes.entry(dir).or_default().push(change);
    }

    /// Whether the sync of a path is a lie, and how it fails if it does.
    fn sync_of(&mut self, path: &Path) -> (bool, Option<FailedSync>) {
        self.syncs += 1;
        let text = path.to_string_lossy();
        let lie = self.faults.lies.iter().any(|below| text.contains(below.as_str()));
        let fails = self.faults.fail_sync.filter(|(n, _)| self.syncs == *n);
        (lie, fails.map(|(_, what)| what))
    }

    /// Flips a bit of what is about to be read, if its time has come.
    fn rot(&mut self, path: &Path, inode: usize, from: usize, len: usize) {
        let text = path.to_string_lossy().into_owned();
        let mut due = Vec::new();
        self.faults.rot.retain_mut(|rot| {
            if !text.contains(&rot.below) || len == 0 {
                return true;
            }
            rot.reads_left = rot.reads_left.saturating_sub(1);
            if rot.reads_left == 0 {
                due.push(rot.seed);
            }
            rot.reads_left > 0
        });
        for seed in due {
            let mut rng = Rng::new(seed);
            let (at, bit) = (from + rng.below(len), 1 << rng.below(8));
            let Inode { durable, cached, .. } = &mut self.inodes[inode];
            for bytes in [durable, cached] {
                if let Some(byte) = Arc::make_mut(bytes).get_mut(at) {
                    *byte ^= bit;
                }
            }
            self.rotted += 1;
        }
    }
}

impl SimDisk {
    /// Counts a mutating operation, films the instant before it, and says how it goes.
    fn mutate(&self, state: &mut State, what: &str, path: &Path) -> Go {
        if let Some(film) = self.film.lock().unwrap().as_mut() {
            let next = format!("{what} {}", path.display());
            film.push(Still { operation: state.operations, next, state: state.clone() });
        }
        state.operations += 1;
        match state.faults.fail_at {
            Some(n) if state.operations == n => Go::Ambiguous,
            Some(n) if state.operations > n => Go::Not,
            _ => Go::Done,
        }
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.disk.state();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if !state.faults.rot.is_empty() {
            state.rot(&self.path, self.inode, from, bytes.len());
        }
        let cached = &state.inodes[self.inode].cached;
        match from.checked_add(bytes.len()).and_then(|to| cached.get(from..to)) {
            Some(found) => {
                bytes.copy_from_slice(found);
                Ok(())
            }
            None => Err(Error::corrupt(&self.path, "shorter than it must be")),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.state();
        let go = self.disk.mutate(&mut state, "write", &self.path);
        if go == Go::Not {
            return Err(failed(&self.path));
        }
        let before = state.faults.full_at;
        let mut taken =
            state.faults.room.map_or(bytes.len(), |room| bytes.len().min(room as usize));
        if state.is_full() && state.faults.room != Some(0) {
            // The first to meet the full disk is cut short, later ones do not even begin.
            taken = if before == Some(state.needs) { bytes.len() / 2 } else { 0 };
        }
        if let Some(free) = state.free() {
            let len = state.inodes[self.inode].cached.len();
            let within = len.saturating_sub(from_offset(offset)).min(bytes.len());
            taken = taken.min(within + usize::try_from(free).unwrap_or(usize::MAX));
        }
        state.faults.room = state.faults.room.map(|room| room - taken as u64);
        let data = Arc::new(bytes[..taken].to_vec());
        state.tape.push((self.path.as_path().into(), offset, data.clone()));
        if taken > 0 {
            let pending = Pending::Write(offset, data);
            let inode = &mut state.inodes[self.inode];
            apply(&mut inode.cached, &pending);
            inode.pending.push(pending);
        }
        match (go, taken < bytes.len()) {
            (Go::Done, false) => Ok(()),
            (Go::Done, true) => Err(full(&self.path)),
            _ => Err(failed(&self.path)),
        }
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        if self.disk.mutate(&mut state, "sync", &self.path) != Go::Done {
            return Err(failed(&self.path));
        }
        let (lie, fails) = state.sync_of(&self.path);
        if lie {
            return Ok(());
        }
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        match fails {
            None | Some(FailedSync::Kept) => {
                pending.iter().for_each(|p| apply(&mut inode.durable, p));
            }
            Some(FailedSync::Lost) => {}
            Some(FailedSync::Torn(seed)) => {
                let mut rng = Rng::new(seed);
                pending.iter().for_each(|p| loss::survive(&mut inode.durable, p, &mut rng));
            }
        }
        fails.map_or(Ok(()), |_| Err(failed(&self.path)))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.disk.state();
        if self.disk.mutate(&mut state, "set_len", &self.path) != Go::Done {
            return Err(failed(&self.path));
        }
        if len > state.inodes[self.inode].cached.len() as u64 && state.is_full() {
            return Err(full(&self.path));
        }
        let inode = &mut state.inodes[self.inode];
        apply(&mut inode.cached, &Pending::Len(len));
        inode.pending.push(Pending::Len(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let growth = len.saturating_sub(self.len()?);
        let free = self.disk.state().free();
        match free {
            Some(free) if free < growth => Err(full(&self.path)),
            _ if growth == 0 => Ok(()),
            _ => self.set_len(len),
        }
    }

    fn len(&self) -> Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }
}

impl SimDisk {
    /// Makes an empty file.
    fn create(&self, state: &mut State, path: &Path) -> Result<usize> {
        if !state.dirs.contains(&parent(path)) {
            return Err(missing(path));
        }
        let go = self.mutate(state, "create", path);
        if go == Go::Not {
            return Err(failed(path));
        }
        if state.is_full() {
            return Err(full(path));
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.change(parent(path), NameChange::Set(path.to_owned(), inode));
        if go == Go::Done { Ok(inode) } else { Err(failed(path)) }
    }

    /// Changes names in the directory of `path`.
    fn rename_or_remove(&self, what: &str, path: &Path, change: NameChange) -> Result<()> {
        let mut state = self.state();
        let touched = match &change {
            NameChange::Rename(from, _) => from,
            NameChange::Set(path, _) | NameChange::Remove(path) => path,
        };
        if !state.names.contains_key(touched) {
            return Err(missing(touched));
        }
        let go = self.mutate(&mut state, what, path);
        if go != Go::Not {
            state.change(parent(path), change);
        }
        if go == Go::Done { Ok(()) } else { Err(failed(path)) }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let found = state.names.get(path).copied();
        let inode = match (found, mode) {
            (Some(_), Mode::CreateNew) => {
                return Err(Error::new(ErrorKind::Io, path, "already there"));
            }
            (Some(inode), _) => inode,
            (None, Mode::Read | Mode::Write) => return Err(missing(path)),
            (None, Mode::Create | Mode::CreateNew) => self.create(&mut state, path)?,
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let state = self.state();
        Ok(state.names.contains_key(path) || state.dirs.contains(path))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        let state = self.state();
        let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let files = state.names.keys().map(|path| (path, false));
        let dirs = state.dirs.iter().map(|path| (path, true));
        let mut listed: Vec<Listed> = files
            .chain(dirs)
            .filter(|(path, _)| path.parent() == Some(dir))
            .filter_map(|(path, is_dir)| Some(Listed { name: name(path)?, is_dir }))
            .collect();
        listed.sort();
        Ok(listed)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state();
        if state.dirs.contains(dir) {
            return Ok(());
        }
        let go = self.mutate(&mut state, "create_dir", dir);
        if go != Go::Not {
            state.dirs.extend(dir.ancestors().map(Path::to_owned));
        }
        if go == Go::Done { Ok(()) } else { Err(failed(dir)) }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.rename_or_remove("rename", to, NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.rename_or_remove("remove", path, NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state();
        if !state.dirs.contains(dir) {
            return Err(missing(dir));
        }
        if self.mutate(&mut state, "sync_dir", dir) != Go::Done {
            return Err(failed(dir));
        }
        let (lie, fails) = state.sync_of(dir);
        if lie {
            return Ok(());
        }
        let changes = state.changes.remove(dir).unwrap_or_default();
        let kept = match fails {
            None | Some(FailedSync::Kept) => changes.len(),
            Some(FailedSync::Lost) => 0,
            Some(FailedSync::Torn(seed)) => Rng::new(seed).below(changes.len() + 1),
        };
        for change in &changes[..kept] {
            apply_name(&mut state.durable_names, change);
        }
        fails.map_or(Ok(()), |_| Err(failed(dir)))
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        let state = self.state();
        let inode = state.names.get(path).ok_or_else(|| missing(path))?;
        Ok(!state.inodes[*inode].public)
    }

    fn space(&self, _dir: &Path) -> Option<Space> {
        self.state().free().map(|free| Space { device: 1, free })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        if !self.state().dirs.contains(&parent(path)) {
            return Err(missing(path));
        }
        if !self.locks.lock().unwrap().insert(path.to_owned()) {
            return Err(Error::new(ErrorKind::Locked, path, "already locked"));
        }
        Ok(Box::new(SimLock { locks: self.locks.clone(), path: path.to_owned() }))
    }
}
