//! Integrity: is the log of the period whole, unaltered, and covered by a signed checkpoint?
//! Population: entries of the period, and the verdicts of a verification made by the vault. An
//! outsider repeats it with `chancery verify`; this control only says what the vault found.

use crate::base::unit::{EntryIndex, NANOS_PER_SECOND};
use crate::report::catalogue::{Control, Status};
use crate::report::evidence::{Grade, Integrity};
use crate::report::model::{Block, Column, Style, Table};
use crate::report::rules::{Context, Judgement, Origin};

/// Thresholds of the rule.
pub(crate) struct Limits {
    pub(crate) checkpoint_age_hours: u64,
    pub(crate) witnesses_min: u64,
}

/// Decides it.
pub(crate) fn judge(context: &Context<'_>, control: &Control, limits: &Limits, j: &mut Judgement) {
    let inputs = context.inputs;
    j.items = inputs.entries.count;
    if j.items == 0 {
        j.say(Status::InsufficientData, "The period holds no entry.");
    }
    let (gaps, breaks) = (inputs.index_gaps.count(), inputs.chain_breaks.count());
    let regressions = inputs.time_regressions.count();
    j.say_if(gaps, Status::Exception, "Gaps between the entries of the period");
    j.say_if(breaks, Status::Exception, "Entries that do not name the leaf hash before them");
    j.say_if(regressions, Status::Exception, "Entries with a log time below the one before");
    j.exceptions = gaps + breaks + regressions;
    match &inputs.integrity {
        Some(integrity) => verification(context, integrity, limits, j),
        None => j.say(Status::InsufficientData, "No verification was made."),
    }
    let missing = inputs.numbers_missing();
    let text = "Numbers missing at sources (those events never arrived)";
    j.say_if(missing, Status::Attention, text);
    let unnumbered: u64 = inputs.sources.iter().map(|(_, s)| s.unnumbered).sum();
    let text = "Events without a source's number (loss before arrival cannot be seen)";
    j.say_if(unnumbered, Status::Attention, text);
    if let Some(integrity) = &inputs.integrity {
        if j.exceptions == 0 && integrity.entries_checked > 0 {
            let text = format!(
                "Checked against the checkpoint: entries {}, bodies {}; none failed.",
                integrity.entries_checked, integrity.bodies_checked
            );
            j.say(Status::Supported, text);
        }
        j.blocks.push(Block::Heading("Signed checkpoint".into()));
        j.blocks.push(Block::Verbatim(integrity.checkpoint.clone()));
        j.blocks.push(Block::Table(verdicts(context, control, integrity)));
    }
    if gaps + breaks + regressions > 0 {
        j.blocks.push(Block::Table(breakages(context, control)));
    }
}

fn verification(context: &Context<'_>, i: &Integrity, limits: &Limits, j: &mut Judgement) {
    let entries = context.inputs.entries;
    for verdict in i.verdicts.iter().filter(|v| v.count > 0) {
        match verdict.grade {
            Grade::Failed => {
                j.exceptions = j.exceptions.saturating_add(verdict.count);
                j.say(Status::Exception, format!("{}: {}.", verdict.name, verdict.count));
            }
            Grade::Note => {
                j.say(Status::Attention, format!("{}: {}.", verdict.name, verdict.count))
            }
            Grade::Sound => {}
        }
    }
    if i.entries_checked < entries.count {
        let text = format!("Entries checked: {} of {}.", i.entries_checked, entries.count);
        j.say(Status::InsufficientData, text);
    }
    if i.bodies_checked == 0 && !context.inputs.groups.is_empty() {
        j.say(Status::InsufficientData, "No body was checked.");
    }
    if entries.count > 0 && i.size.0 <= entries.last.0 {
        let text = format!(
            "Size of the checkpoint: {}; last entry of the period: {}.",
            i.size, entries.last
        );
        j.say(Status::InsufficientData, text);
    }
    if i.witnesses < limits.witnesses_min {
        let text = format!(
            "UNWITNESSED: cosignatures {} of {}; a copy of log and keys restored together \
             would not be noticed.",
            i.witnesses, limits.witnesses_min
        );
        j.say(Status::Attention, text);
    }
    let age = context.facts.cut_off.0.saturating_sub(i.checkpoint_at.0) / NANOS_PER_SECOND / 3600;
    if age >= limits.checkpoint_age_hours {
        let text = format!("Age of the checkpoint at the cut-off: {age} h.");
        j.say(Status::Attention, text);
    }
    j.say_if(i.seals_missing, Status::Attention, "Seals missing");
}

fn verdicts(context: &Context<'_>, control: &Control, i: &Integrity) -> Table {
    let mut cells: Vec<Vec<String>> = i
        .verdicts
        .iter()
        .map(|v| {
            let reading = match v.grade {
                Grade::Sound => "sound",
                Grade::Note => "attention",
                Grade::Failed if v.count == 0 => "sound",
                Grade::Failed => "exception",
            };
            vec![v.name.clone(), v.count.to_string(), reading.into()]
        })
        .collect();
    for (name, count) in [
        ("entries checked", i.entries_checked),
        ("bodies checked", i.bodies_checked),
        ("seals recomputed", i.seals),
        ("witness cosignatures", i.witnesses),
    ] {
        cells.push(vec![name.into(), count.to_string(), "count".into()]);
    }
    let columns = vec![
        Column::new("verdict", 60, Style::Text),
        Column::new("count", 20, Style::Number),
        Column::new("reading", 30, Style::Finding),
    ];
    let origin = Origin::of(control, cells.len() as u64);
    context.table(format!("{}-verdicts", control.id), "Verification", columns, cells, origin)
}

fn breakages(context: &Context<'_>, control: &Control) -> Table {
    let inputs = context.inputs;
    let at = |index: &EntryIndex, text: &str| vec![index.to_string(), text.to_owned()];
    let gaps = inputs.index_gaps.rows().iter().map(|gap| {
        vec![gap.found.to_string(), format!("exception: came after entry {}", gap.after)]
    });
    let breaks = inputs.chain_breaks.rows().iter().map(|i| at(i, "exception: chain broken"));
    let back = inputs.time_regressions.rows().iter().map(|i| at(i, "exception: time runs back"));
    let cells: Vec<Vec<String>> = gaps.chain(breaks).chain(back).collect();
    let columns =
        vec![Column::new("entry", 12, Style::Number), Column::new("finding", 80, Style::Finding)];
    let counted =
        inputs.index_gaps.count() + inputs.chain_breaks.count() + inputs.time_regressions.count();
    let mut origin = Origin::of(control, counted);
    origin.query = "integrity.breaks";
    context.table(format!("{}-breaks", control.id), "Broken places", columns, cells, origin)
}
