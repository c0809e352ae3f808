//! An export as files: the lines, their checksums, and a manifest with the hash of every line.
//! It never leaves anything under a final name that is not whole, never replaces an export that
//! is there, and never signs: the caller signs the manifest's text as a note.
//!
//! | file | bytes |
//! |---|---|
//! | `<name>` | the lines, each ended by LF |
//! | `<name>.manifest.jsonl` | per line `{"index":N,"record":"<hex>","sha256":"<hex>"}` and LF |
//! | `<name>.sha256` | both files as coreutils' `sha256sum` writes and checks them |
//!
//! The hash of a line is over its bytes without LF.
//! While they are written the three have no name, so that of an export that is killed nothing stays
//! in the directory; a file system that knows no such files gives them the ending `.part`, and the
//! next export of that name removes them. Steps of `finish`: sync the three; name manifest, then
//! checksums, then lines; sync the directory. So whoever sees `<name>` sees all three, whole.

use crate::base::id::{Hash32, RecordId, hex};
use crate::base::unit::EntryIndex;
use crate::format::export::{self, EVENTS_ENDING, NOTE_ENDING, is_export_name};
use crate::format::note::NoteError;
use crate::format::wire::Malformed;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::Error;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes gathered before a write: large enough that the system call does not show.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why an export was not written.
#[derive(Debug)]
pub enum FileError {
    /// The disk refused.
    Store(Error),
    /// The name is not of letters, digits, `.`, `_` and `-`, too long, or ends like a file that
    /// belongs to another export.
    NameUnsafe,
    /// An export of this name is there.
    Exists(PathBuf),
    /// The manifest cannot be signed.
    Unsigned(NoteError),
    /// The manifest cannot be written: our bug.
    Unwritable(Malformed),
    /// A line is empty or holds CR, LF or NUL: it would be more than one event, or none.
    LineUnsafe(EntryIndex),
    /// A line does not come after the one before it.
    OutOfOrder {
        /// Index of the line before.
        previous: EntryIndex,
        /// Index of the line.
        found: EntryIndex,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Store(error) => error.fmt(f),
            FileError::NameUnsafe => f.write_str(
                "EXPORT_NAME_UNSAFE: use letters, digits, . _ - and no ending .part, .sha256, \
                 .manifest.jsonl or .manifest.note",
            ),
            FileError::Exists(path) => write!(
                f,
                "EXPORT_EXISTS: {}: it is there already; nothing was written; name another",
                path.display()
            ),
            FileError::Unsigned(error) => write!(f, "EXPORT_MANIFEST: {error}"),
            FileError::Unwritable(error) => write!(f, "EXPORT_MANIFEST: {error}"),
            FileError::LineUnsafe(index) => write!(f, "EXPORT_LINE_UNSAFE: entry {index}"),
            FileError::OutOfOrder { previous, found } => {
                write!(f, "EXPORT_OUT_OF_ORDER: entry {found} after entry {previous}")
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        FileError::Store(error)
    }
}

/// What the lines are, for the manifest.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Name of the format: `cef`, `leef`.
    pub format: &'static str,
    /// Name of the masking preset.
    pub preset: &'static str,
    /// Hash of the mapping's text.
    pub mapping: Hash32,
}

/// What was written. `text` is what the caller signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The manifest: one RFC 8785 object and LF.
    pub text: String,
    /// Index of the first line; `None` if there is none.
    pub first: Option<EntryIndex>,
    /// Index of the last line.
    pub last: Option<EntryIndex>,
    /// Lines.
    pub count: u64,
    /// SHA-256 of the file of lines.
    pub sha256: Hash32,
}

/// A file that grows at its end without a name, or under a `.part` name, and is hashed on the way.
struct Part {
    file: Arc<dyn DiskFile>,
    /// The final name.
    path: PathBuf,
    /// The name until then, if it has one.
    beside: Option<PathBuf>,
    offset: u64,
    buffer: Vec<u8>,
    hasher: Sha256,
}

impl Part {
    fn create(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Self, Error> {
        let path = dir.join(name);
        let beside = dir.join(format!("{name}.part"));
        // A part of a run that was killed holds nothing anybody was promised.
        if disk.exists(&beside)? {
            disk.remove(&beside)?;
        }
        let (file, beside) = match disk.create_unnamed(dir)? {
            Some(file) => (file, None),
            None => (disk.open(&beside, Mode::CreateNew)?, Some(beside)),
        };
        Ok(Part { file, path, beside, offset: 0, buffer: Vec::new(), hasher: Sha256::new() })
    }

    fn push(&mut self, pieces: &[&[u8]]) -> Result<(), Error> {
        for piece in pieces {
            self.hasher.update(piece);
            self.buffer.extend_from_slice(piece);
        }
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.file.write_at(self.offset, &self.buffer)?;
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<Hash32, Error> {
        self.flush()?;
        self.file.sync()?;
        Ok(Hash32(self.hasher.finalize_reset().into()))
    }

    /// Gives it its name. What accompanies an export may take the place of a remnant.
    fn publish(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        match &self.beside {
            Some(beside) => disk.rename(beside, &self.path)?,
            None => self.file.link(&self.path)?,
        }
        self.beside = None;
        Ok(())
    }

    fn publish_over(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        if self.beside.is_none() && disk.exists(&self.path)? {
            disk.remove(&self.path)?;
        }
        self.publish(disk)
    }

    /// Removes what has a name that is not its own.
    fn discard(&self, disk: &dyn Disk) {
        if let Some(beside) = &self.beside {
            let _ = disk.remove(beside);
        }
    }
}

/// An export being written. Dropped before `finish`, it removes what it began.
pub struct Export<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
    name: String,
    lines: Part,
    events: Part,
    first: Option<EntryIndex>,
    last: Option<EntryIndex>,
    count: u64,
}

impl<'a> Export<'a> {
    /// Begins an export in a directory that is there.
    pub fn create(disk: &'a dyn Disk, dir: &Path, name: &str) -> Result<Self, FileError> {
        if !is_export_name(name) {
            return Err(FileError::NameUnsafe);
        }
        // A manifest or checksum without its lines is a remnant of a crash: it is replaced.
        let path = dir.join(name);
        if disk.exists(&path)? {
            return Err(FileError::Exists(path));
        }
        let lines = Part::create(disk, dir, name)?;
        let events = match Part::create(disk, dir, &format!("{name}{EVENTS_ENDING}")) {
            Ok(events) => events,
            Err(error) => {
                lines.discard(disk);
                return Err(error.into());
            }
        };
        Ok(Export {
            disk,
            dir: dir.to_owned(),
            name: name.to_owned(),
            lines,
            events,
            first: None,
            last: None,
            count: 0,
        })
    }

    /// Adds one encoded line, without its line end. Indexes must ascend.
    pub fn push(
        &mut self,
        index: EntryIndex,
        record: RecordId,
        line: &[u8],
    ) -> Result<(), FileError> {
        if line.is_empty() || line.iter().any(|b| matches!(b, b'\n' | b'\r' | 0)) {
            return Err(FileError::LineUnsafe(index));
        }
        if let Some(previous) = self.last.filter(|&previous| previous >= index) {
            return Err(FileError::OutOfOrder { previous, found: index });
        }
        let sha256 = hex(&Sha256::digest(line));
        let event =
            format!("{{\"index\":{index},\"record\":\"{record}\",\"sha256\":\"{sha256}\"}}\n");
        self.lines.push(&[line, b"\n"])?;
        self.events.push(&[event.as_bytes()])?;
        self.first = self.first.or(Some(index));
        self.last = Some(index);
        self.count += 1;
        Ok(())
    }

    /// Makes the export whole and durable, and gives it its name: checksums, the list of events
    /// and the manifest that `sign` signed come first, the lines last. A failure on the way leaves
    /// no file of lines.
    pub fn finish(
        mut self,
        about: &About,
        sign: &dyn Fn(&str) -> Result<String, NoteError>,
    ) -> Result<Manifest, FileError> {
        let sha256 = self.lines.seal()?;
        let events_sha256 = self.events.seal()?;
        let name = self.name.clone();
        let events_name = format!("{name}{EVENTS_ENDING}");
        let sums = format!("{sha256}  {name}\n{events_sha256}  {events_name}\n");
        let sums_name = format!("{name}.sha256");
        let mut sums_part = Part::create(self.disk, &self.dir, &sums_name)?;
        let sealed = sums_part.push(&[sums.as_bytes()]).and_then(|()| sums_part.seal());
        if let Err(error) = sealed {
            sums_part.discard(self.disk);
            return Err(error.into());
        }
        let manifest = self.manifest(about, sha256, events_sha256)?;
        let signed = sign(&manifest.text).map_err(FileError::Unsigned)?;
        self.disk.replace(&self.dir.join(format!("{name}{NOTE_ENDING}")), signed.as_bytes())?;
        self.events.publish_over(self.disk)?;
        sums_part.publish_over(self.disk)?;
        self.lines.publish(self.disk)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(manifest)
    }

    /// What is signed.
    fn manifest(
        &self,
        about: &About,
        sha256: Hash32,
        events_sha256: Hash32,
    ) -> Result<Manifest, FileError> {
        let (first, last, count) = (self.first, self.last, self.count);
        let signed = export::Export {
            count,
            events: format!("{}{EVENTS_ENDING}", self.name),
            events_sha256,
            file: self.name.clone(),
            first,
            format: about.format.to_owned(),
            last,
            mapping_sha256: about.mapping,
            preset: about.preset.to_owned(),
            sha256,
            kind: export::FORMAT.to_owned(),
        };
        let text = signed.text().map_err(FileError::Unwritable)?;
        Ok(Manifest { text, first, last, count, sha256 })
    }
}

impl Drop for Export<'_> {
    /// Removes the parts: after `finish` they are gone already, and a failure leaves only names
    /// that say they are parts.
    fn drop(&mut self) {
        for part in [&self.lines, &self.events] {
            part.discard(self.disk);
        }
    }
}
