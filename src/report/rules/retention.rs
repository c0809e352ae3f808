//! Retention: is anything kept longer than its rule says? Population: class-days.

use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::report::catalogue::{Control, Status};
use crate::report::evidence::{ClassDayState, ClassDayStatus};
use crate::report::model::{Bars, Block, Column, Style};
use crate::report::rules::{Context, Judgement, Origin};
use std::collections::BTreeSet;

/// What is to be said of one class-day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Overdue,
    Unjustified,
    NoRule,
    Late,
    HeldPastDue,
    None,
}

impl Finding {
    fn of(status: &ClassDayStatus, now: UtcNanos, late_days: u64) -> Self {
        let late = status.due.map(|due| now.0.saturating_sub(due.0));
        match (status.state, late) {
            (ClassDayState::Expired { done: None }, _) => Finding::Unjustified,
            (ClassDayState::Expired { .. } | ClassDayState::Kept, _) => Finding::None,
            (_, None) => Finding::NoRule,
            (_, Some(0)) => Finding::None,
            (ClassDayState::Held(_), _) => Finding::HeldPastDue,
            (_, Some(late)) if late > late_days.saturating_mul(NANOS_PER_DAY) => Finding::Overdue,
            _ => Finding::Late,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Finding::Overdue => "exception: overdue",
            Finding::Unjustified => "exception: gone without an entry",
            Finding::NoRule => "insufficient: no rule",
            Finding::Late => "attention: late",
            Finding::HeldPastDue => "attention: held past due",
            Finding::None => "none",
        }
    }
}

/// Decides it.
pub(crate) fn judge(context: &Context<'_>, control: &Control, late_days: u64, j: &mut Judgement) {
    let Some(population) = &context.inputs.class_days else {
        j.say(Status::InsufficientData, "The vault gave no fates of class-days.");
        return;
    };
    let now = context.facts.cut_off;
    let mut rows: Vec<(Finding, &ClassDayStatus)> =
        population.rows().iter().map(|s| (Finding::of(s, now, late_days), s)).collect();
    rows.sort_by_key(|(finding, s)| (*finding, s.class_day));
    let count = |finding| rows.iter().filter(|(f, _)| *f == finding).count() as u64;
    j.items = population.count();
    j.exceptions = count(Finding::Overdue) + count(Finding::Unjustified);
    reasons(context, &count, j);
    let known: BTreeSet<_> = population.rows().iter().map(|s| s.class_day).collect();
    let unknown = context.inputs.groups.iter().filter(|(key, _)| !known.contains(key)).count();
    if population.unlisted() == 0 {
        let text = "Class-days with groups in the log but no fate";
        j.say_if(unknown as u64, Status::InsufficientData, text);
    }
    j.say_if(population.unlisted(), Status::InsufficientData, "Class-days not examined");
    j.blocks.push(Block::Bars(bars(context, population.rows(), j.exceptions)));
    let columns = vec![
        Column::new("class-day", 21, Style::Mono),
        Column::new("class", 22, Style::Text),
        Column::new("groups", 11, Style::Number),
        Column::new("due", 30, Style::Mono),
        Column::new("state", 40, Style::Text),
        Column::new("finding", 30, Style::Finding),
    ];
    let cells = rows.iter().map(|(finding, s)| row(*finding, s)).collect();
    let origin = Origin::of(control, population.count());
    let id = format!("{}-class-days", control.id);
    let table = context.table(id, "Class-days, findings first", columns, cells, origin);
    j.blocks.push(Block::Table(table));
}

fn reasons(context: &Context<'_>, count: &dyn Fn(Finding) -> u64, j: &mut Judgement) {
    let overdue = "Class-days live after their due date";
    j.say_if(count(Finding::Overdue), Status::Exception, overdue);
    let unjustified = "Class-days gone without a prune-done entry";
    j.say_if(count(Finding::Unjustified), Status::Exception, unjustified);
    let no_rule = "Class-days of a class without a retention rule";
    j.say_if(count(Finding::NoRule), Status::InsufficientData, no_rule);
    j.say_if(count(Finding::Late), Status::Attention, "Class-days late within the grace");
    let held = "Class-days past their due date because a legal hold keeps them";
    j.say_if(count(Finding::HeldPastDue), Status::Attention, held);
    if j.items == 0 {
        j.say(Status::InsufficientData, "The log holds no class-day: there is nothing to test.");
    } else if j.exceptions == 0 {
        let text = format!(
            "Class-days examined: {}; none was overdue at {}.",
            j.items, context.facts.cut_off
        );
        j.say(Status::Supported, text);
    }
}

fn row(finding: Finding, s: &ClassDayStatus) -> Vec<String> {
    let state = match s.state {
        ClassDayState::Live => "live".into(),
        ClassDayState::Expired { done: Some(index) } => format!("expired, prune-done at {index}"),
        ClassDayState::Expired { done: None } => "expired, no prune-done".into(),
        ClassDayState::Held(case) => format!("held by case {case}"),
        ClassDayState::Kept => "kept for ever by its class".into(),
    };
    let without = if s.state == ClassDayState::Kept { "never" } else { "no rule" };
    vec![
        s.class_day.to_string(),
        s.class_name.clone(),
        s.groups.to_string(),
        s.due.map_or(without.into(), |due| due.to_string()),
        state,
        finding.text().into(),
    ]
}

fn bars(context: &Context<'_>, rows: &[ClassDayStatus], exceptions: u64) -> Bars {
    let count =
        |f: &dyn Fn(&ClassDayState) -> bool| rows.iter().filter(|s| f(&s.state)).count() as u64;
    Bars {
        title: "Class-days by state at the cut-off".into(),
        bars: vec![
            ("live".into(), count(&|s| matches!(s, ClassDayState::Live))),
            ("expired".into(), count(&|s| matches!(s, ClassDayState::Expired { .. }))),
            ("held".into(), count(&|s| matches!(s, ClassDayState::Held(_)))),
            ("kept for ever".into(), count(&|s| matches!(s, ClassDayState::Kept))),
            ("exceptions".into(), exceptions),
        ],
        caption: format!("State at {} (UTC); n = {}.", context.facts.cut_off, rows.len()),
    }
}
