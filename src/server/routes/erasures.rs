//! Erasures from the order to the last key: how each stands, and its receipt. Asking for one files
//! an order (`orders`); nothing is erased here.

use crate::base::id::JobId;
use crate::base::unit::UtcNanos;
use crate::format::control::{EraseDone, Mode};
use crate::policy::access::Permission;
use crate::policy::order::State as Stands;
use crate::policy::order::act::Outline;
use crate::policy::order::rule::RuleMode;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::orders::Held;
use crate::server::problem::Problem;
use crate::server::routes::subjects::{Stays, stays};
use crate::vault::Vault;
use crate::vault::facts::{Erasure as Fact, Facts};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// One erasure, from the order to the last key.
#[derive(Serialize, ToSchema)]
pub struct Erasure {
    /// Handle: its receipt is asked for by this.
    job: String,
    /// The order under which it was asked for; none for one from the command line or the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// When it was asked, log time: of the order, or of the intent without one.
    asked: String,
    /// Basis, a code.
    basis: String,
    /// `two-person`, `single-operator` or `scheduled`; before the intent as the order's rule says.
    #[schema(value_type = String)]
    mode: Mode,
    /// `requested`, `approved`, `executing`, `done`, `done-in-part` while something stays; or the
    /// order's `rejected`, `withdrawn`, `expired`, `failed`.
    state: &'static str,
    /// Why the order failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Whether nothing is left to come: nothing stays, and no copy of the keys was missed.
    #[serde(rename = "final")]
    is_final: bool,
    /// When the last floor ends that keeps something; none where a hold does, which has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    deferred_until: Option<String>,
    /// Index of the intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
    /// Index of the done entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    /// What stays, and why.
    stays: Vec<Stays>,
}

/// Where an erasure stands that has its intent.
pub fn state(fact: &Fact) -> &'static str {
    match &fact.done {
        None => "executing",
        Some((_, _, done)) if done.deferred.is_empty() => "done",
        Some(_) => "done-in-part",
    }
}

impl Erasure {
    fn of(vault: &Vault, fact: &Fact, order: Option<&Held>) -> Erasure {
        let done = fact.done.as_ref();
        let left = done.map_or(&[][..], |(_, _, done)| &done.deferred);
        let scrubbed = |job: &JobId| vault.facts().finals.contains_key(job);
        let whole = |done: &EraseDone| done.missed.is_none() || scrubbed(&done.job);
        let asked = order.map_or(fact.asked, |held| held.order.filed_at());
        let ends: Option<Vec<UtcNanos>> = left.iter().map(|left| left.due).collect();
        let last = ends.and_then(|ends| ends.into_iter().max());
        Erasure {
            job: fact.plan.job.to_string(),
            order: order.map(|held| held.id.to_string()),
            asked: asked.to_string(),
            basis: fact.plan.basis.clone(),
            mode: fact.plan.mode,
            state: state(fact),
            code: None,
            is_final: left.is_empty() && done.is_some_and(|(_, _, done)| whole(done)),
            deferred_until: last.map(|due| due.to_string()),
            intent: Some(text(&fact.intent.0)),
            done: done.map(|(index, _, _)| text(&index.0)),
            stays: stays(vault, left),
        }
    }

    /// One that is only ordered; none if the order is about something else.
    fn ordered(held: &Held) -> Option<Erasure> {
        let order = &held.order;
        let Outline::Erase { basis, .. } = &order.outline else { return None };
        let state = order.state();
        Some(Erasure {
            job: order.job.to_string(),
            order: Some(held.id.to_string()),
            asked: order.filed_at().to_string(),
            basis: basis.clone(),
            mode: match order.rule.mode {
                RuleMode::TwoPerson => Mode::TwoPerson,
                RuleMode::SingleOperator => Mode::SingleOperator,
            },
            is_final: !state.is_open(),
            state: match &state {
                Stands::Filed => "requested",
                other => other.name(),
            },
            code: match state {
                Stands::Failed { code } => Some(code),
                _ => None,
            },
            deferred_until: None,
            intent: None,
            done: None,
            stays: Vec::new(),
        })
    }
}

/// Erasures.
#[derive(Serialize, ToSchema)]
pub struct Erasures {
    /// Those that are ordered and wait, then those of the log in the order of their intents.
    erasures: Vec<Erasure>,
}

/// Lists erasures that wait, are under way, and were done.
#[utoipa::path(
    get, path = "/v1/erasures", tag = "subjects",
    responses((status = 200, description = "Erasures", body = Erasures))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Answer<Erasures>, Problem> {
    caller.may(Permission::ErasureRead)?;
    work(move || {
        let place = app.place(&caller.principal.tenant)?;
        // Orders first: one that is done meanwhile stands twice rather than nowhere.
        let open = place.book.open_orders();
        let every = |facts: &Facts| facts.erasures.values().cloned().collect();
        let mut all: Vec<Fact> = place.vault.of_facts(every);
        all.sort_by_key(|fact| fact.intent);
        let asked = |held: &&Held| !all.iter().any(|fact| fact.plan.job == held.order.job);
        let waiting = open.iter().filter(asked).filter_map(Erasure::ordered);
        let mut erasures: Vec<Erasure> = waiting.collect();
        for fact in &all {
            let order = place.book.of_job(fact.plan.job);
            let order = order.map(|id| place.book.order(&place.vault, id)).transpose()?;
            erasures.push(Erasure::of(&place.vault, fact, order.as_ref()));
        }
        Ok(ok(Erasures { erasures }))
    })
    .await
}

fn job(path: &str) -> Result<JobId, Problem> {
    JobId::parse(path).ok_or_else(|| Problem::absent("ERASURE_UNKNOWN"))
}

/// One erasure, from the moment it is ordered.
#[utoipa::path(
    get, path = "/v1/erasures/{job}", tag = "subjects",
    params(("job" = String, Path, description = "Handle of the erasure")),
    responses((status = 200, description = "The erasure", body = Erasure),
              (status = 404, description = "No such erasure"))
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Answer<Erasure>, Problem> {
    caller.may(Permission::ErasureRead)?;
    work(move || {
        let (place, job) = (app.place(&caller.principal.tenant)?, job(&path)?);
        let order = place.book.of_job(job).map(|id| place.book.order(&place.vault, id));
        let order = order.transpose()?;
        // Asked last: what the order begins meanwhile is seen.
        let fact = place.vault.of_facts(|facts| facts.erasures.get(&job).cloned());
        let found = match fact {
            Some(fact) => Some(Erasure::of(&place.vault, &fact, order.as_ref())),
            None => order.as_ref().and_then(Erasure::ordered),
        };
        found.map(ok).ok_or_else(|| Problem::absent("ERASURE_UNKNOWN"))
    })
    .await
}

/// The signed receipt of an erasure: what was destroyed, what stays, what lies outside the promise.
#[utoipa::path(
    get, path = "/v1/erasures/{job}/receipt", tag = "subjects",
    params(("job" = String, Path, description = "Handle of the erasure")),
    responses((status = 200, description = "The receipt (docs/format.md)", body = String,
               content_type = "text/plain"),
              (status = 404, description = "No such erasure, or not done yet"))
)]
pub async fn receipt(caller: Caller, Path(path): Path<String>) -> Result<Response, Problem> {
    caller.may(Permission::ErasureRead)?;
    work(move || {
        let text = caller.vault.erasure_receipt(job(&path)?)?;
        Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
    })
    .await
}
