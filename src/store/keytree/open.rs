//! How a key tree comes to be open: made empty in a directory of its own, or taken up where the
//! newest root slot says it stands. It never scrubs before the tree is known to be whole above its
//! leaves, and never judges whether that slot is the one to believe: the caller peeks first.
//!
//! Order of opening: the directory's names are made durable, the last commit is proved and made
//! durable, the tail cut, every other slot scrubbed; then the tree answers.

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::base::secret::Key;
use crate::base::unit::{Generation, TreeSize};
use crate::base::world::{Entropy, random};
use crate::format::node::{Content, NodeHead, blob_hash};
use crate::format::slot::Slot;
use crate::store::disk::{Disk, DiskLock};
use crate::store::error::{Error, Result};
use crate::store::keytree::segment::Segment;
use crate::store::keytree::{KeyTree, broken};
use crate::store::root::RootStore;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, RwLock};

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
}
