//! A simulated disk with a memory of every crash it could have had, and a seeded entropy source.
//!
//! Fault model. What it does:
//! - A file has durable bytes and a list of pending operations (writes, length changes), made
//!   durable in order by `sync` of that file. Reads see pending operations (the page cache).
//! - A name (created, renamed, removed) is durable only after `sync_dir` of its directory;
//!   directories themselves are durable at once (`create_dir` syncs).
//! - `crash(seed)` gives the disk after a power loss. Per file, each pending write is kept, lost,
//!   cut to a prefix, or kept sector by sector (512 bytes); a pending length change is kept or
//!   lost. Writes of one file are independent of each other: later may survive and earlier not.
//!   Per directory, pending name changes survive as a prefix of their order.
//! - `fail_at(n)`: the n-th mutating operation from now and all later ones fail. The n-th is
//!   still handed to the disk as pending (a sync or length change is not), so that a crash may
//!   find it done, undone or torn.
//! - `fail_sync_at(n)`: the n-th sync from now fails and the pending writes it covered are
//!   dropped for good, while reads still see them (what Linux does); later syncs succeed.
//! - `full_after(bytes)`: the disk takes that many more bytes, then writes return `Full` after a
//!   partial write.
//! - Locks: a second lock of one path is refused; dropping or crashing releases.
//! - The tape: every byte ever handed to any file, by path, in order, through crashes.
//!
//! What it does not: sectors never rot by themselves (`plant` and `flip` do that on request), a
//! sync that returned success is never lost, reads never fail.
//!
//! Everything is a function of the seeds given: no clock, no system randomness.

#![allow(dead_code, unreachable_pub)]

use chancery::base::world::Entropy;
use chancery::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode};
use chancery::store::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// SplitMix64: small, seeded, the same everywhere. Not for secrets outside tests.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for `n` = 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % (n.max(1) as u64)) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Seeded entropy.
pub struct SimEntropy(Mutex<Rng>);

impl SimEntropy {
    pub fn new(seed: u64) -> Self {
        SimEntropy(Mutex::new(Rng::new(seed)))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill(bytes);
    }
}

#[derive(Clone)]
enum Pending {
    Write(u64, Arc<Vec<u8>>),
    Len(u64),
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<Pending>,
    public: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: BTreeMap<PathBuf, Vec<NameChange>>,
    dirs: BTreeSet<PathBuf>,
    tape: Vec<(PathBuf, u64, Arc<Vec<u8>>)>,
    operations: u64,
    fail_at: Option<u64>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    room: Option<u64>,
}

/// The simulated disk. A clone is the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
}

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

fn apply(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Len(len) => bytes.resize(*len as usize, 0),
        Pending::Write(at, data) => {
            let (at, end) = (*at as usize, *at as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(data);
        }
    }
}

/// What a crash leaves of one pending operation.
fn apply_torn(bytes: &mut Vec<u8>, pending: &Pending, rng: &mut Rng) {
    let fate = rng.below(4);
    match pending {
        _ if fate == 0 => {}
        Pending::Write(at, data) if fate == 1 => {
            let cut = data[..rng.below(data.len() + 1)].to_vec();
            apply(bytes, &Pending::Write(*at, Arc::new(cut)));
        }
        Pending::Write(at, data) if fate == 2 => {
            let mut from = 0;
            while from < data.len() {
                let sector_end = SECTOR - (*at as usize + from) % SECTOR;
                let to = (from + sector_end).min(data.len());
                if rng.below(2) == 0 {
                    let part = Arc::new(data[from..to].to_vec());
                    apply(bytes, &Pending::Write(*at + from as u64, part));
                }
                from = to;
            }
        }
        _ => apply(bytes, pending),
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Set(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

impl State {
    /// Counts a mutating operation; whether it must fail.
    fn mutate(&mut self) -> bool {
        self.operations += 1;
        self.fail_at.is_some_and(|n| self.operations >= n)
    }

    /// Whether the failing operation is the first to fail: that one still reaches the disk.
    fn first_failure(&self) -> bool {
        self.fail_at == Some(self.operations)
    }

    fn change(&mut self, dir: PathBuf, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.changes.entry(dir).or_default().push(change);
    }
}

fn failed(path: &Path) -> Error {
    Error::new(ErrorKind::Io, path, "simulated failure")
}

fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::Missing, path, "not there")
}

impl SimDisk {
    pub fn new() -> Self {
        SimDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Mutating operations so far: open that creates, write, sync, set_len, rename, remove,
    /// sync_dir, create_dir.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The `n`-th mutating operation from now (1 = the next) and all later ones fail.
    pub fn fail_at(&self, n: u64) {
        let mut state = self.state();
        state.fail_at = Some(state.operations + n);
    }

    /// The `n`-th file sync from now fails once, and what it covered is lost.
    pub fn fail_sync_at(&self, n: u64) {
        let mut state = self.state();
        state.fail_sync_at = Some(state.syncs + n);
    }

    /// The disk takes `bytes` more.
    pub fn full_after(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Ends every failure mode.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.fail_at, state.fail_sync_at, state.room) = (None, None, None);
    }

    /// The disk after a power loss now. This one goes on as it is, so that one state can be
    /// crashed with many seeds.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let state = self.state();
        let mut rng = Rng::new(seed);
        let mut after = State {
            dirs: state.dirs.clone(),
            tape: state.tape.clone(),
            durable_names: state.durable_names.clone(),
            ..State::default()
        };
        for inode in &state.inodes {
            let mut bytes = inode.durable.clone();
            for pending in &inode.pending {
                apply_torn(&mut bytes, pending, &mut rng);
            }
            let public = inode.public;
            let cached = bytes.clone();
            after.inodes.push(Inode { durable: bytes, cached, pending: Vec::new(), public });
        }
        for changes in state.changes.values() {
            let kept = rng.below(changes.len() + 1);
            for change in &changes[..kept] {
                apply_name(&mut after.durable_names, change);
            }
        }
        after.names = after.durable_names.clone();
        SimDisk { state: Arc::new(Mutex::new(after)), locks: Arc::default() }
    }

    /// An independent copy of the disk as it is, pending operations included, all locks free.
    pub fn fork(&self) -> SimDisk {
        let state = self.state().clone();
        SimDisk { state: Arc::new(Mutex::new(state)), locks: Arc::default() }
    }

    /// Everything ever written to files whose path starts with `prefix`: one chunk per write, in
    /// order. It survives crashes, removals and overwriting: it is what an attacker may have kept.
    pub fn all_bytes_ever(&self, prefix: &Path) -> Vec<Arc<Vec<u8>>> {
        let state = self.state();
        let tape = state.tape.iter().filter(|(path, _, _)| path.starts_with(prefix));
        tape.map(|(_, _, bytes)| bytes.clone()).collect()
    }

    /// Forgets the tape so far.
    pub fn rewind_tape(&self) {
        self.state().tape.clear();
    }

    /// Bytes of a file as reads see them, if it is there.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|inode| state.inodes[*inode].cached.clone())
    }

    /// Bytes of a file as a power loss now would leave them if nothing pending survived.
    pub fn durable_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.durable_names.get(path).map(|inode| state.inodes[*inode].durable.clone())
    }

    /// All file paths.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Puts a file there, durable: a stranger's hand, not on the tape.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let (durable, cached) = (bytes.to_vec(), bytes.to_vec());
        let inode = Inode { durable, cached, pending: Vec::new(), public: false };
        state.inodes.push(inode);
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        state.durable_names.insert(path.to_owned(), inode);
    }

    /// Changes one byte of a file by xor, durable.
    pub fn flip(&self, path: &Path, at: usize, mask: u8) {
        let mut bytes = self.bytes(path).expect("file to flip");
        bytes[at] ^= mask;
        self.plant(path, &bytes);
    }

    /// Changes one byte by xor under whoever has the file open, durable: a sector that rots.
    pub fn write_through(&self, path: &Path, at: usize, mask: u8) {
        let mut state = self.state();
        let inode = *state.names.get(path).expect("file to change");
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.durable, &mut inode.cached] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    /// Gives everybody read permission.
    pub fn make_public(&self, path: &Path) {
        let mut state = self.state();
        let inode = *state.names.get(path).expect("file to publish");
        state.inodes[inode].public = true;
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let state = self.disk.state();
        let cached = &state.inodes[self.inode].cached;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
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
        let fails = state.mutate();
        if fails && !state.first_failure() {
            return Err(failed(&self.path));
        }
        let taken = state.room.map_or(bytes.len(), |room| bytes.len().min(room as usize));
        state.room = state.room.map(|room| room - taken as u64);
        let data = Arc::new(bytes[..taken].to_vec());
        state.tape.push((self.path.clone(), offset, data.clone()));
        let pending = Pending::Write(offset, data);
        let inode = &mut state.inodes[self.inode];
        apply(&mut inode.cached, &pending);
        inode.pending.push(pending);
        match (fails, taken < bytes.len()) {
            (true, _) => Err(failed(&self.path)),
            (false, true) => Err(Error::new(ErrorKind::Full, &self.path, "simulated full disk")),
            (false, false) => Ok(()),
        }
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        if state.mutate() {
            return Err(failed(&self.path));
        }
        state.syncs += 1;
        let lost = state.fail_sync_at == Some(state.syncs);
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        if lost {
            return Err(failed(&self.path));
        }
        for pending in &pending {
            apply(&mut inode.durable, pending);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.disk.state();
        if state.mutate() {
            return Err(failed(&self.path));
        }
        let inode = &mut state.inodes[self.inode];
        apply(&mut inode.cached, &Pending::Len(len));
        inode.pending.push(Pending::Len(len));
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
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
            (None, Mode::Create | Mode::CreateNew) => {
                if !state.dirs.contains(&parent(path)) {
                    return Err(missing(path));
                }
                let fails = state.mutate();
                if fails && !state.first_failure() {
                    return Err(failed(path));
                }
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.change(parent(path), NameChange::Set(path.to_owned(), inode));
                if fails {
                    return Err(failed(path));
                }
                inode
            }
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
        let fails = state.mutate();
        if !fails || state.first_failure() {
            state.dirs.extend(dir.ancestors().map(Path::to_owned));
        }
        if fails { Err(failed(dir)) } else { Ok(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(missing(from));
        }
        let fails = state.mutate();
        if !fails || state.first_failure() {
            let change = NameChange::Rename(from.to_owned(), to.to_owned());
            state.change(parent(to), change);
        }
        if fails { Err(failed(to)) } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(missing(path));
        }
        let fails = state.mutate();
        if !fails || state.first_failure() {
            state.change(parent(path), NameChange::Remove(path.to_owned()));
        }
        if fails { Err(failed(path)) } else { Ok(()) }
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state();
        if !state.dirs.contains(dir) {
            return Err(missing(dir));
        }
        if state.mutate() {
            return Err(failed(dir));
        }
        let changes = state.changes.remove(dir).unwrap_or_default();
        for change in &changes {
            apply_name(&mut state.durable_names, change);
        }
        Ok(())
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        let state = self.state();
        let inode = state.names.get(path).ok_or_else(|| missing(path))?;
        Ok(!state.inodes[*inode].public)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dirty(seed: u64) -> (SimDisk, PathBuf) {
        let (disk, path) = (SimDisk::new(), PathBuf::from("/d/f"));
        disk.create_dir(Path::new("/d")).unwrap();
        let file = disk.open(&path, Mode::CreateNew).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(0, &[1; 2000]).unwrap();
        file.sync().unwrap();
        file.write_at(500, &[2; 1500]).unwrap();
        file.set_len(3000 + seed).unwrap();
        (disk, path)
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_is_a_function_of_its_seed() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let (disk, path) = dirty(0);
            let after = disk.crash(seed).bytes(&path).unwrap();
            assert_eq!(after, disk.crash(seed).bytes(&path).unwrap(), "seed {seed}");
            assert_eq!(after[..500], [1; 500], "seed {seed}");
            assert!(after[500..2000].iter().all(|byte| [1, 2].contains(byte)), "seed {seed}");
            seen.insert(after);
        }
        let (disk, path) = dirty(0);
        assert!(seen.contains(&vec![1; 2000]), "all lost");
        assert!(seen.contains(&disk.bytes(&path).unwrap()), "all kept");
        assert!(seen.len() > 50, "torn in many ways: {}", seen.len());
    }

    #[test]
    fn a_failed_sync_loses_what_reads_still_see() {
        let (disk, path) = dirty(0);
        let file = disk.open(&path, Mode::Write).unwrap();
        disk.fail_sync_at(1);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.bytes(&path).unwrap()[600], 2);
        assert_eq!(disk.crash(1).bytes(&path).unwrap(), vec![1; 2000]);
    }

    #[test]
    fn a_full_disk_takes_a_part_and_says_so() {
        let (disk, path) = dirty(0);
        let file = disk.open(&path, Mode::Write).unwrap();
        disk.full_after(10);
        let error = file.write_at(0, &[7; 20]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Full);
        assert_eq!(disk.bytes(&path).unwrap()[..20], [[7; 10], [1; 10]].concat());
    }

    #[test]
    fn names_survive_in_order_and_locks_exclude() {
        let disk = SimDisk::new();
        let dir = Path::new("/d");
        disk.create_dir(dir).unwrap();
        disk.replace(&dir.join("a"), b"one").unwrap();
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        disk.open(&dir.join("c"), Mode::CreateNew).unwrap();
        for seed in 0..50 {
            let after = disk.crash(seed);
            let names: Vec<String> =
                after.list(dir).unwrap().into_iter().map(|listed| listed.name).collect();
            let expected = [vec!["a"], vec!["b"], vec!["b", "c"]];
            assert!(expected.iter().any(|e| *e == names), "seed {seed}: {names:?}");
        }
        let lock = disk.lock(&dir.join("lock")).unwrap();
        assert!(disk.lock(&dir.join("lock")).is_err());
        assert!(disk.crash(0).lock(&dir.join("lock")).is_ok());
        drop(lock);
        assert!(disk.lock(&dir.join("lock")).is_ok());
    }
}
