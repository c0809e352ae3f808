//! Who asks: the one place where a request becomes a principal of a tenant. A bearer token, a
//! session's cookie or a client's certificate, nothing else; unsafe requests with what a browser
//! shows by itself must come from the service's own origin. It fails closed, counts who failed, and
//! never says why a secret was not right.

use crate::base::unit::UtcNanos;
use crate::policy::access::Permission;
use crate::server::app::App;
use crate::server::certificate::Certificate;
use crate::server::envelope::{Known, name_of};
use crate::server::identity::Hands;
use crate::server::identity::principal::{Principal, Scope};
use crate::server::identity::refused::{Error as IdentityError, Refused};
use crate::server::listen::Peer;
use crate::server::log::{RequestId, Who as Seen};
use crate::server::problem::Problem;
use crate::vault::Vault;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Cookie of a session. The prefix makes browsers demand TLS, this host and the root path.
pub const COOKIE: &str = "__Host-chancery";
/// What an unauthenticated answer asks for.
const CHALLENGE: &str = "Bearer realm=\"chancery\"";
/// What an answer asks for whose caller must show the second factor again (RFC 9470).
pub const STEP_UP: &str = "Bearer realm=\"chancery\", error=\"insufficient_user_authentication\", \
                       error_description=\"show your one-time code again\", max_age=300";

/// An authenticated caller with the vault of its tenant.
#[derive(Clone)]
pub struct Caller {
    /// Who it is and what it may.
    pub principal: Principal,
    /// The vault of its tenant.
    pub vault: Arc<Vault>,
    /// Id of this request.
    pub request: RequestId,
    /// Where it comes from.
    pub from: IpAddr,
    app: Arc<App>,
}

impl Caller {
    /// Refuses what the caller's roles do not allow on the whole tenant: what every route asks that
    /// does not look at sources itself.
    ///
    /// # Errors
    /// 403 `FORBIDDEN`, also for whoever may for some sources alone.
    pub fn may(&self, permission: Permission) -> Result<(), Problem> {
        match self.scope(permission)? {
            Scope::All => Ok(()),
            Scope::Sources(_) => {
                self.denied();
                Err(Refused::Forbidden { permission }.into())
            }
        }
    }

    /// As `may`, for what is the same whichever source: hashes, public keys, names of classes.
    ///
    /// # Errors
    /// 403 `FORBIDDEN`.
    pub fn may_for_some(&self, permission: Permission) -> Result<(), Problem> {
        self.scope(permission).map(drop)
    }

    /// The sources for which the caller may; the route shows and takes no others.
    ///
    /// # Errors
    /// 403 `FORBIDDEN`.
    pub fn scope(&self, permission: Permission) -> Result<Scope, Problem> {
        let scope = self.principal.scope(permission);
        if scope.is_err() {
            self.denied();
        }
        Ok(scope?)
    }

    fn denied(&self) {
        let roles = self.principal.roles();
        self.app.observer.metrics.denied(roles.first().map_or("none", |role| role.name()));
    }

    /// Refuses what the caller's roles do not allow, and who has not shown the second factor
    /// within five minutes.
    ///
    /// # Errors
    /// 403 `FORBIDDEN` or `HUMANS_ONLY`, 401 `STEP_UP_REQUIRED`.
    pub fn may_now(&self, permission: Permission) -> Result<(), Problem> {
        self.may(permission)?;
        // By the clock that the code was taken by: the tenant's own may be ahead of it.
        self.principal.fresh(self.app.system().clock().now())?;
        Ok(())
    }
}

impl App {
    /// What acts of identity need, with the pause in force for a tenant's approvers.
    pub fn hands(&self, cooling_off: u64) -> Hands<'_> {
        let system = self.system();
        Hands { system, entropy: &*self.entropy, now: system.clock().now(), cooling_off }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let code = refused.code();
        let retry_after = refused.retry_after().and_then(|seconds| u32::try_from(seconds).ok());
        let (status, challenge) = match refused {
            Refused::Invalid(refusal) => return refusal.into(),
            Refused::Forbidden { .. } | Refused::HumansOnly | Refused::CoolingOff { .. } => {
                (StatusCode::FORBIDDEN, None)
            }
            Refused::StepUpRequired => (StatusCode::UNAUTHORIZED, Some(STEP_UP)),
            Refused::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, None),
            Refused::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, None),
            Refused::Unknown { .. } => (StatusCode::NOT_FOUND, None),
            Refused::Conflict { .. } => (StatusCode::CONFLICT, None),
            Refused::EnrolmentRefused | Refused::EnrolmentCode => (StatusCode::FORBIDDEN, None),
            Refused::Unauthenticated
            | Refused::TokenExpired
            | Refused::TokenRevoked
            | Refused::SessionEnded => (StatusCode::UNAUTHORIZED, Some(CHALLENGE)),
        };
        // The sentence of a refusal begins with its code.
        let sentence = refused.to_string();
        let detail = sentence.split_once(": ").map_or(sentence.as_str(), |(_, rest)| rest);
        Problem { challenge, retry_after, ..Problem::new(status, code, detail) }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Refused(refused) => refused.into(),
            IdentityError::Vault(error) => error.into(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        // A layer that had to know who asks has looked already.
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(caller.clone());
        }
        let caller = Caller::known(parts, app)?;
        app.gate.caller(&caller.principal.who.document().0)?;
        Ok(caller)
    }
}

/// A caller who appends. What bounds it is the room for bodies and the queue of the log, which
/// answer 503 when they are full: no number of requests does.
pub struct Appender(pub Caller);

impl FromRequestParts<Arc<App>> for Appender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Caller::known(parts, app).map(Appender)
    }
}

impl Caller {
    /// Whoever a request's credentials say, counted where they say nobody.
    fn known(parts: &Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let request = name_of(&parts.extensions);
        let from = address(parts, app);
        let principal = authenticate(parts, app).map_err(|problem| {
            // The count decides what is told: a reason, or to wait. A right token is heard all the
            // same: nobody guesses one, and a neighbour behind the same address must not stop it.
            match app.gate.refused(problem.code, from) {
                Ok(()) => problem,
                Err(too_many) => too_many,
            }
        })?;
        if let Some(known) = parts.extensions.get::<Known>() {
            let kind = if principal.human().is_ok() { "human" } else { "token" };
            let _ = known.0.set(Seen { kind, id: principal.who.document().0 });
        }
        let vault = app.tenant(&principal.tenant)?;
        Ok(Caller { principal, vault, request, from, app: app.clone() })
    }
}

fn authenticate(parts: &Parts, app: &App) -> Result<Principal, Problem> {
    let now = app.system().clock().now();
    let principal = if parts.headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(&parts.headers).ok_or(Refused::Unauthenticated)?;
        app.directory.authenticate_token(token, now)?
    } else {
        // A browser shows a cookie, and a certificate, whoever's page asks.
        let shown = session_cookie(&parts.headers).ok_or_else(|| certificate(&parts.extensions));
        if let Err(None) = shown {
            return Err(Refused::Unauthenticated.into());
        }
        same_origin(&parts.method, &parts.headers, app)?;
        match shown {
            Ok(cookie) => app.directory.authenticate_session(cookie, now)?,
            Err(shown) => by_certificate(shown, app, now)?,
        }
    };
    fits(&parts.extensions, &principal, now)?;
    Ok(principal)
}

/// The certificate of a request's connection.
fn certificate(extensions: &Extensions) -> Option<&Certificate> {
    extensions.get::<Peer>().and_then(|peer| peer.certificate.as_deref())
}

/// Whom the name of a certificate stands for, on the one tenant that knows it.
fn by_certificate(
    shown: Option<&Certificate>,
    app: &App,
    now: UtcNanos,
) -> Result<Principal, Refused> {
    let named = shown.and_then(|shown| Some((shown, shown.name()?)));
    let (shown, name) = named.ok_or(Refused::Unauthenticated)?;
    let known = |tenant: &String| match app.directory.authenticate_certificate(tenant, name, now) {
        Err(Refused::Unauthenticated) => None,
        found => Some(found),
    };
    let mut found = shown.tenants().iter().filter_map(known);
    let only = found.next().filter(|_| found.next().is_none());
    only.unwrap_or(Err(Refused::Unauthenticated))
}

/// Refuses whoever comes with the certificate of another tenant, or with one whose time is over.
///
/// # Errors
/// `Unauthenticated`.
pub fn fits(extensions: &Extensions, who: &Principal, now: UtcNanos) -> Result<(), Refused> {
    match certificate(extensions) {
        Some(shown) if !shown.counts(&who.tenant, now) => Err(Refused::Unauthenticated),
        _ => Ok(()),
    }
}

/// The token of one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of the session's cookie, if there is just one.
pub fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    ours.next().filter(|_| ours.next().is_none())
}

/// Refuses an unsafe request that another site's page may have sent.
///
/// # Errors
/// 403 `CROSS_SITE`.
pub fn same_origin(method: &Method, headers: &HeaderMap, app: &App) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let refused = || {
        let detail = "a request with a session's cookie must come from the service's own pages, \
                      or from a program that sends neither Origin nor Sec-Fetch-Site";
        Problem::new(StatusCode::FORBIDDEN, "CROSS_SITE", detail)
    };
    let mut sites = headers.get_all("sec-fetch-site").iter().map(HeaderValue::as_bytes);
    if !sites.all(|site| matches!(site, b"same-origin" | b"none")) {
        return Err(refused());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let own = host.is_some_and(|host| origin.strip_prefix("https://") == Some(host));
        own || app.settings.origins.iter().any(|known| known == origin)
    };
    match headers.get_all(header::ORIGIN).iter().all(ours) {
        true => Ok(()),
        false => Err(refused()),
    }
}

/// Where a request comes from: the connection's address, or, behind proxies that are named, the
/// rightmost hop that is none of them. What stands left of that anybody could have written.
pub fn address(parts: &Parts, app: &App) -> IpAddr {
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let peer = parts.extensions.get::<Peer>().map_or(nobody, |peer| peer.address.ip());
    rightmost(peer.to_canonical(), &parts.headers, &*app.settings.trusted)
}

fn rightmost(peer: IpAddr, headers: &HeaderMap, trusted: &dyn Fn(IpAddr) -> bool) -> IpAddr {
    let mut at = peer;
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.iter().rev() {
        if !trusted(at) {
            return at;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { return at };
        at = address.to_canonical();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_proxies_are_believed_and_only_their_last_hop() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("1.2.3.4, 203.0.113.7"));
        assert_eq!(rightmost(ip("198.51.100.1"), &headers, &|_| false), ip("198.51.100.1"));
        let list = [ip("198.51.100.1"), ip("198.51.100.2")];
        let proxies = |at| list.contains(&at);
        assert_eq!(rightmost(ip("198.51.100.1"), &headers, &proxies), ip("203.0.113.7"));
        headers.append("x-forwarded-for", HeaderValue::from_static("198.51.100.2"));
        assert_eq!(rightmost(ip("198.51.100.1"), &headers, &proxies), ip("203.0.113.7"));
        headers.append("x-forwarded-for", HeaderValue::from_static("nonsense"));
        assert_eq!(rightmost(ip("198.51.100.1"), &headers, &proxies), ip("198.51.100.1"));
    }

    #[test]
    fn one_header_one_token_one_cookie() {
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer(&headers), Some("abc"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert_eq!(bearer(&headers), None);
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; __Host-chancery=xyz"));
        assert_eq!(session_cookie(&headers), Some("xyz"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-chancery=other"));
        assert_eq!(session_cookie(&headers), None);
    }
}
