//! The manifest of a backup: two texts beside the copied data. The list names every file with its
//! hash; the note, signed by the report key, names the list's hash and where the log ended. Only
//! files of the data plane can be named: a manifest that speaks of keys is refused. Its second
//! line is no number, so it cannot pass for a checkpoint.
//!
//! ```text
//! <vault>/t/<tenant>/backup/v1 LF
//! time <RFC 3339> LF                       log time when the checkpoint was taken
//! checkpoint <size> <root, hex> LF
//! generation <n> LF                        newest of the key tree that the log had announced
//! files <count> <bytes> <SHA-256 of the list, hex> LF
//! ```
//! The list has one line a file, ascending by name: `<SHA-256, hex> <bytes> <name>` LF.

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{Generation, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::lines::Lines;
use crate::format::note::{self, NoteError};
use crate::format::vkey::{Signer, Verifier};
use std::fmt;

/// Name of the signed note in a backup.
pub const MANIFEST: &str = "manifest.note";
/// Name of the list in a backup.
pub const LIST: &str = "files";
/// Directory of the copied files in a backup.
pub const DATA: &str = "data";
/// Ending of the first line.
const SUFFIX: &str = "/backup/v1";
/// Parts of a name at most: `tenants/<tenant>/bodies/<class>/<file>`.
const PARTS_MAX: usize = 5;
/// The vault's own file, the only one outside the tenant's directory.
const VAULT_FILE: &str = "vault.toml";

/// One copied file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLine {
    /// Path below the data directory, `/` between parts.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Hash of its bytes.
    pub sha256: Hash32,
}

/// What the note says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Origin of the log.
    pub origin: String,
    /// Log time when the checkpoint was taken.
    pub time: UtcNanos,
    /// Entries copied.
    pub size: TreeSize,
    /// Root of the log at that size.
    pub root: Hash32,
    /// Newest generation of the key tree that the log had announced.
    pub generation: Generation,
    /// Files in the list.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Hash of the list.
    pub list: Hash32,
}

/// Why a manifest is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackupError {
    /// `BACKUP_SIGNATURE`: this vault's report key did not sign it.
    Signature(NoteError),
    /// `BACKUP_MALFORMED`: signed, but no manifest, or a list that is not the manifest's.
    Malformed {
        /// Which text.
        text: &'static str,
        /// Line, from 1.
        line: usize,
    },
}

impl BackupError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BackupError::Signature(_) => "BACKUP_SIGNATURE",
            BackupError::Malformed { .. } => "BACKUP_MALFORMED",
        }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::Signature(error) => write!(f, "{MANIFEST}: {error}"),
            BackupError::Malformed { text, line } => write!(f, "{text}, line {line}"),
        }
    }
}

impl std::error::Error for BackupError {}

/// Result of reading a manifest.
pub type Result<T> = std::result::Result<T, BackupError>;

impl Manifest {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Manifest { origin, time, size, root, generation, files, bytes, list } = self;
        format!(
            "{origin}{SUFFIX}\ntime {time}\ncheckpoint {size} {root}\ngeneration {generation}\n\
             files {files} {bytes} {list}\n"
        )
    }

    /// Signs it with the report key; gives the whole note.
    ///
    /// # Errors
    /// What a reader would refuse is not signed.
    pub fn sign(&self, signer: &Signer) -> Result<String> {
        let text = self.text();
        if Manifest::parse(&text)? != *self {
            return Err(malformed(MANIFEST, 1));
        }
        note::sign(&text, &[signer]).map_err(BackupError::Signature)
    }

    /// Opens a note: signed by this key, and a manifest.
    ///
    /// # Errors
    /// `Signature`, `Malformed`.
    pub fn open(bytes: &[u8], key: &Verifier) -> Result<Manifest> {
        let opened =
            note::open(bytes, std::slice::from_ref(key)).map_err(BackupError::Signature)?;
        Manifest::parse(&opened.text)
    }

    /// Reads the text of a manifest. Only what `text` writes is accepted.
    ///
    /// # Errors
    /// `Malformed` with the line.
    pub fn parse(text: &str) -> Result<Manifest> {
        let mut lines = Lines::of(text);
        match manifest(&mut lines) {
            // Writing it again closes what the reader was lax about: zeros, case, signs.
            Some(manifest) if manifest.text() == text => Ok(manifest),
            _ => Err(malformed(MANIFEST, lines.number())),
        }
    }

    /// The tenant whose log this is.
    pub fn tenant(&self) -> Option<TenantId> {
        TenantId::parse(self.origin.rsplit_once("/t/")?.1)
    }

    /// Reads the list that this manifest names.
    ///
    /// # Errors
    /// `Malformed`: another list, a name outside this tenant's data, an order that is none.
    pub fn read_list(&self, bytes: &[u8]) -> Result<Vec<FileLine>> {
        if sha256(&[bytes]) != self.list {
            return Err(malformed(LIST, 0));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed(LIST, 0))?;
        let tenant = self.tenant().ok_or_else(|| malformed(MANIFEST, 1))?;
        let mut files: Vec<FileLine> = Vec::new();
        for (at, line) in text.split_terminator('\n').enumerate() {
            let file = file_line(line).filter(|file| is_data(&file.name, &tenant));
            let ascends = |file: &FileLine| files.last().is_none_or(|l| l.name < file.name);
            files.push(file.filter(ascends).ok_or_else(|| malformed(LIST, at + 1))?);
        }
        let bytes = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.bytes));
        let whole = list(&files) == text
            && (files.len() as u64, bytes) == (self.files, Some(self.bytes))
            && files.iter().any(|file| file.name == VAULT_FILE);
        if whole { Ok(files) } else { Err(malformed(LIST, files.len())) }
    }
}

/// The text of a list.
pub fn list(files: &[FileLine]) -> String {
    files.iter().map(|f| format!("{} {} {}\n", f.sha256, f.bytes, f.name)).collect()
}

fn malformed(text: &'static str, line: usize) -> BackupError {
    BackupError::Malformed { text, line }
}

fn file_line(line: &str) -> Option<FileLine> {
    let mut words = line.splitn(3, ' ');
    let sha256 = Hash32::parse(words.next()?)?;
    let bytes = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    Some(FileLine { name, bytes, sha256 })
}

/// Whether a name is one of the data plane: relative, of plain letters, without a way up, and
/// nowhere but in this tenant's directory.
fn is_data(name: &str, tenant: &TenantId) -> bool {
    if name == VAULT_FILE {
        return true;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let part = |part: &str| part.chars().all(plain) && part.contains(|c| c != '.');
    let inside = name.strip_prefix(&format!("tenants/{tenant}/"));
    inside.is_some() && name.split('/').count() <= PARTS_MAX && name.split('/').all(part)
}

fn manifest(lines: &mut Lines<'_>) -> Option<Manifest> {
    let origin = lines.line()?.strip_suffix(SUFFIX)?.to_owned();
    TenantId::parse(origin.rsplit_once("/t/")?.1)?;
    let [time] = lines.keyed("time")?;
    let [size, root] = lines.keyed("checkpoint")?;
    let [generation] = lines.keyed("generation")?;
    let [files, bytes, list] = lines.keyed("files")?;
    let manifest = Manifest {
        origin,
        time: UtcNanos::parse(time)?,
        size: TreeSize(size.parse().ok()?),
        root: Hash32::parse(root)?,
        generation: Generation(generation.parse().ok()?),
        files: files.parse().ok()?,
        bytes: bytes.parse().ok()?,
        list: Hash32::parse(list)?,
    };
    (lines.line()?.is_empty() && lines.is_over()).then_some(manifest)
}
