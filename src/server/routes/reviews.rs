//! Break-glass sessions as somebody else has to look at them: listed with why the glass was broken,
//! closed with what was found. Nobody closes the review of a session of his own.

use crate::base::id::DocumentId;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::identity::glass;
use crate::server::json::{Answer, ok};
use crate::server::problem::Problem;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// That somebody looked.
#[derive(Serialize, ToSchema)]
pub struct Closed {
    /// Document of the person who did.
    by: String,
    /// When.
    at: String,
    /// What was found.
    note: String,
}

/// A break-glass session.
#[derive(Serialize, ToSchema)]
pub struct Review {
    /// Its name.
    id: String,
    /// Document of the person whose it was.
    human: String,
    /// Why, in that person's words.
    reason: String,
    /// From when.
    opened: String,
    /// Until when at most.
    until: String,
    /// Who looked at it; none as long as somebody must.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<Closed>,
}

impl Review {
    fn of((human, review): (DocumentId, glass::Review)) -> Review {
        let closed = review.closed.map(|closed| Closed {
            by: closed.by.to_string(),
            at: closed.at.to_string(),
            note: closed.note,
        });
        Review {
            id: review.id.to_string(),
            human: human.to_string(),
            reason: review.reason,
            opened: review.opened.to_string(),
            until: review.until.to_string(),
            closed,
        }
    }
}

/// Break-glass sessions.
#[derive(Serialize, ToSchema)]
pub struct Reviews {
    /// The oldest first; of each person all that are open and the last that were closed.
    reviews: Vec<Review>,
}

/// Lists the break-glass sessions on the caller's tenant. Each is in the log too, for ever.
#[utoipa::path(
    get, path = "/v1/reviews", tag = "session",
    responses((status = 200, description = "Sessions", body = Reviews))
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<Reviews>, Problem> {
    caller.may(Permission::OrdersRead)?;
    let reviews = app.directory.reviews(&caller.principal.tenant);
    Ok(ok(Reviews { reviews: reviews.into_iter().map(Review::of).collect() }))
}

/// What was found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReviewNote)]
pub struct Looked {
    /// 12 to 1,000 bytes; sealed in the entry that says who looked.
    note: String,
}

/// Closes the review of somebody else's break-glass session.
#[utoipa::path(
    post, path = "/v1/reviews/{id}", tag = "session", request_body = Looked,
    params(("id" = String, Path, description = "Name of the session's review")),
    responses((status = 204, description = "Closed"),
              (status = 403, description = "Not somebody who may approve"),
              (status = 404, description = "No such session here"),
              (status = 409, description = "One's own, or closed already"))
)]
pub async fn close(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    caller.may_now(Permission::OrdersApprove)?;
    let id = DocumentId::parse(&id).ok_or_else(|| Problem::absent("REVIEW_UNKNOWN"))?;
    let Looked { note } = app.wish(&headers, body).await?;
    work(move || {
        app.directory.close_review(&app.hands(0), &caller.principal, id, &note)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
