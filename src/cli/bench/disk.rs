//! Disk: bytes for each raw byte, as written and after days have passed and everything that can
//! be packed was packed. Index, tiles, proofs and keys count like the rest. And what packing costs
//! a reader: proofs a second, beside what one would take if leaf hashes were not stored.

use crate::base::event::Draft;
use crate::base::unit::{EntryIndex, NANOS_PER_DAY, UtcNanos};
use crate::base::world::Clock;
use crate::cli::bench::{Numbers, Plan, bytes_below, fresh};
use crate::cli::demo::corpus::corpus;
use crate::cli::demo::prng::Dice;
use crate::vault::error::{Error, Result};
use crate::vault::{Vault, World};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Events written: six closed segments of the log and one that is not, as a log always has.
const EVENTS: usize = 1_000_000;
/// Events in memory at a time.
const PART: usize = 100_000;
/// Events of one batch.
const BATCH: usize = 1_000;
/// Days that pass before what was written can be packed.
const DAYS: u64 = 3;
/// Entries proven.
const PROOFS: usize = 300;
/// Leaves of a tile.
const TILE: u64 = 256;

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
    let mut raw = 0;
    for part in 0..(EVENTS / PART) as u64 {
        let (source, events) = (format!("canonical/disk-{part}"), corpus(2 + part, PART));
        raw += events.iter().map(String::len).sum::<usize>();
        for chunk in events.chunks(BATCH) {
            let draft = chunk.iter().map(|e| Draft { source: &source, json: e.as_bytes() });
            vault.append(&draft.collect::<Vec<_>>())?;
        }
    }
    vault.settle();
    vault.checkpoint()?;
    weigh(&dir, "plain", raw, numbers);
    prove(&vault, "plain", numbers)?;
    ahead.by.fetch_add(DAYS * NANOS_PER_DAY, Ordering::SeqCst);
    if let Some(text) = corpus(1, 1).first() {
        // Something has to happen on the later day: days count by log time.
        vault.append(&[Draft { source: "canonical/later", json: text.as_bytes() }])?;
    }
    vault.checkpoint()?;
    let start = Instant::now();
    vault.pack_in_background(true);
    let packed = vault.packing_settled();
    let took = start.elapsed().as_secs_f64();
    if let Some(why) = packed.failed {
        return Err(Error::evidence("BENCH_NOT_PACKED", why));
    }
    vault.settle();
    numbers.insert("disk.pack_events_per_s".to_owned(), EVENTS as f64 / took.max(1e-9));
    numbers.insert("disk.groups_kept_plain".to_owned(), packed.done.kept as f64);
    let (log, bodies) = vault.room()?;
    numbers.insert("disk.segments_packed".to_owned(), log.packed as f64);
    let ratio = |from: u64, to: u64| to as f64 / from.max(1) as f64;
    numbers.insert("disk.segments_ratio".to_owned(), ratio(log.packed_from, log.packed_to));
    numbers.insert("disk.bodies_ratio".to_owned(), ratio(bodies.packed_from, bodies.packed_to));
    weigh(&dir, "packed", raw, numbers);
    prove(&vault, "packed", numbers)?;
    drop(vault);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// Proofs a second; and how many tiles a second could be made from the entries themselves, which a
/// proof would have to do at least once if leaf hashes were not stored.
fn prove(vault: &Vault, state: &str, numbers: &mut Numbers) -> Result<()> {
    let mut dice = Dice::new(5, "disk");
    let closed = vault.size().0 / TILE / 2;
    let places: Vec<u64> = (0..PROOFS).map(|_| dice.below(closed * TILE)).collect();
    let per_s = |start: Instant| PROOFS as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let start = Instant::now();
    for place in &places {
        vault.prove(EntryIndex(*place))?;
    }
    numbers.insert(format!("disk.{state}.proofs_per_s"), per_s(start));
    let start = Instant::now();
    for place in &places {
        let first = place / TILE * TILE;
        // Each entry ends in the hash of the one before: nothing need be hashed.
        let mut hashes: Vec<[u8; 32]> = Vec::new();
        let range = EntryIndex(first)..EntryIndex(first + TILE);
        vault.for_each_entry_bytes(range, &mut |entry| {
            hashes.extend(entry.last_chunk::<32>());
            Ok(())
        })?;
        std::hint::black_box(hashes);
    }
    numbers.insert(format!("disk.{state}.tiles_of_entries_per_s"), per_s(start));
    Ok(())
}

/// Bytes for each raw byte, in all and by what they are for.
fn weigh(dir: &Path, state: &str, raw: usize, numbers: &mut Numbers) {
    let (data, keys) = (dir.join("data"), bytes_below(&dir.join("keys")));
    let per_event = |bytes: u64| bytes as f64 / EVENTS as f64;
    let all = bytes_below(&data) + keys;
    numbers.insert(format!("disk.{state}.bytes_per_raw_byte"), all as f64 / raw as f64);
    numbers.insert(format!("disk.{state}.bytes_per_event"), per_event(all));
    numbers.insert(format!("disk.{state}.keys_per_event"), per_event(keys));
    let tenants = std::fs::read_dir(data.join("tenants")).into_iter().flatten();
    for tenant in tenants.filter_map(|entry| entry.ok()) {
        for part in std::fs::read_dir(tenant.path()).into_iter().flatten().filter_map(|e| e.ok()) {
            let name = part.file_name().to_string_lossy().into_owned();
            let bytes = per_event(bytes_below(&part.path()));
            numbers.insert(format!("disk.{state}.{name}_per_event"), bytes);
        }
    }
}
