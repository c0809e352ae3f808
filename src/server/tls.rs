//! TLS of the listeners: version 1.2 and up, one certificate, and, where it is asked for, client
//! certificates under authorities that are named. It reads no file: PEM texts are arguments.

use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Why no TLS can be spoken; it names the file's kind, never its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError(pub &'static str);

/// Settings of a listener: its chain and key, and the authorities of client certificates if these
/// count as an identity.
///
/// # Errors
/// What is wrong with which text.
pub fn server_config(
    chain: &[u8],
    key: &[u8],
    clients: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(chain, "tls_cert holds no certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TlsError("tls_key holds no private key in PEM"))?;
    let provider = Arc::new(default_provider());
    let versions = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError("the TLS library has no common version"))?;
    let builder = match clients {
        None => versions.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(pem, "client_ca holds no certificate in PEM")? {
                roots.add(root).map_err(|_| TlsError("client_ca holds no authority"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|_| TlsError("client_ca cannot be used"))?;
            versions.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|_| TlsError("tls_key is not the key of tls_cert"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], none: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|list| !list.is_empty()).ok_or(TlsError(none))
}
