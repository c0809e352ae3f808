//! Encryption: does any personal field lie readable in the log, and which fields lie under the
//! tenant's keys, where the erasure of a person does not reach them? Population: field names.

use crate::report::catalogue::{Control, Status};
use crate::report::inputs::{FieldTally, Sealing};
use crate::report::model::{Bars, Block, Column, Style, Table};
use crate::report::rules::{Context, Judgement, Origin};

/// What is to be said of one field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    ClearPersonal,
    ClearUnknown,
    TenantPersonal,
    TenantUnknown,
    None,
}

impl Finding {
    fn of(sealing: Option<Sealing>, tally: &FieldTally) -> Self {
        match sealing {
            Some(Sealing::Subjects | Sealing::Tenant) if tally.clear > 0 => Finding::ClearPersonal,
            None if tally.clear > 0 => Finding::ClearUnknown,
            Some(Sealing::Subjects) if tally.tenant > 0 => Finding::TenantPersonal,
            None if tally.tenant > 0 => Finding::TenantUnknown,
            _ => Finding::None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Finding::ClearPersonal => "exception: readable",
            Finding::ClearUnknown => "exception: unregistered, readable",
            Finding::TenantPersonal => "attention: named nobody, under tenant",
            Finding::TenantUnknown => "attention: unregistered, under tenant",
            Finding::None => "none",
        }
    }
}

/// Decides it.
pub(crate) fn judge(context: &Context<'_>, control: &Control, unknown_max: u64, j: &mut Judgement) {
    let inputs = context.inputs;
    let registry = &inputs.scope.registry;
    let mut rows: Vec<(Finding, &str, Option<Sealing>, FieldTally)> = inputs
        .fields
        .iter()
        .map(|(name, tally)| {
            let sealing = registry.get(&**name).copied();
            (Finding::of(sealing, tally), &**name, sealing, *tally)
        })
        .collect();
    rows.sort_by_key(|(finding, name, ..)| (*finding, *name));
    let sum = |finding: Finding, f: fn(&FieldTally) -> u64| {
        rows.iter().filter(|r| r.0 == finding).map(|r| f(&r.3)).sum::<u64>()
    };
    j.items = rows.iter().map(|(.., t)| t.subjects + t.tenant + t.clear).sum();
    let personal = sum(Finding::ClearPersonal, |t| t.clear);
    let unknown = sum(Finding::ClearUnknown, |t| t.clear);
    j.exceptions = personal + unknown + inputs.clear_unreadable;
    let text = "Values of fields that must be sealed, readable in the log";
    j.say_if(personal, Status::Exception, text);
    let text = "Values of unregistered fields, readable in the log";
    j.say_if(unknown, Status::Exception, text);
    let text = "Clear parts that are not a JSON object, so that what they show is unknown";
    j.say_if(inputs.clear_unreadable, Status::Exception, text);
    let tenant = sum(Finding::TenantPersonal, |t| t.tenant);
    let text = "Values of personal fields under the tenant, because their events named nobody";
    j.say_if(tenant, Status::Attention, text);
    let unknown = sum(Finding::TenantUnknown, |t| t.tenant);
    if unknown > unknown_max {
        let text = "Values of unregistered fields under the tenant, where no erasure reaches them";
        j.say_if(unknown, Status::Attention, text);
    }
    let text = "Fields not counted (too many names)";
    j.say_if(inputs.fields.overflow(), Status::InsufficientData, text);
    if registry.is_empty() {
        j.say(Status::InsufficientData, "No field registry was given.");
    }
    if j.items == 0 {
        j.say(Status::InsufficientData, "The period holds no field: there is nothing to test.");
    } else if j.exceptions == 0 {
        let text = format!(
            "Values counted: {}, of {} fields; none is readable that must not be.",
            j.items,
            rows.len()
        );
        j.say(Status::Supported, text);
    }
    let tallies: Vec<FieldTally> = rows.iter().map(|(.., t)| *t).collect();
    j.blocks.push(Block::Bars(bars(context, control, &tallies)));
    let cells = rows.iter().map(|(f, name, sealing, t)| row(*f, name, *sealing, t)).collect();
    j.blocks.push(Block::Table(fields(context, control, cells)));
    let table = by_source(context, control);
    if !table.rows.is_empty() {
        j.blocks.push(Block::Table(table));
    }
}

fn row(finding: Finding, name: &str, sealing: Option<Sealing>, t: &FieldTally) -> Vec<String> {
    let registered = match sealing {
        Some(Sealing::Subjects) => "personal",
        Some(Sealing::Tenant) => "sealed-tenant",
        Some(Sealing::Clear) => "clear",
        None => "unregistered",
    };
    vec![
        name.to_owned(),
        registered.into(),
        t.subjects.to_string(),
        t.tenant.to_string(),
        t.clear.to_string(),
        finding.text().into(),
    ]
}

fn fields(context: &Context<'_>, control: &Control, cells: Vec<Vec<String>>) -> Table {
    let columns = vec![
        Column::new("field", 30, Style::Mono),
        Column::new("registered as", 20, Style::Text),
        Column::new("under persons", 18, Style::Number),
        Column::new("under tenant", 16, Style::Number),
        Column::new("clear", 14, Style::Number),
        Column::new("finding", 42, Style::Finding),
    ];
    let origin = Origin::of(control, cells.len() as u64);
    let id = format!("{}-fields", control.id);
    context.table(id, "Fields as stored, findings first", columns, cells, origin)
}

fn bars(context: &Context<'_>, control: &Control, tallies: &[FieldTally]) -> Bars {
    let sum = |f: fn(&FieldTally) -> u64| tallies.iter().map(f).sum::<u64>();
    let bars = vec![
        ("under persons".to_owned(), sum(|t| t.subjects)),
        ("under the tenant".to_owned(), sum(|t| t.tenant)),
        ("clear".to_owned(), sum(|t| t.clear)),
    ];
    let total: u64 = bars.iter().map(|(_, n)| n).sum();
    let period = context.inputs.scope.period;
    let caption =
        format!("{} to {} (UTC); n = {total}; query {}.", period.start, period.end, control.query);
    Bars { title: "Values by the key they lie under".into(), bars, caption }
}

fn by_source(context: &Context<'_>, control: &Control) -> Table {
    let cells: Vec<Vec<String>> = context
        .inputs
        .sources
        .iter()
        .filter(|(_, source)| source.tenant_unknown > 0)
        .map(|(handle, source)| {
            vec![
                source.name.clone().unwrap_or_else(|| "name not available".into()),
                handle.to_string(),
                source.tenant_unknown.to_string(),
            ]
        })
        .collect();
    let columns = vec![
        Column::new("source", 40, Style::Text),
        Column::new("handle", 45, Style::Mono),
        Column::new("values", 20, Style::Number),
    ];
    let mut origin = Origin::of(control, cells.len() as u64);
    origin.query = "encryption.unregistered-by-source";
    let id = format!("{}-unregistered-by-source", control.id);
    let title = "Unregistered fields under the tenant, by source";
    context.table(id, title, columns, cells, origin)
}
