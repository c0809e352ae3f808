//! Signed notes: text with signature lines (C2SP signed-note v1.0.0, tlog-cosignature v1.0.1).
//! It never yields a text that no known key signed: `Note::parse` shows the grammar only.
//!
//! ```text
//! note      = text LF line+
//! text      = UTF-8, no byte below 0x20 but LF, ends with LF; may hold empty lines
//! line      = U+2014 SP name SP base64(id[4] || blob) LF
//! blob 0x01 = Ed25519(text)                                               64 bytes
//! blob 0x04 = u64 seconds || Ed25519("cosignature/v1" LF "time " seconds LF text)   72 bytes
//! ```
//! The text ends at the last empty line. Lines of unknown (name, id) are ignored; if a line of a
//! known key does not verify, the whole note is refused, however many others do.

use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::crypto::sign::SIGNATURE_BYTES;
use crate::format::vkey::{Algorithm, Signer, Verifier, is_key_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Longest note: 100 post-quantum signature lines of 5 KiB, and as much text, fit.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// Most signature lines; the specification demands at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Latest time a cosignature may state: 2^63 - 1 seconds.
const COSIGNATURE_SECONDS_MAX: u64 = u64::MAX >> 1;

/// Why a note was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoteError {
    /// Longer than `NOTE_BYTES_MAX`.
    TooLarge,
    /// Not UTF-8 from this offset on.
    NotUtf8 {
        /// Byte offset.
        offset: usize,
    },
    /// A control character other than LF; CR is one.
    Control {
        /// Byte offset.
        offset: usize,
    },
    /// The text to sign does not end with LF.
    TextNewline,
    /// No empty line, or nothing after it, or no final LF.
    NoSignatures,
    /// A signature line that is not one.
    Line {
        /// Which signature line, from 1.
        number: usize,
    },
    /// More than `NOTE_SIGNATURES_MAX` lines.
    TooManySignatures,
    /// Verdict `BAD_SIGNATURE`: a known key's line does not verify.
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// Verdict `UNTRUSTED_KEY`: no line is of a known key.
    UntrustedKey,
    /// A signer of the wrong algorithm for the operation.
    Algorithm,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteError::TooLarge => write!(f, "note is longer than {NOTE_BYTES_MAX} bytes"),
            NoteError::NotUtf8 { offset } => write!(f, "note is not utf-8 at byte {offset}"),
            NoteError::Control { offset } => {
                write!(f, "note holds a control character at byte {offset}")
            }
            NoteError::TextNewline => f.write_str("note text does not end with a newline"),
            NoteError::NoSignatures => f.write_str("note has no signature block"),
            NoteError::Line { number } => write!(f, "signature line {number} is malformed"),
            NoteError::TooManySignatures => {
                write!(f, "note has more than {NOTE_SIGNATURES_MAX} signatures")
            }
            NoteError::BadSignature { name } => write!(f, "BAD_SIGNATURE of {name}"),
            NoteError::UntrustedKey => f.write_str("UNTRUSTED_KEY: no signature of a known key"),
            NoteError::Algorithm => f.write_str("signer has the wrong algorithm"),
        }
    }
}

impl std::error::Error for NoteError {}

/// A signature line, not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Key name.
    pub name: String,
    /// Key id.
    pub id: [u8; 4],
    /// What follows the id; at least one byte.
    pub blob: Vec<u8>,
}

/// A note taken apart, nothing verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The signed text, ending with LF.
    pub text: String,
    /// Signature lines in order.
    pub signatures: Vec<Signature>,
}

/// A known key whose signature verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedBy {
    /// Key name.
    pub name: String,
    /// Key id.
    pub id: [u8; 4],
    /// When a witness says it saw the text; `None` for a plain signature. The earliest, if the
    /// witness signed more than once.
    pub time: Option<UtcNanos>,
}

/// A note with at least one verified signature of a known key and no failed one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The signed text, ending with LF.
    pub text: String,
    /// Every known key that signed, once each, in order of first line.
    pub by: Vec<SignedBy>,
}

impl Opened {
    /// True if this key signed.
    pub fn signed_by(&self, verifier: &Verifier) -> bool {
        self.by.iter().any(|by| by.name == verifier.name() && by.id == verifier.id())
    }
}

impl Note {
    /// Takes a note apart by the grammar alone. Nothing in it may be believed.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(note)
            .map_err(|error| NoteError::NotUtf8 { offset: error.valid_up_to() })?;
        check_text(note)?;
        let (head, block) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let block = block.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (position, line) in block.split('\n').enumerate() {
            if position >= NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            let signature = parse_line(line).ok_or(NoteError::Line { number: position + 1 })?;
            signatures.push(signature);
        }
        Ok(Note { text: format!("{head}\n"), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for Signature { name, id, blob } in &self.signatures {
            let bytes = [id.as_slice(), blob.as_slice()].concat();
            writeln!(f, "\u{2014} {name} {}", STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

/// Parses `note` and verifies it against the `known` keys.
pub fn open(note: &[u8], known: &[Verifier]) -> Result<Opened, NoteError> {
    let Note { text, signatures } = Note::parse(note)?;
    let mut by: Vec<SignedBy> = Vec::new();
    for signature in &signatures {
        let Some(verifier) =
            known.iter().find(|v| v.name() == signature.name && v.id() == signature.id)
        else {
            continue;
        };
        let time = verify(verifier, &text, &signature.blob)
            .ok_or_else(|| NoteError::BadSignature { name: signature.name.clone() })?;
        let (name, id) = (signature.name.clone(), signature.id);
        match by.iter_mut().find(|seen| seen.name == name && seen.id == id) {
            Some(seen) => seen.time = seen.time.min(time),
            None => by.push(SignedBy { name, id, time }),
        }
    }
    if by.is_empty() { Err(NoteError::UntrustedKey) } else { Ok(Opened { text, by }) }
}

/// Signs `text` (which ends with LF) with keys of type 0x01, in order. Gives the whole note.
pub fn sign(text: &str, signers: &[&Signer]) -> Result<String, NoteError> {
    check_text(text)?;
    if !text.ends_with('\n') {
        return Err(NoteError::TextNewline);
    }
    let mut signatures = Vec::with_capacity(signers.len());
    for signer in signers {
        let verifier = signer.verifier();
        if verifier.algorithm() != Algorithm::Ed25519 {
            return Err(NoteError::Algorithm);
        }
        signatures.push(line_of(verifier, signer.sign(text.as_bytes()).to_vec()));
    }
    finish(Note { text: text.to_owned(), signatures })
}

/// Adds a cosignature of type 0x04, made at `now` (whole seconds), to a note. A witness calls this
/// only after it has checked the note's own signature and its consistency.
pub fn cosign(note: &[u8], signer: &Signer, now: UtcNanos) -> Result<String, NoteError> {
    let verifier = signer.verifier();
    if verifier.algorithm() != Algorithm::CosignatureV1 {
        return Err(NoteError::Algorithm);
    }
    let mut note = Note::parse(note)?;
    let seconds = now.seconds();
    let signature = signer.sign(&cosigned_message(seconds, &note.text));
    let blob = [seconds.to_be_bytes().as_slice(), &signature].concat();
    note.signatures.push(line_of(verifier, blob));
    finish(note)
}

/// Prints a note that keeps every limit.
fn finish(note: Note) -> Result<String, NoteError> {
    let text = note.to_string();
    match (note.signatures.len(), text.len()) {
        (0, _) => Err(NoteError::NoSignatures),
        (count, _) if count > NOTE_SIGNATURES_MAX => Err(NoteError::TooManySignatures),
        (_, len) if len > NOTE_BYTES_MAX => Err(NoteError::TooLarge),
        _ => Ok(text),
    }
}

fn line_of(verifier: &Verifier, blob: Vec<u8>) -> Signature {
    Signature { name: verifier.name().to_owned(), id: verifier.id(), blob }
}

/// Refuses control characters other than LF.
fn check_text(text: &str) -> Result<(), NoteError> {
    match text.bytes().position(|byte| byte < 0x20 && byte != b'\n') {
        Some(offset) => Err(NoteError::Control { offset }),
        None => Ok(()),
    }
}

fn parse_line(line: &str) -> Option<Signature> {
    let (name, text) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(text).ok()?;
    let (id, blob) = bytes.split_first_chunk::<4>()?;
    (is_key_name(name) && !blob.is_empty()).then(|| Signature {
        name: name.to_owned(),
        id: *id,
        blob: blob.to_vec(),
    })
}

/// The time a valid signature states, or `None` if it is not valid.
fn verify(verifier: &Verifier, text: &str, blob: &[u8]) -> Option<Option<UtcNanos>> {
    match verifier.algorithm() {
        Algorithm::Ed25519 => {
            let signature: &[u8; SIGNATURE_BYTES] = blob.try_into().ok()?;
            verifier.key().verify(text.as_bytes(), signature).ok()?;
            Some(None)
        }
        Algorithm::CosignatureV1 => {
            let (seconds, signature) = blob.split_first_chunk::<8>()?;
            let signature: &[u8; SIGNATURE_BYTES] = signature.try_into().ok()?;
            let seconds = u64::from_be_bytes(*seconds);
            if seconds > COSIGNATURE_SECONDS_MAX {
                return None;
            }
            verifier.key().verify(&cosigned_message(seconds, text), signature).ok()?;
            Some(Some(UtcNanos(seconds.saturating_mul(NANOS_PER_SECOND))))
        }
    }
}

fn cosigned_message(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}
