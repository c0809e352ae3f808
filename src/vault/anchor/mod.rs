//! Anchors: what people outside signed about checkpoints, kept for the times it states, and named
//! in the log. A time-stamp or a cosignature of a checkpoint says that every entry below its size
//! existed by then; the entry that names its hash says that every later entry was written after
//! it. Both bounds rest on the clock of whoever signed, never on the vault's.
//!
//! ```text
//! anchors/<size, 20 digits>.tsq     the question to a time-stamp authority
//! anchors/<size, 20 digits>.tsr     its answer, verified before it is kept
//! anchors/<size, 20 digits>.note    a checkpoint with the cosignatures of enough witnesses
//! ```
//! Order: question durable, asked, answer verified, durable, then the entry. It never asks twice
//! for one size once there is an answer, and never knows HTTP.

mod bounds;
mod duty;

pub use bounds::{Bound, Bounds};
pub(crate) use duty::Duty;

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::id::Hash32;
use crate::base::unit::{TreeSize, UtcNanos};
use crate::base::world::random;
use crate::crypto::hash::sha256;
use crate::crypto::merkle::root_at;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{self, Sight};
use crate::format::timestamp::{self, Query, Stamp, StampError};
use crate::store::disk::Disk;
use crate::store::tiles::Tiles;
use crate::vault::clerk::Clerk;
use crate::vault::config::Places;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::witness::Outside;
use crate::vault::{Vault, vault_code};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

/// A way to one time-stamp authority.
pub trait Authority: Send + Sync {
    /// Where it is asked, for messages.
    fn place(&self) -> &str;
    /// Sends a query and waits for the answer, at most for a stated time.
    ///
    /// # Errors
    /// Why there is none.
    fn stamp(&self, query: &[u8]) -> std::result::Result<Vec<u8>, String>;
}

/// A kept file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Kept {
    pub(crate) size: TreeSize,
    pub(crate) sight: Sight,
}

/// The files, and what it takes to add to them.
pub(crate) struct Anchors {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    tiles: Arc<Tiles>,
    origin: Arc<str>,
    clerk: Clerk,
    facts: Arc<RwLock<Facts>>,
    outside: Outside,
}

impl Anchors {
    pub(crate) fn new(
        (disk, places): (Arc<dyn Disk>, &Places),
        tiles: Arc<Tiles>,
        origin: Arc<str>,
        clerk: Clerk,
        facts: Arc<RwLock<Facts>>,
        outside: Outside,
    ) -> Anchors {
        Anchors { disk, dir: places.anchors(), tiles, origin, clerk, facts, outside }
    }

    fn path(&self, size: TreeSize, ending: &str) -> PathBuf {
        self.dir.join(format!("{:020}.{ending}", size.0))
    }

    /// What is kept, ascending by size.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>> {
        kept(&*self.disk, &self.dir)
    }

    pub(crate) fn read(&self, kept: &Kept) -> Result<Vec<u8>> {
        Ok(self.disk.read(&self.path(kept.size, ending(kept.sight)))?)
    }

    /// The checkpoint of a size, from the tree.
    fn checkpoint(&self, size: TreeSize) -> Result<Checkpoint> {
        let missing = || Error::evidence("TILE_MISSING", "a hash of the tree is not stored");
        let root = root_at(&*self.tiles, size).ok_or_else(missing)?;
        Ok(Checkpoint { origin: self.origin.to_string(), size, root })
    }

    /// A question about a checkpoint, durable before anybody is asked. The same size gives the
    /// same question, so that an answer that comes late still fits.
    fn query(&self, size: TreeSize) -> Result<Vec<u8>> {
        if self.disk.exists(&self.path(size, "tsr"))? {
            let fix = "this checkpoint is stamped already; append something first".to_owned();
            return Err(Error::Conflict { code: "TIMESTAMP_EXISTS", first: None, fix });
        }
        let path = self.path(size, "tsq");
        if self.disk.exists(&path)? {
            return Ok(self.disk.read(&path)?);
        }
        let query = Query::of(&self.checkpoint(size)?, random(&*self.clerk.entropy)).encode();
        self.disk.create_dir(&self.dir)?;
        self.disk.replace(&path, &query)?;
        Ok(query)
    }

    /// Checks an answer against the question it answers and the pinned certificates, keeps it, and
    /// names it in the log.
    fn take(&self, response: &[u8]) -> Result<(TreeSize, Stamp)> {
        let claimed = timestamp::claimed(response).map_err(refused)?;
        let (size, query) = self.question(&claimed)?;
        let checkpoint = self.checkpoint(size)?;
        let imprint = timestamp::imprint_of(&checkpoint);
        if query.imprint != imprint {
            let detail = format!("the question about {size} entries is not about this log");
            return Err(Error::evidence("TIMESTAMP_IMPRINT", detail));
        }
        let pinned = &self.outside.pinned;
        let stamp = timestamp::open(response, &imprint, Some(&query.nonce), pinned);
        let stamp = stamp.map_err(refused)?;
        let path = self.path(size, "tsr");
        if !self.disk.exists(&path)? {
            self.disk.replace(&path, response)?;
            self.name(Sight::Timestamp, size, &sha256(&[response]), stamp.time)?;
        }
        Ok((size, stamp))
    }

    /// The open question that a stamp answers.
    fn question(&self, stamp: &Stamp) -> Result<(TreeSize, Query)> {
        let mut other = None;
        for listed in self.disk.list(&self.dir)?.iter().rev() {
            let Some(size) = size_of(&listed.name, "tsq") else { continue };
            let bytes = self.disk.read(&self.path(size, "tsq"))?;
            let Some(query) = Query::parse(&bytes) else { continue };
            match (query.imprint == stamp.imprint, stamp.nonce.as_deref() == Some(&query.nonce)) {
                (true, true) => return Ok((size, query)),
                (true, false) => other = Some(StampError::Nonce),
                _ => {}
            }
        }
        Err(refused(other.unwrap_or(StampError::Imprint)))
    }

    /// Asks the configured authority about a checkpoint.
    fn ask(&self, size: TreeSize) -> Result<(TreeSize, Stamp)> {
        let Some(authority) = &self.outside.authority else {
            let fix = "no time-stamp authority is configured: set timestamp.url, or carry the \
                       query of --request to one and its answer back with --response";
            return Err(Error::denied("TIMESTAMP_NO_AUTHORITY", fix));
        };
        let query = self.query(size)?;
        let answer = authority.stamp(&query).map_err(|why| {
            let fix = format!("{}: {why}; nothing was kept; try again", authority.place());
            Error::denied("TIMESTAMP_AWAY", fix)
        })?;
        self.take(&answer)
    }

    /// Keeps a note that enough witnesses cosigned, and names it in the log.
    fn keep(&self, note: &str, size: TreeSize, time: UtcNanos) -> Result<()> {
        let path = self.path(size, "note");
        if self.disk.exists(&path)? {
            return Ok(());
        }
        self.disk.create_dir(&self.dir)?;
        self.disk.replace(&path, note.as_bytes())?;
        self.name(Sight::Cosigned, size, &sha256(&[note.as_bytes()]), time)
    }

    fn name(&self, sight: Sight, size: TreeSize, hash: &Hash32, time: UtcNanos) -> Result<()> {
        let anchor = control::Config::Anchor { sight, size, hash: *hash, time };
        let clear = control::encode(&anchor)?;
        self.clerk.record(Kind::Config, vault_code(Verb::Verify), clear).map(|_| ())
    }
}

/// What is kept in a directory, ascending by size.
pub(crate) fn kept(disk: &dyn Disk, dir: &std::path::Path) -> Result<Vec<Kept>> {
    let mut found = Vec::new();
    for listed in disk.list(dir)? {
        for sight in [Sight::Cosigned, Sight::Timestamp] {
            if let Some(size) = size_of(&listed.name, ending(sight)) {
                found.push(Kept { size, sight });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Ending of a file's name.
pub(crate) fn ending(sight: Sight) -> &'static str {
    match sight {
        Sight::Cosigned => "note",
        Sight::Timestamp => "tsr",
    }
}

fn size_of(name: &str, ending: &str) -> Option<TreeSize> {
    let digits = name.strip_suffix(ending)?.strip_suffix('.')?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(TreeSize)
}

fn refused(error: StampError) -> Error {
    Error::evidence(error.verdict(), error.to_string())
}

impl Vault {
    /// Publishes the checkpoint and writes a question about it for a time-stamp authority.
    ///
    /// # Errors
    /// `TIMESTAMP_EXISTS`, and those of publishing and the disk.
    pub fn timestamp_query(&self) -> Result<(TreeSize, Vec<u8>)> {
        let size = self.published_size()?;
        Ok((size, self.inner.anchors.query(size)?))
    }

    /// Takes an authority's answer to an earlier question: verified, kept, named in the log.
    ///
    /// # Errors
    /// `Evidence` with a `TIMESTAMP_...` verdict; nothing is kept then.
    pub fn timestamp_take(&self, response: &[u8]) -> Result<(TreeSize, Stamp)> {
        self.may_append()?;
        self.inner.anchors.take(response)
    }

    /// Publishes the checkpoint and has the configured authority stamp it.
    ///
    /// # Errors
    /// As `timestamp_query` and `timestamp_take`; `TIMESTAMP_AWAY` without an answer.
    pub fn timestamp(&self) -> Result<(TreeSize, Stamp)> {
        self.may_append()?;
        self.inner.anchors.ask(self.published_size()?)
    }

    fn published_size(&self) -> Result<TreeSize> {
        let note = self.checkpoint()?;
        let checkpoint = crate::vault::witness::round::checkpoint_of(&note);
        checkpoint.map(|c| c.size).ok_or_else(|| Error::denied("LOG_EMPTY", "nothing to stamp yet"))
    }

    fn may_append(&self) -> Result<()> {
        match self.inner.read_only {
            Some(code) => Err(Error::denied(code, "this vault is open for reading only")),
            None => Ok(()),
        }
    }
}
