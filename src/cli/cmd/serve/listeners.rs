//! The two listeners of a service and their certificate. What could expose it is refused before
//! anything is opened: plain HTTP and certificates made here stay on loopback.

use crate::base::unit::UtcNanos;
use crate::cli::args::serve::Serve;
use crate::cli::certificate;
use crate::cli::cmd::serve::Started;
use crate::cli::config::Config;
use crate::cli::error::Failure;
use crate::server::app::App;
use crate::server::listen::{Bounds, Listening, Tls};
use crate::server::router::{admin_router, public_router};
use crate::server::tls::server_config;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bound listeners.
pub(crate) struct Bound {
    pub(crate) public: Listening,
    pub(crate) admin: Listening,
    pub(crate) started: Started,
}

/// Refuses addresses that the flags do not allow.
///
/// # Errors
/// `PLAIN_HTTP_EXPOSED`, `CERTIFICATE_GENERATED`.
pub(crate) fn check(args: &Serve) -> Result<()> {
    let outside = [args.listen, args.admin_listen].into_iter().find(|a| !a.ip().is_loopback());
    let Some(outside) = outside else { return Ok(()) };
    if args.plain_http {
        let message = format!("--plain-http is for loopback; {outside} is not; nothing was opened");
        return Err(Failure::usage("PLAIN_HTTP_EXPOSED", message).into());
    }
    if args.tls_cert.is_none() && !args.generated_certificate {
        let message = format!(
            "{outside} is not loopback, and a certificate made here proves nothing to others; \
             nothing was opened; name --tls-cert and --tls-key, or say --generated-certificate"
        );
        return Err(Failure::usage("CERTIFICATE_GENERATED", message).into());
    }
    Ok(())
}

/// Binds both listeners.
pub(crate) async fn bind(
    args: &Serve,
    config: &Config,
    app: &Arc<App>,
    now: UtcNanos,
) -> Result<Bound> {
    let (tls, ca) = tls(args, config, now)?;
    let bounds = Bounds::default();
    let public = listen(args.listen, tls.clone(), public_router(app.clone()), bounds).await?;
    let admin = listen(args.admin_listen, tls.clone(), admin_router(app.clone()), bounds).await?;
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
    let (chain, key, ca) = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => (read(chain)?, read(key)?, None),
        _ => {
            let made = certificate::ensure(&config.home.join("tls"), now)?;
            (made.pem.clone(), made.pem, Some(made.ca))
        }
    };
    let settings = server_config(&chain, &key, None)
        .map_err(|why| Failure::usage("TLS_FILES", format!("{}; nothing was opened", why.0)))?;
    Ok((Some(Tls::new(settings)), ca))
}
