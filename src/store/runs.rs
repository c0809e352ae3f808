//! Runs on disk: immutable sorted files of event id tags, each with a filter and a table of
//! chunk hashes in memory, so that a tag that is not there costs no read. Derived files: what is
//! read is checked against the hash a signed snapshot holds, and a file that is lost or wrong is
//! an error, never an answer. It never decides what is a duplicate.
//!
//! Memory: 12 bits of filter and 3 bits of table a row. Write order of a file: contents under
//! `.new`, sync, rename, sync of the directory.

use crate::base::id::{EventIdTag, Hash32, TenantId};
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::run::{self, CHUNK_ROWS, HEAD_BYTES, LINE_BYTES, ROW_BYTES, Row, RunInfo};
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

/// An open run.
pub struct Run {
    /// What a snapshot says of it.
    pub info: RunInfo,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    lines: Vec<(EventIdTag, Hash32)>,
    filter: Vec<u8>,
}

/// What a new run covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First entry.
    pub first: EntryIndex,
    /// Entry after the last.
    pub end: EntryIndex,
    /// Log time of the newest entry in it.
    pub until: UtcNanos,
}

/// Name of the file of a run.
pub fn name(first: EntryIndex, end: EntryIndex) -> String {
    format!("{:016x}-{:016x}.run", first.0, end.0)
}

impl Run {
    /// Writes a run durably. `rows` ascend by tag, and there is at least one.
    ///
    /// # Errors
    /// Those of the disk; nothing then bears the run's name that did not before.
    pub fn write(
        disk: &dyn Disk,
        dir: &Path,
        tenant: &TenantId,
        span: Span,
        rows: &[Row],
    ) -> Result<Run> {
        let Span { first, end, until } = span;
        let mut info = RunInfo { first, end, rows: rows.len() as u64, until, hash: Hash32::ZERO };
        let path = dir.join(name(first, end));
        let fresh = path.with_extension("run.new");
        let file = disk.open(&fresh, Mode::Create)?;
        file.set_len(0)?;
        let head = info.head(tenant);
        let mut sink = Sink { file: &*file, at: 0, waiting: head.clone() };
        let (mut table, mut lines) = (Vec::new(), Vec::new());
        for chunk in rows.chunks(CHUNK_ROWS) {
            let bytes: Vec<u8> = chunk.iter().flat_map(run::encode_row).collect();
            let (tag, hash) = (chunk.first().map_or(EventIdTag::ZERO, |r| r.0), sha256(&[&bytes]));
            table.extend_from_slice(&tag.0);
            table.extend_from_slice(&hash.0);
            lines.push((tag, hash));
            sink.put(&bytes)?;
        }
        let filter = run::filter(rows.iter().map(|(tag, _)| *tag));
        info.hash = run::hash(&head, &table, &filter);
        sink.put(&table)?;
        sink.put(&filter)?;
        sink.end()?;
        file.sync()?;
        drop(file);
        disk.rename(&fresh, &path)?;
        disk.sync_dir(dir)?;
        let file = disk.open(&path, Mode::Read)?;
        Ok(Run { info, path, file, lines, filter })
    }

    /// Opens the run that a snapshot speaks of.
    ///
    /// # Errors
    /// `Missing` or `Corrupt` when it is not there as it was.
    pub fn open(disk: &dyn Disk, dir: &Path, tenant: &TenantId, info: &RunInfo) -> Result<Run> {
        let path = dir.join(name(info.first, info.end));
        let file = disk.open(&path, Mode::Read)?;
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let table_at = HEAD_BYTES as u64 + info.rows.saturating_mul(ROW_BYTES as u64);
        let table_len = run::chunks(info.rows).saturating_mul(LINE_BYTES as u64);
        let filter_len = run::blocks(info.rows).saturating_mul(run::BLOCK_BYTES as u64);
        let whole = table_at.saturating_add(table_len).saturating_add(filter_len);
        if file.len()? != whole {
            return Err(Error::corrupt(&path, "run of event ids has another length"));
        }
        let head = info.head(tenant);
        let mut found = vec![0; head.len()];
        file.read_exact_at(0, &mut found)?;
        let mut table = vec![0; count(table_len)];
        file.read_exact_at(table_at, &mut table)?;
        let mut filter = vec![0; count(filter_len)];
        file.read_exact_at(table_at + table_len, &mut filter)?;
        if found != head || run::hash(&head, &table, &filter) != info.hash {
            return Err(Error::corrupt(&path, "run of event ids is not the one that was written"));
        }
        let line = |line: &[u8]| {
            let (tag, hash) = line.split_first_chunk::<16>()?;
            Some((EventIdTag(*tag), Hash32(hash.try_into().ok()?)))
        };
        let lines = table.chunks_exact(LINE_BYTES).filter_map(line).collect();
        Ok(Run { info: *info, path, file, lines, filter })
    }

    /// The entry in which a tag was seen. Reads one chunk, and none when the filter knows better.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` when the chunk is not the one that was written.
    pub fn find(&self, tag: &EventIdTag) -> Result<Option<EntryIndex>> {
        if !run::passes(&self.filter, tag) {
            return Ok(None);
        }
        let after = self.lines.partition_point(|(first, _)| first <= tag);
        let Some(chunk) = after.checked_sub(1) else { return Ok(None) };
        let bytes = self.chunk(chunk)?;
        let found = run::decode_rows(&bytes).find(|(other, _)| other == tag);
        Ok(found.map(|(_, index)| index))
    }

    /// Every row, ascending by tag.
    ///
    /// # Errors
    /// As `find`.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(usize::try_from(self.info.rows).unwrap_or(0));
        for chunk in 0..self.lines.len() {
            rows.extend(run::decode_rows(&self.chunk(chunk)?));
        }
        Ok(rows)
    }

    fn chunk(&self, number: usize) -> Result<Vec<u8>> {
        let from = (number * CHUNK_ROWS) as u64;
        let rows = self.info.rows.saturating_sub(from).min(CHUNK_ROWS as u64) as usize;
        let mut bytes = vec![0; rows * ROW_BYTES];
        self.file.read_exact_at(HEAD_BYTES as u64 + from * ROW_BYTES as u64, &mut bytes)?;
        let expect = self.lines.get(number).map(|(_, hash)| *hash);
        match expect == Some(sha256(&[&bytes])) {
            true => Ok(bytes),
            false => Err(Error::corrupt(&self.path, "a chunk of event ids was altered")),
        }
    }
}

/// Collects bytes into large writes.
struct Sink<'f> {
    file: &'f dyn DiskFile,
    at: u64,
    waiting: Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITE_BYTES { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_at(self.at, &self.waiting)?;
            self.at += self.waiting.len() as u64;
            self.waiting.clear();
        }
        Ok(())
    }
}
