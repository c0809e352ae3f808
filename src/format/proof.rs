//! Proof files: one entry's inclusion in a signed log (C2SP tlog-proof, `.tlog-proof`).
//! It never trusts what the file says about itself: `open` takes the pinned trust, and the extra
//! bytes are nothing until they hash to the leaf that the proof leads from.
//!
//! ```text
//! "c2sp.org/tlog-proof@v1" LF
//! "extra " base64 LF              optional; ours holds the ENTRY, so the file verifies alone
//! "index " index LF               decimal, no leading zero
//! base64(hash) LF                 0 to 63 lines, from the leaf's sibling to the root's child
//! LF
//! checkpoint                      a signed note, verbatim
//! ```

use crate::base::id::Hash32;
use crate::base::unit::EntryIndex;
use crate::crypto::hash::leaf_hash;
use crate::crypto::merkle::{self, ProofError};
use crate::format::checkpoint::{Checkpoint, parse_decimal, parse_hash};
use crate::format::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::format::trust::{Signed, Trust, TrustError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

const MAGIC: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes: a tree of at most 2^63 leaves is 63 levels high.
pub const PROOF_HASHES_MAX: usize = 63;
/// Most extra bytes: far above the largest entry of any tlog-tiles log, 65,535.
pub const PROOF_EXTRA_BYTES_MAX: usize = 1 << 17;

/// Why a proof file was refused, or does not prove what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlogProofError {
    /// Not UTF-8, or a first line that is not this version's.
    Magic,
    /// The extra line: not base64 in its one form, empty or too long.
    Extra,
    /// The index line.
    Index,
    /// A hash line that is none, or too many.
    Hash {
        /// Which hash line, from 1.
        number: usize,
    },
    /// What follows the empty line is no signed note.
    Checkpoint(NoteError),
    /// The checkpoint is not trusted.
    Trust(TrustError),
    /// The hashes do not lead from the leaf to the checkpoint's root.
    Inclusion(ProofError),
    /// The proof carries no entry.
    NoEntry,
}

impl fmt::Display for TlogProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlogProofError::Magic => write!(f, "line 1 is not {MAGIC}"),
            TlogProofError::Extra => f.write_str("extra line is malformed"),
            TlogProofError::Index => f.write_str("index line is malformed"),
            TlogProofError::Hash { number } => write!(f, "hash line {number} is malformed"),
            TlogProofError::Checkpoint(error) => write!(f, "checkpoint: {error}"),
            TlogProofError::Trust(error) => error.fmt(f),
            TlogProofError::Inclusion(error) => f.write_str(error.code()),
            TlogProofError::NoEntry => f.write_str("proof carries no entry"),
        }
    }
}

impl std::error::Error for TlogProofError {}

/// A proof file taken apart; nothing verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// Position of the entry.
    pub index: EntryIndex,
    /// Inclusion path, the leaf's sibling first.
    pub proof: Vec<Hash32>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
    /// Extra bytes, not authenticated; in ours the ENTRY. Never `Some` of nothing.
    pub extra: Option<Vec<u8>>,
}

impl TlogProof {
    /// Parses a proof file. `to_string` gives the same text back.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::Magic)?;
        let (first, mut rest) = text.split_once('\n').ok_or(TlogProofError::Magic)?;
        if first != MAGIC {
            return Err(TlogProofError::Magic);
        }
        let mut line = || {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            Some(line)
        };
        let mut next = line().ok_or(TlogProofError::Index)?;
        let mut extra = None;
        if let Some(base64) = next.strip_prefix("extra ") {
            extra = Some(parse_extra(base64).ok_or(TlogProofError::Extra)?);
            next = line().ok_or(TlogProofError::Index)?;
        }
        let index = next.strip_prefix("index ").and_then(parse_decimal);
        let index = EntryIndex(index.ok_or(TlogProofError::Index)?);
        let mut proof = Vec::new();
        loop {
            let bad = TlogProofError::Hash { number: proof.len() + 1 };
            match line() {
                Some("") => break,
                Some(hash) if proof.len() < PROOF_HASHES_MAX => {
                    proof.push(parse_hash(hash).ok_or(bad)?);
                }
                _ => return Err(bad),
            }
        }
        Note::parse(rest.as_bytes()).map_err(TlogProofError::Checkpoint)?;
        Ok(TlogProof { index, proof, checkpoint: rest.to_owned(), extra })
    }

    /// Checks that `leaf` stands at `index` in the tree of `checkpoint`. The caller has opened the
    /// checkpoint; this file's own copy of it is not looked at.
    pub fn verify(&self, leaf: &Hash32, checkpoint: &Checkpoint) -> Result<(), TlogProofError> {
        let Checkpoint { size, root, .. } = checkpoint;
        merkle::verify_inclusion(leaf, self.index, *size, &self.proof, root)
            .map_err(TlogProofError::Inclusion)
    }

    /// Verifies the whole file: the checkpoint's signatures and quorum, left out without trust,
    /// then the inclusion of the entry it carries. Gives the checkpoint and the entry's bytes,
    /// whose meaning (index, tenant) the caller still has to compare.
    pub fn open<'t>(
        &self,
        trust: impl Into<Option<&'t Trust>>,
    ) -> Result<(Signed, &[u8]), TlogProofError> {
        let signed = Signed::open(self.checkpoint.as_bytes(), trust.into());
        let signed = signed.map_err(TlogProofError::Trust)?;
        let entry = self.extra.as_deref().ok_or(TlogProofError::NoEntry)?;
        self.verify(&leaf_hash(entry), &signed.checkpoint)?;
        Ok((signed, entry))
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_extra(base64: &str) -> Option<Vec<u8>> {
    if base64.len() > NOTE_BYTES_MAX {
        return None;
    }
    let extra = STANDARD.decode(base64).ok()?;
    (!extra.is_empty() && extra.len() <= PROOF_EXTRA_BYTES_MAX).then_some(extra)
}
