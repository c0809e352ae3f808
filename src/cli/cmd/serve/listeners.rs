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
use crate::cli::run::Context;
use crate::server::app::App;
use crate::server::listen::{Bounds, Listening, Tls};
use crate::server::router::{admin_router, public_router};
use crate::server::tls::{Authority, Settings, server_config};
use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Files that a connection to one listener stands for: itself, one to the other listener, and as
/// many again for the vaults.
const FILES_OF_A_CONNECTION: u64 = 4;

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

/// How many connections each listener may have at once: as many as are configured, as long as
/// those of both take no more than half of the files that this process may have open. The other
/// half is the vaults': whoever fills the listeners must not keep a vault from opening a file. The
/// limit of files is raised as far as the system lets it.
pub(crate) fn connections(context: &Context, server: &Server) -> usize {
    let wished = server.max_connections;
    let need = wished.saturating_mul(FILES_OF_A_CONNECTION);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut files = current.unwrap_or(u64::MAX);
    if files < need {
        let more = Rlimit { current: Some(maximum.unwrap_or(need).min(need)), maximum };
        if setrlimit(Resource::Nofile, more).is_ok() {
            files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        }
    }
    let most = (files / FILES_OF_A_CONNECTION).max(1);
    if most < wished {
        let text = format!(
            "{most} connections at once instead of {wished}: this process may have {files} files \
             open; raise the limit to {need} (ulimit -n, LimitNOFILE)"
        );
        context.note("CONNECTIONS_LIMITED", &text);
    }
    usize::try_from(wished.min(most)).unwrap_or(usize::MAX)
}

/// Binds both listeners.
pub(crate) async fn bind(
    args: &Serve,
    config: &Config,
    app: &Arc<App>,
    (now, connections): (UtcNanos, usize),
) -> Result<Bound> {
    let secured = tls(args, config, app, now)?;
    let (tls, watch, ca) = match secured {
        None => (None, None, None),
        Some((tls, watch, ca)) => (Some(tls), Some(watch), ca),
    };
    let server = &config.server;
    let bounds = Bounds {
        connections,
        // A quarter for one address, but for a proxy's: behind that are many.
        per_address: connections.div_ceil(4),
        idle: Duration::from_secs(server.read_seconds),
        drain: Duration::from_secs(server.drain_seconds),
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
