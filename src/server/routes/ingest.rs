//! `POST /v1/events`: drafts in, receipts out once they are durable. A batch is one commit or
//! nothing unless the caller asks for each event by itself. It looks at no event: the vault does.

use crate::base::event::Draft;
use crate::base::limits::BATCH_EVENTS_MAX;
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::body::{self, Held};
use crate::server::caller::Appender;
use crate::server::elements::{Stopped, elements};
use crate::server::identity::principal::Scope;
use crate::server::json::{Answer, media_type, text};
use crate::server::log::RequestId;
use crate::server::metrics::{Ingested, Metrics, Protocol};
use crate::server::problem::{Document, Problem};
use crate::server::query::Query;
use crate::server::sources::{Sender, check_name};
use crate::vault::Vault;
use crate::vault::append::Receipt as Appended;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// Longest name of a source.
const SOURCE_BYTES_MAX: usize = 128;

/// How a batch is sent.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Sending {
    /// Name of the source, which selects its mapping. A token for one source needs none.
    source: Option<String>,
    /// `true`: each event stands for itself, and the answer has a result for each.
    #[serde(default)]
    partial: bool,
}

/// What the sender of an event keeps.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// Place in the log.
    #[schema(example = "123")]
    index: String,
    /// Log time, RFC 3339.
    time: String,
    /// Leaf hash, hex.
    leaf: String,
    /// Whether the same event was there already; then this is the first one's receipt.
    duplicate: bool,
}

/// A durable batch.
#[derive(Serialize, ToSchema)]
pub struct Receipts {
    /// One for each event, in the batch's order.
    receipts: Vec<Receipt>,
    /// The signed checkpoint of the commit that holds the last of them (C2SP signed note).
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// What became of one event of a partial batch: one of the two members.
#[derive(Serialize, ToSchema)]
pub struct Each<'a> {
    /// It is durable.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    /// It was turned away.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Document<'a>>,
}

/// A batch of events that each stand for themselves.
#[derive(Serialize, ToSchema)]
pub struct Results<'a> {
    /// One for each event, in the batch's order.
    results: Vec<Each<'a>>,
    /// The signed checkpoint of the commit that holds the last one taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// What became of a batch: receipts of a whole one, or of a partial one a result for each event.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answered<'a> {
    /// All are durable.
    Whole(Receipts),
    /// Each for itself.
    Each(Results<'a>),
}

impl From<&Appended> for Receipt {
    fn from(receipt: &Appended) -> Self {
        Receipt {
            index: text(&receipt.index),
            time: receipt.time.to_string(),
            leaf: receipt.leaf.to_string(),
            duplicate: receipt.duplicate,
        }
    }
}

/// Appends events. The answer comes after they are durable.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", params(Sending),
    request_body(
        description = "One event or an array of them, or NDJSON: one event a line",
        content((serde_json::Value = "application/json"), (String = "application/x-ndjson"))
    ),
    responses(
        (status = 200, description = "Durable", body = Answered),
        (status = 422, description = "Refused, nothing was stored", content(
            (Document = "application/problem+json"), (Results = "application/json"))),
        (status = 503, description = "Too much at once: send it again after Retry-After"),
        (status = 507, description = "The disk is full: send it again after Retry-After"),
    )
)]
pub async fn append(
    State(app): State<Arc<App>>,
    Appender(caller): Appender,
    Query(sending): Query<Sending>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let scope = caller.scope(Permission::EventsAppend)?;
    let source = source(&scope, sending.source)?;
    let framing = Framing::of(&headers)?;
    let held = body::read(&headers, body, app.settings.body_bytes_max, &app.bodies).await?;
    let (vault, request) = (caller.vault.clone(), caller.request);
    let sender = app.sources(&caller.principal.tenant)?.sender(&source);
    work(move || {
        let (began, metrics) = (app.clock.monotonic(), &app.observer.metrics);
        let protocol = framing.protocol();
        let counted = Counted { metrics, protocol, sender };
        let texts = framing.split(&held).inspect_err(|_| counted.unread())?;
        let drafts: Vec<Draft<'_>> =
            texts.iter().map(|json| Draft { source: &source, json }).collect();
        let done = match sending.partial {
            false => whole(&vault, &drafts, &counted),
            true => each(&vault, &drafts, request, &counted),
        };
        if done.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            let took = app.clock.monotonic().saturating_sub(began);
            metrics.acknowledged(Duration::from_nanos(took));
        }
        done
    })
    .await
}

/// Counts what became of events that came in one way from one sender.
pub struct Counted<'a> {
    /// Where they are counted.
    pub metrics: &'a Metrics,
    /// The way.
    pub protocol: Protocol,
    /// The sender.
    pub sender: Sender,
}

impl Counted<'_> {
    fn count(&self, outcome: Ingested, events: u64) {
        self.metrics.ingested(self.protocol, outcome, events);
    }

    /// Counts what is durable.
    pub fn taken(&self, receipt: &Appended) {
        let outcome = if receipt.duplicate { Ingested::Duplicate } else { Ingested::Accepted };
        self.count(outcome, 1);
    }

    /// Counts a body that cannot be told apart into events, as one.
    pub fn unread(&self) {
        self.count(Ingested::Refused, 1);
    }

    /// Counts what was turned away.
    pub fn refused(&self, problem: &Problem, events: u64) {
        let outcome = match problem.status.as_u16() {
            // A store that fails is asked again too, and is no matter of load.
            503 if problem.code.starts_with("STORE_") => Ingested::Failed,
            503 | 429 => Ingested::Overloaded,
            500.. => Ingested::Failed,
            _ => Ingested::Refused,
        };
        self.count(outcome, events);
    }
}

fn whole(vault: &Vault, drafts: &[Draft<'_>], counted: &Counted<'_>) -> Result<Response, Problem> {
    let appended = vault.append_under(drafts, counted.sender.terms()).map_err(|error| {
        let problem = Problem::from(error);
        counted.refused(&problem, drafts.len() as u64);
        problem
    })?;
    appended.iter().for_each(|receipt| counted.taken(receipt));
    counted.sender.heard(vault.clock().now());
    let checkpoint = appended.last().map(|last| last.checkpoint.to_string());
    let receipts = appended.iter().map(Receipt::from).collect();
    let receipts = Answered::Whole(Receipts { receipts, checkpoint });
    Ok(Answer(StatusCode::OK, receipts).into_response())
}

fn each(
    vault: &Vault,
    drafts: &[Draft<'_>],
    request: RequestId,
    counted: &Counted<'_>,
) -> Result<Response, Problem> {
    let done = vault.append_each_under(drafts, counted.sender.terms()).map_err(|error| {
        let problem = Problem::from(error);
        counted.refused(&problem, drafts.len() as u64);
        problem
    })?;
    let done: Vec<Result<Appended, Problem>> =
        done.into_iter().map(|one| one.map_err(Problem::from)).collect();
    for one in &done {
        match one {
            Ok(receipt) => counted.taken(receipt),
            Err(problem) => counted.refused(problem, 1),
        }
    }
    let last = done.iter().rev().find_map(|one| one.as_ref().ok());
    let checkpoint = last.map(|last| last.checkpoint.to_string());
    if last.is_some() {
        counted.sender.heard(vault.clock().now());
    }
    let status = if last.is_some() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let request = request.to_string();
    let results = done
        .iter()
        .map(|one| Each {
            receipt: one.as_ref().ok().map(Receipt::from),
            problem: one.as_ref().err().map(|problem| problem.document(&request)),
        })
        .collect();
    let results = Answered::Each(Results { results, checkpoint });
    let mut response = Answer(status, results).into_response();
    if let Some(seconds) = done.iter().filter_map(|one| one.as_ref().err()?.retry_after).max() {
        response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

/// The source a caller speaks for.
///
/// # Errors
/// 400 `SOURCE_MISSING`, `SOURCE_NAME`; 403 `SOURCE_FORBIDDEN`, `SOURCE_RESERVED`.
pub fn source(scope: &Scope, named: Option<String>) -> Result<String, Problem> {
    let only = match scope {
        Scope::Sources(names) if names.len() == 1 => names.first(),
        _ => None,
    };
    let Some(source) = named.or_else(|| only.cloned()) else {
        let detail = "name the source of these events: ?source=NAME";
        return Err(Problem::bad("SOURCE_MISSING", detail).field("source"));
    };
    check_name(&source, SOURCE_BYTES_MAX)?;
    match scope.has(&source) {
        true => Ok(source),
        false => {
            let detail = "these credentials are for other sources";
            Err(Problem::new(StatusCode::FORBIDDEN, "SOURCE_FORBIDDEN", detail).field("source"))
        }
    }
}

/// How events lie in a body.
#[derive(Clone, Copy)]
enum Framing {
    Json,
    Lines,
}

impl Framing {
    fn of(headers: &HeaderMap) -> Result<Framing, Problem> {
        match media_type(headers)?.as_str() {
            "application/json" => Ok(Framing::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Ok(Framing::Lines)
            }
            _ => {
                let detail = "send application/json or application/x-ndjson";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(Problem::new(status, "CONTENT_TYPE", detail))
            }
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Framing::Json => Protocol::Json,
            Framing::Lines => Protocol::Ndjson,
        }
    }

    fn split(self, held: &Held) -> Result<Vec<&[u8]>, Problem> {
        let bytes = held.bytes.as_slice();
        let texts = match self {
            Framing::Lines => bytes
                .split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                .filter(|line| !line.is_empty())
                .take(BATCH_EVENTS_MAX + 1)
                .collect(),
            Framing::Json if bytes.trim_ascii_start().first() != Some(&b'[') => vec![bytes],
            Framing::Json => {
                let mut list = Vec::new();
                let read = elements(bytes, |event| {
                    list.push(event.as_bytes());
                    if list.len() > BATCH_EVENTS_MAX { Err(()) } else { Ok(()) }
                });
                if let Err(Stopped::Syntax(error)) = read {
                    let place = format!("line {}, column {}", error.line(), error.column());
                    let detail = format!("send one JSON array of events ({place})");
                    return Err(Problem::bad("JSON_SYNTAX", detail));
                }
                list
            }
        };
        if texts.is_empty() {
            return Err(Problem::bad("BATCH_EMPTY", "the body has no event: send at least one"));
        }
        if texts.len() > BATCH_EVENTS_MAX {
            let detail = "send smaller batches";
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BATCH_TOO_LARGE", detail);
            return Err(problem.limit(BATCH_EVENTS_MAX as u64));
        }
        Ok(texts)
    }
}
