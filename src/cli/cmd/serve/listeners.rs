//! The two listeners of a service and their certificate. What could expose it is refused before
//! anything is opened: plain HTTP and certificates made here stay on loopback.

use crate::base::unit::UtcNanos;
use crate::base::world::Clock;
use crate::cli::args::serve::Serve;
use crate::cli::certificate;
use crate::cli::cmd::serve::Started;
use crate::cli::cmd::serve::reload::{Watch, stamps};
use crate::cli::config::Config;
use crate::cli::config::server::{Server, Tls as Files};
use crate::cli::error::Failure;
use crate::server::app::App;
use crate::server::listen::{Bounds, Listening, Tls};
use crate::server::router::{admin_router, public_router};
use crate::server::tls::{Authority, Settings, server_config};
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bound listeners.
pub(crate) struct Bound {
    pub(crate) public: Listening,
    pub(crate) admin: Listening,
    pub(crate) started: Started,
    pub(crate) watch: Option<Watch>,
}

/// Refuses plain HTTP beyond loopback; that certificates made here stay there, the configuration's
/// own check says.
///
/// # Errors
/// `PLAIN_HTTP_EXPOSED`.
pub(crate) fn check(args: &Serve, server: &Server) -> Result<()> {
    let both = [server.listen, server.admin_listen];
    match both.into_iter().find(|at| args.plain_http && !at.ip().is_loopback()) {
        Some(at) => {
            let message = format!("--plain-http is for loopback; {at} is not; nothing was opened");
            Err(Failure::usage("PLAIN_HTTP_EXPOSED", message).into())
        }
        None => Ok(()),
    }
}

/// Binds both listeners.
pub(crate) async fn bind(
    args: &Serve,
    config: &Config,
    app: &Arc<App>,
    now: UtcNanos,
) -> Result<Bound> {
    let secured = tls(args, config, app, now)?;
    let (tls, watch, ca) = match secured {
        None => (None, None, None),
        Some((tls, watch, ca)) => (Some(tls), Some(watch), ca),
    };
    let server = &config.server;
    let connections = usize::try_from(server.max_connections).unwrap_or(usize::MAX);
    let bounds = Bounds {
        connections,
        // A quarter for one address, but for a proxy's: behind that are many.
        per_address: connections.div_ceil(4),
        drain: Duration::from_secs(server.drain_seconds),
        ..Bounds::default()
    };
    let public = listen(server.listen, tls.clone(), public_router(app.clone()), bounds).await?;
    let admin = listen(server.admin_listen, tls.clone(), admin_router(app.clone()), bounds).await?;
    let trusting = |listening: Listening| listening.trusting(app.settings.trusted.clone());
    let (public, admin) = (trusting(public), trusting(admin));
    let address = |listening: &Listening| {
        listening.address().map_err(|e| Failure::failed("SERVE_LISTEN", e.to_string()))
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let started = Started { public: address(&public)?, admin: address(&admin)?, ca, scheme };
    Ok(Bound { public, admin, started, watch })
}

async fn listen(
    address: SocketAddr,
    tls: Option<Tls>,
    router: axum::Router,
    bounds: Bounds,
) -> Result<Listening> {
    let bound = Listening::bind(address, tls, router, bounds).await;
    Ok(bound.map_err(|e| Failure::failed("SERVE_LISTEN", format!("{address}: {e}")))?)
}

/// TLS of both listeners, the watch over its files, and what clients pin where the certificate was
/// made here.
fn tls(
    args: &Serve,
    config: &Config,
    app: &Arc<App>,
    now: UtcNanos,
) -> Result<Option<(Tls, Watch, Option<PathBuf>)>> {
    if args.plain_http {
        return Ok(None);
    }
    let server = &config.server;
    let made = config.home.join("tls");
    let (mut paths, ca) = match &server.tls {
        Files::Files { cert, key } => (vec![cert.clone(), key.clone()], None),
        Files::Generated => {
            let ca = certificate::ensure(&made, now)?.ca;
            (certificate::files(&made), Some(ca))
        }
    };
    paths.extend(server.clients.values().cloned());
    let stamps = stamps(&paths);
    let (files, clients) = (server.tls.clone(), server.clients.clone());
    let (dir, clock) = (made.clone(), app.clock.clone());
    let load = move |now| loaded(&files, &clients, &dir, clock.clone(), now);
    let settings = load(now)?;
    app.observer.metrics.certified_until(settings.until);
    let tls = Tls::new(settings);
    let generated = server.tls == Files::Generated;
    let is_over = move |now| generated && certificate::is_over(&made, now);
    let load = move |now| load(now).map_err(|why| why.to_string());
    let watch = Watch::new(tls.clone(), (paths, stamps), Box::new(load), Box::new(is_over));
    Ok(Some((tls, watch, ca)))
}

/// The settings that the files say now.
fn loaded(
    files: &Files,
    clients: &BTreeMap<String, PathBuf>,
    made: &Path,
    clock: Arc<dyn Clock>,
    now: UtcNanos,
) -> Result<Settings> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| Failure::file(path, &e));
    let (chain, key) = match files {
        Files::Files { cert, key } => (read(cert)?, read(key)?),
        Files::Generated => {
            let pem = certificate::ensure(made, now)?.pem;
            (pem.clone(), pem)
        }
    };
    let mut authorities = Vec::new();
    for (tenant, path) in clients {
        authorities.push((tenant, read(path)?));
    }
    let authorities: Vec<Authority<'_>> =
        authorities.iter().map(|(tenant, pem)| Authority { tenant, pem }).collect();
    let settings = server_config(&chain, &key, &authorities, clock);
    Ok(settings.map_err(|why| Failure::usage("TLS_FILES", format!("{}; it is not used", why.0)))?)
}
