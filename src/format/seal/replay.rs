//! Replaying seals from entries as they stream by: the tables of chosen whole epochs, computed
//! anew and held against every member of their seals. It needs no key, and memory for one epoch.

use crate::base::entry::{Entry, Kind};
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::EntryIndex;
use crate::crypto::merkle::Compact;
use crate::format::complete::{Fault, Result};
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::SealPayload;
use std::collections::{BTreeMap, BTreeSet};

/// What was replayed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Epochs whose seal says what their entries say, with its place.
    pub agree: Vec<(u64, EntryIndex)>,
    /// Epochs computed, of which no seal is at hand.
    pub unsealed: Vec<u64>,
}

/// A replay under way.
pub struct Replay {
    wanted: BTreeSet<u64>,
    growing: Option<(EpochTables, Compact)>,
    computed: BTreeMap<u64, SealPayload>,
    seals: BTreeMap<u64, Vec<(EntryIndex, SealPayload)>>,
    /// A seal whose payload is none.
    unreadable: Option<EntryIndex>,
}

impl Replay {
    /// A replay of these epochs. All their entries must come, in order.
    pub fn new(wanted: BTreeSet<u64>) -> Self {
        let (computed, seals) = (BTreeMap::new(), BTreeMap::new());
        Replay { wanted, growing: None, computed, seals, unreadable: None }
    }

    /// Takes the next entry in.
    ///
    /// # Errors
    /// `MALFORMED` when an entry is not the next of an epoch that began.
    pub fn take(&mut self, entry: &Entry, leaf: &Hash32) -> Result<()> {
        if entry.head.kind == Kind::Seal {
            match SealPayload::decode(&entry.head.clear) {
                Ok(seal) if self.wanted.contains(&seal.epoch()) => {
                    self.seals.entry(seal.epoch()).or_default().push((entry.index, seal));
                }
                Ok(_) => {}
                Err(_) => self.unreadable = self.unreadable.or(Some(entry.index)),
            }
        }
        let epoch = entry.index.0 / EPOCH_ENTRIES;
        if entry.index.0.is_multiple_of(EPOCH_ENTRIES) && self.wanted.contains(&epoch) {
            self.growing = Some((EpochTables::new(epoch), Compact::new()));
        }
        let Some((tables, tree)) = &mut self.growing else { return Ok(()) };
        tables.observe(entry).map_err(|e| Fault::malformed(e.to_string()))?;
        tree.push(*leaf);
        if tables.is_whole() {
            let payload = tables.payload(&tables.tables(), tree.root());
            self.computed.extend(payload.map(|payload| (epoch, payload)));
            self.growing = None;
        }
        Ok(())
    }

    /// Holds what was computed against the seals that came by.
    ///
    /// # Errors
    /// `MALFORMED` for a seal whose payload is none; then `SEAL_DUPLICATE` or `SEAL_MISMATCH` of
    /// the first epoch that fails.
    pub fn conclude(self) -> Result<Replayed> {
        if let Some(index) = self.unreadable {
            return Err(Fault::malformed(format!("the payload of the seal {index} is none")));
        }
        let mut found = Replayed::default();
        for (epoch, computed) in &self.computed {
            match self.seals.get(epoch).map_or(&[][..], Vec::as_slice) {
                [] => found.unsealed.push(*epoch),
                [(index, seal)] => {
                    let fail = |why: String| {
                        let detail = format!("epoch {epoch}, sealed by entry {index}: {why}");
                        Fault::new("SEAL_MISMATCH", detail)
                    };
                    seal.check(computed).map_err(|e| fail(e.to_string()))?;
                    if *index < seal.end {
                        return Err(fail("the seal stands before the epoch's end".to_owned()));
                    }
                    found.agree.push((*epoch, *index));
                }
                [(first, _), (second, _), ..] => {
                    let detail = format!("epoch {epoch} is sealed by entries {first} and {second}");
                    return Err(Fault::new("SEAL_DUPLICATE", detail));
                }
            }
        }
        Ok(found)
    }
}
