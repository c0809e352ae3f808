//! Access: can every recorded access to personal data be laid to the person it was about?
//! Population: events whose verb is read, list, export, print, decrypt or disclose, and the
//! vault's own disclose entries.

use crate::base::entry::Kind;
use crate::report::catalogue::{Control, Status};
use crate::report::evidence::{AccessRow, Population};
use crate::report::model::{Bars, Block, Column, Style, Table};
use crate::report::rules::{Context, Judgement, Origin};
use std::collections::BTreeMap;

/// Bars of the chart; the rest is one bar.
const BARS_MAX: usize = 8;

/// Decides it.
pub(crate) fn judge(context: &Context<'_>, control: &Control, unnamed_max: u64, j: &mut Judgement) {
    let inputs = context.inputs;
    let named: u64 = inputs.accesses.iter().map(|(_, a)| a.named.count).sum();
    let unnamed: u64 = inputs.accesses.iter().map(|(_, a)| a.unnamed.count).sum();
    let disclosed = inputs.kinds.get(&Kind::Disclose).copied().unwrap_or(0);
    j.items = named + unnamed + disclosed;
    if j.items == 0 {
        let text = "No access was recorded. That does not show that there was none.";
        j.say(Status::InsufficientData, text);
    }
    match &inputs.access_rows {
        Some(rows) => {
            balance(context, named, j);
            let text = "Rows of accesses counted, not listed";
            j.say_if(rows.unlisted(), Status::InsufficientData, text);
            misplaced(context, rows, j);
        }
        None if named > 0 => {
            j.say(Status::InsufficientData, "The vault laid no access to a person.");
        }
        None => {}
    }
    if unnamed > unnamed_max {
        let text = "Accesses that name nobody, so that no person can be told of them";
        j.say_if(unnamed, Status::Attention, text);
    }
    if inputs.accesses.overflow() > 0 {
        j.say_if(
            inputs.accesses.overflow(),
            Status::InsufficientData,
            "Accesses not counted by code",
        );
    }
    if j.items > 0 && j.exceptions == 0 {
        let text = format!(
            "Accesses that name a person: {named}, of them {} to persons erased since; \
             disclosures by the vault itself: {disclosed}.",
            inputs.access_cover.erased
        );
        j.say(Status::Supported, text);
    }
    j.blocks.push(Block::Bars(bars(context, control)));
    if let Some(rows) = &inputs.access_rows {
        j.blocks.push(Block::Table(by_subject(context, control, rows)));
    }
    j.blocks.push(Block::Table(disclosures(context, control)));
}

/// The accesses laid to persons, those of erased persons and those seen must add up.
fn balance(context: &Context<'_>, named: u64, j: &mut Judgement) {
    let cover = context.inputs.access_cover;
    let laid = cover.attributed.saturating_add(cover.erased);
    if laid < named {
        j.exceptions = named - laid;
        let text = "Accesses that name a person but could not be laid to one";
        j.say_if(j.exceptions, Status::Exception, text);
    } else if laid > named {
        let text = format!(
            "Accesses laid to persons: {laid}; accesses in the log that name one: {named}."
        );
        j.say(Status::InsufficientData, text);
    }
}

/// Rows that speak of entries outside the population cannot be checked.
fn misplaced(context: &Context<'_>, rows: &Population<AccessRow>, j: &mut Judgement) {
    let span = context.inputs.entries;
    let outside = |row: &&AccessRow| {
        span.count == 0 || row.first < span.first || row.last > span.last || row.first > row.last
    };
    let count = rows.rows().iter().filter(outside).count() as u64;
    j.say_if(count, Status::InsufficientData, "Rows that speak of entries outside the period");
}

fn bars(context: &Context<'_>, control: &Control) -> Bars {
    let mut by_code: BTreeMap<String, u64> = BTreeMap::new();
    for ((code, _), access) in context.inputs.accesses.iter() {
        let count = by_code.entry(code.to_string()).or_default();
        *count += access.named.count + access.unnamed.count;
    }
    let total: u64 = by_code.values().sum();
    let mut bars: Vec<(String, u64)> = by_code.into_iter().collect();
    bars.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if bars.len() > BARS_MAX {
        let rest = bars.split_off(BARS_MAX - 1).iter().map(|(_, n)| n).sum();
        bars.push(("all others".into(), rest));
    }
    let period = context.inputs.scope.period;
    Bars {
        title: "Recorded accesses by code, refused attempts included".into(),
        bars,
        caption: format!(
            "{} to {} (UTC); n = {total}; query {}.",
            period.start, period.end, control.query
        ),
    }
}

fn by_subject(context: &Context<'_>, control: &Control, rows: &Population<AccessRow>) -> Table {
    let mut sorted: Vec<&AccessRow> = rows.rows().iter().collect();
    sorted.sort_by(|a, b| {
        (&a.subject_pseudonym, a.code, a.first).cmp(&(&b.subject_pseudonym, b.code, b.first))
    });
    let cells = sorted
        .iter()
        .map(|row| {
            vec![
                row.subject_pseudonym.clone(),
                row.code.to_string(),
                row.count.to_string(),
                row.first.to_string(),
                row.last.to_string(),
            ]
        })
        .collect();
    let columns = vec![
        Column::new("subject", 30, Style::Mono),
        Column::new("code", 40, Style::Text),
        Column::new("count", 15, Style::Number),
        Column::new("first", 20, Style::Number),
        Column::new("last", 20, Style::Number),
    ];
    let cover = context.inputs.access_cover;
    let mut origin = Origin::of(control, rows.count());
    if cover.erased > 0 {
        let text = format!("accesses to persons erased since (no key is left): {}", cover.erased);
        origin.exclusions.push(text);
    }
    let id = format!("{}-by-subject", control.id);
    context.table(id, "Accesses by person (pseudonyms of this report)", columns, cells, origin)
}

fn disclosures(context: &Context<'_>, control: &Control) -> Table {
    let acts = &context.inputs.acts;
    let cells: Vec<Vec<String>> = acts
        .rows()
        .iter()
        .filter(|act| act.kind == Kind::Disclose)
        .map(|act| vec![act.index.to_string(), act.at.to_string(), act.outcome.name().into()])
        .collect();
    let columns = vec![
        Column::new("entry", 12, Style::Number),
        Column::new("log time", 40, Style::Mono),
        Column::new("outcome", 40, Style::Text),
    ];
    let counted = context.inputs.kinds.get(&Kind::Disclose).copied().unwrap_or(0);
    let mut origin = Origin::of(control, counted);
    origin.query = "access.vault-disclosures";
    let id = format!("{}-vault-disclosures", control.id);
    context.table(id, "Disclosures made by the vault itself", columns, cells, origin)
}
