//! An order as callers see it: where it stands, what it still needs and what happened, without whom
//! it is about. Integers of 64 bits are text.

use crate::policy::order::act::Outline;
use crate::policy::order::rule::RuleMode;
use crate::policy::order::{Actor, State, Step, What};
use crate::server::json::text;
use crate::server::orders::Held;
use serde::Serialize;
use utoipa::ToSchema;

/// One thing that happened to an order.
#[derive(Serialize, ToSchema)]
pub struct Happened {
    /// When, log time.
    at: String,
    /// Who: document of the person or token; none for the service itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// `filed`, `approved`, `rejected`, `withdrawn`, `expired`, `executing`, `executed`, `failed`,
    /// `refused`.
    step: &'static str,
    /// Hash that was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// Index of the entry that says it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    /// What somebody tried in vain: `approve`, `reject`, `withdraw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<String>,
    /// Why it failed, or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl From<&Step> for Happened {
    fn from(step: &Step) -> Self {
        let by = match &step.by {
            Actor::Human { id, .. } | Actor::Machine { id, .. } => Some(id.to_string()),
            Actor::Console { .. } | Actor::Service => None,
        };
        let mut happened = Happened {
            at: step.at.to_string(),
            by,
            step: "filed",
            hash: None,
            entry: None,
            tried: None,
            code: None,
        };
        happened.step = match &step.what {
            What::Filed => "filed",
            What::Approved { hash, .. } => {
                happened.hash = Some(hash.to_string());
                "approved"
            }
            What::Rejected => "rejected",
            What::Withdrawn => "withdrawn",
            What::Expired => "expired",
            What::Executing => "executing",
            What::Executed { entry } => {
                happened.entry = entry.as_ref().map(text);
                "executed"
            }
            What::Failed { code } => {
                happened.code = Some(code.clone());
                "failed"
            }
            What::Refused { tried, code } => {
                (happened.tried, happened.code) = (Some(tried.clone()), Some(code.clone()));
                "refused"
            }
        };
        happened
    }
}

/// An order.
#[derive(Serialize, ToSchema)]
pub struct Order {
    /// Its document.
    id: String,
    /// `filed`, `approved`, `executing`, `executed`, `failed`, `rejected`, `withdrawn`, `expired`.
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The act, without whom it is about.
    #[schema(value_type = Object)]
    act: Outline,
    /// Hash of the act; whoever approves sends the one that was seen.
    hash: String,
    /// Handle of what it does: an erasure's receipt is asked for by this.
    job: String,
    /// `two-person` or `single-operator`.
    #[schema(value_type = String)]
    mode: RuleMode,
    /// Whether it may be done by one person, since there are not two yet who may approve.
    founding: bool,
    /// Approvals it still needs.
    approvals_missing: u32,
    /// From when on it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    /// When it expires, unapproved.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// What happened.
    steps: Vec<Happened>,
}

impl Order {
    /// Shows an order.
    pub fn of(held: &Held) -> Order {
        let order = &held.order;
        let state = order.state();
        let demanded = order.demanded(&order.rule);
        let approvals = u32::try_from(order.approvers().len()).unwrap_or(u32::MAX);
        let open = matches!(state, State::Filed);
        Order {
            id: held.id.to_string(),
            state: state.name(),
            code: match &state {
                State::Failed { code } => Some(code.clone()),
                _ => None,
            },
            act: order.outline.clone(),
            hash: order.hash.to_string(),
            job: order.job.to_string(),
            mode: order.rule.mode,
            founding: order.rule.founding,
            approvals_missing: if open { demanded.saturating_sub(approvals) } else { 0 },
            due: order.due(order.rule).map(|due| due.to_string()),
            expires: order.expires().filter(|_| open).map(|at| at.to_string()),
            steps: order.steps.iter().map(Happened::from).collect(),
        }
    }
}
