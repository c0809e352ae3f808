//! The filter: a conjunction of terms over what an entry shows in clear. Pure: it never opens a
//! field and never knows the store.
//!
//! | term | values |
//! |---|---|
//! | `kind` `category` `verb` `outcome` | `=` a word of the vocabulary |
//! | `code` | `=` `category.verb` |
//! | `class` | `=` number of a retention class |
//! | `source` | `=` name of a source, or its handle in hex |
//! | `record` | `=` record id in hex |
//! | `severity` `index` | `=` `>=` `<=` `>` `<` a number; `index=5..10` is 5 to 9 |
//! | `time` `event_time` | the same with RFC 3339 instants or days; a day means all of it |
//!
//! `time` is log time, `event_time` the source's; an entry without the latter matches no term
//! on it.

use crate::base::entry::{Entry, Kind};
use crate::base::event::{Category, EventCode, Outcome, Severity, Verb};
use crate::base::id::{RecordId, SourceHandle};
use crate::base::refusal::Refusal;
use crate::base::unit::{ClassId, Day, UtcNanos};
use std::fmt;

/// The fields a term may name, for help texts.
pub const FIELDS: &str =
    "kind category verb code outcome severity class source index time event_time record";

/// Terms of one filter: each field has at most an equality and two bounds.
const TERMS_MAX: usize = 64;

/// What only the caller can know about names.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Handle of a source by its name.
    pub source: &'a dyn Fn(&str) -> Option<SourceHandle>,
    /// Whether the registry has a field of this name.
    pub is_registered: &'a dyn Fn(&str) -> bool,
}

/// An inclusive range; a range that allows everything is no condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Least value that matches.
    pub from: u64,
    /// Greatest value that matches.
    pub to: u64,
}

impl Span {
    /// Every value.
    pub const ALL: Span = Span { from: 0, to: u64::MAX };

    /// Whether a value lies in it.
    pub fn contains(self, value: u64) -> bool {
        (self.from..=self.to).contains(&value)
    }
}

/// A conjunction: an entry matches if every condition that is there does. Empty matches all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// What the entry is.
    pub kind: Option<Kind>,
    /// High half of the code.
    pub category: Option<Category>,
    /// Low half of the code.
    pub verb: Option<Verb>,
    /// Both halves.
    pub code: Option<EventCode>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Retention class.
    pub class: Option<ClassId>,
    /// Source, as its handle.
    pub source: Option<SourceHandle>,
    /// One record.
    pub record: Option<RecordId>,
    /// Severity, 0 to 10.
    pub severity: Span,
    /// Place in the log.
    pub index: Span,
    /// Log time in nanoseconds.
    pub time: Span,
    /// Time of the source in nanoseconds.
    pub event_time: Span,
}

impl Default for Filter {
    fn default() -> Self {
        Filter {
            kind: None,
            category: None,
            verb: None,
            code: None,
            outcome: None,
            class: None,
            source: None,
            record: None,
            severity: Span::ALL,
            index: Span::ALL,
            time: Span::ALL,
            event_time: Span::ALL,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// One term taken apart, with its place for the error.
#[derive(Clone, Copy)]
struct Term<'a> {
    place: usize,
    field: &'a str,
    op: Op,
    value: &'a str,
}

impl Filter {
    /// Parses terms like `outcome=failure` or `time>=2026-01-01T00:00:00Z`. A refusal names the
    /// term by its place, counted from 1, and never repeats its text.
    pub fn parse(terms: &[&str], names: &Names<'_>) -> Result<Self, Refusal> {
        if terms.len() > TERMS_MAX {
            let refusal = Refusal::new("FILTER_TOO_MANY_TERMS", "join or drop terms");
            return Err(refusal.limit(TERMS_MAX as u64));
        }
        let mut filter = Filter::default();
        for (at, text) in terms.iter().enumerate() {
            filter.add(split(at + 1, text)?, names)?;
        }
        Ok(filter)
    }

    /// Whether an entry matches.
    pub fn matches(&self, entry: &Entry) -> bool {
        let head = &entry.head;
        is(self.kind, head.kind)
            && is(self.category, head.code.category)
            && is(self.verb, head.code.verb)
            && is(self.code, head.code)
            && is(self.outcome, head.outcome)
            && is(self.class, head.class)
            && is(self.source, head.source)
            && is(self.record, head.record)
            && self.severity.contains(head.severity.value().into())
            && self.index.contains(entry.index.0)
            && self.time.contains(entry.time_log.0)
            && (self.event_time == Span::ALL
                || (head.time.0 > 0 && self.event_time.contains(head.time.0)))
    }

    fn add(&mut self, term: Term<'_>, names: &Names<'_>) -> Result<(), Refusal> {
        let value = term.value;
        match term.field {
            "kind" => equal(&mut self.kind, term, Kind::from_name(value)),
            "category" => equal(&mut self.category, term, Category::from_name(value)),
            "verb" => equal(&mut self.verb, term, Verb::from_name(value)),
            "code" => equal(&mut self.code, term, EventCode::parse(value)),
            "outcome" => equal(&mut self.outcome, term, Outcome::from_name(value)),
            "class" => equal(&mut self.class, term, digits(value).map(ClassId)),
            "record" => equal(&mut self.record, term, RecordId::parse(value)),
            "source" => {
                let handle = (names.source)(value).or_else(|| SourceHandle::parse(value));
                equal(&mut self.source, term, handle)
            }
            "severity" => {
                let severity = digits(value).and_then(Severity::new);
                narrow(&mut self.severity, term, severity.map(|s| one(s.value().into())))
            }
            "index" => narrow(&mut self.index, term, indexes(term)),
            "time" => narrow(&mut self.time, term, instants(value)),
            "event_time" => narrow(&mut self.event_time, term, instants(value)),
            name if (names.is_registered)(name) => Err(Refusal::new(
                "FILTER_SEALED_FIELD",
                "its values are sealed: search by subject, or export with a grant and search there",
            )
            .field(name)),
            _ => Err(term.refuse("FILTER_FIELD_UNKNOWN", ALLOWED)),
        }
    }
}

/// Repeats `FIELDS`; a test keeps them equal.
const ALLOWED: &str = "use one of kind category verb code outcome severity class source index \
     time event_time record";

impl Term<'_> {
    fn refuse(&self, code: &'static str, fix: &'static str) -> Refusal {
        Refusal::new(code, fix).field(&format!("term {}", self.place))
    }
}

fn split(place: usize, text: &str) -> Result<Term<'_>, Refusal> {
    let broken = Term { place, field: "", op: Op::Equal, value: "" };
    let refuse = || broken.refuse("FILTER_TERM_INVALID", "write field=value, field>=value, ...");
    let at = text.find(['=', '<', '>']).ok_or_else(refuse)?;
    let (field, rest) = text.split_at_checked(at).ok_or_else(refuse)?;
    let ops = [
        (">=", Op::AtLeast),
        ("<=", Op::AtMost),
        ("=", Op::Equal),
        (">", Op::Above),
        ("<", Op::Below),
    ];
    let (value, op) = ops
        .iter()
        .find_map(|&(sign, op)| rest.strip_prefix(sign).map(|value| (value.trim(), op)))
        .ok_or_else(refuse)?;
    let field = field.trim();
    if field.is_empty() || value.is_empty() {
        return Err(refuse());
    }
    Ok(Term { place, field, op, value })
}

fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn equal<T: PartialEq>(
    slot: &mut Option<T>,
    term: Term<'_>,
    value: Option<T>,
) -> Result<(), Refusal> {
    if term.op != Op::Equal {
        return Err(term.refuse("FILTER_NO_ORDER", "this field takes = only"));
    }
    let Some(value) = value else { return Err(unreadable(term)) };
    match slot {
        Some(held) if *held != value => Err(contradiction(term)),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn narrow(slot: &mut Span, term: Term<'_>, value: Option<Span>) -> Result<(), Refusal> {
    let Some(value) = value else { return Err(unreadable(term)) };
    let (from, to) = match term.op {
        Op::Equal => (Some(value.from), Some(value.to)),
        Op::AtLeast => (Some(value.from), Some(u64::MAX)),
        Op::AtMost => (Some(0), Some(value.to)),
        Op::Above => (value.to.checked_add(1), Some(u64::MAX)),
        Op::Below => (Some(0), value.from.checked_sub(1)),
    };
    let (Some(from), Some(to)) = (from, to) else { return Err(contradiction(term)) };
    let both = Span { from: slot.from.max(from), to: slot.to.min(to) };
    if both.from > both.to {
        return Err(contradiction(term));
    }
    *slot = both;
    Ok(())
}

fn unreadable(term: Term<'_>) -> Refusal {
    match term.field {
        "source" => term.refuse("FILTER_SOURCE_UNKNOWN", "name a configured source"),
        _ => term.refuse("FILTER_VALUE_INVALID", "docs/siem.md lists the values of each field"),
    }
}

/// No entry can match: almost always a mistake, and an empty answer would hide it.
fn contradiction(term: Term<'_>) -> Refusal {
    term.refuse("FILTER_CONTRADICTION", "terms are joined by and: no entry can match all of them")
}

fn one(value: u64) -> Span {
    Span { from: value, to: value }
}

/// A plain decimal number: no sign, no spaces.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn indexes(term: Term<'_>) -> Option<Span> {
    match term.value.split_once("..") {
        Some((from, to)) if term.op == Op::Equal => {
            let span = Span { from: digits(from)?, to: digits::<u64>(to)?.checked_sub(1)? };
            (span.from <= span.to).then_some(span)
        }
        Some(_) => None,
        None => digits(term.value).map(one),
    }
}

/// An instant, or a day as its first to its last nanosecond.
fn instants(text: &str) -> Option<Span> {
    match Day::parse(text) {
        Some(day) => Some(Span { from: day.start().0, to: day.end().0.saturating_sub(1) }),
        None => UtcNanos::parse(text).map(|time| one(time.0)),
    }
}

impl fmt::Display for Filter {
    /// The filter's one canonical text, which parses to the same filter: reports and hashes use
    /// it. Times have nanoseconds where they need them; sources are handles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut terms: Vec<String> = Vec::new();
        fn word<T: fmt::Display>(terms: &mut Vec<String>, name: &str, value: Option<T>) {
            terms.extend(value.map(|value| format!("{name}={value}")));
        }
        word(&mut terms, "kind", self.kind);
        word(&mut terms, "category", self.category);
        word(&mut terms, "verb", self.verb);
        word(&mut terms, "code", self.code);
        word(&mut terms, "outcome", self.outcome);
        word(&mut terms, "class", self.class);
        word(&mut terms, "source", self.source);
        word(&mut terms, "record", self.record);
        bounds(&mut terms, "severity", self.severity, |n| n.to_string());
        bounds(&mut terms, "index", self.index, |n| n.to_string());
        let instant = |n: u64| match n {
            0 => "1970-01-01T00:00:00Z".to_owned(),
            n => UtcNanos(n).to_string(),
        };
        bounds(&mut terms, "time", self.time, instant);
        bounds(&mut terms, "event_time", self.event_time, instant);
        f.write_str(&terms.join(" "))
    }
}

fn bounds(terms: &mut Vec<String>, name: &str, span: Span, text: impl Fn(u64) -> String) {
    if span.from > 0 {
        terms.push(format!("{name}>={}", text(span.from)));
    }
    if span.to < u64::MAX {
        terms.push(format!("{name}<={}", text(span.to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names {
        source: &|name| (name == "gateway").then_some(SourceHandle([7; 16])),
        is_registered: &|name| name == "actor.email",
    };

    fn check(terms: &[&str], expect: Result<&str, &str>) {
        let parsed = Filter::parse(terms, &NAMES);
        match (&parsed, expect) {
            (Ok(filter), Ok(text)) => {
                let text = text.replace("H7", &SourceHandle([7; 16]).to_string());
                assert_eq!(filter.to_string(), text, "{terms:?}");
                let again: Vec<&str> = text.split(' ').filter(|t| !t.is_empty()).collect();
                assert_eq!(Filter::parse(&again, &NAMES).as_ref(), Ok(filter), "{terms:?}");
            }
            (Err(refusal), Err(code)) => assert_eq!(refusal.code, code, "{terms:?}"),
            _ => panic!("{terms:?}: {parsed:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn terms_parse_to_their_canonical_text() {
        check(&[], Ok(""));
        check(&["outcome=failure", "kind=event"], Ok("kind=event outcome=failure"));
        check(&["code=vault.erase", "code = vault.erase"], Ok("code=vault.erase"));
        check(&["severity>=3", "severity<8"], Ok("severity>=3 severity<=7"));
        check(&["index=5..10"], Ok("index>=5 index<=9"));
        check(&["index=7"], Ok("index>=7 index<=7"));
        check(&["source=gateway"], Ok("source=H7"));
        check(
            &["time=2026-01-31"],
            Ok("time>=2026-01-31T00:00:00Z time<=2026-01-31T23:59:59.999999999Z"),
        );
        check(&["time>2026-01-31"], Ok("time>=2026-02-01T00:00:00Z"));
        check(&["event_time<2026-01-31"], Ok("event_time<=2026-01-30T23:59:59.999999999Z"));
        check(&["time>=2026-01-01T01:00:00+01:00"], Ok("time>=2026-01-01T00:00:00Z"));
        check(&["time<=1970-01-01T00:00:00Z"], Ok("time<=1970-01-01T00:00:00Z"));
    }

    #[test]
    fn mistakes_are_refused_by_place() {
        for (term, code) in [
            ("", "FILTER_TERM_INVALID"),
            ("outcome", "FILTER_TERM_INVALID"),
            ("=x", "FILTER_TERM_INVALID"),
            ("outcome=", "FILTER_TERM_INVALID"),
            ("outcome=lost", "FILTER_VALUE_INVALID"),
            ("outcome>=failure", "FILTER_NO_ORDER"),
            ("severity=11", "FILTER_VALUE_INVALID"),
            ("index=+5", "FILTER_VALUE_INVALID"),
            ("index=9..9", "FILTER_VALUE_INVALID"),
            ("index>=1..2", "FILTER_VALUE_INVALID"),
            ("index<0", "FILTER_CONTRADICTION"),
            ("time>=yesterday", "FILTER_VALUE_INVALID"),
            ("record=ab", "FILTER_VALUE_INVALID"),
            ("source=nobody", "FILTER_SOURCE_UNKNOWN"),
            ("actor.email=a@b", "FILTER_SEALED_FIELD"),
            ("actor.shoe=42", "FILTER_FIELD_UNKNOWN"),
        ] {
            check(&["kind=event", term], Err(code));
        }
        check(&["outcome=failure", "outcome=denied"], Err("FILTER_CONTRADICTION"));
        check(&["index>=9", "index<=8"], Err("FILTER_CONTRADICTION"));
        check(&["index=1"; 65], Err("FILTER_TOO_MANY_TERMS"));
        let refusal = Filter::parse(&["kind=event", "shoe=42"], &NAMES).err();
        assert_eq!(refusal.map(|r| r.field).as_deref(), Some("term 2"));
        assert_eq!(ALLOWED, format!("use one of {FIELDS}"));
    }
}
