//! Sources of the caller's tenant: registered and changed under their version, read with when they
//! were last heard and which of their numbers are missing. A name with slashes is one segment of
//! the path, percent-encoded: `okta%2Fproduction`.

use crate::policy::access::Permission;
use crate::policy::terms::DedupeKey;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::identity::principal::Scope;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::sources::{Registered, Source, Sources};
use crate::server::version::{Expect, tagged};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// What a source shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its name, if given: that of the path.
    #[serde(default)]
    name: Option<String>,
    /// A mapping of `policies/sources`; the one that its name selects if left out.
    #[serde(default)]
    mapping: Option<String>,
    /// A class of `policies/classes.toml`. It holds where the rules' one keeps no longer: to keep
    /// shorter takes an order.
    #[serde(default)]
    class: Option<String>,
    /// `sequence`: every event has a number without gaps. `event-id`: every event has an id.
    /// `none`: neither counts, and what comes twice is stored twice.
    #[schema(value_type = String)]
    dedupe: DedupeKey,
    /// Seconds it may be quiet before an entry says that it is silent; 31 days at most.
    #[serde(default)]
    heartbeat_seconds: Option<u64>,
    /// What people should know.
    #[serde(default)]
    note: Option<String>,
}

/// A source that is registered.
#[derive(Serialize, ToSchema)]
pub struct Shown {
    /// Its name.
    name: String,
    /// Version of its document, as `If-Match` takes it.
    version: String,
    /// When that version was put in force.
    since: String,
    /// Document of whoever did.
    put_by: String,
    /// Its mapping, if its name does not select it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<String>,
    /// Its class, where the rules' one keeps no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Its duplicate key.
    #[schema(value_type = String)]
    dedupe: DedupeKey,
    /// Seconds it may be quiet.
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_seconds: Option<u64>,
    /// What people should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Log time of its last event since the service began.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    /// Since when an entry says that it is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since: Option<String>,
}

impl From<&Registered> for Shown {
    fn from(registered: &Registered) -> Self {
        let source = &registered.source;
        Shown {
            name: source.name.clone(),
            version: text(&registered.version),
            since: registered.time.to_string(),
            put_by: source.put_by.to_string(),
            mapping: source.mapping.clone(),
            class: source.class.clone(),
            dedupe: source.dedupe,
            heartbeat_seconds: source.heartbeat_seconds,
            note: source.note.clone(),
            last_seen: registered.pulse.last().map(|at| at.to_string()),
            silent_since: registered.pulse.silent().map(|at| at.to_string()),
        }
    }
}

/// Sources.
#[derive(Serialize, ToSchema)]
pub struct List {
    /// By name.
    sources: Vec<Shown>,
}

/// Numbers that are missing.
#[derive(Serialize, ToSchema)]
pub struct Missing {
    /// The first one.
    first: String,
    /// The last one.
    last: String,
}

/// What is missing of a source's numbers.
#[derive(Serialize, ToSchema)]
pub struct Gaps {
    /// The highest number that came; none of a source that does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<String>,
    /// Ascending. What is below the first number that ever came is not missing.
    gaps: Vec<Missing>,
}

impl App {
    /// The sources of a tenant.
    ///
    /// # Errors
    /// 404 `TENANT_UNKNOWN`.
    pub fn sources(&self, tenant: &str) -> Result<&Sources, Problem> {
        self.sources.get(tenant).ok_or_else(|| Problem::absent("TENANT_UNKNOWN"))
    }

    /// A source that the caller may see.
    fn source(
        &self,
        caller: &Caller,
        scope: &Scope,
        name: &str,
    ) -> Result<Arc<Registered>, Problem> {
        let found = self.sources(&caller.principal.tenant)?.find(name);
        found.filter(|_| scope.has(name)).ok_or_else(|| Problem::absent("SOURCE_UNREGISTERED"))
    }
}

/// Lists the sources that the caller may see.
#[utoipa::path(
    get, path = "/v1/sources", tag = "sources",
    responses((status = 200, description = "Sources", body = List))
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<List>, Problem> {
    let scope = caller.scope(Permission::SourcesRead)?;
    let all = app.sources(&caller.principal.tenant)?.all();
    let seen = all.iter().filter(|source| scope.has(&source.source.name));
    Ok(ok(List { sources: seen.map(|source| Shown::from(&**source)).collect() }))
}

/// One source.
#[utoipa::path(
    get, path = "/v1/sources/{name}", tag = "sources",
    params(("name" = String, Path, description = "Name of the source, percent-encoded")),
    responses((status = 200, description = "The source", body = Shown),
              (status = 404, description = "No such source"))
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let scope = caller.scope(Permission::SourcesRead)?;
    let found = app.source(&caller, &scope, &name)?;
    Ok(tagged(ok(Shown::from(&*found)), found.version))
}

/// Registers a source (`If-None-Match: *`) or changes the version that was seen (`If-Match`).
#[utoipa::path(
    put, path = "/v1/sources/{name}", tag = "sources", request_body = Registration,
    params(("name" = String, Path, description = "Name of the source, percent-encoded")),
    responses((status = 200, description = "In force", body = Shown),
              (status = 412, description = "Another version is in force"),
              (status = 428, description = "Say which version was seen"))
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may_now(Permission::SourcesManage)?;
    let wanted: Registration = app.wish(&headers, body).await?;
    if wanted.name.as_ref().is_some_and(|own| *own != name) {
        let detail = "the path names the source; leave the member out or say the same";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::new(status, "FIELD_VALUE", detail).field("name"));
    }
    let expect = Expect::of(&headers)?;
    let source = Source {
        name,
        mapping: wanted.mapping,
        class: wanted.class,
        dedupe: wanted.dedupe,
        heartbeat_seconds: wanted.heartbeat_seconds,
        note: wanted.note,
        put_by: caller.principal.who.document(),
    };
    work(move || {
        let version = match expect {
            Expect::Nothing => 0,
            // There is no version 0 to have been seen.
            Expect::Version(0) => u64::MAX,
            Expect::Version(version) => version,
        };
        let sources = app.sources(&caller.principal.tenant)?;
        let put = sources.put(&caller.vault, &*app.entropy, source, version);
        let shown = put.map_err(|problem| expect.failed(problem))?;
        Ok(tagged(ok(Shown::from(&*shown)), shown.version))
    })
    .await
}

/// What is missing of a source's numbers.
#[utoipa::path(
    get, path = "/v1/sources/{name}/gaps", tag = "sources",
    params(("name" = String, Path, description = "Name of the source, percent-encoded")),
    responses((status = 200, description = "Gaps", body = Gaps),
              (status = 404, description = "No such source"))
)]
pub async fn gaps(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Answer<Gaps>, Problem> {
    let scope = caller.scope(Permission::SourcesRead)?;
    let found = app.source(&caller, &scope, &name)?;
    work(move || {
        let known = caller.vault.source_gaps(&found.source.name)?;
        let high = known.as_ref().map(|known| text(&known.high));
        let missing = known.iter().flat_map(|known| &known.missing);
        let gaps = missing.map(|(first, last)| Missing { first: text(first), last: text(last) });
        Ok(ok(Gaps { high, gaps: gaps.collect() }))
    })
    .await
}
