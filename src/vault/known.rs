//! Acts about persons who are known: entries of the vault that bear their tags and are sealed under
//! their keys. Nobody becomes known by one, so that no act brings back whom an erasure took.

use crate::base::entry::Kind;
use crate::base::event::{Dedupe, Event, Field, Group, Identifier, Outcome, Severity};
use crate::base::event::{Subject, Verb};
use crate::base::id::{CaseId, PersonId};
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use crate::format::cell::Cell;
use crate::vault::append::{RESEALS_MAX, unique};
use crate::vault::clerk::Clerk;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys::{self, BatchKeys};
use crate::vault::seal::Act;
use crate::vault::sequencer::Rejected;
use crate::vault::{Vault, vault_code};
use std::borrow::Cow;
use std::sync::Arc;

/// Longest reason of an act about a person.
const REASON_BYTES_MAX: usize = 1_024;

/// A condition on the facts at the act's own index, asked anew for each try.
pub(crate) type Condition<'a> = &'a dyn Fn() -> Box<dyn FnOnce(&Facts) -> Result<()> + Send>;

impl Vault {
    /// A person that lives, with all other handles of the same person.
    ///
    /// # Errors
    /// `NotFound` `SUBJECT_UNKNOWN` for nobody, and for somebody erased, be it in part.
    pub fn handles_of(&self, person: &PersonId) -> Result<Vec<PersonId>> {
        let cell = self.inner.keys.person(person)?.filter(|cell| !cell.retired);
        let cell = cell.ok_or(Error::NotFound { code: "SUBJECT_UNKNOWN" })?;
        let mut all = cell.peers;
        all.push(cell.id);
        Ok(unique(all))
    }

    /// Cases that hold somebody with one of these handles.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cases_on(&self, persons: &[PersonId]) -> Result<Vec<CaseId>> {
        Ok(self.holds_on_humans(&self.inner.keys.tree(), persons)?.1)
    }

    /// Each of these persons as a subject: by one identifier that names that very handle now.
    pub(crate) fn subjects_of(&self, persons: &[PersonId]) -> Result<Vec<Subject>> {
        let tree = self.inner.keys.tree();
        let mut subjects = Vec::with_capacity(persons.len());
        for cell in self.cells_of(&tree, persons)? {
            let mut found: Option<Identifier> = None;
            for link in cell.links.iter().filter(|_| !cell.retired) {
                let Some(Cell::Identifier(named)) = keys::read_cell(&tree, link)? else { continue };
                let current = named.current.and_then(|at| named.persons.get(usize::from(at)));
                if current == Some(&cell.id) {
                    found = Some(named.identifier);
                    break;
                }
            }
            subjects.extend(found.map(|identifier| Subject { identifiers: vec![identifier] }));
        }
        match subjects.len() == persons.len() {
            true => Ok(subjects),
            false => Err(Error::NotFound { code: "SUBJECT_UNKNOWN" }),
        }
    }

    /// Appends a config entry about persons, who stand in the event in this order.
    ///
    /// # Errors
    /// `NotFound` `SUBJECT_UNKNOWN` when one of them is not known any more; those of the condition
    /// and of append.
    pub(crate) fn act_about(
        &self,
        persons: &[PersonId],
        event: &Event<'_>,
        clear: &[u8],
        condition: Condition<'_>,
    ) -> Result<EntryIndex> {
        self.writable()?;
        for _ in 0..RESEALS_MAX {
            let day = self.inner.clock.now().day();
            let keys = self.keys_of_known(event, day)?;
            if !keys.subjects.iter().map(|(person, _)| person).eq(persons) {
                return Err(Error::NotFound { code: "SUBJECT_UNKNOWN" });
            }
            let act = Act { kind: Kind::Config, clear: clear.to_vec() };
            let clerk = &self.inner.clerk;
            let sealed = clerk.sealer(day).act(&act, event, &keys)?;
            match Clerk::wait(&clerk.send(vec![sealed], Some(condition()), None)) {
                Ok(done) => return Ok(done.first),
                Err(Rejected::Failed(error)) => return Err(error),
                // Whoever set the fence holds the key tree until the keys are gone.
                Err(Rejected::Fenced) => drop(self.inner.keys.tree()),
                Err(_) => {}
            }
        }
        Err(Error::Overloaded)
    }

    /// Keys for an event whose subjects are known; what of them is missing for its class and day
    /// is made.
    fn keys_of_known(&self, event: &Event<'_>, day: Day) -> Result<BatchKeys> {
        for _ in 0..RESEALS_MAX {
            match self.inner.keys.lookup(std::slice::from_ref(event), day) {
                Ok(keys) => return Ok(keys),
                Err(wanted) => self.learn(&wanted, day, false)?,
            }
        }
        Err(Error::Overloaded)
    }
}

/// An act about persons, to be sealed.
pub(crate) fn about(
    time: UtcNanos,
    class: ClassId,
    subjects: Vec<Subject>,
    groups: Vec<Group<'static>>,
) -> Event<'static> {
    Event {
        time,
        source: Arc::from("vault"),
        dedupe: Dedupe::None,
        code: vault_code(Verb::Update),
        outcome: Outcome::Success,
        severity: Severity::default(),
        class,
        clear: Vec::new(),
        subjects,
        groups,
    }
}

/// Fields under the keys of some of an act's persons; they come ascending by name.
pub(crate) fn group(subjects: SubjectSet, fields: Vec<(&'static str, Vec<u8>)>) -> Group<'static> {
    let fields = fields.into_iter();
    let fields = fields.map(|(name, text)| Field { name: name.into(), value: Cow::Owned(text) });
    Group { subjects, fields: fields.collect() }
}

/// A JSON string.
pub(crate) fn json(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// Refuses a reason that says nothing, or too much.
pub(crate) fn is_reason(reason: &str) -> Result<()> {
    match reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        true => {
            let refusal = Refusal::new("FIELD_VALUE", "say why, in a sentence");
            Err(refusal.field("reason").limit(REASON_BYTES_MAX as u64).into())
        }
        false => Ok(()),
    }
}
