//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is repeated since
//! no answer came is done once. The layer stands between the envelope and the routes, so that no
//! handler has to know of it: before the handler runs, a document says that the key is used; after
//! it, another version says how it ended. A repeat is answered from that, by the status of the
//! first and by what the resource is now. It never keeps a body, a key or an identifier: of key and
//! request there are MACs alone.

pub mod key;
pub mod ledger;

use crate::server::app::{App, work};
use crate::server::body::{self, SMALL_BODY_BYTES_MAX};
use crate::server::caller::Caller;
use crate::server::idempotency::key::Key;
use crate::server::idempotency::ledger::{Begun, Call, Done, Outcome, Turn};
use crate::server::problem::Problem;
use crate::server::routes::{holds, orders};
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Name of the header of a request.
pub const HEADER: &str = "idempotency-key";
/// In every answer to a repeat.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Seconds after which one whose first is still under way may ask again.
const RETRY_SECONDS: u32 = 1;

/// What a request made: its handler puts it into the answer's extensions, so that a repeat can be
/// answered with what became of it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The resource's own name, as in paths.
    pub resource: String,
    /// Entry that says so, in the log of the tenant.
    pub entry: Option<u64>,
}

/// Whether a route takes keys, and if not, what it has instead.
pub fn instead(route: &str) -> Option<&'static str> {
    match route {
        "/v1/events" => Some("give each event an id: the same id again gets the first receipt"),
        "/v1/session" | "/v1/session/step-up" | "/v1/enrolment" | "/v1/enrolment/confirm" => {
            Some("leave it out: a code or an invitation counts once by itself")
        }
        "/v1/events/{index}/open"
        | "/v1/events/{index}/disclose"
        | "/v1/subjects/lookup"
        | "/v1/orders/{id}/open"
        | "/v1/subjects/{handle}/identifiers" => {
            Some("leave it out: this reads, and each reading is in the log")
        }
        _ => None,
    }
}

/// Whether a POST to a route may bear a key.
pub fn takes_keys(route: &str) -> bool {
    instead(route).is_none() && !is_foreign(route)
}

/// Whether a route speaks another protocol, which knows no such keys.
fn is_foreign(route: &str) -> bool {
    route.starts_with("/services/")
}

/// The layer.
pub async fn once(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // Every other method is safe, or does nothing more when it is repeated.
    let keyed = *request.method() == Method::POST && request.headers().contains_key(HEADER);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    match route.filter(|route| keyed && !is_foreign(route)) {
        None => next.run(request).await,
        Some(route) => {
            settled(app, route, request, next).await.unwrap_or_else(Problem::into_response)
        }
    }
}

async fn settled(
    app: Arc<App>,
    route: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(fix) = instead(&route) {
        return Err(Problem::bad("IDEMPOTENCY_KEY_UNSUPPORTED", fix).field(HEADER));
    }
    let key = Key::of(request.headers())?;
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &app).await?;
    let mut held = body::raw(&parts.headers, body, SMALL_BODY_BYTES_MAX, &app.bodies).await?;
    let call = Call::of(&app.ledger, (&caller.principal, &route), &key, &parts, &held.bytes);
    // From here on nobody else has this key until the place is given back.
    let turn = app.ledger.turn(&call).ok_or_else(in_progress)?;
    let begin = (app.clone(), call);
    let version = match work(move || begin.0.ledger.begin(begin.0.system(), &begin.1)).await? {
        Begun::First(version) => version,
        Begun::Again(done) => {
            let path = parts.uri.path().to_owned();
            return work(move || Ok(again(&app, &caller, (&route, &path), &done))).await;
        }
        Begun::Open => return Err(uncertain(&route)),
    };
    // The handler's own extractor takes this caller, so that one request counts once.
    parts.extensions.insert(caller);
    let request = Request::from_parts(parts, Body::from(std::mem::take(&mut held.bytes)));
    // A client that hangs up, or the time limit, ends the wait for the answer and not the record.
    let done = tokio::spawn(async move {
        let answer = next.run(request).await;
        drop(held);
        noted(app, (call, version, turn), answer).await
    });
    done.await.map_err(|_| Problem::internal())
}

/// Notes how the first ended, before its answer is sent.
async fn noted(
    app: Arc<App>,
    (call, version, turn): (Call, u64, Turn),
    answer: Response,
) -> Response {
    let outcome = outcome(&answer);
    let noted = work(move || {
        let noted = app.ledger.end(app.system(), &call, version, &outcome);
        drop(turn);
        Ok(noted?)
    });
    // Where it cannot be noted the key stays open, and a repeat is told to look; the act is done.
    let _ = noted.await;
    answer
}

fn outcome(answer: &Response) -> Outcome {
    let status = answer.status();
    let problem = answer.extensions().get::<Problem>();
    let half_done = problem.is_some_and(|problem| problem.half_done);
    let never_began = problem.is_some_and(|problem| problem.code == "SCHEDULER_STOPPED");
    if half_done {
        return Outcome::Open;
    }
    if status.is_client_error() || never_began {
        return Outcome::Refused;
    }
    if status.is_server_error() {
        return Outcome::Open;
    }
    let made = answer.extensions().get::<Made>();
    Outcome::Done(Done {
        status: status.as_u16(),
        content: answer.body().size_hint().exact() != Some(0),
        resource: made.map(|made| made.resource.clone()),
        entry: made.and_then(|made| made.entry).map(|entry| entry.to_string()),
    })
}

/// The answer to a repeat of what is done.
fn again(app: &App, caller: &Caller, (route, path): (&str, &str), done: &Done) -> Response {
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::OK);
    let resource = done.resource.as_deref();
    let named = path.split('/').nth(3).unwrap_or_default();
    let shown = match (route, resource) {
        ("/v1/orders", Some(id)) => Some(orders::again(app, caller, id)),
        ("/v1/orders/{id}/approve" | "/v1/orders/{id}/reject" | "/v1/orders/{id}/withdraw", _) => {
            Some(orders::again(app, caller, named))
        }
        ("/v1/holds", Some(case)) => Some(holds::again(caller, case)),
        _ if !done.content => Some(Ok(StatusCode::OK.into_response())),
        _ => None,
    };
    let mut answer = match shown {
        Some(Ok(mut answer)) => {
            *answer.status_mut() = status;
            answer
        }
        Some(Err(problem)) => problem.into_response(),
        None => not_kept(route, done).into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let ("/v1/orders", Some(id)) = (route, resource)
        && let Ok(place) = HeaderValue::from_str(&format!("/v1/orders/{id}"))
    {
        headers.insert(header::LOCATION, place);
    }
    answer
}

/// What is said where the first's answer cannot be made again.
fn not_kept(route: &str, done: &Done) -> Problem {
    let what = match &done.resource {
        Some(resource) => format!("{resource}, "),
        None => String::new(),
    };
    let (status, trail) = (done.status, trail(route));
    match route {
        "/v1/tokens" | "/v1/humans/{id}/invitation" | "/v1/session/break-glass" => {
            let detail = format!(
                "the first request made {what}status {status}; its secret was shown that once and \
                 is nowhere: {trail}, and ask anew with another key"
            );
            Problem::new(StatusCode::GONE, "IDEMPOTENCY_SECRET_GONE", detail)
        }
        _ => {
            let detail = format!(
                "the first request was done, {what}status {status}, and not done again; its answer \
                 is not kept: {trail}"
            );
            Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_DONE", detail)
        }
    }
}

fn in_progress() -> Problem {
    let detail = "the first request with this key is still under way: ask again";
    let problem = Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_IN_PROGRESS", detail);
    problem.field(HEADER).retry(RETRY_SECONDS)
}

fn uncertain(route: &str) -> Problem {
    let detail = format!(
        "the service stopped or failed in the middle of the first request with this key, so it may \
         have been done or not: {}, then ask with another key if it was not",
        trail(route)
    );
    Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_UNCERTAIN", detail).field(HEADER)
}

/// Where somebody sees what a request did.
fn trail(route: &str) -> &'static str {
    match route {
        "/v1/orders" => "look at GET /v1/orders?all=true",
        "/v1/tokens" => "look at GET /v1/tokens and revoke what nobody has",
        "/v1/holds" => "look at GET /v1/holds",
        "/v1/retention/run" => "look at GET /v1/retention/history",
        "/v1/humans/{id}/invitation" => "look at GET /v1/humans; a new invitation closes the old",
        "/v1/session/break-glass" => "log in again; GET /v1/humans says what reviews are owed",
        route if route.starts_with("/v1/orders/") => "look at GET /v1/orders/{id}",
        route if route.starts_with("/v1/schedules/") => "look at GET /v1/schedules/{name}",
        _ => "look at the resource and at the newest entries of the log",
    }
}
