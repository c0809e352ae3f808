//! Checkpoints: the signed size and root of a log (C2SP tlog-checkpoint v1.0.0).
//! It never writes or accepts an extension line in a checkpoint of ours: the specification
//! discourages them and post-quantum cosignatures do not cover them. `parse_foreign` reads those
//! of other logs.
//!
//! ```text
//! origin LF          the log's key name: no space, no "+"
//! size LF            decimal, no leading zero, at most 2^63 - 1
//! root LF            base64 of 32 bytes, padded; SHA-256("") for size 0
//! ```
//! No other note of ours can pass for a checkpoint: their second line is never a number.

use crate::base::id::Hash32;
use crate::base::unit::TreeSize;
use crate::crypto::merkle::EMPTY_ROOT;
use crate::format::note::{self, NoteError};
use crate::format::vkey::{Signer, Verifier, is_key_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Largest tree size: other implementations count in signed 64-bit integers.
pub const TREE_SIZE_MAX: u64 = u64::MAX >> 1;

/// Why a text is no checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckpointError {
    /// The note itself.
    Note(NoteError),
    /// Not three lines (ours), or fewer than three or an empty one (foreign).
    Lines,
    /// Line 1 is no origin.
    Origin,
    /// Line 2 is no tree size: a report or receipt, for example.
    Size,
    /// Line 3 is no root hash.
    Root,
    /// Size 0 with a root that is not SHA-256 of the empty string.
    EmptyRoot,
    /// The key that signed has another name than the origin.
    KeyName,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CheckpointError::Note(error) => return error.fmt(f),
            CheckpointError::Lines => "checkpoint is not exactly three lines",
            CheckpointError::Origin => "line 1 of the checkpoint is not an origin",
            CheckpointError::Size => "line 2 of the checkpoint is not a tree size",
            CheckpointError::Root => "line 3 of the checkpoint is not a root hash",
            CheckpointError::EmptyRoot => "empty tree with a root of its own",
            CheckpointError::KeyName => "UNTRUSTED_KEY: key name is not the origin",
        })
    }
}

impl std::error::Error for CheckpointError {}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        CheckpointError::Note(error)
    }
}

/// What a log states about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Name of the log; for ours `<vault name>/t/<tenant, 32 hex digits>`.
    pub origin: String,
    /// Number of entries.
    pub size: TreeSize,
    /// RFC 6962 root of the tree of that size.
    pub root: Hash32,
}

impl Checkpoint {
    /// Parses a note text of exactly three lines.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = body.split('\n');
        let checkpoint = Checkpoint::from_lines(&mut lines)?;
        if lines.next().is_some() {
            return Err(CheckpointError::Lines);
        }
        if !is_key_name(&checkpoint.origin) {
            return Err(CheckpointError::Origin);
        }
        Ok(checkpoint)
    }

    /// Parses a checkpoint of another log: any non-empty origin, and extension lines, which are
    /// given back unread.
    pub fn parse_foreign(text: &str) -> Result<(Self, Vec<&str>), CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = body.split('\n');
        let checkpoint = Checkpoint::from_lines(&mut lines)?;
        let extensions: Vec<&str> = lines.collect();
        if checkpoint.origin.is_empty() {
            return Err(CheckpointError::Origin);
        }
        if extensions.iter().any(|line| line.is_empty()) {
            return Err(CheckpointError::Lines);
        }
        Ok((checkpoint, extensions))
    }

    fn from_lines<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Self, CheckpointError> {
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size)
            .filter(|size| *size <= TREE_SIZE_MAX)
            .map(TreeSize)
            .ok_or(CheckpointError::Size)?;
        let root = parse_hash(root).ok_or(CheckpointError::Root)?;
        if size.0 == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// Signs it. Every signer's name must be the origin; during a key roll there are two.
    pub fn sign(&self, signers: &[&Signer]) -> Result<String, CheckpointError> {
        let text = self.to_string();
        Checkpoint::parse(&text)?;
        if signers.iter().any(|signer| signer.verifier().name() != self.origin) {
            return Err(CheckpointError::KeyName);
        }
        Ok(note::sign(&text, signers)?)
    }

    /// Opens a signed checkpoint of the log that `verifier` names. Trust with several keys,
    /// retirement and witnesses is `format/trust`.
    pub fn open(note: &[u8], verifier: &Verifier) -> Result<Self, CheckpointError> {
        let opened = note::open(note, std::slice::from_ref(verifier))?;
        let checkpoint = Checkpoint::parse(&opened.text)?;
        if checkpoint.origin != verifier.name() {
            return Err(CheckpointError::KeyName);
        }
        Ok(checkpoint)
    }

    /// Verdict `EQUIVOCATION`: same log, same size, another root. Both notes are the evidence.
    pub fn contradicts(&self, other: &Checkpoint) -> bool {
        self.origin == other.origin && self.size == other.size && self.root != other.root
    }
}

impl fmt::Display for Checkpoint {
    /// The note text: three lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }
}

/// A decimal number in its one form: digits only, no leading zero.
pub(in crate::format) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// A hash in its one form: 44 characters of padded standard base64.
pub(in crate::format) fn parse_hash(text: &str) -> Option<Hash32> {
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok().map(Hash32)
}
