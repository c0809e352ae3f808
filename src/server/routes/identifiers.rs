//! Identifiers of people in requests: in bodies only, normalised as the registry says. No answer
//! and no refusal repeats one.

use crate::base::event::Identifier;
use crate::base::id::PersonId;
use crate::server::problem::Problem;
use crate::vault::Vault;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

/// Identifiers of one request at most: as many as a person has (docs/events.md).
const IDENTIFIERS_MAX: usize = 64;

/// An identifier of a person.
#[derive(Deserialize, ToSchema, Clone)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// A kind of the registry: `email`, `patient`, ...
    pub kind: String,
    /// Its value, as the source writes it.
    pub value: String,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Named")
    }
}

/// The identifiers of a request, normalised.
///
/// # Errors
/// 422 `SUBJECT_EMPTY`, `TOO_MANY_IDENTIFIERS`, `IDENTIFIER_KIND`, those of normalisation.
pub fn normal(vault: &Vault, named: &[Named]) -> Result<Vec<Identifier>, Problem> {
    let refused = |code, fix: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, fix).field("identifiers")
    };
    if named.is_empty() {
        return Err(refused("SUBJECT_EMPTY", "name at least one identifier".to_owned()));
    }
    if named.len() > IDENTIFIERS_MAX {
        let problem = refused("TOO_MANY_IDENTIFIERS", "name fewer identifiers".to_owned());
        return Err(problem.limit(IDENTIFIERS_MAX as u64));
    }
    let policies = vault.policies();
    let mut found = Vec::with_capacity(named.len());
    for Named { kind, value } in named {
        let Some(rule) = policies.registry().kind(kind) else {
            let known: Vec<&str> = policies.registry().kinds().iter().map(|k| &*k.name).collect();
            let fix = format!("no such kind of identifier: use one of {}", known.join(", "));
            return Err(refused("IDENTIFIER_KIND", fix));
        };
        let value = rule.normalise(value)?.ok_or_else(|| {
            refused("SUBJECT_EMPTY", "nothing is left of it once normalised".to_owned())
        })?;
        found.push(Identifier { kind: rule.name, value });
    }
    Ok(found)
}

/// The handle in an address.
///
/// # Errors
/// 404 `SUBJECT_UNKNOWN`, for what is none.
pub fn handle(text: &str) -> Result<PersonId, Problem> {
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    let person = PersonId::parse(text).filter(|_| lower);
    person.ok_or_else(|| Problem::absent("SUBJECT_UNKNOWN"))
}

/// The identifiers of somebody known by a handle.
///
/// # Errors
/// 404 `SUBJECT_UNKNOWN`, for somebody forgotten too.
pub fn of_handle(vault: &Vault, text: &str) -> Result<Vec<Identifier>, Problem> {
    let unknown = || Problem::absent("SUBJECT_UNKNOWN");
    let person = handle(text)?;
    let cell = vault.keys().person(&person)?.filter(|cell| !cell.retired).ok_or_else(unknown)?;
    let identifiers = vault.keys().identifiers_of(&[cell.id])?;
    if identifiers.is_empty() {
        return Err(unknown());
    }
    Ok(identifiers)
}
