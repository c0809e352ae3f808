//! The front of the spool: what is to be sent next, and what is settled. Settling is three steps,
//! each synced before the next: refusals and receipts into their ledgers, then the cursor. A crash
//! between them leaves the old cursor, which also says how long the ledgers were: what lies beyond
//! is cut at the next open, and comes again with the batch.
//!
//! It never passes over bytes in silence: what is no frame goes into `dead.ndjson` as it is.

use crate::base::limits::EVENT_BYTES_MAX;
use crate::client::cursor::Cursor;
use crate::client::event::{EventId, id_of};
use crate::client::frame::{FRAME_BYTES_MAX, Piece, next};
use crate::client::sender::Counts;
use crate::client::spool::{Shared, segment_path};
use crate::client::{BATCH_BYTES_MAX, Config};
use crate::format::json::Tape;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An event to be sent.
#[derive(Clone)]
pub struct Item {
    /// Where its frame begins.
    pub position: u64,
    /// Its id.
    pub id: EventId,
    /// Its bytes.
    pub json: Vec<u8>,
}

/// Bytes that are no frame of an event.
pub struct Junk {
    /// Where they begin.
    pub position: u64,
    /// What is there.
    pub bytes: Vec<u8>,
    /// Bytes that should be there and are not.
    pub missing: u64,
}

/// What is sent, and settled, together.
#[derive(Default)]
pub struct Batch {
    /// Events in the order in which they were emitted.
    pub items: Vec<Item>,
    /// What lies between them.
    pub junk: Vec<Junk>,
    /// Position behind all of it.
    pub next: u64,
}

/// What became of a batch.
pub struct Settled<'b> {
    /// Position behind it.
    pub next: u64,
    /// Lines for `receipts.ndjson`.
    pub receipts: &'b [u8],
    /// Lines for `dead.ndjson`.
    pub dead: &'b [u8],
    /// Counts, this batch included.
    pub counts: &'b Counts,
}

/// The front of the spool.
pub struct Outbox {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shared: Arc<Shared>,
    cursor: Cursor,
    receipts: Arc<dyn DiskFile>,
    dead: Arc<dyn DiskFile>,
    batch_events: usize,
    batch_bytes: usize,
}

/// The part of a file that a batch is cut from.
struct Window {
    bytes: Vec<u8>,
    /// Nothing follows.
    is_end: bool,
    /// Bytes the file lacks.
    missing: u64,
}

impl Outbox {
    /// Opens the ledgers as the cursor knew them, and writes the cursor where it was another.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: &Config,
        shared: Arc<Shared>,
        old: Option<Cursor>,
    ) -> Result<Outbox> {
        let dir = config.dir.clone();
        let (receipts, receipts_len) =
            ledger(&*disk, &dir.join("receipts.ndjson"), old.map(|old| old.receipts))?;
        let (dead, dead_len) = ledger(&*disk, &dir.join("dead.ndjson"), old.map(|old| old.dead))?;
        disk.sync_dir(&dir)?;
        let position = shared.board().settled;
        let cursor = Cursor { position, receipts: receipts_len, dead: dead_len };
        if old != Some(cursor) {
            disk.replace(&dir.join("cursor"), cursor.to_string().as_bytes())?;
        }
        let outbox = Outbox {
            disk,
            dir,
            shared,
            cursor,
            receipts,
            dead,
            batch_events: config.batch_events.max(1),
            batch_bytes: config.batch_bytes.clamp(EVENT_BYTES_MAX + 1, BATCH_BYTES_MAX),
        };
        outbox.remove_settled();
        Ok(outbox)
    }

    /// What comes next, if anything waits.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, tape: &mut Tape) -> Result<Option<Batch>> {
        let position = self.cursor.position;
        let (base, limit) = {
            let board = self.shared.board();
            if board.end <= position {
                return Ok(None);
            }
            let base = board.bases.range(..=position).next_back().copied().unwrap_or(position);
            let above = position.saturating_add(1);
            (base, board.bases.range(above..).next().copied().unwrap_or(board.end))
        };
        let window = self.window(base, limit)?;
        Ok(Some(self.cut(&window, tape)))
    }

    fn window(&self, base: u64, limit: u64) -> Result<Window> {
        let position = self.cursor.position;
        let wanted = (limit - position).min((self.batch_bytes + FRAME_BYTES_MAX) as u64);
        let path = segment_path(&self.dir, base);
        let (mut bytes, mut there) = (Vec::new(), 0);
        if self.disk.exists(&path)? {
            let file = self.disk.open(&path, Mode::Read)?;
            there = file.len()?.saturating_sub(position - base).min(wanted);
            bytes = vec![0; usize::try_from(there).unwrap_or(0)];
            file.read_exact_at(position - base, &mut bytes)?;
        }
        let missing = if there < wanted { limit - position - there } else { 0 };
        let is_end = missing > 0 || position.saturating_add(there) == limit;
        Ok(Window { bytes, is_end, missing })
    }

    fn cut(&self, window: &Window, tape: &mut Tape) -> Batch {
        let Window { bytes, is_end, missing } = window;
        let from = self.cursor.position;
        let (mut batch, mut at, mut total) = (Batch::default(), 0_usize, 0_usize);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let position = from.saturating_add(at as u64);
            let (json, end) = match next(rest, *is_end) {
                Piece::Whole { json, end } => (Some(json), end),
                Piece::Damaged { end } => (None, end),
                // A window of this length holds a whole frame, or there is none.
                Piece::Short if *is_end || at == 0 => (None, rest.len()),
                Piece::Short => break,
            };
            match json.and_then(|json| Some((json, id_of(json, tape)?))) {
                Some((json, id)) => {
                    total += json.len() + 1;
                    let is_full = batch.items.len() >= self.batch_events;
                    if is_full || total > self.batch_bytes {
                        break;
                    }
                    batch.items.push(Item { position, id, json: json.to_vec() });
                }
                None => {
                    let bytes = rest.get(..end).unwrap_or_default().to_vec();
                    batch.junk.push(Junk { position, bytes, missing: 0 });
                }
            }
            at += end;
        }
        batch.next = from.saturating_add(at as u64);
        if *missing > 0 && at == bytes.len() {
            let position = batch.next;
            batch.junk.push(Junk { position, bytes: Vec::new(), missing: *missing });
            batch.next = batch.next.saturating_add(*missing);
        }
        batch
    }

    /// Writes what became of everything before a position, and moves the cursor there.
    ///
    /// # Errors
    /// `Full` changed nothing and may be tried again with the same; after any other failure only
    /// opening the spool anew helps.
    pub fn settle(&mut self, done: &Settled<'_>) -> Result<()> {
        let Settled { next, receipts, dead, counts } = *done;
        for (file, at, lines) in
            [(&self.dead, self.cursor.dead, dead), (&self.receipts, self.cursor.receipts, receipts)]
        {
            if !lines.is_empty() {
                file.write_at(at, lines)?;
                file.sync()?;
            }
        }
        let cursor = Cursor {
            position: next,
            receipts: self.cursor.receipts.saturating_add(receipts.len() as u64),
            dead: self.cursor.dead.saturating_add(dead.len() as u64),
        };
        self.disk.replace(&self.dir.join("cursor"), cursor.to_string().as_bytes())?;
        self.cursor = cursor;
        {
            // Together: whoever sees that all is settled sees how.
            let mut board = self.shared.board();
            board.settled = next;
            board.counts = counts.clone();
        }
        self.shared.bell.notify_all();
        self.remove_settled();
        Ok(())
    }

    /// Removes files that end before the cursor. One that cannot be removed now is at the next
    /// settling or opening.
    fn remove_settled(&self) {
        let passed: Vec<u64> = {
            let board = self.shared.board();
            let pairs = board.bases.iter().zip(board.bases.iter().skip(1));
            pairs.filter(|(_, end)| **end <= self.cursor.position).map(|(base, _)| *base).collect()
        };
        for base in passed {
            let path = segment_path(&self.dir, base);
            let gone = match self.disk.exists(&path) {
                Ok(true) => self.disk.remove(&path).is_ok(),
                Ok(false) => true,
                Err(_) => false,
            };
            if gone {
                self.shared.board().bases.remove(&base);
            }
        }
    }
}

/// A ledger, cut to what the cursor knew of it, and its length.
fn ledger(disk: &dyn Disk, path: &Path, known: Option<u64>) -> Result<(Arc<dyn DiskFile>, u64)> {
    let file = disk.open(path, Mode::Create)?;
    let mut len = file.len()?;
    match known {
        Some(known) if known < len => {
            file.set_len(known)?;
            file.sync()?;
            return Ok((file, known));
        }
        Some(known) if known == len => return Ok((file, len)),
        _ => {}
    }
    // Somebody took lines away, or the cursor is lost: begin a line of our own.
    let mut last = [b'\n'];
    if len > 0 {
        file.read_exact_at(len - 1, &mut last)?;
    }
    if last != [b'\n'] {
        file.write_at(len, b"\n")?;
        file.sync()?;
        len += 1;
    }
    Ok((file, len))
}
