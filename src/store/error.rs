//! The store's one error: what kind, which path, what the system said.
//! It never carries contents of a file.

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong, by what a caller can do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The system refused an operation.
    Io,
    /// Bytes are not what they must be; nothing was changed.
    Corrupt,
    /// No space left; nothing was acknowledged.
    Full,
    /// Another process has the directory open.
    Locked,
    /// A file that must be there is not.
    Missing,
    /// Written by a newer version of this format.
    TooNew,
    /// A sync failed earlier: nothing is retried until the store is opened anew.
    Poisoned,
}

/// A failure of the store.
#[derive(Debug)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// Which file or directory.
    pub path: PathBuf,
    /// A stable verdict name where one fits (`CORRUPT_TAIL`, `ROOT_GEN_ROLLBACK`), else a clause.
    pub what: String,
    /// What the system said.
    pub source: Option<std::io::Error>,
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without a system cause.
    pub fn new(kind: ErrorKind, path: &Path, what: impl Into<String>) -> Self {
        Error { kind, path: path.to_owned(), what: what.into(), source: None }
    }

    /// `Corrupt` with its verdict.
    pub fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, path, what)
    }

    /// Wraps what the system said of a sync: what it covered may be gone, so it is never `Full`.
    pub fn unsynced(path: &Path, what: &str, source: std::io::Error) -> Self {
        let kind = ErrorKind::Io;
        Error { kind, path: path.to_owned(), what: what.to_owned(), source: Some(source) }
    }

    /// Wraps what the system said.
    pub fn io(path: &Path, what: &str, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Missing,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Error { kind, path: path.to_owned(), what: what.to_owned(), source: Some(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// What is safe and what to do, for the verdicts an operator can meet.
    fn advice(&self) -> Option<&'static str> {
        let code = self.what.split([':', ' ']).next().unwrap_or_default();
        Some(match code {
            "KEK_MISSING" | "SECRET_MISSING" | "ROOT_MISSING" => {
                "nothing was changed; the keys are not here: mount the key directory or name it"
            }
            "KEK_WORLD_READABLE" | "SECRET_WORLD_READABLE" => {
                "nothing was changed; others may read this key file: chmod 600 it, and consider \
                 who has read it"
            }
            "KEK_PASSPHRASE_NEEDED" => "nothing was changed; give the passphrase of the keys",
            "KEK_PASSPHRASE_WRONG" => "nothing was changed; give the right passphrase",
            "KEK_MALFORMED" | "SECRET_MALFORMED" | "SECRET_UNREADABLE" | "ROOT_UNREADABLE"
            | "ROOT_CORRUPT" => {
                "nothing was changed; the file is damaged or of other keys: put the live copy back"
            }
            "KEK_EXISTS" | "KEYTREE_EXISTS" => {
                "nothing was changed; keys are here already: choose an empty key directory, or \
                 remove what an interrupted init left"
            }
            "KEYS_PRIMARY_LOST" => {
                "nothing was changed; mount the disk of keys.path, or, if it is lost, run \
                 `chancery keys restore --from-mirror`"
            }
            "KEYS_DIVERGED" => {
                "nothing was changed; keep both key directories, and name the one that counts alone"
            }
            "KEYS_MIRROR_PAIRED" => {
                "nothing was changed; these keys have another mirror: mount it, or give it up with \
                 `chancery keys mirror --forget`"
            }
            "KEYS_MIRROR_IN_USE" => {
                "nothing was changed; other keys lie there: name an empty directory"
            }
            "CORRUPT_TAIL" | "UNIT_CHAIN" => {
                "nothing was cut; keep the files, restore this log from a copy and open it again"
            }
            _ if self.kind == ErrorKind::Locked => {
                "nothing was changed; close the other one first: where `chancery serve` runs, stop \
                 it, or ask it over its API instead"
            }
            _ => return None,
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
