//! Correction (GDPR Art. 16): other values for sealed fields of an event, in an entry of their own
//! that says which event it corrects. The values are sealed under the same persons and in the same
//! retention class as the ones they correct, so that an erasure takes both. The event itself is
//! never changed, and whoever reads it is told where it was corrected. It never guesses: a field
//! that the event has not, or that nobody can read any more, is refused.

use crate::base::entry::{Entry, Kind};
use crate::base::event::{Field, Group};
use crate::base::id::{PersonId, SubjectTag};
use crate::base::limits::{CORRECTIONS_MAX, CORRECTIONS_OF_ONE_MAX, EVENT_BYTES_MAX};
use crate::base::record::{Fate, Record};
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::base::unit::EntryIndex;
use crate::base::word::Word;
use crate::format::control::{self, Config};
use crate::format::json::Tape;
use crate::vault::Vault;
use crate::vault::disclose::closed;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::known::{about, is_reason, json};
use crate::vault::read::Reading;
use crate::vault::sequencer::Check;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Names of an act's own fields begin with this; no field of an event is corrected under one.
const OWN: &str = "correction.";

/// Persons, and the groups sealed under them.
type Regrouped = (Vec<PersonId>, Vec<Group<'static>>);

/// The event that an entry corrects, if it is a correction.
pub fn corrects(entry: &Entry) -> Option<EntryIndex> {
    if entry.head.kind != Kind::Config {
        return None;
    }
    match control::decode(&entry.head.clear).ok()? {
        Config::Correction { corrects } => Some(corrects),
        _ => None,
    }
}

impl Vault {
    /// Entries that correct this one, ascending.
    pub fn corrections_of(&self, event: EntryIndex) -> Vec<EntryIndex> {
        self.facts().corrections_of(event).collect()
    }

    /// Corrects sealed fields of an event: each name with the JSON text that is right.
    ///
    /// # Errors
    /// `NotFound` `ENTRY_UNKNOWN`, or `SUBJECT_UNKNOWN` for a person who is not known any more;
    /// `Invalid`: `CORRECTION_KIND` for what is no event, `FIELD_CLEAR` for a field in clear,
    /// `FIELD_UNKNOWN` for one that the event has not, `CORRECTIONS_TOO_MANY`, and for values that
    /// are no JSON or too large; `Denied` `FIELD_ERASED`, `FIELD_EXPIRED`.
    pub fn correct(
        &self,
        event: EntryIndex,
        values: &BTreeMap<String, Vec<u8>>,
        reason: &str,
        who: &str,
    ) -> Result<EntryIndex> {
        self.writable()?;
        is_reason(reason)?;
        let record = self.record(event, Reading::WITHIN)?;
        if record.entry.head.kind != Kind::Event {
            let fix = "only events are corrected: correct the event itself once more, not an act \
                       of the vault";
            return Err(Refusal::new("CORRECTION_KIND", fix).into());
        }
        check(&record, values)?;
        let (persons, groups) = self.regrouped(&record, values, reason, who)?;
        let subjects = self.subjects_of(&persons)?;
        let act = about(self.inner.clock.now(), record.entry.head.class, subjects, groups);
        let clear = control::encode(&Config::Correction { corrects: event })?;
        let condition = || -> Check { Box::new(move |facts| room(facts, event)) };
        self.act_about(&persons, &act, &clear, &condition)
    }

    /// The values in the groups in which the event has them, under the same persons.
    fn regrouped(
        &self,
        record: &Record,
        values: &BTreeMap<String, Vec<u8>>,
        reason: &str,
        who: &str,
    ) -> Result<Regrouped> {
        let head = &record.entry.head;
        let mut persons: Vec<PersonId> = Vec::new();
        let mut groups: BTreeMap<SubjectSet, Vec<Field<'static>>> = BTreeMap::new();
        for field in record.fields.iter() {
            let Some(value) = values.get(&*field.name) else { continue };
            let tags = head.groups.get(usize::from(field.group)).map_or(&[][..], |g| &g.tags);
            let tags = tags.iter().filter_map(|at| head.tags.get(usize::from(*at)));
            let mut places = Vec::new();
            for person in self.owners_of(tags)? {
                let known = persons.iter().position(|known| *known == person);
                places.push(known.unwrap_or(persons.len()));
                if known.is_none() {
                    persons.push(person);
                }
            }
            let name = Word::of(&field.name).ok_or(Error::Overloaded)?;
            let field = Field { name, value: Cow::Owned(value.clone()) };
            groups.entry(places.into_iter().collect()).or_default().push(field);
        }
        let own = |name: &'static str, text: &str| Field {
            name: name.into(),
            value: Cow::Owned(json(text)),
        };
        // The reason tells of the persons, so it goes with any of them.
        let everybody: SubjectSet = (0..persons.len()).collect();
        groups.entry(everybody).or_default().push(own("correction.reason", reason));
        groups.entry(SubjectSet::NONE).or_default().push(own("correction.by", who));
        let groups = groups.into_iter().map(|(subjects, mut fields)| {
            fields.sort_by_key(|field| field.name);
            Group { subjects, fields }
        });
        Ok((persons, groups.collect()))
    }

    fn owners_of<'t>(&self, tags: impl Iterator<Item = &'t SubjectTag>) -> Result<Vec<PersonId>> {
        let cache = self.owners()?;
        let owner = |tag| cache.owner(tag).ok_or(Error::NotFound { code: "SUBJECT_UNKNOWN" });
        tags.map(owner).collect()
    }
}

/// Whether one more correction of this event has room.
fn room(facts: &Facts, event: EntryIndex) -> Result<()> {
    let (of_one, all) = (facts.corrections_of(event).count(), facts.corrections.len());
    let limit = match (of_one >= CORRECTIONS_OF_ONE_MAX, all >= CORRECTIONS_MAX) {
        (true, _) => CORRECTIONS_OF_ONE_MAX,
        (_, true) => CORRECTIONS_MAX,
        _ => return Ok(()),
    };
    let fix = "say the whole of what is right in one correction; the newest one counts";
    Err(Refusal::new("CORRECTIONS_TOO_MANY", fix).limit(limit as u64).into())
}

/// Whether each value may correct a field of this record.
fn check(record: &Record, values: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if values.is_empty() {
        let refusal = Refusal::new("FIELD_REQUIRED", "name a field and the value that is right");
        return Err(refusal.field("fields").into());
    }
    let clear: serde_json::Value =
        serde_json::from_slice(&record.entry.head.clear).unwrap_or(serde_json::Value::Null);
    let mut tape = Tape::new();
    for (name, value) in values {
        tape.scan(value).map_err(|refusal| refusal.field(name))?;
        if value.len() > EVENT_BYTES_MAX {
            let refusal = Refusal::new("EVENT_TOO_LARGE", "send a shorter value");
            return Err(refusal.field(name).limit(EVENT_BYTES_MAX as u64).into());
        }
        let nested = name.split('.').try_fold(&clear, |at, part| at.get(part));
        if clear.get(name).or(nested).is_some() {
            let fix = "a word in clear tells of nobody, and stays: correct a sealed field";
            return Err(Refusal::new("FIELD_CLEAR", fix).field(name).into());
        }
        let field = record.fields.iter().find(|field| *field.name == **name);
        let Some(field) = field.filter(|_| !name.starts_with(OWN)) else {
            let fix = "the record has no sealed field of this name";
            return Err(Refusal::new("FIELD_UNKNOWN", fix).field(name).into());
        };
        let fate = record.groups.get(usize::from(field.group)).copied();
        match fate.unwrap_or(Fate::BodyMissing) {
            Fate::Open => {}
            fate => return Err(closed(fate)),
        }
    }
    Ok(())
}
