//! `chancery bench`: what this machine does with this vault, in one table. Every number is the
//! median of several runs and durable (fsync on); the hashing baseline runs beside it in the same
//! process, because machines differ by 40 % from hour to hour. It never judges its own numbers.

pub mod attacks;
pub mod counting;
pub mod disk;
pub mod erasing;
pub mod ingest;
pub mod opening;
pub mod proving;
pub mod reading;
pub(crate) mod soak;
pub mod speed;

use crate::base::refusal::Refusal;
use crate::crypto::lanes::Lanes;
use crate::policy::default_files;
use crate::vault::config::{Config, Tuning};
use crate::vault::error::Result;
use crate::vault::{Vault, World};
use std::collections::BTreeMap;
use std::path::Path;

/// Measurements by stable dotted key.
pub type Numbers = BTreeMap<String, f64>;

/// What to measure, and where.
pub struct Plan<'a> {
    /// Directory to measure in.
    pub dir: &'a Path,
    /// Seconds of each ingest measurement.
    pub seconds: u32,
    /// Subjects of the erasure measurement.
    pub subjects: u32,
    /// Parts to measure: ingest, commit, verify, prove, erase, disk, speed; empty = all but speed.
    pub only: &'a [String],
}

impl Plan<'_> {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// Runs the plan. `say` is told what is being measured.
///
/// # Errors
/// Those of the vault; `Invalid` for an unknown part.
pub fn run(world: &World, plan: &Plan<'_>, say: &mut dyn FnMut(&str)) -> Result<Numbers> {
    const PARTS: [&str; 7] = ["ingest", "commit", "verify", "prove", "erase", "disk", "speed"];
    if plan.only.iter().any(|part| !PARTS.contains(&part.as_str())) {
        let fix = "--only takes ingest, commit, verify, prove, erase, disk or speed";
        return Err(Refusal::new("BENCH_PART_UNKNOWN", fix).into());
    }
    let mut numbers = Numbers::new();
    if plan.wants("ingest") || plan.wants("verify") {
        say("ingest: 589-byte events, four values sealed and the rest as data");
        ingest::run(world, plan, &mut numbers)?;
    }
    if plan.wants("prove") {
        say("prove: one entry, its check, a thousand entries as a range");
        proving::run(world, plan, &mut numbers)?;
    }
    if plan.wants("disk") {
        say("disk: bytes for each raw byte, before and after packing");
        disk::run(world, plan, &mut numbers)?;
    }
    if plan.wants("commit") {
        say("commit: syncs of one commit by number of classes");
        counting::run(world, plan, &mut numbers)?;
    }
    if plan.wants("erase") {
        say("erase: one of many subjects");
        erasing::run(world, plan, &mut numbers)?;
    }
    if plan.only.iter().any(|part| part == "speed") {
        say("speed: the same record with each way of hashing, and where the time goes");
        speed::run(world, plan, &mut numbers)?;
    }
    numbers.insert("memory.peak_mib".to_owned(), peak_memory_mib());
    Ok(numbers)
}

/// Names of this CPU's features that matter here.
pub fn cpu_features() -> String {
    let mut names: Vec<&str> = Vec::new();
    for backend in crate::crypto::lanes::Backend::available() {
        if let Some(lanes) = crate::crypto::lanes::Lanes::with(backend) {
            names.push(lanes.name());
        }
    }
    names.join(",")
}

/// Peak resident memory of this process in MiB, from the kernel; 0 where it does not say.
fn peak_memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// A fresh vault below the plan's directory.
fn fresh(world: &World, dir: &Path) -> Result<(Vault, Config)> {
    fresh_using(world, dir, Lanes::detect())
}

/// As `fresh`, with hashing of choice.
fn fresh_using(world: &World, dir: &Path, lanes: Lanes) -> Result<(Vault, Config)> {
    let _ = std::fs::remove_dir_all(dir);
    let config = plain(dir);
    Vault::make(world, &config, "bench.local")?;
    Ok((Vault::open_using(world.clone(), &config, lanes)?, config))
}

/// Configuration of a vault below a directory, with nothing out of the ordinary.
pub fn plain(dir: &Path) -> Config {
    Config {
        data: dir.join("data"),
        keys: dir.join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: default_files(),
        index_on_disk: true,
        outside: Default::default(),
        // What is measured is measured alone.
        tuning: Tuning { pack: false, ..Tuning::default() },
    }
}

/// Median of some samples; 0 for none.
fn median(samples: &mut [f64]) -> f64 {
    quantile(samples, 0.5)
}

/// A quantile of some samples; 0 for none.
fn quantile(samples: &mut [f64], at: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1) as f64;
    samples.get((last * at).round() as usize).copied().unwrap_or(0.0)
}

/// Bytes of all files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.len()),
    };
    entries.filter_map(|entry| entry.ok()).map(size).sum()
}
