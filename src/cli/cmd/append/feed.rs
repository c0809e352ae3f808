//! Feeds batches: a thread cuts the stream and hands the pieces over in bunches, so that neither
//! thread wakes the other for every event. A slow stream's events are handed over one by one, as
//! they come. It never holds back what is there, and never holds more than a short queue.

use crate::cli::cmd::lines::{Piece, Pieces};
use crate::cli::error::Failure;
use anyhow::Result;
use std::io::{BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::vec::IntoIter;

/// Pieces of one bunch at most, and bytes at which it is handed over: a bunch holds less than
/// 64 KiB and one event of at most 1 MiB.
const BUNCH: usize = 64;
const BUNCH_BYTES: usize = 64 << 10;
/// Bunches read ahead: 16 x 1.06 MiB = 17 MiB at most.
const AHEAD: usize = 16;
/// A batch is closed at this many bytes although it could take more events.
const BATCH_BYTES: usize = 16 << 20;
/// How long a batch waits for company on a slow pipe.
const LINGER: Duration = Duration::from_millis(200);
/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

type Bunch = std::io::Result<Vec<Piece>>;

/// What the stream gives next.
pub(crate) enum Fed {
    /// Events; whether more may come.
    Batch(Vec<Piece>, bool),
    /// Nothing for a while.
    Nothing,
}

/// Batches of a stream.
pub(crate) struct Feed {
    bunches: Receiver<Bunch>,
    left: IntoIter<Piece>,
}

impl Feed {
    /// Starts the thread that cuts: it ends with the stream, or with the process.
    pub(crate) fn start(input: Box<dyn Read + Send>) -> Result<Self> {
        let (send, bunches) = sync_channel(AHEAD);
        let work = move || {
            let pieces = Pieces::new(BufReader::with_capacity(BUFFER_BYTES, input));
            if let Err(error) = cut(pieces, &send) {
                let _ = send.send(Err(error));
            }
        };
        let started = std::thread::Builder::new().name("reader".to_owned()).spawn(work);
        started.map_err(|e| Failure::failed("NO_THREAD", format!("{e}; nothing was appended")))?;
        Ok(Feed { bunches, left: Vec::new().into_iter() })
    }

    /// Up to `size` events.
    pub(crate) fn next(&mut self, size: usize) -> Result<Fed> {
        let (mut batch, mut bytes) = (Vec::with_capacity(size), 0);
        while batch.len() < size && bytes < BATCH_BYTES {
            if let Some(piece) = self.left.next() {
                bytes += piece.json.len();
                batch.push(piece);
                continue;
            }
            match self.bunches.recv_timeout(LINGER) {
                Ok(bunch) => self.left = bunch?.into_iter(),
                Err(RecvTimeoutError::Timeout) if batch.is_empty() => return Ok(Fed::Nothing),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Ok(Fed::Batch(batch, false)),
            }
        }
        Ok(Fed::Batch(batch, true))
    }
}

/// Cuts until the stream ends, or nobody listens. An error comes behind all that was whole.
fn cut(
    mut pieces: Pieces<BufReader<Box<dyn Read + Send>>>,
    to: &SyncSender<Bunch>,
) -> std::io::Result<()> {
    let (mut bunch, mut bytes) = (Vec::with_capacity(BUNCH), 0);
    loop {
        let piece = match pieces.next() {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => {
                let _ = to.send(Ok(bunch));
                return Err(error);
            }
        };
        bytes += piece.json.len();
        bunch.push(piece);
        if bunch.len() >= BUNCH || bytes >= BUNCH_BYTES || !pieces.has_whole_line() {
            let whole = std::mem::replace(&mut bunch, Vec::with_capacity(BUNCH));
            if to.send(Ok(whole)).is_err() {
                return Ok(());
            }
            bytes = 0;
        }
    }
    let _ = to.send(Ok(bunch));
    Ok(())
}
