//! Compiles one mapping: paths become slots, words become codes, and whatever means nothing is an
//! error that points at its line. It never reads a record.

use crate::base::event::{Category, EventCode, Outcome, Severity, Verb};
use crate::policy::error::{Page, PolicyError};
use crate::policy::fields::{Disposition, FieldId, Registry};
use crate::policy::paths::{Paths, Slot, Step, steps};
use crate::policy::patterns::Pattern;
use crate::policy::persons::{Condition, IdentifierRule, PersonRule, Role};
use crate::policy::places::{Place, Route};
use crate::policy::sources::raw::{
    RawChoice, RawCode, RawConditions, RawDedupe, RawIdentifier, RawPath, RawPerson, RawRole,
    RawSource, RawTime,
};
use crate::policy::sources::{
    Choice, ChoiceRule, CodeRules, DedupeRule, Source, TimeRule, Verdict,
};
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
        let times = compiler.times(&raw.time)?;
        let mut required = Vec::new();
        for path in &raw.required {
            compiler.span = path.span();
            let Some(name) = path.get_ref().alternatives().first() else {
                return Err(compiler.error("POLICY_PATH", "name at least one path"));
            };
            required.push((compiler.any(path.get_ref())?, name.as_str().into()));
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
            let slot = self.paths.add(&self.steps(&path)?);
            slots.push(slot.ok_or_else(|| self.not_a_path(&path))?);
        }
        Ok(slots)
    }

    fn steps(&self, path: &str) -> Result<Vec<Step>, PolicyError> {
        steps(path).ok_or_else(|| self.not_a_path(path))
    }

    fn not_a_path(&self, path: &str) -> PolicyError {
        let reason = format!("`{path}` is not member names joined by dots that name one value");
        self.error("POLICY_PATH", reason)
    }

    fn any(&mut self, path: &RawPath) -> Result<Vec<Slot>, PolicyError> {
        let mut slots = Vec::new();
        for path in path.alternatives() {
            slots.extend(self.one(path)?);
        }
        Ok(slots)
    }

    /// A path in several lists is one place with several forms.
    fn times(&mut self, raw: &RawTime) -> Result<Vec<TimeRule>, PolicyError> {
        let none = TimeRule { slot: Slot(0), text: false, assume_utc: false, epoch_ms: false };
        let mut times: Vec<TimeRule> = Vec::new();
        for (paths, form) in [
            (&raw.paths, TimeRule { text: true, ..none }),
            (&raw.assume_utc, TimeRule { text: true, assume_utc: true, ..none }),
            (&raw.epoch_ms, TimeRule { epoch_ms: true, ..none }),
        ] {
            for path in paths {
                self.span = path.span();
                for slot in self.one(path.get_ref())? {
                    match times.iter_mut().find(|rule| rule.slot == slot) {
                        Some(rule) => {
                            rule.text |= form.text;
                            rule.assume_utc |= form.assume_utc;
                            rule.epoch_ms |= form.epoch_ms;
                        }
                        None => times.push(TimeRule { slot, ..form }),
                    }
                }
            }
        }
        Ok(times)
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
            self.check_folded(raw.fold_case, &action)?;
            exact.insert(action.into_boxed_str(), self.verdict(verdict.get_ref())?);
        }
        let mut verbs = Vec::new();
        for entry in raw.verbs {
            self.span = entry.span();
            let (pattern, word) = entry.into_inner();
            self.check_folded(raw.fold_case, &pattern)?;
            let code = EventCode::parse(&word);
            let verb = code.map(|code| code.verb).or_else(|| Verb::from_name(&word));
            let verb = verb.ok_or_else(|| self.unknown("verb or category.verb", &word))?;
            verbs.push((Pattern::new(&pattern), code.map(|code| code.category), verb));
        }
        let mut categories = Vec::new();
        for entry in raw.categories {
            self.span = entry.span();
            let (pattern, word) = entry.into_inner();
            self.check_folded(raw.fold_case, &pattern)?;
            let category = Category::from_name(&word);
            let category = category.ok_or_else(|| self.unknown("category", &word))?;
            categories.push((Pattern::new(&pattern), category));
        }
        Ok(CodeRules {
            category,
            verb,
            action,
            refine: self.any(&raw.refine)?,
            by,
            fold_case: raw.fold_case,
            exact,
            verbs,
            categories,
            default,
        })
    }

    /// A pattern that can never fit is a mistake.
    fn check_folded(&self, fold_case: bool, text: &str) -> Result<(), PolicyError> {
        if fold_case && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let reason = format!("`{text}`: with fold_case write lower case");
            return Err(self.error("POLICY_WORD", reason));
        }
        Ok(())
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
        let each = raw.each.as_ref().map(|path| self.place(path, false)).transpose()?;
        let many = |place: &Place| {
            !place.routes.is_empty() && place.routes.iter().all(|route| !route.steps.is_empty())
        };
        if each.as_ref().is_some_and(|place| !many(place)) {
            return Err(self.error("POLICY_PATH", "`each` is a path with [*] in it"));
        }
        let inside = each.is_some();
        let identifiers = raw.identifier.into_iter().map(|raw| self.identifier(raw, inside));
        let identifiers = identifiers.collect::<Result<Vec<_>, _>>()?;
        if identifiers.is_empty() && (raw.list.is_none() || !inside) {
            return Err(self.error("POLICY_SUBJECT", "give identifiers, or each and list"));
        }
        Ok(PersonRule {
            role: match raw.role {
                RawRole::Actor => Role::Actor,
                RawRole::Target => Role::Target,
            },
            each,
            when: self.conditions(raw.when, inside)?,
            unless: self.conditions(raw.unless, inside)?,
            machines: patterns(&raw.machines),
            blank: patterns(&raw.blank),
            list: raw.list.map(String::into_boxed_str),
            identifiers,
        })
    }

    /// A place below the element of `each`, `.` being the element itself, or a path of the event.
    fn place(&mut self, path: &RawPath, inside: bool) -> Result<Place, PolicyError> {
        let mut routes = Vec::new();
        for path in path.alternatives() {
            if inside {
                let steps = if path == "." { Vec::new() } else { self.steps(path)? };
                routes.push(Route { from: None, steps });
                continue;
            }
            // What stands before the first [*] has a slot; the rest is walked when asked for.
            let lifted: Vec<String> =
                self.lift.iter().map(|lift| format!("{lift}.{path}")).collect();
            for path in std::iter::once(path.clone()).chain(lifted) {
                let mut steps = self.steps(&path)?;
                let each = steps.iter().position(|step| *step == Step::Each);
                let rest = steps.split_off(each.unwrap_or(steps.len()));
                let slot = self.paths.add(&steps).ok_or_else(|| self.not_a_path(&path))?;
                routes.push(Route { from: Some(slot), steps: rest });
            }
        }
        Ok(Place { routes })
    }

    fn conditions(
        &mut self,
        raw: RawConditions,
        inside: bool,
    ) -> Result<Vec<Condition>, PolicyError> {
        let mut conditions = Vec::new();
        for raw in raw.list() {
            let place = self.place(&raw.path, inside)?;
            if place.routes.is_empty() || raw.values.is_empty() {
                return Err(self.error("POLICY_SUBJECT", "a condition needs a path and values"));
            }
            conditions.push(Condition { place, patterns: patterns(&raw.values) });
        }
        Ok(conditions)
    }

    fn identifier(
        &mut self,
        raw: RawIdentifier,
        inside: bool,
    ) -> Result<IdentifierRule, PolicyError> {
        let Some(kind) = self.registry.kind(&raw.kind).cloned() else {
            return Err(self.unknown("kind of fields.toml", &raw.kind));
        };
        let cut = !raw.only.is_empty() || !raw.strip.is_empty() || !raw.until.is_empty();
        if cut && !raw.join.is_empty() {
            return Err(self.error("POLICY_SUBJECT", "only, strip and until go with `path`"));
        }
        let single = [raw.path];
        let places = if raw.join.is_empty() { single.as_slice() } else { &raw.join };
        let mut parts = Vec::new();
        for path in places {
            let (path, optional) = match path {
                RawPath::One(text) if text.ends_with('?') && !raw.join.is_empty() => {
                    (RawPath::One(text.trim_end_matches('?').to_owned()), true)
                }
                path => (path.clone(), false),
            };
            parts.push((self.place(&path, inside)?, optional));
        }
        let named = |(place, _): &(Place, bool)| !place.routes.is_empty();
        if !parts.iter().all(named) || parts.iter().all(|(_, optional)| *optional) {
            return Err(self.error("POLICY_SUBJECT", "an identifier needs a path or a join"));
        }
        let strip = raw.strip.into_iter().map(String::into_boxed_str).collect();
        let until = raw.until.into_boxed_str();
        Ok(IdentifierRule { parts, with: raw.with, only: patterns(&raw.only), strip, until, kind })
    }
}

fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text)).collect()
}
