//! Splunk's collector endpoints: products with a Splunk log stream point here unchanged. The token
//! says the source, in the `Authorization` header and nowhere else; 200 comes after the events are
//! durable, so every number of a channel is acknowledged as soon as it is given. `docs/hec.md` says
//! what differs from Splunk.

use crate::base::event::Draft;
use crate::base::limits::BATCH_EVENTS_MAX;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::body::{self, SMALL_BODY_BYTES_MAX};
use crate::server::caller::{address, fits};
use crate::server::envelope::Known;
use crate::server::hec::answer::{Told, json_answer};
use crate::server::hec::channels::Channel;
use crate::server::hec::read::{Form, Sink, events, in_parts, lines};
use crate::server::identity::principal::Principal;
use crate::server::identity::refused::Refused;
use crate::server::log::Who as Seen;
use crate::server::metrics::Protocol;
use crate::server::problem::Problem;
use crate::server::routes::ingest::{self, Counted};
use crate::vault::Vault;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Header that names a channel.
const CHANNEL: &str = "x-splunk-request-channel";
/// Numbers one request may ask about.
const ACKS_MAX: usize = 10_000;
/// What the address of a raw body may say of all its lines.
const METADATA: [&str; 5] = ["host", "index", "source", "sourcetype", "time"];
/// Bytes of one of these values.
const METADATA_BYTES_MAX: usize = 1_024;

/// What a sender is told.
#[derive(Serialize, ToSchema)]
pub struct Reply {
    /// Splunk's words.
    text: String,
    /// Splunk's number.
    code: u16,
    /// Place of the event that is refused, from 0.
    #[serde(rename = "invalid-event-number")]
    event: Option<u64>,
    /// Number that the channel may ask about.
    #[serde(rename = "ackId")]
    ack: Option<u64>,
    /// Chancery's own code.
    reason: Option<String>,
}

/// Which numbers a channel asks about.
#[derive(Deserialize, ToSchema)]
pub struct Asked {
    /// Numbers.
    acks: Vec<u64>,
}

/// Which numbers are acknowledged.
#[derive(Serialize, ToSchema)]
pub struct Acknowledged {
    /// By number.
    acks: BTreeMap<String, bool>,
}

/// An authenticated sender.
struct Sending {
    app: Arc<App>,
    vault: Arc<Vault>,
    principal: Principal,
    /// The source of its token.
    source: String,
    channel: Option<Channel>,
    query: Vec<(String, String)>,
}

impl Sending {
    fn of(app: &Arc<App>, parts: &Parts) -> Result<Sending, Told> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map_err(|_| Told::unreadable().reason("PARAMETER_VALUE"))?.0;
        if query.iter().any(|(name, _)| name == "token") {
            return Err(Told::in_query());
        }
        let principal = known(app, parts)?;
        let scope = principal.scope(Permission::EventsAppend);
        let scope = scope.map_err(|refused| Told::invalid_token().reason(refused.code()))?;
        let source = ingest::source(&scope, None);
        let source = source.map_err(|problem| Told::invalid_token().reason(problem.code))?;
        let named = parts.headers.get(CHANNEL).map(|value| value.to_str().unwrap_or_default());
        let asked = query.iter().find(|(name, _)| name == "channel");
        let channel = match named.or(asked.map(|(_, value)| value.as_str())) {
            None => None,
            Some(text) => {
                let guid = guid(text).ok_or_else(Told::channel_invalid)?;
                Some((principal.who.document(), guid))
            }
        };
        let vault = app.tenant(&principal.tenant)?;
        Ok(Sending { app: app.clone(), vault, principal, source, channel, query })
    }

    /// What the address says of all lines, as a JSON object; nothing if it says nothing.
    fn metadata(&self) -> Result<String, Told> {
        let said = self.query.iter().filter(|(name, _)| METADATA.contains(&name.as_str()));
        if said.clone().any(|(_, value)| value.len() > METADATA_BYTES_MAX) {
            return Err(Told::too_large("ENVELOPE_TOO_LARGE"));
        }
        let said: Map<String, Value> =
            said.map(|(name, value)| (name.clone(), json!(value))).collect();
        Ok(if said.is_empty() { String::new() } else { Value::Object(said).to_string() })
    }

    /// Makes drafts of a body and appends them; every event is durable when this returns.
    fn take(
        &self,
        protocol: Protocol,
        read: impl Fn(Form, &mut Sink<'_>) -> Result<(), Told>,
    ) -> Result<Told, Told> {
        let sender = self.app.sources(&self.principal.tenant)?.sender(&self.source);
        let (began, metrics) = (self.app.clock.monotonic(), &self.app.observer.metrics);
        let counted = Counted { metrics, protocol, sender: &sender };
        let form = Form::of(&self.vault.policies(), &self.source, sender.terms());
        let (mut before, whole) = (0, Cell::new(false));
        in_parts(
            BATCH_EVENTS_MAX,
            // Once it was read whole, what comes through here was refused by the vault.
            |sink| {
                let told = read(form, sink);
                let unread = |_: &Told| {
                    if !whole.get() {
                        counted.unread()
                    }
                };
                told.inspect_err(unread)
            },
            |part| {
                whole.set(true);
                let source = self.source.as_str();
                let batch: Vec<Draft<'_>> =
                    part.iter().map(|json| Draft { source, json }).collect();
                let appended = self.vault.append_under(&batch, sender.terms());
                let receipts = appended.map_err(|error| {
                    let problem = Problem::from(error);
                    counted.refused(&problem, batch.len() as u64);
                    Told::from(problem).behind(before)
                })?;
                counted.taken(receipts.iter());
                sender.heard(self.vault.clock().now());
                before += batch.len();
                Ok(())
            },
        )?;
        let took = self.app.clock.monotonic().saturating_sub(began);
        metrics.acknowledged(Duration::from_nanos(took));
        Ok(Told::success(self.channel.map(|channel| self.app.channels.give(channel))))
    }
}

/// Who a sender is; one who is nobody is counted.
fn known(app: &App, parts: &Parts) -> Result<Principal, Told> {
    let (told, code) = match authenticate(app, parts) {
        Ok(principal) => {
            if let Some(known) = parts.extensions.get::<Known>() {
                let _ = known.0.set(Seen { kind: "token", id: principal.who.document().0 });
            }
            return Ok(principal);
        }
        Err(failed) => failed,
    };
    app.gate.refused(code, address(parts, app))?;
    Err(told)
}

fn authenticate(app: &App, parts: &Parts) -> Result<Principal, (Told, &'static str)> {
    let nobody = Refused::Unauthenticated.code();
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| (Told::token_required(), nobody))?;
    let value = value.to_str().ok().filter(|_| values.next().is_none());
    let invalid = || (Told::invalid_authorization(), nobody);
    let (scheme, token) = value.and_then(|v| v.split_once(' ')).ok_or_else(invalid)?;
    let (now, token) = (app.system().clock().now(), token.trim());
    let found = match scheme.to_ascii_lowercase().as_str() {
        "splunk" => app.directory.authenticate_hec(token, now),
        "bearer" => app.directory.authenticate_token(token, now),
        _ => return Err(invalid()),
    };
    let fits = |who: Principal| fits(&parts.extensions, &who, now).map(|()| who);
    found.and_then(fits).map_err(|refused| match refused {
        Refused::TokenExpired | Refused::TokenRevoked => (Told::disabled(), refused.code()),
        _ => (Told::invalid_token(), refused.code()),
    })
}

/// A GUID of the form 8-4-4-4-12, either case.
fn guid(text: &str) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    let in_place = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| (b == b'-') == dashes.contains(&at));
    let plain = text.replace('-', "").to_ascii_lowercase();
    crate::base::id::unhex::<16>(&plain).filter(|_| in_place)
}

/// Takes events, as Splunk's collector does: JSON objects `{"event", "time", "host", "source",
/// "sourcetype", "index", "fields"}` one behind the other, or an array of them. Also at
/// `/services/collector` and `/services/collector/event/1.0`. `Authorization: Splunk GUID`.
#[utoipa::path(
    post, path = "/services/collector/event", tag = "collector",
    request_body(content((serde_json::Value = "application/json"))),
    params(("X-Splunk-Request-Channel" = Option<String>, Header, description = "A GUID")),
    responses((status = 200, description = "All of it is durable", body = Reply),
              (status = 400, description = "Refused; `code` says why", body = Reply),
              (status = 503, description = "Send it again after Retry-After", body = Reply))
)]
pub async fn event(State(app): State<Arc<App>>, request: Request) -> Result<Told, Told> {
    let (parts, body) = request.into_parts();
    let sending = Sending::of(&app, &parts)?;
    let held = body::read(&parts.headers, body, app.settings.body_bytes_max, &app.bodies).await?;
    work(move || Ok(sending.take(Protocol::HecEvent, |form, sink| events(&held.bytes, form, sink))))
        .await?
}

/// Takes lines of text, one event each; `host`, `source`, `sourcetype`, `index` and `time` of the
/// address are said of all of them. Also at `/services/collector/raw/1.0`.
#[utoipa::path(
    post, path = "/services/collector/raw", tag = "collector",
    request_body(content((String = "text/plain"))),
    params(("X-Splunk-Request-Channel" = Option<String>, Header, description = "A GUID")),
    responses((status = 200, description = "All of it is durable", body = Reply),
              (status = 400, description = "Refused; `code` says why", body = Reply),
              (status = 503, description = "Send it again after Retry-After", body = Reply))
)]
pub async fn raw(State(app): State<Arc<App>>, request: Request) -> Result<Told, Told> {
    let (parts, body) = request.into_parts();
    let sending = Sending::of(&app, &parts)?;
    let (envelope, most) = (sending.metadata()?, app.settings.body_bytes_max);
    let held = body::read(&parts.headers, body, most, &app.bodies).await?;
    work(move || {
        let read = |form, sink: &mut Sink<'_>| lines(&held.bytes, (&envelope, most), form, sink);
        Ok(sending.take(Protocol::HecRaw, read))
    })
    .await?
}

/// Which numbers of a channel are acknowledged: all that were given since the service began, since
/// each was given for what was durable already.
#[utoipa::path(
    post, path = "/services/collector/ack", tag = "collector", request_body = Asked,
    params(("X-Splunk-Request-Channel" = Option<String>, Header, description = "A GUID")),
    responses((status = 200, description = "By number", body = Acknowledged),
              (status = 400, description = "Refused; `code` says why", body = Reply))
)]
pub async fn ack(State(app): State<Arc<App>>, request: Request) -> Result<Response, Told> {
    let (parts, body) = request.into_parts();
    let sending = Sending::of(&app, &parts)?;
    let channel = sending.channel.ok_or_else(Told::channel_missing)?;
    let held = body::read(&parts.headers, body, SMALL_BODY_BYTES_MAX, &app.bodies).await?;
    work(move || Ok(acknowledged(&app, &channel, &held.bytes))).await?
}

fn acknowledged(app: &App, channel: &Channel, body: &[u8]) -> Result<Response, Told> {
    if body.trim_ascii().is_empty() {
        return Err(Told::no_data());
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|_| Told::unreadable())?;
    if asked.acks.len() > ACKS_MAX {
        return Err(Told::unreadable().reason("ACKS_TOO_MANY"));
    }
    let given = app.channels.given(channel, &asked.acks);
    let acks = asked.acks.iter().map(ToString::to_string).zip(given).collect();
    Ok(json_answer(StatusCode::OK, &json!(Acknowledged { acks })))
}

/// Whether events are taken. Also at `/services/collector/health/1.0`, and by POST. Nobody needs a
/// token for it.
#[utoipa::path(
    get, path = "/services/collector/health", tag = "collector", security(()),
    responses((status = 200, description = "Yes", body = Reply),
              (status = 503, description = "Not now", body = Reply))
)]
pub async fn health(State(app): State<Arc<App>>) -> Told {
    let takes = app.tenants().all(|(_, vault)| vault.stopped().is_none());
    if takes { Told::healthy() } else { Told::unhealthy() }
}

/// As `health`; some senders ask by POST.
#[utoipa::path(
    post, path = "/services/collector/health", tag = "collector", security(()),
    responses((status = 200, description = "Yes", body = Reply),
              (status = 503, description = "Not now", body = Reply))
)]
pub async fn health_by_post(state: State<Arc<App>>) -> Told {
    health(state).await
}

/// Gives the protocol's shape to what the router or a layer refused on these addresses.
pub async fn shaped(mut response: Response) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Told::from(problem).into_response();
    }
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let told = Told::from(Problem::new(status, "METHOD_NOT_ALLOWED", ""));
            let mut shaped = told.into_response();
            if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
                shaped.headers_mut().insert(header::ALLOW, allow);
            }
            shaped
        }
        _ => response,
    }
}
