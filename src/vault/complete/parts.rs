//! The index tables behind an answer: of each sealed epoch the leaves around the asked keys. The
//! rows come from the index, or from the log where the index has none; whatever gave them, they
//! must have the root that the seal states.

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::crypto::lanes::Lanes;
use crate::crypto::part::{PartRoot, fold};
use crate::format::complete::ROWS_MAX;
use crate::format::complete::answer::Question;
use crate::format::complete::part::{Step, layout};
use crate::format::complete::tables::{self, Hit};
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::SealPayload;
use crate::format::seal::row::{INDEX_ROW_BYTES, IndexKey};
use crate::format::seal::table::Table;
use crate::format::wire::{Write as _, len_of};
use crate::vault::Vault;
use crate::vault::complete::too_large;
use crate::vault::error::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::PoisonError;

/// Seals of a log by epoch, with their places.
pub(crate) type Seals = BTreeMap<u64, (EntryIndex, SealPayload)>;

/// Parts already made: a sealed epoch never changes, so planning twice costs once.
#[derive(Default)]
pub(crate) struct Parts {
    keys: Vec<[u8; 16]>,
    made: BTreeMap<u64, (Vec<u8>, Vec<Hit>)>,
}

impl Parts {
    /// The bytes of an epoch's part.
    pub(crate) fn bytes(&self, epoch: u64) -> Result<&[u8]> {
        let part = self.made.get(&epoch).map(|(bytes, _)| bytes.as_slice());
        part.ok_or_else(|| Error::evidence("SEAL_MISSING", format!("epoch {epoch}")))
    }
}

impl Vault {
    /// Seals of these epochs that stand in the log of `size`; of two, the first.
    pub(crate) fn seals_of(&self, epochs: Range<u64>, size: TreeSize) -> Result<Seals> {
        let mut seals = Seals::new();
        if epochs.is_empty() {
            return Ok(seals);
        }
        let after = epochs.start.saturating_add(1).saturating_mul(EPOCH_ENTRIES);
        let mut at = self.find_key(&IndexKey::act(Kind::Seal))?;
        at.retain(|index| after <= index.0 && index.0 < size.0);
        self.for_entries_at(&at, &mut |entry| {
            let seal = SealPayload::decode(&entry.head.clear)?;
            if epochs.contains(&seal.epoch()) {
                seals.entry(seal.epoch()).or_insert((entry.index, seal));
            }
            Ok(())
        })?;
        Ok(seals)
    }

    /// Makes the parts of all epochs of a question that are not made yet; gives the hits of all.
    pub(crate) fn epoch_parts(
        &self,
        question: &Question,
        seals: &Seals,
        parts: &mut Parts,
    ) -> Result<Vec<Hit>> {
        if parts.keys != question.keys {
            *parts = Parts { keys: question.keys.clone(), made: BTreeMap::new() };
        }
        let asked = question.index_keys();
        let mut hits = Vec::new();
        for epoch in question.epochs() {
            let Some((_, seal)) = seals.get(&epoch) else { continue };
            let made = match parts.made.entry(epoch) {
                Entry::Occupied(made) => made.into_mut(),
                Entry::Vacant(place) => place.insert(self.sealed_table(epoch, seal)?.part(&asked)?),
            };
            hits.extend(&made.1);
            if hits.len() > ROWS_MAX {
                return Err(too_large(&format!("{} rows", hits.len())));
            }
        }
        hits.sort_unstable();
        Ok(hits)
    }

    /// The index table that a seal states.
    fn sealed_table(&self, epoch: u64, seal: &SealPayload) -> Result<Sealed> {
        let (waiting, handle) = {
            let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.waiting(epoch), index.writer())
        };
        let stored = match waiting {
            Some(tables) => Some(tables.index_table()),
            None if epoch < handle.epochs() => handle.table(epoch).ok(),
            None => None,
        };
        let fits = |sealed: &Sealed| sealed.root() == Some(seal.index_root);
        if let Some(sealed) = stored.map(Sealed::new).filter(fits) {
            return Ok(sealed);
        }
        // The index has no such epoch, or lies: the entries do not.
        let mut tables = EpochTables::new(epoch);
        self.for_each_entry(seal.first..seal.end, &mut |entry, _| {
            let failed = |_| Error::evidence("MALFORMED", "epoch table");
            tables.observe(&entry).map_err(failed)
        })?;
        let sealed = Sealed::new(tables.index_table());
        if fits(&sealed) {
            return Ok(sealed);
        }
        let detail = format!("the seal of epoch {epoch} says other than its entries do");
        Err(Error::evidence("SEAL_MISMATCH", detail))
    }
}

/// A table with the hashes of its leaves.
struct Sealed {
    table: Table,
    leaves: Vec<Hash32>,
}

impl Sealed {
    fn new(table: Table) -> Self {
        let leaves: Vec<Vec<u8>> = table.leaves().map(|leaf| [&[0], leaf].concat()).collect();
        let messages: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        let mut hashes = vec![Hash32::ZERO; messages.len()];
        Lanes::detect().digest_many(&messages, &mut hashes);
        Sealed { table, leaves: hashes }
    }

    fn root(&self) -> Option<Hash32> {
        let mut root = PartRoot::default();
        self.leaves.iter().for_each(|leaf| root.push(0, *leaf, &mut |_, _| {}));
        root.root()
    }

    /// The part for these keys as it stands in the file, and its hits.
    fn part(&self, asked: &[IndexKey]) -> Result<(Vec<u8>, Vec<Hit>)> {
        let leaves: Vec<&[u8]> = self.table.leaves().collect();
        let tree = tables::tree(self.table.len() as u64);
        let leaf = |at: u64| usize::try_from(at).ok().and_then(|at| leaves.get(at)).copied();
        let key = |row: &[u8; INDEX_ROW_BYTES]| IndexKey::parse_row(row).map(|(key, _)| key);
        let ends = |at: u64| {
            let rows = leaf(at)?.as_chunks::<INDEX_ROW_BYTES>().0;
            Some((key(rows.first()?)?, key(rows.last()?)?))
        };
        let runs = tables::runs_for(tree.leaves, asked, &ends);
        let mut out = Vec::new();
        out.put_u32(len_of(self.table.len()));
        out.put_u16(len_of(runs.len()));
        for run in &runs {
            out.put_u32(len_of(run.start as usize));
            out.put_u32(len_of(run.end as usize));
        }
        let mut hits = Vec::new();
        layout::<Error>(tree, &runs, &mut |step| {
            match step {
                Step::Node(place) => {
                    let first = (place.index << place.height) as usize;
                    let under = self.leaves.get(first..first + (1 << place.height));
                    let lost = || Error::evidence("TILE_MISSING", "a leaf of an index table");
                    out.raw(&under.and_then(fold).ok_or_else(lost)?.0);
                }
                Step::Run(run) => {
                    for leaf in run.filter_map(leaf) {
                        out.raw(leaf);
                        find_hits(leaf, asked, &mut hits);
                    }
                }
            }
            Ok(())
        })?;
        Ok((out, hits))
    }
}

fn find_hits(leaf: &[u8], asked: &[IndexKey], hits: &mut Vec<Hit>) {
    for row in leaf.as_chunks::<INDEX_ROW_BYTES>().0 {
        let Some((key, index)) = IndexKey::parse_row(row) else { continue };
        if let Ok(at) = asked.binary_search(&key) {
            hits.push(Hit { index: index.0, key: at as u16 });
        }
    }
}
