//! What an erasure may take: of every class, whether it goes now or what keeps it, and whether
//! the plan may stand at its place in the log. It never destroys anything.

use crate::base::id::{CaseId, Hash32, PersonId, ReplicaId, SubjectTag};
use crate::base::limits::CLEAR_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::base::unit::{ClassId, Day, EntryIndex, Generation, Month, UtcNanos};
use crate::format::cell::PersonCell;
use crate::format::control::{self, Deferred, EraseDone, EraseIntent, RootChange, Scope};
use crate::policy::classes::LAW_BYTES_MAX;
use crate::store::error::ErrorKind;
use crate::store::keytree::KeyTree;
use crate::vault::Vault;
use crate::vault::erase::{ERASURE_PERSONS_MAX, INTEGER_MAX};
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys::{self, Keyring};
use crate::vault::retain::PLAN_CHANGED;
use std::collections::HashMap;

/// What decides about every class of an erasure.
pub(crate) struct Ground {
    /// Tags of everybody a case holds, with the case; of several the least.
    held: HashMap<SubjectTag, CaseId>,
    /// The instant by which floors are judged.
    now: UtcNanos,
    /// What cannot be decided because something cannot be read stays; else it is an error.
    in_doubt: bool,
}

impl Vault {
    /// What decides today. While the tree is held no hold is set.
    pub(crate) fn ground(&self, tree: &KeyTree) -> Result<Ground> {
        let held = self.held_tags(tree)?;
        Ok(Ground { held, now: self.floor_time()?, in_doubt: false })
    }

    fn held_tags(&self, tree: &KeyTree) -> Result<HashMap<SubjectTag, CaseId>> {
        let until = Month(self.inner.clock.now().day().month().0 + 1);
        let mut held: HashMap<SubjectTag, CaseId> = HashMap::new();
        let cases = self.facts().persons_held();
        for (case, persons) in cases {
            for cell in keys::same_human(tree, self.inner.keys.directory(), &persons)? {
                let classes: Vec<ClassId> = cell.keys.iter().map(|key| key.class).collect();
                for (_, tag) in Keyring::tags_of(&cell, &classes, until) {
                    held.entry(tag).or_insert(case);
                }
            }
        }
        Ok(held)
    }

    /// As `split_classes`, behind the intent, where nothing that has rotted may stop: what it
    /// keeps from being decided stays, as long as it could have to.
    pub(crate) fn split_what_is_left(
        &self,
        cells: &[PersonCell],
        tree: &KeyTree,
    ) -> Result<(Vec<ClassId>, Vec<Deferred>)> {
        let held = self.held_tags(tree)?;
        // An instant before every floor's end, where the right one cannot be read.
        let now = self.floor_time().unwrap_or(UtcNanos(0));
        self.split_classes(cells, &Ground { held, now, in_doubt: true })
    }

    /// What may have to stay of a class whose records cannot be read, for as long as any record
    /// there can be by now might demand.
    fn kept_in_doubt(&self, class: ClassId, ground: &Ground) -> Option<Deferred> {
        let policies = self.policies();
        if let Some(floor) = policies.classes().get(class).and_then(|c| c.floor.as_ref()) {
            let today = self.inner.clock.now().day();
            let due = Some(Day(today.0.saturating_add(floor.days)).end());
            let (why, law) = ("floor".to_owned(), floor.law.clone());
            return Some(Deferred { class, why, law, due });
        }
        let case = ground.held.values().min()?;
        let (why, law) = ("hold".to_owned(), case.to_string());
        Some(Deferred { class, why, law, due: None })
    }

    /// Log time; but after a jump that no person has confirmed the last one before it, so that a
    /// wrong clock ends no floor. What has no floor needs no date to go.
    fn floor_time(&self) -> Result<UtcNanos> {
        let (jump, last) = {
            let facts = self.facts();
            (facts.time_jump, facts.last_time)
        };
        match jump.and_then(|first| first.0.checked_sub(1)) {
            Some(before) => Ok(self.entry(EntryIndex(before))?.time_log),
            // Before the first entry after an accepted jump only the clock knows of it.
            None if self.inner.clock.jumped_beyond(last) => Ok(last),
            None => Ok(self.inner.clock.now()),
        }
    }

    /// Classes to destroy now, and those that law or a hold keeps.
    pub(crate) fn split_classes(
        &self,
        cells: &[PersonCell],
        ground: &Ground,
    ) -> Result<(Vec<ClassId>, Vec<Deferred>)> {
        let mut classes: Vec<ClassId> =
            cells.iter().flat_map(|cell| cell.keys.iter().map(|key| key.class)).collect();
        classes.sort_unstable();
        classes.dedup();
        let (mut now_classes, mut deferred) = (Vec::new(), Vec::new());
        for class in classes {
            let why = match self.why_deferred(cells, class, ground) {
                Err(_) if ground.in_doubt => self.kept_in_doubt(class, ground),
                decided => decided?,
            };
            match why {
                Some(why) => deferred.push(why),
                None => now_classes.push(class),
            }
        }
        Ok((now_classes, deferred))
    }

    fn why_deferred(
        &self,
        cells: &[PersonCell],
        class: ClassId,
        ground: &Ground,
    ) -> Result<Option<Deferred>> {
        let over_days =
            |scope: &Scope| matches!(scope, Scope::ClassDays { class: c, .. } if *c == class);
        let held = self.facts().holds.iter().find_map(|(case, scopes)| {
            scopes.iter().any(|(_, scope)| over_days(scope)).then_some(*case)
        });
        let held = match held {
            None => self.case_beside(cells, class, ground)?,
            found => found,
        };
        if let Some(case) = held {
            let (why, law) = ("hold".to_owned(), case.to_string());
            return Ok(Some(Deferred { class, why, law, due: None }));
        }
        let policies = self.policies();
        let Some(floor) = policies.classes().get(class).and_then(|c| c.floor.clone()) else {
            return Ok(None);
        };
        let last = self.entries_of_cells(cells, Some(class))?.last().copied();
        let Some((_, last)) = last else { return Ok(None) };
        let bucket = self.entry(last)?.time_log.day();
        let due = Day(bucket.0.saturating_add(floor.days)).end();
        let law = floor.law.clone();
        let deferred = Deferred { class, why: "floor".to_owned(), law, due: Some(due) };
        Ok((due > ground.now).then_some(deferred))
    }

    /// The case that holds somebody else in a record that these persons have in this class. A
    /// group sealed to several is lost with the key of any of them, and who did something to a
    /// held person is of that person's record.
    fn case_beside(
        &self,
        cells: &[PersonCell],
        class: ClassId,
        ground: &Ground,
    ) -> Result<Option<CaseId>> {
        if ground.held.is_empty() {
            return Ok(None);
        }
        let records = self.entries_of_cells(cells, Some(class))?;
        let records: Vec<EntryIndex> = records.into_iter().map(|(_, index)| index).collect();
        let mut found: Option<CaseId> = None;
        self.for_entries_at(&records, &mut |entry| {
            let cases = entry.head.tags.iter().filter_map(|tag| ground.held.get(tag).copied());
            found = found.into_iter().chain(cases).min();
            Ok(())
        })?;
        Ok(found)
    }
}

/// An error from before the intent, with that said.
pub(crate) fn untouched(error: Error) -> Error {
    match error {
        Error::Evidence { verdict, detail } => {
            Error::Evidence { verdict, detail: format!("{detail}; nothing was erased") }
        }
        Error::Unavailable(mut error) if error.kind == ErrorKind::Corrupt => {
            error.what.push_str("; nothing was erased");
            Error::Unavailable(error)
        }
        other => other,
    }
}

/// Whether nothing at the intent's own index forbids the plan: no hold, and no other erasure of
/// its handle; `humans` are all handles of those it names.
pub(crate) fn allowed(plan: &EraseIntent, humans: &[PersonId], facts: &Facts) -> Result<()> {
    if let Some(asked) = facts.erasures.get(&plan.job) {
        let fix = "an erasure was asked for under this handle: ask how it stands".to_owned();
        return Err(Error::Conflict { code: "JOB_KNOWN", first: Some(asked.intent), fix });
    }
    let cases = facts.holds_on_persons(humans);
    if !cases.is_empty() {
        return Err(Error::Held { cases });
    }
    let covered = |scope: &Scope| match scope {
        Scope::ClassDays { class, .. } => plan.classes.contains(class),
        Scope::Person { .. } => false,
    };
    match facts.holds.values().flatten().any(|(_, scope)| covered(scope)) {
        true => Err(Error::Conflict {
            code: PLAN_CHANGED,
            first: None,
            fix: "holds changed meanwhile; ask again".to_owned(),
        }),
        false => Ok(()),
    }
}

/// Refuses a plan whose done entry could be too large to write once the keys are gone: every
/// class may come to be deferred meanwhile, for the longest law.
pub(crate) fn bounded(plan: &EraseIntent) -> Result<()> {
    let all = plan.classes.iter().copied().chain(plan.deferred.iter().map(|d| d.class));
    let deferred = all.clone().map(|class| Deferred {
        class,
        why: "floor".to_owned(),
        law: "x".repeat(LAW_BYTES_MAX),
        due: Some(UtcNanos(u64::MAX)),
    });
    let most = Generation(INTEGER_MAX);
    let worst = EraseDone {
        job: plan.job,
        intent: EntryIndex(most.0),
        persons: plan.persons.clone(),
        classes: all.clone().collect(),
        deferred: deferred.collect(),
        root: RootChange { from: most, to: most, old_root: Hash32::ZERO, new_root: Hash32::ZERO },
        store: "D".to_owned(),
        replicas: "1/2".to_owned(),
        missed: Some(ReplicaId::ZERO),
    };
    let fits = control::encode(&worst)?.len() <= CLEAR_BYTES_MAX;
    if fits && plan.persons.len() <= ERASURE_PERSONS_MAX {
        return Ok(());
    }
    let fix = "erase fewer people at once, each with an entry of its own; nothing was done";
    Err(Refusal::new("ERASURE_TOO_LARGE", fix).limit(ERASURE_PERSONS_MAX as u64).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::JobId;
    use crate::format::control::Mode;
    use crate::vault::facts::Erasure;

    fn plan(persons: usize, classes: usize) -> EraseIntent {
        EraseIntent {
            job: JobId([1; 16]),
            persons: (0..persons).map(|n| PersonId([n as u8; 16])).collect(),
            basis: "gdpr-17-1".to_owned(),
            mode: Mode::TwoPerson,
            classes: (1..=classes).map(|n| ClassId(n as u16)).collect(),
            deferred: Vec::new(),
            generation: Generation(3),
        }
    }

    #[test]
    fn a_class_day_hold_at_the_intents_index_stops_the_plan() {
        let check = |class: u16, expect: Option<&str>| {
            let (from, to) = (Day(1), Day(2));
            let scope = Scope::ClassDays { class: ClassId(class), from, to };
            let mut facts = Facts::default();
            facts.holds.insert(CaseId([2; 16]), vec![(EntryIndex(0), scope)]);
            let got = allowed(&plan(1, 4), &[], &facts);
            assert_eq!(got.err().map(|e| e.code()), expect, "class {class}");
        };
        check(4, Some(PLAN_CHANGED));
        check(5, None);
    }

    #[test]
    fn a_handle_gets_one_intent() {
        let (plan, mut facts) = (plan(1, 1), Facts::default());
        assert!(allowed(&plan, &[], &facts).is_ok());
        let (intent, asked) = (EntryIndex(5), UtcNanos(1));
        let erasure = Erasure { intent, asked, plan: plan.clone(), done: None };
        facts.erasures.insert(plan.job, erasure);
        let got = allowed(&plan, &[], &facts).unwrap_err();
        assert!(matches!(
            got,
            Error::Conflict { code: "JOB_KNOWN", first: Some(EntryIndex(5)), .. }
        ));
    }

    #[test]
    fn a_done_entry_that_might_not_fit_is_refused_before_the_intent() {
        let check = |persons, classes, fits| {
            let got = bounded(&plan(persons, classes)).err().map(|e| e.code());
            let expect = if fits { None } else { Some("ERASURE_TOO_LARGE") };
            assert_eq!(got, expect, "{persons} persons, {classes} classes");
        };
        check(33, 24, true);
        check(64, 4, true);
        check(65, 1, false);
        check(64, 32, false);
    }
}
