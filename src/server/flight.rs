//! Requests in flight on one connection: from their head until the last byte of the answer has been
//! handed over. It tells when there was none for a while, which HTTP itself does not: a peer that
//! says nothing, or answers pings and asks nothing, would hold its connection for ever.

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as Bodily, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The count of one connection.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<watch::Sender<usize>>);

impl Flights {
    /// A request begins.
    pub(crate) fn begin(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.clone())
    }

    /// Returns when there was no request for so long.
    pub(crate) async fn none_for(&self, long: Duration) {
        let mut count = self.0.subscribe();
        // The sender is ours: waiting for it does not fail.
        while count.wait_for(|count| *count == 0).await.is_ok() {
            if timeout(long, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// One request, over when dropped.
pub(crate) struct Flight(Flights);

impl Flight {
    /// The answer, with the request's end at its own.
    pub(crate) fn until_sent(self, answer: Response) -> Response {
        answer.map(|body| Body::new(Sending { body, _flight: self }))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// A body as it is, and its request.
struct Sending {
    body: Body,
    _flight: Flight,
}

impl Bodily for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
