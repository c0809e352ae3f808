//! One record being read by its mapping: its time, its dedupe key, what happened and how it ended,
//! and what no field took. It never looks at the registry of fields or at classes.

use crate::base::event::{Category, Dedupe, EventCode, Outcome, Severity, Verb};
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::format::json::{Kind, Value};
use crate::policy::paths::{Found, Slot};
use crate::policy::patterns::Pattern;
use crate::policy::sources::{Choice, Source, Verdict};
use crate::policy::terms::{DedupeKey, key_missing};
use crate::policy::times;
use std::borrow::Cow;
use zeroize::Zeroize as _;

/// One event being read by its mapping.
pub(crate) struct Reading<'s, 't, 'a> {
    pub(crate) source: &'s Source,
    pub(crate) root: Value<'t, 'a>,
    pub(crate) found: &'s mut Found,
}

impl<'t, 'a> Reading<'_, 't, 'a> {
    pub(crate) fn first(&self, slots: &[Slot]) -> Option<(Slot, Value<'t, 'a>)> {
        slots.iter().find_map(|slot| Some((*slot, self.found.value(self.root, *slot)?)))
    }

    pub(crate) fn check_required(&self) -> Result<(), Refusal> {
        for (slots, name) in &self.source.required {
            if self.first(slots).is_none() {
                return Err(Refusal::new("FIELD_REQUIRED", "send it").field(name));
            }
        }
        Ok(())
    }

    /// The first path that is there decides; a time nobody can read refuses the event.
    pub(crate) fn time(&mut self) -> Result<UtcNanos, Refusal> {
        for rule in &self.source.times {
            let Some(value) = self.found.value(self.root, rule.slot) else { continue };
            let instant = match value.kind() {
                Kind::Number if rule.epoch_ms => times::epoch_ms(value.raw()),
                _ if rule.text => {
                    value.string().and_then(|text| times::parse(&text, rule.assume_utc))
                }
                _ => None,
            };
            let Some(instant) = instant else {
                return Err(Refusal::new(
                    "TIME_INVALID",
                    "send RFC 3339 with a zone, from 1970 on",
                )
                .field("time")
                .at(value.offset()));
            };
            if instant.whole {
                self.found.keep(rule.slot);
            }
            return Ok(instant.time);
        }
        Ok(UtcNanos(0))
    }

    /// The duplicate key: the one declared and no other, or whichever is there.
    pub(crate) fn dedupe(&mut self, declared: Option<DedupeKey>) -> Result<Dedupe<'a>, Refusal> {
        match declared {
            Some(DedupeKey::None) => Ok(Dedupe::None),
            Some(DedupeKey::Sequence) => match self.sequence()? {
                Dedupe::None => Err(key_missing("source_seq")),
                found => Ok(found),
            },
            Some(DedupeKey::EventId) => match self.event_id() {
                Dedupe::None => Err(key_missing("id")),
                found => Ok(found),
            },
            None => match self.sequence()? {
                Dedupe::None => Ok(self.event_id()),
                found => Ok(found),
            },
        }
    }

    fn sequence(&mut self) -> Result<Dedupe<'a>, Refusal> {
        let Some((slot, value)) = self.first(&self.source.dedupe.sequence) else {
            return Ok(Dedupe::None);
        };
        let number = value.u64().map_err(|refusal| refusal.field("source_seq"))?;
        self.found.keep(slot);
        Ok(Dedupe::Sequence(number))
    }

    fn event_id(&self) -> Dedupe<'a> {
        let mut parts = Vec::new();
        for slots in &self.source.dedupe.event_id {
            match self.first(slots) {
                Some((_, value)) => parts.push(value.raw().as_bytes()),
                None => return Dedupe::None,
            }
        }
        match parts.as_slice() {
            [] => Dedupe::None,
            [one] => Dedupe::EventId(Cow::Borrowed(one)),
            many => {
                // Length-prefixed, so that two pairs never make the same id.
                let mut id = Vec::new();
                for part in many {
                    id.extend_from_slice(&(part.len() as u32).to_be_bytes());
                    id.extend_from_slice(part);
                }
                Dedupe::EventId(Cow::Owned(id))
            }
        }
    }

    pub(crate) fn verdict(&mut self) -> Result<(EventCode, Outcome, Severity), Refusal> {
        let rules = &self.source.code;
        let action = self.action();
        let exact = action.as_ref().and_then(|action| rules.exact.get(&**action)).copied();
        let category = self.word(&rules.category, "category", Category::from_name)?;
        let verb = self.word(&rules.verb, "verb", Verb::from_name)?;
        let code = match (category, verb) {
            (Some(category), Some(verb)) => EventCode { category, verb },
            _ => {
                let parts = || self.code_by_parts(action.as_deref());
                let code = exact.map_or_else(parts, |e| e.code);
                EventCode {
                    category: category.unwrap_or(code.category),
                    verb: verb.unwrap_or(code.verb),
                }
            }
        };
        let source = self.source;
        let said = self.word(&source.outcome.value, "outcome", Outcome::from_name)?;
        let outcome = said.unwrap_or_else(|| self.choose(&source.outcome, exact, |e| e.outcome));
        let said = self.severity()?;
        let severity = said.unwrap_or_else(|| self.choose(&source.severity, exact, |e| e.severity));
        Ok((code, outcome, severity))
    }

    pub(crate) fn code_by_parts(&self, action: Option<&str>) -> EventCode {
        let rules = &self.source.code;
        type Rule = (Pattern, Option<Category>, Verb);
        let fit = |(pattern, ..): &&Rule| action.is_some_and(|a| pattern.matches(a));
        let (said, verb) = match rules.verbs.iter().find(fit) {
            Some((_, category, verb)) => (*category, Some(*verb)),
            None => (None, None),
        };
        let Some(category) = said.or_else(|| self.category()) else {
            return EventCode { verb: verb.unwrap_or(rules.default.verb), ..rules.default };
        };
        EventCode { category, verb: verb.unwrap_or(rules.default.verb) }
    }

    /// What happened as the source calls it, with what says more of it.
    fn action(&self) -> Option<Cow<'a, str>> {
        let rules = &self.source.code;
        let (_, value) = self.first(&rules.action)?;
        let action = folded(value, rules.fold_case);
        Some(match self.first(&rules.refine) {
            Some((_, more)) => format!("{action}/{}", folded(more, rules.fold_case)).into(),
            None => action,
        })
    }

    fn category(&self) -> Option<Category> {
        let rules = &self.source.code;
        let (_, value) = self.first(&rules.by)?;
        let by = folded(value, rules.fold_case);
        rules.categories.iter().find(|(pattern, _)| pattern.matches(&by)).map(|(_, c)| *c)
    }

    /// A word of a closed vocabulary in the event itself.
    pub(crate) fn word<T>(
        &mut self,
        slots: &[Slot],
        name: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some((slot, value)) = self.first(slots) else { return Ok(None) };
        match value.string().and_then(|word| read(&word)) {
            Some(word) => {
                self.found.keep(slot);
                Ok(Some(word))
            }
            None => Err(Refusal::new("FIELD_VALUE", "use a word of the vocabulary")
                .field(name)
                .at(value.offset())),
        }
    }

    pub(crate) fn severity(&mut self) -> Result<Option<Severity>, Refusal> {
        let Some((slot, value)) = self.first(&self.source.severity.value) else { return Ok(None) };
        let number = value.u64().map_err(|refusal| refusal.field("severity"))?;
        let severity = u8::try_from(number).ok().and_then(Severity::new);
        let Some(severity) = severity else {
            let refusal = Refusal::new("FIELD_VALUE", "send 0 to 10").field("severity");
            return Err(refusal.at(value.offset()).limit(10));
        };
        self.found.keep(slot);
        Ok(Some(severity))
    }

    /// A rule that fits, else what the exact action says, else the default.
    pub(crate) fn choose<T: Copy>(
        &self,
        choice: &Choice<T>,
        exact: Option<Verdict>,
        of: impl Fn(Verdict) -> Option<T>,
    ) -> T {
        for rule in &choice.rules {
            let Some((_, value)) = self.first(&rule.slots) else { continue };
            let text = text_of(value);
            if let Some((_, meaning)) = rule.meanings.iter().find(|(p, _)| p.matches(&text)) {
                return *meaning;
            }
        }
        exact.and_then(of).unwrap_or(choice.default)
    }
}

/// The text that patterns of the code are held against.
fn folded<'a>(value: Value<'_, 'a>, fold_case: bool) -> Cow<'a, str> {
    let text = text_of(value);
    if fold_case && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text.to_ascii_lowercase().into();
    }
    text
}

/// The text of a string, the span of anything else.
pub(crate) fn text_of<'a>(value: Value<'_, 'a>) -> Cow<'a, str> {
    value.string().unwrap_or_else(|| value.raw().into())
}

/// What no field keeps: the record itself, or its remaining members copied verbatim. `buffer` is
/// working memory, wiped again, so that what is returned takes no more room than it needs.
pub(crate) fn rest<'a>(
    reading: &Reading<'_, '_, 'a>,
    buffer: &mut Vec<u8>,
) -> Option<Cow<'a, [u8]>> {
    let root = reading.root;
    if reading.found.nothing_kept() {
        let empty = root.members().next().is_none();
        return (!empty).then(|| Cow::Borrowed(root.raw().as_bytes()));
    }
    // An arena of secrets never grows: growing leaves a copy behind.
    buffer.reserve(root.raw().len());
    for member in reading.source.paths.rest(root, reading.found) {
        let raw = member.raw().as_bytes();
        buffer.push(if buffer.is_empty() { b'{' } else { b',' });
        buffer.extend_from_slice(raw);
    }
    if buffer.is_empty() {
        return None;
    }
    buffer.push(b'}');
    let data = buffer.clone();
    buffer.as_mut_slice().zeroize();
    buffer.clear();
    Some(Cow::Owned(data))
}
