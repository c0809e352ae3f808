//! What an attacker reads out of a key directory: he holds every byte ever written to it, deleted
//! and overwritten ones too, the key-encryption key and the current root. Never used by the vault.

use crate::support::sim::SimDisk;
use crate::support::world::SeedEntropy;
use chancery::base::event::Identifier;
use chancery::base::id::{NodeId, TenantId};
use chancery::base::secret::Key;
use chancery::crypto::kdf::{HmacKey, expand, label};
use chancery::format::cell::{self, Cell};
use chancery::format::node::{BLOB_BYTES, Content, HEAD_BYTES, NodeHead};
use chancery::format::slot::Slot;
use chancery::store::disk::Disk;
use chancery::store::kek::Kek;
use chancery::store::keytree::KeyTree;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A key directory and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Keyhole {
    pub(crate) keys: PathBuf,
    pub(crate) tenant: TenantId,
}

/// Node blobs by their head.
type Blobs = BTreeMap<[u8; HEAD_BYTES], BTreeSet<Vec<u8>>>;

impl Keyhole {
    pub(crate) fn new(keys: &Path, tenant: TenantId) -> Self {
        Keyhole { keys: keys.to_owned(), tenant }
    }

    fn dir(&self) -> PathBuf {
        self.keys.join(self.tenant.to_string())
    }

    pub(crate) fn root(&self, slot: usize) -> PathBuf {
        self.dir().join(format!("root.{slot}"))
    }

    pub(crate) fn kek(&self, disk: &SimDisk) -> Key {
        Kek::open(disk, &self.keys, None).unwrap().key().clone()
    }

    /// The current root slot of a disk.
    pub(crate) fn slot(&self, disk: &SimDisk) -> Slot {
        let kek = self.kek(disk);
        let slots = [0, 1]
            .into_iter()
            .filter_map(|at| Slot::open(&disk.bytes(&self.root(at))?, self.tenant, &kek).ok());
        slots.max_by_key(|slot| slot.generation).unwrap()
    }

    /// Every secret a person's data hangs on, as the vault on this disk knows it.
    pub(crate) fn secrets(&self, disk: &SimDisk, identifier: &Identifier) -> Vec<[u8; 32]> {
        let disk = disk.fork();
        disk.heal();
        let kek = self.kek(&disk);
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let entropy = SeedEntropy::new(5);
        let tree = KeyTree::open(disk, &self.dir(), self.tenant, &kek, &*entropy).unwrap();
        let directory = HmacKey::new(tree.directory_key());
        let get = |key| tree.get(&key).unwrap().map(|bytes| Cell::decode(&bytes).unwrap());
        let found = get(cell::identifier_key(&directory, identifier));
        let Some(Cell::Identifier(found)) = found else { return Vec::new() };
        let mut secrets = Vec::new();
        for person in found.persons {
            let Some(Cell::Person(cell)) = get(cell::person_key(&directory, &person)) else {
                continue;
            };
            secrets.push(*cell.token.expose());
            for key in cell.keys {
                secrets.push(*key.key.expose());
                secrets.push(*expand(&key.key, label::SEAL).expose());
                secrets.push(*expand(&key.key, label::TAG).expose());
            }
        }
        secrets
    }

    /// All node blobs ever written.
    fn blobs(&self, disk: &SimDisk) -> Blobs {
        let mut blobs = Blobs::new();
        for written in disk.all_bytes_ever(&self.keys) {
            let starts = written.windows(4).enumerate().filter(|(_, w)| *w == b"CHN1");
            for (at, _) in starts {
                let Some(blob) = written.get(at..at + BLOB_BYTES) else { continue };
                let head: [u8; HEAD_BYTES] = blob[..HEAD_BYTES].try_into().unwrap();
                blobs.entry(head).or_default().insert(blob.to_vec());
            }
        }
        blobs
    }

    /// Nodes the tree ever had.
    pub(crate) fn nodes(&self, disk: &SimDisk) -> usize {
        self.blobs(disk).len()
    }

    /// Whatever can be opened of all node blobs ever written, from the current root on: every key
    /// found in one is tried on every blob again.
    pub(crate) fn reachable(&self, disk: &SimDisk) -> BTreeSet<[u8; 32]> {
        let (slot, blobs) = (self.slot(disk), self.blobs(disk));
        assert!(blobs.values().map(BTreeSet::len).sum::<usize>() > 10, "blobs were found");
        let kek = *self.kek(disk).expose();
        let mut known =
            BTreeSet::from([*slot.root_key.expose(), *slot.directory_key.expose(), kek]);
        let mut fresh: Vec<[u8; 32]> = known.iter().copied().collect();
        while let Some(key) = fresh.pop() {
            for (head, versions) in &blobs {
                for content in opened(head, versions, &Key::new(key)) {
                    fresh.extend(keys_in(&content).into_iter().filter(|k| known.insert(*k)));
                }
            }
        }
        known
    }

    /// As `reachable`, but a key is tried only on blobs of the node its row names: as good, since
    /// a blob is sealed under its node's key alone, and linear in the blobs.
    pub(crate) fn reachable_by_name(&self, disk: &SimDisk) -> BTreeSet<[u8; 32]> {
        let (slot, blobs) = (self.slot(disk), self.blobs(disk));
        let mut known = BTreeSet::from([*slot.root_key.expose(), *slot.directory_key.expose()]);
        let mut fresh = vec![(slot.root, *slot.root_key.expose())];
        while let Some((node, key)) = fresh.pop() {
            let named = blobs.iter().filter(|(head, _)| head[20..36] == node.0);
            for content in named.flat_map(|(head, all)| opened(head, all, &Key::new(key))) {
                if let Content::Internal(rows) = &content {
                    let rows = rows.iter().map(|row| (row.id, *row.key.expose()));
                    fresh.extend(rows.filter(|(_, key)| !known.contains(key)));
                }
                known.extend(keys_in(&content));
            }
        }
        known
    }
}

/// The versions of a node that open under a key.
fn opened<'a>(
    head: &'a [u8; HEAD_BYTES],
    versions: &'a BTreeSet<Vec<u8>>,
    key: &'a Key,
) -> Vec<Content> {
    let head = NodeHead {
        tenant: TenantId(head[4..20].try_into().unwrap()),
        id: NodeId(head[20..36].try_into().unwrap()),
        level: head[36],
    };
    let open = |blob: &Vec<u8>| {
        let blob: &[u8; BLOB_BYTES] = blob.as_slice().try_into().unwrap();
        Content::open(blob, &head, key).ok()
    };
    versions.iter().filter_map(open).collect()
}

fn keys_in(content: &Content) -> Vec<[u8; 32]> {
    match content {
        Content::Internal(rows) => rows.iter().map(|row| *row.key.expose()).collect(),
        Content::Leaf(cells) => {
            let decoded = cells.iter().filter_map(|cell| Cell::decode(&cell.value).ok());
            decoded
                .flat_map(|cell| match cell {
                    Cell::Person(cell) => {
                        let keys = cell.keys.iter().map(|k| *k.key.expose());
                        keys.chain([*cell.token.expose()]).collect()
                    }
                    Cell::ClassDay(_, key) => vec![*key.expose()],
                    Cell::Tenant(own) => vec![*own.dedupe.expose(), *own.source.expose()],
                    Cell::Identifier(_) => Vec::new(),
                })
                .collect()
        }
    }
}
