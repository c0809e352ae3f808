//! Packed body files: read by the offsets of the plain file they replaced, and made from one.
//! It never opens a body: whoever packs gives the frames as they shall lie.
//!
//! A packed file that would be no smaller is not made: most of those are never begun on disk.
//! Order, each step durable before the next: `.seg.new` written and synced, read back and counted,
//! renamed over `.seg`, directory synced. A crash leaves the one or the other, and at most a
//! `.seg.new`, which the next opening removes.

use crate::base::id::TenantId;
use crate::base::unit::ClassDay;
use crate::format::body::{self, Frame};
use crate::format::packed::bodies::{
    self as packed, BLOCK_BYTES_AIM, BLOCK_BYTES_MAX, Block, Placed, ROW_BYTES, Rows, TRAILER_BYTES,
};
use crate::format::unit::BodySpan;
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, Result};
use crate::store::packed::segment::{GoOn, SYNC_BYTES};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a file at most: one for each 64 KiB of ciphertext.
const ROWS_MAX: u32 = 1 << 24;

/// Reads the rows of a packed file.
///
/// # Errors
/// `Corrupt` when they are damaged; those of the disk.
pub fn rows(file: &dyn DiskFile, path: &Path) -> Result<Rows> {
    let corrupt = |what: &str| Error::corrupt(path, format!("packed body file: {what}"));
    let len = file.len()?;
    let mut trailer = [0; TRAILER_BYTES];
    let at = len.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| corrupt("cut short"))?;
    file.read_exact_at(at, &mut trailer)?;
    let (at, count) = Rows::trailer(&trailer).map_err(|e| corrupt(&e.to_string()))?;
    let rows = u64::from(count) * ROW_BYTES as u64 + TRAILER_BYTES as u64;
    if count > ROWS_MAX || at.checked_add(rows) != Some(len) {
        return Err(corrupt("rows do not end the file"));
    }
    let mut bytes = vec![0; usize::try_from(rows).unwrap_or(0)];
    file.read_exact_at(at, &mut bytes)?;
    Rows::decode(&bytes).map_err(|e| corrupt(&e.to_string()))
}

/// Length of the plain file that a packed one was made from, without reading its rows.
///
/// # Errors
/// As `rows`.
pub fn plain_len(file: &dyn DiskFile, path: &Path) -> Result<u64> {
    let corrupt = |what: &str| Error::corrupt(path, format!("packed body file: {what}"));
    let mut trailer = [0; TRAILER_BYTES];
    let at = file.len()?.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| corrupt("cut short"))?;
    file.read_exact_at(at, &mut trailer)?;
    Rows::trailer(&trailer).map_err(|e| corrupt(&e.to_string()))?;
    Reader::new(&trailer).u64("length").map_err(|e| corrupt(&e.to_string()))
}

/// What a span of the plain file held: frames as a plain file has them, but for record ids and
/// CRCs, which are zero. False when something of it is damaged.
///
/// # Errors
/// Those of the disk.
pub fn read(file: &dyn DiskFile, rows: &Rows, span: &BodySpan) -> Result<(Vec<u8>, bool)> {
    let place = rows.covering(span.start, span.end);
    let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap_or(usize::MAX)];
    file.read_exact_at(place.start, &mut bytes)?;
    let (mut out, mut sound) =
        (Vec::with_capacity(bytes.len() * 5 / 4), span.end <= rows.plain_len);
    let mut at = place.start;
    for block in packed::blocks(&bytes) {
        let here = at;
        at += block.as_ref().map_or(0, |block| block.len() as u64);
        let Ok(frames) = block.and_then(packed::frames) else {
            sound = false;
            continue;
        };
        // A block that is not the one its row names is none.
        if frames.first().map(|first| first.offset) != rows.first_of(here) {
            sound = false;
            continue;
        }
        for placed in frames.iter().filter(|p| (span.start..span.end).contains(&p.offset)) {
            body::put_packed(&mut out, &placed.frame);
        }
    }
    Ok((out, sound))
}

/// A packed body file being written beside the plain one.
pub struct Writer<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    fresh: PathBuf,
    head: Vec<u8>,
    /// Made with the first block, since a small file may turn out to gain nothing.
    file: Option<Arc<dyn DiskFile>>,
    at: u64,
    synced: u64,
    block: Block,
    rows: Vec<(u64, u64)>,
    frames: u64,
}

/// Where the packed form of a body file is made.
pub fn fresh_path(path: &Path) -> PathBuf {
    path.with_extension("seg.new")
}

impl<'a> Writer<'a> {
    /// One beside the plain file at `path`. Nothing is written yet.
    pub fn new(disk: &'a dyn Disk, path: &Path, tenant: &TenantId, class_day: ClassDay) -> Self {
        let (fresh, head) = (fresh_path(path), packed::file_head(tenant, class_day));
        let (at, rows) = (body::FILE_HEAD_BYTES, Vec::new());
        let (path, block) = (path.to_owned(), Block::default());
        Writer { disk, path, fresh, head, file: None, at, synced: at, block, rows, frames: 0 }
    }

    /// Appends a frame; `offset` is where it started in the plain file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn push(&mut self, offset: u64, frame: Frame<'_>) -> Result<()> {
        self.block.push(&Placed { offset, frame });
        self.frames += 1;
        if self.block.len() >= BLOCK_BYTES_AIM {
            let (bytes, first) = std::mem::take(&mut self.block).finish();
            self.write(&bytes, first)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], first: u64) -> Result<()> {
        if bytes.len() as u64 > BLOCK_BYTES_MAX {
            return Err(Error::corrupt(&self.path, "a body longer than an event can be"));
        }
        let file = self.begun()?;
        file.write_at(self.at, bytes)?;
        self.rows.push((first, self.at));
        self.at += bytes.len() as u64;
        // A commit's own sync must not have to wait for all of this at once.
        if self.at - self.synced >= SYNC_BYTES {
            file.sync()?;
            self.synced = self.at;
        }
        Ok(())
    }

    /// The file, with its head.
    fn begun(&mut self) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = self.disk.open(&self.fresh, Mode::Create)?;
        file.set_len(0)?;
        file.write_at(0, &self.head)?;
        self.file = Some(file.clone());
        Ok(file)
    }

    /// Completes and syncs it, reads it back, and returns what `Finished::install` needs.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` when what was written does not come back.
    pub fn finish(mut self, plain_len: u64, go_on: GoOn<'_>) -> Result<Ended> {
        let last = std::mem::take(&mut self.block);
        let last = (!last.is_empty()).then(|| last.finish());
        let count = self.rows.len() + last.iter().len();
        let blocks = self.at + last.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64);
        if blocks + (count * ROW_BYTES + TRAILER_BYTES) as u64 >= plain_len {
            return Ok(Ended::NoSmaller);
        }
        if let Some((bytes, first)) = last {
            self.write(&bytes, first)?;
        }
        let file = self.begun()?;
        let rows = Rows { rows: self.rows, plain_len, packed_end: self.at };
        let end = rows.encode();
        file.write_at(self.at, &end)?;
        file.sync()?;
        let file = self.disk.open(&self.fresh, Mode::Read)?;
        let back = rows_and_frames(&*file, &self.fresh, go_on)?;
        let Some(back) = back else { return Ok(Ended::Stopped) };
        if back != (rows, self.frames) {
            return Err(Error::corrupt(&self.fresh, "packed body file does not come back"));
        }
        let packed = self.at + end.len() as u64;
        let (path, fresh, plain) = (self.path, self.fresh, plain_len);
        Ok(Ended::Whole(Finished { path, fresh, plain, packed }))
    }
}

/// How the writing of a packed body file ended.
pub enum Ended {
    /// It is complete.
    Whole(Finished),
    /// It would be no smaller than the plain one, which stays.
    NoSmaller,
    /// It was told to stop.
    Stopped,
}

fn rows_and_frames(
    file: &dyn DiskFile,
    path: &Path,
    go_on: GoOn<'_>,
) -> Result<Option<(Rows, u64)>> {
    let rows = rows(file, path)?;
    let ends = rows.rows.iter().skip(1).map(|row| row.1).chain([rows.packed_end]);
    let mut frames = 0;
    for ((_, start), end) in rows.rows.iter().zip(ends) {
        if !go_on() {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(*start, &mut bytes)?;
        let block = packed::frames(&bytes).map_err(|e| Error::corrupt(path, e.to_string()))?;
        frames += block.len() as u64;
    }
    Ok(Some((rows, frames)))
}

/// A packed body file that is complete and durable under its working name.
pub struct Finished {
    path: PathBuf,
    fresh: PathBuf,
    /// Length of the plain file.
    pub plain: u64,
    /// Length of the packed one.
    pub packed: u64,
}

impl Finished {
    /// Puts it in the plain file's place.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn install(self, disk: &dyn Disk) -> Result<()> {
        disk.rename(&self.fresh, &self.path)?;
        disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }
}

/// What is done with a run of frames and their offsets.
pub type EachRun<'a, E> = dyn FnMut(&[(u64, Frame<'_>)]) -> std::result::Result<(), E> + 'a;

/// Calls `each` with the frames of a plain file in runs, with their offsets: at most `run` frames
/// at a time.
///
/// # Errors
/// `Corrupt` when a frame is damaged or something lies between frames: such a file stays as it
/// is. Those of the disk and of `each`.
pub fn each_run<E: From<Error>>(
    file: &dyn DiskFile,
    path: &Path,
    run: usize,
    each: &mut EachRun<'_, E>,
) -> std::result::Result<u64, E> {
    let len = file.len()?;
    let mut at = body::FILE_HEAD_BYTES;
    while at < len {
        let window = (len - at).min(BLOCK_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(window).unwrap_or(0)];
        file.read_exact_at(at, &mut bytes)?;
        let mut reader = Reader::new(&bytes);
        let mut frames = Vec::new();
        while frames.len() < run && !reader.rest().is_empty() {
            let offset = at + reader.offset() as u64;
            let before = reader;
            match body::read_frame(&mut reader) {
                Ok(frame) if frame.intact => frames.push((offset, frame)),
                // The window may end within a frame; the next one starts with it.
                Err(_) if !frames.is_empty() => {
                    reader = before;
                    break;
                }
                _ => {
                    let what = format!("damaged body at byte {offset}: the file is not packed");
                    return Err(Error::corrupt(path, what).into());
                }
            }
        }
        each(&frames)?;
        at += reader.offset() as u64;
    }
    Ok(len)
}
