//! Erasures as the log has them: how each stands, and its receipt. Asking for one files an order
//! (`orders`); nothing is erased here.

use crate::base::id::JobId;
use crate::policy::access::Permission;
use crate::server::app::work;
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::routes::subjects::{Stays, stays};
use crate::vault::Vault;
use crate::vault::facts::{Erasure as Fact, Facts};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// One erasure.
#[derive(Serialize, ToSchema)]
pub struct Erasure {
    /// Handle: its receipt is asked for by this.
    job: String,
    /// When it was asked, log time.
    asked: String,
    /// Basis, a code.
    basis: String,
    /// `two-person`, `single-operator` or `scheduled`.
    #[schema(value_type = String)]
    mode: crate::format::control::Mode,
    /// `open`, `done`, or `done-in-part` while something stays.
    state: &'static str,
    /// Index of the intent.
    intent: String,
    /// Index of the done entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    /// What stays, and why.
    stays: Vec<Stays>,
}

impl Erasure {
    fn of(vault: &Vault, fact: &Fact) -> Erasure {
        let left = fact.done.as_ref().map_or(&[][..], |(_, _, done)| &done.deferred);
        Erasure {
            job: fact.plan.job.to_string(),
            asked: fact.asked.to_string(),
            basis: fact.plan.basis.clone(),
            mode: fact.plan.mode,
            state: match (&fact.done, left.is_empty()) {
                (None, _) => "open",
                (Some(_), true) => "done",
                (Some(_), false) => "done-in-part",
            },
            intent: text(&fact.intent.0),
            done: fact.done.as_ref().map(|(index, _, _)| text(&index.0)),
            stays: stays(vault, left),
        }
    }
}

/// Erasures.
#[derive(Serialize, ToSchema)]
pub struct Erasures {
    /// In the order of their intents.
    erasures: Vec<Erasure>,
}

/// Lists erasures.
#[utoipa::path(
    get, path = "/v1/erasures", tag = "subjects",
    responses((status = 200, description = "Erasures", body = Erasures))
)]
pub async fn list(caller: Caller) -> Result<Answer<Erasures>, Problem> {
    caller.may(Permission::ErasureRead)?;
    work(move || {
        let every = |facts: &Facts| facts.erasures.values().cloned().collect();
        let mut all: Vec<Fact> = caller.vault.of_facts(every);
        all.sort_by_key(|fact| fact.intent);
        let erasures = all.iter().map(|fact| Erasure::of(&caller.vault, fact)).collect();
        Ok(ok(Erasures { erasures }))
    })
    .await
}

fn job(path: &str) -> Result<JobId, Problem> {
    JobId::parse(path).ok_or_else(|| Problem::absent("ERASURE_UNKNOWN"))
}

/// One erasure.
#[utoipa::path(
    get, path = "/v1/erasures/{job}", tag = "subjects",
    params(("job" = String, Path, description = "Handle of the erasure")),
    responses((status = 200, description = "The erasure", body = Erasure),
              (status = 404, description = "No such erasure"))
)]
pub async fn get(caller: Caller, Path(path): Path<String>) -> Result<Answer<Erasure>, Problem> {
    caller.may(Permission::ErasureRead)?;
    work(move || {
        let job = job(&path)?;
        let fact = caller.vault.of_facts(|facts| facts.erasures.get(&job).cloned());
        let fact = fact.ok_or_else(|| Problem::absent("ERASURE_UNKNOWN"))?;
        Ok(ok(Erasure::of(&caller.vault, &fact)))
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
