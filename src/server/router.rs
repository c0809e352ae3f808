//! The routes: which handler answers which address, on which listener, and the description of all
//! of them. A route and its description are registered in one call, so neither can be without the
//! other.

use crate::server::app::App;
use crate::server::envelope::envelope;
use crate::server::idempotency;
use crate::server::observe::observe;
use crate::server::problem::{Document, PROBLEM_JSON, Problem};
use crate::server::routes::{
    corrections, erasures, events, hec, holds, humans, ingest, log, orders, restriction, retention,
    reviews, schedules, session, sources, subjects, system, tokens,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ObjectBuilder, Ref, RefOr, Required, Responses, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What stands at the head of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chancery",
        description = "An audit log vault: append-only, sealed, provable, able to forget. Errors \
                       are problem documents (RFC 9457) with stable codes. Integers of 64 bits \
                       are decimal text.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security(("token" = []), ("session" = [])),
    // Its address has a wildcard, which the router's own register does not know how to describe.
    paths(log::tile),
    components(schemas(Document))
)]
struct Head;

/// Routes for machines and readers.
fn public() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(ingest::append, events::list))
        .routes(routes!(events::get))
        .routes(routes!(events::open))
        .routes(routes!(events::disclose))
        .routes(routes!(events::prove))
        .routes(routes!(log::checkpoint))
        .routes(routes!(log::growth))
        .routes(routes!(log::keys))
        .routes(routes!(session::login, session::get, session::logout))
        .routes(routes!(session::step_up))
        .routes(routes!(session::break_glass))
        .routes(routes!(session::enrol))
        .routes(routes!(session::confirm))
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .route("/v1/tile/{*path}", get(log::tile))
        .merge(collector())
}

/// Routes of Splunk's collector protocol, whose answers have its own shape.
fn collector() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(hec::event))
        .routes(routes!(hec::raw))
        .routes(routes!(hec::ack))
        .routes(routes!(hec::health, hec::health_by_post))
        .route("/services/collector", post(hec::event))
        .route("/services/collector/event/1.0", post(hec::event))
        .route("/services/collector/raw/1.0", post(hec::raw))
        .route("/services/collector/health/1.0", get(hec::health).post(hec::health))
        .layer(map_response(hec::shaped))
}

/// Routes for those who answer for the vault.
fn administration() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(subjects::lookup))
        .routes(routes!(subjects::get))
        .routes(routes!(subjects::preview))
        .routes(routes!(subjects::identifiers))
        .routes(routes!(restriction::begin))
        .routes(routes!(restriction::lift))
        .routes(routes!(corrections::correct))
        .routes(routes!(erasures::list))
        .routes(routes!(erasures::get))
        .routes(routes!(erasures::receipt))
        .routes(routes!(holds::list, holds::set))
        .routes(routes!(retention::classes))
        .routes(routes!(retention::plan))
        .routes(routes!(retention::run))
        .routes(routes!(retention::history))
        .routes(routes!(orders::file, orders::list))
        .routes(routes!(orders::get))
        .routes(routes!(orders::open))
        .routes(routes!(orders::approve))
        .routes(routes!(orders::reject))
        .routes(routes!(orders::withdraw))
        .routes(routes!(orders::rule))
        .routes(routes!(tokens::issue, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(sources::list))
        .routes(routes!(sources::get, sources::put))
        .routes(routes!(sources::gaps))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::get, schedules::put, schedules::give_up))
        .routes(routes!(schedules::run))
        .routes(routes!(system::metrics))
        .routes(routes!(system::tenants))
        .routes(routes!(system::system))
        .routes(routes!(humans::list))
        .routes(routes!(humans::invite))
        .routes(routes!(reviews::list))
        .routes(routes!(reviews::close))
}

/// Every route, for the description.
fn all() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Head::openapi()).merge(public()).merge(administration())
}

/// The description of every route, OpenAPI 3.1.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut api = all().into_openapi();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let session = ApiKey::Cookie(ApiKeyValue::new(crate::server::caller::COOKIE));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    for (path, item) in &mut api.paths.paths {
        let PathItem { get, put, post, delete, .. } = item;
        for (method, operation) in [("get", get), ("put", put), ("post", post), ("delete", delete)]
        {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(named(method, path));
            if method == "post" && idempotency::takes_keys(path) {
                operation.parameters.get_or_insert_default().push(RefOr::T(key_parameter()));
            }
            match path.starts_with("/services/") {
                true => refusals(&mut operation.responses, "application/json", "Reply"),
                false => refusals(&mut operation.responses, PROBLEM_JSON, "Problem"),
            }
        }
    }
    api
}

/// The header by which a request that is repeated is done once: any visible ASCII. It has no type,
/// since whatever stands in a header is text.
fn key_parameter() -> Parameter {
    let text = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("A key of this request alone: repeated with it, it is done once"))
        .schema(Some(text.pattern(Some("^[!-~]{1,255}$")).build()))
        .build()
}

/// A name of an operation that no other has: its method and the words of its path.
fn named(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|word| *word != "v1");
    words.fold(method.to_owned(), |name, word| format!("{name}_{word}"))
}

/// Says what shape every refusal has, those that are common to all routes too.
fn refusals(responses: &mut Responses, kind: &str, shape: &str) {
    let refusal = || {
        let reference = Ref::from_schema_name(shape);
        RefOr::T(Content::new(Some(RefOr::<Schema>::Ref(reference))))
    };
    let other = utoipa::openapi::Response::new("Refused: the code says why");
    responses.responses.entry("default".to_owned()).or_insert(RefOr::T(other));
    for (status, response) in &mut responses.responses {
        let RefOr::T(response) = response else { continue };
        let refuses = status.starts_with(['4', '5']) || status == "default";
        if refuses && response.content.is_empty() {
            response.content.insert(kind.to_owned(), refusal());
        }
    }
}

/// The address of every route as the router has it: what log lines and metrics may name.
pub fn templates() -> Vec<String> {
    let mut templates: Vec<String> = description().paths.paths.into_keys().collect();
    // The router has a wildcard there, which a description cannot say.
    templates.retain(|template| template != "/v1/tile/{path}");
    templates.extend(["/openapi.json", "/v1/tile/{*path}"].map(str::to_owned));
    templates
}

/// What the public listener serves.
pub fn public_router(app: Arc<App>) -> Router {
    finished(public().split_for_parts().0, app)
}

/// What the administration's listener serves: everything.
pub fn admin_router(app: Arc<App>) -> Router {
    finished(public().merge(administration()).split_for_parts().0, app)
}

fn finished(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    let description = description().to_json().unwrap_or_default();
    let description: Arc<str> = description.into();
    routes
        .route("/openapi.json", get(move || described(description.clone())))
        .fallback(|| async { Problem::absent("ROUTE_UNKNOWN") })
        .layer(from_fn_with_state(app.clone(), idempotency::once))
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(from_fn_with_state(app.clone(), envelope))
        .layer(from_fn_with_state(app.observer.clone(), observe))
        .with_state(app)
}

async fn described(text: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}
