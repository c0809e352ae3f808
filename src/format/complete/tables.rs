//! The part of one epoch's index table that an answer shows: leaves that hold every row of the
//! asked keys, with a row before and after each, or the table's ends. Absence is two rows that
//! stand side by side with nothing between.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::crypto::hash::leaf_hash;
use crate::crypto::part::{HEIGHT_MAX, PartRoot};
use crate::format::complete::part::{Step, Tree, check_runs, layout, runs_of};
use crate::format::complete::source::Source;
use crate::format::complete::{Fault, ROWS_MAX, Result};
use crate::format::seal::row::{INDEX_ROW_BYTES, IndexKey};
use crate::format::seal::table::INDEX_LEAF_ROWS;
use std::ops::Range;

/// Bytes of a full leaf.
pub const LEAF_BYTES: usize = INDEX_LEAF_ROWS * INDEX_ROW_BYTES;

/// A row of an asked key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hit {
    /// The entry it names.
    pub index: u64,
    /// Position of its key among the asked ones.
    pub key: u16,
}

/// What an epoch's table part leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFound {
    /// Rows the table is said to have.
    pub rows: u64,
    /// Root its leaves lead to.
    pub root: Hash32,
}

/// The tree over the leaves of a table of `rows` rows.
pub fn tree(rows: u64) -> Tree {
    Tree { leaves: rows.div_ceil(INDEX_LEAF_ROWS as u64), height_max: HEIGHT_MAX }
}

/// What one run shows at its ends.
struct Ends {
    run: Range<u64>,
    first: IndexKey,
    last: IndexKey,
}

/// Reads the part of epoch `epoch`; rows of the asked keys go to `hits`.
pub(crate) fn read(
    source: &mut Source<'_>,
    epoch: u64,
    asked: &[IndexKey],
    hits: &mut Vec<Hit>,
) -> Result<TableFound> {
    let rows = u64::from(source.u32("a table")?);
    let count = source.u16("a table")?;
    if rows == 0 || count == 0 {
        return Err(Fault::malformed(format!("epoch {epoch}: a table without rows or runs")));
    }
    let mut runs = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        runs.push(u64::from(source.u32("a run")?)..u64::from(source.u32("a run")?));
    }
    let tree = tree(rows);
    check_runs(&runs, tree.leaves)?;
    let mut reader = RowReader { epoch, asked, hits, last: None, ends: Vec::new() };
    let mut root = PartRoot::default();
    let mut leaf = Vec::new();
    layout::<Fault>(tree, &runs, &mut |step| match step {
        Step::Node(place) => {
            let hash = Hash32(source.array("a node")?);
            root.push(place.height, hash, &mut |_, _| {});
            Ok(())
        }
        Step::Run(run) => {
            for at in run.clone() {
                let here = (rows - at * INDEX_LEAF_ROWS as u64).min(INDEX_LEAF_ROWS as u64);
                source.bytes(&mut leaf, here as usize * INDEX_ROW_BYTES, "a leaf of a table")?;
                reader.leaf(&leaf, &run, at)?;
                root.push(0, leaf_hash(&leaf), &mut |_, _| {});
            }
            Ok(())
        }
    })?;
    let ends = reader.ends;
    for key in asked {
        if !is_bracketed(&ends, key, tree.leaves) {
            let detail = format!("epoch {epoch}: the rows around a key are not all shown");
            return Err(Fault::new("QUERY_NEIGHBOUR", detail));
        }
    }
    let root = root.root().ok_or_else(|| Fault::malformed("a table without leaves"))?;
    Ok(TableFound { rows, root })
}

/// Whether one run shows everything between a row before `key` and a row after it. Rows ascend
/// across runs, so only the last run that begins before the key can.
fn is_bracketed(ends: &[Ends], key: &IndexKey, leaves: u64) -> bool {
    let begins = ends.partition_point(|e| e.run.start == 0 || e.first < *key);
    let candidate = begins.checked_sub(1).and_then(|at| ends.get(at));
    candidate.is_some_and(|e| e.run.end == leaves || e.last > *key)
}

struct RowReader<'a> {
    epoch: u64,
    asked: &'a [IndexKey],
    hits: &'a mut Vec<Hit>,
    last: Option<[u8; INDEX_ROW_BYTES]>,
    ends: Vec<Ends>,
}

impl RowReader<'_> {
    fn leaf(&mut self, leaf: &[u8], run: &Range<u64>, at: u64) -> Result<()> {
        let epoch = self.epoch;
        let bad = |what: &str| Fault::malformed(format!("epoch {epoch}, leaf {at}: {what}"));
        for (place, row) in leaf.as_chunks::<INDEX_ROW_BYTES>().0.iter().enumerate() {
            if self.last.is_some_and(|last| last >= *row) {
                return Err(bad("rows do not ascend"));
            }
            let (key, index) = IndexKey::parse_row(row).ok_or_else(|| bad("an unknown row"))?;
            if index.0 / EPOCH_ENTRIES != epoch {
                return Err(bad("a row of another epoch"));
            }
            if at == run.start && place == 0 {
                self.ends.push(Ends { run: run.clone(), first: key, last: key });
            }
            if let Some(ends) = self.ends.last_mut() {
                ends.last = key;
            }
            if let Ok(asked) = self.asked.binary_search(&key) {
                if self.hits.len() >= ROWS_MAX {
                    return Err(bad("too many rows of the asked keys; ask for less"));
                }
                self.hits.push(Hit { index: index.0, key: asked as u16 });
            }
            self.last = Some(*row);
        }
        Ok(())
    }
}

/// The leaves an answer must show of a table for these keys, which ascend, as runs. `ends` gives
/// the keys of the first and last row of a leaf.
pub fn runs_for(
    leaves: u64,
    keys: &[IndexKey],
    ends: &dyn Fn(u64) -> Option<(IndexKey, IndexKey)>,
) -> Vec<Range<u64>> {
    let mut places: Vec<u64> = Vec::new();
    for key in keys {
        let before = partition(leaves, &|at| ends(at).is_some_and(|(first, _)| first < *key));
        let through = partition(leaves, &|at| ends(at).is_some_and(|(_, last)| last <= *key));
        places.extend(before.saturating_sub(1)..(through + 1).min(leaves));
    }
    places.sort_unstable();
    places.dedup();
    runs_of(&places)
}

/// Number of leading leaves for which `holds`, by halving.
fn partition(leaves: u64, holds: &dyn Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, leaves);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
