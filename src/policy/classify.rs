//! `Draft -> Event`: scans the bytes, applies the source's mapping, the registry and the classes.
//! Every value of a record ends in the header, in `clear`, in a sealed field or in `data`;
//! nothing is dropped, and a sealed value is the span received. It never guesses a person.

mod reading;

use crate::base::event::{Draft, Event, Field, Group};
use crate::base::limits::CLEAR_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::base::unit::ClassId;
use crate::format::json::{Kind, Tape, Value};
use crate::policy::classes::{Classes, EventFacts};
use crate::policy::classify::reading::{Reading, rest};
use crate::policy::error::{Page, PolicyError};
use crate::policy::fields::{Clear, Disposition, FieldId, Registry, Whom};
use crate::policy::paths::Found;
use crate::policy::persons::Persons;
use crate::policy::sources::{Source, check_together};
use crate::policy::terms::Terms;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

/// All policies, checked and compiled. Shared between threads; each thread has its `Scratch`.
#[derive(Clone, Debug)]
pub struct Policies {
    registry: Registry,
    sources: Vec<Source>,
    classes: Classes,
    data: FieldId,
}

/// Working memory of one thread, reused from event to event. Between events it holds
/// positions and the clear object, never a sealed value.
#[derive(Default, Debug)]
pub struct Scratch {
    tape: Tape,
    found: Found,
    sealed: Vec<Sealed>,
    taken: Vec<bool>,
    /// Clear fields of the event at hand: field and tape position.
    clear: Vec<(FieldId, u32)>,
    object: Vec<u8>,
    /// Empty between events.
    buffer: Vec<u8>,
    roles: Vec<u8>,
    source: Option<Arc<str>>,
}

/// A sealed field before grouping: `value` is a tape position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Sealed {
    members: SubjectSet,
    field: FieldId,
    value: u32,
}

/// Tape position that stands for the rest of the record.
const REST: u32 = u32::MAX;

impl Policies {
    /// Reads the files of `policies/`, by their path below it.
    pub fn parse(files: &BTreeMap<String, String>) -> Result<Policies, PolicyError> {
        let page = |file: &'static str| match files.get_key_value(file) {
            Some((file, text)) => Ok(Page { file, text }),
            None => Err(Page { file, text: "" }.missing("POLICY_MISSING", "the file is not there")),
        };
        let registry = Registry::parse(page("fields.toml")?)?;
        let classes = Classes::parse(page("classes.toml")?)?;
        let mut sources = Vec::new();
        for (file, text) in files {
            if file.starts_with("sources/") && file.ends_with(".toml") {
                sources.push((Source::parse(Page { file, text }, &registry)?, file.as_str()));
            }
        }
        check_together(&sources)?;
        let data = registry.field_named("data").unwrap_or(FieldId(0));
        let sources = sources.into_iter().map(|(source, _)| source).collect();
        Ok(Policies { registry, sources, classes, data })
    }

    /// The field registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The retention classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The mapping of a source: by its name, by the part before the first `/`, or the fallback.
    pub fn source(&self, name: &str) -> Option<&Source> {
        let family = name.split_once('/').map_or(name, |(family, _)| family);
        let named = |name: &str| self.sources.iter().find(|source| *source.name == *name);
        named(name).or_else(|| named(family)).or_else(|| self.sources.iter().find(|s| s.fallback))
    }

    /// The mapping with just this name.
    pub fn source_named(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| *source.name == *name)
    }

    /// The mapping of a source that is registered: the one it names and no other, else by name.
    pub fn source_under(&self, name: &str, terms: &Terms) -> Option<&Source> {
        match &terms.mapping {
            Some(mapping) => self.source_named(mapping),
            None => self.source(name),
        }
    }

    /// The class of an event of a source that is registered: the one it names, unless that is not
    /// there or keeps shorter than the rules say. A registration is one person's act, and to keep
    /// shorter takes an order.
    fn class_under(&self, terms: &Terms, ruled: ClassId) -> ClassId {
        let named = terms.class.as_deref().and_then(|name| self.classes.by_name(name));
        let Some(named) = named else { return ruled };
        let days = |keep: Option<u32>| keep.map_or(u64::MAX, u64::from);
        let ruled_days = self.classes.get(ruled).map_or(u64::MAX, |class| days(class.keep_days()));
        if days(named.keep_days()) >= ruled_days { named.id } else { ruled }
    }

    /// Parses and classifies one event.
    pub fn event<'a>(&self, draft: Draft<'a>, scratch: &mut Scratch) -> Result<Event<'a>, Refusal> {
        self.event_under(draft, &Terms::NONE, scratch)
    }

    /// Parses and classifies one event of a source that is registered.
    pub fn event_under<'a>(
        &self,
        draft: Draft<'a>,
        terms: &Terms,
        scratch: &mut Scratch,
    ) -> Result<Event<'a>, Refusal> {
        let source = self
            .source_under(draft.source, terms)
            .ok_or_else(|| Refusal::new("SOURCE_UNKNOWN", "add a mapping to policies/sources"))?;
        let Scratch { tape, found, sealed, taken, clear, object, buffer, roles, source: last } =
            scratch;
        let root = tape.scan(draft.json)?;
        if root.kind() != Kind::Object {
            return Err(Refusal::new("EVENT_NOT_OBJECT", "send one JSON object").at(root.offset()));
        }
        if source.refuse_keys {
            self.registry.refuse_keys(root)?;
        }
        source.paths.walk(root, found);
        let mut reading = Reading { source, root, found };
        reading.check_required()?;
        let time = reading.time()?;
        let dedupe = reading.dedupe(terms.dedupe)?;
        let (code, outcome, severity) = reading.verdict()?;
        let persons = Persons::find(&source.persons, &self.registry, root, reading.found, roles)?;
        sealed.clear();
        taken.clear();
        taken.resize(self.registry.fields().len(), false);
        clear.clear();
        self.take_fields(&mut reading, &persons, (sealed, clear), taken)?;
        self.clear_object(root, clear, object)?;
        let rest = rest(&reading, buffer);
        if rest.is_some() {
            let members = persons.members(Whom::All);
            sealed.push(Sealed { members, field: self.data, value: REST });
        }
        let groups = self.groups(root, sealed, rest);
        let name = shared_name(draft.source, last);
        let facts = EventFacts { source: &name, code, outcome, severity, clear: object };
        let class = self.class_under(terms, self.classes.select(&facts));
        let subjects = persons.subjects;
        Ok(Event {
            time,
            source: name,
            dedupe,
            code,
            outcome,
            severity,
            class,
            clear: object.clone(),
            subjects,
            groups,
        })
    }

    /// Takes the mapped values: into `clear` what may be read, into `sealed` the others.
    fn take_fields(
        &self,
        reading: &mut Reading<'_, '_, '_>,
        persons: &Persons<'_>,
        (sealed, clear): (&mut Vec<Sealed>, &mut Vec<(FieldId, u32)>),
        taken: &mut [bool],
    ) -> Result<(), Refusal> {
        // Most events have one set of persons, so it is worth keeping.
        let [actor, target, all] =
            [Whom::Actor, Whom::Target, Whom::All].map(|whom| persons.members(whom));
        for (slot, field) in &reading.source.maps {
            let Some(value) = reading.found.value(reading.root, *slot) else { continue };
            let Some(taken) = taken.get_mut(usize::from(field.0)).filter(|taken| !**taken) else {
                continue;
            };
            let rule = self.registry.field(*field);
            let members = match &rule.disposition {
                Disposition::Clear(kind) => {
                    match fits(kind, value) {
                        Ok(()) => clear.push((*field, value.index())),
                        Err(refusal) if reading.source.strict => {
                            return Err(refusal.field(&rule.name).at(value.offset()));
                        }
                        // Stays in the rest, sealed.
                        Err(_) => continue,
                    }
                    *taken = true;
                    reading.found.keep(*slot);
                    continue;
                }
                Disposition::Refuse => {
                    return Err(Refusal::new(
                        "FIELD_REFUSED",
                        "do not send it: it may not be stored",
                    )
                    .field(&rule.name)
                    .at(value.offset()));
                }
                Disposition::Tenant => SubjectSet::NONE,
                Disposition::Sealed(Whom::Actor) => actor,
                Disposition::Sealed(Whom::Target) => target,
                Disposition::Sealed(Whom::All) => all,
            };
            *taken = true;
            reading.found.keep(*slot);
            sealed.push(Sealed { members, field: *field, value: value.index() });
        }
        Ok(())
    }

    /// The RFC 8785 object: ASCII names ascending, words without escapes, plain integers.
    fn clear_object(
        &self,
        root: Value<'_, '_>,
        clear: &mut [(FieldId, u32)],
        object: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        object.clear();
        if clear.is_empty() {
            return Ok(());
        }
        clear.sort_unstable_by_key(|(field, _)| *field);
        for (field, value) in clear.iter() {
            let value = root.at(*value);
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.push(b'"');
            object.extend_from_slice(self.registry.field(*field).name.as_bytes());
            object.extend_from_slice(b"\":");
            match (value.string(), value.u64()) {
                (Some(word), _) => {
                    object.push(b'"');
                    object.extend_from_slice(word.as_bytes());
                    object.push(b'"');
                }
                (None, Ok(number)) => drop(write!(object, "{number}")),
                (None, Err(_)) => object.extend_from_slice(value.raw().as_bytes()),
            }
        }
        object.push(b'}');
        if object.len() > CLEAR_BYTES_MAX {
            return Err(Refusal::new("CLEAR_TOO_LARGE", "register fewer clear fields")
                .limit(CLEAR_BYTES_MAX as u64));
        }
        Ok(())
    }

    /// Fields with the same persons together; fields ascending by name.
    fn groups<'a>(
        &self,
        root: Value<'_, 'a>,
        sealed: &mut [Sealed],
        mut rest: Option<Cow<'a, [u8]>>,
    ) -> Vec<Group<'a>> {
        sealed.sort_unstable();
        let mut groups = Vec::with_capacity(1);
        for run in sealed.chunk_by(|left, right| left.members == right.members) {
            let subjects = run.first().map_or(SubjectSet::NONE, |sealed| sealed.members);
            let mut fields = Vec::with_capacity(run.len());
            for sealed in run {
                let value = match sealed.value {
                    REST => rest.take().unwrap_or_default(),
                    at => Cow::Borrowed(root.at(at).raw().as_bytes()),
                };
                let name = self.registry.field(sealed.field).name;
                fields.push(Field { name, value });
            }
            groups.push(Group { subjects, fields });
        }
        groups
    }
}

/// Whether a value belongs to the closed vocabulary of a clear field.
fn fits(clear: &Clear, value: Value<'_, '_>) -> Result<(), Refusal> {
    match clear {
        Clear::Boolean if value.boolean().is_some() => Ok(()),
        Clear::Boolean => Err(Refusal::new("FIELD_TYPE", "send true or false")),
        Clear::Integer { max } => match value.u64()? {
            number if number <= *max => Ok(()),
            _ => Err(Refusal::new("FIELD_RANGE", "send a smaller number").limit(*max)),
        },
        Clear::Enum(words) => match value.string() {
            Some(word) if words.iter().any(|known| **known == *word) => Ok(()),
            Some(_) => Err(Refusal::new("FIELD_VALUE", "use a word of policies/fields.toml")),
            None => Err(Refusal::new("FIELD_TYPE", "send a word as a string")),
        },
    }
}

/// The source's name without an allocation where it was the last one's too.
fn shared_name(name: &str, last: &mut Option<Arc<str>>) -> Arc<str> {
    match last {
        Some(last) if **last == *name => last.clone(),
        _ => {
            let fresh: Arc<str> = name.into();
            *last = Some(fresh.clone());
            fresh
        }
    }
}
