//! What this machine is, as far as it decides the numbers: processor and its features, memory,
//! file system, what a sync costs, how fast stock hashing is; and what the kernel counts of this
//! process.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Syncs timed.
const SYNCS: usize = 200;
/// Bytes appended before each.
const SYNC_BYTES: usize = 4096;
/// How long stock hashing is timed.
const HASH_TIME: Duration = Duration::from_millis(200);
/// Nanoseconds of one tick of process times, as Linux counts them for user space.
const TICK_NANOS: u64 = 10_000_000;

/// Bytes of a directory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Space {
    /// Blocks that files take.
    pub(crate) on_disk: u64,
    /// Lengths of files.
    pub(crate) in_files: u64,
}

/// The machine, measured in a directory.
pub(crate) fn describe(dir: &Path) -> Result<Value> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let syncs = syncs(dir)?;
    Ok(json!({
        "cpu": field(&info, "model name"),
        "cpu_family_model": format!("{}/{}", field(&info, "cpu family"), field(&info, "model\t")),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "features": features(),
        "lanes": chancery::cli::bench::cpu_features(),
        "memory": field(&memory, "MemTotal"),
        "kernel": kernel.trim(),
        "file_system": file_system(dir),
        "load_before": load.split(' ').next().unwrap_or_default(),
        "sync_p50_us": crate::cell::quantile(&syncs, 0.5),
        "sync_p99_us": crate::cell::quantile(&syncs, 0.99),
        "sha2_mib_per_s": sha2_rate(),
    }))
}

/// A line of a kernel's file, after its colon.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
    value.unwrap_or("unknown").to_owned()
}

/// Those of the processor's features that hashing, sealing and scanning use.
fn features() -> Value {
    #[cfg(target_arch = "x86_64")]
    return json!({
        "avx2": std::is_x86_feature_detected!("avx2"),
        "avx512f": std::is_x86_feature_detected!("avx512f"),
        "avx512bw": std::is_x86_feature_detected!("avx512bw"),
        "sha": std::is_x86_feature_detected!("sha"),
        "aes": std::is_x86_feature_detected!("aes"),
        "vaes": std::is_x86_feature_detected!("vaes"),
        "vpclmulqdq": std::is_x86_feature_detected!("vpclmulqdq"),
    });
    #[cfg(not(target_arch = "x86_64"))]
    return json!({});
}

/// Type of the file system that a directory lies on.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
        dir.starts_with(&place).then_some((place.len(), kind))
    };
    let best = mounts.lines().filter_map(of).max_by_key(|(len, _)| *len);
    best.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// Microseconds of appending a page and syncing it, sorted.
fn syncs(dir: &Path) -> Result<Vec<f64>> {
    let path = dir.join("sync");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let since = Instant::now();
        file.write_all(&[7; SYNC_BYTES])?;
        file.sync_data().context("cannot sync here")?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// MiB that `sha2` hashes in a second, as this program was built.
pub(crate) fn sha2_rate() -> f64 {
    let (block, since, mut blocks) = (vec![7; 1 << 20], Instant::now(), 0_u32);
    while since.elapsed() < HASH_TIME {
        std::hint::black_box(Sha256::digest(std::hint::black_box(&block)));
        blocks += 1;
    }
    f64::from(blocks) / since.elapsed().as_secs_f64()
}

/// Bytes of everything below a directory.
pub(crate) fn space_below(dir: &Path) -> Space {
    let mut space = Space::default();
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok()) {
        let Ok(meta) = entry.metadata() else { continue };
        let more = match meta.is_dir() {
            true => space_below(&entry.path()),
            false => Space { on_disk: meta.blocks() * 512, in_files: meta.len() },
        };
        space.on_disk += more.on_disk;
        space.in_files += more.in_files;
    }
    space
}

/// A process as the kernel counts it; this one for none.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) Option<u32>);

impl Process {
    fn file(self, name: &str) -> String {
        match self.0 {
            None => format!("/proc/self/{name}"),
            Some(id) => format!("/proc/{id}/{name}"),
        }
    }

    /// Makes the kernel count peak memory anew; where it does not, the peak is that of the process.
    pub(crate) fn clear_peak(self) {
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    /// Peak resident memory since, in MiB.
    pub(crate) fn peak_mib(self) -> f64 {
        self.status("VmHWM")
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(self) -> f64 {
        self.status("VmRSS")
    }

    fn status(self, name: &str) -> f64 {
        let status = fs::read_to_string(self.file("status")).unwrap_or_default();
        let value = field(&status, name);
        value.trim_end_matches(" kB").parse::<f64>().map_or(0.0, |kib| kib / 1024.0)
    }

    /// Processor time so far.
    pub(crate) fn cpu_nanos(self) -> u64 {
        let stat = fs::read_to_string(self.file("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { return 0 };
        let ticks = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        ticks.sum::<u64>() * TICK_NANOS
    }
}
