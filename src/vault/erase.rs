//! Erasure: a person's keys are destroyed, by the six steps of `docs/format.md` section 9, and
//! every record stays provable. It never promises that nobody kept a copy: the receipt says
//! what was destroyed, where, and what lies outside the promise.
//!
//! Order: keys of the evidence are made; the key tree is held; intent (checked against holds at
//! its index) ; cache evicted ; new path and root slot, old slot destroyed ; done ; checkpoint.

use crate::base::entry::Kind;
use crate::base::event::{Identifier, Verb};
use crate::base::id::{CaseId, JobId, PersonId, SubjectTag};
use crate::base::limits::{EVIDENCE_CLASS, VAULT_CLASS};
use crate::base::unit::{ClassId, EntryIndex, NANOS_PER_DAY, UtcNanos};
use crate::base::world::random;
use crate::format::cell::{self, Cell, CellKey, PersonCell};
use crate::format::control::{self, Deferred, EraseDone, EraseIntent, Mode, Scope};
use crate::store::keytree::{KeyTree, Rekeyed};
use crate::vault::append::{root_change, unique};
use crate::vault::error::{Error, Result};
use crate::vault::hold::{Order, Prepared};
use crate::vault::keys::{self, Keyring};
use crate::vault::sequencer::{Check, Committed};
use crate::vault::{Vault, vault_code};
use std::collections::BTreeMap;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// What an erasure would do, before anybody decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preview {
    /// Handles it would reach.
    pub persons: Vec<PersonId>,
    /// Every identifier linked to them.
    pub identifiers: Vec<Identifier>,
    /// Records per class.
    pub records: BTreeMap<ClassId, u64>,
    /// Classes whose keys would go now.
    pub classes: Vec<ClassId>,
    /// Classes that would stay, and why.
    pub deferred: Vec<Deferred>,
    /// Cases that forbid it.
    pub held: Vec<CaseId>,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    /// Handle of the erasure: ask for its receipt by this.
    pub job: JobId,
    /// Intent entry.
    pub intent: EntryIndex,
    /// Done entry.
    pub done: EntryIndex,
    /// Persons.
    pub persons: Vec<PersonId>,
    /// Records that cannot be read any more.
    pub records: u64,
    /// Classes that stay, and why.
    pub deferred: Vec<Deferred>,
    /// Bytes written to the key plane.
    pub bytes_written: u64,
}

impl Vault {
    /// What an erasure of these identifiers would reach.
    ///
    /// # Errors
    /// `NotFound` when nobody is known by them: the same for never seen and already erased.
    pub fn preview_erasure(&self, identifiers: &[Identifier]) -> Result<Preview> {
        let persons = self.persons_named(identifiers)?;
        let now = self.inner.clock.now();
        let mut records: BTreeMap<ClassId, u64> = BTreeMap::new();
        for (class, _) in self.entries_of_persons(&persons, None)? {
            *records.entry(class).or_default() += 1;
        }
        let (classes, deferred) = self.split_classes(&persons, now)?;
        let held = self.facts().holds_on_persons(&persons);
        let identifiers = self.inner.keys.identifiers_of(&persons)?;
        Ok(Preview { persons, identifiers, records, classes, deferred, held })
    }

    /// Persons these identifiers name, with all peers, that still have keys.
    ///
    /// # Errors
    /// `NotFound` when there are none.
    pub fn persons_named(&self, identifiers: &[Identifier]) -> Result<Vec<PersonId>> {
        let mut persons = Vec::new();
        for identifier in identifiers {
            persons.extend(self.inner.keys.persons_of(identifier)?);
        }
        let persons = unique(persons);
        let mut living = Vec::new();
        for person in persons {
            if self.inner.keys.person(&person)?.is_some_and(|cell| !cell.retired) {
                living.push(person);
            }
        }
        match living.is_empty() {
            true => Err(Error::NotFound { code: "SUBJECT_UNKNOWN" }),
            false => Ok(living),
        }
    }

    /// Classes to destroy now, and those the law or a class-day hold keeps.
    fn split_classes(
        &self,
        persons: &[PersonId],
        now: UtcNanos,
    ) -> Result<(Vec<ClassId>, Vec<Deferred>)> {
        let mut classes = Vec::new();
        for person in persons {
            let cell = self.inner.keys.person(person)?;
            classes.extend(cell.iter().flat_map(|c| c.keys.iter().map(|k| k.class)));
        }
        classes.sort_unstable();
        classes.dedup();
        let (mut now_classes, mut deferred) = (Vec::new(), Vec::new());
        for class in classes {
            match self.why_deferred(persons, class, now)? {
                Some(why) => deferred.push(why),
                None => now_classes.push(class),
            }
        }
        Ok((now_classes, deferred))
    }

    fn why_deferred(
        &self,
        persons: &[PersonId],
        class: ClassId,
        now: UtcNanos,
    ) -> Result<Option<Deferred>> {
        let over_days =
            |scope: &Scope| matches!(scope, Scope::ClassDays { class: c, .. } if *c == class);
        let held = self.facts().holds.iter().find_map(|(case, scopes)| {
            scopes.iter().any(|(_, scope)| over_days(scope)).then_some(*case)
        });
        if let Some(case) = held {
            let (why, law) = ("hold".to_owned(), case.to_string());
            return Ok(Some(Deferred { class, why, law, due: None }));
        }
        let policies = self.policies();
        let Some(floor) = policies.classes().get(class).and_then(|c| c.floor.clone()) else {
            return Ok(None);
        };
        let last = self.entries_of_persons(persons, Some(class))?.last().copied();
        let Some((_, last)) = last else { return Ok(None) };
        let bucket = self.entry(last)?.time_log.day();
        let due = UtcNanos(bucket.end().0.saturating_add(u64::from(floor.days) * NANOS_PER_DAY));
        let law = floor.law.clone();
        let deferred = Deferred { class, why: "floor".to_owned(), law, due: Some(due) };
        Ok((due > now).then_some(deferred))
    }

    /// Erases a person, or as much of one as law and holds allow today.
    ///
    /// # Errors
    /// `Held` naming the cases, `Denied` without two people, `NotFound` when nobody is known.
    pub fn erase(&self, identifiers: &[Identifier], basis: &str, order: &Order) -> Result<Erased> {
        self.writable()?;
        let mode = order.mode()?;
        let persons = self.persons_named(identifiers)?;
        self.erase_persons(&persons, basis, mode, order.fields())
    }

    pub(crate) fn erase_persons(
        &self,
        persons: &[PersonId],
        basis: &str,
        mode: Mode,
        by: Vec<(&'static str, String)>,
    ) -> Result<Erased> {
        let (classes, deferred) = self.split_classes(persons, self.inner.clock.now())?;
        let intent = self.prepare_act(Verb::Erase, ClassId(VAULT_CLASS), by)?;
        let evidence = self.evidence(persons, &classes)?;
        let job = JobId(random(&*self.inner.world.entropy));
        let keys = &self.inner.keys;
        let mut tree = keys.tree();
        let plan = EraseIntent {
            job,
            persons: persons.to_vec(),
            basis: basis.to_owned(),
            mode,
            classes,
            deferred,
            generation: tree.generation(),
        };
        let guarded = persons.to_vec();
        let check: Check = Box::new(move |facts| {
            let cases = facts.holds_on_persons(&guarded);
            match cases.is_empty() {
                true => Ok(()),
                false => Err(Error::Held { cases }),
            }
        });
        let clear = control::encode(&plan)?;
        let asked = self.commit_act(Kind::EraseIntent, clear, intent, Some(check))?;
        let (rekeyed, done) = self.finish_erasure(&mut tree, &plan, asked.first, evidence.act)?;
        drop(tree);
        self.checkpoint()?;
        Ok(Erased {
            job,
            intent: asked.first,
            done: done.first,
            persons: plan.persons,
            records: evidence.records,
            deferred: plan.deferred,
            bytes_written: rekeyed.bytes_written,
        })
    }

    /// Steps 2 to 5: evict, re-key and scrub, then say so in the log.
    pub(crate) fn finish_erasure(
        &self,
        tree: &mut KeyTree,
        plan: &EraseIntent,
        intent: EntryIndex,
        evidence: Prepared,
    ) -> Result<(Rekeyed, Committed)> {
        let keys = &self.inner.keys;
        keys.evict();
        let changes = removal(tree, keys, &plan.persons, &plan.classes)?;
        let rekeyed = tree.rekey(changes, self.log_head(), &*self.inner.world.entropy)?;
        keys.evict();
        let done = EraseDone {
            job: plan.job,
            intent,
            persons: plan.persons.clone(),
            classes: plan.classes.clone(),
            deferred: plan.deferred.clone(),
            root: root_change(&rekeyed),
            store: "D".to_owned(),
            replicas: "1/1".to_owned(),
        };
        let clear = control::encode(&done)?;
        let done = self.commit_act(Kind::EraseDone, clear, evidence, None)?;
        Ok((rekeyed, done))
    }

    /// The sealed part of the done entry: which tags the erasure reached, and how many records.
    pub(crate) fn evidence(&self, persons: &[PersonId], classes: &[ClassId]) -> Result<Evidence> {
        let now = self.inner.clock.now();
        let mut tags: Vec<SubjectTag> = Vec::new();
        for person in persons {
            if let Some(cell) = self.inner.keys.person(person)? {
                let own = Keyring::tags_of(&cell, classes, now.day().month());
                tags.extend(own.into_iter().map(|(_, tag)| tag));
            }
        }
        tags.sort_unstable();
        let found = self.entries_of_persons(persons, None)?;
        let mut entries: Vec<EntryIndex> =
            found.into_iter().filter(|(c, _)| classes.contains(c)).map(|(_, i)| i).collect();
        entries.sort_unstable();
        entries.dedup();
        let records = entries.len() as u64;
        let json = |value: serde_json::Value| value.to_string().into_bytes();
        let fields = vec![
            ("erasure.records", json(records.into())),
            ("erasure.tags", json(serde_json::to_value(&tags).unwrap_or_default())),
        ];
        let class = ClassId(EVIDENCE_CLASS);
        let act = self.prepare_json_act(Verb::Erase, class, fields, now)?;
        Ok(Evidence { act, records })
    }

    /// Erases what earlier erasures had to leave, as far as it is due now.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn complete_deferred(&self) -> Result<Vec<Erased>> {
        let owed: Vec<(Vec<PersonId>, String)> = {
            let facts = self.facts();
            let deferring = facts.erasures.values().filter(|e| !e.plan.deferred.is_empty());
            deferring.map(|e| (e.plan.persons.clone(), e.plan.basis.clone())).collect()
        };
        let mut done = Vec::new();
        for (persons, basis) in owed {
            let mut left = Vec::new();
            for person in &persons {
                if self.inner.keys.person(person)?.is_some() {
                    left.push(*person);
                }
            }
            if left.is_empty() || !self.facts().holds_on_persons(&left).is_empty() {
                continue;
            }
            let (classes, _) = self.split_classes(&left, self.inner.clock.now())?;
            if !classes.is_empty() {
                let by = vec![("order.requested_by", "schedule".to_owned())];
                done.push(self.erase_persons(&left, &basis, Mode::Scheduled, by)?);
            }
        }
        Ok(done)
    }

    /// Finishes erasures that a crash interrupted after their intent.
    pub(crate) fn redrive_erasures(&self) -> Result<()> {
        let open: Vec<(
            EntryIndex,
            EraseIntent,
            (crate::base::unit::Generation, crate::base::id::Hash32),
        )> = {
            let facts = self.facts();
            let open = facts.erasures.values().filter(|e| e.done.is_none());
            open.map(|e| (e.intent, e.plan.clone(), facts.root)).collect()
        };
        for (intent, plan, announced) in open {
            let evidence = self.evidence(&plan.persons, &plan.classes)?;
            let mut tree = self.inner.keys.tree();
            if tree.generation() == announced.0 {
                self.finish_erasure(&mut tree, &plan, intent, evidence.act)?;
                continue;
            }
            // The root had changed before the crash: only the done entry is missing.
            let root = control::RootChange {
                from: announced.0,
                to: tree.generation(),
                old_root: announced.1,
                new_root: tree.root_hash(),
            };
            let done = EraseDone {
                job: plan.job,
                intent,
                persons: plan.persons,
                classes: plan.classes,
                deferred: plan.deferred,
                root,
                store: "D".to_owned(),
                replicas: "1/1".to_owned(),
            };
            self.commit_act(Kind::EraseDone, control::encode(&done)?, evidence.act, None)?;
        }
        Ok(())
    }

    /// Links identifiers: from now on they are one person, and are erased together.
    ///
    /// # Errors
    /// `Invalid` when a limit is passed.
    pub fn link(&self, identifiers: &[Identifier], order: &Order) -> Result<PersonId> {
        self.writable()?;
        if order.requested_by.trim().is_empty() {
            return Err(Error::denied("TWO_PEOPLE", "say who asks: --requested-by"));
        }
        let keys = &self.inner.keys;
        let mut tree = keys.tree();
        let day = self.inner.clock.now().day();
        let (changes, person) = {
            let facts = self.facts();
            let entropy = &*self.inner.world.entropy;
            let directory = keys.directory();
            let mut lesson =
                crate::vault::learn::Lesson::new(&tree, directory, &facts, entropy, day);
            let subject = crate::base::event::Subject { identifiers: identifiers.to_vec() };
            let person = lesson.subject(&subject)?;
            (lesson.changes(), person)
        };
        self.put(&mut tree, changes)?;
        keys.evict();
        Ok(person)
    }
}

/// Evidence of an erasure, ready to append.
pub(crate) struct Evidence {
    pub(crate) act: Prepared,
    pub(crate) records: u64,
}

/// Code of erasure entries.
pub const ERASE: crate::base::event::EventCode = vault_code(Verb::Erase);

type Changes = Vec<(CellKey, Option<Zeroizing<Vec<u8>>>)>;

/// Cells to remove or replace so that these persons' keys of these classes are gone. A person
/// with nothing left goes as a whole, links and lookup with it; one that must stay in part loses
/// its pseudonyms and is retired: identifiers find it only together with whoever comes after.
fn removal(
    tree: &KeyTree,
    keys: &Keyring,
    persons: &[PersonId],
    classes: &[ClassId],
) -> Result<Changes> {
    let directory = keys.directory();
    let mut identifiers: HashMap<CellKey, cell::IdentifierCell> = HashMap::new();
    let mut changes: Changes = Vec::new();
    for person in persons {
        let Some(found) = keys::read_person(tree, directory, person)? else { continue };
        let links = found.links.clone();
        let rest = remains(found, classes);
        let gone = rest.is_none();
        let cell = rest.map(|rest| Cell::Person(rest).encode());
        changes.push((cell::person_key(directory, person), cell));
        for link in links {
            if !identifiers.contains_key(&link) {
                let Some(Cell::Identifier(cell)) = keys::read_cell(tree, &link)? else { continue };
                identifiers.insert(link, cell);
            }
            if let Some(cell) = identifiers.get_mut(&link) {
                unlink(cell, person, gone);
            }
        }
    }
    for (key, cell) in identifiers {
        let left = !cell.persons.is_empty();
        changes.push((key, left.then(|| Cell::Identifier(cell).encode())));
    }
    Ok(changes)
}

/// What stays of a person, if anything.
fn remains(mut cell: PersonCell, classes: &[ClassId]) -> Option<PersonCell> {
    cell.keys.retain(|key| !classes.contains(&key.class));
    cell.retired = true;
    cell.token = crate::base::secret::Key::new([0; 32]);
    (!cell.keys.is_empty()).then_some(cell)
}

fn unlink(cell: &mut cell::IdentifierCell, person: &PersonId, gone: bool) {
    let current = cell.current.and_then(|at| cell.persons.get(usize::from(at)).copied());
    if gone {
        cell.persons.retain(|p| p != person);
    }
    let still = current.filter(|c| c != person);
    let place = still.and_then(|c| cell.persons.iter().position(|p| *p == c));
    cell.current = place.and_then(|at| u8::try_from(at).ok());
}
