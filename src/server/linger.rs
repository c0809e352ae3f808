//! The end of a connection whose peer is still sending: an answer that came before the whole
//! request was read, a refusal most often, is followed by the end of our half, and what the peer
//! still sends is thrown away for a while. Closing at once would reset the connection under the
//! peer's hands, and the answer would be lost. It never reads more than a bound, nor longer than
//! one.

use axum::body::{Body, Bytes};
use hyper::body::{Body as Bodily, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a peer is heard out.
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes that are thrown away at most.
const BYTES_MAX: usize = 256 * 1024;
/// Bytes thrown away at a time.
const PIECE: usize = 4096;

/// Whether a request of this connection was left unread.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body, which says when it is dropped before its end.
    pub(crate) fn watch(&self, body: Incoming) -> Body {
        match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Watched { body, ended: false, unread: self.clone() }),
        }
    }
}

struct Watched {
    body: Incoming,
    ended: bool,
    unread: Unread,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Bodily for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that hears its peer out where a request was left unread.
pub(crate) struct Lingering<S> {
    stream: S,
    unread: Unread,
    thrown: usize,
    /// Set once our half has ended.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S, unread: Unread) -> Self {
        Lingering { stream, unread, thrown: 0, until: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let until = match &mut this.until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                if !this.unread.0.load(Ordering::Relaxed) {
                    return Poll::Ready(Ok(()));
                }
                this.until.insert(Box::pin(sleep(LONGEST)))
            }
        };
        let mut piece = [0; PIECE];
        while this.thrown < BYTES_MAX && until.as_mut().poll(context).is_pending() {
            let mut thrown = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut thrown)) {
                Ok(()) if !thrown.filled().is_empty() => this.thrown += thrown.filled().len(),
                // The peer has ended too, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
