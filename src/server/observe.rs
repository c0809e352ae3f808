//! The layer around every route: gives a request its random name, and when it is answered counts it
//! and writes its line. It reads of a request nothing but the method and the route it matched, and
//! of an answer nothing but the status and what the routes put into its extensions.

use crate::base::world::{Clock, Entropy, random};
use crate::server::log::{Answered, Log, RequestId, Who};
use crate::server::metrics::Metrics;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// Header that bears the name of the request in every answer.
pub const REQUEST_HEADER: &str = "x-request-id";

/// Stable code of the problem that an answer is; a route puts it into the answer's extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub &'static str);

/// What the layer works with.
#[derive(Clone)]
pub struct Observer {
    /// Where lines go.
    pub log: Log,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long it took.
    pub clock: Arc<dyn Clock>,
    /// Names of requests.
    pub entropy: Arc<dyn Entropy>,
}

/// Give it to `axum::middleware::from_fn_with_state`, by `Router::layer`, so that the matched route
/// is known. A name that the client sent is not used: it could be anything.
pub async fn observe(
    State(observer): State<Observer>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId(random(&*observer.entropy));
    let method = request.method().clone();
    request.extensions_mut().insert(id);
    let began = observer.clock.monotonic();
    let mut answer = next.run(request).await;
    let took = Duration::from_nanos(observer.clock.monotonic().saturating_sub(began));
    let route = observer.log.route(matched.as_ref().map(MatchedPath::as_str));
    let status = answer.status().as_u16();
    observer.metrics.answered(route, method.as_str(), status);
    observer.log.answered(&Answered {
        request: id,
        route,
        method: method.as_str(),
        status,
        took,
        who: answer.extensions().get::<Who>().copied(),
        code: answer.extensions().get::<Code>().map(|code| code.0),
    });
    if let Ok(name) = HeaderValue::from_str(&id.to_string()) {
        answer.headers_mut().insert(REQUEST_HEADER, name);
    }
    answer
}
