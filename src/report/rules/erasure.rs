//! Erasure: did every erasure that was started end in time, with new keys and a receipt?
//! Population: erasure jobs requested in the period, and those open from before.

use crate::base::entry::Kind;
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::report::catalogue::{Control, Status};
use crate::report::evidence::{Deferred, ErasureMode, ErasureStatus, Population};
use crate::report::model::{Block, Column, Style, Table};
use crate::report::rules::{Context, Judgement, Origin};

/// What is to be said of one erasure; the first that holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Open,
    Late,
    NoReceipt,
    KeysNotReplaced,
    Running,
    Deferred,
    SingleOperator,
    None,
}

impl Finding {
    fn of(e: &ErasureStatus, now: UtcNanos, deadline_days: u64) -> Self {
        let deadline = deadline_days.saturating_mul(NANOS_PER_DAY);
        let over = |until: UtcNanos| until.0.saturating_sub(e.requested_at.0) > deadline;
        let (Some(completed), Some(completed_at)) = (e.completed, e.completed_at) else {
            return if over(now) { Finding::Open } else { Finding::Running };
        };
        if over(completed_at) {
            Finding::Late
        } else if e.receipt_sha256.is_none() {
            Finding::NoReceipt
        } else if e.generation_to <= e.generation_from || completed <= e.requested {
            Finding::KeysNotReplaced
        } else if !e.deferred.is_empty() {
            Finding::Deferred
        } else if e.mode == ErasureMode::SingleOperator {
            Finding::SingleOperator
        } else {
            Finding::None
        }
    }

    fn text(self) -> &'static str {
        match self {
            Finding::Open => "exception: open past the deadline",
            Finding::Late => "exception: finished late",
            Finding::NoReceipt => "exception: no receipt",
            Finding::KeysNotReplaced => "exception: keys not replaced",
            Finding::Running => "attention: open",
            Finding::Deferred => "attention: classes deferred by law",
            Finding::SingleOperator => "attention: single operator",
            Finding::None => "none",
        }
    }

    fn is_exception(self) -> bool {
        self < Finding::Running
    }
}

/// Decides it.
pub(crate) fn judge(context: &Context<'_>, control: &Control, days: u64, j: &mut Judgement) {
    let Some(population) = &context.inputs.erasures else {
        j.say(Status::InsufficientData, "The vault gave no list of erasures.");
        return;
    };
    let now = context.facts.cut_off;
    let mut rows: Vec<(Finding, &ErasureStatus)> =
        population.rows().iter().map(|e| (Finding::of(e, now, days), e)).collect();
    rows.sort_by_key(|(finding, e)| (*finding, e.requested));
    j.items = population.count();
    j.exceptions = rows.iter().filter(|(f, _)| f.is_exception()).count() as u64;
    let count = |finding| rows.iter().filter(|(f, _)| *f == finding).count() as u64;
    for (finding, status, text) in [
        (Finding::Open, Status::Exception, "Erasures open past the deadline"),
        (Finding::Late, Status::Exception, "Erasures finished after the deadline"),
        (Finding::NoReceipt, Status::Exception, "Erasures without a receipt"),
        (Finding::KeysNotReplaced, Status::Exception, "Erasures that replaced no key"),
        (Finding::Running, Status::Attention, "Erasures open within the deadline"),
    ] {
        j.say_if(count(finding), status, text);
    }
    let deferred = rows.iter().filter(|(_, e)| !e.deferred.is_empty()).count() as u64;
    j.say_if(
        deferred,
        Status::Attention,
        "Erasures that left classes to a later date named by a law",
    );
    let single = rows.iter().filter(|(_, e)| e.mode == ErasureMode::SingleOperator).count() as u64;
    j.say_if(single, Status::Attention, "Erasures done by a single operator");
    reconcile(context, population, j);
    if j.items > 0 && j.exceptions == 0 {
        let text = format!("Erasures examined: {}; none broke the rule.", j.items);
        j.say(Status::Supported, text);
    }
    let span = rows
        .iter()
        .map(|(_, e)| e.requested)
        .min()
        .zip(rows.iter().map(|(_, e)| e.completed.unwrap_or(e.requested)).max());
    let cells = rows.iter().map(|(finding, e)| row(*finding, e)).collect();
    let mut origin = Origin::of(control, population.count());
    origin.span = span;
    let id = format!("{}-erasures", control.id);
    let table = context.table(id, "Erasures, findings first", columns(), cells, origin);
    j.blocks.push(Block::Table(table));
    if deferred > 0 {
        j.blocks.push(Block::Table(deferrals(context, control, &rows)));
    }
}

/// Holds the list against the erase-intent entries of the period.
fn reconcile(context: &Context<'_>, population: &Population<ErasureStatus>, j: &mut Judgement) {
    let inputs = context.inputs;
    let intents = inputs.kinds.get(&Kind::EraseIntent).copied().unwrap_or(0);
    let span = inputs.entries;
    let within = |e: &&ErasureStatus| {
        span.count > 0 && e.requested >= span.first && e.requested <= span.last
    };
    let described = population.rows().iter().filter(within).count() as u64;
    j.say_if(population.unlisted(), Status::InsufficientData, "Erasures not examined");
    if population.unlisted() == 0 && intents != described {
        let text = format!(
            "Erase-intent entries in the period: {intents}; erasures described: {described}."
        );
        j.say(Status::InsufficientData, text);
    }
    if population.count() == 0 {
        let text = "No erasure was requested in the period: there is nothing to test.";
        j.say(Status::InsufficientData, text);
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("job", 25, Style::Mono),
        Column::new("requested", 22, Style::Mono),
        Column::new("completed", 22, Style::Mono),
        Column::new("mode", 19, Style::Text),
        Column::new("generation", 19, Style::Mono),
        Column::new("records", 15, Style::Number),
        Column::new("receipt", 25, Style::Mono),
        Column::new("finding", 24, Style::Finding),
    ]
}

fn row(finding: Finding, e: &ErasureStatus) -> Vec<String> {
    let completed = match (e.completed, e.completed_at) {
        (Some(index), Some(at)) => format!("{index} at {at}"),
        _ => "open".into(),
    };
    vec![
        e.job.to_string(),
        format!("{} at {}", e.requested, e.requested_at),
        completed,
        e.mode.name().into(),
        format!("{} to {}", e.generation_from, e.generation_to),
        e.records.map_or("-".into(), |records| records.to_string()),
        e.receipt_sha256.map_or("none".into(), |hash| hash.to_string()),
        finding.text().into(),
    ]
}

fn deferrals(
    context: &Context<'_>,
    control: &Control,
    rows: &[(Finding, &ErasureStatus)],
) -> Table {
    let due = |d: &Deferred| d.due.map_or("when the hold ends".into(), |due| due.to_string());
    let cells: Vec<Vec<String>> = rows
        .iter()
        .flat_map(|(_, e)| e.deferred.iter().map(|d| (e.job, d)))
        .map(|(job, d)| vec![job.to_string(), d.class.clone(), d.law.clone(), due(d)])
        .collect();
    let columns = vec![
        Column::new("job", 40, Style::Mono),
        Column::new("class", 25, Style::Text),
        Column::new("law", 50, Style::Text),
        Column::new("due", 28, Style::Mono),
    ];
    let mut origin = Origin::of(control, cells.len() as u64);
    origin.query = "erasure.deferred";
    let id = format!("{}-deferred", control.id);
    context.table(id, "Classes kept back by law", columns, cells, origin)
}
