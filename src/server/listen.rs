//! The listener: TLS or, on loopback and where asked for, plain HTTP; HTTP/1.1 and HTTP/2 on one
//! port; every bound stated: connections in all and from one address, seconds of a handshake, of
//! a request's head, of a shutdown. It never reads a request: that is the router's.

use crate::server::certificate::Certificate;
use crate::server::flight::Flights;
use crate::server::linger::{Lingering, Unread};
use crate::server::tls::Settings;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Pause after the system refused a connection, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Seconds a TLS handshake may take.
const HANDSHAKE_SECONDS: u64 = 10;
/// Seconds without a request after which a connection is ended, in whichever version of HTTP, also
/// before it said which: whoever idles connects again. The head of a request must have come in the
/// same time, so whoever dribbles is cut.
const IDLE_SECONDS: u64 = 30;
/// Seconds that the other side has to say farewell to a connection that is being ended.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of a request's head in HTTP/1.1, and of a header list in HTTP/2.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// What bounds a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address, an IPv6 /64 counting as one.
    pub per_address: usize,
    /// How long a connection may be without a request, and a request's head may take.
    pub idle: Duration,
    /// How long requests may go on once the service is asked to stop.
    pub drain: Duration,
}

impl Default for Bounds {
    /// 2,048 connections hold at most 2,048 x (32 KiB of head + 64 KiB of buffers) = 192 MiB;
    /// bodies have a budget of their own. An eighth may come from one address.
    fn default() -> Self {
        let (idle, drain) = (Duration::from_secs(IDLE_SECONDS), Duration::from_secs(10));
        Bounds { connections: 2_048, per_address: 256, idle, drain }
    }
}

/// What a handler may know of the other side.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The certificate it showed, if any.
    pub certificate: Option<Arc<Certificate>>,
}

/// TLS settings that can be replaced while the listener runs.
#[derive(Clone)]
pub struct Tls {
    settings: Arc<RwLock<Arc<Settings>>>,
}

impl Tls {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        Tls { settings: Arc::new(RwLock::new(Arc::new(settings))) }
    }

    /// Uses other settings from the next connection on.
    pub fn replace(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether an address is a proxy's, behind which many are.
pub type Trusted = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A bound socket with what it serves.
pub struct Listening {
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    bounds: Bounds,
    trusted: Trusted,
}

impl Listening {
    /// Binds an address; without `tls` it speaks plain HTTP, which the configuration allows on
    /// loopback only.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        router: Router,
        bounds: Bounds,
    ) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        Ok(Listening { listener, tls, router, bounds, trusted: Arc::new(|_| false) })
    }

    /// Lets these addresses have as many connections as there are.
    #[must_use]
    pub fn trusting(self, trusted: Trusted) -> Listening {
        Listening { trusted, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true; then no connection is taken, and requests that have begun
    /// get `drain` to end.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Listening { listener, tls, router, bounds, trusted } = self;
        let permits = Arc::new(Semaphore::new(bounds.connections));
        let crowd = Crowd::new(bounds.per_address);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &permits) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some((stream, address, permit)) = accepted else { continue };
            let place = match trusted(address.ip().to_canonical()) {
                true => None,
                false => {
                    let place = crowd.enter(address.ip());
                    // One too many from there: closed at once, so that others find a place.
                    let Some(place) = place else { continue };
                    Some(place)
                }
            };
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                tls: tls.as_ref().map(Tls::settings),
                router: router.clone(),
                stop: stop.clone(),
                idle: bounds.idle,
                address,
                _held: (permit, place),
            };
            tokio::spawn(connection.serve(stream));
        }
        drop(listener);
        // All are back when the last connection has ended.
        let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
        let _ = timeout(bounds.drain, permits.acquire_many(all)).await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed; were it, nobody would be let in.
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, permit)),
        Err(_) => {
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

struct Connection {
    tls: Option<Arc<Settings>>,
    router: Router,
    stop: watch::Receiver<bool>,
    idle: Duration,
    address: SocketAddr,
    _held: (OwnedSemaphorePermit, Option<Place>),
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        let address = self.address;
        match &self.tls {
            None => self.speak(stream, Peer { address, certificate: None }).await,
            Some(settings) => {
                let acceptor = TlsAcceptor::from(settings.config.clone());
                let most = Duration::from_secs(HANDSHAKE_SECONDS).min(self.idle);
                let shaken = timeout(most, acceptor.accept(stream));
                let shaken = tokio::select! {
                    shaken = shaken => shaken,
                    _ = self.stop.wait_for(|stop| *stop) => return,
                };
                // Noise and strangers: nothing of it is worth a line.
                let Ok(Ok(stream)) = shaken else { return };
                let chain = stream.get_ref().1.peer_certificates();
                let certificate = chain.and_then(|chain| settings.shown(chain)).map(Arc::new);
                self.speak(stream, Peer { address, certificate }).await;
            }
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Connection { router, mut stop, idle, _held, .. } = self;
        let (flights, unread) = (Flights::default(), Unread::default());
        let stream = Lingering::new(stream, unread.clone());
        let counted = flights.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let (flight, answer) = (counted.begin(), router.clone());
            let answer = answer.oneshot(request.map(|body| unread.watch(body)));
            async move { Ok::<_, Infallible>(flight.until_sent(answer.await?)) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(idle)
            .keep_alive_timeout(Duration::from_secs(HANDSHAKE_SECONDS))
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stop.wait_for(|stop| *stop) => {}
            () = flights.none_for(idle) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection.as_mut() => {}
            () = flights.none_for(FAREWELL) => {}
        }
    }
}

/// Who is connected from where; one entry a connected address, so it is as bounded as they are.
#[derive(Clone)]
struct Crowd {
    most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place in the crowd, given back when dropped.
struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    fn new(most: usize) -> Self {
        Crowd { most, counts: Arc::default() }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, mapped ones too, or an IPv6 /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gives_them_back() {
        let crowd = Crowd::new(2);
        let here: IpAddr = "2001:db8::1".parse().unwrap();
        let next: IpAddr = "2001:db8::2".parse().unwrap();
        let first = crowd.enter(here);
        let second = crowd.enter(next);
        assert!(first.is_some() && second.is_some(), "one /64, two places");
        assert!(crowd.enter(here).is_none());
        assert!(crowd.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(first);
        assert!(crowd.enter(here).is_some());
        drop(second);
        assert!(crowd.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn mapped_addresses_are_what_they_map() {
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(network(mapped), "192.0.2.7".parse::<IpAddr>().unwrap());
    }
}
