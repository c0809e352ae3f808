//! Range file: every entry of a range or window, with its neighbours. Layout: docs/format.md
//! section 11. Seals of whole epochs it holds can be replayed from it.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::crypto::part::HEIGHT_MAX;
use crate::format::complete::part::{Tree, Watch, read_log};
use crate::format::complete::scope::{Cuts, Scope};
use crate::format::complete::source::Source;
use crate::format::complete::{Fault, Result, SHOWN_MAX, Signed, check_root, tenant};
use crate::format::seal::replay::{Replay, Replayed};
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::format::wire::Write;
use std::collections::BTreeMap;
use std::io::Read;

/// First line.
pub const MAGIC: &[u8; 18] = b"chancery/range/v1\n";

/// What a verified range file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeFound {
    /// What it answers for.
    pub scope: Scope,
    /// The signed log.
    pub signed: Signed,
    /// Entries of the scope by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Log times on both sides of the cuts.
    pub cuts: Cuts,
    /// The replay, if one was asked for.
    pub replayed: Option<Replayed>,
}

impl RangeFound {
    /// Entries of the scope.
    pub fn entries(&self) -> u64 {
        self.scope.end.0.saturating_sub(self.scope.first.0)
    }
}

/// The tree a range file shows a part of.
pub fn tree(size: u64) -> Tree {
    Tree { leaves: size, height_max: HEIGHT_MAX }
}

/// What stands before the part: first line, scope, checkpoint.
pub fn encode_head(scope: &Scope, checkpoint: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    scope.encode(&mut out);
    out.put_lp32(checkpoint.as_bytes());
    out
}

/// Reads and judges a range file. Without trust the checkpoint is taken as it stands.
///
/// # Errors
/// The first thing that fails, in the order of the page.
pub fn verify(
    from: &mut dyn Read,
    trust: Option<&Trust>,
    sample: Option<&Sample>,
) -> Result<RangeFound> {
    let mut source = Source::new(from);
    if source.array::<18>("the first line")? != *MAGIC {
        return Err(Fault::malformed("not a range file of this version"));
    }
    let scope = Scope::read(&mut source)?;
    let note = source.note(false, "the checkpoint")?;
    let signed = Signed::open(&note, trust)?;
    let size = signed.checkpoint.size.0;
    if size == 0 || scope.end.0 > size {
        return Err(Fault::new("PROOF_RANGE", format!("the log has {size} entries")));
    }
    let run = scope.with_neighbours(size);
    if run.end - run.start > SHOWN_MAX {
        return Err(Fault::malformed(format!("over {SHOWN_MAX} entries; ask in pieces")));
    }
    let root = signed.checkpoint.root;
    let replay = sample.map(|sample| Replay::new(sample.of_range(&root, &run)));
    let mut reader = Reader { scope, kinds: BTreeMap::new(), cuts: Cuts::default(), replay };
    let found = read_log(&mut source, tree(size), &[run], tenant(&signed), &mut reader)?;
    source.done()?;
    check_root(&signed, found)?;
    let Reader { kinds, cuts, replay, .. } = reader;
    cuts.check(&scope, size)?;
    let replayed = replay.map(Replay::conclude).transpose()?;
    Ok(RangeFound { scope, signed, kinds, cuts, replayed })
}

struct Reader {
    scope: Scope,
    kinds: BTreeMap<&'static str, u64>,
    cuts: Cuts,
    replay: Option<Replay>,
}

impl Watch for Reader {
    fn entry(&mut self, entry: &Entry, leaf: &Hash32) -> Result<()> {
        self.cuts.meet(&self.scope, entry.index, entry.time_log);
        if self.scope.contains(entry.index) {
            *self.kinds.entry(entry.head.kind.name()).or_default() += 1;
        }
        match &mut self.replay {
            Some(replay) => replay.take(entry, leaf),
            None => Ok(()),
        }
    }
}

/// Log times of the first and last entry of the scope.
pub fn times(found: &RangeFound) -> Option<(UtcNanos, UtcNanos)> {
    let Scope { first: EntryIndex(first), end: EntryIndex(end), .. } = found.scope;
    (first < end).then_some((found.cuts.first?, found.cuts.last?))
}
