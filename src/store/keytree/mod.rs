//! The shred tree: a B-tree of encrypted nodes in which each parent holds its children's keys, so
//! that one small secret, the root key, decides what can be read. Removing a cell gives every
//! node on its path a fresh key and replaces the root; whoever kept all old blobs then holds
//! noise. `docs/decisions/0004-shred-tree.md` has the rules and their proof idea.
//!
//! It never announces anything (the caller logs intent before and done after), never merges
//! nodes, never retries after a failed write: it is then poisoned until opened anew.
//!
//! Order of one `rekey`, each step an fsync: commit of blobs, slot of g+1 (the commit point), old
//! slot random, old slot zeros; with a mirror each step on both replicas before the next. Of one
//! `put`: commit of blobs. Of opening: the directory's names are made durable, the last commit is
//! proved and made durable, the tail cut, every other slot scrubbed; then the tree answers.

mod edit;
mod mirror;
mod scrub;
mod segment;

pub use crate::store::keytree::mirror::{Attached, MirrorPlace, Replicas};
pub use crate::store::keytree::scrub::Scrubbed;

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::base::secret::Key;
use crate::base::unit::{Generation, TreeSize};
use crate::base::world::{Entropy, random};
use crate::format::node::{Blob, Cell, Content, NodeError, NodeHead, Row, blob_hash, prefix};
use crate::format::slot::Slot;
use crate::store::disk::{Disk, DiskLock};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::keytree::edit::{Edit, Plan};
use crate::store::keytree::mirror::Mirror;
use crate::store::keytree::segment::Segment;
use crate::store::root::{REPLACE_BYTES, RootStore};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Decrypted nodes kept: 16,384 x about 4 KiB = 64 MiB. Beyond it the leaves are dropped.
const CACHED_NODES_MAX: usize = 16_384;
/// Below 1 MiB a file is read in no time, however little of it counts.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// An open shred tree. One per tenant; one opener at a time.
pub struct KeyTree {
    tenant: TenantId,
    dir: PathBuf,
    segment: Segment,
    store: RootStore,
    mirror: Option<Mirror>,
    disk: Arc<dyn Disk>,
    slot: Slot,
    level: u8,
    kek: Key,
    cache: RwLock<HashMap<NodeId, Arc<Content>>>,
    poisoned: bool,
    _lock: Box<dyn DiskLock>,
}

/// A cell's new value, or its removal.
pub type Change = ([u8; 32], Option<Zeroizing<Vec<u8>>>);

/// What `put` came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// Durable.
    Done {
        /// Bytes written to disk.
        bytes_written: u64,
    },
    /// Nothing was changed: the tree must grow, which replaces the root. Announce it, then call
    /// `rekey` with the same changes.
    RootWouldSplit,
}

/// What `rekey` came to: the facts of an erasure receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rekeyed {
    /// Generation whose root was destroyed.
    pub from: Generation,
    /// Generation that counts now.
    pub to: Generation,
    /// Birth hash of the destroyed root.
    pub old_root: Hash32,
    /// Birth hash of the new root.
    pub new_root: Hash32,
    /// Bytes written to disk, with both passes over the old slot.
    pub bytes_written: u64,
}

/// What the current root slot says, read without changing anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peek {
    /// Its generation.
    pub generation: Generation,
    /// Birth hash of its root blob.
    pub root_hash: Hash32,
    /// Log size when it was written.
    pub log_size: TreeSize,
    /// Log root of that size.
    pub log_root: Hash32,
}

impl KeyTree {
    /// Makes an empty tree of generation 1 in `dir`, which is created. What a crashed creation
    /// left is overwritten; a tree that was born is refused with `KEYTREE_EXISTS`.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        tenant: TenantId,
        kek: &Key,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        disk.create_dir(dir)?;
        let lock = disk.lock(&dir.join("lock"))?;
        let store = RootStore::new(disk.clone(), dir, tenant);
        if !store.is_blank()? {
            return Err(Error::corrupt(dir, "KEYTREE_EXISTS"));
        }
        let mut segment = Segment::create(disk.clone(), &dir.join("nodes.seg"))?;
        let root_key = Key::new(random(entropy));
        let head = NodeHead { tenant, id: NodeId(random(entropy)), level: 0 };
        let blob = Content::Leaf(Vec::new())
            .seal(&head, &root_key, &random(entropy))
            .map_err(|error| broken(segment.path(), error))?;
        let slot = Slot {
            generation: Generation(1),
            tenant,
            root: head.id,
            root_hash: blob_hash(&blob),
            log_size: TreeSize(0),
            log_root: Hash32::ZERO,
            copies: 1,
            root_key,
            directory_key: Key::new(random(entropy)),
        };
        segment.append(&[(head, blob)])?;
        disk.sync_dir(dir)?;
        store.create(&slot, kek, entropy)?;
        store.settle(slot.generation, entropy)?;
        Ok(KeyTree::assemble(disk, dir, segment, store, slot, 0, kek, lock))
    }

    /// Opens the tree of the newest slot. Before it returns, an incomplete last commit is cut and
    /// every other slot, valid or torn, is scrubbed. **Call `peek` first** and compare with the
    /// log's announcements: a rolled back root must be refused before anything is scrubbed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        tenant: TenantId,
        kek: &Key,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let store = RootStore::new(disk.clone(), dir, tenant);
        store.read(kek)?;
        let lock = disk.lock(&dir.join("lock"))?;
        let slot = store.read(kek)?;
        let segment = Segment::scan(disk.clone(), &dir.join("nodes.seg"), tenant)?;
        let level = segment.level(slot.root)?;
        let mut tree = KeyTree::assemble(disk, dir, segment, store, slot, level, kek, lock);
        let live = tree.live()?;
        // From here on things change: the tree is known to be whole above its leaves.
        tree.segment.retain(&live);
        // Whoever made a name may have been killed before it was durable, or told that it is not:
        // nothing is written to a file, and no slot destroyed, that a power loss may take away.
        tree.disk.sync_dir(dir)?;
        tree.segment.settle()?;
        tree.store.settle(tree.slot.generation, entropy)?;
        Ok(tree)
    }

    /// Reads the current slot; takes no lock, changes nothing.
    pub fn peek(disk: Arc<dyn Disk>, dir: &Path, tenant: TenantId, kek: &Key) -> Result<Peek> {
        let slot = RootStore::new(disk, dir, tenant).read(kek)?;
        Ok(Peek {
            generation: slot.generation,
            root_hash: slot.root_hash,
            log_size: slot.log_size,
            log_root: slot.log_root,
        })
    }

    /// The key under which positions of cells are derived. It stays for the tree's life.
    pub fn directory_key(&self) -> &Key {
        &self.slot.directory_key
    }

    /// The value of a cell.
    pub fn get(&self, key: &[u8; 32]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.sound()?;
        let mut row = self.root_row();
        let mut level = self.level;
        loop {
            let node = self.load(&row, level)?;
            match node.as_ref() {
                Content::Leaf(cells) => {
                    let at = cells.binary_search_by(|cell| cell.key.cmp(key)).ok();
                    return Ok(at.and_then(|at| cells.get(at)).map(|cell| cell.value.clone()));
                }
                Content::Internal(rows) => {
                    let at = rows.partition_point(|row| row.low <= prefix(key)).saturating_sub(1);
                    row = rows.get(at).cloned().ok_or_else(|| self.malformed())?;
                    level = level.checked_sub(1).ok_or_else(|| self.malformed())?;
                }
            }
        }
    }

    /// Inserts and replaces cells in one commit (one fsync), without touching the root slot. Of
    /// two changes of one key the later counts. A replaced value stays readable to whoever holds
    /// the tree's current keys and old blobs: to forget it, `rekey`.
    pub fn put(
        &mut self,
        changes: Vec<([u8; 32], Zeroizing<Vec<u8>>)>,
        entropy: &dyn Entropy,
    ) -> Result<Put> {
        self.sound()?;
        let changes = sorted(changes.into_iter().map(|(key, value)| (key, Some(value))));
        if changes.is_empty() {
            return Ok(Put::Done { bytes_written: 0 });
        }
        let Some(plan) = self.plan(&changes, entropy, false)? else {
            return Ok(Put::RootWouldSplit);
        };
        let blobs = self.seal(&plan, entropy)?;
        let bytes_written = self.append(&blobs);
        let bytes_written = self.or_poison(bytes_written)?;
        self.adopt(plan);
        Ok(Put::Done { bytes_written })
    }

    /// Removes (`None`) and replaces cells so that no copy of their old values can be read again
    /// by whoever comes later: fresh names and keys on every touched path, a new root, the old
    /// slot destroyed. Without changes it re-keys the root alone. `log` is where the log stands.
    pub fn rekey(
        &mut self,
        changes: Vec<Change>,
        log: (TreeSize, Hash32),
        entropy: &dyn Entropy,
    ) -> Result<Rekeyed> {
        self.sound()?;
        let changes = sorted(changes.into_iter());
        let plan = self.plan(&changes, entropy, true)?.ok_or_else(|| self.malformed())?;
        let blobs = self.seal(&plan, entropy)?;
        let born = blobs.iter().find(|(head, _)| head.id == plan.root.id);
        let new_root = born.map(|(_, blob)| blob_hash(blob)).ok_or_else(|| self.malformed())?;
        let next = Slot {
            generation: Generation(self.slot.generation.0 + 1),
            root: plan.root.id,
            root_hash: new_root,
            log_size: log.0,
            log_root: log.1,
            copies: self.replicas().all,
            root_key: plan.root.key.clone(),
            ..self.slot.clone()
        };
        let done = self.replace(&blobs, &next, entropy);
        let bytes_written = self.or_poison(done)?;
        let old = std::mem::replace(&mut self.slot, next);
        self.adopt(plan);
        Ok(Rekeyed {
            from: old.generation,
            to: self.slot.generation,
            old_root: old.root_hash,
            new_root,
            bytes_written,
        })
    }

    /// The generation that counts.
    pub fn generation(&self) -> Generation {
        self.slot.generation
    }

    /// SHA-256 of the root blob at the birth of this generation.
    pub fn root_hash(&self) -> Hash32 {
        self.slot.root_hash
    }

    /// Nodes from the root to a leaf, both counted.
    pub fn height(&self) -> u8 {
        self.level + 1
    }

    /// Calls `each` with every cell, ascending by key. Reads every leaf.
    pub fn for_each(&self, each: &mut dyn FnMut(&[u8; 32], &[u8])) -> Result<()> {
        self.sound()?;
        self.walk(&self.root_row(), self.level, each)
    }

    /// Number of cells. Reads every leaf.
    pub fn cells(&self) -> Result<u64> {
        let mut count = 0;
        self.for_each(&mut |_, _| count += 1)?;
        Ok(count)
    }

    /// Bytes of `nodes.seg`.
    pub fn bytes(&self) -> u64 {
        self.segment.bytes()
    }

    /// Bytes of the blobs that count; the rest is history that nobody can read for long.
    pub fn live_bytes(&self) -> u64 {
        self.segment.live_bytes()
    }

    /// Whether at most half of a file worth the trouble counts.
    pub fn wants_compaction(&self) -> bool {
        self.bytes() > COMPACT_BYTES_MIN && self.live_bytes() <= self.bytes() / 2
    }

    /// Copies the live blobs to a new file and swaps it in. Keys and generation stay: secrecy
    /// does not depend on it.
    pub fn compact(&mut self) -> Result<()> {
        self.sound()?;
        let done = self.segment.compact();
        self.or_poison(done)?;
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        let done = mirror.copy_nodes(&self.segment);
        self.or_poison(done)
    }

    /// Proves the whole of `nodes.seg` by its hashes and opens every node. Reads the whole file.
    pub fn check(&self) -> Result<()> {
        self.segment.check()?;
        self.cells().map(|_| ())
    }

    #[allow(clippy::too_many_arguments)]
    fn assemble(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment: Segment,
        store: RootStore,
        slot: Slot,
        level: u8,
        kek: &Key,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        KeyTree {
            tenant: slot.tenant,
            dir: dir.to_owned(),
            segment,
            store,
            mirror: None,
            disk,
            slot,
            level,
            kek: kek.clone(),
            cache: RwLock::default(),
            poisoned: false,
            _lock: lock,
        }
    }

    fn plan(&self, changes: &[Change], entropy: &dyn Entropy, rekey: bool) -> Result<Option<Plan>> {
        let load = |row: &Row, level| self.load(row, level).map(|node| Content::clone(&node));
        let edit = Edit::new(&self.dir, &load, entropy, rekey);
        edit.plan(&self.root_row(), self.level, changes)
    }

    fn seal(&self, plan: &Plan, entropy: &dyn Entropy) -> Result<Vec<(NodeHead, Box<Blob>)>> {
        let mut blobs = Vec::with_capacity(plan.staged.len());
        for node in &plan.staged {
            let head = NodeHead { tenant: self.tenant, id: node.row.id, level: node.level };
            let blob = node.content.seal(&head, &node.row.key, &random(entropy));
            blobs.push((head, blob.map_err(|error| broken(self.segment.path(), error))?));
        }
        Ok(blobs)
    }

    /// The durable half of a `rekey`.
    fn replace(
        &mut self,
        blobs: &[(NodeHead, Box<Blob>)],
        next: &Slot,
        entropy: &dyn Entropy,
    ) -> Result<u64> {
        let written = self.append(blobs)?;
        let sealed = self.store.sealed(next, &self.kek, entropy)?;
        self.store.put(next.generation, &sealed)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.put_slot(next.generation, &sealed)?;
        }
        self.store.destroy(self.slot.generation, entropy)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.destroy(self.slot.generation, entropy)?;
        }
        Ok(written + REPLACE_BYTES)
    }

    /// One commit, on every replica that can be reached.
    fn append(&mut self, blobs: &[(NodeHead, Box<Blob>)]) -> Result<u64> {
        if let Some(mirror) = &mut self.mirror {
            mirror.before_write()?;
        }
        let appended = self.segment.append(blobs)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.append(appended.at, &appended.bytes)?;
        }
        Ok(appended.bytes.len() as u64)
    }

    /// Takes a plan that is durable into memory.
    fn adopt(&mut self, plan: Plan) {
        self.segment.forget(&plan.dead);
        self.level = plan.level;
        let cache = self.cache.get_mut().unwrap_or_else(PoisonError::into_inner);
        for id in &plan.dead {
            cache.remove(id);
        }
        for node in plan.staged {
            keep(cache, node.row.id, Arc::new(node.content));
        }
    }

    fn root_row(&self) -> Row {
        Row { low: [0; 8], id: self.slot.root, key: self.slot.root_key.clone() }
    }

    fn load(&self, row: &Row, level: u8) -> Result<Arc<Content>> {
        let cached =
            self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&row.id).cloned();
        if let Some(node) = cached {
            return Ok(node);
        }
        let node = Arc::new(self.fetch(row, level)?);
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        keep(&mut cache, row.id, node.clone());
        Ok(node)
    }

    fn fetch(&self, row: &Row, level: u8) -> Result<Content> {
        let head = NodeHead { tenant: self.tenant, id: row.id, level };
        let blob = self.segment.read(row.id)?;
        Content::open(&blob, &head, &row.key).map_err(|error| broken(self.segment.path(), error))
    }

    /// Every node of the tree. Opens internal nodes only; leaves must merely be there.
    fn live(&self) -> Result<HashSet<NodeId>> {
        let mut live = HashSet::new();
        let mut open = vec![(self.root_row(), self.level)];
        while let Some((row, level)) = open.pop() {
            if self.segment.level(row.id)? != level || !live.insert(row.id) {
                return Err(self.malformed());
            }
            let Some(below) = level.checked_sub(1) else { continue };
            if let Content::Internal(rows) = self.load(&row, level)?.as_ref() {
                open.extend(rows.iter().map(|row| (row.clone(), below)));
            }
        }
        if self.level == 0 {
            self.load(&self.root_row(), 0)?;
        }
        Ok(live)
    }

    fn walk(&self, row: &Row, level: u8, each: &mut dyn FnMut(&[u8; 32], &[u8])) -> Result<()> {
        let cached =
            self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&row.id).cloned();
        let node = match cached {
            Some(node) => node,
            None => Arc::new(self.fetch(row, level)?),
        };
        match node.as_ref() {
            Content::Leaf(cells) => {
                cells.iter().for_each(|cell: &Cell| each(&cell.key, &cell.value))
            }
            Content::Internal(rows) => {
                let below = level.checked_sub(1).ok_or_else(|| self.malformed())?;
                for row in rows {
                    self.walk(row, below, each)?;
                }
            }
        }
        Ok(())
    }

    fn sound(&self) -> Result<()> {
        match self.poisoned {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Poisoned, &self.dir, "an earlier write failed")),
        }
    }

    fn or_poison<T>(&mut self, done: Result<T>) -> Result<T> {
        self.poisoned |= done.is_err();
        done
    }

    fn malformed(&self) -> Error {
        Error::corrupt(self.segment.path(), "KEY_NODE_MALFORMED: levels do not fit")
    }
}

/// Puts a node into the cache; a full cache loses its leaves (which wipes them), not its branches.
fn keep(cache: &mut HashMap<NodeId, Arc<Content>>, id: NodeId, node: Arc<Content>) {
    if cache.len() >= CACHED_NODES_MAX {
        cache.retain(|_, node| matches!(node.as_ref(), Content::Internal(_)));
    }
    cache.insert(id, node);
}

/// Sorted by key, the last of equal keys.
fn sorted(changes: impl Iterator<Item = Change>) -> Vec<Change> {
    let mut changes: Vec<Change> = changes.collect();
    changes.sort_by_key(|change| change.0);
    changes.reverse();
    changes.dedup_by(|later, earlier| later.0 == earlier.0);
    changes.reverse();
    changes
}

fn broken(path: &Path, error: NodeError) -> Error {
    let verdict = match error {
        NodeError::Malformed(_) => "KEY_NODE_MALFORMED",
        NodeError::Foreign => "KEY_NODE_FOREIGN",
        NodeError::Sealed => "KEY_NODE_UNREADABLE",
    };
    Error::corrupt(path, format!("{verdict}: {error}"))
}
