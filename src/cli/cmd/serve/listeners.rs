//! The two listeners of a service and their certificate. What could expose it is refused before
//! anything is opened: plain HTTP and certificates made here stay on loopback.

use crate::base::unit::UtcNanos;
use crate::cli::args::serve::Serve;
use crate::cli::certificate;
use crate::cli::cmd::serve::Started;
use crate::cli::config::Config;
use crate::cli::config::server::{Server, Tls as Files};
use crate::cli::error::Failure;
use crate::server::app::App;
use crate::server::listen::{Bounds, Listening, Tls};
use crate::server::router::{admin_router, public_router};
use crate::server::tls::server_config;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bound listeners.
pub(crate) struct Bound {
    pub(crate) public: Listening,
    pub(crate) admin: Listening,
    pub(crate) started: Started,
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
    let (tls, ca) = tls(args, config, now)?;
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
    Ok(Bound { public, admin, started })
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

/// TLS of both listeners, and what clients pin where the certificate was made here.
fn tls(args: &Serve, config: &Config, now: UtcNanos) -> Result<(Option<Tls>, Option<PathBuf>)> {
    if args.plain_http {
        return Ok((None, None));
    }
    let read = |path: &Path| std::fs::read(path).map_err(|e| Failure::file(path, &e));
    let (chain, key, ca) = match &config.server.tls {
        Files::Files { cert, key } => (read(cert)?, read(key)?, None),
        Files::Generated => {
            let made = certificate::ensure(&config.home.join("tls"), now)?;
            (made.pem.clone(), made.pem, Some(made.ca))
        }
    };
    let clients = config.server.client_ca.as_deref().map(read).transpose()?;
    let settings = server_config(&chain, &key, clients.as_deref())
        .map_err(|why| Failure::usage("TLS_FILES", format!("{}; nothing was opened", why.0)))?;
    Ok((Some(Tls::new(settings)), ca))
}
