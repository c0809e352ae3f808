//! The real world: the system's clocks, its randomness, its disk, and how a vault is opened with
//! them. Beside the demo this is the only place where a vault meets the machine.

use crate::base::unit::UtcNanos;
use crate::base::world::{Clock, Entropy};
use crate::cli::args::Global;
use crate::cli::config::{Config, Policies as PolicyPlace};
use crate::cli::error::Failure;
use crate::forward::http::roots_of_pem;
use crate::forward::timestamp::HttpAuthority;
use crate::forward::witness::HttpWitness;
use crate::policy::classify::Policies;
use crate::policy::default_files;
use crate::policy::schedule::Zones;
use crate::store::disk::OsDisk;
use crate::store::reserve::{Reserve, Reserved, Spot};
use crate::vault::World;
use crate::vault::anchor::Authority;
use crate::vault::config::{Config as VaultConfig, Tuning};
use crate::vault::witness::{Cosigner, Outside};
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zeroize::{Zeroize, Zeroizing};

/// Bytes asked of the system at once: a few hundred sealed events.
const DRAW_BYTES: usize = 24 * 1024;
/// How often the clock asks whether the machine slept.
const SLEEP_CHECK_NANOS: u64 = 1_000_000_000;
/// `/proc/uptime` counts hundredths of a second; less than this is rounding.
const SLEEP_NANOS_MIN: u64 = 100_000_000;
/// A policy file is a page, not a document.
const POLICY_BYTES_MAX: u64 = 4 << 20;

/// The system's clocks. `Instant` stands still while a Linux machine sleeps; `/proc/uptime` does
/// not, so what it has gained is added, to within a tenth of a second. Elsewhere time asleep is
/// not counted until the vault is opened again.
pub struct OsClock {
    start: Instant,
    booted: Option<u64>,
    checked: AtomicU64,
    slept: AtomicU64,
}

/// The system's time zones, which its administrator keeps up to date; those this binary was built
/// with where the system has none.
pub(crate) fn zones() -> Zones {
    Zones::new(jiff::tz::TimeZoneDatabase::from_env())
}

impl OsClock {
    /// Starts the monotonic clock at zero.
    pub fn start() -> Self {
        OsClock {
            start: Instant::now(),
            booted: uptime(),
            checked: AtomicU64::new(0),
            slept: AtomicU64::new(0),
        }
    }
}

impl Clock for OsClock {
    fn wall(&self) -> UtcNanos {
        // Before 1970 there are no events; such a clock is refused as far behind the log.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UtcNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> u64 {
        let awake = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let checked = self.checked.load(Ordering::Relaxed);
        if awake.saturating_sub(checked) > SLEEP_CHECK_NANOS {
            self.checked.store(awake, Ordering::Relaxed);
            if let (Some(then), Some(now)) = (self.booted, uptime()) {
                let asleep = now.saturating_sub(then).saturating_sub(awake);
                if asleep > SLEEP_NANOS_MIN {
                    self.slept.fetch_max(asleep, Ordering::Relaxed);
                }
            }
        }
        awake.saturating_add(self.slept.load(Ordering::Relaxed))
    }
}

/// Nanoseconds since boot, time asleep included, where the system says.
fn uptime() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some((seconds * 1e9) as u64)
}

/// The system's randomness, drawn in larger pieces; every byte is wiped once it is handed out.
pub struct OsEntropy {
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
}

impl OsEntropy {
    /// An empty pool.
    pub fn new() -> Self {
        let bytes = Zeroizing::new(vec![0; DRAW_BYTES]);
        OsEntropy { pool: Mutex::new(Pool { bytes, used: DRAW_BYTES }) }
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        OsEntropy::new()
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > DRAW_BYTES {
            return draw(bytes);
        }
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.used + bytes.len() > DRAW_BYTES {
            draw(&mut pool.bytes);
            pool.used = 0;
        }
        let from = pool.used;
        pool.used += bytes.len();
        if let Some(piece) = pool.bytes.get_mut(from..from + bytes.len()) {
            bytes.copy_from_slice(piece);
            piece.zeroize();
        }
    }
}

/// Fills from the system. Without randomness there is no safe way on, not even an error: a caller
/// could catch it and go on with zeros for keys.
fn draw(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "chancery: ENTROPY_FAILED: the system gives no randomness; nothing further was \
             written; what was acknowledged is safe"
        );
        std::process::abort();
    }
}

/// The reserves of the directories of a configuration. Whoever `makes` them is the service; a
/// command uses what it finds.
pub(crate) fn reserve(config: &Config, makes: bool) -> Arc<Reserve> {
    let spot = |name, dir: &Path| Spot { name, dir: dir.to_owned() };
    let mut spots = vec![spot("data", &config.data), spot("keys", &config.keys)];
    spots.extend(config.keys_mirror.as_deref().map(|mirror| spot("mirror", mirror)));
    let reserve = Reserve::new(Arc::new(OsDisk), spots, config.server.disk_reserve_bytes, makes);
    // What it cannot find out now, it finds out when somebody looks again.
    let _ = reserve.look();
    Arc::new(reserve)
}

/// The real world, with a disk that keeps a reserve.
pub(crate) fn world_with(reserve: &Arc<Reserve>) -> World {
    World { disk: Arc::new(Reserved::over(reserve.clone())), ..world() }
}

/// The real world.
pub fn world() -> World {
    World {
        disk: Arc::new(OsDisk),
        clock: Arc::new(OsClock::start()),
        entropy: Arc::new(OsEntropy::new()),
    }
}

/// What the vault needs of the configuration: reads policies, passphrase and ledger.
///
/// # Errors
/// What is missing, or not implemented and configured: a setting is never ignored in silence
/// where somebody could rely on it.
pub fn vault_config(config: &Config, global: &Global) -> Result<VaultConfig> {
    if let Some(mirror) = &config.keys_mirror {
        refuse_nested(mirror, &[&config.data, &config.keys])?;
    }
    let ledger = match &global.ledger {
        Some(path) => Some(read_text(path)?),
        None => None,
    };
    Ok(VaultConfig {
        data: config.data.clone(),
        keys: config.keys.clone(),
        mirror: config.keys_mirror.clone(),
        passphrase: config.passphrase.read()?,
        accept_time: global.accept_time,
        ledger,
        policies: policies(&config.policies)?,
        index_on_disk: true,
        outside: outside(config, global)?,
        // A command that is over in a moment would begin what it cannot end: `append` says when.
        tuning: Tuning { pack: false, ..Tuning::default() },
    })
}

/// Refuses a mirror that a link leads into one of the other directories.
fn refuse_nested(mirror: &Path, others: &[&PathBuf]) -> Result<()> {
    let Ok(mirror) = std::fs::canonicalize(mirror) else { return Ok(()) };
    let real = others.iter().filter_map(|dir| std::fs::canonicalize(dir).ok());
    for other in real {
        if mirror.starts_with(&other) || other.starts_with(&mirror) {
            let message = format!(
                "keys.mirror leads to {}, which is not apart from {}; nothing was opened; name a \
                 directory on another disk",
                mirror.display(),
                other.display()
            );
            return Err(Failure::usage("KEYS_MIRROR_PLACE", message).into());
        }
    }
    Ok(())
}

/// Where systems keep the roots that their administrators trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The witnesses of a configuration, as ways to reach them.
fn outside(config: &Config, global: &Global) -> Result<Outside> {
    let mut witnesses: Vec<Arc<dyn Cosigner>> = Vec::new();
    for at in &config.witnesses.at {
        let roots = roots(&at.url, at.ca.as_deref())?;
        let witness = HttpWitness::new(&at.url, at.key.clone(), &roots)
            .map_err(|why| Failure::usage("CONFIG_VALUE", format!("{}: {}", at.url, why.0)))?;
        witnesses.push(Arc::new(witness));
    }
    let quorum = config.witnesses.quorum;
    let at = &config.timestamp;
    let pinned = match &at.ca {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    let authority = match &at.url {
        Some(url) => {
            let roots = roots(url, None)?;
            let authority = HttpAuthority::new(url, &roots)
                .map_err(|why| Failure::usage("CONFIG_VALUE", format!("{url}: {}", why.0)))?;
            Some(Arc::new(authority) as Arc<dyn Authority>)
        }
        None => None,
    };
    let accept_unwitnessed = global.accept_unwitnessed;
    Ok(Outside { witnesses, quorum, accept_unwitnessed, authority, pinned })
}

/// Certificates that an address must lead to: those of a file, else the system's.
pub(crate) fn roots(url: &str, ca: Option<&Path>) -> Result<Vec<Vec<u8>>> {
    if !url.starts_with("https://") {
        return Ok(Vec::new());
    }
    let system = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let Some(path) = ca.or(system) else {
        let message = format!("{url}: no root certificates are installed; name a file with `ca`");
        return Err(Failure::usage("TLS_ROOTS", message).into());
    };
    certificates(path)
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>> {
    let pem = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    Ok(roots_of_pem(&pem)
        .map_err(|why| Failure::usage("TLS_ROOTS", format!("{}: {why}", path.display())))?)
}

/// Reads a text file named on the command line.
///
/// # Errors
/// `FILE_IO`.
pub fn read_text(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?)
}

/// The policy files of a place, checked.
///
/// # Errors
/// What is wrong with them, with file and line.
pub fn policies(place: &PolicyPlace) -> Result<BTreeMap<String, String>> {
    let files = match place {
        PolicyPlace::Folder(dir) => folder(dir)?,
        PolicyPlace::FolderOrBuiltIn(dir) if dir.is_dir() => folder(dir)?,
        PolicyPlace::FolderOrBuiltIn(_) => default_files(),
    };
    Policies::parse(&files)?;
    Ok(files)
}

/// Every `.toml` file of a policy folder that the policies use, by its path below it.
fn folder(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut open = vec![(PathBuf::from(dir), String::new())];
    while let Some((place, prefix)) = open.pop() {
        let entries = std::fs::read_dir(&place).map_err(|e| Failure::file(&place, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Failure::file(&place, &e))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let below = format!("{prefix}{name}");
            let kind = entry.metadata().map_err(|e| Failure::file(&path, &e))?;
            if kind.is_dir() && below == "sources" {
                open.push((path, "sources/".to_owned()));
            } else if kind.is_file() && is_policy(&below) {
                if kind.len() > POLICY_BYTES_MAX {
                    let message = format!("{} is no policy: over 4 MiB", path.display());
                    return Err(Failure::usage("POLICY_SYNTAX", message).into());
                }
                files.insert(below, read_text(&path)?);
            }
        }
    }
    Ok(files)
}

/// What the vault's policies consist of; other files in the folder belong to somebody else.
fn is_policy(below: &str) -> bool {
    let source = below.strip_prefix("sources/");
    matches!(below, "classes.toml" | "fields.toml")
        || source.is_some_and(|name| name.ends_with(".toml") && !name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_and_randomness_differs() {
        let clock = OsClock::start();
        let (wall, first) = (clock.wall(), clock.monotonic());
        assert!(wall.0 > 1_700_000_000_000_000_000 && clock.monotonic() >= first);
        let entropy = OsEntropy::new();
        let (mut a, mut b) = ([0; 32], [0; 32]);
        for _ in 0..2_000 {
            entropy.fill(&mut a);
            assert!(a != b && a != [0; 32]);
            b = a;
        }
        let mut large = vec![0; DRAW_BYTES + 1];
        entropy.fill(&mut large);
        assert!(large.iter().any(|byte| *byte != 0));
        let pool = entropy.pool.lock().unwrap();
        assert!(pool.bytes.iter().take(pool.used).all(|byte| *byte == 0), "not wiped");
    }
}
