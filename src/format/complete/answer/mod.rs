//! Answer file: every entry that has one of the asked keys. Layout and order of checks:
//! docs/format.md section 11. Whole sealed epochs are answered from their index tables, what lies
//! behind them by showing every entry.
//!
//! It says no more than the seals do: a seal is the vault's claim until somebody replays it.

mod check;

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::EntryIndex;
use crate::format::complete::answer::check::Reader;
use crate::format::complete::claim::Claim;
use crate::format::complete::part;
use crate::format::complete::part::{Tree, check_runs, read_log};
use crate::format::complete::scope::{Cuts, Scope};
use crate::format::complete::source::Source;
use crate::format::complete::tables::{self, Hit, TableFound};
use crate::format::complete::{Fault, KEYS_MAX, Result, SHOWN_MAX, Signed, check_root, tenant};
use crate::format::note::Note;
use crate::format::seal::epoch::keys_of;
use crate::format::seal::row::{IndexKey, RowKind};
use crate::format::trust::Trust;
use crate::format::wire::Write;
use std::io::Read;
use std::ops::Range;

/// First line.
pub const MAGIC: &[u8; 19] = b"chancery/answer/v1\n";
/// Height of the node over one epoch.
pub const EPOCH_HEIGHT: u32 = EPOCH_ENTRIES.ilog2();

/// What was asked and how it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// For which entries.
    pub scope: Scope,
    /// Kind of the keys.
    pub kind: RowKind,
    /// The keys, strictly ascending.
    pub keys: Vec<[u8; 16]>,
    /// First epoch that is answered by showing its entries; those before by their seals.
    pub open_from: u64,
}

impl Question {
    /// The epochs answered from their tables.
    pub fn epochs(&self) -> Range<u64> {
        self.scope.first.0 / EPOCH_ENTRIES..self.open_from
    }

    /// The entries that are all shown.
    pub fn tail(&self) -> Range<u64> {
        let start = self.open_from.saturating_mul(EPOCH_ENTRIES).max(self.scope.first.0);
        start..self.scope.end.0.max(start)
    }

    /// The keys as index rows begin.
    pub fn index_keys(&self) -> Vec<IndexKey> {
        self.keys.iter().map(|key| IndexKey { kind: self.kind, key: *key }).collect()
    }

    /// Entries that must be shown, beside the seals and `tail`: ascending, distinct. The tail is
    /// no list, for what a file claims to show it need not show.
    pub fn must_show(&self, hits: &[Hit], size: u64) -> Vec<u64> {
        let asked = |hit: &Hit| self.scope.contains(EntryIndex(hit.index));
        let mut places: Vec<u64> = hits.iter().filter(|h| asked(h)).map(|h| h.index).collect();
        places.extend(self.scope.edges(size));
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether an entry has one of the keys.
    pub fn is_about(&self, entry: &Entry) -> bool {
        let keys = keys_of(entry, self.kind);
        keys.iter().any(|key| self.keys.binary_search(key).is_ok())
    }

    fn is_sound(&self) -> bool {
        let Scope { first, end, .. } = self.scope;
        let least = first.0 / EPOCH_ENTRIES;
        let most = if first == end { least } else { end.0.div_ceil(EPOCH_ENTRIES) };
        (least..=most).contains(&self.open_from)
    }
}

/// What stands before the tables.
pub fn encode_head(question: &Question, claim: &str, checkpoint: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    question.scope.encode(&mut out);
    out.put_u8(question.kind.value());
    out.put_u16(crate::format::wire::len_of(question.keys.len()));
    question.keys.iter().for_each(|key| out.raw(key));
    out.put_u64(question.open_from);
    out.put_lp32(claim.as_bytes());
    out.put_lp32(checkpoint.as_bytes());
    out
}

/// The tree of the log as an answer shows it: every whole epoch is one node.
pub fn log_tree(size: u64) -> Tree {
    Tree { leaves: size, height_max: EPOCH_HEIGHT }
}

/// An entry that has one of the keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Hash32,
}

/// What a verified answer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerFound {
    /// What was asked.
    pub question: Question,
    /// The signed log.
    pub signed: Signed,
    /// What the vault says the keys stand for.
    pub claim: Option<Claim>,
    /// Entries of the scope with one of the keys, ascending.
    pub found: Vec<EntryIndex>,
    /// The first of them in full, at most `LISTED_MAX`.
    pub listed: Vec<Found>,
    /// Entries shown, with neighbours and seals.
    pub shown: u64,
    /// Log times on both sides of the cuts.
    pub cuts: Cuts,
    /// The epochs that rest on a seal, with its place.
    pub seals: Vec<(u64, EntryIndex)>,
}

/// Found entries kept in full.
pub const LISTED_MAX: usize = 1_000;

/// Reads and judges an answer. Without trust checkpoint and claim are taken as they stand.
///
/// # Errors
/// The first thing that fails, in the order of the page.
pub fn verify(from: &mut dyn Read, trust: Option<&Trust>) -> Result<AnswerFound> {
    let mut source = Source::new(from);
    let (question, claim, note) = head(&mut source)?;
    let signed = Signed::open(&note, trust)?;
    let size = signed.checkpoint.size.0;
    let sealed = question.open_from.checked_mul(EPOCH_ENTRIES).filter(|end| *end <= size);
    if size == 0 || question.scope.end.0 > size || sealed.is_none() {
        return Err(Fault::new("PROOF_RANGE", format!("the log has {size} entries")));
    }
    let claim = match claim.is_empty() {
        true => None,
        false => {
            let Question { kind, keys, .. } = &question;
            Some(Claim::open(&claim, trust, *kind, keys, &signed.checkpoint)?)
        }
    };
    let (found, hits) = read_tables(&mut source, &question)?;
    let runs = read_runs(&mut source, size)?;
    let must = question.must_show(&hits, size);
    all_shown(&must, &question.tail(), &runs)?;
    let mut reader = Reader::new(&question, hits, must, found);
    let root = read_log(&mut source, log_tree(size), &runs, tenant(&signed), &mut reader)?;
    source.done()?;
    check_root(&signed, root)?;
    let seals = reader.check_seals()?;
    reader.cuts.check(&question.scope, size)?;
    let Reader { cuts, found, listed, .. } = reader;
    let shown = runs.iter().map(|run| run.end - run.start).sum();
    Ok(AnswerFound { question, signed, claim, found, listed, shown, cuts, seals })
}

/// Every place that must be shown lies in a run, and the tail in one alone: runs do not touch.
fn all_shown(must: &[u64], tail: &Range<u64>, runs: &[Range<u64>]) -> Result<()> {
    if let Some(missing) = must.iter().find(|at| !part::in_runs(runs, **at)) {
        let detail = format!("entry {missing} is named and not shown");
        return Err(Fault::new("QUERY_ENTRY_MISSING", detail));
    }
    let whole = |run: &Range<u64>| run.start <= tail.start && tail.end <= run.end;
    if !tail.is_empty() && !runs.iter().any(whole) {
        let detail = format!("entries {} to {} are not all shown", tail.start, tail.end);
        return Err(Fault::new("QUERY_ENTRY_MISSING", detail));
    }
    Ok(())
}

/// Everything up to the tables, its grammar checked.
fn head(source: &mut Source<'_>) -> Result<(Question, Vec<u8>, Vec<u8>)> {
    if source.array::<19>("the first line")? != *MAGIC {
        return Err(Fault::malformed("not an answer file of this version"));
    }
    let scope = Scope::read(source)?;
    let kind = RowKind::from_value(source.u8("the row kind")?);
    let kind = kind.ok_or_else(|| Fault::malformed("an unknown row kind"))?;
    let count = usize::from(source.u16("the keys")?);
    if count == 0 || count > KEYS_MAX {
        return Err(Fault::malformed(format!("{count} keys")));
    }
    let mut keys: Vec<[u8; 16]> = Vec::with_capacity(count);
    for _ in 0..count {
        let key = source.array("a key")?;
        if keys.last().is_some_and(|last| *last >= key) {
            return Err(Fault::malformed("keys do not ascend"));
        }
        keys.push(key);
    }
    let question = Question { scope, kind, keys, open_from: source.u64("the first open epoch")? };
    if !question.is_sound() {
        return Err(Fault::malformed("epochs that are not those of the scope"));
    }
    let claim = source.note(true, "the claim")?;
    if claim.is_empty() == needs_claim(kind) {
        return Err(Fault::malformed("keys of this kind come with a claim, others without"));
    }
    let note = source.note(false, "the checkpoint")?;
    Note::parse(&note).map_err(|e| Fault::malformed(format!("checkpoint: {e}")))?;
    Ok((question, claim, note))
}

/// Whether keys of a kind stand for something that only the vault can compute.
pub fn needs_claim(kind: RowKind) -> bool {
    matches!(kind, RowKind::Subject | RowKind::Source)
}

fn read_tables(
    source: &mut Source<'_>,
    question: &Question,
) -> Result<(Vec<TableFound>, Vec<Hit>)> {
    let asked = question.index_keys();
    let (mut found, mut hits) = (Vec::new(), Vec::new());
    for epoch in question.epochs() {
        found.push(tables::read(source, epoch, &asked, &mut hits)?);
    }
    hits.sort_unstable();
    Ok((found, hits))
}

fn read_runs(source: &mut Source<'_>, size: u64) -> Result<Vec<Range<u64>>> {
    let count = source.u32("the runs of the log")?;
    if count == 0 || u64::from(count) > SHOWN_MAX {
        return Err(Fault::malformed(format!("{count} runs of entries")));
    }
    let (mut runs, mut shown) = (Vec::new(), 0_u64);
    for _ in 0..count {
        let run = source.u64("a run")?..source.u64("a run")?;
        shown = shown.saturating_add(run.end.saturating_sub(run.start));
        runs.push(run);
    }
    check_runs(&runs, size)?;
    match shown <= SHOWN_MAX {
        true => Ok(runs),
        false => Err(Fault::malformed(format!("over {SHOWN_MAX} entries; ask in pieces"))),
    }
}
