//! `POST /v1/events`: drafts in, receipts out once they are durable. A batch is one commit or
//! nothing unless the caller asks for each event by itself. It looks at no event: the vault does.

use crate::base::event::Draft;
use crate::base::id::Hash32;
use crate::base::limits::BATCH_EVENTS_MAX;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::body::{self, Held};
use crate::server::caller::{Appender, Caller};
use crate::server::elements::{Stopped, elements};
use crate::server::identity::principal::Scope;
use crate::server::intake::SMALL_BYTES_MAX;
use crate::server::json::{Answer, media_type};
use crate::server::log::RequestId;
use crate::server::metrics::{Ingested, Metrics, Protocol};
use crate::server::problem::{Document, Problem};
use crate::server::query::Query;
use crate::server::sources::{Sender, check_name};
use crate::vault::Vault;
use crate::vault::append::{Pending, Receipt as Appended};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use std::io::BufRead;
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
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "123")]
    index: EntryIndex,
    /// Log time, RFC 3339.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    time: Arc<str>,
    /// Leaf hash, hex.
    #[schema(value_type = String)]
    leaf: Hash32,
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

fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

/// Writes receipts down. The events of one commit have one log time, which is written as text once.
#[derive(Default)]
struct Writing {
    last: Option<(UtcNanos, Arc<str>)>,
}

impl Writing {
    fn receipt(&mut self, appended: &Appended) -> Receipt {
        let time = match &self.last {
            Some((time, text)) if *time == appended.time => text.clone(),
            _ => {
                let text: Arc<str> = appended.time.to_string().into();
                self.last = Some((appended.time, text.clone()));
                text
            }
        };
        let Appended { index, leaf, duplicate, .. } = *appended;
        Receipt { index, time, leaf, duplicate }
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
    let sender = app.sources(&caller.principal.tenant)?.sender(&source);
    let (small, began) = (held.bytes.len() <= SMALL_BYTES_MAX, app.clock.monotonic());
    let Caller { principal, vault, request, .. } = caller;
    let batch = Batch { app: app.clone(), vault, request, source, framing, held, sender, began };
    match sending.partial {
        false if small => app.intake.take(&principal.tenant, batch).await,
        false => work(move || batch.finish(batch.submit())).await,
        true => work(move || batch.each()).await,
    }
}

/// A batch whose body has come.
pub struct Batch {
    app: Arc<App>,
    vault: Arc<Vault>,
    request: RequestId,
    source: String,
    framing: Framing,
    held: Held,
    sender: Sender,
    /// When it was all there, in nanoseconds of the process's clock.
    began: u64,
}

impl Batch {
    fn drafts(&self) -> Result<Vec<Draft<'_>>, Problem> {
        let texts = self.framing.split(&self.held).inspect_err(|_| self.counted().unread())?;
        Ok(texts.into_iter().map(|json| Draft { source: &self.source, json }).collect())
    }

    fn counted(&self) -> Counted<'_> {
        Counted {
            metrics: &self.app.observer.metrics,
            protocol: self.framing.protocol(),
            sender: &self.sender,
        }
    }

    fn acknowledged(&self) {
        let took = self.app.clock.monotonic().saturating_sub(self.began);
        self.app.observer.metrics.acknowledged(Duration::from_nanos(took));
    }

    /// Sends it off, all or nothing; what became of it is `finish`'s.
    ///
    /// # Errors
    /// What is wrong with it, or with the vault; nothing of it was taken.
    pub fn submit(&self) -> Result<Pending<'_, '_>, Problem> {
        let drafts = self.drafts()?;
        self.vault.submit_under(&drafts, self.sender.terms()).map_err(|error| {
            let problem = Problem::from(error);
            self.counted().refused(&problem, drafts.len() as u64);
            problem
        })
    }

    /// Waits until it is durable; the answer.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn finish(&self, pending: Result<Pending<'_, '_>, Problem>) -> Result<Response, Problem> {
        let pending = pending?;
        let (counted, events) = (self.counted(), pending.events());
        let appended = pending.wait().map_err(|error| {
            let problem = Problem::from(error);
            counted.refused(&problem, events as u64);
            problem
        })?;
        self.acknowledged();
        counted.taken(appended.iter());
        self.sender.heard(self.vault.clock().now());
        let checkpoint = appended.last().map(|last| last.checkpoint.to_string());
        let mut writing = Writing::default();
        let receipts = appended.iter().map(|receipt| writing.receipt(receipt)).collect();
        let receipts = Answered::Whole(Receipts { receipts, checkpoint });
        Ok(Answer(StatusCode::OK, receipts).into_response())
    }

    /// Appends each event for itself; the answer.
    fn each(&self) -> Result<Response, Problem> {
        let (drafts, counted) = (self.drafts()?, self.counted());
        let done = self.vault.append_each_under(&drafts, self.sender.terms()).map_err(|error| {
            let problem = Problem::from(error);
            counted.refused(&problem, drafts.len() as u64);
            problem
        })?;
        let done = done.into_iter().map(|one| one.map_err(Problem::from)).collect();
        let answer = each(done, &counted, (&self.vault, self.request));
        if answer.status().is_success() {
            self.acknowledged();
        }
        Ok(answer)
    }
}

/// Counts what became of events that came in one way from one sender.
pub struct Counted<'a> {
    /// Where they are counted.
    pub metrics: &'a Metrics,
    /// The way.
    pub protocol: Protocol,
    /// The sender.
    pub sender: &'a Sender,
}

impl Counted<'_> {
    fn count(&self, outcome: Ingested, events: u64) {
        self.metrics.ingested(self.protocol, outcome, events);
    }

    /// Counts what is durable.
    pub fn taken<'r>(&self, receipts: impl Iterator<Item = &'r Appended>) {
        let (mut accepted, mut duplicates) = (0, 0);
        receipts.for_each(|receipt| match receipt.duplicate {
            true => duplicates += 1,
            false => accepted += 1,
        });
        let both = [(Ingested::Accepted, accepted), (Ingested::Duplicate, duplicates)];
        both.into_iter().filter(|(_, events)| *events > 0).for_each(|(outcome, events)| {
            self.count(outcome, events);
        });
    }

    /// Counts a body that cannot be told apart into events, as one.
    pub fn unread(&self) {
        self.count(Ingested::Refused, 1);
    }

    /// Counts what was turned away.
    pub fn refused(&self, problem: &Problem, events: u64) {
        let outcome = match problem.status.as_u16() {
            // A store that fails is asked again too, and is no matter of load.
            503 if problem.code.split('_').next() == Some("STORE") => Ingested::Failed,
            503 | 429 => Ingested::Overloaded,
            500.. => Ingested::Failed,
            _ => Ingested::Refused,
        };
        self.count(outcome, events);
    }
}

fn each(
    done: Vec<Result<Appended, Problem>>,
    counted: &Counted<'_>,
    (vault, request): (&Vault, RequestId),
) -> Response {
    counted.taken(done.iter().filter_map(|one| one.as_ref().ok()));
    done.iter().filter_map(|one| one.as_ref().err()).for_each(|why| counted.refused(why, 1));
    let last = done.iter().rev().find_map(|one| one.as_ref().ok());
    let checkpoint = last.map(|last| last.checkpoint.to_string());
    if last.is_some() {
        counted.sender.heard(vault.clock().now());
    }
    let status = if last.is_some() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (request, mut writing) = (request.to_string(), Writing::default());
    let results = done
        .iter()
        .map(|one| Each {
            receipt: one.as_ref().ok().map(|receipt| writing.receipt(receipt)),
            problem: one.as_ref().err().map(|problem| problem.document(&request)),
        })
        .collect();
    let results = Answered::Each(Results { results, checkpoint });
    let mut response = Answer(status, results).into_response();
    if let Some(seconds) = done.iter().filter_map(|one| one.as_ref().err()?.retry_after).max() {
        response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    response
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

/// The lines of a body without their ends. `skip_until` searches by the machine's word and wider,
/// which matters for lines of some hundred bytes.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let whole = rest;
        // Reading from memory does not fail.
        let read = rest.skip_until(b'\n').ok().filter(|read| *read > 0)?;
        let line = whole.get(..read).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
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
            Framing::Lines => {
                let lines = lines(bytes).filter(|line| !line.is_empty());
                lines.take(BATCH_EVENTS_MAX + 1).collect()
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_they_always_did() {
        let plain = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let lines = bytes.split(|byte| *byte == b'\n');
            let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
        };
        let parts = ["", "\n", "\r\n", "\r", "a", "bc\r", "\r\r\n", "\n\n"];
        for one in parts {
            for two in parts {
                for three in parts {
                    let body = [one, two, three].concat().into_bytes();
                    let found = lines(&body).filter(|line| !line.is_empty());
                    let found: Vec<Vec<u8>> = found.map(<[u8]>::to_vec).collect();
                    assert_eq!(found, plain(&body), "{body:?}");
                }
            }
        }
    }
}
