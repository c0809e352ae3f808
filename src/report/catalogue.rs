//! Control catalogues: `reports/*.toml`, read strictly. A control says in our own words what the
//! log can show, which query and rule decide it, and since when it holds; law may be quoted.
//! Unknown keys, missing thresholds and doubled ids are refused with the line they stand in.
//! It never evaluates anything.

use crate::base::event::vocabulary;
use crate::base::id::Hash32;
use crate::base::unit::Day;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;

vocabulary! {
    /// What a control came to. None of the words says that a law is met.
    Status {
        Supported = 0, "supported";
        Exception = 1, "exception";
        Attention = 2, "attention";
        InsufficientData = 3, "insufficient_data";
        Manual = 4, "manual";
        NotApplicable = 5, "n_a";
    }
}

impl Status {
    /// Place in a list: exceptions first, because they are what a reader must see.
    pub fn rank(self) -> u8 {
        match self {
            Status::Exception => 0,
            Status::InsufficientData => 1,
            Status::Attention => 2,
            Status::Manual => 3,
            Status::Supported => 4,
            Status::NotApplicable => 5,
        }
    }

    /// The word for people.
    pub fn label(self) -> &'static str {
        match self {
            Status::InsufficientData => "insufficient data",
            Status::NotApplicable => "not applicable",
            other => other.name(),
        }
    }
}

/// How a control is decided, with its thresholds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// No class-day is there after its due date.
    RetentionOverdue {
        /// Days after the due date that are attention, not yet an exception.
        late_days: u64,
    },
    /// Every erasure finished in time and has a receipt.
    ErasureReceipts {
        /// Days from the request to the end.
        deadline_days: u64,
    },
    /// Every access can be laid to a person.
    AccessBySubject {
        /// Accesses that name nobody before it is attention.
        unnamed_max: u64,
    },
    /// The log is whole, unaltered and covered by a checkpoint.
    IntegrityVerified {
        /// Age of the checkpoint at the cut-off before it is attention.
        checkpoint_age_hours: u64,
        /// Cosignatures below which it is attention.
        witnesses_min: u64,
    },
    /// Personal fields are sealed under persons.
    EncryptionCoverage {
        /// Unregistered fields under the tenant before it is attention.
        tenant_unknown_max: u64,
    },
    /// The log cannot show it: a person must attach evidence.
    Manual,
}

/// Why a control does not apply, and who said so.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// The justification.
    pub reason: String,
    /// Handle or role of who approved it.
    pub approver: String,
}

/// One control.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Stable id, unique in the catalogue.
    pub id: String,
    /// One line.
    pub title: String,
    /// The provisions it serves.
    pub articles: String,
    /// The law's own words; empty where a text may not be quoted.
    pub quote: String,
    /// What the log is tested for, in our words.
    pub wording: String,
    /// Id of the query that makes the population.
    pub query: String,
    /// How it is decided.
    pub rule: Rule,
    /// Thresholds as the file states them, for the IPE block.
    pub thresholds: BTreeMap<String, u64>,
    /// Columns of the evidence table, in order.
    pub evidence: Vec<String>,
    /// Where the requirement comes from.
    pub source: String,
    /// First day it holds.
    pub effective: Day,
    /// First day it no longer holds.
    pub until: Option<Day>,
    /// Set when it does not apply.
    pub not_applicable: Option<NotApplicable>,
}

/// One framework in one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalogue {
    /// Short name, e.g. `gdpr`.
    pub framework: String,
    /// Title of its reports.
    pub title: String,
    /// Version of this catalogue.
    pub version: String,
    /// First day it holds.
    pub effective: Day,
    /// The legal text.
    pub source: String,
    /// SHA-256 of the file's bytes.
    pub sha256: Hash32,
    /// Its controls, in the file's order.
    pub controls: Vec<Control>,
}

/// Why a catalogue was refused. `line` counts from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CatalogueError {
    /// Stable code, e.g. `CATALOGUE_RULE_UNKNOWN`.
    pub code: &'static str,
    /// Line of the file.
    pub line: usize,
    /// What is wrong, one clause.
    pub message: String,
}

impl std::fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in line {}: {}", self.code, self.line, self.message)
    }
}

impl std::error::Error for CatalogueError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    catalogue: RawHead,
    control: Vec<RawControl>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHead {
    framework: Spanned<String>,
    title: String,
    version: Spanned<String>,
    effective: Spanned<String>,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawControl {
    id: Spanned<String>,
    title: String,
    articles: String,
    #[serde(default)]
    quote: String,
    wording: String,
    query: String,
    rule: Spanned<String>,
    #[serde(default)]
    thresholds: BTreeMap<String, Spanned<u64>>,
    evidence: Spanned<Vec<String>>,
    source: String,
    effective: Spanned<String>,
    until: Option<Spanned<String>>,
    not_applicable: Option<Spanned<NotApplicable>>,
}

/// Reads one catalogue file.
pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
    let source = Source(text);
    let raw: RawFile = toml::from_str(text).map_err(|e| {
        source.error("CATALOGUE_SYNTAX", &e.span().unwrap_or(0..0), e.message().trim())
    })?;
    let framework = raw.catalogue.framework;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if framework.get_ref().is_empty() || !framework.get_ref().chars().all(plain) {
        let message = "framework is lower-case letters, digits and hyphens";
        return Err(source.error("CATALOGUE_FRAMEWORK", &framework.span(), message));
    }
    let version = raw.catalogue.version;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if version.get_ref().is_empty() || !version.get_ref().chars().all(plain) {
        let message = "version is letters, digits, dots and hyphens";
        return Err(source.error("CATALOGUE_VERSION", &version.span(), message));
    }
    if raw.control.is_empty() {
        return Err(source.error("CATALOGUE_EMPTY", &(0..0), "no control"));
    }
    let mut ids = BTreeSet::new();
    let mut controls = Vec::with_capacity(raw.control.len());
    for control in raw.control {
        if !ids.insert(control.id.get_ref().clone()) {
            return Err(source.error("CATALOGUE_ID_TWICE", &control.id.span(), "id stands twice"));
        }
        controls.push(source.control(control)?);
    }
    Ok(Catalogue {
        framework: framework.into_inner(),
        title: raw.catalogue.title,
        version: version.into_inner(),
        effective: source.day(&raw.catalogue.effective)?,
        source: raw.catalogue.source,
        sha256: Hash32(Sha256::digest(text.as_bytes()).into()),
        controls,
    })
}

/// The text, for line numbers.
struct Source<'a>(&'a str);

impl Source<'_> {
    fn error(&self, code: &'static str, at: &Range<usize>, message: &str) -> CatalogueError {
        let before = self.0.as_bytes().iter().take(at.start);
        let line = 1 + before.filter(|b| **b == b'\n').count();
        CatalogueError { code, line, message: message.to_owned() }
    }

    fn day(&self, text: &Spanned<String>) -> Result<Day, CatalogueError> {
        Day::parse(text.get_ref())
            .ok_or_else(|| self.error("CATALOGUE_DATE", &text.span(), "a date is YYYY-MM-DD"))
    }

    fn control(&self, raw: RawControl) -> Result<Control, CatalogueError> {
        let id = raw.id.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
            let message = "id is letters, digits, hyphens and dots";
            return Err(self.error("CATALOGUE_ID", &raw.id.span(), message));
        }
        if let Some(na) = &raw.not_applicable
            && (na.get_ref().reason.trim().is_empty() || na.get_ref().approver.trim().is_empty())
        {
            let message = "not_applicable needs a reason and an approver";
            return Err(self.error("CATALOGUE_NOT_APPLICABLE", &na.span(), message));
        }
        let rule = self.rule(&raw)?;
        if raw.evidence.get_ref() != columns(&rule) {
            let message = format!("evidence of this rule is {:?}", columns(&rule));
            return Err(self.error("CATALOGUE_EVIDENCE", &raw.evidence.span(), &message));
        }
        let effective = self.day(&raw.effective)?;
        let until = raw.until.as_ref().map(|until| self.day(until)).transpose()?;
        if let Some(end) = &raw.until
            && until.is_some_and(|day| day <= effective)
        {
            return Err(self.error("CATALOGUE_DATE", &end.span(), "until is after effective"));
        }
        Ok(Control {
            id: raw.id.into_inner(),
            title: raw.title,
            articles: raw.articles,
            quote: raw.quote,
            wording: raw.wording,
            query: raw.query,
            rule,
            thresholds: raw.thresholds.into_iter().map(|(k, v)| (k, v.into_inner())).collect(),
            evidence: raw.evidence.into_inner(),
            source: raw.source,
            effective,
            until,
            not_applicable: raw.not_applicable.map(Spanned::into_inner),
        })
    }

    fn rule(&self, raw: &RawControl) -> Result<Rule, CatalogueError> {
        let keys: &[&str] = match raw.rule.get_ref().as_str() {
            "retention_overdue" => &["late_days"],
            "erasure_receipts" => &["deadline_days"],
            "access_by_subject" => &["unnamed_max"],
            "integrity_verified" => &["checkpoint_age_hours", "witnesses_min"],
            "encryption_coverage" => &["tenant_unknown_max"],
            "manual" => &[],
            _ => return Err(self.error("CATALOGUE_RULE", &raw.rule.span(), "no such rule")),
        };
        for (name, value) in &raw.thresholds {
            if !keys.contains(&name.as_str()) {
                let message = format!("the rule has no threshold {name}");
                return Err(self.error("CATALOGUE_THRESHOLD", &value.span(), &message));
            }
        }
        let get = |name: &str| {
            let value = raw.thresholds.get(name).map(|v| *v.get_ref());
            let message = format!("the rule needs the threshold {name}");
            value.ok_or_else(|| self.error("CATALOGUE_THRESHOLD", &raw.rule.span(), &message))
        };
        Ok(match raw.rule.get_ref().as_str() {
            "retention_overdue" => Rule::RetentionOverdue { late_days: get("late_days")? },
            "erasure_receipts" => Rule::ErasureReceipts { deadline_days: get("deadline_days")? },
            "access_by_subject" => Rule::AccessBySubject { unnamed_max: get("unnamed_max")? },
            "integrity_verified" => Rule::IntegrityVerified {
                checkpoint_age_hours: get("checkpoint_age_hours")?,
                witnesses_min: get("witnesses_min")?,
            },
            "encryption_coverage" => {
                Rule::EncryptionCoverage { tenant_unknown_max: get("tenant_unknown_max")? }
            }
            _ => Rule::Manual,
        })
    }
}

/// Columns of the evidence table of a rule.
pub fn columns(rule: &Rule) -> &'static [&'static str] {
    match rule {
        Rule::RetentionOverdue { .. } => {
            &["class-day", "class", "groups", "due", "state", "finding"]
        }
        Rule::ErasureReceipts { .. } => &[
            "job",
            "requested",
            "completed",
            "mode",
            "generation",
            "records",
            "receipt",
            "finding",
        ],
        Rule::AccessBySubject { .. } => &["subject", "code", "count", "first", "last"],
        Rule::IntegrityVerified { .. } => &["verdict", "count", "reading"],
        Rule::EncryptionCoverage { .. } => {
            &["field", "registered as", "under persons", "under tenant", "clear", "finding"]
        }
        Rule::Manual => &[],
    }
}
