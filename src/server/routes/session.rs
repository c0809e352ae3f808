//! Sessions of people and their enrolment: the only routes that somebody unknown may call. A
//! session's name travels in a cookie that scripts cannot read; passwords and codes in bodies
//! only. It never says which of login, password and code was wrong.

use crate::server::app::{App, work};
use crate::server::body;
use crate::server::caller::{COOKIE, Caller, address, same_origin, session_cookie};
use crate::server::identity::directory::{Login, Opened};
use crate::server::identity::enrolment::Enrol;
use crate::server::identity::principal::{Principal, Who};
use crate::server::identity::refused::Refused;
use crate::server::json::{Answer, ok, parse};
use crate::server::problem::Problem;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Login name.
    login: String,
    /// Password.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    /// One-time code of the authenticator.
    code: String,
    /// Tenant; `main`, or the only one, if left out.
    #[serde(default)]
    tenant: Option<String>,
}

/// Who is in a session.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// Document of the person or token.
    id: String,
    /// `human` or `token`.
    kind: &'static str,
    /// Login of the person, or name of the token.
    name: String,
    /// The tenant it is about.
    tenant: String,
    /// Roles there.
    roles: Vec<String>,
    /// When the person last showed a one-time code.
    #[serde(skip_serializing_if = "Option::is_none")]
    stepped_up: Option<String>,
    /// Until when the glass is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    break_glass: Option<String>,
}

impl Session {
    fn of(principal: &Principal) -> Session {
        Session {
            id: principal.who.document().to_string(),
            kind: match principal.who {
                Who::Human(_) => "human",
                Who::Token(_) => "token",
            },
            name: principal.name.clone(),
            tenant: principal.tenant.clone(),
            roles: principal.roles().iter().map(ToString::to_string).collect(),
            stepped_up: principal.stepped_up.map(|at| at.to_string()),
            break_glass: principal.break_glass.map(|at| at.to_string()),
        }
    }
}

/// An opened session: its cookie, and who is in it.
fn entered(opened: &Opened) -> Response {
    let value =
        format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", opened.cookie.expose());
    let mut response = ok(Session::of(&opened.principal)).into_response();
    if let Ok(mut value) = HeaderValue::from_str(&value) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Runs what a stranger asked: so many attempts from one address are let in, before any of it is
/// read, and every refusal is counted.
async fn stranger<T, R>(
    app: Arc<App>,
    request: Request,
    act: impl FnOnce(&App, T) -> Result<R, Problem> + Send + 'static,
) -> Result<R, Problem>
where
    T: DeserializeOwned + Send + 'static,
    R: Send + 'static,
{
    let (parts, body) = request.into_parts();
    let from = address(&parts, &app);
    app.gate.may_try(from)?;
    let done = async {
        same_origin(&parts.method, &parts.headers, &app)?;
        let held = body::read_of_stranger(&parts.headers, body, &app.strangers).await?;
        let wish: T = parse(&parts.headers, &held.bytes)?;
        let shared = app.clone();
        work(move || act(&shared, wish)).await
    };
    done.await.inspect_err(|problem| counted(&app, problem, from))
}

/// Counts who was not let in, or has to wait.
fn counted(app: &App, problem: &Problem, from: IpAddr) {
    let told = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
    if told.contains(&problem.status) {
        app.gate.count(problem.code, from);
    }
}

/// Logs in: password and one-time code at once.
#[utoipa::path(
    post, path = "/v1/session", tag = "session", request_body = Credentials, security(()),
    responses((status = 200, description = "In; the cookie is set", body = Session),
              (status = 401, description = "Nobody with these credentials"),
              (status = 429, description = "Too many attempts: wait as Retry-After says"))
)]
pub async fn login(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    stranger(app, request, |app, wish: Credentials| {
        let login = Login {
            login: &wish.login,
            password: &wish.password,
            code: &wish.code,
            tenant: wish.tenant.as_deref(),
        };
        Ok(entered(&app.directory.login(&app.hands(0), &login)?))
    })
    .await
}

/// Who am I.
#[utoipa::path(
    get, path = "/v1/session", tag = "session",
    responses((status = 200, description = "Who asks, and what they are here", body = Session))
)]
pub async fn get(caller: Caller) -> Result<Answer<Session>, Problem> {
    Ok(ok(Session::of(&caller.principal)))
}

/// Logs out.
#[utoipa::path(
    delete, path = "/v1/session", tag = "session",
    responses((status = 204, description = "Out"))
)]
pub async fn logout(
    State(app): State<Arc<App>>,
    _caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cookie = session_cookie(&headers).map(str::to_owned);
    work(move || {
        if let Some(cookie) = cookie {
            app.directory.logout(app.system(), &cookie)?;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
        if let Ok(gone) = HeaderValue::from_str(&gone) {
            response.headers_mut().insert(header::SET_COOKIE, gone);
        }
        Ok(response)
    })
    .await
}

/// A one-time code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Six digits.
    code: String,
}

/// Shows a fresh one-time code: for five minutes, acts that need one may be asked for.
#[utoipa::path(
    post, path = "/v1/session/step-up", tag = "session", request_body = Code,
    responses((status = 200, description = "Fresh; the session has a new cookie", body = Session),
              (status = 401, description = "Not the code"))
)]
pub async fn step_up(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let cookie = session_cookie(&parts.headers).map(str::to_owned);
    let cookie = cookie.ok_or(Refused::HumansOnly)?;
    let from = caller.from;
    let Code { code } = app.wish(&parts.headers, body).await?;
    let shared = app.clone();
    let stepped =
        move || Ok(entered(&shared.directory.step_up(&shared.hands(0), &cookie, &code)?));
    work(stepped).await.inspect_err(|problem| counted(&app, problem, from))
}

/// Why the glass is broken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why; sealed in the entry that raises the alarm.
    reason: String,
}

/// Breaks the glass: an hour of reading, an alarm at once, and a review that somebody else owes.
#[utoipa::path(
    post, path = "/v1/session/break-glass", tag = "session", request_body = Reason,
    responses((status = 200, description = "The session may read; it has a new cookie",
               body = Session))
)]
pub async fn break_glass(
    State(app): State<Arc<App>>,
    _caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let cookie = session_cookie(&headers).map(str::to_owned).ok_or(Refused::HumansOnly)?;
    let Reason { reason } = app.wish(&headers, body).await?;
    work(move || Ok(entered(&app.directory.break_glass(&app.hands(0), &cookie, &reason)?))).await
}

/// Who enrols.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrolling {
    /// The invitation, or the bootstrap token.
    #[schema(value_type = String)]
    token: Zeroizing<String>,
    /// Login: the first person chooses it.
    #[serde(default)]
    login: Option<String>,
    /// Name: the first person chooses it.
    #[serde(default)]
    name: Option<String>,
    /// The password chosen, 12 to 256 characters.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
}

/// What an authenticator program needs. It is shown once.
#[derive(Serialize, ToSchema)]
pub struct Secrets {
    /// As a URI.
    otpauth: String,
    /// As letters to type.
    secret: String,
}

/// Begins an enrolment: a password is chosen, a shared secret made.
#[utoipa::path(
    post, path = "/v1/enrolment", tag = "session", request_body = Enrolling, security(()),
    responses((status = 200, description = "For the authenticator", body = Secrets),
              (status = 403, description = "No such invitation is open"))
)]
pub async fn enrol(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Answer<Secrets>, Problem> {
    stranger(app, request, |app, wish: Enrolling| {
        let enrol = Enrol {
            token: &wish.token,
            login: wish.login.as_deref(),
            name: wish.name.as_deref(),
            password: &wish.password,
        };
        let shown = app.directory.enrol(&app.hands(0), &enrol)?;
        Ok(ok(Secrets { otpauth: shown.otpauth.to_string(), secret: shown.secret.to_string() }))
    })
    .await
}

/// Ends an enrolment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirming {
    /// The invitation, or the bootstrap token.
    #[schema(value_type = String)]
    token: Zeroizing<String>,
    /// The first one-time code.
    code: String,
}

/// Somebody who is enrolled.
#[derive(Serialize, ToSchema)]
pub struct Enrolled {
    /// Document of the person.
    human: String,
}

/// Ends an enrolment: a right code, and the person counts.
#[utoipa::path(
    post, path = "/v1/enrolment/confirm", tag = "session", request_body = Confirming,
    security(()),
    responses((status = 200, description = "Enrolled", body = Enrolled),
              (status = 403, description = "Not the code, or nothing was begun"))
)]
pub async fn confirm(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Answer<Enrolled>, Problem> {
    stranger(app, request, |app, wish: Confirming| {
        let pause = app.pause(crate::policy::access::HOME)?;
        let human = app.directory.confirm(&app.hands(pause), &wish.token, &wish.code)?;
        Ok(ok(Enrolled { human: human.to_string() }))
    })
    .await
}
