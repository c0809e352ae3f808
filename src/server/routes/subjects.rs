//! People: found by identifier for a random handle, and what an erasure of them would do. Paths
//! hold handles only, bodies identifiers; what is shown of a person is counts, unless identifiers
//! are asked for under a purpose, which the log records first.

use crate::format::control::Deferred;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::routes::identifiers::{Named, normal, of_handle};
use crate::vault::Vault;
use crate::vault::disclose::Look;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Whom to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Identifiers of one person.
    identifiers: Vec<Named>,
}

/// Who was found.
#[derive(Serialize, ToSchema)]
pub struct Found {
    /// Random handles: several where the person is known under several that are linked.
    handles: Vec<String>,
}

/// Finds a person by identifiers.
#[utoipa::path(
    post, path = "/v1/subjects/lookup", tag = "subjects", request_body = Lookup,
    responses((status = 200, description = "Handles", body = Found),
              (status = 404, description = "Nobody known, or nobody any more"))
)]
pub async fn lookup(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Found>, Problem> {
    caller.may(Permission::SubjectsLookup)?;
    let lookup: Lookup = app.wish(&headers, body).await?;
    work(move || {
        let identifiers = normal(&caller.vault, &lookup.identifiers)?;
        let persons = caller.vault.persons_named(&identifiers)?;
        Ok(ok(Found { handles: persons.iter().map(ToString::to_string).collect() }))
    })
    .await
}

/// What stays of a person, and why.
#[derive(Serialize, ToSchema)]
pub struct Stays {
    /// Retention class.
    class: String,
    /// `floor` or `hold`.
    why: String,
    /// The law, or the case's handle.
    law: String,
    /// When the floor ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
}

/// What stays, for answers.
pub fn stays(vault: &Vault, deferred: &[Deferred]) -> Vec<Stays> {
    let one = |left: &Deferred| Stays {
        class: vault.class_name(left.class),
        why: left.why.clone(),
        law: left.law.clone(),
        due: left.due.map(|due| due.to_string()),
    };
    deferred.iter().map(one).collect()
}

/// What an erasure would do today.
#[derive(Serialize, ToSchema)]
pub struct Preview {
    /// Handles it would reach.
    handles: Vec<String>,
    /// Identifiers it would reach, counted by kind.
    identifiers: BTreeMap<String, u64>,
    /// Records by retention class.
    records: BTreeMap<String, String>,
    /// Classes whose keys would go now.
    goes: Vec<String>,
    /// Classes that would stay.
    stays: Vec<Stays>,
    /// Handles of cases that forbid it.
    held_by: Vec<String>,
    /// Whether nothing forbids it.
    possible: bool,
}

/// Previews the erasure of a person; nothing is changed.
#[utoipa::path(
    get, path = "/v1/subjects/{handle}/preview", tag = "subjects",
    params(("handle" = String, Path, description = "Handle of the person")),
    responses((status = 200, description = "What an erasure would do", body = Preview),
              (status = 404, description = "Nobody known, or nobody any more"))
)]
pub async fn preview(
    caller: Caller,
    Path(handle): Path<String>,
) -> Result<Answer<Preview>, Problem> {
    caller.may(Permission::SubjectsPreview)?;
    work(move || {
        let vault = &*caller.vault;
        let preview = vault.preview_erasure(&of_handle(vault, &handle)?)?;
        let mut identifiers = BTreeMap::new();
        for identifier in &preview.identifiers {
            *identifiers.entry(identifier.kind.to_string()).or_insert(0) += 1;
        }
        let records = preview.records.iter();
        Ok(ok(Preview {
            handles: preview.persons.iter().map(ToString::to_string).collect(),
            identifiers,
            records: records.map(|(class, n)| (vault.class_name(*class), text(n))).collect(),
            goes: preview.classes.iter().map(|class| vault.class_name(*class)).collect(),
            stays: stays(vault, &preview.deferred),
            possible: preview.held.is_empty(),
            held_by: preview.held.iter().map(ToString::to_string).collect(),
        }))
    })
    .await
}

/// Why identifiers are shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Why; sealed in the entry that records this.
    pub purpose: String,
}

/// A person's identifiers.
#[derive(Serialize, ToSchema)]
pub struct Identifiers {
    /// Index of the entry that records who saw them, and why.
    recorded: String,
    /// `kind:value` each.
    identifiers: Vec<String>,
}

/// Shows the identifiers linked to a person. An entry says so before any leaves.
#[utoipa::path(
    post, path = "/v1/subjects/{handle}/identifiers", tag = "subjects", request_body = Purpose,
    params(("handle" = String, Path, description = "Handle of the person")),
    responses((status = 200, description = "Identifiers", body = Identifiers),
              (status = 404, description = "Nobody known, or nobody any more"))
)]
pub async fn identifiers(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(handle): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Identifiers>, Problem> {
    caller.may(Permission::SubjectsPreview)?;
    caller.may(Permission::EventsOpen)?;
    let Purpose { purpose } = app.wish(&headers, body).await?;
    work(move || {
        let vault = &*caller.vault;
        // Asked for first: nobody is recorded as having seen somebody who is not there.
        of_handle(vault, &handle)?;
        let end = crate::base::unit::EntryIndex(vault.size().0);
        let recorded = vault.record_look(&Look {
            act: "read",
            range: end..end,
            records: 0,
            fields: &["subject.identifiers"],
            purpose: &purpose,
            who: &caller.principal.spoken(),
            by: None,
            order: None,
        })?;
        let named = vault.preview_erasure(&of_handle(vault, &handle)?)?.identifiers;
        let identifiers = named.iter().map(|i| format!("{}:{}", i.kind, i.value)).collect();
        Ok(ok(Identifiers { recorded: text(&recorded.0), identifiers }))
    })
    .await
}
