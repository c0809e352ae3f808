//! One kept connection of HTTP/1.1, plain or TLS, that costs its side as little as can be: a
//! request goes out as it was prepared, and of an answer it reads status, length and so many bytes.

use anyhow::{Context, Result, anyhow, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Bytes asked for at once.
const PIECE: usize = 64 * 1024;

/// Where a service is, and whom to trust there.
pub(crate) struct Reach {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Reach {
    /// With these roots in DER, or plain.
    pub(crate) fn new(address: SocketAddr, roots: Option<&[Vec<u8>]>) -> Result<Self> {
        let connector = |roots: &[Vec<u8>]| -> Result<TlsConnector> {
            let mut store = RootCertStore::empty();
            for der in roots {
                store.add(CertificateDer::from(der.clone()))?;
            }
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(store)
                .with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Reach { address, tls: roots.map(connector).transpose()? })
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// A connection.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    got: Vec<u8>,
    /// Where the last answer's body begins.
    body: usize,
}

impl Wire {
    pub(crate) async fn open(reach: &Reach) -> Result<Self> {
        let stream = TcpStream::connect(reach.address).await?;
        stream.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match &reach.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::IpAddress(reach.address.ip().into());
                Box::new(tls.connect(name, stream).await?)
            }
        };
        Ok(Wire { socket, got: Vec::with_capacity(PIECE), body: 0 })
    }

    /// Sends a prepared request and waits for the end of its answer; the status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.socket.write_all(request).await?;
        self.socket.flush().await?;
        self.got.clear();
        let (status, length) = loop {
            self.more().await?;
            if let Some(end) = find(&self.got, b"\r\n\r\n") {
                self.body = end + 4;
                break head(self.got.get(..end).unwrap_or_default())?;
            }
        };
        while self.got.len() < self.body + length {
            self.more().await?;
        }
        ensure!(self.got.len() == self.body + length, "more than was asked for");
        Ok(status)
    }

    /// The last answer's body.
    pub(crate) fn body(&self) -> &[u8] {
        self.got.get(self.body..).unwrap_or_default()
    }

    /// A header of the last answer; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(self.got.get(..self.body)?).into_owned();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }

    async fn more(&mut self) -> Result<()> {
        self.got.reserve(PIECE);
        ensure!(self.socket.read_buf(&mut self.got).await? > 0, "the service hung up");
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Status and length of an answer.
fn head(head: &[u8]) -> Result<(u16, usize)> {
    let text = std::str::from_utf8(head)?;
    let status = text.split(' ').nth(1).context("no status")?.parse()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // 204 has none.
    let length = length.map_or(Ok(0), |(_, length)| length.parse());
    Ok((status, length.map_err(|_| anyhow!("no length"))?))
}
