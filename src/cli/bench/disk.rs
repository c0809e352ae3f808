//! Disk: bytes for each raw byte, as written and after days have passed and everything that can
//! be packed was packed. Index, tiles and proofs count like the rest.

use crate::base::event::Draft;
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::base::world::Clock;
use crate::cli::bench::{Numbers, Plan, bytes_below, fresh};
use crate::cli::demo::corpus::corpus;
use crate::vault::World;
use crate::vault::error::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Events written: six epochs, so that seals are among what is weighed, and two closed segments
/// of the log and one that is not, as a log always has.
const EVENTS: usize = 400_000;
/// Events of one batch.
const BATCH: usize = 1_000;
/// Days that pass before what was written can be packed.
const DAYS: u64 = 3;

/// The machine's clock, moved forward by hand.
struct Ahead {
    clock: Arc<dyn Clock>,
    by: AtomicU64,
}

impl Clock for Ahead {
    fn wall(&self) -> UtcNanos {
        UtcNanos(self.clock.wall().0 + self.by.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> u64 {
        self.clock.monotonic() + self.by.load(Ordering::SeqCst)
    }
}

/// Measures and keeps the numbers.
///
/// # Errors
/// Those of the vault.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let ahead = Arc::new(Ahead { clock: world.clock.clone(), by: AtomicU64::new(0) });
    let world = World { clock: ahead.clone(), ..world.clone() };
    let dir = plan.dir.join("disk");
    let (vault, _) = fresh(&world, &dir)?;
    let events = corpus(2, EVENTS);
    let raw: usize = events.iter().map(String::len).sum();
    for chunk in events.chunks(BATCH) {
        let draft = chunk.iter().map(|e| Draft { source: "canonical/disk", json: e.as_bytes() });
        vault.append(&draft.collect::<Vec<_>>())?;
    }
    vault.settle();
    vault.checkpoint()?;
    weigh(&dir, "plain", raw, numbers);
    ahead.by.fetch_add(DAYS * NANOS_PER_DAY, Ordering::SeqCst);
    if let Some(text) = events.first() {
        // Something has to happen on the later day: days count by log time.
        vault.append(&[Draft { source: "canonical/later", json: text.as_bytes() }])?;
    }
    let start = Instant::now();
    let packed = vault.pack()?;
    let took = start.elapsed().as_secs_f64();
    vault.settle();
    numbers.insert("disk.pack_events_per_s".to_owned(), EVENTS as f64 / took.max(1e-9));
    numbers.insert("disk.groups_kept_plain".to_owned(), packed.kept as f64);
    weigh(&dir, "packed", raw, numbers);
    drop(vault);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// Bytes for each raw byte, in all and by what they are for.
fn weigh(dir: &Path, state: &str, raw: usize, numbers: &mut Numbers) {
    let data = dir.join("data");
    let per = |bytes: u64| bytes as f64 / raw as f64;
    numbers.insert(format!("disk.{state}.bytes_per_raw_byte"), per(bytes_below(&data)));
    let per_event = bytes_below(&data) as f64 / EVENTS as f64;
    numbers.insert(format!("disk.{state}.bytes_per_event"), per_event);
    let tenants = std::fs::read_dir(data.join("tenants")).into_iter().flatten();
    for tenant in tenants.filter_map(|entry| entry.ok()) {
        for part in std::fs::read_dir(tenant.path()).into_iter().flatten().filter_map(|e| e.ok()) {
            let name = part.file_name().to_string_lossy().into_owned();
            let bytes = bytes_below(&part.path());
            numbers.insert(format!("disk.{state}.{name}_per_event"), bytes as f64 / EVENTS as f64);
        }
    }
}
