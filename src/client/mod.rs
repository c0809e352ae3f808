//! The client: a durable spooling emitter. An event that `emit` took is on this machine's disk,
//! synced, before `emit` returns; it leaves the spool only behind a receipt of the vault, or a
//! refusal that names it. Between the two it is sent as often as it takes, in order, with the same
//! id. `clients/SPOOL.md` says what lies in the spool, `docs/clients.md` what is promised; the
//! Python package in `clients/python` does the same on the same files.
//!
//! | file | is |
//! |---|---|
//! | `frame` | one event in the spool |
//! | `cursor` | how far the spool is settled |
//! | `spool` | opening: lock, source, recovery |
//! | `tail` | where events are written |
//! | `outbox` | where they are read, and settled |
//! | `event` | what may be emitted, and its id |
//! | `answer` | what the vault said |
//! | `sender` | one batch at a time |
//! | `emitter` | the face: `emit`, `flush`, `stats` |
//!
//! It never drops an event in silence, never logs one, and knows no network: how a batch reaches
//! the vault is a `Receiver`, which `forward::events` implements.

pub mod answer;
pub mod cursor;
pub mod emitter;
pub mod event;
pub mod frame;
pub mod outbox;
pub mod sender;
pub mod spool;
pub mod tail;

use crate::base::refusal::Refusal;
use crate::base::world::{Clock, Entropy};
use crate::store::disk::Disk;
use crate::store::error::{Error as StoreError, ErrorKind};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Events of one request: a batch of 500 costs the vault one sync.
pub const BATCH_EVENTS: usize = 500;
/// Bytes of one request: a quarter of what the vault takes.
pub const BATCH_BYTES: usize = 4 << 20;
/// Most bytes of one request that may be asked for: the vault's own cap.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes that may wait in a spool: 1 GiB are about two million events of 500 bytes.
pub const SPOOL_BYTES: u64 = 1 << 30;
/// A file of the spool is closed once it is longer.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// What an emitter is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the source at the vault.
    pub source: String,
    /// Directory of the spool; one process at a time.
    pub dir: PathBuf,
    /// Bytes of events that may wait.
    pub spool_bytes: u64,
    /// Length at which a file of the spool is closed.
    pub segment_bytes: u64,
    /// Events of one request at most.
    pub batch_events: usize,
    /// Bytes of one request at most.
    pub batch_bytes: usize,
}

impl Config {
    /// The usual limits.
    pub fn new(source: &str, dir: impl Into<PathBuf>) -> Self {
        Config {
            source: source.to_owned(),
            dir: dir.into(),
            spool_bytes: SPOOL_BYTES,
            segment_bytes: SEGMENT_BYTES,
            batch_events: BATCH_EVENTS,
            batch_bytes: BATCH_BYTES,
        }
    }
}

/// Disk, clock and randomness of an emitter.
#[derive(Clone)]
pub struct Surroundings {
    /// Where the spool lies.
    pub disk: Arc<dyn Disk>,
    /// For the time in ids.
    pub clock: Arc<dyn Clock>,
    /// For ids, and for how long to wait.
    pub entropy: Arc<dyn Entropy>,
}

/// One answer to one request, whatever its status.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Seconds of `Retry-After`, if the answer has any.
    pub retry_after: Option<u64>,
    /// Body.
    pub body: Vec<u8>,
}

/// A way to the vault.
pub trait Receiver: Send + Sync {
    /// Sends events, one a line, and returns what was answered. It never retries.
    ///
    /// # Errors
    /// A clause that says why no answer came.
    fn post(&self, ndjson: &[u8]) -> std::result::Result<Reply, String>;
}

/// Why an emitter did not take an event, or was not opened.
#[derive(Debug)]
pub enum Error {
    /// The event cannot be sent as it is.
    Invalid(Refusal),
    /// As many bytes wait as may.
    Full {
        /// The limit.
        limit: u64,
    },
    /// The spool belongs to another source.
    OtherSource {
        /// Whose it is.
        found: String,
    },
    /// A write or sync failed earlier: nothing more is taken until the spool is opened anew.
    Failed,
    /// The disk refuses.
    Store(StoreError),
}

/// Result of an emitter's operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid(refusal) => refusal.code,
            Error::Full { .. } => "SPOOL_FULL",
            Error::OtherSource { .. } => "SPOOL_SOURCE",
            Error::Failed => "SPOOL_FAILED",
            Error::Store(error) => match error.kind {
                ErrorKind::Full => "SPOOL_FULL",
                ErrorKind::Locked => "SPOOL_LOCKED",
                ErrorKind::TooNew => "SPOOL_TOO_NEW",
                _ => "SPOOL_FAILED",
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(refusal) => refusal.fmt(f),
            Error::Full { limit } => {
                write!(f, "{}: {limit} bytes wait already; the event was not taken", self.code())
            }
            Error::OtherSource { found } => {
                let code = self.code();
                write!(f, "{code}: this spool holds events of source {found}; name its own source")
            }
            Error::Failed => {
                write!(f, "{}: a write failed before; open the spool again", self.code())
            }
            Error::Store(error) if error.kind == ErrorKind::Locked => {
                let path = error.path.display();
                write!(f, "{}: {path}: another process has this spool open", self.code())
            }
            Error::Store(error) => write!(f, "{}: {error}", self.code()),
        }
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::Store(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Invalid(refusal)
    }
}
