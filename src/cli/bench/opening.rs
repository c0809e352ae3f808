//! Opening after a kill and after a clean close: how long it takes and how much it reads, by the
//! length of the log; with and without index, with and without snapshot. A child process fills one
//! vault at full speed and is killed where it stands; further children open what it left and are
//! killed too. But for the one way that is called so, no clean shutdown ever helps. It says what
//! the slope would make of a hundred million entries.

use crate::base::event::Draft;
use crate::base::unit::TreeSize;
use crate::cli::args::make::{OpenBench, OpenChild};
use crate::cli::bench::{median, peak_memory_mib};
use crate::cli::world::world;
use crate::policy::default_files;
use crate::vault::Vault;
use crate::vault::config::{Config, Tuning};
use crate::vault::error::Result as VaultResult;
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// Events of one batch.
const BATCH: u64 = 2_000;
/// Clients that fill the vault at once.
const CLIENTS: u64 = 2;
/// People the events speak of: the key tree stays as it is while the log grows.
const PEOPLE: u64 = 1_000;
/// Openings of which the median counts; one that reads everything is done once.
const RUNS: usize = 3;
/// Where the slope is followed to.
const FAR: f64 = 1e8;

/// One way to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// As the kill left it.
    AsLeft,
    /// The index was removed.
    NoIndex,
    /// After the process before had closed the vault.
    Closed,
    /// Snapshots and runs were removed: everything is read.
    NoSnapshot,
}

impl Way {
    /// In the order in which they are measured.
    pub const ALL: [Way; 4] = [Way::AsLeft, Way::NoIndex, Way::Closed, Way::NoSnapshot];

    /// Name in tables and keys.
    pub fn name(self) -> &'static str {
        match self {
            Way::AsLeft => "as_left",
            Way::NoIndex => "index_wiped",
            Way::Closed => "closed",
            Way::NoSnapshot => "snapshot_wiped",
        }
    }
}

/// One opening.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// How.
    pub way: Way,
    /// Entries in the log.
    pub entries: u64,
    /// Seconds until the vault served.
    pub seconds: f64,
    /// Entries that were read and hashed.
    pub replayed: u64,
    /// Bytes read by system calls.
    pub read: u64,
    /// Peak memory, MiB.
    pub memory: f64,
}

/// Seconds an opening takes at `FAR` entries, and per million entries, from a straight line
/// through what was measured; `None` for fewer than two sizes.
pub fn slope(measured: &[Opened], way: Way) -> Option<(f64, f64)> {
    let points: Vec<(f64, f64)> =
        measured.iter().filter(|o| o.way == way).map(|o| (o.entries as f64, o.seconds)).collect();
    let n = points.len() as f64;
    let (sx, sy) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
    let (mx, my) = (sx / n, sy / n);
    let above: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mx) * (x - mx)).sum();
    let per_entry = (points.len() > 1 && below > 0.0).then(|| above / below)?;
    // A line through noise may fall: then the largest log is the better guess.
    let last = points.last().map_or(0.0, |(_, y)| *y);
    Some(((my + per_entry * (FAR - mx)).max(last), per_entry * 1e6))
}

/// Fills a vault up to each size in turn, kills, opens, and measures.
///
/// # Errors
/// Those of the vault and of the children.
pub fn run(dir: &Path, args: &OpenBench, say: &mut dyn FnMut(&str)) -> Result<Vec<Opened>> {
    let mut sizes = args.entries.clone();
    sizes.sort_unstable();
    let mut measured = Vec::new();
    for entries in sizes {
        say(&format!("filling up to {entries} entries"));
        let filled = child(dir, "fill", entries)?;
        say(&format!(
            "{} entries, {:.0} of them a second",
            number(&filled, "entries"),
            number(&filled, "rate")
        ));
        for way in Way::ALL {
            if way == Way::NoSnapshot && args.no_full {
                continue;
            }
            say(&format!("opening, {}", way.name()));
            measured.push(open_so(dir, way)?);
        }
    }
    Ok(measured)
}

fn open_so(dir: &Path, way: Way) -> Result<Opened> {
    let tenant = tenant_dir(dir)?;
    let runs = if way == Way::NoSnapshot { 1 } else { RUNS };
    let (mut seconds, mut found) = (Vec::new(), Value::Null);
    for _ in 0..runs {
        match way {
            Way::AsLeft => {}
            Way::NoIndex => remove(&tenant.join("index"))?,
            Way::Closed => child(dir, "close", 0).map(|_| ())?,
            Way::NoSnapshot => remove(&tenant.join("snapshot"))?,
        }
        found = child(dir, "open", 0)?;
        seconds.push(number(&found, "seconds"));
    }
    Ok(Opened {
        way,
        entries: number(&found, "entries") as u64,
        seconds: median(&mut seconds),
        replayed: number(&found, "replayed") as u64,
        read: number(&found, "read") as u64,
        memory: number(&found, "memory"),
    })
}

fn tenant_dir(dir: &Path) -> Result<std::path::PathBuf> {
    let tenants = fs::read_dir(dir.join("data/tenants")).context("no vault was filled")?;
    let first = tenants.filter_map(|entry| entry.ok()).next();
    first.map(|entry| entry.path()).ok_or_else(|| anyhow!("no tenant in the filled vault"))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn number(found: &Value, key: &str) -> f64 {
    found.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Runs a child until it has said one line, and kills it.
fn child(dir: &Path, act: &str, entries: u64) -> Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "open-child", act]).arg("--dir").arg(dir);
    command.arg("--entries").arg(entries.to_string());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let line = first_line(&mut child);
    // Whatever it was doing in the background: this is the crash.
    child.kill()?;
    child.wait()?;
    let line = line?;
    ensure!(!line.trim().is_empty(), "the {act} process ended without an answer");
    Ok(serde_json::from_str(&line)?)
}

fn first_line(child: &mut Child) -> Result<String> {
    let out = child.stdout.take().ok_or_else(|| anyhow!("the child has no output"))?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line)
}

/// The child: fills or opens, says one line, and waits to be killed.
///
/// # Errors
/// Those of the vault.
pub fn child_main(args: &OpenChild) -> Result<ExitCode> {
    let config = config(&args.dir);
    let (vault, said) = match args.act.as_str() {
        "fill" => fill(&config, args.entries)?,
        "close" => {
            let (vault, said) = open(&config)?;
            vault.settle();
            drop(vault);
            writeln!(std::io::stdout(), "{said}")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => open(&config)?,
    };
    let mut out = std::io::stdout();
    writeln!(out, "{said}")?;
    out.flush()?;
    loop {
        // The vault stays open until the kill; nobody but the parent ends this.
        std::thread::park();
        let _ = vault.size();
    }
}

fn open(config: &Config) -> Result<(Vault, Value)> {
    let before = bytes_read();
    let start = Instant::now();
    let vault = Vault::open(world(), config)?;
    let seconds = start.elapsed().as_secs_f64();
    let read = bytes_read().saturating_sub(before);
    let size = vault.size().0;
    let said = json!({
        "seconds": seconds,
        "entries": size,
        "replayed": size - vault.vouched().0,
        "read": read,
        "memory": peak_memory_mib(),
    });
    Ok((vault, said))
}

fn fill(config: &Config, entries: u64) -> Result<(Vault, Value)> {
    let there = config.data.join("vault.toml").exists();
    let vault = match there {
        true => Vault::open(world(), config)?,
        false => Vault::init(world(), config, "bench.local")?,
    };
    let from = vault.size().0;
    let start = Instant::now();
    let done = std::thread::scope(|scope| -> VaultResult<()> {
        let vault = &vault;
        let clients: Vec<_> =
            (0..CLIENTS).map(|n| scope.spawn(move || client(vault, n, from, entries))).collect();
        let joined = |c: std::thread::ScopedJoinHandle<'_, _>| {
            c.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        clients.into_iter().try_for_each(joined)
    });
    done?;
    let rate = (vault.size().0 - from) as f64 / start.elapsed().as_secs_f64();
    vault.settle();
    let said = json!({ "entries": vault.size().0, "rate": rate });
    Ok((vault, said))
}

/// One client counts its events, the other names them: both kinds of memory grow.
fn client(vault: &Vault, number: u64, from: u64, entries: u64) -> VaultResult<()> {
    let source = format!("canonical/open-{number}");
    let mut next = from;
    while vault.size() < TreeSize(entries) {
        let texts: Vec<String> = (next..next + BATCH).map(|n| event(number, n)).collect();
        let drafts: Vec<Draft<'_>> =
            texts.iter().map(|t| Draft { source: &source, json: t.as_bytes() }).collect();
        vault.append(&drafts)?;
        next += BATCH;
    }
    Ok(())
}

fn event(client: u64, n: u64) -> String {
    let name = match client % 2 {
        0 => format!("\"source_seq\":{}", n + 1),
        _ => format!("\"id\":\"e-{n}\""),
    };
    format!(
        "{{{name},\"actor\":{{\"id\":\"u{}\"}},\"action\":\"open\",\"category\":\"data\",\
         \"verb\":\"read\",\"outcome\":\"success\"}}",
        n % PEOPLE
    )
}

fn config(dir: &Path) -> Config {
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
        tuning: Tuning { pack: false, ..Tuning::default() },
    }
}

/// Bytes this process has read by system calls, from the kernel; 0 where it does not say.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|l| l.strip_prefix("rchar:"));
    line.and_then(|l| l.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_followed_and_never_promises_less_than_was_measured() {
        let at = |entries, seconds| {
            let way = Way::AsLeft;
            Opened { way, entries, seconds, replayed: 0, read: 0, memory: 0.0 }
        };
        let (far, million) = slope(&[at(0, 1.0), at(1_000_000, 2.0)], Way::AsLeft).unwrap();
        assert!((far - 101.0).abs() < 1e-6 && (million - 1.0).abs() < 1e-9);
        let (far, _) = slope(&[at(100_000, 0.3), at(1_000_000, 0.2)], Way::AsLeft).unwrap();
        assert!((far - 0.2).abs() < 1e-9, "{far}");
        assert!(slope(&[at(5, 1.0)], Way::AsLeft).is_none());
        assert!(slope(&[at(5, 1.0), at(6, 1.0)], Way::NoIndex).is_none());
    }
}
