//! Erasure: a person's keys are destroyed, by the six steps of `docs/format.md` section 9, and
//! every record stays provable. It never promises that nobody kept a copy: the receipt says
//! what was destroyed, where, and what lies outside the promise.
//!
//! Order: keys of the evidence are made; the key tree is held; intent (checked against holds at
//! its index) ; cache evicted ; new path and root slot, old slot destroyed ; done ; checkpoint.
//! The intent carries the evidence too, since after a crash nobody could derive it any more.

mod plan;

use crate::base::entry::Kind;
use crate::base::event::{Identifier, Verb};
use crate::base::id::{CaseId, JobId, PersonId, SubjectTag};
use crate::base::limits::EVIDENCE_CLASS;
use crate::base::unit::{ClassId, Day, EntryIndex, Month};
use crate::base::world::random;
use crate::format::cell::{self, Cell, CellKey, PersonCell};
use crate::format::control::{self, Deferred, EraseDone, EraseIntent, Mode};
use crate::store::error::ErrorKind;
use crate::store::keytree::KeyTree;
use crate::vault::append::{root_change, unique};
use crate::vault::erase::plan::{allowed, bounded, untouched};
use crate::vault::error::{Error, Result};
use crate::vault::facts::Erasure;
use crate::vault::hold::{Order, Prepared};
use crate::vault::keys::{self, Keyring};
use crate::vault::sequencer::Check;
use crate::vault::tagged::first_day;
use crate::vault::{Vault, vault_code};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zeroize::Zeroizing;

/// Handles one erasure may name: its entries must be writable when the keys are gone.
pub const ERASURE_PERSONS_MAX: usize = 64;
/// Longest basis of an erasure: a code, not a story.
const BASIS_BYTES_MAX: usize = 64;
/// Integers of control payloads stay below 2^53.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Sealed field of the evidence: tags of the records an erasure reached.
const TAGS: &str = "erasure.tags";
/// Sealed field of the evidence: how many records those are.
const RECORDS: &str = "erasure.records";

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
    /// Records that cannot be read any more; none where rot kept them from being counted.
    pub records: Option<u64>,
    /// Classes that stay, and why.
    pub deferred: Vec<Deferred>,
    /// Bytes written to the key plane; 0 where it had been done before.
    pub bytes_written: u64,
}

impl Vault {
    /// What an erasure of these identifiers would reach.
    ///
    /// # Errors
    /// `NotFound` when nobody is known by them: the same for never seen and already erased.
    pub fn preview_erasure(&self, identifiers: &[Identifier]) -> Result<Preview> {
        let tree = self.inner.keys.tree();
        let cells = self.living(&tree, identifiers)?;
        let ground = self.ground(&tree)?;
        let persons: Vec<PersonId> = cells.iter().map(|cell| cell.id).collect();
        let (_, held) = self.holds_on_humans(&tree, &persons)?;
        drop(tree);
        let mut records: BTreeMap<ClassId, u64> = BTreeMap::new();
        for (class, _) in self.entries_of_cells(&cells, None)? {
            *records.entry(class).or_default() += 1;
        }
        let (classes, deferred) = self.split_classes(&cells, &ground)?;
        let identifiers = self.inner.keys.identifiers_of(&persons)?;
        Ok(Preview { persons, identifiers, records, classes, deferred, held })
    }

    /// Persons these identifiers name, with all peers, that still have keys.
    ///
    /// # Errors
    /// `NotFound` when there are none.
    pub fn persons_named(&self, identifiers: &[Identifier]) -> Result<Vec<PersonId>> {
        let cells = self.living(&self.inner.keys.tree(), identifiers)?;
        Ok(cells.into_iter().map(|cell| cell.id).collect())
    }

    /// Cells of the persons these identifiers name, with all peers, but those erased in part.
    fn living(&self, tree: &KeyTree, identifiers: &[Identifier]) -> Result<Vec<PersonCell>> {
        let mut persons = Vec::new();
        for identifier in identifiers {
            persons.extend(keys::persons_in(tree, self.inner.keys.directory(), identifier)?);
        }
        let mut living = self.cells_of(tree, &unique(persons))?;
        living.retain(|cell| !cell.retired);
        match living.is_empty() {
            true => Err(Error::NotFound { code: "SUBJECT_UNKNOWN" }),
            false => Ok(living),
        }
    }

    /// Erases a person, or as much of one as law and holds allow today.
    ///
    /// # Errors
    /// `Held` naming the cases, `Denied` without two people or for a basis that is no code,
    /// `NotFound` when nobody is known, `Invalid` `ERASURE_TOO_LARGE` for more than
    /// `ERASURE_PERSONS_MAX` handles.
    pub fn erase(&self, identifiers: &[Identifier], basis: &str, order: &Order) -> Result<Erased> {
        self.erase_under(None, identifiers, basis, order)
    }

    /// As `erase`, under a handle that was chosen before and written down: what was asked under it
    /// already is finished where it is open, and answered as it was done. No handle ever gets a
    /// second intent.
    ///
    /// # Errors
    /// As `erase`; `Conflict` `JOB_KNOWN` when another caller asked under this handle meanwhile.
    pub fn erase_as(
        &self,
        job: JobId,
        identifiers: &[Identifier],
        basis: &str,
        order: &Order,
    ) -> Result<Erased> {
        self.writable()?;
        match self.resume_erasure(job)? {
            Some(erased) => Ok(erased),
            None => self.erase_under(Some(job), identifiers, basis, order),
        }
    }

    /// What was done under a handle; an erasure that is open is finished first. Nothing when none
    /// was asked for under it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn resume_erasure(&self, job: JobId) -> Result<Option<Erased>> {
        let asked = self.facts().erasures.get(&job).cloned();
        let Some(Erasure { intent, plan, .. }) = asked else { return Ok(None) };
        self.finish_asked(intent, &plan).map(Some)
    }

    fn erase_under(
        &self,
        job: Option<JobId>,
        identifiers: &[Identifier],
        basis: &str,
        order: &Order,
    ) -> Result<Erased> {
        self.writable()?;
        let mode = order.mode()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if basis.is_empty() || basis.len() > BASIS_BYTES_MAX || !basis.bytes().all(plain) {
            let fix = "the basis stands in clear for ever: give a code such as gdpr-17-1 of \
                       letters, digits and -._: only";
            return Err(Error::denied("BASIS_NOT_A_CODE", fix));
        }
        // Before the key tree is held, since it may take a while.
        let cells = self.living(&self.inner.keys.tree(), identifiers)?;
        self.prove_index(first_day(&cells)).map_err(untouched)?;
        let whom = |tree: &KeyTree| self.living(tree, identifiers);
        self.erase_whom(job, &whom, basis, mode, order.fields())
    }

    /// The keys of both entries are made first; then the key tree is held, and with it whom and
    /// what this is about: nobody joins, is linked or gets another key meanwhile.
    fn erase_whom(
        &self,
        job: Option<JobId>,
        whom: &dyn Fn(&KeyTree) -> Result<Vec<PersonCell>>,
        basis: &str,
        mode: Mode,
        by: Vec<(&'static str, String)>,
    ) -> Result<Erased> {
        self.has_room_to_act()?;
        let mut intent = self.evidence(by)?;
        let evidence = self.evidence(Vec::new())?;
        let mut tree = self.inner.keys.tree();
        self.announce_root(&tree)?;
        let cells = whom(&tree)?;
        let (classes, deferred, tags) = self.decide(&tree, &cells).map_err(untouched)?;
        // If a crash takes the keys before the done entry, the tags are only here.
        intent.set(TAGS, &tags);
        let plan = EraseIntent {
            job: job.unwrap_or_else(|| JobId(random(&*self.inner.world.entropy))),
            persons: cells.iter().map(|cell| cell.id).collect(),
            basis: basis.to_owned(),
            mode,
            classes,
            deferred,
            generation: tree.generation(),
        };
        bounded(&plan)?;
        let (planned, humans) = (plan.clone(), self.holds_on_humans(&tree, &plan.persons)?.0);
        let check: Check = Box::new(move |facts| allowed(&planned, &humans, facts));
        let clear = control::encode(&plan)?;
        let asked = self.commit_act(Kind::EraseIntent, clear, intent, Some(check))?;
        let finished =
            self.finish_erasure(&mut tree, &plan, asked.first, evidence, Some(Vec::new()))?;
        drop(tree);
        self.checkpoint()?;
        Ok(finished)
    }

    /// What would go, what stays, and the tags of what goes. All that deciding and counting read
    /// is read here, since nothing that cannot be read may stop an erasure behind its intent.
    fn decide(
        &self,
        tree: &KeyTree,
        cells: &[PersonCell],
    ) -> Result<(Vec<ClassId>, Vec<Deferred>, Vec<SubjectTag>)> {
        let (classes, deferred) = self.split_classes(cells, &self.ground(tree)?)?;
        let tags = self.tags(cells, &classes);
        self.count_of_tags(&tags, first_day(cells))?;
        Ok((classes, deferred, tags))
    }

    /// Steps 2 to 5: evict, re-key and scrub, then say so in the log. `known` are tags the intent
    /// names, for persons whose keys are gone already; none where it cannot be read. Whatever has
    /// rotted, this goes on: an open intent that cannot be carried out opens no vault.
    fn finish_erasure(
        &self,
        tree: &mut KeyTree,
        plan: &EraseIntent,
        intent: EntryIndex,
        mut evidence: Prepared,
        known: Option<Vec<SubjectTag>>,
    ) -> Result<Erased> {
        let keys = &self.inner.keys;
        keys.evict();
        // Only now is every record of these persons in the log: a floor may have begun to apply,
        // or a record have come that also is of somebody held.
        let cells = self.cells_of(tree, &plan.persons)?;
        let (free, mut deferred) = self.split_what_is_left(&cells, tree)?;
        // What only fell due since the intent was not asked for: it stays listed, so that the
        // schedule asks for it.
        deferred.extend(plan.deferred.iter().filter(|d| free.contains(&d.class)).cloned());
        let stays = |class: &ClassId| deferred.iter().any(|d| d.class == *class);
        let classes: Vec<ClassId> = plan.classes.iter().filter(|c| !stays(c)).copied().collect();
        let whole = known.is_some();
        let known = known.unwrap_or_default();
        // Tags known from the intent may be of persons whose cells are gone.
        let since = if known.is_empty() { first_day(&cells) } else { Day(0) };
        let tags = unique([known, self.tags(&cells, &classes)].concat());
        let records = self.count_of_tags(&tags, since).ok().filter(|_| whole);
        evidence.set(TAGS, &tags);
        evidence.set(RECORDS, &records);
        let changes = removal(tree, keys, &plan.persons, &classes)?;
        let rekeyed = tree.rekey(changes, self.log_head(), &*self.inner.world.entropy)?;
        let replicas = tree.replicas();
        keys.evict();
        let done = EraseDone {
            job: plan.job,
            intent,
            persons: plan.persons.clone(),
            classes,
            deferred: deferred.clone(),
            root: root_change(&rekeyed),
            store: "D".to_owned(),
            replicas: replicas.text(),
            missed: replicas.away.map(|(id, _)| id),
        };
        let clear = control::encode(&done)?;
        let done = self.commit_act(Kind::EraseDone, clear, evidence, None)?.first;
        let (job, persons) = (plan.job, plan.persons.clone());
        let bytes_written = rekeyed.bytes_written;
        Ok(Erased { job, intent, done, persons, records, deferred, bytes_written })
    }

    /// The sealed part of an erasure's entries, its keys looked up and its values still to come.
    fn evidence(&self, by: Vec<(&'static str, String)>) -> Result<Prepared> {
        let now = self.inner.clock.now();
        let json = |text: String| serde_json::Value::String(text).to_string().into_bytes();
        let mut fields: Vec<(&'static str, Vec<u8>)> =
            vec![(RECORDS, b"null".to_vec()), (TAGS, b"[]".to_vec())];
        fields.extend(by.into_iter().map(|(name, text)| (name, json(text))));
        self.prepare_json_act(Verb::Erase, ClassId(EVIDENCE_CLASS), fields, now)
    }

    /// Tags of these persons' records, one month more than there can be yet.
    fn tags(&self, cells: &[PersonCell], classes: &[ClassId]) -> Vec<SubjectTag> {
        let until = Month(self.inner.clock.now().day().month().0 + 1);
        let all = cells.iter().flat_map(|cell| Keyring::tags_of(cell, classes, until));
        unique(all.map(|(_, tag)| tag).collect())
    }

    /// Number of entries that bear any of these tags.
    fn count_of_tags(&self, tags: &[SubjectTag], since: Day) -> Result<u64> {
        let found = self.entries_of_tags(tags, since)?;
        let entries: BTreeSet<EntryIndex> = found.into_values().flatten().collect();
        Ok(entries.len() as u64)
    }

    /// Erases what earlier erasures had to leave, as far as it is due now.
    ///
    /// # Errors
    /// Those of the store; what has rotted of somebody, once everybody else was looked at.
    pub(crate) fn complete_deferred(&self) -> Result<Vec<Erased>> {
        let owed: Vec<(Vec<PersonId>, String)> = {
            let facts = self.facts();
            let done = facts.erasures.values().filter_map(|e| Some((e, &e.done.as_ref()?.2)));
            let deferring = done.filter(|(_, done)| !done.deferred.is_empty());
            deferring.map(|(e, done)| (done.persons.clone(), e.plan.basis.clone())).collect()
        };
        let (mut done, mut unread) = (Vec::new(), None);
        for (persons, basis) in owed {
            match self.complete_one(&persons, &basis) {
                Ok(erased) => done.extend(erased),
                // What has rotted of one person is no reason to leave the next.
                Err(error) if is_rot(&error) => unread = unread.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        unread.map_or(Ok(done), Err)
    }

    fn complete_one(&self, persons: &[PersonId], basis: &str) -> Result<Option<Erased>> {
        let tree = self.inner.keys.tree();
        let left = self.cells_of(&tree, persons)?;
        let (_, held) = self.holds_on_humans(&tree, persons)?;
        if left.is_empty() || !held.is_empty() {
            return Ok(None);
        }
        let ground = self.ground(&tree)?;
        drop(tree);
        if self.split_classes(&left, &ground)?.0.is_empty() {
            return Ok(None);
        }
        let by = vec![("order.requested_by", "schedule".to_owned())];
        let whom = |tree: &KeyTree| self.cells_of(tree, persons);
        self.erase_whom(None, &whom, basis, Mode::Scheduled, by).map(Some)
    }

    /// Finishes erasures that a crash interrupted after their intent. Doing one twice is harmless:
    /// what is gone stays gone under one more root.
    pub(crate) fn redrive_erasures(&self) -> Result<()> {
        let open: Vec<(EntryIndex, EraseIntent)> = {
            let facts = self.facts();
            let open = facts.erasures.values().filter(|e| e.done.is_none());
            open.map(|e| (e.intent, e.plan.clone())).collect()
        };
        for (intent, plan) in open {
            self.finish_asked(intent, &plan)?;
        }
        Ok(())
    }

    /// Finishes one that is open; one that is done by now is answered as it was done.
    fn finish_asked(&self, intent: EntryIndex, plan: &EraseIntent) -> Result<Erased> {
        let asked = self.own_record(intent).ok();
        let tags = asked.as_ref().and_then(|asked| asked.value(TAGS));
        let tags = tags.and_then(|list| serde_json::from_slice(list).ok());
        let evidence = self.evidence(Vec::new())?;
        let mut tree = self.inner.keys.tree();
        // Whoever was at it held the tree until the log said so.
        let done = self.facts().erasures.get(&plan.job).and_then(|e| e.done.clone());
        if let Some((done, _, said)) = done {
            drop(tree);
            let counted = self.own_record(done).ok();
            let counted = counted.as_ref().and_then(|record| record.value(RECORDS));
            let records = counted.and_then(|text| serde_json::from_slice(text).ok()).flatten();
            let control::EraseDone { job, persons, deferred, .. } = said;
            return Ok(Erased { job, intent, done, persons, records, deferred, bytes_written: 0 });
        }
        self.announce_root(&tree)?;
        self.finish_erasure(&mut tree, plan, intent, evidence, tags)
    }
}

/// Whether something stored is not what it was: the store itself may go on.
fn is_rot(error: &Error) -> bool {
    match error {
        Error::Evidence { .. } => true,
        Error::Unavailable(error) => error.kind == ErrorKind::Corrupt,
        _ => false,
    }
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
            let cell = match identifiers.entry(link) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(place) => match keys::read_cell(tree, &link)? {
                    Some(Cell::Identifier(cell)) => place.insert(cell),
                    _ => continue,
                },
            };
            unlink(cell, person, gone);
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
