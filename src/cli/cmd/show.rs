//! `chancery show`: one record, its entry in the clear, and what became of its sealed groups.
//! Values are printed only with `--open`, after the access stands in the log.

use crate::base::entry::{GroupPolicy, Kind};
use crate::base::id::RecordId;
use crate::base::record::{Fate, Record, RecordField};
use crate::base::unit::EntryIndex;
use crate::cli::args::record::{Opening, Show};
use crate::cli::cmd::done;
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::format::control::Sight;
use crate::query::filter::Filter;
use crate::vault::Vault;
use crate::vault::anchor::{Bound, Bounds};
use crate::vault::error::Error;
use crate::vault::read::Reading;
use anyhow::Result;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Show) -> Result<ExitCode> {
    let vault = context.open()?;
    let index = find(&vault, &args.record)?;
    access(context, &vault, &args.opening, &[index])?;
    let record = vault.record(index, Reading::OPEN)?;
    let bounds = vault.bounds(index)?;
    let mut value = as_json(&vault, &record, args.opening.open);
    if let Some(object) = value.as_object_mut() {
        object.insert("not_before".to_owned(), bound_json(bounds.not_before.as_ref()));
        object.insert("not_after".to_owned(), bound_json(bounds.not_after.as_ref()));
    }
    context.out.object(&value)?;
    print(context, &vault, &record, args.opening.open, &bounds)?;
    if args.opening.open && record.fields.iter().any(|field| record.is_private(&field.name)) {
        let text = "the body of a document in the registry may hold what lets somebody in: it is \
                    not shown, and the entry says that it is there";
        context.note("FIELD_PRIVATE", text);
    }
    done()
}

/// Index of a record given by index or record id.
pub(crate) fn find(vault: &Vault, text: &str) -> Result<EntryIndex> {
    if let (true, Some(record)) = (text.len() == 32, RecordId::parse(text)) {
        let filter = Filter { record: Some(record), ..Filter::default() };
        let mut found = None;
        vault.search(&filter, &mut |entry| {
            found = Some(entry.index);
            ControlFlow::Break(())
        })?;
        return found.ok_or_else(|| Error::NotFound { code: "ENTRY_UNKNOWN" }.into());
    }
    let index = text.parse().map_err(|_| {
        Failure::usage("USAGE", "RECORD: expected an index, or a record id of 32 hex digits")
    })?;
    Ok(EntryIndex(index))
}

/// Records in the log who opens what, before anything is opened. Data restored from before an
/// erasure can record nothing, and may be all there is: somebody must say so.
pub(crate) fn access(
    context: &Context,
    vault: &Vault,
    opening: &Opening,
    records: &[EntryIndex],
) -> Result<()> {
    let (Some(purpose), Some(who)) = (&opening.purpose, &opening.by) else { return Ok(()) };
    match vault.read_only() {
        Some(_) if opening.unrecorded => {
            let text = "this log cannot take an entry, so nothing records that these fields were \
                        opened, by whom or why: keep a note of it yourself";
            context.note("READING_UNRECORDED", text);
            return Ok(());
        }
        Some(code) => {
            let message = "the log cannot record who opens what; nothing was opened; to open it \
                           all the same say --unrecorded, and keep a note of it yourself";
            return Err(Failure::refused(code, message).into());
        }
        None => {}
    }
    if let (true, Some(first), Some(last)) = (opening.open, records.first(), records.last()) {
        let range = *first..EntryIndex(last.0 + 1);
        vault.record_reading("read", range, records.len() as u64, &[], purpose, who)?;
    }
    Ok(())
}

/// The record with stable keys.
pub(crate) fn as_json(vault: &Vault, record: &Record, open: bool) -> Value {
    let head = &record.entry.head;
    let clear: Value = serde_json::from_slice(&head.clear).unwrap_or(Value::Null);
    let fields: Vec<Value> = record
        .fields
        .iter()
        .map(|field| {
            let value = field.value.as_ref().filter(|_| open);
            let value = value.and_then(|text| serde_json::from_slice::<Value>(text).ok());
            json!({
                "name": &*field.name,
                "group": field.group,
                "state": field_state(record, field),
                "value": value,
            })
        })
        .collect();
    let groups: Vec<Value> = head
        .groups
        .iter()
        .zip(&record.groups)
        .map(|(group, fate)| {
            json!({
                "class": vault.class_name(group.class),
                "day": group.bucket.to_string(),
                "sealed_to": sealed_to(group.policy),
                "subjects": group.tags,
                "state": state(*fate),
            })
        })
        .collect();
    json!({
        "index": record.entry.index.0,
        "record": head.record.to_string(),
        "leaf": record.leaf.to_string(),
        "time": record.entry.time_log.to_string(),
        "event_time": (head.time.0 > 0).then(|| head.time.to_string()),
        "kind": head.kind.name(),
        "source": record.source.as_deref(),
        "source_seq": head.source_seq,
        "code": head.code.to_string(),
        "outcome": head.outcome.name(),
        "severity": head.severity.value(),
        "class": vault.class_name(head.class),
        "subjects": head.tags.len(),
        "groups": groups,
        "fields": fields,
        "clear": clear,
    })
}

fn sealed_to(policy: GroupPolicy) -> &'static str {
    match policy {
        GroupPolicy::Tenant => "tenant",
        GroupPolicy::AnySubject => "subjects",
    }
}

fn fate(record: &Record, group: u8) -> Fate {
    record.groups.get(usize::from(group)).copied().unwrap_or(Fate::BodyMissing)
}

/// What can be said of a sealed value: `sealed` would open, the others never will.
fn state(fate: Fate) -> &'static str {
    match fate {
        Fate::Open | Fate::Sealed => "readable",
        other => other.name(),
    }
}

/// As `state`, of one field: a private one opens for nobody who reads records.
fn field_state(record: &Record, field: &RecordField) -> &'static str {
    match (fate(record, field.group), record.is_private(&field.name)) {
        (Fate::Open | Fate::Sealed, true) => "private",
        (fate, _) => state(fate),
    }
}

/// A bound with what it rests on. Log time is the vault's own word, event time the source's.
fn bound(bound: Option<&Bound>) -> String {
    let Some(Bound { time, sight, size, named }) = bound else {
        return "nobody outside says".to_owned();
    };
    let who = match sight {
        Sight::Cosigned => "a witness's clock",
        Sight::Timestamp => "a time-stamp authority's clock",
    };
    match named {
        Some(entry) => format!("{time} by {who}: entry {entry} names its sight of {size} entries"),
        None => format!("{time} by {who}: it saw the log of {size} entries"),
    }
}

fn bound_json(bound: Option<&Bound>) -> Value {
    bound.map_or(Value::Null, |b| {
        json!({
            "time": b.time.to_string(),
            "sight": b.sight,
            "size": b.size.0,
            "named_by": b.named.map(|index| index.0),
        })
    })
}

fn print(
    context: &mut Context,
    vault: &Vault,
    record: &Record,
    open: bool,
    bounds: &Bounds,
) -> Result<()> {
    let head = &record.entry.head;
    let mut table = Table::new(&[("entry", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| table.row(&[name, value.as_str()]);
    row("index", record.entry.index.to_string());
    row("record", head.record.to_string());
    row("kind", head.kind.name().to_owned());
    row("log time", record.entry.time_log.to_string());
    if head.time.0 > 0 {
        row("event time", head.time.to_string());
    }
    row("not before", bound(bounds.not_before.as_ref()));
    row("not after", bound(bounds.not_after.as_ref()));
    if head.kind == Kind::Event {
        row("source", record.source.as_deref().unwrap_or("(its name cannot be read)").to_owned());
    }
    if let Some(seq) = head.source_seq {
        row("source number", seq.to_string());
    }
    row("what", format!("{} {}", head.code, head.outcome));
    row("severity", head.severity.value().to_string());
    row("class", vault.class_name(head.class));
    row("subjects", head.tags.len().to_string());
    row("leaf hash", record.leaf.to_string());
    if !head.clear.is_empty() {
        row("clear", String::from_utf8_lossy(&head.clear).into_owned());
    }
    context.out.table(&table)?;
    if record.fields.is_empty() {
        return Ok(());
    }
    context.out.say("")?;
    let mut table = Table::new(&[
        ("sealed field", Align::Left),
        ("sealed to", Align::Left),
        ("state", Align::Left),
        ("value", Align::Left),
    ]);
    for field in &record.fields {
        let group = head.groups.get(usize::from(field.group));
        let to = match group.map(|g| (g.policy, g.tags.as_slice())) {
            Some((GroupPolicy::AnySubject, tags)) => {
                let numbers: Vec<String> = tags.iter().map(|t| format!("#{}", t + 1)).collect();
                format!("subject {}", numbers.join(" "))
            }
            _ => "tenant".to_owned(),
        };
        let state = field_state(record, field);
        let value = match (&field.value, open) {
            (Some(value), true) => String::from_utf8_lossy(value),
            (Some(_), false) => "(--open)".into(),
            (None, _) => "-".into(),
        };
        table.row(&[&*field.name, &to, state, &value]);
    }
    Ok(context.out.table(&table)?)
}
