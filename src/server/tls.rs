//! TLS of the listeners: version 1.2 and up, one certificate, and, where it is asked for, client
//! certificates under authorities that are named, each tenant having its own. It reads no file: PEM
//! texts are arguments, and so is the clock by which certificates are judged.

use crate::base::unit::UtcNanos;
use crate::base::world::Clock;
use crate::server::certificate::{Certificate, end_of};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Why no TLS can be spoken; it names the file's kind, never its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError(pub &'static str);

/// The authority of one tenant's clients.
#[derive(Clone, Copy)]
pub struct Authority<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// Its certificates, in PEM.
    pub pem: &'a [u8],
}

/// Settings of a listener.
pub struct Settings {
    /// For the handshake.
    pub(crate) config: Arc<ServerConfig>,
    /// When its own certificate ends.
    pub until: UtcNanos,
    clients: Vec<(String, Arc<dyn ClientCertVerifier>)>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings(until {}, {} tenants' clients)", self.until, self.clients.len())
    }
}

impl Settings {
    /// Who showed this chain: under which tenants' authorities it is, and what its first
    /// certificate says. None without a chain.
    pub fn shown(&self, chain: &[CertificateDer<'_>]) -> Option<Certificate> {
        let (first, between) = chain.split_first()?;
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(self.clock.wall().0));
        let leads = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(first, between, now).is_ok()
        };
        let tenants = self.clients.iter().filter(|(_, verifier)| leads(verifier));
        Some(Certificate::read(first, tenants.map(|(tenant, _)| tenant.clone()).collect()))
    }
}

/// The clock, as the TLS library asks for it.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(self.0.wall().0)))
    }
}

/// Settings of a listener: its chain and key, and the authorities of client certificates if these
/// count as an identity.
///
/// # Errors
/// What is wrong with which text.
pub fn server_config(
    chain: &[u8],
    key: &[u8],
    clients: &[Authority<'_>],
    clock: Arc<dyn Clock>,
) -> Result<Settings, TlsError> {
    let chain = certificates(chain, "tls_cert holds no certificate in PEM")?;
    let until = chain.first().and_then(|first| end_of(first));
    let until = until.ok_or(TlsError("tls_cert holds no certificate that can be read"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TlsError("tls_key holds no private key in PEM"))?;
    let provider = Arc::new(default_provider());
    let time = Arc::new(Time(clock.clone()));
    let versions = ServerConfig::builder_with_details(provider.clone(), time)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError("the TLS library has no common version"))?;
    let mut all = RootCertStore::empty();
    let mut own = Vec::new();
    for Authority { tenant, pem } in clients {
        let mut roots = RootCertStore::empty();
        for root in certificates(pem, "client_ca holds no certificate in PEM")? {
            roots.add(root.clone()).map_err(|_| TlsError("client_ca holds no authority"))?;
            all.add(root).map_err(|_| TlsError("client_ca holds no authority"))?;
        }
        own.push(((*tenant).to_owned(), verifier(roots, &provider)?));
    }
    let builder = match own.is_empty() {
        true => versions.with_no_client_auth(),
        false => versions.with_client_cert_verifier(verifier(all, &provider)?),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|_| TlsError("tls_key is not the key of tls_cert"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Settings { config: Arc::new(config), until, clients: own, clock })
}

/// Judges chains under some roots; a client without a certificate has other credentials.
fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|_| TlsError("client_ca cannot be used"))
}

fn certificates(pem: &[u8], none: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|list| !list.is_empty()).ok_or(TlsError(none))
}
