//! The query of a request's address, read as strictly as its body: no unknown name, none twice.

use crate::server::json::nearest;
use crate::server::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// A parsed query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        read.map(|query| Query(query.0)).map_err(|rejection| refused(&rejection.body_text()))
    }
}

/// serde's message may quote a value: only the names it puts between backquotes are taken.
fn refused(message: &str) -> Problem {
    let name = message.split('`').nth(1).unwrap_or_default();
    let problem = |code, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    if message.contains("unknown field") {
        let known = message.split_once("expected").map_or("", |(_, known)| known);
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let detail = match nearest(name, &known) {
            Some(near) => format!("no such parameter here; did you mean {near}?"),
            None => format!("no such parameter here; known are {}", known.join(", ")),
        };
        return problem("PARAMETER_UNKNOWN", detail).field(name);
    }
    if message.contains("duplicate field") {
        return problem("PARAMETER_TWICE", "give it once".to_owned()).field(name);
    }
    let detail = "a parameter of the address cannot be read as what it must be".to_owned();
    // axum names the parameter before a colon: `Failed to deserialize query string: limit: ...`.
    let named = message.split(": ").nth(1).filter(|name| !name.contains(' '));
    match named {
        Some(name) => problem("PARAMETER_VALUE", detail).field(name),
        None => problem("PARAMETER_VALUE", detail),
    }
}
