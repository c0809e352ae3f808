//! The rules: each turns the inputs into a status, reasons and evidence tables. No data is never
//! a pass: a rule without items, or with items it did not see, says `insufficient_data`. The worst
//! reason decides. A rule never says that a law is met.

mod access;
mod encryption;
mod erasure;
mod integrity;
mod retention;

use crate::base::unit::EntryIndex;
use crate::report::catalogue::{Catalogue, Control, Rule, Status};
use crate::report::evidence::Facts;
use crate::report::inputs::Inputs;
use crate::report::model::{Block, Column, ControlResult, Reason, Table};

/// What every rule sees.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The facts.
    pub inputs: &'a Inputs,
    /// Who asked, and when.
    pub facts: &'a Facts,
    /// The catalogue in force.
    pub catalogue: &'a Catalogue,
}

/// What a table is made from, besides its rows.
pub(crate) struct Origin<'a> {
    /// Query id.
    pub(crate) query: &'a str,
    /// Parameters, thresholds included.
    pub(crate) parameters: String,
    /// Rows there were; more than listed when the cap was met.
    pub(crate) counted: u64,
    /// First and last entry the rows speak of.
    pub(crate) span: Option<(EntryIndex, EntryIndex)>,
    /// What was left out, with the number and why.
    pub(crate) exclusions: Vec<String>,
}

impl<'a> Origin<'a> {
    /// The origin of a control's own table.
    pub(crate) fn of(control: &'a Control, counted: u64) -> Self {
        let parameters: Vec<String> =
            control.thresholds.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        Origin {
            query: &control.query,
            parameters: if parameters.is_empty() { "none".into() } else { parameters.join(", ") },
            counted,
            span: None,
            exclusions: Vec::new(),
        }
    }
}

impl Context<'_> {
    /// A table with its block of origin.
    pub(crate) fn table(
        &self,
        id: String,
        title: &str,
        columns: Vec<Column>,
        rows: Vec<Vec<String>>,
        origin: Origin<'_>,
    ) -> Table {
        let inputs = self.inputs;
        let (population, period) = (inputs.entries, inputs.scope.period);
        let listed = rows.len() as u64;
        let mut exclusions = origin.exclusions;
        if origin.counted > listed {
            let more = origin.counted - listed;
            exclusions.push(format!("rows beyond the cap, counted but not listed: {more}"));
        }
        if inputs.outside > 0 {
            exclusions.push(format!("entries outside the period: {}", inputs.outside));
        }
        let span = origin
            .span
            .or_else(|| (population.count > 0).then_some((population.first, population.last)));
        let missing = inputs.numbers_missing();
        let checkpoint = match &inputs.integrity {
            Some(i) => format!("{}, size {}, root {}", inputs.scope.origin, i.size, i.root),
            None => "none: no verification was made".into(),
        };
        let ipe = vec![
            ("query", format!("{} v1, catalogue {}", origin.query, self.catalogue.version)),
            ("parameters", origin.parameters),
            ("scope", format!("tenant {}, all sources", inputs.scope.tenant)),
            ("period", format!("{} up to, not including, {} (UTC)", period.start, period.end)),
            ("run", format!("{} for {}", self.facts.cut_off, self.facts.requester)),
            ("software", self.facts.software.clone()),
            ("rows", format!("{listed} listed of {} counted", origin.counted)),
            ("first and last index", span.map_or("none".into(), |(a, b)| format!("{a} to {b}"))),
            (
                "gaps",
                format!(
                    "{} in the log, {missing} numbers missing at sources",
                    inputs.index_gaps.count()
                ),
            ),
            (
                "exclusions",
                if exclusions.is_empty() { "none".into() } else { exclusions.join("; ") },
            ),
            ("checkpoint", checkpoint),
            ("rows SHA-256", Table::rows_sha256(&rows).to_string()),
        ];
        Table { id, title: title.to_owned(), columns, rows, ipe }
    }
}

/// A rule's findings while it runs.
#[derive(Default)]
pub(crate) struct Judgement {
    reasons: Vec<Reason>,
    pub(crate) items: u64,
    pub(crate) exceptions: u64,
    pub(crate) blocks: Vec<Block>,
}

impl Judgement {
    pub(crate) fn say(&mut self, status: Status, text: impl Into<String>) {
        self.reasons.push(Reason { status, text: text.into() });
    }

    /// Says what was counted, when anything was.
    pub(crate) fn say_if(&mut self, count: u64, status: Status, what: &str) {
        if count > 0 {
            self.say(status, format!("{what}: {count}."));
        }
    }

    /// The worst reason's status; a rule that was given no items is never supported.
    fn status(&self) -> Status {
        let worst = self.reasons.iter().map(|r| r.status).min_by_key(|s| s.rank());
        match worst {
            None | Some(Status::Supported) if self.items == 0 => Status::InsufficientData,
            Some(status) => status,
            None => Status::Supported,
        }
    }
}

/// Decides one control.
pub fn evaluate(context: &Context<'_>, control: &Control) -> ControlResult {
    let mut judgement = Judgement::default();
    let rule = sentence(&control.rule);
    let first_day = context.inputs.scope.period.start.day();
    let last_day = context.inputs.scope.period.end.day();
    if let Some(na) = &control.not_applicable {
        let text = format!("{} (approved by {})", na.reason, na.approver);
        judgement.say(Status::NotApplicable, text);
    } else if control.effective > last_day || control.until.is_some_and(|day| day <= first_day) {
        judgement.say(Status::NotApplicable, "The control was not in force in the period.");
    } else {
        match control.rule {
            Rule::RetentionOverdue { late_days } => {
                retention::judge(context, control, late_days, &mut judgement);
            }
            Rule::ErasureReceipts { deadline_days } => {
                erasure::judge(context, control, deadline_days, &mut judgement);
            }
            Rule::AccessBySubject { unnamed_max } => {
                access::judge(context, control, unnamed_max, &mut judgement);
            }
            Rule::IntegrityVerified { checkpoint_age_hours, witnesses_min } => {
                let limits = integrity::Limits { checkpoint_age_hours, witnesses_min };
                integrity::judge(context, control, &limits, &mut judgement);
            }
            Rule::EncryptionCoverage { tenant_unknown_max } => {
                encryption::judge(context, control, tenant_unknown_max, &mut judgement);
            }
            Rule::Manual => {
                let text = "The log cannot show this. Attach the evidence and its SHA-256.";
                judgement.say(Status::Manual, text);
            }
        }
    }
    let status = judgement.status();
    judgement.reasons.sort_by_key(|r| r.status.rank());
    ControlResult {
        id: control.id.clone(),
        title: control.title.clone(),
        articles: control.articles.clone(),
        quote: control.quote.clone(),
        wording: control.wording.clone(),
        rule,
        source: control.source.clone(),
        status,
        reasons: judgement.reasons,
        items: judgement.items,
        exceptions: judgement.exceptions,
        blocks: judgement.blocks,
    }
}

/// The rule in words, thresholds filled in.
fn sentence(rule: &Rule) -> String {
    match rule {
        Rule::RetentionOverdue { late_days } => format!(
            "Exception: a class-day that is live after its due date and a grace of {late_days} d, \
             or gone without an entry that says why. Attention: late within the grace, or held \
             past its due date. Insufficient data: a class without a rule, or a class-day without \
             a fate."
        ),
        Rule::ErasureReceipts { deadline_days } => format!(
            "Exception: an erasure open for more than {deadline_days} d, one that finished \
             later than that, has no receipt, or replaced no key. Attention: open within the \
             deadline, deferred by law, or done by a single operator. Insufficient data: no \
             erasure, or an intent in the log that is not described."
        ),
        Rule::AccessBySubject { unnamed_max } => format!(
            "Exception: an access that names a person but cannot be laid to one, without an \
             erasure that explains it. Attention: accesses that name nobody, above \
             {unnamed_max}. Insufficient data: no access was recorded, which does not show that \
             there was none."
        ),
        Rule::IntegrityVerified { checkpoint_age_hours, witnesses_min } => format!(
            "Exception: a failed verdict, a broken chain, a gap in the log, or log time that runs \
             back. Attention: witness cosignatures below {witnesses_min}, a checkpoint older \
             than {checkpoint_age_hours} h at the cut-off, a missing seal, or numbers missing at a \
             source. Insufficient data: nothing verified, or less than the period holds."
        ),
        Rule::EncryptionCoverage { tenant_unknown_max } => format!(
            "Exception: a personal or unregistered field readable in the log. Attention: a \
             personal field sealed under the tenant, or unregistered ones above \
             {tenant_unknown_max}. Insufficient data: no field, or no registry."
        ),
        Rule::Manual => "Decided by a person on attached evidence.".into(),
    }
}
