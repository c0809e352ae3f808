//! The verbs that change a key tree. They plan and seal in memory, write, and never take a plan for
//! the tree before it is durable; a write that fails poisons the tree.
//!
//! Order of one `rekey`, each step an fsync: commit of blobs, slot of g+1 (the commit point), old
//! slot random, old slot zeros; with a mirror each step on both replicas before the next. Of one
//! `put`: commit of blobs.

use crate::base::id::Hash32;
use crate::base::unit::{Generation, TreeSize};
use crate::base::world::{Entropy, random};
use crate::format::node::{Blob, Content, NodeHead, Row, blob_hash};
use crate::format::slot::Slot;
use crate::store::error::Result;
use crate::store::keytree::edit::{Edit, Plan};
use crate::store::keytree::read::keep;
use crate::store::keytree::{KeyTree, broken};
use crate::store::root::REPLACE_BYTES;
use std::sync::{Arc, PoisonError};
use zeroize::Zeroizing;

/// Below 1 MiB a file is read in no time, however little of it counts.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

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

impl KeyTree {
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
