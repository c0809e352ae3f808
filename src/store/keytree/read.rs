//! Reading a key tree: from the root down, each node opened with the key its parent holds. It
//! never writes; a walk over every cell leaves the cache as it was.

use crate::base::id::NodeId;
use crate::format::node::{Cell, Content, NodeHead, Row, prefix};
use crate::store::error::Result;
use crate::store::keytree::{KeyTree, broken};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use zeroize::Zeroizing;

/// Decrypted nodes kept: 16,384 x about 4 KiB = 64 MiB. Beyond it the leaves are dropped.
const CACHED_NODES_MAX: usize = 16_384;

impl KeyTree {
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

    /// Proves the whole of `nodes.seg` by its hashes and opens every node. Reads the whole file.
    pub fn check(&self) -> Result<()> {
        self.segment.check()?;
        self.cells().map(|_| ())
    }

    pub(in crate::store::keytree) fn load(&self, row: &Row, level: u8) -> Result<Arc<Content>> {
        if let Some(node) = self.cached(row.id) {
            return Ok(node);
        }
        let node = Arc::new(self.fetch(row, level)?);
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        keep(&mut cache, row.id, node.clone());
        Ok(node)
    }

    fn cached(&self, id: NodeId) -> Option<Arc<Content>> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn fetch(&self, row: &Row, level: u8) -> Result<Content> {
        let head = NodeHead { tenant: self.tenant, id: row.id, level };
        let blob = self.segment.read(row.id)?;
        Content::open(&blob, &head, &row.key).map_err(|error| broken(self.segment.path(), error))
    }

    fn walk(&self, row: &Row, level: u8, each: &mut dyn FnMut(&[u8; 32], &[u8])) -> Result<()> {
        let node = match self.cached(row.id) {
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
}

/// Puts a node into the cache; a full cache loses its leaves (which wipes them), not its branches.
pub(in crate::store::keytree) fn keep(
    cache: &mut HashMap<NodeId, Arc<Content>>,
    id: NodeId,
    node: Arc<Content>,
) {
    if cache.len() >= CACHED_NODES_MAX {
        cache.retain(|_, node| matches!(node.as_ref(), Content::Internal(_)));
    }
    cache.insert(id, node);
}
