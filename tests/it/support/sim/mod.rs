//! A simulated disk with a memory of every crash it could have had, and a seeded entropy source.
//!
//! Fault model. What it does:
//! - **Lost and reordered writes.** A file has durable bytes and a list of pending operations
//!   (writes, length changes); `sync` of that file makes them durable. Reads see pending operations
//!   (the page cache). A power loss decides over each pending operation alone, across files and
//!   within one file: any subset may survive, later without earlier.
//! - **Torn sectors.** A pending write is kept, lost, cut to a prefix, or kept sector by sector
//!   (512 bytes, aligned to the file): each sector old or new. A pending length change is kept or
//!   lost. What a surviving write leaves out below it reads as zeros.
//! - **Names.** A name (created, renamed, removed) is durable only after `sync_dir` of its
//!   directory. Changes of different names survive independently; changes of one name, and of names
//!   a rename ties together, survive as a prefix of their order. A rename over an existing file
//!   leaves the old file or the new, whole; whether the new file's bytes are there is another
//!   question (sync it first). Directories are durable at once (`create_dir` syncs).
//! - **Power loss at any instant.** `film` keeps the disk as it is before every mutating operation;
//!   each `Still` is crashed as often as wanted, keeping nothing, everything, or what a seed says.
//!   `crash(seed)` does so for now.
//! - **Failing operations.** `fail_at(n)`: the n-th mutating operation from now and all later ones
//!   fail. The n-th is still handed to the disk as pending (a sync or length change is not), so
//!   that a crash may find it done, undone or torn.
//! - **Failed syncs.** `fail_sync(n, what)`: the n-th sync from now (of a file or a directory)
//!   fails once; what it covered is lost for good, or durable in spite of the error, or torn.
//!   Reads still see it and later syncs succeed: what Linux does.
//! - **Full disk.** `full_after(bytes)`: the disk takes that many more bytes, then a write is cut
//!   short with `Full`, and nothing can be created or made longer. `full_at(n)`: the n-th operation
//!   that needs room from now (write, create, longer length) and all later ones return `Full`, the
//!   n-th write after half its bytes. Both last until `heal`. Syncs and removals go on.
//! - **A disk of a size.** `capacity(bytes)`: all named files together have at most so many bytes.
//!   A write is cut short with `Full` where they would have more, `allocate` takes all or nothing,
//!   and `space` says what is free; removing and shortening make room at once.
//! - **Bit rot.** `rot(below, n, seed)`: the n-th read from now of a file whose path contains
//!   `below` finds one bit of what it asked for flipped; it stays flipped until overwritten, for
//!   every later reader.
//! - **Lying device.** `lie(below)`: syncs of files and directories whose path contains `below`
//!   return success and do nothing. No promise can hold on it: it exists so that the tests of the
//!   promises can be seen to fail.
//! - Locks: a second lock of one path is refused; dropping or crashing releases.
//! - The tape: every byte ever handed to any file, by path, in order, through crashes.
//!
//! What it does not: a sync that returned success is never lost (but under `lie`), reads never fail
//! with an error, renames between directories are not told apart from renames within one.
//!
//! Everything is a function of the seeds given: no clock, no system randomness.

#![allow(dead_code, unreachable_pub)]

mod disk;
mod loss;
mod rng;
#[cfg(test)]
mod tests;

pub use loss::Survivors;
pub use rng::{Rng, SimEntropy};

use chancery::store::disk::Disk;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone)]
enum Pending {
    Write(u64, Arc<Vec<u8>>),
    Len(u64),
}

#[derive(Clone, Default)]
struct Inode {
    durable: Arc<Vec<u8>>,
    cached: Arc<Vec<u8>>,
    pending: Vec<Pending>,
    public: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What becomes of the bytes a failed sync covered.
#[derive(Clone, Copy, Debug)]
pub enum FailedSync {
    /// Dropped: the page is clean, the medium never saw it.
    Lost,
    /// On the medium in spite of the error.
    Kept,
    /// As after a power loss with this seed.
    Torn(u64),
}

/// Bit rot waiting for its read.
#[derive(Clone)]
struct Rot {
    below: String,
    reads_left: u64,
    seed: u64,
}

/// What is wrong with the disk.
#[derive(Clone, Default)]
struct Faults {
    fail_at: Option<u64>,
    fail_sync: Option<(u64, FailedSync)>,
    room: Option<u64>,
    full_at: Option<u64>,
    capacity: Option<u64>,
    rot: Vec<Rot>,
    lies: Vec<String>,
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: BTreeMap<PathBuf, Vec<NameChange>>,
    dirs: BTreeSet<PathBuf>,
    tape: Vec<(Arc<Path>, u64, Arc<Vec<u8>>)>,
    operations: u64,
    syncs: u64,
    needs: u64,
    rotted: u64,
    faults: Faults,
}

/// The simulated disk. A clone is the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
    film: Arc<Mutex<Option<Vec<Still>>>>,
}

/// The disk at one instant.
#[derive(Clone)]
pub struct Still {
    /// Mutating operations before this instant.
    pub operation: u64,
    /// The operation that was about to happen.
    pub next: String,
    state: State,
}

impl Still {
    /// What a power loss at that instant leaves.
    pub fn crash(&self, survivors: Survivors) -> SimDisk {
        self.state.lose(survivors)
    }

    /// What the process finds that is started after this one was killed at that instant: all that
    /// was pending still is, and a later power loss decides over it.
    pub fn kill(&self) -> SimDisk {
        SimDisk::of(self.state.clone())
    }

    /// Whether anything is pending: if not, every power loss leaves the same.
    pub fn is_clean(&self) -> bool {
        self.state.changes.values().all(Vec::is_empty)
            && self.state.inodes.iter().all(|inode| inode.pending.is_empty())
    }
}

fn apply(bytes: &mut Arc<Vec<u8>>, pending: &Pending) {
    let bytes = Arc::make_mut(bytes);
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

impl State {
    fn used(&self) -> u64 {
        let inodes: BTreeSet<usize> = self.names.values().copied().collect();
        inodes.iter().map(|inode| self.inodes[*inode].cached.len() as u64).sum()
    }

    /// Bytes that a disk of a size still takes.
    fn free(&self) -> Option<u64> {
        self.faults.capacity.map(|capacity| capacity.saturating_sub(self.used()))
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

impl SimDisk {
    pub fn new() -> Self {
        SimDisk::default()
    }

    fn of(state: State) -> Self {
        SimDisk { state: Arc::new(Mutex::new(state)), ..SimDisk::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Mutating operations so far: open that creates, write, sync, set_len, rename, remove,
    /// sync_dir, create_dir.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Syncs so far, of files and directories.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Operations that needed room so far: write, open that creates, longer length.
    pub fn needs(&self) -> u64 {
        self.state().needs
    }

    /// Starts keeping the disk as it is before every mutating operation.
    pub fn film(&self) {
        *self.film.lock().unwrap() = Some(Vec::new());
    }

    /// Stops filming. The last still is the disk now.
    pub fn cut(&self) -> Vec<Still> {
        let mut stills = self.film.lock().unwrap().take().unwrap_or_default();
        stills.push(self.still());
        stills
    }

    /// The disk now.
    pub fn still(&self) -> Still {
        let state = self.state().clone();
        Still { operation: state.operations, next: "nothing more".to_owned(), state }
    }

    /// The `n`-th mutating operation from now (1 = the next) and all later ones fail.
    pub fn fail_at(&self, n: u64) {
        let mut state = self.state();
        state.faults.fail_at = Some(state.operations + n);
    }

    /// The `n`-th sync from now fails once, and what it covered is lost.
    pub fn fail_sync_at(&self, n: u64) {
        self.fail_sync(n, FailedSync::Lost);
    }

    /// The `n`-th sync from now fails once, with this outcome for what it covered.
    pub fn fail_sync(&self, n: u64, what: FailedSync) {
        let mut state = self.state();
        state.faults.fail_sync = Some((state.syncs + n, what));
    }

    /// The disk takes `bytes` more.
    pub fn full_after(&self, bytes: u64) {
        self.state().faults.room = Some(bytes);
    }

    /// The `n`-th operation that needs room from now, and all later ones, find the disk full.
    pub fn full_at(&self, n: u64) {
        let mut state = self.state();
        state.faults.full_at = Some(state.needs + n);
    }

    /// All files together have at most this many bytes from now on.
    pub fn capacity(&self, bytes: u64) {
        self.state().faults.capacity = Some(bytes);
    }

    /// Bytes of all named files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The `n`-th read from now of a file whose path contains `below` finds a flipped bit.
    pub fn rot(&self, below: &str, n: u64, seed: u64) {
        let rot = Rot { below: below.to_owned(), reads_left: n, seed };
        self.state().faults.rot.push(rot);
    }

    /// How many bits have rotted.
    pub fn rotted(&self) -> u64 {
        self.state().rotted
    }

    /// Syncs of paths that contain `below` do nothing from now on and say that they did.
    pub fn lie(&self, below: &str) {
        self.state().faults.lies.push(below.to_owned());
    }

    /// Ends every failure mode. What has rotted or was lost stays so.
    pub fn heal(&self) {
        self.state().faults = Faults::default();
    }

    /// The disk after a power loss now. This one goes on as it is, so that one state can be
    /// crashed with many seeds.
    pub fn crash(&self, seed: u64) -> SimDisk {
        self.state().lose(Survivors::Random(seed))
    }

    /// An independent copy of the disk as it is, pending operations included, all locks free.
    pub fn fork(&self) -> SimDisk {
        SimDisk::of(self.state().clone())
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
        state.names.get(path).map(|inode| state.inodes[*inode].cached.to_vec())
    }

    /// Bytes of a file as a power loss now would leave them if nothing pending survived.
    pub fn durable_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.durable_names.get(path).map(|inode| state.inodes[*inode].durable.to_vec())
    }

    /// All file paths.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Puts a file there, durable: a stranger's hand, not on the tape.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let durable = Arc::new(bytes.to_vec());
        let cached = durable.clone();
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
            if let Some(byte) = Arc::make_mut(bytes).get_mut(at) {
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

    /// Copies everything below a directory from another disk, durable.
    pub fn copy_from(&self, other: &SimDisk, below: &Path) {
        for path in other.files().into_iter().filter(|p| p.starts_with(below)) {
            self.create_dir(&parent(&path)).unwrap();
            self.plant(&path, &other.bytes(&path).unwrap());
        }
    }
}
