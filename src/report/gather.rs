//! Gathers what a report is computed from: one pass over every entry of a period, and what the
//! vault alone knows - fates of class-days, erasures with their receipts, accesses by person.
//! No row names anybody: persons appear under pseudonyms that hold in one report only. It opens
//! no event, and it leaves nothing of the period out: what it cannot place is counted.

use crate::base::entry::{Entry, Kind};
use crate::base::event::EventCode;
use crate::base::id::{Hash32, PersonId, SubjectTag};
use crate::base::unit::{ClassDay, EntryIndex, Generation, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::control::Mode;
use crate::report::evidence::{
    AccessCover, AccessRow, ClassDayState, ClassDayStatus, Deferred, ErasureMode, ErasureStatus,
    Facts, Grade, Integrity, POPULATION_ROWS_MAX, Population, Verdict, pseudonym,
};
use crate::report::inputs::{Inputs, Period, Scope, is_access, sealings};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Erasure;
use crate::vault::read::Erased;
use crate::vault::verify::{BodyReport, Report as Checked};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows of accesses held while counting. Four times what a report lists; one beyond it counts
/// as a row of its own, so the report says that rows are missing. 400,000 rows are 60 MB.
const ACCESS_ROWS_MAX: usize = 4 * POPULATION_ROWS_MAX;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which part of the log, by log time.
    pub period: Period,
    /// The tenant, as people call it.
    pub tenant_name: String,
    /// Handle or role of who asks.
    pub requester: String,
    /// Random, drawn for this report.
    pub nonce: [u8; 16],
    /// Until when facts are taken.
    pub cut_off: UtcNanos,
    /// Program and version.
    pub software: String,
    /// Result of the verification made for this report; `None` = none was made.
    pub integrity: Option<Integrity>,
    /// Id of the report that this one replaces.
    pub supersedes: Option<String>,
}

/// Gathers everything.
///
/// # Errors
/// Those of the vault: a log that cannot be read gives no report at all.
pub fn gather(vault: &Vault, ask: Ask) -> Result<(Inputs, Facts)> {
    let facts = vault.facts_now();
    let scope = Scope {
        period: ask.period,
        tenant: vault.tenant(),
        origin: vault.origin().to_owned(),
        registry: sealings(vault.policies().registry()),
    };
    let mut inputs = Inputs::new(scope);
    let mut ledger = Accesses::new(vault, &ask.nonce)?;
    let first = first_at(vault, ask.period.start)?;
    let end = first_at(vault, ask.period.end)?;
    vault.for_each_entry(first..end, &mut |entry, leaf| {
        let name = match entry.head.kind {
            Kind::Event => vault.source_name(&entry.head.source)?,
            _ => None,
        };
        inputs.observe(&entry, &leaf, name.as_deref());
        ledger.observe(&entry);
        Ok(())
    })?;
    (inputs.access_rows, inputs.access_cover) = ledger.finish();
    inputs.class_days = Some(class_days(vault)?);
    inputs.erasures = Some(erasures(vault, &ask.period)?);
    inputs.integrity = ask.integrity;
    let facts = Facts {
        tenant_name: ask.tenant_name,
        requester: ask.requester,
        nonce: ask.nonce,
        cut_off: ask.cut_off,
        generation: facts.root.0,
        software: ask.software,
        supersedes: ask.supersedes,
    };
    Ok((inputs, facts))
}

/// The result of a verification as the report prints it: `checked` from the data plane alone,
/// `opened` from every body that has a key, `note` the signed checkpoint.
pub fn integrity(checked: &Checked, opened: &BodyReport, note: &str) -> Integrity {
    let mut verdicts: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
    for (name, count) in &checked.counts {
        let fails = checked.verdicts.iter().any(|v| v.name == *name && v.fails);
        verdicts.insert(name, (*count, fails));
    }
    for verdict in &opened.verdicts {
        let count = opened.fates.get(verdict.name).copied().unwrap_or(0);
        let found = verdicts.entry(verdict.name).or_insert((0, true));
        *found = (found.0.max(count), true);
    }
    let fate = |name: &str| opened.fates.get(name).copied().unwrap_or(0);
    let sound = |name: &str, count| Verdict { name: name.to_owned(), count, grade: Grade::Sound };
    let mut rows = vec![
        sound("bodies opened, every commitment recomputed", fate("open")),
        sound("bodies erased, justified by an entry", fate("erased")),
        sound("bodies expired, justified by an entry", fate("expired")),
    ];
    rows.extend(verdicts.into_iter().map(|(name, (count, fails))| Verdict {
        name: name.to_owned(),
        count,
        grade: if fails { Grade::Failed } else { Grade::Note },
    }));
    let signed = checked.signed_by.as_ref();
    Integrity {
        verdicts: rows,
        entries_checked: checked.entries,
        bodies_checked: opened.fates.values().sum(),
        checkpoint: note.to_owned(),
        size: signed.map_or(TreeSize(0), |s| s.size),
        root: signed.map_or(Hash32::ZERO, |s| s.root),
        checkpoint_at: checked.last_time,
        seals: checked.seals + checked.day_seals,
        // A missing seal is among the verdicts.
        seals_missing: 0,
        witnesses: signed.map_or(0, |s| s.witnesses.len() as u64),
    }
}

/// Index of the first entry at or after an instant: log time never falls, so this is a search
/// by halves. The size of the log when there is none.
///
/// # Errors
/// Those of the store.
pub fn first_at(vault: &Vault, at: UtcNanos) -> Result<EntryIndex> {
    let (mut low, mut high) = (0, vault.size().0);
    while low < high {
        let middle = low + (high - low) / 2;
        match vault.entry(EntryIndex(middle))?.time_log < at {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(EntryIndex(low))
}

/// Every class-day with a living key, and every one that has expired.
fn class_days(vault: &Vault) -> Result<Population<ClassDayStatus>> {
    let mut all: BTreeMap<ClassDay, ClassDayStatus> = BTreeMap::new();
    for planned in vault.retention_plan()? {
        let state = match (planned.due, planned.held.first()) {
            (None, _) if !planned.class_name.is_empty() => ClassDayState::Kept,
            (_, Some(case)) => ClassDayState::Held(*case),
            _ => ClassDayState::Live,
        };
        let status = ClassDayStatus {
            class_day: planned.class_day,
            class_name: planned.class_name,
            groups: planned.groups,
            due: planned.due,
            state,
        };
        all.insert(planned.class_day, status);
    }
    let (facts, policies) = (vault.facts_now(), vault.policies());
    for (class_day, done) in &facts.expired {
        let status = ClassDayStatus {
            class_day: *class_day,
            class_name: vault.class_name(class_day.class),
            groups: facts.groups.get(class_day).copied().unwrap_or(0),
            due: policies.classes().due(*class_day),
            state: ClassDayState::Expired { done: Some(*done) },
        };
        all.insert(*class_day, status);
    }
    let mut population = Population::default();
    all.into_values().for_each(|status| population.push(status));
    Ok(population)
}

/// Erasures asked for in the period, and those from before that were open when it began.
fn erasures(vault: &Vault, period: &Period) -> Result<Population<ErasureStatus>> {
    let facts = vault.facts_now();
    let mut chosen: Vec<&Erasure> = facts
        .erasures
        .values()
        .filter(|e| {
            let was_open = e.done.as_ref().is_none_or(|(_, at, _)| *at >= period.start);
            e.asked < period.end && (e.asked >= period.start || was_open)
        })
        .collect();
    chosen.sort_by_key(|e| e.intent);
    let mut population = Population::default();
    for erasure in chosen {
        population.push(erasure_status(vault, erasure)?);
    }
    Ok(population)
}

fn erasure_status(vault: &Vault, erasure: &Erasure) -> Result<ErasureStatus> {
    let plan = &erasure.plan;
    let receipt = match vault.erasure_receipt(plan.job) {
        Ok(receipt) => Some(receipt),
        // A disk that cannot be read is no finding about an erasure: there is no report then.
        Err(error @ Error::Unavailable(_)) => return Err(error),
        Err(_) => None,
    };
    let records = receipt.as_deref().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("records ")).and_then(|n| n.parse().ok())
    });
    let root = erasure.done.as_ref().map(|(_, _, done)| &done.root);
    let generation = |of: Option<Generation>| of.unwrap_or(plan.generation);
    Ok(ErasureStatus {
        job: plan.job,
        requested: erasure.intent,
        requested_at: erasure.asked,
        completed: erasure.done.as_ref().map(|(index, ..)| *index),
        completed_at: erasure.done.as_ref().map(|(_, at, _)| *at),
        mode: match plan.mode {
            Mode::TwoPerson => ErasureMode::TwoPerson,
            Mode::SingleOperator => ErasureMode::SingleOperator,
            Mode::Scheduled => ErasureMode::Scheduled,
        },
        generation_from: generation(root.map(|r| r.from)),
        generation_to: generation(root.map(|r| r.to)),
        receipt_sha256: receipt.map(|text| sha256(&[text.as_bytes()])),
        deferred: plan
            .deferred
            .iter()
            .map(|d| Deferred {
                class: vault.class_name(d.class),
                law: if d.why == "hold" {
                    format!("hold of case {}", d.law)
                } else {
                    d.law.clone()
                },
                due: d.due,
            })
            .collect(),
        records,
    })
}

/// Lays accesses to persons by the tags of living keys.
struct Accesses<'n> {
    nonce: &'n [u8; 16],
    owners: HashMap<SubjectTag, PersonId>,
    erased: Erased,
    rows: BTreeMap<(PersonId, EventCode), (u64, EntryIndex, EntryIndex)>,
    beyond: u64,
    cover: AccessCover,
}

impl<'n> Accesses<'n> {
    fn new(vault: &Vault, nonce: &'n [u8; 16]) -> Result<Self> {
        Ok(Accesses {
            nonce,
            owners: vault.tag_owners()?,
            erased: vault.erased_tags()?,
            rows: BTreeMap::new(),
            beyond: 0,
            cover: AccessCover::default(),
        })
    }

    fn observe(&mut self, entry: &Entry) {
        let head = &entry.head;
        if head.kind != Kind::Event || !is_access(head.code) || head.tags.is_empty() {
            return;
        }
        let owned = |tag: &SubjectTag| self.owners.get(tag).copied();
        let living: BTreeSet<PersonId> = head.tags.iter().filter_map(owned).collect();
        let lost: Vec<&SubjectTag> = head.tags.iter().filter(|t| owned(t).is_none()).collect();
        // One number per event: an event is only laid out in full, or known not to be.
        if lost.is_empty() {
            self.cover.attributed += 1;
        } else if lost.iter().all(|tag| self.erased.contains(tag)) {
            self.cover.erased += 1;
        }
        for person in living {
            let is_full = self.rows.len() >= ACCESS_ROWS_MAX;
            if is_full && !self.rows.contains_key(&(person, head.code)) {
                self.beyond += 1;
                continue;
            }
            let fresh = (0, entry.index, entry.index);
            let row = self.rows.entry((person, head.code)).or_insert(fresh);
            *row = (row.0 + 1, row.1, entry.index);
        }
    }

    fn finish(self) -> (Option<Population<AccessRow>>, AccessCover) {
        let mut population = Population::default();
        let mut last = None;
        for ((person, code), (count, first, until)) in self.rows {
            let subject_pseudonym = pseudonym(self.nonce, &person);
            let row = AccessRow { subject_pseudonym, code, count, first, last: until };
            last = Some(row.clone());
            population.push(row);
        }
        // The list is longer than a report holds by now: these are counted, never kept.
        for row in last.iter().cycle().take(usize::try_from(self.beyond).unwrap_or(usize::MAX)) {
            population.push(row.clone());
        }
        (Some(population), self.cover)
    }
}
