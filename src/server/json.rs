//! JSON of requests and answers. A request is read strictly: the right content type, no key
//! twice at any depth, no unknown member, no coercion; a refusal names the member and never
//! repeats a value. Answers write 64-bit integers as text, since JavaScript would round them.

use crate::base::unit::UtcNanos;
use crate::format::json::{Kind, Tape};
use crate::server::app::App;
use crate::server::body::{self, SMALL_BODY_BYTES_MAX};
use crate::server::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A decimal integer as text.
pub fn text<T: std::fmt::Display>(value: &T) -> String {
    value.to_string()
}

/// The content type without its parameters, in lower case.
///
/// # Errors
/// 415 `CONTENT_TYPE` when there is none, or its charset is not UTF-8.
pub fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let wrong =
        |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE", detail);
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let value = value.filter(|_| values.next().is_none());
    let value = value.ok_or_else(|| wrong("say what the body is: one Content-Type header"))?;
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = parts.next().unwrap_or_default();
    for part in parts.filter(|part| !part.is_empty()) {
        let charset = part.strip_prefix("charset=").map(|charset| charset.trim_matches('"'));
        if charset.is_some_and(|charset| charset != "utf-8") {
            return Err(wrong("the charset is UTF-8, or left out"));
        }
    }
    Ok(kind)
}

/// Reads a request's body as one JSON value of a type.
///
/// # Errors
/// 415 `CONTENT_TYPE`; 400 with the scanner's code for what is no acceptable JSON; 422
/// `MEMBER_UNKNOWN`, `FIELD_REQUIRED`, `FIELD_TYPE`.
pub fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if media_type(headers)? != "application/json" {
        let detail = "send application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE", detail));
    }
    value(body)
}

impl App {
    /// Reads the body of a request that manages something.
    ///
    /// # Errors
    /// Those of `body::read` and of `parse`.
    pub async fn wish<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, Problem> {
        let held = body::read(headers, body, SMALL_BODY_BYTES_MAX, &self.bodies).await?;
        parse(headers, &held.bytes)
    }
}

/// An instant in a body or a query.
///
/// # Errors
/// 422 `FIELD_VALUE` naming the field.
pub fn instant(text: &str, field: &str) -> Result<UtcNanos, Problem> {
    UtcNanos::parse(text).ok_or_else(|| {
        let detail = "give an instant with its zone, as in 2027-01-31T00:00:00Z";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "FIELD_VALUE", detail).field(field)
    })
}

/// Reads bytes as one JSON value of a type.
///
/// # Errors
/// As `parse`.
pub fn value<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut tape = Tape::default();
    let root = tape.scan(body).map_err(|refusal| {
        let problem = Problem::from(refusal);
        Problem { status: StatusCode::BAD_REQUEST, ..problem }
    })?;
    // serde would take a list for the members in their order.
    if root.kind() != Kind::Object {
        let fix = "send one JSON object";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "FIELD_TYPE", fix));
    }
    let mut from = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut from)
        .map_err(|error| mistyped(error.inner(), &error.path().to_string()))
}

/// serde's message may quote a value: only the names it puts between backquotes are taken. `at` is
/// the way to the member, as in `identifiers[0].value`; `.` is the whole.
fn mistyped(error: &serde_json::Error, at: &str) -> Problem {
    let message = error.to_string();
    let name = message.split('`').nth(1).unwrap_or_default();
    let place = format!("line {}, column {}", error.line(), error.column());
    let problem =
        |code, detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
    // Inside of a tagged wish the way is lost.
    let placed = |problem: Problem| match at {
        "." | "?" => problem,
        at => problem.field(at),
    };
    if message.starts_with("unknown field") {
        let known = message.split_once("expected").map_or("", |(_, known)| known);
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let detail = match nearest(name, &known) {
            Some(near) => format!("no such member here; did you mean {near}? ({place})"),
            None => format!("no such member here; known are {} ({place})", known.join(", ")),
        };
        return problem("MEMBER_UNKNOWN", detail).field(name);
    }
    if message.starts_with("missing field") {
        return problem("FIELD_REQUIRED", format!("it must be there ({place})")).field(name);
    }
    if message.starts_with("unknown variant") {
        let known = message.split_once("expected").map_or("", |(_, known)| known);
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let detail = format!("use one of {} ({place})", known.join(", "));
        return placed(problem("FIELD_VALUE", detail));
    }
    let detail = format!("a member is of another type than it must be ({place})");
    placed(problem("FIELD_TYPE", detail))
}

/// The known name that differs least, if it differs by little.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |other: &str| {
        let mut row: Vec<usize> = (0..=other.chars().count()).collect();
        for (i, a) in name.chars().take(64).enumerate() {
            let mut before = i;
            let mut left = i + 1;
            for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
                let change = before + usize::from(a != b);
                before = *cell;
                left = change.min(before + 1).min(left + 1);
                *cell = left;
            }
            if let Some(first) = row.first_mut() {
                *first = i + 1;
            }
        }
        row.last().copied().unwrap_or(usize::MAX)
    };
    let best = known.iter().map(|known| (distance(known), *known)).min()?;
    (best.0 <= 2 && best.0 < name.chars().count()).then_some(best.1)
}

/// An answer: JSON that no cache keeps.
pub struct Answer<T>(pub StatusCode, pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let Ok(body) = serde_json::to_vec(&self.1) else {
            return Problem::internal().into_response();
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// 200 with this value.
pub fn ok<T: Serialize>(value: T) -> Answer<T> {
    Answer(StatusCode::OK, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Order {
        identifiers: Vec<String>,
        #[serde(default)]
        count: u64,
    }

    fn refused(body: &str) -> (String, String, Option<String>) {
        let problem = value::<Order>(body.as_bytes()).err().unwrap();
        let field = problem.field.map(String::from);
        (problem.code.to_owned(), problem.detail.into(), field)
    }

    #[test]
    fn refusals_name_the_member_and_repeat_no_value() {
        let (code, detail, field) = refused("{\"identifers\":[]}");
        assert_eq!((code.as_str(), field.as_deref()), ("MEMBER_UNKNOWN", Some("identifers")));
        assert!(detail.contains("did you mean identifiers?"), "{detail}");
        let (code, _, field) = refused("{\"count\":1}");
        assert_eq!((code.as_str(), field.as_deref()), ("FIELD_REQUIRED", Some("identifiers")));
        let (code, detail, _) = refused("{\"identifiers\":[],\"count\":\"anna@x.org\"}");
        assert_eq!(code, "FIELD_TYPE");
        assert!(!detail.contains("anna"), "{detail}");
        let (.., field) = refused("{\"identifiers\":[\"a\",7]}");
        assert_eq!(field.as_deref(), Some("identifiers[1]"));
        assert_eq!(refused("{\"identifiers\":[],\"identifiers\":[]}").0, "JSON_DUPLICATE_KEY");
        assert_eq!(refused("{\"identifiers\":[]} x").0, "JSON_SYNTAX");
        assert_eq!(refused("{\"identifiers\":[],\"count\":1.5}").0, "FIELD_TYPE");
    }

    #[test]
    fn the_content_type_is_json_in_utf_8() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            parse::<Order>(&headers, b"{\"identifiers\":[]}").map(|o| (o.identifiers, o.count))
        };
        assert!(with("application/json").is_ok());
        assert!(with("Application/JSON; charset=\"UTF-8\"").is_ok());
        for wrong in ["text/plain", "application/json; charset=latin1", "application/jsonp"] {
            assert_eq!(with(wrong).err().unwrap().code, "CONTENT_TYPE", "{wrong}");
        }
        assert!(parse::<Order>(&HeaderMap::new(), b"{}").is_err());
    }
}
