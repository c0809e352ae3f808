//! One small HTTP client for small questions: a witness, a time-stamp authority. No redirect, no
//! proxy from the environment, a time-out over everything, a cap on the answer. Plain HTTP goes to
//! this machine only; TLS trusts the roots it is given and no others. It never retries: whoever
//! asks decides that.

use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// For the whole exchange, connecting included: a witness syncs a disk, which takes milliseconds.
const SECONDS: u64 = 10;
/// Longest header block that is read.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Why an address is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadAddress(pub &'static str);

/// Why no answer came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoAnswer(pub String);

/// An answer, whatever its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content type without parameters, empty if none was given.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

/// A way to one address.
pub struct Peer {
    agent: ureq::Agent,
    url: String,
}

/// Where plain HTTP may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plain {
    /// To this machine only.
    Loopback,
    /// Anywhere: the answer is signed and the question is a hash.
    Anywhere,
}

/// Checks an address: `https` to any host, `http` as far as `plain` says; no query, no user.
pub fn check_address(url: &str, plain: Plain) -> Result<(), BadAddress> {
    if url.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'?' || b == b'#') {
        return Err(BadAddress("an address holds no space, query or fragment"));
    }
    let (scheme, rest) =
        url.split_once("://").ok_or(BadAddress("not https://... or http://..."))?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err(BadAddress("an address needs a host and names no user"));
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let ip: Option<std::net::IpAddr> = host.parse().ok();
    match scheme {
        "https" => Ok(()),
        "http"
            if plain == Plain::Anywhere
                || host == "localhost"
                || ip.is_some_and(|ip| ip.is_loopback()) =>
        {
            Ok(())
        }
        "http" => Err(BadAddress("plain http goes to this machine only; use https")),
        _ => Err(BadAddress("not https://... or http://...")),
    }
}

/// The certificates of a PEM text.
///
/// # Errors
/// A clause, when there is none or one is damaged.
pub fn roots_of_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate.der().to_vec()),
            Ok(_) => {}
            Err(_) => return Err("a certificate in it is damaged"),
        }
    }
    if roots.is_empty() { Err("it holds no PEM certificate") } else { Ok(roots) }
}

/// What speaks HTTP: it trusts `roots` (DER) alone, follows nothing, ends each exchange in time.
pub(crate) fn agent(roots: &[Vec<u8>], patience: Duration) -> ureq::Agent {
    let roots: Vec<Certificate<'static>> =
        roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let provider = rustls::crypto::ring::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .max_response_header_size(HEADER_BYTES_MAX)
        .user_agent("chancery")
        .build();
    ureq::Agent::new_with_config(config)
}

impl Peer {
    /// A way to `url`, whose certificate must lead to one of `roots` (DER).
    ///
    /// # Errors
    /// An address that is refused.
    pub fn new(url: &str, plain: Plain, roots: &[Vec<u8>]) -> Result<Peer, BadAddress> {
        check_address(url, plain)?;
        let agent = agent(roots, Duration::from_secs(SECONDS));
        Ok(Peer { agent, url: url.to_owned() })
    }

    /// Where it leads.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Posts a body and reads at most `limit` bytes of the answer.
    ///
    /// # Errors
    /// No answer in time, or a longer one.
    pub fn post(&self, content_type: &str, body: &[u8], limit: u64) -> Result<Reply, NoAnswer> {
        let failed = |e: ureq::Error| NoAnswer(e.to_string());
        let request = self.agent.post(&self.url).content_type(content_type);
        let mut response = request.send(body).map_err(failed)?;
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok());
        let kind = kind.and_then(|v| v.split(';').next()).unwrap_or_default().trim();
        let (status, content_type) = (response.status().as_u16(), kind.to_ascii_lowercase());
        let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(failed)?;
        Ok(Reply { status, content_type, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        let good = [
            "https://witness.example",
            "https://witness.example:8443/a/",
            "http://127.0.0.1:8411",
            "http://127.9.9.9/",
            "http://localhost:1/w",
            "http://[::1]:80/",
        ];
        for url in good {
            assert_eq!(check_address(url, Plain::Loopback), Ok(()), "{url}");
        }
        let bad = [
            "http://witness.example",
            "http://10.0.0.1/",
            "http://127.0.0.1.example/",
            "http://[::2]/",
            "http://localhost.example",
            "http://a@127.0.0.1/",
            "https://",
            "https:///x",
            "ftp://127.0.0.1/",
            "witness.example",
            "https://a b/",
            "https://a/?x",
        ];
        for url in bad {
            assert!(check_address(url, Plain::Loopback).is_err(), "{url}");
        }
        assert_eq!(check_address("http://tsa.example/ts", Plain::Anywhere), Ok(()));
        assert!(check_address("ftp://tsa.example/ts", Plain::Anywhere).is_err());
    }
}
