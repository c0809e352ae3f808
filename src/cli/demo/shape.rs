//! The canonical event as the demo writes it: the shape `policies/sources/canonical.toml` maps.
//! It only writes; reading and judging events is the policy layer's work.

use crate::base::event::{Category, Outcome, Verb};
use serde::Serialize;
use serde_json::Value;

/// One identifier of a person.
#[derive(Clone, Serialize)]
pub struct Known {
    /// Kind in the field registry.
    pub kind: &'static str,
    /// As somebody typed it.
    pub value: String,
}

/// A person the event is about.
#[derive(Clone, Serialize)]
pub struct About {
    /// Part in the event, e.g. `patient`.
    pub role: &'static str,
    /// Identifiers of this one person.
    pub identifiers: Vec<Known>,
}

/// Who acted.
#[derive(Clone, Serialize)]
pub struct Actor {
    /// User id.
    pub id: String,
    /// `user` or `service`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// E-mail as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// What was acted upon.
#[derive(Clone, Serialize)]
pub struct Target {
    /// Kind of thing.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id in the source.
    pub id: String,
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where it came from.
#[derive(Clone, Serialize)]
pub struct Origin {
    /// Address.
    pub ip: String,
    /// Workstation, if inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'static str>,
}

/// Why it failed.
#[derive(Clone, Serialize)]
pub struct Failure {
    /// The source's code.
    pub code: &'static str,
    /// The source's words.
    pub message: &'static str,
}

/// How long it took.
#[derive(Clone, Serialize)]
pub struct Performance {
    /// Milliseconds.
    pub duration_ms: u64,
}

/// One event in canonical form; fields in the order a reader expects.
#[derive(Clone, Serialize)]
pub struct Canonical {
    /// Unique within the source.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// The source's own count, from 1 without gaps.
    pub source_seq: u64,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// The source's own word.
    pub action: &'static str,
    /// `base::event::Category`.
    pub category: &'static str,
    /// `base::event::Verb`.
    pub verb: &'static str,
    /// `base::event::Outcome`.
    pub outcome: &'static str,
    /// 0 to 10.
    pub severity: u8,
    /// Upon what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// About whom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<About>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Why, in the actor's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Purpose of processing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'static str>,
    /// Legal basis of processing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<&'static str>,
    /// Who received the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<&'static str>,
    /// Session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// Whatever else the source says.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Canonical {
    /// An event with its closed words; everything else is empty.
    pub fn new(action: &'static str, category: Category, verb: Verb) -> Self {
        Canonical {
            id: String::new(),
            time: String::new(),
            source_seq: 0,
            actor: None,
            action,
            category: category.name(),
            verb: verb.name(),
            outcome: Outcome::Success.name(),
            severity: 1,
            targets: Vec::new(),
            subjects: Vec::new(),
            origin: None,
            reason: None,
            purpose: None,
            legal_basis: None,
            recipient: None,
            session_id: None,
            request_id: None,
            trace_id: None,
            error: None,
            performance: None,
            data: Value::Null,
        }
    }

    /// It failed or was denied, and why.
    #[must_use]
    pub fn failed(mut self, outcome: Outcome, code: &'static str, message: &'static str) -> Self {
        self.outcome = outcome.name();
        self.error = Some(Failure { code, message });
        self
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(mut self, severity: u8) -> Self {
        self.severity = severity;
        self
    }

    /// Upon what.
    #[must_use]
    pub fn target(mut self, kind: &'static str, id: String) -> Self {
        self.targets.push(Target { kind, id, name: None });
        self
    }

    /// About whom.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.subjects.push(about);
        self
    }

    /// Purpose and legal basis.
    #[must_use]
    pub fn lawful(mut self, purpose: &'static str, basis: &'static str) -> Self {
        self.purpose = Some(purpose);
        self.legal_basis = Some(basis);
        self
    }

    /// Who received the data.
    #[must_use]
    pub fn to(mut self, recipient: &'static str) -> Self {
        self.recipient = Some(recipient);
        self
    }

    /// The actor's reason.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// The rest.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}
