//! Legal holds: what a case covers stays. One person may set one; its release files an order
//! (`orders`), since it lets things be destroyed.

use crate::base::id::CaseId;
use crate::base::unit::Day;
use crate::format::control::Scope;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::idempotency::Made;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::routes::identifiers::{Named, normal, of_handle};
use crate::vault::Vault;
use crate::vault::hold::Order;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest name of a case.
const CASE_BYTES_MAX: usize = 200;

/// One part of what a case covers: a person, or days of a class.
#[derive(Serialize, ToSchema)]
pub struct Part {
    /// Index of the entry that set it.
    entry: String,
    /// Handle of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    /// Class.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// First day.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Last day; none = without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

impl Part {
    fn of(vault: &Vault, entry: u64, scope: &Scope) -> Part {
        let entry = text(&entry);
        match scope {
            Scope::Person { person } => {
                let handle = Some(person.to_string());
                Part { entry, handle, class: None, from: None, to: None }
            }
            Scope::ClassDays { class, from, to } => Part {
                entry,
                handle: None,
                class: Some(vault.class_name(*class)),
                from: Some(from.to_string()),
                to: (*to != Day::LAST).then(|| to.to_string()),
            },
        }
    }
}

/// One active case.
#[derive(Serialize, ToSchema)]
pub struct Case {
    /// Handle of the case.
    case: String,
    /// Its name.
    name: String,
    /// What it covers.
    covers: Vec<Part>,
    /// Class-days that are overdue because of it.
    overdue_class_days: u64,
}

/// Active cases.
#[derive(Serialize, ToSchema)]
pub struct Holds {
    /// By handle.
    holds: Vec<Case>,
}

/// Lists active holds.
#[utoipa::path(
    get, path = "/v1/holds", tag = "holds",
    responses((status = 200, description = "Active holds", body = Holds))
)]
pub async fn list(caller: Caller) -> Result<Answer<Holds>, Problem> {
    caller.may(Permission::HoldsRead)?;
    work(move || {
        let vault = &*caller.vault;
        let (names, plan) = (vault.hold_names()?, vault.retention_plan()?);
        let now = vault.clock().now();
        let holds = vault.of_facts(|facts| facts.holds.clone());
        let cases = holds.iter().map(|(case, scopes)| {
            let overdue = plan
                .iter()
                .filter(|p| p.held.contains(case) && p.due.is_some_and(|due| due <= now))
                .count();
            Case {
                case: case.to_string(),
                name: names.get(case).cloned().unwrap_or_default(),
                covers: scopes.iter().map(|(at, s)| Part::of(vault, at.0, s)).collect(),
                overdue_class_days: overdue as u64,
            }
        });
        Ok(ok(Holds { holds: cases.collect() }))
    })
    .await
}

/// A hold: of a person by identifiers or handle, or of days of a class.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Name of the case, sealed in its entry.
    name: String,
    /// Handle of an active case that this widens.
    #[serde(default)]
    case: Option<String>,
    /// Identifiers of the person.
    #[serde(default)]
    identifiers: Vec<Named>,
    /// Handle of the person.
    #[serde(default)]
    handle: Option<String>,
    /// Class.
    #[serde(default)]
    class: Option<String>,
    /// First day; the first there is if left out.
    #[serde(default)]
    from: Option<String>,
    /// Last day; without end if left out.
    #[serde(default)]
    to: Option<String>,
}

/// A hold that is set.
#[derive(Serialize, ToSchema)]
pub struct Set {
    /// Handle of the case.
    case: String,
    /// Indexes of the entries that say so.
    entries: Vec<String>,
}

/// Sets a hold, or widens one.
#[utoipa::path(
    post, path = "/v1/holds", tag = "holds", request_body = Setting,
    responses((status = 201, description = "Set", body = Set),
              (status = 404, description = "No such person, class or case"))
)]
pub async fn set(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<(Extension<Made>, Answer<Set>), Problem> {
    caller.may(Permission::HoldsSet)?;
    let setting: Setting = app.wish(&headers, body).await?;
    work(move || {
        let vault = &*caller.vault;
        let scopes = scopes(vault, &setting)?;
        let mut case = widened(vault, &setting)?;
        let order = Order {
            requested_by: caller.principal.spoken(),
            approved_by: None,
            single_operator: true,
        };
        let (mut entries, mut last) = (Vec::new(), None);
        let all = scopes.len();
        for scope in scopes {
            let held = vault.set_hold(case, &setting.name, scope, &order);
            let (set, index) = held.map_err(|error| in_part(error.into(), case, &entries, all))?;
            (case, last) = (Some(set), Some(index.0));
            entries.push(text(&index.0));
        }
        vault.checkpoint().map_err(|error| Problem::from(error).half_done())?;
        let case = case.map(|case| case.to_string()).unwrap_or_default();
        let made = Made { resource: case.clone(), entry: last };
        Ok((Extension(made), Answer(StatusCode::CREATED, Set { case, entries })))
    })
    .await
}

/// A case as it is now, for whoever repeats the request that set it: with all its entries.
///
/// # Errors
/// 403 `FORBIDDEN`.
pub fn again(caller: &Caller, case: &str) -> Result<Response, Problem> {
    caller.may(Permission::HoldsSet)?;
    let holds = caller.vault.facts_now().holds;
    let scopes = CaseId::parse(case).and_then(|case| holds.get(&case));
    let entries = scopes.into_iter().flatten().map(|(at, _)| text(&at.0)).collect();
    Ok(ok(Set { case: case.to_owned(), entries }).into_response())
}

/// A refusal after some of what was asked for is held already: it says what stands, so that
/// nobody sets a second case for the rest.
fn in_part(problem: Problem, case: Option<CaseId>, entries: &[String], all: usize) -> Problem {
    let (Some(case), false) = (case, entries.is_empty()) else { return problem };
    let detail = format!(
        "{}; {} of {all} parts are held under case {case} (entries {}): ask again with this case",
        problem.detail,
        entries.len(),
        entries.join(", "),
    );
    Problem { detail: detail.into(), ..problem }.half_done()
}

fn refused(code: &'static str, field: &str, fix: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, fix).field(field)
}

/// The active case that is widened.
fn widened(vault: &Vault, setting: &Setting) -> Result<Option<CaseId>, Problem> {
    let name = &setting.name;
    if name.trim().is_empty() || name.len() > CASE_BYTES_MAX {
        let problem = refused("FIELD_VALUE", "name", "name the case");
        return Err(problem.limit(CASE_BYTES_MAX as u64));
    }
    let Some(case) = &setting.case else { return Ok(None) };
    let is_there = |case: &CaseId| vault.of_facts(|facts| facts.holds.contains_key(case));
    let case = CaseId::parse(case).filter(is_there);
    case.map(Some).ok_or_else(|| Problem::absent("HOLD_UNKNOWN"))
}

/// What it covers; everything is looked up before anything is set.
fn scopes(vault: &Vault, setting: &Setting) -> Result<Vec<Scope>, Problem> {
    let Setting { identifiers, handle, class, from, to, .. } = setting;
    let one = usize::from(!identifiers.is_empty())
        + usize::from(handle.is_some())
        + usize::from(class.is_some());
    if one != 1 || (class.is_none() && (from.is_some() || to.is_some())) {
        let fix = "name just one of identifiers, handle, and class with its days";
        return Err(refused("FIELD_REQUIRED", "class", fix));
    }
    let Some(class) = class else {
        let named = match handle {
            Some(handle) => of_handle(vault, handle)?,
            None => normal(vault, identifiers)?,
        };
        let persons = vault.persons_to_hold(&named)?;
        return Ok(persons.into_iter().map(|person| Scope::Person { person }).collect());
    };
    let policies = vault.policies();
    let class = policies.classes().by_name(class);
    let class = class.ok_or_else(|| Problem::absent("CLASS_UNKNOWN"))?.id;
    let day = |text: &Option<String>, field: &str, none: Day| match text {
        None => Ok(none),
        Some(text) => Day::parse(text)
            .ok_or_else(|| refused("FIELD_VALUE", field, "give a date, as in 2026-11-21")),
    };
    let (from, to) = (day(from, "from", Day(0))?, day(to, "to", Day::LAST)?);
    Ok(vec![Scope::ClassDays { class, from, to }])
}
