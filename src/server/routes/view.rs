//! A record as callers see it: the public skeleton, the names of its sealed fields and what became
//! of them; values only where they were opened under a purpose. Integers of 64 bits are text.

use crate::base::entry::GroupPolicy;
use crate::base::record::{Fate, Record};
use crate::server::json::text;
use crate::vault::Vault;
use crate::vault::correct::corrects;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// One record.
#[derive(Serialize, ToSchema)]
pub struct Event {
    /// Place in the log.
    #[schema(example = "123")]
    index: String,
    /// Random name of the record, hex.
    record: String,
    /// Leaf hash, hex: what a proof is about.
    leaf: String,
    /// Log time, RFC 3339.
    time: String,
    /// The source's time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    /// `event`, or an act of the vault itself.
    kind: &'static str,
    /// Name of its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The source's own number.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_seq: Option<String>,
    /// `category.verb`.
    code: String,
    /// `success`, `failure`, ...
    outcome: &'static str,
    /// 0 to 10.
    severity: u8,
    /// Retention class.
    class: String,
    /// How many people it is about.
    subjects: usize,
    /// Indexes of entries that correct it, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    corrected_by: Vec<String>,
    /// Index of the event that it corrects.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrects: Option<String>,
    /// What is in clear.
    #[schema(value_type = Object)]
    clear: Box<RawValue>,
    /// Sealed fields.
    fields: Vec<Field>,
}

/// One sealed field.
#[derive(Serialize, ToSchema)]
pub struct Field {
    /// Name of the registry.
    name: String,
    /// `subjects` or `tenant`: whose keys it is sealed under.
    sealed_to: &'static str,
    /// `readable`, `restricted`, `erased`, `expired`, or the name of what is wrong.
    state: &'static str,
    /// The value as it was received; only where it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Box<RawValue>>,
}

impl Event {
    /// Shows a record; `open` says which of its opened values may be handed out.
    pub fn of(vault: &Vault, record: &Record, open: &dyn Fn(&str) -> bool) -> Event {
        let head = &record.entry.head;
        let fields = record.fields.iter().map(|field| {
            let group = usize::from(field.group);
            let fate = record.groups.get(group).copied().unwrap_or(Fate::BodyMissing);
            let policy = head.groups.get(group).map(|group| group.policy);
            let value = field.value.as_deref().filter(|_| open(&field.name));
            Field {
                name: field.name.to_string(),
                sealed_to: match policy {
                    Some(GroupPolicy::AnySubject) => "subjects",
                    _ => "tenant",
                },
                state: state(fate),
                value: value.and_then(raw),
            }
        });
        Event {
            index: text(&record.entry.index),
            record: head.record.to_string(),
            leaf: record.leaf.to_string(),
            time: record.entry.time_log.to_string(),
            event_time: (head.time.0 > 0).then(|| head.time.to_string()),
            kind: head.kind.name(),
            source: record.source.as_deref().map(str::to_owned),
            source_seq: head.source_seq.as_ref().map(text),
            code: head.code.to_string(),
            outcome: head.outcome.name(),
            severity: head.severity.value(),
            class: vault.class_name(head.class),
            subjects: head.tags.len(),
            corrected_by: vault.corrections_of(record.entry.index).iter().map(text).collect(),
            corrects: corrects(&record.entry).as_ref().map(text),
            clear: raw(&head.clear).unwrap_or_else(empty),
            fields: fields.collect(),
        }
    }
}

/// The JSON text of a value as it is; what was stored was checked when it came in.
fn raw(text: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(text).ok()
}

/// A record without clear members.
fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What can be said of a sealed value: `readable` would open, the others never will.
fn state(fate: Fate) -> &'static str {
    match fate {
        Fate::Open | Fate::Sealed => "readable",
        other => other.name(),
    }
}
