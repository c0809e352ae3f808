//! How long a connection may keep somebody waiting below HTTP: until it has said which HTTP it
//! speaks, and while it does not take what it was sent. What HTTP itself bounds (the head of a
//! request, the answer to a ping, a body) is bounded where it is read. It looks at bytes only to
//! see whether they still are the beginning of HTTP/2.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What HTTP/2 begins with (RFC 9113, 3.4). As long as a connection has sent nothing else, nobody
/// above knows which clock to start.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that ends when it keeps somebody waiting.
pub struct Patient<S> {
    stream: S,
    opening: Option<Opening>,
    stalled: Option<Pin<Box<Sleep>>>,
    writing: Duration,
}

/// So far it is the preface, or nothing.
struct Opening {
    timer: Pin<Box<Sleep>>,
    matched: usize,
}

impl Opening {
    /// Whether it is known after these bytes which HTTP it is.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        let rest = PREFACE.get(self.matched..).unwrap_or_default();
        self.matched += bytes.len();
        bytes.is_empty() || !rest.starts_with(bytes) || self.matched >= PREFACE.len()
    }
}

impl<S> Patient<S> {
    /// It must have said what it speaks within `opening`, and takes what is written to it within
    /// `writing`.
    pub fn new(stream: S, opening: Duration, writing: Duration) -> Self {
        let opening = Some(Opening { timer: Box::pin(sleep(opening)), matched: 0 });
        Patient { stream, opening, stalled: None, writing }
    }

    /// An error in place of another wait, once one has been long enough.
    fn waited<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let writing = self.writing;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(writing)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut me.stream).poll_read(context, into);
        let Some(opening) = me.opening.as_mut() else { return polled };
        match polled {
            Poll::Ready(Ok(())) => {
                if opening.is_over(into.filled().get(before..).unwrap_or_default()) {
                    me.opening = None;
                }
                polled
            }
            Poll::Pending if opening.timer.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        match Pin::new(&mut me.stream).poll_write(context, bytes) {
            Poll::Pending => me.waited(context),
            // Not the end of the wait: who takes a byte now and then is waited for no longer.
            ready => ready,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        match Pin::new(&mut me.stream).poll_write_vectored(context, parts) {
            Poll::Pending => me.waited(context),
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// All that was written is gone: the wait is over.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        match Pin::new(&mut me.stream).poll_flush(context) {
            Poll::Pending => me.waited(context),
            ready => {
                me.stalled = None;
                ready
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        match Pin::new(&mut me.stream).poll_shutdown(context) {
            Poll::Pending => me.waited(context),
            ready => ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    /// What reading ends with, when the other side sent this and stays.
    fn after(sent: &'static [u8]) -> (usize, ErrorKind) {
        run(async {
            let (mut other, own) = duplex(64);
            let mut patient = Patient::new(own, SHORT, LONG);
            let mut got = [0; 64];
            let mut read = 0;
            for byte in sent {
                other.write_all(&[*byte]).await.unwrap();
                read += patient.read(&mut got).await.unwrap();
            }
            // It is waited for no longer than a minute, whoever waits.
            let waited = tokio::time::timeout(10 * SHORT, patient.read(&mut got)).await;
            let kind = waited.map_or(ErrorKind::WouldBlock, |read| read.unwrap_err().kind());
            (read, kind)
        })
    }

    #[test]
    fn who_does_not_say_what_it_speaks_is_cut() {
        assert_eq!(after(b""), (0, ErrorKind::TimedOut));
        assert_eq!(after(b"PRI * HTTP/2"), (12, ErrorKind::TimedOut));
        // From here on HTTP has clocks of its own.
        assert_eq!(after(b"G"), (1, ErrorKind::WouldBlock));
        assert_eq!(after(b"PRI * HTTP/1"), (12, ErrorKind::WouldBlock));
        assert_eq!(after(PREFACE), (24, ErrorKind::WouldBlock));
    }

    #[test]
    fn who_does_not_take_an_answer_is_cut_even_if_it_takes_a_little() {
        run(async {
            let (mut other, own) = duplex(8);
            let mut patient = Patient::new(own, LONG, SHORT);
            let sipping = tokio::spawn(async move {
                let mut byte = [0];
                while other.read(&mut byte).await.is_ok_and(|read| read > 0) {
                    sleep(SHORT / 4).await;
                }
            });
            let wrote = patient.write_all(&[7; 4096]).await;
            assert_eq!(wrote.unwrap_err().kind(), ErrorKind::TimedOut);
            drop(patient);
            sipping.await.unwrap();
        });
    }

    #[test]
    fn what_is_taken_ends_the_wait() {
        run(async {
            let (mut other, own) = duplex(8);
            let mut patient = Patient::new(own, LONG, LONG);
            let taking = tokio::spawn(async move {
                let mut all = Vec::new();
                other.read_to_end(&mut all).await.unwrap();
                all.len()
            });
            patient.write_all(&[7; 4096]).await.unwrap();
            assert!(patient.stalled.is_some(), "it had to wait");
            patient.flush().await.unwrap();
            assert!(patient.stalled.is_none());
            patient.shutdown().await.unwrap();
            drop(patient);
            assert_eq!(taking.await.unwrap(), 4096);
        });
    }
}
