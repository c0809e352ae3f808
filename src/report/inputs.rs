//! The facts of a report: one exhaustive pass over the entries of a period, and what the vault
//! adds to it. Memory is bounded: counters by closed vocabularies, capped populations, no event is
//! kept. It never opens a body and holds no personal data; it never decides anything.

use crate::base::entry::{Entry, GroupPolicy, Kind};
use crate::base::event::{EventCode, Outcome, Verb};
use crate::base::id::{Hash32, SourceHandle, TenantId};
use crate::base::unit::{ClassDay, ClassId, EntryIndex, NANOS_PER_DAY, UtcNanos};
use crate::policy::fields::{Disposition, Registry};
use crate::report::evidence::{
    AccessCover, AccessRow, ClassDayStatus, ErasureStatus, Integrity, Population,
};
use crate::report::tally::{Numbering, Span, Tally};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cells of a coverage strip: a quarter in days; longer periods get wider cells.
const STRIP_CELLS_MAX: u64 = 92;

/// Log time from `start` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// First instant inside.
    pub start: UtcNanos,
    /// First instant after.
    pub end: UtcNanos,
}

/// How the field registry says a field lies in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealing {
    /// Personal: sealed under the persons the event names.
    Subjects,
    /// Sealed under the tenant, by a decision with a reason.
    Tenant,
    /// Closed vocabulary, readable in the log.
    Clear,
}

/// The name under which an event's unregistered fields are sealed together.
const REST: &str = "data";

/// How each field of a registry lies in the log. The rest of an event counts as unregistered,
/// because nobody decided what is in it; refused fields are in no entry.
pub fn sealings(registry: &Registry) -> BTreeMap<String, Sealing> {
    let named = registry.fields().iter().filter(|field| &*field.name != REST);
    named
        .filter_map(|field| {
            let sealing = match field.disposition {
                Disposition::Clear(_) => Sealing::Clear,
                Disposition::Sealed(_) => Sealing::Subjects,
                Disposition::Tenant => Sealing::Tenant,
                Disposition::Refuse => return None,
            };
            Some((field.name.to_string(), sealing))
        })
        .collect()
}

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which part of the log, by log time.
    pub period: Period,
    /// Whose log.
    pub tenant: TenantId,
    /// Origin line of its checkpoints.
    pub origin: String,
    /// The field registry in force, from `sealings`; a name that is not in it is unregistered.
    pub registry: BTreeMap<String, Sealing>,
}

/// One source over the period.
#[derive(Clone, Default, Debug)]
pub struct SourceTally {
    /// Its name, if the vault can still say it.
    pub name: Option<String>,
    /// Its events.
    pub span: Span,
    /// Its own numbers.
    pub numbering: Numbering,
    /// Events without a number: loss before arrival cannot be seen for them.
    pub unnumbered: u64,
    /// Unregistered fields sealed under the tenant because the event named nobody.
    pub tenant_unknown: u64,
    /// Events by cell of the period, `Inputs::strip_days` days each.
    pub strip: Vec<u64>,
}

/// How one field was stored.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FieldTally {
    /// Sealed under the persons named.
    pub subjects: u64,
    /// Sealed under the tenant.
    pub tenant: u64,
    /// Readable in the log.
    pub clear: u64,
}

/// Accesses with one code and outcome.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AccessTally {
    /// Events that name at least one person.
    pub named: Span,
    /// Events that name nobody: no person can be told of them.
    pub unnamed: Span,
}

/// An entry of the vault about itself: erase, prune, hold, disclose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VaultAct {
    /// Its place.
    pub index: EntryIndex,
    /// What it is.
    pub kind: Kind,
    /// Its log time.
    pub at: UtcNanos,
    /// How it ended.
    pub outcome: Outcome,
}

/// A place where two neighbours in the pass are not neighbours in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexGap {
    /// The entry before.
    pub after: EntryIndex,
    /// The entry that came instead of the next one.
    pub found: EntryIndex,
}

/// Everything a report is computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What it is about.
    pub scope: Scope,
    /// Entries of the period, in log order.
    pub entries: Span,
    /// Entries handed over that lie outside the period; they are not counted anywhere else.
    pub outside: u64,
    /// Entries of kind event.
    pub events: u64,
    /// Entries by kind.
    pub kinds: Tally<Kind, u64>,
    /// Events by code and outcome.
    pub codes: Tally<(EventCode, Outcome), u64>,
    /// Events by retention class of the record.
    pub classes: Tally<ClassId, u64>,
    /// Events by source.
    pub sources: Tally<SourceHandle, SourceTally>,
    /// Sealed groups by class-day: under the tenant, under persons.
    pub groups: Tally<ClassDay, [u64; 2]>,
    /// Fields by name.
    pub fields: Tally<Arc<str>, FieldTally>,
    /// Clear parts that are not a JSON object.
    pub clear_unreadable: u64,
    /// Reads, listings, exports, prints, decryptions and disclosures reported by sources.
    pub accesses: Tally<(EventCode, Outcome), AccessTally>,
    /// Erase, prune, hold and disclose entries.
    pub acts: Population<VaultAct>,
    /// Neighbours in the pass that are not neighbours in the log.
    pub index_gaps: Population<IndexGap>,
    /// Entries whose `prev` is not the leaf hash before them.
    pub chain_breaks: Population<EntryIndex>,
    /// Entries whose log time is below the one before.
    pub time_regressions: Population<EntryIndex>,
    /// Fates of class-days; `None` = the vault did not say.
    pub class_days: Option<Population<ClassDayStatus>>,
    /// Erasures requested or open in the period; `None` = the vault did not say.
    pub erasures: Option<Population<ErasureStatus>>,
    /// Accesses by person; `None` = the vault did not say.
    pub access_rows: Option<Population<AccessRow>>,
    /// How far the accesses could be laid to persons.
    pub access_cover: AccessCover,
    /// Result of the verification; `None` = none was made.
    pub integrity: Option<Integrity>,
    leaves: Sha256,
    last_leaf: Option<Hash32>,
}

impl Inputs {
    /// Nothing seen yet.
    pub fn new(scope: Scope) -> Self {
        Inputs {
            scope,
            entries: Span::default(),
            outside: 0,
            events: 0,
            kinds: Tally::default(),
            codes: Tally::default(),
            classes: Tally::default(),
            sources: Tally::default(),
            groups: Tally::default(),
            fields: Tally::default(),
            clear_unreadable: 0,
            accesses: Tally::default(),
            acts: Population::default(),
            index_gaps: Population::default(),
            chain_breaks: Population::default(),
            time_regressions: Population::default(),
            class_days: None,
            erasures: None,
            access_rows: None,
            access_cover: AccessCover::default(),
            integrity: None,
            leaves: Sha256::new(),
            last_leaf: None,
        }
    }

    /// Takes the next entry of the log with its leaf hash. Every entry of the period must be
    /// handed over, in order; what is left out shows as an index gap.
    pub fn observe(&mut self, entry: &Entry, leaf: &Hash32, source_name: Option<&str>) {
        let Period { start, end } = self.scope.period;
        if entry.time_log < start || entry.time_log >= end {
            self.outside += 1;
            return;
        }
        self.observe_place(entry, leaf);
        if let Some(count) = self.kinds.at(entry.head.kind) {
            *count += 1;
        }
        match entry.head.kind {
            Kind::Event => self.observe_event(entry, source_name),
            Kind::EraseIntent
            | Kind::EraseDone
            | Kind::EraseFinal
            | Kind::PruneIntent
            | Kind::PruneDone
            | Kind::HoldSet
            | Kind::HoldRelease
            | Kind::Disclose => self.acts.push(VaultAct {
                index: entry.index,
                kind: entry.head.kind,
                at: entry.time_log,
                outcome: entry.head.outcome,
            }),
            _ => {}
        }
    }

    /// SHA-256 over the leaf hashes of the period in log order: whoever has the entries can
    /// recompute the population this report was made from.
    pub fn leaves_sha256(&self) -> Hash32 {
        Hash32(self.leaves.clone().finalize().into())
    }

    /// Numbers that never came, over all sources. A source may number as it likes, so this stops
    /// at the largest integer.
    pub fn numbers_missing(&self) -> u64 {
        let missing = self.sources.iter().map(|(_, source)| source.numbering.missing());
        missing.fold(0, u64::saturating_add)
    }

    /// Days in one cell of a coverage strip.
    pub fn strip_days(&self) -> u64 {
        let Period { start, end } = self.scope.period;
        let days = end.0.saturating_sub(start.0).div_ceil(NANOS_PER_DAY);
        days.div_ceil(STRIP_CELLS_MAX).max(1)
    }

    /// Cells of a coverage strip.
    pub fn strip_cells(&self) -> usize {
        let Period { start, end } = self.scope.period;
        let cells = end.0.saturating_sub(start.0).div_ceil(self.strip_days() * NANOS_PER_DAY);
        usize::try_from(cells).unwrap_or(0)
    }

    fn observe_place(&mut self, entry: &Entry, leaf: &Hash32) {
        if self.entries.count > 0 {
            if entry.index.0 != self.entries.last.0.saturating_add(1) {
                self.index_gaps.push(IndexGap { after: self.entries.last, found: entry.index });
            } else if self.last_leaf != Some(entry.prev) {
                self.chain_breaks.push(entry.index);
            }
            if entry.time_log < self.entries.last_at {
                self.time_regressions.push(entry.index);
            }
        }
        self.entries.observe(entry.index, entry.time_log);
        self.leaves.update(leaf.0);
        self.last_leaf = Some(*leaf);
    }

    fn observe_event(&mut self, entry: &Entry, source_name: Option<&str>) {
        let head = &entry.head;
        self.events += 1;
        if let Some(count) = self.codes.at((head.code, head.outcome)) {
            *count += 1;
        }
        if let Some(count) = self.classes.at(head.class) {
            *count += 1;
        }
        if is_access(head.code)
            && let Some(access) = self.accesses.at((head.code, head.outcome))
        {
            let span = if head.tags.is_empty() { &mut access.unnamed } else { &mut access.named };
            span.observe(entry.index, entry.time_log);
        }
        for group in &head.groups {
            let key = ClassDay { class: group.class, day: group.bucket };
            if let Some([tenant, subjects]) = self.groups.at(key) {
                *(if group.policy == GroupPolicy::Tenant { tenant } else { subjects }) += 1;
            }
        }
        let unknown = self.observe_fields(entry);
        self.observe_source(entry, source_name, unknown);
    }

    /// Counts the fields; returns how many unregistered ones are sealed under the tenant.
    fn observe_fields(&mut self, entry: &Entry) -> u64 {
        let head = &entry.head;
        let mut unknown = 0;
        for field in &head.fields {
            let policy = head.groups.get(usize::from(field.group)).map(|g| g.policy);
            let tenant = policy == Some(GroupPolicy::Tenant);
            if tenant && !self.scope.registry.contains_key(&*field.name) {
                unknown += 1;
            }
            if let Some(tally) = self.fields.at(field.name.clone()) {
                *(if tenant { &mut tally.tenant } else { &mut tally.subjects }) += 1;
            }
        }
        if head.clear.is_empty() {
            return unknown;
        }
        match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&head.clear) {
            Ok(names) => {
                for name in names.into_keys() {
                    if let Some(tally) = self.fields.at(name.into()) {
                        tally.clear += 1;
                    }
                }
            }
            Err(_) => self.clear_unreadable += 1,
        }
        unknown
    }

    fn observe_source(&mut self, entry: &Entry, name: Option<&str>, unknown: u64) {
        let (days, cells) = (self.strip_days(), self.strip_cells());
        let cell = (entry.time_log.0 - self.scope.period.start.0) / (days * NANOS_PER_DAY);
        let Some(source) = self.sources.at(entry.head.source) else { return };
        if source.name.is_none() {
            source.name = name.map(str::to_owned);
        }
        source.span.observe(entry.index, entry.time_log);
        match entry.head.source_seq {
            Some(seq) => source.numbering.observe(seq),
            None => source.unnumbered += 1,
        }
        source.tenant_unknown += unknown;
        source.strip.resize(cells, 0);
        if let Some(count) = usize::try_from(cell).ok().and_then(|c| source.strip.get_mut(c)) {
            *count += 1;
        }
    }
}

/// True for codes by which somebody saw or took data.
pub fn is_access(code: EventCode) -> bool {
    use Verb::{Decrypt, Disclose, Export, List, Print, Read};
    matches!(code.verb, Read | List | Export | Print | Decrypt | Disclose)
}
