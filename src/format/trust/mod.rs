//! Trust: which keys a verifier believes, pinned from outside (C2SP tlog-policy, plus three lines).
//! It never takes a key from the material it judges; without this file nothing is verified, only
//! found consistent with itself.
//!
//! ```text
//! log <vkey> [url]                      tlog-policy; the key name is the origin
//! witness <name> <vkey> [url]           tlog-policy; type 0x04
//! group <name> <k|any|all> <name>...    tlog-policy; members defined above, each in one group
//! quorum <name|none>                    tlog-policy; exactly once
//! report <vkey>                         ours: a key that signs reports and receipts
//! until <id> <size>                     ours: the log key with this id (8 hex digits, defined
//!                                       above) signs no checkpoint larger than `size`
//! tsa <name> <base64 of DER>            ours: a certificate that time-stamps must lead to
//! ```
//! Lines end with LF, words are separated by spaces and tabs, `#` starts a comment line. Stricter
//! than tlog-policy: UTF-8 only, the last line ends with LF (a cut file must not pass), one public
//! key has one role. `policy_text` prints the standard lines alone, for other tools.

use crate::base::unit::{TreeSize, UtcNanos};
use crate::format::checkpoint::{Checkpoint, CheckpointError};
use crate::format::note::{self, Note, NoteError, Opened};
use crate::format::roll::{KeyRoll, RollError};
use crate::format::vkey::Verifier;
use std::collections::BTreeSet;
use std::fmt;

mod file;

pub use file::{TRUST_BYTES_MAX, TRUST_ITEMS_MAX, TrustFault, TrustFileError};

/// Why a signed note is not trusted. `verdict` is the stable name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustError {
    /// Not a note, or not the kind of text asked for.
    Malformed(CheckpointError),
    /// A pinned key's signature fails.
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// No pinned key of the right role and name signed it.
    UntrustedKey,
    /// Only keys signed it that had retired at a smaller size.
    KeyRetired {
        /// The largest size that the latest of them may sign.
        until: TreeSize,
    },
    /// Too few witnesses cosigned it.
    QuorumMissing {
        /// Witnesses that did.
        found: usize,
    },
}

impl TrustError {
    /// The verdict's stable name.
    pub fn verdict(&self) -> &'static str {
        match self {
            TrustError::Malformed(_) => "MALFORMED",
            TrustError::BadSignature { .. } => "BAD_SIGNATURE",
            TrustError::UntrustedKey => "UNTRUSTED_KEY",
            TrustError::KeyRetired { .. } => "KEY_RETIRED",
            TrustError::QuorumMissing { .. } => "QUORUM_MISSING",
        }
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict())?;
        match self {
            TrustError::Malformed(error) => write!(f, ": {error}"),
            TrustError::BadSignature { name } => write!(f, " of {name}"),
            TrustError::UntrustedKey => f.write_str(": no pinned key of this role signed"),
            TrustError::KeyRetired { until } => write!(f, ": key signs up to size {until}"),
            TrustError::QuorumMissing { found } => write!(f, ": {found} witnesses signed"),
        }
    }
}

impl std::error::Error for TrustError {}

impl From<NoteError> for TrustError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::BadSignature { name } => TrustError::BadSignature { name },
            NoteError::UntrustedKey => TrustError::UntrustedKey,
            other => TrustError::Malformed(CheckpointError::Note(other)),
        }
    }
}

/// A checkpoint, and who vouches for it: nobody when no trust file was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// What the note says.
    pub checkpoint: Checkpoint,
    /// Who signed and cosigned, of those the trust file pins.
    pub trusted: Option<Trusted>,
}

impl Signed {
    /// Opens a note with pinned trust. Without, signatures and quorum are left out, and the words
    /// are checked all the same.
    ///
    /// # Errors
    /// As `Trust::open_checkpoint`; without trust `Malformed` alone.
    pub fn open(note: &[u8], trust: Option<&Trust>) -> Result<Self, TrustError> {
        if let Some(trust) = trust {
            let trusted = trust.open_checkpoint(note)?;
            let checkpoint = trusted.checkpoint.clone();
            return Ok(Signed { checkpoint, trusted: Some(trusted) });
        }
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(TrustError::Malformed)?;
        Ok(Signed { checkpoint, trusted: None })
    }
}

/// A pinned log key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey {
    /// The key; its name is the origin.
    pub verifier: Verifier,
    /// Where the log is served, if stated.
    pub url: Option<String>,
    /// Largest tree size it may sign, if it has retired.
    pub until: Option<TreeSize>,
}

/// A pinned witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Name within the trust file only.
    pub name: String,
    /// The key.
    pub verifier: Verifier,
    /// Where it is asked to cosign, if stated.
    pub url: Option<String>,
}

/// A pinned certificate of a time-stamp authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    /// Name within the trust file only.
    pub name: String,
    /// DER of a certificate under which its own stands.
    pub certificate: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    name: String,
    /// The word as written: `any`, `all` or a number.
    threshold_text: String,
    threshold: usize,
    members: Vec<String>,
}

/// A parsed trust file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    logs: Vec<LogKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// `None` for `quorum none`.
    quorum: Option<String>,
    reports: Vec<Verifier>,
    authorities: Vec<Authority>,
}

/// A witness's statement about a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witnessed {
    /// Name of the witness in the trust file.
    pub name: String,
    /// When it says it saw this checkpoint as the largest of the log. No clock is consulted: the
    /// caller judges times.
    pub time: UtcNanos,
}

/// A checkpoint that the trust file vouches for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trusted {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// A log key that signed it and had not retired.
    pub key: Verifier,
    /// Pinned witnesses that cosigned, in the order of the trust file.
    pub witnesses: Vec<Witnessed>,
}

impl Trust {
    /// Trust in these keys, no witnesses (`quorum none`).
    pub fn of(logs: &[Verifier], reports: &[Verifier]) -> Result<Self, TrustFileError> {
        let mut text = String::new();
        for log in logs {
            text.push_str(&format!("log {log}\n"));
        }
        for report in reports {
            text.push_str(&format!("report {report}\n"));
        }
        Trust::parse(&format!("{text}quorum none\n"))
    }

    /// Pinned log keys, in the order of the file.
    pub fn logs(&self) -> &[LogKey] {
        &self.logs
    }

    /// Pinned witnesses, in the order of the file.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Pinned report keys, in the order of the file.
    pub fn reports(&self) -> &[Verifier] {
        &self.reports
    }

    /// Pinned certificates of time-stamp authorities, in the order of the file.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// True if a checkpoint needs no witness.
    pub fn is_unwitnessed(&self) -> bool {
        self.quorum.is_none()
    }

    /// Opens a signed checkpoint: grammar, every pinned key's signature, a log key that is named
    /// as the origin and has not retired at this size, and the quorum of witnesses.
    pub fn open_checkpoint(&self, note: &[u8]) -> Result<Trusted, TrustError> {
        let trusted = self.open_signed(note)?;
        match self.quorum_met(&trusted.witnesses) {
            true => Ok(trusted),
            false => Err(TrustError::QuorumMissing { found: trusted.witnesses.len() }),
        }
    }

    /// As `open_checkpoint`, without asking for witnesses: a checkpoint that the log alone vouches
    /// for. Whoever calls this must say so, and have a witnessed one beside it.
    pub fn open_signed(&self, note: &[u8]) -> Result<Trusted, TrustError> {
        let logs = self.logs.iter().map(|log| &log.verifier);
        let known: Vec<Verifier> =
            logs.chain(self.witnesses.iter().map(|w| &w.verifier)).cloned().collect();
        let opened = note::open(note, &known)?;
        let checkpoint = Checkpoint::parse(&opened.text).map_err(TrustError::Malformed)?;
        let key = self.signing_log(&opened, &checkpoint)?;
        let witnesses = self.cosigners(&opened);
        Ok(Trusted { checkpoint, key, witnesses })
    }

    /// Opens a report or a receipt: signed by a pinned report key, and no checkpoint. Gives the
    /// text and who signed.
    pub fn open_report(&self, note: &[u8]) -> Result<Opened, TrustError> {
        let opened = note::open(note, &self.reports)?;
        if Checkpoint::parse_foreign(&opened.text).is_ok() {
            return Err(TrustError::Malformed(CheckpointError::Size));
        }
        Ok(opened)
    }

    /// Follows a key roll: if its old key is pinned and has not retired, and both keys signed, the
    /// old one retires at the stated size and the new one is pinned. Following it again changes
    /// nothing. Rolls are followed in order; that a roll stands in the log, at an index its `until`
    /// allows, is for the caller to check: a thief of the current key can sign one too.
    pub fn roll(&mut self, note: &[u8]) -> Result<KeyRoll, TrustError> {
        let roll = KeyRoll::open(note).map_err(|error| match error {
            RollError::Note(error) => error.into(),
            RollError::Malformed => TrustError::Malformed(CheckpointError::Lines),
            RollError::NotCrossSigned => TrustError::UntrustedKey,
        })?;
        let Some(old) = self.logs.iter().find(|log| log.verifier == roll.old) else {
            return Err(TrustError::UntrustedKey);
        };
        let retired = old.until;
        // A retired key names no successor: whoever finds it later could name himself. The roll
        // that retired it may come again.
        let follows = self.logs.iter().any(|log| log.verifier == roll.new);
        match retired {
            Some(until) if until != roll.until || !follows => {
                return Err(TrustError::KeyRetired { until });
            }
            _ if !follows && self.pins(&roll.new) => return Err(TrustError::UntrustedKey),
            _ => {}
        }
        if let Some(old) = self.logs.iter_mut().find(|log| log.verifier == roll.old) {
            old.until = Some(roll.until);
        }
        if !follows {
            self.logs.push(LogKey { verifier: roll.new.clone(), url: None, until: None });
        }
        Ok(roll)
    }

    /// True if a key or key id already has a role here.
    fn pins(&self, key: &Verifier) -> bool {
        let logs = self.logs.iter().map(|log| &log.verifier);
        let witnesses = self.witnesses.iter().map(|witness| &witness.verifier);
        let mut known = logs.chain(witnesses).chain(&self.reports);
        known.any(|known| known.key() == key.key() || known.id() == key.id())
    }

    fn signing_log(
        &self,
        opened: &Opened,
        checkpoint: &Checkpoint,
    ) -> Result<Verifier, TrustError> {
        let mut retired = None;
        for log in &self.logs {
            if log.verifier.name() != checkpoint.origin || !opened.signed_by(&log.verifier) {
                continue;
            }
            match log.until {
                Some(until) if checkpoint.size > until => retired = retired.max(Some(until)),
                _ => return Ok(log.verifier.clone()),
            }
        }
        Err(match retired {
            Some(until) => TrustError::KeyRetired { until },
            None => TrustError::UntrustedKey,
        })
    }

    fn cosigners(&self, opened: &Opened) -> Vec<Witnessed> {
        let mut witnesses = Vec::new();
        for witness in &self.witnesses {
            let (name, id) = (witness.verifier.name(), witness.verifier.id());
            let by = opened.by.iter().find(|by| by.name == name && by.id == id);
            if let Some(time) = by.and_then(|by| by.time) {
                witnesses.push(Witnessed { name: witness.name.clone(), time });
            }
        }
        witnesses
    }

    /// Groups name only what stands above them, so one pass in order settles all.
    fn quorum_met(&self, witnesses: &[Witnessed]) -> bool {
        let Some(quorum) = &self.quorum else {
            return true;
        };
        let mut met: BTreeSet<&str> = witnesses.iter().map(|w| w.name.as_str()).collect();
        for group in &self.groups {
            let count = group.members.iter().filter(|m| met.contains(m.as_str())).count();
            if count >= group.threshold {
                met.insert(&group.name);
            }
        }
        met.contains(quorum.as_str())
    }
}
