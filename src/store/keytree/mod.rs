//! The shred tree: a B-tree of encrypted nodes in which each parent holds its children's keys, so
//! that one small secret, the root key, decides what can be read. Removing a cell gives every
//! node on its path a fresh key and replaces the root; whoever kept all old blobs then holds
//! noise. `docs/decisions/0004-shred-tree.md` has the rules and their proof idea.
//!
//! It never announces anything (the caller logs intent before and done after), never merges
//! nodes, never retries after a failed write: it is then poisoned until opened anew.

mod change;
mod edit;
mod mirror;
mod open;
mod read;
mod scrub;
mod segment;

pub use crate::store::keytree::change::{Change, Put, Rekeyed};
pub use crate::store::keytree::mirror::{Attached, MirrorPlace, Replicas};
pub use crate::store::keytree::open::Peek;
pub use crate::store::keytree::scrub::Scrubbed;

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::base::secret::Key;
use crate::base::unit::Generation;
use crate::format::node::{Content, NodeError, Row};
use crate::format::slot::Slot;
use crate::store::disk::{Disk, DiskLock};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::keytree::mirror::Mirror;
use crate::store::keytree::segment::Segment;
use crate::store::root::RootStore;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

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

impl KeyTree {
    /// The key under which positions of cells are derived. It stays for the tree's life.
    pub fn directory_key(&self) -> &Key {
        &self.slot.directory_key
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

    /// Bytes of `nodes.seg`.
    pub fn bytes(&self) -> u64 {
        self.segment.bytes()
    }

    /// Bytes of the blobs that count; the rest is history that nobody can read for long.
    pub fn live_bytes(&self) -> u64 {
        self.segment.live_bytes()
    }

    fn root_row(&self) -> Row {
        Row { low: [0; 8], id: self.slot.root, key: self.slot.root_key.clone() }
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

fn broken(path: &Path, error: NodeError) -> Error {
    let verdict = match error {
        NodeError::Malformed(_) => "KEY_NODE_MALFORMED",
        NodeError::Foreign => "KEY_NODE_FOREIGN",
        NodeError::Sealed => "KEY_NODE_UNREADABLE",
    };
    Error::corrupt(path, format!("{verdict}: {error}"))
}
