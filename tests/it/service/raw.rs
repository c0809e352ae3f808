//! Bytes on a TLS connection, for what no HTTP client would send.

use crate::service::stage::{Reply, Service};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use rustls::{SignatureScheme, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::HeaderMap;
use ureq::http::header::{HeaderName, HeaderValue};

/// Whom a connection trusts.
enum Config {
    Roots(RootCertStore),
    Anybody,
}

/// Trusts whatever certificate it meets.
#[derive(Debug)]
pub(crate) struct Trusting(pub(crate) Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let all = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let all = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection.
pub(crate) struct Wire(StreamOwned<ClientConnection, TcpStream>);

/// Connects from one address of this machine.
pub(crate) fn connect(to: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

impl Wire {
    /// Connects to the administration's listener from one address of this machine: each address
    /// has failures of its own.
    pub(crate) fn from(service: &Service, from: Ipv4Addr) -> Wire {
        let mut roots = RootCertStore::empty();
        for root in &service.roots {
            roots.add(CertificateDer::from(root.clone())).unwrap();
        }
        Wire::under(service, from, Config::Roots(roots))
    }

    /// Connects to whoever is there, whatever its certificate.
    pub(crate) fn to_anybody(service: &Service) -> Wire {
        Wire::under(service, Ipv4Addr::LOCALHOST, Config::Anybody)
    }

    fn under(service: &Service, from: Ipv4Addr, trust: Config) -> Wire {
        let stream = connect(service.admin, from);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match trust {
            Config::Roots(roots) => builder.with_root_certificates(roots),
            Config::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting(provider)))
            }
        }
        .with_no_client_auth();
        let name = ServerName::from(service.admin.ip());
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Wire(StreamOwned::new(tls, stream))
    }

    pub(crate) fn new(service: &Service) -> Wire {
        Wire::from(service, Ipv4Addr::LOCALHOST)
    }

    /// Sends bytes. Whoever has refused them already reads no more; the answer is there to be read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if let Err(e) = self.0.write_all(bytes).and_then(|()| self.0.flush()) {
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(closed.contains(&e.kind()), "{e}");
        }
    }

    /// Sends bytes; whether the other side still takes them.
    pub(crate) fn takes(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).is_ok()
    }

    /// The first piece of what comes.
    pub(crate) fn first(&mut self) -> Vec<u8> {
        let mut piece = [0; 4096];
        let read = self.0.read(&mut piece).unwrap();
        piece[..read].to_vec()
    }

    /// The certificate that the service showed.
    pub(crate) fn server_certificate(&mut self) -> Vec<u8> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock).unwrap();
        }
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// What comes next.
    pub(crate) fn some(&mut self) -> String {
        let mut piece = [0; 4096];
        let read = self.0.read(&mut piece).unwrap();
        String::from_utf8_lossy(&piece[..read]).into_owned()
    }

    /// Everything until the other side closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&piece[..read]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Closed without a farewell, or reset with our bytes unread: closed all the same.
                Err(e) => {
                    let closed = [
                        ErrorKind::UnexpectedEof,
                        ErrorKind::ConnectionReset,
                        ErrorKind::ConnectionAborted,
                        ErrorKind::BrokenPipe,
                    ];
                    assert!(closed.contains(&e.kind()), "it must close: {e}");
                    return all;
                }
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
        self.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Closes the connection at once.
    pub(crate) fn leave(self) {
        let _ = self.0.sock.shutdown(std::net::Shutdown::Both);
    }
}

/// The answers in what came: each status with its headers and body.
pub(crate) fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length: usize = reply.header("content-length").parse().unwrap_or(0);
        reply.body = bytes[end..end + length].to_vec();
        bytes = &bytes[end + length..];
        replies.push(reply);
    }
    replies
}

/// Sends bytes and reads until the close.
pub(crate) fn exchange(service: &Service, bytes: &str) -> Vec<Reply> {
    let mut wire = Wire::new(service);
    wire.write(bytes.as_bytes());
    replies(&wire.rest())
}
