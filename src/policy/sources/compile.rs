//! Compiles one mapping: paths become slots, words become codes, and whatever means nothing is an
//! error that points at its line. It never reads a record.

use crate::base::event::{Category, EventCode, Outcome, Severity, Verb};
use crate::policy::error::{Page, PolicyError};
use crate::policy::fields::{Disposition, FieldId, Registry};
use crate::policy::paths::{Paths, Slot};
use crate::policy::patterns::Pattern;
use crate::policy::persons::{Condition, IdentifierRule, PersonRule, Place, Role};
use crate::policy::sources::raw::{
    RawChoice, RawCode, RawCondition, RawDedupe, RawIdentifier, RawPath, RawPerson, RawRole,
    RawSource,
};
use crate::policy::sources::{Choice, ChoiceRule, CodeRules, DedupeRule, Source, Verdict};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

impl Source {
    /// Reads one file of `policies/sources/`.
    pub(crate) fn parse(page: Page<'_>, registry: &Registry) -> Result<Self, PolicyError> {
        let raw: RawSource = page.read()?;
        let lift = raw.lift.iter().map(|path| path.get_ref().clone()).collect();
        let mut compiler =
            Compiler { page, registry, paths: Paths::default(), lift, span: raw.source.span() };
        let maps = compiler.maps(&raw.map)?;
        let mut times = Vec::new();
        for (paths, assume_utc) in [(&raw.time.paths, false), (&raw.time.assume_utc, true)] {
            for path in paths {
                compiler.span = path.span();
                let slots = compiler.one(path.get_ref())?;
                times.extend(slots.into_iter().map(|slot| (slot, assume_utc)));
            }
        }
        let mut required = Vec::new();
        for path in &raw.required {
            compiler.span = path.span();
            required.push((compiler.one(path.get_ref())?, path.get_ref().as_str().into()));
        }
        let dedupe = compiler.dedupe(&raw.dedupe)?;
        let code = compiler.code(raw.code)?;
        compiler.span = raw.outcome.span();
        let outcome =
            compiler.choice(raw.outcome.into_inner(), |word| Outcome::from_name(&word))?;
        compiler.span = raw.severity.span();
        let severity = compiler.choice(raw.severity.into_inner(), Severity::new)?;
        let mut persons = Vec::new();
        for person in raw.subject {
            compiler.span = person.span();
            persons.push(compiler.person(person.into_inner())?);
        }
        Ok(Source {
            name: raw.source.into_inner().into(),
            fallback: raw.fallback,
            strict: raw.strict,
            refuse_keys: raw.refuse_keys,
            paths: compiler.paths,
            required,
            maps,
            times,
            dedupe,
            code,
            outcome,
            severity,
            persons,
        })
    }
}

/// Compiles the rules of one mapping; `span` is what an error points at.
struct Compiler<'p> {
    page: Page<'p>,
    registry: &'p Registry,
    paths: Paths,
    lift: Vec<String>,
    span: Range<usize>,
}

impl Compiler<'_> {
    fn error(&self, code: &'static str, reason: impl Into<String>) -> PolicyError {
        self.page.error(&self.span, code, reason)
    }

    /// The slots of one path: at the root first, then below each lifted object.
    fn one(&mut self, path: &str) -> Result<Vec<Slot>, PolicyError> {
        let lifted: Vec<String> = self.lift.iter().map(|lift| format!("{lift}.{path}")).collect();
        let mut slots = Vec::new();
        for path in std::iter::once(path.to_owned()).chain(lifted) {
            let slot = self.paths.add(&path);
            slots.push(slot.ok_or_else(|| {
                self.error("POLICY_PATH", format!("`{path}` is not member names joined by dots"))
            })?);
        }
        Ok(slots)
    }

    fn any(&mut self, path: &RawPath) -> Result<Vec<Slot>, PolicyError> {
        let paths = match path {
            RawPath::One(path) => std::slice::from_ref(path),
            RawPath::Any(paths) => paths,
        };
        let mut slots = Vec::new();
        for path in paths {
            slots.extend(self.one(path)?);
        }
        Ok(slots)
    }

    fn maps(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<Vec<(Slot, FieldId)>, PolicyError> {
        // In order of the file: of two paths to one field the first one present wins.
        let mut entries: Vec<_> = raw.iter().collect();
        entries.sort_by_key(|(path, _)| path.span().start);
        let mut maps = Vec::new();
        for (path, name) in entries {
            self.span = name.span();
            let Some(field) = self.registry.field_named(name.get_ref()) else {
                let reason = format!("`{}` is not in fields.toml", name.get_ref());
                return Err(self.error("POLICY_FIELD", reason));
            };
            if name.get_ref() == "data"
                && self.registry.field(field).disposition != Disposition::Refuse
            {
                return Err(self.error("POLICY_FIELD", "`data` takes what is not mapped"));
            }
            maps.extend(self.one(path.get_ref())?.into_iter().map(|slot| (slot, field)));
        }
        Ok(maps)
    }

    fn dedupe(&mut self, raw: &RawDedupe) -> Result<DedupeRule, PolicyError> {
        let mut rule = DedupeRule::default();
        if let Some(path) = &raw.sequence {
            self.span = path.span();
            rule.sequence = self.one(path.get_ref())?;
        }
        for path in &raw.event_id {
            rule.event_id.push(self.any(path)?);
        }
        Ok(rule)
    }

    fn code(&mut self, raw: Spanned<RawCode>) -> Result<CodeRules, PolicyError> {
        self.span = raw.span();
        let raw = raw.into_inner();
        let default = EventCode::parse(&raw.default);
        let default = default.ok_or_else(|| self.unknown("category.verb", &raw.default))?;
        let (category, verb) = (self.any(&raw.category)?, self.any(&raw.verb)?);
        let (action, by) = (self.any(&raw.action)?, self.any(&raw.by)?);
        let mut exact = BTreeMap::new();
        for (action, verdict) in raw.exact {
            self.span = verdict.span();
            exact.insert(action.into_boxed_str(), self.verdict(verdict.get_ref())?);
        }
        let mut verbs = Vec::new();
        for entry in raw.verbs {
            self.span = entry.span();
            let (pattern, word) = entry.into_inner();
            let verb = Verb::from_name(&word).ok_or_else(|| self.unknown("verb", &word))?;
            verbs.push((Pattern::new(&pattern), verb));
        }
        let mut categories = Vec::new();
        for entry in raw.categories {
            self.span = entry.span();
            let (pattern, word) = entry.into_inner();
            let category = Category::from_name(&word);
            let category = category.ok_or_else(|| self.unknown("category", &word))?;
            categories.push((Pattern::new(&pattern), category));
        }
        Ok(CodeRules { category, verb, action, by, exact, verbs, categories, default })
    }

    fn unknown(&self, what: &str, word: &str) -> PolicyError {
        self.error("POLICY_WORD", format!("`{word}` is not a {what}"))
    }

    /// Reads `category.verb [outcome] [severity]`.
    fn verdict(&self, text: &str) -> Result<Verdict, PolicyError> {
        let mut words = text.split_whitespace();
        let code = words.next().and_then(EventCode::parse);
        let code = code.ok_or_else(|| self.unknown("category.verb", text))?;
        let mut verdict = Verdict { code, outcome: None, severity: None };
        for word in words {
            let severity = word.parse().ok().and_then(Severity::new);
            match (Outcome::from_name(word), severity) {
                (Some(outcome), _) => verdict.outcome = Some(outcome),
                (None, Some(severity)) => verdict.severity = Some(severity),
                (None, None) => return Err(self.unknown("outcome or severity", word)),
            }
        }
        Ok(verdict)
    }

    fn choice<R: std::fmt::Display + Clone, T>(
        &mut self,
        raw: RawChoice<R>,
        read: impl Fn(R) -> Option<T>,
    ) -> Result<Choice<T>, PolicyError> {
        let value = self.any(&raw.value)?;
        let word = |compiler: &Self, word: R| {
            let text = word.to_string();
            read(word).ok_or_else(|| compiler.unknown("word of the vocabulary", &text))
        };
        let mut rules = Vec::new();
        for rule in raw.rule {
            let slots = self.any(&rule.path)?;
            let mut meanings = Vec::new();
            for (pattern, meaning) in rule.matches {
                meanings.push((Pattern::new(&pattern), word(self, meaning)?));
            }
            rules.push(ChoiceRule { slots, meanings });
        }
        Ok(Choice { value, rules, default: word(self, raw.default)? })
    }

    fn person(&mut self, raw: RawPerson) -> Result<PersonRule, PolicyError> {
        let each = match &raw.each {
            None => None,
            Some(path) => match path.strip_suffix("[*]") {
                Some(path) => Some(Place::Slots(self.one(path)?)),
                None => return Err(self.error("POLICY_PATH", "`each` is a path ending in [*]")),
            },
        };
        let inside = each.is_some();
        let identifiers = raw.identifier.into_iter().map(|raw| self.identifier(raw, inside));
        let identifiers = identifiers.collect::<Result<Vec<_>, _>>()?;
        if identifiers.is_empty() && (raw.list.is_none() || !inside) {
            return Err(self.error("POLICY_SUBJECT", "give identifiers, or each and list"));
        }
        let patterns = |texts: Vec<String>| texts.iter().map(|text| Pattern::new(text)).collect();
        Ok(PersonRule {
            role: match raw.role {
                RawRole::Actor => Role::Actor,
                RawRole::Target => Role::Target,
            },
            each,
            when: raw.when.map(|raw| self.condition(raw, inside)).transpose()?,
            unless: raw.unless.map(|raw| self.condition(raw, inside)).transpose()?,
            machines: patterns(raw.machines),
            blank: patterns(raw.blank),
            list: raw.list.map(String::into_boxed_str),
            identifiers,
        })
    }

    /// A place below the element of `each`, or a path of the event.
    fn place(&mut self, path: &RawPath, inside: bool) -> Result<Place, PolicyError> {
        match path {
            RawPath::One(path) if inside => {
                Ok(Place::Below(path.split('.').map(Box::from).collect()))
            }
            RawPath::Any(_) if inside => {
                Err(self.error("POLICY_PATH", "inside `each` a path has no alternatives"))
            }
            path => Ok(Place::Slots(self.any(path)?)),
        }
    }

    fn condition(&mut self, raw: RawCondition, inside: bool) -> Result<Condition, PolicyError> {
        let patterns = raw.values.iter().map(|value| Pattern::new(value)).collect();
        Ok(Condition { place: self.place(&raw.path, inside)?, patterns })
    }

    fn identifier(
        &mut self,
        raw: RawIdentifier,
        inside: bool,
    ) -> Result<IdentifierRule, PolicyError> {
        let Some(kind) = self.registry.kind(&raw.kind).cloned() else {
            return Err(self.unknown("kind of fields.toml", &raw.kind));
        };
        let single = [raw.path];
        let places = if raw.join.is_empty() { single.as_slice() } else { &raw.join };
        let mut parts = Vec::new();
        for path in places {
            parts.push(self.place(path, inside)?);
        }
        if parts.iter().any(|part| matches!(part, Place::Slots(slots) if slots.is_empty())) {
            return Err(self.error("POLICY_SUBJECT", "an identifier needs a path or a join"));
        }
        Ok(IdentifierRule { parts, with: raw.with, kind })
    }
}
