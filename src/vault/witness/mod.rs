//! Witnesses: people elsewhere who sign that the log only grew. Each checkpoint is durable here
//! before anybody outside sees it; then every configured witness is asked, and what they sign is
//! durable before it is shown. A witness that has seen more than this disk holds, or something
//! else, stops the vault: it is an old copy, or one of two.
//!
//! It never waits with an append for a witness, and never knows HTTP: `Cosigner` comes in from
//! `cli`. `ask` speaks with one witness once, `desk` is what the threads share, `round` the ticks
//! of the thread, `start` the question before anything is served.

pub(crate) mod ask;
pub(crate) mod desk;
pub(crate) mod evidence;
pub(crate) mod round;
pub(crate) mod start;

use crate::base::unit::{TreeSize, UtcNanos};
use crate::format::vkey::Verifier;
use crate::vault::Vault;
use crate::vault::anchor::Authority;
use crate::vault::error::Result;
use std::fmt;
use std::sync::Arc;

/// What a witness is said to have refused for, when it holds no key that signed: after a roll of
/// the log key somebody must tell it the new one.
pub const KEY_UNKNOWN: &str = "it does not know this log's key";

/// What a witness said to a request, as its status tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// 200 and its lines, not verified.
    Cosigned(Vec<u8>),
    /// 409: the size of the newest checkpoint it cosigned.
    Holds(TreeSize),
    /// 422: the proof does not lead from what it holds to what was sent.
    Unproven,
    /// Another status, or an answer that is none.
    Refused(String),
    /// No answer in time.
    Unreachable(String),
}

/// A way to one witness.
pub trait Cosigner: Send + Sync {
    /// Its key, of type 0x04.
    fn key(&self) -> &Verifier;
    /// Where it is asked, for messages.
    fn place(&self) -> &str;
    /// Sends an `add-checkpoint` request and waits for the answer, at most for a stated time.
    fn submit(&self, request: &str) -> Said;
}

/// What stands outside and is asked.
#[derive(Clone, Default)]
pub struct Outside {
    /// Witnesses; none: the vault says `UNWITNESSED`.
    pub witnesses: Vec<Arc<dyn Cosigner>>,
    /// How many must cosign a checkpoint for it to count as witnessed: 1 to their number.
    pub quorum: usize,
    /// Open although no witness answers; the log records it.
    pub accept_unwitnessed: bool,
    /// Who stamps the checkpoint after each day-seal.
    pub authority: Option<Arc<dyn Authority>>,
    /// Certificates (DER) that a time-stamp must lead to.
    pub pinned: Vec<Vec<u8>>,
}

/// How one witness stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Name of its key.
    pub name: String,
    /// Where it is asked.
    pub place: String,
    /// Size of the newest checkpoint it cosigned.
    pub size: TreeSize,
    /// When it did, by its own clock; 0 = never.
    pub time: UtcNanos,
    /// What went wrong the last time, if it did.
    pub trouble: Option<String>,
}

/// The newest checkpoint that witnesses vouch for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Witnessing {
    /// Witnesses configured.
    pub of: usize,
    /// How many must cosign.
    pub quorum: usize,
    /// The cosigned note, if there is one.
    pub note: Option<Arc<str>>,
    /// Its size.
    pub size: TreeSize,
    /// Who cosigned it, and when.
    pub by: Vec<(String, UtcNanos)>,
    /// Every configured witness.
    pub standing: Vec<Standing>,
    /// Why nothing may be appended any more, if so.
    pub alarm: Option<(&'static str, String)>,
    /// Why the newest day-seal has no time-stamp yet, if that failed.
    pub stamping: Option<String>,
}

impl Witnessing {
    /// Whether enough witnesses vouch for it.
    pub fn is_met(&self) -> bool {
        self.of > 0 && self.note.is_some() && self.by.len() >= self.quorum
    }

    /// Earliest time at which a witness saw it.
    pub fn time(&self) -> Option<UtcNanos> {
        self.by.iter().map(|(_, time)| *time).min()
    }
}

impl fmt::Display for Witnessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Witnessing { of, quorum, size, by, .. } = self;
        match (of, self.is_met()) {
            (0, _) => f.write_str("UNWITNESSED: no witness is configured"),
            (_, true) => write!(f, "WITNESSED {} of {of}, {size} entries", by.len()),
            (_, false) => {
                write!(f, "UNWITNESSED: {} of {of} cosigned, {quorum} are needed", by.len())
            }
        }
    }
}

impl Vault {
    /// What witnesses vouch for now.
    pub fn witnessing(&self) -> Witnessing {
        self.inner.desk.witnessing()
    }

    /// Publishes the checkpoint and asks every witness about it now, however long ago it failed.
    /// Waits until each has answered or run out of time. That none vouches is no error.
    ///
    /// # Errors
    /// Those of publishing.
    pub fn seek_witnesses(&self) -> Result<Witnessing> {
        self.checkpoint()?;
        self.inner.desk.seek();
        Ok(self.witnessing())
    }

    /// The note to hand out for what lies below `size`: the cosigned one where it reaches that
    /// far and enough witnesses signed it, else the newest, visibly without.
    ///
    /// # Errors
    /// Those of publishing.
    pub fn note_covering(&self, size: TreeSize) -> Result<Arc<str>> {
        let witnessing = self.witnessing();
        match witnessing.note.clone().filter(|_| witnessing.is_met() && witnessing.size >= size) {
            Some(note) => Ok(note),
            None => self.checkpoint(),
        }
    }
}
