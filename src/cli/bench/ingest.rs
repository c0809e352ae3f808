//! Ingest: durable events per second at three batch sizes, two clients, everything running
//! (chain, tree, seals, index, duplicates). It also leaves a log to verify and weigh.

use crate::base::event::Draft;
use crate::cli::bench::{Numbers, Plan, bytes_below, fresh, median, reading};
use crate::cli::demo::corpus::corpus;
use crate::vault::error::Result;
use crate::vault::{Vault, World};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events of the corpus; beyond it the same events come from a further source.
const CORPUS: usize = 200_000;
/// Clients at once.
const CLIENTS: u64 = 2;
/// Runs of which the median counts.
const RUNS: usize = 3;

/// Measures and keeps the numbers.
///
/// # Errors
/// Those of the vault.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let events = corpus(1, CORPUS);
    let dir = plan.dir.join("ingest");
    // What is only to be verified needs a log, not the other batch sizes.
    let batches: &[usize] = if plan.wants("ingest") { &[1, 100, 1000] } else { &[1000] };
    for &batch in batches {
        let mut rates = Vec::new();
        let time = Duration::from_secs_f64(f64::from(plan.seconds) / RUNS as f64);
        let (vault, config) = fresh(world, &dir)?;
        for pass in 0..RUNS {
            let (count, took) = fill(&vault, &events, batch, pass as u64, time)?;
            rates.push(count as f64 / took.as_secs_f64());
        }
        let rate = median(&mut rates);
        numbers.insert(format!("ingest.batch_{batch}.events_per_s"), rate);
        numbers.insert(format!("ingest.batch_{batch}.ns_per_event"), 1e9 / rate.max(1.0));
        if batch == 1000 {
            let entries = vault.size().0 as f64;
            let raw: usize = events.iter().map(String::len).sum();
            let raw = raw as f64 / events.len() as f64 * entries;
            vault.settle();
            reading::run(world, &vault, &config, numbers)?;
            drop(vault);
            let stored = bytes_below(&dir.join("data")) as f64;
            numbers.insert("disk.bytes_per_raw_byte".to_owned(), stored / raw);
            numbers.insert("disk.bytes_per_event".to_owned(), stored / entries);
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// Appends for a while from several clients; returns events made durable and the time it took.
fn fill(
    vault: &Vault,
    events: &[String],
    batch: usize,
    pass: u64,
    time: Duration,
) -> Result<(u64, Duration)> {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let client = |number: u64| {
            let (done, stop) = (&done, &stop);
            move || -> Result<()> {
                for round in 0.. {
                    let source = format!("canonical/bench-{pass}-{number}-{round}");
                    for chunk in events.chunks(batch) {
                        if stop.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        let drafts: Vec<Draft<'_>> = chunk
                            .iter()
                            .map(|e| Draft { source: &source, json: e.as_bytes() })
                            .collect();
                        vault.append(&drafts)?;
                        done.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    }
                }
                Ok(())
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(client(number))).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap_or(Ok(()))?;
        }
        Ok((done.load(Ordering::Relaxed), start.elapsed()))
    })
}
