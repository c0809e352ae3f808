//! When an entry can have been written, as far as anybody outside can say: between the last sight
//! that the log names before it and the first sight that covers it. It never counts a sight that
//! it cannot verify with what the configuration pins.

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::control::{self, Sight};
use crate::format::note;
use crate::format::timestamp;
use crate::format::vkey::Verifier;
use crate::vault::Vault;
use crate::vault::anchor::{Anchors, Kept};
use crate::vault::error::Result;
use crate::vault::witness::Outside;
use crate::vault::witness::round::checkpoint_of;

/// Entries after a seen checkpoint among which the entry that names it is looked for: a minute of
/// the fastest writing there is.
const NAMED_WITHIN: u64 = 16_000_000;
/// Entries read at a time.
const CHUNK: usize = 4096;

/// One bound and what it rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The instant, by the clock of whoever signed.
    pub time: UtcNanos,
    /// How the checkpoint was seen.
    pub sight: Sight,
    /// Size of the checkpoint that was seen.
    pub size: TreeSize,
    /// The entry that names it, for a lower bound.
    pub named: Option<EntryIndex>,
}

/// Both bounds, where there are any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// The entry was written after this.
    pub not_before: Option<Bound>,
    /// The entry existed by this.
    pub not_after: Option<Bound>,
}

impl Vault {
    /// What outsiders' clocks say of an entry's time.
    ///
    /// # Errors
    /// Those of reading.
    pub fn bounds(&self, index: EntryIndex) -> Result<Bounds> {
        Ok(Bounds { not_before: self.not_before(index)?, not_after: self.not_after(index)? })
    }

    fn not_after(&self, index: EntryIndex) -> Result<Option<Bound>> {
        let anchors = &self.inner.anchors;
        let mut best: Option<Bound> = None;
        let mut offer = |bound: Bound| {
            if best.as_ref().is_none_or(|best| bound.time < best.time) {
                best = Some(bound);
            }
        };
        let now = self.witnessing();
        if let (Some(time), true) = (now.time(), now.is_met() && now.size.0 > index.0) {
            offer(Bound { time, sight: Sight::Cosigned, size: now.size, named: None });
        }
        for sight in [Sight::Cosigned, Sight::Timestamp] {
            let covers = |k: &Kept| k.sight == sight && k.size.0 > index.0;
            // The first that verifies is the earliest of its kind: larger sizes were seen later.
            for kept in anchors.kept()?.into_iter().filter(covers) {
                if let Some((_, latest, _)) = anchors.verified(&kept) {
                    offer(Bound { time: latest, sight, size: kept.size, named: None });
                    break;
                }
            }
        }
        Ok(best)
    }

    fn not_before(&self, index: EntryIndex) -> Result<Option<Bound>> {
        let anchors = &self.inner.anchors;
        let before = |k: &Kept| k.size.0 < index.0;
        let mut best: Option<Bound> = None;
        for kept in anchors.kept()?.into_iter().filter(before).rev() {
            let Some((time, _, hash)) = anchors.verified(&kept) else { continue };
            let Some(at) = self.naming(&kept, &hash, index)? else { continue };
            let (sight, size) = (kept.sight, kept.size);
            let bound = Bound { time, sight, size, named: Some(at) };
            if best.as_ref().is_none_or(|best| bound.time > best.time) {
                best = Some(bound);
            }
            // One of each kind of one day is looked at; older ones are earlier.
            if best.as_ref().is_some_and(|best| best.size != size) {
                break;
            }
        }
        Ok(best)
    }

    /// The entry before `index` that names a sight. It follows the checkpoint that was seen by as
    /// many entries as came in while somebody signed.
    fn naming(&self, kept: &Kept, hash: &Hash32, index: EntryIndex) -> Result<Option<EntryIndex>> {
        let end = index.0.min(kept.size.0.saturating_add(NAMED_WITHIN));
        for from in (kept.size.0..end).step_by(CHUNK) {
            let to = end.min(from + CHUNK as u64);
            let mut found = None;
            self.for_each_entry(EntryIndex(from)..EntryIndex(to), &mut |entry, _| {
                let is = entry.head.kind == Kind::Config && names(&entry.head.clear, kept, hash);
                found = found.or(is.then_some(entry.index));
                Ok(())
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Anchors {
    /// Earliest and latest instant that a kept sight stands for, and its hash, if it verifies with
    /// what the configuration pins and is of this log.
    fn verified(&self, kept: &Kept) -> Option<(UtcNanos, UtcNanos, Hash32)> {
        let bytes = self.read(kept).ok()?;
        let checkpoint = self.checkpoint(kept.size).ok()?;
        let hash = sha256(&[&bytes]);
        match kept.sight {
            Sight::Timestamp => {
                let imprint = timestamp::imprint_of(&checkpoint);
                let pinned = &self.outside.pinned;
                let stamp = timestamp::open(&bytes, &imprint, None, pinned).ok()?;
                Some((stamp.not_before(), stamp.not_after(), hash))
            }
            Sight::Cosigned => {
                let stated = checkpoint_of(std::str::from_utf8(&bytes).ok()?)?;
                let time = seen_by(&bytes, &self.outside).filter(|_| stated == checkpoint)?;
                Some((time, time, hash))
            }
        }
    }
}

/// Whether a config entry names a kept sight.
fn names(clear: &[u8], kept: &Kept, hash: &Hash32) -> bool {
    matches!(
        control::decode(clear),
        Ok(control::Config::Anchor { sight, size, hash: of, .. })
            if sight == kept.sight && size == kept.size && of == *hash
    )
}

/// Earliest time at which a configured witness cosigned a note.
pub(crate) fn seen_by(note: &[u8], outside: &Outside) -> Option<UtcNanos> {
    let keys: Vec<Verifier> = outside.witnesses.iter().map(|w| w.key().clone()).collect();
    note::open(note, &keys).ok()?.by.iter().filter_map(|by| by.time).min()
}
