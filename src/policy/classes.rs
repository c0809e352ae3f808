//! Retention classes, `policies/classes.toml`: how long, by which law at least or at most, and
//! which event falls into which class. It never destroys anything; it says when something is due.

use crate::base::event::{Category, EventCode, Outcome, Severity, Verb};
use crate::base::unit::{ClassDay, ClassId, Day, NANOS_PER_DAY, UtcNanos};
use crate::policy::error::{Page, PolicyError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// Days of a year in `keep`: classes with a floor of years say their days instead, because six
/// calendar years can hold two leap days.
const DAYS_OF_YEAR: u32 = 365;
/// Longest finite retention, and longest that a law may demand: 200 years; beyond it say
/// `forever`.
const KEEP_DAYS_MAX: u32 = 200 * DAYS_OF_YEAR;
/// Classes at most: a commit has one body file a class and day, may span two days around
/// midnight, and names at most 64 files.
const CLASSES_MAX: usize = 32;

/// Longest name of a law, in bytes.
pub const LAW_BYTES_MAX: usize = 100;

/// A bound that a law sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Days after the end of the bucket.
    pub days: u32,
    /// The provision.
    pub law: String,
    /// Since when it applies.
    pub effective: Day,
}

/// One retention class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Class {
    /// Stored number, never reused for another meaning.
    pub id: ClassId,
    /// Name, also of its directory of bodies.
    pub name: String,
    /// Days it is kept after the end of its bucket; none = forever.
    keep: Option<u32>,
    /// At least this long.
    pub floor: Option<Bound>,
    /// At most this long.
    pub ceiling: Option<Bound>,
    /// Why it exists.
    pub reason: String,
}

impl Class {
    /// Days it is kept after the end of its bucket; none = forever.
    pub fn keep_days(&self) -> Option<u32> {
        self.keep
    }

    /// Days the law demands at least.
    pub fn floor_days(&self) -> Option<u32> {
        self.floor.as_ref().map(|floor| floor.days)
    }

    /// Days the law allows at most.
    pub fn ceiling_days(&self) -> Option<u32> {
        self.ceiling.as_ref().map(|ceiling| ceiling.days)
    }
}

/// What a selection rule may look at: nothing personal.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'e> {
    /// Name of the source.
    pub source: &'e str,
    /// What happened.
    pub code: EventCode,
    /// How it ended.
    pub outcome: Outcome,
    /// How grave it is.
    pub severity: Severity,
    /// The clear object of the event, or empty.
    pub clear: &'e [u8],
}

#[derive(Clone, Debug)]
struct Rule {
    priority: i64,
    class: ClassId,
    source: Vec<String>,
    category: Vec<Category>,
    verb: Vec<Verb>,
    outcome: Vec<Outcome>,
    severity: Option<(u8, u8)>,
    /// Alternatives of `"name":value` as they stand in a clear object; all groups must hold.
    clear: Vec<Vec<String>>,
}

/// All classes and the rules that choose among them.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Ascending by id.
    classes: Vec<Class>,
    /// Descending by priority, then in order of the file.
    rules: Vec<Rule>,
    default: ClassId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClasses {
    default: Spanned<String>,
    class: Vec<Spanned<RawClass>>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClass {
    id: u16,
    name: String,
    keep: String,
    floor: Option<RawBound>,
    ceiling: Option<RawBound>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBound {
    days: u32,
    law: String,
    effective: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    priority: i64,
    class: String,
    #[serde(default)]
    source: Vec<String>,
    #[serde(default)]
    category: Vec<String>,
    #[serde(default)]
    verb: Vec<String>,
    #[serde(default)]
    outcome: Vec<String>,
    severity: Option<(u8, u8)>,
    #[serde(default)]
    clear: BTreeMap<String, Vec<toml::Value>>,
}

impl Classes {
    /// Reads `classes.toml`.
    pub(crate) fn parse(page: Page<'_>) -> Result<Self, PolicyError> {
        let raw: RawClasses = page.read()?;
        let mut classes: Vec<Class> = Vec::new();
        for class in raw.class {
            let (span, class) = (class.span(), class.into_inner());
            let class = checked(page, &span, class)?;
            if classes.iter().any(|other| other.id == class.id || other.name == class.name) {
                let reason = format!("class {} `{}`: id or name is taken", class.id, class.name);
                return Err(page.error(&span, "CLASS_DUPLICATE", reason));
            }
            if classes.len() == CLASSES_MAX {
                let reason = format!("there may be at most {CLASSES_MAX} classes");
                return Err(page.error(&span, "CLASS_TOO_MANY", reason));
            }
            classes.push(class);
        }
        classes.sort_by_key(|class| class.id);
        let named = |name: &str, span: &Range<usize>| {
            let class = classes.iter().find(|class| class.name == name);
            class.map(|class| class.id).ok_or_else(|| {
                page.error(span, "CLASS_UNKNOWN", format!("there is no class `{name}`"))
            })
        };
        let default = named(raw.default.get_ref(), &raw.default.span())?;
        let mut rules = Vec::new();
        for rule in raw.rule {
            let (span, rule) = (rule.span(), rule.into_inner());
            let class = named(&rule.class, &span)?;
            rules.push(checked_rule(page, &span, rule, class)?);
        }
        rules.sort_by_key(|rule: &Rule| std::cmp::Reverse(rule.priority));
        Ok(Classes { classes, rules, default })
    }

    /// The class with this number.
    pub fn get(&self, id: ClassId) -> Option<&Class> {
        let at = self.classes.binary_search_by_key(&id, |class| class.id).ok()?;
        self.classes.get(at)
    }

    /// The class with this name.
    pub fn by_name(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// Every class, ascending by id.
    pub fn all(&self) -> &[Class] {
        &self.classes
    }

    /// The class of an event that no rule names.
    pub fn default_class(&self) -> ClassId {
        self.default
    }

    /// The class of an event: the first rule that fits, by priority.
    pub fn select(&self, facts: &EventFacts<'_>) -> ClassId {
        let rule = self.rules.iter().find(|rule| rule.fits(facts));
        rule.map_or(self.default, |rule| rule.class)
    }

    /// When the groups of a class-day may go: end of the bucket plus what the class keeps.
    /// None: forever, or no such class (what is not known is not destroyed).
    pub fn due(&self, class_day: ClassDay) -> Option<UtcNanos> {
        let keep = self.get(class_day.class)?.keep_days()?;
        let end = class_day.day.end().0;
        end.checked_add(u64::from(keep).checked_mul(NANOS_PER_DAY)?).map(UtcNanos)
    }
}

impl Rule {
    fn fits(&self, facts: &EventFacts<'_>) -> bool {
        fn in_or_empty<T: PartialEq>(list: &[T], value: &T) -> bool {
            list.is_empty() || list.contains(value)
        }
        let source = facts.source;
        (self.source.is_empty() || self.source.iter().any(|name| is_source(name, source)))
            && in_or_empty(&self.category, &facts.code.category)
            && in_or_empty(&self.verb, &facts.code.verb)
            && in_or_empty(&self.outcome, &facts.outcome)
            && self.severity.is_none_or(|(from, to)| (from..=to).contains(&facts.severity.value()))
            && self.clear.iter().all(|any| any.iter().any(|pair| holds(facts.clear, pair)))
    }
}

/// A rule's source names a source, or all sources `name/...`.
fn is_source(name: &str, source: &str) -> bool {
    source.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the flat clear object has this member. Words hold no comma, so it is cut at commas.
fn holds(clear: &[u8], pair: &str) -> bool {
    let Some(inner) = clear.get(1..clear.len().saturating_sub(1)) else { return false };
    inner.split(|byte| *byte == b',').any(|member| member == pair.as_bytes())
}

/// Days of `7d`, `1y` or `forever` (none).
fn keep_days(text: &str) -> Option<Option<u32>> {
    if text == "forever" {
        return Some(None);
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let days = match unit {
        "d" => 1,
        "y" => DAYS_OF_YEAR,
        _ => return None,
    };
    let days = number.parse::<u32>().ok()?.checked_mul(days)?;
    (1..=KEEP_DAYS_MAX).contains(&days).then_some(Some(days))
}

/// Laws and reasons stand in receipts and reports, one item a line: nothing in them may look
/// like another line, and a law must fit the entry of an erasure.
fn texts(page: Page<'_>, span: &Range<usize>, raw: &RawClass) -> Result<(), PolicyError> {
    let hidden = |c: char| {
        let mark = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
        c.is_control() || mark || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let bounds = [&raw.floor, &raw.ceiling];
    let mut laws = bounds.into_iter().flatten().map(|bound| bound.law.as_str());
    if laws.clone().any(|law| law.len() > LAW_BYTES_MAX) {
        let reason = format!("{}: a law is named in at most {LAW_BYTES_MAX} bytes", raw.name);
        return Err(page.error(span, "CLASS_LAW", reason));
    }
    match laws.any(|law| law.chars().any(hidden)) || raw.reason.chars().any(hidden) {
        true => {
            let reason = "a law or reason holds a control character or an invisible mark";
            Err(page.error(span, "CLASS_TEXT", reason))
        }
        false => Ok(()),
    }
}

fn checked(page: Page<'_>, span: &Range<usize>, raw: RawClass) -> Result<Class, PolicyError> {
    texts(page, span, &raw)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if raw.name.is_empty() || raw.name.len() > 32 || !raw.name.bytes().all(plain) {
        let reason = "a class name is 1 to 32 of a-z, 0-9 and `-`";
        return Err(page.error(span, "CLASS_NAME", reason));
    }
    let Some(keep) = keep_days(&raw.keep) else {
        let reason = format!("{}: keep is `7d`, `1y` or `forever`, at most 200y", raw.name);
        return Err(page.error(span, "CLASS_KEEP", reason));
    };
    let bound = |raw: Option<RawBound>| {
        raw.map(|raw| match Day::parse(&raw.effective) {
            Some(effective) if !raw.law.is_empty() => {
                Ok(Bound { days: raw.days, law: raw.law, effective })
            }
            _ => Err(page.error(span, "CLASS_LAW", "a bound names its law and its date")),
        })
        .transpose()
    };
    let (floor, ceiling) = (bound(raw.floor)?, bound(raw.ceiling)?);
    if let Some(floor) = floor.as_ref().filter(|floor| floor.days > KEEP_DAYS_MAX) {
        let reason = format!(
            "{}: a floor is at most {KEEP_DAYS_MAX} days (200 years), not {}",
            raw.name, floor.days
        );
        return Err(page.error(span, "CLASS_LAW", reason));
    }
    let kept = keep.map_or("forever".to_owned(), |days| format!("{days} days"));
    if let (Some(floor), Some(days)) = (&floor, keep)
        && days < floor.days
    {
        let reason = format!(
            "{}: keeps {kept}, {} demands at least {} days since {}",
            raw.name, floor.law, floor.days, floor.effective
        );
        return Err(page.error(span, "CLASS_BELOW_FLOOR", reason));
    }
    if let Some(ceiling) = &ceiling
        && keep.is_none_or(|days| days > ceiling.days)
    {
        let reason = format!(
            "{}: keeps {kept}, {} allows at most {} days since {}",
            raw.name, ceiling.law, ceiling.days, ceiling.effective
        );
        return Err(page.error(span, "CLASS_ABOVE_CEILING", reason));
    }
    let (id, name, reason) = (ClassId(raw.id), raw.name, raw.reason);
    Ok(Class { id, name, keep, floor, ceiling, reason })
}

fn checked_rule(
    page: Page<'_>,
    span: &Range<usize>,
    raw: RawRule,
    class: ClassId,
) -> Result<Rule, PolicyError> {
    fn words<T>(raw: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        raw.iter().map(|word| read(word).ok_or_else(|| word.clone())).collect()
    }
    let wrong = |word: String| {
        page.error(span, "POLICY_WORD", format!("`{word}` is not a word of the vocabulary"))
    };
    if let Some((from, to)) = raw.severity
        && (from > to || to > 10)
    {
        return Err(page.error(span, "POLICY_WORD", "severity is [from, to] within 0 to 10"));
    }
    let mut clear = Vec::new();
    for (name, values) in &raw.clear {
        let mut any = Vec::new();
        for value in values {
            any.push(match value {
                toml::Value::String(word) => format!("\"{name}\":\"{word}\""),
                toml::Value::Integer(number) => format!("\"{name}\":{number}"),
                toml::Value::Boolean(flag) => format!("\"{name}\":{flag}"),
                other => return Err(wrong(other.type_str().to_owned())),
            });
        }
        clear.push(any);
    }
    Ok(Rule {
        priority: raw.priority,
        class,
        source: raw.source,
        category: words(&raw.category, Category::from_name).map_err(wrong)?,
        verb: words(&raw.verb, Verb::from_name).map_err(wrong)?,
        outcome: words(&raw.outcome, Outcome::from_name).map_err(wrong)?,
        severity: raw.severity,
        clear,
    })
}
