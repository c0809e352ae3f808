//! The witness protocol's texts (C2SP tlog-witness v1.0.0, `add-checkpoint`): what a log sends,
//! what a witness answers. It never judges: whose key counts and what a size means is decided by
//! `server/witness` on one side and `vault/witness` on the other.
//!
//! ```text
//! request  = "old " size LF  (base64(hash) LF){0,63}  LF  checkpoint note
//! 200      = one or more cosignature lines of a signed note
//! 409      = size LF, content type text/x.tlog.size: the newest checkpoint the witness cosigned
//! 400 malformed | 403 no valid log signature | 404 unknown origin | 422 the proof does not hold
//! ```

use crate::base::id::Hash32;
use crate::base::unit::{TreeSize, UtcNanos};
use crate::format::checkpoint::{TREE_SIZE_MAX, parse_decimal, parse_hash};
use crate::format::note::{self, NOTE_BYTES_MAX, Note, NoteError, Signature};
use crate::format::proof::PROOF_HASHES_MAX;
use crate::format::vkey::{Algorithm, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Path below a witness's submission prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";
/// Content type of a 409 that states a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// Longest request: the proof at its longest, and a note.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 64;
/// Longest answer that is read: signature lines of the largest witnesses fit many times.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a request is malformed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// Longer than `REQUEST_BYTES_MAX`.
    TooLarge,
    /// The first line is not `old` and a decimal size.
    Old,
    /// A proof line that is no hash, or one too many.
    Hash {
        /// Which proof line, from 1.
        number: usize,
    },
    /// No empty line after the proof.
    NoCheckpoint,
    /// What follows is no signed note.
    Note(NoteError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::TooLarge => {
                write!(f, "request is longer than {REQUEST_BYTES_MAX} bytes")
            }
            RequestError::Old => f.write_str("line 1 is not \"old\" and a decimal tree size"),
            RequestError::Hash { number } => {
                write!(f, "proof line {number} is no base64 hash, or one beyond {PROOF_HASHES_MAX}")
            }
            RequestError::NoCheckpoint => {
                f.write_str("no empty line and checkpoint after the proof")
            }
            RequestError::Note(error) => write!(f, "checkpoint: {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

/// An `add-checkpoint` request; nothing in it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the proof starts from.
    pub old: TreeSize,
    /// Consistency proof from `old` to the checkpoint.
    pub proof: Vec<Hash32>,
    /// The signed checkpoint, verbatim.
    pub note: String,
}

impl AddCheckpoint {
    /// Parses a request body. `to_string` gives the same bytes back.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let text = std::str::from_utf8(body)
            .map_err(|e| RequestError::Note(NoteError::NotUtf8 { offset: e.valid_up_to() }))?;
        let (first, mut rest) = text.split_once('\n').ok_or(RequestError::Old)?;
        let old = first.strip_prefix("old ").and_then(parse_decimal);
        let old = old.filter(|size| *size <= TREE_SIZE_MAX).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(RequestError::NoCheckpoint)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            let bad = RequestError::Hash { number: proof.len() + 1 };
            match parse_hash(line) {
                Some(hash) if proof.len() < PROOF_HASHES_MAX => proof.push(hash),
                _ => return Err(bad),
            }
        }
        Note::parse(rest.as_bytes()).map_err(RequestError::Note)?;
        Ok(AddCheckpoint { old: TreeSize(old), proof, note: rest.to_owned() })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// The body of a 409 that states a size.
pub fn size_body(size: TreeSize) -> String {
    format!("{size}\n")
}

/// Parses the body of a 409.
pub fn parse_size(body: &[u8]) -> Option<TreeSize> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    parse_decimal(text).filter(|size| *size <= TREE_SIZE_MAX).map(TreeSize)
}

/// The signature lines of `note` that `key` made, as an answer's body.
pub fn lines_of(note: &Note, key: &Verifier) -> String {
    let of = |s: &&Signature| s.name == key.name() && s.id == key.id();
    note.signatures.iter().filter(of).map(line).collect()
}

fn line(signature: &Signature) -> String {
    let bytes = [signature.id.as_slice(), &signature.blob].concat();
    format!("\u{2014} {} {}\n", signature.name, STANDARD.encode(bytes))
}

/// Adds to `note` the cosignature of `key` that an answer's lines hold, and gives the time it
/// states. Lines of other keys are ignored; a note that has this key's line keeps the older one.
///
/// # Errors
/// `NoteError`: not signature lines, none of this key, or one of it that does not verify.
pub fn merge(note: &str, answer: &[u8], key: &Verifier) -> Result<(String, UtcNanos), NoteError> {
    if key.algorithm() != Algorithm::CosignatureV1 {
        return Err(NoteError::Algorithm);
    }
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(NoteError::TooLarge);
    }
    let mut own = Note::parse(note.as_bytes())?;
    let claimed = [own.text.as_bytes(), b"\n", answer].concat();
    let opened = note::open(&claimed, std::slice::from_ref(key))?;
    let time = opened.by.iter().find_map(|by| by.time).ok_or(NoteError::UntrustedKey)?;
    let of = |s: &Signature| s.name == key.name() && s.id == key.id();
    if !own.signatures.iter().any(of) {
        let said = Note::parse(&claimed)?.signatures.into_iter().find(of);
        own.signatures.push(said.ok_or(NoteError::UntrustedKey)?);
    }
    let text = own.to_string();
    Note::parse(text.as_bytes())?;
    Ok((text, time))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::secret::Key;
    use crate::crypto::sign::SigningKey;
    use crate::format::checkpoint::Checkpoint;
    use crate::format::vkey::Signer;

    fn signer(name: &str, algorithm: Algorithm, seed: u8) -> Signer {
        Signer::new(name, algorithm, SigningKey::new(&Key::new([seed; 32]))).unwrap()
    }

    fn signed() -> String {
        let log = signer("log.example/t/1", Algorithm::Ed25519, 1);
        let checkpoint = Checkpoint {
            origin: "log.example/t/1".into(),
            size: TreeSize(3),
            root: Hash32([9; 32]),
        };
        checkpoint.sign(&[&log]).unwrap()
    }

    #[test]
    fn requests_round_trip_and_every_cut_is_refused() {
        let request =
            AddCheckpoint { old: TreeSize(2), proof: vec![Hash32([5; 32]); 63], note: signed() };
        let text = request.to_string();
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(request.clone()));
        for end in 0..text.len() {
            assert!(AddCheckpoint::parse(text.as_bytes().get(..end).unwrap()).is_err(), "{end}");
        }
        let long = AddCheckpoint { proof: vec![Hash32([5; 32]); 64], ..request.clone() };
        let error = AddCheckpoint::parse(long.to_string().as_bytes());
        assert_eq!(error, Err(RequestError::Hash { number: 64 }));
        for old in ["old 02", "old ", "old -1", "old 9223372036854775808", "Old 2", "old 2 "] {
            let text = text.replacen("old 2", old, 1);
            assert_eq!(AddCheckpoint::parse(text.as_bytes()), Err(RequestError::Old), "{old}");
        }
        let text = text.replacen("\nBQUF", "\nBQUF=", 1);
        let error = AddCheckpoint::parse(text.as_bytes());
        assert_eq!(error, Err(RequestError::Hash { number: 1 }));
    }

    #[test]
    fn only_the_known_key_s_valid_line_is_taken() {
        let (one, two) = ("w.example/1", "w.example/2");
        let one = signer(one, Algorithm::CosignatureV1, 2);
        let two = signer(two, Algorithm::CosignatureV1, 3);
        let note = signed();
        let at = |seconds: u64| UtcNanos(seconds * 1_000_000_000);
        let full = note::cosign(note.as_bytes(), &one, at(7)).unwrap();
        let full = note::cosign(full.as_bytes(), &two, at(8)).unwrap();
        let both = Note::parse(full.as_bytes()).unwrap();
        let answer = lines_of(&both, one.verifier()) + &lines_of(&both, two.verifier());
        let (merged, time) = merge(&note, answer.as_bytes(), two.verifier()).unwrap();
        assert_eq!((time, Note::parse(merged.as_bytes()).unwrap().signatures.len()), (at(8), 2));
        let (again, _) = merge(&merged, answer.as_bytes(), one.verifier()).unwrap();
        let mut lines: Vec<&str> = again.lines().collect();
        let mut expected: Vec<&str> = full.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!(merge(&again, answer.as_bytes(), one.verifier()).unwrap().0, again);
        let other = signer("w.example/3", Algorithm::CosignatureV1, 4);
        assert_eq!(merge(&note, answer.as_bytes(), other.verifier()), Err(NoteError::UntrustedKey));
        let bad = lines_of(&both, one.verifier()).replace("AAAAAAAAAA", "AAAAAAAAAB");
        if bad != lines_of(&both, one.verifier()) {
            assert!(merge(&note, bad.as_bytes(), one.verifier()).is_err());
        }
        assert!(merge(&note, b"", one.verifier()).is_err());
        assert!(merge(&note, b"nonsense\n", one.verifier()).is_err());
    }

    #[test]
    fn sizes_have_one_form() {
        assert_eq!(parse_size(size_body(TreeSize(12)).as_bytes()), Some(TreeSize(12)));
        for bad in ["12", "012\n", "-1\n", "12\n\n", " 12\n", "", "9223372036854775808\n"] {
            assert_eq!(parse_size(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
