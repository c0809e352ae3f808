//! The listener: HTTP/1.1 for a witness, with every bound stated: connections, bytes of a body,
//! seconds of a connection. It never judges; a request is a call of `server::witness`, made off
//! the event loop because it syncs a disk.

use crate::base::world::Clock;
use crate::format::witness::{ADD_CHECKPOINT, REQUEST_BYTES_MAX};
use crate::server::witness::{Answer, Witness};
use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::routing::{get, post};
use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at once; each may hold one body: 64 x 1.1 MiB is what strangers can make it keep.
const CONNECTIONS_MAX: usize = 64;
/// Life of a connection: whoever dribbles bytes is cut, whoever submits again connects again.
const CONNECTION_SECONDS: u64 = 30;
/// Pause after the system refused a connection, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a handler works with.
#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    shared: Shared,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Binds `listen`. `alarm` is told what an operator should know.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(
        listen: SocketAddr,
        witness: Witness,
        clock: Arc<dyn Clock>,
        alarm: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(listen))?;
        let shared = Shared { witness: Arc::new(witness), clock, alarm };
        Ok(Server { listener, shared, runtime })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` says so; what has begun is finished, at most for the life of a
    /// connection.
    ///
    /// # Errors
    /// Those of the system.
    pub fn run(self, stop: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
        let Server { listener, shared, runtime } = self;
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stopped = async move {
            while !stop() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let bounded = Bounded { listener, permits };
        let served = axum::serve(bounded, router(shared)).with_graceful_shutdown(stopped);
        runtime.block_on(async { served.await })
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route(&format!("/{ADD_CHECKPOINT}"), post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest))
        .with_state(shared)
}

async fn add_checkpoint(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let Shared { witness, clock, alarm } = shared;
    // A stated length is refused before a byte of it is read, an unstated one when it is passed.
    let stated = request.body().size_hint().lower();
    let body = match stated <= REQUEST_BYTES_MAX as u64 {
        true => to_bytes(request.into_body(), REQUEST_BYTES_MAX).await.ok(),
        false => None,
    };
    let Some(body) = body else {
        let mut response = respond(None);
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, clock.wall()));
    let answer = judged.await.ok();
    if let Some(text) = answer.as_ref().and_then(|a| a.alarm.as_deref()) {
        alarm(text);
    }
    respond(answer)
}

async fn latest(State(shared): State<Shared>, Path(origin): Path<String>) -> Response<Body> {
    respond(Some(shared.witness.latest(&origin)))
}

/// `None`: the handler panicked, which is our bug and shows nothing.
fn respond(answer: Option<Answer>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    if let Some(answer) = answer {
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = header::HeaderValue::from_static(answer.content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        let never = header::HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, never);
        *response.body_mut() = Body::from(answer.body);
    }
    response
}

/// A listener that lets in so many at once, each for so long.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        loop {
            // The semaphore is never closed; were it, nobody would be let in.
            let Ok(permit) = self.permits.clone().acquire_owned().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let end = Box::pin(sleep(Duration::from_secs(CONNECTION_SECONDS)));
                    return (Timed { stream, end, _permit: permit }, from);
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends.
struct Timed {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Timed {
    fn over(&mut self, context: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, bytes)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
