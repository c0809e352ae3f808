//! Tokens of machines: issued, listed, revoked. A token's text is in one answer, once; nobody can
//! ask for it again.

use crate::base::id::DocumentId;
use crate::policy::access::{Permission, Role};
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::idempotency::Made;
use crate::server::identity::directory::{NewToken, TokenInfo};
use crate::server::identity::token::Kind;
use crate::server::json::{Answer, instant, ok};
use crate::server::problem::Problem;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A token to be issued.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What it is for.
    name: String,
    /// Names of roles; `ingest` for what only appends.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// Sources it is limited to; all if left out.
    #[serde(default)]
    sources: Option<Vec<String>>,
    /// `api`; `hec` for a GUID as Splunk's collector takes it; `certificate` for the bearer of a
    /// certificate under the authority of the tenant's clients.
    #[serde(default = "api")]
    #[schema(value_type = String)]
    kind: Kind,
    /// The only subject alternative name of that certificate: `dns:` or `uri:` and the name.
    #[serde(default)]
    san: Option<String>,
    /// When its time is over, RFC 3339; a token that may more than append ends within a year.
    #[serde(default)]
    expires: Option<String>,
}

fn api() -> Kind {
    Kind::Api
}

/// An issued token.
#[derive(Serialize, ToSchema)]
pub struct Issued {
    /// Its document.
    id: String,
    /// Its text. It is shown this once; a certificate has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    token: String,
}

/// Issues a token for the caller's tenant.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", request_body = Wanted,
    responses((status = 201, description = "Issued", body = Issued),
              (status = 403, description = "The caller may not give these roles"),
              (status = 409, description = "Another token has the certificate's name"))
)]
pub async fn issue(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<(Extension<Made>, Answer<Issued>), Problem> {
    caller.may_now(Permission::TokensManage)?;
    let wanted: Wanted = app.wish(&headers, body).await?;
    let expires = wanted.expires.as_deref().map(|text| instant(text, "expires"));
    let new = NewToken {
        name: wanted.name,
        tenant: caller.principal.tenant.clone(),
        roles: wanted.roles,
        sources: wanted.sources,
        kind: wanted.kind,
        san: wanted.san,
        expires: expires.transpose()?,
    };
    work(move || {
        let issued = app.directory.issue_token(&app.hands(0), &caller.principal, &new)?;
        let (id, token) = (issued.id.to_string(), issued.text.expose().to_owned());
        let made = Made { resource: id.clone(), entry: None };
        Ok((Extension(made), Answer(StatusCode::CREATED, Issued { id, token })))
    })
    .await
}

/// A token, without anything of its secret.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// Its document.
    id: String,
    /// What it is for.
    name: String,
    /// Roles it was given.
    roles: Vec<String>,
    /// Sources it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<String>>,
    /// When it was issued.
    since: String,
    /// Document of whoever issued it.
    made_by: String,
    /// When its time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// The name of its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    san: Option<String>,
    /// Whether it was revoked.
    revoked: bool,
}

impl From<TokenInfo> for Token {
    fn from(token: TokenInfo) -> Self {
        Token {
            id: token.id.to_string(),
            name: token.name,
            roles: token.roles.iter().map(ToString::to_string).collect(),
            sources: token.sources,
            since: token.since.to_string(),
            made_by: token.made_by.to_string(),
            expires: token.expires.map(|at| at.to_string()),
            san: token.san,
            revoked: token.revoked,
        }
    }
}

/// Tokens.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    /// Revoked ones too.
    tokens: Vec<Token>,
}

/// Lists the tokens of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens",
    responses((status = 200, description = "Tokens", body = Tokens))
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<Tokens>, Problem> {
    caller.may(Permission::TokensRead)?;
    let tokens = app.directory.tokens(&caller.principal.tenant);
    Ok(ok(Tokens { tokens: tokens.into_iter().map(Token::from).collect() }))
}

/// Revokes a token; it counts from the next request on.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Document of the token")),
    responses((status = 204, description = "Revoked"),
              (status = 404, description = "No such token here"))
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may_now(Permission::TokensManage)?;
    let id = DocumentId::parse(&id).ok_or_else(|| Problem::absent("TOKEN_UNKNOWN"))?;
    work(move || {
        app.directory.revoke_token(&app.hands(0), &caller.principal, id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
