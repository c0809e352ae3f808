//! A report's folder: the signed note first, then every file it names, one at a time and no
//! longer than it was signed, then that nothing else lies there. It follows no link, opens nothing
//! but regular files that are named, and reads none before the note is opened.

use crate::cli::cmd::evidence::{Judged, read_note};
use crate::cli::error::Failure;
use crate::format::trust::Trust;
use crate::report::manifest::{self, FileLine, MANIFEST, Manifest, ManifestError};
use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes read at a time.
const CHUNK: usize = 1 << 16;
/// What lies below a folder, by its name inside: the length of a regular file, nothing else's.
type Names = BTreeMap<String, Option<u64>>;

/// Judges a report's folder.
pub(crate) fn judge(path: &Path, trust: Option<&Trust>) -> Result<Judged> {
    let place = path.join(MANIFEST);
    let note = match std::fs::symlink_metadata(&place) {
        Ok(kind) if kind.is_file() => read_note(&place)?,
        // A link or a pipe of this name is no note.
        Ok(kind) if !kind.is_dir() => Vec::new(),
        _ => {
            let path = path.display();
            let message =
                format!("{path} holds neither vault.toml nor {MANIFEST}: no vault and no report");
            return Err(Failure::refused("MALFORMED", message).into());
        }
    };
    let found = match manifest::open(&note, trust) {
        Ok(found) => found,
        Err(error) => return Ok(refused(&error)),
    };
    if let Some(error) = changed(path, &found, &names(path)?)? {
        return Ok(refused(&error));
    }
    if found.entries == 0 {
        return Ok(Judged::nothing());
    }
    let lines = vec![
        format!("{} report of {}", found.kind, found.origin),
        format!("period {} to {}", found.period.0, found.period.1),
        format!("{} files unchanged, {} entries", found.files.len(), found.entries),
    ];
    let facts = json!({"id": found.id, "files": found.files.len()});
    Ok(match trust {
        Some(_) => Judged::verified(lines, facts),
        None => Judged::unpinned(facts).with(lines),
    })
}

fn refused(error: &ManifestError) -> Judged {
    let verdict = match error {
        ManifestError::Signature(error) => error.verdict(),
        error => error.verdict(),
    };
    Judged::failed(verdict, error.to_string())
}

/// What is not as it was signed, if something is.
fn changed(path: &Path, manifest: &Manifest, names: &Names) -> Result<Option<ManifestError>> {
    for line in &manifest.files {
        let name = line.name.clone();
        match names.get(&name) {
            None => return Ok(Some(ManifestError::FileMissing { name })),
            Some(len) if *len != Some(line.bytes) || !is_signed(&path.join(&name), line)? => {
                return Ok(Some(ManifestError::FileChanged { name }));
            }
            Some(_) => {}
        }
    }
    let others = names.keys().map(String::as_str).filter(|name| *name != MANIFEST);
    Ok(manifest.lists(others).err())
}

/// Whether a file has the signed hash. No more of it is read than was signed.
fn is_signed(path: &Path, line: &FileLine) -> Result<bool> {
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut file = File::open(path).map_err(failed)?.take(line.bytes);
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let len = file.read(&mut chunk).map_err(failed)?;
        if len == 0 {
            break;
        }
        hash.update(chunk.get(..len).unwrap_or_default());
    }
    Ok(<[u8; 32]>::from(hash.finalize()) == line.sha256.0)
}

/// Everything below a folder that is no directory, by its name inside.
fn names(path: &Path) -> Result<Names> {
    let mut names = Names::new();
    let mut places = vec![(path.to_owned(), String::new())];
    while let Some((place, prefix)) = places.pop() {
        let failed = |e: std::io::Error| Failure::file(&place, &e);
        for entry in std::fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = std::fs::symlink_metadata(entry.path()).map_err(failed)?;
            if kind.is_dir() {
                places.push((entry.path(), format!("{name}/")));
            } else {
                names.insert(name, kind.is_file().then_some(kind.len()));
            }
        }
    }
    Ok(names)
}
