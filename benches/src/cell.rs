//! One run of one cell, in a process of its own: a fresh system, every person made known, then
//! clients for some seconds. It answers with rate, latency of the acknowledgements, processor
//! time, bytes on disk and peak memory.

use crate::engine::{self, Engine};
use crate::machine::{Process, space_below};
use anyhow::{Context, Result, anyhow};
use chancery::cli::demo::corpus::{SUBJECTS, corpus};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events of a batch while persons are made known.
const WARM_BATCH: usize = 1_000;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) system: String,
    pub(crate) batch: usize,
    pub(crate) clients: usize,
    /// Batches a client keeps on the way; 1 waits for each.
    pub(crate) on_way: usize,
    pub(crate) seconds: f64,
    pub(crate) corpus: usize,
    pub(crate) seed: u64,
    pub(crate) dir: PathBuf,
    /// The program that serves.
    pub(crate) program: PathBuf,
}

impl Cell {
    /// As a child reads it.
    pub(crate) fn spec(&self) -> Value {
        json!({
            "system": self.system, "batch": self.batch, "clients": self.clients,
            "on_way": self.on_way, "seconds": self.seconds, "corpus": self.corpus,
            "seed": self.seed, "dir": self.dir, "program": self.program,
        })
    }

    fn parse(spec: &Value) -> Result<Self> {
        let number = |key: &str| {
            spec.get(key).and_then(Value::as_u64).ok_or_else(|| anyhow!("no number {key}"))
        };
        let text = |key: &str| {
            spec.get(key).and_then(Value::as_str).ok_or_else(|| anyhow!("no text {key}"))
        };
        Ok(Cell {
            system: text("system")?.to_owned(),
            batch: number("batch")? as usize,
            clients: number("clients")? as usize,
            on_way: number("on_way")? as usize,
            seconds: spec.get("seconds").and_then(Value::as_f64).context("no seconds")?,
            corpus: number("corpus")? as usize,
            seed: number("seed")?,
            dir: PathBuf::from(text("dir")?),
            program: PathBuf::from(text("program")?),
        })
    }
}

/// What one client sends until it is told to stop: the corpus from a place of its own on, then
/// all of it again and again, each time from another source.
pub(crate) struct Feed<'a> {
    events: &'a [String],
    batch: usize,
    client: usize,
    lap: usize,
    source: &'static str,
    at: usize,
    stop: &'a AtomicBool,
}

/// Name of a client's source. It lives as long as the process, which is one run: batches on the
/// way may outlive the lap they are of.
fn source(client: usize, lap: usize) -> &'static str {
    format!("canonical/bench-{client}-{lap}").leak()
}

impl<'a> Feed<'a> {
    fn new(events: &'a [String], cell: &Cell, client: usize, stop: &'a AtomicBool) -> Self {
        let at = client * events.len() / cell.clients.max(1);
        let source = source(client, 0);
        Feed { events, batch: cell.batch, client, lap: 0, source, at, stop }
    }

    /// The next batch and its source.
    pub(crate) fn next(&mut self) -> Option<(&'static str, &'a [String])> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        if self.at >= self.events.len() {
            (self.at, self.lap) = (0, self.lap + 1);
            self.source = source(self.client, self.lap);
        }
        let end = (self.at + self.batch).min(self.events.len());
        let events = self.events.get(self.at..end)?;
        self.at = end;
        Some((self.source, events))
    }
}

/// What one client was told.
#[derive(Default)]
pub(crate) struct Acks {
    events: u64,
    /// Microseconds from sending to the answer.
    latencies: Vec<f64>,
    last: Option<Instant>,
    /// Batches turned away as too much at once, and sent again.
    pub(crate) refused: u64,
}

impl Acks {
    /// A batch sent then is durable now.
    pub(crate) fn add(&mut self, events: usize, since: Instant) {
        let now = Instant::now();
        self.events += events as u64;
        self.latencies.push((now - since).as_secs_f64() * 1e6);
        self.last = Some(now);
    }
}

/// Runs a cell.
pub(crate) fn run(spec: &Value) -> Result<Value> {
    let cell = Cell::parse(spec)?;
    let events = corpus(cell.seed, cell.corpus);
    let engine = engine::open(&cell)?;
    let known = events.get(..events.len().min(SUBJECTS as usize)).unwrap_or_default();
    for chunk in known.chunks(WARM_BATCH) {
        engine.append("canonical/persons", chunk)?;
    }
    engine.settle();
    let before = space_below(&cell.dir);
    let process = Process(engine.process());
    process.clear_peak();
    let (memory, cpu, own) = (process.resident_mib(), process.cpu_nanos(), Process(None));
    let clients_cpu = own.cpu_nanos();
    let (start, acks) = clients(&*engine, &cell, &events)?;
    let cpu = process.cpu_nanos().saturating_sub(cpu);
    let clients_cpu = own.cpu_nanos().saturating_sub(clients_cpu);
    let (behind, since) = (engine.behind(), Instant::now());
    engine.settle();
    let lag = since.elapsed().as_secs_f64();
    let refused = engine.refused() + acks.iter().map(|acks| acks.refused).sum::<u64>();
    let apart = engine.process().is_some();
    // Closed first: databases tidy up then, and what they leave is what they keep.
    let peak = process.peak_mib();
    drop(engine);
    let space = space_below(&cell.dir);
    let count: u64 = acks.iter().map(|acks| acks.events).sum();
    let end = acks.iter().filter_map(|acks| acks.last).max().unwrap_or(start);
    let seconds = (end - start).as_secs_f64();
    let mut latencies: Vec<f64> = acks.into_iter().flat_map(|acks| acks.latencies).collect();
    latencies.sort_by(f64::total_cmp);
    let stored = count + known.len() as u64;
    let raw: usize = events.iter().map(String::len).sum();
    let each = |bytes: u64| bytes as f64 / stored.max(1) as f64;
    let for_each = |nanos: u64| nanos as f64 / count.max(1) as f64;
    Ok(json!({
        "events": count,
        "seconds": seconds,
        "events_per_s": count as f64 / seconds.max(1e-9),
        "cpu_ns_per_event": for_each(cpu),
        // Where they are not in the process that the line above counts.
        "clients_cpu_ns_per_event": apart.then(|| for_each(clients_cpu)),
        "acks": latencies.len(),
        "p50_us": quantile(&latencies, 0.5),
        "p99_us": quantile(&latencies, 0.99),
        "max_us": quantile(&latencies, 1.0),
        "events_stored": stored,
        "bytes_per_event": each(space.on_disk),
        "bytes_per_raw_byte": each(space.on_disk) / (raw as f64 / events.len() as f64),
        "bytes_of_files": space.in_files,
        "bytes_before": before.on_disk,
        "memory_before_mib": memory,
        "peak_mib": peak,
        "index_behind_entries": behind,
        "index_catch_up_s": lag,
        "refused_and_sent_again": refused,
    }))
}

/// Lets clients send; returns when they began, and what each was told.
fn clients(engine: &dyn Engine, cell: &Cell, events: &[String]) -> Result<(Instant, Vec<Acks>)> {
    let (stop, ready) = (AtomicBool::new(false), Barrier::new(cell.clients + 1));
    let feed = |client| Feed::new(events, cell, client, &stop);
    let wait = || {
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs_f64(cell.seconds));
        stop.store(true, Ordering::Relaxed);
        start
    };
    if engine.process().is_some() {
        return std::thread::scope(|scope| {
            let feeds = (0..cell.clients).map(feed).collect();
            let crowd = scope.spawn(move || engine.crowd(feeds));
            let start = wait();
            let acks = crowd.join().map_err(|_| anyhow!("a client panicked"))?;
            Ok((start, acks.context("nobody sent")??))
        });
    }
    std::thread::scope(|scope| {
        let client = |client: usize| {
            let (feed, ready) = (&feed, &ready);
            move || -> Result<Acks> {
                let (mut feed, mut acks) = (feed(client), Acks::default());
                ready.wait();
                engine.drive(&mut feed, &mut acks)?;
                Ok(acks)
            }
        };
        let clients: Vec<_> = (0..cell.clients).map(|n| scope.spawn(client(n))).collect();
        ready.wait();
        let start = wait();
        let mut all = Vec::new();
        for client in clients {
            all.push(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok((start, all))
    })
}

/// A quantile of sorted samples; 0 for none.
pub(crate) fn quantile(samples: &[f64], at: f64) -> f64 {
    let last = samples.len().saturating_sub(1) as f64;
    samples.get((last * at).round() as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        Cell {
            system: "naive".to_owned(),
            batch: 3,
            clients: 2,
            on_way: 1,
            seconds: 0.5,
            corpus: 100,
            seed: 7,
            dir: PathBuf::from("/x"),
            program: PathBuf::from("/y"),
        }
    }

    #[test]
    fn a_feed_never_sends_an_event_twice_from_one_source() {
        let events: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let stop = AtomicBool::new(false);
        let mut feed = Feed::new(&events, &cell(), 1, &stop);
        let mut sent = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let (source, batch) = feed.next().unwrap_or_default();
            assert!(!batch.is_empty() && batch.len() <= 3);
            for event in batch {
                assert!(sent.insert((source, event.clone())), "{source} {event}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(feed.next().is_none());
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[1.0, 2.0, 9.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 9.0], 1.0), 9.0);
    }

    #[test]
    fn a_cell_survives_its_spec() {
        let again = Cell::parse(&cell().spec());
        assert_eq!(again.map(|cell| cell.spec()).ok(), Some(cell().spec()));
    }
}
