//! Answers of the collector protocol: `{"text", "code"}` with Splunk's own numbers, since senders
//! decide by them what to send again. What may be sent again is always 503 with `Retry-After`:
//! many senders drop what any other status refuses. Beside them stands Chancery's code, so that
//! `docs/errors.md` helps; a value of the sender is never repeated.

use crate::server::envelope::Foreign;
use crate::server::problem::Problem;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Seconds after which a sender tries again where nothing else is known.
const RETRY_SECONDS: u32 = 1;

/// What a sender is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    status: StatusCode,
    /// Splunk's number.
    pub code: u16,
    text: &'static str,
    /// Place of the event that is refused, from 0.
    event: Option<usize>,
    /// Number that the channel may ask about.
    ack: Option<u64>,
    retry_after: Option<u32>,
    /// Chancery's code and the field it is about.
    reason: Option<(&'static str, Option<String>)>,
}

impl Told {
    const fn new(status: StatusCode, code: u16, text: &'static str) -> Self {
        Told { status, code, text, event: None, ack: None, retry_after: None, reason: None }
    }

    /// All of it is durable.
    pub fn success(ack: Option<u64>) -> Self {
        Told { ack, ..Told::new(StatusCode::OK, 0, "Success") }
    }

    /// The right token, and its time is over or it was revoked.
    pub fn disabled() -> Self {
        Told::new(StatusCode::FORBIDDEN, 1, "Token disabled")
    }

    /// No token.
    pub fn token_required() -> Self {
        Told::new(StatusCode::UNAUTHORIZED, 2, "Token is required")
    }

    /// Not the header it must be.
    pub fn invalid_authorization() -> Self {
        Told::new(StatusCode::UNAUTHORIZED, 3, "Invalid authorization")
    }

    /// Nobody's token, or one that may not append.
    pub fn invalid_token() -> Self {
        Told::new(StatusCode::FORBIDDEN, 4, "Invalid token")
    }

    /// An empty body.
    pub fn no_data() -> Self {
        Told::new(StatusCode::BAD_REQUEST, 5, "No data")
    }

    /// Not what an event looks like.
    pub fn invalid(event: usize) -> Self {
        let told = Told::new(StatusCode::BAD_REQUEST, 6, "Invalid data format");
        Told { event: Some(event), ..told }
    }

    /// A body that cannot be told apart into events.
    pub fn unreadable() -> Self {
        Told::new(StatusCode::BAD_REQUEST, 6, "Invalid data format")
    }

    /// More than is taken at once.
    pub fn too_large(code: &'static str) -> Self {
        let told = Told::new(StatusCode::PAYLOAD_TOO_LARGE, 6, "Invalid data format");
        told.reason(code)
    }

    /// Nobody asks for a number without a channel.
    pub fn channel_missing() -> Self {
        Told::new(StatusCode::BAD_REQUEST, 10, "Data channel is missing")
    }

    /// A channel is a GUID.
    pub fn channel_invalid() -> Self {
        Told::new(StatusCode::BAD_REQUEST, 11, "Invalid data channel")
    }

    /// No `event`.
    pub fn event_required(event: usize) -> Self {
        let told = Told::new(StatusCode::BAD_REQUEST, 12, "Event field is required");
        Told { event: Some(event), ..told }
    }

    /// An empty `event`.
    pub fn event_blank(event: usize) -> Self {
        let told = Told::new(StatusCode::BAD_REQUEST, 13, "Event field cannot be blank");
        Told { event: Some(event), ..told }
    }

    /// `fields` is no object.
    pub fn fields_wrong(event: usize) -> Self {
        let text = "Error in handling indexed fields";
        Told { event: Some(event), ..Told::new(StatusCode::BAD_REQUEST, 15, text) }
    }

    /// A secret in an address is a secret in every log on the way.
    pub fn in_query() -> Self {
        let text = "Query string authorization is not enabled";
        Told::new(StatusCode::BAD_REQUEST, 16, text)
    }

    /// Every vault takes events.
    pub fn healthy() -> Self {
        Told::new(StatusCode::OK, 17, "HEC is healthy")
    }

    /// A vault takes none.
    pub fn unhealthy() -> Self {
        let text = "HEC is unhealthy, queues are full";
        Told::new(StatusCode::SERVICE_UNAVAILABLE, 18, text).retry(None)
    }

    fn busy(seconds: Option<u32>) -> Self {
        Told::new(StatusCode::SERVICE_UNAVAILABLE, 9, "Server is busy").retry(seconds)
    }

    fn retry(self, seconds: Option<u32>) -> Self {
        Told { retry_after: Some(seconds.unwrap_or(RETRY_SECONDS)), ..self }
    }

    /// Chancery's own code of it.
    #[must_use]
    pub fn reason(self, code: &'static str) -> Self {
        Told { reason: Some((code, None)), ..self }
    }

    /// About this event.
    #[must_use]
    pub fn placed(self, event: usize) -> Self {
        Told { event: Some(event), ..self }
    }

    /// In a batch that began so many events into the body.
    #[must_use]
    pub fn behind(self, events: usize) -> Self {
        Told { event: self.event.map(|at| at + events), ..self }
    }
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Self {
        let reason = Some((problem.code, problem.field.map(String::from)));
        let told = match problem.status.as_u16() {
            // What a vault forbids for now is no fault of the token: nobody shall drop events.
            403 | 408 | 429 | 503 | 507 => Told::busy(problem.retry_after),
            404 => {
                let text = "The requested URL was not found on this server.";
                Told::new(problem.status, 404, text)
            }
            405 => Told::new(problem.status, 405, "Method not allowed"),
            413 | 415 => {
                Told { status: problem.status, event: problem.position, ..Told::unreadable() }
            }
            400..500 => Told { event: problem.position, ..Told::unreadable() },
            _ => Told::new(StatusCode::INTERNAL_SERVER_ERROR, 8, "Internal server error"),
        };
        Told { reason, ..told }
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("text".to_owned(), json!(self.text));
        body.insert("code".to_owned(), json!(self.code));
        if let Some(event) = self.event {
            body.insert("invalid-event-number".to_owned(), json!(event));
        }
        if let Some(ack) = self.ack {
            body.insert("ackId".to_owned(), json!(ack));
        }
        if let Some((code, field)) = &self.reason {
            body.insert("reason".to_owned(), json!(code));
            if let Some(field) = field {
                body.insert("field".to_owned(), json!(field));
            }
        }
        let mut response = json_answer(self.status, &Value::Object(body));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Splunk realm=\"chancery\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An answer in the protocol's own shape.
pub fn json_answer(status: StatusCode, body: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(Foreign);
    response
}
