//! Whom an event is about: rules that find identifiers, and the persons they add up to.
//! Identifiers found by one rule at one place belong to one person; two persons of an event that
//! share an identifier are one. It never guesses from free text.

use crate::base::event::{Identifier, Subject};
use crate::base::limits::{GROUP_SUBJECTS_MAX, PERSON_LINKS_MAX};
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::format::json::{Kind, Value};
use crate::policy::fields::{IdentifierKind, Registry, Whom};
use crate::policy::paths::Found;
use crate::policy::patterns::Pattern;
use crate::policy::places::Place;
use std::borrow::Cow;

/// The part a person plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Acts.
    Actor,
    /// Is acted upon, or is otherwise what the event is about.
    Target,
}

/// One identifier of a rule.
#[derive(Clone, Debug)]
pub struct IdentifierRule {
    /// Its parts, joined by `with`; all must be there, except those that say they need not.
    pub parts: Vec<(Place, bool)>,
    /// Text between the parts.
    pub with: String,
    /// If there are any, a value that fits none of them is not given.
    pub only: Vec<Pattern>,
    /// The first of these that the value begins with is no part of it.
    pub strip: Vec<Box<str>>,
    /// Where this text begins the value ends; empty = nowhere.
    pub until: Box<str>,
    /// How it is normalised.
    pub kind: IdentifierKind,
}

/// A condition on the values at one place.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Where.
    pub place: Place,
    /// One value must fit one of these.
    pub patterns: Vec<Pattern>,
}

impl Condition {
    fn holds(&self, root: Value<'_, '_>, element: Option<Value<'_, '_>>, found: &Found) -> bool {
        let mut holds = false;
        self.place.visit(root, element, found, &mut |value| {
            let text = match value.kind() {
                Kind::True | Kind::False => Some(value.raw().into()),
                _ => text_of(value),
            };
            holds = text.is_some_and(|text| fits_any(&self.patterns, &text));
            holds
        });
        holds
    }
}

/// How persons are found at one place of an event.
#[derive(Clone, Debug)]
pub struct PersonRule {
    /// Their part; with `list`, a `role` member of the element wins.
    pub role: Role,
    /// The elements that are persons, or the event itself.
    pub each: Option<Place>,
    /// All must hold, else there is nobody.
    pub when: Vec<Condition>,
    /// If one holds there is nobody.
    pub unless: Vec<Condition>,
    /// Values of machines and well-known accounts: nobody.
    pub machines: Vec<Pattern>,
    /// Values that mean "not given".
    pub blank: Vec<Pattern>,
    /// Name of a member that is an array of `{kind, value}`.
    pub list: Option<Box<str>>,
    /// Identifiers that belong together.
    pub identifiers: Vec<IdentifierRule>,
}

/// The persons of one event and their parts.
#[derive(Debug)]
pub struct Persons<'s> {
    /// The persons, in order of discovery.
    pub subjects: Vec<Subject>,
    /// The part of each.
    roles: &'s mut Vec<u8>,
}

/// Persons found before any are joined: bounds the comparisons of one event, joined or not.
const FOUND_MAX: usize = 4 * GROUP_SUBJECTS_MAX;

const ACTOR: u8 = 1;
const TARGET: u8 = 2;

/// The text of a string or number.
fn text_of<'a>(value: Value<'_, 'a>) -> Option<std::borrow::Cow<'a, str>> {
    match value.kind() {
        Kind::Number => Some(value.raw().into()),
        _ => value.string(),
    }
}

impl IdentifierRule {
    /// Takes one value; false if it is a machine's.
    fn take(
        &self,
        rule: &PersonRule,
        value: Value<'_, '_>,
        into: &mut Vec<Identifier>,
    ) -> Result<bool, Refusal> {
        let Some(text) = self.text(value)? else { return Ok(true) };
        if fits_any(&rule.machines, &text) {
            return Ok(false);
        }
        if fits_any(&rule.blank, &text) || !(self.only.is_empty() || fits_any(&self.only, &text)) {
            return Ok(true);
        }
        let text = self.strip.iter().find_map(|head| text.strip_prefix(&**head)).unwrap_or(&text);
        let text = match text.split_once(&*self.until) {
            Some((text, _)) if !self.until.is_empty() => text,
            _ => text,
        };
        push(&self.kind, text, into)?;
        Ok(true)
    }

    /// Takes the first value of each part; false if one is a machine's.
    fn join<'t, 'a>(
        &self,
        rule: &PersonRule,
        parts: &[(Place, bool)],
        value: &dyn Fn(&Place) -> Option<Value<'t, 'a>>,
        into: &mut Vec<Identifier>,
    ) -> Result<bool, Refusal> {
        let mut joined = String::new();
        let mut whole = true;
        for (n, (place, optional)) in parts.iter().enumerate() {
            if n > 0 {
                joined.push_str(&self.with);
            }
            let Some(value) = value(place) else {
                if *optional {
                    continue;
                }
                return Ok(true);
            };
            let Some(text) = self.text(value)? else { return Ok(true) };
            if fits_any(&rule.machines, &text) {
                return Ok(false);
            }
            // A later part may still say that this is a machine.
            whole &= !fits_any(&rule.blank, &text);
            joined.push_str(&text);
        }
        if whole {
            push(&self.kind, &joined, into)?;
        }
        Ok(true)
    }

    /// The text of a value. What is neither string nor number is not given where the rule takes
    /// certain values only, and else the sender's mistake.
    fn text<'a>(&self, value: Value<'_, 'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
        match text_of(value) {
            None if self.only.is_empty() => {
                Err(Refusal::new("FIELD_TYPE", "send an identifier as a string or number")
                    .field(&self.kind.name)
                    .at(value.offset()))
            }
            text => Ok(text),
        }
    }
}

fn fits_any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

impl<'s> Persons<'s> {
    /// The persons whom the rules find in an event; `roles` is working memory.
    pub fn find(
        rules: &[PersonRule],
        registry: &Registry,
        root: Value<'_, '_>,
        found: &Found,
        roles: &'s mut Vec<u8>,
    ) -> Result<Self, Refusal> {
        roles.clear();
        let mut persons = Persons { subjects: Vec::new(), roles };
        for rule in rules {
            let Some(each) = &rule.each else {
                persons.add_by(rule, registry, root, None, found)?;
                continue;
            };
            let mut outcome = Ok(());
            each.elements(root, found, &mut |element| {
                outcome = persons.add_by(rule, registry, root, Some(element), found);
                outcome.is_err()
            });
            outcome?;
        }
        if persons.subjects.len() > GROUP_SUBJECTS_MAX {
            return Err(too_many_subjects());
        }
        Ok(persons)
    }

    fn add_by(
        &mut self,
        rule: &PersonRule,
        registry: &Registry,
        root: Value<'_, '_>,
        element: Option<Value<'_, '_>>,
        found: &Found,
    ) -> Result<(), Refusal> {
        let holds = |condition: &Condition| condition.holds(root, element, found);
        if !rule.when.iter().all(holds) || rule.unless.iter().any(holds) {
            return Ok(());
        }
        let mut role = rule.role;
        let mut identifiers = Vec::new();
        if let (Some(list), Some(element)) = (&rule.list, element) {
            listed(list, registry, element, &mut identifiers)?;
            if element.get("role").and_then(|value| value.string()).as_deref() == Some("actor") {
                role = Role::Actor;
            }
        }
        for identifier in &rule.identifiers {
            let person = match identifier.parts.as_slice() {
                [(place, _)] => {
                    let mut outcome = Ok(true);
                    place.visit(root, element, found, &mut |value| {
                        outcome = identifier.take(rule, value, &mut identifiers);
                        !matches!(outcome, Ok(true))
                    });
                    outcome?
                }
                parts => {
                    let value = |place: &Place| place.value(root, element, found);
                    identifier.join(rule, parts, &value, &mut identifiers)?
                }
            };
            if !person {
                return Ok(());
            }
        }
        if !identifiers.is_empty() {
            self.add(role, identifiers)?;
        }
        Ok(())
    }

    /// Adds a person, joining all earlier ones that share an identifier.
    fn add(&mut self, role: Role, mut identifiers: Vec<Identifier>) -> Result<(), Refusal> {
        let mut roles = if role == Role::Actor { ACTOR } else { TARGET };
        let mut home = None;
        let mut at = 0;
        while let Some(subject) = self.subjects.get_mut(at) {
            if !subject.identifiers.iter().any(|known| identifiers.contains(known)) {
                at += 1;
                continue;
            }
            for known in subject.identifiers.drain(..) {
                if !identifiers.contains(&known) {
                    identifiers.push(known);
                }
            }
            roles |= self.roles.get(at).copied().unwrap_or(0);
            home = home.or(Some(at));
            self.subjects.remove(at);
            self.roles.remove(at);
        }
        if identifiers.len() > PERSON_LINKS_MAX {
            return Err(too_many_identifiers());
        }
        if self.subjects.len() >= FOUND_MAX {
            return Err(too_many_subjects());
        }
        identifiers.sort();
        let at = home.unwrap_or(self.subjects.len());
        self.subjects.insert(at, Subject { identifiers });
        self.roles.insert(at, roles);
        Ok(())
    }

    /// The persons whose keys seal a field; nobody = the tenant.
    pub fn members(&self, whom: Whom) -> SubjectSet {
        let wanted = match whom {
            Whom::Actor => ACTOR,
            Whom::Target => TARGET,
            Whom::All => ACTOR | TARGET,
        };
        let with = |wanted: u8| -> SubjectSet {
            let fit = |(_, roles): &(usize, &u8)| **roles & wanted != 0;
            self.roles.iter().enumerate().filter(fit).map(|(at, _)| at).collect()
        };
        let members = with(wanted);
        if members.is_empty() { with(ACTOR | TARGET) } else { members }
    }
}

fn push(kind: &IdentifierKind, text: &str, into: &mut Vec<Identifier>) -> Result<(), Refusal> {
    if let Some(value) = kind.normalise(text)? {
        let identifier = Identifier { kind: kind.name, value };
        if !into.contains(&identifier) {
            if into.len() >= PERSON_LINKS_MAX {
                return Err(too_many_identifiers());
            }
            into.push(identifier);
        }
    }
    Ok(())
}

fn too_many_subjects() -> Refusal {
    Refusal::new("TOO_MANY_SUBJECTS", "split the event by person").limit(GROUP_SUBJECTS_MAX as u64)
}

fn too_many_identifiers() -> Refusal {
    Refusal::new("TOO_MANY_IDENTIFIERS", "name a person by fewer identifiers")
        .limit(PERSON_LINKS_MAX as u64)
}

/// Reads `[{kind, value}]`. A person named explicitly must be identified: else the event would be
/// sealed to others than the sender meant.
fn listed(
    list: &str,
    registry: &Registry,
    element: Value<'_, '_>,
    into: &mut Vec<Identifier>,
) -> Result<(), Refusal> {
    let identifiers = element.get(list).unwrap_or(element);
    for entry in identifiers.elements() {
        let kind = entry.get("kind").and_then(|value| value.string());
        let Some(kind) = kind.and_then(|kind| registry.kind(&kind)) else {
            return Err(Refusal::new("IDENTIFIER_KIND", "use a kind of policies/fields.toml")
                .field("subjects")
                .at(entry.offset()));
        };
        let Some(text) = entry.get("value").and_then(text_of) else {
            return Err(Refusal::new("FIELD_TYPE", "send an identifier as a string or number")
                .field("subjects")
                .at(entry.offset()));
        };
        push(kind, &text, into)?;
    }
    if into.is_empty() {
        return Err(Refusal::new("SUBJECT_EMPTY", "name a person by at least one identifier")
            .field("subjects")
            .at(element.offset()));
    }
    Ok(())
}
