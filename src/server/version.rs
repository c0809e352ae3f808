//! Versions of documents in requests: an entity tag is a version, and whoever changes something
//! says which one was seen. It never changes a thing that nobody looked at.

use crate::server::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What a request expects to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing: `If-None-Match: *`.
    Nothing,
    /// This version: `If-Match: "7"`.
    Version(u64),
}

impl Expect {
    /// Reads the condition of a request.
    ///
    /// # Errors
    /// 428 `PRECONDITION_REQUIRED` without one; 400 `PRECONDITION_SYNTAX` for one that names no
    /// version.
    pub fn of(headers: &HeaderMap) -> Result<Expect, Problem> {
        let (is, is_not) = (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH));
        match (is.map(HeaderValue::as_bytes), is_not.map(HeaderValue::as_bytes)) {
            (None, None) => Err(Expect::required()),
            (None, Some(b"*")) => Ok(Expect::Nothing),
            (Some(tag), None) => {
                let tag = std::str::from_utf8(tag).ok();
                let tag = tag.and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
                let plain = tag.filter(|tag| tag.bytes().all(|b| b.is_ascii_digit()));
                let version = plain.and_then(|tag| tag.parse().ok()).map(Expect::Version);
                version.ok_or_else(Expect::syntax)
            }
            _ => Err(Expect::syntax()),
        }
    }

    /// The refusal of a request without a condition.
    pub fn required() -> Problem {
        let detail = "say which version you saw: If-Match with its entity tag, or \
                      If-None-Match: * for something new";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "PRECONDITION_REQUIRED", detail)
    }

    fn syntax() -> Problem {
        let detail = "send one of If-Match: \"VERSION\" and If-None-Match: *";
        Problem::bad("PRECONDITION_SYNTAX", detail)
    }

    /// A conflict of versions is a condition that failed.
    pub fn failed(self, problem: Problem) -> Problem {
        match problem.code {
            "VERSION_CONFLICT" | "SCHEDULE_EXISTS" | "SOURCE_EXISTS" => {
                Problem { status: StatusCode::PRECONDITION_FAILED, ..problem }
            }
            _ => problem,
        }
    }
}

/// An answer with the version of what it shows as its entity tag.
pub fn tagged(answer: impl IntoResponse, version: u64) -> Response {
    let mut response = answer.into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_the_version_that_was_seen() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            Expect::of(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(of(&[("if-match", "\"7\"")]), Ok(Expect::Version(7)));
        assert_eq!(of(&[("if-none-match", "*")]), Ok(Expect::Nothing));
        assert_eq!(of(&[]), Err("PRECONDITION_REQUIRED"));
        for wrong in ["7", "\"\"", "\"x\"", "W/\"7\"", "*", "\"99999999999999999999\""] {
            assert_eq!(of(&[("if-match", wrong)]), Err("PRECONDITION_SYNTAX"), "{wrong}");
        }
        let both = [("if-match", "\"7\""), ("if-none-match", "*")];
        assert_eq!(of(&both), Err("PRECONDITION_SYNTAX"));
    }
}
