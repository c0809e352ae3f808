//! Key rolls: a log key hands over to its successor, each vouching for the other.
//! It never makes a key trusted by itself: `Trust::roll` does, and only if the old key is pinned.
//!
//! ```text
//! origin LF
//! "chancery/key-roll/v1" LF
//! "old " vkey LF          the key that retires
//! "new " vkey LF          its successor
//! "until " size LF        largest tree size that the old key may still sign
//! ```
//! Signed, as a note, by both keys; both are named `origin`. One signature is not enough: the old
//! key alone could name a key that nobody holds, the new key alone could be anyone's.

use crate::base::unit::TreeSize;
use crate::format::checkpoint::parse_decimal;
use crate::format::note::{self, NoteError};
use crate::format::vkey::{Algorithm, Signer, Verifier};
use std::fmt;

const MAGIC: &str = "chancery/key-roll/v1";

/// Why a note is no key roll.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RollError {
    /// The note itself; a signature that fails is in here.
    Note(NoteError),
    /// Not the five lines above, or keys that cannot be a log's.
    Malformed,
    /// Verdict `UNTRUSTED_KEY`: not signed by both keys.
    NotCrossSigned,
}

impl fmt::Display for RollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RollError::Note(error) => error.fmt(f),
            RollError::Malformed => f.write_str("key roll is malformed"),
            RollError::NotCrossSigned => f.write_str("UNTRUSTED_KEY: roll not signed by both keys"),
        }
    }
}

impl std::error::Error for RollError {}

/// The statement that one log key follows another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRoll {
    /// The key that retires.
    pub old: Verifier,
    /// Its successor, of the same name.
    pub new: Verifier,
    /// Largest tree size that `old` may sign.
    pub until: TreeSize,
}

impl KeyRoll {
    /// Signs the roll with both keys and gives the note.
    pub fn sign(old: &Signer, new: &Signer, until: TreeSize) -> Result<String, RollError> {
        let roll = KeyRoll { old: old.verifier().clone(), new: new.verifier().clone(), until };
        let text = roll.to_string();
        KeyRoll::parse(&text)?;
        note::sign(&text, &[old, new]).map_err(RollError::Note)
    }

    /// Opens a roll note: both keys it names must have signed it. Whether `old` is to be believed
    /// is for the caller, who holds the pinned keys.
    pub fn open(note: &[u8]) -> Result<Self, RollError> {
        let claimed = note::Note::parse(note).map_err(RollError::Note)?;
        let roll = KeyRoll::parse(&claimed.text)?;
        let keys = [roll.old.clone(), roll.new.clone()];
        let opened = note::open(note, &keys).map_err(RollError::Note)?;
        if !keys.iter().all(|key| opened.signed_by(key)) {
            return Err(RollError::NotCrossSigned);
        }
        Ok(roll)
    }

    fn parse(text: &str) -> Result<Self, RollError> {
        KeyRoll::from_lines(text).ok_or(RollError::Malformed)
    }

    fn from_lines(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next()?;
        if lines.next()? != MAGIC {
            return None;
        }
        let old = Verifier::parse(lines.next()?.strip_prefix("old ")?).ok()?;
        let new = Verifier::parse(lines.next()?.strip_prefix("new ")?).ok()?;
        let until = parse_decimal(lines.next()?.strip_prefix("until ")?)?;
        let fits = |key: &Verifier| key.name() == origin && key.algorithm() == Algorithm::Ed25519;
        let sound = fits(&old) && fits(&new) && old.key() != new.key() && lines.next().is_none();
        sound.then_some(KeyRoll { old, new, until: TreeSize(until) })
    }
}

impl fmt::Display for KeyRoll {
    /// The note text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyRoll { old, new, until } = self;
        write!(f, "{}\n{MAGIC}\nold {old}\nnew {new}\nuntil {until}\n", old.name())
    }
}
