//! What an attacker reads out of key directories: he holds every copy ever made of them, the
//! key-encryption key and the current root, and tries every key he finds on every node it names.

use crate::base::event::Identifier;
use crate::base::id::{NodeId, TenantId};
use crate::base::secret::Key;
use crate::cli::bench::attacks::ground::Ground;
use crate::cli::world::OsEntropy;
use crate::crypto::kdf::{HmacKey, expand, label};
use crate::format::cell::{self, Cell};
use crate::format::node::{BLOB_BYTES, Content, HEAD_BYTES, NodeHead};
use crate::format::slot::Slot;
use crate::store::disk::OsDisk;
use crate::store::kek::Kek;
use crate::store::keytree::KeyTree;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

/// A key.
pub(crate) type Bytes = [u8; 32];

fn tenant_of(ground: &Ground) -> Result<TenantId> {
    Ok(crate::vault::config::VaultFile::read(&OsDisk, &ground.dir.join("data"))?.tenant)
}

/// The current root slot.
pub(crate) fn slot(ground: &Ground) -> Result<Slot> {
    let (places, tenant) = (ground.places()?, tenant_of(ground)?);
    let kek = Kek::open(&OsDisk, &ground.dir.join("keys"), None)?;
    let slots = ["root.0", "root.1"].into_iter().filter_map(|name| {
        Slot::open(&fs::read(places.tree.join(name)).ok()?, tenant, kek.key()).ok()
    });
    slots.max_by_key(|slot| slot.generation).context("a root slot")
}

/// Every secret a person's data hangs on, while there is one.
pub(crate) fn secrets(ground: &Ground, identifier: &Identifier) -> Result<Vec<Bytes>> {
    let kek = Kek::open(&OsDisk, &ground.dir.join("keys"), None)?;
    let (entropy, dir) = (OsEntropy::new(), ground.places()?.tree);
    let tree = KeyTree::open(Arc::new(OsDisk), &dir, tenant_of(ground)?, kek.key(), &entropy)?;
    let directory = HmacKey::new(tree.directory_key());
    let found = tree.get(&cell::identifier_key(&directory, identifier))?;
    let Some(Cell::Identifier(named)) = found.as_deref().map(|b| Cell::decode(b)).transpose()?
    else {
        return Ok(Vec::new());
    };
    let mut secrets = Vec::new();
    for person in named.persons {
        let found = tree.get(&cell::person_key(&directory, &person))?;
        let Some(Cell::Person(cell)) = found.as_deref().map(|b| Cell::decode(b)).transpose()?
        else {
            continue;
        };
        secrets.push(*cell.token.expose());
        for key in cell.keys {
            secrets.push(*key.key.expose());
            secrets.push(*expand(&key.key, label::SEAL).expose());
        }
    }
    Ok(secrets)
}

/// Everything that can be opened from the current root on, in this key directory and in copies.
pub(crate) fn reachable(ground: &Ground, copies: &[&Ground]) -> Result<BTreeSet<Bytes>> {
    let mut blobs: BTreeMap<[u8; HEAD_BYTES], BTreeSet<Vec<u8>>> = BTreeMap::new();
    for one in copies.iter().chain([&ground]) {
        let bytes = fs::read(one.places()?.tree.join("nodes.seg"))?;
        let starts = bytes.windows(4).enumerate().filter(|(_, w)| *w == b"CHN1");
        for (at, _) in starts {
            let Some(blob) = bytes.get(at..at + BLOB_BYTES) else { continue };
            let Some(head) = blob.first_chunk::<HEAD_BYTES>() else { continue };
            blobs.entry(*head).or_default().insert(blob.to_vec());
        }
    }
    let (slot, tenant) = (slot(ground)?, tenant_of(ground)?);
    let mut known = BTreeSet::from([*slot.root_key.expose(), *slot.directory_key.expose()]);
    let mut fresh = vec![(slot.root, *slot.root_key.expose())];
    while let Some((node, key)) = fresh.pop() {
        let key = Key::new(key);
        for (head, versions) in &blobs {
            let id = head.get(20..36).and_then(|id| id.try_into().ok()).map(NodeId);
            let level = head.last().copied().unwrap_or_default();
            let Some(id) = id.filter(|id| *id == node) else { continue };
            for blob in versions {
                let Some(blob) = blob.first_chunk::<BLOB_BYTES>() else { continue };
                let head = NodeHead { tenant, id, level };
                let Ok(content) = Content::open(blob, &head, &key) else { continue };
                take(&content, &mut known, &mut fresh);
            }
        }
    }
    Ok(known)
}

fn take(content: &Content, known: &mut BTreeSet<Bytes>, fresh: &mut Vec<(NodeId, Bytes)>) {
    match content {
        Content::Internal(rows) => {
            for row in rows {
                if known.insert(*row.key.expose()) {
                    fresh.push((row.id, *row.key.expose()));
                }
            }
        }
        Content::Leaf(cells) => {
            for cell in cells.iter().filter_map(|cell| Cell::decode(&cell.value).ok()) {
                match cell {
                    Cell::Person(cell) => {
                        known.insert(*cell.token.expose());
                        known.extend(cell.keys.iter().map(|key| *key.key.expose()));
                    }
                    Cell::ClassDay(_, key) => drop(known.insert(*key.expose())),
                    Cell::Tenant(_) | Cell::Identifier(_) => {}
                }
            }
        }
    }
}
