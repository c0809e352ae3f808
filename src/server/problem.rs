//! Every refusal of the service as one shape: a problem document (RFC 9457) with a stable code.
//! It never holds a value that a caller sent: field names in plain characters, limits and fixes
//! only. The inside of a failure stays inside; the request id leads to it.

use crate::base::refusal::Refusal;
use crate::server::observe::Code;
use crate::store::error::ErrorKind;
use crate::vault::error::Error;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Seconds after which a store that failed may be asked again: somebody has to look at it.
const RETRY_STORE_SECONDS: u32 = 30;
/// Seconds after which what is busy now may be asked again.
const RETRY_BUSY_SECONDS: u32 = 1;

/// What went wrong, as its caller may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code of `docs/errors.md`.
    pub code: &'static str,
    /// What to do about it.
    pub detail: Box<str>,
    /// The field it is about.
    pub field: Option<Box<str>>,
    /// The limit that was passed.
    pub limit: Option<u64>,
    /// Place in a batch, from 0.
    pub position: Option<usize>,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
    /// `WWW-Authenticate`, where the answer is 401.
    pub challenge: Option<&'static str>,
    /// Whether something was done before it failed, so that asking again may do it twice.
    pub half_done: bool,
}

/// The document as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// `urn:chancery:problem:<code in lower case with hyphens>`.
    #[serde(rename = "type")]
    kind: String,
    /// Reason phrase of the status.
    title: &'a str,
    /// HTTP status.
    status: u16,
    /// Stable code.
    code: &'a str,
    /// What to do about it.
    detail: &'a str,
    /// `urn:chancery:request:<id>`: names this answer in the service's own log lines.
    instance: String,
    /// The field it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Place in a batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
}

impl Problem {
    /// A problem with a code and its fix.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into().into_boxed_str();
        Problem {
            status,
            code,
            detail,
            field: None,
            limit: None,
            position: None,
            retry_after: None,
            challenge: None,
            half_done: false,
        }
    }

    /// 400: it is not what this endpoint reads.
    pub fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404: the same for what never was, what was forgotten and what belongs to somebody else.
    pub fn absent(code: &'static str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, code, "nothing of that name is here")
    }

    /// 503, to be tried again at once.
    pub fn busy(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry(RETRY_BUSY_SECONDS)
    }

    /// 500: our bug, or damage. The request id leads to the log line.
    pub fn internal() -> Self {
        let detail = "the service failed; its log has the reason under this request's id";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }

    /// Names the field; what a caller chose is shown in plain characters and cut.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.field = Some(Refusal::new("", "").field(name).field.into());
        self
    }

    /// Names the limit.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says that something was done before it failed.
    #[must_use]
    pub fn half_done(mut self) -> Self {
        self.half_done = true;
        self
    }

    /// Asks for credentials.
    #[must_use]
    pub fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The document under a request's id.
    pub fn document(&self, request: &str) -> Document<'_> {
        Document {
            kind: format!("urn:chancery:problem:{}", self.code.to_lowercase().replace('_', "-")),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            instance: format!("urn:chancery:request:{request}"),
            field: self.field.as_deref(),
            limit: self.limit,
            position: self.position,
        }
    }

    /// The answer under a request's id.
    pub fn answer(&self, request: &str) -> Response {
        let body = serde_json::to_vec(&self.document(request)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(Code(self.code));
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    /// An answer that the outermost layer writes out, since only that knows the request's id.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            "EVENT_TOO_LARGE" | "BATCH_TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
            "JSON_SYNTAX" | "JSON_UTF8" => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let mut problem = Problem::new(status, refusal.code, refusal.fix);
        problem.field = (!refusal.field.is_empty()).then(|| refusal.field.into());
        problem.limit = refusal.limit;
        problem
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = error.code();
        match error {
            Error::Invalid { position, refusal } => {
                Problem { position: Some(position), ..Problem::from(refusal) }
            }
            Error::Denied { code, fix } => denied(code, fix),
            Error::NotFound { code } => Problem::absent(code),
            Error::Conflict { code, fix, .. } => Problem::new(StatusCode::CONFLICT, code, fix),
            Error::Held { ref cases } => {
                let cases: Vec<String> = cases.iter().map(ToString::to_string).collect();
                let fix = format!("legal hold {} covers it: release it first", cases.join(", "));
                Problem::new(StatusCode::CONFLICT, code, fix)
            }
            Error::Overloaded => {
                Problem::busy(code, "too many events are on their way: try again in a second")
            }
            Error::Unavailable(failed) => unavailable(code, failed.kind),
            Error::Evidence { .. } => {
                let detail = "something stored is not what it must be; nothing was changed; an \
                              operator must run `chancery doctor`";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
            }
        }
    }
}

/// What the vault's rules forbid: most for good, some for now.
fn denied(code: &'static str, fix: String) -> Problem {
    match code {
        // Of a batch in parts each request names some events: the rest is then sent again.
        "DAY_CHANGED" | "BATCH_REFUSED" => Problem::busy(code, fix),
        "FIELD_ERASED" | "FIELD_EXPIRED" => Problem::new(StatusCode::GONE, code, fix),
        "CLOCK_NOT_ACCEPTED" | "LOG_BEHIND_KEYS" | "KEYS_MIRROR_AWAY" | "UNWITNESSED" => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, fix).retry(RETRY_STORE_SECONDS)
        }
        _ => Problem::new(StatusCode::FORBIDDEN, code, fix),
    }
}

fn unavailable(code: &'static str, kind: ErrorKind) -> Problem {
    match kind {
        ErrorKind::Full => {
            let detail = "the disk is full; nothing acknowledged is lost; make room";
            let problem = Problem::new(StatusCode::INSUFFICIENT_STORAGE, code, detail);
            problem.retry(RETRY_STORE_SECONDS)
        }
        _ => {
            let detail = "the store failed; what was acknowledged is safe; an operator must look";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
            problem.retry(RETRY_STORE_SECONDS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_code_field_and_limit_and_nothing_else() {
        let refusal = Refusal::new("FIELD_RANGE", "use a smaller number").field("severity");
        let problem = Problem::from(Error::Invalid { position: 3, refusal: refusal.limit(10) });
        let text = serde_json::to_string(&problem.document("00ff")).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"urn:chancery:problem:field-range\",\"title\":\"Unprocessable Entity\",\
             \"status\":422,\"code\":\"FIELD_RANGE\",\"detail\":\"use a smaller number\",\
             \"instance\":\"urn:chancery:request:00ff\",\"field\":\"severity\",\"limit\":10,\
             \"position\":3}"
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for error in [
            Error::Overloaded,
            Error::denied("DAY_CHANGED", "ask again"),
            Error::Unavailable(crate::store::error::Error::new(
                ErrorKind::Full,
                std::path::Path::new("log"),
                "full",
            )),
        ] {
            let answer = Problem::from(error).answer("0");
            assert!(matches!(answer.status().as_u16(), 503 | 507));
            assert!(answer.headers().contains_key(header::RETRY_AFTER));
        }
    }
}
