//! Restriction of a person's data (GDPR Art. 18): begun at once by whoever may, lifted by a person
//! with a fresh code. The vault's reading keeps the fields closed; nothing here decides what is
//! read. It keeps nothing from expiring: a hold does.

use crate::format::control::Cause;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::routes::identifiers::handle;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Why the use of a person's data is restricted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restricting {
    /// Which of the four cases of GDPR Art. 18(1).
    #[schema(value_type = String, pattern =
        "^(accuracy-contested|unlawful-use|needed-for-claims|objection-pending)$")]
    cause: Cause,
    /// Why; sealed under the person in the entry that says so. At most 1,024 bytes.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// A restriction that has begun.
#[derive(Serialize, ToSchema)]
pub struct Begun {
    /// Index of the entry since which.
    entry: String,
}

/// Restricts the use of a person's data: from now on personal fields open on a named ground only.
#[utoipa::path(
    post, path = "/v1/subjects/{handle}/restriction", tag = "subjects",
    request_body = Restricting,
    params(("handle" = String, Path, description = "Handle of the person")),
    responses((status = 201, description = "Restricted", body = Begun),
              (status = 404, description = "Nobody known, or nobody any more"),
              (status = 409, description = "Restricted already"))
)]
pub async fn begin(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Begun>, Problem> {
    caller.may(Permission::SubjectsRestrict)?;
    let Restricting { cause, reason } = app.wish(&headers, body).await?;
    work(move || {
        let (vault, who) = (&*caller.vault, caller.principal.spoken());
        let entry = vault.restrict(&handle(&path)?, cause, &reason, &who)?;
        vault.checkpoint()?;
        Ok(Answer(StatusCode::CREATED, Begun { entry: text(&entry) }))
    })
    .await
}

/// Why a restriction is lifted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifting {
    /// Why; sealed under the person in the entry that says so. At most 1,024 bytes. GDPR
    /// Art. 18(3): the person is told before.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// A restriction that is over.
#[derive(Serialize, ToSchema)]
pub struct Lifted {
    /// Indexes of the entries that say so: one for each handle that was restricted.
    entries: Vec<String>,
}

/// Lifts the restriction of a person's data.
#[utoipa::path(
    post, path = "/v1/subjects/{handle}/restriction/lift", tag = "subjects",
    request_body = Lifting,
    params(("handle" = String, Path, description = "Handle of the person")),
    responses((status = 200, description = "Lifted", body = Lifted),
              (status = 404, description = "Nobody known, or nobody any more"),
              (status = 409, description = "Not restricted"))
)]
pub async fn lift(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Lifted>, Problem> {
    caller.may_now(Permission::SubjectsRestrict)?;
    let Lifting { reason } = app.wish(&headers, body).await?;
    work(move || {
        let (vault, who) = (&*caller.vault, caller.principal.spoken());
        let entries = vault.lift_restriction(&handle(&path)?, &reason, &who)?;
        vault.checkpoint()?;
        Ok(ok(Lifted { entries: entries.iter().map(text).collect() }))
    })
    .await
}
