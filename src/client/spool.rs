//! Opening a spool: the lock, whose it is, and what a crash left. Directory and files are the
//! owner's only; nothing is deleted here that was not settled.
//!
//! | name | is |
//! |---|---|
//! | `lock` | held by the process that has the spool open |
//! | `source` | name of the source and a line feed |
//! | `spool-v1-P` | frames; P is the position of the first one, 20 digits |
//! | `cursor` | how far they are settled |
//! | `receipts.ndjson` | receipts, ever |
//! | `dead.ndjson` | events the vault refused, and bytes that are no frames, ever |
//!
//! A position counts bytes of frames since the spool was made. A file ends where the next begins.

use crate::client::answer::Why;
use crate::client::cursor::Cursor;
use crate::client::emitter::State;
use crate::client::frame::{Piece, next};
use crate::client::outbox::Outbox;
use crate::client::sender::Counts;
use crate::client::tail::Tail;
use crate::client::{Config, Error, Result};
use crate::store::disk::{Disk, DiskLock, Mode};
use crate::store::error::{Error as StoreError, ErrorKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

const NAME: &str = "spool-v1-";
const ANY_VERSION: &str = "spool-v";

/// What emitters and the sender both know.
#[derive(Default)]
pub struct Board {
    /// Where the files of the spool begin.
    pub bases: BTreeSet<u64>,
    /// Everything before this is synced.
    pub end: u64,
    /// Everything before this is settled.
    pub settled: u64,
    /// How the sender fares.
    pub state: State,
    /// Why it does not go on, where it does not.
    pub why: Option<Why>,
    /// What it counted.
    pub counts: Counts,
    /// Somebody wants it to end.
    pub closing: bool,
    /// Somebody wants it to try now.
    pub kicked: bool,
}

/// A board behind its lock, and a bell for whoever waits for it to change.
#[derive(Default)]
pub struct Shared {
    board: Mutex<Board>,
    /// Rung after each change of the board, or of what goes with it.
    pub bell: Condvar,
}

impl Shared {
    /// The board. What it holds is whole at any time.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What opening found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Found {
    /// Bytes of a frame that a crash cut short: its `emit` never returned.
    pub torn_bytes: u64,
    /// There are events and no cursor that can be read: they are sent again.
    pub cursor_lost: bool,
}

/// An open spool.
pub struct Spool {
    /// Where events are written.
    pub tail: Tail,
    /// Where they are read and settled.
    pub outbox: Outbox,
    /// What both know.
    pub shared: Arc<Shared>,
    /// What opening found.
    pub found: Found,
    /// Held as long as the spool is open.
    pub lock: Box<dyn DiskLock>,
}

/// Path of the file that begins at a position.
pub fn segment_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{NAME}{base:020}"))
}

/// Whether a name of a source may stand in a request.
pub fn is_source(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    (1..=128).contains(&name.len()) && name.bytes().all(plain)
}

/// Opens or makes a spool.
///
/// # Errors
/// Another process has it open, it is of another source or a newer version, or the disk refuses.
pub fn open(disk: &Arc<dyn Disk>, config: &Config) -> Result<Spool> {
    let dir = &config.dir;
    disk.create_dir(dir)?;
    let lock = disk.lock(&dir.join("lock"))?;
    claim(&**disk, dir, &config.source)?;
    let bases = bases(&**disk, dir)?;
    let (cursor, cursor_lost) = cursor(&**disk, dir, !bases.is_empty())?;
    let mut found = Found { torn_bytes: 0, cursor_lost };
    let position = cursor.map_or(0, |cursor| cursor.position);
    let first = bases.first().copied().unwrap_or(position);
    let settled = position.max(first);
    let end = match bases.last() {
        Some(last) => Some((*last, recover(&**disk, dir, *last, &mut found)?)),
        None => None,
    };
    // Nothing is written before the cursor: it would count as settled.
    let base = match end {
        Some((base, len)) if base.saturating_add(len) >= settled => base,
        _ => settled,
    };
    let mut board = Board { bases, end: settled, settled, ..Board::default() };
    board.bases.insert(base);
    let shared = Arc::new(Shared { board: Mutex::new(board), bell: Condvar::new() });
    // The cursor is written first: a spool with events and no cursor has lost it.
    let outbox = Outbox::open(disk.clone(), config, shared.clone(), cursor)?;
    let tail = Tail::open(disk.clone(), config, base)?;
    shared.board().end = tail.end();
    Ok(Spool { tail, outbox, shared, found, lock })
}

/// Writes whose spool it is, or sees that it is the same.
fn claim(disk: &dyn Disk, dir: &Path, source: &str) -> Result<()> {
    let path = dir.join("source");
    let line = format!("{source}\n");
    if !disk.exists(&path)? {
        return Ok(disk.replace(&path, line.as_bytes())?);
    }
    let found = disk.read(&path)?;
    match found == line.as_bytes() {
        true => Ok(()),
        false => {
            let found = String::from_utf8_lossy(&found).trim_end().to_owned();
            let known = is_source(&found);
            Err(Error::OtherSource { found: if known { found } else { "?".to_owned() } })
        }
    }
}

fn bases(disk: &dyn Disk, dir: &Path) -> Result<BTreeSet<u64>> {
    let mut bases = BTreeSet::new();
    for listed in disk.list(dir)? {
        let Some(digits) = listed.name.strip_prefix(NAME) else {
            if listed.name.starts_with(ANY_VERSION) {
                let what = "a newer version wrote this spool";
                return Err(StoreError::new(ErrorKind::TooNew, &dir.join(listed.name), what).into());
            }
            continue;
        };
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        if let Some(base) = plain.then(|| digits.parse().ok()).flatten() {
            bases.insert(base);
        }
    }
    Ok(bases)
}

/// The cursor; whether it is lost.
fn cursor(disk: &dyn Disk, dir: &Path, is_used: bool) -> Result<(Option<Cursor>, bool)> {
    let path = dir.join("cursor");
    let read = match disk.exists(&path)? {
        true => Cursor::parse(&disk.read(&path)?),
        false => None,
    };
    let lost = read.is_none() && is_used;
    Ok((read, lost))
}

/// Cuts what a crash left of a last frame; the length that stays.
fn recover(disk: &dyn Disk, dir: &Path, base: u64, found: &mut Found) -> Result<u64> {
    let path = segment_path(dir, base);
    let bytes = disk.read(&path)?;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match next(rest, true) {
            Piece::Whole { end, .. } | Piece::Damaged { end } => at += end,
            Piece::Short => break,
        }
    }
    found.torn_bytes = (bytes.len() - at) as u64;
    if found.torn_bytes > 0 {
        let file = disk.open(&path, Mode::Write)?;
        file.set_len(at as u64)?;
        file.sync()?;
    }
    Ok(at as u64)
}
