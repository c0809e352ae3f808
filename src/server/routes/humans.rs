//! People of the service: who they are and what they may. Making, granting, resetting and
//! disabling are orders (`orders`); inviting somebody who was made is not, since only they can
//! use it and a new approver waits.

use crate::base::id::DocumentId;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::identity::directory::Person;
use crate::server::json::{Answer, ok};
use crate::server::problem::Problem;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A role somebody has.
#[derive(Serialize, ToSchema)]
pub struct Grant {
    /// Tenant.
    tenant: String,
    /// Role.
    role: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Sources it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<String>>,
    /// Since when.
    since: String,
    /// Whether the glass may be broken.
    break_glass: bool,
}

/// A person.
#[derive(Serialize, ToSchema)]
pub struct Human {
    /// Document.
    id: String,
    /// Login.
    login: String,
    /// Name.
    name: String,
    /// Roles, those that are over included.
    grants: Vec<Grant>,
    /// Before this the person may not approve.
    approver_from: String,
    /// May not come in.
    disabled: bool,
    /// Has both factors.
    enrolled: bool,
    /// Until when an invitation is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_until: Option<String>,
    /// Broken glass that somebody else must still look at.
    reviews_owed: usize,
}

impl From<Person> for Human {
    fn from(person: Person) -> Self {
        let grants = person.grants.into_iter().map(|grant| Grant {
            tenant: grant.tenant,
            role: grant.role.to_string(),
            until: grant.until.map(|at| at.to_string()),
            sources: grant.sources,
            since: grant.since.to_string(),
            break_glass: grant.break_glass,
        });
        Human {
            id: person.id.to_string(),
            login: person.login,
            name: person.name,
            grants: grants.collect(),
            approver_from: person.approver_from.to_string(),
            disabled: person.disabled,
            enrolled: person.enrolled,
            invited_until: person.invited_until.map(|at| at.to_string()),
            reviews_owed: person.reviews_owed,
        }
    }
}

/// People.
#[derive(Serialize, ToSchema)]
pub struct Humans {
    /// By document.
    humans: Vec<Human>,
}

/// Lists the people of the service.
#[utoipa::path(
    get, path = "/v1/humans", tag = "humans",
    responses((status = 200, description = "People", body = Humans))
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<Humans>, Problem> {
    caller.may(Permission::HumansRead)?;
    let people = app.directory.people(app.system().clock().now());
    Ok(ok(Humans { humans: people.into_iter().map(Human::from).collect() }))
}

/// An invitation. It is shown this once; hand it over yourself.
#[derive(Serialize, ToSchema)]
pub struct Invitation {
    /// Its text.
    token: String,
    /// Until when it is open.
    expires: String,
}

/// Invites somebody who has no factors yet; an invitation that was open before is closed by it.
#[utoipa::path(
    post, path = "/v1/humans/{id}/invitation", tag = "humans",
    params(("id" = String, Path, description = "Document of the person")),
    responses((status = 201, description = "The invitation", body = Invitation),
              (status = 404, description = "No such person"),
              (status = 409, description = "The person has factors, or may not come in"))
)]
pub async fn invite(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<Invitation>, Problem> {
    caller.may_now(Permission::HumansManage)?;
    let id = DocumentId::parse(&id).ok_or_else(|| Problem::absent("HUMAN_UNKNOWN"))?;
    work(move || {
        let (text, expires) = app.directory.invite(&app.hands(0), caller.principal.who, id)?;
        let (token, expires) = (text.expose().to_owned(), expires.to_string());
        Ok(Answer(StatusCode::CREATED, Invitation { token, expires }))
    })
    .await
}
