//! Holds: what a case covers stays, whoever asks. It never keeps anything alive that has already
//! gone, and it says so.

use crate::base::entry::Kind;
use crate::base::event::{Dedupe, Event, Field, Group, Identifier, Outcome, Severity, Verb};
use crate::base::id::{CaseId, PersonId, SubjectTag};
use crate::base::limits::VAULT_CLASS;
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex};
use crate::base::world::random;
use crate::format::cell::PersonCell;
use crate::format::control::{self, Mode, Scope};
use crate::store::keytree::KeyTree;
use crate::vault::append::unique;
use crate::vault::clerk::Clerk;
use crate::vault::error::{Error, Result};
use crate::vault::keys::{self, BatchKeys, Keyring};
use crate::vault::read::Reading;
use crate::vault::seal::{Act, Sealed};
use crate::vault::sequencer::{Check, Committed};
use crate::vault::tagged::first_day;
use crate::vault::{Vault, vault_code};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest name of a person in an order.
const NAME_BYTES_MAX: usize = 128;

/// Who asks for an act that needs two people. The names are what these people say of themselves:
/// that they are two different strings nobody could mistake for each other is all that is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// Who asks: printable ASCII, single inner spaces.
    pub requested_by: String,
    /// Who approves; somebody else.
    pub approved_by: Option<String>,
    /// Nobody else is there, and every receipt may say so.
    pub single_operator: bool,
}

impl std::fmt::Debug for Order {
    /// No names: they belong in sealed fields only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let approved = self.approved_by.is_some();
        write!(f, "Order(approved: {approved}, single_operator: {})", self.single_operator)
    }
}

/// A name as it is compared: two spellings that look alike must not count as two people, so
/// there is nothing in it but printable ASCII and single spaces.
fn tidy(name: &str) -> Result<String> {
    let name = name.trim_matches(' ');
    let plain = name.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && !name.contains("  ");
    match plain && name.len() <= NAME_BYTES_MAX {
        true => Ok(name.to_ascii_lowercase()),
        false => {
            let fix = "names of people are at most 128 printable ASCII characters with single \
                       spaces, so that no two look alike: give an account name or an address";
            Err(Error::denied("NAME_NOT_PLAIN", fix))
        }
    }
}

impl Order {
    /// Name of who asks, as it is compared.
    ///
    /// # Errors
    /// `Denied`: `NAME_NOT_PLAIN`, or `TWO_PEOPLE` when nobody is named.
    pub(crate) fn requester(&self) -> Result<String> {
        let requester = tidy(&self.requested_by)?;
        match requester.is_empty() {
            true => Err(Error::denied("TWO_PEOPLE", "say who asks: --requested-by")),
            false => Ok(requester),
        }
    }

    /// The mode this order has, if it may go ahead.
    ///
    /// # Errors
    /// `Denied`: `TWO_PEOPLE` unless two different people stand behind it, `NAME_NOT_PLAIN` for
    /// a name that could be mistaken for another.
    pub fn mode(&self) -> Result<Mode> {
        let requester = self.requester()?;
        match self.approved_by.as_deref().map(tidy).transpose()? {
            Some(approver) if !approver.is_empty() && approver != requester => Ok(Mode::TwoPerson),
            None if self.single_operator => Ok(Mode::SingleOperator),
            _ => {
                let fix = "another person must approve: --approved-by; or say --single-operator, \
                           which every receipt will print";
                Err(Error::denied("TWO_PEOPLE", fix))
            }
        }
    }

    /// Sealed fields that say who it was.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("order.requested_by", self.requested_by.clone())];
        if let Some(approver) = &self.approved_by {
            fields.push(("order.approved_by", approver.clone()));
        }
        fields
    }
}

/// An act with sealed text fields, its keys already looked up.
pub(crate) struct Prepared {
    event: Event<'static>,
    keys: BatchKeys,
    day: crate::base::unit::Day,
}

impl Prepared {
    /// Seals the act as it is, for whoever gives it its place.
    pub(crate) fn seal(self, clerk: &Clerk, kind: Kind, clear: Vec<u8>) -> Result<Sealed> {
        clerk.sealer(self.day).act(&Act { kind, clear }, &self.event, &self.keys)
    }

    /// Gives one of its fields another value; the keys do not depend on it.
    pub(crate) fn set(&mut self, name: &str, value: &impl serde::Serialize) {
        let fields = self.event.groups.iter_mut().flat_map(|group| &mut group.fields);
        for field in fields.filter(|field| &*field.name == name) {
            field.value = Cow::Owned(serde_json::to_vec(value).unwrap_or_default());
        }
    }
}

impl Vault {
    /// Names of the active cases; one whose name cannot be opened is called by its handle.
    ///
    /// # Errors
    /// Those of the store.
    pub fn hold_names(&self) -> Result<BTreeMap<CaseId, String>> {
        let name = |index: EntryIndex| -> Result<Option<String>> {
            let record = match self.record(index, Reading::OPEN) {
                Ok(record) => record,
                Err(error @ Error::Unavailable(_)) => return Err(error),
                Err(_) => return Ok(None),
            };
            let value = record.value("case.name");
            Ok(value.and_then(|value| serde_json::from_slice::<String>(value).ok()))
        };
        let mut names = BTreeMap::new();
        for (case, scopes) in self.facts_now().holds {
            let first = match scopes.first() {
                Some((index, _)) => name(*index)?,
                None => None,
            };
            names.insert(case, first.unwrap_or_else(|| format!("case {case}")));
        }
        Ok(names)
    }

    /// Sets a hold. Returns the case handle; setting a further scope names the same case.
    ///
    /// # Errors
    /// `Denied` without a requester; `NotFound` for a person nobody knows or a class nobody
    /// defined; `Invalid` `HOLD_RANGE` for days that end before they begin.
    pub fn set_hold(
        &self,
        case: Option<CaseId>,
        name: &str,
        scope: Scope,
        order: &Order,
    ) -> Result<(CaseId, EntryIndex)> {
        self.writable()?;
        // Setting a hold only keeps; one person may.
        order.requester()?;
        let mode = order.mode().unwrap_or(Mode::SingleOperator);
        self.covers_something(&scope)?;
        let case = case.unwrap_or_else(|| CaseId(random(&*self.inner.world.entropy)));
        let mut fields = order.fields();
        fields.push(("case.name", name.to_owned()));
        let prepared = self.prepare_act(Verb::Hold, ClassId(VAULT_CLASS), fields)?;
        let clear = control::encode(&control::HoldSet { case, scope: scope.clone(), mode })?;
        let person = match &scope {
            Scope::Person { person } => Some(*person),
            Scope::ClassDays { .. } => None,
        };
        // What an erasure left of a person can be held; a person whose erasure is open cannot:
        // it will be completed, whatever is said now.
        let check: Check = Box::new(move |facts| {
            let going = |person: &PersonId| {
                let open = facts.erasures.values().filter(|e| e.done.is_none());
                open.into_iter().any(|e| e.plan.persons.contains(person))
            };
            match &scope {
                Scope::Person { person } if going(person) => {
                    Err(Error::NotFound { code: "SUBJECT_UNKNOWN" })
                }
                _ => Ok(()),
            }
        });
        // The key tree is held so that no erasure or expiry passes between check and entry.
        let tree = self.inner.keys.tree();
        if let Some(person) = person
            && self.cells_of(&tree, &[person])?.is_empty()
        {
            return Err(Error::NotFound { code: "SUBJECT_UNKNOWN" });
        }
        let done = self.commit_act(Kind::HoldSet, clear, prepared, Some(check))?;
        Ok((case, done.first))
    }

    /// Refuses a scope that could never cover anything.
    fn covers_something(&self, scope: &Scope) -> Result<()> {
        let Scope::ClassDays { class, from, to } = scope else { return Ok(()) };
        if from > to || *to > Day::LAST {
            let fix = "a hold's last day lies not before its first, nor after 2554-07-21, which \
                       means without end";
            return Err(Refusal::new("HOLD_RANGE", fix).into());
        }
        let used = self.facts().groups.keys().any(|day| day.class == *class);
        match used || self.policies().classes().get(*class).is_some() {
            true => Ok(()),
            false => Err(Error::NotFound { code: "HOLD_CLASS_UNKNOWN" }),
        }
    }

    /// Persons a hold on these identifiers covers: with all peers, and with what erasures had to
    /// leave of earlier handles.
    ///
    /// # Errors
    /// `NotFound` when nothing is left of anybody they name.
    pub fn persons_to_hold(&self, identifiers: &[Identifier]) -> Result<Vec<PersonId>> {
        let tree = self.inner.keys.tree();
        let mut persons = Vec::new();
        for identifier in identifiers {
            persons.extend(keys::persons_in(&tree, self.inner.keys.directory(), identifier)?);
        }
        let left = self.cells_of(&tree, &unique(persons))?;
        match left.is_empty() {
            true => Err(Error::NotFound { code: "SUBJECT_UNKNOWN" }),
            false => Ok(left.into_iter().map(|cell| cell.id).collect()),
        }
    }

    /// Releases a case. What its holds deferred becomes due at the next retention run.
    ///
    /// # Errors
    /// `Denied` without two people; `NotFound` for a case without an active hold.
    pub fn release_hold(&self, case: CaseId, order: &Order) -> Result<EntryIndex> {
        self.writable()?;
        let mode = order.mode()?;
        let prepared = self.prepare_act(Verb::Release, ClassId(VAULT_CLASS), order.fields())?;
        let clear = control::encode(&control::HoldRelease { case, mode })?;
        let check: Check = Box::new(move |facts| match facts.holds.contains_key(&case) {
            true => Ok(()),
            false => Err(Error::NotFound { code: "HOLD_UNKNOWN" }),
        });
        let done = self.commit_act(Kind::HoldRelease, clear, prepared, Some(check))?;
        Ok(done.first)
    }

    /// All handles of the humans behind these, and the cases that hold one of them: a hold is on
    /// the human, also on the handle that came after an erasure had to leave the one it names.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn holds_on_humans(
        &self,
        tree: &KeyTree,
        persons: &[PersonId],
    ) -> Result<(Vec<PersonId>, Vec<CaseId>)> {
        let cells = keys::same_human(tree, self.inner.keys.directory(), persons)?;
        let humans: Vec<PersonId> = cells.into_iter().map(|cell| cell.id).collect();
        let cases = self.facts().holds_on_persons(&humans);
        Ok((humans, cases))
    }

    /// Class-days in which these persons have sealed groups.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn class_days_of(&self, cells: &[PersonCell]) -> Result<BTreeSet<ClassDay>> {
        let mut days = BTreeSet::new();
        let found = self.entries_of_cells(cells, None)?;
        let wanted: BTreeSet<(EntryIndex, ClassId)> = found.iter().map(|(c, i)| (*i, *c)).collect();
        let mut at: Vec<EntryIndex> = wanted.iter().map(|(index, _)| *index).collect();
        at.dedup();
        self.for_entries_at(&at, &mut |entry| {
            let of = entry.head.groups.iter().filter(|g| wanted.contains(&(entry.index, g.class)));
            days.extend(of.map(|g| ClassDay { class: g.class, day: g.bucket }));
            Ok(())
        })?;
        Ok(days)
    }

    /// Cells of those of these persons that have one.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn cells_of(&self, tree: &KeyTree, persons: &[PersonId]) -> Result<Vec<PersonCell>> {
        let directory = self.inner.keys.directory();
        let cells = persons.iter().map(|person| keys::read_person(tree, directory, person));
        Ok(cells.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Entries that bear a tag of these persons, with the tag's class; ascending.
    ///
    /// # Errors
    /// Those of the store.
    pub fn entries_of_persons(
        &self,
        persons: &[PersonId],
        only: Option<ClassId>,
    ) -> Result<Vec<(ClassId, EntryIndex)>> {
        let cells = self.cells_of(&self.inner.keys.tree(), persons)?;
        self.entries_of_cells(&cells, only)
    }

    /// As `entries_of_persons`, from cells already read.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn entries_of_cells(
        &self,
        cells: &[PersonCell],
        only: Option<ClassId>,
    ) -> Result<Vec<(ClassId, EntryIndex)>> {
        let until = self.inner.clock.now().day().month();
        let (mut found, mut tags) = (Vec::new(), Vec::new());
        for cell in cells {
            let classes = cell.keys.iter().map(|k| k.class);
            let wanted: Vec<ClassId> =
                classes.filter(|c| only.is_none_or(|only| only == *c)).collect();
            tags.extend(Keyring::tags_of(cell, &wanted, until));
        }
        let asked: Vec<SubjectTag> = tags.iter().map(|(_, tag)| *tag).collect();
        let hits = self.entries_of_tags(&asked, first_day(cells))?;
        for (class, tag) in tags {
            let own = hits.get(&tag).into_iter().flatten();
            found.extend(own.map(|index| (class, *index)));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Looks up the keys of an act with text fields sealed to the tenant.
    pub(crate) fn prepare_act(
        &self,
        verb: Verb,
        class: ClassId,
        fields: Vec<(&'static str, String)>,
    ) -> Result<Prepared> {
        let now = self.inner.clock.now();
        let json = |text: String| serde_json::Value::String(text).to_string().into_bytes();
        let values = fields.into_iter().map(|(name, text)| (name, json(text)));
        self.prepare_json_act(verb, class, values.collect(), now)
    }

    /// As `prepare_act`, from JSON texts.
    pub(crate) fn prepare_json_act(
        &self,
        verb: Verb,
        class: ClassId,
        fields: Vec<(&'static str, Vec<u8>)>,
        now: crate::base::unit::UtcNanos,
    ) -> Result<Prepared> {
        let mut fields: Vec<Field<'static>> = fields
            .into_iter()
            .map(|(name, value)| Field { name: name.into(), value: Cow::Owned(value) })
            .collect();
        fields.sort_by_key(|field| field.name);
        let event = Event {
            time: now,
            source: Arc::from("vault"),
            dedupe: Dedupe::None,
            code: vault_code(verb),
            outcome: Outcome::Success,
            severity: Severity::default(),
            class,
            clear: Vec::new(),
            subjects: Vec::new(),
            groups: vec![Group { subjects: SubjectSet::NONE, fields }],
        };
        let day = now.day();
        let keys = self.keys_for(std::slice::from_ref(&event), day)?;
        Ok(Prepared { event, keys, day })
    }

    /// Appends a prepared act.
    pub(crate) fn commit_act(
        &self,
        kind: Kind,
        clear: Vec<u8>,
        prepared: Prepared,
        check: Option<Check>,
    ) -> Result<Committed> {
        let Prepared { event, keys, day } = prepared;
        self.inner.clerk.act(&Act { kind, clear }, &event, keys, day, check)
    }
}
