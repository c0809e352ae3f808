//! The layer around the routes: every request has a time limit and a known `Host`; every answer its
//! headers, and every refusal, of the router or of a layer too, the shape of a problem. `observe`
//! stands outside of it, names the request and writes its line. It never looks into a body.

use crate::server::app::App;
use crate::server::idempotency::REPLAYED;
use crate::server::listen::Peer;
use crate::server::log::{RequestId, Who};
use crate::server::problem::{PROBLEM_JSON, Problem};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// Seconds a request may take in all, its body included.
const REQUEST_SECONDS: u64 = 120;
/// Media type of what handlers answer.
const JSON: &str = "application/json";

/// Who a request turned out to be from, said by whoever found out.
#[derive(Clone, Default)]
pub struct Known(pub Arc<OnceLock<Who>>);

/// The name that `observe` gave a request.
pub fn name_of(extensions: &Extensions) -> RequestId {
    extensions.get::<RequestId>().copied().unwrap_or(RequestId([0; 16]))
}

/// Beside an answer whose shape another protocol asks for: it is left as it is.
#[derive(Clone, Copy, Debug)]
pub struct Foreign;

/// Wraps a request.
pub async fn envelope(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let (id, known) = (name_of(request.extensions()), Known::default());
    let last = is_last(&request);
    request.extensions_mut().insert(known.clone());
    let mut answer = match known_host(&request, &app) {
        Err(problem) => problem.answer(&id.to_string()),
        Ok(()) => match timeout(Duration::from_secs(REQUEST_SECONDS), next.run(request)).await {
            Ok(response) => dressed(response, id),
            Err(_) => {
                let detail = "the request took over 120 seconds; what it began may have been \
                              done: ask before you send it again";
                Problem::busy("REQUEST_TIMEOUT", detail).answer(&id.to_string())
            }
        },
    };
    if let Some(who) = known.0.get() {
        answer.extensions_mut().insert(*who);
    }
    if last {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headed(answer)
}

/// Whether nothing more is read from a connection after this request. One with chunks may have had
/// a `Content-Length` too, which hyper takes away unseen: whoever stood between and believed that
/// one sees other requests than we would (RFC 9112, 6.3), so there are no others.
fn is_last(request: &Request) -> bool {
    request.version() <= Version::HTTP_11
        && request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// Makes a problem of what is an error and none yet. What a handler answers in JSON is its own: a
/// result for each event, what a service is not ready for.
fn dressed(mut response: Response, id: RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut answer = problem.answer(&id.to_string());
        for name in [REPLAYED, header::LOCATION] {
            if let Some(value) = response.headers_mut().remove(&name) {
                answer.headers_mut().insert(name, value);
            }
        }
        return answer;
    }
    if response.extensions().get::<Foreign>().is_some() {
        return response;
    }
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if (status.is_client_error() || status.is_server_error())
        && kind.is_none_or(|kind| kind != PROBLEM_JSON && kind != JSON)
    {
        let allow = response.headers_mut().remove(header::ALLOW);
        let mut answer = of_status(status).answer(&id.to_string());
        if let Some(allow) = allow {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        return answer;
    }
    response
}

/// What the router and the layers refuse without a word.
fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::absent("ROUTE_UNKNOWN"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "METHOD_NOT_ALLOWED", "use a method that Allow names")
        }
        status if status.is_client_error() => {
            Problem::new(status, "REQUEST_MALFORMED", "the request's path or query cannot be read")
        }
        _ => Problem::internal(),
    }
}

/// What every answer carries.
fn headed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses a request that was meant for another name: a page that rebound its name to this
/// address, or a proxy that mixed up its upstreams.
fn known_host(request: &Request, app: &App) -> Result<(), Problem> {
    let host = authority(request.headers(), request.uri().authority().map(|a| a.as_str()));
    let unknown = || {
        let detail = "this service is not known by that name: use one of `hosts` in its \
                      configuration";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "HOST_UNKNOWN", detail)
    };
    let host = match host {
        Some(host) => host,
        // HTTP/1.0 knows no Host; whoever has no name to send cannot have rebound one.
        None if request.version() == Version::HTTP_10 => return Ok(()),
        None => return Err(unknown()),
    };
    let peer = request.extensions().get::<Peer>();
    match is_known(&host, &app.settings.hosts, peer.is_some()) {
        true => Ok(()),
        false => Err(unknown()),
    }
}

fn authority(headers: &HeaderMap, uri: Option<&str>) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or("\n").to_owned());
    match (host, uri) {
        (Some(_), _) if hosts.next().is_some() => Some("\n".to_owned()),
        (Some(host), Some(uri)) if host != uri => Some("\n".to_owned()),
        (Some(host), _) => Some(host),
        (None, uri) => uri.map(str::to_owned),
    }
}

/// Whether a name, its port aside, is one of ours. Addresses cannot be rebound.
fn is_known(authority: &str, hosts: &[String], connected: bool) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let literal = host.parse::<IpAddr>().is_ok();
    (connected && literal)
        || hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_of_the_names_or_an_address() {
        let hosts = ["localhost".to_owned(), "vault.clinic.example:8843".to_owned()];
        for good in [
            "localhost",
            "LOCALHOST:8843",
            "vault.clinic.example:8843",
            "127.0.0.1:1",
            "[::1]:8843",
        ] {
            assert!(is_known(good, &hosts, true), "{good}");
        }
        for bad in [
            "evil.example",
            "vault.clinic.example",
            "localhost.evil.example",
            "",
            "\n",
            "localhost@evil.example",
        ] {
            assert!(!is_known(bad, &hosts, true), "{bad}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(authority(&headers, None).as_deref(), Some("localhost"));
        assert_eq!(authority(&headers, Some("other")).as_deref(), Some("\n"));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(authority(&headers, None).as_deref(), Some("\n"));
    }
}
