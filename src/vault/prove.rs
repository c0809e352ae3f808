//! Proofs for people who do not trust the vault: that an entry stands in the signed log (C2SP
//! tlog-proof, the ENTRY in its extra line), and that one signed log grew out of another. The
//! checkers here take pinned trust and the text alone. They never read a vault, and they never
//! believe a key that the text brings along.
//!
//! A consistency proof as text has the lines of a C2SP tlog-witness `add-checkpoint` request:
//!
//! ```text
//! "old " size LF
//! base64(hash) LF                 0 to 63 lines
//! LF
//! checkpoint                      the new signed note, verbatim
//! ```

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::crypto::merkle;
use crate::format::checkpoint::Checkpoint;
use crate::format::entry;
use crate::format::note::Note;
use crate::format::proof::{PROOF_HASHES_MAX, TlogProof, TlogProofError};
use crate::format::trust::{Signed, Trust, TrustError, Trusted};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// What a verified proof says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// The entry.
    pub entry: Entry,
    /// The log it stands in.
    pub checkpoint: Checkpoint,
    /// Who vouches for that; nobody when no trust file was given.
    pub trusted: Option<Trusted>,
}

/// Two states of one log, the newer grown out of the older.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grown {
    /// The older.
    pub old: Checkpoint,
    /// The newer.
    pub new: Checkpoint,
    /// Who vouches for the newer; nobody when no trust file was given.
    pub trusted: Option<Trusted>,
}

impl Vault {
    /// Proves that an entry stands in the log: a C2SP tlog-proof against the newest checkpoint
    /// that enough witnesses cosigned, where that reaches the entry; else against the newest one,
    /// visibly without.
    ///
    /// # Errors
    /// `NotFound` beyond the end of the log; `Evidence` when a hash of the tree is missing.
    pub fn prove(&self, index: EntryIndex) -> Result<String> {
        let size = TreeSize(index.0.saturating_add(1));
        let note = self.note_covering(size)?;
        self.prove_in(index, &note)
    }

    /// As `prove`, against the newest checkpoint of all, whoever cosigned it.
    ///
    /// # Errors
    /// As `prove`.
    pub fn prove_newest(&self, index: EntryIndex) -> Result<String> {
        let note = self.checkpoint()?;
        self.prove_in(index, &note)
    }

    fn prove_in(&self, index: EntryIndex, note: &str) -> Result<String> {
        let bytes = self.entry_bytes(index)?;
        let checkpoint = self.own(note)?;
        if index.0 >= checkpoint.size.0 {
            return Err(Error::NotFound { code: "ENTRY_UNKNOWN" });
        }
        let proof = merkle::inclusion_proof(&*self.inner.tiles, index, checkpoint.size);
        let proof = proof.ok_or_else(tiles_missing)?;
        let checkpoint = note.to_string();
        Ok(TlogProof { index, proof, checkpoint, extra: Some(bytes) }.to_string())
    }

    /// Hashes that prove that the published log begins with its first `old` entries.
    ///
    /// # Errors
    /// `NotFound` when the log is shorter; `Evidence` when a hash of the tree is missing.
    pub fn prove_consistency(&self, old: TreeSize) -> Result<Vec<Hash32>> {
        let (_, checkpoint) = self.published()?;
        self.consistency(old, &checkpoint)
    }

    /// `prove_consistency` as text, with the checkpoint it leads to.
    ///
    /// # Errors
    /// As `prove_consistency`.
    pub fn prove_growth(&self, old: TreeSize) -> Result<String> {
        let (note, checkpoint) = self.published()?;
        let proof = self.consistency(old, &checkpoint)?;
        let lines: String = proof.iter().map(|h| format!("{}\n", STANDARD.encode(h.0))).collect();
        Ok(format!("old {old}\n{lines}\n{note}"))
    }

    fn consistency(&self, old: TreeSize, new: &Checkpoint) -> Result<Vec<Hash32>> {
        if old > new.size {
            return Err(Error::NotFound { code: "ENTRY_UNKNOWN" });
        }
        merkle::consistency_proof(&*self.inner.tiles, old, new.size).ok_or_else(tiles_missing)
    }

    pub(crate) fn published(&self) -> Result<(Arc<str>, Checkpoint)> {
        let note = self.checkpoint()?;
        let checkpoint = self.own(&note)?;
        Ok((note, checkpoint))
    }

    fn own(&self, note: &str) -> Result<Checkpoint> {
        Checkpoint::open(note.as_bytes(), &self.inner.log_key)
            .map_err(|e| Error::evidence("CHECKPOINT_SIGNATURE", e.to_string()))
    }
}

pub(crate) fn tiles_missing() -> Error {
    Error::evidence("TILE_MISSING", "a hash of the tree is not stored; open the vault anew")
}

/// Checks a proof file against pinned trust, and that the entry in it says the same place and
/// the same log as the proof. Without trust signatures and quorum are left out, and nothing else.
///
/// # Errors
/// `Evidence` with the verdict: `MALFORMED`, `BAD_SIGNATURE`, `UNTRUSTED_KEY`, `KEY_RETIRED`,
/// `QUORUM_MISSING`, `PROOF_ROOT` and its like, `INDEX_OR_PREV_MISMATCH`, `TENANT_MISMATCH`.
pub fn verify_proof<'t>(text: &str, trust: impl Into<Option<&'t Trust>>) -> Result<Proved> {
    let proof = TlogProof::parse(text.as_bytes()).map_err(refused)?;
    let (Signed { checkpoint, trusted }, bytes) = proof.open(trust).map_err(refused)?;
    let entry = entry::decode(bytes)?;
    if entry.index != proof.index {
        let detail = format!("the proof leads to {}, the entry says {}", proof.index, entry.index);
        return Err(Error::evidence("INDEX_OR_PREV_MISMATCH", detail));
    }
    same_tenant(&checkpoint, &entry)?;
    Ok(Proved { entry, checkpoint, trusted })
}

/// Checks that a log's newer checkpoint extends its older one. Without trust signatures and
/// quorum of both are left out.
///
/// # Errors
/// `Evidence`: `EQUIVOCATION` for two roots of one size, `INCONSISTENT` when the hashes do not
/// lead from one to the other, `ROLLED_BACK` when the newer is shorter, and those of trust. Keep
/// both notes: they are the evidence.
pub fn verify_consistency<'t>(
    old: &[u8],
    new: &[u8],
    proof: &[Hash32],
    trust: impl Into<Option<&'t Trust>>,
) -> Result<Grown> {
    let trust = trust.into();
    let older = Signed::open(old, trust).map_err(untrusted)?.checkpoint;
    let Signed { checkpoint: newer, trusted } = Signed::open(new, trust).map_err(untrusted)?;
    comparable(&older, &newer)?;
    match merkle::verify_consistency(older.size, &older.root, newer.size, &newer.root, proof) {
        Ok(()) => Ok(Grown { old: older, new: newer, trusted }),
        Err(why) => Err(Error::evidence("INCONSISTENT", format!("{why}; keep both checkpoints"))),
    }
}

/// Whether an older and a newer checkpoint can be of one log that grew, as far as that shows
/// without the hashes between them.
///
/// # Errors
/// `Evidence`: `TENANT_MISMATCH`, `EQUIVOCATION`, `ROLLED_BACK`.
pub fn comparable(older: &Checkpoint, newer: &Checkpoint) -> Result<()> {
    if older.origin != newer.origin {
        let detail = format!("checkpoints of two logs: {} and {}", older.origin, newer.origin);
        return Err(Error::evidence("TENANT_MISMATCH", detail));
    }
    if older.contradicts(newer) {
        let detail = format!("two signed roots of the log of {} entries; keep both", older.size);
        return Err(Error::evidence("EQUIVOCATION", detail));
    }
    if newer.size < older.size {
        let detail = format!("{} entries were signed before, now {}", older.size, newer.size);
        return Err(Error::evidence("ROLLED_BACK", detail));
    }
    Ok(())
}

/// Checks `Vault::prove_growth`'s text against the checkpoint kept from before.
///
/// # Errors
/// As `verify_consistency`; `MALFORMED` for a text that is none.
pub fn verify_growth<'t>(
    old: &[u8],
    text: &str,
    trust: impl Into<Option<&'t Trust>>,
) -> Result<Grown> {
    let GrowthProof { size, proof, new } = growth_proof(text)?;
    let grown = verify_consistency(old, new.as_bytes(), &proof, trust)?;
    match grown.old.size == size {
        true => Ok(grown),
        false => Err(Error::evidence("INCONSISTENT", "the proof starts from another size")),
    }
}

/// A consistency proof taken apart; nothing of it is believed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrowthProof<'a> {
    /// Size it starts from.
    pub size: TreeSize,
    /// Hashes between the two.
    pub proof: Vec<Hash32>,
    /// Note of the newer checkpoint.
    pub new: &'a str,
}

/// Takes a consistency proof apart. The form of its note is checked, not yet its words.
///
/// # Errors
/// `Evidence` `MALFORMED`.
pub fn growth_proof(text: &str) -> Result<GrowthProof<'_>> {
    let malformed = || Error::evidence("MALFORMED", "not a consistency proof");
    let (head, new) = text.split_once("\n\n").ok_or_else(malformed)?;
    let mut lines = head.split('\n');
    let digits = lines.next().and_then(|l| l.strip_prefix("old ")).ok_or_else(malformed)?;
    let size = digits.parse().ok().filter(|size: &u64| size.to_string() == digits);
    let size = TreeSize(size.ok_or_else(malformed)?);
    let mut proof = Vec::new();
    for line in lines {
        let hash = STANDARD.decode(line).ok().and_then(|h| h.try_into().ok()).map(Hash32);
        proof.push(hash.ok_or_else(malformed)?);
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(malformed());
    }
    Note::parse(new.as_bytes()).map_err(|e| Error::evidence("MALFORMED", e.to_string()))?;
    Ok(GrowthProof { size, proof, new })
}

/// Whether the log a checkpoint names is the entry's tenant's.
fn same_tenant(checkpoint: &Checkpoint, entry: &Entry) -> Result<()> {
    let tenant = entry.head.tenant.to_string();
    let of = checkpoint.origin.rsplit_once("/t/").map(|(_, tenant)| tenant);
    match of == Some(tenant.as_str()) {
        true => Ok(()),
        false => {
            let detail = format!("entry of tenant {tenant} in the log {}", checkpoint.origin);
            Err(Error::evidence("TENANT_MISMATCH", detail))
        }
    }
}

/// The verdict of a note that is not trusted.
pub(crate) fn untrusted(error: TrustError) -> Error {
    Error::evidence(error.verdict(), error.to_string())
}

fn refused(error: TlogProofError) -> Error {
    let verdict = match &error {
        TlogProofError::Trust(error) => error.verdict(),
        TlogProofError::Inclusion(error) => error.code(),
        _ => "MALFORMED",
    };
    Error::evidence(verdict, error.to_string())
}
