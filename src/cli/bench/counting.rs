//! Counting: how many syncs one commit takes when its events fall into 1, 4 or 16 classes, and
//! how long it takes. A disk that counts stands before the real one.

use crate::base::event::{Draft, Event};
use crate::base::unit::ClassId;
use crate::cli::bench::{Numbers, Plan, fresh, median};
use crate::cli::demo::corpus::corpus;
use crate::policy::classify::Scratch;
use crate::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode};
use crate::store::error::Result as StoreResult;
use crate::vault::World;
use crate::vault::error::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Events of one commit.
const BATCH: usize = 160;
/// Commits measured.
const COMMITS: usize = 30;

struct CountingDisk {
    under: Arc<dyn Disk>,
    syncs: Arc<AtomicU64>,
}

struct CountingFile {
    under: Arc<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl DiskFile for CountingFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> StoreResult<()> {
        self.under.read_exact_at(offset, bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> StoreResult<()> {
        self.under.write_at(offset, bytes)
    }
    fn sync(&self) -> StoreResult<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.under.sync()
    }
    fn set_len(&self, len: u64) -> StoreResult<()> {
        self.under.set_len(len)
    }
    fn len(&self) -> StoreResult<u64> {
        self.under.len()
    }
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, mode: Mode) -> StoreResult<Arc<dyn DiskFile>> {
        let under = self.under.open(path, mode)?;
        Ok(Arc::new(CountingFile { under, syncs: self.syncs.clone() }))
    }
    fn exists(&self, path: &Path) -> StoreResult<bool> {
        self.under.exists(path)
    }
    fn list(&self, dir: &Path) -> StoreResult<Vec<Listed>> {
        self.under.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> StoreResult<()> {
        self.under.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> StoreResult<()> {
        self.under.rename(from, to)
    }
    fn remove(&self, path: &Path) -> StoreResult<()> {
        self.under.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> StoreResult<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.under.sync_dir(dir)
    }
    fn is_private(&self, path: &Path) -> StoreResult<bool> {
        self.under.is_private(path)
    }
    fn lock(&self, path: &Path) -> StoreResult<Box<dyn DiskLock>> {
        self.under.lock(path)
    }
}

/// Measures.
///
/// # Errors
/// Those of the vault.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let texts = corpus(2, BATCH);
    let syncs = Arc::new(AtomicU64::new(0));
    let disk = CountingDisk { under: world.disk.clone(), syncs: syncs.clone() };
    let world = World { disk: Arc::new(disk), ..world.clone() };
    let dir = plan.dir.join("commit");
    let (vault, _) = fresh(&world, &dir)?;
    let policies = vault.policies();
    let mut scratch = Scratch::default();
    for classes in [1u16, 4, 16] {
        let (mut counts, mut times) = (Vec::new(), Vec::new());
        for commit in 0..=COMMITS {
            let mut events: Vec<Event<'_>> = Vec::new();
            // The same persons each time, from a source of its own: only the commit is measured.
            let source = format!("canonical/commit-{classes}-{commit}");
            for (n, text) in texts.iter().enumerate() {
                let draft = Draft { source: &source, json: text.as_bytes() };
                let mut event = policies.event(draft, &mut scratch)?;
                event.class = ClassId(100 + (n as u16 % classes));
                events.push(event);
            }
            vault.register_sources(&[Arc::from(source.as_str())].into())?;
            let (before, start) = (syncs.load(Ordering::Relaxed), Instant::now());
            vault.append_events(events)?;
            // The first commit makes keys and files; it is not what is measured.
            if commit > 0 {
                counts.push((syncs.load(Ordering::Relaxed) - before) as f64);
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        numbers.insert(format!("commit.fsyncs.classes_{classes}"), median(&mut counts));
        numbers.insert(format!("commit.ms.classes_{classes}"), median(&mut times));
    }
    drop(vault);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
