//! The insider's check: every body opened with the vault's keys, its tag and every commitment
//! recomputed. It says what became of each group; it hands out no value.

use crate::base::record::Fate;
use crate::base::unit::{EntryIndex, Generation};
use crate::store::error::Error as StoreError;
use crate::vault::Vault;
use crate::vault::error::{NO_THREAD, Result};
use crate::vault::read::Reading;
use crate::vault::verify::report::{LISTED_MAX, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Threads that open bodies.
const THREADS: u64 = 2;
/// Entries of one piece of work.
const PIECE: u64 = 16_384;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What became of every sealed group.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct BodyReport {
    /// Entries read.
    pub entries: u64,
    /// Groups by fate: `open`, `erased`, `expired`, or the verdict's name.
    pub fates: BTreeMap<&'static str, u64>,
    /// Generation of the key tree.
    pub generation: Generation,
    /// Findings that make it fail.
    pub failures: u64,
    /// The findings, at most `LISTED_MAX` of a name, ascending by index.
    pub verdicts: Vec<Verdict>,
}

impl BodyReport {
    /// 0 when every group opened or is justified, 1 otherwise, 4 without any group.
    pub fn exit_code(&self) -> u8 {
        match (self.failures, self.fates.is_empty()) {
            (1.., _) => 1,
            (0, true) => 4,
            (0, false) => 0,
        }
    }

    fn take(&mut self, index: EntryIndex, fate: Fate, position: usize) {
        let count = self.fates.entry(fate.name()).or_default();
        *count += 1;
        if matches!(fate, Fate::Open | Fate::Sealed | Fate::Erased | Fate::Expired) {
            return;
        }
        self.failures += 1;
        if *count <= LISTED_MAX {
            let detail = format!("group {position}");
            let name = fate.name();
            self.verdicts.push(Verdict { name, index: Some(index), fails: true, detail });
        }
    }

    fn join(&mut self, other: BodyReport) {
        self.entries += other.entries;
        self.failures += other.failures;
        for (name, count) in other.fates {
            *self.fates.entry(name).or_default() += count;
        }
        self.verdicts.extend(other.verdicts);
    }
}

impl Vault {
    /// Opens every body of the log and says what became of each group. `progress` is told entries
    /// done and in all.
    ///
    /// # Errors
    /// Those of the store.
    pub fn verify_bodies(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<BodyReport> {
        let size = self.size().0;
        let next = AtomicU64::new(0);
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (told, news) = channel();
        let work = |told: std::sync::mpsc::Sender<()>| -> Result<BodyReport> {
            let mut report = BodyReport::default();
            while !stop.load(Ordering::SeqCst) {
                let start = next.fetch_add(PIECE, Ordering::SeqCst);
                if start >= size {
                    break;
                }
                let range = EntryIndex(start)..EntryIndex((start + PIECE).min(size));
                let piece = self.open_piece(range, &mut report, &done);
                if piece.is_err() {
                    stop.store(true, Ordering::SeqCst);
                    piece?;
                }
            }
            drop(told);
            Ok(report)
        };
        let mut report = std::thread::scope(|scope| -> Result<BodyReport> {
            let work = &work;
            let start = |_| {
                let told = told.clone();
                std::thread::Builder::new().spawn_scoped(scope, move || work(told))
            };
            let threads: std::io::Result<Vec<_>> = (0..THREADS).map(start).collect();
            let threads = threads.map_err(|e| {
                stop.store(true, Ordering::SeqCst);
                StoreError::io(std::path::Path::new("bodies"), NO_THREAD, e)
            })?;
            drop(told);
            while news.recv_timeout(TELL_EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                progress(done.load(Ordering::SeqCst), size);
            }
            let mut all = BodyReport::default();
            for thread in threads {
                let gone = |_| {
                    let what = "a thread that opens bodies did not come back";
                    StoreError::corrupt(std::path::Path::new("bodies"), what)
                };
                all.join(thread.join().map_err(gone)??);
            }
            Ok(all)
        })?;
        progress(size, size);
        report.verdicts.sort_by_key(|v| (v.index, v.name));
        self.key_tree(&mut report);
        Ok(report)
    }

    fn open_piece(
        &self,
        range: Range<EntryIndex>,
        report: &mut BodyReport,
        done: &AtomicU64,
    ) -> Result<()> {
        let reading = Reading::WITHIN;
        self.for_each_record(range, reading, &mut |record| {
            for (position, fate) in record.groups.iter().enumerate() {
                report.take(record.entry.index, *fate, position);
            }
            report.entries += 1;
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    /// Generation and root of the key tree must be the announced ones, unless data are older.
    fn key_tree(&self, report: &mut BodyReport) {
        let tree = self.inner.keys.tree();
        let found = (tree.generation(), tree.root_hash());
        report.generation = found.0;
        let announced = self.facts().root;
        if found != announced && self.read_only().is_none() {
            let detail =
                format!("key tree is at generation {}, the log announced {}", found.0, announced.0);
            report.failures += 1;
            let name = "ROOT_HASH_MISMATCH";
            report.verdicts.push(Verdict { name, index: None, fails: true, detail });
        }
    }
}
