//! Source mappings, `policies/sources/*.toml`: how the records of one source become events.
//! A mapping is compiled once. It never drops a value: what it does not map stays in `data`.
//! `docs/events.md` explains the language.

mod compile;
mod raw;

use crate::base::event::{Category, EventCode, Outcome, Severity, Verb};
use crate::policy::error::{Page, PolicyError};
use crate::policy::fields::FieldId;
use crate::policy::paths::{Paths, Slot};
use crate::policy::patterns::Pattern;
use crate::policy::persons::PersonRule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One compiled mapping.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name; sources `name` and `name/...` use it.
    pub name: Arc<str>,
    /// Whether sources without a mapping of their own use it.
    pub fallback: bool,
    /// Whether clear fields of a wrong type or word refuse the event instead of being sealed.
    pub strict: bool,
    /// Whether refused keys are looked for at any depth.
    pub refuse_keys: bool,
    /// Every path the rules below name.
    pub paths: Paths,
    /// Values without which an event is refused, with the name to say.
    pub required: Vec<(Vec<Slot>, Box<str>)>,
    /// Values that become fields.
    pub maps: Vec<(Slot, FieldId)>,
    /// Where the event's time stands.
    pub times: Vec<TimeRule>,
    /// How duplicates are found.
    pub dedupe: DedupeRule,
    /// How the event code is found.
    pub code: CodeRules,
    /// How the outcome is found.
    pub outcome: Choice<Outcome>,
    /// How the severity is found.
    pub severity: Choice<Severity>,
    /// Who the event is about.
    pub persons: Vec<PersonRule>,
}

/// One place of the event's time, and the forms it may have there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeRule {
    /// Where.
    pub slot: Slot,
    /// A text is read.
    pub text: bool,
    /// A text without zone is read as UTC.
    pub assume_utc: bool,
    /// A number is read as milliseconds since 1970.
    pub epoch_ms: bool,
}

/// How duplicates are found.
#[derive(Clone, Default, Debug)]
pub struct DedupeRule {
    /// A number without gaps.
    pub sequence: Vec<Slot>,
    /// Values that name the event together.
    pub event_id: Vec<Vec<Slot>>,
}

/// What an exact action says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What happened.
    pub code: EventCode,
    /// How it ended, if the action alone says so.
    pub outcome: Option<Outcome>,
    /// How grave it is, if the action alone says so.
    pub severity: Option<Severity>,
}

/// How the event code is found: words, else the exact action, else verb and category apart.
#[derive(Clone, Debug)]
pub struct CodeRules {
    /// Words of the vocabulary in the event itself.
    pub category: Vec<Slot>,
    /// Words of the vocabulary in the event itself.
    pub verb: Vec<Slot>,
    /// The source's own name of what happened.
    pub action: Vec<Slot>,
    /// What says more of the action: compared as `action/refinement`.
    pub refine: Vec<Slot>,
    /// What decides the category.
    pub by: Vec<Slot>,
    /// Whether action and `by` are compared in lower case.
    pub fold_case: bool,
    /// By exact action.
    pub exact: BTreeMap<Box<str>, Verdict>,
    /// By pattern of the action, first fit; one that says the category too needs no `by`.
    pub verbs: Vec<(Pattern, Option<Category>, Verb)>,
    /// By pattern of `by`, first fit.
    pub categories: Vec<(Pattern, Category)>,
    /// When nothing fits.
    pub default: EventCode,
}

/// A choice by the first pattern that fits.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    /// The word or number itself in the event.
    pub value: Vec<Slot>,
    /// Rules in order.
    pub rules: Vec<ChoiceRule<T>>,
    /// When nothing fits.
    pub default: T,
}

/// One rule of a choice: the first of its paths that is there, and what it means.
#[derive(Clone, Debug)]
pub struct ChoiceRule<T> {
    /// Paths in order of preference.
    pub slots: Vec<Slot>,
    /// Meanings in order; a value that fits none leaves the choice to the next rule.
    pub meanings: Vec<(Pattern, T)>,
}

/// The names of all mappings are different, and one at most is the fallback.
pub(crate) fn check_together(sources: &[(Source, &str)]) -> Result<(), PolicyError> {
    let mut names = BTreeSet::new();
    for (source, file) in sources {
        if !names.insert(source.name.clone()) {
            let page = Page { file, text: "" };
            return Err(page.missing("POLICY_DUPLICATE", format!("two mappings `{}`", source.name)));
        }
    }
    if sources.iter().filter(|(source, _)| source.fallback).count() > 1 {
        let page = Page { file: "sources", text: "" };
        return Err(page.missing("POLICY_DUPLICATE", "two mappings say fallback = true"));
    }
    Ok(())
}
