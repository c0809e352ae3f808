//! People: found by identifier for a random handle, and what an erasure of them would do. Paths
//! hold handles only, bodies identifiers; what is shown of a person is counts, unless identifiers
//! are asked for under a purpose, which the log records first.

use crate::format::control::{Cause, Deferred, Ground};
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::routes::erasures::state;
use crate::server::routes::identifiers::{Named, handle, normal, of_handle};
use crate::vault::Vault;
use crate::vault::beside;
use crate::vault::disclose::Look;
use crate::vault::error::Error;
use crate::vault::facts::Erasure as Fact;
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
    /// Who may be the same person and is not linked: shares at least 3 records with this one, and
    /// these are at least half of the records of that one. At most 20, who shares most first.
    /// Nothing is linked.
    likely_unlinked: Vec<Likely>,
    /// Bodies in the person's records that are sealed under the tenant, which an erasure does not
    /// reach, by source.
    tenant_sealed: Vec<TenantSealed>,
    /// Records that the last two were counted over: the newest, at most 100,000.
    looked_at: String,
    /// Whether they are exhaustive.
    complete: bool,
}

/// Somebody who may be the same person.
#[derive(Serialize, ToSchema)]
pub struct Likely {
    /// Handles.
    handles: Vec<String>,
    /// Identifiers, counted by kind; the route `identifiers` shows them under a purpose.
    identifiers: BTreeMap<String, u64>,
    /// Records that name both.
    shared: String,
    /// Records that name this one.
    records: String,
}

/// What a source has sealed under the tenant.
#[derive(Serialize, ToSchema)]
pub struct TenantSealed {
    /// Name of the source; none for acts of the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Bodies.
    bodies: String,
}

/// Who may be the same person, for answers.
fn likely(all: &[beside::Likely]) -> Vec<Likely> {
    let one = |likely: &beside::Likely| Likely {
        handles: likely.persons.iter().map(ToString::to_string).collect(),
        identifiers: likely.kinds.iter().map(|(kind, n)| (kind.to_string(), *n)).collect(),
        shared: text(&likely.shared),
        records: text(&likely.own),
    };
    all.iter().map(one).collect()
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
        let beside = vault.beside(&preview.persons)?;
        let tenant_sealed = beside.tenant_sealed.iter().map(|(source, bodies)| TenantSealed {
            source: source.as_deref().map(str::to_owned),
            bodies: text(bodies),
        });
        Ok(ok(Preview {
            likely_unlinked: likely(&beside.likely),
            tenant_sealed: tenant_sealed.collect(),
            looked_at: text(&beside.looked_at),
            complete: beside.complete,
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

/// How a restriction stands.
#[derive(Serialize, ToSchema)]
pub struct Restricted {
    /// Index of the entry since which.
    entry: String,
    /// Log time of that.
    since: String,
    /// Which of the four cases of GDPR Art. 18(1); none where it can be read no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    cause: Option<Cause>,
}

/// An erasure that names the person.
#[derive(Serialize, ToSchema)]
pub struct Erasing {
    /// Handle of the erasure.
    job: String,
    /// `executing`, `done`, or `done-in-part` while something stays.
    state: &'static str,
}

/// How a person stands.
#[derive(Serialize, ToSchema)]
pub struct Standing {
    /// Whether new records may name the person by this handle; no more once it was erased.
    known: bool,
    /// All handles of a person who is known.
    handles: Vec<String>,
    /// The restriction of the use of the person's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    restricted: Option<Restricted>,
    /// Handles of cases that hold the person.
    held_by: Vec<String>,
    /// Erasures under way and done, in the order of the log. Orders that wait are not among them.
    erasures: Vec<Erasing>,
}

/// How a person stands: known, restricted, held, erased.
#[utoipa::path(
    get, path = "/v1/subjects/{handle}", tag = "subjects",
    params(("handle" = String, Path, description = "Handle of the person")),
    responses((status = 200, description = "The person", body = Standing),
              (status = 404, description = "Nobody ever known by this handle"))
)]
pub async fn get(caller: Caller, Path(path): Path<String>) -> Result<Answer<Standing>, Problem> {
    caller.may(Permission::SubjectsPreview)?;
    work(move || {
        let (vault, person) = (&*caller.vault, handle(&path)?);
        let living = match vault.handles_of(&person) {
            Ok(handles) => Some(handles),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let all = living.clone().unwrap_or_else(|| vec![person]);
        let mut named: Vec<Fact> = {
            let facts = vault.facts();
            let names = |fact: &&Fact| fact.plan.persons.iter().any(|named| all.contains(named));
            facts.erasures.values().filter(names).cloned().collect()
        };
        if living.is_none() && named.is_empty() {
            return Err(Problem::absent("SUBJECT_UNKNOWN"));
        }
        named.sort_by_key(|fact| fact.intent);
        let erasure = |fact: &Fact| Erasing { job: fact.plan.job.to_string(), state: state(fact) };
        let restricted = vault.restriction_of(&all)?.map(|restriction| Restricted {
            entry: text(&restriction.since),
            since: restriction.time.to_string(),
            cause: restriction.cause,
        });
        Ok(ok(Standing {
            known: living.is_some(),
            handles: living.iter().flatten().map(ToString::to_string).collect(),
            restricted,
            held_by: vault.cases_on(&all)?.iter().map(ToString::to_string).collect(),
            erasures: named.iter().map(erasure).collect(),
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
    /// What allows it for a person whose data is restricted; stands in that entry in clear.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern =
        "^(legal-claims|consent|rights-of-others|public-interest)$")]
    pub ground: Option<Ground>,
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
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Identifiers>, Problem> {
    caller.may(Permission::SubjectsPreview)?;
    caller.may(Permission::EventsOpen)?;
    let Purpose { purpose, ground } = app.wish(&headers, body).await?;
    work(move || {
        let vault = &*caller.vault;
        // Asked for first: nobody is recorded as having seen somebody who is not there.
        of_handle(vault, &path)?;
        let handles = vault.handles_of(&handle(&path)?)?;
        if ground.is_none() && vault.restriction_of(&handles)?.is_some() {
            let fix = "the use of this person's data is restricted: name the ground that allows it";
            return Err(Error::denied("SUBJECT_RESTRICTED", fix).into());
        }
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
            ground,
        })?;
        let named = vault.preview_erasure(&of_handle(vault, &path)?)?.identifiers;
        let identifiers = named.iter().map(|i| format!("{}:{}", i.kind, i.value)).collect();
        Ok(ok(Identifiers { recorded: text(&recorded.0), identifiers }))
    })
    .await
}
