//! One change of the tree, planned in memory: which nodes are written, under which keys. Nothing
//! is written here, so a plan can be dropped at any point and nothing has happened.
//!
//! Rules R1-R4 of `docs/decisions/0004-shred-tree.md`, all decided in `Edit::place`:
//! - R1 `rekey`: every node on a touched path gets a fresh name and key.
//! - R2 split: **every** resulting node gets a fresh name and key, the left one too.
//! - R3 a new root is always fresh, and only `rekey` may make one.
//! - R4 otherwise a node keeps name and key and is written again under a fresh nonce.
//!
//! There are no merges. An emptied leaf stays, under a fresh key: cells are placed by keyed
//! hashes, so its range fills again.

use crate::base::id::NodeId;
use crate::base::secret::Key;
use crate::base::world::{Entropy, random};
use crate::format::node::{
    CELL_BYTES_MAX, Cell, Content, LEAF_BYTES_MAX, LEVEL_MAX, ROWS_MAX, Row, prefix,
};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::keytree::Change;
use std::path::Path;

/// A node to be written.
pub(crate) struct Staged {
    pub(crate) row: Row,
    pub(crate) level: u8,
    pub(crate) content: Content,
}

/// What a change comes to. Children stand before their parents.
pub(crate) struct Plan {
    pub(crate) staged: Vec<Staged>,
    pub(crate) dead: Vec<NodeId>,
    pub(crate) root: Row,
    pub(crate) level: u8,
}

/// Reads a node for an edit.
pub(crate) type Load<'a> = &'a dyn Fn(&Row, u8) -> Result<Content>;

/// An edit under way.
pub(crate) struct Edit<'a> {
    path: &'a Path,
    load: Load<'a>,
    entropy: &'a dyn Entropy,
    rekey: bool,
    staged: Vec<Staged>,
    dead: Vec<NodeId>,
}

impl<'a> Edit<'a> {
    /// An edit that keeps names and keys where R4 allows it, or re-keys every path it touches.
    pub(crate) fn new(
        path: &'a Path,
        load: Load<'a>,
        entropy: &'a dyn Entropy,
        rekey: bool,
    ) -> Self {
        Edit { path, load, entropy, rekey, staged: Vec::new(), dead: Vec::new() }
    }

    /// Plans the changes (sorted by key, unique). `None`: the root would split, and this is not
    /// a `rekey`.
    pub(crate) fn plan(
        mut self,
        root: &Row,
        level: u8,
        changes: &[Change],
    ) -> Result<Option<Plan>> {
        for (_, value) in changes {
            if value.as_ref().is_some_and(|value| value.len() > CELL_BYTES_MAX) {
                return Err(Error::new(ErrorKind::Full, self.path, "KEY_CELL_TOO_LARGE"));
            }
        }
        let mut level = level;
        let mut rows = self.edit(root, level, changes)?;
        while rows.len() > 1 {
            if !self.rekey {
                return Ok(None);
            }
            level += 1;
            if level > LEVEL_MAX {
                return Err(Error::new(ErrorKind::Full, self.path, "KEY_TREE_TOO_HIGH"));
            }
            rows = self.place(None, level, split_rows(rows));
        }
        let root = rows.pop().ok_or_else(|| Error::corrupt(self.path, "no root"))?;
        Ok(Some(Plan { staged: self.staged, dead: self.dead, root, level }))
    }

    /// Applies the changes below one node; returns what its parent must say instead of `row`.
    fn edit(&mut self, row: &Row, level: u8, changes: &[Change]) -> Result<Vec<Row>> {
        match (self.load)(row, level)? {
            Content::Leaf(cells) => {
                let parts = split_cells(merged(cells, changes));
                let parts = parts
                    .ok_or_else(|| Error::new(ErrorKind::Full, self.path, "KEY_PREFIX_FULL"))?;
                Ok(self.place(Some(row), level, parts))
            }
            Content::Internal(rows) => {
                let (rows, changed) = self.descend(rows, level, changes)?;
                if !changed && !self.rekey {
                    return Ok(vec![row.clone()]);
                }
                Ok(self.place(Some(row), level, split_rows(rows)))
            }
        }
    }

    /// Edits the children the changes fall into; the rows afterwards, and whether any differs.
    fn descend(
        &mut self,
        rows: Vec<Row>,
        level: u8,
        changes: &[Change],
    ) -> Result<(Vec<Row>, bool)> {
        let below = level
            .checked_sub(1)
            .ok_or_else(|| Error::corrupt(self.path, "KEY_NODE_MALFORMED: level"))?;
        let (mut after, mut changed, mut rest) = (Vec::with_capacity(rows.len()), false, changes);
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let count = match rows.peek() {
                Some(next) => rest.partition_point(|(key, _)| prefix(key) < next.low),
                None => rest.len(),
            };
            let (mine, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            if mine.is_empty() {
                after.push(row);
                continue;
            }
            let replaced = self.edit(&row, below, mine)?;
            changed |= replaced.as_slice() != [row];
            after.extend(replaced);
        }
        Ok((after, changed))
    }

    /// Gives each part a node. `from` is the node they come from, or none for a new level.
    fn place(&mut self, from: Option<&Row>, level: u8, parts: Vec<([u8; 8], Content)>) -> Vec<Row> {
        let kept = from.filter(|_| !self.rekey && parts.len() == 1);
        if let Some(row) = from.filter(|_| kept.is_none()) {
            self.dead.push(row.id);
        }
        let mut low = from.map_or([0; 8], |row| row.low);
        let mut rows = Vec::with_capacity(parts.len());
        for (index, (first, content)) in parts.into_iter().enumerate() {
            low = if index == 0 { low } else { first };
            let row = match kept {
                Some(row) => row.clone(),
                None => Row {
                    low,
                    id: NodeId(random(self.entropy)),
                    key: Key::new(random(self.entropy)),
                },
            };
            rows.push(row.clone());
            self.staged.push(Staged { row, level, content });
        }
        rows
    }
}

/// The cells after the changes; both are sorted and unique.
fn merged(cells: Vec<Cell>, changes: &[Change]) -> Vec<Cell> {
    let mut after = Vec::with_capacity(cells.len() + changes.len());
    let mut cells = cells.into_iter().peekable();
    for (key, value) in changes {
        while let Some(cell) = cells.next_if(|cell| cell.key < *key) {
            after.push(cell);
        }
        drop(cells.next_if(|cell| cell.key == *key));
        if let Some(value) = value {
            after.push(Cell { key: *key, value: value.clone() });
        }
    }
    after.extend(cells);
    after
}

/// Leaves for the cells, each with the least prefix it must cover. Cells with one prefix stay
/// together; `None` if those alone do not fit a leaf.
fn split_cells(cells: Vec<Cell>) -> Option<Vec<([u8; 8], Content)>> {
    let mut runs: Vec<([u8; 8], Vec<Cell>)> = Vec::new();
    for cell in cells {
        let low = prefix(&cell.key);
        match runs.last_mut() {
            Some((last, run)) if *last == low => run.push(cell),
            _ => runs.push((low, vec![cell])),
        }
    }
    let sizes: Vec<usize> = runs.iter().map(|(_, run)| run.iter().map(Cell::bytes).sum()).collect();
    let counts = partition(&sizes, LEAF_BYTES_MAX)?;
    let mut runs = runs.into_iter();
    let mut parts = Vec::with_capacity(counts.len());
    for count in counts {
        let part: Vec<_> = runs.by_ref().take(count).collect();
        let low = part.first().map_or([0; 8], |(low, _)| *low);
        parts.push((low, Content::Leaf(part.into_iter().flat_map(|(_, run)| run).collect())));
    }
    Some(parts)
}

/// Internal nodes for the rows.
fn split_rows(rows: Vec<Row>) -> Vec<([u8; 8], Content)> {
    let counts = partition(&vec![1; rows.len()], ROWS_MAX).unwrap_or_default();
    let mut rows = rows.into_iter();
    let mut parts = Vec::with_capacity(counts.len());
    for count in counts {
        let part: Vec<Row> = rows.by_ref().take(count).collect();
        let low = part.first().map_or([0; 8], |row| row.low);
        parts.push((low, Content::Internal(part)));
    }
    parts
}

/// How many units go into each part so that no part is larger than `room`. One part if all fit;
/// else parts of about equal size, three quarters full, so that the next inserts do not split
/// them again. `None` if one unit alone is too large.
fn partition(sizes: &[usize], room: usize) -> Option<Vec<usize>> {
    let total: usize = sizes.iter().sum();
    if sizes.iter().any(|size| *size > room) {
        return None;
    }
    if total <= room {
        return Some(vec![sizes.len()]);
    }
    let parts = total.div_ceil(room - room / 4).max(2);
    let goal = total.div_ceil(parts);
    let (mut counts, mut count, mut filled, mut before) = (Vec::new(), 0, 0, 0);
    for size in sizes {
        // Measured against all that came before, so that rounding does not add up.
        let due = before + size.div_ceil(2) > goal * (counts.len() + 1);
        if count > 0 && (filled + size > room || due) {
            counts.push(count);
            (count, filled) = (0, 0);
        }
        (count, filled, before) = (count + 1, filled + size, before + size);
    }
    counts.push(count);
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[usize], room: usize, expect: Option<&[usize]>) {
        assert_eq!(partition(sizes, room).as_deref(), expect);
    }

    #[test]
    fn parts_fit_and_are_about_equal() {
        check(&[], 10, Some(&[0]));
        check(&[11], 10, None);
        check(&[5, 5], 10, Some(&[2]));
        check(&[5, 5, 1], 10, Some(&[1, 2]));
        check(&[1; 65], 64, Some(&[33, 32]));
        check(&[9, 9, 9], 10, Some(&[1, 1, 1]));
        let many = partition(&[1; 1000], 64).unwrap_or_default();
        assert_eq!(many.iter().sum::<usize>(), 1000);
        assert!(many.iter().all(|n| (40..=50).contains(n)), "{many:?}");
    }
}
