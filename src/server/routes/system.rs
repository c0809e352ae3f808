//! The service itself: whether it is alive and ready, which tenants there are, what an opening
//! found worth saying. Health answers anybody and says nothing of what is stored.

use crate::policy::access::Permission;
use crate::policy::order::act::Outline;
use crate::server::app::{App, SYSTEM, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::metrics::Around;
use crate::server::orders::book::Book;
use crate::server::problem::Problem;
use crate::server::silence::silent_sources;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The process answers.
#[utoipa::path(
    get, path = "/livez", tag = "system", security(()),
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain"))
)]
pub async fn live() -> &'static str {
    "alive\n"
}

/// What keeps the service from taking events.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// Whether it takes events.
    ready: bool,
    /// Codes of what keeps it from that.
    reasons: Vec<String>,
}

/// Whether every tenant takes events.
#[utoipa::path(
    get, path = "/readyz", tag = "system", security(()),
    responses((status = 200, description = "Ready", body = Ready),
              (status = 503, description = "Not ready", body = Ready))
)]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Answer<Ready>, Problem> {
    work(move || {
        let mut reasons = Vec::new();
        for (_, vault) in app.tenants() {
            reasons.extend(vault.stopped().map(str::to_owned));
        }
        reasons.sort_unstable();
        reasons.dedup();
        let ready = reasons.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Ok(Answer(status, Ready { ready, reasons }))
    })
    .await
}

/// Metrics, in the text that Prometheus reads.
#[utoipa::path(
    get, path = "/metrics", tag = "system",
    responses((status = 200, description = "Metrics", body = String,
               content_type = "application/openmetrics-text"))
)]
pub async fn metrics(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::MetricsRead)?;
    work(move || {
        let open: Vec<_> = app.books.values().flat_map(Book::open_orders).collect();
        let erasures =
            open.iter().filter(|held| matches!(held.order.outline, Outline::Erase { .. }));
        let around = Around {
            sessions: app.directory.session_count() as u64,
            orders_open: open.len() as u64,
            erasures_open: erasures.count() as u64,
            erasure_due: None,
            sources_silent: silent_sources(&app),
            disk_free: (app.settings.free)(),
            reserves: (app.settings.reserves)(),
        };
        let vaults: Vec<_> = app.tenants().map(|(name, vault)| (name, &**vault)).collect();
        let metrics = &app.observer.metrics;
        metrics.gather(&vaults, &around)?;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Ok(([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response())
    })
    .await
}

/// A tenant.
#[derive(Serialize, ToSchema)]
pub struct Tenant {
    /// Name.
    name: String,
    /// Origin line of its checkpoints.
    origin: String,
    /// Entries committed.
    size: String,
}

/// Tenants.
#[derive(Serialize, ToSchema)]
pub struct Tenants {
    /// By name; that of people and settings too.
    tenants: Vec<Tenant>,
}

/// Lists tenants.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "system",
    responses((status = 200, description = "Tenants", body = Tenants))
)]
pub async fn tenants(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Answer<Tenants>, Problem> {
    caller.may(Permission::TenantsRead)?;
    let tenants = app.tenants().map(|(name, vault)| Tenant {
        name: name.to_owned(),
        origin: vault.origin().to_owned(),
        size: text(&vault.size().0),
    });
    Ok(ok(Tenants { tenants: tenants.collect() }))
}

/// Something an operator should know.
#[derive(Serialize, ToSchema)]
pub struct Notice {
    /// Tenant.
    tenant: String,
    /// Stable code.
    code: String,
    /// One sentence.
    text: String,
}

/// How the service stands.
#[derive(Serialize, ToSchema)]
pub struct System {
    /// Version of the program.
    version: &'static str,
    /// What the openings found worth saying.
    notices: Vec<Notice>,
}

/// Version and notices.
#[utoipa::path(
    get, path = "/v1/system", tag = "system",
    responses((status = 200, description = "How the service stands", body = System))
)]
pub async fn system(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Answer<System>, Problem> {
    caller.may(Permission::SystemRead)?;
    let own = |name: &str| name == SYSTEM || name == caller.principal.tenant;
    let mut notices = Vec::new();
    for (name, vault) in app.tenants().filter(|(name, _)| own(name)) {
        notices.extend(vault.notices().iter().map(|notice| Notice {
            tenant: name.to_owned(),
            code: notice.code.to_owned(),
            text: notice.text.clone(),
        }));
    }
    Ok(ok(System { version: env!("CARGO_PKG_VERSION"), notices }))
}
